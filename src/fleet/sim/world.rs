//! The simulated hosts and swarms, and what steps do to them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use crate::fleet::{Fault, FaultKind};
use crate::inventory::{Availability, HookPlace, Inventory, Role};
use crate::plan::{BackupCall, DockerCall, HookStep, ServiceAction, Step};
use crate::quorum::{majority, may_spare};
use crate::resource::HOLD_MARKER;

use super::host::SimTasks;
use super::recover::SimRecovery;
use super::rotate::{SimKeys, SimSecrets};
use super::storage::SimStorage;

/// Everything there is.
#[derive(Debug, Clone, Default)]
pub struct World {
    /// The hosts by name.
    pub hosts: BTreeMap<String, SimHost>,
    /// The swarms by ID, those that nobody is in any more too.
    pub clusters: BTreeMap<String, SimCluster>,
    /// A text with which in its `daemon.json` no engine comes up or reloads.
    pub unbearable: Option<String>,
    /// The steps that took the quorum of a swarm that could have kept it.
    pub quorum_lost_by: Vec<String>,
    /// The versions of the engine that the package sources have, oldest first; Debian 12's where
    /// there is none.
    pub offers: Vec<String>,
    /// The services, by name.
    pub services: BTreeMap<String, SimService>,
    /// The steps that took a task away from a service before another ran in its place, where there
    /// was a place.
    pub tasks_lost_by: Vec<String>,
    /// The services that a start let run again, and those that were asked for an answer, in order.
    pub resumed: Vec<String>,
    /// The machines that stay dark whoever switches them on.
    pub no_power: BTreeSet<String>,
    /// The hooks that ran, in their order.
    pub hooks: Vec<SimHook>,
    /// The hooks that fail: host and moment, such as `("w1", "before-drain")`.
    pub failing_hooks: BTreeSet<(String, String)>,
    /// The unlock keys that were brought to this machine.
    pub keys: SimKeys,
    /// The archives that were made, in their order.
    pub archives: Vec<SimArchive>,
    next_id: u64,
}

/// What an archive holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimArchive {
    /// The host that it was taken from.
    pub host: String,
    /// The swarm.
    pub cluster: String,
    /// The node.
    pub node: String,
}

/// A host.
#[derive(Debug, Clone, Default)]
pub struct SimHost {
    /// Its address.
    pub address: String,
    /// Whether it is switched on and can be reached.
    pub up: bool,
    /// Files by path: text and permissions.
    pub files: BTreeMap<String, (String, u32)>,
    /// Packages by name: version, and whether held.
    pub packages: BTreeMap<String, (String, bool)>,
    /// Kernel modules that are loaded.
    pub modules: BTreeSet<String>,
    /// Kernel settings.
    pub sysctls: BTreeMap<String, String>,
    /// Folders of servers that are mounted when they are touched: the units, by the folder.
    pub mounts: BTreeMap<String, BTreeSet<String>>,
    /// Whether the engine runs.
    pub engine_runs: bool,
    /// Whether the engine starts at boot.
    pub engine_enabled: bool,
    /// The `daemon.json` that the running engine has read.
    pub engine_config: Option<String>,
    /// The version of the running engine, where it is not that of the package.
    pub engine_version: Option<String>,
    /// How often the host was booted again.
    pub boots: u32,
    /// How often the engine was restarted.
    pub restarts: u32,
    /// How often the engine read its configuration again while it ran.
    pub reloads: u32,
    /// The swarm and node that it is, by ID.
    pub member: Option<(String, String)>,
    /// The address and port at which it joined.
    pub joined_at: Option<String>,
    /// Where the engine asks for its place in raft when it is promoted, for as long as it runs: at
    /// the address at which it joined.
    pub asks: Option<String>,
    /// The swarm that it joins right now, and as what.
    pub joining: Option<(String, Role)>,
    /// The index of the last entry in its raft log, where it tells.
    pub raft_index: Option<u64>,
    /// What only recovery cares for.
    pub recovery: SimRecovery,
    /// Its disks.
    pub storage: SimStorage,
    /// What only playbooks care for.
    pub tasks: SimTasks,
    /// Who holds the cluster's lock here.
    pub locked_by: Option<String>,
}

