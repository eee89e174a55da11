//! Streams into and out of a call over HTTP, over a transport in memory.

use axum::http::{HeaderMap, Response, header};

use super::media::{World, call, say};
use super::terminals::text;
use super::*;
use crate::auth::{AuthConfig, NewToken, SigningKey};

const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// An offer to send a voice and a picture, or to receive them.
fn offer(direction: &str) -> String {
    format!(
        "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\na=group:BUNDLE 0 1\r\na=ice-ufrag:abcd\r\na=ice-pwd:secret\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na={direction}\r\na=rtpmap:111 opus/48000/2\r\n\
         m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na={direction}\r\na=rtpmap:96 VP8/90000\r\n"
    )
}

impl World {
    async fn ask(
        &self,
        method: &str,
        path: &str,
        token: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Response<Body> {
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost:8080");
        request = request.header("authorization", format!("Bearer {token}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body)).expect("a request");
        self.f.router.clone().oneshot(request).await.expect("an answer")
    }

    async fn post(&self, protocol: &str, token: &str, body: String) -> Response<Body> {
        let path = format!("/media/{}/{protocol}", self.room);
        self.ask("POST", &path, token, &[("content-type", SDP)], body).await
    }

    async fn patch(&self, path: &str, tag: Option<&str>, body: &str) -> Response<Body> {
        let mut headers = vec![("content-type", FRAGMENT)];
        headers.extend(tag.map(|tag| ("if-match", tag)));
        self.ask("PATCH", path, &self.ada, &headers, body.to_owned()).await
    }
}

fn text_of(headers: &HeaderMap, name: HeaderName) -> String {
    headers[name].to_str().expect("text").to_owned()
}

/// Where a session is, and the tag of its ICE session.
fn session(response: &Response<Body>) -> (String, String) {
    assert_eq!(response.status(), StatusCode::CREATED);
    let headers = response.headers();
    assert_eq!(headers[header::CONTENT_TYPE], SDP);
    (text_of(headers, header::LOCATION), text_of(headers, header::ETAG))
}

async fn body_of(response: Response<Body>) -> String {
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("a body");
    String::from_utf8(bytes.into()).expect("text")
}

async fn refused(response: Response<Body>, status: u16, code: &str) -> String {
    let was = response.status();
    let body: Value = serde_json::from_str(&body_of(response).await).expect("our errors are JSON");
    assert_eq!((was.as_u16(), &body["error"]["code"]), (status, &json!(code)), "{body}");
    body["error"]["message"].as_str().expect("a sentence").to_owned()
}

#[tokio::test]
async fn a_stream_takes_part_until_it_is_deleted() {
    let w = World::new().await;
    let mut page = w.attach(&w.ada).await;
    let begun = w.post("whip", &w.ada, offer("sendonly")).await;
    let (location, _) = session(&begun);
    assert!(location.starts_with(&format!("/media/{}/whip/", w.room)), "{location}");
    assert!(body_of(begun).await.starts_with("answer to v=0"));
    let seen =
        call(&mut page, |call| call.len() == 1 && call[0]["tracks"].as_array().is_some_and(|all| all.len() == 2)).await;
    assert_eq!((&seen[0]["kind"], &seen[0]["person"]["name"]), (&json!("stream"), &json!("Ada")));
    assert!(seen[0]["tracks"].as_array().expect("a list").iter().all(|track| track["muted"] == false), "{seen:?}");

    // A host mutes it as anybody else.
    say(&mut page, json!({"type": "join"})).await;
    call(&mut page, |call| call.len() == 2).await;
    say(&mut page, json!({"type": "mute", "track": seen[0]["tracks"][1]["id"]})).await;
    call(&mut page, |call| call[0]["tracks"][1]["muted"] == true).await;

    assert_eq!(w.ask("GET", &location, &w.ada, &[], String::new()).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(w.ask("DELETE", &location, &w.ada, &[], String::new()).await.status(), StatusCode::OK);
    call(&mut page, |call| call.len() == 1 && call[0]["kind"] == "person").await;
    refused(w.ask("DELETE", &location, &w.ada, &[], String::new()).await, 404, "no_such_stream").await;
}

#[tokio::test]
async fn access_that_ends_ends_a_stream() {
    let w = World::new().await;
    let bob = w.f.session("Bob").await;
    let (mut page, mut watcher) = (w.attach(&w.ada).await, w.attach(&w.ada).await);
    let (location, _) = session(&w.post("whip", &bob, offer("sendonly")).await);
    let (watching, _) = session(&w.post("whep", &bob, offer("recvonly")).await);
    assert_eq!(text(&mut page, "viewers").await["people"][0]["name"], "Bob");
    let seen = call(&mut watcher, |call| call.len() == 1).await;
    let gone = json!({ "user": seen[0]["person"]["id"], "room": w.room });
    let (status, body) = w.f.call("POST", "/api/v1/revocations", Some(&w.ada), Some(gone)).await;
    assert_eq!((status, &body["ended"]), (StatusCode::OK, &json!(2)), "{body}");
    call(&mut watcher, <[Value]>::is_empty).await;
    for path in [location, watching] {
        while w.ask("GET", &path, &w.ada, &[], String::new()).await.status() != StatusCode::NOT_FOUND {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    refused(w.post("whip", &bob, offer("sendonly")).await, 401, "access_ended").await;
}

#[tokio::test]
async fn what_is_wrong_with_an_offer_is_said_and_changes_nothing() {
    let w = World::new().await;
    let mut page = w.attach(&w.ada).await;
    call(&mut page, <[Value]>::is_empty).await;
    let whip = format!("/media/{}/whip", w.room);
    refused(w.ask("POST", &whip, &w.ada, &[], offer("sendonly")).await, 415, "bad_body").await;
    refused(w.ask("POST", &whip, &w.ada, &[("content-type", "text/plain")], String::new()).await, 415, "bad_body")
        .await;
    refused(w.post("whip", "nobody", offer("sendonly")).await, 401, "unknown_session").await;
    refused(w.post("whip", &w.ada, "nonsense".to_owned()).await, 400, "bad_offer").await;
    refused(w.post("whip", &w.ada, "x".repeat(70_000)).await, 413, "body_too_large").await;
    let long = format!("{}{}", offer("sendonly"), "a=x\r\n".repeat(10_000));
    refused(w.post("whip", &w.ada, long).await, 422, "unusable_offer").await;
    let message = refused(w.post("whip", &w.ada, offer("recvonly")).await, 422, "unusable_offer").await;
    assert_eq!(message, "the section \"0\" does not send; offer it as sendonly");
    refused(w.post("whep", &w.ada, offer("sendonly")).await, 422, "unusable_offer").await;
    let av1 = offer("sendonly").replace("VP8", "AV1");
    assert!(refused(w.post("whip", &w.ada, av1).await, 422, "unusable_offer").await.contains("VP8 or H.264"));
    let h264 = offer("recvonly").replace("VP8", "H264");
    assert!(refused(w.post("whep", &w.ada, h264).await, 422, "unusable_offer").await.contains("VP8"));
    for query in ["video=microphone", "video=other"] {
        let path = format!("{whip}?{query}");
        refused(w.ask("POST", &path, &w.ada, &[("content-type", SDP)], offer("sendonly")).await, 400, "bad_query")
            .await;
    }
    let nowhere = w.ask("POST", "/media/nosuchroom/whip", &w.ada, &[("content-type", SDP)], offer("sendonly")).await;
    refused(nowhere, 404, "no_such_room").await;
    say(&mut page, json!({"type": "join"})).await;
    assert_eq!(call(&mut page, |call| !call.is_empty()).await.len(), 1, "nobody came meanwhile");
}

#[tokio::test]
async fn a_token_of_another_room_or_of_single_documents_leads_to_no_call() {
    let (signer, key) = SigningKey::secret(b"0123456789abcdef0123456789abcdef").expect("long enough");
    let auth = AuthConfig { keys: vec![key], signer: Some(signer), ..AuthConfig::default() };
    let token = |room: Option<&str>, documents: &[&str]| {
        let new = NewToken {
            subject: Some("ada".to_owned()),
            name: "Ada".to_owned(),
            role: buildspaces_policy::Role::Host,
            room: room.map(str::to_owned),
            documents: documents.iter().map(|pattern| (*pattern).to_owned()).collect(),
            lifetime: Some(Duration::from_secs(60)),
            tenancy: buildspaces_policy::tenancy::Tenancy::default(),
        };
        auth.mint(&new, buildspaces_kernel::clock::unix_millis()).expect("made").token
    };
    let f = Fixture::with(Config { auth: auth.clone(), ..Config::default() });
    let w = World::of(f, token(None, &[])).await;
    let other = w.f.room(&w.ada).await;
    let own = token(Some(&w.room), &[]);
    let mut page = w.attach(&own).await;
    call(&mut page, <[Value]>::is_empty).await;
    let (location, _) = session(&w.post("whip", &own, offer("sendonly")).await);

    for foreign in [token(Some(&other), &[]), token(Some(&w.room), &["tree:*"]), token(Some(&w.room), &["file:*"])] {
        assert_eq!(close_code(&mut w.attach(&foreign).await).await, 4403);
        refused(w.post("whip", &foreign, offer("sendonly")).await, 403, "denied").await;
        refused(w.post("whep", &foreign, offer("recvonly")).await, 403, "denied").await;
        // The same person began it.
        refused(w.ask("DELETE", &location, &foreign, &[], String::new()).await, 403, "denied").await;
        let fragment = "a=ice-ufrag:wxyz\r\na=ice-pwd:secret\r\n".to_owned();
        let headers = [("content-type", FRAGMENT), ("if-match", "*")];
        refused(w.ask("PATCH", &location, &foreign, &headers, fragment).await, 403, "denied").await;
    }
    let seen = call(&mut page, |call| call.len() == 1).await;
    assert_eq!(seen[0]["kind"], "stream", "which goes on, and nobody else came");
}

#[tokio::test]
async fn a_session_is_changed_by_who_began_it_alone() {
    let w = World::new().await;
    let bob = w.f.session("Bob").await;
    let (location, tag) = session(&w.post("whip", &w.ada, offer("sendonly")).await);
    refused(w.ask("DELETE", &location, &bob, &[], String::new()).await, 403, "denied").await;
    let other = location.replace("/whip/", "/whep/");
    refused(w.ask("DELETE", &other, &w.ada, &[], String::new()).await, 404, "no_such_stream").await;
    let elsewhere = location.replace(&w.room, &w.f.room(&w.ada).await);
    refused(w.ask("DELETE", &elsewhere, &w.ada, &[], String::new()).await, 404, "no_such_stream").await;

    let candidates = "a=ice-ufrag:abcd\r\na=ice-pwd:secret\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n";
    let taken = w.patch(&location, Some(&tag), candidates).await;
    assert_eq!((taken.status(), taken.headers().get(header::ETAG)), (StatusCode::NO_CONTENT, None));
    refused(w.patch(&location, None, candidates).await, 428, "if_match_required").await;
    refused(w.patch(&location, Some("\"another\""), candidates).await, 412, "changed").await;
    refused(w.patch(&location, Some(&tag), "nonsense").await, 400, "bad_fragment").await;
    refused(w.patch(&location, Some("*"), "a=ice-ufrag:a\rb\r\na=ice-pwd:secret\r\n").await, 400, "bad_fragment").await;
    let wrong = w.ask("PATCH", &location, &w.ada, &[("content-type", SDP)], candidates.to_owned()).await;
    refused(wrong, 415, "bad_body").await;

    let again = candidates.replace("abcd", "wxyz");
    let restarted = w.patch(&location, Some("*"), &again).await;
    assert_eq!(
        (restarted.status(), &restarted.headers()[header::CONTENT_TYPE]),
        (StatusCode::OK, &HeaderValue::from_static(FRAGMENT))
    );
    let new = text_of(restarted.headers(), header::ETAG);
    assert_ne!(new, tag);
    assert!(body_of(restarted).await.contains("a=ice-ufrag:wxyz"));
    refused(w.patch(&location, Some(&tag), &again).await, 412, "changed").await;
    assert_eq!(w.patch(&location, Some(&new), &again).await.status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn endpoints_say_what_they_are() {
    let w = World::new().await;
    for protocol in ["whip", "whep"] {
        let path = format!("/media/{}/{protocol}", w.room);
        for method in ["GET", "HEAD"] {
            let seen = w.ask(method, &path, &w.ada, &[], String::new()).await;
            assert_eq!(
                (seen.status(), &seen.headers()[header::CONTENT_TYPE]),
                (StatusCode::OK, &HeaderValue::from_static(SDP))
            );
            assert_eq!(body_of(seen).await, "");
        }
        let options = w.ask("OPTIONS", &path, &w.ada, &[], String::new()).await;
        assert_eq!(
            (options.status(), &options.headers()["accept-post"]),
            (StatusCode::OK, &HeaderValue::from_static(SDP))
        );
        assert_eq!(w.ask("PUT", &path, &w.ada, &[], String::new()).await.status(), StatusCode::METHOD_NOT_ALLOWED);
    }
    let foreign = [("origin", "https://evil.example"), ("content-type", SDP)];
    let path = format!("/media/{}/whip", w.room);
    refused(w.ask("POST", &path, &w.ada, &foreign, offer("sendonly")).await, 403, "foreign_origin").await;
}

#[tokio::test]
async fn an_encrypted_call_has_no_streams_and_no_players() {
    let w = World::new().await;
    let settings = format!("/api/v1/rooms/{}/media/settings", w.room);
    let (status, _) = w.f.call("PUT", &settings, Some(&w.ada), Some(json!({ "encrypted": true }))).await;
    assert_eq!(status, StatusCode::OK);
    for (protocol, direction) in [("whip", "sendonly"), ("whep", "recvonly")] {
        let answer = w.post(protocol, &w.ada, offer(direction)).await;
        assert_eq!(answer.status(), StatusCode::CONFLICT);
        let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.expect("body");
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(body["error"]["code"], "encrypted_call");
    }
}
