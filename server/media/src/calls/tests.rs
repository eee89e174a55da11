use std::time::Duration;

use buildspaces_kernel::ids::PrincipalId;
use buildspaces_policy::Role;
use tokio::time::{sleep, timeout};

use super::*;

mod recording;

use crate::codec::Codec;
use crate::memory::{MemoryCalls, MemoryTransport, picture, sound};
use crate::ports::{Received, StoreError};
use crate::router::{Kind, Layer};

/// A server with calls, and its network.
struct Bench {
    calls: Calls,
    transport: MemoryTransport,
    store: MemoryCalls,
    tasks: Tasks,
    room: RoomId,
}

impl Bench {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        let (transport, store, tasks) = (MemoryTransport::default(), MemoryCalls::default(), Tasks::new());
        let (to, kept) = (Arc::new(transport.clone()), Arc::new(store.clone()));
        let calls = Calls::new(to, kept, limits, tasks.clone());
        Self { calls, transport, store, tasks, room: RoomId::random() }
    }

    async fn page(&self, name: &str, role: Role) -> Page {
        let principal =
            Principal { id: PrincipalId::parse(name).expect("an id"), kind: role.kind(), name: name.into() };
        let who = Authority { principal, role };
        Page(self.calls.attach(&self.room, &who).await.expect("there is room"))
    }

    /// Somebody who takes part, with the secret with which they could come back.
    async fn joined(&self, name: &str, role: Role) -> (Page, ParticipantId, String) {
        let mut page = self.page(name, role).await;
        page.0.say(Said::Join { resume: None, encrypted: false }).await;
        let Heard::Joined { participant, resume, resumed: false } = page.hears().await else {
            panic!("{name} did not join");
        };
        (page, participant, resume)
    }

    /// Nothing is left of the call.
    async fn is_over(&self) {
        for _ in 0..1000 {
            if self.calls.0.rooms().is_empty() {
                return;
            }
            settle().await;
        }
        panic!("the call is still there");
    }
}

struct Page(Attached);

impl Page {
    /// What it is told next, but for what others need of it.
    async fn hears(&mut self) -> Heard {
        loop {
            match self.hears_all().await {
                Heard::Needed { .. } => {}
                heard => return heard,
            }
        }
    }

    async fn hears_all(&mut self) -> Heard {
        timeout(Duration::from_secs(60), self.0.heard.recv()).await.expect("something").expect("the call lives")
    }

    /// Up to which layer its camera is needed, when that changes.
    async fn camera_is_needed(&mut self) -> Option<Layer> {
        match self.hears_all().await {
            Heard::Needed { source: Source::Camera, layer } => layer,
            other => panic!("{other:?}"),
        }
    }

    async fn publishes(&mut self, source: Source, how: Publishing) {
        self.0.say(Said::Set { source, how }).await;
    }

    /// Offers a microphone in section 0.
    async fn offers(&mut self) {
        let sections = vec![("0".to_owned(), Source::Microphone), ("1".to_owned(), Source::Camera)];
        self.0.say(Said::Publish { neg: 1, sdp: "microphone".to_owned(), sections }).await;
        assert_eq!(self.hears().await, Heard::Answer { neg: 1, sdp: "answer to microphone".to_owned() });
    }

    /// Takes the next offer, and says which tracks it then has.
    async fn accepts(&mut self) -> Vec<(String, TrackId)> {
        let Heard::Offer { neg, sdp } = self.hears().await else { panic!("no offer") };
        self.0.say(Said::Answer { neg, sdp: format!("answer to {sdp}") }).await;
        let Heard::Slots(slots) = self.hears().await else { panic!("no slots") };
        slots
    }

    async fn sees(&mut self, what: impl Fn(&View) -> bool) {
        let seen = self.0.view.wait_for(|view| what(view));
        timeout(Duration::from_secs(60), seen).await.expect("it comes to be").expect("the call lives");
    }
}

/// Lets every task do what it can.
async fn settle() {
    sleep(Duration::from_millis(100)).await;
}

