//! What every store must do about the past of documents.

use buildspaces_crdt::DocumentName;
use buildspaces_kernel::ids::RoomId;
use bytes::Bytes;

use super::{by, name, record};
use crate::ports::{About, Deletion, LogRecord, MAX_SEQ, NamedVersion, Range, RoomRecord, Share, Store, TreeChange};
use buildspaces_policy::tenancy::Tenancy;
use buildspaces_policy::{Principal, PrincipalKind};

pub(super) async fn run(store: &dyn Store) {
    a_log_is_read_back_with_its_authors(store).await;
    a_named_version_keeps_its_state(store).await;
    the_newest_state_that_is_old_enough_is_found(store).await;
    merged_records_stand_for_all_of_theirs(store).await;
    records_are_taken_from_elsewhere(store).await;
    a_deleted_document_stays_deleted_until_it_begins_again(store).await;
    documents_are_listed_by_name(store).await;
    what_belongs_to_no_room_is_found(store).await;
    principals_are_remembered_with_their_kind(store).await;
}

async fn a_log_is_read_back_with_its_authors(store: &dyn Store) {
    let document = name("past/log");
    assert_eq!(store.about(&document).await.expect("about"), None);
    let records: Vec<_> = (1..=200).map(|seq| record(seq, b"update")).collect();
    store.append(&document, records).await.expect("append");
    let about = store.about(&document).await.expect("about").expect("there");
    let expected = About {
        document: document.clone(),
        epoch: 1,
        begins: 0,
        seq: 200,
        changed_at: Some(1_700_000_000_000),
        deleted: None,
    };
    assert_eq!(about, expected);
    let mut seen: Vec<LogRecord> = Vec::new();
    loop {
        let page = store.records(&document, seen.last().map_or(0, |record| record.seq)).await.expect("records");
        if page.is_empty() {
            break;
        }
        seen.extend(page);
    }
    assert_eq!(seen.len(), 200);
    assert!(seen.iter().zip(1..).all(|(record, seq)| (record.seq, record.first) == (seq, seq)));
    assert_eq!((&seen[7].by, &seen[7].update, seen[7].shares.len()), (&by("ada"), &Bytes::from_static(b"update"), 0));
    let entries = store.entries(&document, 3, 2).await.expect("entries");
    let entries: Vec<_> = entries.into_iter().map(|entry| (entry.seq, entry.first, entry.bytes)).collect();
    assert_eq!(entries, [(4, 4, 6), (5, 5, 6)]);
}

async fn a_named_version_keeps_its_state(store: &dyn Store) {
    let document = name("past/named");
    store.append(&document, vec![record(1, b"a"), record(2, b"b")]).await.expect("append");
    let version = |seq, name: &str| NamedVersion { seq, name: name.to_owned(), by: by("ada"), at: 5 };
    let state = |bytes: &'static [u8]| Some(Bytes::from_static(bytes));
    assert_eq!(store.last_named_state(&document).await.expect("answers"), None);
    for (seq, name, state) in [(2, "two", state(b"state")), (1, "one", None), (2, "two, again", None)] {
        assert!(store.name_version(&document, &version(seq, name), state).await.expect("named"), "{name}");
    }
    assert!(!store.name_version(&document, &version(3, "three"), None).await.expect("answers"), "there is no 3");
    assert_eq!(
        store.last_named_state(&document).await.expect("answers"),
        Some((2, 5)),
        "another name leaves the state"
    );
    assert_eq!(store.state_before(&document, 1).await.expect("answers"), None);
    let versions = store.named_versions(&document).await.expect("versions");
    assert_eq!(versions, [version(1, "one"), version(2, "two, again")]);
    assert_eq!(store.named_versions(&name("past/nothing")).await.expect("versions"), []);
}

async fn the_newest_state_that_is_old_enough_is_found(store: &dyn Store) {
    let document = name("past/states");
    store.append(&document, (1..=9).map(|seq| record(seq, b"x")).collect()).await.expect("append");
    assert_eq!(store.state_before(&document, 9).await.expect("state"), None);
    let version = NamedVersion { seq: 3, name: "three".to_owned(), by: by("ada"), at: 5 };
    store.name_version(&document, &version, Some(Bytes::from_static(b"three"))).await.expect("named");
    store.save_snapshot(&document, 7, b"seven".to_vec()).await.expect("snapshot");
    for (seq, expected) in
        [(2, None), (3, Some((3, "three"))), (6, Some((3, "three"))), (7, Some((7, "seven"))), (9, Some((7, "seven")))]
    {
        let found = store.state_before(&document, seq).await.expect("state");
        assert_eq!(found, expected.map(|(at, state)| (at, Bytes::from_static(state.as_bytes()))), "before {seq}");
    }
}

