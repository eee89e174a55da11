//! The actor of one call: owns [`Call`], knows the pages that look at it, and starts the tasks of those who take part. It never
//! waits for any of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use buildspaces_kernel::ids::{ConnectionId, ParticipantId, RecordingId, RoomId, random_id};
use buildspaces_policy::{Authority, Principal};
use tokio::sync::{mpsc, oneshot, watch};

use super::forwarder::Forwarder;
use super::peer::{Around, Peer, Role};
use super::publisher::Offer;
use super::recorder::{Recorder, Taken};
use super::subscriber::{ToSubscriber, Wanted};
use super::traffic::{Meter, Stats, Traffic};
use super::{Heard, MAX_PAGES, RecordingView, Refusal, Said, Shared, View};
use crate::allocator::Importance;
use crate::call::recorded::Turn;
use crate::call::{Call, Effects, Input, Refused, Source, Told, TrackId};
use crate::encryption::Encryption;
use crate::offer;
use crate::ports::Transport;
use crate::recording::State;
use crate::recordings::Kept;
use crate::router::{Kind, Layer};
use crate::viewer::{Choice, Viewer};
use crate::{Error, meters};

/// How often it looks for pages that went without a word.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How often it works out anew who is sent what, at most: any page can change that as fast as it can write, and each time it is the
/// whole call for everybody.
const RENEW_EVERY: Duration = Duration::from_millis(50);

/// Characters of the secret with which a page resumes: 120 random bits.
const SECRET: usize = 24;

#[derive(Debug)]
pub(super) enum Command {
    Attach {
        connection: ConnectionId,
        who: Authority,
        heard: mpsc::Sender<Heard>,
        reply: oneshot::Sender<Result<watch::Receiver<Arc<View>>, Error>>,
    },
    Encrypt {
        encryption: Option<Encryption>,
        reply: oneshot::Sender<Result<Option<Encryption>, Error>>,
    },
    Said {
        connection: ConnectionId,
        said: Said,
    },
    Lost(ConnectionId),
    Detached(ConnectionId),
    /// From a participant's own tasks.
    Tell {
        to: ParticipantId,
        heard: Heard,
    },
    Arrived {
        of: ParticipantId,
        source: Source,
        forwarder: Forwarder,
    },
    Level {
        of: ParticipantId,
        level: u8,
    },
    /// One of a participant's connections is dead.
    Failed(ParticipantId),
    RecordingEnded {
        id: RecordingId,
        state: State,
    },
    /// Whether there is room for a recording that somebody asked for.
    Looked {
        by: ParticipantId,
        full: Option<Kept>,
    },
}

/// A page.
struct Page {
    who: Authority,
    heard: mpsc::Sender<Heard>,
    participant: Option<ParticipantId>,
    /// Its connection is gone; somebody stays who can say that its part is over.
    is_lost: bool,
}

pub(super) struct Actor {
    pub(super) shared: Arc<Shared>,
    pub(super) room: RoomId,
    transport: Arc<dyn Transport>,
    /// For the tasks it starts. Weak, so that they do not keep it alive.
    own: mpsc::WeakSender<Command>,
    mailbox: mpsc::Receiver<Command>,
    pub(super) call: Call,
    pages: HashMap<ConnectionId, Page>,
    pub(super) peers: HashMap<ParticipantId, Peer>,
    view: watch::Sender<Arc<View>>,
    looked: Instant,
    /// When who is sent what was worked out, and whether it may be different since.
    renewed: Instant,
    is_stale: bool,
    qualities: meters::Qualities,
    traffic: Arc<Traffic>,
    meter: Meter,
    recorder: Option<Recorder>,
    /// Somebody asked for a recording, and whether there is room for it is looked for.
    is_looking: bool,
    /// Why the last recording ended, if nobody wanted that.
    recording_failed: Option<&'static str>,
}

impl Actor {
    pub(super) fn new(
        shared: Arc<Shared>,
        room: RoomId,
        transport: Arc<dyn Transport>,
        own: mpsc::WeakSender<Command>,
        mailbox: mpsc::Receiver<Command>,
    ) -> Self {
        let call = Call::new(shared.limits, shared.recordings.is_on());
        let view = watch::Sender::default();
        let (pages, peers) = (HashMap::new(), HashMap::new());
        let now = now();
        let (looked, renewed, is_stale) = (now, now, false);
        let qualities = meters::Qualities::default();
        Self {
            shared,
            room,
            transport,
            own,
            mailbox,
            call,
            pages,
            peers,
            view,
            looked,
            renewed,
            is_stale,
            qualities,
            traffic: Arc::default(),
            meter: Meter::new(now),
            recorder: None,
            is_looking: false,
            recording_failed: None,
        }
    }

