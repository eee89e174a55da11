//! Everybody's cursor moves: each member announces its presence many times a second. A server may skip states that are overtaken; what counts
//! is how old a state is when it arrives.

use std::rc::Rc;
use std::time::Duration;

use clap::Args;

use super::{Outcome, rounded};
use crate::lab::{AT_ONCE, Lab};
use crate::measure::Window;
use crate::member::Plan;
use crate::pace::{Pace, Striker, pace};
use crate::room::Script;
use crate::servers::Server;
use crate::tally::Tally;

/// All members of one room announce their presence
#[derive(Args, Clone, Copy, Debug, serde::Serialize)]
pub struct Presence {
    #[arg(long, default_value_t = 500)]
    pub members: usize,
    /// States of one member in a second.
    #[arg(long, default_value_t = 10.0)]
    pub rate: f64,
    #[arg(long, default_value_t = 8.0)]
    pub seconds: f64,
    /// Members that look into what arrives; the others only count bytes, to spare the generator.
    #[arg(long, default_value_t = 25)]
    pub watchers: usize,
}

impl Default for Presence {
    fn default() -> Self {
        Self { members: 500, rate: 10.0, seconds: 8.0, watchers: 25 }
    }
}

pub async fn run(lab: &Lab, server: &mut Server, plan: &Presence) -> anyhow::Result<Outcome> {
    const WARMUP: f64 = 2.0;
    let tally = Rc::new(Tally::default());
    let room = lab.room(0, plan.members, 1);
    server.create(&room.document).await?;
    let plans = (0..plan.members).map(|number| Plan {
        // Spread over the room, so that no watcher is special.
        watches_presence: number % plan.members.div_ceil(plan.watchers).max(1) == 0,
        ..Plan::reader(&room, &tally)
    });
    let watchers = plan.members.div_ceil(plan.members.div_ceil(plan.watchers).max(1));
    let members = lab.connect_all(server.target, plans, AT_ONCE).await?;
    let states = (plan.rate * (plan.seconds + WARMUP)).ceil() as usize + 2;
    let script = |number| Script::presence(server.target.dialect, &room, number, states);
    let mut strikers: Vec<_> = members
        .iter()
        .enumerate()
        .map(|(number, member)| Striker::present(member.clone(), script(number), number))
        .collect();
    pace(lab, &mut strikers, Pace::new(plan.rate, WARMUP)).await?;
    tally.restart(lab.clock.now());
    let window = Window::open(server.group());
    let paced = pace(lab, &mut strikers, Pace::new(plan.rate, plan.seconds)).await?;
    let spent = window.close();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let ended = members.iter().filter(|member| member.closed().is_some()).count();
    members.iter().for_each(|member| member.disconnect());
    Ok(Outcome::new()
        .with("sent", paced.sent)
        .with("states", tally.states.get())
        .with("arrived_share", rounded(tally.states.get() as f64 / (paced.sent as f64 * watchers as f64)))
        .with("server_share", rounded(spent.server_cpu_seconds / spent.seconds))
        .with("mib_per_second", rounded(tally.bytes.get() as f64 / spent.seconds / f64::from(1 << 20)))
        .with("ended", ended)
        .latency("", &tally.state_age.borrow())
        .trouble(&tally)
        .spent(spent))
}
