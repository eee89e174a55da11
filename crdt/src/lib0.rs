//! The primitives of lib0's binary encoding: `varUint`, `varUint8Array`, `varString`.
//! Source: `lib0/encoding.js` and `lib0/decoding.js`, version 0.2.

/// Largest integer that JavaScript holds exactly.
const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// Bytes that do not follow the format. The text names the rule that was broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("malformed message: {0}")]
pub struct Malformed(pub &'static str);

/// Reads from a byte slice and never past its end.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What is still to be read.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// How many bytes are still to be read.
    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.rest.split_first().ok_or(Malformed("it ends too early"))?;
        self.rest = rest;
        Ok(*first)
    }

    #[inline]
    pub(crate) fn var_uint(&mut self) -> Result<u64, Malformed> {
        match self.rest {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            _ => self.long_var_uint(),
        }
    }

    fn long_var_uint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0u64;
        for shift in (0..56).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                // One number, one spelling: what is copied from updates is then what would have been written.
                if byte == 0 && shift > 0 {
                    return Err(Malformed("an integer with needless bytes"));
                }
                return if value <= MAX_SAFE_INTEGER { Ok(value) } else { Err(Malformed("an integer above 2^53")) };
            }
        }
        Err(Malformed("an integer of more than eight bytes"))
    }

    /// Skips a signed integer and returns whether it is -0. Eight bytes hold every one that JavaScript holds exactly; yrs overflows at the tenth.
    pub(crate) fn is_negative_zero(&mut self) -> Result<bool, Malformed> {
        let first = self.u8()?;
        // The first byte has the sign and six bits.
        let (mut last, mut bits) = (first, first & 0x3f);
        for _ in 0..7 {
            if last < 0x80 {
                break;
            }
            last = self.u8()?;
            bits |= last & 0x7f;
        }
        if last < 0x80 {
            Ok(bits == 0 && first & 0x40 != 0)
        } else {
            Err(Malformed("a signed integer of more than eight bytes"))
        }
    }

    pub(crate) fn take(&mut self, len: u64) -> Result<&'a [u8], Malformed> {
        let len = usize::try_from(len).ok().filter(|len| *len <= self.rest.len());
        let (taken, rest) = self.rest.split_at(len.ok_or(Malformed("a length past its end"))?);
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn var_bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.var_uint()?;
        self.take(len)
    }

    pub(crate) fn var_str(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.var_bytes()?).map_err(|_| Malformed("a string that is not UTF-8"))
    }

    /// A count of entries that take at least `min_entry` bytes each. Refusing impossible counts here
    /// keeps decoders from reserving memory for them.
    pub(crate) fn count(&mut self, min_entry: usize) -> Result<usize, Malformed> {
        let count = self.var_uint()?;
        usize::try_from(count)
            .ok()
            .filter(|count| *count <= self.rest.len() / min_entry)
            .ok_or(Malformed("a count larger than what follows"))
    }
}

/// Writes what [`Reader`] reads.
pub(crate) fn write_var_uint(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(var_uint(&mut [0; 10], value));
}

/// The bytes of an integer, in the given room.
pub(crate) fn var_uint(room: &mut [u8; 10], mut value: u64) -> &[u8] {
    let mut len = 0;
    while value >= 0x80 {
        room[len] = (value as u8 & 0x7f) | 0x80;
        value >>= 7;
        len += 1;
    }
    room[len] = value as u8;
    &room[..=len]
}

pub(crate) fn write_var_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_var_uint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_round_trip() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), MAX_SAFE_INTEGER] {
            let mut bytes = Vec::new();
            write_var_uint(&mut bytes, value);
            let mut reader = Reader::new(&bytes);
            assert_eq!(reader.var_uint(), Ok(value));
            assert!(reader.is_empty());
        }
    }

    #[test]
    fn lengths_and_counts_are_held_against_what_follows() {
        assert!(Reader::new(&[5, 1, 2]).var_bytes().is_err());
        assert!(Reader::new(&[0xff, 0xff, 0xff, 0x7f]).count(1).is_err());
        assert!(Reader::new(&[0xff; 9]).var_uint().is_err());
        assert!(Reader::new(&[0x81, 0x00]).var_uint().is_err());
        assert_eq!(Reader::new(&[2, 0, 0]).count(1), Ok(2));
    }
}
