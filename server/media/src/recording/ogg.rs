//! Writes Opus packets into an Ogg stream (RFC 3533, RFC 7845). Pure.
//!
//! It has whole pages only, so what was written up to any of them is a whole file. Where nothing came a packet stands in which nothing was sent,
//! so the stream is as long as the time that passed.

use super::opus;

/// What a page may have; longer packets would go on in the next, and there are none.
const SEGMENTS: usize = 255;

/// Samples of a page: a second.
const PAGE: u64 = opus::RATE as u64;

/// What decoders throw away at the beginning, as libopus does it.
const PRE_SKIP: u16 = 312;

/// The largest packet that is taken: more than comes in one packet of the network.
const MAX_PACKET: usize = 4096;

const FIRST: u8 = 2;
const LAST: u8 = 4;

#[derive(Debug)]
pub(super) struct Ogg {
    serial: u32,
    pages: u32,
    /// Samples up to the end of what was written.
    end: u64,
    /// Where the page that is gathered began.
    begun: u64,
    segments: Vec<u8>,
    packets: Vec<u8>,
    out: Vec<u8>,
}

impl Ogg {
    /// A stream with its headers. `title` is for who looks at the file alone.
    pub(super) fn new(serial: u32, title: &str) -> Self {
        let mut head = b"OpusHead\x01\x02".to_vec();
        head.extend(PRE_SKIP.to_le_bytes());
        head.extend(opus::RATE.to_le_bytes());
        head.extend([0; 3]);
        let mut tags = b"OpusTags".to_vec();
        let mut text = |text: &str| {
            tags.extend((text.len() as u32).to_le_bytes());
            tags.extend(text.as_bytes());
        };
        text("BuildSpaces");
        let title = format!("TITLE={}", title.chars().take(100).collect::<String>());
        tags.extend(1_u32.to_le_bytes());
        tags.extend((title.len() as u32).to_le_bytes());
        tags.extend(title.as_bytes());
        let (segments, packets, out) = (Vec::new(), Vec::new(), Vec::new());
        let mut ogg = Self { serial, pages: 0, end: 0, begun: 0, segments, packets, out };
        ogg.add(&head);
        ogg.page(FIRST);
        ogg.add(&tags);
        ogg.page(0);
        ogg
    }

    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Appends what is not too large, and says so.
    pub(super) fn packet(&mut self, packet: &[u8], samples: u32) -> bool {
        if packet.len() > MAX_PACKET {
            return false;
        }
        if self.segments.len() + packet.len() / 255 + 1 > SEGMENTS || self.end - self.begun >= PAGE {
            self.page(0);
        }
        self.add(packet);
        self.end += u64::from(samples);
        true
    }

    /// Whole pages with all that was appended.
    pub(super) fn take(&mut self, is_last: bool) -> Vec<u8> {
        if !self.segments.is_empty() {
            self.page(if is_last { LAST } else { 0 });
        }
        std::mem::take(&mut self.out)
    }

    fn add(&mut self, packet: &[u8]) {
        self.segments.extend(std::iter::repeat_n(255, packet.len() / 255));
        self.segments.push((packet.len() % 255) as u8);
        self.packets.extend(packet);
    }

    fn page(&mut self, flags: u8) {
        let start = self.out.len();
        self.out.extend(b"OggS\0");
        self.out.push(flags);
        self.out.extend(self.end.to_le_bytes());
        self.out.extend(self.serial.to_le_bytes());
        self.out.extend(self.pages.to_le_bytes());
        self.out.extend([0; 4]);
        self.out.push(self.segments.len() as u8);
        self.out.append(&mut self.segments);
        self.out.append(&mut self.packets);
        let sum = checksum(&self.out[start..]);
        self.out[start + 22..start + 26].copy_from_slice(&sum.to_le_bytes());
        self.pages += 1;
        self.begun = self.end;
    }
}

/// Ogg's CRC-32: polynomial 0x04c11db7, not reflected, from zero.
fn checksum(page: &[u8]) -> u32 {
    static TABLE: [u32; 256] = table();
    page.iter().fold(0, |sum, byte| (sum << 8) ^ TABLE[usize::from((sum >> 24) as u8 ^ byte)])
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let mut sum = (at as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 0x8000_0000 == 0 { sum << 1 } else { (sum << 1) ^ 0x04c1_1db7 };
            bit += 1;
        }
        table[at] = sum;
        at += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// What another reader finds: packets, and the time at the end of each page. It checks sums.
    fn read(bytes: &[u8]) -> Vec<(Vec<u8>, u64)> {
        let mut reader = ::ogg::PacketReader::new(Cursor::new(bytes));
        let next = || reader.read_packet().expect("a whole file");
        std::iter::from_fn(next).map(|packet| (packet.data.clone(), packet.absgp_page())).collect()
    }

    #[test]
    fn another_reader_finds_the_packets_and_the_time() {
        let mut ogg = Ogg::new(7, "Ada");
        let mut file = ogg.take(false);
        let head = read(&file);
        assert!(head[0].0.starts_with(b"OpusHead") && head[0].0.len() == 19);
        assert!(head[1].0.starts_with(b"OpusTags") && head[1].0.ends_with(b"TITLE=Ada"));
        let packets: Vec<Vec<u8>> = [0, 1, 254, 255, 256, 509, 510, 511].map(|length| vec![9; length]).into();
        for packet in &packets {
            assert!(ogg.packet(packet, 960));
        }
        file.extend(ogg.take(false));
        assert_eq!(read(&file)[2..].iter().map(|(packet, _)| packet.clone()).collect::<Vec<_>>(), packets);
        for _ in 0..500 {
            assert!(ogg.packet(&[1], 960));
        }
        assert!(!ogg.packet(&[0; MAX_PACKET + 1], 960));
        file.extend(ogg.take(true));
        let all = read(&file);
        assert_eq!(all.len(), 2 + 8 + 500);
        assert_eq!(all.last().map(|(_, end)| *end), Some(508 * 960));
        assert_eq!(ogg.end(), 508 * 960);
    }
}
