//! The servers that are measured: ours and others as they are published, started on free ports with their data in a temporary folder.
//!
//! A server that is not installed, or does not start, is [`NotMeasured`] with a reason. Nothing is guessed for it.

use std::io::{Read, Seek, SeekFrom};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::measure;
use crate::media::janus;
use crate::member::Target;
use crate::wire::Dialect;

/// How long a server may take to listen.
const START: Duration = Duration::from_secs(20);

/// How long it may take to stop before it is killed.
const STOP: Duration = Duration::from_secs(20);

/// Which server.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, clap::ValueEnum)]
pub enum Kind {
    /// This project's server, by y-websocket.
    Ours,
    /// The same, by Hocuspocus' protocol.
    OursCollab,
    /// A broadcast relay without a CRDT: the limit.
    Relay,
    YSweet,
    YWebsocket,
    Hocuspocus,
    HocuspocusSqlite,
    /// A forwarder of media on str0m and nothing else: the limit of calls.
    Forwarder,
    Janus,
    /// One that runs already, named by its address.
    #[value(skip)]
    Other,
}

impl Kind {
    pub const PEERS: [Self; 4] = [Self::YSweet, Self::YWebsocket, Self::Hocuspocus, Self::HocuspocusSqlite];

    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::OursCollab => "ours (Hocuspocus)",
            Self::Relay => "relay",
            Self::YSweet => "y-sweet",
            Self::YWebsocket => "y-websocket",
            Self::Hocuspocus => "Hocuspocus",
            Self::HocuspocusSqlite => "Hocuspocus SQLite",
            Self::Forwarder => "forwarder",
            Self::Janus => "Janus",
            Self::Other => "given by address",
        }
    }

    pub fn dialect(self) -> Dialect {
        match self {
            Self::Ours => Dialect::Buildspaces,
            Self::OursCollab => Dialect::BuildspacesCollab,
            // Those for media have no documents, and nobody asks them for one.
            Self::Relay | Self::YWebsocket | Self::Other | Self::Forwarder | Self::Janus => Dialect::YWebsocket,
            Self::YSweet => Dialect::YSweet,
            Self::Hocuspocus | Self::HocuspocusSqlite => Dialect::Hocuspocus,
        }
    }

    pub fn is_ours(self) -> bool {
        matches!(self, Self::Ours | Self::OursCollab)
    }

    /// Does it merge documents and keep them in memory at least?
    pub fn has_documents(self) -> bool {
        !matches!(self, Self::Relay | Self::Forwarder | Self::Janus)
    }

    /// Does it pass on voice and pictures?
    pub fn has_media(self) -> bool {
        matches!(self, Self::Ours | Self::Other) || self.is_for_media_alone()
    }

    pub fn is_for_media_alone(self) -> bool {
        matches!(self, Self::Forwarder | Self::Janus)
    }

    /// Does it find its documents again after a restart?
    pub fn persists(self) -> bool {
        matches!(self, Self::Ours | Self::OursCollab | Self::YSweet | Self::HocuspocusSqlite)
    }
}

/// Why there is no figure.
#[derive(Debug, thiserror::Error)]
#[error("not measured: {0}")]
pub struct NotMeasured(pub String);

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Programs {
    pub ours: PathBuf,
    pub relay: PathBuf,
    pub forwarder: PathBuf,
    /// The folder with `package.json` and `node_modules` of the servers for Node.js.
    pub peers: PathBuf,
    pub y_sweet: PathBuf,
    /// Further settings of ours, as `key=value`.
    pub settings: Vec<String>,
    /// Where data folders are made: on a real disk.
    pub scratch: PathBuf,
}

impl Programs {
    /// What the server calls its version; empty if it does not say.
    pub fn version(&self, kind: Kind) -> String {
        let says = |program: &Path| {
            let said = Command::new(program).arg("--version").output().ok()?;
            Some(String::from_utf8_lossy(&said.stdout).split_whitespace().last()?.to_owned())
        };
        let package = |name: &str| {
            let text = std::fs::read_to_string(self.peers.join("node_modules").join(name).join("package.json")).ok()?;
            let manifest: serde_json::Value = serde_json::from_str(&text).ok()?;
            Some(manifest["version"].as_str()?.to_owned())
        };
        let debian = |package: &str| {
            let said = Command::new("dpkg-query").args(["-W", "-f", "${Version}", package]).output().ok()?;
            Some(String::from_utf8_lossy(&said.stdout).trim().to_owned())
        };
        let version = match kind {
            Kind::Ours | Kind::OursCollab => says(&self.ours),
            Kind::YSweet => says(&self.y_sweet),
            Kind::YWebsocket => package("@y/websocket-server"),
            Kind::Hocuspocus | Kind::HocuspocusSqlite => package("@hocuspocus/server"),
            Kind::Janus => debian("janus"),
            Kind::Relay | Kind::Forwarder | Kind::Other => None,
        };
        version.unwrap_or_default()
    }
}

