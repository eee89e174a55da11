//! What every [`RunStore`] must do, every [`crate::ports::SecretStore`] ([`secret_store`]) and every
//! [`crate::ports::RecordingStore`] ([`recording_store`]), and all [`crate::ports::Sandboxes`] ([`mod@sandboxes`]). The in-memory ones and the real ones
//! both run these.
//!
//! Each rule uses rooms of its own, so one store serves them all. It panics with what was expected.

use buildspaces_kernel::ids::{PrincipalId, RoomId, RuleId, RunId};
use buildspaces_policy::{Principal, PrincipalKind};

use crate::log::{MAX_LOG_BYTES, TRUNCATED};
use crate::ports::{Exit, Fetch, KEPT_RUNS, RunStore};
use crate::rule::Rule;
use crate::run::{Run, RunState, Transition};
use crate::secret::SecretName;
use crate::trigger::TriggerKey;

mod recordings;
pub mod sandboxes;
mod secrets;

pub use recordings::recording_store;
pub use sandboxes::sandboxes;
pub use secrets::secret_store;

/// Runs the whole suite on an empty store.
///
/// # Panics
/// When the store breaks the contract.
pub async fn run_store(store: &dyn RunStore) {
    rules_come_back_in_order(store).await;
    dirty_rules_are_remembered(store).await;
    a_run_comes_back_as_it_was_at_every_transition(store).await;
    a_key_is_held_by_one_run_of_a_rule(store).await;
    a_run_without_a_result_frees_its_key(store).await;
    an_update_needs_the_revision_before_it(store).await;
    an_update_to_a_taken_key_changes_nothing(store).await;
    runs_are_listed_newest_first_and_by_room(store).await;
    old_finished_runs_are_removed(store).await;
    logs_are_kept_up_to_a_bound(store).await;
    a_new_run_takes_the_place_of_an_older_one(store).await;
    unfinished_runs_are_listed_oldest_first(store).await;
    what_is_fetched_is_remembered_until_it_is_there(store).await;
}

async fn what_is_fetched_is_remembered_until_it_is_there(store: &dyn RunStore) {
    let (room, other) = (RoomId::random(), RoomId::random());
    let under_way = Fetch { url: "https://git.example/a.git".to_owned(), failure: None };
    let failed = Fetch { failure: Some("It cannot be reached ✓.".to_owned()), ..under_way.clone() };
    assert_eq!(store.fetches().await.expect("answers"), []);
    store.set_fetch(&other, Some(&under_way)).await.expect("stored");
    for fetch in [&under_way, &failed, &under_way] {
        store.set_fetch(&room, Some(fetch)).await.expect("stored");
        let mut all = store.fetches().await.expect("answers");
        all.retain(|(whose, _)| *whose == room);
        assert_eq!(all, [(room.clone(), fetch.clone())]);
    }
    for _ in 0..2 {
        store.set_fetch(&room, None).await.expect("forgotten");
    }
    assert_eq!(store.fetches().await.expect("answers"), [(other, under_way)]);
}

async fn rules_come_back_in_order(store: &dyn RunStore) {
    let room = RoomId::random();
    assert_eq!(store.rules(&room).await.expect("answers"), []);
    let mut rules: Vec<Rule> = (0..3).map(|_| rule(&room)).collect();
    for rule in &rules {
        store.insert_rule(rule).await.expect("stored");
    }
    store.insert_rule(&rule(&RoomId::random())).await.expect("stored");
    assert_eq!(store.rules(&room).await.expect("answers"), rules);
    rules[1].enabled = false;
    rules[1].globs = vec!["**/*.js".to_owned(), "a, \"b\"".to_owned()];
    rules[1].secrets = ["A", "B"].map(|name| SecretName::parse(name).expect("valid")).to_vec();
    store.insert_rule(&rules[1]).await.expect("replaced");
    assert_eq!(store.rules(&room).await.expect("answers"), rules);
}

