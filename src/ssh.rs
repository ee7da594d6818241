//! SSH: connections, commands and byte streams to hosts. The only module that knows russh.
//!
//! [`Client`] opens connections, within limits that OpenSSH servers bear; [`Session`] runs scripts
//! and carries files and streams. Settings come from the inventory ([`Target`]), else from
//! `~/.ssh/config`, else from OpenSSH's defaults, in this order.

mod auth;
mod config;
mod connect;
mod error;
mod exec;
mod host_key;
mod known_hosts;
mod peer;
mod session;
mod stream;
mod sudo;
mod target;
mod trust;
mod wrap;

pub use connect::{Client, Options, raise_open_files};
pub use error::SshError;
pub use exec::Exit;
pub use host_key::new_host_key;
pub use session::{Output, ScriptOptions, Session, Stream, Upload};
pub use stream::{SshStream, StreamTo};
pub use target::{Become, CONNECT_TIMEOUT, HostKeyCheck, Resolved, Target, command_line};
pub(crate) use wrap::nonce;
