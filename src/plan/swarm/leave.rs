//! The way out of a swarm: out of raft, out of work, off the managers' list.

use std::collections::{BTreeMap, BTreeSet};

use crate::facts::Node;
use crate::inventory::{Host, Role};
use crate::plan::{Change, ChangeId, Condition, Diff, DockerCall, Lane, Refusal, Risk, Step};
use crate::resource::Draft;
use crate::swarm::{Gathered, Membership, Up};

pub(crate) use super::restart::{drain, is_marked, mark_drained, set_availability, wait_spared};
use super::{Work, wait_member};

/// How long a demotion may take. The demoted leader first hands over, and each of the two is an
/// election of some seconds.
const DEMOTE_SECONDS: u32 = 120;

/// How long the managers may take to notice that a node has gone: three heartbeats of 5 s, and time
/// for a busy one.
const GONE_SECONDS: u32 = 90;

/// Waits until the managers do not hear from a node any more.
pub(crate) fn wait_gone(managers: &[String], id: &str) -> Step {
    Step::Wait {
        condition: Condition::Gone {
            managers: managers.to_vec(),
            id: id.to_owned(),
        },
        deadline: GONE_SECONDS,
    }
}

/// Whether the managers count a node among themselves, or want it there.
pub(crate) fn is_in_raft(node: &Node) -> bool {
    node.manager.is_some() || node.role == Role::Manager
}

/// Whether there is something to demote of a node: it is in raft, or `host`, which is that node, has the
/// certificate of a manager still. A worker that has it may come back into raft: its demotion is not over.
pub(crate) fn is_to_demote(gathered: &Gathered, host: Option<&Host>, node: &Node) -> bool {
    let facts = host.and_then(|host| gathered.get(&host.name)?.as_ref().ok());
    let certificates = facts.and_then(|facts| facts.certificates.value());
    is_in_raft(node) || certificates.is_some_and(|it| it.manager)
}

/// A node that is to leave, and from where that is done.
#[derive(Debug, Clone)]
pub(crate) struct Leaver<'a> {
    /// What it is called, for people.
    pub name: &'a str,
    /// The node.
    pub node: &'a Node,
    /// Whether its host answers, is this node, and can be told to leave.
    pub answers: bool,
    /// The hosts that manage the swarm without it, best first.
    pub managers: &'a [String],
}

impl Leaver<'_> {
    /// The NodeID that its steps name: none where the host itself is asked.
    fn id(&self) -> Option<String> {
        (!self.answers).then(|| self.node.id.clone())
    }

    /// Takes it out of raft and waits until it really is out.
    fn demote(&self) -> Vec<Step> {
        let id = self.node.id.clone();
        let managers = self.managers.to_vec();
        let mut steps = vec![
            Step::Docker(DockerCall::NodeUpdate {
                managers: managers.clone(),
                id: self.id(),
                role: Some(Role::Worker),
                availability: None,
                labels: BTreeMap::new(),
                unlabel: BTreeSet::new(),
            }),
            Step::Wait {
                condition: Condition::OutOfRaft { managers, id },
                deadline: DEMOTE_SECONDS,
            },
        ];
        if self.answers {
            steps.push(wait_member(Role::Worker, self.managers));
        }
        steps
    }

    /// A demotion, as a change; the end of it where another run began it.
    pub(crate) fn demotion(&self) -> Draft {
        if !is_in_raft(self.node) {
            return self.end_of_demotion();
        }
        let diff = Diff::Value {
            name: "role".to_owned(),
            old: Some("manager".to_owned()),
            new: Some("worker".to_owned()),
        };
        let what = if self.answers {
            "demote to worker".to_owned()
        } else {
            format!("take the lost manager {} out of raft", self.name)
        };
        Draft::safe(what, vec![diff], self.demote())
    }

    /// Out of raft, the node waits for the certificate of a worker.
    fn end_of_demotion(&self) -> Draft {
        let diff = Diff::Value {
            name: "certificate".to_owned(),
            old: Some("manager".to_owned()),
            new: Some("worker".to_owned()),
        };
        let steps = vec![wait_member(Role::Worker, self.managers)];
        Draft::safe("wait for the end of its demotion", vec![diff], steps)
    }

    /// The whole way out, as a change: without work, without a vote, gone, forgotten.
    pub(crate) fn removal(&self) -> Draft {
        let (managers, id) = (self.managers.to_vec(), self.node.id.clone());
        let alive = is_heard(self.node);
        let mut steps = Vec::new();
        // A row may say "down" of a node that works: one whose host answers may run tasks.
        if alive || self.answers {
            steps.push(drain(self.managers, self.id()));
        }
        if is_in_raft(self.node) {
            steps.extend(self.demote());
        }
        if self.answers {
            steps.push(Step::Docker(DockerCall::SwarmLeave {
                id: id.clone(),
                force: false,
            }));
            steps.push(wait_gone(self.managers, &id));
        }
        steps.push(Step::Docker(DockerCall::NodeRemove {
            managers,
            id: id.clone(),
            alive: alive && !self.answers,
        }));
        let state = if alive { "" } else { "lost " };
        let diff = Diff::Value {
            name: "swarm".to_owned(),
            old: Some(format!("node {id}")),
            new: None,
        };
        let summary = format!("take the {state}node {} out of the swarm", self.name);
        let mut draft = Draft::safe(summary, vec![diff], steps);
        draft.risk = Risk::Disruptive;
        draft
    }
}

