//! What is in an offer of somebody without a page: one exchange of descriptions stands for all of a conversation (WHIP, RFC 9725, and
//! WHEP, draft-ietf-wish-whep). Pure; every byte is a stranger's.
//!
//! It is taken as a whole or refused in words for whoever set the sender up: half a stream would mislead them (RFC 9725, section
//! 4.4.3). What is not looked at here, such as fingerprints, the transport refuses by itself.

use crate::codec::Codec;
use crate::router::{Kind, Layer};
use crate::sdp::{self, Section};

/// Longest offer. A browser's, with every codec it knows, has some 10 KiB and 300 lines.
pub const MAX_BYTES: usize = 64 << 10;
const MAX_LINES: usize = 2000;

/// Sections of an offer to receive, of each kind.
const MAX_SECTIONS: usize = 8;

/// Sections of any offer. A page needs three, and what the transport does for them grows with the square of their number.
const MAX_ALL: usize = 16;

/// Characters of a section's name. Most count.
const MAX_MID: usize = 32;

/// Which way media goes that is offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// From whoever offers.
    In,
    Out,
}

/// Why an offer is not taken. The texts say what to change.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unusable {
    #[error("that is no session description; send the offer as your WebRTC client made it")]
    NoDescription,
    #[error("the offer is longer than {} KiB or {MAX_LINES} lines; offer fewer codecs", MAX_BYTES >> 10)]
    TooLong,
    #[error(
        "the offer has more than {MAX_ALL} sections; offer one for each microphone, camera and screen that is sent"
    )]
    TooManySections,
    #[error("the offer has neither a name and password for ICE nor a section with them")]
    NoIce,
    #[error("each section of the offer needs a name of its own (a=mid) of 1 to {MAX_MID} characters")]
    NoName,
    #[error("the offer has no audio and no video section")]
    Nothing,
    #[error("only audio and video are taken; leave out the section {0:?}")]
    NoMedia(String),
    #[error("at most {most} {} may be offered", .kind.sections())]
    TooMany { kind: Kind, most: usize },
    #[error("the section {0:?} does not send; offer it as sendonly")]
    SendsNothing(String),
    #[error("the section {0:?} does not receive; offer it as recvonly")]
    ReceivesNothing(String),
    #[error("the sections must share one connection; offer all of them in one a=group:BUNDLE")]
    Unbundled,
    #[error("the section {mid:?} must offer {}", .way.codecs(*.kind))]
    Codec { mid: String, kind: Kind, way: Way },
    #[error("the section {0:?} must name its simulcast layers q, h and f, the smallest first, or send one only")]
    Layers(String),
}

impl Kind {
    fn sections(self) -> &'static str {
        match self {
            Self::Audio => "audio sections",
            Self::Video => "video sections",
        }
    }
}

impl Way {
    fn codecs(self, kind: Kind) -> &'static str {
        match (self, kind) {
            (_, Kind::Audio) => "Opus, as opus/48000/2",
            (Self::In, Kind::Video) => "VP8 or H.264, which are what pages can show",
            (Self::Out, Kind::Video) => "VP8, which is what pages encode their pictures with",
        }
    }

    /// Is one of these enough?
    fn takes(self, kind: Kind) -> &'static [Codec] {
        match self {
            Self::In => Codec::of(kind),
            Self::Out => &Codec::of(kind)[..1],
        }
    }
}

/// With what the pictures of an offer are to be encoded: the best that it has.
pub fn picture(offer: &str) -> Codec {
    let sections = sdp::sections(offer);
    let has = |codec: Codec| sections.iter().any(|section| section.payload_type(codec.encoding()).is_some());
    let codecs = Codec::of(Kind::Video);
    codecs.iter().copied().find(|codec| has(*codec)).unwrap_or(codecs[0])
}

