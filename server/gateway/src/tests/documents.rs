//! Documents and their past over REST.

use axum::http::header;
use buildspaces_crdt::text::ROOT;

use super::*;

struct Answer {
    status: u16,
    etag: Option<String>,
    bytes: Bytes,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or(Value::Null)
    }

    fn code(&self) -> (u16, String) {
        (self.status, self.json()["error"]["code"].as_str().unwrap_or_default().to_owned())
    }
}

impl Fixture {
    async fn send(
        &self,
        method: &str,
        path: &str,
        token: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost:8080")
            .header("authorization", format!("Bearer {token}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router.clone().oneshot(request.body(body.into()).expect("request")).await.expect("answer");
        let etag = response.headers().get(header::ETAG).map(|etag| etag.to_str().expect("text").to_owned());
        let status = response.status().as_u16();
        Answer { status, etag, bytes: axum::body::to_bytes(response.into_body(), 1 << 24).await.expect("body") }
    }

    async fn put_text(&self, path: &str, token: &str, text: &str) -> Answer {
        self.send("PUT", path, token, &[("content-type", "text/plain")], text.to_owned()).await
    }

    async fn text(&self, path: &str, token: &str) -> String {
        let answer = self.send("GET", &format!("{path}?as=text"), token, &[], Body::empty()).await;
        assert_eq!(answer.status, 200, "{}", answer.json());
        String::from_utf8(answer.bytes.to_vec()).expect("text")
    }
}

const UPDATE: (&str, &str) = ("content-type", "application/octet-stream");

/// `ada's: notes` as one segment.
const NOTES: &str = "/api/v1/documents/ada's%3A%20notes";

#[tokio::test]
async fn a_document_is_created_read_changed_copied_and_deleted() {
    let f = Fixture::new();
    let ada = f.session("Ada").await;
    assert_eq!(f.send("GET", NOTES, &ada, &[], Body::empty()).await.code(), (404, "no_such_document".into()));
    assert_eq!(f.put_text(NOTES, &ada, "").await.code(), (400, "empty".into()));
    let created = f.put_text(NOTES, &ada, "hello").await;
    assert_eq!((created.status, created.json()), (201, json!({ "name": "ada's: notes", "created": true })));
    let again = f.put_text(NOTES, &ada, "hello").await;
    assert_eq!((again.status, &again.json()["created"]), (200, &json!(false)));
    let none_match = [("content-type", "text/plain"), ("if-none-match", "*")];
    assert_eq!(f.send("PUT", NOTES, &ada, &none_match, "x").await.code(), (412, "changed".into()));
    assert_eq!(f.text(NOTES, &ada).await, "hello");

    // The state vector leads to what is missing, and the update changes the text.
    let whole = f.send("GET", NOTES, &ada, &[("accept", "application/octet-stream")], Body::empty()).await;
    let mut replica = Replica::new();
    replica.apply(&whole.bytes).expect("valid");
    let vector = f.send("GET", &format!("{NOTES}?as=state-vector"), &ada, &[], Body::empty()).await;
    assert_eq!(vector.bytes, replica.state_vector());
    let update = replica.set_text(ROOT, "hello world").expect("changed");
    assert_eq!(f.send("POST", &format!("{NOTES}/updates"), &ada, &[UPDATE], update).await.status, 204);
    assert_eq!(f.text(NOTES, &ada).await, "hello world");
    assert_eq!(
        f.send("POST", &format!("{NOTES}/updates"), &ada, &[UPDATE], vec![9u8, 9]).await.code(),
        (400, "invalid_update".into())
    );
    assert_eq!(f.send("GET", NOTES, &ada, &[("accept", "image/png")], Body::empty()).await.code().0, 406);

    let copy = |to: &str| json!({ "to": to });
    let (status, _) = f.call("POST", &format!("{NOTES}/copy"), Some(&ada), Some(copy("copy"))).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(f.text("/api/v1/documents/copy", &ada).await, "hello world");
    let (status, body) = f.call("POST", &format!("{NOTES}/copy"), Some(&ada), Some(copy("copy"))).await;
    assert_eq!((status, &body["error"]["code"]), (StatusCode::CONFLICT, &json!("name_taken")));

    assert_eq!(f.send("DELETE", NOTES, &ada, &[], Body::empty()).await.status, 204);
    assert_eq!(f.send("GET", NOTES, &ada, &[], Body::empty()).await.code(), (410, "deleted".into()));
    assert_eq!(f.put_text(NOTES, &ada, "x").await.code(), (410, "deleted".into()));
    assert_eq!(f.put_text(&format!("{NOTES}?reuse=true"), &ada, "new").await.status, 201);
    assert_eq!(f.text(NOTES, &ada).await, "new");
    let (_, list) = f.call("GET", "/api/v1/documents?prefix=ada&limit=1", Some(&ada), None).await;
    let notes = &list["documents"][0];
    assert_eq!(
        (&notes["name"], &notes["epoch"], &list["next"]),
        (&json!("ada's: notes"), &json!(2), &json!("ada's: notes")),
        "{list}"
    );
}

#[tokio::test]
async fn an_update_is_held_to_the_same_rules_whichever_way_it_comes() {
    let f = Fixture::new();
    let ada = f.session("Ada").await;
    f.call("POST", "/doc/new", None, Some(json!({ "docId": "deep" }))).await;
    f.put_text(NOTES, &ada, "x").await;
    // Maps in maps, so deep that deleting the outermost would overflow a stack: each a type (7) under a key (0x20).
    let mut update = vec![1, 0xac, 0x02, 1, 0, 0x27, 1, 1, b'm', 1, b'k', 1];
    for clock in 0..299u16 {
        update.extend([0x27, 0, 1]);
        update.extend(if clock < 128 {
            vec![clock as u8]
        } else {
            vec![(clock & 127) as u8 | 128, (clock >> 7) as u8]
        });
        update.extend([1, b'k', 1]);
    }
    update.push(0);
    for path in ["/d/deep/update", "/doc/deep/update", &format!("{NOTES}/updates")] {
        let refused = f.send("POST", path, &ada, &[UPDATE], update.clone()).await;
        assert_eq!(refused.status, 400, "{path}: {}", refused.json());
        assert!(refused.json().to_string().contains("nested"), "{path}: {}", refused.json());
    }
}

#[tokio::test]
async fn a_state_is_named_by_its_etag() {
    let f = Fixture::new();
    let ada = f.session("Ada").await;
    f.put_text(NOTES, &ada, "one").await;
    let first = f.send("GET", NOTES, &ada, &[], Body::empty()).await;
    let etag = first.etag.clone().expect("a tag");
    let same = f.send("GET", NOTES, &ada, &[("if-none-match", &etag)], Body::empty()).await;
    assert_eq!((same.status, same.bytes.len(), same.etag.as_deref()), (304, 0, Some(etag.as_str())));
    let long = "a text that is long enough to be worth compressing".repeat(20);
    f.put_text("/api/v1/documents/long", &ada, &long).await;
    let read = async |more: &[(&str, &str)]| {
        let accept = [&[("accept", "text/plain")], more].concat();
        f.send("GET", "/api/v1/documents/long", &ada, &accept, Body::empty()).await
    };
    let (plain, short) = (read(&[]).await, read(&[("accept-encoding", "gzip")]).await);
    assert!(short.bytes.len() < plain.bytes.len());
    let weak = short.etag.expect("a tag");
    assert_eq!(Some(weak.clone()), plain.etag.map(|tag| format!("W/{tag}")));
    assert_eq!(read(&[("if-none-match", &weak), ("accept-encoding", "gzip")]).await.status, 304);

    let mut replica = Replica::new();
    replica.apply(&first.bytes).expect("valid");
    // A deletion alone leaves the state vector as it was, and is another state.
    let update = replica.set_text(ROOT, "on").expect("changed");
    let updates = format!("{NOTES}/updates");
    let if_match = [UPDATE, ("if-match", etag.as_str())];
    assert_eq!(f.send("POST", &updates, &ada, &if_match, update).await.status, 204);
    let second = f.send("GET", NOTES, &ada, &[("if-none-match", &etag)], Body::empty()).await;
    assert_eq!(second.status, 200);
    assert_ne!(second.etag, first.etag);
    // Each form has a tag of its own, for caches; to change something any will do.
    let text = f
        .send(
            "GET",
            NOTES,
            &ada,
            &[("accept", "text/plain"), ("if-none-match", second.etag.as_deref().expect("a tag"))],
            Body::empty(),
        )
        .await;
    assert_eq!((text.status, &text.bytes[..]), (200, &b"on"[..]));
    let nothing = [UPDATE, ("if-match", text.etag.as_deref().expect("a tag"))];
    assert_eq!(f.send("POST", &updates, &ada, &nothing, vec![0u8, 0]).await.status, 204);
    let late = replica.set_text(ROOT, "late").expect("changed");
    assert_eq!(f.send("POST", &updates, &ada, &if_match, late).await.code(), (412, "changed".into()));
    assert_eq!(f.send("DELETE", NOTES, &ada, &[("if-match", &etag)], Body::empty()).await.code().0, 412);
    assert_eq!(f.text(NOTES, &ada).await, "on");
}

#[tokio::test]
async fn the_past_of_a_rooms_file_is_read_and_brought_back() {
    let f = Fixture::new();
    let ada = f.session("Ada").await;
    let room = f.room(&ada).await;
    let new = json!({ "name": "n.txt", "kind": "text", "text": "one two\n" });
    let (_, node) = f.call("POST", &format!("/api/v1/rooms/{room}/nodes"), Some(&ada), Some(new)).await;
    let file = format!("/api/v1/documents/{room}%2Ffile%3A{}", node["id"].as_str().expect("id"));
    let (status, named) =
        f.call("POST", &format!("{file}/versions"), Some(&ada), Some(json!({ "name": "first" }))).await;
    assert_eq!((status, &named["seq"]), (StatusCode::CREATED, &json!(1)), "{named}");

    let bo = f.session("Bo").await;
    let whole = f.send("GET", &file, &bo, &[], Body::empty()).await;
    let mut replica = Replica::new();
    replica.apply(&whole.bytes).expect("valid");
    let update = replica.set_text(ROOT, "one 2\n").expect("changed");
    assert_eq!(f.send("POST", &format!("{file}/updates"), &bo, &[UPDATE], update).await.status, 204);

    let (_, versions) = f.call("GET", &format!("{file}/versions"), Some(&ada), None).await;
    let kinds: Vec<_> =
        versions["versions"].as_array().expect("a list").iter().map(|v| (&v["seq"], &v["kind"])).collect();
    let (two, one) = (json!(2), json!(1));
    let (named, session) = (json!("named"), json!("session"));
    assert_eq!(kinds, [(&two, &session), (&one, &named), (&one, &session)], "{versions}");
    let (_, diff) = f.call("GET", &format!("{file}/diff?from=1&to=2"), Some(&ada), None).await;
    assert_eq!(diff["hunks"][0]["removed"][0]["text"], "two", "{diff}");
    assert_eq!(diff["authors"][0]["name"], "Bo", "{diff}");
    assert!(diff["authors"][0]["color"].as_str().is_some_and(|color| color.starts_with('#')), "{diff}");
    let (_, blame) = f.call("GET", &format!("{file}/blame"), Some(&ada), None).await;
    let texts: Vec<_> = blame["ranges"].as_array().expect("a list").iter().map(|range| &range["text"]).collect();
    assert_eq!(texts, ["one ", "2", "\n"], "{blame}");
    let old = f.send("GET", &format!("{file}/versions/1/text"), &bo, &[], Body::empty()).await;
    assert_eq!(old.bytes, "one two\n");
    let old = f.send("GET", &format!("{file}/versions/1"), &bo, &[], Body::empty()).await;
    let mut replica = Replica::new();
    replica.apply(&old.bytes).expect("valid");
    assert_eq!(replica.text(ROOT), "one two\n");
    let missing = f.send("GET", &format!("{file}/versions/9"), &bo, &[], Body::empty()).await;
    assert_eq!(missing.code(), (404, "no_such_version".into()));

    let (status, body) = f.call("POST", &format!("{file}/restore"), Some(&ada), Some(json!({ "seq": 1 }))).await;
    assert_eq!(status, StatusCode::NO_CONTENT, "{body}");
    assert_eq!(f.text(&file, &ada).await, "one two\n");
    assert_eq!(f.send("DELETE", &file, &ada, &[], Body::empty()).await.code(), (400, "of_a_room".into()));
}

#[tokio::test]
async fn what_the_server_writes_is_read_only_and_rooms_are_listed_by_their_key_alone() {
    let f = Fixture::new();
    let ada = f.session("Ada").await;
    let room = f.room(&ada).await;
    let tree = format!("/api/v1/documents/{room}%2Ftree%3Amain");
    assert_eq!(f.send("GET", &tree, &ada, &[], Body::empty()).await.status, 200);
    let update = Replica::new().set_text("nodes", "x").expect("changed");
    let refused = f.send("POST", &format!("{tree}/updates"), &ada, &[UPDATE], update).await;
    assert_eq!(refused.code(), (403, "read_only".into()));
    let (status, body) = f.call("POST", &format!("{tree}/restore"), Some(&ada), Some(json!({ "seq": 1 }))).await;
    assert_eq!((status, &body["error"]["code"]), (StatusCode::FORBIDDEN, &json!("read_only")));
    let unknown = f.send("GET", "/api/v1/documents/nowhere%2Ftree%3Amain", &ada, &[], Body::empty()).await;
    assert_eq!(unknown.code(), (404, "no_such_room".into()));

    let (_, all) = f.call("GET", "/api/v1/documents", Some(&ada), None).await;
    assert_eq!(all["documents"], json!([]), "a room's id is its key");
    let (_, own) = f.call("GET", &format!("/api/v1/documents?prefix={room}/"), Some(&ada), None).await;
    assert!(own["documents"].as_array().expect("a list").len() > 2, "{own}");
    let (status, _) = f.call("GET", "/api/v1/documents", None, None).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_room_moves_to_another_server_as_one_file() {
    let (here, there) = (Fixture::new(), Fixture::new());
    let (ada, bo) = (here.session("Ada").await, there.session("Bo").await);
    let room = here.room(&ada).await;
    let archive = here.send("GET", &format!("/api/v1/rooms/{room}/archive"), &ada, &[], Body::empty()).await;
    assert_eq!(archive.status, 200);
    // As browsers and most programs ask.
    let compressed = [("accept-encoding", "gzip, deflate, br, zstd")];
    let packed = here.send("GET", &format!("/api/v1/rooms/{room}/archive"), &ada, &compressed, Body::empty()).await;
    let is_packed = packed.bytes.len() < archive.bytes.len();
    assert_eq!((packed.status, packed.bytes.starts_with(&[0x1f, 0x8b]), is_packed), (200, true, true));
    let tar = [("content-type", "application/x-tar")];
    let damaged = archive.bytes.slice(..archive.bytes.len() / 2);
    let import = "/api/v1/rooms/archive";
    assert_eq!(there.send("POST", import, &bo, &tar, damaged).await.code(), (400, "bad_archive".into()));
    let made = there.send("POST", import, &bo, &tar, archive.bytes.clone()).await;
    assert_eq!((made.status, &made.json()["id"]), (201, &json!(room)), "{}", made.json());
    assert_eq!(there.send("POST", import, &bo, &tar, archive.bytes.clone()).await.code(), (409, "room_exists".into()));
    let refused = there.send("GET", &format!("/api/v1/rooms/{room}/archive"), &bo, &[], Body::empty()).await;
    assert_eq!(refused.code(), (403, "denied".into()), "only a host takes a room away");
}

#[tokio::test]
async fn what_cannot_be_read_of_a_request_is_said_in_our_shape() {
    let f = Fixture::new();
    let ada = f.session("Ada").await;
    for (path, code) in [
        ("/api/v1/documents/%ff", "bad_path"),
        ("/api/v1/documents?limit=many", "bad_query"),
        ("/api/v1/documents?limit=0", "bad_query"),
        ("/api/v1/documents/notes/versions?limit=0", "bad_query"),
        ("/api/v1/documents/notes?as=picture", "bad_query"),
        ("/api/v1/documents/notes/diff", "bad_query"),
        ("/api/v1/documents/notes/versions/last", "bad_path"),
    ] {
        let refused = f.send("GET", path, &ada, &[], Body::empty()).await;
        assert_eq!(refused.code(), (400, code.to_owned()), "{path}: {}", refused.json());
    }
}

#[tokio::test]
async fn a_document_is_created_only_in_the_state_that_is_expected() {
    let f = Fixture::new();
    let ada = f.session("Ada").await;
    let put = async |condition: (&str, &str)| {
        f.send("PUT", NOTES, &ada, &[("content-type", "text/plain"), condition], "text").await.code()
    };
    let changed = (412, "changed".to_owned());
    assert_eq!(put(("if-match", "*")).await, changed, "there is none");
    f.put_text(NOTES, &ada, "one").await;
    let etag = f.send("GET", NOTES, &ada, &[], Body::empty()).await.etag.expect("a tag");
    assert_eq!(put(("if-match", &etag)).await.0, 200);
    assert_eq!(put(("if-match", "\"1-9-0\"")).await, changed);
    assert_eq!(put(("if-none-match", &etag)).await.0, 200, "it would change nothing");
    f.send("DELETE", NOTES, &ada, &[], Body::empty()).await;
    assert_eq!(put(("if-match", &etag)).await, changed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_that_race_for_a_document_find_it_or_find_it_gone() {
    let f = Arc::new(Fixture::new());
    let ada = f.session("Ada").await;
    let mut calls = tokio::task::JoinSet::new();
    for call in 0..400 {
        let (f, ada) = (f.clone(), ada.clone());
        calls.spawn(async move {
            let update = Replica::new().set_text("other", "two").expect("changed");
            let updates = format!("{NOTES}/updates");
            let put = [("content-type", "text/plain")];
            let again = format!("{NOTES}?reuse=true");
            let answer = async {
                match call % 4 {
                    0 => f.send("PUT", &again, &ada, &put, "one").await,
                    1 => f.send("GET", NOTES, &ada, &[], Body::empty()).await,
                    2 => f.send("POST", &updates, &ada, &[UPDATE], update).await,
                    _ => f.send("DELETE", NOTES, &ada, &[], Body::empty()).await,
                }
            };
            let answer = tokio::time::timeout(Duration::from_secs(60), answer).await;
            answer.unwrap_or_else(|_| panic!("call {call}, of kind {}, was never answered", call % 4))
        });
    }
    while let Some(answer) = calls.join_next().await {
        let answer = answer.expect("no panic");
        assert!([200, 201, 204, 404, 410].contains(&answer.status), "{} {}", answer.status, answer.json());
    }
}

#[tokio::test]
async fn rich_text_is_had_as_markdown() {
    let f = Fixture::new();
    let ada = f.session("Ada").await;
    f.put_text(NOTES, &ada, "one *two*\n<b>").await;
    let json = f.send("GET", NOTES, &ada, &[("accept", "application/json")], Body::empty()).await;
    assert_eq!(json.json(), json!({ "text": "one *two*\n<b>" }));
    let json = f.send("GET", &format!("{NOTES}?as=json&root=text&type=map"), &ada, &[], Body::empty()).await;
    assert_eq!(json.json(), json!({}));
    let update = Replica::new().set_map(ROOT, &[("key".to_owned(), Some(json!("value")))]);
    let path = "/api/v1/documents/map";
    assert_eq!(f.send("PUT", path, &ada, &[UPDATE], update.expect("a change")).await.status, 201);
    let refused = f.send("GET", &format!("{path}?as=text"), &ada, &[], Body::empty()).await;
    assert_eq!(refused.code(), (422, "unreadable".into()), "{}", refused.json());
    let answer = f.send("GET", NOTES, &ada, &[("accept", "text/markdown")], Body::empty()).await;
    assert_eq!((answer.status, &answer.bytes[..]), (200, &b"one \\*two\\*\n\n&lt;b&gt;\n"[..]));
}

#[tokio::test]
async fn what_somebody_changes_meanwhile_is_not_deleted() {
    let f = Fixture::new();
    let ada = f.session("Ada").await;
    // The change comes a little later each time.
    for turns in 0..60 {
        let path = format!("/api/v1/documents/doc{turns}");
        f.put_text(&path, &ada, "one").await;
        let etag = f.send("GET", &path, &ada, &[], Body::empty()).await.etag.expect("a tag");
        let update = Replica::new().set_text("other", "two").expect("changed");
        let (deleted, changed) =
            tokio::join!(async { f.send("DELETE", &path, &ada, &[("if-match", &etag)], Body::empty()).await }, async {
                for _ in 0..turns {
                    tokio::task::yield_now().await;
                }
                f.send("POST", &format!("{path}/updates"), &ada, &[UPDATE], update).await
            });
        let outcome = (deleted.status, changed.status);
        assert!([(204, 410), (412, 204)].contains(&outcome), "after {turns}: {outcome:?} {}", changed.json());
    }
}

#[test]
fn whoever_must_wait_is_told_for_how_long() {
    let answer = error::ApiError::from(buildspaces_rooms::Error::Busy).into_response();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers().contains_key(header::RETRY_AFTER));
}
