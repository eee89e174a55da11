//! Recordings of calls, as REST shows them.

use buildspaces_media::recording;
use serde::Serialize;
use utoipa::ToSchema;

use super::media::Source;

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CallRecordingState {
    /// It goes on.
    Recording,
    /// The call ended.
    Complete,
    /// A moderator stopped it.
    Stopped,
    /// It came to its largest size.
    TooLarge,
    /// The room's recordings came to theirs.
    RoomFull,
    /// The server's disk was full.
    DiskFull,
    /// The server could not write it.
    Failed,
    /// The server was stopped or killed.
    Interrupted,
}

impl From<recording::State> for CallRecordingState {
    fn from(state: recording::State) -> Self {
        use recording::State as S;
        match state {
            S::Recording => Self::Recording,
            S::Complete => Self::Complete,
            S::Stopped => Self::Stopped,
            S::TooLarge => Self::TooLarge,
            S::RoomFull => Self::RoomFull,
            S::DiskFull => Self::DiskFull,
            S::Failed => Self::Failed,
            S::Interrupted => Self::Interrupted,
        }
    }
}

/// What was said and shown in a call, by those who agreed.
#[derive(Serialize, ToSchema)]
pub(crate) struct CallRecording {
    pub id: String,
    pub started_by: String,
    pub started_by_name: String,
    pub started_at: i64,
    pub ended_at: Option<i64>,
    /// Milliseconds from its beginning to the end of its last file.
    pub duration: u64,
    /// Of all its files.
    pub bytes: u64,
    pub state: CallRecordingState,
    /// A sentence: why it ended although nobody wanted that.
    pub message: Option<String>,
    /// In the order in which they begin.
    pub files: Vec<CallRecordingFile>,
}

/// One voice or picture, from when it was turned on until it was turned off.
#[derive(Serialize, ToSchema)]
pub(crate) struct CallRecordingFile {
    /// Counts the recording's files, from 1.
    pub number: u32,
    pub person: String,
    pub person_name: String,
    pub source: Source,
    /// `audio/ogg` (Opus), `video/webm` (VP8) or `video/x-matroska` (H.264).
    pub media_type: &'static str,
    /// Milliseconds from the recording's beginning to the file's: where it goes when files are put together.
    pub offset: u64,
    pub duration: u64,
    pub bytes: u64,
}

impl From<recording::File> for CallRecordingFile {
    fn from(file: recording::File) -> Self {
        Self {
            number: file.number,
            media_type: file.media_type(),
            person: file.person.to_string(),
            person_name: file.person_name,
            source: file.source.into(),
            offset: file.offset,
            duration: file.duration,
            bytes: file.bytes,
        }
    }
}

impl From<recording::Recording> for CallRecording {
    fn from(recording: recording::Recording) -> Self {
        Self {
            id: recording.id.to_string(),
            bytes: recording.bytes(),
            started_by: recording.started_by.to_string(),
            started_by_name: recording.started_by_name,
            started_at: recording.started_at,
            ended_at: recording.ended_at,
            duration: recording.duration,
            state: recording.state.into(),
            message: recording.state.message().map(str::to_owned),
            files: recording.files.into_iter().map(Into::into).collect(),
        }
    }
}
