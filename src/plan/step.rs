//! The steps that changes are made of: data, so that they can be shown, saved, compared and run.

mod storage;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::nfs::NfsStep;
use crate::inventory::{Availability, Role};

pub(crate) use storage::bytes;
pub use storage::{DeviceId, StorageCall};

/// One thing to do on one host. No step holds a secret: the interpreter fetches what it needs when
/// it runs the step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Writes a file whole: to a new file beside it, synced, then renamed over it.
    WriteFile {
        /// Its path.
        path: String,
        /// Its text.
        content: String,
        /// Its permissions, such as `0o644`. The owner is root.
        mode: u32,
    },
    /// Moves a file aside to `PATH.skep-old`, never over another.
    MoveAside {
        /// Its path.
        path: String,
    },
    /// Removes a file; well if it is not there.
    RemoveFile {
        /// Its path.
        path: String,
    },
    /// Refreshes the package index, waiting for other package managers.
    RefreshPackages,
    /// Installs packages, waiting for other package managers.
    InstallPackages {
        /// The packages.
        packages: Vec<PackageSpec>,
    },
    /// Mends packages whose installation was left half done (`dpkg --configure -a`).
    RepairPackages,
    /// Installs package files that an earlier [`Step::Upload`] brought.
    InstallPackageFiles {
        /// The folder on the host.
        folder: String,
    },
    /// Holds packages at their version.
    HoldPackages {
        /// Their names.
        packages: Vec<String>,
    },
    /// Fetches the signing key of a package repository, or writes the one that the user gave.
    FetchKey {
        /// Where to fetch it from, on the host.
        url: String,
        /// Where it goes.
        path: String,
    },
    /// Copies the files of a local folder to a folder on the host.
    Upload {
        /// The local folder.
        from: PathBuf,
        /// The folder on the host; made if it is not there.
        to: String,
        /// The files: name and SHA-256 in hexadecimal digits, as they were when planned.
        files: BTreeMap<String, String>,
    },
    /// Loads kernel modules.
    LoadModules {
        /// Their names.
        modules: Vec<String>,
    },
    /// Sets kernel settings now; a [`Step::WriteFile`] makes them last.
    SetSysctls {
        /// Dotted names and values.
        values: BTreeMap<String, String>,
    },
    /// Checks a `daemon.json` with the engine itself where it can (`dockerd --validate`, 23.0 and later).
    ValidateDaemonConfig {
        /// The text to check.
        content: String,
    },
    /// Restarts the engine for a changed `daemon.json`. Where it does not come up, the former file
    /// is put back and the engine started with that; [`Step::SettleRestart`] tells of it.
    RestartEngine,
    /// Makes the engine read `daemon.json` again, and sees whether it took it; else the former file
    /// is put back.
    ReloadEngine,
    /// Ends a change of `daemon.json`: nothing is owed any more. Fails where it was taken back.
    SettleRestart,
    /// Does something to a systemd unit.
    Service {
        /// The unit.
        unit: String,
        /// What to do.
        action: ServiceAction,
    },
    /// Does something to a disk or to LVM.
    Storage(StorageCall),
    /// Calls the Docker Engine.
    Docker(DockerCall),
    /// Waits until something is so.
    Wait {
        /// What to wait for.
        condition: Condition,
        /// How long, in seconds.
        deadline: u32,
    },
    /// Does something in the local lab.
    Lab(LabCall),
    /// Does something for NFS.
    Nfs(NfsStep),
}

/// A package to install.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageSpec {
    /// Its name.
    pub name: String,
    /// The version, or its beginning; `None` takes the newest of the host's sources.
    pub version: Option<String>,
}

/// What to do to a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceAction {
    /// Start it at boot, and now.
    EnableNow,
    /// Restart it.
    Restart,
    /// Stop it, and its socket, which would start it again.
    Stop,
}

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
    /// Changes this host's node, found by the NodeID that the host itself tells.
    NodeUpdate {
        /// Hosts of the inventory that are managers by then, best first.
        managers: Vec<String>,
        /// The role to give.
        role: Option<Role>,
        /// The availability to give.
        availability: Option<Availability>,
        /// Labels to set; others stay.
        labels: BTreeMap<String, String>,
    },
    /// Unlocks this host's manager, which was restarted under autolock, with the key that another
    /// manager gives when the step runs.
    Unlock {
        /// Hosts of the inventory that are managers, best first.
        managers: Vec<String>,
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
    /// No task of a service runs on the host's node any more.
    Drained {
        /// Hosts of the inventory that are managers by then, best first.
        managers: Vec<String>,
    },
}

