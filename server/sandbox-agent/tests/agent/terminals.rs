//! Terminals: what is typed and printed, who is killed when, and what a slow or absent server costs.

use std::collections::BTreeMap;
use std::time::Instant;

use buildspaces_sandbox_agent::protocol::{
    Event, Exit, Frame, INPUT_WINDOW, Output, Request, Size, TOKEN_VARIABLE, encode_input,
};

use crate::harness::{Agent, PATIENCE, Server, is_alive, key};

const SIZE: Size = Size { rows: 24, cols: 80 };

/// The server's end of one terminal.
struct Terminal {
    server: Server,
    seen: String,
    /// Bytes printed so far.
    offset: u64,
    /// Bytes of output that were dropped.
    dropped: u64,
    taken: u64,
}

fn open(agent: &Agent, name: &str, script: &str) -> Terminal {
    let mut server = agent.line();
    server.send(&Request::Open {
        key: key(name),
        argv: ["sh", "-c", script].map(str::to_owned).to_vec(),
        cwd: "/".to_owned(),
        env: BTreeMap::from([("TERM".to_owned(), "xterm-256color".to_owned()), ("PS1".to_owned(), "$ ".to_owned())]),
        unset: vec!["PATH_THAT_IS_NOT_SET".to_owned()],
        size: SIZE,
    });
    assert_eq!(server.next(), Frame::Control(Event::Opened { key: key(name) }));
    Terminal { server, seen: String::new(), offset: 0, dropped: 0, taken: 0 }
}

fn resume(agent: &Agent, name: &str, from_offset: u64) -> Terminal {
    let mut server = agent.line();
    server.send(&Request::Resume { key: key(name), from_offset });
    assert_eq!(server.next(), Frame::Control(Event::Opened { key: key(name) }));
    Terminal { server, seen: String::new(), offset: from_offset, dropped: 0, taken: 0 }
}

impl Terminal {
    fn type_in(&mut self, text: &str) {
        self.server.write(&encode_input(text.as_bytes()).expect("short"));
    }

    /// One more frame; its exit if it was the last.
    fn read(&mut self) -> Option<Exit> {
        match self.server.next() {
            Frame::Output(Output { offset, bytes, .. }) => {
                self.dropped += offset - self.offset;
                self.offset = offset + bytes.len() as u64;
                self.seen += &String::from_utf8_lossy(&bytes);
            }
            Frame::Control(Event::Taken { bytes }) => self.taken = bytes,
            Frame::Control(Event::Ended { exit }) => return Some(exit),
            other => panic!("not expected: {other:?}"),
        }
        None
    }

    /// Reads until `text` was printed; returns everything from the last such call on.
    fn until(&mut self, text: &str) -> String {
        while !self.seen.contains(text) {
            assert_eq!(self.read(), None, "it ended after {:?}", self.seen);
        }
        std::mem::take(&mut self.seen)
    }

    fn end(mut self) -> (String, Exit) {
        loop {
            if let Some(exit) = self.read() {
                return (self.seen, exit);
            }
        }
    }
}

#[test]
fn a_shell_has_a_terminal_of_its_own_and_no_secrets() {
    let agent = Agent::new();
    let mut terminal = open(&agent, "a", "exec sh -i");
    terminal.until("$ ");
    terminal
        .type_in("test -t 0 && test -t 1 && test -t 2 && stty size; ps -o sid= -p $$ | grep -c $$; echo \"<$TERM>\"\n");
    let text = terminal.until("<xterm-256color>");
    assert!(text.contains("24 80"), "{text}");
    assert!(text.contains("\r\n1\r\n"), "the shell leads its session: {text}");
    terminal.server.send(&Request::Resize { size: Size { rows: 40, cols: 132 } });
    terminal.type_in(&format!("stty size; tr '\\0' '\\n' </proc/self/environ | grep -c {TOKEN_VARIABLE}; exit 7\n"));
    let (text, exit) = terminal.end();
    assert!(text.contains("40 132\r\n0\r\n"), "{text}");
    assert_eq!(exit, Exit::Code(7));
}

#[test]
fn the_keys_that_interrupt_reach_the_program_in_front_only() {
    let agent = Agent::new();
    let mut terminal = open(&agent, "a", "exec sh -i");
    terminal.until("$ ");
    terminal.type_in("sleep 900 & cat\n");
    terminal.type_in("echoed\n");
    terminal.until("echoed\r\nechoed");
    terminal.type_in("\x03");
    terminal.until("$ ");
    terminal.type_in("kill -0 $! && echo \"still\" there; exit\n");
    let (text, exit) = terminal.end();
    assert!(text.contains("still there"), "{text}");
    assert_eq!(exit, Exit::Code(0));
}

