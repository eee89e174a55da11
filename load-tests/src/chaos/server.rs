//! The server of a chaos run: the real program on a disk of its own, with a clock that can be set.
//!
//! Its wall clock is libfaketime's, which reads a file; the monotonic clock stays, as on a machine whose clock is set. Where the library is
//! not installed, the clock cannot be set.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::disk::Disk;
use super::run::Setup;
use crate::{measure, servers};

/// How long it may take to answer.
const START: Duration = Duration::from_secs(20);

/// How long one who asks waits before asking again.
const ANSWER: Duration = Duration::from_secs(1);

/// How long it may take to stop.
const STOP: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub struct Server {
    pub address: SocketAddr,
    pub disk: Disk,
    setup: Setup,
    child: Option<Child>,
    library: Option<PathBuf>,
    /// Seconds by which its clock differs.
    ahead: i64,
}

impl Server {
    /// Does not start it yet.
    pub fn new(setup: &Setup) -> anyhow::Result<Self> {
        let disk = Disk::new(&setup.scratch, setup.own_disk)?;
        let address = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let server = Self { address, disk, setup: setup.clone(), child: None, library: library(), ahead: 0 };
        server.set_clock()?;
        Ok(server)
    }

    pub fn can_jump(&self) -> bool {
        self.library.is_some()
    }

    pub fn is_started(&self) -> bool {
        self.child.is_some()
    }

    /// Starts it and waits until it listens.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        let output = || std::fs::File::options().create(true).append(true).open(self.log());
        let mut command = Command::new(&self.setup.program);
        command.arg("serve").arg("--listen").arg(self.address.to_string()).arg("--data").arg(self.disk.data());
        // No engine: what is proven here needs no sandbox.
        command.env("BUILDSPACES_SANDBOX_DOCKER_HOST", "unix:///nonexistent").env("BUILDSPACES_LOG", "warn");
        command.envs(self.setup.settings.iter().map(|setting| servers::variable(setting)));
        if let Some(library) = &self.library {
            command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", self.disk.beside("clock"));
            command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("NO_FAKE_STAT", "1");
        }
        command.process_group(0).stdin(Stdio::null()).stdout(output()?).stderr(output()?);
        let child = command.spawn().with_context(|| format!("starting {}", self.setup.program.display()))?;
        self.child = Some(child);
        let deadline = Instant::now() + START;
        while !self.answers().await {
            let child = self.child.as_mut().expect("it was started above");
            if let Some(status) = child.try_wait()? {
                self.child = None;
                bail!("the server ended at its start with {status}");
            }
            ensure!(Instant::now() < deadline, "the server does not answer");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// It may listen before it knows whether it can start.
    async fn answers(&self) -> bool {
        let asked = async {
            let mut stream = TcpStream::connect(self.address).await?;
            stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").await?;
            stream.read_u8().await
        };
        matches!(tokio::time::timeout(ANSWER, asked).await, Ok(Ok(_)))
    }

    /// Kills it without warning.
    pub fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        signal(child.id(), Signal::KILL);
        for round in 0u32.. {
            if !matches!(child.try_wait(), Ok(None)) {
                break;
            }
            // Whoever waits for a stalled disk does not die, and it may be about to stall.
            if round % 20 == 0 {
                self.disk.go_on();
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Asks it to stop, and waits.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        signal(child.id(), Signal::TERM);
        let deadline = Instant::now() + STOP;
        let status: ExitStatus = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if Instant::now() > deadline {
                self.child = Some(child);
                self.kill();
                bail!("the server did not stop when it was asked to");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        ensure!(status.success(), "the server, asked to stop, ended with {status}");
        Ok(())
    }

    /// How it ended, if it did so by itself.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.try_wait().ok().flatten()
    }

    /// Its process group; 0 if it does not run.
    pub fn group(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Makes it stand still.
    pub fn freeze(&self) {
        signal(self.group(), Signal::STOP);
    }

    /// Lets the server of this group go on.
    pub fn go_on(group: u32) {
        signal(group, Signal::CONT);
    }

    pub fn jump_clock(&mut self, seconds: i64) -> anyhow::Result<()> {
        self.ahead += seconds;
        self.set_clock()
    }

    /// Replaces the file at once, since the server reads it whenever it looks at the clock.
    fn set_clock(&self) -> anyhow::Result<()> {
        let (written, file) = (self.disk.beside("clock.new"), self.disk.beside("clock"));
        std::fs::write(&written, format!("{:+}\n", self.ahead))?;
        Ok(std::fs::rename(written, file)?)
    }

    fn log(&self) -> PathBuf {
        self.disk.beside("server.log")
    }

    /// What it wrote.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn signal(group: u32, signal: Signal) {
    // An error means that it has ended.
    let _ = measure::signal_group(group, signal);
}

/// Where Debian's package `faketime` has its library.
fn library() -> Option<PathBuf> {
    let found = std::fs::read_dir("/usr/lib").ok()?.flatten();
    let mut libraries = found.map(|entry| entry.path().join("faketime/libfaketime.so.1"));
    libraries.find(|library| library.is_file())
}
