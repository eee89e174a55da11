use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use buildspaces_crdt::text::ROOT;
use buildspaces_kernel::tasks::Tasks;
use buildspaces_policy::{Authority, Role};

use super::*;
use crate::copies;
use crate::listener::{Interest, Listener};
use crate::memory::faults::FaultStore;
use crate::memory::{MemoryStore, wire};
use crate::ports::RoomRecord;
use crate::{CloseReason, Dialect, NewRoom};

fn fixture() -> Rooms {
    Rooms::new(Arc::new(MemoryStore::default()), Tasks::new())
}

fn name(text: &str) -> DocumentName {
    DocumentName::parse(text).expect("valid")
}

fn content(text: &str) -> Bytes {
    Replica::new().set_text(ROOT, text).expect("a text").into()
}

#[tokio::test]
async fn a_document_is_given_its_first_content_once() {
    let rooms = fixture();
    let (by, notes) = (Principal::system(), name("notes"));
    // Somebody may have it open and empty meanwhile.
    let open = rooms.document(&notes).await.expect("open");
    let (a, b) = tokio::join!(
        rooms.create_document(&by, &notes, content("hello"), false),
        rooms.create_document(&by, &notes, content("hello"), false)
    );
    assert_eq!((a.expect("created") as u8) + (b.expect("created") as u8), 1);
    assert!(!rooms.create_document(&by, &notes, content("again"), true).await.expect("left alone"));
    assert_eq!(open.text().await.expect("text"), "hello");
    let bad = rooms.create_document(&by, &name("bad"), Bytes::from_static(&[9, 9]), false).await;
    assert!(matches!(bad, Err(Error::InvalidUpdate(_))), "{bad:?}");
    let nothing = rooms.create_document(&by, &name("bad"), Bytes::from_static(&[0, 0]), false).await;
    assert!(matches!(nothing, Err(Error::InvalidUpdate(_))), "{nothing:?}");
    let seen = rooms.written_document(&name("bad")).await;
    assert!(matches!(seen, Err(Error::NoSuchDocument(_))), "{seen:?}");
}

#[tokio::test]
async fn a_change_that_expects_another_state_is_refused() {
    let rooms = fixture();
    let (by, notes) = (Principal::system(), name("notes"));
    rooms.create_document(&by, &notes, content("a"), false).await.expect("created");
    let (about, live) = rooms.written_document(&notes).await.expect("open");
    assert_eq!((about.epoch, about.seq), (1, 1));
    let present = live.present().await.expect("present");
    assert_eq!(present.seq, 1);
    live.propose(&by, content("b"), Some(1)).await.expect("nobody was faster");
    let late = live.propose(&by, content("c"), Some(1)).await;
    assert!(matches!(late, Err(Error::Changed)), "{late:?}");
    live.propose(&by, content("d"), None).await.expect("whatever it is");
}

#[tokio::test]
async fn a_deleted_document_is_gone_for_everybody_and_its_name_begins_another_epoch() {
    let rooms = fixture();
    let (by, notes) = (Principal::system(), name("notes"));
    rooms.create_document(&by, &notes, content("old"), false).await.expect("created");
    let live = rooms.document(&notes).await.expect("open");
    let authority = Authority { principal: by.clone(), role: Role::Editor };
    let (outbox, mut inbox) = wire::outbox();
    let lane = outbox.lane(Bytes::new());
    let _connection = live.connect(authority.clone(), true, Dialect::YWebsocket, lane).await.expect("connect");
    rooms.delete_document(&by, &notes).await.expect("deleted");
    let reason = loop {
        if let Err(reason) = inbox.next().await {
            break reason;
        }
    };
    assert_eq!(reason, CloseReason::Gone);

    let twice = rooms.delete_document(&by, &notes).await;
    assert!(matches!(twice, Err(Error::Deleted)), "{twice:?}");
    let read = rooms.written_document(&notes).await;
    assert!(matches!(read, Err(Error::Deleted)), "{read:?}");
    let again = rooms.create_document(&by, &notes, content("new"), false).await;
    assert!(matches!(again, Err(Error::Deleted)), "{again:?}");
    // Whoever connects finds it gone.
    let late = rooms.document(&notes).await.expect("a handle");
    let (outbox, mut inbox) = wire::outbox();
    let lane = outbox.lane(Bytes::new());
    if let Ok(_connection) = late.connect(authority, true, Dialect::YWebsocket, lane).await {
        assert_eq!(inbox.next().await, Err(CloseReason::Gone));
    }

    assert!(rooms.create_document(&by, &notes, content("new"), true).await.expect("another epoch"));
    let (about, live) = rooms.written_document(&notes).await.expect("open");
    assert_eq!((about.epoch, about.begins, about.seq), (2, 1, 2));
    assert_eq!(live.text().await.expect("text"), "new");
    let old = rooms.history().text(&notes, 0, ROOT).await;
    assert!(matches!(old, Err(Error::NoSuchVersion { oldest: 1, newest: 2, .. })), "{old:?}");
    assert_eq!(rooms.history().text(&notes, 1, ROOT).await.expect("before anything"), "");
}

