//! What the sandboxes of each organisation use together, and whether one more fits below its ceilings.
//!
//! A sandbox has a [`Seat`] from before it is made until it is gone, so nothing is counted that is not there, and two that are made at the same
//! moment do not pass the same ceiling. What the files of a room take is counted whether it has a sandbox or not. Only organisations that
//! the configuration has are counted, so there are as many as the operator named. [`Ledger`] is pure.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use buildspaces_kernel::ids::{OrganisationId, RoomId};
use metrics::{counter, gauge};

use crate::limits::{Ceilings, Limits};

/// A ceiling that one more sandbox would pass; a sentence that names its key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Full(pub(super) String);

/// The pure part.
#[derive(Debug, Default)]
struct Ledger {
    ceilings: BTreeMap<OrganisationId, Ceilings>,
    seats: HashMap<u64, Taken>,
    /// What the files of rooms take, of organisations that have a ceiling for it.
    disks: HashMap<RoomId, (OrganisationId, u64)>,
    next: u64,
}

#[derive(Debug)]
struct Taken {
    organisation: OrganisationId,
    memory: u64,
    nano_cpus: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Use {
    sandboxes: usize,
    memory: u64,
    nano_cpus: u64,
}

impl Use {
    fn without(self, one: &Limits) -> Self {
        Self {
            sandboxes: self.sandboxes.saturating_sub(1),
            memory: self.memory.saturating_sub(one.memory),
            nano_cpus: self.nano_cpus.saturating_sub(one.nano_cpus),
        }
    }
}

impl Ledger {
    fn used(&self, organisation: &OrganisationId) -> Use {
        let theirs = self.seats.values().filter(|taken| taken.organisation == *organisation);
        theirs.fold(Use::default(), |sum, taken| Use {
            sandboxes: sum.sandboxes + 1,
            memory: sum.memory.saturating_add(taken.memory),
            nano_cpus: sum.nano_cpus.saturating_add(taken.nano_cpus),
        })
    }

    /// Whether one more of these limits fits beside what is `used`.
    fn check(&self, organisation: &OrganisationId, used: Use, limits: &Limits) -> Result<(), Full> {
        let Some(ceilings) = self.ceilings.get(organisation) else { return Ok(()) };
        let passes =
            |ceiling: Option<u64>, used: u64, more: u64| ceiling.filter(|most| used.saturating_add(more) > *most);
        if let Some(most) = ceilings.sandboxes.filter(|most| used.sandboxes >= *most) {
            return Err(Full(format!(
                "the rooms of {organisation} have {most} sandboxes at once, the most there may be (organisations.{organisation}.sandboxes)"
            )));
        }
        if let Some(most) = passes(ceilings.memory, used.memory, limits.memory) {
            return Err(Full(format!(
                "the sandboxes of {organisation} have {} MiB of memory together and this one would have {} more, which is above {} MiB \
                 (organisations.{organisation}.memory_mib)",
                used.memory >> 20,
                limits.memory >> 20,
                most >> 20
            )));
        }
        if let Some(most) = passes(ceilings.nano_cpus, used.nano_cpus, limits.nano_cpus) {
            let cpus = |nanos: u64| nanos as f64 / 1e9;
            return Err(Full(format!(
                "the sandboxes of {organisation} have {} processors together and this one would have {} more, which is above {} \
                 (organisations.{organisation}.cpus)",
                cpus(used.nano_cpus),
                cpus(limits.nano_cpus),
                cpus(most)
            )));
        }
        Ok(())
    }

    /// Which of the sandboxes that could go have to, so that one more of these limits fits: those that are first in the list, and no more of them than
    /// need be. `None` if it does not fit without all of them either.
    fn must_go(&self, organisation: &OrganisationId, limits: &Limits, could_go: &[Limits]) -> Option<Vec<usize>> {
        let used = self.used(organisation);
        let fits_without = |gone: &[usize]| {
            let left = gone.iter().fold(used, |used, at| used.without(&could_go[*at]));
            self.check(organisation, left, limits).is_ok()
        };
        let mut gone: Vec<usize> = (0..could_go.len()).collect();
        let enough = (0..=gone.len()).find(|count| fits_without(&gone[..*count]))?;
        gone.truncate(enough);
        // One of the first may have freed what nobody lacked.
        for at in 0..enough {
            let fewer: Vec<usize> = gone.iter().copied().filter(|other| *other != at).collect();
            if fits_without(&fewer) {
                gone = fewer;
            }
        }
        Some(gone)
    }

