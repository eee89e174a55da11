//! One running container, as its room's lock and the follower of its step see it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use buildspaces_kernel::ids::{OrganisationId, RoomId, random_id};
use buildspaces_plans::devcontainer::Devcontainer;
use buildspaces_plans::ports::{Made, Phase, Progress};
use buildspaces_plans::secret::{StepHeader, StepSecrets};
use buildspaces_sandbox_agent::protocol::Line;
use tokio::sync::{Notify, watch};

use super::accounts::Seat;
use super::engine::Error;
use super::unlinked::Processes;
use super::{PROBE, Shared};
use crate::Limits;
use crate::link::{Connection, Link};
use crate::steps::{Container, State};
use crate::tunnels::Tunnels;

/// A sandbox in which somebody typed so shortly ago is not taken away to make room for another.
const TYPING: Duration = Duration::from_secs(300);

/// So long after it was taken over, a sandbox is not taken away either: its step goes on in it and is about to be resumed.
const RESUMING: Duration = Duration::from_secs(120);

/// The name of what a sandbox has on the host: a folder in `sandboxes/`. A room's own is named after it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Place(String);

/// What no id of a room begins with.
const NO_ROOMS: &str = "warm.";

impl Place {
    pub(super) fn of(room: &RoomId) -> Self {
        Self(room.to_string())
    }

    /// For a sandbox that is no room's yet.
    pub(super) fn new() -> Self {
        Self(format!("{NO_ROOMS}{}", random_id(12)))
    }

