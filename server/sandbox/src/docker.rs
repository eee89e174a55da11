//! The containers of all rooms: started at a room's first step or terminal, kept for the next ones, removed when nothing ran
//! and nobody typed for a while, adopted again when the server was killed and came back.
//!
//! Documents and files are not its business: a workspace is a folder that it is given. One lock per room is held while
//! that room's container comes and goes, so a room never has two.

use std::collections::HashMap;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use buildspaces_kernel::address;
use buildspaces_kernel::ids::{OrganisationId, RoomId, random_id};
use buildspaces_kernel::tasks::Tasks;
use buildspaces_plans::ports::{
    Availability, Made, NotConnected, Phase, Progress, SANDBOX_ENDED, SandboxError, Step, StepSpec, TerminalLine,
    TerminalSpec, Tunnel,
};
use buildspaces_plans::secret::{StepHeader, StepSecrets};
use buildspaces_policy::tenancy::Tenancy;
use buildspaces_sandbox_agent::protocol::{Key, Line};
use futures_util::future::join_all;
use tokio::sync::{Notify, oneshot, watch};
use tracing::Instrument as _;

use crate::files::Files;
use crate::link::{Connection, Link};
use crate::mirror::ignore;
use crate::ports::{self, Board};
use crate::steps::{self, Container, Following, NotStarted, State};
use crate::{Config, Limits, terminals, workspace_owner};
use accounts::{Accounts, Full, Seat};
use engine::Engine;
use made::Granted;
use pool::Pool;
use pulls::Pulls;
use sandbox::{Place, Sandbox};

mod accounts;
mod command;
mod disk;
mod engine;
mod leftovers;
mod made;
mod pool;
mod pulls;
mod sandbox;
mod spec;
mod unlinked;
mod watch_engine;

/// How long a new container's agent may take to dial.
const CONNECT_PATIENCE: Duration = Duration::from_secs(30);

/// How long the agent of a container that ran already may take. It dials every half second.
const RECONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// How long a step waits for the one before it, which may have been cancelled this moment, to be over.
const BUSY_PATIENCE: Duration = Duration::from_secs(20);

/// How often the state of a container is looked at while its agent has not dialled.
const PROBE: Duration = Duration::from_millis(250);

/// Characters of a container's token, five random bits each.
const TOKEN_LENGTH: usize = 32;

/// All containers of this server. Clones share them.
#[derive(Clone, Debug)]
pub struct Containers {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: Config,
    engine: Arc<Engine>,
    pulls: Pulls,
    tasks: Tasks,
    /// `sandboxes/` in the data folder: for each sandbox the agent and its socket.
    folder: PathBuf,
    rooms: Mutex<HashMap<RoomId, Arc<Slot>>>,
    /// Sandboxes of no room yet.
    pool: Pool,
    /// What those of each organisation use.
    accounts: Accounts,
    /// Which sandbox is each room's, for those who must not wait for the lock, and its ports.
    board: Arc<Board<Sandbox>>,
    availability: watch::Sender<Availability>,
    /// Something looked as if the engine had stopped or come back.
    recheck: Notify,
    stopping: AtomicBool,
    /// What an earlier process left behind was looked through.
    reconciled: AtomicBool,
}

/// A room's place for a container.
#[derive(Debug, Default)]
struct Slot {
    sandbox: tokio::sync::Mutex<Option<Arc<Sandbox>>>,
}

