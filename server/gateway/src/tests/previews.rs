//! Previews, through the router and on real sockets, with programs that the test plays.

use axum::extract::Request as HttpRequest;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::any;
use buildspaces_kernel::ids::RoomId;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

/// Where the test's requests say they go.
const MAIN: &str = "localhost:8080";

/// A program on port 8000 of the room: it says what it hears, never ends a stream, and echoes what comes over a socket.
fn serve_program(f: &Fixture, room: &str) {
    let mut connections = f.sandboxes.listen(&RoomId::parse(room).expect("id"), 8000);
    let router = Router::new()
        .route(
            "/stream",
            any(async || {
                Body::from_stream(
                    futures_util::stream::once(async { Ok::<_, String>("first") })
                        .chain(futures_util::stream::pending()),
                )
            }),
        )
        .route("/socket", any(echo))
        .fallback(any(async |request: HttpRequest| {
            let (parts, body) = request.into_parts();
            let body = axum::body::to_bytes(body, 1 << 20).await.expect("a body");
            let headers: std::collections::BTreeMap<_, _> =
                parts.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().expect("text"))).collect();
            let said =
                json!({ "path": parts.uri.to_string(), "headers": headers, "body": String::from_utf8_lossy(&body) });
            ([("set-cookie", "sid=1; Domain=localhost"), ("x-frame-options", "DENY")], said.to_string())
        }));
    Tasks::new().spawn("program", async move {
        while let Some(stream) = connections.recv().await {
            let service = TowerToHyperService::new(router.clone());
            let serving = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            Tasks::new().spawn("program connection", async move {
                let _ = serving.with_upgrades().await;
            });
        }
    });
}

async fn echo(mut request: HttpRequest) -> Response {
    let upgrade = hyper::upgrade::on(&mut request);
    Tasks::new().spawn("echo", async move {
        let (mut reader, mut writer) = tokio::io::split(TokioIo::new(upgrade.await.expect("upgraded")));
        let _ = tokio::io::copy(&mut reader, &mut writer).await;
    });
    let headers = [("connection", "upgrade"), ("upgrade", "websocket"), ("sec-websocket-accept", "of-the-program")];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

/// A preview somebody has opened.
struct Opened {
    host: String,
    cookie: String,
}

/// Asks for a link to port 8000.
async fn invite(f: &Fixture, token: &str, room: &str, path: &str) -> String {
    let new = json!({ "port": 8000, "path": path });
    let (status, body) = f.call("POST", &format!("/api/v1/rooms/{room}/previews"), Some(token), Some(new)).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    body["url"].as_str().expect("url").to_owned()
}

fn host_and_path(url: &str) -> (&str, String) {
    let (host, path) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).expect("an address");
    (host, format!("/{path}"))
}

async fn get(f: &Fixture, host: &str, path: &str, headers: &[(&str, &str)]) -> (StatusCode, HeaderMap, String) {
    let mut request = Request::builder().uri(path).header("host", host);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = f.router.clone().oneshot(request.body(Body::empty()).expect("request")).await.expect("answer");
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.expect("body");
    (parts.status, parts.headers, String::from_utf8_lossy(&body).into_owned())
}

async fn open(f: &Fixture, token: &str, room: &str) -> Opened {
    let url = invite(f, token, room, "/").await;
    let (host, path) = host_and_path(&url);
    let (status, headers, _) = get(f, host, &path, &[]).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    let cookie = headers["set-cookie"].to_str().expect("text").split(';').next().expect("a cookie");
    Opened { host: host.to_owned(), cookie: cookie.to_owned() }
}

