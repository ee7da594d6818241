//! What is done to single nodes: work away and back, roles, labels, and the way out.

use std::collections::{BTreeMap, BTreeSet};

use crate::facts::Node;
use crate::inventory::{Availability, Host, Inventory, Role};
use crate::plan::step::availability_name;
use crate::plan::swarm::leave::{self, Leaver};
use crate::plan::swarm::{promotion, wait_member};
use crate::plan::{Change, ChangeId, Diff, DockerCall, Lane, Outlook, Plan, Refusal, Risk, Step};
use crate::quorum;
use crate::resource::Draft;
use crate::swarm::{Gathered, Membership, Swarm, Up};

/// What is to be done, and to which nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeProcedure {
    /// What.
    pub act: NodeAct,
    /// The nodes: names of the inventory, else IDs of nodes, the beginning of one, or host names.
    pub nodes: Vec<String>,
}

/// What is done to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeAct {
    /// Its work goes elsewhere.
    Drain,
    /// It takes work again.
    Activate,
    /// It becomes a manager.
    Promote,
    /// It becomes a worker.
    Demote,
    /// It gets labels and loses others.
    Label {
        /// Labels to set.
        set: BTreeMap<String, String>,
        /// Labels to take away.
        unset: BTreeSet<String>,
    },
    /// It leaves the swarm.
    Remove,
}

impl NodeAct {
    /// The name of the resource that its changes are about.
    fn resource(&self) -> &'static str {
        match self {
            Self::Drain => "node.drain",
            Self::Activate => "node.activate",
            Self::Promote => "node.promote",
            Self::Demote => "node.demote",
            Self::Label { .. } => "node.label",
            Self::Remove => "node.remove",
        }
    }
}

/// A node that something is to be done to.
struct Target<'a> {
    name: String,
    node: &'a Node,
    /// Its host, where that answers and says that it is this node.
    host: Option<&'a Host>,
}

/// Adds what `procedure` takes to `plan`.
pub(super) fn plan(
    plan: &mut Plan,
    inventory: &Inventory,
    gathered: &Gathered,
    seen: &Swarm,
    procedure: &NodeProcedure,
) {
    let Swarm::Up(up) = seen else {
        plan.refusals.push(no_swarm(seen));
        return;
    };
    let mut targets = Vec::new();
    for name in &procedure.nodes {
        match find(inventory, gathered, up, name, &procedure.act) {
            Ok(Some(target)) if procedure.act == NodeAct::Promote && target.host.is_none() => {
                plan.refusals.push(Refusal {
                    host: Some(target.name),
                    why: "its host does not answer, and a manager that is not there only makes the majority larger".to_owned(),
                    hint: "Bring the host back first.".to_owned(),
                });
            }
            Ok(Some(target)) => targets.push(target),
            Ok(None) => {
                plan.hosts.insert(name.clone(), Outlook::Same);
            }
            Err((why, hint)) => plan.refusals.push(Refusal {
                host: Some(name.clone()),
                why,
                hint,
            }),
        }
    }
    // Each node once, the leader last, and before it lost managers, whose going makes the majority
    // smaller.
    let mut once = BTreeSet::new();
    targets.retain(|target| once.insert(target.node.id.clone()));
    targets.sort_by_key(|target| {
        let raft = target.node.manager.as_ref();
        let lost = target.host.is_none() && raft.is_some_and(|raft| !raft.reachable);
        (raft.is_some_and(|raft| raft.leader), !lost)
    });
    let leaving: BTreeSet<&str> = match procedure.act {
        NodeAct::Demote | NodeAct::Remove => {
            let hosts = targets.iter().filter_map(|target| target.host);
            hosts.map(|host| host.name.as_str()).collect()
        }
        _ => BTreeSet::new(),
    };
    let (leave, stay): (Vec<&String>, Vec<&String>) = up
        .managers
        .iter()
        .partition(|host| leaving.contains(host.as_str()));
    let stewards: Vec<String> = stay.into_iter().chain(leave).cloned().collect();
    let mut work = Work {
        plan,
        gathered,
        up,
        stewards,
        chain: BTreeSet::new(),
    };
    for target in &targets {
        work.act(target, &procedure.act);
    }
    if matches!(
        procedure.act,
        NodeAct::Promote | NodeAct::Demote | NodeAct::Remove
    ) {
        warn_of_even(plan, up, &targets, &procedure.act);
    }
}

