//! The guard of backups: a manager whose engine is stopped for a copy is one that the others can do
//! without, and no other is taken away by the same plan.

use crate::plan::{BackupCall, Plan, Refusal, Step};
use crate::quorum::majority;
use crate::swarm::{Swarm, Up};

/// Refuses what would stop an engine that is needed.
pub(super) fn check(plan: &Plan, seen: &Swarm) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let mut taken = 0;
    for change in &plan.changes {
        for step in change.acts() {
            let Step::Backup(BackupCall::Take { without_quorum, .. }) = step else {
                continue;
            };
            taken += 1;
            let why = match seen {
                Swarm::Up(up) => needed(up, &change.host, *without_quorum),
                _ => Some("its engine would be stopped, and the swarm has no quorum".to_owned()),
            };
            refusals.extend(why.map(|why| Refusal::mistake(Some(&change.host), why)));
        }
    }
    if taken > 1 {
        let why = format!("the plan stops {taken} engines for backups");
        refusals.push(Refusal::mistake(None, why));
    }
    refusals
}

/// Why the manager `host` must not be stopped.
fn needed(up: &Up, host: &str, without_quorum: bool) -> Option<String> {
    let Some(manager) = up.node_of(host).and_then(|node| node.manager.as_ref()) else {
        return Some("its engine would be stopped for a backup, and it is no manager".to_owned());
    };
    let (total, reachable) = up.raft();
    if manager.leader && total > 1 {
        return Some("its engine would be stopped for a backup, and it leads".to_owned());
    }
    let left = reachable.saturating_sub(usize::from(manager.reachable));
    let need = majority(total);
    let allowed = left >= need || (total < 3 && without_quorum);
    (!allowed).then(|| {
        format!("managers {total}, reachable {reachable}, majority {need}: with it stopped {left} remain")
    })
}
