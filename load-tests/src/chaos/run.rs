//! Carries a plan out against a real server, and looks afterwards whether what must always hold did hold.
//!
//! 1. *Nothing acknowledged is lost*: after each end of the server, before anybody else may come back and repair it, somebody new looks whether
//!    every acknowledged update is there; and once more at the end.
//! 2. *Convergence*: when everything is mended, all clients and somebody new have the same document.
//! 3. *No ghosts*: everybody sees exactly those who are here, in their last place; and nobody, when all have left.
//! 4. *Projections equal the store*: `tree:main` and `runs:main` hold what REST says, before and after a restart; nothing was shown to
//!    anybody that is not in the store; every command that was answered has taken effect.
//! 5. The server ends only when it is told to, asked to stop it does, it does not panic, and no client sees what the protocol does not allow.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::editor::{Editor, is_same};
use super::host::{Command, Host};
use super::plan::{DOCUMENTS, Op, Plan};
use super::proxy::Proxy;
use super::server::Server;
use crate::wire::Dialect;

/// How long everybody may take to agree.
const AGREEMENT: Duration = Duration::from_secs(20);

/// How long the presence of who has gone may stay where the server had to notice by itself: 30 s, looked at from time to time.
const EXPIRY: Duration = Duration::from_secs(45);

/// How long it may stay otherwise.
const PRESENCE: Duration = Duration::from_secs(5);

/// How often clients repeat their presence.
const RENEWAL: Duration = Duration::from_secs(10);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// What runs need.
#[derive(Clone, Debug)]
pub struct Setup {
    pub program: PathBuf,
    /// Settings of the server, as `key=value`.
    pub settings: Vec<String>,
    /// Where disks are made.
    pub scratch: PathBuf,
    /// Gives each server a disk that can fail, if this machine allows to mount one.
    pub own_disk: bool,
}

/// What came out of a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What did not hold.
    pub failures: Vec<String>,
    /// Steps that took place, by name.
    pub steps: BTreeMap<String, u64>,
    /// Steps that this machine cannot do, by name.
    pub skipped: BTreeSet<String>,
    /// Acknowledged updates that were looked for.
    pub acknowledged: u64,
    /// Ends of the server that were followed by such a look.
    pub restarts: u64,
    /// The end of what the server wrote, if anything did not hold.
    pub said: String,
}

pub async fn run(plan: &Plan, setup: &Setup) -> anyhow::Result<Report> {
    let mut run = Run::start(plan, setup).await?;
    for step in &plan.steps {
        tokio::time::sleep(Duration::from_millis(step.wait)).await;
        if let Some(status) = run.server.ended() {
            run.fail(format!("the server ended by itself, with {status}"));
            break;
        }
        run.step(&step.op).await;
    }
    run.finish().await;
    Ok(run.report)
}

struct Run {
    server: Server,
    host: Rc<Host>,
    clients: Vec<Client>,
    /// Who look at the room's projected documents all the time.
    watchers: Vec<Rc<Editor>>,
    /// Updates of those who have gone for good, by document.
    of_gone: BTreeMap<String, Vec<Vec<u8>>>,
    next_client: u64,
    is_full: bool,
    was_full: bool,
    /// The server went down, and nobody has looked yet what it kept.
    is_unseen: bool,
    /// What ends by itself after a while.
    passing: Vec<JoinHandle<()>>,
    frozen: Rc<Cell<usize>>,
    report: Report,
}

struct Client {
    dialect: Dialect,
    proxy: Proxy,
    editor: Rc<Editor>,
}

impl Run {
    async fn start(plan: &Plan, setup: &Setup) -> anyhow::Result<Self> {
        let mut server = Server::new(setup)?;
        server.start().await?;
        let host = Host::start(server.address).await?;
        let mut run = Self {
            server,
            clients: Vec::new(),
            watchers: Vec::new(),
            of_gone: BTreeMap::new(),
            next_client: 1,
            is_full: false,
            was_full: false,
            is_unseen: false,
            passing: Vec::new(),
            frozen: Rc::default(),
            report: Report::default(),
            host,
        };
        for client in &plan.clients {
            let proxy = Proxy::start(run.server.address).await?;
            let document = DOCUMENTS.get(client.document).context("a plan names a document that is not there")?;
            let editor = Editor::new(client.dialect, document, proxy.address, run.client_id());
            editor.connect();
            run.clients.push(Client { dialect: client.dialect, proxy, editor });
        }
        for name in run.projected() {
            let watcher = run.newcomer(&name);
            run.watchers.push(watcher);
        }
        Ok(run)
    }

