//! Ports and tunnels: what listens is told, bytes go both ways as fast as both sides take them, and nobody is left hanging.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;

use buildspaces_sandbox_agent::protocol::{Event, Frame, Line, Request};

use crate::harness::{Agent, PATIENCE, Server, key};

/// What the test, as the program, listens on.
struct Program {
    listener: TcpListener,
    port: u16,
}

impl Program {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        Self { listener, port }
    }

    fn accept(&self) -> TcpStream {
        let (stream, _) = self.listener.accept().expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        stream
    }
}

fn ask(server: &mut Server, port: u16) -> Event {
    server.send(&Request::Connect { port });
    let Frame::Control(answer) = server.next() else { panic!("not an answer") };
    answer
}

/// A tunnel to the program: the server's end, and the program's.
fn tunnel(agent: &Agent, program: &Program) -> (UnixStream, TcpStream) {
    let mut server = agent.welcome(Line::Tunnel);
    assert_eq!(ask(&mut server, program.port), Event::Connected);
    let (stream, rest) = server.into_parts();
    assert_eq!(rest, b"");
    (stream, program.accept())
}

fn read_exactly(mut stream: impl Read, wanted: &[u8]) {
    let mut read = vec![0; wanted.len()];
    stream.read_exact(&mut read).expect("it comes");
    assert_eq!(read, wanted);
}

#[test]
fn ports_are_told_as_they_come_and_go_while_a_program_runs() {
    let agent = Agent::new();
    let early = Program::new();
    let mut ports = agent.welcome(Line::Ports);
    let mut next = || match ports.next() {
        Frame::Control(Event::Ports { ports }) => ports,
        other => panic!("not expected: {other:?}"),
    };
    assert_eq!(next(), Vec::<u16>::new(), "no program runs, so none listens");
    let mut steps = agent.connect();
    steps.start("a", "sleep 60");
    let mut until = |what: &str, condition: &dyn Fn(&[u16]) -> bool| {
        // Other programs of this machine come and go, too.
        (0..200).find(|_| condition(&next())).unwrap_or_else(|| panic!("{what}"));
    };
    until("the port that was there", &|ports| ports.contains(&early.port));
    let late = Program::new();
    until("one more", &|ports| ports.contains(&late.port) && ports.is_sorted());
    let gone = late.port;
    drop(late);
    until("one less", &|ports| !ports.contains(&gone));
    steps.send(&Request::Cancel { key: key("a") });
    steps.finish();
    until("the end", &|ports| ports.is_empty());
}

#[test]
fn a_tunnel_carries_bytes_both_ways_and_tells_each_side_when_the_other_has_ended() {
    let agent = Agent::new();
    let program = Program::new();
    let (mut server, mut client) = tunnel(&agent, &program);
    server.write_all(b"hello").expect("sent");
    read_exactly(&client, b"hello");
    client.write_all(b"\0\xff\r\n").expect("sent");
    read_exactly(&server, b"\0\xff\r\n");
    let long: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| (&server).write_all(&long).expect("sent"));
        read_exactly(&client, &long);
    });
    // One side has said all, the other goes on.
    server.shutdown(Shutdown::Write).expect("said");
    assert_eq!(client.read(&mut [0; 8]).expect("read"), 0);
    client.write_all(b"last words").expect("sent");
    drop(client);
    let mut text = String::new();
    server.read_to_string(&mut text).expect("read");
    assert_eq!(text, "last words");
}

#[test]
fn a_port_on_which_nobody_listens_is_refused_and_the_connection_asks_again() {
    let agent = Agent::new();
    let mut server = agent.welcome(Line::Tunnel);
    let nobody = Program::new().port;
    let Event::Unreachable { reason } = ask(&mut server, nobody) else { panic!("reached") };
    assert!(reason.starts_with(&format!("nothing answers on port {nobody}: ")), "{reason}");
    let program = Program::new();
    assert_eq!(ask(&mut server, program.port), Event::Connected);
    program.accept();
}

