use buildspaces_kernel::ids::PrincipalId;
use buildspaces_policy::Role;

use super::*;

fn id(name: &str) -> ParticipantId {
    ParticipantId::parse(name).expect("an id")
}

fn track(name: &str, source: Source) -> TrackId {
    TrackId { of: id(name), source }
}

fn who(name: &str, role: Role) -> Authority {
    let principal = Principal { id: PrincipalId::parse(name).expect("an id"), kind: role.kind(), name: name.into() };
    Authority { principal, role }
}

/// A call in which everybody's name is their id.
struct Bench {
    call: Call,
    now: Instant,
}

impl Bench {
    fn with(people: &[(&str, Role)]) -> Self {
        let limits = Limits { participants: 4, cameras: 2, screens: 1, bits: 3_000_000, ..Limits::default() };
        let mut bench = Self { call: Call::new(limits, true), now: Instant::now() };
        for (name, role) in people {
            bench.join(name, *role).expect("there is room");
        }
        bench
    }

    fn tell(&mut self, input: Input) -> Result<Effects, Refused> {
        self.call.handle(self.now, input)
    }

    fn join(&mut self, name: &str, role: Role) -> Result<Effects, Refused> {
        self.tell(Input::Joined { id: id(name), who: who(name, role), is_stream: false, encrypts: false })
    }

    fn back(&mut self, name: &str, role: Role) -> Result<Effects, Refused> {
        self.tell(Input::Back { id: id(name), who: who(name, role) })
    }

    fn publishes(&mut self, name: &str, source: Source, how: Publishing) -> Result<Effects, Refused> {
        self.tell(Input::Publishes { id: id(name), source, how })
    }

    fn wait(&mut self, seconds: u64) -> Effects {
        self.now += Duration::from_secs(seconds);
        self.tell(Input::Elapsed).expect("time passes")
    }

    fn is_sent(&self, name: &str) -> Vec<String> {
        self.call.wanted(&id(name)).keys().map(ToString::to_string).collect()
    }
}

#[test]
fn everybody_is_sent_what_others_publish_and_want_nothing_of() {
    let mut bench = Bench::with(&[("ada", Role::Host), ("bob", Role::Editor), ("eve", Role::Viewer)]);
    bench.publishes("ada", Source::Microphone, Publishing::Muted).expect("may");
    bench.publishes("bob", Source::Camera, Publishing::On).expect("may");
    assert_eq!(bench.is_sent("ada"), ["bob/camera"]);
    assert_eq!(bench.is_sent("eve"), ["ada/microphone", "bob/camera"]);
    let want = |layer| Input::Want { id: id("eve"), track: track("bob", Source::Camera), layer };
    assert!(bench.tell(want(Some(Layer::HIGH))).expect("may").subscriptions);
    assert_eq!(bench.call.wanted(&id("eve"))[&track("bob", Source::Camera)], Layer::HIGH);
    assert!(bench.tell(want(None)).expect("may").subscriptions);
    assert!(!bench.tell(want(None)).expect("may").subscriptions);
    assert_eq!(bench.is_sent("eve"), ["ada/microphone"]);
    // Who comes again is wanted again.
    let gone = bench.tell(Input::Left(id("bob"))).expect("may");
    assert_eq!(gone.gone, [id("bob")]);
    assert!(gone.changed && gone.subscriptions);
    assert_eq!(bench.is_sent("ada"), Vec::<String>::new());
}

#[test]
fn who_may_not_publish_is_refused_in_words() {
    let mut bench = Bench::with(&[("eve", Role::Viewer), ("kit", Role::Agent)]);
    let refused = bench.publishes("eve", Source::Microphone, Publishing::On).expect_err("a viewer looks on");
    assert_eq!(refused.to_string(), "somebody with the role viewer may not speak in the call");
    assert!(bench.publishes("kit", Source::Microphone, Publishing::On).is_ok());
    assert!(bench.publishes("kit", Source::Camera, Publishing::On).is_err());
    assert!(bench.publishes("kit", Source::Camera, Publishing::Off).is_ok(), "off is always allowed");
    assert!(bench.publishes("nobody", Source::Camera, Publishing::On).is_err());
}

#[test]
fn only_the_first_find_room() {
    let mut bench = Bench::with(&[("a", Role::Editor), ("b", Role::Editor), ("c", Role::Editor), ("d", Role::Editor)]);
    assert_eq!(bench.join("e", Role::Host), Err(Refused::Full(4)));
    for (name, source, fits) in [
        ("a", Source::Camera, true),
        ("b", Source::Camera, true),
        ("c", Source::Camera, false),
        ("c", Source::Screen, true),
        ("a", Source::Screen, false),
        ("a", Source::Camera, true),
        ("d", Source::Microphone, true),
    ] {
        assert_eq!(bench.publishes(name, source, Publishing::On).is_ok(), fits, "{name} {source:?}");
    }
}

