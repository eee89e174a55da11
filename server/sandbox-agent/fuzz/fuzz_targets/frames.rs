//! Any bytes of a sandbox's, in whatever pieces they come, are read as the same frames or refused at the same place, and what was read is
//! written as it was read.
#![no_main]

use std::fmt::Debug;

use buildspaces_sandbox_agent::protocol::{self, Decoder, Error, Event, Frame, Request};
use libfuzzer_sys::fuzz_target;
use serde::{Deserialize, Serialize};

fuzz_target!(|input: &[u8]| {
    let Some((piece, input)) = input.split_first() else { return };
    let piece = usize::from(*piece) + 1;
    check::<Event>(input, piece);
    check::<Request>(input, piece);
});

fn check<M: Serialize + for<'de> Deserialize<'de> + PartialEq + Debug>(input: &[u8], piece: usize) {
    let whole = read::<M>(input, input.len().max(1));
    assert_eq!(read::<M>(input, piece), whole, "in pieces of {piece}");
    for frame in &whole.0 {
        let written = match frame {
            Frame::Control(message) => protocol::encode_control(message),
            Frame::Output(output) => protocol::encode_output(&output.key, output.offset, &output.bytes),
            Frame::Input(bytes) => protocol::encode_input(bytes),
        };
        // JSON may be longer when it is written again.
        let Ok(written) = written else { continue };
        let (again, error) = read::<M>(&written, written.len());
        assert_eq!((again.as_slice(), error), (std::slice::from_ref(frame), None));
    }
}

/// The frames, and why there are no more.
fn read<M: for<'de> Deserialize<'de>>(input: &[u8], piece: usize) -> (Vec<Frame<M>>, Option<Error>) {
    let (mut decoder, mut frames) = (Decoder::default(), Vec::new());
    for bytes in input.chunks(piece) {
        decoder.push(bytes);
        loop {
            match decoder.decode() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}