impl Containers {
    /// Looks for the engine once, and keeps looking in the background.
    ///
    /// # Errors
    /// The folder for agents and sockets cannot be made.
    pub async fn open(mut config: Config, tasks: &Tasks) -> io::Result<Self> {
        let folder = config.data_dir.join("sandboxes");
        tokio::fs::create_dir_all(&folder).await?;
        // Other users of this machine have no business with the sockets in there.
        tokio::fs::set_permissions(&folder, Permissions::from_mode(0o700)).await?;
        // The engine has its own working folder.
        let folder = tokio::fs::canonicalize(folder).await?;
        config.agent_binary = std::path::absolute(&config.agent_binary)?;
        let engine = Engine::new(config.docker_host.clone());
        let availability = engine.availability(&config.image, &config.agent_binary).await;
        let accounts = Accounts::new(config.allowances.organisations.clone());
        let shared = Arc::new(Shared {
            accounts,
            config,
            engine: Arc::new(engine),
            pulls: Pulls::default(),
            tasks: tasks.clone(),
            folder,
            rooms: Mutex::default(),
            pool: Pool::default(),
            board: Arc::default(),
            availability: watch::Sender::new(availability),
            recheck: Notify::new(),
            stopping: AtomicBool::new(false),
            reconciled: AtomicBool::new(false),
        });
        tasks.spawn("sandbox availability", watch_engine::run(Arc::clone(&shared)));
        tasks.spawn("sandboxes of no room", leftovers::reap(Arc::clone(&shared)));
        tasks.spawn("idle sandboxes", stop_idle(Arc::clone(&shared)));
        tasks.spawn("warm sandboxes", pool::keep(Arc::clone(&shared)));
        Ok(Self { shared })
    }

    pub fn availability(&self) -> watch::Receiver<Availability> {
        self.shared.availability.subscribe()
    }

    /// Starts the room's container if there is none, with `files`, then the step. Cancel-safe: the step
    /// of a caller that went away is cancelled.
    ///
    /// # Errors
    /// Runs are off, or a sentence that says what failed; then nothing of the step runs.
    pub async fn start(
        &self,
        room: &RoomId,
        files: &Arc<dyn Files>,
        step: StepSpec,
        progress: Progress,
    ) -> Result<Step, SandboxError> {
        let (reply, answer) = oneshot::channel();
        let (this, room, files) = (self.clone(), room.clone(), Arc::clone(files));
        // A task of its own, because a container that was created half would be nobody's.
        self.shared.tasks.spawn("start a step", async move {
            let started = Box::pin(this.start_now(&room, &files, step, progress)).await;
            if let Err(Ok(step)) = reply.send(started) {
                let _ = step.cancel.try_send(());
            }
        });
        answer.await.unwrap_or_else(|_| Err(SandboxError::Failed("the sandbox could not be started".to_owned())))
    }

    async fn start_now(
        &self,
        room: &RoomId,
        files: &Arc<dyn Files>,
        step: StepSpec,
        progress: Progress,
    ) -> Result<Step, SandboxError> {
        let key = parse_key(&step.key)?;
        let shared = &self.shared;
        shared.check_available()?;
        shared.check_headers(&step.secrets.headers)?;
        let slot = shared.slot(room);
        let mut held = slot.sandbox.lock().await;
        // A second attempt, because a container that was kept may have died unnoticed.
        let mut reason = String::new();
        for _ in 0..2 {
            if let Some(sandbox) = &*held
                && !sandbox.becomes_idle(BUSY_PATIENCE).await
            {
                return Err(SandboxError::Failed("another step is running in this room's sandbox".to_owned()));
            }
            let (sandbox, patience) = match &step.sandbox {
                None => shared.usable(room, files, &mut held, &progress).await?,
                Some(only) => match held.as_ref().filter(|sandbox| sandbox.is_usable() && sandbox.id() == only) {
                    Some(sandbox) => (Arc::clone(sandbox), RECONNECT_PATIENCE),
                    None => return Err(SandboxError::Failed(SANDBOX_ENDED.to_owned())),
                },
            };
            sandbox.take(&progress, &step.secrets);
            let limits = sandbox.limits().clone();
            let timeout = step.timeout.map_or(limits.step, |timeout| timeout.min(limits.step));
            match start_in(&sandbox, patience, &key, &step, timeout).await {
                Ok(connection) => {
                    progress.enter(Phase::Ready);
                    let image = sandbox.image().to_owned();
                    let following = Following {
                        key,
                        link: Arc::clone(sandbox.link()),
                        container: sandbox,
                        seen: 0,
                        timeout: Some(timeout),
                        limits,
                        image: Some(image),
                    };
                    return Ok(steps::follow(&shared.tasks, connection, following));
                }
                Err(NotStarted::Unasked(why) | NotStarted::Rejected(why)) => reason = why,
                Err(NotStarted::Failed(why)) => {
                    shared.discard(&mut held).await;
                    return Err(shared.failed(why));
                }
            }
            tracing::info!(%room, %reason, "a sandbox is made anew");
            shared.discard(&mut held).await;
        }
        Err(shared.failed(format!("the sandbox could not be reached: {reason}")))
    }

