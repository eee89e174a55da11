//! The queue, the execution of a run, and its ends.

use super::*;
use crate::ports::SandboxError;

#[tokio::test(start_paused = true)]
async fn typing_during_a_run_queues_one_more_and_the_newest_text_wins() {
    let mut world = World::new().await;
    world.types("a").await;
    let first = world.step().await;
    for text in ["b", "c"] {
        world.types(text).await;
        sleep(Duration::from_secs(3)).await;
    }
    assert_eq!(world.states().await, ["running", "superseded", "queued"]);
    assert!(world.steps.is_empty(), "one run of a room at a time");
    first.exit(Exit::Code(0)).await;
    let second = world.step().await;
    assert_eq!(second.files, [("test_a.py".to_owned(), "c".to_owned())]);
    second.exit(Exit::Code(0)).await;
    world.settle().await;
    assert_eq!(world.states().await, ["passed", "superseded", "passed"]);
    // The superseded text never ran, so it may.
    world.run_of("b", Exit::Code(0)).await;
}

#[tokio::test(start_paused = true)]
async fn a_queued_run_takes_the_text_as_it_is_when_it_starts() {
    let mut world = World::new().await;
    world.types("a").await;
    let first = world.step().await;
    world.types("b").await;
    sleep(Duration::from_secs(3)).await;
    let queued = world.runs().await.remove(0);
    world.types("c").await;
    first.exit(Exit::Code(0)).await;
    let second = world.step().await;
    assert_eq!(second.files[0].1, "c");
    sleep(Duration::from_secs(3)).await;
    let running = world.runs().await.remove(0);
    assert_eq!(running.id, queued.id);
    assert_ne!(running.trigger_key, queued.trigger_key, "the key is that of the text that runs");
    second.exit(Exit::Code(0)).await;
    world.no_step().await;
    assert_eq!(world.states().await, ["passed", "passed"]);
}

#[tokio::test(start_paused = true)]
async fn a_queued_run_whose_text_went_back_to_one_that_ran_is_superseded() {
    let mut world = World::new().await;
    world.types("a").await;
    let first = world.step().await;
    world.types("b").await;
    sleep(Duration::from_secs(3)).await;
    world.types("a").await;
    first.exit(Exit::Code(0)).await;
    world.no_step().await;
    assert_eq!(world.states().await, ["passed", "superseded"]);
}

#[tokio::test(start_paused = true)]
async fn run_now_always_runs_and_covers_what_was_typed() {
    let mut world = World::new().await;
    world.run_of("a", Exit::Code(0)).await;
    for _ in 0..2 {
        let run = world.run_now().await;
        assert_eq!((run.state, run.requested_by_name.as_str()), (RunState::Queued, "Ann"));
        world.step().await.exit(Exit::Code(0)).await;
        world.settle().await;
    }
    world.types("b").await;
    world.run_now().await;
    let step = world.step().await;
    assert_eq!(step.files[0].1, "b");
    step.exit(Exit::Code(0)).await;
    world.no_step().await;
    assert_eq!(world.states().await, ["passed"; 4]);
}

#[tokio::test(start_paused = true)]
async fn text_does_not_displace_a_queued_run_now() {
    let mut world = World::new().await;
    world.types("a").await;
    let first = world.step().await;
    let asked = world.run_now().await;
    world.types("b").await;
    sleep(Duration::from_secs(3)).await;
    assert_eq!(world.states().await, ["running", "queued"]);
    first.exit(Exit::Code(0)).await;
    let second = world.step().await;
    assert_eq!(second.files[0].1, "b");
    assert_eq!(second.spec.key, asked.step().key);
    second.exit(Exit::Code(0)).await;
    world.no_step().await;
}

#[tokio::test(start_paused = true)]
async fn a_queued_run_can_be_cancelled() {
    let mut world = World::new().await;
    world.types("a").await;
    let first = world.step().await;
    let queued = world.run_now().await;
    let cancelled = world.cancel(&queued).await;
    assert_eq!(cancelled.message.as_deref(), Some("Cancelled by Ann."));
    first.exit(Exit::Code(0)).await;
    world.no_step().await;
    assert_eq!(world.states().await, ["passed", "cancelled"]);
    assert_eq!(world.cancel(&queued).await, cancelled, "once more changes nothing");
}

#[tokio::test(start_paused = true)]
async fn a_running_run_can_be_cancelled() {
    for exit in [Exit::Cancelled, Exit::Signal(15)] {
        let mut world = World::new().await;
        world.types("a").await;
        let mut step = world.step().await;
        world.settle().await;
        let run = world.runs().await.remove(0);
        assert_eq!(world.cancel(&run).await.state, RunState::Running);
        step.cancelled().await;
        step.exit(exit).await;
        world.settle().await;
        assert_eq!(world.states().await, ["cancelled"]);
        assert_eq!(world.runs().await[0].message.as_deref(), Some("Cancelled by Ann."));
    }
}

