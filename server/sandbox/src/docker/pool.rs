//! Sandboxes that were started before anybody asked, so that nobody waits for one. Each is given to one room, once, and is that room's until
//! it ends; none comes back.
//!
//! What waits is a container as any other, with an agent that has dialled and an empty workspace. [`Shared::claim`] gives one away: the
//! room's files are moved into that workspace ([`Files::move_into`]). [`keep`] is the one task that makes new ones and removes what is too
//! many, too old an image's, or dead.
//!
//! How many wait, and of which kinds of rooms, follows how many were asked for lately, within what the operator, the places for sandboxes and the machine's memory allow.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use buildspaces_kernel::ids::{RoomId, RoomKind};
use buildspaces_plans::devcontainer::Devcontainer;
use buildspaces_plans::ports::{Availability, SandboxError};
use buildspaces_sandbox_agent::protocol::Line;
use metrics::{counter, gauge, histogram};
use rustix::fs::{Gid, Uid, chown};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::accounts::Seat;
use super::made::Granted;
use super::sandbox::{Place, Sandbox};
use super::{CONNECT_PATIENCE, Shared, disk};
use crate::Limits;
use crate::files::Files;
use crate::steps::Container as _;
use crate::workspace_owner;

/// How often those that wait are looked at.
const EVERY: Duration = Duration::from_secs(5);

/// So long after one was given away the next is started, so that it does not slow what the first was wanted for.
const PAUSE: Duration = Duration::from_secs(1);

/// As many wait as were asked for within this time, because that is how people come: one lesson, one link in a chat.
const LATELY: Duration = Duration::from_secs(60);

/// In the folder of a sandbox that is given to a room: see [`Claim`].
const CLAIM: &str = "claim.json";

/// In the folder of a sandbox that waits: its workspace. It leaves when a room's files are moved into it.
const WORKSPACE: &str = "workspace";

#[derive(Debug, Default)]
pub(super) struct Pool {
    state: Mutex<Members>,
    /// Rung by [`Pool::look`].
    changed: Notify,
    /// Held while one is being made.
    making: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Members {
    ready: VecDeque<Warm>,
    /// Of those, of those that are being made, and of those that are being given away or removed.
    places: HashSet<Place>,
    /// When one was asked for and of which kind, whether there was one or not.
    asked: VecDeque<(Instant, RoomKind)>,
    /// What was asked for last.
    last: RoomKind,
    /// Rooms' files cannot be moved on this machine, so none is of any use.
    is_useless: bool,
}

/// A sandbox that waits for a room.
#[derive(Clone, Debug)]
struct Warm {
    sandbox: Arc<Sandbox>,
    /// Its workspace on the host, which is empty.
    folder: PathBuf,
}

/// What a later process of this server must know of a container that has no room's name.
#[derive(Debug, Serialize, Deserialize)]
struct Claim {
    room: RoomId,
    workspace: PathBuf,
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, Members> {
        self.state.lock().expect("short sections, no panics")
    }

    pub(super) fn len(&self) -> usize {
        self.lock().ready.len()
    }

    /// Something changed that decides how many are to wait.
    pub(super) fn look(&self) {
        self.changed.notify_one();
    }

    /// The one with these limits that waited longest.
    fn take(&self, limits: &Limits) -> Option<Warm> {
        let mut members = self.lock();
        members.asked.push_back((Instant::now(), limits.kind.clone()));
        members.last = limits.kind.clone();
        let at = members.ready.iter().position(|warm| warm.sandbox.limits() == limits);
        let taken = at.and_then(|at| members.ready.remove(at));
        members.count();
        drop(members);
        self.look();
        taken
    }

    /// How many wait of a kind.
    fn len_of(&self, kind: &RoomKind) -> usize {
        self.lock().ready.iter().filter(|warm| warm.sandbox.limits().kind == *kind).count()
    }

    /// Takes out the newest of a kind of which there are more than are `wanted`.
    fn take_extra(&self, wanted: &BTreeMap<RoomKind, usize>) -> Option<Warm> {
        let mut members = self.lock();
        let mut seen = BTreeMap::<&RoomKind, usize>::new();
        let at = members.ready.iter().position(|warm| {
            let kind = &warm.sandbox.limits().kind;
            let seen = seen.entry(kind).or_default();
            *seen += 1;
            *seen > wanted.get(kind).copied().unwrap_or(0)
        })?;
        let extra = members.ready.remove(at);
        members.count();
        extra
    }

