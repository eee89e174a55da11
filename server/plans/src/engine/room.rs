//! One room's task: it owns the room's rules, its queue of runs and what people see of them.
//!
//! It executes nothing itself (see [`super::execution`]) and keeps nothing that the store does not have. Read
//! [`follow`], then [`Actor::live`], the one loop.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use buildspaces_kernel::clock::unix_millis;
use buildspaces_kernel::ids::{NodeId, RoomId, RuleId, RunId};
use buildspaces_policy::{Principal, PrincipalKind};
use buildspaces_rooms::RoomEvent;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::Shared;
use super::execution::{Control, Execution, Report};
use super::projection::{Projection, SHOWN_RUNS, SandboxState};
use crate::Error;
use crate::ports::{Availability, Phase, RoomView};
use crate::rule::{Debounce, Effect, Globs, Input, Rule};
use crate::run::{Run, RunState, Transition};
use crate::trigger::{TriggerKey, text_hash};

/// Reports of an execution that may wait. When it is full the execution waits, and with it the step's output.
const REPORTS: usize = 16;
/// Wait before what could not be shown is written again.
const PROJECTION_RETRY: Duration = Duration::from_secs(1);

/// What others ask of a room's task.
pub(super) enum Command {
    RunNow { rule: Option<RuleId>, by: Principal, reply: oneshot::Sender<Result<Run, Error>> },
    Cancel { run: RunId, by: Principal, reply: oneshot::Sender<Result<Run, Error>> },
    RulesChanged,
    /// Interrupt what runs; the answer comes when that is stored.
    Stop { reply: oneshot::Sender<()> },
}