impl Work<'_> {
    /// The hosts to ask for `leaving` to go: managers that stay, then those that join in this plan,
    /// then the leaving ones themselves, the asked one last.
    pub(super) fn stewards(&self, up: &Up, leaving: &BTreeSet<&str>) -> Vec<String> {
        let leaves = |host: &&String| leaving.contains(host.as_str());
        let stay = up.managers.iter().filter(|host| !leaves(host));
        let joins = self
            .inventory
            .managers()
            .map(|host| &host.name)
            .filter(|host| self.chains.contains_key(*host) && !up.managers.contains(host));
        let leave = up.managers.iter().filter(leaves);
        stay.chain(joins).chain(leave).cloned().collect()
    }

    /// Demotes the managers that the inventory wants as workers, one after the other, the leader
    /// last; after all that joins and restarts.
    pub(super) fn demotions(&mut self, up: &Up) {
        let inventory = self.inventory;
        let wants = |host: &&Host| {
            let node = up.node_of(&host.name);
            let manages = node.is_some_and(|node| is_to_demote(self.gathered, Some(*host), node));
            host.role == Role::Worker && manages && self.chains.contains_key(&host.name)
        };
        let mut hosts: Vec<&Host> = inventory.members().filter(wants).collect();
        hosts.sort_by_key(|host| up.managers.first() == Some(&host.name));
        let leaving: BTreeSet<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
        for host in hosts {
            let Some(node) = up.node_of(&host.name) else {
                continue;
            };
            if self.waits_for_engine(host, up) {
                continue;
            }
            let mut managers = self.stewards(up, &leaving);
            managers.sort_by_key(|name| *name == host.name);
            let leaver = Leaver {
                name: &host.name,
                node,
                answers: true,
                managers: &managers,
            };
            let before = self.last_of_raft();
            let draft = leaver.demotion();
            let id = self.push(host, "swarm.demote", draft, Some(Lane::Raft), None);
            self.after(&id, before);
        }
    }

    /// Takes the nodes out that are no host of the inventory and that nobody hears from, one after the
    /// other: before managers are added, for each lost one that goes makes the majority smaller.
    pub(super) fn bury(&mut self, up: &Up) {
        for node in self.gone(up) {
            if !is_heard(node) {
                let buried: BTreeSet<ChangeId> = self.buried.values().cloned().collect();
                if let Some(id) = self.prune(up, node, buried) {
                    self.buried.insert(node.id.clone(), id);
                }
            }
        }
    }

    /// Lets what adds managers wait until the lost ones are out of raft.
    pub(super) fn add_after_burials(&mut self) {
        let buried: BTreeSet<ChangeId> = self.buried.values().cloned().collect();
        for change in &mut self.plan.changes {
            if change.lane == Some(Lane::Raft) && !buried.contains(&change.id) {
                change.needs.extend(buried.iter().cloned());
            }
        }
    }

    /// Takes those out that live; where that is not asked for, says which there are.
    pub(super) fn strangers(&mut self, up: &Up) {
        let mut gone = self.gone(up);
        if !self.prune {
            for node in gone {
                self.plan.warnings.push(format!(
                    "node {} ({}, {}) is in the swarm, and no host of the inventory says that it is this node; `skep up --prune` takes it out",
                    node.id, node.hostname, node.state
                ));
            }
            return;
        }
        gone.sort_by_key(|node| node.manager.as_ref().is_some_and(|raft| raft.leader));
        for node in gone.into_iter().filter(|node| is_heard(node)) {
            let before = self.last_of_raft();
            self.prune(up, node, before);
        }
    }

    /// The nodes that surely are no host of the inventory; of the others it is said why not.
    fn gone<'u>(&mut self, up: &'u Up) -> Vec<&'u Node> {
        let strangers: Vec<&Node> = up.nodes_of_nobody().collect();
        let doubt = self.doubt(up, &strangers);
        let mut gone = Vec::new();
        for node in strangers {
            let Some(why) = doubt.get(node.id.as_str()) else {
                gone.push(node);
                continue;
            };
            let warning = format!(
                "node {} ({}, {}) is left in the swarm: {why}",
                node.id, node.hostname, node.state
            );
            if self.prune && !self.plan.warnings.contains(&warning) {
                self.plan.warnings.push(warning);
            }
        }
        gone
    }

    fn prune(&mut self, up: &Up, node: &Node, before: BTreeSet<ChangeId>) -> Option<ChangeId> {
        let managers = self.stewards(up, &BTreeSet::new());
        let on = managers.iter().find(|host| self.chains.contains_key(*host));
        let Some(host) = on.and_then(|name| self.inventory.host(name)) else {
            self.plan.refusals.push(Refusal {
                host: None,
                why: format!(
                    "node {} is to go, and no manager is part of this plan",
                    node.id
                ),
                hint: "Select a manager too, or leave `--on` out.".to_owned(),
            });
            return None;
        };
        // A living manager is spared only when those that are on their way are back.
        if node.manager.is_some() && is_heard(node) && self.waits_for_engine(host, up) {
            return None;
        }
        let leaver = Leaver {
            name: &node.hostname,
            node,
            answers: false,
            managers: &managers,
        };
        let draft = leaver.removal();
        let resource = format!("swarm.remove.{}", node.id);
        let id = self.push(host, &resource, draft, Some(Lane::Raft), None);
        self.after(&id, before);
        if is_heard(node) {
            self.plan.warnings.push(format!(
                "node {} ({}) still runs: run `docker swarm leave` there afterwards, for its host is not in the inventory any more",
                node.id, node.hostname
            ));
        }
        Some(id)
    }

    /// Which of `strangers` may be a host of the inventory that does not tell, and why. One that
    /// bears such a host's name or address is that; where a silent host is like none of them, each
    /// of them may be it.
    fn doubt<'n>(&self, up: &Up, strangers: &[&'n Node]) -> BTreeMap<&'n str, String> {
        let mut doubt = BTreeMap::new();
        for host in self.inventory.members() {
            let silent = match up.members.get(&host.name) {
                Some(Membership::Unknown(why)) => why.clone(),
                Some(Membership::Locked) => "it is locked".to_owned(),
                Some(Membership::Joining) => "it is joining".to_owned(),
                _ => continue,
            };
            let like: Vec<&&Node> = strangers
                .iter()
                .filter(|node| is_like(host, node))
                .collect();
            // One that is joining has no row yet but, for a moment, its new one; and the leftover of
            // a host that answers is nobody else's.
            let joins = up.members.get(&host.name) == Some(&Membership::Joining);
            let may_be = |node: &Node| like.is_empty() && !joins && !self.is_leftover(up, node);
            for node in strangers
                .iter()
                .filter(|node| is_like(host, node) || may_be(node))
            {
                let why = format!("it may be `{}`, which does not tell ({silent})", host.name);
                doubt.entry(node.id.as_str()).or_insert(why);
            }
        }
        doubt
    }

    /// Whether a node looks like a host that answers and is another node, or none.
    fn is_leftover(&self, up: &Up, node: &Node) -> bool {
        self.inventory.members().any(|host| {
            let tells = matches!(
                up.members.get(&host.name),
                Some(Membership::Member { .. } | Membership::Outside)
            );
            tells && is_like(host, node)
        })
    }

    /// The changes that must be over before a node is taken out: those of raft, and restarts, each of
    /// which takes one away for a moment.
    fn last_of_raft(&self) -> BTreeSet<ChangeId> {
        let counts = |change: &&Change| {
            change.lane == Some(Lane::Raft) || change.lane == Some(Lane::Disruption)
        };
        let changes = self.plan.changes.iter().filter(counts);
        changes.map(|change| change.id.clone()).collect()
    }

    fn after(&mut self, id: &ChangeId, before: BTreeSet<ChangeId>) {
        if let Some(change) = self.plan.changes.iter_mut().find(|change| change.id == *id) {
            change.needs.extend(before);
        }
    }
}

/// Whether the managers hear from a node, as node or as manager.
pub(crate) fn is_heard(node: &Node) -> bool {
    node.state != "down" || node.manager.as_ref().is_some_and(|raft| raft.reachable)
}

/// Whether a node looks like a host of the inventory: by its host name, which is no identity, or by
/// its address.
pub(crate) fn is_like(host: &Host, node: &Node) -> bool {
    let placed = host.address.as_deref() == Some(node.address.as_str());
    placed || node.hostname.eq_ignore_ascii_case(&host.name)
}
