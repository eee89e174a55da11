use super::*;

const ADA: SubscriberId = SubscriberId(1);
const BOB: SubscriberId = SubscriberId(2);
const KEY: &[u8] = &[0x10, 0x00];
const DELTA: &[u8] = &[0x10, 0x01];

/// A router and the time.
struct Bench {
    router: Router,
    codec: Codec,
    now: Instant,
    effects: Effects,
}

impl Bench {
    fn new(kind: Kind) -> Self {
        let codec = Codec::of(kind)[0];
        let mut bench = Self { router: Router::new(kind), codec, now: Instant::now(), effects: Effects::default() };
        bench.tell(Input::Open(true));
        bench
    }

    fn tell(&mut self, input: Input<'_>) -> &Effects {
        self.router.handle(self.now, input, &mut self.effects);
        &self.effects
    }

    /// Who gets this.
    fn sends(&mut self, layer: u8, payload: &[u8]) -> Vec<SubscriberId> {
        let packet = Packet { ssrc: 100 + u32::from(layer), layer: Layer(layer), codec: self.codec, payload };
        self.tell(Input::Packet(packet)).forward.iter().map(|(id, _)| *id).collect()
    }

    fn wait(&mut self, ms: u64) -> &Effects {
        self.now += Duration::from_millis(ms);
        self.tell(Input::Elapsed)
    }
}

#[test]
fn sound_is_passed_on_at_once_and_pictures_from_a_keyframe_on() {
    let mut audio = Bench::new(Kind::Audio);
    audio.tell(Input::Subscribed { id: ADA, want: Some(Layer::HIGH) });
    assert_eq!(audio.sends(0, b"sound"), [ADA]);

    let mut video = Bench::new(Kind::Video);
    video.tell(Input::Subscribed { id: ADA, want: Some(Layer::HIGH) });
    assert_eq!(video.sends(0, DELTA), []);
    assert_eq!(video.sends(0, KEY), [ADA]);
    assert_eq!(video.sends(0, DELTA), [ADA]);
    video.tell(Input::Subscribed { id: BOB, want: Some(Layer::HIGH) });
    assert_eq!(video.sends(0, DELTA), [ADA]);
    assert_eq!(video.sends(0, KEY), [ADA, BOB]);
}

#[test]
fn pictures_of_h264_are_passed_on_from_their_parameters_on() {
    let mut video = Bench { codec: Codec::H264, ..Bench::new(Kind::Video) };
    video.tell(Input::Subscribed { id: ADA, want: Some(Layer::HIGH) });
    let (parameters, whole, next) = (&[0x67, 0x64], &[0x65, 0x88], &[0x41, 0x9a]);
    assert_eq!(video.sends(0, whole), []);
    assert_eq!(video.sends(0, parameters), [ADA]);
    assert_eq!(video.sends(0, whole), [ADA]);
    assert_eq!(video.sends(0, next), [ADA]);
}

#[test]
fn a_keyframe_is_asked_for_until_it_comes_and_not_more_often_than_allowed() {
    let mut bench = Bench::new(Kind::Video);
    bench.sends(0, KEY);
    assert_eq!(bench.tell(Input::Subscribed { id: ADA, want: Some(Layer::LOW) }).keyframes, [100]);
    assert!(bench.tell(Input::Subscribed { id: BOB, want: Some(Layer::LOW) }).keyframes.is_empty());
    let asked: usize = (0..8).map(|_| bench.wait(250).keyframes.len()).sum();
    assert_eq!(asked, 4, "two seconds, every half second");
    bench.sends(0, KEY);
    assert_eq!((0..8).map(|_| bench.wait(250).keyframes.len()).sum::<usize>(), 0);
    assert_eq!(bench.tell(Input::KeyframeWanted(BOB)).keyframes, [100]);
    assert!(bench.tell(Input::KeyframeWanted(ADA)).keyframes.is_empty());
    // Of one that came, who lost it waits as long, and who comes after it less. The router wants to be woken for both.
    bench.sends(0, KEY);
    bench.now += Duration::from_millis(40);
    assert!(bench.tell(Input::KeyframeWanted(ADA)).keyframes.is_empty());
    assert!(bench.wait(259).keyframes.is_empty());
    assert_eq!(bench.router.deadline(), Some(bench.now + Duration::from_millis(201)));
    assert!(bench.wait(200).keyframes.is_empty());
    assert_eq!(bench.wait(1).keyframes, [100]);
    bench.sends(0, KEY);
    bench.now += Duration::from_millis(40);
    bench.tell(Input::Subscribed { id: SubscriberId(3), want: Some(Layer::LOW) });
    assert_eq!(bench.router.deadline(), Some(bench.now + Duration::from_millis(210)));
    assert!(bench.wait(209).keyframes.is_empty());
    assert_eq!(bench.wait(1).keyframes, [100]);
}

