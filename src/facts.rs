//! What hosts say of themselves: which questions there are, and the answers.
//!
//! All questions for one host go to it as one script in one round trip; the answers come back
//! framed, each with its own status, and pure parsers read them.

mod certificate;
mod frame;
mod parse;
mod script;
mod storage;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::inventory::{Availability, Role};
use crate::known::Known;

pub use parse::parse;
pub use script::{DEADLINE, limited, script};
pub use storage::{
    BlockDevice, Directory, LogicalVolume, Lvm, MountOf, PhysicalVolume, Signature, VolumeGroup,
};

/// One question for a host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Probe {
    /// The operating system and machine: [`HostFacts::os`].
    Os,
    /// Host name, machine ID, boot ID: [`HostFacts::identity`].
    Identity,
    /// The clock: [`HostFacts::clock`].
    Clock,
    /// Interfaces, addresses and routes: [`HostFacts::network`].
    Network,
    /// Free space: [`HostFacts::disks`].
    Disks,
    /// Whether a step of an earlier, lost run still works on the host: [`HostFacts::busy`].
    Busy,
    /// A package, by name: [`HostFacts::packages`].
    Package(String),
    /// A file, by path: [`HostFacts::files`].
    File(String),
    /// A systemd unit, by name: [`HostFacts::units`].
    Unit(String),
    /// A kernel setting, by dotted name: [`HostFacts::sysctls`].
    Sysctl(String),
    /// A kernel module, by name: [`HostFacts::modules`].
    Module(String),
    /// The files of APT's source list: [`HostFacts::apt_sources`].
    AptSources,
    /// A disk or partition, by path: [`HostFacts::devices`].
    BlockDevice(String),
    /// LVM's volumes: [`HostFacts::lvm`].
    Lvm,
    /// A directory, by path, and the file system that it is in: [`HostFacts::directories`].
    Directory(String),
    /// The drop-ins of a systemd unit, by its name: [`HostFacts::drop_ins`].
    DropIns(String),
    /// The version that the host's package sources would install, and all that they offer, by the
    /// package's name: [`HostFacts::candidates`], [`HostFacts::offered`].
    Candidate(String),
    /// The Docker Engine and its place in a swarm: [`HostFacts::engine`],
    /// [`HostFacts::engine_flags`], [`HostFacts::swarm`], [`HostFacts::nodes`], [`HostFacts::leftovers`].
    Docker,
    /// How far the raft log of a manager got: [`HostFacts::raft`].
    Raft,
    /// The certificates of a node of a swarm: [`HostFacts::certificates`]. Asked with
    /// [`Probe::Docker`].
    Certificates,
    /// The digests of the swarm's secrets: [`HostFacts::secrets`]. Asked with [`Probe::Docker`].
    SwarmSecrets,
    /// The services, which a manager tells; asked with [`Probe::Docker`]: [`HostFacts::services`].
    Services,
    /// The network of published ports, which a manager tells; asked with [`Probe::Docker`]:
    /// [`HostFacts::ingress`].
    Ingress,
    /// What is mounted on a folder, and whether the server behind it answers:
    /// [`HostFacts::mounts`].
    Mount {
        /// The folder.
        target: String,
        /// The server's address, asked while nothing of it is mounted.
        server: String,
        /// The server's port.
        port: u16,
    },
    /// The units of mounts that skep wrote: [`HostFacts::mount_units`].
    MountUnits,
    /// A user, by login name: [`HostFacts::users`].
    User(String),
    /// Whether a command succeeds that changes nothing: [`HostFacts::tests`].
    Test(String),
}

/// The questions for one host.
pub type Probes = BTreeSet<Probe>;