async fn dirty_rules_are_remembered(store: &dyn RunStore) {
    let rule = stored_rule(store).await;
    let entry = (rule.room.clone(), rule.id.clone());
    let is_dirty = async || store.dirty().await.expect("answers").contains(&entry);
    assert!(!is_dirty().await);
    store.set_dirty(&rule.room, &rule.id, Some(5)).await.expect("stored");
    assert!(is_dirty().await);
    store.insert_rule(&rule).await.expect("replaced");
    assert!(is_dirty().await, "replacing a rule leaves it dirty");
    store.set_dirty(&rule.room, &rule.id, None).await.expect("stored");
    assert!(!is_dirty().await);
}

async fn a_run_comes_back_as_it_was_at_every_transition(store: &dyn RunStore) {
    let rule = stored_rule(store).await;
    let exits = [
        Exit::Code(-1),
        Exit::Signal(9),
        Exit::TimedOut,
        Exit::OutOfMemory,
        Exit::NotStarted("\"é\"\n".to_owned()),
        Exit::OverLimit("é".to_owned()),
    ];
    for exit in exits {
        let mut run = Run::queued(&rule, TriggerKey::intent(), &ann(), 1000);
        assert!(store.insert(&run, None).await.expect("stored"));
        for transition in [start(run.id.clone().as_str()), Transition::Exited(exit)] {
            assert_eq!(store.run(&rule.room, &run.id).await.expect("answers").as_ref(), Some(&run));
            run = run.after(transition, 2000).expect("exists");
            run.image = Some("sha256:0011".to_owned());
            assert!(store.update(&run).await.expect("stored"));
        }
        assert_eq!(store.run(&rule.room, &run.id).await.expect("answers"), Some(run.clone()));
        assert_eq!(store.run(&RoomId::random(), &run.id).await.expect("answers"), None, "of another room");
    }
    assert_eq!(store.run(&rule.room, &RunId::random()).await.expect("answers"), None);
}

async fn a_key_is_held_by_one_run_of_a_rule(store: &dyn RunStore) {
    let rule = stored_rule(store).await;
    let other = self::rule(&rule.room);
    store.insert_rule(&other).await.expect("stored");
    assert!(insert(store, &rule, "a").await.is_some());
    assert!(insert(store, &rule, "a").await.is_none(), "the same text again");
    assert!(insert(store, &rule, "b").await.is_some(), "another text");
    assert!(insert(store, &other, "a").await.is_some(), "another rule");
    assert_eq!(store.runs(&rule.room, 10).await.expect("answers").len(), 3);
}

async fn a_run_without_a_result_frees_its_key(store: &dyn RunStore) {
    let rule = stored_rule(store).await;
    let ends = [
        (Transition::Exited(Exit::Code(0)), false),
        (Transition::Exited(Exit::Code(1)), false),
        (Transition::Interrupt("gone".to_owned()), true),
        (Transition::Cancel { by: "Ann".to_owned() }, true),
        (Transition::Fail("no tests".to_owned()), true),
    ];
    for (at, (end, frees)) in ends.into_iter().enumerate() {
        let key = format!("key{at}");
        let run = insert(store, &rule, &key).await.expect("free");
        let run = update(store, &run, start(&key)).await;
        assert!(insert(store, &rule, &key).await.is_none(), "it runs");
        update(store, &run, end.clone()).await;
        assert_eq!(insert(store, &rule, &key).await.is_some(), frees, "{end:?}");
    }
    let run = insert(store, &rule, "s").await.expect("free");
    update(store, &run, Transition::Supersede("newer".to_owned())).await;
    assert!(insert(store, &rule, "s").await.is_some());
}