#[test]
fn when_much_is_sent_no_further_picture_is_turned_on_but_voices_are() {
    let mut bench = Bench::with(&[("ada", Role::Host), ("bob", Role::Editor)]);
    bench.publishes("ada", Source::Camera, Publishing::On).expect("there is room");
    bench.call.set_incoming(3_000_000);
    let refused = bench.publishes("bob", Source::Camera, Publishing::On).expect_err("there is none");
    assert_eq!(
        refused.to_string(),
        "at most 3 Mbit/s are sent into one call, and so much is now; somebody has to turn off a camera or a screen first"
    );
    assert_eq!(bench.publishes("ada", Source::Screen, Publishing::On), Err(refused.clone()));
    assert!(bench.publishes("bob", Source::Microphone, Publishing::On).is_ok());
    // What is on stays so; what was muted meanwhile is one more.
    assert!(bench.publishes("ada", Source::Camera, Publishing::On).is_ok());
    bench.publishes("ada", Source::Camera, Publishing::Muted).expect("less is always allowed");
    assert_eq!(bench.publishes("ada", Source::Camera, Publishing::On), Err(refused));
    bench.call.set_incoming(2_999_999);
    assert!(bench.publishes("bob", Source::Camera, Publishing::On).is_ok());
}

#[test]
fn muting_closes_a_track_and_only_its_owner_opens_it_again() {
    let mut bench = Bench::with(&[("ada", Role::Host), ("bob", Role::Editor)]);
    let microphone = track("bob", Source::Microphone);
    let on = bench.publishes("bob", Source::Microphone, Publishing::On).expect("may");
    assert_eq!((on.open, on.subscriptions), (vec![(microphone.clone(), true)], true));
    let mute = |by: &str, of: &str| Input::Mute { by: id(by), track: track(of, Source::Microphone) };
    assert!(bench.tell(mute("bob", "ada")).is_err(), "an editor is no moderator");
    assert_eq!(bench.tell(mute("ada", "ada")), Err(Refused::Gone), "nothing is published there");
    bench.tell(Input::Heard { id: id("bob"), level: 10 }).expect("may");
    assert_eq!(bench.call.speakers(), [id("bob")]);
    let muted = bench.tell(mute("ada", "bob")).expect("may");
    assert_eq!(muted.open, [(microphone.clone(), false)]);
    assert!(muted.speakers && matches!(muted.told[..], [(_, Told::Muted { source: Source::Microphone, .. })]));
    assert!(!bench.tell(Input::Heard { id: id("bob"), level: 10 }).expect("may").speakers);
    assert_eq!(bench.tell(mute("ada", "bob")).expect("may"), Effects::default());
    let asked = bench.tell(Input::Ask { by: id("ada"), track: microphone.clone() }).expect("may");
    assert!(!bench.call.is_open(&microphone) && asked.told.len() == 1 && asked.open.is_empty());
    // Also for what was never there.
    let asked = bench.tell(Input::Ask { by: id("ada"), track: track("bob", Source::Camera) }).expect("may");
    assert!(asked.told.len() == 1 && !asked.changed);
    bench.publishes("bob", Source::Microphone, Publishing::On).expect("may");
    assert!(bench.call.is_open(&microphone));
}

#[test]
fn a_moderator_takes_hands_down_and_nobody_else_does() {
    let mut bench = Bench::with(&[("ada", Role::Host), ("bob", Role::Editor)]);
    let lower = |by: &str, of: &str| Input::LowerHand { by: id(by), of: id(of) };
    assert!(matches!(bench.tell(lower("bob", "ada")), Err(Refused::Denied(_))), "an editor is no moderator");
    assert_eq!(bench.tell(lower("ada", "eve")), Err(Refused::Gone));
    let by = who("ada", Role::Host).principal;
    let lowered = Effects { told: vec![(id("bob"), Told::HandLowered { by })], ..Effects::default() };
    assert_eq!(bench.tell(lower("ada", "bob")), Ok(lowered));
}

#[test]
fn who_loses_the_connection_is_kept_for_a_while() {
    let mut bench = Bench::with(&[("ada", Role::Host), ("bob", Role::Editor)]);
    assert!(bench.tell(Input::Lost(id("bob"))).expect("here").changed);
    assert!(bench.call.seen()[1].lost);
    assert_eq!(bench.wait(15).gone, []);
    assert!(bench.back("bob", Role::Editor).expect("here").changed);
    assert_eq!(bench.call.deadline(), None);
    bench.tell(Input::Lost(id("bob"))).expect("here");
    assert_eq!(bench.call.deadline(), Some(bench.now + KEPT_FOR));
    assert_eq!(bench.wait(20).gone, [id("bob")]);
    assert_eq!(bench.back("bob", Role::Editor), Err(Refused::Gone));
}

