//! Where previews are: the names of their hosts, and whose name is above whose. Pure.

use axum::http::Uri;
use buildspaces_kernel::ids::RoomId;
use sha2::{Digest, Sha256};

/// Below this every browser finds its own machine, without asking anybody (RFC 6761).
const LOCAL: &str = "preview.localhost";

/// Bytes of a name; each is two characters of it.
const NAME_BYTES: usize = 10;

/// Where previews are reached, such as `https://preview.example`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Base {
    scheme: &'static str,
    host: String,
    port: Option<u16>,
}

/// Why an address is not taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BaseError {
    #[error("is not an address such as https://preview.example")]
    Invalid,
    /// An address has no names below it.
    #[error("must have a name as its host, not an address: each preview is reached under a name of its own below it")]
    Address,
}

impl Base {
    pub fn parse(text: &str) -> Result<Self, BaseError> {
        let uri: Uri = text.parse().map_err(|_| BaseError::Invalid)?;
        let scheme = match uri.scheme_str() {
            Some("https") => "https",
            Some("http") => "http",
            _ => return Err(BaseError::Invalid),
        };
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
        let host = authority.ok_or(BaseError::Invalid)?.host().to_ascii_lowercase();
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() || host.is_empty() {
            return Err(BaseError::Invalid);
        }
        if host.starts_with('[') || host.parse::<std::net::IpAddr>().is_ok() {
            return Err(BaseError::Address);
        }
        Ok(Self { scheme, host, port: uri.port_u16() })
    }

    /// Would `host` be taken for a preview?
    pub fn is_above(&self, host: &str) -> bool {
        host.to_ascii_lowercase().strip_suffix(&self.host).is_some_and(|rest| rest.ends_with('.'))
    }
}

