//! How fast sandboxes start, show what people type and give back what programs write and print, each beside what plain Docker takes for the
//! same in the same run. Prints a table for docs/benchmarks.md. Needs an engine: `make bench-sandbox`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::models::{ContainerCreateBody, HostConfig, Mount, MountType};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder, UploadToContainerOptionsBuilder,
};
use buildspaces_kernel::ids::random_id;
use buildspaces_kernel::tasks::Tasks;
use buildspaces_plans::ports::{Progress, Sandboxes as _, Step, StepEvent, StepSpec};
use buildspaces_plans::secret::StepSecrets;
use buildspaces_policy::Principal;
use buildspaces_rooms::memory::MemoryStore;
use buildspaces_rooms::{NewRoom, RoomHandle, Rooms};
use buildspaces_sandbox::mirror::{self, Mirrors};
use buildspaces_sandbox::{Allowances, Config, Containers, DEFAULT_IMAGE, DockerSandboxes, workspace_owner};
use futures_util::StreamExt as _;

const STARTS: usize = 30;
const COLD_STARTS: usize = 12;
const KEYSTROKES: usize = 200;
const WRITES: usize = 100;
const FILES: usize = 1_000;
const STREAMED: u64 = 100_000_000;

/// One server's worth of sandboxes and rooms, and plain Docker beside it.
struct Lab {
    dir: tempfile::TempDir,
    docker: Docker,
    tasks: Tasks,
    rooms: Rooms,
    mirrors: Mirrors,
    containers: Containers,
    sandboxes: DockerSandboxes,
}

impl Lab {
    /// Its data is in memory where the machine has such a folder.
    async fn new(warm: usize) -> Self {
        let dir = match Path::new("/dev/shm") {
            shm if shm.is_dir() => tempfile::tempdir_in(shm),
            _ => tempfile::tempdir(),
        };
        let dir = dir.expect("a folder");
        let host = variable("DOCKER_HOST");
        let config = Config {
            images: Vec::new(),
            pull: false,
            docker_host: Some(host.clone()),
            image: DEFAULT_IMAGE.to_owned(),
            runtime: None,
            instance: format!("bench-{}", random_id(8)),
            data_dir: dir.path().to_owned(),
            agent_binary: variable("BUILDSPACES_TEST_AGENT").into(),
            allowances: Allowances::default(),
            max_sandboxes: 200,
            warm,
            idle_stop: Duration::from_secs(600),
            egress: None,
        };
        let tasks = Tasks::new();
        let rooms = Rooms::new(Arc::new(MemoryStore::default()), tasks.clone());
        let mirror = mirror::Config { data_dir: dir.path().to_owned(), owner: workspace_owner() };
        let mirrors = Mirrors::new(mirror, rooms.clone(), tasks.clone());
        let containers = Containers::open(config, &tasks).await.expect("the folder can be made");
        let sandboxes = DockerSandboxes::new(containers.clone(), mirrors.clone());
        sandboxes.reconcile(&[]).await;
        let docker = Docker::connect_with_unix(&host, 60, bollard::API_DEFAULT_VERSION).expect("an address");
        let docker = docker.negotiate_version().await.expect("an engine");
        Self { dir, docker, tasks, rooms, mirrors, containers, sandboxes }
    }

    async fn room(&self, files: Vec<(String, String)>) -> RoomHandle {
        let new = NewRoom { title: "Bench".to_owned(), template: "none".to_owned(), files, ..NewRoom::default() };
        self.rooms.create(&Principal::system(), new).await.expect("created")
    }

    async fn start(&self, room: &RoomHandle, script: &str) -> Step {
        let argv = ["sh", "-c", script].map(str::to_owned).to_vec();
        let key = format!("step-{}", random_id(8));
        let (timeout, secrets) = (Some(Duration::from_secs(120)), StepSecrets::default());
        let step = StepSpec { key, argv, timeout, secrets, sandbox: None };
        self.sandboxes.start(room.id(), step, Progress::default()).await.expect("it starts")
    }

