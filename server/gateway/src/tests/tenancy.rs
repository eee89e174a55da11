//! Of which kind a room becomes and whose, by the token that creates it.

use buildspaces_kernel::ids::{OrganisationId, RoomKind};
use buildspaces_policy::Role;
use buildspaces_policy::tenancy::{Tenancy, Tenants};

use super::*;
use crate::auth::{AdminToken, AuthConfig, NewToken, SigningKey};

const ADMIN: &str = "an-administrators-token-of-enough-bytes";

fn kind(name: &str) -> RoomKind {
    RoomKind::parse(name).expect("valid")
}

fn tenants() -> Tenants {
    let acme = OrganisationId::parse("acme").expect("valid");
    Tenants {
        kinds: [kind("workshop"), kind("large")].into(),
        organisations: [(acme, Some([kind("workshop"), kind("default")].into()))].into(),
    }
}

/// A server that asks for tokens, and one for each kind and organisation.
fn closed() -> (Fixture, impl Fn(&str, Option<&str>) -> String) {
    let (signer, key) = SigningKey::secret(b"0123456789abcdef0123456789abcdef").expect("long enough");
    let admin = Some(AdminToken::new(ADMIN).expect("long enough"));
    let auth = AuthConfig { keys: vec![key], signer: Some(signer), admin, guests: true, ..AuthConfig::default() };
    let f = Fixture::with(Config { auth: auth.clone(), tenants: tenants(), ..Config::default() });
    let token = move |name: &str, whose: Option<&str>| {
        let new = NewToken {
            subject: None,
            name: "Ada".to_owned(),
            role: Role::Editor,
            room: None,
            documents: Vec::new(),
            lifetime: Some(Duration::from_secs(60)),
            tenancy: Tenancy { kind: kind(name), organisation: whose.and_then(OrganisationId::parse) },
        };
        auth.mint(&new, buildspaces_kernel::clock::unix_millis()).expect("made").token
    };
    (f, token)
}

impl Fixture {
    /// What becomes of a room that is created so, or the code of the refusal.
    async fn becomes(&self, token: &str, wishes: Value) -> Result<(Value, Value), Value> {
        let mut new = json!({ "template": "python" });
        new.as_object_mut().expect("one").extend(wishes.as_object().expect("one").clone());
        let (status, body) = self.call("POST", "/api/v1/rooms", Some(token), Some(new)).await;
        if status != StatusCode::CREATED {
            return Err(body["error"]["code"].clone());
        }
        let path = format!("/api/v1/rooms/{}", body["id"].as_str().expect("an id"));
        let (_, room) = self.call("GET", &path, Some(token), None).await;
        assert_eq!(room, body, "it is stored");
        let id = buildspaces_kernel::ids::RoomId::parse(body["id"].as_str().expect("an id")).expect("an id");
        let stored = self.rooms.room(&id).await.expect("there").record().tenancy;
        assert_eq!(json!(stored), json!({ "kind": room["kind"], "organisation": room["organisation"] }));
        Ok((room["kind"].clone(), room["organisation"].clone()))
    }
}

#[tokio::test]
async fn a_token_says_what_the_rooms_become_that_it_creates() {
    let (f, token) = closed();
    let none = || json!({});
    assert_eq!(f.becomes(&token("default", None), none()).await, Ok((json!("default"), Value::Null)));
    let acme = token("workshop", Some("acme"));
    assert_eq!(f.becomes(&acme, none()).await, Ok((json!("workshop"), json!("acme"))));
    // To say the same is to say nothing new.
    assert_eq!(f.becomes(&acme, json!({ "kind": "workshop" })).await, Ok((json!("workshop"), json!("acme"))));
    for wish in [json!({ "kind": "default" }), json!({ "kind": "large" }), json!({ "organisation": "globex" })] {
        assert_eq!(f.becomes(&acme, wish.clone()).await, Err(json!("not_by_your_token")), "{wish}");
    }
    assert_eq!(f.becomes(&token("large", Some("acme")), none()).await, Err(json!("kind_not_theirs")));
    assert_eq!(f.becomes(&token("tiny", None), none()).await, Err(json!("no_such_kind")));
    assert_eq!(f.becomes(&token("workshop", Some("globex")), none()).await, Err(json!("no_such_organisation")));
    let guest = f.session("Guest").await;
    assert_eq!(f.becomes(&guest, none()).await, Ok((json!("default"), Value::Null)));
    assert_eq!(f.becomes(&guest, json!({ "kind": "workshop" })).await, Err(json!("not_by_your_token")));
    let wish = json!({ "kind": "workshop", "organisation": "acme" });
    assert_eq!(f.becomes(ADMIN, wish).await, Ok((json!("workshop"), json!("acme"))));
    assert_eq!(f.becomes(ADMIN, json!({ "kind": "Large!" })).await, Err(json!("bad_tenancy")));
}

