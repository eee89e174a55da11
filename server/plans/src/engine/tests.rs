//! The engine on a paused clock: rooms of strings, a store in memory, and steps that the test plays.

use std::time::Duration;

use buildspaces_kernel::ids::PrincipalId;
use buildspaces_policy::PrincipalKind::{self, FileSystem, Person};
use buildspaces_rooms::RunsMap;
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::memory::{FakeRoom, FakeRooms, FakeSandboxes, MemoryRuns, MemorySecrets, StartedStep};
use crate::ports::{Availability, Exit};
use crate::run::RunState;
use crate::secret::Key;

mod projecting;
mod real_rooms;
mod restarting;
mod running;
mod secrets;
mod setting_up;
mod simulation;
mod triggering;

/// One room with one rule for `**/*.py`, followed by an engine.
struct World {
    id: RoomId,
    rooms: FakeRooms,
    room: FakeRoom,
    store: MemoryRuns,
    sandboxes: FakeSandboxes,
    secrets: Secrets,
    steps: mpsc::Receiver<StartedStep>,
    tasks: Tasks,
    engine: Engine,
}

impl World {
    async fn new() -> Self {
        let id = RoomId::parse("room").expect("valid");
        let rooms = FakeRooms::default();
        let room = rooms.get(&id);
        room.edit("test_a.py", "start", PrincipalKind::System);
        let (sandboxes, steps) = FakeSandboxes::new(rooms.clone());
        let store = MemoryRuns::default();
        let secrets = Secrets::new(Arc::new(MemorySecrets::default()), Key::parse(&"5".repeat(64)).ok());
        let (engine, tasks) = engine(&rooms, &store, &sandboxes, &secrets);
        let globs = vec!["**/*.py".to_owned()];
        let rule = NewRule { name: "Tests".to_owned(), globs, skill: "test.run".to_owned() };
        engine.create_rules(&id, vec![rule]).await.expect("stored");
        engine.room_opened(&id).await;
        let world = Self { id, rooms, room, store, sandboxes, secrets, steps, tasks, engine };
        world.settle().await;
        world
    }

    /// The process dies and a new one starts, with the same store, rooms and sandboxes.
    async fn restart(&mut self) {
        self.crash().await;
        self.boot().await;
    }

    async fn crash(&mut self) {
        assert_eq!(self.tasks.shutdown(Duration::from_secs(60)).await, 0, "every task ends");
    }

    async fn boot(&mut self) {
        (self.engine, self.tasks) = engine(&self.rooms, &self.store, &self.sandboxes, &self.secrets);
        self.engine.resume_after_restart().await.expect("answers");
        self.settle().await;
    }

    /// A person types; the file then holds `text`.
    async fn types(&self, text: &str) {
        self.room.edit("test_a.py", text, Person);
        self.settle().await;
    }

    /// Lets everything happen that needs no more than a moment.
    async fn settle(&self) {
        sleep(Duration::from_millis(1)).await;
    }

    /// The next step that the sandbox is asked to start.
    async fn step(&mut self) -> StartedStep {
        timeout(Duration::from_secs(60), self.steps.recv()).await.expect("a step starts").expect("sandboxes live")
    }

    /// No step starts in a long time.
    async fn no_step(&mut self) {
        let step = timeout(Duration::from_secs(120), self.steps.recv()).await;
        assert!(step.is_err(), "a step started: {step:?}");
    }

    /// Types `text`, lets it run and end with `exit`.
    async fn run_of(&mut self, text: &str, exit: Exit) {
        self.types(text).await;
        self.step().await.exit(exit).await;
        self.settle().await;
    }

    async fn run_now(&self) -> Run {
        self.engine.run_now(&self.id, None, &ann()).await.expect("queued")
    }

    async fn cancel(&self, run: &Run) -> Run {
        self.engine.cancel(&self.id, &run.id, &ann()).await.expect("answers")
    }

    /// The room's runs as they are stored, newest first.
    async fn runs(&self) -> Vec<Run> {
        self.engine.runs(&self.id).await.expect("answers")
    }

    /// Their states, oldest first; checks that people see the same.
    async fn states(&self) -> Vec<&'static str> {
        let mut runs = self.runs().await;
        runs.reverse();
        let shown = self.room.projected(RunsMap::Runs);
        for run in &runs {
            let summary = serde_json::to_value(run.summary()).expect("serializable");
            assert_eq!(shown.get(run.id.as_str()), Some(&summary), "what is stored is shown");
        }
        runs.iter().map(|run| run.state.as_str()).collect()
    }

    fn sandbox(&self) -> serde_json::Value {
        self.room.projected(RunsMap::Sandbox).remove("state").expect("shown from the beginning")
    }

    fn turn_off(&self) {
        let message = "No Docker engine answers.".to_owned();
        self.sandboxes.set_availability(Availability::Off { message, hint: "Start it.".to_owned() });
    }

    fn turn_on(&self) {
        self.sandboxes.set_availability(Availability::Ready);
    }
}

fn engine(rooms: &FakeRooms, store: &MemoryRuns, sandboxes: &FakeSandboxes, secrets: &Secrets) -> (Engine, Tasks) {
    let tasks = Tasks::new();
    let (store, sandboxes) = (Arc::new(store.clone()), Arc::new(sandboxes.clone()));
    (Engine::new(rooms.clone(), store, sandboxes, secrets.clone(), tasks.clone(), Config::default()), tasks)
}

fn ann() -> Principal {
    Principal { id: PrincipalId::parse("ann").expect("valid"), kind: Person, name: "Ann".into() }
}
