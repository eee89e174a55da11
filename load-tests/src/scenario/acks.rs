//! How fast updates are acknowledged, beside what one flush of this disk takes.
//!
//! What an acknowledgement is worth differs: ours follows the flush of the log; those of the others say that the update is in memory.

use std::rc::Rc;
use std::time::Duration;

use clap::Args;

use super::{Crowd, Outcome, rounded, settle};
use crate::lab::Lab;
use crate::measure::{Window, fsync};
use crate::pace::{Pace, Striker, pace};
use crate::servers::Server;
use crate::tally::Tally;

/// Writers of many documents wait for acknowledgements
#[derive(Args, Clone, Copy, Debug, serde::Serialize)]
pub struct Acks {
    #[arg(long, default_value_t = 100)]
    pub documents: usize,
    /// Updates of each writer in a second; 0: each sends its next as soon as one is acknowledged.
    #[arg(long, default_value_t = 0.0)]
    pub rate: f64,
    /// Updates of each writer that wait at once, where the rate is 0.
    #[arg(long, default_value_t = 4)]
    pub window: usize,
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
}

impl Default for Acks {
    fn default() -> Self {
        Self { documents: 100, rate: 0.0, window: 4, seconds: 5.0 }
    }
}

pub async fn run(lab: &Lab, server: &mut Server, plan: &Acks) -> anyhow::Result<Outcome> {
    /// Updates per writer and second that are prepared for the closed loop.
    const PREPARED: f64 = 3000.0;
    if !server.kind.has_documents() {
        anyhow::bail!("it acknowledges nothing");
    }
    let tally = Rc::new(Tally::default());
    let crowd = Crowd::gather(lab, server, &tally, (plan.documents, 1, 1), 1).await?;
    let rate = if plan.rate > 0.0 { plan.rate } else { PREPARED };
    let mut strikers = crowd.strikers(server, plan.documents, (rate * (plan.seconds + 1.0)) as usize + 2, true);
    let flush = fsync(server.data(), 200)?;
    let (sent, spent) = if plan.rate > 0.0 {
        pace(lab, &mut strikers, Pace::new(plan.rate, 1.0)).await?;
        tally.restart(lab.clock.now());
        let window = Window::open(server.group());
        let paced = pace(lab, &mut strikers, Pace::new(plan.rate, plan.seconds)).await?;
        let done = || tally.acks.get() >= paced.sent;
        settle(Duration::from_secs(2), done, || tally.acks.get()).await;
        (paced.sent, window.close())
    } else {
        tally.restart(lab.clock.now());
        let window = Window::open(server.group());
        let end = lab.clock.now() + (plan.seconds * 1e9) as u64;
        let loops: Vec<_> = strikers
            .into_iter()
            .map(|striker| tokio::task::spawn_local(in_turn(lab.clock, striker, plan.window, end)))
            .collect();
        let mut sent = 0;
        for ended in loops {
            sent += ended.await??;
        }
        (sent, window.close())
    };
    let p99 = tally.ack_latency.borrow().quantile(0.99);
    let (ended, why) = crowd.ended();
    crowd.disconnect();
    Ok(Outcome::new()
        .with("acks_per_second", rounded(tally.acks.get() as f64 / spent.seconds))
        .with("sent", sent)
        .with("acks", tally.acks.get())
        .with("fsync_p50_ms", rounded(flush.0))
        .with("fsync_p99_ms", rounded(flush.1))
        .with("p99_to_fsync", p99.map(|p99| rounded(p99 / flush.0)))
        .with("ended", ended)
        .with("ended_by", why)
        .latency("", &tally.ack_latency.borrow())
        .trouble(&tally)
        .spent(spent))
}

/// Keeps so many updates on their way until the end, then waits for the last.
async fn in_turn(
    clock: crate::clock::Clock,
    mut striker: Striker,
    window: usize,
    end: crate::clock::Nanos,
) -> anyhow::Result<u64> {
    let mut sent = 0;
    while clock.now() < end && striker.left() > 0 {
        let member = striker.member.clone();
        let free = window - (sent - member.acknowledged.get() as usize);
        for _ in 0..free {
            sent += striker.strike(clock.now(), 1);
        }
        let wanted = member.acknowledged.get() + 1;
        tokio::time::timeout(Duration::from_secs(10), member.acknowledged(wanted)).await??;
    }
    tokio::time::timeout(Duration::from_secs(10), striker.member.acknowledged(sent as u32)).await??;
    Ok(sent as u64)
}