/// All answers of one host. What was not asked is [`Known::NotProbed`] or not in the map.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostFacts {
    /// The operating system.
    pub os: Known<Os>,
    /// Who it is.
    pub identity: Known<Identity>,
    /// Its clock, in seconds since 1970, when the script ran.
    pub clock: Known<f64>,
    /// Its network.
    pub network: Known<Network>,
    /// Its file systems that matter, by mount point.
    pub disks: Known<Vec<Disk>>,
    /// What an earlier, lost run still does there; `Absent` when nothing.
    pub busy: Known<String>,
    /// Packages by name; `Absent` is not installed.
    pub packages: BTreeMap<String, Known<Package>>,
    /// Files by path.
    pub files: BTreeMap<String, Known<File>>,
    /// systemd units by name; `Absent` is no such unit.
    pub units: BTreeMap<String, Known<Unit>>,
    /// Kernel settings by dotted name; `Absent` is no such setting in this kernel.
    pub sysctls: BTreeMap<String, Known<String>>,
    /// Kernel modules by name: `Value(true)` is loaded or built in, `Value(false)` could be
    /// loaded, `Absent` is not to be had.
    pub modules: BTreeMap<String, Known<bool>>,
    /// The files of APT's source list by path, with their content.
    pub apt_sources: Known<BTreeMap<String, String>>,
    /// Disks and partitions by the path asked for; `Absent` is no such device.
    pub devices: BTreeMap<String, Known<BlockDevice>>,
    /// LVM's volumes; `Absent` where LVM is not installed.
    pub lvm: Known<Lvm>,
    /// Directories by path.
    pub directories: BTreeMap<String, Known<Directory>>,
    /// The drop-ins of systemd units below `/etc/systemd/system`, with their content, by path.
    pub drop_ins: Known<BTreeMap<String, String>>,
    /// The versions that package sources would install, by package; `Absent` is none.
    pub candidates: BTreeMap<String, Known<String>>,
    /// The versions that package sources have, newest first, by package; one that is only installed
    /// is none of them.
    pub offered: BTreeMap<String, Known<Vec<String>>>,
    /// The Docker Engine; `Absent` is no `docker` or `dockerd` on the host.
    pub engine: Known<Engine>,
    /// The words of the engine's command line as its unit has it, without the program.
    pub engine_flags: Known<Vec<String>>,
    /// Its own view of its place in a swarm; `Absent` is inactive, or no engine.
    pub swarm: Known<LocalSwarm>,
    /// `/nodes` as this host tells it; `Absent` on a host that is not a manager.
    pub nodes: Known<Vec<Node>>,
    /// What an engine left behind; told even where no engine is installed or running.
    pub leftovers: Known<Leftovers>,
    /// How far its raft log got; `Absent` where it has none, as on a worker.
    pub raft: Known<RaftLog>,
    /// Its certificate and that of the swarm's authority; `Absent` on a host in no swarm.
    pub certificates: Known<Certificates>,
    /// The swarm's certificate authority; `Absent` on a host that is not a manager with quorum.
    pub authority: Known<Authority>,
    /// The digests of the swarm's secrets; `Absent` on a host that is not a manager.
    pub secrets: Known<SwarmSecrets>,
    /// The services as a manager tells them, by name; `Absent` on a host that is not a manager.
    pub services: Known<BTreeMap<String, Service>>,
    /// The swarm's network of published ports as a manager tells it; `Absent` where there is none, and
    /// on a host that is not a manager.
    pub ingress: Known<Ingress>,
    /// What is mounted, by folder.
    pub mounts: BTreeMap<String, Known<MountFacts>>,
    /// The names of the units under `/etc/systemd/system` that begin with [`UNIT_MARK`].
    pub mount_units: Known<BTreeSet<String>>,
    /// Users by login name.
    pub users: BTreeMap<String, Known<User>>,
    /// The exit statuses of commands that change nothing, by their text.
    pub tests: BTreeMap<String, Known<u8>>,
}

impl HostFacts {
    /// Adds what `later` tells of packages, files, units, settings, users and tests, which were asked
    /// after the rest.
    pub fn add(&mut self, later: Self) {
        self.busy = later.busy;
        self.packages.extend(later.packages);
        self.files.extend(later.files);
        self.units.extend(later.units);
        self.sysctls.extend(later.sysctls);
        self.users.extend(later.users);
        self.tests.extend(later.tests);
    }
}

/// The first line of the units of mounts that skep writes, by which it knows them again.
pub const UNIT_MARK: &str = "# Made by skep from [[nfs.mount]]; changes here are lost.";

/// What is mounted on a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MountFacts {
    /// The type and source of what is mounted there, such as `nfs4` and `nas:/srv/docker`; `None`
    /// when nothing is, or only an automount that was not touched yet.
    pub mounted: Option<(String, String)>,
    /// Whether systemd's automount waits there for a first touch.
    pub automount: bool,
    /// Why the server gives no answer; `None` when it does, or when nobody could ask it.
    pub stale: Option<String>,
}