    fn sit(&mut self, organisation: &OrganisationId, limits: &Limits) -> u64 {
        self.next += 1;
        let taken = Taken { organisation: organisation.clone(), memory: limits.memory, nano_cpus: limits.nano_cpus };
        self.seats.insert(self.next, taken);
        self.next
    }

    fn disk(&self, organisation: &OrganisationId) -> u64 {
        let theirs = self.disks.values().filter(|(whose, _)| whose == organisation);
        theirs.fold(0, |sum, (_, bytes)| sum.saturating_add(*bytes))
    }
}

/// The organisations of this server. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Accounts {
    ledger: Arc<Mutex<Ledger>>,
}

impl Accounts {
    pub(super) fn new(ceilings: BTreeMap<OrganisationId, Ceilings>) -> Self {
        let accounts = Self { ledger: Arc::new(Mutex::new(Ledger { ceilings, ..Ledger::default() })) };
        let ledger = accounts.lock();
        // From the start, so that whoever watches sees a zero and not nothing.
        ledger.ceilings.keys().for_each(|organisation| show(&ledger, organisation));
        drop(ledger);
        accounts
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("short sections, no panics")
    }

    /// A seat for one more sandbox; `None` where nobody counts.
    pub(super) fn seat(&self, organisation: Option<&OrganisationId>, limits: &Limits) -> Result<Option<Seat>, Full> {
        let Some(organisation) = organisation else { return Ok(None) };
        let mut ledger = self.lock();
        ledger.check(organisation, ledger.used(organisation), limits)?;
        Ok(self.sit(&mut ledger, organisation, limits))
    }

    /// The same for a sandbox that is there already.
    pub(super) fn seat_anyway(&self, organisation: Option<&OrganisationId>, limits: &Limits) -> Option<Seat> {
        self.sit(&mut self.lock(), organisation?, limits)
    }

    fn sit(&self, ledger: &mut Ledger, organisation: &OrganisationId, limits: &Limits) -> Option<Seat> {
        if !ledger.ceilings.contains_key(organisation) {
            return None;
        }
        let number = ledger.sit(organisation, limits);
        show(ledger, organisation);
        Some(Seat { accounts: self.clone(), organisation: organisation.clone(), number })
    }

    /// Which of the sandboxes of the organisation that `could_go`, those that had better go first, make way for one more of these limits. `None` if
    /// that does not help.
    pub(super) fn must_go(
        &self,
        organisation: &OrganisationId,
        limits: &Limits,
        could_go: &[Limits],
    ) -> Option<Vec<usize>> {
        self.lock().must_go(organisation, limits, could_go)
    }

    /// A sandbox was refused for a ceiling.
    pub(super) fn refused(organisation: &OrganisationId) {
        counter!("buildspaces_organisation_refused_total", "organisation" => organisation.to_string()).increment(1);
    }

    /// What all files of the organisation's rooms may take on the host's disk.
    pub(super) fn disk_ceiling(&self, organisation: &OrganisationId) -> Option<u64> {
        self.lock().ceilings.get(organisation)?.disk
    }

    /// Organisations whose rooms' files are counted.
    pub(super) fn with_disk(&self) -> Vec<OrganisationId> {
        let ledger = self.lock();
        let counted = ledger.ceilings.iter().filter(|(_, ceilings)| ceilings.disk.is_some());
        counted.map(|(organisation, _)| organisation.clone()).collect()
    }

    /// The files of a room take so much, as was just found. Returns what those of all rooms of the organisation take.
    pub(super) fn takes_disk(&self, organisation: &OrganisationId, room: &RoomId, bytes: u64) -> u64 {
        let mut ledger = self.lock();
        ledger.disks.insert(room.clone(), (organisation.clone(), bytes));
        show(&ledger, organisation);
        ledger.disk(organisation)
    }

