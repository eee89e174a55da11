//! How much of each track one receiver is sent, so that all of it fits through their line. Pure.
//!
//! A page says how large it shows a track; that is the most it gets. What the line takes is estimated (`webrtc::estimate`) and shared out here: sound is
//! always sent, then every picture gets its smallest layer, the important ones first, and what is left raises them one after the other. A picture for which
//! not even that is left is paused, but the most important one only after a fall: before, the estimate is a guess, and pausing all there is would keep it one.
//!
//! What a line takes beyond what is sent through it is not known but tried: a layer more is sent when the estimate has room for it, and if the estimate falls
//! then, nothing is raised for a while, longer each time. So pictures do not go up and down all the time on a thin line.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::router::{Kind, Layer};

/// The share of the estimate that is used. The rest is for what is sent again and for keyframes.
const USED: f64 = 0.95;

/// A layer more is sent only if so much of its rate would be left besides.
const HEADROOM: f64 = 0.15;

/// How long nothing is raised after a fall: at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(4);
const LONGEST_PAUSE: Duration = Duration::from_secs(32);

/// A fall so long after the one before is taken for the first.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// What falls within this time after a fall belongs to it.
const ONE_FALL: Duration = Duration::from_secs(1);

/// What is wanted of one track.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Demand {
    pub kind: Kind,
    /// At most this layer.
    pub layer: Layer,
    pub importance: Importance,
    pub rates: Rates,
}

impl Demand {
    /// Is more wanted, and there, than this layer?
    pub fn is_less(&self, layer: Layer) -> bool {
        self.rates.of(layer) < self.rates.of(self.layer)
    }
}

/// What is paused last is the greatest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Importance {
    Camera,
    /// Of somebody who speaks.
    Speaker,
    Screen,
    /// What somebody looks at large.
    Chosen,
}

/// Bits in a second of each layer as it comes in, the smallest first; 0: it does not.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Rates(pub [u32; Layer::COUNT]);

/// What the layers of a camera take, about, as pages of ours send them. One that nobody needed yet does not come in.
const USUAL: Rates = Rates([150_000, 500_000, 1_700_000]);

impl Rates {
    /// Of all layers together.
    pub fn total(self) -> u64 {
        self.0.iter().copied().map(u64::from).sum()
    }

    /// What to reckon with where there are layers for which there was no need so far.
    #[must_use]
    pub fn expected(self) -> Self {
        let mut least = 0;
        let expected = |(rate, usual): (u32, u32)| {
            least = if rate > 0 { rate } else { usual.max(least) };
            least
        };
        let pairs = [0, 1, 2].map(|layer| (self.0[layer], USUAL.0[layer]));
        Self(pairs.map(expected))
    }

    /// Of what is sent where this layer is wanted: the next smaller that there is, or else the next larger.
    fn of(self, layer: Layer) -> u64 {
        let at = layer.index();
        let below = self.0[..=at].iter().rev().find(|rate| **rate > 0);
        u64::from(*below.or_else(|| self.0[at..].iter().find(|rate| **rate > 0)).unwrap_or(&0))
    }
}

/// What each track gets; `None`: nothing for now.
pub type Shares<T> = BTreeMap<T, Option<Layer>>;

/// One receiver's line.
#[derive(Debug)]
pub struct Allocator<T> {
    shares: Shares<T>,
    capacity: u64,
    fallen: Option<Instant>,
    pause: Duration,
}

impl<T> Default for Allocator<T> {
    fn default() -> Self {
        Self { shares: Shares::new(), capacity: 0, fallen: None, pause: FIRST_PAUSE }
    }
}

