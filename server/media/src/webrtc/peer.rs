//! Connections of the crate `webrtc` behind our traits: how they are set up, and what goes over them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use rtc::interceptor::Slot;
use rtc::peer_connection::configuration::RTCOfferOptions;
use rtc::peer_connection::configuration::interceptor_registry::register_default_interceptors;
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_H264, MIME_TYPE_OPUS, MIME_TYPE_VP8, MediaEngine};
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::sender_report::SenderReport;
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters,
    RTCRtpHeaderExtensionCapability, RtpCodecKind,
};
use rtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use tokio::sync::{mpsc, watch};
use webrtc::media_stream::MediaStreamTrack;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder, RTCIceGatheringState,
    RTCPeerConnectionState, RTCSessionDescription, Registry, SettingEngineBuilder,
};
use webrtc::rtp_transceiver::RtpTransceiver;

use super::estimate::Estimate;
use super::feedback::Feedback;
use super::keys::{Keys, PROFILES};
use super::lane::Lane;
use super::mux::{Mux, Place};
use super::sent::Kept;
use crate::codec::Codec;
use crate::meters;
use crate::ports::{
    Condition, Incoming, Line, Publisher, PublisherEvent, Received, Subscriber, SubscriberEvent, TransportError,
};
use crate::router::{Kind, Layer};
use crate::sdp;

/// How long the crate may take to find its own addresses, of which there is one.
const GATHERING: Duration = Duration::from_secs(3);

/// What comes after every interceptor of the crate on the way to us.
const NEAREST_TO_US: usize = 20_000;

/// Reports of 28 bytes that go in one packet.
const REPORTS: usize = 32;

const VP8: u8 = 96;
const VP8_RTX: u8 = 97;
const H264: u8 = 102;
const OPUS: u8 = 111;

const AUDIO_LEVEL: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";

impl From<Kind> for RtpCodecKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Audio => Self::Audio,
            Kind::Video => Self::Video,
        }
    }
}

/// A codec as it is described, with the number that it has where we choose it.
fn described(codec: Codec) -> RTCRtpCodecParameters {
    let feedback = |typ: &str, parameter: &str| RTCPFeedback { typ: typ.into(), parameter: parameter.into() };
    let (mime_type, payload_type, format) = match codec {
        // Errors are corrected in band, and silence is hardly sent.
        Codec::Opus => (MIME_TYPE_OPUS, OPUS, "minptime=10;useinbandfec=1;usedtx=1"),
        Codec::Vp8 => (MIME_TYPE_VP8, VP8, ""),
        // The profile that everybody decodes, which is not said of what is passed on: decoders look at the pictures themselves.
        Codec::H264 => (MIME_TYPE_H264, H264, "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"),
    };
    let (channels, rtcp_feedback) = match codec.kind() {
        Kind::Audio => (2, Vec::new()),
        Kind::Video => (0, vec![feedback("ccm", "fir"), feedback("nack", ""), feedback("nack", "pli")]),
    };
    let clock_rate = codec.kind().clock();
    let (mime_type, sdp_fmtp_line) = (mime_type.into(), format.into());
    let rtp_codec = RTCRtpCodec { mime_type, clock_rate, channels, sdp_fmtp_line, rtcp_feedback };
    RTCRtpCodecParameters { rtp_codec, payload_type }
}

fn media_engine(side: Side) -> Result<MediaEngine, TransportError> {
    let mut engine = MediaEngine::default();
    let (audio, video) = (RtpCodecKind::Audio, RtpCodecKind::Video);
    match side {
        Side::Publisher(picture) => engine.register_codec(described(picture), video).map_err(failed)?,
        Side::Subscriber => {
            engine.register_codec(described(Codec::Vp8), video).map_err(failed)?;
            let mut retransmission = described(Codec::Vp8);
            retransmission.payload_type = VP8_RTX;
            retransmission.rtp_codec.mime_type = "video/rtx".into();
            retransmission.rtp_codec.sdp_fmtp_line = format!("apt={VP8}");
            retransmission.rtp_codec.rtcp_feedback = Vec::new();
            engine.register_codec(retransmission, video).map_err(failed)?;
            engine.register_codec(described(Codec::H264), video).map_err(failed)?;
        }
    }
    engine.register_codec(described(Codec::Opus), audio).map_err(failed)?;
    if let Side::Publisher(_) = side {
        let level = RTCRtpHeaderExtensionCapability { uri: AUDIO_LEVEL.to_owned() };
        engine.register_header_extension(level, audio, None).map_err(failed)?;
    }
    Ok(engine)
}