#[test]
fn a_server_that_reads_nothing_holds_up_its_own_tunnel_and_no_other() {
    let agent = Agent::new();
    let program = Program::new();
    let (stuck, mut flood) = tunnel(&agent, &program);
    flood.set_write_timeout(Some(PATIENCE / 20)).expect("a time-out");
    let mut sent = 0;
    let piece = [7; 64 << 10];
    while sent < 256 << 20 {
        match flood.write(&piece) {
            Ok(bytes) => sent += bytes,
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
                break;
            }
        }
    }
    assert!(sent < 256 << 20, "the program waits");
    let (mut server, mut client) = tunnel(&agent, &program);
    server.write_all(b"x").expect("sent");
    read_exactly(&client, b"x");
    client.write_all(b"y").expect("sent");
    read_exactly(&server, b"y");
    drop(stuck);
    flood.set_write_timeout(Some(PATIENCE)).expect("a time-out");
    while flood.write(&piece).is_ok() {}
}

#[test]
fn what_a_server_said_before_it_hung_up_arrives_and_then_the_end() {
    let agent = Agent::new();
    let program = Program::new();
    for _ in 0..50 {
        let (mut server, mut client) = tunnel(&agent, &program);
        server.write_all(b"refused").expect("sent");
        drop(server);
        let mut text = String::new();
        client.read_to_string(&mut text).expect("text, and no reset");
        assert_eq!(text, "refused");
    }
    // Also when there is more of it than fits anywhere.
    let (mut server, mut client) = tunnel(&agent, &program);
    let long = vec![7; 8 << 20];
    let sent = std::thread::spawn({
        let long = long.clone();
        move || server.write_all(&long).expect("sent")
    });
    let mut read = Vec::new();
    client.read_to_end(&mut read).expect("all of it");
    sent.join().expect("no panic");
    assert!(read == long, "{} bytes", read.len());
}

#[test]
fn more_tunnels_than_there_may_be_are_refused_until_one_ends() {
    let agent = Agent::new();
    let program = Program::new();
    let mut open: Vec<_> = (0..64).map(|_| tunnel(&agent, &program)).collect();
    let mut server = agent.welcome(Line::Tunnel);
    let Event::Unreachable { reason } = ask(&mut server, program.port) else { panic!("one too many") };
    assert_eq!(reason, "there are 64 connections to this sandbox already");
    open.pop();
    let deadline = std::time::Instant::now() + PATIENCE;
    while ask(&mut server, program.port) != Event::Connected {
        assert!(std::time::Instant::now() < deadline, "a place becomes free");
        std::thread::yield_now();
    }
}

#[test]
fn who_wants_to_leave_the_sandbox_is_led_to_the_server_and_the_port_is_no_programs() {
    let port = Program::new().port;
    let agent = Agent::with_egress(Some(port));
    let mut ports = agent.welcome(Line::Ports);
    let mut steps = agent.connect();
    steps.start("a", "sleep 60");
    let program = Program::new();
    // Seen with the next look, and the agent's own never.
    loop {
        let Frame::Control(Event::Ports { ports }) = ports.next() else { panic!("not a list") };
        assert!(!ports.contains(&port));
        if ports.contains(&program.port) {
            break;
        }
    }
    let mut client = TcpStream::connect(("127.0.0.1", port)).expect("the agent listens");
    client.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    client.write_all(b"CONNECT a.example:443 HTTP/1.1\r\n\r\n").expect("sent");
    let (mut server, rest) = agent.welcome(Line::Egress).into_parts();
    assert_eq!(rest, b"");
    read_exactly(&server, b"CONNECT a.example:443 HTTP/1.1\r\n\r\n");
    server.write_all(b"HTTP/1.1 200 OK\r\n\r\n").expect("sent");
    read_exactly(&client, b"HTTP/1.1 200 OK\r\n\r\n");
    drop(server);
    assert!(matches!(client.read(&mut [0; 8]), Ok(0) | Err(_)));
}
