//! A copy of a manager's state, taken while its engine stands still: only so the raft log and what
//! belongs to it are of one moment.
//!
//! The manager is taken out of service as for a restart: the others are a majority without it, its
//! tasks run elsewhere, the engine is stopped for the seconds that a copy takes, and only when it is
//! Reachable and Ready again does the archive leave the host.

use std::path::PathBuf;

use jiff::Timestamp;

use crate::execute::Report;
use crate::facts::{HostFacts, Node, Probe};
use crate::inventory::{Availability, Host, Inventory, Role};
use crate::plan::swarm::leave::{self, mark_drained, set_availability, wait_spared};
use crate::plan::swarm::wait_member;
use crate::plan::{
    BackupCall, Change, ChangeId, Diff, DockerCall, Origin, Outlook, Plan, Refusal, Risk, Step,
};
use crate::quorum::majority;
use crate::resource::DRAINED_MARKER;
use crate::swarm::{Gathered, Swarm, Up};

use super::node::no_swarm;
use super::recover::change;

/// What a person wants of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupProcedure {
    /// The manager to take it from; else skep chooses.
    pub on: Option<String>,
    /// The directory on this machine.
    pub to: PathBuf,
    /// The age recipients; empty writes it in the clear.
    pub recipients: Vec<String>,
    /// Whether the swarm may take no orders as long as the engine is stopped.
    pub without_quorum: bool,
    /// The moment of the run: a copy that another run took a moment ago is used.
    pub now: Timestamp,
    /// Whether this run has taken one.
    pub taken: bool,
}

impl BackupProcedure {
    /// Takes note of what was done.
    pub(super) fn done(&mut self, report: &Report) {
        let fetched = |(id, outcome): (&ChangeId, &crate::execute::Outcome)| {
            id.0.ends_with(TAKE) && *outcome == crate::execute::Outcome::Done
        };
        self.taken |= report.outcomes.iter().any(fetched);
    }
}

/// The change that ends with an archive.
const TAKE: &str = "/swarm.backup";

/// What tells of a copy, and of a node that was drained for one.
pub(super) fn probes() -> Vec<Probe> {
    vec![
        Probe::File(BackupCall::STATE.to_owned()),
        Probe::File(DRAINED_MARKER.to_owned()),
    ]
}

/// What a host's copy is.
enum Copy {
    None,
    /// Its taking was cut off, or is going on.
    Half,
    /// It is whole, and was taken at that moment.
    Whole(Timestamp),
}

fn copy_of(facts: &HostFacts) -> Copy {
    let state = facts.files.get(BackupCall::STATE);
    match state.and_then(|it| it.value()) {
        None => Copy::None,
        Some(file) => {
            let text = file.content.as_deref().unwrap_or_default();
            BackupCall::ready(text).map_or(Copy::Half, Copy::Whole)
        }
    }
}

/// Adds the backup to `plan`, and what an earlier one left.
pub(super) fn plan(
    plan: &mut Plan,
    inventory: &Inventory,
    gathered: &Gathered,
    seen: &Swarm,
    backup: &BackupProcedure,
) {
    let mended = mend(plan, inventory, gathered, seen);
    if mended {
        return;
    }
    let Swarm::Up(up) = seen else {
        plan.refusals.push(no_swarm(seen));
        return;
    };
    let chosen = if backup.taken {
        None
    } else {
        choose(plan, inventory, gathered, up, backup)
    };
    if let Some((host, facts, node)) = chosen {
        let change = take(plan, up, backup, host, facts, node);
        plan.changes.extend(change);
    }
    for host in inventory.members() {
        let Some(Ok(facts)) = gathered.get(&host.name) else {
            continue;
        };
        let is_chosen = plan.changes.iter().any(|it| it.host == host.name);
        if !is_chosen && !matches!(copy_of(facts), Copy::None) {
            plan.changes.push(tidy(host, facts, up));
        }
    }
    for change in &plan.changes {
        plan.hosts.insert(change.host.clone(), Outlook::Changes);
    }
    if plan.hosts.is_empty() {
        plan.hosts
            .extend(up.managers.iter().map(|it| (it.clone(), Outlook::Same)));
    }
}

