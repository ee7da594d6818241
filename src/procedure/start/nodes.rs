//! The nodes of a cluster that comes back: waited for, promoted, and given what they had.

use std::collections::{BTreeMap, BTreeSet};

use crate::facts::Node;
use crate::inventory::{Availability, Inventory, Role};
use crate::plan::swarm::{promotion, wait_member};
use crate::plan::{
    Change, ChangeId, Condition, Diff, DockerCall, Lane, Plan, Step, availability_name,
};
use crate::record::{self, WAS_MANAGER};
use crate::swarm::{Gathered, Membership, Up};

use super::{StartProcedure, Wanted, change};

/// How long nodes may take to be heard of, in seconds. After a boot the managers elect a leader first.
const READY_SECONDS: u32 = 180;

/// The nodes of hosts that answer, and that the managers do not hear of yet.
pub(super) fn ready(
    plan: &mut Plan,
    inventory: &Inventory,
    up: &Up,
    start: &StartProcedure,
) -> BTreeMap<String, ChangeId> {
    let mut waits = BTreeMap::new();
    for host in inventory
        .members()
        .filter(|host| !start.without.contains(&host.name))
    {
        match up.members.get(&host.name) {
            Some(Membership::Member { .. }) => {}
            Some(Membership::Foreign { managers, .. }) => {
                let managers = managers.join(", ");
                plan.warnings.push(format!(
                    "{} is in another swarm, with the managers {managers}: it is left alone",
                    host.name
                ));
                continue;
            }
            Some(Membership::Outside) => {
                plan.warnings.push(format!(
                    "{} is in no swarm: `skep up` lets it join",
                    host.name
                ));
                continue;
            }
            _ => continue,
        }
        let Some(node) = up.node_of(&host.name).filter(|node| node.state != "ready") else {
            continue;
        };
        let role = if node.manager.is_some() {
            Role::Manager
        } else {
            Role::Worker
        };
        let steps = vec![Step::Wait {
            condition: Condition::Member {
                role,
                managers: up.managers.clone(),
            },
            deadline: READY_SECONDS,
        }];
        let wait = change(
            &host.name,
            "swarm.ready",
            "wait until the managers hear of it",
            steps,
        );
        waits.insert(host.name.clone(), wait.id.clone());
        plan.changes.push(wait);
    }
    waits
}

/// Promotes those that were managers, and gives nodes their labels and availability. Gives what the
/// services wait for.
pub(super) fn roles(
    plan: &mut Plan,
    inventory: &Inventory,
    gathered: &Gathered,
    up: &Up,
    open: Option<&Wanted>,
    ready: &BTreeMap<String, ChangeId>,
) -> BTreeSet<ChangeId> {
    let mut before: BTreeSet<ChangeId> = ready.values().cloned().collect();
    let hosts: BTreeMap<&str, &str> = inventory
        .hosts
        .iter()
        .filter_map(|host| Some((up.node_of(&host.name)?.id.as_str(), host.name.as_str())))
        .collect();
    for node in &up.nodes {
        let was = Was {
            node,
            host: hosts.get(node.id.as_str()).copied(),
            recorded: open.and_then(|wanted| wanted.head.nodes.iter().find(|it| it.id == node.id)),
        };
        if was.is_promoted() && node.state == "down" {
            plan.warnings.push(format!(
                "{} was a manager and is down: `skep start` promotes it when it is back",
                was.host.unwrap_or(&node.hostname),
            ));
            continue;
        }
        let Some(mut change) = was.change(gathered, up) else {
            continue;
        };
        let waits = was.host.and_then(|host| ready.get(host));
        change.needs.extend(waits.cloned());
        before.insert(change.id.clone());
        plan.changes.push(change);
    }
    before
}

/// A node as it is, and as it was.
struct Was<'a> {
    node: &'a Node,
    host: Option<&'a str>,
    recorded: Option<&'a record::Node>,
}

impl Was<'_> {
    fn is_marked(&self) -> bool {
        self.node.labels.contains_key(WAS_MANAGER)
    }

    /// Whether it was a manager and is none.
    fn is_promoted(&self) -> bool {
        let recorded = self.recorded.is_some_and(|it| it.role == Role::Manager);
        (self.is_marked() || recorded) && self.node.role != Role::Manager
    }

    /// The availability that it had, where it has another.
    fn availability(&self) -> Option<Availability> {
        let was = self.recorded.map(|it| it.availability);
        was.filter(|it| *it != self.node.availability)
    }

    /// The labels that it had, where it has not.
    fn labels(&self) -> BTreeMap<String, String> {
        let was = self.recorded.iter().flat_map(|it| &it.labels);
        let lost = was.filter(|(label, was)| self.node.labels.get(*label) != Some(*was));
        lost.map(|(label, was)| (label.clone(), was.clone()))
            .collect()
    }

    fn diff(&self) -> Vec<Diff> {
        let value = |name: &str, old: Option<&str>, new: &str| Diff::Value {
            name: name.to_owned(),
            old: old.map(str::to_owned),
            new: Some(new.to_owned()),
        };
        let mut diff = Vec::new();
        if self.is_promoted() {
            diff.push(value("role", Some("worker"), "manager"));
        }
        if let Some(was) = self.availability() {
            let now = availability_name(self.node.availability);
            diff.push(value("availability", Some(now), availability_name(was)));
        }
        for (label, was) in self.labels() {
            let now = self.node.labels.get(&label).map(String::as_str);
            diff.push(value(&format!("label {label}"), now, &was));
        }
        diff
    }

    /// What makes it as it was; `None` where it is.
    fn change(&self, gathered: &Gathered, up: &Up) -> Option<Change> {
        let diff = self.diff();
        if diff.is_empty() && !self.is_marked() {
            return None;
        }
        let promotes = self.is_promoted();
        let mut steps = Vec::new();
        let facts = self.host.and_then(|host| gathered.get(host)?.as_ref().ok());
        if let Some(facts) = facts.filter(|_| promotes) {
            steps = promotion::steps_before(facts, self.node, up, &up.managers);
        }
        let risk = promotion::risk(&steps);
        let update = |role, availability, labels, unlabel| {
            Step::Docker(DockerCall::NodeUpdate {
                managers: up.managers.clone(),
                id: self.host.is_none().then(|| self.node.id.clone()),
                role,
                availability,
                labels,
                unlabel,
            })
        };
        if !diff.is_empty() {
            let role = promotes.then_some(Role::Manager);
            let none = BTreeSet::new();
            steps.push(update(role, self.availability(), self.labels(), none));
        }
        if promotes && self.host.is_some() {
            steps.push(wait_member(Role::Manager, &up.managers));
        }
        // The mark goes last: whoever is cut off before finds it.
        if self.is_marked() {
            let mark = BTreeSet::from([WAS_MANAGER.to_owned()]);
            steps.push(update(None, None, BTreeMap::new(), mark));
        }
        let summary = if promotes {
            "make it a manager again"
        } else {
            "give the node what it had before the shutdown"
        };
        let resource = match self.host {
            Some(_) => "swarm.node".to_owned(),
            None => format!("swarm.node.{}", self.node.id),
        };
        let on = self.host.unwrap_or(&up.managers[0]);
        Some(Change {
            diff,
            risk,
            lane: promotes.then_some(Lane::Raft),
            ..change(on, &resource, summary, steps)
        })
    }
}
