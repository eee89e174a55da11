//! The Docker engine, as little of it as sandboxes need: create, start, inspect, list, remove. Knows no rooms' life cycles.
//!
//! No program is ever run by `exec`: see the crate's page for why.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error as DockerError;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, CreateImageOptionsBuilder, ListContainersOptionsBuilder,
    RemoveContainerOptionsBuilder,
};
use buildspaces_plans::ports::{Availability, SandboxError};
use buildspaces_sandbox_agent::protocol::TOKEN_VARIABLE;
use futures_util::TryStreamExt as _;
use tokio::sync::{Mutex, Semaphore};

use super::sandbox::Place;
use super::spec::{INSTANCE_LABEL, PLACE_LABEL, ROOM_LABEL, WORKSPACE};
use crate::DEFAULT_IMAGE;

const USUAL_SOCKET: &str = "unix:///var/run/docker.sock";

/// Seconds until a request to the engine is given up. Creating a container takes long on a loaded machine.
const REQUEST_TIMEOUT: u64 = 60;

/// How long the engine may take to say that it is there.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// Creations, starts and removals at the same time: more only make each of them slower. Others wait in line.
const PARALLEL_CHANGES: usize = 2;

/// Something the engine could not do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It does not answer: not started, or stopped.
    #[error("no Docker engine answers at {host}")]
    Unreachable { host: String },
    /// It answered with an error.
    #[error("the Docker engine says: {0}")]
    Refused(String),
}

impl From<Error> for SandboxError {
    fn from(error: Error) -> Self {
        match error {
            Error::Unreachable { .. } => Self::Off { message: error.to_string(), hint: START_HINT.to_owned() },
            Error::Refused(_) => Self::Failed(error.to_string()),
        }
    }
}

const START_HINT: &str = "Start Docker, or type: make engine";

#[derive(Debug)]
pub(crate) struct Engine {
    host: String,
    /// Speaks the engine's version.
    client: Mutex<Option<Docker>>,
    changes: Semaphore,
}

/// What the engine says of one container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Inspected {
    pub(crate) running: bool,
    pub(crate) oom_killed: bool,
    pub(crate) exit_code: i64,
    /// Its first process, while it runs.
    pub(crate) init: Option<i32>,
    /// The agent's token, from the container's environment.
    pub(crate) token: Option<String>,
    /// The id of its image.
    pub(crate) image: String,
    /// The folder of the host that is its workspace.
    pub(crate) workspace: Option<PathBuf>,
}

/// One container of this server's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Found {
    pub(crate) id: String,
    pub(super) place: Option<Place>,
    pub(crate) running: bool,
    /// It ran, and does no more. One that is being made is neither.
    pub(super) ended: bool,
}

impl Engine {
    pub(crate) fn new(host: Option<String>) -> Self {
        let host = host.unwrap_or_else(|| USUAL_SOCKET.to_owned());
        Self { host, client: Mutex::new(None), changes: Semaphore::new(PARALLEL_CHANGES) }
    }

    async fn client(&self) -> Result<Docker, Error> {
        let mut client = self.client.lock().await;
        if let Some(docker) = &*client {
            return Ok(docker.clone());
        }
        // Boxed, so that nothing that asks the engine holds room for what happens once.
        let negotiate = Box::pin(async {
            let docker = Docker::connect_with_unix(&self.host, REQUEST_TIMEOUT, bollard::API_DEFAULT_VERSION)?;
            // The value that comes back is the one to keep: it speaks the engine's version.
            docker.negotiate_version().await
        });
        let docker = negotiate.await.map_err(|error| self.error(error))?;
        Ok(client.insert(docker).clone())
    }

    /// Whether steps can run: an engine, the image, the agent.
    pub(crate) async fn availability(&self, image: &str, agent_binary: &Path) -> Availability {
        let off = |message: String, hint: &str| Availability::Off { message, hint: hint.to_owned() };
        if !self.host.starts_with("unix://") {
            let message = format!("The Docker engine at {} is not on a Unix socket of this machine.", self.host);
            return off(message, "Sandboxes need a local engine: unset DOCKER_HOST, or type: make engine");
        }
        match tokio::time::timeout(PING_TIMEOUT, self.image(image)).await {
            Ok(Ok(Some(_))) => {}
            Ok(Ok(None)) => {
                let hint =
                    if image == DEFAULT_IMAGE { "Type: make image" } else { "Build or pull it: docs/how-to/images.md" };
                return off(format!("The sandbox image {image} is not there yet."), hint);
            }
            Ok(Err(Error::Refused(reason))) => {
                // It may be another release than the one that was asked which version it speaks.
                *self.client.lock().await = None;
                return off(format!("The Docker engine at {} refuses: {reason}", self.host), "Look at its log.");
            }
            Ok(Err(Error::Unreachable { host })) if denied(&host) => {
                let message = format!("This user may not use the Docker engine at {host}.");
                return off(message, "Add the user to the group docker and log in again, or type: make engine");
            }
            Ok(Err(Error::Unreachable { host })) => {
                return off(format!("No Docker engine answers at {host}."), START_HINT);
            }
            Err(_) => {
                let message = format!("The Docker engine at {} did not answer within {PING_TIMEOUT:?}.", self.host);
                return off(message, "Wait a little; if that does not help, restart Docker.");
            }
        }
        if !agent_binary.is_file() {
            let message = format!("The sandbox agent is not at {}.", agent_binary.display());
            return off(message, "Type: make agent");
        }
        Availability::Ready
    }

