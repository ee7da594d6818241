//! Membership of the simulated swarms: what Docker does when it is asked, and how its answers come
//! late.

use std::collections::BTreeMap;

use crate::fleet::{Fault, FaultKind};
use crate::inventory::{Availability, Role};
use crate::plan::{Condition, DockerCall};
use crate::quorum::{demotion, may_add};

use super::world::{Mishap, SimCluster, SimNode, World, fail};

/// How many steps of anybody a demotion takes to be done, where nobody waits for it.
const DEMOTION: u8 = 3;

/// After how many steps of other hosts a demoted node has the certificate of a worker.
const CERTIFICATE: u8 = 3;

/// More steps than all hosts together make between two steps of one of them.
const MOMENT: u8 = 50;

impl SimNode {
    /// The end of a demotion as the managers see it.
    fn leave_raft(&mut self) {
        (self.raft, self.demoting, self.certified) = (false, None, Some(CERTIFICATE));
    }
}

impl World {
    pub(super) fn wait(&mut self, name: &str, condition: &Condition) -> Result<(), Fault> {
        let host = self.host(name)?;
        match condition {
            Condition::Login => Ok(()),
            Condition::Engine if host.engine_runs => Ok(()),
            Condition::Spared { .. } => {
                let (cluster, _) = self.member(name)?;
                if self.has_quorum(&cluster) && self.spares(name) {
                    Ok(())
                } else {
                    Err(fail("the other managers are no majority"))
                }
            }
            Condition::Member { role, .. } => {
                if let Some((cluster, role)) = host.joining.take() {
                    self.enter(name, &cluster, role == Role::Manager);
                }
                let host = self.host(name)?;
                let Some((cluster, id)) = host.member.clone() else {
                    return Err(fail("the host is in no swarm"));
                };
                let raft = self
                    .clusters
                    .get(&cluster)
                    .and_then(|cluster| cluster.nodes.get(&id))
                    .is_some_and(|node| node.raft);
                let as_asked = raft == (*role == Role::Manager);
                if as_asked && self.has_quorum(&cluster) {
                    self.node(&cluster, &id)?.certified = None;
                    Ok(())
                } else {
                    Err(fail("the node did not become what it should"))
                }
            }
            Condition::Engine => Err(fail("the engine does not answer")),
            Condition::OutOfRaft { managers, id } => {
                let cluster = self.manager_of(managers, None)?;
                let Ok(node) = self.node(&cluster, id) else {
                    return Ok(());
                };
                if node.demoting.is_some() {
                    node.leave_raft();
                }
                let raft = node.raft;
                if raft {
                    Err(fail("it is still in raft"))
                } else {
                    Ok(())
                }
            }
            Condition::InRaft { managers, id } => {
                let cluster = self.manager_of(managers, None)?;
                let node = self.node(&cluster, id)?;
                if !node.raft {
                    return Err(fail("its demotion has ended meanwhile"));
                }
                // The next step comes within milliseconds, whatever other hosts do meanwhile.
                node.demoting = node.demoting.map(|left| left.max(MOMENT));
                Ok(())
            }
            Condition::Gone { managers, id } => {
                let cluster = self.manager_of(managers, None)?;
                let Ok(node) = self.node(&cluster, id).cloned() else {
                    return Ok(());
                };
                if self.node_lives(id, &node) {
                    return Err(fail("the managers hear from it"));
                }
                Ok(())
            }
        }
    }