struct Work<'a> {
    plan: &'a mut Plan,
    gathered: &'a Gathered,
    up: &'a Up,
    stewards: Vec<String>,
    /// The changes so far: each waits for the one before it.
    chain: BTreeSet<ChangeId>,
}

impl Work<'_> {
    fn before_promotion(&self, host: &str, leaver: &Leaver<'_>) -> Vec<Step> {
        match self.gathered.get(host) {
            Some(Ok(facts)) => {
                promotion::steps_before(facts, leaver.node, self.up, leaver.managers)
            }
            _ => Vec::new(),
        }
    }

    fn act(&mut self, target: &Target<'_>, act: &NodeAct) {
        let mut managers = self.stewards.clone();
        // A node is asked itself only where there is nobody else.
        managers.sort_by_key(|name| target.host.is_some_and(|host| host.name == *name));
        let Some(on) = target
            .host
            .map(|host| host.name.clone())
            .or_else(|| managers.first().cloned())
        else {
            return;
        };
        let leaver = Leaver {
            name: &target.name,
            node: target.node,
            answers: target.host.is_some(),
            managers: &managers,
        };
        let in_raft = leave::is_in_raft(target.node);
        let draft = match act {
            NodeAct::Drain => availability(&leaver, Availability::Drain),
            NodeAct::Activate => availability(&leaver, Availability::Active),
            NodeAct::Promote => promote(&leaver, self.before_promotion(&on, &leaver)),
            NodeAct::Demote => leave::is_to_demote(self.gathered, target.host, target.node)
                .then(|| leaver.demotion()),
            NodeAct::Label { set, unset } => labels(&leaver, set, unset),
            NodeAct::Remove => Some(leaver.removal()),
        };
        if let Some(host) = target.host {
            self.plan.hosts.insert(host.name.clone(), Outlook::Same);
        }
        let Some(draft) = draft else {
            return;
        };
        self.plan.hosts.insert(on.clone(), Outlook::Changes);
        let resource = match target.host {
            Some(_) => act.resource().to_owned(),
            None => format!("{}.{}", act.resource(), target.node.id),
        };
        let raft = matches!(act, NodeAct::Promote | NodeAct::Demote)
            || (*act == NodeAct::Remove && in_raft);
        let id = ChangeId::new(&on, &resource);
        // Labels of one node have nothing to do with those of another. A node that keeps its work is
        // in the way of no other one; a manager that stays in raft is.
        let alone = matches!(act, NodeAct::Label { .. } | NodeAct::Activate);
        let (needs, follows) = match act {
            _ if alone => (BTreeSet::new(), BTreeSet::new()),
            NodeAct::Drain => (BTreeSet::new(), self.chain.clone()),
            _ => (self.chain.clone(), BTreeSet::new()),
        };
        self.plan.changes.push(Change {
            id: id.clone(),
            host: on,
            resource,
            summary: draft.summary,
            diff: draft.diff,
            steps: draft.steps,
            risk: draft.risk,
            lane: if raft {
                Some(Lane::Raft)
            } else {
                (!alone).then_some(Lane::Disruption)
            },
            needs,
            follows,
        });
        self.chain.insert(id);
        if *act == NodeAct::Activate {
            self.after_activation();
        }
    }

    /// Nothing is moved back by itself.
    fn after_activation(&mut self) {
        let hint = "tasks stay where they are until they end; `skep rebalance` spreads them again";
        if !self.plan.warnings.iter().any(|warning| warning == hint) && self.up.nodes.len() > 1 {
            self.plan.warnings.push(hint.to_owned());
        }
    }
}

