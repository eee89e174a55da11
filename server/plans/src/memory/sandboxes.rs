//! Sandboxes that do what a test tells them: each started step is handed to the test, which plays the program.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use buildspaces_kernel::ids::{OrganisationId, RoomId};
use buildspaces_policy::tenancy::Tenancy;
use bytes::Bytes;
use tokio::io::DuplexStream;
use tokio::sync::{mpsc, watch};

use crate::ports::{
    Availability, CommandEnd, CommandOutput, CommandSpec, Exit, Frozen, Made, NewFile, NotConnected, Phase, Progress,
    RoomViews, SANDBOX_ENDED, SandboxError, Sandboxes, Step, StepEvent, StepSpec, TerminalCommand, TerminalEnd,
    TerminalEvent, TerminalLine, TerminalSpec, TimeLimit, Tunnel, Unshared,
};
use crate::secret::StepSecrets;
use crate::trigger::text_hash;

/// Room for what a test says without waiting.
const CHANNEL: usize = 64;

/// What steps run in.
const IMAGE: &str = "sha256:0011";

/// See the module. Clones are the same sandboxes.
#[derive(Clone)]
pub struct FakeSandboxes {
    rooms: Arc<dyn RoomViews>,
    availability: watch::Sender<Availability>,
    steps: mpsc::Sender<StartedStep>,
    state: Arc<Mutex<State>>,
}

/// What plays the programs of commands.
type Player = dyn Fn(&CommandSpec) -> CommandOutput + Send + Sync;

#[derive(Default)]
struct State {
    /// What happened, in words, in order.
    journal: Vec<String>,
    frozen: HashMap<RoomId, Vec<(String, String)>>,
    /// What `resume` answers for a key, and from which byte it was asked for.
    resumable: HashMap<String, Step>,
    refusal: Option<SandboxError>,
    /// Terminals that were opened and that the test has not taken yet.
    terminals: Vec<OpenedTerminal>,
    ports: HashMap<RoomId, watch::Sender<Arc<[u16]>>>,
    made: HashMap<RoomId, watch::Sender<Option<Arc<Made>>>>,
    /// By what a room's next sandboxes are made.
    next: HashMap<RoomId, VecDeque<Made>>,
    /// Where connections to a port of a room go.
    programs: HashMap<(RoomId, u16), mpsc::Sender<DuplexStream>>,
    /// Without one there is no program of any name.
    player: Option<Arc<Player>>,
    /// Rooms that have a sandbox.
    alive: HashSet<RoomId>,
    /// Where steps under way tell what happens.
    running: Vec<(RoomId, mpsc::WeakSender<StepEvent>)>,
}

/// Bytes on their way to or from a program that a test plays.
const TUNNEL: usize = 64 << 10;

/// A terminal under way, played by the test.
#[derive(Debug)]
pub struct OpenedTerminal {
    pub spec: TerminalSpec,
    events: mpsc::Sender<TerminalEvent>,
    commands: mpsc::Receiver<TerminalCommand>,
}

impl OpenedTerminal {
    pub async fn print(&self, bytes: &[u8]) {
        let _ = self.events.send(TerminalEvent::Output(Bytes::copy_from_slice(bytes))).await;
    }

    /// False if nobody reads now.
    pub fn try_print(&self, bytes: &[u8]) -> bool {
        self.events.try_send(TerminalEvent::Output(Bytes::copy_from_slice(bytes))).is_ok()
    }

    pub async fn end(self, end: TerminalEnd) {
        let _ = self.events.send(TerminalEvent::Ended(end)).await;
    }

    /// The next thing that the terminal is told; `None` when nobody has it any more.
    pub async fn told(&mut self) -> Option<TerminalCommand> {
        self.commands.recv().await
    }
}

/// A step under way, played by the test.
#[derive(Debug)]
pub struct StartedStep {
    pub spec: StepSpec,
    /// The workspace it sees, frozen: path and text.
    pub files: Vec<(String, String)>,
    events: mpsc::Sender<StepEvent>,
    cancel: mpsc::Receiver<()>,
}

impl StartedStep {
    pub async fn print(&self, text: &str) {
        self.send(StepEvent::Output(Bytes::copy_from_slice(text.as_bytes()))).await;
    }

    pub async fn drop_output(&self, bytes: u64) {
        self.send(StepEvent::Dropped(bytes)).await;
    }

    pub async fn exit(&self, exit: Exit) {
        self.send(StepEvent::Exited(exit)).await;
    }

    pub async fn lose(&self, reason: &str) {
        self.send(StepEvent::Lost(reason.to_owned())).await;
    }