async fn an_update_needs_the_revision_before_it(store: &dyn RunStore) {
    let rule = stored_rule(store).await;
    let run = insert(store, &rule, "a").await.expect("free");
    let one = run.after(start("a"), 1).expect("exists");
    let two = run.after(Transition::Cancel { by: "Ann".to_owned() }, 1).expect("exists");
    assert!(store.update(&one).await.expect("stored"));
    assert!(!store.update(&two).await.expect("answers"), "somebody else was first");
    assert!(!store.update(&one).await.expect("answers"), "twice");
    let unknown = Run { id: RunId::random(), ..two };
    assert!(!store.update(&unknown).await.expect("answers"), "never inserted");
    assert_eq!(store.run(&rule.room, &run.id).await.expect("answers"), Some(one));
}

async fn an_update_to_a_taken_key_changes_nothing(store: &dyn RunStore) {
    let rule = stored_rule(store).await;
    let first = insert(store, &rule, "a").await.expect("free");
    update(store, &first, start("a")).await;
    let second = insert(store, &rule, "b").await.expect("free");
    let start = second.after(start("a"), 1).expect("exists");
    assert!(!store.update(&start).await.expect("answers"));
    assert_eq!(store.run(&rule.room, &second.id).await.expect("answers").as_ref(), Some(&second));
    // It can still be superseded, because then it holds no key.
    update(store, &second, Transition::Supersede("the same".to_owned())).await;
}

async fn a_new_run_takes_the_place_of_an_older_one(store: &dyn RunStore) {
    let rule = stored_rule(store).await;
    let older = insert(store, &rule, "a").await.expect("free");
    let superseded = older.after(Transition::Supersede("newer".to_owned()), 2000).expect("exists");
    let queued = |key: &str| Run::queued(&rule, TriggerKey::Text(key.to_owned()), &ann(), 3000);
    let found = async |run: &Run| store.run(&rule.room, &run.id).await.expect("answers");

    assert!(!store.insert(&queued("a"), Some(&superseded)).await.expect("answers"), "the older one holds the key");
    assert_eq!(found(&older).await, Some(older.clone()));

    let newer = queued("b");
    assert!(store.insert(&newer, Some(&superseded)).await.expect("stored"));
    assert_eq!(found(&older).await, Some(superseded.clone()));
    assert_eq!(found(&newer).await, Some(newer));

    let started = insert(store, &rule, "c").await.expect("free");
    let late = started.after(Transition::Supersede("newer".to_owned()), 2000).expect("exists");
    let started = update(store, &started, start("c")).await;
    assert!(store.insert(&queued("d"), Some(&late)).await.expect("stored"), "somebody was first with the older one");
    assert_eq!(found(&started).await, Some(started.clone()));
}

async fn runs_are_listed_newest_first_and_by_room(store: &dyn RunStore) {
    let rule = stored_rule(store).await;
    let mut ids = Vec::new();
    for at in [10, 20, 20] {
        let run = Run::queued(&rule, TriggerKey::intent(), &ann(), at);
        assert!(store.insert(&run, None).await.expect("stored"));
        ids.insert(0, run.id);
    }
    insert(store, &stored_rule(store).await, "elsewhere").await;
    let listed = async |limit| -> Vec<RunId> {
        store.runs(&rule.room, limit).await.expect("answers").into_iter().map(|run| run.id).collect()
    };
    assert_eq!(listed(10).await, ids);
    assert_eq!(listed(2).await, ids[..2]);
}

async fn old_finished_runs_are_removed(store: &dyn RunStore) {
    let rule = stored_rule(store).await;
    let waiting = insert(store, &rule, "waiting").await.expect("free");
    let oldest = insert(store, &rule, "oldest").await.expect("free");
    store.append_log(&oldest.id, b"old", 3).await.expect("stored");
    update(store, &oldest, Transition::Fail("no tests".to_owned())).await;
    for at in 0..i64::from(KEPT_RUNS) {
        let run = Run::queued(&rule, TriggerKey::intent(), &ann(), 10_000 + at);
        assert!(store.insert(&run, None).await.expect("stored"));
    }
    assert_eq!(store.run(&rule.room, &oldest.id).await.expect("answers"), None);
    assert_eq!(store.log(&oldest.id).await.expect("answers"), b"");
    assert_eq!(store.run(&rule.room, &waiting.id).await.expect("answers"), Some(waiting), "it has not ended");
}

