//! The workspace mirror: keeps the files of a room's workspace and its documents and tree the same.
//!
//! 1. [`Mirrors::workspace`] loads what an earlier process knew, compares everything, and starts one
//!    task per workspace (`actor`), which owns all of its state (`core`).
//! 2. What programs do in the workspace is found by `scan` and taken into the room by `absorb`: a
//!    changed file becomes a minimal diff against its *replica*, a document that holds exactly what
//!    was last written to or read from disk.
//! 3. What people do is carried into the workspace by `arrange` (folders and names) and `flush` (texts).
//! 4. Files that are no documents stay in the workspace; `keep` copies their bytes into the store, and `arrange` makes a file from them
//!    that is not there.
//! 5. `disk` is the only code that touches the workspace, which is hostile; `state` is what survives a
//!    kill at any moment.
//!
//! Three rules decide when both sides changed the same thing:
//!
//! - Texts merge. A program takes away only what it can have seen.
//! - A deletion, on either side, loses against an edit that its author cannot have seen: the file is
//!   written again, or becomes a new node.
//! - Where a name is wanted twice, the room has it, and the file that was there is kept beside it as
//!   `<name>.from-disk`. (A text that a program replaced by something that is no text, while people were
//!   typing, is kept as `<name>.from-room`.)
//!
//! A program that reads a file, thinks, and writes it back undoes what was typed in between, as on any
//! disk. Runs are spared that by [`Workspace::freeze`].
//!
//! It starts no container and decides nothing about rules or runs.

mod absorb;
mod actor;
mod arrange;
mod core;
mod disk;
mod flush;
mod gitignore;
pub(crate) mod ignore;
mod keep;
mod ports;
mod scan;
mod state;
mod unshared;
mod watch;

#[cfg(test)]
mod memory;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use buildspaces_kernel::ids::{OrganisationId, RoomId};
use buildspaces_kernel::tasks::Tasks;
use buildspaces_plans::ports::{NewFile, Unshared};
use buildspaces_policy::tenancy::Tenancy;
use buildspaces_rooms::{self as rooms, Rooms};
use futures_util::future::BoxFuture;
use rustix::io::Errno;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch as watch_channel};

use self::actor::{Actor, Frost, MAX_REQUESTS, Request};
use self::core::Core;
pub use self::core::LeftOut;
use self::disk::{Disk, Placed};
use self::keep::Keeper;
use self::ports::{Live, LiveRoom};
use self::watch::Watcher;
use crate::files::Files;

