//! Steady typing: some writers per room, everyone else reads. With a long duration this is the soak, which looks at memory's slope.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::{Crowd, Outcome, rounded, settle};
use crate::lab::Lab;
use crate::measure::{Window, group_rss};
use crate::pace::{Pace, pace};
use crate::servers::Server;
use crate::tally::Tally;
use crate::verify;

/// How long the last deliveries may keep quiet before they count as lost.
const QUIET: Duration = Duration::from_secs(3);

/// Rooms that a fresh client looks at in the end.
const VERIFIED: usize = 20;

/// Some members of each room write at a steady rate
#[derive(Args, Clone, Copy, Debug, serde::Serialize)]
pub struct Steady {
    #[arg(long, default_value_t = 10)]
    pub rooms: usize,
    /// Of each room.
    #[arg(long, default_value_t = 20)]
    pub members: usize,
    /// Of the members of each room; at most all.
    #[arg(long, default_value_t = 1)]
    pub writers: usize,
    /// Keystrokes of one writer in a second.
    #[arg(long, default_value_t = 20.0)]
    pub rate: f64,
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    #[arg(long, default_value_t = 2.0)]
    pub warmup: f64,
    /// Characters of one keystroke.
    #[arg(long, default_value_t = 1)]
    pub unit: u32,
}

impl Default for Steady {
    fn default() -> Self {
        Self { rooms: 10, members: 20, writers: 1, rate: 20.0, seconds: 10.0, warmup: 2.0, unit: 1 }
    }
}

pub async fn run(lab: &Lab, server: &mut Server, plan: &Steady) -> anyhow::Result<Outcome> {
    let writers = plan.writers.min(plan.members);
    let tally = Rc::new(Tally::default());
    let crowd = Crowd::gather(lab, server, &tally, (plan.rooms, plan.members, writers), plan.unit).await?;
    let keystrokes = (plan.rate * (plan.warmup + plan.seconds)).ceil() as usize + 2;
    let mut strikers = crowd.strikers(server, plan.rooms, keystrokes, false);
    pace(lab, &mut strikers, Pace::new(plan.rate, plan.warmup)).await?;
    tokio::time::sleep(Duration::from_millis(200)).await;

    tally.restart(lab.clock.now());
    let rss_before = group_rss(server.group());
    let samples = Rc::new(RefCell::new(Vec::new()));
    let memory = tokio::task::spawn_local(sample_memory(server.group(), samples.clone()));
    let window = Window::open(server.group());
    let paced = pace(lab, &mut strikers, Pace::new(plan.rate, plan.seconds)).await?;
    let expected = paced.sent * (plan.members as u64 - 1);
    let complete = settle(QUIET, || tally.delivered.get() >= expected, || tally.delivered.get()).await;
    let spent = window.close();
    memory.abort();

    let (ended, why) = crowd.ended();
    let mut outcome = Outcome::new()
        .with("deliveries", tally.delivered.get())
        .with("expected", expected)
        .with("complete", complete && tally.delivered.get() == expected)
        .with("deliveries_per_second", rounded(tally.delivered.get() as f64 / plan.seconds))
        .with("cpu_seconds_per_million", rounded(spent.server_cpu_seconds * 1e6 / tally.delivered.get().max(1) as f64))
        .with("frames", tally.frames.get())
        .with("latest_keystroke_ms", rounded(paced.latest as f64 / 1e6))
        .with("rss_kib", group_rss(server.group()))
        .with("rss_growth_kib", group_rss(server.group()) as i64 - rss_before as i64)
        .with("distribution", json!(tally.latency.borrow().points()))
        .latency("", &tally.latency.borrow())
        .trouble(&tally)
        .spent(spent);
    if let Some(slope) = slope(&samples.borrow()) {
        outcome = outcome.with("rss_slope_kib_per_minute", rounded(slope * 60.0));
    }
    if ended > 0 {
        outcome = outcome.with("ended", ended).with("ended_by", why);
    }
    if server.kind.has_documents() {
        let mut converged = json!(true);
        for room in crowd.rooms.iter().take(VERIFIED) {
            if let Err(error) = verify::converged(lab, server.target, room).await {
                converged = json!(error.to_string());
                break;
            }
        }
        outcome = outcome.with("converged", converged);
    }
    crowd.disconnect();
    Ok(outcome)
}

/// Takes the server's memory every second, in KiB.
async fn sample_memory(group: u32, samples: Rc<RefCell<Vec<f64>>>) {
    loop {
        samples.borrow_mut().push(group_rss(group) as f64);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// How fast a series that is sampled every second grows, by least squares; none if it is too short to tell.
fn slope(samples: &[f64]) -> Option<f64> {
    if samples.len() < 30 {
        return None;
    }
    let count = samples.len() as f64;
    let (mean_x, mean_y) = ((count - 1.0) / 2.0, samples.iter().sum::<f64>() / count);
    let x = |at: usize| at as f64 - mean_x;
    let above: f64 = samples.iter().enumerate().map(|(at, y)| x(at) * (y - mean_y)).sum();
    let below: f64 = (0..samples.len()).map(|at| x(at) * x(at)).sum();
    Some(above / below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_grows_evenly_has_that_slope() {
        let samples: Vec<f64> = (0..60).map(|second| 1000.0 + 2.5 * f64::from(second)).collect();
        assert!((slope(&samples).expect("long enough") - 2.5).abs() < 1e-9);
        assert_eq!(slope(&samples[..10]), None);
    }
}
