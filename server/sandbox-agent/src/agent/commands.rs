//! Commands: short programs that the server runs beside steps and terminals, each on a connection of its own. One connection waits at
//! the server for whichever command it is given, and then the next is dialled.
//!
//! What a command prints is sent as it comes and kept nowhere, so whoever does not read holds up the program. The end of what it writes to
//! its standard error is told with its end. A command whose connection ends is ended, too: there is nobody to be told of it.
//!
//! **Invariant:** when a command has ended, no process that it started is left. It has a supervisor, as terminals have.

use std::collections::BTreeMap;
use std::io::{ErrorKind, PipeReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitStatus, kill_process};

use super::link::{Welcomed, keep_waiting};
use super::ring::Ring;
use super::supervise::Supervised;
use super::{Config, Shared, processes};
use crate::protocol::{Event, Exit, Frame, Key, Line, Request, TOKEN_VARIABLE, encode_control, encode_output};

/// Commands at the same time. One more is refused.
const MAX_COMMANDS: usize = 4;

/// Most bytes of output in one frame.
const PIECE: usize = 16 << 10;

/// What is kept of a command's standard error. The oldest bytes go: what went wrong stands at the end.
const KEPT_ERRORS: usize = 8 << 10;

/// Between SIGTERM and SIGKILL: time to take locks and temporary files away.
const GRACE: Duration = Duration::from_secs(2);

/// The process above everything of one command.
#[derive(Debug)]
pub(super) struct Supervisor {
    pid: Pid,
    status: Option<WaitStatus>,
}

impl Supervisor {
    /// Its id, until it has been collected.
    pub(super) fn running(&self) -> Option<Pid> {
        self.status.is_none().then_some(self.pid)
    }

    pub(super) fn set_status(&mut self, status: WaitStatus) {
        self.status = Some(status);
    }
}

/// A command that was started.
struct Running {
    supervisor: Pid,
    output: PipeReader,
    errors: PipeReader,
}

/// Starts the thread that keeps one connection waiting.
pub(super) fn spawn(shared: &Arc<Shared>, config: &Config) -> std::io::Result<()> {
    let shared = Arc::clone(shared);
    keep_waiting("commands", config, Line::Command, move |welcomed| wait(&shared, welcomed))
}

/// Waits until the connection gets a command. False if it ended before.
fn wait(shared: &Arc<Shared>, mut welcomed: Welcomed) -> bool {
    loop {
        let Ok(Some(Frame::Control(Request::Run { key, argv, cwd, env }))) = welcomed.read() else { return false };
        match start(shared, &argv, &cwd, &env) {
            Ok(running) => {
                let supervisor = running.supervisor;
                let (serving, name) = (Arc::clone(shared), "command".to_owned());
                let served = thread::Builder::new().name(name).spawn(move || serve(&serving, &key, running, welcomed));
                if served.is_err() {
                    // The connection went with the closure, so the server knows.
                    end(shared, supervisor);
                    forget(shared, supervisor);
                }
                return served.is_ok();
            }
            Err(reason) => {
                if say(&mut welcomed.stream, &Event::Rejected { key, reason }).is_err() {
                    return false;
                }
            }
        }
    }
}

fn say(stream: &mut UnixStream, event: &Event) -> std::io::Result<()> {
    stream.write_all(&encode_control(event).expect("KEPT_ERRORS fits in a frame many times"))
}

fn start(shared: &Shared, argv: &[String], cwd: &str, env: &BTreeMap<String, String>) -> Result<Running, String> {
    if argv.is_empty() {
        return Err("there is no program to run".to_owned());
    }
    let failed = |error: std::io::Error| format!("no command can be started: {error}");
    let (output, output_writer) = std::io::pipe().map_err(failed)?;
    let (errors, errors_writer) = std::io::pipe().map_err(failed)?;
    let mut command = Command::new("/proc/self/exe");
    command.arg(Supervised::Command.supervise()).args(argv).current_dir(cwd).env_remove(TOKEN_VARIABLE).envs(env);
    command.stdin(Stdio::null()).stdout(output_writer).stderr(errors_writer).process_group(0);
    // Started with the state locked, so that the reaper never collects a child that the state does not know yet.
    let mut state = shared.lock();
    if state.commands.len() >= MAX_COMMANDS {
        return Err(format!("{MAX_COMMANDS} commands are at work in this sandbox already; try again in a moment"));
    }
    let supervisor = Pid::from_child(&command.spawn().map_err(failed)?);
    state.commands.push(Supervisor { pid: supervisor, status: None });
    state.spawned += 1;
    drop(state);
    shared.changed.notify_all();
    // Dropping `command` closes this process's copies of the pipes' writing ends.
    Ok(Running { supervisor, output, errors })
}

