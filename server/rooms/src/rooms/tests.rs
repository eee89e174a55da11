use super::*;
use crate::actor::IDLE;
use crate::memory::MemoryStore;
use crate::memory::wire::{self, Inbox};
use crate::{Connection, Dialect, RoomEvent, RunsMap};
use buildspaces_crdt::protocol::{self, Message};
use buildspaces_policy::{Authority, Role};
use serde_json::json;
use yrs::Text;

fn fixture() -> (Rooms, Arc<MemoryStore>, Tasks) {
    let (store, tasks) = (Arc::new(MemoryStore::default()), Tasks::new());
    (Rooms::new(store.clone(), tasks.clone()), store, tasks)
}

fn authority() -> Authority {
    Authority { principal: Principal::system(), role: Role::Editor }
}

async fn connect(document: &DocumentHandle) -> (Connection, Inbox) {
    let (outbox, inbox) = wire::outbox();
    let lane = outbox.lane(Bytes::new());
    let connection = document.connect(authority(), true, Dialect::YWebsocket, lane).await.expect("connect");
    (connection, inbox)
}

fn new_room() -> NewRoom {
    let files = vec![("src/a.py".to_owned(), "a\n".to_owned()), ("README.md".to_owned(), String::new())];
    NewRoom { title: " Test ".to_owned(), template: "python".to_owned(), files, ..NewRoom::default() }
}

fn typed(replica: &mut Replica, text: &str) -> Vec<u8> {
    let root = replica.doc().get_or_insert_text("text");
    replica.edit(|txn| root.push(txn, text)).expect("changed")
}

#[tokio::test]
async fn a_room_is_created_with_its_files_and_found_again() {
    let (rooms, store, _tasks) = fixture();
    let room = rooms.create(&Principal::system(), new_room()).await.expect("create");
    assert_eq!(room.record().title, "Test");
    let again = Rooms::new(store, Tasks::new()).room(room.id()).await.expect("open");
    let tree = again.tree();
    let node = tree.at_path("src/a.py").expect("file");
    assert_eq!(again.text(&node.id).await.expect("text"), "a\n");
    let unknown = RoomId::random();
    assert!(matches!(rooms.room(&unknown).await, Err(Error::NoSuchRoom(id)) if id == unknown));
    assert_eq!(rooms.inner.rooms.len(), 1, "a room that does not exist is not remembered");
}

#[tokio::test]
async fn a_room_that_nobody_uses_leaves_memory_and_comes_back_as_it_was() {
    let (rooms, _store, _tasks) = fixture();
    let id = rooms.create(&Principal::system(), new_room()).await.expect("create").id().clone();
    let leaves = async |expected: usize| {
        for _ in 0..200 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            if rooms.inner.rooms.len() == expected {
                return;
            }
        }
        panic!("{} rooms are open", rooms.inner.rooms.len());
    };
    leaves(0).await;
    let room = rooms.room(&id).await.expect("opens again");
    let node = room.tree().at_path("src/a.py").expect("file").id.clone();
    let file = room.file(&node).await.expect("opens");
    drop(room);
    // A file that somebody has open tells the room of its edits, and so does a room whose changes somebody hears of.
    tokio::time::sleep(3 * Duration::from_millis(100)).await;
    assert_eq!(rooms.inner.rooms.len(), 1);
    let mut events = rooms.room(&id).await.expect("open").events();
    file.replace_text(&Principal::system(), "b\n".to_owned()).await.expect("saved");
    drop(file);
    assert!(matches!(events.recv().await, Ok(RoomEvent::Edited { .. })));
    tokio::time::sleep(3 * Duration::from_millis(100)).await;
    assert_eq!(rooms.inner.rooms.len(), 1);
}

#[tokio::test]
async fn everyone_who_opens_a_document_at_once_gets_the_same_one() {
    let (rooms, _store, _tasks) = fixture();
    let name = DocumentName::parse("plain").expect("valid");
    let (a, b) = tokio::join!(rooms.document(&name), rooms.document(&name));
    a.expect("open").apply_own(&Principal::system(), typed(&mut Replica::new(), "x")).await.expect("apply");
    assert_eq!(b.expect("open").text().await.expect("text"), "x");
}

