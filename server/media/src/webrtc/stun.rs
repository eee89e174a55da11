//! What is read of checks (STUN binding requests, RFC 8489) before the crate sees them: whose they are, and whether they prove it. Pure.

use ring::hmac;

/// Where the attributes of a message begin.
const HEADER: usize = 20;

/// How a binding request begins, and the answer to one.
const REQUEST: [u8; 2] = [0, 1];
const SUCCESS: [u8; 2] = [1, 1];

/// Is this a check or an answer to one, and not something for which checks found the way (RFC 7983, section 7)?
pub(super) fn is_check(packet: &[u8]) -> bool {
    packet.first().is_some_and(|first| *first < 4)
}

/// By what an answer is known to be the answer to a check (RFC 8489, section 5).
pub(super) type Transaction = [u8; 12];

/// `None`: no check and no answer to one.
pub(super) fn transaction(packet: &[u8]) -> Option<Transaction> {
    is_check(packet).then(|| packet.get(8..HEADER)?.try_into().ok()).flatten()
}

/// The key that a description's password is.
pub(super) fn key(password: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes())
}

/// The first half of the user name of a STUN binding request (RFC 8489, sections 5 and 14.3): the fragment of whom it is for.
pub(super) fn fragment(packet: &[u8]) -> Option<&str> {
    const USERNAME: u16 = 0x0006;
    if !is_of(packet, REQUEST) {
        return None;
    }
    let (_, value) = attribute(packet, USERNAME)?;
    std::str::from_utf8(value).ok()?.split(':').next()
}

/// Does this check choose the addresses that it goes between (RFC 8445, section 7.1.2)?
pub(super) fn nominates(packet: &[u8]) -> bool {
    const USE_CANDIDATE: u16 = 0x0025;
    is_of(packet, REQUEST) && attribute(packet, USE_CANDIDATE).is_some()
}

/// Is this the answer to a check of ours that came through?
pub(super) fn answers(packet: &[u8]) -> bool {
    is_of(packet, SUCCESS)
}

fn is_of(packet: &[u8], class: [u8; 2]) -> bool {
    const COOKIE: [u8; 4] = 0x2112_a442_u32.to_be_bytes();
    packet.starts_with(&class) && packet.get(4..8) == Some(&COOKIE)
}

/// Was this made by somebody who knows the password (RFC 8489, section 14.5)?
pub(super) fn is_genuine(packet: &[u8], password: &hmac::Key) -> bool {
    const MESSAGE_INTEGRITY: u16 = 0x0008;
    let Some((at, tag)) = attribute(packet, MESSAGE_INTEGRITY) else { return false };
    let Ok(len) = u16::try_from(at + 4 + tag.len() - HEADER) else { return false };
    // What stands before it, with the length as if it were the last attribute.
    let mut signed = packet[..at].to_vec();
    signed[2..4].copy_from_slice(&len.to_be_bytes());
    hmac::verify(password, &signed, tag).is_ok()
}

/// Where an attribute of a STUN message begins, and its value.
fn attribute(packet: &[u8], wanted: u16) -> Option<(usize, &[u8])> {
    let number = |at: usize| Some(u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]));
    let mut at = HEADER;
    loop {
        let (kind, len) = (number(at)?, usize::from(number(at + 2)?));
        let value = packet.get(at + 4..at + 4 + len)?;
        if kind == wanted {
            return Some((at, value));
        }
        at += 4 + len.next_multiple_of(4);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A check for `name` by somebody who believes that this is the password.
    pub(in crate::webrtc) fn check(name: &str, password: &str) -> Vec<u8> {
        let mut packet = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        packet.extend([7; 12]);
        // Something before it: attributes come in any order.
        packet.extend([0x80, 0x22, 0, 3, 1, 2, 3, 0]);
        packet.extend([0, 6, 0, name.len() as u8]);
        packet.extend(name.as_bytes());
        packet.resize(packet.len().next_multiple_of(4), 0);
        packet[3] = (packet.len() + 24 - HEADER) as u8;
        let tag = hmac::sign(&key(password), &packet);
        packet.extend([0, 8, 0, 20]);
        packet.extend(tag.as_ref());
        // A fingerprint after it, which is not signed.
        packet.extend([0x80, 0x28, 0, 4, 1, 2, 3, 4]);
        packet[3] += 8;
        packet
    }

    #[test]
    fn a_check_names_whom_it_is_for_and_nothing_else_does() {
        let genuine = check("abcd:efgh", "secret");
        assert_eq!(fragment(&genuine), Some("abcd"));
        assert!(is_genuine(&genuine, &key("secret")) && !is_genuine(&genuine, &key("secreT")));
        let mut answer = genuine.clone();
        answer[0] = 1;
        assert_eq!(fragment(&answer), None);
        for cut in 0..genuine.len() - 8 {
            assert!(!is_genuine(&genuine[..cut], &key("secret")), "{cut}");
        }
        for changed in 0..genuine.len() - 8 {
            let mut forged = genuine.clone();
            forged[changed] ^= 1;
            // The length is not what it says but what is there.
            let matters = changed != 2 && changed != 3;
            assert_ne!(is_genuine(&forged, &key("secret")), matters, "{changed}");
        }
        assert_eq!(fragment(&[0x80; 40]), None);
    }
}
