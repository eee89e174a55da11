//! What happens in one run, made from a seed. Pure: the same seed gives the same plan, and a plan is JSON that can be kept and edited.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::wire::Dialect;

/// How clients come in, by turns.
const DIALECTS: [Dialect; 3] = [Dialect::Buildspaces, Dialect::BuildspacesCollab, Dialect::YSweet];

/// Documents that clients write into.
pub const DOCUMENTS: [&str; 2] = ["chaos-one", "chaos-two"];

/// One client in so many plans loses its connection without the server's knowing. It is rare because its presence may then stay for 30 s, and
/// the run has to wait for that.
const HALF_OPEN: u32 = 8;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Plan {
    pub seed: u64,
    pub clients: Vec<Client>,
    pub steps: Vec<Step>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Client {
    pub dialect: Dialect,
    /// Among [`DOCUMENTS`].
    pub document: usize,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Step {
    /// Milliseconds that pass before.
    pub wait: u64,
    #[serde(flatten)]
    pub op: Op,
}

/// Which direction of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// From the client to the server.
    Up,
    Down,
    Both,
}

/// One thing that happens. What makes no sense at its moment (an edit of somebody who does not exist, a start of what runs) is passed over,
/// so that steps can be taken out of a plan. Places in a text and among files are shares of what there is, in thousandths.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Op {
    Insert {
        client: usize,
        at: u32,
        text: String,
    },
    Delete {
        client: usize,
        at: u32,
        count: u32,
    },
    /// Sets a key of a map, for which others compete.
    Set {
        client: usize,
        key: String,
        value: i64,
    },
    /// Says where its cursor is.
    Announce {
        client: usize,
    },
    /// Says goodbye and goes.
    Leave {
        client: usize,
    },
    /// Goes without a word.
    Vanish {
        client: usize,
    },
    /// Goes, and takes what it had along: somebody new comes in its place.
    Replace {
        client: usize,
    },
    Return {
        client: usize,
    },
    /// Nothing gets through in this direction, and nobody is told.
    Hold {
        client: usize,
        way: Way,
    },
    /// It gets through again, with what was on its way.
    Release {
        client: usize,
    },
    /// The client changes its network: it comes in anew, and the server is not told that the old connection is dead.
    ChangeNetwork {
        client: usize,
    },
    /// `kill -9`.
    Kill,
    /// Asks the server to stop.
    Stop,
    Start,
    /// The whole server stands still for so many milliseconds.
    Freeze {
        ms: u64,
    },
    /// The disk takes nothing for so many milliseconds: whoever writes or flushes waits.
    StallDisk {
        ms: u64,
    },
    FillDisk,
    FreeDisk,
    /// The machine's clock is set, forwards or backwards; its monotonic clock is not.
    JumpClock {
        seconds: i64,
    },
    Create {
        name: String,
    },
    Rename {
        node: u32,
        name: String,
    },
    Remove {
        node: u32,
    },
}

/// What somebody types: of one and of two UTF-16 units, one to four bytes.
const WORDS: [&str; 8] = ["a", "be ", "see\n", "\u{e4}\u{f6}", "\u{20ac}", "\u{1f600}", "0123456789", "\r\n"];

impl Plan {
    pub fn from_seed(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let count = rng.random_range(2..=4);
        let client = |number| Client {
            dialect: DIALECTS[(seed as usize).wrapping_add(number) % DIALECTS.len()],
            document: usize::from(number == 3),
        };
        let clients: Vec<Client> = (0..count).map(client).collect();
        let mut world = World { clients: count, half_open: rng.random_ratio(1, HALF_OPEN), ..World::default() };
        let steps = (0..rng.random_range(15..=50))
            .map(|_| Step {
                // Most things follow each other at once: what meets is what goes wrong.
                wait: if rng.random_ratio(2, 3) { rng.random_range(0..5) } else { rng.random_range(5..120) },
                op: world.next(&mut rng),
            })
            .collect();
        Self { seed, clients, steps }
    }
}

/// As much of the world as is needed to choose what makes sense.
#[derive(Default)]
struct World {
    clients: usize,
    half_open: bool,
    is_down: bool,
    is_full: bool,
    names: u32,
}

