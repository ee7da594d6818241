//! A swarm whose quorum is lost for good: one of the managers that live is made the only one, with
//! what its raft log knows; then the inventory is what the swarm becomes again.
//!
//! Three rounds, and a mark on the survivor tells where an earlier run got to. First, without
//! quorum: the other managers that live forget the old swarm, and then, never before, the new one is
//! forced. Second: the rows of the former managers are taken off the list, and the join tokens, which
//! a lost machine may still know, are made anew. Third: `skep up`.

mod copies;
mod diagnose;
mod workers;

use std::collections::{BTreeMap, BTreeSet};

use crate::facts::{Node, Probe, RaftLog};
use crate::inventory::{Inventory, Role};
use crate::known::Known;
use crate::plan::swarm::leave::wait_gone;
use crate::plan::swarm::wait_member;
use crate::plan::{self, Change, ChangeId, Diff, DockerCall, Outlook, Plan, Refusal, Risk, Step};
use crate::quorum::majority;
use crate::swarm::{Down, Gathered, Membership, Swarm, Up};

use super::node::no_swarm;
use diagnose::{Diagnosis, Fate, Survivor, diagnose};

/// The mark on the survivor: its NodeID, and what comes next.
const MARK: &str = "/var/lib/skep/recovering";

/// What comes next.
pub(super) const PRUNE: &str = "prune";
const UP: &str = "up";

/// What a person says of the loss.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoverProcedure {
    /// The managers that do not answer and will never come back with what they knew: names of the
    /// inventory, addresses or IDs of nodes.
    pub lost: BTreeSet<String>,
    /// The manager to go on from; else the one whose raft log got farthest.
    pub from: Option<String>,
    /// Whether no copies are kept of what the managers that live know.
    pub no_copy: bool,
    /// Whether a plan of this very run was carried out: then quorum is no reason to refuse.
    pub begun: bool,
}

/// The mark and the raft log.
pub(super) fn probes() -> Vec<Probe> {
    vec![Probe::File(MARK.to_owned()), Probe::Raft]
}

/// The plan of the round that comes next.
pub(super) fn plan(inventory: &Inventory, gathered: &Gathered, recover: &RecoverProcedure) -> Plan {
    let mut inventory = inventory.clone();
    for host in &mut inventory.hosts {
        host.optional |= recover.lost.contains(&host.name);
    }
    let inventory = &inventory;
    let seen = Swarm::see(inventory, gathered);
    let all: BTreeSet<String> = inventory.hosts.iter().map(|it| it.name.clone()).collect();
    let guarded =
        |work: &dyn Fn(&mut Plan)| super::guarded(inventory, gathered, |plan, _| work(plan));
    match &seen {
        Swarm::Down(down) if down.exists => {
            guarded(&|plan| force(plan, inventory, gathered, down, recover))
        }
        Swarm::Up(up) => match marked(gathered, up) {
            Some((host, PRUNE)) => guarded(&|plan| prune(plan, inventory, gathered, up, host)),
            Some((host, _)) => {
                let mut plan = plan::build(inventory, gathered, &all);
                finish(&mut plan, host);
                plan
            }
            None if recover.begun => plan::build(inventory, gathered, &all),
            None => guarded(&|plan| plan.refusals.push(has_quorum(up))),
        },
        Swarm::Down(_) | Swarm::None | Swarm::Split { .. } => {
            // Its own hint would be to run this very verb.
            let refusal = Refusal {
                hint: "Bring back a manager that knows the swarm: without any there is nothing to go on from.".to_owned(),
                ..no_swarm(&seen)
            };
            guarded(&|plan| plan.refusals.push(refusal.clone()))
        }
    }
}

fn has_quorum(up: &Up) -> Refusal {
    let (total, reachable) = up.raft();
    Refusal {
        host: None,
        why: format!(
            "the swarm has quorum: managers {total}, reachable {reachable}, majority {}",
            majority(total)
        ),
        hint: "There is nothing to recover. `skep up` brings the rest in order; `skep node remove` takes a dead manager out.".to_owned(),
    }
}

/// The manager on which an earlier round left its mark, and what comes next.
fn marked<'a>(gathered: &'a Gathered, up: &'a Up) -> Option<(&'a str, &'static str)> {
    up.managers.iter().find_map(|host| {
        let facts = gathered.get(host)?.as_ref().ok()?;
        let mark = facts.files.get(MARK)?.value()?.content.as_deref()?;
        let (id, next) = mark.trim().split_once(' ')?;
        let own = facts.swarm.value()?;
        let next = if next == UP { UP } else { PRUNE };
        (own.node_id == id).then_some((host.as_str(), next))
    })
}

