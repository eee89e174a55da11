//! Our own client, natively: people who write in documents and lose their connections meanwhile. What they end with must be the same for
//! all of them, and what somebody fetches who knows nothing but yrs.

use std::rc::Rc;
use std::time::Duration;

use clap::Args;
use rand::{Rng, SeedableRng};
use yrs::{GetString, Transact};

use super::{Outcome, rounded};
use crate::lab::Lab;
use crate::measure::Window;
use crate::native::Native;
use crate::servers::{Kind, Server};
use crate::tally::Tally;
use crate::updates::ROOT;
use crate::verify;
use crate::wire::Dialect;

/// How long everything may take to be saved once nobody writes. A client that was cut off often waits for up to half a minute.
const PATIENCE: Duration = Duration::from_secs(60);

/// Clients from `client-wasm` write, and lose their connections
#[derive(Args, Clone, Copy, Debug, serde::Serialize)]
pub struct Client {
    #[arg(long, default_value_t = 10)]
    pub documents: usize,
    /// Clients in each document.
    #[arg(long, default_value_t = 4)]
    pub members: usize,
    /// Keystrokes of each client in a second.
    #[arg(long, default_value_t = 10.0)]
    pub rate: f64,
    /// Connections, of all together, that are cut in a second.
    #[arg(long, default_value_t = 2.0)]
    pub cuts: f64,
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

pub async fn run(lab: &Lab, server: &mut Server, plan: &Client) -> anyhow::Result<Outcome> {
    let path = match (server.kind, server.target.dialect) {
        (Kind::Ours | Kind::OursCollab, _) | (_, Dialect::BuildspacesCollab) => "/collab",
        (_, Dialect::Hocuspocus) => "/",
        _ => anyhow::bail!("it does not speak the protocol of this client"),
    };
    let url = format!("ws://{}{path}", server.target.address);
    let tally = Rc::new(Tally::default());
    let rooms: Vec<_> = (0..plan.documents).map(|_| lab.room(0, 0, 1)).collect();
    let clients: Vec<Vec<Native>> = rooms
        .iter()
        .enumerate()
        .map(|(room, of)| {
            let seed = |member: usize| plan.seed + (room * plan.members + member) as u64;
            (0..plan.members)
                .map(|member| Native::connect(lab.clock, &url, &of.document, &tally, seed(member)))
                .collect()
        })
        .collect();
    let all: Vec<&Native> = clients.iter().flatten().collect();
    anyhow::ensure!(all_saved(&all).await, "not all clients came in: {:?}", tally.trouble.borrow());
    let mut random = rand::rngs::StdRng::seed_from_u64(plan.seed);
    let window = Window::open(server.group());
    tally.restart(lab.clock.now());
    let timer = lab.timer()?;
    let (start, end) = (lab.clock.now(), lab.clock.now() + (plan.seconds * 1e9) as u64);
    let pause = 1e9 / (plan.rate * all.len() as f64);
    let (mut written, mut cut, mut longest) = (0u64, 0u64, 0u32);
    loop {
        let planned = start + (written as f64 * pause) as u64;
        if planned >= end {
            break;
        }
        timer.until(planned).await?;
        all[written as usize % all.len()].insert(random.random_range(0..=longest), "x")?;
        written += 1;
        longest = (written / plan.documents as u64) as u32;
        let due = (planned - start) as f64 / 1e9 * plan.cuts;
        if (cut as f64) < due.floor() {
            all[random.random_range(0..all.len())].cut();
            cut += 1;
        }
    }
    let is_saved = all_saved(&all).await;
    let spent = window.close();
    anyhow::ensure!(is_saved, "not everything was saved within {PATIENCE:?}: {:?}", tally.trouble.borrow());
    let mut letters = 0;
    for (room, clients) in rooms.iter().zip(&clients) {
        let fetched = verify::fetch(lab, server.target, room).await?;
        let doc = verify::document(&fetched)?;
        fetched.disconnect();
        let text = doc.get_or_insert_text(ROOT).get_string(&doc.transact());
        for client in clients {
            anyhow::ensure!(agrees(client, &text).await?, "{}: a client has another text", room.document);
        }
        letters += text.len() as u64;
    }
    anyhow::ensure!(letters == written, "{letters} letters are left of {written}");
    let connections: u64 = all.iter().map(|client| client.connections()).sum();
    Ok(Outcome::new()
        .with("written", written)
        .with("acks", tally.acks.get())
        .with("cut", cut)
        .with("connections", connections)
        .with("written_per_second", rounded(written as f64 / plan.seconds))
        .with("converged", true)
        .latency("saved_", &tally.ack_latency.borrow())
        .trouble(&tally)
        .spent(spent))
}

async fn all_saved(clients: &[&Native]) -> bool {
    wait_until(|| clients.iter().all(|client| client.is_saved())).await
}

/// What one wrote is saved before the others have heard of it.
async fn agrees(client: &Native, text: &str) -> anyhow::Result<bool> {
    client.text()?;
    Ok(wait_until(|| client.text().is_ok_and(|own| own == text)).await)
}

async fn wait_until(holds: impl Fn() -> bool) -> bool {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds() {
        if tokio::time::Instant::now() > deadline {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    true
}
