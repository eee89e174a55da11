//! The real server as a process, and requests to it.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use buildspaces_crdt::Replica;
use serde_json::{Value, json};

/// The first line, the headers and the body of a request or an answer.
pub(crate) fn read_message(stream: &mut TcpStream) -> (String, HashMap<String, String>, Vec<u8>) {
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

pub(crate) struct Server {
    process: Child,
    address: String,
}

impl Server {
    pub(crate) fn start(data: &Path, settings: &[(&str, &str)]) -> Self {
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
    pub(crate) fn kill(mut self) {
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

    pub(crate) fn json(&self, method: &str, path: &str, token: &str, body: &Value) -> Value {
        self.call(method, path, token, "application/json", body.to_string().as_bytes())
    }

    pub(crate) fn type_text(&self, document: &str, token: &str, text: &str) {
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
pub(crate) fn a_room(server: &Server) -> (String, String, String) {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let token = text(&server.json("POST", "sessions", "", &json!({ "name": "Ada" }))["token"]);
    let room = text(&server.json("POST", "rooms", &token, &json!({ "template": "python" }))["id"]);
    let file = json!({ "name": "notes.txt", "kind": "text" });
    let node = text(&server.json("POST", &format!("rooms/{room}/nodes"), &token, &file)["id"]);
    let document = format!("{room}/file:{node}");
    (token, room, document)
}