/// Whether an earlier round left its mark on a manager.
pub(super) fn is_marked(gathered: &Gathered, up: &Up) -> bool {
    marked(gathered, up).is_some()
}

/// Tells the next round what comes.
pub(super) fn mark(id: &str, next: &str) -> Step {
    Step::WriteFile {
        path: MARK.to_owned(),
        content: format!("{id} {next}\n"),
        mode: 0o600,
    }
}

pub(super) fn change(
    host: &str,
    resource: &str,
    summary: &str,
    diff: Vec<Diff>,
    steps: Vec<Step>,
) -> Change {
    Change {
        id: ChangeId::new(host, resource),
        host: host.to_owned(),
        resource: resource.to_owned(),
        summary: summary.to_owned(),
        diff,
        steps,
        risk: Risk::Disruptive,
        lane: None,
        needs: BTreeSet::new(),
        follows: BTreeSet::new(),
    }
}

/// Lets a manager without quorum forget the swarm.
pub(super) fn fence(host: &str, id: &str) -> Change {
    let diff = Diff::Value {
        name: "swarm".to_owned(),
        old: Some(format!("manager without quorum, node {id}")),
        new: None,
    };
    let id = id.to_owned();
    change(
        host,
        "swarm.fence",
        "forget the old swarm, so that it cannot come back into it",
        vec![diff],
        vec![Step::Docker(DockerCall::SwarmFence { id })],
    )
}

/// Waits until a worker has found the new cluster.
pub(super) fn wait_return(host: &str, managers: &[String], after: &BTreeSet<ChangeId>) -> Change {
    let wait = vec![wait_member(Role::Worker, managers)];
    let summary = "wait until the worker has found the new cluster";
    Change {
        risk: Risk::Safe,
        needs: after.clone(),
        ..change(host, "swarm.return", summary, Vec::new(), wait)
    }
}

/// The first round: the others forget the old swarm, then the survivor is made the only manager.
fn force(
    plan: &mut Plan,
    inventory: &Inventory,
    gathered: &Gathered,
    down: &Down,
    recover: &RecoverProcedure,
) {
    let found = diagnose(inventory, gathered, down, &recover.lost);
    tell(plan, &found);
    plan.refusals.extend(found.refusals.iter().cloned());
    let Some(survivor) = choose(plan, &found, recover.from.as_deref()) else {
        return;
    };
    plan.refusals.extend(found.living.iter().filter_map(sealed));
    if !plan.refusals.is_empty() {
        return;
    }
    let name = survivor.host.name.as_str();
    let copies = if recover.no_copy {
        plan.warnings.push(
            "no copies are kept, by `--no-copy`: what the other managers know is lost for ever"
                .to_owned(),
        );
        BTreeSet::new()
    } else {
        copies::keep(plan, gathered, &found)
    };
    let mut fences = copies.clone();
    for other in found.living.iter().filter(|it| it.host.name != name) {
        let mut fence = fence(&other.host.name, &other.local.node_id);
        // Nobody forgets anything before all that is known is kept.
        fence.needs.clone_from(&copies);
        fences.insert(fence.id.clone());
        plan.changes.push(fence);
    }
    let id = survivor.local.node_id.clone();
    let managers = vec![name.to_owned()];
    let alive = found.living.len();
    let diff = Diff::Value {
        name: "managers".to_owned(),
        old: Some(format!(
            "{}, of which {alive} live and {} must",
            found.total,
            majority(found.total)
        )),
        new: Some(format!("1, {name}")),
    };
    let mut forced = change(
        name,
        "swarm.force",
        "force a new cluster of this manager alone, with the services, secrets and nodes that it knows",
        vec![diff],
        vec![
            mark(&id, PRUNE),
            Step::Docker(DockerCall::SwarmForce {
                id,
                advertise: survivor.local.node_addr.clone(),
                data_path: survivor.host.advertise.data_path.clone(),
                autolock: inventory.swarm.autolock.unwrap_or(false),
            }),
            wait_member(Role::Manager, &managers),
        ],
    );
    forced.needs = fences;
    let after = BTreeSet::from([forced.id.clone()]);
    plan.changes.push(forced);
    for worker in workers::that_return(plan, inventory, gathered, &found, survivor) {
        plan.changes.push(wait_return(worker, &managers, &after));
    }
    go_on(plan, inventory, gathered);
}