#[tokio::test]
async fn an_edit_reaches_the_others_at_once_and_its_author_after_the_append() {
    let (rooms, store, _tasks) = fixture();
    let document = rooms.document(&DocumentName::parse("plain").expect("valid")).await.expect("open");
    let (ada, mut to_ada) = connect(&document).await;
    let (_bo, mut to_bo) = connect(&document).await;
    assert_eq!(&to_ada.next().await.expect("step 1")[..2], [0, 0]);
    assert_eq!(&to_bo.next().await.expect("step 1")[..2], [0, 0]);
    let update = typed(&mut Replica::new(), "x");
    ada.receive(Message::Update(update.clone().into())).await.expect("receive");
    assert_eq!(to_bo.next().await, Ok(protocol::update(&update)));
    assert_eq!(to_ada.next().await, Ok(protocol::update(&update)));
    assert_eq!(store.load(&DocumentName::parse("plain").expect("valid")).await.expect("load").seq, 1);
}

#[tokio::test]
async fn when_the_store_fails_nothing_is_acknowledged_and_clients_come_back() {
    let (rooms, store, _tasks) = fixture();
    let name = DocumentName::parse("plain").expect("valid");
    let (ada, mut to_ada) = connect(&rooms.document(&name).await.expect("open")).await;
    to_ada.next().await.expect("step 1");
    store.fail_appends(true);
    let update = typed(&mut Replica::new(), "x");
    ada.receive(Message::Update(update.clone().into())).await.expect("receive");
    assert_eq!(to_ada.next().await, Err(CloseReason::Failed));
    drop(ada);
    while rooms.documents_open() > 0 {
        // What failed must not stay in memory for nobody.
        tokio::task::yield_now().await;
    }
    store.fail_appends(false);
    let document = rooms.document(&name).await.expect("open");
    assert_eq!(document.text().await.expect("text"), "", "what was not saved is not there");
    document.apply_own(&Principal::system(), update).await.expect("saved now");
}

#[tokio::test]
async fn stopping_saves_what_was_received_and_tells_everyone() {
    let (rooms, store, tasks) = fixture();
    let name = DocumentName::parse("plain").expect("valid");
    let (ada, mut to_ada) = connect(&rooms.document(&name).await.expect("open")).await;
    to_ada.next().await.expect("step 1");
    ada.receive(Message::Update(typed(&mut Replica::new(), "x").into())).await.expect("receive");
    assert_eq!(tasks.shutdown(Duration::from_secs(5)).await, 0);
    assert_eq!(store.load(&name).await.expect("load").seq, 1);
    assert_eq!(&to_ada.next().await.expect("echo")[..2], [0, 2]);
    assert_eq!(to_ada.next().await, Err(CloseReason::Stopping));
}

#[tokio::test(start_paused = true)]
async fn an_unused_document_is_unloaded_and_comes_back_whole() {
    let (rooms, _store, _tasks) = fixture();
    let name = DocumentName::parse("plain").expect("valid");
    let document = rooms.document(&name).await.expect("open");
    document.apply_own(&Principal::system(), typed(&mut Replica::new(), "x")).await.expect("apply");
    tokio::time::sleep(IDLE * 3).await;
    assert_eq!(rooms.inner.documents.len(), 1, "somebody holds it");
    drop(document);
    tokio::time::sleep(IDLE * 3).await;
    assert_eq!(rooms.inner.documents.len(), 0);
    assert_eq!(rooms.document(&name).await.expect("open").text().await.expect("text"), "x");
}

