//! The planner of membership: init, joins, roles, labels, availability, settings, and restarts of
//! engines that are in the swarm.

pub(crate) mod leave;
mod mtu;
mod node;
pub(crate) mod promotion;
mod refuse;
mod restart;

use std::collections::BTreeMap;

use crate::inventory::{Host, Inventory, Role};
use crate::resource::Draft;
use crate::swarm::{Gathered, Membership, Swarm, Up};

use super::advertise::advertise_address;
use super::build::Chain;
use super::{Change, ChangeId, Condition, Diff, DockerCall, Lane, Outlook, Plan, Refusal, Step};

/// How long a node may take to become ready, and a manager to become reachable. A join goes on in
/// the daemon after the client's 20 s are over, and a state transfer of a large raft log over a
/// slow line takes minutes.
const MEMBER_SECONDS: u32 = 180;

/// Adds the changes of membership to `plan`.
pub(super) fn plan(
    plan: &mut Plan,
    inventory: &Inventory,
    gathered: &Gathered,
    seen: &Swarm,
    chains: &BTreeMap<String, Chain>,
    prune: bool,
) {
    let mut work = Work {
        plan,
        inventory,
        gathered,
        chains: chains.clone(),
        prune,
        buried: BTreeMap::new(),
    };
    match seen {
        Swarm::None => work.found(),
        Swarm::Up(up) => work.converge(up),
        Swarm::Down(down) => work.refuse_down(down),
        Swarm::Split { clusters } => work.refuse_split(clusters),
    }
}

struct Work<'a> {
    plan: &'a mut Plan,
    inventory: &'a Inventory,
    gathered: &'a Gathered,
    chains: BTreeMap<String, Chain>,
    /// Whether nodes that are no host of the inventory are taken out.
    prune: bool,
    /// The changes that take lost nodes out, by NodeID.
    buried: BTreeMap<String, ChangeId>,
}

impl<'a> Work<'a> {
    /// Makes a new swarm.
    fn found(&mut self) {
        // The first manager of the file, and never another in its place: when that one cannot be
        // planned or is not selected, there is nothing that the others could join.
        let inventory = self.inventory;
        self.restart_outside();
        let Some(first) = inventory.managers().next() else {
            return;
        };
        if !self.chains.contains_key(&first.name) {
            let why = format!(
                "there is no swarm yet, and `{}`, which will be its first manager, is not part of this plan",
                first.name
            );
            if inventory
                .members()
                .any(|host| self.chains.contains_key(&host.name))
            {
                self.plan.warnings.push(format!("{why}: nobody joins"));
            }
            self.wait_for_a_swarm(&why);
            return;
        }
        let Some(advertise) = self.advertise(first) else {
            return;
        };
        if let Some(refusal) = self.pool_overlap() {
            self.plan.refusals.push(refusal);
            return;
        }
        let swarm = &inventory.swarm;
        if swarm.autolock == Some(true) {
            self.plan.warnings.push(
                "managers will start locked: keep the key of `skep docker -- swarm unlock-key` outside the cluster".to_owned(),
            );
        }
        let managers = vec![first.name.clone()];
        let draft = Draft::safe(
            format!("make a new swarm, reachable at {advertise}"),
            vec![Diff::Value {
                name: "swarm".to_owned(),
                old: None,
                new: Some(format!("manager at {advertise}")),
            }],
            vec![
                Step::Docker(DockerCall::SwarmInit {
                    advertise,
                    data_path: first.advertise.data_path.clone(),
                    default_addr_pool: swarm.default_addr_pool.clone(),
                    subnet_size: swarm.subnet_size,
                    data_path_port: swarm.data_path_port,
                    autolock: swarm.autolock.unwrap_or(false),
                    cert_expiry_days: swarm.cert_expiry_days,
                    task_history: swarm.task_history,
                }),
                wait_member(Role::Manager, &managers),
            ],
        );
        let init = self.push(first, "swarm.init", draft, Some(Lane::Raft), None);
        if swarm.autolock == Some(true) {
            self.warn_of_unlock_key();
        }
        // Before anybody joins: they would have to let go of the network too.
        let ready = self.first_ingress(first).unwrap_or(init);
        self.describe_new(first, &managers);
        for host in inventory.members().filter(|host| host.name != first.name) {
            self.join(host, &managers, None, Some(&ready));
        }
        self.warn_of_even(0, |_| true);
    }

    /// Brings an existing swarm to what the inventory says.
    fn converge(&mut self, up: &Up) {
        if self.refuse_unwanted_managers(up) {
            return;
        }
        if self.prune {
            self.bury(up);
        }
        let inventory = self.inventory;
        let mut restarts = Vec::new();
        for host in inventory.members() {
            if !self.chains.contains_key(&host.name) {
                continue;
            }
            match up.members.get(&host.name) {
                Some(Membership::Outside) => {
                    self.restart_one_outside(host);
                    let waits = host.role == Role::Manager && self.waits_for_engine(host, up);
                    if !waits && !self.refuse_ghost(host, up) {
                        self.join(host, &up.managers, Some(&up.cluster_id), None);
                    }
                }
                Some(Membership::Joining) => self.finish_join(host, up),
                Some(Membership::Member { .. }) => {
                    if self.restart_member(host, up).is_some() {
                        restarts.push(host.name.as_str());
                    }
                    self.member(host, up);
                }
                Some(Membership::Foreign { id, managers }) => {
                    self.refuse_foreign(host, id, managers, up);
                }
                Some(Membership::Locked) => self.unlock(host, up),
                Some(Membership::Stuck(why)) => self.refuse(
                    host,
                    why.clone(),
                    "Look at `docker info` on the host. A node that was removed from its swarm runs `docker swarm leave`.",
                ),
                Some(Membership::Unknown(why)) => {
                    let outlook = if self.starts_engine(host) {
                        Outlook::Later
                    } else {
                        Outlook::Unknown(why.clone())
                    };
                    self.plan.hosts.insert(host.name.clone(), outlook);
                }
                None => {}
            }
        }
        self.roll(up, restarts);
        self.settings(up);
        self.ingress(up);
        self.demotions(up);
        self.strangers(up);
        self.add_after_burials();
        let (total, _) = up.raft();
        let adds = |host: &&Host| {
            let node = up.node_of(&host.name);
            node.is_none_or(|node| node.role != Role::Manager)
        };
        self.warn_of_even(total, adds);
    }

