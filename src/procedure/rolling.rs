//! Nodes that are taken out of service one after the other, and come back: what an upgrade and a
//! reboot have in common.

use std::collections::BTreeSet;
use std::str::FromStr;

use crate::facts::{HostFacts, Node};
use crate::inventory::{Availability, Host, Inventory, Role};
use crate::plan::swarm::leave::{self, mark_drained, set_availability, wait_spared};
use crate::plan::swarm::wait_member;
use crate::plan::{
    Change, ChangeId, Diff, DockerCall, Outlook, Plan, Refusal, Risk, ServiceAction, Step,
};
use crate::resource::DRAINED_MARKER;
use crate::swarm::{Gathered, Membership, Swarm, Up};

use super::node::no_swarm;

/// How many workers may be out of service at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unavailable {
    /// So many.
    Count(usize),
    /// So many of a hundred, rounded down, at least one.
    Percent(usize),
}

impl Unavailable {
    /// One after the other.
    pub const ONE: Self = Self::Count(1);

    /// How many that are of so many; at least one.
    pub(super) fn of(self, workers: usize) -> usize {
        let count = match self {
            Self::Count(count) => count,
            Self::Percent(percent) => workers * percent / 100,
        };
        count.max(1)
    }
}

impl FromStr for Unavailable {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (digits, percent) = match text.strip_suffix('%') {
            Some(digits) => (digits, true),
            None => (text, false),
        };
        match digits.parse::<usize>() {
            Ok(number) if percent && (1..=100).contains(&number) => Ok(Self::Percent(number)),
            Ok(number) if !percent && number > 0 => Ok(Self::Count(number)),
            _ => Err(
                "write a number of workers such as `2`, or a part of them such as `10%`".to_owned(),
            ),
        }
    }
}

/// What is rolled over, and how.
pub(super) struct Roll<'a> {
    pub(super) inventory: &'a Inventory,
    pub(super) gathered: &'a Gathered,
    pub(super) seen: &'a Swarm,
    pub(super) selected: &'a BTreeSet<String>,
    pub(super) max_unavailable: Unavailable,
    pub(super) pause: u32,
}

/// What is to be done to a host.
pub(super) enum Job {
    /// Nothing.
    Nothing,
    /// This.
    Do(Task),
    /// The facts do not tell.
    Unknown(String),
    /// It must not be done: why, and what to do instead.
    Refuse(String, String),
}

/// What takes a host out of service for a while.
pub(super) struct Task {
    pub(super) summary: String,
    pub(super) diff: Vec<Diff>,
    /// While it still works.
    pub(super) before: Vec<Step>,
    /// While its tasks are elsewhere.
    pub(super) during: Vec<Step>,
}

/// Where a host stands.
enum Place<'a> {
    /// In no swarm.
    Outside,
    /// A node that works.
    Member(&'a Node),
    /// A node whose engine does not run, or is locked: nothing is taken away from it any more.
    Lost(Role),
}

/// A host whose turn comes.
struct Turn<'a> {
    host: &'a Host,
    place: Place<'a>,
    /// Whether skep took its work away before and has not given it back.
    marked: bool,
    /// Nothing to do but to give that back.
    task: Option<Task>,
}

impl<'a> Roll<'a> {
    /// One worker at a time, with no pause.
    pub(super) fn of(
        inventory: &'a Inventory,
        gathered: &'a Gathered,
        seen: &'a Swarm,
        selected: &'a BTreeSet<String>,
    ) -> Self {
        Self {
            inventory,
            gathered,
            seen,
            selected,
            max_unavailable: Unavailable::ONE,
            pause: 0,
        }
    }

