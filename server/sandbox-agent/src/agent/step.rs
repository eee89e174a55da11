//! One step: a program, its output, its end.
//!
//! **Invariant:** when a step has ended, all its output is in the ring, and no process and no secret of it is left.

use std::collections::BTreeMap;
use std::fs;
use std::io::{PipeReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitStatus, kill_process_group};

use super::ring::Ring;
use super::{Shared, State, limits, processes, secrets};
use crate::protocol::{Exit, Key, Secrets, TOKEN_VARIABLE};

/// Between SIGTERM and SIGKILL: time for a test runner to report and to clean up.
const GRACE: Duration = Duration::from_secs(5);

/// Steps that ended and are still known. The oldest is forgotten first: a server that was away asks for the one that
/// was under way when it went.
const KEPT_STEPS: usize = 8;

/// Output kept per step. While nobody follows the step the oldest bytes go: a server that is away must never block the
/// program under test, and the end of a log says more than its middle.
const KEPT_OUTPUT: usize = 1 << 20;

/// Bytes read from the program at once.
const PIECE: usize = 64 << 10;

/// Output that whoever follows the step was not sent yet. When it is so much, nothing more is read from the program, which then
/// waits as it does for any reader. What a pipe still holds when the program ends fits into the ring beside it.
const MOST_OWED: u64 = (KEPT_OUTPUT / 2) as u64;

/// How long the end of a step waits for the end of its output when a process could not be killed.
const OUTPUT_PATIENCE: Duration = Duration::from_secs(2);

/// Given to a step's process so that the kernel, short of memory, kills it and not the agent (which has 500).
const OOM_SCORE: &str = "800";

#[derive(Debug)]
pub(super) struct Step {
    key: Key,
    pub(super) output: Ring,
    /// The program itself, once it runs.
    process: Option<Pid>,
    status: Option<WaitStatus>,
    cancelled: bool,
    /// It was told to end; what it still prints is not waited for.
    is_stopping: bool,
    /// No process holds the other end of the output pipe any more.
    output_closed: bool,
    ended: Option<Ended>,
}

#[derive(Clone, Debug)]
pub(super) struct Ended {
    pub(super) exit: Exit,
    pub(super) duration: Duration,
    pub(super) oom: bool,
    pub(super) pids: bool,
    pub(super) full: Vec<String>,
}

impl Step {
    pub(super) fn key(&self) -> &Key {
        &self.key
    }
    pub(super) fn process(&self) -> Option<Pid> {
        self.process
    }
    pub(super) fn ended(&self) -> Option<&Ended> {
        self.ended.as_ref()
    }
    pub(super) fn set_status(&mut self, status: WaitStatus) {
        self.status = Some(status);
    }
    pub(super) fn cancel(&mut self) {
        self.cancelled = true;
    }

    /// More must not be read before the connection, which has been sent what is before `sent`, was sent some of what is there.
    fn is_full(&self, sent: u64) -> bool {
        self.status.is_none() && !self.is_stopping && self.output.end().saturating_sub(sent) >= MOST_OWED
    }
}

/// What to run.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) argv: Vec<String>,
    pub(super) cwd: String,
    pub(super) env: BTreeMap<String, String>,
    pub(super) timeout: Duration,
    pub(super) secrets: Secrets,
}

/// Starts the step unless its key is known. `Err` says why it is not accepted.
pub(super) fn start(shared: &Arc<Shared>, key: &Key, program: Program) -> Result<(), String> {
    let mut state = shared.lock();
    if state.step(key).is_some() {
        return Ok(());
    }
    if state.steps.iter().any(|step| step.ended.is_none()) {
        return Err("another step is running in this sandbox".to_owned());
    }
    if program.argv.is_empty() {
        return Err("there is no program to run".to_owned());
    }
    while state.steps.len() >= KEPT_STEPS {
        state.steps.pop_front();
    }
    let watcher = {
        let (shared, key) = (Arc::clone(shared), key.clone());
        move || {
            let ended = run(&shared, &key, &program);
            update(&shared, &key, |step| step.ended = Some(ended));
        }
    };
    // The thread needs the state first, so it cannot end before the step is in the list.
    thread::Builder::new().name("step".to_owned()).spawn(watcher).map_err(|error| error.to_string())?;
    state.steps.push_back(Step {
        key: key.clone(),
        output: Ring::new(KEPT_OUTPUT),
        process: None,
        status: None,
        cancelled: false,
        is_stopping: false,
        output_closed: false,
        ended: None,
    });
    Ok(())
}

fn update(shared: &Shared, key: &Key, change: impl FnOnce(&mut Step)) {
    change(step_in(&mut shared.lock(), key));
    shared.changed.notify_all();
}

fn step_in<'a>(state: &'a mut State, key: &Key) -> &'a mut Step {
    state.step(key).expect("a step is forgotten only after it has ended")
}

