//! The gateway where tokens are needed: REST through the router, documents through a socket.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use buildspaces_crdt::Replica;
use buildspaces_crdt::protocol;
use buildspaces_plans::Engine;
use buildspaces_plans::memory::{FakeRooms, FakeSandboxes, MemoryRuns, MemorySecrets};
use buildspaces_plans::secrets::Secrets;
use buildspaces_rooms::Rooms;
use buildspaces_rooms::memory::MemoryStore;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message as Frame;
use tower::ServiceExt;

use super::*;
use crate::limits::LimitsConfig;
use crate::{Config, Parts, routers};

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const ADMIN: &str = "an-administrators-token-of-enough-bytes";

struct Fixture {
    router: Router,
    auth: AuthConfig,
    store: Arc<MemoryStore>,
}

fn closed() -> AuthConfig {
    let (signer, key) = SigningKey::secret(SECRET).expect("long enough");
    let admin = Some(AdminToken::new(ADMIN).expect("long enough"));
    AuthConfig { keys: vec![key], signer: Some(signer), admin, ..AuthConfig::default() }
}

impl Fixture {
    fn new(auth: AuthConfig) -> Self {
        Self::over(auth, Arc::default())
    }

    /// On a store that is there already, as after a restart.
    fn over(auth: AuthConfig, store: Arc<MemoryStore>) -> Self {
        let tasks = Tasks::new();
        let rooms = Rooms::new(store.clone(), tasks.clone());
        let (sandboxes, _steps) = FakeSandboxes::new(FakeRooms::default());
        let sandboxes = Arc::new(sandboxes);
        let runs = Arc::new(MemoryRuns::default());
        let config = buildspaces_plans::Config::default();
        let secrets = Secrets::new(Arc::new(MemorySecrets::default()), None);
        let engine = Engine::new(rooms.clone(), runs, sandboxes.clone(), secrets, tasks.clone(), config);
        let parts = Parts {
            config: Config {
                auth: auth.clone(),
                public_url: Some("https://rooms.example".into()),
                ..Config::default()
            },
            rooms,
            engine,
            sandboxes,
            webhooks: buildspaces_webhooks::Engine::new(
                Arc::new(buildspaces_webhooks::memory::MemoryWebhooks::default()),
                Arc::new(buildspaces_webhooks::memory::FakeTransport::default()),
                Arc::new(unix_millis),
                &buildspaces_webhooks::Config::default(),
            ),
            calls: buildspaces_media::Calls::off(
                "calls are off in this test",
                Arc::new(buildspaces_media::memory::MemoryCalls::default()),
                tasks.clone(),
            ),
            tasks,
            metrics: Arc::new(|| "buildspaces_test 1\n".to_owned()),
            ready: Arc::new(|| Box::pin(async { true })),
        };
        Self { router: routers(parts).main, auth, store }
    }

    fn token(&self, user: &str, role: Role, room: Option<&str>) -> String {
        self.token_for(user, role, room, &[], Duration::from_secs(3600))
    }

    fn token_for(&self, user: &str, role: Role, room: Option<&str>, documents: &[&str], lifetime: Duration) -> String {
        let new = NewToken {
            subject: Some(user.to_owned()),
            name: user.to_owned(),
            role,
            room: room.map(str::to_owned),
            documents: documents.iter().map(|pattern| (*pattern).to_owned()).collect(),
            lifetime: Some(lifetime),
            tenancy: Tenancy::default(),
        };
        self.auth.mint(&new, unix_millis()).expect("made").token
    }

