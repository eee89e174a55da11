//! Documents with a history: a recorded editing trace, one made up in its shape, or a large text.
//!
//! Updates are written as one Yjs client would have written them, without a CRDT: one author works in one place at a time, so the
//! neighbours of each insertion are known from the list of visible characters. yrs puts the result together in the tests.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, ensure};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::Deserialize;

use crate::updates::{ROOT, write_var_bytes, write_var_uint};

/// One edit: where, how many characters go, and what comes.
type Edit = (usize, usize, String);

#[derive(Deserialize)]
struct Recorded {
    #[serde(rename = "startContent")]
    start: String,
    txns: Vec<Transaction>,
}

#[derive(Deserialize)]
struct Transaction {
    patches: Vec<Edit>,
}

/// Reads a trace of the editing-traces collection, with gzip.
pub fn read(path: &Path) -> anyhow::Result<Vec<Edit>> {
    let file = std::fs::File::open(path).with_context(|| format!("the trace {}", path.display()))?;
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text)?;
    let recorded: Recorded =
        serde_json::from_str(&text).context("the trace is not of the editing-traces collection")?;
    ensure!(text.is_ascii(), "only traces in ASCII are understood");
    let start = (!recorded.start.is_empty()).then_some((0, 0, recorded.start));
    Ok(start.into_iter().chain(recorded.txns.into_iter().flat_map(|transaction| transaction.patches)).collect())
}

/// A trace of the shape of a paper being written: single keystrokes, 30 % of them deletions, mostly where the last one was.
pub fn generate(edits: usize, seed: u64) -> Vec<Edit> {
    let mut random = StdRng::seed_from_u64(seed);
    let (mut len, mut cursor) = (0usize, 0usize);
    let mut trace = Vec::with_capacity(edits);
    while trace.len() < edits {
        if random.random_ratio(1, 40) {
            cursor = random.random_range(0..=len);
        }
        let run = random.random_range(1..20).min(edits - trace.len());
        if random.random_ratio(3, 10) {
            for _ in 0..run.min(cursor) {
                cursor -= 1;
                len -= 1;
                trace.push((cursor, 1, String::new()));
            }
        } else {
            for _ in 0..run {
                trace.push((cursor, 0, char::from(random.random_range(b'a'..=b'z')).to_string()));
                cursor += 1;
                len += 1;
            }
        }
    }
    trace
}

/// Edits that write a text of about so many bytes in short paragraphs, each of which was mended once: as many structs as such a text has.
pub fn paragraphs(bytes: usize) -> Vec<Edit> {
    let mut edits = Vec::new();
    let mut len = 0;
    while len < bytes {
        edits.push((len, 0, "lorem ipsum dolor sit amet, consectetur adipiscing elit sed do\n\n".to_owned()));
        len += 64;
        edits.push((len - 1, 1, String::new()));
        len -= 1;
    }
    edits
}

/// What a trace becomes.
pub struct History {
    /// In the order they were made.
    pub updates: Vec<Vec<u8>>,
    /// Clocks of the one client that made them.
    pub clocks: u32,
    /// Characters in the end.
    pub len: usize,
}

/// Writes the updates of a trace, so many edits in each.
pub fn history(client: u64, edits: &[Edit], per_update: usize) -> anyhow::Result<History> {
    let mut author = Author { client, clock: 0, visible: Vec::new() };
    let updates = edits.chunks(per_update).map(|edits| author.write(edits)).collect::<anyhow::Result<_>>()?;
    Ok(History { updates, clocks: author.clock, len: author.visible.len() })
}

struct Author {
    client: u64,
    clock: u32,
    /// The clock of each visible character.
    visible: Vec<u32>,
}

/// Characters typed one behind the other.
struct Run {
    origin: Option<u32>,
    right: Option<u32>,
    text: String,
    /// Where the next one would have to be typed.
    next: usize,
}