#[tokio::test]
async fn a_document_with_a_long_log_keeps_its_state_when_it_leaves() {
    let (rooms, store, tasks) = fixture();
    let name = DocumentName::parse("plain").expect("valid");
    let document = rooms.document(&name).await.expect("open");
    let mut replica = Replica::new();
    for _ in 0..200 {
        document.apply_own(&Principal::system(), typed(&mut replica, "x")).await.expect("apply");
    }
    assert_eq!(store.load(&name).await.expect("load").snapshot, None, "so short a log is read quickly");
    tasks.shutdown(Duration::from_secs(5)).await;
    let stored = store.load(&name).await.expect("load");
    assert_eq!((stored.snapshot.map(|(seq, _)| seq), stored.updates.len()), (Some(200), 0));
}

#[tokio::test]
async fn a_deleted_file_ends_its_connections_and_cannot_be_opened() {
    let (rooms, _store, _tasks) = fixture();
    let room = rooms.create(&Principal::system(), new_room()).await.expect("create");
    let node = room.tree().at_path("src/a.py").expect("file").id.clone();
    let (_ada, mut to_ada) = connect(&room.file(&node).await.expect("open")).await;
    to_ada.next().await.expect("step 1");
    let mut events = room.events();
    let delete = TreeCommand::Delete { id: node.clone(), rev: None };
    room.command(&Principal::system(), delete).await.expect("delete");
    assert_eq!(to_ada.next().await, Err(CloseReason::Gone));
    assert!(matches!(room.file(&node).await, Err(Error::NoSuchNode)));
    assert!(matches!(events.recv().await, Ok(RoomEvent::Tree { deleted, .. }) if deleted == [node]));
}

#[tokio::test]
async fn a_file_that_becomes_a_text_has_the_text_it_came_with() {
    let (rooms, _store, _tasks) = fixture();
    let room = rooms.create(&Principal::system(), new_room()).await.expect("create");
    let node = room.tree().at_path("src/a.py").expect("file").id.clone();
    let retype =
        |kind, text: &str| TreeCommand::Retype { id: node.clone(), kind, size: 9, text: Some(text.to_owned()) };
    let fs = Principal::file_system();
    room.command(&fs, retype(NodeKind::Binary, "")).await.expect("retype");
    assert!(matches!(room.text(&node).await, Err(Error::NoSuchNode)));
    let nodes = room.command(&fs, retype(NodeKind::Text, "b\n")).await.expect("retype");
    assert_eq!((nodes[0].kind, nodes[0].size), (NodeKind::Text, 0));
    assert_eq!(room.text(&node).await.expect("text"), "b\n");
}

#[tokio::test]
async fn commands_that_wait_together_are_each_answered_for_themselves() {
    let (rooms, store, _tasks) = fixture();
    let room = rooms.create(&Principal::system(), new_room()).await.expect("create");
    let create = |name: &str| TreeCommand::Create {
        parent: None,
        name: name.to_owned(),
        kind: NodeKind::Text,
        size: 0,
        text: Some(name.to_owned()),
    };
    let (fs, system) = (Principal::file_system(), Principal::system());
    let mut events = room.events();
    let (a, twice, bad, b, other) = tokio::join!(
        room.command(&fs, create("a")),
        room.command(&fs, create("A")),
        room.command(&fs, create("../x")),
        room.command(&fs, create("b")),
        room.command(&system, create("c")),
    );
    assert!(matches!(twice, Err(Error::Tree(crate::tree::Error::NameTaken(name))) if name == "a"));
    assert!(matches!(bad, Err(Error::Tree(crate::tree::Error::BadName(..)))));
    let b = b.expect("created");
    assert_eq!((a.expect("created")[0].name.as_str(), b[0].name.as_str()), ("a", "b"));
    assert_eq!(room.text(&b[0].id).await.expect("text"), "b");
    assert_eq!(other.expect("created")[0].name, "c");
    assert_eq!(store.nodes(room.id()).await.expect("nodes").len(), 6);
    let mut changed = 0;
    while let Ok(event) = events.try_recv() {
        let RoomEvent::Tree { changed: nodes, by, .. } = event else { continue };
        assert!(nodes.iter().all(|node| (node.name == "c") == (by == system)), "{by:?}: {nodes:?}");
        changed += nodes.len();
    }
    assert_eq!(changed, 3);
}

