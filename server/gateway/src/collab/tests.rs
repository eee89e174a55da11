use std::collections::HashSet;

use buildspaces_crdt::Replica;
use buildspaces_crdt::protocol::Message;
use futures_util::SinkExt;

use super::*;
use crate::Config;
use crate::identity::{AuthConfig, WebhookConfig};
use crate::limits::LimitsConfig;
use crate::tests::{Fixture, Socket, binary, close_code, connect, next, pass};

/// A message behind an address.
fn to(name: &str, body: &[u8]) -> Bytes {
    [&hocuspocus::address(name)[..], body].concat().into()
}

fn token(name: &str, token: &str) -> Bytes {
    to(name, &[&[2, 0, token.len() as u8], token.as_bytes()].concat())
}

async fn send(socket: &mut Socket, message: Bytes) {
    socket.send(binary(message)).await.expect("send");
}

/// The next message, which must be for this document.
async fn body(socket: &mut Socket, name: &str) -> Bytes {
    let frame = next(socket).await.into_data();
    let address = hocuspocus::address(name);
    assert!(frame.starts_with(&address), "{frame:?} is not for {name}");
    frame.slice(address.len()..)
}

async fn collab(f: &Fixture) -> Socket {
    connect(&f.serve().await.replace("/yjs", "/collab")).await
}

#[tokio::test]
async fn many_documents_share_a_socket_and_each_update_has_its_status() {
    let f = Fixture::new();
    let mut socket = collab(&f).await;
    let mut replica = Replica::new();
    let update = replica.set_text("text", "hello").expect("changed");
    for name in ["one", "two\0session"] {
        // What comes before the token waits for it.
        send(&mut socket, to(name, &protocol::sync_step_1(&[0]))).await;
        send(&mut socket, token(name, "")).await;
        assert_eq!(body(&mut socket, name).await, hocuspocus::authenticated(true));
        assert_eq!(body(&mut socket, name).await, protocol::sync_step_1(&[0]));
        assert_eq!(body(&mut socket, name).await, protocol::sync_step_2(&[0, 0]));
        send(&mut socket, to(name, &protocol::update(&update))).await;
        send(&mut socket, to(name, &protocol::update(&update))).await;
        assert_eq!(body(&mut socket, name).await, hocuspocus::sync_status(true));
        assert_eq!(body(&mut socket, name).await, hocuspocus::sync_status(true));
    }
    // A y-websocket client of the same document has it too.
    let mut other = connect(&format!("{}/two", f.serve().await)).await;
    send(&mut other, protocol::sync_step_1(&[0])).await;
    next(&mut other).await;
    let answer = next(&mut other).await.into_data();
    assert!(matches!(&protocol::decode(&answer).expect("valid")[..], [Message::SyncStep2(state)] if state.len() > 2));
    // One document goes, the other stays.
    send(&mut socket, to("one", &[7])).await;
    assert_eq!(body(&mut socket, "one").await[0], 7);
    let more = replica.set_text("text", "hello!").expect("changed");
    send(&mut socket, to("two\0session", &protocol::update(&more))).await;
    assert_eq!(next(&mut other).await.into_data(), protocol::update(&more));
}

