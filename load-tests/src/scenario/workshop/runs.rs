//! The host of a workshop runs the room's code now and then, in a sandbox.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;
use tokio::time::{Instant, interval, sleep, sleep_until};

use crate::clock::Clock;
use crate::media::http;
use crate::media::site::Own;
use crate::servers::Server;
use crate::tally::Latency;

/// How long one run may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// A room of ours with a program in it.
#[derive(Debug)]
pub(super) struct Lesson {
    address: SocketAddr,
    own: Own,
    clock: Clock,
    first: RefCell<Option<f64>>,
    later: RefCell<Latency>,
    /// Why there is no figure.
    trouble: RefCell<Option<String>>,
}

impl Lesson {
    pub(super) async fn open(server: &Server, clock: Clock) -> anyhow::Result<Self> {
        let address = server.target.address;
        let own = Own::make(address).await?;
        let (first, later, trouble) = (RefCell::default(), RefCell::default(), RefCell::default());
        Ok(Self { address, own, clock, first, later, trouble })
    }

    /// Runs the program at once, and again `every` so many seconds, until they are over. Ends with what cannot be run.
    pub(super) async fn give(&self, every: f64, seconds: f64) {
        let end = Instant::now() + Duration::from_secs_f64(seconds);
        let mut due = interval(Duration::from_secs_f64(every));
        loop {
            tokio::select! {
                _ = due.tick() => {}
                () = sleep_until(end) => return,
            }
            match self.run_once().await {
                Ok(ms) if self.first.borrow().is_none() => drop(self.first.replace(Some(ms as f64 / 1e6))),
                Ok(ms) => self.later.borrow_mut().record(ms),
                Err(error) => {
                    self.trouble.replace(Some(format!("{error:#}")));
                    return;
                }
            }
        }
    }

    async fn run_once(&self) -> anyhow::Result<u64> {
        let runs = format!("/api/v1/rooms/{}/runs", self.own.room);
        let began = self.clock.now();
        let run = self.ask("POST", &runs, "{}").await?;
        let own = format!("{runs}/{}", run["id"].as_str().context("a run has an id")?);
        let wait = async {
            loop {
                let run = self.ask("GET", &own, "").await?;
                match run["state"].as_str().unwrap_or_default() {
                    "queued" | "running" => sleep(Duration::from_millis(10)).await,
                    "passed" => return Ok(self.clock.now() - began),
                    state => anyhow::bail!("a run ended as {state}: {}", run["message"]),
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.context("a run does not end")?
    }

    async fn ask(&self, method: &str, path: &str, body: &str) -> anyhow::Result<Value> {
        let answer = http::request(self.address, (method, path), &self.own.token, "application/json", body).await?;
        anyhow::ensure!((200..300).contains(&answer.status), "{path}: {} {}", answer.status, answer.body);
        Ok(serde_json::from_str(&answer.body)?)
    }

    /// Milliseconds of the first run, which has to wait for a sandbox.
    pub(super) fn first(&self) -> Option<f64> {
        *self.first.borrow()
    }

    pub(super) fn later(&self) -> Latency {
        self.later.borrow().clone()
    }

    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.borrow().clone()
    }
}
