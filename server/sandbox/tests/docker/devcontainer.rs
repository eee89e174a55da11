//! Sandboxes made by a `devcontainer.json`, on a real engine: what programs get of it, and what they never do.

use std::path::Path;
use std::sync::Arc;

use buildspaces_kernel::ids::random_id;
use buildspaces_plans::devcontainer::script;
use buildspaces_plans::ports::{
    Exit, Made, Phase, Progress, SANDBOX_ENDED, SandboxError, Size, Start, StepEvent, StepSpec, TerminalCommand,
    TerminalEvent, TerminalSpec,
};
use buildspaces_plans::secret::StepSecrets;
use buildspaces_sandbox::{Containers, DEFAULT_IMAGE, workspace_owner};
use bytes::Bytes;

use crate::world::{PATIENCE, World, finish};

/// An image like the usual one, with a file of its own, under a name of its own.
struct Second {
    name: String,
    host: String,
}

impl Second {
    fn of(world: &World) -> Self {
        let name = format!("buildspaces-test/second:{}", random_id(10));
        let container = world.docker(&["create", &world.config().image, "true"]).trim().to_owned();
        let file = world.dir.path().join("second");
        std::fs::write(&file, "the second image\n").expect("written");
        world.docker(&["cp", file.to_str().expect("text"), &format!("{container}:/etc/second")]);
        world.docker(&["commit", &container, &name]);
        world.docker(&["rm", &container]);
        Self { name, host: world.host.clone() }
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        let _ = std::process::Command::new("docker").args(["--host", &self.host, "rmi", "-f", &self.name]).output();
    }
}

fn write(world: &World, path: &str, text: &str) {
    let path = world.workspace(&world.room).join(path);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    std::fs::write(path, text).expect("written");
}

async fn prepare(world: &World, containers: &Containers) -> Option<Arc<Made>> {
    prepare_told(world, containers, &Progress::default()).await
}

async fn prepare_told(world: &World, containers: &Containers, progress: &Progress) -> Option<Arc<Made>> {
    containers.prepare(&world.room, &world.files(&world.room), progress.clone()).await.expect("answers")
}

fn keys(made: &Made) -> Vec<&str> {
    made.devcontainer.notices.iter().map(|notice| notice.key.as_deref().unwrap_or("file")).collect()
}

