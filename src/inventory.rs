//! What the user wants: the checked model of an inventory.
//!
//! [`load`] goes three ways: the raw file with its spans, a check that finds all errors at once,
//! and this model, in which every setting is resolved for every host.

mod backup;
mod brought;
mod check;
mod daemon;
pub mod diagnostic;
pub mod edit;
pub(crate) mod export;
mod hook;
mod hosts;
mod names;
pub(crate) mod nearest;
mod nfs;
pub mod openstack;
mod power;
pub mod range;
mod raw;
pub(crate) mod read;
mod reference;
mod resolve;
pub(crate) mod schema;
pub mod selector;
pub(crate) mod source;
mod storage;
mod together;
pub(crate) mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

pub use diagnostic::{Diagnostic, Severity};
pub use export::{to_ansible, to_json};
pub use hook::{Hook, HookCommand, HookPlace, Moment};
pub use nfs::{Export, Mount};
pub use openstack::{OpenStack, Server};
pub use power::{Ipmi, Power, PowerCommand, Redfish, WakeOnLan};
pub use schema::schema;
pub use selector::{Selector, SelectorError};
pub use source::{LoadError, Source, load, parse, read};
pub use storage::{CONTAINERD_ROOT, DATA_ROOT, DirectLvm, DiskStorage, Filesystem, Lvm, Storage};
pub(crate) use storage::{is_unstable, lost_devicemapper, volume_of};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// The inventories that skep ships: file name and text.
pub const EXAMPLES: &[(&str, &str)] = &[
    ("lab.toml", include_str!("../inventories/lab.toml")),
    (
        "bare-metal.toml",
        include_str!("../inventories/bare-metal.toml"),
    ),
    ("minimal.toml", include_str!("../inventories/minimal.toml")),
    (
        "openstack.toml",
        include_str!("../inventories/openstack.toml"),
    ),
];

/// A checked inventory: names are unique, references exist, and every setting is resolved.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Inventory {
    /// The cluster's name; it names the directory of journals and caches.
    pub cluster: String,
    /// The file that this was read from; relative paths in it start from its directory.
    pub path: PathBuf,
    /// Settings of the swarm as a whole.
    pub swarm: Swarm,
    /// What it says of backups; `None` where it says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup: Option<crate::backup::Settings>,
    /// Settings of the local lab; used by the hosts whose provider is [`Provider::Lab`].
    pub lab: Lab,
    /// What holds for all servers of [`Provider::OpenStack`]; `None` where there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub openstack: Option<OpenStack>,
    /// The stacks and services that come up before all others after a shutdown, in this order.
    pub start_first: Vec<String>,
    /// The hosts, in the order of the file, ranges expanded.
    pub hosts: Vec<Host>,
}

/// What a host is in the swarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Keeps the swarm's state and votes.
    Manager,
    /// Runs tasks.
    Worker,
    /// Not in the swarm, such as a file server.
    None,
}

/// Whether a node takes tasks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Availability {
    /// It takes new tasks.
    #[default]
    Active,
    /// It keeps its tasks and takes no new ones.
    Pause,
    /// It takes none, and its tasks go elsewhere.
    Drain,
}

/// Where a host comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Provider {
    /// It exists already.
    #[default]
    Static,
    /// A container on this machine, made by skep.
    Lab,
    /// A server of an OpenStack cloud, made by skep.
    #[serde(rename = "openstack")]
    OpenStack,
}

