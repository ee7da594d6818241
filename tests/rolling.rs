//! Upgrades and reboots on the simulated fleet: their order, where they stop, what is refused.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "rolling/hooks.rs"]
mod hooks;

use std::collections::BTreeSet;
use std::path::Path;

use skep::execute::{self, Outcome, Stop};
use skep::fleet::sim::{Faults, SimFleet, SimService, World};
use skep::inventory::{Inventory, Role};
use skep::plan::saved::Saved;
use skep::plan::{ChangeId, Plan, Step};
use skep::procedure::{NodeAct, NodeProcedure, Procedure};

fn inventory(managers: usize, workers: usize, more: &str) -> Inventory {
    let text = format!(
        "[cluster]\nname = \"sim\"\n{more}\n\
         [[host]]\nname = \"m[1-{managers}]\"\naddress = \"198.18.1.[1-{managers}]\"\nrole = \"manager\"\n\
         [[host]]\nname = \"w[1-{workers}]\"\naddress = \"198.18.2.[1-{workers}]\"\nrole = \"worker\"\n"
    );
    let (inventory, diagnostics) = skep::inventory::parse(&text, Path::new("skep.toml"));
    inventory.unwrap_or_else(|| panic!("{diagnostics:?}"))
}

async fn plan(fleet: &SimFleet, inventory: &Inventory, procedure: &Procedure) -> Plan {
    let more = procedure.probes();
    let gathered = skep::gather::gather(fleet, &inventory.hosts, &more, &|_| {}).await;
    let hosts = inventory.hosts.iter();
    let all: BTreeSet<String> = hosts.map(|host| host.name.clone()).collect();
    procedure.plan(inventory, &gathered, &all)
}

async fn apply(fleet: &SimFleet, plan: &Plan) -> execute::Report {
    assert_eq!(plan.refusals, [], "a refused plan is never run");
    execute::run(fleet, &plan.changes, &Stop::default(), &|_| {})
        .await
        .unwrap()
}

/// A swarm that is up, with a service on it.
async fn swarm(inventory: &Inventory) -> SimFleet {
    let fleet = SimFleet::new(World::fresh(inventory), Faults::default(), 1);
    for _ in 0..4 {
        let plan = plan(&fleet, inventory, &Procedure::UP).await;
        apply(&fleet, &plan).await;
    }
    fleet.with(|world| {
        let service = SimService {
            replicas: 3,
            ..SimService::default()
        };
        world.services.insert("web".to_owned(), service);
        world.let_time_pass();
        world.offers = vec!["20.10.24".to_owned(), "26.1.5".to_owned()];
    });
    fleet
}

fn upgrade(to: Option<&str>, max_unavailable: &str) -> Procedure {
    Procedure::Upgrade {
        to: to.map(str::to_owned),
        max_unavailable: max_unavailable.parse().unwrap(),
        pause: 0,
    }
}

fn reboot(fleet: &SimFleet) -> Procedure {
    let before = fleet.with(|world| {
        let hosts = world.hosts.iter();
        hosts
            .map(|(name, host)| (name.clone(), host.boot_id()))
            .collect()
    });
    Procedure::Reboot { before, pause: 0 }
}

fn paused<F: Future<Output = ()>>(future: F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.unwrap().block_on(future);
}

/// The hosts that each host of the plan waits for.
fn waits(plan: &Plan) -> Vec<String> {
    let host = |id: &ChangeId| id.0.split('/').next().unwrap().to_owned();
    let changes = plan.changes.iter();
    let line = |change: &skep::plan::Change| {
        let needs: Vec<String> = change.before().map(host).collect();
        format!("{} after {}", change.host, needs.join(" "))
    };
    changes.map(line).collect()
}

fn no_harm(fleet: &SimFleet) {
    fleet.with(|world| {
        assert_eq!(world.quorum_lost_by, Vec::<String>::new());
        assert_eq!(world.tasks_lost_by, Vec::<String>::new());
    });
}

#[test]
fn workers_go_in_batches_after_the_first_and_the_leader_goes_last() {
    let inventory = inventory(3, 5, "");
    paused(async move {
        let fleet = swarm(&inventory).await;
        let plan = plan(&fleet, &inventory, &upgrade(None, "50%")).await;
        assert_eq!(
            waits(&plan),
            [
                "w1 after ",
                "w2 after w1",
                "w3 after w1",
                "w4 after w2 w3",
                "w5 after w2 w3",
                "m2 after w4 w5",
                "m3 after m2",
                "m1 after m3",
            ]
        );
        assert_eq!(plan.warnings.len(), 1, "{:?}", plan.warnings);
        assert!(plan.warnings[0].contains("23, 24, 25"));
    });
}

