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
    /// How often those who were not first connect and leave; what counts is the best.
    #[arg(long, default_value_t = 3)]
    pub storms: usize,
    /// Connections that are made at the same time.
    #[arg(long, default_value_t = AT_ONCE)]
    pub at_once: usize,
}

impl Default for Idle {
    fn default() -> Self {
        Self { connections: 5000, documents: 500, storms: 3, at_once: AT_ONCE }
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
    let members = lab.connect_all(server.target, first, plan.at_once).await?;
    let rest = plan.connections.saturating_sub(plan.documents);
    let others = || (0..rest).map(|number| Plan::reader(&rooms[number % rooms.len()], &tally));
    let storm = async || {
        let start = lab.clock.now();
        let members = lab.connect_all(server.target, others(), plan.at_once).await?;
        anyhow::Ok((members, (lab.clock.now() - start) as f64 / 1e9))
    };
    let window = Window::open(server.group());
    let (connected, mut seconds) = storm().await?;
    let spent = window.close();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after = group_rss(server.group());
    let connections = members.len() + connected.len();
    connected.iter().for_each(|member| member.disconnect());
    for _ in 1..plan.storms {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let (connected, again) = storm().await?;
        seconds = seconds.min(again);
        connected.iter().for_each(|member| member.disconnect());
    }
    members.iter().for_each(|member| member.disconnect());
    Ok(Outcome::new()
        .with("rss_kib_per_connection", rounded(after.saturating_sub(before) as f64 / connections as f64))
        .with("rss_kib_before", before)
        .with("rss_kib", after)
        .with("connected", rest)
        .with("connect_seconds", rounded(seconds))
        .trouble(&tally)
        .spent(spent))
}
