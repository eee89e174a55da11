use std::sync::Arc;

use buildspaces_crdt::text::ROOT;
use buildspaces_crdt::{DocumentName, Replica};
use buildspaces_kernel::ids::{PrincipalId, RoomId};
use buildspaces_kernel::tasks::Tasks;
use buildspaces_policy::tenancy::Tenancy;
use buildspaces_policy::{Principal, PrincipalKind};
use bytes::Bytes;
use tokio::sync::mpsc;

use super::format::{BLOCK, header, padding, put_record, take_record};
use super::*;
use crate::history::retention::{Grain, Policy};
use crate::memory::MemoryStore;
use crate::ports::{HistoryStore, LogRecord, MAX_PIECE, Range, Share};
use crate::tree::{NodeKind, TreeCommand};
use crate::{BlobHash, Config, NewRoom, Rooms};

fn server() -> Rooms {
    Rooms::new(Arc::new(MemoryStore::default()), Tasks::new())
}

fn person(id: &str, name: &str) -> Principal {
    Principal { id: PrincipalId::parse(id).expect("valid"), kind: PrincipalKind::Person, name: name.into() }
}

async fn exported(rooms: &Rooms, room: &RoomId) -> Vec<u8> {
    let (out, mut pieces) = mpsc::channel::<Result<Bytes, Error>>(1);
    let mut bytes = Vec::new();
    let receive = async {
        while let Some(piece) = pieces.recv().await {
            bytes.extend_from_slice(&piece.expect("exported"));
        }
    };
    tokio::join!(export(rooms, room, out), receive);
    bytes
}

async fn imported(rooms: &Rooms, bytes: &[u8], piece: usize) -> Result<RoomId, Error> {
    let mut import = Import::begin(rooms, Tenancy::default()).expect("nobody else imports");
    let result = async {
        for piece in bytes.chunks(piece) {
            import.push(piece).await?;
        }
        import.finish().await
    }
    .await;
    if result.is_err() {
        import.abandon().await;
    }
    result
}

/// A room that two people worked in: files, a folder, a named version, merged old updates.
async fn room_with_a_past(rooms: &Rooms) -> (RoomId, DocumentName) {
    let (ada, bo) = (person("ada", "Ada"), person("bo", "Bo"));
    for who in [&ada, &bo] {
        rooms.store().remember(who, 1).await.expect("remembered");
    }
    let files = vec![("src/a.py".to_owned(), "a\n".to_owned()), ("b.txt".to_owned(), "ä😀\n".to_owned())];
    let new = NewRoom { title: "Room with ä".to_owned(), template: "python".to_owned(), files, ..NewRoom::default() };
    let room = rooms.create(&ada, new).await.expect("created");
    let node = room.tree().at_path("src/a.py").expect("file").id.clone();
    let document = DocumentName::file(room.id().as_str(), node.as_str());
    let live = rooms.document(&document).await.expect("open");
    for (who, text) in [(&ada, "a b\n"), (&bo, "a b c\n"), (&ada, "a c\n"), (&bo, "a c d\n")] {
        live.replace_text(who, text.to_owned()).await.expect("written");
    }
    rooms.history().checkpoint(&document, &bo, "before the end").await.expect("named");
    let policy = Policy { keep_days: 0, then: Grain::Day };
    rooms.history().compact(&document, policy, i64::MAX / 2).await.expect("merged");
    live.replace_text(&ada, "the end\n".to_owned()).await.expect("written");
    (room.id().clone(), document)
}

