//! Instructions of the hot paths, counted by callgrind: unlike time they are the same on a busy machine.
//!
//! `make bench-hot` counts and compares with `hot.txt` beside this file; a path that takes over 5 % more than is stored there fails it.
//! `make bench-hot SAVE=1` stores. A path runs twice, with few and with many turns, and the difference is what a turn costs: preparation and
//! the start of the program fall out. It lives in this crate because `rooms` is the first that may use all of what is counted.
//!
//! It does not measure time, system calls or the disk; that is what `load-tests` is for.

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::IoSlice;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use buildspaces_crdt::{DocumentName, Replica, protocol, text, update};
use buildspaces_kernel::ids::PrincipalId;
use buildspaces_kernel::tasks::Tasks;
use buildspaces_policy::{Authority, Principal, PrincipalKind, Role};
use buildspaces_rooms::document::{Access, Dialect, Document, Input};
use buildspaces_rooms::memory::MemoryStore;
use buildspaces_rooms::outbox::{Header, Wire};
use buildspaces_rooms::ports::StoredDocument;
use buildspaces_rooms::{Outbox, Rooms};
use bytes::Bytes;
use yrs::{Doc, Text, Transact};

/// The server's allocator, so that its work is counted and not that of this machine's C library.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Turns of the two runs whose difference is counted.
const TURNS: (usize, usize) = (100, 1100);

/// What takes so few instructions that those of the start, which vary, could be seen does so many things in a turn.
const SHORT: usize = 20;

/// A path that takes so many times what is stored has become slower.
const SLOWER: f64 = 1.05;

/// A path that takes less than this share has become faster, and what is stored hides the next loss.
const FASTER: f64 = 0.95;

/// Who types.
const WRITER: u64 = 0x1234_5678;

/// Does something so often.
type Run = fn(usize);

const PATHS: [(&str, Run, usize); 9] = [
    ("decode a frame", decode, SHORT),
    ("parse a keystroke", parse, SHORT),
    ("gate and apply a keystroke", apply, 1),
    ("a document's turn with 20 members", turn, 1),
    ("merge 100 keystrokes", merge, 1),
    ("encode an update", encode, SHORT),
    ("encode what a newcomer lacks of 1,000 keystrokes", join, 1),
    ("broadcast a keystroke to 100 outboxes", broadcast, 1),
    ("mirror one changed line of 1,000", mirror, 1),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [path, turns] = &arguments[..]
        && let Some((_, run, _)) = PATHS.iter().find(|(name, ..)| name == path)
    {
        // As in the server, where nobody asks for spans; without anybody to ask, they are looked at as if somebody did.
        tracing::subscriber::set_global_default(Deaf).expect("the first");
        run(turns.parse().expect("a number of turns"));
        return ExitCode::SUCCESS;
    }
    match compare(arguments.iter().any(|argument| argument == "--save")) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(reason) => {
            println!("{reason}");
            ExitCode::FAILURE
        }
    }
}

/// Wants no spans.
struct Deaf;

impl tracing::Subscriber for Deaf {
    fn register_callsite(&self, _: &'static tracing::Metadata<'static>) -> tracing::subscriber::Interest {
        tracing::subscriber::Interest::never()
    }
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        false
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

/// Counts every path, prints it beside what is stored, and says whether none is slower.
fn compare(save: bool) -> Result<bool, String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/hot.txt");
    let stored = std::fs::read_to_string(&file).unwrap_or_default();
    let compiler = compiler()?;
    let mut lines = stored.lines();
    let stored_by = lines.next().unwrap_or_default().trim_start_matches("# ");
    let stored: BTreeMap<&str, u64> = lines
        .map(|line| {
            let (count, name) = line.trim().split_once(' ').ok_or("expected a count and a name")?;
            Ok((name, count.parse().map_err(|_| "expected a count")?))
        })
        .collect::<Result<_, &str>>()
        .map_err(|wrong| format!("{}: {wrong}; `make bench-hot SAVE=1` writes it anew", file.display()))?;
    if !save && !stored.is_empty() && stored_by != compiler {
        println!("Stored with {stored_by}, counted with {compiler}: a part of a difference may be the compiler's.");
    }
    println!("{:>12} {:>12} {:>7}", "instructions", "stored", "ratio");
    let (mut counted, mut good) = (format!("# {compiler}\n"), true);
    for (name, _, scale) in PATHS {
        let (few, many) = (TURNS.0 * scale, TURNS.1 * scale);
        let one = instructions(name, many)?.saturating_sub(instructions(name, few)?) / (many - few) as u64;
        counted.push_str(&format!("{one:>8} {name}\n"));
        let Some(before) = stored.get(name) else {
            println!("{one:>12} {:>12} {:>7}  {name}", "-", "-");
            continue;
        };
        let ratio = one as f64 / *before as f64;
        good &= ratio <= SLOWER;
        let verdict = match ratio {
            ratio if ratio > SLOWER => ": SLOWER",
            ratio if ratio < FASTER => ": faster, store it",
            _ => "",
        };
        println!("{one:>12} {before:>12} {ratio:>7.3}  {name}{verdict}");
    }
    if save {
        std::fs::write(&file, counted).map_err(|error| format!("{}: {error}", file.display()))?;
        return Ok(true);
    }
    if !good {
        println!(
            "A path takes over 5 % more than is stored. Mend it, or store the new figures and say in the commit what they buy."
        );
    }
    Ok(good)
}

fn compiler() -> Result<String, String> {
    let said = Command::new("rustc").arg("--version").output().map_err(|error| format!("rustc: {error}"))?;
    Ok(String::from_utf8_lossy(&said.stdout).trim().to_owned())
}

