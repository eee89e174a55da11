//! Kinds of rooms and organisations on a real engine: each sandbox has what its room's kind says, and those of an organisation no more than
//! they may have together.

use std::sync::Arc;
use std::time::Duration;

use buildspaces_kernel::ids::{OrganisationId, RoomId, RoomKind};
use buildspaces_kernel::tasks::Tasks;
use buildspaces_plans::ports::{Exit, Progress, SandboxError, Sandboxes as _, Step, StepEvent, StepSpec};
use buildspaces_plans::secret::StepSecrets;
use buildspaces_policy::Principal;
use buildspaces_policy::tenancy::Tenancy;
use buildspaces_rooms::memory::MemoryStore;
use buildspaces_rooms::{NewRoom, Rooms};
use buildspaces_sandbox::mirror::{self, Mirrors};
use buildspaces_sandbox::{Ceilings, Containers, DockerSandboxes, Limits, workspace_owner};

use crate::world::{PATIENCE, World, finish, read_until};

/// Prints what the control group allows, on machines of either version of them, and other limits.
const LOOK: &str = "cd /sys/fs/cgroup; cat memory.max memory/memory.limit_in_bytes 2>/dev/null; cat pids.max pids/pids.max 2>/dev/null; \
    ulimit -n; df -m /tmp | tail -1 | tr -s ' ' | cut -d ' ' -f 2";

fn kind(name: &str) -> RoomKind {
    RoomKind::parse(name).expect("valid")
}

fn organisation(name: &str) -> OrganisationId {
    OrganisationId::parse(name).expect("valid")
}

impl World {
    fn with_small_rooms(&mut self) {
        let own = ["memory_mib", "pids", "open_files", "tmp_mib", "step_seconds"].map(str::to_owned).into();
        let small = Limits {
            memory: 200 << 20,
            pids: 77,
            open_files: 321,
            tmp: 5 << 20,
            step: Duration::from_secs(3),
            kind: kind("small"),
            own,
            ..self.limits.clone()
        };
        self.allowances.kinds.insert(kind("small"), small);
        self.allowances.tenants.kinds.insert(kind("small"));
    }

    fn with_organisation(&mut self, name: &str, ceilings: Ceilings) {
        self.allowances.organisations.insert(organisation(name), ceilings);
        self.allowances.tenants.organisations.insert(organisation(name), None);
        self.max_sandboxes = 8;
    }

    /// A new room of that kind and organisation.
    fn room_of(&mut self, name: &str, whose: Option<&str>) -> RoomId {
        let room = RoomId::random();
        self.tenancies.insert(room.clone(), Tenancy { kind: kind(name), organisation: whose.map(organisation) });
        room
    }

    async fn begin(&self, containers: &Containers, room: &RoomId, script: &str) -> Result<Step, SandboxError> {
        let key = format!("step-{}", buildspaces_kernel::ids::random_id(6));
        self.try_start(containers, room, &key, script, PATIENCE).await
    }

    async fn runs_in(&self, containers: &Containers, room: &RoomId, script: &str) -> String {
        let mut step = self.begin(containers, room, script).await.expect("it starts");
        let (text, end) = finish(&mut step).await;
        assert_eq!(end, StepEvent::Exited(Exit::Code(0)), "{text}");
        text
    }

    /// Something that runs until its workspace has a file `go`.
    async fn stays(&self, containers: &Containers, room: &RoomId) -> Step {
        let script = "echo here; while [ ! -e go ]; do sleep 0.05; done; rm go";
        let mut step = self.begin(containers, room, script).await.expect("it starts");
        read_until(&mut step, "here").await;
        step
    }

    async fn lets_go(&self, room: &RoomId, step: &mut Step) {
        std::fs::write(self.workspace(room).join("go"), "").expect("written");
        assert_eq!(finish(step).await.1, StepEvent::Exited(Exit::Code(0)));
    }

