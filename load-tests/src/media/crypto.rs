//! What str0m needs of cryptography, on ring, which the server stands on as well: so clients and the forwarder cost what they cost by
//! their own doing, and no C has to be compiled for them. The DTLS handshake is dimpl's, with its own ciphers.

use std::sync::Arc;
use std::time::Instant;

use aes::cipher::{BlockCipherEncrypt, KeyInit};
use aes::{Aes128, Aes256, Block};
use ring::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::{digest, hmac};
use str0m::crypto::dtls::{
    DtlsCert, DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion, ProtocolVersion,
};
use str0m::crypto::{
    AeadAes128GcmCipher, AeadAes256GcmCipher, Aes128CmSha1_80Cipher, CryptoError, CryptoProvider, Sha1HmacProvider,
    Sha1Provider, Sha256Provider, SrtpProvider, SupportedAeadAes128Gcm, SupportedAeadAes256Gcm,
    SupportedAes128CmSha1_80,
};

/// All of it.
pub fn provider() -> Arc<CryptoProvider> {
    with(&Ring)
}

/// The same for somebody hostile: what they report of packets is as much as a report has room for ([`exaggerate`]). Reports are made by the
/// clients' library, and this is where they pass before nobody can change them any more.
pub fn lying_provider() -> Arc<CryptoProvider> {
    with(&Liar)
}

fn with(srtp_provider: &'static dyn SrtpProvider) -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        srtp_provider,
        sha1_hmac_provider: &Ring,
        sha1_provider: &Ring,
        sha256_provider: &Ring,
        dtls_provider: &Ring,
    })
}

#[derive(Debug)]
struct Ring;

impl Sha1HmacProvider for Ring {
    fn sha1_hmac(&self, key: &[u8], payloads: &[&[u8]]) -> [u8; 20] {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key));
        payloads.iter().for_each(|payload| context.update(payload));
        fixed(context.sign().as_ref())
    }
}

impl Sha1Provider for Ring {
    fn sha1(&self, data: &[u8]) -> [u8; 20] {
        fixed(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, data).as_ref())
    }
}

impl Sha256Provider for Ring {
    fn sha256(&self, data: &[u8]) -> [u8; 32] {
        fixed(digest::digest(&digest::SHA256, data).as_ref())
    }
}

fn fixed<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("a hash has its own length")
}

impl SrtpProvider for Ring {
    fn aes_128_cm_sha1_80(&self) -> &'static dyn SupportedAes128CmSha1_80 {
        &Self
    }

    fn aead_aes_128_gcm(&self) -> &'static dyn SupportedAeadAes128Gcm {
        &Self
    }

    fn aead_aes_256_gcm(&self) -> &'static dyn SupportedAeadAes256Gcm {
        &Self
    }

    fn srtp_aes_128_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        round(&Aes128::new_from_slice(key).expect("a key of 16 bytes"), input, output);
    }

    fn srtp_aes_256_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        round(&Aes256::new_from_slice(key).expect("a key of 32 bytes"), input, output);
    }
}

#[derive(Debug)]
struct Liar;

impl SrtpProvider for Liar {
    fn aes_128_cm_sha1_80(&self) -> &'static dyn SupportedAes128CmSha1_80 {
        &Ring
    }

    fn aead_aes_128_gcm(&self) -> &'static dyn SupportedAeadAes128Gcm {
        &Self
    }

    fn aead_aes_256_gcm(&self) -> &'static dyn SupportedAeadAes256Gcm {
        &Self
    }

    fn srtp_aes_128_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        Ring.srtp_aes_128_ecb_round(key, input, output);
    }

    fn srtp_aes_256_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        Ring.srtp_aes_256_ecb_round(key, input, output);
    }
}

impl SupportedAeadAes128Gcm for Liar {
    fn create_cipher(&self, key: [u8; 16], encrypt: bool) -> Box<dyn AeadAes128GcmCipher> {
        Box::new(Gcm { lies: encrypt, ..Gcm::new(&aead::AES_128_GCM, &key) })
    }
}

impl SupportedAeadAes256Gcm for Liar {
    fn create_cipher(&self, key: [u8; 32], encrypt: bool) -> Box<dyn AeadAes256GcmCipher> {
        Box::new(Gcm { lies: encrypt, ..Gcm::new(&aead::AES_256_GCM, &key) })
    }
}

/// Makes of transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01, section 3.1) that it tells of as many packets as it has
/// room for, none of which arrived. `clear` is how a compound of reports begins, eight bytes that are not encrypted; `text` is the rest.
fn exaggerate(clear: &[u8], mut text: &mut [u8]) {
    const LONGEST_RUN: u16 = 0x1fff;
    let Some(mut head) = clear.first_chunk::<4>().copied() else { return };
    // How much of a report lies before `text`.
    let mut before = 8;
    loop {
        let len = (usize::from(u16::from_be_bytes([head[2], head[3]])) + 1) * 4;
        if len < before {
            return;
        }
        let Some((report, rest)) = text.split_at_mut_checked(len - before) else { return };
        // Behind the SSRCs are first number, count, time and number of the report in 8 bytes, and then what became of packets.
        if head[0] & 0x1f == 15
            && head[1] == 205
            && let Some((fields, chunks)) = report.get_mut(12 - before..).and_then(|all| all.split_at_mut_checked(8))
        {
            let runs = (chunks.len() / 2).saturating_sub(1);
            chunks.chunks_exact_mut(2).for_each(|chunk| chunk.copy_from_slice(&LONGEST_RUN.to_be_bytes()));
            let count = u16::try_from(runs * usize::from(LONGEST_RUN)).unwrap_or(u16::MAX);
            fields[2..4].copy_from_slice(&count.to_be_bytes());
        }
        let Some((next, others)) = rest.split_first_chunk_mut::<4>() else { return };
        (head, before, text) = (*next, 4, others);
    }
}

