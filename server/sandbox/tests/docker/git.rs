//! Git on a real engine, from documents to commits and back: the whole of `plans::git`, the mirror and the container together.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use buildspaces_kernel::clock::unix_millis;
use buildspaces_kernel::ids::PrincipalId;
use buildspaces_kernel::tasks::Tasks;
use buildspaces_plans::git::{ChangeKind, Commit, Error, Git, Repository, Status, Wanted};
use buildspaces_plans::memory::{MemoryRuns, MemorySecrets};
use buildspaces_plans::ports::{Progress, Sandboxes as _, StepSpec};
use buildspaces_plans::secret::{Key, StepSecrets};
use buildspaces_plans::secrets::Secrets;
use buildspaces_plans::{Config, Engine};
use buildspaces_policy::{Principal, PrincipalKind};
use buildspaces_rooms::memory::MemoryStore;
use buildspaces_rooms::{NewRoom, RoomHandle, Rooms};
use buildspaces_sandbox::DockerSandboxes;
use buildspaces_sandbox::mirror::{self, Mirrors};
use buildspaces_sandbox::workspace_owner;

use crate::world::{PATIENCE, World, finish};

/// A room with files, people and a sandbox.
pub(crate) struct Place {
    world: World,
    pub(crate) room: RoomHandle,
    pub(crate) sandboxes: DockerSandboxes,
    pub(crate) git: Git,
    pub(crate) secrets: Secrets,
}

fn principal(id: &str, kind: PrincipalKind, name: &str) -> Principal {
    Principal { id: PrincipalId::parse(id).expect("an id"), kind, name: name.into() }
}

pub(crate) fn ann() -> Principal {
    principal("ann", PrincipalKind::Person, "Ann")
}

fn bob() -> Principal {
    principal("bob", PrincipalKind::Person, "Bob")
}

fn bot() -> Principal {
    principal("bot", PrincipalKind::Agent, "Bot")
}

impl Place {
    pub(crate) async fn new(world: World, files: &[(&str, &str)]) -> Self {
        let tasks = Tasks::new();
        let rooms = Rooms::new(Arc::new(MemoryStore::default()), tasks.clone());
        for known in [ann(), bob(), bot()] {
            rooms.store().remember(&known, 0).await.expect("stored");
        }
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        let new = NewRoom { title: "Room".to_owned(), template: "python".to_owned(), files, ..NewRoom::default() };
        let room = rooms.create(&ann(), new).await.expect("created");
        let config = mirror::Config { data_dir: world.dir.path().join("data"), owner: workspace_owner() };
        let mirrors = Mirrors::new(config, rooms.clone(), tasks.clone());
        let sandboxes = DockerSandboxes::new(world.open().await, mirrors);
        let runs = Arc::new(MemoryRuns::default());
        let secrets = Secrets::new(Arc::new(MemorySecrets::default()), Key::parse(&"5".repeat(64)).ok());
        let engine = Engine::new(rooms, runs, Arc::new(sandboxes.clone()), secrets, tasks, Config::default());
        Self { world, room, sandboxes, git: engine.git().clone(), secrets: engine.secrets().clone() }
    }

    /// Where its files are on the host.
    pub(crate) fn folder(&self) -> PathBuf {
        self.world.dir.path().join("data/rooms").join(self.room.id().as_str()).join("workspace")
    }

    pub(crate) async fn types(&self, path: &str, text: &str, by: &Principal) {
        let node = self.room.tree().at_path(path).expect("the file exists").id.clone();
        self.room.file(&node).await.expect("opens").replace_text(by, text.to_owned()).await.expect("saved");
    }

    pub(crate) async fn text(&self, path: &str) -> String {
        let node = self.room.tree().at_path(path).expect("the file exists").id.clone();
        self.room.text(&node).await.expect("a text")
    }

    /// Runs something in the sandbox, as somebody in a terminal would.
    pub(crate) async fn runs(&self, script: &str) -> String {
        let argv = ["sh", "-c", script].map(str::to_owned).to_vec();
        let key = format!("step-{}", buildspaces_kernel::ids::random_id(6));
        let step = StepSpec { key, argv, timeout: Some(PATIENCE), secrets: StepSecrets::default(), sandbox: None };
        let progress = Progress::default();
        let mut step = self.sandboxes.start(self.room.id(), step, progress).await.expect("it starts");
        finish(&mut step).await.0
    }