    fn projected(&self) -> [String; 2] {
        ["tree:main", "runs:main"].map(|document| format!("{}/{document}", self.host.room))
    }

    fn client_id(&mut self) -> u64 {
        self.next_client += 1;
        self.next_client
    }

    /// Somebody who was never there, on the direct way.
    fn newcomer(&mut self, document: &str) -> Rc<Editor> {
        let (address, client) = (self.server.address, self.client_id());
        let editor = Editor::looking(document, address, client, &self.host.token);
        editor.connect();
        editor
    }

    fn fail(&mut self, failure: impl Into<String>) {
        self.report.failures.push(failure.into());
    }

    async fn step(&mut self, op: &Op) {
        let name = serde_json::to_value(op).ok().and_then(|op| Some(op["op"].as_str()?.to_owned())).unwrap_or_default();
        let is_possible = match op {
            Op::StallDisk { .. } | Op::FillDisk | Op::FreeDisk => self.server.disk.can_fail(),
            Op::JumpClock { .. } => self.server.can_jump(),
            _ => true,
        };
        if !is_possible {
            self.report.skipped.insert(name);
        } else if self.perform(op).await {
            *self.report.steps.entry(name).or_default() += 1;
        }
    }

    /// False if it made no sense.
    async fn perform(&mut self, op: &Op) -> bool {
        let is_started = self.server.is_started();
        match op {
            Op::Insert { client, .. }
            | Op::Delete { client, .. }
            | Op::Set { client, .. }
            | Op::Announce { client }
            | Op::Leave { client }
            | Op::Vanish { client }
            | Op::Replace { client }
            | Op::Return { client }
            | Op::Hold { client, .. }
            | Op::Release { client }
            | Op::ChangeNetwork { client } => return self.of_client(*client, op).await,
            Op::Kill if is_started => {
                self.server.kill();
                self.went_down().await;
            }
            Op::Stop if is_started => self.stop().await,
            Op::Start if !is_started => self.come_back().await,
            Op::Freeze { ms } if is_started => self.freeze(*ms),
            Op::StallDisk { ms } => {
                let stalled = self.server.disk.stall(Duration::from_millis(*ms));
                self.passing.push(tokio::task::spawn_local(stalled));
            }
            Op::FillDisk => {
                // Filling it is writing, for which a stalled disk makes wait.
                self.pass().await;
                let filled = self.server.disk.fill();
                (self.is_full, self.was_full) = (true, true);
                if let Err(error) = filled {
                    self.fail(format!("the disk could not be filled: {error}"));
                }
            }
            Op::FreeDisk if self.is_full => self.free().await,
            Op::JumpClock { seconds } => {
                if let Err(error) = self.server.jump_clock(*seconds) {
                    self.fail(format!("the clock could not be set: {error:#}"));
                }
            }
            Op::Create { name } => self.host.order(Command::Create(name.clone())),
            Op::Rename { node, name } => self.host.order(Command::Rename(*node, name.clone())),
            Op::Remove { node } => self.host.order(Command::Remove(*node)),
            _ => return false,
        }
        true
    }

    async fn of_client(&mut self, number: usize, op: &Op) -> bool {
        let Some(Client { editor, proxy, dialect }) = self.clients.get(number) else { return false };
        match op {
            Op::Insert { at, text, .. } => editor.insert(*at, text),
            Op::Delete { at, count, .. } => editor.delete(*at, *count),
            Op::Set { key, value, .. } => editor.set(key, *value),
            Op::Announce { .. } => editor.announce(),
            Op::Leave { .. } if editor.is_here() => editor.leave().await,
            Op::Vanish { .. } if editor.is_here() => editor.vanish(),
            Op::Return { .. } if !editor.is_here() => editor.connect(),
            Op::Hold { way, .. } => proxy.hold(*way),
            Op::Release { .. } => proxy.release(),
            Op::ChangeNetwork { .. } => proxy.change_network(),
            Op::Replace { .. } => {
                let (document, address, dialect) = (editor.document.clone(), proxy.address, *dialect);
                editor.vanish();
                self.report.failures.extend(editor.trouble());
                self.of_gone.entry(document.clone()).or_default().extend(editor.acknowledged());
                let editor = Editor::new(dialect, &document, address, self.client_id());
                editor.connect();
                self.clients[number].editor = editor;
            }
            _ => return false,
        }
        true
    }

