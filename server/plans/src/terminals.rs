//! The terminals of all rooms: opened, listed, looked at, closed. One actor per terminal ([`actor`]) owns it.
//!
//! Nothing here is stored but whether a room's terminals are recorded ([`crate::recordings`]). Whether somebody *may* do a thing is asked by the caller, except who may type, which is the
//! terminal's own matter ([`crate::terminal`]).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::clock::unix_millis;
use buildspaces_kernel::ids::{PrincipalId, RoomId, TerminalId};
use buildspaces_kernel::tasks::Tasks;
use buildspaces_policy::{Authority, Principal};
use bytes::Bytes;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot, watch};

use crate::Error;
use crate::ports::{Availability, Sandboxes, Size};
use crate::recording::Setting;
use crate::recordings::Recordings;
use crate::terminal::display::Display;
use crate::terminal::{Keyboard, State, Terminal, ViewerId};
use actor::{Actor, Command};

mod actor;
#[cfg(test)]
mod tests;

/// Terminals of a room. When there are so many, the oldest that has ended makes place; if none has, a new one is refused.
pub const MAX_TERMINALS: usize = 8;

/// Connections that look at one terminal. One more is refused.
pub const MAX_VIEWERS: usize = 64;

/// Requests that may wait for a terminal's actor. When it is full, callers wait.
const COMMANDS: usize = 16;

/// What one viewer sent and the actor has not looked at. When it is full, the viewer's connection is not read.
#[cfg(not(test))]
const INPUTS: usize = 8;
#[cfg(test)]
const INPUTS: usize = 1;

/// A terminal, as a room's list shows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Summary {
    pub id: TerminalId,
    /// Counts the terminals that the room ever had, from one.
    pub number: u32,
    pub state: &'static str,
    /// Why it ended.
    pub message: Option<String>,
    pub opened_by: PrincipalId,
    pub opened_by_name: Arc<str>,
    pub opened_at: UnixMillis,
    /// The name of who holds the keyboard.
    pub keyboard: Option<Arc<str>>,
    /// What it shows is kept.
    pub recorded: bool,
}

/// A terminal, as those who look at it see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct View {
    pub state: State,
    pub size: Size,
    pub keyboard: Keyboard,
    /// Who asked for the keyboard, first come first.
    pub asking: Vec<ViewerId>,
    pub viewers: Vec<Seen>,
    /// What it shows is kept.
    pub recorded: bool,
}

/// One who looks on, as others see them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    pub id: ViewerId,
    pub principal: Principal,
    pub may_type: bool,
    pub may_take: bool,
    /// Bytes that they typed and that could not be taken, because the programs read nothing.
    pub cut: u64,
}

/// What a viewer's connection says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said {
    Typed(Bytes),
    Room(Size),
    /// Shown up to this offset.
    Shown(u64),
    Ask,
    Withdraw,
    Give(ViewerId),
    Decline(ViewerId),
    Take,
}

/// One connection to a terminal. Dropping it is leaving.
#[derive(Debug)]
pub struct Attached {
    pub id: ViewerId,
    /// Closed when the terminal is gone from the room's list.
    pub says: mpsc::Sender<Said>,
    pub view: watch::Receiver<Arc<View>>,
    pub display: Display,
    /// The offset from which on what is printed is sent.
    pub from: u64,
}

/// Clones share everything.
#[derive(Clone)]
pub struct Terminals(Arc<Shared>);

impl std::fmt::Debug for Terminals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Terminals")
    }
}

struct Shared {
    sandboxes: Arc<dyn Sandboxes>,
    tasks: Tasks,
    recordings: Recordings,
    /// Held while a room's setting is read for a new terminal, or changed with its terminals.
    ///
    /// **Invariant:** so no terminal comes in between, which would be recorded in a room where that is off, or the other way round.
    settings: tokio::sync::Mutex<()>,
    rooms: Mutex<HashMap<RoomId, Room>>,
}

struct Room {
    terminals: Vec<Entry>,
    opened: u32,
    list: watch::Sender<Arc<[Summary]>>,
}

struct Entry {
    summary: Summary,
    commands: mpsc::Sender<Command>,
}

impl Terminals {
    pub(crate) fn new(sandboxes: Arc<dyn Sandboxes>, recordings: Recordings, tasks: Tasks) -> Self {
        let (settings, rooms) = (tokio::sync::Mutex::default(), Mutex::default());
        Self(Arc::new(Shared { sandboxes, tasks, recordings, settings, rooms }))
    }

