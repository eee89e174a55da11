//! (being written)
use buildspaces_kernel::ids::{PrincipalId, RoomId, RuleId, RunId};
use buildspaces_kernel::UnixMillis;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    Queued,
    Running,
    /// Exit code 0.
    Passed,
    /// Another exit code, a signal, a time-out, out of memory.
    Failed,
    Cancelled,
    /// The server or the sandbox went away and the result is not known.
    Interrupted,
    /// It could not be started: no engine, no test to run.
    Error,
    /// The same text has been run, or newer text is queued.
    Superseded,
}

/// One execution of a rule's plan. (The first version of a plan has one step, so the step's facts stand here.)
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Run {
    pub id: RunId,
    pub room: RoomId,
    pub rule: RuleId,
    /// `text:<hash>` for a rule that fired by itself, `intent:<id>` for "Run now".
    pub trigger_key: String,
    /// Hash over paths and contents of what was run; set at start.
    pub content_hash: Option<String>,
    pub state: RunState,
    pub skill: String,
    /// The command line, once known.
    pub command: Option<String>,
    /// Who asked: a person's id and name for "Run now", or who typed last.
    pub requested_by: PrincipalId,
    pub requested_by_name: String,
    pub queued_at: UnixMillis,
    pub started_at: Option<UnixMillis>,
    pub finished_at: Option<UnixMillis>,
    pub exit_code: Option<i32>,
    /// A sentence for people: why it failed, what to do.
    pub message: Option<String>,
    /// Rises by one with each transition.
    pub rev: u64,
}
