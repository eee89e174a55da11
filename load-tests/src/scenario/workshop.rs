//! A workshop: the host types in a document that all learners follow with their cursors, and each learner types in a file of its own, which the
//! host watches. Runs in sandboxes are not part of it.

use std::rc::Rc;
use std::time::Duration;

use clap::Args;

use super::{Outcome, rounded, settle};
use crate::lab::{AT_ONCE, Lab};
use crate::measure::{Window, group_rss};
use crate::member::Plan;
use crate::pace::{Pace, Striker, pace};
use crate::room::Script;
use crate::servers::Server;
use crate::tally::Tally;

/// One host, many learners with a file each
#[derive(Args, Clone, Copy, Debug, serde::Serialize)]
pub struct Workshop {
    #[arg(long, default_value_t = 60)]
    pub learners: usize,
    /// Keystrokes of everybody in a second.
    #[arg(long, default_value_t = 5.0)]
    pub rate: f64,
    /// Movements of each cursor in a second.
    #[arg(long, default_value_t = 2.0)]
    pub cursors: f64,
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
}

impl Default for Workshop {
    fn default() -> Self {
        Self { learners: 60, rate: 5.0, cursors: 2.0, seconds: 10.0 }
    }
}

pub async fn run(lab: &Lab, server: &mut Server, plan: &Workshop) -> anyhow::Result<Outcome> {
    let (typing, looking) = (Rc::new(Tally::default()), Rc::new(Tally::default()));
    let shared = lab.room(1, plan.learners + 1, 1);
    let files: Vec<_> = (0..plan.learners).map(|_| lab.room(1, 0, 1)).collect();
    for room in files.iter().chain([&shared]) {
        server.create(&room.document).await?;
    }
    let host = Plan { watches_presence: true, ..Plan::writer(&shared, &typing, 0) };
    let learners = (0..plan.learners).map(|_| Plan { watches_presence: true, ..Plan::reader(&shared, &typing) });
    let following = lab.connect_all(server.target, [host].into_iter().chain(learners), AT_ONCE).await?;
    let own = files.iter().map(|room| Plan::writer(room, &looking, 0));
    let own = lab.connect_all(server.target, own, AT_ONCE).await?;
    let watched = files.iter().map(|room| Plan::reader(room, &looking));
    let watched = lab.connect_all(server.target, watched, AT_ONCE).await?;

    let dialect = server.target.dialect;
    let keystrokes = (plan.rate * plan.seconds) as usize + 2;
    let script = |room: &Rc<crate::room::Room>| Script::keystrokes(dialect, room, 0, 0, keystrokes, false);
    let mut hosting = vec![Striker::new(following[0].clone(), script(&shared))];
    let mut learning: Vec<_> =
        files.iter().zip(&own).map(|(room, member)| Striker::new(member.clone(), script(room))).collect();
    let states = (plan.cursors * plan.seconds) as usize + 2;
    let mut moving: Vec<_> = following
        .iter()
        .enumerate()
        .map(|(number, member)| {
            Striker::present(member.clone(), Script::presence(dialect, &shared, number, states), number)
        })
        .collect();

    let window = Window::open(server.group());
    let typed = Pace::new(plan.rate, plan.seconds);
    let (host, learners, cursors) = tokio::try_join!(
        pace(lab, &mut hosting, typed),
        pace(lab, &mut learning, typed),
        pace(lab, &mut moving, Pace::new(plan.cursors, plan.seconds)),
    )?;
    let expected = host.sent * plan.learners as u64 + learners.sent;
    let delivered = || typing.delivered.get() + looking.delivered.get();
    let complete = settle(Duration::from_secs(2), || delivered() >= expected, delivered).await;
    let spent = window.close();
    let seen = typing.states.get();
    for member in following.iter().chain(&own).chain(&watched) {
        member.disconnect();
    }
    Ok(Outcome::new()
        .with("complete", complete)
        .with("deliveries", delivered())
        .latency("shared_", &typing.latency.borrow())
        .latency("own_", &looking.latency.borrow())
        .latency("cursors_", &typing.state_age.borrow())
        .with("cursors_share", rounded(seen as f64 / (cursors.sent * following.len() as u64) as f64))
        .with("server_share", rounded(spent.server_cpu_seconds / spent.seconds))
        .with("rss_kib", group_rss(server.group()))
        .trouble(&typing)
        .trouble(&looking)
        .spent(spent))
}
