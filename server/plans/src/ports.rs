//! What plans need from outside: a durable store for runs and sandboxes to run steps in.
//! Both have an in-memory implementation for tests and a real one (`storage`, `sandbox`).

use std::time::Duration;

use async_trait::async_trait;
use buildspaces_kernel::ids::{RoomId, RuleId, RunId};
use buildspaces_kernel::UnixMillis;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

use crate::run::Run;
use crate::rule::Rule;

/// A store's answer was an error. The cause is in the text, for the log.
#[derive(Debug, thiserror::Error)]
#[error("run store: {0}")]
pub struct StoreError(pub String);

/// Rows of rules, runs and their steps. Every method is one transaction and durable on return.
#[async_trait]
pub trait RunStore: Send + Sync + 'static {
    async fn rules(&self, room: &RoomId) -> Result<Vec<Rule>, StoreError>;
    /// Remembers since when a rule's files have been dirty, so that a crash does not forget it; `None` clears it.
    async fn set_dirty(&self, room: &RoomId, rule: &RuleId, since: Option<UnixMillis>) -> Result<(), StoreError>;
    /// Rules with `dirty_since` set, over all rooms: what a restart must look at.
    async fn dirty(&self) -> Result<Vec<(RoomId, RuleId)>, StoreError>;
    /// Inserts a queued run; `false` if its (room, rule, trigger key) is there already.
    async fn insert(&self, run: &Run) -> Result<bool, StoreError>;
    /// Writes `run` if the stored revision is `run.rev - 1`; `false` if it is not (somebody else was
    /// first) or if the new trigger key is already taken by another run of the rule.
    async fn update(&self, run: &Run) -> Result<bool, StoreError>;
    async fn run(&self, room: &RoomId, run: &RunId) -> Result<Option<Run>, StoreError>;
    /// Newest first.
    async fn runs(&self, room: &RoomId, limit: u32) -> Result<Vec<Run>, StoreError>;
    /// Runs that are queued or running, over all rooms, oldest first: what a restart must look at.
    async fn unfinished(&self) -> Result<Vec<Run>, StoreError>;
    /// Appends to the run's full log, which is capped (the store drops what is over the cap and says so at the end).
    async fn append_log(&self, run: &RunId, bytes: &[u8]) -> Result<(), StoreError>;
    async fn log(&self, run: &RunId) -> Result<Vec<u8>, StoreError>;
}

/// Whether steps can run at all, in words people read.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Availability {
    Ready,
    /// `message` says what is off, `hint` how to turn it on.
    Off { message: String, hint: String },
}

/// Why a sandbox could not do what was asked. The texts are shown to people in the room.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SandboxError {
    #[error("runs are off: {message}")]
    Off { message: String, hint: String },
    /// The engine or the container failed; trying again later may help.
    #[error("{0}")]
    Failed(String),
}

/// One command to run in the workspace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StepSpec {
    /// Stable over attempts; the sandbox never starts a second process for the same key.
    pub key: String,
    /// Program and arguments; the first is looked up in the sandbox's PATH.
    pub argv: Vec<String>,
    pub timeout: Duration,
}

/// How a step ended, as the agent in the sandbox saw it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    Code(i32),
    Signal(i32),
    TimedOut,
    Cancelled,
    /// The program could not be started; the reason.
    NotStarted(String),
    /// Out of memory: the kernel killed it.
    OutOfMemory,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StepEvent {
    /// stdout and stderr as they came, in order of arrival.
    Output(Bytes),
    Exited(Exit),
    /// The sandbox is gone and nobody will ever know how the step ended; the reason.
    Lost(String),
}

/// A step under way. Dropping it does not stop the step.
#[derive(Debug)]
pub struct Step {
    /// Ends with exactly one `Exited` or `Lost`.
    pub events: mpsc::Receiver<StepEvent>,
    /// Send `()` to cancel: SIGTERM to the process group, SIGKILL 5 s later.
    pub cancel: mpsc::Sender<()>,
}

/// Phases of a sandbox's start, shown in the room while people wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// No container; the next run starts one.
    Idle,
    CreatingContainer,
    Connecting,
    Ready,
}

/// The workspaces and containers of rooms.
#[async_trait]
pub trait Sandboxes: Send + Sync + 'static {
    fn availability(&self) -> watch::Receiver<Availability>;
    /// Makes the room's workspace hold exactly the documents' present text, and keeps later edits
    /// out of it until the returned guard is dropped (they are written then). Returns each text
    /// file's path and the SHA-256 of its content, by path.
    async fn freeze(&self, room: &RoomId) -> Result<Frozen, SandboxError>;
    /// Starts the container if there is none, then the step.
    async fn start(&self, room: &RoomId, step: StepSpec, phase: watch::Sender<Phase>) -> Result<Step, SandboxError>;
    /// After a restart of the server: the step under way (or ended) under `key`, if its container is
    /// still there. Output that was not seen before is replayed as far as it is kept.
    async fn resume(&self, room: &RoomId, key: &str) -> Result<Option<Step>, SandboxError>;
    /// Looks at the workspace for what the step wrote, until documents and tree show it.
    async fn absorb(&self, room: &RoomId) -> Result<(), SandboxError>;
    /// Opens a file of the room's workspace for reading (never through a symbolic link).
    async fn open(&self, room: &RoomId, path: &str) -> Result<std::fs::File, SandboxError>;
}

/// A workspace held still for a run.
pub struct Frozen {
    pub files: Vec<(String, [u8; 32])>,
    /// Dropping it lets edits flow into the workspace again.
    pub guard: Box<dyn std::any::Any + Send + Sync>,
}