/// Something to do in the local lab.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LabCall {
    /// Makes this host and starts it.
    Create,
    /// Starts this host, which exists and is stopped.
    Start,
}

/// What the step does, for people: part of what a person confirms.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WriteFile { path, mode, .. } => write!(f, "write {path} (mode {mode:04o})"),
            Self::RemoveFile { path } => write!(f, "remove {path}"),
            Self::MoveAside { path } => write!(f, "move {path} aside to {path}.skep-old"),
            Self::RefreshPackages => f.write_str("refresh the package index"),
            Self::InstallPackages { packages } => {
                write!(f, "install packages {}", listed(packages))
            }
            Self::RepairPackages => f.write_str("repair half-installed packages"),
            Self::InstallPackageFiles { folder } => write!(f, "install package files of {folder}"),
            Self::HoldPackages { packages } => write!(f, "hold packages {}", listed(packages)),
            Self::FetchKey { url, path } => write!(f, "fetch signing key {url} to {path}"),
            Self::Upload { from, to, files } => {
                let count = files.len();
                write!(f, "copy {count} files of {} to {to}", from.display())
            }
            Self::LoadModules { modules } => write!(f, "load kernel modules {}", listed(modules)),
            Self::SetSysctls { values } => {
                f.write_str("set kernel settings ")?;
                pairs(f, values)
            }
            Self::ValidateDaemonConfig { .. } => f.write_str("check daemon.json with the engine"),
            Self::RestartEngine => f.write_str(
                "restart docker.service; if it does not come up, put the former daemon.json back",
            ),
            Self::ReloadEngine => f.write_str(
                "reload docker.service; if it does not take it, put the former daemon.json back",
            ),
            Self::SettleRestart => f.write_str("see whether the engine works with it"),
            Self::Service { unit, action } => match action {
                ServiceAction::EnableNow => write!(f, "enable and start {unit}"),
                ServiceAction::Restart => write!(f, "restart {unit}"),
                ServiceAction::Stop => write!(f, "stop {unit}"),
            },
            Self::Storage(call) => call.fmt(f),
            Self::Docker(call) => call.fmt(f),
            Self::Wait {
                condition,
                deadline,
            } => write!(f, "wait up to {deadline} s until {condition}"),
            Self::Lab(call) => f.write_str(match call {
                LabCall::Create => "make and start the host in the lab",
                LabCall::Start => "start the host in the lab",
            }),
            Self::Nfs(step) => step.fmt(f),
        }
    }
}

/// The name, and the version with `*` where more may follow: `docker.io=20.10*`.
impl fmt::Display for PackageSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match &self.version {
            Some(version) => write!(f, "={version}*"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for DockerCall {
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
                ..
            } => {
                f.write_str("update the node:")?;
                let mut comma = "";
                if let Some(role) = role {
                    write!(f, " role {}", role_name(*role))?;
                    comma = ",";
                }
                if let Some(availability) = availability {
                    let name = match availability {
                        Availability::Active => "active",
                        Availability::Pause => "pause",
                        Availability::Drain => "drain",
                    };
                    write!(f, "{comma} availability {name}")?;
                    comma = ",";
                }
                if !labels.is_empty() {
                    write!(f, "{comma} labels ")?;
                    pairs(f, labels)?;
                }
                Ok(())
            }
            Self::Unlock { managers } => {
                write!(
                    f,
                    "unlock the manager with the key from {}",
                    managers.join(" or ")
                )
            }
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
            Self::Drained { .. } => f.write_str("no task runs on the node"),
        }
    }
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Manager => "manager",
        Role::Worker => "worker",
        Role::None => "node without a role",
    }
}

fn listed<T: fmt::Display>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(T::to_string).collect();
    items.join(" ")
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

fn pairs(f: &mut fmt::Formatter<'_>, values: &BTreeMap<String, String>) -> fmt::Result {
    let pairs: Vec<String> = values.iter().map(|(k, v)| format!("{k}={v}")).collect();
    f.write_str(&pairs.join(" "))
}