#[test]
fn nothing_outlives_a_terminal_however_it_ends() {
    let agent = Agent::new();
    let script =
        "setsid sh -c 'setsid sleep 801 & echo pid $!'; nohup sleep 802 >/dev/null & echo pid $!; trap '' HUP TERM;";
    for (name, rest) in
        [("closed", "echo ready; while :; do sleep 803; done"), ("ended", "echo ready; read line; exit 3")]
    {
        let mut terminal = open(&agent, name, &format!("{script} {rest}"));
        let text = terminal.until("ready");
        let pids: Vec<&str> = text.lines().filter_map(|line| line.trim().strip_prefix("pid ")).collect();
        assert_eq!(pids.len(), 2, "{text}");
        assert!(pids.iter().all(|pid| is_alive(pid)));
        if name == "closed" {
            terminal.server.send(&Request::Close);
            assert_eq!(terminal.end().1, Exit::Cancelled);
        } else {
            terminal.type_in("\n");
            assert_eq!(terminal.end().1, Exit::Code(3));
        }
        assert!(!pids.iter().any(|pid| is_alive(pid)), "nothing of the terminal is left");
    }
}

#[test]
fn the_end_of_a_step_leaves_terminals_alone_and_the_other_way_round() {
    let agent = Agent::new();
    let mut server = agent.connect();
    let mut terminal =
        open(&agent, "a", "setsid sh -c 'sleep 811 & echo pid $!'; sleep 812 & echo pid $!; echo ready; cat");
    let text = terminal.until("ready");
    let of_terminal: Vec<&str> = text.lines().filter_map(|line| line.trim().strip_prefix("pid ")).collect();

    server.start("ended", "setsid sh -c 'setsid sleep 813 & echo $!'; sleep 0.05");
    let (text, exit) = server.finish();
    assert_eq!(exit, Exit::Code(0));
    assert!(!is_alive(text.trim()), "the step's daemon is gone");
    assert!(of_terminal.iter().all(|pid| is_alive(pid)), "the terminal's are not");
    terminal.type_in("hello\n");
    terminal.until("hello\r\nhello");

    server.start("running", "setsid sleep 814 & echo pid $!; sleep 815");
    let text = server.read_until("pid ");
    terminal.server.send(&Request::Close);
    assert_eq!(terminal.end().1, Exit::Cancelled);
    assert!(!of_terminal.iter().any(|pid| is_alive(pid)));
    let of_step = text.trim().strip_prefix("pid ").expect("a number");
    assert!(is_alive(of_step), "the step goes on");
    server.send(&Request::Cancel { key: key("running") });
    assert_eq!(server.finish().1, Exit::Cancelled);
    assert!(!is_alive(of_step));
}

#[test]
fn who_kills_the_supervisor_gains_nothing() {
    let agent = Agent::new();
    let mut terminal =
        open(&agent, "a", "setsid sleep 821 & echo pid $!; echo ready; read line; kill -9 $PPID; sleep 822");
    let text = terminal.until("ready");
    let pid = text.lines().find_map(|line| line.trim().strip_prefix("pid ")).expect("a number").to_owned();
    terminal.type_in("\n");
    assert_eq!(terminal.end().1, Exit::Signal(9));
    let deadline = Instant::now() + PATIENCE;
    while is_alive(&pid) {
        assert!(Instant::now() < deadline, "an orphan is left");
        std::thread::yield_now();
    }
}

#[test]
fn a_server_that_does_not_read_slows_its_terminal_and_nothing_else() {
    let agent = Agent::new();
    let mut server = agent.connect();
    let mut stuck = open(&agent, "stuck", "yes 0123456789");
    let mut other = open(&agent, "other", "cat");
    for round in 0..20 {
        server.start(&format!("step{round}"), "echo done");
        assert_eq!(server.finish(), ("done\n".to_owned(), Exit::Code(0)));
        other.type_in(&format!("line {round}\n"));
        other.until(&format!("line {round}\r\nline {round}"));
    }
    // All that was printed arrives in order: the program waited, and nothing was dropped.
    while stuck.offset < 2_000_000 {
        stuck.read();
    }
    assert_eq!(stuck.dropped, 0);
    let whole = stuck.seen.split("\r\n").skip(1).take(10_000).all(|line| line == "0123456789");
    assert!(whole, "the lines are whole");
    stuck.server.send(&Request::Close);
    assert_eq!(stuck.end().1, Exit::Cancelled, "it can be closed however much it prints");
}

