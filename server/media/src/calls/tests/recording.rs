use bytes::Bytes;

use super::*;
use crate::recording::{Limits as Kept, Recording, State};
use crate::recordings::Recordings;

const KEPT: Kept = Kept { recording: 1 << 20, room: 1 << 24, reserve: 0 };

fn keeping(kept: Kept) -> (Bench, tempfile::TempDir) {
    let root = tempfile::tempdir().expect("a folder");
    let mut bench = Bench::new();
    let calls = Calls::new(
        Arc::new(bench.transport.clone()),
        Arc::new(MemoryCalls::default()),
        Limits::default(),
        bench.tasks.clone(),
    );
    bench.calls = calls.keeping(Recordings::new(root.path().to_owned(), kept));
    (bench, root)
}

impl Bench {
    async fn recordings(&self) -> Vec<Recording> {
        self.calls.recordings().list(&self.room).await.expect("a list")
    }

    /// The newest, once it has ended.
    async fn ended(&self) -> Recording {
        for _ in 0..1000 {
            settle().await;
            if let Some(ended) = self.recordings().await.into_iter().find(|one| one.state != State::Recording) {
                return ended;
            }
        }
        panic!("it goes on and on");
    }

    /// How many packets a file of sound has, as another reader finds them.
    async fn packets(&self, recording: &Recording, at: usize) -> usize {
        let file = &recording.files[at];
        let bytes = self.calls.recordings().piece(recording, file, 0, 1 << 20).await.expect("read");
        assert_eq!(bytes.len() as u64, file.bytes);
        let mut reader = ogg::PacketReader::new(std::io::Cursor::new(bytes));
        std::iter::from_fn(|| reader.read_packet().expect("a whole file")).count() - 2
    }
}

/// Opus of 20 ms.
fn voice(sequence: u16) -> Received {
    Received { payload: Bytes::from_static(&[31 << 3, 1]), ..sound(sequence, 60) }
}

fn keyframe(sequence: u16) -> Received {
    Received {
        payload: Bytes::from_static(&[0x10, 0x10, 0, 0, 0x9d, 0x01, 0x2a, 64, 0, 48, 0]),
        ..picture(sequence, 20)
    }
}

fn second(sequence: u16) -> std::ops::Range<u16> {
    sequence..sequence + 50
}

#[tokio::test(start_paused = true)]
async fn only_who_agreed_is_in_the_files_and_from_then_on() {
    let (bench, _root) = keeping(KEPT);
    let (mut ada, ada_id, _) = bench.joined("ada", Role::Host).await;
    let (mut bob, bob_id, _) = bench.joined("bob", Role::Editor).await;
    for page in [&mut ada, &mut bob] {
        page.offers().await;
        page.publishes(Source::Microphone, Publishing::On).await;
    }
    ada.publishes(Source::Camera, Publishing::On).await;
    let voices = [0, 1].map(|nth| bench.transport.track(nth, "0", Kind::Audio));
    let camera = bench.transport.track(0, "1", Kind::Video);
    let say = async |numbers: std::ops::Range<u16>| {
        for number in numbers {
            for voice_of in &voices {
                voice_of.send(voice(number)).await.expect("it is read");
            }
            camera.send(keyframe(number)).await.expect("it is read");
            sleep(Duration::from_millis(20)).await;
        }
    };
    say(second(0)).await;
    bob.0.say(Said::Record { on: true }).await;
    ada.0.say(Said::Record { on: true }).await;
    ada.sees(|view| view.recording.is_some()).await;
    bob.sees(|view| view.recording.as_ref().is_some_and(|seen| seen.agreed == [ada_id.clone()])).await;
    settle().await;
    say(second(50)).await;
    let recording = bob.0.view.borrow().recording.as_ref().expect("it goes on").started_at;
    // What was asked of one that is over means nothing.
    bob.0.say(Said::Agree { on: true, recording: recording - 1 }).await;
    settle().await;
    assert_eq!(bob.0.view.borrow().recording.as_ref().expect("it goes on").agreed, std::slice::from_ref(&ada_id));
    bob.0.say(Said::Agree { on: true, recording }).await;
    bob.sees(|view| view.recording.as_ref().is_some_and(|seen| seen.agreed.contains(&bob_id))).await;
    settle().await;
    say(second(100)).await;
    sleep(Duration::from_secs(2)).await;
    let going = bench.recordings().await;
    assert_eq!((going.len(), going[0].state, going[0].started_by_name.as_str()), (1, State::Recording, "ada"));
    assert!(going[0].bytes() > 0);

    ada.0.say(Said::Record { on: false }).await;
    bob.sees(|view| view.recording.is_none()).await;
    say(second(150)).await;
    let ended = bench.ended().await;
    assert_eq!((ended.state, ended.files.len()), (State::Stopped, 3));
    let at = |name: &str, source| {
        let is_it = |file: &crate::recording::File| file.person_name == name && file.source == source;
        ended.files.iter().position(is_it).expect("it was recorded")
    };
    let (ada_voice, bob_voice) = (at("ada", Source::Microphone), at("bob", Source::Microphone));
    // A part of what lies before and behind may be in it, as far as it was said before it ended; no more.
    let (all, half) = (bench.packets(&ended, ada_voice).await, bench.packets(&ended, bob_voice).await);
    assert!((100..=112).contains(&all) && (50..=56).contains(&half), "{all} {half}");
    let (first, later) = (ended.files[ada_voice].offset, ended.files[bob_voice].offset);
    assert!(first < 300 && (1000..1500).contains(&later), "{first} {later}");
    assert!(ended.files[at("ada", Source::Camera)].duration > 2000);
    let recordings = bench.calls.recordings();
    recordings.delete(&bench.room, &ended.id, &Principal::system()).await.expect("it has ended");
}

