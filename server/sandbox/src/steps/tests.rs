//! A step's follower against an agent that the test plays, on a real socket, with a paused clock where time matters.

use std::sync::Mutex;

use buildspaces_sandbox_agent::protocol::{self, Decoder, PROTOCOL, StepInfo, encode_control, encode_output};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::*;

static NO_VARIABLES: BTreeMap<String, String> = BTreeMap::new();

/// A container whose state the test sets.
#[derive(Debug)]
struct Fake {
    state: Mutex<State>,
    killed: Mutex<bool>,
    released: Mutex<Option<bool>>,
}

#[async_trait]
impl Container for Fake {
    async fn state(&self) -> State {
        self.state.lock().expect("fine").clone()
    }
    async fn kill(&self) {
        *self.killed.lock().expect("fine") = true;
    }
    fn released(&self, usable: bool) {
        *self.released.lock().expect("fine") = Some(usable);
    }
    fn touched(&self) {}
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
        let state = Mutex::new(State::Running);
        let container = Arc::new(Fake { state, killed: Mutex::default(), released: Mutex::default() });
        Self { dir, link, container, tasks }
    }

    async fn dial(&self) -> Agent {
        let stream = UnixStream::connect(self.dir.path().join("agent.sock")).await.expect("somebody listens");
        let mut agent = Agent { stream, decoder: Decoder::default() };
        agent
            .say(&Event::Hello {
                protocol: PROTOCOL,
                agent: "1".to_owned(),
                token: "secret".to_owned(),
                line: Line::Steps,
            })
            .await;
        assert!(matches!(agent.hear().await, Request::Welcome { .. }));
        agent
    }

    /// A step that the agent has taken and is asked to follow from `seen`.
    async fn follow(&self, seen: u64, timeout: Option<Duration>) -> (Step, Agent) {
        let mut agent = self.dial().await;
        let connection = self.link.connection(Line::Steps).await;
        let following = Following {
            key: key(),
            link: Arc::clone(&self.link),
            container: Arc::clone(&self.container) as Arc<dyn Container>,
            seen,
            timeout,
            limits: Limits { output: 1 << 20, ..Limits::default() },
            image: None,
        };
        let step = follow(&self.tasks, connection, following);
        assert_eq!(agent.hear().await, Request::Attach { key: key(), from_offset: seen });
        (step, agent)
    }

    fn set_state(&self, state: State) {
        *self.container.state.lock().expect("fine") = state;
    }
}

impl Agent {
    async fn say(&mut self, event: &Event) {
        self.stream.write_all(&encode_control(event).expect("short")).await.expect("sent");
    }

    async fn output(&mut self, offset: u64, bytes: &[u8]) {
        self.stream.write_all(&encode_output(&key(), offset, bytes).expect("short")).await.expect("sent");
    }

    async fn exit(&mut self, exit: protocol::Exit, oom: bool) {
        self.say(&Event::Exited { key: key(), exit, duration_ms: 1, oom, pids: false, full: Vec::new() }).await;
    }

    async fn hear(&mut self) -> Request {
        let mut buffer = [0; 1024];
        loop {
            if let Some(frame) = self.decoder.decode().expect("the server speaks the protocol") {
                let Frame::Control(request) = frame else { panic!("a server sends no output") };
                return request;
            }
            let n = self.stream.read(&mut buffer).await.expect("the server is there");
            assert_ne!(n, 0, "the server hung up");
            self.decoder.push(&buffer[..n]);
        }
    }
}

fn key() -> Key {
    Key::parse("run/step").expect("a key")
}

async fn all(step: &mut Step) -> (String, StepEvent) {
    let mut text = Vec::new();
    loop {
        match step.events.recv().await.expect("an end") {
            StepEvent::Output(bytes) => text.extend(bytes),
            StepEvent::Dropped(bytes) => text.extend(format!("[{bytes} dropped]").into_bytes()),
            end => return (String::from_utf8(text).expect("text"), end),
        }
    }
}

