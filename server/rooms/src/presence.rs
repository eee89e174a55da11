//! Who is where in one document, as they say themselves; never saved. Pure.
//!
//! A client id belongs to the connection that announced it; another connection can take it over only
//! for the same principal, which is what a reconnect looks like. The server writes `user` into every
//! state of a connection whose principal it knows, so nobody can appear under another's name.
//!
//! A client that comes back announces itself under the clock it had, but whoever was told that it is gone takes only a later one
//! (`applyAwarenessUpdate` of y-protocols). So it is announced under the next clock, to itself too: it goes on from there. What it
//! said meanwhile under that same clock is told under the one after. Its own words come back to it under a clock that the server knows
//! already, which ends the exchange.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use buildspaces_crdt::awareness::Entry;
use buildspaces_kernel::ids::{ConnectionId, PrincipalId};
use buildspaces_policy::{Principal, PrincipalKind};
use serde_json::{Value, json};

/// A state that was not renewed for this long is dropped. Clients renew every 15 s.
pub const EXPIRY: Duration = Duration::from_secs(30);

/// Most client ids of one connection; announcements beyond are ignored.
const MAX_CLIENTS_PER_CONNECTION: usize = 16;

/// Bytes of states of one connection, of one principal and of all; what would be more is ignored. Every newcomer is told all of it at once.
const MAX_CONNECTION_BYTES: usize = 128 << 10;
const MAX_PRINCIPAL_BYTES: usize = 512 << 10;
const MAX_BYTES: usize = 4 << 20;

/// Clients that are gone and whose clocks are remembered. Past it the longest gone are forgotten: they are seen again when they
/// renew their state, as everybody who was away longer than [`EXPIRY`].
const MAX_GONE: usize = 4096;

/// Colours that keep 4.5:1 contrast with white text.
const COLORS: [&str; 10] =
    ["#2563eb", "#b45309", "#047857", "#be185d", "#6d28d9", "#0f766e", "#c2410c", "#4d7c0f", "#a21caf", "#0369a1"];

/// The colour a principal has everywhere, as `#rrggbb`.
pub fn color(id: &PrincipalId) -> &'static str {
    let sum = id.as_str().bytes().fold(0usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
    COLORS[sum % COLORS.len()]
}

#[derive(Debug)]
struct Known {
    clock: u32,
    state: String,
    owner: ConnectionId,
    principal: PrincipalId,
    renewed: Instant,
}

#[derive(Debug)]
struct Gone {
    /// What others were told.
    clock: u32,
    at: Instant,
}

/// How much somebody has in here.
#[derive(Clone, Copy, Default, Debug)]
struct Share {
    clients: usize,
    bytes: usize,
}

/// The states of one document.
#[derive(Debug, Default)]
pub struct Presence {
    known: BTreeMap<u64, Known>,
    /// Of each connection that has announced something.
    connections: HashMap<ConnectionId, Share>,
    principals: HashMap<PrincipalId, Share>,
    bytes: usize,
    /// Clients that went lately, with the clock others were told.
    gone: HashMap<u64, Gone>,
    /// In the order they went. One that came back or went again since does not count.
    went: VecDeque<(u64, Instant)>,
}

