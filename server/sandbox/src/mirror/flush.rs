//! From the documents into the workspace: what people typed is written to the files.
//!
//! **Invariant:** before a file is written, its bytes on disk are compared with what was last written
//! to or read from it; a difference is absorbed first. The comparison holds up to the moment of the
//! exchange, because what was displaced is looked at again.
//!
//! Start with [`Core::flush`].

use buildspaces_crdt::{Replica, text};
use buildspaces_kernel::ids::NodeId;
use buildspaces_rooms as rooms;
use buildspaces_rooms::tree::MAX_TEXT_BYTES;

use super::Error;
use super::core::{Core, Seen, hash, state_of};
use super::disk::{Content, Placed, Prepared, Stamp};
use super::state::{TextState, Write};

/// How many documents are asked at once for what is new.
const BATCH: usize = 64;

/// How often one file is tried again at once when programs keep writing to it. After that it waits
/// for the next round.
const MAX_TRIES: usize = 4;

/// How an attempt to write a file ended.
enum Written {
    Done,
    /// A scan must tell first what happened to the file.
    Later,
}

/// What is at a text's path now.
enum Present {
    /// The bytes that are known, under this stamp.
    Known(Stamp),
    /// Nothing.
    Nothing,
    /// A text that was written there meanwhile.
    Text(String, Seen),
    /// Anything else.
    Other,
}

impl Core {
    /// Writes every text whose document holds more than its replica.
    pub(super) fn flush(&mut self) -> Result<(), Error> {
        self.hear();
        self.verify()?;
        let dirty: Vec<NodeId> = std::mem::take(&mut self.dirty)
            .into_iter()
            .filter(|id| self.known.get(id).is_some_and(|known| known.text.is_some()))
            .collect();
        let _step = tracing::trace_span!(target: "keystroke", "flush", texts = dirty.len()).entered();
        for (done, batch) in dirty.chunks(BATCH).enumerate() {
            if let Err(e) = self.flush_batch(batch) {
                self.dirty.extend(dirty[done * BATCH..].iter().cloned());
                return Err(e);
            }
        }
        Ok(())
    }

