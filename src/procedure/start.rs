//! The way back after a shutdown or an outage.
//!
//! Two rounds. First the hosts: the one that was switched off last comes first, the others after it; on
//! each the engine, the unlock key, the storage. Then, with quorum, what the shutdown changed is taken
//! back: managers, labels, services. What it changed is marked where it was changed, and a record that
//! was carried out is marked as used, so that nothing is done twice and no later change is undone.
//!
//! The order is the one of its playbook, `playbooks/start.toml`: none of its steps may be left out or
//! moved, and the user may have tasks of his own between those of the second round.
//!
//! No swarm is ever made here.

mod nodes;
mod wake;
mod wanted;

use std::collections::BTreeSet;
use std::path::PathBuf;

use jiff::Timestamp;

use crate::facts::{HostFacts, Probe};
use crate::inventory::Inventory;
use crate::known::Known;
use crate::plan::{Change, ChangeId, Outlook, Plan, PlannedTask, Refusal, Risk, StartStep, Step};
use crate::playbook::{Action, Kind};
use crate::record::{self, MARK, Mark, Mode};
use crate::swarm::{Gathered, Swarm, Up};

use super::PlaybookRun;
use super::playbook::Own;
use wanted::Group;

pub use wanted::{Wanted, WantedService};

/// Where the last manager notes which record was carried out: the moment at which that was made.
pub(crate) const STARTED: &str = "/var/lib/skep/started";

/// How long the tasks of services may take to run, in seconds: images may have to be fetched.
const TASKS_SECONDS: u32 = 600;

/// How long a service whose tasks run may take to answer, in seconds.
const ANSWER_SECONDS: u32 = 120;

/// The way back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartProcedure {
    /// What was recorded, where a record was found.
    pub wanted: Option<Wanted>,
    /// The record's file here.
    pub file: PathBuf,
    /// How long hosts may take to come back, in seconds.
    pub wait: u32,
    /// The hosts that stay away.
    pub without: BTreeSet<String>,
    /// Whether the unlock key was given.
    pub key: bool,
    /// Whether the record is only to be marked as used.
    pub forget: bool,
    /// Whether a plan of this very run was carried out.
    pub begun: bool,
    /// The playbook: its order, and what the user's own tasks are.
    pub book: PlaybookRun,
}

/// The marks, and what is to run.
pub(super) fn probes() -> Vec<Probe> {
    let file = |path: &str| Probe::File(path.to_owned());
    vec![file(MARK), file(STARTED), Probe::Services]
}

impl StartProcedure {
    /// Whether somebody has to give the unlock key before a plan can be made.
    pub fn wants_key(&self, inventory: &Inventory, gathered: &Gathered) -> bool {
        let seen = Swarm::see(inventory, gathered);
        !self.key && !self.forget && wake::wants_key(self, inventory, gathered, &seen)
    }

    /// What is recorded and not carried out yet.
    fn open(&self, gathered: &Gathered) -> Option<&Wanted> {
        let wanted = self.wanted.as_ref()?;
        (!is_used(&wanted.head.made, gathered)).then_some(wanted)
    }
}

/// Whether some host says that this record, or a later one, was carried out.
pub(crate) fn is_used(made: &Timestamp, gathered: &Gathered) -> bool {
    let started = gathered.values().filter_map(|facts| {
        let text = text(facts.as_ref().ok()?, STARTED)?;
        text.trim().parse::<Timestamp>().ok()
    });
    started.max().is_some_and(|last| last >= *made)
}

/// The newest mark of a shutdown that some host has, and on which.
pub(crate) fn newest_mark(gathered: &Gathered) -> Option<(&str, Mark)> {
    let marks = gathered.iter().filter_map(|(host, facts)| {
        let mark = Mark::parse(text(facts.as_ref().ok()?, MARK)?).ok()?;
        Some((host.as_str(), mark))
    });
    marks.max_by_key(|(_, mark)| mark.head.made)
}

fn text<'a>(facts: &'a HostFacts, path: &str) -> Option<&'a str> {
    facts.files.get(path)?.value()?.content.as_deref()
}

