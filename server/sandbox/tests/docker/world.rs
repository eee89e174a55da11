//! One server's worth of sandboxes on the real engine, with everything it leaves behind removed at the end.

use std::collections::HashMap;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use buildspaces_kernel::ids::{RoomId, random_id};
use buildspaces_kernel::tasks::Tasks;
use buildspaces_plans::ports::{Availability, Progress, SandboxError, Step, StepEvent, StepSpec};
use buildspaces_plans::secret::StepSecrets;
use buildspaces_policy::tenancy::Tenancy;
use buildspaces_sandbox::{
    Allowances, Config, Containers, DEFAULT_IMAGE, Egress, Files, Folder, Limits, workspace_owner,
};

/// Nothing here takes that long; whatever does has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

#[expect(clippy::disallowed_methods, reason = "the environment says where a test's engine and agent are")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A server's worth of sandboxes with one room, on the real engine.
pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) instance: String,
    pub(crate) host: String,
    /// Of rooms of the default kind.
    pub(crate) limits: Limits,
    /// The kinds and organisations besides.
    pub(crate) allowances: Allowances,
    pub(crate) max_sandboxes: usize,
    /// Of rooms that are of another kind, or somebody's.
    pub(crate) tenancies: HashMap<RoomId, Tenancy>,
    /// Instead of the usual one.
    pub(crate) image: Option<String>,
    /// What rooms may ask for.
    pub(crate) images: Vec<String>,
    pub(crate) pull: bool,
    pub(crate) warm: usize,
    pub(crate) idle_stop: Duration,
    pub(crate) egress: Option<Egress>,
    pub(crate) room: RoomId,
}

impl World {
    /// `None` if the tests with Docker are switched off.
    pub(crate) fn new() -> Option<Self> {
        if variable("BUILDSPACES_TEST_DOCKER").as_deref() == Some("0") {
            eprintln!("skipped: BUILDSPACES_TEST_DOCKER is 0");
            return None;
        }
        Some(Self::on(engine_host()))
    }

    /// On the engine at `host`.
    pub(crate) fn on(host: String) -> Self {
        let world = Self {
            dir: tempfile::tempdir().expect("a folder"),
            instance: format!("test-{}", random_id(10)),
            host,
            limits: Limits::default(),
            allowances: Allowances::default(),
            max_sandboxes: 2,
            tenancies: HashMap::new(),
            image: None,
            images: Vec::new(),
            pull: false,
            warm: 0,
            idle_stop: Duration::from_secs(600),
            egress: None,
            room: RoomId::random(),
        };
        world.workspace(&world.room);
        world
    }

    pub(crate) fn workspace(&self, room: &RoomId) -> PathBuf {
        let folder = self.dir.path().join("workspaces").join(room.as_str());
        if !folder.exists() {
            std::fs::create_dir_all(&folder).expect("made");
            if let Some((uid, gid)) = workspace_owner() {
                chown(&folder, Some(uid), Some(gid)).expect("given away");
            }
        }
        folder
    }

    pub(crate) fn files(&self, room: &RoomId) -> Arc<dyn Files> {
        Arc::new(Folder(self.workspace(room), self.tenancies.get(room).cloned().unwrap_or_default()))
    }

    pub(crate) fn config(&self) -> Config {
        Config {
            docker_host: Some(self.host.clone()),
            image: self
                .image
                .clone()
                .or_else(|| variable("BUILDSPACES_TEST_IMAGE"))
                .unwrap_or_else(|| DEFAULT_IMAGE.to_owned()),
            images: self.images.clone(),
            pull: self.pull,
            runtime: variable("BUILDSPACES_TEST_RUNTIME"),
            instance: self.instance.clone(),
            data_dir: self.dir.path().join("data"),
            agent_binary: agent_binary(),
            allowances: Allowances { usual: self.limits.clone(), ..self.allowances.clone() },
            max_sandboxes: self.max_sandboxes,
            warm: self.warm,
            idle_stop: self.idle_stop,
            egress: self.egress.clone(),
        }
    }

    pub(crate) async fn open(&self) -> Containers {
        let containers = Containers::open(self.config(), &Tasks::new()).await.expect("the folder can be made");
        match &*containers.availability().borrow() {
            Availability::Ready => {}
            Availability::Off { message, hint } => {
                panic!("{message} {hint} (or set BUILDSPACES_TEST_DOCKER=0 to leave these tests out)")
            }
        }
        containers
    }

