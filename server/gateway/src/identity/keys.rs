//! Keys that check tokens, and the one that makes them. Each is for one algorithm and never serves another.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use ring::signature::KeyPair;

use super::crypto;

/// Fewest bytes of a secret: as many as the hash has, so that guessing it is no easier than forging a signature.
pub(super) const MIN_SECRET_BYTES: usize = 32;

/// Why a key cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyError {
    /// Guessable. Make a longer one.
    #[error("has {0} bytes; it needs at least {MIN_SECRET_BYTES}, such as `openssl rand -hex 32` prints")]
    ShortSecret(usize),
    /// Not a PEM file, or of another kind of key.
    #[error("is not an Ed25519 private key in PEM; make one with `openssl genpkey -algorithm ed25519`")]
    NotPrivate,
    #[error("is neither an Ed25519 nor an RSA public key in PEM (BEGIN PUBLIC KEY)")]
    NotPublic,
}

/// Checks the tokens of whoever has its other half.
#[derive(Clone)]
pub struct Key {
    /// The `kid` that tokens name it by, if it has one.
    pub(super) id: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) check: DecodingKey,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("id", &self.id).field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// Makes tokens.
#[derive(Clone, Debug)]
pub struct SigningKey {
    pub(super) algorithm: Algorithm,
    pub(super) sign: EncodingKey,
}

impl Key {
    /// An Ed25519 or RSA public key in PEM.
    pub fn public_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let ed = DecodingKey::from_ed_pem(pem).map(|check| (Algorithm::EdDSA, check));
        let found = ed.or_else(|_| DecodingKey::from_rsa_pem(pem).map(|check| (Algorithm::RS256, check)));
        // A private key would be read as RSA too.
        let is_private = pem.windows(7).any(|word| word == b"PRIVATE");
        let (algorithm, check) = found.ok().filter(|_| !is_private).ok_or(KeyError::NotPublic)?;
        Ok(Self { id: None, algorithm, check })
    }

    /// A key of a key set, if it is one that may check signatures of ours. Secrets are not taken from there.
    pub(super) fn from_jwk(jwk: &Jwk) -> Option<Self> {
        let common = &jwk.common;
        if !matches!(common.public_key_use, None | Some(PublicKeyUse::Signature)) {
            return None;
        }
        let algorithm = match (&jwk.algorithm, common.key_algorithm) {
            (AlgorithmParameters::RSA(_), None | Some(KeyAlgorithm::RS256)) => Algorithm::RS256,
            (AlgorithmParameters::OctetKeyPair(pair), None | Some(KeyAlgorithm::EdDSA))
                if pair.curve == EllipticCurve::Ed25519 =>
            {
                Algorithm::EdDSA
            }
            _ => return None,
        };
        Some(Self { id: common.key_id.clone(), algorithm, check: DecodingKey::from_jwk(jwk).ok()? })
    }
}

impl SigningKey {
    /// A secret that makes and checks tokens (HS256).
    pub fn secret(secret: &[u8]) -> Result<(Self, Key), KeyError> {
        if secret.len() < MIN_SECRET_BYTES {
            return Err(KeyError::ShortSecret(secret.len()));
        }
        let algorithm = Algorithm::HS256;
        let key = Key { id: None, algorithm, check: DecodingKey::from_secret(secret) };
        Ok((Self { algorithm, sign: EncodingKey::from_secret(secret) }, key))
    }

    /// An Ed25519 private key in PEM, and the public key that belongs to it (EdDSA).
    pub fn private_pem(pem: &[u8]) -> Result<(Self, Key), KeyError> {
        let sign = EncodingKey::from_ed_pem(pem).map_err(|_| KeyError::NotPrivate)?;
        let pair = crypto::ed_key_pair(sign.as_bytes()).map_err(|_| KeyError::NotPrivate)?;
        let algorithm = Algorithm::EdDSA;
        let key = Key { id: None, algorithm, check: DecodingKey::from_ed_der(pair.public_key().as_ref()) };
        Ok((Self { algorithm, sign }, key))
    }
}
