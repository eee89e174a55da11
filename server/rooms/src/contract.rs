//! What every [`Store`] must do. Each implementation runs this suite on an empty store.

mod blobs;
mod history;

use buildspaces_crdt::DocumentName;
use buildspaces_kernel::ids::{NodeId, OrganisationId, PrincipalId, RoomId, RoomKind};
use buildspaces_policy::revocation::{Revocation, Subject, TokenId};
use buildspaces_policy::tenancy::Tenancy;
use buildspaces_policy::{Principal, PrincipalKind};
use bytes::Bytes;

use crate::ports::{KindChange, Record, RoomRecord, Store, TreeChange};
use crate::tree::{Node, NodeKind};

/// Runs the whole suite. Panics with the broken rule.
pub async fn run(store: &dyn Store) {
    a_log_is_read_back_in_order(store).await;
    a_log_has_no_gaps_and_no_repeats(store).await;
    a_clock_that_jumps_changes_no_order(store).await;
    a_snapshot_stands_for_what_came_before(store).await;
    a_room_appears_with_its_tree_and_documents(store).await;
    a_session_leads_to_its_person(store).await;
    what_is_revoked_stays_so_until_it_is_over(store).await;
    blobs::run(store).await;
    history::run(store).await;
}

fn name(text: &str) -> DocumentName {
    DocumentName::parse(text).expect("valid")
}

fn by(text: &str) -> PrincipalId {
    PrincipalId::parse(text).expect("valid")
}

fn record(seq: u64, update: &'static [u8]) -> Record {
    Record { seq, by: by("ada"), at: 1_700_000_000_000, update: Bytes::from_static(update) }
}

async fn a_log_is_read_back_in_order(store: &dyn Store) {
    let document = name("log");
    assert_eq!(store.load(&document).await.expect("load"), Default::default());
    store.append(&document, vec![record(1, b"a"), record(2, b"b")]).await.expect("append");
    store.append(&document, vec![record(3, b"c")]).await.expect("append");
    let stored = store.load(&document).await.expect("load");
    assert_eq!(stored.seq, 3);
    assert_eq!(stored.updates, ["a", "b", "c"]);
}

async fn a_log_has_no_gaps_and_no_repeats(store: &dyn Store) {
    let document = name("gaps");
    store.append(&document, vec![record(1, b"a")]).await.expect("append");
    assert!(store.append(&document, vec![record(1, b"again")]).await.is_err(), "a repeated number");
    assert!(store.append(&document, vec![record(2, b"b"), record(2, b"b")]).await.is_err(), "a repeat within");
    assert!(store.append(&document, vec![record(3, b"c")]).await.is_err(), "a gap");
    assert_eq!(store.load(&document).await.expect("load").updates, ["a"]);
}

async fn a_clock_that_jumps_changes_no_order(store: &dyn Store) {
    let document = name("clock");
    for (seq, at, update) in [(1, 1_700_000_000_000, b"a"), (2, 5, b"b"), (3, i64::MAX, b"c"), (4, 0, b"d")] {
        store.append(&document, vec![Record { at, ..record(seq, update) }]).await.expect("append");
    }
    assert_eq!(store.load(&document).await.expect("load").updates, ["a", "b", "c", "d"]);
}

async fn a_snapshot_stands_for_what_came_before(store: &dyn Store) {
    let document = name("snapshot");
    store.append(&document, vec![record(1, b"a"), record(2, b"b"), record(3, b"c")]).await.expect("append");
    store.save_snapshot(&document, 2, b"ab".to_vec()).await.expect("snapshot");
    let stored = store.load(&document).await.expect("load");
    assert_eq!(stored.snapshot, Some((2, Bytes::from_static(b"ab"))));
    assert_eq!(stored.seq, 3);
    assert_eq!(stored.updates, ["c"]);
    store.save_snapshot(&document, 1, b"a".to_vec()).await.expect("snapshot");
    assert_eq!(store.load(&document).await.expect("load").snapshot, stored.snapshot, "an older one changes nothing");
}

async fn a_room_becomes_one_of_another_kind(store: &dyn Store, room: &RoomId) {
    let before = store.room(room).await.expect("room").expect("there");
    assert_eq!(store.kind_changes(room).await.expect("changes"), []);
    let kind = |name: &str| RoomKind::parse(name).expect("valid");
    let first = KindChange { at: 7, by: by("admin"), from: kind("workshop"), to: kind("large") };
    let second = KindChange { at: 7, by: by("bo"), from: kind("large"), to: kind("default") };
    for change in [&first, &second] {
        store.change_kind(room, change).await.expect("changed");
        let tenancy = Tenancy { kind: change.to.clone(), ..before.tenancy.clone() };
        assert_eq!(store.room(room).await.expect("room"), Some(RoomRecord { tenancy, ..before.clone() }));
    }
    assert_eq!(store.kind_changes(room).await.expect("changes"), [second, first]);
    assert_eq!(store.kind_changes(&RoomId::random()).await.expect("changes"), []);
}

