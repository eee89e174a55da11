//! Everybody sends to everybody: a call as pages make it, with simulcast cameras.

use std::time::Duration;

use clap::Args;

use super::{count, counted};
use crate::media::call::Participant;
use crate::media::client::Studio;
use crate::media::http;
use crate::media::picture::{Shape, Source};
use crate::media::site::Own;
use crate::scenario::Outcome;
use crate::servers::Server;

/// Participants who all send voice and a camera in three layers, and all receive everybody else's
#[derive(Args, Clone, Copy, Debug, serde::Serialize)]
pub struct Call {
    #[arg(long, default_value_t = 20)]
    pub participants: u16,
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// Not counted, before.
    #[arg(long, default_value_t = 5.0)]
    pub warmup: f64,
    /// The layer they ask for: low, middle or high.
    #[arg(long, value_enum, default_value_t = Layer::Low)]
    pub layer: Layer,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Layer {
    Low,
    Middle,
    High,
}

impl Layer {
    fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Middle => "middle",
            Self::High => "high",
        }
    }
}

impl Default for Call {
    fn default() -> Self {
        Self { participants: 20, seconds: 10.0, warmup: 5.0, layer: Layer::Low }
    }
}

pub async fn run(studio: &Studio, server: &Server, plan: &Call) -> anyhow::Result<Outcome> {
    let own = Own::make(server.target.address).await?;
    let mut participants = Vec::new();
    for publisher in 0..plan.participants {
        let source = Source::new(publisher, 0, true, &Shape::LAYERS);
        let layer = plan.layer.name().to_owned();
        participants.push(Participant::join(studio, server.target.address, &own, source, layer).await?);
    }
    tokio::time::sleep(Duration::from_secs_f64(plan.warmup)).await;
    let dropped_before = dropped(server).await?;
    let spent = count(studio, server, plan.seconds).await;
    let dropped = dropped(server).await? - dropped_before;
    let (mut missing, mut streams) = (0, 0);
    for participant in &participants {
        if let Some(receiving) = participant.receiving() {
            missing += receiving.heard().missing();
            streams += receiving.heard().streams();
        }
    }
    let others = usize::from(plan.participants) - 1;
    let outcome = counted(studio, spent)
        .with("streams", streams)
        .with("streams_expected", usize::from(plan.participants) * others * 2)
        .with("missing", missing)
        .with("dropped_by_server", dropped)
        .with("rss_kib", crate::measure::group_rss(server.group()));
    Ok(match participants.iter().find_map(Participant::trouble) {
        Some(trouble) => outcome.with("trouble", trouble),
        None => outcome,
    })
}

/// Packets that ours says it dropped, for want of room in a queue or a socket.
pub(super) async fn dropped(server: &Server) -> anyhow::Result<u64> {
    let page = http::request(server.target.address, ("GET", "/metrics"), "", "text/plain", "").await?.expect(200)?;
    let lines = page.body.lines().filter(|line| line.starts_with("buildspaces_media_packets_dropped_total"));
    Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum())
}
