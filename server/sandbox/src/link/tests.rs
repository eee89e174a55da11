//! Who is let in, and who is not.

use buildspaces_sandbox_agent::protocol::{Key, encode_control};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

struct Fixture {
    dir: tempfile::TempDir,
    link: Link,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().expect("a folder");
    let link = Link::listen(dir.path(), None, "secret".to_owned(), &Tasks::new()).expect("it listens");
    Fixture { dir, link }
}

impl Fixture {
    async fn dial(&self) -> UnixStream {
        UnixStream::connect(self.dir.path().join(SOCKET)).await.expect("somebody listens")
    }

    async fn say(&self, protocol: u32, token: &str) -> UnixStream {
        let mut stream = self.dial().await;
        let hello = Event::Hello { protocol, agent: "1".to_owned(), token: token.to_owned(), line: Line::Steps };
        stream.write_all(&encode_control(&hello).expect("short")).await.expect("sent");
        stream
    }
}

async fn all_that_follows(mut stream: UnixStream) -> String {
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn only_the_one_who_knows_the_token_is_let_in() {
    let fixture = fixture();
    for wrong in ["", "secre", "secret ", "Secret"] {
        let stream = fixture.say(PROTOCOL, wrong).await;
        assert_eq!(all_that_follows(stream).await, "", "{wrong:?} gets no answer");
    }
    let mut agent = fixture.say(PROTOCOL, "secret").await;
    let mut connection = fixture.link.connection(Line::Steps).await;
    let event = Event::Started { key: Key::parse("k").expect("a key") };
    agent.write_all(&encode_control(&event).expect("short")).await.expect("sent");
    assert_eq!(connection.receive().await.expect("a frame"), Frame::Control(event));
}

#[tokio::test]
async fn another_protocol_is_refused_in_a_sentence() {
    let fixture = fixture();
    let answer = all_that_follows(fixture.say(PROTOCOL + 1, "secret").await).await;
    let said = format!("speaks protocol {}, this server speaks {PROTOCOL}", PROTOCOL + 1);
    assert!(answer.contains(&said), "{answer}");
    assert!(fixture.link.refusal().is_some_and(|reason| reason.contains(&said)));
}

#[tokio::test]
async fn strangers_who_say_nothing_do_not_keep_the_agent_out() {
    let fixture = fixture();
    let mut silent = Vec::new();
    for _ in 0..MAX_STRANGERS - 1 {
        silent.push(fixture.dial().await);
    }
    let mut noisy = fixture.dial().await;
    noisy.write_all(&[255; 64]).await.expect("sent");
    assert_eq!(all_that_follows(noisy).await, "");
    let _agent = fixture.say(PROTOCOL, "secret").await;
    fixture.link.connection(Line::Steps).await;
}

#[tokio::test]
async fn the_newest_connection_is_the_one_that_counts() {
    let fixture = fixture();
    let old = fixture.say(PROTOCOL, "secret").await;
    let old_connection = fixture.link.connection(Line::Steps).await;
    drop(old);
    let mut new = fixture.say(PROTOCOL, "secret").await;
    // Wait for the new one to be let in before the old one is given back.
    let mut welcome = [0; 8];
    new.read_exact(&mut welcome).await.expect("the welcome");
    tokio::task::yield_now().await;
    let new_connection = fixture.link.connection(Line::Steps).await;
    fixture.link.park(Line::Steps, new_connection);
    fixture.link.park(Line::Steps, old_connection);
    let mut connection = fixture.link.connection(Line::Steps).await;
    connection.send(&Request::List).await.expect("the new one is open");
}

#[tokio::test]
async fn a_folder_may_be_deeper_than_a_sockets_path() {
    let dir = tempfile::tempdir().expect("a folder");
    let deep = dir.path().join("d".repeat(120));
    fs::create_dir(&deep).expect("made");
    Link::listen(&deep, None, String::new(), &Tasks::new()).expect("it listens");
    assert!(deep.join(SOCKET).exists());
}
