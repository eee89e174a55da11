//! What all [`Sandboxes`] must do. They are given the same small programs; those that only pretend play them ([`HELLO`], [`WAITS`], `echo x`, and no other).

use std::io::Read as _;

use buildspaces_kernel::ids::{RoomId, random_id};

use crate::ports::{
    CommandEnd, CommandSpec, Exit, Frozen, Progress, SANDBOX_ENDED, SandboxError, Sandboxes, Size, Step, StepEvent,
    StepSpec, TerminalCommand, TerminalEnd, TerminalEvent, TerminalSpec,
};
use crate::secret::StepSecrets;
use crate::trigger::text_hash;

/// Prints a word and ends.
pub const HELLO: &str = "echo hello; exit 3";

/// Prints a word and waits until it is stopped.
pub const WAITS: &str = "echo here; sleep 600";

/// The only file of the room, and its text.
pub const FILE: (&str, &str) = ("a.txt", "one\n");

/// Runs the whole suite in a room that has one file and no sandbox yet.
///
/// # Panics
/// When the contract is broken.
pub async fn sandboxes(sandboxes: &dyn Sandboxes, room: &RoomId) {
    nothing_is_there_before_it_is_wanted(sandboxes, room).await;
    a_step_prints_and_ends(sandboxes, room).await;
    a_step_that_is_for_another_sandbox_does_not_start(sandboxes, room).await;
    a_step_ends_when_it_is_cancelled(sandboxes, room).await;
    files_are_as_the_documents_say(sandboxes, room).await;
    a_command_says_what_it_printed(sandboxes, room).await;
    a_terminal_is_closed(sandboxes, room).await;
    what_runs_is_lost_with_its_sandbox_and_the_next_thing_gets_another(sandboxes, room).await;
}

async fn nothing_is_there_before_it_is_wanted(sandboxes: &dyn Sandboxes, room: &RoomId) {
    assert!(sandboxes.ports(room).borrow().is_empty());
    assert_eq!(*sandboxes.made(room).borrow(), None);
    let resumed = sandboxes.resume(room, "nobodys", 0, StepSecrets::default()).await.expect("answers");
    assert!(resumed.is_none(), "no step is under way");
    assert_eq!(sandboxes.prepare(room, Progress::default()).await, Ok(None), "nothing is to be set up");
    assert!(!sandboxes.dispose(room, "It was ended.").await, "so nothing was started either");
}

async fn a_step_prints_and_ends(sandboxes: &dyn Sandboxes, room: &RoomId) {
    let mut step = start(sandboxes, room, HELLO).await;
    assert_eq!(rest(&mut step).await, ("hello\n".to_owned(), StepEvent::Exited(Exit::Code(3))));
}

async fn a_step_that_is_for_another_sandbox_does_not_start(sandboxes: &dyn Sandboxes, room: &RoomId) {
    let spec = StepSpec { sandbox: Some("0".repeat(64)), ..spec(HELLO) };
    let refused = sandboxes.start(room, spec, Progress::default()).await.expect_err("that one is not the room's");
    assert_eq!(refused, SandboxError::Failed(SANDBOX_ENDED.to_owned()));
}

async fn a_step_ends_when_it_is_cancelled(sandboxes: &dyn Sandboxes, room: &RoomId) {
    let mut step = start(sandboxes, room, WAITS).await;
    begins(&mut step).await;
    step.cancel.send(()).await.expect("it listens");
    assert_eq!(rest(&mut step).await.1, StepEvent::Exited(Exit::Cancelled));
}

async fn files_are_as_the_documents_say(sandboxes: &dyn Sandboxes, room: &RoomId) {
    let (path, text) = FILE;
    for _ in 0..2 {
        let Frozen { files, guard } = sandboxes.freeze(room).await.expect("held still");
        assert_eq!(files, [(path.to_owned(), text_hash(text))]);
        let mut read = String::new();
        sandboxes.open(room, path).await.expect("opens").read_to_string(&mut read).expect("a text");
        assert_eq!(read, text);
        assert!(sandboxes.open(room, "no-such").await.is_err());
        drop(guard);
    }
    sandboxes.absorb(room).await.expect("there is nothing new");
}

async fn a_command_says_what_it_printed(sandboxes: &dyn Sandboxes, room: &RoomId) {
    let command = |argv: &[&str]| CommandSpec {
        argv: argv.iter().map(|part| (*part).to_owned()).collect(),
        env: Vec::new(),
        timeout: std::time::Duration::from_secs(30),
        max_output: 1 << 10,
        headers: Vec::new(),
    };
    let done = sandboxes.command(room, command(&["echo", "x"])).await.expect("it runs");
    assert_eq!((done.end, done.output.as_slice()), (CommandEnd::Exited(0), b"x\n".as_slice()));
    let done = sandboxes.command(room, command(&["no-such-program"])).await.expect("it is tried");
    assert_eq!(done.end, CommandEnd::Exited(127));
}

async fn a_terminal_is_closed(sandboxes: &dyn Sandboxes, room: &RoomId) {
    let spec = TerminalSpec { key: key(), size: Size { rows: 24, cols: 80 } };
    let mut line = sandboxes.open_terminal(room, spec, Progress::default()).await.expect("opens");
    line.commands.send(TerminalCommand::Close).await.expect("it listens");
    let end = loop {
        match line.events.recv().await.expect("an end") {
            TerminalEvent::Ended(end) => break end,
            TerminalEvent::Output(_) | TerminalEvent::Dropped(_) => {}
        }
    };
    assert_eq!(end, TerminalEnd::Closed);
}

async fn what_runs_is_lost_with_its_sandbox_and_the_next_thing_gets_another(sandboxes: &dyn Sandboxes, room: &RoomId) {
    let mut step = start(sandboxes, room, WAITS).await;
    begins(&mut step).await;
    assert!(sandboxes.dispose(room, "It was ended.").await);
    let (_, end) = rest(&mut step).await;
    assert_eq!(end, StepEvent::Lost("It was ended.".to_owned()));
    a_step_prints_and_ends(sandboxes, room).await;
}

fn key() -> String {
    format!("contract-{}", random_id(8))
}

fn spec(script: &str) -> StepSpec {
    let argv = ["sh", "-c", script].map(str::to_owned).to_vec();
    StepSpec { key: key(), argv, timeout: None, secrets: StepSecrets::default(), sandbox: None }
}

async fn start(sandboxes: &dyn Sandboxes, room: &RoomId, script: &str) -> Step {
    sandboxes.start(room, spec(script), Progress::default()).await.expect("it starts")
}

/// Waits until it has printed its word.
async fn begins(step: &mut Step) {
    match step.events.recv().await {
        Some(StepEvent::Output(bytes)) => assert_eq!(&bytes[..], b"here\n"),
        other => panic!("{other:?}"),
    }
}

/// What it prints from now on, and its end.
async fn rest(step: &mut Step) -> (String, StepEvent) {
    let mut text = Vec::new();
    loop {
        match step.events.recv().await.expect("an end") {
            StepEvent::Output(bytes) => text.extend(bytes),
            StepEvent::Dropped(bytes) => panic!("{bytes} bytes were dropped"),
            end => return (String::from_utf8_lossy(&text).into_owned(), end),
        }
    }
}
