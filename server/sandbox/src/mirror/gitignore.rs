//! What the workspace's `.gitignore` files keep out of the tree: what git would not begin to track.
//!
//! What is a node already stays one, as what git tracks goes on being tracked, so a change of such a file loses nobody's text. A file there that
//! git tracks all the same, and everything that `.git/info/exclude` and a user's own settings say, is not known here: nothing in a `.git` is
//! opened.
//!
//! The files are strangers' words: bounded in size and number, and read as any other file of the workspace is. Start with
//! [`Gitignores::look`] and [`Gitignores::leaves_out`].

use std::collections::{HashMap, HashSet};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::disk::{Content, Disk, Stamp};

/// Their name.
pub(super) const NAME: &str = ".gitignore";

/// Most bytes of one that is regarded.
const MAX_BYTES: u64 = 64 << 10;

/// Most of them that are regarded.
const MAX_FILES: usize = 256;

/// The `.gitignore` files of a workspace, by their folders' paths.
#[derive(Debug, Default)]
pub(super) struct Gitignores {
    folders: HashMap<String, Rules>,
}

#[derive(Debug)]
struct Rules {
    stamp: Stamp,
    /// Of paths from its folder.
    matcher: Gitignore,
}

impl Gitignores {
    /// Takes note of a folder's file as it is now, `None` if there is none. True if that changed what is left out.
    pub(super) fn look(&mut self, disk: &Disk, folder: &str, stamp: Option<Stamp>) -> bool {
        let Some(stamp) = stamp.filter(|stamp| !stamp.is_dir) else { return self.folders.remove(folder).is_some() };
        if self.folders.get(folder).is_some_and(|rules| rules.stamp == stamp) {
            return false;
        }
        self.folders.remove(folder);
        let path = path_in(folder, NAME);
        if self.folders.len() >= MAX_FILES {
            tracing::debug!(
                path,
                limit = MAX_FILES,
                "the workspace has too many files of this name; this one is not regarded"
            );
            return false;
        }
        let matcher = match disk.read(&path, MAX_BYTES) {
            Ok(Content::Bytes { bytes, .. }) => matcher(&String::from_utf8_lossy(&bytes)),
            Ok(Content::TooLarge(_)) => {
                tracing::warn!(path, limit = MAX_BYTES, "a file of this name is too large to be regarded");
                Gitignore::empty()
            }
            Err(error) => {
                tracing::warn!(path, %error, "a file of this name cannot be read");
                Gitignore::empty()
            }
            Ok(Content::Gone) => return true,
        };
        self.folders.insert(folder.to_owned(), Rules { stamp, matcher });
        true
    }

    /// Forgets those of all other folders.
    pub(super) fn keep_only(&mut self, folders: &HashSet<String>) {
        self.folders.retain(|folder, _| folders.contains(folder));
    }

    /// Whether the folder itself is left out, or one above it.
    pub(super) fn leaves_out_all_of(&self, folder: &str) -> bool {
        let ends = folder.match_indices('/').map(|(end, _)| end).chain([folder.len()]);
        !self.folders.is_empty()
            && ends.filter(|end| *end > 0).any(|end| {
                let (above, name) = folder[..end].rsplit_once('/').unwrap_or(("", &folder[..end]));
                self.leaves_out(above, name, true)
            })
    }

    /// Whether something in a folder is left out that is not left out itself.
    pub(super) fn leaves_out(&self, folder: &str, name: &str, is_dir: bool) -> bool {
        if self.folders.is_empty() {
            return false;
        }
        let path = path_in(folder, name);
        let mut at = folder;
        // The nearest file that says something about it decides.
        loop {
            let from = if at.is_empty() { 0 } else { at.len() + 1 };
            match self.folders.get(at).map(|rules| rules.matcher.matched(&path[from..], is_dir)) {
                Some(Match::Ignore(_)) => return true,
                Some(Match::Whitelist(_)) => return false,
                Some(Match::None) | None if at.is_empty() => return false,
                Some(Match::None) | None => at = above(at),
            }
        }
    }
}

/// The folder around something.
pub(super) fn above(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(above, _)| above)
}

pub(super) fn path_in(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

fn matcher(text: &str) -> Gitignore {
    let mut builder = GitignoreBuilder::new("");
    for line in text.lines() {
        // A pattern that cannot be understood leaves nothing out, as in git.
        let _ = builder.add_line(None, line);
    }
    builder.build().unwrap_or_else(|_| Gitignore::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(files: &[(&str, &str)]) -> Gitignores {
        let stamp = Stamp::unknown(Default::default(), false);
        let rules = |text: &str| Rules { stamp, matcher: matcher(text) };
        Gitignores { folders: files.iter().map(|(folder, text)| ((*folder).to_owned(), rules(text))).collect() }
    }

    fn leaves_out(rules: &Gitignores, path: &str) -> bool {
        let (path, is_dir) = path.strip_suffix('/').map_or((path, false), |path| (path, true));
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        rules.leaves_out_all_of(folder) || rules.leaves_out(folder, name, is_dir)
    }

    #[test]
    fn patterns_mean_what_they_mean_to_git() {
        let root = "# a comment\n*.log\n!keep.log\n/build/\ndoc/*.txt\n**/cache/\nwith space\\ \n[broken\n";
        let rules = rules(&[("", root), ("sub", "!a.log\n/only-here\n"), ("build", "!wanted\n")]);
        for path in ["a.log", "deep/er/a.log", "build/", "build/x", "build/wanted", "doc/a.txt", "a/cache/", "cache/x"]
        {
            assert!(leaves_out(&rules, path), "{path}");
        }
        for path in ["keep.log", "sub/keep.log", "sub/build/", "build", "doc/sub/a.txt", "cache", "a.txt", "sub/a.log"]
        {
            assert!(!leaves_out(&rules, path), "{path}");
        }
        assert!(leaves_out(&rules, "sub/only-here") && !leaves_out(&rules, "sub/sub/only-here"));
        assert!(!leaves_out(&Gitignores::default(), "a.log"));
    }
}
