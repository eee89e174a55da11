//! A room's call through its WebSocket, over a transport in memory.

use super::terminals::text;
use super::*;

pub(super) struct World {
    pub(super) f: Fixture,
    url: String,
    pub(super) ada: String,
    pub(super) room: String,
}

impl World {
    pub(super) async fn new() -> Self {
        let f = Fixture::new();
        let ada = f.session("Ada").await;
        Self::of(f, ada).await
    }

    /// With a room of whoever has this token.
    pub(super) async fn of(f: Fixture, ada: String) -> Self {
        let url = f.serve().await.replace("/yjs", "/api/v1/rooms");
        let room = f.room(&ada).await;
        Self { f, url, ada, room }
    }

    pub(super) async fn attach(&self, token: &str) -> Socket {
        connect(&format!("{}/{}/media?token={token}", self.url, self.room)).await
    }
}

pub(super) async fn say(socket: &mut Socket, message: Value) {
    socket.send(Frame::text(message.to_string())).await.expect("send");
}

/// The call, when it is as wanted.
pub(super) async fn call(socket: &mut Socket, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    loop {
        let call = text(socket, "call").await;
        let participants = call["participants"].as_array().expect("a list").clone();
        if wanted(&participants) {
            return participants;
        }
    }
}

#[tokio::test]
async fn everybody_in_the_room_sees_who_takes_part_and_what_they_publish() {
    let w = World::new().await;
    let bob = w.f.session("Bob").await;
    let (mut ada, mut bob) = (w.attach(&w.ada).await, w.attach(&bob).await);
    call(&mut bob, <[Value]>::is_empty).await;
    say(&mut ada, json!({"type": "join"})).await;
    let joined = text(&mut ada, "joined").await;
    assert_eq!(joined["resumed"], false);
    let seen = call(&mut bob, |call| call.len() == 1).await;
    assert_eq!((&seen[0]["person"]["name"], &seen[0]["id"]), (&json!("Ada"), &joined["participant"]));
    say(&mut ada, json!({"type": "set", "source": "microphone", "state": "muted"})).await;
    let seen = call(&mut bob, |call| call.len() == 1 && call[0]["tracks"] != json!([])).await;
    assert_eq!(seen[0]["tracks"][0]["muted"], true);
    // Bob hosts nothing here, and takes no part.
    say(&mut bob, json!({"type": "mute", "track": seen[0]["tracks"][0]["id"]})).await;
    text(&mut bob, "refused").await;

    // Who is gone is away, and comes back as the same participant.
    drop(ada);
    call(&mut bob, |call| call[0]["away"] == true).await;
    let mut ada = w.attach(&w.ada).await;
    say(&mut ada, json!({"type": "join", "resume": joined["resume"]})).await;
    assert_eq!(text(&mut ada, "joined").await["participant"], joined["participant"]);
    say(&mut ada, json!({"type": "leave"})).await;
    call(&mut bob, <[Value]>::is_empty).await;
}

#[tokio::test]
async fn a_host_takes_a_hand_down_at_its_own_page() {
    let w = World::new().await;
    let bob = w.f.session("Bob").await;
    let (mut ada, mut bob) = (w.attach(&w.ada).await, w.attach(&bob).await);
    say(&mut ada, json!({"type": "join"})).await;
    let host = text(&mut ada, "joined").await["participant"].clone();
    say(&mut bob, json!({"type": "join"})).await;
    let editor = text(&mut bob, "joined").await["participant"].clone();
    say(&mut bob, json!({"type": "lower_hand", "participant": host})).await;
    text(&mut bob, "refused").await;
    say(&mut ada, json!({"type": "lower_hand", "participant": editor})).await;
    assert_eq!(text(&mut bob, "hand_lowered").await["by"], "Ada");
}

#[tokio::test]
async fn a_call_is_shown_so_often_only() {
    let w = World::new().await;
    let bob = w.f.session("Bob").await;
    let (mut ada, mut bob) = (w.attach(&w.ada).await, w.attach(&bob).await);
    say(&mut ada, json!({"type": "join"})).await;
    call(&mut bob, |call| call.len() == 1).await;
    let began = std::time::Instant::now();
    for turn in 0..400 {
        let state = if turn % 2 == 0 { "on" } else { "muted" };
        say(&mut ada, json!({"type": "set", "source": "microphone", "state": state})).await;
    }
    say(&mut ada, json!({"type": "leave"})).await;
    let mut shown = 1;
    while text(&mut bob, "call").await["participants"] != json!([]) {
        shown += 1;
    }
    let most = 5 + began.elapsed().as_millis() / 50;
    assert!(shown <= most, "shown {shown} times, at most {most}");
}

