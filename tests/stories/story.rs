//! One story.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use skep::execute::{self, Stop};
use skep::fleet::sim::{Faults, SimFleet, SimService, World};
use skep::guard;
use skep::inventory::{
    self, Advertise, Docker, Host, Inventory, Lab, LabDriver, Provider, Role, Ssh,
};
use skep::plan::Plan;
use skep::procedure::{NodeAct, NodeProcedure, Procedure};
use skep::swarm::{LastSeen, Swarm};

/// How many runs without accidents a cluster may take to become what the inventory says. Some wait
/// for what an earlier one did, such as an engine that has to run before it can be asked.
const PATIENCE: usize = 8;

pub(crate) struct Story {
    /// What happened.
    pub(crate) log: Vec<String>,
    /// How many runs of skep there were.
    pub(crate) runs: u64,
    seed: u64,
    /// A second source of chance, so that the stories of a seed stay what they were when more can happen.
    more: u64,
    /// A third one, for services that may run on one host only.
    bonds: u64,
    inventory: Inventory,
    fleet: SimFleet,
    /// What the machine that skep runs on remembers.
    last: Option<LastSeen>,
    next_host: usize,
}

impl Story {
    pub(crate) fn new(seed: u64) -> Self {
        let mut story = Self {
            log: Vec::new(),
            runs: 0,
            seed: seed.wrapping_mul(0x2545_f491_4f6c_dd1d).wrapping_add(1),
            more: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            bonds: seed.wrapping_mul(0xd134_2543_de82_ef95) | 1,
            inventory: inventory(),
            fleet: SimFleet::new(World::default(), Faults::default(), seed),
            last: None,
            next_host: 1,
        };
        let managers = [1, 1, 3, 3, 3, 5][story.below(6)];
        let workers = story.below(4);
        for place in 0..managers + workers {
            let role = if place < managers {
                Role::Manager
            } else {
                Role::Worker
            };
            story.add_host(role);
        }
        story
    }

