//! When text makes a run, and when it does not.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_run_starts_a_moment_after_the_last_keystroke_on_exactly_that_text() {
    let mut world = World::new().await;
    world.types("a").await;
    sleep(Duration::from_secs(1)).await;
    let last = Instant::now();
    world.types("ab").await;
    let step = world.step().await;
    assert_eq!(last.elapsed().as_millis(), 1500);
    assert_eq!(step.files, [("test_a.py".to_owned(), "ab".to_owned())]);
    assert_eq!(step.spec.argv.join(" "), "python3 -m unittest discover -v");
    world.settle().await;
    assert_eq!(world.states().await, ["running"]);
    step.exit(Exit::Code(0)).await;
    world.settle().await;
    assert_eq!(world.states().await, ["passed"]);
    world.no_step().await;
}

#[tokio::test(start_paused = true)]
async fn steady_typing_runs_in_the_end() {
    let mut world = World::new().await;
    let first = Instant::now();
    while world.steps.is_empty() {
        world.types(&format!("{:?}", first.elapsed())).await;
        sleep(Duration::from_millis(199)).await;
        assert!(first.elapsed() < Duration::from_secs(11));
    }
    assert!(first.elapsed() >= Duration::from_secs(10));
    world.step().await.exit(Exit::Code(0)).await;
}

#[tokio::test(start_paused = true)]
async fn the_same_text_does_not_run_twice() {
    let mut world = World::new().await;
    world.run_of("a", Exit::Code(1)).await;
    world.types("b").await;
    world.types("a").await;
    world.no_step().await;
    world.run_of("b", Exit::Code(0)).await;
    world.types("a").await;
    world.no_step().await;
    assert_eq!(world.states().await, ["failed", "passed"]);
}

#[tokio::test(start_paused = true)]
async fn a_text_whose_run_gave_no_result_runs_again() {
    let mut world = World::new().await;
    world.types("a").await;
    world.step().await.lose("the container died").await;
    world.settle().await;
    world.run_of("a", Exit::Code(0)).await;
    assert_eq!(world.states().await, ["interrupted", "passed"]);
}

#[tokio::test(start_paused = true)]
async fn only_people_and_only_matching_files_make_a_rule_fire() {
    let mut world = World::new().await;
    world.room.edit("test_a.py", "written by a program", FileSystem);
    world.room.edit("out.py", "new, by a program", FileSystem);
    world.room.edit("README.md", "by a person, but no match", Person);
    world.no_step().await;
    world.room.edit("README.md", "again", Person);
    world.no_step().await;
    assert_eq!(world.states().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_person_s_new_or_renamed_file_makes_a_rule_fire() {
    let mut world = World::new().await;
    world.room.edit("b.py", "new", Person);
    world.step().await.exit(Exit::Code(0)).await;
    world.settle().await;
    world.room.rename("b.py", "c.txt", Person);
    let step = world.step().await;
    assert_eq!(step.files.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), ["c.txt", "test_a.py"]);
    step.exit(Exit::Code(0)).await;
    world.settle().await;
    world.room.rename("test_a.py", "test_z.py", FileSystem);
    world.no_step().await;
    // The file goes by its new name now.
    world.room.edit("test_z.py", "typed", Person);
    world.step().await.exit(Exit::Code(0)).await;
}

#[tokio::test(start_paused = true)]
async fn an_edit_among_missed_events_counts() {
    let mut world = World::new().await;
    world.room.edit("test_a.py", "typed", Person);
    for text in 0..100 {
        world.room.edit("README.md", &text.to_string(), Person);
    }
    let step = world.step().await;
    assert!(step.files.contains(&("test_a.py".to_owned(), "typed".to_owned())));
    step.exit(Exit::Code(0)).await;
}

#[tokio::test(start_paused = true)]
async fn while_runs_are_off_nothing_is_queued_and_the_text_runs_when_they_return() {
    let mut world = World::new().await;
    world.turn_off();
    world.types("a").await;
    world.no_step().await;
    assert_eq!(world.states().await, [""; 0]);
    let refused = world.engine.run_now(&world.id, None, &ann()).await;
    assert!(matches!(refused, Err(Error::SandboxOff { hint, .. }) if hint == "Start it."));
    assert_eq!(world.sandbox()["state"], "off");
    assert_eq!(world.sandbox()["hint"], "Start it.");
    world.turn_on();
    let step = world.step().await;
    assert_eq!(step.files, [("test_a.py".to_owned(), "a".to_owned())]);
    step.exit(Exit::Code(0)).await;
    world.settle().await;
    assert_eq!(world.states().await, ["passed"]);
    assert_eq!(world.sandbox()["state"], "ready");
}

#[tokio::test(start_paused = true)]
async fn a_firing_that_the_store_refuses_is_tried_again() {
    let mut world = World::new().await;
    world.types("a").await;
    sleep(Duration::from_millis(1400)).await;
    world.store.fail(1);
    let started = Instant::now();
    world.step().await.exit(Exit::Code(0)).await;
    assert!(started.elapsed() > Duration::from_secs(4));
    world.settle().await;
    assert_eq!(world.states().await, ["passed"]);
}

#[tokio::test(start_paused = true)]
async fn rules_that_cannot_work_are_refused() {
    let world = World::new().await;
    let rule = |glob: &str, skill: &str| NewRule {
        name: "x".to_owned(),
        globs: vec![glob.to_owned()],
        skill: skill.to_owned(),
    };
    for bad in [rule("a[", "test.run"), rule("*", "rm.all")] {
        let refused = world.engine.create_rules(&world.id, vec![rule("*", "test.run"), bad]).await;
        assert!(matches!(refused, Err(Error::InvalidRule(_))), "{refused:?}");
    }
    assert_eq!(world.engine.rules(&world.id).await.expect("answers").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_rule_made_while_the_room_is_open_fires_too() {
    let mut world = World::new().await;
    let rule = NewRule { name: "Docs".to_owned(), globs: vec!["*.md".to_owned()], skill: "test.run".to_owned() };
    world.engine.create_rules(&world.id, vec![rule]).await.expect("stored");
    world.settle().await;
    world.room.edit("README.md", "typed", Person);
    world.step().await.exit(Exit::Code(0)).await;
    world.settle().await;
    assert_eq!(world.runs().await[0].rule_name, "Docs");
}
