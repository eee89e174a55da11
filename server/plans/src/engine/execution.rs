//! The execution of one run, in a task of its own: freeze, detect, start, follow to the end, absorb.
//!
//! It alone writes the run's row while it lives, each transition in one transaction under the revision it was computed
//! from, and reports to the room's task, which shows it. It decides nothing about other runs. Start with
//! [`Execution::start`]; after a restart [`Execution::resume`] joins in the middle.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use buildspaces_kernel::clock::unix_millis;
use buildspaces_kernel::ids::RoomId;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};
use tracing::Instrument as _;

use super::Shared;
use super::output::{OUTPUT_EVERY, Output};
use crate::ports::{
    Availability, Exit, Frozen, Made, Phase, Progress, SandboxError, Step, StepEvent, StepSpec, TimeLimit,
};
use crate::redact::{Known, Redactor};
use crate::rule::Globs;
use crate::run::{Run, Transition};
use crate::secret::{SecretName, StepSecrets};
use crate::secrets::Granted;
use crate::skill::{self, Command, Workspace};
use crate::trigger::{TriggerKey, content_hash};

mod set_up;

/// How long after a time-out or a cancel the sandbox may take to say that the step has ended.
const END_GRACE: Duration = Duration::from_secs(30);
/// How long a workspace may take to show what the step wrote. The result does not wait for longer.
const ABSORB_PATIENCE: Duration = Duration::from_secs(60);
/// Wait before a transition that could not be stored is tried again.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// A sandbox that does not come.
const TOO_SLOW: &str = "The sandbox did not start in time. Is the machine overloaded? Try again.";

/// What the room's task wants of an execution.
#[derive(Clone, Default, Debug)]
pub(super) struct Control {
    /// The name of who cancelled.
    pub(super) cancelled_by: Option<String>,
    /// The server is stopping.
    pub(super) stop: bool,
}

/// What an execution tells the room's task. The last report is a run in a final state.
#[derive(Debug)]
pub(super) enum Report {
    /// The run after a stored transition.
    Changed(Box<Run>),
    /// The last lines of its output.
    Tail(String),
    /// It did not begin: this sandbox is to be set up before. It is the last report.
    SetUpFirst(Arc<Made>),
}

/// Everything one execution needs.
pub(super) struct Execution {
    pub(super) shared: Arc<Shared>,
    pub(super) room: RoomId,
    /// The rule's; `None` if the rule is gone.
    pub(super) globs: Option<Globs>,
    /// The secrets that the rule names.
    pub(super) names: Vec<SecretName>,
    /// The sandbox that was set up last.
    pub(super) set_up: Option<String>,
    /// Whether it may be given back once more, because a sandbox is to be set up first.
    pub(super) may_wait: bool,
    /// What must not be said of this run.
    pub(super) known: Known,
    pub(super) control: watch::Receiver<Control>,
    pub(super) reports: mpsc::Sender<Report>,
    pub(super) progress: Progress,
}

/// How the following of a step ended.
enum End {
    Exited(Exit),
    Lost(String),
    Stopped,
    /// The room's task is gone; the row stays as it is and the next task resumes the run.
    Abandoned,
}

/// What a run begins with.
struct Beginning {
    trigger_key: TriggerKey,
    content_hash: String,
    command: Command,
    secrets: StepSecrets,
    guard: Option<Box<dyn std::any::Any + Send + Sync>>,
}