#[test]
fn after_an_upgrade_a_second_plan_is_empty_and_nothing_was_lost() {
    let inventory = inventory(3, 3, "");
    paused(async move {
        let fleet = swarm(&inventory).await;
        let first = plan(&fleet, &inventory, &upgrade(Some("26.1"), "2")).await;
        assert!(apply(&fleet, &first).await.is_done());
        no_harm(&fleet);
        fleet.with(|world| {
            for host in world.hosts.values() {
                assert_eq!(host.engine_version.as_deref(), Some("26.1.5"));
            }
        });
        let second = plan(&fleet, &inventory, &upgrade(Some("26.1"), "2")).await;
        assert!(second.is_empty(), "{second:#?}");
        let up = plan(&fleet, &inventory, &Procedure::UP).await;
        assert!(up.is_empty(), "{up:#?}");
    });
}

#[test]
fn an_upgrade_that_fails_stops_at_the_first() {
    let inventory = inventory(3, 3, "");
    paused(async move {
        let fleet = swarm(&inventory).await;
        let plan = plan(&fleet, &inventory, &upgrade(None, "100%")).await;
        fleet.set_faults(Faults {
            failed: 1000,
            ..Faults::default()
        });
        let report = apply(&fleet, &plan).await;
        let outcomes = report.outcomes.iter();
        let failed = outcomes.filter(|(_, it)| matches!(it, Outcome::Failed { .. }));
        let failed: Vec<&str> = failed.map(|(id, _)| id.0.as_str()).collect();
        assert_eq!(failed, ["w1/docker.upgrade"]);
    });
}

#[test]
fn a_task_that_can_run_nowhere_else_stops_only_where_that_is_allowed() {
    let inventory = inventory(3, 2, "");
    paused(async move {
        let fleet = swarm(&inventory).await;
        fleet.with(|world| {
            let service = SimService {
                replicas: 1,
                bound: Some("w1".to_owned()),
                ..SimService::default()
            };
            world.services.insert("disk".to_owned(), service);
            world.let_time_pass();
        });
        let upgrade = upgrade(None, "1");
        let mut plan = plan(&fleet, &inventory, &upgrade).await;
        let report = apply(&fleet, &plan).await;
        let outcomes = report.outcomes.iter();
        let failed = outcomes.filter(|(_, it)| matches!(it, Outcome::Failed { .. }));
        let failed: Vec<&str> = failed.map(|(id, _)| id.0.as_str()).collect();
        assert_eq!(failed, ["w1/docker.upgrade"]);
        let runs = |world: &mut World| world.services["disk"].tasks[0].clone();
        let before = fleet.with(runs);
        assert_ne!(before, "", "it was not touched");
        plan.allow_downtime();
        let shown = plan.changes[0].steps.iter().map(Step::to_string);
        assert!(
            shown
                .into_iter()
                .any(|step| step.contains("nowhere else stop"))
        );
        assert!(apply(&fleet, &plan).await.is_done());
        no_harm(&fleet);
        assert_eq!(fleet.with(runs), before, "it works again");
    });
}

#[test]
fn an_engine_that_an_upgrade_left_down_is_mended_before_others_are_touched() {
    let inventory = inventory(3, 2, "");
    paused(async move {
        let fleet = swarm(&inventory).await;
        let upgrade = upgrade(None, "1");
        fleet.with(|world| {
            let host = world.hosts.get_mut("m2").unwrap();
            host.engine_runs = false;
            let marker = ("drained".to_owned(), 0o644);
            host.files
                .insert("/var/lib/skep/drained-for-restart".to_owned(), marker);
        });
        let first = plan(&fleet, &inventory, &upgrade).await;
        assert_eq!(waits(&first), ["m2 after "]);
        assert!(first.goes_on(), "the others come later");
        assert!(apply(&fleet, &first).await.is_done());
        let second = plan(&fleet, &inventory, &upgrade).await;
        assert_eq!(second.changes.len(), 4);
        assert!(apply(&fleet, &second).await.is_done());
        no_harm(&fleet);
        assert!(plan(&fleet, &inventory, &upgrade).await.is_empty());
    });
}

