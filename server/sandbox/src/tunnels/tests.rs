//! Tunnels to an agent that the test plays, on a real socket.

use buildspaces_kernel::tasks::Tasks;
use buildspaces_sandbox_agent::protocol::{Decoder, Frame, PROTOCOL, encode_control};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

struct World {
    dir: tempfile::TempDir,
    link: Arc<Link>,
    tunnels: Arc<Tunnels>,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let link = Link::listen(dir.path(), None, "secret".to_owned(), &Tasks::new()).expect("it listens");
        Self { dir, link: Arc::new(link), tunnels: Arc::default() }
    }

    fn connect(&self, port: u16) -> impl Future<Output = Result<Tunnel, NotConnected>> + use<> {
        let (link, tunnels) = (Arc::clone(&self.link), Arc::clone(&self.tunnels));
        async move { tunnels.connect(&link, port).await }
    }

    async fn dial(&self) -> Agent {
        let stream = UnixStream::connect(self.dir.path().join("agent.sock")).await.expect("somebody listens");
        let mut agent = Agent { stream, decoder: Decoder::default() };
        let (agent_version, token) = ("1".to_owned(), "secret".to_owned());
        agent.say(&Event::Hello { protocol: PROTOCOL, agent: agent_version, token, line: Line::Tunnel }).await;
        assert!(matches!(agent.request().await, Request::Welcome { .. }));
        agent
    }

    /// A tunnel, and the agent's end of it.
    async fn tunnel(&self) -> (Tunnel, Agent) {
        let mut agent = self.dial().await;
        let answering = async {
            assert_eq!(agent.request().await, Request::Connect { port: 80 });
            agent.say(&Event::Connected).await;
        };
        let (tunnel, ()) = tokio::join!(self.connect(80), answering);
        (tunnel.expect("connected"), agent)
    }
}

struct Agent {
    stream: UnixStream,
    decoder: Decoder,
}

impl Agent {
    async fn say(&mut self, event: &Event) {
        self.stream.write_all(&encode_control(event).expect("short")).await.expect("sent");
    }

    async fn request(&mut self) -> Request {
        let mut buffer = [0; 4096];
        loop {
            if let Some(frame) = self.decoder.decode().expect("the server speaks the protocol") {
                let Frame::Control(request) = frame else { panic!("not a request") };
                return request;
            }
            let n = self.stream.read(&mut buffer).await.expect("the server is there");
            assert_ne!(n, 0, "the server hung up");
            self.decoder.push(&buffer[..n]);
        }
    }
}

#[tokio::test]
async fn what_comes_along_with_the_answer_is_read_first() {
    let world = World::new();
    let mut agent = world.dial().await;
    let answering = async {
        agent.request().await;
        let mut bytes = encode_control(&Event::Connected).expect("short");
        bytes.extend(b"at once, ");
        agent.stream.write_all(&bytes).await.expect("sent");
        agent.stream.write_all(b"then more").await.expect("sent");
        agent.stream.shutdown().await.expect("said");
    };
    let (tunnel, ()) = tokio::join!(world.connect(80), answering);
    let mut tunnel = tunnel.expect("connected");
    let mut text = String::new();
    tunnel.read_to_string(&mut text).await.expect("text");
    assert_eq!(text, "at once, then more");
    tunnel.write_all(b"heard").await.expect("sent");
    drop(tunnel);
    text.clear();
    agent.stream.read_to_string(&mut text).await.expect("text");
    assert_eq!(text, "heard");
}

#[tokio::test]
async fn a_refusal_is_passed_on_and_the_connection_used_again() {
    let world = World::new();
    let mut agent = world.dial().await;
    for port in [1, 2] {
        let answering = async {
            assert_eq!(agent.request().await, Request::Connect { port });
            agent.say(&Event::Unreachable { reason: "nobody\u{7}\u{1b}[31m".to_owned() }).await;
        };
        let (refused, ()) = tokio::join!(world.connect(port), answering);
        let Err(NotConnected::Refused(reason)) = refused else { panic!("{refused:?}") };
        assert!(reason.starts_with("nobody") && !reason.contains('\u{1b}'), "{reason:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_answers_nonsense_or_nothing_is_given_up() {
    let world = World::new();
    let playing = async {
        let mut hostile = world.dial().await;
        hostile.request().await;
        hostile.say(&Event::Opened { key: buildspaces_sandbox_agent::protocol::Key::parse("k").expect("a key") }).await;
        let mut hostile = world.dial().await;
        hostile.request().await;
        hostile.stream.write_all(&[255; 64]).await.expect("sent");
        let mut silent = world.dial().await;
        silent.request().await;
        // Kept until the end: hanging up would be an answer.
        std::future::pending::<()>().await;
    };
    let refused = tokio::select! {
        refused = world.connect(80) => refused,
        () = playing => unreachable!("it plays for ever"),
    };
    assert_eq!(refused.err(), Some(NotConnected::Slow));
}

#[tokio::test(start_paused = true)]
async fn more_tunnels_than_there_may_be_wait_until_one_ends() {
    let world = World::new();
    let mut open = Vec::new();
    for _ in 0..MAX_TUNNELS {
        open.push(world.tunnel().await);
    }
    assert_eq!(world.connect(80).await.err(), Some(NotConnected::TooMany));
    open.pop();
    world.tunnel().await;
}
