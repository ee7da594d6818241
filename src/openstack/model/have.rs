//! What a cloud has.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Affinity, Cluster, Direction, Ether, Peer};

/// A virtual machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// Its ID.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it does.
    pub status: ServerStatus,
    /// What is being done to it, such as `scheduling` or `deleting`; `None` when nothing is.
    pub task: Option<String>,
    /// Why it is in [`ServerStatus::Error`], in the cloud's words.
    pub fault: Option<ServerFault>,
    /// Its addresses, fixed and floating.
    pub addresses: Vec<ServerAddress>,
    /// The name of its flavor, as it was when the server was made.
    pub flavor: String,
    /// The ID of the image that it booted from; `None` when it booted from a volume.
    pub image: Option<String>,
    /// Its availability zone; `None` until it has one.
    pub zone: Option<String>,
    /// The name of its keypair.
    pub keypair: Option<String>,
    /// Its metadata.
    pub metadata: BTreeMap<String, String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its volumes, the one that it boots from too.
    pub volumes: Vec<AttachedVolume>,
    /// When it was made.
    pub created: Option<jiff::Timestamp>,
}

/// A volume as its server tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachedVolume {
    /// The volume's ID.
    pub volume: String,
    /// Whether it goes with the server when that is deleted.
    pub delete_with_server: bool,
}

/// One address of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerAddress {
    /// The name of the network.
    pub network: String,
    /// The address.
    pub address: IpAddr,
    /// The card's own address.
    pub mac: Option<String>,
    /// Whether it is a floating IP.
    pub floating: bool,
}

/// Why a server is in error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerFault {
    /// A number like those of HTTP.
    pub code: i64,
    /// What the cloud says.
    pub message: String,
}

/// What a server does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServerStatus {
    /// It is being made.
    Building,
    /// It runs.
    Active,
    /// It is switched off.
    Stopped,
    /// It reboots.
    Rebooting,
    /// The cloud failed to make it, or failed later: see its fault.
    Error,
    /// Anything else, in the cloud's word: `PAUSED`, `SHELVED`, `VERIFY_RESIZE`, ...
    Other(String),
}

/// A server's network card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Its ID.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The ID of its network.
    pub network: String,
    /// Its addresses.
    pub fixed_ips: Vec<FixedIp>,
    /// The card's own address.
    pub mac: String,
    /// The ID of the server that has it; `None` while none does.
    pub device: Option<String>,
    /// What has it, such as `compute:nova` or `network:dhcp`; empty while nothing does.
    pub owner: String,
    /// The IDs of its security groups.
    pub security_groups: Vec<String>,
    /// Other addresses that it may send from.
    pub allowed_addresses: Vec<IpNet>,
    /// Whether security groups hold for it.
    pub port_security: bool,
    /// Whether it carries packets: `ACTIVE`, `DOWN`, `BUILD`, `N/A`.
    pub status: String,
    /// Its tags.
    pub tags: Vec<String>,
}

/// An address of a port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FixedIp {
    /// The ID of the subnet; `None` in a request lets the cloud choose.
    pub subnet: Option<String>,
    /// The address; `None` in a request lets the cloud choose.
    pub address: Option<IpAddr>,
}

/// A public address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FloatingIp {
    /// Its ID.
    pub id: String,
    /// The address.
    pub address: IpAddr,
    /// The ID of the network that it comes from.
    pub network: String,
    /// The ID of the port that it leads to.
    pub port: Option<String>,
    /// The address of that port.
    pub fixed: Option<IpAddr>,
    /// `ACTIVE`, `DOWN` or `ERROR`.
    pub status: String,
    /// What it is for. Floating IPs have no names: skep puts the host's name here.
    pub description: String,
    /// Its tags.
    pub tags: Vec<String>,
}

/// A disk of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its ID. A guest sees the first 20 characters as the disk's serial number (virtio).
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its size in GiB.
    pub size: u64,
    /// What it does.
    pub status: VolumeStatus,
    /// Its type, such as `ssd`.
    pub kind: Option<String>,
    /// Its availability zone.
    pub zone: Option<String>,
    /// The servers that have it.
    pub attachments: Vec<Attachment>,
    /// Its metadata.
    pub metadata: BTreeMap<String, String>,
    /// Whether a server can boot from it.
    pub bootable: bool,
}

/// A volume at a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The ID of the server.
    pub server: String,
    /// Where the cloud thinks that the guest sees it, such as `/dev/vdb`. A guest may see it
    /// elsewhere: take the serial number.
    pub device: Option<String>,
}

/// What a volume does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VolumeStatus {
    /// It is being made, or filled with an image (`creating`, `downloading`).
    Creating,
    /// It is free.
    Available,
    /// It is on its way to a server (`attaching`, `reserved`).
    Attaching,
    /// A server has it.
    InUse,
    /// It is on its way from a server.
    Detaching,
    /// It is being made larger.
    Extending,
    /// It is being removed.
    Deleting,
    /// The cloud failed: `error`, `error_deleting`, `error_extending`, ...
    Error(String),
    /// Anything else, in the cloud's word.
    Other(String),
}

