//! The way of a connection's packets past the crate: a header, encryption, and out through the port, in the task that has the packet.
//! Nothing waits here, so nothing can be full, and no task is woken.
//!
//! The crate does the rest, which is no work of each packet: checks, handshake, and what receivers report, which comes here by
//! [`super::feedback`]. Whom packets go to is whom it last sent to ([`Inbox::route`]), and the keys are its own ([`Keys`]).
//!
//! **Invariant:** RTP of such a connection is sent by this alone, and RTCP by the crate alone. Each counts what it encrypts, and two
//! packets under one number would give the keys away.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc::interceptor::{BandwidthEstimator, StreamInfo, convert_twcc};
use rtc::rtcp::sender_report::SenderReport;
use rtc::rtcp::transport_feedbacks::transport_layer_cc::{PacketStatusChunk, TransportLayerCc};
use rtc::shared::time::SystemInstant;
use rtc::srtp::context::Context;

use super::estimate::Estimate;
use super::keys::Keys;
use super::mux::Inbox;
use super::sent::{Awaited, Buffer, Kept};
use crate::meters;

/// How often receivers are told which time a timestamp is.
const REPORTS_EVERY: Duration = Duration::from_secs(1);

/// Packets that a receiver may ask for again at once. Asking costs less than being answered, so it is no way to keep us busy.
const REPEATS: usize = 1024;

/// How often it may ask for each packet, whether it is still here or not. Browsers ask ten times for what does not come, and not everything is missed.
const ASKED: usize = 8;

const TRANSPORT_WIDE: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

pub(super) struct Lane {
    inbox: Arc<Inbox>,
    keys: Arc<Keys>,
    state: Mutex<State>,
}

struct State {
    protection: Option<Context>,
    streams: Vec<Stream>,
    awaited: Awaited,
    /// Packets that may be sent again: as many as were sent, up to [`REPEATS`].
    repeats: usize,
    /// Packets that may be asked for: [`ASKED`] for each that was sent, up to as many for [`REPEATS`].
    asks: usize,
    estimate: Estimate,
    reported: Option<Instant>,
    /// Room for a packet, in which each is written.
    plain: Vec<u8>,
}

/// What is sent of one line.
struct Stream {
    ssrc: u32,
    clock: u32,
    agreed: Agreed,
    buffer: Buffer,
    retransmissions: u16,
    packets: u32,
    octets: u32,
    /// The newest timestamp, and when its first packet left.
    begun: Option<(u32, Instant)>,
}

/// What descriptions say of a line.
#[derive(Clone, Copy, Default)]
struct Agreed {
    /// Under which number a packet says its place in all of the connection's.
    transport_wide: Option<u8>,
    may_be_asked_again: bool,
    retransmission: Option<Retransmission>,
}

/// How packets of one payload type are sent again (RFC 4588). Those of others are, as they were.
#[derive(Clone, Copy)]
struct Retransmission {
    of: u8,
    ssrc: u32,
    payload_type: u8,
}

/// A packet before it is encrypted.
struct Plain<'a> {
    ssrc: u32,
    payload_type: u8,
    /// Number of the extension, and what it says.
    transport_wide: Option<(u8, u16)>,
    /// The number of the packet that this one repeats.
    repeats: Option<u16>,
    packet: &'a Kept,
}

impl Lane {
    pub(super) fn new(inbox: Arc<Inbox>, keys: Arc<Keys>, estimate: Estimate) -> Self {
        let state = State {
            protection: None,
            streams: Vec::new(),
            awaited: Awaited::default(),
            repeats: 0,
            asks: 0,
            estimate,
            reported: None,
            plain: Vec::new(),
        };
        Self { inbox, keys, state: Mutex::new(state) }
    }

    /// One more line, and the number under which [`Self::send`] knows it.
    pub(super) fn add(&self, ssrc: u32, clock: u32) -> usize {
        let mut state = self.state();
        state.streams.push(Stream {
            ssrc,
            clock,
            agreed: Agreed::default(),
            buffer: Buffer::default(),
            retransmissions: rand::random(),
            packets: 0,
            octets: 0,
            begun: None,
        });
        state.streams.len() - 1
    }

