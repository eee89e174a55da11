//! Who is where in one document, as they say themselves; never saved. Pure.
//!
//! A client id belongs to the connection that announced it; another connection can take it over only
//! for the same principal, which is what a reconnect looks like. The server writes `user` into every
//! state of a connection whose principal it knows, so nobody can appear under another's name.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use buildspaces_crdt::awareness::Entry;
use buildspaces_kernel::ids::{ConnectionId, PrincipalId};
use buildspaces_policy::Principal;
use serde_json::{Value, json};

/// A state that was not renewed for this long is dropped. Clients renew every 15 s.
pub const EXPIRY: Duration = Duration::from_secs(30);

/// Most client ids of one connection; announcements beyond are ignored.
const MAX_CLIENTS_PER_CONNECTION: usize = 16;

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

/// The states of one document.
#[derive(Debug, Default)]
pub struct Presence {
    known: BTreeMap<u64, Known>,
    /// Connections that have announced something.
    begun: HashSet<ConnectionId>,
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
        let first = self.begun.insert(from);
        let mut accepted = Vec::with_capacity(entries.len());
        for mut entry in entries {
            let known = self.known.get(&entry.client);
            if known.is_some_and(|known| known.owner != from && known.principal != principal.id) {
                continue;
            }
            let newer = known.is_none_or(|known| {
                entry.clock > known.clock
                    || (entry.clock == known.clock && (entry.state.is_none() || (first && known.owner != from)))
            });
            if !newer {
                continue;
            }
            if known.is_none()
                && self.known.values().filter(|known| known.owner == from).count() >= MAX_CLIENTS_PER_CONNECTION
            {
                continue;
            }
            match &mut entry.state {
                Some(state) => {
                    if stamp {
                        *state = stamped(state, principal);
                    }
                    let state = state.clone();
                    let (clock, principal) = (entry.clock, principal.id.clone());
                    self.known.insert(entry.client, Known { clock, state, owner: from, principal, renewed: now });
                }
                None if self.known.remove(&entry.client).is_none() => continue,
                None => {}
            }
            accepted.push(entry);
        }
        accepted
    }

    /// Forgets a connection's clients. Returns what others must be told.
    pub fn disconnect(&mut self, from: ConnectionId) -> Vec<Entry> {
        self.begun.remove(&from);
        self.remove(|known| known.owner == from)
    }

    /// Forgets what was not renewed in time. Returns what others must be told.
    pub fn expire(&mut self, now: Instant) -> Vec<Entry> {
        self.remove(|known| now.saturating_duration_since(known.renewed) >= EXPIRY)
    }

    /// Everything a newcomer must know.
    pub fn all(&self) -> Vec<Entry> {
        self.known
            .iter()
            .map(|(client, known)| Entry { client: *client, clock: known.clock, state: Some(known.state.clone()) })
            .collect()
    }

    fn remove(&mut self, which: impl Fn(&Known) -> bool) -> Vec<Entry> {
        let gone: Vec<u64> = self.known.iter().filter(|(_, known)| which(known)).map(|(client, _)| *client).collect();
        gone.into_iter()
            .filter_map(|client| {
                self.known.remove(&client).map(|known| Entry { client, clock: known.clock, state: None })
            })
            .collect()
    }
}

/// The state with the server's word on who it belongs to.
fn stamped(state: &str, principal: &Principal) -> String {
    let user = json!({ "id": principal.id, "name": principal.name, "color": color(&principal.id) });
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
    use buildspaces_policy::PrincipalKind;

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
        assert_eq!(state["at"], 3);
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
        assert_eq!(presence.disconnect(old), vec![]);
        assert_eq!(presence.disconnect(new), vec![Entry { client: 1, clock: 5, state: None }]);
        assert_eq!(presence.all(), vec![]);
    }

    #[test]
    fn who_repeats_what_another_window_of_the_same_person_said_does_not_own_it() {
        let (mut presence, now, ada) = (Presence::default(), Instant::now(), person("Ada"));
        let (one, other) = (ConnectionId::new(), ConnectionId::new());
        presence.announce(now, other, &ada, true, says(2, 1, "{}"));
        presence.announce(now, one, &ada, true, says(1, 1, "{}"));
        assert_eq!(presence.announce(now, other, &ada, true, says(1, 1, "{}")), vec![]);
        assert_eq!(presence.disconnect(one), vec![Entry { client: 1, clock: 1, state: None }]);
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
}
