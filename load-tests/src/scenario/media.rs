//! Calls. Each is a plan of its own below `media`; those of a call's rules are for ours alone.

pub mod call;
pub mod churn;
pub mod forward;
pub mod hostile;

use std::time::Duration;

use clap::{Args, Subcommand};

use super::{Outcome, rounded};
use crate::lab::Lab;
use crate::measure::{Spent, Window};
use crate::media::client::Studio;
use crate::media::janus;
use crate::servers::{Kind, Server};

/// Calls: voice and pictures through a media server
#[derive(Args, Clone, Copy, Debug, serde::Serialize)]
pub struct Media {
    #[command(subcommand)]
    #[serde(flatten)]
    pub plan: Plan,
}

#[derive(Subcommand, Clone, Copy, Debug, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Plan {
    Forward(forward::Forward),
    Call(call::Call),
    Churn(churn::Churn),
    Hostile(hostile::Hostile),
}

impl Plan {
    /// Does it need what only our calls have?
    pub fn is_for_ours(&self) -> bool {
        matches!(self, Self::Call(_))
    }
}

pub async fn run(lab: &Lab, server: &mut Server, plan: &Media) -> anyhow::Result<Outcome> {
    let ip = if server.kind == Kind::Janus { janus::media_address()? } else { server.target.address.ip() };
    let studio = Studio::new(lab.clock, ip);
    match &plan.plan {
        Plan::Forward(plan) => forward::run(&studio, server, plan).await,
        Plan::Call(plan) => call::run(&studio, server, plan).await,
        Plan::Churn(plan) => churn::run(lab, &studio, server, plan).await,
        Plan::Hostile(plan) => hostile::run(lab, &studio, server, plan).await,
    }
}

/// What is on its way when counting ends has so long to arrive.
const ARRIVES: Duration = Duration::from_millis(500);

/// Lets time pass and counts what is delivered in it.
async fn count(studio: &Studio, server: &Server, seconds: f64) -> Spent {
    let window = Window::open(server.group());
    studio.deliveries.from.set(studio.clock.now());
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    studio.deliveries.until.set(studio.clock.now());
    let spent = window.close();
    tokio::time::sleep(ARRIVES).await;
    spent
}

/// What every plan that counts says.
fn counted(studio: &Studio, spent: Spent) -> Outcome {
    let deliveries = &studio.deliveries;
    let delivered = deliveries.delivered.get();
    Outcome::new()
        .with("cpu_us_per_packet", rounded(spent.server_cpu_seconds * 1e6 / delivered.max(1) as f64))
        .with("sent", deliveries.sent.get())
        .with("delivered", delivered)
        .with("again", deliveries.again.get())
        .with("packets_per_second", rounded(delivered as f64 / spent.seconds))
        .latency("", &deliveries.latency.borrow())
        .spent(spent)
}
