//! Turns documents into other forms, away from where people work in them.
//!
//! yrs walks a document without a bound on its steps, and on documents that it could not have made itself it was seen to panic
//! and to walk without end. The gate keeps those out as far as we know. So each export gets a replica of its own on a thread of its
//! own and a deadline. A thread that does not end cannot be stopped: it keeps its place, and when all places are taken exports are
//! refused.
//!
//! What was made is held until its reader has it all, so these are counted too, as the documents themselves are ([`Copies`]).

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use buildspaces_crdt::Replica;
use buildspaces_rooms::Present;
use buildspaces_rooms::copies::{Copies, Place};
use bytes::Bytes;
use tokio::sync::Semaphore;

use crate::error::ApiError;

/// Exports at the same time. One beyond waits, at most as long as an export may take.
const THREADS: usize = 4;

/// How long an export may take, waiting included.
const DEADLINE: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub(crate) struct Exports {
    places: Arc<Semaphore>,
    held: Copies,
}

impl Default for Exports {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(THREADS)), held: Copies::default() }
    }
}

impl Exports {
    /// Makes something of a document's state, which is to be held in the place that comes with it.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        present: Present,
        export: impl FnOnce(&Replica) -> T + Send + 'static,
    ) -> Result<(T, Place), ApiError> {
        // About as much comes out as goes in.
        let held = self.held.place(present.state.len()).await?;
        let work = async {
            let place = self.places.clone().acquire_owned().await.map_err(ApiError::internal)?;
            let thread = tokio::task::spawn_blocking(move || {
                let _place = place;
                let mut replica = Replica::new();
                replica.apply(&present.state).map(|_| export(&replica))
            });
            // A panic says that the document cannot be read as this, not that the server is broken.
            let made = thread.await.map_err(|_| unreadable())?.map_err(ApiError::internal)?;
            Ok((made, held))
        };
        tokio::time::timeout(DEADLINE, work).await.map_err(|_| {
            tracing::warn!("an export took too long");
            let message = "this document could not be read as that in time; ask for ?as=update";
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "export_too_slow", message)
        })?
    }

    /// Has a text that was made elsewhere counted.
    pub(crate) async fn hold(&self, text: String) -> Result<Bytes, ApiError> {
        Ok(self.held.place(text.len()).await?.hold(text))
    }
}

pub(crate) fn unreadable() -> ApiError {
    let message = "this document cannot be read as that; ask for ?as=update";
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "unreadable", message)
}
