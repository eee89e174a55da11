//! Git in a room's workspace: what changed, commits by the people whose edits are in them, branches, and repositories from elsewhere.
//!
//! Every git runs in the room's sandbox, as a command beside steps and terminals ([`Sandboxes::command`]). The host never reads a `.git`:
//! what is in there was written by strangers, and git runs what it finds. So what git prints is a stranger's word, too ([`parse`]).
//!
//! People work without an index: a commit takes the files that were chosen, or all, as they are in the documents. So before git looks,
//! the mirror writes what was typed, and while it writes, the workspace is frozen.
//!
//! Whether somebody *may* do a thing is asked by the caller. Read [`invocation`] for how git is called, [`commit`] for whose a commit is,
//! [`clone`] for how a room gets a repository that exists elsewhere.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::ids::RoomId;
use buildspaces_kernel::tasks::Tasks;
use tokio::time::timeout;

use crate::ports::{Availability, Frozen, RoomViews, RunStore, SandboxError, Sandboxes, StoreError};
use crate::secrets::Secrets;
use abroad::{Abroad, Service};
use invocation::QUICK;

mod abroad;
mod clone;
mod commit;
mod invocation;
mod parse;
#[cfg(test)]
mod tests;
pub mod words;

pub use clone::Origin;
pub use invocation::{Error, RoomError};

/// How long the workspace may take to hold what the documents do, while programs write into it.
const SETTLE_PATIENCE: Duration = Duration::from_secs(15);

/// How long a commit or another change waits for a run that holds the workspace still, and for another change.
const FREEZE_PATIENCE: Duration = Duration::from_secs(20);

/// Bytes of a patch that are passed on.
pub const MAX_PATCH: usize = 512 << 10;

/// Files that git does not know whose text is shown where everything is.
const MAX_UNTRACKED_SHOWN: usize = 50;

/// Branches that are told of, the newest first.
const MAX_BRANCHES: u32 = 200;

/// Most commits of one answer.
pub const MAX_COMMITS: u32 = 200;

/// The tree without files, which every repository knows.
const EMPTY_TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

/// What of git a room has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Repository {
    None,
    /// One is being fetched from there.
    Cloning {
        url: String,
    },
    /// That did not work; a sentence says why.
    NotCloned {
        url: String,
        message: String,
    },
    Ready(Status),
}

/// How the workspace differs from the last commit.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Status {
    /// `None` where a commit is looked at that is no branch's.
    pub branch: Option<String>,
    /// The last commit; `None` before the first.
    pub head: Option<String>,
    pub upstream: Option<Upstream>,
    pub changes: Vec<Change>,
    /// There are more changes.
    pub truncated: bool,
}

/// The branch elsewhere that this one follows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Upstream {
    pub name: String,
    /// Commits that it lacks, and that are lacking here; `None` if it is gone.
    pub ahead: Option<u32>,
    pub behind: Option<u32>,
}

/// A file that differs from the last commit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// From the workspace's root.
    pub path: String,
    /// What it was called.
    pub from: Option<String>,
    pub kind: ChangeKind,
    /// Something of it is in the index, by somebody in a terminal.
    pub staged: bool,
    /// Something of it is not.
    pub unstaged: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChangeKind {
    Added,
    Modified,
    Deleted,
    Renamed,
    /// Git does not know the file yet.
    Untracked,
    /// A merge left both sides in it.
    Conflicted,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Commit {
    pub id: String,
    pub parents: Vec<String>,
    pub author: String,
    pub email: String,
    pub at: UnixMillis,
    pub subject: String,
    /// `Name <address>`, as the message has them.
    pub co_authors: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Branch {
    pub name: String,
    pub current: bool,
    pub upstream: Option<String>,
    /// When its last commit was made.
    pub at: UnixMillis,
    pub subject: String,
}

/// A difference as git shows it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Patch {
    pub text: String,
    /// The end is missing.
    pub truncated: bool,
}

/// Of what a difference is wanted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// Everything since the last commit.
    All,
    /// One file since the last commit, and what it was called there.
    File { path: String, from: Option<String> },
    /// What a commit changed.
    Commit(String),
}

