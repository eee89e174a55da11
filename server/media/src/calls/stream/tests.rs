use std::sync::Arc;
use std::time::Duration;

use buildspaces_kernel::ids::PrincipalId;
use buildspaces_kernel::tasks::Tasks;
use buildspaces_policy::{Principal, Role};
use tokio::time::{sleep, timeout};

use super::*;
use crate::call::{Limits, Seen, TrackId};
use crate::calls::View;
use crate::codec::Codec;
use crate::memory::{MemoryCalls, MemoryTransport, picture, sound};

struct Bench {
    calls: Calls,
    transport: MemoryTransport,
    room: RoomId,
}

fn who(name: &str, role: Role) -> Authority {
    let principal = Principal { id: PrincipalId::parse(name).expect("an id"), kind: role.kind(), name: name.into() };
    Authority { principal, role }
}

/// An offer with these kinds of sections, named by their place.
fn offer(kinds: &[Kind]) -> String {
    let names: Vec<_> = (0..kinds.len()).map(|at| at.to_string()).collect();
    let sections = kinds.iter().zip(&names).map(|(kind, mid)| {
        let media = if *kind == Kind::Audio { "audio" } else { "video" };
        format!("m={media} 9 x 96\r\na=mid:{mid}\r\na=rtpmap:96 {}\r\n", Codec::of(*kind)[0].encoding())
    });
    let sections: String = sections.collect();
    format!("v=0\r\na=group:BUNDLE {}\r\na=ice-ufrag:abcd\r\na=ice-pwd:secret\r\n{sections}", names.join(" "))
}

const BOTH: [Kind; 2] = [Kind::Audio, Kind::Video];

impl Bench {
    fn new() -> Self {
        let transport = MemoryTransport::default();
        let limits = Limits { cameras: 1, ..Limits::default() };
        let calls = Calls::new(Arc::new(transport.clone()), Arc::new(MemoryCalls::default()), limits, Tasks::new());
        Self { calls, transport, room: RoomId::random() }
    }

    /// Somebody's page, which sees the call.
    async fn page(&self, name: &str, role: Role) -> Attached {
        self.calls.attach(&self.room, &who(name, role)).await.expect("there is room")
    }

    async fn publishes(&self, name: &str, role: Role, kinds: &[Kind]) -> Result<(Stream, String), Error> {
        self.calls.publish(&self.room, &who(name, role), &offer(kinds), Source::Camera).await
    }

    async fn watches(&self, name: &str, choice: Choice) -> Stream {
        let (who, offer) = (who(name, Role::Viewer), offer(&BOTH));
        self.calls.watch(&self.room, &who, &offer, choice).await.expect("may look on").0
    }
}

async fn sees(page: &mut Attached, what: impl Fn(&View) -> bool) -> Arc<View> {
    let seen = timeout(Duration::from_secs(60), page.view.wait_for(|view| what(view))).await;
    seen.expect("it comes to be").expect("the call lives").clone()
}

fn tracks(seen: &Seen) -> Vec<(Source, bool)> {
    seen.tracks.clone()
}