    /// Lives until nobody looks at the call and nobody is in it, or the server stops.
    pub(super) async fn live(mut self) {
        let tasks = self.shared.tasks.clone();
        if let Err(error) = self.load().await {
            tracing::warn!(room = %self.room, %error, "a call cannot begin");
            return self.refuse(&error);
        }
        loop {
            let renewal = self.is_stale.then_some(self.renewed + RENEW_EVERY);
            let due = [Some(self.looked + LOOK_EVERY), self.call.deadline(), renewal];
            let deadline = due.into_iter().flatten().min().expect("it looks at pages again and again");
            tokio::select! {
                biased;
                () = tasks.cancelled() => break,
                command = self.mailbox.recv() => match command {
                    Some(Command::Encrypt { encryption, reply }) => {
                        let _ = reply.send(self.encrypt(encryption).await);
                    }
                    Some(command) => self.handle(command),
                    None => break,
                },
                () = tokio::time::sleep_until(deadline.into()) => self.elapsed(),
            }
            if self.is_stale && now() >= self.renewed + RENEW_EVERY {
                self.renew_wanted();
            }
            if self.is_over() {
                break;
            }
        }
        meters::participants(-(self.call.seen().len() as f64));
        self.shared.stats().remove(&self.room);
    }

    /// Answers whoever came already. Whoever comes next begins another.
    fn refuse(&mut self, error: &Error) {
        let mut rooms = self.shared.rooms();
        self.mailbox.close();
        rooms.remove(&self.room);
        drop(rooms);
        while let Ok(command) = self.mailbox.try_recv() {
            match command {
                Command::Attach { reply, .. } => drop(reply.send(Err(error.clone()))),
                Command::Encrypt { reply, .. } => drop(reply.send(Err(error.clone()))),
                _ => {}
            }
        }
    }

    /// Takes its entry along, in one step with whoever might come just now.
    fn is_over(&mut self) -> bool {
        if !self.pages.is_empty() || !self.call.is_empty() {
            return false;
        }
        let mut rooms = self.shared.rooms();
        // Besides the entry's there may be handles of pages that are on their way in or out.
        let others = self.own.upgrade().is_some_and(|own| own.strong_count() > 2);
        if others || !self.mailbox.is_empty() {
            return false;
        }
        self.mailbox.close();
        rooms.remove(&self.room);
        true
    }

    fn elapsed(&mut self) {
        self.looked = now();
        self.measure();
        let closed = |(connection, page): (&ConnectionId, &Page)| page.heard.is_closed().then_some(*connection);
        let closed: Vec<_> = self.pages.iter().filter_map(closed).collect();
        for connection in closed {
            self.detach(connection);
        }
        let _ = self.input(Input::Elapsed);
    }

    fn measure(&mut self) {
        let Some((received, sent)) = self.meter.rates(self.looked, &self.traffic) else { return };
        let mut stats = self.shared.stats();
        if self.call.is_empty() {
            stats.remove(&self.room);
            return;
        }
        let reports = self.call.reports().map(|(id, report)| (id.clone(), *report)).collect();
        let participants = self.call.seen().len();
        stats.insert(self.room.clone(), Stats { participants, received, sent, reports });
    }

