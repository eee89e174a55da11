//! Voice, video and screen share in a room: a selective forwarding unit (SFU) in the same process.
//!
//! The decisions are pure: who is in a call and is sent what ([`call`]), which packet goes to whom ([`router`]), under which number
//! ([`rewrite`]), on which line ([`slots`]), what somebody sees who only looks on ([`viewer`]), how much of it fits through ([`allocator`]), who speaks ([`speaker`]), how well somebody is connected ([`quality`]), and whether pages encrypt what they send ([`encryption`]). [`calls`] owns the tasks that perform them, over a
//! [`ports::Transport`]; the real one is [`webrtc`]. Nothing here knows HTTP, rooms or documents, and nothing is decoded or mixed. Stored is only what
//! people agreed to have recorded ([`recording`], [`recordings`]). Read [`call`] first, then [`router`].

pub mod allocator;
pub mod call;
pub mod calls;
pub mod codec;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
pub mod encryption;
pub mod h264;
#[cfg(any(test, feature = "contract"))]
pub mod memory;
mod meters;
pub mod offer;
pub mod ports;
pub mod quality;
pub mod recording;
pub mod recordings;
pub mod rewrite;
pub mod router;
pub mod sdp;
pub mod slots;
pub mod speaker;
pub mod viewer;
pub mod vp8;
pub mod webrtc;

pub use calls::Calls;

/// Why a page cannot look at a call. The texts are for people.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// This server has no calls; a sentence.
    #[error("{0}")]
    Off(String),
    #[error("at most {} pages look at one call; close some", calls::MAX_PAGES)]
    TooManyPages,
    /// Of one person, so that nobody keeps others out.
    #[error("at most {0} pages, streams and players of one person are at one call; close some")]
    TooManyOfOne(usize),
    #[error("the server is stopping; try again in a moment")]
    Stopping,
    /// Encryption is turned on or off while everybody is out of the call: nobody goes on under another promise than they joined under.
    #[error("somebody is in the call; encryption is turned on or off when everybody has left")]
    InUse,
    #[error(transparent)]
    Store(#[from] ports::StoreError),
}