#[tokio::test(start_paused = true)]
async fn what_one_says_arrives_at_the_other_until_it_is_muted() {
    let bench = Bench::new();
    let (mut ada, id, _) = bench.joined("ada", Role::Host).await;
    ada.offers().await;
    ada.publishes(Source::Microphone, Publishing::On).await;
    let (mut bob, _, _) = bench.joined("bob", Role::Viewer).await;
    let microphone = TrackId { of: id.clone(), source: Source::Microphone };
    assert_eq!(bob.accepts().await, [("0".to_owned(), microphone)]);
    let packets = bench.transport.track(0, "0", Kind::Audio);
    settle().await;
    for sequence in 0..10 {
        packets.send(sound(sequence, 10)).await.expect("it is read");
    }
    bob.sees(|view| view.speakers == [id.clone()]).await;
    settle().await;
    let line = bench.transport.lines()[0].clone();
    assert_eq!(line.taken().len(), 10);

    ada.publishes(Source::Microphone, Publishing::Muted).await;
    settle().await;
    packets.send(sound(10, 10)).await.expect("it is read");
    settle().await;
    assert_eq!(line.taken(), []);
    ada.publishes(Source::Microphone, Publishing::On).await;
    settle().await;
    packets.send(sound(300, 10)).await.expect("it is read");
    settle().await;
    assert_eq!(line.taken().iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>(), [10], "without a gap");

    drop((ada, bob, packets));
    bench.is_over().await;
    settle().await;
    let (made, closed) = bench.transport.connections();
    assert_eq!(made, closed, "every connection is closed");
    assert_eq!(bench.tasks.shutdown(Duration::from_secs(5)).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_track_that_its_participant_may_not_publish_goes_nowhere() {
    let bench = Bench::new();
    let (mut eve, _, _) = bench.joined("eve", Role::Viewer).await;
    eve.offers().await;
    eve.publishes(Source::Microphone, Publishing::On).await;
    assert!(matches!(eve.hears().await, Heard::Refused(_)));
    let packets = bench.transport.track(0, "0", Kind::Audio);
    let (bob, _, _) = bench.joined("bob", Role::Editor).await;
    for sequence in 0..10 {
        packets.send(sound(sequence, 10)).await.expect("it is read");
    }
    settle().await;
    assert_eq!(bench.transport.lines().len(), 0);
    assert!(bob.0.view.borrow().speakers.is_empty());
    // Nor does one that is not what the page says: pictures as sound.
    let pictures = bench.transport.track(0, "0", Kind::Video);
    settle().await;
    assert!(pictures.is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_page_that_comes_back_in_time_is_the_same_participant() {
    let bench = Bench::new();
    let (mut ada, _, _) = bench.joined("ada", Role::Host).await;
    let (mut bob, id, secret) = bench.joined("bob", Role::Editor).await;
    bob.offers().await;
    bob.publishes(Source::Microphone, Publishing::On).await;
    ada.accepts().await;
    drop(bob);
    ada.sees(|view| view.participants.iter().any(|seen| seen.lost)).await;
    let mut again = bench.page("bob", Role::Editor).await;
    again.0.say(Said::Join { resume: Some(secret.clone()), encrypted: false }).await;
    assert_eq!(again.hears().await, Heard::Joined { participant: id.clone(), resume: secret.clone(), resumed: true });
    ada.sees(|view| view.participants.iter().all(|seen| !seen.lost)).await;
    // His media never stopped.
    let packets = bench.transport.track(0, "0", Kind::Audio);
    settle().await;
    packets.send(sound(1, 10)).await.expect("it is read");
    settle().await;
    assert_eq!(bench.transport.lines()[0].taken().len(), 1);

    drop(again);
    ada.sees(|view| view.participants.len() == 1).await;
    let mut late = bench.page("bob", Role::Editor).await;
    late.0.say(Said::Join { resume: Some(secret), encrypted: false }).await;
    assert!(matches!(late.hears().await, Heard::Joined { resumed: false, .. }));
}

#[tokio::test(start_paused = true)]
async fn a_page_on_another_network_is_offered_a_new_session_once() {
    let bench = Bench::new();
    let (mut ada, _, _) = bench.joined("ada", Role::Host).await;
    let (mut bob, _, _) = bench.joined("bob", Role::Editor).await;
    ada.publishes(Source::Microphone, Publishing::On).await;
    assert_eq!(bob.accepts().await.len(), 1);
    for sdp in ["offer 2 that restarts", "offer 3 that restarts"] {
        bob.0.say(Said::Restart).await;
        // Asked again before it could have heard of it.
        bob.0.say(Said::Restart).await;
        let Heard::Offer { neg, sdp: offered } = bob.hears().await else { panic!("no offer") };
        assert_eq!(offered, sdp);
        bob.0.say(Said::Answer { neg, sdp: String::new() }).await;
        settle().await;
        assert!(bob.0.heard.try_recv().is_err());
    }
    // Nobody saw anything of it.
    assert!(ada.0.view.borrow().participants.iter().all(|seen| !seen.lost));
}

#[tokio::test(start_paused = true)]
async fn an_offer_that_was_lost_with_its_page_is_made_again() {
    let bench = Bench::new();
    let (mut ada, _, _) = bench.joined("ada", Role::Host).await;
    let (mut bob, _, secret) = bench.joined("bob", Role::Editor).await;
    ada.publishes(Source::Microphone, Publishing::On).await;
    let Heard::Offer { neg, .. } = bob.hears().await else { panic!("no offer") };
    drop(bob);
    settle().await;
    let mut again = bench.page("bob", Role::Editor).await;
    again.0.say(Said::Join { resume: Some(secret), encrypted: false }).await;
    assert!(matches!(again.hears().await, Heard::Joined { resumed: true, .. }));
    // An answer to something else changes nothing.
    again.0.say(Said::Answer { neg: neg + 1, sdp: String::new() }).await;
    assert_eq!(again.accepts().await.len(), 1);
    assert_eq!(ada.0.view.borrow_and_update().participants.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_dead_connection_ends_the_participation_and_says_to_join_anew() {
    let bench = Bench::new();
    let (mut ada, _, _) = bench.joined("ada", Role::Host).await;
    ada.offers().await;
    bench.transport.publisher_fails(0);
    assert_eq!(ada.hears().await, Heard::Ended { again: true });
    // That is all she hears of it, also if her page found it dead at the same time.
    ada.0.say(Said::Leave).await;
    ada.0.say(Said::Join { resume: None, encrypted: false }).await;
    assert!(matches!(ada.hears().await, Heard::Joined { resumed: false, .. }));
    let sections = Vec::new();
    ada.0.say(Said::Publish { neg: 1, sdp: "nonsense".to_owned(), sections }).await;
    assert!(matches!(ada.hears().await, Heard::Refused(_)));
    assert_eq!(ada.hears().await, Heard::Ended { again: true });
}

#[tokio::test(start_paused = true)]
async fn an_offer_says_it_of_all_its_sections() {
    let bench = Bench::new();
    let (mut ada, _, _) = bench.joined("ada", Role::Host).await;
    ada.offers().await;
    let sections = vec![("0".to_owned(), Source::Microphone), ("2".to_owned(), Source::Screen)];
    ada.0.say(Said::Publish { neg: 2, sdp: "screen".to_owned(), sections }).await;
    assert_eq!(ada.hears().await, Heard::Answer { neg: 2, sdp: "answer to screen".to_owned() });
    let [camera, screen] = ["1", "2"].map(|mid| bench.transport.track(0, mid, Kind::Video));
    settle().await;
    assert!(camera.is_closed(), "the last offer did not name it, and nothing before is kept");
    assert!(!screen.is_closed());
}

#[tokio::test(start_paused = true)]
async fn what_changes_all_the_time_arrives_as_it_is_in_the_end() {
    let bench = Bench::new();
    let (mut ada, _, _) = bench.joined("ada", Role::Host).await;
    let (mut bob, _, _) = bench.joined("bob", Role::Viewer).await;
    for last in [Publishing::On, Publishing::Off] {
        for _ in 0..100 {
            ada.publishes(Source::Camera, Publishing::On).await;
            ada.publishes(Source::Camera, Publishing::Off).await;
        }
        ada.publishes(Source::Camera, last).await;
        settle().await;
        if last == Publishing::On {
            assert_eq!(bob.accepts().await.len(), 1);
        } else {
            assert_eq!(bob.hears().await, Heard::Slots(Vec::new()));
        }
        settle().await;
        assert!(bob.0.heard.try_recv().is_err(), "it was told once");
    }
}

#[tokio::test(start_paused = true)]
async fn a_part_without_its_page_can_be_ended_at_once() {
    let bench = Bench::new();
    let (mut ada, _, _) = bench.joined("ada", Role::Host).await;
    let (bob, _, secret) = bench.joined("bob", Role::Editor).await;
    bob.0.lost().await;
    ada.sees(|view| view.participants.iter().any(|seen| seen.lost)).await;
    bob.0.say(Said::Leave).await;
    timeout(Duration::from_secs(1), ada.sees(|view| view.participants.len() == 1)).await.expect("without waiting");
    // One that has come back meanwhile is not ended by the page before.
    let mut again = bench.page("bob", Role::Editor).await;
    again.0.say(Said::Join { resume: Some(secret), encrypted: false }).await;
    let Heard::Joined { resume, resumed: false, .. } = again.hears().await else { panic!("not joined") };
    again.0.lost().await;
    let mut third = bench.page("bob", Role::Editor).await;
    third.0.say(Said::Join { resume: Some(resume), encrypted: false }).await;
    assert!(matches!(third.hears().await, Heard::Joined { resumed: true, .. }));
    again.0.say(Said::Leave).await;
    settle().await;
    assert_eq!(ada.0.view.borrow().participants.len(), 2);
    // A page that takes no part has nothing that could be ended.
    let mut onlooker = bench.page("eve", Role::Viewer).await;
    onlooker.0.lost().await;
    assert_eq!(onlooker.0.heard.recv().await, None);
}

#[tokio::test(start_paused = true)]
async fn another_camera_takes_the_line_of_one_that_is_off() {
    let bench = Bench::new();
    let (mut ada, _, _) = bench.joined("ada", Role::Host).await;
    let (mut bob, _, _) = bench.joined("bob", Role::Editor).await;
    let (mut eve, _, _) = bench.joined("eve", Role::Viewer).await;
    ada.publishes(Source::Camera, Publishing::On).await;
    let first = eve.accepts().await;
    ada.publishes(Source::Camera, Publishing::Off).await;
    assert_eq!(eve.hears().await, Heard::Slots(Vec::new()));
    bob.publishes(Source::Camera, Publishing::On).await;
    let Heard::Slots(second) = eve.hears().await else { panic!("no slots") };
    assert_eq!(first[0].0, second[0].0);
    assert_ne!(first[0].1, second[0].1);
    assert_eq!(bench.transport.keyframes(), 0, "nothing has arrived of which one could be asked for");
}

#[tokio::test(start_paused = true)]
async fn a_call_into_which_much_is_sent_takes_no_further_picture() {
    let bench = Bench::with(Limits { bits: 100_000, ..Limits::default() });
    let (mut ada, id, _) = bench.joined("ada", Role::Host).await;
    let (mut bob, _, _) = bench.joined("bob", Role::Editor).await;
    ada.offers().await;
    ada.publishes(Source::Camera, Publishing::On).await;
    let camera = bench.transport.track(0, "1", Kind::Video);
    settle().await;
    for sequence in 0..100 {
        camera.send(picture(sequence, 1000)).await.expect("it is read");
        sleep(Duration::from_millis(10)).await;
    }
    bob.accepts().await;
    bob.publishes(Source::Screen, Publishing::On).await;
    assert_eq!(bob.hears().await, Heard::Refused(Refused::TooMuch(100_000).into()));
    // What is muted is not passed on.
    ada.publishes(Source::Camera, Publishing::Muted).await;
    bob.publishes(Source::Screen, Publishing::On).await;
    ada.sees(|view| view.participants.iter().any(|seen| seen.id != id && !seen.tracks.is_empty())).await;
}

#[tokio::test(start_paused = true)]
async fn one_person_has_so_many_pages_and_a_line_that_comes_and_goes_costs_none() {
    let bench = Bench::with(Limits { pages_per_user: 3, ..Limits::default() });
    let (mut ada, _, mut secret) = bench.joined("ada", Role::Host).await;
    let mut lost = Vec::new();
    for _ in 0..10 {
        ada.0.lost().await;
        lost.push(ada);
        ada = bench.page("ada", Role::Host).await;
        ada.0.say(Said::Join { resume: Some(secret), encrypted: false }).await;
        let Heard::Joined { resume, resumed: true, .. } = ada.hears().await else { panic!("not back") };
        secret = resume;
    }
    let others = [bench.page("ada", Role::Host).await, bench.page("ada", Role::Host).await];
    let principal = others[0].0.view.borrow().participants[0].principal.clone();
    let who = Authority { principal, role: Role::Host };
    let refused = bench.calls.attach(&bench.room, &who).await.map(|_| ()).expect_err("there are three");
    assert_eq!(refused.to_string(), "at most 3 pages, streams and players of one person are at one call; close some");
    bench.page("bob", Role::Viewer).await;
    drop(others);
    settle().await;
    bench.page("ada", Role::Host).await;
}

#[tokio::test(start_paused = true)]
async fn how_it_goes_with_a_call_is_known_while_somebody_is_in_it() {
    let bench = Bench::new();
    let (mut ada, _, _) = bench.joined("ada", Role::Host).await;
    ada.offers().await;
    ada.publishes(Source::Microphone, Publishing::On).await;
    let (mut bob, _, _) = bench.joined("bob", Role::Viewer).await;
    bob.accepts().await;
    let report = Report { sent_lost: 0, received_lost: 20, round_trip: Duration::ZERO, sent: 0, received: 0 };
    bob.0.say(Said::Report(report)).await;
    let packets = bench.transport.track(0, "0", Kind::Audio);
    for sequence in 0..250 {
        packets.send(sound(sequence, 10)).await.expect("it is read");
        sleep(Duration::from_millis(20)).await;
    }
    let stats = bench.calls.stats().remove(&bench.room).expect("a call");
    assert_eq!((stats.participants, stats.lost(), stats.reports.len()), (2, (0.0, 0.02), 1));
    // Fifty packets of 5 bytes, each with 24 besides.
    assert!((11_000.0..12_200.0).contains(&stats.received) && stats.sent > 11_000.0, "{stats:?}");
    drop((ada, bob, packets));
    bench.is_over().await;
    assert!(bench.calls.stats().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_server_without_calls_says_why() {
    let calls = Calls::off("calls are off here", Arc::new(MemoryCalls::default()), Tasks::new());
    let principal = Principal { id: PrincipalId::random(), kind: Role::Host.kind(), name: "ada".into() };
    let who = Authority { principal, role: Role::Host };
    let refused = calls.attach(&RoomId::random(), &who).await.map(|_| ()).expect_err("there are none");
    assert_eq!(refused.to_string(), "calls are off here");
}

#[tokio::test(start_paused = true)]
async fn a_page_knows_what_of_its_camera_anybody_shows() {
    let bench = Bench::new();
    let (mut ada, id, _) = bench.joined("ada", Role::Host).await;
    ada.publishes(Source::Camera, Publishing::On).await;
    assert_eq!(ada.camera_is_needed().await, None, "nobody is here");
    let (bob, _, _) = bench.joined("bob", Role::Viewer).await;
    assert_eq!(ada.camera_is_needed().await, Some(Layer::LOW));
    let (eve, _, _) = bench.joined("eve", Role::Viewer).await;
    let track = TrackId { of: id, source: Source::Camera };
    for layer in [Some(Layer::HIGH), Some(Layer::MIDDLE), None] {
        bob.0.say(Said::Want { track: track.clone(), layer }).await;
        assert_eq!(ada.camera_is_needed().await, layer.or(Some(Layer::LOW)), "Eve wants the smallest");
    }
    drop(eve);
    sleep(Duration::from_secs(30)).await;
    assert_eq!(ada.camera_is_needed().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_thin_line_carries_the_voice_and_no_picture_until_it_is_wider() {
    let bench = Bench::new();
    let (mut ada, id, _) = bench.joined("ada", Role::Host).await;
    ada.offers().await;
    ada.publishes(Source::Microphone, Publishing::On).await;
    ada.publishes(Source::Camera, Publishing::On).await;
    let (mut bob, _, _) = bench.joined("bob", Role::Viewer).await;
    assert_eq!(bob.accepts().await.len(), 2);
    let (voice, camera) = (bench.transport.track(0, "0", Kind::Audio), bench.transport.track(0, "1", Kind::Video));
    let mut sequence = 0;
    let mut a_second = async || {
        for _ in 0..20 {
            sequence += 1;
            voice.send(sound(sequence, 60)).await.expect("it is read");
            camera.send(picture(sequence, 1000)).await.expect("it is read");
            sleep(Duration::from_millis(50)).await;
        }
        let sent: Vec<usize> = bench.transport.lines().iter().map(|line| line.taken().len()).collect();
        sent
    };
    // Until it fell once, the estimate is a guess, and nothing that is all there is gives way to it.
    for guess in [100_000, 1_000_000] {
        bench.transport.takes(0, guess);
        a_second().await;
        assert_eq!(a_second().await, [20, 20]);
    }
    bench.transport.takes(0, 100_000);
    let paused = vec![TrackId { of: id, source: Source::Camera }];
    a_second().await;
    assert_eq!(a_second().await, [20, 0]);
    assert_eq!(bob.hears().await, Heard::Held { reduced: Vec::new(), paused, undecodable: Vec::new() });
    bench.transport.takes(0, 1_000_000);
    for _ in 0..4 {
        a_second().await;
    }
    assert_eq!(a_second().await, [20, 20]);
    assert_eq!(bob.hears().await, Heard::Held { reduced: Vec::new(), paused: Vec::new(), undecodable: Vec::new() });
}

#[tokio::test(start_paused = true)]
async fn what_a_receiver_cannot_decode_is_not_sent_and_they_know() {
    let bench = Bench::new();
    let (mut ada, id, _) = bench.joined("ada", Role::Host).await;
    ada.offers().await;
    ada.publishes(Source::Microphone, Publishing::On).await;
    ada.publishes(Source::Camera, Publishing::On).await;
    bench.transport.lacks(Codec::H264);
    let (mut bob, _, _) = bench.joined("bob", Role::Editor).await;
    bob.accepts().await;
    let voice = bench.transport.track(0, "0", Kind::Audio);
    let camera = bench.transport.track_of(0, "1", Codec::H264);
    let undecodable = vec![TrackId { of: id, source: Source::Camera }];
    assert_eq!(bob.hears().await, Heard::Held { reduced: Vec::new(), paused: Vec::new(), undecodable });
    for sequence in 0..10 {
        voice.send(sound(sequence, 60)).await.expect("it is read");
        let packet = Received { codec: Codec::H264, ..picture(sequence, 100) };
        camera.send(packet).await.expect("it is read");
    }
    settle().await;
    let sent: Vec<usize> = bench.transport.lines().iter().map(|line| line.taken().len()).collect();
    assert_eq!(sent, [10, 0]);
    assert_eq!(bench.transport.keyframes(), 0, "none is made for somebody who cannot use it");
    ada.publishes(Source::Camera, Publishing::Off).await;
    assert!(matches!(bob.hears().await, Heard::Held { undecodable, .. } if undecodable.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn encryption_changes_only_while_nobody_is_in_the_call() {
    let bench = Bench::new();
    let by = Principal { id: PrincipalId::random(), kind: Role::Host.kind(), name: "ada".into() };
    let encrypt = |on| bench.calls.encrypt(&bench.room, on, &by);
    assert_eq!(encrypt(false).await, Ok(None));
    let (ada, _, _) = bench.joined("ada", Role::Host).await;
    assert_eq!(encrypt(false).await, Ok(None), "it is so already");
    assert_eq!(encrypt(true).await, Err(Error::InUse));
    ada.0.say(Said::Leave).await;
    settle().await;
    let on = encrypt(true).await.expect("nobody is in it");
    assert_eq!(on.as_ref().map(|on| (&on.by, on.by_name.as_str())), Some((&by.id, "ada")));
    assert_eq!(encrypt(true).await.as_ref(), Ok(&on), "it is on since then");
    assert_eq!(bench.calls.encryption(&bench.room).await, Ok(on));

    // Also for who comes when nothing is left of that call.
    drop(ada);
    bench.is_over().await;
    let mut bob = bench.page("bob", Role::Editor).await;
    assert!(bob.0.view.borrow_and_update().encrypted);
    bob.0.say(Said::Join { resume: None, encrypted: false }).await;
    assert_eq!(bob.hears().await, Heard::Refused(Refused::Encrypted.into()));
    bob.0.say(Said::Join { resume: None, encrypted: true }).await;
    assert!(matches!(bob.hears().await, Heard::Joined { .. }));
    assert_eq!(encrypt(false).await, Err(Error::InUse));
}

#[tokio::test(start_paused = true)]
async fn nobody_joins_a_call_of_which_it_is_not_known_whether_it_is_encrypted() {
    let bench = Bench::new();
    let broken = StoreError::Failed("the disk is gone".to_owned());
    bench.store.breaks(Some(broken.clone()));
    let principal = Principal { id: PrincipalId::random(), kind: Role::Host.kind(), name: "ada".into() };
    let who = Authority { principal, role: Role::Host };
    for _ in 0..2 {
        let refused = bench.calls.attach(&bench.room, &who).await.map(|_| ()).expect_err("it is not known");
        assert_eq!(refused, Error::Store(broken.clone()));
    }
    bench.is_over().await;
    bench.store.breaks(None);
    bench.joined("ada", Role::Host).await;
}
