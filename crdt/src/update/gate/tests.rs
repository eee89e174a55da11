//! How many steps the gate thinks yrs could need, beside how many the model counts.

use super::*;
use crate::lib0::write_var_uint;
use crate::update::parse;
use crate::update::work::Model;

const ROOMY: u64 = 1 << 40;

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % u64::from(limit)) as u32
    }

    /// Any element that there is, if there is one of the client that is thought of.
    fn element(&mut self, clocks: &[u32; 3]) -> Option<Id> {
        let client = self.below(3);
        let known = clocks[client as usize];
        (known > 0).then(|| Id { client: u64::from(client), clock: self.below(known) })
    }
}

/// Texts of one client in the root type "t", one struct each, and deletions.
fn update(client: u64, clock: u32, texts: &[(usize, [Option<Id>; 2])], deletes: &[(u64, u32, u32)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut number = |number: u64| write_var_uint(&mut bytes, number);
    number(u64::from(!texts.is_empty()));
    if !texts.is_empty() {
        number(texts.len() as u64);
        number(client);
        number(u64::from(clock));
    }
    for (len, between) in texts {
        bytes.push(4 | if between[0].is_some() { 0x80 } else { 0 } | if between[1].is_some() { 0x40 } else { 0 });
        for id in between.iter().flatten() {
            write_var_uint(&mut bytes, id.client);
            write_var_uint(&mut bytes, u64::from(id.clock));
        }
        if *between == [None; 2] {
            bytes.extend([1, 1, b't']);
        }
        write_var_uint(&mut bytes, *len as u64);
        bytes.extend(std::iter::repeat_n(b'x', *len));
    }
    write_var_uint(&mut bytes, deletes.len() as u64);
    for (client, clock, len) in deletes {
        for number in [*client, 1, u64::from(*clock), u64::from(*len)] {
            write_var_uint(&mut bytes, number);
        }
    }
    bytes
}

/// What the gate says, with a look at each cut; it lets everything in.
fn bound(gate: &mut Gate, update: &Parsed<'_>) -> u64 {
    let clocks: HashMap<u64, u32> = gate.clients.iter().map(|(client, known)| (*client, known.clock)).collect();
    let most = std::cell::Cell::new(0);
    let may_work = |steps, _: &[Deletion]| {
        most.set(steps);
        true
    };
    assert_eq!(gate.admit_if(update, Source::Own, may_work), Ok(Verdict::Ready));
    let before = |section: &Section| (section.client, clocks.get(&section.client).copied().unwrap_or(0));
    let before = || update.sections.iter().map(before);
    // Of a small document they are not looked at one by one; here they are.
    most.get() - gate.cuts(update, before(), u64::MAX) + gate.cuts(update, before(), 0)
}

#[test]
fn no_update_takes_more_steps_than_the_bound() {
    let mut random = Random(91);
    for _ in 0..300 {
        let (mut gate, mut model, mut clocks) = (Gate::default(), Model::default(), [0_u32; 3]);
        for _ in 0..random.below(30) {
            let client = random.below(3);
            let begin = clocks[client as usize];
            let mut texts = Vec::new();
            for _ in 0..=random.below(6) {
                let own = clocks[client as usize].checked_sub(1).map(|clock| Id { client: u64::from(client), clock });
                // Behind one's own last element, as people type, or anywhere.
                let between = match random.below(3) {
                    0 => [own, None],
                    1 => [random.element(&clocks), None],
                    _ => {
                        let left = random.element(&clocks);
                        [left, random.element(&clocks).filter(|right| Some(*right) != left)]
                    }
                };
                let most = if random.below(8) == 0 { 3000 } else { 5 };
                let len = 1 + random.below(most);
                texts.push((len as usize, between));
                clocks[client as usize] += len;
            }
            let of = random.below(3);
            let known = clocks[of as usize];
            let deletes = (known > 0 && random.below(2) == 0).then(|| {
                let clock = random.below(known);
                (u64::from(of), clock, 1 + random.below(known - clock))
            });
            let deletes = Vec::from_iter(deletes);
            let bytes = update(u64::from(client), begin, &texts, &deletes);
            let parsed = parse(&bytes).expect("well-formed");
            let bound = bound(&mut gate, &parsed);
            model.integrate(&parsed, ROOMY).expect("few steps");
            let taken = ROOMY - model.left();
            assert!(taken <= bound, "{taken} steps, and the bound is {bound}");
        }
    }
}

#[test]
fn a_large_document_goes_on_growing_by_large_updates() {
    // A paragraph and the deletion of its last letter, again and again: nothing of it is joined, and only the end is ever cut.
    const PARAGRAPHS: u32 = 2000;
    let mut gate = Gate::default();
    let mut clock = 0_u32;
    for _ in 0..40 {
        let begin = clock;
        let (mut texts, mut deletes) = (Vec::new(), Vec::new());
        for _ in 0..PARAGRAPHS {
            let origin = clock.checked_sub(2).map(|clock| Id { client: 1, clock });
            texts.push((64, [origin, None]));
            clock += 64;
            deletes.push(clock - 1);
        }
        let mut bytes = update(1, begin, &texts, &[]);
        bytes.pop();
        write_var_uint(&mut bytes, 1);
        write_var_uint(&mut bytes, 1);
        write_var_uint(&mut bytes, deletes.len() as u64);
        for clock in deletes {
            write_var_uint(&mut bytes, u64::from(clock));
            bytes.push(1);
        }
        let parsed = parse(&bytes).expect("well-formed");
        let steps = std::cell::Cell::new(0);
        let verdict = gate.admit_if(&parsed, Source::Foreign, |most, _| {
            steps.set(most);
            true
        });
        assert_eq!(verdict, Ok(Verdict::Ready));
        // Whoever compares them with all the rest thinks of every pair; cuts and gaps are next to nothing.
        let pairs = u64::from(PARAGRAPHS) * u64::from(clock / 64) * 5;
        assert!(steps.get() <= pairs + 2 * work::FEW_STEPS, "{} steps at {clock}", steps.get());
    }
    assert_eq!(gate.longest.text, 64);
}
