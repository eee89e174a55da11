//! What a step is given, and that it is gone with the step.

use std::collections::BTreeMap;
use std::fs;

use buildspaces_sandbox_agent::protocol::{Event, Exit, Frame, Request, Secrets};

use crate::harness::{Agent, PATIENCE, key};

fn secrets(env: &[(&str, &str)], files: &[(&str, &str)]) -> Secrets {
    let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    Secrets { env: map(env), files: map(files) }
}

/// Starts a shell with secrets, in the folder for files.
fn run(agent: &Agent, name: &str, script: &str, secrets: Secrets) -> (String, Exit) {
    let mut server = agent.connect();
    let script = format!("cd {}; {script}", agent.path().join("secrets").display());
    server.start_given(name, &["sh", "-c", &script], PATIENCE, secrets);
    assert_eq!(server.next(), Frame::Control(Event::Started { key: key(name) }));
    server.send(&Request::Attach { key: key(name), from_offset: 0 });
    server.finish()
}

#[test]
fn a_step_has_its_secrets_and_the_next_has_not() {
    let agent = Agent::new();
    let given = secrets(&[("TOKEN", "t0ken")], &[("key", "line one\nline two")]);
    let script = "echo $TOKEN; cat key; echo; stat -c %a key; touch left; mkdir more; ln -s / more/out; ps aux | grep -c [t]0ken";
    let (text, _) = run(&agent, "a", script, given);
    assert_eq!(text, "t0ken\nline one\nline two\n400\n0\n", "and its arguments do not have them");
    assert_eq!(fs::read_dir(agent.path().join("secrets")).expect("there").count(), 0, "nothing is left");
    let (text, exit) = run(&agent, "b", "echo \"<$TOKEN>\"; ls", Secrets::default());
    assert_eq!((text.as_str(), exit), ("<>\n", Exit::Code(0)));
}

#[test]
fn files_are_gone_when_a_step_is_killed_or_cannot_start() {
    let agent = Agent::new();
    let folder = agent.path().join("secrets");
    let given = || secrets(&[], &[("key", "value")]);
    let mut server = agent.connect();
    server.start_given("a", &["sh", "-c", "echo ready; sleep 600"], PATIENCE, given());
    assert_eq!(server.next(), Frame::Control(Event::Started { key: key("a") }));
    server.send(&Request::Attach { key: key("a"), from_offset: 0 });
    server.read_until("ready");
    assert_eq!(fs::read_to_string(folder.join("key")).expect("there"), "value");
    server.send(&Request::Cancel { key: key("a") });
    assert_eq!(server.finish().1, Exit::Cancelled);
    assert!(!folder.join("key").exists());

    server.start_given("b", &["no-such-program"], PATIENCE, given());
    assert_eq!(server.next(), Frame::Control(Event::Started { key: key("b") }));
    server.send(&Request::Attach { key: key("b"), from_offset: 0 });
    assert!(matches!(server.finish().1, Exit::NotStarted(_)));
    assert!(!folder.join("key").exists());
}

#[test]
fn a_name_that_leads_elsewhere_is_refused() {
    let agent = Agent::new();
    for (at, name) in ["../out", "/tmp/x", "a/b", "", ".", ".."].into_iter().enumerate() {
        let (text, exit) = run(&agent, &format!("s{at}"), "echo ran", secrets(&[], &[(name, "value")]));
        assert!(matches!(&exit, Exit::NotStarted(reason) if !reason.contains("value")), "{name}: {exit:?}");
        assert_eq!(text, "");
    }
    assert!(!agent.path().join("out").exists());
}
