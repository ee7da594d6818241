//! The guard of power: no machine is switched off whose vote the swarm cannot do without.

use crate::inventory::{Inventory, Role};
use crate::plan::{Change, Plan, PowerCall, Refusal, Step};
use crate::quorum::majority;
use crate::swarm::{Gathered, Swarm};

use super::is_reachable_manager;

/// What to do instead.
const HINT: &str =
    "`skep shutdown` switches the whole cluster off in the right order, so that it comes back.";

/// Refuses what would take the quorum away, or could where nobody can tell.
pub(super) fn check(
    plan: &Plan,
    inventory: &Inventory,
    gathered: &Gathered,
    seen: &Swarm,
) -> Vec<Refusal> {
    let off = |change: &&Change| {
        let off = |step: &Step| {
            matches!(
                step,
                Step::Power(PowerCall::Cut { .. } | PowerCall::ShutDown { .. })
            )
        };
        change.acts().any(off)
    };
    let off: Vec<&Change> = plan.changes.iter().filter(off).collect();
    if off.is_empty() {
        return Vec::new();
    }
    if let Swarm::Up(up) = seen {
        let (total, reachable) = up.raft();
        let votes = off.iter().filter(|it| is_reachable_manager(up, &it.host));
        let (votes, need) = (votes.count(), majority(total));
        if votes == 0 || reachable.saturating_sub(votes) >= need {
            return Vec::new();
        }
        let left = reachable.saturating_sub(votes);
        return vec![Refusal {
            host: None,
            why: format!(
                "managers {total}, reachable {reachable}, majority {need}: switching {votes} of them off would leave {left}"
            ),
            hint: HINT.to_owned(),
        }];
    }
    if *seen == Swarm::None {
        return Vec::new();
    }
    // Without an answer of a manager with quorum nobody can say which votes count.
    let may_vote = |change: &&&Change| {
        let facts = gathered.get(&change.host).and_then(|it| it.as_ref().ok());
        let local = facts.and_then(|facts| facts.swarm.value());
        let wanted = inventory.host(&change.host).map(|host| host.role);
        wanted == Some(Role::Manager) || local.is_some_and(|local| local.control)
    };
    let refused = off.iter().filter(may_vote).map(|change| Refusal {
        host: Some(change.host.clone()),
        why: "it may be a manager, and no manager with quorum answers: whether it can be spared is not known".to_owned(),
        hint: HINT.to_owned(),
    });
    refused.collect()
}
