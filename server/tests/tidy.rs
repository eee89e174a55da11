//! Holds the documents to the code: which crate may use which, what each file says it is, and where a keystroke goes.
//!
//! These are rules that a reader would otherwise have to trust. When one fails, the page or the code is wrong; mend it, do not loosen the rule.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Above this a file's header must say why it is so long.
const MAX_LINES: usize = 800;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the workspace is there")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What Cargo prints.
fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo prints UTF-8")
}

/// What Cargo knows of the workspace's own packages.
fn metadata() -> Value {
    let printed = cargo(&["metadata", "--format-version", "1", "--locked", "--offline", "--no-deps"]);
    serde_json::from_str(&printed).expect("cargo prints JSON")
}

/// The rows of the Markdown tables below a heading, cell by cell.
fn tables(text: &str, heading: &str) -> Vec<Vec<String>> {
    let mut rows: Vec<Vec<String>> = text
        .lines()
        .skip_while(|line| *line != heading)
        .skip(1)
        .take_while(|line| !line.starts_with("## "))
        .filter(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect();
    assert!(rows.len() > 2, "there is no table below {heading:?}");
    // The head and the line of dashes below it.
    rows.drain(..2);
    rows
}

/// What stands between backquotes.
fn quoted(cell: &str) -> BTreeSet<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn dependencies(package: &Value) -> impl Iterator<Item = &Value> {
    package["dependencies"].as_array().expect("a list").iter()
}

#[test]
fn crates_use_only_what_the_architecture_page_allows() {
    let metadata = metadata();
    let mut actual = BTreeMap::new();
    for package in metadata["packages"].as_array().expect("a list") {
        let used: BTreeSet<String> = dependencies(package)
            .filter(|dependency| dependency["kind"].is_null())
            .filter_map(|dependency| dependency["name"].as_str())
            .filter(|name| name.starts_with("buildspaces"))
            .map(str::to_owned)
            .collect();
        actual.insert(package["name"].as_str().expect("a name").to_owned(), used);
    }
    let mut named = BTreeSet::new();
    for row in tables(&read("docs/architecture.md"), "## Dependencies") {
        let package = quoted(&row[0]).pop_first().expect("a package");
        let used = actual
            .get(&package)
            .unwrap_or_else(|| panic!("docs/architecture.md names {package}, which does not exist"));
        if row[1] != "all of them" {
            let allowed = quoted(&row[1]);
            let excess: Vec<_> = used.difference(&allowed).collect();
            assert!(excess.is_empty(), "{package} uses {excess:?}, which docs/architecture.md does not allow");
        }
        named.insert(package);
    }
    assert_eq!(named, actual.into_keys().collect(), "docs/architecture.md must name every crate");
}

#[test]
fn every_named_dependency_has_a_reason() {
    let metadata = metadata();
    let named: BTreeSet<String> = metadata["packages"]
        .as_array()
        .expect("a list")
        .iter()
        .flat_map(dependencies)
        .filter_map(|dependency| dependency["name"].as_str())
        .filter(|name| !name.starts_with("buildspaces"))
        .map(str::to_owned)
        .collect();
    let explained: BTreeSet<String> =
        tables(&read("docs/dependencies.md"), "## Rust").into_iter().map(|row| row[0].clone()).collect();
    assert_eq!(named, explained, "docs/dependencies.md must explain each dependency, and none that is gone");
}

#[test]
fn every_named_package_of_the_web_has_a_reason() {
    let mut named = BTreeSet::new();
    for manifest in ["web/package.json", "web/app/package.json", "web/e2e/package.json", "web/embed/package.json"] {
        let manifest: Value = serde_json::from_str(&read(manifest)).expect("JSON");
        for kind in ["dependencies", "devDependencies"] {
            let packages = manifest[kind].as_object().into_iter().flat_map(|packages| packages.keys());
            named.extend(packages.cloned());
        }
    }
    let rows = tables(&read("docs/dependencies.md"), "## Web");
    let explained: BTreeSet<String> =
        rows.iter().flat_map(|row| row[0].split(',').map(|name| name.trim().to_owned())).collect();
    assert_eq!(named, explained, "docs/dependencies.md must explain each package, and none that is gone");
}

#[test]
fn the_pure_core_has_no_runtime() {
    let arguments =
        ["tree", "--package", "buildspaces-crdt", "--edges", "normal", "--prefix", "none", "--locked", "--offline"];
    let tree = cargo(&arguments);
    assert!(tree.lines().any(|line| line.starts_with("yrs ")), "{tree}");
    for runtime in ["tokio ", "axum ", "sqlx ", "bollard ", "mio "] {
        let found = tree.lines().find(|line| line.starts_with(runtime));
        assert_eq!(found, None, "buildspaces-crdt must not depend on {runtime}");
    }
}

#[test]
fn the_keystroke_page_leads_to_code_that_exists() {
    let page = read("docs/keystroke.md");
    let rows = tables(&page, "# The way of one keystroke");
    assert!(rows.len() > 10);
    for row in rows {
        let file = quoted(&row[1]).pop_first().expect("a file");
        let item = quoted(&row[2]).pop_first().expect("an item");
        assert!(read(&file).contains(&item), "docs/keystroke.md: {file} has no {item}");
    }
}

#[test]
fn every_source_file_says_what_it_is() {
    let mut missing = Vec::new();
    for path in sources(&root()) {
        let text = std::fs::read_to_string(&path).expect("a source file is text");
        let shown = path.strip_prefix(root()).expect("below the root").display().to_string();
        // A file of tests is explained by the file it tests.
        let is_tests = shown.ends_with("tests.rs") || shown.contains("/tests/");
        if !text.starts_with("//!") && !is_tests {
            missing.push(format!("{shown}: begin with //! and what the file does"));
        }
        let lines = text.lines().count();
        let head: String = text.lines().take_while(|line| line.starts_with("//!")).collect();
        if lines > MAX_LINES && !head.contains("long because") {
            missing.push(format!(
                "{shown}: {lines} lines; split it, or say in its header that it is long because of what"
            ));
        }
        if text.contains("mod.rs") && shown.ends_with("/mod.rs") {
            missing.push(format!("{shown}: call it after its folder, beside the folder"));
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

/// Every Rust file of ours.
fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            if !matches!(name, "target" | "node_modules" | "dist") && !name.starts_with('.') {
                found.extend(sources(&path));
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

#[test]
fn the_web_app_is_typed_after_this_server() {
    let output = Command::new(env!("CARGO_BIN_EXE_buildspaces")).arg("openapi").output().expect("the server runs");
    let now: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let kept: Value = serde_json::from_str(&read("web/app/src/api/openapi.json")).expect("JSON");
    assert_eq!(kept, now, "the REST interface changed: run `make api`");
    // They become the names of types.
    let calls = now["paths"].as_object().into_iter().flatten().flat_map(|(_, calls)| calls.as_object());
    let names: Vec<&str> = calls.flatten().filter_map(|(_, call)| call["operationId"].as_str()).collect();
    let unique: BTreeSet<&str> = names.iter().copied().collect();
    let twice: Vec<_> = unique.iter().filter(|name| names.iter().filter(|other| other == name).count() > 1).collect();
    assert_eq!(twice, Vec::<&&str>::new(), "two calls have one name: name the handlers differently");
}

#[test]
fn every_setting_is_documented() {
    let page = read("docs/configuration.md");
    let documented: BTreeSet<String> =
        tables(&page, "# Configuration").iter().flat_map(|row| quoted(&row[0])).collect();
    let (main, access) = (read("server/src/config.rs"), read("server/src/config/access.rs"));
    let sandbox = read("server/src/config/sandbox.rs");
    let (media, webhooks) = (read("server/src/config/media.rs"), read("server/src/config/webhooks.rs"));
    let mut settable = BTreeSet::new();
    for (source, structure, prefix) in [
        (&main, "struct File {", ""),
        (&main, "struct PreviewFile {", "preview."),
        (&sandbox, "struct SandboxFile {", "sandbox."),
        (&sandbox, "struct KindFile {", "sandbox.kinds.<kind>."),
        (&sandbox, "struct OrganisationFile {", "organisations.<name>."),
        (&main, "struct SecretsFile {", "secrets."),
        (&access, "struct AuthFile {", "auth."),
        (&access, "struct LimitsFile {", "limits."),
        (&media, "struct MediaFile {", "media."),
        (&webhooks, "struct WebhooksFile {", "webhooks."),
    ] {
        let body =
            source.split(structure).nth(1).and_then(|rest| rest.split('}').next()).expect("the structure is there");
        let keys = body.lines().filter_map(|line| line.trim().split_once(": ")).map(|(key, _)| key);
        let tables = ["sandbox", "secrets", "auth", "limits", "media", "preview", "webhooks", "organisations"];
        // Tables of the operator's own names.
        let is_table = |key: &str| tables.contains(&key) || (prefix == "sandbox." && key == "kinds");
        settable.extend(keys.filter(|key| !is_table(key)).map(|key| format!("{prefix}{key}")));
    }
    assert_eq!(settable, documented, "docs/configuration.md must list every key, and none that is gone");
}

/// What stands in quotes after each of `starts`, in the sources that are not tests.
fn after<'a>(sources: &'a [String], start: &str, skip_if_before: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    for source in sources {
        for (at, _) in source.match_indices(start) {
            if skip_if_before.is_empty() || !source[..at].ends_with(skip_if_before) {
                found.push(source[at + start.len()..].trim_start());
            }
        }
    }
    found
}

/// The texts of the sources below `folder`, without tests.
fn code(folder: &str) -> Vec<String> {
    let sources = sources(&root().join(folder)).into_iter();
    let sources = sources
        .filter(|path| !path.ends_with("tests.rs") && !path.components().any(|part| part.as_os_str() == "tests"));
    let read = |path| std::fs::read_to_string(path).expect("a source file is text");
    sources
        .map(read)
        .map(|text: String| text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn every_metric_is_described_and_documented() {
    let sources = code("server");
    let names = |start: &str, skip: &str| -> BTreeSet<String> {
        let quoted = after(&sources, start, skip).into_iter().filter_map(|rest| rest.strip_prefix('"'));
        quoted.filter_map(|rest| rest.split('"').next()).map(str::to_owned).collect()
    };
    let page = read("docs/operations.md");
    let rows = tables(&page, "## Metrics");
    for kind in ["counter", "gauge", "histogram"] {
        let used = names(&format!("{kind}!("), "describe_");
        let described = names(&format!("describe_{kind}!("), "");
        assert_eq!(used, described, "server/src/telemetry.rs must describe each {kind} that is used, and no other");
        let documented = rows.iter().filter(|row| row[1] == kind).flat_map(|row| quoted(&row[0])).collect();
        assert_eq!(described, documented, "docs/operations.md must list each {kind}, and none that is gone");
    }
}

#[test]
fn every_step_that_is_traced_is_on_the_keystroke_page() {
    let rows = tables(&read("docs/keystroke.md"), "# The way of one keystroke");
    let sources: Vec<String> = ["server", "crdt"].into_iter().flat_map(code).collect();
    let traced: Vec<&str> = after(&sources, "trace_span!(target: \"keystroke\", \"", "")
        .into_iter()
        .filter_map(|rest| rest.split('"').next())
        .collect();
    let items: BTreeSet<String> = rows.iter().flat_map(|row| quoted(&row[2])).collect();
    let strange: Vec<_> = traced.iter().filter(|name| !items.contains(**name)).collect();
    assert!(strange.is_empty(), "{strange:?} must all be items of docs/keystroke.md");
    // Each step of the server's, as often as the page has one of that name. The agent in the sandbox is a program of its own.
    let is_the_servers = |file: &str| {
        file.starts_with("crdt/") || (file.starts_with("server/") && !file.starts_with("server/sandbox-agent/"))
    };
    let of_the_server = rows.iter().filter(|row| quoted(&row[1]).iter().all(|file| is_the_servers(file)));
    let steps: Vec<String> = of_the_server.flat_map(|row| quoted(&row[2])).collect();
    assert!(steps.len() >= 20, "{steps:?}");
    for step in &steps {
        let (named, spans) = (steps.iter().filter(|other| *other == step), traced.iter().filter(|name| **name == step));
        assert!(named.count() <= spans.count(), "docs/keystroke.md has the step {step}, which must be a span");
    }
}

#[test]
fn every_close_code_is_documented() {
    let sources = code("server/gateway/src");
    let starts = ["Close::new(", "close(", "u16 = ", "=> "];
    let used: BTreeSet<String> = starts
        .iter()
        .flat_map(|start| after(&sources, start, ""))
        .map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>())
        .filter(|code| code.len() == 4 && ("1000".."5000").contains(&code.as_str()))
        .collect();
    let page = read("docs/operations.md");
    let documented: BTreeSet<String> = tables(&page, "## Close codes").into_iter().map(|row| row[0].clone()).collect();
    assert_eq!(used, documented, "docs/operations.md must list every close code, and none that is gone");
}

#[test]
fn examples_use_the_versions_that_are_tested() {
    let tested: Value = serde_json::from_str(&read("web/e2e/package.json")).expect("JSON");
    for example in ["list", "document"] {
        let example: Value =
            serde_json::from_str(&read(&format!("docs/examples/{example}/package.json"))).expect("JSON");
        for kind in ["dependencies", "devDependencies"] {
            for (name, version) in example[kind].as_object().into_iter().flatten() {
                assert_eq!(tested["devDependencies"][name], *version, "{name} in {}", example["name"]);
            }
        }
    }
}
