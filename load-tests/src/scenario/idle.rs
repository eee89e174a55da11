//! What a connection costs when nobody types: memory, and the time until it is there.

use std::rc::Rc;
use std::time::Duration;

use clap::Args;

use super::{Outcome, rounded};
use crate::lab::{AT_ONCE, Lab};
use crate::measure::{Window, group_rss};
use crate::member::Plan;
use crate::servers::Server;
use crate::tally::Tally;

/// Connections over documents, silent
#[derive(Args, Clone, Copy, Debug, serde::Serialize)]
pub struct Idle {
    #[arg(long, default_value_t = 5000)]
    pub connections: usize,
    #[arg(long, default_value_t = 500)]
    pub documents: usize,
    /// Connections that are made at the same time.
    #[arg(long, default_value_t = AT_ONCE)]
    pub at_once: usize,
}

impl Default for Idle {
    fn default() -> Self {
        Self { connections: 5000, documents: 500, at_once: AT_ONCE }
    }
}

pub async fn run(lab: &Lab, server: &mut Server, plan: &Idle) -> anyhow::Result<Outcome> {
    let tally = Rc::new(Tally::default());
    let rooms: Vec<_> = (0..plan.documents).map(|_| lab.room(0, 0, 1)).collect();
    for room in &rooms {
        server.create(&room.document).await?;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = group_rss(server.group());
    let first = rooms.iter().map(|room| Plan::reader(room, &tally));
    let mut members = lab.connect_all(server.target, first, plan.at_once).await?;
    let rest = plan.connections.saturating_sub(plan.documents);
    let window = Window::open(server.group());
    let start = lab.clock.now();
    let others = (0..rest).map(|number| Plan::reader(&rooms[number % rooms.len()], &tally));
    members.extend(lab.connect_all(server.target, others, plan.at_once).await?);
    let seconds = (lab.clock.now() - start) as f64 / 1e9;
    let spent = window.close();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after = group_rss(server.group());
    members.iter().for_each(|member| member.disconnect());
    Ok(Outcome::new()
        .with("rss_kib_per_connection", rounded(after.saturating_sub(before) as f64 / members.len() as f64))
        .with("rss_kib_before", before)
        .with("rss_kib", after)
        .with("connected", rest)
        .with("connect_seconds", rounded(seconds))
        .trouble(&tally)
        .spent(spent))
}
