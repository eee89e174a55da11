//! The task that owns one workspace's mirror and decides when it acts.
//!
//! It waits for the room's events, the watcher and requests, gathers what belongs together, and lets
//! [`Core`] work on a blocking thread. It knows nothing of files or documents.
//!
//! Errors are not fatal: whatever went wrong, everything is compared again a little later.
//! Start with [`Actor::run`].

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use buildspaces_kernel::ids::NodeId;
use buildspaces_kernel::tasks::Tasks;
use buildspaces_rooms::RoomEvent;
use buildspaces_rooms::tree::NodeKind;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, OwnedSemaphorePermit, broadcast, mpsc, oneshot, watch};
use tokio::time::Instant;

use super::core::{Core, LeftOut, Scope};
use super::disk::Identity;
use super::keep::Holding;
use super::state::Hash;
use super::watch::Subscription;
use super::{Error, Guard};

/// How long edits gather before they are written.
const EDITS_GATHER: Duration = Duration::from_millis(50);

/// A workspace is looked at when it was quiet for this long, ...
const DISK_QUIET: Duration = Duration::from_millis(30);

/// ... or, if it never is, this long after the first change.
const DISK_AT_LATEST: Duration = Duration::from_millis(250);

/// After work that took `t` there is a pause of four times `t`, at most this: a busy workspace takes
/// a fifth of one processor.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// After an error everything is compared again this much later.
const RETRY: Duration = Duration::from_secs(1);

/// How often a workspace is looked at as a whole when it cannot be watched.
const UNWATCHED_LOOK: Duration = Duration::from_secs(2);

/// When something changed on disk and the last look at everything is older than this, the next one
/// is at everything: some folders are not watched.
const FULL_LOOK: Duration = Duration::from_secs(5);

/// Requests that may wait. A caller waits when it is full.
pub(super) const MAX_REQUESTS: usize = 16;

/// What others ask of the task.
pub(super) enum Request {
    Absorb(oneshot::Sender<Result<(), Error>>),
    Freeze {
        permit: OwnedSemaphorePermit,
        reply: oneshot::Sender<Result<Held, Error>>,
    },
    /// See [`crate::files::Files::move_into`].
    Move {
        folder: PathBuf,
        reply: oneshot::Sender<Result<bool, Error>>,
    },
}

/// A workspace held still: each text's path and hash, and what holds it.
pub(super) type Held = (Vec<(String, Hash)>, Guard);

/// Whether documents are kept out of the workspace.
#[derive(Debug, Default)]
pub(super) struct Frost {
    frozen: AtomicBool,
    thawed: Notify,
}

impl Frost {
    pub(super) fn thaw(&self) {
        self.frozen.store(false, Ordering::SeqCst);
        self.thawed.notify_one();
    }
}

pub(super) struct Actor {
    /// Absent only while a blocking thread works with it.
    core: Option<Box<Core>>,
    events: broadcast::Receiver<RoomEvent>,
    requests: mpsc::Receiver<Request>,
    watch: Option<Subscription>,
    watched: HashMap<Option<NodeId>, Identity>,
    frost: Arc<Frost>,
    left_out: watch::Sender<LeftOut>,
    holdings: watch::Sender<Vec<Holding>>,
    first_edit: Option<Instant>,
    first_change: Option<Instant>,
    last_change: Option<Instant>,
    last_full: Instant,
    retry: Option<Instant>,
    not_before: Instant,
}

impl Actor {
    pub(super) fn new(
        core: Box<Core>,
        requests: mpsc::Receiver<Request>,
        watch: Option<Subscription>,
        left_out: watch::Sender<LeftOut>,
        holdings: watch::Sender<Vec<Holding>>,
    ) -> Self {
        let events = core.room.events();
        let now = Instant::now();
        Self {
            core: Some(core),
            events,
            requests,
            watch,
            watched: HashMap::new(),
            frost: Arc::default(),
            left_out,
            holdings,
            first_edit: None,
            first_change: None,
            last_change: None,
            last_full: now,
            retry: None,
            not_before: now,
        }
    }

