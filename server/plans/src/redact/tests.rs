//! Against a slow and plain account of what is covered, on random values, streams and cuts.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::*;

/// What comes out of `pieces`, however many.
fn redacted<'a>(known: &Known, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let (mut redactor, mut out) = (Redactor::new(known), Vec::new());
    for piece in pieces {
        redactor.push(piece, &mut out);
        assert!(redactor.held.len() as u64 <= known.span(), "{} bytes are held back", redactor.held.len());
    }
    redactor.finish(&mut out);
    out
}

fn shown(values: &[&str], text: &str) -> String {
    String::from_utf8(redacted(&Known::new(values.iter().copied()), [text.as_bytes()])).expect("text")
}

#[test]
fn every_spelling_is_masked_and_nothing_else() {
    let value = "p@ss/w0rd+123";
    for spelling in [
        "p@ss/w0rd+123",
        "cEBzcy93MHJkKzEyMw==",
        "704073732f773072642b313233",
        "704073732F773072642B313233",
        "p%40ss%2Fw0rd%2B123",
        "p%40ss/w0rd%2B123",
        "%70%40%73%73%2f%77%30%72%64%2b%31%32%33",
        "p@ss/w\n    0rd+123",
        "cEBzcy93\r\nMHJkKzEyMw==",
        "7040 7373 2f77 3072 642b 3132 33",
    ] {
        assert_eq!(shown(&[value], &format!("<{spelling}> and p@ss")), "<***> and p@ss", "{spelling}");
    }
    // base64 of "user:p@ss/w0rd+123": what is left is the user's.
    assert_eq!(shown(&[value], "Basic dXNlcjpwQHNzL3cwcmQrMTIz."), "Basic dXNlcjp***.");
}

#[test]
fn occurrences_that_overlap_are_one() {
    assert_eq!(shown(&["abcabcabc"], "abcabcabcabcab"), "***ab");
    assert_eq!(shown(&["12345678", "56789012", "789012ab"], "x123456789012aby"), "x***y");
    assert_eq!(shown(&["secret-one", "secret-one-and-two"], "secret-one-and-to secret-one-and-two"), "***-and-to ***");
    assert_eq!(shown(&["12345678"], &format!("1234{}5678", " ".repeat(MAX_BLANKS))), "***");
    let far = format!("1234{}5678", " ".repeat(MAX_BLANKS + 1));
    assert_eq!(shown(&["12345678"], &far), far);
}

#[test]
fn without_a_chance_of_a_match_nothing_waits() {
    let known = Known::new(["zebra-crossing"]);
    let (mut redactor, mut out) = (Redactor::new(&known), Vec::new());
    redactor.push(b"Ran 3 tests\n", &mut out);
    assert_eq!(out, b"Ran 3 tests\n");
    redactor.push(b"a zebra-cr", &mut out);
    assert_eq!(out, b"Ran 3 tests\na ");
    redactor.push(b"y\n", &mut out);
    assert_eq!(out, b"Ran 3 tests\na zebra-cry\n");
    let mut none = Redactor::new(&Known::default());
    none.push(b"zebra-cross", &mut out);
    assert!(out.ends_with(b"zebra-cross") && none.settled() == 11);
}

#[test]
fn beside_a_gap_nothing_can_be_half_a_value() {
    let known = Known::new(["0123456789abcdef"]);
    let (mut redactor, mut out) = (Redactor::new(&known), Vec::new());
    redactor.push(b"before 0123456789", &mut out);
    redactor.gap(3, &mut out);
    out.extend_from_slice(b"|");
    let behind = [b"def", &vec![b'.'; usize::try_from(known.span()).expect("small")][..], b"after"].concat();
    redactor.push(&behind, &mut out);
    redactor.finish(&mut out);
    assert_eq!(String::from_utf8_lossy(&out), "before ***|***...after");
    let (mut free, mut out) = (Redactor::new(&Known::default()), Vec::new());
    free.gap(5, &mut out);
    free.push(b"after", &mut out);
    assert_eq!((out.as_slice(), free.settled()), (&b"after"[..], 10));
    for redactor in [&mut free, &mut redactor] {
        for _ in 0..2 {
            redactor.gap(u64::MAX, &mut out);
            redactor.push(&behind, &mut out);
        }
        redactor.finish(&mut out);
    }
    assert!(out.ends_with(b"...after"));
}

#[test]
fn in_place_nothing_moves() {
    let known = Known::new(["12345678"]);
    let (mut redactor, mut out) = (Redactor::in_place(&known), Vec::new());
    for piece in ["{\"echo\":\"1234", "5678", "\"}"] {
        redactor.push(piece.as_bytes(), &mut out);
    }
    redactor.finish(&mut out);
    assert_eq!(String::from_utf8_lossy(&out), "{\"echo\":\"********\"}");
}

