//! One step under way: follows it over as many connections as it takes, until there is a true end to report.
//!
//! The end is the agent's word or a limit that the server saw to ([`StepEvent::Exited`]) or, when the container is gone for another
//! reason, [`StepEvent::Lost`] with that reason. This file knows neither Docker (it asks a [`Container`]) nor what a step is for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use buildspaces_kernel::tasks::Tasks;
use buildspaces_plans::ports::{Exit, Step, StepEvent, StepSpec, TimeLimit};
use buildspaces_plans::secret::{SecretName, StepSecrets, Value};
use buildspaces_sandbox_agent::protocol::{Event, Frame, Key, Line, Output, Request, Secrets};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::Limits;
use crate::link::{Broken, Connection, Link};
use excess::Signs;

mod excess;

/// Events that wait for whoever follows the step. When they are so many, nothing more is read from the agent, and the program
/// waits.
#[cfg(not(test))]
const MAX_EVENTS: usize = 8;
#[cfg(test)]
const MAX_EVENTS: usize = 1;

/// How long the agent may take to answer a request that needs no work.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);

/// How long an agent may stay away while its container runs. It dials every half second.
const RECONNECT_PATIENCE: Duration = Duration::from_secs(30);

/// The same while the engine does not say whether the container runs.
const UNKNOWN_PATIENCE: Duration = Duration::from_secs(5);

/// How often the container's state is looked at while the agent is away.
const PROBE: Duration = Duration::from_millis(200);

/// After the step's own time-out, or after a cancellation: how long the agent may take to end the step (it gives the
/// program 5 s) before the container is removed.
const OVERTIME: Duration = Duration::from_secs(15);

/// Longest reason of the agent's that is passed on, in characters.
const MAX_REASON: usize = 300;

/// The container of a step or a terminal, as far as these care.
#[async_trait]
pub(crate) trait Container: Send + Sync + 'static {
    async fn state(&self) -> State;
    /// Ends it, whatever runs in it.
    async fn kill(&self);
    /// The step is over; `usable` says whether the next step may run here.
    fn released(&self, usable: bool);
    /// Somebody typed in one of its terminals.
    fn touched(&self);
    /// It was found to be gone.
    fn died(&self) {}
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum State {
    Running,
    /// With a sentence that says why.
    Gone(String),
    /// It was ended because what ran in it came to a limit; a sentence that names it.
    OverLimit(String),
    /// The engine does not answer.
    Unknown,
}

impl State {
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self, Self::Gone(_) | Self::OverLimit(_))
    }
}

/// Why a step could not be started.
#[derive(Debug)]
pub(crate) enum NotStarted {
    /// The connection broke before the agent was asked: safe to try again elsewhere.
    Unasked(String),
    /// The agent has another step under way, that nobody follows.
    Rejected(String),
    /// Nobody knows whether it was started, a sentence.
    Failed(String),
}

/// Asks the agent to start the step, which may take so long, with these variables besides the sandbox's own. On `Ok` the agent has taken it, exactly once, and nothing of it was read yet.
pub(crate) async fn start(
    connection: &mut Connection,
    key: &Key,
    step: &StepSpec,
    timeout: Duration,
    env: &BTreeMap<String, String>,
) -> Result<(), NotStarted> {
    // The connection may have been parked for long. A question without effect first, so that a broken one is found
    // out while nothing has happened yet.
    match answer(connection, &Request::List).await {
        Ok(Event::Steps { .. }) => {}
        Ok(other) => return Err(NotStarted::Failed(format!("the sandbox's agent answered {}", name_of(&other)))),
        Err(broken) => return Err(NotStarted::Unasked(broken.to_string())),
    }
    let request = Request::Start {
        key: key.clone(),
        argv: step.argv.clone(),
        cwd: "/workspace".to_owned(),
        env: env.clone(),
        timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
        secrets: secrets_of(&step.secrets),
    };
    match answer(connection, &request).await {
        Ok(Event::Started { .. }) => Ok(()),
        Ok(Event::Rejected { reason, .. }) => Err(NotStarted::Rejected(plain(&reason))),
        Ok(other) => Err(NotStarted::Failed(format!("the sandbox's agent answered {}", name_of(&other)))),
        Err(broken) => {
            Err(NotStarted::Failed(format!("the sandbox went away while the step was being started: {broken}")))
        }
    }
}

/// What the agent gives to the step itself. The proxy's are not among them.
fn secrets_of(secrets: &StepSecrets) -> Secrets {
    let map = |given: &[(SecretName, Value)]| {
        given.iter().map(|(name, value)| (name.to_string(), value.reveal().to_owned())).collect()
    };
    Secrets { env: map(&secrets.env), files: map(&secrets.files) }
}

/// Whether the agent has a step of this key, under way or ended.
pub(crate) async fn knows(connection: &mut Connection, key: &Key) -> Result<bool, Broken> {
    match answer(connection, &Request::List).await? {
        Event::Steps { steps } => Ok(steps.iter().any(|step| step.key == *key)),
        _ => Ok(false),
    }
}

