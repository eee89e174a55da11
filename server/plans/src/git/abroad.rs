//! What git needs where it asks another server: the room's secret for it, if there is one.
//!
//! The secret is not given to git. Git asks in plain HTTP, which reaches the proxy of the way out and nothing else, and there its requests get
//! the secret and go on over TLS. They get it only while this git runs, and only those that fetch from, or push to, this one repository: a program that
//! runs beside it could ask for the same, and for nothing more.

use buildspaces_kernel::clock::unix_millis;
use buildspaces_kernel::ids::RoomId;

use super::invocation::QUICK;
use super::words::Url;
use super::{Error, Shared};
use crate::secret::StepHeader;

/// What is asked of the other server, by its name in git's protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Service {
    /// To send what is there.
    UploadPack,
    /// To take what is new here. That asks for what is there first.
    ReceivePack,
}

/// How git is called for it.
#[derive(Debug, Default)]
pub(super) struct Abroad {
    pub(super) settings: Vec<String>,
    pub(super) headers: Vec<StepHeader>,
}

impl Service {
    fn name(self) -> &'static str {
        match self {
            Self::UploadPack => "git-upload-pack",
            Self::ReceivePack => "git-receive-pack",
        }
    }

    /// Everything that git asks for, of the repository at `path`.
    fn paths(self, path: &str) -> Vec<String> {
        let (slash, name) = (if path.ends_with('/') { "" } else { "/" }, self.name());
        vec![format!("/{path}{slash}info/refs?service={name}"), format!("/{path}{slash}{name}")]
    }
}

impl Shared {
    /// Where the repository came from, as a secret could be for it.
    pub(super) async fn origin(&self, room: &RoomId, service: Service) -> Result<Option<Url>, Error> {
        let args: &[&str] = match service {
            Service::UploadPack => &["remote", "get-url", "origin"],
            Service::ReceivePack => &["remote", "get-url", "--push", "origin"],
        };
        let done = self.git(room, args, QUICK).await?.succeeded();
        // That there is none, git says itself where it matters.
        Ok(done.ok().and_then(|url| Url::parse(&String::from_utf8_lossy(&url)).ok()))
    }

    /// The secret for a repository, and the way to it.
    pub(super) async fn abroad(&self, room: &RoomId, url: &Url, service: Service) -> Result<Abroad, Error> {
        let found = self.secrets.for_git(room, url, service.paths(url.path())).await.map_err(Error::NoCredential)?;
        let Some(header) = found else { return Ok(Abroad::default()) };
        self.secrets.used(room, std::slice::from_ref(&header.secret), unix_millis()).await;
        let https = url.as_str();
        let plain = https.replacen("https://", "http://", 1);
        Ok(Abroad { settings: vec![format!("url.{plain}.insteadOf={https}")], headers: vec![header] })
    }
}