#[tokio::test]
async fn a_room_is_the_same_after_an_export_an_import_and_an_export() {
    let here = server();
    let (room, document) = room_with_a_past(&here).await;
    let archive = exported(&here, &room).await;
    assert_eq!(archive, exported(&here, &room).await, "the same room gives the same bytes");
    for piece in [1, 500, 1 << 20] {
        let there = server();
        assert_eq!(imported(&there, &archive, piece).await.expect("imported"), room);
        assert!(exported(&there, &room).await == archive, "in pieces of {piece}");
        // It is a room like any other.
        let opened = there.room(&room).await.expect("open");
        assert_eq!(opened.record().title, "Room with ä");
        let live = there.document(&document).await.expect("open");
        assert_eq!(live.text().await.expect("text"), "the end\n");
        let versions = there.history().versions(&document, u64::MAX, 100).await.expect("versions");
        assert_eq!(versions.named[0].name, "before the end");
        let names: Vec<_> = versions.authors.iter().map(|author| author.name.to_string()).collect();
        assert_eq!(names, ["Ada", "Bo"]);
        let (_, own, _) = here.history().blame(&document, None, ROOT).await.expect("blame");
        let (_, blame, _) = there.history().blame(&document, None, ROOT).await.expect("blame");
        assert_eq!(blame, own);
        let again = imported(&there, &archive, 1 << 20).await;
        assert!(matches!(again, Err(Error::RoomExists(_))), "{again:?}");
        assert_eq!(live.text().await.expect("text"), "the end\n", "the room that was there is not harmed");
    }
}

/// What is in an archive, by path.
type Files = Vec<(String, Vec<u8>)>;

/// A room with a file that is no document and has these bytes.
async fn room_with_a_file(rooms: &Rooms, bytes: &[u8]) -> RoomId {
    let ada = person("ada", "Ada");
    let room = rooms.create(&ada, NewRoom { title: "Room".to_owned(), ..NewRoom::default() }).await.expect("created");
    let (kind, size) = (NodeKind::Binary, bytes.len() as u64);
    let create = TreeCommand::Create { parent: None, name: "a.bin".to_owned(), kind, size, text: None };
    let id = room.command(&ada, create).await.expect("made")[0].id.clone();
    let (blobs, hash) = (room.blobs(), BlobHash::of(bytes));
    let draft = blobs.begin_blob().await.expect("begins");
    for (number, piece) in bytes.chunks(MAX_PIECE).enumerate() {
        let at = (number * MAX_PIECE) as u64;
        blobs.append_blob(draft, at, Bytes::copy_from_slice(piece)).await.expect("appends");
    }
    blobs.finish_blob(draft, &hash).await.expect("finishes");
    room.command(&ada, TreeCommand::Keep { id, kept: Some((hash, size)) }).await.expect("kept");
    room.id().clone()
}

#[tokio::test]
async fn files_that_are_no_documents_go_and_come() {
    let here = server();
    let bytes: Vec<u8> = (0..4_500_000_u32).map(|number| (number % 251) as u8).collect();
    let room = room_with_a_file(&here, &bytes).await;
    let archive = exported(&here, &room).await;
    let parts = files(&archive).into_iter().filter(|(path, _)| path.starts_with("blobs/")).count();
    assert_eq!(parts, 2);
    let there = server();
    imported(&there, &archive, 1 << 20).await.expect("imported");
    assert!(exported(&there, &room).await == archive);
    let opened = there.room(&room).await.expect("open");
    assert_eq!(opened.tree().at_path("a.bin").and_then(|node| node.blob), Some(BlobHash::of(&bytes)));
    assert_eq!(opened.blobs().blob_piece(&BlobHash::of(&bytes), 0).await.expect("reads"), bytes[..MAX_PIECE]);
    let config = Config { max_kept_bytes: bytes.len() as u64 - 1, ..Config::default() };
    let small = Rooms::with_config(Arc::new(MemoryStore::default()), Tasks::new(), &config);
    let refused = imported(&small, &archive, 1 << 20).await.expect_err("it keeps too much");
    assert!(refused.to_string().contains("raise max_kept_mib"), "{refused}");
}

