//! Restarts of engines: tasks away first, one node at a time, and back.

use std::collections::{BTreeMap, BTreeSet};

use crate::facts::HostFacts;
use crate::inventory::{Availability, Host, Role};
use crate::plan::build::restart_draft;
use crate::plan::{ChangeId, Condition, Diff, DockerCall, Lane, Outlook, Refusal, Step};
use crate::quorum::may_spare;
use crate::resource::{DRAINED_MARKER, Draft};
use crate::swarm::Up;

use super::{Work, wait_member};

/// How long the other managers may take to be a majority before one is restarted: an election and
/// the heartbeats of raft are a matter of seconds.
const SPARE_SECONDS: u32 = 60;

/// How long the tasks of a drained node may take to end: the longest `stop_grace_period` that is
/// usual for databases, twice.
const DRAIN_SECONDS: u32 = 600;

impl<'a> Work<'a> {
    /// Unlocks a manager that was restarted under autolock. A key of another swarm does not fit, so
    /// that no NodeID is needed to be sure that it is ours.
    pub(super) fn unlock(&mut self, host: &'a Host, up: &Up) {
        let draft = Draft::safe(
            "unlock this manager",
            vec![Diff::Value {
                name: "swarm".to_owned(),
                old: Some("locked".to_owned()),
                new: Some("active".to_owned()),
            }],
            vec![
                Step::Docker(DockerCall::Unlock {
                    managers: up.managers.clone(),
                }),
                wait_member(Role::Manager, &up.managers),
            ],
        );
        self.push(host, "swarm.unlock", draft, Some(Lane::Raft), None);
    }

    /// Restarts the engines that are not in the swarm and owe a restart.
    pub(super) fn restart_outside(&mut self) {
        for host in self.inventory.members() {
            self.restart_one_outside(host);
        }
    }

    pub(super) fn restart_one_outside(&mut self, host: &'a Host) {
        if let Some(mut steps) = self.steps_at_restart(host) {
            steps.extend([Step::RestartEngine, Step::SettleRestart]);
            self.push(host, "docker.restart", restart_draft(steps), None, None);
        }
    }

    /// What is to be done right before the restart that a host owes; `None` where it owes none.
    fn steps_at_restart(&mut self, host: &Host) -> Option<Vec<Step>> {
        let chain = self
            .chains
            .get_mut(&host.name)
            .filter(|chain| chain.restart)?;
        Some(std::mem::take(&mut chain.at_restart))
    }

    /// Gives a node its work back that an earlier run drained for a restart which nobody wants any
    /// more.
    fn restore_work(&mut self, host: &'a Host, up: &Up) {
        let availability = host.availability.unwrap_or(Availability::Active);
        let steps = vec![
            set_availability(&up.managers, availability),
            Step::RemoveFile {
                path: DRAINED_MARKER.to_owned(),
            },
        ];
        let draft = Draft::safe(
            "give the node back the work that was taken away for a restart",
            vec![Diff::Value {
                name: "availability".to_owned(),
                old: Some("drained for a restart".to_owned()),
                new: Some("as before".to_owned()),
            }],
            steps,
        );
        self.push(host, "docker.restart", draft, None, None);
    }