/// Why nothing is done where a manager's state is sealed. Its engine, told to force a new cluster, forgets
/// the unlock key, and is in no swarm then; and a copy takes a restart, after which it is locked.
fn sealed(survivor: &Survivor<'_>) -> Option<Refusal> {
    let log = survivor.raft.value()?;
    log.sealed.then(|| Refusal {
        host: Some(survivor.host.name.clone()),
        why: "autolock is on: no engine forces a new cluster from a state that is sealed with the unlock key, it would end in no swarm".to_owned(),
        hint: "Bring managers back until they are a majority. If these are lost for good, restore a backup, which takes the seal away: `skep restore FILE --on HOST --unlock-key-file KEY`.".to_owned(),
    })
}

/// Says of the hosts that answer that there is another round for them.
pub(super) fn go_on(plan: &mut Plan, inventory: &Inventory, gathered: &Gathered) {
    for host in inventory.members() {
        if gathered.get(&host.name).is_some_and(Result::is_ok) {
            plan.hosts.insert(host.name.clone(), Outlook::Later);
        }
    }
}

/// Says what each manager knows, what became of the others, and what is kept and lost.
fn tell(plan: &mut Plan, found: &Diagnosis<'_>) {
    for it in &found.living {
        plan.warnings.push(format!(
            "{} lives, is manager {} and has no quorum; {}",
            it.host.name,
            it.local.node_id,
            far(&it.raft)
        ));
    }
    for (id, (name, fate)) in &found.others {
        plan.warnings.push(match fate {
            Fate::Gone(why) => format!("{name} was manager {id}: {why}"),
            Fate::Lost => format!("{name}, manager {id}, is lost for good: so says `--lost`"),
        });
    }
    let (lost, total) = (found.lost(), found.total);
    if !lost.is_empty() {
        let need = majority(total);
        let danger = if lost.len() >= need {
            format!(
                "they are {} of {total}, a majority ({need}): started again with what they knew they run the old swarm beside the new one",
                lost.len()
            )
        } else {
            "started again with what they knew they still believe in the old swarm".to_owned()
        };
        plan.warnings.push(format!(
            "before {} may reach the network again, run `docker swarm leave --force` there or erase /var/lib/docker/swarm: {danger}",
            lost.join(", ")
        ));
    }
}

fn far(raft: &Known<RaftLog>) -> String {
    match raft.value() {
        Some(RaftLog {
            last: Some((term, index)),
            ..
        }) => format!("its log ends with entry {index} of term {term}"),
        Some(RaftLog { at_least, .. }) => {
            format!("its log has entry {at_least} and perhaps more, going by its files")
        }
        None => "how far its log got is not known".to_owned(),
    }
}

/// The manager to go on from: the one that was named, else the one whose log got farthest, else the
/// first of the inventory.
fn choose<'f, 'a>(
    plan: &mut Plan,
    found: &'f Diagnosis<'a>,
    from: Option<&str>,
) -> Option<&'f Survivor<'a>> {
    let best = newest(&found.living);
    let named = |name: &str| found.living.iter().find(|it| it.host.name == name);
    let Some(chosen) = from.map_or(best, named) else {
        let (why, hint) = match from {
            Some(name) => (
                format!("`--from {name}`: it is no manager that lives"),
                "Name one of those that live, or leave it out.",
            ),
            None => (
                "which of the managers that live got farthest is not known".to_owned(),
                "Their engines tell it within half a minute after the loss: run the command again. Or say from which one to go on: `--from NAME`; what only another one knows is lost.",
            ),
        };
        if from.is_some() || !found.living.is_empty() {
            plan.refusals.push(Refusal {
                host: None,
                why,
                hint: hint.to_owned(),
            });
        }
        return None;
    };
    let name = &chosen.host.name;
    match best {
        Some(best) if best.host.name != *name && place(best) > place(chosen) => {
            plan.warnings.push(format!(
                "{name} is not the one that got farthest: what {} knows beyond it is lost ({})",
                best.host.name,
                far(&best.raft)
            ));
        }
        _ => {}
    }
    plan.warnings.push(format!(
        "kept: the services, secrets, configs, networks and nodes in the log of {name}, and what runs on the workers; lost: what was changed after its last entry, and the join tokens"
    ));
    Some(chosen)
}

