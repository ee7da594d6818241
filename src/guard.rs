//! Guards read a plan and refuse what could lose a quorum, make a second swarm or erase data. They
//! know nothing of how the plan came to be, so that a mistake of the planner stops here.

mod backup;
pub mod cloud;
mod forgotten;
mod power;
mod raft;
mod recover;
mod rotate;
mod shutdown;

use std::collections::BTreeMap;

use crate::inventory::Inventory;
use crate::known::Known;
use crate::plan::{
    Change, ChangeId, DockerCall, Plan, Refusal, Risk, ServiceAction, Step, StorageCall,
};
use crate::quorum::{majority, may_spare};
use crate::resource::storage::{self, DeviceState};
use crate::swarm::{Gathered, Swarm, Up};

pub use forgotten::forgotten;

/// All reasons not to run `plan`.
pub fn check(
    plan: &Plan,
    inventory: &Inventory,
    gathered: &Gathered,
    seen: &Swarm,
) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    refusals.extend(second_swarm(plan, seen));
    refusals.extend(destruction(plan, inventory));
    refusals.extend(devices(plan, gathered));
    refusals.extend(one_machine(plan, inventory, gathered));
    refusals.extend(dissolution(plan, inventory, gathered));
    refusals.extend(backup::check(plan, seen));
    refusals.extend(recover::check(plan, inventory, gathered, seen));
    refusals.extend(rotate::check(plan, seen));
    refusals.extend(shutdown::check(plan, gathered, seen));
    refusals.extend(power::check(plan, inventory, gathered, seen));
    if let Swarm::Up(up) = seen {
        refusals.extend(raft::check(plan, up));
        refusals.extend(identity(plan, gathered, up));
        refusals.extend(restarts(plan, up));
        refusals.extend(together(plan, up));
        refusals.extend(ambiguous(plan, inventory, up));
    }
    refusals
}

fn second_swarm(plan: &Plan, seen: &Swarm) -> Option<Refusal> {
    let allowed = usize::from(*seen == Swarm::None);
    let count = plan.new_swarms();
    (count > allowed).then(|| {
        let why = format!("the plan makes {count} new swarms where {allowed} may be made");
        Refusal::mistake(None, why)
    })
}

/// A manager leaves by force only where the whole swarm is taken apart: by a plan that does nothing
/// else, and leaves out no host that says that it is in a swarm.
fn dissolution(plan: &Plan, inventory: &Inventory, gathered: &Gathered) -> Vec<Refusal> {
    let leaves = |change: &&Change| {
        let leave = |step: &Step| matches!(step, Step::Docker(DockerCall::SwarmLeave { .. }));
        change.acts().all(leave)
    };
    let forced = plan.changes.iter().any(|change| {
        let force = |step: &Step| {
            matches!(
                step,
                Step::Docker(DockerCall::SwarmLeave { force: true, .. })
            )
        };
        change.acts().any(force)
    });
    if !forced {
        return Vec::new();
    }
    let leaving: Vec<&str> = plan
        .changes
        .iter()
        .filter(leaves)
        .map(|change| change.host.as_str())
        .collect();
    let stays = inventory.members().filter(|host| {
        let facts = gathered
            .get(&host.name)
            .and_then(|facts| facts.as_ref().ok());
        let member = facts.is_some_and(|facts| facts.swarm.value().is_some());
        member && !leaving.contains(&host.name.as_str())
    });
    let mut refusals: Vec<Refusal> = stays
        .map(|host| {
            let why = "managers leave by force, and it would stay behind";
            Refusal::mistake(Some(&host.name), why)
        })
        .collect();
    if leaving.len() < plan.changes.len() {
        let why = "managers leave by force, and that is not all that the plan does";
        refusals.push(Refusal::mistake(None, why));
    }
    refusals
}

/// Nothing is erased but the one device that the command line named, by a change that does nothing
/// else and says so.
fn destruction(plan: &Plan, inventory: &Inventory) -> Vec<Refusal> {
    let wipes = |change: &Change| {
        let is_wipe = |step: &Step| matches!(step, Step::Storage(StorageCall::Wipe { .. }));
        change.risk == Risk::Destructive || change.acts().any(is_wipe)
    };
    let allowed = |change: &Change| {
        let host = inventory.host(&change.host);
        let named = host.and_then(|host| host.wipe.as_deref());
        match &change.steps[..] {
            [Step::Storage(StorageCall::Wipe { device, .. })] => {
                change.risk == Risk::Destructive && named == Some(device.path.as_str())
            }
            _ => false,
        }
    };
    let changes = plan.changes.iter();
    changes
        .filter(|change| wipes(change) && !allowed(change))
        .map(|change| Refusal {
            host: Some(change.host.clone()),
            why: format!("`{}` would erase data", change.id),
            hint: "`up` never erases data but on the device that `--wipe HOST:DEVICE` names."
                .to_owned(),
        })
        .collect()
}