impl World {
    fn next(&mut self, rng: &mut StdRng) -> Op {
        if self.is_down && rng.random_ratio(1, 4) {
            self.is_down = false;
            return Op::Start;
        }
        if self.is_full && rng.random_ratio(1, 6) {
            self.is_full = false;
            return Op::FreeDisk;
        }
        let client = rng.random_range(0..self.clients);
        let at = rng.random_range(0..=1000);
        match rng.random_range(0..100) {
            0..34 => {
                let words = if rng.random_ratio(1, 10) { rng.random_range(50..400) } else { 1 };
                let word = |_| *WORDS.choose(rng).expect("there are words");
                Op::Insert { client, at, text: (0..words).map(word).collect() }
            }
            34..44 => Op::Delete { client, at, count: rng.random_range(1..=20) },
            44..49 => {
                Op::Set { client, key: format!("key-{}", rng.random_range(0..3)), value: rng.random_range(0..1000) }
            }
            49..57 => Op::Announce { client },
            57..60 => Op::Leave { client },
            60..63 => Op::Vanish { client },
            63..65 => Op::Replace { client },
            65..70 => Op::Return { client },
            70..75 => Op::Hold { client, way: *[Way::Up, Way::Down, Way::Both].choose(rng).expect("three") },
            75..80 => Op::Release { client },
            80..82 if self.half_open => Op::ChangeNetwork { client },
            80..84 if !self.is_down => {
                self.is_down = true;
                if rng.random_ratio(3, 4) { Op::Kill } else { Op::Stop }
            }
            80..86 => Op::Freeze { ms: rng.random_range(10..300) },
            86..89 => Op::StallDisk { ms: rng.random_range(10..500) },
            89..91 if !self.is_full => {
                self.is_full = true;
                Op::FillDisk
            }
            89..92 => Op::JumpClock { seconds: *[-86_400, -3600, -5, 5, 3600, 86_400 * 40].choose(rng).expect("six") },
            92..96 => Op::Create { name: self.name() },
            96..98 => Op::Rename { node: at, name: self.name() },
            _ => Op::Remove { node: at },
        }
    }

    fn name(&mut self) -> String {
        self.names += 1;
        format!("file-{}.txt", self.names)
    }
}

/// The fewest steps of a failing plan that still fail, as far as `budget` tries find them.
pub async fn shrink(plan: Plan, mut budget: usize, mut fails: impl AsyncFnMut(&Plan) -> bool) -> Plan {
    let mut best = plan;
    let mut size = best.steps.len().div_ceil(2);
    loop {
        let (mut start, mut smaller) = (0, false);
        while start < best.steps.len() {
            if budget == 0 {
                return best;
            }
            budget -= 1;
            let mut tried = best.clone();
            tried.steps.drain(start..(start + size).min(best.steps.len()));
            if fails(&tried).await {
                (best, smaller) = (tried, true);
            } else {
                start += size;
            }
        }
        if size == 1 && !smaller {
            return best;
        }
        size = size.div_ceil(2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_plan_and_json_keeps_it() {
        for seed in 0..200 {
            let plan = Plan::from_seed(seed);
            assert_eq!(plan, Plan::from_seed(seed));
            let kept = serde_json::to_string(&plan).expect("JSON");
            assert_eq!(serde_json::from_str::<Plan>(&kept).expect("a plan"), plan);
        }
        assert_ne!(Plan::from_seed(1).steps, Plan::from_seed(2).steps);
    }

    #[test]
    fn seeds_reach_every_kind_of_step() {
        let kind = |op: &Op| serde_json::to_value(op).expect("JSON")["op"].as_str().expect("a name").to_owned();
        let steps = (0..200).flat_map(|seed| Plan::from_seed(seed).steps);
        let kinds: std::collections::BTreeSet<String> = steps.map(|step| kind(&step.op)).collect();
        assert_eq!(kinds.len(), 22, "{kinds:?}");
    }

    #[tokio::test]
    async fn what_does_not_matter_is_taken_out() {
        let plan = Plan::from_seed(3);
        let step = |op| Step { wait: 0, op };
        let mut steps = plan.steps.clone();
        steps.retain(|step| !matches!(step.op, Op::Kill | Op::FillDisk));
        steps.insert(steps.len() / 3, step(Op::FillDisk));
        steps.push(step(Op::Kill));
        let fails = async |plan: &Plan| {
            let place = |op: &Op| plan.steps.iter().position(|step| step.op == *op);
            place(&Op::FillDisk).zip(place(&Op::Kill)).is_some_and(|(full, kill)| full < kill)
        };
        let small = shrink(Plan { steps, ..plan }, 1000, fails).await;
        assert_eq!(
            small.steps,
            [step(Op::FillDisk), step(Op::Kill)].map(|mut kept| {
                kept.wait = 0;
                kept
            })
        );
    }
}
