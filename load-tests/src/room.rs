//! What the members of one document share: its name, its writers' ids, and when each keystroke was sent.

use std::cell::{Ref, RefCell};

use crate::clock::Nanos;
use crate::frames;
use crate::tally::counts_from;
use crate::updates;
use crate::wire::Dialect;

#[derive(Debug)]
pub struct Room {
    pub document: String,
    /// Client ids of writers and of presence count up from here.
    first_client: u64,
    writers: usize,
    /// Characters of one keystroke; more than one makes a server's buffers fill sooner.
    unit: u32,
    sent: RefCell<Vec<Vec<Nanos>>>,
    presence: RefCell<Vec<Vec<Nanos>>>,
}

impl Room {
    pub fn new(document: String, first_client: u64, writers: usize, unit: u32) -> Self {
        Self {
            document,
            first_client,
            writers,
            unit,
            sent: RefCell::new(vec![Vec::new(); writers]),
            presence: RefCell::default(),
        }
    }

    pub fn writers(&self) -> usize {
        self.writers
    }

    pub fn client(&self, number: usize) -> u64 {
        self.first_client + number as u64
    }

    /// The writer's number and the keystrokes that a range of clocks stands for; none for clients that are not ours.
    pub(crate) fn locate(&self, client: u64, start: u32, end: u32) -> Option<(usize, u32, u32)> {
        let writer = usize::try_from(client.checked_sub(self.first_client)?).ok()?;
        (writer < self.writers).then_some((writer, start / self.unit, end / self.unit))
    }

    /// When each keystroke of a writer left, from the first on.
    pub(crate) fn sent(&self, writer: usize) -> Ref<'_, [Nanos]> {
        Ref::map(self.sent.borrow(), |sent| sent[writer].as_slice())
    }

    /// Keystrokes that a writer has sent.
    pub fn count(&self, writer: usize) -> usize {
        self.sent.borrow()[writer].len()
    }

    /// Characters that a writer has sent.
    pub fn clocks(&self, writer: usize) -> usize {
        self.count(writer) * self.unit as usize
    }

    /// Takes note of a keystroke that leaves now, and returns from when on it counts.
    pub(crate) fn note(&self, writer: usize, planned: Nanos, now: Nanos) -> Nanos {
        let at = counts_from(planned, now);
        self.sent.borrow_mut()[writer].push(at);
        at
    }

    pub(crate) fn presence_member(&self, client: u64) -> Option<usize> {
        let member = usize::try_from(client.checked_sub(self.first_client)?).ok()?;
        (member < self.presence.borrow().len()).then_some(member)
    }

    /// When the state of this clock was announced. Clocks count from 1 on.
    pub(crate) fn presence_sent(&self, member: usize, clock: u32) -> Option<Nanos> {
        self.presence.borrow()[member].get((clock as usize).checked_sub(1)?).copied()
    }

    pub fn note_presence(&self, member: usize, planned: Nanos, now: Nanos) {
        let mut presence = self.presence.borrow_mut();
        if presence.len() <= member {
            presence.resize(member + 1, Vec::new());
        }
        presence[member].push(counts_from(planned, now));
    }
}

/// Frames made beforehand, so that sending them costs nothing but the system call.
#[derive(Debug, Default)]
pub struct Script {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Script {
    /// The next `count` keystrokes of a writer who has sent `from` so far. `ask` adds a request to say when each is saved, where the
    /// dialect has one.
    pub fn keystrokes(dialect: Dialect, room: &Room, writer: usize, from: usize, count: usize, ask: bool) -> Self {
        const LETTERS: &str = "etaoin shrdlu";
        let mut script = Self::default();
        let (client, mut update) = (room.client(writer), Vec::new());
        let long = "lorem ipsum ".repeat((room.unit as usize).div_ceil(12));
        for number in from..from + count {
            let text = if room.unit == 1 {
                let at = number % LETTERS.len();
                &LETTERS[at..=at]
            } else {
                &long[..room.unit as usize]
            };
            update.clear();
            updates::insert(client, number as u32 * room.unit, text, &mut update);
            let mut frame = frames::binary(&dialect.update(&room.document, &update));
            if ask && dialect.ack_by() == crate::wire::AckBy::SaveStatus {
                frame.extend(frames::binary(&dialect.save_status(number as u64 + 1)));
            }
            script.push(&frame);
        }
        script
    }

    /// States of presence of one member, with clocks from 1 on.
    pub fn presence(dialect: Dialect, room: &Room, member: usize, count: usize) -> Self {
        let mut script = Self::default();
        for clock in 1..=count {
            let state = format!(
                r##"{{"user":{{"name":"Member {member}","color":"#30bced"}},"cursor":{{"anchor":{clock},"head":{clock}}}}}"##
            );
            let mut entries = vec![1];
            updates::write_var_uint(&mut entries, room.client(member));
            updates::write_var_uint(&mut entries, clock as u64);
            updates::write_var_bytes(&mut entries, state.as_bytes());
            script.push(&frames::binary(&dialect.awareness(&room.document, &entries)));
        }
        script
    }

    pub fn push(&mut self, frame: &[u8]) {
        self.bytes.extend_from_slice(frame);
        self.ends.push(self.bytes.len());
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The bytes of some frames that follow each other.
    pub fn frames(&self, start: usize, end: usize) -> &[u8] {
        let edge = |at: usize| at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[edge(start)..edge(end)]
    }
}
