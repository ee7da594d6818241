//! What will be done: a graph of changes, each with its steps as data.

mod advertise;
mod build;
pub mod cloud;
pub mod graph;
mod hook;
mod nfs;
mod pool;
pub mod saved;
pub mod script;
mod shutdown;
mod start;
pub mod step;
pub(crate) mod swarm;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub(crate) use advertise::advertise_address;
pub use build::{build, build_and_prune};
pub use hook::HookStep;
pub(crate) use hook::place as place_hooks;
pub use nfs::NfsStep;
pub use shutdown::ShutdownStep;
pub use start::StartStep;
pub(crate) use step::availability_name;
pub(crate) use step::bytes;
pub use step::{
    BackupCall, CloudCall, Condition, DeviceId, DockerCall, HostCall, LabCall, Note, Origin,
    PackageSpec, PowerCall, PowerWay, ServiceAction, Step, StorageCall,
};

/// What will be done, and what every host came to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The cluster.
    pub cluster: String,
    /// The changes; each comes after those that it needs.
    pub changes: Vec<Change>,
    /// What each host that was asked came to.
    pub hosts: BTreeMap<String, Outlook>,
    /// What a person should know; nothing is stopped by it.
    pub warnings: Vec<String>,
    /// What stops the plan from being run. Empty in a plan that may run.
    pub refusals: Vec<Refusal>,
    /// The tasks of a procedure's playbook with the changes that come of each, in their order. Empty
    /// where no playbook gives the order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<PlannedTask>,
}

/// A task of a procedure's playbook, and what comes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedTask {
    /// Its name.
    pub name: String,
    /// Its changes; none where it has nothing to do.
    pub changes: Vec<ChangeId>,
}

/// What a plan holds for a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outlook {
    /// It is as it should be.
    Same,
    /// It will be changed.
    Changes,
    /// It does not exist yet and will be made; what it needs then is planned when it is there.
    Make,
    /// It will be changed, and what else it needs is planned after that, because its engine does
    /// not run now and cannot tell.
    Later,
    /// It is optional and does not answer, for the reason in the text; the run goes on without it.
    Away(String),
    /// It cannot be planned; the text says why. It counts as failed.
    Unknown(String),
}

/// Why a plan must not be run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The host, where it is about one.
    pub host: Option<String>,
    /// Why, with the arithmetic.
    pub why: String,
    /// What to do instead.
    pub hint: String,
}

impl Refusal {
    /// What a guard says of a plan that no planner should make.
    pub fn mistake(host: Option<&str>, why: impl Into<String>) -> Self {
        Self {
            host: host.map(str::to_owned),
            why: why.into(),
            hint: "This is a mistake of skep's; please report it with the plan.".to_owned(),
        }
    }
}

