//! Ends what was allowed: when its time is over, and at once when it is taken back.
//!
//! One [`Watch`] stands for one admitted document of one connection. It costs two pointers there and about a hundred
//! bytes here, no task and no timer: one timekeeper serves all, and a revocation wakes only those it concerns.
//!
//! **Invariant:** no revocation falls between admission and watching, because a watch begins by looking at what is revoked,
//! under the lock that revoking takes.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use buildspaces_crdt::DocumentName;
use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::tasks::Tasks;
use buildspaces_policy::revocation::{Revocation, Subject};
use buildspaces_rooms::ports::{Store, StoreError};
use futures_util::task::AtomicWaker;
use slab::Slab;
use tokio::sync::Notify;

use super::Grant;

/// The timekeeper looks at the clock at least this often while something is to expire, because a wall clock may jump.
const LONGEST_NAP: Duration = Duration::from_secs(30);

/// Revocations that are remembered at the same time. Past it the one that may be forgotten first is, with a warning.
const MAX_REVOCATIONS: usize = 100_000;

/// The same for those of one room.
const MAX_OF_ROOM: usize = 2_000;

/// What was over for so long when the server started is known all the same: its clock may stand in the future, and be set right later.
const CLOCK_MAY_BE_AHEAD: UnixMillis = 7 * 24 * 3600 * 1000;

/// Reads the wall clock.
pub(crate) type Clock = Arc<dyn Fn() -> UnixMillis + Send + Sync>;

/// Why something that was allowed is so no longer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum End {
    Expired,
    /// The reason that was given for it.
    Revoked(Arc<str>),
}

impl End {
    /// What the client is told.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Expired => "your access has expired: get a new token".to_owned(),
            Self::Revoked(reason) if reason.is_empty() => "your access was taken back".to_owned(),
            Self::Revoked(reason) => format!("your access was taken back: {reason}"),
        }
    }
}

/// Everything that is watched, and what is revoked. Clones share it.
#[derive(Clone)]
pub(crate) struct Directory(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Something expires earlier than the timekeeper knows.
    rearm: Notify,
    clock: Clock,
    /// With keys of this process, so that nobody outside finds two names with one mark.
    hasher: RandomState,
}

#[derive(Default)]
struct State {
    slots: Slab<Arc<Slot>>,
    expiries: BTreeSet<(UnixMillis, usize)>,
    /// Users and tokens, by what is revoked and the room it is revoked in.
    revoked: HashMap<(Subject, Option<String>), Revoked>,
    /// Why slots ended that have not looked yet.
    reasons: HashMap<usize, Arc<str>>,
}

#[derive(Clone)]
struct Revoked {
    reason: Arc<str>,
    expires: Option<UnixMillis>,
}

/// What is known of one watch. Names are kept as marks, which take a quarter of the room.
struct Slot {
    waker: AtomicWaker,
    ended: AtomicU8,
    user: u64,
    token: u64,
    document: u64,
    room: u64,
    expires: UnixMillis,
}

const LIVE: u8 = 0;
const EXPIRED: u8 = 1;
const REVOKED: u8 = 2;

/// The slot of something that never expires.
const NEVER: UnixMillis = UnixMillis::MAX;

/// Tells one connection when it must end. Dropping it stops watching.
pub(crate) struct Watch {
    slot: Arc<Slot>,
    key: usize,
    directory: Directory,
}

impl Directory {
    pub(crate) fn new(clock: Clock) -> Self {
        let state = Mutex::default();
        Self(Arc::new(Shared { state, rearm: Notify::new(), clock, hasher: RandomState::new() }))
    }

    pub(crate) fn now(&self) -> UnixMillis {
        (self.0.clock)()
    }

