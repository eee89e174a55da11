//! What plans need from outside: rooms to follow, a durable store for runs, and sandboxes to run steps in.
//!
//! Each has an in-memory implementation for tests (`memory`) and a real one (`rooms`, `storage`, `sandbox`).
//! No decision is taken here. Read [`RunStore`] together with `contract`, which says what every store must do.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::ids::{NodeId, RecordingId, RoomId, RuleId, RunId};
use buildspaces_policy::Principal;
use buildspaces_policy::tenancy::Tenancy;
use buildspaces_rooms::{RoomEvent, RunsMap};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{broadcast, mpsc, watch};

use crate::devcontainer::Devcontainer;
use crate::recording::{Recording, Setting};
use crate::rule::Rule;
use crate::run::Run;
use crate::secret::{Secret, SecretName, StepHeader, StepSecrets};

mod progress;

pub use progress::{Done, Phase, Progress, Start};

/// A store's answer was an error. The cause is in the text, for the log.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing is broken: the same works once there is space.
    #[error("run store: no space is left: {0}")]
    Full(String),
    #[error("run store: {0}")]
    Failed(String),
}

/// A repository that a room asked for from elsewhere and that has not arrived.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fetch {
    pub url: String,
    /// Why it will not, a sentence; `None` while it is on its way.
    pub failure: Option<String>,
}

/// Rows of rules, runs and their steps, and of repositories that are fetched. Every method is one transaction and durable on return.
#[async_trait]
pub trait RunStore: Send + Sync + 'static {
    /// The room's rules in the order in which they were inserted.
    async fn rules(&self, room: &RoomId) -> Result<Vec<Rule>, StoreError>;
    /// Inserts the rule, or replaces the one that has its id.
    async fn insert_rule(&self, rule: &Rule) -> Result<(), StoreError>;
    /// Remembers since when a rule's files have been dirty, so that a crash does not forget it; `None` clears it.
    async fn set_dirty(&self, room: &RoomId, rule: &RuleId, since: Option<UnixMillis>) -> Result<(), StoreError>;
    /// Rules with `dirty_since` set, over all rooms: what a restart must look at.
    async fn dirty(&self) -> Result<Vec<(RoomId, RuleId)>, StoreError>;
    /// Inserts a queued run; `false` if a run of the rule holds its trigger key
    /// (see [`crate::run::RunState::holds_key`]). Then `replaced`, the run that makes way for it, is left as it is; else it is
    /// written as [`RunStore::update`] would. Finished runs beyond the newest [`KEPT_RUNS`] of the room are deleted.
    async fn insert(&self, run: &Run, replaced: Option<&Run>) -> Result<bool, StoreError>;
    /// Writes `run` and its steps if the stored revision is `run.rev - 1`; `false` if it is not (somebody
    /// else was first) or if the new trigger key is held by another run of the rule.
    async fn update(&self, run: &Run) -> Result<bool, StoreError>;
    async fn run(&self, room: &RoomId, run: &RunId) -> Result<Option<Run>, StoreError>;
    /// Newest first.
    async fn runs(&self, room: &RoomId, limit: u32) -> Result<Vec<Run>, StoreError>;
    /// Runs that are queued or running, over all rooms, oldest first: what a restart must look at.
    async fn unfinished(&self) -> Result<Vec<Run>, StoreError>;
    /// Appends to the run's full log, which is capped: see [`crate::log::admit`]. `seen` is how much of the step's own output that and what was
    /// appended before stand for; it need not be the log's length.
    async fn append_log(&self, run: &RunId, bytes: &[u8], seen: u64) -> Result<(), StoreError>;
    async fn log(&self, run: &RunId) -> Result<Vec<u8>, StoreError>;
    /// The `seen` of the last [`RunStore::append_log`]; 0 if there was none.
    async fn seen(&self, run: &RunId) -> Result<u64, StoreError>;
    /// Remembers how the room's fetching of a repository stands; `None`: of none there is anything to say.
    async fn set_fetch(&self, room: &RoomId, fetch: Option<&Fetch>) -> Result<(), StoreError>;
    /// Of all rooms, in any order.
    async fn fetches(&self) -> Result<Vec<(RoomId, Fetch)>, StoreError>;
}

/// A secret as it is stored: its value only as [`crate::secret::Key`] sealed it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredSecret {
    pub secret: Secret,
    pub sealed: Vec<u8>,
}

