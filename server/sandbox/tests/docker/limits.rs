//! Programs that take all they can get, on a real engine: each ends with an exit that names the limit, its sandbox goes on, and the
//! neighbour's does not notice.

use std::time::{Duration, Instant};

use buildspaces_kernel::ids::RoomId;
use buildspaces_plans::ports::{Exit, StepEvent};
use buildspaces_sandbox::Containers;

use crate::world::{PATIENCE, World, finish, read_until};

/// Runs `script` beside a neighbour that counts, and returns the sentence with which it ended.
async fn over_limit(world: &World, containers: &Containers, key: &str, script: &str) -> String {
    let neighbour = RoomId::random();
    let count = "echo here; for n in 1 2 3 4; do sleep 0.5; done; echo fine";
    let mut beside = world.try_start(containers, &neighbour, "n", count, PATIENCE).await.expect("it starts");
    read_until(&mut beside, "here").await;
    let (text, end) = world.run(containers, key, script).await;
    let StepEvent::Exited(Exit::OverLimit(reason)) = end else { panic!("{end:?} after {} bytes", text.len()) };
    let (text, end) = finish(&mut beside).await;
    assert_eq!((text.as_str(), end), ("fine\n", StepEvent::Exited(Exit::Code(0))), "the neighbour");
    goes_on(world, containers, &format!("{key}-after")).await;
    reason
}

async fn goes_on(world: &World, containers: &Containers, key: &str) {
    let (text, end) = world.run(containers, key, "echo fine").await;
    assert_eq!((text.as_str(), end), ("fine\n", StepEvent::Exited(Exit::Code(0))), "the sandbox goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_eats_all_memory_is_reported_as_such() {
    let mut world = world!();
    world.limits.memory = 96 << 20;
    let containers = world.open().await;
    let hungry = "x = bytearray(300_000_000)";
    let (_, end) = world.run(&containers, "a", &format!("python3 -c '{hungry}'")).await;
    assert_eq!(end, StepEvent::Exited(Exit::OutOfMemory), "the program itself");
    let (_, end) = world.run(&containers, "b", &format!("python3 -c '{hungry}' || exit 1")).await;
    assert_eq!(end, StepEvent::Exited(Exit::OutOfMemory), "its child");
    goes_on(&world, &containers, "c").await;
    containers.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_bomb_ends_with_the_number_of_processes_that_there_may_be() {
    let mut world = world!();
    world.limits.pids = 64;
    let containers = world.open().await;
    let bomb = "bomb() { bomb | bomb & }; bomb; sleep 1; exit 1";
    let reason = over_limit(&world, &containers, "a", bomb).await;
    assert!(reason.contains("the 64 that a sandbox may have (sandbox.pids)"), "{reason}");
    // One that ends by itself only when its time is over.
    let endless = "python3 -c 'import threading, time\nwhile True:\n try: threading.Thread(target=time.sleep, args=(900,)).start()\n except RuntimeError: pass'";
    let step = world.try_start(&containers, &world.room, "b", endless, Duration::from_secs(2)).await;
    let (text, end) = finish(&mut step.expect("taken")).await;
    assert!(
        matches!(&end, StepEvent::Exited(Exit::OverLimit(reason)) if reason.contains("sandbox.pids")),
        "{end:?} {text}"
    );
    goes_on(&world, &containers, "c").await;
    containers.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_output_is_stopped_when_it_is_too_much() {
    let mut world = world!();
    world.limits.output = 8 << 20;
    let containers = world.open().await;
    let began = Instant::now();
    let reason = over_limit(&world, &containers, "a", "yes").await;
    assert!(reason.contains("more than 8 MiB, the most a step may print (sandbox.output_mib)"), "{reason}");
    // One that does not care for SIGTERM.
    let reason = over_limit(&world, &containers, "b", "trap '' TERM; yes").await;
    assert!(reason.contains("sandbox.output_mib"), "{reason}");
    assert!(began.elapsed() < PATIENCE);
    containers.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_may_be_so_large_and_folders_in_memory_hold_so_much() {
    let mut world = world!();
    (world.limits.file, world.limits.tmp, world.limits.home) = (4 << 20, 8 << 20, 8 << 20);
    world.limits.open_files = 64;
    let containers = world.open().await;
    let reason = over_limit(&world, &containers, "a", "exec head -c 9000000 /dev/zero >large").await;
    assert!(reason.contains("more than 4 MiB, the largest there may be (sandbox.file_mib)"), "{reason}");
    let fill = |folder: &str| format!("set -e; for n in 1 2 3; do head -c 4000000 /dev/zero >{folder}/$n; done");
    let reason = over_limit(&world, &containers, "b", &fill("~")).await;
    assert!(reason.contains("the home folder was full when it ended: it holds 8 MiB (sandbox.home_mib)"), "{reason}");
    let reason = over_limit(&world, &containers, "c", &fill("/tmp")).await;
    assert!(reason.contains("/tmp was full when it ended: it holds 8 MiB (sandbox.tmp_mib)"), "{reason}");
    // The program is told itself, and says so.
    let open = "import os\nfor n in range(99): os.dup(0)";
    let (text, end) = world.run(&containers, "d", &format!("rm /tmp/? ~/?; python3 -c '{open}'")).await;
    assert_eq!(end, StepEvent::Exited(Exit::Code(1)));
    assert!(text.contains("Too many open files"), "{text}");
    containers.shutdown().await;
}
