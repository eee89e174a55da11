//! A terminal's follower against an agent that the test plays, on a real socket, with a paused clock where time matters.

use std::sync::Mutex;

use async_trait::async_trait;
use buildspaces_plans::ports::MAX_TYPED;
use buildspaces_sandbox_agent::protocol::{Decoder, PROTOCOL, encode_control, encode_output};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::*;

static NO_VARIABLES: BTreeMap<String, String> = BTreeMap::new();

#[derive(Debug)]
struct Fake {
    state: Mutex<State>,
    touched: Mutex<usize>,
}

#[async_trait]
impl Container for Fake {
    async fn state(&self) -> State {
        self.state.lock().expect("fine").clone()
    }
    async fn kill(&self) {}
    fn released(&self, _usable: bool) {}
    fn touched(&self) {
        *self.touched.lock().expect("fine") += 1;
    }
}

struct World {
    dir: tempfile::TempDir,
    link: Arc<Link>,
    container: Arc<Fake>,
    tasks: Tasks,
}

/// The other end: what the agent would do.
struct Agent {
    stream: UnixStream,
    decoder: Decoder,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let tasks = Tasks::new();
        let link = Arc::new(Link::listen(dir.path(), None, "secret".to_owned(), &tasks).expect("it listens"));
        let container = Arc::new(Fake { state: Mutex::new(State::Running), touched: Mutex::default() });
        Self { dir, link, container, tasks }
    }

    async fn dial(&self) -> Agent {
        let stream = UnixStream::connect(self.dir.path().join("agent.sock")).await.expect("somebody listens");
        let mut agent = Agent { stream, decoder: Decoder::default() };
        let (agent_version, token) = ("1".to_owned(), "secret".to_owned());
        agent.say(&Event::Hello { protocol: PROTOCOL, agent: agent_version, token, line: Line::Terminal }).await;
        assert!(matches!(agent.request().await, Request::Welcome { .. }));
        agent
    }

    /// A terminal that the agent has opened.
    async fn open(&self) -> (TerminalLine, Agent) {
        let mut agent = self.dial().await;
        let connection = self.link.connection(Line::Terminal).await;
        let size = Size { rows: 24, cols: 80 };
        let opening = async {
            let Request::Open { key: asked, size, .. } = agent.request().await else { panic!("not asked to open") };
            assert_eq!((asked.clone(), size), (key(), protocol::Size { rows: 24, cols: 80 }));
            agent.say(&Event::Opened { key: asked }).await;
        };
        let name = key();
        let (connection, ()) = tokio::join!(open(&self.link, connection, &name, size, &NO_VARIABLES), opening);
        let container = Arc::clone(&self.container) as Arc<dyn Container>;
        let line = follow(&self.tasks, connection.expect("opened"), key(), Arc::clone(&self.link), container);
        (line, agent)
    }
}

impl Agent {
    async fn say(&mut self, event: &Event) {
        self.stream.write_all(&encode_control(event).expect("short")).await.expect("sent");
    }

    async fn print(&mut self, offset: u64, bytes: &[u8]) {
        self.stream.write_all(&encode_output(&key(), offset, bytes).expect("short")).await.expect("sent");
    }

    async fn hear(&mut self) -> Frame<Request> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(frame) = self.decoder.decode().expect("the server speaks the protocol") {
                return frame;
            }
            let n = self.stream.read(&mut buffer).await.expect("the server is there");
            assert_ne!(n, 0, "the server hung up");
            self.decoder.push(&buffer[..n]);
        }
    }

    async fn request(&mut self) -> Request {
        let Frame::Control(request) = self.hear().await else { panic!("something typed") };
        request
    }
}

fn key() -> Key {
    Key::parse("terminal/t").expect("a key")
}

fn typed(text: &[u8]) -> TerminalCommand {
    TerminalCommand::Input(Bytes::copy_from_slice(text))
}

