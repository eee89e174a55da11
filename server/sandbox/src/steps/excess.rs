//! How a step ended, in the words of the limits it came to. Pure.

use buildspaces_plans::ports::Exit;
use buildspaces_sandbox_agent::protocol;

use super::plain;
use crate::Limits;
use crate::limits::SHARED_MEMORY;

/// The number of SIGXFSZ: the kernel sends it to who writes beyond the size that a file may have.
const SIGXFSZ: i32 = 25;

/// What the agent noticed beside the exit. It may be wrong: the program under test may have taken the agent's place. Then the step is
/// blamed for what it did not do, and that is all.
#[derive(Debug, Default)]
pub(super) struct Signs {
    pub(super) oom: bool,
    pub(super) pids: bool,
    pub(super) full: Vec<String>,
}

/// How the step ended. Who succeeded came to no limit that mattered, and who was cancelled ended by that.
pub(super) fn exit_of(exit: protocol::Exit, signs: &Signs, limits: &Limits) -> Exit {
    use protocol::Exit as Theirs;
    let failed = matches!(exit, Theirs::Code(code) if code != 0) || matches!(exit, Theirs::Signal(_));
    let hindered = failed || matches!(exit, Theirs::TimedOut | Theirs::NotStarted(_));
    match exit {
        // The kernel may have killed a child of the program, whose own code then only says "failed".
        _ if failed && signs.oom => Exit::OutOfMemory,
        _ if hindered && signs.pids => too_many(exit == Theirs::TimedOut, limits),
        Theirs::Signal(SIGXFSZ) => Exit::OverLimit(format!(
            "The program wrote a file of more than {} MiB, the largest there may be ({}), and was stopped.",
            limits.file >> 20,
            limits.key("file_mib")
        )),
        _ if failed && !signs.full.is_empty() => no_room(&signs.full, limits),
        Theirs::Code(code) => Exit::Code(code),
        Theirs::Signal(signal) => Exit::Signal(signal),
        Theirs::TimedOut => Exit::TimedOut,
        Theirs::Cancelled => Exit::Cancelled,
        Theirs::NotStarted(reason) => Exit::NotStarted(plain(&reason)),
    }
}

/// The step printed too much. Whether it was stopped or had just ended by itself, it is over the limit.
pub(super) fn output(limits: &Limits) -> Exit {
    Exit::OverLimit(format!(
        "The program printed more than {} MiB, the most a step may print ({}).",
        limits.output >> 20,
        limits.key("output_mib")
    ))
}

fn too_many(took_too_long: bool, limits: &Limits) -> Exit {
    let ended = if took_too_long { "took too long and was ended" } else { "failed" };
    Exit::OverLimit(format!(
        "The program {ended}, and wanted more processes and threads than the {} that a sandbox may have ({}).",
        limits.pids,
        limits.key("pids")
    ))
}

fn no_room(full: &[String], limits: &Limits) -> Exit {
    let is_full = |folder: &str| full.iter().any(|full| full == folder);
    let (folder, bytes, key) = if is_full("/tmp") {
        ("/tmp", limits.tmp, Some(limits.key("tmp_mib")))
    } else if is_full("/dev/shm") {
        ("/dev/shm", SHARED_MEMORY, None)
    } else {
        ("the home folder", limits.home, Some(limits.key("home_mib")))
    };
    let key = key.map(|key| format!(" ({key})")).unwrap_or_default();
    Exit::OverLimit(format!(
        "The program failed, and {folder} was full when it ended: it holds {} MiB{key}, and is emptied when the sandbox is made anew.",
        bytes >> 20
    ))
}
