//! One WebRTC connection of a load client, by str0m: it sends a [`Source`], or takes note of what it gets ([`Heard`]), or neither.
//!
//! str0m knows nothing of sockets and time; the task here carries packets and moments to it, and what it wants sent away from it. Each
//! client has a port of its own, as people do.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::crypto::CryptoProvider;
use str0m::media::{Direction, MediaKind, Mid, Rid, Simulcast, SimulcastLayer};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{Extension, RtpWrite, Ssrc};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};
use tokio::net::UdpSocket;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::heard::{Deliveries, Heard};
use super::picture::{Mark, Packet, Source, Stream};
use crate::clock::{Clock, Nanos};

/// Packets that are read from one socket before another client has its turn.
const AT_ONCE: usize = 64;

/// Larger than what any path carries in one piece.
const LARGEST: usize = 2048;

/// How long a connection may take to be there.
const PATIENCE: Duration = Duration::from_secs(20);

/// What all clients of a run share.
#[derive(Clone, Debug)]
pub struct Studio {
    pub clock: Clock,
    /// Where clients' sockets are.
    pub ip: IpAddr,
    pub deliveries: Rc<Deliveries>,
    /// Whether receivers say when each packet came (transport-wide feedback), by which servers guess what their lines take.
    feedback: bool,
    crypto: Arc<CryptoProvider>,
}

impl Studio {
    pub fn new(clock: Clock, ip: IpAddr) -> Self {
        Self { clock, ip, deliveries: Rc::default(), feedback: true, crypto: super::crypto::provider() }
    }

    /// Of clients that give feedback, or that do not.
    #[must_use]
    pub fn with_feedback(&self, feedback: bool) -> Self {
        Self { feedback, ..self.clone() }
    }

    /// Of clients whose feedback tells of far more than there was.
    #[must_use]
    pub fn lying(&self) -> Self {
        Self { crypto: super::crypto::lying_provider(), ..self.clone() }
    }

    /// Begins a connection.
    pub fn connection(&self) -> anyhow::Result<Connection> {
        let socket = std::net::UdpSocket::bind((self.ip, 0)).context("a socket for media")?;
        socket.set_nonblocking(true)?;
        let (local, sender) = (socket.local_addr()?, socket.try_clone()?);
        let socket = UdpSocket::from_std(socket)?;
        let config = RtcConfig::new().set_crypto_provider(self.crypto.clone()).set_rtp_mode(true).clear_codecs();
        let mut config = config.enable_vp8(true).enable_opus(true, false);
        if !self.feedback {
            let kept = [(1, Extension::AudioLevel), (4, Extension::RtpMid), (10, Extension::RtpStreamId)];
            config = config.clear_extension_map();
            config = kept.into_iter().fold(config, |config, (id, extension)| config.set_extension(id, extension));
        }
        let mut rtc = Box::new(config.build(Instant::now()));
        rtc.add_local_candidate(Candidate::host(local, "udp")?);
        // Without a first moment str0m never begins.
        rtc.handle_input(Input::Timeout(Instant::now()))?;
        let sender = Rc::new(sender);
        Ok(Connection { studio: self.clone(), rtc, socket, sender, local, source: None, sections: Vec::new() })
    }
}

/// A connection that is being described to the other side.
#[derive(Debug)]
pub struct Connection {
    studio: Studio,
    /// Large, and whoever waits with it would be as large.
    rtc: Box<Rtc>,
    socket: UdpSocket,
    /// The same. The runtime's would refuse to send before it has heard that it can.
    sender: Rc<std::net::UdpSocket>,
    local: SocketAddr,
    source: Option<Source>,
    sections: Vec<(Mid, MediaKind)>,
}

