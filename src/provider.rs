//! Where hosts come from when skep makes them itself.

pub mod lab;
