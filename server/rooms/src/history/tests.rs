use std::collections::HashMap;

use buildspaces_crdt::text::ROOT;
use buildspaces_kernel::tasks::Tasks;
use yrs::Text;

use super::turns::JOBS;
use super::*;
use crate::Rooms;
use crate::memory::MemoryStore;
use crate::ports::{HistoryStore, Record, Store};

/// A small generator with a fixed seed.
struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).expect("small")
    }
}

fn person(name: &str) -> Principal {
    let id = PrincipalId::parse(name).expect("valid");
    Principal { id, kind: PrincipalKind::Person, name: name.into() }
}

fn name(text: &str) -> DocumentName {
    DocumentName::parse(text).expect("valid")
}

struct World {
    store: Arc<MemoryStore>,
    rooms: Rooms,
    document: DocumentName,
    /// What the text was after each update, from number 0 on.
    texts: Vec<String>,
    replica: Replica,
}

impl World {
    fn new() -> Self {
        let store = Arc::new(MemoryStore::default());
        let rooms = Rooms::new(store.clone(), Tasks::new());
        Self { store, rooms, document: name("notes"), texts: vec![String::new()], replica: Replica::new() }
    }

    /// Puts an update into the log.
    async fn log(&mut self, by: &str, at: UnixMillis, update: Vec<u8>) {
        let seq = self.texts.len() as u64;
        let record = Record { seq, by: person(by).id, at, update: update.into() };
        self.store.append(&self.document, vec![record]).await.expect("append");
        self.texts.push(self.replica.text(ROOT));
    }

    /// Somebody makes the text another one.
    async fn write(&mut self, by: &str, at: UnixMillis, text: &str) {
        let update = self.replica.set_text(ROOT, text).expect("another text");
        self.log(by, at, update).await;
    }

    fn history(&self) -> &History {
        self.rooms.history()
    }
}

/// Three people write a text, word by word and each with a client of their own.
async fn random_world(seed: u64, updates: usize) -> World {
    let mut rng = Rng(seed);
    let mut world = World::new();
    let mut clients: Vec<Replica> = (0..3).map(|_| Replica::new()).collect();
    for step in 0..updates {
        let who = rng.below(3);
        let client = &mut clients[who];
        let missing = world.replica.diff(&client.state_vector()).expect("valid");
        client.apply(&missing).expect("valid");
        let text = client.doc().get_or_insert_text(ROOT);
        let len = client.text(ROOT).len();
        let update = client.edit(|txn| {
            let at = rng.below(len + 1);
            let end = (at + 1 + rng.below(6)).min(len);
            if rng.below(3) == 0 && end > at {
                text.remove_range(txn, at as u32, (end - at) as u32);
            } else {
                text.insert(txn, at as u32, ["a", "word ", "x\n"][rng.below(3)]);
            }
        });
        let Some(update) = update else { continue };
        world.replica.apply(&update).expect("valid");
        world.log(["ada", "bo", "cy"][who], step as i64 * 1000, update).await;
    }
    world
}

#[tokio::test]
async fn the_text_of_every_version_is_what_it_was_then() {
    for seed in 1..4 {
        let world = random_world(seed, 150).await;
        for round in 0..2 {
            for (seq, text) in world.texts.iter().enumerate() {
                let seen = world.history().text(&world.document, seq as u64, ROOT).await.expect("text");
                assert_eq!(seen, *text, "seed {seed}, version {seq}, round {round}");
            }
            // The second time with states to begin from.
            world.history().checkpoint(&world.document, &person("ada"), "end").await.expect("named");
            let state = world.history().state(&world.document, 70).await.expect("state");
            world.store.save_snapshot(&world.document, 70, state.to_vec()).await.expect("snapshot");
        }
        let newest = world.texts.len() as u64 - 1;
        let error = world.history().text(&world.document, newest + 1, ROOT).await;
        assert!(matches!(error, Err(Error::NoSuchVersion { .. })), "{error:?}");
        for (from, to) in [(0, newest + 1), (newest + 1, 0), (u64::MAX, u64::MAX)] {
            let error = world.history().diff(&world.document, from, to, ROOT).await;
            assert!(matches!(error, Err(Error::NoSuchVersion { .. })), "{error:?}");
        }
    }
}

