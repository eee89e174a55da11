//! The engine: follows rooms, fires their rules, and runs what is queued.
//!
//! 1. [`Engine::room_opened`] starts one task for the room ([`room`]), which owns everything about its runs.
//! 2. A person's edit makes the rules that match it dirty; when a rule has been quiet for long enough it *fires*:
//!    a run is queued under the hash of the matched texts, unless that text has been run.
//! 3. At most one run of a room is executed at a time, by a task of its own ([`execution`]), which reports back.
//! 4. What people see is written into the room's projected `runs` document ([`projection`]).
//!
//! Every transition is stored before it is shown, so a restart continues from the store alone:
//! [`Engine::resume_after_restart`]. Whether somebody *may* do a thing is asked by the caller.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use buildspaces_kernel::ids::{RoomId, RuleId, RunId};
use buildspaces_kernel::tasks::Tasks;
use buildspaces_policy::Principal;
use tokio::sync::{mpsc, oneshot, watch};

use crate::Error;
use crate::git::Git;
use crate::ports::{KEPT_RUNS, RecordingStore, RoomViews, RunStore, Sandboxes};
use crate::recordings::Recordings;
use crate::rule::{DebounceConfig, Globs, NewRule, Rule};
use crate::run::Run;
use crate::secret::SecretName;
use crate::secrets::Secrets;
use crate::skill;
use crate::terminals::Terminals;

mod execution;
mod output;
mod projection;
mod room;
#[cfg(test)]
mod tests;

use room::Command;

/// What can be set about the engine.
#[derive(Clone, Debug)]
pub struct Config {
    pub debounce: DebounceConfig,
    /// How long an interrupted start of the sandbox, or its return after a restart, is waited for.
    pub sandbox_patience: Duration,
    /// How long [`Engine::stop`] waits for its rooms.
    pub stop_grace: Duration,
}

impl Default for Config {
    fn default() -> Self {
        /// The first container on a cold machine takes seconds; minutes mean that something is broken.
        const SANDBOX_PATIENCE: Duration = Duration::from_secs(120);
        const STOP_GRACE: Duration = Duration::from_secs(5);
        Self { debounce: DebounceConfig::default(), sandbox_patience: SANDBOX_PATIENCE, stop_grace: STOP_GRACE }
    }
}

/// Commands that may wait for one room's task. When it is full, callers wait.
const COMMANDS: usize = 16;

/// A cheap handle to the engine; clones share everything.
#[derive(Clone)]
pub struct Engine(Arc<Shared>);

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Engine")
    }
}

/// What all rooms' tasks have in common.
struct Shared {
    rooms: Arc<dyn RoomViews>,
    store: Arc<dyn RunStore>,
    sandboxes: Arc<dyn Sandboxes>,
    secrets: Secrets,
    terminals: Terminals,
    recordings: Recordings,
    git: Git,
    tasks: Tasks,
    config: Config,
    followed: Mutex<Followed>,
}

#[derive(Default)]
struct Followed {
    rooms: HashMap<RoomId, Actor>,
    /// No room is followed from now on.
    stopped: bool,
}

/// The way to one room's task.
#[derive(Clone)]
struct Actor {
    commands: mpsc::Sender<Command>,
    /// True once no edit can escape it; closed if the room could not be opened.
    following: watch::Receiver<bool>,
}

/// Completes when edits from now on make the room's rules dirty, or when the room cannot be followed. Whoever lets people
/// edit waits for it first; dropping it changes nothing.
pub struct Following(Pin<Box<dyn Future<Output = ()> + Send>>);

impl Future for Following {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Following {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Following")
    }
}

impl Engine {
    /// One that keeps no recordings of terminals.
    pub fn new(
        rooms: impl RoomViews,
        store: Arc<dyn RunStore>,
        sandboxes: Arc<dyn Sandboxes>,
        secrets: Secrets,
        tasks: Tasks,
        config: Config,
    ) -> Self {
        Self::with_recordings(rooms, store, None, sandboxes, secrets, tasks, config)
    }