/// Settings that lift limits on one address or on the whole, because all load comes from one machine.
const LIFTED: [(&str, &str); 5] = [
    ("BUILDSPACES_MAX_CONNECTIONS", "1000000"),
    // All load is one user's, who writes faster than people do.
    ("BUILDSPACES_LIMITS_CONNECTIONS_PER_USER", "0"),
    ("BUILDSPACES_MEDIA_MAX_PAGES_PER_USER", "500"),
    ("BUILDSPACES_LIMITS_MESSAGES_PER_SECOND", "0"),
    ("BUILDSPACES_LIMITS_BYTES_PER_SECOND", "0"),
];

/// A server that runs. It is killed when this is dropped.
#[derive(Debug)]
pub struct Server {
    pub kind: Kind,
    pub target: Target,
    programs: Programs,
    process: Process,
    data: tempfile::TempDir,
    log: PathBuf,
}

#[derive(Debug)]
enum Process {
    Started(Child),
    /// Somebody else's: its group, 0 if that is not known.
    Other(u32),
}

impl Server {
    /// Starts it and waits until it listens.
    pub async fn start(kind: Kind, programs: &Programs) -> Result<Self, NotMeasured> {
        let failed = |what: &str, error: std::io::Error| NotMeasured(format!("{what}: {error}"));
        std::fs::create_dir_all(&programs.scratch).map_err(|error| failed("the folder for data", error))?;
        let data = tempfile::Builder::new().prefix("load-").tempdir_in(&programs.scratch);
        let data = data.map_err(|error| failed("the folder for data", error))?;
        let address = free_address().map_err(|error| failed("a free port", error))?;
        let log = data.path().join("server.log");
        let child = spawn(kind, programs, address, data.path(), &log)?;
        let target = Target { address, dialect: kind.dialect() };
        let mut server = Self { kind, target, programs: programs.clone(), process: Process::Started(child), data, log };
        server.wait_until_it_listens().await?;
        Ok(server)
    }

    /// One that runs already. `group` is its process group, 0 if processor time and memory are not to be measured.
    pub fn attach(target: Target, group: u32, programs: &Programs) -> Result<Self, NotMeasured> {
        let data = tempfile::tempdir().map_err(|error| NotMeasured(error.to_string()))?;
        let log = data.path().join("server.log");
        Ok(Self { kind: Kind::Other, target, programs: programs.clone(), process: Process::Other(group), data, log })
    }

    /// Starts it again on its data.
    pub async fn restart(&mut self) -> Result<(), NotMeasured> {
        if let Process::Other(_) = self.process {
            return Err(NotMeasured("a server given by its address is not restarted".to_owned()));
        }
        let child = spawn(self.kind, &self.programs, self.target.address, self.data.path(), &self.log)?;
        self.process = Process::Started(child);
        self.wait_until_it_listens().await
    }

    /// The process group.
    pub fn group(&self) -> u32 {
        match &self.process {
            Process::Started(child) => child.id(),
            Process::Other(group) => *group,
        }
    }

    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// Asks it to stop and waits. Killed if it does not.
    pub async fn stop(&mut self) {
        let Process::Started(_) = self.process else { return };
        // y-sweet saves what it has at an interrupt only.
        let signal = if self.kind == Kind::YSweet { Signal::INT } else { Signal::TERM };
        let _ = measure::signal_group(self.group(), signal);
        let deadline = Instant::now() + STOP;
        while self.is_running() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.kill();
    }

    /// Kills it without warning.
    pub fn kill(&mut self) {
        let group = self.group();
        let Process::Started(child) = &mut self.process else { return };
        if matches!(child.try_wait(), Ok(None)) {
            let _ = measure::signal_group(group, Signal::KILL);
        }
        let _ = child.wait();
    }

    pub fn is_running(&mut self) -> bool {
        match &mut self.process {
            Process::Started(child) => matches!(child.try_wait(), Ok(None)),
            Process::Other(_) => true,
        }
    }