impl Author {
    fn write(&mut self, edits: &[Edit]) -> anyhow::Result<Vec<u8>> {
        let start = self.clock;
        let (mut runs, mut deleted): (Vec<Run>, Vec<u32>) = (Vec::new(), Vec::new());
        for (at, removed, text) in edits {
            ensure!(at + removed <= self.visible.len(), "the trace edits behind the text's end");
            if *removed > 0 {
                deleted.extend(self.visible.drain(*at..at + removed));
                // What is typed next stands beside what is gone.
                if let Some(run) = runs.last_mut() {
                    run.next = usize::MAX;
                }
            }
            if text.is_empty() {
                continue;
            }
            match runs.last_mut().filter(|run| run.next == *at) {
                Some(run) => {
                    run.text.push_str(text);
                    run.next += text.len();
                }
                None => runs.push(Run {
                    origin: at.checked_sub(1).map(|left| self.visible[left]),
                    right: self.visible.get(*at).copied(),
                    text: text.clone(),
                    next: at + text.len(),
                }),
            }
            let end = self.clock + u32::try_from(text.len())?;
            self.visible.splice(*at..*at, self.clock..end);
            self.clock = end;
        }
        Ok(self.encode(start, &runs, deleted))
    }

    fn encode(&self, start: u32, runs: &[Run], mut deleted: Vec<u32>) -> Vec<u8> {
        const STRING: u8 = 4;
        let mut out = vec![u8::from(!runs.is_empty())];
        if !runs.is_empty() {
            for value in [runs.len() as u64, self.client, u64::from(start)] {
                write_var_uint(&mut out, value);
            }
        }
        for run in runs {
            let flag = |side: Option<u32>, flag: u8| side.map_or(0, |_| flag);
            out.push(STRING | flag(run.origin, 0x80) | flag(run.right, 0x40));
            for clock in [run.origin, run.right].into_iter().flatten() {
                write_var_uint(&mut out, self.client);
                write_var_uint(&mut out, u64::from(clock));
            }
            if run.origin.is_none() && run.right.is_none() {
                out.push(1);
                write_var_bytes(&mut out, ROOT.as_bytes());
            }
            write_var_bytes(&mut out, run.text.as_bytes());
        }
        deleted.sort_unstable();
        let ranges: Vec<_> = deleted.chunk_by(|left, right| left + 1 == *right).collect();
        out.push(u8::from(!ranges.is_empty()));
        if !ranges.is_empty() {
            write_var_uint(&mut out, self.client);
            write_var_uint(&mut out, ranges.len() as u64);
            for range in ranges {
                write_var_uint(&mut out, u64::from(range[0]));
                write_var_uint(&mut out, range.len() as u64);
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use yrs::updates::decoder::Decode;
    use yrs::{Doc, GetString, ReadTxn, Transact, Update};

    use super::*;

    fn text_of(edits: &[Edit]) -> String {
        let mut text = String::new();
        for (at, removed, inserted) in edits {
            text.replace_range(at..&(at + removed), inserted);
        }
        text
    }

    #[test]
    fn yrs_reads_what_a_trace_becomes() {
        for (edits, per_update) in [(generate(3000, 1), 1), (generate(3000, 2), 100), (paragraphs(5000), 7)] {
            let history = history(77, &edits, per_update).expect("a trace");
            let doc = Doc::new();
            for update in &history.updates {
                doc.transact_mut().apply_update(Update::decode_v1(update).expect("an update")).expect("it applies");
            }
            let text = doc.get_or_insert_text(ROOT);
            let txn = doc.transact();
            assert_eq!(text.get_string(&txn), text_of(&edits));
            assert_eq!(txn.state_vector().get(&yrs::block::ClientID::new(77)), history.clocks);
            assert_eq!(history.len, text_of(&edits).len());
        }
    }

    #[test]
    fn a_made_up_trace_has_the_shape_of_a_real_one() {
        let edits = generate(20_000, 3);
        let deletions = edits.iter().filter(|(_, removed, _)| *removed > 0).count();
        assert_eq!(edits.len(), 20_000);
        assert!((4_000..8_000).contains(&deletions), "{deletions}");
    }
}
