//! The guard of a shutdown: nothing is switched off before it is recorded, the managers are demoted and
//! the services stopped, and the host with the record goes last.

use crate::inventory::Role;
use crate::plan::{Change, ChangeId, DockerCall, Plan, Refusal, ShutdownStep, Step};
use crate::record::{MARK, Mark, Phase};
use crate::swarm::{Gathered, Swarm};

use super::raft::ancestors;

/// Refuses a plan that switches hosts off in another order.
pub(super) fn check(plan: &Plan, gathered: &Gathered, seen: &Swarm) -> Vec<Refusal> {
    let offs: Vec<&Change> = plan.changes.iter().filter(|it| switches_off(it)).collect();
    if offs.is_empty() {
        return Vec::new();
    }
    let mut refusals = Vec::new();
    let mut refuse = |host: Option<&str>, why: String| refusals.push(Refusal::mistake(host, why));
    let records: Vec<&Change> = plan.changes.iter().filter(|it| records(it)).collect();
    let mut last = records.first().map(|change| change.host.clone());
    if records.is_empty() {
        last = noted(gathered);
        if last.is_none() && matches!(seen, Swarm::Up(_)) {
            let why = "hosts are switched off, and the cluster is not recorded";
            refuse(None, why.to_owned());
        }
    }
    let ids: Vec<&ChangeId> = offs.iter().map(|change| &change.id).collect();
    for off in &offs {
        let before = ancestors(plan, off);
        if records.iter().any(|record| !before.contains(&record.id)) {
            let why = "it is switched off before the cluster is recorded";
            refuse(Some(&off.host), why.to_owned());
        }
        if let Some(later) = plan.changes.iter().find(|change| {
            change.host == off.host && change.id != off.id && !before.contains(&change.id)
        }) {
            let why = format!("it is switched off, and `{}` comes after that", later.id);
            refuse(Some(&off.host), why);
        }
        if let Some(later) = plan.changes.iter().find(|change| {
            change.host != off.host && prepares(change) && !before.contains(&change.id)
        }) {
            let why = format!(
                "it is switched off, and `{}` does not come before that",
                later.id
            );
            refuse(Some(&off.host), why);
        }
        let others = ids.iter().filter(|id| ***id != off.id);
        if last.as_ref() == Some(&off.host) && !others.clone().all(|id| before.contains(*id)) {
            let why = "it has the record, and is switched off before others";
            refuse(Some(&off.host), why.to_owned());
        }
    }
    refusals
}

fn switches_off(change: &Change) -> bool {
    let off = |step: &Step| matches!(step, Step::PowerOff { .. });
    change.acts().any(off)
}

fn records(change: &Change) -> bool {
    let record = |step: &Step| matches!(step, Step::Shutdown(ShutdownStep::Record { .. }));
    change.acts().any(record)
}

/// Whether a change makes the swarm ready for hosts to go.
fn prepares(change: &Change) -> bool {
    let prepares = |step: &Step| match step {
        Step::Shutdown(ShutdownStep::Halt { .. }) => true,
        Step::Docker(DockerCall::NodeUpdate { role, .. }) => *role == Some(Role::Worker),
        _ => false,
    };
    change.acts().any(prepares)
}

/// The host that says of itself that it is the last, while hosts are switched off.
fn noted(gathered: &Gathered) -> Option<String> {
    gathered.iter().find_map(|(name, facts)| {
        let file = facts.as_ref().ok()?.files.get(MARK)?.value()?;
        let mark = Mark::parse(file.content.as_deref()?).ok()?;
        let last = mark.phase == Phase::Off && mark.head.last == *name;
        last.then(|| name.clone())
    })
}
