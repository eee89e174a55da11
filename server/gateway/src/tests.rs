//! The whole gateway over in-memory rooms and a scripted engine: REST through the router, documents through a socket.

mod call_recordings;
mod documents;
mod files;
mod git;
mod limits;
mod media;
mod previews;
mod recordings;
mod secrets;
mod tenancy;
mod terminals;
mod webhooks_api;
mod whip;

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use buildspaces_crdt::protocol::{self, Message};
use buildspaces_crdt::{DocumentName, Replica};
use buildspaces_kernel::tasks::Tasks;
use buildspaces_media::Calls;
use buildspaces_media::call::Limits;
use buildspaces_media::memory::{MemoryCalls, MemoryTransport};
use buildspaces_media::recording;
use buildspaces_media::recordings::Recordings;
use buildspaces_media::webrtc::WebRtc;
use buildspaces_plans::Engine;
use buildspaces_plans::memory::{FakeRooms, FakeSandboxes, MemoryRecordings, MemoryRuns, MemorySecrets};
use buildspaces_plans::secret::Key;
use buildspaces_plans::secrets::Secrets;
use buildspaces_rooms::Rooms;
use buildspaces_rooms::memory::MemoryStore;
use buildspaces_webhooks::memory::{FakeTransport, MemoryWebhooks};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message as Frame;
use tower::ServiceExt;

use super::*;

