//! What a client that asks for too much is told, through a real socket.

use super::*;
use crate::limits::LimitsConfig;

fn limited(limits: LimitsConfig) -> Fixture {
    Fixture::with(Config { limits, ..Config::default() })
}

/// The code that ends a connection on which `frames` are sent.
async fn code_after(url: &str, frames: impl Iterator<Item = Bytes>) -> u16 {
    let mut socket = connect(url).await;
    for frame in frames {
        // The server may have ended it already.
        let _ = socket.send(binary(frame)).await;
    }
    close_code(&mut socket).await
}

/// A question about the state of a document, on `/yjs` and, behind its address, on `/collab`.
fn question() -> Bytes {
    protocol::sync_step_1(&[0])
}

fn to(name: &str) -> Bytes {
    [&protocol::hocuspocus::address(name)[..], &question()].concat().into()
}

#[tokio::test]
async fn who_sends_faster_than_the_limit_is_closed_with_1008() {
    for limits in [
        LimitsConfig { messages_per_second: 1, messages_burst: 5, ..LimitsConfig::default() },
        LimitsConfig { bytes_per_second: 1, bytes_burst: 10, ..LimitsConfig::default() },
    ] {
        let url = limited(limits).serve().await;
        let questions = std::iter::repeat_n(question(), 20);
        assert_eq!(code_after(&format!("{url}/notes"), questions).await, 1008);
    }
}

#[tokio::test]
async fn who_never_says_who_they_are_is_closed_with_4408() {
    let f = limited(LimitsConfig { unauthenticated: Duration::from_millis(50), ..LimitsConfig::default() });
    let url = f.serve().await.replace("/yjs", "/collab");
    assert_eq!(code_after(&url, std::iter::once(to("notes"))).await, 4408);
}

#[tokio::test]
async fn one_connection_too_many_is_closed_with_4529() {
    let f = Fixture::with(Config { max_connections: 1, ..Config::default() });
    let url = f.serve().await;
    let mut first = connect(&format!("{url}/notes")).await;
    next(&mut first).await;
    assert_eq!(code_after(&format!("{url}/notes"), std::iter::empty()).await, 4529);

    let f = limited(LimitsConfig { connections_per_user: 1, ..LimitsConfig::default() });
    let url = f.serve().await;
    let ada = f.session("Ada").await;
    let mut first = connect(&format!("{url}/notes?token={ada}")).await;
    next(&mut first).await;
    assert_eq!(code_after(&format!("{url}/notes?token={ada}"), std::iter::empty()).await, 4529);
    let bo = f.session("Bo").await;
    assert!(matches!(next(&mut connect(&format!("{url}/notes?token={bo}")).await).await, Frame::Binary(_)));
}

#[tokio::test]
async fn what_may_wait_for_a_token_can_be_set() {
    for limits in [
        LimitsConfig { waiting_messages: 2, ..LimitsConfig::default() },
        LimitsConfig { waiting_bytes: 20, ..LimitsConfig::default() },
        LimitsConfig { waiting_documents: 2, ..LimitsConfig::default() },
        LimitsConfig { unauthenticated_bytes: 20, ..LimitsConfig::default() },
    ] {
        let url = limited(limits).serve().await.replace("/yjs", "/collab");
        let frames = ["one", "two", "three"].into_iter().map(to);
        assert_eq!(code_after(&url, frames).await, 4205);
    }
}

#[tokio::test]
async fn how_large_a_request_may_be_can_be_set() {
    let f = limited(LimitsConfig { body_bytes: 100, ..LimitsConfig::default() });
    let name = |len| json!({ "name": "A".repeat(len) });
    assert_eq!(f.call("POST", "/api/v1/sessions", None, Some(name(10))).await.0, StatusCode::CREATED);
    assert_eq!(f.call("POST", "/api/v1/sessions", None, Some(name(100))).await.0, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_server_that_stops_does_not_send_everybody_back_in_one_moment() {
    let f = Fixture::new();
    let url = f.serve().await;
    let mut sockets = Vec::new();
    for _ in 0..60 {
        let mut socket = connect(&format!("{url}/notes")).await;
        next(&mut socket).await;
        sockets.push(socket);
    }
    // From here on time passes only where somebody waits for it to.
    tokio::time::pause();
    let stop = f.tasks.clone();
    Tasks::new().spawn("stop", async move {
        stop.shutdown(Duration::from_secs(60)).await;
    });
    let begun = tokio::time::Instant::now();
    let told = sockets.iter_mut().map(async |socket| (close_code(socket).await, begun.elapsed()));
    let told = futures_util::future::join_all(told).await;
    assert!(told.iter().all(|(code, _)| *code == 1012), "{told:?}");
    let moments: std::collections::BTreeSet<_> = told.iter().map(|(_, after)| after.as_millis()).collect();
    assert!(moments.len() > 15, "{moments:?}");
}
