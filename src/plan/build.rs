//! The planner: what is wanted and what is there, turned into a graph of changes.

use std::collections::{BTreeMap, BTreeSet};

use crate::facts::HostFacts;
use crate::inventory::{Host, Inventory};
use crate::known::Known;
use crate::resource::{self, Draft, Verdict};
use crate::swarm::{Gathered, Swarm};

use super::{Change, ChangeId, Outlook, Plan, Refusal, Risk, swarm};
use crate::nfs;

/// Plans the changes of the `selected` hosts. The picture of the swarm comes from all hosts that
/// were asked.
pub fn build(inventory: &Inventory, gathered: &Gathered, selected: &BTreeSet<String>) -> Plan {
    build_and_prune(inventory, gathered, selected, false)
}

/// The same; with `prune` the nodes that are no host of the inventory any more are taken out of the
/// swarm.
pub fn build_and_prune(
    inventory: &Inventory,
    gathered: &Gathered,
    selected: &BTreeSet<String>,
    prune: bool,
) -> Plan {
    let mut plan = Plan {
        cluster: inventory.cluster.clone(),
        ..Plan::default()
    };
    let seen = Swarm::see(inventory, gathered);
    let mut chains = BTreeMap::new();
    for host in inventory
        .hosts
        .iter()
        .filter(|host| selected.contains(&host.name))
    {
        let outlook = match gathered.get(&host.name) {
            None => continue,
            Some(Err(why)) if host.optional => Outlook::Away(why.clone()),
            Some(Err(why)) => Outlook::Unknown(why.clone()),
            Some(Ok(facts)) => match plan_host(&mut plan, host, facts) {
                Ok(chain) => {
                    chains.insert(host.name.clone(), chain);
                    Outlook::Same
                }
                Err(why) => Outlook::Unknown(why),
            },
        };
        plan.hosts.insert(host.name.clone(), outlook);
    }
    warn_of_versions(&mut plan, inventory, gathered, selected);
    nfs::exports_before_mounts(&mut plan, inventory);
    let stale = nfs::stale(inventory, gathered);
    plan.warnings.extend(stale.iter().map(ToString::to_string));
    swarm::plan(&mut plan, inventory, gathered, &seen, &chains, prune);
    for change in &plan.changes {
        if let Some(outlook @ Outlook::Same) = plan.hosts.get_mut(&change.host) {
            *outlook = Outlook::Changes;
        }
    }
    super::place_hooks(&mut plan, inventory, gathered, &seen);
    let refusals = crate::guard::check(&plan, inventory, gathered, &seen);
    plan.refusals.extend(refusals);
    plan
}

/// Where a host's chain of changes has got to.
#[derive(Debug, Clone, Default)]
pub(super) struct Chain {
    /// The last change of the host so far.
    pub(super) last: Option<ChangeId>,
    /// Whether the engine must be restarted at the end of it.
    pub(super) restart: bool,
    /// What is done right before that.
    pub(super) at_restart: Vec<super::Step>,
}

impl Chain {
    /// Makes `draft` the next change of the host.
    pub(super) fn push(&mut self, host: &str, resource: &str, draft: Draft) -> Change {
        self.restart |= draft.restart_engine;
        self.at_restart.extend(draft.at_restart);
        let id = ChangeId::new(host, resource);
        let needs = self.last.replace(id.clone()).into_iter().collect();
        Change {
            id,
            host: host.to_owned(),
            resource: resource.to_owned(),
            summary: draft.summary,
            diff: draft.diff,
            steps: draft.steps,
            risk: draft.risk,
            lane: None,
            needs,
            follows: BTreeSet::new(),
        }
    }
}

/// Plans the resources of one host. All or nothing: a host of which something is unknown gets no
/// change at all.
fn plan_host(plan: &mut Plan, host: &Host, facts: &HostFacts) -> Result<Chain, String> {
    if let Known::Value(what) = &facts.busy {
        return Err(format!("a step of another run still works there: {what}"));
    }
    let mut chain = Chain::default();
    let mut changes = Vec::new();
    let mut refusals = Vec::new();
    plan.warnings
        .extend(resource::storage::warnings(host, facts));
    for resource in resource::resources_of(host) {
        match resource.plan(facts) {
            Verdict::Same => {}
            Verdict::Unknown(why) => return Err(why),
            Verdict::Refuse { why, hint } => refusals.push(Refusal {
                host: Some(host.name.clone()),
                why,
                hint,
            }),
            Verdict::Change(draft) if draft.steps.is_empty() => {
                chain.restart |= draft.restart_engine;
            }
            Verdict::Change(draft) => {
                changes.push(chain.push(&host.name, resource.name(), draft));
            }
        }
    }
    for resource in resource::leavings_of(host) {
        match resource.plan(facts) {
            Verdict::Change(draft) => {
                changes.push(chain.clone().push(&host.name, resource.name(), draft));
            }
            Verdict::Unknown(why) => return Err(why),
            Verdict::Same | Verdict::Refuse { .. } => {}
        }
    }
    plan.refusals.extend(refusals);
    plan.changes.extend(changes);
    Ok(chain)
}

/// Says where an engine's version is not the one asked for: upgrading is a procedure of its own.
fn warn_of_versions(
    plan: &mut Plan,
    inventory: &Inventory,
    gathered: &Gathered,
    selected: &BTreeSet<String>,
) {
    for host in inventory
        .hosts
        .iter()
        .filter(|host| selected.contains(&host.name))
    {
        let Some(asked) = &host.docker.version else {
            continue;
        };
        let Some(Ok(facts)) = gathered.get(&host.name) else {
            continue;
        };
        for name in ["docker.io", "docker-ce"] {
            let Some(Known::Value(package)) = facts.packages.get(name) else {
                continue;
            };
            if !resource::version_matches(&package.version, asked) {
                plan.warnings.push(format!(
                    "{}: `{name}` is {}, and the inventory asks for {asked}; an engine that is installed is not changed by `up`; `skep upgrade` does it node by node",
                    host.name, package.version
                ));
            }
        }
    }
}

/// A change that restarts the engine, with the node drained before and activated after where it is
/// in the swarm.
pub(super) fn restart_draft(steps: Vec<super::Step>) -> Draft {
    Draft {
        risk: Risk::Disruptive,
        ..Draft::safe("restart the Docker Engine", Vec::new(), steps)
    }
}