#[tokio::test(start_paused = true)]
async fn a_recording_ends_with_the_call_or_at_its_largest_size_and_says_why() {
    let (bench, _root) = keeping(Kept { recording: 3000, ..KEPT });
    let (mut ada, _, _) = bench.joined("ada", Role::Host).await;
    ada.offers().await;
    ada.publishes(Source::Microphone, Publishing::On).await;
    let packets = bench.transport.track(0, "0", Kind::Audio);
    ada.0.say(Said::Record { on: true }).await;
    let mut number = 0;
    while ada.0.view.borrow().recording_failed.is_none() {
        number += 1;
        let loud = Received { payload: vec![31 << 3; 100].into(), ..voice(number) };
        packets.send(loud).await.expect("it is read");
        sleep(Duration::from_millis(20)).await;
        assert!(number < 500, "it has no end");
    }
    assert!(ada.0.view.borrow().recording.is_none());
    let full = bench.ended().await;
    assert_eq!(full.state, State::TooLarge);
    assert!((3000..10_000).contains(&full.bytes()), "{}", full.bytes());

    ada.0.say(Said::Record { on: true }).await;
    ada.sees(|view| view.recording.is_some() && view.recording_failed.is_none()).await;
    packets.send(voice(number + 1)).await.expect("it is read");
    settle().await;
    drop((ada, packets));
    bench.is_over().await;
    settle().await;
    let list = bench.recordings().await;
    assert_eq!(list.iter().map(|one| one.state).collect::<Vec<_>>(), [State::Complete, State::TooLarge]);
}

#[tokio::test(start_paused = true)]
async fn a_server_without_recordings_says_so() {
    let (bench, _root) = keeping(Kept { recording: 0, ..KEPT });
    let (mut ada, _, _) = bench.joined("ada", Role::Host).await;
    ada.0.say(Said::Record { on: true }).await;
    assert_eq!(ada.hears().await, Heard::Refused(Refused::NotRecorded.into()));
}

#[tokio::test(start_paused = true)]
async fn a_room_that_keeps_all_it_may_says_so_to_who_asks_and_nobody_is_asked_to_agree() {
    let (bench, _root) = keeping(Kept { room: 0, ..KEPT });
    let (mut ada, _, _) = bench.joined("ada", Role::Host).await;
    for _ in 0..2 {
        ada.0.say(Said::Record { on: true }).await;
        let Heard::Refused(Refusal::RecordingsFull(kept)) = ada.hears().await else { panic!("not refused") };
        assert_eq!((kept.recordings, kept.bytes, kept.most_bytes), (0, 0, 0));
    }
    let view = ada.0.view.borrow().clone();
    assert_eq!((view.recording.as_ref(), view.recording_failed), (None, None));
    assert_eq!(bench.recordings().await, []);
}
