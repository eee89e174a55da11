//! The task of one terminal: it starts the shell, carries what is printed into the display and what the holder of the
//! keyboard types to the shell, lets viewers come and go, and has what is shown recorded. All decisions are [`Terminal`]'s. Read [`Actor::live`] first.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use buildspaces_kernel::ids::RoomId;
use buildspaces_policy::{Authority, Principal};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::{Attached, INPUTS, MAX_VIEWERS, Said, Seen, Shared, Summary, View};
use crate::Error;
use crate::ports::{
    MAX_TYPED, Progress, SandboxError, Start, TerminalCommand, TerminalEnd, TerminalEvent, TerminalLine, TerminalSpec,
};
use crate::recording;
use crate::recordings::{Recorder, Source};
use crate::terminal::display::Display;
use crate::terminal::filter::{Filter, Piece};
use crate::terminal::{Input, State, Terminal, ViewerId};

/// What was typed and waits for the shell, in bytes. What is typed beyond that is lost, and whoever typed it is told.
const MAX_WAITING: usize = 256 << 10;

/// How long a terminal that has ended stays when nobody looks at it.
const LINGER: Duration = Duration::from_secs(900);

/// How long a closed terminal's processes may take to be gone.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);

/// What others ask of a terminal.
pub(super) enum Command {
    Attach { who: Authority, from: Option<u64>, reply: oneshot::Sender<Result<Attached, Error>> },
    Close { by: Principal, reply: oneshot::Sender<()> },
    Record { on: bool, reply: oneshot::Sender<()> },
}

type Opening = Pin<Box<dyn Future<Output = Result<TerminalLine, SandboxError>> + Send>>;

pub(super) struct Actor {
    shared: Arc<Shared>,
    room: RoomId,
    /// As it was opened.
    opened: Summary,
    terminal: Terminal,
    display: Display,
    filter: Filter,
    mailbox: mpsc::Receiver<Command>,
    viewers: Vec<(ViewerId, mpsc::Receiver<Said>)>,
    next_viewer: u64,
    view: watch::Sender<Arc<View>>,
    start: watch::Receiver<Start>,
    opening: Option<Opening>,
    line: Option<TerminalLine>,
    /// What waits for the shell, and how many bytes of it were typed.
    waiting: VecDeque<TerminalCommand>,
    waiting_bytes: usize,
    /// Since when it has ended and nobody looks at it.
    forgotten_since: Option<Instant>,
    /// What is shown is to be recorded, from the start of the shell on; false again when that has ended by itself.
    recorded: bool,
    recorder: Option<Recorder>,
}

/// One thing that happened.
enum Happened {
    Asked(Option<Command>),
    Said(ViewerId, Option<Said>),
    Opened(Result<TerminalLine, SandboxError>),
    Printed(Option<TerminalEvent>),
    /// What waited first is on its way.
    Sent,
    Phase,
    /// The recording has ended by itself.
    RecordingEnded,
    Due,
    Stopping,
}

impl Actor {
    pub(super) fn new(
        shared: Arc<Shared>,
        room: RoomId,
        opened: Summary,
        terminal: Terminal,
        mailbox: mpsc::Receiver<Command>,
    ) -> Self {
        let progress = Progress::default();
        let start = progress.watch();
        let opening: Opening = {
            let (sandboxes, room) = (shared.sandboxes.clone(), room.clone());
            let spec = TerminalSpec { key: format!("terminal/{}", opened.id), size: terminal.size() };
            Box::pin(async move { sandboxes.open_terminal(&room, spec, progress).await })
        };
        Self {
            view: watch::Sender::new(Arc::new(view_of(&terminal, opened.recorded))),
            display: Display::new(terminal.size()),
            shared,
            room,
            terminal,
            filter: Filter::default(),
            mailbox,
            viewers: Vec::new(),
            next_viewer: 1,
            start,
            opening: Some(opening),
            line: None,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            forgotten_since: None,
            recorded: opened.recorded,
            recorder: None,
            opened,
        }
    }