#[tokio::test]
async fn bytes_that_are_others_or_nobodys_are_refused_and_leave_nothing() {
    let here = server();
    let room = room_with_a_file(&here, b"bytes").await;
    let all = files(&exported(&here, &room).await);
    let hash = BlobHash::of(b"bytes");
    let path = format!("blobs/{hash}/1.part");
    let with = |change: &dyn Fn(&mut Files)| {
        let mut all = all.clone();
        change(&mut all);
        packed(&all)
    };
    let at = all.iter().position(|(name, _)| *name == path).expect("it is in it");
    let others = with(&|all| all[at].1 = b"other".to_vec());
    let nobodys = with(&|all| all[at].0 = format!("blobs/{}/1.part", BlobHash::of(b"x")));
    let second = with(&|all| all[at].0 = format!("blobs/{hash}/2.part"));
    let twice = with(&|all| all.insert(at, all[at].clone()));
    let old = packed(&replaced(&all, "room.json", "\"format\": 2", "\"format\": 1"));
    for (what, archive) in
        [("others", others), ("nobody's", nobodys), ("second", second), ("twice", twice), ("old", old)]
    {
        let there = server();
        assert!(matches!(imported(&there, &archive, 500).await, Err(Error::Archive(_))), "{what}");
        assert!(!there.store().has_blob(&hash).await.expect("asks"), "{what}");
    }
    // Without them the file is one without bytes.
    let there = server();
    let none = with(&|all| {
        all.remove(at);
    });
    imported(&there, &none, 500).await.expect("imported");
    let opened = there.room(&room).await.expect("open");
    assert_eq!(opened.tree().at_path("a.bin").map(|node| node.blob), Some(None));
}

#[tokio::test]
async fn who_is_known_does_not_become_somebody_else() {
    let here = server();
    let (room, _) = room_with_a_past(&here).await;
    let archive = exported(&here, &room).await;
    let there = server();
    there.store().remember(&person("ada", "Another Ada"), 1).await.expect("remembered");
    imported(&there, &archive, 4096).await.expect("imported");
    let ids = vec![PrincipalId::parse("ada").expect("valid")];
    assert_eq!(there.history().principals(ids).await.expect("known")[0].name.as_ref(), "Another Ada");
}

#[test]
fn records_are_read_back() {
    let record = LogRecord {
        seq: 9,
        first: 7,
        by: PrincipalId::parse("ada").expect("valid"),
        at: -5,
        update: vec![1, 2, 3].into(),
        shares: vec![Share {
            by: PrincipalId::parse("bo").expect("valid"),
            at: 4,
            seq: 8,
            inserted: vec![Range(1, 2, 3)],
            deleted: vec![],
        }],
    };
    let mut bytes = Vec::new();
    put_record(&mut bytes, &record);
    // Written to disks: it must not change without a new format.
    assert_eq!(
        bytes.escape_ascii().to_string(),
        concat!(
            r"\t\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\xfb\xff\xff\xff\xff\xff\xff\xff",
            r"\x03\x00\x00\x00ada\x03\x00\x00\x00\x01\x02\x03>\x00\x00\x00",
            r#"[{\"by\":\"bo\",\"at\":4,\"seq\":8,\"inserted\":[[1,2,3]],\"deleted\":[]}]"#
        )
    );
    let mut whole = Bytes::from(bytes.clone());
    assert_eq!(take_record(&mut whole), Ok(record));
    assert!(whole.is_empty());
    for len in 0..bytes.len() {
        assert!(take_record(&mut Bytes::copy_from_slice(&bytes[..len])).is_err(), "{len} bytes");
    }
}

/// The files of an archive.
fn files(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    let (mut at, mut files) = (0, Vec::new());
    while archive[at] != 0 {
        let block = archive[at..at + BLOCK].try_into().expect("a block");
        let (path, size) = format::read_header(block).expect("a header");
        at += BLOCK;
        files.push((path, archive[at..at + size as usize].to_vec()));
        at += size as usize + padding(size);
    }
    files
}

/// A file's header, also for a path that no export writes.
fn any_header(path: &str, size: u64) -> [u8; BLOCK] {
    let plain = header("a", size).expect("short");
    let mut changed = tar::Header::from_byte_slice(&plain).clone();
    changed.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    changed.set_cksum();
    *changed.as_bytes()
}