#[tokio::test]
async fn a_link_opens_a_preview_once_and_the_program_hears_what_it_may() {
    let f = Fixture::new();
    let ada = f.session("Ada").await;
    let room = f.room(&ada).await;
    serve_program(&f, &room);
    let url = invite(&f, &ada, &room, "/docs?page=2&q=%20").await;
    let (host, path) = host_and_path(&url);
    assert!(host.ends_with(".preview.localhost:8080") && !url.contains(&room), "{url}");
    let (status, headers, _) = get(&f, host, &path, &[]).await;
    assert_eq!((status, headers["location"].to_str().expect("text")), (StatusCode::SEE_OTHER, "/docs?page=2&q=%20"));
    let set = headers["set-cookie"].to_str().expect("text");
    assert!(set.ends_with("; Path=/; HttpOnly; Max-Age=43200; Secure; SameSite=None; Partitioned"), "{set}");
    let cookie = set.split(';').next().expect("a cookie");
    assert_eq!(get(&f, host, &path, &[]).await.0, StatusCode::UNAUTHORIZED, "once");

    let cookies = format!("{cookie}; sid=1");
    let (status, headers, body) = get(&f, host, "/docs?page=2", &[("cookie", &cookies)]).await;
    let said: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((status, &said["path"]), (StatusCode::OK, &json!("/docs?page=2")));
    assert_eq!(
        said["headers"],
        json!({ "cookie": "sid=1", "host": "localhost:8000", "x-forwarded-host": host, "x-forwarded-proto": "http" })
    );
    assert_eq!(headers["set-cookie"], "sid=1");
    assert_eq!(headers["content-security-policy"], "frame-ancestors 'self'");
    assert!(!headers.contains_key("x-frame-options") && !headers.contains_key("referrer-policy"));
    assert!(f.sandboxes.journal().contains(&"touch".to_owned()));
}

#[tokio::test]
async fn without_its_own_cookie_nothing_of_a_preview_is_reached() {
    let f = Fixture::new();
    let ada = f.session("Ada").await;
    let (room, other) = (f.room(&ada).await, f.room(&ada).await);
    serve_program(&f, &room);
    let (here, there) = (open(&f, &ada, &room).await, open(&f, &ada, &other).await);
    assert_ne!(here.host, there.host);
    for cookie in ["", "buildspaces-preview=", &there.cookie] {
        let (status, _, body) = get(&f, &here.host, "/", &[("cookie", cookie)]).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{cookie}");
        assert!(body.contains("This preview is not open here"), "{body}");
    }
    // A key of one preview opens no other.
    let url = invite(&f, &ada, &other, "/").await;
    assert_eq!(get(&f, &here.host, &host_and_path(&url).1, &[]).await.0, StatusCode::UNAUTHORIZED);
    // The server's own routes are not there, and previews are not on the server's.
    for path in ["/healthz", "/metrics", "/api/v1/status", "/.buildspaces/x"] {
        assert_ne!(get(&f, &here.host, path, &[]).await.0, StatusCode::OK, "{path}");
        assert!(!get(&f, "nobody.preview.localhost", path, &[]).await.2.contains("ok\n"));
    }
    let (status, _, body) = get(&f, &here.host, "/api/v1/status", &[("cookie", &here.cookie)]).await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.contains("\"path\":\"/api/v1/status\""), "it is the program's: {body}");
    assert_eq!(get(&f, MAIN, "/healthz", &[]).await.2, "ok\n");
}

