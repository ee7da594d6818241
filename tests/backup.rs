//! Backups and restores on the simulated fleet: what is refused, what is done in which order, and that
//! a run which is killed after any step leaves a swarm that works, and is finished by the next.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::BoxFuture;
use jiff::Timestamp;
use skep::backup::{FORMAT, Manifest};
use skep::execute::{self, Stop};
use skep::facts::{HostFacts, Probes};
use skep::fleet::sim::{Faults, SimFleet, SimService, World};
use skep::fleet::{Fault, FaultKind, Fleet};
use skep::guard;
use skep::inventory::Inventory;
use skep::plan::{BackupCall, Plan, Step};
use skep::procedure::{BackupProcedure, Procedure, RestoreProcedure};
use skep::swarm::{Contents, Gathered, Swarm};

fn inventory(managers: usize, workers: usize) -> Inventory {
    let last = managers + workers;
    let first = managers + 1;
    let text = format!(
        "[cluster]\nname = \"sim\"\n[swarm]\nallow-even-managers = true\n\
         [[host]]\nname = \"m[1-{managers}]\"\naddress = \"198.18.0.[1-{managers}]\"\nrole = \"manager\"\n\
         [[host]]\nname = \"w[1-{workers}]\"\naddress = \"198.18.0.[{first}-{last}]\"\nrole = \"worker\"\n"
    );
    let (inventory, diagnostics) = skep::inventory::parse(&text, Path::new("skep.toml"));
    inventory.unwrap_or_else(|| panic!("{diagnostics:?}"))
}

fn paused<F: Future<Output = ()>>(future: F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.unwrap().block_on(future);
}

/// A fleet whose skep is killed after so many steps.
struct Dies<'a> {
    fleet: &'a SimFleet,
    left: AtomicUsize,
}

impl Fleet for Dies<'_> {
    fn gather<'a>(
        &'a self,
        host: &'a str,
        probes: &'a Probes,
    ) -> BoxFuture<'a, Result<HostFacts, Fault>> {
        self.fleet.gather(host, probes)
    }

    fn run<'a>(
        &'a self,
        host: &'a str,
        step: &'a Step,
        output: &'a (dyn Fn(&str) + Send + Sync),
    ) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            let left = self.left.load(Ordering::SeqCst);
            if left == 0 {
                return Err(Fault::new(FaultKind::Cancelled, "killed"));
            }
            self.left.store(left - 1, Ordering::SeqCst);
            self.fleet.run(host, step, output).await
        })
    }
}

async fn gathered(fleet: &dyn Fleet, inventory: &Inventory, procedure: &Procedure) -> Gathered {
    skep::gather::gather(fleet, &inventory.hosts, &procedure.probes(), &|_| {}).await
}

async fn plan(fleet: &dyn Fleet, inventory: &Inventory, procedure: &Procedure) -> Plan {
    let gathered = gathered(fleet, inventory, procedure).await;
    let all = inventory.hosts.iter().map(|host| host.name.clone());
    procedure.plan(inventory, &gathered, &all.collect())
}

/// All rounds as `cli::work` makes them; whether it came to its end.
async fn rounds(fleet: &dyn Fleet, inventory: &Inventory, procedure: &Procedure) -> bool {
    let mut procedure = procedure.clone();
    for _ in 0..8 {
        let plan = plan(fleet, inventory, &procedure).await;
        assert_eq!(plan.refusals, [], "{plan:#?}");
        if plan.changes.is_empty() {
            return plan.is_empty();
        }
        let report = execute::run(fleet, &plan.changes, &Stop::default(), &|_| {}).await;
        let report = report.unwrap();
        procedure.done(&report);
        if let Procedure::Restore(restore) = &mut procedure {
            restore.begun = true;
        }
        if !report.is_done() {
            return false;
        }
    }
    panic!("it goes on for ever");
}

/// A swarm that is up, with a service on it.
async fn swarm(inventory: &Inventory) -> SimFleet {
    let fleet = SimFleet::new(World::fresh(inventory), Faults::default(), 1);
    for _ in 0..4 {
        rounds(&fleet, inventory, &Procedure::UP).await;
    }
    fleet.with(|world| {
        let service = SimService {
            replicas: 4,
            ..SimService::default()
        };
        world.services.insert("web".to_owned(), service);
        world.let_time_pass();
    });
    fleet
}