/// An archive whose manifest, if it has one, fits.
fn packed(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    use sha2::{Digest, Sha256};
    let mut all = files.to_vec();
    if let Some(last) = all.iter().position(|(path, _)| path == "manifest.json") {
        let mut manifest: format::Manifest = serde_json::from_slice(&all[last].1).expect("JSON");
        let of = |(path, content): &(String, Vec<u8>)| format::File {
            path: path.clone(),
            size: content.len() as u64,
            sha256: export::hex(&Sha256::digest(content)),
        };
        manifest.files = all.iter().filter(|(path, _)| path != "manifest.json").map(of).collect();
        all[last].1 = serde_json::to_vec_pretty(&manifest).expect("JSON");
    }
    let mut out = Vec::new();
    for (path, content) in &all {
        out.extend_from_slice(&any_header(path, content.len() as u64));
        out.extend_from_slice(content);
        out.extend(vec![0; padding(content.len() as u64)]);
    }
    out.extend_from_slice(&[0; 2 * BLOCK]);
    out
}

fn replaced(files: &[(String, Vec<u8>)], path: &str, from: &str, to: &str) -> Vec<(String, Vec<u8>)> {
    let mut files = files.to_vec();
    let (_, content) = files.iter_mut().find(|(name, _)| name == path).expect("the file");
    let text = String::from_utf8(content.clone()).expect("text");
    assert!(text.contains(from), "{text}");
    *content = text.replacen(from, to, 1).into_bytes();
    files
}

#[tokio::test]
async fn what_an_export_would_not_write_is_refused_and_leaves_nothing() {
    let here = server();
    let (room, _) = room_with_a_past(&here).await;
    let archive = exported(&here, &room).await;
    let all = files(&archive);
    assert!(packed(&all) == archive, "the helper changes nothing by itself");
    let log = all.iter().position(|(path, _)| path.ends_with(".log")).expect("a log");
    let with_log = |change: &dyn Fn(&mut Vec<LogRecord>)| {
        let (mut files, mut records) = (all.clone(), Vec::new());
        let mut content = Bytes::from(files[log].1.clone());
        while !content.is_empty() {
            records.push(take_record(&mut content).expect("a record"));
        }
        change(&mut records);
        files[log].1.clear();
        records.iter().for_each(|record| put_record(&mut files[log].1, record));
        packed(&files)
    };
    let without = |path: &str| packed(&all.iter().filter(|(name, _)| name != path).cloned().collect::<Vec<_>>());
    let mut swapped = all.clone();
    swapped.swap(0, 1);
    let mut renamed = all.clone();
    renamed[log].0 = "documents/1/../../../etc/passwd".to_owned();
    let foreign = RoomId::random();
    let manifest = all.len() - 1;
    let mut more = all.clone();
    more.push(("evil.json".to_owned(), vec![1]));
    let mut flipped = archive.clone();
    let middle = archive.len() / 2;
    flipped[middle] ^= 1;
    let mut huge = header("room.json", max_file(Config::default().max_document_bytes) + 1).expect("short").to_vec();
    huge.extend(vec![0; 4096]);
    let link = {
        let mut link = tar::Header::new_ustar();
        link.set_path("room.json").expect("short");
        link.set_entry_type(tar::EntryType::Symlink);
        link.set_link_name("/etc/passwd").expect("short");
        link.set_size(0);
        link.set_cksum();
        link.as_bytes().to_vec()
    };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", Vec::new()),
        ("not a tar", b"hello".repeat(1000)),
        ("cut off", archive[..archive.len() / 2 / BLOCK * BLOCK].to_vec()),
        ("cut off before the manifest", without("manifest.json").into_iter().collect()),
        ("a flipped bit", flipped),
        ("files in another order", packed(&swapped)),
        ("a path that leads elsewhere", packed(&renamed)),
        ("a symbolic link", link),
        ("a file that is too large", huge),
        ("something after the manifest", packed(&more)),
        ("another format", packed(&replaced(&all, "room.json", "\"format\": 1", "\"format\": 2"))),
        ("an unknown key", packed(&replaced(&all, "room.json", "\"format\": 1", "\"x\": 1, \"format\": 1"))),
        (
            "a document of another room",
            packed(&replaced(&all, "documents/1/document.json", room.as_str(), foreign.as_str())),
        ),
        (
            "a log that is shorter than it says",
            packed(&replaced(&all, "documents/1/document.json", "\"seq\": ", "\"seq\": 1")),
        ),
        ("a name that leads elsewhere", packed(&replaced(&all, "tree.json", "a.py", "../a"))),
        ("two of one name", packed(&replaced(&all, "tree.json", "\"b.txt\"", "\"SRC\""))),
        ("other counts", packed(&replaced(&all, "manifest.json", "\"records\": ", "\"records\": 1"))),
        ("an update that is none", with_log(&|records| records[0].update = vec![9, 9].into())),
        (
            "an update that builds on nothing",
            with_log(&|records| {
                let mut replica = Replica::new();
                replica.set_text(ROOT, "x");
                records[0].update = replica.set_text(ROOT, "xy").expect("changed").into();
            }),
        ),
        (
            "a missing update",
            with_log(&|records| {
                records.remove(0);
            }),
        ),
        (
            "a repeated update",
            with_log(&|records| {
                let first = records[0].clone();
                records.insert(0, first);
            }),
        ),
        (
            "clocks that overflow",
            with_log(&|records| {
                records[0].shares = vec![Share {
                    by: records[0].by.clone(),
                    at: 1,
                    seq: 1,
                    inserted: vec![Range(1, u64::MAX, u64::MAX)],
                    deleted: vec![],
                }];
            }),
        ),
    ];
    assert_eq!(all[manifest].0, "manifest.json");
    for (what, bytes) in cases {
        let there = server();
        let result = imported(&there, &bytes, 1000).await;
        assert!(matches!(result, Err(Error::Archive(_))), "{what}: {result:?}");
        assert_eq!(there.store().room(&room).await.expect("room"), None, "{what}");
        assert_eq!(there.store().list("", "", false, 10).await.expect("list"), [], "{what}");
        let ids = vec![PrincipalId::parse("ada").expect("valid")];
        assert_eq!(there.history().principals(ids).await.expect("known"), [], "{what}");
        imported(&there, &archive, 1000).await.expect("nothing is in the way of the real one");
    }
}

