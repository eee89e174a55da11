//! Calls: media servers, driven and measured by clients of another WebRTC stack (str0m), so that nothing of the server tests itself.
//!
//! What is counted is a packet that reached one receiver, known by a mark in its payload ([`picture`]), once however often it comes
//! ([`heard`]). [`client`] is one connection, [`site`] begins and ends it, [`call`] takes part as a page does. Beside ours are Janus
//! ([`janus`]) and a [`forwarder`] that does nothing but forward: the limit.

pub mod call;
pub mod client;
pub mod crypto;
pub mod forwarder;
pub mod heard;
pub mod http;
pub mod janus;
pub mod picture;
pub mod site;
