//! Whether the kernel killed something of this sandbox for memory.

use std::fs;

/// How many processes of this control group the kernel has killed for memory, or `None` where it does not say.
///
/// A program killed this way dies of SIGKILL like any other, and so may its parent not: only this count tells.
pub(super) fn oom_kills() -> Option<u64> {
    // Version 2 of control groups, then version 1.
    ["/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"]
        .iter()
        .find_map(|path| parse(&fs::read_to_string(path).ok()?))
}

fn parse(file: &str) -> Option<u64> {
    file.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_control_groups_are_read() {
        assert_eq!(parse("low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n"), Some(2));
        assert_eq!(parse("oom_kill_disable 0\nunder_oom 0\noom_kill 5\n"), Some(5));
        assert_eq!(parse("oom_kill_disable 0\nunder_oom 0\n"), None);
    }
}