/// Term and index, as far as they are known.
fn place(it: &Survivor<'_>) -> (u64, u64) {
    match it.raft.value() {
        Some(raft) => raft.last.unwrap_or((0, raft.at_least)),
        None => (0, 0),
    }
}

/// The one whose log got farthest; of equal ones the first. `None` where that cannot be told: what a
/// file is called is no more than a lower bound, and not to be compared with a term.
fn newest<'f, 'a>(living: &'f [Survivor<'a>]) -> Option<&'f Survivor<'a>> {
    if let [only] = living {
        return Some(only);
    }
    let logs: Option<Vec<&RaftLog>> = living.iter().map(|it| it.raft.value()).collect();
    let logs = logs?;
    if logs.iter().any(|raft| raft.last.is_none()) {
        return None;
    }
    let best = living.iter().map(place).max()?;
    living.iter().find(|it| place(it) == best)
}

/// The second round: the former managers leave the list, and the tokens are made anew.
fn prune(plan: &mut Plan, inventory: &Inventory, gathered: &Gathered, up: &Up, survivor: &str) {
    let managers = vec![survivor.to_owned()];
    let hosts: BTreeMap<&str, &str> = up
        .members
        .iter()
        .filter_map(|(host, member)| match member {
            Membership::Member { id } => Some((id.as_str(), host.as_str())),
            _ => None,
        })
        .collect();
    let mut forgotten = BTreeSet::new();
    for node in up.nodes.iter().filter(|node| is_former(node)) {
        let back = hosts.get(node.id.as_str()).copied();
        let mut steps = Vec::new();
        if let Some(host) = back {
            steps.push(Step::Docker(leave(gathered, host, &node.id)));
        }
        steps.push(wait_gone(&managers, &node.id));
        steps.push(Step::Docker(DockerCall::NodeRemove {
            managers: managers.clone(),
            id: node.id.clone(),
            alive: false,
        }));
        let diff = Diff::Value {
            name: "node".to_owned(),
            old: Some(format!("{}, former manager, {}", node.id, node.state)),
            new: None,
        };
        let mut forget = change(
            back.unwrap_or(survivor),
            &format!("swarm.forget.{}", node.id),
            &format!(
                "take the former manager {} off the list of nodes",
                node.hostname
            ),
            vec![diff],
            steps,
        );
        if back.is_none() {
            forget.risk = Risk::Safe;
        }
        forgotten.insert(forget.id.clone());
        plan.changes.push(forget);
    }
    forgotten.extend(workers::join_again(
        plan, inventory, gathered, up, &managers,
    ));
    let id = up.node_of(survivor).map(|node| node.id.clone());
    let mut tokens = change(
        survivor,
        "swarm.tokens",
        "make new join tokens: a lost machine may know the old ones",
        Vec::new(),
        vec![
            Step::Docker(DockerCall::RotateTokens),
            mark(&id.unwrap_or_default(), UP),
        ],
    );
    tokens.risk = Risk::Safe;
    tokens.needs = forgotten;
    plan.changes.push(tokens);
    go_on(plan, inventory, gathered);
}

/// How a former manager that is back leaves. One that has heard from the new cluster is a worker of it
/// already; one that has not still believes in the old swarm.
fn leave(gathered: &Gathered, host: &str, id: &str) -> DockerCall {
    let facts = gathered.get(host).and_then(|facts| facts.as_ref().ok());
    let local = facts.and_then(|facts| facts.swarm.value());
    let id = id.to_owned();
    if local.is_some_and(|local| local.control) {
        DockerCall::SwarmFence { id }
    } else {
        DockerCall::SwarmLeave { id, force: false }
    }
}

/// Whether a node is what a forced cluster leaves of a manager: it should be one, and is not in raft.
fn is_former(node: &Node) -> bool {
    node.role == Role::Manager && node.manager.is_none()
}

/// The end of the third round: the mark goes when there is nothing more to come.
fn finish(plan: &mut Plan, survivor: &str) {
    if plan.goes_on() || plan.unknown().next().is_some() {
        return;
    }
    let mut done = change(
        survivor,
        "swarm.recovered",
        "take away the mark of a recovery that is under way",
        Vec::new(),
        vec![Step::RemoveFile {
            path: MARK.to_owned(),
        }],
    );
    done.risk = Risk::Safe;
    done.needs = plan
        .changes
        .iter()
        .map(|change| change.id.clone())
        .collect();
    plan.hosts.insert(survivor.to_owned(), Outlook::Changes);
    plan.changes.push(done);
}
