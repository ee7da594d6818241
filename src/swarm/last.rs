//! What is remembered of a swarm between two runs, for the day on which nobody who answers knows of
//! it: a new one is not made as long as the old one may live on.

use serde::{Deserialize, Serialize};

use super::{Membership, Up};

/// The swarm as it was seen last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastSeen {
    /// Its ID.
    pub cluster_id: String,
    /// All that were managers in raft, in the order of their `NodeID`s.
    pub managers: Vec<LastManager>,
}

/// A manager of the swarm as it was seen last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastManager {
    /// Its NodeID.
    pub node: String,
    /// The host of the inventory that it was, else its host name.
    pub name: String,
    /// Its address.
    pub address: String,
}

impl LastSeen {
    /// What to remember of a swarm that is there.
    pub fn of(up: &Up) -> Self {
        let host = |id: &str| {
            let is = |it: &Membership| matches!(it, Membership::Member { id: own } if own == id);
            let mut members = up.members.iter();
            members.find_map(|(name, member)| is(member).then(|| name.clone()))
        };
        let managers = up.nodes.iter().filter(|node| node.manager.is_some());
        Self {
            cluster_id: up.cluster_id.clone(),
            managers: managers
                .map(|node| LastManager {
                    node: node.id.clone(),
                    name: host(&node.id).unwrap_or_else(|| node.hostname.clone()),
                    address: node.address.clone(),
                })
                .collect(),
        }
    }
}