impl Connection {
    /// Offers to send a voice and a picture, in layers or in one.
    pub fn offer_to_send(&mut self, source: Source, layers: bool) -> anyhow::Result<(String, SdpPendingOffer)> {
        self.source = Some(source);
        let mut changes = self.rtc.sdp_api();
        let simulcast = layers.then(|| {
            let send = [Stream::Low, Stream::Middle, Stream::High].map(|stream| SimulcastLayer::new(stream.rid()));
            Simulcast { send: send.into(), recv: Vec::new() }
        });
        for (kind, simulcast) in [(MediaKind::Audio, None), (MediaKind::Video, simulcast)] {
            let mid = changes.add_media(kind, Direction::SendOnly, None, None, simulcast);
            self.sections.push((mid, kind));
        }
        offered(changes.apply())
    }

    /// Offers to receive a voice and a picture.
    pub fn offer_to_receive(&mut self) -> anyhow::Result<(String, SdpPendingOffer)> {
        let mut changes = self.rtc.sdp_api();
        for kind in [MediaKind::Audio, MediaKind::Video] {
            let mid = changes.add_media(kind, Direction::RecvOnly, None, None, None);
            self.sections.push((mid, kind));
        }
        offered(changes.apply())
    }

    /// Sends under other SSRCs than those it described: one for each section.
    pub fn rename(&mut self, names: &[Ssrc]) -> anyhow::Result<()> {
        for ((mid, _), name) in self.sections.iter().zip(names) {
            let mut api = self.rtc.direct_api();
            let has_repairs = api.stream_tx_by_mid(*mid, None).is_some_and(|stream| stream.rtx().is_some());
            let repairs = has_repairs.then(|| api.new_ssrc());
            api.reset_stream_tx(*mid, None, *name, repairs).context("a section that sends nothing")?;
        }
        Ok(())
    }

    /// The names of the sections it offered.
    pub fn sections(&self) -> impl Iterator<Item = (String, MediaKind)> {
        self.sections.iter().map(|(mid, kind)| (mid.to_string(), *kind))
    }

    pub fn answered(&mut self, pending: SdpPendingOffer, answer: &str) -> anyhow::Result<()> {
        let answer = SdpAnswer::from_sdp_string(answer).context("the answer")?;
        self.rtc.sdp_api().accept_answer(pending, answer).context("the answer")
    }

    pub fn answer(&mut self, offer: &str) -> anyhow::Result<String> {
        answer(&mut self.rtc, offer)
    }

    /// Runs until the client is dropped.
    pub fn run(mut self) -> Client {
        let shared = Rc::new(Shared::default());
        let mut api = self.rtc.direct_api();
        let names = self.sections.iter().filter_map(|(mid, _)| Some(api.stream_tx_by_mid(*mid, None)?.ssrc()));
        shared.names.replace(names.collect());
        let (offers, waiting) = mpsc::channel(1);
        let sender = self.sender.clone();
        let running = Running { connection: self, shared: shared.clone(), offers: waiting, connected: false };
        let own = shared.clone();
        let task = tokio::task::spawn_local(async move {
            let ended = running.run().await;
            own.ended.replace(Some(ended.map_or_else(|error| format!("{error:#}"), |()| "closed".to_owned())));
            own.changed.notify_waiters();
        });
        Client { shared, offers, sender, task }
    }
}

fn offered(offer: Option<(SdpOffer, SdpPendingOffer)>) -> anyhow::Result<(String, SdpPendingOffer)> {
    let (offer, pending) = offer.context("there is nothing to offer")?;
    Ok((offer.to_sdp_string(), pending))
}

fn answer(rtc: &mut Rtc, offer: &str) -> anyhow::Result<String> {
    let offer = SdpOffer::from_sdp_string(offer).context("the offer")?;
    Ok(rtc.sdp_api().accept_offer(offer).context("the offer")?.to_sdp_string())
}

#[derive(Debug, Default)]
struct Shared {
    connected: Cell<bool>,
    /// Under which it sends, in the order of its sections.
    names: RefCell<Vec<Ssrc>>,
    /// The largest of its layers that anybody shows.
    largest: Cell<Option<Stream>>,
    heard: RefCell<Heard>,
    /// Why it is over.
    ended: RefCell<Option<String>>,
    changed: Notify,
}