/// What each unit of a text is called by whom, found by replaying and looking at everything every time.
async fn naive_blame(world: &World, seq: u64) -> Vec<String> {
    let mut replica = Replica::new();
    let mut owners: HashMap<(u64, u64), String> = HashMap::new();
    let mut shown = Vec::new();
    let mut after = 0;
    loop {
        let page = world.store.records(&world.document, after).await.expect("records");
        for record in page.iter().filter(|record| record.seq <= seq) {
            replica.apply(&record.update).expect("valid");
            shown.clear();
            for run in past::runs(&replica, ROOT) {
                for clock in run.clock..run.clock + run.len() {
                    owners.entry((run.client, clock)).or_insert_with(|| record.by.to_string());
                    shown.push((run.client, clock));
                }
            }
        }
        match page.last() {
            Some(last) if last.seq < seq => after = last.seq,
            _ => return shown.iter().map(|id| owners[id].clone()).collect(),
        }
    }
}

#[tokio::test]
async fn blame_is_what_a_naive_replay_says() {
    for seed in 1..6 {
        let world = random_world(seed, 120).await;
        for seq in [1, 40, 119.min(world.texts.len() as u64 - 1)] {
            let (_, blame, _) = world.history().blame(&world.document, Some(seq), ROOT).await.expect("blame");
            let text: String = blame.iter().map(|range| range.text.as_str()).collect();
            assert_eq!(text, world.texts[seq as usize]);
            let mut at = 0;
            let mut seen = Vec::new();
            for range in &blame {
                assert_eq!(range.at, at);
                let len = range.text.encode_utf16().count();
                at += len as u64;
                let by = range.by.as_ref().expect("the log says").by.to_string();
                seen.extend(std::iter::repeat_n(by, len));
                assert_eq!(range.client_of, None);
            }
            assert_eq!(seen, naive_blame(&world, seq).await, "seed {seed}, version {seq}");
        }
    }
}

#[tokio::test]
async fn a_difference_says_who_wrote_and_who_deleted() {
    let mut world = World::new();
    world.write("ada", 1_000, "one two three\n").await;
    world.write("bo", 2_000, "one three\n").await;
    world.write("cy", 3_000, "one three four\n").await;
    let texts = |hunks: &[Hunk]| {
        let pieces = |pieces: &[Piece]| {
            let each = |piece: &Piece| format!("{} by {}", piece.text.trim(), piece.by.as_ref().expect("known").by);
            pieces.iter().map(each).collect::<Vec<_>>()
        };
        hunks.iter().map(|h| (h.from, h.to, pieces(&h.removed), pieces(&h.inserted))).collect::<Vec<_>>()
    };
    let (hunks, _) = world.history().diff(&world.document, 1, 3, ROOT).await.expect("diff");
    let some = |text: &str| vec![text.to_owned()];
    assert_eq!(texts(&hunks), [(5, 5, some("wo t by bo"), vec![]), (13, 9, vec![], some("four by cy"))]);
    // The other way round: what was deleted comes back.
    let (back, _) = world.history().diff(&world.document, 3, 1, ROOT).await.expect("diff");
    assert_eq!(texts(&back), [(5, 5, vec![], some("wo t by bo")), (9, 13, some("four by cy"), vec![])]);
    assert_eq!(world.history().diff(&world.document, 2, 2, ROOT).await.expect("diff").0, []);
}

#[tokio::test]
async fn text_that_somebody_else_brings_under_anothers_client_is_not_taken_for_theirs() {
    let mut world = World::new();
    world.write("ada", 1_000, "ada's ").await;
    // Mallory sends text under Ada's client id.
    world.write("mallory", 2_000, "ada's forged").await;
    let (_, blame, _) = world.history().blame(&world.document, None, ROOT).await.expect("blame");
    let seen: Vec<_> = blame
        .iter()
        .map(|range| (range.text.as_str(), range.by.as_ref().expect("known").by.to_string(), range.client_of.clone()))
        .collect();
    let (clients, _) = world.history().clients(&world.document).await.expect("clients");
    let clients: Vec<_> = clients.into_iter().map(|(_, author)| (author.by.to_string(), author.seq)).collect();
    assert_eq!(clients, [("ada".to_owned(), 1)], "there is one client, and it is Ada's");
    let mallory = ("forged", "mallory".to_owned(), Some(person("ada").id));
    assert_eq!(seen, [("ada's ", "ada".to_owned(), None), mallory]);
}