/// One host with all its settings.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Host {
    /// The name, unique in the inventory.
    pub name: String,
    /// What to connect to; `None` where the provider knows it.
    pub address: Option<String>,
    /// What it is in the swarm.
    pub role: Role,
    /// The node's labels in the swarm. Only these keys are managed; others are left alone.
    pub labels: BTreeMap<String, String>,
    /// The node's availability; `None` leaves it as it is.
    pub availability: Option<Availability>,
    /// The groups that it is in.
    pub groups: BTreeSet<String>,
    /// Free variables for templates and hooks.
    pub vars: BTreeMap<String, toml::Value>,
    /// Whether the run may go on without it.
    pub optional: bool,
    /// Where it comes from.
    pub provider: Provider,
    /// How to log in.
    pub ssh: Ssh,
    /// Its Docker Engine.
    pub docker: Docker,
    /// Where its engine keeps its data; `None` leaves that alone.
    pub storage: Option<Storage>,
    /// The one device of its storage that this run may erase, as `--wipe` names it; never in a
    /// file.
    #[serde(skip)]
    pub wipe: Option<String>,
    /// The address that it tells other nodes.
    pub advertise: Advertise,
    /// The folders that it exports over NFS.
    pub exports: Vec<Export>,
    /// The folders of NFS servers that it mounts.
    pub mounts: Vec<Mount>,
    /// The domain of NFS's names of users and groups; `None` leaves it as it is.
    pub nfs_domain: Option<String>,
    /// The sizes of the disks that a virtual machine of the lab has beside its own, in bytes.
    pub disks: Vec<u64>,
    /// What is run before and after what is done to it, in the order of the file.
    pub hooks: Vec<Hook>,
    /// The server that it is, where its provider is [`Provider::OpenStack`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<Server>,
    /// How it is switched on and off from here; `None` where nobody can, or where the lab does it.
    pub power: Option<Power>,
}

/// How to log in to a host. What is `None` comes from `~/.ssh/config`, then from OpenSSH's defaults.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Ssh {
    /// The login name.
    pub user: Option<String>,
    /// The port.
    pub port: Option<u16>,
    /// Private key files; when given, only these are offered.
    pub identity: Vec<PathBuf>,
    /// The passphrase of the private keys.
    pub identity_passphrase: Option<SecretRef>,
    /// A password for password and keyboard-interactive authentication.
    pub password: Option<SecretRef>,
    /// Whether to use sudo on the host.
    #[serde(rename = "become")]
    pub become_root: bool,
    /// sudo's password; `None` means that sudo asks for none.
    pub become_password: Option<SecretRef>,
    /// A host to jump through: a name of the inventory, or `[user@]host[:port]`.
    pub jump: Option<String>,
    /// The file of known host keys in place of `~/.ssh/known_hosts`.
    pub known_hosts: Option<PathBuf>,
    /// What to do with a host key that is not known yet.
    pub host_key_check: HostKeyCheck,
    /// The OpenSSH client configuration to read; `None` is the user's own, an empty path is none.
    pub config: Option<PathBuf>,
    /// Seconds that connecting and logging in may take. Default 20.
    pub connect_timeout: u32,
}

/// What to do with the key of a host that is met for the first time. A changed or revoked key is
/// refused always.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostKeyCheck {
    /// Refuse it.
    #[default]
    Strict,
    /// Write it to the known-hosts file and go on, as OpenSSH's `StrictHostKeyChecking accept-new`.
    AcceptNew,
}

/// A reference to a secret; never the secret itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretRef {
    /// An environment variable of skep's.
    Env(String),
    /// A file; one trailing line feed is dropped.
    File(PathBuf),
    /// A command and its arguments; its standard output without one trailing line feed.
    Command(Vec<String>),
    /// Ask on the terminal, once per run.
    Prompt,
}

/// Where the Docker Engine comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DockerSource {
    /// The distribution's own package (`docker.io`).
    #[default]
    Distro,
    /// Docker's repository (`docker-ce`).
    DockerCe,
    /// Package files brought along.
    Offline,
}

