//! SQLite behind the ports of `rooms` and `plans`: one file, write-ahead log, every commit flushed.
//!
//! It decides nothing: what is accepted was decided before it comes here. Read [`database`](Database) for how
//! durability is had, [`Documents`] for the group commit, [`Runs`] for runs.

mod database;
mod documents;
mod runs;
mod writer;

pub use database::{Database, Error};
pub use documents::Documents;
pub use runs::Runs;
