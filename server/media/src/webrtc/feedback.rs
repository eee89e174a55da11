//! Reads requests for keyframes on their way in, and passes everything on as it is.

use std::collections::VecDeque;
use std::time::Instant;

use rtc::interceptor::{Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::sansio::Protocol;
use rtc::shared::error::Error;
use tokio::sync::mpsc;

use crate::ports::SubscriberEvent;

pub(super) struct KeyframeRequests {
    events: mpsc::Sender<SubscriberEvent>,
    read: VecDeque<TaggedPacket>,
    written: VecDeque<TaggedPacket>,
}

impl KeyframeRequests {
    pub(super) fn new(events: mpsc::Sender<SubscriberEvent>) -> Self {
        Self { events, read: VecDeque::new(), written: VecDeque::new() }
    }

    fn wanted(&self, ssrc: u32) {
        // A full channel drops it; whoever asks asks again.
        let _ = self.events.try_send(SubscriberEvent::KeyframeWanted(ssrc));
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for KeyframeRequests {
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

impl Interceptor for KeyframeRequests {
    fn bind_local_stream(&mut self, _: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _: &StreamInfo) {}
}
