//! Who else is in a document, and what they say of themselves: y-protocols' awareness.
//!
//! Source: `y-protocols/awareness.js`. A state holds for 30 s after it was last said, and is said again every 15 s. The server
//! takes people away who have left, and stamps `user` itself for people it knows.

use std::collections::BTreeMap;

use buildspaces_crdt::awareness::{self, Entry};

/// After this time without a word a client counts as gone.
pub const EXPIRES_MS: u64 = 30_000;

/// After this time the own state is said again.
pub const RENEWS_MS: u64 = 15_000;

/// Most clients that are kept. Past it further ones are not seen: a room of so many is not shown one by one.
pub const MAX_CLIENTS: usize = 10_000;

/// Who came, changed and went.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Told {
    pub added: Vec<u64>,
    pub updated: Vec<u64>,
    pub removed: Vec<u64>,
}

impl Told {
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.updated.is_empty() && self.removed.is_empty()
    }
}

#[derive(Debug)]
struct Other {
    clock: u32,
    state: String,
    heard: u64,
}

/// The presence of one document.
#[derive(Debug)]
pub struct Presence {
    own: u64,
    clock: u32,
    state: Option<String>,
    said: u64,
    others: BTreeMap<u64, Other>,
}

impl Presence {
    pub fn new(own: u64) -> Self {
        Self { own, clock: 0, state: None, said: 0, others: BTreeMap::new() }
    }

    /// Sets the own state, JSON, or takes it away. The caller sends [`Presence::announce`].
    pub fn set(&mut self, state: Option<String>) {
        self.state = state;
    }

    pub fn own(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// The others with their states, by client id.
    pub fn others(&self) -> impl Iterator<Item = (u64, &str)> {
        self.others.iter().map(|(client, other)| (*client, other.state.as_str()))
    }

    /// An update about the own state, with a clock that makes it news.
    pub fn announce(&mut self, now: u64) -> Vec<u8> {
        // A server may have said that it is at its end, where we are not seen any more; nothing else is to come of that.
        self.clock = self.clock.saturating_add(1);
        self.said = now;
        let own = [Entry { client: self.own, clock: self.clock, state: self.state.clone() }];
        awareness::encode(own.iter())
    }

    /// What the server says of everybody.
    pub fn heard(&mut self, now: u64, entries: Vec<Entry>) -> Told {
        let mut told = Told::default();
        for Entry { client, clock, state } in entries {
            if client == self.own {
                // Ours comes back, perhaps with a clock of an earlier connection.
                self.clock = self.clock.max(clock);
                continue;
            }
            let known = self.others.get(&client).map(|other| other.clock);
            match (known, state) {
                (Some(known), None) if clock >= known => {
                    self.others.remove(&client);
                    told.removed.push(client);
                }
                (Some(known), Some(state)) if clock > known => {
                    self.others.insert(client, Other { clock, state, heard: now });
                    told.updated.push(client);
                }
                (None, Some(state)) if self.others.len() < MAX_CLIENTS => {
                    self.others.insert(client, Other { clock, state, heard: now });
                    told.added.push(client);
                }
                _ => {}
            }
        }
        told
    }

    /// Takes away who has been silent for too long.
    pub fn expire(&mut self, now: u64) -> Told {
        let is_silent = |other: &Other| now.saturating_sub(other.heard) >= EXPIRES_MS;
        let removed: Vec<u64> = self.others.iter().filter(|(_, o)| is_silent(o)).map(|(client, _)| *client).collect();
        for client in &removed {
            self.others.remove(client);
        }
        Told { removed, ..Told::default() }
    }

    /// The connection is gone: nobody is known to be here.
    pub fn forget(&mut self) -> Told {
        Told { removed: std::mem::take(&mut self.others).into_keys().collect(), ..Told::default() }
    }

    /// True if the own state has to be said again.
    pub fn is_due(&self, now: u64) -> bool {
        self.state.is_some() && now.saturating_sub(self.said) >= RENEWS_MS
    }

    /// When something has to be looked at next.
    pub fn next_wake(&self) -> Option<u64> {
        let expiry = self.others.values().map(|other| other.heard + EXPIRES_MS).min();
        let renewal = self.state.is_some().then_some(self.said + RENEWS_MS);
        expiry.into_iter().chain(renewal).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(client: u64, clock: u32, state: Option<&str>) -> Entry {
        Entry { client, clock, state: state.map(str::to_owned) }
    }

    fn told(added: &[u64], updated: &[u64], removed: &[u64]) -> Told {
        Told { added: added.to_vec(), updated: updated.to_vec(), removed: removed.to_vec() }
    }

    #[test]
    fn others_come_change_and_go() {
        let mut presence = Presence::new(1);
        assert_eq!(presence.heard(0, vec![entry(2, 5, Some("{}"))]), told(&[2], &[], &[]));
        assert_eq!(presence.heard(0, vec![entry(2, 5, Some("[]"))]), told(&[], &[], &[]), "no news");
        assert_eq!(presence.heard(9, vec![entry(2, 6, Some("[]"))]), told(&[], &[2], &[]));
        assert_eq!(presence.others().collect::<Vec<_>>(), [(2, "[]")]);
        assert_eq!(presence.heard(9, vec![entry(2, 6, None)]), told(&[], &[], &[2]));
        // Whoever left may come back with any clock.
        assert_eq!(presence.heard(9, vec![entry(2, 1, Some("{}"))]), told(&[2], &[], &[]));
        assert_eq!(presence.expire(9 + EXPIRES_MS - 1), told(&[], &[], &[]));
        assert_eq!(presence.expire(9 + EXPIRES_MS), told(&[], &[], &[2]));
    }

    #[test]
    fn the_own_state_is_renewed_and_always_news() {
        let mut presence = Presence::new(1);
        assert_eq!(presence.next_wake(), None);
        presence.set(Some(r#"{"a":1}"#.to_owned()));
        let first = awareness::decode(&presence.announce(100)).expect("valid");
        assert!(!presence.is_due(100 + RENEWS_MS - 1) && presence.is_due(100 + RENEWS_MS));
        assert_eq!(presence.next_wake(), Some(100 + RENEWS_MS));
        // The server has a later clock from a connection before.
        assert!(presence.heard(200, vec![entry(1, 9, None)]).is_empty());
        let second = awareness::decode(&presence.announce(200)).expect("valid");
        assert!(second[0].clock > 9 && first[0].clock < second[0].clock);
        assert_eq!(second[0].state.as_deref(), Some(r#"{"a":1}"#));
        // One at its end is none that ever was said here.
        presence.heard(300, vec![entry(1, u32::MAX, None)]);
        assert_eq!(awareness::decode(&presence.announce(300)).expect("valid")[0].clock, u32::MAX);
    }
}
