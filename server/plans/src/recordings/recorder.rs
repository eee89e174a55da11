//! The task that makes one recording. It is a reader of the terminal's [`Display`] like any viewer, so nothing is queued for it and nobody waits
//! for it. If the disk is so slow that it falls behind what the display keeps, it goes on from the screen as it is then.

use std::sync::Arc;
use std::time::Duration;

use buildspaces_kernel::clock::unix_millis;
use buildspaces_kernel::ids::{RecordingId, RoomId};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::{Recordings, Shared};
use crate::ports::{RecordingStore, Size, StoreError};
use crate::recording::cast::Cast;
use crate::recording::{Recording, State};
use crate::terminal::display::{Display, Shown};
use crate::terminals::{Summary, View};

/// How long what was shown may wait before it is written: what a killed server loses.
const GATHER: Duration = Duration::from_secs(1);

/// Bytes that are written before that.
const PIECE: usize = 256 << 10;

/// How long until the end of a recording is tried again to be written, on a disk that is full.
const RETRY: Duration = Duration::from_secs(5);

/// What is recorded.
pub(crate) struct Source<'a> {
    pub(crate) room: &'a RoomId,
    pub(crate) terminal: &'a Summary,
    pub(crate) display: &'a Display,
    pub(crate) view: watch::Receiver<Arc<View>>,
    pub(crate) size: Size,
}

/// Where a recording ends, and why.
#[derive(Clone, Copy)]
struct Ending {
    /// Nothing that was shown after this offset gets in.
    at: u64,
    state: State,
}

/// A recording under way. Dropping it is the end of it, too: as if the server were stopped.
pub(crate) struct Recorder {
    ending: watch::Sender<Option<Ending>>,
    ended: oneshot::Receiver<()>,
}

impl Recorder {
    /// Ends with what was shown up to the offset `at`.
    pub(crate) fn end(self, at: u64, state: State) {
        self.ending.send_replace(Some(Ending { at, state }));
    }

    /// Completes when it has ended by itself, and must not be asked again then. Cancel-safe.
    pub(crate) async fn ended(&mut self) {
        // The sender is only dropped.
        let _ = (&mut self.ended).await;
    }
}

impl Recordings {
    /// Records a terminal from now on, beginning with its screen. `None` if this server keeps no recordings.
    pub(crate) fn begin(&self, source: Source<'_>) -> Option<Recorder> {
        let store = self.0.store.clone()?;
        let Source { room, terminal, display, view, size } = source;
        let started_at = unix_millis();
        let mut cast = Cast::new(&format!("Terminal {}", terminal.number), started_at, size);
        let mut next = display.end();
        if next > 0 {
            let (screen, offset) = display.screen();
            cast.picture(Duration::ZERO, &screen);
            next = offset;
        }
        let first = cast.take();
        let recording = Recording {
            id: RecordingId::random(),
            room: room.clone(),
            terminal: terminal.id.clone(),
            number: terminal.number,
            opened_by: terminal.opened_by.clone(),
            opened_by_name: terminal.opened_by_name.as_ref().to_owned(),
            started_at,
            ended_at: None,
            duration: 0,
            bytes: first.len() as u64,
            state: State::Recording,
        };
        self.0.live().insert(recording.id.clone(), recording.clone());
        let (ending, end) = watch::channel(None);
        let (gone, ended) = oneshot::channel();
        let task = Task {
            shared: self.0.clone(),
            store,
            recording,
            first,
            is_stored: false,
            display: display.clone(),
            view,
            size,
            cast,
            next,
            begun: Instant::now(),
            waits_since: None,
        };
        self.0.tasks.spawn("recording of a terminal", task.run(end, gone));
        Some(Recorder { ending, ended })
    }
}

struct Task {
    shared: Arc<Shared>,
    store: Arc<dyn RecordingStore>,
    recording: Recording,
    /// Its first lines, with which it is stored.
    first: Vec<u8>,
    is_stored: bool,
    display: Display,
    view: watch::Receiver<Arc<View>>,
    size: Size,
    cast: Cast,
    /// The offset of what is read next.
    next: u64,
    begun: Instant,
    /// Since when lines wait to be written.
    waits_since: Option<Instant>,
}

impl Task {
    async fn run(mut self, end: watch::Receiver<Option<Ending>>, gone: oneshot::Sender<()>) {
        let state = self.record(end).await.unwrap_or_else(|error| self.why(&error));
        drop(gone);
        self.finish(state).await;
    }

