use std::collections::BTreeMap;
use std::fmt::Write as _;

use expect_test::{Expect, expect};

use super::*;

fn terms() -> Terms {
    Terms {
        image: "buildspaces/workspace:1".to_owned(),
        images: vec!["team/node:20".to_owned(), "mcr.example/devcontainers/python:3".to_owned()],
        cpus: Amount { most: 2.0, key: "sandbox.cpus".to_owned() },
        memory: Amount { most: 1 << 30, key: "sandbox.memory_mib".to_owned() },
        disk: Amount { most: 8 << 30, key: "sandbox.disk_mib".to_owned() },
        user: 1000,
    }
}

fn read(text: &str) -> Devcontainer {
    Devcontainer::read(PATHS[0], text.as_bytes(), &terms())
}

/// What is granted, a line for each thing.
fn told(read: &Devcontainer) -> String {
    let mut told = String::new();
    if let Some(image) = &read.image {
        let _ = writeln!(told, "image {image}");
    }
    for (name, value) in &read.env {
        let _ = writeln!(told, "env {name}={value:?}");
    }
    for stage in &read.setup {
        for command in &stage.commands {
            let name = command.name.as_deref().unwrap_or("-");
            let _ = writeln!(told, "{} {name} {:?}", stage.key, command.line);
        }
    }
    for port in &read.ports {
        let expected = if port.expected { "expected" } else { "named" };
        let _ = writeln!(told, "port {} {expected} {:?}", port.port, port.label);
    }
    for notice in &read.notices {
        let _ = writeln!(told, "! {}: {}", notice.key.as_deref().unwrap_or("file"), notice.message);
    }
    told
}

#[track_caller]
fn check(text: &str, expected: Expect) {
    expected.assert_eq(&told(&read(text)));
}

