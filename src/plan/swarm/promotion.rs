//! What comes before a promotion.

use crate::facts::{HostFacts, Node};
use crate::inventory::{Availability, Role};
use crate::plan::{Condition, Risk, ServiceAction, Step};
use crate::resource::DRAINED_MARKER;
use crate::swarm::{Up, ip};

use super::restart::{drain, is_marked, mark_drained, set_availability};
use super::wait_member;

/// How long the managers may take to say that a node is in raft still: an election.
const SEEN_SECONDS: u32 = 30;

/// What a promotion does to the tasks of its node, with `before` ahead of it.
pub(crate) fn risk(before: &[Step]) -> Risk {
    let restarts = before
        .iter()
        .any(|step| matches!(step, Step::Service { .. }));
    if restarts {
        Risk::Disruptive
    } else {
        Risk::Safe
    }
}

/// Restarts the engine of a node that would ask for its place in raft where no manager is.
///
/// A promoted node asks at the address at which it once joined, for as long as that engine runs
/// (seen with Engine 20.10.24: `can't initialize raft node`). Where nobody answers there, the engine
/// gives up, its tasks are lost, and a restart does not help any more: it has to leave and to join
/// again. One that was restarted before asks the managers that it knows of.
pub(crate) fn steps_before(
    facts: &HostFacts,
    node: &Node,
    up: &Up,
    managers: &[String],
) -> Vec<Step> {
    if !asks_in_vain(facts, up) {
        return Vec::new();
    }
    if node.manager.is_some() {
        // Its demotion goes on and is taken back, the sooner the better: it has its place still, or
        // this plan does not fit any more.
        let (managers, id) = (managers.to_vec(), node.id.clone());
        return vec![Step::Wait {
            condition: Condition::InRaft { managers, id },
            deadline: SEEN_SECONDS,
        }];
    }
    let active = is_marked(facts) || node.availability == Availability::Active;
    let mut steps = Vec::new();
    if active {
        steps.extend([mark_drained(), drain(managers, None)]);
    }
    steps.push(Step::Service {
        unit: "docker.service".to_owned(),
        action: ServiceAction::Restart,
    });
    steps.push(wait_member(Role::Worker, managers));
    if active {
        steps.push(set_availability(managers, Availability::Active));
        steps.push(Step::RemoveFile {
            path: DRAINED_MARKER.to_owned(),
        });
    }
    steps
}

fn asks_in_vain(facts: &HostFacts, up: &Up) -> bool {
    let leftovers = facts.leftovers.value();
    let Some(at) = leftovers.and_then(|leftovers| leftovers.joined_at.as_deref()) else {
        return false;
    };
    // One whose demotion goes on is a manager no longer than that. A leader's address can read 0.0.0.0
    // in one of the two places.
    let manages = |node: &Node| {
        let raft = node.manager.as_ref();
        raft.is_some_and(|raft| {
            let there = raft.address == at || ip(at) == node.address;
            node.role == Role::Manager && raft.reachable && there
        })
    };
    !up.nodes.iter().any(manages)
}