    /// The room's terminals, oldest first, as the list changes.
    pub fn watch(&self, room: &RoomId) -> watch::Receiver<Arc<[Summary]>> {
        let mut rooms = self.0.lock();
        if rooms.len().is_power_of_two() {
            rooms.retain(|_, room| room.is_needed());
        }
        rooms.entry(room.clone()).or_insert_with(Room::new).list.subscribe()
    }

    /// The room's terminals, oldest first.
    pub fn list(&self, room: &RoomId) -> Vec<Summary> {
        let rooms = self.0.lock();
        rooms.get(room).map(|room| room.list.borrow().to_vec()).unwrap_or_default()
    }

    /// Opens a terminal. It is in the list at once and starts from there. Cancel-safe.
    pub async fn open(&self, room: &RoomId, by: &Principal, size: Size) -> Result<Summary, Error> {
        if let Availability::Off { message, hint } = &*self.0.sandboxes.availability().borrow() {
            return Err(Error::SandboxOff { message: message.clone(), hint: hint.clone() });
        }
        if self.0.tasks.is_cancelled() {
            return Err(Error::Stopping);
        }
        let _settings = self.0.settings.lock().await;
        // If that cannot be known there is no terminal: one that should be recorded must not go unrecorded.
        let recorded = self.0.recordings.setting(room).await?.is_some();
        if recorded {
            self.check_recordings(room).await?;
        }
        let mut rooms = self.0.lock();
        let entries = rooms.entry(room.clone()).or_insert_with(Room::new);
        if entries.terminals.len() >= MAX_TERMINALS {
            let ended = entries.terminals.iter().position(|entry| entry.summary.state == ENDED);
            let Some(oldest) = ended else { return Err(Error::TooManyTerminals) };
            // Its actor finds that it is gone.
            entries.terminals.remove(oldest);
        }
        entries.opened += 1;
        let terminal = Terminal::new(actor::now(), by.clone(), size);
        let summary = Summary {
            id: TerminalId::random(),
            number: entries.opened,
            state: name_of(terminal.state()),
            message: None,
            opened_by: by.id.clone(),
            opened_by_name: by.name.clone(),
            opened_at: unix_millis(),
            keyboard: Some(by.name.clone()),
            recorded,
        };
        let (commands, mailbox) = mpsc::channel(COMMANDS);
        entries.terminals.push(Entry { summary: summary.clone(), commands });
        entries.publish();
        drop(rooms);
        let actor = Actor::new(self.0.clone(), room.clone(), summary.clone(), terminal, mailbox);
        self.0.tasks.spawn("terminal", actor.live());
        Ok(summary)
    }

    /// Has what the room's terminals show recorded from now on, or no more: the open ones, too. When it returns, it is so. If a recording
    /// ended by itself, on a full disk, turning it on again begins another. Once begun it is carried out, also if the caller goes away.
    pub async fn record(&self, room: &RoomId, on: bool, by: &Principal) -> Result<Option<Setting>, Error> {
        let (terminals, room, by) = (self.clone(), room.clone(), by.clone());
        let work = async move { terminals.set_recorded(&room, on, &by).await };
        self.0.tasks.to_the_end("setting of terminals", work).await.unwrap_or(Err(Error::Stopping))
    }

    /// Whether one more recording may begin. The caller has the lock of settings, so none is opened meanwhile.
    async fn check_recordings(&self, room: &RoomId) -> Result<(), Error> {
        let mut kept = self.0.recordings.kept(room).await?;
        // Those that are about to begin, with their shells.
        let is_about_to = |entry: &&Entry| entry.summary.recorded && entry.summary.state == STARTING;
        kept.recordings +=
            self.0.lock().get(room).map_or(0, |room| room.terminals.iter().filter(is_about_to).count() as u64);
        if kept.is_full() { Err(Error::RecordingsFull(kept)) } else { Ok(()) }
    }