    /// Completes when the engine asks the step to stop.
    pub async fn cancelled(&mut self) {
        self.cancel.recv().await.expect("the engine asks while it follows the step");
    }

    async fn send(&self, event: StepEvent) {
        // Nobody follows a step whose run has ended.
        let _ = self.events.send(event).await;
    }
}

impl FakeSandboxes {
    /// Sandboxes of `rooms`, and the steps they are asked to start.
    pub fn new(rooms: impl RoomViews) -> (Self, mpsc::Receiver<StartedStep>) {
        let (steps, started) = mpsc::channel(CHANNEL);
        let availability = watch::Sender::new(Availability::Ready);
        (Self { rooms: Arc::new(rooms), availability, steps, state: Arc::default() }, started)
    }

    pub fn set_availability(&self, availability: Availability) {
        self.availability.send_replace(availability);
    }

    /// What happened so far, in words.
    pub fn journal(&self) -> Vec<String> {
        self.lock().journal.clone()
    }

    /// `freeze` and `resume` answer this from now on.
    pub fn refuse(&self, error: Option<SandboxError>) {
        self.lock().refusal = error;
    }

    /// `resume` with this key finds a step, which the test plays.
    pub fn leave_running(&self, key: &str) -> StartedStep {
        let secrets = StepSecrets::default();
        let spec = StepSpec { key: key.to_owned(), argv: Vec::new(), timeout: None, secrets, sandbox: None };
        let (step, started) = step(spec);
        self.lock().resumable.insert(key.to_owned(), step);
        started
    }

    /// The oldest terminal that was opened and not taken yet.
    pub fn opened_terminal(&self) -> Option<OpenedTerminal> {
        let mut state = self.lock();
        (!state.terminals.is_empty()).then(|| state.terminals.remove(0))
    }

    /// Says that programs in the room listen on these ports.
    pub fn set_ports(&self, room: &RoomId, ports: &[u16]) {
        self.lock().ports.entry(room.clone()).or_default().send_replace(ports.into());
    }

    /// The sandbox that the room has, if any, is dead; the next thing that wants one, after those that were told of before, gets a new one, made by
    /// this.
    pub fn next_sandbox(&self, room: &RoomId, made: Made) {
        self.lock().next.entry(room.clone()).or_default().push_back(made);
    }

    /// The room's next sandbox is there.
    fn make(&self, room: &RoomId) {
        let mut state = self.lock();
        if let Some(made) = state.next.get_mut(room).and_then(VecDeque::pop_front) {
            state.journal.push(format!("make {}", made.sandbox));
            state.made.entry(room.clone()).or_default().send_replace(Some(Arc::new(made)));
        }
    }

    /// Whether that one is the room's and lives.
    fn has(&self, room: &RoomId, sandbox: &str) -> bool {
        let state = self.lock();
        let made = state.made.get(room).and_then(|made| made.borrow().clone());
        made.is_some_and(|made| made.sandbox == sandbox) && state.next.get(room).is_none_or(VecDeque::is_empty)
    }

    /// Commands are played by this from now on.
    pub fn play_commands(&self, player: impl Fn(&CommandSpec) -> CommandOutput + Send + Sync + 'static) {
        self.lock().player = Some(Arc::new(player));
    }

    /// Connections to a program that the test plays, from now on.
    pub fn listen(&self, room: &RoomId, port: u16) -> mpsc::Receiver<DuplexStream> {
        let (connections, accepted) = mpsc::channel(CHANNEL);
        self.lock().programs.insert((room.clone(), port), connections);
        accepted
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing that holds the lock panics")
    }

    fn note(&self, what: impl Into<String>) -> Result<(), SandboxError> {
        let mut state = self.lock();
        state.journal.push(what.into());
        state.refusal.clone().map_or(Ok(()), Err)
    }
}

fn step(spec: StepSpec) -> (Step, StartedStep) {
    let (events, events_out) = mpsc::channel(CHANNEL);
    let (cancel_in, cancel) = mpsc::channel(1);
    let most = spec.timeout.unwrap_or(std::time::Duration::from_secs(600));
    let limit = TimeLimit { most, key: "sandbox.step_seconds".to_owned() };
    let started = StartedStep { spec, files: Vec::new(), events, cancel };
    (Step { image: Some(IMAGE.to_owned()), limit, events: events_out, cancel: cancel_in }, started)
}

/// Says when it is dropped.
struct Guard(FakeSandboxes);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.lock().journal.push("thaw".to_owned());
    }
}