    /// Plans what `job` says of each of the selected hosts, as changes of `resource`.
    pub(super) fn plan(
        &self,
        plan: &mut Plan,
        resource: &str,
        mut job: impl FnMut(&'a Host, &'a HostFacts) -> Job,
    ) {
        let mut turns = Vec::new();
        let hosts = self.inventory.hosts.iter();
        for host in hosts.filter(|host| self.selected.contains(&host.name)) {
            let facts = match self.gathered.get(&host.name) {
                None => continue,
                Some(Ok(facts)) => facts,
                Some(Err(why)) => {
                    let why = why.clone();
                    let outlook = if host.optional {
                        Outlook::Away(why)
                    } else {
                        Outlook::Unknown(why)
                    };
                    plan.hosts.insert(host.name.clone(), outlook);
                    continue;
                }
            };
            let outlook = match self.turn(host, facts, job(host, facts)) {
                Ok(Some(turn)) => {
                    turns.push(turn);
                    Outlook::Changes
                }
                Err(Job::Refuse(why, hint)) => {
                    let host = Some(host.name.clone());
                    plan.refusals.push(Refusal { host, why, hint });
                    Outlook::Same
                }
                Err(Job::Unknown(why)) => Outlook::Unknown(why),
                Ok(None) | Err(_) => Outlook::Same,
            };
            plan.hosts.insert(host.name.clone(), outlook);
        }
        let in_swarm = |turn: &Turn<'_>| turn.host.role != Role::None;
        if matches!(self.seen, Swarm::Down(_) | Swarm::Split { .. }) && turns.iter().any(in_swarm) {
            plan.refusals.push(no_swarm(self.seen));
            return;
        }
        // What an earlier run left lying comes first, and alone: one of them may be the manager
        // without which no other can be spared.
        let lost = |turn: &Turn<'_>| matches!(turn.place, Place::Lost(_));
        if turns.iter().any(lost) {
            let (first, later): (Vec<_>, Vec<_>) = turns.into_iter().partition(lost);
            for turn in later {
                plan.hosts.insert(turn.host.name.clone(), Outlook::Later);
            }
            turns = first;
        }
        self.order(plan, resource, turns);
    }