    /// The id of the image that has this name now; `None` if there is none.
    pub(crate) async fn image(&self, name: &str) -> Result<Option<String>, Error> {
        match self.client().await?.inspect_image(name).await {
            Ok(image) => Ok(Some(image.id.unwrap_or_default())),
            Err(DockerError::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(error) => Err(self.error(error)),
        }
    }

    /// Fetches an image from where its name says, for `limit` at most.
    pub(crate) async fn pull(&self, name: &str, limit: Duration) -> Result<(), Error> {
        // Without a tag the engine would fetch every tag there is.
        let is_exact = name.contains('@') || name.rsplit('/').next().is_some_and(|last| last.contains(':'));
        let name = if is_exact { name.to_owned() } else { format!("{name}:latest") };
        let options = CreateImageOptionsBuilder::new().from_image(&name).build();
        // The engine says nothing before the registry does.
        let client = self.client().await?.with_timeout(limit);
        let lines = client.create_image(Some(options), None, None);
        lines.try_for_each(|_| async { Ok(()) }).await.map_err(|error| self.error(error))
    }

    /// Creates and starts a container. Returns its id.
    pub(crate) async fn run(&self, name: &str, body: ContainerCreateBody) -> Result<String, Error> {
        let _permit = self.changes.acquire().await.expect("never closed");
        let client = self.client().await?;
        let options = CreateContainerOptionsBuilder::new().name(name).build();
        let created = client.create_container(Some(options), body).await;
        let id = created.map_err(|error| self.error(error))?.id;
        if let Err(error) = client.start_container(&id, None).await {
            let error = self.error(error);
            let _ = self.remove_now(&id).await;
            return Err(error);
        }
        Ok(id)
    }

    /// `None` if there is no such container.
    pub(crate) async fn inspect(&self, id: &str) -> Result<Option<Inspected>, Error> {
        let answer = match self.client().await?.inspect_container(id, None).await {
            Ok(answer) => answer,
            Err(DockerError::DockerResponseServerError { status_code: 404, .. }) => return Ok(None),
            Err(error) => return Err(self.error(error)),
        };
        let state = answer.state.unwrap_or_default();
        let environment = answer.config.and_then(|config| config.env).unwrap_or_default();
        Ok(Some(Inspected {
            running: state.running.unwrap_or(false),
            oom_killed: state.oom_killed.unwrap_or(false),
            exit_code: state.exit_code.unwrap_or(0),
            init: state.pid.and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 0),
            image: answer.image.unwrap_or_default(),
            workspace: answer
                .mounts
                .unwrap_or_default()
                .into_iter()
                .find(|mount| mount.destination.as_deref() == Some(WORKSPACE))
                .and_then(|mount| mount.source.map(PathBuf::from)),
            token: environment
                .iter()
                .find_map(|line| line.strip_prefix(TOKEN_VARIABLE)?.strip_prefix('='))
                .map(str::to_owned),
        }))
    }

    /// All containers of `instance`, also those that do not run.
    pub(crate) async fn list(&self, instance: &str) -> Result<Vec<Found>, Error> {
        let filters = HashMap::from([("label".to_owned(), vec![format!("{INSTANCE_LABEL}={instance}")])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let containers =
            self.client().await?.list_containers(Some(options)).await.map_err(|error| self.error(error))?;
        Ok(containers
            .into_iter()
            .filter_map(|container| {
                let labels = container.labels.unwrap_or_default();
                let state = container.state.map(|state| state.to_string()).unwrap_or_default();
                Some(Found {
                    id: container.id?,
                    // Those of earlier versions were all made for a room.
                    place: labels.get(PLACE_LABEL).or(labels.get(ROOM_LABEL)).and_then(|place| Place::parse(place)),
                    running: state == "running",
                    ended: matches!(&*state, "exited" | "dead"),
                })
            })
            .collect())
    }

    /// Kills and removes a container and what belongs to it. That it is gone already is no error.
    pub(crate) async fn remove(&self, id: &str) -> Result<(), Error> {
        let _permit = self.changes.acquire().await.expect("never closed");
        self.remove_now(id).await
    }

    async fn remove_now(&self, id: &str) -> Result<(), Error> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        match self.client().await?.remove_container(id, Some(options)).await {
            // 409: somebody else is removing it.
            Ok(()) | Err(DockerError::DockerResponseServerError { status_code: 404 | 409, .. }) => Ok(()),
            Err(error) => Err(self.error(error)),
        }
    }

    fn error(&self, error: DockerError) -> Error {
        match error {
            DockerError::DockerResponseServerError { message, .. } => Error::Refused(message),
            DockerError::DockerStreamError { error } => Error::Refused(error),
            other => {
                tracing::debug!(error = %other, "the engine does not answer");
                Error::Unreachable { host: self.host.clone() }
            }
        }
    }
}

/// True if the engine's socket is there but may not be opened by this user.
fn denied(host: &str) -> bool {
    let path = host.trim_start_matches("unix://");
    std::os::unix::net::UnixStream::connect(path)
        .is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
}
