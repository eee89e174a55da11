//! The little that is read in and changed in session descriptions (RFC 8866) here. Everything else in them is the transport's. Pure.

use std::net::SocketAddr;

/// One `m=` section.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Section<'a> {
    lines: Vec<&'a str>,
}

impl<'a> Section<'a> {
    /// `audio`, `video`, or something that is no media.
    pub fn media(&self) -> &'a str {
        self.lines[0]["m=".len()..].split(' ').next().unwrap_or_default()
    }

    pub fn mid(&self) -> Option<&'a str> {
        self.values("mid").next()
    }

    pub fn has(&self, attribute: &str) -> bool {
        self.lines.iter().any(|line| line.strip_prefix("a=") == Some(attribute))
    }

    /// The values of all attributes of that name.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.lines.iter().filter_map(move |line| line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':'))
    }

    /// Under which number packets of an encoding, such as `VP8/90000`, are sent.
    pub fn payload_type(&self, encoding: &str) -> Option<u8> {
        self.values("rtpmap").find_map(|value| {
            let (number, of) = value.split_once(' ')?;
            if of.trim().eq_ignore_ascii_case(encoding) { number.parse().ok() } else { None }
        })
    }
}

pub fn sections(sdp: &str) -> Vec<Section<'_>> {
    blocks(sdp).skip(1).map(|lines| Section { lines }).collect()
}