/// What holds for a page's offer, too, of which the transport checks the rest.
pub fn check_size(offer: &str) -> Result<(), Unusable> {
    if !sdp::is_plain(offer) {
        return Err(Unusable::NoDescription);
    }
    if offer.len() > MAX_BYTES || offer.lines().nth(MAX_LINES).is_some() {
        return Err(Unusable::TooLong);
    }
    if sdp::sections(offer).len() > MAX_ALL {
        return Err(Unusable::TooManySections);
    }
    Ok(())
}

/// The names of an offer's sections and what they carry, in their order.
pub fn sections(offer: &str, way: Way) -> Result<Vec<(String, Kind)>, Unusable> {
    if !offer.starts_with("v=0") {
        return Err(Unusable::NoDescription);
    }
    check_size(offer)?;
    if sdp::attribute(offer, "ice-ufrag").is_none() || sdp::attribute(offer, "ice-pwd").is_none() {
        return Err(Unusable::NoIce);
    }
    let mut found: Vec<(String, Kind)> = Vec::new();
    for section in sdp::sections(offer) {
        let mid = section.mid().filter(|mid| (1..=MAX_MID).contains(&mid.len()) && !mid.contains(char::is_whitespace));
        let mid = mid.ok_or(Unusable::NoName)?.to_owned();
        if found.iter().any(|(other, _)| *other == mid) {
            return Err(Unusable::NoName);
        }
        let kind = check(&section, &mid, way)?;
        let most = if way == Way::In { 1 } else { MAX_SECTIONS };
        if found.iter().filter(|(_, of)| *of == kind).count() == most {
            return Err(Unusable::TooMany { kind, most });
        }
        found.push((mid, kind));
    }
    if found.is_empty() {
        return Err(Unusable::Nothing);
    }
    let bundle = sdp::attribute(offer, "group").and_then(|group| group.strip_prefix("BUNDLE ")).unwrap_or_default();
    let is_bundled = |mid: &str| bundle.split(' ').any(|bundled| bundled == mid);
    if found.len() > 1 && !found.iter().all(|(mid, _)| is_bundled(mid)) {
        return Err(Unusable::Unbundled);
    }
    Ok(found)
}