    /// The place of that name, if it can be one.
    pub(super) fn parse(name: &str) -> Option<Self> {
        RoomId::parse(name.strip_prefix(NO_ROOMS).unwrap_or(name)).map(|_| Self(name.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Made by [`Place::new`].
    pub(super) fn is_no_rooms(&self) -> bool {
        self.0.starts_with(NO_ROOMS)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Debug)]
pub(super) struct Sandbox {
    id: String,
    /// The id of its image.
    image: String,
    place: Place,
    link: Arc<Link>,
    tunnels: Tunnels,
    /// What it was made with.
    limits: Limits,
    /// What it takes of its organisation's, from when it is a room's until its container is gone.
    seat: Mutex<Option<Seat>>,
    /// By what its room wanted it; set when it is a room's, if the room has something to say.
    made: OnceLock<Arc<Made>>,
    /// What the proxy puts into requests.
    headers: Arc<Headers>,
    /// Weak, as everything here belongs to it.
    shared: Weak<Shared>,
    /// False once the container is known to be gone or not to be trusted.
    usable: AtomicBool,
    state: Mutex<Use>,
    /// Rung when a step is over.
    freed: Notify,
}

/// What the proxy puts into requests, and for whom.
#[derive(Debug, Default)]
struct Headers {
    given: Mutex<GivenHeaders>,
    shown: watch::Sender<Arc<[StepHeader]>>,
}

#[derive(Debug, Default)]
struct GivenHeaders {
    /// The step's that runs.
    step: Vec<StepHeader>,
    /// Those of commands that run, with the number of what was lent.
    commands: Vec<(u64, StepHeader)>,
    lent: u64,
}

impl Headers {
    fn change<T>(&self, change: impl FnOnce(&mut GivenHeaders) -> T) -> T {
        let mut given = self.given.lock().expect("short sections, no panics");
        let result = change(&mut given);
        let of_commands = given.commands.iter().map(|(_, header)| header);
        self.shown.send_replace(given.step.iter().chain(of_commands).cloned().collect());
        result
    }
}

/// Headers of one command, for as long as this is there.
#[derive(Debug)]
pub(super) struct Lent {
    headers: Arc<Headers>,
    number: u64,
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.headers.change(|given| given.commands.retain(|(number, _)| *number != self.number));
    }
}

#[derive(Debug)]
struct Use {
    /// `None` while a step runs. In a terminal only typing counts.
    idle_since: Option<Instant>,
    /// When somebody typed in a terminal last.
    typed_at: Option<Instant>,
    /// When it was taken over from another process of this server, until its step is resumed.
    taken_over: Option<Instant>,
    /// Why this server itself ends it.
    end: Option<State>,
    /// Where the last step's starter wants to read how the sandbox is.
    progress: Option<Progress>,
}

impl Sandbox {
    pub(super) fn new(
        id: String,
        image: String,
        place: Place,
        link: Link,
        limits: Limits,
        shared: Weak<Shared>,
    ) -> Self {
        let state = Mutex::new(Use {
            idle_since: Some(Instant::now()),
            typed_at: None,
            taken_over: None,
            end: None,
            progress: None,
        });
        let (link, tunnels, headers) = (Arc::new(link), Tunnels::default(), Arc::default());
        Self {
            id,
            image,
            place,
            link,
            tunnels,
            limits,
            seat: Mutex::default(),
            made: OnceLock::new(),
            headers,
            shared,
            usable: AtomicBool::new(true),
            state,
            freed: Notify::new(),
        }
    }

    /// Its processes, as this machine lists them. `None` if it does not run, or nobody can say.
    pub(super) async fn processes(&self) -> Option<Processes> {
        let shared = self.shared.upgrade()?;
        let init = shared.engine.inspect(&self.id).await.ok()??.init?;
        Some(Processes { container: self.id.clone(), init })
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Whether its agent waits for something to do.
    pub(super) fn is_connected(&self) -> bool {
        self.is_usable() && self.link.has(Line::Steps)
    }

    /// It is a room's from now on, which is when its time begins.
    pub(super) fn begins(&self) {
        self.state.lock().expect("short sections, no panics").idle_since = Some(Instant::now());
    }

    /// What it may use.
    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// It is on this account from now on.
    pub(super) fn takes_seat(&self, seat: Option<Seat>) {
        *self.seat.lock().expect("short sections, no panics") = seat;
    }

    /// Whose it is, if that is counted.
    pub(super) fn organisation(&self) -> Option<OrganisationId> {
        let seat = self.seat.lock().expect("short sections, no panics");
        seat.as_ref().map(|seat| seat.organisation().clone())
    }

    /// The part of it that people look at.
    pub(super) fn short_id(&self) -> &str {
        &self.id[..self.id.len().min(12)]
    }

    pub(super) fn image(&self) -> &str {
        &self.image
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// What its room says of it. Once, before anything runs in it.
    pub(super) fn is_made_by(&self, devcontainer: Devcontainer) {
        let _ = self.made.set(Arc::new(Made { sandbox: self.id.clone(), devcontainer }));
    }

    pub(super) fn made(&self) -> Option<&Arc<Made>> {
        self.made.get()
    }

    /// Variables of its steps and terminals.
    pub(super) fn env(&self) -> &BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        self.made().map_or(&NONE, |made| &made.devcontainer.env)
    }

    pub(super) fn tunnels(&self) -> &Tunnels {
        &self.tunnels
    }

    pub(super) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    pub(super) fn is_usable(&self) -> bool {
        self.usable.load(Ordering::Acquire)
    }

    pub(super) fn is_busy(&self) -> bool {
        self.idle_since().is_none()
    }

    pub(super) fn idle_since(&self) -> Option<Instant> {
        self.state.lock().expect("short sections, no panics").idle_since
    }

    /// Did somebody type in one of its terminals a short while ago?
    pub(super) fn is_typed_in(&self) -> bool {
        let typed_at = self.state.lock().expect("short sections, no panics").typed_at;
        typed_at.is_some_and(|at| at.elapsed() < TYPING)
    }

    /// It was another process's, of which a step goes on in it.
    pub(super) fn is_taken_over(&self) {
        self.state.lock().expect("short sections, no panics").taken_over = Some(Instant::now());
    }

    /// Since when it could make way for another; `None` if it is at work, or about to be.
    pub(super) fn could_go_since(&self) -> Option<Instant> {
        let state = self.state.lock().expect("short sections, no panics");
        let is_typed_in = state.typed_at.is_some_and(|at| at.elapsed() < TYPING);
        let is_resumed = state.taken_over.is_some_and(|at| at.elapsed() < RESUMING);
        state.idle_since.filter(|_| !is_typed_in && !is_resumed)
    }

    /// It is about to be removed, for this reason unless there was one before: what its terminals say then.
    pub(super) fn ends_because(&self, reason: &str) {
        self.ends_as(State::Gone(reason.to_owned()));
    }

    /// The same, because what runs in it came to a limit: what its step says then, too.
    pub(super) fn exceeds(&self, reason: &str) {
        self.ends_as(State::OverLimit(reason.to_owned()));
    }

    fn ends_as(&self, end: State) {
        self.state.lock().expect("short sections, no panics").end.get_or_insert(end);
    }

    /// Waits until no step runs; false if that takes longer than `patience`. Cancel-safe.
    pub(super) async fn becomes_idle(&self, patience: Duration) -> bool {
        let idle = async {
            loop {
                let freed = self.freed.notified();
                if !self.is_busy() {
                    return;
                }
                freed.await;
            }
        };
        tokio::time::timeout(patience, idle).await.is_ok()
    }

    /// What the proxy puts into requests, as it is now.
    pub(super) fn headers(&self) -> watch::Receiver<Arc<[StepHeader]>> {
        self.headers.shown.subscribe()
    }

    /// Puts these into requests, too, until what this returns is dropped.
    pub(super) fn lend(&self, headers: &[StepHeader]) -> Lent {
        let number = self.headers.change(|given| {
            given.lent += 1;
            given.commands.extend(headers.iter().map(|header| (given.lent, header.clone())));
            given.lent
        });
        Lent { headers: Arc::clone(&self.headers), number }
    }

    /// A step with these secrets is about to run. The caller holds the room's lock and has seen that none does.
    pub(super) fn take(&self, progress: &Progress, secrets: &StepSecrets) {
        self.headers.change(|given| given.step.clone_from(&secrets.headers));
        let mut state = self.state.lock().expect("short sections, no panics");
        state.idle_since = None;
        state.taken_over = None;
        state.progress = Some(progress.clone());
    }

    /// Completes when the container is known to be gone. It is not asked before some time has passed. Cancel-safe.
    pub(super) async fn gone(&self) {
        loop {
            tokio::time::sleep(PROBE).await;
            if self.state().await.is_gone() {
                return;
            }
        }
    }

    /// A connection to the agent; a sentence if there is none within `patience`.
    pub(super) async fn connect(&self, line: Line, patience: Duration) -> Result<Connection, String> {
        let since = Instant::now();
        loop {
            if let Ok(connection) = tokio::time::timeout(PROBE, self.link.connection(line)).await {
                return Ok(connection);
            }
            if let State::Gone(reason) | State::OverLimit(reason) = self.state().await {
                return Err(reason);
            }
            if let Some(refusal) = self.link.refusal() {
                return Err(refusal);
            }
            if since.elapsed() >= patience {
                return Err(format!("the sandbox did not answer within {} s", patience.as_secs()));
            }
        }
    }
}

#[async_trait]
impl Container for Sandbox {
    async fn state(&self) -> State {
        let Some(shared) = self.shared.upgrade() else {
            return State::Gone("the server was stopped".to_owned());
        };
        if shared.stopping.load(Ordering::Acquire) {
            return State::Gone("the server was stopped".to_owned());
        }
        let end = self.state.lock().expect("short sections, no panics").end.clone();
        if let Some(end) = end {
            return end;
        }
        match shared.engine.inspect(&self.id).await {
            Ok(Some(inspected)) if inspected.running => State::Running,
            Ok(Some(inspected)) if inspected.oom_killed => State::OverLimit(format!(
                "The sandbox used more than its {} MiB of memory ({}) and was stopped as a whole.",
                self.limits.memory >> 20,
                self.limits.key("memory_mib")
            )),
            Ok(Some(inspected)) => {
                State::Gone(format!("the sandbox was stopped from outside (exit status {})", inspected.exit_code))
            }
            Ok(None) => State::Gone("the sandbox was removed from outside".to_owned()),
            Err(error) => {
                if matches!(error, Error::Unreachable { .. }) {
                    shared.recheck.notify_one();
                }
                State::Unknown
            }
        }
    }

    async fn kill(&self) {
        self.usable.store(false, Ordering::Release);
        if let Some(shared) = self.shared.upgrade()
            && let Err(error) = shared.engine.remove(&self.id).await
        {
            tracing::warn!(%error, "cannot remove a sandbox; it is tried again when the engine answers");
        }
        self.takes_seat(None);
    }

    fn touched(&self) {
        let mut state = self.state.lock().expect("short sections, no panics");
        let now = Instant::now();
        state.typed_at = Some(now);
        if state.idle_since.is_some() {
            state.idle_since = Some(now);
        }
    }

    fn died(&self) {
        // A step's follower finds out by itself, and has an end to tell first.
        if !self.is_busy() {
            self.released(false);
        }
    }

    fn released(&self, usable: bool) {
        self.headers.change(|given| given.step.clear());
        let mut state = self.state.lock().expect("short sections, no panics");
        state.idle_since = Some(Instant::now());
        self.freed.notify_waiters();
        if usable {
            return;
        }
        if let Some(progress) = state.progress.take() {
            progress.enter(Phase::Idle);
        }
        if !self.usable.swap(false, Ordering::AcqRel) {
            // It was killed, which removed it.
            return;
        }
        // What is left of a container that died is removed at once; it holds memory of the engine's and a name.
        if let Some(shared) = self.shared.upgrade() {
            let (tasks, id) = (shared.tasks.clone(), self.id.clone());
            let seat = self.seat.lock().expect("short sections, no panics").take();
            tasks.spawn("remove a dead sandbox", async move {
                if let Err(error) = shared.engine.remove(&id).await {
                    tracing::debug!(%error, "cannot remove a dead sandbox yet");
                }
                drop(seat);
            });
        }
    }
}
