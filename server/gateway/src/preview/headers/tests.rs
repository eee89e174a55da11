//! Each header that matters, both ways.

use buildspaces_kernel::ids::{PrincipalId, RoomId};

use super::super::visits::NewVisit;
use super::*;

const OWN: &str = "https://abc.preview.rooms.example";

fn visit() -> Visit {
    let new = NewVisit {
        room: RoomId::parse("room").expect("id"),
        port: 5173,
        person: PrincipalId::parse("ada").expect("id"),
    };
    let withheld = vec!["_oauth_proxy".to_owned()];
    Visit::new(new, "abc".to_owned(), OWN.to_owned(), Some("https://rooms.example".to_owned()), withheld)
}

fn map(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"));
    }
    headers
}

fn all<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    headers.get_all(name).into_iter().map(|value| value.to_str().expect("text")).collect()
}

#[test]
fn a_program_hears_what_it_would_on_its_own_machine() {
    let mut headers = map(&[
        ("host", "abc.preview.rooms.example"),
        ("origin", OWN),
        ("referer", "https://abc.preview.rooms.example/page?x=1"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-host", "evil.example"),
        ("forwarded", "for=10.0.0.1"),
        ("connection", "keep-alive, X-Secret"),
        ("x-secret", "for the next one only"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("accept", "*/*"),
        ("authorization", "Bearer of-the-program"),
    ]);
    inward(&mut headers, &visit(), false);
    let expected = map(&[
        ("accept", "*/*"),
        ("authorization", "Bearer of-the-program"),
        ("host", "localhost:5173"),
        ("origin", "http://localhost:5173"),
        ("referer", "http://localhost:5173/page?x=1"),
        ("x-forwarded-host", "abc.preview.rooms.example"),
        ("x-forwarded-proto", "https"),
    ]);
    assert_eq!(headers, expected);
    // The origin of another page is passed on as it is, also one that only begins like ours.
    for other in ["https://evil.example", "https://abc.preview.rooms.example.evil.example", "null"] {
        let mut headers = map(&[("origin", other)]);
        inward(&mut headers, &visit(), false);
        assert_eq!(all(&headers, "origin"), [other]);
    }
}

#[test]
fn cookies_that_are_not_the_programs_stay_outside() {
    let mut headers = map(&[
        ("cookie", "sid=1; __Host-buildspaces-preview=secret;theme=dark"),
        ("cookie", "_oauth_proxy=of-the-main-page; buildspaces-preview=x; _oauth_proxy2=kept"),
    ]);
    inward(&mut headers, &visit(), false);
    assert_eq!(all(&headers, "cookie"), ["sid=1; theme=dark; _oauth_proxy2=kept"]);
    let mut headers = map(&[("cookie", "_oauth_proxy=x")]);
    inward(&mut headers, &visit(), false);
    assert!(!headers.contains_key("cookie"));
    let mut headers = HeaderMap::new();
    // A page's script may set any cookie for all previews, and the browser sends them in one line.
    let line = b"a=\xc3\xa9; __Host-buildspaces-preview=secret; b=\xe9; c=1";
    headers.insert("cookie", HeaderValue::from_bytes(line).expect("a value"));
    let found: Vec<_> = cookies(&headers).collect();
    assert_eq!(found, [("a", "\u{e9}"), ("__Host-buildspaces-preview", "secret"), ("c", "1")]);
    inward(&mut headers, &visit(), false);
    assert_eq!(headers["cookie"].as_bytes(), "a=\u{e9}; c=1".as_bytes());
    assert_eq!(cookie_names(&map(&[("cookie", "a=1; b=2=3; c"), ("cookie", "d=")])), ["a", "b", "c", "d"]);
}

#[test]
fn a_program_sets_cookies_for_its_own_host_alone() {
    for (cookie, expected) in [
        ("sid=1", Some("sid=1")),
        ("sid=1; Path=/; Domain=rooms.example; HttpOnly", Some("sid=1; Path=/; HttpOnly")),
        ("sid=a=b;domain = .rooms.example", Some("sid=a=b")),
        ("sid=1; DOMAIN", Some("sid=1")),
        ("__Host-buildspaces-preview=mine; Path=/; Secure", None),
        (" buildspaces-preview=mine", None),
    ] {
        let mut headers = map(&[("set-cookie", cookie)]);
        outward(&mut headers, &visit(), false);
        assert_eq!(all(&headers, "set-cookie"), expected.into_iter().collect::<Vec<_>>(), "{cookie}");
    }
    let mut headers = map(&[("set-cookie", "a=1"), ("set-cookie", "b=2")]);
    outward(&mut headers, &visit(), false);
    assert_eq!(all(&headers, "set-cookie"), ["a=1", "b=2"]);
}

#[test]
fn only_the_rooms_page_may_show_it_in_a_frame() {
    let ours = "frame-ancestors 'self' https://rooms.example";
    for (policy, kept) in [
        ("default-src 'self'; frame-ancestors 'none'", Some("default-src 'self'")),
        ("Frame-Ancestors *", None),
        ("script-src 'self', frame-ancestors 'none'; img-src *", Some("script-src 'self', img-src *")),
    ] {
        let mut headers = map(&[("content-security-policy", policy), ("x-frame-options", "DENY")]);
        outward(&mut headers, &visit(), false);
        assert_eq!(all(&headers, "content-security-policy"), kept.into_iter().chain([ours]).collect::<Vec<_>>());
        assert!(!headers.contains_key("x-frame-options"));
    }
}

#[test]
fn a_program_says_nothing_about_other_hosts_or_the_browser() {
    let mut headers = map(&[
        ("strict-transport-security", "max-age=1; includeSubDomains"),
        ("clear-site-data", "\"cookies\""),
        ("alt-svc", "h3=\":443\""),
        ("keep-alive", "timeout=5"),
        ("content-type", "text/html"),
    ]);
    outward(&mut headers, &visit(), false);
    headers.remove("content-security-policy");
    assert_eq!(headers, map(&[("content-type", "text/html")]));
}

#[test]
fn a_way_to_the_programs_own_address_leads_to_the_preview() {
    for (location, expected) in [
        ("/login", "/login"),
        ("http://localhost:5173/a?b=c#d", "/a?b=c#d"),
        ("http://127.0.0.1:5173", "/"),
        ("http://localhost:3000/", "http://localhost:3000/"),
        ("https://elsewhere.example/", "https://elsewhere.example/"),
        ("//elsewhere.example/", "//elsewhere.example/"),
    ] {
        assert_eq!(from_outside(location, 5173), expected);
    }
    assert_eq!(from_outside("http://localhost/x", 80), "/x");
}

#[test]
fn other_sites_do_not_use_a_visitors_cookie() {
    let own = |method: Method, pairs: &[(&'static str, &str)]| is_own(&method, &map(pairs), OWN);
    assert!(own(Method::POST, &[("sec-fetch-site", "same-origin"), ("origin", "null")]));
    assert!(own(Method::GET, &[("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate")]));
    assert!(own(Method::GET, &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")]), "a link, the frame");
    assert!(!own(Method::POST, &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")]));
    for site in ["cross-site", "same-site"] {
        assert!(!own(Method::GET, &[("sec-fetch-site", site), ("sec-fetch-mode", "no-cors")]), "{site}");
    }
    assert!(own(Method::GET, &[]) && own(Method::POST, &[("origin", OWN)]));
    assert!(!own(Method::GET, &[("origin", "https://def.preview.rooms.example")]), "another room's preview");
    assert!(!own(Method::POST, &[("origin", "null")]));
}

#[test]
fn a_websocket_stays_one() {
    let mut headers = map(&[
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ]);
    assert!(is_websocket(&headers));
    inward(&mut headers, &visit(), true);
    assert_eq!((all(&headers, "connection"), all(&headers, "upgrade")), (vec!["Upgrade"], vec!["websocket"]));
    assert!(headers.contains_key("sec-websocket-key"));
    assert!(!is_websocket(&map(&[("connection", "upgrade"), ("upgrade", "h2c")])));
    assert!(!is_websocket(&map(&[("upgrade", "websocket")])));
}
