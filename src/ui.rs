//! Everything that a person or another program sees: data on stdout, all else on stderr.
//!
//! What renders gives back text with colours in it; [`Printer`] alone knows the streams and takes
//! the colours out where they are not wanted, so that every rendering is a pure function.

pub mod audit;
pub mod diagnostic;
pub mod diff;
pub mod drill;
pub mod follow;
pub mod interrupt;
pub mod plan;
pub mod printer;
pub mod progress;
pub mod prompt;
pub mod report;
pub mod status;
pub mod style;
pub mod table;
pub mod text;
pub mod working;

pub use printer::{Level, Printer};
