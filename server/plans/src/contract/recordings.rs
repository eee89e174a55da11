//! What every [`RecordingStore`] must do.

use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::ids::{PrincipalId, RecordingId, RoomId, TerminalId};

use crate::ports::RecordingStore;
use crate::recording::{Recording, Setting, State};

/// Runs the whole suite on an empty store.
///
/// # Panics
/// When the store breaks the contract.
pub async fn recording_store(store: &dyn RecordingStore) {
    a_room_is_recorded_while_somebody_says_so(store).await;
    a_recording_grows_and_ends(store).await;
    recordings_are_a_rooms_own(store).await;
    none_makes_way_for_another(store).await;
    what_was_left_is_interrupted(store).await;
}

async fn a_room_is_recorded_while_somebody_says_so(store: &dyn RecordingStore) {
    let (room, other) = (RoomId::random(), RoomId::random());
    assert_eq!(store.recording_setting(&room).await.expect("answers"), None);
    let ann = Setting { by: principal("ann"), by_name: "Ann ✓".to_owned(), since: 5 };
    let bo = Setting { by: principal("bo"), by_name: "Bo".to_owned(), since: 6 };
    for setting in [&ann, &bo, &bo] {
        store.set_recording(&room, Some(setting)).await.expect("stored");
        assert_eq!(store.recording_setting(&room).await.expect("answers").as_ref(), Some(setting));
    }
    assert_eq!(store.recording_setting(&other).await.expect("answers"), None, "another room stays as it is");
    store.set_recording(&room, None).await.expect("stored");
    store.set_recording(&room, None).await.expect("twice");
    assert_eq!(store.recording_setting(&room).await.expect("answers"), None);
}

async fn a_recording_grows_and_ends(store: &dyn RecordingStore) {
    let mut recording = recording(&RoomId::random(), 100);
    store.insert_recording(&recording, b"{}\n").await.expect("stored");
    recording.bytes = 3;
    assert_eq!(find(store, &recording).await.as_ref(), Some(&recording));
    for (lines, duration) in [(b"[1]\n\xff".as_slice(), 700), (b"[2]\n".as_slice(), 1900)] {
        assert!(store.append_recording(&recording.id, lines, duration).await.expect("stored"));
        recording.bytes += lines.len() as u64;
        recording.duration = duration;
        assert_eq!(find(store, &recording).await.as_ref(), Some(&recording));
    }
    for state in State::ALL {
        (recording.state, recording.ended_at) = (state, Some(2000));
        store.end_recording(&recording).await.expect("stored");
        assert_eq!(find(store, &recording).await.as_ref(), Some(&recording));
    }
    assert_eq!(contents(store, &recording.id).await, b"{}\n[1]\n\xff[2]\n");
    assert_eq!(store.recording_piece(&recording.id, 1).await.expect("answers"), b"", "no piece begins there");
    assert!(!store.append_recording(&RecordingId::random(), b"x", 1).await.expect("answers"), "there is none");
}

async fn recordings_are_a_rooms_own(store: &dyn RecordingStore) {
    let (room, other) = (RoomId::random(), RoomId::random());
    let (old, new, elsewhere) = (recording(&room, 9), recording(&room, 9), recording(&other, 9));
    for recording in [&old, &new, &elsewhere] {
        store.insert_recording(recording, b"{}\n").await.expect("stored");
    }
    assert_eq!(ids(store, &room).await, [new.id.clone(), old.id.clone()], "newest first");
    assert_eq!(store.recording(&other, &old.id).await.expect("answers"), None, "of another room");
    assert!(!store.delete_recording(&other, &old.id).await.expect("answers"));
    assert!(store.delete_recording(&room, &old.id).await.expect("answers"));
    assert!(!store.delete_recording(&room, &old.id).await.expect("answers"), "twice");
    assert_eq!(contents(store, &old.id).await, b"");
    assert_eq!((ids(store, &room).await, ids(store, &other).await), (vec![new.id], vec![elsewhere.id]));
}

async fn none_makes_way_for_another(store: &dyn RecordingStore) {
    let room = RoomId::random();
    let mut oldest = recording(&room, 1);
    store.insert_recording(&oldest, b"old\n").await.expect("stored");
    (oldest.state, oldest.ended_at) = (State::Complete, Some(2));
    store.end_recording(&oldest).await.expect("stored");
    for at in 0..60 {
        store.insert_recording(&recording(&room, at), b"{}\n").await.expect("stored");
    }
    assert_eq!((ids(store, &room).await.len(), contents(store, &oldest.id).await), (61, b"old\n".to_vec()));
}

async fn what_was_left_is_interrupted(store: &dyn RecordingStore) {
    let room = RoomId::random();
    let (left, mut ended) = (recording(&room, 1000), recording(&room, 2000));
    for recording in [&left, &ended] {
        store.insert_recording(recording, b"{}\n").await.expect("stored");
    }
    assert!(store.append_recording(&left.id, b"[1]\n", 500).await.expect("stored"));
    (ended.state, ended.ended_at, ended.bytes) = (State::TooLarge, Some(3), 3);
    store.end_recording(&ended).await.expect("stored");
    store.interrupt_recordings().await.expect("stored");
    let left = Recording { state: State::Interrupted, ended_at: Some(1500), duration: 500, bytes: 7, ..left };
    assert_eq!(store.recordings(&room).await.expect("answers"), [ended, left]);
}

async fn find(store: &dyn RecordingStore, recording: &Recording) -> Option<Recording> {
    store.recording(&recording.room, &recording.id).await.expect("answers")
}

async fn ids(store: &dyn RecordingStore, room: &RoomId) -> Vec<RecordingId> {
    store.recordings(room).await.expect("answers").into_iter().map(|recording| recording.id).collect()
}

/// As whoever downloads it reads it.
async fn contents(store: &dyn RecordingStore, id: &RecordingId) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let piece = store.recording_piece(id, all.len() as u64).await.expect("answers");
        if piece.is_empty() {
            return all;
        }
        all.extend(piece);
    }
}

fn recording(room: &RoomId, started_at: UnixMillis) -> Recording {
    Recording {
        id: RecordingId::random(),
        room: room.clone(),
        terminal: TerminalId::random(),
        number: 3,
        opened_by: principal("ann"),
        opened_by_name: "Ann ✓".to_owned(),
        started_at,
        ended_at: None,
        duration: 0,
        bytes: 0,
        state: State::Recording,
    }
}

fn principal(id: &str) -> PrincipalId {
    PrincipalId::parse(id).expect("valid")
}
