//! How a cluster is: the picture that `skep status` gives, put together from facts. Pure.

mod certificates;
mod storage;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::facts::Node;
use crate::inventory::{Availability, Inventory, Role};
use crate::nfs::{self, StaleServer};
use crate::plan::Plan;
use crate::quorum::majority;
use crate::swarm::{Down, Gathered, Membership, Swarm, Up};

pub use certificates::{CertificateStatus, SavedBy, UnlockKeyStatus, probes};
pub use storage::{FilesystemStatus, PoolStatus, StorageStatus};

/// How a cluster is. Its JSON form is part of the command line's contract.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusReport {
    /// The cluster's name.
    pub cluster: String,
    /// What there is of a swarm.
    pub swarm: SwarmState,
    /// The managers, counted.
    pub managers: Managers,
    /// The nodes, managers first.
    pub nodes: Vec<NodeStatus>,
    /// Hosts of the inventory that gave no answer.
    pub unreachable: Vec<HostSays>,
    /// What hosts say of a swarm that gives no orders, or of another swarm.
    pub evidence: Vec<HostSays>,
    /// What `skep up` would change.
    pub drift: Vec<HostSays>,
    /// How full the storage is that the inventory gives to engines.
    #[serde(default)]
    pub storage: Vec<StorageStatus>,
    /// When the certificates of the nodes end.
    #[serde(default)]
    pub certificates: Vec<CertificateStatus>,
    /// The unlock key; `None` without autolock.
    #[serde(default)]
    pub unlock_key: Option<UnlockKeyStatus>,
    /// NFS servers that give hosts no answer.
    pub stale: Vec<StaleServer>,
    /// What deserves a look, for people.
    pub warnings: Vec<String>,
}

/// What there is of a swarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SwarmState {
    /// A manager answers for the swarm.
    Active,
    /// All hosts answered, and none is in a swarm.
    Absent,
    /// Managers answer, and cannot agree: fewer than the majority are reachable.
    NoQuorum,
    /// No manager answered, so that nothing is known.
    Unknown,
    /// The hosts are managers of more than one swarm.
    Split,
}

/// The managers of a swarm, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Managers {
    /// How many there are.
    pub total: usize,
    /// How many of them the others reach.
    pub reachable: usize,
    /// How many must be reachable for the swarm to take orders.
    pub majority: usize,
    /// How many more may be lost.
    pub tolerates: usize,
}

impl Managers {
    /// Counts by raft's rule: more than half of all managers must be reachable.
    pub fn new(total: usize, reachable: usize) -> Self {
        let majority = if total == 0 { 0 } else { majority(total) };
        Self {
            total,
            reachable,
            majority,
            tolerates: reachable.saturating_sub(majority),
        }
    }

    /// Whether the swarm takes orders.
    pub fn has_quorum(&self) -> bool {
        self.total > 0 && self.reachable >= self.majority
    }
}

/// A node as the managers tell it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// The inventory's name of the host, else the node's host name.
    pub name: String,
    /// The NodeID.
    pub id: String,
    /// Its role.
    pub role: Role,
    /// `ready`, `down`, `unknown` or `disconnected`.
    pub state: String,
    /// Whether it takes tasks.
    pub availability: Availability,
    /// Whether it leads.
    pub leader: bool,
    /// Whether the other managers reach it; `None` for a worker.
    pub reachable: Option<bool>,
    /// Its address.
    pub address: String,
    /// Its engine's version.
    pub engine: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// A host, and something about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostSays {
    /// The host.
    pub host: String,
    /// What is to be said of it: a lower-case fragment.
    pub what: String,
}

impl StatusReport {
    /// Puts the picture together; `plan` is what `skep up` would do, where it was worked out.
    pub fn new(
        inventory: &Inventory,
        gathered: &Gathered,
        swarm: &Swarm,
        plan: Option<&Plan>,
    ) -> Self {
        let mut report = Self::empty(inventory);
        report.unreachable = hosts(inventory, |host| {
            gathered.get(host)?.as_ref().err().cloned()
        });
        match swarm {
            Swarm::None => report.swarm = SwarmState::Absent,
            Swarm::Up(up) => report.take_up(inventory, up),
            Swarm::Down(down) => report.take_down(gathered, down),
            Swarm::Split { clusters } => {
                report.swarm = SwarmState::Split;
                report.evidence = hosts(inventory, |host| {
                    let mut found = clusters.iter();
                    let (cluster, _) =
                        found.find(|(_, hosts)| hosts.iter().any(|it| it == host))?;
                    Some(format!("it is a manager of swarm {cluster}"))
                });
            }
        }
        let (storage, warnings) = storage::storage(inventory, gathered);
        report.storage = storage;
        report.warnings.extend(warnings);
        report.stale = nfs::stale(inventory, gathered);
        if let Some(plan) = plan {
            report.drift = plan
                .changes
                .iter()
                .map(|change| says(&change.host, &change.summary))
                .collect();
            // Stale servers have a place of their own.
            let stale: Vec<String> = report.stale.iter().map(ToString::to_string).collect();
            let others = plan.warnings.iter().filter(|it| !stale.contains(it));
            report.warnings.extend(others.cloned());
        }
        report
    }

