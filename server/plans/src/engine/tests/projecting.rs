//! What people see of runs while they happen.

use super::*;
use crate::engine::projection::SHOWN_RUNS;
use crate::log::TAIL_LINES;

#[tokio::test(start_paused = true)]
async fn output_is_shown_live_and_kept_whole() {
    let mut world = World::new().await;
    world.types("a").await;
    let step = world.step().await;
    step.print("first\n").await;
    world.settle().await;
    let run = world.runs().await.remove(0);
    let shown = |world: &World| world.room.projected(RunsMap::Logs)[run.id.as_str()].clone();
    assert_eq!(shown(&world), "first\n");
    // The next update is a quarter of a second away.
    step.print("second\n").await;
    world.settle().await;
    assert_eq!(shown(&world), "first\n");
    sleep(Duration::from_millis(250)).await;
    assert_eq!(shown(&world), "first\nsecond\n");

    let lines: Vec<String> = (0..TAIL_LINES + 10).map(|line| format!("{line}\n")).collect();
    step.print(&lines.concat()).await;
    step.exit(Exit::Code(0)).await;
    world.settle().await;
    assert_eq!(shown(&world), lines[10..].concat());
    let log = world.engine.log(&world.id, &run.id).await.expect("answers");
    assert_eq!(String::from_utf8_lossy(&log), format!("first\nsecond\n{}", lines.concat()));
}

#[tokio::test(start_paused = true)]
async fn the_newest_runs_are_shown_and_all_are_listed() {
    let mut world = World::new().await;
    for text in 0..SHOWN_RUNS + 3 {
        world.types(&text.to_string()).await;
        let step = world.step().await;
        step.print("x").await;
        step.exit(Exit::Code(0)).await;
        world.settle().await;
    }
    assert_eq!(world.runs().await.len(), SHOWN_RUNS + 3);
    let newest: std::collections::BTreeSet<String> =
        world.runs().await.iter().take(SHOWN_RUNS).map(|run| run.id.to_string()).collect();
    for map in [RunsMap::Runs, RunsMap::Logs] {
        assert!(world.room.projected(map).into_keys().eq(newest.iter().cloned()), "{map:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_shown_is_shown_later() {
    let mut world = World::new().await;
    world.types("a").await;
    let step = world.step().await;
    world.settle().await;
    world.room.fail(2);
    step.exit(Exit::Code(0)).await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(world.states().await, ["passed"]);
}

#[tokio::test(start_paused = true)]
async fn ports_are_shown_as_they_come_and_go() {
    let world = World::new().await;
    world.settle().await;
    let shown = || world.room.projected(RunsMap::Sandbox)["ports"].clone();
    assert_eq!(shown(), serde_json::json!([]), "an earlier process may have left some");
    world.sandboxes.set_ports(&world.id, &[3000, 8000]);
    world.settle().await;
    assert_eq!(shown(), serde_json::json!([{ "port": 3000 }, { "port": 8000 }]));
    world.sandboxes.set_ports(&world.id, &[]);
    world.settle().await;
    assert_eq!(shown(), serde_json::json!([]));
}

#[tokio::test(start_paused = true)]
async fn a_run_of_another_room_is_not_to_be_had() {
    let mut world = World::new().await;
    world.run_of("a", Exit::Code(0)).await;
    let run = world.runs().await.remove(0).id;
    let other = RoomId::random();
    assert!(matches!(world.engine.run(&other, &run).await, Err(Error::NoSuchRun)));
    assert!(matches!(world.engine.log(&other, &run).await, Err(Error::NoSuchRun)));
    assert!(matches!(world.engine.cancel(&other, &run, &ann()).await, Err(Error::NoSuchRun)));
    assert!(matches!(world.engine.run_now(&other, None, &ann()).await, Err(Error::NoRules)));
    let unknown = Some(RuleId::random());
    assert!(matches!(world.engine.run_now(&world.id, unknown, &ann()).await, Err(Error::NoSuchRule)));
}