#[tokio::test]
async fn one_import_at_a_time() {
    let rooms = server();
    let first = Import::begin(&rooms, Tenancy::default()).expect("the first");
    assert!(matches!(Import::begin(&rooms, Tenancy::default()), Err(Error::Room(crate::Error::Busy))));
    drop(first);
    Import::begin(&rooms, Tenancy::default()).expect("the next");
}

#[tokio::test]
async fn numbers_that_leave_none_for_what_is_written_next_are_refused() {
    for seq in [u64::MAX, i64::MAX as u64, crate::ports::MAX_SEQ] {
        let update = Replica::new().set_text(ROOT, "x").expect("changed").into();
        let by = PrincipalId::parse("ada").expect("valid");
        let share = Share { by: by.clone(), at: 1, seq, inserted: vec![], deleted: vec![] };
        let record = LogRecord { seq, first: 1, by, at: 1, update, shares: vec![share] };
        let result = imported(&server(), &archive_with(&[record], &[]).await, 4096).await;
        assert!(matches!(result, Err(Error::Archive(_))), "{seq}: {result:?}");
    }
}

/// An archive whose one document is written by `records`, and with these named versions.
async fn archive_with(records: &[LogRecord], versions: &[u64]) -> Vec<u8> {
    let here = server();
    let (room, document) = room_with_a_past(&here).await;
    let mut all = files(&exported(&here, &room).await);
    let name = format!("\"{document}\"");
    let is_its_head = |(path, content): &(String, Vec<u8>)| {
        path.ends_with("document.json") && String::from_utf8_lossy(content).contains(&name)
    };
    let at = all.iter().position(is_its_head).expect("in the archive");
    let by = PrincipalId::parse("ada").expect("valid");
    let version = |seq: &u64| format::Version { seq: *seq, name: format!("v{seq}"), by: by.clone(), at: 1 };
    let seq = records.last().map_or(0, |record| record.seq);
    let versions = versions.iter().map(version).collect();
    let head = format::DocumentHead { name: document.to_string(), seq, versions };
    all[at].1 = serde_json::to_vec_pretty(&head).expect("JSON");
    let mut changed = 0;
    let mut manifest: format::Manifest = serde_json::from_slice(&all.last().expect("files").1).expect("JSON");
    let mut old = Bytes::from(std::mem::take(&mut all[at + 1].1));
    while !old.is_empty() {
        take_record(&mut old).expect("a record");
        changed += 1;
    }
    manifest.records = manifest.records - changed + records.len() as u64;
    all.last_mut().expect("files").1 = serde_json::to_vec_pretty(&manifest).expect("JSON");
    records.iter().for_each(|record| put_record(&mut all[at + 1].1, record));
    packed(&all)
}

