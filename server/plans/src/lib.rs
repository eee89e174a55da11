//! (being written)
pub mod ports;
pub mod rule;
pub mod run;