/// One block, for the derivation of keys (RFC 3711, section 4.3).
fn round(cipher: &impl BlockCipherEncrypt<BlockSize = aes::cipher::consts::U16>, input: &[u8], output: &mut [u8]) {
    let mut block = Block::try_from(&input[..16]).expect("a block has 16 bytes");
    cipher.encrypt_block(&mut block);
    output[..16].copy_from_slice(&block);
}

impl SupportedAeadAes128Gcm for Ring {
    fn create_cipher(&self, key: [u8; 16], _encrypt: bool) -> Box<dyn AeadAes128GcmCipher> {
        Box::new(Gcm::new(&aead::AES_128_GCM, &key))
    }
}

impl SupportedAeadAes256Gcm for Ring {
    fn create_cipher(&self, key: [u8; 32], _encrypt: bool) -> Box<dyn AeadAes256GcmCipher> {
        Box::new(Gcm::new(&aead::AES_256_GCM, &key))
    }
}

#[derive(Debug)]
struct Gcm {
    key: LessSafeKey,
    lies: bool,
}

impl Gcm {
    fn new(algorithm: &'static aead::Algorithm, key: &[u8]) -> Self {
        let key = UnboundKey::new(algorithm, key).expect("the key has the algorithm's length");
        Self { key: LessSafeKey::new(key), lies: false }
    }

    fn seal(&self, iv: [u8; 12], aad: &[u8], input: &[u8], output: &mut [u8]) -> Result<(), CryptoError> {
        let (text, tag) = output.split_at_mut(input.len());
        text.copy_from_slice(input);
        if self.lies && aad.get(1).is_some_and(|kind| (192..=223).contains(kind)) {
            exaggerate(aad, text);
        }
        let nonce = Nonce::assume_unique_for_key(iv);
        let made = self.key.seal_in_place_separate_tag(nonce, Aad::from(aad), text);
        tag[..16].copy_from_slice(made.map_err(|_| failed("a packet could not be encrypted"))?.as_ref());
        Ok(())
    }

    fn open(&self, iv: [u8; 12], aads: &[&[u8]], input: &[u8], output: &mut [u8]) -> Result<usize, CryptoError> {
        let joined;
        let aad = match aads {
            [one] => *one,
            several => {
                joined = several.concat();
                &joined
            }
        };
        let nonce = Nonce::assume_unique_for_key(iv);
        let len = input.len().checked_sub(16).ok_or_else(|| failed("a packet is shorter than its tag"))?;
        // In place, and in a buffer with room for the tag: ring has no other way.
        let mut buffer = [0; LARGEST];
        let text = buffer.get_mut(..input.len()).ok_or_else(|| failed("a packet is longer than any path carries"))?;
        text.copy_from_slice(input);
        self.key.open_in_place(nonce, Aad::from(aad), text).map_err(|_| failed("a packet is not what was sent"))?;
        output[..len].copy_from_slice(&text[..len]);
        Ok(len)
    }
}

/// Larger than what any path carries in one piece.
const LARGEST: usize = 2048;

fn failed(what: &str) -> CryptoError {
    CryptoError::Other(what.to_owned())
}

macro_rules! gcm {
    ($cipher:ident) => {
        impl $cipher for Gcm {
            fn encrypt(
                &mut self,
                iv: &[u8; 12],
                aad: &[u8],
                input: &[u8],
                output: &mut [u8],
            ) -> Result<(), CryptoError> {
                self.seal(*iv, aad, input, output)
            }

            fn decrypt(
                &mut self,
                iv: &[u8; 12],
                aads: &[&[u8]],
                input: &[u8],
                output: &mut [u8],
            ) -> Result<usize, CryptoError> {
                self.open(*iv, aads, input, output)
            }
        }
    };
}

gcm!(AeadAes128GcmCipher);
gcm!(AeadAes256GcmCipher);

impl SupportedAes128CmSha1_80 for Ring {
    fn create_cipher(&self, key: [u8; 16], _encrypt: bool) -> Box<dyn Aes128CmSha1_80Cipher> {
        Box::new(CounterMode(Aes128::new(&key.into())))
    }
}

/// AES in counter mode, for servers that know no GCM.
#[derive(Debug)]
struct CounterMode(Aes128);

