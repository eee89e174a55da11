//! The truth about speed, memory and loss: one load generator, our server, and others beside it.
//!
//! What is counted is a *delivery*: one keystroke reaching one other member. Servers may merge updates as they like, so a
//! keystroke is known by its Yjs clock and counted once per member, whatever message it comes in. In order:
//!
//! 1. [`servers`] starts a server on core 0 with its data in a temporary folder.
//! 2. [`room`] prepares keystrokes ([`updates`]) as finished frames, so that sending costs one system call.
//! 3. [`member`] is one client: it speaks one of three framings ([`wire`]) and notes in a [`tally`] what arrived and when.
//! 4. [`scenario`] has the plans: what is connected, what is sent at which rate, what is measured.
//! 5. [`report`] prints what came out, with what it cost ([`measure`]) and whether the generator was the bottleneck; [`bench`] runs
//!    all that [`table`] compares and [`plots`] draws.
//! 6. [`chaos`] does not measure: it looks for what is lost when everything goes wrong at once.
//!
//! Calls have clients of their own kind ([`media`]), and other servers beside ours.
//!
//! [`native`] is our own client, with which one scenario looks whether people who lose their connections lose anything else. It alone shares
//! code with the server.
//!
//! Everything of the generator runs on one thread on core 1; nothing here may be used by the server.

pub mod bench;
pub mod chaos;
pub mod clock;
pub mod frames;
pub mod lab;
pub mod measure;
pub mod media;
pub mod member;
pub mod native;
pub mod pace;
pub mod plots;
pub mod relay;
pub mod report;
pub mod room;
pub mod scenario;
pub mod seen;
pub mod servers;
pub mod table;
pub mod tally;
pub mod trace;
pub mod updates;
pub mod verify;
pub mod wire;
