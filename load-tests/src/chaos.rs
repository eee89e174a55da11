//! Chaos: random plans of edits, cut lines, kills, clock jumps and bad disks against the real server, and what must hold all the same.
//!
//! 1. [`plan`] makes a plan from a seed, as JSON. It is pure, and can take steps out of a failing plan.
//! 2. [`server`] runs the program on a [`disk`] of its own; between it and each client lies a [`proxy`].
//! 3. [`editor`] is a client with a document and [`presence`] as the providers of Yjs have them; [`host`] gives commands over REST.
//! 4. [`run`] carries a plan out and names what did not hold.
//!
//! A seed gives the same plan each time, not the same run: what meets what depends on the machine. So a plan that failed is kept, and
//! replayed several times. It knows one server so far; several need a cluster.

pub mod disk;
pub mod editor;
pub mod host;
pub mod plan;
pub mod presence;
pub mod proxy;
pub mod run;
pub mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use clap::Args;
use futures_util::StreamExt;
use serde_json::{Value, json};

use self::plan::Plan;
use self::run::{Report, Setup};
use crate::report::note;

/// Runs that shrinking a failing plan may take, and how often each smaller plan is tried before it counts as harmless.
const SHRINKING: (usize, usize) = (60, 2);

/// Random plans of edits, kills and failures against our server, and what must hold all the same
#[derive(Args, Clone, Debug)]
pub struct Chaos {
    /// The first plan's seed; the next ones count up from it.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    #[arg(long, default_value_t = 20)]
    pub plans: u64,
    /// Plans that run at the same time, each with a server of its own.
    #[arg(long, default_value_t = 4)]
    pub jobs: usize,
    /// Where plans that failed are kept.
    #[arg(long, value_name = "FOLDER", default_value = "chaos")]
    pub keep: PathBuf,
    /// Runs this plan instead, `plans` times.
    #[arg(long, value_name = "FILE")]
    pub replay: Option<PathBuf>,
    /// Looks for a smaller plan that fails as well.
    #[arg(long)]
    pub shrink: bool,
}

/// What came out of many runs.
#[derive(Debug, Default)]
pub struct Total {
    pub plans: u64,
    /// The seeds of plans that failed.
    pub failed: Vec<u64>,
    pub skipped: BTreeSet<String>,
    steps: BTreeMap<String, u64>,
    acknowledged: u64,
    restarts: u64,
    seconds: f64,
}

impl Total {
    pub fn line(&self) -> Value {
        json!({
            "scenario": "chaos", "plans": self.plans, "failed": self.failed, "steps": self.steps, "not_possible_here": self.skipped,
            "acknowledged_updates_looked_for": self.acknowledged, "restarts": self.restarts, "seconds": self.seconds.round(),
        })
    }
}

/// Runs plan after plan. Must be called in a `LocalSet`.
pub async fn chaos(chaos: &Chaos, setup: &Setup) -> anyhow::Result<Total> {
    let replayed: Option<Plan> = match &chaos.replay {
        Some(file) => {
            let text = std::fs::read_to_string(file).with_context(|| format!("the plan {}", file.display()))?;
            Some(serde_json::from_str(&text).with_context(|| format!("the plan {}", file.display()))?)
        }
        None => None,
    };
    let start = Instant::now();
    let plans = (0..chaos.plans).map(|number| replayed.clone().unwrap_or_else(|| Plan::from_seed(chaos.seed + number)));
    let runs = plans.map(|plan| async move {
        let report = run::run(&plan, setup).await;
        (plan, report)
    });
    let mut runs = futures_util::stream::iter(runs).buffer_unordered(chaos.jobs);
    let (mut total, mut first_failed) = (Total::default(), None);
    while let Some((plan, report)) = runs.next().await {
        let report = report.with_context(|| format!("plan {}", plan.seed))?;
        total.plans += 1;
        if !report.failures.is_empty() {
            keep(&chaos.keep, &plan, &report)?;
            total.failed.push(plan.seed);
            first_failed.get_or_insert(plan);
        }
        total.skipped.extend(report.skipped);
        for (name, count) in report.steps {
            *total.steps.entry(name).or_default() += count;
        }
        total.acknowledged += report.acknowledged;
        total.restarts += report.restarts;
    }
    if let Some(plan) = first_failed.filter(|_| chaos.shrink) {
        let small = shrink(plan, setup).await;
        let file = chaos.keep.join(format!("plan-{}.small.json", small.seed));
        note(&format!("plan {}: {} steps are enough, {}", small.seed, small.steps.len(), file.display()));
        std::fs::write(file, serde_json::to_string_pretty(&small)?)?;
    }
    total.seconds = start.elapsed().as_secs_f64();
    Ok(total)
}

fn keep(folder: &Path, plan: &Plan, report: &Report) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    let file = folder.join(format!("plan-{}.json", plan.seed));
    std::fs::write(&file, serde_json::to_string_pretty(plan)?)?;
    let mut failures = report.failures.clone();
    // One thing that goes wrong is often seen by many.
    failures.sort_unstable();
    failures.dedup();
    let why = format!("{}\n\nThe server:\n{}\n", failures.join("\n"), report.said);
    std::fs::write(folder.join(format!("plan-{}.txt", plan.seed)), why)?;
    note(&format!("plan {} failed: {}", plan.seed, failures.join("; ")));
    note(&format!("  again: buildspaces-load chaos --replay {}", file.display()));
    Ok(())
}

/// A smaller plan that fails.
async fn shrink(plan: Plan, setup: &Setup) -> Plan {
    let (budget, tries) = SHRINKING;
    let fails = async |plan: &Plan| {
        for _ in 0..tries {
            if run::run(plan, setup).await.is_ok_and(|report| !report.failures.is_empty()) {
                return true;
            }
        }
        false
    };
    plan::shrink(plan, budget, fails).await
}
