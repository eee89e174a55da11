//! What passes, what does not, and that nothing stalls, however the bytes are cut.

use std::num::NonZeroU16;

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

/// A generator of its own, so that the bytes are the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    fn of<'a>(&mut self, choices: &[&'a [u8]]) -> &'a [u8] {
        choices[self.below(choices.len())]
    }

    fn bytes(&mut self, most: usize, alphabet: &[u8]) -> Vec<u8> {
        (0..self.below(most + 1)).map(|_| alphabet[self.below(alphabet.len())]).collect()
    }

    /// Something that is nearly a sequence, more or less.
    fn fragment(&mut self) -> Vec<u8> {
        let end: &[&[u8]] = &[b"\x07", b"\x1b\\", b"\xc2\x9c", b"\x9c", b"\n", b""];
        match self.below(8) {
            0 => self.of(&[b"text-", b"\r\n", "für-你好🦀".as_bytes(), b"\xc2\xa0", b"\t\x08\x0e"]).to_vec(),
            1 => {
                let introducer = self.of(&[b"\x1b[", b"\xc2\x9b", b"\x9b", b"\x1b\x1b["]);
                let parameters = self.bytes(9, b"0123456789;:<=>?");
                let between = self.bytes(2, b"!$'*+");
                let last = self.bytes(1, b"ABCHJKcnqtuixpwyhlmrsz@~\x05\x18\x7f");
                [introducer, &parameters, &between, &last].concat()
            }
            2 => {
                let introducer = self.of(&[b"\x1b]", b"\xc2\x9d", b"\x9d"]);
                let command = self.of(&[
                    b"52;c;aGk=",
                    b"52;;?",
                    b"0;title",
                    b"2;a;b",
                    b"4;1;?",
                    b"10;?",
                    b"8;;https://a.example",
                    b"8;id=1;file:///x",
                    b"9;hi",
                    b"777;notify;a;b",
                    b"1337;File=:aGk=",
                    b"133;A",
                    b"05;2",
                    b";",
                ]);
                [introducer, command, self.of(end)].concat()
            }
            3 => {
                let introducer = self.of(&[b"\x1bP", b"\x1bX", b"\x1b^", b"\x1b_", b"\xc2\x90", b"\x90"]);
                let data = self.bytes(20, b"+q544e$m1;2~\xc2\x9d]52");
                [introducer, &data, self.of(end)].concat()
            }
            4 => self.bytes(6, b"\x1b[]P_^X\\Zc(#%\xc2\x9b\x9d\x90\x9c"),
            5 => self.bytes(4, &[0, 5, 7, 0x18, 0x1a, 0x7f, 0x80, 0xc2, 0xe2, 0xff]),
            6 => (0..self.below(6)).map(|_| u8::try_from(self.below(256)).expect("a byte")).collect(),
            // Beyond one of the bounds, now and then.
            _ => vec![b'1'; self.below(8) * self.below(8) * self.below(120)],
        }
    }

    /// Without spaces: [`Emulator`] does not tell a sequence with one before its last byte from one without, which means something else.
    fn stream(&mut self) -> Vec<u8> {
        let mut stream: Vec<u8> = (0..self.below(30)).flat_map(|_| self.fragment()).collect();
        for _ in 0..self.below(4) {
            let at = self.below(stream.len() + 1);
            match self.below(3) {
                0 => stream.insert(at, b"\x1b[]\xc2\x9d\x07"[self.below(6)]),
                1 => stream.truncate(at),
                _ if at < stream.len() => {
                    stream.remove(at);
                }
                _ => {}
            }
        }
        stream.retain(|byte| *byte != b' ');
        stream
    }
}

/// An emulator that knows nothing of the filter, and notes what it was asked to do beyond its own screen.
#[derive(Default)]
struct Emulator(Vec<String>);

impl vt100::Callbacks for Emulator {
    fn resize(&mut self, _: &mut vt100::Screen, request: (u16, u16)) {
        self.0.push(format!("size {request:?}"));
    }

    fn copy_to_clipboard(&mut self, _: &mut vt100::Screen, _: &[u8], data: &[u8]) {
        self.0.push(format!("copy {data:?}"));
    }

    fn paste_from_clipboard(&mut self, _: &mut vt100::Screen, _: &[u8]) {
        self.0.push("paste".to_owned());
    }

    fn unhandled_csi(&mut self, _: &mut vt100::Screen, i1: Option<u8>, i2: Option<u8>, params: &[&[u16]], last: char) {
        let private = i1.is_none_or(|byte| (b'<'..=b'?').contains(&byte));
        let bare = private && i2.is_none();
        let asks = (bare && "cntix".contains(last)) || (bare && i1.is_some() && "qu".contains(last));
        let mode = last == 'p' && (i1 == Some(b'$') || (private && i2 == Some(b'$')));
        if asks || mode {
            self.0.push(format!("{i1:?} {i2:?} {params:?} {last}"));
        }
    }

    fn unhandled_osc(&mut self, _: &mut vt100::Screen, params: &[&[u8]]) {
        let number = params.first().copied().unwrap_or_default();
        let known = COMMANDS.iter().any(|command| command.as_bytes() == number);
        let colour = matches!(number, b"4" | b"10" | b"11" | b"12");
        let asks = colour && params.iter().any(|parameter| parameter.contains(&b'?'));
        let leads = number == b"8" && params.get(2).is_some_and(|to| !to.is_empty() && !to.starts_with(b"http"));
        if !known || asks || leads {
            self.0.push(format!("command {params:?}"));
        }
    }
}

#[test]
fn no_garbage_reaches_out_stalls_or_depends_on_how_it_is_cut() {
    for seed in 0..3000 {
        let mut random = Random(seed);
        let input = random.stream();
        let mut filter = Filter::default();
        let pieces = filter.push(&input);
        let shown: Vec<u8> = pieces
            .iter()
            .flat_map(|piece| if let Piece::Shown(bytes) = piece { bytes.to_vec() } else { Vec::new() })
            .collect();
        let whole = told(pieces);

        let (mut cut, mut rest, mut again) = (String::new(), &input[..], Filter::default());
        let mut bytes = Vec::new();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(1 + random.below(rest.len()));
            for piece in again.push(piece) {
                match piece {
                    Piece::Shown(shown) => bytes.extend_from_slice(&shown),
                    Piece::Asked(question) => {
                        cut += &format!("{}<{question:?}>", String::from_utf8_lossy(&std::mem::take(&mut bytes)));
                    }
                }
            }
            rest = after;
        }
        cut += &String::from_utf8_lossy(&bytes);
        assert_eq!(cut, whole, "seed {seed}: {input:?}");

        let twice = Filter::default().push(&shown);
        assert_eq!(twice.len(), usize::from(!shown.is_empty()), "seed {seed}: {twice:?}");
        assert!(twice.iter().all(|piece| *piece == Piece::Shown(shown.clone().into())), "seed {seed}: {shown:?}");

        let (rows, cols) = (NonZeroU16::new(24).expect("not zero"), NonZeroU16::new(80).expect("not zero"));
        let mut emulator = vt100::Parser::new_with_callbacks(rows, cols, 0, Emulator::default());
        emulator.process(&shown);
        assert_eq!(emulator.callbacks().0, Vec::<String>::new(), "seed {seed}: {shown:?}");

        assert!(told(filter.push(b"\x18\nseen")).ends_with("seen"), "seed {seed}");
    }
}