impl Presence {
    /// Takes what a connection announced. `stamp` says whether its principal's identity is written
    /// into the states. Returns what others must be told, renewals included.
    pub fn announce(
        &mut self,
        now: Instant,
        from: ConnectionId,
        principal: &Principal,
        stamp: bool,
        entries: Vec<Entry>,
    ) -> Vec<Entry> {
        // A client that comes back begins by announcing itself under the clock it had, maybe before its old connection
        // is known to be dead. Later, the same words are an echo: clients repeat what they hear from others.
        let first = self.connections.insert(from, self.connections.get(&from).copied().unwrap_or_default()).is_none();
        let mut accepted = Vec::with_capacity(entries.len());
        for mut entry in entries {
            let known = self.known.get(&entry.client);
            if known.is_some_and(|known| known.owner != from && known.principal != principal.id) {
                continue;
            }
            match known {
                Some(known) if entry.clock == known.clock && known.owner == from => match &entry.state {
                    Some(state) if is_same(&said(state, principal, stamp), &known.state) => continue,
                    Some(_) => entry.clock = next(entry.clock),
                    None => {}
                },
                Some(known) => {
                    let is_takeover = first && known.owner != from && entry.state.is_some();
                    if entry.clock < known.clock || (entry.clock == known.clock && !is_takeover) {
                        continue;
                    }
                }
                None => match self.gone.get(&entry.client) {
                    Some(gone) if entry.clock > gone.clock || first => entry.clock = entry.clock.max(next(gone.clock)),
                    // Somebody repeats what they heard before it went.
                    Some(_) => continue,
                    None => {}
                },
            }
            match &mut entry.state {
                Some(state) => {
                    *state = said(state, principal, stamp).into_owned();
                    if !self.has_room(from, &principal.id, entry.client, state.len()) {
                        continue;
                    }
                    self.gone.remove(&entry.client);
                    let (clock, state) = (entry.clock, state.clone());
                    let known = Known { clock, state, owner: from, principal: principal.id.clone(), renewed: now };
                    self.insert(entry.client, known);
                }
                None if self.take(entry.client).is_none() => continue,
                None => self.remember(now, entry.client, entry.clock),
            }
            accepted.push(entry);
        }
        accepted
    }

    /// Forgets a connection's clients. Returns what others must be told.
    pub fn disconnect(&mut self, now: Instant, from: ConnectionId) -> Vec<Entry> {
        let gone = self.remove(now, |known| known.owner == from);
        self.connections.remove(&from);
        gone
    }

    /// Forgets what was not renewed in time. Returns what others must be told.
    pub fn expire(&mut self, now: Instant) -> Vec<Entry> {
        while self.went.front().is_some_and(|(_, at)| now.saturating_duration_since(*at) >= EXPIRY) {
            self.forget_longest_gone();
        }
        self.remove(now, |known| now.saturating_duration_since(known.renewed) >= EXPIRY)
    }

    /// Everything a newcomer must know.
    pub fn all(&self) -> Vec<Entry> {
        self.known
            .iter()
            .map(|(client, known)| Entry { client: *client, clock: known.clock, state: Some(known.state.clone()) })
            .collect()
    }

    fn remove(&mut self, now: Instant, which: impl Fn(&Known) -> bool) -> Vec<Entry> {
        let going: Vec<(u64, u32)> =
            self.known.iter().filter(|(_, known)| which(known)).map(|(client, known)| (*client, known.clock)).collect();
        going
            .into_iter()
            .map(|(client, clock)| {
                self.take(client);
                self.remember(now, client, clock);
                Entry { client, clock, state: None }
            })
            .collect()
    }

    fn remember(&mut self, at: Instant, client: u64, clock: u32) {
        if self.went.len() == MAX_GONE {
            self.forget_longest_gone();
        }
        self.gone.insert(client, Gone { clock, at });
        self.went.push_back((client, at));
    }

    fn forget_longest_gone(&mut self) {
        let Some((client, at)) = self.went.pop_front() else { return };
        if self.gone.get(&client).is_some_and(|gone| gone.at == at) {
            self.gone.remove(&client);
        }
    }