fn failed(error: impl std::fmt::Display) -> TransportError {
    TransportError::Failed(error.to_string())
}

fn unusable(error: impl std::fmt::Display) -> TransportError {
    TransportError::Description(error.to_string())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    /// With pictures of this codec.
    Publisher(Codec),
    Subscriber,
}

/// What the crate tells, on the task that carries its packets: nothing here may wait.
struct Handler {
    gathered: mpsc::Sender<()>,
    conditions: Box<dyn Fn(Condition) + Send + Sync>,
    tracks: Box<dyn Fn(Arc<dyn TrackRemote>) + Send + Sync>,
}

#[async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            let _ = self.gathered.try_send(());
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        match state {
            RTCPeerConnectionState::Connected => (self.conditions)(Condition::Connected),
            RTCPeerConnectionState::Failed => (self.conditions)(Condition::Failed),
            _ => {}
        }
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        (self.tracks)(track);
    }
}

/// A connection of either side.
struct Peer {
    connection: Arc<dyn PeerConnection>,
    gathered: mpsc::Receiver<()>,
    has_gathered: bool,
    place: Place,
    _counted: meters::Open,
}

impl Peer {
    /// `heard`: whom what the other side asks for and reports is for, if we send.
    async fn new(
        place: Place,
        side: Side,
        heard: Option<(Feedback, Arc<Keys>)>,
        handler: impl FnOnce(mpsc::Sender<()>) -> Handler,
    ) -> Result<Self, TransportError> {
        let mut settings = SettingEngineBuilder::new()
            .with_lite(true)
            .with_multicast_dns_mode(rtc::ice::mdns::MulticastDnsMode::Disabled);
        let mut engine = media_engine(side)?;
        let mut registry = register_default_interceptors(Registry::new(), &mut engine).map_err(failed)?;
        if let Some((feedback, keys)) = heard {
            // None of the crate's: it sees no packet of what is sent.
            registry = Registry::new().with(Slot::from(NEAREST_TO_US), feedback);
            settings = settings.with_crypto_provider(keys).with_srtp_protection_profiles(PROFILES.to_vec());
        }
        let (sender, gathered) = mpsc::channel(1);
        let building = PeerConnectionBuilder::new()
            .with_configuration(RTCConfigurationBuilder::default().build())
            .with_media_engine(engine)
            .with_interceptor_registry(registry)
            .with_setting_engine(settings.build())
            .with_handler(Arc::new(handler(sender)))
            .with_runtime(Arc::new(place.runtime()))
            .with_udp_addrs(vec![place.throw_away()])
            .build();
        // It is large, and whoever waits for it would hold so much room for it ever after.
        let connection = Arc::new(Box::pin(building).await.map_err(failed)?);
        Ok(Self { connection, gathered, has_gathered: false, place, _counted: meters::Open::peer() })
    }

    /// Our description, as the page gets it.
    async fn described(&mut self, description: RTCSessionDescription) -> Result<String, TransportError> {
        self.connection.set_local_description(description).await.map_err(unusable)?;
        if !self.has_gathered {
            // Without it the crate would not take the first check.
            let _ = tokio::time::timeout(GATHERING, self.gathered.recv()).await;
            self.has_gathered = true;
        }
        let local = self.connection.local_description().await;
        let sdp = local.ok_or_else(|| failed("there is no local description"))?.sdp;
        if let (Some(fragment), Some(password)) = (sdp::attribute(&sdp, "ice-ufrag"), sdp::attribute(&sdp, "ice-pwd")) {
            self.place.named(fragment, password);
        }
        let (udp, tcp) = self.place.addresses();
        Ok(sdp::with_candidates(&sdp, udp, tcp))
    }