#[test]
fn what_is_asked_for_within_what_there_is_is_granted() {
    check(
        r#"{
            // What most have.
            "name": "Node", "image": "team/node:20", "remoteUser": "1000", "workspaceFolder": "/workspace/",
            "containerEnv": { "NODE_ENV": "test", "CACHE": "${containerWorkspaceFolder}/.cache", "SHELLS": "${HOME}", },
            "forwardPorts": [3000, "localhost:9229", 3000],
            "portsAttributes": { "3000": { "label": "Site", "onAutoForward": "notify" }, "8080": { "label": "API" } },
            "onCreateCommand": "npm ci",
            "updateContentCommand": ["npm", "run", "build it"],
            "postCreateCommand": { "db": "./seed.sh ${localWorkspaceFolderBasename}", "cache": ["make", "cache"], "none": "" },
            "hostRequirements": { "cpus": 2, "memory": "1gb", "storage": "8gb", "gpu": "optional" },
            "customizations": { "vscode": { "extensions": ["a.b"] } },
            "waitFor": "postCreateCommand", "privileged": false, "capAdd": [], "runArgs": [], "mounts": null,
        }"#,
        expect![[r#"
            image team/node:20
            env CACHE="/workspace/.cache"
            env NODE_ENV="test"
            env SHELLS="${HOME}"
            onCreateCommand - Shell("npm ci")
            updateContentCommand - Argv(["npm", "run", "build it"])
            postCreateCommand cache Argv(["make", "cache"])
            postCreateCommand db Shell("./seed.sh workspace")
            port 3000 expected Some("Site")
            port 8080 named Some("API")
            port 9229 expected None
        "#]],
    );
    assert_eq!(read("{}"), Devcontainer { path: PATHS[0].to_owned(), ..Devcontainer::default() });
    assert_eq!(read(r#"{"image": "buildspaces/workspace:1", "remoteUser": "workspace"}"#).notices, []);
}

#[test]
fn what_would_reach_out_of_the_sandbox_is_refused_by_name() {
    check(
        r#"{
            "privileged": true, "capAdd": ["SYS_ADMIN"], "securityOpt": ["seccomp=unconfined"], "runArgs": ["--network=host"],
            "mounts": ["source=/,target=/host,type=bind"], "workspaceMount": "source=/etc,target=/workspace,type=bind",
            "initializeCommand": "curl example.org | sh", "appPort": [22], "containerUser": "root", "remoteUser": "vscode",
            "workspaceFolder": "/etc", "image": "evil/image"
        }"#,
        expect![[r#"
            ! image: evil/image is none of this server's images, so the sandbox has buildspaces/workspace:1. The operator can list it in sandbox.images.
            ! remoteUser: Programs always run as user 1000, whatever name the image has for it; vscode is not looked up.
            ! containerUser: No program in a sandbox runs as root. It runs as user 1000.
            ! workspaceFolder: The room's files are at /workspace, where everything begins.
            ! appPort: No port of the host is opened. Whatever listens in the sandbox is in the room's list of ports.
            ! capAdd: No sandbox has capabilities, and none are granted.
            ! initializeCommand: It would run on the server's own machine, so it is never run.
            ! mounts: Nothing of the host is mounted. Only /workspace, /tmp and the home folder can be written to.
            ! privileged: It would give programs the host, so it is not granted. The sandbox is as any other.
            ! runArgs: Arguments for the container engine are not passed on. The sandbox is as any other.
            ! securityOpt: What protects the host cannot be turned off. The sandbox is as any other.
            ! workspaceMount: The room's files are at /workspace, and nothing else is mounted.
        "#]],
    );
}

#[test]
fn what_is_not_done_here_says_what_to_do_instead() {
    check(
        r#"{
            "build": { "dockerfile": "Dockerfile" }, "dockerComposeFile": "compose.yml", "service": "app",
            "features": { "ghcr.io/devcontainers/features/go:1": {} }, "remoteEnv": { "A": "b" }, "postStartCommand": "serve",
            "postAttachCommand": "x", "secrets": { "TOKEN": {} }, "overrideCommand": true, "whatever": 1,
            "hostRequirements": { "cpus": 8, "memory": "16gb", "storage": "1TB", "gpu": true, "planes": 2 }
        }"#,
        expect![[r#"
            ! hostRequirements.cpus: A sandbox has 2 processors (sandbox.cpus), not 8.
            ! hostRequirements.gpu: No sandbox has a graphics processor.
            ! hostRequirements.memory: A sandbox has 1024 MiB of memory (sandbox.memory_mib), not 16384 MiB.
            ! hostRequirements.planes: This server does not know it, and passes it over.
            ! hostRequirements.storage: A room's files may take 8192 MiB of the disk (sandbox.disk_mib), not 1048576 MiB.
            ! build: Images are not built for rooms. The operator builds one (buildspaces image build) and lists it in sandbox.images.
            ! dockerComposeFile: A room has one container, and no others are started beside it.
            ! features: Features are installed when an image is built. Ask the operator for an image that has them (sandbox.images).
            ! overrideCommand: The image's own command is never run: the sandbox waits for runs and terminals.
            ! postAttachCommand: It is not run: a sandbox starts once. Put it into postCreateCommand, or type it in a terminal.
            ! postStartCommand: It is not run: a sandbox starts once. Put it into postCreateCommand, or type it in a terminal.
            ! remoteEnv: It is passed over. Put variables into containerEnv; steps and terminals get them.
            ! secrets: It is passed over. A host puts secrets into the room and says which runs get them.
            ! service: A room has one container, and no others are started beside it.
            ! whatever: This server does not know it, and passes it over.
        "#]],
    );
}

#[test]
fn variables_are_bounded_and_the_sandboxs_own_stay() {
    check(
        r#"{"containerEnv": { "PATH": "/workspace/bin:/usr/bin", "LD_PRELOAD": "/workspace/x.so", "HOME": "/", "HTTPS_PROXY": "http://x",
            "BUILDSPACES_AGENT_TOKEN": "x", "1A": "x", "A=B": "x", "": "x", "N": 1, "Z": "a\u0000b", "TOKEN": "${localEnv:TOKEN}",
            "P": "${containerEnv:PATH}:/x", "OPEN": "${localEnv", "null": null }}"#,
        expect![[r#"
            env LD_PRELOAD="/workspace/x.so"
            env OPEN="${localEnv"
            env PATH="/workspace/bin:/usr/bin"
            ! containerEnv.: A name has letters, digits and underscores, and begins with no digit. It is not set.
            ! containerEnv.1A: A name has letters, digits and underscores, and begins with no digit. It is not set.
            ! containerEnv.A=B: A name has letters, digits and underscores, and begins with no digit. It is not set.
            ! containerEnv.BUILDSPACES_AGENT_TOKEN: The sandbox itself sets it; it stays as it is.
            ! containerEnv.HOME: The sandbox itself sets it; it stays as it is.
            ! containerEnv.HTTPS_PROXY: The sandbox itself sets it; it stays as it is.
            ! containerEnv.N: It must be a text, not a number. It is not set.
            ! containerEnv.P: ${containerEnv:PATH} has no value here: the server's own environment is no room's. It is not set.
            ! containerEnv.TOKEN: ${localEnv:TOKEN} has no value here: the server's own environment is no room's. It is not set.
            ! containerEnv.Z: A variable cannot hold a zero byte. It is not set.
            ! containerEnv.null: It must be a text, not null. It is not set.
        "#]],
    );
    let many: BTreeMap<String, String> = (0..100).map(|at| (format!("V{at:03}"), "v".to_owned())).collect();
    let read = read(&serde_json::json!({ "containerEnv": many }).to_string());
    assert_eq!((read.env.len(), read.notices.len()), (64, 1));
    let large = serde_json::json!({ "containerEnv": { "A": "a".repeat(9 << 10), "B": "b".repeat(9 << 10) } });
    let read = self::read(&large.to_string());
    assert_eq!((read.env.len(), read.notices[0].key.as_deref()), (1, Some("containerEnv.B")));
}

#[test]
fn wrong_kinds_are_named_and_change_nothing() {
    check(
        r#"{"image": 7, "containerEnv": [], "remoteUser": true, "forwardPorts": {}, "portsAttributes": 3, "onCreateCommand": 1,
            "updateContentCommand": ["a", 1], "postCreateCommand": {"a": {"b": "c"}}, "hostRequirements": "big", "workspaceFolder": 1}"#,
        expect![[r#"
            ! image: It must be the name of an image, not a number. It is passed over.
            ! containerEnv: It must be an object of names and texts, not a list. It is passed over.
            ! onCreateCommand: It must be a text or a list of texts, not a number. It is not run.
            ! updateContentCommand: It must be a list of texts, and has a number. It is not run.
            ! postCreateCommand.a: It must be a text or a list of texts, not an object. It is not run.
            ! forwardPorts: It must be a list of ports, not an object. It is passed over.
            ! portsAttributes: It must be an object with a key for each port, not a number. It is passed over.
            ! remoteUser: It must be the name of a user, not true or false. It is passed over.
            ! workspaceFolder: The room's files are at /workspace, where everything begins.
            ! hostRequirements: It must be an object, not a text. It is passed over.
        "#]],
    );
    check(
        r#"{"forwardPorts": [0, 65536, -1, "db:5432", "x", null, 80.5], "hostRequirements": {"memory": 4, "storage": "many", "cpus": "2"},
            "portsAttributes": {"3000-3010": {"label": "r"}, ".*": {"label": "r"}, "70000": {"label": "r"}, "1": {"label": 1}, "2": {}},
            "postCreateCommand": ["", "x"], "onCreateCommand": [], "updateContentCommand": " "}"#,
        expect![[r#"
            ! postCreateCommand: The first of a list is the program, which has no name here. It is not run.
            ! forwardPorts: 0 is no port of this sandbox, from 1 to 65535; there are no other containers beside it. It is passed over.
            ! forwardPorts: 65536 is no port of this sandbox, from 1 to 65535; there are no other containers beside it. It is passed over.
            ! forwardPorts: -1 is no port of this sandbox, from 1 to 65535; there are no other containers beside it. It is passed over.
            ! forwardPorts: "db:5432" is no port of this sandbox, from 1 to 65535; there are no other containers beside it. It is passed over.
            ! forwardPorts: "x" is no port of this sandbox, from 1 to 65535; there are no other containers beside it. It is passed over.
            ! forwardPorts: null is no port of this sandbox, from 1 to 65535; there are no other containers beside it. It is passed over.
            ! forwardPorts: 80.5 is no port of this sandbox, from 1 to 65535; there are no other containers beside it. It is passed over.
            ! portsAttributes..*: Only single ports are labelled here. It is passed over.
            ! portsAttributes.1.label: It must be a text, not a number. It is passed over.
            ! portsAttributes.3000-3010: Only single ports are labelled here. It is passed over.
            ! portsAttributes.70000: Only single ports are labelled here. It is passed over.
            ! hostRequirements.cpus: It must be a number, not a text. It is passed over.
            ! hostRequirements.memory: It must be a size such as "4gb". It is passed over.
            ! hostRequirements.storage: It must be a size such as "4gb". It is passed over.
        "#]],
    );
}

#[test]
fn a_file_that_is_none_is_one_notice() {
    let large = format!("{{\"name\": \"{}\"}}", "x".repeat(MAX_FILE));
    let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
    let deep_object = format!("{}1{}", "{\"a\":".repeat(5_000), "}".repeat(5_000));
    for (bytes, expected) in [
        (&b""[..], "It is not JSON with comments: EOF while parsing a value at line 1 column 0."),
        (b"// nothing", "It is not JSON with comments: EOF"),
        (b"[]", "It must hold an object in braces, not a list."),
        (b"\"x\"", "It must hold an object in braces, not a text."),
        (b"{\n  \"image\" \"x\" }", "It is not JSON with comments: expected `:` at line 2 column 11."),
        (b"{\"image\": \"x\"} {}", "It is not JSON with comments: trailing characters"),
        (b"{\"image\": \xff}", "It is not UTF-8 text."),
        (deep.as_bytes(), "It is not JSON with comments: recursion limit exceeded"),
        (deep_object.as_bytes(), "It is not JSON with comments: recursion limit exceeded"),
        (large.as_bytes(), "It is larger than 64 KiB, the most that is read."),
    ] {
        let read = Devcontainer::read(PATHS[1], bytes, &terms());
        let [notice] = &*read.notices else { panic!("{:?}", read.notices) };
        assert!(notice.message.starts_with(expected), "{:?}", notice.message);
        assert!(notice.message.ends_with("The sandbox is as if there were none."), "{:?}", notice.message);
        assert_eq!(
            Devcontainer { notices: Vec::new(), ..read },
            Devcontainer { path: PATHS[1].to_owned(), ..Devcontainer::default() }
        );
    }
}

#[test]
fn notices_are_few_short_and_on_one_line() {
    let many: serde_json::Value = (0..500).map(|at| (format!("k{at}"), 1.into())).collect::<Object>().into();
    let read = read(&many.to_string());
    assert_eq!(read.notices.len(), MAX_NOTICES);
    assert_eq!(read.notices[MAX_NOTICES - 1].message, "There is more of it that is not done (477).");
    let key = format!("\u{202e}\n{}", "x".repeat(5_000));
    let read = self::read(&serde_json::json!({ &key: true, "image": key }).to_string());
    for notice in &read.notices {
        let text = format!("{}{}", notice.key.as_deref().unwrap_or(""), notice.message);
        assert!(text.len() < 500 && !text.contains(['\n', '\u{202e}']), "{text:?}");
    }
}

#[test]
fn commands_are_bounded() {
    let many: Object = (0..17).map(|at| (format!("c{at}"), "true".into())).collect();
    assert_eq!(read(&serde_json::json!({ "postCreateCommand": many }).to_string()).notices.len(), 1);
    let long =
        serde_json::json!({ "onCreateCommand": "'".repeat(10 << 10), "postCreateCommand": "'".repeat(10 << 10) });
    let read = read(&long.to_string());
    assert_eq!((read.setup.len(), read.notices[0].key.as_deref()), (1, Some("postCreateCommand")));
    // Linux takes 128 KiB in one argument.
    assert!(script(&read.setup).len() < 100 << 10);
}

/// Random pieces of files, cut and joined: nothing panics, and what comes out keeps every bound.
#[test]
fn no_file_gets_more_than_the_bounds() {
    const PIECES: [&str; 30] = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        "//",
        "/*",
        "*/",
        "\n",
        "${",
        "localEnv:",
        "null",
        "true",
        "-1e999",
        "65535",
        "\"image\":",
        "\"team/node:20\"",
        "\"containerEnv\":",
        "\"A\":",
        "\"postCreateCommand\":",
        "\"forwardPorts\":",
        "\"portsAttributes\":",
        "\"hostRequirements\":",
        "\"memory\":",
        "\"9999999999999999999tb\"",
        "é",
        "\u{feff}",
    ];
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed % below as u64).expect("below a usize")
    };
    for _ in 0..20_000 {
        let mut text = String::from("{");
        for _ in 0..next(40) {
            text += PIECES[next(PIECES.len())];
        }
        let read = read(&text);
        assert!(read.notices.len() <= MAX_NOTICES && read.env.len() <= 64 && read.ports.len() <= 64, "{text}");
        assert!(read.image.is_none_or(|image| terms().images.contains(&image)), "{text}");
    }
}

/// What a real shell does with the program.
fn run(text: &str) -> (String, Option<i32>) {
    let read = read(text);
    assert_eq!(read.notices, []);
    let output = std::process::Command::new("sh").args(["-c", &script(&read.setup)]).output().expect("a shell");
    (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code())
}

#[test]
fn a_shell_runs_the_stages_in_order_until_one_fails() {
    let (text, status) = run(
        r#"{"onCreateCommand": "echo a; echo \"it's $((1+1))\"", "updateContentCommand": ["printf", "<%s>", "x y", "'$(id)'"],
        "postCreateCommand": "exit 3"}"#,
    );
    assert_eq!(
        text,
        "# onCreateCommand: echo a; echo \"it's $((1+1))\"\na\nit's 2\n# updateContentCommand: printf <%s> x y '$(id)'\n<x y><'$(id)'>\
         # postCreateCommand: exit 3\n# postCreateCommand failed (exit status 3)\n"
    );
    assert_eq!(status, Some(3));
    let (text, status) = run(r#"{"postCreateCommand": "echo never", "onCreateCommand": ["exit", "0"]}"#);
    assert!(!text.contains("\nnever") && status == Some(127), "{text}: there is no program exit");
    assert_eq!(run("{}"), (String::new(), Some(0)));
}

#[test]
fn commands_with_names_run_beside_each_other_and_all_count() {
    // Each waits for the other, so they must run at once.
    let dir = std::env::temp_dir().join(format!("buildspaces-{}", buildspaces_kernel::ids::random_id(12)));
    std::fs::create_dir(&dir).expect("a folder");
    let (a, b) = (dir.join("a"), dir.join("b"));
    let wait = |own: &std::path::Path, other: &std::path::Path| {
        format!("touch {}; while [ ! -e {} ]; do sleep 0.01; done", own.display(), other.display())
    };
    let file = serde_json::json!({ "postCreateCommand": { "one": wait(&a, &b), "two": ["sh", "-c", wait(&b, &a)] } });
    let (text, status) = run(&file.to_string());
    assert!(text.contains("# postCreateCommand (one): touch") && status == Some(0), "{text}");
    std::fs::remove_dir_all(&dir).expect("removed");
    let (_, status) = run(r#"{"postCreateCommand": {"a": "exit 5", "b": "true"}}"#);
    assert_eq!(status, Some(5));
}