/// Rows of secrets. Every method is one transaction and durable on return.
#[async_trait]
pub trait SecretStore: Send + Sync + 'static {
    /// The room's secrets by name.
    async fn secrets(&self, room: &RoomId) -> Result<Vec<StoredSecret>, StoreError>;
    /// Inserts the secret, or replaces the one of its name with all that is known of it. True if there was none.
    async fn put_secret(&self, room: &RoomId, secret: &StoredSecret) -> Result<bool, StoreError>;
    /// False if there is none.
    async fn delete_secret(&self, room: &RoomId, name: &SecretName) -> Result<bool, StoreError>;
    /// A step was given these. Names that are not there are passed over.
    async fn secrets_used(&self, room: &RoomId, names: &[SecretName], at: UnixMillis) -> Result<(), StoreError>;
}

/// Rows of recordings of terminals, and of rooms in which they are made. Every method is one transaction and durable on return.
#[async_trait]
pub trait RecordingStore: Send + Sync + 'static {
    /// `None`: terminals of the room are not recorded.
    async fn recording_setting(&self, room: &RoomId) -> Result<Option<Setting>, StoreError>;
    async fn set_recording(&self, room: &RoomId, setting: Option<&Setting>) -> Result<(), StoreError>;
    /// Adds a recording with its first lines. None makes way for it: they go by [`RecordingStore::delete_recording`] alone.
    async fn insert_recording(&self, recording: &Recording, lines: &[u8]) -> Result<(), StoreError>;
    /// Adds lines, after which it lasts `duration` milliseconds. False if there is no such recording.
    async fn append_recording(&self, id: &RecordingId, lines: &[u8], duration: u64) -> Result<bool, StoreError>;
    /// Takes over the recording's `state` and `ended_at`.
    async fn end_recording(&self, recording: &Recording) -> Result<(), StoreError>;
    /// Those that have not ended are interrupted, at the end of what was written of them.
    async fn interrupt_recordings(&self) -> Result<(), StoreError>;
    /// Newest first.
    async fn recordings(&self, room: &RoomId) -> Result<Vec<Recording>, StoreError>;
    async fn recording(&self, room: &RoomId, id: &RecordingId) -> Result<Option<Recording>, StoreError>;
    /// What was added by one call, if that began at byte `from`; else nothing.
    async fn recording_piece(&self, id: &RecordingId, from: u64) -> Result<Vec<u8>, StoreError>;
    /// False if there is none.
    async fn delete_recording(&self, room: &RoomId, id: &RecordingId) -> Result<bool, StoreError>;
}

/// Runs a room keeps. When there are more, the oldest finished ones go, with their logs and trigger keys.
pub const KEPT_RUNS: u32 = 200;

/// Rooms as the engine sees them.
#[async_trait]
pub trait RoomViews: Send + Sync + 'static {
    /// Opens the room if need be.
    async fn room(&self, room: &RoomId) -> Result<Arc<dyn RoomView>, buildspaces_rooms::Error>;
}

/// One open room as the engine sees it.
#[async_trait]
pub trait RoomView: Send + Sync + 'static {
    /// Path and node of every text file, by path.
    fn text_files(&self) -> Vec<(String, NodeId)>;
    /// Changes from now on.
    fn events(&self) -> broadcast::Receiver<RoomEvent>;
    /// The text of a text file, now. It holds every change whose event has been received.
    async fn text(&self, node: &NodeId) -> Result<String, buildspaces_rooms::Error>;
    /// The people and agents whose edits make the difference between the file's text as it was at `since` and as it is now.
    async fn editors(&self, node: &NodeId, since: UnixMillis) -> Result<Vec<Principal>, buildspaces_rooms::Error>;
    /// Sets (`Some`) and removes (`None`) keys of a map of the projected `runs` document; durable when it returns.
    async fn project_runs(
        &self,
        map: RunsMap,
        entries: Vec<(String, Option<serde_json::Value>)>,
    ) -> Result<(), buildspaces_rooms::Error>;
}

/// Whether steps can run at all, in words people read.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Availability {
    Ready,
    /// `message` says what is off, `hint` how to turn it on.
    Off {
        message: String,
        hint: String,
    },
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
    /// The longest it may take, if that is to be shorter than what the room's sandbox allows.
    pub timeout: Option<Duration>,
    /// What only this step gets: never in its arguments, nor in its container's settings.
    pub secrets: StepSecrets,
    /// The only sandbox it may run in, named as [`Made::sandbox`] is; `None`: whichever the room has then.
    pub sandbox: Option<String>,
}

/// Why a step does not start that names a sandbox which the room has no more.
pub const SANDBOX_ENDED: &str = "it ended before this could begin, and the next one is set up anew";

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
    /// It came to one of the limits for steps and sandboxes, and ended by that; a sentence that names it.
    OverLimit(String),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StepEvent {
    /// stdout and stderr as they came, in order of arrival.
    Output(Bytes),
    /// So many bytes of it were too many to keep while the server could not read them.
    Dropped(u64),
    Exited(Exit),
    /// The sandbox is gone and nobody will ever know how the step ended; the reason.
    Lost(String),
}

