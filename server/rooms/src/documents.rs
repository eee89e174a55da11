//! What can be done to a whole document besides editing it: create it with content, read it as it is, change it only if
//! nobody else did, delete it and use its name again.
//!
//! A document is never given its first content twice: creating goes through the document's own actor, which takes the content
//! only while nothing was ever written. A deleted document's name stays taken until somebody asks for it by name; then it
//! begins an epoch of its own, and nothing of the old one shows up in it.

use buildspaces_crdt::names::Kind;
use buildspaces_crdt::replica::Applied;
use buildspaces_crdt::{DocumentName, Replica};
use buildspaces_kernel::clock::unix_millis;
use buildspaces_policy::Principal;
use bytes::Bytes;

use crate::history::blocking;
use crate::ports::{About, Deletion};
use crate::{DocumentHandle, Error, Rooms};

/// A document as it is now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Present {
    /// Number of the last update.
    pub seq: u64,
    pub state: Bytes,
    pub state_vector: Vec<u8>,
}

/// Where a document stands: enough to tell whether it changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Position {
    /// Number of the last update.
    pub seq: u64,
    pub state_vector: Vec<u8>,
}

/// How often something is tried that met the end of a document.
const ATTEMPTS: usize = 3;

/// How often a document that is being deleted is asked for again by whoever wants to use its name.
const BEGIN_ATTEMPTS: usize = 10;

impl Rooms {
    /// Tries again what met the end of a document, which somebody deletes or whose log failed just then: the next attempt finds out
    /// what became of it. `attempt` may have taken effect and not known, so doing it twice must be as doing it once.
    pub async fn again<T, F>(&self, attempt: impl Fn() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        for _ in 1..ATTEMPTS {
            match attempt().await {
                Err(Error::Closed) if !self.tasks().is_cancelled() => tokio::task::yield_now().await,
                result => return result,
            }
        }
        attempt().await
    }

    /// Gives a plain document its first content. False if it has content already, whatever that is. `again`: use the name
    /// of a deleted document. It is done to its end even if the caller goes away.
    pub async fn create_document(
        &self,
        by: &Principal,
        document: &DocumentName,
        update: Bytes,
        again: bool,
    ) -> Result<bool, Error> {
        check_plain(document)?;
        let (rooms, by, document) = (self.clone(), by.clone(), document.clone());
        self.to_the_end("creating a document", async move { rooms.begin(&by, &document, update, again).await }).await
    }

    async fn begin(&self, by: &Principal, document: &DocumentName, update: Bytes, again: bool) -> Result<bool, Error> {
        let mut attempts = 0..BEGIN_ATTEMPTS;
        loop {
            let mut begins = 0;
            if let Some(about) = self.store().about(document).await? {
                begins = about.begins;
                if about.deleted.is_some() {
                    if !again {
                        return Err(Error::Deleted);
                    }
                    // Before the name is given free: what cannot begin a document must not bring a deleted one back.
                    self.check_first(update.clone()).await?;
                    // Nothing of the old epoch comes after its deletion: its actor had saved everything by then.
                    self.store().begin_again(document).await?;
                    begins = about.seq;
                }
            }
            let live = self.document(document).await?;
            match live.propose(by, update.clone(), Some(begins)).await {
                // One that ends meanwhile was created all the same.
                Ok(()) if live.position().await.is_ok_and(|position| position.seq == begins) => {
                    return Err(brings_nothing());
                }
                Ok(()) => return Ok(true),
                Err(Error::Changed) => return Ok(false),
                // It is the actor of a document that was deleted, on its way out.
                Err(Error::Deleted | Error::Closed) if again && attempts.next().is_some() => live.closed().await,
                Err(error) => return Err(error),
            }
        }
    }

    /// Could a document begin with this?
    async fn check_first(&self, update: Bytes) -> Result<(), Error> {
        if update.len() > self.max_document_bytes() {
            return Err(Error::TooLarge);
        }
        let invalid = |cause: String| Err(Error::InvalidUpdate(cause));
        match blocking(move || Replica::new().apply_whole(&update)).await? {
            Ok(Applied::Changed) => Ok(()),
            Ok(Applied::Nothing) => Err(brings_nothing()),
            Ok(Applied::Missing) => invalid("it builds on unknown changes".to_owned()),
            Err(error) => invalid(error.to_string()),
        }
    }

    /// Opens a document that has something in it: unlike [`Rooms::document`] not one that nobody wrote to yet.
    pub async fn written_document(&self, document: &DocumentName) -> Result<(About, DocumentHandle), Error> {
        let about = match self.store().about(document).await? {
            Some(About { deleted: Some(_), .. }) => return Err(Error::Deleted),
            Some(about) if about.seq > about.begins => about,
            _ => return Err(Error::NoSuchDocument(document.to_string())),
        };
        Ok((about, self.document(document).await?))
    }

    /// Deletes a plain document. Whoever has it open is told that it is gone.
    pub async fn delete_document(&self, by: &Principal, document: &DocumentName) -> Result<(), Error> {
        self.delete(by, document, None).await
    }

    /// As [`Rooms::delete_document`]; with [`Error::Changed`] if the last update is another than `expected`.
    pub async fn delete_unchanged_document(
        &self,
        by: &Principal,
        document: &DocumentName,
        expected: u64,
    ) -> Result<(), Error> {
        self.delete(by, document, Some(expected)).await
    }

    async fn delete(&self, by: &Principal, document: &DocumentName, expected: Option<u64>) -> Result<(), Error> {
        check_plain(document)?;
        let (rooms, by, document) = (self.clone(), by.clone(), document.clone());
        let delete = async move { rooms.again(|| rooms.end(&by, &document, expected)).await };
        self.to_the_end("deleting a document", delete).await
    }

    /// The document's own actor deletes it: it knows what the document is, saves that before, and tells whoever has it open.
    async fn end(&self, by: &Principal, document: &DocumentName, expected: Option<u64>) -> Result<(), Error> {
        let about = self.store().about(document).await?;
        let about = about.ok_or_else(|| Error::NoSuchDocument(document.to_string()))?;
        if about.deleted.is_some() {
            return Err(Error::Deleted);
        }
        let deletion = Deletion { at: unix_millis(), by: by.id.clone() };
        self.document(document).await?.remove(expected, deletion).await?;
        if let Some(listener) = self.listener() {
            listener.deleted(std::slice::from_ref(document), by).await;
        }
        Ok(())
    }
}

fn brings_nothing() -> Error {
    Error::InvalidUpdate("it brings nothing, and a document begins with something".to_owned())
}

/// A room's own documents come and go with what they stand for.
fn check_plain(document: &DocumentName) -> Result<(), Error> {
    if document.kind() == Kind::Plain { Ok(()) } else { Err(Error::OfARoom) }
}

#[cfg(test)]
mod tests;
