//! Containers of ours that should not be there any more: what another process of this server, an engine that was away or a removal that
//! failed left behind. They are known by this server's label, and taken over or removed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use buildspaces_kernel::ids::RoomId;
use futures_util::future::join_all;

use super::engine::Found;
use super::made::Granted;
use super::sandbox::{Place, Sandbox};
use super::{Containers, Shared, disk};
use crate::link::Link;
use crate::workspace_owner;

/// How often to look for containers that no room has.
const REAP_EVERY: Duration = Duration::from_secs(15);

impl Containers {
    /// At boot: adopts the running containers of the rooms in `keep`, and removes every other one of this server's.
    pub async fn reconcile(&self, keep: &[RoomId]) {
        let shared = &self.shared;
        let found = match shared.engine.list(&shared.config.instance).await {
            Ok(found) => found,
            Err(error) => {
                // There is nothing to adopt then, and the reaper looks when the engine is back.
                shared.reconciled.store(true, Ordering::Release);
                return tracing::info!(%error, "cannot look for containers that were left over");
            }
        };
        let handle = found.into_iter().map(|found| async move {
            if !(found.running && shared.adopt(&found, keep).await) {
                shared.remove(&found).await;
            }
        });
        join_all(handle).await;
        shared.forget_others().await;
        shared.reconciled.store(true, Ordering::Release);
        shared.pool.look();
    }
}

impl Shared {
    /// Takes over a container that an earlier process of this server left running, if it is that of a room in `keep`.
    async fn adopt(self: &Arc<Self>, found: &Found, keep: &[RoomId]) -> bool {
        let Some(place) = &found.place else { return false };
        let Some((room, workspace)) = self.owner(place).await.filter(|(room, _)| keep.contains(room)) else {
            return false;
        };
        let Ok(Some(inspected)) = self.engine.inspect(&found.id).await else { return false };
        let Some(token) = inspected.token else { return false };
        let agent_folder = self.folder.join(place.as_str()).join("run");
        match Link::listen(&agent_folder, workspace_owner(), token, &self.tasks) {
            Ok(link) => {
                tracing::info!(%room, "took over a sandbox that was left running");
                let Granted { limits, organisation } = self.recall_granted(place).await;
                let disk = disk::Allowed::of_one_that_runs(&limits);
                let seat = self.accounts.seat_anyway(organisation.as_ref(), &limits);
                let (id, place) = (found.id.clone(), place.clone());
                let sandbox = Sandbox::new(id, inspected.image, place.clone(), link, limits, Arc::downgrade(self));
                sandbox.takes_seat(seat);
                sandbox.is_taken_over();
                if let Some(devcontainer) = self.recall(&place).await {
                    sandbox.is_made_by(devcontainer);
                }
                let sandbox = self.attend(
                    &room,
                    Arc::new(sandbox),
                    workspace.or(inspected.workspace).map(|workspace| (workspace, disk)),
                );
                *self.slot(&room).sandbox.lock().await = Some(sandbox);
                true
            }
            Err(error) => {
                tracing::warn!(%room, %error, "cannot take over a sandbox that was left running");
                false
            }
        }
    }

    /// Removes folders of sandboxes that were to wait for a room and died with an earlier process. There is nothing of anybody's in them.
    async fn forget_others(&self) {
        let Ok(mut folders) = tokio::fs::read_dir(&self.folder).await else { return };
        let mut kept = Vec::new();
        for (_, slot) in self.slots() {
            kept.extend(slot.sandbox.lock().await.as_ref().map(|sandbox| sandbox.place().clone()));
        }
        while let Ok(Some(folder)) = folders.next_entry().await {
            let place = folder.file_name().to_str().and_then(Place::parse);
            if let Some(place) = place.filter(|place| place.is_no_rooms() && !kept.contains(place)) {
                self.forget(&place).await;
            }
        }
    }

    pub(super) async fn remove(&self, found: &Found) {
        match self.engine.remove(&found.id).await {
            Ok(()) => {
                let place = found.place.as_ref().map_or("", Place::as_str);
                tracing::info!(place, container = %&found.id[..found.id.len().min(12)], "removed a sandbox");
                if let Some(place) = &found.place {
                    self.forget(place).await;
                }
            }
            Err(error) => tracing::warn!(%error, container = found.id, "cannot remove a sandbox"),
        }
    }
}

/// Removes what a removal that failed left behind: containers with this server's label that are no room's. (The data folder is this process's
/// alone, so no other server has them.)
pub(super) async fn reap(shared: Arc<Shared>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(REAP_EVERY) => {}
            () = shared.tasks.cancelled() => return,
        }
        // At boot they are looked through first: see `Containers::reconcile`.
        if !shared.reconciled.load(Ordering::Acquire) {
            continue;
        }
        let Ok(found) = shared.engine.list(&shared.config.instance).await else { continue };
        for found in found {
            if found.place.as_ref().is_some_and(|place| shared.pool.has(place)) {
                continue;
            }
            // Asked after that: one that was given to a room this moment is out of the pool, and its room's lock is held.
            let owner = match &found.place {
                Some(place) => shared.owner(place).await,
                None => None,
            };
            let slot = owner.map(|(room, _)| shared.slot(&room));
            // Locked: the room's container comes or goes right now, and this may be it.
            let held = slot.as_ref().map(|slot| slot.sandbox.try_lock());
            match held {
                Some(Err(_)) => {}
                Some(Ok(held)) if held.as_ref().is_some_and(|held| held.is_usable() && held.id() == found.id) => {}
                Some(Ok(_)) | None => {
                    tracing::warn!(container = %found.id, "a container that is no room's is removed");
                    // Not its folder, which may be the one of the room's own container.
                    if let Err(error) = shared.engine.remove(&found.id).await {
                        tracing::warn!(%error, "cannot remove a container that is no room's");
                    }
                }
            }
        }
    }
}

/// Removes containers of ours that ran and do no more, after the engine was away.
pub(super) async fn sweep(shared: &Shared) {
    match shared.engine.list(&shared.config.instance).await {
        Ok(found) => {
            for dead in found.iter().filter(|found| found.ended) {
                let Found { id, .. } = dead;
                if let Err(error) = shared.engine.remove(id).await {
                    tracing::warn!(%error, "cannot remove a dead sandbox");
                }
            }
        }
        Err(error) => tracing::debug!(%error, "the engine went away again"),
    }
}