    /// Until the terminal is closed, or ended and forgotten, or the server stops.
    pub(super) async fn live(mut self) {
        loop {
            let happened = self.next().await;
            let goes_on = match happened {
                Happened::Asked(Some(Command::Attach { who, from, reply })) => self.attach(&who, from, reply),
                Happened::Asked(Some(Command::Close { by, reply })) => {
                    self.end_closed(&by).await;
                    let _ = reply.send(());
                    return;
                }
                Happened::Asked(Some(Command::Record { on, reply })) => {
                    let goes_on = self.record(on);
                    let _ = reply.send(());
                    goes_on
                }
                // Taken from the list to make place.
                Happened::Asked(None) | Happened::Stopping => return,
                Happened::Said(viewer, said) => self.handle(viewer, said),
                Happened::Opened(opened) => self.opened(opened),
                Happened::Printed(event) => self.printed(event),
                Happened::Sent => true,
                Happened::Phase => self.show_phase(),
                Happened::RecordingEnded => {
                    (self.recorder, self.recorded) = (None, false);
                    self.publish()
                }
                Happened::Due => self.due(),
            };
            if !goes_on {
                self.shared.remove(&self.room, &self.opened.id);
                return;
            }
        }
    }

    async fn next(&mut self) -> Happened {
        let now = now();
        let may_read = self.terminal.may_read(now);
        let linger = self.forgotten_since.map(|since| since + LINGER);
        let deadline = [self.terminal.deadline(), may_read.err()].into_iter().flatten().map(Instant::from_std);
        let deadline = deadline.chain(linger).min();
        let Self { shared, mailbox, viewers, start, opening, line, waiting, waiting_bytes, recorder, .. } = self;
        let (events, commands) = match line {
            Some(line) => (Some(&mut line.events), Some(&line.commands)),
            None => (None, None),
        };
        tokio::select! {
            command = mailbox.recv() => Happened::Asked(command),
            (viewer, said) = next_said(viewers) => Happened::Said(viewer, said),
            opened = async { opening.as_mut().expect("asked for only then").await }, if opening.is_some() => {
                *opening = None;
                Happened::Opened(opened)
            }
            event = async { events.expect("asked for only then").recv().await },
                if commands.is_some() && may_read.is_ok() => Happened::Printed(event),
            permit = async { commands.expect("asked for only then").reserve().await },
                if commands.is_some() && !waiting.is_empty() => {
                // A closed channel means that the end of the terminal is about to be read.
                if let (Ok(permit), Some(command)) = (permit, waiting.pop_front()) {
                    if let TerminalCommand::Input(bytes) = &command {
                        *waiting_bytes -= bytes.len();
                    }
                    permit.send(command);
                }
                Happened::Sent
            }
            Ok(()) = start.changed(), if opening.is_some() => Happened::Phase,
            () = async { recorder.as_mut().expect("asked for only then").ended().await }, if recorder.is_some() => {
                Happened::RecordingEnded
            }
            () = at(deadline) => Happened::Due,
            () = shared.tasks.cancelled() => Happened::Stopping,
        }
    }

    fn attach(&mut self, who: &Authority, from: Option<u64>, reply: oneshot::Sender<Result<Attached, Error>>) -> bool {
        if self.viewers.len() >= MAX_VIEWERS {
            let _ = reply.send(Err(Error::TooManyViewers));
            return true;
        }
        let id = ViewerId(self.next_viewer);
        self.next_viewer += 1;
        let (says, said) = mpsc::channel(INPUTS);
        let from = from.filter(|from| self.display.has(*from)).unwrap_or(0);
        let shown = if self.display.has(from) { from } else { self.display.end() };
        let attached = Attached { id, says, view: self.view.subscribe(), display: self.display.clone(), from };
        if reply.send(Ok(attached)).is_err() {
            return true;
        }
        self.viewers.push((id, said));
        self.forgotten_since = None;
        self.feed(Input::Joined { viewer: id, who: who.clone(), shown })
    }

