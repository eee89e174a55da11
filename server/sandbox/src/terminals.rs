//! A terminal in a container, by way of a connection to the agent that is the terminal's alone.
//!
//! [`open`] asks for it, [`follow`] carries bytes both ways until the terminal's end, over as many connections as it takes. Whoever
//! does not read what is printed slows the programs in the terminal and nobody else: the socket fills. What is typed is
//! sent as far as the agent's window allows. Every byte that comes is a stranger's; what programs print is not even looked at.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use buildspaces_kernel::tasks::Tasks;
use buildspaces_plans::ports::{Size, TerminalCommand, TerminalEnd, TerminalEvent, TerminalLine};
use buildspaces_sandbox_agent::protocol::{self, Event, Exit, Frame, INPUT_WINDOW, Key, Line, Output, Request};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::link::{Broken, Connection, Link};
use crate::steps::{Container, State, answer, name_of, plain};

/// Events that wait for whoever follows the terminal. When they are so many, nothing more is read from the agent.
#[cfg(not(test))]
const MAX_EVENTS: usize = 8;
#[cfg(test)]
const MAX_EVENTS: usize = 1;

/// Commands that wait for the agent. When they are so many, whoever types waits.
const MAX_COMMANDS: usize = 4;

/// How long an agent may stay away while its container runs. It dials every half second.
const RECONNECT_PATIENCE: Duration = Duration::from_secs(30);

/// How often the container's state is looked at while the agent is away.
const PROBE: Duration = Duration::from_millis(200);

/// The shell people know, or else the one that every image has.
const SHELL: [&str; 3] = ["sh", "-c", "command -v bash >/dev/null && exec bash; exec sh"];

/// Where one is, and little else. Distributions set a prompt of their own when bash starts, so this is done after that.
const PROMPT: &str = r"PS1='\[\e[32m\]\w\[\e[0m\] $ '; unset PROMPT_COMMAND";

/// Variables of steps that a person's shell should not have: they make programs print as if nobody looked on.
const UNSET: [&str; 4] = ["CI", "NO_COLOR", "PYTHONUNBUFFERED", "GIT_TERMINAL_PROMPT"];

/// Why there is no terminal.
#[derive(Debug)]
pub(crate) enum NotOpened {
    /// The connection broke. If the agent opened it nevertheless, its shell ends with the sandbox.
    Unasked(String),
    /// A sentence of the agent's.
    Rejected(String),
}

/// Asks the agent for a new terminal, with these variables besides the sandbox's own. On `Ok` the connection is the terminal's.
pub(crate) async fn open(
    link: &Link,
    mut connection: Connection,
    key: &Key,
    size: Size,
    variables: &BTreeMap<String, String>,
) -> Result<Connection, NotOpened> {
    let env = [("TERM", "xterm-256color"), ("COLORTERM", "truecolor"), ("PS1", "$ "), ("PROMPT_COMMAND", PROMPT)];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let request = Request::Open {
        key: key.clone(),
        argv: SHELL.map(str::to_owned).to_vec(),
        cwd: "/workspace".to_owned(),
        // What the room wants set stays; only what a terminal is comes after it.
        env: variables.clone().into_iter().chain(env).collect(),
        unset: UNSET.iter().filter(|name| !variables.contains_key(**name)).map(|name| (*name).to_owned()).collect(),
        size: theirs(size),
    };
    match answer(&mut connection, &request).await {
        Ok(Event::Opened { key: opened }) if opened == *key => Ok(connection),
        Ok(Event::Rejected { reason, .. }) => {
            link.park(Line::Terminal, connection);
            Err(NotOpened::Rejected(plain(&reason)))
        }
        Ok(other) => Err(NotOpened::Unasked(format!("the sandbox's agent answered {}", name_of(&other)))),
        Err(broken) => Err(NotOpened::Unasked(broken.to_string())),
    }
}

fn theirs(size: Size) -> protocol::Size {
    protocol::Size { rows: size.rows, cols: size.cols }
}

/// Follows a terminal that the agent has opened, in a task of its own.
pub(crate) fn follow(
    tasks: &Tasks,
    connection: Connection,
    key: Key,
    link: Arc<Link>,
    container: Arc<dyn Container>,
) -> TerminalLine {
    let (events, event_receiver) = mpsc::channel(MAX_EVENTS);
    let (command_sender, commands) = mpsc::channel(MAX_COMMANDS);
    let follower = Follower {
        key,
        link,
        container,
        seen: 0,
        size: None,
        closing: false,
        typed: VecDeque::new(),
        sent: 0,
        taken: 0,
        events,
        commands,
    };
    tasks.spawn("sandbox terminal", follower.run(connection));
    TerminalLine { events: event_receiver, commands: command_sender }
}

struct Follower {
    key: Key,
    link: Arc<Link>,
    container: Arc<dyn Container>,
    /// Bytes printed that were received, or are known to be dropped.
    seen: u64,
    /// The last size that was asked for.
    size: Option<Size>,
    closing: bool,
    /// Typed and not sent yet: one command at most.
    typed: VecDeque<Bytes>,
    /// Bytes typed that this connection was sent, and those the agent has passed on.
    sent: u64,
    taken: u64,
    events: mpsc::Sender<TerminalEvent>,
    commands: mpsc::Receiver<TerminalCommand>,
}

impl Follower {
    async fn run(mut self, connection: Connection) {
        let mut connection = Some(connection);
        let end = loop {
            let mut current = match connection.take() {
                Some(current) => current,
                None => match self.reconnect().await {
                    Ok(current) => current,
                    Err(end) => break end,
                },
            };
            match self.carry(&mut current).await {
                Ok(exit) => break ended(exit),
                Err(broken) => tracing::debug!(%broken, "lost the connection of a terminal"),
            }
        };
        let _ = self.events.send(TerminalEvent::Ended(end)).await;
    }

