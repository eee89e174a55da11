//! Workspaces in, command lines out.

use super::super::{READ, find};
use super::*;
use crate::rule::Globs;

/// Each file is a path, or `path = content`.
fn command(globs: &str, files: &[&str]) -> String {
    let mut files: Vec<(String, String)> = files
        .iter()
        .map(|file| file.split_once(" = ").unwrap_or((file, "")))
        .map(|(path, content)| (path.to_owned(), content.to_owned()))
        .collect();
    files.sort();
    let paths: Vec<String> = files.iter().map(|(path, _)| path.clone()).collect();
    let read = |wanted: &str| {
        assert!(READ.contains(&wanted), "{wanted} is not announced");
        files.iter().find(|(path, _)| path == wanted).map(|(_, content)| content.clone())
    };
    let globs = Globs::new(&[globs.to_owned()]).expect("valid");
    let skill = find("test.run").expect("registered");
    match (skill.detect)(&Workspace { paths: &paths, read: &read, globs: &globs }) {
        Ok(command) => command.label,
        Err(sentence) => format!("! {}", sentence.split('.').next().unwrap_or_default()),
    }
}

#[test]
fn projects_are_recognised() {
    let cases: &[(&[&str], &str)] = &[
        (&[], "! No tests were found"),
        (&["main.py", "README.md"], "! No tests were found"),
        // unittest: the start folder is where the tests' package begins.
        (&["calc.py", "test_calc.py"], "python3 -m unittest discover -v"),
        (&["calc.py", "tests/test_calc.py"], "python3 -m unittest discover -v -s tests"),
        (&["tests/__init__.py", "tests/test_calc.py"], "python3 -m unittest discover -v"),
        (
            &["src/p/__init__.py", "src/p/tests/__init__.py", "src/p/tests/test_a.py"],
            "python3 -m unittest discover -v -s src",
        ),
        (&["a/test_1.py", "b/test_2.py", "b/test_3.py"], "python3 -m unittest discover -v -s b"),
        (&["calc.py", "calc_test.py"], "python3 -m unittest discover -v -p *_test.py"),
        // pytest only where it is set up.
        (&["pytest.ini", "test_a.py"], "python3 -m pytest"),
        (&["tests/conftest.py", "tests/test_a.py"], "python3 -m pytest"),
        (&["pyproject.toml = [tool.pytest.ini_options]", "test_a.py"], "python3 -m pytest"),
        (&["pyproject.toml = [project]", "test_a.py"], "python3 -m unittest discover -v"),
        (&["setup.cfg = [tool:pytest]", "test_a.py"], "python3 -m pytest"),
        (&["pytest.ini", "main.py"], "! No tests were found"),
        // Node.
        (&["sum.js", "sum.test.js"], "node --test"),
        (&["sum.js", "test/sum.mjs"], "node --test"),
        (&["test.js"], "node --test"),
        (&["test-sum.cjs"], "node --test"),
        (&["latest.js", "contest/a.js"], "! No tests were found"),
        (&[r#"package.json = {"scripts":{"test":"mocha spec"}}"#, "a.js"], "mocha spec"),
        (
            &[r#"package.json = {"scripts":{"test":"echo \"Error: no test specified\" && exit 1"}}"#, "a.test.js"],
            "node --test",
        ),
        (&[r#"package.json = {"scripts":{}}"#, "a.js"], "! No tests were found"),
        (&["package.json = not json", "a.test.js"], "node --test"),
        // Others.
        (&["Cargo.toml", "src/lib.rs"], "cargo test"),
        (&["crates/a/Cargo.toml"], "! No tests were found"),
        (&["Makefile = build test: all\n\techo", "a.c"], "make test"),
        (&["Makefile = test := 1\nall:\n\ttest: x", "a.c"], "! No tests were found"),
    ];
    for (files, expected) in cases {
        assert_eq!(command("**/*", files), *expected, "{files:?}");
    }
}

#[test]
fn the_rule_s_globs_say_which_kind_is_meant() {
    let both = ["test_a.py", "a.test.js", "Makefile = test:", "Cargo.toml", "src/lib.rs"];
    for (globs, expected) in [
        ("**/*.py", "python3 -m unittest discover -v"),
        ("**/*.js", "node --test"),
        ("**/*.rs", "cargo test"),
        ("Makefile", "make test"),
        ("**/*.txt", "python3 -m unittest discover -v"),
    ] {
        assert_eq!(command(globs, &both), expected, "{globs}");
    }
}

#[test]
fn a_test_script_finds_the_project_s_own_tools() {
    let paths = ["package.json".to_owned()];
    let read = |_: &str| Some(r#"{"scripts":{"test":"mocha"}}"#.to_owned());
    let globs = Globs::new(&["**/*".to_owned()]).expect("valid");
    let command = detect(&Workspace { paths: &paths, read: &read, globs: &globs }).expect("recognised");
    assert_eq!(command.argv, ["sh", "-c", "PATH=\"$PWD/node_modules/.bin:$PATH\"; export PATH; mocha"]);
    assert_eq!(command.label, "mocha");
}