    fn handle(&mut self, viewer: ViewerId, said: Option<Said>) -> bool {
        let Some(said) = said else {
            self.viewers.retain(|(id, _)| *id != viewer);
            let ended = matches!(self.terminal.state(), State::Ended(_));
            self.forgotten_since = (ended && self.viewers.is_empty()).then(Instant::now);
            return self.feed(Input::Left(viewer));
        };
        let input = match said {
            Said::Typed(bytes) => {
                // What somebody types who does not hold the keyboard (any more) is no error: they may not know it yet.
                if !self.terminal.may_type(viewer) {
                    return true;
                }
                let lost = self.type_in(bytes);
                if lost == 0 {
                    return true;
                }
                Input::Cut { viewer, bytes: lost as u64 }
            }
            Said::Room(size) => Input::Room { viewer, size },
            Said::Shown(offset) => Input::Shown { viewer, offset },
            Said::Ask => Input::Ask(viewer),
            Said::Withdraw => Input::Withdraw(viewer),
            Said::Give(to) => Input::Give { from: viewer, to },
            Said::Decline(to) => Input::Decline { from: viewer, to },
            Said::Take => Input::Take(viewer),
        };
        self.feed(input)
    }

    /// Returns how many bytes there was no place for.
    fn type_in(&mut self, mut bytes: Bytes) -> usize {
        let fits = MAX_WAITING.saturating_sub(self.waiting_bytes).min(bytes.len());
        let lost = bytes.split_off(fits).len();
        self.waiting_bytes += bytes.len();
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(MAX_TYPED));
            self.waiting.push_back(TerminalCommand::Input(piece));
        }
        lost
    }

    fn opened(&mut self, opened: Result<TerminalLine, SandboxError>) -> bool {
        let state = match opened {
            Ok(line) => {
                self.line = Some(line);
                // It may have changed meanwhile.
                self.waiting.push_back(TerminalCommand::Resize(self.terminal.size()));
                self.begin_recording();
                State::Running
            }
            Err(SandboxError::Off { message, hint }) => State::Ended(format!("{message} {hint}")),
            Err(SandboxError::Failed(reason)) => State::Ended(sentence(&reason)),
        };
        if matches!(state, State::Ended(_)) {
            self.end_recording(recording::State::Complete);
        }
        self.feed(Input::Became(state))
    }

    fn printed(&mut self, event: Option<TerminalEvent>) -> bool {
        let end = match event {
            Some(TerminalEvent::Output(bytes)) => return self.show(&bytes),
            Some(TerminalEvent::Dropped(bytes)) => {
                let note = format!("\r\n\x1b[0;2m[{bytes} bytes were too many to keep]\x1b[0m\r\n");
                return self.show(note.as_bytes());
            }
            Some(TerminalEvent::Ended(end)) => end,
            None => TerminalEnd::Lost("the sandbox stopped reporting".to_owned()),
        };
        self.line = None;
        self.waiting.clear();
        self.waiting_bytes = 0;
        let message = match end {
            TerminalEnd::Exited(0) => "The shell has ended.".to_owned(),
            TerminalEnd::Exited(code) => format!("The shell has ended with exit code {code}."),
            TerminalEnd::Closed => "The terminal was closed.".to_owned(),
            TerminalEnd::Lost(reason) => sentence(&reason),
        };
        if self.viewers.is_empty() {
            self.forgotten_since = Some(Instant::now());
        }
        self.end_recording(recording::State::Complete);
        self.feed(Input::Became(State::Ended(message)))
    }

    fn show(&mut self, bytes: &[u8]) -> bool {
        for piece in self.filter.push(bytes) {
            match piece {
                Piece::Shown(bytes) => {
                    let len = bytes.len() as u64;
                    self.display.write(bytes);
                    self.terminal.handle(now(), Input::Printed(len));
                }
                Piece::Asked(question) => {
                    // If there is no place, the program does without an answer, as on a line that is cut.
                    self.type_in(question.answer(self.display.cursor()));
                }
            }
        }
        true
    }

    fn record(&mut self, on: bool) -> bool {
        if !on {
            self.end_recording(recording::State::Stopped);
        } else if !matches!(self.terminal.state(), State::Ended(_)) {
            self.recorded = true;
            self.begin_recording();
        }
        self.publish()
    }

    /// If it is to be, and not yet, and there is a shell.
    fn begin_recording(&mut self) {
        if self.recorded && self.recorder.is_none() && self.line.is_some() {
            let source = Source {
                room: &self.room,
                terminal: &self.opened,
                display: &self.display,
                view: self.view.subscribe(),
                size: self.terminal.size(),
            };
            self.recorder = self.shared.recordings.begin(source);
        }
    }

    fn end_recording(&mut self, why: recording::State) {
        self.recorded = false;
        if let Some(recorder) = self.recorder.take() {
            recorder.end(self.display.end(), why);
        }
    }

    fn show_phase(&mut self) -> bool {
        let start = self.start.borrow_and_update().clone();
        self.feed(Input::Became(State::Starting(start)))
    }

    fn due(&mut self) -> bool {
        if self.forgotten_since.is_some_and(|since| since.elapsed() >= LINGER) {
            return false;
        }
        self.feed(Input::Elapsed)
    }

    /// Hands an input to the terminal and performs what follows. False if it is not in the list any more.
    fn feed(&mut self, input: Input) -> bool {
        let effects = self.terminal.handle(now(), input);
        if let Some(size) = effects.resize {
            self.display.resize(size);
            self.waiting.retain(|command| !matches!(command, TerminalCommand::Resize(_)));
            if self.line.is_some() {
                self.waiting.push_back(TerminalCommand::Resize(size));
            }
        }
        if effects.changed { self.publish() } else { true }
    }

    /// Shows how it is now. False if it is not in the list any more.
    fn publish(&mut self) -> bool {
        let view = view_of(&self.terminal, self.recorded);
        self.view.send_if_modified(|before| {
            let changed = **before != view;
            *before = Arc::new(view);
            changed
        });
        self.shared.update(&self.room, &self.opened.id, &self.terminal, self.recorded)
    }

    /// Closes it, and returns when nothing of it is left.
    async fn end_closed(mut self, by: &Principal) {
        self.shared.remove(&self.room, &self.opened.id);
        self.end_recording(recording::State::Complete);
        self.feed(Input::Became(State::Ended(format!("{} closed this terminal.", by.name))));
        // Dropping it closes a terminal that is about to be opened.
        self.opening = None;
        let Some(mut line) = self.line.take() else { return };
        let closing = async {
            if line.commands.send(TerminalCommand::Close).await.is_ok() {
                while line.events.recv().await.is_some() {}
            }
        };
        if tokio::time::timeout(CLOSE_PATIENCE, closing).await.is_err() {
            tracing::warn!(room = %self.room, terminal = %self.opened.id, "a closed terminal did not end in time");
        }
    }
}

