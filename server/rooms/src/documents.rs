//! What can be done to a whole document besides editing it: create it with content, read it as it is, change it only if
//! nobody else did, delete it and use its name again.
//!
//! A document is never given its first content twice: creating goes through the document's own actor, which takes the content
//! only while nothing was ever written. A deleted document's name stays taken until somebody asks for it by name; then it
//! begins an epoch of its own, and nothing of the old one shows up in it.

use buildspaces_crdt::DocumentName;
use buildspaces_crdt::names::Kind;
use buildspaces_kernel::clock::unix_millis;
use buildspaces_policy::Principal;
use bytes::Bytes;

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

/// How often something is tried that met the end of a document.
const ATTEMPTS: usize = 3;

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
    /// of a deleted document.
    pub async fn create_document(
        &self,
        by: &Principal,
        document: &DocumentName,
        update: Bytes,
        again: bool,
    ) -> Result<bool, Error> {
        check_plain(document)?;
        let mut begins = 0;
        if let Some(About { begins: begun, seq, deleted, .. }) = self.store().about(document).await? {
            begins = begun;
            if deleted.is_some() {
                if !again {
                    return Err(Error::Deleted);
                }
                // What a deletion that is still under way writes belongs to the old epoch.
                if let Some(old) = self.open_document(document) {
                    old.bury().await;
                }
                self.store().begin_again(document).await?;
                begins = seq;
            }
        }
        let live = self.document(document).await?;
        match live.propose(by, update, Some(begins)).await {
            // One that ends meanwhile was created all the same.
            Ok(()) if live.present().await.is_ok_and(|present| present.seq == begins) => {
                Err(Error::InvalidUpdate("it brings nothing, and a document begins with something".to_owned()))
            }
            Ok(()) => Ok(true),
            Err(Error::Changed) => Ok(false),
            Err(error) => Err(error),
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
        let about = self.store().about(document).await?;
        let about = about.ok_or_else(|| Error::NoSuchDocument(document.to_string()))?;
        let deletion = Deletion { at: unix_millis(), by: by.id.clone() };
        if about.deleted.is_some() {
            return Err(Error::Deleted);
        }
        match expected {
            Some(expected) => self.document(document).await?.remove(expected, deletion).await?,
            None => {
                if !self.store().bury(document, &deletion).await? {
                    return Err(Error::Deleted);
                }
                // Whoever opens it from now on finds it deleted; whoever has it open loses it here.
                if let Some(live) = self.open_document(document) {
                    live.bury().await;
                }
            }
        }
        if let Some(listener) = self.listener() {
            listener.deleted(document, by).await;
        }
        Ok(())
    }
}

/// A room's own documents come and go with what they stand for.
fn check_plain(document: &DocumentName) -> Result<(), Error> {
    if document.kind() == Kind::Plain { Ok(()) } else { Err(Error::OfARoom) }
}

#[cfg(test)]
mod tests;
