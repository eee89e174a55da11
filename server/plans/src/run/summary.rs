//! What clients see of a run, in REST and in the projected `runs` document alike.
//!
//! A plain serde type: the gateway describes it to OpenAPI. It carries nothing that is not in [`Run`].

use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::ids::{PrincipalId, RuleId, RunId};
use serde::{Deserialize, Serialize};

use super::{Run, RunState};
use crate::ports::Exit;
use crate::trigger::TriggerKey;

/// What made a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// A rule fired because text changed.
    Text,
    /// Somebody pressed "Run now".
    Intent,
    /// The room got a new sandbox, which its `devcontainer.json` says how to set up.
    Sandbox,
}

/// A run as it is shown. Times are Unix milliseconds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RunSummary {
    pub id: RunId,
    pub rule: RuleId,
    pub rule_name: String,
    pub skill: String,
    pub trigger: Trigger,
    pub state: RunState,
    /// The command line, once known.
    pub command: Option<String>,
    pub requested_by: PrincipalId,
    pub requested_by_name: String,
    pub queued_at: UnixMillis,
    pub started_at: Option<UnixMillis>,
    pub finished_at: Option<UnixMillis>,
    /// Only when the program ended by itself.
    pub exit_code: Option<i32>,
    /// A sentence: why it ended as it did, what to do.
    pub message: Option<String>,
    pub content_hash: Option<String>,
    /// The id of the image that it ran in, once it has ended.
    pub image: Option<String>,
    pub rev: u64,
}

impl Run {
    /// What clients see of this run.
    pub fn summary(&self) -> RunSummary {
        let step = self.step();
        RunSummary {
            id: self.id.clone(),
            rule: self.rule.clone(),
            rule_name: self.rule_name.clone(),
            skill: self.skill.clone(),
            trigger: match self.trigger_key {
                TriggerKey::Text(_) => Trigger::Text,
                TriggerKey::Intent(_) => Trigger::Intent,
                TriggerKey::Sandbox(_) => Trigger::Sandbox,
            },
            state: self.state,
            command: step.command.clone(),
            requested_by: self.requested_by.clone(),
            requested_by_name: self.requested_by_name.clone(),
            queued_at: self.queued_at,
            started_at: self.started_at,
            finished_at: self.finished_at,
            exit_code: match step.exit {
                Some(Exit::Code(code)) => Some(code),
                _ => None,
            },
            message: self.message.clone(),
            content_hash: self.content_hash.clone(),
            image: self.image.clone(),
            rev: self.rev,
        }
    }
}
