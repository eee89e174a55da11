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
async fn a_full_room_or_disk_begins_nothing_and_deletes_nothing() {
    let root = tempfile::tempdir().expect("a folder");
    let (room, by) = (RoomId::random(), Principal::system());
    let all = recordings(root.path(), NO_RESERVE);
    for at in 0..MAX_RECORDINGS {
        let ended = recording(&room, at as i64, State::Complete);
        let folder = all.folder(&room, &ended.id).expect("they are kept");
        folder.create(&ended, 0).expect("made");
        write(&folder, b"1");
    }
    let more = recording(&room, 999, State::Recording);
    let Err(refused) = all.begin(&more).await else { panic!("one more than there may be") };
    assert_eq!(
        refused.to_string(),
        "this room keeps 200 of at most 200 recordings of calls, 0 of at most 0 MiB, so no further one can begin; a host can delete some"
    );
    let list = all.list(&room).await.expect("a list");
    let times: Vec<_> = list.iter().map(|recording| recording.started_at).collect();
    assert_eq!(times, (0..MAX_RECORDINGS as i64).rev().collect::<Vec<_>>(), "all are still there");
    all.delete(&room, &list[7].id, &by).await.expect("deleted");
    all.begin(&more).await.expect("there is room again");
    all.ended(&more.id);
    all.delete(&room, &more.id, &by).await.expect("deleted");

    let full = recordings(root.path(), Limits { room: 199, ..NO_RESERVE });
    let kept = Kept { recordings: 199, bytes: 199, most_bytes: 199 };
    assert!(matches!(full.begin(&more).await, Err(Error::RoomFull(found)) if found == kept));
    let no_space = recordings(root.path(), Limits { reserve: u64::MAX, ..NO_RESERVE });
    let Err(Error::Disk(error)) = no_space.begin(&more).await else { panic!("begun on a full disk") };
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(all.list(&room).await.expect("a list").len(), 199);
    assert!(!Recordings::off().is_on() && all.is_on());
    assert!(!recordings(root.path(), Limits { recording: 0, ..NO_RESERVE }).is_on());
}
