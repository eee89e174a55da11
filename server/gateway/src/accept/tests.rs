use futures_util::SinkExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::Config;
use crate::limits::LimitsConfig;
use crate::tests::{Fixture, binary, connect, next, pass};

async fn tcp(url: &str) -> TcpStream {
    let address = url.trim_start_matches("ws://").split('/').next().expect("an address");
    TcpStream::connect(address).await.expect("connected")
}

/// What is read until the server ends the connection.
async fn rest(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    let reading = stream.read_to_string(&mut text);
    let _ = timeout(Duration::from_secs(10), reading).await.expect("in time");
    text
}

/// Waits until the server has answered a whole request on this connection.
async fn healthy(stream: &mut TcpStream) {
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("sent");
    let mut answer = Vec::new();
    while !answer.ends_with(b"ok\n") {
        assert_ne!(stream.read_buf(&mut answer).await.expect("read"), 0, "{}", String::from_utf8_lossy(&answer));
    }
}

#[tokio::test]
async fn who_vanishes_without_a_word_is_asked_whether_they_are_there() {
    use rustix::net::sockopt;
    let f = Fixture::new();
    let stream = tcp(&f.serve().await).await;
    look_after(&stream, Duration::ZERO);
    assert!(sockopt::socket_keepalive(&stream).expect("read"));
    look_after(&stream, Duration::from_secs(30));
    let idle = sockopt::tcp_keepidle(&stream).expect("read");
    let between = sockopt::tcp_keepintvl(&stream).expect("read");
    let patience = Duration::from_millis(sockopt::tcp_user_timeout(&stream).expect("read").into());
    assert_eq!(patience, Duration::from_secs(30));
    assert!(idle + 3 * between <= patience, "four probes go out: {idle:?}, {between:?}");
}

#[tokio::test]
async fn who_does_not_say_what_they_want_is_not_waited_for() {
    let f = Fixture::new();
    let url = f.serve().await;
    let (mut silent, mut slow) = (tcp(&url).await, tcp(&url).await);
    slow.write_all(b"GET /healthz HTTP/1.1\r\nhost: local").await.expect("sent");
    // Whatever came before this one has been taken.
    healthy(&mut tcp(&url).await).await;
    let mut quiet = connect(&format!("{url}/notes")).await;
    next(&mut quiet).await;
    pass(Duration::from_secs(31)).await;
    assert_eq!(rest(&mut silent).await, "");
    assert_eq!(rest(&mut slow).await, "");
    quiet.send(binary(buildspaces_crdt::protocol::sync_step_1(&[0]))).await.expect("a WebSocket may be quiet");
    next(&mut quiet).await;
}

#[tokio::test]
async fn what_begins_as_media_is_no_request() {
    let f = Fixture::new();
    let url = f.serve().await;
    let mut stranger = tcp(&url).await;
    stranger.write_all(&[0, 4, 1, 2, 3, 4]).await.expect("sent");
    assert_eq!(rest(&mut stranger).await, "");
    healthy(&mut tcp(&url).await).await;
}

#[tokio::test]
async fn a_body_must_keep_a_pace() {
    let f = Fixture::new();
    let url = f.serve().await;
    let head = b"POST /api/v1/sessions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 30\r\n";
    let mut slow = tcp(&url).await;
    slow.write_all(head).await.expect("sent");
    // The server says when it begins to wait for the body.
    slow.write_all(b"expect: 100-continue\r\n\r\n").await.expect("sent");
    let mut said = [0; 25];
    slow.read_exact(&mut said).await.expect("read");
    assert!(said.starts_with(b"HTTP/1.1 100 "), "{}", String::from_utf8_lossy(&said));
    slow.write_all(b"{").await.expect("sent");
    pass(Duration::from_secs(31)).await;
    let answer = rest(&mut slow).await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("slow_body"), "{answer}");
}

#[tokio::test]
async fn who_reads_no_answers_is_not_waited_for() {
    let limits = LimitsConfig { request: Duration::from_secs(1), ..LimitsConfig::default() };
    let f = Fixture::with(Config { limits, ..Config::default() });
    let url = f.serve().await;
    let mut deaf = tcp(&url).await;
    let asking = async {
        let requests = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(1_000);
        while deaf.write_all(&requests).await.is_ok() {}
    };
    timeout(Duration::from_secs(30), asking).await.expect("the server has ended the connection");
}

#[tokio::test]
async fn connections_that_are_none_yet_are_counted() {
    let limits = LimitsConfig { http_connections: 2, ..LimitsConfig::default() };
    let f = Fixture::with(Config { limits, ..Config::default() });
    let url = f.serve().await;
    let (mut first, mut second) = (tcp(&url).await, tcp(&url).await);
    healthy(&mut first).await;
    healthy(&mut second).await;
    let refused = rest(&mut tcp(&url).await).await;
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("retry-after: 1"), "{refused}");
    // One that has become a WebSocket is not counted here any more.
    second.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.expect("sent");
    assert!(rest(&mut second).await.ends_with("ok\n"));
    let mut sockets = Vec::new();
    for _ in 0..4 {
        let mut socket = connect(&format!("{url}/notes")).await;
        next(&mut socket).await;
        sockets.push(socket);
    }
}

#[tokio::test]
async fn a_stop_waits_for_nobody_who_asks_for_nothing() {
    let f = Fixture::new();
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let until = async {
        let _ = stopped.await;
    };
    let (url, server) = f.serve_until(until).await;
    let (mut silent, mut idle) = (tcp(&url).await, tcp(&url).await);
    healthy(&mut idle).await;
    stop.send(()).expect("it serves");
    assert_eq!(server.shutdown(Duration::from_secs(5)).await, 0);
    assert_eq!((rest(&mut silent).await, rest(&mut idle).await), (String::new(), String::new()));
}
