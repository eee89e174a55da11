//! What of H.264 is looked at in packets (RFC 6184): where pictures begin that build on none before, and for files how large they are. Every
//! byte is a stranger's. Pure.
//!
//! A stream is units (NAL units), of which a picture has one or several. Those that say how pictures are encoded, the parameter sets, come before a
//! picture that builds on nothing: whoever encodes for a call repeats them, because people come at any time.

use h264_reader::nal::sps::SeqParameterSet;
use h264_reader::rbsp::{BitReader, ByteReader};

const SEQUENCE_PARAMETERS: u8 = 7;
const PICTURE_PARAMETERS: u8 = 8;

/// Kinds of packets that are no unit: some units in one, and a part of one.
const SOME: u8 = 24;
const PART: u8 = 28;

/// Of the second byte of a part: it is the first of its unit.
const BEGINS: u8 = 0x80;

/// Longest parameter set that is read. Most have some twenty bytes.
const LONGEST_SET: usize = 512;

/// What a packet has.
#[derive(PartialEq, Eq, Debug)]
pub enum Content<'a> {
    Units(Vec<&'a [u8]>),
    /// A part of a unit; with the unit's first byte if it is the first.
    Part {
        header: Option<u8>,
        data: &'a [u8],
    },
}

/// `None` if it is nothing that RFC 6184 knows without interleaving.
pub fn content(payload: &[u8]) -> Option<Content<'_>> {
    match kind(payload)? {
        1..SOME => Some(Content::Units(vec![payload])),
        SOME => {
            let (mut rest, mut units) = (&payload[1..], Vec::new());
            while let Some((length, after)) = rest.split_first_chunk::<2>() {
                let (unit, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
                units.push(unit);
                rest = after;
            }
            (rest.is_empty() && units.iter().all(|unit| kind(unit).is_some())).then_some(Content::Units(units))
        }
        PART => {
            let (&[indicator, about], data) = payload.split_first_chunk::<2>()?;
            let header = (about & BEGINS != 0).then_some(indicator & 0xe0 | about & 0x1f);
            (!data.is_empty()).then_some(Content::Part { header, data })
        }
        _ => None,
    }
}

/// Is this the packet with the parameters that come before a picture that builds on nothing?
pub fn starts_keyframe(payload: &[u8]) -> bool {
    // Not through `content`, which allocates: this is asked of each packet.
    match kind(payload) {
        Some(SEQUENCE_PARAMETERS) => true,
        Some(SOME) => {
            let mut rest = &payload[1..];
            while let Some((length, after)) = rest.split_first_chunk::<2>() {
                if kind(after) == Some(SEQUENCE_PARAMETERS) {
                    return true;
                }
                rest = after.get(usize::from(u16::from_be_bytes(*length))..).unwrap_or_default();
            }
            false
        }
        Some(PART) => payload.get(1).is_some_and(|about| about & (BEGINS | 0x1f) == BEGINS | SEQUENCE_PARAMETERS),
        _ => false,
    }
}

/// The kind of a unit or packet.
fn kind(unit: &[u8]) -> Option<u8> {
    unit.first().map(|header| header & 0x1f)
}

/// How the pictures of a stream are encoded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parameters {
    pub width: u16,
    pub height: u16,
    /// As files have it (`AVCDecoderConfigurationRecord`, ISO/IEC 14496-15).
    pub record: Vec<u8>,
}

/// Of the units of a picture; `None` if its parameters are not among them, or make no sense.
pub fn parameters<'a>(units: impl Iterator<Item = &'a [u8]> + Clone) -> Option<Parameters> {
    let set = |wanted| units.clone().find(|unit| kind(unit) == Some(wanted) && (4..LONGEST_SET).contains(&unit.len()));
    let (sequence, picture) = (set(SEQUENCE_PARAMETERS)?, set(PICTURE_PARAMETERS)?);
    let read = SeqParameterSet::from_bits(BitReader::new(ByteReader::skipping_h264_header(sequence))).ok()?;
    // What comes out of this would not fit below.
    if read.pic_width_in_mbs_minus1 > 1 << 12 || read.pic_height_in_map_units_minus1 > 1 << 12 {
        return None;
    }
    let (width, height) = read.pixel_dimensions().ok()?;
    let (width, height) = (u16::try_from(width).ok()?, u16::try_from(height).ok()?);
    let mut record = vec![1, sequence[1], sequence[2], sequence[3], 0xff, 0xe1];
    record.extend((sequence.len() as u16).to_be_bytes());
    record.extend(sequence);
    record.push(1);
    record.extend((picture.len() as u16).to_be_bytes());
    record.extend(picture);
    if !matches!(sequence[1], 66 | 77 | 88) {
        let chroma = &read.chroma_info;
        let (format, luma, other) =
            (chroma.chroma_format.to_u32() as u8, chroma.bit_depth_luma_minus8, chroma.bit_depth_chroma_minus8);
        record.extend([0xfc | format, 0xf8 | luma, 0xf8 | other, 0]);
    }
    (width > 0 && height > 0).then_some(Parameters { width, height, record })
}