#[test]
fn who_comes_back_with_less_publishes_less() {
    let mut bench = Bench::with(&[("bob", Role::Editor)]);
    bench.publishes("bob", Source::Microphone, Publishing::On).expect("may");
    bench.publishes("bob", Source::Screen, Publishing::On).expect("may");
    bench.tell(Input::Lost(id("bob"))).expect("here");
    let back = bench.back("bob", Role::Commenter).expect("here");
    assert_eq!(back.open, [(track("bob", Source::Screen), false)]);
    assert!(bench.call.is_open(&track("bob", Source::Microphone)));
}

#[test]
fn a_stream_sends_and_nothing_else_and_ends_with_its_connection() {
    let mut bench = Bench::with(&[("ada", Role::Host)]);
    let stream = Input::Joined { id: id("obs"), who: who("bob", Role::Editor), is_stream: true, encrypts: false };
    bench.tell(stream).expect("there is room");
    bench.publishes("obs", Source::Camera, Publishing::On).expect("may");
    bench.publishes("ada", Source::Microphone, Publishing::On).expect("may");
    assert_eq!((bench.is_sent("ada"), bench.is_sent("obs")), (vec!["obs/camera".to_owned()], Vec::new()));
    assert!(bench.call.seen()[1].is_stream);
    let camera = track("obs", Source::Camera);
    let muted = bench.tell(Input::Mute { by: id("ada"), track: camera.clone() }).expect("may");
    assert_eq!(muted.open, [(camera.clone(), false)]);
    assert_eq!(bench.tell(Input::Ask { by: id("ada"), track: camera }), Err(Refused::NobodyThere));
    assert_eq!(bench.tell(Input::Lost(id("obs"))).expect("here").gone, [id("obs")]);
    assert_eq!(bench.call.seen().len(), 1);
}

#[test]
fn the_list_has_the_order_in_which_people_came() {
    let mut bench = Bench::with(&[("zoe", Role::Host), ("ada", Role::Editor), ("mia", Role::Editor)]);
    bench.tell(Input::Left(id("ada"))).expect("here");
    bench.join("ada", Role::Editor).expect("there is room");
    let names: Vec<_> = bench.call.seen().into_iter().map(|seen| seen.id.to_string()).collect();
    assert_eq!(names, ["zoe", "mia", "ada"]);
}

#[test]
fn names_of_tracks_are_read_back() {
    let camera = track("ada", Source::Camera);
    assert_eq!(TrackId::parse(&camera.to_string()), Some(camera));
    for bad in ["", "ada", "ada/", "/camera", "ada/mouth", "ada/camera/x", "A/camera"] {
        assert_eq!(TrackId::parse(bad), None, "{bad:?}");
    }
}

#[test]
fn everybody_sees_how_somebody_says_they_are_connected() {
    let mut bench = Bench::with(&[("ada", Role::Host), ("bob", Role::Editor)]);
    let report = |sent_lost| {
        let round_trip = Duration::from_millis(20);
        Input::Reported {
            id: id("bob"),
            report: Report { sent_lost, received_lost: 0, round_trip, sent: 0, received: 0 },
        }
    };
    let seen = |bench: &Bench| bench.call.seen().iter().map(|seen| seen.quality).collect::<Vec<_>>();
    assert_eq!(seen(&bench), [None, None]);
    assert!(bench.tell(report(0)).expect("he is there").changed);
    assert_eq!(seen(&bench), [None, Some(Quality::Good)]);
    assert_eq!(bench.tell(report(10)), Ok(Effects::default()));
    assert!(bench.tell(report(100)).expect("he is there").changed);
    assert_eq!(seen(&bench), [None, Some(Quality::Poor(crate::quality::Trouble::Loss))]);
    let due = bench.call.deadline().expect("he may fall silent");
    assert_eq!(due - bench.now, crate::quality::SILENT_FOR);
    assert!(bench.wait(10).changed);
    assert_eq!(seen(&bench), [None, Some(Quality::Lost)]);
    assert_eq!(bench.call.deadline(), None);
    bench.tell(Input::Left(id("bob"))).expect("he may");
    assert_eq!(bench.tell(report(0)), Err(Refused::Gone));
}