/// Starts the engines that an earlier backup left standing, which is all that is done then. The unit
/// on the host does that by itself, and could not where the engine does not come up.
fn mend(plan: &mut Plan, inventory: &Inventory, gathered: &Gathered, seen: &Swarm) -> bool {
    let others: Vec<String> = match seen {
        Swarm::Up(up) => up.managers.clone(),
        _ => Vec::new(),
    };
    for host in inventory.managers() {
        let Some(Ok(facts)) = gathered.get(&host.name) else {
            continue;
        };
        let engine = facts.engine.value();
        let stopped = engine.is_some_and(|engine| engine.version.is_none());
        if !stopped || matches!(copy_of(facts), Copy::None) {
            continue;
        }
        let mut steps = vec![Step::Backup(BackupCall::Revive)];
        if !others.is_empty() {
            steps.push(Step::Docker(DockerCall::Unlock {
                managers: others.clone(),
            }));
        }
        let managers = if others.is_empty() {
            vec![host.name.clone()]
        } else {
            others.clone()
        };
        steps.push(wait_member(Role::Manager, &managers));
        let diff = vec![Diff::Value {
            name: "engine".to_owned(),
            old: Some("stopped for a backup".to_owned()),
            new: Some("running".to_owned()),
        }];
        let summary = "start the engine that an earlier backup left standing";
        plan.changes
            .push(safe(&host.name, "swarm.backup.mend", summary, diff, steps));
        plan.hosts.insert(host.name.clone(), Outlook::Later);
    }
    !plan.changes.is_empty()
}

/// Takes away what an earlier run left on a host, and gives the node its work back.
fn tidy(host: &Host, facts: &HostFacts, up: &Up) -> Change {
    let mut steps = Vec::new();
    if leave::is_marked(facts) {
        steps.extend(back_to_work(&up.managers));
    }
    steps.push(Step::Backup(BackupCall::Discard));
    let summary = "remove the copy that an earlier backup left";
    safe(&host.name, "swarm.backup.tidy", summary, Vec::new(), steps)
}

fn back_to_work(managers: &[String]) -> [Step; 2] {
    [
        set_availability(managers, Availability::Active),
        Step::RemoveFile {
            path: DRAINED_MARKER.to_owned(),
        },
    ]
}

/// The manager to take it from, or a refusal.
fn choose<'a>(
    plan: &mut Plan,
    inventory: &'a Inventory,
    gathered: &'a Gathered,
    up: &'a Up,
    backup: &BackupProcedure,
) -> Option<(&'a Host, &'a HostFacts, &'a Node)> {
    let candidates: Vec<(&Host, &HostFacts, &Node)> = inventory
        .members()
        .filter_map(|host| {
            let facts = gathered.get(&host.name)?.as_ref().ok()?;
            let node = up.node_of(&host.name)?;
            let manager = node.manager.as_ref()?;
            (manager.reachable && node.state == "ready").then_some((host, facts, node))
        })
        .collect();
    let leads = |node: &Node| node.manager.as_ref().is_some_and(|it| it.leader);
    let (total, reachable) = up.raft();
    let mut refuse = |host: Option<&str>, why: String, hint: &str| {
        plan.refusals.push(Refusal {
            host: host.map(str::to_owned),
            why,
            hint: hint.to_owned(),
        });
        None
    };
    let chosen = if let Some(name) = &backup.on {
        match candidates.iter().find(|(host, ..)| host.name == *name) {
            None => {
                return refuse(
                    Some(name),
                    "a backup is taken from a manager that is ready and reachable, and it is none"
                        .to_owned(),
                    "`skep status` shows the managers; without `--on` skep chooses one.",
                );
            }
            Some((_, _, node)) if leads(node) && total > 1 => {
                return refuse(
                    Some(name),
                    "it leads the managers: with its engine stopped they would have to elect another leader first".to_owned(),
                    "Name another manager, or leave `--on` out.",
                );
            }
            Some(found) => *found,
        }
    } else {
        // One that another run began with, else one that runs no tasks.
        let rank = |(_, facts, node): &&(&Host, &HostFacts, &Node)| {
            let begun = !matches!(copy_of(facts), Copy::None) || leave::is_marked(facts);
            (
                leads(node),
                !begun,
                node.availability == Availability::Active,
            )
        };
        match candidates.iter().min_by_key(rank) {
            Some(found) if total == 1 || !leads(found.2) => *found,
            _ => {
                return refuse(
                    None,
                    format!(
                        "managers {total}, reachable {reachable}: none but the leader can be asked"
                    ),
                    "Bring the other managers back first; `skep status` shows who is missing.",
                );
            }
        }
    };
    let name = &chosen.0.name;
    let (need, left) = (majority(total), reachable.saturating_sub(1));
    let sum = format!(
        "managers {total}, reachable {reachable}, majority {need}: with {name} stopped {left} remain"
    );
    if left >= need {
        plan.warnings.push(sum);
        return Some(chosen);
    }
    if total > 2 {
        return refuse(Some(name), sum, "Bring the lost manager back first.");
    }
    if !backup.without_quorum {
        return refuse(
            Some(name),
            format!("{sum}, and the swarm takes no orders until it is back"),
            "Tasks go on meanwhile. If that may be for some seconds: `--accept-no-quorum`. Three managers bear it.",
        );
    }
    if up.settings.autolock {
        return refuse(
            Some(name),
            format!("{sum}, and autolock is on: nobody could give the unlock key afterwards"),
            "Add managers to have three, or do it by hand with the key at hand.",
        );
    }
    plan.warnings.push(format!(
        "{sum}: the swarm takes no orders until it is back, as `--accept-no-quorum` allows"
    ));
    Some(chosen)
}