/// An operating system, from `os-release`, `uname` and `dpkg`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Os {
    /// `ID`, such as `debian`.
    pub id: String,
    /// `ID_LIKE`, such as `["debian"]`.
    pub like: Vec<String>,
    /// `VERSION_ID`, such as `12`.
    pub version: String,
    /// `VERSION_CODENAME`, such as `bookworm`.
    pub codename: String,
    /// `PRETTY_NAME`.
    pub pretty: String,
    /// The machine as the package manager calls it, such as `amd64`; else as `uname -m` does.
    pub arch: String,
    /// `uname -r`.
    pub kernel: String,
    /// Whether systemd runs as process 1.
    pub systemd: bool,
    /// Processors.
    pub cpus: u32,
    /// Memory in KiB.
    pub memory_kib: u64,
}

/// Who a host is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Identity {
    /// `hostname`.
    pub hostname: String,
    /// `/etc/machine-id`.
    pub machine_id: String,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
}

/// A host's network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Network {
    /// Its interfaces.
    pub interfaces: Vec<Interface>,
    /// The networks that it has routes to, without the default route.
    pub routes: Vec<Route>,
    /// The address that it sends from by default, where there is one.
    pub default_source: Option<IpAddr>,
}

/// A network interface.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Its addresses with their prefix lengths; link-local ones are left out.
    pub addresses: Vec<IpNet>,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Where to.
    pub network: IpNet,
    /// Through which interface.
    pub interface: String,
}

/// Space in a file system.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Disk {
    /// The path asked for, such as `/var/lib`.
    pub path: String,
    /// The size in KiB.
    pub size_kib: u64,
    /// What is free for the superuser's programs, in KiB.
    pub available_kib: u64,
    /// The file system's type, such as `ext4`.
    pub fstype: String,
}

/// An installed package.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Package {
    /// Its version.
    pub version: String,
    /// Whether it is held at that version.
    pub held: bool,
    /// Whether its installation was left half done (`half-configured`, `unpacked`, ...).
    pub broken: bool,
}

/// A file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct File {
    /// Its content; `None` where it is over 256 KiB or not UTF-8.
    pub content: Option<String>,
    /// Its permissions, such as `0o644`.
    pub mode: u32,
    /// Its owner and group by name, such as `root:root`.
    pub owner: String,
}

/// A user of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct User {
    /// The number.
    pub uid: u32,
    /// The login shell.
    pub shell: String,
    /// The groups by name, the own one too.
    pub groups: BTreeSet<String>,
}

/// A systemd unit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Unit {
    /// `ActiveState`, such as `active`.
    pub active: String,
    /// `UnitFileState`, such as `enabled` or `masked`.
    pub enabled: String,
    /// `NeedDaemonReload`: its file is not what systemd has read.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub reload: bool,
}

/// A Docker Engine that answers, or that is installed and does not.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Engine {
    /// The version that runs; `None` when the daemon is stopped (installed, and known not to run).
    pub version: Option<String>,
    /// The daemon's ID.
    pub id: String,
    /// The storage driver.
    pub storage_driver: String,
    /// `DockerRootDir`.
    pub data_root: String,
    /// How many containers there are, running or not.
    pub containers: u64,
    /// How many containers run.
    pub running: u64,
    /// How many images there are.
    pub images: u64,
    /// Whether `live-restore` is on.
    pub live_restore: bool,
    /// The daemon's own warnings.
    pub warnings: Vec<String>,
}

/// A host's own view of its place in a swarm (`/info .Swarm`), when it is in one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LocalSwarm {
    /// Its NodeID: the only identity of a node.
    pub node_id: String,
    /// The address that it tells the others.
    pub node_addr: String,
    /// `LocalNodeState`: `pending`, `active`, `error` or `locked`.
    pub state: String,
    /// `ControlAvailable`: whether it acts as a manager. True also without quorum.
    pub control: bool,
    /// `Error`.
    pub error: String,
    /// The managers that it knows: NodeID and address.
    pub remote_managers: Vec<(String, String)>,
    /// How many managers it counts; 0 on workers and without quorum.
    pub managers: u32,
    /// How many nodes it counts.
    pub nodes: u32,
    /// The swarm's ID; `None` on workers.
    pub cluster_id: Option<String>,
    /// The settings fixed at init and the changeable ones; `None` on workers.
    pub settings: Option<SwarmSettings>,
}

impl LocalSwarm {
    /// Whether it is a manager with quorum in its own eyes. `ControlAvailable` stays true without; a
    /// manager that has lost it reports an error or counts no managers.
    pub fn has_quorum(&self) -> bool {
        self.control && self.managers > 0 && self.error.is_empty()
    }
}