#[test]
fn pages_that_encrypt_and_others_are_never_in_one_call() {
    let mut bench = Bench::with(&[]);
    let join = |bench: &mut Bench, is_stream, encrypts| {
        bench.tell(Input::Joined { id: id("ada"), who: who("ada", Role::Host), is_stream, encrypts }).map(|_| ())
    };
    assert_eq!(join(&mut bench, false, true), Err(Refused::NotEncrypted));
    assert_eq!(bench.call.lets_look_in(), Ok(()));
    bench.call.set_encrypted(true);
    assert_eq!(join(&mut bench, false, false), Err(Refused::Encrypted));
    assert_eq!(join(&mut bench, true, false), Err(Refused::Sealed));
    assert_eq!(bench.call.lets_look_in(), Err(Refused::Sealed));
    assert_eq!(join(&mut bench, false, true), Ok(()));
    assert!(bench.call.is_encrypted());
}

fn agrees(name: &str) -> Input {
    Input::Agrees { id: id(name), on: true }
}

fn recorded(bench: &Bench) -> Vec<String> {
    bench.call.recorded().iter().map(|(track, who)| format!("{track} of {}", who.name)).collect()
}

#[test]
fn nothing_of_anybody_is_recorded_before_they_agreed() {
    let mut bench = Bench::with(&[("ada", Role::Host), ("bob", Role::Editor)]);
    for name in ["ada", "bob"] {
        bench.publishes(name, Source::Microphone, Publishing::On).expect("they may");
    }
    assert!(matches!(bench.tell(Input::Record { by: id("bob"), on: true }), Err(Refused::Denied(_))));
    let effects = bench.tell(Input::Record { by: id("ada"), on: true }).expect("a host may");
    assert!(matches!(&effects.recording, Some(Turn::Begins(by)) if by.name.as_ref() == "ada"));
    assert!(effects.changed && effects.subscriptions);
    assert_eq!(recorded(&bench), ["ada/microphone of ada"]);
    assert_eq!(bench.tell(Input::Record { by: id("ada"), on: true }).expect("it is on").recording, None);
    assert!(bench.tell(agrees("bob")).expect("he is here").subscriptions);
    assert_eq!(recorded(&bench), ["ada/microphone of ada", "bob/microphone of bob"]);
    assert!(!bench.tell(agrees("bob")).expect("he is here").changed, "he said so before");
    let no_more = || Input::Agrees { id: id("bob"), on: false };
    assert!(bench.tell(no_more()).expect("he is here").subscriptions);
    assert_eq!(recorded(&bench), ["ada/microphone of ada"]);
    assert!(!bench.tell(no_more()).expect("he is here").changed);
    bench.tell(agrees("bob")).expect("he is here");

    // Who comes later did not agree; who comes again did.
    bench.join("eve", Role::Editor).expect("there is room");
    bench.publishes("eve", Source::Camera, Publishing::On).expect("she may");
    bench.tell(Input::Left(id("bob"))).expect("he was there");
    bench.join("bob", Role::Editor).expect("there is room");
    bench.publishes("bob", Source::Camera, Publishing::On).expect("he may");
    assert_eq!(recorded(&bench), ["ada/microphone of ada", "bob/camera of bob"]);
    assert_eq!(bench.call.agreed(), [id("ada"), id("bob")]);

    // What was agreed to is over with the recording.
    assert!(matches!(bench.tell(Input::Record { by: id("bob"), on: false }), Err(Refused::Denied(_))));
    let effects = bench.tell(Input::Record { by: id("ada"), on: false }).expect("a host may");
    assert_eq!(effects.recording, Some(Turn::Ends(State::Stopped)));
    bench.tell(agrees("eve")).expect("late, but no fault of hers");
    bench.tell(Input::Record { by: id("ada"), on: true }).expect("a host may");
    assert_eq!(bench.call.agreed(), [id("ada")]);
}

#[test]
fn a_recording_ends_with_the_call_or_by_itself() {
    let mut bench = Bench::with(&[("ada", Role::Host), ("bob", Role::Editor)]);
    bench.tell(Input::Record { by: id("ada"), on: true }).expect("a host may");
    let effects = bench.tell(Input::RecordingEnded(State::DiskFull)).expect("it may");
    assert_eq!(effects.recording, Some(Turn::Ends(State::DiskFull)));
    assert!(effects.changed && bench.call.recording().is_none());
    bench.tell(Input::Record { by: id("ada"), on: true }).expect("a host may");
    assert_eq!(bench.tell(Input::Left(id("ada"))).expect("she was there").recording, None);
    assert_eq!(bench.tell(Input::Left(id("bob"))).expect("he was").recording, Some(Turn::Ends(State::Complete)));

    let mut call = Call::new(Limits::default(), false);
    call.handle(
        bench.now,
        Input::Joined { id: id("ada"), who: who("ada", Role::Host), is_stream: false, encrypts: false },
    )
    .expect("room");
    let refused = call.handle(bench.now, Input::Record { by: id("ada"), on: true });
    assert_eq!(refused, Err(Refused::NotRecorded));
}