#[async_trait]
impl Sandboxes for FakeSandboxes {
    fn availability(&self) -> watch::Receiver<Availability> {
        self.availability.subscribe()
    }

    async fn freeze(&self, room: &RoomId) -> Result<Frozen, SandboxError> {
        self.note("freeze")?;
        let failed = |error: buildspaces_rooms::Error| SandboxError::Failed(error.to_string());
        let live = self.rooms.room(room).await.map_err(failed)?;
        let mut files = Vec::new();
        for (path, node) in live.text_files() {
            files.push((path, live.text(&node).await.map_err(failed)?));
        }
        let hashes = files.iter().map(|(path, text)| (path.clone(), text_hash(text))).collect();
        self.lock().frozen.insert(room.clone(), files);
        Ok(Frozen { files: hashes, guard: Box::new(Guard(self.clone())) })
    }

    async fn prepare(&self, room: &RoomId, _progress: Progress) -> Result<Option<Arc<Made>>, SandboxError> {
        self.make(room);
        let made = self.made(room).borrow().clone();
        Ok(made.filter(|made| !made.devcontainer.setup.is_empty()))
    }

    fn made(&self, room: &RoomId) -> watch::Receiver<Option<Arc<Made>>> {
        self.lock().made.entry(room.clone()).or_default().subscribe()
    }

    async fn start(&self, room: &RoomId, spec: StepSpec, progress: Progress) -> Result<Step, SandboxError> {
        match &spec.sandbox {
            None => self.make(room),
            Some(only) if self.has(room, only) => {}
            Some(only) => {
                self.note(format!("{only} is gone"))?;
                return Err(SandboxError::Failed(SANDBOX_ENDED.to_owned()));
            }
        }
        self.note(format!("start {}", spec.argv.join(" ")))?;
        progress.enter(Phase::Ready);
        let (step, mut started) = step(spec);
        {
            let mut state = self.lock();
            started.files = state.frozen.get(room).cloned().unwrap_or_default();
            state.alive.insert(room.clone());
            state.running.retain(|(_, events)| events.strong_count() > 0);
            state.running.push((room.clone(), started.events.downgrade()));
        }
        self.steps.send(started).await.map_err(|_| SandboxError::Failed("the test has ended".to_owned()))?;
        Ok(step)
    }

    async fn resume(
        &self,
        _room: &RoomId,
        key: &str,
        seen: u64,
        _secrets: StepSecrets,
    ) -> Result<Option<Step>, SandboxError> {
        self.note(format!("resume from {seen}"))?;
        Ok(self.lock().resumable.remove(key))
    }

    async fn absorb(&self, _room: &RoomId) -> Result<(), SandboxError> {
        self.note("absorb")
    }

    async fn open_terminal(
        &self,
        room: &RoomId,
        spec: TerminalSpec,
        progress: Progress,
    ) -> Result<TerminalLine, SandboxError> {
        self.make(room);
        self.note("open terminal")?;
        progress.enter(Phase::Ready);
        // Small, so that tests see what happens when they are full.
        let ((events, events_out), (commands_in, commands)) = (mpsc::channel(1), mpsc::channel(1));
        let mut state = self.lock();
        state.alive.insert(room.clone());
        state.terminals.push(OpenedTerminal { spec, events, commands });
        Ok(TerminalLine { events: events_out, commands: commands_in })
    }

    async fn command(&self, room: &RoomId, spec: CommandSpec) -> Result<CommandOutput, SandboxError> {
        self.note(format!("command {}", spec.argv.join(" ")))?;
        self.lock().alive.insert(room.clone());
        let player = self.lock().player.clone();
        let missing = || CommandOutput {
            end: CommandEnd::Exited(127),
            output: Vec::new(),
            errors: format!("{} cannot be started: No such file or directory", spec.argv[0]),
        };
        Ok(player.map_or_else(missing, |play| play(&spec)))
    }

    fn ports(&self, room: &RoomId) -> watch::Receiver<Arc<[u16]>> {
        self.lock().ports.entry(room.clone()).or_default().subscribe()
    }

    async fn connect(&self, room: &RoomId, port: u16) -> Result<Box<dyn Tunnel>, NotConnected> {
        let program = self.lock().programs.get(&(room.clone(), port)).cloned();
        let refused = || NotConnected::Refused(format!("nothing answers on port {port}"));
        let (ours, theirs) = tokio::io::duplex(TUNNEL);
        program.ok_or_else(refused)?.send(theirs).await.map_err(|_| refused())?;
        Ok(Box::new(ours))
    }

