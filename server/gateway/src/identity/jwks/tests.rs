use std::sync::Mutex as StdMutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::routing::get;
use buildspaces_kernel::tasks::Tasks;

use super::*;
use crate::http::Reach;
use crate::identity::tokens::{Rules, verify};

const JWKS: &str = include_str!("../fixtures/jwks.json");
const RS256: &str = include_str!("../fixtures/rs256.jwt");

/// A system that publishes keys.
struct Publisher {
    asked: Arc<AtomicUsize>,
    answer: Arc<StdMutex<(StatusCode, String)>>,
    url: Url,
}

impl Publisher {
    async fn start() -> Self {
        let asked = Arc::new(AtomicUsize::new(0));
        let answer = Arc::new(StdMutex::new((StatusCode::OK, JWKS.to_owned())));
        let (count, given) = (asked.clone(), answer.clone());
        let router = Router::new().route(
            "/keys",
            get(async move || {
                count.fetch_add(1, Ordering::Relaxed);
                given.lock().expect("lock").clone()
            }),
        );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("port");
        let url = format!("http://{}/keys", listener.local_addr().expect("address"));
        Tasks::new().spawn("publisher", async move { axum::serve(listener, router).await.expect("serve") });
        Self { asked, answer, url: Url::parse(&url, false).expect("this machine") }
    }

    fn jwks(&self) -> Jwks {
        crate::identity::crypto::install();
        Jwks::new(self.url.clone(), Client::new(Reach::All), Tasks::new())
    }

    fn answer(&self, status: StatusCode, body: &str) {
        *self.answer.lock().expect("lock") = (status, body.to_owned());
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

fn signed(kid: &str) -> Signed {
    // {"alg":"RS256","kid":…} and a body of no interest.
    let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::RS256);
    header.kid = Some(kid.to_owned());
    Signed::of(header)
}

#[test]
fn only_keys_for_signatures_of_ours_are_taken() {
    let keys = read(JWKS.as_bytes()).expect("keys");
    let ids: Vec<_> = keys.iter().filter_map(|key| key.id.as_deref()).collect();
    assert_eq!(ids, ["rsa-1", "ed-1"]);
    assert!(read(b"[]").is_err() && read(br#"{"keys": []}"#).is_err() && read(b"<html>").is_err());
}

#[tokio::test]
async fn a_published_key_checks_a_token_and_is_fetched_once() {
    let publisher = Publisher::start().await;
    let jwks = publisher.jwks();
    let token = Signed::read(RS256).expect("a token");
    let (a, b) = tokio::join!(jwks.keys(&token), jwks.keys(&token));
    for keys in [a.expect("keys"), b.expect("keys")] {
        assert!(verify(RS256, keys.iter(), &Rules::default(), 1_700_000_000_000).is_ok());
    }
    assert_eq!(publisher.asked(), 1);
}

#[tokio::test]
async fn an_unknown_key_is_looked_for_but_not_at_every_token() {
    let publisher = Publisher::start().await;
    let jwks = publisher.jwks();
    for id in 0..20 {
        let keys = jwks.keys(&signed(&format!("unknown-{id}"))).await.expect("the known ones");
        assert_eq!(keys.len(), 2);
    }
    assert_eq!(publisher.asked(), 1);
    // After a while it may have been published.
    jwks.0.fetching.lock().expect("lock").last_try = None;
    publisher.answer(StatusCode::OK, &JWKS.replace("rsa-1", "rsa-2"));
    let keys = jwks.keys(&signed("rsa-2")).await.expect("keys");
    assert!(keys.iter().any(|key| key.id.as_deref() == Some("rsa-2")));
    assert_eq!(publisher.asked(), 2);
}

#[tokio::test]
async fn known_keys_serve_while_they_cannot_be_fetched() {
    let publisher = Publisher::start().await;
    let jwks = publisher.jwks();
    publisher.answer(StatusCode::INTERNAL_SERVER_ERROR, "");
    assert!(jwks.keys(&signed("rsa-1")).await.is_err());
    jwks.0.fetching.lock().expect("lock").last_try = None;
    publisher.answer(StatusCode::OK, JWKS);
    assert!(jwks.keys(&signed("rsa-1")).await.is_ok());
    for (status, body) in
        [(StatusCode::OK, "x".repeat(MAX_BYTES + 1)), (StatusCode::FOUND, String::new()), (StatusCode::OK, "{}".into())]
    {
        publisher.answer(status, &body);
        jwks.0.fetching.lock().expect("lock").last_try = None;
        assert_eq!(jwks.keys(&signed("unknown")).await.expect("the known ones").len(), 2);
    }
    assert_eq!(publisher.asked(), 5);
}

#[tokio::test]
async fn who_goes_away_while_keys_are_fetched_takes_nothing_along() {
    let publisher = Publisher::start().await;
    let jwks = publisher.jwks();
    let token = signed("rsa-1");
    assert!(futures_util::FutureExt::now_or_never(jwks.keys(&token)).is_none(), "it is dropped while it waits");
    assert_eq!(jwks.keys(&token).await.expect("keys").len(), 2);
    assert_eq!(publisher.asked(), 1);
}
