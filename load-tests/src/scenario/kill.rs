//! Nothing that was acknowledged may be missing after `kill -9`.

use std::rc::Rc;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use rand::Rng;

use super::{Crowd, Outcome};
use crate::lab::Lab;
use crate::pace::{Pace, pace};
use crate::servers::Server;
use crate::tally::Tally;
use crate::verify;

/// The server is killed while writers write, and started again
#[derive(Args, Clone, Copy, Debug, serde::Serialize)]
pub struct Kill {
    #[arg(long, default_value_t = 20)]
    pub documents: usize,
    /// Updates of each writer in a second.
    #[arg(long, default_value_t = 50.0)]
    pub rate: f64,
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// Seconds between the last update and the kill; 0: in the midst of writing.
    #[arg(long, default_value_t = 0.0)]
    pub wait: f64,
}

impl Default for Kill {
    fn default() -> Self {
        Self { documents: 20, rate: 50.0, rounds: 3, wait: 0.0 }
    }
}

pub async fn run(lab: &Lab, server: &mut Server, plan: &Kill) -> anyhow::Result<Outcome> {
    const LONGEST: f64 = 2.0;
    if !server.kind.has_documents() {
        bail!("it acknowledges nothing");
    }
    let (mut acknowledged, mut sent, mut lost) = (0u64, 0u64, 0u64);
    for _ in 0..plan.rounds {
        let tally = Rc::new(Tally::default());
        let crowd = Crowd::gather(lab, server, &tally, (plan.documents, 1, 1), 1).await?;
        let mut strikers = crowd.strikers(server, plan.documents, (plan.rate * LONGEST) as usize + 2, true);
        // At a random point between two updates.
        let seconds = rand::rng().random_range(LONGEST / 4.0..LONGEST);
        let writing = pace(lab, &mut strikers, Pace::new(plan.rate, LONGEST));
        if plan.wait > 0.0 {
            writing.await?;
            tokio::time::sleep(Duration::from_secs_f64(plan.wait)).await;
        } else {
            let stopped = tokio::time::timeout(Duration::from_secs_f64(seconds), writing).await;
            stopped.unwrap_or_else(|_| Ok(Default::default()))?;
        }
        server.kill();
        // What was on its way when the server died still counts as acknowledged.
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.restart().await?;
        for (room, members) in crowd.rooms.iter().zip(&crowd.members) {
            let acked = members[0].acknowledged.get();
            let member = verify::fetch(lab, server.target, room).await?;
            let kept = verify::clocks(&verify::document(&member)?, room, 0);
            member.disconnect();
            acknowledged += u64::from(acked);
            sent += room.count(0) as u64;
            lost += u64::from(acked.saturating_sub(kept));
        }
        crowd.disconnect();
    }
    Ok(Outcome::new()
        .with("sent", sent)
        .with("acknowledged", acknowledged)
        .with("lost", lost)
        .with("rounds", plan.rounds))
}
