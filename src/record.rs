//! The record of a cluster that is shut down: who was what, and every service as it was, so that it
//! can be brought back.
//!
//! A service's specification holds its environment, which may hold secrets: a record is never printed,
//! and no plan or journal has one. What of it is no secret is its [`Head`].
//!
//! What a shutdown changes it marks where it is changed, in the same call: a service that was scaled to
//! zero has [`REPLICAS`], a node that was demoted [`WAS_MANAGER`]. So whoever looks at a cluster that
//! is half shut down can tell what it was, and a second record tells the same as the first.

mod compose;
mod file;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::inventory::{Availability, Role};

pub use compose::{compose, halt, is_halted, service, unhalt};
pub use file::{load, save};

/// The version of the format. A newer one is refused by [`Record::parse`].
pub const FORMAT: u32 = 1;

/// Where the record lies on the last manager: mode 0600, root's.
pub const PATH: &str = "/var/lib/skep/shutdown.json";

/// Where the [`Mark`] lies on the last manager.
pub const MARK: &str = "/var/lib/skep/shutdown.mark";

/// The name of the record's file in the directory of the cluster's state on this machine.
pub const FILE: &str = "shutdown.json";

/// The label of a service that was scaled to zero: how many replicas it had.
pub const REPLICAS: &str = "skep.shutdown.replicas";

/// The label of a node that was demoted for the shutdown; its value is `manager`.
pub const WAS_MANAGER: &str = "skep.shutdown.role";

/// The constraint that keeps a global service from running anywhere: no node has that label.
pub const NOWHERE: &str = "node.labels.skep.shutdown==over";

/// The label of a service that tells its stack.
pub const STACK: &str = "com.docker.stack.namespace";

/// A cluster as it was when it was shut down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The version of the format: [`FORMAT`].
    pub format: u32,
    /// How far the shutdown got.
    pub phase: Phase,
    /// All but the services.
    pub head: Head,
    /// The services, by name; `None` where nobody could tell, because no manager had quorum.
    pub services: Option<Vec<Service>>,
}

/// What a record has beside the services: no secret is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The cluster's name in the inventory.
    pub cluster: String,
    /// The swarm's ID; `None` where no manager could tell it.
    pub cluster_id: Option<String>,
    /// When the first record of this shutdown was made.
    pub made: Timestamp,
    /// Who made it, as `user@machine`.
    pub by: String,
    /// The host of the inventory that is switched off last, and is to be switched on first.
    pub last: String,
    /// The boot of that host: where it runs another one, it was switched on since.
    pub boot: Option<String>,
    /// Every node.
    pub nodes: Vec<Node>,
    /// The first moment at which a node's certificate is worth nothing any more; it is renewed only
    /// while the node runs. `None` where no node told.
    pub back_before: Option<Timestamp>,
    /// Whether managers want the unlock key after a restart.
    pub autolock: bool,
    /// Whether the services are removed, and not scaled to zero.
    pub remove: bool,
}

/// A node as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its NodeID.
    pub id: String,
    /// The host of the inventory that it is; `None` for a node that is none of them, or whose host
    /// did not tell.
    pub host: Option<String>,
    /// Its own host name, which is no identity.
    pub hostname: String,
    /// Its role.
    pub role: Role,
    /// Whether it led.
    pub leader: bool,
    /// Its availability.
    pub availability: Availability,
    /// Its labels, without [`WAS_MANAGER`].
    pub labels: BTreeMap<String, String>,
    /// Its address.
    pub address: String,
    /// Whether its host answered when the record was made: one that did and is silent later was
    /// switched off.
    pub answered: bool,
}

/// A service as it was.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Its ID in the swarm.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its stack, where it is part of one.
    pub stack: Option<String>,
    /// How it runs.
    pub mode: Mode,
    /// The names of the secrets that it uses.
    pub secrets: BTreeSet<String>,
    /// The names of the configs that it uses.
    pub configs: BTreeSet<String>,
    /// Its specification as the engine gave it (`Spec` of `/services`), without what a shutdown puts
    /// in: it may hold secrets.
    pub spec: Value,
}

/// How a service runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// So many tasks.
    Replicated(u64),
    /// One task on every node.
    Global,
    /// Tasks that end: a shutdown leaves such a service as it is.
    Job,
}

/// How far a shutdown got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// It is recorded; managers are demoted, services scaled down, all hosts run.
    Recorded,
    /// Hosts are switched off.
    Off,
}

/// What the last manager tells of a shutdown to whoever asks, and no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The version of the format: [`FORMAT`].
    pub format: u32,
    /// How far it got.
    pub phase: Phase,
    /// What was recorded.
    pub head: Head,
}

/// Why a record cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// It is not what skep writes.
    #[error("it is no record of a shutdown: {0}")]
    Unreadable(String),
    /// A newer skep wrote it.
    #[error("it has format {0}, and this skep reads format {FORMAT}; use the skep that wrote it")]
    Newer(u32),
}

// The specification may hold secrets.
impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("stack", &self.stack)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// Reads what has a format. A message of `serde_json` tells a place and names of fields, no values that
/// could be secret: strings are quoted in those of wrong types only, so these are cut.
fn parse<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, RecordError> {
    let unreadable = |error: &serde_json::Error| {
        let at = format!("line {}, column {}", error.line(), error.column());
        RecordError::Unreadable(at)
    };
    let format: Format = serde_json::from_str(text).map_err(|error| unreadable(&error))?;
    if format.format > FORMAT {
        return Err(RecordError::Newer(format.format));
    }
    serde_json::from_str(text).map_err(|error| unreadable(&error))
}

impl Record {
    /// Reads a record.
    ///
    /// # Errors
    ///
    /// Where it is none, or one of a newer skep. The error quotes nothing of it.
    pub fn parse(text: &str) -> Result<Self, RecordError> {
        parse(text)
    }

    /// Its JSON, which may hold secrets.
    ///
    /// # Errors
    ///
    /// None that can happen: all keys are strings.
    pub fn text(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }

    /// What is no secret of it.
    pub fn mark(&self) -> Mark {
        Mark {
            format: self.format,
            phase: self.phase,
            head: self.head.clone(),
        }
    }
}

impl Mark {
    /// Reads a mark.
    ///
    /// # Errors
    ///
    /// Where it is none, or one of a newer skep.
    pub fn parse(text: &str) -> Result<Self, RecordError> {
        parse(text)
    }

    /// Its JSON.
    ///
    /// # Errors
    ///
    /// None that can happen: all keys are strings.
    pub fn text(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self).map(|text| text + "\n")
    }
}

impl Head {
    /// The managers as they were, the last one first: hosts of the inventory.
    pub fn managers(&self) -> Vec<&str> {
        let managers = self.nodes.iter().filter(|node| node.role == Role::Manager);
        let mut names: Vec<&str> = managers.filter_map(|node| node.host.as_deref()).collect();
        names.sort_by_key(|name| *name != self.last);
        names
    }

    /// The node of a host of the inventory.
    pub fn node_of(&self, host: &str) -> Option<&Node> {
        self.nodes
            .iter()
            .find(|node| node.host.as_deref() == Some(host))
    }
}

#[cfg(test)]
mod tests;
