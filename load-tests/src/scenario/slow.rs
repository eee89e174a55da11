//! Some members hang while others work. The others must not notice, memory must stay bounded, and whoever comes back must end up with everything:
//! by catching up, or by being disconnected and synchronising again. What must not happen is that they stay connected and lack something.

use std::rc::Rc;
use std::time::Duration;

use clap::Args;

use super::{Outcome, rounded, settle};
use crate::lab::{AT_ONCE, Lab};
use crate::measure::{Window, group_peak, group_rss, reset_peak};
use crate::member::Plan;
use crate::pace::{Pace, Striker, pace};
use crate::room::Script;
use crate::servers::Server;
use crate::tally::Tally;
use crate::verify;

/// Members that do not read, among others that do
#[derive(Args, Clone, Copy, Debug, serde::Serialize)]
pub struct Slow {
    #[arg(long, default_value_t = 20)]
    pub members: usize,
    /// Of the members.
    #[arg(long, default_value_t = 2)]
    pub slow: usize,
    /// Updates of the one writer in a second.
    #[arg(long, default_value_t = 200.0)]
    pub rate: f64,
    /// Characters of one update: enough to fill what the kernel holds for a slow one.
    #[arg(long, default_value_t = 8192)]
    pub unit: u32,
    #[arg(long, default_value_t = 15.0)]
    pub seconds: f64,
}

impl Default for Slow {
    fn default() -> Self {
        Self { members: 20, slow: 2, rate: 200.0, unit: 8192, seconds: 15.0 }
    }
}

pub async fn run(lab: &Lab, server: &mut Server, plan: &Slow) -> anyhow::Result<Outcome> {
    const SMALL: u32 = 4096;
    let (fast, late) = (Rc::new(Tally::default()), Rc::new(Tally::default()));
    let room = lab.room(1, 0, plan.unit);
    server.create(&room.document).await?;
    let plans = (0..plan.members).map(|number| match number {
        0 => Plan::writer(&room, &fast, 0),
        _ if number <= plan.slow => {
            Plan { receive_buffer: Some(SMALL), longest: usize::MAX, ..Plan::reader(&room, &late) }
        }
        _ => Plan::reader(&room, &fast),
    });
    let members = lab.connect_all(server.target, plans, AT_ONCE).await?;
    let slow = &members[1..=plan.slow];
    let updates = (plan.rate * (plan.seconds + 3.0)) as usize + 2;
    let script = Script::keystrokes(server.target.dialect, &room, 0, 0, updates, false);
    let mut strikers = [Striker::new(members[0].clone(), script)];
    fast.restart(lab.clock.now());
    pace(lab, &mut strikers, Pace::new(plan.rate, 3.0)).await?;
    let before = fast.latency.borrow().quantile(0.99);

    let rss_before = group_rss(server.group());
    reset_peak(server.group());
    slow.iter().for_each(|member| member.pause(true));
    fast.restart(lab.clock.now());
    let window = Window::open(server.group());
    let paced = pace(lab, &mut strikers, Pace::new(plan.rate, plan.seconds)).await?;
    let expected = paced.sent * (plan.members - 1 - plan.slow) as u64;
    settle(Duration::from_secs(2), || fast.delivered.get() >= expected, || fast.delivered.get()).await;
    let spent = window.close();
    let growth = group_peak(server.group()).saturating_sub(rss_before);

    slow.iter().for_each(|member| member.pause(false));
    let all = room.count(0) as u64;
    let has_all = |member: &crate::member::Member| member.has(0) == all || member.closed().is_some();
    settle(Duration::from_secs(5), || slow.iter().all(|member| has_all(member)), || late.bytes.get()).await;
    let mut fates = Vec::new();
    for member in slow {
        fates.push(match member.closed() {
            Some((code, reason)) => {
                let again = lab.connect(server.target, Plan::reader(&room, &late)).await?;
                again.synced().await?;
                again.disconnect();
                format!("closed with {code} {reason}")
            }
            None if member.has(0) == all => "caught up".to_owned(),
            None => format!("stayed connected and lacks {} of {all} updates", all - member.has(0)),
        });
    }
    let silent = fates.iter().filter(|fate| fate.starts_with("stayed")).count();
    let converged = match server.kind.has_documents() {
        true => verify::converged(lab, server.target, &room).await.err().map(|error| error.to_string()),
        false => None,
    };
    members.iter().for_each(|member| member.disconnect());
    Ok(Outcome::new()
        .with("complete", fast.delivered.get() == expected)
        .with("p99_before_ms", before.map(rounded))
        .latency("", &fast.latency.borrow())
        .with("rss_growth_kib", growth)
        .with("fates", fates)
        .with("silently_incomplete", silent)
        .with("converged", converged.unwrap_or_else(|| "yes".to_owned()))
        .trouble(&fast)
        .spent(spent))
}