#[tokio::test]
async fn versions_are_named_ones_and_sessions() {
    let mut world = World::new();
    world.write("ada", 1_000, "a").await;
    world.write("ada", 2_000, "ab").await;
    let named = world.history().checkpoint(&world.document, &person("ada"), " first draft ").await.expect("named");
    assert_eq!((named.seq, named.name.as_str()), (2, "first draft"));
    world.write("fs", 10_000, "abc").await;
    world.write("bo", 900_000, "abcd").await;
    let versions = world.history().versions(&world.document, u64::MAX, 100).await.expect("versions");
    let seen: Vec<_> = versions.sessions.iter().map(|session| (session.first, session.seq)).collect();
    assert_eq!((seen, versions.named), (vec![(1, 2), (3, 3), (4, 4)], vec![named]));
    let known: Vec<_> = versions.authors.iter().map(|author| author.id.as_str()).collect();
    assert_eq!(known, ["ada", "fs"], "bo never was introduced");
    for (before, most, expected) in
        [(4, 9, vec![(1, 2), (3, 3)]), (3, 9, vec![(1, 2)]), (2, 9, vec![]), (9, 1, vec![(4, 4)]), (9, 0, vec![])]
    {
        let page = world.history().versions(&world.document, before, most).await.expect("versions");
        let seen: Vec<_> = page.sessions.iter().map(|session| (session.first, session.seq)).collect();
        assert_eq!(seen, expected, "{most} below {before}");
    }
    for bad in ["", "  ", "a\nb", &"x".repeat(121)] {
        let error = world.history().checkpoint(&world.document, &person("ada"), bad).await;
        assert!(matches!(error, Err(Error::BadVersionName)), "{bad:?}");
    }
    let nobody = world.history().versions(&name("nothing"), u64::MAX, 100).await;
    assert!(matches!(nobody, Err(Error::NoSuchDocument(_))), "{nobody:?}");
}

#[tokio::test]
async fn going_back_is_a_few_new_edits_by_whoever_asked() {
    let mut world = World::new();
    world.write("ada", 1_000, "one\ntwo\nthree\n").await;
    world.write("bo", 2_000, "one\n2\nthree\nfour\n").await;
    let live = world.rooms.document(&world.document).await.expect("open");
    let ada = person("ada");
    world.history().restore(&world.document, &live, &ada, 1).await.expect("restored");
    assert_eq!(live.text().await.expect("text"), "one\ntwo\nthree\n");
    let records = world.store.records(&world.document, 0).await.expect("records");
    let last = records.last().expect("one more");
    assert_eq!((last.seq, &last.by), (3, &ada.id));
    assert!(last.update.len() < 60, "{} bytes for one word", last.update.len());
    assert_eq!(world.history().text(&world.document, 2, ROOT).await.expect("text"), "one\n2\nthree\nfour\n");
    assert_eq!(world.history().diff(&world.document, 1, 3, ROOT).await.expect("diff").0, [], "nothing differs now");
}

