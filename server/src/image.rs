//! `buildspaces image`: makes an image for sandboxes, and says whether one works as a sandbox by running something in it.
//!
//! Building is left to the programs that people know, `docker` and `debootstrap`; what they print is shown.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use buildspaces_kernel::ids::{RoomId, random_id};
use buildspaces_kernel::tasks::Tasks;
use buildspaces_plans::ports::{Availability, Exit, Progress, StepEvent, StepSpec};
use buildspaces_plans::secret::StepSecrets;
use buildspaces_policy::tenancy::Tenancy;
use buildspaces_sandbox::{Containers, Files, Folder, workspace_owner};
use clap::{Args, Subcommand};

use crate::config::Config;
use crate::{ServeArgs, app, say};

#[derive(Subcommand)]
pub(crate) enum ImageCommand {
    /// Builds an image from a Dockerfile or from Debian's packages, then checks it.
    Build {
        /// A TOML file with settings; see docs/configuration.md.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        #[command(flatten)]
        build: BuildArgs,
    },
    /// Starts an image as a sandbox, runs something in it, and says what is missing.
    Check {
        /// A TOML file with settings; see docs/configuration.md.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// The image's name; that of the configuration if there is none.
        #[arg(value_name = "IMAGE")]
        image: Option<String>,
    },
}

#[derive(Args)]
pub(crate) struct BuildArgs {
    /// The name it gets, such as team/python:3.
    #[arg(short, long, value_name = "NAME")]
    tag: String,
    /// The folder with the Dockerfile and what it copies.
    #[arg(value_name = "DIR", required_unless_present = "debootstrap")]
    context: Option<PathBuf>,
    /// Another Dockerfile than DIR/Dockerfile.
    #[arg(short, long, value_name = "FILE", requires = "context")]
    file: Option<PathBuf>,
    /// The network of the build; see docker build --network.
    #[arg(long, value_name = "NETWORK", requires = "context")]
    network: Option<String>,
    /// Makes it from the packages of this suite of Debian or Ubuntu (bookworm, noble) instead, without any registry. Needs root.
    #[arg(long, value_name = "SUITE", conflicts_with = "context")]
    debootstrap: Option<String>,
    /// Packages besides the base system.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "debootstrap")]
    packages: Vec<String>,
    /// Where the packages come from [default: debootstrap's own]
    #[arg(long, value_name = "URL", requires = "debootstrap")]
    mirror: Option<String>,
}

impl ImageCommand {
    pub(crate) fn settings(&self) -> ServeArgs {
        let (Self::Build { config, .. } | Self::Check { config, .. }) = self;
        ServeArgs { config: config.clone(), ..ServeArgs::default() }
    }
}

pub(crate) fn run(config: Config, command: ImageCommand) -> Result<ExitCode> {
    let image = match command {
        ImageCommand::Build { build, .. } => {
            let docker = Docker { host: config.sandbox.docker_host.clone() };
            match &build.debootstrap {
                Some(suite) => docker.import(suite, &build)?,
                None => docker.build(&build)?,
            }
            build.tag
        }
        ImageCommand::Check { image, .. } => image.unwrap_or_else(|| config.sandbox.image.clone()),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let report = runtime.block_on(check(config, &image))?;
    say(&report);
    Ok(ExitCode::SUCCESS)
}

/// Docker's own program, for the engine that the server uses.
struct Docker {
    host: Option<String>,
}

impl Docker {
    fn command(&self) -> Command {
        let mut command = Command::new("docker");
        if let Some(host) = &self.host {
            command.args(["--host", host]);
        }
        command
    }

    fn build(&self, build: &BuildArgs) -> Result<()> {
        let context = build.context.as_deref().unwrap_or(Path::new("."));
        let file = build.file.clone().unwrap_or_else(|| context.join("Dockerfile"));
        ensure!(file.is_file(), "there is no Dockerfile at {}; name another with --file", file.display());
        let mut command = self.command();
        command.args(["build", "--tag", &build.tag, "--file"]).arg(file);
        if let Some(network) = &build.network {
            command.args(["--network", network]);
        }
        finish(command.arg(context), "docker build")
    }

    /// The same as images/workspace/Dockerfile does, with packages alone.
    fn import(&self, suite: &str, build: &BuildArgs) -> Result<()> {
        ensure!(workspace_owner().is_some(), "debootstrap needs root: run this with sudo, or build from a Dockerfile");
        let folder = tempfile::Builder::new().prefix("buildspaces-image.").tempdir_in("/var/tmp")?;
        let root = folder.path().join("root");
        let mut command = Command::new("debootstrap");
        command.arg("--variant=minbase");
        if !build.packages.is_empty() {
            command.arg(format!("--include={}", build.packages.join(",")));
        }
        command.arg(suite).arg(&root).args(&build.mirror);
        finish(&mut command, "debootstrap")?;
        let user = ["useradd", "--uid", "1000", "--create-home", "--shell", "/bin/bash", "workspace"];
        finish(Command::new("chroot").arg(&root).args(user), "useradd in the image")?;
        for below in ["var/cache/apt", "var/lib/apt/lists", "var/log", "tmp"] {
            empty(&root.join(below))?;
        }
        let mut tar = Command::new("tar")
            .args(["--numeric-owner", "--one-file-system", "-c", "-C"])
            .arg(&root)
            .arg(".")
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start tar")?;
        let packed = tar.stdout.take().context("tar has no output")?;
        let changes = ["--change", "USER workspace", "--change", "WORKDIR /workspace", "--change", "ENV LANG=C.UTF-8"];
        let mut import = self.command();
        import.arg("import").args(changes).args(["-", &build.tag]).stdin(packed);
        finish(&mut import, "docker import")?;
        ensure!(tar.wait()?.success(), "tar could not read all of the image's files");
        Ok(())
    }
}

/// Runs a program to its end; what it prints is shown.
fn finish(command: &mut Command, what: &str) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("cannot start {program}; is it installed?"))?;
    ensure!(status.success(), "{what} failed ({status}); what it printed says why");
    Ok(())
}