/// A device that holds anything is not written to, whatever the planner thought; unless the plan
/// erases it first, which [`destruction`] has looked at, or it bears skep's own UUID.
fn devices(plan: &Plan, gathered: &Gathered) -> Vec<Refusal> {
    let erased = |host: &str, path: &str| {
        plan.changes.iter().any(|change| {
            let wipes = |step: &Step| {
                matches!(step, Step::Storage(StorageCall::Wipe { device, .. }) if device.path == path)
            };
            change.host == host && change.acts().any(wipes)
        })
    };
    let mut refusals = Vec::new();
    for change in &plan.changes {
        let Some(Ok(facts)) = gathered.get(&change.host) else {
            continue;
        };
        let writes = change.acts().filter_map(|step| match step {
            Step::Storage(StorageCall::Wipe { .. }) => None,
            Step::Storage(call) => call.writes(),
            _ => None,
        });
        for device in writes {
            let path = &device.path;
            let fine = match storage::device_state(facts, path, None, None) {
                Ok(DeviceState::Empty | DeviceState::Ours(_)) => true,
                // Removable is looked at with the size that the inventory says.
                Ok(_) => facts
                    .devices
                    .get(path)
                    .and_then(Known::value)
                    .is_some_and(|found| {
                        let size = Some(found.size);
                        storage::in_the_way(found, size).is_empty()
                            && (erased(&change.host, path)
                                || (found.signatures.is_empty() && found.partitions.is_empty()))
                    }),
                Err(_) => false,
            };
            if !fine {
                let why = format!(
                    "`{}` would write to `{path}`, which is not empty",
                    change.id
                );
                refusals.push(Refusal::mistake(Some(&change.host), why));
            }
        }
    }
    refusals
}

/// A restart takes a manager away for a moment. With one or two managers there is no way around
/// that; with more, the others must be a majority without it.
fn restarts(plan: &Plan, up: &Up) -> Vec<Refusal> {
    let (total, reachable) = up.raft();
    if may_spare(total, reachable) {
        return Vec::new();
    }
    let majority = majority(total);
    let restarts = plan
        .changes
        .iter()
        .filter(|change| restarts_engine(change) && is_reachable_manager(up, &change.host));
    restarts
        .map(|change| Refusal {
            host: Some(change.host.clone()),
            why: format!(
                "managers {total}, reachable {reachable}, majority {majority}: restarting this one would leave {}",
                reachable - 1
            ),
            hint: "Bring the lost manager back first.".to_owned(),
        })
        .collect()
}

fn restarts_engine(change: &Change) -> bool {
    change.acts().any(|step| {
        matches!(
            step,
            Step::RestartEngine | Step::UpgradeEngine { .. } | Step::Reboot { .. }
        ) || matches!(step, Step::Service { unit, action: ServiceAction::Restart } if unit == "docker.service")
    })
}

fn is_reachable_manager(up: &Up, host: &str) -> bool {
    let manager = up.node_of(host).and_then(|node| node.manager.as_ref());
    manager.is_some_and(|manager| manager.reachable)
}

/// Restarts of managers that the plan does not put one after the other: two at once can take the
/// quorum, and one that fails would not keep the next from being tried.
fn together(plan: &Plan, up: &Up) -> Option<Refusal> {
    let (total, _) = up.raft();
    let restarts: Vec<&Change> = plan
        .changes
        .iter()
        .filter(|change| restarts_engine(change) && is_reachable_manager(up, &change.host))
        .collect();
    // Of a chain of n, n - 1 wait for another one of it directly.
    let is_restart = |id: &ChangeId| restarts.iter().any(|change| change.id == *id);
    let chained = restarts
        .iter()
        .filter(|change| change.before().any(is_restart));
    (total >= 3 && restarts.len() > 1 && chained.count() + 1 < restarts.len()).then(|| {
        let count = restarts.len();
        let why =
            format!("the plan restarts {count} of {total} managers, and not one after the other");
        Refusal::mistake(None, why)
    })
}