#[test]
fn an_upgrade_that_was_cut_before_the_new_engine_ran_starts_it() {
    let inventory = inventory(3, 2, "");
    paused(async move {
        let fleet = swarm(&inventory).await;
        fleet.with(|world| {
            let packages = &mut world.hosts.get_mut("w1").unwrap().packages;
            packages.get_mut("docker.io").unwrap().1 = true;
        });
        let upgrade = upgrade(None, "1");
        let first = plan(&fleet, &inventory, &upgrade).await;
        // The packages are there; the connection was lost before their service was started.
        fleet.set_faults(Faults {
            engine_dies: 1000,
            ..Faults::default()
        });
        assert!(!apply(&fleet, &first).await.is_done());
        fleet.set_faults(Faults::default());
        fleet.with(|world| {
            let host = &world.hosts["w1"];
            assert!(!host.engine_runs);
            // APT takes a hold away with the old version.
            assert_eq!(host.packages["docker.io"], ("26.1.5".to_owned(), true));
        });
        let second = plan(&fleet, &inventory, &upgrade).await;
        assert_eq!(waits(&second), ["w1 after "]);
        assert!(apply(&fleet, &second).await.is_done());
        let third = plan(&fleet, &inventory, &upgrade).await;
        assert_eq!(third.changes.len(), 4);
        assert!(apply(&fleet, &third).await.is_done());
        no_harm(&fleet);
        assert!(plan(&fleet, &inventory, &upgrade).await.is_empty());
    });
}

#[test]
fn a_hold_that_a_power_cut_took_away_is_owed() {
    let inventory = inventory(3, 1, "");
    paused(async move {
        let fleet = swarm(&inventory).await;
        let upgrade = upgrade(None, "1");
        let first = plan(&fleet, &inventory, &upgrade).await;
        assert!(apply(&fleet, &first).await.is_done());
        assert!(plan(&fleet, &inventory, &upgrade).await.is_empty());
        fleet.with(|world| {
            let files = &mut world.hosts.get_mut("w1").unwrap().files;
            files.insert(
                "/var/lib/skep/hold-packages".to_owned(),
                (String::new(), 0o644),
            );
        });
        let owed = plan(&fleet, &inventory, &upgrade).await;
        assert_eq!(waits(&owed), ["w1 after "]);
        let holds = |step: &Step| matches!(step, Step::UpgradeEngine { hold: true, .. });
        assert!(owed.changes[0].steps.iter().any(holds));
        assert!(apply(&fleet, &owed).await.is_done());
        fleet.with(|world| assert!(world.hosts["w1"].packages["docker.io"].1));
        let last = plan(&fleet, &inventory, &upgrade).await;
        assert!(last.is_empty(), "{last:#?}");
    });
}

#[test]
fn what_an_upgrade_must_not_do_is_refused() {
    let one = inventory(3, 1, "");
    let pool = inventory(
        3,
        1,
        "[docker]\nversion = \"20.10\"\n[storage.direct-lvm]\ndevice = \"/dev/vdb\"",
    );
    paused(async move {
        let fleet = swarm(&one).await;
        let why = async |inventory: &Inventory, to: &str| {
            let plan = plan(&fleet, inventory, &upgrade(Some(to), "1")).await;
            let refusals = plan.refusals.iter().map(|refusal| refusal.why.clone());
            refusals.collect::<Vec<_>>().join("\n")
        };
        let offers = why(&one, "30").await;
        assert!(offers.contains(
            "no package source of the host offers `docker.io` 30; there is 26.1.5, 20.10.24"
        ));
        assert!(why(&pool, "26").await.contains("`devicemapper`"));
        fleet.with(|world| {
            let host = world.hosts.get_mut("w1").unwrap();
            let newer = ("28.0.0".to_owned(), false);
            host.packages.insert("docker.io".to_owned(), newer);
        });
        assert!(why(&one, "26").await.contains("26.1.5 is older"));
        fleet.with(|world| {
            let host = world.hosts.get_mut("w1").unwrap();
            let other = ("26.1.5".to_owned(), false);
            host.packages.insert("docker-ce".to_owned(), other);
        });
        assert!(why(&one, "26").await.contains("both `docker.io` and"));
        fleet.with(|world| world.hosts.get_mut("m3").unwrap().up = false);
        let quorum = why(&one, "26").await;
        assert!(
            quorum.contains("managers 3, reachable 2, majority 2"),
            "{quorum}"
        );
    });
}