/// The plan of the round that comes next.
pub(super) fn plan(inventory: &Inventory, gathered: &Gathered, start: &StartProcedure) -> Plan {
    super::guarded(inventory, gathered, |plan, seen| {
        if start.forget {
            forget(plan, gathered, seen, start);
            return;
        }
        wake::plan(plan, inventory, gathered, seen, start);
        if plan.goes_on() {
            first_tasks(plan, start);
            tell_what_comes(plan, inventory, start.open(gathered));
            return;
        }
        match seen {
            Swarm::Up(up) => bring_up(plan, inventory, gathered, up, start),
            Swarm::Down(_) if plan.refusals.is_empty() => {
                plan.refusals.push(no_quorum(inventory, gathered, seen));
            }
            Swarm::Down(_) => {}
            Swarm::None | Swarm::Split { .. } => {
                let refusal = Refusal {
                    hint: "Nothing is made here: `skep up` makes a new swarm, where that is what you want.".to_owned(),
                    ..super::node::no_swarm(seen)
                };
                plan.refusals.push(refusal);
            }
        }
    })
}

/// Which changes come of which tasks in the first round. Each host has an order of its own there, so
/// that one that boots slowly holds up nobody.
fn first_tasks(plan: &mut Plan, start: &StartProcedure) {
    for task in &start.book.playbook.tasks {
        let resource = match task.kind {
            Kind::Use(Action::PowerOn) => super::power::RESOURCE,
            Kind::Use(Action::Engines) => wake::ENGINE,
            Kind::Use(Action::Quorum) => wake::QUORUM,
            _ => continue,
        };
        let changes = plan.changes.iter().filter(|it| it.resource == resource);
        let changes = changes.map(|change| change.id.clone()).collect();
        plan.tasks.push(PlannedTask {
            name: task.name.clone(),
            changes,
        });
    }
}

/// What a second round will be about, as far as that is known.
fn tell_what_comes(plan: &mut Plan, inventory: &Inventory, wanted: Option<&Wanted>) {
    let Some(wanted) = wanted else {
        plan.warnings.push(
            "no record of a shutdown is known yet: the hosts come up, then one is looked for on the managers".to_owned(),
        );
        return;
    };
    let head = &wanted.head;
    let managers = head.managers();
    let all: Vec<_> = wanted
        .services
        .iter()
        .map(|it| (it.name.clone(), it.stack.clone()))
        .collect();
    let groups = wanted::groups(&all, &inventory.start_first, Some(wanted));
    let names: Vec<&str> = groups.iter().map(|it| it.name.as_str()).collect();
    let (made, by) = (head.made, &head.by);
    plan.warnings.push(format!(
        "after the shutdown of {made} by {by} there will be: managers {}; then, in this order, {}",
        managers.join(", "),
        if names.is_empty() {
            "no service".to_owned()
        } else {
            names.join(", ")
        }
    ));
}

fn no_quorum(inventory: &Inventory, gathered: &Gathered, seen: &Swarm) -> Refusal {
    let mut living = 0;
    let mut known = 0;
    for host in &inventory.hosts {
        let facts = gathered.get(&host.name).and_then(|it| it.as_ref().ok());
        if let Some(local) = facts.and_then(|facts| facts.swarm.value())
            && local.control
        {
            living += 1;
            known = known.max(local.remote_managers.len());
        }
    }
    let total = known.max(living);
    let base = super::node::no_swarm(seen);
    Refusal {
        host: None,
        why: format!(
            "{}; managers {total}, alive {living}, majority {}",
            base.why,
            crate::quorum::majority(total)
        ),
        hint: "Bring back the managers that are missing, and run the command again. Where they never come back, `skep recover` goes on from one that lives. A second swarm is never made here.".to_owned(),
    }
}

fn change(host: &str, resource: &str, summary: &str, steps: Vec<Step>) -> Change {
    Change {
        id: ChangeId::new(host, resource),
        host: host.to_owned(),
        resource: resource.to_owned(),
        summary: summary.to_owned(),
        diff: Vec::new(),
        steps,
        risk: Risk::Safe,
        lane: None,
        needs: BTreeSet::new(),
        follows: BTreeSet::new(),
    }
}