/// Finds the node that a person calls `name`; `None` where it is gone already, which is what a
/// removal wants.
fn find<'a>(
    inventory: &'a Inventory,
    gathered: &Gathered,
    up: &'a Up,
    name: &str,
    act: &NodeAct,
) -> Result<Option<Target<'a>>, (String, String)> {
    if let Some(host) = inventory.host(name) {
        return of_host(host, gathered, up, act);
    }
    let is = |node: &&Node| {
        node.id == name
            || (name.len() >= 4 && node.id.starts_with(name))
            || node.hostname.eq_ignore_ascii_case(name)
    };
    let found: Vec<&Node> = up.nodes.iter().filter(is).collect();
    match &found[..] {
        [node] => {
            // Perhaps it is a host of the inventory, called by another of its names.
            let member = inventory
                .members()
                .find(|host| up.node_of(&host.name).is_some_and(|own| own.id == node.id));
            Ok(Some(Target {
                name: node.hostname.clone(),
                node,
                host: member,
            }))
        }
        [] if *act == NodeAct::Remove => Ok(None),
        [] => Err((
            format!("neither the inventory nor the swarm has a node `{name}`"),
            "`skep node list` shows them.".to_owned(),
        )),
        several => Err(ambiguous(name, several)),
    }
}

fn of_host<'a>(
    host: &'a Host,
    gathered: &Gathered,
    up: &'a Up,
    act: &NodeAct,
) -> Result<Option<Target<'a>>, (String, String)> {
    let name = &host.name;
    if let Some(node) = up.node_of(name) {
        return Ok(Some(Target {
            name: name.clone(),
            node,
            host: Some(host),
        }));
    }
    let silent = match up.members.get(name) {
        Some(Membership::Foreign { id, .. }) => {
            return Err((
                format!("it is node {id} of another swarm"),
                "skep never touches a swarm that it does not manage.".to_owned(),
            ));
        }
        Some(Membership::Outside | Membership::Member { .. }) => None,
        Some(Membership::Unknown(why) | Membership::Stuck(why)) => Some(why.clone()),
        Some(Membership::Locked) => Some("it is locked".to_owned()),
        Some(Membership::Joining) => Some("it is joining".to_owned()),
        None => Some(match gathered.get(name) {
            Some(Err(why)) => why.clone(),
            _ => "it has no role in the swarm".to_owned(),
        }),
    };
    let like: Vec<&Node> = up
        .nodes_of_nobody()
        .filter(|node| leave::is_like(host, node))
        .collect();
    let takes_out = matches!(act, NodeAct::Remove | NodeAct::Demote);
    match (&like[..], silent) {
        ([node], Some(why)) if takes_out && leave::is_heard(node) => Err((
            format!(
                "the managers hear from node {}, and its host does not tell skep: {why}",
                node.id
            ),
            format!(
                "Mend the login; or name the node by its ID to take it out without its host: `skep node {} {}`.",
                act.resource().trim_start_matches("node."),
                node.id
            ),
        )),
        ([node], _) => Ok(Some(Target {
            name: name.clone(),
            node,
            host: None,
        })),
        // Where all nodes of the list are other hosts, it is in there no more.
        ([], _) if *act == NodeAct::Remove && up.nodes_of_nobody().next().is_none() => Ok(None),
        ([], None) => Err((
            "it is in no swarm".to_owned(),
            "`skep up` makes it join.".to_owned(),
        )),
        ([], Some(why)) => Err((
            format!(
                "it does not tell which node it is ({why}), and no node of the swarm looks like it"
            ),
            "Name the node by its ID; `skep node list` shows them.".to_owned(),
        )),
        (several, _) => Err(ambiguous(name, several)),
    }
}

fn ambiguous(name: &str, nodes: &[&Node]) -> (String, String) {
    let ids: Vec<String> = nodes
        .iter()
        .map(|node| format!("{} ({}, {})", node.id, node.hostname, node.state))
        .collect();
    (
        format!("`{name}` may be several nodes: {}", ids.join(", ")),
        "Name the node by its ID.".to_owned(),
    )
}

/// The ID for the steps: none where the host itself is asked.
fn id_of(leaver: &Leaver<'_>) -> Option<String> {
    (!leaver.answers).then(|| leaver.node.id.clone())
}

fn update(leaver: &Leaver<'_>) -> DockerCall {
    DockerCall::NodeUpdate {
        managers: leaver.managers.to_vec(),
        id: id_of(leaver),
        role: None,
        availability: None,
        labels: BTreeMap::new(),
        unlabel: BTreeSet::new(),
    }
}

