//! The agent itself: a handful of threads around one lock.
//!
//! The main thread keeps the connection for steps ([`link`]), one thread writes to it, one waits for children
//! ([`processes`]), and while a step runs one thread watches it and one reads its output ([`step`]). One more thread keeps
//! a connection that waits for a terminal ([`lines`]), and each terminal has a few threads and a process that looks after
//! it ([`terminal`], [`supervise`]). The same goes for commands ([`commands`]), for tunnels, which have one thread each ([`tunnels`]), and for
//! programs that want to leave the sandbox ([`egress`]); one thread tells of ports ([`ports`]). All state is in [`State`]; every change of it wakes everybody, because there are few threads and
//! seldom more than one has work.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use rustix::process::{DumpableBehavior, Pid, getpid, set_child_subreaper, set_dumpable_behavior};

use crate::protocol::Key;
use commands::Supervisor;
use link::Connection;
use step::Step;
use terminal::Terminal;

mod commands;
mod egress;
mod limits;
mod lines;
mod link;
mod listening;
mod ports;
mod processes;
mod ring;
mod secrets;
mod step;
mod supervise;
mod terminal;
mod tunnels;

pub use supervise::supervised;

/// What the agent needs to know; the rest comes from the server.
#[derive(Clone, Debug)]
pub struct Config {
    pub socket: PathBuf,
    /// Proves to the server that this is the agent and not the program under test.
    pub token: String,
    /// Where programs that want to leave the sandbox are listened for, on the loopback address.
    pub egress: Option<u16>,
    /// Where files of secrets are put. Everything else in there is removed.
    pub secrets: PathBuf,
}

/// Serves until the process is killed.
///
/// # Errors
/// The operating system refused what the agent cannot do without.
pub fn run(config: Config) -> std::io::Result<Infallible> {
    // A program under test has the same user id. It may neither read the token in /proc/1/environ nor attach a
    // debugger to process 1, and both need the process to be dumpable.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    // As process 1 the agent inherits orphans anyway; elsewhere (in tests) it has to ask for them.
    set_child_subreaper(Some(getpid()))?;
    secrets::remove_all(&config.secrets);
    let shared = Arc::new(Shared { secrets: config.secrets.clone(), ..Shared::default() });
    processes::spawn_reaper(Arc::clone(&shared))?;
    lines::spawn(&shared, &config)?;
    commands::spawn(&shared, &config)?;
    tunnels::spawn(&config)?;
    ports::spawn(&shared, &config)?;
    egress::spawn(&config)?;
    link::serve(&shared, &config)
}

/// The state and its alarm bell.
#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// See [`Config::secrets`].
    secrets: PathBuf,
}

#[derive(Debug, Default)]
struct State {
    /// In order of start; at most one runs, and the newest few that ended are kept for a server that comes back.
    steps: VecDeque<Step>,
    /// In order of opening; the newest few that ended are kept, too.
    terminals: VecDeque<Terminal>,
    /// Those whose end nobody has been told of.
    commands: Vec<Supervisor>,
    /// The connection for steps that has been welcomed, if any.
    connection: Option<Connection>,
    /// Processes started so far, so that the reaper knows when there may be children again.
    spawned: u64,
    /// Connections that were given a terminal so far.
    lines: u64,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics with the state in hand")
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).expect("no thread panics with the state in hand")
    }

    fn wait_timeout<'a>(&self, state: MutexGuard<'a, State>, timeout: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, timeout).expect("no thread panics with the state in hand").0
    }
}

impl State {
    fn step(&mut self, key: &Key) -> Option<&mut Step> {
        self.steps.iter_mut().find(|step| step.key() == key)
    }

    fn terminal(&mut self, key: &Key) -> Option<&mut Terminal> {
        self.terminals.iter_mut().find(|terminal| terminal.key() == key)
    }

    /// Is there any program but the agent?
    fn is_in_use(&self) -> bool {
        self.steps.iter().any(|step| step.ended().is_none())
            || self.terminals.iter().any(|terminal| terminal.supervisor().is_some())
    }

    /// The processes that look after the terminals and commands which have not ended.
    fn supervisors(&self) -> Vec<Pid> {
        let terminals = self.terminals.iter().filter_map(Terminal::supervisor);
        terminals.chain(self.commands.iter().filter_map(Supervisor::running)).collect()
    }
}
