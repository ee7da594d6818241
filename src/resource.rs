//! What a host should have, one file per kind: each names its probes, and from the facts says
//! purely what differs and which steps mend it.

mod daemon;
mod dropin;
mod engine;
mod kernel;
mod nfs;
mod package;
mod repository;
pub(crate) mod storage;
pub mod task;

pub(crate) use daemon::keys::names as daemon_keys;
pub(crate) use daemon::overlay_option;
pub use daemon::{
    DAEMON_JSON, DRAINED_MARKER, DaemonConfig, Former, KEYS_RECORD, Pending, RESTART_MARKER,
    ROLLED_BACK,
};
pub use dropin::DropIns;
pub use engine::EngineService;
pub use kernel::Kernel;
pub(crate) use nfs::automount;
pub use nfs::{NfsExports, NfsIdmap, NfsMounts, NfsRemoved};
pub use package::EnginePackage;
pub(crate) use package::{BROUGHT, HOLD_MARKER, brought_version, version_matches};
pub use repository::Repository;
pub use storage::{EngineStorage, StorageWipe};

use crate::facts::{HostFacts, Probe, Probes};
use crate::inventory::{Host, Role};
use crate::plan::{Diff, Risk, Step};

/// Something that a host should have.
pub trait Resource {
    /// Its name within the host, such as `docker.package`.
    fn name(&self) -> &'static str;

    /// The questions that [`Resource::plan`] needs answered.
    fn probes(&self) -> Probes;

    /// What differs from what is wanted, and how to mend it.
    fn plan(&self, facts: &HostFacts) -> Verdict;
}

/// What a resource says of a host's facts.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It is as it should be.
    Same,
    /// It differs.
    Change(Draft),
    /// The facts do not tell; the text says which and why.
    Unknown(String),
    /// It differs and must not be changed; the reason, and what to do.
    Refuse {
        /// Why not.
        why: String,
        /// What to do instead.
        hint: String,
    },
}

/// A change before it has a place in a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// What it does, for people.
    pub summary: String,
    /// What differs.
    pub diff: Vec<Diff>,
    /// The steps that mend it.
    pub steps: Vec<Step>,
    /// How much it can hurt.
    pub risk: Risk,
    /// Whether the engine must be restarted for it to take effect. The planner makes the restart a
    /// change of its own, so that a node that runs tasks is drained first.
    pub restart_engine: bool,
    /// What is done right before that restart, when the node is drained: so that a change that the
    /// first engine does not bear has touched no other host.
    pub at_restart: Vec<Step>,
}

impl Draft {
    /// A safe change.
    pub fn safe(summary: impl Into<String>, diff: Vec<Diff>, steps: Vec<Step>) -> Self {
        Self {
            summary: summary.into(),
            diff,
            steps,
            risk: Risk::Safe,
            restart_engine: false,
            at_restart: Vec::new(),
        }
    }
}

/// The resources of a host, in the order in which they are put in place: the kernel, storage and
/// `daemon.json` come before the package, whose installation starts the engine at once.
pub fn resources_of(host: &Host) -> Vec<Box<dyn Resource + '_>> {
    let mut all: Vec<Box<dyn Resource + '_>> = vec![
        Box::new(NfsIdmap::new(host)),
        Box::new(NfsExports::new(host)),
    ];
    if host.role == Role::None {
        all.push(Box::new(NfsMounts::new(host)));
        return all;
    }
    all.push(Box::new(Kernel));
    all.extend(StorageWipe::of(host).map(|it| Box::new(it) as Box<dyn Resource>));
    all.extend(EngineStorage::of(host).map(|it| Box::new(it) as Box<dyn Resource>));
    all.push(Box::new(DropIns::new(&host.docker, host.storage.as_ref())));
    all.push(Box::new(DaemonConfig::new(
        &host.docker,
        host.storage.as_ref(),
    )));
    all.push(Box::new(Repository::new(&host.docker)));
    all.push(Box::new(EnginePackage::new(&host.docker)));
    // Mounts wait for their server's own changes; the engine's installation need not. Tasks come
    // only when the node joins, which is after both.
    all.push(Box::new(NfsMounts::new(host)));
    all.push(Box::new(EngineService));
    all
}

/// What a host should have no more. Nothing else waits for it, for it may not be possible now.
pub fn leavings_of(host: &Host) -> Vec<Box<dyn Resource + '_>> {
    vec![Box::new(NfsRemoved::new(host))]
}

/// All questions for a host: those of its resources, and those that every plan asks.
pub fn probes_of(host: &Host) -> Probes {
    let mut probes = Probes::from([Probe::Os, Probe::Identity, Probe::Clock, Probe::Busy]);
    if host.role != Role::None {
        probes.extend([Probe::Network, Probe::Docker, Probe::Certificates]);
        probes.extend(host.docker.overlay_mtu.map(|_| Probe::Ingress));
    }
    for resource in resources_of(host).iter().chain(&leavings_of(host)) {
        probes.extend(resource.probes());
    }
    probes
}

/// The difference of a file's text.
fn text_diff(path: &str, old: Option<&str>, new: &str) -> Diff {
    Diff::Text {
        path: path.to_owned(),
        old: old.unwrap_or_default().to_owned(),
        new: new.to_owned(),
    }
}

/// The difference of a value.
fn value_diff(name: &str, old: Option<&str>, new: &str) -> Diff {
    Diff::Value {
        name: name.to_owned(),
        old: old.map(str::to_owned),
        new: Some(new.to_owned()),
    }
}
