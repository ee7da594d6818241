//! The tasks of a playbook: on each host one after the other, between hosts as the playbook says.

mod order;
mod own;

use std::collections::{BTreeMap, BTreeSet};

use crate::execute::{Outcome, Report};
use crate::facts::{HostFacts, Probes};
use crate::inventory::{Host, Inventory};
use crate::known::Known;
use crate::plan::{Change, ChangeId, Outlook, Plan, Refusal};
use crate::playbook::{Context, Kind, Playbook, Task, Verb, all_hosts};
use crate::resource::task::{self, Scene, SecretValues};
use crate::resource::{Draft, Verdict};
use crate::swarm::Gathered;
use crate::template::Vars;

use super::reboot;
use super::rolling::Roll;
use order::Graph;

pub(super) use own::Own;

/// A playbook that is carried out.
#[derive(Debug, Clone)]
pub struct PlaybookRun {
    /// The playbook.
    pub playbook: Playbook,
    /// The variables of the command line.
    pub given: Vars,
    /// What its secrets are, by name.
    pub secrets: SecretValues,
    /// The boot that each host ran before: one that runs another has been rebooted.
    pub before: BTreeMap<String, String>,
    /// What tells this run from every other.
    pub id: String,
    /// What was done already.
    done: BTreeSet<ChangeId>,
}

impl PartialEq for PlaybookRun {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && self.playbook == other.playbook && self.done == other.done
    }
}

impl Eq for PlaybookRun {}

impl PlaybookRun {
    /// A run that has not begun.
    pub fn new(playbook: Playbook, given: Vars, secrets: SecretValues, id: String) -> Self {
        Self {
            playbook,
            given,
            secrets,
            before: BTreeMap::new(),
            id,
            done: BTreeSet::new(),
        }
    }

    /// The playbook of a procedure that skep brings along; `None` for `skep run`.
    pub fn shipped(verb: Verb) -> Option<Self> {
        let playbook = Playbook::shipped(verb)?;
        let (given, secrets) = (Vars::new(), SecretValues::new());
        Some(Self::new(playbook, given, secrets, verb.name().to_owned()))
    }

    /// Whether it may reboot hosts.
    pub fn reboots(&self) -> bool {
        let mut tasks = self.playbook.tasks.iter();
        tasks.any(|task| matches!(task.kind, Kind::Reboot(_)))
    }

    pub(super) fn done(&mut self, report: &Report) {
        let done = report.outcomes.iter();
        let done = done.filter(|(_, outcome)| **outcome == Outcome::Done);
        self.done.extend(done.map(|(id, _)| id.clone()));
    }

    /// What the tasks ask each host; texts can take facts, so that it is known only now.
    pub(super) fn probes(
        &self,
        inventory: &Inventory,
        gathered: &Gathered,
        selected: &BTreeSet<String>,
    ) -> BTreeMap<String, Probes> {
        let whole = Whole::of(&self.playbook, inventory);
        let mut all = BTreeMap::new();
        for host in inventory
            .hosts
            .iter()
            .filter(|it| selected.contains(&it.name))
        {
            let Some(Ok(facts)) = gathered.get(&host.name) else {
                continue;
            };
            // What cannot be rendered is told by the plan.
            let tasks = self.tasks_of(&whole, host, facts);
            let probes: Probes = tasks
                .into_iter()
                .flatten()
                .flat_map(|(_, kind)| task::probes(&kind))
                .collect();
            if !probes.is_empty() {
                all.insert(host.name.clone(), probes);
            }
        }
        all
    }

    /// The tasks of one host, by their place in the playbook, with their texts rendered.
    fn tasks_of(
        &self,
        whole: &Whole<'_>,
        host: &Host,
        facts: &HostFacts,
    ) -> Result<Vec<(usize, Kind)>, String> {
        let mut context = None;
        let mut kinds = Vec::new();
        for (place, task) in self.playbook.tasks.iter().enumerate() {
            if !whole.places[place].contains(host.name.as_str()) {
                continue;
            }
            let context = context.get_or_insert_with(|| {
                Context::new(&self.playbook, host, facts, &self.given, &whole.hosts)
            });
            let told = |why: String| format!("task `{}`: {why}", task.name);
            if let Some(when) = &task.when
                && !context.holds(when).map_err(told)?
            {
                continue;
            }
            kinds.push((place, context.render(&task.kind).map_err(told)?));
        }
        Ok(kinds)
    }
}

