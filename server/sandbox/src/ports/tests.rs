//! What is shown of an agent's ports, with an agent that the test plays.

use async_trait::async_trait;
use buildspaces_sandbox_agent::protocol::{PROTOCOL, encode_control};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use super::*;
use crate::steps::State;

#[derive(Debug)]
struct Fake(Mutex<State>);

#[async_trait]
impl Container for Fake {
    async fn state(&self) -> State {
        self.0.lock().expect("fine").clone()
    }
    async fn kill(&self) {}
    fn released(&self, _usable: bool) {}
    fn touched(&self) {}
}

struct World {
    dir: tempfile::TempDir,
    board: Arc<Board<Fake>>,
    room: RoomId,
    tasks: Tasks,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        Self { dir, board: Arc::default(), room: RoomId::random(), tasks: Tasks::new() }
    }

    /// A sandbox that is the room's from now on.
    fn sandbox(&self) -> Arc<Fake> {
        let link = Link::listen(self.dir.path(), None, "secret".to_owned(), &self.tasks).expect("it listens");
        let sandbox = Arc::new(Fake(Mutex::new(State::Running)));
        let claim = self.board.claim(&self.room, &sandbox, None);
        self.tasks.spawn("ports", follow(Arc::new(link), sandbox.clone(), claim, self.tasks.clone()));
        sandbox
    }

    async fn dial(&self) -> UnixStream {
        let mut stream = UnixStream::connect(self.dir.path().join("agent.sock")).await.expect("somebody listens");
        let (agent, token) = ("1".to_owned(), "secret".to_owned());
        say(&mut stream, &Event::Hello { protocol: PROTOCOL, agent, token, line: Line::Ports }).await;
        stream
    }
}

async fn say(stream: &mut UnixStream, event: &Event) {
    stream.write_all(&encode_control(event).expect("short")).await.expect("sent");
}

async fn tell(stream: &mut UnixStream, ports: &[u16]) {
    say(stream, &Event::Ports { ports: ports.to_vec() }).await;
}

async fn shown(watch: &mut watch::Receiver<Arc<[u16]>>) -> Vec<u16> {
    watch.changed().await.expect("the board stays");
    watch.borrow_and_update().to_vec()
}

#[tokio::test(start_paused = true)]
async fn ports_are_in_order_bounded_and_gone_with_the_agent() {
    let world = World::new();
    let mut watch = world.board.watch(&world.room);
    let sandbox = world.sandbox();
    watch.mark_unchanged();
    let mut agent = world.dial().await;
    tell(&mut agent, &[8000, 0, 3000, 8000]).await;
    assert_eq!(shown(&mut watch).await, [3000, 8000]);
    // A stranger's word: too many, and then nonsense.
    tell(&mut agent, &(1..=500).collect::<Vec<_>>()).await;
    assert_eq!(shown(&mut watch).await, (1..=64).collect::<Vec<_>>());
    agent.write_all(b"\0\0\0\0").await.expect("sent");
    assert_eq!(shown(&mut watch).await, Vec::<u16>::new());
    let mut agent = world.dial().await;
    tell(&mut agent, &[5173]).await;
    assert_eq!(shown(&mut watch).await, [5173]);
    *sandbox.0.lock().expect("fine") = State::Gone("it was removed".to_owned());
    drop(agent);
    assert_eq!(shown(&mut watch).await, Vec::<u16>::new());
    drop(sandbox);
    assert_eq!(world.tasks.shutdown(Duration::from_secs(5)).await, 0, "nothing follows what is gone");
    assert!(world.board.sandbox(&world.room).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_program_that_opens_and_closes_all_the_time_is_shown_at_a_pace() {
    let world = World::new();
    let mut watch = world.board.watch(&world.room);
    let _sandbox = world.sandbox();
    watch.mark_unchanged();
    let mut agent = world.dial().await;
    for round in 0..40 {
        tell(&mut agent, if round % 2 == 0 { &[1000] } else { &[] }).await;
    }
    let began = tokio::time::Instant::now();
    for _ in 0..20 {
        shown(&mut watch).await;
    }
    assert!(began.elapsed() >= 15 * PAUSE, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_sandbox_whose_place_another_has_taken_says_nothing_any_more() {
    let board: Arc<Board<u8>> = Arc::default();
    let room = RoomId::random();
    let (first, second) = (Arc::new(1), Arc::new(2));
    let old = board.claim(&room, &first, None);
    old.set(&[80]);
    assert_eq!(**board.watch(&room).borrow(), [80]);
    let new = board.claim(&room, &second, None);
    assert_eq!(board.sandbox(&room), Some(second.clone()));
    old.set(&[81]);
    assert!(board.watch(&room).borrow().is_empty());
    new.set(&[82]);
    assert_eq!(**board.watch(&room).borrow(), [82]);
    // Rooms that nobody needs do not stay for ever.
    drop((first, second));
    for _ in 0..64 {
        board.watch(&RoomId::random());
    }
    assert!(board.lock().len() < 64);
}