#[tokio::test]
async fn projections_say_what_the_server_says_and_repair_themselves() {
    let (rooms, store, _tasks) = fixture();
    let room = rooms.create(&Principal::system(), new_room()).await.expect("create");
    let entries = |value| vec![("r1".to_owned(), Some(json!({ "state": value })))];
    room.project_runs(RunsMap::Runs, entries("queued")).await.expect("project");
    room.project_runs(RunsMap::Runs, entries("running")).await.expect("project");
    let projected = room.projected_runs(RunsMap::Runs).await.expect("map");
    assert_eq!(projected, vec![("r1".to_owned(), json!({ "state": "running" }))]);

    // A crash between journal and projection: the next opening repairs the tree document.
    let node = room.tree().at_path("README.md").expect("file").id.clone();
    let change = TreeChange { deleted: vec![node.clone()], ..TreeChange::default() };
    store.change_tree(room.id(), &Principal::system().id, 1, change).await.expect("journal");
    let again = Rooms::new(store, Tasks::new());
    again.room(room.id()).await.expect("open");
    let tree = again.document(&DocumentName::tree(room.id().as_str())).await.expect("open");
    let keys: Vec<String> = tree.map("nodes").await.expect("map").into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys.len(), 2, "src and src/a.py");
    assert!(!keys.contains(&node.to_string()));
}

#[tokio::test(start_paused = true)]
async fn unused_documents_leave_early_when_memory_is_short_and_used_ones_never() {
    let store = Arc::new(MemoryStore::default());
    let rooms = Rooms::with_config(store, Tasks::new(), &Config { memory_bytes: 1_000_000, ..Config::default() });
    let name = |i: usize| DocumentName::parse(&format!("d{i}")).expect("valid");
    let write = async |document: &DocumentHandle, text: &str| {
        document.apply_own(&Principal::system(), typed(&mut Replica::new(), text)).await.expect("saved");
    };
    let used = rooms.document(&name(0)).await.expect("open");
    write(&used, &"used".repeat(20_000)).await;
    for i in 1..40 {
        write(&rooms.document(&name(i)).await.expect("open"), &"x".repeat(5000)).await;
    }
    // Long before they would leave for being idle.
    tokio::time::sleep(IDLE / 10).await;
    // The used one alone takes 800 kB; about three of the others fit.
    let open = rooms.documents_open();
    assert!((2..6).contains(&open), "{open} documents are open");
    assert!(rooms.inner.documents.contains_key(&name(0)) && rooms.inner.documents.contains_key(&name(39)));
    for i in 1..40 {
        let text = rooms.document(&name(i)).await.expect("open").text().await.expect("text");
        assert_eq!(text.len(), 5000, "it comes back whole");
    }
    write(&used, "and goes on").await;
}

#[tokio::test(start_paused = true)]
async fn while_the_disk_is_full_nobody_is_sent_away_and_everything_is_saved_afterwards() {
    let disk = Arc::new(MemoryStore::default());
    let store = Arc::new(crate::memory::faults::FaultStore::without_faults(disk.clone()));
    let rooms = Rooms::new(store.clone(), Tasks::new());
    let name = DocumentName::parse("plain").expect("valid");
    let document = rooms.document(&name).await.expect("open");
    let mut replica = Replica::new();
    document.apply_own(&Principal::system(), typed(&mut replica, "before ")).await.expect("saved");
    store.set_full(true);
    let update = typed(&mut replica, "while it is full");
    let system = Principal::system();
    let mut waiting = std::pin::pin!(document.apply_own(&system, update));
    let early = tokio::time::timeout(Duration::from_secs(60), &mut waiting).await;
    assert!(early.is_err(), "nothing is acknowledged: {early:?}");
    let (ada, mut to_ada) = connect(&document).await;
    assert_eq!(&to_ada.next().await.expect("step 1")[..2], [0, 0]);
    ada.receive(Message::Update(typed(&mut replica, ", and more").into())).await.expect("receive");
    assert_eq!(document.text().await.expect("reading goes on"), "before while it is full");
    assert_eq!(disk.load(&name).await.expect("load").seq, 1);
    store.set_full(false);
    waiting.await.expect("saved at last");
    assert_eq!(disk.load(&name).await.expect("load").seq, 2);
    assert_eq!(&to_ada.next().await.expect("step 1 once more")[..2], [0, 0]);
    ada.receive(Message::SyncStep2(replica.state().into())).await.expect("receive");
    to_ada.next().await.expect("the echo: it is saved");
    assert_eq!(document.text().await.expect("read"), "before while it is full, and more");
}

