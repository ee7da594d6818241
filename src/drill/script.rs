//! What a drill does to which host, and what is waited for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use crate::plan::{Change, ChangeId, Diff, LabCall, Plan, Risk, Step};
use crate::quorum::majority;

use super::Drill;

/// The cluster before the drill.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scene {
    /// The cluster's name.
    pub cluster: String,
    /// The managers, in the order of the inventory.
    pub managers: Vec<String>,
    /// The workers, in the same order.
    pub workers: Vec<String>,
    /// The hosts that are not in the swarm.
    pub others: Vec<String>,
    /// Those of them whose folders the members mount.
    pub servers: Vec<String>,
    /// The manager that leads.
    pub leader: String,
    /// The addresses of the hosts in the lab's network.
    pub addresses: BTreeMap<String, Ipv4Addr>,
    /// How many tasks of the probe run on each host.
    pub tasks: BTreeMap<String, usize>,
}

/// A drill on one cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Script {
    /// Which one.
    pub drill: Drill,
    /// The hosts that it happens to.
    pub victims: Vec<String>,
    /// The managers that are lost for good.
    pub lost: BTreeSet<String>,
    /// The managers in the order in which their word counts meanwhile.
    pub voices: Vec<String>,
    /// What is done.
    pub plan: Plan,
    /// What is waited for then, one after the other.
    pub waits: Vec<Wait>,
}

/// Something that is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// What.
    pub until: Until,
    /// For how many seconds at most. A drill goes on when it does not come: that it did not is what
    /// there is to tell.
    pub seconds: u32,
}

/// What can be waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Until {
    /// A manager leads that is none of these.
    Leader {
        /// The managers that it must not be.
        not: BTreeSet<String>,
    },
    /// No manager takes orders any more.
    NoOrders,
    /// These managers take no orders any more.
    Mute(BTreeSet<String>),
    /// These nodes are seen down.
    Down(BTreeSet<String>),
    /// All tasks of the probe run, as the managers tell.
    Whole,
    /// Every request was answered for so many seconds.
    Answering(u32),
    /// All is as before the drill: orders are taken, nodes are ready, tasks run, requests are
    /// answered.
    Well,
    /// Nothing; only time passes.
    Time,
}

impl std::fmt::Display for Until {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let listed = |hosts: &BTreeSet<String>| {
            let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
            hosts.join(", ")
        };
        match self {
            Self::Leader { not } => write!(f, "another manager than {} leads", listed(not)),
            Self::NoOrders => f.write_str("no manager takes orders"),
            Self::Mute(hosts) => write!(f, "no order is taken by {}", listed(hosts)),
            Self::Down(hosts) => write!(f, "the managers see {} down", listed(hosts)),
            Self::Whole => f.write_str("all tasks of the probe run"),
            Self::Answering(seconds) => write!(f, "every request is answered for {seconds} s"),
            Self::Well => f.write_str("all nodes are ready, tasks run and requests are answered"),
            Self::Time => f.write_str("time passes"),
        }
    }
}

/// How long an election may take: it begins after 10 to 19 s without a heartbeat of the leader
/// (swarmkit's `ElectionTick` of 10 and its random part), and may have to be held again.
const ELECTION: u32 = 60;
/// How long it may take until a node is seen down: three missed heartbeats of 5 s, and after a change
/// of the leader a grace of 30 s more.
const DOWN: u32 = 90;
/// How long tasks may take to run elsewhere.
const TASKS: u32 = 60;
/// How long is looked on after the last of it.
const LOOK: u32 = 3;

impl Script {
    /// Whether all is as before once the hosts run and hear each other: nothing was lost.
    pub fn comes_back(&self) -> bool {
        let mut changes = self.plan.changes.iter();
        changes.all(|change| change.risk != Risk::Destructive)
    }

    /// The drill on the cluster of `scene`.
    ///
    /// # Errors
    ///
    /// Why it cannot be done there.
    pub fn new(drill: Drill, scene: &Scene) -> Result<Self, String> {
        if let Some(why) = drill.unfit(
            scene.managers.len(),
            scene.workers.len(),
            scene.servers.len(),
        ) {
            return Err(why);
        }
        let mut script = Self {
            drill,
            victims: Vec::new(),
            lost: BTreeSet::new(),
            voices: Vec::new(),
            plan: Plan {
                cluster: scene.cluster.clone(),
                ..Plan::default()
            },
            waits: Vec::new(),
        };
        match drill {
            Drill::OneManager => script.one_manager(scene),
            Drill::TwoManagers => script.two_managers(scene),
            Drill::OneWorker => script.workers(scene, 1),
            Drill::TwoWorkers => script.workers(scene, 2),
            Drill::Split => script.split(scene)?,
            Drill::Storage => script.storage(scene),
            Drill::FileServer => script.file_server(scene),
            Drill::PowerCut => script.power_cut(scene),
        }
        let (victims, others): (Vec<_>, Vec<_>) = scene
            .managers
            .iter()
            .cloned()
            .partition(|name| script.victims.contains(name));
        script.voices = others.into_iter().chain(victims).collect();
        Ok(script)
    }

    fn one_manager(&mut self, scene: &Scene) {
        let leader = scene.leader.as_str();
        self.off(leader);
        self.wait(Until::Leader { not: one(leader) }, ELECTION);
        self.wait(Until::Down(one(leader)), DOWN);
        self.elsewhere();
    }

    fn two_managers(&mut self, scene: &Scene) {
        let others = scene.managers.iter().filter(|name| **name != scene.leader);
        for name in std::iter::once(&scene.leader).chain(others.take(1)) {
            self.act(
                name,
                "lab.destroy",
                "delete this manager with its disks: it is lost for good",
                LabCall::Destroy,
                ("host", "running", "gone"),
            );
            self.lost.insert(name.clone());
        }
        self.wait(Until::NoOrders, ELECTION);
        // What runs goes on: that is to be seen.
        self.wait(Until::Time, 2 * LOOK);
    }