    /// Starts the room's container if there is none, with `files`, then a shell in a terminal. Cancel-safe:
    /// the terminal of a caller that went away is closed.
    ///
    /// # Errors
    /// Runs are off, or a sentence that says what failed; then there is no terminal.
    pub async fn open_terminal(
        &self,
        room: &RoomId,
        files: &Arc<dyn Files>,
        terminal: TerminalSpec,
        progress: Progress,
    ) -> Result<TerminalLine, SandboxError> {
        let (reply, answer) = oneshot::channel();
        let (this, room, files) = (self.clone(), room.clone(), Arc::clone(files));
        // A task of its own, for the same reason. A line that nobody takes is closed by being dropped.
        self.shared.tasks.spawn("open a terminal", async move {
            let _ = reply.send(Box::pin(this.open_terminal_now(&room, &files, &terminal, &progress)).await);
        });
        answer.await.unwrap_or_else(|_| Err(SandboxError::Failed("the sandbox could not be started".to_owned())))
    }

    async fn open_terminal_now(
        &self,
        room: &RoomId,
        files: &Arc<dyn Files>,
        terminal: &TerminalSpec,
        progress: &Progress,
    ) -> Result<TerminalLine, SandboxError> {
        let key = parse_key(&terminal.key)?;
        let shared = &self.shared;
        shared.check_available()?;
        let slot = shared.slot(room);
        let mut held = slot.sandbox.lock().await;
        // A second attempt, because a container that was kept may have died unnoticed.
        let mut reason = String::new();
        for _ in 0..2 {
            let (sandbox, patience) = shared.usable(room, files, &mut held, progress).await?;
            let connected = sandbox.connect(Line::Terminal, patience).await.map_err(terminals::NotOpened::Unasked);
            let opened = match connected {
                Ok(connection) => terminals::open(sandbox.link(), connection, &key, terminal.size, sandbox.env()).await,
                Err(unasked) => Err(unasked),
            };
            match opened {
                Ok(connection) => {
                    // Who opens a terminal is about to type in it.
                    sandbox.touched();
                    progress.enter(Phase::Ready);
                    let link = Arc::clone(sandbox.link());
                    return Ok(terminals::follow(&shared.tasks, connection, key, link, sandbox));
                }
                Err(terminals::NotOpened::Rejected(why)) => return Err(shared.failed(why)),
                Err(terminals::NotOpened::Unasked(why)) => reason = why,
            }
            if !shared.give_up(room, &mut held, &sandbox, &reason).await {
                break;
            }
        }
        Err(shared.failed(format!("the sandbox could not be reached: {reason}")))
    }

    /// The step under `key`, under way or ended, if the room's container was adopted by [`Containers::reconcile`]. Its
    /// output comes from byte `seen` on, as far as it is kept.
    ///
    /// # Errors
    /// The key is not one.
    pub async fn resume(
        &self,
        room: &RoomId,
        key: &str,
        seen: u64,
        secrets: StepSecrets,
    ) -> Result<Option<Step>, SandboxError> {
        let key = parse_key(key)?;
        let shared = &self.shared;
        let slot = shared.slot(room);
        let mut held = slot.sandbox.lock().await;
        let Some(sandbox) = held.as_ref().filter(|sandbox| !sandbox.is_busy()).map(Arc::clone) else {
            return Ok(None);
        };
        let known = async {
            let mut connection = sandbox.connect(Line::Steps, RECONNECT_PATIENCE).await?;
            let known = steps::knows(&mut connection, &key).await.map_err(|broken| broken.to_string())?;
            Ok::<_, String>((connection, known))
        };
        match known.await {
            Ok((connection, true)) => {
                sandbox.take(&Progress::default(), &secrets);
                let link = Arc::clone(sandbox.link());
                let (limits, image) = (sandbox.limits().clone(), Some(sandbox.image().to_owned()));
                let following = Following { key, link, container: sandbox, seen, timeout: None, limits, image };
                Ok(Some(steps::follow(&shared.tasks, connection, following)))
            }
            Ok((connection, false)) => {
                sandbox.link().park(Line::Steps, connection);
                Ok(None)
            }
            Err(reason) => {
                tracing::info!(%room, %reason, "a sandbox that was to be resumed is gone");
                shared.discard(&mut held).await;
                Ok(None)
            }
        }
    }