type Offered = (String, oneshot::Sender<anyhow::Result<String>>);

/// A running connection. Dropping it is to vanish without a word.
#[derive(Debug)]
pub struct Client {
    shared: Rc<Shared>,
    offers: mpsc::Sender<Offered>,
    sender: Rc<std::net::UdpSocket>,
    task: JoinHandle<()>,
}

impl Client {
    pub async fn connected(&self) -> anyhow::Result<()> {
        self.until("connected", || self.shared.connected.get()).await
    }

    /// When the first keyframe was there as a whole.
    pub async fn first_picture(&self) -> anyhow::Result<Nanos> {
        self.until("sent a picture", || self.heard().first_picture.is_some()).await?;
        self.heard().first_picture.context("there was one")
    }

    /// The SSRCs under which it sends: of its voice, of its picture.
    pub fn names(&self) -> Vec<Ssrc> {
        self.shared.names.borrow().clone()
    }

    pub fn heard(&self) -> std::cell::Ref<'_, Heard> {
        self.shared.heard.borrow()
    }

    /// Sends what no connection of its own would, from where it is.
    pub fn stray(&self, packet: &[u8], to: SocketAddr) -> bool {
        self.sender.send_to(packet, to).is_ok()
    }

    /// Nobody shows larger layers of its picture than this one.
    pub fn stop_above(&self, largest: Stream) {
        self.shared.largest.set(Some(largest));
    }

    /// Why it is over, if it is.
    pub fn ended(&self) -> Option<String> {
        self.shared.ended.borrow().clone()
    }

    /// The answer to a further offer of the other side.
    pub async fn answer(&self, offer: String) -> anyhow::Result<String> {
        let (sender, answer) = oneshot::channel();
        self.offers.send((offer, sender)).await.ok().context("the connection is over")?;
        answer.await.context("the connection is over")?
    }

    async fn until(&self, what: &str, is_so: impl Fn() -> bool) -> anyhow::Result<()> {
        let wait = async {
            while !is_so() {
                let changed = self.shared.changed.notified();
                anyhow::ensure!(self.ended().is_none(), "not {what}: {}", self.ended().unwrap_or_default());
                changed.await;
            }
            Ok(())
        };
        tokio::time::timeout(PATIENCE, wait).await.with_context(|| format!("not {what} within {PATIENCE:?}"))?
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Running {
    connection: Connection,
    shared: Rc<Shared>,
    offers: mpsc::Receiver<Offered>,
    connected: bool,
}

impl Running {
    async fn run(mut self) -> anyhow::Result<()> {
        let mut buffer = vec![0; LARGEST];
        let sleep = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(sleep);
        loop {
            let mut until = self.poll()?;
            if let Some(due) = self.publish()? {
                until = self.poll()?.min(due);
            }
            if !self.connection.rtc.is_alive() {
                return Ok(());
            }
            sleep.as_mut().reset(until.into());
            tokio::select! {
                biased;
                Some((offer, sender)) = self.offers.recv() => {
                    let _ = sender.send(answer(&mut self.connection.rtc, &offer));
                }
                readable = self.connection.socket.readable() => {
                    readable?;
                    self.read(&mut buffer)?;
                }
                () = &mut sleep => self.connection.rtc.handle_input(Input::Timeout(Instant::now()))?,
            }
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> anyhow::Result<()> {
        for _ in 0..AT_ONCE {
            let Ok((len, source)) = self.connection.socket.try_recv_from(buffer) else { return Ok(()) };
            // What cannot be read is somebody's play.
            let Ok(contents) = buffer[..len].try_into() else { continue };
            let receive = Receive { proto: Protocol::Udp, source, destination: self.connection.local, contents };
            self.connection.rtc.handle_input(Input::Receive(Instant::now(), receive))?;
            self.poll()?;
        }
        Ok(())
    }

    /// Sends what str0m wants sent and takes note of what it tells; when it wants to be woken.
    fn poll(&mut self) -> anyhow::Result<Instant> {
        loop {
            match self.connection.rtc.poll_output()? {
                Output::Timeout(until) => return Ok(until),
                // A full socket drops, as the network would.
                Output::Transmit(out) => {
                    let _ = self.connection.sender.send_to(&out.contents, out.destination);
                }
                Output::Event(event) => self.happened(event),
            }
        }
    }

    fn happened(&mut self, event: Event) {
        let studio = &self.connection.studio;
        match event {
            Event::Connected => {
                self.connected = true;
                self.shared.connected.set(true);
                self.shared.changed.notify_waiters();
                if let Some(source) = &mut self.connection.source {
                    source.begin(studio.clock.now());
                }
            }
            Event::RtpPacket(packet) => {
                let Some(mark) = Mark::read(&packet.payload) else { return };
                let now = studio.clock.now();
                if self.shared.heard.borrow_mut().arrived(now, &mark, &studio.deliveries) {
                    self.shared.changed.notify_waiters();
                }
            }
            Event::KeyframeRequest(request) => {
                let stream = [Stream::Low, Stream::Middle, Stream::High]
                    .into_iter()
                    .find(|stream| request.rid.is_some_and(|rid| rid == Rid::from(stream.rid())));
                if let Some(source) = &mut self.connection.source {
                    source.keyframe_wanted(stream);
                }
            }
            _ => {}
        }
    }

    /// Sends what is due. When the next is, if anything is ever.
    fn publish(&mut self) -> anyhow::Result<Option<Instant>> {
        if !self.connected {
            return Ok(None);
        }
        let Connection { studio, source: Some(source), .. } = &mut self.connection else { return Ok(None) };
        let (clock, deliveries) = (studio.clock, studio.deliveries.clone());
        let now = clock.now();
        if let Some(largest) = self.shared.largest.take() {
            source.stop_above(largest);
        }
        if source.due().is_some_and(|due| due <= now) {
            let mut packets = Vec::new();
            source.take(now, |packet| packets.push(packet));
            for packet in packets {
                if deliveries.counts(now) {
                    Deliveries::add(&deliveries.sent);
                }
                self.write(packet)?;
                self.poll()?;
            }
        }
        let due = self.connection.source.as_ref().and_then(Source::due);
        Ok(due.map(|due| Instant::now() + Duration::from_nanos(due.saturating_sub(clock.now()))))
    }

    fn write(&mut self, packet: Packet) -> anyhow::Result<()> {
        let wanted = if packet.stream == Stream::Voice { MediaKind::Audio } else { MediaKind::Video };
        let rtc = &mut self.connection.rtc;
        let section = self.connection.sections.iter().find(|(_, kind)| *kind == wanted);
        let (mid, _) = *section.context("nothing was offered for this")?;
        let number = rtc.media(mid).and_then(|media| media.remote_pts().first().copied());
        let number = number.context("the other side takes no such codec")?;
        let mut api = rtc.direct_api();
        let layered = [Stream::Low, Stream::Middle, Stream::High].contains(&packet.stream);
        let rid = layered.then(|| Rid::from(packet.stream.rid()));
        let stream = match rid.and_then(|rid| api.stream_tx_by_mid(mid, Some(rid)).map(|_| rid)) {
            Some(rid) => api.stream_tx_by_mid(mid, Some(rid)),
            None => api.stream_tx_by_mid(mid, None),
        };
        let stream = stream.context("there is no stream for this layer")?;
        let sequence = Mark::read(&packet.payload).map_or(0, |mark| u64::from(mark.sequence));
        let out = RtpWrite::new(number, sequence.into(), packet.timestamp, Instant::now(), packet.payload);
        stream.write_rtp(out.marker(packet.marker).nackable(packet.stream != Stream::Voice));
        Ok(())
    }
}
