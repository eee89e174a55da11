//! The calls of all rooms: attached to, joined, left. One actor per call ([`actor`]) owns it; each participant has a task for what
//! their page sends ([`publisher`]) and one for what it is sent ([`subscriber`]), each track one that passes it on ([`forwarder`]). Programs
//! take part, or look on, by one exchange instead of a page's conversation ([`stream`]). A call that is recorded has one more that writes ([`recorder`]).
//!
//! Nothing here is stored but whether a room's calls are encrypted ([`encryption`]) and what is recorded: a call ends with the last who is in it, or with its server. Whether somebody may do a thing is decided
//! by [`crate::call`].

mod actor;
mod encryption;
mod forwarder;
mod peer;
mod publisher;
mod recorder;
pub mod stream;
mod subscriber;
mod traffic;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::ids::{ConnectionId, ParticipantId, RoomId};
use buildspaces_kernel::tasks::Tasks;
use buildspaces_policy::{Authority, Principal};
use tokio::sync::{mpsc, oneshot, watch};

use crate::Error;
use crate::call::{Limits, Publishing, Refused, Seen, Source, TrackId};
use crate::offer::Unusable;
use crate::ports::{CallStore, Transport, TransportError};
use crate::quality::Report;
use crate::recordings::{Kept, Recordings};
use crate::router::{Kind, Layer};
use crate::viewer::Choice;
use actor::{Actor, Command};
pub use traffic::Stats;

/// Requests that may wait for a call's actor. When it is full, connections wait, and levels of microphones are dropped.
#[cfg(not(test))]
const COMMANDS: usize = 256;
#[cfg(test)]
const COMMANDS: usize = 1;

/// What waits to be told to one page. When it is full, the page is closed and comes back.
const HEARD: usize = 64;

/// Pages that look at one call, whether they take part or not. One more is refused.
pub const MAX_PAGES: usize = 500;

/// What a page says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said {
    /// Takes part from now on; with the secret of an earlier [`Heard::Joined`], as the same participant.
    Join {
        resume: Option<String>,
        /// It encrypts what it sends, and joins no call in which others do not; or the other way round.
        encrypted: bool,
    },
    /// Takes part as something that only sends, and as long as this connection lives.
    Stream,
    /// Takes no part, but is sent what of the call the sections of this offer have room for. Said again it restarts ICE, with the same
    /// sections.
    Watch {
        neg: u32,
        sdp: String,
        sections: Vec<Kind>,
        choice: Choice,
    },
    /// An offer of what the page sends: which section carries what.
    Publish {
        neg: u32,
        sdp: String,
        sections: Vec<(String, Source)>,
    },
    Set {
        source: Source,
        how: Publishing,
    },
    /// The answer to [`Heard::Offer`].
    Answer {
        neg: u32,
        sdp: String,
    },
    /// It moved to another network: what it is sent should be offered in a new ICE session. Its own offers begin one by themselves.
    Restart,
    Want {
        track: TrackId,
        layer: Option<Layer>,
    },
    /// How its connections are.
    Report(Report),
    Mute {
        track: TrackId,
    },
    Ask {
        track: TrackId,
    },
    /// Somebody's raised hand should be taken down.
    LowerHand {
        of: ParticipantId,
    },
    /// The call should be recorded, or no more.
    Record {
        on: bool,
    },
    /// Agrees to be recorded, or no more. `recording`: when it began, as the page was told; what was asked of another one is not answered.
    Agree {
        on: bool,
        recording: UnixMillis,
    },
    Leave,
}

/// What one page is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Heard {
    Joined {
        participant: ParticipantId,
        resume: String,
        resumed: bool,
    },
    /// The answer to [`Said::Publish`] and [`Said::Watch`].
    Answer {
        neg: u32,
        sdp: String,
    },
    /// An offer of what the page is sent.
    Offer {
        neg: u32,
        sdp: String,
    },
    /// Which section of the offer carries which track now.
    Slots(Vec<(String, TrackId)>),
    /// What the page's line has no room for now: sent smaller than it is shown, and not at all. And what the page cannot decode.
    Held {
        reduced: Vec<TrackId>,
        paused: Vec<TrackId>,
        undecodable: Vec<TrackId>,
    },
    /// The largest layer of what the page publishes that anybody shows; `None`: nobody does.
    Needed {
        source: Source,
        layer: Option<Layer>,
    },
    Muted {
        source: Source,
        by: Principal,
    },
    Asked {
        source: Source,
        by: Principal,
    },
    HandLowered {
        by: Principal,
    },
    /// The answer to [`Said::Report`], so that a page notices a connection that is dead without knowing it.
    Reported,
    /// What was said was not done.
    Refused(Refusal),
    /// The page does not take part any more. `again`: it should join anew, because a connection broke.
    Ended {
        again: bool,
    },
}

/// Why what was said was not done. The texts are for people.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    #[error(transparent)]
    Call(#[from] Refused),
    /// An offer is too much for anybody.
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// The transport cannot use an offer.
    #[error(transparent)]
    Offer(TransportError),
    #[error("your page asks for more than it waits for; reload it")]
    Busy,
    /// No further recording of the room's calls begins.
    #[error("{0}")]
    RecordingsFull(Kept),
}

/// A call, as everybody in the room sees it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct View {
    /// Pages encrypt what they send.
    pub encrypted: bool,
    pub participants: Vec<Seen>,
    pub speakers: Vec<ParticipantId>,
    /// Who is sent it without taking part.
    pub viewers: Vec<Principal>,
    pub recording: Option<RecordingView>,
    /// Why the last recording ended, as a sentence, if nobody wanted that.
    pub recording_failed: Option<&'static str>,
}

