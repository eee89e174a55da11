//! Waiting for children and killing what is left of a step, a terminal or a command.
//!
//! The agent is process 1: every orphan becomes its child, and nobody else would wait for it. One thread waits for all
//! children, and hands the status of a step's own process to the step. What runs in a terminal or for a command is below its
//! supervisor, which takes in its orphans; that is how one is told from the other, whatever groups and sessions programs make.

use std::collections::HashMap;
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

/// Processes that are looked at again in one scan because their parent ended meanwhile.
const MOST_LOOKS: usize = 1000;

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

/// Collects every child that has ended. Programs are started with the state locked, hence never between the two.
fn reap(shared: &Arc<Shared>) {
    let mut state = shared.lock();
    let mut orphans = false;
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if let Some(step) = state.steps.iter_mut().find(|step| step.process() == Some(pid)) {
            step.set_status(status);
        } else if let Some(terminal) = state.terminals.iter_mut().find(|terminal| terminal.supervisor() == Some(pid)) {
            terminal.set_status(status);
            // Somebody killed it from inside, so what it looked after became the agent's.
            orphans |= status.terminating_signal().is_some();
        } else if let Some(command) = state.commands.iter_mut().find(|command| command.running() == Some(pid)) {
            command.set_status(status);
            orphans |= status.terminating_signal().is_some();
        }
    }
    drop(state);
    shared.changed.notify_all();
    if orphans {
        let shared = Arc::clone(shared);
        // Without a thread the next step's end does it.
        let _ = thread::Builder::new().name("orphans".to_owned()).spawn(move || kill_orphans(&shared));
    }
}

/// Kills every process of this sandbox but the agent and what runs in terminals, also those that left their step's process
/// group, and waits until they have been collected: until then they count against the sandbox's limit, and the next step
/// could not start. Returns how many were still there when patience ended. The state must not be locked, or nothing can be
/// collected.
pub(super) fn kill_all(shared: &Shared) -> usize {
    let choose = || {
        let all = scan();
        // Looked at after the scan: a terminal's supervisor that is in the scan is known by now.
        Some((others(&all, &shared.lock().supervisors()), all))
    };
    kill(choose, || {})
}

/// The same, unless a step runs: then its end does it.
fn kill_orphans(shared: &Shared) {
    let choose = || {
        let all = scan();
        let state = shared.lock();
        // A step that starts from here on is not in the scan.
        let idle = state.steps.iter().all(|step| step.ended().is_some());
        idle.then(|| (others(&all, &state.supervisors()), all))
    };
    kill(choose, || {});
}

/// Kills everything below `root`, not itself, and waits until `root` has collected it; in `root` itself, `collect` does that.
/// Nothing leaves a tree whose root is a subreaper.
///
/// It starts no thread: there may be no place for one, and what takes it all may be what is to be killed.
pub(super) fn kill_below(root: Pid, collect: impl Fn()) -> usize {
    let choose = || {
        let all = scan();
        Some((below(&all, root), all))
    };
    kill(choose, collect)
}

/// Asks everything below `root` to end. What starts meanwhile is not asked.
pub(super) fn ask_below(root: Pid) {
    for pid in below(&scan(), root) {
        let _ = kill_process(pid, Signal::TERM);
    }
}

/// Kills what `choose` chooses until there is none, or until it returns nothing.
fn kill(choose: impl Fn() -> Option<(Vec<Pid>, HashMap<Pid, Process>)>, collect: impl Fn()) -> usize {
    // A process that is stopped cannot start another one, so stop them all before killing the first.
    for _ in 0..STOP_ROUNDS {
        let Some((mut chosen, all)) = choose() else { return 0 };
        chosen.retain(|pid| !matches!(all[pid].state, b'T' | b't') && !all[pid].has_ended());
        if chosen.is_empty() {
            break;
        }
        for pid in chosen {
            let _ = kill_process(pid, Signal::STOP);
        }
        thread::sleep(Duration::from_micros(200));
    }
    let deadline = Instant::now() + KILL_PATIENCE;
    loop {
        collect();
        let Some((left, all)) = choose() else { return 0 };
        if left.is_empty() || Instant::now() >= deadline {
            return left.len();
        }
        for pid in left.into_iter().filter(|pid| !all[pid].has_ended()) {
            let _ = kill_process(pid, Signal::KILL);
        }
        thread::sleep(Duration::from_millis(1));
    }
}

#[derive(Clone, Copy, Debug)]
struct Process {
    parent: Option<Pid>,
    /// The letter in /proc: `R`, `S`, `D`, `T`, ...
    state: u8,
}

impl Process {
    /// It only waits to be collected.
    fn has_ended(&self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }

    fn look(pid: Pid) -> Option<Self> {
        let (state, parent) = parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
        Some(Self { parent: Pid::from_raw(parent), state })
    }
}

/// All processes that can be seen. Each one's parent is among them, or it has none.
fn scan() -> HashMap<Pid, Process> {
    let mut all: HashMap<Pid, Process> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let pid = entry.ok()?.file_name().to_str()?.parse().ok().and_then(Pid::from_raw)?;
            Some((pid, Process::look(pid)?))
        })
        .collect();
    // A parent that ended meanwhile has left its children to another, so it is enough to look at those again; a parent
    // that came meanwhile is added. Whose a process is must never be guessed.
    for _ in 0..MOST_LOOKS {
        let missing = |process: &Process| process.parent.is_some_and(|parent| !all.contains_key(&parent));
        let Some(pid) = all.iter().find(|(_, process)| missing(process)).map(|(pid, _)| *pid) else { break };
        let Some(now) = Process::look(pid) else {
            all.remove(&pid);
            continue;
        };
        all.insert(pid, now);
        if let Some(parent) = now.parent.filter(|parent| !all.contains_key(parent))
            && let Some(process) = Process::look(parent)
        {
            all.insert(parent, process);
        }
    }
    all
}

/// The processes below `root`.
fn below(all: &HashMap<Pid, Process>, root: Pid) -> Vec<Pid> {
    all.keys().copied().filter(|pid| *pid != root && ancestors(all, *pid).any(|above| above == root)).collect()
}

/// The processes that are neither a terminal's nor the agent itself: in a sandbox all others, elsewhere only descendants of
/// the agent.
fn others(all: &HashMap<Pid, Process>, supervisors: &[Pid]) -> Vec<Pid> {
    let own = getpid();
    let mut chosen =
        if own.is_init() { all.keys().copied().filter(|pid| *pid != own).collect() } else { below(all, own) };
    chosen.retain(|pid| !ancestors(all, *pid).any(|above| supervisors.contains(&above)));
    chosen
}

/// A process, its parent, and so on.
fn ancestors(all: &HashMap<Pid, Process>, pid: Pid) -> impl Iterator<Item = Pid> {
    // What is read one after the other may contradict itself after a wrap of process ids; it must not go round in circles.
    std::iter::successors(Some(pid), |pid| all.get(pid)?.parent).take(all.len())
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
