//! Carries out a plan: a graph runner whose every move is an event.

pub mod event;
pub mod journal;
mod run;

pub use event::{Event, Outcome, Record};
pub use run::{Report, Stop, run, run_since};