    fn handle(&mut self, command: Command) {
        match command {
            Command::Attach { connection, who, heard, reply } => {
                let of_one = self.pages.values().filter(|page| page.who.principal.id == who.principal.id).count();
                let most = self.shared.limits.pages_per_user;
                let too_many = match self.pages.len() {
                    MAX_PAGES.. => Some(Error::TooManyPages),
                    _ => (of_one >= most).then_some(Error::TooManyOfOne(most)),
                };
                if let Some(error) = too_many {
                    let _ = reply.send(Err(error));
                    return;
                }
                self.pages.insert(connection, Page { who, heard, participant: None, is_lost: false });
                let _ = reply.send(Ok(self.view.subscribe()));
            }
            Command::Said { connection, said } => {
                if let Err(refusal) = self.said(connection, said) {
                    self.tell_page(connection, Heard::Refused(refusal));
                }
            }
            Command::Encrypt { .. } => unreachable!("`live` answers it, because it waits for the store"),
            Command::Lost(connection) => self.lost(connection),
            Command::Detached(connection) => self.detach(connection),
            Command::Tell { to, heard } => self.tell(&to, heard),
            Command::Arrived { of, source, forwarder } => {
                let track = TrackId { of: of.clone(), source };
                let Some(peer) = self.peers.get_mut(&of) else { return };
                forwarder.open.send_replace(self.call.is_open(&track));
                peer.forwarders.insert(source, forwarder);
                self.is_stale = true;
            }
            Command::Level { of, level } => {
                let _ = self.input(Input::Heard { id: of, level });
            }
            Command::Failed(participant) => {
                self.tell(&participant, Heard::Ended { again: true });
                // Its page was told; what follows is for pages that were not.
                let page = self.peers.get_mut(&participant).and_then(|peer| peer.page.take());
                if let Some(page) = page.and_then(|page| self.pages.get_mut(&page)) {
                    page.participant = None;
                }
                self.end(participant);
            }
            Command::RecordingEnded { id, state } => {
                if self.recorder.as_ref().is_some_and(|recorder| recorder.id == id) {
                    let _ = self.input(Input::RecordingEnded(state));
                }
            }
            Command::Looked { by, full } => {
                self.is_looking = false;
                let begun = match full {
                    Some(kept) => Err(Refusal::RecordingsFull(kept)),
                    None => self.input(Input::Record { by: by.clone(), on: true }).map_err(Into::into),
                };
                if let Err(refusal) = begun {
                    self.tell(&by, Heard::Refused(refusal));
                }
            }
        }
    }

    fn said(&mut self, connection: ConnectionId, said: Said) -> Result<(), Refusal> {
        let Some(page) = self.pages.get(&connection) else { return Ok(()) };
        let said = match said {
            Said::Join { resume, encrypted } => return Ok(self.join(connection, resume, encrypted)?),
            Said::Stream => return Ok(self.take_in(connection, true, false)?),
            Said::Watch { neg, sdp, sections, choice } => {
                return self.watch(connection, ToSubscriber::Offer { neg, sdp }, sections, choice);
            }
            said => said,
        };
        let Some(id) = page.participant.clone() else {
            // Both sides may have ended it at one time.
            return if said == Said::Leave { Ok(()) } else { Err(Refused::Gone.into()) };
        };
        let input = match said {
            Said::Join { .. } | Said::Stream | Said::Watch { .. } => return Ok(()),
            Said::Publish { neg, sdp, sections } => {
                let Some(peer) = self.peers.get(&id) else { return Ok(()) };
                offer::check_size(&sdp)?;
                return peer.offers.try_send(Offer { neg, sdp, sections }).map_err(|_| Refusal::Busy);
            }
            Said::Answer { neg, sdp } => {
                let Some(peer) = self.peers.get(&id) else { return Ok(()) };
                return peer.to_subscriber.try_send(ToSubscriber::Answer { neg, sdp }).map_err(|_| Refusal::Busy);
            }
            Said::Restart => {
                let Some(peer) = self.peers.get(&id) else { return Ok(()) };
                return peer.to_subscriber.try_send(ToSubscriber::Restart).map_err(|_| Refusal::Busy);
            }
            Said::Set { source, how } => {
                self.call.set_incoming(self.incoming());
                Input::Publishes { id, source, how }
            }
            Said::Report(report) => {
                meters::reported(&report);
                self.tell(&id, Heard::Reported);
                Input::Reported { id, report }
            }
            Said::Want { track, layer } => Input::Want { id, track, layer },
            Said::Mute { track } => Input::Mute { by: id, track },
            Said::Ask { track } => Input::Ask { by: id, track },
            Said::LowerHand { of } => Input::LowerHand { by: id, of },
            Said::Record { on: true } => return Ok(self.look_for_room(id)?),
            Said::Record { on: false } => Input::Record { by: id, on: false },
            Said::Agree { on, recording } => {
                if self.recorder.as_ref().is_none_or(|recorder| recorder.started_at != recording) {
                    return Ok(());
                }
                Input::Agrees { id, on }
            }
            Said::Leave => {
                self.end(id);
                return Ok(());
            }
        };
        Ok(self.input(input)?)
    }

