//! How many rooms of people who type can be served: one writer per room at human speed, more and more rooms, until the 99th
//! percentile of latency passes a bound.

use std::rc::Rc;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::{Crowd, Outcome, rounded, settle};
use crate::lab::Lab;
use crate::measure::Window;
use crate::pace::{Pace, pace};
use crate::servers::Server;
use crate::tally::Tally;

/// Rooms are added until latency passes a bound
#[derive(Args, Clone, Copy, Debug, serde::Serialize)]
pub struct Saturate {
    #[arg(long, default_value_t = 20)]
    pub members: usize,
    #[arg(long, default_value_t = 20.0)]
    pub rate: f64,
    #[arg(long, default_value_t = 250.0)]
    pub bound_ms: f64,
    /// Rooms of the first step.
    #[arg(long, default_value_t = 50)]
    pub from: usize,
    #[arg(long, default_value_t = 800)]
    pub most: usize,
    /// Of one step.
    #[arg(long, default_value_t = 4.0)]
    pub seconds: f64,
    /// Steps between the last that held and the first that did not.
    #[arg(long, default_value_t = 3)]
    pub halvings: usize,
}

impl Default for Saturate {
    fn default() -> Self {
        Self { members: 20, rate: 20.0, bound_ms: 250.0, from: 50, most: 800, seconds: 4.0, halvings: 3 }
    }
}

/// Above the bound by less than this factor, a step is tried once more.
const NARROWLY: f64 = 1.5;

struct Step {
    rooms: usize,
    p99: f64,
    held: bool,
    spent: crate::measure::Spent,
}

impl Step {
    /// How many rooms have this latency, between this step, which held, and the next, which did not: latency grows by a factor, not by a sum.
    fn rooms_at(&self, bound_ms: f64, failed: Option<&Self>) -> f64 {
        let low = self.rooms as f64;
        let Some(failed) = failed.filter(|failed| failed.p99 > bound_ms) else { return low };
        let share = (bound_ms / self.p99).ln() / (failed.p99 / self.p99).ln();
        low + (failed.rooms as f64 - low) * share
    }

    fn line(&self) -> Value {
        json!([self.rooms, rounded(self.p99), rounded(self.spent.generator_share)])
    }
}

pub async fn run(lab: &Lab, server: &mut Server, plan: &Saturate) -> anyhow::Result<Outcome> {
    let tally = Rc::new(Tally::default());
    let mut crowd = Crowd { rooms: Vec::new(), members: Vec::new() };
    let (mut held, mut failed): (Option<Step>, Option<Step>) = (None, None);
    let (mut rooms, mut halvings) = (plan.from, 0);
    let mut steps = Vec::new();
    loop {
        let more = rooms.saturating_sub(crowd.rooms.len());
        crowd.join(Crowd::gather(lab, server, &tally, (more, plan.members, 1), 1).await?);
        let mut step = step(lab, server, plan, &crowd, &tally, rooms).await?;
        // What fails by little may have met other work of the machine.
        if !step.held && step.p99 < NARROWLY * plan.bound_ms && crowd.ended().0 == 0 {
            steps.push(step.line());
            step = self::step(lab, server, plan, &crowd, &tally, rooms).await?;
        }
        steps.push(step.line());
        if step.held {
            held = Some(step)
        } else {
            failed = Some(step)
        }
        let low = held.as_ref().map_or(0, |step| step.rooms);
        rooms = match &failed {
            None if low >= plan.most => break,
            None => (low * 2).min(plan.most),
            Some(high) if halvings < plan.halvings && high.rooms - low > 1 => {
                halvings += 1;
                low.midpoint(high.rooms)
            }
            Some(_) => break,
        };
        // What the last step left behind is not the next one's.
        if crowd.ended().0 > 0 {
            break;
        }
    }
    let (ended, why) = crowd.ended();
    crowd.disconnect();
    let per_room = plan.rate * (plan.members as f64 - 1.0);
    let rooms = held.as_ref().map_or(0.0, |held| held.rooms_at(plan.bound_ms, failed.as_ref()));
    let mut outcome = Outcome::new()
        .with("rooms", rounded(rooms))
        .with("deliveries_per_second", rounded(rooms * per_room))
        .with("p99_ms", held.as_ref().map(|step| rounded(step.p99)))
        .with("bound_found", failed.is_some())
        .with("steps", json!(steps))
        .trouble(&tally);
    if ended > 0 {
        outcome = outcome.with("ended", ended).with("ended_by", why);
    }
    // The generator limits the figure if it was busy where the server failed, or where the search ended.
    match failed.or(held) {
        Some(step) => Ok(outcome.spent(step.spent)),
        None => Ok(outcome),
    }
}

async fn step(
    lab: &Lab,
    server: &Server,
    plan: &Saturate,
    crowd: &Crowd,
    tally: &Rc<Tally>,
    rooms: usize,
) -> anyhow::Result<Step> {
    let mut strikers = crowd.strikers(server, rooms, (plan.rate * (plan.seconds + 1.0)).ceil() as usize + 2, false);
    pace(lab, &mut strikers, Pace::new(plan.rate, 1.0)).await?;
    tally.restart(lab.clock.now());
    let window = Window::open(server.group());
    let paced = pace(lab, &mut strikers, Pace::new(plan.rate, plan.seconds)).await?;
    let spent = window.close();
    let expected = paced.sent * (plan.members as u64 - 1);
    let complete = settle(Duration::from_secs(2), || tally.delivered.get() >= expected, || tally.delivered.get()).await;
    let p99 = tally.latency.borrow().quantile(0.99).unwrap_or(f64::MAX);
    Ok(Step { rooms, p99, held: complete && p99 <= plan.bound_ms, spent })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_lies_between_what_held_and_what_did_not() {
        let step = |rooms, p99| {
            let spent = Window::open(0).close();
            Step { rooms, p99, held: p99 <= 250.0, spent }
        };
        let held = step(100, 25.0);
        assert_eq!(held.rooms_at(250.0, None), 100.0, "nothing failed");
        assert!((held.rooms_at(250.0, Some(&step(200, 2500.0))) - 150.0).abs() < 1e-9);
        assert_eq!(held.rooms_at(250.0, Some(&step(200, 240.0))), 100.0, "it failed by what never arrived");
    }
}
