//! SQLite behind the ports of `rooms`, `plans`, `media` and `webhooks`: one file, write-ahead log, every commit flushed.
//!
//! It decides nothing: what is accepted was decided before it comes here. Read [`database`](Database) for how
//! durability is had, [`log`](self) for how many documents share a flush, [`Documents`] for rooms, [`Runs`] for runs, [`Secrets`] for secrets, [`Recordings`]
//! for recordings of terminals, [`Calls`] for what is kept of calls.

mod blobs;
mod calls;
mod database;
mod documents;
mod history;
mod log;
mod meters;
mod recordings;
mod revocations;
mod runs;
mod secrets;
mod setting;
mod webhooks;

pub use calls::Calls;
pub use database::{Database, Durability, Error};
pub use documents::Documents;
pub use recordings::Recordings;
pub use runs::Runs;
pub use secrets::Secrets;
pub use webhooks::Webhooks;
