//! One publisher, many subscribers: what a forwarded packet costs.

use clap::Args;
use futures_util::StreamExt;

use super::{count, counted};
use crate::media::client::Studio;
use crate::media::picture::{Shape, Source, Stream};
use crate::media::site::{Guest, Site};
use crate::scenario::Outcome;
use crate::servers::Server;

/// One publisher with voice and a camera of 2.1 Mbit/s, and subscribers who take both
#[derive(Args, Clone, Copy, Debug, serde::Serialize)]
pub struct Forward {
    #[arg(long, default_value_t = 60)]
    pub subscribers: usize,
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// Not counted, before.
    #[arg(long, default_value_t = 3.0)]
    pub warmup: f64,
    /// Receivers say when each packet came, as browsers do. On a busy machine that looks like a thin line, on which servers send less.
    #[arg(long)]
    pub feedback: bool,
}

impl Default for Forward {
    fn default() -> Self {
        Self { subscribers: 60, seconds: 10.0, warmup: 3.0, feedback: false }
    }
}

/// Subscribers that join at the same time.
const AT_ONCE: usize = 8;

/// So many who receive, once each has its first picture.
pub(super) async fn audience(studio: &Studio, site: &Site, count: usize) -> anyhow::Result<Vec<Guest>> {
    let watching = futures_util::stream::iter((0..count).map(|_| async {
        let guest = site.watch(studio).await?;
        guest.client.first_picture().await?;
        Ok(guest)
    }));
    watching.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await.into_iter().collect()
}

pub async fn run(studio: &Studio, server: &Server, plan: &Forward) -> anyhow::Result<Outcome> {
    let studio = &studio.with_feedback(plan.feedback);
    let site = Site::open(server).await?;
    let source = Source::new(0, 0, true, &[(Stream::High, Shape::FULL)]);
    let publisher = site.publish(studio, source, false).await?;
    let subscribers = audience(studio, &site, plan.subscribers).await?;
    tokio::time::sleep(std::time::Duration::from_secs_f64(plan.warmup)).await;
    let spent = count(studio, server, plan.seconds).await;
    let deliveries = &studio.deliveries;
    let expected = deliveries.sent.get() * plan.subscribers as u64;
    let ended = subscribers.iter().chain([&publisher]).filter_map(|guest| guest.client.ended()).next();
    let outcome = counted(studio, spent)
        .with("expected", expected)
        .with("lost", expected.saturating_sub(deliveries.delivered.get()))
        .with("rss_kib", crate::measure::group_rss(server.group()));
    Ok(match ended {
        Some(reason) => outcome.with("trouble", reason),
        None => outcome,
    })
}