/// A node is known by its NodeID alone, and from both sides: its row must be in the managers' list,
/// and where its host answers, the row's host name must be the host's own, for rows are known to
/// change places after an upgrade or a reboot (moby#46167). A leftover of the same name does not
/// matter. Nothing of a node's role, work or membership is changed while it is not so.
fn identity(plan: &Plan, gathered: &Gathered, up: &Up) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    for change in &plan.changes {
        for id in change.acts().filter_map(named) {
            if !up.nodes.iter().any(|node| node.id == id) {
                let why = format!(
                    "`{}` is about node {id}, which the managers do not list",
                    change.id
                );
                refusals.push(Refusal::mistake(Some(&change.host), why));
            }
        }
        let touches = change.acts().any(|step| {
            matches!(
                step,
                Step::Docker(
                    DockerCall::NodeUpdate {
                        id: None,
                        role: Some(_),
                        ..
                    } | DockerCall::SwarmLeave { force: false, .. }
                )
            )
        });
        let (true, Some(node), Some(Ok(facts))) = (
            touches,
            up.node_of(&change.host),
            gathered.get(&change.host),
        ) else {
            continue;
        };
        let own = facts
            .identity
            .value()
            .map(|identity| identity.hostname.as_str());
        if let Some(own) = own.filter(|own| {
            !own.is_empty() && !node.hostname.is_empty() && !node.hostname.eq_ignore_ascii_case(own)
        }) {
            refusals.push(Refusal {
                host: Some(change.host.clone()),
                why: format!(
                    "it calls itself `{own}` and says that it is node {}, which the managers call `{}`",
                    node.id, node.hostname
                ),
                hint: "The managers' rows may have changed places (moby#46167). Restart the engine of this host, then run the command again.".to_owned(),
            });
        }
    }
    refusals
}

/// The NodeID that a step names.
fn named(step: &Step) -> Option<&str> {
    match step {
        Step::Docker(DockerCall::NodeUpdate { id, .. } | DockerCall::Drain { id, .. }) => {
            id.as_deref()
        }
        Step::Docker(
            DockerCall::SwarmLeave { id, force: false } | DockerCall::NodeRemove { id, .. },
        ) => Some(id),
        _ => None,
    }
}

/// Two hosts that say that they are the same node, after an engine upgrade or with a cloned disk
/// (moby#46167), or that are one machine under two names. Nothing is changed for either while it is
/// so.
fn ambiguous(plan: &Plan, inventory: &Inventory, up: &Up) -> Vec<Refusal> {
    let nodes = inventory.hosts.iter().filter_map(|host| {
        let id = &up.node_of(&host.name)?.id;
        Some((host.name.as_str(), id.clone()))
    });
    let why = |twin: &str, id: &String| format!("it and `{twin}` both say that they are node {id}");
    twins(plan, nodes, why)
}

/// Two names for one machine. The ID of the machine alone may be the same on clones; that of its
/// boot too is the same on nothing but itself.
fn one_machine(plan: &Plan, inventory: &Inventory, gathered: &Gathered) -> Vec<Refusal> {
    let members = inventory.members().filter_map(|host| {
        let facts = gathered.get(&host.name)?.as_ref().ok()?;
        let identity = facts.identity.value()?;
        let told = !identity.machine_id.is_empty() && !identity.boot_id.is_empty();
        let id = (identity.machine_id.clone(), identity.boot_id.clone());
        told.then_some((host.name.as_str(), id))
    });
    let why = |twin: &str, (machine, _): &(String, String)| {
        format!("it and `{twin}` are one machine (machine ID {machine})")
    };
    twins(plan, members, why)
}

fn twins<'a, T: Ord>(
    plan: &Plan,
    hosts: impl Iterator<Item = (&'a str, T)>,
    why: impl Fn(&str, &T) -> String,
) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let mut seen = BTreeMap::new();
    for (host, id) in hosts {
        let Some(twin) = seen.get(&id) else {
            seen.insert(id, host);
            continue;
        };
        if plan.hosts.contains_key(host) || plan.hosts.contains_key(*twin) {
            refusals.push(Refusal {
                host: Some(host.to_owned()),
                why: why(twin, &id),
                hint: "One is a copy of the other's disk, or both names lead to one machine. Take the copy out, or correct the inventory.".to_owned(),
            });
        }
    }
    refusals
}

#[cfg(test)]
mod tests;