impl Execution {
    /// Executes a queued run.
    pub(super) async fn start(mut self, run: Run) {
        if run.is_set_up() {
            return self.start_set_up(run).await;
        }
        if self.may_wait && self.waits(&run).await {
            return;
        }
        let Some(globs) = self.globs.take() else {
            return self.end(&run, Transition::Fail("The rule of this run is gone.".to_owned())).await;
        };
        let step = tracing::trace_span!(target: "keystroke", "start");
        let frozen = match self.shared.sandboxes.freeze(&self.room).instrument(step).await {
            Ok(frozen) => frozen,
            Err(error) => return self.end(&run, Transition::Fail(in_words(&error))).await,
        };
        let Frozen { files, guard } = frozen;
        let command = self.detect(&run, &files, &globs).await;
        if self.is_called_off(&run).await {
            return;
        }
        let command = match command {
            Ok(command) => command,
            Err(sentence) => return self.end(&run, Transition::Fail(sentence)).await,
        };
        let granted = self.shared.secrets.for_step(&self.room, &self.names, &run.skill).await;
        let Granted { secrets, known } = match granted {
            Ok(granted) => granted,
            Err(sentence) => return self.end(&run, Transition::Fail(sentence)).await,
        };
        self.known = known;

        let matched = files.iter().filter(|(path, _)| globs.is_match(path));
        let trigger_key = match &run.trigger_key {
            TriggerKey::Text(_) => TriggerKey::text(matched.map(|(path, hash)| (path.as_str(), *hash))),
            other @ (TriggerKey::Intent(_) | TriggerKey::Sandbox(_)) => other.clone(),
        };
        let content_hash = content_hash(files.iter().map(|(path, hash)| (path.as_str(), *hash)));
        self.begin(run, Beginning { trigger_key, content_hash, command, secrets, guard: Some(guard) }).await;
    }

    /// Whether somebody cancelled the run before it began, or the server is stopping; then nothing is left to do.
    async fn is_called_off(&mut self, run: &Run) -> bool {
        if self.control.borrow().stop {
            // It has not started, so it stays queued for the next start of the server.
            return true;
        }
        let cancelled_by = self.control.borrow().cancelled_by.clone();
        let Some(by) = cancelled_by else { return false };
        self.end(run, Transition::Cancel { by }).await;
        true
    }

    /// Starts the run's step and follows it to its end.
    async fn begin(mut self, run: Run, beginning: Beginning) {
        let Beginning { trigger_key, content_hash, command, secrets, guard } = beginning;
        let Command { argv, label } = command;
        let start = Transition::Start { trigger_key, content_hash, command: label, argv: argv.clone() };
        let run = match self.store(&run, start).await {
            Stored::Yes(running) => *running,
            Stored::KeyTaken => {
                let reason = "This text has been run already; its result stands below.".to_owned();
                return self.end(&run, Transition::Supersede(reason)).await;
            }
            Stored::No => return,
        };
        metrics::histogram!("buildspaces_run_queue_seconds").record(seconds(run.queued_at, run.started_at));
        self.report(Report::Changed(Box::new(run.clone()))).await;

        self.shared.secrets.used(&self.room, &self.names, unix_millis()).await;
        // A set-up is one sandbox's. If that dies now, the next one announces itself and has its own.
        let sandbox = match &run.trigger_key {
            TriggerKey::Sandbox(sandbox) => Some(sandbox.clone()),
            TriggerKey::Text(_) | TriggerKey::Intent(_) => None,
        };
        let spec = StepSpec { key: run.step().key.clone(), argv, timeout: None, secrets, sandbox };
        let started = {
            let starting = self.shared.sandboxes.start(&self.room, spec, self.progress.clone());
            tokio::select! {
                started = timeout(self.shared.config.sandbox_patience, starting) => Some(started),
                // A cancel waits: only a step that has started can be stopped for certain.
                () = stopped(&mut self.control) => None,
            }
        };
        let step = match started {
            Some(Ok(Ok(step))) => step,
            Some(Ok(Err(error))) => return self.end(&run, Transition::Fail(in_words(&error))).await,
            Some(Err(_)) => {
                return self.end(&run, Transition::Fail(TOO_SLOW.to_owned())).await;
            }
            None => return self.end(&run, stop_transition()).await,
        };
        let output = Output::continued(&run, &[], Redactor::new(&self.known));
        self.follow(run, step, Duration::ZERO, output, guard).await;
    }

