//! The port's contract on a real file, and what only a file can get wrong.

use buildspaces_plans::contract;
use buildspaces_plans::ports::Exit;
use buildspaces_plans::run::Transition;
use buildspaces_policy::Principal;

use super::*;
use crate::Durability;

#[tokio::test]
async fn the_store_keeps_the_contract() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let database = Database::open(&folder.path().join("test.db"), Durability::Full).await.expect("opens");
    contract::run_store(&Runs::new(&database)).await;
    database.close().await;
}

#[tokio::test]
async fn runs_survive_closing_and_opening() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("test.db");
    let database = Database::open(&path, Durability::Full).await.expect("opens");
    let runs = Runs::new(&database);
    let (rule, run) = a_run();
    runs.insert_rule(&rule).await.expect("stored");
    runs.set_dirty(&rule.room, &rule.id, Some(7)).await.expect("stored");
    assert!(runs.insert(&run, None).await.expect("stored"));
    runs.append_log(&run.id, b"out", 3).await.expect("stored");
    database.close().await;

    let database = Database::open(&path, Durability::Full).await.expect("opens");
    let runs = Runs::new(&database);
    assert_eq!(runs.rules(&rule.room).await.expect("answers"), std::slice::from_ref(&rule));
    assert_eq!(runs.dirty().await.expect("answers"), [(rule.room.clone(), rule.id)]);
    assert_eq!(runs.unfinished().await.expect("answers"), std::slice::from_ref(&run));
    assert_eq!(runs.log(&run.id).await.expect("answers"), b"out");
    database.close().await;
}

#[tokio::test]
async fn many_writers_of_one_key_insert_one_run() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let database = Database::open(&folder.path().join("test.db"), Durability::Full).await.expect("opens");
    let (rule, run) = a_run();
    let tries = (0..20).map(|_| {
        let runs = Runs::new(&database);
        let copy = Run::queued(&rule, run.trigger_key.clone(), &Principal::system(), 1);
        async move { runs.insert(&copy, None).await.expect("answers") }
    });
    let inserted = futures_util::future::join_all(tries).await;
    assert_eq!(inserted.into_iter().filter(|inserted| *inserted).count(), 1);
    database.close().await;
}

#[tokio::test]
async fn what_a_newer_version_wrote_is_an_error_and_no_panic() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let database = Database::open(&folder.path().join("test.db"), Durability::Full).await.expect("opens");
    let runs = Runs::new(&database);
    let (_, run) = a_run();
    assert!(runs.insert(&run, None).await.expect("stored"));
    sqlx::query("UPDATE run SET trigger_key = 'moon:full'")
        .execute(&mut *database.write().await.expect("its turn"))
        .await
        .expect("written");
    let error = runs.run(&run.room, &run.id).await.expect_err("not understood");
    assert!(error.to_string().contains("trigger_key"), "{error}");
    database.close().await;
}

#[tokio::test]
async fn a_transition_with_a_broken_step_changes_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let database = Database::open(&folder.path().join("test.db"), Durability::Full).await.expect("opens");
    let runs = Runs::new(&database);
    let (rule, run) = a_run();
    assert!(runs.insert(&run, None).await.expect("stored"));
    let other = Run::queued(&rule, TriggerKey::intent(), &Principal::system(), 1);
    assert!(runs.insert(&other, None).await.expect("stored"));
    let mut broken = run.after(Transition::Fail("no".to_owned()), 2).expect("exists");
    let mut second = broken.steps[0].clone();
    // The key of another run's step: the second row of the transaction is refused.
    second.key.clone_from(&other.steps[0].key);
    second.exit = Some(Exit::Code(0));
    broken.steps.push(second);
    assert!(runs.update(&broken).await.is_err());
    assert_eq!(runs.run(&run.room, &run.id).await.expect("answers"), Some(run));
    database.close().await;
}

fn a_run() -> (Rule, Run) {
    let rule = Rule {
        id: RuleId::random(),
        room: RoomId::random(),
        name: "Tests".to_owned(),
        globs: vec!["**/*.py".to_owned()],
        skill: "test.run".to_owned(),
        enabled: true,
        secrets: Vec::new(),
    };
    let run = Run::queued(&rule, TriggerKey::Text("00".to_owned()), &Principal::system(), 1);
    (rule, run)
}
