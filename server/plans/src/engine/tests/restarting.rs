//! What survives the end of the process, in order or not.

use super::*;
use crate::ports::SandboxError;

/// A world that died while a step ran and had printed something. Returns the run.
async fn died_while_running() -> (World, Run) {
    let mut world = World::new().await;
    world.types("a").await;
    let step = world.step().await;
    step.print("before\n").await;
    sleep(Duration::from_secs(1)).await;
    world.crash().await;
    let run = world.runs().await.remove(0);
    assert_eq!(run.state, RunState::Running);
    (world, run)
}

#[tokio::test(start_paused = true)]
async fn a_run_under_way_ends_with_its_true_result_after_a_crash() {
    let (mut world, run) = died_while_running().await;
    let step = world.sandboxes.leave_running(&run.step().key);
    world.boot().await;
    step.print("after\n").await;
    step.exit(Exit::Code(1)).await;
    world.settle().await;
    assert_eq!(world.states().await, ["failed"]);
    assert_eq!(world.engine.log(&world.id, &run.id).await.expect("answers"), b"before\nafter\n");
    assert_eq!(world.room.projected(RunsMap::Logs)[run.id.as_str()], "before\nafter\n");
    assert!(world.sandboxes.journal().contains(&"resume from 7".to_owned()), "{:?}", world.sandboxes.journal());
    world.no_step().await;
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_sandbox_is_gone_says_so_after_a_crash() {
    let (mut world, run) = died_while_running().await;
    world.boot().await;
    assert_eq!(world.states().await, ["interrupted"]);
    let message = world.engine.run(&world.id, &run.id).await.expect("stored").message.expect("a sentence");
    assert_eq!(
        message,
        "The server went away while this ran, and how it ended is not known: its sandbox is gone. Run it again."
    );
    world.run_of("a", Exit::Code(0)).await;
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_comes_back_later_than_the_server_is_waited_for() {
    let (mut world, run) = died_while_running().await;
    let step = world.sandboxes.leave_running(&run.step().key);
    let off = SandboxError::Off { message: "No engine yet.".to_owned(), hint: "Wait.".to_owned() };
    world.sandboxes.refuse(Some(off.clone()));
    world.turn_off();
    world.boot().await;
    sleep(Duration::from_secs(20)).await;
    world.sandboxes.refuse(None);
    world.turn_on();
    step.exit(Exit::Code(0)).await;
    world.settle().await;
    assert_eq!(world.states().await, ["passed"]);

    let (mut world, _) = died_while_running().await;
    world.sandboxes.refuse(Some(off));
    world.turn_off();
    world.boot().await;
    sleep(Duration::from_secs(121)).await;
    assert_eq!(world.states().await, ["interrupted"], "but not for ever");
}

#[tokio::test(start_paused = true)]
async fn queued_runs_run_after_a_crash() {
    let (mut world, _) = {
        let mut world = World::new().await;
        world.types("a").await;
        let step = world.step().await;
        world.types("b").await;
        sleep(Duration::from_secs(2)).await;
        world.restart().await;
        (world, step)
    };
    let step = world.step().await;
    assert_eq!(step.files[0].1, "b");
    step.exit(Exit::Code(0)).await;
    world.settle().await;
    assert_eq!(world.states().await, ["interrupted", "passed"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_typed_just_before_a_crash_runs_at_once() {
    let mut world = World::new().await;
    world.types("a").await;
    world.crash().await;
    let booted = Instant::now();
    world.boot().await;
    world.step().await.exit(Exit::Code(0)).await;
    assert!(booted.elapsed() < Duration::from_millis(100));
    world.settle().await;
    world.restart().await;
    world.no_step().await;
    assert_eq!(world.states().await, ["passed"]);
}

#[tokio::test(start_paused = true)]
async fn after_a_crash_what_is_shown_is_put_right() {
    let (mut world, run) = died_while_running().await;
    let interrupted = run.after(crate::run::Transition::Interrupt("Ended elsewhere.".to_owned()), 1).expect("exists");
    assert!(world.store.update(&interrupted).await.expect("stored"));
    world.boot().await;
    // Nothing is unfinished, so the room is followed when somebody comes.
    world.engine.room_opened(&world.id).await;
    world.settle().await;
    assert_eq!(world.states().await, ["interrupted"]);
}

#[tokio::test(start_paused = true)]
async fn an_orderly_stop_interrupts_what_runs_and_keeps_what_is_queued() {
    let mut world = World::new().await;
    world.types("a").await;
    let step = world.step().await;
    step.print("half\n").await;
    world.run_now().await;
    world.engine.stop().await;
    assert_eq!(world.states().await, ["interrupted", "queued"]);
    assert_eq!(world.runs().await[1].message.as_deref(), Some("The server was stopped while this ran. Run it again."));
    assert!(matches!(world.engine.run_now(&world.id, None, &ann()).await, Err(Error::Stopping)));
    world.restart().await;
    world.step().await.exit(Exit::Code(0)).await;
    world.settle().await;
    assert_eq!(world.states().await, ["interrupted", "passed"]);
}