/// When the simulated hosts say that their copies were taken.
fn taken() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn backup() -> BackupProcedure {
    BackupProcedure {
        on: None,
        to: PathBuf::from("backups"),
        recipients: vec!["age1".to_owned()],
        without_quorum: false,
        now: taken(),
        taken: false,
    }
}

/// The restore of the first archive that the world has.
fn restore(fleet: &SimFleet, on: &str) -> RestoreProcedure {
    let (archive, address, nodes) = fleet.with(|world| {
        let archive = world.archives[0].clone();
        let address = world.hosts[&archive.host].address.clone();
        let nodes = world.clusters[&archive.cluster].nodes.keys().cloned();
        let nodes = nodes.collect::<Vec<_>>();
        (archive, address, nodes)
    });
    RestoreProcedure {
        archive: PathBuf::from("archive"),
        sha256: "0".to_owned(),
        manifest: Manifest {
            format: FORMAT,
            cluster: "sim".to_owned(),
            cluster_id: archive.cluster,
            node_id: archive.node,
            host: archive.host,
            address,
            engine: "20.10.24".to_owned(),
            taken: taken(),
            certificate_expires: None,
            locked: false,
            skep: "0.1.0".to_owned(),
            contents: Contents {
                nodes,
                ..Contents::default()
            },
            files: Vec::new(),
        },
        on: on.to_owned(),
        lost: BTreeSet::new(),
        begun: false,
    }
}

fn as_procedure(restore: RestoreProcedure) -> Procedure {
    Procedure::Restore(Box::new(restore))
}