    /// By what the room's sandbox was made.
    pub fn made(&self, room: &RoomId) -> watch::Receiver<Option<Arc<Made>>> {
        self.shared.board.watch_made(room)
    }

    /// The id of the usual image of new sandboxes; `None` if it or the engine is not there.
    pub async fn image_id(&self) -> Option<String> {
        self.shared.engine.image(&self.shared.config.image).await.ok().flatten()
    }

    /// Counts the files of all rooms of organisations that have a ceiling for them, now and again from time to time, in a task of its own: rooms that
    /// have no sandbox count as well. `folders` says which there are.
    pub(crate) fn keep_counting<F>(&self, folders: impl Fn(OrganisationId) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Option<Vec<(RoomId, PathBuf)>>> + Send + 'static,
    {
        let organisations = self.shared.accounts.with_disk();
        if organisations.is_empty() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let tasks = self.shared.tasks.clone();
        let counting = async move {
            // At the first time nothing is known yet, so it does not dawdle.
            let mut share = 0;
            loop {
                for organisation in &organisations {
                    let known = shared.accounts.rooms_with_disk(organisation);
                    let Some(folders) = folders(organisation.clone()).await else { continue };
                    let is_watched = |room: &RoomId| shared.board.sandbox(room).is_some();
                    disk::count(&shared.accounts, organisation, known, folders, share, is_watched).await;
                }
                share = disk::SHARE;
                tokio::time::sleep(disk::AGAIN).await;
            }
        };
        self.shared.tasks.spawn("count the disks of organisations", async move {
            tokio::select! {
                () = counting => {}
                () = tasks.cancelled() => {}
            }
        });
    }

    /// Whether `more` bytes fit below the ceiling of whoever's the room is, or will be.
    ///
    /// # Errors
    /// A sentence that names it.
    pub(crate) fn check_disk(&self, tenancy: &Tenancy, more: u64) -> Result<(), SandboxError> {
        let full = tenancy.organisation.as_ref().and_then(|whose| self.shared.accounts.full_disk(whose, more));
        full.map_or(Ok(()), |sentence| Err(SandboxError::Failed(sentence)))
    }

    /// Files were put into the room's workspace from outside of its sandbox.
    pub(crate) async fn count_room(&self, room: &RoomId, files: &dyn Files) {
        if let Some(organisation) = files.tenancy().organisation {
            disk::count_one(&self.shared.accounts, &organisation, room, files.host_dir().to_owned()).await;
        }
    }

    /// How many sandboxes wait for a room that needs one.
    pub fn warm(&self) -> usize {
        self.shared.pool.len()
    }

    /// TCP ports on which programs in the room's sandbox listen.
    pub fn ports(&self, room: &RoomId) -> watch::Receiver<Arc<[u16]>> {
        self.shared.board.watch(room)
    }

    /// Connects to a program in the room's sandbox. Cancel-safe.
    ///
    /// # Errors
    /// There is no sandbox, nothing listens on that port, or there are too many connections.
    pub async fn connect(&self, room: &RoomId, port: u16) -> Result<Box<dyn Tunnel>, NotConnected> {
        let sandbox = self.shared.board.sandbox(room).filter(|sandbox| sandbox.is_usable());
        let sandbox = sandbox.ok_or(NotConnected::NoSandbox)?;
        tokio::select! {
            tunnel = sandbox.tunnels().connect(sandbox.link(), port) => Ok(Box::new(tunnel?)),
            () = sandbox.gone() => Err(NotConnected::NoSandbox),
        }
    }

    /// Somebody has just used what runs in the room's sandbox.
    pub fn touch(&self, room: &RoomId) {
        if let Some(sandbox) = self.shared.board.sandbox(room) {
            sandbox.touched();
        }
    }

    /// Ends the room's container with everything in it, whether that is at work or not; false if there is none. Its step and its
    /// terminals say `reason`. Whoever starts something then gets a new container, on the same workspace. Cancel-safe: it is carried
    /// out once begun.
    pub async fn dispose(&self, room: &RoomId, reason: &str) -> bool {
        // Not by way of the lock: whoever holds it may be waiting for the very step that is to end.
        let Some(sandbox) = self.shared.board.sandbox(room) else { return false };
        let (shared, room, reason) = (Arc::clone(&self.shared), room.clone(), reason.to_owned());
        let (reply, answer) = oneshot::channel();
        self.shared.tasks.spawn("dispose of a sandbox", async move {
            sandbox.ends_because(&reason);
            sandbox.kill().await;
            let slot = shared.slot(&room);
            let mut held = slot.sandbox.lock().await;
            // Whoever held the lock may have put a new one there.
            if held.as_ref().is_some_and(|held| Arc::ptr_eq(held, &sandbox)) {
                shared.discard(&mut held).await;
            }
            tracing::info!(%room, %reason, "a sandbox was disposed of");
            let _ = reply.send(true);
        });
        answer.await.unwrap_or(false)
    }

    /// Removes every container of this server's and starts no more.
    pub async fn shutdown(&self) {
        let shared = &self.shared;
        shared.stopping.store(true, Ordering::Release);
        // Whoever is creating one right now holds its room's lock.
        let slots: Vec<_> = shared.rooms.lock().expect("short sections, no panics").drain().collect();
        for (_, slot) in &slots {
            slot.sandbox.lock().await.take();
        }
        self.shared.pool.close().await;
        match shared.engine.list(&shared.config.instance).await {
            Ok(found) => {
                join_all(found.iter().map(|found| shared.remove(found))).await;
            }
            Err(error) => tracing::warn!(%error, "sandboxes may be left over; the next start removes them"),
        }
    }
}

impl Shared {
    fn slot(&self, room: &RoomId) -> Arc<Slot> {
        Arc::clone(self.rooms.lock().expect("short sections, no panics").entry(room.clone()).or_default())
    }