    async fn set_recorded(&self, room: &RoomId, on: bool, by: &Principal) -> Result<Option<Setting>, Error> {
        let settings = self.0.settings.lock().await;
        if on {
            self.check_recordings(room).await?;
        }
        let before = self.0.recordings.setting(room).await?;
        let new = || Setting { by: by.id.clone(), by_name: by.name.as_ref().to_owned(), since: unix_millis() };
        let setting = on.then(|| before.clone().unwrap_or_else(new));
        if setting != before {
            self.0.recordings.set(room, setting.as_ref()).await?;
            tracing::info!(%room, by = %by.id, on, "recording of terminals was set");
        }
        let terminals: Vec<mpsc::Sender<Command>> = {
            let rooms = self.0.lock();
            let entries = rooms.get(room).into_iter().flat_map(|room| &room.terminals);
            entries.map(|entry| entry.commands.clone()).collect()
        };
        let mut told = Vec::with_capacity(terminals.len());
        for commands in terminals {
            let (reply, done) = oneshot::channel();
            // An error means that it is gone, and its recording has ended.
            if commands.send(Command::Record { on, reply }).await.is_ok() {
                told.push(done);
            }
        }
        // They have it in this order; nobody else need wait for what they do.
        drop(settings);
        for done in told {
            let _ = done.await;
        }
        Ok(setting)
    }

    /// Kills everything in the terminal and takes it from the list.
    pub async fn close(&self, room: &RoomId, terminal: &TerminalId, by: &Principal) -> Result<(), Error> {
        let commands = self.commands(room, terminal)?;
        let (reply, closed) = oneshot::channel();
        commands.send(Command::Close { by: by.clone(), reply }).await.map_err(|_| Error::NoSuchTerminal)?;
        // Without an answer it is gone just as well.
        let _ = closed.await;
        Ok(())
    }

    /// Looks at a terminal from `from` on, if that is kept, or else from a picture of it on.
    pub async fn attach(
        &self,
        room: &RoomId,
        terminal: &TerminalId,
        who: &Authority,
        from: Option<u64>,
    ) -> Result<Attached, Error> {
        let commands = self.commands(room, terminal)?;
        let (reply, attached) = oneshot::channel();
        let command = Command::Attach { who: who.clone(), from, reply };
        commands.send(command).await.map_err(|_| Error::NoSuchTerminal)?;
        attached.await.map_err(|_| Error::NoSuchTerminal)?
    }

    fn commands(&self, room: &RoomId, terminal: &TerminalId) -> Result<mpsc::Sender<Command>, Error> {
        let rooms = self.0.lock();
        let entry = rooms.get(room).and_then(|room| room.terminals.iter().find(|entry| entry.summary.id == *terminal));
        entry.map(|entry| entry.commands.clone()).ok_or(Error::NoSuchTerminal)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, HashMap<RoomId, Room>> {
        self.rooms.lock().expect("the map of terminals is only read and written")
    }

    /// Shows in the list how a terminal is now. False if it is not in the list any more.
    fn update(&self, room: &RoomId, id: &TerminalId, terminal: &Terminal, recorded: bool) -> bool {
        let mut rooms = self.lock();
        let Some(room) = rooms.get_mut(room) else { return false };
        let Some(entry) = room.terminals.iter_mut().find(|entry| entry.summary.id == *id) else { return false };
        let message = match terminal.state() {
            State::Ended(message) => Some(message.clone()),
            State::Starting(_) | State::Running => None,
        };
        let keyboard = terminal.holder().map(|holder| holder.name.clone());
        let state = name_of(terminal.state());
        let summary = Summary { state, message, keyboard, recorded, ..entry.summary.clone() };
        if summary != entry.summary {
            entry.summary = summary;
            room.publish();
        }
        true
    }

    fn remove(&self, room: &RoomId, id: &TerminalId) {
        let mut rooms = self.lock();
        if let Some(room) = rooms.get_mut(room) {
            room.terminals.retain(|entry| entry.summary.id != *id);
            room.publish();
        }
        rooms.retain(|_, room| room.is_needed());
    }
}

impl Room {
    fn new() -> Self {
        Self { terminals: Vec::new(), opened: 0, list: watch::Sender::new(Arc::new([])) }
    }

    /// It has terminals, or somebody looks at its list.
    fn is_needed(&self) -> bool {
        !self.terminals.is_empty() || self.list.receiver_count() > 0
    }

    fn publish(&self) {
        self.list.send_replace(self.terminals.iter().map(|entry| entry.summary.clone()).collect());
    }
}

const STARTING: &str = "starting";
const ENDED: &str = "ended";

fn name_of(state: &State) -> &'static str {
    match state {
        State::Starting(_) => STARTING,
        State::Running => "running",
        State::Ended(_) => ENDED,
    }
}