    fn turn(
        &self,
        host: &'a Host,
        facts: &'a HostFacts,
        job: Job,
    ) -> Result<Option<Turn<'a>>, Job> {
        let marked = leave::is_marked(facts);
        let task = match job {
            Job::Nothing => None,
            Job::Do(task) => Some(task),
            other => return Err(other),
        };
        if task.is_none() && !marked {
            return Ok(None);
        }
        let membership = match self.seen {
            Swarm::Up(up) => up
                .members
                .get(&host.name)
                .map(|membership| (up, membership)),
            _ => None,
        };
        let place = match membership {
            _ if host.role == Role::None => Place::Outside,
            None | Some((_, Membership::Outside)) => Place::Outside,
            Some((up, Membership::Member { .. })) => match up.node_of(&host.name) {
                Some(node) => Place::Member(node),
                None => return Err(Job::Unknown("the managers do not list it".to_owned())),
            },
            Some((up, Membership::Locked)) => Place::Lost(role_of(host, up)),
            Some((up, Membership::Unknown(_))) if engine_stopped(facts) => {
                Place::Lost(role_of(host, up))
            }
            Some((_, Membership::Joining)) => {
                return Err(Job::Unknown("it is joining the swarm".to_owned()));
            }
            Some((_, Membership::Stuck(why) | Membership::Unknown(why))) => {
                return Err(Job::Unknown(why.clone()));
            }
            Some((_, Membership::Foreign { id, .. })) => {
                return Err(Job::Refuse(
                    format!("it is node {id} of another swarm"),
                    "skep never touches a swarm that it does not manage.".to_owned(),
                ));
            }
        };
        Ok(Some(Turn {
            host,
            place,
            marked,
            task,
        }))
    }

    /// Puts the turns one after the other: hosts outside the swarm and workers first, of which the
    /// very first alone, since what breaks it would break the others too; then the managers one by
    /// one, the leader last, so that the leadership moves once.
    fn order(&self, plan: &mut Plan, resource: &str, turns: Vec<Turn<'a>>) {
        let rank = |turn: &Turn<'_>| match &turn.place {
            Place::Outside => 0,
            Place::Lost(Role::Manager) => 2,
            Place::Lost(_) => 1,
            Place::Member(node) => match &node.manager {
                None => 1,
                Some(raft) if !raft.leader => 2,
                Some(_) => 3,
            },
        };
        let mut turns = turns;
        turns.sort_by_key(rank);
        let workers = turns.iter().filter(|turn| rank(turn) < 2).count();
        let width = self.max_unavailable.of(self.workers());
        let mut batches: Vec<Vec<Turn<'a>>> = Vec::new();
        for (place, turn) in turns.into_iter().enumerate() {
            let joins = place > 1 && place < workers && (place - 1) % width != 0;
            match batches.last_mut() {
                Some(batch) if joins => batch.push(turn),
                _ => batches.push(vec![turn]),
            }
        }
        let last = batches.len().saturating_sub(1);
        let mut before = BTreeSet::new();
        for (place, batch) in batches.into_iter().enumerate() {
            let mut ids = BTreeSet::new();
            for turn in batch {
                let Some(mut change) = self.change(plan, resource, turn) else {
                    continue;
                };
                if self.pause > 0 && place < last {
                    let seconds = self.pause;
                    change.steps.push(Step::Pause { seconds });
                }
                change.follows.clone_from(&before);
                ids.insert(change.id.clone());
                plan.changes.push(change);
            }
            before = ids;
        }
    }

    /// How many workers the swarm has, of the inventory's.
    fn workers(&self) -> usize {
        let Swarm::Up(up) = self.seen else {
            return self.inventory.members().count();
        };
        let is_worker = |host: &&Host| {
            let node = up.node_of(&host.name);
            node.is_some_and(|node| node.manager.is_none())
        };
        self.inventory.members().filter(is_worker).count()
    }

    fn change(&self, plan: &mut Plan, resource: &str, turn: Turn<'_>) -> Option<Change> {
        let name = &turn.host.name;
        let up = match self.seen {
            Swarm::Up(up) => Some(up),
            _ => None,
        };
        let mut managers = up.map(|up| up.managers.clone()).unwrap_or_default();
        // The node itself is asked last.
        managers.sort_by_key(|manager| manager == name);
        let (role, active) = match &turn.place {
            Place::Outside => (None, false),
            Place::Lost(role) => (Some(*role), turn.marked),
            Place::Member(node) => (
                Some(match node.manager {
                    Some(_) => Role::Manager,
                    None => Role::Worker,
                }),
                turn.marked || node.availability == Availability::Active,
            ),
        };
        let autolock = up.is_some_and(|up| up.settings.autolock) && role == Some(Role::Manager);
        let others: Vec<String> = managers
            .iter()
            .filter(|manager| *manager != name)
            .cloned()
            .collect();
        if autolock && others.is_empty() {
            plan.refusals.push(Refusal {
                host: Some(name.clone()),
                why: "its engine would be restarted, autolock is on, and no other manager could give the unlock key afterwards".to_owned(),
                hint: "Save the key (`skep docker -- swarm unlock-key`) and do this host by hand.".to_owned(),
            });
            return None;
        }
        let works = matches!(turn.place, Place::Member(_));
        let mut steps = Vec::new();
        let (summary, diff, risk) = match turn.task {
            None => {
                let diff = vec![Diff::Value {
                    name: "availability".to_owned(),
                    old: Some("drained for a restart".to_owned()),
                    new: Some("as before".to_owned()),
                }];
                let summary = "give the node back the work that was taken away".to_owned();
                if !works {
                    // A run that was cut between the new packages and their start.
                    steps.push(Step::Service {
                        unit: "docker.service".to_owned(),
                        action: ServiceAction::EnableNow,
                    });
                }
                if autolock && !works {
                    steps.push(unlock(&others));
                }
                (summary, diff, Risk::Safe)
            }
            Some(task) => {
                steps.extend(task.before);
                if works {
                    steps.push(wait_spared(&managers));
                }
                if works && active {
                    steps.push(mark_drained());
                    steps.push(leave::drain(&managers, None));
                }
                steps.extend(task.during);
                if autolock {
                    steps.push(unlock(&others));
                }
                (task.summary, task.diff, Risk::Disruptive)
            }
        };
        if let Some(role) = role {
            steps.push(wait_member(role, &managers));
        }
        if active {
            steps.push(set_availability(&managers, Availability::Active));
        }
        if turn.marked || active {
            steps.push(Step::RemoveFile {
                path: DRAINED_MARKER.to_owned(),
            });
        }
        Some(Change {
            id: ChangeId::new(name, resource),
            host: name.clone(),
            resource: resource.to_owned(),
            summary,
            diff,
            steps,
            risk,
            lane: None,
            needs: BTreeSet::new(),
            follows: BTreeSet::new(),
        })
    }
}

fn unlock(managers: &[String]) -> Step {
    Step::Docker(DockerCall::Unlock {
        managers: managers.to_vec(),
    })
}

fn engine_stopped(facts: &HostFacts) -> bool {
    let engine = facts.engine.value();
    engine.is_some_and(|engine| engine.version.is_none())
}

/// The role of a node whose host does not say which node it is: that of the one row that looks like
/// it, else that of the inventory.
fn role_of(host: &Host, up: &Up) -> Role {
    let like: Vec<&Node> = up
        .nodes_of_nobody()
        .filter(|node| leave::is_like(host, node))
        .collect();
    match like[..] {
        [node] if node.manager.is_some() => Role::Manager,
        [_] => Role::Worker,
        _ => host.role,
    }
}
