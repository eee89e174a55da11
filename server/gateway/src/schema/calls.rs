//! What holds for a room's calls, as REST shows it.

use buildspaces_media::encryption::Encryption;
use buildspaces_media::recordings::Kept;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::recordings::KeptRecordings;

/// What holds for all calls of a room.
#[derive(Serialize, ToSchema)]
pub(crate) struct CallSettings {
    /// Pages encrypt what they send with a key that the server never has.
    pub encrypted: bool,
    /// Who turned that on, and when.
    pub set_by: Option<String>,
    pub set_by_name: Option<String>,
    pub set_at: Option<i64>,
    pub kept: KeptRecordings,
}

impl CallSettings {
    pub(crate) fn new(encryption: Option<Encryption>, kept: Kept) -> Self {
        Self {
            encrypted: encryption.is_some(),
            set_at: encryption.as_ref().map(|encryption| encryption.since),
            set_by: encryption.as_ref().map(|encryption| encryption.by.to_string()),
            set_by_name: encryption.map(|encryption| encryption.by_name),
            kept: kept.into(),
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewCallSettings {
    /// Whether calls are encrypted from now on; only while nobody is in one.
    pub encrypted: bool,
}