fn availability(leaver: &Leaver<'_>, wanted: Availability) -> Option<Draft> {
    if leaver.node.availability == wanted {
        return None;
    }
    let mut call = update(leaver);
    if let DockerCall::NodeUpdate { availability, .. } = &mut call {
        *availability = Some(wanted);
    }
    let (summary, step, risk) = if wanted == Availability::Drain {
        let step = leave::drain(leaver.managers, id_of(leaver));
        ("drain", step, Risk::Disruptive)
    } else {
        ("activate", Step::Docker(call), Risk::Safe)
    };
    let diff = Diff::Value {
        name: "availability".to_owned(),
        old: Some(availability_name(leaver.node.availability).to_owned()),
        new: Some(availability_name(wanted).to_owned()),
    };
    let summary = format!("{summary} {}", leaver.name);
    Some(Draft {
        risk,
        ..Draft::safe(summary, vec![diff], vec![step])
    })
}

fn promote(leaver: &Leaver<'_>, mut steps: Vec<Step>) -> Option<Draft> {
    if leaver.node.role == Role::Manager && leaver.node.manager.is_some() {
        return None;
    }
    let mut call = update(leaver);
    if let DockerCall::NodeUpdate { role, .. } = &mut call {
        *role = Some(Role::Manager);
    }
    let diff = Diff::Value {
        name: "role".to_owned(),
        old: Some("worker".to_owned()),
        new: Some("manager".to_owned()),
    };
    let risk = promotion::risk(&steps);
    steps.push(Step::Docker(call));
    steps.push(wait_member(Role::Manager, leaver.managers));
    let summary = format!("promote {} to manager", leaver.name);
    Some(Draft {
        risk,
        ..Draft::safe(summary, vec![diff], steps)
    })
}

fn labels(
    leaver: &Leaver<'_>,
    set: &BTreeMap<String, String>,
    unset: &BTreeSet<String>,
) -> Option<Draft> {
    let now = &leaver.node.labels;
    let set: BTreeMap<String, String> = set
        .iter()
        .filter(|(key, value)| now.get(*key) != Some(value))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let unset: BTreeSet<String> = unset
        .iter()
        .filter(|key| now.contains_key(*key))
        .cloned()
        .collect();
    if set.is_empty() && unset.is_empty() {
        return None;
    }
    let diff = set
        .keys()
        .chain(&unset)
        .map(|key| Diff::Value {
            name: format!("label {key}"),
            old: now.get(key).cloned(),
            new: set.get(key).cloned(),
        })
        .collect();
    let mut call = update(leaver);
    if let DockerCall::NodeUpdate {
        labels, unlabel, ..
    } = &mut call
    {
        (*labels, *unlabel) = (set, unset);
    }
    Some(Draft::safe(
        format!("label {}", leaver.name),
        diff,
        vec![Step::Docker(call)],
    ))
}

fn warn_of_even(plan: &mut Plan, up: &Up, targets: &[Target<'_>], act: &NodeAct) {
    let (total, _) = up.raft();
    let managers = targets
        .iter()
        .filter(|target| target.node.manager.is_some())
        .count();
    let after = match act {
        NodeAct::Promote => total + targets.len() - managers,
        _ => total.saturating_sub(managers),
    };
    if after != total && after > 0 && after.is_multiple_of(2) {
        plan.warnings.push(format!(
            "after this the swarm has an even number of managers, which bears no more losses than one fewer ({})",
            quorum::describe(after)
        ));
    }
}

/// Why nothing can be done to nodes where there is no swarm that takes orders.
pub(super) fn no_swarm(seen: &Swarm) -> Refusal {
    let (why, hint) = match seen {
        Swarm::None => (
            "there is no swarm yet".to_owned(),
            "`skep up` makes it.".to_owned(),
        ),
        Swarm::Split { clusters } => (
            format!(
                "the hosts are managers of {} different swarms",
                clusters.len()
            ),
            "`skep status` shows them.".to_owned(),
        ),
        Swarm::Up(_) | Swarm::Down(_) => (
            "no manager with quorum answers".to_owned(),
            "Bring the managers back first; `skep status` shows who is missing. If a majority is lost for good: `skep recover`.".to_owned(),
        ),
    };
    Refusal {
        host: None,
        why,
        hint,
    }
}