impl SimHost {
    /// Whether an engine is installed.
    pub(super) fn has_engine(&self) -> bool {
        self.engine_package().is_some()
    }

    /// The version of the engine that is installed.
    pub(super) fn engine_package(&self) -> Option<&str> {
        let engine = |name: &str| self.packages.get(name);
        let found = engine("docker.io").or_else(|| engine("docker-ce"));
        found.map(|(version, _)| version.as_str())
    }

    /// The ID of the boot that runs.
    pub fn boot_id(&self) -> String {
        format!("boot-{}", self.boots)
    }

    /// Ends the engine, and what it would have asked for.
    pub(super) fn stop(&mut self) {
        self.engine_runs = false;
        self.asks = None;
    }

    /// Boots, with the engine where it starts at boot.
    pub(super) fn boot(&mut self) {
        self.boots += 1;
        if self.engine_enabled && self.has_engine() {
            start(self, false);
        }
    }

    /// Whether `step` takes the engine away for a moment.
    fn loses_engine(&self, step: &Step) -> bool {
        match step {
            Step::RestartEngine
            | Step::Backup(BackupCall::Take { .. })
            | Step::Service {
                action: ServiceAction::Restart,
                ..
            } => true,
            Step::UpgradeEngine { packages, .. } => packages
                .iter()
                .any(|package| package.version.as_deref() != self.engine_package()),
            Step::Reboot { boot_id } => *boot_id == self.boot_id(),
            _ => false,
        }
    }
}

/// A hook that ran, and how it found its host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimHook {
    /// The host.
    pub host: String,
    /// When, such as `before-drain`.
    pub when: String,
    /// The availability of the node; `None` where it is in no swarm.
    pub availability: Option<Availability>,
    /// The version of the running engine.
    pub engine: Option<String>,
    /// How often the host was booted again.
    pub boots: u32,
}

/// What goes wrong within a step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mishap {
    pub(super) join_pending: bool,
    pub(super) engine_dies: bool,
}

/// A swarm.
#[derive(Debug, Clone, Default)]
pub struct SimCluster {
    /// Its nodes by NodeID.
    pub nodes: BTreeMap<String, SimNode>,
    /// The NodeID of the leader of the moment.
    pub leader: String,
    /// How often its join tokens were made anew.
    pub tokens: u32,
    /// Its secrets.
    pub secrets: SimSecrets,
    /// The raft index of the manager that it was forced from, where it was.
    pub forced_at: Option<u64>,
}

/// A service of one swarm.
#[derive(Debug, Clone, Default)]
pub struct SimService {
    /// The node of each of its tasks, by NodeID.
    pub tasks: Vec<String>,
    /// How many there should be.
    pub replicas: usize,
    /// The only host on which they may run, by a placement constraint.
    pub bound: Option<String>,
    /// Its specification, where it has more than a number of tasks.
    pub spec: serde_json::Value,
}

/// A node.
#[derive(Debug, Clone)]
pub struct SimNode {
    /// The host that it is.
    pub host: String,
    /// Whether it is in raft.
    pub raft: bool,
    /// Whether it was a manager of the swarm that this one was forced from: it should be one still,
    /// and is not in raft.
    pub ghost: bool,
    /// Whether it is being demoted: it is in raft until some steps later, or until that is waited for.
    pub demoting: Option<u8>,
    /// Out of raft, how many steps it still has the certificate of a manager, or until a worker's is
    /// waited for.
    pub certified: Option<u8>,
    /// Its availability.
    pub availability: Availability,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

pub(super) fn fail(message: impl Into<String>) -> Fault {
    Fault::new(FaultKind::Failed, message)
}

impl World {
    /// Fresh hosts for an inventory.
    pub fn fresh(inventory: &Inventory) -> Self {
        let mut world = Self::default();
        for (place, host) in inventory.hosts.iter().enumerate() {
            world.add(&host.name, &Self::address(place));
        }
        world
    }

