//! Sends what `webhooks` has for others: one attempt, one POST. What is sent, when and how often is decided there.
//!
//! The address of a room's webhook was chosen by somebody in the room, so it may lead to the public internet only, unless the operator
//! allows more; see [`crate::http`]. Nothing of an answer but its status and `Retry-After` is looked at, so nobody reads through us.

use std::time::Duration;

use async_trait::async_trait;
use axum::http::{HeaderMap, Request as HttpRequest, header};
use buildspaces_webhooks::ports::{Request, Transport};
use buildspaces_webhooks::retry::Outcome;
use tokio::sync::OnceCell;

use crate::http::{Client, Reach, Url};

/// As much of an answer is read, so that its connection can be used again.
const MAX_ANSWER_BYTES: usize = 16 << 10;

const USER_AGENT: &str = concat!("BuildSpaces/", env!("CARGO_PKG_VERSION"));

/// What can be set about sending.
#[derive(Clone, Copy, Debug)]
pub struct HooksConfig {
    /// Webhooks of rooms may begin with `http://`.
    pub allow_http: bool,
    /// They may lead into private networks and to this machine.
    pub allow_private: bool,
    /// How long one attempt may take.
    pub timeout: Duration,
}

impl Default for HooksConfig {
    fn default() -> Self {
        const TIMEOUT: Duration = Duration::from_secs(10);
        Self { allow_http: false, allow_private: false, timeout: TIMEOUT }
    }
}

/// The port of `webhooks`. Its clients are made when they are needed first: reading the system's certificates takes a while.
pub struct HooksTransport {
    config: HooksConfig,
    /// For addresses from rooms.
    chosen: OnceCell<Client>,
    /// For the operator's own.
    trusted: OnceCell<Client>,
}

impl HooksTransport {
    pub fn new(config: HooksConfig) -> Self {
        Self { config, chosen: OnceCell::new(), trusted: OnceCell::new() }
    }

    async fn client(&self, trusted: bool) -> &Client {
        let (client, reach) = match trusted {
            true => (&self.trusted, Reach::All),
            false if self.config.allow_private => (&self.chosen, Reach::All),
            false => (&self.chosen, Reach::Public),
        };
        client.get_or_init(async || Client::new(reach)).await
    }
}

#[async_trait]
impl Transport for HooksTransport {
    fn check(&self, url: &str) -> Result<(), String> {
        Url::chosen(url, self.config.allow_http, self.config.allow_private).map(|_| ())
    }

    async fn post(&self, request: Request) -> Outcome {
        let Request { url, trusted, headers, body } = request;
        // The settings may have become stricter since it was made.
        let url = match trusted {
            true => Url::parse(&url, true).map_err(|error| format!("url {error}")),
            false => Url::chosen(&url, self.config.allow_http, self.config.allow_private),
        };
        let url = match url {
            Ok(url) => url,
            Err(error) => return Outcome::Unanswered(error),
        };
        let mut http = HttpRequest::post("/").header(header::CONTENT_TYPE, "application/json");
        http = http.header(header::USER_AGENT, USER_AGENT);
        for (name, value) in headers {
            http = http.header(name, value);
        }
        let http = http.body(body.into()).expect("ids, numbers and base64 make headers");
        match self.client(trusted).await.send(&url, http, self.config.timeout, MAX_ANSWER_BYTES).await {
            Ok(answer) => {
                Outcome::Answered { status: answer.status.as_u16(), retry_after: retry_after(&answer.headers) }
            }
            Err(error) => Outcome::Unanswered(error.to_string()),
        }
    }
}

