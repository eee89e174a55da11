//! What passes between a browser and a program, and what does not. Pure.
//!
//! Inwards the program hears what it would from a browser on its own machine: `Host: localhost:<port>`, which development servers insist
//! on. It does not hear our cookie, nor any that the browser also sends to the room's page. Outwards it can set cookies for its own host
//! only, and say nothing about other hosts or about the browser as a whole.

use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, Uri};

use super::visits::{Visit, is_own_cookie};

/// Most names of cookies that are remembered as not the program's. Browsers send some tens at most.
const MAX_WITHHELD: usize = 128;

/// Of one connection, not of what it carries (RFC 9110, section 7.6.1).
const OF_THE_CONNECTION: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What says on whose way a request came; whoever is in front of us may be believed by us, not by the program.
const OF_THE_WAY: [&str; 3] = ["forwarded", "via", "x-real-ip"];

/// What a page must not tell a browser: to clear cookies of names above its own, to never again speak HTTP to its host, that it is
/// somewhere else. Who may frame it is replaced by who we know.
const NOT_FOR_BROWSERS: [&str; 4] = ["alt-svc", "clear-site-data", "strict-transport-security", "x-frame-options"];

/// Name and value of each cookie.
pub(super) fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    parts(headers).map(|cookie| cookie.split_once('=').unwrap_or((cookie, "")))
}

/// Each cookie as it stands there. A browser sends all of them in one line, and any page of its host may have set one of any bytes: one that
/// is no text is passed over, and hides no other.
fn parts(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(header::COOKIE).into_iter();
    let all = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    all.filter_map(|cookie| std::str::from_utf8(cookie).ok()).map(str::trim)
}

/// Names of the cookies that a request carries.
pub(super) fn cookie_names(headers: &HeaderMap) -> Vec<String> {
    cookies(headers).map(|(name, _)| name.to_owned()).take(MAX_WITHHELD).collect()
}

pub(super) fn is_websocket(headers: &HeaderMap) -> bool {
    let lists = |name, wanted: &str| {
        let listed = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
        listed.flat_map(|value| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(wanted))
    };
    lists(header::CONNECTION, "upgrade") && lists(header::UPGRADE, "websocket")
}

/// Did a page of this very origin ask, or somebody by a link or the address bar? Otherwise another site uses the visitor's cookie.
pub(super) fn is_own(method: &Method, headers: &HeaderMap, origin: &str) -> bool {
    let is = |name: &str, values: &[&[u8]]| headers.get(name).is_some_and(|value| values.contains(&value.as_bytes()));
    if headers.contains_key("sec-fetch-site") {
        let navigates = is("sec-fetch-mode", &[b"navigate"]) && (method == Method::GET || method == Method::HEAD);
        return navigates || is("sec-fetch-site", &[b"same-origin", b"none"]);
    }
    // Browsers leave that out over plain HTTP to another machine, and of WebSockets.
    headers.get(header::ORIGIN).is_none_or(|value| value.as_bytes() == origin.as_bytes())
}

/// Did a person ask for this, by a click or a key? What pages do by themselves is no use of the sandbox.
pub(super) fn is_by_a_person(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-user").is_some_and(|value| value.as_bytes() == b"?1")
}

/// Makes a browser's request one for the program.
pub(super) fn inward(headers: &mut HeaderMap, visit: &Visit, upgrade: bool) {
    without_the_connection(headers, upgrade);
    let names: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("x-forwarded-")).cloned().collect();
    for name in names.iter().map(HeaderName::as_str).chain(OF_THE_WAY) {
        headers.remove(name);
    }
    let kept: Vec<&str> = parts(headers)
        .filter(|cookie| {
            let name = cookie.split('=').next().unwrap_or_default().trim();
            !is_own_cookie(name) && !visit.withheld.iter().any(|withheld| withheld == name)
        })
        .collect();
    let kept = (!kept.is_empty()).then(|| HeaderValue::from_str(&kept.join("; "))).and_then(Result::ok);
    headers.remove(header::COOKIE);
    if let Some(kept) = kept {
        headers.insert(header::COOKIE, kept);
    }
    let own = format!("http://localhost:{}", visit.port);
    for name in [header::ORIGIN, header::REFERER] {
        let theirs = headers.get(&name).and_then(|value| value.to_str().ok());
        let rest = theirs.and_then(|value| value.strip_prefix(&visit.origin));
        if let Some(rest) = rest.filter(|rest| rest.is_empty() || rest.starts_with('/')) {
            let value = HeaderValue::from_str(&format!("{own}{rest}")).expect("it was one before");
            headers.insert(name, value);
        }
    }
    let (scheme, host) = visit.origin.split_once("://").unwrap_or_default();
    for (name, value) in
        [("host", &*format!("localhost:{}", visit.port)), ("x-forwarded-host", host), ("x-forwarded-proto", scheme)]
    {
        headers.insert(name, HeaderValue::from_str(value).expect("names and ports make headers"));
    }
}