/// Updates that write a text of `bytes` in pieces.
fn text_in_pieces(bytes: usize, pieces: usize) -> Vec<LogRecord> {
    use yrs::Text;
    let mut replica = Replica::new();
    let text = replica.doc().get_or_insert_text(ROOT);
    let piece = "x".repeat(bytes / pieces);
    let by = PrincipalId::parse("ada").expect("valid");
    (1..=pieces as u64)
        .map(|seq| {
            let update = replica.edit(|txn| text.push(txn, &piece)).expect("changed").into();
            LogRecord { seq, first: seq, by: by.clone(), at: 1, update, shares: Vec::new() }
        })
        .collect()
}

#[tokio::test]
async fn versions_of_a_large_document_do_not_keep_its_state_each() {
    let records = text_in_pieces(2 << 20, 200);
    let versions: Vec<u64> = (1..=200).collect();
    let archive = archive_with(&records, &versions).await;
    let store = Arc::new(MemoryStore::default());
    let there = Rooms::new(store.clone(), Tasks::new());
    let room = imported(&there, &archive, 1 << 20).await.expect("imported");
    assert!(store.bytes_of_states() < 6 * archive.len(), "{} of states", store.bytes_of_states());
    let listed = there.store().list(room.as_str(), "", false, 9).await.expect("list");
    let document = listed.into_iter().find(|about| about.seq == 200).expect("the large one").document;
    for seq in [1, 150, 200] {
        let text = there.history().text(&document, seq, ROOT).await.expect("kept");
        assert_eq!(text.len() as u64, seq * ((2 << 20) / 200));
    }
}

#[tokio::test]
async fn a_document_that_is_larger_than_one_may_be_is_refused() {
    let archive = archive_with(&text_in_pieces(3 << 20, 30), &[]).await;
    for (max_document_bytes, fits) in [(4 << 20, true), (2 << 20, false), (50_000, false)] {
        let config = Config { max_document_bytes, ..Config::default() };
        let there = Rooms::with_config(Arc::new(MemoryStore::default()), Tasks::new(), &config);
        let result = imported(&there, &archive, 1 << 20).await;
        assert_eq!(result.is_ok(), fits, "{max_document_bytes}: {result:?}");
    }
}

#[tokio::test]
async fn whatever_times_an_archive_has_its_history_can_be_read() {
    let mut records = text_in_pieces(40, 4);
    for (record, at) in records.iter_mut().zip([i64::MIN, i64::MAX, 0, i64::MIN]) {
        record.at = at;
    }
    let there = server();
    let room = imported(&there, &archive_with(&records, &[2]).await, 4096).await.expect("imported");
    let listed = there.store().list(room.as_str(), "", false, 9).await.expect("list");
    let document = listed.into_iter().find(|about| about.seq == 4).expect("it is there").document;
    let history = there.history();
    let (_, blame, _) = history.blame(&document, None, ROOT).await.expect("blame");
    assert_eq!(blame.iter().map(|piece| piece.text.len()).collect::<Vec<_>>(), [10; 4]);
    assert_eq!(history.versions(&document, u64::MAX, 9).await.expect("versions").about.seq, 4);
    assert_eq!(history.editors(&document, i64::MIN, ROOT).await.expect("editors").len(), 1);
    let policy = Policy { keep_days: u32::MAX, then: Grain::Hour };
    for now in [i64::MIN, i64::MAX] {
        history.compact(&document, policy, now).await.expect("merged, or left");
    }
    assert_eq!(history.text(&document, 4, ROOT).await.expect("text").len(), 40);
}