    /// Whether a change of raft by `host` waits for the next round: a manager is missing, and this
    /// plan starts an engine, which may be it, or waits for a join, before which nobody can tell whether
    /// the missing one is what its host was.
    fn waits_for_engine(&mut self, host: &Host, up: &Up) -> bool {
        let (total, reachable) = up.raft();
        let tells_more = |host: &Host| {
            self.starts_engine(host) || up.members.get(&host.name) == Some(&Membership::Joining)
        };
        let waits = reachable < total && self.inventory.members().any(tells_more);
        if waits {
            self.plan.hosts.insert(host.name.clone(), Outlook::Later);
        }
        waits
    }

    /// Whether the plan starts an engine that is known not to run.
    fn starts_engine(&self, host: &Host) -> bool {
        let facts = self
            .gathered
            .get(&host.name)
            .and_then(|facts| facts.as_ref().ok());
        let engine = facts.and_then(|facts| facts.engine.value());
        let stopped = engine.is_some_and(|engine| engine.version.is_none());
        let start = ChangeId::new(&host.name, "docker.service");
        let chain = self.chains.get(&host.name);
        stopped && chain.is_some_and(|chain| chain.last.as_ref() == Some(&start))
    }

    fn join(
        &mut self,
        host: &'a Host,
        managers: &[String],
        cluster_id: Option<&str>,
        init: Option<&ChangeId>,
    ) {
        if !self.chains.contains_key(&host.name) {
            return;
        }
        let Some(advertise) = self.advertise(host) else {
            return;
        };
        let role = role_name(host.role);
        let draft = Draft::safe(
            format!("join the swarm as a {role} at {advertise}"),
            vec![Diff::Value {
                name: "swarm".to_owned(),
                old: None,
                new: Some(format!("{role} at {advertise}")),
            }],
            vec![
                Step::Docker(DockerCall::SwarmJoin {
                    role: host.role,
                    advertise,
                    data_path: host.advertise.data_path.clone(),
                    managers: managers.to_vec(),
                    cluster_id: cluster_id.map(str::to_owned),
                }),
                wait_member(host.role, managers),
            ],
        );
        let lane = (host.role == Role::Manager).then_some(Lane::Raft);
        self.push(host, "swarm.join", draft, lane, init);
        self.describe_new(host, managers);
    }

    /// Waits for a join that an earlier run began. It is not begun again: the engine goes on with
    /// it by itself, and refuses a second one.
    fn finish_join(&mut self, host: &'a Host, up: &Up) {
        let draft = Draft::safe(
            "wait for the join that goes on already",
            vec![Diff::Value {
                name: "swarm".to_owned(),
                old: Some("joining".to_owned()),
                new: Some(role_name(host.role).to_owned()),
            }],
            vec![wait_member(host.role, &up.managers)],
        );
        let lane = (host.role == Role::Manager).then_some(Lane::Raft);
        self.push(host, "swarm.join", draft, lane, None);
        self.describe_new(host, &up.managers);
    }

    fn push(
        &mut self,
        host: &Host,
        resource: &str,
        draft: Draft,
        lane: Option<Lane>,
        also: Option<&ChangeId>,
    ) -> ChangeId {
        let chain = self.chains.entry(host.name.clone()).or_default();
        let mut change: Change = chain.push(&host.name, resource, draft);
        change.lane = lane;
        change.needs.extend(also.cloned());
        let id = change.id.clone();
        self.plan.changes.push(change);
        id
    }

    /// The address to advertise; where it cannot be decided, a refusal is added to the plan.
    fn advertise(&mut self, host: &Host) -> Option<String> {
        match self.advertise_of(host) {
            Ok(address) => Some(address),
            Err((why, hint)) => {
                self.plan.refusals.push(Refusal {
                    host: Some(host.name.clone()),
                    why,
                    hint,
                });
                None
            }
        }
    }

    fn advertise_of(&self, host: &Host) -> Result<String, (String, String)> {
        let Some(Ok(facts)) = self.gathered.get(&host.name) else {
            let why = "its addresses are not known".to_owned();
            return Err((why, "Look at the host.".to_owned()));
        };
        advertise_address(host, facts)
    }

    fn pool_overlap(&self) -> Option<Refusal> {
        super::pool::overlap(self.inventory, self.gathered)
    }
}

pub(crate) fn wait_member(role: Role, managers: &[String]) -> Step {
    Step::Wait {
        condition: Condition::Member {
            role,
            managers: managers.to_vec(),
        },
        deadline: MEMBER_SECONDS,
    }
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Manager => "manager",
        Role::Worker => "worker",
        Role::None => "host",
    }
}