#[tokio::test]
async fn a_rooms_documents_come_and_go_with_its_nodes() {
    let rooms = fixture();
    let by = Principal::system();
    let new = NewRoom {
        title: "T".to_owned(),
        template: "python".to_owned(),
        files: vec![("a".into(), "a".into())],
        ..NewRoom::default()
    };
    let room = rooms.create(&by, new).await.expect("create");
    let tree = room.tree();
    let file = DocumentName::file(room.id().as_str(), tree.at_path("a").expect("file").id.as_str());
    for document in [file, DocumentName::tree(room.id().as_str())] {
        let deleted = rooms.delete_document(&by, &document).await;
        assert!(matches!(deleted, Err(Error::OfARoom)), "{deleted:?}");
        let created = rooms.create_document(&by, &document, content("x"), false).await;
        assert!(matches!(created, Err(Error::OfARoom)), "{created:?}");
    }
}

/// Hears of deletions.
#[derive(Default)]
struct Deletions {
    interest: Interest,
    heard: Mutex<Vec<DocumentName>>,
}

#[async_trait]
impl Listener for Deletions {
    fn interest(&self) -> &Interest {
        &self.interest
    }

    fn wants(&self, _: &DocumentName) -> bool {
        false
    }

    fn changed(&self, _: &DocumentName, _: u64, _: &[Principal]) {}

    async fn deleted(&self, documents: &[DocumentName], _: &Principal) {
        self.heard.lock().expect("no panics").extend_from_slice(documents);
    }

    async fn room_created(&self, _: &RoomRecord, _: &Principal) {}
}

