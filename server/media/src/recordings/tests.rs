use std::fs;

use buildspaces_kernel::ids::PrincipalId;

use super::*;
use crate::call::Source;
use crate::codec::Codec;

fn recording(room: &RoomId, started_at: i64, state: State) -> Recording {
    let file = File {
        number: 1,
        person: PrincipalId::random(),
        person_name: "Žofie \"Z\"".to_owned(),
        source: Source::Microphone,
        codec: Codec::Opus,
        offset: 20,
        duration: 980,
        bytes: 0,
    };
    Recording {
        id: RecordingId::random(),
        room: room.clone(),
        started_by: PrincipalId::random(),
        started_by_name: "Ada".to_owned(),
        started_at,
        ended_at: (state != State::Recording).then_some(started_at + 1000),
        duration: 1000,
        state,
        files: vec![file],
    }
}

fn write(folder: &Folder, bytes: &[u8]) {
    let chunk = Chunk { name: "1-microphone.ogg".to_owned(), at: 0, bytes: bytes.to_vec(), patches: Vec::new() };
    folder.write(&[chunk]).expect("written");
}

fn recordings(root: &std::path::Path, limits: Limits) -> Recordings {
    Recordings::new(root.to_owned(), limits)
}

const NO_RESERVE: Limits = Limits { recording: 100, room: 1000, reserve: 0 };

#[tokio::test]
async fn what_a_killed_server_left_is_listed_as_interrupted_with_the_bytes_that_are_there() {
    let root = tempfile::tempdir().expect("a folder");
    let (room, by) = (RoomId::random(), Principal::system());
    let first = recordings(root.path(), NO_RESERVE);
    let begun = recording(&room, 5000, State::Recording);
    let (folder, others) = first.begin(&begun).await.expect("begun");
    write(&folder, b"sound");
    assert_eq!(others, 0);
    assert!(matches!(first.delete(&room, &begun.id, &by).await, Err(Error::StillRecorded)));
    assert_eq!(first.list(&room).await.expect("a list")[0].state, State::Recording);

    // As if the process were another.
    let second = recordings(root.path(), NO_RESERVE);
    let found = second.find(&room, &begun.id).await.expect("found");
    assert_eq!((found.state, found.ended_at, found.bytes()), (State::Interrupted, Some(6000), 5));
    assert_eq!(found.files[0].person_name, "Žofie \"Z\"");
    assert_eq!(second.piece(&found, &found.files[0], 1, 2).await.expect("read"), b"ou");
    assert_eq!(second.piece(&found, &found.files[0], 5, 2).await.expect("read"), b"");
    // What is no recording is none, and harms nothing.
    fs::create_dir(root.path().join(room.as_str()).join("strange")).expect("made");
    fs::write(root.path().join(room.as_str()).join("file"), "x").expect("made");
    assert_eq!(second.list(&room).await.expect("a list"), [found]);
    assert_eq!(second.list(&RoomId::random()).await.expect("a list"), []);
    second.delete(&room, &begun.id, &by).await.expect("deleted");
    assert!(matches!(second.delete(&room, &begun.id, &by).await, Err(Error::NoSuchRecording)));
    assert!(matches!(second.find(&room, &begun.id).await, Err(Error::NoSuchRecording)));
}

#[tokio::test]
async fn the_oldest_make_place_and_a_full_room_or_disk_begins_nothing() {
    let root = tempfile::tempdir().expect("a folder");
    let room = RoomId::random();
    let all = recordings(root.path(), NO_RESERVE);
    for at in 0..KEPT + 2 {
        let ended = recording(&room, at as i64, State::Complete);
        let (folder, _) = all.begin(&ended).await.expect("begun");
        write(&folder, b"12345");
        all.ended(&ended.id);
    }
    let list = all.list(&room).await.expect("a list");
    let times: Vec<_> = list.iter().map(|recording| recording.started_at).collect();
    assert_eq!(times, (2..KEPT as i64 + 2).rev().collect::<Vec<_>>());

    let full = recordings(root.path(), Limits { room: 250, ..NO_RESERVE });
    let more = recording(&room, 99, State::Recording);
    assert!(matches!(full.begin(&more).await, Err(Error::RoomFull)));
    let no_space = recordings(root.path(), Limits { reserve: u64::MAX, ..NO_RESERVE });
    let Err(Error::Disk(error)) = no_space.begin(&more).await else { panic!("begun on a full disk") };
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(all.list(&room).await.expect("a list").len(), KEPT - 1);
    assert!(!Recordings::off().is_on() && all.is_on());
    assert!(!recordings(root.path(), Limits { recording: 0, ..NO_RESERVE }).is_on());
}
