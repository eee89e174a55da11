//! The wire as it is, byte for byte, and what becomes of bytes that are not it.

use expect_test::{Expect, expect};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

fn key(text: &str) -> Key {
    Key::parse(text).expect("a valid key")
}

fn wire<M: Serialize>(message: &M, expected: &Expect) {
    let frame = encode_control(message).expect("short");
    expected.assert_eq(std::str::from_utf8(&frame[5..]).expect("JSON"));
}

#[test]
fn requests_have_a_stable_form() {
    wire(&Request::Welcome { protocol: 4 }, &expect![[r#"{"type":"welcome","protocol":4}"#]]);
    wire(&Request::Refused { reason: "old".to_owned() }, &expect![[r#"{"type":"refused","reason":"old"}"#]]);
    wire(
        &Request::Start {
            key: key("run-1/step"),
            argv: vec!["python3".to_owned(), "-m".to_owned(), "unittest".to_owned()],
            cwd: "/workspace".to_owned(),
            env: BTreeMap::from([("CI".to_owned(), "1".to_owned())]),
            timeout_ms: 60_000,
            secrets: Secrets::default(),
        },
        &expect![[
            r#"{"type":"start","key":"run-1/step","argv":["python3","-m","unittest"],"cwd":"/workspace","env":{"CI":"1"},"timeout_ms":60000}"#
        ]],
    );
    let secrets = Secrets {
        env: BTreeMap::from([("TOKEN".to_owned(), "v".to_owned())]),
        files: BTreeMap::from([("key".to_owned(), "w".to_owned())]),
    };
    assert_eq!(format!("{secrets:?}"), r#"Secrets(env ["TOKEN"], files ["key"])"#, "values are not printed");
    let argv = vec!["true".to_owned()];
    let env = BTreeMap::new();
    wire(
        &Request::Start { key: key("k"), argv, cwd: "/".to_owned(), env, timeout_ms: 1, secrets },
        &expect![[
            r#"{"type":"start","key":"k","argv":["true"],"cwd":"/","env":{},"timeout_ms":1,"secrets":{"env":{"TOKEN":"v"},"files":{"key":"w"}}}"#
        ]],
    );
    wire(&Request::Cancel { key: key("k") }, &expect![[r#"{"type":"cancel","key":"k"}"#]]);
    wire(
        &Request::Attach { key: key("k"), from_offset: 7 },
        &expect![[r#"{"type":"attach","key":"k","from_offset":7}"#]],
    );
    wire(&Request::List, &expect![[r#"{"type":"list"}"#]]);
    let size = Size { rows: 24, cols: 80 };
    wire(
        &Request::Open {
            key: key("t"),
            argv: vec!["bash".to_owned()],
            cwd: "/workspace".to_owned(),
            env: BTreeMap::from([("TERM".to_owned(), "xterm-256color".to_owned())]),
            unset: vec!["CI".to_owned()],
            size,
        },
        &expect![[
            r#"{"type":"open","key":"t","argv":["bash"],"cwd":"/workspace","env":{"TERM":"xterm-256color"},"unset":["CI"],"size":{"rows":24,"cols":80}}"#
        ]],
    );
    wire(
        &Request::Resume { key: key("t"), from_offset: 7 },
        &expect![[r#"{"type":"resume","key":"t","from_offset":7}"#]],
    );
    wire(&Request::Resize { size }, &expect![[r#"{"type":"resize","size":{"rows":24,"cols":80}}"#]]);
    wire(&Request::Close, &expect![[r#"{"type":"close"}"#]]);
    wire(&Request::Connect { port: 8000 }, &expect![[r#"{"type":"connect","port":8000}"#]]);
    let run = Request::Run {
        key: key("c"),
        argv: vec!["git".to_owned(), "status".to_owned()],
        cwd: "/workspace".to_owned(),
        env: BTreeMap::from([("A".to_owned(), "b".to_owned())]),
    };
    wire(&run, &expect![[r#"{"type":"run","key":"c","argv":["git","status"],"cwd":"/workspace","env":{"A":"b"}}"#]]);
}

#[test]
fn events_have_a_stable_form() {
    wire(
        &Event::Hello { protocol: 4, agent: "0.1.0".to_owned(), token: "t".to_owned(), line: Line::Terminal },
        &expect![[r#"{"type":"hello","protocol":4,"agent":"0.1.0","token":"t","line":"terminal"}"#]],
    );
    wire(&Event::Started { key: key("k") }, &expect![[r#"{"type":"started","key":"k"}"#]]);
    wire(
        &Event::Rejected { key: key("k"), reason: "busy".to_owned() },
        &expect![[r#"{"type":"rejected","key":"k","reason":"busy"}"#]],
    );
    wire(&Event::Unknown { key: key("k") }, &expect![[r#"{"type":"unknown","key":"k"}"#]]);
    let exited =
        |exit| Event::Exited { key: key("k"), exit, duration_ms: 12, oom: false, pids: false, full: Vec::new() };
    wire(
        &exited(Exit::Code(1)),
        &expect![[
            r#"{"type":"exited","key":"k","exit":{"code":1},"duration_ms":12,"oom":false,"pids":false,"full":[]}"#
        ]],
    );
    wire(
        &exited(Exit::Signal(9)),
        &expect![[
            r#"{"type":"exited","key":"k","exit":{"signal":9},"duration_ms":12,"oom":false,"pids":false,"full":[]}"#
        ]],
    );
    wire(
        &exited(Exit::TimedOut),
        &expect![[
            r#"{"type":"exited","key":"k","exit":"timed_out","duration_ms":12,"oom":false,"pids":false,"full":[]}"#
        ]],
    );
    wire(
        &exited(Exit::NotStarted("no".to_owned())),
        &expect![[
            r#"{"type":"exited","key":"k","exit":{"not_started":"no"},"duration_ms":12,"oom":false,"pids":false,"full":[]}"#
        ]],
    );
    wire(
        &Event::Steps { steps: vec![StepInfo { key: key("k"), running: true }] },
        &expect![[r#"{"type":"steps","steps":[{"key":"k","running":true}]}"#]],
    );
    wire(&Event::Opened { key: key("t") }, &expect![[r#"{"type":"opened","key":"t"}"#]]);
    wire(&Event::Taken { bytes: 9 }, &expect![[r#"{"type":"taken","bytes":9}"#]]);
    wire(&Event::Ended { exit: Exit::Cancelled }, &expect![[r#"{"type":"ended","exit":"cancelled"}"#]]);
    wire(&Event::Ports { ports: vec![3000, 8000] }, &expect![[r#"{"type":"ports","ports":[3000,8000]}"#]]);
    wire(
        &Event::Finished { exit: Exit::Code(128), errors: "fatal: no".to_owned() },
        &expect![[r#"{"type":"finished","exit":{"code":128},"errors":"fatal: no"}"#]],
    );
    wire(&Event::Connected, &expect![[r#"{"type":"connected"}"#]]);
    wire(&Event::Unreachable { reason: "no".to_owned() }, &expect![[r#"{"type":"unreachable","reason":"no"}"#]]);
    for (line, name) in [
        (Line::Steps, "steps"),
        (Line::Terminal, "terminal"),
        (Line::Command, "command"),
        (Line::Tunnel, "tunnel"),
        (Line::Ports, "ports"),
        (Line::Egress, "egress"),
    ] {
        assert_eq!(serde_json::to_value(line).expect("JSON"), name);
    }
}

#[test]
fn an_output_frame_has_a_stable_form() {
    let frame = encode_output(&key("ab"), 258, b"hi").expect("short");
    assert_eq!(frame, [14, 0, 0, 0, 2, 2, b'a', b'b', 2, 1, 0, 0, 0, 0, 0, 0, b'h', b'i']);
}

#[test]
fn an_input_frame_has_a_stable_form() {
    let frame = encode_input(b"ls\n").expect("short");
    assert_eq!(frame, [4, 0, 0, 0, 3, b'l', b's', b'\n']);
    let mut decoder = Decoder::default();
    decoder.push(&frame);
    assert_eq!(decoder.decode::<Request>(), Ok(Some(Frame::Input(b"ls\n".to_vec()))));
    encode_input(&vec![0; MAX_FRAME]).expect_err("too long");
}

#[test]
fn frames_arrive_whole_however_the_stream_is_cut() {
    let mut stream = encode_control(&Event::Started { key: key("a") }).expect("short");
    stream.extend(encode_output(&key("a"), 0, &[7; 300]).expect("short"));
    stream.extend(encode_control(&Event::Unknown { key: key("b") }).expect("short"));
    let expected = vec![
        Frame::Control(Event::Started { key: key("a") }),
        Frame::Output(Output { key: key("a"), offset: 0, bytes: vec![7; 300] }),
        Frame::Control(Event::Unknown { key: key("b") }),
    ];
    for size in [1, 2, 3, 7, 64, 1000] {
        let mut decoder = Decoder::default();
        let mut frames = Vec::new();
        for piece in stream.chunks(size) {
            decoder.push(piece);
            while let Some(frame) = decoder.decode::<Event>().expect("valid") {
                frames.push(frame);
            }
        }
        assert_eq!(frames, expected, "in pieces of {size}");
    }
}

#[test]
fn what_follows_the_last_frame_is_kept() {
    let mut decoder = Decoder::default();
    let mut stream = encode_control(&Event::Connected).expect("short");
    stream.extend(b"HTTP/1.1 200 OK");
    decoder.push(&stream);
    assert_eq!(decoder.decode::<Event>(), Ok(Some(Frame::Control(Event::Connected))));
    assert_eq!(decoder.into_rest(), b"HTTP/1.1 200 OK");
}

#[test]
fn bad_frames_are_refused() {
    let check = |bytes: &[u8], expected: &Expect| {
        let mut decoder = Decoder::default();
        decoder.push(bytes);
        expected.assert_eq(&decoder.decode::<Event>().expect_err("bad").to_string());
        decoder.decode::<Event>().expect_err("an error stays");
    };
    check(&[0, 0, 0, 0], &expect!["an empty frame"]);
    check(&[255, 255, 255, 255], &expect!["a frame of 4294967295 bytes is over the limit of 1048576"]);
    check(&[1, 0, 16, 0], &expect!["a frame of 1048577 bytes is over the limit of 1048576"]);
    check(&[1, 0, 0, 0, 9], &expect!["an unknown kind of frame: 9"]);
    check(
        &[3, 0, 0, 0, 1, b'{', b'}'],
        &expect!["a control message that cannot be read: missing field `type` at line 1 column 2"],
    );
    // No key length, a key that is longer than the frame, an empty key, no room for the offset.
    for output in [
        &[1, 0, 0, 0, 2][..],
        &[2, 0, 0, 0, 2, 200],
        &[10, 0, 0, 0, 2, 0, 1, 2, 3, 4, 5, 6, 7, 8],
        &[4, 0, 0, 0, 2, 1, b'a', 0],
    ] {
        check(output, &expect!["an output frame that is cut short or has a bad key"]);
    }
}

#[test]
fn a_key_is_short_and_printable() {
    for bad in ["", "a b", "a\n", "é", &"a".repeat(MAX_KEY + 1)] {
        assert_eq!(Key::parse(bad), None, "{bad:?}");
        let json = serde_json::to_string(&serde_json::json!({ "type": "unknown", "key": bad })).expect("JSON");
        serde_json::from_str::<Event>(&json).expect_err("the key is checked on the wire too");
    }
}

#[test]
fn garbage_never_panics_and_never_fills_the_memory() {
    for seed in 0..300 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut stream = Vec::new();
        for _ in 0..rng.random_range(1..6) {
            let mut frame = match rng.random_range(0..4) {
                0 => encode_control(&Event::Started { key: key("a") }).expect("short"),
                1 => encode_output(&key("abc"), rng.random(), &vec![0; rng.random_range(0..200)]).expect("short"),
                2 => encode_input(&vec![0; rng.random_range(0..200)]).expect("short"),
                _ => (0..rng.random_range(0..64)).map(|_| rng.random()).collect(),
            };
            match rng.random_range(0..4) {
                0 => frame.truncate(rng.random_range(0..=frame.len())),
                1 if !frame.is_empty() => {
                    let at = rng.random_range(0..frame.len());
                    frame[at] ^= 1 << rng.random_range(0..8);
                }
                _ => {}
            }
            stream.extend(frame);
        }
        let mut decoder = Decoder::default();
        'stream: for piece in stream.chunks(rng.random_range(1..50)) {
            decoder.push(piece);
            loop {
                match decoder.decode::<Event>() {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(_) => break 'stream,
                }
            }
            assert!(decoder.buffer.len() <= 4 + MAX_FRAME + 50, "seed {seed}");
        }
    }
}