/// The second round: roles, labels, services, and the record is done with.
fn bring_up(
    plan: &mut Plan,
    inventory: &Inventory,
    gathered: &Gathered,
    up: &Up,
    start: &StartProcedure,
) {
    let open = start.open(gathered);
    if let Some(wanted) = open
        && wanted
            .head
            .cluster_id
            .as_ref()
            .is_some_and(|id| *id != up.cluster_id)
    {
        let id = wanted.head.cluster_id.as_deref().unwrap_or_default();
        plan.refusals.push(Refusal {
            host: None,
            why: format!(
                "the record of {} is of swarm {id}, and the hosts are in swarm {}",
                wanted.head.made, up.cluster_id
            ),
            hint:
                "Was the swarm made anew since? Then `skep start --forget` puts the record aside."
                    .to_owned(),
        });
        return;
    }
    let mut own = own_tasks(plan, inventory, gathered, up, start);
    let mut before = BTreeSet::new();
    for (place, task) in start.book.playbook.tasks.iter().enumerate() {
        let begin = plan.changes.len();
        match task.kind {
            Kind::Use(Action::Promote) => {
                let ready = nodes::ready(plan, inventory, up, start);
                let nodes = nodes::roles(plan, inventory, gathered, up, open, &ready);
                for change in &mut plan.changes[begin..] {
                    change.needs.extend(before.iter().cloned());
                }
                before.extend(nodes);
            }
            Kind::Use(Action::StartFirst) => {
                services(plan, inventory, gathered, up, open, &mut before, true);
            }
            Kind::Use(Action::StartServices) => {
                services(plan, inventory, gathered, up, open, &mut before, false);
            }
            // They are over.
            Kind::Use(_) => continue,
            _ => {
                for batch in own.take(place) {
                    let ids: Vec<ChangeId> = batch.iter().map(|it| it.id.clone()).collect();
                    for mut change in batch {
                        change.needs.extend(before.iter().cloned());
                        plan.changes.push(change);
                    }
                    before.extend(ids);
                }
            }
        }
        plan.heading(&task.name, begin);
    }
    over(plan, gathered, up, start);
    for change in &plan.changes {
        plan.hosts.insert(change.host.clone(), Outlook::Changes);
    }
}

/// The user's own tasks. A command that runs every time belongs to the record that is taken back.
fn own_tasks(
    plan: &mut Plan,
    inventory: &Inventory,
    gathered: &Gathered,
    up: &Up,
    start: &StartProcedure,
) -> Own {
    let made = to_forget(gathered, up, start).map(|(_, made)| made);
    let own = start.book.own(inventory, gathered, made);
    for trouble in &own.troubles {
        let (name, why) = (&trouble.host, &trouble.why);
        let optional = inventory.host(name).is_some_and(|host| host.optional);
        if trouble.silent && (optional || start.without.contains(name)) {
            plan.warnings.push(format!(
                "{name}: {why}; the playbook's tasks there are left out"
            ));
            continue;
        }
        let hint = "See to it, or take the host out of the task; `--without` goes on without a host that is silent.";
        plan.refusals.push(Refusal {
            host: Some(name.clone()),
            why: format!("its tasks of the playbook cannot be planned: {why}"),
            hint: trouble.hint.clone().unwrap_or_else(|| hint.to_owned()),
        });
    }
    own
}

