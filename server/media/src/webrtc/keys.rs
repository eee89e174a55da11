//! The keys under which a connection sends, which the crate gives to nobody: whoever sends past it ([`super::lane`]) has to have them.
//!
//! The crate's cryptography may be anybody's, so [`Keys`] is that: the crate's own, in which each connection's SRTP keys pass by when
//! session keys are derived from them (RFC 3711, section 4.3). It makes the context that it sends with before the one that it
//! receives with, and of each derives the key with label 0 first, whose input is nothing but the salt.

use std::sync::{Arc, Mutex};

use rtc::crypto::{
    self, AeadAlgorithm, AeadCipher, BlockCipherAlgorithm, CbcAlgorithm, CbcCipher, CryptoAlgorithm, CryptoError,
    HashAlgorithm, HmacAlgorithm, KeyExchangeAlgorithm, Mac, PublicKey, RTCCrypto, RTCCryptoProvider, RTCRandom,
    SecretVec, SignatureScheme, SigningKey, StreamCipher, StreamCipherAlgorithm,
};
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc::srtp::context::Context;
use rtc::srtp::protection_profile::ProtectionProfile;

/// What a connection may agree on: one for each shape of [`Sending`]'s fields.
pub(super) const PROFILES: [SrtpProtectionProfile; 3] = [
    SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
    SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm,
    SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
];

pub(super) struct Keys {
    inner: Arc<dyn RTCCryptoProvider>,
    sending: Mutex<Option<Sending>>,
}

struct Sending {
    key: SecretVec,
    salt: SecretVec,
    /// Counter mode makes stream ciphers, GCM does not, and nothing else of a connection does.
    is_counter_mode: bool,
}

impl Keys {
    pub(super) fn new() -> Result<Arc<Self>, CryptoError> {
        Ok(Arc::new(Self { inner: crypto::default_provider()?, sending: Mutex::default() }))
    }

    /// What protects packets as the crate would; `None` before there are keys.
    pub(super) fn sending(&self) -> Option<Context> {
        let sending = self.sending.lock().expect("keys are only read and written");
        let Sending { key, salt, is_counter_mode } = sending.as_ref()?;
        let profile = match key.len() {
            32 => ProtectionProfile::AeadAes256Gcm,
            _ if *is_counter_mode => ProtectionProfile::Aes128CmHmacSha1_80,
            _ => ProtectionProfile::AeadAes128Gcm,
        };
        let salt = &salt.as_ref()[..profile.salt_len()];
        let context = Context::new(key.as_ref(), salt, profile, None, None, self.inner.crypto());
        context.inspect_err(|error| tracing::error!(%error, "a connection's keys cannot be used")).ok()
    }
}

impl RTCCryptoProvider for Keys {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn crypto(&self) -> &dyn RTCCrypto {
        self
    }

    fn random(&self) -> &dyn RTCRandom {
        self.inner.random()
    }
}

impl RTCCrypto for Keys {
    fn block_encrypt(&self, algorithm: BlockCipherAlgorithm, key: &[u8], block: &mut [u8]) -> Result<(), CryptoError> {
        let (mine, salt) = (|bytes: &[u8]| SecretVec::new(bytes.to_vec()), &*block);
        let mut sending = self.sending.lock().expect("keys are only read and written");
        sending.get_or_insert_with(|| Sending { key: mine(key), salt: mine(salt), is_counter_mode: false });
        drop(sending);
        self.inner.crypto().block_encrypt(algorithm, key, block)
    }

    fn new_stream_cipher(
        &self,
        algorithm: StreamCipherAlgorithm,
        key: &[u8],
    ) -> Result<Box<dyn StreamCipher>, CryptoError> {
        if let Some(sending) = &mut *self.sending.lock().expect("keys are only read and written") {
            sending.is_counter_mode = true;
        }
        self.inner.crypto().new_stream_cipher(algorithm, key)
    }

    fn supports(&self, algorithm: CryptoAlgorithm) -> bool {
        self.inner.crypto().supports(algorithm)
    }

    fn hash(&self, algorithm: HashAlgorithm, data: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.inner.crypto().hash(algorithm, data)
    }

    fn new_hmac(&self, algorithm: HmacAlgorithm, key: &[u8]) -> Result<Box<dyn Mac>, CryptoError> {
        self.inner.crypto().new_hmac(algorithm, key)
    }

    fn new_aead(&self, algorithm: AeadAlgorithm, key: &[u8]) -> Result<Box<dyn AeadCipher>, CryptoError> {
        self.inner.crypto().new_aead(algorithm, key)
    }

    fn new_cbc(&self, algorithm: CbcAlgorithm, key: &[u8]) -> Result<Box<dyn CbcCipher>, CryptoError> {
        self.inner.crypto().new_cbc(algorithm, key)
    }

    fn start_key_exchange(
        &self,
        algorithm: KeyExchangeAlgorithm,
    ) -> Result<Box<dyn crypto::ActiveKeyExchange>, CryptoError> {
        self.inner.crypto().start_key_exchange(algorithm)
    }

    fn generate_signing_key(&self, scheme: SignatureScheme) -> Result<Arc<dyn SigningKey>, CryptoError> {
        self.inner.crypto().generate_signing_key(scheme)
    }

    fn import_signing_key(&self, scheme: SignatureScheme, pkcs8: &[u8]) -> Result<Arc<dyn SigningKey>, CryptoError> {
        self.inner.crypto().import_signing_key(scheme, pkcs8)
    }

    fn verify_signature(
        &self,
        scheme: SignatureScheme,
        public_key: PublicKey<'_>,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError> {
        self.inner.crypto().verify_signature(scheme, public_key, message, signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_protects_is_what_the_crate_would_send() {
        for profile in
            [ProtectionProfile::AeadAes128Gcm, ProtectionProfile::AeadAes256Gcm, ProtectionProfile::Aes128CmHmacSha1_80]
        {
            let keys = Keys::new().expect("there is cryptography");
            assert!(keys.sending().is_none());
            // As the crate does at the end of the handshake.
            let context = |byte: u8| {
                let (key, salt) = (vec![byte; profile.key_len()], vec![byte ^ 0xff; profile.salt_len()]);
                Context::new(&key, &salt, profile, None, None, keys.crypto()).expect("valid keys")
            };
            let (mut local, _remote) = (context(1), context(2));
            let mut packet = vec![0x80, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
            packet.extend([7; 100]);
            let mine = keys.sending().expect("they were made").encrypt_rtp(&packet);
            assert_eq!(mine.expect("valid"), local.encrypt_rtp(&packet).expect("valid"), "{profile:?}");
        }
    }
}
