//! From a change in the room to a queued run: which rules it makes dirty, and what their firing does.

use std::collections::{HashMap, HashSet, VecDeque};

use buildspaces_kernel::clock::unix_millis;
use buildspaces_kernel::ids::NodeId;
use buildspaces_rooms::RoomEvent;

use super::{Actor, now};
use crate::Error;
use crate::rule::{Effect, Input};
use crate::run::Run;
use crate::trigger::{TriggerKey, text_hash};

impl Actor {
    pub(super) async fn handle_event(&mut self, event: RoomEvent) {
        match event {
            RoomEvent::Edited { node, by } => {
                self.hashes.remove(&node);
                if !by.kind.is_user() {
                    return;
                }
                self.last_editor = by;
                if !self.files.contains_key(&node) {
                    self.look_at_files();
                }
                if let Some(path) = self.files.get(&node).cloned() {
                    self.handle_changed_paths(&[path]).await;
                }
            }
            RoomEvent::Tree { by, .. } => {
                let changed = self.look_at_files();
                if by.kind.is_user() {
                    self.last_editor = by;
                    self.handle_changed_paths(&changed).await;
                }
            }
        }
    }

    /// Events were missed: a person's edit may have been among them, so every rule looks again.
    pub(super) async fn handle_lag(&mut self, missed: u64) {
        tracing::debug!(room = %self.id, missed, "fell behind a room's events");
        self.hashes.clear();
        self.look_at_files();
        for at in 0..self.rules.len() {
            self.feed(at, Input::Edited).await;
        }
    }

    pub(super) async fn handle_changed_paths(&mut self, paths: &[String]) {
        for at in 0..self.rules.len() {
            if paths.iter().any(|path| self.rules[at].globs.is_match(path)) {
                self.feed(at, Input::Edited).await;
            }
        }
    }

    /// Looks at the tree; returns the paths that appeared or went.
    pub(super) fn look_at_files(&mut self) -> Vec<String> {
        let files: HashMap<NodeId, String> =
            self.room.text_files().into_iter().map(|(path, node)| (node, path)).collect();
        let old: HashSet<(&NodeId, &String)> = self.files.iter().collect();
        let new: HashSet<(&NodeId, &String)> = files.iter().collect();
        let changed = old.symmetric_difference(&new).map(|(_, path)| (*path).clone()).collect();
        self.hashes.retain(|node, _| files.contains_key(node));
        self.files = files;
        changed
    }

    /// Gives `input` to a rule's debounce and performs what comes out.
    pub(super) async fn feed(&mut self, at: usize, input: Input) {
        if !self.rules[at].rule.enabled {
            return;
        }
        let was_dirty = self.rules[at].debounce.is_dirty();
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for effect in self.rules[at].debounce.handle(now(), input) {
                match effect {
                    Effect::RememberDirty => self.remember_dirty(at, true).await,
                    Effect::Fire => inputs.push_back(match self.fire(at).await {
                        Ok(()) => Input::Fired,
                        Err(error) => {
                            tracing::warn!(room = %self.id, %error, "a rule could not fire; it will try again");
                            Input::FireFailed
                        }
                    }),
                }
            }
        }
        if was_dirty && !self.rules[at].debounce.is_dirty() {
            self.remember_dirty(at, false).await;
        }
    }

    /// An error here costs only what a crash in the next seconds would forget.
    pub(super) async fn remember_dirty(&self, at: usize, dirty: bool) {
        let since = dirty.then(unix_millis);
        if let Err(error) = self.shared.store.set_dirty(&self.id, &self.rules[at].rule.id, since).await {
            tracing::warn!(room = %self.id, %error, "that a rule is dirty is not stored");
        }
    }

    /// Queues a run of the present text unless that text has been run, or will be.
    pub(super) async fn fire(&mut self, at: usize) -> Result<(), Error> {
        let key = self.text_key(at).await?;
        let rule = &self.rules[at].rule;
        let covered = self.queue.iter().any(|run| {
            run.rule == rule.id && (run.trigger_key == key || matches!(run.trigger_key, TriggerKey::Intent(_)))
        });
        if covered {
            return Ok(());
        }
        let run = Run::queued(rule, key, &self.last_editor, unix_millis());
        self.enqueue(run).await
    }

    /// The key of the texts that a rule matches, as they are now.
    pub(super) async fn text_key(&mut self, at: usize) -> Result<TriggerKey, Error> {
        let mut matched = Vec::new();
        for (path, node) in self.room.text_files() {
            if self.rules[at].globs.is_match(&path) {
                let hash = match self.hashes.get(&node) {
                    Some(hash) => *hash,
                    None => match self.room.text(&node).await {
                        Ok(text) => text_hash(&text),
                        // Deleted since the tree was looked at.
                        Err(buildspaces_rooms::Error::NoSuchNode) => continue,
                        Err(error) => return Err(error.into()),
                    },
                };
                self.hashes.insert(node, hash);
                matched.push((path, hash));
            }
        }
        Ok(TriggerKey::text(matched.iter().map(|(path, hash)| (path.as_str(), *hash))))
    }
}
