//! In-memory implementations of the ports, for tests: a store, scripted sandboxes, and rooms of plain strings.
//!
//! [`MemoryRuns`], [`MemorySecrets`], [`MemoryRecordings`] and [`FakeSandboxes`] pass the same contract suites as the real ones. The others do what a test tells
//! them and remember what they were asked; so do sandboxes, whose programs the test plays.

mod recordings;
mod rooms;
mod runs;
mod sandboxes;
mod secrets;

pub use recordings::MemoryRecordings;
pub use rooms::{FakeRoom, FakeRooms};
pub use runs::MemoryRuns;
pub use sandboxes::{FakeSandboxes, OpenedTerminal, StartedStep};
pub use secrets::MemorySecrets;