    fn freeze(&mut self, ms: u64) {
        // Who freezes first goes on last, so that two overlapping ones are one.
        self.server.freeze();
        self.frozen.set(self.frozen.get() + 1);
        let (frozen, group) = (self.frozen.clone(), self.server.group());
        self.passing.push(tokio::task::spawn_local(async move {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            frozen.set(frozen.get() - 1);
            if frozen.get() == 0 {
                Server::go_on(group);
            }
        }));
    }

    async fn stop(&mut self) {
        self.pass().await;
        // A server whose disk is full cannot save what it has, and may say so.
        if let Err(error) = self.server.stop().await
            && !self.is_full
        {
            self.fail(format!("{error:#}"));
        }
        self.went_down().await;
    }

    /// Waits until nothing stands still.
    async fn pass(&mut self) {
        for passing in self.passing.drain(..) {
            // It cannot panic.
            let _ = passing.await;
        }
    }

    /// What was on its way arrives, and then nobody gets in until it was looked what the server kept.
    async fn went_down(&mut self) {
        self.is_unseen = true;
        let start = Instant::now();
        for client in &self.clients {
            client.proxy.refuse(true);
        }
        let connected =
            |clients: &[Client]| clients.iter().any(|client| client.editor.is_open() && !client.proxy.is_held());
        while connected(&self.clients) && start.elapsed() < PRESENCE {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn free(&mut self) {
        self.pass().await;
        self.server.disk.free();
        self.is_full = false;
    }

    /// Starts the server again, and looks whether everything acknowledged is there.
    async fn come_back(&mut self) {
        if let Err(error) = self.server.start().await {
            if !self.is_full {
                return self.fail(format!("{error:#}"));
            }
            // Without room it need not start, but must have lost nothing.
            self.free().await;
            if let Err(error) = self.server.start().await {
                return self.fail(format!("{error:#}"));
            }
        }
        if std::mem::take(&mut self.is_unseen) {
            self.report.restarts += 1;
            self.look_for_acknowledged().await;
            // A full server cannot list a room's documents, so there is nothing to compare with before it has room.
            if !self.is_full {
                self.look_at_projected(false).await;
            }
        }
        for client in &self.clients {
            client.proxy.refuse(false);
        }
    }

    async fn look_for_acknowledged(&mut self) {
        for document in DOCUMENTS {
            let mut expected = self.of_gone.get(document).cloned().unwrap_or_default();
            let clients = self.clients.iter().filter(|client| client.editor.document == document);
            expected.extend(clients.flat_map(|client| client.editor.acknowledged()));
            let newcomer = self.newcomer(document);
            if !until(AGREEMENT, || newcomer.is_synced()).await {
                self.fail(format!("{document} cannot be opened"));
            } else if !newcomer.has_all(expected.iter().map(Vec::as_slice)) {
                let lost = expected.iter().filter(|update| !newcomer.has_all([update.as_slice()])).count();
                self.fail(format!("LOST: {lost} of {} acknowledged updates of {document}", expected.len()));
            }
            self.report.acknowledged += expected.len() as u64;
            newcomer.vanish();
        }
    }

    /// Compares the projected documents with what REST says; `is_final`: with what was answered, too.
    async fn look_at_projected(&mut self, is_final: bool) {
        let start = Instant::now();
        loop {
            let result = self.projected_differ().await;
            // The server writes a projection after the store, at once.
            let is_late = start.elapsed() > PRESENCE;
            match result {
                Ok(differences) if differences.is_empty() => break,
                Ok(differences) if is_late => {
                    self.report.failures.extend(differences);
                    break;
                }
                Err(error) if is_late => {
                    self.fail(format!("projected documents could not be compared: {error:#}"));
                    break;
                }
                _ => tokio::time::sleep(LOOK).await,
            }
        }
        if is_final && !until(AGREEMENT, || self.host.is_idle()).await {
            self.fail("a command over REST has no answer");
        }
    }

    async fn projected_differ(&mut self) -> anyhow::Result<Vec<String>> {
        let [tree, runs] = self.projected();
        let known = self.host.known();
        let (seen_tree, seen_runs) = (self.read(&tree).await?, self.read(&runs).await?);
        let mut differences = Vec::new();
        for (watcher, newcomer) in self.watchers.iter().zip([&seen_tree, &seen_runs]) {
            if !newcomer.has_all([watcher.state().as_slice()]) {
                differences.push(format!("{} showed what the store does not have", watcher.document));
            }
        }
        let nodes = as_map(seen_tree.root("nodes"));
        let stored = self.host.nodes().await?;
        if nodes != stored {
            differences.push(format!("tree:main is not the store's: {nodes:?}, stored {stored:?}"));
        }
        for (id, name) in &known.names {
            if stored.get(id).is_none_or(|node| node["name"] != **name) {
                differences.push(format!("LOST: the file {name:?} ({id}), whose command was answered"));
            }
        }
        for id in known.removed.iter().filter(|id| stored.contains_key(*id)) {
            differences.push(format!("LOST: the removal of {id}, which was answered"));
        }
        let (shown, stored) = (as_map(seen_runs.root("runs")), self.host.runs().await?);
        if shown != stored {
            differences.push(format!("runs:main is not the store's: {shown:?}, stored {stored:?}"));
        }
        Ok(differences)
    }

    async fn read(&mut self, document: &str) -> anyhow::Result<Rc<Editor>> {
        let newcomer = self.newcomer(document);
        let is_synced = until(AGREEMENT, || newcomer.is_synced()).await;
        newcomer.vanish();
        anyhow::ensure!(is_synced, "{document} cannot be opened");
        self.report.failures.extend(newcomer.trouble());
        Ok(newcomer)
    }

    /// Mends everything and looks whether all holds.
    async fn finish(&mut self) {
        self.pass().await;
        if self.is_full {
            self.free().await;
        }
        if !self.server.is_started() {
            self.come_back().await;
        }
        for client in &self.clients {
            client.proxy.release();
            client.editor.connect();
        }
        if !until(AGREEMENT, || self.host.is_idle()).await {
            self.fail("a command over REST has no answer");
        }
        for document in DOCUMENTS {
            self.agree(document).await;
        }
        self.look_for_acknowledged().await;
        for document in DOCUMENTS {
            self.see_each_other(document).await;
        }
        self.look_at_projected(true).await;
        self.all_leave().await;
        self.restart_at_the_end().await;
        for editor in self.clients.iter().map(|client| &client.editor).chain(&self.watchers) {
            self.report.failures.extend(editor.trouble());
            editor.vanish();
        }
        self.host.leave();
        if self.was_full {
            // Without room a document may fail to open; its clients come back until there is room.
            self.report.failures.retain(|failure| !failure.contains(" 1011 "));
        }
        let said = self.server.said();
        if said.contains("panicked") {
            self.fail("the server panicked");
        }
        if !self.report.failures.is_empty() {
            let from = said.char_indices().rev().nth(4000).map_or(0, |(at, _)| at);
            self.report.said = said[from..].to_owned();
        }
    }

    fn editors(&self, document: &str) -> Vec<Rc<Editor>> {
        let clients = self.clients.iter().map(|client| client.editor.clone());
        clients.filter(|editor| editor.document == document).collect()
    }

    /// All clients and somebody new have the same document, and everything is acknowledged.
    async fn agree(&mut self, document: &str) {
        let editors = self.editors(document);
        let newcomer = self.newcomer(document);
        let agreed = || {
            newcomer.is_synced()
                && editors.iter().all(|editor| editor.is_settled())
                && editors.iter().all(|editor| is_same(&editor.snapshot(), &newcomer.snapshot()))
        };
        if !until(AGREEMENT, agreed).await {
            let describe = |editor: &Rc<Editor>| {
                let (text, map) = editor.content();
                format!(
                    "{} settled {}, {} characters, map {map}",
                    editor.name(),
                    editor.is_settled(),
                    text.chars().count()
                )
            };
            let all: Vec<_> = editors.iter().chain([&newcomer]).map(describe).collect();
            self.fail(format!("no convergence of {document}: {}", all.join("; ")));
        } else if let Some(other) = editors.iter().find(|editor| editor.content() != newcomer.content()) {
            self.fail(format!("{} has the same elements of {document} and other content", other.name()));
        }
        self.report.failures.extend(newcomer.trouble());
        newcomer.vanish();
    }

    /// How long presence may take to be right.
    fn patience(&self) -> Duration {
        let has_half_open = self.clients.iter().any(|client| client.proxy.half_open() > 0);
        if has_half_open { EXPIRY } else { PRESENCE }
    }

    /// Everybody, somebody new included, sees exactly those who are here, where they last said they are.
    async fn see_each_other(&mut self, document: &str) {
        let editors = self.editors(document);
        let newcomer = self.newcomer(document);
        let expected: BTreeMap<u64, u64> = editors.iter().filter_map(|editor| editor.presence().own()).collect();
        let (start, mut renewed) = (Instant::now(), Instant::now());
        let everybody = || editors.iter().chain([&newcomer]);
        while everybody().any(|editor| editor.presence().seen() != expected) {
            if start.elapsed() > self.patience() {
                let seen: Vec<_> =
                    everybody().map(|e| format!("{} sees {:?}", e.name(), e.presence().seen())).collect();
                self.fail(format!("presence in {document}: expected {expected:?}; {}", seen.join("; ")));
                break;
            }
            if renewed.elapsed() > RENEWAL {
                renewed = Instant::now();
                editors.iter().for_each(|editor| editor.renew());
            }
            tokio::time::sleep(LOOK).await;
        }
        newcomer.vanish();
    }

    /// When all have left, half of them without a word, nobody is seen.
    async fn all_leave(&mut self) {
        let watching: Vec<_> = DOCUMENTS.iter().map(|document| self.newcomer(document)).collect();
        if !until(AGREEMENT, || watching.iter().all(|newcomer| newcomer.is_synced())).await {
            self.fail("a document cannot be opened");
        }
        for (number, client) in self.clients.iter().enumerate() {
            if number % 2 == 0 {
                client.editor.vanish();
            } else {
                client.editor.leave().await;
            }
        }
        if !until(self.patience(), || watching.iter().all(|newcomer| newcomer.presence().seen().is_empty())).await {
            let ghosts: Vec<_> = watching.iter().map(|newcomer| newcomer.presence().seen()).collect();
            self.fail(format!("GHOSTS: all have left, and somebody sees {ghosts:?}"));
        }
        let new: Vec<_> = DOCUMENTS.iter().map(|document| self.newcomer(document)).collect();
        let synced = until(AGREEMENT, || new.iter().all(|newcomer| newcomer.is_synced())).await;
        if !synced || new.iter().any(|newcomer| !newcomer.presence().seen().is_empty()) {
            self.fail("GHOSTS: all have left, and somebody new sees them");
        }
        watching.iter().chain(&new).for_each(|newcomer| newcomer.vanish());
    }

    /// After a kill and a start there is what there was, and then the server stops when it is asked to.
    async fn restart_at_the_end(&mut self) {
        self.server.kill();
        self.went_down().await;
        self.come_back().await;
        if let Err(error) = self.server.stop().await {
            self.fail(format!("{error:#}"));
        }
    }
}

fn as_map(value: Value) -> BTreeMap<String, Value> {
    match value {
        Value::Object(entries) => entries.into_iter().collect(),
        _ => BTreeMap::new(),
    }
}

/// Waits until a condition holds. False if it takes too long.
async fn until(patience: Duration, condition: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while !condition() {
        if start.elapsed() > patience {
            return false;
        }
        tokio::time::sleep(LOOK).await;
    }
    true
}