    /// The first comparison of everything. An error means that the workspace cannot be used now.
    pub(super) async fn begin(&mut self) -> Result<(), Error> {
        self.work(|core| core.settle(Scope::Everything)).await
    }

    /// Works until the process stops, the room closes, or everybody has let go of the workspace.
    pub(super) async fn run(mut self, tasks: Tasks) {
        loop {
            let due = self.due();
            tokio::select! {
                () = tasks.cancelled() => return,
                request = self.requests.recv() => match request {
                    Some(request) => self.handle_request(request).await,
                    None => return,
                },
                event = self.events.recv() => match event {
                    Ok(_) | Err(RecvError::Lagged(_)) => {
                        self.first_edit.get_or_insert_with(Instant::now);
                    }
                    Err(RecvError::Closed) => return,
                },
                () = changed(self.watch.as_ref()) => {
                    let now = Instant::now();
                    self.first_change.get_or_insert(now);
                    self.last_change = Some(now);
                },
                () = self.frost.thawed.notified() => {
                    self.first_edit.get_or_insert_with(Instant::now);
                },
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => self.round().await,
            }
        }
    }

    fn is_frozen(&self) -> bool {
        self.frost.frozen.load(Ordering::SeqCst)
    }

    /// When there is something to do next.
    fn due(&self) -> Option<Instant> {
        let edits = self.first_edit.filter(|_| !self.is_frozen()).map(|first| first + EDITS_GATHER);
        let disk = self
            .first_change
            .zip(self.last_change)
            .map(|(first, last)| (first + DISK_AT_LATEST).min(last + DISK_QUIET));
        let unwatched = self.watch.is_none().then(|| self.last_full + UNWATCHED_LOOK);
        let due = [edits, disk, unwatched, self.retry].into_iter().flatten().min()?;
        Some(due.max(self.not_before))
    }

    async fn round(&mut self) {
        let now = Instant::now();
        let mut scope = Scope::default();
        let watched = self.watch.as_ref().map(Subscription::take).unwrap_or_default();
        let changed = !watched.is_empty();
        scope.join(watched);
        let retry = self.retry.take_if(|at| *at <= now).is_some();
        if retry || ((changed || self.watch.is_none()) && now > self.last_full + FULL_LOOK.min(UNWATCHED_LOOK * 2)) {
            scope = Scope::Everything;
        }
        if scope == Scope::Everything {
            self.last_full = now;
        }
        (self.first_change, self.last_change) = (None, None);
        let frozen = self.is_frozen();
        if !frozen {
            self.first_edit = None;
        }
        let result = self
            .work(move |core| {
                if retry {
                    core.try_again();
                }
                if frozen {
                    core.rescan.join(scope);
                    core.absorb()
                } else {
                    core.settle(scope)
                }
            })
            .await;
        if let Err(e) = result {
            tracing::warn!(error = %e, "the workspace could not be compared with the room; trying again");
            let later = Instant::now() + RETRY;
            self.retry = Some(later);
            // What changes meanwhile cannot be compared either.
            self.not_before = self.not_before.max(later);
        }
    }

    async fn handle_request(&mut self, request: Request) {
        match request {
            Request::Absorb(reply) => {
                self.looks_at_everything();
                let frozen = self.is_frozen();
                let result = self
                    .work(move |core| {
                        if frozen {
                            core.rescan = Scope::Everything;
                            core.absorb()
                        } else {
                            core.settle(Scope::Everything)
                        }
                    })
                    .await;
                let _ = reply.send(result);
            }
            Request::Freeze { permit, reply } => {
                self.looks_at_everything();
                let mut result = Ok(Vec::new());
                let settled = self
                    .work(|core| {
                        core.try_again();
                        core.settle(Scope::Everything)
                    })
                    .await;
                if let Some(core) = self.core.as_ref() {
                    result = settled.and_then(|()| core.texts_if_complete());
                }
                let answer = result.map(|texts| {
                    self.frost.frozen.store(true, Ordering::SeqCst);
                    (texts, Guard::new(self.frost.clone(), permit))
                });
                // If nobody waits for the answer any more, dropping the guard thaws.
                let _ = reply.send(answer);
            }
            Request::Move { folder, reply } => {
                let _ = reply.send(self.move_into(folder).await);
            }
        }
    }