#[test]
fn a_subscriber_stays_on_its_layer_until_a_keyframe_of_the_other() {
    let mut bench = Bench::new(Kind::Video);
    for layer in 0..3 {
        bench.sends(layer, KEY);
    }
    bench.tell(Input::Subscribed { id: ADA, want: Some(Layer::LOW) });
    assert_eq!(bench.sends(0, KEY), [ADA]);
    assert_eq!(bench.tell(Input::Want { id: ADA, layer: Some(Layer::HIGH) }).keyframes, [102]);
    assert_eq!(bench.sends(0, DELTA), [ADA]);
    assert_eq!(bench.sends(1, KEY), []);
    assert_eq!(bench.sends(2, DELTA), []);
    assert_eq!(bench.sends(2, KEY), [ADA]);
    assert_eq!(bench.sends(0, KEY), []);
}

#[test]
fn a_layer_that_stops_gives_way_to_the_best_that_is_there() {
    let mut bench = Bench::new(Kind::Video);
    bench.tell(Input::Subscribed { id: ADA, want: Some(Layer::HIGH) });
    bench.sends(0, KEY);
    bench.sends(2, KEY);
    assert_eq!(bench.sends(2, DELTA), [ADA]);
    for _ in 0..8 {
        bench.now += Duration::from_millis(250);
        bench.sends(0, DELTA);
        bench.tell(Input::Elapsed);
    }
    assert_eq!(bench.sends(0, KEY), [ADA]);
    // And back, when it is there again.
    bench.sends(2, DELTA);
    assert_eq!(bench.sends(2, KEY), [ADA]);
}

#[test]
fn a_still_screen_is_not_taken_for_one_that_is_gone() {
    let mut bench = Bench::new(Kind::Video);
    bench.tell(Input::Subscribed { id: ADA, want: Some(Layer::HIGH) });
    bench.sends(0, KEY);
    assert_eq!((0..100).map(|_| bench.wait(250).keyframes.len()).sum::<usize>(), 0);
    assert_eq!(bench.sends(0, DELTA), [ADA]);
}

#[test]
fn nothing_of_a_muted_track_is_passed_on_and_it_goes_on_as_another_source() {
    let mut bench = Bench::new(Kind::Video);
    bench.tell(Input::Subscribed { id: ADA, want: Some(Layer::HIGH) });
    bench.sends(0, KEY);
    let before = bench.effects.forward[0].1;
    assert!(bench.tell(Input::Open(false)).keyframes.is_empty());
    assert_eq!(bench.sends(0, KEY), []);
    assert_eq!(bench.router.deadline(), None);
    assert_eq!(bench.tell(Input::Open(true)).keyframes, [100]);
    assert_eq!(bench.sends(0, DELTA), []);
    assert_eq!(bench.sends(0, KEY), [ADA]);
    assert_ne!(bench.effects.forward[0].1, before);
}

#[test]
fn what_is_paused_goes_on_as_another_source_and_from_a_keyframe_on() {
    let mut bench = Bench::new(Kind::Video);
    bench.tell(Input::Subscribed { id: ADA, want: None });
    bench.tell(Input::Subscribed { id: BOB, want: Some(Layer::LOW) });
    assert_eq!(bench.sends(0, KEY), [BOB]);
    assert_eq!(bench.tell(Input::Want { id: ADA, layer: Some(Layer::LOW) }).keyframes, [100]);
    assert_eq!(bench.sends(0, KEY), [ADA, BOB]);
    let [ada, bob] = [0, 1].map(|at| bench.effects.forward[at].1);
    assert_eq!(bob, ada);
    bench.tell(Input::Want { id: ADA, layer: None });
    assert_eq!(bench.sends(0, KEY), [BOB]);
    bench.tell(Input::Want { id: ADA, layer: Some(Layer::LOW) });
    assert_eq!(bench.sends(0, DELTA), [BOB]);
    assert_eq!(bench.sends(0, KEY), [ADA, BOB]);
    assert_ne!(bench.effects.forward[0].1, ada);
    assert_eq!(bench.effects.forward[1].1, bob);
}

