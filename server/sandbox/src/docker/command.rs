//! Short programs in a room's container, beside its step and its terminals.

use std::sync::Arc;

use buildspaces_kernel::ids::{RoomId, random_id};
use buildspaces_plans::ports::{CommandOutput, CommandSpec, Progress, SandboxError};
use buildspaces_sandbox_agent::protocol::{Key, Line};
use tokio::sync::oneshot;

use super::sandbox::Lent;
use super::{Containers, parse_key};
use crate::commands::{self, NotStarted};
use crate::files::Files;
use crate::link::Connection;

impl Containers {
    /// Starts the room's container if there is none, with `files`, then the command, and waits for its end. If the
    /// caller goes away, it is carried out all the same.
    ///
    /// # Errors
    /// Runs are off, or a sentence that says what failed.
    pub async fn command(
        &self,
        room: &RoomId,
        files: &Arc<dyn Files>,
        command: CommandSpec,
    ) -> Result<CommandOutput, SandboxError> {
        let (reply, answer) = oneshot::channel();
        let (this, room, files) = (self.clone(), room.clone(), Arc::clone(files));
        // A task of its own, because a container that was created half would be nobody's.
        self.shared.tasks.spawn("run a command", async move {
            let _ = reply.send(Box::pin(this.command_now(&room, &files, &command)).await);
        });
        answer.await.unwrap_or_else(|_| Err(SandboxError::Failed("the sandbox could not be started".to_owned())))
    }

    async fn command_now(
        &self,
        room: &RoomId,
        files: &Arc<dyn Files>,
        command: &CommandSpec,
    ) -> Result<CommandOutput, SandboxError> {
        let key = parse_key(&format!("command-{}", random_id(12)))?;
        let (connection, _lent) = self.start_command(room, files, &key, command).await?;
        // The room's lock is free again: steps and terminals start meanwhile.
        let ended = |broken| self.shared.failed(format!("the sandbox ended while a command ran: {broken}"));
        commands::collect(connection, &key, command).await.map_err(ended)
    }

    async fn start_command(
        &self,
        room: &RoomId,
        files: &Arc<dyn Files>,
        key: &Key,
        command: &CommandSpec,
    ) -> Result<(Connection, Lent), SandboxError> {
        let shared = &self.shared;
        shared.check_available()?;
        shared.check_headers(&command.headers)?;
        let slot = shared.slot(room);
        let mut held = slot.sandbox.lock().await;
        // A second attempt, because a container that was kept may have died unnoticed.
        let mut reason = String::new();
        for _ in 0..2 {
            let progress = Progress::default();
            let (sandbox, patience) = shared.usable(room, files, &mut held, &progress).await?;
            let lent = sandbox.lend(&command.headers);
            let started = match sandbox.connect(Line::Command, patience).await {
                Ok(connection) => commands::start(sandbox.link(), connection, key, command).await,
                Err(unasked) => Err(NotStarted::Unasked(unasked)),
            };
            match started {
                Ok(connection) => return Ok((connection, lent)),
                Err(NotStarted::Rejected(why)) => return Err(SandboxError::Failed(why)),
                Err(NotStarted::Unasked(why)) => reason = why,
            }
            if !shared.give_up(room, &mut held, &sandbox, &reason).await {
                break;
            }
        }
        Err(shared.failed(format!("the sandbox could not be reached: {reason}")))
    }
}