/// Instructions of this program when it does one path so often.
fn instructions(path: &str, turns: usize) -> Result<u64, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(own)
        .args([path, &turns.to_string()])
        .output()
        .map_err(|error| format!("valgrind does not run ({error}); `scripts/setup --counts` installs it"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{path} failed under valgrind: {said}"));
    }
    let count =
        said.lines().find_map(|line| line.split("Collected :").nth(1)).and_then(|count| count.trim().parse().ok());
    count.ok_or_else(|| format!("valgrind counted nothing: {said}"))
}

/// Keystrokes of one writer at the end of a text, from the first on.
fn keystrokes(count: usize) -> Vec<Bytes> {
    let doc = Doc::with_client_id(WRITER);
    let root = doc.get_or_insert_text(text::ROOT);
    let keystroke = |number| {
        let mut txn = doc.transact_mut();
        root.insert(&mut txn, number as u32, "x");
        Bytes::from(txn.encode_update_v1())
    };
    (0..count).map(keystroke).collect()
}

fn decode(turns: usize) {
    let frame = protocol::update(&keystrokes(500)[499]);
    for _ in 0..turns {
        black_box(protocol::decode(black_box(&frame)).expect("a frame"));
    }
}

fn parse(turns: usize) {
    let keystroke = &keystrokes(500)[499];
    for _ in 0..turns {
        black_box(update::parse(black_box(keystroke)).expect("an update"));
    }
}

fn apply(turns: usize) {
    let mut replica = Replica::new();
    for keystroke in keystrokes(TURNS.1).iter().take(turns) {
        black_box(replica.apply_foreign(keystroke).expect("it applies"));
    }
}

fn person() -> Authority {
    let id = PrincipalId::parse("somebody").expect("a valid id");
    Authority { principal: Principal { id, kind: PrincipalKind::Person, name: "Somebody".into() }, role: Role::Editor }
}

fn turn(turns: usize) {
    let mut document = Document::load(Access::Shared, &StoredDocument::default()).expect("an empty document");
    let lanes: Vec<_> =
        (0..20).map(|_| Outbox::new(Box::new(Sink::default()), usize::MAX).lane(Bytes::new())).collect();
    let (now, mut effects) = (Instant::now(), Vec::new());
    for lane in &lanes {
        let (peer, dialect) = (lane.id(), Dialect::YWebsocket);
        document.handle(now, Input::Connected { peer, authority: person(), stamp: false, dialect }, &mut effects);
    }
    let peer = lanes[0].id();
    for keystroke in keystrokes(TURNS.1).into_iter().take(turns) {
        effects.clear();
        document.handle(now, Input::Received { peer, message: protocol::Message::Update(keystroke) }, &mut effects);
        document.end_turn(now, &mut effects);
        document.handle(now, Input::Durable { seq: document.seq() }, &mut effects);
        black_box(&effects);
    }
}

fn merge(turns: usize) {
    let messages: Vec<Bytes> = keystrokes(100).iter().map(|keystroke| protocol::update(keystroke)).collect();
    for _ in 0..turns {
        black_box(protocol::merge_updates(black_box(&messages)).expect("they merge"));
    }
}

fn encode(turns: usize) {
    let keystroke = &keystrokes(500)[499];
    for _ in 0..turns {
        black_box(protocol::update(black_box(keystroke)));
    }
}

fn join(turns: usize) {
    let replica = Replica::load(None, &keystrokes(1000)).expect("they apply");
    for _ in 0..turns {
        let lacking = replica.diff(black_box(&[0])).expect("a state vector");
        black_box(protocol::sync_step_2(&lacking));
    }
}

/// A socket that takes everything and counts the frames.
#[derive(Default)]
struct Sink(Arc<AtomicUsize>);

impl Wire for Sink {
    fn header(&self, len: usize) -> Header {
        // One for each frame, while several may leave in one write.
        self.0.fetch_add(1, Ordering::Relaxed);
        let mut header = Header::default();
        header.push(&[0x82, len.min(125) as u8]);
        header
    }

    fn try_write(&self, slices: &[IoSlice<'_>]) -> std::io::Result<usize> {
        Ok(slices.iter().map(|slice| slice.len()).sum())
    }
}

fn broadcast(turns: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        let rooms = Rooms::new(Arc::new(MemoryStore::default()), Tasks::new());
        let document = rooms.document(&DocumentName::parse("hot").expect("a name")).await.expect("it opens");
        let others = Arc::new(AtomicUsize::new(0));
        let mut connections = Vec::new();
        for number in 0..=100 {
            let sink = if number == 0 { Sink::default() } else { Sink(others.clone()) };
            let lane = Outbox::new(Box::new(sink), usize::MAX).lane(Bytes::new());
            connections.push(document.connect(person(), false, Dialect::YWebsocket, lane).await.expect("connected"));
        }
        // The answer comes when all have been greeted.
        document.diff(vec![0]).await.expect("answered");
        let greeted = others.load(Ordering::Relaxed);
        for (number, keystroke) in keystrokes(TURNS.1).into_iter().take(turns).enumerate() {
            connections[0].receive(protocol::Message::Update(keystroke)).await.expect("taken");
            while others.load(Ordering::Relaxed) < greeted + 100 * (number + 1) {
                tokio::task::yield_now().await;
            }
        }
    });
}

fn mirror(turns: usize) {
    let line = |number| format!("    let line_{number} = compute(line_{number}, {number});\n");
    let before: String = (0..1000).map(line).collect();
    let after = before.replace("line_500 = compute", "line_500 = computed");
    let mut replica = Replica::new();
    replica.set_text(text::ROOT, &before);
    for number in 0..turns {
        let now = if number % 2 == 0 { &after } else { &before };
        black_box(replica.set_text(text::ROOT, black_box(now)).expect("it changes"));
    }
}
