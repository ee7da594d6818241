//! The Docker Engine's API over any stream of bytes.
//!
//! The only user of bollard. The caller supplies the way to the engine's socket ([`Dial`]), such as
//! a channel of an SSH connection; each request is a connection of its own.

mod client;
mod error;
mod http;
pub mod wire;

use std::io;

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

pub use client::probe::ServiceTask;
pub use client::rotate::{AuthorityState, NodeIssuer, Rotation, digest};
pub use client::services::{ServiceProgress, ServiceTasks};
/// The option of an overlay network that tells the largest packet of the network below it, in bytes.
/// The engine itself takes off what VXLAN needs.
pub const OVERLAY_MTU: &str = "com.docker.network.driver.mtu";

pub use client::{Docker, JoinTokens, NodeChange, SwarmChange, SwarmInit, SwarmJoin};
pub use error::DockerError;

/// A stream of bytes to an engine's socket.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A way to an engine's socket.
pub trait Dial: Send + Sync {
    /// Opens a new stream; each carries one request.
    fn dial(&self) -> BoxFuture<'_, io::Result<Box<dyn Io>>>;
}

#[cfg(test)]
mod tests;