/// Lets the services run that the shutdown stopped: those that others need, or the others. `before` is
/// what they wait for, and what comes after them waits for them too.
fn services(
    plan: &mut Plan,
    inventory: &Inventory,
    gathered: &Gathered,
    up: &Up,
    open: Option<&Wanted>,
    before: &mut BTreeSet<ChangeId>,
    first: bool,
) {
    let manager = &up.managers[0];
    let facts = gathered.get(manager).and_then(|it| it.as_ref().ok());
    let found = facts.map(|facts| &facts.services);
    let Some(Known::Value(found)) = found else {
        let why = found
            .and_then(|it| it.why_unknown())
            .unwrap_or("it did not tell");
        let why = format!("which services there are is not known: {why}");
        plan.hosts.insert(manager.clone(), Outlook::Unknown(why));
        return;
    };
    let halted = found.iter().filter(|(_, service)| service.halted);
    let mut all: Vec<(String, Option<String>)> = halted
        .map(|(name, service)| (name.clone(), service.stack.clone()))
        .collect();
    let removed = open.filter(|wanted| wanted.head.remove);
    let missing: BTreeSet<&str> = removed
        .into_iter()
        .flat_map(|wanted| &wanted.services)
        .filter(|service| !found.contains_key(&service.name))
        .map(|service| service.name.as_str())
        .collect();
    let removed = removed.into_iter().flat_map(|wanted| &wanted.services);
    all.extend(
        removed
            .filter(|service| missing.contains(service.name.as_str()))
            .map(|service| (service.name.clone(), service.stack.clone())),
    );
    let stopped: BTreeSet<String> = all.iter().map(|(name, _)| name.clone()).collect();
    // A run that was killed may have let a registry run, and not have waited until it answers.
    let up_by_now = open.into_iter().flat_map(|wanted| &wanted.services);
    let up_by_now = up_by_now.filter(|service| {
        let runs = found.get(&service.name);
        runs.is_some_and(|it| !it.halted && it.mode != Mode::Replicated(0))
    });
    all.extend(up_by_now.map(|service| (service.name.clone(), service.stack.clone())));
    let mut together = BTreeSet::new();
    let mut groups = wanted::groups(&all, &inventory.start_first, open);
    let is_stopped = |name: &String| stopped.contains(name);
    let others = |group: &Group| !group.first && group.services.iter().any(is_stopped);
    let is_waited_for = groups.iter().any(others);
    for group in &mut groups {
        if !(group.first && is_waited_for) {
            group.services.retain(is_stopped);
        }
    }
    groups.retain(|group| group.first == first && !group.services.is_empty());
    for group in groups {
        let runs = !group.services.iter().any(is_stopped);
        let (create, services): (Vec<String>, Vec<String>) = group
            .services
            .iter()
            .cloned()
            .partition(|name| missing.contains(name.as_str()));
        let mut steps = vec![Step::Start(StartStep::Resume {
            services,
            create,
            deadline: TASKS_SECONDS,
        })];
        let answers = group.answers.iter().map(|(service, port)| {
            Step::Start(StartStep::Answers {
                service: service.clone(),
                port: *port,
                deadline: ANSWER_SECONDS,
            })
        });
        steps.extend(answers);
        let (name, count) = (&group.name, group.services.len());
        let summary = match (group.first, count) {
            (true, _) if runs => format!("wait until {name} is up, for the others"),
            (true, _) => format!("bring {name} up before the others"),
            (false, 1) => format!("bring {name} up"),
            (false, _) => format!("bring {name} up, {count} services"),
        };
        let mut change = change(manager, &format!("services.{name}"), &summary, steps);
        change.needs.clone_from(before);
        let next = if first { &mut *before } else { &mut together };
        next.insert(change.id.clone());
        plan.changes.push(change);
    }
    before.append(&mut together);
}

/// The record is done with when all is done that it says.
fn over(plan: &mut Plan, gathered: &Gathered, up: &Up, start: &StartProcedure) {
    let Some((host, made)) = to_forget(gathered, up, start) else {
        return;
    };
    let here = start.file.clone();
    let steps = vec![Step::Start(StartStep::Over { made, here })];
    let mut over = change(
        host,
        "start.over",
        "note that the record is done with",
        steps,
    );
    over.needs = plan
        .changes
        .iter()
        .map(|change| change.id.clone())
        .collect();
    plan.changes.push(over);
}

/// The record that is open, and the host on which that is noted: the one that has its mark, else the
/// first manager.
fn to_forget<'a>(
    gathered: &'a Gathered,
    up: &'a Up,
    start: &StartProcedure,
) -> Option<(&'a str, Timestamp)> {
    let mark = newest_mark(gathered);
    let open = start.open(gathered).map(|wanted| wanted.head.made);
    let first = up.managers.first().map(String::as_str)?;
    match (mark, open) {
        (Some((host, mark)), open) => {
            Some((host, open.unwrap_or(mark.head.made).max(mark.head.made)))
        }
        (None, Some(made)) => Some((first, made)),
        (None, None) => None,
    }
}

/// Puts the record aside, and does nothing else.
fn forget(plan: &mut Plan, gathered: &Gathered, seen: &Swarm, start: &StartProcedure) {
    let Swarm::Up(up) = seen else {
        plan.refusals.push(super::node::no_swarm(seen));
        return;
    };
    if start.open(gathered).is_some() || newest_mark(gathered).is_some() {
        plan.warnings
            .push("what the shutdown changed stays as it is now".to_owned());
    }
    over(plan, gathered, up, start);
    for change in &plan.changes {
        plan.hosts.insert(change.host.clone(), Outlook::Changes);
    }
}

/// Where the record that was `made` then is kept when it is done with.
pub(crate) fn kept(made: Timestamp) -> String {
    let at = made.to_string().replace([':', '.'], "-");
    record::PATH.replace(".json", &format!("-{at}.done.json"))
}
