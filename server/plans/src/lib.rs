//! Rules, skills, runs, terminals and git: what happens in a room's sandbox because its text changed or somebody asked.
//!
//! The decisions are pure: when a rule fires ([`rule`]), what makes two firings the same ([`trigger`]), what command a
//! workspace asks for ([`skill`]), what a run may become ([`run`]), who types in a terminal ([`terminal`]), what of a step's output is a
//! secret ([`redact`]), what a recording of a terminal is ([`recording`]). [`engine`] owns one task per room that performs them, [`terminals`] one per terminal; [`git`] asks the git in the
//! sandbox, [`recordings`] keeps what terminals showed, and [`secrets`] hands out secrets.
//! Nothing here knows SQL, Docker or HTTP: see [`ports`]. Read [`engine`] first.

#[cfg(any(test, feature = "contract"))]
pub mod contract;
pub mod devcontainer;
pub mod engine;
pub mod git;
pub mod log;
#[cfg(any(test, feature = "contract"))]
pub mod memory;
pub mod ports;
pub mod recording;
pub mod recordings;
pub mod redact;
mod room_view;
pub mod rule;
pub mod run;
pub mod secret;
pub mod secrets;
pub mod skill;
pub mod terminal;
pub mod terminals;
pub mod trigger;

pub use engine::{Config, Engine};

/// Why the engine could not do what was asked. The texts are for people.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no such rule; reload the page to see the room's rules")]
    NoSuchRule,
    /// "Run now" in a room that has no rule at all.
    #[error("this room has no rules, so there is nothing to run")]
    NoRules,
    #[error("there is no such run; old runs are removed after a while")]
    NoSuchRun,
    /// A rule's globs or skill are not usable; the sentence says why.
    #[error("{0}")]
    InvalidRule(String),
    /// There is no sandbox to run in. `hint` says how to turn it on.
    #[error("runs are off: {message}")]
    SandboxOff { message: String, hint: String },
    /// It was closed, or the server was started anew since.
    #[error("there is no such terminal any more; open another one")]
    NoSuchTerminal,
    #[error("a room has at most {} terminals; close one first", terminals::MAX_TERMINALS)]
    TooManyTerminals,
    #[error("at most {} look at one terminal; try again when somebody has left", terminals::MAX_VIEWERS)]
    TooManyViewers,
    #[error("there is no such recording; a host may have deleted it")]
    NoSuchRecording,
    /// Nothing is deleted to make room: whoever can open terminals could delete others' recordings by that.
    #[error("{}", .0.refusal())]
    RecordingsFull(recordings::Kept),
    #[error("this is still being recorded; turn recording off or close the terminal, and then delete it")]
    StillRecorded,
    /// It was put together without a place to keep them.
    #[error("this server keeps no recordings of terminals")]
    RecordingsOff,
    /// The operator gave no key.
    #[error("this server keeps no secrets, because it has no key to keep them with")]
    SecretsOff,
    #[error("there is no such secret")]
    NoSuchSecret,
    /// Its name, its value or how it is given is not usable; the sentence says why.
    #[error("{0}")]
    InvalidSecret(String),
    /// A rule names a secret that its steps cannot have; the sentence says why.
    #[error("{0}")]
    UnknownSecret(String),
    #[error("a room has at most {} secrets, of 64 KiB together; delete one first", secrets::MAX_SECRETS)]
    TooManySecrets,
    #[error("the server is stopping; try again in a moment")]
    Stopping,
    #[error(transparent)]
    Room(#[from] buildspaces_rooms::Error),
    /// The cause is for the log, not for people.
    #[error(transparent)]
    Store(ports::StoreError),
}

impl From<ports::StoreError> for Error {
    fn from(error: ports::StoreError) -> Self {
        match error {
            ports::StoreError::Full(_) => Self::Room(buildspaces_rooms::Error::Full),
            error => Self::Store(error),
        }
    }
}
