//! Terminals on a paused clock, with a shell that the test plays.

use std::time::Duration;

use buildspaces_policy::{PrincipalKind, Role};
use tokio::time::{sleep, timeout};

use super::*;
use crate::memory::{FakeRooms, FakeSandboxes, MemoryRecordings, OpenedTerminal};
use crate::ports::{RecordingStore, SandboxError, StoreError, TerminalCommand, TerminalEnd};
use crate::recording::{Recording, State as Recorded};
use crate::recordings::MAX_RECORDINGS;
use crate::terminal::display::{KEPT, Shown};
use crate::terminal::{KEPT_FOR, WINDOW};

const SIZE: Size = Size { rows: 24, cols: 80 };

struct World {
    room: RoomId,
    sandboxes: FakeSandboxes,
    store: MemoryRecordings,
    recordings: Recordings,
    terminals: Terminals,
    tasks: Tasks,
}

impl World {
    fn new() -> Self {
        let (sandboxes, _steps) = FakeSandboxes::new(FakeRooms::default());
        let tasks = Tasks::new();
        let store = MemoryRecordings::default();
        let recordings = Recordings::new(Some(Arc::new(store.clone())), tasks.clone());
        let terminals = Terminals::new(Arc::new(sandboxes.clone()), recordings.clone(), tasks.clone());
        Self { room: RoomId::parse("room").expect("valid"), sandboxes, store, recordings, terminals, tasks }
    }

    async fn open(&self, name: &str) -> Summary {
        self.terminals.open(&self.room, &who(name, Role::Editor).principal, SIZE).await.expect("opened")
    }

    async fn shell(&self) -> OpenedTerminal {
        self.settle().await;
        self.sandboxes.opened_terminal().expect("a shell was asked for")
    }

    async fn attach(&self, terminal: &Summary, name: &str, role: Role) -> Attached {
        let attached = self.terminals.attach(&self.room, &terminal.id, &who(name, role), None).await.expect("there");
        self.settle().await;
        attached
    }

    async fn record(&self, on: bool) {
        self.terminals.record(&self.room, on, &who("ada", Role::Host).principal).await.expect("set");
    }

    /// The recordings, newest first, each with the lines after its header.
    async fn recorded(&self) -> Vec<(Recording, Vec<String>)> {
        let mut all = Vec::new();
        for recording in self.recordings.list(&self.room).await.expect("answers") {
            let mut text = Vec::new();
            while let piece = self.recordings.piece(&recording.id, text.len() as u64).await.expect("answers")
                && !piece.is_empty()
            {
                text.extend(piece);
            }
            let text = String::from_utf8(text).expect("UTF-8");
            all.push((recording, text.lines().skip(1).map(str::to_owned).collect()));
        }
        all
    }

    /// Lets everything happen that needs no more than a moment.
    async fn settle(&self) {
        sleep(Duration::from_millis(1)).await;
    }
}

fn who(name: &str, role: Role) -> Authority {
    let id = PrincipalId::parse(name).expect("valid");
    Authority { principal: Principal { id, kind: PrincipalKind::Person, name: Arc::from(name) }, role }
}

fn shown(attached: &Attached) -> String {
    let mut next = attached.from;
    let mut text = String::new();
    while let Shown::Bytes(bytes) = attached.display.read(next, 1 << 20) {
        next += bytes.len() as u64;
        text += &String::from_utf8_lossy(&bytes);
    }
    text
}

async fn told(shell: &mut OpenedTerminal) -> TerminalCommand {
    timeout(Duration::from_secs(5), shell.told()).await.expect("in time").expect("somebody is there")
}

