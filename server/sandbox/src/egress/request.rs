//! What a program asks the proxy for, and how it is refused. Pure; every byte is a stranger's.

use super::plain::{self, Plain};

/// Longest head of a request, in bytes.
const MAX_HEAD: usize = 8 << 10;

/// Longest name of a host, as names are.
const MAX_HOST: usize = 253;

/// Where a program wants to go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Target {
    /// In small letters, without a dot at its end. Nothing but letters, digits, dots, colons and the like: it is logged.
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// Why a connection is not made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// Nothing that can be read as a request came in time.
    NoRequest,
    /// Plain HTTP, to a host for which the step has no secret.
    NotConnect,
    NotListed(String),
    Unknown(String),
    NotPublic(String),
    Unreachable(String),
    /// It speaks no TLS, or has no certificate that is trusted.
    NotTrusted(String),
    TooMany,
    Spent,
}

impl Refusal {
    /// For records and metrics.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::NoRequest => "no_request",
            Self::NotConnect => "not_connect",
            Self::NotListed(_) => "not_listed",
            Self::Unknown(_) => "unknown_host",
            Self::NotPublic(_) => "not_public",
            Self::Unreachable(_) => "unreachable",
            Self::NotTrusted(_) => "not_trusted",
            Self::TooMany => "too_many",
            Self::Spent => "over_the_limit",
        }
    }

    /// What the program is told. Most show the first line only.
    pub(crate) fn answer(&self) -> String {
        let (status, sentence) = match self {
            Self::NoRequest => ("400 Bad Request", "This is an HTTP proxy: send CONNECT <host>:<port>.".to_owned()),
            Self::NotConnect => {
                let sentence = "Sandboxes reach other hosts by https only, and by http no host but those to which a secret of the step that runs \
                                is given as a header.";
                ("405 Method Not Allowed", sentence.to_owned())
            }
            Self::NotListed(host) => {
                let sentence = format!(
                    "Sandboxes may not reach {host}: it is not in sandbox.egress of this server's configuration."
                );
                ("403 Not Listed In sandbox.egress", sentence)
            }
            Self::Unknown(host) => ("502 Unknown Host", format!("There is no host {host}, or nobody can be asked.")),
            Self::NotPublic(host) => (
                "403 Not A Public Address",
                format!("{host} leads to a private network or to the server's own machine."),
            ),
            Self::Unreachable(host) => ("502 Unreachable", format!("{host} does not answer.")),
            Self::NotTrusted(host) => (
                "502 No Trusted Connection",
                format!("{host} has no certificate that this server trusts, so it gets no secret."),
            ),
            Self::TooMany => {
                ("503 Too Many Connections", "This sandbox has too many connections; try again.".to_owned())
            }
            Self::Spent => {
                ("403 Limit Reached", "This sandbox has exchanged as much as it may (sandbox.egress_mib).".to_owned())
            }
        };
        let length = sentence.len() + 1;
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{sentence}\n"
        )
    }
}

/// What is asked for at the beginning of a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Asked {
    /// A connection in which nothing is looked at.
    Tunnel,
    /// One request in plain HTTP.
    Plain(Plain),
}

/// The request at the beginning of `bytes`, and how long that is; `None` while there is more to come.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Target, Asked, usize)>, Refusal> {
    let head = &bytes[..bytes.len().min(MAX_HEAD)];
    let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") else {
        return if bytes.len() >= MAX_HEAD { Err(Refusal::NoRequest) } else { Ok(None) };
    };
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = std::str::from_utf8(line).map_err(|_| Refusal::NoRequest)?;
    let mut words = line.split(' ');
    let (Some(method), Some(authority), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Refusal::NoRequest);
    };
    if !matches!(version, "HTTP/1.1" | "HTTP/1.0") {
        return Err(Refusal::NoRequest);
    }
    if method != "CONNECT" {
        let (target, plain) = plain::read(&head[..end + 4])?;
        return Ok(Some((target, Asked::Plain(plain), end + 4)));
    }
    let (host, port) = authority.rsplit_once(':').ok_or(Refusal::NoRequest)?;
    let port = Some(port).filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    let port = port.and_then(|port| port.parse().ok()).filter(|port| *port != 0).ok_or(Refusal::NoRequest)?;
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    if !is_host(&host) {
        return Err(Refusal::NoRequest);
    }
    Ok(Some((Target { host, port }, Asked::Tunnel, end + 4)))
}

