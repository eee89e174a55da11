//! A class opens a large document while others work elsewhere on the same server.

use std::rc::Rc;
use std::time::Duration;

use clap::Args;

use super::cold::upload;
use super::{Crowd, Outcome, rounded};
use crate::lab::Lab;
use crate::measure::{Window, group_peak, group_rss, reset_peak};
use crate::member::Plan;
use crate::pace::{Pace, pace};
use crate::servers::Server;
use crate::tally::Tally;
use crate::trace;

/// Many open a large document at once, editors work in another room
#[derive(Args, Clone, Copy, Debug, serde::Serialize)]
pub struct Join {
    #[arg(long, default_value_t = 150)]
    pub clients: usize,
    /// Of the document's text.
    #[arg(long, default_value_t = 4.0)]
    pub megabytes: f64,
    /// Members of the other room, one of whom writes 20 times a second.
    #[arg(long, default_value_t = 20)]
    pub editors: usize,
}

impl Default for Join {
    fn default() -> Self {
        Self { clients: 150, megabytes: 4.0, editors: 20 }
    }
}

pub async fn run(lab: &Lab, server: &mut Server, plan: &Join) -> anyhow::Result<Outcome> {
    const RATE: f64 = 20.0;
    /// Longest storm that editors write through.
    const LONGEST: f64 = 60.0;
    const QUIET: f64 = 3.0;
    let room = lab.room(1, 0, 1);
    let history = trace::history(room.client(0), &trace::paragraphs((plan.megabytes * 1e6) as usize), 4096)?;
    server.create(&room.document).await?;
    let writer = upload(lab, server, &room, &history).await?;

    let editing = Rc::new(Tally::default());
    let crowd = Crowd::gather(lab, server, &editing, (1, plan.editors, 1), 1).await?;
    let mut strikers = crowd.strikers(server, 1, (RATE * (QUIET + LONGEST)) as usize + 2, false);
    editing.restart(lab.clock.now());
    pace(lab, &mut strikers, Pace::new(RATE, QUIET)).await?;
    let before = editing.latency.borrow().quantile(0.99);
    let rss_before = group_rss(server.group());
    reset_peak(server.group());
    editing.restart(lab.clock.now());
    let window = Window::open(server.group());

    let tally = Rc::new(Tally::default());
    let start = lab.clock.now();
    let storm = async {
        let plans = (0..plan.clients).map(|_| Plan { longest: 4096, ..Plan::reader(&room, &tally) });
        let joined = lab.connect_all(server.target, plans, usize::MAX).await;
        (joined, (lab.clock.now() - start) as f64 / 1e9)
    };
    let (joined, seconds) = tokio::select! {
        joined = storm => joined,
        paced = pace(lab, &mut strikers, Pace::new(RATE, LONGEST)) => {
            paced?;
            anyhow::bail!("not all were there within a minute");
        }
    };
    let members = joined?;
    let spent = window.close();
    // What was typed at the storm's end is part of it.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let (peak, bytes) = (group_peak(server.group()), members.iter().map(|member| member.state_bytes.get()).min());
    let bytes = bytes.unwrap_or(0);
    members.iter().for_each(|member| member.disconnect());
    writer.disconnect();
    crowd.disconnect();
    Ok(Outcome::new()
        .with("seconds", rounded(seconds))
        .with("state_bytes", bytes)
        .with("rss_kib_before", rss_before)
        .with("rss_kib_peak", peak)
        .with("peak_to_document", rounded(peak as f64 * 1024.0 / bytes.max(1) as f64))
        .with("editors_p99_before_ms", before.map(rounded))
        .latency("editors_", &editing.latency.borrow())
        .with("editors_ended", crowd.ended().0)
        .trouble(&tally)
        .spent(spent))
}
