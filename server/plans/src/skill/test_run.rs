//! `test.run`: runs the project's own tests with the tool it is set up for.
//!
//! Detection is pure: paths and a few small files in, a command out. It prefers what a project says about itself
//! (pytest's settings, a `test` script) over conventions, and never guesses without a test to run.

use serde_json::Value;

use super::{Command, SideEffect, Skill, Workspace};

/// The skill's entry in the registry.
pub const SKILL: Skill =
    Skill { name: "test.run", description: "Runs the project's tests.", side_effect: SideEffect::Workspace, detect };

/// What people are told when nothing is recognised.
const NOTHING: &str = "No tests were found. Recognised are test_*.py or *_test.py files (unittest, or pytest if it is \
    configured), *.test.js and other files for node --test, a test script in package.json, Cargo.toml, and a test \
    target in a Makefile.";

/// A command that would make sense, and the files that are its reason.
struct Candidate {
    command: Command,
    evidence: Vec<String>,
}

/// The first candidate whose files the rule watches; if it watches none, the first.
fn detect(workspace: &Workspace<'_>) -> Result<Command, String> {
    let mut candidates: Vec<Candidate> =
        [python, node, cargo, make].into_iter().filter_map(|detect| detect(workspace)).collect();
    let meant = candidates
        .iter()
        .position(|candidate| candidate.evidence.iter().any(|path| workspace.globs.is_match(path)))
        .unwrap_or(0);
    if candidates.is_empty() { Err(NOTHING.to_owned()) } else { Ok(candidates.swap_remove(meant).command) }
}

fn python(workspace: &Workspace<'_>) -> Option<Candidate> {
    let tests: Vec<&str> = workspace.paths.iter().map(String::as_str).filter(|path| is_python_test(path)).collect();
    if tests.is_empty() {
        return None;
    }
    let evidence = tests.iter().map(|path| (*path).to_owned()).collect();
    let command =
        if uses_pytest(workspace) { plain(&["python3", "-m", "pytest"]) } else { unittest(workspace, &tests) };
    Some(Candidate { command, evidence })
}

fn is_python_test(path: &str) -> bool {
    let name = file_name(path);
    name.strip_suffix(".py").is_some_and(|stem| stem.starts_with("test") || stem.ends_with("_test"))
}

fn uses_pytest(workspace: &Workspace<'_>) -> bool {
    let mentions = |file, section: &str| (workspace.read)(file).is_some_and(|text| text.contains(section));
    workspace.has("pytest.ini")
        || workspace.paths.iter().any(|path| file_name(path) == "conftest.py")
        || mentions("pyproject.toml", "[tool.pytest")
        || mentions("setup.cfg", "[tool:pytest]")
        || mentions("tox.ini", "[pytest]")
}

/// unittest looks into packages from its start folder on, so the start folder is where the tests' package begins.
fn unittest(workspace: &Workspace<'_>, tests: &[&str]) -> Command {
    // unittest's own pattern is `test*.py`; the other convention is used when it is the only one present.
    let conventional: Vec<&str> = tests.iter().copied().filter(|path| file_name(path).starts_with("test")).collect();
    let (tests, pattern) =
        if conventional.is_empty() { (tests, Some("*_test.py")) } else { (conventional.as_slice(), None) };

    let mut roots: Vec<(&str, usize)> = Vec::new();
    for root in tests.iter().map(|path| package_root(workspace, folder(path))) {
        match roots.iter_mut().find(|(known, _)| *known == root) {
            Some((_, count)) => *count += 1,
            None => roots.push((root, 1)),
        }
    }
    // One call has one start folder: the one with the most tests, and of equals the one nearest to the root.
    roots.sort_by_key(|(root, count)| (std::cmp::Reverse(*count), root.len(), *root));
    let start = roots.first().map_or("", |(root, _)| root);

    let mut argv = vec!["python3", "-m", "unittest", "discover", "-v"];
    if !start.is_empty() {
        argv.extend(["-s", start]);
    }
    if let Some(pattern) = pattern {
        argv.extend(["-p", pattern]);
    }
    plain(&argv)
}