    /// Joins a run that was running when the server went away.
    pub(super) async fn resume(mut self, run: Run) {
        let key = run.step().key.clone();
        // What cannot be read is shown anew from the beginning: twice is better than never.
        let log = self.shared.store.log(&run.id).await.unwrap_or_default();
        let seen = self.shared.store.seen(&run.id).await.unwrap_or_default();
        let since = run.started_at.unwrap_or_default();
        let granted = self.shared.secrets.for_step_since(&self.room, &self.names, &run.skill, since).await;
        let (Granted { secrets, known }, unreadable) = match granted {
            Ok(granted) => (granted, None),
            Err(sentence) => (Granted::default(), Some(sentence)),
        };
        self.known = known;
        // A value that began before what was shown is only known as a whole.
        let from = seen.saturating_sub(self.known.span());
        let output = Output::continued(&run, &log, Redactor::resumed(&self.known, from, seen));
        let deadline = Instant::now() + self.shared.config.sandbox_patience;
        let mut availability = self.shared.sandboxes.availability();
        let reason = loop {
            match self.shared.sandboxes.resume(&self.room, &key, from, secrets.clone()).await {
                Ok(Some(step)) => {
                    if let Some(sentence) = &unreadable {
                        // It goes on printing what nobody here could mask.
                        let _ = step.cancel.try_send(());
                        break format!("it was stopped, because its output could not be masked. {sentence}");
                    }
                    self.progress.enter(Phase::Ready);
                    let elapsed = unix_millis().saturating_sub(run.started_at.unwrap_or_default());
                    let elapsed = Duration::from_millis(u64::try_from(elapsed).unwrap_or(0));
                    return self.follow(run, step, elapsed, output, None).await;
                }
                Ok(None) => break "its sandbox is gone".to_owned(),
                Err(SandboxError::Failed(reason)) => break reason,
                Err(SandboxError::Off { message, .. }) => {
                    // The engine may only be slower to come back than the server.
                    let ready = availability.wait_for(|now| *now == Availability::Ready);
                    tokio::select! {
                        ready = ready => if ready.is_err() { break message },
                        () = sleep_until(deadline) => break message,
                        () = stopped(&mut self.control) => return,
                    }
                }
            }
        };
        let sentence = format!(
            "The server went away while this ran, and how it ended is not known: {}. Run it again.",
            reason.trim_end_matches('.')
        );
        self.end(&run, Transition::Interrupt(sentence)).await;
    }

