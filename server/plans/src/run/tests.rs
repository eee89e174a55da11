//! Every transition in every state, and the stored and shown JSON.

use buildspaces_kernel::ids::{PrincipalId, RuleId};
use expect_test::{Expect, expect};

use super::*;

fn run() -> Run {
    let rule = Rule {
        id: RuleId::parse("rule1").expect("valid"),
        room: RoomId::parse("room1").expect("valid"),
        name: "Tests".to_owned(),
        globs: vec!["**/*.py".to_owned()],
        skill: "test.run".to_owned(),
        enabled: true,
        secrets: Vec::new(),
    };
    let mut run = Run::queued(&rule, TriggerKey::Text("00ff".to_owned()), &Principal::system(), 1000);
    run.id = RunId::parse("run1").expect("valid");
    run.steps[0].key = "run1-test".to_owned();
    run.requested_by = PrincipalId::parse("ann1").expect("valid");
    run.requested_by_name = "Ann".to_owned();
    run
}

fn start() -> Transition {
    Transition::Start {
        trigger_key: TriggerKey::Text("11ff".to_owned()),
        content_hash: "22ff".to_owned(),
        command: "python3 -m unittest".to_owned(),
        argv: vec!["python3".to_owned(), "-m".to_owned(), "unittest".to_owned()],
    }
}

fn running() -> Run {
    run().after(start(), 2000).expect("queued runs start")
}

#[test]
fn only_transitions_that_make_sense_exist() {
    let transitions = [
        ("start", start()),
        ("exited", Transition::Exited(Exit::Code(0))),
        ("interrupt", Transition::Interrupt("gone".to_owned())),
        ("cancel", Transition::Cancel { by: "Ann".to_owned() }),
        ("fail", Transition::Fail("no tests".to_owned())),
        ("supersede", Transition::Supersede("newer".to_owned())),
    ];
    let mut table = String::new();
    for state in RunState::ALL {
        for (name, transition) in &transitions {
            let from = Run { state, ..running() };
            if let Ok(to) = from.after(transition.clone(), 3000) {
                assert_eq!(to.rev, from.rev + 1);
                assert_eq!(to.finished_at.is_some(), to.state.is_final());
                table.push_str(&format!("{} {name} {}\n", state.as_str(), to.state.as_str()));
            }
        }
    }
    expect![[r#"
        queued start running
        queued cancel cancelled
        queued fail error
        queued supersede superseded
        running exited passed
        running interrupt interrupted
        running cancel cancelled
        running fail error
    "#]]
    .assert_eq(&table);
}

#[test]
fn the_end_of_the_step_decides_the_run() {
    let exits = [
        Exit::Code(0),
        Exit::Code(1),
        Exit::Signal(9),
        Exit::TimedOut,
        Exit::Cancelled,
        Exit::NotStarted("cargo: not found".to_owned()),
        Exit::OutOfMemory,
        Exit::OverLimit("The program printed too much.".to_owned()),
    ];
    let mut table = String::new();
    for exit in exits {
        let run = running().after(Transition::Exited(exit), 3000).expect("running runs end");
        let code = run.summary().exit_code;
        table.push_str(&format!(
            "{} {} {code:?} {}\n",
            run.state.as_str(),
            run.step().state.as_str(),
            run.message.unwrap_or_default()
        ));
    }
    expect![[r#"
        passed succeeded Some(0) 
        failed failed Some(1) 
        failed failed None The program was ended by signal 9.
        failed failed None The program took too long and was stopped. Look for a test that waits for something.
        cancelled cancelled None Cancelled.
        error failed None The program could not be started: cargo: not found
        failed failed None The program used more memory than its sandbox has and was stopped.
        failed failed None The program printed too much.
    "#]]
    .assert_eq(&table);
}

#[test]
fn a_run_that_never_started_skipped_its_step() {
    let run = run().after(Transition::Cancel { by: "Ann".to_owned() }, 3000).expect("queued runs can be cancelled");
    assert_eq!(run.step().state, StepState::Skipped);
    assert_eq!(run.message.as_deref(), Some("Cancelled by Ann."));
}

#[test]
fn names_of_states_survive_storage() {
    for state in RunState::ALL {
        assert_eq!(RunState::parse(state.as_str()), Some(state));
        assert_eq!(serde_json::to_value(state).expect("serializable"), state.as_str());
    }
    for state in StepState::ALL {
        assert_eq!(StepState::parse(state.as_str()), Some(state));
        assert_eq!(serde_json::to_value(state).expect("serializable"), state.as_str());
    }
    assert_eq!(RunState::parse("done"), None);
}

#[test]
fn the_shown_form_of_a_run() {
    json(
        &run().summary(),
        expect![[r#"
            {
              "id": "run1",
              "rule": "rule1",
              "rule_name": "Tests",
              "skill": "test.run",
              "trigger": "text",
              "state": "queued",
              "command": null,
              "requested_by": "ann1",
              "requested_by_name": "Ann",
              "queued_at": 1000,
              "started_at": null,
              "finished_at": null,
              "exit_code": null,
              "message": null,
              "content_hash": null,
              "image": null,
              "rev": 1
            }"#]],
    );
    let ended = running().after(Transition::Exited(Exit::Code(1)), 3000).expect("running runs end");
    json(
        &ended.summary(),
        expect![[r#"
            {
              "id": "run1",
              "rule": "rule1",
              "rule_name": "Tests",
              "skill": "test.run",
              "trigger": "text",
              "state": "failed",
              "command": "python3 -m unittest",
              "requested_by": "ann1",
              "requested_by_name": "Ann",
              "queued_at": 1000,
              "started_at": 2000,
              "finished_at": 3000,
              "exit_code": 1,
              "message": null,
              "content_hash": "22ff",
              "image": null,
              "rev": 3
            }"#]],
    );
}

#[test]
fn the_stored_form_of_a_step() {
    let ended = running().after(Transition::Exited(Exit::Signal(9)), 3000).expect("running runs end");
    json(
        ended.step(),
        expect![[r#"
        {
          "id": "test",
          "key": "run1-test",
          "state": "failed",
          "command": "python3 -m unittest",
          "argv": [
            "python3",
            "-m",
            "unittest"
          ],
          "exit": {
            "signal": 9
          },
          "started_at": 2000,
          "finished_at": 3000
        }"#]],
    );
}

fn json(value: &impl Serialize, expected: Expect) {
    expected.assert_eq(&serde_json::to_string_pretty(value).expect("serializable"));
}