    /// Starts the one task that lets watches expire. It ends with the process.
    pub(crate) fn start(&self, tasks: &Tasks) {
        let (directory, stop) = (self.clone(), tasks.clone());
        tasks.spawn("access expiry", async move {
            loop {
                let next = directory.expire();
                let nap = async {
                    match next {
                        Some(wait) => tokio::time::sleep(wait).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = nap => {}
                    () = directory.0.rearm.notified() => {}
                    () = stop.cancelled() => return,
                }
            }
        });
    }

    /// Why `grant` does not hold any more, if it does not.
    pub(crate) fn refused(&self, grant: &Grant, room: Option<&str>) -> Option<End> {
        let now = self.now();
        if grant.expires.is_some_and(|at| at <= now) {
            return Some(End::Expired);
        }
        self.lock().revoked(grant, room, now).map(End::Revoked)
    }

    /// Watches over what `grant` allows in `document`.
    pub(crate) fn watch(&self, grant: &Grant, document: &DocumentName) -> Watch {
        let room = document.room();
        let expires = grant.expires.unwrap_or(NEVER);
        let slot = Arc::new(Slot {
            waker: AtomicWaker::new(),
            ended: AtomicU8::new(LIVE),
            user: self.mark(grant.authority.principal.id.as_str().as_bytes()),
            token: grant.token.map_or(0, |token| self.mark(&token.0)),
            document: self.mark(document.as_str().as_bytes()),
            room: self.mark(room.as_bytes()),
            expires,
        });
        let now = self.now();
        let mut state = self.lock();
        let key = state.slots.insert(slot.clone());
        if let Some(reason) = state.revoked(grant, Some(room), now) {
            state.end(key, REVOKED, Some(reason));
        } else if expires != NEVER {
            let earliest = state.expiries.first().is_none_or(|first| expires < first.0);
            state.expiries.insert((expires, key));
            if earliest {
                self.0.rearm.notify_one();
            }
        }
        Watch { slot, key, directory: self.clone() }
    }

    /// Learns what was taken back earlier.
    pub(super) async fn learn(&self, store: &dyn Store) -> Result<(), StoreError> {
        for revocation in store.revocations(self.now().saturating_sub(CLOCK_MAY_BE_AHEAD)).await? {
            self.revoke(&revocation);
        }
        Ok(())
    }

    /// Takes access back, now and, unless it is about a document, until it expires.
    pub(crate) fn revoke(&self, revocation: &Revocation) -> usize {
        let reason: Arc<str> = revocation.reason.as_str().into();
        let room = revocation.room.as_deref().map(|room| self.mark(room.as_bytes()));
        let (user, token, document) = match &revocation.subject {
            Subject::User(user) => (Some(self.mark(user.as_str().as_bytes())), None, None),
            Subject::Token(token) => (None, Some(self.mark(&token.0)), None),
            Subject::Document(document) => (None, None, Some(self.mark(document.as_bytes()))),
        };
        let mut state = self.lock();
        if document.is_none() {
            let revoked = Revoked { reason: reason.clone(), expires: revocation.expires };
            state.revoked.insert((revocation.subject.clone(), revocation.room.clone()), revoked);
            state.forget_above((MAX_REVOCATIONS, MAX_OF_ROOM), revocation.room.as_deref(), self.now());
        }
        let concerned: Vec<usize> = state
            .slots
            .iter()
            .filter(|(_, slot)| {
                user.is_none_or(|user| user == slot.user)
                    && token.is_none_or(|token| token == slot.token)
                    && document.is_none_or(|document| document == slot.document)
                    && room.is_none_or(|room| room == slot.room)
            })
            .map(|(key, _)| key)
            .collect();
        for key in &concerned {
            state.end(*key, REVOKED, Some(reason.clone()));
        }
        concerned.len()
    }

    /// Ends what has expired; returns how long to wait for the next.
    fn expire(&self) -> Option<Duration> {
        let now = self.now();
        let mut state = self.lock();
        loop {
            let (at, key) = *state.expiries.first()?;
            if at > now {
                let wait = Duration::from_millis(at.abs_diff(now));
                return Some(wait.min(LONGEST_NAP));
            }
            state.expiries.pop_first();
            state.end(key, EXPIRED, None);
        }
    }

    /// Zero stands for "no token".
    fn mark(&self, name: &[u8]) -> u64 {
        self.0.hasher.hash_one(name).max(1)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("no code panics while it holds the lock")
    }
}

impl State {
    fn revoked(&self, grant: &Grant, room: Option<&str>, now: UnixMillis) -> Option<Arc<str>> {
        if self.revoked.is_empty() {
            return None;
        }
        let subjects = [Some(Subject::User(grant.authority.principal.id.clone())), grant.token.map(Subject::Token)];
        let rooms = [None, room.map(str::to_owned)];
        let keys = subjects.into_iter().flatten().flat_map(|subject| rooms.clone().map(|room| (subject.clone(), room)));
        keys.filter_map(|key| self.revoked.get(&key))
            .find(|revoked| revoked.expires.is_none_or(|at| at > now))
            .map(|revoked| revoked.reason.clone())
    }

