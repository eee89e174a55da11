//! State vectors of people who mean harm: they are refused, or what they are answered with is what their sender lacks.
#![no_main]

mod support;

use buildspaces_crdt::update::{check_state_vector, parse};
use buildspaces_crdt::Replica;
use libfuzzer_sys::fuzz_target;
use support::{Builder, Choices};

fuzz_target!(|input: &[u8]| {
    support::let_panics_be_caught();
    let mut choices = Choices(input);
    let vector = choices.update();
    let mut replica = Replica::new();
    let mut builder = Builder::new(false);
    for _ in 0..16 {
        let update = builder.update(&mut choices);
        if support::apply(&mut replica, &update) {
            builder.accepted(&replica);
        }
    }
    let diff = replica.diff(&vector);
    assert_eq!(diff.is_err(), check_state_vector(&vector).is_err());
    let Ok(diff) = diff else { return };
    parse(&diff).expect("what yrs wrote");
    assert!(replica.knows(&diff));
    // Who has nothing is sent everything; who says so in other words as well.
    if vector.iter().all(|byte| *byte == 0) {
        assert_eq!(diff, replica.state());
    }
});