    /// Until somebody ends it, or the terminal's actor is gone, or it has come to its largest size.
    async fn record(&mut self, mut end: watch::Receiver<Option<Ending>>) -> Result<State, StoreError> {
        self.store.insert_recording(&self.recording, &self.first).await?;
        self.is_stored = true;
        loop {
            // In this order: whatever ends it after these lines does so at an offset that is not before this one.
            let shown = self.display.end();
            let is_left = end.has_changed().is_err();
            let left = is_left.then_some(Ending { at: shown, state: State::Interrupted });
            let ending = (*end.borrow_and_update()).or(left);
            self.read(ending.map_or(shown, |ending| ending.at), &end);
            if let Some(ending) = ending {
                self.cast.finish(self.begun.elapsed());
                self.write().await?;
                return Ok(if self.cast.is_full() { State::TooLarge } else { ending.state });
            }
            if self.cast.is_full() {
                self.write().await?;
                return Ok(State::TooLarge);
            }
            if self.cast.waiting() >= PIECE || self.waits_since.is_some_and(|since| since.elapsed() >= GATHER) {
                self.write().await?;
            }
            let due = self.waits_since.map(|since| since + GATHER);
            tokio::select! {
                // An error is seen above.
                _ = end.changed() => {}
                () = self.display.more_than(self.next) => {}
                // The sizes of a terminal that is gone do not change.
                Ok(()) = self.view.changed() => {}
                () = async { sleep_until(due.expect("asked for only then")).await }, if due.is_some() => {}
            }
        }
    }

    /// Takes in what was shown up to the offset `to`. What waits is bounded by what the display keeps.
    fn read(&mut self, to: u64, end: &watch::Receiver<Option<Ending>>) {
        let at = self.begun.elapsed();
        let size = self.view.borrow_and_update().size;
        if size != self.size {
            self.size = size;
            self.cast.resize(at, size);
        }
        while self.next < to {
            let most = usize::try_from(to - self.next).unwrap_or(usize::MAX);
            match self.display.read(self.next, most) {
                Shown::Bytes(bytes) => {
                    self.next += bytes.len() as u64;
                    self.cast.output(at, &bytes);
                }
                Shown::Picture { .. } => {
                    let (screen, offset) = self.display.screen();
                    // Asked only now: that screen may be one of after the end.
                    if end.borrow().is_some_and(|ending| ending.at < offset) {
                        break;
                    }
                    self.cast.picture(at, &screen);
                    self.next = offset;
                }
                Shown::Nothing => break,
            }
        }
        if self.cast.waiting() > 0 {
            self.waits_since.get_or_insert_with(Instant::now);
        }
    }

    async fn write(&mut self) -> Result<(), StoreError> {
        self.waits_since = None;
        let lines = self.cast.take();
        if lines.is_empty() {
            return Ok(());
        }
        let duration = u64::try_from(self.cast.duration().as_millis()).unwrap_or(u64::MAX);
        if self.store.append_recording(&self.recording.id, &lines, duration).await? {
            Ok(())
        } else {
            Err(StoreError::Failed("a recording was removed while it was made".to_owned()))
        }
    }

    fn why(&self, error: &StoreError) -> State {
        let Recording { room, id, .. } = &self.recording;
        tracing::error!(%room, recording = %id, %error, "a recording ends, because it cannot be written");
        match error {
            StoreError::Full(_) => State::DiskFull,
            StoreError::Failed(_) => State::Failed,
        }
    }

    /// Writes that it ended, as soon as that can be written. Until then it is told from memory.
    async fn finish(mut self, state: State) {
        self.recording.state = state;
        self.recording.ended_at = Some(unix_millis());
        self.shared.live().insert(self.recording.id.clone(), self.recording.clone());
        loop {
            let written = if self.is_stored {
                self.store.end_recording(&self.recording).await
            } else {
                self.store.insert_recording(&self.recording, &self.first).await
            };
            let Err(error) = written else { break };
            tracing::warn!(recording = %self.recording.id, %error, "the end of a recording cannot be written yet");
            tokio::select! {
                () = sleep(RETRY) => {}
                // The next start ends it.
                () = self.shared.tasks.cancelled() => break,
            }
        }
        self.shared.live().remove(&self.recording.id);
    }
}