    async fn answer(&mut self, offer: &str) -> Result<String, TransportError> {
        let offer = RTCSessionDescription::offer(sdp::without_candidates(offer)).map_err(unusable)?;
        self.connection.set_remote_description(offer).await.map_err(unusable)?;
        let answer = self.connection.create_answer(None).await.map_err(unusable)?;
        self.described(answer).await
    }

    async fn close(&self) {
        if let Err(error) = self.connection.close().await {
            tracing::debug!(%error, "a media connection did not close");
        }
    }
}

pub(super) struct PublisherPeer {
    peer: Peer,
    level: Arc<Mutex<Option<u8>>>,
    answered: Option<Answered>,
}

/// The first exchange, which says what the sections carry.
struct Answered {
    mids: Vec<String>,
    answer: String,
}

impl PublisherPeer {
    pub(super) async fn new(
        mux: &Arc<Mux>,
        picture: Codec,
        events: mpsc::Sender<PublisherEvent>,
    ) -> Result<Self, TransportError> {
        let level = Arc::new(Mutex::new(None));
        let own_level = level.clone();
        let handler = move |gathered| {
            let opened = events.clone();
            Handler {
                gathered,
                conditions: Box::new(move |condition| {
                    let _ = events.try_send(PublisherEvent::Became(condition));
                }),
                tracks: Box::new(move |remote| {
                    let (opened, level) = (opened.clone(), own_level.clone());
                    // Its name is behind a lock of the crate that is free; it is asked for without waiting.
                    let Some((name, kind)) = remote.track_id().now_or_never().zip(remote.kind().now_or_never()) else {
                        return;
                    };
                    let codec = if kind == RtpCodecKind::Audio { Codec::Opus } else { picture };
                    let level = *level.lock().expect("a number is only read and written");
                    let track = Box::new(Section { remote, codec, level, layers: HashMap::new() });
                    let _ = opened.try_send(PublisherEvent::Track { mid: name, codec, track });
                }),
            }
        };
        Ok(Self {
            peer: Peer::new(Place::new(mux, true), Side::Publisher(picture), None, handler).await?,
            level,
            answered: None,
        })
    }
}

#[async_trait]
impl Publisher for PublisherPeer {
    async fn answer(&mut self, offer: &str) -> Result<String, TransportError> {
        let mids: Vec<_> = sdp::sections(offer).iter().map(|one| one.mid().unwrap_or_default().to_owned()).collect();
        if let Some(before) = self.answered.as_ref().filter(|before| before.mids == mids) {
            // The same tracks in a new ICE session. Told of simulcast layers again, the crate would forget which streams they are, and
            // browsers say that only until they know that it was heard.
            let answer = self.peer.answer(&sdp::without_streams(offer)).await?;
            let credentials = sdp::attribute(&answer, "ice-ufrag").zip(sdp::attribute(&answer, "ice-pwd"));
            let (fragment, password) = credentials.ok_or_else(|| failed("the answer names no ICE session"))?;
            return Ok(sdp::with_credentials(&before.answer, fragment, password));
        }
        *self.level.lock().expect("a number is only read and written") = sdp::extension(offer, AUDIO_LEVEL);
        let answer = self.peer.answer(&sdp::with_named_tracks(offer)).await?;
        self.answered = Some(Answered { mids, answer: answer.clone() });
        Ok(answer)
    }

    async fn close(&mut self) {
        self.peer.close().await;
    }
}

/// A section of a publisher's connection, with all its layers.
struct Section {
    remote: Arc<dyn TrackRemote>,
    codec: Codec,
    /// Under which number levels come.
    level: Option<u8>,
    layers: HashMap<u32, Layer>,
}

#[async_trait]
impl Incoming for Section {
    async fn next(&mut self) -> Option<Received> {
        loop {
            match self.remote.poll().await? {
                TrackRemoteEvent::OnOpen(opened) => {
                    let rid = opened.rid.as_ref().map(ToString::to_string).unwrap_or_default();
                    let Some(layer) = Layer::of_rid(&rid) else {
                        tracing::debug!(rid, "a layer of an unknown name is ignored");
                        continue;
                    };
                    self.layers.insert(opened.ssrc, layer);
                }
                TrackRemoteEvent::OnRtpPacket(packet) => {
                    let header = &packet.header;
                    let Some(layer) = self.layers.get(&header.ssrc) else { continue };
                    let level = self.level.and_then(|id| Some(header.get_extension(id)?.first()? & 0x7f));
                    return Some(Received {
                        ssrc: header.ssrc,
                        layer: *layer,
                        codec: self.codec,
                        sequence: header.sequence_number,
                        timestamp: header.timestamp,
                        marker: header.marker,
                        level,
                        payload: packet.payload,
                    });
                }
                TrackRemoteEvent::OnEnded => return None,
                _ => {}
            }
        }
    }