/// Makes a program's answer one for the browser.
pub(super) fn outward(headers: &mut HeaderMap, visit: &Visit, upgrade: bool) {
    without_the_connection(headers, upgrade);
    for name in NOT_FOR_BROWSERS {
        headers.remove(name);
    }
    change_all(headers, &header::SET_COOKIE, own_cookie);
    change_all(headers, &header::CONTENT_SECURITY_POLICY, without_frames);
    change_all(headers, &header::LOCATION, |location| Some(from_outside(location, visit.port)));
    frame_only_by(headers, visit);
}

/// Says that the room's page, and nobody else's, may show this in a frame.
pub(super) fn frame_only_by(headers: &mut HeaderMap, visit: &Visit) {
    let embedder = visit.embedder.as_deref().map(|origin| format!(" {origin}")).unwrap_or_default();
    if let Ok(value) = HeaderValue::from_str(&format!("frame-ancestors 'self'{embedder}")) {
        headers.append(header::CONTENT_SECURITY_POLICY, value);
    }
}

fn without_the_connection(headers: &mut HeaderMap, upgrade: bool) {
    let named: Vec<String> = headers
        .get_all(header::CONNECTION)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    for name in named.iter().map(String::as_str).chain(OF_THE_CONNECTION) {
        headers.remove(name);
    }
    if upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    }
}

/// Changes each value of a header; those for which there is none go, and those that are no text.
fn change_all(headers: &mut HeaderMap, name: &HeaderName, change: impl Fn(&str) -> Option<String>) {
    let values: Vec<HeaderValue> = headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| HeaderValue::from_str(&change(std::str::from_utf8(value.as_bytes()).ok()?)?).ok())
        .collect();
    headers.remove(name);
    for value in values {
        headers.append(name, value);
    }
}

/// A cookie for the program's own host, whatever it says. Ours is not its to set.
fn own_cookie(cookie: &str) -> Option<String> {
    let mut parts = cookie.split(';');
    let first = parts.next()?;
    let name = first.split('=').next().unwrap_or_default().trim();
    if is_own_cookie(name) {
        return None;
    }
    let is_domain = |part: &&str| part.split('=').next().is_some_and(|name| name.trim().eq_ignore_ascii_case("domain"));
    let rest: String = parts.filter(|part| !is_domain(part)).flat_map(|part| [";", part]).collect();
    Some(format!("{first}{rest}"))
}

/// A policy without its word about frames; `None` if it said nothing else.
fn without_frames(policy: &str) -> Option<String> {
    // A comma begins another policy.
    let of_frames = |directive: &&str| {
        directive.split_ascii_whitespace().next().is_some_and(|name| name.eq_ignore_ascii_case("frame-ancestors"))
    };
    let policies = policy.split(',').map(|policy| {
        policy
            .split(';')
            .map(str::trim)
            .filter(|part| !part.is_empty() && !of_frames(part))
            .collect::<Vec<_>>()
            .join("; ")
    });
    let policies: Vec<String> = policies.filter(|policy| !policy.is_empty()).collect();
    (!policies.is_empty()).then(|| policies.join(", "))
}

/// Where the program says one should go: what it takes for its own address is that of the preview.
fn from_outside(location: &str, port: u16) -> String {
    let own = location.parse::<Uri>().ok().filter(|uri| {
        let host = uri.host().unwrap_or_default();
        uri.scheme_str().is_some()
            && matches!(host, "localhost" | "127.0.0.1" | "0.0.0.0" | "[::1]")
            && uri.port_u16().unwrap_or(80) == port
    });
    let Some(uri) = own else { return location.to_owned() };
    // What follows the sign # is not of the address as it is parsed.
    let fragment = location.split_once('#').map(|(_, fragment)| format!("#{fragment}")).unwrap_or_default();
    format!("{}{fragment}", uri.path_and_query().map_or("/", |path| path.as_str()))
}

#[cfg(test)]
mod tests;
