//! The swarm as it is, put together from what each host says of itself and what the managers say
//! of all nodes.
//!
//! Identity is the NodeID alone: a host is a member when its own NodeID stands in the managers'
//! list. A host name is no identity (moby#46167, moby#24106), and a host without an answer is
//! neither a member nor a stranger.

mod contents;
mod last;
mod placement;

use std::collections::{BTreeMap, BTreeSet};

use crate::facts::{HostFacts, LocalSwarm, Node, SwarmSettings};
use crate::inventory::{Inventory, Role};
use crate::known::Known;

pub use contents::{Contents, Held};
pub use last::{LastManager, LastSeen};
pub use placement::may_run;

/// What was gathered: facts by host name, or why there are none.
pub type Gathered = BTreeMap<String, Result<HostFacts, String>>;

/// Whether there is a swarm, and how it is.
#[derive(Debug, Clone, PartialEq)]
pub enum Swarm {
    /// There is none: every host that could be a manager says so.
    None,
    /// There is one, and at least one manager of it has quorum.
    Up(Up),
    /// There is one, or there may be one, and no manager with quorum answers.
    Down(Down),
    /// The hosts are managers of different swarms.
    Split {
        /// The swarms' IDs, each with the hosts that manage it.
        clusters: BTreeMap<String, Vec<String>>,
    },
}

/// A swarm with quorum.
#[derive(Debug, Clone, PartialEq)]
pub struct Up {
    /// Its ID.
    pub cluster_id: String,
    /// The hosts of the inventory that are managers with quorum, the leader first.
    pub managers: Vec<String>,
    /// All nodes, as the best manager tells them, in the order of their IDs.
    pub nodes: Vec<Node>,
    /// The swarm's settings.
    pub settings: SwarmSettings,
    /// What each host of the inventory that is asked about swarms is to this one.
    pub members: BTreeMap<String, Membership>,
}

/// A swarm without quorum, or one of which too little is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Down {
    /// What was seen, one sentence fragment each, by host.
    pub evidence: Vec<(String, String)>,
    /// Hosts that may hold a swarm and do not tell: those that should be managers and did not
    /// answer, and those that answered and cannot say.
    pub silent: Vec<String>,
    /// Whether some host says that it belongs to a swarm; else there may be none at all.
    pub exists: bool,
}

/// What a host is to a swarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Membership {
    /// Its NodeID stands in the managers' list.
    Member {
        /// The NodeID.
        id: String,
    },
    /// It is in no swarm.
    Outside,
    /// It was told to join a swarm and has not heard back; it may have no NodeID yet. The engine
    /// goes on trying by itself.
    Joining,
    /// It is in a swarm, and its NodeID does not stand in this one's list.
    Foreign {
        /// Its NodeID.
        id: String,
        /// The addresses of the managers that it knows.
        managers: Vec<String>,
    },
    /// Its engine was restarted under autolock and waits for the unlock key.
    Locked,
    /// It is in a state that needs a person; the text says which.
    Stuck(String),
    /// It did not tell.
    Unknown(String),
}

/// What a host says of itself.
enum Local<'a> {
    /// It is not asked about swarms, because it has no role in one.
    NotAsked,
    Inactive,
    In(&'a LocalSwarm),
    Unknown(String),
}

fn local(facts: &Result<HostFacts, String>) -> Local<'_> {
    let facts = match facts {
        Ok(facts) => facts,
        Err(why) => return Local::Unknown(why.clone()),
    };
    match &facts.swarm {
        Known::Value(swarm) => Local::In(swarm),
        Known::Absent => match &facts.leftovers {
            // An engine that runs and says "inactive" is believed; one that does not run may
            // come up as a member again.
            Known::Value(left) if left.swarm && !engine_runs(facts) => Local::Unknown(format!(
                "its engine does not run, and `{}/swarm` holds the state of a swarm",
                left.data_root
            )),
            _ => Local::Inactive,
        },
        Known::NotProbed => Local::NotAsked,
        other => Local::Unknown(other.why_unknown().unwrap_or("not known yet").to_owned()),
    }
}

