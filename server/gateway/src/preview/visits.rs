//! Who may look at which preview: keys that open one once, and the visits that come of them.
//!
//! A key is for a link and works once, for a short time; a visit is known by a cookie of its preview's origin alone, which says
//! nothing to whoever reads it. Neither is stored: after a restart the room's page asks for another.
//!
//! **Invariant:** a visit ends when the access ends that it came from, with everything that goes on in it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::http::HeaderMap;
use buildspaces_kernel::ids::{PrincipalId, RoomId, random_id};
use buildspaces_kernel::tasks::Tasks;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::headers::cookies;
use crate::identity::Watch;

/// How long a key may wait to be used: a browser uses it at once.
const KEY_LASTS: Duration = Duration::from_secs(60);

/// How long a visit may last; whoever is still there opens the preview again.
const VISIT_LASTS: Duration = Duration::from_secs(12 * 3600);

/// Keys, and visits, of one person. When there are so many, the oldest goes.
const MAX_OF_PERSON: usize = 32;

/// Keys, and visits, altogether. When there are so many, the oldest goes.
const MAX: usize = 4096;

/// Characters of a secret, five random bits each.
const SECRET: usize = 32;

/// The cookie's name where it can be one that no other host can set.
const COOKIE: &str = "__Host-buildspaces-preview";
/// The same over plain HTTP.
const PLAIN_COOKIE: &str = "buildspaces-preview";

/// What somebody wants to look at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct NewVisit {
    pub(crate) room: RoomId,
    pub(crate) port: u16,
    pub(crate) person: PrincipalId,
}

/// Somebody's way to one port of one room.
#[derive(Debug)]
pub(super) struct Visit {
    pub(super) room: RoomId,
    pub(super) port: u16,
    person: PrincipalId,
    /// The name of its host below that of all previews.
    name: String,
    /// Such as `https://<name>.preview.example`.
    pub(super) origin: String,
    /// The origin of the page that may show it in a frame.
    pub(super) embedder: Option<String>,
    /// Names of cookies that are not the program's: they came with requests to the main address.
    pub(super) withheld: Vec<String>,
    pub(super) ended: CancellationToken,
}

impl Visit {
    pub(super) fn new(
        new: NewVisit,
        name: String,
        origin: String,
        embedder: Option<String>,
        withheld: Vec<String>,
    ) -> Self {
        let NewVisit { room, port, person } = new;
        Self { room, port, person, name, origin, embedder, withheld, ended: CancellationToken::new() }
    }

    pub(super) fn is_secure(&self) -> bool {
        self.origin.starts_with("https://")
    }

    /// What sets the visit's cookie. In a frame the room's page is another site, so the cookie must be allowed there, and is kept apart
    /// for each page that shows the frame; browsers take that from https alone, and from names of their own machine.
    fn cookie(&self, secret: &str) -> String {
        let seconds = VISIT_LASTS.as_secs();
        let local = self.origin.split(':').nth(1).is_some_and(|host| host.ends_with(".localhost"));
        let (name, rest) = match (self.is_secure(), local) {
            (true, _) => (COOKIE, "; Secure; SameSite=None; Partitioned"),
            (false, true) => (PLAIN_COOKIE, "; Secure; SameSite=None; Partitioned"),
            (false, false) => (PLAIN_COOKIE, "; SameSite=Lax"),
        };
        format!("{name}={secret}; Path=/; HttpOnly; Max-Age={seconds}{rest}")
    }
}

/// Is this the name of a cookie of ours?
pub(super) fn is_own_cookie(name: &str) -> bool {
    name == COOKIE || name == PLAIN_COOKIE
}

#[derive(Default)]
pub(super) struct Visits(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    keys: HashMap<String, (Kept, Watch)>,
    visits: HashMap<String, Kept>,
}

struct Kept {
    visit: Arc<Visit>,
    since: Instant,
}

impl Visits {
    /// A key for `visit`, whose access `watch` watches over.
    pub(super) fn invite(&self, visit: Visit, watch: Watch) -> String {
        let key = random_id(SECRET);
        let kept = Kept { visit: Arc::new(visit), since: Instant::now() };
        let mut state = self.lock();
        state.keys.retain(|_, (kept, _)| kept.since.elapsed() < KEY_LASTS);
        make_room(&mut state.keys, &kept.visit.person, |(kept, _)| kept);
        state.keys.insert(key.clone(), (kept, watch));
        key
    }

    /// The visit that a key of the preview `name` opens, and what sets its cookie.
    pub(super) fn enter(&self, tasks: &Tasks, name: &str, key: &str) -> Option<(Arc<Visit>, String)> {
        let mut state = self.lock();
        let (Kept { visit, since }, watch) = state.keys.remove(key)?;
        if visit.name != name || since.elapsed() >= KEY_LASTS {
            return None;
        }
        for gone in make_room(&mut state.visits, &visit.person, |kept| kept) {
            gone.visit.ended.cancel();
        }
        let secret = random_id(SECRET);
        state.visits.insert(secret.clone(), Kept { visit: Arc::clone(&visit), since: Instant::now() });
        drop(state);
        let cookie = visit.cookie(&secret);
        let (visits, ending, stop) = (Arc::clone(&self.0), Arc::clone(&visit), tasks.clone());
        tasks.spawn("preview visit", async move {
            let mut watch = watch;
            tokio::select! {
                end = watch.ended() => tracing::debug!(room = %ending.room, reason = end.message(), "a preview is closed"),
                () = tokio::time::sleep(VISIT_LASTS) => {}
                () = ending.ended.cancelled() => {}
                () = stop.cancelled() => {}
            }
            ending.ended.cancel();
            lock(&visits).visits.remove(&secret);
        });
        Some((visit, cookie))
    }

    /// The visit of the preview `name` whose cookie a request carries.
    pub(super) fn find(&self, name: &str, headers: &HeaderMap) -> Option<Arc<Visit>> {
        let state = self.lock();
        let own = cookies(headers).filter(|(name, _)| is_own_cookie(name));
        let mut visits = own.filter_map(|(_, secret)| state.visits.get(secret)).map(|kept| &kept.visit);
        visits.find(|visit| visit.name == name && !visit.ended.is_cancelled()).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("the maps of visits are only read and written")
}

/// Makes sure that there may be one more of `person`. Returns what had to go.
fn make_room<T>(kept: &mut HashMap<String, T>, person: &PrincipalId, of: impl Fn(&T) -> &Kept) -> Vec<T> {
    let mut gone = Vec::new();
    loop {
        let of_person = || kept.iter().filter(|(_, entry)| of(entry).visit.person == *person);
        let oldest = match (of_person().count() >= MAX_OF_PERSON, kept.len() >= MAX) {
            (true, _) => of_person().min_by_key(|(_, entry)| of(entry).since),
            (false, true) => kept.iter().min_by_key(|(_, entry)| of(entry).since),
            (false, false) => return gone,
        };
        let oldest = oldest.map(|(secret, _)| secret.clone());
        gone.extend(oldest.and_then(|secret| kept.remove(&secret)));
    }
}