async fn typed(shell: &mut OpenedTerminal) -> Bytes {
    loop {
        if let TerminalCommand::Input(bytes) = told(shell).await {
            return bytes;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_holder_types_reaches_the_shell_and_everybody_sees_what_it_prints() {
    let world = World::new();
    let terminal = world.open("ada").await;
    let mut shell = world.shell().await;
    assert_eq!(shell.spec.size, SIZE);
    let (ada, bo) =
        (world.attach(&terminal, "ada", Role::Editor).await, world.attach(&terminal, "bo", Role::Viewer).await);
    bo.says.send(Said::Typed(Bytes::from_static(b"rm -rf /"))).await.expect("there");
    world.settle().await;
    ada.says.send(Said::Typed(Bytes::from_static(b"ls\r"))).await.expect("there");
    assert_eq!(typed(&mut shell).await, "ls\r", "and nothing of Bo's");
    shell.print(b"a.py\r\n").await;
    world.settle().await;
    assert_eq!((shown(&ada), shown(&bo)), ("a.py\r\n".to_owned(), "a.py\r\n".to_owned()));
    assert_eq!(world.terminals.list(&world.room)[0].keyboard.as_deref(), Some("ada"));
    let late = world.attach(&terminal, "cy", Role::Viewer).await;
    assert_eq!(shown(&late), "a.py\r\n", "who comes late sees what was before");
    let again =
        world.terminals.attach(&world.room, &terminal.id, &who("cy", Role::Viewer), Some(4)).await.expect("there");
    assert_eq!((again.from, shown(&again)), (4, "\r\n".to_owned()), "who comes back goes on");
}

#[tokio::test(start_paused = true)]
async fn questions_are_answered_here_and_shown_to_nobody() {
    let world = World::new();
    let terminal = world.open("ada").await;
    let mut shell = world.shell().await;
    let bo = world.attach(&terminal, "bo", Role::Viewer).await;
    shell.print(b"12345\x1b[6n\x1b]52;c;aGk=\x07\x1b[c").await;
    assert_eq!(typed(&mut shell).await, "\x1b[1;6R", "although nobody holds the keyboard");
    assert_eq!(typed(&mut shell).await, "\x1b[?1;2c");
    world.settle().await;
    assert_eq!(shown(&bo), "12345");
}

#[tokio::test(start_paused = true)]
async fn the_size_follows_the_keyboard() {
    let world = World::new();
    let terminal = world.open("ada").await;
    let mut shell = world.shell().await;
    let ada = world.attach(&terminal, "ada", Role::Editor).await;
    let mut bo = world.attach(&terminal, "bo", Role::Editor).await;
    assert_eq!(told(&mut shell).await, TerminalCommand::Resize(SIZE));
    let (wide, small) = (Size { rows: 50, cols: 200 }, Size { rows: 10, cols: 40 });
    ada.says.send(Said::Room(wide)).await.expect("there");
    bo.says.send(Said::Room(small)).await.expect("there");
    assert_eq!(told(&mut shell).await, TerminalCommand::Resize(wide));
    ada.says.send(Said::Give(bo.id)).await.expect("there");
    assert_eq!(told(&mut shell).await, TerminalCommand::Resize(small));
    let view = bo.view.borrow_and_update().clone();
    assert_eq!((view.size, view.keyboard.clone()), (small, Keyboard::Held(bo.id)));
    drop(bo);
    world.settle().await;
    sleep(KEPT_FOR).await;
    assert_eq!(ada.view.borrow().keyboard, Keyboard::Free);
}

#[tokio::test(start_paused = true)]
async fn the_program_waits_for_the_page_of_who_types_and_not_for_others() {
    let world = World::new();
    let terminal = world.open("ada").await;
    let shell = world.shell().await;
    let (ada, bo) =
        (world.attach(&terminal, "ada", Role::Editor).await, world.attach(&terminal, "bo", Role::Editor).await);
    let piece = vec![b'x'; 64 << 10];
    let mut printed = 0;
    let mut print = async || {
        world.settle().await;
        let taken = shell.try_print(&piece);
        printed += if taken { piece.len() as u64 } else { 0 };
        taken
    };
    while print().await {}
    assert!(ada.display.end() <= WINDOW + 64 * 1024, "{}", ada.display.end());
    bo.says.send(Said::Shown(ada.display.end())).await.expect("there");
    assert!(!print().await, "Bo's page does not count");
    ada.says.send(Said::Shown(ada.display.end())).await.expect("there");
    assert!(print().await);
    // Far behind by now, Bo would get a picture.
    for _ in 0..2 * KEPT / piece.len() {
        ada.says.send(Said::Shown(ada.display.end())).await.expect("there");
        assert!(print().await);
    }
    assert!(matches!(bo.display.read(bo.from, 1), Shown::Picture { .. }));
    // A page that is stuck does not hold the program for long.
    while print().await {}
    sleep(Duration::from_secs(3)).await;
    assert!(print().await);
}

#[tokio::test(start_paused = true)]
async fn what_is_typed_and_not_read_is_bounded_and_told() {
    let world = World::new();
    let terminal = world.open("ada").await;
    let mut shell = world.shell().await;
    let mut ada = world.attach(&terminal, "ada", Role::Editor).await;
    ada.says.send(Said::Typed(Bytes::from(vec![b'x'; 1 << 20]))).await.expect("there");
    world.settle().await;
    let cut = ada.view.borrow_and_update().viewers[0].cut;
    assert_eq!(cut, (1 << 20) - (256 << 10));
    let mut read = 0;
    while let Ok(Some(command)) = timeout(Duration::from_millis(10), shell.told()).await {
        read += if let TerminalCommand::Input(bytes) = command { bytes.len() as u64 } else { 0 };
    }
    assert_eq!(read + cut, 1 << 20, "every byte is accounted for");
    ada.says.send(Said::Typed(Bytes::from_static(b"more"))).await.expect("there");
    assert_eq!(typed(&mut shell).await, "more");
}

#[tokio::test(start_paused = true)]
async fn it_says_how_it_ended_and_stays_to_be_read() {
    for (end, expected) in [
        (TerminalEnd::Exited(0), "The shell has ended."),
        (TerminalEnd::Exited(7), "The shell has ended with exit code 7."),
        (TerminalEnd::Lost("the sandbox was stopped from outside".to_owned()), "The sandbox was stopped from outside."),
    ] {
        let world = World::new();
        let terminal = world.open("ada").await;
        let shell = world.shell().await;
        let ada = world.attach(&terminal, "ada", Role::Editor).await;
        shell.print(b"last words").await;
        shell.end(end).await;
        world.settle().await;
        assert_eq!(ada.view.borrow().state, State::Ended(expected.to_owned()));
        assert_eq!(shown(&ada), "last words");
        let list = world.terminals.list(&world.room);
        assert_eq!((list[0].state, list[0].message.as_deref()), ("ended", Some(expected)));
        drop(ada);
        sleep(Duration::from_secs(3600)).await;
        assert_eq!(world.terminals.list(&world.room), [], "and is forgotten after a while");
    }
}

#[tokio::test(start_paused = true)]
async fn closing_kills_what_runs_and_tells_those_who_look_on() {
    let world = World::new();
    let terminal = world.open("ada").await;
    let mut shell = world.shell().await;
    let bo = world.attach(&terminal, "bo", Role::Viewer).await;
    let killed = async {
        while told(&mut shell).await != TerminalCommand::Close {}
        shell.end(TerminalEnd::Closed).await;
    };
    let by = who("ada", Role::Editor).principal;
    let (closed, ()) = tokio::join!(world.terminals.close(&world.room, &terminal.id, &by), killed);
    closed.expect("closed");
    assert_eq!(bo.view.borrow().state, State::Ended("ada closed this terminal.".to_owned()));
    assert!(bo.view.has_changed().is_err(), "it is gone");
    assert_eq!(world.terminals.list(&world.room), []);
    let gone = world.terminals.close(&world.room, &terminal.id, &by).await;
    assert!(matches!(gone, Err(Error::NoSuchTerminal)));
    assert_eq!(world.tasks.shutdown(Duration::from_secs(60)).await, 0, "no task is left");
}

#[tokio::test(start_paused = true)]
async fn a_sandbox_that_does_not_start_is_told() {
    let world = World::new();
    world.sandboxes.refuse(Some(SandboxError::Failed("there is no place".to_owned())));
    world.open("ada").await;
    world.settle().await;
    assert_eq!(world.terminals.list(&world.room)[0].message.as_deref(), Some("There is no place."));
    let off = Availability::Off { message: "No engine.".to_owned(), hint: "Start it.".to_owned() };
    world.sandboxes.set_availability(off);
    let refused = world.terminals.open(&world.room, &who("ada", Role::Editor).principal, SIZE).await;
    assert!(matches!(refused, Err(Error::SandboxOff { hint, .. }) if hint == "Start it."));
}

#[tokio::test(start_paused = true)]
async fn a_room_has_so_many_terminals_and_a_terminal_so_many_viewers() {
    let world = World::new();
    let mut shells = Vec::new();
    for number in 1..=MAX_TERMINALS {
        assert_eq!(world.open("ada").await.number as usize, number);
        shells.push(world.shell().await);
    }
    let by = who("ada", Role::Editor).principal;
    assert!(matches!(world.terminals.open(&world.room, &by, SIZE).await, Err(Error::TooManyTerminals)));
    shells.remove(1).end(TerminalEnd::Exited(0)).await;
    world.settle().await;
    let last = world.open("ada").await;
    let numbers: Vec<u32> = world.terminals.list(&world.room).iter().map(|terminal| terminal.number).collect();
    assert_eq!(numbers, [1, 3, 4, 5, 6, 7, 8, 9], "one that has ended makes place");
    let mut viewers = Vec::new();
    for _ in 0..MAX_VIEWERS {
        viewers.push(world.attach(&last, "bo", Role::Viewer).await);
    }
    let refused = world.terminals.attach(&world.room, &last.id, &who("bo", Role::Viewer), None).await;
    assert!(matches!(refused, Err(Error::TooManyViewers)));
    drop(viewers);
    world.settle().await;
    world.attach(&last, "bo", Role::Viewer).await;
    assert_eq!(world.tasks.shutdown(Duration::from_secs(60)).await, 0, "no task is left");
}

#[tokio::test(start_paused = true)]
async fn what_is_shown_is_recorded_while_that_is_on_and_nothing_before_or_after() {
    let world = World::new();
    let terminal = world.open("ada").await;
    assert!(!terminal.recorded, "it is off until somebody turns it on");
    let shell = world.shell().await;
    let ada = world.attach(&terminal, "ada", Role::Host).await;
    shell.print(b"before\x1b[2J\x1b[Hon the screen").await;
    world.settle().await;

    world.record(true).await;
    assert!(world.terminals.list(&world.room)[0].recorded && ada.view.borrow().recorded);
    ada.says.send(Said::Typed(Bytes::from_static(b"secret\r"))).await.expect("there");
    sleep(Duration::from_millis(500)).await;
    shell.print(b"shown\xf0\x9f").await;
    world.settle().await;
    shell.print(b"\xa6\x80\x1b]52;c;aGk=\x07").await;
    world.settle().await;
    ada.says.send(Said::Room(Size { rows: 10, cols: 40 })).await.expect("there");
    world.settle().await;
    shell.print(b"last").await;
    world.settle().await;
    world.record(false).await;
    shell.print(b"after").await;
    world.settle().await;
    assert!(!world.terminals.list(&world.room)[0].recorded && !ada.view.borrow().recorded);

    let recorded = world.recorded().await;
    let [(recording, lines)] = recorded.as_slice() else { panic!("one: {recorded:?}") };
    assert_eq!((recording.state, recording.number, recording.opened_by_name.as_str()), (Recorded::Stopped, 1, "ada"));
    assert!(recording.duration >= 500 && recording.ended_at.is_some(), "{recording:?}");
    let (picture, events) = lines.split_first().expect("a picture");
    assert!(picture.starts_with("[0.0,\"o\",\"\\u001bc") && picture.contains("on the screen"), "{picture}");
    assert!(!picture.contains("before"), "what was gone by then is not in it: {picture}");
    let events: Vec<_> = events.iter().map(|event| event.split_once(',').expect("a time before").1).collect();
    assert_eq!(events, [r#""o","shown"]"#, r#""o","🦀"]"#, r#""r","40x10"]"#, r#""o","last"]"#]);
}

#[tokio::test(start_paused = true)]
async fn a_terminal_of_a_recorded_room_is_recorded_from_its_first_to_its_last_byte() {
    let world = World::new();
    world.record(true).await;
    let terminal = world.open("ada").await;
    assert!(terminal.recorded);
    let shell = world.shell().await;
    let ada = world.attach(&terminal, "ada", Role::Editor).await;
    assert!(ada.view.borrow().recorded);
    shell.print(b"$ ").await;
    sleep(Duration::from_millis(1500)).await;
    let recorded = world.recorded().await;
    assert_eq!(recorded[0].0.state, Recorded::Recording);
    assert_eq!(recorded[0].1.len(), 1, "a killed server loses a second and no more");
    let by = who("ada", Role::Host).principal;
    let refused = world.recordings.delete(&world.room, &recorded[0].0.id, &by).await;
    assert!(matches!(refused, Err(Error::StillRecorded)));

    shell.print(b"bye").await;
    shell.end(TerminalEnd::Exited(0)).await;
    world.settle().await;
    assert!(!world.terminals.list(&world.room)[0].recorded);
    let recorded = world.recorded().await;
    assert_eq!(recorded[0].0.state, Recorded::Complete);
    assert!(recorded[0].1[1].ends_with("\"bye\"]"), "{recorded:?}");
    world.recordings.delete(&world.room, &recorded[0].0.id, &by).await.expect("deleted");
    assert_eq!(world.recorded().await, []);
    let gone = world.recordings.delete(&world.room, &recorded[0].0.id, &by).await;
    assert!(matches!(gone, Err(Error::NoSuchRecording)));
}

#[tokio::test(start_paused = true)]
async fn where_as_many_recordings_are_kept_as_may_be_none_goes_and_no_terminal_goes_unrecorded() {
    let world = World::new();
    world.record(true).await;
    world.open("ada").await;
    let shell = world.shell().await;
    shell.print(b"one").await;
    sleep(Duration::from_secs(2)).await;
    let (ours, _) = world.recorded().await.remove(0);
    let other =
        || Recording { id: buildspaces_kernel::ids::RecordingId::random(), state: Recorded::Complete, ..ours.clone() };
    let last = other();
    RecordingStore::insert_recording(&world.store, &last, b"{}\n").await.expect("stored");
    for _ in 2..MAX_RECORDINGS - 1 {
        RecordingStore::insert_recording(&world.store, &other(), b"{}\n").await.expect("stored");
    }
    // The last place is that of a terminal that has only been opened.
    world.open("bo").await;
    let (ada, bo) = (who("ada", Role::Host).principal, who("bo", Role::Editor).principal);
    let open = || world.terminals.open(&world.room, &bo, SIZE);
    let Err(Error::RecordingsFull(kept)) = open().await else { panic!("it would go unrecorded") };
    assert!(kept.refusal().contains("200 of at most 200"), "{}", kept.refusal());
    let _second = world.shell().await;
    assert!(matches!(open().await, Err(Error::RecordingsFull(_))));
    assert!(matches!(world.terminals.record(&world.room, true, &ada).await, Err(Error::RecordingsFull(_))));

    // What has begun goes on, and everything is still there.
    shell.print(b" two").await;
    sleep(Duration::from_secs(2)).await;
    let recorded = world.recorded().await;
    assert_eq!(recorded.len() as u64, MAX_RECORDINGS);
    assert!(recorded.iter().any(|(it, lines)| it.id == ours.id && lines.iter().any(|line| line.contains(" two"))));

    world.recordings.delete(&world.room, &last.id, &ada).await.expect("a host may");
    open().await.expect("there is a place again");
    assert!(matches!(open().await, Err(Error::RecordingsFull(_))));
    world.record(false).await;
    assert!(!open().await.expect("nothing is recorded").recorded);
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_ends_the_recording_and_not_the_terminal() {
    let world = World::new();
    world.record(true).await;
    let terminal = world.open("ada").await;
    let shell = world.shell().await;
    let ada = world.attach(&terminal, "ada", Role::Editor).await;
    world.store.breaks(Some(StoreError::Full("no space".to_owned())));
    shell.print(b"one").await;
    sleep(Duration::from_secs(2)).await;
    assert!(!world.terminals.list(&world.room)[0].recorded && !ada.view.borrow().recorded, "everybody sees it");
    assert_eq!(world.recorded().await[0].0.state, Recorded::DiskFull, "although the store cannot be told");
    shell.print(b" two").await;
    world.settle().await;
    assert_eq!(shown(&ada), "one two");

    // A terminal that is opened meanwhile could not be recorded at all, and says so as well.
    world.open("ada").await;
    let _second = world.shell().await;
    let recorded = world.recorded().await;
    assert_eq!(
        recorded.iter().map(|(it, _)| (it.number, it.state)).collect::<Vec<_>>(),
        [(2, Recorded::DiskFull), (1, Recorded::DiskFull)]
    );

    world.store.breaks(None);
    sleep(Duration::from_secs(6)).await;
    world.record(true).await;
    assert!(world.terminals.list(&world.room).iter().all(|terminal| terminal.recorded), "another is begun");
    assert_eq!(world.recorded().await.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_slow_disk_does_not_slow_the_terminal() {
    let world = World::new();
    world.record(true).await;
    let terminal = world.open("ada").await;
    let shell = world.shell().await;
    let ada = world.attach(&terminal, "ada", Role::Editor).await;
    let piece = [b"x".repeat(78), b"\r\n".to_vec()].concat().repeat(800);
    // The store takes nothing meanwhile, and far more is printed than is kept for it.
    let stuck = world.store.stop();
    for _ in 0..20 {
        shell.print(&piece).await;
        world.settle().await;
        ada.says.send(Said::Shown(ada.display.end())).await.expect("there");
    }
    assert_eq!(ada.display.end(), 20 * piece.len() as u64);
    drop(stuck);
    shell.print(b"the end").await;
    shell.end(TerminalEnd::Exited(0)).await;
    world.settle().await;
    let recorded = world.recorded().await;
    assert_eq!(recorded[0].0.state, Recorded::Complete);
    assert!(
        recorded[0].1.iter().any(|line| line.contains("\\u001bc\\u001b[3J")),
        "a picture stands for what was missed"
    );
    assert!(recorded[0].1.last().is_some_and(|line| line.contains("the end")));
}

#[tokio::test(start_paused = true)]
async fn a_stopped_server_ends_recordings_and_what_a_killed_one_left_is_interrupted() {
    let world = World::new();
    world.record(true).await;
    world.open("ada").await;
    let shell = world.shell().await;
    shell.print(b"words").await;
    world.settle().await;
    assert_eq!(world.tasks.shutdown(Duration::from_secs(60)).await, 0, "no task is left");
    let recorded = world.recorded().await;
    assert_eq!((recorded[0].0.state, recorded[0].1.len()), (Recorded::Interrupted, 1));

    let mut left = Recording { id: buildspaces_kernel::ids::RecordingId::random(), ..recorded[0].0.clone() };
    (left.state, left.ended_at) = (Recorded::Recording, None);
    RecordingStore::insert_recording(&world.store, &left, b"{}\n").await.expect("stored");
    assert_eq!(world.recorded().await[0].0.state, Recorded::Interrupted, "nobody is at work on it");
    world.recordings.settle().await;
    assert!(world.recorded().await[0].0.ended_at.is_some());
}
