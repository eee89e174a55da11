//! Who may type, whose size counts, who sets the pace.

use std::sync::Arc;

use buildspaces_policy::{PrincipalKind, Role};

use super::*;

const SIZE: Size = Size { rows: 24, cols: 80 };
const NOBODY: [u64; 0] = [];

fn who(name: &str, role: Role) -> Authority {
    let id = PrincipalId::parse(name).expect("valid");
    Authority { principal: Principal { id, kind: PrincipalKind::Person, name: Arc::from(name) }, role }
}

struct World {
    terminal: Terminal,
    now: Instant,
}

impl World {
    /// A running terminal that Ada opened and nobody looks at.
    fn new() -> Self {
        let now = Instant::now();
        let mut terminal = Terminal::new(now, who("ada", Role::Editor).principal, SIZE);
        terminal.handle(now, Input::Became(State::Running));
        Self { terminal, now }
    }

    fn feed(&mut self, input: Input) -> Effects {
        self.terminal.handle(self.now, input)
    }

    fn join(&mut self, viewer: u64, name: &str, role: Role) -> ViewerId {
        let id = ViewerId(viewer);
        self.feed(Input::Joined { viewer: id, who: who(name, role), shown: 0 });
        id
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        if self.terminal.deadline().is_some_and(|deadline| deadline <= self.now) {
            self.feed(Input::Elapsed);
        }
    }

    /// Everybody who may type.
    fn typists(&self) -> Vec<u64> {
        let viewers = self.terminal.viewers().iter().map(|viewer| viewer.id);
        viewers.filter(|id| self.terminal.may_type(*id)).map(|id| id.0).collect()
    }

    fn may_read(&self) -> bool {
        self.terminal.may_read(self.now).is_ok()
    }
}

#[test]
fn who_opened_it_holds_the_keyboard_and_others_ask_for_it() {
    let mut world = World::new();
    let bo = world.join(1, "bo", Role::Editor);
    assert_eq!(world.typists(), NOBODY, "it is kept for Ada");
    let ada = world.join(2, "ada", Role::Editor);
    assert_eq!(world.typists(), [2]);
    world.feed(Input::Ask(bo));
    world.feed(Input::Ask(bo));
    assert_eq!(world.terminal.asking(), [bo]);
    assert_eq!(world.typists(), [2], "asking is not getting");
    world.feed(Input::Decline { from: ada, to: bo });
    assert_eq!(world.terminal.asking(), []);
    world.feed(Input::Give { from: bo, to: bo });
    assert_eq!(world.typists(), [2], "nobody gives what they do not have");
    world.feed(Input::Ask(bo));
    world.feed(Input::Give { from: ada, to: bo });
    assert_eq!((world.typists(), world.terminal.asking()), (vec![1], &[][..]));
    world.feed(Input::Ask(ada));
    world.feed(Input::Withdraw(ada));
    assert_eq!(world.terminal.asking(), []);
}

#[test]
fn viewers_never_type_and_hosts_take() {
    let mut world = World::new();
    let ada = world.join(1, "ada", Role::Editor);
    for (at, role) in [Role::Viewer, Role::Commenter].into_iter().enumerate() {
        let viewer = world.join(10 + at as u64, "vi", role);
        world.feed(Input::Ask(viewer));
        world.feed(Input::Take(viewer));
        world.feed(Input::Give { from: ada, to: viewer });
        assert_eq!((world.typists(), world.terminal.asking()), (vec![1], &[][..]));
    }
    let editor = world.join(20, "ed", Role::Editor);
    world.feed(Input::Take(editor));
    assert_eq!(world.typists(), [1], "an editor asks");
    let host = world.join(21, "hope", Role::Host);
    world.feed(Input::Take(host));
    assert_eq!(world.typists(), [21]);
    world.feed(Input::Became(State::Ended("over".to_owned())));
    assert_eq!(world.typists(), NOBODY, "nobody types into what has ended");
}

#[test]
fn the_keyboard_waits_a_moment_for_who_left_and_then_goes_to_who_asked_first() {
    let mut world = World::new();
    let ada = world.join(1, "ada", Role::Editor);
    let (bo, _) = (world.join(2, "bo", Role::Editor), world.join(3, "cy", Role::Editor));
    world.feed(Input::Left(ada));
    assert_eq!(world.terminal.holder().map(|holder| &*holder.name), Some("ada"));
    world.feed(Input::Ask(bo));
    assert_eq!(world.typists(), NOBODY);
    world.pass(KEPT_FOR / 2);
    world.join(4, "ada", Role::Editor);
    assert_eq!(world.typists(), [4], "a reload changes nothing");
    world.feed(Input::Left(ViewerId(4)));
    world.pass(KEPT_FOR);
    assert_eq!(world.typists(), [2]);
    world.feed(Input::Left(bo));
    world.pass(KEPT_FOR);
    assert_eq!(*world.terminal.keyboard(), Keyboard::Free);
    world.feed(Input::Ask(ViewerId(3)));
    assert_eq!(world.typists(), [3], "what is free is had by asking");
    // A second window of the one it is kept for may have it, too.
    world.join(5, "cy", Role::Editor);
    world.feed(Input::Left(ViewerId(3)));
    world.feed(Input::Ask(ViewerId(5)));
    assert_eq!(world.typists(), [5]);
}

