//! One room's task: it owns the room's rules, its queue of runs and what people see of them.
//!
//! It executes nothing itself (see [`super::execution`]) and keeps nothing that the store does not have. Read
//! [`follow`], then [`Actor::live`], the one loop.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use buildspaces_kernel::ids::{NodeId, RoomId, RuleId, RunId};
use buildspaces_policy::Principal;
use buildspaces_rooms::RoomEvent;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::Shared;
use super::execution::{Control, Report};
use super::projection::{Projection, SHOWN_RUNS, SandboxState};
use crate::Error;
use crate::ports::{Availability, Progress, RoomView};
use crate::rule::{Debounce, Globs, Input, Rule};
use crate::run::Run;
use set_up::SetUp;

mod firing;
mod queue;
mod set_up;

/// Reports of an execution that may wait. When it is full the execution waits, and with it the step's output.
const REPORTS: usize = 16;
/// Wait before what could not be shown is written again.
const PROJECTION_RETRY: Duration = Duration::from_secs(1);

/// What others ask of a room's task.
pub(super) enum Command {
    RunNow {
        rule: Option<RuleId>,
        by: Principal,
        reply: oneshot::Sender<Result<Run, Error>>,
    },
    Cancel {
        run: RunId,
        by: Principal,
        reply: oneshot::Sender<Result<Run, Error>>,
    },
    RulesChanged,
    /// Interrupt what runs; the answer comes when that is stored.
    Stop {
        reply: oneshot::Sender<()>,
    },
}

/// Follows the room until the process ends, or until the room is closed and nothing is left to do.
///
/// `ready` becomes true when no edit can escape any more.
pub(super) async fn follow(
    shared: Arc<Shared>,
    id: RoomId,
    mut commands: mpsc::Receiver<Command>,
    ready: watch::Sender<bool>,
) {
    match Actor::load(shared, id.clone()).await {
        Ok((actor, events)) => {
            ready.send_replace(true);
            actor.live(events, commands).await;
        }
        Err(error) => {
            tracing::error!(room = %id, %error, "the runs of a room cannot be loaded");
            commands.close();
            while let Some(command) = commands.recv().await {
                match command {
                    Command::RunNow { reply, .. } | Command::Cancel { reply, .. } => {
                        // Whoever asked may have gone.
                        let _ = reply.send(Err(error.clone()));
                    }
                    Command::RulesChanged | Command::Stop { .. } => {}
                }
            }
        }
    }
}

/// The state of a room's runs.
struct Actor {
    shared: Arc<Shared>,
    id: RoomId,
    room: Arc<dyn RoomView>,
    rules: Vec<RuleState>,
    /// Path of every text file, as last looked at: a deleted or moved file is known by it.
    files: HashMap<NodeId, String>,
    /// Hashes of texts that have not changed since they were read.
    hashes: HashMap<NodeId, [u8; 32]>,
    /// Oldest first, at most one per rule.
    queue: VecDeque<Run>,
    /// The person whose edit came last: the rules that fire now fire because of them. The server itself until
    /// somebody has edited.
    last_editor: Principal,
    running: Option<Running>,
    progress: Progress,
    availability: Availability,
    projection: Projection,
    projection_retry: Option<Instant>,
    stopping: Option<oneshot::Sender<()>>,
    set_up: SetUp,
}

struct RuleState {
    rule: Rule,
    globs: Globs,
    debounce: Debounce,
}

struct Running {
    run: Run,
    control: watch::Sender<Control>,
    reports: mpsc::Receiver<Report>,
}

impl Actor {
    /// Everything the store knows of the room. Runs that were under way are taken up again.
    async fn load(shared: Arc<Shared>, id: RoomId) -> Result<(Self, broadcast::Receiver<RoomEvent>), Error> {
        let room = shared.rooms.room(&id).await?;
        // Subscribed before anything is read, so that no change falls in between.
        let events = room.events();
        let stored = shared.store.runs(&id, 2 * u32::try_from(SHOWN_RUNS).unwrap_or(u32::MAX)).await?;
        let unfinished: Vec<Run> = shared.store.unfinished().await?.into_iter().filter(|run| run.room == id).collect();
        let availability = shared.sandboxes.availability().borrow().clone();
        let mut actor = Self {
            files: room.text_files().into_iter().map(|(path, node)| (node, path)).collect(),
            shared,
            id,
            room,
            rules: Vec::new(),
            hashes: HashMap::new(),
            queue: VecDeque::new(),
            last_editor: Principal::system(),
            running: None,
            progress: Progress::default(),
            availability,
            projection: Projection::of(&stored),
            projection_retry: None,
            stopping: None,
            set_up: SetUp::of(&stored),
        };
        actor.load_rules().await?;
        for run in unfinished {
            actor.take_up(run).await?;
        }
        for (room, rule) in actor.shared.store.dirty().await? {
            if room == actor.id
                && let Some(at) = actor.rules.iter().position(|state| state.rule.id == rule)
            {
                actor.feed(at, Input::Restored).await;
            }
        }
        Ok((actor, events))
    }

    /// Reads the rules; those that are known already keep their state.
    async fn load_rules(&mut self) -> Result<(), Error> {
        let mut known: Vec<RuleState> = std::mem::take(&mut self.rules);
        for rule in self.shared.store.rules(&self.id).await? {
            let globs = match Globs::new(&rule.globs) {
                Ok(globs) => globs,
                Err(error) => {
                    tracing::error!(room = %self.id, rule = %rule.id, %error, "a stored rule is not usable");
                    continue;
                }
            };
            let debounce = match known.iter().position(|state| state.rule.id == rule.id) {
                Some(at) => known.swap_remove(at).debounce,
                None => Debounce::new(self.shared.config.debounce, self.is_available()),
            };
            self.rules.push(RuleState { rule, globs, debounce });
        }
        Ok(())
    }

