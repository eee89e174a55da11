//! The engine stops while a step runs, and comes back: on an engine of its own, because others use the usual one.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use buildspaces_plans::ports::{Availability, Exit, SandboxError, StepEvent};

use crate::world::{PATIENCE, World, finish, read_until};

/// A private engine, with the default image in it.
struct PrivateEngine {
    folder: tempfile::TempDir,
}

impl PrivateEngine {
    fn start(image_from: &str) -> Self {
        // Not below the default temporary folder, where the engine's own mounts would hide from its cleaning up.
        let engine = Self { folder: tempfile::tempdir_in("/var/tmp").expect("a folder") };
        engine.script("start");
        let mut save = Command::new("docker")
            .args(["--host", image_from, "save", "buildspaces/workspace:1"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("docker is there");
        let load = Command::new("docker")
            .args(["--host", &engine.host(), "load", "--quiet"])
            .stdin(save.stdout.take().expect("a pipe"))
            .stdout(Stdio::null())
            .status()
            .expect("docker is there");
        assert!(load.success() && save.wait().expect("it ends").success(), "the image is copied");
        engine
    }

    fn host(&self) -> String {
        format!("unix://{}/docker.sock", self.folder.path().display())
    }

    fn script(&self, command: &str) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/engine");
        let status = Command::new(script)
            .args([command, "--private"])
            .env("BUILDSPACES_ENGINE_DIR", self.folder.path())
            .stdout(Stdio::null())
            .status()
            .expect("the script is there");
        assert!(status.success(), "engine {command}");
    }
}

impl Drop for PrivateEngine {
    fn drop(&mut self) {
        self.script("stop");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_stops_ends_steps_in_words_and_one_that_comes_back_runs_them_again() {
    let Some(usual) = World::new() else { return };
    if !rustix::process::geteuid().is_root() {
        return eprintln!("skipped: only root can start an engine");
    }
    let engine = PrivateEngine::start(&usual.host);
    let world = World::on(engine.host());
    let containers = world.open().await;
    let mut availability = containers.availability();

    let mut step = world.start(&containers, "a", "echo ready; sleep 705").await;
    read_until(&mut step, "ready").await;
    engine.script("stop");
    let stopped = Instant::now();
    let (_, end) = finish(&mut step).await;
    let StepEvent::Lost(reason) = end else { panic!("{end:?}") };
    assert!(reason.contains("engine stopped") || reason.contains("from outside"), "{reason}");
    let off = |state: &Availability| *state != Availability::Ready;
    tokio::time::timeout(PATIENCE, availability.wait_for(off)).await.expect("in time").expect("it watches");
    assert!(stopped.elapsed() < Duration::from_secs(15));
    let refused = world.try_start(&containers, &world.room, "b", "true", PATIENCE).await;
    assert!(matches!(&refused, Err(SandboxError::Off { hint, .. }) if hint.contains("make engine")), "{refused:?}");

    engine.script("start");
    let on = |state: &Availability| *state == Availability::Ready;
    tokio::time::timeout(PATIENCE, availability.wait_for(on)).await.expect("in time").expect("it watches");
    let (text, end) = world.run(&containers, "c", "echo again").await;
    assert_eq!((text.as_str(), end), ("again\n", StepEvent::Exited(Exit::Code(0))));
    assert_eq!(world.containers().len(), 1, "the dead one was removed");
    containers.shutdown().await;
    assert_eq!(world.containers(), Vec::<String>::new());
}