    /// Whether nothing deserves a look: a swarm with quorum, all hosts there, all nodes ready.
    pub fn is_well(&self) -> bool {
        self.swarm == SwarmState::Active
            && self.managers.has_quorum()
            && self.managers.reachable == self.managers.total
            && self.nodes.iter().all(|node| node.state == "ready")
            && self.unreachable.is_empty()
            && self.stale.is_empty()
            && self.warnings.is_empty()
    }
    fn empty(inventory: &Inventory) -> Self {
        Self {
            cluster: inventory.cluster.clone(),
            swarm: SwarmState::Unknown,
            managers: Managers::default(),
            nodes: Vec::new(),
            unreachable: Vec::new(),
            evidence: Vec::new(),
            drift: Vec::new(),
            storage: Vec::new(),
            certificates: Vec::new(),
            unlock_key: None,
            stale: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn take_up(&mut self, inventory: &Inventory, up: &Up) {
        let (total, reachable) = up.raft();
        self.swarm = SwarmState::Active;
        self.managers = Managers::new(total, reachable);
        let names: BTreeMap<&str, &str> = inventory
            .hosts
            .iter()
            .filter_map(|host| Some((up.node_of(&host.name)?.id.as_str(), host.name.as_str())))
            .collect();
        let name = |node: &Node| names.get(node.id.as_str()).copied();
        self.nodes = up
            .nodes
            .iter()
            .map(|node| status_of(node, name(node)))
            .collect();
        let place = |node: &NodeStatus| inventory.hosts.iter().position(|it| it.name == node.name);
        self.nodes.sort_by_cached_key(|node| {
            (
                node.role,
                place(node).unwrap_or(usize::MAX),
                node.name.clone(),
            )
        });
        self.evidence = hosts(inventory, |host| match up.members.get(host)? {
            Membership::Member { .. } | Membership::Outside => None,
            Membership::Foreign { managers, .. } => Some(format!(
                "it is in another swarm, with the managers {}",
                managers.join(", ")
            )),
            Membership::Locked => Some("its manager is locked: `skep up` unlocks it".to_owned()),
            Membership::Joining => Some("it is joining a swarm right now".to_owned()),
            Membership::Stuck(why) | Membership::Unknown(why) => Some(why.clone()),
        });
        // Why a host gave no answer is said once.
        let unreachable: BTreeSet<String> =
            self.unreachable.iter().map(|it| it.host.clone()).collect();
        self.evidence.retain(|it| !unreachable.contains(&it.host));
        for node in &self.nodes {
            if node.state != "ready" {
                let (name, state) = (&node.name, &node.state);
                self.warnings.push(format!("node `{name}` is {state}"));
            } else if node.reachable == Some(false) {
                self.warnings
                    .push(format!("the other managers do not reach `{}`", node.name));
            }
        }
        for node in up.nodes_of_nobody() {
            let (id, name) = (&node.id, &node.hostname);
            let silent = up.members.iter().find(|(host, membership)| {
                let told = !matches!(
                    membership,
                    Membership::Unknown(_) | Membership::Stuck(_) | Membership::Joining
                );
                !told && host.eq_ignore_ascii_case(name)
            });
            self.warnings.push(match silent {
                Some((host, _)) => {
                    format!("node {id} is `{host}` by its name; the host itself does not tell")
                }
                None => format!("no host of the inventory says that it is node {id} (`{name}`)"),
            });
        }
        let engines: BTreeSet<&str> = self.nodes.iter().map(|it| it.engine.as_str()).collect();
        if engines.len() > 1 {
            let engines: Vec<&str> = engines.into_iter().collect();
            self.warnings
                .push(format!("engines differ: {}", engines.join(", ")));
        }
    }

    fn take_down(&mut self, gathered: &Gathered, down: &Down) {
        let locals = || {
            let facts = gathered.values().filter_map(|facts| facts.as_ref().ok());
            facts.filter_map(|facts| facts.swarm.value())
        };
        let answering = locals().filter(|swarm| swarm.control).count();
        if answering > 0 {
            self.swarm = SwarmState::NoQuorum;
            let known = locals().map(|swarm| swarm.remote_managers.len()).max();
            let total = known.unwrap_or_default().max(answering);
            // Whether they reach each other no manager can tell now: it is those that reach us,
            // and at most one less than the majority, or there would be a quorum.
            let reachable = answering.min(majority(total) - 1);
            self.managers = Managers::new(total, reachable);
        }
        self.evidence = down
            .evidence
            .iter()
            .filter(|(host, _)| gathered.get(host).is_some_and(Result::is_ok))
            .map(|(host, what)| says(host, what))
            .collect();
    }
}

fn says(host: &str, what: &str) -> HostSays {
    HostSays {
        host: host.to_owned(),
        what: what.to_owned(),
    }
}

fn hosts(inventory: &Inventory, what: impl Fn(&str) -> Option<String>) -> Vec<HostSays> {
    let hosts = inventory.hosts.iter().map(|host| host.name.as_str());
    hosts
        .filter_map(|host| Some(says(host, &what(host)?)))
        .collect()
}

fn status_of(node: &Node, name: Option<&str>) -> NodeStatus {
    let manager = node.manager.as_ref();
    NodeStatus {
        name: name.unwrap_or(&node.hostname).to_owned(),
        id: node.id.clone(),
        role: if manager.is_some() {
            Role::Manager
        } else {
            node.role
        },
        state: node.state.clone(),
        availability: node.availability,
        leader: manager.is_some_and(|it| it.leader),
        reachable: manager.map(|it| it.reachable),
        address: node.address.clone(),
        engine: node.engine.clone(),
        labels: node.labels.clone(),
    }
}

#[cfg(test)]
mod tests;
