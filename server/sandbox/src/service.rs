//! The `Sandboxes` port of `plans`: containers and workspaces joined.
//!
//! It adds nothing of its own: a step or a terminal starts in the container of its room, on the files of its room's workspace.

use std::sync::Arc;

use async_trait::async_trait;
use buildspaces_kernel::ids::RoomId;
use buildspaces_plans::ports::{
    Availability, CommandOutput, CommandSpec, Frozen, Made, NewFile, NotConnected, Phase, Progress, SandboxError,
    Sandboxes, Step, StepSpec, TerminalLine, TerminalSpec, Tunnel, Unshared,
};
use buildspaces_plans::secret::StepSecrets;
use buildspaces_policy::tenancy::Tenancy;
use tokio::sync::watch;

use crate::docker::Containers;
use crate::files::Files;
use crate::mirror::{self, Mirrors};

/// Sandboxes on a Docker engine. Clones share everything.
#[derive(Clone, Debug)]
pub struct DockerSandboxes {
    containers: Containers,
    mirrors: Mirrors,
}

impl DockerSandboxes {
    pub fn new(containers: Containers, mirrors: Mirrors) -> Self {
        Self { containers, mirrors }
    }

    /// See [`Containers::reconcile`]: to be called once, before anything is resumed or started.
    pub async fn reconcile(&self, keep: &[RoomId]) {
        self.containers.reconcile(keep).await;
        let mirrors = self.mirrors.clone();
        self.containers.keep_counting(move |organisation| {
            let mirrors = mirrors.clone();
            async move {
                match mirrors.folders_of(&organisation).await {
                    Ok(folders) => Some(folders),
                    Err(error) => {
                        tracing::error!(%organisation, %error, "what its rooms take of the disk is not known");
                        None
                    }
                }
            }
        });
    }

    /// The room's files. To load them takes its time in a room that nobody used for a while.
    async fn files(&self, room: &RoomId, progress: &Progress) -> Result<Arc<dyn Files>, SandboxError> {
        if !self.mirrors.is_open(room) {
            progress.enter(Phase::Files);
        }
        Ok(self.mirrors.workspace(room).await.map_err(failed)?)
    }

    /// See [`Containers::shutdown`]: to be called while the runtime still runs tasks. What programs wrote last is in the documents when it
    /// returns. Cancelled, the rest of that comes with the next use of its room's workspace.
    pub async fn shutdown(&self) {
        self.containers.shutdown().await;
        self.mirrors.absorb_all().await;
    }
}

#[async_trait]
impl Sandboxes for DockerSandboxes {
    fn availability(&self) -> watch::Receiver<Availability> {
        self.containers.availability()
    }

    async fn freeze(&self, room: &RoomId) -> Result<Frozen, SandboxError> {
        let workspace = self.mirrors.workspace(room).await.map_err(failed)?;
        let (files, guard) = workspace.freeze().await.map_err(failed)?;
        Ok(Frozen { files, guard: Box::new(guard) })
    }

    async fn prepare(&self, room: &RoomId, progress: Progress) -> Result<Option<Arc<Made>>, SandboxError> {
        let files = self.files(room, &progress).await?;
        self.containers.prepare(room, &files, progress).await
    }

    fn made(&self, room: &RoomId) -> watch::Receiver<Option<Arc<Made>>> {
        self.containers.made(room)
    }

    async fn start(&self, room: &RoomId, step: StepSpec, progress: Progress) -> Result<Step, SandboxError> {
        let files = self.files(room, &progress).await?;
        self.containers.start(room, &files, step, progress).await
    }

    async fn open_terminal(
        &self,
        room: &RoomId,
        terminal: TerminalSpec,
        progress: Progress,
    ) -> Result<TerminalLine, SandboxError> {
        let files = self.files(room, &progress).await?;
        self.containers.open_terminal(room, &files, terminal, progress).await
    }

    async fn command(&self, room: &RoomId, command: CommandSpec) -> Result<CommandOutput, SandboxError> {
        let files: Arc<dyn Files> = self.mirrors.workspace(room).await.map_err(failed)?;
        self.containers.command(room, &files, command).await
    }

    async fn resume(
        &self,
        room: &RoomId,
        key: &str,
        seen: u64,
        secrets: StepSecrets,
    ) -> Result<Option<Step>, SandboxError> {
        self.containers.resume(room, key, seen, secrets).await
    }

    async fn absorb(&self, room: &RoomId) -> Result<(), SandboxError> {
        let workspace = self.mirrors.workspace(room).await.map_err(failed)?;
        workspace.absorb().await.map_err(failed)
    }

    fn ports(&self, room: &RoomId) -> watch::Receiver<Arc<[u16]>> {
        self.containers.ports(room)
    }

    async fn connect(&self, room: &RoomId, port: u16) -> Result<Box<dyn Tunnel>, NotConnected> {
        self.containers.connect(room, port).await
    }

    fn touch(&self, room: &RoomId) {
        self.containers.touch(room);
    }

    async fn dispose(&self, room: &RoomId, reason: &str) -> bool {
        self.containers.dispose(room, reason).await
    }

    async fn fill(&self, room: &RoomId, files: Vec<NewFile>) -> Result<Vec<String>, SandboxError> {
        let workspace = self.mirrors.workspace(room).await.map_err(failed)?;
        let filled = workspace.fill(files).await.map_err(failed);
        // Also if it ended half-way.
        self.containers.count_room(room, workspace.as_ref()).await;
        filled
    }

    fn check_disk(&self, tenancy: &Tenancy, more: u64) -> Result<(), SandboxError> {
        self.containers.check_disk(tenancy, more)
    }

    async fn unshared(
        &self,
        room: &RoomId,
        folder: Option<&str>,
        most: usize,
    ) -> Result<(Vec<Unshared>, u64), SandboxError> {
        self.mirrors.unshared(room, folder, most).await.map_err(failed)
    }

    async fn open(&self, room: &RoomId, path: &str) -> Result<std::fs::File, SandboxError> {
        let workspace = self.mirrors.workspace(room).await.map_err(failed)?;
        let path = path.to_owned();
        tokio::task::spawn_blocking(move || workspace.open(&path))
            .await
            .map_err(|_| SandboxError::Failed("the server is stopping".to_owned()))?
            .map_err(failed)
    }
}

fn failed(error: mirror::Error) -> SandboxError {
    SandboxError::Failed(error.to_string())
}