#[tokio::test]
async fn a_socket_counts_for_everybody_who_was_let_in_on_it() {
    let limits = LimitsConfig { connections_per_user: 1, ..LimitsConfig::default() };
    let f = Fixture::with(Config { limits, ..Config::default() });
    let (ada, bo, url) = (f.session("Ada").await, f.session("Bo").await, f.serve().await);
    let mut socket = connect(&url.replace("/yjs", "/collab")).await;
    for (name, who) in [("one", &ada), ("two", &bo), ("three", &ada)] {
        send(&mut socket, token(name, who)).await;
        assert_eq!(body(&mut socket, name).await, hocuspocus::authenticated(true));
    }
    for who in [&ada, &bo] {
        assert_eq!(close_code(&mut connect(&format!("{url}/notes?token={who}")).await).await, 4529);
    }
    // A second socket is one too many for Bo, but not for who is let in there besides.
    let cy = f.session("Cy").await;
    let mut other = connect(&url.replace("/yjs", "/collab")).await;
    send(&mut other, token("one", &cy)).await;
    assert_eq!(body(&mut other, "one").await, hocuspocus::authenticated(true));
    send(&mut other, token("two", &bo)).await;
    assert_eq!(body(&mut other, "two").await, hocuspocus::authenticated(true));
    assert_eq!(body(&mut other, "two").await[..2], [2, 1], "denied after all");
    // Nor does a document that is open change hands.
    send(&mut other, token("one", &bo)).await;
    assert_eq!(body(&mut other, "one").await[..2], [2, 1]);
    drop(socket);
    let again = async || {
        let mut socket = connect(&format!("{url}/notes?token={bo}")).await;
        matches!(next(&mut socket).await, tungstenite::Message::Binary(_))
    };
    for _ in 0..100 {
        if again().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("Bo still counts");
}

#[tokio::test]
async fn a_large_message_of_somebody_unknown_is_not_even_gathered() {
    use tokio::io::AsyncWriteExt;
    let f = Fixture::with(Config::default());
    let mut socket = collab(&f).await;
    // The beginning of a binary frame of 10 MiB, which never comes.
    let header = [&[0x82, 0xff][..], &(10_u64 << 20).to_be_bytes(), &[0; 4]].concat();
    let tokio_tungstenite::MaybeTlsStream::Plain(stream) = socket.get_mut() else { panic!("it is not encrypted") };
    stream.write_all(&header).await.expect("sent");
    assert_eq!(close_code(&mut socket).await, RESET);
    // Who is known may.
    let mut socket = collab(&f).await;
    send(&mut socket, token("one", "")).await;
    assert_eq!(body(&mut socket, "one").await, hocuspocus::authenticated(true));
    send(&mut socket, to("one", &protocol::sync_step_2(&vec![0; 10 << 20]))).await;
    assert_eq!(close_code(&mut socket).await, 1002, "it is read, and means nothing");
}

#[tokio::test]
async fn a_document_that_may_not_be_opened_is_denied_and_may_be_asked_for_again() {
    let f = Fixture::new();
    let ada = f.session("Ada").await;
    let name = format!("{}/tree:main", f.room(&ada).await);
    let mut socket = collab(&f).await;
    send(&mut socket, token(&name, "forged")).await;
    assert_eq!(body(&mut socket, &name).await[..2], [2, 1]);
    send(&mut socket, token(&name, &ada)).await;
    // The tree is written by the server.
    assert_eq!(body(&mut socket, &name).await, hocuspocus::authenticated(false));
    send(&mut socket, to(&name, &protocol::update(&Replica::new().set_text("text", "x").expect("changed")))).await;
    assert_eq!(body(&mut socket, &name).await, hocuspocus::sync_status(false));
}

#[tokio::test]
async fn what_comes_behind_a_denied_token_is_dropped_and_holds_no_place() {
    let f = Fixture::new();
    let ada = f.session("Ada").await;
    let mut socket = collab(&f).await;
    send(&mut socket, token("open", &ada)).await;
    assert_eq!(body(&mut socket, "open").await, hocuspocus::authenticated(true));
    let name = format!("{}/tree:main", f.room(&ada).await);
    send(&mut socket, token(&name, "forged")).await;
    assert_eq!(body(&mut socket, &name).await[..2], [2, 1]);
    // More than may wait for documents that are not open.
    for _ in 0..5_000 {
        send(&mut socket, to(&name, &protocol::sync_step_1(&[0]))).await;
    }
    send(&mut socket, token(&name, &ada)).await;
    assert_eq!(body(&mut socket, &name).await, hocuspocus::authenticated(false));
}

#[tokio::test]
async fn what_only_servers_may_send_and_what_is_too_much_resets_the_connection() {
    let f = Fixture::new();
    let mut socket = collab(&f).await;
    send(&mut socket, to("doc", &[6, 1, b'x'])).await;
    assert_eq!(close_code(&mut socket).await, RESET);
    let mut socket = collab(&f).await;
    for _ in 0..=4_000 {
        send(&mut socket, to("doc", &protocol::sync_step_1(&[0]))).await;
    }
    assert_eq!(close_code(&mut socket).await, RESET);
    let mut socket = collab(&f).await;
    for n in 0..=1_000 {
        send(&mut socket, to(&format!("doc{n}"), &[3])).await;
    }
    assert_eq!(close_code(&mut socket).await, RESET);
    let mut socket = collab(&f).await;
    send(&mut socket, Bytes::from_static(&[9])).await;
    assert_eq!(close_code(&mut socket).await, 1002);
}

#[tokio::test]
async fn an_applications_own_message_reaches_the_others() {
    let f = Fixture::new();
    let (mut ada, mut bo) = (collab(&f).await, collab(&f).await);
    for socket in [&mut ada, &mut bo] {
        send(socket, token("doc", "")).await;
        assert_eq!(body(socket, "doc").await, hocuspocus::authenticated(true));
    }
    send(&mut ada, to("doc", &hocuspocus::stateless(b"hi"))).await;
    assert_eq!(body(&mut bo, "doc").await, hocuspocus::stateless(b"hi"));
}

#[tokio::test]
async fn a_document_that_is_closed_and_asked_for_again_at_once_is_open_once() {
    let f = Fixture::new();
    let mut socket = collab(&f).await;
    let update = Replica::new().set_text("text", "hello").expect("changed");
    // Whether the first token was looked at when the second comes is a matter of chance.
    let names: Vec<String> = (0..40).map(|n| format!("doc{n}")).collect();
    for name in &names {
        for message in [token(name, ""), to(name, &[7]), token(name, ""), to(name, &protocol::update(&update))] {
            send(&mut socket, message).await;
        }
    }
    let mut unsaved: HashSet<Bytes> = names.iter().map(|name| to(name, &hocuspocus::sync_status(true))).collect();
    while !unsaved.is_empty() {
        unsaved.remove(&next(&mut socket).await.into_data());
    }
    for name in &names {
        send(&mut socket, to(name, &[7])).await;
    }
    // Nothing is left of them that would count.
    send(&mut socket, to("late", &protocol::sync_step_1(&[0]))).await;
    send(&mut socket, token("late", "")).await;
    let answer = to("late", &hocuspocus::authenticated(true));
    while next(&mut socket).await.into_data() != answer {}
}

#[tokio::test]
async fn a_socket_whose_last_document_was_closed_has_time_for_the_next() {
    let f = Fixture::new();
    let mut socket = collab(&f).await;
    let update = Replica::new().set_text("text", "hello").expect("changed");
    for name in ["one", "two"] {
        send(&mut socket, token(name, "")).await;
        assert_eq!(body(&mut socket, name).await, hocuspocus::authenticated(true));
        send(&mut socket, to(name, &protocol::update(&update))).await;
        assert_eq!(body(&mut socket, name).await, hocuspocus::sync_status(true));
        pass(Duration::from_secs(31)).await;
        send(&mut socket, to(name, &[7])).await;
        assert_eq!(body(&mut socket, name).await[0], 7);
    }
    pass(Duration::from_secs(31)).await;
    assert_eq!(close_code(&mut socket).await, 4408);
}

/// A service that says who somebody is, and does not answer as it should while told so.
async fn service(is_broken: Arc<std::sync::atomic::AtomicBool>) -> WebhookConfig {
    use axum::http::StatusCode;
    let answer = async move || {
        let status = if is_broken.load(std::sync::atomic::Ordering::Relaxed) {
            StatusCode::INTERNAL_SERVER_ERROR
        } else {
            StatusCode::OK
        };
        let who = serde_json::json!({ "id": "ada", "name": "Ada" });
        let body =
            serde_json::json!({ "allow": true, "role": "editor", "user": who, "expires": unix_millis() + 3_000 });
        (status, body.to_string())
    };
    let router = axum::Router::new().route("/who", axum::routing::post(answer));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("port");
    let url = format!("http://{}/who", listener.local_addr().expect("address"));
    buildspaces_kernel::tasks::Tasks::new().spawn("service", async move {
        axum::serve(listener, router).await.expect("serve");
    });
    WebhookConfig {
        url: crate::http::Url::parse(&url, false).expect("this machine"),
        secret: None,
        timeout: Duration::from_secs(5),
        remember: Duration::ZERO,
    }
}

#[tokio::test]
async fn who_cannot_be_looked_at_just_now_is_denied_nothing() {
    let is_broken = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let breaks = |now| is_broken.store(now, std::sync::atomic::Ordering::Relaxed);
    let auth = AuthConfig { webhook: Some(service(is_broken.clone()).await), ..AuthConfig::default() };
    let f = Fixture::with(Config { auth, ..Config::default() });
    let mut socket = collab(&f).await;
    send(&mut socket, token("one", "opaque")).await;
    assert_eq!(body(&mut socket, "one").await, hocuspocus::authenticated(true));
    breaks(true);
    assert_eq!(body(&mut socket, "one").await, hocuspocus::token_wanted());
    send(&mut socket, token("one", "opaque")).await;
    // What the first token allowed holds for as long as it said.
    let update = Replica::new().set_text("text", "hello").expect("changed");
    send(&mut socket, to("one", &protocol::update(&update))).await;
    assert_eq!(body(&mut socket, "one").await, hocuspocus::sync_status(true));
    assert_eq!(close_code(&mut socket).await, 1013);
    let mut socket = collab(&f).await;
    send(&mut socket, token("one", "opaque")).await;
    assert_eq!(close_code(&mut socket).await, 1013);
    breaks(false);
    let mut socket = collab(&f).await;
    send(&mut socket, token("one", "opaque")).await;
    assert_eq!(body(&mut socket, "one").await, hocuspocus::authenticated(true));
}
