//! A second swarm beside one that nobody who answers knows of any more.

use crate::inventory::{Host, Inventory};
use crate::known::Known;
use crate::plan::{Plan, Refusal};
use crate::swarm::{Gathered, LastManager, LastSeen};

/// Why `plan` must not make a swarm, where this cluster had one when it was `last` seen: each of its
/// managers must say that it is in no swarm. One that does not answer, or that is no host of the
/// inventory any more, may lead it still.
pub fn forgotten(
    plan: &Plan,
    inventory: &Inventory,
    gathered: &Gathered,
    last: &LastSeen,
) -> Option<Refusal> {
    if plan.new_swarms() == 0 {
        return None;
    }
    let doubts: Vec<String> = last
        .managers
        .iter()
        .filter_map(|manager| {
            let why = doubt(manager, inventory, gathered)?;
            Some(format!("{} {why}", manager.name))
        })
        .collect();
    if doubts.is_empty() {
        return None;
    }
    let (id, managers) = (&last.cluster_id, last.managers.len());
    Some(Refusal {
        host: None,
        why: format!(
            "the swarm {id} of this cluster may live still, and a new one would be a second: of its \
             managers, {managers} when it was last seen from here, {}",
            doubts.join(", ")
        ),
        hint:
            "Bring one of them back, or into the inventory again: `skep up` goes on with the old \
               swarm, and `skep recover` where its quorum is lost. If it is gone for good, \
               `skep up --new-swarm` makes a new one, without its services and secrets."
                .to_owned(),
    })
}

/// What keeps us from knowing that a former manager is in no swarm any more.
fn doubt(
    manager: &LastManager,
    inventory: &Inventory,
    gathered: &Gathered,
) -> Option<&'static str> {
    let is = |host: &&Host| {
        host.name == manager.name || host.address.as_deref() == Some(&manager.address)
    };
    let Some(host) = inventory.hosts.iter().find(is) else {
        return Some("is no host of the inventory any more");
    };
    match gathered.get(&host.name) {
        Some(Ok(facts)) if facts.swarm == Known::Absent => None,
        Some(Ok(_)) => Some("does not tell"),
        Some(Err(_)) => Some("does not answer"),
        None => Some("was not asked"),
    }
}
