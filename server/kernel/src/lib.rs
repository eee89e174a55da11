//! What every other server crate stands on: typed ids, the wall clock, supervised tasks, and which addresses are public.
//!
//! It knows nothing of rooms, documents, HTTP or storage, and holds no state of its own.
//! Start with [`ids`]; [`tasks::Tasks`] is the only way a background task is started.

pub mod address;
pub mod clock;
pub mod ids;
pub mod tasks;

pub use clock::UnixMillis;
