//! What a sandbox's processes hold of a file system though it has no name any more: files that were deleted and are still open, or mapped.
//!
//! A walk through the workspace does not see them. They are found where the kernel lists what each process has open, which needs the same
//! machine as the engine's, and root's rights or the sandbox's user's. Where that is not so, nothing is found.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;

use rustix::fs::{FileType, Stat, stat};

/// A container, as the machine's list of processes knows it.
#[derive(Clone, Debug)]
pub(super) struct Processes {
    pub(super) container: String,
    /// The first one.
    pub(super) init: i32,
}

impl Processes {
    /// Bytes that they hold on the file system `device`. A process or a file that goes meanwhile holds nothing.
    pub(super) fn hold(&self, device: u64) -> u64 {
        let group = |process: &str| fs::read_to_string(format!("/proc/{process}/cgroup")).ok();
        // The number may be that of another machine's process.
        let Some(ours) = group(&self.init.to_string()).filter(|group| group.contains(&self.container)) else {
            return 0;
        };
        let mut seen = HashSet::new();
        let mut held = 0;
        let mut look = |file: PathBuf| {
            if let Ok(stat) = stat(&file)
                && is_unlinked(&stat)
                && stat.st_dev == device
                && seen.insert(stat.st_ino)
            {
                held += u64::try_from(stat.st_blocks).unwrap_or_default() * 512;
            }
        };
        for process in names("/proc") {
            if process.bytes().all(|byte| byte.is_ascii_digit()) && group(&process).as_ref() == Some(&ours) {
                let folder = PathBuf::from("/proc").join(&process);
                for open in names(folder.join("fd")) {
                    look(folder.join("fd").join(open));
                }
                let maps = fs::read_to_string(folder.join("maps")).unwrap_or_default();
                for line in maps.lines().filter(|line| line.ends_with(" (deleted)")) {
                    look(folder.join("map_files").join(line.split(' ').next().unwrap_or_default()));
                }
            }
        }
        held
    }
}

fn is_unlinked(stat: &Stat) -> bool {
    stat.st_nlink == 0 && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

fn names(folder: impl AsRef<std::path::Path>) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}
