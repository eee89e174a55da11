//! Rules: when files that match change, run a skill.
//!
//! Here are the rule itself, its globs, and [`Debounce`], which decides when it fires. Pure: no clock, no store, no
//! room; the engine feeds it and performs its effects.

use buildspaces_kernel::ids::{RoomId, RuleId};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde::{Deserialize, Serialize};

use crate::secret::SecretName;

mod debounce;

pub use debounce::{Debounce, DebounceConfig, Effect, Input};

/// When files that match change, run a skill.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rule {
    pub id: RuleId,
    pub room: RoomId,
    pub name: String,
    /// Paths from the workspace's root, `**/*.py`; any match counts.
    pub globs: Vec<String>,
    pub skill: String,
    pub enabled: bool,
    /// The secrets that its steps are given.
    #[serde(default)]
    pub secrets: Vec<SecretName>,
}

/// A rule that is to be made, for a template or a person.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NewRule {
    pub name: String,
    /// Paths from the workspace's root; `*` stays within a folder, `**` crosses them.
    pub globs: Vec<String>,
    pub skill: String,
}

/// Globs one rule may have. More are refused.
pub const MAX_GLOBS: usize = 32;

/// A rule's globs are not usable; the sentence says which and why.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct InvalidGlobs(String);

/// A rule's globs, compiled.
#[derive(Clone, Debug)]
pub struct Globs(GlobSet);

impl Globs {
    pub fn new(globs: &[String]) -> Result<Self, InvalidGlobs> {
        if globs.is_empty() || globs.len() > MAX_GLOBS {
            return Err(InvalidGlobs(format!("a rule needs 1 to {MAX_GLOBS} globs, such as **/*.py")));
        }
        let mut set = GlobSetBuilder::new();
        for glob in globs {
            let glob = GlobBuilder::new(glob)
                .literal_separator(true)
                .build()
                .map_err(|error| InvalidGlobs(format!("the glob {glob:?} is not valid: {}", error.kind())))?;
            set.add(glob);
        }
        set.build().map(Self).map_err(|error| InvalidGlobs(format!("the globs are not usable: {}", error.kind())))
    }

    pub fn is_match(&self, path: &str) -> bool {
        self.0.is_match(path)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn globs_match_paths_from_the_root() {
        let cases = [
            ("**/*.py", "a.py", true),
            ("**/*.py", "src/deep/a.py", true),
            ("*.py", "a.py", true),
            ("*.py", "src/a.py", false),
            ("src/**", "src/a/b", true),
            ("**/*.{js,mjs}", "lib/a.mjs", true),
            ("**/*.py", "a.pyc", false),
        ];
        for (glob, path, matches) in cases {
            let globs = Globs::new(&[glob.to_owned()]).expect(glob);
            assert_eq!(globs.is_match(path), matches, "{glob} on {path}");
        }
    }

    #[test]
    fn globs_that_cannot_work_are_refused_in_words() {
        for bad in [vec![], vec!["a[".to_owned()], vec!["*".to_owned(); MAX_GLOBS + 1]] {
            let error = Globs::new(&bad).expect_err("refused");
            assert!(error.to_string().contains("glob"), "{error}");
        }
    }

    #[test]
    fn the_stored_form_of_a_rule() {
        let rule = Rule {
            id: RuleId::parse("rule1").expect("valid"),
            room: RoomId::parse("room1").expect("valid"),
            name: "Tests".to_owned(),
            globs: vec!["**/*.py".to_owned()],
            skill: "test.run".to_owned(),
            enabled: true,
            secrets: vec![SecretName::parse("TOKEN").expect("valid")],
        };
        expect![[
            r#"{"id":"rule1","room":"room1","name":"Tests","globs":["**/*.py"],"skill":"test.run","enabled":true,"secrets":["TOKEN"]}"#
        ]]
        .assert_eq(&serde_json::to_string(&rule).expect("serializable"));
    }
}
