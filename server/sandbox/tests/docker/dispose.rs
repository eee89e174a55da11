//! Sandboxes that are ended on purpose, die while nobody looks, or are nobody's, on a real engine.

use std::time::Duration;

use buildspaces_kernel::ids::RoomId;
use buildspaces_plans::ports::{
    Exit, Phase, Progress, Size, StepEvent, StepSpec, TerminalEnd, TerminalEvent, TerminalSpec,
};
use buildspaces_plans::secret::StepSecrets;

use crate::world::{PATIENCE, finish, read_until};

#[tokio::test(flavor = "multi_thread")]
async fn whoever_ends_a_sandbox_gets_a_new_one_on_the_same_files() {
    let world = world!();
    let containers = world.open().await;
    assert!(!containers.dispose(&world.room, "no reason").await, "there is none");
    let neighbour = RoomId::random();
    let mut beside = world
        .try_start(&containers, &neighbour, "n", "echo here; sleep 3; echo fine", PATIENCE)
        .await
        .expect("it starts");
    read_until(&mut beside, "here").await;

    let terminal = TerminalSpec { key: "t".to_owned(), size: Size { rows: 24, cols: 80 } };
    let opened = containers.open_terminal(&world.room, &world.files(&world.room), terminal, Progress::default()).await;
    let mut line = opened.expect("it opens");
    let mut step = world.start(&containers, "a", "echo kept >kept; touch /tmp/gone; echo ready; sleep 707").await;
    read_until(&mut step, "ready").await;
    let before = world.containers();

    assert!(containers.dispose(&world.room, "the sandbox was ended by Ann").await);
    assert_eq!(finish(&mut step).await.1, StepEvent::Lost("the sandbox was ended by Ann".to_owned()));
    let ended = loop {
        match tokio::time::timeout(PATIENCE, line.events.recv()).await.expect("in time").expect("an end") {
            TerminalEvent::Ended(end) => break end,
            TerminalEvent::Output(_) | TerminalEvent::Dropped(_) => {}
        }
    };
    assert_eq!(ended, TerminalEnd::Lost("the sandbox was ended by Ann".to_owned()));
    assert_eq!(world.containers().len(), 1, "the neighbour's");

    let (text, end) = world.run(&containers, "b", "ls /workspace /tmp").await;
    assert_eq!((text.as_str(), end), ("/tmp:\n\n/workspace:\nkept\n", StepEvent::Exited(Exit::Code(0))));
    assert!(world.containers().iter().filter(|id| before.contains(id)).count() <= 1, "it is another one");
    assert_eq!(finish(&mut beside).await, ("fine\n".to_owned(), StepEvent::Exited(Exit::Code(0))));
    containers.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_that_dies_while_nothing_runs_in_it_is_shown_as_gone() {
    let world = world!();
    let containers = world.open().await;
    let (progress, files) = (Progress::default(), world.files(&world.room));
    let step = StepSpec {
        key: "a".to_owned(),
        argv: vec!["true".to_owned()],
        timeout: Some(PATIENCE),
        secrets: StepSecrets::default(),
        sandbox: None,
    };
    let mut step = containers.start(&world.room, &files, step, progress.clone()).await.expect("it starts");
    finish(&mut step).await;
    assert_eq!(progress.now().phase, Phase::Ready);
    world.docker(&["kill", &world.containers()[0]]);
    let mut shown = progress.watch();
    let idle = shown.wait_for(|start| start.phase == Phase::Idle);
    tokio::time::timeout(Duration::from_secs(10), idle).await.expect("in time").expect("it is watched");
    world.until("the removal of what is left", || world.containers().is_empty()).await;
    assert_eq!(world.run(&containers, "b", "echo again").await.0, "again\n");
    containers.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_no_room_has_is_removed() {
    let world = world!();
    let containers = world.open().await;
    containers.reconcile(&[]).await;
    world.run(&containers, "a", "true").await;
    let own = world.containers();
    let image = world.config().image;
    let label = format!("buildspaces.instance={}", world.instance);
    for room in [world.room.as_str(), "another", "not a room"] {
        let room = format!("buildspaces.room={room}");
        world.docker(&["run", "-d", "--network", "none", "--label", &label, "--label", &room, &image, "sleep", "900"]);
    }
    assert_eq!(world.containers().len(), 4);
    world.until("the removal of those that are nobody's", || world.containers() == own).await;
    assert_eq!(world.run(&containers, "b", "echo still").await.0, "still\n");
    containers.shutdown().await;
}
