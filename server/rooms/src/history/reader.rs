//! Replays a log: page by page, on a thread for blocking work, from the nearest state that is kept.

use buildspaces_crdt::history::{Attribution, Change, Run, Span};
use buildspaces_crdt::replica::Applied;
use buildspaces_crdt::{DocumentName, Replica};
use buildspaces_kernel::UnixMillis;
use buildspaces_kernel::ids::PrincipalId;
use bytes::Bytes;

use super::{Blame, Hunk, Turn, piece};
use crate::Error;
use crate::ports::{About, LogRecord, Store};

/// Who did something, when, and with which update.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Author {
    pub by: PrincipalId,
    pub at: UnixMillis,
    pub seq: u64,
}

/// What was read so far.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// The document after update `seq`.
    pub(super) replica: Replica,
    /// Who did what up to update `attributed`, by place in `authors`.
    attribution: Attribution<u32>,
    authors: Vec<Author>,
}

/// See the module.
pub(super) struct Reader<'s> {
    store: &'s dyn Store,
    turn: Turn,
    about: About,
    read: Read,
    /// The state stands after this update.
    seq: u64,
    /// If authors are asked for: attribution stands after this update.
    attributed: Option<u64>,
    /// The end of the last page that reached past what was asked for.
    ahead: Vec<LogRecord>,
}

/// The document had this version.
pub(super) fn check_version(about: &About, seq: u64) -> Result<(), Error> {
    if (about.begins..=about.seq).contains(&seq) {
        return Ok(());
    }
    Err(Error::NoSuchVersion { seq, oldest: about.begins, newest: about.seq })
}

impl<'s> Reader<'s> {
    pub(super) fn begin(store: &'s dyn Store, about: About, turn: Turn) -> Self {
        let seq = about.begins;
        Self { store, turn, about, read: Read::default(), seq, attributed: None, ahead: Vec::new() }
    }

    fn document(&self) -> &DocumentName {
        &self.about.document
    }

    /// Begins with the newest state that is kept and not newer than `seq`, instead of with nothing.
    pub(super) async fn start_from_kept(&mut self, seq: u64) -> Result<(), Error> {
        check_version(&self.about, seq)?;
        let Some((at, state)) = self.store.state_before(self.document(), seq).await? else { return Ok(()) };
        if at > self.seq {
            let read = std::mem::take(&mut self.read);
            self.read = self.turn.work(move || read.start(&state)).await??;
            self.seq = at;
        }
        Ok(())
    }

    /// From now on who did what is learnt too, which takes the whole log up to what is asked for.
    pub(super) fn attribute(&mut self) {
        self.attributed = Some(self.about.begins);
    }

    /// Reads on up to `seq` and then does something with what was read, on a thread for blocking work.
    pub(super) async fn read_to<T: Send + 'static>(
        mut self,
        seq: u64,
        then: impl FnOnce(&mut Read) -> T + Send + 'static,
    ) -> Result<(Self, T), Error> {
        check_version(&self.about, seq)?;
        loop {
            let after = self.attributed.map_or(self.seq, |attributed| attributed.min(self.seq));
            if after >= seq {
                break;
            }
            let mut page = std::mem::take(&mut self.ahead);
            if page.is_empty() {
                page = self.store.records(self.document(), after).await?;
            }
            let reach = page.iter().take_while(|record| record.seq <= seq).count();
            self.ahead = page.split_off(reach);
            let Some(last) = page.last().map(|record| record.seq) else {
                return Err(match self.ahead.first() {
                    Some(merged) => Error::VersionMerged { seq, first: merged.first, last: merged.seq },
                    None => {
                        Error::Storage(format!("update {} of {} is not in the log", after + 1, self.document()).into())
                    }
                });
            };
            let (mut read, from) = (std::mem::take(&mut self.read), self.seq);
            let attributes = self.attributed.is_some();
            let work = self.turn.work(move || {
                for record in page {
                    if attributes {
                        read.learn(&record)?;
                    }
                    if record.seq > from {
                        read.apply(&record.update)?;
                    }
                }
                Ok::<Read, Error>(read)
            });
            self.read = work.await??;
            self.seq = self.seq.max(last);
            if attributes {
                self.attributed = Some(last);
            }
        }
        let mut read = std::mem::take(&mut self.read);
        let work = self.turn.work(move || {
            let result = then(&mut read);
            (read, result)
        });
        let (read, result) = work.await?;
        self.read = read;
        Ok((self, result))
    }
}

/// A panic in there ends this question only.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::Storage(error.to_string().into()))
}

impl Read {
    fn start(mut self, state: &Bytes) -> Result<Self, Error> {
        self.apply(state)?;
        Ok(self)
    }

    fn apply(&mut self, update: &[u8]) -> Result<(), Error> {
        match self.replica.apply(update) {
            Ok(Applied::Changed | Applied::Nothing) => Ok(()),
            Ok(Applied::Missing) => Err(Error::Storage("an update of the log builds on one that is not there".into())),
            Err(error) => Err(Error::Storage(error.to_string().into())),
        }
    }

    fn learn(&mut self, record: &LogRecord) -> Result<(), Error> {
        if record.shares.is_empty() {
            let author = self.author(&record.by, record.at, record.seq);
            let learnt = self.attribution.learn(&record.update, &author);
            learnt.map_err(|error| Error::Storage(error.to_string().into()))?;
        }
        for share in &record.shares {
            let author = self.author(&share.by, share.at, share.seq);
            for range in &share.inserted {
                self.attribution.learn_inserted(Span::from(*range), &author, &mut Vec::new());
            }
            for range in &share.deleted {
                self.attribution.learn_deleted(Span::from(*range), &author, &mut Vec::new());
            }
        }
        Ok(())
    }

    fn author(&mut self, by: &PrincipalId, at: UnixMillis, seq: u64) -> u32 {
        self.authors.push(Author { by: by.clone(), at, seq });
        u32::try_from(self.authors.len() - 1).expect("a log has fewer records than that")
    }

    fn named(&self, (run, author): (Run, Option<u32>)) -> (Run, Option<Author>) {
        (run, author.map(|author| self.authors[author as usize].clone()))
    }

    pub(super) fn hunk(&self, change: Change) -> Hunk {
        let Change { from, to, removed, inserted } = change;
        let removed = self.attribution.deleted_by(removed).into_iter().map(|cut| piece(self.named(cut))).collect();
        let inserted = self.attribution.inserted_by(inserted).into_iter().map(|cut| piece(self.named(cut))).collect();
        Hunk { from, to, removed, inserted }
    }

    pub(super) fn clients(&self) -> Vec<(u64, Author)> {
        let owned = |(client, author): (u64, &u32)| (client, self.authors[*author as usize].clone());
        let mut clients: Vec<(u64, Author)> = self.attribution.clients().map(owned).collect();
        clients.sort_by_key(|(client, _)| *client);
        clients
    }

    pub(super) fn blame(&self, runs: Vec<Run>) -> Vec<Blame> {
        let owners: std::collections::HashMap<u64, &PrincipalId> =
            self.attribution.clients().map(|(client, author)| (client, &self.authors[*author as usize].by)).collect();
        let mut at = 0;
        let mut blame = Vec::new();
        for cut in self.attribution.inserted_by(runs) {
            let (run, by) = self.named(cut);
            let owner = owners.get(&run.client).copied();
            let client_of = owner.filter(|owner| by.as_ref().is_some_and(|author| author.by != **owner)).cloned();
            let begin = at;
            at += run.len();
            blame.push(Blame { at: begin, text: run.text, by, client_of });
        }
        blame
    }
}