/// Something that can be compared, resolved and logged.
pub(super) fn is_host(host: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    !host.is_empty() && host.len() <= MAX_HOST && host.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    fn target(host: &str, port: u16) -> Target {
        Target { host: host.to_owned(), port }
    }

    #[test]
    fn a_request_is_read_however_it_is_cut() {
        let request = b"CONNECT PyPI.org.:443 HTTP/1.1\r\nHost: pypi.org:443\r\nUser-Agent: pip\r\n\r\n\x16\x03";
        let length = request.len() - 2;
        for cut in 0..length {
            assert_eq!(parse(&request[..cut]), Ok(None), "{cut}");
        }
        assert_eq!(parse(request), Ok(Some((target("pypi.org", 443), Asked::Tunnel, length))));
        let old = b"CONNECT [::1]:80 HTTP/1.0\r\n\r\n";
        assert_eq!(parse(old), Ok(Some((target("[::1]", 80), Asked::Tunnel, old.len()))));
        let plain = b"GET http://pypi.org/ HTTP/1.1\r\n\r\nbody";
        assert!(matches!(parse(plain), Ok(Some((_, Asked::Plain(_), length))) if length == plain.len() - 4));
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for (request, refusal) in [
            ("GET / HTTP/1.1\r\n\r\n", Refusal::NotConnect),
            ("connect pypi.org:443 HTTP/1.1\r\n\r\n", Refusal::NotConnect),
            ("CONNECT pypi.org HTTP/1.1\r\n\r\n", Refusal::NoRequest),
            ("CONNECT pypi.org:443\r\n\r\n", Refusal::NoRequest),
            ("CONNECT pypi.org:443 HTTP/2\r\n\r\n", Refusal::NoRequest),
            ("CONNECT pypi.org:443 x HTTP/1.1\r\n\r\n", Refusal::NoRequest),
            ("CONNECT pypi.org:0 HTTP/1.1\r\n\r\n", Refusal::NoRequest),
            ("CONNECT pypi.org:+443 HTTP/1.1\r\n\r\n", Refusal::NoRequest),
            ("CONNECT pypi.org:99999 HTTP/1.1\r\n\r\n", Refusal::NoRequest),
            ("CONNECT :443 HTTP/1.1\r\n\r\n", Refusal::NoRequest),
            ("CONNECT a@pypi.org:443 HTTP/1.1\r\n\r\n", Refusal::NoRequest),
            ("CONNECT pypi.org%00:443 HTTP/1.1\r\n\r\n", Refusal::NoRequest),
            ("CONNECT p\u{1b}[31m.org:443 HTTP/1.1\r\n\r\n", Refusal::NoRequest),
            ("\r\n\r\n", Refusal::NoRequest),
        ] {
            assert_eq!(parse(request.as_bytes()), Err(refusal), "{request:?}");
        }
        assert_eq!(parse(&[b'x'; MAX_HEAD]), Err(Refusal::NoRequest), "a head without an end");
        assert_eq!(parse(&[0xff; 20]), Ok(None));
    }

    #[test]
    fn garbage_never_panics_and_what_is_read_can_be_logged() {
        let valid = b"CONNECT a.example:443 HTTP/1.1\r\nx: y\r\n\r\n";
        for seed in 0..2000 {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut bytes = valid.to_vec();
            for _ in 0..rng.random_range(1..6) {
                let at = rng.random_range(0..bytes.len());
                bytes[at] = rng.random();
            }
            if let Ok(Some((target, _, length))) = parse(&bytes) {
                assert!(length <= bytes.len() && target.host.bytes().all(|byte| byte.is_ascii_graphic()), "{seed}");
            }
        }
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let answer = Refusal::NotListed("evil.example".to_owned()).answer();
        assert!(answer.starts_with("HTTP/1.1 403 Not Listed In sandbox.egress\r\n"), "{answer}");
        assert!(answer.ends_with("Connection: close\r\n\r\nSandboxes may not reach evil.example: it is not in sandbox.egress of this server's configuration.\n"));
    }
}
