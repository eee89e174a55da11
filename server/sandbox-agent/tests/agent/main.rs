//! The agent as a program, on a Unix socket, without a container: the test plays the server.

use std::time::{Duration, Instant};

use buildspaces_sandbox_agent::protocol::{Event, Exit, Frame, Output, Request, TOKEN_VARIABLE};

use harness::{Agent, PATIENCE, Server, is_alive, key};

mod commands;
mod harness;
mod ports;
mod secrets;
mod terminals;

#[test]
fn output_comes_in_order_and_the_exit_code_is_the_programs() {
    let agent = Agent::new();
    let mut server = agent.connect();
    server.start("a", "echo $GREETING; echo two >&2; echo three; exit 7");
    assert_eq!(server.finish(), ("hello\ntwo\nthree\n".to_owned(), Exit::Code(7)));
    server.start("b", "kill -KILL $$");
    assert_eq!(server.finish(), (String::new(), Exit::Signal(9)));
}

#[test]
fn a_program_that_is_not_there_gives_its_reason_and_leaves_the_agent_well() {
    let agent = Agent::new();
    let mut server = agent.connect();
    for name in ["a", "b", "c"] {
        server.start_with(name, &["no-such-program"], PATIENCE);
        assert_eq!(server.next(), Frame::Control(Event::Started { key: key(name) }));
        server.send(&Request::Attach { key: key(name), from_offset: 0 });
        let (_, exit) = server.finish();
        assert_eq!(exit, Exit::NotStarted("there is no program no-such-program in the sandbox".to_owned()));
    }
    server.start("d", "echo well");
    assert_eq!(server.finish(), ("well\n".to_owned(), Exit::Code(0)));
}

#[test]
fn the_same_key_never_starts_a_second_program() {
    let agent = Agent::new();
    let mut server = agent.connect();
    let script = format!("echo ran >> {}/count", agent.path().display());
    server.start("a", &script);
    assert_eq!(server.finish().1, Exit::Code(0));
    server.start("a", &script);
    assert_eq!(server.finish().1, Exit::Code(0));
    assert_eq!(std::fs::read_to_string(agent.path().join("count")).expect("written"), "ran\n");
}

#[test]
fn one_step_runs_at_a_time() {
    let agent = Agent::new();
    let mut server = agent.connect();
    server.start("a", "sleep 600");
    server.start_with("b", &["true"], PATIENCE);
    let Frame::Control(Event::Rejected { key: rejected, .. }) = server.next() else { panic!("not rejected") };
    assert_eq!(rejected, key("b"));
    server.send(&Request::List);
    let Frame::Control(Event::Steps { steps }) = server.next() else { panic!("no list") };
    assert_eq!(steps.len(), 1);
    assert!(steps[0].running);
    server.send(&Request::Cancel { key: key("a") });
    assert_eq!(server.finish().1, Exit::Cancelled);
}

#[test]
fn cancelling_kills_grandchildren_and_those_that_left_the_group() {
    let agent = Agent::new();
    let mut server = agent.connect();
    server.start("a", "sleep 601 & echo $!; setsid sleep 602 & echo $!; echo ready; sleep 603");
    let seen = server.read_until("ready");
    let pids: Vec<&str> = seen.lines().take(2).collect();
    assert!(pids.iter().all(|pid| is_alive(pid)));
    let asked = Instant::now();
    server.send(&Request::Cancel { key: key("a") });
    assert_eq!(server.finish().1, Exit::Cancelled);
    assert!(asked.elapsed() < Duration::from_secs(3), "SIGTERM was enough");
    assert!(!pids.iter().any(|pid| is_alive(pid)), "nothing of the step is left");
}

#[test]
fn a_program_that_ignores_sigterm_is_killed() {
    let agent = Agent::new();
    let mut server = agent.connect();
    server.start("a", "trap '' TERM; echo ready; while :; do sleep 604; done");
    server.read_until("ready");
    server.send(&Request::Cancel { key: key("a") });
    assert_eq!(server.finish().1, Exit::Cancelled);
}

#[test]
fn nothing_outlives_a_step_that_ends_by_itself() {
    let agent = Agent::new();
    let mut server = agent.connect();
    server.start("a", "setsid sh -c 'setsid sleep 605 & echo $!' ; sleep 0.05");
    let (seen, exit) = server.finish();
    assert_eq!(exit, Exit::Code(0));
    assert!(!is_alive(seen.trim()), "the daemon is gone");
}

#[test]
fn a_step_that_takes_too_long_is_ended() {
    let agent = Agent::new();
    let mut server = agent.connect();
    server.start_with("a", &["sleep", "606"], Duration::from_millis(50));
    assert_eq!(server.next(), Frame::Control(Event::Started { key: key("a") }));
    server.send(&Request::Attach { key: key("a"), from_offset: 0 });
    assert_eq!(server.finish().1, Exit::TimedOut);
}

