//! The task that makes one recording. It is a receiver like any other: each track's task passes packets on to it by a [`Tap`], which drops what it has
//! no room for, and keyframes are asked for as by a page. So nobody waits for it, and a slow disk costs the recording alone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::clock::unix_millis;
use buildspaces_kernel::ids::{RecordingId, RoomId};
use buildspaces_kernel::tasks::Tasks;
use buildspaces_policy::Principal;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::actor::Command;
use super::forwarder::{Change, Forwarder, subscriber_id};
use crate::call::TrackId;
use crate::codec::Codec;
use crate::meters::Open;
use crate::ports::{Line, Received};
use crate::recording::track::{Packet, Track};
use crate::recording::{File, MAX_FILES, Recording, State};
use crate::recordings::{Chunk, Error, Folder, Recordings, on_disk};
use crate::rewrite::Rewriter;
use crate::router::{Layer, SubscriberId};

/// How long what came may wait before it is written: what a killed server loses.
const WRITTEN_EVERY: Duration = Duration::from_secs(1);

/// How often it is noted how long the recording is by now.
const NOTED_EVERY: Duration = Duration::from_secs(5);

/// Packets that may wait while the disk writes: some 10 MiB. When it is full, they are lost to the recording.
const PACKETS: usize = 8192;

/// The pause before a keyframe is asked for again.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// What is to be recorded now.
#[derive(Clone, Default)]
struct Wanted {
    tracks: Arc<BTreeMap<TrackId, Taken>>,
    end: Option<State>,
}

/// A track that is to be recorded.
#[derive(Clone)]
pub(super) struct Taken {
    pub(super) person: Principal,
    pub(super) forwarder: Forwarder,
}

/// A recording under way. Dropping it is its end, too, because the call is over.
pub(super) struct Recorder {
    pub(super) id: RecordingId,
    pub(super) started_at: UnixMillis,
    wanted: watch::Sender<Wanted>,
}

impl Recorder {
    pub(super) fn start(
        recordings: &Recordings,
        room: &RoomId,
        by: &Principal,
        call: mpsc::WeakSender<Command>,
        tasks: &Tasks,
    ) -> Self {
        let (id, started_at) = (RecordingId::random(), unix_millis());
        let recording = Recording {
            id: id.clone(),
            room: room.clone(),
            started_by: by.id.clone(),
            started_by_name: by.name.as_ref().to_owned(),
            started_at,
            ended_at: None,
            duration: 0,
            state: State::Recording,
            files: Vec::new(),
        };
        let (wanted, wants) = watch::channel(Wanted::default());
        let (packets, arriving) = mpsc::channel(PACKETS);
        let now = Instant::now();
        let task = Task {
            recordings: recordings.clone(),
            recording,
            folder: None,
            others: 0,
            open: BTreeMap::new(),
            opened: 0,
            begun: now,
            noted: now,
            packets,
            arriving,
            call,
            tasks: tasks.clone(),
        };
        tasks.spawn("recording of a call", task.run(wants));
        Self { id, started_at, wanted }
    }

    pub(super) fn take(&self, tracks: BTreeMap<TrackId, Taken>) {
        self.wanted.send_modify(|wanted| wanted.tracks = Arc::new(tracks));
    }

    pub(super) fn end(self, state: State) {
        self.wanted.send_modify(|wanted| wanted.end = Some(state));
    }
}

/// Where a track's task sends its packets.
struct Tap {
    id: SubscriberId,
    begun: Instant,
    packets: mpsc::Sender<(SubscriberId, Packet)>,
}

impl Line for Tap {
    fn ssrc(&self) -> u32 {
        0
    }

    /// Nothing is decoded.
    fn decodes(&self, _: Codec) -> bool {
        true
    }

    fn send(&self, received: &Received, sequence: u16, timestamp: u32) -> bool {
        let Received { marker, codec, .. } = *received;
        let (payload, at) = (received.payload.clone(), self.begun.elapsed());
        self.packets.try_send((self.id, Packet { sequence, timestamp, marker, codec, payload, at })).is_ok()
    }
}

