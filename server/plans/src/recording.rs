//! What a terminal showed, kept: what is known of each recording, and the [`cast`] that it is. Pure.
//!
//! What is typed is not in it, but for what programs print of it. `recordings` makes and keeps them.

pub mod cast;

use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::ids::{PrincipalId, RecordingId, RoomId, TerminalId};

/// Who turned recording on in a room, and when. Without one it is off.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setting {
    pub by: PrincipalId,
    pub by_name: String,
    pub since: UnixMillis,
}

/// A recording without its contents.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recording {
    pub id: RecordingId,
    pub room: RoomId,
    pub terminal: TerminalId,
    /// The terminal's, as the room counted them then.
    pub number: u32,
    /// Who opened the terminal.
    pub opened_by: PrincipalId,
    pub opened_by_name: String,
    pub started_at: UnixMillis,
    pub ended_at: Option<UnixMillis>,
    /// From its beginning to its last event, in milliseconds.
    pub duration: u64,
    pub bytes: u64,
    pub state: State,
}

/// Whether it goes on, or why it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    Recording,
    /// The terminal ended.
    Complete,
    /// Somebody turned recording off.
    Stopped,
    /// It came to [`cast::MAX_BYTES`].
    TooLarge,
    /// The server's disk was full.
    DiskFull,
    /// The server could not write it; its log says why.
    Failed,
    /// The server was stopped or killed.
    Interrupted,
}

impl State {
    pub const ALL: [Self; 7] = [
        Self::Recording,
        Self::Complete,
        Self::Stopped,
        Self::TooLarge,
        Self::DiskFull,
        Self::Failed,
        Self::Interrupted,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Recording => "recording",
            Self::Complete => "complete",
            Self::Stopped => "stopped",
            Self::TooLarge => "too_large",
            Self::DiskFull => "disk_full",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }

    /// The state of that name, as stores write it.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// Why it ended before its terminal did, as a sentence.
    pub fn message(self) -> Option<&'static str> {
        match self {
            Self::Recording | Self::Complete => None,
            Self::Stopped => Some("Recording was turned off."),
            Self::TooLarge => Some(cast::TOO_LARGE),
            Self::DiskFull => Some("The server's disk was full. Once there is space, turn recording on again."),
            Self::Failed => Some("The server could not write it; its log says why. Turn recording on again."),
            Self::Interrupted => Some("The server was stopped."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_states_are_read_back() {
        for state in State::ALL {
            assert_eq!(State::parse(state.as_str()), Some(state));
        }
        assert_eq!(State::parse("paused"), None);
    }
}