/// The certificate authority of a swarm (`/info .Swarm.Cluster.TLSInfo`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Authority {
    /// The SHA-256 of the public key that certificates are issued with. It changes as soon as a
    /// rotation begins.
    pub issuer: String,
    /// The SHA-256 of the root certificate that nodes trust. It changes when a rotation ends.
    pub root: String,
    /// Whether a rotation goes on (`RootRotationInProgress`).
    pub rotating: bool,
}

/// The certificates that a node of a swarm has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Certificates {
    /// Its own.
    pub node: Certificate,
    /// Whether its own is that of a manager, whatever the managers say that it is.
    pub manager: bool,
    /// That of the authority that it trusts.
    pub authority: Certificate,
}

/// The life of a certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Certificate {
    /// When it begins, in seconds since 1970.
    pub begins: i64,
    /// When it ends, in seconds since 1970.
    pub ends: i64,
}

/// The secrets of a swarm, each by its SHA-256 in hexadecimal digits, which the host itself computes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SwarmSecrets {
    /// The join token of workers.
    pub worker_token: String,
    /// The join token of managers.
    pub manager_token: String,
    /// The unlock key; `None` where autolock is off.
    pub unlock_key: Option<String>,
}

/// A swarm's settings as a manager tells them (`/info .Swarm.Cluster`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SwarmSettings {
    /// Networks that overlay networks get their addresses from.
    pub default_addr_pool: Vec<IpNet>,
    /// The prefix length of each overlay network.
    pub subnet_size: u8,
    /// The UDP port of VXLAN.
    pub data_path_port: u16,
    /// Whether managers need an unlock key after a restart.
    pub autolock: bool,
    /// The life of node certificates in seconds.
    pub cert_expiry_seconds: u64,
    /// How many old tasks are kept for each slot.
    pub task_history: u32,
}

/// A node as a manager tells it (`/nodes`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its NodeID.
    pub id: String,
    /// Its host name, which is no identity (moby#46167).
    pub hostname: String,
    /// The role that it should have: [`Node::manager`] tells the one that it has.
    pub role: Role,
    /// Its availability.
    pub availability: Availability,
    /// Its state: `ready`, `down`, `unknown` or `disconnected`.
    pub state: String,
    /// Its address.
    pub address: String,
    /// Its engine's version.
    pub engine: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its place in raft; `None` for a node that is not in it.
    pub manager: Option<ManagerStatus>,
}

/// A manager's place in raft (`ManagerStatus`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ManagerStatus {
    /// Whether it leads.
    pub leader: bool,
    /// Whether the others reach it.
    pub reachable: bool,
    /// Its raft address; a leader's can read `0.0.0.0`.
    pub address: String,
}

/// A service as a manager tells it, without what may be secret of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its ID.
    pub id: String,
    /// Its stack, where it is part of one.
    pub stack: Option<String>,
    /// How it runs; one that a shutdown keeps from running: how it ran before.
    pub mode: crate::record::Mode,
    /// Whether a shutdown keeps it from running.
    pub halted: bool,
    /// How many of its tasks run; `None` where the engine does not count them.
    pub running: Option<u64>,
}

/// A swarm's network of published ports.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ingress {
    /// Its name.
    pub name: String,
    /// The largest packet of the network below it, as its option says; `None` where it has none.
    pub mtu: Option<u32>,
    /// The names of the services that publish ports through it.
    pub used_by: Vec<String>,
}

/// What a Docker Engine left on disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Leftovers {
    /// The data root looked at: `daemon.json`'s `data-root`, else `/var/lib/docker`.
    pub data_root: String,
    /// Whether it holds images, containers or volumes.
    pub data: bool,
    /// Whether it holds the state of a swarm (`swarm/docker-state.json`).
    pub swarm: bool,
    /// The address and port at which it joined that swarm; `None` where it made the swarm.
    pub joined_at: Option<String>,
}

/// How far a manager's raft log got. The log itself is encrypted; this is what its engine says of it,
/// and what the names of its files tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RaftLog {
    /// Term and index of its last entry, as the engine wrote them into its journal when it last
    /// asked the others for their votes, a minute ago at most. One without a leader does so every 10
    /// to 20 s.
    pub last: Option<(u64, u64)>,
    /// The highest index in the name of a file: there are entries up to here, and may be more.
    pub at_least: u64,
    /// Whether it takes the unlock key to read it: autolock is on.
    pub sealed: bool,
}