    /// From asking for a step in a new room until its first output.
    async fn first_output(&self) -> Duration {
        let room = self.room(vec![("a.txt".to_owned(), "a\n".to_owned())]).await;
        // A room is looked at before a run in any case.
        self.mirrors.workspace(room.id()).await.expect("opened");
        let asked = Instant::now();
        let mut step = self.start(&room, "echo hello").await;
        loop {
            match step.events.recv().await.expect("an end") {
                StepEvent::Output(_) => break,
                StepEvent::Dropped(_) => {}
                end => panic!("{end:?} before any output"),
            }
        }
        let took = asked.elapsed();
        self.sandboxes.dispose(room.id(), "it was measured").await;
        took
    }

    /// A container as people make one by hand, with the same image and no network.
    async fn plain(&self, workspace: Option<&Path>) -> String {
        let mounts = workspace.map(|workspace| {
            vec![Mount {
                typ: Some(MountType::BIND),
                source: Some(workspace.display().to_string()),
                target: Some("/workspace".to_owned()),
                ..Mount::default()
            }]
        });
        let body = ContainerCreateBody {
            image: Some(DEFAULT_IMAGE.to_owned()),
            entrypoint: Some(vec!["sleep".to_owned()]),
            cmd: Some(vec!["1000".to_owned()]),
            host_config: Some(HostConfig { network_mode: Some("none".to_owned()), mounts, ..HostConfig::default() }),
            labels: Some(HashMap::from([("buildspaces.bench".to_owned(), "1".to_owned())])),
            ..ContainerCreateBody::default()
        };
        let name = format!("buildspaces-bench-{}", random_id(8));
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        let id = self.docker.create_container(Some(options), body).await.expect("created").id;
        self.docker.start_container(&id, None).await.expect("started");
        id
    }

    async fn remove(&self, id: &str) {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        self.docker.remove_container(id, Some(options)).await.expect("removed");
    }

    /// Runs a program by `exec`: until its first output, and until its end.
    async fn exec(&self, id: &str, argv: &[&str]) -> (Duration, Duration) {
        let asked = Instant::now();
        let options = CreateExecOptions {
            cmd: Some(argv.iter().map(|part| (*part).to_owned()).collect()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..CreateExecOptions::default()
        };
        let exec = self.docker.create_exec(id, options).await.expect("made").id;
        let started = self.docker.start_exec(&exec, None).await.expect("started");
        let StartExecResults::Attached { mut output, .. } = started else { panic!("it is attached") };
        let mut first = None;
        while let Some(piece) = output.next().await {
            if let LogOutput::StdOut { .. } = piece.expect("output") {
                first.get_or_insert_with(|| asked.elapsed());
            }
        }
        (first.expect("some output"), asked.elapsed())
    }

    async fn end(self) {
        self.sandboxes.shutdown().await;
        self.tasks.shutdown(Duration::from_secs(5)).await;
    }
}

#[expect(clippy::disallowed_methods, reason = "scripts/with-engine says where engine and agent are")]
fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set; type: make bench-sandbox"))
}

/// The value below which `part` of all are, in milliseconds.
fn quantile(times: &mut [Duration], part: f64) -> f64 {
    times.sort();
    let at = ((times.len() as f64 * part).ceil() as usize).clamp(1, times.len()) - 1;
    times[at].as_secs_f64() * 1e3
}

