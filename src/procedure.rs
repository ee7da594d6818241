//! What a command wants done, beyond or instead of what the inventory says. Each builds a plan from
//! facts, so that it is shown, guarded, confirmed, carried out and proven like every other.

mod node;
mod rebalance;

use std::collections::BTreeSet;

use crate::inventory::Inventory;
use crate::plan::{self, Plan};
use crate::swarm::{Gathered, Swarm};

pub use node::{NodeAct, NodeProcedure};

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
}

impl Procedure {
    /// What the inventory says, and nothing else.
    pub const UP: Self = Self::Up { prune: false };

    /// Whether a second plan is empty when all is done.
    pub fn is_proven_by_planning(&self) -> bool {
        !matches!(self, Self::Rebalance { .. })
    }

    /// The plan for it. `selected` are the hosts that [`Procedure::Up`] is about.
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
            Self::Rebalance { services } => guarded(inventory, gathered, |plan, seen| {
                rebalance::plan(plan, seen, services);
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
    let refusals = crate::guard::check(&plan, inventory, gathered, &seen);
    plan.refusals.extend(refusals);
    plan
}