    fn slots(&self) -> Vec<(RoomId, Arc<Slot>)> {
        let rooms = self.rooms.lock().expect("short sections, no panics");
        rooms.iter().map(|(room, slot)| (room.clone(), Arc::clone(slot))).collect()
    }

    fn check_available(&self) -> Result<(), SandboxError> {
        if self.stopping.load(Ordering::Acquire) {
            return Err(SandboxError::Failed("the server is stopping".to_owned()));
        }
        match &*self.availability.borrow() {
            Availability::Ready => Ok(()),
            Availability::Off { message, hint } => {
                Err(SandboxError::Off { message: message.clone(), hint: hint.clone() })
            }
        }
    }

    /// A secret that could never be used is a mistake to be told of, not found out by the program.
    fn check_headers(&self, headers: &[StepHeader]) -> Result<(), SandboxError> {
        let allows = |given: &&StepHeader| {
            self.config.egress.as_ref().is_some_and(|egress| egress.allows(given.host(), given.port()))
        };
        match headers.iter().find(|given| !allows(given)) {
            Some(given) => Err(SandboxError::Failed(format!(
                "the secret {} is for requests to {}, which is not in sandbox.egress of this server's configuration",
                given.secret,
                address::authority(given.host(), given.port())
            ))),
            None => Ok(()),
        }
    }

    fn failed(&self, reason: String) -> SandboxError {
        self.recheck.notify_one();
        SandboxError::Failed(reason)
    }