    /// Makes a document where the server does not do so by itself.
    pub async fn create(&self, document: &str) -> anyhow::Result<()> {
        if self.kind != Kind::YSweet {
            return Ok(());
        }
        let body = format!(r#"{{"docId":"{document}"}}"#);
        let request = format!(
            "POST /doc/new HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            self.target.address,
            body.len()
        );
        let mut stream = TcpStream::connect(self.target.address).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        anyhow::ensure!(answer.starts_with(b"HTTP/1.1 200"), "y-sweet: {}", String::from_utf8_lossy(&answer));
        Ok(())
    }

    async fn wait_until_it_listens(&mut self) -> Result<(), NotMeasured> {
        let deadline = Instant::now() + START;
        while TcpStream::connect(self.target.address).await.is_err() {
            if !self.is_running() || Instant::now() > deadline {
                return Err(NotMeasured(format!("{} did not start: {}", self.kind.name(), self.last_words())));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// The end of what it wrote.
    pub fn last_words(&self) -> String {
        let mut text = String::new();
        if let Ok(mut file) = std::fs::File::open(&self.log) {
            let len = file.metadata().map_or(0, |data| data.len());
            let _ = file.seek(SeekFrom::Start(len.saturating_sub(500)));
            let _ = file.read_to_string(&mut text);
        }
        text.trim().replace('\n', " | ")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(kind: Kind, programs: &Programs, address: SocketAddr, data: &Path, log: &Path) -> Result<Child, NotMeasured> {
    let mut command = command(kind, programs, address, data)?;
    let output = || std::fs::File::options().create(true).append(true).open(log);
    let (out, err) = output().and_then(|out| Ok((out, output()?))).map_err(|error| NotMeasured(error.to_string()))?;
    command.process_group(0).stdin(Stdio::null()).stdout(out).stderr(err);
    // What is started inherits the core, so this thread goes there for a moment.
    measure::pin(SERVER_CORE);
    let child = command.spawn();
    measure::pin(GENERATOR_CORE);
    child.map_err(|error| NotMeasured(format!("{} cannot be started: {error}", kind.name())))
}

/// Where servers run.
pub const SERVER_CORE: usize = 0;
/// Where the generator runs.
pub const GENERATOR_CORE: usize = 1;

fn command(kind: Kind, programs: &Programs, address: SocketAddr, data: &Path) -> Result<Command, NotMeasured> {
    let port = address.port().to_string();
    match kind {
        Kind::Other => Err(NotMeasured("a server given by its address is not started".to_owned())),
        Kind::Ours | Kind::OursCollab => {
            let mut command = Command::new(installed(&programs.ours, "make build")?);
            command.arg("serve").arg("--listen").arg(address.to_string()).arg("--data").arg(data.join("data"));
            // No engine: sandboxes are not measured here.
            command.env("BUILDSPACES_SANDBOX_DOCKER_HOST", "unix:///nonexistent").env("BUILDSPACES_LOG", "warn");
            command.envs(LIFTED);
            command.envs(programs.settings.iter().map(|setting| variable(setting)));
            Ok(command)
        }
        Kind::Relay => {
            let mut command = Command::new(installed(&programs.relay, "cargo build --release")?);
            command.arg("--listen").arg(address.to_string());
            Ok(command)
        }
        Kind::Forwarder => {
            let mut command = Command::new(installed(&programs.forwarder, "cargo build --release")?);
            command.arg("--listen").arg(address.to_string());
            Ok(command)
        }
        Kind::Janus => {
            let mut command = Command::new(installed(Path::new(janus::PROGRAM), "make bench-peers")?);
            janus::configure(data, address).map_err(|error| NotMeasured(format!("Janus' configuration: {error}")))?;
            command.arg("--configs-folder").arg(data).arg("--disable-colors");
            Ok(command)
        }
        Kind::YSweet => {
            let mut command = Command::new(installed(&programs.y_sweet, "make bench-peers")?);
            command.arg("serve").arg("--host").arg("127.0.0.1").arg("--port").arg(port).arg(data);
            Ok(command)
        }
        Kind::YWebsocket => {
            let mut command = node(programs)?;
            command.arg(programs.peers.join("node_modules/@y/websocket-server/src/server.js"));
            command.env("HOST", "127.0.0.1").env("PORT", port);
            Ok(command)
        }
        Kind::Hocuspocus | Kind::HocuspocusSqlite => {
            let mut command = node(programs)?;
            command.arg(programs.peers.join("hocuspocus.mjs")).arg(port);
            if kind == Kind::HocuspocusSqlite {
                command.arg(data.join("hocuspocus.sqlite"));
            }
            Ok(command)
        }
    }
}

/// The variable that makes a setting of ours, given as `key=value`.
pub(crate) fn variable(setting: &str) -> (String, &str) {
    let (key, value) = setting.split_once('=').unwrap_or((setting, "true"));
    (format!("BUILDSPACES_{}", key.replace('.', "_").to_uppercase()), value)
}

/// Node.js as the npm package `node` provides it, because Hocuspocus asks for a newer one than Debian has.
fn node(programs: &Programs) -> Result<Command, NotMeasured> {
    let mut command = Command::new(installed(&programs.peers.join("node_modules/node/bin/node"), "make bench-peers")?);
    command.env("NODE_ENV", "production");
    Ok(command)
}

fn installed<'a>(program: &'a Path, how: &str) -> Result<&'a Path, NotMeasured> {
    if program.is_file() {
        return Ok(program);
    }
    Err(NotMeasured(format!("{} is not there; `{how}` makes it", program.display())))
}

fn free_address() -> std::io::Result<SocketAddr> {
    std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