fn engine_runs(facts: &HostFacts) -> bool {
    facts
        .engine
        .value()
        .is_some_and(|engine| engine.version.is_some())
}

/// The address of `address:port`, as managers tell where they are.
pub(crate) fn ip(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_matches(['[', ']'])
}

/// A manager that has quorum, with its list of nodes.
fn healthy(facts: &HostFacts) -> Option<(&LocalSwarm, &[Node], &str)> {
    let swarm = facts.swarm.value()?;
    let nodes = facts.nodes.value()?;
    let cluster = swarm.cluster_id.as_deref()?;
    let well = swarm.has_quorum()
        && swarm.state == "active"
        && nodes.iter().any(|node| node.id == swarm.node_id);
    well.then_some((swarm, nodes, cluster))
}

impl Swarm {
    /// Puts the picture together.
    pub fn see(inventory: &Inventory, gathered: &Gathered) -> Self {
        let mut clusters: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for host in &inventory.hosts {
            let Some(Ok(facts)) = gathered.get(&host.name) else {
                continue;
            };
            if let Some((_, _, cluster)) = healthy(facts) {
                let hosts = clusters.entry(cluster.to_owned()).or_default();
                hosts.push(host.name.clone());
            }
        }
        if clusters.len() > 1 {
            return Self::Split { clusters };
        }
        match clusters.pop_first() {
            Some((cluster_id, managers)) => up(inventory, gathered, cluster_id, managers),
            None => down(inventory, gathered),
        }
    }
}

fn up(
    inventory: &Inventory,
    gathered: &Gathered,
    cluster_id: String,
    mut managers: Vec<String>,
) -> Swarm {
    let view = |host: &String| {
        let facts = gathered.get(host)?.as_ref().ok()?;
        healthy(facts)
    };
    let leads = |host: &String| {
        view(host).is_some_and(|(local, nodes, _)| {
            nodes.iter().any(|node| {
                node.id == local.node_id && node.manager.as_ref().is_some_and(|raft| raft.leader)
            })
        })
    };
    managers.sort_by_key(|host| !leads(host));
    let best = managers.first().and_then(view);
    let mut nodes = best.map(|(_, nodes, _)| nodes.to_vec()).unwrap_or_default();
    nodes.sort_unstable_by(|one, other| one.id.cmp(&other.id));
    let settings = best.and_then(|(local, _, _)| local.settings.clone());
    let ids: BTreeSet<&str> = nodes.iter().map(|node| node.id.as_str()).collect();
    let members = inventory
        .hosts
        .iter()
        .filter_map(|host| {
            let membership = match gathered.get(&host.name) {
                Some(facts) => membership(facts, &ids)?,
                None => Membership::Unknown("it was not asked".to_owned()),
            };
            Some((host.name.clone(), membership))
        })
        .collect();
    Swarm::Up(Up {
        cluster_id,
        managers,
        settings: settings.unwrap_or_default(),
        nodes,
        members,
    })
}

/// What a host is to the swarm of the nodes `ids`; `None` for one that is not asked.
fn membership(facts: &Result<HostFacts, String>, ids: &BTreeSet<&str>) -> Option<Membership> {
    let swarm = match local(facts) {
        Local::NotAsked => return None,
        Local::Inactive => return Some(Membership::Outside),
        Local::Unknown(why) => return Some(Membership::Unknown(why)),
        Local::In(swarm) => swarm,
    };
    let listed = ids.contains(swarm.node_id.as_str());
    Some(match swarm.state.as_str() {
        "locked" => Membership::Locked,
        // One that joins is listed before it has a NodeID: one that has an ID and is not listed was
        // removed while it was away, and would wait for ever.
        "pending" if !listed && swarm.node_id.is_empty() => Membership::Joining,
        "error" if !listed => {
            Membership::Stuck(format!("its swarm state is in error: {}", swarm.error))
        }
        _ if listed => Membership::Member {
            id: swarm.node_id.clone(),
        },
        _ => Membership::Foreign {
            id: swarm.node_id.clone(),
            managers: addresses(swarm),
        },
    })
}