/// A value of some kind.
fn value(rng: &mut StdRng) -> String {
    let alphabets = ["ab", "abc", "0123456789abcdef", "ABCxyz019+/=-_", "p@$%&/ü€ \n\t\"\\'", "a b\nc"];
    let alphabet: Vec<char> = alphabets.choose(rng).expect("some").chars().collect();
    loop {
        let length = rng.random_range(8..24);
        let value: String = (0..length).map(|_| *alphabet.choose(rng).expect("some")).collect();
        if forms::weight(&value) >= forms::MIN_BYTES {
            return value;
        }
    }
}

/// Spellings, halves of them, and noise of the same letters.
fn stream(rng: &mut StdRng, values: &[(String, Vec<Vec<u8>>)]) -> Vec<u8> {
    let mut stream = Vec::new();
    for _ in 0..rng.random_range(1..10) {
        let (value, forms) = values.choose(rng).expect("some");
        let form = forms.choose(rng).expect("some");
        match rng.random_range(0..6) {
            0 => stream.extend_from_slice(value.as_bytes()),
            1 => stream.extend_from_slice(form),
            2 => stream.extend_from_slice(&form[..rng.random_range(0..form.len())]),
            3 => {
                for byte in form {
                    stream.push(*byte);
                    if rng.random_range(0..8) == 0 {
                        stream.resize(stream.len() + rng.random_range(1..40), *b" \n\t".choose(rng).expect("some"));
                    }
                }
            }
            4 => stream.extend((0..rng.random_range(0..20)).map(|_| *value.as_bytes().choose(rng).expect("some"))),
            _ => stream.extend((0..rng.random_range(0..20)).map(|_| rng.random::<u8>())),
        }
    }
    stream
}

/// What is covered, looked up the slow way: each spelling at each place.
fn plainly(values: &[(String, Vec<Vec<u8>>)], stream: &[u8]) -> Vec<u8> {
    // Parts without white space, with where each byte is in the stream.
    let mut parts: Vec<(Vec<u8>, Vec<usize>)> = vec![Default::default()];
    let mut blanks = 0;
    for (at, byte) in stream.iter().enumerate() {
        blanks = if byte.is_ascii_whitespace() { blanks + 1 } else { 0 };
        if blanks == 0 {
            let (bytes, places) = parts.last_mut().expect("one at least");
            bytes.push(*byte);
            places.push(at);
        } else if blanks > MAX_BLANKS {
            parts.push(Default::default());
        }
    }
    let mut covered = vec![false; stream.len()];
    for form in values.iter().flat_map(|(_, forms)| forms) {
        for (bytes, places) in &parts {
            for at in 0..bytes.len() {
                if bytes[at..].starts_with(form) {
                    covered[places[at]..=places[at + form.len() - 1]].fill(true);
                }
            }
        }
    }
    let mut out = Vec::new();
    for (at, byte) in stream.iter().enumerate() {
        match (covered[at], at > 0 && covered[at - 1]) {
            (false, _) => out.push(*byte),
            (true, false) => out.extend_from_slice(MASK),
            (true, true) => {}
        }
    }
    out
}

#[test]
fn however_a_stream_is_cut_the_same_comes_out_and_no_spelling_with_it() {
    for seed in 0..10_000 {
        let mut rng = StdRng::seed_from_u64(seed);
        let values: Vec<_> = (0..rng.random_range(1..4)).map(|_| value(&mut rng)).collect();
        let known = Known::new(values.iter().map(String::as_str));
        let values: Vec<_> = values.into_iter().map(|value| (value.clone(), forms::of(&value))).collect();
        let stream = stream(&mut rng, &values);
        let whole = redacted(&known, [&stream[..]]);
        assert_eq!(whole, plainly(&values, &stream), "seed {seed}: {values:?}");

        let mut pieces = Vec::new();
        let mut rest = &stream[..];
        while !rest.is_empty() {
            let longest = if rng.random_range(0..4) == 0 { 1 } else { 30 };
            let (piece, behind) = rest.split_at(rng.random_range(1..=longest).min(rest.len()));
            pieces.push(piece);
            rest = behind;
        }
        assert_eq!(redacted(&known, pieces.iter().copied()), whole, "seed {seed}: cut into {}", pieces.len());

        // A server that died somewhere and came back goes on from before, and shows only what was not shown.
        let died = rng.random_range(0..=pieces.len());
        let (mut before, mut out) = (Redactor::new(&known), Vec::new());
        for piece in &pieces[..died] {
            before.push(piece, &mut out);
        }
        let (seen, was_masked) = (before.settled(), before.in_mask);
        let from = seen.saturating_sub(known.span());
        let mut after = Redactor::resumed(&known, from, seen);
        for byte in &stream[usize::try_from(from).expect("small")..] {
            after.push(&[*byte], &mut out);
        }
        after.finish(&mut out);
        assert_eq!(out, whole, "seed {seed}: resumed at {seen}, within a mask: {was_masked}");
    }
}
