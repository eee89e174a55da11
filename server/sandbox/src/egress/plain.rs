//! A request in plain HTTP to a host for which the step has a secret: what is made of it before it goes on over TLS. Pure; every byte is a
//! stranger's.
//!
//! One connection carries one request. What the program sends behind its head goes on as it is: if that is more than the body, the host may read it
//! as a request of its own, which then has no secret.

use buildspaces_kernel::address;
use buildspaces_plans::secret::StepHeader;

use super::request::{Refusal, Target, is_host};

/// Headers of one request.
const MAX_HEADERS: usize = 64;

/// What the proxy decides about itself: the connection, and an encoding in which a secret that the host sends back would not be seen.
const DROPPED: [&str; 9] = [
    "host",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "accept-encoding",
    "http2-settings",
    "proxy-connection",
];

/// The head of a request with an absolute address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Plain {
    method: String,
    /// With its query.
    path: String,
    version: u8,
    headers: Vec<(String, Vec<u8>)>,
}

/// Reads a whole head that does not begin with CONNECT. Port 80, or none, means the port of https: that is where it goes.
pub(super) fn read(head: &[u8]) -> Result<(Target, Plain), Refusal> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut fields);
    if !matches!(request.parse(head), Ok(httparse::Status::Complete(_))) {
        return Err(Refusal::NoRequest);
    }
    let (Some(method), Some(url), Some(version)) = (request.method, request.path, request.version) else {
        return Err(Refusal::NoRequest);
    };
    let rest = url.strip_prefix("http://").ok_or(Refusal::NotConnect)?;
    let (authority, path) = rest.find(['/', '?']).map_or((rest, "/"), |at| rest.split_at(at));
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok().filter(|port| *port != 0).ok_or(Refusal::NoRequest)?),
        None => (authority, 80),
    };
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    // What a host sends back of a TRACE is the request.
    if !is_host(&host) || method == "TRACE" || path.contains('#') {
        return Err(Refusal::NoRequest);
    }
    let path = if path.starts_with('?') { format!("/{path}") } else { path.to_owned() };
    let named = |name: &'static str| {
        request.headers.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    };
    let is_chunked = |value: &[u8]| value.eq_ignore_ascii_case(b"chunked");
    let lengths = named("content-length").count() + named("transfer-encoding").count();
    // Where a request ends must not be a matter of opinion.
    if lengths > 1 || !named("transfer-encoding").all(is_chunked) {
        return Err(Refusal::NoRequest);
    }
    let listed: Vec<String> = named("connection")
        .flat_map(|value| {
            String::from_utf8_lossy(value).to_ascii_lowercase().split(',').map(str::to_owned).collect::<Vec<_>>()
        })
        .map(|name| name.trim().to_owned())
        .filter(|name| name != "content-length" && name != "transfer-encoding")
        .collect();
    let is_kept = |name: &str| {
        let name = name.to_ascii_lowercase();
        !DROPPED.contains(&&*name) && !name.starts_with("proxy-") && !listed.contains(&name)
    };
    let headers = request.headers.iter().filter(|field| is_kept(field.name));
    let plain = Plain {
        method: method.to_owned(),
        path,
        version,
        headers: headers.map(|field| (field.name.to_owned(), field.value.to_vec())).collect(),
    };
    Ok((Target { host, port: if port == 80 { 443 } else { port } }, plain))
}

impl Plain {
    /// What is asked for, with its query.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The head that goes to the host, with the secrets in it. Whatever the program itself put under a name of theirs is left out.
    pub(super) fn into_head(self, target: &Target, given: &[StepHeader]) -> Vec<u8> {
        let Target { host, port } = target;
        let authority = address::authority(host, *port);
        let Self { method, path, version, headers } = self;
        let mut head = format!("{method} {path} HTTP/1.{version}\r\nHost: {authority}\r\n").into_bytes();
        let is_set = |name: &str| given.iter().any(|given| given.name().eq_ignore_ascii_case(name));
        for (name, value) in headers.into_iter().filter(|(name, _)| !is_set(name)) {
            head.extend([name.as_bytes(), b": ", &value, b"\r\n"].concat());
        }
        for given in given {
            head.extend(format!("{}: {}\r\n", given.name(), given.filled()).into_bytes());
        }
        head.extend_from_slice(b"Accept-Encoding: identity\r\nConnection: close\r\n\r\n");
        head
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    fn asked(request: &str) -> Result<(String, u16, String), Refusal> {
        let (target, plain) = read(request.as_bytes())?;
        let head = String::from_utf8(plain.into_head(&target, &[])).expect("text");
        Ok((target.host, target.port, head))
    }

    #[test]
    fn a_request_goes_on_without_what_was_for_the_proxy() {
        let request = "POST http://API.example.com./v1?q=a HTTP/1.1\r\nHost: elsewhere.example\r\nContent-Length: 3\r\n\
                       Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nProxy-Authorization: x\r\nAccept-Encoding: gzip\r\nX-Mine: yes\r\n\r\n";
        let (host, port, head) = asked(request).expect("a request");
        assert_eq!((host.as_str(), port), ("api.example.com", 443));
        assert_eq!(
            head,
            "POST /v1?q=a HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 3\r\nX-Mine: yes\r\n\
             Accept-Encoding: identity\r\nConnection: close\r\n\r\n"
        );
        let (_, port, head) = asked("GET http://a.example:8443?x HTTP/1.0\r\n\r\n").expect("a request");
        assert!(port == 8443 && head.starts_with("GET /?x HTTP/1.0\r\nHost: a.example:8443\r\n"), "{head}");
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for (request, refusal) in [
            ("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", Refusal::NotConnect),
            ("GET https://a.example/ HTTP/1.1\r\n\r\n", Refusal::NotConnect),
            ("GET http://a@b.example/ HTTP/1.1\r\n\r\n", Refusal::NoRequest),
            ("GET http://a.example:0/ HTTP/1.1\r\n\r\n", Refusal::NoRequest),
            ("GET http:///x HTTP/1.1\r\n\r\n", Refusal::NoRequest),
            ("TRACE http://a.example/ HTTP/1.1\r\n\r\n", Refusal::NoRequest),
            ("GET http://a.example/ HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", Refusal::NoRequest),
            (
                "GET http://a.example/ HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                Refusal::NoRequest,
            ),
            ("GET http://a.example/ HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n", Refusal::NoRequest),
            ("GET http://a.example/ HTTP/1.1\r\nA: b\r\n c\r\n\r\n", Refusal::NoRequest),
            ("GET http://a.example/ HTTP/1.1\r\nA : b\r\n\r\n", Refusal::NoRequest),
        ] {
            assert_eq!(asked(request).map(|_| ()), Err(refusal), "{request:?}");
        }
    }

    #[test]
    fn garbage_never_panics_and_makes_no_second_line() {
        let valid = b"GET http://a.example/path HTTP/1.1\r\nx: y\r\nConnection: a\r\n\r\n";
        for seed in 0..5000 {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut bytes = valid.to_vec();
            for _ in 0..rng.random_range(1..6) {
                let at = rng.random_range(0..bytes.len());
                bytes[at] = rng.random();
            }
            if let Ok((target, plain)) = read(&bytes) {
                let fields = plain.headers.len();
                let head = plain.into_head(&target, &[]);
                let lines = head.windows(2).filter(|two| two == b"\r\n").count();
                assert_eq!(lines, fields + 5, "{seed}: {}", String::from_utf8_lossy(&head));
                assert!(!head.iter().enumerate().any(|(at, byte)| *byte == b'\n' && head[at - 1] != b'\r'), "{seed}");
            }
        }
    }
}