    async fn refused(&self, containers: &Containers, room: &RoomId) -> String {
        match self.begin(containers, room, "true").await {
            Err(SandboxError::Failed(sentence)) => sentence,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_of_two_kinds_have_other_limits_even_where_sandboxes_wait() {
    let mut world = world!();
    world.with_small_rooms();
    (world.warm, world.max_sandboxes) = (1, 4);
    let (usual, small) = (world.room_of("default", None), world.room_of("small", None));
    let requirements = r#"{"hostRequirements": {"memory": "300mb", "cpus": 64}}"#;
    std::fs::write(world.workspace(&small).join(".devcontainer.json"), requirements).expect("written");
    let containers = world.open().await;
    containers.reconcile(&[]).await;
    world.until("one that waits", || containers.warm() == 1).await;

    let text = world.runs_in(&containers, &small, LOOK).await;
    assert_eq!(text.lines().collect::<Vec<_>>(), ["209715200", "77", "321", "5"]);
    let made = containers.made(&small).borrow().clone().expect("it has a file");
    let notices: Vec<&str> = made.devcontainer.notices.iter().map(|notice| notice.message.as_str()).collect();
    assert!(
        notices.iter().any(|said| said.contains("200 MiB of memory (sandbox.kinds.small.memory_mib)")),
        "{notices:?}"
    );
    assert!(notices.iter().any(|said| said.contains("2 processors (sandbox.cpus)")), "{notices:?}");

    let text = world.runs_in(&containers, &usual, LOOK).await;
    assert_eq!(text.lines().collect::<Vec<_>>(), ["1073741824", "256", "4096", "256"]);

    let mut step = world.begin(&containers, &small, "sleep 60").await.expect("it starts");
    assert_eq!(
        (step.limit.most, step.limit.key.as_str()),
        (Duration::from_secs(3), "sandbox.kinds.small.step_seconds")
    );
    assert_eq!(finish(&mut step).await.1, StepEvent::Exited(Exit::TimedOut));
    let unknown = world.room_of("large", None);
    let sentence = world.refused(&containers, &unknown).await;
    assert!(sentence.contains("sandbox.kinds.large"), "{sentence}");
    containers.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kind_that_waits_is_the_one_that_was_asked_for() {
    let mut world = world!();
    world.with_small_rooms();
    (world.warm, world.max_sandboxes) = (1, 4);
    let (first, second) = (world.room_of("small", None), world.room_of("small", None));
    let containers = world.open().await;
    containers.reconcile(&[]).await;
    world.until("one that waits", || containers.warm() == 1).await;
    let usual = world.containers().remove(0);
    world.runs_in(&containers, &first, "true").await;
    world.until("another one that waits", || containers.warm() == 1 && !world.containers().contains(&usual)).await;
    let before = world.containers();
    assert_eq!(world.runs_in(&containers, &second, LOOK).await.lines().next(), Some("209715200"));
    assert!(before.iter().all(|id| world.containers().contains(id)), "it had waited");
    containers.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organisation_at_its_ceiling_waits_for_its_own_and_slows_nobody_else() {
    let mut world = world!();
    world.with_small_rooms();
    world.with_organisation("acme", Ceilings { sandboxes: Some(2), memory: Some(1500 << 20), ..Ceilings::default() });
    world.with_organisation("globex", Ceilings::default());
    let [a, b, c] = ["default", "small", "default"].map(|kind| world.room_of(kind, Some("acme")));
    let (other, nobodys) = (world.room_of("default", Some("globex")), world.room_of("default", None));
    let stranger = world.room_of("default", Some("initech"));
    let containers = world.open().await;
    let mut at_work = world.stays(&containers, &a).await;
    let sentence = world.refused(&containers, &c).await;
    assert!(
        sentence.contains("organisations.acme.memory_mib") && sentence.contains("none of them is idle"),
        "{sentence}"
    );
    world.runs_in(&containers, &b, "true").await;
    // Both are in use now, one of them idle: that is too small to make way for the third, so it stays.
    let before = world.containers();
    let sentence = world.refused(&containers, &c).await;
    assert!(sentence.contains("organisations.acme") && sentence.contains("not enough"), "{sentence}");
    assert_eq!(world.containers(), before);
    world.runs_in(&containers, &other, "true").await;
    world.runs_in(&containers, &nobodys, "true").await;
    let sentence = world.refused(&containers, &stranger).await;
    assert!(sentence.contains("organisations.initech"), "{sentence}");
    world.lets_go(&a, &mut at_work).await;
    world.runs_in(&containers, &c, "true").await;
    assert_eq!(world.containers().len(), 4, "it took the place of one that was idle, and the smaller one stays");
    assert!(containers.dispose(&c, "the end").await);
    world.runs_in(&containers, &a, "true").await;
    // What is taken away from outside does not count for ever.
    world.containers().iter().for_each(|id| drop(world.docker(&["rm", "-f", id])));
    world.runs_in(&containers, &c, "true").await;
    world.runs_in(&containers, &b, "true").await;
    containers.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_organisation_uses_is_known_after_a_kill() {
    let mut world = world!();
    world.with_organisation("acme", Ceilings { sandboxes: Some(1), ..Ceilings::default() });
    let (a, b) = (world.room_of("default", Some("acme")), world.room_of("default", Some("acme")));
    for warm in [0, 1] {
        world.warm = warm;
        // Everything of the first server ends with its runtime, as if it were killed.
        let first = tokio::runtime::Runtime::new().expect("a runtime");
        let script = "echo here; while [ ! -e go ]; do sleep 0.05; done; rm go";
        std::thread::scope(|scope| {
            scope.spawn(|| {
                first.block_on(async {
                    let containers = world.open().await;
                    containers.reconcile(&[]).await;
                    world.until("one that waits", || containers.warm() == warm).await;
                    let mut step = world.try_start(&containers, &a, "a", script, PATIENCE).await.expect("it starts");
                    read_until(&mut step, "here").await;
                });
            });
        });
        first.shutdown_background();
        world.warm = 0;
        let containers = world.open().await;
        containers.reconcile(std::slice::from_ref(&a)).await;
        let sentence = world.refused(&containers, &b).await;
        assert!(sentence.contains("organisations.acme.sandboxes"), "{sentence}");
        let step = containers.resume(&a, "a", 0, StepSecrets::default()).await.expect("no error");
        let mut step = step.expect("it is there");
        world.lets_go(&a, &mut step).await;
        world.runs_in(&containers, &b, "true").await;
        containers.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_grows_while_an_organisations_rooms_take_too_much_disk_is_stopped() {
    let mut world = world!();
    world.with_organisation("acme", Ceilings { disk: Some(64 << 20), ..Ceilings::default() });
    let (a, b) = (world.room_of("default", Some("acme")), world.room_of("default", Some("acme")));
    let containers = world.open().await;
    world.runs_in(&containers, &a, "head -c 40000000 /dev/zero > large; sleep 5").await;
    let mut beside = world.stays(&containers, &a).await;
    let fill = "head -c 40000000 /dev/zero > large; echo filled; sleep 50";
    let (text, end) = finish(&mut world.begin(&containers, &b, fill).await.expect("it starts")).await;
    assert_eq!(text, "filled\n");
    let StepEvent::Exited(Exit::OverLimit(reason)) = end else { panic!("{end:?}") };
    assert!(reason.contains("more than 64 MiB") && reason.contains("organisations.acme.disk_mib"), "{reason}");
    world.lets_go(&a, &mut beside).await;
    assert_eq!(world.runs_in(&containers, &b, "rm large; sleep 4; echo tidied").await, "tidied\n");
    containers.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_of_a_room_is_what_its_sandbox_gets() {
    let mut world = world!();
    world.with_small_rooms();
    let tasks = Tasks::new();
    let rooms = Rooms::new(Arc::new(MemoryStore::default()), tasks.clone());
    let tenancy = Tenancy { kind: kind("small"), organisation: None };
    let new = NewRoom { title: "Room".to_owned(), template: "none".to_owned(), tenancy, ..NewRoom::default() };
    let room = rooms.create(&Principal::system(), new).await.expect("created");
    let config = mirror::Config { data_dir: world.dir.path().join("data"), owner: workspace_owner() };
    let sandboxes = DockerSandboxes::new(world.open().await, Mirrors::new(config, rooms, tasks));
    let looks = async |key: &str| {
        let argv = ["sh", "-c", LOOK].map(str::to_owned).to_vec();
        let (key, secrets) = (key.to_owned(), StepSecrets::default());
        let step = StepSpec { key, argv, timeout: None, secrets, sandbox: None };
        let mut step = sandboxes.start(room.id(), step, Progress::default()).await.expect("it starts");
        finish(&mut step).await.0.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(looks("a").await, "209715200 77 321 5");
    // It becomes one of another kind: its next sandbox has what that says, and this one what it had.
    room.change_kind(RoomKind::default(), &Principal::system()).await.expect("changed");
    assert_eq!(looks("b").await, "209715200 77 321 5");
    assert!(sandboxes.dispose(room.id(), "the next one").await);
    assert_eq!(looks("c").await, "1073741824 256 4096 256");
    sandboxes.shutdown().await;
}