    /// The address of the host that stands at `place` in the inventory, counted from 0: of the
    /// networks that RFC 2544 sets aside for measuring, which have room for thousands.
    pub fn address(place: usize) -> String {
        let first = u32::from(Ipv4Addr::new(198, 18, 0, 1));
        let offset = u32::try_from(place).unwrap_or(0);
        Ipv4Addr::from(first + offset).to_string()
    }

    /// Adds a fresh host, or installs one anew: nothing of what it was is left on it.
    pub fn add(&mut self, name: &str, address: &str) {
        let host = SimHost {
            address: address.to_owned(),
            up: true,
            sysctls: BTreeMap::from([("net.ipv4.ip_forward".to_owned(), "0".to_owned())]),
            ..SimHost::default()
        };
        self.hosts.insert(name.to_owned(), host);
    }

    /// Whether the node of `host` takes part: switched on, its engine running.
    pub(super) fn lives(&self, host: &str) -> bool {
        let host = self.hosts.get(host);
        host.is_some_and(|host| host.up && host.engine_runs)
    }

    /// Whether a node's own host is alive and still is that node.
    pub fn node_lives(&self, id: &str, node: &SimNode) -> bool {
        let host = self.hosts.get(&node.host);
        let same = host
            .and_then(|host| host.member.as_ref())
            .is_some_and(|(_, own)| own == id);
        let hears = host.is_some_and(|host| !host.recovery.is_deaf());
        same && hears && self.lives(&node.host)
    }

    /// Managers in raft, and how many of them live.
    pub fn raft(&self, cluster: &str) -> (usize, usize) {
        let Some(cluster) = self.clusters.get(cluster) else {
            return (0, 0);
        };
        let managers = cluster.nodes.iter().filter(|(_, node)| node.raft);
        let (mut total, mut alive) = (0, 0);
        for (id, node) in managers {
            total += 1;
            alive += usize::from(self.node_lives(id, node));
        }
        (total, alive)
    }

    /// Whether a swarm has quorum.
    pub fn has_quorum(&self, cluster: &str) -> bool {
        let (total, alive) = self.raft(cluster);
        total > 0 && alive >= majority(total)
    }

    /// Lets a living manager lead where the leader is lost.
    pub(super) fn leader(&self, cluster: &str) -> Option<String> {
        let swarm = self.clusters.get(cluster)?;
        let lives = |id: &&String| {
            swarm
                .nodes
                .get(*id)
                .is_some_and(|node| node.raft && self.node_lives(id, node))
        };
        let current = Some(&swarm.leader).filter(lives);
        current.or_else(|| swarm.nodes.keys().find(lives)).cloned()
    }

    pub(super) fn id(&mut self, prefix: &str) -> String {
        self.next_id += 1;
        format!("{prefix}{:04}", self.next_id)
    }

    pub(super) fn host(&mut self, name: &str) -> Result<&mut SimHost, Fault> {
        match self.hosts.get_mut(name) {
            Some(host) if host.up => Ok(host),
            _ => Err(super::unreachable(name)),
        }
    }