/// How long a receiver asks to be left alone, if it says so in seconds.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::Router;
    use axum::http::StatusCode;
    use axum::response::IntoResponse;
    use axum::routing::post;
    use buildspaces_kernel::tasks::Tasks;
    use buildspaces_webhooks::Secret;

    use super::*;

    type Heard = Arc<Mutex<Vec<(HeaderMap, String)>>>;

    /// A receiver that answers by path, and what it heard.
    async fn receiver() -> (String, Heard) {
        let heard = Heard::default();
        let hear = heard.clone();
        let router = Router::new()
            .route(
                "/ok",
                post(async move |headers: HeaderMap, body: String| {
                    hear.lock().expect("lock").push((headers, body));
                    StatusCode::NO_CONTENT
                }),
            )
            .route("/busy", post(async || (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "7")]).into_response()))
            .route("/elsewhere", post(async || (StatusCode::TEMPORARY_REDIRECT, [("location", "/ok")]).into_response()))
            .route("/talks", post(async || "x".repeat(1 << 20)));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("port");
        let base = format!("http://{}", listener.local_addr().expect("address"));
        Tasks::new().spawn("receiver", async move { axum::serve(listener, router).await.expect("serve") });
        (base, heard)
    }

    async fn send(config: HooksConfig, url: String, trusted: bool) -> Outcome {
        let headers = Secret::random().headers("id", 1000, "{}");
        HooksTransport::new(config).post(Request { url: url.into(), trusted, headers, body: "{}".to_owned() }).await
    }

    fn permissive() -> HooksConfig {
        HooksConfig { allow_http: true, allow_private: true, ..HooksConfig::default() }
    }

    fn answered(status: u16) -> Outcome {
        Outcome::Answered { status, retry_after: None }
    }

    #[tokio::test]
    async fn what_is_sent_arrives_with_its_signature() {
        let (base, heard) = receiver().await;
        assert_eq!(send(permissive(), format!("{base}/ok"), false).await, answered(204));
        let (headers, body) = heard.lock().expect("lock").remove(0);
        assert_eq!((&headers["content-type"], &*body), (&"application/json".parse().expect("value"), "{}"));
        assert_eq!(
            (&headers["webhook-id"], &headers["webhook-timestamp"]),
            (&"id".parse().expect("value"), &"1".parse().expect("value"))
        );
        assert!(headers["webhook-signature"].to_str().expect("text").starts_with("v1,"));
        assert!(headers["user-agent"].to_str().expect("text").starts_with("BuildSpaces/"));
    }

    #[tokio::test]
    async fn answers_are_taken_as_they_are_and_redirects_not_followed() {
        let (base, heard) = receiver().await;
        let busy = Outcome::Answered { status: 429, retry_after: Some(Duration::from_secs(7)) };
        assert_eq!(send(permissive(), format!("{base}/busy"), false).await, busy);
        assert_eq!(send(permissive(), format!("{base}/elsewhere"), false).await, answered(307));
        assert_eq!(send(permissive(), format!("{base}/talks"), false).await, answered(200));
        assert_eq!(send(permissive(), format!("{base}/nowhere"), false).await, answered(404));
        assert_eq!(heard.lock().expect("lock").len(), 0);
    }

    #[tokio::test]
    async fn only_the_operator_reaches_what_lies_beside_the_server() {
        let (base, heard) = receiver().await;
        let public = HooksConfig { allow_private: false, ..permissive() };
        for host in [base.clone(), base.replace("127.0.0.1", "localhost")] {
            let outcome = send(public, format!("{host}/ok"), false).await;
            assert!(
                matches!(&outcome, Outcome::Unanswered(why) if why.contains("webhooks.allow_private")),
                "{outcome:?}"
            );
        }
        assert_eq!(heard.lock().expect("lock").len(), 0);
        assert_eq!(send(public, format!("{base}/ok"), true).await, answered(204));
    }

    #[tokio::test]
    async fn a_receiver_that_does_not_answer_is_given_up() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("port");
        let config = HooksConfig { timeout: Duration::from_millis(50), ..permissive() };
        // The port takes the connection and nobody reads.
        let outcome = send(config, format!("http://{}/", listener.local_addr().expect("address")), false).await;
        assert!(matches!(&outcome, Outcome::Unanswered(why) if why.contains("no answer within")), "{outcome:?}");
    }
}
