//! Subscribers come and go: how long until each sees something, and whether what they cost is given back.

use std::time::Duration;

use clap::Args;

use super::{Outcome, rounded};
use crate::lab::Lab;
use crate::measure::{Window, group_files, group_rss};
use crate::media::client::Studio;
use crate::media::picture::{Shape, Source, Stream};
use crate::media::site::Site;
use crate::servers::Server;
use crate::tally::Latency;

/// One publisher, and subscribers who join one after the other and leave once they have a whole keyframe
#[derive(Args, Clone, Copy, Debug, serde::Serialize)]
pub struct Churn {
    #[arg(long, default_value_t = 200)]
    pub joins: usize,
    /// The camera has one layer, as most encoders send; otherwise three, as pages send.
    #[arg(long)]
    pub single: bool,
    /// How long memory and files may take to come back.
    #[arg(long, default_value_t = 30.0)]
    pub patience: f64,
}

impl Default for Churn {
    fn default() -> Self {
        Self { joins: 200, single: false, patience: 30.0 }
    }
}

pub async fn run(lab: &Lab, studio: &Studio, server: &Server, plan: &Churn) -> anyhow::Result<Outcome> {
    let site = Site::open(server).await?;
    let pictures: &[_] = if plan.single { &[(Stream::High, Shape::FULL)] } else { &Shape::LAYERS };
    let _publisher = site.publish(studio, Source::new(0, 0, true, pictures), !plan.single).await?;
    // What a server sets up once, with its first viewer, is no leak.
    let first = site.watch(studio).await?;
    first.client.first_picture().await?;
    first.leave().await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (start, files) = (group_rss(server.group()), group_files(server.group()));
    let (mut latency, mut connecting, mut half) = (Latency::default(), Latency::default(), 0);
    let window = Window::open(server.group());
    for join in 0..plan.joins {
        let began = lab.clock.now();
        let guest = site.watch(studio).await?;
        guest.client.connected().await?;
        connecting.record(lab.clock.now() - began);
        latency.record(guest.client.first_picture().await? - began);
        guest.leave().await?;
        if join == plan.joins / 2 {
            half = group_rss(server.group());
        }
    }
    let spent = window.close();
    let deadline = tokio::time::Instant::now() + Duration::from_secs_f64(plan.patience);
    let is_back = || group_rss(server.group()) <= start + start / 10 && group_files(server.group()) <= files;
    while !is_back() && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let (left, files_left) = (group_rss(server.group()), group_files(server.group()));
    let p95 = latency.quantile(0.95).map(rounded);
    Ok(Outcome::new()
        .latency("", &latency)
        .with("p95_ms", p95)
        .with("connected_p50_ms", connecting.quantile(0.5).map(rounded))
        .with("cpu_ms_per_join", rounded(spent.server_cpu_seconds * 1e3 / plan.joins.max(1) as f64))
        .with("rss_kib_start", start)
        .with("rss_kib_half", half)
        .with("rss_kib_left", left)
        .with("left_to_start", rounded(left as f64 / start.max(1) as f64))
        .with("files_start", files)
        .with("files_left", files_left)
        .with("files_more", files_left as i64 - files as i64)
        .spent(spent))
}