#[test]
fn a_server_that_was_away_gets_the_missing_output_and_the_true_exit() {
    let mut agent = Agent::new();
    let mut server = agent.connect();
    let go = agent.path().join("go");
    server.start("a", &format!("echo one; while [ ! -e {} ]; do sleep 0.01; done; echo two; exit 3", go.display()));
    assert_eq!(server.read_until("one\n"), "one\n");
    drop(server);
    agent.server_goes_away();
    std::fs::write(go, "").expect("a file");
    agent.server_comes_back();
    let mut server = agent.connect();
    server.send(&Request::Attach { key: key("a"), from_offset: 4 });
    assert_eq!(server.finish(), ("two\n".to_owned(), Exit::Code(3)));
    server.send(&Request::Attach { key: key("b"), from_offset: 0 });
    assert_eq!(server.next(), Frame::Control(Event::Unknown { key: key("b") }));
}

/// Reads a step's output to its end: how much was dropped, where it ended, its last bytes, and the exit.
fn read_to_the_end(server: &mut Server) -> (u64, u64, Vec<u8>, Exit) {
    let (mut expected, mut dropped, mut last) = (0, 0, Vec::new());
    loop {
        match server.next() {
            Frame::Output(Output { offset, bytes, .. }) => {
                dropped += offset - expected;
                expected = offset + bytes.len() as u64;
                last.extend_from_slice(&bytes);
                last.drain(..last.len().saturating_sub(5));
            }
            Frame::Control(Event::Exited { exit, .. }) => return (dropped, expected, last, exit),
            other => panic!("not expected: {other:?}"),
        }
    }
}

#[test]
fn a_program_waits_for_a_server_that_reads_slowly_and_nothing_is_lost() {
    let agent = Agent::new();
    let mut server = agent.connect();
    let (begun, done) = (agent.path().join("begun"), agent.path().join("done"));
    let (began, ended) = (begun.display(), done.display());
    server.start("a", &format!("touch {began}; head -c 8000000 /dev/zero; touch {ended}; echo; echo end"));
    wait_for(&begun);
    // Time to go on, for a program that nothing holds back. What is counted below does not depend on it.
    std::thread::sleep(Duration::from_millis(300));
    assert!(!done.exists(), "more was taken from the program than fits between it and the server");
    assert_eq!(read_to_the_end(&mut server), (0, 8_000_005, b"\nend\n".to_vec(), Exit::Code(0)));
}

#[test]
fn a_program_does_not_wait_for_a_server_that_is_away() {
    let mut agent = Agent::new();
    let mut server = agent.connect();
    let (begun, done) = (agent.path().join("begun"), agent.path().join("done"));
    let (began, ended) = (begun.display(), done.display());
    server.start("a", &format!("touch {began}; head -c 8000000 /dev/zero; echo; echo end; touch {ended}"));
    wait_for(&begun);
    drop(server);
    agent.server_goes_away();
    wait_for(&done);
    agent.server_comes_back();
    let mut server = agent.connect();
    server.send(&Request::Attach { key: key("a"), from_offset: 0 });
    let (dropped, expected, last, exit) = read_to_the_end(&mut server);
    assert_eq!(expected, 8_000_005, "the offsets account for every byte");
    assert!(dropped > 0, "what did not fit was dropped");
    assert_eq!((&*last, exit), (&b"\nend\n"[..], Exit::Code(0)), "the end is kept");
}

#[test]
fn a_program_that_waits_for_a_server_can_be_cancelled() {
    let agent = Agent::new();
    let mut server = agent.connect();
    // It ends only once all that it says when it is told to was taken.
    server.start("a", "trap 'head -c 4000000 /dev/zero; echo bye; exit 7' TERM; while :; do cat /dev/zero; done");
    let Frame::Output(_) = server.next() else { panic!("it prints") };
    server.send(&Request::Cancel { key: key("a") });
    let (_, _, last, exit) = read_to_the_end(&mut server);
    assert_eq!((&*last, exit), (&b"\0bye\n"[..], Exit::Cancelled));
}

fn wait_for(file: &std::path::Path) {
    let deadline = Instant::now() + PATIENCE;
    while !file.exists() {
        assert!(Instant::now() < deadline, "{} never came", file.display());
        std::thread::yield_now();
    }
}

#[test]
fn bytes_that_are_not_the_protocol_end_the_connection_and_nothing_else() {
    let agent = Agent::new();
    for garbage in [&b"\xff\xff\xff\xff"[..], b"GET / HTTP/1.1\r\n\r\n", b"\x02\0\0\0\x01{", b"\0\0\0\0"] {
        let mut server = agent.connect();
        server.write(garbage);
        assert_eq!(server.try_next(), None);
    }
    let mut server = agent.accept();
    server.next();
    server.send(&Request::Refused { reason: "an old protocol".to_owned() });
    assert_eq!(server.try_next(), None, "a refused agent hangs up, and dials again");
    let mut server = agent.connect();
    server.start("a", "echo well");
    assert_eq!(server.finish(), ("well\n".to_owned(), Exit::Code(0)));
}

#[test]
fn the_program_under_test_does_not_get_the_token() {
    let agent = Agent::new();
    let mut server = agent.connect();
    server.start("a", &format!("echo \"<${TOKEN_VARIABLE}>\""));
    assert_eq!(server.finish().0, "<>\n");
}
