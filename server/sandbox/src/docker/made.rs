//! By what a room's sandbox is made: the `devcontainer.json` of its workspace, read when the sandbox is made and kept beside it until it
//! ends. What of the file is granted is decided in `plans`, by a pure function; here it is found, and the image is looked for.

use std::io::Read as _;
use std::sync::Arc;

use buildspaces_kernel::ids::{OrganisationId, RoomId};
use buildspaces_plans::devcontainer::{Amount, Devcontainer, MAX_FILE, PATHS, Terms};
use buildspaces_plans::ports::{Made, Phase, Progress, SandboxError};
use buildspaces_sandbox_agent::protocol::Line;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::sandbox::Place;
use super::{Containers, Shared};
use crate::Limits;
use crate::files::Files;
use crate::steps::Container as _;
use crate::workspace_owner;

/// In the folder of a sandbox, for a later process of this server: by what it was made.
const MADE: &str = "devcontainer.json";

/// In the same folder: what it may use.
const GRANTED: &str = "granted.json";

/// What a sandbox may use and on whose account, as it was when it was made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Granted {
    pub(super) limits: Limits,
    pub(super) organisation: Option<OrganisationId>,
}

impl Containers {
    /// The room's sandbox, started with `files` if there is none, if something is to run in it before anything else; `None` if nothing is, and
    /// then nothing is started. Cancel-safe.
    ///
    /// # Errors
    /// Runs are off, or a sentence that says what failed.
    pub async fn prepare(
        &self,
        room: &RoomId,
        files: &Arc<dyn Files>,
        progress: Progress,
    ) -> Result<Option<Arc<Made>>, SandboxError> {
        let (reply, answer) = oneshot::channel();
        let (this, room, files) = (self.clone(), room.clone(), Arc::clone(files));
        // A task of its own, because a container that was created half would be nobody's.
        self.shared.tasks.spawn("prepare a sandbox", async move {
            let _ = reply.send(Box::pin(this.prepare_now(&room, &files, &progress)).await);
        });
        answer.await.unwrap_or_else(|_| Err(SandboxError::Failed("the sandbox could not be started".to_owned())))
    }

    async fn prepare_now(
        &self,
        room: &RoomId,
        files: &Arc<dyn Files>,
        progress: &Progress,
    ) -> Result<Option<Arc<Made>>, SandboxError> {
        let shared = &self.shared;
        shared.check_available()?;
        let slot = shared.slot(room);
        let mut held = slot.sandbox.lock().await;
        if let Some(sandbox) = held.as_ref().filter(|sandbox| sandbox.is_usable()) {
            match sandbox.made().filter(|made| !made.devcontainer.setup.is_empty()) {
                None => return Ok(None),
                Some(made) if !sandbox.state().await.is_gone() => return Ok(Some(Arc::clone(made))),
                // Only its place is left; the next one is set up.
                Some(_) => shared.discard(&mut held).await,
            }
        }
        progress.enter(Phase::Files);
        let granted = shared.granted(files)?;
        if shared.asked(files, &granted.limits).await.is_none_or(|asked| asked.setup.is_empty()) {
            return Ok(None);
        }
        let (sandbox, patience) = shared.usable(room, files, &mut held, progress).await?;
        // What is wrong with one that does not dial is found out, and said, by whoever starts something in it.
        if let Ok(connection) = sandbox.connect(Line::Steps, patience).await {
            sandbox.link().park(Line::Steps, connection);
            progress.enter(Phase::Ready);
        }
        Ok(sandbox.made().filter(|made| !made.devcontainer.setup.is_empty()).map(Arc::clone))
    }
}

impl Shared {
    /// What the workspace's `devcontainer.json` asks for as far as it is granted, and the name of the image to use, which is there unless it is
    /// the usual one.
    ///
    /// # Errors
    /// Its image is still being pulled.
    pub(super) async fn asked_for(
        &self,
        files: &Arc<dyn Files>,
        limits: &Limits,
        progress: &Progress,
    ) -> Result<(Option<Devcontainer>, String), SandboxError> {
        let usual = self.config.image.clone();
        let Some(mut asked) = self.asked(files, limits).await else { return Ok((None, usual)) };
        let Some(image) = asked.image.clone() else { return Ok((Some(asked), usual)) };
        // Whatever else the engine says, it says again to whoever makes the container.
        if self.engine.image(&image).await.is_ok_and(|found| found.is_none()) {
            let why_not = if self.config.pull {
                progress.enter(Phase::PullingImage);
                self.pull(&image).await?
            } else {
                Some("sandbox.pull is false".to_owned())
            };
            if let Some(reason) = why_not {
                let reason = reason.trim_end_matches('.');
                let message = format!(
                    "{image} is listed in sandbox.images, not on this server's engine, and was not pulled ({reason}). So the sandbox has {usual}. The operator can pull or build it."
                );
                asked.notice("image", message);
                asked.image = None;
                return Ok((Some(asked), usual));
            }
        }
        Ok((Some(asked), image))
    }

