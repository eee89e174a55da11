//! New sandboxes that are to be set up: once each, before any run, and whatever comes of it the room goes on.

use super::*;
use crate::devcontainer::{Amount, Devcontainer, PATHS, Terms};
use crate::ports::{Made, Size};
use crate::trigger::TriggerKey;

/// A sandbox of that name, made by this file.
fn made(sandbox: &str, file: &str) -> Made {
    let terms = Terms {
        image: "usual".to_owned(),
        images: Vec::new(),
        cpus: Amount { most: 1.0, key: "sandbox.cpus".to_owned() },
        memory: Amount { most: 1 << 30, key: "sandbox.memory_mib".to_owned() },
        disk: Amount { most: 1 << 30, key: "sandbox.disk_mib".to_owned() },
        user: 1000,
    };
    Made { sandbox: sandbox.to_owned(), devcontainer: Devcontainer::read(PATHS[1], file.as_bytes(), &terms) }
}

const FILE: &str = r#"{"postCreateCommand": "npm ci", "privileged": true}"#;

/// A world whose next sandbox is `one`, to be set up.
async fn world() -> World {
    let world = World::new().await;
    world.sandboxes.next_sandbox(&world.id, made("one", FILE));
    world
}

fn is_set_up(step: &StartedStep) -> bool {
    step.spec.argv[..2] == ["sh", "-c"] && step.spec.argv[2].contains("'npm ci'")
}

#[tokio::test(start_paused = true)]
async fn a_new_sandbox_is_set_up_before_the_run_that_wanted_it_and_once() {
    let mut world = world().await;
    world.types("a").await;
    let step = world.step().await;
    assert!(is_set_up(&step) && step.spec.secrets.env.is_empty(), "{:?}", step.spec);
    assert_eq!(step.files[0].1, "a", "it begins with the files as they are");
    assert_eq!(world.states().await, ["queued", "running"]);
    let shown = world.sandbox();
    assert_eq!((&shown["state"], &shown["start"]["files"]), (&"setting_up".into(), &1.into()));
    step.print("added 3 packages\n").await;
    step.exit(Exit::Code(0)).await;
    world.step().await.exit(Exit::Code(0)).await;
    world.settle().await;
    assert_eq!(world.states().await, ["passed", "passed"]);

    let shown = world.sandbox();
    assert_eq!((&shown["state"], &shown["start"]), (&"ready".into(), &serde_json::Value::Null));
    let runs = world.runs().await;
    let summary = runs[0].summary();
    assert_eq!((summary.trigger, &*summary.rule_name), (crate::run::Trigger::Sandbox, "Set up the sandbox"));
    assert_eq!(summary.command.as_deref(), Some("postCreateCommand of .devcontainer.json"));
    assert_eq!(world.engine.log(&world.id, &runs[0].id).await.expect("answers"), b"added 3 packages\n");
    let shown = world.room.projected(RunsMap::Sandbox)["devcontainer"].clone();
    assert_eq!(shown["notices"][0]["key"], "privileged");
    assert_eq!(shown["setup"][0], "postCreateCommand");

    world.run_of("b", Exit::Code(0)).await;
    assert_eq!(world.states().await, ["passed", "passed", "passed"]);
    // The next sandbox is another one.
    world.sandboxes.next_sandbox(&world.id, made("two", FILE));
    world.types("c").await;
    let step = world.step().await;
    assert!(is_set_up(&step));
    step.exit(Exit::Code(0)).await;
    world.step().await.exit(Exit::Code(0)).await;
}

#[tokio::test(start_paused = true)]
async fn a_set_up_that_fails_is_shown_and_the_run_goes_on() {
    for exit in [Exit::Code(1), Exit::OverLimit("Too much.".to_owned()), Exit::NotStarted("no sh".to_owned())] {
        let mut world = world().await;
        world.types("a").await;
        world.step().await.exit(exit.clone()).await;
        let step = world.step().await;
        assert!(!is_set_up(&step));
        step.exit(Exit::Code(0)).await;
        world.settle().await;
        let state = if matches!(exit, Exit::NotStarted(_)) { "error" } else { "failed" };
        assert_eq!(world.states().await, ["passed", state]);
        world.run_of("b", Exit::Code(0)).await;
        assert_eq!(world.states().await, ["passed", state, "passed"], "it is not set up again");
    }
}

#[tokio::test(start_paused = true)]
async fn a_sandbox_that_dies_while_it_is_set_up_is_not_made_again_and_again() {
    let mut world = world().await;
    world.types("a").await;
    let step = world.step().await;
    world.sandboxes.next_sandbox(&world.id, made("two", FILE));
    step.lose("it is gone").await;
    let step = world.step().await;
    assert!(!is_set_up(&step), "the run waited once");
    step.exit(Exit::Code(0)).await;
    let step = world.step().await;
    assert!(is_set_up(&step), "the sandbox that the run got is set up behind it");
    step.lose("it is gone, too").await;
    world.no_step().await;
    assert_eq!(world.states().await, ["passed", "interrupted", "interrupted"]);
}

