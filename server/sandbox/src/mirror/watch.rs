//! Tells which folders of which workspace changed, by inotify.
//!
//! One inotify instance serves every room, because a user may have few of them. Folders are watched
//! one by one, so that the sandbox cannot use up the watches by folders that the tree does not show.
//! An event only says *look there*; nothing is concluded from it. When the kernel drops events,
//! every workspace is looked at as a whole.
//!
//! Start with [`Watcher::subscribe`].

use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard};

use buildspaces_kernel::ids::NodeId;
use buildspaces_kernel::tasks::Tasks;
use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init, remove_watch};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use super::core::Scope;
use super::ignore::is_ignored;

/// Bytes of events read at once. What does not fit stays in the kernel's queue.
const BUFFER: usize = 16 << 10;

const WHAT: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::ONLYDIR)
    .union(WatchFlags::EXCL_UNLINK);

/// Watches the folders of every workspace of this process.
#[derive(Clone, Debug)]
pub(super) struct Watcher {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    inotify: AsyncFd<OwnedFd>,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    folders: HashMap<i32, (u64, Option<NodeId>)>,
    bells: HashMap<u64, Arc<Bell>>,
}

/// Where the changes of one workspace gather.
#[derive(Debug, Default)]
struct Bell {
    scope: Mutex<Scope>,
    rung: Notify,
}

/// One workspace's watches. Dropping it removes them.
#[derive(Debug)]
pub(super) struct Subscription {
    watcher: Watcher,
    id: u64,
    bell: Arc<Bell>,
}

impl Watcher {
    /// Must be called within a runtime.
    pub(super) fn start(tasks: &Tasks) -> Result<Self, Errno> {
        let inotify = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe, for types whose descriptor may change; an `OwnedFd`'s does not"
        )]
        let inotify = AsyncFd::new(inotify).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
        let watcher = Self { inner: Arc::new(Inner { inotify, table: Mutex::default() }) };
        let (inner, stop) = (watcher.inner.clone(), tasks.clone());
        tasks.spawn("workspace watcher", async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = inner.read_events() => {}
            }
        });
        Ok(watcher)
    }

    pub(super) fn subscribe(&self) -> Subscription {
        let bell = Arc::new(Bell::default());
        let mut table = self.inner.table();
        table.next += 1;
        let id = table.next;
        table.bells.insert(id, bell.clone());
        Subscription { watcher: self.clone(), id, bell }
    }
}

impl Subscription {
    /// Completes when something changed since the last [`Subscription::take`]. Cancel-safe.
    pub(super) async fn changed(&self) {
        self.bell.rung.notified().await;
    }

    /// The folders that changed.
    pub(super) fn take(&self) -> Scope {
        std::mem::take(&mut *self.bell.scope.lock().expect("nothing panics while it is held"))
    }

    /// Watches a folder, known by its open descriptor: its path may lead elsewhere by now.
    pub(super) fn watch(&self, folder: Option<NodeId>, dir: &OwnedFd) -> Result<(), Errno> {
        let path = format!("/proc/self/fd/{}", dir.as_raw_fd());
        let mut table = self.watcher.inner.table();
        let watch = add_watch(self.watcher.inner.inotify.get_ref(), path, WHAT)?;
        table.folders.insert(watch, (self.id, folder));
        Ok(())
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut table = self.watcher.inner.table();
        table.bells.remove(&self.id);
        let id = self.id;
        table.folders.retain(|watch, (owner, _)| {
            if *owner == id {
                let _ = remove_watch(self.watcher.inner.inotify.get_ref(), *watch);
            }
            *owner != id
        });
    }
}

impl Inner {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().expect("nothing panics while it is held")
    }

    async fn read_events(&self) {
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        loop {
            let Ok(mut ready) = self.inotify.readable().await else { return };
            let mut reader = Reader::new(self.inotify.get_ref(), &mut buffer);
            loop {
                match reader.next() {
                    Ok(event) => {
                        let name = event.file_name().map(|name| name.to_str().unwrap_or(""));
                        self.handle_event(event.wd(), event.events(), name);
                    }
                    Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => break,
                    Err(e) => {
                        tracing::error!(error = %e, "the workspace watcher cannot read its events");
                        return;
                    }
                }
            }
            ready.clear_ready();
        }
    }

    fn handle_event(&self, watch: i32, what: ReadFlags, name: Option<&str>) {
        let mut table = self.table();
        if what.contains(ReadFlags::QUEUE_OVERFLOW) {
            tracing::warn!("the kernel dropped workspace events; looking at everything");
            table.bells.values().for_each(|bell| bell.ring(Scope::Everything));
            return;
        }
        if what.contains(ReadFlags::IGNORED) {
            table.folders.remove(&watch);
            return;
        }
        if name.is_some_and(is_ignored) {
            return;
        }
        if let Some((workspace, folder)) = table.folders.get(&watch)
            && let Some(bell) = table.bells.get(workspace)
        {
            bell.ring(Scope::Folders([folder.clone()].into()));
        }
    }
}

impl Bell {
    fn ring(&self, scope: Scope) {
        self.scope.lock().expect("nothing panics while it is held").join(scope);
        self.rung.notify_one();
    }
}
