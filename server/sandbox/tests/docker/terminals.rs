//! Terminals on a real engine: a shell people can work in, beside steps, and what becomes of it when things go wrong.

use std::time::Duration;

use buildspaces_plans::ports::{
    Exit, Progress, Size, StepEvent, TerminalCommand, TerminalEnd, TerminalEvent, TerminalLine, TerminalSpec,
};
use buildspaces_sandbox::Containers;
use bytes::Bytes;

use crate::world::{PATIENCE, World, finish, read_until};

struct Terminal {
    line: TerminalLine,
    seen: String,
}

async fn open(world: &World, containers: &Containers, key: &str) -> Terminal {
    let spec = TerminalSpec { key: key.to_owned(), size: Size { rows: 24, cols: 80 } };
    let (room, files) = (&world.room, world.files(&world.room));
    let opened = containers.open_terminal(room, &files, spec, Progress::default()).await;
    Terminal { line: opened.expect("opened"), seen: String::new() }
}

impl Terminal {
    async fn type_in(&self, text: &str) {
        let command = TerminalCommand::Input(Bytes::copy_from_slice(text.as_bytes()));
        self.line.commands.send(command).await.expect("it listens");
    }

    async fn next(&mut self) -> Option<TerminalEvent> {
        tokio::time::timeout(PATIENCE, self.line.events.recv()).await.expect("an event in time")
    }

    async fn until(&mut self, text: &str) -> String {
        while !self.seen.contains(text) {
            match self.next().await {
                Some(TerminalEvent::Output(bytes)) => self.seen += &String::from_utf8_lossy(&bytes),
                other => panic!("{other:?} after {:?}", self.seen),
            }
        }
        std::mem::take(&mut self.seen)
    }

    async fn end(&mut self) -> TerminalEnd {
        loop {
            match self.next().await {
                Some(TerminalEvent::Ended(end)) => return end,
                Some(_) => {}
                None => panic!("no end"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_works_as_people_expect_and_steps_run_beside_it() {
    let world = world!();
    let containers = world.open().await;
    let mut terminal = open(&world, &containers, "t1").await;
    terminal.type_in("stty size; tty; pwd; echo \"$TERM-$CI-$NO_COLOR\"; id -u; ls /sys/class/net\r").await;
    let text = terminal.until("lo\r\n").await;
    for expected in ["24 80\r\n", "/dev/pts/", "/workspace\r\n", "xterm-256color--\r\n"] {
        assert!(text.contains(expected), "{expected:?} is not in {text:?}");
    }
    terminal.type_in("setsid sleep 900 & sleep 901 & echo from-terminal > made; echo jobs-$(jobs | wc -l)\r").await;
    terminal.until("jobs-2").await;
    let (text, end) = world.run(&containers, "a", "cat made; setsid sleep 902 & echo over").await;
    assert_eq!((text.as_str(), end), ("from-terminal\nover\n", StepEvent::Exited(Exit::Code(0))));
    terminal.type_in("echo \"$(pgrep -c sleep) are left\"\r").await;
    let text = terminal.until("are left\r\n").await;
    assert!(text.contains("2 are left\r\n"), "the step's is gone, the terminal's are not: {text:?}");

    // `yes` in one terminal, and the step beside it has its output and its end all the same.
    let mut noisy = open(&world, &containers, "t2").await;
    noisy.type_in("yes\r").await;
    noisy.until("y\r\ny\r\n").await;
    let (text, end) = world.run(&containers, "b", "seq 1 100000 | tail -1").await;
    assert_eq!((text.as_str(), end), ("100000\n", StepEvent::Exited(Exit::Code(0))));
    noisy.line.commands.send(TerminalCommand::Close).await.expect("it listens");
    assert_eq!(noisy.end().await, TerminalEnd::Closed);
    terminal.type_in("exit 4\r").await;
    assert_eq!(terminal.end().await, TerminalEnd::Exited(4));
    let (text, _) = world.run(&containers, "c", "pgrep -c sleep").await;
    assert_eq!(text, "0\n", "nothing of a terminal that ended is left");
    assert_eq!(world.containers().len(), 1);
    containers.shutdown().await;
    assert_eq!(world.containers(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_whose_container_dies_says_so_and_the_next_gets_a_new_one() {
    let world = world!();
    let containers = world.open().await;
    let mut terminal = open(&world, &containers, "t1").await;
    terminal.type_in("echo ready\r").await;
    terminal.until("ready\r\n").await;
    world.docker(&["kill", &world.containers()[0]]);
    let TerminalEnd::Lost(reason) = terminal.end().await else { panic!("not lost") };
    assert!(reason.contains("from outside"), "{reason}");
    let mut terminal = open(&world, &containers, "t2").await;
    terminal.type_in("echo again\r").await;
    terminal.until("again\r\n").await;
    assert_eq!(world.run(&containers, "a", "echo fine").await.0, "fine\n");
    containers.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn typing_keeps_the_sandbox_and_printing_does_not() {
    let mut world = world!();
    world.idle_stop = Duration::from_secs(3);
    let containers = world.open().await;
    let mut terminal = open(&world, &containers, "t1").await;
    for round in 0..10 {
        terminal.type_in(&format!("echo round {round}\r")).await;
        terminal.until(&format!("round {round}\r\n")).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    terminal.type_in("while :; do echo busy; sleep 0.2; done\r").await;
    let TerminalEnd::Lost(reason) = terminal.end().await else { panic!("not lost") };
    assert_eq!(reason, "the sandbox was stopped because nobody used it for 1 min");
    world.until("the end of the idle container", || world.containers().is_empty()).await;
    containers.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_bomb_in_a_terminal_ends_with_it() {
    let world = world!();
    let containers = world.open().await;
    let mut terminal = open(&world, &containers, "t1").await;
    terminal.type_in("bomb() { bomb | bomb & }; bomb; echo \"start\"ed\r").await;
    terminal.until("started").await;
    terminal.line.commands.send(TerminalCommand::Close).await.expect("it listens");
    assert_eq!(terminal.end().await, TerminalEnd::Closed);
    let mut step = world.start(&containers, "a", "echo fine; sleep 0.1").await;
    read_until(&mut step, "fine").await;
    assert_eq!(finish(&mut step).await.1, StepEvent::Exited(Exit::Code(0)));
    containers.shutdown().await;
}