#[test]
fn a_server_that_was_away_goes_on_where_it_was() {
    let mut agent = Agent::new();
    let (go, done) = (agent.path().join("go"), agent.path().join("done"));
    let script = format!(
        "echo one; while [ ! -e {} ]; do sleep 0.01; done; echo two; touch {}; head -c 2000000 /dev/zero; echo; echo three; cat",
        go.display(),
        done.display()
    );
    let mut terminal = open(&agent, "a", &script);
    terminal.until("one\r\n");
    let offset = terminal.offset;
    drop(terminal);
    agent.server_goes_away();
    std::fs::write(&go, "").expect("a file");
    let deadline = Instant::now() + PATIENCE;
    while !done.exists() {
        assert!(Instant::now() < deadline, "without a connection the program goes on");
        std::thread::yield_now();
    }
    agent.server_comes_back();
    let mut terminal = resume(&agent, "a", offset);
    terminal.until("three\r\n");
    terminal.type_in("four\n");
    terminal.until("four\r\nfour\r\n");
    // Another connection takes it over; the old one ends.
    let mut newer = resume(&agent, "a", terminal.offset);
    while terminal.server.try_next().is_some() {}
    newer.type_in("five\n");
    newer.until("five\r\nfive\r\n");
    let mut line = agent.line();
    line.send(&Request::Resume { key: key("unknown"), from_offset: 0 });
    assert_eq!(line.next(), Frame::Control(Event::Unknown { key: key("unknown") }));
}

#[test]
fn what_is_typed_is_taken_as_fast_as_it_is_read_and_no_more() {
    let agent = Agent::new();
    let mut terminal = open(&agent, "a", "stty raw -echo; echo ready; read -r go; head -c 200000 | wc -c; echo over");
    terminal.until("ready");
    // Nobody reads yet, so the window fills.
    let piece = "x".repeat(INPUT_WINDOW / 4);
    for _ in 0..4 {
        terminal.type_in(&piece);
    }
    terminal.server.send(&Request::Close);
    assert_eq!(terminal.end().1, Exit::Cancelled, "it can be closed although nothing is read");

    let mut terminal = open(&agent, "b", "stty raw -echo; echo ready; head -c 400000 | wc -c; echo over");
    terminal.until("ready");
    let mut sent: u64 = 0;
    while sent < 400_000 {
        if sent - terminal.taken + piece.len() as u64 <= INPUT_WINDOW as u64 {
            terminal.type_in(&piece);
            sent += piece.len() as u64;
        } else {
            assert_eq!(terminal.read(), None);
        }
    }
    assert!(terminal.until("over").contains("400000"));

    let mut greedy = open(&agent, "c", "stty raw -echo; echo ready; sleep 831");
    greedy.until("ready");
    greedy.type_in(&"x".repeat(INPUT_WINDOW));
    greedy.type_in(&"x".repeat(INPUT_WINDOW));
    while greedy.server.try_next().is_some() {}
}

#[test]
fn there_are_only_so_many_terminals() {
    let agent = Agent::new();
    let mut terminals: Vec<Terminal> = (0..8).map(|n| open(&agent, &format!("t{n}"), "cat")).collect();
    let mut server = agent.line();
    let request = Request::Open {
        key: key("one-more"),
        argv: vec!["cat".to_owned()],
        cwd: "/".to_owned(),
        env: BTreeMap::new(),
        unset: Vec::new(),
        size: SIZE,
    };
    server.send(&request);
    let Frame::Control(Event::Rejected { reason, .. }) = server.next() else { panic!("not rejected") };
    assert!(reason.contains("close one first"), "{reason}");
    let mut first = terminals.remove(0);
    first.server.send(&Request::Close);
    assert_eq!(first.end().1, Exit::Cancelled);
    server.send(&request);
    assert_eq!(server.next(), Frame::Control(Event::Opened { key: key("one-more") }), "the connection was kept");
}

#[test]
fn a_shell_that_is_not_there_says_so_in_the_terminal() {
    let agent = Agent::new();
    let mut server = agent.line();
    server.send(&Request::Open {
        key: key("a"),
        argv: vec!["no-such-shell".to_owned()],
        cwd: "/".to_owned(),
        env: BTreeMap::new(),
        unset: Vec::new(),
        size: SIZE,
    });
    assert_eq!(server.next(), Frame::Control(Event::Opened { key: key("a") }));
    let terminal = Terminal { server, seen: String::new(), offset: 0, dropped: 0, taken: 0 };
    let (text, exit) = terminal.end();
    assert!(text.starts_with("no-such-shell cannot be started: No such file or directory"), "{text}");
    assert_eq!(exit, Exit::Code(127));
}
