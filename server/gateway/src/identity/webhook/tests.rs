use std::sync::Arc;
use std::sync::Mutex as StdMutex;

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::post;
use buildspaces_kernel::tasks::Tasks;
use serde_json::{Value, json};

use super::*;
use crate::http::Reach;

const SECRET: &[u8] = b"shared with the service";

type Asked = Arc<StdMutex<Vec<(HeaderMap, Bytes)>>>;

struct Service {
    asked: Asked,
    answer: Arc<StdMutex<(StatusCode, String)>>,
    webhook: Webhook,
}

impl Service {
    async fn start(remember: Duration) -> Self {
        let (asked, answer) = (Asked::default(), Arc::new(StdMutex::new((StatusCode::OK, "{}".to_owned()))));
        let (heard, given) = (asked.clone(), answer.clone());
        let router = Router::new().route(
            "/who",
            post(async move |headers: HeaderMap, body: Bytes| {
                heard.lock().expect("lock").push((headers, body));
                given.lock().expect("lock").clone()
            }),
        );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("port");
        let url = format!("http://{}/who", listener.local_addr().expect("address"));
        Tasks::new().spawn("service", async move { axum::serve(listener, router).await.expect("serve") });
        let config = WebhookConfig {
            url: Url::parse(&url, false).expect("this machine"),
            secret: Some(SECRET.to_vec()),
            timeout: Duration::from_secs(5),
            remember,
        };
        Self { asked, answer, webhook: Webhook::new(config, Client::new(Reach::All)) }
    }

    fn answer(&self, status: StatusCode, body: &Value) {
        *self.answer.lock().expect("lock") = (status, body.to_string());
    }

    async fn ask(&self, token: Option<&str>) -> Result<Grant, Refusal> {
        let document = DocumentName::parse("r1/file:a").expect("valid");
        self.webhook.ask(token, Some("https://site.example"), Some(&document)).await
    }

    fn asked(&self) -> usize {
        self.asked.lock().expect("lock").len()
    }
}

#[tokio::test]
async fn the_question_is_signed_and_the_answer_is_believed() {
    let service = Service::start(Duration::from_secs(10)).await;
    let user = json!({ "id": "Ada@id", "name": "Ada" });
    let answer = json!({ "allow": true, "role": "editor", "user": user, "expires": 99, "kind": "workshop", "organisation": "acme", "plan": "x" });
    service.answer(StatusCode::OK, &answer);
    let grant = service.ask(Some("opaque")).await.expect("allowed");
    assert_eq!((grant.authority.role, grant.expires, grant.known), (Role::Editor, Some(99), true));
    assert_eq!(grant.authority.principal.id, principal_id("Ada@id"));
    assert_eq!(grant.token, Some(token_id("opaque")));
    let tenancy =
        Tenancy { kind: RoomKind::parse("workshop").expect("valid"), organisation: OrganisationId::parse("acme") };
    assert_eq!(grant.tenancy, tenancy);
    let asked = service.asked.lock().expect("lock");
    let (headers, body) = &asked[0];
    let question: Value = serde_json::from_slice(body).expect("JSON");
    assert_eq!(question, json!({ "token": "opaque", "document": "r1/file:a", "origin": "https://site.example" }));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), body);
    let tag: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(headers[SIGNATURE], format!("sha256={tag}"));
}

#[tokio::test]
async fn what_was_allowed_is_remembered_and_what_was_refused_is_not() {
    let service = Service::start(Duration::from_secs(600)).await;
    service.answer(StatusCode::OK, &json!({ "allow": false, "reason": "ask Bo" }));
    assert_eq!(service.ask(Some("t")).await.err(), Some(Refusal::Forbidden("ask Bo".into())));
    assert_eq!(service.ask(None).await.err(), Some(Refusal::Unauthorized("ask Bo".into())));
    service.answer(StatusCode::OK, &json!({ "allow": true, "user": { "id": "ada" } }));
    for _ in 0..3 {
        let grant = service.ask(Some("t")).await.expect("allowed");
        assert_eq!(grant.authority.role, Role::Viewer);
    }
    assert_eq!(service.asked(), 3);
    service.ask(Some("another")).await.expect("allowed");
    service.webhook.forget();
    service.ask(Some("t")).await.expect("allowed");
    assert_eq!(service.asked(), 5);
}

#[tokio::test]
async fn a_service_that_does_not_answer_as_it_should_lets_nobody_in() {
    let service = Service::start(Duration::ZERO).await;
    for (status, body) in [
        (StatusCode::INTERNAL_SERVER_ERROR, json!({ "allow": true, "user": { "id": "ada" } })),
        (StatusCode::FOUND, json!({ "allow": true, "user": { "id": "ada" } })),
        (StatusCode::OK, json!({})),
        (StatusCode::OK, json!({ "allow": "yes", "user": { "id": "ada" } })),
        (StatusCode::OK, json!({ "allow": true })),
        (StatusCode::OK, json!({ "allow": true, "user": { "id": "" } })),
        (StatusCode::OK, json!({ "allow": true, "role": "root", "user": { "id": "ada" } })),
        (StatusCode::OK, json!({ "allow": true, "user": { "id": "x".repeat(MAX_ANSWER_BYTES) } })),
    ] {
        service.answer(status, &body);
        let refused = service.ask(Some("t")).await.err();
        assert!(matches!(refused, Some(Refusal::Unavailable(_))), "{status} {body}: {refused:?}");
    }
    let long = "t".repeat(MAX_TOKEN_BYTES + 1);
    assert!(matches!(service.ask(Some(&long)).await, Err(Refusal::Unauthorized(_))));
    assert_eq!(service.asked(), 8);
}

#[tokio::test]
async fn nobody_waits_for_ever() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("port");
    let url = format!("http://{}/who", listener.local_addr().expect("address"));
    let config = WebhookConfig {
        url: Url::parse(&url, false).expect("this machine"),
        secret: None,
        timeout: Duration::from_millis(50),
        remember: Duration::ZERO,
    };
    // The port takes the connection and nobody reads.
    let webhook = Webhook::new(config, Client::new(Reach::All));
    assert!(matches!(webhook.ask(Some("t"), None, None).await, Err(Refusal::Unavailable(_))));
}
