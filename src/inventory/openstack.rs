//! Servers that skep makes on an OpenStack cloud: the settings, resolved and checked.

mod check;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

pub(super) use check::{apply, elsewhere, server};

/// What holds for all servers of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct OpenStack {
    /// The cloud's name in `clouds.yaml`; `None` is that of the environment (`OS_CLOUD`, else `OS_*`).
    pub cloud: Option<String>,
    /// The region, in place of the cloud's own.
    pub region: Option<String>,
    /// A key pair of the cloud that exists already; `None` makes one from [`OpenStack::public_key`].
    pub keypair: Option<String>,
    /// The file of the public key that the login user of every server is given.
    pub public_key: Option<PathBuf>,
    /// The key's one line, read when a command needs it.
    #[serde(skip)]
    pub public_key_text: Option<String>,
    /// From where SSH to the servers is let in.
    pub ssh_from: Vec<Ipv4Net>,
    /// Whether the members let each other's ESP in, which encrypted overlay networks need.
    pub encrypted_overlay: bool,
    /// How long it may take from a server's start to its first login, in seconds.
    pub login_timeout: u32,
}

impl OpenStack {
    /// The default of [`OpenStack::login_timeout`]. Images boot in 20 to 60 s, and in several minutes
    /// where the cloud emulates the processor.
    pub const LOGIN_TIMEOUT: u32 = 600;
}

/// A server, as the inventory wants it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Server {
    /// What it is made from.
    pub image: Image,
    /// The name or ID of its flavor.
    pub flavor: String,
    /// The names or IDs of its networks. The first is that of the swarm.
    pub networks: Vec<String>,
    /// Its address on the first network; `None` takes what the cloud gives, once and for ever.
    pub address: Option<Ipv4Addr>,
    /// Security groups beside the cluster's own: names or IDs.
    pub security_groups: Vec<String>,
    /// The external network that its floating IP is from; `None` gives it none.
    pub floating_from: Option<String>,
    /// The availability zones over which servers of its role are spread; empty leaves it to the cloud.
    pub zones: Vec<String>,
    /// How servers of its role are kept on different machines of the cloud.
    pub anti_affinity: AntiAffinity,
    /// The volume that it boots from; `None` boots from the flavor's own disk.
    pub boot_volume: Option<BootVolume>,
    /// More volumes, which stay when the server goes.
    pub volumes: Vec<Volume>,
    /// Metadata of its own; skep's own keys are beside them.
    pub metadata: BTreeMap<String, String>,
    /// The template of its user-data, in place of skep's own.
    pub user_data: Option<PathBuf>,
    /// The text of [`Server::user_data`], read when a command needs it.
    #[serde(skip)]
    pub user_data_text: Option<String>,
    /// Whether it gets its metadata from a disk too, for networks without a metadata service.
    pub config_drive: bool,
}

/// What a server is made from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Image {
    /// The image of this name or ID.
    Named(String),
    /// The newest image that has all of these properties.
    With(BTreeMap<String, String>),
}

/// How servers are kept on different machines of the cloud.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AntiAffinity {
    /// Wherever the cloud puts them.
    #[default]
    None,
    /// On different machines, while there are any.
    Soft,
    /// On different machines, or not at all.
    Hard,
}

/// The volume that a server boots from. It goes with the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct BootVolume {
    /// Its size in GiB.
    pub gib: u32,
    /// Its type; `None` is the cloud's own choice.
    pub kind: Option<String>,
}

/// A volume beside the one that a server boots from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Volume {
    /// Its name, unique on the server.
    pub name: String,
    /// Its size in GiB.
    pub gib: u32,
    /// Its type; `None` is the cloud's own choice.
    pub kind: Option<String>,
}

impl AntiAffinity {
    /// The policy of a server group, as Nova calls it.
    pub fn policy(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Soft => Some("soft-anti-affinity"),
            Self::Hard => Some("anti-affinity"),
        }
    }
}

/// Who gets a floating IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Floating {
    None,
    Managers,
    Workers,
    All,
}
