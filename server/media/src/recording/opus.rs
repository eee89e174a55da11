//! How long an Opus packet is, by its first bytes (RFC 6716, section 3.1). Pure.

/// Samples in a second, whatever was recorded.
pub(super) const RATE: u32 = 48_000;

/// The longest packet: 120 ms.
const MAX_SAMPLES: u32 = RATE / 1000 * 120;

/// Samples of one frame, by the number of the packet's configuration.
fn frame(configuration: u8) -> u32 {
    let tenths_of_ms = match configuration {
        0..=11 => [100, 200, 400, 600][usize::from(configuration % 4)],
        12..=15 => [100, 200][usize::from(configuration % 2)],
        _ => [25, 50, 100, 200][usize::from(configuration % 4)],
    };
    RATE / 1000 * tenths_of_ms / 10
}

/// Samples of a packet; `None` if it is not one.
pub(super) fn samples(packet: &[u8]) -> Option<u32> {
    let first = *packet.first()?;
    let frames = match first & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(*packet.get(1)? & 0x3f),
    };
    let samples = frame(first >> 3) * frames;
    (1..=MAX_SAMPLES).contains(&samples).then_some(samples)
}

/// A packet of one frame in which nothing was sent, like this one otherwise, and its samples: a decoder conceals it, and falls silent if there are
/// more.
pub(super) fn nothing_like(packet: &[u8]) -> Option<([u8; 1], u32)> {
    let first = *packet.first()?;
    Some(([first & !3], frame(first >> 3)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_packet_is_in_its_first_bytes() {
        let table: [(&[u8], Option<u32>); 9] = [
            (&[], None),
            // What browsers send: CELT or hybrid of 20 ms.
            (&[31 << 3, 1], Some(960)),
            (&[15 << 3 | 4, 1], Some(960)),
            (&[16 << 3], Some(120)),
            // SILK of 60 ms, twice.
            (&[3 << 3 | 1], Some(5760)),
            (&[31 << 3 | 3], None),
            (&[31 << 3 | 3, 3], Some(2880)),
            (&[31 << 3 | 3, 0], None),
            (&[3 << 3 | 3, 48], None),
        ];
        for (packet, expected) in table {
            assert_eq!(samples(packet), expected, "{packet:?}");
        }
        assert_eq!(nothing_like(&[31 << 3 | 7, 3]), Some(([31 << 3 | 4], 960)));
    }
}