pub(crate) struct Fixture {
    router: Router,
    rooms: Rooms,
    sandboxes: FakeSandboxes,
    limits: crate::limits::LimitsConfig,
    tasks: Tasks,
    /// Where calls are recorded.
    recordings: tempfile::TempDir,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::with(Config { max_frame_bytes: 65_536, ..Config::default() })
    }

    pub(crate) fn with(config: Config) -> Self {
        Self::with_key(config, Key::parse(&"7".repeat(64)).ok())
    }

    /// With a key for secrets, or without one.
    fn with_key(config: Config, key: Option<Key>) -> Self {
        let limits = config.limits.clone();
        let tasks = Tasks::new();
        let rooms = Rooms::new(Arc::new(MemoryStore::default()), tasks.clone());
        let (sandboxes, _steps) = FakeSandboxes::new(FakeRooms::default());
        let engine = Engine::with_recordings(
            rooms.clone(),
            Arc::new(MemoryRuns::default()),
            Some(Arc::new(MemoryRecordings::default())),
            Arc::new(sandboxes.clone()),
            Secrets::new(Arc::new(MemorySecrets::default()), key),
            tasks.clone(),
            buildspaces_plans::Config::default(),
        );
        let folder = tempfile::tempdir().expect("a temporary folder");
        let recordings =
            Recordings::new(folder.path().to_owned(), recording::Limits { reserve: 0, ..Default::default() });
        let parts = Parts {
            config,
            rooms: rooms.clone(),
            engine,
            sandboxes: Arc::new(sandboxes.clone()),
            webhooks: webhooks::Engine::new(
                Arc::new(MemoryWebhooks::default()),
                Arc::new(FakeTransport::default()),
                Arc::new(buildspaces_kernel::clock::unix_millis),
                &webhooks::Config::default(),
            ),
            calls: Calls::new(
                Arc::new(MemoryTransport::default()),
                Arc::new(MemoryCalls::default()),
                Limits::default(),
                tasks.clone(),
            )
            .keeping(recordings),
            tasks: tasks.clone(),
            metrics: Arc::new(|| "buildspaces_test 1\n".to_owned()),
            ready: Arc::new(|| Box::pin(async { true })),
        };
        Self { router: routers(parts).main, rooms, sandboxes, limits, tasks, recordings: folder }
    }

    async fn call(&self, method: &str, path: &str, token: Option<&str>, body: Option<Value>) -> (StatusCode, Value) {
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost:8080");
        if let Some(token) = token {
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
        let status = response.status();
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("body");
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    pub(crate) async fn session(&self, name: &str) -> String {
        let (status, body) = self.call("POST", "/api/v1/sessions", None, Some(json!({ "name": name }))).await;
        assert_eq!(status, StatusCode::CREATED);
        body["token"].as_str().expect("token").to_owned()
    }

    pub(crate) async fn room(&self, token: &str) -> String {
        let new = json!({ "template": "python", "title": "Demo" });
        let (status, body) = self.call("POST", "/api/v1/rooms", Some(token), Some(new)).await;
        assert_eq!((status, &body["title"]), (StatusCode::CREATED, &json!("Demo")), "{body}");
        body["id"].as_str().expect("id").to_owned()
    }

    /// Serves on a free port; ends with the test.
    pub(crate) async fn serve(&self) -> String {
        self.serve_until(pending()).await.0
    }

    /// Serves on a free port. Also returns the task that does.
    pub(crate) async fn serve_until(&self, stop: impl Future<Output = ()> + Send + 'static) -> (String, Tasks) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("port");
        let address = listener.local_addr().expect("address");
        let limits = self.limits.clone();
        let tasks = Tasks::new();
        let media = WebRtc::bind(address, &[], true, &self.tasks).ok();
        let served = Served { router: Some(self.router.clone()), media };
        tasks.spawn("test server", async move { serve(listener, served, &limits, stop).await });
        (format!("ws://{address}/yjs"), tasks)
    }
}

pub(crate) type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

pub(crate) async fn connect(url: &str) -> Socket {
    tokio_tungstenite::connect_async(url).await.expect("connect").0
}

pub(crate) async fn next(socket: &mut Socket) -> Frame {
    loop {
        let frame = tokio::time::timeout(Duration::from_secs(10), socket.next()).await.expect("in time");
        match frame.expect("open").expect("frame") {
            Frame::Ping(_) | Frame::Pong(_) => {}
            frame => return frame,
        }
    }
}

/// The code the server closed with, whatever came before.
pub(crate) async fn close_code(socket: &mut Socket) -> u16 {
    loop {
        if let Frame::Close(frame) = next(socket).await {
            return frame.expect("a code").code.into();
        }
    }
}

/// Lets time pass for everybody at once.
pub(crate) async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

pub(crate) fn binary(frame: Bytes) -> Frame {
    Frame::Binary(frame)
}

#[tokio::test]
async fn a_room_is_made_and_its_files_are_changed() {
    let f = Fixture::new();
    let ada = f.session("Ada").await;
    let room = f.room(&ada).await;
    let nodes = format!("/api/v1/rooms/{room}/nodes");

    let (status, folder) = f.call("POST", &nodes, Some(&ada), Some(json!({ "name": "src", "kind": "folder" }))).await;
    assert_eq!((status, &folder["rev"]), (StatusCode::CREATED, &json!(1)));
    let new = json!({ "name": "a.py", "kind": "text", "text": "x = 1\n", "parent": folder["id"] });
    let (status, file) = f.call("POST", &nodes, Some(&ada), Some(new)).await;
    assert_eq!((status, &file["parent"]), (StatusCode::CREATED, &folder["id"]));

    let path = format!("{nodes}/{}", file["id"].as_str().expect("id"));
    let (status, moved) = f.call("PATCH", &path, Some(&ada), Some(json!({ "parent": null, "rev": 1 }))).await;
    assert_eq!((status, &moved["parent"], &moved["rev"]), (StatusCode::OK, &Value::Null, &json!(2)));
    let bo = f.session("Bo").await;
    let (status, body) = f.call("PATCH", &path, Some(&bo), Some(json!({ "name": "b.py", "rev": 1 }))).await;
    assert_eq!((status, &body["error"]["code"]), (StatusCode::CONFLICT, &json!("conflict")));
    assert!(body["error"]["message"].as_str().expect("text").starts_with("Ada changed it first"), "{body}");
    let (status, body) = f.call("PATCH", &path, Some(&bo), Some(json!({ "name": "../b.py" }))).await;
    assert_eq!((status, &body["error"]["code"]), (StatusCode::BAD_REQUEST, &json!("bad_name")));
    let (status, _) = f.call("DELETE", &format!("{path}?rev=2"), Some(&bo), None).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let (status, body) = f.call("DELETE", &path, Some(&bo), None).await;
    assert_eq!((status, &body["error"]["code"]), (StatusCode::NOT_FOUND, &json!("no_such_node")));
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said_in_one_shape() {
    let f = Fixture::new();
    let ada = f.session("Ada").await;
    let check = async |method: &str, path: &str, token: Option<&str>, body: Option<Value>, status: u16, code: &str| {
        let (was, answer) = f.call(method, path, token, body).await;
        assert_eq!((was.as_u16(), &answer["error"]["code"]), (status, &json!(code)), "{method} {path}: {answer}");
        assert!(answer["error"]["message"].as_str().is_some_and(|text| text.len() > 10), "{answer}");
    };
    check("POST", "/api/v1/sessions", None, Some(json!({ "name": " " })), 400, "bad_name").await;
    check("POST", "/api/v1/sessions", None, Some(json!({ "nome": "x" })), 400, "bad_body").await;
    check("POST", "/api/v1/sessions", None, None, 415, "bad_body").await;
    check("GET", "/api/v1/session", None, None, 401, "unknown_session").await;
    check("GET", "/api/v1/session", Some("forged"), None, 401, "unknown_session").await;
    check("POST", "/api/v1/rooms", None, Some(json!({ "template": "python" })), 401, "unknown_session").await;
    check("POST", "/api/v1/rooms", Some(&ada), Some(json!({ "template": "cobol" })), 400, "no_such_template").await;
    check("GET", "/api/v1/rooms/nowhere", None, None, 404, "no_such_room").await;
    check("GET", "/api/v1/rooms/%2e%2e%2fetc", None, None, 404, "no_such_room").await;
    check("GET", "/api/v2/anything", None, None, 404, "no_such_route").await;
    let room = f.room(&ada).await;
    check("GET", &format!("/api/v1/rooms/{room}/runs/none"), Some(&ada), None, 404, "no_such_run").await;
}

#[tokio::test]
async fn a_page_of_another_site_reaches_nothing() {
    let f = Fixture::new();
    for (host, origin) in [("localhost:8080", "http://evil.example"), ("evil.example", "http://evil.example")] {
        let request = Request::builder()
            .method("POST")
            .uri("/api/v1/sessions")
            .header("host", host)
            .header("origin", origin)
            .header("content-type", "application/json");
        let request = request.body(Body::from(r#"{"name":"Eve"}"#)).expect("request");
        let response = f.router.clone().oneshot(request).await.expect("answer");
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
    }
}

#[tokio::test]
async fn the_server_says_how_it_is() {
    let f = Fixture::new();
    for (path, status) in [("/healthz", 200), ("/readyz", 200), ("/metrics", 200), ("/api/v1/status", 200)] {
        assert_eq!(f.call("GET", path, None, None).await.0.as_u16(), status, "{path}");
    }
    let (_, openapi) = f.call("GET", "/api/openapi.json", None, None).await;
    let paths = openapi["paths"].as_object().expect("paths");
    assert!(paths.contains_key("/api/v1/rooms/{room}/nodes/{node}"), "{:?}", paths.keys());
}

#[tokio::test]
async fn two_clients_of_one_document_end_with_the_same_text() {
    let f = Fixture::new();
    let url = f.serve().await;
    let (mut ada, mut bo) = (connect(&format!("{url}/notes")).await, connect(&format!("{url}/notes")).await);
    assert_eq!(next(&mut ada).await, binary(protocol::sync_step_1(&[0])));
    assert_eq!(next(&mut bo).await, binary(protocol::sync_step_1(&[0])));
    let mut replica = Replica::new();
    let update = replica.set_text("text", "hello").expect("changed");
    ada.send(binary(protocol::update(&update))).await.expect("send");
    ada.send(binary(protocol::save_status(&[1]))).await.expect("send");
    assert_eq!(next(&mut bo).await, binary(protocol::update(&update)));
    assert_eq!(next(&mut ada).await, binary(protocol::update(&update)), "the echo");
    assert_eq!(next(&mut ada).await, binary(protocol::save_status(&[1])), "saved");
    bo.send(binary(protocol::sync_step_1(&[0]))).await.expect("send");
    let Frame::Binary(answer) = next(&mut bo).await else { panic!("an answer") };
    assert!(matches!(&protocol::decode(&answer).expect("valid")[..], [Message::SyncStep2(_)]));
}

#[tokio::test]
async fn who_says_goodbye_is_answered() {
    let f = Fixture::new();
    let mut socket = connect(&format!("{}/notes", f.serve().await)).await;
    next(&mut socket).await;
    socket.send(Frame::Ping(Bytes::from_static(b"there?"))).await.expect("send");
    let answer = tokio::time::timeout(Duration::from_secs(10), socket.next()).await.expect("in time");
    assert_eq!(answer.expect("open").expect("frame"), Frame::Pong(Bytes::from_static(b"there?")));
    socket.close(None).await.expect("send");
    let answer = tokio::time::timeout(Duration::from_secs(10), socket.next()).await.expect("in time");
    assert!(matches!(answer, Some(Ok(Frame::Close(_)))), "{answer:?}");
}

#[tokio::test]
async fn bad_frames_end_their_own_connection_with_the_code_that_fits() {
    let f = Fixture::new();
    let url = f.serve().await;
    let mut good = connect(&format!("{url}/notes")).await;
    next(&mut good).await;
    for (frame, code) in [
        (binary(Bytes::from_static(&[9, 9, 9])), 1002),
        (binary(Bytes::from_static(&[0, 2, 3, 9, 9, 9])), 1002),
        (binary(Bytes::from_static(&[0, 0, 4, 0xff, 0xff, 0xff, 0x7f])), 1002),
        (Frame::Text("hello".into()), 1002),
        (binary(Bytes::from(vec![0; 70_000])), 1009),
    ] {
        let mut bad = connect(&format!("{url}/notes")).await;
        next(&mut bad).await;
        bad.send(frame).await.expect("send");
        assert_eq!(close_code(&mut bad).await, code);
    }
    good.send(binary(protocol::sync_step_1(&[0]))).await.expect("the others are not disturbed");
    assert!(matches!(next(&mut good).await, Frame::Binary(_)));
}

#[tokio::test]
async fn a_rooms_documents_need_a_session_and_a_room() {
    let f = Fixture::new();
    let url = f.serve().await;
    let ada = f.session("Ada").await;
    let room = f.room(&ada).await;
    let code = async |path: String| close_code(&mut connect(&format!("{url}/{path}")).await).await;
    assert_eq!(code(format!("{room}/tree:main")).await, 4401);
    assert_eq!(code(format!("{room}/tree:main?token=forged")).await, 4401);
    assert_eq!(code(format!("nowhere/tree:main?token={ada}")).await, 4404);
    assert_eq!(code(format!("{room}/file:nowhere?token={ada}")).await, 4404);
    assert_eq!(code(format!("{room}/secret:main?token={ada}")).await, 4404);

    let mut tree = connect(&format!("{url}/{room}/tree:main?token={ada}")).await;
    assert!(matches!(next(&mut tree).await, Frame::Binary(_)));
    // Nobody forges the tree: the answer is "permission denied", and nothing changes.
    let mut forged = Replica::new();
    let update = forged.set_map("nodes", &[("x".to_owned(), Some(json!({ "name": "forged" })))]).expect("changed");
    tree.send(binary(protocol::update(&update))).await.expect("send");
    let Frame::Binary(answer) = next(&mut tree).await else { panic!("an answer") };
    assert_eq!(answer[..2], [2, 0]);
    let document = f.rooms.document(&DocumentName::tree(&room)).await.expect("open");
    let state = document.diff(vec![0]).await.expect("state");
    let mut copy = Replica::new();
    copy.apply(&state).expect("valid");
    assert!(copy.map("nodes").iter().all(|(key, _)| key != "x"));
}

#[tokio::test]
async fn the_server_says_who_is_there() {
    let f = Fixture::new();
    let url = f.serve().await;
    let ada = f.session("Ada").await;
    let room = f.room(&ada).await;
    let mut socket = connect(&format!("{url}/{room}/tree:main?token={ada}")).await;
    next(&mut socket).await;
    let entry =
        buildspaces_crdt::awareness::Entry { client: 1, clock: 1, state: Some(r#"{"user":{"name":"Eve"}}"#.into()) };
    let update = buildspaces_crdt::awareness::encode([&entry].into_iter());
    socket.send(binary(protocol::awareness(&update))).await.expect("send");
    let Frame::Binary(answer) = next(&mut socket).await else { panic!("an answer") };
    let messages = protocol::decode(&answer).expect("valid");
    let [Message::Awareness(bytes)] = &messages[..] else { panic!("{messages:?}") };
    let told = buildspaces_crdt::awareness::decode(bytes).expect("valid");
    let state: Value = serde_json::from_str(told[0].state.as_deref().expect("state")).expect("JSON");
    assert_eq!(state["user"]["name"], "Ada");
}

#[tokio::test]
async fn a_text_of_the_largest_size_is_taken_however_it_is_escaped() {
    let fixture = Fixture::new();
    let token = fixture.session("Ada").await;
    let room = fixture.room(&token).await;
    let largest = usize::try_from(buildspaces_rooms::tree::MAX_TEXT_BYTES).expect("fits");
    // Each of these characters takes six in JSON.
    for (name, len, expected) in
        [("a.txt", largest, StatusCode::CREATED), ("b.txt", largest + 1, StatusCode::PAYLOAD_TOO_LARGE)]
    {
        let new = json!({ "parent": null, "name": name, "kind": "text", "text": "\u{1}".repeat(len) });
        let path = format!("/api/v1/rooms/{room}/nodes");
        let (status, body) = fixture.call("POST", &path, Some(&token), Some(new)).await;
        assert_eq!(status, expected, "{body}");
    }
}

#[tokio::test]
async fn y_sweet_apps_create_documents_and_learn_where_clients_connect() {
    let f = Fixture::new();
    let (status, body) = f.call("POST", "/doc/new", None, Some(json!({ "docId": "my-doc_1" }))).await;
    assert_eq!((status, body), (StatusCode::OK, json!({ "docId": "my-doc_1" })));
    let (status, body) =
        f.call("POST", "/doc/my-doc_1/auth", None, Some(json!({ "authorization": "read-only" }))).await;
    let expected = json!({
        "url": "ws://localhost:8080/d/my-doc_1/ws",
        "baseUrl": "http://localhost:8080/d/my-doc_1",
        "docId": "my-doc_1",
        "authorization": "read-only",
    });
    assert_eq!((status, body), (StatusCode::OK, expected));
    for (method, path, body, expected) in [
        ("POST", "/doc/new", Some(json!({ "docId": "my doc!" })), StatusCode::BAD_REQUEST),
        ("POST", "/doc/nobody-made-it/auth", None, StatusCode::NOT_FOUND),
        ("POST", "/doc/my-doc_1/auth", Some(json!({ "authorization": "all" })), StatusCode::BAD_REQUEST),
        ("POST", "/doc/my-doc_1/auth", None, StatusCode::OK),
        ("POST", "/d/my-doc_1/update", Some(json!("no update")), StatusCode::BAD_REQUEST),
        ("GET", "/d/my-doc_1/as-update", None, StatusCode::OK),
        ("GET", "/doc/my-doc_1/as-update", None, StatusCode::OK),
        ("POST", "/check_store", None, StatusCode::OK),
        ("GET", "/ready", None, StatusCode::OK),
    ] {
        let (status, answer) = f.call(method, path, None, body).await;
        assert_eq!(status, expected, "{method} {path}: {answer}");
    }
    // A deleted document's name stays taken, as over REST.
    let ada = f.session("Ada").await;
    let (status, _) = f.call("DELETE", "/api/v1/documents/my-doc_1", Some(&ada), None).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    for (method, path, body) in [
        ("POST", "/doc/new", Some(json!({ "docId": "my-doc_1" }))),
        ("POST", "/doc/my-doc_1/auth", None),
        ("GET", "/d/my-doc_1/as-update", None),
    ] {
        let (status, answer) = f.call(method, path, None, body).await;
        assert_eq!((status, &answer["error"]["code"]), (StatusCode::GONE, &json!("deleted")), "{method} {path}");
    }
}
