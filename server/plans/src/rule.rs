//! (being written)
use buildspaces_kernel::ids::{RoomId, RuleId};
use serde::{Deserialize, Serialize};

/// When files that match change, run a skill.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rule {
    pub id: RuleId,
    pub room: RoomId,
    pub name: String,
    /// Paths from the workspace's root, `**/*.py`; any match counts.
    pub globs: Vec<String>,
    pub skill: String,
    pub enabled: bool,
}