async fn merged_records_stand_for_all_of_theirs(store: &dyn Store) {
    let document = name("past/merged");
    store.append(&document, (1..=6).map(|seq| record(seq, b"x")).collect()).await.expect("append");
    let share = |who: &str, seq| Share {
        by: by(who),
        at: 7,
        seq,
        inserted: vec![Range(1, 2, 3)],
        deleted: vec![Range(9_007_199_254_740_991, 5, 6)],
    };
    let merged = |first, seq| LogRecord {
        seq,
        first,
        by: by("bo"),
        at: 7,
        update: Bytes::from_static(b"merged"),
        shares: vec![share("ada", first), share("bo", seq)],
    };
    assert!(!store.merge_records(&document, &merged(4, 7)).await.expect("refused"), "7 is not there");
    assert!(store.merge_records(&document, &merged(2, 4)).await.expect("merged"));
    assert!(!store.merge_records(&document, &merged(3, 5)).await.expect("refused"), "3 is within a record");
    let seen = store.records(&document, 0).await.expect("records");
    let numbers: Vec<_> = seen.iter().map(|record| (record.first, record.seq)).collect();
    assert_eq!(numbers, [(1, 1), (2, 4), (5, 5), (6, 6)]);
    assert_eq!(seen[1], merged(2, 4));
    let version = |seq| NamedVersion { seq, name: "x".to_owned(), by: by("ada"), at: 5 };
    assert!(!store.name_version(&document, &version(3), None).await.expect("answers"), "3 is within a record");
    assert!(store.name_version(&document, &version(5), None).await.expect("answers"));
    assert!(!store.merge_records(&document, &merged(1, 6)).await.expect("refused"), "5 is a version");
    assert!(store.merge_records(&document, &merged(1, 5)).await.expect("merged"), "and ends a record");
    assert_eq!(store.records(&document, 0).await.expect("records").len(), 2);
    let stored = store.load(&document).await.expect("load");
    assert_eq!((stored.seq, stored.updates.len()), (6, 2));
    store.append(&document, vec![record(7, b"y")]).await.expect("the log goes on");
    let entries = store.entries(&document, 0, 10).await.expect("entries");
    let numbers: Vec<_> = entries.iter().map(|entry| (entry.first, entry.seq)).collect();
    assert_eq!(numbers, [(1, 5), (6, 6), (7, 7)]);
    assert!(!store.merge_records(&name("past/nothing"), &merged(1, 2)).await.expect("refused"));
}

async fn records_are_taken_from_elsewhere(store: &dyn Store) {
    let document = name("past/imported");
    let record = |first, seq| LogRecord {
        seq,
        first,
        by: by("ada"),
        at: 7,
        update: Bytes::from_static(b"u"),
        shares: if first == seq {
            Vec::new()
        } else {
            vec![Share { by: by("bo"), at: 7, seq, inserted: vec![], deleted: vec![] }]
        },
    };
    store.append_records(&document, vec![record(1, 3), record(4, 4)]).await.expect("append");
    assert!(store.append_records(&document, vec![record(6, 6)]).await.is_err(), "a gap");
    assert!(store.append_records(&document, vec![record(5, 6), record(6, 7)]).await.is_err(), "a repeat");
    assert!(store.append_records(&document, vec![record(5, MAX_SEQ + 1)]).await.is_err(), "a number nobody counts to");
    assert_eq!(store.records(&document, 0).await.expect("records"), [record(1, 3), record(4, 4)]);
    store.discard(&document).await.expect("discarded");
    assert_eq!(store.about(&document).await.expect("about"), None);
    assert_eq!(store.list("past/imported", "", false, 5).await.expect("list"), []);
    store.append_records(&document, vec![record(1, MAX_SEQ)]).await.expect("from the beginning");
    let next = super::record(MAX_SEQ + 1, b"u");
    assert!(store.append(&document, vec![next]).await.is_err(), "there is no number for it");
}

