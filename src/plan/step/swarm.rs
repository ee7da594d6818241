//! What is asked of the Docker Engine, and what is waited for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::listed;
use crate::inventory::{Availability, Role};

/// A call of Docker's API on the step's own host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DockerCall {
    /// Makes a new swarm of which this host is the first manager.
    SwarmInit {
        /// The address that the host tells the others.
        advertise: String,
        /// The address or interface for the traffic of containers, where it differs.
        data_path: Option<String>,
        /// Networks for overlay networks; empty is Docker's default.
        default_addr_pool: Vec<IpNet>,
        /// The prefix length of each overlay network.
        subnet_size: Option<u8>,
        /// The UDP port of VXLAN.
        data_path_port: Option<u16>,
        /// Whether managers need an unlock key after a restart.
        autolock: bool,
        /// The life of node certificates in days.
        cert_expiry_days: Option<u32>,
        /// How many old tasks are kept for each slot.
        task_history: Option<u32>,
    },
    /// Joins this host to the swarm. The token is fetched from a manager when the step runs.
    SwarmJoin {
        /// As what.
        role: Role,
        /// The address that the host tells the others.
        advertise: String,
        /// The address or interface for the traffic of containers, where it differs.
        data_path: Option<String>,
        /// Hosts of the inventory that are managers by then, best first.
        managers: Vec<String>,
        /// The swarm's ID, where it is known already: a join to another swarm is refused.
        cluster_id: Option<String>,
    },
    /// Changes a node. Nothing is changed where that could cost the quorum.
    NodeUpdate {
        /// Hosts of the inventory that are managers by then, best first.
        managers: Vec<String>,
        /// The NodeID; `None` is this host's own node, found by what the host itself tells.
        id: Option<String>,
        /// The role to give.
        role: Option<Role>,
        /// The availability to give.
        availability: Option<Availability>,
        /// Labels to set; others stay.
        labels: BTreeMap<String, String>,
        /// Labels to take away.
        unlabel: BTreeSet<String>,
    },
    /// Takes the tasks away from a node and waits until none runs there and each service runs as
    /// many elsewhere as it ran before. Services that may run one task too many (`start-first`)
    /// get theirs before the old ones end.
    Drain {
        /// Hosts of the inventory that are managers by then, best first.
        managers: Vec<String>,
        /// The NodeID; `None` is this host's own node.
        id: Option<String>,
        /// How long it may take, in seconds.
        deadline: u32,
        /// Whether tasks that can run on no other node may stop.
        downtime: bool,
    },
    /// Makes this host leave its swarm, if it still is this node.
    SwarmLeave {
        /// The NodeID that it must have.
        id: String,
        /// Also as a manager, with its vote: only where all leave.
        force: bool,
    },
    /// Makes this host, a manager without quorum, forget the swarm, so that it can vote for its old
    /// self no more. Refused where it has quorum after all.
    SwarmFence {
        /// The NodeID that it must have.
        id: String,
    },
    /// Makes this host, a manager without quorum, the only manager of its swarm, with the services,
    /// secrets and nodes that its raft log knows. Refused where it has quorum after all.
    SwarmForce {
        /// The NodeID that it must have.
        id: String,
        /// The address that it tells the others, which stays the same.
        advertise: String,
        /// The address or interface for the traffic of containers, where it differs.
        data_path: Option<String>,
        /// Whether managers need an unlock key after a restart.
        autolock: bool,
    },
    /// Makes new join tokens: the old ones are worth nothing any more. Runs on a manager.
    RotateTokens,
    /// Takes a node that is not in raft out of the managers' list. Well if it is not there.
    NodeRemove {
        /// Hosts of the inventory that are managers by then, best first.
        managers: Vec<String>,
        /// The NodeID.
        id: String,
        /// Also where the managers still hear from it: of a node whose host nobody can log in to.
        alive: bool,
    },
    /// Lets services place their tasks anew, one after the other, where they are uneven. Runs on a
    /// manager.
    Rebalance {
        /// Their names; all where there is none.
        services: Vec<String>,
        /// How long each may take, in seconds.
        deadline: u32,
    },
    /// Unlocks this host's manager, which was restarted under autolock, with the key that another
    /// manager gives when the step runs, or that the user gave. Does nothing where it is not locked.
    Unlock {
        /// Hosts of the inventory that are managers, best first; none where only the user has the key.
        managers: Vec<String>,
    },
    /// Makes the network of published ports anew, for a network below it of smaller packets. The engine
    /// refuses it while a service publishes through it.
    Ingress {
        /// The largest packet of the network below it.
        mtu: u32,
    },
    /// Changes the settings of the swarm that can change.
    SwarmUpdate {
        /// Whether managers need an unlock key after a restart.
        autolock: Option<bool>,
        /// The life of node certificates in days.
        cert_expiry_days: Option<u32>,
        /// How many old tasks are kept for each slot.
        task_history: Option<u32>,
    },
}

/// Something to wait for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// The host lets us log in.
    Login,
    /// The host's engine answers.
    Engine,
    /// The host's node is `ready` in the managers' view and, for a manager, `reachable`.
    Member {
        /// As what.
        role: Role,
        /// Hosts of the inventory that are managers by then, best first.
        managers: Vec<String>,
    },
    /// The swarm's managers are a majority without the host's node, so that it may go away for a
    /// moment. Well at once for a worker, and with one or two managers, where there is no way
    /// around it.
    Spared {
        /// Hosts of the inventory that are managers by then, best first.
        managers: Vec<String>,
    },
    /// A node is not in raft any more: the managers say so and, where it is the host's own node, the
    /// host too.
    OutOfRaft {
        /// Hosts of the inventory that are managers by then, best first.
        managers: Vec<String>,
        /// The NodeID.
        id: String,
    },
    /// A node is in raft still, though its demotion has begun.
    InRaft {
        /// Hosts of the inventory that are managers by then, best first.
        managers: Vec<String>,
        /// The NodeID.
        id: String,
    },
    /// The managers do not hear from a node any more, or do not list it.
    Gone {
        /// Hosts of the inventory that are managers by then, best first.
        managers: Vec<String>,
        /// The NodeID.
        id: String,
    },
}

