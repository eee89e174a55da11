//! Where VP8 frames begin in packets (RFC 7741, section 4.2), and which are keyframes. To pass packets on nothing else of the codec is looked at, so
//! payloads may be encrypted from the frame's second byte on.

/// What a packet has of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part<'a> {
    /// It is the first of its frame.
    pub begins: bool,
    /// Without what is there for the way only.
    pub data: &'a [u8],
}

/// Takes off what stands before the frame's bytes; `None` if there are none.
pub fn part(payload: &[u8]) -> Option<Part<'_>> {
    const EXTENDED: u8 = 0x80;
    const START: u8 = 0x10;
    const PARTITION: u8 = 0x07;
    let first = *payload.first()?;
    let mut at = 1;
    if first & EXTENDED != 0 {
        let fields = *payload.get(1)?;
        at = 2;
        if fields & 0x80 != 0 {
            // The picture id is two bytes long if its own highest bit says so.
            at += if *payload.get(at)? & 0x80 != 0 { 2 } else { 1 };
        }
        at += usize::from(fields & 0x40 != 0) + usize::from(fields & 0x30 != 0);
    }
    let data = payload.get(at..).filter(|data| !data.is_empty())?;
    Some(Part { begins: first & START != 0 && first & PARTITION == 0, data })
}

/// Is this the first packet of a keyframe?
pub fn starts_keyframe(payload: &[u8]) -> bool {
    part(payload).is_some_and(|part| part.begins && is_keyframe(part.data))
}

/// The lowest bit of a frame's header is clear in a keyframe.
pub fn is_keyframe(frame: &[u8]) -> bool {
    frame.first().is_some_and(|header| header & 1 == 0)
}

/// Width and height of a keyframe (RFC 6386, section 9.1); `None` if it is not one.
pub fn size(frame: &[u8]) -> Option<(u16, u16)> {
    let &[header, _, _, 0x9d, 0x01, 0x2a, width, wide, height, high, ..] = frame else { return None };
    let number = |low, high| u16::from_le_bytes([low, high]) & 0x3fff;
    let (width, height) = (number(width, wide), number(height, high));
    (header & 1 == 0 && width > 0 && height > 0).then_some((width, height))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyframe_is_known_by_its_first_packet() {
        let table: [(&[u8], bool); 9] = [
            (&[], false),
            (&[0x10], false),
            (&[0x10, 0x00], true),
            (&[0x10, 0x01], false),
            (&[0x00, 0x00], false),
            (&[0x11, 0x00], false),
            // Extended, with a long picture id, TL0PICIDX and TID.
            (&[0x90, 0xe0, 0x80, 0x01, 0x02, 0x20, 0x00], true),
            (&[0x90, 0xe0, 0x80, 0x01, 0x02, 0x20, 0x01], false),
            (&[0x90, 0x80, 0x05], false),
        ];
        for (payload, expected) in table {
            assert_eq!(starts_keyframe(payload), expected, "{payload:x?}");
        }
    }

    #[test]
    fn the_size_is_in_a_keyframe() {
        let keyframe = [0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x42, 0xe0, 0x01, 0];
        assert_eq!(size(&keyframe), Some((640, 480)));
        assert_eq!(size(&keyframe[..9]), None);
        assert_eq!(size(&[0x11, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x42, 0xe0, 0x01]), None);
        assert_eq!(part(&[0x90, 0x80, 0x85, 0x01, 7, 8]), Some(Part { begins: true, data: &[7, 8] }));
        assert_eq!(part(&[0x01, 7]), Some(Part { begins: false, data: &[7] }));
    }
}
