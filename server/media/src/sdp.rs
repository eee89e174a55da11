//! The little that is read in and changed in session descriptions (RFC 8866) here. Everything else in them is the transport's. Pure.

use std::net::SocketAddr;

/// One `m=` section of an offer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Section {
    pub mid: String,
    /// The second half of `a=msid`, by which the transport names the track.
    pub track: Option<String>,
}

/// The sections of a description, as far as they have a name.
pub fn sections(sdp: &str) -> Vec<Section> {
    let mut sections = Vec::new();
    for block in blocks(sdp).skip(1) {
        let value = |name: &str| block.iter().find_map(|line| line.strip_prefix(name));
        let Some(mid) = value("a=mid:") else { continue };
        let track = value("a=msid:").and_then(|msid| msid.split_whitespace().nth(1));
        sections.push(Section { mid: mid.to_owned(), track: track.map(str::to_owned) });
    }
    sections
}

/// The value of an attribute of the first section that has it, such as `ice-ufrag`.
pub fn attribute<'a>(sdp: &'a str, name: &str) -> Option<&'a str> {
    sdp.lines().find_map(|line| line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// The id under which a description numbers a header extension.
pub fn extension(sdp: &str, uri: &str) -> Option<u8> {
    sdp.lines().find_map(|line| {
        let (id, rest) = line.strip_prefix("a=extmap:")?.split_once(' ')?;
        let is_it = rest.split_whitespace().next() == Some(uri);
        // It may stand there as `3/sendonly`.
        if is_it { id.split('/').next()?.parse().ok() } else { None }
    })
}

/// Without the sender's addresses. Ours is the side that is called (ICE-lite) and learns where a page is from its checks, which
/// prove that it knows the password; an address in a description proves nothing.
pub fn without_candidates(sdp: &str) -> String {
    let is_candidate = |line: &&str| line.starts_with("a=candidate:") || line.starts_with("a=end-of-candidates");
    sdp.lines().filter(|line| !is_candidate(line)).flat_map(|line| [line.trim_end(), "\r\n"]).collect()
}

/// With these addresses as the only ones, in the first section: the others share its connection (BUNDLE).
pub fn with_candidates(sdp: &str, addresses: &[SocketAddr]) -> String {
    /// RFC 8445, section 5.1.2.1, for a host candidate; less for each further one.
    const PRIORITY: usize = (126 << 24) | (65_535 << 8) | 255;
    let mut out = String::with_capacity(sdp.len() + 128);
    for (at, block) in blocks(&without_candidates(sdp)).enumerate() {
        for line in &block {
            out.push_str(line);
            out.push_str("\r\n");
        }
        if at == 1 {
            for (nth, address) in addresses.iter().enumerate() {
                let (ip, port, priority) = (address.ip(), address.port(), PRIORITY - (nth << 8));
                out.push_str(&format!("a=candidate:{nth} 1 udp {priority} {ip} {port} typ host\r\n"));
            }
            out.push_str("a=end-of-candidates\r\n");
        }
    }
    out
}

/// The lines before the first `m=`, then those of each section.
fn blocks(sdp: &str) -> impl Iterator<Item = Vec<&str>> {
    let mut blocks: Vec<Vec<&str>> = vec![Vec::new()];
    for line in sdp.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
        if line.starts_with("m=") {
            blocks.push(Vec::new());
        }
        blocks.last_mut().expect("there is a first block").push(line);
    }
    blocks.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
        a=ice-ufrag:abcd\r\na=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\na=msid:- mic\r\n\
        a=candidate:1 1 udp 2113937151 192.0.2.7 55000 typ host\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\n\
        a=extmap:4/sendonly urn:x\r\na=candidate:1 1 udp 2113937151 a.local 55001 typ host\r\na=end-of-candidates\r\n";

    #[test]
    fn what_is_needed_is_found() {
        let section = |mid: &str, track: Option<&str>| Section { mid: mid.into(), track: track.map(Into::into) };
        assert_eq!(sections(OFFER), [section("0", Some("mic")), section("1", None)]);
        assert_eq!(attribute(OFFER, "ice-ufrag"), Some("abcd"));
        assert_eq!(attribute(OFFER, "ice-pwd"), None);
        assert_eq!(extension(OFFER, "urn:ietf:params:rtp-hdrext:ssrc-audio-level"), Some(1));
        assert_eq!(extension(OFFER, "urn:x"), Some(4));
        assert_eq!(sections("nonsense"), []);
    }

    #[test]
    fn addresses_are_taken_out_and_ours_put_in() {
        let none = without_candidates(OFFER);
        assert!(!none.contains("candidate") && none.ends_with("a=extmap:4/sendonly urn:x\r\n"));
        let addresses = ["127.0.0.1:7".parse().expect("valid"), "[::1]:7".parse().expect("valid")];
        let ours = with_candidates(OFFER, &addresses);
        assert_eq!(ours.matches("a=candidate:").count(), 2);
        let (first, second) = ours.split_once("m=video").expect("two sections");
        assert!(
            first.contains(" 127.0.0.1 7 typ host\r\n") && first.contains(" ::1 7 typ host\r\na=end-of-candidates")
        );
        assert!(!second.contains("candidate"));
        assert_eq!(with_candidates(&ours, &addresses), ours);
    }
}