    /// One that keeps what terminals show in `recordings`, in rooms whose hosts want that.
    pub fn with_recordings(
        rooms: impl RoomViews,
        store: Arc<dyn RunStore>,
        recordings: Option<Arc<dyn RecordingStore>>,
        sandboxes: Arc<dyn Sandboxes>,
        secrets: Secrets,
        tasks: Tasks,
        config: Config,
    ) -> Self {
        let (rooms, followed): (Arc<dyn RoomViews>, _) = (Arc::new(rooms), Mutex::default());
        let recordings = Recordings::new(recordings, tasks.clone());
        let terminals = Terminals::new(sandboxes.clone(), recordings.clone(), tasks.clone());
        let git = Git::new(rooms.clone(), store.clone(), sandboxes.clone(), secrets.clone(), tasks.clone());
        Self(Arc::new(Shared { rooms, store, sandboxes, secrets, terminals, recordings, git, tasks, config, followed }))
    }

    /// The terminals of all rooms. What people see of them is shown in rooms that are followed.
    pub fn terminals(&self) -> &Terminals {
        &self.0.terminals
    }

    /// What terminals showed, where that is kept.
    pub fn recordings(&self) -> &Recordings {
        &self.0.recordings
    }

    /// Git in the workspaces of all rooms.
    pub fn git(&self) -> &Git {
        &self.0.git
    }

    /// The secrets of all rooms.
    pub fn secrets(&self) -> &Secrets {
        &self.0.secrets
    }

    /// Somebody is in the room: follow its changes from now on. Calling it again starts nothing.
    ///
    /// An edit that comes before the returned [`Following`] completes may make no rule dirty.
    pub fn room_opened(&self, room: &RoomId) -> Following {
        let actor = self.follow(room);
        Following(Box::pin(async move {
            // Errors mean that the engine is stopping, or that the room's task has said in the log why it ended.
            if let Ok(mut actor) = actor {
                let _ = actor.following.wait_for(|following| *following).await;
            }
        }))
    }

    /// Follows every room whose runs or rules a restart left unfinished; returns how many. Call it once, at boot.
    pub async fn resume_after_restart(&self) -> Result<usize, Error> {
        self.0.recordings.settle().await;
        self.0.git.settle().await;
        let mut rooms: Vec<RoomId> = self.0.store.unfinished().await?.into_iter().map(|run| run.room).collect();
        rooms.extend(self.0.store.dirty().await?.into_iter().map(|(room, _)| room));
        rooms.sort_unstable();
        rooms.dedup();
        for room in &rooms {
            self.follow(room)?;
        }
        Ok(rooms.len())
    }

    /// Queues a run of the rule, or of the room's first rule; it always runs, even if the text has been run.
    ///
    /// Cancel-safe: once the room's task has the command, it is carried out.
    pub async fn run_now(&self, room: &RoomId, rule: Option<RuleId>, by: &Principal) -> Result<Run, Error> {
        self.ask(room, |reply| Command::RunNow { rule, by: by.clone(), reply }).await
    }

    /// Cancels a queued run, or asks the sandbox to stop a running one (the answer then still says `running`).
    /// A run that has ended is returned as it is. Cancel-safe like [`Engine::run_now`].
    pub async fn cancel(&self, room: &RoomId, run: &RunId, by: &Principal) -> Result<Run, Error> {
        self.ask(room, |reply| Command::Cancel { run: run.clone(), by: by.clone(), reply }).await
    }

    /// Newest first, at most [`KEPT_RUNS`].
    pub async fn runs(&self, room: &RoomId) -> Result<Vec<Run>, Error> {
        Ok(self.0.store.runs(room, KEPT_RUNS).await?)
    }

    pub async fn run(&self, room: &RoomId, run: &RunId) -> Result<Run, Error> {
        self.0.store.run(room, run).await?.ok_or(Error::NoSuchRun)
    }

    /// The run's whole output as far as it is kept, as the program wrote it (not always UTF-8).
    pub async fn log(&self, room: &RoomId, run: &RunId) -> Result<Vec<u8>, Error> {
        self.run(room, run).await?;
        Ok(self.0.store.log(run).await?)
    }

    pub async fn rules(&self, room: &RoomId) -> Result<Vec<Rule>, Error> {
        Ok(self.0.store.rules(room).await?)
    }

