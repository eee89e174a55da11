//! Seeded simulations: people type, programs end or hang, the engine goes off and on, the process dies; then quiet.
//!
//! What must hold in the end, whatever happened: every run has ended, no text has two results, the last text has
//! been run, and people see what is stored. To replay a failing plan, put its seed into [`SEEDS`].

use std::collections::HashSet;

use super::*;
use crate::trigger::{TriggerKey, content_hash, text_hash};

/// Each is one plan. The order in which tasks run is not fixed by the seed, so a replay may need a few tries.
const SEEDS: std::ops::Range<u64> = 0..150;
/// Things that happen in one plan.
const EVENTS: usize = 60;
/// What programs write, always the same, so that a run is known by the hash of all files.
const WRITTEN: &str = "by a program";
/// Different texts; few, so that they come back.
const TEXTS: u64 = 6;

#[test]
fn whatever_happens_the_last_text_is_run_and_none_has_two_results() {
    for seed in SEEDS {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let plan = async {
            let mut plan =
                Plan { random: Random(seed), world: World::new().await, step: None, text: None, alive: true };
            plan.world.room.edit("out.txt", WRITTEN, FileSystem);
            for _ in 0..EVENTS {
                plan.event().await;
            }
            plan.come_to_rest().await;
            plan.check().await;
        };
        let run = std::panic::AssertUnwindSafe(|| runtime.expect("a runtime starts").block_on(plan));
        if let Err(panic) = std::panic::catch_unwind(run) {
            eprintln!("the plan of seed {seed} failed");
            std::panic::resume_unwind(panic);
        }
    }
}

struct Plan {
    random: Random,
    world: World,
    /// The step under way.
    step: Option<StartedStep>,
    /// What people typed last.
    text: Option<String>,
    alive: bool,
}

impl Plan {
    async fn event(&mut self) {
        match self.random.below(12) {
            0..=3 if self.alive => self.types().await,
            4 => self.world.room.edit("out.txt", WRITTEN, FileSystem),
            5..=6 => self.end_step().await,
            7 if self.alive => {
                // Refused while runs are off.
                let _ = self.world.engine.run_now(&self.world.id, None, &ann()).await;
            }
            8 => self.world.turn_off(),
            9 => self.world.turn_on(),
            10 => self.die_or_boot().await,
            _ => sleep(Duration::from_millis(self.random.below(6000))).await,
        }
        self.world.settle().await;
        self.look_for_step();
    }

    async fn types(&mut self) {
        let text = format!("text {}", self.random.below(TEXTS));
        self.world.types(&text).await;
        self.text = Some(text);
    }

    async fn end_step(&mut self) {
        let Some(step) = self.step.take() else { return };
        step.print("some output\n").await;
        match self.random.below(3) {
            0 => step.exit(Exit::Code(1)).await,
            1 => step.lose("the container died").await,
            _ => step.exit(Exit::Code(0)).await,
        }
        if !self.alive {
            // It ended while nobody listened; the sandbox keeps it for whoever asks.
            return;
        }
        self.world.settle().await;
    }

    async fn die_or_boot(&mut self) {
        if self.alive {
            let orderly = self.random.below(3) == 0;
            if orderly {
                self.world.engine.stop().await;
            }
            self.world.crash().await;
            if let Some(step) = self.step.take() {
                // Either its container lives on, or it is gone.
                let lives = !orderly && self.random.below(2) == 0;
                self.step = lives.then(|| self.world.sandboxes.leave_running(&step.spec.key));
            }
        } else {
            self.world.boot().await;
            self.world.engine.room_opened(&self.world.id).await;
        }
        self.alive = !self.alive;
    }

    fn look_for_step(&mut self) {
        while let Ok(step) = self.world.steps.try_recv() {
            assert!(self.step.is_none(), "two steps of a room at a time: {step:?}");
            self.step = Some(step);
        }
    }

    async fn come_to_rest(&mut self) {
        if !self.alive {
            self.die_or_boot().await;
        }
        self.world.turn_on();
        for _ in 0..10 {
            self.look_for_step();
            if let Some(step) = self.step.take() {
                step.exit(Exit::Code(0)).await;
            }
            sleep(Duration::from_secs(30)).await;
        }
    }

    async fn check(&self) {
        self.world.states().await;
        let runs = self.world.runs().await;
        let mut results = HashSet::new();
        for run in &runs {
            assert!(run.state.is_final(), "{run:?}");
            if run.state.holds_key() && matches!(run.trigger_key, TriggerKey::Text(_)) {
                assert!(results.insert(run.trigger_key.clone()), "two results for one text: {runs:#?}");
            }
        }
        if let Some(text) = &self.text {
            let files = self.world.room.files();
            assert!(files.contains(&("test_a.py".to_owned(), text.clone())));
            let hash = content_hash(files.iter().map(|(path, text)| (path.as_str(), text_hash(text))));
            let key = TriggerKey::text([("test_a.py", text_hash(text))]);
            assert!(
                runs.iter().any(|run| run.content_hash.as_ref() == Some(&hash) || run.trigger_key == key),
                "{text} was never run: {runs:#?}"
            );
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }
}
