//! Skills: the kinds of step a plan can have. Each is typed and says what it may change.
//!
//! A skill looks at a workspace and answers with a command; it runs nothing itself. There is one now, `test.run`.
//! A new skill is a file in `skill/` and a line in [`SKILLS`].

use crate::rule::Globs;

pub mod test_run;

/// What a skill may change in the world, declared so that policy can ask before it runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SideEffect {
    /// Files of the room's workspace, and nothing outside of its sandbox.
    Workspace,
}

/// One kind of step.
#[derive(Debug)]
pub struct Skill {
    /// The name that rules and runs carry.
    pub name: &'static str,
    pub description: &'static str,
    pub side_effect: SideEffect,
    /// The command for a workspace, or a sentence that says what would be recognised.
    pub detect: fn(&Workspace<'_>) -> Result<Command, String>,
}

/// Every skill there is.
pub const SKILLS: &[Skill] = &[test_run::SKILL];

/// The skill called `name`.
pub fn find(name: &str) -> Option<&'static Skill> {
    SKILLS.iter().find(|skill| skill.name == name)
}

/// Small files at the workspace's root that skills read. Others are known by path only.
pub const READ: &[&str] =
    &["package.json", "pyproject.toml", "setup.cfg", "tox.ini", "Makefile", "makefile", "GNUmakefile"];

/// Largest of these files that is read, in bytes. A larger one counts as absent.
pub const MAX_READ_BYTES: u64 = 256 << 10;

/// A frozen workspace as a skill sees it.
pub struct Workspace<'a> {
    /// Every text file's path, sorted.
    pub paths: &'a [String],
    /// The content of a file named in [`READ`], if it is there.
    pub read: &'a dyn Fn(&str) -> Option<String>,
    /// The rule's globs: when several commands are possible, they say which is meant.
    pub globs: &'a Globs,
}

impl Workspace<'_> {
    pub(crate) fn has(&self, path: &str) -> bool {
        self.paths.binary_search_by(|p| p.as_str().cmp(path)).is_ok()
    }
}

/// What to run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Command {
    pub argv: Vec<String>,
    /// The command as people read it.
    pub label: String,
}