/// A track that is recorded.
struct Tracked {
    track: TrackId,
    taken: Taken,
    body: Track,
    /// Its file's place in the recording, once it has one.
    file: Option<usize>,
    asked: Option<Instant>,
    /// Nothing more comes.
    ends: bool,
}

struct Task {
    recordings: Recordings,
    recording: Recording,
    folder: Option<Folder>,
    /// Bytes of the room's other recordings.
    others: u64,
    open: BTreeMap<SubscriberId, Tracked>,
    /// Counts tracks.
    opened: u32,
    begun: Instant,
    noted: Instant,
    packets: mpsc::Sender<(SubscriberId, Packet)>,
    arriving: mpsc::Receiver<(SubscriberId, Packet)>,
    call: mpsc::WeakSender<Command>,
    tasks: Tasks,
}

impl Task {
    async fn run(mut self, wanted: watch::Receiver<Wanted>) {
        let _counted = Open::recording();
        let state = match self.record(wanted).await {
            Ok(state) => state,
            Err(error) => {
                // What of it is on the disk nobody knows, so nothing is put behind it.
                self.open.clear();
                self.why(&error)
            }
        };
        self.finish(state).await;
        if let Some(call) = self.call.upgrade() {
            let _ = call.send(Command::RecordingEnded { id: self.recording.id.clone(), state }).await;
        }
    }

