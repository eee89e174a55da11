//! Setting up new sandboxes: what the room's `devcontainer.json` wants done there runs as a run of its own, before any other run in that
//! sandbox, and once.
//!
//! A sandbox comes in two ways. Whoever executes a run asks for one first and, if that is to be set up, gives the run back
//! ([`Actor::handle_set_up_first`]); or a terminal or git made it ([`Actor::handle_made`]), and then it is set up beside them.
//! How that ends is the run's to show. What waited runs afterwards in any case: a command that fails must not make the room unusable.

use buildspaces_kernel::clock::unix_millis;
use buildspaces_kernel::ids::RunId;

use super::Actor;
use super::queue::A_NEWER_RUN;
use crate::ports::Made;
use crate::run::{Run, Transition};
use crate::trigger::TriggerKey;

/// What a room remembers of it.
#[derive(Debug, Default)]
pub(super) struct SetUp {
    /// The sandbox that was set up last, or is about to be.
    pub(super) sandbox: Option<String>,
    /// The run that waited for it. It waits once: a sandbox that dies while it is set up is not made again and again.
    pub(super) waited: Option<RunId>,
}

impl SetUp {
    /// From the room's stored runs, newest first.
    pub(super) fn of(stored: &[Run]) -> Self {
        let sandbox = stored.iter().find_map(|run| match &run.trigger_key {
            TriggerKey::Sandbox(sandbox) => Some(sandbox.clone()),
            TriggerKey::Text(_) | TriggerKey::Intent(_) => None,
        });
        Self { sandbox, waited: None }
    }
}

impl Actor {
    /// The room's sandbox came or went.
    pub(super) async fn handle_made(&mut self, made: Option<&Made>) {
        self.projection.devcontainer(made);
        if let Some(made) = made {
            self.set_up(made).await;
        }
    }

    /// The run that is executed cannot begin yet: its sandbox is to be set up first.
    pub(super) async fn handle_set_up_first(&mut self, made: &Made) {
        let Some(running) = self.running.take() else { return };
        let run = running.run;
        self.set_up.waited = Some(run.id.clone());
        let transition = match running.control.borrow().cancelled_by.clone() {
            Some(by) => Some(Transition::Cancel { by }),
            None if self.queue.iter().any(|newer| newer.rule == run.rule) => {
                Some(Transition::Supersede(A_NEWER_RUN.to_owned()))
            }
            None => None,
        };
        match transition {
            Some(transition) => {
                if let Err(error) = self.transition(run, transition).await {
                    tracing::error!(room = %self.id, %error, "the end of a run is not stored");
                }
            }
            None => {
                let after = self.queue.iter().take_while(|run| run.is_set_up()).count();
                self.queue.insert(after, run);
            }
        }
        self.set_up(made).await;
    }

    /// Queues the set-up of a sandbox that has one coming, before everything else.
    async fn set_up(&mut self, made: &Made) {
        if made.devcontainer.setup.is_empty() || self.set_up.sandbox.as_ref() == Some(&made.sandbox) {
            return;
        }
        // Told of late, by a run that had asked for it: it is gone, and the one after it may be known already.
        let is_there =
            self.shared.sandboxes.made(&self.id).borrow().as_ref().is_some_and(|now| now.sandbox == made.sandbox);
        if !is_there {
            return;
        }
        let run = Run::set_up(&self.id, &made.sandbox, unix_millis());
        if let Err(error) = self.enqueue(run).await {
            tracing::error!(room = %self.id, %error, "a sandbox is not set up");
            return;
        }
        self.set_up.sandbox = Some(made.sandbox.clone());
    }
}
