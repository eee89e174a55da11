//! A network comes back: everybody who was connected connects again in the same moment.

use std::rc::Rc;
use std::time::Duration;

use clap::Args;

use super::{Outcome, rounded};
use crate::lab::{AT_ONCE, Lab};
use crate::measure::Window;
use crate::member::Plan;
use crate::pace::Striker;
use crate::room::Script;
use crate::servers::Server;
use crate::tally::Tally;

/// All clients connect again at once
#[derive(Args, Clone, Copy, Debug, serde::Serialize)]
pub struct Reconnect {
    #[arg(long, default_value_t = 1000)]
    pub clients: usize,
    #[arg(long, default_value_t = 50)]
    pub documents: usize,
    /// How long they are away; servers may close documents meanwhile.
    #[arg(long, default_value_t = 0.5)]
    pub away: f64,
}

impl Default for Reconnect {
    fn default() -> Self {
        Self { clients: 1000, documents: 50, away: 0.5 }
    }
}

pub async fn run(lab: &Lab, server: &mut Server, plan: &Reconnect) -> anyhow::Result<Outcome> {
    let tally = Rc::new(Tally::default());
    let rooms: Vec<_> = (0..plan.documents).map(|_| lab.room(1, 0, 1000)).collect();
    for room in &rooms {
        server.create(&room.document).await?;
    }
    let plans = || {
        (0..plan.clients).map(|number| {
            let room = &rooms[number % rooms.len()];
            if number < rooms.len() { Plan::writer(room, &tally, 0) } else { Plan::reader(room, &tally) }
        })
    };
    let members = lab.connect_all(server.target, plans(), AT_ONCE).await?;
    for (room, member) in rooms.iter().zip(&members) {
        let script = Script::keystrokes(server.target.dialect, room, 0, 0, 1, true);
        Striker::new(member.clone(), script).strike(lab.clock.now(), 1);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    members.iter().for_each(|member| member.disconnect());
    drop(members);
    tokio::time::sleep(Duration::from_secs_f64(plan.away)).await;

    let window = Window::open(server.group());
    let start = lab.clock.now();
    let members = lab.connect_all(server.target, plans(), usize::MAX).await?;
    let seconds = (lab.clock.now() - start) as f64 / 1e9;
    let spent = window.close();
    let with_state = members.iter().filter(|member| member.state_bytes.get() > 1000).count();
    members.iter().for_each(|member| member.disconnect());
    Ok(Outcome::new().with("seconds", rounded(seconds)).with("with_state", with_state).trouble(&tally).spent(spent))
}