    pub(crate) async fn start(&self, containers: &Containers, key: &str, script: &str) -> Step {
        self.try_start(containers, &self.room, key, script, PATIENCE).await.expect("the step starts")
    }

    pub(crate) async fn try_start(
        &self,
        containers: &Containers,
        room: &RoomId,
        key: &str,
        script: &str,
        timeout: Duration,
    ) -> Result<Step, SandboxError> {
        self.try_start_given(containers, room, key, script, timeout, StepSecrets::default()).await
    }

    pub(crate) async fn try_start_given(
        &self,
        containers: &Containers,
        room: &RoomId,
        key: &str,
        script: &str,
        timeout: Duration,
        secrets: StepSecrets,
    ) -> Result<Step, SandboxError> {
        let argv = ["sh", "-c", script].map(str::to_owned).to_vec();
        let step = StepSpec { key: key.to_owned(), argv, timeout: Some(timeout), secrets, sandbox: None };
        containers.start(room, &self.files(room), step, Progress::default()).await
    }

    pub(crate) async fn run(&self, containers: &Containers, key: &str, script: &str) -> (String, StepEvent) {
        finish(&mut self.start(containers, key, script).await).await
    }

    pub(crate) fn docker(&self, args: &[&str]) -> String {
        self.try_docker(args).unwrap_or_else(|error| panic!("docker {args:?}: {error}"))
    }

    /// What it printed, or what went wrong: whatever runs in a container may be killed with a step that ends.
    pub(crate) fn try_docker(&self, args: &[&str]) -> Result<String, String> {
        let output = Command::new("docker").arg("--host").arg(&self.host).args(args).output().expect("docker is there");
        if output.status.success() {
            return Ok(String::from_utf8(output.stdout).expect("text"));
        }
        Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)))
    }

    /// Ids of this world's containers, running or not.
    pub(crate) fn containers(&self) -> Vec<String> {
        let filter = format!("label=buildspaces.instance={}", self.instance);
        self.docker(&["ps", "-aq", "--no-trunc", "--filter", &filter]).lines().map(str::to_owned).collect()
    }

    pub(crate) async fn until(&self, what: &str, condition: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition() {
            assert!(Instant::now() < deadline, "{what} did not come");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // A test that failed may have left some; the engine may be gone, too.
        let filter = format!("label=buildspaces.instance={}", self.instance);
        let list = format!("docker ps -aq --filter {filter} | xargs -r docker rm -f");
        let _ = Command::new("sh").args(["-c", &list]).env("DOCKER_HOST", &self.host).output();
    }
}

fn engine_host() -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/engine");
    let output = Command::new(script).arg("status").output().expect("the script is there");
    let line = String::from_utf8(output.stdout).expect("text");
    line.trim()
        .strip_prefix("DOCKER_HOST=")
        .expect(
            "no Docker engine answers: type `make engine`, or set BUILDSPACES_TEST_DOCKER=0 to leave these tests out",
        )
        .to_owned()
}

fn agent_binary() -> PathBuf {
    if let Some(path) = variable("BUILDSPACES_SANDBOX_AGENT") {
        return path.into();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/build-agent");
    let output = Command::new(script).output().expect("the script is there");
    assert!(output.status.success(), "the agent is built: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").trim().into()
}

pub(crate) async fn finish(step: &mut Step) -> (String, StepEvent) {
    let mut text = Vec::new();
    loop {
        let event = tokio::time::timeout(PATIENCE, step.events.recv()).await.expect("an event in time");
        match event.expect("an end") {
            StepEvent::Output(bytes) => text.extend(bytes),
            StepEvent::Dropped(bytes) => text.extend(format!("[{bytes} dropped]").into_bytes()),
            end => return (String::from_utf8_lossy(&text).into_owned(), end),
        }
    }
}

/// Reads output until it holds `wanted`, and returns it.
pub(crate) async fn read_until(step: &mut Step, wanted: &str) -> String {
    let mut text = String::new();
    while !text.contains(wanted) {
        match tokio::time::timeout(PATIENCE, step.events.recv()).await.expect("an event in time") {
            Some(StepEvent::Output(bytes)) => text += &String::from_utf8_lossy(&bytes),
            other => panic!("{other:?} after {text:?}"),
        }
    }
    text
}
