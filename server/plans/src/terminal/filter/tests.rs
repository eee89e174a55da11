//! What passes, what does not, and that nothing stalls, however the bytes are cut.

use super::*;

/// What is shown, and the questions in between in angle brackets.
fn filtered(input: &[u8]) -> String {
    let mut filter = Filter::default();
    told(filter.push(input))
}

fn told(pieces: Vec<Piece>) -> String {
    let text = pieces.into_iter().map(|piece| match piece {
        Piece::Shown(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Piece::Asked(question) => format!("<{question:?}>"),
    });
    text.collect()
}

#[test]
fn what_only_changes_the_look_passes_untouched() {
    for text in [
        "plain text\r\n\ttab \u{8}\u{7}",
        "für 你好 🦀 \u{a0}\u{bf}",
        "\x1b[31;1mred\x1b[0m\x1b[38;2;1;2;3m\x1b[4:3m",
        "\x1b[2J\x1b[H\x1b[10;20H\x1b[?25l\x1b[?1049h\x1b[?2004h\x1b[?1000;1006h\x1b[2 q\x1b[!p",
        "\x1b(0\x1b)B\x1b7\x1b8\x1bc\x1b=\x1b>\x1bM\x1b[u\x1b[s\x1b[>4;1m",
        "\x1b]0;a title\x07\x1b]2;für\x07\x1b]8;;https://example.org\x07link\x1b]8;;\x07\x1b]133;A\x07\x1b]4;1;rgb:00/ff/00\x07",
    ] {
        assert_eq!(filtered(text.as_bytes()), text);
    }
    assert_eq!(filtered(b"\x1b]0;title\x1b\\after"), "\x1b]0;title\x07after");
    assert_eq!(filtered(b"a\x1b[3\r1mb"), "a\r\x1b[31mb", "a control inside a sequence is carried out first");
}

#[test]
fn nothing_reaches_out_of_the_terminal() {
    for bad in [
        &b"\x1b]52;c;aGVsbG8=\x07"[..],
        b"\x1b]52;c;aGVsbG8=\x1b\\",
        b"\x1b]052;c;aGVsbG8=\x07",
        b"\xc2\x9d52;c;aGVsbG8=\x07",
        b"\x1b]0;x\xc2\x9c\xc2\x9d52;c;aGVsbG8=\x07",
        b"\x1b]9;buy\x07\x1b]777;notify;a;b\x07\x1b]1337;File=name=YQ==:aGk=\x07\x1b]5522;x\x07",
        b"\x1b]8;;javascript:alert(1)\x07\x1b]8;;file:///etc/passwd\x07",
        b"\x1bP+q544e\x1b\\\x1bP$qm\x1b\\\x1bPq#0;2;0;0;0~~\x1b\\\x1b_Gf=100;AAAA\x1b\\\x1b^pm\x1b\\\x1bXsos\x1b\\",
        b"\x1b[21t\x1b[20t\x1b[18t\x1b[8;10;10t\x1b[5i\x1b[?5i\x1b[x\x1b[?1$p\x1b[1$w\x1b[>q\x1b[?u\x1b[>1u\x1b[=c",
        b"\x1b]10;?\x07\x1b]11;?\x1b\\\x1b]4;1;?\x07",
        b"\x05\x1b[\x05",
        b"\xc2\x05\x9d52;c;aGVsbG8=\x07\xc2\x1b[c\x9d52;c;aGVsbG8=\x07",
    ] {
        let shown = filtered(bad);
        // What stood between is text by now, and harmless.
        assert!(!shown.contains('\x1b') && !shown.contains('\u{9d}'), "{bad:?} left {shown:?}");
    }
}

#[test]
fn questions_are_taken_out_and_told() {
    assert_eq!(filtered(b"a\x1b[cb\x1b[0c"), "a<Attributes>b<Attributes>");
    assert_eq!(filtered(b"\x1b[>c\x1bZ"), "<Version><Attributes>");
    assert_eq!(
        filtered(b"x\x1b[6ny\x1b[?6n\x1b[5n\x1b[?15n"),
        "x<Cursor { extended: false }>y<Cursor { extended: true }><Status>"
    );
    assert_eq!(Question::Cursor { extended: false }.answer((0, 9)), "\x1b[1;10R");
    assert_eq!(Question::Cursor { extended: true }.answer((u16::MAX, 0)), "\x1b[?65536;1R");
}

#[test]
fn unfinished_sequences_do_not_stall_what_follows() {
    let line = |start: &[u8], filler: usize| {
        let mut input = start.to_vec();
        input.extend(std::iter::repeat_n(b'1', filler));
        input.extend(b"m seen");
        filtered(&input)
    };
    assert_eq!(line(b"\x1b[", 5000), " seen");
    assert!(line(b"\x1b]0;", MAX_COMMAND + 100).ends_with("m seen"));
    assert!(line(b"\x1bP", MAX_STRING + 100).ends_with("m seen"));
    assert_eq!(filtered(b"\x1b]0;never ended\nseen"), "\nseen");
    assert_eq!(filtered(b"\x1bPnever ended\nseen"), "\nseen");
    assert_eq!(filtered(b"\x1b]52;c;\x1b[31mseen"), "\x1b[31mseen");
    assert_eq!(filtered(b"\x1b\x1b\x1b[31mseen\x1b[\x18seen"), "\x1b[31mseenseen");
    assert_eq!(filtered(b"\x01\x00\x00\x00\xff\xff\xff\xffseen"), "\u{1}\0\0\0����seen");
}

#[test]
fn how_the_bytes_are_cut_does_not_matter() {
    let input =
        b"a\x1b[31mb\xc2\x9d52;c;x\x07\xc2\xa0\x1b]52;c;aGk=\x07c\x1b[6nd\x1b]0;t\x1b\\e\x1bP1;2q~\x1b\\f\x1b[>0cg";
    let whole = filtered(input);
    for size in 1..input.len() {
        let mut filter = Filter::default();
        let cut: String = input.chunks(size).map(|piece| told(filter.push(piece))).collect();
        assert_eq!(cut, whole, "in pieces of {size}");
    }
}

#[test]
fn hostile_bytes_keep_to_the_bounds() {
    // A generator of its own, so that the bytes are the same everywhere.
    let mut seed = 1_u64;
    let mut random = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize
    };
    let alphabet = b"\x1b\x1b[]P_^X;?>$05269cnt\\\x07\x18\x05\x0a\xc2\x9d\x9b\x90a\xff";
    let mut filter = Filter::default();
    let mut stream = Vec::new();
    for _ in 0..20_000 {
        let piece: Vec<u8> = (0..random() % 40).map(|_| alphabet[random() % alphabet.len()]).collect();
        for piece in filter.push(&piece) {
            let Piece::Shown(bytes) = piece else { continue };
            // With the end of the one before, because an emulator sees no border between them.
            stream.drain(..stream.len().saturating_sub(8));
            stream.extend_from_slice(&bytes);
            for bad in [&b"\x1b]52"[..], b"\x1bP", b"\xc2\x9d", b"\xc2\x9b", b"\xc2\x90", b"\x1b[c", b"\x1b[6n"] {
                assert!(!stream.windows(bad.len()).any(|window| window == bad), "{stream:?}");
            }
        }
        assert!(filter.held.len() <= MAX_COMMAND);
    }
}
