//! What is asked of a cloud. The mark of the cluster is added by the client to all of it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::FixedIp;

/// A server to be booted. Its user-data is given beside it, because that may hold secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewServer {
    /// Its name, which becomes the guest's host name.
    pub name: String,
    /// The ID of its flavor.
    pub flavor: String,
    /// The ID of the image to boot from, or to make `boot_volume` of. Not read with `boot_from`.
    pub image: String,
    /// The ID of a volume to boot from, made of an image before; it stays when the server goes.
    pub boot_from: Option<String>,
    /// The IDs of its ports, in the order of the guest's cards.
    pub ports: Vec<String>,
    /// The disk to boot from; `None` boots from the flavor's own disk.
    pub boot_volume: Option<BootVolume>,
    /// The name of its keypair.
    pub keypair: Option<String>,
    /// Its availability zone; `None` lets the cloud choose.
    pub zone: Option<String>,
    /// The ID of the server group that it joins.
    pub group: Option<String>,
    /// More metadata.
    pub metadata: BTreeMap<String, String>,
    /// More tags.
    pub tags: Vec<String>,
    /// Whether the guest finds metadata and user-data on a small disk too, for networks without a
    /// metadata service.
    pub config_drive: bool,
}

/// A disk to boot from, made of the server's image by the cloud. It carries no mark: one that is to
/// stay when the server goes is better made by itself, and named in [`NewServer::boot_from`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootVolume {
    /// Its size in GiB.
    pub size: u64,
    /// Its type; `None` is the cloud's default. Needs compute API 2.67.
    pub kind: Option<String>,
    /// Whether it goes with the server when that is deleted.
    pub delete_with_server: bool,
}

/// A port to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewPort {
    /// Its name.
    pub name: String,
    /// The ID of its network.
    pub network: String,
    /// Its addresses; empty lets the cloud choose one.
    pub fixed_ips: Vec<FixedIp>,
    /// The IDs of its security groups; `None` is the project's default group.
    pub security_groups: Option<Vec<String>>,
    /// Other addresses that it may send from, such as one that moves between load balancers.
    pub allowed_addresses: Vec<IpNet>,
    /// Whether security groups hold for it; `None` is as the network says.
    pub port_security: Option<bool>,
}

/// What to change of a port; `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortChange {
    /// The IDs of its security groups.
    pub security_groups: Option<Vec<String>>,
    /// Other addresses that it may send from.
    pub allowed_addresses: Option<Vec<IpNet>>,
}

/// A floating IP to be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewFloatingIp {
    /// The ID of the external network that it comes from.
    pub network: String,
    /// The ID of the port that it leads to; `None` leads nowhere as yet.
    pub port: Option<String>,
    /// What it is for; found again by it, as floating IPs have no names.
    pub description: String,
}

/// A volume to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewVolume {
    /// Its name.
    pub name: String,
    /// Its size in GiB.
    pub size: u64,
    /// Its type; `None` is the cloud's default.
    pub kind: Option<String>,
    /// Its availability zone; `None` lets the cloud choose.
    pub zone: Option<String>,
    /// The ID of the image that it is made of; `None` is empty.
    pub image: Option<String>,
    /// More metadata.
    pub metadata: BTreeMap<String, String>,
}

/// A security group to be made. The cloud gives it two rules of its own, which let everything out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewSecurityGroup {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
}

/// A rule to be added to a security group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewRule {
    /// Which way.
    pub direction: Direction,
    /// IPv4 or IPv6.
    pub ether: Ether,
    /// The protocol by name, such as `tcp`; `None` is any.
    pub protocol: Option<String>,
    /// The first and the last port; `None` is any.
    pub ports: Option<(u16, u16)>,
    /// Whom it lets in, or out to.
    pub peer: Peer,
    /// What it is for.
    pub description: String,
}

/// Which way a rule's packets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// To the port.
    Ingress,
    /// From the port.
    Egress,
}

/// Which version of IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ether {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Whom a rule lets in, or out to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Peer {
    /// Anybody.
    Any,
    /// A range of addresses.
    Cidr(IpNet),
    /// The ports of a security group, by its ID.
    Group(String),
}

/// A public key to be given to servers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewKeypair {
    /// Its whole name: see [`super::Cluster::name_of`].
    pub name: String,
    /// The public key, as in `authorized_keys`.
    pub public_key: String,
}

/// A server group to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewServerGroup {
    /// Its whole name: see [`super::Cluster::name_of`].
    pub name: String,
    /// How its servers are to run.
    pub policy: Affinity,
}

/// How the servers of a group are to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Affinity {
    /// Each on a machine of its own, or not at all.
    AntiAffinity,
    /// Each on a machine of its own where that can be. Needs compute API 2.15.
    SoftAntiAffinity,
    /// All on one machine, or not at all.
    Affinity,
    /// All on one machine where that can be. Needs compute API 2.15.
    SoftAffinity,
}

impl Affinity {
    /// The cloud's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::AntiAffinity => "anti-affinity",
            Self::SoftAntiAffinity => "soft-anti-affinity",
            Self::Affinity => "affinity",
            Self::SoftAffinity => "soft-affinity",
        }
    }
}

/// An image to be uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewImage {
    /// Its name.
    pub name: String,
    /// The file on this machine.
    pub file: PathBuf,
    /// The format of the file.
    pub format: ImageFormat,
    /// The smallest disk that it boots from, in GiB; 0 is any.
    pub min_disk: u64,
    /// The smallest memory that it boots with, in MiB; 0 is any.
    pub min_ram: u64,
    /// Its properties, such as `os_distro`.
    pub properties: BTreeMap<String, String>,
}

/// The format of an image's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageFormat {
    /// The disk byte by byte.
    Raw,
    /// As `qemu-img` makes it.
    Qcow2,
    /// As `VMware` makes it.
    Vmdk,
}

impl ImageFormat {
    /// The cloud's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
            Self::Vmdk => "vmdk",
        }
    }
}

/// What to do to a server's power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PowerAct {
    /// Switch it on.
    Start,
    /// Switch it off: the guest is told first, and loses its power when it does not stop within the
    /// cloud's own time (60 s unless the cloud or the image says otherwise).
    Stop,
    /// The guest reboots itself; the cloud resets it when it does not.
    Reboot,
    /// Its power is taken and given again.
    Reset,
}