fn check(section: &Section<'_>, mid: &str, way: Way) -> Result<Kind, Unusable> {
    let kind = match section.media() {
        "audio" => Kind::Audio,
        "video" => Kind::Video,
        _ => return Err(Unusable::NoMedia(mid.to_owned())),
    };
    let (sends_nothing, receives_nothing) = (section.has("recvonly"), section.has("sendonly"));
    if way == Way::In && (sends_nothing || section.has("inactive")) {
        return Err(Unusable::SendsNothing(mid.to_owned()));
    }
    if way == Way::Out && (receives_nothing || section.has("inactive")) {
        return Err(Unusable::ReceivesNothing(mid.to_owned()));
    }
    if !way.takes(kind).iter().any(|codec| section.payload_type(codec.encoding()).is_some()) {
        return Err(Unusable::Codec { mid: mid.to_owned(), kind, way });
    }
    let mut layers = section.values("rid").map(|value| value.split(' ').next().unwrap_or_default());
    if way == Way::In && layers.any(|rid| Layer::of_rid(rid).is_none()) {
        return Err(Unusable::Layers(mid.to_owned()));
    }
    Ok(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(media: &str, mid: &str, codec: &str, more: &str) -> String {
        format!("m={media} 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:{mid}\r\na=rtpmap:96 {codec}\r\n{more}")
    }

    fn offer(sections: &[String]) -> String {
        let head = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\na=group:BUNDLE 0 1 2 3\r\na=ice-ufrag:abcd\r\na=ice-pwd:secret\r\n";
        format!("{head}{}", sections.concat())
    }

    fn audio(mid: &str) -> String {
        section("audio", mid, "opus/48000/2", "")
    }

    fn video(more: &str) -> String {
        section("video", "1", "VP8/90000", more)
    }

    #[test]
    fn what_is_offered_is_found() {
        let both = offer(&[audio("0"), video("a=sendonly\r\na=rid:q send\r\na=rid:h send pt=96\r\n")]);
        let found = [("0".to_owned(), Kind::Audio), ("1".to_owned(), Kind::Video)];
        assert_eq!(sections(&both, Way::In), Ok(found.to_vec()));
        let other_case = offer(&[section("video", "0", "vp8/90000", "")]);
        assert_eq!(sections(&other_case, Way::Out).map(|found| found.len()), Ok(1));
        assert_eq!(
            sections(&offer(&[audio("0"), audio("1"), video("").replace("mid:1", "mid:2")]), Way::Out)
                .map(|all| all.len()),
            Ok(3)
        );
    }

    #[test]
    fn pictures_are_of_the_best_codec_that_is_offered() {
        let both = section("video", "1", "H264/90000", "a=rtpmap:97 VP8/90000\r\n");
        let alone = section("video", "1", "h264/90000", "");
        assert_eq!(sections(&offer(&[audio("0"), alone.clone()]), Way::In).map(|all| all.len()), Ok(2));
        assert_eq!(
            [offer(&[audio("0")]), offer(&[both]), offer(&[audio("0"), alone])].map(|offer| picture(&offer)),
            [Codec::Vp8, Codec::Vp8, Codec::H264]
        );
    }

    #[test]
    fn what_cannot_be_taken_is_refused_in_words() {
        use Unusable as U;
        let named = |mid: &str| mid.to_owned();
        for (text, way, expected) in [
            (String::new(), Way::In, U::NoDescription),
            ("nonsense".to_owned(), Way::In, U::NoDescription),
            (offer(&[]), Way::In, U::Nothing),
            (format!("{}{}", offer(&[audio("0")]), "a=x\r\n".repeat(10_000)), Way::In, U::TooLong),
            (format!("{}a={}\r\n", offer(&[audio("0")]), "x".repeat(70_000)), Way::In, U::TooLong),
            (offer(&vec![audio("0"); 17]), Way::Out, U::TooManySections),
            (offer(&[audio("0"), format!("\r{}", video(""))]), Way::In, U::NoDescription),
            (offer(&[audio("0")]).replace("a=ice-pwd:secret\r\n", ""), Way::In, U::NoIce),
            (offer(&[audio("0")]).replace("a=mid:0\r\n", ""), Way::In, U::NoName),
            (offer(&[audio("0"), audio("0")]), Way::Out, U::NoName),
            (offer(&[audio(&"0".repeat(33))]), Way::In, U::NoName),
            (offer(&[audio("a b")]), Way::In, U::NoName),
            (offer(&[audio("0"), audio("1")]), Way::In, U::TooMany { kind: Kind::Audio, most: 1 }),
            (offer(&[audio("0"), section("application", "1", "x/1", "")]), Way::In, U::NoMedia(named("1"))),
            (offer(&[video("a=recvonly\r\n")]), Way::In, U::SendsNothing(named("1"))),
            (offer(&[video("a=inactive\r\n")]), Way::In, U::SendsNothing(named("1"))),
            (offer(&[video("a=sendonly\r\n")]), Way::Out, U::ReceivesNothing(named("1"))),
            (offer(&[audio("0"), video("")]).replace("BUNDLE 0 1", "BUNDLE 0"), Way::In, U::Unbundled),
            (
                offer(&[section("video", "1", "AV1/90000", "")]),
                Way::In,
                U::Codec { mid: named("1"), kind: Kind::Video, way: Way::In },
            ),
            (
                offer(&[section("video", "1", "H264/90000", "")]),
                Way::Out,
                U::Codec { mid: named("1"), kind: Kind::Video, way: Way::Out },
            ),
            (offer(&[video("a=rid:0 send\r\n")]), Way::In, U::Layers(named("1"))),
        ] {
            assert_eq!(sections(&text, way), Err(expected), "{text:.300}");
        }
        let said = U::Codec { mid: named("1"), kind: Kind::Video, way: Way::In }.to_string();
        assert_eq!(said, "the section \"1\" must offer VP8 or H.264, which are what pages can show");
        assert_eq!(U::TooMany { kind: Kind::Audio, most: 1 }.to_string(), "at most 1 audio sections may be offered");
    }
}
