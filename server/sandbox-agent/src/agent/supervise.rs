//! The two processes before a terminal's shell, or before a command. Both are this program, started by the agent for the purpose.
//!
//! 1. The *supervisor* is a child of the agent and a subreaper: whatever starts in the terminal stays below it, also what
//!    leaves the session or loses its parent. So the agent can tell a terminal's processes from a step's. When the shell has
//!    ended it kills the rest and ends with the shell's status.
//! 2. The *session* makes itself the leader of a session, whose controlling terminal this is if there is one, and becomes the shell.
//!
//! Neither has the agent's token or a connection of it.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, WaitStatus, getpid, ioctl_tiocsctty, set_child_subreaper, setsid, wait};

use super::processes;

/// What is supervised.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Supervised {
    Terminal,
    Command,
}

impl Supervised {
    /// First argument of the supervisor; the program and its arguments follow.
    pub(super) fn supervise(self) -> &'static str {
        match self {
            Self::Terminal => "--supervise-terminal",
            Self::Command => "--supervise-command",
        }
    }

    /// First argument of the session; the program and its arguments follow.
    fn begin(self) -> &'static str {
        match self {
            Self::Terminal => "--begin-terminal",
            Self::Command => "--begin-command",
        }
    }
}

/// Is one of the two processes if `first`, this program's first argument, says so.
pub fn supervised(first: &OsStr, rest: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    let kinds = [Supervised::Terminal, Supervised::Command];
    if let Some(kind) = kinds.into_iter().find(|kind| first == kind.supervise()) {
        return Some(supervise(kind, rest));
    }
    kinds.into_iter().find(|kind| first == kind.begin()).map(|kind| begin(kind, rest))
}

/// What the supervisor and the session end with when they cannot start what they are to start, as shells do.
const NOT_STARTED: u8 = 127;

/// Added to the number of the signal that ended the shell, as shells do.
const SIGNALLED: i32 = 128;

/// Given to the shell so that the kernel, short of memory, kills it and not the agent.
const OOM_SCORE: &str = "800";

/// Runs the rest of the arguments in a session of its own until everything of it is gone.
fn supervise(kind: Supervised, program: impl Iterator<Item = OsString>) -> ExitCode {
    let started = set_child_subreaper(Some(getpid()))
        .map_err(std::io::Error::from)
        .and_then(|()| Command::new("/proc/self/exe").arg(kind.begin()).args(program).spawn());
    let session = match started {
        Ok(child) => Pid::from_child(&child),
        Err(error) => {
            eprintln!("Nothing can be started here: {error}");
            return ExitCode::from(NOT_STARTED);
        }
    };
    let mut code = 0;
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == session => {
                code = code_of(status);
                processes::kill_below(getpid(), || while matches!(wait(WaitOptions::NOHANG), Ok(Some(_))) {});
            }
            Ok(_) | Err(Errno::INTR) => {}
            // Nobody is left.
            Err(_) => return ExitCode::from(code),
        }
    }
}

fn code_of(status: WaitStatus) -> u8 {
    let code = status.exit_status().or_else(|| status.terminating_signal().map(|signal| SIGNALLED + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

/// Becomes the rest of the arguments, as the leader of a session, with standard input as its terminal if it has one.
fn begin(kind: Supervised, mut program: impl Iterator<Item = OsString>) -> ExitCode {
    let _ = fs::write("/proc/self/oom_score_adj", OOM_SCORE);
    let begun = setsid().and_then(|_| match kind {
        Supervised::Terminal => ioctl_tiocsctty(std::io::stdin()),
        Supervised::Command => Ok(()),
    });
    let Some(name) = program.next() else { return ExitCode::from(NOT_STARTED) };
    let error = match begun {
        Ok(()) => Command::new(&name).args(program).exec(),
        Err(error) => error.into(),
    };
    eprintln!("{} cannot be started: {error}", name.display());
    ExitCode::from(NOT_STARTED)
}