    fn join(&mut self, connection: ConnectionId, resume: Option<String>, encrypts: bool) -> Result<(), Refused> {
        let Some(page) = self.pages.get(&connection) else { return Ok(()) };
        if page.participant.is_some() {
            return Ok(());
        }
        let who = page.who.clone();
        let known = resume.and_then(|secret| {
            let is_it = |peer: &Peer| peer.secret == hashed(&secret) && peer.principal.id == who.principal.id;
            let found = self.peers.iter().find(|(_, peer)| is_it(peer));
            found.map(|(id, _)| (id.clone(), secret))
        });
        if let Some((id, secret)) = known {
            return self.resume(connection, &id, who, secret);
        }
        self.take_in(connection, false, encrypts)
    }

    fn take_in(&mut self, connection: ConnectionId, is_stream: bool, encrypts: bool) -> Result<(), Refused> {
        let Some(page) = self.pages.get(&connection).filter(|page| page.participant.is_none()) else { return Ok(()) };
        let (id, who) = (ParticipantId::random(), page.who.clone());
        let principal = who.principal.clone();
        self.input(Input::Joined { id: id.clone(), who, is_stream, encrypts })?;
        meters::participants(1.0);
        let resume = random_id(SECRET);
        let role = if is_stream { Role::Stream } else { Role::Page };
        self.add(&id, connection, role, principal, hashed(&resume));
        self.tell(&id, Heard::Joined { participant: id.clone(), resume, resumed: false });
        Ok(())
    }

    /// Somebody is sent what the sections of their offer have room for; of who already is, it is another offer.
    fn watch(
        &mut self,
        connection: ConnectionId,
        offer: ToSubscriber,
        sections: Vec<Kind>,
        choice: Choice,
    ) -> Result<(), Refusal> {
        let Some(page) = self.pages.get(&connection) else { return Ok(()) };
        let id = match &page.participant {
            Some(id) => id.clone(),
            None => {
                self.call.lets_look_in()?;
                let (id, principal) = (ParticipantId::random(), page.who.principal.clone());
                let role = Role::Viewer(Viewer::new(sections, choice));
                self.add(&id, connection, role, principal, Vec::new());
                self.is_stale = true;
                // Nobody is seen or heard by somebody whom they do not know of.
                self.show();
                id
            }
        };
        let Some(peer) = self.peers.get(&id) else { return Ok(()) };
        peer.to_subscriber.try_send(offer).map_err(|_| Refusal::Busy)
    }

    fn add(&mut self, id: &ParticipantId, page: ConnectionId, role: Role, principal: Principal, secret: Vec<u8>) {
        let (tasks, traffic) = (&self.shared.tasks, &self.traffic);
        let around = Around { call: &self.own, tasks, transport: &self.transport, traffic };
        self.peers.insert(id.clone(), Peer::start(id, page, role, principal, secret, &around));
        if let Some(page) = self.pages.get_mut(&page) {
            page.participant = Some(id.clone());
        }
    }

    /// A page that lost its connection is there again, on another.
    fn resume(
        &mut self,
        connection: ConnectionId,
        id: &ParticipantId,
        who: Authority,
        secret: String,
    ) -> Result<(), Refused> {
        self.input(Input::Back { id: id.clone(), who })?;
        let Some(peer) = self.peers.get_mut(id) else { return Err(Refused::Gone) };
        peer.page = Some(connection);
        // It may have missed what it was told last.
        peer.needed.clear();
        let again = peer.to_subscriber.clone();
        // The page before speaks for it no more, whether it is lost or not.
        for page in self.pages.values_mut().filter(|page| page.participant.as_ref() == Some(id)) {
            page.participant = None;
        }
        self.pages.retain(|_, page| !page.is_lost || page.participant.is_some());
        if let Some(page) = self.pages.get_mut(&connection) {
            page.participant = Some(id.clone());
        }
        self.tell(id, Heard::Joined { participant: id.clone(), resume: secret, resumed: true });
        // If there is no room, its answers are on the way, and it knows.
        let _ = again.try_send(ToSubscriber::Again);
        self.is_stale = true;
        Ok(())
    }

