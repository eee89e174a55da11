use std::net::{SocketAddr, UdpSocket};

use bytes::Bytes;
use rtc::crypto::{RTCCryptoProvider, default_provider};
use rtc::interceptor::{RTCPFeedback, RTPHeaderExtension};
use rtc::rtcp::transport_feedbacks::transport_layer_cc::{RunLengthChunk, SymbolTypeTcc};
use rtc::rtp::Packet;
use rtc::shared::marshal::Unmarshal;
use rtc::srtp::protection_profile::ProtectionProfile;
use tokio::sync::watch;

use super::*;
use crate::webrtc::mux::{Mux, Place};
use crate::webrtc::stun::tests::check;

const AUDIO: u32 = 11;
const VIDEO: u32 = 22;
const VIDEO_AGAIN: u32 = 33;

/// A connection whose other end is a socket here.
struct Receiver {
    lane: Lane,
    place: Place,
    socket: UdpSocket,
    opened: Context,
}

impl Receiver {
    async fn new() -> Self {
        let mux = Mux::bind("127.0.0.1:0".parse().expect("valid"), &[], false).expect("a free port");
        mux.can_send().await;
        let place = Place::new(&mux, false);
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        socket.set_read_timeout(Some(Duration::from_secs(5))).expect("supported");
        let keys = Keys::new().expect("there is cryptography");
        let profile = ProtectionProfile::AeadAes128Gcm;
        let context = |keys: &dyn RTCCryptoProvider| {
            Context::new(&[1; 16], &[2; 12], profile, None, None, keys.crypto()).expect("valid keys")
        };
        context(keys.as_ref());
        let opened = context(default_provider().expect("there is one").as_ref());
        let lane = Lane::new(place.inbox().clone(), keys, Estimate::new(watch::channel(None).0));
        Self { lane, place, socket, opened }
    }

    async fn connected() -> Self {
        let receiver = Self::new().await;
        receiver.place.used(&[22; 30], receiver.address());
        receiver
    }

    fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("bound")
    }

    fn agree(&self, ssrc: u32, again: Option<u32>) {
        let nack = RTCPFeedback { typ: "nack".into(), parameter: String::new() };
        self.lane.agreed(&StreamInfo {
            ssrc,
            payload_type: 96,
            ssrc_rtx: again,
            payload_type_rtx: again.map(|_| 97),
            rtcp_feedback: if ssrc == VIDEO { vec![nack] } else { Vec::new() },
            rtp_header_extensions: vec![RTPHeaderExtension { uri: TRANSPORT_WIDE.into(), id: 3 }],
            ..StreamInfo::default()
        });
    }

    fn send(&self, line: usize, sequence: u16) -> Option<Vec<u32>> {
        self.send_as(96, line, sequence)
    }

    fn send_as(&self, payload_type: u8, line: usize, sequence: u16) -> Option<Vec<u32>> {
        let payload = Bytes::from(vec![sequence as u8; 50]);
        let packet = Kept { sequence, timestamp: 700, marker: true, payload_type, transport: 0, payload };
        let reports = self.lane.send(line, packet)?;
        Some(reports.iter().map(|report| report.ssrc).collect())
    }

    fn datagram(&self) -> Vec<u8> {
        let mut room = [0; 2000];
        let len = self.socket.recv(&mut room).expect("something was sent");
        room[..len].to_vec()
    }

    fn packet(&mut self) -> Packet {
        let datagram = self.datagram();
        let mut plain = self.opened.decrypt_rtp(&datagram).expect("the keys are the same");
        Packet::unmarshal(&mut plain).expect("a packet")
    }

    fn has_more(&self) -> bool {
        self.socket.set_nonblocking(true).expect("supported");
        let has_more = self.socket.recv(&mut [0; 10]).is_ok();
        self.socket.set_nonblocking(false).expect("supported");
        has_more
    }
}

#[tokio::test]
async fn lines_share_the_numbers_of_their_connection_and_nothing_else() {
    let mut receiver = Receiver::connected().await;
    let (audio, video) = (receiver.lane.add(AUDIO, 48_000), receiver.lane.add(VIDEO, 90_000));
    receiver.agree(AUDIO, None);
    receiver.agree(VIDEO, None);
    for (at, line) in [audio, video, video, audio].into_iter().enumerate() {
        let sequence = 65_534_u16.wrapping_add(at as u16);
        assert!(receiver.send(line, sequence).is_some());
        let packet = receiver.packet();
        let header = &packet.header;
        assert_eq!((header.ssrc, header.sequence_number), ([AUDIO, VIDEO][line], sequence));
        assert_eq!((header.payload_type, header.timestamp, header.marker), (96, 700, true));
        assert_eq!(header.get_extension(3).as_deref(), Some(&[0, at as u8][..]));
        assert_eq!(packet.payload, vec![sequence as u8; 50]);
    }
}

#[tokio::test]
async fn what_is_missed_comes_again_in_a_stream_of_its_own() {
    let mut receiver = Receiver::connected().await;
    let video = receiver.lane.add(VIDEO, 90_000);
    receiver.agree(VIDEO, Some(VIDEO_AGAIN));
    for sequence in 1..=3 {
        receiver.send(video, sequence);
        receiver.packet();
    }
    receiver.lane.again(Instant::now(), VIDEO, [9, 2].into_iter());
    let packet = receiver.packet();
    let header = &packet.header;
    assert_eq!((header.ssrc, header.payload_type, header.timestamp), (VIDEO_AGAIN, 97, 700));
    assert_eq!(header.get_extension(3).as_deref(), Some(&[0, 3][..]), "it has a number of its own");
    assert_eq!((&packet.payload[..2], &packet.payload[2..]), (&[0, 2][..], &[2; 50][..]));
    // No more again than there ever were.
    receiver.lane.again(Instant::now(), VIDEO, std::iter::repeat_n(1, 9));
    let first = receiver.packet().header.sequence_number;
    assert_eq!(receiver.packet().header.sequence_number, first.wrapping_add(1));
    assert!(!receiver.has_more());
}

