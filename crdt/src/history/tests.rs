use std::collections::HashMap;

use yrs::{GetString, Transact};

use super::*;

/// A small generator with a fixed seed: the crate has no source of randomness.
struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).expect("small")
    }
}

const WRITERS: usize = 4;

/// Several writers edit one text, exchange what they have now and then, and a log takes their updates as they come. With
/// each update the log notes what the text was.
struct Plan {
    log: Vec<(usize, Vec<u8>)>,
    texts: Vec<String>,
    server: Replica,
}

fn random_plan(seed: u64, steps: usize) -> Plan {
    let mut rng = Rng(seed);
    let mut server = Replica::new();
    let mut writers: Vec<Replica> = (0..WRITERS).map(|_| Replica::new()).collect();
    let (mut log, mut texts) = (Vec::new(), Vec::new());
    for _ in 0..steps {
        let who = rng.below(WRITERS);
        let writer = &mut writers[who];
        if rng.below(3) > 0 {
            let missing = server.diff(&writer.state_vector()).expect("valid");
            writer.apply(&missing).expect("valid");
        }
        let root = writer.doc().get_or_insert_text("text");
        let len = writer.text("text").encode_utf16().count();
        let (at, remove) = (rng.below(len + 1), rng.below(3) == 0);
        const WORDS: [&str; 5] = ["a", "bc", "def ", "é\n", "😀"];
        let word = WORDS[rng.below(WORDS.len())];
        let text: Vec<u16> = writer.text("text").encode_utf16().collect();
        // Never between the two halves of a pair.
        let whole = |at: usize| at - usize::from(at < text.len() && (0xdc00..0xe000).contains(&text[at]));
        let (at, end) = (whole(at), whole((at + 1 + rng.below(4)).min(len)));
        writer.edit(|txn| {
            if remove && end > at {
                root.remove_range(txn, at as u32, (end - at) as u32);
            } else {
                root.insert(txn, at as u32, word);
            }
        });
        // Sometimes everything the writer knows, as after a reconnect; sometimes several edits at once.
        if rng.below(4) > 0 {
            let state = if rng.below(5) == 0 { vec![0] } else { server.state_vector() };
            let update = writer.diff(&state).expect("valid");
            if server.apply(&update).expect("valid") == crate::replica::Applied::Changed {
                log.push((who, update));
                texts.push(server.text("text"));
            }
        }
    }
    Plan { log, texts, server }
}

fn at(log: &[(usize, Vec<u8>)]) -> Replica {
    let mut replica = Replica::new();
    for (_, update) in log {
        replica.apply(update).expect("valid");
    }
    replica
}

fn text_of(runs: &[Run]) -> String {
    runs.iter().map(|run| run.text.as_str()).collect()
}

/// One entry for each UTF-16 unit that a state shows: the element, and its unit.
fn units_of(replica: &Replica) -> Vec<((u64, u64), u16)> {
    let runs = runs(replica, "text");
    let each = |run: &Run| {
        let (client, clock) = (run.client, run.clock);
        let units: Vec<u16> = run.text.encode_utf16().collect();
        units.into_iter().zip(clock..).map(move |(unit, clock)| ((client, clock), unit))
    };
    runs.iter().flat_map(each).collect()
}

#[test]
fn runs_are_the_text() {
    for seed in 1..30 {
        let plan = random_plan(seed, 60);
        let runs = runs(&plan.server, "text");
        assert_eq!(text_of(&runs), plan.server.text("text"), "seed {seed}");
    }
    assert_eq!(runs(&Replica::new(), "text"), []);
}

#[test]
fn each_character_belongs_to_whoever_brought_it_first() {
    for seed in 1..60 {
        let plan = random_plan(seed, 60);
        // The oracle replays the log and looks at every unit after every update.
        let mut replica = Replica::new();
        let (mut brought, mut gone) = (HashMap::new(), HashMap::new());
        let mut shown: Vec<(u64, u64)> = Vec::new();
        let mut attribution = Attribution::default();
        for (by, update) in &plan.log {
            replica.apply(update).expect("valid");
            let now: Vec<(u64, u64)> = units_of(&replica).into_iter().map(|(id, _)| id).collect();
            for id in &now {
                brought.entry(*id).or_insert(*by);
            }
            for id in shown.iter().filter(|id| !now.contains(id)) {
                gone.entry(*id).or_insert(*by);
            }
            shown = now;
            attribution.learn(update, by).expect("valid");
        }
        let pieces = attribution.inserted_by(runs(&replica, "text"));
        assert_eq!(pieces.iter().map(|(run, _)| run.text.as_str()).collect::<String>(), replica.text("text"));
        for (run, by) in &pieces {
            for clock in run.clock..run.clock + run.len() {
                assert_eq!(*by, brought.get(&(run.client, clock)).copied(), "seed {seed}, {run:?}");
            }
        }
        for ((client, clock), by) in gone {
            assert_eq!(attribution.deleter(client, clock).map(|(by, _)| *by), Some(by), "seed {seed}");
        }
    }
}