fn run(shared: &Arc<Shared>, key: &Key, program: &Program) -> Ended {
    let started = Instant::now();
    let before = limits::counted();
    let mut full = Vec::new();
    // Whatever somebody else left there is not this step's.
    secrets::remove_all(&shared.secrets);
    let exit = match secrets::write(&shared.secrets, &program.secrets.files) {
        Err(reason) => Exit::NotStarted(reason),
        Ok(()) => match spawn(shared, key, program) {
            Ok(()) => {
                let exit = watch(shared, key, started + program.timeout);
                full = limits::full(&folders());
                processes::kill_all(shared);
                wait_for_output(shared, key);
                exit
            }
            Err(error) => Exit::NotStarted(reason(&program.argv[0], &error)),
        },
    };
    secrets::remove_all(&shared.secrets);
    let after = limits::counted();
    Ended {
        exit,
        duration: started.elapsed(),
        oom: after.oom_kills > before.oom_kills,
        pids: after.refused > before.refused,
        full,
    }
}

/// The folders in memory that programs in a sandbox have.
#[expect(clippy::disallowed_methods, reason = "where home is, the container's environment says")]
fn folders() -> Vec<String> {
    ["/tmp", "/dev/shm"].map(str::to_owned).into_iter().chain(std::env::var("HOME")).collect()
}

/// Why the program could not be started, for people.
fn reason(program: &str, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => format!("there is no program {program} in the sandbox"),
        _ => format!("{program} cannot be started: {error}"),
    }
}

/// Starts the program and the thread that reads its output.
fn spawn(shared: &Arc<Shared>, key: &Key, program: &Program) -> std::io::Result<()> {
    let (reader, writer) = std::io::pipe()?;
    let mut command = Command::new(&program.argv[0]);
    command
        .args(&program.argv[1..])
        .current_dir(&program.cwd)
        .env_remove(TOKEN_VARIABLE)
        .envs(&program.env)
        .envs(&program.secrets.env)
        .stdin(Stdio::null())
        // One pipe for both, so that the order in which the program wrote is kept.
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0);
    let reading = {
        let (shared, key) = (Arc::clone(shared), key.clone());
        move || read_output(&shared, &key, reader)
    };
    thread::Builder::new().name("output".to_owned()).spawn(reading)?;

    // **Invariant:** a program is started with the state locked, so that the reaper never collects a child that the
    // state does not know yet.
    let mut state = shared.lock();
    let child = command.spawn()?;
    let pid = Pid::from_child(&child);
    step_in(&mut state, key).process = Some(pid);
    state.spawned += 1;
    shared.changed.notify_all();
    drop(state);
    let _ = fs::write(format!("/proc/{pid}/oom_score_adj"), OOM_SCORE);
    // Dropping `command` closes this process's copies of the pipe's writing end.
    Ok(())
}

fn read_output(shared: &Shared, key: &Key, mut reader: PipeReader) {
    let mut buffer = vec![0; PIECE];
    loop {
        wait_for_room(shared, key);
        match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => add_output(shared, key, &buffer[..n]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    if let Some(step) = shared.lock().step(key) {
        step.output_closed = true;
    }
    shared.changed.notify_all();
}

fn wait_for_room(shared: &Shared, key: &Key) {
    let mut state = shared.lock();
    while let Some(sent) = state.connection.as_ref().and_then(|connection| connection.sent(key))
        && state.step(key).is_some_and(|step| step.is_full(sent))
    {
        state = shared.wait(state);
    }
}

/// The step may be gone, as it waits for its output only so long.
fn add_output(shared: &Shared, key: &Key, bytes: &[u8]) {
    if let Some(step) = shared.lock().step(key) {
        step.output.push(bytes);
    }
    shared.changed.notify_all();
}

/// Waits for the program's end; brings it about when it is cancelled or out of time.
fn watch(shared: &Shared, key: &Key, deadline: Instant) -> Exit {
    let mut stopping: Option<Exit> = None;
    let mut next = deadline;
    let mut state = shared.lock();
    loop {
        let step = step_in(&mut state, key);
        let pid = step.process.expect("the program was started");
        if let Some(status) = step.status {
            return stopping.unwrap_or_else(|| exit_of(status));
        }
        let now = Instant::now();
        if stopping.is_none() && (step.cancelled || now >= deadline) {
            stopping = Some(if step.cancelled { Exit::Cancelled } else { Exit::TimedOut });
            step.is_stopping = true;
            next = now + GRACE;
            shared.changed.notify_all();
            let _ = kill_process_group(pid, Signal::TERM);
        } else if stopping.is_some() && now >= next {
            next = now + GRACE;
            drop(state);
            processes::kill_all(shared);
            state = shared.lock();
            continue;
        }
        state = shared.wait_timeout(state, next.saturating_duration_since(now));
    }
}

fn exit_of(status: WaitStatus) -> Exit {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::NotStarted(format!("an end the agent does not know: {status:?}")),
    }
}

fn wait_for_output(shared: &Shared, key: &Key) {
    let deadline = Instant::now() + OUTPUT_PATIENCE;
    let mut state = shared.lock();
    while !step_in(&mut state, key).output_closed {
        let now = Instant::now();
        if now >= deadline {
            return;
        }
        state = shared.wait_timeout(state, deadline - now);
    }
}
