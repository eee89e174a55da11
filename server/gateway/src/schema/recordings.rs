//! Recordings of terminals, as REST shows them.

use buildspaces_media::recordings as calls;
use buildspaces_plans::recording::{self, Setting};
use buildspaces_plans::recordings::{Kept, MAX_RECORDED, MAX_RECORDINGS};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What holds for all terminals of a room.
#[derive(Serialize, ToSchema)]
pub(crate) struct TerminalSettings {
    /// What terminals show is kept.
    pub record: bool,
    /// Who turned that on, and when.
    pub set_by: Option<String>,
    pub set_by_name: Option<String>,
    pub set_at: Option<i64>,
    pub kept: KeptRecordings,
}

/// What the room has of recordings, of terminals or of calls. Once that is as much as it may be, no further one begins, and no terminal that is to be
/// recorded is opened; nothing is deleted.
#[derive(Serialize, ToSchema)]
pub(crate) struct KeptRecordings {
    pub recordings: u64,
    pub most_recordings: u64,
    pub bytes: u64,
    pub most_bytes: u64,
}

impl From<Kept> for KeptRecordings {
    fn from(kept: Kept) -> Self {
        let Kept { recordings, bytes } = kept;
        Self { recordings, most_recordings: MAX_RECORDINGS, bytes, most_bytes: MAX_RECORDED }
    }
}

impl From<calls::Kept> for KeptRecordings {
    fn from(kept: calls::Kept) -> Self {
        let calls::Kept { recordings, bytes, most_bytes } = kept;
        Self { recordings, most_recordings: calls::MAX_RECORDINGS, bytes, most_bytes }
    }
}

impl TerminalSettings {
    pub(crate) fn new(setting: Option<Setting>, kept: Kept) -> Self {
        Self {
            record: setting.is_some(),
            set_at: setting.as_ref().map(|setting| setting.since),
            set_by: setting.as_ref().map(|setting| setting.by.to_string()),
            set_by_name: setting.map(|setting| setting.by_name),
            kept: kept.into(),
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTerminalSettings {
    /// Whether what terminals show is kept from now on, also of those that are open.
    pub record: bool,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RecordingState {
    /// It goes on.
    Recording,
    /// The terminal ended.
    Complete,
    /// Recording was turned off.
    Stopped,
    /// It came to its largest size.
    TooLarge,
    /// The server's disk was full.
    DiskFull,
    /// The server could not write it.
    Failed,
    /// The server was stopped or killed.
    Interrupted,
}

impl From<recording::State> for RecordingState {
    fn from(state: recording::State) -> Self {
        match state {
            recording::State::Recording => Self::Recording,
            recording::State::Complete => Self::Complete,
            recording::State::Stopped => Self::Stopped,
            recording::State::TooLarge => Self::TooLarge,
            recording::State::DiskFull => Self::DiskFull,
            recording::State::Failed => Self::Failed,
            recording::State::Interrupted => Self::Interrupted,
        }
    }
}

/// What a terminal showed, from a moment on.
#[derive(Serialize, ToSchema)]
pub(crate) struct Recording {
    pub id: String,
    pub terminal: String,
    /// The terminal's.
    pub number: u32,
    /// Who opened the terminal.
    pub opened_by: String,
    pub opened_by_name: String,
    pub started_at: i64,
    pub ended_at: Option<i64>,
    /// Milliseconds from its beginning to the last that was shown.
    pub duration: u64,
    pub bytes: u64,
    pub state: RecordingState,
    /// A sentence: why it ended before its terminal did.
    pub message: Option<String>,
}

impl From<recording::Recording> for Recording {
    fn from(recording: recording::Recording) -> Self {
        Self {
            id: recording.id.to_string(),
            terminal: recording.terminal.to_string(),
            number: recording.number,
            opened_by: recording.opened_by.to_string(),
            opened_by_name: recording.opened_by_name,
            started_at: recording.started_at,
            ended_at: recording.ended_at,
            duration: recording.duration,
            bytes: recording.bytes,
            state: recording.state.into(),
            message: recording.state.message().map(str::to_owned),
        }
    }
}