    fn touch(&self, _room: &RoomId) {
        self.lock().journal.push("touch".to_owned());
    }

    async fn dispose(&self, room: &RoomId, reason: &str) -> bool {
        let mut state = self.lock();
        state.journal.push(format!("dispose: {reason}"));
        state.running.retain(|(whose, events)| {
            if whose == room
                && let Some(events) = events.upgrade()
            {
                // Full: nobody follows it.
                let _ = events.try_send(StepEvent::Lost(reason.to_owned()));
            }
            whose != room
        });
        state.alive.remove(room)
    }

    async fn fill(&self, _room: &RoomId, files: Vec<NewFile>) -> Result<Vec<String>, SandboxError> {
        let names: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
        self.note(format!("fill {}", names.join(" ")))?;
        Ok(Vec::new())
    }

    async fn unshared(
        &self,
        _room: &RoomId,
        folder: Option<&str>,
        most: usize,
    ) -> Result<(Vec<Unshared>, u64), SandboxError> {
        self.note(format!("list {folder:?}"))?;
        let file = |name: &str| format!("{}{name}", folder.map(|folder| format!("{folder}/")).unwrap_or_default());
        let all = [("made", true, 0), ("log", false, 7)];
        let all = all.map(|(name, is_folder, size)| Unshared { path: file(name), is_folder, size });
        Ok((all.into_iter().take(most).collect(), 2_u64.saturating_sub(most as u64)))
    }

    fn check_disk(&self, tenancy: &Tenancy, more: u64) -> Result<(), SandboxError> {
        self.note(format!(
            "check disk of {:?} for {more} more",
            tenancy.organisation.as_ref().map(OrganisationId::as_str)
        ))
    }

    async fn open(&self, room: &RoomId, path: &str) -> Result<std::fs::File, SandboxError> {
        let failed = |error: std::io::Error| SandboxError::Failed(error.to_string());
        let files = self.lock().frozen.get(room).cloned().unwrap_or_default();
        let Some((_, text)) = files.into_iter().find(|(known, _)| known == path) else {
            return Err(SandboxError::Failed(format!("there is no {path}")));
        };
        let mut file = temporary_file().map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        Ok(file)
    }
}

/// A file without a name.
fn temporary_file() -> std::io::Result<std::fs::File> {
    let path = std::env::temp_dir().join(format!("buildspaces-{}", buildspaces_kernel::ids::random_id(16)));
    let file = std::fs::OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use buildspaces_policy::PrincipalKind;

    use super::*;
    use crate::contract;
    use crate::contract::sandboxes::{FILE, HELLO, WAITS};
    use crate::memory::FakeRooms;

    /// Until the step is asked to stop.
    async fn cancelled(step: Option<&mut StartedStep>) {
        if let Some(step) = step
            && step.cancel.recv().await.is_some()
        {
            return;
        }
        std::future::pending().await
    }

    /// Plays what runs in the sandboxes.
    async fn play(sandboxes: FakeSandboxes, mut steps: mpsc::Receiver<StartedStep>) {
        let mut waiting = None::<StartedStep>;
        loop {
            tokio::select! {
                Some(step) = steps.recv() => match step.spec.argv[2].as_str() {
                    HELLO => {
                        step.print("hello\n").await;
                        step.exit(Exit::Code(3)).await;
                    }
                    WAITS => {
                        step.print("here\n").await;
                        waiting = Some(step);
                    }
                    other => panic!("{other}"),
                },
                () = cancelled(waiting.as_mut()) => {
                    waiting.take().expect("it waits").exit(Exit::Cancelled).await;
                }
                () = tokio::time::sleep(Duration::from_millis(1)) => {
                    if let Some(mut terminal) = sandboxes.opened_terminal() {
                        assert_eq!(terminal.told().await, Some(TerminalCommand::Close));
                        terminal.end(TerminalEnd::Closed).await;
                    }
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_fake_keeps_the_contract() {
        let (rooms, room) = (FakeRooms::default(), RoomId::random());
        rooms.get(&room).edit(FILE.0, FILE.1, PrincipalKind::Person);
        let (sandboxes, steps) = FakeSandboxes::new(rooms);
        sandboxes.play_commands(|spec| {
            let (end, output) = if spec.argv[0] == "echo" { (0, b"x\n".to_vec()) } else { (127, Vec::new()) };
            CommandOutput { end: CommandEnd::Exited(end), output, errors: String::new() }
        });
        tokio::select! {
            () = contract::sandboxes(&sandboxes, &room) => {}
            () = play(sandboxes.clone(), steps) => {}
        }
    }
}
