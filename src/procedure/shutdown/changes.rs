//! The changes of a shutdown, in their order.

use std::collections::{BTreeMap, BTreeSet};

use crate::facts::{Node, Service};
use crate::inventory::{self, Inventory, Role};
use crate::known::Known;
use crate::plan::swarm::{leave, wait_member};
use crate::plan::{
    Change, ChangeId, Condition, Diff, DockerCall, Lane, Plan, Refusal, Risk, ShutdownStep, Step,
};
use crate::quorum::demotion;
use crate::record::{Head, Mode, Phase, WAS_MANAGER};
use crate::resource::automount;
use crate::swarm::{Gathered, Up};

use crate::playbook::{Action, Kind};
use crate::procedure::playbook::Own;

use super::ShutdownProcedure;
use super::picture::Picture;

/// How long a demotion may take. The demoted leader first hands over, and each of the two is an
/// election of some seconds.
const DEMOTE_SECONDS: u32 = 120;

/// How long tasks may take to end: some have a `stop_grace_period` of minutes.
const TASKS_SECONDS: u32 = 300;

/// How long a host may take to power off. A unit that does not stop takes 90 s.
const OFF_SECONDS: u32 = 300;
const EMERGENCY_OFF_SECONDS: u32 = 180;

/// How long noting that hosts are switched off may take however late it is.
const NOTE_SECONDS: u32 = 5;

/// The shares of a deadline, in hundredths, of what comes before the hosts are switched off: each ends
/// where its width is over after those of the steps before it. The user's own tasks have none, and end
/// with the step before them.
const RECORD: u32 = 20;
const DEMOTE: u32 = 15;
const TASKS: u32 = 15;
const MOUNTS: u32 = 5;

/// The ends of the shares of the silence: workers', managers', the last one's. They begin at `OFF`.
const OFF: u32 = RECORD + DEMOTE + TASKS + MOUNTS;
const WORKERS: u32 = 75;
const MANAGERS: u32 = 90;
const ALL: u32 = 100;

/// How far the order has come.
#[derive(Default)]
struct Order {
    /// The phase before.
    before: BTreeSet<ChangeId>,
    /// The end of its share of a deadline, in hundredths.
    share: u32,
    /// Whether it is noted that hosts are switched off.
    noted: bool,
}

/// What the changes are made from.
pub(super) struct Draft<'a> {
    pub(super) inventory: &'a Inventory,
    pub(super) gathered: &'a Gathered,
    pub(super) shutdown: &'a ShutdownProcedure,
    pub(super) picture: &'a Picture<'a>,
    pub(super) last: &'a str,
    pub(super) head: &'a Head,
    /// The swarm, where it is to be touched.
    pub(super) up: Option<&'a Up>,
}