#[tokio::test(start_paused = true)]
async fn a_program_that_ended_before_it_was_stopped_keeps_its_result() {
    let mut world = World::new().await;
    world.types("a").await;
    let mut step = world.step().await;
    world.settle().await;
    world.cancel(&world.runs().await[0]).await;
    step.cancelled().await;
    step.exit(Exit::Code(0)).await;
    world.settle().await;
    assert_eq!(world.states().await, ["passed"]);
}

#[tokio::test(start_paused = true)]
async fn a_sandbox_that_never_says_how_a_step_ended_does_not_hold_the_room_up() {
    let mut world = World::new().await;
    world.types("a").await;
    let silent = world.step().await;
    sleep(Duration::from_secs(620)).await;
    assert_eq!(world.states().await, ["running"]);
    sleep(Duration::from_secs(20)).await;
    assert_eq!(world.states().await, ["interrupted"]);
    drop(silent);
    world.run_of("b", Exit::Code(0)).await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_container_is_an_honest_interruption() {
    let mut world = World::new().await;
    world.types("a").await;
    let step = world.step().await;
    step.print("half of it\n").await;
    world.turn_off();
    step.lose("Docker was stopped").await;
    world.settle().await;
    assert_eq!(world.states().await, ["interrupted"]);
    let run = world.runs().await.remove(0);
    assert_eq!(run.message.as_deref(), Some("How this ended is not known: Docker was stopped. Run it again."));
    assert_eq!(world.engine.log(&world.id, &run.id).await.expect("answers"), b"half of it\n");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_queued_when_runs_go_off_waits_for_their_return() {
    let mut world = World::new().await;
    world.types("a").await;
    let first = world.step().await;
    world.run_now().await;
    world.turn_off();
    first.lose("Docker was stopped").await;
    world.no_step().await;
    assert_eq!(world.states().await, ["interrupted", "queued"]);
    world.turn_on();
    world.step().await.exit(Exit::Code(0)).await;
}

#[tokio::test(start_paused = true)]
async fn no_tests_to_run_is_an_error_that_says_what_would_be_recognised() {
    let mut world = World::new().await;
    world.room.rename("test_a.py", "main.py", Person);
    world.no_step().await;
    assert_eq!(world.states().await, ["error"]);
    let message = world.runs().await.remove(0).message.expect("a sentence");
    assert!(message.contains("unittest") && message.contains("node --test"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn settings_are_read_from_the_frozen_workspace() {
    let mut world = World::new().await;
    world.room.edit("pyproject.toml", "[tool.pytest.ini_options]\n", Person);
    world.types("a").await;
    let step = world.step().await;
    assert_eq!(step.spec.argv, ["python3", "-m", "pytest"]);
    step.exit(Exit::Code(0)).await;
}

#[tokio::test(start_paused = true)]
async fn a_sandbox_that_fails_to_start_is_an_error_in_words() {
    let mut world = World::new().await;
    world.sandboxes.refuse(Some(SandboxError::Failed("the disk is full".to_owned())));
    world.types("a").await;
    world.no_step().await;
    assert_eq!(world.states().await, ["error"]);
    assert_eq!(world.runs().await[0].message.as_deref(), Some("The sandbox failed: the disk is full"));
    world.sandboxes.refuse(None);
    world.run_of("b", Exit::Code(0)).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_step_wrote_is_looked_at_before_its_result_shows() {
    let mut world = World::new().await;
    world.run_of("a", Exit::Code(0)).await;
    assert_eq!(world.sandboxes.journal(), ["freeze", "start python3 -m unittest discover -v", "thaw", "absorb"]);
}

#[tokio::test(start_paused = true)]
async fn a_transition_waits_for_a_store_that_fails() {
    let mut world = World::new().await;
    world.types("a").await;
    let step = world.step().await;
    world.settle().await;
    world.store.fail(3);
    step.exit(Exit::Code(0)).await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(world.states().await, ["passed"]);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_somebody_else_ended_is_not_overwritten() {
    let mut world = World::new().await;
    world.types("a").await;
    let step = world.step().await;
    world.settle().await;
    let run = world.runs().await.remove(0);
    let other = run.after(crate::run::Transition::Interrupt("Ended elsewhere.".to_owned()), 1).expect("exists");
    assert!(world.store.update(&other).await.expect("stored"));
    step.exit(Exit::Code(0)).await;
    world.settle().await;
    assert_eq!(world.states().await, ["interrupted"]);
    world.run_of("b", Exit::Code(0)).await;
}
