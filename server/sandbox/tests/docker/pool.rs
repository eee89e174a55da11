//! Sandboxes that wait for a room, on a real engine: given once, with the room's own files, and never left over.

use std::time::{Duration, Instant};

use buildspaces_kernel::ids::RoomId;
use buildspaces_plans::ports::{Exit, StepEvent};
use buildspaces_plans::secret::StepSecrets;
use buildspaces_sandbox::Containers;

use crate::world::{PATIENCE, World, finish, read_until};

impl World {
    /// A server that keeps at most so many waiting.
    async fn open_warm(&mut self, warm: usize) -> Containers {
        self.warm = warm;
        self.max_sandboxes = 4;
        let containers = self.open().await;
        containers.reconcile(&[]).await;
        self.until("a sandbox that waits", || containers.warm() > 0).await;
        containers
    }

    async fn run_in(&self, containers: &Containers, room: &RoomId, key: &str, script: &str) -> String {
        let mut step = self.try_start(containers, room, key, script, PATIENCE).await.expect("it starts");
        let (text, end) = finish(&mut step).await;
        assert_eq!(end, StepEvent::Exited(Exit::Code(0)), "{text}");
        text
    }

    fn folders(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path().join("data/sandboxes")).expect("a folder");
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_gets_a_sandbox_that_was_waiting_and_keeps_it() {
    let mut world = world!();
    let containers = world.open_warm(2).await;
    let waiting = world.containers();
    assert_eq!(waiting.len(), 1, "nobody asked for more");

    let workspace = world.workspace(&world.room);
    std::fs::create_dir(workspace.join("src")).expect("made");
    std::fs::write(workspace.join("src/a"), "from the room\n").expect("written");
    let asked = Instant::now();
    let text = world.run_in(&containers, &world.room, "a", "pwd -P; cat src/a; echo 'from a step' >b; hostname").await;
    eprintln!("a waiting sandbox ran its first step in {:?}", asked.elapsed());
    assert_eq!(text, "/workspace\nfrom the room\nsandbox\n");
    assert_eq!(std::fs::read_to_string(workspace.join("b")).expect("there"), "from a step\n");
    std::fs::write(workspace.join("later"), "from the room, later\n").expect("written");
    assert_eq!(world.run_in(&containers, &world.room, "b", "cat later").await, "from the room, later\n");

    // The next one waits already, or will; it is another one, and knows nothing of the first.
    world.until("another one that waits", || containers.warm() == 1).await;
    let other = RoomId::random();
    let text = world.run_in(&containers, &other, "a", "ls -A /workspace /tmp ~; touch mine").await;
    assert!(!text.contains("src") && !text.contains("later"), "{text}");
    assert!(world.workspace(&other).join("mine").exists());
    assert!(world.containers().len() >= 2);
    assert!(containers.dispose(&world.room, "the end").await);
    assert!(!world.containers().contains(&waiting[0]), "a used one does not come back");
    let text = world.run_in(&containers, &world.room, "c", "cat src/a b later").await;
    assert_eq!(text, "from the room\nfrom a step\nfrom the room, later\n", "the files stay, in the next one");

    containers.shutdown().await;
    assert_eq!(world.containers(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_wait_as_rooms_asked_for_and_they_take_no_places() {
    let mut world = world!();
    let containers = world.open_warm(3).await;
    let mut rooms = Vec::new();
    for n in 1..=4 {
        let room = RoomId::random();
        world.run_in(&containers, &room, "a", "true").await;
        rooms.push(room);
        world.until("a place for each", || world.containers().len() <= 4).await;
        // Of four places these are left for those that wait; as many rooms asked as are in use.
        let left = (4 - n).min(n).min(3);
        world.until("those that wait", || containers.warm() == left).await;
    }
    assert_eq!(world.containers().len(), 4, "and all of them are rooms'");
    containers.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_ones_and_those_of_an_old_image_are_nobodys() {
    let mut world = world!();
    let image = format!("buildspaces/test-{}:1", world.instance);
    world.docker(&["tag", "buildspaces/workspace:1", &image]);
    world.image = Some(image.clone());
    let containers = world.open_warm(1).await;
    let first = world.containers();
    world.docker(&["kill", &first[0]]);
    assert_eq!(world.run_in(&containers, &world.room, "a", "echo fine").await, "fine\n");
    assert!(!world.containers().contains(&first[0]));

    world.until("one that waits", || containers.warm() == 1).await;
    let before = world.containers();
    world.docker(&["commit", "--change", "LABEL new=1", &before[0], &image]);
    world
        .until("one of the new image", || {
            let now = world.containers();
            containers.warm() == 1 && now.len() == 2 && now.iter().any(|id| !before.contains(id))
        })
        .await;
    containers.shutdown().await;
    world.docker(&["rmi", "-f", &image]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_server_knows_whose_each_is() {
    let mut world = world!();
    world.warm = 2;
    world.max_sandboxes = 4;
    let idle = RoomId::random();
    {
        // Everything of the first server ends with its runtime, as if it were killed.
        let script = "echo one; while [ ! -e go ]; do sleep 0.05; done; echo two; exit 5";
        let first = tokio::runtime::Runtime::new().expect("a runtime");
        let (world, idle) = (&world, &idle);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                first.block_on(async {
                    let containers = world.open().await;
                    containers.reconcile(&[]).await;
                    world.until("one that waits", || containers.warm() == 1).await;
                    let mut step = world.start(&containers, "a", script).await;
                    read_until(&mut step, "one\n").await;
                    world.until("one that waits", || containers.warm() == 1).await;
                    world.run_in(&containers, idle, "b", "true").await;
                    world.until("those that wait", || containers.warm() == 2).await;
                });
            });
        });
        first.shutdown_background();
    }
    assert_eq!(world.containers().len(), 4);
    // As if it was killed after it had said whose one is, and before the files came.
    let cut_off = RoomId::random();
    let waiting = world.folders().into_iter().find(|place| {
        let folder = world.dir.path().join("data/sandboxes").join(place);
        folder.join("workspace").exists() && !folder.join("claim.json").exists()
    });
    let claim = world.dir.path().join("data/sandboxes").join(waiting.expect("two wait")).join("claim.json");
    let text = serde_json::json!({ "room": cut_off, "workspace": world.workspace(&cut_off) }).to_string();
    std::fs::write(claim, text).expect("written");
    std::fs::write(world.workspace(&world.room).join("go"), "").expect("written");
    world.warm = 0;
    let containers = world.open().await;
    // One that never had its room's files is nobody's, whatever it says.
    containers.reconcile(&[world.room.clone(), cut_off]).await;
    assert_eq!((world.containers().len(), world.folders().len()), (1, 1), "{:?}", world.folders());
    let mut step =
        containers.resume(&world.room, "a", 4, StepSecrets::default()).await.expect("no error").expect("it is there");
    assert_eq!(finish(&mut step).await, ("two\n".to_owned(), StepEvent::Exited(Exit::Code(5))));
    assert_eq!(world.run(&containers, "c", "ls").await.0, "go\n");
    // Longer than it takes until containers that are nobody's are looked for.
    tokio::time::sleep(Duration::from_secs(17)).await;
    assert_eq!(world.containers().len(), 1, "it is the room's");
    containers.shutdown().await;
    assert_eq!((world.containers().len(), world.folders().len()), (0, 0));
}
