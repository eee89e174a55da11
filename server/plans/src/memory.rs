//! In-memory implementations of the ports, for tests: a store, scripted sandboxes, and rooms of plain strings.
//!
//! [`MemoryRuns`] passes the same contract suite as the real store. The others do what a test tells them and remember
//! what they were asked.

mod rooms;
mod runs;
mod sandboxes;

pub use rooms::{FakeRoom, FakeRooms};
pub use runs::MemoryRuns;
pub use sandboxes::{FakeSandboxes, OpenedTerminal, StartedStep};