#[tokio::test]
async fn a_token_of_another_kind_changes_no_room_that_is_there() {
    let (f, token) = closed();
    let room = f.room(&token("workshop", None)).await;
    let path = format!("/api/v1/rooms/{room}");
    let (status, body) = f.call("GET", &path, Some(&token("large", Some("acme"))), None).await;
    assert_eq!((status, &body["kind"], &body["organisation"]), (StatusCode::OK, &json!("workshop"), &Value::Null));
}

#[tokio::test]
async fn the_administrator_makes_a_room_one_of_another_kind_and_nobody_else_does() {
    let (f, token) = closed();
    let host = token("workshop", Some("acme"));
    let room = f.room(&host).await;
    let path = format!("/api/v1/rooms/{room}/kind");
    let set = |token: String, kind: &str| {
        let (f, path, new) = (&f, &path, json!({ "kind": kind }));
        async move { f.call("PUT", path, Some(&token), Some(new)).await }
    };
    let code = |(status, body): (StatusCode, Value)| (status, body["error"]["code"].clone());
    for token in [host.clone(), token("large", None), f.session("Guest").await] {
        assert_eq!(code(set(token, "default").await), (StatusCode::FORBIDDEN, json!("denied")));
    }
    let admin = || ADMIN.to_owned();
    assert_eq!(code(set(admin(), "large").await), (StatusCode::FORBIDDEN, json!("kind_not_theirs")));
    assert_eq!(code(set(admin(), "tiny").await), (StatusCode::FORBIDDEN, json!("no_such_kind")));
    assert_eq!(code(set(admin(), "Large!").await), (StatusCode::BAD_REQUEST, json!("bad_tenancy")));
    let nowhere = f.call("PUT", "/api/v1/rooms/nowhere/kind", Some(ADMIN), Some(json!({ "kind": "default" }))).await;
    assert_eq!(code(nowhere), (StatusCode::NOT_FOUND, json!("no_such_room")));

    // Whoever knows the room already sees it change: what a sandbox is made by asks there.
    let id = buildspaces_kernel::ids::RoomId::parse(&room).expect("an id");
    let tenancy = f.rooms.room(&id).await.expect("there").tenancy();
    for _ in 0..2 {
        let (status, body) = set(admin(), "default").await;
        assert_eq!((status, &body["kind"]), (StatusCode::OK, &json!("default")));
        let changes = body["changes"].as_array().expect("a list");
        assert_eq!(changes.len(), 1, "to say the same is to say nothing new");
        assert_eq!((&changes[0]["from"], &changes[0]["to"]), (&json!("workshop"), &json!("default")));
        assert!(changes[0]["by"].is_string() && changes[0]["at"].as_i64() > Some(0));
    }
    assert_eq!(tenancy.borrow().kind, kind("default"));
    assert_eq!(tenancy.borrow().organisation, OrganisationId::parse("acme"), "it stays theirs");
    let (_, shown) = f.call("GET", &format!("/api/v1/rooms/{room}"), Some(&host), None).await;
    assert_eq!(shown["kind"], json!("default"));
    let (status, shown) = f.call("GET", &path, Some(ADMIN), None).await;
    assert_eq!((status, &shown["changes"][0]["to"]), (StatusCode::OK, &json!("default")));
}

#[tokio::test]
async fn where_nobody_needs_a_token_the_request_may_name_the_kind() {
    let f = Fixture::with(Config { tenants: tenants(), ..Config::default() });
    let ada = f.session("Ada").await;
    assert_eq!(f.becomes(&ada, json!({})).await, Ok((json!("default"), Value::Null)));
    assert_eq!(f.becomes(&ada, json!({ "kind": "large" })).await, Ok((json!("large"), Value::Null)));
    assert_eq!(f.becomes(&ada, json!({ "kind": "tiny" })).await, Err(json!("no_such_kind")));
}

#[tokio::test]
async fn an_imported_room_is_what_any_room_becomes_that_the_importer_creates() {
    let (from, token) = closed();
    let host = token("workshop", Some("acme"));
    let room = from.room(&host).await;
    let read = |router: Router, request: Request<Body>| async move {
        let response = router.oneshot(request).await.expect("answer");
        let status = response.status();
        (status, axum::body::to_bytes(response.into_body(), 1 << 22).await.expect("body"))
    };
    let request = |method: &str, path: &str, token: &str, body: Body| {
        let request = Request::builder().method(method).uri(path).header("host", "localhost:8080");
        request.header("authorization", format!("Bearer {token}")).body(body).expect("request")
    };
    let export = request("GET", &format!("/api/v1/rooms/{room}/archive"), ADMIN, Body::empty());
    let (status, archive) = read(from.router.clone(), export).await;
    assert_eq!(status, StatusCode::OK);
    let (into, token) = closed();
    let large = token("large", None);
    let import =
        |query: &str| request("POST", &format!("/api/v1/rooms/archive{query}"), &large, Body::from(archive.clone()));
    let (status, _) = read(into.router.clone(), import("?kind=workshop")).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let (status, body) = read(into.router.clone(), import("")).await;
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!((status, &body["id"], &body["kind"]), (StatusCode::CREATED, &json!(room), &json!("large")), "{body}");
    assert_eq!(body["organisation"], Value::Null);
}