/// The connection from here on, until the command has ended.
fn serve(shared: &Arc<Shared>, key: &Key, running: Running, mut welcomed: Welcomed) {
    let Running { supervisor, output, errors } = running;
    let errors = keep(errors);
    let sent = match welcomed.stream.try_clone() {
        Ok(mut stream) => {
            let (watching, name) = (Arc::clone(shared), "command connection".to_owned());
            let watch = move || {
                // The server says nothing more; what comes is the end of the connection.
                while let Ok(Some(_)) = welcomed.read() {}
                end(&watching, supervisor);
            };
            let watched = thread::Builder::new().name(name).spawn(watch).is_ok();
            (watched && send(&mut stream, key, output).is_ok()).then_some(stream)
        }
        Err(_) => None,
    };
    if sent.is_none() {
        end(shared, supervisor);
    }
    let status = forget(shared, supervisor);
    let errors = errors.and_then(|errors| errors.join().ok()).unwrap_or_default();
    if let Some(mut stream) = sent {
        let _ = say(&mut stream, &Event::Finished { exit: exit_of(status), errors });
        // Wakes the thread that watches.
        let _ = stream.shutdown(Shutdown::Both);
    }
}

/// Sends what the command prints, to its end.
fn send(stream: &mut UnixStream, key: &Key, mut output: PipeReader) -> std::io::Result<()> {
    say(stream, &Event::Started { key: key.clone() })?;
    let mut buffer = vec![0; PIECE];
    let mut offset = 0;
    loop {
        match output.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => {
                stream.write_all(&encode_output(key, offset, &buffer[..read]).expect("PIECE fits in a frame"))?;
                offset += read as u64;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Reads all there is in a thread of its own, so that a program that complains at length is not held up, and keeps the end.
fn keep(mut errors: PipeReader) -> Option<JoinHandle<String>> {
    let reading = move || {
        let (mut kept, mut buffer) = (Ring::new(KEPT_ERRORS), vec![0; PIECE]);
        while let Ok(read @ 1..) = errors.read(&mut buffer) {
            kept.push(&buffer[..read]);
        }
        String::from_utf8_lossy(&kept.read(0, KEPT_ERRORS).1).into_owned()
    };
    thread::Builder::new().name("command errors".to_owned()).spawn(reading).ok()
}

/// Ends everything of a command, unless it has ended.
fn end(shared: &Shared, supervisor: Pid) {
    let runs = |state: &super::State| state.commands.iter().any(|command| command.running() == Some(supervisor));
    if !runs(&shared.lock()) {
        return;
    }
    processes::ask_below(supervisor);
    let deadline = Instant::now() + GRACE;
    let mut state = shared.lock();
    while runs(&state) {
        let now = Instant::now();
        if now >= deadline {
            drop(state);
            processes::kill_below(supervisor, || {});
            // It is collected with the state locked, so a process of this id is still the supervisor.
            if runs(&shared.lock()) {
                let _ = kill_process(supervisor, Signal::KILL);
            }
            return;
        }
        state = shared.wait_timeout(state, deadline - now);
    }
}

/// Waits until the supervisor has been collected; returns how it ended.
fn forget(shared: &Shared, supervisor: Pid) -> Option<WaitStatus> {
    let mut state = shared.lock();
    loop {
        let at = state.commands.iter().position(|command| command.pid == supervisor)?;
        if state.commands[at].status.is_some() {
            return state.commands.remove(at).status;
        }
        state = shared.wait(state);
    }
}

fn exit_of(status: Option<WaitStatus>) -> Exit {
    let code = status.and_then(|status| status.exit_status());
    let signal = status.and_then(|status| status.terminating_signal());
    code.map_or(Exit::Signal(signal.unwrap_or_default()), Exit::Code)
}