    /// What `step` does to `name`.
    pub(super) fn step(&mut self, name: &str, step: &Step, mishap: Mishap) -> Result<(), Fault> {
        let host = self.hosts.get(name);
        let restarts = host.is_some_and(|host| host.loses_engine(step));
        if restarts && !self.spares(name) {
            self.quorum_lost_by.push(format!("{name}: {step}"));
        }
        if restarts && self.has_tasks_to_lose(name) {
            self.tasks_lost_by.push(format!("{name}: {step}"));
        }
        let had: Vec<String> = self
            .clusters
            .keys()
            .filter(|cluster| self.has_quorum(cluster))
            .cloned()
            .collect();
        let done = match step {
            Step::Lab(call) => {
                self.lab(name, call);
                Ok(())
            }
            Step::Shutdown(call) => self.shutdown(name, call),
            Step::PowerOff { .. } => self.power_off(name),
            step => self.act(name, step, mishap),
        };
        if restarts && let Some(host) = self.hosts.get_mut(name) {
            host.asks = None;
        }
        self.let_time_pass();
        for cluster in had {
            // One without nodes was left by its last one; what is switched off is meant to go.
            if !matches!(step, Step::PowerOff { .. })
                && !self.has_quorum(&cluster)
                && self.raft(&cluster).0 > 0
            {
                self.quorum_lost_by.push(format!("{name}: {step}"));
            }
        }
        if restarts && mishap.engine_dies && done.is_ok() {
            self.host(name)?.engine_runs = false;
            return Err(fail("the engine did not come up"));
        }
        done
    }

    /// Whether the swarm of `name` keeps its quorum when this node goes away.
    pub(super) fn spares(&self, name: &str) -> bool {
        let Ok((cluster, id)) = self.member(name) else {
            return true;
        };
        let (total, alive) = self.raft(&cluster);
        let swarm = self.clusters.get(&cluster);
        let votes = swarm
            .and_then(|swarm| swarm.nodes.get(&id))
            .is_some_and(|node| node.raft && self.node_lives(&id, node));
        !votes || !self.has_quorum(&cluster) || may_spare(total, alive)
    }