/// A recording that goes on, as everybody in the room sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordingView {
    /// Who started it.
    pub by: Principal,
    pub started_at: UnixMillis,
    /// Who of those who take part agreed to be recorded. Nothing of anybody else is.
    pub agreed: Vec<ParticipantId>,
}

/// A page's tie to a call. Dropping it is a lost connection.
#[derive(Debug)]
pub struct Attached {
    pub view: watch::Receiver<Arc<View>>,
    /// Ends when the page is too slow, or the server stops.
    pub heard: mpsc::Receiver<Heard>,
    connection: ConnectionId,
    commands: mpsc::Sender<Command>,
}

impl Attached {
    /// Waits while the actor has not looked at what came before. That it is gone is seen at `heard`.
    pub async fn say(&self, said: Said) {
        let _ = self.commands.send(Command::Said { connection: self.connection, said }).await;
    }

    /// As dropping this, but [`Said::Leave`] can still be said: access may end while the page is away. `heard` ends if there is nothing
    /// that could be left.
    pub async fn lost(&self) {
        let _ = self.commands.send(Command::Lost(self.connection)).await;
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        // If there is no room, the actor finds it at its next look.
        let _ = self.commands.try_send(Command::Detached(self.connection));
    }
}

/// Clones share everything.
#[derive(Clone)]
pub struct Calls(Arc<Shared>);

impl std::fmt::Debug for Calls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Calls")
    }
}

struct Shared {
    /// Or why there are no calls.
    transport: Result<Arc<dyn Transport>, Arc<str>>,
    store: Arc<dyn CallStore>,
    limits: Limits,
    recordings: Recordings,
    tasks: Tasks,
    rooms: Mutex<HashMap<RoomId, mpsc::Sender<Command>>>,
    /// Of calls in which somebody takes part.
    stats: Mutex<BTreeMap<RoomId, Stats>>,
}

impl Shared {
    fn stats(&self) -> MutexGuard<'_, BTreeMap<RoomId, Stats>> {
        self.stats.lock().expect("numbers are only read and written")
    }

    fn rooms(&self) -> MutexGuard<'_, HashMap<RoomId, mpsc::Sender<Command>>> {
        self.rooms.lock().expect("the map of calls is only read and written")
    }
}

impl Calls {
    /// Without recordings; see [`Self::keeping`].
    pub fn new(transport: Arc<dyn Transport>, store: Arc<dyn CallStore>, limits: Limits, tasks: Tasks) -> Self {
        Self::with(Ok(transport), store, limits, tasks)
    }

    /// A server without calls; `reason` is a sentence that people read.
    pub fn off(reason: &str, store: Arc<dyn CallStore>, tasks: Tasks) -> Self {
        Self::with(Err(reason.into()), store, Limits::default(), tasks)
    }

    fn with(
        transport: Result<Arc<dyn Transport>, Arc<str>>,
        store: Arc<dyn CallStore>,
        limits: Limits,
        tasks: Tasks,
    ) -> Self {
        let (recordings, rooms, stats) = (Recordings::off(), Mutex::default(), Mutex::default());
        Self(Arc::new(Shared { transport, store, limits, recordings, tasks, rooms, stats }))
    }

    /// The same, with recordings. To be said before anybody has it.
    pub fn keeping(mut self, recordings: Recordings) -> Self {
        Arc::get_mut(&mut self.0).expect("nobody has it yet").recordings = recordings;
        self
    }

    pub fn recordings(&self) -> &Recordings {
        &self.0.recordings
    }

    /// Why there are no calls.
    pub fn why_off(&self) -> Option<&str> {
        self.0.transport.as_ref().err().map(AsRef::as_ref)
    }

    /// How it goes with each call in which somebody takes part.
    pub fn stats(&self) -> BTreeMap<RoomId, Stats> {
        self.0.stats().clone()
    }

    /// Looks at the room's call, to take part or not.
    pub async fn attach(&self, room: &RoomId, who: &Authority) -> Result<Attached, Error> {
        let connection = ConnectionId::new();
        let (heard, hears) = mpsc::channel(HEARD);
        let (reply, attached) = oneshot::channel();
        let commands = self.send(room, Command::Attach { connection, who: who.clone(), heard, reply }).await?;
        let view = attached.await.map_err(|_| Error::Stopping)??;
        Ok(Attached { view, heard: hears, connection, commands })
    }

    /// Asks something of the room's call, which begins by that.
    async fn send(&self, room: &RoomId, mut command: Command) -> Result<mpsc::Sender<Command>, Error> {
        let transport = self.0.transport.clone().map_err(|reason| Error::Off(reason.to_string()))?;
        loop {
            if self.0.tasks.is_cancelled() {
                return Err(Error::Stopping);
            }
            let commands = self.commands(room, &transport);
            match commands.send(command).await {
                Ok(()) => return Ok(commands),
                // The actor ended just then; there is another now, or none.
                Err(mpsc::error::SendError(back)) => command = back,
            }
        }
    }

    fn commands(&self, room: &RoomId, transport: &Arc<dyn Transport>) -> mpsc::Sender<Command> {
        let mut rooms = self.0.rooms();
        if let Some(commands) = rooms.get(room).filter(|commands| !commands.is_closed()) {
            return commands.clone();
        }
        let (commands, mailbox) = mpsc::channel(COMMANDS);
        rooms.insert(room.clone(), commands.clone());
        drop(rooms);
        let actor = Actor::new(self.0.clone(), room.clone(), transport.clone(), commands.downgrade(), mailbox);
        self.0.tasks.spawn("call", actor.live());
        commands
    }
}

#[cfg(test)]
mod tests;
