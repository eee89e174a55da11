//! Repositories from elsewhere: fetched over the sandbox's way out, into a room without files, while people are in it already.
//!
//! That one is under way is stored before it begins, so that a room can say what became of it after the server ended. Git in the sandbox ends with
//! the server, and takes away what it had.

use std::sync::Arc;

use buildspaces_kernel::ids::RoomId;

use super::abroad::Service;
use super::words::{self, Url};
use super::{Error, Git, Repository, Shared};
use crate::ports::Fetch;

/// What is to be fetched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    url: Url,
    branch: Option<String>,
}

impl Origin {
    /// The repository at `url`, and the branch to begin with if it is not the one that the repository says.
    pub fn parse(url: &str, branch: Option<&str>) -> Result<Self, Error> {
        let url = Url::parse(url).map_err(Error::BadUrl)?;
        let branch = branch.map(str::trim).filter(|branch| !branch.is_empty());
        if branch.is_some_and(|branch| !words::is_branch_name(branch)) {
            return Err(Error::BadBranchName);
        }
        Ok(Self { url, branch: branch.map(str::to_owned) })
    }

    /// What people call it.
    pub fn title(&self) -> &str {
        self.url.title()
    }
}

impl Git {
    /// Begins to fetch a repository. [`Git::repository`] says how it goes.
    pub async fn clone_from(&self, room: &RoomId, origin: Origin) -> Result<Repository, Error> {
        self.check_available()?;
        if !self.0.rooms.room(room).await?.text_files().is_empty() {
            return Err(Error::NotEmpty);
        }
        let url = origin.url.as_str().to_owned();
        let cloning = Repository::Cloning { url: url.clone() };
        let before = {
            let mut clones = self.0.clones();
            if matches!(clones.get(room), Some(Repository::Cloning { .. })) {
                return Err(Error::Cloning);
            }
            clones.insert(room.clone(), cloning.clone())
        };
        let (shared, room) = (self.0.clone(), room.clone());
        let begin = async move {
            let fetch = Fetch { url, failure: None };
            if let Err(error) = shared.store.set_fetch(&room, Some(&fetch)).await {
                let mut clones = shared.clones();
                match before {
                    Some(before) => clones.insert(room, before),
                    None => clones.remove(&room),
                };
                return Err(error.into());
            }
            let tasks = shared.tasks.clone();
            tasks.spawn("clone", shared.fetch_and_tell(room, origin));
            Ok(())
        };
        let begun = self.0.tasks.to_the_end("beginning to fetch a repository", begin).await;
        begun.unwrap_or_else(|| Err(Error::Sandbox("the server is stopping".to_owned())))?;
        Ok(cloning)
    }

    /// What an earlier process was fetching when it ended did not arrive, and what failed then is still so. Call it once, at boot.
    pub(crate) async fn settle(&self) {
        let fetches = match self.0.store.fetches().await {
            Ok(fetches) => fetches,
            Err(error) => {
                tracing::warn!(%error, "rooms cannot say what became of the repositories they fetched");
                return;
            }
        };
        let mut clones = self.0.clones();
        for (room, Fetch { url, failure }) in fetches {
            let message = failure.unwrap_or_else(|| INTERRUPTED.to_owned());
            clones.insert(room, Repository::NotCloned { url, message });
        }
    }
}

/// What became of a fetch that was under way when the server ended.
const INTERRUPTED: &str = "the server was stopped while it was on its way; fetch it again";

impl Shared {
    async fn fetch_and_tell(self: Arc<Self>, room: RoomId, origin: Origin) {
        let Err(error) = self.fetch(&room, &origin).await else {
            return self.has_arrived(&room).await;
        };
        if self.tasks.is_cancelled() {
            // Whatever it says: it ended because the server does, and the next start says that.
            return;
        }
        tracing::info!(%room, %error, "a repository was not fetched");
        let (url, message) = (origin.url.as_str().to_owned(), error.to_string());
        let fetch = Fetch { url: url.clone(), failure: Some(message.clone()) };
        let stored = self.store.set_fetch(&room, Some(&fetch)).await;
        if let Err(error) = stored {
            tracing::warn!(%room, %error, "after a restart a room will not say why its repository was not fetched");
        }
        self.clones().insert(room, Repository::NotCloned { url, message });
    }

    /// The room has a repository, so nothing is to be said of one that was on its way.
    pub(super) async fn has_arrived(&self, room: &RoomId) {
        if self.clones().remove(room).is_none() {
            return;
        }
        // Otherwise it is said once more after the next start, until somebody looks.
        if let Err(error) = self.store.set_fetch(room, None).await {
            tracing::warn!(%room, %error, "that a repository has arrived is not stored");
        }
    }

    async fn fetch(&self, room: &RoomId, Origin { url, branch }: &Origin) -> Result<(), Error> {
        self.sandboxes.touch(room);
        // Without a template there are no samples of hooks.
        let mut args = vec!["clone", "--quiet", "--template=", "--no-recurse-submodules"];
        if let Some(branch) = branch {
            args.extend(["--branch", branch]);
        }
        args.extend(["--", url.as_str(), "."]);
        let abroad = self.abroad(room, url, Service::UploadPack).await?;
        let done = self.git_abroad(room, abroad, &args).await;
        done.map_err(|error| match error {
            // Git names the address without the port that the list has.
            Error::NotListed(_) => Error::NotListed(url.host().to_owned()),
            Error::Unreachable(_) => Error::Unreachable(url.host().to_owned()),
            error => error,
        })?;
        self.settle(room).await
    }
}
