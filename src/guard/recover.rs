//! The guard of recovery: a new cluster is forced from one manager, only where no manager has quorum,
//! and only after every other manager that lives has forgotten the old one.

use std::collections::BTreeSet;

use crate::inventory::Inventory;
use crate::plan::{BackupCall, Change, DockerCall, Plan, Refusal, Step};
use crate::swarm::{Gathered, Swarm};

use super::raft::ancestors;

/// Refuses what could take a quorum away that is there, or leave two swarms behind.
pub(super) fn check(
    plan: &Plan,
    inventory: &Inventory,
    gathered: &Gathered,
    seen: &Swarm,
) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let mut refuse = |host: Option<&str>, why: String| refusals.push(Refusal::mistake(host, why));
    for change in plan.changes.iter().filter(|it| restores(it)) {
        if matches!(seen, Swarm::Up(_) | Swarm::Split { .. }) {
            let why = "the state of a backup is put in place, and a swarm is there";
            refuse(Some(&change.host), why.to_owned());
        } else if !forces(change) {
            let why = "the state of a backup is put in place, and the others could join it again";
            refuse(Some(&change.host), why.to_owned());
        }
    }
    let forced: Vec<&Change> = plan.changes.iter().filter(|it| forces(it)).collect();
    let fences: Vec<(&Change, &str)> = plan
        .changes
        .iter()
        .filter_map(|change| Some((change, fenced(change)?)))
        .collect();
    if let Swarm::Up(up) = seen {
        for (change, id) in &fences {
            let votes = |node: &&crate::facts::Node| node.id == *id && node.manager.is_some();
            if up.nodes.iter().any(|node| votes(&node)) {
                let why = format!("it would forget the swarm by force, and node {id} is in raft");
                refuse(Some(&change.host), why);
            }
        }
    } else if !fences.is_empty() && forced.is_empty() {
        refuse(
            None,
            "managers forget the swarm, and none is to go on".to_owned(),
        );
    }
    let [one] = forced[..] else {
        if !forced.is_empty() {
            let count = forced.len();
            refuse(
                None,
                format!("the plan forces {count} new clusters of one swarm"),
            );
        }
        return refusals;
    };
    // Where nobody knows the swarm any more, the state comes from a backup.
    let lost = matches!(seen, Swarm::Down(_)) || (*seen == Swarm::None && restores(one));
    if !lost {
        refuse(
            Some(&one.host),
            "a new cluster is forced, and there is quorum".to_owned(),
        );
    }
    let before = ancestors(plan, one);
    let fenced: BTreeSet<&str> = fences
        .iter()
        .filter(|(change, _)| before.contains(&change.id))
        .map(|(change, _)| change.host.as_str())
        .collect();
    for host in inventory.members() {
        let facts = gathered.get(&host.name).and_then(|it| it.as_ref().ok());
        let Some(local) = facts.and_then(|facts| facts.swarm.value()) else {
            continue;
        };
        if local.has_quorum() {
            refuse(
                Some(&host.name),
                "it counts managers and no error: it may have quorum".to_owned(),
            );
        }
        let votes = local.control || local.state == "locked";
        if votes && host.name != one.host && !fenced.contains(host.name.as_str()) {
            let why = "a new cluster is forced, and this manager would stay in the old one";
            refuse(Some(&host.name), why.to_owned());
        }
    }
    refusals
}

fn forces(change: &Change) -> bool {
    let force = |step: &Step| matches!(step, Step::Docker(DockerCall::SwarmForce { .. }));
    change.acts().any(force)
}

/// Whether a change puts the state of a backup in place.
fn restores(change: &Change) -> bool {
    let place = |step: &Step| matches!(step, Step::Backup(BackupCall::Place { .. }));
    change.acts().any(place)
}

/// The node that forgets its swarm by force.
fn fenced(change: &Change) -> Option<&str> {
    change.acts().find_map(|step| match step {
        Step::Docker(DockerCall::SwarmFence { id }) => Some(id.as_str()),
        _ => None,
    })
}