    /// What was agreed on about a line.
    pub(super) fn agreed(&self, info: &StreamInfo) {
        let extension = info.rtp_header_extensions.iter().find(|extension| extension.uri == TRANSPORT_WIDE);
        let agreed = Agreed {
            transport_wide: extension.and_then(|extension| u8::try_from(extension.id).ok()).filter(|id| *id != 0),
            may_be_asked_again: info.rtcp_feedback.iter().any(|one| one.typ == "nack" && one.parameter.is_empty()),
            retransmission: info.ssrc_rtx.zip(info.payload_type_rtx).map(|(ssrc, payload_type)| Retransmission {
                of: info.payload_type,
                ssrc,
                payload_type,
            }),
        };
        if let Some(stream) = self.state().streams.iter_mut().find(|stream| stream.ssrc == info.ssrc) {
            stream.agreed = agreed;
        }
    }

    /// `None` if there is no connection yet, or no more. Reports, if it is time for some, are whoever calls' to send.
    pub(super) fn send(&self, line: usize, packet: Kept) -> Option<Vec<SenderReport>> {
        let to = self.inbox.route()?;
        let now = Instant::now();
        let mut state = self.state();
        let protected = state.send(&self.keys, now, line, packet)?;
        if self.inbox.is_route_doubtful() {
            // What the crate sends shows where packets go now.
            state.reported = None;
        }
        let reports = state.reports(now);
        drop(state);
        self.inbox.send(&protected, to).ok()?;
        Some(reports)
    }

    /// Sends again what a receiver misses and is still here.
    pub(super) fn again(&self, now: Instant, ssrc: u32, sequences: impl Iterator<Item = u16>) {
        for sequence in sequences {
            // Others have packets for this receiver, and must not wait until all of these are gone.
            let mut state = self.state();
            let Some(asks) = state.asks.checked_sub(1) else {
                meters::REFUSED.increment(1);
                return;
            };
            state.asks = asks;
            let again = state.again(now, ssrc, sequence);
            drop(state);
            if let Some((protected, to)) = again.zip(self.inbox.route()) {
                let _ = self.inbox.send(&protected, to);
            }
        }
    }

    pub(super) fn heard(&self, now: Instant, feedback: &TransportLayerCc) {
        if !self.state().awaited.takes(told(feedback)) {
            meters::REFUSED.increment(1);
            return;
        }
        let feedback = convert_twcc(feedback);
        let state = &mut *self.state();
        let reports = state.awaited.heard(&feedback);
        state.estimate.on_reports(now, &reports);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("sending does not panic")
    }
}

impl State {
    fn send(&mut self, keys: &Keys, now: Instant, line: usize, mut packet: Kept) -> Option<BytesMut> {
        if self.protection.is_none() {
            self.protection = keys.sending();
        }
        let stream = &mut self.streams[line];
        let size = Plain::LARGEST_HEADER + packet.payload.len();
        let transport_wide = stream.agreed.transport_wide.map(|id| (id, self.awaited.leaves(now, size)));
        packet.transport = transport_wide.map_or(0, |(_, number)| number);
        let payload_type = packet.payload_type;
        let plain = Plain { ssrc: stream.ssrc, payload_type, transport_wide, repeats: None, packet: &packet };
        let protected = plain.protect(self.protection.as_mut()?, &mut self.plain)?;
        self.repeats = REPEATS.min(self.repeats + 1);
        self.asks = (ASKED * REPEATS).min(self.asks + ASKED);
        stream.packets = stream.packets.wrapping_add(1);
        stream.octets = stream.octets.wrapping_add(packet.payload.len() as u32);
        if stream.begun.is_none_or(|(timestamp, _)| timestamp != packet.timestamp) {
            stream.begun = Some((packet.timestamp, now));
        }
        if stream.agreed.may_be_asked_again {
            stream.buffer.keep(packet);
        }
        Some(protected)
    }

