//! Terminals through REST and their WebSocket, with a shell that the test plays.

use buildspaces_plans::memory::OpenedTerminal;
use buildspaces_plans::ports::{TerminalCommand, TerminalEnd};

use super::*;

struct World {
    f: Fixture,
    url: String,
    ada: String,
    room: String,
}

impl World {
    async fn new() -> Self {
        let f = Fixture::new();
        let url = f.serve().await.replace("/yjs", "/api/v1/rooms");
        let ada = f.session("Ada").await;
        let room = f.room(&ada).await;
        Self { f, url, ada, room }
    }

    fn path(&self) -> String {
        format!("/api/v1/rooms/{}/terminals", self.room)
    }

    async fn open(&self, token: &str) -> String {
        let (status, body) = self.f.call("POST", &self.path(), Some(token), Some(json!({}))).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        body["id"].as_str().expect("id").to_owned()
    }

    async fn shell(&self) -> OpenedTerminal {
        loop {
            if let Some(shell) = self.f.sandboxes.opened_terminal() {
                return shell;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn attach(&self, terminal: &str, token: &str, more: &str) -> Socket {
        connect(&format!("{}/{}/terminals/{terminal}?token={token}{more}", self.url, self.room)).await
    }
}

/// The next text whose `type` is this.
pub(super) async fn text(socket: &mut Socket, kind: &str) -> Value {
    loop {
        if let Frame::Text(text) = next(socket).await {
            let value: Value = serde_json::from_str(&text).expect("JSON");
            if value["type"] == kind {
                return value;
            }
        }
    }
}

async fn state(socket: &mut Socket, wanted: impl Fn(&Value) -> bool) -> Value {
    loop {
        let state = text(socket, "state").await;
        if wanted(&state) {
            return state;
        }
    }
}

/// What is shown, until it ends like this.
async fn shown(socket: &mut Socket, end: &str) -> String {
    let mut seen = String::new();
    while !seen.ends_with(end) {
        if let Frame::Binary(bytes) = next(socket).await {
            seen += &String::from_utf8_lossy(&bytes);
        }
    }
    seen
}

async fn typed(shell: &mut OpenedTerminal) -> Bytes {
    loop {
        if let TerminalCommand::Input(bytes) = shell.told().await.expect("somebody is there") {
            return bytes;
        }
    }
}

fn say(value: &Value) -> Frame {
    Frame::Text(value.to_string().into())
}

#[tokio::test]
async fn two_people_share_a_terminal_and_hand_the_keyboard_over() {
    let world = World::new().await;
    let bo_token = world.f.session("Bo").await;
    let id = world.open(&world.ada).await;
    let mut shell = world.shell().await;
    let (mut ada, mut bo) = (world.attach(&id, &world.ada, "").await, world.attach(&id, &bo_token, "").await);
    assert_eq!(text(&mut ada, "reset").await["offset"], 0);
    let status = state(&mut ada, |state| state["viewers"].as_array().is_some_and(|all| all.len() == 2)).await;
    assert_eq!(
        (&status["keyboard"]["name"], &status["may_type"], &status["may_take"]),
        (&json!("Ada"), &json!(true), &json!(true))
    );
    ada.send(binary(Bytes::from_static(b"echo hi\r"))).await.expect("send");
    assert_eq!(typed(&mut shell).await, "echo hi\r");
    shell.print(b"hi\r\n\x1b]52;c;aGk=\x07").await;
    assert_eq!(shown(&mut ada, "hi\r\n").await, "hi\r\n");
    assert_eq!(shown(&mut bo, "hi\r\n").await, "hi\r\n", "nothing for the clipboard");

    bo.send(binary(Bytes::from_static(b"ignored"))).await.expect("send");
    bo.send(say(&json!({ "type": "size", "rows": 30, "cols": 90 }))).await.expect("send");
    bo.send(say(&json!({ "type": "ask" }))).await.expect("send");
    let asked = state(&mut ada, |state| !state["asking"].as_array().expect("list").is_empty()).await;
    assert_eq!(asked["asking"][0]["name"], "Bo");
    ada.send(say(&json!({ "type": "give", "to": asked["asking"][0]["viewer"] }))).await.expect("send");
    let status = state(&mut bo, |state| state["keyboard"]["name"] == "Bo").await;
    assert_eq!((&status["rows"], &status["cols"]), (&json!(30), &json!(90)), "the holder's size wins");
    bo.send(binary(Bytes::from_static(b"ls\r"))).await.expect("send");
    assert_eq!(typed(&mut shell).await, "ls\r");
    // Ada made the room, so she is its host.
    ada.send(say(&json!({ "type": "take" }))).await.expect("send");
    state(&mut bo, |state| state["keyboard"]["name"] == "Ada").await;

    let (_, list) = world.f.call("GET", &world.path(), Some(&bo_token), None).await;
    assert_eq!((&list[0]["state"], &list[0]["keyboard"]), (&json!("running"), &json!("Ada")));
    let mut again = world.attach(&id, &bo_token, "&from=2").await;
    assert_eq!(text(&mut again, "continue").await["offset"], 2);
    assert_eq!(shown(&mut again, "\r\n").await, "\r\n", "what was missed is replayed");
}

#[tokio::test]
async fn closing_ends_it_for_everybody_and_an_end_is_told() {
    let world = World::new().await;
    let id = world.open(&world.ada).await;
    let shell = world.shell().await;
    let mut ada = world.attach(&id, &world.ada, "").await;
    shell.end(TerminalEnd::Exited(3)).await;
    let ended = state(&mut ada, |state| state["state"] == "ended").await;
    assert_eq!(ended["message"], "The shell has ended with exit code 3.");
    let (status, _) = world.f.call("DELETE", &format!("{}/{id}", world.path()), Some(&world.ada), None).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(close_code(&mut ada).await, 4404);
    assert_eq!(close_code(&mut world.attach(&id, &world.ada, "").await).await, 4404);
    let (status, body) = world.f.call("DELETE", &format!("{}/{id}", world.path()), Some(&world.ada), None).await;
    assert_eq!((status, &body["error"]["code"]), (StatusCode::NOT_FOUND, &json!("no_such_terminal")));
}

#[tokio::test]
async fn who_may_use_terminals_may_end_the_sandbox() {
    let world = World::new().await;
    let path = format!("/api/v1/rooms/{}/sandbox", world.room);
    let (status, _) = world.f.call("DELETE", &path, None, None).await;
    assert_eq!((status, world.f.sandboxes.journal().len()), (StatusCode::UNAUTHORIZED, 0));
    let (status, _) = world.f.call("DELETE", &path, Some(&world.ada), None).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(world.f.sandboxes.journal(), ["dispose: the sandbox was ended by Ada"]);
}

#[tokio::test]
async fn strangers_and_nonsense_are_refused() {
    let world = World::new().await;
    let id = world.open(&world.ada).await;
    let _shell = world.shell().await;
    assert_eq!(close_code(&mut world.attach(&id, "", "").await).await, 4401);
    assert_eq!(close_code(&mut world.attach(&id, "forged", "").await).await, 4401);
    assert_eq!(close_code(&mut world.attach("nothing", &world.ada, "").await).await, 4404);
    assert_eq!(close_code(&mut world.attach("%2e%2e", &world.ada, "").await).await, 4404);
    for nonsense in [
        "{",
        "{}",
        r#"{"type":"rule the world"}"#,
        r#"{"type":"give","to":"x"}"#,
        r#"{"type":"size","rows":-1,"cols":2}"#,
    ] {
        let mut socket = world.attach(&id, &world.ada, "").await;
        socket.send(Frame::Text(nonsense.into())).await.expect("send");
        assert_eq!(close_code(&mut socket).await, 1002, "{nonsense}");
    }
    let (status, body) = world.f.call("POST", &world.path(), None, Some(json!({}))).await;
    assert_eq!((status, &body["error"]["code"]), (StatusCode::UNAUTHORIZED, &json!("unknown_session")));
}

#[tokio::test]
async fn who_acknowledges_nothing_is_sent_only_so_much_and_then_a_picture() {
    let world = World::new().await;
    let id = world.open(&world.ada).await;
    let shell = world.shell().await;
    let mut slow = world.attach(&id, &world.ada, "").await;
    text(&mut slow, "reset").await;
    let printing = async {
        for _ in 0..64 {
            shell.print(&[b'x'; 16 << 10]).await;
        }
        shell.print(b"\r\nthe end").await;
    };
    let mut received = 0;
    let reading = async {
        // The page that holds the keyboard shows nothing, so the program waits two seconds for it and then no more.
        while received < 256 << 10 {
            if let Frame::Binary(bytes) = next(&mut slow).await {
                received += bytes.len();
            }
        }
    };
    tokio::join!(printing, reading);
    assert!(received <= (256 << 10) + (16 << 10), "{received}");
    slow.send(say(&json!({ "type": "shown", "offset": received }))).await.expect("send");
    let reset = text(&mut slow, "reset").await;
    assert!(reset["bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{reset}");
    let Frame::Binary(picture) = next(&mut slow).await else { panic!("a picture") };
    assert_eq!(picture.len() as u64, reset["bytes"].as_u64().expect("a number"));
    // The last line may have been printed after the picture was made.
    let mut seen = picture.to_vec();
    while !String::from_utf8_lossy(&seen).contains("the end") {
        if let Frame::Binary(bytes) = next(&mut slow).await {
            seen.extend_from_slice(&bytes);
        }
    }
}