/// A set of rules of the firewall around ports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityGroup {
    /// Its ID.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Its rules. A new group has two of the cloud's own, which let everything out.
    pub rules: Vec<SecurityRule>,
    /// Its tags.
    pub tags: Vec<String>,
}

/// One rule: what it lets through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityRule {
    /// Its ID.
    pub id: String,
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

/// A public key that servers get when they boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keypair {
    /// Its name, which is its ID too.
    pub name: String,
    /// The public key, as in `authorized_keys`.
    pub public_key: String,
    /// Its fingerprint (MD5).
    pub fingerprint: String,
}

/// Servers that are to run apart, or together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerGroup {
    /// Its ID.
    pub id: String,
    /// Its name.
    pub name: String,
    /// How; `None` for a way that skep does not know.
    pub policy: Option<Affinity>,
    /// The IDs of its servers.
    pub members: Vec<String>,
}

/// What servers boot from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Its ID.
    pub id: String,
    /// Its name; images may share one.
    pub name: String,
    /// What it does.
    pub status: ImageStatus,
    /// The smallest disk that it boots from, in GiB; 0 is any.
    pub min_disk: u64,
    /// The smallest memory that it boots with, in MiB; 0 is any.
    pub min_ram: u64,
    /// Its size in bytes; `None` until it is filled.
    pub size: Option<u64>,
    /// How large the disk is that it becomes, in bytes; `None` where the cloud does not tell.
    pub virtual_size: Option<u64>,
    /// Its format, such as `qcow2`.
    pub disk_format: Option<String>,
    /// Its properties, such as `os_distro` and `os_version`.
    pub properties: BTreeMap<String, String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// When it was made.
    pub created: Option<jiff::Timestamp>,
}

impl Image {
    /// Whether it carries the mark of this cluster.
    pub fn is_of(&self, cluster: &str) -> bool {
        let mark = self.properties.get(Cluster::KEY);
        mark.is_some_and(|name| name == cluster)
    }
}

/// What an image does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageStatus {
    /// It has no data yet (`queued`).
    Queued,
    /// Its data comes in (`saving`, `importing`, `uploading`).
    Saving,
    /// It can be used.
    Active,
    /// It cannot be used: `killed`, `deleted`, `pending_delete`, `deactivated`, ...
    Other(String),
}

/// What a server can have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flavor {
    /// Its ID.
    pub id: String,
    /// Its name.
    pub name: String,
    /// How many virtual processors.
    pub vcpus: u64,
    /// Memory in MiB.
    pub ram: u64,
    /// Disk in GiB; 0 where a volume or the image says how large.
    pub disk: u64,
    /// A second disk in GiB that goes with the server.
    pub ephemeral: u64,
}

/// A network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its ID.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The largest packet in bytes; `None` where the cloud does not tell.
    pub mtu: Option<u32>,
    /// Whether floating IPs come from it.
    pub external: bool,
    /// Whether security groups hold for its ports unless the port says otherwise.
    pub port_security: bool,
    /// The IDs of its subnets.
    pub subnets: Vec<String>,
}

/// A range of addresses of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// Its ID.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The ID of its network.
    pub network: String,
    /// The range.
    pub cidr: IpNet,
    /// The way out; `None` has none.
    pub gateway: Option<IpAddr>,
    /// Whether the cloud gives addresses by DHCP.
    pub dhcp: bool,
}

/// What joins networks, and leads floating IPs to them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Router {
    /// Its ID.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The ID of the network that it leads out to.
    pub external_network: Option<String>,
}

/// A part of the cloud that fails alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Zone {
    /// Its name.
    pub name: String,
    /// What can be put there.
    pub of: ZoneOf,
    /// Whether it takes anything new.
    pub available: bool,
}

/// What an availability zone is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ZoneOf {
    /// Servers.
    Servers,
    /// Volumes.
    Volumes,
}

/// How much of each kind the project may have, and has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Servers.
    pub servers: Allowance,
    /// Virtual processors.
    pub vcpus: Allowance,
    /// Memory in MiB.
    pub ram: Allowance,
    /// Keypairs of this user. The cloud does not tell how many there are: `used` is 0.
    pub keypairs: Allowance,
    /// Server groups.
    pub server_groups: Allowance,
    /// Servers in one server group: `used` is 0.
    pub server_group_members: Allowance,
    /// Ports.
    pub ports: Allowance,
    /// Floating IPs.
    pub floating_ips: Allowance,
    /// Security groups.
    pub security_groups: Allowance,
    /// Rules of all security groups together.
    pub security_rules: Allowance,
    /// Volumes.
    pub volumes: Allowance,
    /// The sizes of all volumes and snapshots together, in GiB.
    pub gigabytes: Allowance,
    /// The size of one volume, in GiB: `used` is 0.
    pub gigabytes_of_one: Allowance,
}

/// How much there may be of something, and is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowance {
    /// How much there may be; `None` is any, or the cloud does not tell.
    pub limit: Option<u64>,
    /// How much there is, with what is reserved.
    pub used: u64,
}

impl Allowance {
    /// How much more there may be; `None` is any.
    pub fn left(&self) -> Option<u64> {
        Some(self.limit?.saturating_sub(self.used))
    }
}
