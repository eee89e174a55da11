//! One execution of a rule's plan, as a pure state machine: a run and a transition in, the next run out.
//!
//! It stores nothing and starts nothing: the engine performs what a transition means and writes the new row under
//! the revision it was computed from. Start with [`Run::after`]; [`RunSummary`] is what clients see.

use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::ids::{RoomId, RuleId, RunId};
use buildspaces_policy::Principal;
use serde::{Deserialize, Serialize};

use crate::ports::Exit;
use crate::rule::Rule;
use crate::trigger::TriggerKey;

mod summary;

pub use summary::{RunSummary, Trigger};

/// Where a run stands. The first two are under way, the others final.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    Queued,
    Running,
    /// Exit code 0.
    Passed,
    /// Another exit code, a signal, a time-out, a limit.
    Failed,
    Cancelled,
    /// The server or the sandbox went away and the result is not known.
    Interrupted,
    /// It could not be started: no engine, no test to run.
    Error,
    /// The same text has been run, or newer text is queued.
    Superseded,
}

impl RunState {
    pub const ALL: [Self; 8] = [
        Self::Queued,
        Self::Running,
        Self::Passed,
        Self::Failed,
        Self::Cancelled,
        Self::Interrupted,
        Self::Error,
        Self::Superseded,
    ];

    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }

    /// Whether a run in this state keeps others with its trigger key from being inserted: it has given the
    /// text's result or is about to. A run that ended without a result frees its key, so the text can run again.
    pub fn holds_key(self) -> bool {
        matches!(self, Self::Queued | Self::Running | Self::Passed | Self::Failed)
    }

    /// The name that is stored and shown; the same as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
            Self::Error => "error",
            Self::Superseded => "superseded",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// One execution of a rule's plan.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Run {
    pub id: RunId,
    pub room: RoomId,
    pub rule: RuleId,
    /// The rule's name when the run was queued: a later rename does not rewrite history.
    pub rule_name: String,
    pub skill: String,
    pub trigger_key: TriggerKey,
    /// Hash over paths and contents of all text files that the run saw, in hexadecimal; set at start.
    pub content_hash: Option<String>,
    /// The id of the image that it ran in; set when it ends.
    pub image: Option<String>,
    pub state: RunState,
    /// Who asked for "Run now", or whose edit came last before the rule fired.
    pub requested_by: buildspaces_kernel::ids::PrincipalId,
    pub requested_by_name: String,
    pub queued_at: UnixMillis,
    pub started_at: Option<UnixMillis>,
    pub finished_at: Option<UnixMillis>,
    /// A sentence for people: why it ended as it did, what to do.
    pub message: Option<String>,
    /// Rises by one with each transition, from 1.
    pub rev: u64,
    /// The plan's steps in order. Plans have exactly one for now.
    pub steps: Vec<StepRecord>,
}

/// Where one step of a run stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    Pending,
    Running,
    Succeeded,
    Failed,
    Cancelled,
    /// It never started because its run ended first.
    Skipped,
    /// It was started and nobody knows how it ended.
    Unknown,
}

impl StepState {
    pub const ALL: [Self; 7] =
        [Self::Pending, Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled, Self::Skipped, Self::Unknown];

    /// The name that is stored; the same as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
            Self::Unknown => "unknown",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// One step of a run as it is stored.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StepRecord {
    /// Names the step within its run.
    pub id: String,
    /// Idempotency key, the same for every attempt: the sandbox never starts a second process for it.
    pub key: String,
    pub state: StepState,
    /// The command line as people read it, once known.
    pub command: Option<String>,
    pub argv: Vec<String>,
    pub exit: Option<Exit>,
    pub started_at: Option<UnixMillis>,
    pub finished_at: Option<UnixMillis>,
}

/// What happens to a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Transition {
    /// The workspace is frozen and the command known. The key is the final one, of the frozen files.
    Start { trigger_key: TriggerKey, content_hash: String, command: String, argv: Vec<String> },
    /// The step ended.
    Exited(Exit),
    /// Nobody will ever know how the step ended; the reason, a sentence.
    Interrupt(String),
    /// Somebody cancelled it; their name.
    Cancel { by: String },
    /// It could not be started; the reason, a sentence.
    Fail(String),
    /// Another run covers the same or newer text; the reason, a sentence.
    Supersede(String),
}

/// The transition does not exist in the run's state: somebody else was first.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a run that is {} cannot do this: {transition:?}", state.as_str())]
pub struct IllegalTransition {
    pub state: RunState,
    pub transition: Box<Transition>,
}

/// The id of the only step of today's plans.
const STEP_ID: &str = "test";

