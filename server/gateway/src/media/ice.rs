//! Servers that help pages find a way to the port of calls: STUN, and TURN, which relays. They are named to whoever takes part, with
//! credentials that last a while, so TURN relays for nobody else. This server itself is ICE-lite and uses none. Pure.
//!
//! The credentials are those of the "TURN REST API" (draft-uberti-behave-turn-rest-00), which coturn calls `use-auth-secret`: the name
//! begins with when it ends, and the password is the name's HMAC-SHA1 under a secret that both servers know.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use buildspaces_kernel::clock::UnixMillis;
use ring::hmac;
use serde::Serialize;

/// How long credentials hold: longer than calls are. Relays that exist go on after that.
const VALID_SECONDS: i64 = 24 * 60 * 60;

/// Browsers get slow with more than five and say so.
const MOST: usize = 8;

/// What is wrong with a setting. The texts are for operators and follow its name.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unusable {
    #[error("{0:?} does not begin with stun:, stuns:, turn: or turns:, as in turn:turn.example.org:3478?transport=udp")]
    Scheme(String),
    #[error("{0:?} has no name or address of a machine after its first colon, as in stun:stun.example.org:3478")]
    Host(String),
    #[error("{0:?} has a port that is none; leave it out or use one from 1 to 65535")]
    Port(String),
    #[error(
        "{0:?} has something after its port that no browser takes; only turn: and turns: may have one of ?transport=udp and ?transport=tcp there"
    )]
    Transport(String),
    #[error("at most {MOST} servers help; leave the others out")]
    TooMany,
    #[error(
        "{0:?} relays for those alone who have credentials; set media.turn_secret or media.turn_secret_file to the secret it knows (coturn: static-auth-secret)"
    )]
    NoSecret(String),
    #[error(
        "no server in media.ice_servers relays, so there is nothing that a secret is for; add one that begins with turn: or turns:"
    )]
    NoRelay,
}

/// What pages are told.
#[derive(Clone, Default)]
pub struct IceServers {
    stun: Vec<String>,
    turn: Vec<String>,
    secret: Option<hmac::Key>,
}

/// As `RTCIceServer` has it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct IceServer {
    pub(crate) urls: Vec<String>,
    #[serde(flatten)]
    pub(crate) credentials: Option<Credentials>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Credentials {
    pub(crate) username: String,
    pub(crate) credential: String,
}

impl IceServer {
    /// As values of `Link` headers (RFC 9725, section 4.6), for programs.
    pub(crate) fn links(&self) -> impl Iterator<Item = String> {
        let credentials = self.credentials.as_ref().map(|Credentials { username, credential }| {
            format!("; username=\"{username}\"; credential=\"{credential}\"; credential-type=\"password\"")
        });
        let credentials = credentials.unwrap_or_default();
        self.urls.iter().map(move |url| format!("<{url}>; rel=\"ice-server\"{credentials}"))
    }
}

/// Without the secret.
impl fmt::Debug for IceServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceServers").field("stun", &self.stun).field("turn", &self.turn).finish_non_exhaustive()
    }
}

impl IceServers {
    pub fn new(urls: &[String], secret: Option<&str>) -> Result<Self, Unusable> {
        if urls.len() > MOST {
            return Err(Unusable::TooMany);
        }
        let mut servers = Self::default();
        for url in urls {
            let all = if relays(url)? { &mut servers.turn } else { &mut servers.stun };
            all.push(url.clone());
        }
        servers.secret = secret.map(|secret| hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes()));
        match (servers.turn.first(), secret) {
            (Some(url), None) => Err(Unusable::NoSecret(url.clone())),
            (None, Some(_)) => Err(Unusable::NoRelay),
            _ => Ok(servers),
        }
    }

    /// For one `user`, from `now` on.
    pub(crate) fn for_user(&self, user: &str, now: UnixMillis) -> Vec<IceServer> {
        let mut servers = Vec::new();
        if !self.stun.is_empty() {
            servers.push(IceServer { urls: self.stun.clone(), credentials: None });
        }
        if let Some(secret) = &self.secret {
            let username = format!("{}:{user}", now / 1000 + VALID_SECONDS);
            let credential = STANDARD.encode(hmac::sign(secret, username.as_bytes()));
            let credentials = Some(Credentials { username, credential });
            servers.push(IceServer { urls: self.turn.clone(), credentials });
        }
        servers
    }
}