    /// Lives it; why it failed.
    pub(crate) fn tell(&mut self) -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(self.live())
    }

    async fn live(&mut self) -> Result<(), String> {
        self.run(&Procedure::UP).await?;
        self.give_services();
        for _ in 0..=self.below(4) {
            self.something_happens().await?;
        }
        self.converge().await
    }

    fn below(&mut self, bound: usize) -> usize {
        below(&mut self.seed, bound)
    }

    /// The same, from the second source.
    fn also_below(&mut self, bound: usize) -> usize {
        below(&mut self.more, bound)
    }

    /// The same, from the third source.
    fn below_of_bonds(&mut self, bound: usize) -> usize {
        below(&mut self.bonds, bound)
    }

    fn add_host(&mut self, role: Role) -> String {
        let name = format!("h{}", self.next_host);
        let address = World::address(self.next_host);
        self.next_host += 1;
        self.fleet.with(|world| world.add(&name, &address));
        self.inventory.hosts.push(host(&name, &address, role));
        name
    }

    fn give_services(&mut self) {
        for name in 0..self.below(3) {
            let replicas = 1 + self.below(3);
            let service = SimService {
                replicas,
                bound: self.a_bond(),
                ..SimService::default()
            };
            self.fleet.with(|world| {
                world.services.insert(format!("s{name}"), service);
                let clusters: Vec<String> = world.clusters.keys().cloned().collect();
                for cluster in clusters {
                    world.place_tasks(&cluster);
                }
            });
        }
    }

    /// Of some services the tasks may run on one host only.
    fn a_bond(&mut self) -> Option<String> {
        let place = self.below_of_bonds(4 * self.inventory.hosts.len());
        let host = self.inventory.hosts.get(place);
        host.map(|host| host.name.clone())
    }

    fn any_host(&mut self) -> usize {
        let count = self.inventory.hosts.len();
        self.below(count)
    }

    async fn something_happens(&mut self) -> Result<(), String> {
        self.a_disk_fills();
        match self.below(12) {
            0..=2 => self.edit_roles(),
            3 => {
                let role = [Role::Worker, Role::Manager][self.below(2)];
                let name = self.add_host(role);
                self.log.push(format!("edit: {name} is new, {role:?}"));
            }
            4 => self.forget_a_host(),
            5 => self.edit_settings(),
            6..=8 => {
                let procedure = self.some_verb();
                self.accidents();
                self.run(&procedure).await?;
            }
            9 => self.a_host_dies(),
            10 => self.a_host_is_installed_anew(),
            _ => self.hosts_come_back(),
        }
        self.accidents();
        let prune = self.below(2) == 0;
        self.run(&Procedure::Up { prune }).await
    }

    fn edit_roles(&mut self) {
        for _ in 0..=self.below(3) {
            let place = self.any_host();
            let host = &mut self.inventory.hosts[place];
            host.role = if host.role == Role::Manager {
                Role::Worker
            } else {
                Role::Manager
            };
            let (name, role) = (host.name.clone(), host.role);
            self.log.push(format!("edit: {name} is {role:?}"));
        }
        self.keep_a_manager();
    }

    /// An inventory without a manager, or with none that has been one, is refused, and rightly.
    fn keep_a_manager(&mut self) {
        if self.inventory.managers().any(|host| self.manages(host)) {
            return;
        }
        let hosts = &self.inventory.hosts;
        let former = hosts.iter().position(|host| self.manages(host));
        let host = &mut self.inventory.hosts[former.unwrap_or(0)];
        host.role = Role::Manager;
        self.log
            .push(format!("edit: {} stays a manager", host.name));
    }

    /// Whether a host is in raft.
    fn manages(&self, host: &Host) -> bool {
        self.fleet.with(|world| {
            let member = world.hosts.get(&host.name).and_then(|it| it.member.clone());
            member.is_some_and(|(cluster, id)| {
                let nodes = &world.clusters[&cluster].nodes;
                nodes.get(&id).is_some_and(|node| node.raft)
            })
        })
    }

    fn forget_a_host(&mut self) {
        if self.inventory.hosts.len() < 2 {
            return;
        }
        let place = self.any_host();
        let host = self.inventory.hosts.remove(place);
        if !self.inventory.hosts.iter().any(|host| self.manages(host)) {
            self.inventory.hosts.insert(place, host);
            return;
        }
        self.log.push(format!("edit: {} is gone", host.name));
        self.keep_a_manager();
    }

    fn edit_settings(&mut self) {
        let place = self.any_host();
        let value = format!("v{}", self.below(100));
        if self.below(2) == 0 {
            self.log.push("edit: daemon.json of all".to_owned());
            for host in &mut self.inventory.hosts {
                host.docker
                    .daemon
                    .insert("log-driver".to_owned(), value.clone().into());
            }
        } else {
            let host = &mut self.inventory.hosts[place];
            host.labels.insert("place".to_owned(), value);
            self.log.push(format!("edit: a label of {}", host.name));
        }
    }

    fn some_verb(&mut self) -> Procedure {
        match self.below(9) {
            0 => return self.an_upgrade(),
            1 => return self.a_reboot(),
            _ => {}
        }
        let act = match self.below(6) {
            0 => NodeAct::Drain,
            1 => NodeAct::Activate,
            2 => NodeAct::Promote,
            3 => NodeAct::Demote,
            4 => NodeAct::Remove,
            _ => NodeAct::Label {
                set: BTreeMap::from([("by".to_owned(), "hand".to_owned())]),
                unset: BTreeSet::from(["place".to_owned()]),
            },
        };
        let mut nodes = Vec::new();
        for _ in 0..=self.below(2) {
            let place = self.any_host();
            nodes.push(self.inventory.hosts[place].name.clone());
        }
        Procedure::Node(NodeProcedure { act, nodes })
    }

    fn an_upgrade(&mut self) -> Procedure {
        let newer = ["23.0.1", "26.1.5", "28.0.0"][self.below(3)];
        self.fleet
            .with(|world| world.offers = vec!["20.10.24".to_owned(), newer.to_owned()]);
        let to = [None, Some("26.1"), Some(newer)][self.below(3)];
        Procedure::Upgrade {
            to: to.map(str::to_owned),
            max_unavailable: ["1", "2", "50%"][self.below(3)].parse().unwrap(),
            pause: 10,
        }
    }

    fn a_reboot(&mut self) -> Procedure {
        let before = self.fleet.with(|world| {
            let hosts = world.hosts.iter();
            hosts
                .map(|(name, host)| (name.clone(), host.boot_id()))
                .collect()
        });
        Procedure::Reboot { before, pause: 0 }
    }

    fn accidents(&mut self) {
        let mut up_to = |most: usize| u32::try_from(self.below(most)).unwrap();
        let faults = Faults {
            lost_before: up_to(60),
            lost_after: up_to(60),
            failed: up_to(40),
            join_pending: up_to(300),
            election: up_to(100),
            engine_dies: up_to(20),
            flips: 0,
        };
        let flips = [0, 0, 30, 150][self.also_below(4)];
        let faults = Faults { flips, ..faults };
        let none = self.below(3) == 0;
        self.fleet
            .set_faults(if none { Faults::default() } else { faults });
    }

    /// What goes on in the swarm comes to its end, as it does before the next accident in most lives.
    fn settle(&mut self) {
        self.fleet.with(World::settle);
    }

    fn a_disk_fills(&mut self) {
        if self.also_below(6) > 0 {
            return;
        }
        let place = self.also_below(self.inventory.hosts.len());
        let name = self.inventory.hosts[place].name.clone();
        self.log
            .push(format!("accident: the disk of {name} is full"));
        self.fleet
            .with(|world| world.hosts.get_mut(&name).unwrap().storage.full = true);
    }

    fn a_host_dies(&mut self) {
        self.settle();
        let place = self.any_host();
        let name = self.inventory.hosts[place].name.clone();
        self.log.push(format!("accident: {name} dies"));
        self.fleet
            .with(|world| world.hosts.get_mut(&name).unwrap().up = false);
        self.settle();
    }

    fn a_host_is_installed_anew(&mut self) {
        self.settle();
        let place = self.any_host();
        let host = &self.inventory.hosts[place];
        let (name, address) = (host.name.clone(), host.address.clone().unwrap());
        // Where no other host of the inventory knows of the swarm, a new one is made, and rightly.
        let mut others = self.inventory.hosts.iter().filter(|it| it.name != name);
        if !others.any(|host| self.manages(host)) {
            return;
        }
        self.log.push(format!("accident: {name} is installed anew"));
        self.fleet.with(|world| world.add(&name, &address));
        self.settle();
    }

    fn hosts_come_back(&mut self) {
        self.fleet.with(|world| {
            for host in world.hosts.values_mut() {
                host.up = true;
                host.storage.full = false;
            }
        });
        self.log
            .push("all hosts are up, with room on their disks".to_owned());
    }

    /// Plans, and runs what is not refused, cut at some moment or to its end.
    async fn run(&mut self, procedure: &Procedure) -> Result<(), String> {
        let mut plan = self.plan(procedure).await;
        self.log
            .push(format!("run {procedure:?}: {} changes", plan.changes.len()));
        for refusal in &plan.refusals {
            self.log
                .push(format!("  refused: {:?}: {}", refusal.host, refusal.why));
        }
        if plan.refusals.is_empty() {
            if self.below_of_bonds(2) == 0 {
                plan.allow_downtime();
            }
            let cut = match self.below(3) {
                0 => Duration::from_millis(u64::try_from(self.below(60_000)).unwrap()),
                _ => Duration::from_secs(100_000),
            };
            self.carry_out(&plan, cut).await;
        }
        self.is_sound()
    }

    async fn plan(&mut self, procedure: &Procedure) -> Plan {
        self.runs += 1;
        let hosts = &self.inventory.hosts;
        let gathered = skep::gather::gather(&self.fleet, hosts, &procedure.probes(), &|_| {}).await;
        let all = hosts.iter().map(|host| host.name.clone()).collect();
        let mut plan = procedure.plan(&self.inventory, &gathered, &all);
        if let Swarm::Up(up) = Swarm::see(&self.inventory, &gathered) {
            self.last = Some(LastSeen::of(&up));
        }
        if let Some(last) = &self.last {
            let refusal = guard::forgotten(&plan, &self.inventory, &gathered, last);
            plan.refusals.extend(refusal);
        }
        plan
    }

    /// Carries a plan out under the lock. While it runs, another skep is refused; when it has ended,
    /// in whatever way, the lock is free.
    async fn carry_out(&mut self, plan: &Plan, cut: Duration) {
        for change in &plan.changes {
            self.log
                .push(format!("  {}: {}", change.id, change.summary));
        }
        let another = Duration::from_millis(u64::try_from(self.also_below(60_000)).unwrap());
        let managers: Vec<String> = self
            .inventory
            .managers()
            .map(|it| it.name.clone())
            .collect();
        let (fleet, stop) = (&self.fleet, Stop::default());
        let lock = fleet.take_lock(&managers, "the first").unwrap();
        let run = execute::run(fleet, &plan.changes, &stop, &|_| {});
        let other = async {
            tokio::time::sleep(another).await;
            let refused = fleet.take_lock(&managers, "another").map(drop);
            assert_eq!(
                refused,
                if lock.is_held() {
                    Err("the first".to_owned())
                } else {
                    Ok(())
                }
            );
            std::future::pending().await
        };
        let ran = tokio::select! {
            ran = tokio::time::timeout(cut, run) => ran,
            never = other => never,
        };
        drop(lock);
        assert!(
            fleet.take_lock(&managers, "another").is_ok(),
            "the lock outlives its owner"
        );
        match ran {
            Err(_) => self.log.push(format!("  cut after {cut:?}")),
            Ok(report) => {
                for (change, outcome) in report.unwrap().outcomes {
                    if outcome != execute::Outcome::Done {
                        self.log.push(format!("  {change}: {outcome:?}"));
                    }
                }
            }
        }
    }

    /// What must be so after every run.
    fn is_sound(&self) -> Result<(), String> {
        self.fleet.with(|world| {
            if !world.quorum_lost_by.is_empty() {
                return Err(format!("quorum lost by {:?}", world.quorum_lost_by));
            }
            if !world.tasks_lost_by.is_empty() {
                return Err(format!("tasks lost by {:?}", world.tasks_lost_by));
            }
            let swarms = world.clusters.len();
            if swarms > 1 {
                return Err(format!("there are {swarms} swarms"));
            }
            Ok(())
        })
    }

    /// With all hosts up and no more accidents, the cluster becomes what the inventory says.
    async fn converge(&mut self) -> Result<(), String> {
        self.hosts_come_back();
        self.fleet.set_faults(Faults::default());
        self.settle();
        let up = Procedure::Up { prune: true };
        for _ in 0..PATIENCE {
            let mut plan = self.plan(&up).await;
            if plan.is_empty() {
                return self.is_as_wanted();
            }
            plan.allow_downtime();
            self.log
                .push(format!("converge: {} changes", plan.changes.len()));
            if !plan.refusals.is_empty() {
                if self.unsolvable(&plan) {
                    return Ok(());
                }
                return Err(format!("refused in the end: {:#?}", plan.refusals));
            }
            self.carry_out(&plan, Duration::from_secs(100_000)).await;
            self.is_sound()?;
        }
        let plan = self.plan(&up).await;
        Err(format!("no end: {:?} {:#?}", plan.hosts, plan.changes))
    }

    /// What no run can mend, because a person must decide: quorum lost for good by accidents, a host
    /// that was taken out of the swarm behind its back, or a file that names no manager of the swarm.
    fn unsolvable(&self, plan: &Plan) -> bool {
        let lost = self.fleet.with(|world| {
            let mut clusters = world.clusters.keys();
            clusters.any(|cluster| !world.has_quorum(cluster))
        });
        // The last: a verb took out every manager but one that the inventory wants as a worker.
        let left_to_people = [
            "it was removed from it",
            "of another swarm",
            "the inventory wants no manager there",
            "a new one would be a second",
        ];
        let is_left = |why: &str| left_to_people.iter().any(|known| why.contains(known));
        let orphan = plan.refusals.iter().all(|refusal| is_left(&refusal.why));
        // A demotion that still went on when the file was edited left no manager of the file in raft.
        let forgotten = !self.inventory.hosts.iter().any(|host| self.manages(host));
        lost || orphan || forgotten
    }

    fn is_as_wanted(&self) -> Result<(), String> {
        let managers = self.inventory.managers().count();
        let members = self.inventory.members().count();
        self.fleet.with(|world| {
            let Some((id, cluster)) = world.clusters.first_key_value() else {
                return Err("there is no swarm".to_owned());
            };
            let (total, alive) = world.raft(id);
            if (total, alive) != (managers, managers) {
                return Err(format!(
                    "{managers} managers wanted, {total} in raft, {alive} alive"
                ));
            }
            if cluster.nodes.len() != members {
                return Err(format!("{members} nodes wanted: {:?}", cluster.nodes));
            }
            Ok(())
        })
    }
}