    /// A container for the room, which nothing runs in: one that was started before, or a new one.
    async fn create(
        self: &Arc<Self>,
        room: &RoomId,
        files: &Arc<dyn Files>,
        progress: &Progress,
    ) -> Result<Arc<Sandbox>, SandboxError> {
        progress.enter(Phase::Files);
        let granted = self.granted(files)?;
        let (devcontainer, image) = self.asked_for(files, &granted.limits, progress).await?;
        progress.enter(Phase::CreatingContainer);
        // Its organisation's ceilings first: who is refused there must not have taken another's place.
        let mut seat = self.seat(&granted).await?;
        self.make_room().await?;
        let began = Instant::now();
        // Those that wait are of the usual image.
        if image == self.config.image
            && let Some(sandbox) = self.claim(room, files, devcontainer.as_ref(), &granted, &mut seat).await?
        {
            pool::started("warm", began);
            return Ok(sandbox);
        }
        let workspace = std::path::absolute(files.host_dir())
            .map_err(|error| SandboxError::Failed(format!("the workspace has no path: {error}")))?;
        // Beside each other: in the container nothing but the agent runs yet.
        let allowed = disk::allowed(workspace.clone(), &granted.limits);
        let place = Place::of(room);
        self.remember(&place, devcontainer.as_ref(), &granted).await;
        let (sandbox, allowed) =
            tokio::join!(self.run(place, Some(room), &workspace, &image, &granted.limits), allowed);
        let sandbox = sandbox?;
        sandbox.takes_seat(seat);
        if let Some(devcontainer) = devcontainer {
            sandbox.is_made_by(devcontainer);
        }
        tracing::info!(%room, container = sandbox.short_id(), took = ?began.elapsed(), "started a sandbox");
        pool::started("cold", began);
        progress.enter(Phase::Connecting);
        Ok(self.attend(room, Arc::new(sandbox), Some((workspace, allowed))))
    }

    /// Starts a container. Its agent has not dialled yet.
    async fn run(
        self: &Arc<Self>,
        place: Place,
        room: Option<&RoomId>,
        workspace: &Path,
        image_name: &str,
        limits: &Limits,
    ) -> Result<Sandbox, SandboxError> {
        let folder = self.folder.join(place.as_str());
        let agent_folder = self.prepare(&folder).await.map_err(|error| {
            SandboxError::Failed(format!("the sandbox's folder {} cannot be prepared: {error}", folder.display()))
        })?;
        let token = random_id(TOKEN_LENGTH);
        let link = Link::listen(&agent_folder, workspace_owner(), token.clone(), &self.tasks)
            .map_err(|error| SandboxError::Failed(format!("the sandbox's socket cannot be opened: {error}")))?;
        let user = workspace_owner()
            .unwrap_or_else(|| (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()));
        let name = spec::name(&self.config.instance, &place);
        let image = self.engine.image(image_name).await.inspect_err(|_| self.recheck.notify_one())?;
        let image = image.ok_or_else(|| self.failed(format!("the image {image_name} is gone")))?;
        let (agent_folder, token) = (&*agent_folder, &*token);
        let wanted = spec::Wanted { image: &image, place: &place, room, workspace, agent_folder, token, limits };
        let body = spec::container(&self.config, user, &wanted);
        let id = self.engine.run(&name, body).await.inspect_err(|_| self.recheck.notify_one())?;
        Ok(Sandbox::new(id, image, place, link, limits.clone(), Arc::downgrade(self)))
    }

    /// Starts what goes on beside steps and terminals for as long as the sandbox lives.
    fn attend(
        &self,
        room: &RoomId,
        sandbox: Arc<Sandbox>,
        workspace: Option<(PathBuf, disk::Allowed)>,
    ) -> Arc<Sandbox> {
        if let Some((workspace, allowed)) = workspace {
            let theirs = disk::Theirs::of(&self.accounts, sandbox.organisation(), room);
            let watching = disk::watch(Arc::downgrade(&sandbox), workspace, allowed, theirs, self.tasks.clone());
            self.tasks.spawn("sandbox disk", watching);
        }
        if let Some(egress) = self.config.egress.clone() {
            let (connections, headers) = (sandbox.link().egress(), sandbox.headers());
            self.tasks.spawn("sandbox egress", egress.serve(room.clone(), connections, headers, self.tasks.clone()));
        }
        let claim = self.board.claim(room, &sandbox, sandbox.made().cloned());
        self.tasks.spawn(
            "sandbox ports",
            ports::follow(Arc::clone(sandbox.link()), sandbox.clone(), claim, self.tasks.clone()),
        );
        sandbox
    }

