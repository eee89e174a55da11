//! A command in a container, by way of a connection to the agent that is the command's alone.
//!
//! [`start`] asks for it, [`collect`] reads what it prints until it ends. A command that takes too long or prints too much is ended by
//! hanging up. Nothing of it outlives its connection, so none is ever resumed; every byte that comes is a stranger's.

use std::collections::BTreeMap;

use buildspaces_plans::ports::{CommandEnd, CommandOutput, CommandSpec};
use buildspaces_sandbox_agent::protocol::{Event, Exit, Frame, Key, Line, Output, Request};
use tokio::time::{Instant, timeout_at};

use crate::link::{Broken, Connection, Link};
use crate::steps::{answer, name_of, plain};

/// Characters of a command's complaints that are passed on.
const MAX_ERRORS: usize = 8 << 10;

/// Why there is no command.
#[derive(Debug)]
pub(crate) enum NotStarted {
    /// The connection broke before the agent answered. If it started the command nevertheless, that ended with the connection.
    Unasked(String),
    /// A sentence of the agent's.
    Rejected(String),
}

/// Asks the agent for the command. On `Ok` the connection is the command's.
pub(crate) async fn start(
    link: &Link,
    mut connection: Connection,
    key: &Key,
    command: &CommandSpec,
) -> Result<Connection, NotStarted> {
    let request = Request::Run {
        key: key.clone(),
        argv: command.argv.clone(),
        cwd: "/workspace".to_owned(),
        env: command.env.iter().cloned().collect::<BTreeMap<_, _>>(),
    };
    match answer(&mut connection, &request).await {
        Ok(Event::Started { key: started }) if started == *key => Ok(connection),
        Ok(Event::Rejected { reason, .. }) => {
            link.park(Line::Command, connection);
            Err(NotStarted::Rejected(plain(&reason)))
        }
        Ok(other) => Err(NotStarted::Unasked(format!("the sandbox's agent answered {}", name_of(&other)))),
        Err(broken) => Err(NotStarted::Unasked(broken.to_string())),
    }
}

/// Reads what the command prints until it ends or is ended. Dropping the future ends it.
pub(crate) async fn collect(
    mut connection: Connection,
    key: &Key,
    command: &CommandSpec,
) -> Result<CommandOutput, Broken> {
    let deadline = Instant::now() + command.timeout;
    let mut output = Vec::new();
    loop {
        let Ok(frame) = timeout_at(deadline, connection.receive()).await else {
            return Ok(CommandOutput { end: CommandEnd::TimedOut, output, errors: String::new() });
        };
        match frame? {
            Frame::Output(Output { key: of, bytes, .. }) if of == *key => {
                let fits = bytes.len().min(command.max_output - output.len());
                output.extend_from_slice(&bytes[..fits]);
                if fits < bytes.len() {
                    return Ok(CommandOutput { end: CommandEnd::Cut, output, errors: String::new() });
                }
            }
            Frame::Control(Event::Finished { exit, errors }) => {
                let errors = errors.chars().take(MAX_ERRORS).collect();
                return Ok(CommandOutput { end: CommandEnd::Exited(code_of(&exit)), output, errors });
            }
            _ => {}
        }
    }
}

/// As shells have it.
fn code_of(exit: &Exit) -> i32 {
    match exit {
        Exit::Code(code) => *code,
        Exit::Signal(signal) => 128_i32.saturating_add(*signal),
        Exit::TimedOut | Exit::Cancelled => 128 + 15,
        Exit::NotStarted(_) => 127,
    }
}

#[cfg(test)]
mod tests;