#[test]
fn how_much_comes_in_is_known_for_each_layer() {
    let mut bench = Bench::new(Kind::Video);
    bench.tell(Input::Subscribed { id: ADA, want: Some(Layer::HIGH) });
    // Every 20 ms, of the second layer twice as much.
    for _ in 0..200 {
        bench.now += Duration::from_millis(20);
        bench.sends(0, &[0x10; 226]);
        bench.sends(1, &[0x10; 476]);
    }
    let rates = bench.router.rates(bench.now).0;
    let expected = [100_000, 200_000, 0];
    assert!(
        rates.iter().zip(expected).all(|(rate, expected): (&u32, u32)| rate.abs_diff(expected) <= expected / 20),
        "{rates:?}"
    );
    assert_eq!(bench.router.rates(bench.now + ALIVE).0, [0; 3]);
    bench.tell(Input::Open(false));
    assert_eq!(bench.router.rates(bench.now).0, [0; 3]);
}

#[test]
fn a_voice_that_is_not_sent_while_it_is_silent_goes_on_as_it_was() {
    // Discontinuous transmission (DTX): a packet now and then, or none until somebody speaks.
    let mut bench = Bench::new(Kind::Audio);
    bench.tell(Input::Subscribed { id: ADA, want: Some(Layer::LOW) });
    assert_eq!(bench.sends(0, b"sound"), [ADA]);
    let before = bench.effects.forward[0].1;
    for pause in [400, 400, 60_000] {
        assert!(bench.wait(pause).keyframes.is_empty());
        assert_eq!(bench.sends(0, b"sound"), [ADA]);
        assert_eq!(bench.effects.forward[0].1, before);
    }
}

#[test]
fn padding_is_not_passed_on() {
    let mut bench = Bench::new(Kind::Video);
    bench.tell(Input::Subscribed { id: ADA, want: Some(Layer::HIGH) });
    bench.tell(Input::Subscribed { id: BOB, want: Some(Layer::HIGH) });
    bench.sends(0, KEY);
    assert_eq!(bench.sends(0, &[]), []);
    assert_eq!(bench.effects.skip.len(), 2);
}

#[test]
fn a_flood_is_cut_to_what_a_track_may_take() {
    let mut bench = Bench::new(Kind::Audio);
    bench.tell(Input::Subscribed { id: ADA, want: Some(Layer::LOW) });
    let payload = [1; 1000];
    let mut passed = 0;
    for _ in 0..10_000 {
        bench.now += Duration::from_millis(1);
        passed += bench.sends(0, &payload).len();
    }
    // Ten seconds, and what may come at once.
    let expected = 11 * AUDIO_BYTES as usize / 1012;
    assert!((expected - 20..=expected + 20).contains(&passed), "{passed} of {expected}");
    assert!(bench.effects.flooded);
}

#[test]
fn tiny_packets_are_no_way_around_that() {
    for (kind, most) in [(Kind::Audio, 640), (Kind::Video, 3000)] {
        let mut bench = Bench::new(kind);
        bench.tell(Input::Subscribed { id: ADA, want: Some(Layer::LOW) });
        assert_eq!(bench.sends(0, KEY), [ADA]);
        let passed: usize = (0..100_000).map(|_| bench.sends(0, DELTA).len()).sum();
        assert_eq!(passed, most - 1, "at once");
        bench.now += Duration::from_millis(500);
        let passed: usize = (0..100_000).map(|_| bench.sends(0, &[]).len() + bench.effects.skip.len()).sum();
        assert_eq!(passed, most / 2, "padding too");
    }
}
