//! What a command wants done, beyond or instead of what the inventory says. Each builds a plan from
//! facts, so that it is shown, guarded, confirmed, carried out and proven like every other.

mod backup;
mod node;
mod playbook;
mod power;
mod rebalance;
mod reboot;
mod recover;
mod reset;
mod restore;
mod rolling;
mod rotate;
mod shutdown;
pub(crate) mod start;
mod upgrade;

use std::collections::{BTreeMap, BTreeSet};

use crate::execute::Report;
use crate::facts::{Probe, Probes};
use crate::inventory::Inventory;
use crate::plan::{self, Plan};
use crate::swarm::{Gathered, Swarm};

pub use backup::BackupProcedure;
pub use node::{NodeAct, NodeProcedure};
pub use playbook::PlaybookRun;
pub use power::{PowerAct, PowerProcedure};
pub use recover::RecoverProcedure;
pub use restore::RestoreProcedure;
pub(crate) use restore::without_swarm;
pub use rolling::Unavailable;
pub use rotate::{RotateProcedure, RotateWhat};
pub(crate) use rotate::{key_note, old_key_file};
pub use shutdown::ShutdownProcedure;
pub use start::{StartProcedure, Wanted, WantedService};

/// A procedure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Procedure {
    /// Make the cluster what the inventory says.
    Up {
        /// Take the nodes out that are no host of the inventory.
        prune: bool,
    },
    /// Do something to nodes.
    Node(NodeProcedure),
    /// Spread the tasks of services over the nodes again.
    Rebalance {
        /// The services by name; all where there is none.
        services: Vec<String>,
    },
    /// Bring the engines of the selected hosts to another version, node by node.
    Upgrade {
        /// The version or its beginning; else that of the inventory, else the newest.
        to: Option<String>,
        /// How many workers may be out of service at once.
        max_unavailable: Unavailable,
        /// How long to wait after each node, in seconds.
        pause: u32,
    },
    /// Make secrets of the swarm anew.
    Rotate(RotateProcedure),
    /// Bring the cluster back after a shutdown or an outage.
    Start(Box<StartProcedure>),
    /// Switch the selected hosts on or off.
    Power(PowerProcedure),
    /// Take the whole swarm apart.
    Reset,
    /// Go on from one manager where the quorum is lost for good.
    Recover(RecoverProcedure),
    /// Record everything and switch all hosts off, in the right order.
    Shutdown(Box<ShutdownProcedure>),
    /// Take a backup of the swarm's state.
    Backup(BackupProcedure),
    /// Go on from a backup.
    Restore(Box<RestoreProcedure>),
    /// Boot the selected hosts anew, one after the other.
    Reboot {
        /// The boot that each of them ran before: one that runs another is done.
        before: BTreeMap<String, String>,
        /// How long to wait after each node, in seconds.
        pause: u32,
    },
    /// Do the tasks of a playbook.
    Playbook(Box<PlaybookRun>),
}

impl Procedure {
    /// What the inventory says, and nothing else.
    pub const UP: Self = Self::Up { prune: false };

    /// Whether a second plan is empty when all is done. Hosts that are off are proven to be by their
    /// silence, and answer no second question.
    pub fn is_proven_by_planning(&self) -> bool {
        !matches!(self, Self::Rebalance { .. } | Self::Shutdown(_))
    }

    /// The questions that it has beyond those of every plan.
    pub fn probes(&self) -> Vec<Probe> {
        match self {
            Self::Upgrade { .. } => upgrade::probes(),
            Self::Rotate(_) => rotate::probes(),
            Self::Recover(_) => recover::probes(),
            Self::Shutdown(_) => shutdown::probes(),
            Self::Start(_) => start::probes(),
            Self::Backup(_) => backup::probes(),
            Self::Restore(_) => restore::probes(),
            _ => Vec::new(),
        }
    }

    /// The questions that come of the answers to the first ones, by host.
    pub fn later_probes(
        &self,
        inventory: &Inventory,
        gathered: &Gathered,
        selected: &BTreeSet<String>,
    ) -> BTreeMap<String, Probes> {
        match self {
            Self::Playbook(run) => run.probes(inventory, gathered, selected),
            Self::Shutdown(it) => it.book.own_probes(inventory, gathered),
            Self::Start(it) => it.book.own_probes(inventory, gathered),
            _ => BTreeMap::new(),
        }
    }