impl fmt::Display for DockerCall {
    #[expect(clippy::too_many_lines, reason = "a few lines for each call")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SwarmInit {
                advertise,
                data_path,
                default_addr_pool,
                subnet_size,
                data_path_port,
                autolock,
                cert_expiry_days,
                task_history,
            } => {
                write!(f, "initialise a new swarm, advertising {advertise}")?;
                option(f, "data path", data_path.as_ref())?;
                if !default_addr_pool.is_empty() {
                    write!(f, ", address pool {}", listed(default_addr_pool))?;
                }
                option(f, "subnet size", subnet_size.as_ref())?;
                option(f, "data path port", data_path_port.as_ref())?;
                if *autolock {
                    f.write_str(", autolock")?;
                }
                option(f, "certificate life in days", cert_expiry_days.as_ref())?;
                option(f, "task history", task_history.as_ref())
            }
            Self::SwarmJoin {
                role,
                advertise,
                data_path,
                managers,
                ..
            } => {
                let role = role_name(*role);
                write!(f, "join the swarm as a {role}, advertising {advertise}")?;
                option(f, "data path", data_path.as_ref())?;
                write!(f, ", through {}", listed(managers))
            }
            Self::NodeUpdate {
                role,
                availability,
                labels,
                id,
                unlabel,
                ..
            } => {
                match id {
                    Some(id) => write!(f, "update node {id}:")?,
                    None => f.write_str("update the node:")?,
                }
                let mut what = Vec::new();
                what.extend(role.map(|role| format!(" role {}", role_name(role))));
                what.extend(
                    availability.map(|it| format!(" availability {}", availability_name(it))),
                );
                what.extend(labels.iter().map(|(k, v)| format!(" label {k}={v}")));
                what.extend(unlabel.iter().map(|label| format!(" no label {label}")));
                f.write_str(&what.join(","))
            }
            Self::Drain {
                id,
                deadline,
                downtime,
                ..
            } => {
                let node = id
                    .as_ref()
                    .map_or("the node".to_owned(), |id| format!("node {id}"));
                write!(
                    f,
                    "drain {node} and wait up to {deadline} s until its tasks run elsewhere{}",
                    if *downtime {
                        "; those that can run nowhere else stop"
                    } else {
                        ""
                    }
                )
            }
            Self::SwarmLeave { id, force } => {
                let how = if *force { " by force" } else { "" };
                write!(f, "leave the swarm{how}, if this is still node {id}")
            }
            Self::SwarmFence { id } => write!(
                f,
                "forget the old swarm by force, if this is still manager {id} and has no quorum"
            ),
            Self::SwarmForce { id, advertise, .. } => write!(
                f,
                "force a new cluster of this manager alone (node {id}, advertising {advertise}), if it has no quorum"
            ),
            Self::RotateTokens => f.write_str("make new join tokens"),
            Self::NodeRemove { id, alive, .. } => {
                let how = if *alive { ", by force" } else { "" };
                write!(f, "take node {id} out of the list of nodes{how}")
            }
            Self::Rebalance { services, deadline } => {
                let names = Some(services.join(", ")).filter(|names| !names.is_empty());
                let names = names.unwrap_or_else(|| "all uneven services".to_owned());
                write!(
                    f,
                    "place the tasks of {names} anew, each within {deadline} s"
                )
            }
            Self::Unlock { managers } if managers.is_empty() => {
                f.write_str("unlock the manager with the key that was given, if it is locked")
            }
            Self::Unlock { managers } => {
                write!(
                    f,
                    "unlock the manager with the key from {}",
                    managers.join(" or ")
                )
            }
            Self::Ingress { mtu } => write!(
                f,
                "make the network of published ports anew for packets of up to {mtu} bytes, if no service uses it"
            ),
            Self::SwarmUpdate {
                autolock,
                cert_expiry_days,
                task_history,
            } => {
                f.write_str("update the swarm")?;
                option(f, "autolock", autolock.as_ref())?;
                option(f, "certificate life in days", cert_expiry_days.as_ref())?;
                option(f, "task history", task_history.as_ref())
            }
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Login => f.write_str("the host lets us log in"),
            Self::Engine => f.write_str("the engine answers"),
            Self::Member { role, .. } => {
                let role = role_name(*role);
                write!(f, "the node is a ready {role}")
            }
            Self::Spared { .. } => f.write_str("the other managers are a majority without it"),
            Self::OutOfRaft { id, .. } => write!(f, "node {id} is out of raft"),
            Self::InRaft { id, .. } => write!(f, "node {id} is seen in raft still"),
            Self::Gone { id, .. } => write!(f, "the managers do not hear from node {id}"),
        }
    }
}

/// An availability, as Docker and the inventory call it.
pub(crate) fn availability_name(availability: Availability) -> &'static str {
    match availability {
        Availability::Active => "active",
        Availability::Pause => "pause",
        Availability::Drain => "drain",
    }
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Manager => "manager",
        Role::Worker => "worker",
        Role::None => "node without a role",
    }
}

fn option<T: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    value: Option<&T>,
) -> fmt::Result {
    match value {
        Some(value) => write!(f, ", {name} {value}"),
        None => Ok(()),
    }
}