#[tokio::test]
async fn bytes_go_both_ways_and_typing_alone_counts_as_use() {
    let world = World::new();
    let (mut line, mut agent) = world.open().await;
    agent.print(0, b"\x1b[31m$ \xff").await;
    assert_eq!(line.events.recv().await, Some(TerminalEvent::Output(Bytes::from_static(b"\x1b[31m$ \xff"))));
    assert_eq!(*world.container.touched.lock().expect("fine"), 0);
    line.commands.send(typed(b"ls\r")).await.expect("it listens");
    assert_eq!(agent.hear().await, Frame::Input(b"ls\r".to_vec()));
    assert_eq!(*world.container.touched.lock().expect("fine"), 1);
    line.commands.send(TerminalCommand::Resize(Size { rows: 5, cols: 50 })).await.expect("it listens");
    assert_eq!(agent.request().await, Request::Resize { size: protocol::Size { rows: 5, cols: 50 } });
    agent.say(&Event::Ended { exit: Exit::Code(3) }).await;
    assert_eq!(line.events.recv().await, Some(TerminalEvent::Ended(TerminalEnd::Exited(3))));
    assert_eq!(line.events.recv().await, None);
    assert_eq!(*world.container.touched.lock().expect("fine"), 1);
}

#[tokio::test]
async fn a_terminal_that_the_agent_refuses_gives_its_reason_and_keeps_the_connection() {
    let world = World::new();
    let mut agent = world.dial().await;
    let connection = world.link.connection(Line::Terminal).await;
    let (name, size) = (key(), Size { rows: 24, cols: 80 });
    let refusing = async {
        agent.request().await;
        agent.say(&Event::Rejected { key: key(), reason: "there are 8\nalready".to_owned() }).await;
    };
    let (refused, ()) = tokio::join!(open(&world.link, connection, &name, size, &NO_VARIABLES), refusing);
    assert!(matches!(refused, Err(NotOpened::Rejected(reason)) if reason == "there are 8 already"));
    let mut connection = world.link.connection(Line::Terminal).await;
    connection.send(&Request::Close).await.expect("open");
}

#[tokio::test]
async fn a_new_connection_goes_on_where_the_old_one_broke() {
    let world = World::new();
    let (mut line, mut agent) = world.open().await;
    agent.print(0, b"one ").await;
    assert_eq!(line.events.recv().await, Some(TerminalEvent::Output(Bytes::from_static(b"one "))));
    line.commands.send(TerminalCommand::Resize(Size { rows: 5, cols: 50 })).await.expect("it listens");
    agent.request().await;
    drop(agent);
    let mut agent = world.dial().await;
    assert_eq!(agent.request().await, Request::Resume { key: key(), from_offset: 4 });
    agent.say(&Event::Opened { key: key() }).await;
    assert_eq!(agent.request().await, Request::Resize { size: protocol::Size { rows: 5, cols: 50 } });
    // What was passed on already is not passed on again, what is missing is told.
    agent.print(2, b"e two ").await;
    agent.print(20, b"three").await;
    assert_eq!(line.events.recv().await, Some(TerminalEvent::Output(Bytes::from_static(b"two "))));
    assert_eq!(line.events.recv().await, Some(TerminalEvent::Dropped(12)));
    assert_eq!(line.events.recv().await, Some(TerminalEvent::Output(Bytes::from_static(b"three"))));
}