#[test]
fn the_holders_size_wins() {
    let mut world = World::new();
    let (ada, bo) = (world.join(1, "ada", Role::Editor), world.join(2, "bo", Role::Editor));
    let (wide, small) = (Size { rows: 50, cols: 200 }, Size { rows: 10, cols: 40 });
    let effects = world.feed(Input::Room { viewer: ada, size: wide });
    assert_eq!(effects, Effects { resize: Some(wide), changed: true });
    assert_eq!(world.feed(Input::Room { viewer: ada, size: wide }), Effects::default());
    assert_eq!(world.feed(Input::Room { viewer: bo, size: small }), Effects::default());
    let effects = world.feed(Input::Give { from: ada, to: bo });
    assert_eq!(effects.resize, Some(small));
    world.feed(Input::Left(bo));
    assert_eq!(world.terminal.size(), small, "it stays until somebody else has the keyboard");
    let mut world = World::new();
    let ada = world.join(1, "ada", Role::Editor);
    let effects = world.feed(Input::Room { viewer: ada, size: Size { rows: 0, cols: u16::MAX } });
    assert_eq!(effects.resize, Some(Size { rows: 2, cols: 600 }), "sizes have bounds");
}

#[test]
fn the_holders_page_sets_the_pace_and_others_only_if_it_stalls() {
    let mut world = World::new();
    let (ada, bo) = (world.join(1, "ada", Role::Editor), world.join(2, "bo", Role::Viewer));
    world.feed(Input::Printed(WINDOW));
    assert!(!world.may_read(), "as much is on the way as may be");
    world.feed(Input::Shown { viewer: bo, offset: WINDOW });
    assert!(!world.may_read(), "the holder has not shown it");
    world.feed(Input::Shown { viewer: ada, offset: 1 });
    assert!(world.may_read());
    world.feed(Input::Printed(1));
    let Err(until) = world.terminal.may_read(world.now) else { panic!("the holder is behind") };
    assert_eq!(until, world.now + STALLED);
    world.pass(STALLED);
    assert!(world.may_read(), "a page that shows nothing holds nobody up");
    world.feed(Input::Printed(WINDOW));
    assert!(!world.may_read(), "but the other is behind now");
    world.pass(STALLED);
    assert!(world.may_read(), "nobody sets the pace");
    world.feed(Input::Printed(FREE_RATE));
    assert!(!world.may_read());
    world.pass(Duration::from_secs(2));
    assert!(world.may_read());
}

#[test]
fn without_viewers_programs_go_on_at_a_bounded_rate() {
    let mut world = World::new();
    let (mut read, began) = (0, world.now);
    while world.now < began + Duration::from_secs(10) {
        match world.terminal.may_read(world.now) {
            Ok(()) => {
                world.feed(Input::Printed(64 << 10));
                read += 64 << 10;
            }
            Err(until) => world.pass(until - world.now),
        }
    }
    assert!((20_000_000..30_000_000).contains(&read), "{read} bytes in ten seconds");
}

#[test]
fn whatever_happens_one_types_at_a_time_and_only_who_may() {
    let mut seed = 3_u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let names = ["ada", "bo", "cy"];
    for _ in 0..300 {
        let mut world = World::new();
        let mut next = 1;
        for _ in 0..60 {
            let (a, b) = (ViewerId(random(8)), ViewerId(random(8)));
            let input = match random(10) {
                0 | 1 => {
                    next += 1;
                    let role = Role::ALL[random(5) as usize];
                    Input::Joined {
                        viewer: ViewerId(next % 8),
                        who: who(names[random(3) as usize], role),
                        shown: random(9),
                    }
                }
                2 => Input::Left(a),
                3 => Input::Ask(a),
                4 => Input::Give { from: a, to: b },
                5 => Input::Take(a),
                6 => Input::Withdraw(a),
                7 => Input::Printed(random(100_000)),
                8 => Input::Shown { viewer: a, offset: random(u64::MAX) },
                _ => Input::Room { viewer: a, size: Size { rows: random(70_000) as u16, cols: random(70_000) as u16 } },
            };
            // The actor never gives an id twice.
            if let Input::Joined { viewer, .. } = &input
                && world.terminal.viewers().iter().any(|known| known.id == *viewer)
            {
                continue;
            }
            world.feed(input);
            world.pass(Duration::from_millis(random(4000)));
            assert!(world.typists().len() <= 1);
            let roles = world.terminal.viewers().iter().filter(|viewer| world.terminal.may_type(viewer.id));
            assert!(roles.into_iter().all(|viewer| viewer.may_type()));
            assert!(world.terminal.asking().iter().all(|id| world.terminal.viewers().iter().any(|v| v.id == *id)));
            let _ = world.terminal.may_read(world.now);
        }
    }
}
