//! Opening a document with a long history after a restart: alone, and as the last of many who come at once.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;

use super::{Outcome, rounded};
use crate::lab::Lab;
use crate::measure::group_rss;
use crate::member::{Member, Plan};
use crate::room::Room;
use crate::servers::Server;
use crate::tally::Tally;
use crate::trace::{self, History};
use crate::verify;

/// Longest message that those who open the document look into.
const LONGEST: usize = 16 << 10;

/// A document with a long history is opened after a restart
#[derive(Args, Clone, Debug, serde::Serialize)]
pub struct Cold {
    /// An editing trace, such as automerge-paper.json.gz; one is made up if none is given.
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Edits of a made up trace.
    #[arg(long, default_value_t = 260_000)]
    pub edits: usize,
    /// Edits in one update, as a client sends them.
    #[arg(long, default_value_t = 50)]
    pub per_update: usize,
    /// Who open it at once.
    #[arg(long, default_value_t = 50)]
    pub clients: usize,
    /// How long the server may save before it is restarted.
    #[arg(long, default_value_t = 12.0)]
    pub save: f64,
    /// How often it is opened by one and by all, each time after a restart; what counts is the best.
    #[arg(long, default_value_t = 5)]
    pub openings: usize,
}

impl Default for Cold {
    fn default() -> Self {
        Self { trace: None, edits: 260_000, per_update: 50, clients: 50, save: 12.0, openings: 5 }
    }
}

pub async fn run(lab: &Lab, server: &mut Server, plan: &Cold) -> anyhow::Result<Outcome> {
    if !server.kind.persists() {
        bail!("it keeps no documents over a restart");
    }
    let edits = match &plan.trace {
        Some(path) => trace::read(path)?,
        None => trace::generate(plan.edits, 1),
    };
    let room = lab.room(1, 0, 1);
    let history = trace::history(room.client(0), &edits, plan.per_update)?;
    server.create(&room.document).await?;
    let start = lab.clock.now();
    upload(lab, server, &room, &history).await?;
    let upload_seconds = (lab.clock.now() - start) as f64 / 1e9;
    tokio::time::sleep(Duration::from_secs_f64(plan.save)).await;

    let (mut ones, mut manies, mut state_bytes) = (Vec::new(), Vec::new(), 0);
    for _ in 0..plan.openings.max(1) {
        let (millis, bytes) = open_after_restart(lab, server, &room, 1).await?;
        ones.push(millis);
        state_bytes = bytes;
        manies.push(open_after_restart(lab, server, &room, plan.clients).await?.0);
    }
    let member = verify::fetch(lab, server.target, &room).await?;
    let doc = verify::document(&member)?;
    let found = verify::clocks(&doc, &room, 0);
    member.disconnect();
    Ok(Outcome::new()
        .with("one_ms", rounded(best(&ones)))
        .with("last_ms", rounded(best(&manies)))
        .with("state_bytes", state_bytes)
        .with("updates", history.updates.len())
        .with("upload_seconds", rounded(upload_seconds))
        .with("rss_kib", group_rss(server.group()))
        .with("complete", found == history.clocks))
}

fn best(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

/// Milliseconds until the last of so many had the document, and its size.
async fn open_after_restart(
    lab: &Lab,
    server: &mut Server,
    room: &Rc<Room>,
    clients: usize,
) -> anyhow::Result<(f64, u64)> {
    server.stop().await;
    server.restart().await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let tally = Rc::new(Tally::default());
    let start = lab.clock.now();
    // Whose keystrokes are in the state is looked at later, by one: for all of them it would take the generator longer than the server takes.
    let plans = (0..clients).map(|_| Plan { longest: LONGEST, ..Plan::reader(room, &tally) });
    let members = lab.connect_all(server.target, plans, clients).await?;
    let millis = (lab.clock.now() - start) as f64 / 1e6;
    let bytes = members.iter().map(|member| member.state_bytes.get()).min().unwrap_or(0);
    members.iter().for_each(|member| member.disconnect());
    Ok((millis, bytes))
}

/// Writes a history into a document and waits until a fresh client gets all of it.
pub(crate) async fn upload(
    lab: &Lab,
    server: &Server,
    room: &Rc<Room>,
    history: &History,
) -> anyhow::Result<Rc<Member>> {
    /// Bytes and updates on their way; past it the writer waits. y-sweet drops its answers to who sends faster than it can.
    const IN_FLIGHT: (usize, usize) = (4 << 20, 256);
    let writer = lab.connect(server.target, Plan::writer(room, &Rc::new(Tally::default()), 0)).await?;
    writer.synced().await?;
    for update in &history.updates {
        while writer.waiting() > IN_FLIGHT.0 || writer.unacknowledged() > IN_FLIGHT.1 {
            if let Some((code, reason)) = writer.closed() {
                bail!("the writer was disconnected: {code} {reason}");
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        writer.submit(update);
    }
    // Whoever looks at a large document reads nothing meanwhile, and what comes back of it would wait for too long. Not every server answers everything.
    let patience = tokio::time::Instant::now() + Duration::from_secs(10);
    while writer.unacknowledged() > 0 && writer.closed().is_none() && tokio::time::Instant::now() < patience {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let deadline = tokio::time::Instant::now() + Duration::from_secs(120);
    while tokio::time::Instant::now() < deadline {
        if let Some((code, reason)) = writer.closed() {
            bail!("the writer was disconnected: {code} {reason}");
        }
        let member = verify::fetch(lab, server.target, room).await?;
        let doc = verify::document(&member)?;
        member.disconnect();
        if verify::clocks(&doc, room, 0) == history.clocks {
            return Ok(writer);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Err(anyhow::anyhow!("not all of it arrived within two minutes")).context("writing the document")
}