/// Does the server of this address relay (RFC 7065), or only say where somebody is seen (RFC 7064)?
fn relays(url: &str) -> Result<bool, Unusable> {
    let (relays, rest) = match url.split_once(':') {
        Some(("stun" | "stuns", rest)) => (false, rest),
        Some(("turn" | "turns", rest)) => (true, rest),
        _ => return Err(Unusable::Scheme(url.to_owned())),
    };
    let (place, transport) = rest.split_once('?').map_or((rest, None), |(place, query)| (place, Some(query)));
    if transport.is_some_and(|query| !relays || !matches!(query, "transport=udp" | "transport=tcp")) {
        return Err(Unusable::Transport(url.to_owned()));
    }
    // An address of IPv6 stands in brackets.
    let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) if host.parse::<std::net::Ipv6Addr>().is_ok() => (host, port),
        Some(_) => return Err(Unusable::Host(url.to_owned())),
        None => place.split_at(place.find(':').unwrap_or(place.len())),
    };
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b':');
    if host.is_empty() || !host.bytes().all(is_part) {
        return Err(Unusable::Host(url.to_owned()));
    }
    let is_port =
        |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse().is_ok_and(|port: u16| port > 0);
    match port.strip_prefix(':') {
        Some(port) if is_port(port) => Ok(relays),
        None if port.is_empty() => Ok(relays),
        _ => Err(Unusable::Port(url.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(urls: &[&str], secret: Option<&str>) -> Result<IceServers, Unusable> {
        IceServers::new(&urls.iter().map(ToString::to_string).collect::<Vec<_>>(), secret)
    }

    #[test]
    fn credentials_are_what_coturn_expects() {
        let servers =
            servers(&["stun:stun.example.org", "turn:[2001:db8::1]:3478?transport=udp", "turns:a:5349"], Some("north"));
        let told = servers.expect("usable").for_user("ada", 1_700_000_000_999);
        // printf %s 1700086400:ada | openssl dgst -sha1 -hmac north -binary | base64
        let expected = serde_json::json!([
            { "urls": ["stun:stun.example.org"] },
            {
                "urls": ["turn:[2001:db8::1]:3478?transport=udp", "turns:a:5349"],
                "username": "1700086400:ada",
                "credential": "Qw2wNnXeN+K01UaLeSEb7cOAs5c="
            },
        ]);
        assert_eq!(serde_json::to_value(&told).expect("JSON"), expected);
        let links: Vec<_> = told.iter().flat_map(IceServer::links).collect();
        assert_eq!(links.len(), 3);
        assert_eq!(links[0], "<stun:stun.example.org>; rel=\"ice-server\"");
        assert!(
            links[2].starts_with("<turns:a:5349>; rel=\"ice-server\"; username=\"1700086400:ada\"; credential=\"Q")
        );
        assert_eq!(IceServers::default().for_user("ada", 0), []);
    }

    #[test]
    fn what_browsers_would_not_take_is_refused() {
        type Kind = fn(String) -> Unusable;
        let cases: &[(&str, Kind)] = &[
            ("", Unusable::Scheme),
            ("turn.example.org", Unusable::Scheme),
            ("https://turn.example.org", Unusable::Scheme),
            ("turn:", Unusable::Host),
            ("turn:?transport=udp", Unusable::Host),
            ("turn://turn.example.org", Unusable::Host),
            ("turn:user@turn.example.org", Unusable::Host),
            ("stun:[::1", Unusable::Host),
            ("stun:[turn]:1", Unusable::Host),
            ("turn:a:0", Unusable::Port),
            ("turn:a:65536", Unusable::Port),
            ("turn:a:+1", Unusable::Port),
            ("turn:a:", Unusable::Port),
            ("stun:::1", Unusable::Host),
            ("turn:[::1]3478", Unusable::Port),
            ("stun:a?transport=udp", Unusable::Transport),
            ("turn:a?transport=tls", Unusable::Transport),
            ("turn:a?", Unusable::Transport),
        ];
        for (url, kind) in cases {
            assert_eq!(servers(&[url], Some("north")).err(), Some(kind((*url).to_owned())), "{url}");
        }
        assert_eq!(servers(&["turn:a"], None).err(), Some(Unusable::NoSecret("turn:a".to_owned())));
        assert_eq!(servers(&["stun:a"], Some("north")).err(), Some(Unusable::NoRelay));
        assert_eq!(servers(&["stun:a"; 9], None).err(), Some(Unusable::TooMany));
        assert!(!format!("{:?}", servers(&["turn:a"], Some("north"))).contains("north"));
    }
}
