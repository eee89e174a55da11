//! The table `[media]`: calls, the port they use, and where it is reached.

use std::net::{IpAddr, SocketAddr};

use buildspaces_media::call::Limits;
use serde::Deserialize;

use super::{Error, within};

/// Settings of calls.
#[derive(Debug)]
pub(crate) struct Media {
    pub(crate) enabled: bool,
    /// `None`: as the server listens.
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) limits: Limits,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct MediaFile {
    enabled: Option<bool>,
    listen: Option<String>,
    addresses: Vec<String>,
    max_participants: Option<usize>,
    max_cameras: Option<usize>,
    max_screens: Option<usize>,
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
    let defaults = Limits::default();
    Ok(Media {
        enabled: file.enabled.unwrap_or(true),
        listen: listen.transpose()?,
        addresses: addresses.collect::<Result<_, _>>()?,
        limits: Limits {
            participants: within("media.max_participants", file.max_participants, 1, 200)?
                .unwrap_or(defaults.participants),
            cameras: within("media.max_cameras", file.max_cameras, 0, 48)?.unwrap_or(defaults.cameras),
            screens: within("media.max_screens", file.max_screens, 0, 8)?.unwrap_or(defaults.screens),
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
        let file = MediaFile { max_participants: Some(0), ..MediaFile::default() };
        assert!(refused(file).contains("media.max_participants = 0 must be from 1"));
    }
}
