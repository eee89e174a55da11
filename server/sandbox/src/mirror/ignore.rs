//! Which names of a workspace never become nodes, besides those that its `.gitignore`s name ([`super::gitignore`]), and the bounds on how much of it
//! does.
//!
//! Ignored files stay in the workspace, where programs use them, and are neither shown, watched nor
//! deleted. Pure.

/// Names that stay on disk only, wherever they are.
const NAMES: [(&str, &str); 12] = [
    (".git", "a repository's own database; its bytes mean nothing to an editor"),
    (".hg", "the same"),
    (".svn", "the same"),
    ("node_modules", "installed packages: tens of thousands of files that a tool can make again"),
    (".venv", "the same"),
    ("__pycache__", "compiled by the interpreter at each run"),
    (".pytest_cache", "a tool's own notes"),
    (".mypy_cache", "the same"),
    (".ruff_cache", "the same"),
    ("target", "build results"),
    ("dist", "build results"),
    (".DS_Store", "a file manager's notes"),
];

/// Ends of names of files that editors and the interpreter keep for moments.
const SUFFIXES: [&str; 5] = ["~", ".swp", ".swo", ".swx", ".pyc"];

/// Begin of the names under which the mirror parks what stands in the way of a move.
pub(super) const PARKED: &str = ".buildspaces-";

/// Most nodes that a workspace's tree has. What is above stays on disk only and is counted.
pub(super) const MAX_NODES: usize = 20_000;

/// Most directory entries that one scan looks at. Above it what is known is looked up one by one
/// and nothing new is found.
pub(super) const MAX_SCAN_ENTRIES: u64 = 200_000;

/// Deepest folder that is looked into: what is below it has a place in the tree.
pub(super) const MAX_DEPTH: usize = buildspaces_rooms::tree::MAX_DEPTH - 1;

/// True for a name that stays on disk only.
pub(super) fn is_ignored(name: &str) -> bool {
    NAMES.iter().any(|(ignored, _)| *ignored == name)
        || SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
        || name.starts_with(PARKED)
        || name.starts_with(".#")
}

/// The same names as git's lists of ignored files have them.
pub(crate) fn patterns() -> String {
    let names = NAMES.iter().map(|(name, _)| (*name).to_owned());
    let suffixes = SUFFIXES.iter().map(|suffix| format!("*{suffix}"));
    let begins = [PARKED, ".#"].map(|begin| format!("{begin}*"));
    names.chain(suffixes).chain(begins).map(|pattern| pattern + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_is_told_the_same_names() {
        let patterns = patterns();
        assert!(patterns.starts_with(".git\n") && patterns.ends_with("\n*.pyc\n.buildspaces-*\n.#*\n"), "{patterns}");
    }

    #[test]
    fn what_tools_keep_for_themselves_is_ignored() {
        for name in [".git", "node_modules", "a.txt~", ".main.py.swp", ".#lock", "x.pyc"] {
            assert!(is_ignored(name), "{name}");
        }
        for name in ["git", ".gitignore", "targets", "dist.py", "swp"] {
            assert!(!is_ignored(name), "{name}");
        }
    }
}