    fn detach(&mut self, connection: ConnectionId) {
        self.lost(connection);
        self.pages.remove(&connection);
    }

    /// The page stays only so that it can be said that its part is over.
    fn lost(&mut self, connection: ConnectionId) {
        let Some(page) = self.pages.get_mut(&connection) else { return };
        page.is_lost = true;
        let Some(id) = page.participant.clone() else {
            self.pages.remove(&connection);
            return;
        };
        if let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.page == Some(connection)) {
            peer.page = None;
            match peer.role {
                Role::Viewer(_) => self.end(id),
                Role::Page | Role::Stream => {
                    let _ = self.input(Input::Lost(id));
                }
            }
        }
    }

    /// Somebody takes part, or looks on, no more.
    fn end(&mut self, id: ParticipantId) {
        if let Some(Peer { role: Role::Viewer(_), .. }) = self.peers.get(&id) {
            self.gone(&id);
            self.show();
        } else {
            let _ = self.input(Input::Left(id));
        }
    }

    fn gone(&mut self, id: &ParticipantId) {
        let Some(peer) = self.peers.remove(id) else { return };
        if let Some(page) = peer.page.and_then(|page| self.pages.get_mut(&page)) {
            page.participant = None;
            let _ = page.heard.try_send(Heard::Ended { again: false });
        }
    }

    /// What comes in of everything that is passed on, in bits in a second, as of a moment ago.
    fn incoming(&self) -> u64 {
        let mut bits = 0;
        for (id, peer) in &self.peers {
            for (source, forwarder) in &peer.forwarders {
                if self.call.is_open(&TrackId { of: id.clone(), source: *source }) {
                    bits += forwarder.rates.borrow().total();
                }
            }
        }
        bits
    }

    /// Brings something into the call, and does what follows.
    fn input(&mut self, input: Input) -> Result<(), Refused> {
        let effects = self.call.handle(now(), input)?;
        let Effects { changed, speakers, subscriptions, open, told, gone, recording } = effects;
        for (track, open) in open {
            let forwarder = self.peers.get(&track.of).and_then(|peer| peer.forwarders.get(&track.source));
            if let Some(forwarder) = forwarder {
                forwarder.open.send_replace(open);
            }
        }
        for (to, told) in told {
            let heard = match told {
                Told::Muted { source, by } => Heard::Muted { source, by },
                Told::Asked { source, by } => Heard::Asked { source, by },
                Told::HandLowered { by } => Heard::HandLowered { by },
            };
            self.tell(&to, heard);
        }
        for id in gone {
            meters::participants(-1.0);
            self.gone(&id);
            if self.call.is_empty() {
                // Whoever calls next has nothing to do with it.
                self.recording_failed = None;
            }
        }
        if let Some(turn) = recording {
            self.turn(turn);
        }
        // Whom a viewer is shown depends on all of it.
        self.is_stale |= changed || subscriptions || speakers;
        if changed || speakers {
            self.show();
        }
        Ok(())
    }

    /// Before a recording begins, so that nobody is asked to agree to one that cannot.
    fn look_for_room(&mut self, by: ParticipantId) -> Result<(), Refused> {
        self.call.may_record(&by)?;
        if self.is_looking {
            return Ok(());
        }
        self.is_looking = true;
        let (recordings, room, call) = (self.shared.recordings.clone(), self.room.clone(), self.own.clone());
        self.shared.tasks.spawn("look for room for a recording", async move {
            // What cannot be looked at the recorder finds, too, and says.
            let full = recordings.kept(&room).await.ok().filter(Kept::is_full);
            if let Some(call) = call.upgrade() {
                let _ = call.send(Command::Looked { by, full }).await;
            }
        });
        Ok(())
    }

    /// A recording begins or ends.
    fn turn(&mut self, turn: Turn) {
        match turn {
            Turn::Begins(by) => {
                let Shared { recordings, tasks, .. } = self.shared.as_ref();
                self.recorder = Some(Recorder::start(recordings, &self.room, &by, self.own.clone(), tasks));
                self.recording_failed = None;
            }
            Turn::Ends(state) => {
                self.recording_failed = state.message();
                if let Some(recorder) = self.recorder.take() {
                    recorder.end(state);
                }
            }
        }
    }

    pub(super) fn show(&mut self) {
        let viewers = self.peers.values().filter(|peer| matches!(peer.role, Role::Viewer(_)));
        let mut viewers: Vec<_> = viewers.map(|peer| peer.principal.clone()).collect();
        viewers.sort_by(|one, other| one.id.cmp(&other.id));
        let (participants, speakers) = (self.call.seen(), self.call.speakers());
        self.qualities.tell(&participants);
        let recording = self.recorder.as_ref().zip(self.call.recording()).map(|(recorder, recorded)| RecordingView {
            by: recorded.by.clone(),
            started_at: recorder.started_at,
            agreed: self.call.agreed(),
        });
        let recording_failed = self.recording_failed;
        let encrypted = self.call.is_encrypted();
        self.view.send_replace(Arc::new(View {
            encrypted,
            participants,
            speakers,
            viewers,
            recording,
            recording_failed,
        }));
    }

    /// Hands each participant's task what is to be sent to them, and tells pages what of theirs anybody is sent.
    fn renew_wanted(&mut self) {
        (self.renewed, self.is_stale) = (now(), false);
        let (seen, speakers) = (self.call.seen(), self.call.speakers());
        let wanted = |(id, peer): (&ParticipantId, &mut Peer)| match &mut peer.role {
            Role::Viewer(viewer) => (id.clone(), false, viewer.choose(&seen, &speakers)),
            Role::Page | Role::Stream => (id.clone(), true, self.call.wanted(id)),
        };
        let wanted: Vec<_> = self.peers.iter_mut().map(wanted).collect();
        let mut needed: BTreeMap<TrackId, Layer> = BTreeMap::new();
        for (id, says_how_large, tracks) in wanted {
            let mut all = BTreeMap::new();
            for (track, layer) in tracks {
                let forwarder = self.peers.get(&track.of).and_then(|peer| peer.forwarders.get(&track.source)).cloned();
                let importance = match track.source {
                    _ if says_how_large && layer > Layer::LOW => Importance::Chosen,
                    Source::Screen => Importance::Screen,
                    _ if speakers.contains(&track.of) => Importance::Speaker,
                    _ => Importance::Camera,
                };
                let most = needed.entry(track.clone()).or_insert(layer);
                *most = layer.max(*most);
                all.insert(track, Wanted { layer, importance, forwarder });
            }
            if let Some(peer) = self.peers.get(&id) {
                peer.wanted.send_replace(Arc::new(all));
            }
        }
        if let Some(recorder) = &self.recorder {
            let mut taken = BTreeMap::new();
            for (track, person) in self.call.recorded() {
                needed.insert(track.clone(), Layer::HIGH);
                let forwarder = self.peers.get(&track.of).and_then(|peer| peer.forwarders.get(&track.source)).cloned();
                taken.extend(forwarder.map(|forwarder| (track, Taken { person, forwarder })));
            }
            recorder.take(taken);
        }
        let mut news = Vec::new();
        for (id, peer) in &mut self.peers {
            let pictures = self.call.published(id).filter(|source| source.kind() == Kind::Video);
            let layer = |source| needed.get(&TrackId { of: id.clone(), source }).copied();
            let now: BTreeMap<_, _> = pictures.map(|source| (source, layer(source))).collect();
            let is_news = |(source, layer): &(&Source, &Option<Layer>)| peer.needed.get(source) != Some(layer);
            news.extend(now.iter().filter(is_news).map(|(source, layer)| (id.clone(), *source, *layer)));
            peer.needed = now;
        }
        for (id, source, layer) in news {
            self.tell(&id, Heard::Needed { source, layer });
        }
    }

    fn tell(&mut self, id: &ParticipantId, heard: Heard) {
        if let Some(page) = self.peers.get(id).and_then(|peer| peer.page) {
            self.tell_page(page, heard);
        }
    }

    /// A page that does not read loses its connection; the participant stays for a while.
    fn tell_page(&mut self, connection: ConnectionId, heard: Heard) {
        if self.pages.get(&connection).is_some_and(|page| page.heard.try_send(heard).is_err()) {
            self.detach(connection);
        }
    }
}

fn hashed(secret: &str) -> Vec<u8> {
    ring::digest::digest(&ring::digest::SHA256, secret.as_bytes()).as_ref().to_vec()
}

/// Tokio's clock, which tests stop.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