    fn end(&mut self, key: usize, how: u8, reason: Option<Arc<str>>) {
        let Some(slot) = self.slots.get(key) else { return };
        if slot.ended.load(Ordering::Relaxed) != LIVE {
            return;
        }
        if let Some(reason) = reason {
            self.reasons.insert(key, reason);
        }
        slot.ended.store(how, Ordering::Release);
        slot.waker.wake();
    }

    /// Makes room for the newest, which is about `room`. A room's host may push out what was said of that room, and nobody what the
    /// administrator said of all.
    fn forget_above(&mut self, (most, most_of_room): (usize, usize), room: Option<&str>, now: UnixMillis) {
        let of_room = |state: &Self| state.revoked.keys().filter(|(_, of)| of.as_deref() == room).count();
        let is_too_much = room.is_some() && of_room(self) > most_of_room;
        if self.revoked.len() <= most && !is_too_much {
            return;
        }
        self.revoked.retain(|_, revoked| revoked.expires.is_none_or(|at| at > now));
        while room.is_some() && of_room(self) > most_of_room {
            self.forget_first(|of| of == room);
        }
        while self.revoked.len() > most {
            let has_rooms = self.revoked.keys().any(|(_, of)| of.is_some());
            self.forget_first(|of| of.is_some() == has_rooms);
        }
    }

    fn forget_first(&mut self, which: impl Fn(Option<&str>) -> bool) {
        let those = self.revoked.iter().filter(|((_, of), _)| which(of.as_deref()));
        let first = those.min_by_key(|(_, revoked)| revoked.expires.unwrap_or(NEVER)).map(|(key, _)| key.clone());
        if let Some(key) = first {
            tracing::warn!("too many revocations: one is forgotten before its time");
            self.revoked.remove(&key);
        }
    }
}

impl Watch {
    /// Completes when the connection must end; never for what has no expiry and is not revoked. Cancel-safe.
    pub(crate) async fn ended(&mut self) -> End {
        std::future::poll_fn(|context| self.poll_ended(context)).await
    }

    /// The same for who polls by hand: one atomic read and the registration of the waker.
    pub(crate) fn poll_ended(&mut self, context: &mut Context<'_>) -> Poll<End> {
        self.slot.waker.register(context.waker());
        match self.slot.ended.load(Ordering::Acquire) {
            LIVE => Poll::Pending,
            EXPIRED => Poll::Ready(End::Expired),
            _ => {
                let reason = self.directory.lock().reasons.get(&self.key).cloned();
                Poll::Ready(End::Revoked(reason.unwrap_or_default()))
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut state = self.directory.lock();
        state.slots.try_remove(self.key);
        state.reasons.remove(&self.key);
        if self.slot.expires != NEVER {
            state.expiries.remove(&(self.slot.expires, self.key));
        }
    }
}

#[cfg(test)]
mod tests;