/// A cheap handle; clones share everything.
#[derive(Clone)]
pub struct Git(Arc<Shared>);

impl std::fmt::Debug for Git {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Git")
    }
}

struct Shared {
    rooms: Arc<dyn RoomViews>,
    store: Arc<dyn RunStore>,
    sandboxes: Arc<dyn Sandboxes>,
    secrets: Secrets,
    tasks: Tasks,
    /// Held by who changes something in a room's repository.
    turns: Mutex<HashMap<RoomId, Weak<tokio::sync::Mutex<()>>>>,
    /// Of rooms whose repository is on its way, or did not arrive. The store has the same, for the next start of the server.
    clones: Mutex<HashMap<RoomId, Repository>>,
}

/// A workspace in which only we change something, as long as this is there.
struct Held {
    _frozen: Frozen,
    _turn: tokio::sync::OwnedMutexGuard<()>,
}

impl Git {
    pub(crate) fn new(
        rooms: Arc<dyn RoomViews>,
        store: Arc<dyn RunStore>,
        sandboxes: Arc<dyn Sandboxes>,
        secrets: Secrets,
        tasks: Tasks,
    ) -> Self {
        let (turns, clones) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Shared { rooms, store, sandboxes, secrets, tasks, turns, clones }))
    }

    /// Is there anywhere for git to run?
    pub fn check_available(&self) -> Result<(), Error> {
        match &*self.0.sandboxes.availability().borrow() {
            Availability::Ready => Ok(()),
            Availability::Off { message, hint } => Err(Error::Off { message: message.clone(), hint: hint.clone() }),
        }
    }

    /// What there is and what changed, as the documents are now.
    pub async fn repository(&self, room: &RoomId) -> Result<Repository, Error> {
        let known = self.0.clones().get(room).cloned();
        if let Some(cloning @ Repository::Cloning { .. }) = known {
            return Ok(cloning);
        }
        self.0.settle(room).await?;
        let status = self.0.status(room).await;
        match (status, known) {
            (Ok(status), _) => {
                self.0.has_arrived(room).await;
                Ok(Repository::Ready(status))
            }
            (Err(Error::NoRepository), known) => Ok(known.unwrap_or(Repository::None)),
            (Err(error), _) => Err(error),
        }
    }

    /// Begins a repository in a workspace that has none. Nothing is committed.
    pub async fn init(&self, room: &RoomId) -> Result<Repository, Error> {
        let _held = self.0.hold(room).await?;
        match self.0.status(room).await {
            Err(Error::NoRepository) => {}
            Ok(_) => return Err(Error::IsRepository),
            Err(error) => return Err(error),
        }
        self.0.sandboxes.touch(room);
        // Without a template there are no samples of hooks.
        self.0.git(room, &["init", "--quiet", "--template=", "--initial-branch=main"], QUICK).await?.succeeded()?;
        self.0.has_arrived(room).await;
        Ok(Repository::Ready(self.0.status(room).await?))
    }

    /// A difference, as text.
    pub async fn diff(&self, room: &RoomId, wanted: &Wanted) -> Result<Patch, Error> {
        const SHOW: [&str; 4] = ["--no-color", "--no-ext-diff", "--no-textconv", "--find-renames"];
        if let Wanted::Commit(id) = wanted {
            if !words::is_commit(id) {
                return Err(Error::NoSuchCommit);
            }
            // Of a merge what it brought into its branch.
            let args = [&["show", "--format=", "-m", "--first-parent"], &SHOW[..], &[id]].concat();
            return self.0.git(room, &args, QUICK).await?.patch();
        }
        let mut paths: Vec<&str> = Vec::new();
        if let Wanted::File { path, from } = wanted {
            paths.extend(from.iter().map(String::as_str).chain([path.as_str()]));
        }
        if let Some(bad) = paths.iter().find(|path| !words::is_path(path)) {
            return Err(Error::NoSuchFile((*bad).to_owned()));
        }
        self.0.settle(room).await?;
        let since = |base| [&["diff"], &SHOW[..], &[base, "--"], &paths].concat();
        let mut tracked = self.0.git(room, &since("HEAD"), QUICK).await?;
        if tracked.says("bad revision 'HEAD'") || tracked.says("ambiguous argument 'HEAD'") {
            tracked = self.0.git(room, &since(EMPTY_TREE), QUICK).await?;
        }
        let mut patch = tracked.patch()?;
        let untracked: Vec<String> = match wanted {
            Wanted::File { path, .. } if patch.text.is_empty() => vec![path.clone()],
            Wanted::All => {
                let status = self.0.status(room).await?;
                let untracked = status.changes.into_iter().filter(|change| change.kind == ChangeKind::Untracked);
                untracked.map(|change| change.path).collect()
            }
            Wanted::File { .. } | Wanted::Commit(_) => Vec::new(),
        };
        patch.truncated |= untracked.len() > MAX_UNTRACKED_SHOWN;
        for path in untracked.iter().take(MAX_UNTRACKED_SHOWN) {
            if patch.truncated {
                break;
            }
            let args = [&["diff", "--no-index"], &SHOW[..], &["--", "/dev/null", path]].concat();
            let added = self.0.git(room, &args, QUICK).await?;
            // One says that there is a difference, and nothing else.
            patch.append(added.patch_of_difference()?);
        }
        Ok(patch)
    }

    /// Commits from the present one backwards, after the first `skip`; and whether there are more.
    pub async fn log(&self, room: &RoomId, skip: u32, limit: u32) -> Result<(Vec<Commit>, bool), Error> {
        let limit = limit.clamp(1, MAX_COMMITS);
        let (skip, count) = (format!("--skip={skip}"), format!("--max-count={}", limit + 1));
        let done = self.0.git(room, &["log", "-z", "--no-color", parse::LOG_FORMAT, &skip, &count], QUICK).await?;
        if done.says("does not have any commits yet") {
            return Ok((Vec::new(), false));
        }
        let mut commits = parse::log(&done.allowing_a_cut()?);
        let more = commits.len() > limit as usize;
        commits.truncate(limit as usize);
        Ok((commits, more))
    }

    /// The newest first.
    pub async fn branches(&self, room: &RoomId) -> Result<Vec<Branch>, Error> {
        let count = format!("--count={MAX_BRANCHES}");
        let args = ["for-each-ref", &count, "--sort=-committerdate", parse::BRANCH_FORMAT, "refs/heads"];
        Ok(parse::branches(&self.0.git(room, &args, QUICK).await?.allowing_a_cut()?))
    }

    /// Begins a branch with what is there, and goes on in it.
    pub async fn create_branch(&self, room: &RoomId, name: &str) -> Result<Repository, Error> {
        self.go(room, name, &["switch", "--quiet", "--create", name]).await
    }

    /// Takes another branch's files. What is not committed comes along, or nothing happens.
    pub async fn switch(&self, room: &RoomId, branch: &str) -> Result<Repository, Error> {
        self.go(room, branch, &["switch", "--quiet", branch]).await
    }

    async fn go(&self, room: &RoomId, branch: &str, args: &[&str]) -> Result<Repository, Error> {
        if !words::is_branch_name(branch) {
            return Err(Error::BadBranchName);
        }
        self.0.change(room, args, QUICK).await
    }

    /// Takes what is new elsewhere in this branch, if nothing new is here.
    pub async fn pull(&self, room: &RoomId) -> Result<Repository, Error> {
        self.0.reach(room, Service::UploadPack, &["fetch", "--quiet", "--no-recurse-submodules"]).await?;
        self.0.change(room, &["merge", "--quiet", "--ff-only", "@{upstream}"], QUICK).await
    }

    /// Takes this branch's new commits to where the repository came from.
    pub async fn push(&self, room: &RoomId) -> Result<Repository, Error> {
        self.0.reach(room, Service::ReceivePack, &["push", "--quiet", "--set-upstream", "origin", "HEAD"]).await?;
        self.repository(room).await
    }
}