    /// Rooms of the organisation whose files count.
    pub(super) fn rooms_with_disk(&self, organisation: &OrganisationId) -> Vec<RoomId> {
        let ledger = self.lock();
        let theirs = ledger.disks.iter().filter(|(_, (whose, _))| whose == organisation);
        theirs.map(|(room, _)| room.clone()).collect()
    }

    /// These rooms have no files any more, or are not the organisation's.
    pub(super) fn forget_disks<'a>(&self, organisation: &OrganisationId, rooms: impl IntoIterator<Item = &'a RoomId>) {
        let mut ledger = self.lock();
        for room in rooms {
            if ledger.disks.get(room).is_some_and(|(whose, _)| whose == organisation) {
                ledger.disks.remove(room);
            }
        }
        show(&ledger, organisation);
    }

    /// The organisation's ceiling for files, in words, if its rooms' files take as much or more.
    pub(super) fn full_disk(&self, organisation: &OrganisationId, more: u64) -> Option<String> {
        let ledger = self.lock();
        let ceiling = ledger.ceilings.get(organisation)?.disk?;
        let taken = ledger.disk(organisation);
        (taken.saturating_add(more) > ceiling).then(|| {
            format!(
                "the workspaces of all rooms of {organisation} take {} MiB of disk, and with these files they would take more than {} MiB, the most they may \
                 have together (organisations.{organisation}.disk_mib); delete what is not needed",
                taken >> 20,
                ceiling >> 20
            )
        })
    }
}

fn show(ledger: &Ledger, organisation: &OrganisationId) {
    let name = || organisation.to_string();
    let used = ledger.used(organisation);
    gauge!("buildspaces_organisation_sandboxes", "organisation" => name()).set(used.sandboxes as f64);
    gauge!("buildspaces_organisation_memory_bytes", "organisation" => name()).set(used.memory as f64);
    if ledger.ceilings.get(organisation).is_some_and(|ceilings| ceilings.disk.is_some()) {
        gauge!("buildspaces_organisation_disk_bytes", "organisation" => name()).set(ledger.disk(organisation) as f64);
    }
}

/// What one sandbox takes of its organisation's. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct Seat {
    accounts: Accounts,
    organisation: OrganisationId,
    number: u64,
}