/// A step under way. Dropping it does not stop the step.
#[derive(Debug)]
pub struct Step {
    /// The id of the image that its container was made from, where that is known.
    pub image: Option<String>,
    pub limit: TimeLimit,
    /// Ends with exactly one `Exited` or `Lost`.
    pub events: mpsc::Receiver<StepEvent>,
    /// Send `()` to cancel: SIGTERM to the process group, SIGKILL 5 s later.
    pub cancel: mpsc::Sender<()>,
}

/// How long a step may take before it is stopped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TimeLimit {
    pub most: Duration,
    /// The key of the configuration that says so.
    pub key: String,
}

/// What a terminal has room for, in characters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Size {
    pub rows: u16,
    pub cols: u16,
}

/// A shell to start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TerminalSpec {
    /// The sandbox never starts a second shell for the same key.
    pub key: String,
    pub size: Size,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TerminalEvent {
    /// What is to be shown, as it came.
    Output(Bytes),
    /// So many bytes were too many to keep while the sandbox could not be reached.
    Dropped(u64),
    /// The last event: the shell has ended and everything in the terminal with it; or the sandbox is gone.
    Ended(TerminalEnd),
}

/// How a terminal ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TerminalEnd {
    /// With the shell's exit code; above 128 for a signal.
    Exited(i32),
    /// By [`TerminalCommand::Close`].
    Closed,
    /// The sandbox is gone; a sentence.
    Lost(String),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TerminalCommand {
    /// Typed, up to [`MAX_TYPED`] bytes.
    Input(Bytes),
    Resize(Size),
    /// Kill everything in the terminal.
    Close,
}

/// Most bytes of one [`TerminalCommand::Input`].
pub const MAX_TYPED: usize = 16 << 10;

/// A terminal under way. When both ends are dropped, the terminal is closed.
#[derive(Debug)]
pub struct TerminalLine {
    /// Ends with exactly one `Ended`. Whoever does not read slows the programs in the terminal.
    pub events: mpsc::Receiver<TerminalEvent>,
    /// Full while the programs read nothing.
    pub commands: mpsc::Sender<TerminalCommand>,
}

/// A short program to run in the workspace beside steps and terminals, for what it prints.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommandSpec {
    /// Program and arguments; the first is looked up in the sandbox's PATH.
    pub argv: Vec<String>,
    /// Added to what steps have.
    pub env: Vec<(String, String)>,
    /// When it is ended.
    pub timeout: Duration,
    /// Bytes that it may print; one that prints more is ended.
    pub max_output: usize,
    /// What the proxy puts into requests while it runs.
    pub headers: Vec<StepHeader>,
}

/// How a command ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CommandEnd {
    /// Above 128 for a signal; 127 if there is no such program.
    Exited(i32),
    TimedOut,
    /// It printed more than it may.
    Cut,
}

/// What a command did. All of it is a stranger's word.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommandOutput {
    pub end: CommandEnd,
    /// The first of what it printed.
    pub output: Vec<u8>,
    /// The end of what it wrote to its standard error; nothing if it was ended early.
    pub errors: String,
}

/// A connection to a program in a sandbox: what is written arrives there. Dropping it hangs up.
pub trait Tunnel: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Tunnel for T {}

/// Why there is no connection to a program.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotConnected {
    #[error("the room's sandbox does not run")]
    NoSandbox,
    /// Nobody accepts connections on that port; the sandbox's reason.
    #[error("{0}")]
    Refused(String),
    /// There are as many as there may be, and none became free in time.
    #[error("there are too many connections to this sandbox; try again in a moment")]
    TooMany,
    #[error("the sandbox did not answer in time; try again in a moment")]
    Slow,
}

/// By what a room's sandbox was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Made {
    /// The sandbox, by an id that no other ever has.
    pub sandbox: String,
    pub devcontainer: Devcontainer,
}