/// What is the same for all hosts.
struct Whole<'a> {
    /// The hosts of each task.
    places: Vec<BTreeSet<&'a str>>,
    /// All hosts, as templates know them.
    hosts: serde_json::Value,
}

impl<'a> Whole<'a> {
    fn of(playbook: &Playbook, inventory: &'a Inventory) -> Self {
        let tasks = playbook.tasks.iter();
        Self {
            places: tasks.map(|task| task.hosts(inventory)).collect(),
            hosts: all_hosts(inventory),
        }
    }
}

/// What one host needs.
#[derive(Debug, Default)]
struct Work {
    /// The changes, by the place of their task.
    drafts: BTreeMap<usize, Draft>,
    /// Whether it is to be rebooted, where a task says so.
    reboot: Option<bool>,
    /// The task that can be planned only when what comes before is done.
    later: Option<usize>,
}

impl Work {
    /// Whether the task at that place does anything.
    fn does(&self, place: usize, task: &Task) -> bool {
        let reboots = matches!(task.kind, Kind::Reboot(_)) && self.reboot == Some(true);
        reboots || self.drafts.contains_key(&place)
    }
}

/// Adds the tasks to `plan`.
pub(super) fn plan(plan: &mut Plan, roll: &Roll<'_>, run: &PlaybookRun) {
    let whole = Whole::of(&run.playbook, roll.inventory);
    let mut works: BTreeMap<&str, Work> = BTreeMap::new();
    let hosts = roll.inventory.hosts.iter();
    for host in hosts.filter(|host| roll.selected.contains(&host.name)) {
        let outlook = match roll.gathered.get(&host.name) {
            None => continue,
            Some(Err(why)) if host.optional => Outlook::Away(why.clone()),
            Some(Err(why)) => Outlook::Unknown(why.clone()),
            Some(Ok(facts)) => match host_work(plan, run, &whole, host, facts) {
                Ok(work) => {
                    works.insert(&host.name, work);
                    Outlook::Same
                }
                Err(why) => Outlook::Unknown(why),
            },
        };
        plan.hosts.insert(host.name.clone(), outlook);
    }
    let reboots = loop {
        leave_out_what_needs_unknown(plan, run, &whole.places, &mut works);
        let part = reboots(roll, run, &works);
        let unknown = |outlook: &Outlook| matches!(outlook, Outlook::Unknown(_) | Outlook::Away(_));
        if !part.hosts.values().any(unknown) {
            break part;
        }
        // The order of the others is another one without them.
        for (host, outlook) in part.hosts.into_iter().filter(|(_, it)| unknown(it)) {
            works.remove(host.as_str());
            plan.hosts.insert(host, outlook);
        }
    };
    let reboots = take(plan, run, &mut works, reboots);
    let mut graph = Graph::default();
    for (place, task) in run.playbook.tasks.iter().enumerate() {
        graph.begin(run, task);
        if matches!(task.kind, Kind::Reboot(_)) {
            for change in &reboots {
                graph.add(plan, task, change.clone());
            }
        } else {
            graph.task(plan, task, place, &mut works, roll.inventory);
        }
        graph.end(task);
    }
    for change in &plan.changes {
        plan.hosts.insert(change.host.clone(), Outlook::Changes);
    }
    for (host, work) in works {
        if work.later.is_some() {
            plan.hosts.insert(host.to_owned(), Outlook::Later);
        }
    }
}