    async fn call(&self, method: &str, path: &str, token: &str, body: Option<Value>) -> (u16, Value) {
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost:8080");
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let body = match body {
            Some(body) => {
                request = request.header("content-type", "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        let response = self.router.clone().oneshot(request.body(body).expect("request")).await.expect("answer");
        let status = response.status().as_u16();
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("body");
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    async fn room(&self) -> String {
        let host = self.token("host", Role::Host, None);
        let (status, body) = self.call("POST", "/api/v1/rooms", &host, Some(json!({ "template": "python" }))).await;
        assert_eq!(status, 201, "{body}");
        body["id"].as_str().expect("id").to_owned()
    }

    async fn revoke(&self, by: &str, what: Value) -> (u16, Value) {
        self.call("POST", "/api/v1/revocations", by, Some(what)).await
    }

    /// Serves on a free port; ends with the test.
    async fn serve(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("port");
        let address = listener.local_addr().expect("address");
        let router = self.router.clone();
        Tasks::new().spawn("test server", async move {
            let served = crate::Served { router: Some(router), media: None };
            crate::serve(listener, served, &LimitsConfig::default(), std::future::pending()).await;
        });
        format!("ws://{address}/yjs")
    }
}

type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

async fn connect(url: String) -> Socket {
    tokio_tungstenite::connect_async(url).await.expect("connect").0
}

async fn next(socket: &mut Socket) -> Frame {
    loop {
        let frame = tokio::time::timeout(Duration::from_secs(20), socket.next()).await.expect("in time");
        match frame.expect("open").expect("frame") {
            Frame::Ping(_) | Frame::Pong(_) => {}
            frame => return frame,
        }
    }
}

/// The code and reason the server closed with, whatever came before.
async fn closed_with(socket: &mut Socket) -> (u16, String) {
    loop {
        if let Frame::Close(frame) = next(socket).await {
            let frame = frame.expect("a code");
            return (frame.code.into(), frame.reason.to_string());
        }
    }
}

/// How a connection ends that is refused, or 0 if it is not.
async fn refusal(url: String) -> u16 {
    let mut socket = connect(url).await;
    match next(&mut socket).await {
        Frame::Close(frame) => frame.expect("a code").code.into(),
        _ => 0,
    }
}

#[tokio::test]
async fn with_a_key_everything_needs_a_token() {
    let f = Fixture::new(closed());
    let room = f.room().await;
    let session = json!({ "name": "Eve" });
    let (status, body) = f.call("POST", "/api/v1/sessions", "", Some(session)).await;
    assert_eq!((status, &body["error"]["code"]), (403, &json!("no_guests")));
    for (method, path, body) in [
        ("GET", "/api/v1/session".to_owned(), None),
        ("POST", "/api/v1/rooms".to_owned(), Some(json!({ "template": "python" }))),
        ("GET", format!("/api/v1/rooms/{room}"), None),
        ("GET", format!("/api/v1/rooms/{room}/runs"), None),
        ("POST", format!("/api/v1/rooms/{room}/links"), Some(json!({ "role": "viewer", "expires_in": 60 }))),
        ("POST", "/api/v1/revocations".to_owned(), Some(json!({ "user": "host" }))),
        ("GET", "/metrics".to_owned(), None),
    ] {
        for token in ["", "forged", "a.b.c"] {
            assert_eq!(f.call(method, &path, token, body.clone()).await.0, 401, "{method} {path} {token}");
        }
    }
    assert_eq!(f.call("GET", "/metrics", ADMIN, None).await.0, 200);
    assert_eq!(f.call("GET", "/healthz", "", None).await.0, 200);
    let url = f.serve().await;
    for document in ["notes".to_owned(), format!("{room}/tree:main")] {
        assert_eq!(refusal(format!("{url}/{document}")).await, 4401);
        assert_eq!(refusal(format!("{url}/{document}?token=forged")).await, 4401);
        assert_eq!(refusal(format!("{url}/{document}?token={ADMIN}")).await, 0);
    }
}

#[tokio::test]
async fn a_token_opens_its_room_and_no_other() {
    let f = Fixture::new(closed());
    let (own, other) = (f.room().await, f.room().await);
    let ada = f.token("ada", Role::Editor, Some(&own));
    let (status, body) = f.call("GET", "/api/v1/session", &ada, None).await;
    assert_eq!((status, &body["person"]["id"], &body["person"]["name"]), (200, &json!("ada"), &json!("ada")));
    assert_eq!(f.call("PATCH", "/api/v1/session", &ada, Some(json!({ "name": "Eve" }))).await.0, 403);
    assert_eq!(f.call("GET", &format!("/api/v1/rooms/{own}"), &ada, None).await.0, 200);
    assert_eq!(f.call("GET", &format!("/api/v1/rooms/{other}"), &ada, None).await.0, 403);
    assert_eq!(f.call("POST", "/api/v1/rooms", &ada, Some(json!({ "template": "python" }))).await.0, 403);
    let url = f.serve().await;
    assert_eq!(refusal(format!("{url}/{own}/tree:main?token={ada}")).await, 0);
    assert_eq!(refusal(format!("{url}/{other}/tree:main?token={ada}")).await, 4403);
    assert_eq!(refusal(format!("{url}/notes?token={ada}")).await, 4403);
    let notes = f.token("ada", Role::Editor, Some("notes"));
    assert_eq!(refusal(format!("{url}/notes?token={notes}")).await, 0, "a plain document is the room of its name");
}

#[tokio::test]
async fn a_token_for_single_files_shows_no_others() {
    let f = Fixture::new(closed());
    let room = f.room().await;
    let nodes = format!("/api/v1/rooms/{room}/nodes");
    let host = f.token("host", Role::Host, Some(&room));
    let mut ids = Vec::new();
    for name in ["a.txt", "b.txt"] {
        let new = json!({ "name": name, "kind": "text", "text": "x" });
        let (status, body) = f.call("POST", &nodes, &host, Some(new)).await;
        assert_eq!(status, 201, "{body}");
        ids.push(body["id"].as_str().expect("id").to_owned());
    }
    let patterns = [format!("{room}/tree:main"), format!("{room}/file:{}", ids[0])];
    let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
    let ada = f.token_for("ada", Role::Editor, Some(&room), &patterns, Duration::from_secs(60));
    assert_eq!(f.call("GET", &format!("{nodes}/{}/content", ids[0]), &ada, None).await.0, 200);
    assert_eq!(f.call("GET", &format!("{nodes}/{}/content", ids[1]), &ada, None).await.0, 403);
    let link = json!({ "role": "viewer", "expires_in": 60 });
    let (status, body) = f.call("POST", &format!("/api/v1/rooms/{room}/links"), &ada, Some(link)).await;
    assert_eq!(status, 403, "{body}");
    for hidden in ["recordings", "recordings/any"] {
        let (status, body) = f.call("GET", &format!("/api/v1/rooms/{room}/{hidden}"), &ada, None).await;
        assert_eq!(status, 403, "a terminal may have shown any file: {body}");
    }
    let url = f.serve().await;
    assert_eq!(refusal(format!("{url}/{room}/file:{}?token={ada}", ids[0])).await, 0);
    assert_eq!(refusal(format!("{url}/{room}/file:{}?token={ada}", ids[1])).await, 4403);
}

#[tokio::test]
async fn a_viewer_sees_edits_and_makes_none() {
    let f = Fixture::new(closed());
    let url = f.serve().await;
    let (editor, viewer) = (f.token("ada", Role::Agent, Some("notes")), f.token("bo", Role::Commenter, Some("notes")));
    let mut ada = connect(format!("{url}/notes?token={editor}")).await;
    let mut bo = connect(format!("{url}/notes?token={viewer}")).await;
    next(&mut ada).await;
    next(&mut bo).await;
    let update = Replica::new().set_text("text", "forged").expect("changed");
    bo.send(Frame::Binary(protocol::update(&update))).await.expect("send");
    let Frame::Binary(answer) = next(&mut bo).await else { panic!("an answer") };
    assert_eq!(answer[..2], [2, 0], "permission denied");
    let update = Replica::new().set_text("text", "real").expect("changed");
    ada.send(Frame::Binary(protocol::update(&update))).await.expect("send");
    assert_eq!(next(&mut bo).await, Frame::Binary(protocol::update(&update)));
}

#[tokio::test]
async fn a_connection_ends_when_its_token_does() {
    let f = Fixture::new(closed());
    let url = f.serve().await;
    let short = f.token_for("ada", Role::Editor, None, &[], Duration::from_millis(2_500));
    let mut ada = connect(format!("{url}/notes?token={short}")).await;
    assert!(matches!(next(&mut ada).await, Frame::Binary(_)), "still in time");
    let (code, reason) = closed_with(&mut ada).await;
    assert_eq!(code, 4401, "{reason}");
    assert!(reason.contains("expired"), "{reason}");
    assert_eq!(refusal(format!("{url}/notes?token={short}")).await, 4401);
}

#[tokio::test]
async fn a_full_disk_keeps_nobody_in_and_says_what_it_kept_from_being_done() {
    let f = Fixture::new(closed());
    let room = f.room().await;
    let url = f.serve().await;
    let ada = f.token("ada", Role::Editor, Some(&room));
    let mut of_ada = connect(format!("{url}/{room}/tree:main?token={ada}")).await;
    assert!(matches!(next(&mut of_ada).await, Frame::Binary(_)));
    f.store.fill(true);
    let what = json!({ "user": "ada", "room": room });
    let (status, body) = f.revoke(ADMIN, what.clone()).await;
    assert_eq!((status, &body["error"]["code"]), (507, &json!("disk_full")), "{body}");
    assert!(body["error"]["message"].as_str().is_some_and(|text| text.contains("1 connections ended")), "{body}");
    assert_eq!(closed_with(&mut of_ada).await.0, 4401);
    assert_eq!(f.call("GET", &format!("/api/v1/rooms/{room}"), &ada, None).await.0, 401);
    f.store.fill(false);
    assert_eq!(f.revoke(ADMIN, what).await.0, 200);
    let again = Fixture::over(f.auth, f.store);
    assert_eq!(again.call("GET", &format!("/api/v1/rooms/{room}"), &ada, None).await.0, 401, "it was saved");

    let open = Fixture::new(AuthConfig::default());
    open.store.fill(true);
    let (status, body) = open.call("POST", "/api/v1/sessions", "", Some(json!({ "name": "Ada" }))).await;
    assert_eq!((status, &body["error"]["code"]), (507, &json!("disk_full")), "{body}");
}

#[tokio::test]
async fn what_is_revoked_ends_at_once_and_does_not_come_back() {
    let f = Fixture::new(closed());
    let room = f.room().await;
    let url = f.serve().await;
    let host = f.token("host", Role::Host, Some(&room));
    let (ada, bo) = (f.token("ada", Role::Editor, Some(&room)), f.token("bo", Role::Editor, Some(&room)));
    let tree = format!("{url}/{room}/tree:main");
    let open = async |token: &str| {
        let mut socket = connect(format!("{tree}?token={token}")).await;
        assert!(matches!(next(&mut socket).await, Frame::Binary(_)));
        socket
    };
    let (mut of_ada, mut of_bo) = (open(&ada).await, open(&bo).await);
    let revocation = json!({ "user": "ada", "room": room, "reason": "left the team" });
    let (status, body) = f.revoke(&host, revocation).await;
    assert_eq!((status, &body["ended"]), (200, &json!(1)));
    let (code, reason) = closed_with(&mut of_ada).await;
    assert_eq!((code, reason.as_str()), (4401, "your access was taken back: left the team"));
    assert_eq!(refusal(format!("{tree}?token={ada}")).await, 4401);
    assert_eq!(f.call("GET", &format!("/api/v1/rooms/{room}"), &ada, None).await.0, 401);

    // By the token itself; others of the same user are good for as long as they are.
    let (status, body) = f.revoke(&host, json!({ "token": bo, "room": room })).await;
    assert_eq!((status, &body["ended"]), (200, &json!(1)));
    assert_eq!(closed_with(&mut of_bo).await.0, 4401);
    assert_eq!(refusal(format!("{tree}?token={bo}")).await, 4401);
    let second = f.token("bo", Role::Editor, Some(&room));
    let mut of_bo = open(&second).await;

    // By document: who may still, comes back.
    let (status, body) = f.revoke(ADMIN, json!({ "document": format!("{room}/tree:main") })).await;
    assert_eq!((status, &body["ended"]), (200, &json!(1)));
    assert_eq!(closed_with(&mut of_bo).await.0, 4401);
    open(&second).await;

    // After a restart it is the same.
    let again = Fixture::over(closed(), f.store.clone());
    assert_eq!(again.call("GET", &format!("/api/v1/rooms/{room}"), &ada, None).await.0, 401);
    assert_eq!(again.call("GET", &format!("/api/v1/rooms/{room}"), &bo, None).await.0, 401);
    assert_eq!(again.call("GET", &format!("/api/v1/rooms/{room}"), &second, None).await.0, 200);
}

#[tokio::test]
async fn only_hosts_take_back_and_only_in_their_room() {
    let f = Fixture::new(closed());
    let (room, other) = (f.room().await, f.room().await);
    let editor = f.token("ada", Role::Editor, Some(&room));
    let host = f.token("bo", Role::Host, Some(&room));
    for (by, what, expected) in [
        (&editor, json!({ "user": "bo", "room": room }), 403),
        (&host, json!({ "user": "ada", "room": room }), 200),
        (&host, json!({ "user": "ada", "room": other }), 403),
        (&host, json!({ "user": "ada" }), 403),
        (&host, json!({ "document": format!("{other}/tree:main") }), 403),
        (&host, json!({ "document": format!("{room}/tree:main") }), 200),
        (&host, json!({}), 400),
        (&host, json!({ "user": "a", "token": "b", "room": room }), 400),
        (&host, json!({ "user": "admin", "room": room }), 400),
        (&host, json!({ "user": " ", "room": room }), 400),
        (&host, json!({ "user": "ada", "room": room, "expires": 1 }), 400),
        (&ADMIN.to_owned(), json!({ "user": "Somebody@elsewhere" }), 200),
    ] {
        let (status, body) = f.revoke(by, what.clone()).await;
        assert_eq!(status, expected, "{what}: {body}");
    }
}

#[tokio::test]
async fn a_link_lets_somebody_in_with_no_more_than_its_maker_has() {
    let f = Fixture::new(closed());
    let room = f.room().await;
    let links = format!("/api/v1/rooms/{room}/links");
    let editor = f.token_for("ada", Role::Editor, Some(&room), &[], Duration::from_secs(60));
    let new = json!({ "role": "viewer", "name": "Grace", "expires_in": 7200 });
    let (status, link) = f.call("POST", &links, &editor, Some(new)).await;
    assert_eq!(status, 201, "{link}");
    let token = link["token"].as_str().expect("a token");
    assert_eq!(link["url"], json!(format!("https://rooms.example/r/{room}#token={token}")));
    assert!(link["expires"].as_i64().expect("a time") <= unix_millis() + 60_000, "not longer than Ada herself");
    let (status, body) = f.call("GET", "/api/v1/session", token, None).await;
    assert_eq!((status, &body["person"]["name"]), (200, &json!("Grace")));
    assert_eq!(f.call("GET", &format!("/api/v1/rooms/{room}"), token, None).await.0, 200);
    let node = json!({ "name": "x", "kind": "folder" });
    assert_eq!(f.call("POST", &format!("/api/v1/rooms/{room}/nodes"), token, Some(node)).await.0, 403);
    for (by, new, expected) in [
        (&editor, json!({ "role": "host", "expires_in": 60 }), 403),
        (&token.to_owned(), json!({ "role": "viewer", "expires_in": 60 }), 403),
        (&editor, json!({ "role": "viewer", "expires_in": 0 }), 400),
        (&editor, json!({ "role": "root", "expires_in": 60 }), 400),
    ] {
        assert_eq!(f.call("POST", &links, by, Some(new.clone())).await.0, expected, "{new}");
    }
    let open = Fixture::new(AuthConfig::default());
    let (_, ada) = open.call("POST", "/api/v1/sessions", "", Some(json!({ "name": "Ada" }))).await;
    let ada = ada["token"].as_str().expect("a token");
    let (_, room) = open.call("POST", "/api/v1/rooms", ada, Some(json!({ "template": "python" }))).await;
    let links = format!("/api/v1/rooms/{}/links", room["id"].as_str().expect("id"));
    let (status, body) = open.call("POST", &links, ada, Some(json!({ "role": "viewer", "expires_in": 60 }))).await;
    assert_eq!((status, &body["error"]["code"]), (400, &json!("no_signing_key")));
}

#[tokio::test]
async fn previews_are_for_those_who_may_use_the_whole_sandbox() {
    let f = Fixture::new(closed());
    let room = f.room().await;
    let path = format!("/api/v1/rooms/{room}/previews");
    for (role, documents, expected) in [
        (Role::Editor, &[][..], 201),
        (Role::Agent, &[], 201),
        (Role::Editor, &["**"], 403),
        (Role::Commenter, &[], 403),
        (Role::Viewer, &[], 403),
    ] {
        let token = f.token_for("ada", role, Some(&room), documents, Duration::from_secs(60));
        let (status, body) = f.call("POST", &path, &token, Some(json!({ "port": 8000 }))).await;
        assert_eq!(status, expected, "{role:?} {documents:?}: {body}");
    }
    let other = f.token("ada", Role::Host, Some("otherroom"));
    assert_eq!(f.call("POST", &path, &other, Some(json!({ "port": 8000 }))).await.0, 403);
}

#[tokio::test]
async fn everybody_is_told_what_they_may_do_in_a_room() {
    let f = Fixture::new(closed());
    let room = f.room().await;
    let path = format!("/api/v1/rooms/{room}/access");
    let files = ["read", "edit_documents", "edit_tree", "run"];
    let calls = ["publish_audio", "publish_video", "share_screen"];
    let with = |more: &[&[&str]]| json!([&files[..], &more.concat()[..]].concat());
    for (role, documents, capabilities) in [
        (
            Role::Host,
            &[][..],
            with(&[&["terminal", "git", "preview"], &calls, &["moderate", "record", "share", "manage"]]),
        ),
        (Role::Editor, &[], with(&[&["terminal", "git", "preview"], &calls, &["share"]])),
        (Role::Editor, &["**"], with(&[])),
        (Role::Agent, &[], with(&[&["terminal", "git", "preview", "publish_audio"]])),
        (Role::Commenter, &[], json!(["read", "publish_audio", "publish_video"])),
        (Role::Viewer, &[], json!(["read"])),
    ] {
        let token = f.token_for("ada", role, Some(&room), documents, Duration::from_secs(60));
        let (status, body) = f.call("GET", &path, &token, None).await;
        assert_eq!((status, &body["role"]), (200, &json!(role.as_str())), "{body}");
        assert_eq!(
            (&body["capabilities"], &body["links"], &body["open"]),
            (&capabilities, &json!(true), &json!(false))
        );
        assert!(body["expires"].as_i64().is_some_and(|at| at <= unix_millis() + 60_000), "{body}");
    }
    let ada = f.token("ada", Role::Viewer, Some(&room));
    assert_eq!(f.call("GET", "/api/v1/rooms/nosuchroom/access", &f.token("host", Role::Host, None), None).await.0, 404);
    assert_eq!(f.call("GET", "/api/v1/rooms/otherroom/access", &ada, None).await.0, 403);
    let host = f.token("host", Role::Host, Some(&room));
    assert_eq!(f.revoke(&host, json!({ "user": "ada", "room": room, "reason": "enough" })).await.0, 200);
    let (status, body) = f.call("GET", &path, &ada, None).await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (401, &json!("access_ended")),
        "another token may be no better: {body}"
    );
    let (status, body) = f.call("GET", &path, "forged", None).await;
    assert_eq!((status, &body["error"]["code"]), (401, &json!("unknown_session")));
}

#[tokio::test]
async fn guests_come_in_under_a_name_where_that_is_allowed() {
    let f = Fixture::new(AuthConfig { guests: true, ..closed() });
    let room = f.room().await;
    assert_eq!(f.call("GET", &format!("/api/v1/rooms/{room}"), "", None).await.0, 200, "who has the link");
    let (status, body) = f.call("POST", "/api/v1/sessions", "", Some(json!({ "name": "Ada" }))).await;
    assert_eq!(status, 201);
    let ada = body["token"].as_str().expect("a token");
    assert_eq!(f.call("PATCH", "/api/v1/session", ada, Some(json!({ "name": "Ada L." }))).await.0, 200);
    let url = f.serve().await;
    assert_eq!(refusal(format!("{url}/{room}/tree:main?token={ada}")).await, 0);
    assert_eq!(refusal(format!("{url}/notes")).await, 4401, "nobody at all stays out");
    // A guest's access is taken back by their user id.
    let user = body["person"]["id"].clone();
    let host = f.token("host", Role::Host, Some(&room));
    assert_eq!(f.revoke(&host, json!({ "user": user, "room": room })).await.0, 200);
    assert_eq!(refusal(format!("{url}/{room}/tree:main?token={ada}")).await, 4401);
}

#[tokio::test]
async fn who_made_a_room_is_its_host() {
    let f = Fixture::new(AuthConfig::default());
    let session = async |name: &str| {
        let (_, body) = f.call("POST", "/api/v1/sessions", "", Some(json!({ "name": name }))).await;
        body["token"].as_str().expect("a token").to_owned()
    };
    let (ada, bo) = (session("Ada").await, session("Bo").await);
    let (_, room) = f.call("POST", "/api/v1/rooms", &ada, Some(json!({ "template": "python" }))).await;
    let what = json!({ "user": "eve", "room": room["id"] });
    assert_eq!(f.revoke(&bo, what.clone()).await.0, 403);
    assert_eq!(f.revoke(&ada, what).await.0, 200);
    assert_eq!(f.revoke(&ada, json!({ "user": "eve" })).await.0, 403, "nobody is host of all rooms");
    let path = format!("/api/v1/rooms/{}/access", room["id"].as_str().expect("id"));
    for (token, role) in [(&ada, "host"), (&bo, "editor")] {
        let (_, body) = f.call("GET", &path, token, None).await;
        let seen = (&body["role"], &body["expires"], &body["links"], &body["open"]);
        assert_eq!(seen, (&json!(role), &Value::Null, &json!(false), &json!(true)), "{body}");
    }
}

#[tokio::test]
async fn a_list_names_only_what_the_token_is_for() {
    let f = Fixture::new(AuthConfig { guests: true, ..closed() });
    let room = f.room().await;
    let host = f.token("host", Role::Host, None);
    for name in ["alpha", "beta", "gamma"] {
        let request = Request::put(format!("/api/v1/documents/{name}"))
            .header("host", "localhost:8080")
            .header("content-type", "text/plain")
            .header("authorization", format!("Bearer {host}"));
        let response = f.router.clone().oneshot(request.body(Body::from("x")).expect("request")).await.expect("answer");
        assert_eq!(response.status(), 201);
    }
    let list = async |token: &str, query: &str| {
        let (status, body) = f.call("GET", &format!("/api/v1/documents?{query}"), token, None).await;
        assert_eq!(status, 200, "{body}");
        let documents = body["documents"].as_array().expect("a list").clone();
        documents.iter().map(|document| document["name"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(list(&host, "").await, ["alpha", "beta", "gamma"]);
    assert_eq!(list(&f.token("eve", Role::Viewer, Some(&room)), "").await, [""; 0]);
    let beta = f.token("eve", Role::Viewer, Some("beta"));
    assert_eq!(list(&beta, "").await, ["beta"]);
    assert_eq!(list(&beta, "prefix=b").await, ["beta"]);
    assert_eq!(list(&beta, "prefix=g").await, [""; 0]);
    let limited = |patterns: &[&str]| f.token_for("eve", Role::Viewer, None, patterns, Duration::from_secs(60));
    let two = limited(&["beta", "g*"]);
    assert_eq!(list(&two, "limit=1").await, ["beta"]);
    assert_eq!(list(&two, "limit=1&after=beta").await, ["gamma"]);
    // A guest knows of what they have the link of.
    let (_, guest) = f.call("POST", "/api/v1/sessions", "", Some(json!({ "name": "Eve" }))).await;
    assert_eq!(list(guest["token"].as_str().expect("a token"), "").await, [""; 0]);

    let all = list(&f.token("ada", Role::Viewer, Some(&room)), &format!("prefix={room}/")).await;
    assert!(all.len() > 1, "{all:?}");
    let one = limited(&[&format!("{room}/tree:main"), &all[0]]);
    let seen = list(&one, &format!("prefix={room}/")).await;
    assert!(
        seen.contains(&all[0]) && seen.iter().all(|name| *name == all[0] || name.ends_with("/tree:main")),
        "{seen:?}"
    );
}