/// What the next of the viewers says; `None` if they left.
async fn next_said(viewers: &mut [(ViewerId, mpsc::Receiver<Said>)]) -> (ViewerId, Option<Said>) {
    std::future::poll_fn(|cx| {
        for (viewer, said) in viewers.iter_mut() {
            if let Poll::Ready(said) = said.poll_recv(cx) {
                return Poll::Ready((*viewer, said));
            }
        }
        Poll::Pending
    })
    .await
}

fn view_of(terminal: &Terminal, recorded: bool) -> View {
    let seen = terminal.viewers().iter().map(|viewer| Seen {
        id: viewer.id,
        principal: viewer.who.principal.clone(),
        may_type: viewer.may_type(),
        may_take: viewer.may_take(),
        cut: viewer.cut,
    });
    View {
        state: terminal.state().clone(),
        size: terminal.size(),
        keyboard: terminal.keyboard().clone(),
        asking: terminal.asking().to_vec(),
        viewers: seen.collect(),
        recorded,
    }
}

/// With a capital and a full stop.
fn sentence(reason: &str) -> String {
    let mut chars = reason.trim_end_matches('.').chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", chars.as_str())
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// The present moment as the pure parts take it; tests pause and advance it.
pub(super) fn now() -> std::time::Instant {
    Instant::now().into_std()
}