    fn workers(&mut self, scene: &Scene, count: usize) {
        let victims: Vec<String> = busiest(scene).take(count).map(str::to_owned).collect();
        for name in &victims {
            self.off(name);
        }
        self.wait(Until::Down(victims.into_iter().collect()), DOWN);
        self.elsewhere();
    }

    fn split(&mut self, scene: &Scene) -> Result<(), String> {
        let minority = scene.managers.len() - majority(scene.managers.len());
        let others = scene.managers.iter().filter(|name| **name != scene.leader);
        let mut cut: Vec<String> = std::iter::once(&scene.leader)
            .chain(others)
            .take(minority)
            .cloned()
            .collect();
        let managers: BTreeSet<String> = cut.iter().cloned().collect();
        let workers = busiest(scene).take(scene.workers.len() / 2);
        cut.extend(workers.map(str::to_owned));
        let everybody = scene.managers.iter().chain(&scene.workers);
        let far: Vec<&String> = everybody.filter(|name| !cut.contains(name)).collect();
        let from: Option<Vec<Ipv4Addr>> = far
            .iter()
            .map(|name| scene.addresses.get(*name).copied())
            .collect();
        let from = from.ok_or("the lab does not tell the address of every host")?;
        let far: Vec<&str> = far.into_iter().map(String::as_str).collect();
        let far = far.join(", ");
        for name in &cut {
            self.act(
                name,
                "lab.part",
                &format!("cut the network between this host and {far}"),
                LabCall::Part { from: from.clone() },
                ("network", "whole", "cut"),
            );
        }
        self.wait(
            Until::Leader {
                not: managers.clone(),
            },
            ELECTION,
        );
        self.wait(Until::Mute(managers), ELECTION);
        self.wait(Until::Down(cut.into_iter().collect()), DOWN);
        self.wait(Until::Whole, TASKS);
        self.wait(Until::Time, LOOK);
        Ok(())
    }

    fn storage(&mut self, scene: &Scene) {
        let Some(name) = busiest(scene).next() else {
            return;
        };
        self.act(
            name,
            "lab.disk",
            "lose all that its engine keeps: the disk died, an empty one is in its place",
            LabCall::EmptyDisk,
            ("disk", "in use", "empty"),
        );
        self.wait(Until::Down(one(name)), DOWN);
        self.elsewhere();
    }

    fn file_server(&mut self, scene: &Scene) {
        for name in &scene.servers {
            self.off(name);
        }
        // Nothing of the swarm ends by that: that is to be seen.
        self.wait(Until::Time, 10 * LOOK);
        self.wait(Until::Answering(LOOK), TASKS);
    }

    fn power_cut(&mut self, scene: &Scene) {
        let members = scene.managers.iter().chain(&scene.workers);
        for name in members.chain(&scene.others) {
            self.off(name);
        }
        self.wait(Until::NoOrders, ELECTION);
        self.wait(Until::Time, LOOK);
    }

    /// The tasks of the hosts that are gone start elsewhere, and requests are answered there.
    fn elsewhere(&mut self) {
        self.wait(Until::Whole, TASKS);
        self.wait(Until::Answering(LOOK), TASKS);
    }

    fn off(&mut self, name: &str) {
        let diff = ("power", "on", "off");
        self.act(
            name,
            "lab.off",
            "pull the plug of this host",
            LabCall::Off,
            diff,
        );
    }

    fn act(
        &mut self,
        name: &str,
        resource: &str,
        summary: &str,
        call: LabCall,
        (what, old, new): (&str, &str, &str),
    ) {
        self.victims.push(name.to_owned());
        self.plan.changes.push(Change {
            id: ChangeId::new(name, resource),
            host: name.to_owned(),
            resource: resource.to_owned(),
            summary: summary.to_owned(),
            diff: vec![Diff::Value {
                name: what.to_owned(),
                old: Some(old.to_owned()),
                new: Some(new.to_owned()),
            }],
            risk: match &call {
                LabCall::Destroy | LabCall::EmptyDisk => Risk::Destructive,
                _ => Risk::Disruptive,
            },
            steps: vec![Step::Lab(call)],
            // All at once, as failures come.
            lane: None,
            needs: BTreeSet::new(),
            follows: BTreeSet::new(),
        });
    }

    fn wait(&mut self, until: Until, seconds: u32) {
        self.waits.push(Wait { until, seconds });
    }
}

fn one(name: &str) -> BTreeSet<String> {
    BTreeSet::from([name.to_owned()])
}

/// The workers, those with most tasks of the probe first.
fn busiest(scene: &Scene) -> impl Iterator<Item = &str> {
    let mut workers: Vec<&String> = scene.workers.iter().collect();
    let tasks = |name: &String| scene.tasks.get(name).copied().unwrap_or_default();
    workers.sort_by_key(|name| std::cmp::Reverse(tasks(name)));
    workers.into_iter().map(String::as_str)
}

/// The change that takes the cuts of a host's network away again.
pub fn join(host: &str) -> Change {
    Change {
        id: ChangeId::new(host, "lab.join"),
        host: host.to_owned(),
        resource: "lab.join".to_owned(),
        summary: "mend the network that a drill cut".to_owned(),
        diff: vec![Diff::Value {
            name: "network".to_owned(),
            old: Some("cut".to_owned()),
            new: Some("whole".to_owned()),
        }],
        steps: vec![Step::Lab(LabCall::Join)],
        risk: Risk::Safe,
        lane: None,
        needs: BTreeSet::new(),
        follows: BTreeSet::new(),
    }
}

#[cfg(test)]
mod tests;
