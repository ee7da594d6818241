//! Taking a whole swarm apart: every host leaves it, and with the last one it is no more. Its
//! services, secrets, configs and networks are lost; engines, images and volumes stay.

use std::collections::BTreeSet;

use crate::facts::LocalSwarm;
use crate::inventory::{Host, Inventory};
use crate::known::Known;
use crate::plan::{Change, ChangeId, Diff, DockerCall, Outlook, Plan, Refusal, Risk, Step};
use crate::swarm::{Gathered, Membership, Swarm};

use super::node::no_swarm;

/// Adds what every host does to `plan`: the workers first, all at once; then the managers one after
/// the other, the leader last, so that there is an order as long as there can be.
pub(super) fn plan(plan: &mut Plan, inventory: &Inventory, gathered: &Gathered, seen: &Swarm) {
    if matches!(seen, Swarm::Split { .. }) {
        plan.refusals.push(no_swarm(seen));
        return;
    }
    let leader = match seen {
        Swarm::Up(up) => up.managers.first().cloned(),
        _ => None,
    };
    let mut workers = Vec::new();
    let mut managers = Vec::new();
    for host in inventory.members() {
        let outlook = match local(host, gathered, seen) {
            Ok(None) => Outlook::Same,
            Ok(Some(local)) if is_manager(local) => {
                managers.push((host, local));
                Outlook::Changes
            }
            Ok(Some(local)) => {
                workers.push((host, local));
                Outlook::Changes
            }
            Err(_) if host.optional => Outlook::Away("it is left as it is".to_owned()),
            Err(why) => {
                plan.refusals.push(Refusal {
                    host: Some(host.name.clone()),
                    why: format!("{why}: it would stay a node of a swarm that is no more"),
                    hint: "Bring it back; or pass `--skip-unreachable`, and run `docker swarm leave --force` there when it is.".to_owned(),
                });
                continue;
            }
        };
        plan.hosts.insert(host.name.clone(), outlook);
    }
    managers.sort_by_key(|(host, _)| leader.as_ref() == Some(&host.name));
    let workers: BTreeSet<ChangeId> = workers
        .into_iter()
        .map(|(host, local)| leave(plan, host, local, BTreeSet::new()))
        .collect();
    let mut before = workers;
    for (host, local) in managers {
        let id = leave(plan, host, local, before.clone());
        before.insert(id);
    }
}

/// What a host says of its swarm; `None` where it is in none.
fn local<'a>(
    host: &Host,
    gathered: &'a Gathered,
    seen: &Swarm,
) -> Result<Option<&'a LocalSwarm>, String> {
    if let Swarm::Up(up) = seen
        && let Some(Membership::Foreign { id, .. }) = up.members.get(&host.name)
    {
        return Err(format!("it is node {id} of another swarm"));
    }
    let facts = match gathered.get(&host.name) {
        Some(Ok(facts)) => facts,
        Some(Err(why)) => return Err(format!("it does not answer ({why})")),
        None => return Err("it was not asked".to_owned()),
    };
    match &facts.swarm {
        Known::Value(local) => Ok(Some(local)),
        Known::Absent => Ok(None),
        other => {
            let why = other.why_unknown().unwrap_or("not known yet");
            Err(format!("it does not tell whether it is in a swarm ({why})"))
        }
    }
}

fn is_manager(local: &LocalSwarm) -> bool {
    local.control || local.state == "locked"
}

fn leave(plan: &mut Plan, host: &Host, local: &LocalSwarm, needs: BTreeSet<ChangeId>) -> ChangeId {
    let id = ChangeId::new(&host.name, "swarm.reset");
    let force = is_manager(local);
    let role = if force { "manager" } else { "worker" };
    plan.changes.push(Change {
        id: id.clone(),
        host: host.name.clone(),
        resource: "swarm.reset".to_owned(),
        summary: "leave the swarm for good".to_owned(),
        diff: vec![Diff::Value {
            name: "swarm".to_owned(),
            old: Some(format!("{role}, node {}", local.node_id)),
            new: None,
        }],
        steps: vec![Step::Docker(DockerCall::SwarmLeave {
            id: local.node_id.clone(),
            force,
        })],
        risk: Risk::Disruptive,
        lane: None,
        needs,
        follows: BTreeSet::new(),
    });
    id
}
