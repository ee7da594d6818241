//! OpenStack: what a cloud has, what is asked of it, and the client that asks.
//!
//! [`Cloud`] is the whole of what skep wants from a cloud; [`model`] holds what it answers and what
//! is asked, as plain data. The types of the client libraries stay inside this module, so that
//! another library can take their place.

mod client;
pub mod cloud;
mod config;
mod console;
mod error;
pub mod model;

pub use client::OpenStack;
pub use cloud::{Answer, BoxedCloud, Cloud, Given, Made, Survey, survey};
pub use config::{Account, Application, Login, NameOrId, Project, Wanted};
pub use console::host_keys;
pub use error::{CloudError, CloudFault};
pub use model::{Cluster, Kind};
