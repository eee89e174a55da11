//! Any awareness update is read or refused, and what was read is written as it was.
#![no_main]

use buildspaces_crdt::awareness;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(entries) = awareness::decode(input) else { return };
    let written = awareness::encode(entries.iter());
    assert_eq!(awareness::decode(&written), Ok(entries));
});