    /// `None` if there is no such file.
    async fn asked(&self, files: &Arc<dyn Files>, limits: &Limits) -> Option<Devcontainer> {
        if let Err(error) = files.settle().await {
            tracing::warn!(%error, "a devcontainer.json may be an older one");
        }
        let (files, terms) = (Arc::clone(files), self.terms(limits));
        tokio::task::spawn_blocking(move || find(files.as_ref(), &terms)).await.ok().flatten()
    }

    /// What the sandbox of that room may use.
    pub(super) fn granted(&self, files: &Arc<dyn Files>) -> Result<Granted, SandboxError> {
        let tenancy = files.tenancy();
        let limits =
            self.config.allowances.of(&tenancy).map_err(|unknown| SandboxError::Failed(unknown.to_string()))?;
        Ok(Granted { limits: limits.clone(), organisation: tenancy.organisation })
    }

    fn terms(&self, limits: &Limits) -> Terms {
        let config = &self.config;
        Terms {
            image: config.image.clone(),
            images: config.images.clone(),
            cpus: Amount { most: limits.cpus(), key: limits.key("cpus") },
            memory: Amount { most: limits.memory, key: limits.key("memory_mib") },
            disk: Amount { most: limits.disk, key: limits.key("disk_mib") },
            user: workspace_owner().map_or_else(|| rustix::process::geteuid().as_raw(), |(user, _)| user),
        }
    }

    /// Writes beside the sandbox by what it is made and what it may use, before it is: a kill in between leaves none that nobody knows this of.
    /// Whatever another sandbox at this place was made by is gone.
    pub(super) async fn remember(&self, place: &Place, devcontainer: Option<&Devcontainer>, granted: &Granted) {
        let folder = self.folder.join(place.as_str());
        let written = async {
            tokio::fs::create_dir_all(&folder).await?;
            let granted = serde_json::to_vec(granted).expect("texts and numbers");
            tokio::fs::write(folder.join(GRANTED), granted).await?;
            let file = folder.join(MADE);
            match devcontainer {
                None => match tokio::fs::remove_file(&file).await {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
                    _ => Ok(()),
                },
                Some(devcontainer) => {
                    tokio::fs::write(&file, serde_json::to_vec(devcontainer).expect("texts and numbers")).await
                }
            }
        };
        if let Err(error) = written.await {
            tracing::warn!(%error, %place, "a later start of the server will not know by what a sandbox was made");
        }
    }

    /// What an earlier process granted the sandbox: what it has, whatever the configuration says by now.
    pub(super) async fn recall_granted(&self, place: &Place) -> Granted {
        let read = tokio::fs::read(self.folder.join(place.as_str()).join(GRANTED)).await.ok();
        // Before there were kinds, all had the usual limits.
        let usual = || Granted { limits: self.config.allowances.usual.clone(), organisation: None };
        read.and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_else(usual)
    }

    /// By what an earlier process made the sandbox.
    pub(super) async fn recall(&self, place: &Place) -> Option<Devcontainer> {
        serde_json::from_slice(&tokio::fs::read(self.folder.join(place.as_str()).join(MADE)).await.ok()?).ok()
    }
}

fn find(files: &dyn Files, terms: &Terms) -> Option<Devcontainer> {
    for path in PATHS {
        let mut bytes = Vec::new();
        let read = match files.open(path) {
            Ok(None) => continue,
            Ok(Some(file)) => file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes).map(|_| ()),
            Err(error) => Err(error),
        };
        return Some(match read {
            Ok(()) => Devcontainer::read(path, &bytes, terms),
            Err(error) => Devcontainer::unreadable(path, &error.to_string()),
        });
    }
    None
}