impl Seat {
    pub(super) fn organisation(&self) -> &OrganisationId {
        &self.organisation
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut ledger = self.accounts.lock();
        ledger.seats.remove(&self.number);
        show(&ledger, &self.organisation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acme() -> OrganisationId {
        OrganisationId::parse("acme").expect("valid")
    }

    fn accounts(ceilings: Ceilings) -> Accounts {
        Accounts::new(
            [(acme(), ceilings), (OrganisationId::parse("globex").expect("valid"), Ceilings::default())].into(),
        )
    }

    fn of(memory: u64, cpus: u64) -> Limits {
        Limits { memory: memory << 20, nano_cpus: cpus * 1_000_000_000, ..Limits::default() }
    }

    #[test]
    fn a_seat_is_refused_at_each_ceiling_and_free_once_one_is_given_back() {
        for (ceilings, key) in [
            (Ceilings { sandboxes: Some(2), ..Ceilings::default() }, "organisations.acme.sandboxes"),
            (Ceilings { memory: Some(250 << 20), ..Ceilings::default() }, "organisations.acme.memory_mib"),
            (Ceilings { nano_cpus: Some(2_500_000_000), ..Ceilings::default() }, "organisations.acme.cpus"),
        ] {
            let accounts = accounts(ceilings);
            let seat = |limits: &Limits| accounts.seat(Some(&acme()), limits);
            let (first, second) = (seat(&of(100, 1)), seat(&of(100, 1)));
            assert!(matches!((&first, &second), (Ok(Some(_)), Ok(Some(_)))), "{key}");
            let Err(Full(sentence)) = seat(&of(100, 1)) else { panic!("{key} is a ceiling") };
            assert!(sentence.contains(key), "{sentence}");
            // Whoever else there is does not notice.
            let globex = OrganisationId::parse("globex").expect("valid");
            assert!(matches!(accounts.seat(Some(&globex), &of(900, 9)), Ok(Some(_))));
            assert!(matches!(accounts.seat(None, &of(900, 9)), Ok(None)));
            drop(first);
            assert!(matches!(seat(&of(100, 1)), Ok(Some(_))), "one was given back");
        }
    }

    #[test]
    fn what_is_there_counts_even_above_the_ceiling_and_nothing_is_left_in_the_end() {
        let accounts = accounts(Ceilings { sandboxes: Some(1), ..Ceilings::default() });
        let found: Vec<_> = (0..3).map(|_| accounts.seat_anyway(Some(&acme()), &of(100, 1))).collect();
        assert!(accounts.seat(Some(&acme()), &of(100, 1)).is_err());
        assert_eq!(accounts.lock().used(&acme()).memory, 300 << 20);
        drop(found);
        assert_eq!(accounts.lock().used(&acme()), Use::default());
        assert!(accounts.lock().seats.is_empty());
        let stranger = OrganisationId::parse("initech").expect("valid");
        assert!(accounts.seat_anyway(Some(&stranger), &of(100, 1)).is_none(), "nobody counts them");
    }

    #[test]
    fn files_count_once_for_each_room() {
        let accounts = accounts(Ceilings { disk: Some(100), ..Ceilings::default() });
        let (a, b) = (RoomId::random(), RoomId::random());
        assert_eq!(accounts.takes_disk(&acme(), &a, 60), 60);
        assert_eq!(accounts.takes_disk(&acme(), &b, 60), 120);
        assert_eq!(accounts.takes_disk(&acme(), &a, 10), 70);
        assert_eq!((accounts.with_disk(), accounts.disk_ceiling(&acme())), (vec![acme()], Some(100)));
        assert_eq!(accounts.full_disk(&acme(), 30), None);
        assert!(accounts.full_disk(&acme(), 31).is_some_and(|said| said.contains("organisations.acme.disk_mib")));
        let globex = OrganisationId::parse("globex").expect("valid");
        assert_eq!((accounts.full_disk(&globex, u64::MAX), accounts.rooms_with_disk(&globex)), (None, Vec::new()));
        accounts.forget_disks(&globex, [&a, &b]);
        assert_eq!(accounts.rooms_with_disk(&acme()).len(), 2, "they are not theirs");
        accounts.forget_disks(&acme(), [&b, &RoomId::random()]);
        assert_eq!((accounts.rooms_with_disk(&acme()), accounts.takes_disk(&acme(), &a, 20)), (vec![a], 20));
    }

    #[test]
    fn no_more_of_them_make_way_than_must_and_none_for_what_does_not_fit_anyway() {
        let seated = |ceilings, there: &[u64]| {
            let accounts = accounts(ceilings);
            let seats: Vec<_> =
                there.iter().map(|memory| accounts.seat_anyway(Some(&acme()), &of(*memory, 1))).collect();
            (accounts, seats)
        };
        let memory = |mib: u64| Ceilings { memory: Some(mib << 20), ..Ceilings::default() };
        for (ceilings, there, wanted, could_go, expected) in [
            // Far above, as after a start of the server with lower ceilings.
            (memory(300), vec![400, 100, 100, 100], 100, vec![100, 100, 100], None),
            (memory(600), vec![400, 100, 100, 100], 100, vec![100, 100, 100], Some(vec![0, 1])),
            (memory(800), vec![400, 100, 100, 100], 100, vec![100, 100, 100], Some(vec![])),
            // The one that was idle longest is too small to be of use, so it stays.
            (memory(1500), vec![1000, 200], 1000, vec![200, 1000], Some(vec![1])),
            (memory(1500), vec![1000, 200], 1000, vec![200], None),
            (memory(300), vec![100], 400, vec![100], None),
            (Ceilings { sandboxes: Some(2), ..memory(1500) }, vec![100, 200], 100, vec![200, 100], Some(vec![0])),
            (
                Ceilings { nano_cpus: Some(2_000_000_000), ..Ceilings::default() },
                vec![1, 1],
                1,
                vec![1, 1],
                Some(vec![0]),
            ),
        ] {
            let (accounts, _seats) = seated(ceilings, &there);
            let could_go: Vec<Limits> = could_go.into_iter().map(|memory| of(memory, 1)).collect();
            assert_eq!(accounts.must_go(&acme(), &of(wanted, 1), &could_go), expected, "{wanted} beside {there:?}");
        }
    }
}