    fn flush_batch(&mut self, ids: &[NodeId]) -> Result<(), Error> {
        let wanted: Vec<(NodeId, Vec<u8>)> = ids
            .iter()
            .filter_map(|id| Some((id.clone(), self.known.get(id)?.text.as_ref()?.replica.state_vector())))
            .collect();
        let ids: Vec<NodeId> = wanted.iter().map(|(id, _)| id.clone()).collect();
        for (id, diff) in ids.iter().zip(self.room.diffs(wanted)) {
            match diff {
                Ok(update) => match self.write(id, &update) {
                    Ok(Written::Done) => {}
                    Ok(Written::Later) => {
                        self.dirty.insert(id.clone());
                    }
                    Err(Error::Io(_)) if self.lost_its_folder(id)? => {
                        self.rescan.add(self.known.get(id).and_then(|known| known.parent.clone()));
                        self.dirty.insert(id.clone());
                    }
                    Err(Error::Io(e)) => {
                        tracing::warn!(node = %id, error = %e, "a file of the workspace cannot be written");
                        self.failing.insert(id.clone());
                    }
                    Err(e) => return Err(e),
                },
                Err(rooms::Error::NoSuchNode) => self.tree_dirty = true,
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    /// True if the folder that a text is to be written into went from the workspace. A scan has to learn that
    /// before the text can be written.
    fn lost_its_folder(&self, id: &NodeId) -> Result<bool, Error> {
        let Some(above) = self.known.get(id).and_then(|known| known.parent.as_ref()) else { return Ok(false) };
        let Some(path) = self.path(above) else { return Ok(true) };
        Ok(!self.disk.stat(&path)?.is_some_and(|stamp| stamp.is_dir))
    }

    /// Brings `update` into a text's replica and file.
    fn write(&mut self, id: &NodeId, update: &[u8]) -> Result<Written, Error> {
        for _ in 0..MAX_TRIES {
            let Some(known) = self.known.get(id) else { return Ok(Written::Done) };
            let folder_is_there = known
                .parent
                .as_ref()
                .is_none_or(|above| self.known.get(above).is_some_and(|above| above.seen.is_some()));
            let taken = self.node_in(known.parent.as_ref(), &known.name).is_some_and(|there| there != id);
            let Some(path) = self.path(id).filter(|_| folder_is_there && !taken) else {
                self.tree_dirty = true;
                return Ok(Written::Later);
            };
            let was_there = known.seen.is_some();
            let present = self.present(id, &path)?;
            let expected = match present {
                Present::Known(stamp) => Some(stamp),
                Present::Nothing if !was_there => None,
                Present::Text(text, seen) if was_there && self.known[id].trusted => {
                    self.absorb_text(id, &text, hash(text.as_bytes()), seen)?;
                    self.send()?;
                    Some(seen.stamp)
                }
                // A file of the same name was made in the workspace: one of the two is empty, or they are equal,
                // or the document wins.
                Present::Text(text, seen) if !was_there => match self.adopt(id, update, &text, seen)? {
                    true => return Ok(Written::Done),
                    false => {
                        self.set_aside(&path)?;
                        continue;
                    }
                },
                Present::Other if !was_there => {
                    self.set_aside(&path)?;
                    continue;
                }
                Present::Nothing | Present::Text(..) | Present::Other => {
                    self.rescan.add(self.known[id].parent.clone());
                    return Ok(Written::Later);
                }
            };
            if self.replace(id, &path, update, expected.as_ref())? {
                return Ok(Written::Done);
            }
            if expected.is_none() {
                // What stands there is no file: a link, a pipe.
                self.set_aside(&path)?;
            }
        }
        self.rescan.add(self.known.get(id).and_then(|known| known.parent.clone()));
        Ok(Written::Later)
    }

    fn present(&mut self, id: &NodeId, path: &str) -> Result<Present, Error> {
        let Some(known) = self.known.get(id) else { return Ok(Present::Nothing) };
        let stamp = self.disk.stat(path)?;
        if let (Some(seen), Some(stamp)) = (known.seen, stamp)
            && seen.settled
            && seen.stamp == stamp
        {
            return Ok(Present::Known(stamp));
        }
        let Some(stamp) = stamp else { return Ok(Present::Nothing) };
        if stamp.is_dir {
            return Ok(Present::Other);
        }
        let held = known.text.as_ref().and_then(|text| text.hash);
        // A document may be larger than what becomes a document.
        let limit = known.seen.map_or(0, |seen| seen.stamp.size).clamp(4 * MAX_TEXT_BYTES, u64::MAX - 1);
        Ok(match self.disk.read(path, limit)? {
            Content::Gone => Present::Nothing,
            Content::TooLarge(_) => Present::Other,
            Content::Bytes { bytes, stamp, settled } => {
                let seen = Seen { stamp, settled };
                if known.seen.is_some() && held == Some(hash(&bytes)) {
                    self.set_seen(id, Some(seen));
                    Present::Known(stamp)
                } else {
                    match String::from_utf8(bytes) {
                        Ok(text) if !text.contains('\0') => Present::Text(text, seen),
                        _ => Present::Other,
                    }
                }
            }
        })
    }

    /// Takes a file that is there already for a node that was never written. False if their texts differ
    /// and neither is empty.
    fn adopt(&mut self, id: &NodeId, update: &[u8], text: &str, seen: Seen) -> Result<bool, Error> {
        let Some(held) = self.known.get_mut(id).and_then(|known| known.text.as_mut()) else { return Ok(false) };
        let mut replica = Replica::new();
        replica.apply(&held.replica.state()).map_err(|e| Error::Document(e.to_string()))?;
        replica.apply(update).map_err(|e| Error::Document(e.to_string()))?;
        let present = replica.text(text::ROOT);
        if present != text && !present.is_empty() {
            return Ok(false);
        }
        held.replica = replica;
        self.absorb_text(id, text, hash(text.as_bytes()), seen)?;
        self.send()?;
        Ok(true)
    }

    /// Writes the file with `update` in it where `expected` is now. False if something else was there;
    /// then nothing has changed.
    fn replace(&mut self, id: &NodeId, path: &str, update: &[u8], expected: Option<&Stamp>) -> Result<bool, Error> {
        let Some(known) = self.known.get_mut(id) else { return Ok(true) };
        let Some(held) = known.text.as_mut() else { return Ok(true) };
        let base = held.replica.state();
        held.replica.apply(update).map_err(|e| Error::Document(e.to_string()))?;
        let text = held.replica.text(text::ROOT);
        let new_hash = hash(text.as_bytes());
        if expected.is_some() && held.hash == Some(new_hash) {
            return Ok(true);
        }
        let prepared = self.disk.prepare(text.as_bytes(), expected);
        let placed = prepared.as_ref().map_err(|e| Error::Io(*e)).and_then(|prepared| {
            let pulled = update.to_vec();
            let (tmp, tmp_identity) = (prepared.name.clone(), prepared.stamp.identity);
            let write = Write { pulled, hash: new_hash, tmp, tmp_identity };
            self.put(id, path, prepared, &base, write, expected)
        });
        let Some(held) = self.known.get_mut(id).and_then(|known| known.text.as_mut()) else { return Ok(true) };
        if let Ok(Placed::Done(stamp)) = placed {
            held.hash = Some(new_hash);
            self.failing.remove(id);
            self.set_seen(id, Some(Seen { stamp, settled: false }));
            return Ok(true);
        }
        // The replica goes back to what is on disk. The waiting bytes are removed after the state that
        // speaks of them, or that state would say that they were put in place.
        held.replica = Replica::new();
        held.replica.apply(&base).map_err(|e| Error::Document(e.to_string()))?;
        self.save(id)?;
        if let Ok(prepared) = prepared {
            self.disk.remove_leftover(&prepared.name);
        }
        placed.map(|_| false)
    }

    /// Writes down what is about to happen, and lets it happen.
    fn put(
        &self,
        id: &NodeId,
        path: &str,
        prepared: &Prepared,
        base: &[u8],
        write: Write,
        expected: Option<&Stamp>,
    ) -> Result<Placed, Error> {
        let known = &self.known[id];
        let held = known.text.as_ref();
        let text = TextState {
            base: base.to_vec(),
            base_hash: expected.and(held.and_then(|held| held.hash)),
            write: Some(write),
            sent: held.is_none_or(|held| held.sent),
        };
        let mut state = state_of(known, Some(text));
        state.identity = prepared.stamp.identity;
        self.states.save(id, &state)?;
        Ok(self.disk.place(prepared, path, expected)?)
    }
}