    /// Carries bytes over one connection until the terminal ends or the connection does.
    async fn carry(&mut self, connection: &mut Connection) -> Result<Exit, Broken> {
        (self.sent, self.taken) = (0, 0);
        if let Some(size) = self.size {
            connection.send(&Request::Resize { size: theirs(size) }).await?;
        }
        if self.closing {
            connection.send(&Request::Close).await?;
        }
        // Received, and waiting for a place among the events.
        let mut printed: VecDeque<TerminalEvent> = VecDeque::new();
        let events = self.events.clone();
        loop {
            self.send_typed(connection).await?;
            tokio::select! {
                permit = events.reserve(), if !printed.is_empty() => match (permit, printed.pop_front()) {
                    (Ok(permit), Some(event)) => permit.send(event),
                    // Nobody looks on any more: see `commands` below.
                    _ => printed.clear(),
                },
                command = self.commands.recv(), if !self.closing && self.typed.is_empty() => {
                    self.obey(command, connection).await?;
                }
                // Nothing is read before there is a place for it; but the agent's answers come the same way, so while
                // something typed waits for them there may be one piece more.
                frame = connection.receive(), if printed.is_empty() || (!self.typed.is_empty() && printed.len() < 2) => {
                    match frame? {
                        Frame::Output(Output { key, offset, bytes }) if key == self.key => {
                            self.print(offset, bytes, &mut printed);
                        }
                        Frame::Control(Event::Taken { bytes }) => self.taken = bytes.min(self.sent),
                        Frame::Control(Event::Ended { exit }) => {
                            for event in printed {
                                let _ = self.events.send(event).await;
                            }
                            return Ok(exit);
                        }
                        _ => {}
                    }
                }
            }
        }
    }

    fn print(&mut self, offset: u64, bytes: Vec<u8>, printed: &mut VecDeque<TerminalEvent>) {
        if offset > self.seen {
            printed.push_back(TerminalEvent::Dropped(offset - self.seen));
            self.seen = offset;
        }
        // An honest agent never repeats itself; what it repeats is not passed on twice.
        let mut bytes = Bytes::from(bytes);
        let known = usize::try_from(self.seen - offset).unwrap_or(usize::MAX).min(bytes.len());
        bytes = bytes.split_off(known);
        self.seen = self.seen.saturating_add(bytes.len() as u64);
        if !bytes.is_empty() {
            printed.push_back(TerminalEvent::Output(bytes));
        }
    }

    /// Does what it is told. Without anybody to tell it, the terminal is closed.
    async fn obey(&mut self, command: Option<TerminalCommand>, connection: &mut Connection) -> Result<(), Broken> {
        match command {
            Some(TerminalCommand::Input(bytes)) => {
                self.container.touched();
                self.typed.push_back(bytes);
                Ok(())
            }
            Some(TerminalCommand::Resize(size)) => {
                self.size = Some(size);
                connection.send(&Request::Resize { size: theirs(size) }).await
            }
            Some(TerminalCommand::Close) | None => {
                self.closing = true;
                self.typed.clear();
                connection.send(&Request::Close).await
            }
        }
    }

    async fn send_typed(&mut self, connection: &mut Connection) -> Result<(), Broken> {
        while let Some(bytes) = self.typed.front() {
            let len = bytes.len() as u64;
            if self.sent - self.taken + len > INPUT_WINDOW as u64 {
                break;
            }
            self.sent += len;
            connection.send_input(bytes).await?;
            self.typed.pop_front();
        }
        Ok(())
    }

    /// Waits for the agent to dial again, and gets the terminal back. `Err` says why it will not.
    async fn reconnect(&mut self) -> Result<Connection, TerminalEnd> {
        let since = Instant::now();
        loop {
            if let Ok(mut connection) = tokio::time::timeout(PROBE, self.link.connection(Line::Terminal)).await {
                let resume = Request::Resume { key: self.key.clone(), from_offset: self.seen };
                match answer(&mut connection, &resume).await {
                    Ok(Event::Opened { .. }) => return Ok(connection),
                    Ok(_) => {
                        self.link.park(Line::Terminal, connection);
                        let reason = "the sandbox was started anew and has forgotten the terminal";
                        return Err(TerminalEnd::Lost(reason.to_owned()));
                    }
                    Err(broken) => tracing::debug!(%broken, "a terminal's new connection is of no use"),
                }
            }
            match self.container.state().await {
                State::Gone(reason) | State::OverLimit(reason) => return Err(TerminalEnd::Lost(reason)),
                State::Running | State::Unknown if since.elapsed() < RECONNECT_PATIENCE => {}
                State::Running => return Err(TerminalEnd::Lost("the sandbox stopped answering".to_owned())),
                State::Unknown => {
                    let reason = "the Docker engine stopped, and the sandbox with it";
                    return Err(TerminalEnd::Lost(reason.to_owned()));
                }
            }
        }
    }
}

fn ended(exit: Exit) -> TerminalEnd {
    match exit {
        Exit::Code(code) => TerminalEnd::Exited(code),
        Exit::Cancelled => TerminalEnd::Closed,
        Exit::Signal(signal) => TerminalEnd::Exited(128_i32.saturating_add(signal)),
        Exit::TimedOut => TerminalEnd::Lost("the sandbox ended the terminal".to_owned()),
        Exit::NotStarted(reason) => TerminalEnd::Lost(plain(&reason)),
    }
}

#[cfg(test)]
mod tests;
