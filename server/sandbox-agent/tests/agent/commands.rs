//! Commands: short programs beside steps and terminals, each on a connection of its own, with which it ends.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use buildspaces_sandbox_agent::protocol::{Event, Exit, Frame, Line, Output, Request};

use crate::harness::{Agent, PATIENCE, Server, is_alive, key};

/// A command under way.
fn run(agent: &Agent, name: &str, script: &str) -> Server {
    let mut server = agent.welcome(Line::Command);
    ask(&mut server, name, &["sh", "-c", script]);
    assert_eq!(server.next(), Frame::Control(Event::Started { key: key(name) }));
    server
}

fn ask(server: &mut Server, name: &str, argv: &[&str]) {
    server.send(&Request::Run {
        key: key(name),
        argv: argv.iter().map(|&s| s.to_owned()).collect(),
        cwd: "/".to_owned(),
        env: BTreeMap::from([("GREETING".to_owned(), "hello".to_owned())]),
    });
}

/// All it prints from here on, its end, and the end of its complaints.
fn finish(server: &mut Server) -> (Vec<u8>, Exit, String) {
    let mut printed = Vec::new();
    loop {
        match server.next() {
            Frame::Output(Output { offset, bytes, .. }) => {
                assert_eq!(offset, printed.len() as u64);
                printed.extend(bytes);
            }
            Frame::Control(Event::Finished { exit, errors }) => return (printed, exit, errors),
            other => panic!("not expected: {other:?}"),
        }
    }
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn output_and_errors_come_apart_and_the_end_is_true() {
    let agent = Agent::new();
    let mut command = run(&agent, "a", r#"printf 'a\0b'; echo "$GREETING $BUILDSPACES_AGENT_TOKEN" >&2; exit 3"#);
    assert_eq!(finish(&mut command), (b"a\0b".to_vec(), Exit::Code(3), "hello \n".to_owned()));
    assert_eq!(command.try_next(), None, "the connection was this command's");

    let mut killed = run(&agent, "b", "kill -9 $$");
    assert_eq!(finish(&mut killed), (Vec::new(), Exit::Code(128 + 9), String::new()));

    let mut server = agent.welcome(Line::Command);
    ask(&mut server, "c", &["there-is-no-such-program"]);
    assert_eq!(server.next(), Frame::Control(Event::Started { key: key("c") }));
    let (_, exit, errors) = finish(&mut server);
    assert_eq!(exit, Exit::Code(127));
    assert!(errors.starts_with("there-is-no-such-program cannot be started"), "{errors}");
}

#[test]
fn much_output_arrives_whole_and_of_many_complaints_the_end() {
    let agent = Agent::new();
    let mut command = run(&agent, "a", "yes | head -c 3000000; seq 1 100000 >&2");
    let (printed, exit, errors) = finish(&mut command);
    assert_eq!((printed.len(), exit), (3_000_000, Exit::Code(0)));
    assert!(errors.len() <= 8 << 10 && errors.ends_with("\n99999\n100000\n"), "{} bytes", errors.len());
}

#[test]
fn a_command_runs_beside_a_step_and_each_ends_alone() {
    let agent = Agent::new();
    let mut steps = agent.connect();
    steps.start("step", "sleep 900");
    let mut long = run(&agent, "a", "echo $$; exec sleep 901");
    let Frame::Output(Output { bytes, .. }) = long.next() else { panic!("no process id") };
    let pid = String::from_utf8(bytes).expect("text").trim().to_owned();
    assert_eq!(finish(&mut run(&agent, "b", "echo beside")).0, b"beside\n");
    steps.send(&Request::Cancel { key: key("step") });
    assert_eq!(steps.finish().1, Exit::Cancelled);
    assert!(is_alive(&pid), "a step's end is not a command's");
    drop(long);
    until("the command ends with its connection", || !is_alive(&pid));
}

#[test]
fn nothing_is_left_of_a_command() {
    let agent = Agent::new();
    let mut command = run(&agent, "a", "setsid sh -c 'echo $$; exec sleep 902' & sleep 0.2; exit 0");
    let Frame::Output(Output { bytes, .. }) = command.next() else { panic!("no process id") };
    let pid = String::from_utf8(bytes).expect("text").trim().to_owned();
    assert_eq!(finish(&mut command).1, Exit::Code(0));
    assert!(!is_alive(&pid));
}

#[test]
fn what_is_ended_early_may_tidy_up_first_and_is_killed_if_it_takes_too_long() {
    let agent = Agent::new();
    let file = agent.path().join("lock");
    let script =
        format!("touch {0}; trap 'rm {0}; exit' TERM; echo ready; while :; do sleep 0.05; done", file.display());
    let mut tidy = run(&agent, "a", &script);
    assert!(matches!(tidy.next(), Frame::Output(_)));
    assert!(file.exists());
    drop(tidy);
    until("it took its file away", || !file.exists());

    let mut stubborn = run(&agent, "b", "trap '' TERM; echo $$; while :; do sleep 0.05; done");
    let Frame::Output(Output { bytes, .. }) = stubborn.next() else { panic!("no process id") };
    let pid = String::from_utf8(bytes).expect("text").trim().to_owned();
    drop(stubborn);
    until("it is killed", || !is_alive(&pid));
}

#[test]
fn more_than_a_few_at_once_are_refused_until_one_has_ended() {
    let agent = Agent::new();
    let begin = |n: usize| {
        let mut server = run(&agent, &format!("r{n}"), "echo $$; exec sleep 903");
        let Frame::Output(Output { bytes, .. }) = server.next() else { panic!("no process id") };
        (server, String::from_utf8(bytes).expect("text").trim().to_owned())
    };
    let mut running: Vec<(Server, String)> = (0..4).map(begin).collect();
    let pids: Vec<String> = running.iter().map(|(_, pid)| pid.clone()).collect();
    let mut server = agent.welcome(Line::Command);
    ask(&mut server, "a", &["true"]);
    assert!(matches!(server.next(), Frame::Control(Event::Rejected { .. })));
    running.pop();
    until("a place becomes free", || {
        ask(&mut server, "a", &["true"]);
        matches!(server.next(), Frame::Control(Event::Started { .. }))
    });
    assert_eq!(finish(&mut server).1, Exit::Code(0));
    drop(running);
    until("all have ended", || pids.iter().all(|pid| !is_alive(pid)));
}