/// Follows the room until the process ends, or until the room is closed and nothing is left to do.
pub(super) async fn follow(shared: Arc<Shared>, id: RoomId, mut commands: mpsc::Receiver<Command>) {
    match Actor::load(shared, id.clone()).await {
        Ok((actor, events)) => actor.live(events, commands).await,
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
    running: Option<Running>,
    phase: watch::Sender<Phase>,
    availability: Availability,
    projection: Projection,
    projection_retry: Option<Instant>,
    stopping: Option<oneshot::Sender<()>>,
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
        let unfinished: Vec<Run> =
            shared.store.unfinished().await?.into_iter().filter(|run| run.room == id).collect();
        let availability = shared.sandboxes.availability().borrow().clone();
        let mut actor = Self {
            files: room.text_files().into_iter().map(|(path, node)| (node, path)).collect(),
            shared,
            id,
            room,
            rules: Vec::new(),
            hashes: HashMap::new(),
            queue: VecDeque::new(),
            running: None,
            phase: watch::Sender::new(Phase::Idle),
            availability,
            projection: Projection::of(&stored),
            projection_retry: None,
            stopping: None,
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

    /// A run that the last process left queued or running.
    async fn take_up(&mut self, run: Run) -> Result<(), Error> {
        match run.state {
            RunState::Running if self.running.is_none() => self.execute(run),
            RunState::Running => {
                let reason = "The server went away while this ran. Run it again.".to_owned();
                self.transition(run, Transition::Interrupt(reason)).await?;
            }
            _ => self.enqueue(run).await,
        }
        Ok(())
    }

    async fn live(mut self, mut events: broadcast::Receiver<RoomEvent>, mut commands: mpsc::Receiver<Command>) {
        let tasks = self.shared.tasks.clone();
        let mut availability = self.shared.sandboxes.availability();
        let mut availability_lives = true;
        let mut phase = self.phase.subscribe();
        self.show_sandbox();
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
                _ = phase.changed() => self.show_sandbox(),
                () = at(deadline) => self.handle_deadline().await,
                () = tasks.cancelled() => return,
            }
        }
    }

    async fn handle_event(&mut self, event: RoomEvent) {
        match event {
            RoomEvent::Edited { node, by } => {
                self.hashes.remove(&node);
                if by != PrincipalKind::Person {
                    return;
                }
                if !self.files.contains_key(&node) {
                    self.look_at_files();
                }
                if let Some(path) = self.files.get(&node).cloned() {
                    self.handle_changed_paths(&[path]).await;
                }
            }
            RoomEvent::Tree { by, .. } => {
                let changed = self.look_at_files();
                if by == PrincipalKind::Person {
                    self.handle_changed_paths(&changed).await;
                }
            }
        }
    }

    /// Events were missed: a person's edit may have been among them, so every rule looks again.
    async fn handle_lag(&mut self, missed: u64) {
        tracing::debug!(room = %self.id, missed, "fell behind a room's events");
        self.hashes.clear();
        self.look_at_files();
        for at in 0..self.rules.len() {
            self.feed(at, Input::Edited).await;
        }
    }

    async fn handle_changed_paths(&mut self, paths: &[String]) {
        for at in 0..self.rules.len() {
            if paths.iter().any(|path| self.rules[at].globs.is_match(path)) {
                self.feed(at, Input::Edited).await;
            }
        }
    }

    /// Looks at the tree; returns the paths that appeared or went.
    fn look_at_files(&mut self) -> Vec<String> {
        let files: HashMap<NodeId, String> =
            self.room.text_files().into_iter().map(|(path, node)| (node, path)).collect();
        let old: HashSet<(&NodeId, &String)> = self.files.iter().collect();
        let new: HashSet<(&NodeId, &String)> = files.iter().collect();
        let changed = old.symmetric_difference(&new).map(|(_, path)| (*path).clone()).collect();
        self.hashes.retain(|node, _| files.contains_key(node));
        self.files = files;
        changed
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

    async fn run_now(&mut self, rule: Option<RuleId>, by: &Principal) -> Result<Run, Error> {
        if self.stopping.is_some() {
            return Err(Error::Stopping);
        }
        if let Availability::Off { message, hint } = &self.availability {
            return Err(Error::SandboxOff { message: message.clone(), hint: hint.clone() });
        }
        let at = match &rule {
            Some(id) => self.rules.iter().position(|state| state.rule.id == *id).ok_or(Error::NoSuchRule)?,
            None if self.rules.is_empty() => return Err(Error::NoRules),
            None => 0,
        };
        let run = Run::queued(&self.rules[at].rule, TriggerKey::intent(), by, unix_millis());
        self.shared.store.insert(&run).await?;
        self.enqueue(run.clone()).await;
        // The run takes the text as it is when it starts, so what has been typed so far is covered.
        self.feed(at, Input::Fired).await;
        Ok(run)
    }

    async fn cancel(&mut self, id: &RunId, by: &Principal) -> Result<Run, Error> {
        let by = by.name.as_ref().to_owned();
        if let Some(at) = self.queue.iter().position(|run| run.id == *id) {
            let run = self.queue[at].clone();
            let run = self.transition(run, Transition::Cancel { by }).await?;
            self.queue.remove(at);
            return Ok(run);
        }
        if let Some(running) = self.running.as_ref().filter(|running| running.run.id == *id) {
            running.control.send_modify(|control| {
                control.cancelled_by.get_or_insert(by);
            });
            return Ok(running.run.clone());
        }
        self.shared.store.run(&self.id, id).await?.ok_or(Error::NoSuchRun)
    }

    /// Gives `input` to a rule's debounce and performs what comes out.
    async fn feed(&mut self, at: usize, input: Input) {
        if !self.rules[at].rule.enabled {
            return;
        }
        let was_dirty = self.rules[at].debounce.is_dirty();
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for effect in self.rules[at].debounce.handle(now(), input) {
                match effect {
                    Effect::RememberDirty => self.remember_dirty(at, true).await,
                    Effect::Fire => inputs.push_back(match self.fire(at).await {
                        Ok(()) => Input::Fired,
                        Err(error) => {
                            tracing::warn!(room = %self.id, %error, "a rule could not fire; it will try again");
                            Input::FireFailed
                        }
                    }),
                }
            }
        }
        if was_dirty && !self.rules[at].debounce.is_dirty() {
            self.remember_dirty(at, false).await;
        }
    }

    /// An error here costs only what a crash in the next seconds would forget.
    async fn remember_dirty(&self, at: usize, dirty: bool) {
        let since = dirty.then(unix_millis);
        if let Err(error) = self.shared.store.set_dirty(&self.id, &self.rules[at].rule.id, since).await {
            tracing::warn!(room = %self.id, %error, "that a rule is dirty is not stored");
        }
    }

    /// Queues a run of the present text unless that text has been run, or will be.
    async fn fire(&mut self, at: usize) -> Result<(), Error> {
        let key = self.text_key(at).await?;
        let rule = &self.rules[at].rule;
        let covered = self.queue.iter().any(|run| {
            run.rule == rule.id && (run.trigger_key == key || matches!(run.trigger_key, TriggerKey::Intent(_)))
        });
        if covered {
            return Ok(());
        }
        let run = Run::queued(rule, key, &Principal::system(), unix_millis());
        if self.shared.store.insert(&run).await? {
            self.enqueue(run).await;
        }
        Ok(())
    }

    /// The key of the texts that a rule matches, as they are now.
    async fn text_key(&mut self, at: usize) -> Result<TriggerKey, Error> {
        let mut matched = Vec::new();
        for (path, node) in self.room.text_files() {
            if self.rules[at].globs.is_match(&path) {
                let hash = match self.hashes.get(&node) {
                    Some(hash) => *hash,
                    None => match self.room.text(&node).await {
                        Ok(text) => text_hash(&text),
                        // Deleted since the tree was looked at.
                        Err(buildspaces_rooms::Error::NoSuchNode) => continue,
                        Err(error) => return Err(error.into()),
                    },
                };
                self.hashes.insert(node, hash);
                matched.push((path, hash));
            }
        }
        Ok(TriggerKey::text(matched.iter().map(|(path, hash)| (path.as_str(), *hash))))
    }

    /// Appends a stored run to the queue. The newest queued run of a rule wins: an older one makes way.
    async fn enqueue(&mut self, run: Run) {
        self.projection.run(&run);
        if let Some(at) = self.queue.iter().position(|older| older.rule == run.rule)
            && let Some(older) = self.queue.remove(at)
        {
            let reason = Transition::Supersede("A newer run took its place.".to_owned());
            if let Err(error) = self.transition(older, reason).await {
                // It stays queued in the store alone; the next start meets it here again.
                tracing::error!(room = %self.id, %error, "a superseded run is not stored");
            }
        }
        self.queue.push_back(run);
    }

    /// A transition of a run that is not executed.
    async fn transition(&mut self, run: Run, transition: Transition) -> Result<Run, Error> {
        let next = match run.after(transition, unix_millis()) {
            Ok(next) if self.shared.store.update(&next).await? => next,
            _ => self.shared.store.run(&self.id, &run.id).await?.ok_or(Error::NoSuchRun)?,
        };
        self.projection.run(&next);
        Ok(next)
    }

    /// Starts the oldest queued run if nothing runs.
    fn start_next(&mut self) {
        if self.running.is_none()
            && self.stopping.is_none()
            && self.is_available()
            && let Some(run) = self.queue.pop_front()
        {
            self.execute(run);
        }
    }

    fn execute(&mut self, run: Run) {
        let (control, wanted) = watch::channel(Control::default());
        let (sender, reports) = mpsc::channel(REPORTS);
        let globs = self.rules.iter().find(|state| state.rule.id == run.rule).map(|state| state.globs.clone());
        let execution = Execution {
            shared: Arc::clone(&self.shared),
            room: self.id.clone(),
            globs,
            control: wanted,
            reports: sender,
            phase: self.phase.clone(),
        };
        let task = run.clone();
        self.shared.tasks.spawn("run", async move {
            if task.state == RunState::Running {
                execution.resume(task).await;
            } else {
                execution.start(task).await;
            }
        });
        self.running = Some(Running { run, control, reports });
    }

    async fn handle_report(&mut self, report: Option<Report>) {
        let Some(running) = &mut self.running else { return };
        match report {
            Some(Report::Changed(run)) => {
                self.projection.run(&run);
                running.run = *run;
                if running.run.state.is_final() {
                    self.running = None;
                }
            }
            Some(Report::Tail(text)) => self.projection.tail(&running.run.id, text),
            None => {
                let run = running.run.clone();
                self.running = None;
                self.handle_silent_end(run).await;
            }
        }
    }

    /// An execution ended without a final report: the server stops, or it failed.
    async fn handle_silent_end(&mut self, run: Run) {
        if self.stopping.is_some() {
            return;
        }
        let reason = "The server failed while it ran this. Run it again.".to_owned();
        let transition = match run.state {
            RunState::Running => Transition::Interrupt(reason),
            _ => Transition::Fail(reason),
        };
        if let Err(error) = self.transition(run, transition).await {
            tracing::error!(room = %self.id, %error, "the end of a run is not stored");
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
        let phase = *self.phase.borrow();
        self.projection.sandbox(&SandboxState::new(&self.availability, phase));
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
