//! Who makes, renames and removes files by REST, one command after the other, and remembers what was answered.
//!
//! A command without an answer may or may not have happened: what it was about is then no longer certain.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

pub struct Host {
    address: SocketAddr,
    pub token: String,
    pub room: String,
    queue: RefCell<VecDeque<Command>>,
    queued: Notify,
    /// Commands that have no answer yet.
    waiting: Cell<usize>,
    known: RefCell<Known>,
    task: Cell<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
pub enum Command {
    Create(String),
    Rename(u32, String),
    Remove(u32),
}

/// What the answers say.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Names of nodes that must be there, by id.
    pub names: BTreeMap<String, String>,
    pub removed: BTreeSet<String>,
}

impl Host {
    /// Begins a session and makes a room.
    pub async fn start(address: SocketAddr) -> anyhow::Result<Rc<Self>> {
        let (_, session) = call(address, "", "POST", "/api/v1/sessions", Some(json!({ "name": "Host" }))).await?;
        let token = session["token"].as_str().context("a session has a token")?.to_owned();
        let new = json!({ "title": "Chaos", "template": "python" });
        let (status, room) = call(address, &token, "POST", "/api/v1/rooms", Some(new)).await?;
        let room = room["id"].as_str().with_context(|| format!("no room: {status} {room}"))?.to_owned();
        let host = Rc::new(Self {
            address,
            token,
            room,
            queue: RefCell::default(),
            queued: Notify::new(),
            waiting: Cell::new(0),
            known: RefCell::default(),
            task: Cell::new(None),
        });
        host.task.set(Some(tokio::task::spawn_local(host.clone().work())));
        Ok(host)
    }

    pub fn order(&self, command: Command) {
        self.waiting.set(self.waiting.get() + 1);
        self.queue.borrow_mut().push_back(command);
        self.queued.notify_one();
    }

    pub fn is_idle(&self) -> bool {
        self.waiting.get() == 0
    }

    pub fn known(&self) -> Known {
        self.known.borrow().clone()
    }

    /// Ends its work.
    pub fn leave(&self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }

    /// The room's nodes as the store has them, by id: from the room's archive.
    pub async fn nodes(&self) -> anyhow::Result<BTreeMap<String, Value>> {
        let path = format!("/api/v1/rooms/{}/archive", self.room);
        let (status, archive) = fetch(self.address, &self.token, "GET", &path, None).await?;
        ensure!(status == 200, "the archive: {status} {}", String::from_utf8_lossy(&archive));
        let nodes: Vec<Value> = serde_json::from_slice(file(&archive, "tree.json").context("tree.json is not there")?)?;
        nodes.into_iter().map(|node| Ok((node["id"].as_str().context("an id")?.to_owned(), node))).collect()
    }

    /// The room's runs as REST lists them, by id.
    pub async fn runs(&self) -> anyhow::Result<BTreeMap<String, Value>> {
        let path = format!("/api/v1/rooms/{}/runs", self.room);
        let (status, runs) = call(self.address, &self.token, "GET", &path, None).await?;
        ensure!(status == 200, "the runs: {status} {runs}");
        let runs = runs.as_array().context("a list")?.clone();
        runs.into_iter().map(|run| Ok((run["id"].as_str().context("an id")?.to_owned(), run))).collect()
    }

    async fn work(self: Rc<Self>) {
        loop {
            let next = self.queue.borrow_mut().pop_front();
            match next {
                Some(command) => {
                    self.perform(command).await;
                    self.waiting.set(self.waiting.get() - 1);
                }
                None => self.queued.notified().await,
            }
        }
    }

    async fn perform(&self, command: Command) {
        let nodes = format!("/api/v1/rooms/{}/nodes", self.room);
        match command {
            Command::Create(name) => {
                let body = json!({ "parent": null, "name": name, "kind": "text", "text": "new\n" });
                if let Ok((201, node)) = call(self.address, &self.token, "POST", &nodes, Some(body)).await
                    && let Some(id) = node["id"].as_str()
                {
                    self.known.borrow_mut().names.insert(id.to_owned(), name);
                }
            }
            Command::Rename(at, name) => {
                let Some(id) = self.pick(at) else { return };
                let body = json!({ "name": name });
                let answer = call(self.address, &self.token, "PATCH", &format!("{nodes}/{id}"), Some(body)).await;
                self.settle(&id, answer, |known, id| drop(known.names.insert(id, name)));
            }
            Command::Remove(at) => {
                let Some(id) = self.pick(at) else { return };
                let answer = call(self.address, &self.token, "DELETE", &format!("{nodes}/{id}"), None).await;
                self.settle(&id, answer, |known, id| {
                    known.names.remove(&id);
                    known.removed.insert(id);
                });
            }
        }
    }

    fn settle(&self, id: &str, answer: anyhow::Result<(u16, Value)>, done: impl FnOnce(&mut Known, String)) {
        let mut known = self.known.borrow_mut();
        match answer {
            Ok((200..300, _)) => done(&mut known, id.to_owned()),
            // It was refused, so nothing changed.
            Ok((400..500, _)) => {}
            _ => drop(known.names.remove(id)),
        }
    }

    /// A node that is certain to be there.
    fn pick(&self, at: u32) -> Option<String> {
        let known = self.known.borrow();
        let last = known.names.len().checked_sub(1)?;
        known.names.keys().nth(last * at as usize / 1000).cloned()
    }
}

async fn call(
    address: SocketAddr,
    token: &str,
    method: &str,
    path: &str,
    body: Option<Value>,
) -> anyhow::Result<(u16, Value)> {
    let (status, body) = fetch(address, token, method, path, body).await?;
    Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
}

/// One request by HTTP/1.0, whose answer ends with its connection.
async fn fetch(
    address: SocketAddr,
    token: &str,
    method: &str,
    path: &str,
    body: Option<Value>,
) -> anyhow::Result<(u16, Vec<u8>)> {
    let body = body.map_or_else(String::new, |body| body.to_string());
    let bearer = if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\n{bearer}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        anyhow::Ok(answer)
    };
    let mut answer = tokio::time::timeout(PATIENCE, answer).await.context("no answer in time")??;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").context("an answer without a head")?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("an answer without a status")?;
    let body = answer.split_off(end + 4);
    let len = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    ensure!(len.is_none_or(|len: usize| len == body.len()), "the answer was cut off");
    Ok((status, body))
}

/// A file of a tar.
fn file<'a>(mut archive: &'a [u8], name: &str) -> Option<&'a [u8]> {
    const BLOCK: usize = 512;
    loop {
        let head = archive.get(..BLOCK)?;
        let text = |range: std::ops::Range<usize>| {
            let field = &head[range];
            std::str::from_utf8(field.split(|byte| *byte == 0).next()?).ok()
        };
        let len = usize::from_str_radix(text(124..136)?.trim(), 8).ok()?;
        let content = archive.get(BLOCK..BLOCK + len)?;
        if text(0..100)? == name {
            return Some(content);
        }
        archive = archive.get(BLOCK + len.next_multiple_of(BLOCK)..)?;
    }
}