    /// A fresh folder with the agent in it. Returns the part that the container sees.
    async fn prepare(&self, folder: &Path) -> io::Result<PathBuf> {
        let agent_folder = folder.join("run");
        tokio::fs::create_dir_all(&agent_folder).await?;
        tokio::fs::set_permissions(&agent_folder, Permissions::from_mode(0o755)).await?;
        // A copy, so that building a new agent never changes the one of a container that runs.
        let new = folder.join("agent.new");
        tokio::fs::copy(&self.config.agent_binary, &new).await?;
        tokio::fs::set_permissions(&new, Permissions::from_mode(0o755)).await?;
        tokio::fs::rename(&new, agent_folder.join(spec::AGENT)).await?;
        // What people do not see in the tree is not to be committed either, unless it was before.
        tokio::fs::write(agent_folder.join(spec::IGNORED), ignore::patterns()).await?;
        Ok(agent_folder)
    }

    /// Makes sure that there may be one more container.
    async fn make_room(&self) -> Result<(), SandboxError> {
        let most = self.config.max_sandboxes;
        // Locked: this room's own slot, or one that is being filled or emptied.
        let is_taken = |slot: &Slot| slot.sandbox.try_lock().is_ok_and(|held| held.is_some());
        let present = self.slots().iter().filter(|(_, slot)| is_taken(slot)).count();
        if present < most {
            return Ok(());
        }
        let Some((slot, _)) = self.idle(|_| true).into_iter().next() else {
            return Err(SandboxError::Failed(format!(
                "all {most} sandboxes of this server are busy; run this again in a while"
            )));
        };
        self.end_idle(&slot, "the sandbox was stopped because another room needed its place").await;
        Ok(())
    }

    /// A seat among the sandboxes of the room's organisation, for which those of theirs make way that were idle longest: as many as must, and none
    /// where that would not help.
    async fn seat(&self, granted: &Granted) -> Result<Option<Seat>, SandboxError> {
        let Some(organisation) = &granted.organisation else { return Ok(None) };
        loop {
            let Full(why) = match self.accounts.seat(Some(organisation), &granted.limits) {
                Ok(seat) => return Ok(seat),
                Err(full) => full,
            };
            let (slots, limits): (Vec<_>, Vec<_>) =
                self.idle(|sandbox| sandbox.organisation().as_ref() == Some(organisation)).into_iter().unzip();
            let Some(must_go) = self.accounts.must_go(organisation, &granted.limits, &limits) else {
                Accounts::refused(organisation);
                let idle = if slots.is_empty() { "none of them is idle" } else { "those that are idle are not enough" };
                return Err(SandboxError::Failed(format!("{why}, and {idle}; run this again in a while")));
            };
            for at in must_go {
                let reason = "the sandbox was stopped because another room of its organisation needed its place";
                self.end_idle(&slots[at], reason).await;
            }
        }
    }

    /// The places of sandboxes that are `meant` and not at work, and what each may use; the one that was idle longest first.
    fn idle(&self, meant: impl Fn(&Sandbox) -> bool) -> Vec<(Arc<Slot>, Limits)> {
        let idle = |(_, slot): (RoomId, Arc<Slot>)| {
            let held = slot.sandbox.try_lock().ok()?;
            let sandbox = held.as_ref().filter(|sandbox| meant(sandbox))?;
            let (since, limits) = (sandbox.could_go_since()?, sandbox.limits().clone());
            drop(held);
            Some((since, slot, limits))
        };
        let mut idle: Vec<_> = self.slots().into_iter().filter_map(idle).collect();
        idle.sort_by_key(|(since, ..)| *since);
        idle.into_iter().map(|(_, slot, limits)| (slot, limits)).collect()
    }