    async fn status(&self) -> Status {
        match self.git.repository(self.room.id()).await.expect("a repository") {
            Repository::Ready(status) => status,
            other => panic!("{other:?}"),
        }
    }

    async fn changes(&self) -> Vec<(ChangeKind, String)> {
        self.status().await.changes.into_iter().map(|change| (change.kind, change.path)).collect()
    }

    pub(crate) async fn commit(&self, by: &Principal, message: &str, paths: Option<&[&str]>) -> Result<Commit, Error> {
        let paths: Option<Vec<String>> = paths.map(|paths| paths.iter().map(|path| (*path).to_owned()).collect());
        self.git.commit(self.room.id(), by, message, paths.as_deref()).await
    }

    pub(crate) async fn end(self) {
        self.sandboxes.shutdown().await;
    }
}

/// Git counts in seconds: what is typed from here on is after `commit`.
async fn let_a_second_pass(commit: &Commit) {
    let deadline = Instant::now() + PATIENCE;
    while unix_millis() < commit.at + 1000 {
        assert!(Instant::now() < deadline, "time stands still");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_are_made_of_what_people_typed_and_name_them() {
    let place = Place::new(world!(), &[("a.py", "x = 1\n"), ("src/b.py", "y = 1\n")]).await;
    let room = place.room.id().clone();
    assert_eq!(place.git.repository(&room).await, Ok(Repository::None));
    assert_eq!(place.git.log(&room, 0, 10).await, Err(Error::NoRepository));
    let Ok(Repository::Ready(begun)) = place.git.init(&room).await else { panic!("no repository") };
    assert_eq!((begun.branch.as_deref(), begun.head, begun.changes.len()), (Some("main"), None, 2));
    assert_eq!(place.git.log(&room, 0, 10).await, Ok((Vec::new(), false)));
    let new = Wanted::File { path: "a.py".to_owned(), from: None };
    let patch = place.git.diff(&room, &new).await.expect("a patch");
    assert!(patch.text.contains("new file mode") && patch.text.ends_with("+x = 1\n"), "{}", patch.text);

    // What a repository could bring along does not decide what a commit is.
    place.runs("printf '#!/bin/sh\\nexit 1\\n' > hook; mkdir -p .git/hooks; mv hook .git/hooks/pre-commit; chmod +x .git/hooks/pre-commit; \
                git config core.hooksPath .git/hooks; git config user.name Mallory; git config commit.gpgSign true; mkdir target; echo > target/x").await;
    let first = place.commit(&ann(), "Begin", None).await.expect("a commit");
    assert_eq!((first.author.as_str(), first.email.as_str()), ("Ann", "ann@users.buildspaces.invalid"));
    assert_eq!((first.subject.as_str(), first.co_authors.len(), first.parents.len()), ("Begin", 0, 0));
    assert_eq!(place.changes().await, []);
    assert_eq!(place.commit(&ann(), "Again", None).await, Err(Error::NothingToCommit));

    let_a_second_pass(&first).await;
    place.types("a.py", "x = 1\nz = 3\n", &bob()).await;
    place.types("src/b.py", "y = 1\nw = 2\n", &bot()).await;
    assert_eq!(
        place.changes().await,
        [(ChangeKind::Modified, "a.py".to_owned()), (ChangeKind::Modified, "src/b.py".to_owned())]
    );
    let patch = place.git.diff(&room, &new).await.expect("a patch");
    assert!(patch.text.ends_with(" x = 1\n+z = 3\n") && !patch.text.contains("w = 2"), "{}", patch.text);
    let all = place.git.diff(&room, &Wanted::All).await.expect("a patch");
    assert!(all.text.contains("+z = 3") && all.text.contains("+w = 2"), "{}", all.text);
    let second = place.commit(&ann(), "Add z", Some(&["a.py"])).await.expect("a commit");
    assert_eq!(second.co_authors, ["Bob <bob@users.buildspaces.invalid>"]);
    assert_eq!(place.changes().await, [(ChangeKind::Modified, "src/b.py".to_owned())]);
    // What was typed before that commit in another file is not forgotten by it.
    let third = place.commit(&bob(), "Add w", None).await.expect("a commit");
    assert_eq!(
        (third.author.as_str(), third.co_authors.as_slice()),
        ("Bob", &["Bot (agent) <bot@agents.buildspaces.invalid>".to_owned()][..])
    );

    let (log, more) = place.git.log(&room, 0, 2).await.expect("a log");
    assert_eq!((log[0].subject.as_str(), log[1].subject.as_str(), more), ("Add w", "Add z", true));
    assert_eq!(log[0], third);
    let (rest, more) = place.git.log(&room, 2, 2).await.expect("a log");
    assert_eq!((rest.len(), rest[0].subject.as_str(), more), (1, "Begin", false));
    let of = place.git.diff(&room, &Wanted::Commit(second.id.clone())).await.expect("a patch");
    assert!(of.text.contains("+z = 3") && !of.text.contains("w = 2"), "{}", of.text);
    let message = place.runs("git log -1 --format=%B").await;
    assert_eq!(message.trim(), "Add w\n\nCo-authored-by: Bot (agent) <bot@agents.buildspaces.invalid>");
    place.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_branch_is_in_the_documents_and_nothing_is_lost_on_the_way() {
    let place = Place::new(world!(), &[("a.py", "x = 1\n")]).await;
    let room = place.room.id().clone();
    place.git.init(&room).await.expect("a repository");
    place.commit(&ann(), "Begin", None).await.expect("a commit");
    let Ok(Repository::Ready(status)) = place.git.create_branch(&room, "other").await else { panic!("no branch") };
    assert_eq!(status.branch.as_deref(), Some("other"));
    assert_eq!(place.git.create_branch(&room, "other").await, Err(Error::BranchExists));
    place.types("a.py", "x = 2\n", &ann()).await;
    place.commit(&ann(), "Two", None).await.expect("a commit");
    place.git.switch(&room, "main").await.expect("switched");
    assert_eq!(place.text("a.py").await, "x = 1\n");
    assert_eq!(place.git.switch(&room, "nowhere").await, Err(Error::NoSuchBranch));
    place.types("a.py", "x = 3\n", &bob()).await;
    assert_eq!(place.git.switch(&room, "other").await, Err(Error::WouldOverwrite("a.py".to_owned())));
    assert_eq!(place.text("a.py").await, "x = 3\n");
    let branches = place.git.branches(&room).await.expect("branches");
    let mut branches: Vec<_> =
        branches.iter().map(|branch| (branch.name.as_str(), branch.current, branch.subject.as_str())).collect();
    // The newest come first; these are of the same second.
    branches.sort_unstable();
    assert_eq!(branches, [("main", true, "Begin"), ("other", false, "Two")]);

    // Both sides of a merge, until somebody has edited it.
    place.commit(&bob(), "Three", None).await.expect("a commit");
    place.runs("git -c user.name=Ann -c user.email=ann@example.org merge other").await;
    assert_eq!(place.changes().await, [(ChangeKind::Conflicted, "a.py".to_owned())]);
    assert_eq!(place.commit(&ann(), "Merge", None).await, Err(Error::Conflicts("a.py".to_owned())));
    place.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn git_answers_while_a_step_runs_and_a_sandbox_that_ends_is_made_anew() {
    let place = Place::new(world!(), &[("a.py", "x = 1\n")]).await;
    let room = place.room.id().clone();
    place.git.init(&room).await.expect("a repository");
    let argv = ["sleep", "600"].map(str::to_owned).to_vec();
    let (key, secrets) = ("long".to_owned(), StepSecrets::default());
    let step = StepSpec { key, argv, timeout: Some(PATIENCE), secrets, sandbox: None };
    let mut step = place.sandboxes.start(&room, step, Progress::default()).await.expect("it starts");
    assert_eq!(place.changes().await.len(), 1);
    place.commit(&ann(), "Beside", None).await.expect("a commit");
    assert!(step.events.try_recv().is_err(), "the step goes on");
    step.cancel.send(()).await.expect("it listens");
    finish(&mut step).await;
    assert!(place.sandboxes.dispose(&room, "the test wants it").await);
    assert_eq!(place.git.log(&room, 0, 10).await.expect("a log").0.len(), 1);

    // Another git's lock is told of, not waited for.
    place.types("a.py", "x = 2\n", &ann()).await;
    place.runs("touch .git/index.lock").await;
    assert_eq!(place.commit(&ann(), "Locked", None).await, Err(Error::Locked));
    place.end().await;
}
