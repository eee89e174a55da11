//! What a step is given, and what of its output is shown.

use super::*;
use crate::secret::{Given, SecretName, Value};
use crate::secrets::NewSecret;

const VALUE: &str = "s3cr3t-t0ken-value";

fn names(names: &[&str]) -> Vec<SecretName> {
    names.iter().map(|name| SecretName::parse(name).expect("valid")).collect()
}

/// A world whose rule names the secret `TOKEN`.
async fn world() -> World {
    let world = World::new().await;
    set(&world, VALUE).await;
    let rule = world.engine.rules(&world.id).await.expect("answers").remove(0);
    world.engine.set_rule_secrets(&world.id, &rule.id, names(&["TOKEN"])).await.expect("it is there");
    world
}

async fn set(world: &World, value: &str) {
    let new = NewSecret { value: value.to_owned(), given: Given::Env, skills: None };
    world
        .secrets
        .put(&world.id, &ann(), "TOKEN", new, buildspaces_kernel::clock::unix_millis() - 5)
        .await
        .expect("stored");
}

#[tokio::test(start_paused = true)]
async fn a_step_has_its_secret_and_nobody_sees_it() {
    let mut world = world().await;
    world.types("a").await;
    let step = world.step().await;
    assert_eq!(step.spec.secrets.env, [(names(&["TOKEN"]).remove(0), Value::new(VALUE))]);
    assert!(!format!("{:?}", step.spec).contains(VALUE), "{:?}", step.spec);
    step.print("token: s3cr3t-").await;
    sleep(Duration::from_secs(1)).await;
    let run = world.runs().await.remove(0);
    assert_eq!(world.room.projected(RunsMap::Logs)[run.id.as_str()], "token: ", "the rest may be the beginning of it");
    step.print("t0ken-value, czNjcjN0LXQwa2VuLXZhbHVl\n").await;
    step.exit(Exit::NotStarted(format!("there is no program {VALUE}"))).await;
    world.settle().await;
    assert_eq!(world.engine.log(&world.id, &run.id).await.expect("answers"), b"token: ***, ***\n");
    assert_eq!(world.room.projected(RunsMap::Logs)[run.id.as_str()], "token: ***, ***\n");
    let run = world.runs().await.remove(0);
    assert!(run.message.as_deref().is_some_and(|message| message.contains("***")), "{run:?}");
    assert!(!format!("{run:?}{:?}", world.room.projected(RunsMap::Runs)).contains(VALUE));
    assert!(world.secrets.list(&world.id).await.expect("answers")[0].used_at.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_names_what_is_not_there_does_not_run() {
    let mut world = world().await;
    let rule = world.engine.rules(&world.id).await.expect("answers").remove(0);
    let unknown = world.engine.set_rule_secrets(&world.id, &rule.id, names(&["OTHER"])).await;
    assert!(matches!(unknown, Err(Error::UnknownSecret(_))), "{unknown:?}");
    world.secrets.delete(&world.id, &ann(), "TOKEN").await.expect("deleted");
    world.types("a").await;
    world.no_step().await;
    assert_eq!(world.states().await, ["error"]);
    let message = world.runs().await.remove(0).message.expect("a sentence");
    assert!(message.starts_with("This room has no secret TOKEN"), "{message}");
    world.engine.set_rule_secrets(&world.id, &rule.id, Vec::new()).await.expect("none is always there");
    world.run_now().await;
    assert_eq!(world.step().await.spec.secrets.env, []);
}

/// A step that had printed the first half of its secret when the server died.
async fn died_in_the_middle() -> (World, Run) {
    let mut world = world().await;
    world.types("a").await;
    let step = world.step().await;
    step.print("before s3cr3t-").await;
    sleep(Duration::from_secs(1)).await;
    world.crash().await;
    let run = world.runs().await.remove(0);
    assert_eq!(world.store.log(&run.id).await.expect("answers"), b"before ");
    (world, run)
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_printed_around_a_crash_is_masked() {
    let (mut world, run) = died_in_the_middle().await;
    let step = world.sandboxes.leave_running(&run.step().key);
    world.boot().await;
    assert!(world.sandboxes.journal().contains(&"resume from 0".to_owned()), "{:?}", world.sandboxes.journal());
    step.print("before s3cr3t-t0ken-value after\n").await;
    step.exit(Exit::Code(0)).await;
    world.settle().await;
    assert_eq!(world.states().await, ["passed"]);
    assert_eq!(world.engine.log(&world.id, &run.id).await.expect("answers"), b"before *** after\n");
}

#[tokio::test(start_paused = true)]
async fn what_was_dropped_around_a_crash_is_told_and_no_half_is_shown() {
    let (mut world, run) = died_in_the_middle().await;
    let step = world.sandboxes.leave_running(&run.step().key);
    world.boot().await;
    step.drop_output(20).await;
    step.print("lue").await;
    step.exit(Exit::Code(0)).await;
    world.settle().await;
    let log = world.engine.log(&world.id, &run.id).await.expect("answers");
    assert_eq!(String::from_utf8_lossy(&log), "before \n[13 bytes of output were too many to keep]\n***");
}

#[tokio::test(start_paused = true)]
async fn a_step_whose_secret_was_replaced_while_the_server_was_away_is_stopped() {
    let (mut world, run) = died_in_the_middle().await;
    let mut step = world.sandboxes.leave_running(&run.step().key);
    let later = buildspaces_kernel::clock::unix_millis() + 60_000;
    let new = NewSecret { value: "another-value".to_owned(), given: Given::Env, skills: None };
    world.secrets.put(&world.id, &ann(), "TOKEN", new, later).await.expect("stored");
    world.boot().await;
    step.cancelled().await;
    world.settle().await;
    assert_eq!(world.states().await, ["interrupted"]);
    let message = world.runs().await.remove(0).message.expect("a sentence");
    assert!(message.contains("its output could not be masked"), "{message}");
    assert_eq!(world.engine.log(&world.id, &run.id).await.expect("answers"), b"before ");
}