/// The workspaces and containers of rooms.
#[async_trait]
pub trait Sandboxes: Send + Sync + 'static {
    fn availability(&self) -> watch::Receiver<Availability>;
    /// Makes the room's workspace hold exactly the documents' present text, and keeps later edits
    /// out of it until the returned guard is dropped (they are written then). Returns each text
    /// file's path and the SHA-256 of its content, by path.
    async fn freeze(&self, room: &RoomId) -> Result<Frozen, SandboxError>;
    /// The room's sandbox, if its workspace says what is to run there before anything else ([`Devcontainer::setup`]); it is started if there is
    /// none. `None` if nothing is: then nothing was started either. Whether that did run already is not known here.
    async fn prepare(&self, room: &RoomId, progress: Progress) -> Result<Option<Arc<Made>>, SandboxError>;
    /// By what the room's sandbox was made; `None` without one, and where the workspace had no `devcontainer.json` then.
    fn made(&self, room: &RoomId) -> watch::Receiver<Option<Arc<Made>>>;
    /// Starts the container if there is none, then the step. `progress` may be kept and told of later
    /// phases too, such as `Idle` when the container is stopped. A step that names its sandbox starts in that one or not at all
    /// ([`SANDBOX_ENDED`]), and no container is made for it.
    async fn start(&self, room: &RoomId, step: StepSpec, progress: Progress) -> Result<Step, SandboxError>;
    /// After a restart of the server: the step under way (or ended) under `key`, if its container is
    /// still there. Output is replayed from byte `seen` of the step's whole output on, as far as it is kept. Of `secrets` the proxy gets its
    /// headers again; the step itself has what it had.
    async fn resume(
        &self,
        room: &RoomId,
        key: &str,
        seen: u64,
        secrets: StepSecrets,
    ) -> Result<Option<Step>, SandboxError>;
    /// Looks at the workspace for what the step wrote, until documents and tree show it.
    async fn absorb(&self, room: &RoomId) -> Result<(), SandboxError>;
    /// Starts the container if there is none, then a shell in a terminal of its own. Cancel-safe: the terminal of a caller
    /// that went away is closed.
    async fn open_terminal(
        &self,
        room: &RoomId,
        terminal: TerminalSpec,
        progress: Progress,
    ) -> Result<TerminalLine, SandboxError>;
    /// Starts the container if there is none, then the command, and waits for its end, after which no process of it is left. It does not
    /// keep the sandbox from being idle. If the caller goes away, it is carried out all the same.
    async fn command(&self, room: &RoomId, command: CommandSpec) -> Result<CommandOutput, SandboxError>;
    /// TCP ports on which programs in the room's sandbox accept connections, in ascending order; none without a sandbox. It
    /// changes at most a few times a second.
    fn ports(&self, room: &RoomId) -> watch::Receiver<Arc<[u16]>>;
    /// Connects to a program on the loopback address of the room's sandbox. It never starts one. Cancel-safe.
    async fn connect(&self, room: &RoomId, port: u16) -> Result<Box<dyn Tunnel>, NotConnected>;
    /// Somebody has just used what runs in the room's sandbox, which is then not idle.
    fn touch(&self, room: &RoomId);
    /// Ends the room's sandbox and whatever runs in it; false if there is none. The next step or terminal gets a new one, on the same
    /// workspace. `reason` is what its step and its terminals say then.
    async fn dispose(&self, room: &RoomId, reason: &str) -> bool;
    /// Puts files into the room's workspace, where there is nothing of their names, and returns when documents and tree show them; the paths
    /// of those whose names were taken. It needs no container.
    async fn fill(&self, room: &RoomId, files: Vec<NewFile>) -> Result<Vec<String>, SandboxError>;
    /// Whether `more` bytes of files fit into a room that is or will be of that tenancy, with what all of its organisation's take now; a sentence
    /// that names the ceiling if not.
    fn check_disk(&self, tenancy: &Tenancy, more: u64) -> Result<(), SandboxError>;
    /// What is in a folder of the room's workspace and is no node, or, of `None`, in all folders that are nodes: the first `most`, folders
    /// first, and how many there are besides. It needs no container.
    async fn unshared(
        &self,
        room: &RoomId,
        folder: Option<&str>,
        most: usize,
    ) -> Result<(Vec<Unshared>, u64), SandboxError>;
    /// Opens a file of the room's workspace for reading (never through a symbolic link).
    async fn open(&self, room: &RoomId, path: &str) -> Result<std::fs::File, SandboxError>;
}

/// A file or folder of a workspace that is no node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unshared {
    /// From the workspace's root.
    pub path: String,
    pub is_folder: bool,
    /// Bytes; 0 of a folder.
    pub size: u64,
}

/// A file to put into a workspace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewFile {
    /// From the workspace's root; its parts are names of folders, and the last one its own.
    pub path: String,
    pub bytes: Vec<u8>,
    pub executable: bool,
}

/// A workspace held still for a run.
pub struct Frozen {
    pub files: Vec<(String, [u8; 32])>,
    /// Dropping it lets edits flow into the workspace again.
    pub guard: Box<dyn std::any::Any + Send + Sync>,
}