impl Run {
    /// A new queued run of `rule` with one pending step.
    pub fn queued(rule: &Rule, trigger_key: TriggerKey, by: &Principal, now: UnixMillis) -> Self {
        let id = RunId::random();
        let key = format!("{id}-{STEP_ID}");
        Self {
            id,
            room: rule.room.clone(),
            rule: rule.id.clone(),
            rule_name: rule.name.clone(),
            skill: rule.skill.clone(),
            trigger_key,
            content_hash: None,
            image: None,
            state: RunState::Queued,
            requested_by: by.id.clone(),
            requested_by_name: by.name.as_ref().to_owned(),
            queued_at: now,
            started_at: None,
            finished_at: None,
            message: None,
            rev: 1,
            steps: vec![StepRecord {
                id: STEP_ID.to_owned(),
                key,
                state: StepState::Pending,
                command: None,
                argv: Vec::new(),
                exit: None,
                started_at: None,
                finished_at: None,
            }],
        }
    }

    /// A new queued run of what the room's `devcontainer.json` wants done in a new sandbox, before any other run there.
    pub fn set_up(room: &RoomId, sandbox: &str, now: UnixMillis) -> Self {
        let rule = Rule {
            id: RuleId::parse("devcontainer").expect("an id"),
            room: room.clone(),
            name: "Set up the sandbox".to_owned(),
            globs: Vec::new(),
            skill: "devcontainer.setup".to_owned(),
            enabled: true,
            secrets: Vec::new(),
        };
        Self::queued(&rule, TriggerKey::Sandbox(sandbox.to_owned()), &Principal::system(), now)
    }

    /// Made by [`Run::set_up`].
    pub fn is_set_up(&self) -> bool {
        matches!(self.trigger_key, TriggerKey::Sandbox(_))
    }

    /// The only step of today's plans.
    pub fn step(&self) -> &StepRecord {
        self.steps.first().expect("a run has a step from its beginning")
    }

    /// The run after `transition`, its revision one higher.
    ///
    /// # Errors
    /// [`IllegalTransition`] when the run is not in a state where this can happen; `self` stays as it is.
    pub fn after(&self, transition: Transition, now: UnixMillis) -> Result<Self, IllegalTransition> {
        let exists = match transition {
            Transition::Start { .. } | Transition::Supersede(_) => self.state == RunState::Queued,
            Transition::Exited(_) | Transition::Interrupt(_) => self.state == RunState::Running,
            Transition::Fail(_) | Transition::Cancel { .. } => !self.state.is_final(),
        };
        if !exists {
            return Err(IllegalTransition { state: self.state, transition: Box::new(transition) });
        }
        let mut next = self.clone();
        next.rev += 1;
        match transition {
            Transition::Start { trigger_key, content_hash, command, argv } => {
                next.state = RunState::Running;
                next.trigger_key = trigger_key;
                next.content_hash = Some(content_hash);
                next.started_at = Some(now);
                let step = next.step_mut();
                step.state = StepState::Running;
                step.command = Some(command);
                step.argv = argv;
                step.started_at = Some(now);
            }
            Transition::Exited(exit) => {
                let (run, step, message) = outcome(&exit);
                next.step_mut().exit = Some(exit);
                next.finish(run, step, message, now);
            }
            Transition::Interrupt(reason) => {
                next.finish(RunState::Interrupted, StepState::Unknown, Some(reason), now);
            }
            Transition::Cancel { by } => {
                next.finish(RunState::Cancelled, StepState::Cancelled, Some(format!("Cancelled by {by}.")), now);
            }
            Transition::Fail(reason) => next.finish(RunState::Error, StepState::Failed, Some(reason), now),
            Transition::Supersede(reason) => {
                next.finish(RunState::Superseded, StepState::Skipped, Some(reason), now);
            }
        }
        Ok(next)
    }

    fn step_mut(&mut self) -> &mut StepRecord {
        self.steps.first_mut().expect("a run has a step from its beginning")
    }

    fn finish(&mut self, state: RunState, step: StepState, message: Option<String>, now: UnixMillis) {
        self.state = state;
        self.message = message;
        self.finished_at = Some(now);
        let record = self.step_mut();
        record.state = if record.started_at.is_none() { StepState::Skipped } else { step };
        record.finished_at = Some(now);
    }
}

/// What the end of a step means for its run: states, and a sentence where the exit code does not say it all.
fn outcome(exit: &Exit) -> (RunState, StepState, Option<String>) {
    let (run, step, message) = match exit {
        Exit::Code(0) => return (RunState::Passed, StepState::Succeeded, None),
        Exit::Code(_) => return (RunState::Failed, StepState::Failed, None),
        Exit::Signal(signal) => {
            (RunState::Failed, StepState::Failed, format!("The program was ended by signal {signal}."))
        }
        Exit::TimedOut => (
            RunState::Failed,
            StepState::Failed,
            "The program took too long and was stopped. Look for a test that waits for something.".to_owned(),
        ),
        Exit::OutOfMemory => (
            RunState::Failed,
            StepState::Failed,
            "The program used more memory than its sandbox has and was stopped.".to_owned(),
        ),
        Exit::OverLimit(reason) => (RunState::Failed, StepState::Failed, reason.clone()),
        Exit::Cancelled => (RunState::Cancelled, StepState::Cancelled, "Cancelled.".to_owned()),
        Exit::NotStarted(reason) => {
            (RunState::Error, StepState::Failed, format!("The program could not be started: {reason}"))
        }
    };
    (run, step, Some(message))
}

#[cfg(test)]
mod tests;
