//! The most that gets through: writers whose rate rises step by step until deliveries no longer follow.

use std::rc::Rc;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::{Crowd, Outcome, rounded, settle};
use crate::clock::Nanos;
use crate::lab::Lab;
use crate::measure::Window;
use crate::pace::{Pace, pace};
use crate::servers::Server;
use crate::tally::Tally;

/// Writes of one writer in a second at most; above it keystrokes leave together.
const WRITES_PER_SECOND: f64 = 500.0;

/// Share of what is offered that must arrive in time for the search to go on.
const ENOUGH: f64 = 0.85;

/// Share of the best below which a server was knocked over, and what follows would measure that.
const COLLAPSED: f64 = 0.5;

/// Writers whose rate rises until deliveries no longer follow
#[derive(Args, Clone, Copy, Debug, serde::Serialize)]
pub struct Burst {
    #[arg(long, default_value_t = 10)]
    pub rooms: usize,
    #[arg(long, default_value_t = 20)]
    pub members: usize,
    /// Every member writes instead of one per room.
    #[arg(long)]
    pub all: bool,
    /// Deliveries per second that the first step offers.
    #[arg(long, default_value_t = 80_000.0)]
    pub from: f64,
    #[arg(long, default_value_t = 12_000_000.0)]
    pub most: f64,
    /// From one step to the next.
    #[arg(long, default_value_t = 2.0)]
    pub factor: f64,
    /// Steps between the last that was followed and the first that was not.
    #[arg(long, default_value_t = 2)]
    pub halvings: usize,
    #[arg(long, default_value_t = 1.5)]
    pub seconds: f64,
}

impl Default for Burst {
    fn default() -> Self {
        Self { rooms: 10, members: 20, all: false, from: 80_000.0, most: 12e6, factor: 2.0, halvings: 2, seconds: 1.5 }
    }
}

pub async fn run(lab: &Lab, server: &mut Server, plan: &Burst) -> anyhow::Result<Outcome> {
    let writers = if plan.all { plan.members } else { 1 };
    let tally = Rc::new(Tally::default());
    let crowd = Crowd::gather(lab, server, &tally, (plan.rooms, plan.members, writers), 1).await?;
    let (mut offered, mut steps, mut best, mut last_spent) = (plan.from, Vec::new(), 0.0f64, None);
    let (mut merged, mut halvings) = (0.0, 0);
    let (mut followed, mut outrun) = (plan.from / plan.factor, None);
    while offered <= plan.most {
        let rate = offered / (plan.members as f64 - 1.0) / (plan.rooms * writers) as f64;
        let together = (rate / WRITES_PER_SECOND).ceil() as usize;
        let keystrokes = (rate * plan.seconds).ceil() as usize + together + 1;
        let mut strikers = crowd.strikers(server, plan.rooms, keystrokes, false);
        tally.restart(lab.clock.now());
        let start = lab.clock.now();
        let window = Window::open(server.group());
        let paced = pace(lab, &mut strikers, Pace { rate, seconds: plan.seconds, together }).await?;
        let expected = paced.sent * (plan.members as u64 - 1);
        let quiet = Duration::from_secs(2);
        let complete = settle(quiet, || tally.delivered.get() >= expected, || tally.delivered.get()).await;
        let spent = window.close();
        let seconds = (lab.clock.now() - start - if complete { 0 } else { quiet.as_nanos() as Nanos }) as f64 / 1e9;
        let achieved = tally.delivered.get() as f64 / seconds;
        let server_share = spent.server_cpu_seconds / spent.seconds;
        steps.push(json!([offered, achieved, spent.generator_share, server_share].map(rounded)));
        let ended = crowd.ended().0;
        if complete && ended == 0 && achieved > best {
            best = achieved;
            merged = tally.delivered.get() as f64 / tally.frames.get().max(1) as f64;
        }
        last_spent = Some(spent);
        if complete && achieved >= ENOUGH * offered {
            followed = offered;
        } else {
            outrun = Some(offered);
        }
        offered = match outrun {
            _ if ended > 0 || achieved < COLLAPSED * best => break,
            None => offered * plan.factor,
            Some(high) if halvings < plan.halvings => {
                halvings += 1;
                (followed * high).sqrt()
            }
            Some(_) => break,
        };
    }
    let (ended, why) = crowd.ended();
    crowd.disconnect();
    let mut outcome = Outcome::new()
        .with("deliveries_per_second", rounded(best))
        .with("deliveries_per_frame", rounded(merged))
        .with("steps", json!(steps))
        .trouble(&tally);
    if ended > 0 {
        outcome = outcome.with("ended", ended).with("ended_by", why);
    }
    Ok(match last_spent {
        Some(spent) => outcome.spent(spent),
        None => outcome,
    })
}