/// The Docker Engine of a host.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Docker {
    /// Where it comes from.
    pub source: DockerSource,
    /// The version to install and hold, or its beginning (`20.10`); `None` takes what comes and
    /// never upgrades by itself.
    pub version: Option<String>,
    /// The folder of `.deb` files of [`DockerSource::Offline`].
    pub packages: Option<PathBuf>,
    /// The repository of [`DockerSource::DockerCe`] in place of `https://download.docker.com/linux`.
    pub repository: Option<String>,
    /// The file of the repository's signing key in place of the one that the repository offers.
    pub repository_key: Option<PathBuf>,
    /// The text of [`Docker::repository_key`], read when a command needs it.
    #[serde(skip)]
    pub repository_key_text: Option<String>,
    /// The files of [`Docker::packages`] and their SHA-256, read when a command needs them.
    #[serde(skip)]
    pub package_files: BTreeMap<String, String>,
    /// Keys that `daemon.json` must have; keys that are not named stay as they are.
    pub daemon: serde_json::Map<String, serde_json::Value>,
    /// Whether `tcp://` sockets without TLS are allowed, which gives root to the whole network.
    pub allow_insecure_tcp: bool,
    /// The largest packet of the network that overlay networks use, where a cloud told that it is
    /// less than Ethernet's.
    #[serde(skip)]
    pub overlay_mtu: Option<u32>,
}

/// The address that a node tells the others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Advertise {
    /// An address.
    pub address: Option<IpAddr>,
    /// A network interface whose address is taken.
    pub interface: Option<String>,
    /// The address or interface for the traffic of containers, where it differs.
    pub data_path: Option<String>,
}

/// Settings of the swarm as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Swarm {
    /// Networks that overlay networks get their addresses from; decided at init for ever.
    pub default_addr_pool: Vec<IpNet>,
    /// The prefix length of each overlay network; decided at init for ever. Docker's default is 24.
    pub subnet_size: Option<u8>,
    /// The UDP port of VXLAN; decided at init for ever. Docker's default is 4789.
    pub data_path_port: Option<u16>,
    /// Whether managers need an unlock key after a restart.
    pub autolock: Option<bool>,
    /// The life of node certificates in days. Docker's default is 90.
    pub cert_expiry_days: Option<u32>,
    /// How many old tasks are kept for each slot. Docker's default is 5.
    pub task_history: Option<u32>,
    /// Whether an even number of managers is accepted.
    pub allow_even_managers: bool,
}

/// What the hosts of a lab are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LabDriver {
    /// Containers with systemd, which share this machine's kernel.
    #[default]
    Container,
    /// Virtual machines with a kernel and disks of their own.
    Vm,
}

/// The local lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Lab {
    /// What its hosts are.
    pub driver: LabDriver,
    /// The Debian release of the hosts: `bookworm` or `trixie`.
    pub release: String,
    /// A mirror of Debian's packages in place of the machine's own.
    pub mirror: Option<String>,
    /// The network of the lab's hosts; `None` takes a free one.
    pub subnet: Option<IpNet>,
    /// Memory of each host in MiB; `None` is no limit.
    pub memory_mib: Option<u32>,
    /// Processors of each host, in hundredths; `None` is no limit.
    pub cpu_percent: Option<u32>,
}

impl Ssh {
    /// Seconds that connecting and logging in may take, where the inventory does not say.
    pub const CONNECT_TIMEOUT: u32 = 20;
}

impl Lab {
    /// The Debian release of the lab, where the inventory does not say.
    pub const RELEASE: &str = "bookworm";

    /// The interface of a virtual machine on the network of the lab. Its first one, `eth0`, is the
    /// way out and for logging in, and has the same address on every one of them.
    pub const VM_INTERFACE: &str = "eth1";
}

impl Inventory {
    /// The host of that name.
    pub fn host(&self, name: &str) -> Option<&Host> {
        self.hosts.iter().find(|host| host.name == name)
    }

    /// The hosts that should be managers, in the order of the file.
    pub fn managers(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().filter(|host| host.role == Role::Manager)
    }

    /// Makes every host one that a run goes on without when it does not answer.
    pub fn all_optional(&mut self) {
        for host in &mut self.hosts {
            host.optional = true;
        }
    }

    /// The hosts that should be in the swarm, in the order of the file.
    pub fn members(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().filter(|host| host.role != Role::None)
    }
}