#[tokio::test]
async fn access_that_ends_while_a_page_is_away_ends_its_part() {
    let w = World::new().await;
    let guest = w.f.session("Bob").await;
    let (mut ada, mut bob) = (w.attach(&w.ada).await, w.attach(&guest).await);
    say(&mut bob, json!({"type": "join"})).await;
    call(&mut ada, |call| call.len() == 1).await;
    drop(bob);
    let seen = call(&mut ada, |call| call[0]["away"] == true).await;
    let gone = json!({ "user": seen[0]["person"]["id"], "room": w.room });
    let (status, body) = w.f.call("POST", "/api/v1/revocations", Some(&w.ada), Some(gone)).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    // Long before it is given up.
    call(&mut ada, <[Value]>::is_empty).await;
}

#[tokio::test]
async fn what_no_call_understands_ends_its_own_connection() {
    let w = World::new().await;
    let mut other = w.attach(&w.ada).await;
    let offer_of =
        |mid: &str| format!(r#"{{"type":"offer","neg":1,"sdp":"","sections":[{{"mid":"{mid}","source":"screen"}}]}}"#);
    let long = format!(r#"{{"type":"offer","neg":1,"sdp":"{}","sections":[]}}"#, "x".repeat(60_000));
    for (wrong, code) in [
        (Frame::text("nonsense"), 1002),
        (Frame::text(r#"{"type":"shout"}"#), 1002),
        (Frame::text(r#"{"type":"want","track":"../x","layer":"low"}"#), 1002),
        (Frame::text(r#"{"type":"join","name":"somebody else"}"#), 1002),
        (Frame::text(r#"{"type":"lower_hand","participant":"../x"}"#), 1002),
        (binary(Bytes::from_static(b"\0\0")), 1002),
        (Frame::text(offer_of(&"1".repeat(33))), 1002),
        (Frame::text(long.repeat(2)), 1009),
    ] {
        let mut socket = w.attach(&w.ada).await;
        socket.send(wrong.clone()).await.expect("send");
        assert_eq!(close_code(&mut socket).await, code, "{:.60}", wrong.to_string());
    }
    // What is too much for anybody is refused in words, and the transport does not see it.
    say(&mut other, json!({"type": "join"})).await;
    text(&mut other, "joined").await;
    let sections = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n".repeat(17);
    say(&mut other, json!({"type": "offer", "neg": 1, "sdp": format!("v=0\r\n{sections}"), "sections": []})).await;
    let refused = text(&mut other, "refused").await;
    assert!(refused["message"].as_str().is_some_and(|text| text.contains("more than 16 sections")), "{refused}");
    say(&mut other, json!({"type": "leave"})).await;
    let mut stranger = w.attach("nobody").await;
    assert_eq!(close_code(&mut stranger).await, 4401);
    // Before it takes part, what it says of its media is refused in words.
    say(&mut other, json!({"type": "set", "source": "camera", "state": "on"})).await;
    text(&mut other, "refused").await;
}

#[tokio::test]
async fn one_person_keeps_nobody_out() {
    let w = World::new().await;
    let mut pages = Vec::new();
    for _ in 0..20 {
        let mut page = w.attach(&w.ada).await;
        call(&mut page, <[Value]>::is_empty).await;
        pages.push(page);
    }
    let mut more = w.attach(&w.ada).await;
    assert_eq!(close_code(&mut more).await, 4529);
    let bob = w.f.session("Bob").await;
    call(&mut w.attach(&bob).await, <[Value]>::is_empty).await;
    // There is room again when one is closed.
    drop(pages.pop());
    loop {
        let mut again = w.attach(&w.ada).await;
        if let Some(Ok(Frame::Text(_))) = again.next().await {
            break;
        }
    }
}

#[tokio::test]
async fn a_host_has_calls_encrypted_and_nobody_joins_or_looks_on_otherwise() {
    let w = World::new().await;
    let bob = w.f.session("Bob").await;
    let settings = format!("/api/v1/rooms/{}/media/settings", w.room);
    let set =
        async |token: &str, on: bool| w.f.call("PUT", &settings, Some(token), Some(json!({ "encrypted": on }))).await;
    let (mut ada, mut page) = (w.attach(&w.ada).await, w.attach(&bob).await);
    assert_eq!(text(&mut page, "call").await, json!({ "type": "call", "encrypted": false, "participants": [] }));
    let (status, body) = set(&bob, true).await;
    assert_eq!((status, &body["error"]["code"]), (StatusCode::FORBIDDEN, &json!("denied")), "an editor may not");
    let (status, on) = set(&w.ada, true).await;
    assert_eq!((status, &on["encrypted"], &on["set_by_name"]), (StatusCode::OK, &json!(true), &json!("Ada")));
    assert_eq!(w.f.call("GET", &settings, Some(&bob), None).await.1, on);
    assert_eq!(text(&mut page, "call").await["encrypted"], true, "whoever is there is told");

    say(&mut page, json!({"type": "join"})).await;
    let refused = text(&mut page, "refused").await;
    assert!(refused["message"].as_str().is_some_and(|message| message.contains("end-to-end encrypted")), "{refused}");
    say(&mut ada, json!({"type": "join", "encrypted": true})).await;
    text(&mut ada, "joined").await;
    let (status, body) = set(&w.ada, false).await;
    assert_eq!((status, &body["error"]["code"]), (StatusCode::CONFLICT, &json!("call_running")));
}