async fn a_room_appears_with_its_tree_and_documents(store: &dyn Store) {
    let id = RoomId::random();
    let acme = OrganisationId::parse("acme").expect("valid");
    let kind = RoomKind::parse("workshop").expect("valid");
    let room = RoomRecord {
        id: id.clone(),
        title: "Ä room".to_owned(),
        template: "python".to_owned(),
        created_at: 5,
        created_by: by("ada"),
        tenancy: Tenancy { kind, organisation: Some(acme.clone()) },
    };
    let node = |name: &str, parent: Option<&Node>, kind| Node {
        id: NodeId::random(),
        parent: parent.map(|node| node.id.clone()),
        name: name.to_owned(),
        kind,
        size: if kind == NodeKind::Large { 100_000_000 } else { 0 },
        rev: 1,
        blob: None,
        unkept: kind == NodeKind::Large,
    };
    let folder = node("src", None, NodeKind::Folder);
    let file = node("a.py", Some(&folder), NodeKind::Text);
    let large = node("big", Some(&folder), NodeKind::Large);
    let document = DocumentName::file(id.as_str(), file.id.as_str());
    let first = TreeChange {
        changed: vec![folder.clone(), file.clone(), large.clone()],
        deleted: Vec::new(),
        documents: vec![(document.clone(), Bytes::from_static(b"text"))],
    };
    assert_eq!(store.room(&id).await.expect("room"), None);
    store.create_room(&room, first.clone()).await.expect("create");
    assert_eq!(store.room(&id).await.expect("room"), Some(room));
    let nobodys = RoomRecord {
        id: RoomId::random(),
        title: "B".to_owned(),
        template: "python".to_owned(),
        created_at: 5,
        created_by: by("ada"),
        tenancy: Tenancy::default(),
    };
    store.create_room(&nobodys, TreeChange::default()).await.expect("create");
    assert_eq!(store.room(&nobodys.id).await.expect("room"), Some(nobodys.clone()));
    assert_eq!(store.rooms_of(&acme).await.expect("rooms"), std::slice::from_ref(&id));
    a_room_becomes_one_of_another_kind(store, &id).await;
    assert_eq!(store.room(&nobodys.id).await.expect("room").map(|room| room.tenancy), Some(Tenancy::default()));
    assert_eq!(store.rooms_of(&OrganisationId::parse("globex").expect("valid")).await.expect("rooms"), []);
    assert_eq!(store.load(&document).await.expect("load").updates, ["text"]);
    let mut expected = vec![folder.clone(), file.clone(), large.clone()];
    expected.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(sorted(store.nodes(&id).await.expect("nodes")), expected);

    // A later change renames one and deletes another; a document that exists is not begun again.
    let renamed = Node { name: "b.py".to_owned(), rev: 2, ..file.clone() };
    let change =
        TreeChange { changed: vec![renamed.clone()], deleted: vec![large.id.clone()], documents: first.documents };
    store.change_tree(&id, &by("bo"), 6, change).await.expect("change");
    let mut expected = vec![folder, renamed];
    expected.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(sorted(store.nodes(&id).await.expect("nodes")), expected);
    assert_eq!(store.load(&document).await.expect("load").seq, 1);
}

fn sorted(mut nodes: Vec<Node>) -> Vec<Node> {
    nodes.sort_by(|a, b| a.id.cmp(&b.id));
    nodes
}

async fn a_session_leads_to_its_person(store: &dyn Store) {
    let person = Principal { id: PrincipalId::random(), kind: PrincipalKind::Person, name: "Ada".into() };
    store.create_session([7; 32], &person, 1).await.expect("create");
    assert_eq!(store.session([7; 32]).await.expect("session"), Some(person.clone()));
    assert_eq!(store.session([8; 32]).await.expect("session"), None);
    store.rename_person(&person.id, "Ada L.").await.expect("rename");
    let renamed = store.session([7; 32]).await.expect("session").expect("still there");
    assert_eq!(renamed.name.as_ref(), "Ada L.");
}

async fn what_is_revoked_stays_so_until_it_is_over(store: &dyn Store) {
    let revocation = |subject: Subject, room: Option<&str>, expires| Revocation {
        subject,
        room: room.map(str::to_owned),
        reason: "l\u{e4}ßt nach".to_owned(),
        by: by("ada"),
        at: 5,
        expires,
    };
    let user = || Subject::User(by("eve"));
    let all = [
        revocation(user(), None, None),
        revocation(user(), Some("r1"), Some(100)),
        revocation(Subject::Token(TokenId([0xfe; 16])), None, Some(200)),
    ];
    for one in &all {
        store.revoke(one).await.expect("revoke");
    }
    let sorted = async |now| {
        let mut found = store.revocations(now).await.expect("read");
        found.sort_by_key(|revocation| revocation.expires);
        found
    };
    assert_eq!(sorted(99).await, all);
    assert_eq!(sorted(100).await, [all[0].clone(), all[2].clone()], "what is over is not told any more");
    let again = Revocation { reason: "again".to_owned(), expires: Some(300), ..all[2].clone() };
    store.revoke(&again).await.expect("revoke");
    assert_eq!(sorted(150).await, [all[0].clone(), again], "the newest word about a subject counts");
    assert_eq!(sorted(i64::MAX).await, [all[0].clone()]);
}