    /// Ends the sandbox there. If it came to use this moment, there is one more than there should be for a while.
    async fn end_idle(&self, slot: &Slot, reason: &str) {
        if let Ok(mut held) = slot.sandbox.try_lock()
            && let Some(sandbox) = held.as_ref().filter(|sandbox| sandbox.could_go_since().is_some())
        {
            sandbox.ends_because(reason);
            self.discard(&mut held).await;
        }
    }

    /// The room's sandbox, made if need be, and how long to wait for its agent.
    async fn usable(
        self: &Arc<Self>,
        room: &RoomId,
        files: &Arc<dyn Files>,
        held: &mut Option<Arc<Sandbox>>,
        progress: &Progress,
    ) -> Result<(Arc<Sandbox>, Duration), SandboxError> {
        if let Some(sandbox) = held.as_ref().filter(|sandbox| sandbox.is_usable()) {
            return Ok((Arc::clone(sandbox), RECONNECT_PATIENCE));
        }
        self.discard(held).await;
        let sandbox = Box::pin(self.create(room, files, progress)).await?;
        *held = Some(Arc::clone(&sandbox));
        Ok((sandbox, CONNECT_PATIENCE))
    }

    /// Discards a sandbox that cannot be reached. False if somebody works in there, who finds out for themselves whether it is well.
    async fn give_up(&self, room: &RoomId, held: &mut Option<Arc<Sandbox>>, sandbox: &Sandbox, reason: &str) -> bool {
        if sandbox.is_busy() || (sandbox.is_typed_in() && sandbox.state().await == State::Running) {
            return false;
        }
        tracing::info!(%room, %reason, "a sandbox is made anew");
        self.discard(held).await;
        true
    }

    /// Ends a room's container and removes what belongs to it. The caller holds the room's lock.
    async fn discard(&self, held: &mut Option<Arc<Sandbox>>) {
        if let Some(sandbox) = held.take() {
            sandbox.ends_because("the sandbox did not answer and was made anew");
            sandbox.kill().await;
            sandbox.released(false);
            self.forget(sandbox.place()).await;
        }
    }

    /// Removes what a container that is gone had on the host, but for the workspace.
    async fn forget(&self, place: &Place) {
        let _ = tokio::fs::remove_dir_all(self.folder.join(place.as_str())).await;
    }
}

/// Asks the agent to start the step, once it has dialled.
async fn start_in(
    sandbox: &Sandbox,
    patience: Duration,
    key: &Key,
    step: &StepSpec,
    timeout: Duration,
) -> Result<Connection, NotStarted> {
    let mut connection = sandbox.connect(Line::Steps, patience).await.map_err(NotStarted::Unasked)?;
    let span = tracing::trace_span!(target: "keystroke", "start");
    steps::start(&mut connection, key, step, timeout, sandbox.env()).instrument(span).await?;
    Ok(connection)
}

fn parse_key(key: &str) -> Result<Key, SandboxError> {
    Key::parse(key).ok_or_else(|| SandboxError::Failed(format!("{key:?} cannot be the key of a step")))
}

/// Removes containers in which nothing has run for long.
async fn stop_idle(shared: Arc<Shared>) {
    let idle_stop = shared.config.idle_stop;
    let every = (idle_stop / 4).clamp(Duration::from_millis(100), Duration::from_secs(30));
    loop {
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = shared.tasks.cancelled() => return,
        }
        for (room, slot) in shared.slots() {
            let Ok(mut held) = slot.sandbox.try_lock() else { continue };
            let Some(sandbox) = &*held else { continue };
            if sandbox.idle_since().is_some_and(|since| since.elapsed() >= idle_stop) {
                tracing::info!(%room, "removing an idle sandbox");
                let minutes = idle_stop.as_secs().div_ceil(60);
                sandbox.ends_because(&format!("the sandbox was stopped because nobody used it for {minutes} min"));
                shared.discard(&mut held).await;
            }
        }
        // Places that are empty and in nobody's hands. A new hand needs the list, which is locked here.
        shared.rooms.lock().expect("short sections, no panics").retain(|_, slot| {
            Arc::strong_count(slot) > 1 || slot.sandbox.try_lock().map_or(true, |held| held.is_some())
        });
    }
}
