//! Where a VP8 keyframe begins (RFC 7741, section 4.2). Nothing else of the codec is looked at, so payloads may be encrypted from
//! the frame's second byte on.

/// Is this the first packet of a keyframe?
pub fn starts_keyframe(payload: &[u8]) -> bool {
    const EXTENDED: u8 = 0x80;
    const START: u8 = 0x10;
    const PARTITION: u8 = 0x07;
    let Some(&first) = payload.first() else { return false };
    if first & START == 0 || first & PARTITION != 0 {
        return false;
    }
    let mut at = 1;
    if first & EXTENDED != 0 {
        let Some(&fields) = payload.get(1) else { return false };
        at = 2;
        if fields & 0x80 != 0 {
            // The picture id is two bytes long if its own highest bit says so.
            let Some(&picture) = payload.get(at) else { return false };
            at += if picture & 0x80 != 0 { 2 } else { 1 };
        }
        at += usize::from(fields & 0x40 != 0) + usize::from(fields & 0x30 != 0);
    }
    // The lowest bit of the frame's header is clear in a keyframe.
    payload.get(at).is_some_and(|header| header & 1 == 0)
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
}
