//! What all scenarios share: the clock, the read buffer, fresh names, and connecting many members at once.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::clock::{Clock, Timer};
use crate::member::{Member, Plan, ReadBuffer, Target, read_buffer};
use crate::room::Room;

/// Connections that are made at the same time. Servers on Node.js listen with a backlog of 511, and what does not fit waits a second.
pub const AT_ONCE: usize = 256;

/// How long connecting and synchronising may take.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Lab {
    pub clock: Clock,
    buffer: ReadBuffer,
    next_client: Cell<u64>,
    run: u32,
    next_room: Cell<u32>,
}

impl Lab {
    #[expect(clippy::new_without_default, reason = "each lab has names of its own")]
    pub fn new() -> Self {
        let run: u32 = rand::random();
        Self {
            clock: Clock::new(),
            buffer: read_buffer(),
            // Yjs' ids have 32 bits; this leaves room for some millions of writers.
            next_client: Cell::new(u64::from(run >> 1 & 0x7f80_0000) + 1),
            run,
            next_room: Cell::new(0),
        }
    }

    /// A document that nobody used before. `unit`: characters per keystroke; `clients`: how many ids to keep for writers and presence.
    pub fn room(&self, writers: usize, clients: usize, unit: u32) -> Rc<Room> {
        let number = self.next_room.replace(self.next_room.get() + 1);
        let first = self.next_client.replace(self.next_client.get() + writers.max(clients) as u64);
        Rc::new(Room::new(format!("load-{:08x}-{number}", self.run), first, writers, unit))
    }

    pub fn timer(&self) -> anyhow::Result<Timer> {
        Ok(Timer::new(self.clock)?)
    }

    pub async fn connect(&self, target: Target, plan: Plan) -> anyhow::Result<Rc<Member>> {
        Member::connect(self.clock, &self.buffer, target, plan).await
    }

    /// Connects all, so many at the same time, and waits until they are synchronised. In the order of the plans.
    pub async fn connect_all(
        &self,
        target: Target,
        plans: impl IntoIterator<Item = Plan>,
        at_once: usize,
    ) -> anyhow::Result<Vec<Rc<Member>>> {
        let connect = |(number, plan)| async move {
            let member = self.connect(target, plan).await?;
            member.synced().await?;
            anyhow::Ok((number, member))
        };
        let mut plans = plans.into_iter().enumerate();
        let mut under_way: FuturesUnordered<_> = plans.by_ref().take(at_once).map(connect).collect();
        let mut members = Vec::new();
        let all = async {
            while let Some(connected) = under_way.next().await {
                members.push(connected?);
                under_way.extend(plans.next().map(connect));
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(PATIENCE, all)
            .await
            .map_err(|_| anyhow::anyhow!("not all members were synchronised within a minute"))??;
        members.sort_unstable_by_key(|(number, _)| *number);
        Ok(members.into_iter().map(|(_, member)| member).collect())
    }
}