    /// Checks and stores rules of a room; a room that is followed takes them up.
    pub async fn create_rules(&self, room: &RoomId, rules: Vec<NewRule>) -> Result<Vec<Rule>, Error> {
        let mut created = Vec::with_capacity(rules.len());
        for rule in rules {
            Globs::new(&rule.globs).map_err(|error| Error::InvalidRule(error.to_string()))?;
            if skill::find(&rule.skill).is_none() {
                let known: Vec<_> = skill::SKILLS.iter().map(|skill| skill.name).collect();
                return Err(Error::InvalidRule(format!(
                    "there is no skill {:?}; there is {}",
                    rule.skill,
                    known.join(", ")
                )));
            }
            let NewRule { name, globs, skill } = rule;
            let (id, room, secrets) = (RuleId::random(), room.clone(), Vec::new());
            created.push(Rule { id, room, name, globs, skill, enabled: true, secrets });
        }
        for rule in &created {
            self.0.store.insert_rule(rule).await?;
        }
        self.rules_changed(room).await;
        Ok(created)
    }

    /// Has the rule's steps be given these secrets from the next run on, and no others.
    pub async fn set_rule_secrets(&self, room: &RoomId, rule: &RuleId, names: Vec<SecretName>) -> Result<Rule, Error> {
        let rules = self.0.store.rules(room).await?;
        let mut rule = rules.into_iter().find(|known| known.id == *rule).ok_or(Error::NoSuchRule)?;
        self.0.secrets.check(room, &names, &rule.skill).await?;
        rule.secrets = names;
        rule.secrets.sort_unstable();
        rule.secrets.dedup();
        self.0.store.insert_rule(&rule).await?;
        self.rules_changed(room).await;
        Ok(rule)
    }

    /// A room that is followed takes its rules up.
    async fn rules_changed(&self, room: &RoomId) {
        let followed = self.0.followed.lock().expect(POISON).rooms.get(room).cloned();
        if let Some(actor) = followed {
            // A closed channel means that the room's task has ended; the next one loads the rules.
            let _ = actor.commands.send(Command::RulesChanged).await;
        }
    }

    /// Ends in an orderly way: what runs becomes `interrupted`, what is queued stays so for the next start, and
    /// nothing new begins. Call it before the sandboxes go. Returns after at most [`Config::stop_grace`].
    pub async fn stop(&self) {
        let rooms: Vec<_> = {
            let mut followed = self.0.followed.lock().expect(POISON);
            followed.stopped = true;
            followed.rooms.drain().map(|(_, actor)| actor.commands).collect()
        };
        let mut ended = Vec::with_capacity(rooms.len());
        let all = async {
            for commands in rooms {
                let (reply, end) = oneshot::channel();
                if commands.send(Command::Stop { reply }).await.is_ok() {
                    ended.push(end);
                }
            }
            for end in ended {
                // An error means that the task has ended already.
                let _ = end.await;
            }
        };
        if tokio::time::timeout(self.0.config.stop_grace, all).await.is_err() {
            tracing::warn!("some rooms did not end their runs in time; the next start resumes them");
        }
    }

    async fn ask(
        &self,
        room: &RoomId,
        command: impl FnOnce(oneshot::Sender<Result<Run, Error>>) -> Command,
    ) -> Result<Run, Error> {
        let (reply, answer) = oneshot::channel();
        let gone = || Error::Room(buildspaces_rooms::Error::Closed);
        self.follow(room)?.commands.send(command(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// The way to the room's task, which is started if there is none.
    fn follow(&self, room: &RoomId) -> Result<Actor, Error> {
        let mut followed = self.0.followed.lock().expect(POISON);
        if followed.stopped {
            return Err(Error::Stopping);
        }
        if let Some(actor) = followed.rooms.get(room).filter(|actor| !actor.commands.is_closed()) {
            return Ok(actor.clone());
        }
        let (commands, mailbox) = mpsc::channel(COMMANDS);
        let (ready, following) = watch::channel(false);
        let actor = Actor { commands, following };
        followed.rooms.insert(room.clone(), actor.clone());
        self.0.tasks.spawn("runs of a room", room::follow(Arc::clone(&self.0), room.clone(), mailbox, ready));
        Ok(actor)
    }
}

/// Nothing that holds the lock can panic.
const POISON: &str = "the map of followed rooms is only read and written";