/// A number below `bound`, by xorshift64* (Marsaglia 2003, Vigna 2016).
fn below(state: &mut u64, bound: usize) -> usize {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    let next = state.wrapping_mul(0x2545_f491_4f6c_dd1d);
    usize::try_from((next >> 33) % u64::try_from(bound).unwrap()).unwrap()
}

fn inventory() -> Inventory {
    Inventory {
        cluster: "sim".to_owned(),
        path: "skep.toml".into(),
        swarm: inventory::Swarm::default(),
        lab: Lab {
            release: "bookworm".to_owned(),
            mirror: None,
            driver: LabDriver::Container,
            subnet: None,
            memory_mib: None,
            cpu_percent: None,
        },
        start_first: Vec::new(),
        backup: None,
        openstack: None,
        hosts: Vec::new(),
    }
}

fn host(name: &str, address: &str, role: Role) -> Host {
    Host {
        name: name.to_owned(),
        address: Some(address.to_owned()),
        role,
        labels: BTreeMap::from([("place".to_owned(), "here".to_owned())]),
        availability: None,
        groups: BTreeSet::new(),
        vars: BTreeMap::new(),
        optional: false,
        provider: Provider::Static,
        ssh: Ssh::default(),
        docker: Docker::default(),
        storage: None,
        wipe: None,
        advertise: Advertise::default(),
        exports: Vec::new(),
        mounts: Vec::new(),
        nfs_domain: None,
        disks: Vec::new(),
        hooks: Vec::new(),
        power: None,
        server: None,
    }
}