/// The name of a port of a room: the same for ever, and nobody finds the room by it, whose id is what lets people in.
pub(super) fn name_of(room: &RoomId, port: u16) -> String {
    let hash = Sha256::digest(format!("preview {room} {port}"));
    hash.iter().take(NAME_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

/// Knows previews by the host they are asked under.
pub(super) struct Addresses {
    base: Option<Base>,
    port: Option<u16>,
}

impl Addresses {
    pub(super) fn new(base: Option<Base>, port: Option<u16>) -> Self {
        Self { base, port }
    }

    fn parent(&self) -> &str {
        self.base.as_ref().map_or(LOCAL, |base| &base.host)
    }

    /// The name of the preview that is asked for under `host`, which may be none of any room; `None` if that is no preview's host.
    pub(super) fn name(&self, host: &str) -> Option<String> {
        let host = bare(host)?;
        let name = host.strip_suffix(self.parent())?.strip_suffix('.')?;
        Some(name.to_owned())
    }

    /// The origin of a preview, for whoever reached the server under `main`. `None` if they would not get there.
    pub(super) fn origin(&self, name: &str, main: &str) -> Option<String> {
        if let Some(Base { scheme, host, port }) = &self.base {
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            return Some(format!("{scheme}://{name}.{host}{port}"));
        }
        let uri: Uri = format!("http://{main}/").parse().ok()?;
        let host = bare(main)?;
        let address = host.trim_start_matches('[').trim_end_matches(']').parse();
        let is_local = host == "localhost" || host.ends_with(".localhost") || address.is_ok_and(crate::is_loopback);
        let port = self.port.or(uri.port_u16()).map(|port| format!(":{port}")).unwrap_or_default();
        is_local.then(|| format!("http://{name}.{LOCAL}{port}"))
    }

    /// All origins of previews, as a source expression of a Content-Security-Policy.
    pub(super) fn frame_source(&self) -> String {
        match &self.base {
            Some(Base { scheme, host, port: Some(port) }) => format!("{scheme}://*.{host}:{port}"),
            Some(Base { scheme, host, port: None }) => format!("{scheme}://*.{host}"),
            None => format!("http://*.{LOCAL}:*"),
        }
    }
}

/// A host without its port, in small letters.
fn bare(host: &str) -> Option<String> {
    let uri: Uri = format!("http://{host}/").parse().ok()?;
    uri.host().map(|host| host.trim_end_matches('.').to_ascii_lowercase())
}

/// Could a cookie be for both the page of `origin` and `host`? Not if no more than the last part of their names is the same.
pub(super) fn have_parent_in_common(origin: &str, host: &str) -> bool {
    let one = origin.split_once("://").and_then(|(_, authority)| bare(authority)).unwrap_or_default();
    let other = bare(host).unwrap_or_default();
    let same = one.rsplit('.').zip(other.rsplit('.')).take_while(|(one, other)| one == other).count();
    same >= 2 && other.parse::<std::net::IpAddr>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_of_a_room_has_a_name_of_its_own() {
        let (one, other) = (RoomId::parse("one").expect("id"), RoomId::parse("other").expect("id"));
        assert_eq!(name_of(&one, 8000), "7d7d85520a84e8fc38aa");
        assert_ne!(name_of(&one, 8000), name_of(&one, 8001));
        assert_ne!(name_of(&one, 8000), name_of(&other, 8000));
    }

    #[test]
    fn previews_are_known_by_their_host() {
        let local = Addresses::new(None, None);
        for (host, name) in [
            ("abc.preview.localhost:8080", Some("abc")),
            ("ABC.Preview.Localhost.", Some("abc")),
            ("a.b.preview.localhost", Some("a.b")),
            ("preview.localhost:8080", None),
            ("abcpreview.localhost", None),
            ("localhost:8080", None),
            ("127.0.0.1", None),
            ("abc.preview.localhost.evil.example", None),
            ("", None),
        ] {
            assert_eq!(local.name(host).as_deref(), name, "{host}");
        }
        let set = Addresses::new(Some(Base::parse("https://preview.example").expect("valid")), None);
        assert_eq!(set.name("abc.preview.example:443").as_deref(), Some("abc"));
        assert_eq!(set.name("abc.preview.localhost"), None);
    }

    #[test]
    fn without_an_address_previews_are_for_this_machine_alone() {
        let local = Addresses::new(None, None);
        let at = |host: &str| local.origin("abc", host);
        assert_eq!(at("127.0.0.1:8080").as_deref(), Some("http://abc.preview.localhost:8080"));
        assert_eq!(at("localhost").as_deref(), Some("http://abc.preview.localhost"));
        assert_eq!(at("[::1]:9").as_deref(), Some("http://abc.preview.localhost:9"));
        assert_eq!((at("192.168.1.5:8080"), at("rooms.example")), (None, None));
        let second = Addresses::new(None, Some(8081));
        assert_eq!(second.origin("abc", "localhost:8080").as_deref(), Some("http://abc.preview.localhost:8081"));
        let set = Addresses::new(Some(Base::parse("https://P.example:8443/").expect("valid")), Some(8081));
        assert_eq!(set.origin("abc", "rooms.example").as_deref(), Some("https://abc.p.example:8443"));
        assert_eq!(set.frame_source(), "https://*.p.example:8443");
        assert_eq!(local.frame_source(), "http://*.preview.localhost:*");
    }

    #[test]
    fn an_address_for_previews_has_a_name() {
        for wrong in ["preview.example", "ftp://p.example", "https://p.example/x", "https://a@p.example", "https://"] {
            assert_eq!(Base::parse(wrong), Err(BaseError::Invalid), "{wrong}");
        }
        for address in ["http://127.0.0.1:8081", "http://[::1]"] {
            assert_eq!(Base::parse(address), Err(BaseError::Address), "{address}");
        }
    }

    #[test]
    fn a_cookie_can_be_for_two_names_below_one() {
        for (origin, host, expected) in [
            ("https://abc.preview.rooms.example", "rooms.example:443", true),
            ("https://abc.preview.example.org", "rooms.example.org", true),
            ("https://abc.rooms-preview.example", "rooms.example", false),
            ("http://abc.preview.localhost:8080", "localhost:8080", false),
            ("http://abc.preview.localhost:8080", "127.0.0.1:8080", false),
        ] {
            assert_eq!(have_parent_in_common(origin, host), expected, "{origin} {host}");
        }
    }
}