fn host_work(
    plan: &mut Plan,
    run: &PlaybookRun,
    whole: &Whole<'_>,
    host: &Host,
    facts: &HostFacts,
) -> Result<Work, String> {
    if let Known::Value(what) = &facts.busy {
        return Err(format!("a step of another run still works there: {what}"));
    }
    let mut work = Work::default();
    let mut moving = false;
    for (place, kind) in run.tasks_of(whole, host, facts)? {
        let task = &run.playbook.tasks[place];
        let told = |why: String| format!("task `{}`: {why}", task.name);
        if let Kind::Reboot(_) = kind {
            let Some(wanted) = task::wants_reboot(&kind, facts, moving).map_err(told)? else {
                work.later = Some(place);
                break;
            };
            let booted = facts.identity.value().map(|it| &it.boot_id);
            let same = run.before.get(&host.name) == booted;
            work.reboot = Some(wanted);
            moving |= wanted && same;
            continue;
        }
        let id = ChangeId::new(&host.name, &task.name);
        if task::runs_always(&kind) && run.done.contains(&id) {
            continue;
        }
        let scene = Scene {
            host,
            facts,
            secrets: &run.secrets,
            moving,
            id: &format!("{}/{id}", run.id),
        };
        match task::plan(&kind, &scene) {
            Verdict::Same => {}
            Verdict::Unknown(why) => return Err(told(why)),
            Verdict::Refuse { why, hint } => plan.refusals.push(Refusal {
                host: Some(host.name.clone()),
                why: told(why),
                hint,
            }),
            Verdict::Change(draft) => {
                moving = true;
                work.drafts.insert(place, draft);
            }
        }
    }
    Ok(work)
}

/// The place of the task that reboots.
fn place_of_reboot(run: &PlaybookRun) -> Option<usize> {
    let mut tasks = run.playbook.tasks.iter();
    tasks.position(|task| matches!(task.kind, Kind::Reboot(_)))
}

/// The reboots: nodes are drained, and managers go one after the other.
fn reboots(roll: &Roll<'_>, run: &PlaybookRun, works: &BTreeMap<&str, Work>) -> Plan {
    let mut part = Plan::default();
    let Some(place) = place_of_reboot(run) else {
        return part;
    };
    let asked = works.iter().filter(|(_, work)| work.reboot.is_some());
    let selected: BTreeSet<String> = asked.map(|(host, _)| (*host).to_owned()).collect();
    let roll = Roll {
        selected: &selected,
        ..*roll
    };
    // One that is not wanted is as good as done: what is left of an earlier run is given back.
    let before = |host: &str| {
        let wanted = works.get(host).and_then(|work| work.reboot) == Some(true);
        let before = run.before.get(host).cloned();
        if wanted {
            before
        } else {
            before.map(|_| "another".to_owned())
        }
    };
    let name = &run.playbook.tasks[place].name;
    reboot::plan(&mut part, &roll, name, &before);
    part
}

/// Takes the reboots over into `plan`. Hosts that must wait for another round keep their later tasks
/// for it.
fn take(
    plan: &mut Plan,
    run: &PlaybookRun,
    works: &mut BTreeMap<&str, Work>,
    part: Plan,
) -> Vec<Change> {
    plan.warnings.extend(part.warnings);
    plan.refusals.extend(part.refusals);
    let later = part.hosts.iter().filter(|(_, it)| **it == Outlook::Later);
    for (host, _) in later {
        if let (Some(work), Some(place)) = (works.get_mut(host.as_str()), place_of_reboot(run)) {
            work.later = Some(place);
            work.drafts.retain(|at, _| *at < place);
        }
    }
    part.changes
}

/// A task that needs another one on all its hosts is not done where that one cannot be planned for all
/// of them.
fn leave_out_what_needs_unknown(
    plan: &mut Plan,
    run: &PlaybookRun,
    places: &[BTreeSet<&str>],
    works: &mut BTreeMap<&str, Work>,
) {
    let tasks = &run.playbook.tasks;
    loop {
        let mut lost: BTreeMap<String, String> = BTreeMap::new();
        for (place, task) in tasks.iter().enumerate() {
            let needed = |at: &usize| run.playbook.ordered || task.needs.contains(&tasks[*at].name);
            for at in (0..place).filter(needed) {
                let mut hosts = places[at].iter();
                let unknown =
                    |host: &&&str| matches!(plan.hosts.get(**host), Some(Outlook::Unknown(_)));
                let Some(unknown) = hosts.find(unknown) else {
                    continue;
                };
                let (name, needed) = (&task.name, &tasks[at].name);
                let why = format!(
                    "task `{name}` waits for `{needed}` on {unknown}, which cannot be planned"
                );
                let waits = works.iter().filter(|(_, work)| work.does(place, task));
                lost.extend(waits.map(|(host, _)| ((*host).to_owned(), why.clone())));
            }
        }
        if lost.is_empty() {
            return;
        }
        for (host, why) in lost {
            works.remove(host.as_str());
            plan.hosts.insert(host, Outlook::Unknown(why));
        }
    }
}
