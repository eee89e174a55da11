//! The key with which values are stored: AES-256-GCM with a random nonce for each value, bound to room and name.
//!
//! What is stored is `1 | key id (4) | nonce (12) | ciphertext and tag`. The key's id says which key it was, so that a wrong one can be told from a
//! damaged value.

use buildspaces_kernel::ids::RoomId;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use sha2::{Digest, Sha256};

use super::{SecretName, Value};

/// The first byte of what is stored.
const VERSION: u8 = 1;

/// Bytes of a key.
const KEY_LEN: usize = 32;

type KeyId = [u8; 4];

/// See the module.
pub struct Key {
    key: LessSafeKey,
    id: KeyId,
}

/// The text is not a key.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("has no key in it: a key is 64 hexadecimal digits; `openssl rand -hex 32` prints one")]
pub struct KeyError;

/// Why a stored value cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unreadable {
    /// It was stored under another key.
    #[error("it was stored with another key than the one in secrets.key_file")]
    OtherKey,
    /// It is not what was stored, or another version stored it.
    #[error("what is stored of it is damaged, or of a newer version")]
    Damaged,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Key {
    /// From 64 hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let text = text.trim().as_bytes();
        let digit = |digit: u8| char::from(digit).to_digit(16).ok_or(KeyError);
        let (pairs, rest) = text.as_chunks::<2>();
        let bytes: Vec<u8> = pairs
            .iter()
            .map(|[high, low]| Ok(u8::try_from(digit(*high)? * 16 + digit(*low)?).expect("two digits are a byte")))
            .collect::<Result<_, KeyError>>()?;
        if bytes.len() != KEY_LEN || !rest.is_empty() {
            return Err(KeyError);
        }
        let hash = Sha256::new().chain_update("buildspaces secrets key").chain_update(&bytes).finalize();
        let key = UnboundKey::new(&AES_256_GCM, &bytes).map_err(|_| KeyError)?;
        Ok(Self { key: LessSafeKey::new(key), id: [hash[0], hash[1], hash[2], hash[3]] })
    }

    /// What is stored of a value.
    pub(crate) fn seal(&self, room: &RoomId, name: &SecretName, value: &str) -> Vec<u8> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).expect("the system has random numbers");
        let mut sealed = value.as_bytes().to_vec();
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), bound_to(room, name), &mut sealed)
            .expect("a value is far below what may be sealed");
        [&[VERSION], &self.id[..], &nonce, &sealed].concat()
    }

    pub(crate) fn open(&self, room: &RoomId, name: &SecretName, stored: &[u8]) -> Result<Value, Unreadable> {
        let (version, rest) = stored.split_first().ok_or(Unreadable::Damaged)?;
        let (id, rest) = rest.split_first_chunk::<4>().ok_or(Unreadable::Damaged)?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE_LEN>().ok_or(Unreadable::Damaged)?;
        if *version != VERSION {
            return Err(Unreadable::Damaged);
        }
        if *id != self.id {
            return Err(Unreadable::OtherKey);
        }
        let mut sealed = rest.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let value = self.key.open_in_place(nonce, bound_to(room, name), &mut sealed);
        let value = value.map_err(|_| Unreadable::Damaged)?;
        std::str::from_utf8(value).map(Value::new).map_err(|_| Unreadable::Damaged)
    }
}

/// A value that is copied to another room or name cannot be read there.
fn bound_to(room: &RoomId, name: &SecretName) -> Aad<String> {
    Aad::from(format!("buildspaces secret\0{room}\0{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(digit: &str) -> Key {
        Key::parse(&digit.repeat(64)).expect("a key")
    }

    #[test]
    fn a_value_is_read_where_it_was_stored_and_nowhere_else() {
        let (room, name) = (RoomId::random(), SecretName::parse("TOKEN").expect("valid"));
        let stored = key("a").seal(&room, &name, "hunter2hunter2");
        assert!(!stored.windows(7).any(|window| window == b"hunter2"));
        assert_ne!(stored, key("a").seal(&room, &name, "hunter2hunter2"), "a nonce of its own");
        assert_eq!(key("a").open(&room, &name, &stored), Ok(Value::new("hunter2hunter2")));
        assert_eq!(key("b").open(&room, &name, &stored), Err(Unreadable::OtherKey));
        let other = SecretName::parse("OTHER").expect("valid");
        assert_eq!(key("a").open(&room, &other, &stored), Err(Unreadable::Damaged));
        assert_eq!(key("a").open(&RoomId::random(), &name, &stored), Err(Unreadable::Damaged));
        for at in 0..stored.len() {
            let mut damaged = stored.clone();
            damaged[at] ^= 1;
            assert!(key("a").open(&room, &name, &damaged).is_err(), "{at}");
            assert!(key("a").open(&room, &name, &stored[..at]).is_err(), "{at}");
        }
    }

    #[test]
    fn keys_are_hexadecimal() {
        assert!(Key::parse(&format!("{}\n", "aB".repeat(32))).is_ok());
        for bad in ["", "ab", &"g".repeat(64), &"a".repeat(63), &"a".repeat(65), &"é".repeat(32)] {
            assert_eq!(Key::parse(bad).err(), Some(KeyError), "{bad}");
        }
    }
}