    /// Stores and reports output until the step ends, which has run for `elapsed`, then the end.
    async fn follow(
        &mut self,
        mut run: Run,
        mut step: Step,
        elapsed: Duration,
        mut output: Output,
        guard: Option<Box<dyn std::any::Any + Send + Sync>>,
    ) {
        if run.is_set_up() {
            self.progress.enter(Phase::SettingUp);
        }
        // It is stored with the run's end.
        run.image = step.image.take();
        let mut give_up = Instant::now() + step.limit.most.saturating_sub(elapsed) + END_GRACE;
        let mut every = interval(OUTPUT_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut cancel_sent = false;
        // What was asked while the step started is looked at first.
        self.control.mark_changed();
        let end = loop {
            tokio::select! {
                changed = self.control.changed() => {
                    if changed.is_err() {
                        break End::Abandoned;
                    }
                    let control = self.control.borrow_and_update().clone();
                    if control.stop {
                        break End::Stopped;
                    }
                    if control.cancelled_by.is_some() && !cancel_sent {
                        cancel_sent = true;
                        give_up = Instant::now() + END_GRACE;
                        // A full channel holds a cancel already, a closed one belongs to a step that has ended.
                        let _ = step.cancel.try_send(());
                    }
                }
                event = step.events.recv() => match event {
                    Some(StepEvent::Output(bytes)) => {
                        output.push(&bytes);
                        if output.is_full() {
                            output.store(&self.shared).await;
                        }
                    }
                    Some(StepEvent::Dropped(bytes)) => output.gap(bytes),
                    Some(StepEvent::Exited(exit)) => break End::Exited(exit),
                    Some(StepEvent::Lost(reason)) => break End::Lost(reason),
                    None => break End::Lost("the sandbox stopped reporting".to_owned()),
                },
                _ = every.tick(), if output.is_new => {
                    output.store(&self.shared).await;
                    self.report(Report::Tail(output.show())).await;
                }
                () = sleep_until(give_up) => {
                    let _ = step.cancel.try_send(());
                    break End::Lost("the sandbox did not say in time that the step had ended".to_owned());
                }
            }
        };
        // Whoever resumes the run begins with what is held back.
        if !matches!(end, End::Abandoned) {
            output.end(matches!(&end, End::Exited(exit) if says_all(exit)));
        }
        output.store(&self.shared).await;
        if output.is_new {
            self.report(Report::Tail(output.show())).await;
        }
        let transition = match end {
            End::Abandoned => return,
            End::Stopped => stop_transition(),
            End::Lost(reason) => Transition::Interrupt(format!(
                "How this ended is not known: {}. Run it again.",
                reason.trim_end_matches('.')
            )),
            End::Exited(exit) => {
                let cancelled_by = self.control.borrow().cancelled_by.clone();
                match (exit, cancelled_by) {
                    (Exit::Cancelled | Exit::Signal(_), Some(by)) => Transition::Cancel { by },
                    (Exit::TimedOut, _) => Transition::Exited(Exit::OverLimit(took_too_long(&step.limit))),
                    (exit, _) => Transition::Exited(exit),
                }
            }
        };
        drop(guard);
        self.progress.leave(Phase::SettingUp, Phase::Ready);
        if matches!(transition, Transition::Exited(_) | Transition::Cancel { .. }) {
            self.absorb().await;
        }
        self.end(&run, transition).await;
    }

    /// The files that the step wrote are shown before its result is.
    async fn absorb(&self) {
        match timeout(ABSORB_PATIENCE, self.shared.sandboxes.absorb(&self.room)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(room = %self.room, %error, "what a step wrote is not all shown"),
            Err(_) => tracing::warn!(room = %self.room, "what a step wrote is not shown yet"),
        }
    }

    /// The command for the frozen files, or a sentence.
    async fn detect(&self, run: &Run, files: &[(String, [u8; 32])], globs: &Globs) -> Result<Command, String> {
        let skill = skill::find(&run.skill)
            .ok_or_else(|| format!("This server does not know the skill {}, so it cannot run this.", run.skill))?;
        let mut paths: Vec<String> = files.iter().map(|(path, _)| path.clone()).collect();
        paths.sort_unstable();
        let mut contents = Vec::new();
        for &name in skill::READ {
            if paths.iter().any(|path| path == name) {
                contents.extend(self.read(name).await.map(|content| (name, content)));
            }
        }
        let read = |name: &str| contents.iter().find(|(known, _)| *known == name).map(|(_, text)| text.clone());
        (skill.detect)(&Workspace { paths: &paths, read: &read, globs })
    }

    /// A small file of the frozen workspace; `None` if it is too large, not text, or gone.
    async fn read(&self, path: &str) -> Option<String> {
        let file = self.shared.sandboxes.open(&self.room, path).await.ok()?;
        tokio::task::spawn_blocking(move || {
            let mut text = String::new();
            file.take(skill::MAX_READ_BYTES + 1).read_to_string(&mut text).ok()?;
            (text.len() as u64 <= skill::MAX_READ_BYTES).then_some(text)
        })
        .await
        .ok()?
    }

    /// Stores and reports the run's last transition.
    async fn end(&mut self, run: &Run, transition: Transition) {
        // Nobody waits any more for a sandbox that did not come, or was not wanted after all.
        self.progress.give_up();
        let transition = masked(transition, &self.known);
        if let Stored::Yes(run) = self.store(run, transition).await {
            metrics::counter!("buildspaces_runs_finished_total", "state" => run.state.as_str()).increment(1);
            if run.started_at.is_some() {
                metrics::histogram!("buildspaces_run_seconds")
                    .record(seconds(run.started_at.unwrap_or_default(), run.finished_at));
            }
            tracing::info!(room = %run.room, run = %run.id, state = run.state.as_str(), "a run has ended");
            self.report(Report::Changed(run)).await;
        }
    }

    /// One transition in one transaction, tried until the store answers or the room's task is gone.
    async fn store(&mut self, run: &Run, transition: Transition) -> Stored {
        let next = match run.after(transition, unix_millis()) {
            Ok(next) => next,
            Err(error) => {
                tracing::error!(run = %run.id, %error, "a transition that does not exist");
                return Stored::No;
            }
        };
        loop {
            match self.shared.store.update(&next).await {
                Ok(true) => return Stored::Yes(Box::new(next)),
                Ok(false) => break,
                Err(error) => tracing::error!(run = %run.id, %error, "a transition is not stored yet"),
            }
            if self.control.has_changed().is_err() || self.shared.tasks.is_cancelled() {
                return Stored::No;
            }
            sleep(STORE_RETRY).await;
        }
        match self.shared.store.run(&run.room, &run.id).await {
            Ok(Some(stored)) if stored.rev == run.rev => Stored::KeyTaken,
            // An update whose answer was an error may have been carried out after all.
            Ok(Some(stored)) if stored == next => Stored::Yes(Box::new(next)),
            Ok(Some(stored)) => {
                tracing::warn!(run = %run.id, rev = stored.rev, "somebody else changed this run");
                if stored.state.is_final() {
                    self.report(Report::Changed(Box::new(stored))).await;
                }
                Stored::No
            }
            Ok(None) => Stored::No,
            Err(error) => {
                tracing::error!(run = %run.id, %error, "a run cannot be read");
                Stored::No
            }
        }
    }

    /// The room's task may be gone; then nobody is interested.
    async fn report(&self, report: Report) {
        let _ = self.reports.send(report).await;
    }
}

/// What became of a transition.
enum Stored {
    Yes(Box<Run>),
    /// Another run of the rule holds the new trigger key.
    KeyTaken,
    /// Somebody else wrote the run, or nobody can.
    No,
}

/// Completes when the server stops; never when the room's task is gone, which is seen elsewhere.
async fn stopped(control: &mut watch::Receiver<Control>) {
    if control.wait_for(|control| control.stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Whether the program came to the end of what it wanted to print, as far as anybody can tell.
fn says_all(exit: &Exit) -> bool {
    match exit {
        Exit::Code(_) | Exit::Signal(_) | Exit::NotStarted(_) | Exit::OutOfMemory => true,
        Exit::TimedOut | Exit::Cancelled | Exit::OverLimit(_) => false,
    }
}

/// Reasons come from the sandbox, too.
fn masked(transition: Transition, known: &Known) -> Transition {
    let exit = |exit| match exit {
        Exit::NotStarted(reason) => Exit::NotStarted(known.redact(&reason)),
        Exit::OverLimit(sentence) => Exit::OverLimit(known.redact(&sentence)),
        exit => exit,
    };
    match transition {
        Transition::Exited(end) => Transition::Exited(exit(end)),
        Transition::Interrupt(sentence) => Transition::Interrupt(known.redact(&sentence)),
        Transition::Fail(sentence) => Transition::Fail(known.redact(&sentence)),
        transition => transition,
    }
}

fn stop_transition() -> Transition {
    Transition::Interrupt("The server was stopped while this ran. Run it again.".to_owned())
}

fn took_too_long(limit: &TimeLimit) -> String {
    format!(
        "The program ran for more than {} s, the longest a step may take here ({}), and was stopped. Look for \
         something that waits for ever.",
        limit.most.as_secs(),
        limit.key
    )
}

fn in_words(error: &SandboxError) -> String {
    match error {
        SandboxError::Off { message, hint } => format!("{message} {hint}"),
        SandboxError::Failed(reason) => format!("The sandbox failed: {reason}"),
    }
}

fn seconds(from: i64, to: Option<i64>) -> f64 {
    Duration::from_millis(u64::try_from(to.unwrap_or(from).saturating_sub(from)).unwrap_or(0)).as_secs_f64()
}
