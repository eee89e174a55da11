//! The engine on real rooms, so that the port's adapter and the rooms' promises are seen together.

use buildspaces_rooms::memory::MemoryStore;
use buildspaces_rooms::tree::{NodeKind, TreeCommand};
use buildspaces_rooms::{NewRoom, RoomHandle, Rooms};

use super::*;

struct Real {
    room: RoomHandle,
    engine: Engine,
    steps: mpsc::Receiver<StartedStep>,
}

async fn open() -> Real {
    let tasks = Tasks::new();
    let rooms = Rooms::new(Arc::new(MemoryStore::default()), tasks.clone());
    let files = vec![("src/test_a.py".to_owned(), "a\n".to_owned()), ("README.md".to_owned(), String::new())];
    let new = NewRoom { title: "Room".to_owned(), template: "python".to_owned(), files, ..NewRoom::default() };
    let room = rooms.create(&ann(), new).await.expect("created");
    let (sandboxes, steps) = FakeSandboxes::new(rooms.clone());
    let secrets = Secrets::new(Arc::new(MemorySecrets::default()), None);
    let engine =
        Engine::new(rooms, Arc::new(MemoryRuns::default()), Arc::new(sandboxes), secrets, tasks, Config::default());
    let globs = vec!["**/*.py".to_owned()];
    let rule = NewRule { name: "Tests".to_owned(), globs, skill: "test.run".to_owned() };
    engine.create_rules(room.id(), vec![rule]).await.expect("stored");
    engine.room_opened(room.id()).await;
    Real { room, engine, steps }
}

impl Real {
    async fn types(&self, path: &str, text: &str, by: &Principal) {
        let node = self.room.tree().at_path(path).expect("the file exists").id.clone();
        let file = self.room.file(&node).await.expect("opens");
        file.replace_text(by, text.to_owned()).await.expect("saved");
    }

    async fn step(&mut self) -> StartedStep {
        timeout(Duration::from_secs(60), self.steps.recv()).await.expect("a step starts").expect("sandboxes live")
    }

    async fn state(&self, run: &RunId) -> serde_json::Value {
        let runs = self.room.projected_runs(RunsMap::Runs).await.expect("answers");
        runs.into_iter()
            .find(|(id, _)| id == run.as_str())
            .map_or(serde_json::Value::Null, |(_, run)| run["state"].clone())
    }
}

#[tokio::test(start_paused = true)]
async fn typing_in_a_real_document_runs_its_text_and_shows_it() {
    let mut real = open().await;
    real.types("src/test_a.py", "b\n", &ann()).await;
    let step = real.step().await;
    assert!(step.files.contains(&("src/test_a.py".to_owned(), "b\n".to_owned())), "{:?}", step.files);
    assert_eq!(step.spec.argv.join(" "), "python3 -m unittest discover -v -s src");
    sleep(Duration::from_millis(1)).await;
    let run = real.engine.runs(real.room.id()).await.expect("answers").remove(0).id;
    assert_eq!(real.state(&run).await, "running");
    step.print("ok\n").await;
    step.exit(Exit::Code(0)).await;
    sleep(Duration::from_millis(1)).await;
    assert_eq!(real.state(&run).await, "passed");
    let logs = real.room.projected_runs(RunsMap::Logs).await.expect("answers");
    assert_eq!(logs, [(run.to_string(), serde_json::json!("ok\n"))]);
    let sandbox = real.room.projected_runs(RunsMap::Sandbox).await.expect("answers");
    let (_, state) = sandbox.iter().find(|(key, _)| key == "state").expect("beside its ports");
    assert_eq!(state["state"], "ready");
}

#[tokio::test(start_paused = true)]
async fn a_file_made_by_a_person_fires_and_one_made_by_a_program_does_not() {
    let mut real = open().await;
    let create = |name: &str| TreeCommand::Create {
        parent: None,
        name: name.to_owned(),
        kind: NodeKind::Text,
        size: 0,
        text: Some("x\n".to_owned()),
    };
    real.room.command(&Principal::file_system(), create("out.py")).await.expect("created");
    real.types("out.py", "y\n", &Principal::file_system()).await;
    let none = timeout(Duration::from_secs(60), real.steps.recv()).await;
    assert!(none.is_err(), "programs do not make rules fire");
    real.room.command(&ann(), create("test_b.py")).await.expect("created");
    let step = real.step().await;
    assert!(step.files.contains(&("test_b.py".to_owned(), "x\n".to_owned())));
    step.exit(Exit::Code(0)).await;
}

#[tokio::test(start_paused = true)]
async fn a_room_that_does_not_exist_is_not_followed() {
    let real = open().await;
    real.engine.room_opened(&RoomId::random()).await;
    let refused = real.engine.run_now(&RoomId::random(), None, &ann()).await;
    assert!(matches!(refused, Err(Error::Room(buildspaces_rooms::Error::NoSuchRoom(_)))), "{refused:?}");
}
