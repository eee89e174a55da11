//! The codecs of calls, as far as they must be known to pass packets on: what descriptions call them, and where a picture begins that builds
//! on none before it.

use serde::{Deserialize, Serialize};

use crate::router::Kind;
use crate::{h264, vp8};

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    Opus,
    /// What pages encode their pictures with.
    Vp8,
    /// What many programs encode theirs with, and devices with nothing else.
    H264,
}

impl Codec {
    /// Those of a kind, and which is preferred.
    pub fn of(kind: Kind) -> &'static [Self] {
        match kind {
            Kind::Audio => &[Self::Opus],
            Kind::Video => &[Self::Vp8, Self::H264],
        }
    }

    pub fn kind(self) -> Kind {
        match self {
            Self::Opus => Kind::Audio,
            Self::Vp8 | Self::H264 => Kind::Video,
        }
    }

    /// As descriptions name it.
    pub fn encoding(self) -> &'static str {
        match self {
            Self::Opus => "opus/48000/2",
            Self::Vp8 => "VP8/90000",
            Self::H264 => "H264/90000",
        }
    }

    /// Can a receiver begin with this packet?
    pub fn starts_keyframe(self, payload: &[u8]) -> bool {
        match self {
            Self::Opus => true,
            Self::Vp8 => vp8::starts_keyframe(payload),
            Self::H264 => h264::starts_keyframe(payload),
        }
    }
}
