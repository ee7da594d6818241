//! The steps that changes are made of: data, so that they can be shown, saved, compared and run.

mod backup;
mod cloud;
mod host;
mod power;
mod rotate;
mod storage;
mod swarm;

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::hook::HookStep;
use super::nfs::NfsStep;
use super::shutdown::ShutdownStep;
use super::start::StartStep;

pub use backup::{BackupCall, Origin};
pub use cloud::{CloudCall, From as RuleFrom, GroupRef, RuleIn, ServerCall};
pub use host::{HostCall, Note};
pub use power::{PowerCall, PowerWay};
pub use rotate::{KEY_NOTE, KeyNote, KeyTo, RotateCall, WhichKey};
pub(crate) use storage::bytes;
pub use storage::{DeviceId, StorageCall};
pub(crate) use swarm::availability_name;
pub use swarm::{Condition, DockerCall};

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
    /// Downloads packages and what they need, and installs nothing: while the node still works.
    FetchPackages {
        /// The packages.
        packages: Vec<PackageSpec>,
    },
    /// Installs the engine in another version over the one that is there, and sees to it that the
    /// new one runs. Held packages are moved; configuration files stay.
    UpgradeEngine {
        /// The packages.
        packages: Vec<PackageSpec>,
        /// The folder of package files on the host, where an earlier [`Step::Upload`] brought them.
        folder: Option<String>,
        /// Whether they are held at that version afterwards. By this very step: APT takes away the hold
        /// that was there, and a run that is cut must not leave it away.
        hold: bool,
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
    /// Keeps a copy of what a manager knows of its swarm, beside it in the engine's data root, with the
    /// engine stopped for as long as that takes. Nothing is ever deleted there.
    CopySwarmState {
        /// The NodeID that it must have.
        id: String,
    },
    /// Does something to a disk or to LVM.
    Storage(StorageCall),
    /// Takes a manager's state away, or puts it back.
    Backup(BackupCall),
    /// Calls the Docker Engine.
    Docker(DockerCall),
    /// Does something to the secrets of a swarm.
    Rotate(RotateCall),
    /// Waits until something is so.
    Wait {
        /// What to wait for.
        condition: Condition,
        /// How long, in seconds.
        deadline: u32,
    },
    /// Boots the host anew and waits until it lets us log in again. Done where it runs another boot
    /// than the one that the plan saw.
    Reboot {
        /// The ID of the boot that the plan saw.
        boot_id: String,
    },
    /// Switches the host off and waits until it is silent, and has no power where somebody can tell.
    PowerOff {
        /// How long until then, in seconds.
        deadline: u32,
        /// Whether what does not stop in half of that time is ended, and in the end the power taken.
        force: bool,
        /// Where nothing is known of the host: the machine ID of the machine that skep runs on, which is
        /// never switched off; empty where it has none. Silence alone is no proof then.
        here: Option<String>,
    },
    /// Does something for a shutdown.
    Shutdown(ShutdownStep),
    /// Tries a step in an emergency: where it fails, or is not over in time, what follows the change
    /// goes on without it.
    Try {
        /// The step.
        step: Box<Step>,
        /// When it is given up, in seconds since the command began.
        until: Option<u32>,
        /// How long it may take in any case, in seconds. With 0 it is left out where it is too late.
        least: u32,
    },
    /// Does something for a start after a shutdown.
    Start(StartStep),
    /// Switches the machine on or off, from outside of it.
    Power(PowerCall),
    /// Waits, so that a person can look before the next node's turn comes.
    Pause {
        /// How long.
        seconds: u32,
    },
    /// Does something in the local lab.
    Lab(LabCall),
    /// Does something in a cloud.
    Cloud(CloudCall),
    /// Does something for NFS.
    Nfs(NfsStep),
    /// Runs a hook of the inventory.
    Hook(HookStep),
    /// Does a task of a playbook.
    Host(HostCall),
}

impl Step {
    /// The step itself, where it is only tried.
    pub fn inner(&self) -> &Self {
        match self {
            Self::Try { step, .. } => step.inner(),
            step => step,
        }
    }

