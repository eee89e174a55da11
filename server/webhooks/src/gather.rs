//! When a change is told: some quiet after a document's last edit, but not too long after the first. Pure.
//!
//! Whatever happens to one document meanwhile is one event. It does not know who wants to hear of it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use buildspaces_crdt::DocumentName;
use buildspaces_policy::Principal;
use buildspaces_rooms::listener::MAX_AUTHORS;

/// Documents whose changes are gathered at the same time. What changes beyond is not gathered, only noted: [`Gatherer::overflowed`]
/// says when to look at the store for all that was not announced.
#[cfg(not(test))]
const MAX_DOCUMENTS: usize = 10_000;
#[cfg(test)]
const MAX_DOCUMENTS: usize = 2;

/// How long edits are gathered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quiet {
    /// Quiet after the last edit.
    pub quiet: Duration,
    /// Longest wait after the first edit, however busily people type.
    pub longest: Duration,
}

impl Default for Quiet {
    fn default() -> Self {
        /// As long as somebody pauses within a sentence.
        const QUIET: Duration = Duration::from_secs(2);
        /// A receiver that indexes or mirrors should not be further behind than this.
        const LONGEST: Duration = Duration::from_secs(10);
        Self { quiet: QUIET, longest: LONGEST }
    }
}

/// What happened to one document since it was announced last.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Changed {
    pub document: DocumentName,
    /// Number of the last update.
    pub seq: u64,
    /// Each once, in the order in which they came.
    pub by: Vec<Principal>,
}

/// See the module.
#[derive(Debug)]
pub struct Gatherer {
    quiet: Quiet,
    gathering: HashMap<DocumentName, Gathering>,
    overflowed: bool,
}

#[derive(Debug)]
struct Gathering {
    first: Instant,
    due: Instant,
    seq: u64,
    by: Vec<Principal>,
}

impl Gatherer {
    pub fn new(quiet: Quiet) -> Self {
        Self { quiet, gathering: HashMap::new(), overflowed: false }
    }

    pub fn changed(&mut self, now: Instant, document: &DocumentName, seq: u64, by: &[Principal]) {
        let Quiet { quiet, longest } = self.quiet;
        if !self.gathering.contains_key(document) {
            if self.gathering.len() >= MAX_DOCUMENTS {
                self.overflowed = true;
                return;
            }
            let new = Gathering { first: now, due: now, seq, by: Vec::new() };
            self.gathering.insert(document.clone(), new);
        }
        let gathering = self.gathering.get_mut(document).expect("inserted above if it was not there");
        gathering.seq = gathering.seq.max(seq);
        gathering.due = (now + quiet).min(gathering.first + longest);
        for author in by {
            if gathering.by.len() < MAX_AUTHORS && !gathering.by.contains(author) {
                gathering.by.push(author.clone());
            }
        }
    }

    /// Takes out what is due.
    pub fn take_due(&mut self, now: Instant) -> Vec<Changed> {
        let due = self.gathering.extract_if(|_, gathering| gathering.due <= now);
        due.map(|(document, Gathering { seq, by, .. })| Changed { document, seq, by }).collect()
    }

    /// What was taken out could not be passed on: it is gathered anew, with what came meanwhile.
    pub fn put_back(&mut self, now: Instant, changes: Vec<Changed>) {
        for change in changes {
            self.changed(now, &change.document, change.seq, &change.by);
        }
    }

    /// The document is gone, and what happened to it before is of no interest any more.
    pub fn forget(&mut self, document: &DocumentName) {
        self.gathering.remove(document);
    }

    pub fn is_gathering(&self, document: &DocumentName) -> bool {
        self.gathering.contains_key(document)
    }

    pub fn is_empty(&self) -> bool {
        self.gathering.is_empty()
    }

    /// When something is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.gathering.values().map(|gathering| gathering.due).min()
    }

    /// True once, when there is place again after changes that could not be gathered: look at the store for them.
    pub fn overflowed(&mut self) -> bool {
        self.gathering.len() <= MAX_DOCUMENTS / 2 && std::mem::take(&mut self.overflowed)
    }
}