#[cfg(test)]
pub(crate) mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    /// Of x264: 640 times 360, high profile.
    pub(crate) const SEQUENCE: [u8; 25] = [
        0x67, 0x64, 0x00, 0x1e, 0xac, 0xd9, 0x40, 0xa0, 0x2f, 0xf9, 0x61, 0x00, 0x00, 0x03, 0x00, 0x01, 0x00, 0x00,
        0x03, 0x00, 0x3c, 0x8f, 0x16, 0x2d, 0x96,
    ];
    pub(crate) const PICTURE: [u8; 6] = [0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0];

    #[test]
    fn a_stream_may_begin_where_its_parameters_are() {
        let together = [&[0x78, 0, 25][..], &SEQUENCE, &[0, 6], &PICTURE].concat();
        let reversed = [&[0x78, 0, 6][..], &PICTURE, &[0, 25], &SEQUENCE].concat();
        let table: [(&[u8], bool); 11] = [
            (&[], false),
            (&SEQUENCE, true),
            (&PICTURE, false),
            (&together, true),
            (&reversed, true),
            (&[0x78, 0, 2, 0x65, 1], false),
            (&[0x78, 0xff], false),
            // A picture that builds on nothing, but of which nobody knows how it is encoded.
            (&[0x65, 0x88], false),
            (&[0x7c, 0x85, 0x88], false),
            (&[0x7c, 0x87, 0x64], true),
            (&[0x7c, 0x07, 0x64], false),
        ];
        for (payload, expected) in table {
            assert_eq!(starts_keyframe(payload), expected, "{payload:x?}");
        }
        assert_eq!(content(&together), Some(Content::Units(vec![&SEQUENCE, &PICTURE])));
        assert_eq!(content(&[0x7c, 0x85, 7]), Some(Content::Part { header: Some(0x65), data: &[7] }));
        assert_eq!(content(&[0x7c, 0x45, 7]), Some(Content::Part { header: None, data: &[7] }));
        for nothing in [&[][..], &[0x7c, 0x85], &[0x78, 0, 9, 1], &[0x78, 0, 0], &[0x79, 1], &[0]] {
            assert_eq!(content(nothing), None, "{nothing:x?}");
        }
    }

    #[test]
    fn parameters_say_how_large_pictures_are() {
        let units = [&[0x65, 0x88][..], &SEQUENCE, &PICTURE];
        let Parameters { width, height, record } = parameters(units.into_iter()).expect("they are there");
        assert_eq!((width, height), (640, 360));
        assert_eq!(record[..8], [1, 0x64, 0, 0x1e, 0xff, 0xe1, 0, 25]);
        assert_eq!(record[record.len() - 4..], [0xfd, 0xf8, 0xf8, 0]);
        assert_eq!(parameters(units[..2].iter().copied()), None);
    }

    #[test]
    fn whatever_comes_is_read_or_left_alone() {
        let mut rng = StdRng::seed_from_u64(7);
        for _ in 0..20_000 {
            let mut sequence = SEQUENCE.to_vec();
            for _ in 0..rng.random_range(1..6) {
                let at = rng.random_range(1..sequence.len());
                sequence[at] = rng.random();
            }
            sequence.truncate(rng.random_range(4..=sequence.len()));
            let _ = parameters([&sequence[..], &PICTURE].into_iter());
            let mut noise: Vec<u8> = (0..rng.random_range(0..40)).map(|_| rng.random()).collect();
            if let Some(first) = noise.first_mut() {
                *first = [0x78, 0x7c, *first][rng.random_range(0..3)];
            }
            let starts = starts_keyframe(&noise);
            if let Some(Content::Units(units)) = content(&noise) {
                assert_eq!(starts, units.iter().any(|unit| kind(unit) == Some(SEQUENCE_PARAMETERS)), "{noise:x?}");
            }
        }
    }
}