    /// Takes out those for which `is_bad` is true.
    fn take_bad(&self, is_bad: impl Fn(&Warm) -> bool) -> Vec<Warm> {
        let mut members = self.lock();
        let (bad, good): (Vec<Warm>, _) = std::mem::take(&mut members.ready).into_iter().partition(is_bad);
        members.ready = good.into();
        members.count();
        bad
    }

    /// Whether the container of that place is the pool's business and nobody else's.
    pub(super) fn has(&self, place: &Place) -> bool {
        self.lock().places.contains(place)
    }

    /// No more are made once this returns. The server is stopping, which removes all containers.
    pub(super) async fn close(&self) {
        let _making = self.making.lock().await;
        self.lock().ready.clear();
    }
}

impl Members {
    fn count(&self) {
        gauge!("buildspaces_sandboxes_warm").set(self.ready.len() as f64);
    }
}

/// A room got a sandbox `how`, which began to be made at `began`.
pub(super) fn started(how: &'static str, began: Instant) {
    counter!("buildspaces_sandbox_starts_total", "from" => how).increment(1);
    histogram!("buildspaces_sandbox_start_seconds", "from" => how).record(began.elapsed());
}

impl Shared {
    /// Gives a sandbox that waits to `room`, which has none, with `files`, as the room wants it and with what it was `granted`. `None` if none waits, or none can
    /// have these files; then the seat stays where it is. The caller holds the room's lock.
    pub(super) async fn claim(
        self: &Arc<Self>,
        room: &RoomId,
        files: &Arc<dyn Files>,
        devcontainer: Option<&Devcontainer>,
        granted: &Granted,
        seat: &mut Option<Seat>,
    ) -> Result<Option<Arc<Sandbox>>, SandboxError> {
        if self.config.warm == 0 {
            return Ok(None);
        }
        while let Some(warm) = self.pool.take(&granted.limits) {
            if !warm.sandbox.is_connected() {
                self.drop_warm(warm, "it died before a room needed it").await;
                continue;
            }
            self.remember(warm.sandbox.place(), devcontainer, granted).await;
            let outcome = match self.give(&warm, room, files).await {
                Ok(Some(workspace)) => {
                    let allowed = disk::allowed(workspace.clone(), &granted.limits).await;
                    tracing::info!(%room, container = warm.sandbox.short_id(), "a room got a sandbox that was waiting");
                    warm.sandbox.begins();
                    warm.sandbox.takes_seat(seat.take());
                    if let Some(devcontainer) = devcontainer {
                        warm.sandbox.is_made_by(devcontainer.clone());
                    }
                    let sandbox = self.attend(room, warm.sandbox, Some((workspace, allowed)));
                    self.pool.lock().places.remove(sandbox.place());
                    return Ok(Some(sandbox));
                }
                // On another file system, for one. The files are where they were.
                Ok(None) => {
                    self.pool.lock().is_useless = true;
                    Ok(None)
                }
                Err(error) => {
                    Err(self.failed(format!("the room's files could not be moved into its sandbox: {error}")))
                }
            };
            self.drop_warm(warm, "a room's files could not be moved into it").await;
            return outcome;
        }
        Ok(None)
    }

    /// Makes `warm` the room's. Returns where its workspace is now; `None` if the files cannot be moved.
    async fn give(&self, warm: &Warm, room: &RoomId, files: &Arc<dyn Files>) -> std::io::Result<Option<PathBuf>> {
        let workspace = std::path::absolute(files.host_dir())?;
        let claim = serde_json::to_vec(&Claim { room: room.clone(), workspace: workspace.clone() })?;
        // Before anything runs in it: from now on it is the room's, whatever becomes of this process.
        tokio::fs::write(self.folder.join(warm.sandbox.place().as_str()).join(CLAIM), claim).await?;
        Ok(files.move_into(&warm.folder).await?.then_some(workspace))
    }

    /// Whose the sandbox at `place` is, and where its files are if that is not what the engine says; `None` if it is nobody's.
    pub(super) async fn owner(&self, place: &Place) -> Option<(RoomId, Option<PathBuf>)> {
        if !place.is_no_rooms() {
            return Some((RoomId::parse(place.as_str())?, None));
        }
        let folder = self.folder.join(place.as_str());
        let Claim { room, workspace } =
            serde_json::from_slice(&tokio::fs::read(folder.join(CLAIM)).await.ok()?).ok()?;
        // A process that was killed between the two: the room's files never came, and what runs in there would see none.
        let is_empty = tokio::fs::try_exists(folder.join(WORKSPACE)).await.unwrap_or(true);
        (!is_empty).then_some((room, Some(workspace)))
    }

