//! Any frame is read or refused, and what was read is written as it was.
#![no_main]

use buildspaces_crdt::protocol::{self, Message};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(messages) = protocol::decode(&Bytes::copy_from_slice(input)) else { return };
    for message in &messages {
        let frame = match message {
            Message::SyncStep1(payload) => protocol::sync_step_1(payload),
            Message::SyncStep2(payload) => protocol::sync_step_2(payload),
            Message::Update(payload) => protocol::update(payload),
            Message::Awareness(payload) => protocol::awareness(payload),
            Message::SaveStatus(payload) => protocol::save_status(payload),
            _ => continue,
        };
        assert_eq!(protocol::decode(&frame).as_deref(), Ok(std::slice::from_ref(message)));
    }
});
