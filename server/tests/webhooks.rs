//! Webhooks of the real server against a receiver that checks signatures, fails, and sees the server killed.

#[path = "support/server.rs"]
mod server;

use std::collections::HashMap;
use std::io::Write;
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde_json::{Value, json};
use server::{Server, a_room, read_message};

const OWN_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLjSw";

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct Heard {
    headers: HashMap<String, String>,
    body: String,
}

impl Heard {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }

    fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }

    /// As a receiver does it.
    fn check(&self, secret: &str) {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").expect("a secret")).expect("base64");
        let signature = self.headers["webhook-signature"].strip_prefix("v1,").expect("version 1");
        let signed = format!("{}.{}.{}", self.id(), self.headers["webhook-timestamp"], self.body);
        let tag = STANDARD.decode(signature).expect("base64");
        hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, &key), signed.as_bytes(), &tag).expect("signed by the server");
    }
}

/// Answers with the statuses it is given, one after the other.
struct Webhook {
    address: String,
    heard: Receiver<Heard>,
    answers: Sender<u16>,
}

impl Webhook {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("port");
        let address = format!("http://{}/hook", listener.local_addr().expect("address"));
        let (hear, heard) = channel();
        let (answers, answer) = channel::<u16>();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let (_, headers, body) = read_message(&mut stream);
                let body = String::from_utf8(body).expect("UTF-8");
                if hear.send(Heard { headers, body }).is_err() {
                    return;
                }
                let Ok(status) = answer.recv() else { return };
                // The server may have been killed meanwhile.
                let _ = write!(stream, "HTTP/1.1 {status} Said\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
            }
        });
        Self { address, heard, answers }
    }

    fn answer(&self, statuses: &[u16]) {
        statuses.iter().for_each(|status| self.answers.send(*status).expect("the receiver lives"));
    }

    fn next(&self) -> Heard {
        self.heard.recv_timeout(PATIENCE).expect("the server sends something")
    }

    /// The next one that tells of this.
    fn next_of(&self, kind: &str, document: &str) -> Heard {
        loop {
            let heard = self.next();
            let told = heard.json();
            if told["type"] == kind && told["data"]["document"] == document {
                return heard;
            }
            self.answer(&[200]);
        }
    }
}

#[test]
fn a_change_is_delivered_signed_after_two_failures() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(folder.path(), &[("QUIET_MS", "200"), ("RETRY_MS", "50")]);
    let hook = Webhook::start();
    let (token, room, document) = a_room(&server);
    let new = json!({ "url": hook.address, "events": ["document.changed", "document.deleted"] });
    let webhook = server.json("POST", &format!("rooms/{room}/webhooks"), &token, &new);
    let (secret, id) = (webhook["secret"].as_str().expect("shown once"), webhook["id"].as_str().expect("an id"));

    server.type_text(&document, &token, "one");
    server.type_text(&document, &token, "two");
    hook.answer(&[500, 503, 200]);
    let tries = [hook.next(), hook.next(), hook.next()];
    for heard in &tries {
        heard.check(secret);
        assert_eq!((heard.id(), &heard.body), (tries[0].id(), &tries[0].body));
    }
    let told = tries[0].json();
    assert_eq!(told["type"], "document.changed");
    let data = &told["data"];
    assert_eq!((&data["document"], &data["room"], &data["epoch"]), (&json!(document), &json!(room), &json!(1)));
    assert_eq!((&data["seq"], &data["by"][0]["name"], &data["by"][1]), (&json!(2), &json!("Ada"), &Value::Null));

    let own = format!("rooms/{room}/webhooks/{id}");
    hook.answer(&[204]);
    let sent = server.json("POST", &format!("{own}/test"), &token, &Value::Null);
    assert_eq!(hook.next().id(), sent["id"].as_str().expect("an id"));
    hook.answer(&[410]);
    let node = document.rsplit(':').next().expect("a node");
    server.json("DELETE", &format!("rooms/{room}/nodes/{node}"), &token, &Value::Null);
    let deleted = hook.next_of("document.deleted", &document);
    deleted.check(secret);

    // The state follows the answer within a moment.
    let state = std::iter::repeat_with(|| server.json("GET", &format!("rooms/{room}/webhooks"), &token, &Value::Null))
        .find(|listed| listed[0]["enabled"] == false)
        .expect("one of them");
    assert_eq!(state[0]["off_reason"], "it answered 410: it is gone");
    let deliveries = server.json("GET", &format!("{own}/deliveries"), &token, &Value::Null);
    let all = deliveries.as_array().expect("a list");
    let first = all.iter().find(|delivery| delivery["id"] == tries[0].id()).expect("it is kept");
    assert_eq!((&first["state"], &first["attempts"], &first["status"]), (&json!("delivered"), &json!(3), &json!(200)));
}

#[test]
fn what_waits_and_what_was_not_announced_survives_a_kill() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let hook = Webhook::start();
    let own = [("URL", hook.address.as_str()), ("SECRET", OWN_SECRET)];
    let settings = |quiet| [own[0], own[1], ("QUIET_MS", quiet), ("RETRY_MS", "50"), ("LONGEST_MS", "3600000")];
    let server = Server::start(folder.path(), &settings("0"));
    server.type_text("notes", "", "one");
    // Killed while an attempt is under way.
    let first = hook.next_of("document.changed", "notes");
    first.check(OWN_SECRET);
    server.kill();
    hook.answer(&[200]);

    let server = Server::start(folder.path(), &settings("3600000"));
    let again = hook.next_of("document.changed", "notes");
    again.check(OWN_SECRET);
    assert_eq!((again.id(), &again.body), (first.id(), &first.body), "it was not known to have arrived");
    hook.answer(&[200]);
    // Acknowledged, and killed long before the document would have been quiet for long enough.
    server.type_text("notes", "", "two");
    server.type_text("others", "", "three");
    server.kill();

    let _server = Server::start(folder.path(), &settings("0"));
    let mut told: Vec<(String, u64)> = (0..2)
        .map(|_| {
            let heard = hook.next();
            hook.answer(&[200]);
            heard.check(OWN_SECRET);
            let data = heard.json()["data"].clone();
            (data["document"].as_str().expect("a name").to_owned(), data["seq"].as_u64().expect("a number"))
        })
        .collect();
    told.sort();
    assert_eq!(told, [("notes".to_owned(), 2), ("others".to_owned(), 1)]);
}
