//! Who is where, as a client keeps it: `y-protocols/awareness.js`, with its habit of repeating what it hears. Pure.

use std::collections::BTreeMap;

use crate::updates::{Malformed, Reader, write_var_bytes, write_var_uint};

/// The states one client knows, its own included.
#[derive(Debug)]
pub struct Presence {
    own: u64,
    /// How often it said where it is; 0 if it never did.
    said: u64,
    /// Each client's clock and, unless it is gone, its state.
    states: BTreeMap<u64, (u32, Option<String>)>,
}

impl Presence {
    pub fn new(own: u64) -> Self {
        Self { own, said: 0, states: BTreeMap::new() }
    }

    /// Is here, if it is not yet; it says nothing of itself so far. Without this it only listens.
    pub fn begin(&mut self) {
        if self.own().is_none() {
            self.said = 0;
            self.set_own(Some("{}".to_owned()));
        }
    }

    /// The next state of its own. Returns what to send.
    pub fn announce(&mut self) -> Vec<u8> {
        self.said += 1;
        self.set_own(Some(format!(r#"{{"said":{}}}"#, self.said)))
    }

    /// Its own state under the next clock, as clients repeat it every 15 s. Nothing if it has none.
    pub fn renew(&mut self) -> Option<Vec<u8>> {
        let state = self.states.get(&self.own)?.1.clone()?;
        Some(self.set_own(Some(state)))
    }

    /// It says goodbye. Nothing if it never said anything.
    pub fn leave(&mut self) -> Option<Vec<u8>> {
        self.states.get(&self.own)?.1.as_ref()?;
        Some(self.set_own(None))
    }

    fn set_own(&mut self, state: Option<String>) -> Vec<u8> {
        let clock = self.states.get(&self.own).map_or(0, |(clock, _)| clock + 1);
        self.states.insert(self.own, (clock, state));
        self.encode(&[self.own])
    }

    /// What it says when it comes in. Nothing if it has no state.
    pub fn greeting(&self) -> Option<Vec<u8>> {
        self.states.get(&self.own)?.1.as_ref()?;
        Some(self.encode(&[self.own]))
    }

    /// Its connection is gone, and with it all it knew of others.
    pub fn disconnected(&mut self) {
        self.states.retain(|client, _| *client == self.own);
    }

    /// Takes what it hears. Returns what it repeats, if anything was new.
    pub fn hear(&mut self, entries: &[u8]) -> Result<Option<Vec<u8>>, Malformed> {
        let mut reader = Reader(entries);
        let mut changed = Vec::new();
        for _ in 0..reader.var_uint()? {
            let (client, mut clock) = (reader.var_uint()?, reader.var_uint()? as u32);
            let text = reader.var_bytes()?;
            let state = (text != b"null").then(|| String::from_utf8_lossy(text).into_owned());
            let known = self.states.get(&client);
            let is_newer =
                known.is_none_or(|known| known.0 < clock || (known.0 == clock && state.is_none() && known.1.is_some()));
            if !is_newer {
                continue;
            }
            let before = known.and_then(|known| known.1.clone());
            let state = if client == self.own && state.is_none() && before.is_some() {
                // Nobody else says that it is gone.
                clock += 1;
                before
            } else {
                state
            };
            self.states.insert(client, (clock, state));
            changed.push(client);
        }
        Ok((!changed.is_empty()).then(|| self.encode(&changed)))
    }

    /// Who is here, and how often each had said where it is.
    pub fn seen(&self) -> BTreeMap<u64, u64> {
        let said = |state: &str| serde_json::from_str::<serde_json::Value>(state).ok()?["said"].as_u64();
        let seen =
            |(client, (_, state)): (&u64, &(u32, Option<String>))| Some((*client, said(state.as_ref()?).unwrap_or(0)));
        self.states.iter().filter_map(seen).collect()
    }

    /// How often it said where it is, if it counts as being here.
    pub fn own(&self) -> Option<(u64, u64)> {
        self.states.get(&self.own)?.1.as_ref()?;
        Some((self.own, self.said))
    }

    fn encode(&self, clients: &[u64]) -> Vec<u8> {
        let mut out = Vec::new();
        write_var_uint(&mut out, clients.len() as u64);
        for client in clients {
            let (clock, state) = &self.states[client];
            write_var_uint(&mut out, *client);
            write_var_uint(&mut out, u64::from(*clock));
            write_var_bytes(&mut out, state.as_deref().unwrap_or("null").as_bytes());
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_says_another_sees_until_it_leaves() {
        let (mut one, mut other) = (Presence::new(1), Presence::new(2));
        one.announce();
        let said = one.announce();
        assert!(other.hear(&said).expect("entries").is_some(), "it repeats what is new");
        assert_eq!(other.seen(), [(1, 2)].into());
        assert_eq!(other.hear(&said), Ok(None));
        other.hear(&one.leave().expect("it is here")).expect("entries");
        assert_eq!(other.seen(), [].into());
        assert_eq!(one.own(), None);
    }

    #[test]
    fn nobody_can_say_that_somebody_else_is_gone() {
        let (mut one, mut other) = (Presence::new(1), Presence::new(2));
        other.hear(&one.announce()).expect("entries");
        other.states.insert(1, (9, None));
        let repeated = one.hear(&other.encode(&[1])).expect("entries").expect("it objects");
        other.hear(&repeated).expect("entries");
        assert_eq!(other.seen(), [(1, 1)].into());
    }
}