    /// Bytes of all states.
    /// How many clients are here.
    pub fn clients(&self) -> usize {
        self.known.len()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// May `client` have a state of so many bytes, as one of `from`?
    fn has_room(&self, from: ConnectionId, principal: &PrincipalId, client: u64, bytes: usize) -> bool {
        let known = self.known.get(&client);
        let connection = self.connections.get(&from).copied().unwrap_or_default();
        let before = |is_own: bool| known.filter(|_| is_own).map_or(0, |known| known.state.len());
        let own = known.is_some_and(|known| known.owner == from);
        let theirs = known.is_some_and(|known| known.principal == *principal);
        let principal = self.principals.get(principal).copied().unwrap_or_default();
        (own || connection.clients < MAX_CLIENTS_PER_CONNECTION)
            && connection.bytes - before(own) + bytes <= MAX_CONNECTION_BYTES
            && principal.bytes - before(theirs) + bytes <= MAX_PRINCIPAL_BYTES
            && self.bytes - before(true) + bytes <= MAX_BYTES
    }

    fn insert(&mut self, client: u64, known: Known) {
        self.take(client);
        let bytes = known.state.len();
        self.bytes += bytes;
        let connection = self.connections.entry(known.owner).or_default();
        let principal = self.principals.entry(known.principal.clone()).or_default();
        for share in [connection, principal] {
            *share = Share { clients: share.clients + 1, bytes: share.bytes + bytes };
        }
        self.known.insert(client, known);
    }

    fn take(&mut self, client: u64) -> Option<Known> {
        let known = self.known.remove(&client)?;
        let bytes = known.state.len();
        self.bytes -= bytes;
        let less = |share: &mut Share| *share = Share { clients: share.clients - 1, bytes: share.bytes - bytes };
        // A connection is known as long as it lives, whether it has clients or not.
        if let Some(connection) = self.connections.get_mut(&known.owner) {
            less(connection);
        }
        if let Some(principal) = self.principals.get_mut(&known.principal) {
            less(principal);
            if principal.clients == 0 {
                self.principals.remove(&known.principal);
            }
        }
        Some(known)
    }
}

/// A clock at the end of its range stays there: such a client is seen again after everybody has forgotten it.
fn next(clock: u32) -> u32 {
    clock.saturating_add(1)
}

/// A state as the server tells it.
fn said<'a>(state: &'a str, principal: &Principal, stamp: bool) -> Cow<'a, str> {
    if stamp { Cow::Owned(stamped(state, principal)) } else { Cow::Borrowed(state) }
}

/// The same data, however it is written down.
fn is_same(one: &str, other: &str) -> bool {
    let read = |text: &str| serde_json::from_str::<Value>(text).ok();
    one == other || read(one).is_some_and(|one| Some(one) == read(other))
}

