//! What is done in a cloud. What skep makes is called by its name, which is found again whatever ran
//! before; what it does not make, by its ID.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::openstack::Kind;
use crate::openstack::model::{Affinity, BootVolume};
use crate::plan::cloud::UserData;

/// Something that is done in a cloud. Everything that is made carries the cluster's mark, and is used
/// where it is there already.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CloudCall {
    /// Brings the public key that servers are given.
    Keypair {
        /// Its whole name.
        name: String,
        /// The key's one line.
        public_key: String,
    },
    /// Makes a server group.
    ServerGroup {
        /// Its whole name.
        name: String,
        /// How its servers run.
        policy: Affinity,
    },
    /// Makes a security group.
    SecurityGroup {
        /// Its whole name.
        name: String,
        /// What it is for.
        description: String,
    },
    /// Lets something in.
    Rule {
        /// The name of the security group.
        group: String,
        /// What it lets in.
        rule: RuleIn,
    },
    /// Makes a port.
    Port {
        /// Its name.
        name: String,
        /// The ID of its network.
        network: String,
        /// Its address; `None` takes one that is free.
        address: Option<IpAddr>,
        /// Its security groups.
        groups: Vec<GroupRef>,
    },
    /// Gives a port its security groups, in place of those that it has.
    PortGroups {
        /// The port's ID.
        id: String,
        /// Its name.
        name: String,
        /// The security groups.
        groups: Vec<GroupRef>,
    },
    /// Boots a server.
    Server(Box<ServerCall>),
    /// Waits until a server runs. One that this very run made and that the cloud failed to make is
    /// removed again, and made in another of its zones where there was no place for it.
    WaitServer {
        /// Its name.
        name: String,
        /// How long, in seconds.
        deadline: u32,
    },
    /// Makes a volume, and waits until it is free.
    Volume {
        /// Its name.
        name: String,
        /// Its size in GiB.
        gib: u32,
        /// Its type.
        kind: Option<String>,
    },
    /// Attaches a volume, and waits until the server has it.
    Attach {
        /// The server's name.
        server: String,
        /// The volume's name.
        volume: String,
    },
    /// Makes a volume larger.
    Extend {
        /// The volume's ID.
        id: String,
        /// Its name.
        name: String,
        /// Its new size in GiB.
        gib: u32,
    },
    /// Gets a floating IP for a host's port, or leads the one there that it has.
    FloatingIp {
        /// The host.
        host: String,
        /// The ID of the external network.
        network: String,
        /// The port's name.
        port: String,
    },
    /// Switches a server on.
    Start {
        /// Its ID.
        id: String,
    },
    /// Removes something for ever. Well if it is gone.
    Delete {
        /// What.
        kind: Kind,
        /// Its ID.
        id: String,
        /// Its name.
        name: String,
    },
    /// Waits until a server is gone, and lets go of its ports and volumes.
    WaitGone {
        /// Its ID.
        id: String,
        /// How long, in seconds.
        deadline: u32,
    },
}

/// A server to be booted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServerCall {
    /// Its name, that of the host.
    pub name: String,
    /// The ID of its flavor.
    pub flavor: String,
    /// The ID of its image.
    pub image: String,
    /// The names of its ports.
    pub ports: Vec<String>,
    /// The volume that it boots from.
    pub boot_volume: Option<BootVolume>,
    /// The name of its keypair.
    pub keypair: Option<String>,
    /// Its availability zone.
    pub zone: Option<String>,
    /// The zones where it is tried after that, when the cloud finds no place for it.
    pub other_zones: Vec<String>,
    /// The name of its server group.
    pub group: Option<String>,
    /// Its metadata.
    pub metadata: BTreeMap<String, String>,
    /// Whether it finds its metadata on a disk too.
    pub config_drive: bool,
    /// What its user-data is made of. The host's own key is made when it is booted.
    pub user_data: UserData,
}

/// What Nova says of a server that no machine of the zone can take, or that none took which could.
const NO_PLACE: [&str; 3] = [
    "No valid host",
    "Exceeded maximum number of retries",
    "Exceeded max scheduling attempts",
];