impl Draft<'_> {
    /// Adds all of them to `plan` in the order of the playbook, each phase after the one before.
    pub(super) fn all(&self, plan: &mut Plan, own: &mut Own) {
        let mut order = Order::default();
        // Where no host tells anything, nothing else can be done.
        let goes_off = self.picture.goes_off() || self.picture.on().next().is_none();
        for (place, task) in self.shutdown.book.playbook.tasks.iter().enumerate() {
            let begin = plan.changes.len();
            match task.kind {
                Kind::Use(action) if action.powers_off() => {
                    self.switch_off(plan, &mut order, action);
                }
                // An earlier run did all that comes before the first host is off.
                _ if goes_off => {}
                Kind::Use(action) => self.act(plan, &mut order, action),
                _ => {
                    let until = self.until(order.share);
                    for mut batch in own.take(place) {
                        for change in &mut batch {
                            let steps = std::mem::take(&mut change.steps).into_iter();
                            change.steps = steps.map(|step| self.step(step, until)).collect();
                        }
                        self.phase(plan, &mut order.before, batch);
                    }
                }
            }
            plan.heading(&task.name, begin);
        }
    }

    /// A step of the procedure that leaves the hosts on.
    fn act(&self, plan: &mut Plan, order: &mut Order, action: Action) {
        let before = &mut order.before;
        match action {
            Action::Record => {
                order.share += RECORD;
                self.phase(plan, before, vec![self.record(order.share)]);
            }
            Action::Demote => {
                order.share += DEMOTE;
                let demotions = self.up.map(|up| self.demotions(plan, up, order.share));
                for change in demotions.into_iter().flatten() {
                    self.phase(plan, before, vec![change]);
                }
            }
            Action::StopServices => {
                order.share += TASKS;
                let halt = self.up.and_then(|_| self.halt(plan, order.share));
                self.phase(plan, before, halt.into_iter().collect());
            }
            Action::Unmount => {
                order.share += MOUNTS;
                self.phase(plan, before, self.mounts(order.share));
            }
            // The others are none of a shutdown's.
            _ => {}
        }
    }

    /// A step that switches hosts off. Before the first of them it is noted that this begins.
    fn switch_off(&self, plan: &mut Plan, order: &mut Order, action: Action) {
        let known = self.picture.on().next().is_some();
        // Whoever was killed in between noted it on the manager and not here. When that is off too, only
        // what lies here tells that all went well.
        let former = self.shutdown.former.as_ref();
        let here = former.is_some_and(|mark| mark.phase == Phase::Off);
        let is_noted = order.noted || (self.picture.goes_off() && here);
        if known && !is_noted {
            order.noted = true;
            self.phase(plan, &mut order.before, vec![self.note()]);
        }
        let last = |host: &&inventory::Host| host.name == self.last;
        let managed = |host: &&inventory::Host| self.picture.managed(host);
        let (begin, end) = match action {
            Action::WorkersOff => (OFF, WORKERS),
            Action::ManagersOff => (WORKERS, MANAGERS),
            _ => (MANAGERS, ALL),
        };
        let here = |host: &&inventory::Host| match action {
            Action::WorkersOff => !last(host) && !managed(host),
            Action::ManagersOff => !last(host) && managed(host),
            _ => last(host),
        };
        let known = self.picture.on().filter(here);
        let known = known.map(|host| self.off(host, begin, end, true));
        let unknown = self.picture.unknown().filter(here);
        let unknown = unknown.map(|host| self.off(host, begin, end, false));
        let changes = known.chain(unknown).collect();
        self.phase(plan, &mut order.before, changes);
    }

    /// Puts `changes`, which may go on at the same time, behind all of the phase before.
    fn phase(&self, plan: &mut Plan, before: &mut BTreeSet<ChangeId>, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        let ids = changes.iter().map(|change| change.id.clone()).collect();
        let earlier = std::mem::replace(before, ids);
        for mut change in changes {
            if self.shutdown.tries() {
                change.follows.clone_from(&earlier);
            } else {
                change.needs.clone_from(&earlier);
            }
            plan.changes.push(change);
        }
    }

    /// When a share of the deadline ends, in seconds since the command began.
    fn until(&self, share: u32) -> Option<u32> {
        self.shutdown
            .deadline
            .map(|deadline| deadline.saturating_mul(share) / 100)
    }

    /// The step, only tried where that is wanted.
    fn step(&self, step: Step, until: Option<u32>) -> Step {
        self.never_late(step, until, 0)
    }

    /// The same for one that has so many seconds however late it is.
    fn never_late(&self, step: Step, until: Option<u32>, least: u32) -> Step {
        if self.shutdown.tries() {
            Step::Try {
                step: Box::new(step),
                until,
                least,
            }
        } else {
            step
        }
    }

    fn record(&self, share: u32) -> Change {
        let step = Step::Shutdown(ShutdownStep::Record {
            head: Box::new(self.head.clone()),
            to: self.shutdown.to.clone(),
            whole: !self.shutdown.tries(),
        });
        // Whoever was slow to confirm has a record all the same.
        let least = self.until(RECORD / 2).unwrap_or_default();
        let mut steps = vec![self.never_late(step, self.until(share), least)];
        if let (Some(to), true) = (&self.shutdown.unlock_key, self.up.is_some()) {
            let step = Step::Shutdown(ShutdownStep::SaveUnlockKey { to: to.clone() });
            steps.push(self.never_late(step, self.until(share), least));
        }
        let count = self.head.nodes.len();
        let summary = format!("record {count} nodes and all services, here and on this manager");
        let mut made = change(self.last, "swarm.record", summary, steps);
        made.risk = Risk::Safe;
        made
    }

    /// The demotions, those that do not answer first: each of them makes the majority smaller.
    fn demotions(&self, plan: &mut Plan, up: &Up, share: u32) -> Vec<Change> {
        let last = up.node_of(self.last).map(|node| node.id.clone());
        let mut managers: Vec<&Node> = up
            .nodes
            .iter()
            .filter(|node| leave::is_to_demote(self.gathered, self.host_of(node, up), node))
            .filter(|node| Some(&node.id) != last.as_ref())
            .collect();
        let reachable = |node: &Node| node.manager.as_ref().is_some_and(|raft| raft.reachable);
        managers.sort_by_key(|node| (reachable(node), self.place(node, up)));
        let (mut total, mut alive) = up.raft();
        let mut gone: BTreeSet<String> = BTreeSet::new();
        let mut changes = Vec::new();
        for node in managers {
            let answers = reachable(node);
            if node.manager.is_some() {
                let why = demotion(&node.hostname, total, alive, answers);
                if let (Some(why), true) = (why, self.shutdown.tries()) {
                    let host = &node.hostname;
                    plan.warnings.push(format!("{host} stays a manager: {why}"));
                    continue;
                }
                total -= 1;
                alive = alive.saturating_sub(usize::from(answers));
            }
            let host = self.host_of(node, up);
            gone.extend(host.map(|host| host.name.clone()));
            let others = up.managers.iter().filter(|name| !gone.contains(*name));
            let mut others: Vec<String> = others.cloned().collect();
            others.sort_by_key(|name| name != self.last);
            changes.push(self.demote(node, host, &others, share));
        }
        changes
    }

    fn demote(
        &self,
        node: &Node,
        host: Option<&inventory::Host>,
        managers: &[String],
        share: u32,
    ) -> Change {
        let managers = managers.to_vec();
        let mut steps = Vec::new();
        // One that an earlier run demoted may have the certificate of a manager still: switched off now, it
        // would boot as one.
        if leave::is_in_raft(node) {
            steps.push(Step::Docker(DockerCall::NodeUpdate {
                managers: managers.clone(),
                id: host.is_none().then(|| node.id.clone()),
                role: Some(Role::Worker),
                availability: None,
                // In one call with the role: whoever sees a worker sees that it was a manager.
                labels: BTreeMap::from([(WAS_MANAGER.to_owned(), "manager".to_owned())]),
                unlabel: BTreeSet::new(),
            }));
            steps.push(Step::Wait {
                condition: Condition::OutOfRaft {
                    managers: managers.clone(),
                    id: node.id.clone(),
                },
                deadline: DEMOTE_SECONDS,
            });
        }
        if host.is_some() {
            steps.push(wait_member(Role::Worker, &managers));
        }
        let steps = steps.into_iter();
        let steps = steps.map(|step| self.step(step, self.until(share)));
        let mut made = match host {
            Some(host) => change(
                &host.name,
                "swarm.demote",
                "demote to worker, and wait until it is out of raft".to_owned(),
                steps.collect(),
            ),
            None => change(
                self.last,
                &format!("swarm.demote {}", node.id),
                format!("take the silent manager {} out of raft", node.hostname),
                steps.collect(),
            ),
        };
        made.lane = Some(Lane::Raft);
        made.diff.push(Diff::Value {
            name: format!("role of {}", node.hostname),
            old: Some("manager".to_owned()),
            new: Some("worker".to_owned()),
        });
        made
    }

    /// The host that answers and is the node.
    fn host_of(&self, node: &Node, up: &Up) -> Option<&inventory::Host> {
        let mut members = self.inventory.members();
        members.find(|host| up.node_of(&host.name).is_some_and(|it| it.id == node.id))
    }

    fn place(&self, node: &Node, up: &Up) -> Option<usize> {
        let host = self.host_of(node, up)?;
        let mut members = self.inventory.members();
        members.position(|it| it.name == host.name)
    }

    /// What takes the services out of service; `None` where nothing of them runs.
    fn halt(&self, plan: &mut Plan, share: u32) -> Option<Change> {
        let facts = self.gathered.get(self.last)?.as_ref().ok()?;
        let services = match &facts.services {
            Known::Value(services) => services,
            other => {
                let why = other.why_unknown().unwrap_or("no manager tells them");
                let why = format!("the services are not known: {why}");
                if self.shutdown.tries() {
                    plan.warnings
                        .push(format!("{why}; they are left as they are"));
                } else {
                    plan.refusals.push(Refusal {
                        host: Some(self.last.to_owned()),
                        why,
                        hint: "Run the command again; in an emergency: `--emergency`.".to_owned(),
                    });
                }
                return None;
            }
        };
        let remove = self.shutdown.remove;
        let runs = |service: &Service| match service.mode {
            Mode::Job => false,
            _ if remove => true,
            Mode::Replicated(0) => false,
            _ => !service.halted,
        };
        let names: Vec<&String> = services
            .iter()
            .filter(|(_, service)| runs(service))
            .map(|(name, _)| name)
            .collect();
        let ends = |service: &Service| service.halted && service.running != Some(0);
        if names.is_empty() && !services.values().any(ends) {
            return None;
        }
        let step = Step::Shutdown(ShutdownStep::Halt {
            services: names.iter().map(|name| (*name).clone()).collect(),
            remove,
            deadline: TASKS_SECONDS,
        });
        let step = self.step(step, self.until(share));
        let how = if remove { "remove" } else { "scale to zero" };
        let count = names.len();
        let (resource, summary) = match (count, remove) {
            (0, _) => ("swarm.scale-down", "wait until no task runs".to_owned()),
            (1, _) => (name_of(remove), format!("{how} 1 service")),
            _ => (name_of(remove), format!("{how} {count} services")),
        };
        let mut made = change(self.last, resource, summary, vec![step]);
        made.diff = names
            .into_iter()
            .filter_map(|name| Some((name, services.get(name)?)))
            .map(|(name, service)| Diff::Value {
                name: name.clone(),
                old: Some(match service.mode {
                    Mode::Replicated(1) => "1 task".to_owned(),
                    Mode::Replicated(tasks) => format!("{tasks} tasks"),
                    Mode::Global => "a task on each node".to_owned(),
                    Mode::Job => "a job".to_owned(),
                }),
                new: (!remove).then(|| "no task".to_owned()),
            })
            .collect();
        Some(made)
    }

    fn mounts(&self, share: u32) -> Vec<Change> {
        let hosts = self.picture.on().filter(|host| !host.mounts.is_empty());
        let changes = hosts.map(|host| {
            let facts = self.gathered.get(&host.name);
            let facts = facts.and_then(|facts| facts.as_ref().ok());
            let steps = host.mounts.iter().filter(|mount| {
                let told = facts.and_then(|facts| facts.mounts.get(&mount.target));
                let told = told.and_then(Known::value);
                // Of one that is not known it is found out then.
                told.is_none_or(|told| told.mounted.is_some() || told.automount)
            });
            let steps = steps.map(|mount| {
                let step = Step::Shutdown(ShutdownStep::Release {
                    target: mount.target.clone(),
                    automount: automount(mount),
                    force: self.shutdown.tries(),
                });
                self.step(step, self.until(share))
            });
            let targets = host.mounts.iter().map(|mount| mount.target.as_str());
            let targets: Vec<&str> = targets.collect();
            let summary = format!("unmount {}", targets.join(" "));
            change(&host.name, "nfs.unmount", summary, steps.collect())
        });
        changes.filter(|change| !change.steps.is_empty()).collect()
    }

    fn note(&self) -> Change {
        let step = Step::Shutdown(ShutdownStep::SwitchOff {
            head: Box::new(self.head.clone()),
            to: self.shutdown.to.clone(),
        });
        let step = self.never_late(step, self.until(OFF), NOTE_SECONDS);
        let summary = "note that hosts are switched off from now on".to_owned();
        let mut made = change(self.last, "swarm.switch-off", summary, vec![step]);
        made.risk = Risk::Safe;
        made
    }

    /// The power-off of one host, whose silence has the share from `begin` to `end`. It is tried
    /// however late it is, and also where nothing is `known` of the host.
    fn off(&self, host: &inventory::Host, begin: u32, end: u32, known: bool) -> Change {
        let share = (self.until(begin), self.until(end));
        let deadline = match share {
            (Some(begin), Some(end)) => (end - begin).max(10),
            _ if self.shutdown.emergency => EMERGENCY_OFF_SECONDS,
            _ => OFF_SECONDS,
        };
        let force = self.shutdown.tries();
        let facts = self
            .gathered
            .get(&host.name)
            .and_then(|it| it.as_ref().ok());
        // Unless it said so, it may be the very machine that skep runs on.
        let other = facts.is_some_and(|facts| facts.identity.value().is_some());
        let here = || self.shutdown.here.clone().unwrap_or_default();
        let off = Step::PowerOff {
            deadline,
            force,
            here: (!known || !other).then(here),
        };
        let step = self.step(off, None);
        let summary = if !known {
            "power off, though nothing is known of it"
        } else if host.name == self.last {
            "power off, last of all"
        } else {
            "power off"
        };
        let mut made = change(&host.name, "host.power-off", summary.to_owned(), vec![step]);
        made.diff.push(Diff::Value {
            name: "power".to_owned(),
            old: Some(if known { "on" } else { "unknown" }.to_owned()),
            new: Some("off".to_owned()),
        });
        made
    }
}

fn change(host: &str, resource: &str, summary: String, steps: Vec<Step>) -> Change {
    Change {
        id: ChangeId::new(host, resource),
        host: host.to_owned(),
        resource: resource.to_owned(),
        summary,
        diff: Vec::new(),
        steps,
        risk: Risk::Disruptive,
        lane: None,
        needs: BTreeSet::new(),
        follows: BTreeSet::new(),
    }
}

fn name_of(remove: bool) -> &'static str {
    if remove {
        "swarm.remove-services"
    } else {
        "swarm.scale-down"
    }
}