/// The answer to a request, while no step is followed on this connection.
pub(crate) async fn answer(connection: &mut Connection, request: &Request) -> Result<Event, Broken> {
    connection.send(request).await?;
    let answered = async {
        loop {
            // Output can still come of a step whose follower gave up.
            if let Frame::Control(event) = connection.receive().await? {
                return Ok(event);
            }
        }
    };
    tokio::time::timeout(ANSWER_PATIENCE, answered).await.unwrap_or(Err(Broken::Stuck))
}

/// What [`follow`] needs to know.
pub(crate) struct Following {
    pub(crate) key: Key,
    pub(crate) link: Arc<Link>,
    pub(crate) container: Arc<dyn Container>,
    /// Bytes of output that were delivered before a restart.
    pub(crate) seen: u64,
    /// The step's own time-out, if it is known.
    pub(crate) timeout: Option<Duration>,
    pub(crate) limits: Limits,
    /// The id of the container's image.
    pub(crate) image: Option<String>,
}

/// Follows a step that the agent has taken, in a task of its own.
pub(crate) fn follow(tasks: &Tasks, connection: Connection, following: Following) -> Step {
    let (events, receiver) = mpsc::channel(MAX_EVENTS);
    let (cancel, cancelled) = mpsc::channel(1);
    let image = following.image.clone();
    let most = following.timeout.unwrap_or(following.limits.step);
    let limit = TimeLimit { most, key: following.limits.key("step_seconds") };
    let follower = Follower {
        seen: following.seen,
        deadline: following.timeout.map(|timeout| Instant::now() + timeout + OVERTIME),
        cancel_asked: false,
        cancel_closed: false,
        too_much: false,
        events,
        cancelled,
        following,
    };
    tasks.spawn("sandbox step", follower.run(connection));
    Step { image, limit, events: receiver, cancel }
}

struct Follower {
    following: Following,
    /// Bytes of output received, or known to be dropped.
    seen: u64,
    /// When the container is removed because the agent did not end the step.
    deadline: Option<Instant>,
    cancel_asked: bool,
    cancel_closed: bool,
    /// It printed more than it may and is being stopped.
    too_much: bool,
    events: mpsc::Sender<StepEvent>,
    cancelled: mpsc::Receiver<()>,
}

/// What ended one connection's part.
enum Outcome {
    Exited(Exit),
    /// The container is gone or of no further use.
    Ended(StepEvent),
    Broken(Broken),
}

impl Follower {
    async fn run(mut self, connection: Connection) {
        let mut connection = Some(connection);
        let end = loop {
            let mut current = match connection.take() {
                Some(current) => current,
                None => match self.reconnect().await {
                    Ok(current) => current,
                    Err(end) => break end,
                },
            };
            match self.read(&mut current).await {
                Outcome::Exited(exit) => {
                    connection = Some(current);
                    break StepEvent::Exited(exit);
                }
                Outcome::Ended(end) => break end,
                Outcome::Broken(broken) => tracing::debug!(%broken, "lost the connection to a sandbox's agent"),
            }
        };
        let usable = connection.is_some();
        if let Some(connection) = connection {
            self.following.link.park(Line::Steps, connection);
        }
        // Before the last event, so that whoever acts on it can start the next step at once.
        self.following.container.released(usable);
        let _ = self.events.send(end).await;
    }

