//! Documents that are opened and closed again: what an open one costs, and whether memory comes back.

use std::rc::Rc;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::{Outcome, rounded};
use crate::lab::{AT_ONCE, Lab};
use crate::measure::group_rss;
use crate::member::Plan;
use crate::pace::Striker;
use crate::room::Script;
use crate::servers::Server;
use crate::tally::Tally;

/// Small documents with one connection each, opened and left
#[derive(Args, Clone, Copy, Debug, serde::Serialize)]
pub struct Documents {
    #[arg(long, default_value_t = 2000)]
    pub documents: usize,
    /// Characters in each.
    #[arg(long, default_value_t = 1024)]
    pub bytes: u32,
    /// How long memory may take to come back after everybody left.
    #[arg(long, default_value_t = 60.0)]
    pub patience: f64,
    /// How often all are opened and left; other documents each time.
    #[arg(long, default_value_t = 1)]
    pub rounds: usize,
}

impl Default for Documents {
    fn default() -> Self {
        Self { documents: 2000, bytes: 1024, patience: 60.0, rounds: 1 }
    }
}

pub async fn run(lab: &Lab, server: &mut Server, plan: &Documents) -> anyhow::Result<Outcome> {
    let tally = Rc::new(Tally::default());
    tokio::time::sleep(Duration::from_millis(500)).await;
    let start = group_rss(server.group());
    let (mut open, mut left, mut curve) = (0, 0, vec![json!([0, start])]);
    for _ in 0..plan.rounds {
        let rooms: Vec<_> = (0..plan.documents).map(|_| lab.room(1, 0, plan.bytes)).collect();
        let mut members = Vec::new();
        for some in rooms.chunks(plan.documents.div_ceil(4)) {
            for room in some {
                server.create(&room.document).await?;
            }
            let plans = some.iter().map(|room| Plan::writer(room, &tally, 0));
            let connected = lab.connect_all(server.target, plans, AT_ONCE).await?;
            for (room, member) in some.iter().zip(&connected) {
                let script = Script::keystrokes(server.target.dialect, room, 0, 0, 1, true);
                Striker::new(member.clone(), script).strike(lab.clock.now(), 1);
            }
            if server.kind.has_documents() {
                for member in &connected {
                    tokio::time::timeout(Duration::from_secs(30), member.acknowledged(1)).await??;
                }
            }
            members.extend(connected);
            curve.push(json!([members.len(), group_rss(server.group())]));
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        open = group_rss(server.group());
        members.iter().for_each(|member| member.disconnect());
        drop(members);
        left = come_back(server.group(), start, plan.patience).await;
    }
    Ok(Outcome::new()
        .with("rss_kib_per_document", rounded(open.saturating_sub(start) as f64 / plan.documents as f64))
        .with("rss_kib_start", start)
        .with("rss_kib_open", open)
        .with("rss_kib_left", left)
        .with("left_to_start", rounded(left as f64 / start as f64))
        .with("curve", json!(curve))
        .trouble(&tally))
}

/// Waits until memory is within a tenth of where it started, or for as long as is allowed.
async fn come_back(group: u32, start: u64, patience: f64) -> u64 {
    let deadline = tokio::time::Instant::now() + Duration::from_secs_f64(patience);
    loop {
        let now = group_rss(group);
        if now <= start + start / 10 || tokio::time::Instant::now() > deadline {
            return now;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
