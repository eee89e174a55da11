//! A room as a file: what the real program exports, imports elsewhere, and exports again.

#[path = "support/server.rs"]
mod server;

use std::path::Path;
use std::process::{Command, Output};

use serde_json::json;
use server::{Server, a_room};

fn run(arguments: &[&str], file: &Path, data: &Path, settings: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_buildspaces"));
    command.args(arguments).arg(file).arg("--data").arg(data).envs(settings.iter().copied());
    command.output().expect("the program runs")
}

/// What it says when all went well.
fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn export(room: &str, file: &Path, data: &Path) -> Vec<u8> {
    said(&run(&["export", "--room", room, "--output"], file, data, &[]));
    std::fs::read(file).expect("it is there")
}

#[test]
fn an_exported_room_that_was_imported_elsewhere_exports_the_same_bytes() {
    let [here, there, files] = [(); 3].map(|()| tempfile::tempdir().expect("a temporary folder"));
    let server = Server::start(here.path(), &[]);
    let (token, room, document) = a_room(&server);
    server.type_text(&document, &token, "one");
    let versions = format!("documents/{}/versions", document.replace('/', "%2F").replace(':', "%3A"));
    server.json("POST", &versions, &token, &json!({ "name": "the first" }));
    server.type_text(&document, &token, "two");
    server.kill();

    let first = files.path().join("first.tar");
    let exported = export(&room, &first, here.path());
    assert_eq!(said(&run(&["import"], &first, there.path(), &[])), format!("The room is /r/{room}.\n"));
    assert!(export(&room, &files.path().join("second.tar"), there.path()) == exported, "other bytes");
}

#[test]
fn a_document_that_is_larger_than_the_settings_allow_is_not_imported() {
    let [here, there, files] = [(); 3].map(|()| tempfile::tempdir().expect("a temporary folder"));
    let server = Server::start(here.path(), &[]);
    let (token, room, document) = a_room(&server);
    server.type_text(&document, &token, &"a line\n".repeat(200_000));
    server.kill();
    let archive = files.path().join("large.tar");
    export(&room, &archive, here.path());

    let refused = run(&["import"], &archive, there.path(), &[("BUILDSPACES_MAX_DOCUMENT_MIB", "1")]);
    let reason = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && reason.contains("larger than a document may be here"), "{reason}");
    said(&run(&["import"], &archive, there.path(), &[]));
}
