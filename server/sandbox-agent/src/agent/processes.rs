//! Waiting for children and killing what is left of a step.
//!
//! The agent is process 1: every orphan becomes its child, and nobody else would wait for it. One thread waits for all
//! children, and hands the status of a step's own process to the step.

use std::collections::HashSet;
use std::fs;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions, getpid, kill_process, wait, waitid};

use super::Shared;

/// How long killing may take before the agent goes on; a process in an uninterruptible wait cannot be killed at once.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// Rounds of stopping before killing begins whatever is still running. Each round stops all but what was started in
/// the round before, so even a program that starts others as fast as it can is caught within a few.
const STOP_ROUNDS: usize = 50;

/// Starts the thread that waits for children.
pub(super) fn spawn_reaper(shared: Arc<Shared>) -> std::io::Result<()> {
    thread::Builder::new().name("reaper".to_owned()).spawn(move || {
        loop {
            let seen = shared.lock().spawned;
            // Only a look: the child is not collected, because starting a program that does not exist makes the
            // standard library wait for its own short-lived child, and taking that away from it is a panic.
            if waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).is_ok() {
                reap(&shared);
                continue;
            }
            // No children at all. As all processes here descend from ours, more come only when a step starts.
            let mut state = shared.lock();
            while state.spawned == seen {
                state = shared.wait(state);
            }
        }
    })?;
    Ok(())
}

/// Collects every child that has ended. A step is started with the state locked, hence never between the two.
fn reap(shared: &Shared) {
    let mut state = shared.lock();
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if let Some(step) = state.steps.iter_mut().find(|step| step.process() == Some(pid)) {
            step.set_status(status);
        }
    }
    shared.changed.notify_all();
}

/// Kills every process of this sandbox but the agent, also those that left their step's process group, and waits until
/// they have been collected: until then they count against the sandbox's limit, and the next step could not start. Returns
/// how many were still there when patience ended. The state must not be locked, or nothing can be collected.
pub(super) fn kill_all() -> usize {
    // A process that is stopped cannot start another one, so stop them all before killing the first.
    for _ in 0..STOP_ROUNDS {
        let running: Vec<Process> =
            others().into_iter().filter(|p| !matches!(p.state, b'T' | b't') && !p.has_ended()).collect();
        if running.is_empty() {
            break;
        }
        for process in running {
            let _ = kill_process(process.pid, Signal::STOP);
        }
        thread::sleep(Duration::from_micros(200));
    }
    let deadline = Instant::now() + KILL_PATIENCE;
    loop {
        let left = others();
        if left.is_empty() || Instant::now() >= deadline {
            return left.len();
        }
        for process in left.into_iter().filter(|p| !p.has_ended()) {
            let _ = kill_process(process.pid, Signal::KILL);
        }
        thread::sleep(Duration::from_millis(1));
    }
}

#[derive(Clone, Copy, Debug)]
struct Process {
    pid: Pid,
    parent: i32,
    /// The letter in /proc: `R`, `S`, `D`, `T`, ...
    state: u8,
}

impl Process {
    /// It only waits to be collected.
    fn has_ended(&self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }
}

/// The processes to kill: in a sandbox all but process 1, elsewhere the agent's descendants.
fn others() -> Vec<Process> {
    let own = getpid();
    let all: Vec<Process> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let pid = entry.ok()?.file_name().to_str()?.parse().ok().and_then(Pid::from_raw)?;
            let (state, parent) = parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
            Some(Process { pid, parent, state })
        })
        .collect();
    let mut chosen = HashSet::from([own.as_raw_pid()]);
    let mut grown = !own.is_init();
    // /proc is in order of process ids, not of descent: repeat until nothing is added.
    while grown {
        grown = false;
        for process in &all {
            grown |= chosen.contains(&process.parent) && chosen.insert(process.pid.as_raw_pid());
        }
    }
    all.into_iter().filter(|p| p.pid != own).filter(|p| own.is_init() || chosen.contains(&p.pid.as_raw_pid())).collect()
}

/// State and parent from a line of /proc/<pid>/stat. The name before them is in parentheses and may hold anything.
fn parse_stat(stat: &str) -> Option<(u8, i32)> {
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    Some((state, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_cannot_hide_behind_its_name() {
        assert_eq!(parse_stat("12 (sh) S 7 12 12 0 -1"), Some((b'S', 7)));
        assert_eq!(parse_stat("12 (a) Z 1 (b) R 8 12"), Some((b'R', 8)));
        assert_eq!(parse_stat("12 (a"), None);
        assert_eq!(parse_stat(""), None);
    }
}