#[tokio::test]
async fn pages_of_other_sites_are_refused() {
    let f = Fixture::new();
    let ada = f.session("Ada").await;
    let room = f.room(&ada).await;
    serve_program(&f, &room);
    let Opened { host, cookie } = open(&f, &ada, &room).await;
    let with = async |headers: &[(&str, &str)]| {
        let all: Vec<(&str, &str)> = headers.iter().copied().chain([("cookie", &*cookie)]).collect();
        get(&f, &host, "/", &all).await.0
    };
    assert_eq!(with(&[("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "cors")]).await, StatusCode::OK);
    assert_eq!(with(&[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")]).await, StatusCode::OK);
    assert_eq!(with(&[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "cors")]).await, StatusCode::FORBIDDEN);
    assert_eq!(with(&[("origin", "https://evil.example")]).await, StatusCode::FORBIDDEN);
    // Nor does a preview's page reach the server's own interface.
    let origin = format!("http://{host}");
    let (status, ..) = get(&f, MAIN, "/api/v1/status", &[("origin", &origin)]).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn what_is_missing_is_said_in_words() {
    let f = Fixture::new();
    let ada = f.session("Ada").await;
    let room = f.room(&ada).await;
    let Opened { host, cookie } = open(&f, &ada, &room).await;
    let (status, headers, body) = get(&f, &host, "/", &[("cookie", &cookie)]).await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    assert!(body.contains("Nothing listens on port 8000") && headers["content-type"].to_str().is_ok(), "{body}");
    // What answers is no HTTP server.
    let mut connections = f.sandboxes.listen(&RoomId::parse(&room).expect("id"), 8000);
    let answering = async {
        let mut stream = connections.recv().await.expect("a connection");
        stream.write_all(b"220 mail.example ESMTP\r\n").await.expect("sent");
    };
    let cookies = [("cookie", &*cookie)];
    let ((status, _, body), ()) = tokio::join!(get(&f, &host, "/", &cookies), answering);
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    assert!(body.contains("does not speak HTTP"), "{body}");

    let wrong = async |new: Value| {
        let (status, body) = f.call("POST", &format!("/api/v1/rooms/{room}/previews"), Some(&ada), Some(new)).await;
        (status.as_u16(), body["error"]["code"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(wrong(json!({ "port": 0 })).await, (400, "bad_port".to_owned()));
    for path in ["//evil.example", "/\\evil.example", "x", "", "/a b"] {
        assert_eq!(wrong(json!({ "port": 1, "path": path })).await, (400, "bad_path".to_owned()), "{path:?}");
    }
    let nobody = f.call("POST", &format!("/api/v1/rooms/{room}/previews"), None, Some(json!({ "port": 1 }))).await;
    assert_eq!(nobody.0, StatusCode::UNAUTHORIZED);
}

/// A request over a real socket: the head of the answer, and the socket.
async fn raw(address: &str, head: &str) -> (String, TcpStream) {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.write_all(format!("{head}\r\n\r\n").as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.expect("an answer"));
    }
    (String::from_utf8(answer).expect("text"), stream)
}

async fn read(stream: &mut TcpStream, wanted: &str) {
    let mut bytes = vec![0; wanted.len()];
    stream.read_exact(&mut bytes).await.expect("it comes");
    assert_eq!(String::from_utf8_lossy(&bytes), wanted);
}

#[tokio::test]
async fn streams_and_sockets_flow_until_the_access_is_taken_back() {
    let f = Fixture::new();
    let (ada, bob) = (f.session("Ada").await, f.session("Bob").await);
    let room = f.room(&ada).await;
    serve_program(&f, &room);
    let Opened { host, cookie } = open(&f, &bob, &room).await;
    let url = f.serve().await;
    let address = url.trim_start_matches("ws://").trim_end_matches("/yjs").to_owned();
    let head = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}");
    let (answer, mut stream) = raw(&address, &head("/stream")).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // In chunks: the length of the piece, then the piece, long before the end.
    read(&mut stream, "5\r\nfirst\r\n").await;

    let upgrade = "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nOrigin: http://";
    let (answer, mut socket) = raw(&address, &format!("{}{upgrade}{host}", head("/socket"))).await;
    assert!(answer.starts_with("HTTP/1.1 101") && answer.contains("sec-websocket-accept: of-the-program"), "{answer}");
    socket.write_all(b"over and over").await.expect("sent");
    read(&mut socket, "over and over").await;
    let (answer, _) = raw(&address, &format!("{}{upgrade}evil.example", head("/socket"))).await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");

    let (_, who) = f.call("GET", "/api/v1/session", Some(&bob), None).await;
    let gone = json!({ "user": who["person"]["id"], "room": room });
    let (status, body) = f.call("POST", "/api/v1/revocations", Some(&ada), Some(gone)).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let mut rest = Vec::new();
    let _ = socket.read_to_end(&mut rest).await;
    let _ = stream.read_to_end(&mut rest).await;
    assert_eq!(rest, b"", "both are cut off");
    assert_eq!(get(&f, &host, "/", &[("cookie", &cookie)]).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn where_nobody_would_get_to_a_preview_none_is_offered() {
    let f = Fixture::new();
    let ada = f.session("Ada").await;
    let room = f.room(&ada).await;
    let request = Request::post(format!("/api/v1/rooms/{room}/previews"))
        .header("host", "192.168.1.5:8080")
        .header("authorization", format!("Bearer {ada}"))
        .header("content-type", "application/json");
    let request = request.body(Body::from(json!({ "port": 8000 }).to_string())).expect("request");
    let response = f.router.clone().oneshot(request).await.expect("answer");
    assert_eq!(response.status(), StatusCode::CONFLICT);
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("body");
    assert!(String::from_utf8_lossy(&body).contains("preview.url"));
}