    /// How many are to wait now, of each kind.
    fn wanted(&self) -> BTreeMap<RoomKind, usize> {
        if !self.reconciled.load(Ordering::Acquire) || self.stopping.load(Ordering::Acquire) {
            return BTreeMap::new();
        }
        let mut members = self.pool.lock();
        let now = Instant::now();
        while members.asked.front().is_some_and(|(asked, _)| now.duration_since(*asked) > LATELY) {
            members.asked.pop_front();
        }
        // The newest first, and one at least, of what was asked for last.
        let mut asked: Vec<RoomKind> = members.asked.iter().rev().map(|(_, kind)| kind.clone()).collect();
        if asked.is_empty() {
            asked.push(members.last.clone());
        }
        let is_useless = members.is_useless;
        drop(members);
        if is_useless {
            return BTreeMap::new();
        }
        let in_use =
            self.slots().iter().filter(|(_, slot)| slot.sandbox.try_lock().map_or(true, |s| s.is_some())).count();
        let places = self.config.max_sandboxes.saturating_sub(in_use);
        let memory = |kind: &RoomKind| self.config.allowances.of_kind(kind).map(|limits| limits.memory);
        wanted(&asked, self.config.warm.min(places), memory, available_memory())
    }

    /// What the next one is to have, if one more is to wait.
    fn lacking(&self) -> Option<Limits> {
        let wanted = self.wanted();
        let (kind, _) = wanted.iter().find(|(kind, wanted)| self.pool.len_of(kind) < **wanted)?;
        self.config.allowances.of_kind(kind).cloned()
    }

    async fn make_warm(self: &Arc<Self>, limits: &Limits) -> Result<(), SandboxError> {
        let _making = self.pool.making.lock().await;
        if self.stopping.load(Ordering::Acquire) {
            return Ok(());
        }
        let place = Place::new();
        self.pool.lock().places.insert(place.clone());
        match Box::pin(self.make_warm_at(place.clone(), limits)).await {
            Ok((sandbox, folder)) => {
                let mut members = self.pool.lock();
                members.ready.push_back(Warm { sandbox: Arc::new(sandbox), folder });
                members.count();
                Ok(())
            }
            Err(error) => {
                self.forget(&place).await;
                self.pool.lock().places.remove(&place);
                Err(error)
            }
        }
    }

    async fn make_warm_at(self: &Arc<Self>, place: Place, limits: &Limits) -> Result<(Sandbox, PathBuf), SandboxError> {
        let folder = self.folder.join(place.as_str()).join(WORKSPACE);
        make_folder(&folder).await.map_err(|error| {
            SandboxError::Failed(format!("the folder {} cannot be made: {error}", folder.display()))
        })?;
        let sandbox = Box::pin(self.run(place, None, &folder, &self.config.image, limits)).await?;
        // Only what can be used at once is of any use.
        match sandbox.connect(Line::Steps, CONNECT_PATIENCE).await {
            Ok(connection) => {
                sandbox.link().park(Line::Steps, connection);
                Ok((sandbox, folder))
            }
            Err(reason) => {
                sandbox.kill().await;
                Err(SandboxError::Failed(reason))
            }
        }
    }

    /// Removes one that no room will get.
    async fn drop_warm(&self, warm: Warm, reason: &str) {
        tracing::debug!(container = warm.sandbox.short_id(), reason, "removing a sandbox that was waiting");
        warm.sandbox.ends_because(reason);
        warm.sandbox.kill().await;
        self.forget(warm.sandbox.place()).await;
        self.pool.lock().places.remove(warm.sandbox.place());
    }

