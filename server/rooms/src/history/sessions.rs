//! Groups a log's entries into sessions: what people see as versions when nobody named one.
//!
//! A session ends with a pause, when another author takes over, when an author of another kind does something (so that what
//! an agent or a program did can be looked at and undone by itself), at a named version, and after half an hour in any case.
//! Two people who type at the same moment share a session. Pure.

use std::collections::VecDeque;

use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::ids::PrincipalId;
use buildspaces_policy::PrincipalKind;

use crate::ports::Entry;

/// A pause that ends a session.
const PAUSE: UnixMillis = 5 * 60_000;

/// A pause after which another author begins a session of their own.
const TAKE_OVER: UnixMillis = 20_000;

/// The same for an author of another kind, such as an agent.
const OTHER_KIND: UnixMillis = 1_000;

/// Longest session.
const LONGEST: UnixMillis = 30 * 60_000;

/// Most authors that a session lists.
pub const MAX_AUTHORS: usize = 20;

/// A run of edits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Session {
    /// Number of its first update.
    pub first: u64,
    /// Number of its last update: the version it led to.
    pub seq: u64,
    pub from: UnixMillis,
    pub to: UnixMillis,
    /// Who took part, by when they came; at most [`MAX_AUTHORS`].
    pub authors: Vec<PrincipalId>,
    pub updates: u64,
}

/// The newest sessions of a log that is read from its beginning.
#[derive(Debug)]
pub struct Sessions {
    /// How many are kept, besides the one that may go on.
    most: usize,
    found: VecDeque<Session>,
    last_by: Option<PrincipalId>,
}

impl Sessions {
    pub fn new(most: usize) -> Self {
        Self { most, found: VecDeque::new(), last_by: None }
    }

    /// Takes the next entry. `kind` tells what an author is, `is_named` where somebody named a version.
    pub fn push(
        &mut self,
        Entry { seq, first, by, at, .. }: Entry,
        kind: impl Fn(&PrincipalId) -> PrincipalKind,
        is_named: impl Fn(u64) -> bool,
    ) {
        let goes_on = self.found.back().is_some_and(|session| {
            let pause = at.saturating_sub(session.to);
            let other_kind = self.last_by.as_ref().is_some_and(|last| kind(last) != kind(&by));
            let limit = if other_kind {
                OTHER_KIND
            } else if session.authors.contains(&by) {
                PAUSE
            } else {
                TAKE_OVER
            };
            pause < limit && at.saturating_sub(session.from) < LONGEST && !is_named(session.seq)
        });
        match self.found.back_mut().filter(|_| goes_on) {
            Some(session) => {
                session.seq = seq;
                // A clock that was set back must not make a session end before it began.
                session.to = session.to.max(at);
                session.updates += seq + 1 - first;
                if !session.authors.contains(&by) && session.authors.len() < MAX_AUTHORS {
                    session.authors.push(by.clone());
                }
            }
            None => {
                let (authors, updates) = (vec![by.clone()], seq + 1 - first);
                self.found.push_back(Session { first, seq, from: at, to: at, authors, updates });
                if self.found.len() > self.most + 1 {
                    self.found.pop_front();
                }
            }
        }
        self.last_by = Some(by);
    }

    /// The newest of those that ended below `before`, oldest first.
    pub fn end(mut self, before: u64) -> Vec<Session> {
        self.found.retain(|session| session.seq < before);
        self.found.drain(..self.found.len().saturating_sub(self.most));
        self.found.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(log: &[(i64, &str)], named: &[u64], expected: &[(u64, u64, &str)]) {
        let id = |name: &str| PrincipalId::parse(name).expect("valid");
        let entries = log.iter().zip(1..).map(|((seconds, by), seq)| Entry {
            seq,
            first: seq,
            by: id(by),
            at: seconds * 1000,
            bytes: 1,
        });
        let kind =
            |by: &PrincipalId| if by.as_str() == "fs" { PrincipalKind::FileSystem } else { PrincipalKind::Person };
        let mut sessions = Sessions::new(log.len());
        entries.for_each(|entry| sessions.push(entry, kind, |seq| named.contains(&seq)));
        let found = sessions.end(u64::MAX);
        let names = |session: &Session| session.authors.iter().map(PrincipalId::as_str).collect::<Vec<_>>().join(" ");
        let seen: Vec<_> = found.iter().map(|session| (session.first, session.seq, names(session))).collect();
        let expected: Vec<_> = expected.iter().map(|(first, seq, names)| (*first, *seq, (*names).to_owned())).collect();
        assert_eq!(seen, expected, "{log:?}");
    }

    #[test]
    fn sessions_end_where_somebody_would_look_for_a_version() {
        check(&[], &[], &[]);
        check(&[(0, "ada"), (60, "ada"), (359, "ada")], &[], &[(1, 3, "ada")]);
        check(&[(0, "ada"), (300, "ada")], &[], &[(1, 1, "ada"), (2, 2, "ada")]);
        check(&[(0, "ada"), (5, "bo"), (10, "ada")], &[], &[(1, 3, "ada bo")]);
        check(&[(0, "ada"), (30, "bo"), (31, "bo")], &[], &[(1, 1, "ada"), (2, 3, "bo")]);
        check(&[(0, "ada"), (2, "fs"), (4, "ada")], &[], &[(1, 1, "ada"), (2, 2, "fs"), (3, 3, "ada")]);
        check(&[(0, "ada"), (1, "ada"), (2, "ada")], &[2], &[(1, 2, "ada"), (3, 3, "ada")]);
        let long: Vec<_> = (0..20).map(|i| (i * 200, "ada")).collect();
        check(&long, &[], &[(1, 9, "ada"), (10, 18, "ada"), (19, 20, "ada")]);
        check(&[(100, "ada"), (50, "ada")], &[], &[(1, 2, "ada")]);
    }
}