fn row(what: &str, must: &str, ours: f64, reference: Option<(&str, f64)>, reached: bool) {
    let (name, value, ratio) = match reference {
        Some((name, value)) => (name, format!("{value:.1}"), format!("{:.2}", ours / value)),
        None => ("", String::new(), String::new()),
    };
    print(&format!(
        "| {what} | {must} | {ours:.1} | {name} | {value} | {ratio} | {} |",
        if reached { "yes" } else { "**no**" }
    ));
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn print(line: &str) {
    println!("{line}");
}

async fn until(mut holds: impl AsyncFnMut() -> bool) {
    while !holds().await {
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
}

/// Sandboxes that wait already, beside `exec` in a container that runs already.
async fn warm_starts() {
    let lab = Lab::new(4).await;
    let running = lab.plain(None).await;
    let (mut ours, mut docker) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        until(async || lab.containers.warm() > 0).await;
        // What it takes to make it is over.
        tokio::time::sleep(Duration::from_millis(200)).await;
        ours.push(lab.first_output().await);
        docker.push(lab.exec(&running, &["sh", "-c", "echo hello"]).await.0);
    }
    lab.remove(&running).await;
    lab.end().await;
    let (ours, docker) = (quantile(&mut ours, 0.5), quantile(&mut docker, 0.5));
    let reached = ours <= 10.0 && ours <= docker / 5.0;
    row("waiting sandbox to first output, p50 ms", "<= 10, <= 1/5", ours, Some(("exec", docker)), reached);
}

/// Sandboxes made when they are needed, beside `create`, `start` and `exec`.
async fn cold_starts() {
    let lab = Lab::new(0).await;
    let (mut ours, mut docker) = (Vec::new(), Vec::new());
    for _ in 0..COLD_STARTS {
        ours.push(lab.first_output().await);
        let workspace = tempfile::tempdir_in(lab.dir.path()).expect("a folder");
        let asked = Instant::now();
        let id = lab.plain(Some(workspace.path())).await;
        lab.exec(&id, &["sh", "-c", "echo hello"]).await;
        docker.push(asked.elapsed());
        lab.remove(&id).await;
    }
    lab.end().await;
    let (ours, docker) = (quantile(&mut ours, 0.5), quantile(&mut docker, 0.5));
    let reached = ours <= 1.15 * docker;
    row("cold start to first output, p50 ms", "<= 1.15 x", ours, Some(("create, start, exec", docker)), reached);
}

/// What people type, in the file; what programs write, in the document.
async fn mirror_both_ways() {
    let lab = Lab::new(1).await;
    let room = lab.room(vec![("a.txt".to_owned(), String::new())]).await;
    let workspace: Arc<mirror::Workspace> = lab.mirrors.workspace(room.id()).await.expect("opened");
    let path: PathBuf = buildspaces_sandbox::Files::host_dir(&*workspace).join("a.txt");
    let node = room.tree().at_path("a.txt").expect("it is there").id.clone();
    let document = room.file(&node).await.expect("opened");
    let (mut typed, mut text) = (Vec::new(), String::new());
    for n in 0..KEYSTROKES {
        let next = Instant::now() + Duration::from_millis(50);
        text.push(char::from(b'a' + u8::try_from(n % 26).expect("a letter")));
        let at = Instant::now();
        document.replace_text(&Principal::system(), text.clone()).await.expect("saved");
        until(async || std::fs::read_to_string(&path).is_ok_and(|now| now == text)).await;
        typed.push(at.elapsed());
        tokio::time::sleep_until(next.into()).await;
    }
    let typed = quantile(&mut typed, 0.99);
    row("keystroke to bytes in the sandbox, 20 a second, p99 ms", "<= 60", typed, None, typed <= 60.0);

    // A program that writes the time into a file, ten times a second.
    let script = format!("for n in $(seq {WRITES}); do date +%s%N >made.txt; sleep 0.1; done");
    let mut step = lab.start(&room, &script).await;
    let (mut written, mut last) = (Vec::new(), String::new());
    while written.len() < WRITES * 9 / 10 {
        let found = match room.tree().at_path("made.txt") {
            Some(node) => room.text(&node.id.clone()).await.unwrap_or_default(),
            None => String::new(),
        };
        if found != last
            && let Ok(at) = found.trim().parse::<u64>()
        {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
            written.push(now.saturating_sub(Duration::from_nanos(at)));
            last = found;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        if matches!(step.events.try_recv(), Ok(StepEvent::Exited(_) | StepEvent::Lost(_))) {
            break;
        }
    }
    let written = quantile(&mut written, 0.99);
    row("file written inside to text in the document, p99 ms", "<= 150", written, None, written <= 150.0);

    let mut step = lab.start(&room, &format!("head -c {STREAMED} /dev/zero")).await;
    let (began, mut bytes, mut dropped) = (Instant::now(), 0, 0);
    loop {
        match step.events.recv().await.expect("an end") {
            StepEvent::Output(piece) => bytes += piece.len() as u64,
            // The agent waits for nobody: what the server has no time for is counted.
            StepEvent::Dropped(bytes) => dropped += bytes,
            _ => break,
        }
    }
    let ours = bytes as f64 / 1e6 / began.elapsed().as_secs_f64();
    let running = lab.plain(None).await;
    let (_, took) = lab.exec(&running, &["head", "-c", &STREAMED.to_string(), "/dev/zero"]).await;
    let docker = STREAMED as f64 / 1e6 / took.as_secs_f64();
    lab.remove(&running).await;
    let what = format!("100 MB of output ({:.1} % left out), MB/s", dropped as f64 / STREAMED as f64 * 100.0);
    row(&what, ">= 0.8 x", ours, Some(("exec", docker)), ours >= 0.8 * docker && dropped == 0);

    let mut step = lab.start(&room, "grep VmRSS /proc/1/status").await;
    let mut text = String::new();
    while let Some(StepEvent::Output(piece)) = step.events.recv().await {
        text += &String::from_utf8_lossy(&piece);
    }
    let rss: f64 = text.split_whitespace().nth(1).and_then(|kb| kb.parse().ok()).expect("a number");
    let size = std::fs::metadata(variable("BUILDSPACES_TEST_AGENT")).expect("the agent").len() as f64 / 1e6;
    row("agent, MB of file", "<= 4", size, None, size <= 4.0);
    row("agent, MB in memory", "<= 4", rss / 1e3, None, rss / 1e3 <= 4.0);
    lab.end().await;
}

/// A room's files, put into a new workspace.
async fn files() {
    let lab = Lab::new(0).await;
    let text = "x".repeat(4095) + "\n";
    let (mut ours, mut docker) = (Vec::new(), Vec::new());
    let mut tar = tar::Builder::new(Vec::new());
    for n in 0..FILES {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, format!("{}/{n}.txt", n % 20), text.as_bytes()).expect("written");
    }
    let tar = tar.into_inner().expect("written");
    for _ in 0..5 {
        let files = (0..FILES).map(|n| (format!("{}/{n}.txt", n % 20), text.clone())).collect();
        let room = lab.room(files).await;
        let began = Instant::now();
        lab.mirrors.workspace(room.id()).await.expect("opened");
        ours.push(began.elapsed());

        let workspace = tempfile::tempdir_in(lab.dir.path()).expect("a folder");
        let id = lab.plain(Some(workspace.path())).await;
        let options = UploadToContainerOptionsBuilder::new().path("/workspace").build();
        let began = Instant::now();
        let body = bollard::body_full(tar.clone().into());
        lab.docker.upload_to_container(&id, Some(options), body).await.expect("uploaded");
        docker.push(began.elapsed());
        lab.remove(&id).await;
    }
    lab.end().await;
    let (ours, docker) = (quantile(&mut ours, 0.5), quantile(&mut docker, 0.5));
    row("1,000 files of 4 KiB in a new workspace, p50 ms", "<= 150", ours, Some(("tar", docker)), ours <= 150.0);
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    print("| what | must reach | ours | reference | its | ours / its | reached |");
    print("| --- | --- | ---: | --- | ---: | ---: | --- |");
    runtime.block_on(async {
        warm_starts().await;
        cold_starts().await;
        mirror_both_ways().await;
        files().await;
    });
}
