//! The engine's own JSON, as far as it is read, and what it means to us.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::client::rotate::digest;
use crate::facts::{self, Authority, Engine, LocalSwarm, ManagerStatus, SwarmSettings};
use crate::inventory::{Availability, Role};
use crate::known::Known;

/// Something that has a name: a service, a secret or a config.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Named {
    pub(super) spec: NamedSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct NamedSpec {
    pub(super) name: String,
}

/// `/info`, as far as it is read. The engine leaves out or nulls what it does not have.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Info {
    #[serde(rename = "ID", deserialize_with = "null")]
    id: String,
    #[serde(deserialize_with = "null")]
    server_version: String,
    #[serde(deserialize_with = "null")]
    driver: String,
    #[serde(deserialize_with = "null")]
    docker_root_dir: String,
    containers: u64,
    containers_running: u64,
    images: u64,
    live_restore_enabled: bool,
    #[serde(deserialize_with = "null")]
    warnings: Vec<String>,
    #[serde(deserialize_with = "null")]
    swarm: SwarmInfo,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct SwarmInfo {
    #[serde(rename = "NodeID")]
    node_id: String,
    node_addr: String,
    local_node_state: String,
    control_available: bool,
    error: String,
    #[serde(deserialize_with = "null")]
    remote_managers: Vec<Peer>,
    managers: u32,
    nodes: u32,
    cluster: Option<Cluster>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Peer {
    #[serde(rename = "NodeID")]
    node_id: String,
    addr: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Cluster {
    #[serde(rename = "ID")]
    id: String,
    spec: ClusterSpec,
    #[serde(deserialize_with = "null")]
    default_addr_pool: Vec<ipnet::IpNet>,
    subnet_size: u8,
    data_path_port: u16,
    root_rotation_in_progress: bool,
    #[serde(rename = "TLSInfo")]
    tls_info: TlsInfo,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct TlsInfo {
    trust_root: String,
    cert_issuer_public_key: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ClusterSpec {
    orchestration: Orchestration,
    #[serde(rename = "CAConfig")]
    ca_config: CaConfig,
    encryption_config: EncryptionConfig,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Orchestration {
    task_history_retention_limit: u32,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct CaConfig {
    node_cert_expiry: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct EncryptionConfig {
    auto_lock_managers: bool,
}

/// A row of `/nodes`, as far as it is read.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Node {
    #[serde(rename = "ID")]
    id: String,
    spec: NodeSpec,
    description: Description,
    status: NodeStatus,
    manager_status: Option<RaftStatus>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct NodeSpec {
    #[serde(deserialize_with = "null")]
    labels: BTreeMap<String, String>,
    role: String,
    availability: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Description {
    hostname: String,
    engine: EngineDescription,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct EngineDescription {
    engine_version: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct NodeStatus {
    state: String,
    addr: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RaftStatus {
    leader: bool,
    reachability: String,
    addr: String,
}

/// The engine's error body.
#[derive(Deserialize)]
struct Message {
    message: String,
}

fn null<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads a reply: JSON, perhaps with the HTTP status in a last line of its own. The error is text
/// for people.
pub fn reply<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let text = text.trim();
    let (body, status) = match text.rsplit_once('\n') {
        Some((body, last)) if last.len() == 3 => (body, last.parse::<u16>().unwrap_or(200)),
        _ => (text, 200),
    };
    if status >= 300 {
        let message = serde_json::from_str::<Message>(body)
            .map_or_else(|_| format!("HTTP status {status}"), |body| body.message);
        return Err(format!("the engine answered: {message}"));
    }
    serde_json::from_str(body)
        .map_err(|error| format!("the engine's answer could not be read: {error}"))
}

impl Info {
    /// The engine.
    pub fn engine(&self) -> Engine {
        Engine {
            version: Some(self.server_version.clone()),
            id: self.id.clone(),
            storage_driver: self.driver.clone(),
            data_root: self.docker_root_dir.clone(),
            containers: self.containers,
            running: self.containers_running,
            images: self.images,
            live_restore: self.live_restore_enabled,
            warnings: self.warnings.clone(),
        }
    }

    /// Its place in a swarm; `Absent` when it is in none.
    pub fn local_swarm(&self) -> Known<LocalSwarm> {
        let swarm = &self.swarm;
        match swarm.local_node_state.as_str() {
            "inactive" => return Known::Absent,
            "" => return Known::Unknown("the engine does not tell its swarm state".to_owned()),
            _ => {}
        }
        // Without quorum the engine sends an empty object instead of the cluster.
        let cluster = swarm.cluster.as_ref().filter(|c| !c.id.is_empty());
        Known::Value(LocalSwarm {
            node_id: swarm.node_id.clone(),
            node_addr: swarm.node_addr.clone(),
            state: swarm.local_node_state.clone(),
            control: swarm.control_available,
            error: swarm.error.clone(),
            remote_managers: swarm
                .remote_managers
                .iter()
                .map(|peer| (peer.node_id.clone(), peer.addr.clone()))
                .collect(),
            managers: swarm.managers,
            nodes: swarm.nodes,
            cluster_id: cluster.map(|cluster| cluster.id.clone()),
            settings: cluster.map(Cluster::settings),
        })
    }

    /// The swarm's certificate authority; `Absent` where it does not manage one.
    pub fn authority(&self) -> Known<Authority> {
        let cluster = self.swarm.cluster.as_ref().filter(|c| !c.id.is_empty());
        cluster.map_or(Known::Absent, |cluster| Known::Value(cluster.authority()))
    }

    /// Whether the engine can be asked for `/nodes`; else what is known of them without asking.
    pub fn nodes_to_ask(&self) -> Result<(), Known<Vec<facts::Node>>> {
        let swarm = &self.swarm;
        let reason = |otherwise: &str| {
            Known::Unknown(if swarm.error.is_empty() {
                otherwise.to_owned()
            } else {
                swarm.error.clone()
            })
        };
        match (swarm.local_node_state.as_str(), swarm.control_available) {
            ("inactive", _) | ("active", false) => Err(Known::Absent),
            ("active", true) if swarm.error.is_empty() && swarm.managers > 0 => Ok(()),
            ("active", true) => Err(reason("the managers have no quorum")),
            ("locked", _) => Err(reason("the manager is locked")),
            (state, _) => Err(reason(&format!("the node's state is `{state}`"))),
        }
    }
}

impl Cluster {
    fn authority(&self) -> Authority {
        Authority {
            issuer: digest(&self.tls_info.cert_issuer_public_key),
            root: digest(&self.tls_info.trust_root),
            rotating: self.root_rotation_in_progress,
        }
    }

    fn settings(&self) -> SwarmSettings {
        SwarmSettings {
            default_addr_pool: self.default_addr_pool.clone(),
            subnet_size: self.subnet_size,
            data_path_port: self.data_path_port,
            autolock: self.spec.encryption_config.auto_lock_managers,
            // The API counts in nanoseconds.
            cert_expiry_seconds: self.spec.ca_config.node_cert_expiry / 1_000_000_000,
            task_history: self.spec.orchestration.task_history_retention_limit,
        }
    }
}

/// The nodes; unknown as a whole where one of them has a role or an availability that we do not
/// know.
pub fn nodes(nodes: Vec<Node>) -> Known<Vec<facts::Node>> {
    let mut read = Vec::with_capacity(nodes.len());
    for node in nodes {
        let role = match node.spec.role.as_str() {
            "manager" => Role::Manager,
            "worker" => Role::Worker,
            other => return Known::Unknown(format!("a node has the unknown role `{other}`")),
        };
        let availability = match node.spec.availability.as_str() {
            "active" => Availability::Active,
            "pause" => Availability::Pause,
            "drain" => Availability::Drain,
            other => {
                return Known::Unknown(format!("a node has the unknown availability `{other}`"));
            }
        };
        if node.id.is_empty() {
            return Known::Unknown("a node has no ID".to_owned());
        }
        read.push(facts::Node {
            id: node.id,
            hostname: node.description.hostname,
            role,
            availability,
            state: node.status.state,
            address: node.status.addr,
            engine: node.description.engine.engine_version,
            labels: node.spec.labels,
            manager: node.manager_status.map(|raft| ManagerStatus {
                leader: raft.leader,
                reachable: raft.reachability == "reachable",
                address: raft.addr,
            }),
        });
    }
    Known::Value(read)
}

/// `/version`, as far as it is read.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Version {
    pub(super) version: String,
}

/// `/swarm/unlockkey`. No `Debug`, for it is a secret.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
pub(super) struct UnlockKey {
    pub(super) unlock_key: String,
}
