use std::sync::Arc;

use buildspaces_crdt::text::ROOT;
use buildspaces_crdt::{DocumentName, Replica};
use buildspaces_kernel::ids::{PrincipalId, RoomId};
use buildspaces_kernel::tasks::Tasks;
use buildspaces_policy::{Principal, PrincipalKind};
use bytes::Bytes;
use tokio::sync::mpsc;

use super::format::{BLOCK, header, padding, put_record, take_record};
use super::*;
use crate::history::retention::{Grain, Policy};
use crate::memory::MemoryStore;
use crate::ports::{LogRecord, Range, Share};
use crate::{NewRoom, Rooms};

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
    let mut import = Import::begin(rooms).expect("nobody else imports");
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
    let new = NewRoom { title: "Room with ä".to_owned(), template: "python".to_owned(), files };
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
        let versions = there.history().versions(&document).await.expect("versions");
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
    let mut huge = header("room.json", MAX_FILE + 1).expect("short").to_vec();
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
        imported(&there, &archive, 1000).await.expect("nothing is in the way of the real one");
    }
}

#[tokio::test]
async fn one_import_at_a_time() {
    let rooms = server();
    let first = Import::begin(&rooms).expect("the first");
    assert!(matches!(Import::begin(&rooms), Err(Error::Room(crate::Error::Busy))));
    drop(first);
    Import::begin(&rooms).expect("the next");
}