impl<T: Ord + Clone> Allocator<T> {
    /// Shares out `capacity`, in bits in a second; `None`: nothing is known of the line, and everything is sent as it is wanted.
    pub fn allocate(&mut self, now: Instant, capacity: Option<u64>, demands: &BTreeMap<T, Demand>) -> &Shares<T> {
        let Some(capacity) = capacity else {
            self.shares = demands.iter().map(|(track, demand)| (track.clone(), Some(demand.layer))).collect();
            return &self.shares;
        };
        let (sound, mut pictures): (Vec<_>, Vec<_>) =
            demands.iter().partition(|(_, demand)| demand.kind == Kind::Audio);
        let heard: u64 = sound.iter().map(|(_, demand)| demand.rates.of(Layer::LOW)).sum();
        let budget = ((capacity as f64 * USED) as u64).saturating_sub(heard);
        // Stable, so that those of one importance keep their order.
        pictures.sort_by_key(|(_, demand)| std::cmp::Reverse(demand.importance));

        let shares = std::mem::take(&mut self.shares);
        let before = |track: &T| shares.get(track).copied();
        let kept: u64 = pictures
            .iter()
            .filter_map(|(track, demand)| Some(demand.rates.of(demand.layer.min(before(track)??))))
            .sum();
        // That a picture takes more than before is no reason to try less afterwards.
        if kept > budget && capacity < self.capacity {
            self.fall(now);
        }
        self.capacity = capacity;
        let may_rise = self.fallen.is_none_or(|fallen| now >= fallen + self.pause);

        let mut new: Shares<T> = sound.iter().map(|(track, _)| ((*track).clone(), Some(Layer::LOW))).collect();
        new.extend(pictures.iter().map(|(track, _)| ((*track).clone(), None)));
        let mut left = budget;
        for layer in Layer::ALL {
            for (at, (track, demand)) in pictures.iter().enumerate() {
                let share = new.get_mut(*track).expect("each has an entry");
                if layer > demand.layer || *share != layer.below() {
                    continue;
                }
                let rate = demand.rates.of(layer);
                let more = rate.saturating_sub(share.map_or(0, |share| demand.rates.of(share)));
                // What was not there before is not raised but new.
                let is_raised = before(track).is_some_and(|before| before < Some(layer));
                let needed = if is_raised { more + (rate as f64 * HEADROOM) as u64 } else { more };
                let is_tried = at == 0 && share.is_none() && self.fallen.is_none();
                if is_tried || needed <= left && (may_rise || !is_raised) {
                    *share = Some(layer);
                    left = left.saturating_sub(more);
                }
            }
        }
        self.shares = new;
        &self.shares
    }

