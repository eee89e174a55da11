//! How much of a step's output was delivered, noted in a file so that a restarted server asks for the rest only.
//!
//! A note is lost with the power, not with the process: nothing is synced, because after a power failure the container
//! is gone as well.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use buildspaces_sandbox_agent::protocol::Key;

/// Digits of the offset: the note is written in place, so its length must not change.
const DIGITS: usize = 20;

#[derive(Debug)]
pub(crate) struct Progress {
    /// `None` if the file cannot be written; then a restart repeats output.
    file: Option<File>,
    key: Key,
    /// The end of each piece that was handed over, oldest first; at most the channel's bound and one.
    handed: VecDeque<u64>,
    noted: u64,
}

impl Progress {
    pub(crate) fn open(path: &Path, key: &Key, seen: u64) -> Self {
        let file = File::create(path);
        if let Err(error) = &file {
            tracing::warn!(%error, path = %path.display(), "cannot note a step's progress");
        }
        let progress = Self { file: file.ok(), key: key.clone(), handed: VecDeque::new(), noted: seen };
        progress.write();
        progress
    }

    /// A piece that ends at `offset` was handed over, and `waiting` pieces have not been taken yet.
    pub(crate) fn delivered(&mut self, offset: u64, waiting: usize) {
        self.handed.push_back(offset);
        while self.handed.len() > waiting {
            self.noted = self.handed.pop_front().unwrap_or(self.noted);
        }
        self.write();
    }

    fn write(&self) {
        let note = format!("{:0DIGITS$} {}", self.noted, self.key.as_str());
        if let Some(file) = &self.file
            && let Err(error) = file.write_all_at(note.as_bytes(), 0)
        {
            tracing::warn!(%error, "cannot note a step's progress");
        }
    }
}

/// How much of the output of the step `key` was delivered, by the note at `path`; 0 if it does not say.
pub(crate) fn seen(path: &Path, key: &Key) -> u64 {
    let Ok(note) = fs::read_to_string(path) else { return 0 };
    match note.split_once(' ') {
        Some((offset, name)) if name == key.as_str() => offset.parse().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_taken_counts() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("progress");
        let key = Key::parse("run-1").expect("a key");
        assert_eq!(seen(&path, &key), 0);
        let mut progress = Progress::open(&path, &key, 5);
        assert_eq!(seen(&path, &key), 5);
        progress.delivered(10, 1);
        progress.delivered(20, 2);
        assert_eq!(seen(&path, &key), 5);
        progress.delivered(30, 1);
        assert_eq!(seen(&path, &key), 20);
        progress.delivered(40, 0);
        assert_eq!(seen(&path, &key), 40);
        assert_eq!(seen(&path, &Key::parse("run-2").expect("a key")), 0);
    }
}
