//! A secret that the proxy puts into requests: to which host, as which header. Pure.

use buildspaces_kernel::address;
use serde::{Deserialize, Serialize};

/// Where the value stands in the template.
const PLACE: &str = "{}";

/// Longest name of a header and longest template, in bytes.
const MAX_TEXT: usize = 128;

/// Headers that say where a request ends, what becomes of the connection or where it goes.
const RESERVED: [&str; 11] = [
    "host",
    "connection",
    "keep-alive",
    "content-length",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "accept-encoding",
    "content-encoding",
];

/// A header of requests to one host.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Header {
    /// In small letters.
    host: String,
    port: u16,
    name: String,
    /// With [`PLACE`] once.
    template: String,
}

/// As it is stored.
#[derive(Serialize, Deserialize)]
struct Written {
    host: String,
    header: String,
    template: String,
}

impl Header {
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn new(host: &str, name: &str, template: &str) -> Result<Self, String> {
        let (host, port) = parse_host(host)
            .ok_or_else(|| format!("{host:?} is not one host, such as api.example.com or git.example.com:8443"))?;
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || name.len() > MAX_TEXT || !name.bytes().all(is_token) {
            return Err(format!("{name:?} is not the name of a header, such as Authorization"));
        }
        let lower = name.to_ascii_lowercase();
        if RESERVED.contains(&&*lower) || lower.starts_with("proxy-") {
            return Err(format!("the header {name} is not for secrets: it decides about the connection"));
        }
        if template.len() > MAX_TEXT || template.matches(PLACE).count() != 1 || !is_plain(template) {
            return Err(format!(
                "the template {template:?} must be short, of visible ASCII characters, and have {PLACE} once, where the value stands, such as \
                 \"Bearer {PLACE}\""
            ));
        }
        Ok(Self { host, port, name: name.to_owned(), template: template.to_owned() })
    }

    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn template(&self) -> &str {
        &self.template
    }

    /// The host as people write it.
    pub fn authority(&self) -> String {
        address::authority(&self.host, self.port)
    }

    /// What stands in the header.
    pub fn filled(&self, value: &str) -> String {
        self.template.replace(PLACE, value)
    }

    /// Why `value` cannot stand in a header, a sentence.
    pub(super) fn check(&self, value: &str) -> Result<(), String> {
        let fits = is_plain(value) && value.trim() == value;
        fits.then_some(()).ok_or_else(|| {
            "a header cannot hold this value: it may have visible ASCII characters and spaces between them, and no line break".to_owned()
        })
    }
}

fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// A name with a dot in it and a port, which is that of https if left out. No address and no star: a secret is for one host.
pub(super) fn parse_host(text: &str) -> Option<(String, u16)> {
    let text = text.trim().to_ascii_lowercase();
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok().filter(|port| *port != 0)?),
        None => (&*text, 443),
    };
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let is_name = host.contains('.') && host.len() <= 253 && host.split('.').all(is_label);
    let is_address = host.parse::<std::net::IpAddr>().is_ok();
    (is_name && !is_address).then(|| (host.to_owned(), port))
}

impl TryFrom<Written> for Header {
    type Error = String;
    fn try_from(written: Written) -> Result<Self, String> {
        Self::new(&written.host, &written.header, &written.template)
    }
}

impl From<Header> for Written {
    fn from(header: Header) -> Self {
        Self { host: header.authority(), header: header.name, template: header.template }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_would_do_something_else_is_refused() {
        for (host, name, template) in [
            ("api.example.com", "Host", "{}"),
            ("api.example.com", "Transfer-Encoding", "{}"),
            ("api.example.com", "Proxy-Authorization", "{}"),
            ("api.example.com", "a b", "{}"),
            ("api.example.com", "A:", "{}"),
            ("api.example.com", "A", "no place"),
            ("api.example.com", "A", "{} {}"),
            ("api.example.com", "A", "{}\r\nB: c"),
            ("*.example.com", "A", "{}"),
            ("10.0.0.1", "A", "{}"),
            ("localhost", "A", "{}"),
            ("https://api.example.com", "A", "{}"),
            ("api.example.com:0", "A", "{}"),
        ] {
            assert!(Header::new(host, name, template).is_err(), "{host} {name} {template:?}");
        }
        let header = Header::new(" API.Example.com ", "Authorization", "token {}").expect("valid");
        assert_eq!((header.host(), header.port(), header.filled("x").as_str()), ("api.example.com", 443, "token x"));
    }
}
