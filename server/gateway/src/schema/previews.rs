//! Previews in JSON.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What to look at.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPreview {
    /// A TCP port on which a program in the room's sandbox listens.
    pub port: u16,
    /// What to begin with, such as `/docs?page=2`; `/` if left out.
    pub path: Option<String>,
}

/// The way there.
#[derive(Serialize, ToSchema)]
pub(crate) struct Preview {
    /// Works once, within a minute, in one browser.
    pub url: String,
}
