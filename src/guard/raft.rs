//! The guard of quorum: every change of raft's membership in a plan, in the order in which the plan
//! makes them, with the arithmetic at each point.

use std::collections::BTreeSet;

use crate::inventory::Role;
use crate::plan::{Change, ChangeId, DockerCall, Plan, Refusal, Step};
use crate::quorum::{demotion, majority, may_add};
use crate::swarm::Up;

/// What a change does to raft.
enum Move {
    /// A manager more.
    Add,
    /// A demotion that goes on is taken back.
    Keep,
    /// One fewer: its name, and whether it is one of those that are reachable now.
    Demote { name: String, reachable: bool },
}

/// Refuses a plan that could cost the quorum at any point of it.
pub(super) fn check(plan: &Plan, up: &Up) -> Vec<Refusal> {
    let mut moves: Vec<(&Change, Move)> = plan
        .changes
        .iter()
        .filter_map(|change| Some((change, movement(change, up)?)))
        .collect();
    if let Some(refusal) = unordered(plan, &moves) {
        return vec![refusal];
    }
    moves.sort_by_key(|(change, _)| {
        let before = ancestors(plan, change);
        before.len()
    });
    let (mut total, mut reachable) = up.raft();
    // One whose demotion goes on is a manager still, and not for long.
    let stays = |host: &String| {
        let node = up.node_of(host);
        node.is_some_and(|node| node.role == Role::Manager)
    };
    let mut ours = up.managers.iter().filter(|host| stays(host)).count();
    for (change, movement) in &moves {
        match movement {
            Move::Add if !may_add(total, reachable) => {
                let (now, then) = (majority(total), majority(total + 1));
                return vec![Refusal {
                    host: None,
                    why: format!(
                        "managers {total}, reachable {reachable}, majority {now}: another manager makes the majority {then}, and until it has caught up only {reachable} are there"
                    ),
                    hint: "Bring the lost manager back, or take it out first: `skep node remove NAME`.".to_owned(),
                }];
            }
            Move::Add => {
                total += 1;
                reachable += 1;
                ours += 1;
            }
            Move::Keep => ours += 1,
            Move::Demote {
                name,
                reachable: answers,
            } => {
                if let Some(why) = demotion(name, total, reachable, *answers) {
                    return vec![Refusal {
                        host: Some(change.host.clone()),
                        why,
                        hint: "Bring a lost manager back, or add another one first.".to_owned(),
                    }];
                }
                total -= 1;
                reachable -= usize::from(*answers);
                ours -= usize::from(up.managers.contains(name) && stays(name));
                if ours == 0 {
                    return vec![Refusal {
                        host: Some(change.host.clone()),
                        why: format!(
                            "{name} is the last manager that the inventory knows: without it skep could not reach the swarm any more"
                        ),
                        hint: "Add another manager first, or put the swarm's other managers into the inventory.".to_owned(),
                    }];
                }
            }
        }
    }
    Vec::new()
}

fn movement(change: &Change, up: &Up) -> Option<Move> {
    change.acts().find_map(|step| match step {
        Step::Docker(DockerCall::SwarmJoin {
            role: Role::Manager,
            ..
        }) => Some(Move::Add),
        Step::Docker(DockerCall::NodeUpdate {
            role: Some(role),
            id,
            ..
        }) => {
            let node = match id {
                Some(id) => up.nodes.iter().find(|node| node.id == *id),
                None => up.node_of(&change.host),
            };
            let raft = node.and_then(|node| node.manager.as_ref());
            match (role, raft) {
                (Role::Manager, None) => Some(Move::Add),
                (Role::Manager, Some(_)) => {
                    let demoting = node.is_some_and(|node| node.role != Role::Manager);
                    demoting.then_some(Move::Keep)
                }
                (Role::Worker | Role::None, Some(raft)) => Some(Move::Demote {
                    name: match id {
                        None => change.host.clone(),
                        Some(_) => node.map(|node| node.hostname.clone()).unwrap_or_default(),
                    },
                    reachable: raft.reachable,
                }),
                _ => None,
            }
        }
        _ => None,
    })
}

/// A demotion that the plan puts neither before nor after another change of raft: nobody could say
/// what is left at that point.
fn unordered(plan: &Plan, moves: &[(&Change, Move)]) -> Option<Refusal> {
    let before: Vec<BTreeSet<&ChangeId>> = moves
        .iter()
        .map(|(change, _)| ancestors(plan, change))
        .collect();
    for (place, (change, movement)) in moves.iter().enumerate() {
        if !matches!(movement, Move::Demote { .. }) {
            continue;
        }
        for (other, (with, _)) in moves.iter().enumerate() {
            let ordered = other == place
                || before[place].contains(&with.id)
                || before[other].contains(&change.id);
            if !ordered {
                let why = format!(
                    "the plan puts `{}` neither before nor after `{}`, and both change raft",
                    change.id, with.id
                );
                return Some(Refusal::mistake(Some(&change.host), why));
            }
        }
    }
    None
}

/// All changes that come before `change`.
pub(super) fn ancestors<'a>(plan: &'a Plan, change: &'a Change) -> BTreeSet<&'a ChangeId> {
    let mut all = BTreeSet::new();
    let mut todo: Vec<&ChangeId> = change.before().collect();
    while let Some(id) = todo.pop() {
        if all.insert(id)
            && let Some(found) = plan.changes.iter().find(|change| change.id == *id)
        {
            todo.extend(found.before());
        }
    }
    all
}