impl Shared {
    fn clones(&self) -> MutexGuard<'_, HashMap<RoomId, Repository>> {
        self.clones.lock().expect("the map of clones is only read and written")
    }

    /// Until the files are what the documents say, and documents what programs wrote.
    async fn settle(&self, room: &RoomId) -> Result<(), Error> {
        timeout(SETTLE_PATIENCE, self.sandboxes.absorb(room)).await.map_err(|_| Error::Restless)??;
        Ok(())
    }

    /// The workspace as the documents are, and nobody else's for a while.
    async fn hold(&self, room: &RoomId) -> Result<Held, Error> {
        let turn = self.turn(room).await?;
        let frozen = timeout(FREEZE_PATIENCE, self.sandboxes.freeze(room)).await.map_err(|_| Error::Held)??;
        Ok(Held { _frozen: frozen, _turn: turn })
    }

    /// Nobody else changes the repository while this is there.
    async fn turn(&self, room: &RoomId) -> Result<tokio::sync::OwnedMutexGuard<()>, Error> {
        if matches!(self.clones().get(room), Some(Repository::Cloning { .. })) {
            return Err(Error::Cloning);
        }
        timeout(FREEZE_PATIENCE, self.turns(room).lock_owned()).await.map_err(|_| Error::Busy)
    }

    fn turns(&self, room: &RoomId) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().expect("the map of turns is only read and written");
        if let Some(turn) = turns.get(room).and_then(Weak::upgrade) {
            return turn;
        }
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::default();
        turns.insert(room.clone(), Arc::downgrade(&turn));
        turn
    }

    /// Runs something that asks another server and leaves the files alone.
    async fn reach(&self, room: &RoomId, service: Service, args: &[&str]) -> Result<(), Error> {
        let _turn = self.turn(room).await?;
        self.sandboxes.touch(room);
        let abroad = match self.origin(room, service).await? {
            Some(url) => self.abroad(room, &url, service).await?,
            None => Abroad::default(),
        };
        self.git_abroad(room, abroad, args).await?;
        Ok(())
    }

    /// Runs something that changes the files, and returns when the documents show it.
    async fn change(&self, room: &RoomId, args: &[&str], patience: Duration) -> Result<Repository, Error> {
        let held = self.hold(room).await?;
        self.sandboxes.touch(room);
        self.git(room, args, patience).await?.succeeded()?;
        drop(held);
        self.settle(room).await?;
        Ok(Repository::Ready(self.status(room).await?))
    }

    async fn status(&self, room: &RoomId) -> Result<Status, Error> {
        let args = ["status", "--porcelain=v2", "--branch", "-z", "--untracked-files=all", "--ignore-submodules=dirty"];
        let done = self.git(room, &args, QUICK).await?;
        let cut = done.is_cut();
        parse::status(&done.allowing_a_cut()?, cut).ok_or_else(|| Error::Git("its status cannot be read".to_owned()))
    }
}

impl Patch {
    fn append(&mut self, other: Self) {
        self.text += &other.text;
        self.truncated |= other.truncated || self.text.len() > MAX_PATCH;
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::from(match error {
            StoreError::Full(_) => buildspaces_rooms::Error::Full,
            StoreError::Failed(cause) => buildspaces_rooms::Error::Storage(cause.into()),
        })
    }
}

impl From<SandboxError> for Error {
    fn from(error: SandboxError) -> Self {
        match error {
            SandboxError::Off { message, hint } => Self::Off { message, hint },
            SandboxError::Failed(reason) => Self::Sandbox(reason),
        }
    }
}