/// Does every reader see the same lines? Some skip what ends a line where one begins, and see a section where others see none.
pub fn is_plain(sdp: &str) -> bool {
    !sdp.lines().any(|line| line.starts_with('\r'))
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

/// With each track named as its section. Senders call them as they like, or not at all, and the transport knows tracks by their names.
pub fn with_named_tracks(sdp: &str) -> String {
    rewritten(sdp, |section| {
        let name = section.mid().map(|mid| format!("a=msid:- {mid}"));
        (name, section.lines.iter().copied().filter(|line| !names_track(line)).collect())
    })
}

/// Without what says which streams there are.
pub fn without_streams(sdp: &str) -> String {
    let is_kept = |line: &&str| {
        let is_one = |name: &str| line.strip_prefix("a=").is_some_and(|attribute| attribute.starts_with(name));
        !["msid:", "ssrc:", "ssrc-group:", "rid:", "simulcast:"].into_iter().any(is_one)
    };
    sdp.lines().filter(is_kept).flat_map(|line| [line.trim_end(), "\r\n"]).collect()
}

/// With this as the direction of all sections.
pub fn with_direction(sdp: &str, direction: &str) -> String {
    let is_one = |line: &str| matches!(line, "a=sendrecv" | "a=sendonly" | "a=recvonly" | "a=inactive");
    rewritten(sdp, |section| {
        (Some(format!("a={direction}")), section.lines.iter().copied().filter(|line| !is_one(line)).collect())
    })
}

/// With the names and passwords of a restarted ICE session.
pub fn with_credentials(sdp: &str, fragment: &str, password: &str) -> String {
    let line = |line: &str| {
        if line.starts_with("a=ice-ufrag:") {
            format!("a=ice-ufrag:{fragment}\r\n")
        } else if line.starts_with("a=ice-pwd:") {
            format!("a=ice-pwd:{password}\r\n")
        } else {
            format!("{line}\r\n")
        }
    };
    sdp.lines().map(str::trim_end).map(line).collect()
}

/// What of a description is about ICE, as a fragment (RFC 8840, section 9) for those who have the rest.
pub fn fragment(sdp: &str) -> String {
    let is_kept = |line: &&str| {
        ["m=", "a=group:", "a=mid:", "a=ice-", "a=candidate:", "a=end-of-candidates"]
            .iter()
            .any(|prefix| line.starts_with(prefix))
    };
    // All sections share the connection of the first.
    let lines = blocks(sdp).take(2).flatten().filter(is_kept);
    lines.flat_map(|line| [line, "\r\n"]).collect()
}

/// With all tracks in one stream, as simple players show one. (`-` would be none.)
pub fn in_one_stream(sdp: &str) -> String {
    let line = |line: &str| match line.split_once("msid:").filter(|_| names_track(line)) {
        Some((before, names)) => {
            format!("{before}msid:call {}\r\n", names.split_whitespace().next_back().unwrap_or_default())
        }
        None => format!("{line}\r\n"),
    };
    sdp.lines().map(str::trim_end).map(line).collect()
}

fn names_track(line: &str) -> bool {
    line.starts_with("a=msid:") || (line.starts_with("a=ssrc:") && line.contains(" msid:"))
}

/// With these addresses as the only ones, in the first section: the others share its connection (BUNDLE). At those of `tcp` we wait for
/// connections (RFC 6544), and any other way is better.
pub fn with_candidates(sdp: &str, udp: &[SocketAddr], tcp: &[SocketAddr]) -> String {
    /// RFC 8445, section 5.1.2.1, for a host candidate, and RFC 6544, section 4.2, for one that waits; less for each further one.
    const UDP: usize = (126 << 24) | (65_535 << 8) | 255;
    const TCP: usize = (126 << 24) | ((4 << 13) << 8) | 255;
    let candidate = |nth: usize, transport: &str, priority: usize, address: &SocketAddr, kind: &str| {
        let (ip, port) = (address.ip(), address.port());
        format!("a=candidate:{nth} 1 {transport} {priority} {ip} {port} typ host{kind}\r\n")
    };
    let mut out = String::with_capacity(sdp.len() + 256);
    for (at, block) in blocks(&without_candidates(sdp)).enumerate() {
        for line in &block {
            out.push_str(line);
            out.push_str("\r\n");
        }
        if at == 1 {
            for (nth, address) in udp.iter().enumerate() {
                out.push_str(&candidate(nth, "udp", UDP - (nth << 8), address, ""));
            }
            for (nth, address) in tcp.iter().enumerate() {
                let below = tcp.len() - nth;
                out.push_str(&candidate(udp.len() + nth, "tcp", TCP + (below << 8), address, " tcptype passive"));
            }
            out.push_str("a=end-of-candidates\r\n");
        }
    }
    out
}

/// With one line put before the attributes of each section, and those of its lines that are kept.
fn rewritten<'a>(sdp: &'a str, section: impl Fn(&Section<'a>) -> (Option<String>, Vec<&'a str>)) -> String {
    let mut out = String::with_capacity(sdp.len() + 256);
    let mut put = |line: &str| {
        out.push_str(line);
        out.push_str("\r\n");
    };
    for (at, lines) in blocks(sdp).enumerate() {
        let (mut first, kept) = if at == 0 { (None, lines) } else { section(&Section { lines }) };
        for line in kept {
            if line.starts_with("a=")
                && let Some(first) = first.take()
            {
                put(&first);
            }
            put(line);
        }
        if let Some(first) = first {
            put(&first);
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

    const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=sendrecv\r\n\
        a=ice-ufrag:abcd\r\na=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\na=msid:- mic\r\na=rtpmap:111 opus/48000/2\r\n\
        a=candidate:1 1 udp 2113937151 192.0.2.7 55000 typ host\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=ssrc:5 cname:x\r\na=ssrc:5 msid:s cam\r\n\
        a=extmap:4/sendonly urn:x\r\na=candidate:1 1 udp 2113937151 a.local 55001 typ host\r\na=end-of-candidates\r\n";

    #[test]
    fn what_is_needed_is_found() {
        let found = sections(OFFER);
        assert_eq!(
            found.iter().map(|section| (section.media(), section.mid())).collect::<Vec<_>>(),
            [("audio", Some("0")), ("video", Some("1"))]
        );
        assert_eq!(found[0].payload_type("OPUS/48000/2"), Some(111));
        assert_eq!(found[1].payload_type("opus/48000/2"), None);
        assert!(found[1].has("end-of-candidates") && !found[0].has("end-of-candidates"));
        assert_eq!(attribute(OFFER, "ice-ufrag"), Some("abcd"));
        assert_eq!(attribute(OFFER, "ice-pwd"), None);
        assert_eq!(extension(OFFER, "urn:ietf:params:rtp-hdrext:ssrc-audio-level"), Some(1));
        assert_eq!(extension(OFFER, "urn:x"), Some(4));
        assert_eq!(sections("nonsense"), []);
        assert_eq!(sections("m=")[0].media(), "");
        assert!(is_plain(OFFER) && is_plain("v=0\n") && !is_plain("v=0\r\n\rm=audio 9 x 96\r\n"));
    }

    #[test]
    fn tracks_are_called_as_their_sections() {
        let named = with_named_tracks(OFFER);
        let [first, second] = &sections(&named)[..] else { panic!("two sections") };
        assert_eq!(first.values("msid").collect::<Vec<_>>(), ["- 0"]);
        assert_eq!(second.values("msid").collect::<Vec<_>>(), ["- 1"]);
        assert_eq!(second.values("ssrc").collect::<Vec<_>>(), ["5 cname:x"]);
        // The name comes before the streams that have it.
        assert!(named.find("a=msid:- 1") < named.find("a=ssrc:5"));
        assert_eq!(with_named_tracks(&named), named);
        let layered = named.replace("a=mid:1", "a=rid:q send\r\na=simulcast:send q\r\na=mid:1");
        let none = without_streams(&layered);
        assert_eq!(sections(&none).iter().map(Section::mid).collect::<Vec<_>>(), [Some("0"), Some("1")]);
        assert!(["msid", "ssrc:", "rid", "simulcast"].iter().all(|name| !none.contains(name)), "{none}");
        assert!(none.contains("ssrc-audio-level") && none.contains("candidate"));
    }

    #[test]
    fn directions_and_credentials_are_replaced() {
        let sending = with_direction(OFFER, "sendonly");
        assert_eq!((sending.matches("a=sendonly").count(), sending.matches("a=sendrecv").count()), (2, 0));
        let again = with_credentials(OFFER, "wxyz", "secret");
        assert_eq!(attribute(&again, "ice-ufrag"), Some("wxyz"));
        assert_eq!(again.len(), OFFER.len());
        let one = in_one_stream("a=msid-semantic: WMS *\r\na=msid:x a\r\na=ssrc:1 msid:y b\r\na=ssrc:1 cname:x\r\n");
        assert_eq!(one, "a=msid-semantic: WMS *\r\na=msid:call a\r\na=ssrc:1 msid:call b\r\na=ssrc:1 cname:x\r\n");
    }

    #[test]
    fn a_fragment_has_what_ice_needs() {
        let answer = "v=0\r\ns=-\r\na=ice-lite\r\nm=audio 9 x 111\r\na=mid:0\r\na=rtpmap:111 opus/48000/2\r\n\
            a=ice-ufrag:a\r\na=ice-pwd:b\r\na=candidate:0 1 udp 1 127.0.0.1 7 typ host\r\nm=video 9 x 96\r\na=mid:1\r\n";
        let expected = "a=ice-lite\r\nm=audio 9 x 111\r\na=mid:0\r\na=ice-ufrag:a\r\na=ice-pwd:b\r\n\
            a=candidate:0 1 udp 1 127.0.0.1 7 typ host\r\n";
        assert_eq!(fragment(answer), expected);
    }

    #[test]
    fn addresses_are_taken_out_and_ours_put_in() {
        let none = without_candidates(OFFER);
        assert!(!none.contains("candidate") && none.ends_with("a=extmap:4/sendonly urn:x\r\n"));
        let addresses = ["127.0.0.1:7".parse().expect("valid"), "[::1]:7".parse().expect("valid")];
        let ours = with_candidates(OFFER, &addresses, &[]);
        assert_eq!(ours.matches("a=candidate:").count(), 2);
        let (first, second) = ours.split_once("m=video").expect("two sections");
        assert!(
            first.contains(" 127.0.0.1 7 typ host\r\n") && first.contains(" ::1 7 typ host\r\na=end-of-candidates")
        );
        assert!(!second.contains("candidate"));
        assert_eq!(with_candidates(&ours, &addresses, &[]), ours);
        let both = with_candidates(OFFER, &addresses, &addresses[..1]);
        assert!(
            both.contains("a=candidate:2 1 tcp 2122318335 127.0.0.1 7 typ host tcptype passive\r\na=end-of"),
            "{both}"
        );
    }
}