    /// Removes those that are dead, and those of another image than `image`.
    async fn look_through(&self, image: &str) {
        let waiting: Vec<Warm> = self.pool.lock().ready.iter().cloned().collect();
        let mut bad = HashSet::new();
        for warm in &waiting {
            if warm.sandbox.image() != image || warm.sandbox.state().await.is_gone() {
                bad.insert(warm.sandbox.place());
            }
        }
        for warm in self.pool.take_bad(|warm| bad.contains(warm.sandbox.place())) {
            self.drop_warm(warm, "it is dead, or its image was replaced").await;
        }
    }
}

/// How many are to wait of each kind: as many as were `asked` for, newest first, but no more than `most`, and only where there is memory for what
/// runs in them once they are given away. What has no memory is of no kind that there is.
fn wanted(
    asked: &[RoomKind],
    most: usize,
    memory: impl Fn(&RoomKind) -> Option<u64>,
    available: Option<u64>,
) -> BTreeMap<RoomKind, usize> {
    let (mut wanted, mut left) = (BTreeMap::new(), available.unwrap_or(u64::MAX));
    for kind in asked {
        let Some(memory) = memory(kind).filter(|memory| *memory <= left) else { continue };
        if wanted.values().sum::<usize>() == most {
            break;
        }
        left -= memory;
        *wanted.entry(kind.clone()).or_default() += 1;
    }
    wanted
}

/// Bytes of memory that programs could take without swapping, as the kernel estimates; `None` where it does not tell.
fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1 << 10)
}

async fn make_folder(folder: &Path) -> std::io::Result<()> {
    tokio::fs::create_dir_all(folder).await?;
    if let Some((uid, gid)) = workspace_owner() {
        chown(folder, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    }
    Ok(())
}

/// Keeps as many waiting as are wanted.
pub(super) async fn keep(shared: Arc<Shared>) {
    if shared.config.warm == 0 {
        return;
    }
    let mut availability = shared.availability.subscribe();
    loop {
        // While there is no engine nothing can be said of those that wait.
        let ready = *availability.borrow_and_update() == Availability::Ready;
        if ready && let Ok(Some(image)) = shared.engine.image(&shared.config.image).await {
            shared.look_through(&image).await;
            // Those that are too many first: they may be of a kind that nobody asks for now.
            while let Some(extra) = shared.pool.take_extra(&shared.wanted()) {
                shared.drop_warm(extra, "fewer are needed").await;
            }
            while let Some(limits) = shared.lacking() {
                if let Err(error) = Box::pin(shared.make_warm(&limits)).await {
                    tracing::warn!(%error, "cannot start a sandbox ahead of time");
                    break;
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = changed(&shared.pool) => {}
            Ok(()) = availability.changed() => {}
            () = shared.tasks.cancelled() => return,
        }
    }
}

/// Completes a while after something changed.
async fn changed(pool: &Pool) {
    pool.changed.notified().await;
    tokio::time::sleep(PAUSE).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(name: &str) -> RoomKind {
        RoomKind::parse(name).expect("valid")
    }

    #[test]
    fn as_many_wait_as_were_asked_for_within_what_there_is() {
        const GIB: u64 = 1 << 30;
        for (asked, most, available, expected) in [
            (1, 4, Some(20 * GIB), 1),
            (3, 4, Some(20 * GIB), 3),
            (9, 4, Some(20 * GIB), 4),
            (3, 4, Some(2 * GIB), 2),
            (1, 4, Some(GIB / 2), 0),
            (2, 0, Some(20 * GIB), 0),
            (2, 4, None, 2),
        ] {
            let usual = RoomKind::default();
            let found = wanted(&vec![usual.clone(); asked], most, |_| Some(GIB), available);
            let found = found.get(&usual).copied().unwrap_or(0);
            assert_eq!(found, expected, "{asked} of {most} with {available:?}");
        }
        assert!(available_memory().is_none_or(|available| available > 1 << 20));
    }

    #[test]
    fn what_was_asked_for_last_waits_first_and_nothing_of_a_kind_that_is_gone() {
        const GIB: u64 = 1 << 30;
        let memory = |kind: &RoomKind| match kind.as_str() {
            "large" => Some(8 * GIB),
            "gone" => None,
            _ => Some(GIB),
        };
        let asked = ["large", "small", "gone", "small", "default", "large"].map(kind);
        let told = |most, available| {
            let wanted = wanted(&asked, most, memory, available);
            wanted.iter().map(|(kind, wanted)| format!("{kind} {wanted}")).collect::<Vec<_>>().join(", ")
        };
        assert_eq!(told(9, None), "default 1, large 2, small 2");
        assert_eq!(told(2, None), "large 1, small 1");
        assert_eq!(told(9, Some(4 * GIB)), "default 1, small 2");
        assert_eq!(told(0, None), "");
    }
}