    /// Takes note of a plan that begins to run: what it replaces is not replaced again by this run.
    pub fn remember(&mut self, plan: &Plan) {
        if let Self::Rotate(rotate) = self {
            rotate.remember(plan);
        }
    }

    /// Takes note of what was done: what runs every time is not done again by this run.
    pub fn done(&mut self, report: &Report) {
        match self {
            Self::Playbook(run) => run.done(report),
            Self::Power(power) => power.done(report),
            Self::Start(start) => start.begun = true,
            Self::Recover(recover) => recover.begun = true,
            Self::Restore(restore) => restore.begun = true,
            Self::Backup(backup) => backup.done(report),
            _ => {}
        }
    }

    /// The plan for it. `selected` are the hosts that all but [`Procedure::Node`] and
    /// [`Procedure::Rebalance`] are about.
    pub fn plan(
        &self,
        inventory: &Inventory,
        gathered: &Gathered,
        selected: &BTreeSet<String>,
    ) -> Plan {
        match self {
            Self::Up { prune } => plan::build_and_prune(inventory, gathered, selected, *prune),
            Self::Node(procedure) => guarded(inventory, gathered, |plan, seen| {
                node::plan(plan, inventory, gathered, seen, procedure);
            }),
            Self::Rotate(procedure) => guarded(inventory, gathered, |plan, seen| {
                rotate::plan(plan, inventory, gathered, seen, procedure);
            }),
            Self::Start(start) => start::plan(inventory, gathered, start),
            Self::Power(power) => guarded(inventory, gathered, |plan, seen| {
                power::plan(plan, inventory, gathered, seen, selected, power);
            }),
            Self::Reset => guarded(inventory, gathered, |plan, seen| {
                reset::plan(plan, inventory, gathered, seen);
            }),
            Self::Recover(procedure) => recover::plan(inventory, gathered, procedure),
            Self::Shutdown(procedure) => shutdown::plan(inventory, gathered, procedure),
            Self::Restore(procedure) => restore::plan(inventory, gathered, procedure),
            Self::Backup(procedure) => guarded(inventory, gathered, |plan, seen| {
                backup::plan(plan, inventory, gathered, seen, procedure);
            }),
            Self::Rebalance { services } => guarded(inventory, gathered, |plan, seen| {
                rebalance::plan(plan, seen, services);
            }),
            Self::Upgrade {
                to,
                max_unavailable,
                pause,
            } => guarded(inventory, gathered, |plan, seen| {
                let roll = rolling::Roll {
                    max_unavailable: *max_unavailable,
                    pause: *pause,
                    ..rolling::Roll::of(inventory, gathered, seen, selected)
                };
                upgrade::plan(plan, &roll, to.as_deref());
            }),
            Self::Reboot { before, pause } => guarded(inventory, gathered, |plan, seen| {
                let roll = rolling::Roll {
                    pause: *pause,
                    ..rolling::Roll::of(inventory, gathered, seen, selected)
                };
                reboot::plan(plan, &roll, "host.reboot", &|host| {
                    before.get(host).cloned()
                });
            }),
            Self::Playbook(run) => guarded(inventory, gathered, |plan, seen| {
                let roll = rolling::Roll::of(inventory, gathered, seen, selected);
                playbook::plan(plan, &roll, run);
            }),
        }
    }
}

fn guarded(
    inventory: &Inventory,
    gathered: &Gathered,
    work: impl FnOnce(&mut Plan, &Swarm),
) -> Plan {
    let mut plan = Plan {
        cluster: inventory.cluster.clone(),
        ..Plan::default()
    };
    let seen = Swarm::see(inventory, gathered);
    work(&mut plan, &seen);
    plan::place_hooks(&mut plan, inventory, gathered, &seen);
    let refusals = crate::guard::check(&plan, inventory, gathered, &seen);
    plan.refusals.extend(refusals);
    plan
}