    #[expect(clippy::too_many_lines, reason = "a few lines for each step")]
    fn act(&mut self, name: &str, step: &Step, mishap: Mishap) -> Result<(), Fault> {
        if let Step::Hook(hook) = step {
            return self.hook(name, hook);
        }
        if let Step::Power(call) = step {
            return self.switch(name, call);
        }
        if let Step::Start(step) = step {
            return self.start(name, step);
        }
        let unbearable = self.unbearable.clone();
        let host = self.host(name)?;
        if host.storage.full && writes(step) {
            return Err(fail("no space left on device"));
        }
        match step {
            Step::RestartEngine => return super::engine::restart(host, unbearable.as_deref()),
            Step::ReloadEngine => return super::engine::reload(host, unbearable.as_deref()),
            Step::SettleRestart => return super::engine::settle(host),
            Step::WriteFile {
                path,
                content,
                mode,
            } => {
                host.files.insert(path.clone(), (content.clone(), *mode));
            }
            Step::MoveAside { path } => {
                if let Some(file) = host.files.remove(path) {
                    host.files.insert(format!("{path}.skep-old"), file);
                }
            }
            Step::RemoveFile { path } => {
                host.files.remove(path);
            }
            Step::FetchKey { path, .. } => {
                host.files.insert(path.clone(), ("key".to_owned(), 0o644));
            }
            Step::InstallPackages { packages } => {
                for package in packages {
                    let version = package.version.clone().unwrap_or_else(|| "20.10.24".into());
                    host.packages
                        .entry(package.name.clone())
                        .or_insert((version, false));
                    super::host::installed(host, &package.name);
                }
                // A package's installation starts its service, and no other.
                if packages
                    .iter()
                    .any(|package| package.name.starts_with("docker"))
                {
                    start(host, false);
                    host.engine_enabled = true;
                }
            }
            Step::UpgradeEngine { packages, hold, .. } => {
                host.files.remove(HOLD_MARKER);
                for package in packages {
                    let version = package.version.clone().unwrap_or_default();
                    host.packages.insert(package.name.clone(), (version, *hold));
                }
                let same = host.engine_version.as_deref() == host.engine_package();
                start(host, !same);
            }
            Step::Reboot { boot_id } if *boot_id == host.boot_id() => {
                host.stop();
                host.boot();
            }
            Step::HoldPackages { packages } => {
                for name in packages {
                    if let Some(package) = host.packages.get_mut(name) {
                        package.1 = true;
                    }
                }
            }
            Step::LoadModules { modules } => host.modules.extend(modules.iter().cloned()),
            Step::SetSysctls { values } => host.sysctls.extend(values.clone()),
            Step::Host(call) => return super::host::act(host, call),
            Step::Service { unit, action } if super::host::knows(host, unit) => {
                return super::host::service(host, unit, *action);
            }
            Step::Service { unit, .. } if super::nfs::is_unit(unit) => {}
            Step::Nfs(step) => super::nfs::act(host, step),
            Step::Service {
                action: ServiceAction::Stop,
                ..
            } => host.engine_runs = false,
            Step::Service { action, .. } => {
                if !host.has_engine() {
                    return Err(fail("no such unit"));
                }
                host.engine_enabled = true;
                start(host, *action == ServiceAction::Restart);
            }
            Step::Reboot { .. }
            | Step::Pause { .. }
            | Step::FetchPackages { .. }
            | Step::RefreshPackages
            | Step::RepairPackages
            | Step::InstallPackageFiles { .. }
            | Step::Upload { .. }
            | Step::ValidateDaemonConfig { .. }
            | Step::Hook(_)
            | Step::Shutdown(_)
            | Step::PowerOff { .. }
            | Step::Try { .. }
            | Step::Power(_)
            | Step::Start(_)
            | Step::Lab(_)
            | Step::Cloud(_) => {}
            Step::CopySwarmState { id } => return self.copy(name, id),
            Step::Storage(call) => return super::storage::step(host, call),
            Step::Backup(call) => return self.backup(name, call),
            Step::Docker(call) => return self.docker(name, call, mishap),
            Step::Rotate(call) => return self.rotate(name, call),
            Step::Wait { condition, .. } => return self.wait(name, condition),
        }
        Ok(())
    }
}

impl World {
    /// Runs a hook: it looks at its host, and changes nothing.
    fn hook(&mut self, name: &str, step: &HookStep) -> Result<(), Fault> {
        if step.hook.at == HookPlace::Host {
            self.host(name)?;
        }
        let when = step.hook.when.to_string();
        let node = self.member(name).ok();
        let node = node.and_then(|(cluster, id)| self.clusters.get(&cluster)?.nodes.get(&id));
        let host = self.hosts.get(name);
        let ran = SimHook {
            host: name.to_owned(),
            when: when.clone(),
            availability: node.map(|node| node.availability),
            engine: host.and_then(|host| host.engine_version.clone()),
            boots: host.map_or(0, |host| host.boots),
        };
        self.hooks.push(ran);
        if self.failing_hooks.contains(&(name.to_owned(), when)) {
            return Err(fail("exit status 1"));
        }
        Ok(())
    }
}

/// Whether a step needs room on the disk of the system.
fn writes(step: &Step) -> bool {
    matches!(
        step,
        Step::WriteFile { .. }
            | Step::FetchKey { .. }
            | Step::RefreshPackages
            | Step::InstallPackages { .. }
            | Step::InstallPackageFiles { .. }
            | Step::FetchPackages { .. }
            | Step::UpgradeEngine { .. }
            | Step::Upload { .. }
            | Step::Nfs(_)
            | Step::Docker(DockerCall::SwarmInit { .. } | DockerCall::SwarmJoin { .. })
    )
}

/// Starts the engine; one that runs already reads its configuration again only on a restart.
pub(super) fn start(host: &mut SimHost, restart: bool) {
    if host.engine_runs && !restart {
        return;
    }
    host.restarts += u32::from(host.engine_runs);
    host.engine_runs = true;
    host.engine_version = host.engine_package().map(str::to_owned);
    let config = host.files.get("/etc/docker/daemon.json");
    host.engine_config = config.map(|(text, _)| text.clone());
}