#[tokio::test]
async fn output_and_exit_are_passed_on_and_the_connection_is_kept() {
    let world = World::new();
    let (mut step, mut agent) = world.follow(0, None).await;
    agent.output(0, b"hello ").await;
    agent.output(6, b"world").await;
    agent.exit(protocol::Exit::Code(2), false).await;
    assert_eq!(all(&mut step).await, ("hello world".to_owned(), StepEvent::Exited(Exit::Code(2))));
    assert_eq!(step.events.recv().await, None, "one end, and nothing after it");
    assert_eq!(*world.container.released.lock().expect("fine"), Some(true));
    let mut connection = world.link.connection(Line::Steps).await;
    connection.send(&Request::List).await.expect("open");
    assert_eq!(agent.hear().await, Request::List);
}

#[tokio::test]
async fn a_new_connection_goes_on_where_the_old_one_broke() {
    let world = World::new();
    let (mut step, mut agent) = world.follow(0, None).await;
    agent.output(0, b"one ").await;
    assert_eq!(step.events.recv().await, Some(StepEvent::Output(Bytes::from_static(b"one "))));
    drop(agent);
    let mut agent = world.dial().await;
    assert_eq!(agent.hear().await, Request::Attach { key: key(), from_offset: 4 });
    // What was passed on already is not passed on again, what is missing is told.
    agent.output(2, b"e two ").await;
    agent.output(20, b"three").await;
    agent.exit(protocol::Exit::Signal(9), false).await;
    let (text, end) = all(&mut step).await;
    assert_eq!(text, "two [12 dropped]three");
    assert_eq!(end, StepEvent::Exited(Exit::Signal(9)));
}

#[tokio::test]
async fn the_end_is_told_as_it_was() {
    use protocol::Exit as Theirs;
    for (theirs, oom, ours) in [
        (Theirs::Code(0), true, Exit::Code(0)),
        (Theirs::Code(1), true, Exit::OutOfMemory),
        (Theirs::Signal(9), true, Exit::OutOfMemory),
        (Theirs::Signal(9), false, Exit::Signal(9)),
        (Theirs::TimedOut, true, Exit::TimedOut),
        (Theirs::Cancelled, false, Exit::Cancelled),
        (Theirs::NotStarted("no\x1b[2J\nsuch".to_owned()), false, Exit::NotStarted("no [2J such".to_owned())),
        (Theirs::NotStarted("x".repeat(5000)), false, Exit::NotStarted("x".repeat(MAX_REASON))),
    ] {
        let signs = Signs { oom, ..Signs::default() };
        assert_eq!(excess::exit_of(theirs, &signs, &Limits::default()), ours);
    }
}

#[test]
fn the_limit_a_step_came_to_is_named() {
    use protocol::Exit as Theirs;
    let (pids, tmp) = (
        || Signs { pids: true, ..Signs::default() },
        |folder: &str| Signs { full: vec![folder.to_owned()], ..Signs::default() },
    );
    for (theirs, signs, named) in [
        (Theirs::Code(2), pids(), "256 that a sandbox may have (sandbox.pids)"),
        (Theirs::TimedOut, pids(), "took too long and was ended, and wanted more"),
        (Theirs::Code(1), tmp("/dev/shm"), "/dev/shm was full when it ended: it holds 64 MiB, and"),
        (Theirs::NotStarted("Resource temporarily unavailable".to_owned()), pids(), "sandbox.pids"),
        (Theirs::Signal(25), Signs::default(), "more than 1024 MiB, the largest there may be (sandbox.file_mib)"),
        (Theirs::Code(1), tmp("/tmp"), "/tmp was full when it ended: it holds 256 MiB (sandbox.tmp_mib)"),
        (Theirs::Code(-1), tmp("/home/workspace"), "the home folder was full"),
    ] {
        let exit = excess::exit_of(theirs, &signs, &Limits::default());
        assert!(matches!(&exit, Exit::OverLimit(reason) if reason.contains(named)), "{exit:?} names no {named}");
    }
    for (theirs, signs, ours) in [
        (Theirs::Code(0), pids(), Exit::Code(0)),
        (Theirs::Code(0), tmp("/tmp"), Exit::Code(0)),
        (Theirs::Cancelled, pids(), Exit::Cancelled),
        (Theirs::TimedOut, tmp("/tmp"), Exit::TimedOut),
    ] {
        assert_eq!(excess::exit_of(theirs, &signs, &Limits::default()), ours);
    }
}