fn addresses(swarm: &LocalSwarm) -> Vec<String> {
    let managers = swarm.remote_managers.iter();
    managers.map(|(_, address)| address.clone()).collect()
}

fn down(inventory: &Inventory, gathered: &Gathered) -> Swarm {
    let mut evidence = Vec::new();
    let mut silent = Vec::new();
    let mut exists = false;
    for host in &inventory.hosts {
        let unasked = Err("it was not asked".to_owned());
        let facts = gathered.get(&host.name).unwrap_or(&unasked);
        match local(facts) {
            Local::NotAsked | Local::Inactive => {}
            Local::In(swarm) => {
                exists = true;
                evidence.push((host.name.clone(), describe(swarm)));
            }
            Local::Unknown(why) if facts.is_ok() => {
                evidence.push((host.name.clone(), why));
                silent.push(host.name.clone());
            }
            Local::Unknown(why) => {
                if host.role == Role::Manager {
                    evidence.push((host.name.clone(), why));
                    silent.push(host.name.clone());
                }
            }
        }
    }
    if evidence.is_empty() {
        return Swarm::None;
    }
    Swarm::Down(Down {
        evidence,
        silent,
        exists,
    })
}

fn describe(swarm: &LocalSwarm) -> String {
    match swarm.state.as_str() {
        "locked" => "it is a manager whose state is locked: it needs the unlock key".to_owned(),
        "pending" if !swarm.control && swarm.node_id.is_empty() => {
            "it is joining a swarm".to_owned()
        }
        _ if swarm.control => {
            let error = if swarm.error.is_empty() {
                "it does not list the nodes"
            } else {
                swarm.error.as_str()
            };
            format!("it is a manager without quorum: {error}")
        }
        _ => {
            let managers = addresses(swarm).join(", ");
            let error = if swarm.error.is_empty() {
                String::new()
            } else {
                format!(" ({})", swarm.error)
            };
            format!("it is a worker of a swarm with the managers {managers}{error}")
        }
    }
}

impl Up {
    /// The node of a host of the inventory.
    pub fn node_of(&self, host: &str) -> Option<&Node> {
        let Some(Membership::Member { id }) = self.members.get(host) else {
            return None;
        };
        let place = self.nodes.binary_search_by(|node| node.id.cmp(id)).ok()?;
        self.nodes.get(place)
    }

    /// Whether one of `addresses`, each `ADDRESS:PORT`, is that of a manager of this swarm.
    pub fn is_managed_at(&self, addresses: &[String]) -> bool {
        self.nodes
            .iter()
            .filter_map(|node| node.manager.as_ref())
            .any(|manager| addresses.contains(&manager.address))
    }

    /// The nodes that no host of the inventory says that it is.
    pub fn nodes_of_nobody(&self) -> impl Iterator<Item = &Node> {
        let known: BTreeSet<&str> = self
            .members
            .values()
            .filter_map(|member| match member {
                Membership::Member { id } => Some(id.as_str()),
                _ => None,
            })
            .collect();
        self.nodes
            .iter()
            .filter(move |node| !known.contains(node.id.as_str()))
    }

    /// How many nodes are managers in raft, and how many of these the leader reaches.
    pub fn raft(&self) -> (usize, usize) {
        raft(&self.nodes)
    }
}

/// How many of `nodes` are managers in raft, and how many of these the leader reaches.
pub fn raft(nodes: &[Node]) -> (usize, usize) {
    let managers = nodes.iter().filter_map(|node| node.manager.as_ref());
    let (mut total, mut reachable) = (0, 0);
    for manager in managers {
        total += 1;
        reachable += usize::from(manager.reachable);
    }
    (total, reachable)
}

#[cfg(test)]
mod tests;