async fn settle() {
    sleep(Duration::from_millis(100)).await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_heard_and_seen_at_once_until_it_is_muted_or_ends() {
    let bench = Bench::new();
    let mut ada = bench.page("ada", Role::Host).await;
    ada.say(Said::Join { resume: None, encrypted: false }).await;
    let (stream, answer) = bench.publishes("bob", Role::Editor, &BOTH).await.expect("may");
    assert!(answer.starts_with("answer to v=0") && answer.contains("a=sendonly"), "{answer}");
    let view = sees(&mut ada, |view| view.participants.len() == 2).await;
    let bob = view.participants[1].clone();
    assert!(bob.is_stream);
    let view = sees(&mut ada, |view| view.participants[1].tracks.len() == 2).await;
    assert_eq!(tracks(&view.participants[1]), [(Source::Microphone, false), (Source::Camera, false)]);

    // Ada takes the lines that it needs.
    while let Some(heard) = ada.heard.recv().await {
        if let Heard::Offer { neg, sdp } = heard {
            ada.say(Said::Answer { neg, sdp }).await;
            break;
        }
    }
    let voice = bench.transport.track(0, "0", Kind::Audio);
    settle().await;
    voice.send(sound(1, 10)).await.expect("it is read");
    settle().await;
    let line = &bench.transport.lines()[0];
    assert_eq!(line.taken().len(), 1);
    ada.say(Said::Mute { track: TrackId { of: bob.id.clone(), source: Source::Microphone } }).await;
    settle().await;
    voice.send(sound(2, 10)).await.expect("it is read");
    settle().await;
    assert_eq!(line.taken().len(), 0);

    drop(stream);
    sees(&mut ada, |view| view.participants.len() == 1).await;
    settle().await;
    assert_eq!(bench.transport.connections(), (2, 1), "only Ada's is left");
}

#[tokio::test(start_paused = true)]
async fn who_may_not_send_all_of_it_sends_nothing() {
    let bench = Bench::new();
    let mut ada = bench.page("ada", Role::Host).await;
    assert!(matches!(bench.publishes("eve", Role::Viewer, &BOTH).await, Err(Error::Refused(Refused::Denied(_)))));
    // An agent may speak but show nothing.
    assert!(matches!(bench.publishes("kit", Role::Agent, &BOTH).await, Err(Error::Refused(Refused::Denied(_)))));
    let (_kept, _) = bench.publishes("bob", Role::Editor, &BOTH).await.expect("may");
    let second = bench.publishes("mia", Role::Editor, &BOTH).await;
    assert!(matches!(second, Err(Error::Refused(Refused::TooManyCameras(1)))));
    assert!(matches!(bench.publishes("mia", Role::Editor, &[]).await, Err(Error::Offer(Unusable::Nothing))));
    settle().await;
    assert_eq!(sees(&mut ada, |_| true).await.participants.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_dies_or_never_connects_is_no_ghost() {
    let bench = Bench::new();
    let mut ada = bench.page("ada", Role::Host).await;
    let (mut stream, _) = bench.publishes("bob", Role::Editor, &BOTH).await.expect("may");
    bench.transport.publisher_becomes(0, crate::ports::Condition::Connected);
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(sees(&mut ada, |_| true).await.participants.len(), 1);
    bench.transport.publisher_fails(0);
    timeout(Duration::from_secs(1), stream.ended()).await.expect("at once");
    sees(&mut ada, |view| view.participants.is_empty()).await;

    let (mut stream, _) = bench.publishes("bob", Role::Editor, &BOTH).await.expect("may");
    timeout(Duration::from_secs(30), stream.ended()).await.expect("it is given up");
    sees(&mut ada, |view| view.participants.is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn ice_begins_anew_with_what_was_offered_before() {
    let bench = Bench::new();
    let (mut stream, _) = bench.publishes("bob", Role::Editor, &BOTH).await.expect("may");
    let again = stream.restart("wxyz", "other").await.expect("it can");
    assert_eq!((sdp::attribute(&again, "ice-ufrag"), sdp::attribute(&again, "ice-pwd")), (Some("wxyz"), Some("other")));
    assert_eq!(bench.transport.connections(), (1, 0), "on the same connection");
    let voice = bench.transport.track(0, "0", Kind::Audio);
    settle().await;
    assert!(!voice.is_closed());
    let mut viewer = bench.watches("eve", Choice::default()).await;
    let again = viewer.restart("wxyz", "other").await.expect("it can");
    assert!(again.contains("wxyz") && again.contains("a=recvonly"));
    assert_eq!(bench.transport.lines().len(), 2, "with the same lines");
}

#[tokio::test(start_paused = true)]
async fn a_viewer_is_sent_what_matters_on_the_lines_they_have_and_takes_no_part() {
    let bench = Bench::new();
    let mut ada = bench.page("ada", Role::Host).await;
    let (_ada_sends, _) = bench.publishes("ada", Role::Host, &BOTH).await.expect("may");
    let (_bob_speaks, _) = bench.publishes("bob", Role::Editor, &[Kind::Audio]).await.expect("may");
    let viewer = bench.watches("eve", Choice::default()).await;
    let of_bob = bench.watches("zoe", Choice { of: Some("bob".to_owned()), picture: None }).await;
    let [voice, camera] =
        [("0", Kind::Audio), ("1", Kind::Video)].map(|(mid, kind)| bench.transport.track(0, mid, kind));
    let other = bench.transport.track(1, "0", Kind::Audio);
    settle().await;
    let view = sees(&mut ada, |_| true).await;
    assert_eq!(view.participants.len(), 2, "who only looks on is not in the call");
    assert_eq!(
        view.viewers.iter().map(|viewer| &*viewer.name).collect::<Vec<_>>(),
        ["eve", "zoe"],
        "but everybody knows"
    );
    let sent = async |sequence: u16, loud: [u8; 2]| {
        // A speaker is one who was loud before.
        for at in 0..2 {
            voice.send(sound(sequence + at, loud[0])).await.expect("it is read");
            camera.send(picture(sequence + at, 100)).await.expect("it is read");
            other.send(sound(sequence + at, loud[1])).await.expect("it is read");
            sleep(Duration::from_secs(2)).await;
        }
        bench.transport.lines().iter().map(|line| line.taken().len()).collect::<Vec<_>>()
    };
    // Eve's two lines and Zoe's two.
    assert_eq!(sent(1, [10, 120]).await, [2, 2, 2, 0]);
    drop(viewer);
    settle().await;
    assert_eq!(sent(3, [10, 120]).await, [0, 0, 2, 0]);
    drop(of_bob);
    settle().await;
    assert!(sees(&mut ada, |_| true).await.viewers.is_empty());
    assert_eq!(bench.transport.connections(), (4, 2));
}

#[tokio::test(start_paused = true)]
async fn nothing_without_a_page_takes_part_in_an_encrypted_call() {
    let bench = Bench::new();
    let ada = who("ada", Role::Host);
    bench.calls.encrypt(&bench.room, true, &ada.principal).await.expect("nobody is in it");
    let sends = bench.publishes("obs", Role::Editor, &BOTH).await.map(|_| ());
    assert_eq!(sends, Err(Error::Refused(Refused::Sealed)));
    let choice = Choice { of: None, picture: None };
    let looks = bench.calls.watch(&bench.room, &who("tv", Role::Viewer), &offer(&BOTH), choice).await.map(|_| ());
    assert_eq!(looks, Err(Error::Refused(Refused::Sealed)));
    let view = bench.page("ada", Role::Host).await.view.borrow().clone();
    assert_eq!((view.participants.len(), view.viewers.len()), (0, 0));
}