#[tokio::test]
async fn a_step_that_prints_too_much_is_stopped_and_says_so() {
    let world = World::new();
    let (mut step, mut agent) = world.follow(0, None).await;
    agent.output(0, b"a").await;
    // What the agent dropped was printed, too.
    agent.output(1 << 20, b"b").await;
    let stopped = async {
        assert_eq!(agent.hear().await, Request::Cancel { key: key() });
        agent.exit(protocol::Exit::Cancelled, false).await;
    };
    let ((text, end), ()) = tokio::join!(all(&mut step), stopped);
    assert!(text.starts_with('a') && text.ends_with('b'), "{text}");
    let StepEvent::Exited(Exit::OverLimit(reason)) = end else { panic!("{end:?}") };
    assert!(reason.contains("more than 1 MiB, the most a step may print (sandbox.output_mib)"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn a_step_whose_container_came_to_a_limit_ended_by_that() {
    let world = World::new();
    let (mut step, agent) = world.follow(0, None).await;
    world.set_state(State::OverLimit("The disk is full.".to_owned()));
    drop(agent);
    let end = StepEvent::Exited(Exit::OverLimit("The disk is full.".to_owned()));
    assert_eq!(all(&mut step).await, (String::new(), end));
}

#[tokio::test(start_paused = true)]
async fn a_step_is_lost_when_its_container_is() {
    let world = World::new();
    let (mut step, agent) = world.follow(0, None).await;
    world.set_state(State::Gone("the sandbox was stopped from outside".to_owned()));
    drop(agent);
    let lost = StepEvent::Lost("the sandbox was stopped from outside".to_owned());
    assert_eq!(all(&mut step).await, (String::new(), lost));
    assert_eq!(*world.container.released.lock().expect("fine"), Some(false));
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_away_is_not_waited_for_long() {
    let world = World::new();
    let (mut step, agent) = world.follow(0, None).await;
    world.set_state(State::Unknown);
    let since = Instant::now();
    drop(agent);
    let (_, end) = all(&mut step).await;
    assert_eq!(end, StepEvent::Lost("the Docker engine stopped, and the sandbox with it".to_owned()));
    assert!(since.elapsed() < UNKNOWN_PATIENCE * 2);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_does_not_come_back_is_given_up() {
    let world = World::new();
    let (mut step, agent) = world.follow(0, None).await;
    drop(agent);
    let (_, end) = all(&mut step).await;
    assert_eq!(end, StepEvent::Lost("the sandbox stopped answering, and was removed".to_owned()));
    assert!(*world.container.killed.lock().expect("fine"));
}

#[tokio::test]
async fn an_agent_that_forgot_the_step_says_so() {
    let world = World::new();
    let (mut step, mut agent) = world.follow(0, None).await;
    agent.say(&Event::Unknown { key: key() }).await;
    let (_, end) = all(&mut step).await;
    assert!(matches!(end, StepEvent::Lost(reason) if reason.contains("has forgotten the step")));
}

#[tokio::test]
async fn a_cancellation_arrives_even_when_nobody_takes_the_output() {
    let world = World::new();
    let (mut step, mut agent) = world.follow(0, None).await;
    for at in 0..10 {
        agent.output(at, b"x").await;
    }
    step.cancel.send(()).await.expect("it listens");
    assert_eq!(agent.hear().await, Request::Cancel { key: key() });
    agent.exit(protocol::Exit::Cancelled, false).await;
    assert_eq!(all(&mut step).await, ("x".repeat(10), StepEvent::Exited(Exit::Cancelled)));
}

#[tokio::test]
async fn a_cancellation_outlives_the_connection() {
    let world = World::new();
    let (step, mut agent) = world.follow(0, None).await;
    step.cancel.send(()).await.expect("it listens");
    agent.hear().await;
    drop(agent);
    let mut agent = world.dial().await;
    assert_eq!(agent.hear().await, Request::Attach { key: key(), from_offset: 0 });
    assert_eq!(agent.hear().await, Request::Cancel { key: key() });
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_does_not_end_the_step_loses_its_container() {
    let world = World::new();
    let (mut step, _agent) = world.follow(0, Some(Duration::from_secs(60))).await;
    let since = Instant::now();
    assert_eq!(all(&mut step).await, (String::new(), StepEvent::Exited(Exit::TimedOut)));
    assert!(since.elapsed() >= Duration::from_secs(60));
    assert!(*world.container.killed.lock().expect("fine"));

    let world = World::new();
    let (mut step, _agent) = world.follow(0, None).await;
    step.cancel.send(()).await.expect("it listens");
    assert_eq!(all(&mut step).await, (String::new(), StepEvent::Exited(Exit::Cancelled)));
    assert!(*world.container.killed.lock().expect("fine"));
}

#[tokio::test(start_paused = true)]
async fn hostile_bytes_end_in_a_sentence_and_not_in_a_panic() {
    for garbage in [&[0, 0, 0, 0][..], &[255; 64], &[2, 0, 0, 0, 1, b'{'], &[3, 0, 0, 0, 2, 99, 1]] {
        let world = World::new();
        let (mut step, mut agent) = world.follow(0, None).await;
        // Other steps' news are not this one's, and offsets may be anything.
        agent
            .say(&Event::Exited {
                key: Key::parse("other").expect("a key"),
                exit: protocol::Exit::Code(0),
                duration_ms: 0,
                oom: false,
                pids: false,
                full: Vec::new(),
            })
            .await;
        agent.output(u64::MAX, b"x").await;
        agent.stream.write_all(garbage).await.expect("sent");
        world.set_state(State::Gone("gone".to_owned()));
        let (text, end) = all(&mut step).await;
        assert!(text.contains("dropped]"), "{text}");
        assert_eq!(end, StepEvent::Lost("gone".to_owned()));
        assert_eq!(world.tasks.shutdown(Duration::from_secs(60)).await, 0, "no task is left");
    }
}

#[tokio::test]
async fn starting_says_what_happened() {
    let step = StepSpec {
        key: "run/step".to_owned(),
        argv: vec!["true".to_owned()],
        timeout: None,
        secrets: StepSecrets::default(),
        sandbox: None,
    };
    let listed = Event::Steps { steps: vec![StepInfo { key: key(), running: true }] };
    let world = World::new();
    let mut agent = world.dial().await;
    let mut connection = world.link.connection(Line::Steps).await;
    let answering = async {
        assert_eq!(agent.hear().await, Request::List);
        agent.say(&listed).await;
        assert!(matches!(agent.hear().await, Request::Start { timeout_ms: 1000, .. }));
        agent.say(&Event::Rejected { key: key(), reason: "busy".to_owned() }).await;
        drop(agent);
    };
    let key = key();
    let (started, ()) =
        tokio::join!(start(&mut connection, &key, &step, Duration::from_secs(1), &NO_VARIABLES), answering);
    assert!(matches!(started, Err(NotStarted::Rejected(reason)) if reason == "busy"));
    assert!(matches!(
        start(&mut connection, &key, &step, Duration::from_secs(1), &NO_VARIABLES).await,
        Err(NotStarted::Unasked(_))
    ));
}
