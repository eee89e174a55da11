//! Which of the sandbox's limits the kernel has enforced.
//!
//! A program only sees its consequences, and may say nothing of them: a process that dies of SIGKILL, a fork that fails, a file that
//! ends too early. What is counted here tells why.

use std::fs;

use rustix::fs::statvfs;

/// What the kernel has counted so far in this sandbox; `None` where it does not say.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Counted {
    /// Processes that it killed for memory. Their parents may have died of it, too.
    pub(super) oom_kills: Option<u64>,
    /// Processes and threads that it did not let begin.
    pub(super) refused: Option<u64>,
}

pub(super) fn counted() -> Counted {
    // Version 2 of control groups, then version 1.
    let oom = ["/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"];
    let pids = ["/sys/fs/cgroup/pids.events", "/sys/fs/cgroup/pids/pids.events"];
    Counted { oom_kills: read(&oom, "oom_kill "), refused: read(&pids, "max ") }
}

fn read(paths: &[&str], name: &str) -> Option<u64> {
    paths.iter().find_map(|path| parse(&fs::read_to_string(path).ok()?, name))
}

fn parse(file: &str, name: &str) -> Option<u64> {
    file.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// Those of `folders` in which nothing more can be written or created.
pub(super) fn full(folders: &[String]) -> Vec<String> {
    folders.iter().filter(|folder| is_full(folder)).cloned().collect()
}

fn is_full(folder: &str) -> bool {
    // A file system that has no numbers to tell is not full.
    statvfs(folder)
        .is_ok_and(|stat| (stat.f_blocks > 0 && stat.f_bavail == 0) || (stat.f_files > 0 && stat.f_favail == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_control_groups_are_read() {
        let oom = |file| parse(file, "oom_kill ");
        assert_eq!(oom("low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n"), Some(2));
        assert_eq!(oom("oom_kill_disable 0\nunder_oom 0\noom_kill 5\n"), Some(5));
        assert_eq!(oom("oom_kill_disable 0\nunder_oom 0\n"), None);
        assert_eq!(parse("max 7\n", "max "), Some(7));
    }

    #[test]
    fn a_folder_with_room_is_not_full() {
        let folder = tempfile::tempdir().expect("a folder");
        let folders = [folder.path().display().to_string(), "/no/such/folder".to_owned()];
        assert_eq!(full(&folders), Vec::<String>::new());
    }
}