    async fn live(mut self, mut events: broadcast::Receiver<RoomEvent>, mut commands: mpsc::Receiver<Command>) {
        let tasks = self.shared.tasks.clone();
        let mut availability = self.shared.sandboxes.availability();
        let mut availability_lives = true;
        let mut start = self.progress.watch();
        let mut terminals = self.shared.terminals.watch(&self.id);
        self.show_sandbox();
        // Also when there are none: an earlier process may have left some in the document.
        self.projection.terminals(&terminals.borrow_and_update());
        let mut ports = self.shared.sandboxes.ports(&self.id);
        self.projection.ports(&ports.borrow_and_update());
        let mut made = self.shared.sandboxes.made(&self.id);
        made.mark_changed();
        loop {
            self.start_next();
            self.write_projection().await;
            if self.running.is_none()
                && let Some(reply) = self.stopping.take()
            {
                let _ = reply.send(());
                return;
            }
            let deadline = self.deadline();
            tokio::select! {
                event = events.recv() => match event {
                    Ok(event) => self.handle_event(event).await,
                    Err(RecvError::Lagged(missed)) => self.handle_lag(missed).await,
                    Err(RecvError::Closed) => match self.reopen().await {
                        Some(fresh) => events = fresh,
                        None => return,
                    },
                },
                // After a stop nothing else is carried out; those who ask find the channel closed.
                command = commands.recv(), if self.stopping.is_none() => match command {
                    Some(command) => self.handle_command(command).await,
                    // The engine itself is gone.
                    None => return,
                },
                report = next_report(&mut self.running) => self.handle_report(report).await,
                changed = availability.changed(), if availability_lives => {
                    availability_lives = changed.is_ok();
                    let now = availability.borrow_and_update().clone();
                    self.handle_availability(now).await;
                }
                // The sender lives in `self`, so this never fails.
                _ = start.changed() => self.show_sandbox(),
                // Nor does this: a room's list stays for as long as somebody looks at it.
                _ = terminals.changed() => self.projection.terminals(&terminals.borrow_and_update()),
                Ok(()) = ports.changed() => self.projection.ports(&ports.borrow_and_update()),
                Ok(()) = made.changed() => {
                    let now = made.borrow_and_update().clone();
                    self.handle_made(now.as_deref()).await;
                }
                () = at(deadline) => self.handle_deadline().await,
                () = tasks.cancelled() => return,
            }
        }
    }

    /// The room was closed. If there is something left to do it is opened again, and every change in between counts.
    async fn reopen(&mut self) -> Option<broadcast::Receiver<RoomEvent>> {
        let busy = self.running.is_some()
            || !self.queue.is_empty()
            || self.rules.iter().any(|state| state.debounce.is_dirty());
        if !busy {
            return None;
        }
        match self.shared.rooms.room(&self.id).await {
            Ok(room) => {
                let events = room.events();
                self.room = room;
                self.handle_lag(0).await;
                Some(events)
            }
            Err(error) => {
                tracing::error!(room = %self.id, %error, "a room with unfinished runs cannot be opened");
                None
            }
        }
    }

    async fn handle_command(&mut self, command: Command) {
        match command {
            Command::RunNow { rule, by, reply } => {
                let answer = self.run_now(rule, &by).await;
                // Whoever asked may have gone; the run stands.
                let _ = reply.send(answer);
            }
            Command::Cancel { run, by, reply } => {
                let answer = self.cancel(&run, &by).await;
                let _ = reply.send(answer);
            }
            Command::RulesChanged => {
                if let Err(error) = self.load_rules().await {
                    tracing::error!(room = %self.id, %error, "changed rules cannot be read");
                }
            }
            Command::Stop { reply } => {
                self.stopping = Some(reply);
                if let Some(running) = &self.running {
                    running.control.send_modify(|control| control.stop = true);
                }
            }
        }
    }

    async fn handle_availability(&mut self, availability: Availability) {
        self.availability = availability;
        self.show_sandbox();
        let available = self.is_available();
        for at in 0..self.rules.len() {
            self.feed(at, Input::Available(available)).await;
        }
    }

    async fn handle_deadline(&mut self) {
        for at in 0..self.rules.len() {
            self.feed(at, Input::Elapsed).await;
        }
    }

    /// The next moment at which something is due.
    fn deadline(&self) -> Option<Instant> {
        let rules = self.rules.iter().filter_map(|state| state.debounce.deadline().map(Instant::from_std));
        rules.chain(self.projection_retry).min()
    }

    fn show_sandbox(&mut self) {
        let (start, files) = (self.progress.now(), self.files.len());
        self.projection.sandbox(&SandboxState::new(&self.availability, start, files));
    }

    async fn write_projection(&mut self) {
        if self.projection.is_written() || self.projection_retry.is_some_and(|at| at > Instant::now()) {
            return;
        }
        self.projection_retry = match self.projection.write(self.room.as_ref()).await {
            Ok(()) => None,
            Err(error) => {
                tracing::warn!(room = %self.id, %error, "what people see of runs is not up to date");
                Some(Instant::now() + PROJECTION_RETRY)
            }
        };
    }

    fn is_available(&self) -> bool {
        self.availability == Availability::Ready
    }
}

async fn next_report(running: &mut Option<Running>) -> Option<Report> {
    match running {
        Some(running) => running.reports.recv().await,
        None => std::future::pending().await,
    }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// The present moment as the pure parts take it; tests pause and advance it.
fn now() -> std::time::Instant {
    Instant::now().into_std()
}
