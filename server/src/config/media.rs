//! The table `[media]`: calls, the port they use, and where it is reached.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use buildspaces_gateway::IceServers;
use buildspaces_media::call::Limits;
use buildspaces_media::recording;
use serde::Deserialize;

use super::access::secret;
use super::{Error, within};

/// Settings of calls.
#[derive(Debug)]
pub(crate) struct Media {
    pub(crate) enabled: bool,
    /// `None`: as the server listens.
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) limits: Limits,
    pub(crate) recordings: recording::Limits,
    pub(crate) ice_servers: IceServers,
    pub(crate) participant_metrics: bool,
}

/// It holds a secret.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct MediaFile {
    enabled: Option<bool>,
    listen: Option<String>,
    addresses: Vec<String>,
    max_participants: Option<usize>,
    max_pages_per_user: Option<usize>,
    max_cameras: Option<usize>,
    max_screens: Option<usize>,
    max_mbits: Option<u64>,
    recording_mib: Option<u64>,
    recordings_mib: Option<u64>,
    ice_servers: Vec<String>,
    turn_secret: Option<String>,
    turn_secret_file: Option<PathBuf>,
    participant_metrics: bool,
}

impl std::fmt::Debug for MediaFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MediaFile").finish_non_exhaustive()
    }
}

pub(super) fn check(file: MediaFile) -> Result<Media, Error> {
    let listen = file.listen.map(|text| {
        let parsed = text.replacen("localhost:", "127.0.0.1:", 1).parse::<SocketAddr>();
        parsed.map_err(|_| Error(format!("media.listen = {text:?} is not an address and a port, such as 0.0.0.0:8080")))
    });
    let addresses = file.addresses.iter().map(|text| {
        let ip = text.parse::<IpAddr>().ok().filter(|ip| !ip.is_unspecified());
        ip.ok_or_else(|| {
            Error(format!("media.addresses: {text:?} is not the address of a machine, such as 203.0.113.7"))
        })
    });
    let secret = secret("media.turn_secret", file.turn_secret, file.turn_secret_file.as_deref())?;
    if let Some((key, _)) = secret.as_ref().filter(|(_, secret)| secret.is_empty()) {
        return Err(Error(format!("{key} is empty; it is the secret that the TURN server knows")));
    }
    let ice_servers = IceServers::new(&file.ice_servers, secret.as_ref().map(|(_, secret)| secret.as_str()));
    let (defaults, kept) = (Limits::default(), recording::Limits::default());
    let mib = |key, value| Ok::<_, Error>(within(key, value, 0, 1 << 24)?.map(|mib: u64| mib << 20));
    Ok(Media {
        enabled: file.enabled.unwrap_or(true),
        listen: listen.transpose()?,
        addresses: addresses.collect::<Result<_, _>>()?,
        ice_servers: ice_servers.map_err(|unusable| Error(format!("media.ice_servers: {unusable}")))?,
        participant_metrics: file.participant_metrics,
        limits: Limits {
            participants: within("media.max_participants", file.max_participants, 1, 200)?
                .unwrap_or(defaults.participants),
            pages_per_user: within("media.max_pages_per_user", file.max_pages_per_user, 1, 500)?
                .unwrap_or(defaults.pages_per_user),
            cameras: within("media.max_cameras", file.max_cameras, 0, 48)?.unwrap_or(defaults.cameras),
            screens: within("media.max_screens", file.max_screens, 0, 8)?.unwrap_or(defaults.screens),
            bits: within("media.max_mbits", file.max_mbits, 1, 10_000)?
                .map_or(defaults.bits, |mbits| mbits * 1_000_000),
        },
        recordings: recording::Limits {
            recording: mib("media.recording_mib", file.recording_mib)?.unwrap_or(kept.recording),
            room: mib("media.recordings_mib", file.recordings_mib)?.unwrap_or(kept.room),
            ..kept
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_settings_calls_are_on() {
        let media = check(MediaFile::default()).expect("valid");
        assert!(media.enabled && media.listen.is_none() && media.addresses.is_empty());
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let refused = |file| check(file).map(|_| ()).expect_err("refused").to_string();
        let file = MediaFile { listen: Some("8080".to_owned()), ..MediaFile::default() };
        assert!(refused(file).starts_with("media.listen = \"8080\""));
        for bad in ["rooms.example", "0.0.0.0", "::"] {
            let file = MediaFile { addresses: vec![bad.to_owned()], ..MediaFile::default() };
            assert!(refused(file).starts_with("media.addresses: "), "{bad}");
        }
        let file = MediaFile { ice_servers: vec!["turn:turn.example".to_owned()], ..MediaFile::default() };
        assert!(refused(file).contains("set media.turn_secret or media.turn_secret_file"));
        let file = MediaFile { turn_secret: Some(" ".to_owned()), ..MediaFile::default() };
        assert!(refused(file).starts_with("media.turn_secret is empty"));
        let file = MediaFile { max_participants: Some(0), ..MediaFile::default() };
        assert!(refused(file).contains("media.max_participants = 0 must be from 1"));
        let file = MediaFile { max_pages_per_user: Some(0), ..MediaFile::default() };
        assert!(refused(file).contains("media.max_pages_per_user = 0 must be from 1"));
        let file = MediaFile { max_mbits: Some(0), ..MediaFile::default() };
        assert!(refused(file).contains("media.max_mbits = 0 must be from 1"));
        let file = MediaFile { recording_mib: Some(u64::MAX), ..MediaFile::default() };
        assert!(refused(file).contains("media.recording_mib = "));
    }
}