    async fn request_keyframe(&self, ssrc: u32) {
        let request = PictureLossIndication { sender_ssrc: 1, media_ssrc: ssrc };
        if let Err(error) = self.remote.write_rtcp(vec![Box::new(request)]).await {
            tracing::debug!(%error, "a keyframe could not be asked for");
        }
    }
}

pub(super) struct SubscriberPeer {
    peer: Peer,
    lines: Vec<(Arc<dyn RtpTransceiver>, Arc<TrackLine>)>,
    lane: Arc<Lane>,
    capacity: watch::Receiver<Option<u64>>,
}

impl SubscriberPeer {
    pub(super) async fn new(mux: &Arc<Mux>, events: mpsc::Sender<SubscriberEvent>) -> Result<Self, TransportError> {
        let (estimated, capacity) = watch::channel(None);
        let (place, keys) = (Place::new(mux, false), Keys::new().map_err(failed)?);
        let lane = Arc::new(Lane::new(place.inbox().clone(), keys.clone(), Estimate::new(estimated)));
        let heard = (Feedback::new(events.clone(), lane.clone()), keys);
        let handler = move |gathered| Handler {
            gathered,
            conditions: Box::new(move |condition| {
                let _ = events.try_send(SubscriberEvent::Became(condition));
            }),
            tracks: Box::new(|_| {}),
        };
        let peer = Peer::new(place, Side::Subscriber, Some(heard), handler).await?;
        Ok(Self { peer, lines: Vec::new(), lane, capacity })
    }
}

impl SubscriberPeer {
    /// Takes from an answer which codecs there are, and their numbers: whoever offers chooses them.
    async fn agreed(&self, answer: &str) -> Result<(), TransportError> {
        let sections = sdp::sections(answer);
        for (transceiver, line) in &self.lines {
            let mid = transceiver.mid().await.map_err(failed)?;
            let section = sections.iter().find(|section| section.mid() == mid.as_deref());
            let section = section.ok_or_else(|| unusable("it has no section for one of the lines"))?;
            line.numbers.agreed(|codec| section.payload_type(codec.encoding()));
        }
        Ok(())
    }
}

#[async_trait]
impl Subscriber for SubscriberPeer {
    async fn add(&mut self, kind: Kind) -> Result<Arc<dyn Line>, TransportError> {
        let ssrc: u32 = rand::random();
        let encoding = RTCRtpEncodingParameters {
            rtp_coding_parameters: RTCRtpCodingParameters { ssrc: Some(ssrc), ..Default::default() },
            codec: described(Codec::of(kind)[0]).rtp_codec,
            ..Default::default()
        };
        // Each line is a stream of its own: browsers hold back what is in one stream so that lips and words agree, but which
        // microphone and camera belong together changes here without a description.
        let name = format!("line-{ssrc:08x}");
        let track = MediaStreamTrack::new(name.clone(), name.clone(), name, kind.into(), vec![encoding]);
        let track = Arc::new(TrackLocalStaticRTP::new(track));
        let init = RTCRtpTransceiverInit {
            direction: RTCRtpTransceiverDirection::Sendonly,
            streams: Vec::new(),
            send_encodings: Vec::new(),
        };
        let adding = self.peer.connection.add_transceiver_from_track(track.clone(), Some(init));
        let transceiver = adding.await.map_err(failed)?;
        // Otherwise it would be for what the track names alone. What an answer left out the crate offers no more.
        let left_out = |codec: &Codec| self.lines.iter().any(|(_, line)| line.numbers.lacks(*codec));
        let codecs = Codec::of(kind).iter().filter(|codec| !left_out(codec)).copied().map(described).collect();
        transceiver.set_codec_preferences(codecs).await.map_err(failed)?;
        let numbers = Numbers::new(kind);
        let (lane, number) = (self.lane.clone(), self.lane.add(ssrc, kind.clock()));
        let line = Arc::new(TrackLine { ssrc, numbers, track, lane, number });
        self.lines.push((transceiver, line.clone()));
        Ok(line)
    }

