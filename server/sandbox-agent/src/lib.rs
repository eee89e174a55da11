//! The program that is process 1 of every sandbox, and the protocol it speaks with the server.
//!
//! It dials out to a Unix socket that the server listens on, runs one step at a time as the server asks, and keeps the
//! step's output and result while the server is away. It has no network, no async runtime and no knowledge of
//! containers, rooms or files: it starts programs, and it makes sure that none of them outlives its step.
//!
//! Read [`protocol`] first, which the server shares, then [`agent`].

pub mod agent;
pub mod protocol;