    #[expect(clippy::too_many_lines, reason = "a few lines for each call")]
    pub(super) fn docker(
        &mut self,
        name: &str,
        call: &DockerCall,
        mishap: Mishap,
    ) -> Result<(), Fault> {
        if !self.lives(name) {
            return Err(fail("the engine does not answer"));
        }
        match call {
            DockerCall::SwarmInit { .. } => {
                self.init(name);
                Ok(())
            }
            DockerCall::SwarmJoin {
                role,
                managers,
                cluster_id,
                ..
            } => {
                let cluster = self.manager_of(managers, cluster_id.as_deref())?;
                self.join(name, *role, cluster, mishap)
            }
            DockerCall::NodeUpdate {
                managers,
                role,
                availability,
                labels,
                id,
                unlabel,
            } => {
                let (cluster, id) = self.asked(name, managers, id.as_deref())?;
                match role {
                    Some(Role::Manager) if !self.node(&cluster, &id)?.raft => {
                        self.bears_one_more(&cluster)?;
                    }
                    Some(Role::Worker) => self.bears_one_less(&cluster, &id)?,
                    _ => {}
                }
                let raft = self.node(&cluster, &id)?.raft;
                if *role == Some(Role::Manager) && !raft && self.asks_in_vain(name, &cluster) {
                    let what = format!("{name}: promoted, and asks a former manager for its place");
                    self.tasks_lost_by.push(what);
                }
                let node = self.node(&cluster, &id)?;
                match role {
                    Some(Role::Manager) => {
                        (node.raft, node.demoting, node.certified) = (true, None, None);
                    }
                    Some(_) if node.raft => node.demoting = Some(DEMOTION),
                    _ => {}
                }
                node.availability = availability.unwrap_or(node.availability);
                node.labels.extend(labels.clone());
                node.labels.retain(|label, _| !unlabel.contains(label));
                Ok(())
            }
            DockerCall::Drain {
                managers,
                id,
                downtime,
                ..
            } => {
                let (cluster, id) = self.asked(name, managers, id.as_deref())?;
                if !downtime && self.binds(&cluster, &id) {
                    let why = "no other node may run its tasks";
                    return Err(Fault::new(FaultKind::Refused, why));
                }
                self.node(&cluster, &id)?.availability = Availability::Drain;
                self.place_tasks(&cluster);
                Ok(())
            }
            DockerCall::SwarmLeave { id, force } => self.leave(name, id, *force),
            DockerCall::SwarmFence { id } => self.fence(name, id),
            DockerCall::SwarmForce { id, .. } => self.force(name, id),
            DockerCall::RotateTokens => {
                let (own, _) = self.member(name)?;
                let cluster = self.manager_of(&[name.to_owned()], Some(&own))?;
                if let Some(swarm) = self.clusters.get_mut(&cluster) {
                    swarm.tokens += 1;
                    swarm.secrets.worker_token += 1;
                    swarm.secrets.manager_token += 1;
                }
                Ok(())
            }
            DockerCall::NodeRemove {
                managers,
                id,
                alive,
            } => {
                let cluster = self.manager_of(managers, None)?;
                let Ok(node) = self.node(&cluster, id).cloned() else {
                    return Ok(());
                };
                if node.raft {
                    return Err(fail("the node is still in raft"));
                }
                if self.node_lives(id, &node) && !alive {
                    return Err(fail("the managers hear from the node"));
                }
                if let Some(swarm) = self.clusters.get_mut(&cluster) {
                    swarm.nodes.remove(id);
                }
                self.place_tasks(&cluster);
                Ok(())
            }
            DockerCall::Rebalance { services, .. } => {
                match services
                    .iter()
                    .find(|name| !self.services.contains_key(*name))
                {
                    None => Ok(()),
                    Some(name) => Err(fail(format!("there is no service {name}"))),
                }
            }
            // Simulated networks carry nothing.
            DockerCall::Ingress { .. } | DockerCall::Unlock { .. } => Ok(()),
            DockerCall::SwarmUpdate { .. } => {
                let (cluster, _) = self.member(name)?;
                self.manager_of(&[name.to_owned()], Some(&cluster))
                    .map(drop)
            }
        }
    }

    pub(super) fn member(&self, name: &str) -> Result<(String, String), Fault> {
        let member = self.hosts.get(name).and_then(|host| host.member.clone());
        member.ok_or_else(|| fail("the host is in no swarm"))
    }

    /// A swarm with quorum that one of `managers` manages.
    pub(super) fn manager_of(
        &self,
        managers: &[String],
        wanted: Option<&str>,
    ) -> Result<String, Fault> {
        for manager in managers {
            let Some(host) = self.hosts.get(manager) else {
                continue;
            };
            let Some((cluster, id)) = &host.member else {
                continue;
            };
            let nodes = self.clusters.get(cluster).map(|swarm| &swarm.nodes);
            let raft = nodes
                .and_then(|nodes| nodes.get(id))
                .is_some_and(|node| node.raft);
            let asked = wanted.is_none_or(|wanted| wanted == cluster);
            if raft && asked && self.lives(manager) && self.has_quorum(cluster) {
                return Ok(cluster.clone());
            }
        }
        Err(Fault::new(
            FaultKind::NoQuorum,
            "no manager with quorum answers",
        ))
    }

