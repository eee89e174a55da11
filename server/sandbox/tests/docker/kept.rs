//! Files that are no documents, whose workspace is lost, on a real engine.

use std::sync::Arc;
use std::time::Duration;

use buildspaces_kernel::tasks::Tasks;
use buildspaces_plans::ports::{Exit, Progress, StepEvent, StepSpec};
use buildspaces_plans::secret::StepSecrets;
use buildspaces_policy::Principal;
use buildspaces_rooms::memory::MemoryStore;
use buildspaces_rooms::{NewRoom, Rooms};
use buildspaces_sandbox::mirror::{Config, Mirrors};
use buildspaces_sandbox::{Files, workspace_owner};

use crate::world::{PATIENCE, finish};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_program_made_that_is_no_text_is_there_again_in_a_new_workspace() {
    let world = world!();
    let store = Arc::new(MemoryStore::default());
    let new = NewRoom { title: "Kept".to_owned(), template: "none".to_owned(), ..NewRoom::default() };
    let room = Rooms::new(store.clone(), Tasks::new()).create(&Principal::system(), new).await.expect("creates");
    let id = room.id().clone();
    let folder = tempfile::tempdir().expect("a folder");
    let config = Config { data_dir: folder.path().to_owned(), owner: workspace_owner() };
    let sum = "sha256sum large binary";
    let make = format!("head -c 3000000 /dev/urandom >large; printf 'a\\0b' >binary; {sum}");
    let mut sums = Vec::new();
    for (key, script) in [("make", make.as_str()), ("look", sum)] {
        let tasks = Tasks::new();
        let rooms = Rooms::new(store.clone(), tasks.clone());
        let room = rooms.room(&id).await.expect("opens");
        let workspace = Mirrors::new(config.clone(), rooms, tasks.clone()).workspace(&id).await.expect("opens");
        let files: Arc<dyn Files> = workspace.clone();
        let containers = world.open().await;
        let step = StepSpec {
            key: key.to_owned(),
            argv: ["sh", "-c", script].map(str::to_owned).to_vec(),
            timeout: Some(PATIENCE),
            secrets: StepSecrets::default(),
            sandbox: None,
        };
        let mut step = containers.start(&id, &files, step, Progress::default()).await.expect("it starts");
        let (text, end) = finish(&mut step).await;
        assert_eq!(end, StepEvent::Exited(Exit::Code(0)), "{text}");
        sums.push(text);
        workspace.absorb().await.expect("absorbs");
        let are_kept = || {
            let tree = room.tree();
            tree.nodes().count() == 2 && tree.nodes().all(|node| node.blob.is_some())
        };
        world.until("keeping both files", are_kept).await;
        assert!(containers.dispose(&id, "it is the end").await);
        containers.shutdown().await;
        assert_eq!(tasks.shutdown(Duration::from_secs(5)).await, 0);
        std::fs::remove_dir_all(folder.path().join("rooms")).expect("it was there");
    }
    assert_eq!(sums[0], sums[1]);
    assert_eq!(sums[0].lines().count(), 2);
}
