//! On which ports programs in each room's sandbox listen, as the agents tell it. Every byte of that is a stranger's.
//!
//! [`follow`] is one task per sandbox, which reads the agent's connection for ports; [`Board`] is where it writes and others look,
//! and where a room's sandbox is found without waiting for the lock that is held while it starts.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use buildspaces_kernel::ids::RoomId;
use buildspaces_kernel::tasks::Tasks;
use buildspaces_plans::ports::Made;
use buildspaces_sandbox_agent::protocol::{Event, Frame, Line, MAX_PORTS};
use tokio::sync::watch;

use crate::link::{Broken, Connection, Link};
use crate::steps::Container;

/// Shortest time between two changes that are shown: each is written into a document. An honest agent changes its mind as often.
const PAUSE: Duration = Duration::from_millis(250);

/// How often the container's state is looked at while the agent is away.
const PROBE: Duration = Duration::from_secs(1);

/// What is known of each room's sandbox. `S` is the sandbox.
#[derive(Debug)]
pub(crate) struct Board<S>(Mutex<HashMap<RoomId, Place<S>>>);

#[derive(Debug)]
struct Place<S> {
    sandbox: Weak<S>,
    ports: watch::Sender<Arc<[u16]>>,
    made: watch::Sender<Option<Arc<Made>>>,
}

impl<S> Default for Board<S> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<S> Place<S> {
    fn is_needed(&self) -> bool {
        self.sandbox.strong_count() > 0 || self.ports.receiver_count() > 0 || self.made.receiver_count() > 0
    }
}

impl<S> Board<S> {
    /// The room's ports from now on.
    pub(crate) fn watch(&self, room: &RoomId) -> watch::Receiver<Arc<[u16]>> {
        self.place(&mut self.lock(), room).ports.subscribe()
    }

    /// By what the room's sandbox is made, from now on.
    pub(crate) fn watch_made(&self, room: &RoomId) -> watch::Receiver<Option<Arc<Made>>> {
        self.place(&mut self.lock(), room).made.subscribe()
    }

    pub(crate) fn sandbox(&self, room: &RoomId) -> Option<Arc<S>> {
        self.lock().get(room)?.sandbox.upgrade()
    }

    /// `sandbox` is the room's from now on, in place of the one before.
    pub(crate) fn claim(self: &Arc<Self>, room: &RoomId, sandbox: &Arc<S>, made: Option<Arc<Made>>) -> Claim<S> {
        let mut places = self.lock();
        let place = self.place(&mut places, room);
        let sandbox = Arc::downgrade(sandbox);
        place.sandbox = sandbox.clone();
        place.ports.send_replace(Arc::new([]));
        place.made.send_replace(made);
        Claim { board: Arc::clone(self), room: room.clone(), sandbox }
    }

    fn place<'a>(&self, places: &'a mut HashMap<RoomId, Place<S>>, room: &RoomId) -> &'a mut Place<S> {
        // Now and then those go that nobody needs.
        if places.len().is_power_of_two() && !places.contains_key(room) {
            places.retain(|_, place| place.is_needed());
        }
        let new =
            || Place { sandbox: Weak::new(), ports: watch::Sender::new(Arc::new([])), made: watch::Sender::default() };
        places.entry(room.clone()).or_insert_with(new)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RoomId, Place<S>>> {
        self.0.lock().expect("the map of sandboxes is only read and written")
    }
}

/// The right to say what a room's ports are, until another sandbox is the room's.
#[derive(Debug)]
pub(crate) struct Claim<S> {
    board: Arc<Board<S>>,
    room: RoomId,
    sandbox: Weak<S>,
}

impl<S> Claim<S> {
    /// The sandbox is gone.
    fn end(&self) {
        self.set(&[]);
        let places = self.board.lock();
        let own = places.get(&self.room).filter(|place| place.sandbox.ptr_eq(&self.sandbox));
        if let Some(place) = own {
            place.made.send_if_modified(|made| made.take().is_some());
        }
    }

    fn set(&self, ports: &[u16]) {
        let places = self.board.lock();
        let own = places.get(&self.room).filter(|place| place.sandbox.ptr_eq(&self.sandbox));
        if let Some(place) = own {
            place.ports.send_if_modified(|shown| {
                let changed = **shown != *ports;
                if changed {
                    *shown = ports.into();
                }
                changed
            });
        }
    }
}

/// Shows the sandbox's ports for as long as its container lives.
pub(crate) async fn follow<S>(link: Arc<Link>, container: Arc<dyn Container>, claim: Claim<S>, tasks: Tasks) {
    let following = async {
        loop {
            if let Ok(mut connection) = tokio::time::timeout(PROBE, link.connection(Line::Ports)).await {
                let Err(broken) = read(&mut connection, &claim).await;
                tracing::debug!(%broken, "lost the connection that tells of ports");
                claim.set(&[]);
            }
            if container.state().await.is_gone() {
                container.died();
                return;
            }
        }
    };
    tokio::select! {
        () = following => {}
        () = tasks.cancelled() => {}
    }
    claim.end();
}

async fn read<S>(connection: &mut Connection, claim: &Claim<S>) -> Result<std::convert::Infallible, Broken> {
    loop {
        // Anything else is no agent of ours; it is passed over, at the pace of what is shown.
        if let Frame::Control(Event::Ports { ports }) = connection.receive().await? {
            let ports: BTreeSet<u16> = ports.into_iter().filter(|port| *port != 0).collect();
            claim.set(&ports.into_iter().take(MAX_PORTS).collect::<Vec<_>>());
        }
        // Until then nothing is read, so an agent that says much waits.
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests;