async fn a_deleted_document_stays_deleted_until_it_begins_again(store: &dyn Store) {
    let document = name("past/deleted");
    let deletion = |at| Deletion { at, by: by("ada") };
    assert!(!store.bury(&document, &deletion(1)).await.expect("nothing to delete"));
    assert!(!store.begin_again(&document).await.expect("nothing was deleted"));
    store.append(&document, vec![record(1, b"a"), record(2, b"b")]).await.expect("append");
    let version = NamedVersion { seq: 1, name: "one".to_owned(), by: by("ada"), at: 5 };
    store.name_version(&document, &version, Some(Bytes::from_static(b"state"))).await.expect("named");
    assert!(!store.begin_again(&document).await.expect("not deleted"));
    assert!(store.bury(&document, &deletion(2)).await.expect("deleted"));
    assert!(!store.bury(&document, &deletion(3)).await.expect("deleted before"));
    assert!(store.load(&document).await.expect("load").is_deleted);
    let about = store.about(&document).await.expect("about").expect("there");
    assert_eq!((about.deleted, about.seq), (Some(deletion(2)), 2));

    assert!(store.begin_again(&document).await.expect("again"));
    let stored = store.load(&document).await.expect("load");
    assert_eq!((stored.is_deleted, stored.seq, stored.updates.len()), (false, 2, 0));
    let about = store.about(&document).await.expect("about").expect("there");
    assert_eq!((about.epoch, about.begins, about.seq, about.changed_at), (2, 2, 2, None));
    assert_eq!(store.records(&document, 0).await.expect("records"), [], "nothing of the old one shows");
    assert_eq!(store.named_versions(&document).await.expect("versions"), []);
    assert_eq!(store.state_before(&document, 1).await.expect("state"), None);
    store.append(&document, vec![record(3, b"c")]).await.expect("the numbers go on");
    assert_eq!(store.records(&document, 0).await.expect("records").len(), 1);
}

async fn documents_are_listed_by_name(store: &dyn Store) {
    let names = ["list/b", "list/a", "list/room1/x", "listroom/file:f1", "list/c", "list/ä"];
    for text in names {
        store.append(&name(text), vec![record(1, b"x")]).await.expect("append");
    }
    store.bury(&name("list/c"), &Deletion { at: 1, by: by("ada") }).await.expect("deleted");
    let list = async |prefix: &str, after: &str, plain, limit| {
        let found = store.list(prefix, after, plain, limit).await.expect("list");
        found.into_iter().map(|about| about.document.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(list("list/", "", true, 10).await, ["list/a", "list/b", "list/room1/x", "list/ä"]);
    assert_eq!(list("list/", "list/a", true, 2).await, ["list/b", "list/room1/x"]);
    assert_eq!(list("listroom/", "", false, 10).await, ["listroom/file:f1"]);
    assert_eq!(list("listroom/", "", true, 10).await, [""; 0]);
    assert_eq!(list("list%", "", false, 10).await, [""; 0]);
    // A page of plain documents is full although rooms' documents lie in between.
    for text in
        ["lists/1", "lists/file:a", "lists/2", "lists/runs:main", "lists/tree:main", "lists/3", "lists/file:a/b"]
    {
        store.append(&name(text), vec![record(1, b"x")]).await.expect("append");
    }
    assert_eq!(list("lists/", "", true, 3).await, ["lists/1", "lists/2", "lists/3"]);
    assert_eq!(list("lists/", "lists/3", true, 3).await, ["lists/file:a/b"]);
    let whole = list("lists/", "", false, 10).await;
    assert_eq!(whole.len(), 7);
    assert_eq!(list("list\u{10ffff}", "", false, 10).await, [""; 0]);
}

async fn what_belongs_to_no_room_is_found(store: &dyn Store) {
    let room = RoomRecord {
        id: RoomId::random(),
        title: "T".to_owned(),
        template: "python".to_owned(),
        created_at: 1,
        created_by: by("ada"),
        tenancy: Tenancy::default(),
    };
    store.create_room(&room, TreeChange::default()).await.expect("created");
    let (known, gone) = (room.id.as_str(), "orphans");
    let names = [
        format!("{known}/file:a"),
        format!("{gone}/file:b"),
        format!("{gone}/tree:main"),
        format!("{gone}/runs:main"),
        format!("{gone}/file:a/b"),
        gone.to_owned(),
    ];
    for text in &names {
        store.append(&name(text), vec![record(1, b"x")]).await.expect("append");
    }
    let found = store.orphans().await.expect("answers");
    let found: Vec<_> = found.iter().filter(|name| name.as_str().starts_with(gone)).map(DocumentName::as_str).collect();
    assert_eq!(found, ["orphans/file:b", "orphans/tree:main"]);
    store.discard(&name(&names[1])).await.expect("discarded");
    let found = store.orphans().await.expect("answers");
    assert!(!found.contains(&name(&names[1])) && !found.contains(&name(&names[0])), "{found:?}");
}

async fn principals_are_remembered_with_their_kind(store: &dyn Store) {
    let principal = |id: &str, kind, name: &str| Principal { id: by(id), kind, name: name.into() };
    let robot = principal("robot", PrincipalKind::System, "Robot");
    store.remember(&principal("robot", PrincipalKind::Person, "R"), 1).await.expect("remembered");
    store.remember(&robot, 2).await.expect("remembered");
    let found = store.principals(&[by("robot"), by("stranger")]).await.expect("principals");
    assert_eq!(found, [robot]);
    assert_eq!(store.principals(&[]).await.expect("principals"), []);
}
