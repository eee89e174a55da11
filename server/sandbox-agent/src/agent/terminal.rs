//! One terminal: a pseudoterminal, a shell in a session of its own, what it printed last and what was typed.
//!
//! **Invariant:** when a terminal has ended, no process that was started in it is left.
//!
//! What it prints is kept in a ring with offsets, so that a server that was away goes on where it was. While a connection
//! has the terminal, nothing is read from the shell that the connection could not be sent: the ring fills, and then the
//! programs in the terminal wait, as they do on any terminal that is slow. Without a connection the oldest bytes go.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::thread;

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, WaitStatus, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::ring::Ring;
use super::supervise::Supervised;
use super::{Shared, State, processes};
use crate::protocol::{Exit, INPUT_WINDOW, Key, Size, TOKEN_VARIABLE};

/// Terminals that have not ended. One more is refused.
const MAX_TERMINALS: usize = 8;

/// Terminals that ended and are still known. The oldest is forgotten first.
const KEPT_TERMINALS: usize = 8;

/// Output kept per terminal: some thousand lines.
const KEPT_OUTPUT: usize = 256 << 10;

/// Bytes read from the shell, or written to it, at once.
const PIECE: usize = 4 << 10;

/// What to open.
#[derive(Debug)]
pub(super) struct Shell {
    pub(super) argv: Vec<String>,
    pub(super) cwd: String,
    pub(super) env: BTreeMap<String, String>,
    pub(super) unset: Vec<String>,
    pub(super) size: Size,
}

#[derive(Debug)]
pub(super) struct Terminal {
    key: Key,
    pub(super) output: Ring,
    /// Everything printed has been read.
    output_closed: bool,
    /// Typed and not passed on yet.
    input: VecDeque<u8>,
    /// How many bytes at the beginning of `input` the present connection has not brought.
    carried: usize,
    /// Bytes that the present connection brought and that were passed on.
    pub(super) taken: u64,
    /// The connection that has this terminal; its number, which no other ever had.
    pub(super) line: Option<u64>,
    /// What that connection is sent next.
    pub(super) next_offset: u64,
    master: Arc<File>,
    supervisor: Pid,
    status: Option<WaitStatus>,
    closing: bool,
}

impl Terminal {
    pub(super) fn key(&self) -> &Key {
        &self.key
    }

    /// The process above everything in the terminal, until it has been collected.
    pub(super) fn supervisor(&self) -> Option<Pid> {
        self.status.is_none().then_some(self.supervisor)
    }

    pub(super) fn set_status(&mut self, status: WaitStatus) {
        self.status = Some(status);
    }

    /// How it ended, once its output is complete.
    pub(super) fn ended(&self) -> Option<Exit> {
        let status = self.status.filter(|_| self.output_closed)?;
        Some(match (self.closing, status.exit_status(), status.terminating_signal()) {
            (true, ..) => Exit::Cancelled,
            (false, Some(code), _) => Exit::Code(code),
            (false, None, signal) => Exit::Signal(signal.unwrap_or_default()),
        })
    }

    /// Gives the terminal to a connection, from whichever had it.
    pub(super) fn attach(&mut self, line: u64, from_offset: u64) {
        self.line = Some(line);
        self.next_offset = from_offset;
        self.carried = self.input.len();
        self.taken = 0;
    }

    /// Takes what was typed. False if that is more than the server may send.
    pub(super) fn type_in(&mut self, bytes: &[u8]) -> bool {
        let fits = self.input.len() - self.carried + bytes.len() <= INPUT_WINDOW;
        // Nobody reads what is typed after the end.
        if fits && self.status.is_none() {
            self.input.extend(bytes);
        } else if fits {
            self.taken += bytes.len() as u64;
        }
        fits
    }

    pub(super) fn resize(&self, size: Size) {
        set_size(&self.master, size);
    }

    /// More must not be read before the connection was sent some of what is there.
    fn is_full(&self) -> bool {
        let waiting = self.output.end().saturating_sub(self.next_offset);
        self.line.is_some() && !self.closing && waiting + PIECE as u64 > KEPT_OUTPUT as u64
    }
}

fn set_size(master: &File, size: Size) {
    let size = Winsize { ws_row: size.rows, ws_col: size.cols, ws_xpixel: 0, ws_ypixel: 0 };
    // A terminal that is about to end may refuse.
    let _ = tcsetwinsize(master, size);
}