/// Why a workspace could not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The data folder is full, gone or not writable.
    #[error("the room's workspace cannot be read or written: {0}")]
    Io(#[from] Errno),
    #[error(transparent)]
    Room(#[from] rooms::Error),
    /// A document's update could not be applied to its replica. The reason is for the log.
    #[error("a document could not be followed: {0}")]
    Document(String),
    /// Programs change the workspace faster than it can be compared. Trying again later helps.
    #[error("the workspace does not come to rest; stop what is writing into it and try again")]
    Restless,
    /// Some files could not be written, so the workspace does not hold what the documents do.
    #[error("{0} files of the workspace cannot be written; see whether the disk is full")]
    Incomplete(usize),
    /// There is nothing of that name, or it is not a regular file.
    #[error("there is no such file in the workspace")]
    NoSuchFile,
    /// The server is stopping, or the room was closed meanwhile: ask for the workspace again.
    #[error("the workspace was closed; try again")]
    Closed,
}

/// How workspaces are kept.
#[derive(Clone, Debug)]
pub struct Config {
    /// The server's data folder; workspaces are in `rooms/<room>/workspace`.
    pub data_dir: PathBuf,
    /// User and group that the files get; those of the server if it is `None`.
    pub owner: Option<(u32, u32)>,
}

/// The workspaces of this process. Clones share them.
#[derive(Clone)]
pub struct Mirrors {
    shared: Arc<Shared>,
}

struct Shared {
    config: Config,
    boot: String,
    rooms: Rooms,
    tasks: Tasks,
    watcher: Option<Watcher>,
    open: Mutex<HashMap<RoomId, Opening>>,
}

/// `None` while a workspace is loading.
type Opening = watch_channel::Receiver<Option<Result<Arc<Workspace>, Error>>>;

impl Mirrors {
    /// Must be called within a runtime.
    pub fn new(config: Config, rooms: Rooms, tasks: Tasks) -> Self {
        let watcher = Watcher::start(&tasks)
            .inspect_err(
                |e| tracing::warn!(error = %e, "workspaces cannot be watched; looking at them from time to time"),
            )
            .ok();
        let shared = Shared { config, boot: boot(), rooms, tasks, watcher, open: Mutex::default() };
        Self { shared: Arc::new(shared) }
    }

    /// The room's workspace. Loads it if need be, once however many ask; then documents and files are the
    /// same. Cancel-safe.
    pub async fn workspace(&self, room: &RoomId) -> Result<Arc<Workspace>, Error> {
        let mut opening = self.opening(room);
        let opened = opening.wait_for(Option::is_some).await.map_err(|_| Error::Closed)?;
        opened.clone().unwrap_or(Err(Error::Closed))
    }

    /// What of the room's workspace the tree does not show: see [`unshared`]. Loads the workspace if need be.
    pub(crate) async fn unshared(
        &self,
        room: &RoomId,
        folder: Option<&str>,
        most: usize,
    ) -> Result<(Vec<Unshared>, u64), Error> {
        // Another way to write a path would be another path here.
        let is_plain = |folder: &str| folder.split('/').all(|part| !matches!(part, "" | "." | ".."));
        if folder.is_some_and(|folder| !folder.is_empty() && !is_plain(folder)) {
            return Err(Error::NoSuchFile);
        }
        let workspace = self.workspace(room).await?;
        let tree = self.shared.rooms.room(room).await?.tree();
        let folder = folder.map(str::to_owned);
        let list = move || unshared::unshared(&workspace.disk, &tree, folder.as_deref(), most);
        tokio::task::spawn_blocking(list).await.map_err(|_| Error::Closed)?
    }

    /// Looks at all workspaces that are loaded, as [`Workspace::absorb`] does at one.
    pub(crate) async fn absorb_all(&self) {
        let loaded: Vec<_> = {
            let open = self.shared.open.lock().expect("nothing panics while it is held");
            let loaded = open.iter().filter_map(|(room, opening)| match &*opening.borrow() {
                Some(Ok(workspace)) => Some((room.clone(), workspace.clone())),
                _ => None,
            });
            loaded.collect()
        };
        let absorb = |(room, workspace): (RoomId, Arc<Workspace>)| async move {
            match workspace.absorb().await {
                Ok(()) | Err(Error::Closed) => {}
                Err(error) => tracing::warn!(%room, %error, "what programs wrote last is not in the documents yet"),
            }
        };
        futures_util::future::join_all(loaded.into_iter().map(absorb)).await;
    }

    /// Whether the room's workspace is loaded, so that nobody waits for it.
    pub(crate) fn is_open(&self, room: &RoomId) -> bool {
        let open = self.shared.open.lock().expect("nothing panics while it is held");
        let Some(opening) = open.get(room) else { return false };
        matches!(&*opening.borrow(), Some(Ok(workspace)) if !workspace.requests.is_closed())
    }

    /// The folders of the workspaces of an organisation's rooms, whether they are loaded or not.
    pub(crate) async fn folders_of(
        &self,
        organisation: &OrganisationId,
    ) -> Result<Vec<(RoomId, PathBuf)>, rooms::Error> {
        let rooms = self.shared.rooms.of(organisation).await?;
        let folder = |room: &RoomId| self.shared.config.data_dir.join("rooms").join(room.as_str()).join("workspace");
        Ok(rooms.into_iter().map(|room| (room.clone(), folder(&room))).collect())
    }

    fn opening(&self, room: &RoomId) -> Opening {
        let mut open = self.shared.open.lock().expect("nothing panics while it is held");
        if let Some(opening) = open.get(room) {
            let usable = match &*opening.borrow() {
                None => opening.has_changed().is_ok(),
                Some(Ok(workspace)) => !workspace.requests.is_closed(),
                Some(Err(_)) => false,
            };
            if usable {
                return opening.clone();
            }
        }
        let (sender, opening) = watch_channel::channel(None);
        let (shared, id) = (self.shared.clone(), room.clone());
        self.shared.tasks.spawn("workspace", async move {
            let loaded = match shared.rooms.room(&id).await {
                Ok(handle) => open_workspace(&shared, &id, Arc::new(Live::new(handle))).await,
                Err(e) => Err(e.into()),
            };
            match loaded {
                Ok((workspace, actor, keeping)) => {
                    shared.tasks.spawn("kept files", keeping);
                    sender.send_replace(Some(Ok(workspace)));
                    actor.run(shared.tasks.clone()).await;
                }
                Err(e) => {
                    tracing::error!(room = %id, error = %e, "a workspace could not be loaded");
                    sender.send_replace(Some(Err(e)));
                }
            }
        });
        open.insert(room.clone(), opening.clone());
        opening
    }
}

impl std::fmt::Debug for Mirrors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mirrors").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

/// A workspace and what works for it from now on.
type Started = (Arc<Workspace>, Actor, BoxFuture<'static, ()>);

async fn open_workspace(shared: &Shared, id: &RoomId, room: Arc<dyn LiveRoom>) -> Result<Started, Error> {
    let folder = shared.config.data_dir.join("rooms").join(id.as_str());
    let watcher = shared.watcher.as_ref();
    start(folder, shared.config.owner, shared.boot.clone(), room, watcher, &shared.tasks).await
}

async fn start(
    folder: PathBuf,
    owner: Option<(u32, u32)>,
    boot: String,
    room: Arc<dyn LiveRoom>,
    watcher: Option<&Watcher>,
    tasks: &Tasks,
) -> Result<Started, Error> {
    let host_dir = folder.join("workspace");
    let (tenancy, kept_room) = (room.tenancy(), room.clone());
    let core = tokio::task::spawn_blocking(move || Core::open(&folder, owner, &boot, room).map(Box::new))
        .await
        .map_err(|_| Error::Closed)??;
    let (requests, receiver) = mpsc::channel(MAX_REQUESTS);
    let (left_out_sender, left_out) = watch_channel::channel(LeftOut::default());
    let disk = core.disk.clone();
    let (holdings_sender, holdings) = watch_channel::channel(Vec::new());
    let mut actor = Actor::new(core, receiver, watcher.map(Watcher::subscribe), left_out_sender, holdings_sender);
    actor.begin().await?;
    let keeping = keep::run(Keeper::new(kept_room, disk.clone()), holdings, tasks.clone());
    let freezing = Arc::new(Semaphore::new(1));
    Ok((Arc::new(Workspace { host_dir, tenancy, disk, requests, freezing, left_out }), actor, Box::pin(keeping)))
}

/// One room's workspace.
#[derive(Debug)]
pub struct Workspace {
    host_dir: PathBuf,
    tenancy: watch_channel::Receiver<Tenancy>,
    disk: Arc<Disk>,
    requests: mpsc::Sender<Request>,
    /// One permit: two runs cannot hold the workspace still at once.
    freezing: Arc<Semaphore>,
    left_out: watch_channel::Receiver<LeftOut>,
}

/// Holds a workspace still. Dropping it lets edits flow into the workspace again.
#[derive(Debug)]
pub struct Guard {
    frost: Arc<Frost>,
    _permit: OwnedSemaphorePermit,
}

impl Guard {
    fn new(frost: Arc<Frost>, permit: OwnedSemaphorePermit) -> Self {
        Self { frost, _permit: permit }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.frost.thaw();
    }
}

#[async_trait]
impl Files for Workspace {
    fn host_dir(&self) -> &Path {
        &self.host_dir
    }

    fn tenancy(&self) -> Tenancy {
        self.tenancy.borrow().clone()
    }

    async fn move_into(&self, folder: &Path) -> io::Result<bool> {
        let (reply, answer) = oneshot::channel();
        let request = Request::Move { folder: folder.to_owned(), reply };
        self.requests.send(request).await.map_err(|_| io::Error::other(Error::Closed))?;
        answer.await.map_err(|_| io::Error::other(Error::Closed))?.map_err(io::Error::other)
    }

    async fn settle(&self) -> io::Result<()> {
        self.absorb().await.map_err(io::Error::other)
    }

    fn open(&self, path: &str) -> io::Result<Option<File>> {
        match Self::open(self, path) {
            Ok(file) => Ok(Some(file)),
            Err(Error::NoSuchFile) => Ok(None),
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

impl Workspace {
    /// What of the workspace the tree does not show, as of now.
    pub fn left_out(&self) -> LeftOut {
        *self.left_out.borrow()
    }

    /// Makes the workspace hold exactly the documents' present text, and keeps later edits out of it while
    /// the guard lives; what programs write is still taken into the room. Returns each text file's path and
    /// the SHA-256 of its bytes, by path. Waits while another guard lives. Cancel-safe.
    pub async fn freeze(&self) -> Result<(Vec<(String, [u8; 32])>, Guard), Error> {
        let permit = self.freezing.clone().acquire_owned().await.map_err(|_| Error::Closed)?;
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request::Freeze { permit, reply }).await.map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }

    /// Looks at the whole workspace. When it returns, documents and tree show everything that was in it.
    /// Cancel-safe.
    pub async fn absorb(&self) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request::Absorb(reply)).await.map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }

    /// Puts files where nothing of their names is, then looks at the whole workspace as [`Workspace::absorb`] does. A name that is taken
    /// keeps what it has; those paths are returned. Cancel-safe: what was begun is carried out.
    pub async fn fill(&self, files: Vec<NewFile>) -> Result<Vec<String>, Error> {
        let disk = self.disk.clone();
        let put_all = move || -> Result<Vec<String>, Errno> {
            let _stay = disk.stay();
            let mut taken = Vec::new();
            for file in files {
                if !put(&disk, &file)? {
                    taken.push(file.path);
                }
            }
            Ok(taken)
        };
        let taken = tokio::task::spawn_blocking(put_all).await.map_err(|_| Error::Closed)??;
        self.absorb().await?;
        Ok(taken)
    }

    /// Opens a regular file of the workspace for reading. Never follows a link, never waits for a writer.
    /// Blocks for as long as the disk does.
    pub fn open(&self, path: &str) -> Result<File, Error> {
        let _stay = self.disk.stay();
        match self.disk.open_file(path) {
            Ok(Some((file, _))) => Ok(file),
            Ok(None) => Err(Error::NoSuchFile),
            Err(e) if is_none(e) => Err(Error::NoSuchFile),
            Err(e) => Err(e.into()),
        }
    }
}

/// True for what the system says of a path at which nothing is that can be opened here.
fn is_none(error: Errno) -> bool {
    matches!(
        error,
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV | Errno::INVAL | Errno::NXIO | Errno::ISDIR
    )
}

/// Writes a file and the folders above it; false if its name is taken, or that of a folder by what is none.
fn put(disk: &Disk, file: &NewFile) -> Result<bool, Errno> {
    match put_anew(disk, file) {
        Err(Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => Ok(false),
        done => done,
    }
}

fn put_anew(disk: &Disk, file: &NewFile) -> Result<bool, Errno> {
    for (end, _) in file.path.match_indices('/') {
        match disk.make_dir(&file.path[..end]) {
            Ok(_) | Err(Errno::EXIST) => {}
            Err(e) => return Err(e),
        }
    }
    let prepared = disk.prepare_new(&file.bytes, file.executable)?;
    match disk.place(&prepared, &file.path, None) {
        Ok(Placed::Done(_)) => Ok(true),
        other => {
            disk.remove_leftover(&prepared.name);
            other.map(|_| false)
        }
    }
}

/// Names the machine's present run, so that a later one can tell that it was down.
fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map_or_else(|_| "unknown".to_owned(), |id| id.trim().to_owned())
}