    /// Until somebody ends it, the call is over, or there is no room for more.
    async fn record(&mut self, mut wanted: watch::Receiver<Wanted>) -> Result<State, Error> {
        let (folder, others) = self.recordings.begin(&self.recording).await?;
        (self.folder, self.others) = (Some(folder), others);
        let mut writes = interval(WRITTEN_EVERY);
        writes.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                changed = wanted.changed() => {
                    if changed.is_err() {
                        let is_stopped = self.tasks.is_cancelled();
                        return Ok(if is_stopped { State::Interrupted } else { State::Complete });
                    }
                    let now = wanted.borrow_and_update().clone();
                    if let Some(state) = now.end {
                        return Ok(state);
                    }
                    self.reconcile(&now.tracks).await;
                }
                _ = writes.tick() => {
                    if let Some(state) = self.write(false).await? {
                        return Ok(state);
                    }
                }
                Some((id, packet)) = self.arriving.recv() => self.packet(id, packet),
            }
        }
    }

    fn packet(&mut self, id: SubscriberId, packet: Packet) {
        let Some(open) = self.open.get_mut(&id) else { return };
        open.body.packet(packet);
        let is_due = open.asked.is_none_or(|asked| asked.elapsed() >= ASK_EVERY);
        if open.body.wants_keyframe() && is_due {
            open.asked = Some(Instant::now());
            // If there is no room it is asked for again.
            let _ = open.taken.forwarder.changes.try_send(Change::KeyframeWanted(id));
        }
    }

    /// Takes what is to be taken, and lets go of the rest.
    async fn reconcile(&mut self, wanted: &BTreeMap<TrackId, Taken>) {
        let is_wanted = |open: &Tracked| {
            wanted.get(&open.track).is_some_and(|taken| taken.forwarder.is_same(&open.taken.forwarder))
        };
        for (id, open) in self.open.iter_mut().filter(|(_, open)| !open.ends) {
            if !is_wanted(open) {
                open.ends = true;
                let _ = open.taken.forwarder.changes.send(Change::Unsubscribe(*id)).await;
            }
        }
        for (track, taken) in wanted {
            if self.open.values().any(|open| !open.ends && open.track == *track) {
                continue;
            }
            let id = subscriber_id();
            let kind = track.source.kind();
            self.opened += 1;
            let title = format!("{}, {}", taken.person.name, track.source.as_str());
            let body = Track::new(kind, self.recording.started_at, self.opened, title);
            let line = Arc::new(Tap { id, begun: self.begun, packets: self.packets.clone() });
            let rewriter = Arc::new(Mutex::new(Rewriter::new(kind.clock())));
            let change = Change::Subscribe { id, want: Some(Layer::HIGH), line, rewriter };
            // A track that ended just now is wanted no more in a moment.
            let _ = taken.forwarder.changes.send(change).await;
            let (track, taken) = (track.clone(), taken.clone());
            self.open.insert(id, Tracked { track, taken, body, file: None, asked: None, ends: false });
        }
    }

    /// Writes what there is. Says why it can be no more.
    async fn write(&mut self, is_last: bool) -> Result<Option<State>, Error> {
        let Some(folder) = self.folder.clone() else { return Ok(None) };
        let now = self.begun.elapsed();
        let (mut chunks, mut begins) = (Vec::new(), false);
        for open in self.open.values_mut() {
            open.body.elapsed(now);
            let written = open.body.take(is_last || open.ends);
            if written.bytes.is_empty() && written.patches.is_empty() {
                continue;
            }
            let at = match open.file {
                Some(at) => at,
                None if self.recording.files.len() == MAX_FILES => return Ok(Some(State::TooLarge)),
                None => {
                    begins = true;
                    let at = self.recording.files.len();
                    self.recording.files.push(File {
                        number: at as u32 + 1,
                        person: open.taken.person.id.clone(),
                        person_name: open.taken.person.name.as_ref().to_owned(),
                        source: open.track.source,
                        codec: open.body.codec(),
                        offset: open.body.offset().map_or(0, millis),
                        duration: 0,
                        bytes: 0,
                    });
                    *open.file.insert(at)
                }
            };
            let file = &mut self.recording.files[at];
            file.duration = millis(open.body.duration());
            chunks.push(Chunk { name: file.name(), at: file.bytes, bytes: written.bytes, patches: written.patches });
            file.bytes += chunks.last().map_or(0, |chunk| chunk.bytes.len() as u64);
            self.recording.duration = self.recording.duration.max(file.offset + file.duration);
        }
        self.open.retain(|_, open| !open.ends);
        let limits = self.recordings.limits();
        let note = (is_last || begins || self.noted.elapsed() >= NOTED_EVERY).then(|| self.recording.clone());
        if note.is_some() {
            self.noted = Instant::now();
        }
        let is_full = on_disk(move || {
            folder.write(&chunks)?;
            note.map_or(Ok(()), |note| folder.note(&note))?;
            Ok(folder.free().is_some_and(|free| free < limits.reserve))
        })
        .await?;
        self.recordings.show(&self.recording);
        let bytes = self.recording.bytes();
        // It may have a second's more, so that its files are whole.
        Ok(match () {
            () if bytes >= limits.recording => Some(State::TooLarge),
            () if bytes + self.others >= limits.room => Some(State::RoomFull),
            () if is_full => Some(State::DiskFull),
            () => None,
        })
    }

    fn why(&self, error: &Error) -> State {
        let Recording { room, id, .. } = &self.recording;
        tracing::error!(%room, recording = %id, %error, "a recording of a call ends, because it cannot be written");
        match error {
            Error::Disk(error) if is_full(error) => State::DiskFull,
            Error::RoomFull(_) => State::RoomFull,
            _ => State::Failed,
        }
    }

    /// Lets go of everything, and writes what came before and why it ended.
    async fn finish(&mut self, state: State) {
        for (id, open) in &self.open {
            let _ = open.taken.forwarder.changes.send(Change::Unsubscribe(*id)).await;
        }
        while let Ok((id, packet)) = self.arriving.try_recv() {
            self.packet(id, packet);
        }
        self.recording.state = state;
        self.recording.ended_at = Some(unix_millis());
        if let Err(error) = self.write(true).await {
            let Recording { room, id, .. } = &self.recording;
            tracing::warn!(%room, recording = %id, %error, "the end of a recording of a call cannot be written");
        }
        self.recordings.ended(&self.recording.id);
    }
}

fn is_full(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
