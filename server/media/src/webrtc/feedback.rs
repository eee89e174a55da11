//! Reads what receivers ask for and report on its way in, and passes everything on as it is. The crate routes a compound by its first
//! packet alone, and knows nothing of packets that are sent past it ([`super::lane`]).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use rtc::interceptor::{Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::transport_feedbacks::transport_layer_cc::TransportLayerCc;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::{NackPair, TransportLayerNack};
use rtc::sansio::Protocol;
use rtc::shared::error::Error;
use tokio::sync::mpsc;

use super::lane::Lane;
use crate::ports::SubscriberEvent;

pub(super) struct Feedback {
    events: mpsc::Sender<SubscriberEvent>,
    lane: Arc<Lane>,
    read: VecDeque<TaggedPacket>,
    written: VecDeque<TaggedPacket>,
}

impl Feedback {
    pub(super) fn new(events: mpsc::Sender<SubscriberEvent>, lane: Arc<Lane>) -> Self {
        Self { events, lane, read: VecDeque::new(), written: VecDeque::new() }
    }

    fn wanted(&self, ssrc: u32) {
        // A full channel drops it; whoever asks asks again.
        let _ = self.events.try_send(SubscriberEvent::KeyframeWanted(ssrc));
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Feedback {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, message: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtcp(packets) = &message.message.packet {
            for packet in packets {
                let packet = packet.as_any();
                if let Some(request) = packet.downcast_ref::<PictureLossIndication>() {
                    self.wanted(request.media_ssrc);
                } else if let Some(request) = packet.downcast_ref::<FullIntraRequest>() {
                    request.fir.iter().for_each(|entry| self.wanted(entry.ssrc));
                } else if let Some(missing) = packet.downcast_ref::<TransportLayerNack>() {
                    let sequences = missing.nacks.iter().flat_map(NackPair::packet_list);
                    self.lane.again(message.now, missing.media_ssrc, sequences);
                } else if let Some(feedback) = packet.downcast_ref::<TransportLayerCc>() {
                    self.lane.heard(message.now, feedback);
                }
            }
        }
        self.read.push_back(message);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.read.pop_front()
    }

    fn handle_write(&mut self, message: TaggedPacket) -> Result<(), Error> {
        self.written.push_back(message);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.written.pop_front()
    }
}

impl Interceptor for Feedback {
    fn bind_local_stream(&mut self, info: &StreamInfo) {
        self.lane.agreed(info);
    }

    fn unbind_local_stream(&mut self, _: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _: &StreamInfo) {}
}