    fn again(&mut self, now: Instant, ssrc: u32, sequence: u16) -> Option<BytesMut> {
        let stream = self.streams.iter_mut().find(|stream| stream.ssrc == ssrc)?;
        let mut packet = stream.buffer.find(sequence)?.clone();
        self.repeats = self.repeats.checked_sub(1)?;
        let id = stream.agreed.transport_wide;
        let plain = match stream.agreed.retransmission.filter(|agreed| agreed.of == packet.payload_type) {
            Some(Retransmission { ssrc, payload_type, .. }) => {
                let size = Plain::LARGEST_HEADER + packet.payload.len();
                let transport_wide = id.map(|id| (id, self.awaited.leaves(now, size)));
                stream.retransmissions = stream.retransmissions.wrapping_add(1);
                let repeats = Some(std::mem::replace(&mut packet.sequence, stream.retransmissions));
                Plain { ssrc, payload_type, transport_wide, repeats, packet: &packet }
            }
            // The very same packet: another one under its number would give the keys away.
            None => {
                let transport_wide = id.map(|id| (id, packet.transport));
                Plain { ssrc, payload_type: packet.payload_type, transport_wide, repeats: None, packet: &packet }
            }
        };
        plain.protect(self.protection.as_mut()?, &mut self.plain)
    }

    fn reports(&mut self, now: Instant) -> Vec<SenderReport> {
        if self.reported.is_some_and(|reported| now < reported + REPORTS_EVERY) {
            return Vec::new();
        }
        self.reported = Some(now);
        let ntp_time = SystemInstant::now(now).ntp(now);
        let report = |stream: &Stream| {
            let (timestamp, at) = stream.begun?;
            let passed = now.saturating_duration_since(at).as_secs_f64() * f64::from(stream.clock);
            Some(SenderReport {
                ssrc: stream.ssrc,
                ntp_time,
                rtp_time: timestamp.wrapping_add(passed as u32),
                packet_count: stream.packets,
                octet_count: stream.octets,
                ..SenderReport::default()
            })
        };
        self.streams.iter().filter_map(report).collect()
    }
}

/// How many packets a report tells of, as the crate reads it: whatever it says that there are, each chunk counts as a whole.
fn told(feedback: &TransportLayerCc) -> usize {
    let of = |chunk: &PacketStatusChunk| match chunk {
        PacketStatusChunk::RunLengthChunk(run) => usize::from(run.run_length),
        PacketStatusChunk::StatusVectorChunk(vector) => vector.symbol_list.len(),
    };
    feedback.packet_chunks.iter().map(of).sum()
}

impl Plain<'_> {
    /// Of a header with one extension.
    const LARGEST_HEADER: usize = 20;

    /// As it goes out (RFC 3550, section 5.1; RFC 8285 for the extension).
    fn protect(&self, protection: &mut Context, room: &mut Vec<u8>) -> Option<BytesMut> {
        let Kept { sequence, timestamp, marker, payload, .. } = self.packet;
        room.clear();
        room.push(if self.transport_wide.is_some() { 0x90 } else { 0x80 });
        room.push(u8::from(*marker) << 7 | self.payload_type);
        room.extend(sequence.to_be_bytes());
        room.extend(timestamp.to_be_bytes());
        room.extend(self.ssrc.to_be_bytes());
        if let Some((id, number)) = self.transport_wide {
            let [high, low] = number.to_be_bytes();
            room.extend(match id {
                1..15 => [0xbe, 0xde, 0, 1, id << 4 | 1, high, low, 0],
                _ => [0x10, 0, 0, 1, id, 2, high, low],
            });
        }
        if let Some(repeats) = self.repeats {
            room.extend(repeats.to_be_bytes());
        }
        room.extend_from_slice(payload);
        protection.encrypt_rtp(room).inspect_err(|error| tracing::debug!(%error, "a packet is not sent")).ok()
    }
}

#[cfg(test)]
mod tests;