impl Plan {
    /// Whether there is nothing to do and nothing in the way.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
            && self.refusals.is_empty()
            && self
                .hosts
                .values()
                .all(|outlook| matches!(outlook, Outlook::Same | Outlook::Away(_)))
    }

    /// Says of the changes from the place `begin` on that they come of the task `name`.
    pub(crate) fn heading(&mut self, name: &str, begin: usize) {
        let changes = self.changes[begin..].iter();
        self.tasks.push(PlannedTask {
            name: name.to_owned(),
            changes: changes.map(|change| change.id.clone()).collect(),
        });
    }

    /// The optional hosts that do not answer, with the reason.
    pub fn away(&self) -> impl Iterator<Item = (&str, &str)> {
        self.hosts
            .iter()
            .filter_map(|(host, outlook)| match outlook {
                Outlook::Away(why) => Some((host.as_str(), why.as_str())),
                _ => None,
            })
    }

    /// Whether some host must be planned for once more when these changes are made.
    pub fn goes_on(&self) -> bool {
        self.hosts
            .values()
            .any(|outlook| *outlook == Outlook::Later)
    }

    /// Lets its drains stop tasks that can run on no other node.
    pub fn allow_downtime(&mut self) {
        let steps = self.changes.iter_mut().flat_map(|it| &mut it.steps);
        for step in steps {
            if let Step::Docker(DockerCall::Drain { downtime, .. }) = step {
                *downtime = true;
            }
        }
    }

    /// Whether it switches hosts off.
    pub fn switches_off(&self) -> bool {
        let off = |step: &Step| matches!(step, Step::PowerOff { .. });
        self.changes.iter().any(|change| change.acts().any(off))
    }

    /// How many swarms it makes.
    pub fn new_swarms(&self) -> usize {
        let is_init = |step: &Step| matches!(step, Step::Docker(DockerCall::SwarmInit { .. }));
        let inits = |change: &&Change| change.acts().any(is_init);
        self.changes.iter().filter(inits).count()
    }

    /// The hosts that could not be planned, with the reason.
    pub fn unknown(&self) -> impl Iterator<Item = (&str, &str)> {
        self.hosts
            .iter()
            .filter_map(|(host, outlook)| match outlook {
                Outlook::Unknown(why) => Some((host.as_str(), why.as_str())),
                _ => None,
            })
    }
}

/// The name of a change: `HOST/RESOURCE`, such as `m1/docker.package`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChangeId(pub String);

impl ChangeId {
    /// The name of the change to `resource` of `host`.
    pub fn new(host: &str, resource: &str) -> Self {
        Self(format!("{host}/{resource}"))
    }
}

impl std::fmt::Display for ChangeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// How much a change can hurt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Risk {
    /// Nothing that runs is touched.
    Safe,
    /// Tasks on the host are stopped or moved.
    Disruptive,
    /// Data is lost for ever.
    Destructive,
}

/// A bound on changes that must not all run at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lane {
    /// Changes of raft's membership: one at a time (swarmkit#2196, moby#33580).
    Raft,
    /// Changes that take a node out of service.
    Disruption,
    /// Making hosts on this machine.
    Lab,
    /// Calls of a cloud.
    Cloud,
}

impl Lane {
    /// How many changes of the lane may run at once.
    pub fn width(self) -> usize {
        match self {
            Self::Raft | Self::Disruption => 1,
            Self::Lab => 4,
            Self::Cloud => 16,
        }
    }
}

/// One change to one host: what differs, and the steps that mend it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Its name, unique in the plan.
    pub id: ChangeId,
    /// The host.
    pub host: String,
    /// The resource that differs, such as `docker.package`.
    pub resource: String,
    /// What it does, for people: `install docker.io 20.10.24`.
    pub summary: String,
    /// What differs.
    pub diff: Vec<Diff>,
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// How much it can hurt.
    pub risk: Risk,
    /// The lane that it runs in.
    pub lane: Option<Lane>,
    /// The changes that must have ended well before it starts.
    pub needs: BTreeSet<ChangeId>,
    /// The changes that must be over before it starts, and that it does not build on: done, or not
    /// begun because a hook turned them down. One that fails in its middle stops this one too.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub follows: BTreeSet<ChangeId>,
}

impl Change {
    /// What its steps do, those that are only tried as well: what a guard looks at.
    pub fn acts(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().map(Step::inner)
    }

    /// All changes that must be over before it starts.
    pub fn before(&self) -> impl Iterator<Item = &ChangeId> {
        self.needs.union(&self.follows)
    }
}

/// One difference between what is wanted and what is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Diff {
    /// A value: its name, what it is now (`None`: not there), what it will be (`None`: gone).
    Value {
        /// What it is called.
        name: String,
        /// What it is now.
        old: Option<String>,
        /// What it will be.
        new: Option<String>,
    },
    /// The text of a file.
    Text {
        /// The file's path.
        path: String,
        /// Its text now; empty when there is none.
        old: String,
        /// Its text afterwards.
        new: String,
    },
}