#[test]
fn a_reboot_boots_every_host_once_and_is_then_done() {
    let inventory = inventory(3, 2, "");
    paused(async move {
        let fleet = swarm(&inventory).await;
        let procedure = reboot(&fleet);
        let first = plan(&fleet, &inventory, &procedure).await;
        let order: Vec<&str> = first.changes.iter().map(|it| it.host.as_str()).collect();
        assert_eq!(order, ["w1", "w2", "m2", "m3", "m1"]);
        // An answer that is lost does not boot a host twice.
        fleet.set_faults(Faults {
            lost_after: 100,
            ..Faults::default()
        });
        assert!(apply(&fleet, &first).await.is_done());
        no_harm(&fleet);
        fleet.with(|world| assert!(world.hosts.values().all(|host| host.boots == 1)));
        let second = plan(&fleet, &inventory, &procedure).await;
        assert!(second.is_empty(), "{second:#?}");
    });
}

#[test]
fn a_container_of_the_lab_is_not_rebooted() {
    let mut inventory = inventory(1, 1, "");
    paused(async move {
        let fleet = swarm(&inventory).await;
        for host in &mut inventory.hosts {
            host.provider = skep::inventory::Provider::Lab;
        }
        let plan = plan(&fleet, &inventory, &reboot(&fleet)).await;
        assert_eq!(plan.refusals.len(), 2);
        assert!(plan.refusals[0].why.contains("container of the lab"));
    });
}

#[test]
fn a_node_that_was_drained_by_hand_stays_drained() {
    let inventory = inventory(1, 2, "");
    paused(async move {
        let fleet = swarm(&inventory).await;
        let plan = plan(&fleet, &inventory, &upgrade(None, "1")).await;
        let steps = |plan: &Plan| {
            let changes = plan.changes.iter().find(|change| change.host == "w1");
            let is = |step: &&Step| matches!(step, Step::WriteFile { .. });
            changes.unwrap().steps.iter().filter(is).count()
        };
        assert_eq!(steps(&plan), 1, "the marker of a drain");
        fleet.with(|world| {
            let nodes = world.clusters.values_mut().next().unwrap();
            let node = nodes.nodes.values_mut().find(|node| node.host == "w1");
            node.unwrap().availability = skep::inventory::Availability::Drain;
        });
        let plan = self::plan(&fleet, &inventory, &upgrade(None, "1")).await;
        assert_eq!(steps(&plan), 0);
    });
}

/// A run that is killed between "out of raft" and the certificate of a worker leaves a node that may come
/// back into raft: the next run is not done before it has that certificate.
#[test]
fn a_demotion_that_was_cut_off_is_waited_for_to_its_end() {
    let inventory = inventory(3, 2, "");
    paused(async move {
        let demote = Procedure::Node(NodeProcedure {
            act: NodeAct::Demote,
            nodes: vec!["m2".to_owned(), "m3".to_owned()],
        });
        for again in [demote.clone(), Procedure::UP] {
            let fleet = swarm(&inventory).await;
            let mut first = plan(&fleet, &inventory, &demote).await;
            for change in &mut first.changes {
                let last = change.steps.pop().unwrap();
                assert!(last.to_string().contains("worker"), "{last}");
            }
            assert!(apply(&fleet, &first).await.is_done());
            fleet.with(|world| {
                for node in world
                    .clusters
                    .values_mut()
                    .flat_map(|it| it.nodes.values_mut())
                {
                    node.certified = node.certified.map(|_| u8::MAX);
                }
            });
            let mut wanted = inventory.clone();
            for host in wanted.hosts.iter_mut().filter(|host| host.name != "m1") {
                host.role = Role::Worker;
            }
            let second = plan(&fleet, &wanted, &again).await;
            let waits: Vec<&str> = second.changes.iter().map(|it| it.host.as_str()).collect();
            assert_eq!(waits, ["m2", "m3"], "{second:#?}");
            assert!(apply(&fleet, &second).await.is_done());
            let third = plan(&fleet, &wanted, &again).await;
            assert!(third.is_empty(), "{third:#?}");
            no_harm(&fleet);
        }
    });
}