/// The backup itself; `None` where a fact is missing.
fn take(
    plan: &mut Plan,
    up: &Up,
    backup: &BackupProcedure,
    host: &Host,
    facts: &HostFacts,
    node: &Node,
) -> Option<Change> {
    let name = &host.name;
    let unknown = |plan: &mut Plan, why: &str| {
        plan.hosts
            .insert(name.clone(), Outlook::Unknown(why.to_owned()));
    };
    let (Some(local), Some(engine)) = (facts.swarm.value(), facts.engine.value()) else {
        unknown(plan, "its engine does not tell how it is");
        return None;
    };
    let Some(version) = engine
        .version
        .clone()
        .filter(|_| !engine.data_root.is_empty())
    else {
        unknown(plan, "its engine does not tell its version and data root");
        return None;
    };
    let mut managers = up.managers.clone();
    // The node itself is asked last.
    managers.sort_by_key(|manager| manager == name);
    let others: Vec<String> = managers.iter().filter(|it| *it != name).cloned().collect();
    let marked = leave::is_marked(facts);
    let goes_elsewhere = up.nodes.iter().any(|other| {
        other.id != node.id && other.state == "ready" && other.availability == Availability::Active
    });
    let active = node.availability == Availability::Active;
    let mut steps = Vec::new();
    let fresh = match copy_of(facts) {
        Copy::Whole(when) => backup.now.duration_since(when).as_secs().abs() < BackupCall::FRESH,
        Copy::None | Copy::Half => false,
    };
    if fresh {
        plan.warnings.push(format!(
            "{name} has a copy that another run took a moment ago: it is used, and no engine is stopped"
        ));
    } else {
        steps.push(wait_spared(&managers));
        // Without another node there is nowhere to go, and tasks start again with the engine.
        if active && goes_elsewhere {
            steps.push(mark_drained());
            steps.push(leave::drain(&managers, None));
        }
        steps.push(Step::Backup(BackupCall::Take {
            data_root: engine.data_root.clone(),
            without_quorum: backup.without_quorum,
        }));
        if up.settings.autolock {
            steps.push(Step::Docker(DockerCall::Unlock { managers: others }));
        }
    }
    steps.push(wait_member(Role::Manager, &managers));
    if marked || (active && goes_elsewhere && !fresh) {
        steps.extend(back_to_work(&managers));
    }
    steps.push(Step::Backup(BackupCall::Fetch {
        of: Box::new(Origin {
            cluster: plan.cluster.clone(),
            cluster_id: up.cluster_id.clone(),
            node_id: node.id.clone(),
            address: local.node_addr.clone(),
            engine: version,
            locked: up.settings.autolock,
        }),
        to: backup.to.clone(),
        recipients: backup.recipients.clone(),
    }));
    steps.push(Step::Backup(BackupCall::Discard));
    if backup.recipients.is_empty() {
        plan.warnings.push(
            "the archive is not encrypted: whoever reads it has the swarm's CA key and every secret".to_owned(),
        );
    }
    let diff = vec![Diff::Value {
        name: "backup".to_owned(),
        old: None,
        new: Some(format!("in {}", backup.to.display())),
    }];
    let summary = "take a backup of the swarm's state";
    Some(change(name, &TAKE[1..], summary, diff, steps))
}

/// A change that touches nothing that runs.
fn safe(host: &str, resource: &str, summary: &str, diff: Vec<Diff>, steps: Vec<Step>) -> Change {
    Change {
        risk: Risk::Safe,
        ..change(host, resource, summary, diff, steps)
    }
}
