//! The secret of a webhook, and how it signs: as Standard Webhooks (standardwebhooks.com, symmetric signatures) has it, so that
//! receivers check with the libraries that exist.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use buildspaces_kernel::UnixMillis;
use rand::RngCore;
use ring::hmac;

const PREFIX: &str = "whsec_";

/// Bytes of a new secret; the specification wants 24 to 64.
const NEW_BYTES: usize = 32;
const MIN_BYTES: usize = 24;
const MAX_BYTES: usize = 64;

/// What sender and receiver know and nobody else. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

/// The secret cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "must be whsec_ and the base64 of {MIN_BYTES} to {MAX_BYTES} random bytes; \
     `echo whsec_$(openssl rand -base64 32)` prints one"
)]
pub struct BadSecret;

impl Secret {
    pub fn random() -> Self {
        let mut bytes = vec![0; NEW_BYTES];
        rand::rng().fill_bytes(&mut bytes);
        Self(bytes)
    }

    pub fn parse(text: &str) -> Result<Self, BadSecret> {
        let bytes = STANDARD.decode(text.strip_prefix(PREFIX).ok_or(BadSecret)?).map_err(|_| BadSecret)?;
        if (MIN_BYTES..=MAX_BYTES).contains(&bytes.len()) { Ok(Self(bytes)) } else { Err(BadSecret) }
    }

    /// The secret itself, for whoever may see it.
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}", STANDARD.encode(&self.0))
    }

    /// The headers of one attempt: what it is, when it is made, and the proof that it is from us.
    pub fn headers(&self, id: &str, now: UnixMillis, body: &str) -> [(&'static str, String); 3] {
        let seconds = now.div_euclid(1000);
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        let tag = hmac::sign(&key, format!("{id}.{seconds}.{body}").as_bytes());
        [
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", seconds.to_string()),
            ("webhook-signature", format!("v1,{}", STANDARD.encode(tag.as_ref()))),
        ]
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_what_another_implementation_makes_of_the_same() {
        // Made by the library `standardwebhooks` 1.1.1 for Node.js, and the same by Python's hmac.
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLjSw").expect("valid");
        let headers = secret.headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330_999, r#"{"test": 2432232314}"#);
        let [(_, id), (_, timestamp), (_, signature)] = headers;
        assert_eq!((&*id, &*timestamp), ("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330"));
        assert_eq!(signature, "v1,q6KMVIJHk4Gs770FfR5f591Ftx7uVJSGl5wHV1ri978=");
    }

    #[test]
    fn secrets_are_read_back_and_weak_ones_refused() {
        let secret = Secret::random();
        assert_eq!(Secret::parse(&secret.reveal()), Ok(secret.clone()));
        assert_ne!(Secret::random(), secret);
        for bad in ["", "whsec_", "whsec_c2hvcnQ=", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLjSw", "whsec_%%%"] {
            assert_eq!(Secret::parse(bad), Err(BadSecret), "{bad}");
        }
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }
}