    async fn offer(&mut self, restart: bool) -> Result<(String, Vec<String>), TransportError> {
        let options = restart.then_some(RTCOfferOptions { ice_restart: true });
        let offer = self.peer.connection.create_offer(options).await.map_err(failed)?;
        let sdp = self.peer.described(offer).await?;
        let mut mids = Vec::with_capacity(self.lines.len());
        for (line, _) in &self.lines {
            mids.push(line.mid().await.map_err(failed)?.ok_or_else(|| failed("a line has no section"))?);
        }
        Ok((sdp, mids))
    }

    async fn answered(&mut self, answer: &str) -> Result<(), TransportError> {
        if !sdp::is_plain(answer) || sdp::sections(answer).len() > self.lines.len() {
            return Err(unusable("it has other sections than the offer"));
        }
        let description = RTCSessionDescription::answer(sdp::without_candidates(answer)).map_err(unusable)?;
        self.peer.connection.set_remote_description(description).await.map_err(unusable)?;
        self.agreed(answer).await
    }

    async fn answer(&mut self, offer: &str) -> Result<String, TransportError> {
        let sdp = self.peer.answer(&sdp::with_direction(offer, "recvonly")).await?;
        self.agreed(&sdp).await?;
        Ok(sdp::in_one_stream(&sdp))
    }

    fn capacity(&self) -> watch::Receiver<Option<u64>> {
        self.capacity.clone()
    }

    async fn close(&mut self) {
        self.peer.close().await;
    }
}

/// Under which payload types packets of a line are sent.
struct Numbers(Vec<(Codec, AtomicU8)>);

impl Numbers {
    /// None has this one, which is G.711's.
    const NONE: u8 = 0;

    /// As we offer them.
    fn new(kind: Kind) -> Self {
        let number = |codec: &Codec| (*codec, AtomicU8::new(described(*codec).payload_type));
        Self(Codec::of(kind).iter().map(number).collect())
    }

    fn agreed(&self, of: impl Fn(Codec) -> Option<u8>) {
        for (codec, number) in &self.0 {
            number.store(of(*codec).unwrap_or(Self::NONE), Relaxed);
        }
    }

    /// It is of this kind, and the receiver said that it does not decode it.
    fn lacks(&self, codec: Codec) -> bool {
        self.0.iter().any(|(other, number)| *other == codec && number.load(Relaxed) == Self::NONE)
    }

    /// `None`: the receiver does not decode it.
    fn of(&self, codec: Codec) -> Option<u8> {
        let number = self.0.iter().find(|(other, _)| *other == codec)?.1.load(Relaxed);
        (number != Self::NONE).then_some(number)
    }
}

struct TrackLine {
    ssrc: u32,
    numbers: Numbers,
    track: Arc<TrackLocalStaticRTP>,
    lane: Arc<Lane>,
    /// Its number there.
    number: usize,
}

impl Line for TrackLine {
    fn ssrc(&self) -> u32 {
        self.ssrc
    }

    fn decodes(&self, codec: Codec) -> bool {
        self.numbers.of(codec).is_some()
    }

    fn send(&self, packet: &Received, sequence: u16, timestamp: u32) -> bool {
        let Some(payload_type) = self.numbers.of(packet.codec) else { return false };
        let (marker, payload) = (packet.marker, packet.payload.clone());
        let packet = Kept { sequence, timestamp, marker, payload_type, transport: 0, payload };
        let Some(reports) = self.lane.send(self.number, packet) else { return false };
        for reports in reports.chunks(REPORTS) {
            let boxed = |report: &SenderReport| Box::new(report.clone()) as Box<dyn rtc::rtcp::Packet>;
            // If the crate's queue is full the next say it.
            let _ = self.track.write_rtcp(reports.iter().map(boxed).collect()).now_or_never();
        }
        true
    }
}