impl Aes128CmSha1_80Cipher for CounterMode {
    fn encrypt(&mut self, iv: &[u8; 16], input: &[u8], output: &mut [u8]) -> Result<(), CryptoError> {
        let mut counter = u128::from_be_bytes(*iv);
        let mut stream = [Block::default(); 8];
        for (input, output) in input.chunks(8 * 16).zip(output.chunks_mut(8 * 16)) {
            for block in &mut stream {
                *block = counter.to_be_bytes().into();
                counter = counter.wrapping_add(1);
            }
            self.0.encrypt_blocks(&mut stream);
            for ((out, byte), key) in output.iter_mut().zip(input).zip(stream.iter().flatten()) {
                *out = byte ^ key;
            }
        }
        Ok(())
    }

    fn decrypt(&mut self, iv: &[u8; 16], input: &[u8], output: &mut [u8]) -> Result<(), CryptoError> {
        self.encrypt(iv, input, output)
    }
}

impl DtlsProvider for Ring {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        let key = rcgen::KeyPair::generate().ok()?;
        let certificate = rcgen::CertificateParams::default().self_signed(&key).ok()?;
        Some(DtlsCert { certificate: certificate.der().to_vec(), private_key: key.serialize_der() })
    }

    fn new_dtls(
        &self,
        certificate: &DtlsCert,
        now: Instant,
        _: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        // Checks have proved the other side's address already.
        let config = dimpl::Config::builder().use_server_cookie(false);
        let config = mtu.into_iter().fold(config, |config, mtu| config.mtu(mtu)).build();
        let config = Arc::new(config.map_err(|error| failed(&error.to_string()))?);
        Ok(Box::new(Handshake(dimpl::Dtls::new_12(config, certificate.clone(), now))))
    }
}

struct Handshake(dimpl::Dtls);

impl std::fmt::Debug for Handshake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handshake")
    }
}

impl DtlsInstance for Handshake {
    fn set_active(&mut self, active: bool) {
        self.0.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.0.handle_packet(packet)
    }

    fn poll_output<'a>(&mut self, buffer: &'a mut [u8]) -> DtlsOutput<'a> {
        self.0.poll_output(buffer)
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.0.handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        self.0.send_application_data(data)
    }

    fn is_active(&self) -> bool {
        self.0.is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.0.protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.0.is_closing()
    }

    fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.0.close()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first blocks of section F.5.1 of NIST SP 800-38A.
    #[test]
    fn counter_mode_is_the_standards() {
        let hex = |text: &str| -> Vec<u8> {
            (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
        };
        let key: [u8; 16] = fixed(&hex("2b7e151628aed2a6abf7158809cf4f3c"));
        let iv: [u8; 16] = fixed(&hex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"));
        let plain = hex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51");
        let mut out = vec![0; plain.len()];
        let mut cipher = SupportedAes128CmSha1_80::create_cipher(&Ring, key, true);
        cipher.encrypt(&iv, &plain, &mut out).expect("it encrypts");
        assert_eq!(out, hex("874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff"));
    }

    #[test]
    fn a_lying_report_tells_of_all_it_has_room_for() {
        // A receiver report of nothing, and feedback of 28 bytes about one packet.
        let empty = [0x80, 201, 0, 1, 0, 0, 0, 7];
        let feedback =
            [&[0x8f, 205, 0, 6, 0, 0, 0, 7][..], &[0, 0, 0, 9, 0, 1, 0, 1, 0, 0, 2, 3], &[0x20, 1, 8, 0, 0, 0, 0, 0]]
                .concat();
        let lie = [
            &[0x8f, 205, 0, 6, 0, 0, 0, 7][..],
            &[0, 0, 0, 9, 0, 1, 0x5f, 0xfd, 0, 0, 2, 3],
            &[0x1f, 0xff, 0x1f, 0xff, 0x1f, 0xff, 0x1f, 0xff],
        ]
        .concat();
        let told = |mut compound: Vec<u8>| {
            let (clear, text) = compound.split_at_mut(8);
            exaggerate(clear, text);
            compound
        };
        assert_eq!(told(feedback.clone()), lie);
        assert_eq!(told([&empty[..], &feedback, &empty].concat()), [&empty[..], &lie, &empty].concat());
        assert_eq!(told(empty.to_vec()), empty);
        assert_eq!(told(feedback[..20].to_vec()), feedback[..20], "cut off");
    }

    #[test]
    fn what_was_sealed_opens_and_nothing_else_does() {
        let mut cipher = SupportedAeadAes128Gcm::create_cipher(&Ring, [7; 16], true);
        let (iv, aad) = ([1; 12], [2; 12]);
        let mut sealed = [0; 5 + 16];
        cipher.encrypt(&iv, &aad, b"hello", &mut sealed).expect("it encrypts");
        let mut out = [0; 5];
        assert_eq!(cipher.decrypt(&iv, &[&aad[..4], &aad[4..]], &sealed, &mut out).ok(), Some(5));
        assert_eq!(&out, b"hello");
        sealed[0] ^= 1;
        assert!(cipher.decrypt(&iv, &[&aad], &sealed, &mut out).is_err());
        assert!(cipher.decrypt(&iv, &[&aad], &sealed[..9], &mut out).is_err());
    }
}