    fn fall(&mut self, now: Instant) {
        let passed = self.fallen.map(|fallen| now.saturating_duration_since(fallen));
        if passed.is_some_and(|passed| passed < ONE_FALL) {
            return;
        }
        let is_again = passed.is_some_and(|passed| passed < FORGOTTEN);
        self.pause = if is_again { (self.pause * 2).min(LONGEST_PAUSE) } else { FIRST_PAUSE };
        self.fallen = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAMERA: Rates = Rates([150_000, 500_000, 1_700_000]);
    const VOICE: Rates = Rates([32_000, 0, 0]);

    fn demand(importance: Importance, layer: Layer, rates: Rates) -> Demand {
        Demand { kind: Kind::Video, layer, importance, rates }
    }

    fn camera(layer: Layer) -> Demand {
        demand(Importance::Camera, layer, CAMERA)
    }

    fn voice() -> Demand {
        Demand { kind: Kind::Audio, layer: Layer::LOW, importance: Importance::Camera, rates: VOICE }
    }

    fn shares(
        allocator: &mut Allocator<&'static str>,
        now: Instant,
        capacity: u64,
        demands: &BTreeMap<&'static str, Demand>,
    ) -> Vec<(&'static str, Option<Layer>)> {
        allocator.allocate(now, Some(capacity), demands).iter().map(|(track, share)| (*track, *share)).collect()
    }

    #[test]
    fn a_wide_line_carries_what_is_wanted_and_an_unknown_one_too() {
        let demands = BTreeMap::from([("ada", camera(Layer::HIGH)), ("bob", camera(Layer::LOW)), ("sound", voice())]);
        let wanted = [("ada", Some(Layer::HIGH)), ("bob", Some(Layer::LOW)), ("sound", Some(Layer::LOW))];
        let mut allocator = Allocator::default();
        assert_eq!(shares(&mut allocator, Instant::now(), 10_000_000, &demands), wanted);
        let unknown = allocator.allocate(Instant::now(), None, &demands);
        assert_eq!(unknown.iter().map(|(track, share)| (*track, *share)).collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn sound_comes_first_then_what_matters_most() {
        let speaker = demand(Importance::Speaker, Layer::HIGH, CAMERA);
        let screen = demand(Importance::Screen, Layer::HIGH, Rates([300_000, 0, 0]));
        let demands =
            BTreeMap::from([("ada", camera(Layer::HIGH)), ("bob", speaker), ("screen", screen), ("sound", voice())]);
        let share = |capacity| shares(&mut Allocator::default(), Instant::now(), capacity, &demands);
        let sound = ("sound", Some(Layer::LOW));
        // That there is room for nothing is known only after a fall.
        assert_eq!(share(20_000), [("ada", None), ("bob", None), ("screen", Some(Layer::HIGH)), sound]);
        let mut allocator = Allocator::default();
        shares(&mut allocator, Instant::now(), 400_000, &demands);
        let fallen = shares(&mut allocator, Instant::now(), 20_000, &demands);
        assert_eq!(fallen, [("ada", None), ("bob", None), ("screen", None), sound]);
        // One layer is all that there is of a screen, so whichever is wanted is that one.
        assert_eq!(share(400_000), [("ada", None), ("bob", None), ("screen", Some(Layer::HIGH)), sound]);
        assert_eq!(share(600_000), [("ada", None), ("bob", Some(Layer::LOW)), ("screen", Some(Layer::HIGH)), sound]);
        assert_eq!(
            share(1_200_000),
            [("ada", Some(Layer::LOW)), ("bob", Some(Layer::MIDDLE)), ("screen", Some(Layer::HIGH)), sound]
        );
    }

    #[test]
    fn what_is_looked_at_large_is_paused_last() {
        let thumbnail = demand(Importance::Speaker, Layer::LOW, CAMERA);
        let screen = demand(Importance::Screen, Layer::LOW, Rates([150_000, 0, 0]));
        let demands = BTreeMap::from([
            ("ada", demand(Importance::Chosen, Layer::HIGH, CAMERA)),
            ("bob", thumbnail),
            ("eve", thumbnail),
            ("screen", screen),
        ]);
        let share = |capacity| shares(&mut Allocator::default(), Instant::now(), capacity, &demands);
        let (low, middle) = (Some(Layer::LOW), Some(Layer::MIDDLE));
        assert_eq!(share(200_000), [("ada", low), ("bob", None), ("eve", None), ("screen", None)]);
        assert_eq!(share(500_000), [("ada", low), ("bob", low), ("eve", None), ("screen", low)]);
        // Nobody is paused so that it is larger.
        assert_eq!(share(700_000), [("ada", low), ("bob", low), ("eve", low), ("screen", low)]);
        assert_eq!(share(1_100_000), [("ada", middle), ("bob", low), ("eve", low), ("screen", low)]);
    }

    #[test]
    fn a_layer_that_does_not_come_in_costs_what_is_sent_in_its_place() {
        assert_eq!(Rates([150_000, 0, 900_000]).of(Layer::MIDDLE), 150_000);
        assert_eq!(Rates([0, 0, 900_000]).of(Layer::LOW), 900_000);
        assert_eq!(Rates::default().of(Layer::HIGH), 0);
        assert_eq!(Rates([90_000, 0, 0]).expected(), Rates([90_000, 500_000, 1_700_000]));
        assert_eq!(Rates([0, 2_000_000, 0]).expected(), Rates([150_000, 2_000_000, 2_000_000]));
    }

    #[test]
    fn a_fall_is_followed_at_once_and_a_rise_after_a_while_that_grows() {
        let demands = BTreeMap::from([("ada", camera(Layer::HIGH))]);
        let mut allocator = Allocator::default();
        let mut now = Instant::now();
        let mut share = |seconds: u64, capacity| {
            now += Duration::from_secs(seconds);
            shares(&mut allocator, now, capacity, &demands)[0].1
        };
        assert_eq!(share(0, 700_000), Some(Layer::MIDDLE));
        assert_eq!(share(1, 400_000), Some(Layer::LOW));
        assert_eq!(share(3, 700_000), Some(Layer::LOW), "too soon");
        assert_eq!(share(1, 700_000), Some(Layer::MIDDLE));
        assert_eq!(share(1, 400_000), Some(Layer::LOW));
        assert_eq!(share(5, 700_000), Some(Layer::LOW), "longer than the first time");
        assert_eq!(share(3, 700_000), Some(Layer::MIDDLE));
        assert_eq!(share(1, 100_000), None, "paused");
        assert_eq!(share(17, 560_000), Some(Layer::LOW), "there is no headroom for more");
        assert_eq!(share(100, 100_000), None);
        assert_eq!(share(4, 10_000_000), Some(Layer::HIGH), "the falls before are forgotten");
    }

    #[test]
    fn who_comes_new_does_not_wait() {
        let mut demands = BTreeMap::from([("ada", camera(Layer::MIDDLE))]);
        let mut allocator = Allocator::default();
        let now = Instant::now();
        shares(&mut allocator, now, 700_000, &demands);
        assert_eq!(shares(&mut allocator, now, 450_000, &demands), [("ada", Some(Layer::LOW))]);
        demands.insert("bob", camera(Layer::MIDDLE));
        assert_eq!(
            shares(&mut allocator, now, 450_000, &demands),
            [("ada", Some(Layer::LOW)), ("bob", Some(Layer::LOW))]
        );
    }
}