#[tokio::test(start_paused = true)]
async fn a_sandbox_that_dies_before_its_set_up_starts_takes_that_along_and_the_next_one_is_set_up_once() {
    let mut world = world().await;
    // It is there when the set-up is looked at, and gone when that starts.
    world.sandboxes.next_sandbox(&world.id, made("two", FILE));
    world.types("a").await;
    let step = world.step().await;
    assert!(!is_set_up(&step), "the run waited once");
    step.exit(Exit::Code(0)).await;
    let step = world.step().await;
    assert!(is_set_up(&step));
    step.exit(Exit::Code(0)).await;
    world.run_of("b", Exit::Code(0)).await;
    world.no_step().await;
    assert_eq!(world.states().await, ["passed", "error", "passed", "passed"]);
    let runs = world.runs().await;
    let ended = runs[2].message.clone().expect("it says why");
    assert_eq!(ended, "The sandbox failed: it ended before this could begin, and the next one is set up anew");
    let set_ups = world.sandboxes.journal().into_iter().filter(|what| what.starts_with("start sh -c")).count();
    assert_eq!(set_ups, 1, "one for the sandbox that lived");
}

#[tokio::test(start_paused = true)]
async fn of_two_sandboxes_that_came_one_after_the_other_only_the_one_that_lives_is_set_up() {
    let mut world = World::new().await;
    world.types("a").await;
    let step = world.step().await;
    for name in ["one", "two"] {
        world.sandboxes.next_sandbox(&world.id, made(name, FILE));
        world.engine.terminals().open(&world.id, &ann(), Size { rows: 24, cols: 80 }).await.expect("opens");
    }
    world.settle().await;
    step.exit(Exit::Code(0)).await;
    let step = world.step().await;
    assert!(is_set_up(&step));
    step.exit(Exit::Code(0)).await;
    world.no_step().await;
    let set_ups = world.runs().await.into_iter().filter(Run::is_set_up).map(|run| run.trigger_key).collect::<Vec<_>>();
    assert!(set_ups.contains(&TriggerKey::Sandbox("two".to_owned())), "{set_ups:?}");
}

#[tokio::test(start_paused = true)]
async fn a_terminal_has_its_sandbox_set_up_beside_it() {
    let mut world = world().await;
    world.engine.terminals().open(&world.id, &ann(), Size { rows: 24, cols: 80 }).await.expect("opens");
    let step = world.step().await;
    assert!(is_set_up(&step));
    // What is typed meanwhile waits.
    world.types("a").await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(world.states().await, ["running", "queued"]);
    step.exit(Exit::Code(0)).await;
    world.step().await.exit(Exit::Code(0)).await;
    world.settle().await;
    assert_eq!(world.states().await, ["passed", "passed"]);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_set_up_can_be_cancelled_and_so_can_the_set_up() {
    let mut world = world().await;
    let run = world.run_now().await;
    let mut step = world.step().await;
    assert_eq!(world.cancel(&run).await.state, RunState::Cancelled);
    let runs = world.runs().await;
    world.cancel(&runs[0]).await;
    step.cancelled().await;
    step.exit(Exit::Cancelled).await;
    world.settle().await;
    assert_eq!(world.states().await, ["cancelled", "cancelled"]);
    world.run_of("a", Exit::Code(0)).await;
    assert_eq!(world.states().await, ["cancelled", "cancelled", "passed"], "once is once");
}

#[tokio::test(start_paused = true)]
async fn newer_text_takes_the_place_of_a_run_that_waits() {
    let mut world = world().await;
    world.types("a").await;
    let step = world.step().await;
    world.types("b").await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(world.states().await, ["superseded", "running", "queued"]);
    step.exit(Exit::Code(0)).await;
    let step = world.step().await;
    assert_eq!(step.files[0].1, "b");
    step.exit(Exit::Code(0)).await;
    world.no_step().await;
}

#[tokio::test(start_paused = true)]
async fn a_set_up_under_way_ends_after_a_crash_and_is_not_begun_again() {
    let mut world = world().await;
    world.types("a").await;
    let step = world.step().await;
    assert!(is_set_up(&step));
    world.crash().await;
    let run = world.runs().await.remove(0);
    let step = world.sandboxes.leave_running(&run.step().key);
    world.boot().await;
    step.exit(Exit::Code(0)).await;
    let step = world.step().await;
    assert!(!is_set_up(&step));
    step.exit(Exit::Code(0)).await;
    world.settle().await;
    assert_eq!(world.states().await, ["passed", "passed"]);
}

#[tokio::test(start_paused = true)]
async fn a_set_up_that_never_began_is_begun_after_a_crash_before_what_waits() {
    let mut world = World::new().await;
    world.types("a").await;
    // While this runs a terminal gets a sandbox that is to be set up.
    let step = world.step().await;
    world.sandboxes.next_sandbox(&world.id, made("one", FILE));
    world.engine.terminals().open(&world.id, &ann(), Size { rows: 24, cols: 80 }).await.expect("opens");
    world.types("b").await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(world.states().await, ["running", "queued", "queued"]);
    world.restart().await;
    drop(step);
    let step = world.step().await;
    assert!(is_set_up(&step));
    step.exit(Exit::Code(0)).await;
    world.step().await.exit(Exit::Code(0)).await;
    world.settle().await;
    assert_eq!(world.states().await, ["interrupted", "passed", "passed"]);
}

#[tokio::test(start_paused = true)]
async fn without_commands_nothing_is_set_up() {
    let mut world = World::new().await;
    world.sandboxes.next_sandbox(&world.id, made("one", r#"{"image": "other"}"#));
    world.run_of("a", Exit::Code(0)).await;
    assert_eq!(world.states().await, ["passed"]);
    assert_eq!(world.room.projected(RunsMap::Sandbox)["devcontainer"]["notices"][0]["key"], "image");
}
