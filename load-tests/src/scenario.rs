//! The plans. Each takes a running server and parameters and gives an [`Outcome`]; none knows which server it is, except for what
//! that server cannot do.

pub mod acks;
pub mod burst;
pub mod client;
pub mod cold;
pub mod documents;
pub mod idle;
pub mod join;
pub mod kill;
pub mod media;
pub mod presence;
pub mod reconnect;
pub mod saturate;
pub mod slow;
pub mod steady;
pub mod workshop;

use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::lab::Lab;
use crate::measure::Spent;
use crate::pace::Striker;
use crate::room::{Room, Script};
use crate::servers::{Kind, Server};
use crate::tally::{Latency, Tally};

/// Names each scenario once: its variant, its module, its plan.
macro_rules! scenarios {
    ($($variant:ident $module:ident),*) => {
        #[derive(Clone, Debug, clap::Subcommand)]
        /// One of the scenarios, with its parameters.
        pub enum Scenario {
            $($variant($module::$variant)),*
        }

        impl Scenario {
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => stringify!($module)),*
                }
            }

            /// Its parameters.
            pub fn plan(&self) -> Value {
                match self {
                    $(Self::$variant(plan) => json!(plan)),*
                }
            }

            pub async fn run(&self, lab: &Lab, server: &mut Server) -> anyhow::Result<Outcome> {
                match self {
                    $(Self::$variant(plan) => $module::run(lab, server, plan).await),*
                }
            }
        }
    };
}

scenarios! {
    Steady steady,
    Saturate saturate,
    Burst burst,
    Presence presence,
    Idle idle,
    Documents documents,
    Cold cold,
    Reconnect reconnect,
    Join join,
    Slow slow,
    Acks acks,
    Kill kill,
    Workshop workshop,
    Client client,
    Media media
}

impl Scenario {
    /// Why a server cannot be measured with this, if it cannot.
    pub fn unfit(&self, kind: Kind) -> Option<String> {
        match self {
            Self::Media(_) if !kind.has_media() => Some(format!("{} has no calls", kind.name())),
            Self::Media(media) if media.plan.is_for_ours() && !kind.is_ours() => {
                Some(format!("{} has no calls by the signalling of ours", kind.name()))
            }
            Self::Media(_) => None,
            _ => kind.is_for_media_alone().then(|| format!("{} has no documents", kind.name())),
        }
    }
}

/// What came out of one run.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub values: serde_json::Map<String, Value>,
    pub spent: Option<Spent>,
}

impl Outcome {
    pub fn new() -> Self {
        Self { values: serde_json::Map::new(), spent: None }
    }

    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.values.insert(key.to_owned(), value.into());
        self
    }

    #[must_use]
    pub fn spent(mut self, spent: Spent) -> Self {
        self.spent = Some(spent);
        self
    }

    /// Median, 99th and 99.9th percentile and the worst, in milliseconds.
    #[must_use]
    pub fn latency(self, prefix: &str, latency: &Latency) -> Self {
        let quantiles = [("p50", 0.5), ("p99", 0.99), ("p999", 0.999), ("max", 1.0)];
        quantiles.iter().fold(self, |outcome, (name, at)| {
            outcome.with(&format!("{prefix}{name}_ms"), latency.quantile(*at).map(rounded))
        })
    }

    /// Things that should not have happened, if any did.
    #[must_use]
    pub fn trouble(self, tally: &Tally) -> Self {
        let trouble = tally.trouble.borrow();
        if trouble.is_empty() { self } else { self.with("trouble", json!(*trouble)) }
    }

    pub fn number(&self, key: &str) -> Option<f64> {
        self.values.get(key)?.as_f64()
    }
}

impl Default for Outcome {
    fn default() -> Self {
        Self::new()
    }
}

/// Three digits are what a measurement is worth.
pub fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let scale = 10f64.powf(3.0 - value.abs().log10().ceil());
    (value * scale).round() / scale
}

/// Rooms whose members are connected and synchronised.
pub(crate) struct Crowd {
    pub(crate) rooms: Vec<Rc<Room>>,
    /// By room.
    pub(crate) members: Vec<Vec<Rc<crate::member::Member>>>,
}

impl Crowd {
    /// `writers` of the members of each room write.
    pub(crate) async fn gather(
        lab: &Lab,
        server: &Server,
        tally: &Rc<Tally>,
        (rooms, members, writers): (usize, usize, usize),
        unit: u32,
    ) -> anyhow::Result<Self> {
        let rooms: Vec<_> = (0..rooms).map(|_| lab.room(writers, 0, unit)).collect();
        for room in &rooms {
            server.create(&room.document).await?;
        }
        let plans = rooms.iter().flat_map(|room| {
            (0..members).map(move |number| {
                if number < writers {
                    crate::member::Plan::writer(room, tally, number)
                } else {
                    crate::member::Plan::reader(room, tally)
                }
            })
        });
        let mut all = lab.connect_all(server.target, plans, crate::lab::AT_ONCE).await?.into_iter();
        let members = rooms.iter().map(|_| all.by_ref().take(members).collect()).collect();
        Ok(Self { rooms, members })
    }

    /// Adds the rooms of another crowd.
    pub(crate) fn join(&mut self, other: Self) {
        self.rooms.extend(other.rooms);
        self.members.extend(other.members);
    }

    /// The writers of the first rooms, each with so many keystrokes.
    pub(crate) fn strikers(&self, server: &Server, rooms: usize, keystrokes: usize, ask: bool) -> Vec<Striker> {
        let mut strikers = Vec::new();
        for (room, members) in self.rooms.iter().zip(&self.members).take(rooms) {
            for (writer, member) in members.iter().enumerate().take(room.writers()) {
                let from = room.count(writer);
                let script = Script::keystrokes(server.target.dialect, room, writer, from, keystrokes, ask);
                strikers.push(Striker::new(member.clone(), script));
            }
        }
        strikers
    }

    /// The first reason for which the server ended a connection, and how many it ended.
    pub(crate) fn ended(&self) -> (usize, Option<String>) {
        let ended: Vec<_> = self.members.iter().flatten().filter_map(|member| member.closed()).collect();
        (ended.len(), ended.first().map(|(code, reason)| format!("{code} {reason}")))
    }

    pub(crate) fn disconnect(&self) {
        for member in self.members.iter().flatten() {
            member.disconnect();
        }
    }
}

/// Waits until a condition holds or nothing changed for `quiet`. Returns whether it holds.
pub(crate) async fn settle(quiet: Duration, done: impl Fn() -> bool, progress: impl Fn() -> u64) -> bool {
    let (mut last, mut since) = (progress(), tokio::time::Instant::now());
    while !done() {
        tokio::time::sleep(Duration::from_millis(2)).await;
        let now = progress();
        if now != last {
            (last, since) = (now, tokio::time::Instant::now());
        } else if since.elapsed() > quiet {
            return false;
        }
    }
    true
}
