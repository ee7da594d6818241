//! The guard of new secrets: an unlock key that is made anew is saved by the same plan, and nothing is
//! made anew of a swarm without quorum.

use crate::plan::step::{RotateCall, WhichKey};
use crate::plan::{Plan, Refusal, Step};
use crate::swarm::Swarm;

/// Refuses what could lose a key.
pub(super) fn check(plan: &Plan, seen: &Swarm) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let mut refuse = |host: &str, why: &str| refusals.push(Refusal::mistake(Some(host), why));
    for change in &plan.changes {
        let calls = change.acts().filter_map(|step| match step {
            Step::Rotate(call) => Some(call),
            _ => None,
        });
        let calls: Vec<&RotateCall> = calls.collect();
        if !calls.is_empty() && !matches!(seen, Swarm::Up(_)) {
            refuse(
                &change.host,
                "secrets are made anew, and there is no quorum",
            );
        }
        for (place, call) in calls.iter().enumerate() {
            let RotateCall::UnlockKey { from } = call else {
                continue;
            };
            let saves = |call: &&RotateCall| {
                let new = WhichKey::Not(from.clone());
                matches!(call, RotateCall::TakeUnlockKey { which, .. } if *which == new)
            };
            if !calls[place + 1..].iter().any(saves) {
                let why = "the unlock key is made anew, and the new one is not saved";
                refuse(&change.host, why);
            }
        }
    }
    refusals
}