    /// What was to be looked at is looked at now.
    fn looks_at_everything(&mut self) {
        if let Some(watch) = &self.watch {
            watch.take();
        }
        self.last_full = Instant::now();
    }

    async fn move_into(&mut self, folder: PathBuf) -> Result<bool, Error> {
        // The root will be another folder; what is below it stays watched.
        self.watched.remove(&None);
        let moved = self.work(move |core| Ok(core.disk.move_into(&folder)?)).await;
        if let Err(e) = &moved {
            tracing::error!(error = %e, "the files of a room could not be moved; they are opened anew");
            self.requests.close();
        }
        moved
    }

    /// Lets the core work on a blocking thread, then watches the folders that are new.
    async fn work<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Core) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let Some(mut core) = self.core.take() else { return Err(Error::Closed) };
        let watch = self.watch.take();
        let mut watched = std::mem::take(&mut self.watched);
        let started = Instant::now();
        let done = tokio::task::spawn_blocking(move || {
            let result = work(&mut core);
            let watch = watch.and_then(|watch| match watch_folders(&mut core, &watch, &mut watched) {
                Ok(()) => Some(watch),
                Err(e) => {
                    tracing::warn!(error = %e, "the workspace cannot be watched; looking at it from time to time");
                    None
                }
            });
            (core, watch, watched, result)
        })
        .await;
        let Ok((core, watch, watched, result)) = done else {
            // It panicked, which is logged where it happened; the requests end with this task.
            self.requests.close();
            return Err(Error::Closed);
        };
        (self.core, self.watch, self.watched) = (Some(core), watch, watched);
        if let Some(core) = &self.core {
            if !core.failing.is_empty() {
                self.retry.get_or_insert(Instant::now() + RETRY);
            }
            if !core.rescan.is_empty() || core.tree_dirty {
                self.first_change.get_or_insert_with(Instant::now);
                self.last_change.get_or_insert_with(Instant::now);
            }
            let left_out = LeftOut { failing: core.failing.len() as u64, ..core.left_out };
            self.left_out.send_if_modified(|old| std::mem::replace(old, left_out) != left_out);
            let holdings = core.holdings();
            self.holdings.send_if_modified(|old| {
                let is_new = *old != holdings;
                *old = holdings;
                is_new
            });
        }
        let now = Instant::now();
        self.not_before = now + (now - started).saturating_mul(4).min(MAX_PAUSE);
        result
    }
}

async fn changed(watch: Option<&Subscription>) {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}

/// Watches every folder that is not watched yet. What happened in it before is found by one more look.
fn watch_folders(
    core: &mut Core,
    watch: &Subscription,
    watched: &mut HashMap<Option<NodeId>, Identity>,
) -> Result<(), rustix::io::Errno> {
    let folders = core.known.iter().filter(|(_, known)| known.kind == NodeKind::Folder).filter_map(|(id, known)| {
        let identity = known.seen?.stamp.identity;
        (watched.get(&Some(id.clone())) != Some(&identity)).then(|| (Some(id.clone()), identity))
    });
    let mut new: Vec<(Option<NodeId>, Identity)> = folders.collect();
    if !watched.contains_key(&None) {
        new.push((None, Identity::default()));
    }
    for (folder, identity) in new {
        let path = folder.as_ref().map_or(Some(String::new()), |id| core.path(id));
        let Some(dir) = path.and_then(|path| core.disk.dir(&path).ok()) else { continue };
        watch.watch(folder.clone(), &dir)?;
        core.rescan.add(folder.clone());
        watched.insert(folder, identity);
    }
    watched.retain(|folder, _| folder.as_ref().is_none_or(|id| core.known.contains_key(id)));
    Ok(())
}
