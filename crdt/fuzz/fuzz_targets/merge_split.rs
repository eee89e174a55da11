//! Cutting and merging of bytes that no document has seen: they fail or give updates that read as the same.
#![no_main]

mod support;

use buildspaces_crdt::update::{merge, parse, split};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use support::{Builder, Choices};

fuzz_target!(|input: &[u8]| {
    let mut choices = Choices(input);
    let size = usize::from(choices.byte()) + 1;
    let mode = choices.byte();
    let is_raw = mode % 4 == 0;
    let mut builder = Builder::new(mode % 4 == 1);
    let mut updates = Vec::new();
    while !choices.is_empty() && updates.len() < 64 {
        let update = if is_raw { choices.update() } else { builder.update(&mut choices) };
        let is_malformed = parse(&update).is_err();
        assert_eq!(is_malformed, split(&update, 0).is_err());
        if !is_malformed {
            updates.push(Bytes::from(update));
        }
    }
    let merged = merge(&updates).expect("each is well-formed");
    parse(&merged).expect("what was merged");
    let mut pieces: Vec<Bytes> = split(&merged, size).expect("well-formed").into_iter().map(Bytes::from).collect();
    for piece in &pieces {
        parse(piece).expect("a piece");
    }
    // Merged again, the pieces are what was cut. The empty update is there because a single one is returned as it is.
    const NOTHING: Bytes = Bytes::from_static(&[0, 0]);
    pieces.push(NOTHING);
    assert_eq!(merge(&pieces).expect("pieces"), merge(&[merged.into(), NOTHING]).expect("one"));
});