#[tokio::test(start_paused = true)]
async fn what_is_being_saved_when_a_document_is_deleted_stays_in_its_epoch() {
    for head_start in 0..40 {
        let rooms = Rooms::new(
            Arc::new(FaultStore::slow(Arc::new(MemoryStore::default()), Duration::from_millis(20))),
            Tasks::new(),
        );
        let (by, notes) = (Principal::system(), name("notes"));
        rooms.create_document(&by, &notes, content("old"), false).await.expect("created");
        let live = rooms.document(&notes).await.expect("open");
        let write = async {
            // As long as anybody takes it.
            while live.propose(&by, content("old"), None).await.is_ok() {}
        };
        let delete = async {
            tokio::time::sleep(Duration::from_millis(head_start)).await;
            rooms.delete_document(&by, &notes).await.expect("deleted");
        };
        let again = async {
            while !rooms.create_document(&by, &notes, content("new"), true).await.expect("created or left alone") {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let all = async { tokio::join!(write, delete, again) };
        tokio::time::timeout(Duration::from_secs(60), Box::pin(all)).await.expect("it ends");
        let (about, live) = rooms.written_document(&notes).await.expect("open");
        assert_eq!((about.epoch, about.seq), (2, about.begins + 1), "{head_start}");
        assert_eq!(live.text().await.expect("text"), "new", "{head_start}");
    }
}

#[tokio::test]
async fn what_cannot_begin_a_document_leaves_a_deleted_one_deleted() {
    let config = crate::Config { max_document_bytes: 1000, ..crate::Config::default() };
    let rooms = Rooms::with_config(Arc::new(MemoryStore::default()), Tasks::new(), &config);
    let (by, notes) = (Principal::system(), name("notes"));
    rooms.create_document(&by, &notes, content("old"), false).await.expect("created");
    rooms.delete_document(&by, &notes).await.expect("deleted");
    let mut replica = Replica::new();
    replica.set_text(ROOT, "x");
    let dangling: Bytes = replica.set_text(ROOT, "xy").expect("changed").into();
    let large = content(&"x".repeat(2000));
    for update in [Bytes::from_static(&[9, 9]), Bytes::from_static(&[0, 0]), dangling, large] {
        let result = rooms.create_document(&by, &notes, update, true).await;
        assert!(matches!(result, Err(Error::InvalidUpdate(_) | Error::TooLarge)), "{result:?}");
        let read = rooms.written_document(&notes).await;
        assert!(matches!(read, Err(Error::Deleted)), "{read:?}");
    }
    assert!(rooms.create_document(&by, &notes, content("new"), true).await.expect("created"));
}

#[tokio::test(start_paused = true)]
async fn a_deletion_is_done_to_its_end_whoever_has_gone() {
    let store = FaultStore::slow(Arc::new(MemoryStore::default()), Duration::from_millis(20));
    let rooms = Rooms::new(Arc::new(store), Tasks::new());
    let deletions = Arc::new(Deletions::default());
    rooms.listen(deletions.clone());
    let (by, notes) = (Principal::system(), name("notes"));
    rooms.create_document(&by, &notes, content("old"), false).await.expect("created");
    let live = rooms.document(&notes).await.expect("open");
    let (outbox, mut inbox) = wire::outbox();
    let authority = Authority { principal: by.clone(), role: Role::Editor };
    let lane = outbox.lane(Bytes::new());
    let _connection = live.connect(authority, true, Dialect::YWebsocket, lane).await.expect("connect");
    let writing = live.propose(&by, content("more"), None);
    let short = Duration::from_millis(5);
    assert!(tokio::time::timeout(short, writing).await.is_err());
    assert!(tokio::time::timeout(short, rooms.delete_document(&by, &notes)).await.is_err());
    while inbox.next().await.is_ok() {}
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(*deletions.heard.lock().expect("no panics"), [notes]);
}

#[tokio::test]
async fn a_document_that_cannot_be_read_can_be_deleted() {
    let store = Arc::new(MemoryStore::default());
    let rooms = Rooms::new(store.clone(), Tasks::new());
    let (by, notes) = (Principal::system(), name("notes"));
    let record = crate::ports::Record { seq: 1, by: by.id.clone(), at: 1, update: Bytes::from_static(&[9, 9]) };
    crate::ports::Store::append(&*store, &notes, vec![record]).await.expect("stored");
    let text = rooms.document(&notes).await.expect("a handle").text().await;
    assert!(matches!(text, Err(Error::Storage(_))), "{text:?}");
    rooms.delete_document(&by, &notes).await.expect("deleted");
    assert!(rooms.create_document(&by, &notes, content("new"), true).await.expect("created"));
}

#[tokio::test(start_paused = true)]
async fn large_documents_are_held_once_in_each_state_and_no_more_than_there_is_room_for() {
    let rooms = fixture();
    let (by, notes) = (Principal::system(), name("notes"));
    let large = content(&"x".repeat(copies::MOST / 10 * 6));
    rooms.create_document(&by, &notes, large, false).await.expect("created");
    let live = rooms.document(&notes).await.expect("open");
    let (first, second) = (live.present().await.expect("read"), live.present().await.expect("read"));
    assert_eq!(first.state.as_ptr(), second.state.as_ptr(), "they share it");
    live.propose(&by, content("y"), None).await.expect("written");
    let began = tokio::time::Instant::now();
    let refused = live.present().await;
    assert!(matches!(refused, Err(Error::Busy)), "{:?}", refused.map(|present| present.seq));
    assert_eq!(began.elapsed(), copies::PATIENCE);
    assert_eq!(live.position().await.expect("takes no room").seq, 2);
    drop(first);
    let reads_on = async {
        tokio::time::sleep(copies::PATIENCE / 2).await;
        drop(second);
    };
    let (third, ()) = tokio::join!(live.present(), reads_on);
    let third = third.expect("there is room now");
    // The past counts with it.
    let refused = rooms.history().state(&notes, 1).await;
    assert!(matches!(refused, Err(Error::Busy)), "{:?}", refused.map(|state| state.len()));
    drop(third);
    rooms.history().state(&notes, 1).await.expect("there is room now");
}

#[test]
fn who_reads_is_given_what_newcomers_are_sent_as_long_as_that_is_all() {
    use crate::document::{Access, Document, Input};
    use crate::ports::StoredDocument;
    let state = content("a");
    let stored = StoredDocument { snapshot: Some((1, state.clone())), seq: 1, ..StoredDocument::default() };
    let mut document = Document::load(Access::Shared, &stored).expect("well-formed");
    assert_eq!(document.state_of_newcomers(), Some(state));
    let by = Principal::system();
    let now = std::time::Instant::now();
    document.handle(now, Input::Proposed { by, update: content("b"), ticket: 1 }, &mut Vec::new());
    document.end_turn(now, &mut Vec::new());
    assert_eq!(document.state_of_newcomers(), None);
}

#[tokio::test(start_paused = true)]
async fn those_who_read_while_the_disk_is_full_have_the_log_read_once() {
    // Whoever comes while it is being read, shares it.
    let store = Arc::new(FaultStore::slow(Arc::new(MemoryStore::default()), Duration::from_millis(20)));
    let rooms = Rooms::new(store.clone(), Tasks::new());
    let (by, notes) = (Principal::system(), name("notes"));
    rooms.create_document(&by, &notes, content(&"x".repeat(copies::SMALL)), false).await.expect("created");
    let live = rooms.document(&notes).await.expect("open");
    store.set_full(true);
    let mut lost = std::pin::pin!(live.apply_own(&by, content("not saved").to_vec()));
    let early = tokio::time::timeout(Duration::from_secs(1), &mut lost).await;
    assert!(early.is_err(), "{early:?}");
    let (a, position, b) = tokio::join!(live.present(), live.position(), live.present());
    let (a, b) = (a.expect("read"), b.expect("read"));
    assert_eq!((a.seq, position.expect("read").seq), (1, 1));
    assert_eq!(a.state.as_ptr(), b.state.as_ptr(), "they share it");
    store.set_full(false);
    lost.await.expect("saved at last");
    assert_eq!(live.present().await.expect("read").seq, 2, "it is the document again");
}