impl ServerCall {
    /// The same server in the next of its zones, where it failed for want of a place; `None` where it
    /// failed for another reason, or no zone is left. Each zone is tried once.
    pub fn elsewhere(&self, why: &str) -> Option<Self> {
        if !NO_PLACE.iter().any(|words| why.contains(words)) {
            return None;
        }
        let (next, others) = self.other_zones.split_first()?;
        Some(Self {
            zone: Some(next.clone()),
            other_zones: others.to_vec(),
            ..self.clone()
        })
    }
}

/// A security group: one of the cluster's by its name, or another by its ID.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GroupRef {
    /// One that skep makes.
    Own(String),
    /// One that was there.
    Given(String),
}

/// What a security group lets in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RuleIn {
    /// The protocol by name.
    pub protocol: String,
    /// The first and the last port; `None` where the protocol has none.
    pub ports: Option<(u16, u16)>,
    /// From where.
    pub from: From,
    /// What for.
    pub what: String,
}

/// From where something is let in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum From {
    /// The ports of a security group of the cluster, by its name.
    Own(String),
    /// Addresses.
    Net(IpNet),
}

impl CloudCall {
    /// Blanks the name of its host, for what several hosts have in common.
    pub fn hide(&mut self, host: &str) {
        const HOST: &str = "HOST";
        let names: Vec<&mut String> = match self {
            Self::Keypair { .. }
            | Self::ServerGroup { .. }
            | Self::SecurityGroup { .. }
            | Self::Rule { .. } => Vec::new(),
            Self::Port { name, .. } | Self::WaitServer { name, .. } | Self::Volume { name, .. } => {
                vec![name]
            }
            Self::PortGroups { id, name, .. }
            | Self::Extend { id, name, .. }
            | Self::Delete { id, name, .. } => {
                id.clear();
                vec![name]
            }
            Self::Server(server) => {
                server.user_data.vars.clear();
                std::iter::once(&mut server.name)
                    .chain(&mut server.ports)
                    .collect()
            }
            Self::Attach { server, volume } => vec![server, volume],
            Self::FloatingIp { host, port, .. } => vec![host, port],
            Self::Start { id } | Self::WaitGone { id, .. } => {
                id.clear();
                Vec::new()
            }
        };
        for name in names {
            if let Some(rest) = name.strip_prefix(host) {
                *name = format!("{HOST}{rest}");
            }
        }
    }
}

impl fmt::Display for From {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(name) => write!(f, "`{name}`"),
            Self::Net(net) => net.fmt(f),
        }
    }
}

/// `2377/tcp from 10.0.0.0/24`.
impl fmt::Display for RuleIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ports {
            Some((first, last)) if first == last => write!(f, "{first}/")?,
            Some((first, last)) => write!(f, "{first}-{last}/")?,
            None => {}
        }
        write!(f, "{} from {}", self.protocol, self.from)
    }
}

impl fmt::Display for CloudCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keypair { name, .. } => write!(f, "bring the keypair `{name}`"),
            Self::ServerGroup { name, .. } => write!(f, "make the server group `{name}`"),
            Self::SecurityGroup { name, .. } => write!(f, "make the security group `{name}`"),
            Self::Rule { group, rule } => write!(f, "let {rule} into `{group}`"),
            Self::Port {
                name,
                address: None,
                ..
            } => write!(f, "make the port `{name}`"),
            Self::Port {
                name,
                address: Some(address),
                ..
            } => {
                write!(f, "make the port `{name}` with {address}")
            }
            Self::PortGroups { name, .. } => {
                write!(f, "give the port `{name}` its security groups")
            }
            Self::Server(server) => write!(f, "boot the server `{}`", server.name),
            Self::WaitServer { name, deadline } => {
                write!(f, "wait up to {deadline} s until the server `{name}` runs")
            }
            Self::Volume { name, gib, .. } => write!(f, "make the volume `{name}` of {gib} GiB"),
            Self::Attach { server, volume } => {
                write!(f, "attach the volume `{volume}` to `{server}`")
            }
            Self::Extend { name, gib, .. } => {
                write!(f, "make the volume `{name}` larger, to {gib} GiB")
            }
            Self::FloatingIp { host, port, .. } => {
                write!(f, "lead a floating IP for `{host}` to the port `{port}`")
            }
            Self::Start { .. } => f.write_str("switch the server on"),
            Self::Delete { kind, name, .. } => write!(f, "remove the {kind} `{name}`"),
            Self::WaitGone { deadline, .. } => {
                write!(f, "wait up to {deadline} s until the server is gone")
            }
        }
    }
}