#[tokio::test(start_paused = true)]
async fn while_the_disk_is_full_what_is_durable_is_read_and_nothing_else_is_taken() {
    let disk = Arc::new(MemoryStore::default());
    let store = Arc::new(crate::memory::faults::FaultStore::without_faults(disk.clone()));
    let rooms = Rooms::new(store.clone(), Tasks::new());
    let system = Principal::system();
    let room = rooms.create(&system, new_room()).await.expect("create");
    let node = room.tree().at_path("src/a.py").expect("file").id.clone();
    let file = DocumentName::file(room.id().as_str(), node.as_str());
    let live = rooms.document(&file).await.expect("open");
    live.replace_text(&system, "two".to_owned()).await.expect("saved");
    store.set_full(true);
    // Somebody reads when it is not known yet, and somebody later.
    let lost = live.apply_own(&system, typed(&mut Replica::new(), "not saved"));
    let mut lost = std::pin::pin!(lost);
    let early = tokio::time::timeout(Duration::from_millis(1), &mut lost).await;
    assert!(early.is_err(), "{early:?}");
    for _ in 0..2 {
        let present =
            tokio::time::timeout(Duration::from_secs(60), live.present()).await.expect("in time").expect("read");
        let mut replica = Replica::new();
        replica.apply(&present.state).expect("whole");
        assert_eq!((present.seq, replica.text("text").as_str()), (2, "two"));
        assert_eq!(live.position().await.expect("read").state_vector, present.state_vector);
    }
    let restored = rooms.history().restore(&file, &live, &system, 1).await;
    assert!(matches!(restored, Err(Error::Full)), "{restored:?}");
    let replaced = live.replace_text(&system, "three".to_owned()).await;
    assert!(matches!(replaced, Err(Error::Full)), "{replaced:?}");
    let created = rooms.create(&system, new_room()).await;
    assert!(matches!(created, Err(Error::Full)), "{created:?}");
    let named = rooms.history().checkpoint(&file, &system, "now").await;
    assert!(matches!(named, Err(Error::Full)), "{named:?}");
    store.set_full(false);
    lost.await.expect("saved at last");
    rooms.history().restore(&file, &live, &system, 1).await.expect("restored");
    assert_eq!(live.text().await.expect("text"), "a\n");
}

#[tokio::test]
async fn going_back_to_a_text_that_is_too_large_now_is_refused() {
    let store = Arc::new(MemoryStore::default());
    let config = Config { max_document_bytes: 1_000, ..Config::default() };
    let rooms = Rooms::with_config(store, Tasks::new(), &config);
    let system = Principal::system();
    let room = rooms.create(&system, new_room()).await.expect("create");
    let node = room.tree().at_path("src/a.py").expect("file").id.clone();
    let file = DocumentName::file(room.id().as_str(), node.as_str());
    let live = rooms.document(&file).await.expect("open");
    // The server itself may write more.
    live.replace_text(&system, "x".repeat(2_000)).await.expect("saved");
    live.replace_text(&system, "y".to_owned()).await.expect("saved");
    let restored = rooms.history().restore(&file, &live, &system, 2).await;
    assert!(matches!(restored, Err(Error::TooLarge)), "{restored:?}");
}
