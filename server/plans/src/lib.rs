//! Rules, skills and runs: what happens in a room's sandbox because its text changed or somebody asked.
//!
//! The decisions are pure: when a rule fires ([`rule`]), what makes two firings the same ([`trigger`]), what command a
//! workspace asks for ([`skill`]), what a run may become ([`run`]). [`engine`] owns one task per room that performs them.
//! Nothing here knows SQL, Docker or HTTP: see [`ports`]. Read [`engine`] first.

pub mod log;
pub mod ports;
pub mod rule;
pub mod run;
pub mod trigger;
