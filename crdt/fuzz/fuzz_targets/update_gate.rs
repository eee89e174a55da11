//! Updates of people who mean harm, through the gate into a document: nothing panics, hangs or reads freed memory, and the document can
//! be saved, loaded, merged and cut.
#![no_main]

mod support;

use buildspaces_crdt::Replica;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use support::{Builder, Choices};

fuzz_target!(|input: &[u8]| {
    support::let_panics_be_caught();
    let mut choices = Choices(input);
    let mode = choices.byte();
    let is_raw = mode % 4 == 0;
    let mut replica = Replica::new();
    let mut builder = Builder::new(mode % 4 == 1);
    let mut accepted = Vec::new();
    while !choices.is_empty() && accepted.len() < 64 {
        let update = if is_raw { choices.update() } else { builder.update(&mut choices) };
        if support::apply(&mut replica, &update) {
            accepted.push(Bytes::from(update));
            builder.accepted(&replica);
        }
    }
    support::check(&replica, &accepted, &mut Choices(input));
});