/// That packets from 0 on arrived, in chunks of so many.
fn report(chunks: &[u16]) -> TransportLayerCc {
    let chunk = |run_length: &u16| {
        let packet_status_symbol = SymbolTypeTcc::PacketReceivedWithoutDelta;
        PacketStatusChunk::RunLengthChunk(RunLengthChunk {
            packet_status_symbol,
            run_length: *run_length,
            ..RunLengthChunk::default()
        })
    };
    let packet_chunks: Vec<_> = chunks.iter().map(chunk).collect();
    let packet_status_count = chunks.iter().copied().fold(0, u16::saturating_add);
    TransportLayerCc { packet_status_count, packet_chunks, ..TransportLayerCc::default() }
}

#[tokio::test]
async fn what_a_receiver_reports_and_asks_for_costs_no_more_than_what_it_was_sent() {
    let receiver = Receiver::connected().await;
    let video = receiver.lane.add(VIDEO, 90_000);
    receiver.agree(VIDEO, Some(VIDEO_AGAIN));
    receiver.send(video, 1);
    // 36 bytes that say the fate of everything there could ever be: the crate would make 65,528 entries of them.
    let large = report(&[8191; 8]);
    assert_eq!(told(&large), 65_528);
    receiver.lane.heard(Instant::now(), &large);
    let fates = |told| receiver.lane.state().awaited.heard(&convert_twcc(&report(told))).len();
    assert_eq!(fates(&[1]), 1, "it was not looked at");
    receiver.send(video, 2);
    receiver.lane.heard(Instant::now(), &report(&[1, 1]));
    assert_eq!(fates(&[1, 1]), 0, "that was");
    // Whatever it asks for, it is looked for so often only.
    let asked = std::cell::Cell::new(0);
    for _ in 0..100 {
        let missed = (9..1000).inspect(|_| asked.set(asked.get() + 1));
        receiver.lane.again(Instant::now(), VIDEO, missed);
    }
    assert_eq!(asked.get(), 2 * ASKED + 100, "each time one is asked for in vain");
    receiver.send(video, 3);
    assert_eq!(receiver.lane.state().asks, ASKED);
}

#[tokio::test]
async fn without_such_a_stream_the_same_datagram_comes_again() {
    let receiver = Receiver::connected().await;
    let (audio, video) = (receiver.lane.add(AUDIO, 48_000), receiver.lane.add(VIDEO, 90_000));
    receiver.agree(AUDIO, None);
    receiver.agree(VIDEO, None);
    // 65,535 is of the numbers before the wrap, and encrypted as such.
    let [_, missed, _] = [65_534, 65_535, 0].map(|sequence| {
        receiver.send(video, sequence);
        receiver.datagram()
    });
    receiver.send(audio, 1);
    receiver.datagram();
    receiver.lane.again(Instant::now(), AUDIO, [1].into_iter());
    receiver.lane.again(Instant::now(), VIDEO, [65_535].into_iter());
    assert_eq!(receiver.datagram(), missed);
    assert!(!receiver.has_more());
}

#[tokio::test]
async fn what_is_of_another_codec_comes_again_as_it_was() {
    let mut receiver = Receiver::connected().await;
    let video = receiver.lane.add(VIDEO, 90_000);
    receiver.agree(VIDEO, Some(VIDEO_AGAIN));
    receiver.send_as(102, video, 1);
    let missed = receiver.datagram();
    receiver.send(video, 2);
    receiver.packet();
    receiver.lane.again(Instant::now(), VIDEO, [1].into_iter());
    assert_eq!(receiver.datagram(), missed);
    receiver.lane.again(Instant::now(), VIDEO, [2].into_iter());
    assert_eq!(receiver.packet().header.ssrc, VIDEO_AGAIN);
}

#[tokio::test]
async fn reports_are_due_each_second_and_when_the_path_may_be_another() {
    let receiver = Receiver::new().await;
    let video = receiver.lane.add(VIDEO, 90_000);
    receiver.lane.add(AUDIO, 48_000);
    assert_eq!(receiver.send(video, 1), None, "there is no path yet");
    receiver.place.used(&check("abcd:x", "secret"), receiver.address());
    assert_eq!(receiver.send(video, 1), None, "it was only tried");
    receiver.place.used(&[22; 30], receiver.address());
    assert_eq!(receiver.send(video, 2), Some(vec![VIDEO]), "nothing was sent on the other line");
    assert_eq!(receiver.send(video, 3), Some(vec![]));
    receiver.place.used(&check("abcd:x", "secret"), receiver.address());
    assert_eq!(receiver.send(video, 4), Some(vec![]));
    let other = Receiver::new().await.socket;
    let elsewhere = other.local_addr().expect("bound");
    receiver.place.used(&check("abcd:x", "secret"), elsewhere);
    assert_eq!(receiver.send(video, 5), Some(vec![VIDEO]));
    assert_eq!(receiver.send(video, 6), Some(vec![]));
    receiver.place.used(&[200; 30], elsewhere);
    receiver.send(video, 7);
    assert!(other.recv(&mut [0; 2000]).expect("it goes there now") > 50);
    let Receiver { lane, place, .. } = receiver;
    drop(place);
    let packet =
        Kept { sequence: 8, timestamp: 0, marker: true, payload_type: 96, transport: 0, payload: Bytes::new() };
    assert!(lane.send(video, packet).is_none());
}