#[tokio::test]
async fn merging_old_updates_changes_neither_text_nor_blame_nor_named_versions() {
    const HOUR: UnixMillis = 3_600_000;
    for seed in 1..5 {
        let world = random_world(seed, 130).await;
        let newest = world.texts.len() as u64 - 1;
        let before = world.history().blame(&world.document, None, ROOT).await.expect("blame").1;
        let authors = |blame: &[Blame]| -> Vec<(String, PrincipalId)> {
            let mut whole: Vec<(String, PrincipalId)> = Vec::new();
            for range in blame {
                let by = range.by.as_ref().expect("known").by.clone();
                match whole.last_mut() {
                    Some((text, last)) if *last == by => text.push_str(&range.text),
                    _ => whole.push((range.text.clone(), by)),
                }
            }
            whole
        };
        let state = world.history().state(&world.document, 40).await.expect("state");
        let version = NamedVersion { seq: 40, name: "forty".to_owned(), by: person("ada").id, at: 1 };
        world.store.name_version(&world.document, &version, Some(state.clone())).await.expect("named");
        let policy = Policy { keep_days: 1, then: retention::Grain::Hour };
        // All of them lie within two minutes: up to the named version, and what is after it.
        let merged = world.history().compact(&world.document, policy, 100 * 24 * HOUR).await.expect("merged");
        assert_eq!(merged, 2, "seed {seed}");
        assert_eq!(world.history().compact(&world.document, policy, 100 * 24 * HOUR).await.expect("merged"), 0);
        for seq in [0, 40, newest] {
            let text = world.history().text(&world.document, seq, ROOT).await.expect("kept");
            assert_eq!(text, world.texts[seq as usize], "seed {seed}, version {seq}");
        }
        let gone = world.history().text(&world.document, 41, ROOT).await;
        assert!(matches!(gone, Err(Error::VersionMerged { first: 41, .. })), "{gone:?}");
        let after = world.history().blame(&world.document, None, ROOT).await.expect("blame").1;
        assert_eq!(authors(&after), authors(&before), "seed {seed}");
        // The document itself loads as before, and goes on.
        let live = world.rooms.document(&world.document).await.expect("open");
        assert_eq!(live.text().await.expect("text"), world.texts[newest as usize]);
        live.replace_text(&person("bo"), "after".to_owned()).await.expect("written");
        let versions = world.history().versions(&world.document, u64::MAX, 100).await.expect("versions");
        assert_eq!(versions.about.seq, newest + 1);
    }
}

#[tokio::test]
async fn any_version_of_a_plain_document_comes_back() {
    for seed in 1..4 {
        let world = random_world(seed, 60).await;
        let live = world.rooms.document(&world.document).await.expect("open");
        for seq in [0, 13, 31, world.texts.len() - 1] {
            world.history().restore(&world.document, &live, &person("ada"), seq as u64).await.expect("restored");
            assert_eq!(live.text().await.expect("text"), world.texts[seq], "seed {seed}, version {seq}");
        }
    }
}

#[tokio::test]
async fn naming_versions_keeps_few_states_of_a_large_document() {
    let mut world = World::new();
    world.write("ada", 1_000, &"a line\n".repeat(100_000)).await;
    for version in 0..50 {
        world.write("ada", 2_000, &format!("{version} {}", "a line\n".repeat(100_000))).await;
        world.history().checkpoint(&world.document, &person("ada"), &format!("v{version}")).await.expect("named");
    }
    assert!(world.store.bytes_of_states() < 1_000_000, "{} bytes", world.store.bytes_of_states());
    let text = world.history().text(&world.document, 30, ROOT).await.expect("kept");
    assert_eq!(text, world.texts[30]);
}

#[tokio::test]
async fn a_question_keeps_its_place_until_its_work_has_ended_whoever_has_gone() {
    let mut world = World::new();
    world.write("ada", 1_000, "a").await;
    let places = world.history().turns.jobs.clone();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (begin, begun) = tokio::sync::oneshot::channel();
    let question = world.history().replica(&world.document, 1, move |_| {
        let _ = begin.send(());
        released.recv()
    });
    tokio::select! {
        _ = question => unreachable!("it waits"),
        begun = begun => begun.expect("begun"),
    }
    assert_eq!(places.available_permits(), JOBS - 1, "its thread goes on");
    release.send(()).expect("it waits");
    let all = tokio::time::timeout(std::time::Duration::from_secs(30), places.acquire_many(JOBS as u32)).await;
    // Those who list versions wait for a place too.
    let all = all.expect("in time").expect("open");
    let versions = tokio::time::timeout(
        std::time::Duration::from_millis(20),
        world.history().versions(&world.document, u64::MAX, 100),
    );
    assert!(versions.await.is_err());
    drop(all);
    assert_eq!(world.history().versions(&world.document, u64::MAX, 100).await.expect("versions").sessions.len(), 1);
}
