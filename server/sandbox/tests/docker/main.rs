//! Containers on a real engine: what they may not do, what becomes of steps when things go wrong, and what is left over.
//!
//! Needs a Docker engine, the default image and the static agent (`make engine image agent`). With
//! `BUILDSPACES_TEST_DOCKER=0` each test only says that it was skipped. Start reading at `world.rs`.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use buildspaces_kernel::ids::RoomId;
use buildspaces_kernel::tasks::Tasks;
use buildspaces_plans::ports::{Availability, Exit, Progress, SandboxError, StepEvent, StepSpec};
use buildspaces_plans::secret::StepSecrets;
use buildspaces_sandbox::{Containers, workspace_owner};

use world::{PATIENCE, finish, read_until};

/// A [`World`], or the end of the test if the tests with Docker are switched off.
macro_rules! world {
    () => {
        match crate::world::World::new() {
            Some(world) => world,
            None => return,
        }
    };
}

mod contract;
mod devcontainer;
mod disk;
mod dispose;
mod egress;
mod engine_stops;
mod git;
mod git_clone;
mod git_credential;
mod internet;
mod kept;
mod kinds;
mod limits;
mod pool;
mod ports;
mod pull;
mod secrets;
mod terminals;
mod world;

#[tokio::test(flavor = "multi_thread")]
async fn a_container_has_no_network_no_capabilities_no_writable_root_and_limits() {
    let world = world!();
    let containers = world.open().await;
    let script = "grep -E '^(Cap(Eff|Bnd)|NoNewPrivs|Seccomp):' /proc/self/status; ls /sys/class/net; id -u; \
                  touch /usr/x; touch /run/buildspaces/x; touch /workspace/ok /tmp/ok ~/ok && echo written; \
                  cat /proc/1/environ; kill -KILL 1; ls /workspace; tr '\\0' '\\n' </proc/self/environ | grep -c TOKEN";
    let (text, end) = world.run(&containers, "a", script).await;
    // Shown by the test runner when the test fails.
    eprintln!("{text}");
    assert_eq!(end, StepEvent::Exited(Exit::Code(1)), "grep finds no token");
    let uid = workspace_owner().map_or_else(|| rustix::process::geteuid().as_raw(), |(uid, _)| uid);
    for expected in [
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
        &format!("\nlo\n{uid}\n"),
        "touch: cannot touch '/usr/x': Read-only file system",
        "touch: cannot touch '/run/buildspaces/x': Read-only file system",
        "written",
        "/proc/1/environ: Permission denied",
    ] {
        assert!(text.contains(expected), "{expected:?} is not in {text}");
    }

    let ids = world.containers();
    assert_eq!(ids.len(), 1);
    let inspected: serde_json::Value = serde_json::from_str(&world.docker(&["inspect", &ids[0]])).expect("JSON");
    let host = &inspected[0]["HostConfig"];
    assert_eq!(host["NetworkMode"], "none");
    assert_eq!(host["CapDrop"], serde_json::json!(["ALL"]));
    assert!(host["SecurityOpt"].to_string().contains("no-new-privileges"));
    assert_eq!(host["ReadonlyRootfs"], true);
    assert_eq!(host["Privileged"], false);
    assert_eq!(host["IpcMode"], "private");
    assert_eq!(host["LogConfig"]["Type"], "none");
    assert_eq!(host["Memory"], 1 << 30);
    assert_eq!(host["MemorySwap"], 1 << 30);
    assert_eq!(host["NanoCpus"], 2_000_000_000_i64);
    assert_eq!(host["PidsLimit"], 256);
    assert_eq!(host["OomScoreAdj"], 500);
    assert_eq!(inspected[0]["Config"]["Labels"]["buildspaces.room"], world.room.as_str());
    let mounts: HashMap<&str, bool> = inspected[0]["Mounts"]
        .as_array()
        .expect("mounts")
        .iter()
        .map(|mount| (mount["Destination"].as_str().expect("a path"), mount["RW"].as_bool().expect("a flag")))
        .collect();
    assert_eq!(mounts, HashMap::from([("/workspace", true), ("/run/buildspaces", false)]));

    containers.shutdown().await;
    assert_eq!(world.containers(), Vec::<String>::new(), "nothing is left after a stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_share_a_container_and_each_has_its_own_exit() {
    let world = world!();
    let containers = world.open().await;
    let code = |code| StepEvent::Exited(Exit::Code(code));
    assert_eq!(world.run(&containers, "a", "echo out; echo err >&2; exit 3").await, ("out\nerr\n".to_owned(), code(3)));
    let ids = world.containers();
    std::fs::write(world.workspace(&world.room).join("from-host"), "hello").expect("written");
    assert_eq!(world.run(&containers, "b", "cat from-host").await, ("hello".to_owned(), code(0)));
    assert_eq!(world.run(&containers, "c", "kill -TERM $$").await.1, StepEvent::Exited(Exit::Signal(15)));
    // More than every buffer on the way together.
    let (text, end) = world.run(&containers, "d", "head -c 3000000 /dev/zero | tr '\\0' x; exit 9").await;
    assert_eq!(end, code(9));
    assert!(text.ends_with('x'));
    assert_eq!(world.containers(), ids);
    let no_such = StepSpec {
        key: "e".to_owned(),
        argv: vec!["no-such".to_owned()],
        timeout: Some(PATIENCE),
        secrets: StepSecrets::default(),
        sandbox: None,
    };
    let files = world.files(&world.room);
    let mut step = containers.start(&world.room, &files, no_such, Progress::default()).await.expect("taken");
    assert!(matches!(finish(&mut step).await.1, StepEvent::Exited(Exit::NotStarted(_))));
    containers.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tests_of_python_and_node_projects_run() {
    let world = world!();
    let containers = world.open().await;
    let workspace = world.workspace(&world.room);
    std::fs::write(
        workspace.join("test_a.py"),
        "import unittest\nclass T(unittest.TestCase):\n  def test_a(self): pass\n",
    )
    .expect("written");
    std::fs::write(workspace.join("a.test.js"), "require('node:test')('a', () => {})\n").expect("written");
    for (key, command) in [
        ("a", "python3 -m unittest"),
        ("b", "python3 -m pytest -q"),
        ("c", "node --test"),
        ("d", "git init -q x && make -v"),
    ] {
        let (text, end) = world.run(&containers, key, command).await;
        assert_eq!(end, StepEvent::Exited(Exit::Code(0)), "{command}: {text}");
    }
    let mut left: Vec<_> = std::fs::read_dir(workspace).expect("read").map(|e| e.expect("read").file_name()).collect();
    left.sort();
    assert_eq!(left, ["a.test.js", "test_a.py", "x"], "tests leave no files of their own");
    containers.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_ends_a_step_and_all_it_started() {
    let world = world!();
    let containers = world.open().await;
    let mut step = world.start(&containers, "a", "setsid sleep 700 & sleep 701 & echo ready; sleep 702").await;
    read_until(&mut step, "ready").await;
    let asked = Instant::now();
    step.cancel.send(()).await.expect("it listens");
    assert_eq!(finish(&mut step).await.1, StepEvent::Exited(Exit::Cancelled));
    assert!(asked.elapsed() < Duration::from_secs(5));
    // 1 is the agent; the shell and what it started for this command are the rest.
    let (text, _) = world.run(&containers, "b", "ls -d /proc/[0-9]* | wc -l").await;
    assert!(text.trim().parse::<u32>().expect("a number") <= 4, "{text}");
    let late = world.try_start(&containers, &world.room, "c", "sleep 703", Duration::from_millis(200)).await;
    assert_eq!(finish(&mut late.expect("taken")).await.1, StepEvent::Exited(Exit::TimedOut));
    containers.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_whose_container_dies_is_lost_and_the_next_gets_a_new_one() {
    let world = world!();
    let containers = world.open().await;
    let mut step = world.start(&containers, "a", "echo ready; sleep 704").await;
    read_until(&mut step, "ready").await;
    world.docker(&["kill", &world.containers()[0]]);
    let (_, end) = finish(&mut step).await;
    let StepEvent::Lost(reason) = end else { panic!("{end:?}") };
    // Whether the engine has the dead container still or not is a matter of milliseconds.
    assert!(reason.contains("from outside"), "{reason}");
    assert_eq!(world.run(&containers, "b", "echo again").await.0, "again\n");

    // Killed while nothing runs: found out at the next start.
    world.docker(&["rm", "-f", &world.containers()[0]]);
    assert_eq!(world.run(&containers, "c", "echo again").await.0, "again\n");
    assert_eq!(world.containers().len(), 1);
    containers.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_leaves_nothing_running() {
    let world = world!();
    let containers = world.open().await;
    // Gone while the container is being created, then while the step starts in it.
    for (key, patience) in [("a", 1), ("b", 100)] {
        let starting = world.try_start(&containers, &world.room, key, "sleep 706", PATIENCE);
        let _ = tokio::time::timeout(Duration::from_millis(patience), starting).await;
    }
    let (text, end) = world.run(&containers, "c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '").await;
    assert_eq!(end, StepEvent::Exited(Exit::Code(0)));
    assert!(!text.contains("sleep 706"), "{text}");
    assert_eq!(world.containers().len(), 1);
    containers.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_server_resumes_what_it_wants_and_removes_the_rest() {
    let world = world!();
    let (other, third) = (RoomId::random(), RoomId::random());
    {
        // Everything of the first server ends with its runtime, as if it were killed.
        let script = "echo one; while [ ! -e go ]; do sleep 0.05; done; echo two; exit 5";
        let first = tokio::runtime::Runtime::new().expect("a runtime");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                first.block_on(async {
                    let containers = world.open().await;
                    let mut step = world.start(&containers, "a", script).await;
                    read_until(&mut step, "one\n").await;
                    let mut idle = world.try_start(&containers, &other, "b", "true", PATIENCE).await.expect("taken");
                    finish(&mut idle).await;
                });
            });
        });
        first.shutdown_background();
    }
    assert_eq!(world.containers().len(), 2);
    std::fs::write(world.workspace(&world.room).join("go"), "").expect("written");

    let containers = world.open().await;
    containers.reconcile(&[world.room.clone(), third.clone()]).await;
    assert_eq!(world.containers().len(), 1, "the other room's container is gone");
    assert!(containers.resume(&other, "b", 0, StepSecrets::default()).await.expect("no error").is_none());
    assert!(containers.resume(&third, "c", 0, StepSecrets::default()).await.expect("no error").is_none());
    let mut step =
        containers.resume(&world.room, "a", 4, StepSecrets::default()).await.expect("no error").expect("it is there");
    let (text, end) = finish(&mut step).await;
    assert_eq!(end, StepEvent::Exited(Exit::Code(5)));
    assert_eq!(text, "two\n", "what was seen is not repeated");
    assert!(containers.resume(&world.room, "unknown", 0, StepSecrets::default()).await.expect("no error").is_none());
    assert_eq!(world.run(&containers, "d", "echo more").await.0, "more\n");
    containers.shutdown().await;
    assert_eq!(world.containers(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_containers_go_by_themselves_or_when_there_are_too_many() {
    let mut world = world!();
    world.idle_stop = Duration::from_secs(3);
    let containers = world.open().await;
    let mut rooms = Vec::new();
    for _ in 0..3 {
        let room = RoomId::random();
        let mut step = world.try_start(&containers, &room, "a", "true", PATIENCE).await.expect("taken");
        finish(&mut step).await;
        rooms.push(room);
        assert!(world.containers().len() <= 2, "two are allowed");
    }
    world.until("the end of idle containers", || world.containers().is_empty()).await;
    containers.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_engine_runs_are_off_in_words() {
    let world = world!();
    let mut config = world.config();
    config.docker_host = Some(format!("unix://{}/no.sock", world.dir.path().display()));
    let containers = Containers::open(config, &Tasks::new()).await.expect("the folder can be made");
    let Err(SandboxError::Off { message, hint }) =
        world.try_start(&containers, &world.room, "a", "true", PATIENCE).await
    else {
        panic!("it is off")
    };
    assert!(message.starts_with("No Docker engine answers at unix://"), "{message}");
    assert_eq!(hint, "Start Docker, or type: make engine");

    let mut config = world.config();
    config.image = "no-such/image:1".to_owned();
    let containers = Containers::open(config, &Tasks::new()).await.expect("the folder can be made");
    let Availability::Off { message, hint } = containers.availability().borrow().clone() else { panic!("it is off") };
    assert_eq!(
        (message.as_str(), hint.as_str()),
        ("The sandbox image no-such/image:1 is not there yet.", "Build or pull it: docs/how-to/images.md")
    );
}
