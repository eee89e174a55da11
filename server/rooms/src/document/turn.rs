//! The updates of one turn: what was accepted since the last turn ended, and what becomes of it together.
//!
//! One update is passed on as it came. Several become one broadcast, except for those who wrote: their own words may come
//! back to them only as an acknowledgement, so each writer whose dialect echoes is sent what the others wrote.
//! Neighbouring updates of one author become one record of the log.

use buildspaces_crdt::{protocol, update};
use buildspaces_kernel::ids::ConnectionId;
use buildspaces_policy::Principal;
use bytes::Bytes;

use super::{Dialect, Document, Effect, Recipients, Waiting};

#[derive(Debug)]
struct Accepted {
    from: Option<ConnectionId>,
    by: Principal,
    /// The record it is part of.
    seq: u64,
    update: Bytes,
}

#[derive(Debug, Default)]
pub(super) struct Turn {
    accepted: Vec<Accepted>,
}

impl Document {
    /// An update took effect: it joins the turn.
    pub(super) fn accepted(
        &mut self,
        from: Option<ConnectionId>,
        by: Principal,
        update: Bytes,
        effects: &mut Vec<Effect>,
    ) {
        let sent = update.clone();
        let update = self.replica.completed(update);
        self.changed(&update);
        let continues = self.turn.accepted.last().is_some_and(|last| last.by == by);
        if !continues {
            self.seq += 1;
            effects.push(Effect::Edited { by: by.clone() });
        }
        if update != sent {
            // Who sent it again waits for what was known, too.
            self.echo(self.seq, from, protocol::update(&sent));
        }
        self.turn.accepted.push(Accepted { from, by, seq: self.seq, update });
    }

    /// Emits broadcasts and records for what was accepted.
    pub(super) fn end_updates(&mut self, effects: &mut Vec<Effect>) {
        if self.turn.accepted.is_empty() {
            return;
        }
        let _step = tracing::trace_span!(target: "keystroke", "end_updates").entered();
        let mut accepted = std::mem::take(&mut self.turn.accepted);
        match &accepted[..] {
            [] => {}
            [one] => {
                let frame = protocol::update(&one.update);
                let to = one.from.map_or(Recipients::All, |from| Recipients::AllBut(vec![from]));
                effects.push(Effect::Broadcast { to, frame: frame.clone() });
                self.echo(one.seq, one.from, frame);
            }
            several => self.broadcast(several, effects),
        }
        for record in accepted.chunk_by(|a, b| a.seq == b.seq) {
            let first = &record[0];
            let update = match record {
                [one] => one.update.clone(),
                several => match merged(several.iter()) {
                    Ok(update) => update,
                    Err(cause) => {
                        effects.push(Effect::Broken { cause });
                        return;
                    }
                },
            };
            if record.len() > 1 {
                self.echo_all(record, &update);
            }
            effects.push(Effect::Append { seq: first.seq, by: first.by.clone(), update });
        }
        accepted.clear();
        // The room for a next turn is kept.
        self.turn.accepted = accepted;
    }

    /// Tells everyone of several updates at once.
    fn broadcast(&mut self, accepted: &[Accepted], effects: &mut Vec<Effect>) {
        let mut writers: Vec<ConnectionId> = Vec::new();
        for from in accepted.iter().filter_map(|accepted| accepted.from) {
            if !writers.contains(&from) && self.echoes(from) {
                writers.push(from);
            }
        }
        match merged(accepted.iter()) {
            Ok(all) => {
                let to = if writers.is_empty() { Recipients::All } else { Recipients::AllBut(writers.clone()) };
                effects.push(Effect::Broadcast { to, frame: protocol::update(&all) });
            }
            Err(cause) => effects.push(Effect::Broken { cause }),
        }
        for writer in writers {
            for other in accepted.iter().filter(|accepted| accepted.from != Some(writer)) {
                // The outbox merges what waits together.
                effects.push(Effect::SendUpdate { to: writer, frame: protocol::update(&other.update) });
            }
        }
        for record in accepted.chunk_by(|a, b| a.seq == b.seq) {
            if let [one] = record {
                self.echo(one.seq, one.from, protocol::update(&one.update));
            }
        }
    }

    /// Sends an update back to who made it, once it is durable.
    fn echo(&mut self, seq: u64, from: Option<ConnectionId>, frame: Bytes) {
        if let Some(to) = from.filter(|from| self.echoes(*from)) {
            self.waiting_from(seq, Waiting::SendUpdate { to, frame });
        }
    }

    /// The same for a record of several updates, which may come from several windows of one person.
    fn echo_all(&mut self, record: &[Accepted], update: &[u8]) {
        let frame = protocol::update(update);
        let mut told: Vec<ConnectionId> = Vec::new();
        for from in record.iter().filter_map(|accepted| accepted.from) {
            if !told.contains(&from) {
                told.push(from);
                self.echo(record[0].seq, Some(from), frame.clone());
            }
        }
    }

    fn echoes(&self, peer: ConnectionId) -> bool {
        self.peers.get(&peer).is_some_and(|peer| peer.dialect == Dialect::YWebsocket)
    }

    /// Puts `waiting` where its number belongs: acknowledgements of later updates may be there already.
    fn waiting_from(&mut self, seq: u64, waiting: Waiting) {
        let after = self.waiting.iter().rposition(|(at, _)| *at < seq).map_or(0, |at| at + 1);
        self.waiting_bytes += waiting.bytes();
        self.waiting.insert(after, (seq, waiting));
    }
}

fn merged<'a>(accepted: impl Iterator<Item = &'a Accepted>) -> Result<Bytes, String> {
    let updates: Vec<Bytes> = accepted.map(|accepted| accepted.update.clone()).collect();
    update::merge(&updates).map(Bytes::from).map_err(|error| error.to_string())
}