/// Removes what is in a folder, if there is one.
fn empty(folder: &Path) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() && !path.is_symlink() { std::fs::remove_dir_all(path)? } else { std::fs::remove_file(path)? }
    }
    Ok(())
}

/// What people look for first, and what rooms' own skills need.
const PROGRAMS: &str = "bash git make python3 pytest node npm cargo go";

/// Starts the image exactly as a room's sandbox. Returns what was found, for people.
async fn check(config: Config, image: &str) -> Result<String> {
    let folder = tempfile::tempdir()?;
    // None of the business of a server that runs.
    let mut settings = app::sandbox_config(&config, format!("check-{}", random_id(8)));
    settings.image = image.to_owned();
    settings.data_dir = folder.path().join("data");
    settings.warm = 0;
    let tasks = Tasks::new();
    let containers = Containers::open(settings, &tasks).await?;
    let availability = containers.availability().borrow().clone();
    if let Availability::Off { message, hint } = availability {
        bail!("{message} {hint}");
    }
    let outcome = try_out(&containers, image, folder.path()).await;
    containers.shutdown().await;
    tasks.shutdown(Duration::from_secs(5)).await;
    outcome
}

async fn try_out(containers: &Containers, image: &str, folder: &Path) -> Result<String> {
    let workspace = folder.join("workspace");
    std::fs::create_dir(&workspace)?;
    if let Some((uid, gid)) = workspace_owner() {
        std::os::unix::fs::chown(&workspace, Some(uid), Some(gid))?;
    }
    let files: Arc<dyn Files> = Arc::new(Folder(workspace, Tenancy::default()));
    let script = format!(
        "id -u; touch /workspace/x && echo yes || echo no; for p in {PROGRAMS}; do command -v $p >/dev/null && echo $p; done; true"
    );
    let argv = ["sh", "-c", &script].map(str::to_owned).to_vec();
    let step = StepSpec {
        key: "check".to_owned(),
        argv,
        timeout: Some(Duration::from_secs(60)),
        secrets: StepSecrets::default(),
        sandbox: None,
    };
    let began = Instant::now();
    let mut step = containers.start(&RoomId::random(), &files, step, Progress::default()).await?;
    let (mut output, mut first) = (Vec::new(), None);
    let exit = loop {
        match step.events.recv().await.context("the sandbox stopped reporting")? {
            StepEvent::Output(bytes) => {
                first.get_or_insert_with(|| began.elapsed());
                output.extend_from_slice(&bytes);
            }
            StepEvent::Dropped(_) => {}
            StepEvent::Exited(exit) => break exit,
            StepEvent::Lost(reason) => bail!("{image} does not work as a sandbox: {reason}"),
        }
    };
    match exit {
        Exit::Code(0) => {}
        Exit::NotStarted(reason) => {
            bail!("{image} has no shell that runs ({reason}); steps and terminals need sh, so add one to the image")
        }
        other => bail!("{image} does not work as a sandbox: a shell that only looks around ended with {other:?}"),
    }
    let mut text = String::new();
    output.as_slice().read_to_string(&mut text).context("the image's programs print no text")?;
    let mut lines = text.lines();
    let (user, writable) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    ensure!(writable == "yes", "user {user} of {image} cannot write into /workspace");
    let programs: Vec<&str> = lines.collect();
    let id = containers.image_id().await.unwrap_or_default();
    Ok(format!(
        "{image} works as a sandbox.\n  id        {id}\n  started   in {} ms, as user {user}\n  programs  {}\nTo use it, set image = {image:?} in [sandbox] \
         of the configuration, or BUILDSPACES_SANDBOX_IMAGE.",
        first.unwrap_or_default().as_millis(),
        if programs.is_empty() { "none of those that rooms look for".to_owned() } else { programs.join(" ") },
    ))
}
