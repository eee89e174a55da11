//! Commands by an agent that the test plays, on a real socket.

use std::time::Duration;

use buildspaces_kernel::tasks::Tasks;
use buildspaces_sandbox_agent::protocol::{Decoder, PROTOCOL, encode_control, encode_output};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::*;

struct Agent {
    stream: UnixStream,
    decoder: Decoder,
}

impl Agent {
    async fn say(&mut self, event: &Event) {
        self.write(&encode_control(event).expect("short")).await;
    }

    async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("sent");
    }

    async fn request(&mut self) -> Request {
        let mut buffer = [0; 4096];
        loop {
            if let Some(Frame::Control(request)) = self.decoder.decode().expect("the server speaks the protocol") {
                return request;
            }
            let n = self.stream.read(&mut buffer).await.expect("the server is there");
            assert_ne!(n, 0, "the server hung up");
            self.decoder.push(&buffer[..n]);
        }
    }

    async fn hung_up(mut self) -> bool {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).await.map_or(true, |_| rest.is_empty())
    }
}

fn key(name: &str) -> Key {
    Key::parse(name).expect("a key")
}

fn spec() -> CommandSpec {
    let argv = ["git", "status"].map(str::to_owned).to_vec();
    let env = vec![("A".to_owned(), "b".to_owned())];
    CommandSpec { argv, env, timeout: Duration::from_secs(20), max_output: 10, headers: Vec::new() }
}

/// A command that the agent has taken.
async fn started(command: &CommandSpec) -> (Connection, Agent) {
    let dir = tempfile::tempdir().expect("a folder");
    let link = Link::listen(dir.path(), None, "secret".to_owned(), &Tasks::new()).expect("it listens");
    let stream = UnixStream::connect(dir.path().join("agent.sock")).await.expect("somebody listens");
    let mut agent = Agent { stream, decoder: Decoder::default() };
    let (version, token) = ("1".to_owned(), "secret".to_owned());
    agent.say(&Event::Hello { protocol: PROTOCOL, agent: version, token, line: Line::Command }).await;
    assert!(matches!(agent.request().await, Request::Welcome { .. }));
    let connection = link.connection(Line::Command).await;
    let answering = async {
        let Request::Run { key, argv, cwd, env } = agent.request().await else { panic!("another request") };
        assert_eq!((argv, cwd.as_str(), env["A"].as_str()), (command.argv.clone(), "/workspace", "b"));
        agent.say(&Event::Started { key }).await;
    };
    let k = key("k");
    let (connection, ()) = tokio::join!(start(&link, connection, &k, command), answering);
    (connection.expect("started"), agent)
}

#[tokio::test]
async fn what_it_prints_comes_with_its_end() {
    let command = spec();
    let (connection, mut agent) = started(&command).await;
    agent.write(&encode_output(&key("other"), 0, b"of another").expect("short")).await;
    agent.write(&encode_output(&key("k"), 0, b"a\0b").expect("short")).await;
    agent.write(&encode_output(&key("k"), 3, b"c").expect("short")).await;
    agent.say(&Event::Finished { exit: Exit::Code(1), errors: "e".to_owned() }).await;
    let output = collect(connection, &key("k"), &command).await.expect("an end");
    let expected = CommandOutput { end: CommandEnd::Exited(1), output: b"a\0bc".to_vec(), errors: "e".to_owned() };
    assert_eq!(output, expected);
}

#[tokio::test]
async fn too_much_output_is_cut_and_the_command_hung_up_on() {
    let command = spec();
    let (connection, mut agent) = started(&command).await;
    agent.write(&encode_output(&key("k"), 0, b"12345678").expect("short")).await;
    agent.write(&encode_output(&key("k"), 8, b"90123").expect("short")).await;
    let output = collect(connection, &key("k"), &command).await.expect("an end");
    assert_eq!((output.end, output.output.as_slice()), (CommandEnd::Cut, &b"1234567890"[..]));
    assert!(agent.hung_up().await);
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_hung_up_on() {
    let command = CommandSpec { timeout: Duration::from_millis(20), ..spec() };
    let (connection, agent) = started(&command).await;
    let output = collect(connection, &key("k"), &command).await.expect("an end");
    assert_eq!(output.end, CommandEnd::TimedOut);
    assert!(agent.hung_up().await);
}

#[tokio::test]
async fn a_sandbox_that_goes_away_is_no_end() {
    let command = spec();
    let (connection, agent) = started(&command).await;
    drop(agent);
    collect(connection, &key("k"), &command).await.expect_err("nobody knows how it ended");
}
