//! Webhooks of the real server against a receiver that checks signatures, fails, and sees the server killed.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use buildspaces_crdt::Replica;
use ring::hmac;
use serde_json::{Value, json};

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

/// The first line, the headers and the body of a request or an answer.
fn read_message(stream: &mut TcpStream) -> (String, HashMap<String, String>, Vec<u8>) {
    let mut reader = BufReader::new(stream);
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    };
    let first = line();
    let mut headers = HashMap::new();
    while let Some((name, value)) = line().split_once(": ") {
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().expect("a number"));
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("the body");
    (first, headers, body)
}

struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start(data: &Path, settings: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_buildspaces"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data);
        for (key, value) in settings.iter().chain(&[("ALLOW_HTTP", "true"), ("ALLOW_PRIVATE", "true")]) {
            command.env(format!("BUILDSPACES_WEBHOOKS_{key}"), value);
        }
        command.env("DOCKER_HOST", "unix:///nowhere").stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().expect("the server starts");
        let mut line = String::new();
        let mut said = BufReader::new(process.stdout.take().expect("piped"));
        said.read_line(&mut line).expect("it says where it is");
        let address = line.split("http://").nth(1).expect("an address").trim_end().trim_end_matches('/').to_owned();
        Self { process, address }
    }

    /// `kill -9`.
    fn kill(mut self) {
        self.process.kill().expect("killed");
        self.process.wait().expect("gone");
    }

    fn call(&self, method: &str, path: &str, token: &str, kind: &str, body: &[u8]) -> Value {
        let mut stream = TcpStream::connect(&self.address).expect("the server listens");
        let head = format!(
            "{method} /api/v1/{path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\
             content-type: {kind}\r\ncontent-length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).expect("sent");
        let (status, _, body) = read_message(&mut stream);
        assert!(status.starts_with("HTTP/1.1 2"), "{method} {path}: {status} {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap_or_default()
    }

    fn json(&self, method: &str, path: &str, token: &str, body: &Value) -> Value {
        self.call(method, path, token, "application/json", body.to_string().as_bytes())
    }

    fn type_text(&self, document: &str, token: &str, text: &str) {
        let update = Replica::new().set_text("text", text).expect("a change");
        let name = document.replace('/', "%2F").replace(':', "%3A");
        self.call("POST", &format!("documents/{name}/updates"), token, "application/octet-stream", &update);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A room with a file, and who made it: token, room, the file's document.
fn a_room(server: &Server) -> (String, String, String) {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let token = text(&server.json("POST", "sessions", "", &json!({ "name": "Ada" }))["token"]);
    let room = text(&server.json("POST", "rooms", &token, &json!({ "template": "python" }))["id"]);
    let file = json!({ "name": "notes.txt", "kind": "text" });
    let node = text(&server.json("POST", &format!("rooms/{room}/nodes"), &token, &file)["id"]);
    let document = format!("{room}/file:{node}");
    (token, room, document)
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