    /// Reads one connection until the step ends or the connection does.
    async fn read(&mut self, connection: &mut Connection) -> Outcome {
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return self.overdue().await;
        }
        let attach = Request::Attach { key: self.following.key.clone(), from_offset: self.seen };
        if let Err(broken) = connection.send(&attach).await {
            return Outcome::Broken(broken);
        }
        if (self.cancel_asked || self.too_much)
            && let Err(broken) = self.send_cancel(connection).await
        {
            return Outcome::Broken(broken);
        }
        loop {
            let deadline = self.deadline.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
            let frame = tokio::select! {
                biased;
                asked = self.cancelled.recv(), if !self.cancel_closed => {
                    self.note_cancel(asked);
                    if self.cancel_asked && let Err(broken) = self.send_cancel(connection).await {
                        return Outcome::Broken(broken);
                    }
                    continue;
                }
                frame = connection.receive() => frame,
                () = tokio::time::sleep_until(deadline), if self.deadline.is_some() => return self.overdue().await,
            };
            match frame {
                Err(broken) => return Outcome::Broken(broken),
                Ok(Frame::Output(output)) if output.key == self.following.key => {
                    if let Err(broken) = self.deliver_output(output, connection).await {
                        return Outcome::Broken(broken);
                    }
                }
                Ok(Frame::Control(Event::Exited { key, exit, oom, pids, full, duration_ms }))
                    if key == self.following.key =>
                {
                    tracing::debug!(?exit, oom, pids, ?full, duration_ms, "a step ended");
                    let exit = if self.too_much && !self.cancel_asked {
                        excess::output(&self.following.limits)
                    } else {
                        excess::exit_of(exit, &Signs { oom, pids, full }, &self.following.limits)
                    };
                    return Outcome::Exited(exit);
                }
                Ok(Frame::Control(Event::Unknown { key })) if key == self.following.key => {
                    let reason = "the sandbox's agent was started anew and has forgotten the step";
                    return Outcome::Ended(StepEvent::Lost(reason.to_owned()));
                }
                // Answers to what was asked before, and news of other steps.
                Ok(_) => {}
            }
        }
    }

    async fn deliver_output(&mut self, output: Output, connection: &mut Connection) -> Result<(), Broken> {
        let Output { offset, mut bytes, .. } = output;
        if offset > self.seen {
            let dropped = offset - self.seen;
            self.seen = offset;
            self.deliver(StepEvent::Dropped(dropped), connection).await?;
        }
        // An honest agent never repeats itself; what it repeats is not passed on twice.
        let known = usize::try_from(self.seen - offset).unwrap_or(usize::MAX).min(bytes.len());
        bytes.drain(..known);
        self.seen = self.seen.saturating_add(bytes.len() as u64);
        if self.seen > self.following.limits.output && !self.too_much {
            self.too_much = true;
            self.hurry();
            self.send_cancel(connection).await?;
        }
        if bytes.is_empty() { Ok(()) } else { self.deliver(StepEvent::Output(Bytes::from(bytes)), connection).await }
    }

    /// Hands output on. Waits as long as its receiver takes, but not without listening for a cancellation.
    async fn deliver(&mut self, event: StepEvent, connection: &mut Connection) -> Result<(), Broken> {
        loop {
            let asked = tokio::select! {
                permit = self.events.reserve() => {
                    // Without a receiver the step goes on, only nobody listens.
                    if let Ok(permit) = permit {
                        permit.send(event);
                    }
                    return Ok(());
                }
                asked = self.cancelled.recv(), if !self.cancel_closed => asked,
            };
            self.note_cancel(asked);
            if self.cancel_asked {
                self.send_cancel(connection).await?;
            }
        }
    }

    fn note_cancel(&mut self, asked: Option<()>) {
        match asked {
            None => self.cancel_closed = true,
            Some(()) if !self.cancel_asked => {
                self.cancel_asked = true;
                self.hurry();
            }
            Some(()) => {}
        }
    }

    /// From now on the agent has only so long to end the step.
    fn hurry(&mut self) {
        let soon = Instant::now() + OVERTIME;
        self.deadline = Some(self.deadline.map_or(soon, |deadline| deadline.min(soon)));
    }

    async fn send_cancel(&mut self, connection: &mut Connection) -> Result<(), Broken> {
        connection.send(&Request::Cancel { key: self.following.key.clone() }).await
    }

    /// The agent did not end the step in time.
    async fn overdue(&mut self) -> Outcome {
        self.following.container.kill().await;
        // Removing the container ended every process in it, so each of them is the truth.
        let exit = match (self.cancel_asked, self.too_much) {
            (true, _) => Exit::Cancelled,
            (false, true) => excess::output(&self.following.limits),
            (false, false) => Exit::TimedOut,
        };
        Outcome::Ended(StepEvent::Exited(exit))
    }

    /// Waits for the agent to dial again. `Err` is how the step ended, as it will not.
    async fn reconnect(&mut self) -> Result<Connection, StepEvent> {
        let since = Instant::now();
        loop {
            tokio::select! {
                biased;
                connection = self.following.link.connection(Line::Steps) => return Ok(connection),
                asked = self.cancelled.recv(), if !self.cancel_closed => {
                    self.note_cancel(asked);
                    continue;
                }
                () = tokio::time::sleep(PROBE) => {}
            }
            let state = self.following.container.state().await;
            let reason = match state {
                State::Gone(reason) => return Err(StepEvent::Lost(reason)),
                // Nothing of the step is left, and it is known why.
                State::OverLimit(reason) => return Err(StepEvent::Exited(Exit::OverLimit(reason))),
                State::Running if since.elapsed() < RECONNECT_PATIENCE => continue,
                State::Unknown if since.elapsed() < UNKNOWN_PATIENCE => continue,
                State::Running => "the sandbox stopped answering, and was removed",
                State::Unknown => "the Docker engine stopped, and the sandbox with it",
            };
            self.following.container.kill().await;
            return Err(StepEvent::Lost(self.following.link.refusal().unwrap_or_else(|| reason.to_owned())));
        }
    }
}

/// The agent's words, made fit to be shown: one short line.
pub(crate) fn plain(reason: &str) -> String {
    reason.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_REASON).collect()
}

pub(crate) fn name_of(event: &Event) -> &'static str {
    match event {
        Event::Hello { .. } => "with a second hello",
        Event::Started { .. } => "that it started something else",
        Event::Rejected { .. } => "that it refused something else",
        Event::Unknown { .. } => "that it knows no such step",
        Event::Exited { .. } => "that another step ended",
        Event::Steps { .. } => "with a list of steps",
        Event::Opened { .. } | Event::Taken { .. } | Event::Ended { .. } => "for another terminal",
        Event::Finished { .. } => "that another command ended",
        Event::Ports { .. } => "with a list of ports",
        Event::Connected | Event::Unreachable { .. } => "for a tunnel",
    }
}

#[cfg(test)]
mod tests;