#[tokio::test]
async fn an_agent_that_forgot_the_terminal_says_so() {
    let world = World::new();
    let (mut line, agent) = world.open().await;
    drop(agent);
    let mut agent = world.dial().await;
    agent.request().await;
    agent.say(&Event::Unknown { key: key() }).await;
    let Some(TerminalEvent::Ended(TerminalEnd::Lost(reason))) = line.events.recv().await else { panic!("not lost") };
    assert!(reason.contains("has forgotten the terminal"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn a_terminal_is_lost_when_its_container_is() {
    for (state, expected) in [
        (State::Gone("the sandbox was stopped from outside".to_owned()), "the sandbox was stopped from outside"),
        (State::Unknown, "the Docker engine stopped, and the sandbox with it"),
        (State::Running, "the sandbox stopped answering"),
    ] {
        let world = World::new();
        let (mut line, agent) = world.open().await;
        *world.container.state.lock().expect("fine") = state;
        drop(agent);
        let lost = TerminalEvent::Ended(TerminalEnd::Lost(expected.to_owned()));
        assert_eq!(line.events.recv().await, Some(lost));
        assert_eq!(world.tasks.shutdown(Duration::from_secs(60)).await, 0, "no task is left");
    }
}

#[tokio::test]
async fn what_is_typed_keeps_to_the_agents_window() {
    let world = World::new();
    let (mut line, mut agent) = world.open().await;
    let piece = vec![b'x'; MAX_TYPED];
    let pieces = INPUT_WINDOW / MAX_TYPED;
    for _ in 0..pieces {
        line.commands.send(typed(&piece)).await.expect("it listens");
        assert_eq!(agent.hear().await, Frame::Input(piece.clone()));
    }
    line.commands.send(typed(b"more")).await.expect("it listens");
    line.commands.send(TerminalCommand::Close).await.expect("there is a place");
    // What is printed is still passed on; the rest waits for the window.
    agent.print(0, b"output").await;
    assert_eq!(line.events.recv().await, Some(TerminalEvent::Output(Bytes::from_static(b"output"))));
    agent.say(&Event::Taken { bytes: MAX_TYPED as u64 }).await;
    assert_eq!(agent.hear().await, Frame::Input(b"more".to_vec()));
    assert_eq!(agent.request().await, Request::Close);
    agent.say(&Event::Ended { exit: Exit::Cancelled }).await;
    assert_eq!(line.events.recv().await, Some(TerminalEvent::Ended(TerminalEnd::Closed)));
}

#[tokio::test]
async fn who_does_not_read_slows_the_agent() {
    let world = World::new();
    let (line, mut agent) = world.open().await;
    let piece = vec![b'y'; 16 << 10];
    let mut offset = 0;
    let stuck = async {
        loop {
            agent.print(offset, &piece).await;
            offset += piece.len() as u64;
        }
    };
    // The socket takes some, and then no more.
    let filled = tokio::time::timeout(Duration::from_millis(300), stuck).await;
    assert!(filled.is_err());
    assert!(offset < 2 << 20, "{offset} bytes went somewhere");
    line.commands.send(TerminalCommand::Close).await.expect("it listens");
    drop(line);
    let mut seen = 0;
    while seen < 1 {
        // It can be told to close although nobody reads.
        let mut buffer = [0; 4096];
        let n = agent.stream.read(&mut buffer).await.expect("the server is there");
        seen += usize::from(String::from_utf8_lossy(&buffer[..n]).contains("close"));
    }
}

#[tokio::test]
async fn a_terminal_that_nobody_has_any_more_is_closed() {
    let world = World::new();
    let (line, mut agent) = world.open().await;
    drop(line);
    assert_eq!(agent.request().await, Request::Close);
}

#[tokio::test(start_paused = true)]
async fn hostile_bytes_end_in_a_sentence_and_not_in_a_panic() {
    for garbage in [&[0, 0, 0, 0][..], &[255; 64], &[2, 0, 0, 0, 1, b'{'], &[3, 0, 0, 0, 2, 99, 1], &[1, 0, 0, 0, 3]] {
        let world = World::new();
        let (mut line, mut agent) = world.open().await;
        agent.say(&Event::Taken { bytes: u64::MAX }).await;
        agent.print(u64::MAX, b"x").await;
        agent.stream.write_all(garbage).await.expect("sent");
        *world.container.state.lock().expect("fine") = State::Gone("gone".to_owned());
        drop(agent);
        let mut last = None;
        while let Some(event) = line.events.recv().await {
            last = Some(event);
        }
        assert_eq!(last, Some(TerminalEvent::Ended(TerminalEnd::Lost("gone".to_owned()))));
    }
}