#[test]
fn two_states_differ_by_what_was_inserted_and_deleted_between_them() {
    for seed in 1..60 {
        let plan = random_plan(seed, 60);
        let mut rng = Rng(seed * 77);
        let a = rng.below(plan.log.len());
        let b = a + rng.below(plan.log.len() - a);
        let (earlier, later) = (at(&plan.log[..=a]), at(&plan.log[..=b]));
        let found = changes(runs(&earlier, "text"), runs(&later, "text"));
        // Doing to the earlier text what the changes say gives the later one.
        let old: Vec<u16> = plan.texts[a].encode_utf16().collect();
        let mut new: Vec<u16> = Vec::new();
        let mut from = 0;
        for change in &found {
            new.extend(&old[from..change.from as usize]);
            assert_eq!(new.len() as u64, change.to, "seed {seed}: {found:?}");
            let removed: Vec<u16> = text_of(&change.removed).encode_utf16().collect();
            from = change.from as usize + removed.len();
            assert_eq!(old[change.from as usize..from], removed, "seed {seed}: {found:?}");
            new.extend(text_of(&change.inserted).encode_utf16());
        }
        new.extend(&old[from..]);
        assert_eq!(String::from_utf16(&new).expect("whole characters"), plan.texts[b], "seed {seed}: {found:?}");
    }
}

#[test]
fn a_text_that_was_put_back_does_not_differ() {
    let mut replica = Replica::new();
    replica.set_text("text", "one two three");
    let before = runs(&replica, "text");
    replica.set_text("text", "one three");
    replica.set_text("text", "one two three");
    assert_ne!(runs(&replica, "text"), before, "the word is made of new elements");
    assert_eq!(changes(before, runs(&replica, "text")), []);
}

#[test]
fn a_change_names_where_it_is_in_both_texts() {
    let mut replica = Replica::new();
    replica.set_text("text", "😀 hello world");
    let before = runs(&replica, "text");
    replica.set_text("text", "😀 hallo welt!");
    let seen: Vec<_> = changes(before, runs(&replica, "text"))
        .into_iter()
        .map(|change| (change.from, change.to, text_of(&change.removed), text_of(&change.inserted)))
        .collect();
    let own = |from, to, removed: &str, inserted: &str| (from, to, removed.to_owned(), inserted.to_owned());
    assert_eq!(seen, [own(4, 4, "e", "a"), own(10, 10, "or", "e"), own(13, 12, "d", "t!")]);
}

#[test]
fn what_is_formatted_or_embedded_is_left_out_of_the_text_and_disturbs_nothing() {
    let replica = Replica::new();
    let root = replica.doc().get_or_insert_text("text");
    let mut txn = replica.doc().transact_mut();
    root.insert(&mut txn, 0, "plain bold plain");
    root.format(&mut txn, 6, 4, yrs::types::Attrs::from([("b".into(), true.into())]));
    root.insert_embed(&mut txn, 6, Any::from("picture"));
    drop(txn);
    assert_eq!(text_of(&runs(&replica, "text")), root.get_string(&replica.doc().transact()));
}

#[test]
fn deletions_are_learnt_once_and_whole() {
    let mut attribution = Attribution::default();
    let mut learn = |clock, len, by: char| {
        let mut new = Vec::new();
        attribution.learn_deleted(Span { client: 1, clock, len }, &by, &mut new);
        new.into_iter().map(|span| (span.clock, span.len)).collect::<Vec<_>>()
    };
    assert_eq!(learn(5, 3, 'a'), [(5, 3)]);
    assert_eq!(learn(8, 2, 'a'), [(8, 2)]);
    assert_eq!(learn(0, 20, 'b'), [(0, 5), (10, 10)]);
    assert_eq!(learn(0, 20, 'c'), []);
    assert_eq!(attribution.deleter(1, 9), Some((&'a', 10)));
    assert_eq!(attribution.deleter(1, 10), Some((&'b', 20)));
    assert_eq!(attribution.deleter(1, 20), None);
}