/// The first folder upwards from `folder` that is not a package.
fn package_root<'a>(workspace: &Workspace<'_>, folder: &'a str) -> &'a str {
    let mut root = folder;
    while !root.is_empty() && workspace.has(&format!("{root}/__init__.py")) {
        root = self::folder(root);
    }
    root
}

fn node(workspace: &Workspace<'_>) -> Option<Candidate> {
    let script = (workspace.read)("package.json").and_then(|text| test_script(&text));
    let tests: Vec<String> = workspace.paths.iter().filter(|path| is_node_test(path)).cloned().collect();
    let command = match script {
        // npm itself may be absent from the sandbox, so the script runs as npm would run it.
        Some(script) => Command {
            argv: vec![
                "sh".to_owned(),
                "-c".to_owned(),
                format!("PATH=\"$PWD/node_modules/.bin:$PATH\"; export PATH; {script}"),
            ],
            label: script,
        },
        None if tests.is_empty() => return None,
        None => plain(&["node", "--test"]),
    };
    let mut evidence = tests;
    evidence.extend(workspace.paths.iter().filter(|path| is_script(path)).cloned());
    Some(Candidate { command, evidence })
}

/// The `test` script of a package.json, unless it is what `npm init` puts there.
fn test_script(package: &str) -> Option<String> {
    let package: Value = serde_json::from_str(package).ok()?;
    let script = package.get("scripts")?.get("test")?.as_str()?.trim();
    let placeholder = script.contains("no test specified");
    (!script.is_empty() && !placeholder).then(|| script.to_owned())
}

fn is_script(path: &str) -> bool {
    [".js", ".cjs", ".mjs", ".ts", ".cts", ".mts", ".jsx", ".tsx"].iter().any(|end| path.ends_with(end))
}

/// The files that `node --test` takes by itself (<https://nodejs.org/docs/latest-v18.x/api/test.html#test-runner-execution-model>).
fn is_node_test(path: &str) -> bool {
    let Some(stem) = [".js", ".cjs", ".mjs"].iter().find_map(|end| path.strip_suffix(end)) else { return false };
    let name = file_name(stem);
    folder(path).split('/').any(|folder| folder == "test")
        || name == "test"
        || name.starts_with("test-")
        || [".test", "-test", "_test"].iter().any(|end| name.ends_with(end))
}

fn cargo(workspace: &Workspace<'_>) -> Option<Candidate> {
    workspace.has("Cargo.toml").then(|| Candidate {
        command: plain(&["cargo", "test"]),
        evidence: workspace
            .paths
            .iter()
            .filter(|path| path.ends_with(".rs") || *path == "Cargo.toml")
            .cloned()
            .collect(),
    })
}

fn make(workspace: &Workspace<'_>) -> Option<Candidate> {
    // The order in which make itself looks for its file.
    let file = ["GNUmakefile", "makefile", "Makefile"].into_iter().find(|file| workspace.has(file))?;
    let text = (workspace.read)(file)?;
    text.lines()
        .any(is_test_target)
        .then(|| Candidate { command: plain(&["make", "test"]), evidence: vec![file.to_owned()] })
}

/// `test: …`, alone or among other targets, and not the assignment `test := …`.
fn is_test_target(line: &str) -> bool {
    !line.starts_with(['\t', '#'])
        && line.split_once(':').is_some_and(|(targets, rest)| {
            !rest.starts_with('=') && !rest.starts_with(":=") && targets.split_whitespace().any(|t| t == "test")
        })
}

fn plain(argv: &[&str]) -> Command {
    Command { argv: argv.iter().map(|&arg| arg.to_owned()).collect(), label: argv.join(" ") }
}

fn file_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// The folder of a path; the root is empty.
fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

#[cfg(test)]
mod tests;