async fn logs_are_kept_up_to_a_bound(store: &dyn RunStore) {
    let rule = stored_rule(store).await;
    let run = insert(store, &rule, "a").await.expect("free");
    assert_eq!(store.log(&run.id).await.expect("answers"), b"");
    assert_eq!(store.seen(&run.id).await.expect("answers"), 0);
    store.append_log(&run.id, b"one\xff\n", 5).await.expect("stored");
    store.append_log(&run.id, b"", 9).await.expect("stored");
    assert_eq!(store.seen(&run.id).await.expect("answers"), 9);
    store.append_log(&run.id, b"two\n", 40).await.expect("stored");
    assert_eq!(store.log(&run.id).await.expect("answers"), b"one\xff\ntwo\n");
    assert_eq!(store.seen(&run.id).await.expect("answers"), 40);

    let run = insert(store, &rule, "b").await.expect("free");
    let half = vec![b'x'; usize::try_from(MAX_LOG_BYTES / 2 + 1).expect("small")];
    for part in 1..=4 {
        store.append_log(&run.id, &half, part).await.expect("stored");
    }
    assert_eq!(store.seen(&run.id).await.expect("answers"), 4, "counted although nothing more is kept");
    let log = store.log(&run.id).await.expect("answers");
    assert_eq!(log.len() as u64, MAX_LOG_BYTES + TRUNCATED.len() as u64);
    assert!(log.ends_with(TRUNCATED));
}

async fn unfinished_runs_are_listed_oldest_first(store: &dyn RunStore) {
    let rule = stored_rule(store).await;
    let mut expected = Vec::new();
    for (at, key) in [(300, "c"), (100, "a"), (200, "b")] {
        let run = Run::queued(&rule, TriggerKey::Text(key.to_owned()), &ann(), at);
        assert!(store.insert(&run, None).await.expect("stored"));
        expected.push(run);
    }
    expected.sort_by_key(|run| run.queued_at);
    expected[1] = update(store, &expected[1], start("b")).await;
    let ended = update(store, &expected.remove(2), Transition::Fail("no".to_owned())).await;
    assert_eq!(ended.state, RunState::Error);
    let unfinished: Vec<Run> =
        store.unfinished().await.expect("answers").into_iter().filter(|run| run.room == rule.room).collect();
    assert_eq!(unfinished, expected);
}

fn rule(room: &RoomId) -> Rule {
    Rule {
        id: RuleId::random(),
        room: room.clone(),
        name: "Tests ✓".to_owned(),
        globs: vec!["**/*.py".to_owned()],
        skill: "test.run".to_owned(),
        enabled: true,
        secrets: Vec::new(),
    }
}

/// A stored rule in a room of its own.
async fn stored_rule(store: &dyn RunStore) -> Rule {
    let rule = rule(&RoomId::random());
    store.insert_rule(&rule).await.expect("stored");
    rule
}

async fn insert(store: &dyn RunStore, rule: &Rule, key: &str) -> Option<Run> {
    let run = Run::queued(rule, TriggerKey::Text(key.to_owned()), &ann(), 1000);
    store.insert(&run, None).await.expect("answers").then_some(run)
}

async fn update(store: &dyn RunStore, run: &Run, transition: Transition) -> Run {
    let next = run.after(transition, 2000).expect("exists");
    assert!(store.update(&next).await.expect("stored"));
    next
}

fn start(key: &str) -> Transition {
    Transition::Start {
        trigger_key: TriggerKey::Text(key.to_owned()),
        content_hash: "00ff".to_owned(),
        command: "make 'test'".to_owned(),
        argv: vec!["make".to_owned(), "'test'".to_owned()],
    }
}

fn ann() -> Principal {
    let id = PrincipalId::parse("ann").expect("valid");
    Principal { id, kind: PrincipalKind::Person, name: "Ann".into() }
}
