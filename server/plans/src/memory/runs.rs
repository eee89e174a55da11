//! A run store in memory. It forgets everything when it is dropped; clones share their contents.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::ids::{RoomId, RuleId, RunId};

use crate::log::admit;
use crate::ports::{Fetch, KEPT_RUNS, RunStore, StoreError};
use crate::rule::Rule;
use crate::run::Run;

/// See the module.
#[derive(Clone, Default, Debug)]
pub struct MemoryRuns(Arc<Mutex<State>>);

#[derive(Default, Debug)]
struct State {
    rules: Vec<(Rule, Option<UnixMillis>)>,
    /// In order of insertion.
    runs: Vec<Run>,
    /// And how much of the step's output it stands for.
    logs: HashMap<RunId, (Vec<u8>, u64)>,
    fetches: HashMap<RoomId, Fetch>,
    /// Calls that are answered with an error from now on.
    failing: u32,
}

impl MemoryRuns {
    /// The next `calls` of any method fail.
    pub fn fail(&self, calls: u32) {
        self.lock().failing = calls;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing that holds the lock panics")
    }

    fn call(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let mut state = self.lock();
        if state.failing > 0 {
            state.failing -= 1;
            return Err(StoreError::Failed("told to fail".to_owned()));
        }
        Ok(state)
    }
}

impl State {
    /// Whether another run of the rule holds the key that `run` is about to hold.
    fn is_taken(&self, run: &Run) -> bool {
        run.state.holds_key()
            && self.runs.iter().any(|other| {
                other.id != run.id
                    && other.room == run.room
                    && other.rule == run.rule
                    && other.trigger_key == run.trigger_key
                    && other.state.holds_key()
            })
    }

    /// See [`RunStore::update`].
    fn update(&mut self, run: &Run) -> bool {
        if self.is_taken(run) {
            return false;
        }
        match self.runs.iter_mut().find(|stored| stored.id == run.id && stored.rev + 1 == run.rev) {
            Some(stored) => {
                *stored = run.clone();
                true
            }
            None => false,
        }
    }

    /// Runs of the room, newest first. Of runs of the same millisecond the one inserted later is newer.
    fn newest(&self, room: &RoomId) -> Vec<&Run> {
        let mut runs: Vec<&Run> = self.runs.iter().rev().filter(|run| run.room == *room).collect();
        runs.sort_by_key(|run| std::cmp::Reverse(run.queued_at));
        runs
    }
}

#[async_trait]
impl RunStore for MemoryRuns {
    async fn rules(&self, room: &RoomId) -> Result<Vec<Rule>, StoreError> {
        let state = self.call()?;
        Ok(state.rules.iter().map(|(rule, _)| rule).filter(|rule| rule.room == *room).cloned().collect())
    }

    async fn insert_rule(&self, rule: &Rule) -> Result<(), StoreError> {
        let mut state = self.call()?;
        match state.rules.iter_mut().find(|(known, _)| known.id == rule.id) {
            Some((known, _)) => *known = rule.clone(),
            None => state.rules.push((rule.clone(), None)),
        }
        Ok(())
    }

    async fn set_dirty(&self, room: &RoomId, rule: &RuleId, since: Option<UnixMillis>) -> Result<(), StoreError> {
        let mut state = self.call()?;
        for (known, dirty) in &mut state.rules {
            if known.room == *room && known.id == *rule {
                *dirty = since;
            }
        }
        Ok(())
    }

    async fn dirty(&self) -> Result<Vec<(RoomId, RuleId)>, StoreError> {
        let state = self.call()?;
        let dirty = state.rules.iter().filter(|(_, since)| since.is_some());
        Ok(dirty.map(|(rule, _)| (rule.room.clone(), rule.id.clone())).collect())
    }

    async fn insert(&self, run: &Run, replaced: Option<&Run>) -> Result<bool, StoreError> {
        let mut state = self.call()?;
        if state.is_taken(run) {
            return Ok(false);
        }
        state.runs.push(run.clone());
        if let Some(replaced) = replaced {
            state.update(replaced);
        }
        let old: Vec<RunId> = state
            .newest(&run.room)
            .into_iter()
            .skip(KEPT_RUNS as usize)
            .filter(|run| run.state.is_final())
            .map(|run| run.id.clone())
            .collect();
        state.runs.retain(|run| !old.contains(&run.id));
        state.logs.retain(|run, _| !old.contains(run));
        Ok(true)
    }

    async fn update(&self, run: &Run) -> Result<bool, StoreError> {
        Ok(self.call()?.update(run))
    }

    async fn run(&self, room: &RoomId, run: &RunId) -> Result<Option<Run>, StoreError> {
        let state = self.call()?;
        Ok(state.runs.iter().find(|stored| stored.room == *room && stored.id == *run).cloned())
    }

    async fn runs(&self, room: &RoomId, limit: u32) -> Result<Vec<Run>, StoreError> {
        let state = self.call()?;
        Ok(state.newest(room).into_iter().take(limit as usize).cloned().collect())
    }

    async fn unfinished(&self) -> Result<Vec<Run>, StoreError> {
        let state = self.call()?;
        let mut runs: Vec<Run> = state.runs.iter().filter(|run| !run.state.is_final()).cloned().collect();
        runs.sort_by_key(|run| run.queued_at);
        Ok(runs)
    }

    async fn append_log(&self, run: &RunId, bytes: &[u8], now_seen: u64) -> Result<(), StoreError> {
        let mut state = self.call()?;
        let (log, seen) = state.logs.entry(run.clone()).or_default();
        log.extend(admit(log.len() as u64, bytes));
        *seen = now_seen;
        Ok(())
    }

    async fn log(&self, run: &RunId) -> Result<Vec<u8>, StoreError> {
        Ok(self.call()?.logs.get(run).map(|(log, _)| log.clone()).unwrap_or_default())
    }

    async fn seen(&self, run: &RunId) -> Result<u64, StoreError> {
        Ok(self.call()?.logs.get(run).map_or(0, |(_, seen)| *seen))
    }

    async fn set_fetch(&self, room: &RoomId, fetch: Option<&Fetch>) -> Result<(), StoreError> {
        let mut state = self.call()?;
        match fetch {
            Some(fetch) => state.fetches.insert(room.clone(), fetch.clone()),
            None => state.fetches.remove(room),
        };
        Ok(())
    }

    async fn fetches(&self) -> Result<Vec<(RoomId, Fetch)>, StoreError> {
        Ok(self.call()?.fetches.clone().into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_memory_store_keeps_the_contract() {
        crate::contract::run_store(&MemoryRuns::default()).await;
    }
}