#[cfg(test)]
mod tests {
    use buildspaces_kernel::ids::PrincipalId;
    use buildspaces_policy::PrincipalKind;
    use expect_test::{Expect, expect};

    use super::*;

    fn person(id: &str) -> Principal {
        let id = PrincipalId::parse(id).expect("valid");
        Principal { name: id.as_str().into(), kind: PrincipalKind::Person, id }
    }

    /// Plays lines of `<milliseconds> <document> <number> <who>` and lists what is told, and when.
    fn check(script: &str, expected: Expect) {
        let start = Instant::now();
        let mut gatherer = Gatherer::new(Quiet::default());
        let mut told = String::new();
        let mut until = |gatherer: &mut Gatherer, at: Instant| {
            while let Some(due) = gatherer.deadline().filter(|due| *due <= at) {
                for Changed { document, seq, by } in gatherer.take_due(due) {
                    let by: Vec<&str> = by.iter().map(|who| who.id.as_str()).collect();
                    told += &format!("{} {} {seq} {}\n", (due - start).as_millis(), document.as_str(), by.join(","));
                }
                if gatherer.overflowed() {
                    told += &format!("{} look at the store\n", (due - start).as_millis());
                }
            }
        };
        for line in script.lines().map(str::trim) {
            let words: Vec<&str> = line.split(' ').collect();
            let [at, document, seq, who] = words[..] else { panic!("{line}") };
            let at = start + Duration::from_millis(at.parse().expect("milliseconds"));
            until(&mut gatherer, at);
            let document = DocumentName::parse(document).expect("valid");
            gatherer.changed(at, &document, seq.parse().expect("a number"), &[person(who)]);
        }
        until(&mut gatherer, start + Duration::from_secs(3600));
        expected.assert_eq(&told);
    }

    #[test]
    fn many_edits_are_one_event_after_quiet() {
        check(
            "0 a 1 ada
             1500 a 2 bo
             3000 a 3 ada
             6000 a 4 bo",
            expect![[r#"
                5000 a 3 ada,bo
                8000 a 4 bo
            "#]],
        );
    }

    #[test]
    fn steady_typing_is_told_at_the_longest_wait() {
        let script: Vec<String> = (0..12).map(|second| format!("{} a {second} ada", second * 1000)).collect();
        check(
            &script.join("\n"),
            expect![[r#"
                10000 a 9 ada
                13000 a 11 ada
            "#]],
        );
    }

    #[test]
    fn documents_are_told_of_each_by_itself() {
        check(
            "0 a 1 ada
             1000 b 7 bo",
            expect![[r#"
                2000 a 1 ada
                3000 b 7 bo
            "#]],
        );
    }

    #[test]
    fn what_cannot_be_gathered_is_looked_up_when_there_is_place() {
        check(
            "0 a 1 ada
             0 b 1 ada
             10 c 1 ada
             1000 a 2 ada",
            expect![[r#"
                2000 b 1 ada
                2000 look at the store
                3000 a 2 ada
            "#]],
        );
    }

    #[test]
    fn what_could_not_be_passed_on_comes_again_with_what_came_meanwhile() {
        let (now, document) = (Instant::now(), DocumentName::parse("a").expect("valid"));
        let mut gatherer = Gatherer::new(Quiet::default());
        gatherer.changed(now, &document, 1, &[person("ada")]);
        let later = now + Duration::from_secs(2);
        let due = gatherer.take_due(later);
        gatherer.changed(later, &document, 2, &[person("bo")]);
        gatherer.put_back(later, due);
        let by = vec![person("bo"), person("ada")];
        assert_eq!(gatherer.take_due(later + Duration::from_secs(2)), [Changed { document, seq: 2, by }]);
    }

    #[test]
    fn an_event_names_so_many_authors_and_no_more() {
        let (now, document) = (Instant::now(), DocumentName::parse("a").expect("valid"));
        let mut gatherer = Gatherer::new(Quiet::default());
        for n in 0..MAX_AUTHORS + 5 {
            gatherer.changed(now, &document, n as u64, &[person(&format!("p{n}"))]);
        }
        assert_eq!(gatherer.take_due(now + Duration::from_secs(60))[0].by.len(), MAX_AUTHORS);
    }
}