    /// The node that a call is about, in a swarm with quorum: `id`, or that of the host.
    fn asked(
        &mut self,
        name: &str,
        managers: &[String],
        id: Option<&str>,
    ) -> Result<(String, String), Fault> {
        let (cluster, own) = self.member(name)?;
        self.manager_of(managers, Some(&cluster))?;
        Ok((cluster, id.map_or(own, str::to_owned)))
    }

    fn node(&mut self, cluster: &str, id: &str) -> Result<&mut SimNode, Fault> {
        let nodes = self.clusters.get_mut(cluster).map(|swarm| &mut swarm.nodes);
        let node = nodes.and_then(|nodes| nodes.get_mut(id));
        node.ok_or_else(|| fail("no such node"))
    }

    fn leave(&mut self, name: &str, id: &str, force: bool) -> Result<(), Fault> {
        match self.member(name) {
            Err(_) => Ok(()),
            Ok((cluster, own)) if own == id => {
                if !force && self.node(&cluster, id).is_ok_and(|node| node.raft) {
                    return Err(fail("the host says that it is still a manager"));
                }
                if !force && self.has_tasks_to_lose(name) {
                    self.tasks_lost_by.push(format!("{name}: leave"));
                }
                let host = self.host(name)?;
                host.member = None;
                (host.recovery.waits, host.recovery.knows_not) = (false, None);
                self.place_tasks(&cluster);
                Ok(())
            }
            Ok(_) => Err(fail("the host is another node meanwhile")),
        }
    }

    /// Brings demotions nearer to their end, which nobody may be waiting for.
    pub fn let_time_pass(&mut self) {
        let clusters: Vec<String> = self.clusters.keys().cloned().collect();
        for cluster in clusters {
            if !self.has_quorum(&cluster) {
                continue;
            }
            let nodes = self
                .clusters
                .get_mut(&cluster)
                .map(|swarm| &mut swarm.nodes);
            for node in nodes.into_iter().flat_map(BTreeMap::values_mut) {
                match node.demoting {
                    Some(0) => node.leave_raft(),
                    Some(left) => node.demoting = Some(left - 1),
                    None => node.certified = node.certified.and_then(|left| left.checked_sub(1)),
                }
            }
            self.place_tasks(&cluster);
        }
    }

    /// Places the tasks that have no living, active node, where there is one.
    pub fn place_tasks(&mut self, cluster: &str) {
        let fit = self.places(cluster);
        let quorum = self.has_quorum(cluster);
        if fit.is_empty() || !quorum {
            return;
        }
        let nodes = self.clusters.get(cluster).map(|swarm| &swarm.nodes);
        let host = |id: &String| nodes.and_then(|nodes| nodes.get(id)).map(|node| &node.host);
        let mut turn = 0;
        for service in self.services.values_mut() {
            let allows =
                |id: &&String| service.bound.is_none() || service.bound.as_ref() == host(id);
            let fit: Vec<&String> = fit.iter().filter(allows).collect();
            service.tasks.resize(service.replicas, String::new());
            for task in &mut service.tasks {
                if !fit.contains(&&*task) {
                    *task = match fit.get(turn % fit.len().max(1)) {
                        Some(id) => (*id).clone(),
                        // It waits.
                        None => String::new(),
                    };
                    turn += 1;
                }
            }
        }
    }

    /// Whether tasks run on the node that no other one may run.
    fn binds(&self, cluster: &str, id: &str) -> bool {
        let elsewhere = self.places(cluster).iter().any(|place| place != id);
        let mut bound = self.services.values().filter(|it| it.bound.is_some());
        elsewhere && bound.any(|service| service.tasks.iter().any(|task| task == id))
    }

    /// The nodes that may run tasks.
    pub(super) fn places(&self, cluster: &str) -> Vec<String> {
        let nodes = self.clusters.get(cluster).map(|swarm| &swarm.nodes);
        let fit = nodes.into_iter().flatten().filter(|(id, node)| {
            node.availability == Availability::Active && self.node_lives(id, node)
        });
        fit.map(|(id, _)| id.clone()).collect()
    }