/// Opens a terminal unless its key is known. `Err` says why it is not accepted.
pub(super) fn open(shared: &Arc<Shared>, key: &Key, shell: &Shell) -> Result<(), String> {
    let mut state = shared.lock();
    if state.terminal(key).is_some() {
        return Ok(());
    }
    if state.terminals.iter().filter(|terminal| terminal.supervisor().is_some()).count() >= MAX_TERMINALS {
        return Err(format!("there are {MAX_TERMINALS} terminals in this sandbox already; close one first"));
    }
    if shell.argv.is_empty() {
        return Err("there is no program to run".to_owned());
    }
    while state.terminals.len() >= MAX_TERMINALS + KEPT_TERMINALS {
        let oldest = state.terminals.iter().position(|terminal| terminal.status.is_some());
        state.terminals.remove(oldest.expect("fewer than MAX_TERMINALS have not ended"));
    }
    // The state stays locked, so that neither the reaper nor the threads look for the terminal before it is there.
    let terminal = start(shared, key, shell).map_err(|error| format!("no terminal can be opened: {error}"))?;
    state.terminals.push_back(terminal);
    state.spawned += 1;
    drop(state);
    shared.changed.notify_all();
    Ok(())
}

fn start(shared: &Arc<Shared>, key: &Key, shell: &Shell) -> std::io::Result<Terminal> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let path = ptsname(&master, Vec::new())?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let slave = File::from(rustix::fs::open(std::ffi::OsStr::from_bytes(path.as_bytes()), flags, Mode::empty())?);
    let master = Arc::new(File::from(master));
    set_size(&master, shell.size);

    type Work = fn(&Shared, &Key, &File);
    for (name, work) in [("terminal output", print as Work), ("terminal input", pass_on as Work)] {
        let (shared, key, master) = (Arc::clone(shared), key.clone(), Arc::clone(&master));
        // If the rest fails, the threads find no terminal of this key and end.
        thread::Builder::new().name(name.to_owned()).spawn(move || work(&shared, &key, &master))?;
    }
    let mut command = Command::new("/proc/self/exe");
    command
        .arg(Supervised::Terminal.supervise())
        .args(&shell.argv)
        .current_dir(&shell.cwd)
        .env_remove(TOKEN_VARIABLE)
        .envs(&shell.env);
    for name in &shell.unset {
        command.env_remove(name);
    }
    let child = command.stdin(slave.try_clone()?).stdout(slave.try_clone()?).stderr(slave).process_group(0).spawn()?;
    let supervisor = Pid::from_child(&child);
    Ok(Terminal {
        key: key.clone(),
        output: Ring::new(KEPT_OUTPUT),
        output_closed: false,
        input: VecDeque::new(),
        carried: 0,
        taken: 0,
        line: None,
        next_offset: 0,
        master,
        supervisor,
        status: None,
        closing: false,
    })
}

/// The thread that reads what the terminal prints, until nothing in it can print any more.
fn print(shared: &Shared, key: &Key, mut master: &File) {
    let mut buffer = vec![0; PIECE];
    loop {
        let mut state = shared.lock();
        while state.terminal(key).is_some_and(|terminal| terminal.is_full()) {
            state = shared.wait(state);
        }
        drop(state);
        match master.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => match shared.lock().terminal(key) {
                Some(terminal) => terminal.output.push(&buffer[..n]),
                None => return,
            },
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            // What Linux says when nobody has the terminal open.
            Err(_) => break,
        }
        shared.changed.notify_all();
    }
    if let Some(terminal) = shared.lock().terminal(key) {
        terminal.output_closed = true;
    }
    shared.changed.notify_all();
}

/// The thread that writes what was typed. It may be stuck for as long as the programs read nothing.
fn pass_on(shared: &Shared, key: &Key, mut master: &File) {
    let mut state = shared.lock();
    loop {
        let Some(terminal) = state.terminal(key).filter(|terminal| terminal.status.is_none()) else { return };
        let line = terminal.line;
        let piece: Vec<u8> = terminal.input.iter().copied().take(PIECE).collect();
        if piece.is_empty() {
            state = shared.wait(state);
            continue;
        }
        drop(state);
        let written = master.write_all(&piece);
        state = shared.lock();
        let Some(terminal) = state.terminal(key) else { return };
        terminal.input.drain(..piece.len());
        let carried = terminal.carried.min(piece.len());
        terminal.carried -= carried;
        if terminal.line == line {
            terminal.taken += (piece.len() - carried) as u64;
        }
        shared.changed.notify_all();
        if written.is_err() {
            return;
        }
    }
}

/// Kills everything in the terminal, in the caller's thread. It has ended when that is done.
pub(super) fn close(shared: &Shared, key: &Key) {
    let mut state = shared.lock();
    let Some(terminal) = state.terminal(key).filter(|terminal| !terminal.closing) else { return };
    let Some(supervisor) = terminal.supervisor() else { return };
    terminal.closing = true;
    drop(state);
    // What is printed from here on is not waited for.
    shared.changed.notify_all();
    processes::kill_below(supervisor, || {});
    let mut state = shared.lock();
    // It is collected with the state locked, so a process of this id is still the supervisor.
    if state.terminal(key).and_then(|terminal| terminal.supervisor()) == Some(supervisor) {
        let _ = kill_process(supervisor, Signal::KILL);
    }
}

impl State {
    /// A number that no connection ever had.
    pub(super) fn next_line(&mut self) -> u64 {
        self.lines += 1;
        self.lines
    }
}
