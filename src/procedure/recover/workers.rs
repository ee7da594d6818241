//! The workers of a swarm that goes on from one manager: those that find it by themselves, and those that
//! know only managers that are gone.

use std::collections::BTreeSet;

use crate::facts::LocalSwarm;
use crate::inventory::{Host, Inventory, Role};
use crate::plan::swarm::leave::wait_gone;
use crate::plan::{ChangeId, Diff, DockerCall, Plan, Risk, Step};
use crate::swarm::{Gathered, Membership, Up};

use super::change;
use super::diagnose::{Diagnosis, Survivor};

fn local_of<'a>(gathered: &'a Gathered, host: &str) -> Option<&'a LocalSwarm> {
    let facts = gathered.get(host)?.as_ref().ok()?;
    facts.swarm.value()
}

/// The workers that answer and will find the survivor by themselves. Of those of this swarm that do not
/// know it the plan says what comes of them.
pub(super) fn that_return<'a>(
    plan: &mut Plan,
    inventory: &'a Inventory,
    gathered: &Gathered,
    found: &Diagnosis<'_>,
    survivor: &Survivor<'_>,
) -> Vec<&'a str> {
    let managers: BTreeSet<&str> = found
        .living
        .iter()
        .map(|it| it.local.node_id.as_str())
        .chain(found.others.keys().map(String::as_str))
        .collect();
    let mut back = Vec::new();
    for host in inventory.members() {
        let Some(local) = local_of(gathered, &host.name) else {
            continue;
        };
        let knows = |wanted: &dyn Fn(&str) -> bool| {
            let mut known = local.remote_managers.iter();
            known.any(|(id, _)| wanted(id))
        };
        let works =
            !local.control && matches!(local.state.as_str(), "active" | "pending" | "error");
        if !works || !knows(&|id| managers.contains(id)) {
            continue;
        }
        if local.state != "error" && knows(&|id| id == survivor.local.node_id) {
            back.push(host.name.as_str());
        } else {
            plan.warnings.push(format!(
                "{} knows nothing of {} as a manager: where it does not find it all the same, it leaves and joins again in the next round",
                host.name, survivor.host.name
            ));
        }
    }
    back
}

/// Makes the workers leave that answer us, that the managers do not hear from, and that know none of the
/// present managers: they would wait for ever. A worker has no vote, and with its row its tasks go, which
/// run elsewhere by then; `skep up`, which comes after this, lets it join again.
pub(super) fn join_again(
    plan: &mut Plan,
    inventory: &Inventory,
    gathered: &Gathered,
    up: &Up,
    managers: &[String],
) -> BTreeSet<ChangeId> {
    let mut leaving = BTreeSet::new();
    for host in inventory.members() {
        let Some(local) = local_of(gathered, &host.name) else {
            continue;
        };
        let row = up.nodes.iter().find(|node| node.id == local.node_id);
        let Some(row) = row.filter(|row| row.role == Role::Worker && row.manager.is_none()) else {
            continue;
        };
        let known = local.remote_managers.iter().map(|(_, at)| at.clone());
        let known: Vec<String> = known.collect();
        let lost = local.state == "error" || !up.is_managed_at(&known);
        if local.control || row.state == "ready" || !lost {
            continue;
        }
        let id = &row.id;
        let diff = Diff::Value {
            name: "managers that it knows".to_owned(),
            old: Some(known.join(", ")),
            new: Some("those of the new cluster".to_owned()),
        };
        let leave = change(
            &host.name,
            "swarm.join-again",
            "leave the swarm of which it knows only lost managers, to join it again",
            vec![diff],
            vec![
                Step::Docker(DockerCall::SwarmLeave {
                    id: id.clone(),
                    force: false,
                }),
                wait_gone(managers, id),
                Step::Docker(DockerCall::NodeRemove {
                    managers: managers.to_vec(),
                    id: id.clone(),
                    alive: false,
                }),
            ],
        );
        leaving.insert(leave.id.clone());
        plan.changes.push(leave);
    }
    for (host, id) in left_behind(inventory, gathered, up) {
        let mut forget = change(
            host,
            &format!("swarm.forget.{id}"),
            "take the row off the list that it left behind when it left",
            Vec::new(),
            vec![
                wait_gone(managers, id),
                Step::Docker(DockerCall::NodeRemove {
                    managers: managers.to_vec(),
                    id: id.to_owned(),
                    alive: false,
                }),
            ],
        );
        forget.risk = Risk::Safe;
        leaving.insert(forget.id.clone());
        plan.changes.push(forget);
    }
    leaving
}

/// The rows of workers that left, in a run that was cut off before it took them off the list: the
/// managers do not hear from the node, and the one host that bears its name says that it is in no swarm.
fn left_behind<'a>(
    inventory: &'a Inventory,
    gathered: &Gathered,
    up: &'a Up,
) -> Vec<(&'a str, &'a str)> {
    let is_outside = |name: &str| up.members.get(name) == Some(&Membership::Outside);
    let bears = |host: &Host, hostname: &str| {
        let facts = gathered
            .get(&host.name)
            .and_then(|facts| facts.as_ref().ok());
        let identity = facts.and_then(|facts| facts.identity.value());
        identity.is_some_and(|own| own.hostname.eq_ignore_ascii_case(hostname))
    };
    let mut rows = Vec::new();
    for node in up.nodes_of_nobody() {
        if node.state == "ready" || node.manager.is_some() || node.role != Role::Worker {
            continue;
        }
        let hosts = inventory.members();
        let hosts: Vec<&Host> = hosts.filter(|host| bears(host, &node.hostname)).collect();
        if let [host] = hosts[..]
            && is_outside(&host.name)
        {
            rows.push((host.name.as_str(), node.id.as_str()));
        }
    }
    rows
}