    /// Whether tasks run on `name` that could run elsewhere.
    pub(super) fn has_tasks_to_lose(&self, name: &str) -> bool {
        let Ok((cluster, id)) = self.member(name) else {
            return false;
        };
        let runs = |tasks: &Vec<String>| tasks.contains(&id);
        let lives = self.lives(name);
        let elsewhere = self.places(&cluster).iter().any(|place| *place != id);
        lives && elsewhere && self.services.values().any(|service| runs(&service.tasks))
    }

    fn bears_one_less(&mut self, cluster: &str, id: &str) -> Result<(), Fault> {
        let node = self.node(cluster, id)?.clone();
        if !node.raft {
            return Ok(());
        }
        let (total, alive) = self.raft(cluster);
        let answers = self.node_lives(id, &node);
        match demotion(id, total, alive, answers) {
            None => Ok(()),
            Some(why) => Err(Fault::new(FaultKind::Refused, why)),
        }
    }

    pub(super) fn init(&mut self, name: &str) {
        // Repeated after a lost connection, the call finds the swarm that it made.
        if self.member(name).is_err() {
            let cluster = self.id("cluster");
            self.clusters.insert(cluster.clone(), SimCluster::default());
            self.enter(name, &cluster, true);
        }
    }

    fn join(
        &mut self,
        name: &str,
        role: Role,
        cluster: String,
        mishap: Mishap,
    ) -> Result<(), Fault> {
        if self.host(name)?.joining.is_some() {
            return Ok(());
        }
        match self.member(name) {
            Ok((own, _)) if own == cluster => Ok(()),
            Ok(_) => Err(fail("the host is in another swarm")),
            Err(_) => {
                if role == Role::Manager {
                    self.bears_one_more(&cluster)?;
                }
                if mishap.join_pending {
                    self.host(name)?.joining = Some((cluster, role));
                } else {
                    self.enter(name, &cluster, role == Role::Manager);
                }
                Ok(())
            }
        }
    }

    fn bears_one_more(&self, cluster: &str) -> Result<(), Fault> {
        let (total, alive) = self.raft(cluster);
        if may_add(total, alive) {
            Ok(())
        } else {
            Err(fail("the managers that are left cannot bear another one"))
        }
    }

    /// Whether the engine of a worker, once promoted, would ask for its place where no manager is.
    /// A real one is in error then, and its tasks are lost. So it is with a manager that is dead; but
    /// its row may flip, and nobody can know better.
    fn asks_in_vain(&self, name: &str, cluster: &str) -> bool {
        let asks = self.hosts.get(name).and_then(|host| host.asks.clone());
        let manages = |node: &SimNode| {
            let host = self.hosts.get(&node.host);
            let at = host.map(|host| format!("{}:2377", host.address));
            node.raft && at == asks
        };
        let nodes = self.clusters.get(cluster).map(|swarm| &swarm.nodes);
        let mut nodes = nodes.into_iter().flat_map(BTreeMap::values);
        asks.is_some() && !nodes.any(manages)
    }

    pub(super) fn enter(&mut self, name: &str, cluster: &str, raft: bool) {
        let id = self.id("node");
        let leader = self.leader(cluster);
        let nodes = self.clusters.get(cluster).map(|swarm| &swarm.nodes);
        let leader = leader.and_then(|leader| nodes?.get(&leader));
        let leader = leader.and_then(|leader| self.hosts.get(&leader.host));
        let at = leader.map(|leader| format!("{}:2377", leader.address));
        if let Some(host) = self.hosts.get_mut(name) {
            (host.joined_at, host.asks) = (at.clone(), at);
            host.member = Some((cluster.to_owned(), id.clone()));
        }
        if let Some(swarm) = self.clusters.get_mut(cluster) {
            if swarm.nodes.is_empty() {
                swarm.leader.clone_from(&id);
            }
            let node = SimNode {
                host: name.to_owned(),
                raft,
                ghost: false,
                demoting: None,
                certified: None,
                availability: Availability::Active,
                labels: BTreeMap::new(),
            };
            let authority = swarm.secrets.authority;
            swarm.secrets.certificates.insert(id.clone(), authority);
            swarm.nodes.insert(id, node);
        }
    }
}