/// The state with the server's word on who it belongs to.
fn stamped(state: &str, principal: &Principal) -> String {
    let mut user = json!({ "id": principal.id, "name": principal.name, "color": color(&principal.id) });
    if principal.kind == PrincipalKind::Agent {
        user["kind"] = json!(principal.kind);
    }
    let mut value = serde_json::from_str(state).unwrap_or(Value::Null);
    if !value.is_object() {
        value = json!({});
    }
    value["user"] = user;
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(name: &str) -> Principal {
        let id = PrincipalId::parse(&name.to_lowercase()).expect("valid");
        Principal { id, kind: PrincipalKind::Person, name: name.into() }
    }

    fn says(client: u64, clock: u32, state: &str) -> Vec<Entry> {
        vec![Entry { client, clock, state: (state != "null").then(|| state.to_owned()) }]
    }

    #[test]
    fn the_server_says_who_somebody_is() {
        let (mut presence, now, ada) = (Presence::default(), Instant::now(), person("Ada"));
        let told =
            presence.announce(now, ConnectionId::new(), &ada, true, says(1, 1, r#"{"user":{"name":"Bo"},"at":3}"#));
        let state: Value = serde_json::from_str(told[0].state.as_deref().expect("state")).expect("json");
        assert_eq!(state["user"]["name"], "Ada");
        assert_eq!((&state["at"], &state["user"]["kind"]), (&json!(3), &Value::Null));
        let agent = Principal { kind: PrincipalKind::Agent, ..person("Bot") };
        let told = presence.announce(now, ConnectionId::new(), &agent, true, says(2, 1, "{}"));
        let state: Value = serde_json::from_str(told[0].state.as_deref().expect("state")).expect("json");
        assert_eq!(state["user"]["kind"], "agent");
    }

    #[test]
    fn nobody_speaks_for_another() {
        let (mut presence, now) = (Presence::default(), Instant::now());
        let (a, b) = (ConnectionId::new(), ConnectionId::new());
        presence.announce(now, a, &person("Ada"), true, says(1, 5, "{}"));
        assert_eq!(presence.announce(now, b, &person("Bo"), true, says(1, 9, "{}")), vec![]);
        assert_eq!(presence.announce(now, b, &person("Bo"), true, says(1, 9, "null")), vec![]);
    }

    #[test]
    fn a_reconnect_takes_its_client_over_and_the_old_connection_takes_nothing_away() {
        let (mut presence, now, ada) = (Presence::default(), Instant::now(), person("Ada"));
        let (old, new) = (ConnectionId::new(), ConnectionId::new());
        presence.announce(now, old, &ada, true, says(1, 5, "{}"));
        assert_eq!(presence.announce(now, new, &ada, true, says(1, 5, "{}")).len(), 1);
        assert_eq!(presence.disconnect(now, old), vec![]);
        assert_eq!(presence.disconnect(now, new), vec![Entry { client: 1, clock: 5, state: None }]);
        assert_eq!(presence.all(), vec![]);
    }

    #[test]
    fn who_repeats_what_another_window_of_the_same_person_said_does_not_own_it() {
        let (mut presence, now, ada) = (Presence::default(), Instant::now(), person("Ada"));
        let (one, other) = (ConnectionId::new(), ConnectionId::new());
        presence.announce(now, other, &ada, true, says(2, 1, "{}"));
        presence.announce(now, one, &ada, true, says(1, 1, "{}"));
        assert_eq!(presence.announce(now, other, &ada, true, says(1, 1, "{}")), vec![]);
        assert_eq!(presence.disconnect(now, one), vec![Entry { client: 1, clock: 1, state: None }]);
    }

    #[test]
    fn states_that_are_not_renewed_expire() {
        let (mut presence, now, ada) = (Presence::default(), Instant::now(), person("Ada"));
        let from = ConnectionId::new();
        presence.announce(now, from, &ada, true, says(1, 1, "{}"));
        assert_eq!(presence.announce(now + EXPIRY / 2, from, &ada, true, says(1, 2, "{}")).len(), 1);
        assert_eq!(presence.expire(now + EXPIRY), vec![]);
        assert_eq!(presence.expire(now + EXPIRY * 2), vec![Entry { client: 1, clock: 2, state: None }]);
    }

    /// What `applyAwarenessUpdate` of y-protocols does with what it hears.
    #[derive(Default)]
    struct Listener(BTreeMap<u64, (u32, Option<String>)>);

    impl Listener {
        fn hears(&mut self, entries: &[Entry]) {
            for entry in entries {
                let (clock, state) = self.0.entry(entry.client).or_default();
                if *clock < entry.clock || (*clock == entry.clock && entry.state.is_none() && state.is_some()) {
                    (*clock, *state) = (entry.clock, entry.state.clone());
                }
            }
        }

        fn sees(&self, client: u64) -> Option<(u32, &str)> {
            self.0.get(&client).and_then(|(clock, state)| Some((*clock, state.as_deref()?)))
        }
    }

    #[test]
    fn whoever_comes_back_is_seen_at_once() {
        let (mut presence, now, ada) = (Presence::default(), Instant::now(), person("Ada"));
        let mut bo = Listener::default();
        let (old, new) = (ConnectionId::new(), ConnectionId::new());
        bo.hears(&presence.announce(now, old, &ada, false, says(1, 5, r#"{"at":1}"#)));
        bo.hears(&presence.disconnect(now, old));
        assert_eq!(bo.sees(1), None);
        // It comes back under the clock it had, and hears the next one.
        let told = presence.announce(now, new, &ada, false, says(1, 5, r#"{"at":1}"#));
        bo.hears(&told);
        assert_eq!(bo.sees(1), Some((6, r#"{"at":1}"#)));
        // Before it heard so it went on itself.
        bo.hears(&presence.announce(now, new, &ada, false, says(1, 6, r#"{"at":2}"#)));
        assert_eq!(bo.sees(1), Some((7, r#"{"at":2}"#)));
        // Its words as they come back to it are no news, however they are written.
        assert_eq!(presence.announce(now, new, &ada, false, says(1, 6, r#"{"at":1}"#)), vec![]);
        assert_eq!(presence.announce(now, new, &ada, false, says(1, 7, r#"{ "at": 2 }"#)), vec![]);
    }

    #[test]
    fn what_others_repeat_of_somebody_who_went_makes_no_ghost() {
        let (mut presence, now, ada) = (Presence::default(), Instant::now(), person("Ada"));
        let (one, other) = (ConnectionId::new(), ConnectionId::new());
        presence.announce(now, other, &ada, false, says(2, 1, "{}"));
        presence.announce(now, one, &ada, false, says(1, 5, "{}"));
        presence.disconnect(now, one);
        assert_eq!(presence.announce(now, other, &ada, false, says(1, 5, "{}")), vec![]);
        // Nor can they take away who has come back, by repeating that it went.
        let again = ConnectionId::new();
        assert_eq!(presence.announce(now, again, &ada, false, says(1, 5, "{}")).len(), 1);
        assert_eq!(presence.announce(now, other, &ada, false, says(1, 5, "null")), vec![]);
        assert_eq!(presence.announce(now, other, &ada, false, says(1, 6, "null")), vec![]);
    }

    #[test]
    fn whoever_says_goodbye_and_comes_back_is_seen() {
        let (mut presence, now, ada) = (Presence::default(), Instant::now(), person("Ada"));
        let from = ConnectionId::new();
        presence.announce(now, from, &ada, false, says(1, 1, "{}"));
        assert_eq!(presence.announce(now, from, &ada, false, says(1, 2, "null")).len(), 1);
        assert_eq!(presence.announce(now, from, &ada, false, says(1, 3, "{}")), says(1, 3, "{}"));
    }

    #[test]
    fn nobody_fills_the_room_with_words() {
        let (mut presence, now) = (Presence::default(), Instant::now());
        let large = format!("{{\"x\":\"{}\"}}", "x".repeat(40 << 10));
        let mut client = 0;
        let mut fill = |presence: &mut Presence, who: &Principal, connections: usize| {
            for _ in 0..connections {
                let from = ConnectionId::new();
                for _ in 0..MAX_CLIENTS_PER_CONNECTION {
                    client += 1;
                    presence.announce(now, from, who, false, says(client, 1, &large));
                }
            }
        };
        let eve = person("Eve");
        fill(&mut presence, &eve, 100);
        assert!(presence.bytes() <= MAX_PRINCIPAL_BYTES && presence.bytes() > MAX_PRINCIPAL_BYTES / 2);
        // Others are seen all the same, and what is known may be renewed.
        let ada = ConnectionId::new();
        assert_eq!(presence.announce(now, ada, &person("Ada"), false, says(1 << 40, 1, "{}")).len(), 1);
        assert_eq!(presence.announce(now, ada, &person("Ada"), false, says(1 << 40, 2, "{}")).len(), 1);
        for who in 0..20 {
            fill(&mut presence, &person(&format!("p{who}")), 20);
        }
        assert!(presence.bytes() <= MAX_BYTES);
        for from in presence.connections.keys().copied().collect::<Vec<_>>() {
            presence.disconnect(now, from);
        }
        assert_eq!((presence.bytes(), presence.principals.len(), presence.connections.len()), (0, 0, 0));
    }

    #[test]
    fn clocks_of_those_who_went_are_forgotten() {
        let (mut presence, now, ada) = (Presence::default(), Instant::now(), person("Ada"));
        for client in 0..=MAX_GONE as u64 {
            let from = ConnectionId::new();
            presence.announce(now, from, &ada, false, says(client, 1, "{}"));
            presence.disconnect(now, from);
        }
        assert_eq!(presence.gone.len(), MAX_GONE);
        presence.expire(now + EXPIRY);
        assert_eq!(presence.gone.len(), 0);
    }
}