    /// Restarts the engine of a node: tasks away first, then the engine, then back.
    pub(super) fn restart_member(&mut self, host: &'a Host, up: &Up) -> Option<ChangeId> {
        let node = up.node_of(&host.name)?;
        let facts = self.gathered.get(&host.name)?.as_ref().ok()?;
        let drained_by_us = is_marked(facts);
        let Some(at_restart) = self.steps_at_restart(host) else {
            if drained_by_us {
                self.restore_work(host, up);
            }
            return None;
        };
        let active = node.availability == Availability::Active || drained_by_us;
        // The node itself may be the only manager; then it is asked all the same.
        let managers = {
            let mut managers = up.managers.clone();
            managers.sort_by_key(|manager| *manager == host.name);
            managers
        };
        let raft = node.manager.is_some();
        if raft && up.settings.autolock && managers.len() < 2 {
            self.plan.refusals.push(Refusal {
                host: Some(host.name.clone()),
                why: "its engine must be restarted, autolock is on, and no other manager could give the unlock key afterwards".to_owned(),
                hint: "Save the key (`skep docker -- swarm unlock-key`), restart the engine yourself and unlock it.".to_owned(),
            });
            return None;
        }
        let (total, reachable) = up.raft();
        let starts = |host| self.starts_engine(host);
        let mends = !self.buried.is_empty() || self.inventory.members().any(starts);
        if raft && !may_spare(total, reachable) && mends {
            // First the engine that is down, which may be the one that is missing; or the lost
            // manager out of raft.
            let later = Outlook::Later;
            self.plan.hosts.insert(host.name.clone(), later);
            return None;
        }
        let set = |availability| set_availability(&managers, availability);
        // Looked at again right before, because things may have changed since the plan was made.
        let mut steps = vec![wait_spared(&managers)];
        if active {
            steps.push(mark_drained());
            steps.push(drain(&managers, None));
        }
        // Where the former file is put back, the node is healthy with it and gets its work back; the
        // last step then fails, and with it everything that would do the same to another node.
        steps.extend(at_restart);
        steps.push(Step::RestartEngine);
        if raft && up.settings.autolock {
            let mut others = managers.clone();
            others.retain(|manager| *manager != host.name);
            steps.push(Step::Docker(DockerCall::Unlock { managers: others }));
        }
        let role = if raft { Role::Manager } else { Role::Worker };
        steps.push(wait_member(role, &managers));
        if active {
            steps.push(set(Availability::Active));
            steps.push(Step::RemoveFile {
                path: DRAINED_MARKER.to_owned(),
            });
        }
        steps.push(Step::SettleRestart);
        let draft = restart_draft(steps);
        Some(self.push(host, "docker.restart", draft, Some(Lane::Disruption), None))
    }

    /// Orders the restarts so that what breaks one engine, such as a setting that it does not bear,
    /// breaks no more: one worker first; after it the managers one by one, the leader last so that
    /// the leadership moves once; and the other workers, which do not wait for each other.
    pub(super) fn roll(&mut self, up: &Up, hosts: Vec<&str>) {
        let in_raft = |host: &&str| up.node_of(host).is_some_and(|node| node.manager.is_some());
        let (mut managers, workers): (Vec<&str>, Vec<&str>) = hosts.into_iter().partition(in_raft);
        managers.sort_by_key(|host| up.managers.first().is_some_and(|leader| leader == host));
        let first = workers.first().copied();
        let chain: Vec<&str> = first.into_iter().chain(managers).collect();
        let others = workers
            .iter()
            .skip(1)
            .filter_map(|host| Some((*host, first?)));
        let pairs = chain
            .windows(2)
            .map(|pair| (pair[1], pair[0]))
            .chain(others);
        let restart = |host: &str| ChangeId::new(host, "docker.restart");
        let after: BTreeMap<ChangeId, ChangeId> = pairs
            .map(|(host, before)| (restart(host), restart(before)))
            .collect();
        for change in &mut self.plan.changes {
            change.follows.extend(after.get(&change.id).cloned());
        }
    }
}

/// Waits until the managers are a majority without the step's own host.
pub(crate) fn wait_spared(managers: &[String]) -> Step {
    Step::Wait {
        condition: Condition::Spared {
            managers: managers.to_vec(),
        },
        deadline: SPARE_SECONDS,
    }
}

/// Writes down on the host that it was skep that took its work away, so that whoever comes next
/// gives it back.
pub(crate) fn mark_drained() -> Step {
    Step::WriteFile {
        path: DRAINED_MARKER.to_owned(),
        content: "drained for a restart of the engine; to be activated again\n".to_owned(),
        mode: 0o644,
    }
}

/// Whether the host bears the mark of [`mark_drained`].
pub(crate) fn is_marked(facts: &HostFacts) -> bool {
    let marker = facts.files.get(DRAINED_MARKER);
    marker.is_some_and(|file| file.value().is_some())
}

/// Takes the tasks away from a node: that of the step's own host, or `id`.
pub(crate) fn drain(managers: &[String], id: Option<String>) -> Step {
    Step::Docker(DockerCall::Drain {
        managers: managers.to_vec(),
        id,
        deadline: DRAIN_SECONDS,
        downtime: false,
    })
}

/// Gives the step's own host an availability.
pub(crate) fn set_availability(managers: &[String], availability: Availability) -> Step {
    Step::Docker(DockerCall::NodeUpdate {
        managers: managers.to_vec(),
        id: None,
        role: None,
        availability: Some(availability),
        labels: BTreeMap::new(),
        unlabel: BTreeSet::new(),
    })
}