async fn output(world: &World, containers: &Containers, key: &str, command: &str) -> String {
    let (text, end) = world.run(containers, key, command).await;
    assert_eq!(end, StepEvent::Exited(Exit::Code(0)), "{text}");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_gets_the_image_and_the_variables_that_it_asks_for_and_nothing_else() {
    let mut world = world!();
    let second = Second::of(&world);
    world.images = vec![second.name.clone()];
    let file = serde_json::json!({
        "image": second.name, "containerEnv": { "FLAVOUR": "plum", "PATH": "/workspace/bin:/usr/bin:/bin" , "CI": "no" },
        "postCreateCommand": "cat /etc/second > from-set-up; echo $FLAVOUR >> from-set-up",
        "privileged": true, "runArgs": ["--network=host"], "mounts": ["source=/,target=/host,type=bind"], "capAdd": ["ALL"],
        "initializeCommand": format!("touch {}", world.dir.path().join("pwned").display()), "remoteUser": "root",
    });
    write(&world, ".devcontainer/devcontainer.json", &file.to_string());
    let containers = world.open().await;
    let shown = containers.made(&world.room);
    assert_eq!(*shown.borrow(), None);
    let progress = Progress::default();
    let made = prepare_told(&world, &containers, &progress).await.expect("there is something to set up");
    let Start { phase, done, .. } = progress.now();
    eprintln!("{done:?}");
    let phases: Vec<Phase> = done.iter().map(|done| done.phase).collect();
    assert_eq!(phases, [Phase::Files, Phase::CreatingContainer, Phase::Connecting]);
    assert!(phase == Phase::Ready && done[1].took > 0);
    assert_eq!(keys(&made), ["remoteUser", "capAdd", "initializeCommand", "mounts", "privileged", "runArgs"]);
    assert_eq!(shown.borrow().as_ref(), Some(&made));
    let again = prepare(&world, &containers).await.expect("the same one");
    assert_eq!((again.sandbox.as_str(), world.containers().len()), (made.sandbox.as_str(), 1));

    output(&world, &containers, "set-up", &script(&made.devcontainer.setup)).await;
    assert_eq!(output(&world, &containers, "a", "cat from-set-up").await, "the second image\nplum\n");
    write(&world, "bin/tool", "#!/bin/sh\necho \"tool of $FLAVOUR, CI $CI\"\n");
    std::process::Command::new("chmod")
        .arg("+x")
        .arg(world.workspace(&world.room).join("bin/tool"))
        .status()
        .expect("ran");
    assert_eq!(output(&world, &containers, "b", "tool").await, "tool of plum, CI no\n");
    let uid = workspace_owner().map_or_else(|| rustix::process::geteuid().as_raw(), |(uid, _)| uid);
    assert_eq!(
        output(&world, &containers, "c", "id -u; ls /sys/class/net; ls -d /host || true").await.lines().next(),
        Some(&*uid.to_string())
    );

    // A terminal has them, too.
    let spec = TerminalSpec { key: "terminal".to_owned(), size: Size { rows: 24, cols: 80 } };
    let opened = containers.open_terminal(&world.room, &world.files(&world.room), spec, Progress::default()).await;
    let mut terminal = opened.expect("opens");
    let typed = TerminalCommand::Input(Bytes::from_static(b"echo \"<$FLAVOUR $CI $TERM>\"\n"));
    terminal.commands.send(typed).await.expect("it listens");
    let mut text = String::new();
    while !text.contains("<plum no xterm-256color>") {
        match tokio::time::timeout(PATIENCE, terminal.events.recv()).await.expect("in time") {
            Some(TerminalEvent::Output(bytes)) => text += &String::from_utf8_lossy(&bytes),
            other => panic!("{other:?} after {text:?}"),
        }
    }

    let inspected: serde_json::Value = serde_json::from_str(&world.docker(&["inspect", &made.sandbox])).expect("JSON");
    let host = &inspected[0]["HostConfig"];
    assert_eq!((&host["NetworkMode"], &host["Privileged"]), (&"none".into(), &false.into()));
    assert_eq!((host["CapDrop"].to_string(), host["CapAdd"].is_null()), ("[\"ALL\"]".to_owned(), true));
    assert_eq!(inspected[0]["Mounts"].as_array().map(Vec::len), Some(2));
    assert_eq!(inspected[0]["Config"]["User"].as_str().map(|user| user.starts_with("0")), Some(false));
    assert!(!inspected[0]["Config"]["Env"].to_string().contains("plum"), "hooks on the host would be given it");
    assert!(!world.dir.path().join("pwned").exists());
    containers.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_is_for_one_sandbox_starts_in_no_other_and_makes_none() {
    let world = world!();
    write(&world, ".devcontainer.json", r#"{"onCreateCommand": "true"}"#);
    let containers = world.open().await;
    let made = prepare(&world, &containers).await.expect("there is something to set up");
    let start = |key: &str| {
        let step = StepSpec {
            key: key.to_owned(),
            argv: vec!["true".to_owned()],
            timeout: Some(PATIENCE),
            secrets: StepSecrets::default(),
            sandbox: Some(made.sandbox.clone()),
        };
        let (containers, room, files) = (containers.clone(), world.room.clone(), world.files(&world.room));
        async move { containers.start(&room, &files, step, Progress::default()).await }
    };
    let (_, end) = finish(&mut start("a").await.expect("it is there")).await;
    assert_eq!(end, StepEvent::Exited(Exit::Code(0)));
    // Whether it is known already that it died or not.
    world.docker(&["kill", &made.sandbox]);
    for key in ["b", "c"] {
        let refused = start(key).await.expect_err("it is gone");
        assert_eq!(refused, SandboxError::Failed(SANDBOX_ENDED.to_owned()), "{key}");
    }
    world.until("that it is removed and no other there", || world.containers().is_empty()).await;
    let next = prepare(&world, &containers).await.expect("a new one");
    assert_ne!(next.sandbox, made.sandbox);
    containers.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_server_knows_by_what_a_sandbox_was_made() {
    let world = world!();
    write(&world, ".devcontainer.json", r#"{"containerEnv": {"FLAVOUR": "plum"}, "onCreateCommand": "true"}"#);
    let made = {
        // Everything of the first server ends with its runtime, as if it were killed.
        let first = tokio::runtime::Runtime::new().expect("a runtime");
        let world = &world;
        let made = std::thread::scope(|scope| {
            let running = scope.spawn(|| {
                first.block_on(async {
                    let containers = world.open().await;
                    let made = prepare(world, &containers).await.expect("there is something to set up");
                    output(world, &containers, "a", "true").await;
                    made
                })
            });
            running.join().expect("it runs")
        });
        first.shutdown_background();
        made
    };
    // Whatever the file says by then.
    write(&world, ".devcontainer.json", "{}");
    let containers = world.open().await;
    containers.reconcile(std::slice::from_ref(&world.room)).await;
    assert_eq!(containers.made(&world.room).borrow().as_ref(), Some(&made));
    assert_eq!(output(&world, &containers, "b", "echo $FLAVOUR").await, "plum\n");
    assert!(containers.dispose(&world.room, "the end").await);
    world.until("that nothing is shown of it", || containers.made(&world.room).borrow().is_none()).await;
    assert_eq!(prepare(&world, &containers).await, None, "the file asks for nothing now");
    assert_eq!(world.containers(), Vec::<String>::new(), "so nothing was started");
    containers.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_not_listed_or_not_there_is_the_usual_one_with_a_notice() {
    let mut world = world!();
    world.images = vec!["buildspaces-test/nowhere:1".to_owned()];
    let containers = world.open().await;
    for image in ["buildspaces-test/nowhere:1", "debian:latest", "../../etc", DEFAULT_IMAGE] {
        write(&world, ".devcontainer.json", &serde_json::json!({ "image": image }).to_string());
        output(&world, &containers, &format!("a-{image}").replace(['/', '.', ':'], "-"), "test ! -e /etc/second").await;
        let made = containers.made(&world.room).borrow().clone().expect("there is a file");
        let expected: &[&str] = if image == world.config().image { &[] } else { &["image"] };
        assert_eq!(keys(&made), expected, "{image}");
        assert_eq!(made.devcontainer.image, None);
        containers.dispose(&world.room, "the next one").await;
    }
    containers.shutdown().await;
}

/// What is at the file's place, and what puts it there.
type Make<'a> = (&'a str, &'a dyn Fn(&Path));

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_a_link_a_pipe_or_too_large_makes_the_usual_sandbox() {
    let world = world!();
    let containers = world.open().await;
    let path = world.workspace(&world.room).join(".devcontainer.json");
    let outside = world.dir.path().join("outside.json");
    std::fs::write(&outside, r#"{"containerEnv": {"STOLEN": "yes"}}"#).expect("written");
    let make: [Make<'_>; 4] = [
        ("link", &|path| std::os::unix::fs::symlink(&outside, path).expect("linked")),
        ("pipe", &|path| rustix::fs::mkfifoat(rustix::fs::CWD, path, rustix::fs::Mode::RUSR).expect("made")),
        ("folder", &|path| std::fs::create_dir(path).expect("made")),
        ("large", &|path| std::fs::write(path, "/".repeat(9 << 20)).expect("written")),
    ];
    for (name, make) in make {
        make(&path);
        let text = tokio::time::timeout(PATIENCE, output(&world, &containers, name, "echo \"<$STOLEN>\"")).await;
        assert_eq!(text.expect("it does not wait for anybody"), "<>\n", "{name}");
        let made = containers.made(&world.room).borrow().clone();
        assert_eq!(made.map(|made| made.devcontainer.notices.len()), (name == "large").then_some(1), "{name}");
        containers.dispose(&world.room, "the next one").await;
        let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir(&path));
    }
    containers.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_need_no_other_container_and_another_image_does() {
    let mut world = world!();
    let second = Second::of(&world);
    (world.images, world.warm) = (vec![second.name.clone()], 1);
    let containers = world.open().await;
    containers.reconcile(&[]).await;
    world.until("a sandbox that waits", || containers.warm() > 0).await;
    let waiting = world.containers();
    write(&world, ".devcontainer.json", r#"{"containerEnv": {"A": "b"}}"#);
    assert_eq!(output(&world, &containers, "a", "echo $A").await, "b\n");
    let made = containers.made(&world.room).borrow().clone().expect("there is a file");
    assert_eq!(made.sandbox, waiting[0], "it is the one that waited");

    containers.dispose(&world.room, "the next one").await;
    write(&world, ".devcontainer.json", &serde_json::json!({ "image": second.name }).to_string());
    world.until("another one that waits", || containers.warm() > 0).await;
    let waiting = world.containers();
    assert_eq!(output(&world, &containers, "b", "cat /etc/second").await, "the second image\n");
    let made = containers.made(&world.room).borrow().clone().expect("there is a file");
    assert!(!waiting.contains(&made.sandbox));
    containers.shutdown().await;
}
