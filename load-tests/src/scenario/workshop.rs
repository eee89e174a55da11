//! A workshop: the host types in a document that all learners follow with their cursors, and each learner types in a file of its own, which the
//! host watches. Beside it the host runs a program in a sandbox, if the server is ours and was given an engine.

mod runs;

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
use runs::Lesson;

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
    /// Seconds between two runs of the host; 0: none. They need `--set sandbox.docker_host=unix://...`.
    #[arg(long, default_value_t = 0.0)]
    pub run_every: f64,
}

impl Default for Workshop {
    fn default() -> Self {
        Self { learners: 60, rate: 5.0, cursors: 2.0, seconds: 10.0, run_every: 0.0 }
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

    let lesson =
        if plan.run_every > 0.0 && server.kind.is_ours() { Some(Lesson::open(server, lab.clock).await?) } else { None };
    let running = async {
        if let Some(lesson) = &lesson {
            lesson.give(plan.run_every, plan.seconds).await;
        }
        Ok(())
    };

    let window = Window::open(server.group());
    let typed = Pace::new(plan.rate, plan.seconds);
    let (host, learners, cursors, ()) = tokio::try_join!(
        pace(lab, &mut hosting, typed),
        pace(lab, &mut learning, typed),
        pace(lab, &mut moving, Pace::new(plan.cursors, plan.seconds)),
        running,
    )?;
    let expected = host.sent * plan.learners as u64 + learners.sent;
    let delivered = || typing.delivered.get() + looking.delivered.get();
    let complete = settle(Duration::from_secs(2), || delivered() >= expected, delivered).await;
    let spent = window.close();
    let seen = typing.states.get();
    for member in following.iter().chain(&own).chain(&watched) {
        member.disconnect();
    }
    let mut outcome = Outcome::new();
    if let Some(lesson) = lesson {
        let later = lesson.later();
        outcome = outcome.with("first_run_ms", lesson.first().map(rounded)).latency("later_runs_", &later);
        outcome = outcome.with("later_runs", later.count()).with("runs_not_measured", lesson.trouble());
    }
    Ok(outcome
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
