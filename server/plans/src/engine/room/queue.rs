//! The room's queue of runs, and the one that is executed.

use std::sync::Arc;

use buildspaces_kernel::clock::unix_millis;
use buildspaces_kernel::ids::{RuleId, RunId};
use buildspaces_policy::Principal;
use tokio::sync::{mpsc, watch};

use super::{Actor, REPORTS, Running};
use crate::Error;
use crate::engine::execution::{Control, Execution, Report};
use crate::ports::Availability;
use crate::redact::Known;
use crate::rule::Input;
use crate::run::{Run, RunState, Transition};
use crate::trigger::TriggerKey;

/// Why a queued run was not executed.
pub(super) const A_NEWER_RUN: &str = "A newer run took its place.";

impl Actor {
    /// A run that the last process left queued or running.
    pub(super) async fn take_up(&mut self, run: Run) -> Result<(), Error> {
        match run.state {
            RunState::Running if self.running.is_none() => self.execute(run),
            RunState::Running => {
                let reason = "The server went away while this ran. Run it again.".to_owned();
                self.transition(run, Transition::Interrupt(reason)).await?;
            }
            _ => self.take_place(run),
        }
        Ok(())
    }

    pub(super) async fn run_now(&mut self, rule: Option<RuleId>, by: &Principal) -> Result<Run, Error> {
        if self.stopping.is_some() {
            return Err(Error::Stopping);
        }
        if let Availability::Off { message, hint } = &self.availability {
            return Err(Error::SandboxOff { message: message.clone(), hint: hint.clone() });
        }
        let at = match &rule {
            Some(id) => self.rules.iter().position(|state| state.rule.id == *id).ok_or(Error::NoSuchRule)?,
            None if self.rules.is_empty() => return Err(Error::NoRules),
            None => 0,
        };
        let run = Run::queued(&self.rules[at].rule, TriggerKey::intent(), by, unix_millis());
        self.enqueue(run.clone()).await?;
        // The run takes the text as it is when it starts, so what has been typed so far is covered.
        self.feed(at, Input::Fired).await;
        Ok(run)
    }

    pub(super) async fn cancel(&mut self, id: &RunId, by: &Principal) -> Result<Run, Error> {
        let by = by.name.as_ref().to_owned();
        if let Some(at) = self.queue.iter().position(|run| run.id == *id) {
            let run = self.queue[at].clone();
            let run = self.transition(run, Transition::Cancel { by }).await?;
            self.queue.remove(at);
            return Ok(run);
        }
        if let Some(running) = self.running.as_ref().filter(|running| running.run.id == *id) {
            running.control.send_modify(|control| {
                control.cancelled_by.get_or_insert(by);
            });
            return Ok(running.run.clone());
        }
        self.shared.store.run(&self.id, id).await?.ok_or(Error::NoSuchRun)
    }

    /// Stores a new run and puts it into the queue, unless its text has been run or will be. The newest queued run of a
    /// rule wins: an older one makes way for it, in the same moment for all who look.
    pub(super) async fn enqueue(&mut self, run: Run) -> Result<(), Error> {
        let older = self.queue.iter().position(|older| older.rule == run.rule);
        let reason = Transition::Supersede(A_NEWER_RUN.to_owned());
        let replaced = older.and_then(|at| self.queue[at].after(reason, unix_millis()).ok());
        if !self.shared.store.insert(&run, replaced.as_ref()).await? {
            return Ok(());
        }
        if let Some(at) = older {
            self.queue.remove(at);
        }
        if let Some(replaced) = replaced {
            self.projection.run(&replaced);
        }
        self.take_place(run);
        Ok(())
    }

    /// Puts a stored run into the queue: behind the others, but before all if it is to set up the sandbox.
    fn take_place(&mut self, run: Run) {
        self.projection.run(&run);
        if run.is_set_up() {
            self.queue.push_front(run);
        } else {
            self.queue.push_back(run);
        }
    }

    /// A transition of a run that is not executed.
    pub(super) async fn transition(&mut self, run: Run, transition: Transition) -> Result<Run, Error> {
        let next = match run.after(transition, unix_millis()) {
            Ok(next) if self.shared.store.update(&next).await? => next,
            _ => self.shared.store.run(&self.id, &run.id).await?.ok_or(Error::NoSuchRun)?,
        };
        self.projection.run(&next);
        Ok(next)
    }

    /// Starts the oldest queued run if nothing runs.
    pub(super) fn start_next(&mut self) {
        if self.running.is_none()
            && self.stopping.is_none()
            && self.is_available()
            && let Some(run) = self.queue.pop_front()
        {
            self.execute(run);
        }
    }

    pub(super) fn execute(&mut self, run: Run) {
        let (control, wanted) = watch::channel(Control::default());
        let (sender, reports) = mpsc::channel(REPORTS);
        let rule = self.rules.iter().find(|state| state.rule.id == run.rule);
        let (globs, names) = rule.map(|state| (state.globs.clone(), state.rule.secrets.clone())).unzip();
        let execution = Execution {
            shared: Arc::clone(&self.shared),
            room: self.id.clone(),
            globs,
            names: names.unwrap_or_default(),
            set_up: self.set_up.sandbox.clone(),
            may_wait: self.set_up.waited.as_ref() != Some(&run.id),
            known: Known::default(),
            control: wanted,
            reports: sender,
            progress: self.progress.clone(),
        };
        let task = run.clone();
        self.shared.tasks.spawn("run", async move {
            if task.state == RunState::Running {
                execution.resume(task).await;
            } else {
                execution.start(task).await;
            }
        });
        self.running = Some(Running { run, control, reports });
    }

    pub(super) async fn handle_report(&mut self, report: Option<Report>) {
        let Some(running) = &mut self.running else { return };
        match report {
            Some(Report::Changed(run)) => {
                self.projection.run(&run);
                running.run = *run;
                if running.run.state.is_final() {
                    self.running = None;
                }
            }
            Some(Report::Tail(text)) => self.projection.tail(&running.run.id, text),
            Some(Report::SetUpFirst(made)) => self.handle_set_up_first(&made).await,
            None => {
                let run = running.run.clone();
                self.running = None;
                self.handle_silent_end(run).await;
            }
        }
    }

    /// An execution ended without a final report: the server stops, or it failed.
    pub(super) async fn handle_silent_end(&mut self, run: Run) {
        if self.stopping.is_some() {
            return;
        }
        let reason = "The server failed while it ran this. Run it again.".to_owned();
        let transition = match run.state {
            RunState::Running => Transition::Interrupt(reason),
            _ => Transition::Fail(reason),
        };
        if let Err(error) = self.transition(run, transition).await {
            tracing::error!(room = %self.id, %error, "the end of a run is not stored");
        }
    }
}