fn why(plan: &Plan) -> String {
    let refusals = plan.refusals.iter();
    let lines = refusals.map(|it| {
        let host = it.host.as_deref().unwrap_or("-");
        format!("{host}: {} {}", it.why, it.hint)
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Every manager and worker there, every engine running, no node without work, nothing left lying.
fn is_whole(fleet: &SimFleet, managers: usize, nodes: usize) {
    fleet.with(|world| {
        let up: Vec<String> = world.clusters.keys().cloned().collect();
        let up: Vec<&String> = up.iter().filter(|id| world.has_quorum(id)).collect();
        assert_eq!(up.len(), 1, "{:#?}", world.clusters);
        assert_eq!(world.raft(up[0]), (managers, managers));
        let swarm = &world.clusters[up[0]];
        assert_eq!(swarm.nodes.len(), nodes, "{:#?}", swarm.nodes);
        for (name, host) in &world.hosts {
            assert!(host.engine_runs, "{name}");
            let left = host
                .files
                .keys()
                .find(|it| it.starts_with("/var/lib/skep/"));
            assert_eq!(left, None, "{name}");
        }
        for node in swarm.nodes.values() {
            let availability = format!("{:?}", node.availability);
            assert_eq!(availability, "Active", "{node:?}");
        }
        assert_eq!(world.quorum_lost_by, Vec::<String>::new());
        assert_eq!(world.tasks_lost_by, Vec::<String>::new());
        assert_eq!(world.services["web"].tasks.len(), 4);
    });
}

#[test]
fn a_manager_that_does_not_lead_is_drained_copied_and_given_back() {
    let inventory = inventory(3, 2);
    paused(async move {
        let fleet = swarm(&inventory).await;
        let procedure = Procedure::Backup(backup());
        let first = plan(&fleet, &inventory, &procedure).await;
        assert_eq!(first.refusals, []);
        let told = first.warnings.join("\n");
        let sum = "managers 3, reachable 3, majority 2: with m2 stopped 2 remain";
        assert!(told.contains(sum), "{told}");
        assert_eq!(first.changes.len(), 1);
        let steps: Vec<String> = first.changes[0]
            .steps
            .iter()
            .map(ToString::to_string)
            .collect();
        let order = [
            "majority without it",
            "write",
            "drain the node",
            "stop the engine, copy /var/lib/docker/swarm",
            "the node is a ready manager",
            "availability active",
            "remove",
            "write the archive to backups, encrypted to age1",
            "remove the copy",
        ];
        assert_eq!(steps.len(), order.len(), "{steps:#?}");
        for (step, part) in steps.iter().zip(order) {
            assert!(step.contains(part), "{step} is not `{part}`");
        }
        assert!(rounds(&fleet, &inventory, &procedure).await);
        is_whole(&fleet, 3, 5);
        fleet.with(|world| {
            assert_eq!(world.archives.len(), 1);
            assert_eq!(world.archives[0].host, "m2");
            assert_eq!(world.hosts["m1"].restarts, 0);
        });
    });
}

#[test]
fn a_backup_is_refused_where_the_others_are_no_majority() {
    paused(async move {
        let three = inventory(3, 1);
        let fleet = swarm(&three).await;
        let asked = async |inventory: &Inventory, fleet: &SimFleet, it: BackupProcedure| {
            plan(fleet, inventory, &Procedure::Backup(it)).await
        };
        let on = |host: &str| BackupProcedure {
            on: Some(host.to_owned()),
            ..backup()
        };
        let leader = why(&asked(&three, &fleet, on("m1")).await);
        assert!(leader.contains("m1: it leads"), "{leader}");
        let worker = why(&asked(&three, &fleet, on("w1")).await);
        assert!(
            worker.contains("w1: a backup is taken from a manager"),
            "{worker}"
        );
        assert_eq!(why(&asked(&three, &fleet, on("m3")).await), "");
        fleet.with(|world| world.hosts.get_mut("m3").unwrap().up = false);
        let accepting = BackupProcedure {
            without_quorum: true,
            ..backup()
        };
        // Of three no flag helps: the lost one comes back first.
        let lost = why(&asked(&three, &fleet, accepting.clone()).await);
        let sum = "managers 3, reachable 2, majority 2: with m2 stopped 1 remain";
        assert!(lost.contains(sum), "{lost}");
        fleet.with(|world| world.hosts.get_mut("m2").unwrap().up = false);
        let none = why(&asked(&three, &fleet, backup()).await);
        assert!(none.contains("no manager with quorum"), "{none}");
        for (managers, host) in [(1, "m1"), (2, "m2")] {
            let few = inventory(managers, 1);
            let fleet = swarm(&few).await;
            let refused = why(&asked(&few, &fleet, backup()).await);
            let sum = format!(
                "{host}: managers {managers}, reachable {managers}, majority {managers}: with {host} stopped {} remain",
                managers - 1
            );
            assert!(refused.contains(&sum), "{refused}");
            assert!(refused.contains("--accept-no-quorum"), "{refused}");
            let procedure = Procedure::Backup(accepting.clone());
            assert!(rounds(&fleet, &few, &procedure).await);
            is_whole(&fleet, managers, managers + 1);
            fleet.with(|world| assert_eq!(world.archives.len(), 1));
        }
    });
}

#[test]
fn the_guard_knows_which_engine_must_not_be_stopped() {
    let inventory = inventory(3, 1);
    paused(async move {
        let fleet = swarm(&inventory).await;
        let procedure = Procedure::Backup(backup());
        let gathered = gathered(&fleet, &inventory, &procedure).await;
        let good = procedure.plan(&inventory, &gathered, &BTreeSet::new());
        let check = |plan: &Plan, gathered: &Gathered| {
            let seen = Swarm::see(&inventory, gathered);
            let refusals = guard::check(plan, &inventory, gathered, &seen);
            let why: Vec<String> = refusals.into_iter().map(|it| it.why).collect();
            why.join("\n")
        };
        assert_eq!(check(&good, &gathered), "");
        let on = |host: &str| {
            let mut plan = good.clone();
            plan.changes[0].host = host.to_owned();
            plan
        };
        assert!(check(&on("m1"), &gathered).contains("it leads"));
        assert!(check(&on("w1"), &gathered).contains("it is no manager"));
        let mut twice = good.clone();
        twice.changes.extend(on("m3").changes);
        assert!(check(&twice, &gathered).contains("stops 2 engines"));
        let mut less = gathered.clone();
        for facts in less.values_mut() {
            let skep::known::Known::Value(nodes) = &mut facts.as_mut().unwrap().nodes else {
                continue;
            };
            for node in nodes.iter_mut().filter(|node| node.hostname == "m3") {
                node.manager.as_mut().unwrap().reachable = false;
            }
        }
        let lost = check(&good, &less);
        assert!(lost.contains("with it stopped 1 remain"), "{lost}");
    });
}

#[test]
fn a_backup_that_is_killed_after_any_step_is_finished_by_the_next() {
    let inventory = inventory(3, 2);
    paused(async move {
        let mut kills = 0;
        for left in 0.. {
            let fleet = swarm(&inventory).await;
            let dies = Dies {
                fleet: &fleet,
                left: AtomicUsize::new(left),
            };
            let ended = rounds(&dies, &inventory, &Procedure::Backup(backup())).await;
            fleet.with(|world| {
                let runs = world.hosts.values().all(|host| host.engine_runs);
                assert!(runs, "killed after {left} steps, and an engine stands");
            });
            let stops = |fleet: &SimFleet| {
                fleet.with(|world| world.hosts.values().map(|it| it.restarts).sum::<u32>())
            };
            let (had, before) = (fleet.with(|it| it.archives.len()), stops(&fleet));
            assert!(rounds(&fleet, &inventory, &Procedure::Backup(backup())).await);
            is_whole(&fleet, 3, 5);
            fleet.with(|world| assert_eq!(world.archives.len(), had + 1));
            let half = fleet.with(|world| had == 0 && world.archives[0].host == "m2");
            if before > 0 && half {
                // The copy that was taken is used, and no engine is stopped again.
                assert_eq!(stops(&fleet), before, "killed after {left} steps");
            }
            if ended {
                break;
            }
            kills += 1;
        }
        assert!(kills > 7, "{kills}");
    });
}

#[test]
fn an_engine_that_did_not_come_up_is_started_by_the_next() {
    let inventory = inventory(3, 2);
    paused(async move {
        let fleet = swarm(&inventory).await;
        fleet.set_faults(Faults {
            engine_dies: 1000,
            ..Faults::default()
        });
        assert!(!rounds(&fleet, &inventory, &Procedure::Backup(backup())).await);
        fleet.with(|world| assert!(!world.hosts["m2"].engine_runs));
        fleet.set_faults(Faults::default());
        assert!(rounds(&fleet, &inventory, &Procedure::Backup(backup())).await);
        is_whole(&fleet, 3, 5);
    });
}

#[test]
fn faults_on_the_way_cost_no_quorum() {
    let inventory = inventory(3, 2);
    paused(async move {
        for seed in 0..60 {
            let fleet = swarm(&inventory).await;
            let world = fleet.with(|world| world.clone());
            let faults = Faults {
                lost_before: 60,
                lost_after: 60,
                failed: 60,
                engine_dies: 60,
                ..Faults::default()
            };
            let fleet = SimFleet::new(world, faults, seed);
            for _ in 0..3 {
                rounds(&fleet, &inventory, &Procedure::Backup(backup())).await;
            }
            fleet.set_faults(Faults::default());
            assert!(rounds(&fleet, &inventory, &Procedure::Backup(backup())).await);
            is_whole(&fleet, 3, 5);
        }
    });
}

/// A swarm of which a backup was taken, and whose managers were installed anew.
async fn wiped(inventory: &Inventory) -> SimFleet {
    let fleet = swarm(inventory).await;
    assert!(rounds(&fleet, inventory, &Procedure::Backup(backup())).await);
    fleet.with(|world| {
        for host in ["m1", "m2", "m3"] {
            let address = world.hosts[host].address.clone();
            world.add(host, &address);
        }
    });
    fleet
}

#[test]
fn wiped_managers_become_the_swarm_of_the_backup_again() {
    let inventory = inventory(3, 2);
    paused(async move {
        let fleet = wiped(&inventory).await;
        let procedure = as_procedure(restore(&fleet, "m2"));
        assert!(rounds(&fleet, &inventory, &procedure).await);
        is_whole(&fleet, 3, 5);
        let up = plan(&fleet, &inventory, &Procedure::UP).await;
        assert!(up.is_empty(), "{up:#?}");
    });
}

#[test]
fn a_restore_that_is_killed_after_any_step_is_finished_by_the_next() {
    let inventory = inventory(3, 2);
    paused(async move {
        let mut kills = 0;
        for left in 0.. {
            let fleet = wiped(&inventory).await;
            let procedure = as_procedure(restore(&fleet, "m2"));
            let dies = Dies {
                fleet: &fleet,
                left: AtomicUsize::new(left),
            };
            let ended = rounds(&dies, &inventory, &procedure).await;
            if !ended {
                let next = plan(&fleet, &inventory, &procedure).await;
                // Where nothing but the mark's removal was left, the next run finds a swarm that works.
                if next.refusals.is_empty() {
                    assert!(rounds(&fleet, &inventory, &procedure).await, "{left}");
                } else {
                    assert!(why(&next).contains("has quorum"), "{}", why(&next));
                }
            }
            is_whole(&fleet, 3, 5);
            if ended {
                break;
            }
            kills += 1;
        }
        assert!(kills > 27, "{kills}");
    });
}

#[test]
fn a_restore_is_refused_where_it_would_do_harm() {
    let inventory = inventory(3, 1);
    paused(async move {
        let fleet = swarm(&inventory).await;
        assert!(rounds(&fleet, &inventory, &Procedure::Backup(backup())).await);
        let asked =
            async |it: RestoreProcedure| why(&plan(&fleet, &inventory, &as_procedure(it)).await);
        let good = restore(&fleet, "m2");
        let living = asked(good.clone()).await;
        assert!(
            living
                .contains("a swarm is there, and has quorum: managers 3, reachable 3, majority 2"),
            "{living}"
        );
        fleet.with(|world| {
            for host in ["m1", "m3"] {
                world.hosts.get_mut(host).unwrap().up = false;
            }
        });
        let silent = asked(good.clone()).await;
        assert!(
            silent.contains("--lost m1") && silent.contains("--lost m3"),
            "{silent}"
        );
        let lost = RestoreProcedure {
            lost: ["m1", "m3"].map(str::to_owned).into(),
            ..good.clone()
        };
        assert_eq!(asked(lost.clone()).await, "");
        let with = |change: &dyn Fn(&mut RestoreProcedure)| {
            let mut other = lost.clone();
            change(&mut other);
            other
        };
        let elsewhere = asked(with(&|it| it.manifest.address = "198.18.0.9".to_owned())).await;
        assert!(
            elsewhere.contains("of a manager at 198.18.0.9, and this host has no such address"),
            "{elsewhere}"
        );
        let newer = asked(with(&|it| it.manifest.engine = "24.0.0".to_owned())).await;
        assert!(
            newer.contains("its engine is 20.10.24, and the archive was written by 24.0.0"),
            "{newer}"
        );
        let other = asked(with(&|it| it.manifest.cluster = "hive".to_owned())).await;
        assert!(
            other.contains("is of the cluster `hive`, and the inventory is of `sim`"),
            "{other}"
        );
        let worker = asked(with(&|it| it.on = "w1".to_owned())).await;
        assert!(
            worker.contains("does not say that it is a manager"),
            "{worker}"
        );
        let nobody = asked(with(&|it| it.on = "m9".to_owned())).await;
        assert!(
            nobody.contains("no host of the inventory has this name"),
            "{nobody}"
        );
        let there = asked(with(&|it| it.lost.extend(["w1".to_owned()]))).await;
        assert!(there.contains("`--lost w1`: it answers"), "{there}");
    });
}

#[test]
fn managers_that_live_without_quorum_leave_before_the_state_is_put_back() {
    let inventory = inventory(5, 1);
    paused(async move {
        let fleet = swarm(&inventory).await;
        assert!(rounds(&fleet, &inventory, &Procedure::Backup(backup())).await);
        fleet.with(|world| {
            for host in ["m3", "m4", "m5"] {
                let address = world.hosts[host].address.clone();
                world.add(host, &address);
            }
        });
        let procedure = as_procedure(restore(&fleet, "m2"));
        let first = plan(&fleet, &inventory, &procedure).await;
        assert_eq!(first.refusals, []);
        let told = first.warnings.join("\n");
        assert!(
            told.contains("`skep recover` goes on from one of them"),
            "{told}"
        );
        let restored = first.changes.iter().find(|it| it.host == "m2").unwrap();
        let fences: Vec<&str> = restored.needs.iter().map(|it| it.0.as_str()).collect();
        assert_eq!(fences, ["m1/swarm.fence"]);
        let seen = |gathered: &Gathered| Swarm::see(&inventory, gathered);
        let gathered = gathered(&fleet, &inventory, &procedure).await;
        let check = |plan: &Plan| {
            let refusals = guard::check(plan, &inventory, &gathered, &seen(&gathered));
            let why: Vec<String> = refusals.into_iter().map(|it| it.why).collect();
            why.join("\n")
        };
        assert_eq!(check(&first), "");
        let mut unfenced = first.clone();
        unfenced.changes.retain(|it| it.host == "m2");
        unfenced.changes[0].needs.clear();
        assert!(check(&unfenced).contains("would stay in the old one"));
        let mut unforced = first.clone();
        for change in &mut unforced.changes {
            change
                .steps
                .retain(|step| matches!(step, Step::Backup(BackupCall::Place { .. })));
        }
        assert!(check(&unforced).contains("the others could join it again"));
        assert!(rounds(&fleet, &inventory, &procedure).await);
        is_whole(&fleet, 5, 6);
    });
}