#[tokio::test]
async fn what_is_merged_waits_for_an_export() {
    let here = server();
    let (room, document) = room_with_a_past(&here).await;
    let live = here.document(&document).await.expect("open");
    let (out, mut pieces) = mpsc::channel::<Result<Bytes, Error>>(1);
    let (exporting, id) = (here.clone(), room.clone());
    let tasks = Tasks::new();
    tasks.spawn("export", async move { export(&exporting, &id, out).await });
    let mut archive = pieces.recv().await.expect("begun").expect("exported").to_vec();
    // The document is in the list by now, with the number that it had.
    live.replace_text(&person("bo", "Bo"), "later\n".to_owned()).await.expect("written");
    let policy = Policy { keep_days: 0, then: Grain::Day };
    let merge = async || here.history().compact(&document, policy, i64::MAX / 2).await.expect("merged");
    assert_eq!(merge().await, 0);
    let rest = async {
        while let Some(piece) = pieces.recv().await {
            archive.extend_from_slice(&piece.expect("exported"));
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), rest).await.expect("it ends");
    tasks.shutdown(std::time::Duration::from_secs(30)).await;
    imported(&server(), &archive, 4096).await.expect("imported");
    assert_eq!(merge().await, 1, "afterwards it is merged");
}

#[test]
fn a_record_as_large_as_a_document_may_be_has_room_in_a_file() {
    for max_document_bytes in [1 << 20, 64 << 20, 4 << 30] {
        assert!(max_file(max_document_bytes) > (max_document_bytes + export::PART + (16 << 20)) as u64);
    }
}

#[tokio::test]
async fn merged_updates_of_many_clients_go_and_come() {
    const CLIENTS: usize = 4200;
    let here = server();
    let (room, document) = room_with_a_past(&here).await;
    let live = here.document(&document).await.expect("open");
    // A text of its own each, because many who write at one place take long to order.
    let write = |client: usize| Bytes::from(Replica::new().set_text(&format!("t{client}"), "x").expect("changed"));
    let updates: Vec<Bytes> = (0..CLIENTS).map(write).collect();
    let merged = buildspaces_crdt::update::merge(&updates).expect("well-formed");
    live.apply_own(&person("ada", "Ada"), merged).await.expect("written");
    let there = server();
    imported(&there, &exported(&here, &room).await, 1 << 20).await.expect("imported");
    let live = there.document(&document).await.expect("open");
    // So does a copy, whose one update brings all of them.
    let copy = DocumentName::parse("copy").expect("valid");
    let present = live.present().await.expect("read");
    assert!(there.create_document(&Principal::system(), &copy, present.state, false).await.expect("created"));
    let position = there.document(&copy).await.expect("open").position().await.expect("read");
    assert_eq!(position.state_vector, present.state_vector);
}

#[tokio::test]
async fn what_a_killed_import_left_is_gone_after_the_next_start() {
    let here = server();
    let (room, _) = room_with_a_past(&here).await;
    let archive = exported(&here, &room).await;
    let store = Arc::new(MemoryStore::default());
    let killed = Rooms::new(store.clone(), Tasks::new());
    let mut import = Import::begin(&killed, Tenancy::default()).expect("the first");
    import.push(&archive[..archive.len() - 4096]).await.expect("read so far");
    discard_leftovers(&killed).await;
    assert_ne!(store.orphans().await.expect("answers"), [], "an import that goes on is left alone");
    drop((import, killed));
    let again = Rooms::new(store.clone(), Tasks::new());
    discard_leftovers(&again).await;
    assert_eq!(store.orphans().await.expect("answers"), []);
    imported(&again, &archive, 4096).await.expect("imported");
    discard_leftovers(&again).await;
    assert!(exported(&again, &room).await == archive, "what is a room's stays");
}
