//! Repositories from elsewhere: fetched over the sandbox's way out, into a room without files, while people are in it already.
//!
//! Nothing is stored of a fetch that is under way. When the server is stopped, git in the sandbox ends with it and takes away what it had.

use buildspaces_kernel::ids::RoomId;

use super::abroad::Service;
use super::words::{self, Url};
use super::{Error, Git, Repository, Shared};

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
        let cloning = Repository::Cloning { url: origin.url.as_str().to_owned() };
        {
            let mut clones = self.0.clones();
            if matches!(clones.get(room), Some(Repository::Cloning { .. })) {
                return Err(Error::Cloning);
            }
            clones.insert(room.clone(), cloning.clone());
        }
        let (shared, room) = (self.0.clone(), room.clone());
        self.0.tasks.spawn("clone", async move {
            let fetched = shared.fetch(&room, &origin).await;
            let mut clones = shared.clones();
            match fetched {
                Ok(()) => drop(clones.remove(&room)),
                Err(error) => {
                    tracing::info!(%room, %error, "a repository was not fetched");
                    let (url, message) = (origin.url.as_str().to_owned(), error.to_string());
                    clones.insert(room, Repository::NotCloned { url, message });
                }
            }
        });
        Ok(cloning)
    }
}

impl Shared {
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
