//! A call, kept: what is known of each recording, and how packets become its files ([`track`]). Pure; [`crate::recordings`] writes them.
//!
//! Nothing is decoded. A voice becomes Ogg with the Opus that was sent, a picture WebM with the VP8 or
//! Matroska with the H.264 that was sent. What of a call gets in
//! decides [`crate::call`].

mod frames;
mod ogg;
mod opus;
mod reorder;
mod timeline;
pub mod track;
mod webm;

use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::ids::{PrincipalId, RecordingId, RoomId};
use serde::{Deserialize, Serialize};

use crate::call::Source;
use crate::codec::Codec;

/// Files of one recording. Each time somebody turns on a camera begins one.
pub const MAX_FILES: usize = 1000;

/// How much is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of one recording; 0: calls are not recorded.
    pub recording: u64,
    /// Bytes of all recordings of one room.
    pub room: u64,
    /// Bytes that are left free on the disk: documents need them more.
    pub reserve: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { recording: 4 << 30, room: 16 << 30, reserve: 512 << 20 }
    }
}

/// A recording without its contents, as it stands beside them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Recording {
    pub id: RecordingId,
    pub room: RoomId,
    pub started_by: PrincipalId,
    pub started_by_name: String,
    pub started_at: UnixMillis,
    pub ended_at: Option<UnixMillis>,
    /// From its beginning to its last packet, in milliseconds.
    pub duration: u64,
    pub state: State,
    pub files: Vec<File>,
}

impl Recording {
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

/// What one person sent of one kind, from when it began until it was turned off.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct File {
    /// Counts the recording's files, from 1.
    pub number: u32,
    pub person: PrincipalId,
    pub person_name: String,
    pub source: Source,
    pub codec: Codec,
    /// When it begins, in milliseconds since the recording did.
    pub offset: u64,
    /// Milliseconds.
    pub duration: u64,
    pub bytes: u64,
}

impl File {
    pub fn extension(&self) -> &'static str {
        match self.codec {
            Codec::Opus => "ogg",
            Codec::Vp8 => "webm",
            Codec::H264 => "mkv",
        }
    }

    pub fn media_type(&self) -> &'static str {
        match self.codec {
            Codec::Opus => "audio/ogg",
            Codec::Vp8 => "video/webm",
            Codec::H264 => "video/x-matroska",
        }
    }

    /// Its name in the recording's folder.
    pub fn name(&self) -> String {
        format!("{}-{}.{}", self.number, self.source.as_str(), self.extension())
    }
}

/// Whether it goes on, or why it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Recording,
    /// The call ended.
    Complete,
    /// A moderator stopped it.
    Stopped,
    /// It came to its largest size, or number of files.
    TooLarge,
    /// The room's recordings came to theirs.
    RoomFull,
    /// The server's disk was full.
    DiskFull,
    /// The server could not write it; its log says why.
    Failed,
    /// The server was stopped or killed.
    Interrupted,
}

impl State {
    /// Why it ended although nobody wanted that, as a sentence.
    pub fn message(self) -> Option<&'static str> {
        match self {
            Self::Recording | Self::Complete | Self::Stopped => None,
            Self::TooLarge => Some("It came to the largest size that a recording may have here."),
            Self::RoomFull => Some("This room keeps as much of recordings of calls as it may. A host can delete some."),
            Self::DiskFull => Some("The server's disk was full."),
            Self::Failed => Some("The server could not write it; its log says why."),
            Self::Interrupted => Some("The server was stopped."),
        }
    }
}