    /// Whether it does nothing to what runs: a change that ends after no other steps was not begun.
    pub fn is_harmless(&self) -> bool {
        matches!(
            self.inner(),
            Self::Hook(_) | Self::FetchPackages { .. } | Self::Upload { .. } | Self::Wait { .. }
        )
    }
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
    /// Start it now.
    Start,
    /// Start it at boot.
    Enable,
    /// Do not start it at boot.
    Disable,
    /// Restart it.
    Restart,
    /// Stop it, and its socket, which would start it again.
    Stop,
}

/// Something to do in the local lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LabCall {
    /// Makes this host and starts it.
    Create,
    /// Pulls this host's plug. Its disks stay.
    Off,
    /// Takes this host away for ever, with its disks.
    Destroy,
    /// Cuts the network between this host and some others.
    Part {
        /// The addresses of the others.
        from: Vec<Ipv4Addr>,
    },
    /// Takes the cuts of its network away again.
    Join,
    /// Takes away all that the engine keeps on this host's disk, and starts it with an empty one.
    EmptyDisk,
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
            Self::FetchPackages { packages } => {
                write!(f, "download packages {}", listed(packages))
            }
            Self::UpgradeEngine { packages, hold, .. } => {
                let hold = if *hold { ", and hold them" } else { "" };
                write!(f, "upgrade packages {}{hold}", listed(packages))
            }
            Self::Reboot { .. } => f.write_str("reboot, and wait until the host is back"),
            Self::PowerOff { deadline, .. } => {
                write!(
                    f,
                    "power off, and wait up to {deadline} s until the host is silent"
                )
            }
            Self::Shutdown(step) => step.fmt(f),
            Self::Try {
                step, until: None, ..
            } => write!(f, "try to {step}"),
            Self::Try {
                step,
                until: Some(until),
                ..
            } => write!(f, "until second {until}, try to {step}"),
            Self::Pause { seconds } => write!(f, "pause for {seconds} s"),
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
                ServiceAction::Start => write!(f, "start {unit}"),
                ServiceAction::Enable => write!(f, "enable {unit}"),
                ServiceAction::Disable => write!(f, "disable {unit}"),
                ServiceAction::Restart => write!(f, "restart {unit}"),
                ServiceAction::Stop => write!(f, "stop {unit}"),
            },
            Self::CopySwarmState { id } => write!(
                f,
                "stop the engine, copy what manager {id} knows aside, and start the engine"
            ),
            Self::Storage(call) => call.fmt(f),
            Self::Backup(call) => call.fmt(f),
            Self::Docker(call) => call.fmt(f),
            Self::Rotate(call) => call.fmt(f),
            Self::Wait {
                condition,
                deadline,
            } => write!(f, "wait up to {deadline} s until {condition}"),
            Self::Start(step) => step.fmt(f),
            Self::Power(call) => call.fmt(f),
            Self::Lab(call) => match call {
                LabCall::Create => f.write_str("make and start the host in the lab"),
                LabCall::Off => f.write_str("pull the plug of the host in the lab"),
                LabCall::Destroy => f.write_str("delete the host of the lab with its disks"),
                LabCall::Part { from } => {
                    write!(f, "drop all packets from and to {}", listed(from))
                }
                LabCall::Join => f.write_str("let all packets through again"),
                LabCall::EmptyDisk => {
                    f.write_str("stop the engine, empty its data root, start it again")
                }
                LabCall::Start => f.write_str("start the host in the lab"),
            },
            Self::Cloud(call) => call.fmt(f),
            Self::Nfs(step) => step.fmt(f),
            Self::Hook(step) => step.fmt(f),
            Self::Host(call) => call.fmt(f),
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

fn listed<T: fmt::Display>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(T::to_string).collect();
    items.join(" ")
}

fn pairs(f: &mut fmt::Formatter<'_>, values: &BTreeMap<String, String>) -> fmt::Result {
    let pairs: Vec<String> = values.iter().map(|(k, v)| format!("{k}={v}")).collect();
    f.write_str(&pairs.join(" "))
}
