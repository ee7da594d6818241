//! Whole-cluster stories on the simulated fleet: the real planner, guards and executor, accidents
//! from a seed. A failing case prints its seed and replays from it.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use skep::execute::{self, Outcome, Stop};
use skep::fleet::sim::{Faults, SimFleet, World};
use skep::inventory::{
    Advertise, Availability, Docker, Host, Inventory, Lab, LabDriver, Provider, Role, Ssh, Swarm,
};
use skep::plan::{DockerCall, Outlook, Plan, Step};
use skep::procedure::Procedure;

fn host(name: String, role: Role) -> Host {
    Host {
        name,
        address: None,
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
        server: None,
        power: None,
    }
}

fn inventory(managers: usize, workers: usize) -> Inventory {
    let managers = (1..=managers).map(|number| host(format!("m{number}"), Role::Manager));
    let workers = (1..=workers).map(|number| host(format!("w{number}"), Role::Worker));
    Inventory {
        cluster: "sim".to_owned(),
        path: "skep.toml".into(),
        swarm: Swarm {
            default_addr_pool: vec!["10.200.0.0/16".parse().unwrap()],
            ..Swarm::default()
        },
        lab: Lab {
            release: "bookworm".to_owned(),
            mirror: None,
            driver: LabDriver::Container,
            subnet: None,
            memory_mib: None,
            cpu_percent: None,
        },
        openstack: None,
        start_first: Vec::new(),
        backup: None,
        hosts: managers.chain(workers).collect(),
    }
}

async fn plan(fleet: &SimFleet, inventory: &Inventory) -> Plan {
    let gathered = skep::gather::gather(fleet, &inventory.hosts, &[], &|_| {}).await;
    let all = inventory
        .hosts
        .iter()
        .map(|host| host.name.clone())
        .collect();
    skep::plan::build(inventory, &gathered, &all)
}

async fn apply(fleet: &SimFleet, plan: &Plan) -> execute::Report {
    assert_eq!(plan.refusals, [], "a refused plan is never run");
    execute::run(fleet, &plan.changes, &Stop::default(), &|_| {})
        .await
        .unwrap()
}

/// Plans and applies until nothing is left to do.
async fn converge(fleet: &SimFleet, inventory: &Inventory) {
    for _ in 0..4 {
        let plan = plan(fleet, inventory).await;
        if plan.is_empty() {
            return;
        }
        apply(fleet, &plan).await;
    }
    panic!(
        "four runs without accidents did not bring the swarm up: {:#?}",
        plan(fleet, inventory).await
    );
}

fn assert_healthy(fleet: &SimFleet, inventory: &Inventory) {
    fleet.with(|world| {
        assert_eq!(world.clusters.len(), 1, "there was never a second swarm");
        let (id, cluster) = world.clusters.first_key_value().unwrap();
        assert_eq!(world.raft(id).0, inventory.managers().count());
        assert!(world.has_quorum(id));
        assert_eq!(
            cluster.nodes.len(),
            inventory.members().count(),
            "no host joined twice"
        );
        for node in cluster.nodes.values() {
            assert_eq!(
                node.availability,
                Availability::Active,
                "no node stays drained"
            );
            assert_eq!(node.labels.get("place").map(String::as_str), Some("here"));
        }
        for host in world.hosts.values() {
            let (text, _) = host.files.get("/etc/docker/daemon.json").cloned().unzip();
            assert_eq!(
                host.engine_config, text,
                "the engine runs with the file that is there"
            );
        }
    });
}

/// Runs a future on a paused clock: an hour of waiting passes at once.
fn paused<F: Future<Output = ()>>(future: F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.unwrap().block_on(future);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Runs that are cut at any moment and steps that fail or lose their connection: each next run
    /// goes on from where things are, and the swarm comes up whole, once.
    #[test]
    fn a_swarm_comes_up_through_accidents(
        managers in prop::sample::select(vec![1_usize, 3, 5]),
        workers in 0_usize..8,
        seed: u64,
        lost_before in 0_u32..150,
        lost_after in 0_u32..150,
        failed in 0_u32..100,
        cuts in prop::collection::vec(10_u64..60_000, 0..6),
    ) {
        let mut inventory = inventory(managers, workers);
        let faults = Faults { lost_before, lost_after, failed, ..Faults::default() };
        let fleet = SimFleet::new(World::fresh(&inventory), faults, seed);
        paused(async move {
            for cut in cuts {
                let plan = plan(&fleet, &inventory).await;
                let run = apply(&fleet, &plan);
                // Dropped in the middle, as by `kill -9`.
                let _ = tokio::time::timeout(Duration::from_millis(cut), run).await;
                fleet.with(|world| assert!(world.clusters.len() <= 1));
            }
            fleet.set_faults(Faults::default());
            converge(&fleet, &inventory).await;
            assert_healthy(&fleet, &inventory);

            // The same for a change of the engines' configuration, which drains and restarts.
            for host in &mut inventory.hosts {
                host.docker.daemon.insert("log-driver".to_owned(), "journald".into());
            }
            fleet.set_faults(faults);
            for cut in [5_000, 20_000] {
                let plan = plan(&fleet, &inventory).await;
                let _ = tokio::time::timeout(Duration::from_millis(cut), apply(&fleet, &plan)).await;
            }
            fleet.set_faults(Faults::default());
            converge(&fleet, &inventory).await;
            assert_healthy(&fleet, &inventory);
        });
    }
}

#[test]
fn a_host_that_is_down_holds_up_only_itself() {
    let inventory = inventory(3, 3);
    let fleet = SimFleet::new(World::fresh(&inventory), Faults::default(), 1);
    paused(async move {
        fleet.with(|world| world.hosts.get_mut("w2").unwrap().up = false);
        let first = plan(&fleet, &inventory).await;
        assert!(matches!(first.hosts["w2"], Outlook::Unknown(_)));
        assert!(apply(&fleet, &first).await.is_done());
        fleet.with(|world| world.hosts.get_mut("w2").unwrap().up = true);
        converge(&fleet, &inventory).await;
        assert_healthy(&fleet, &inventory);
    });
}

#[test]
fn no_swarm_is_made_while_a_manager_is_silent() {
    let inventory = inventory(3, 1);
    let fleet = SimFleet::new(World::fresh(&inventory), Faults::default(), 2);
    paused(async move {
        fleet.with(|world| world.hosts.get_mut("m3").unwrap().up = false);
        let plan = plan(&fleet, &inventory).await;
        assert!(
            apply(&fleet, &plan).await.is_done(),
            "the engines are put in place all the same"
        );
        fleet.with(|world| assert!(world.clusters.is_empty()));
        assert!(!plan.is_empty());
    });
}

/// The first manager of the file is installed anew: it is never taken for the start of a swarm.
#[test]
fn a_first_manager_installed_anew_makes_no_second_swarm() {
    let inventory = inventory(3, 2);
    let fleet = SimFleet::new(World::fresh(&inventory), Faults::default(), 3);
    paused(async move {
        converge(&fleet, &inventory).await;
        fleet.with(|world| world.add("m1", &World::address(0)));
        let anew = plan(&fleet, &inventory).await;
        assert!(!inits(&anew));
        assert!(
            anew.refusals
                .iter()
                .any(|refusal| refusal.why.contains("installed anew")),
            "{anew:#?}"
        );

        // The others down as well: what is left says that there is a swarm.
        for name in ["m2", "m3"] {
            fleet.with(|world| world.hosts.get_mut(name).unwrap().up = false);
        }
        let alone = plan(&fleet, &inventory).await;
        assert!(!inits(&alone));
        assert!(
            !alone.refusals.is_empty(),
            "the workers know of a swarm: {alone:#?}"
        );
    });
}

#[test]
fn a_manager_without_quorum_is_no_sign_that_there_is_no_swarm() {
    let inventory = inventory(3, 0);
    let fleet = SimFleet::new(World::fresh(&inventory), Faults::default(), 4);
    paused(async move {
        converge(&fleet, &inventory).await;
        for name in ["m1", "m2"] {
            fleet.with(|world| world.add(name, &World::address(98)));
        }
        let plan = plan(&fleet, &inventory).await;
        assert!(!inits(&plan));
        assert!(
            plan.refusals
                .iter()
                .any(|refusal| refusal.why.contains("no manager with quorum")),
            "{plan:#?}"
        );
    });
}

/// With one of three managers lost, a fourth would raise the majority to three of which two are
/// there.
#[test]
fn a_manager_is_not_added_beside_a_lost_one() {
    let three = inventory(3, 0);
    let fleet = SimFleet::new(World::fresh(&three), Faults::default(), 5);
    paused(async move {
        converge(&fleet, &three).await;
        let five = inventory(5, 0);
        fleet.with(|world| {
            world.hosts.get_mut("m2").unwrap().up = false;
            world.add("m4", &World::address(3));
            world.add("m5", &World::address(4));
        });
        let plan = plan(&fleet, &five).await;
        let refusal = plan
            .refusals
            .iter()
            .find(|refusal| refusal.why.contains("majority 2"));
        assert!(
            refusal.is_some_and(|refusal| refusal.why.contains("makes the majority 3")),
            "{plan:#?}"
        );
    });
}

/// A worker that already can join does so while another still installs: no barrier.
#[test]
fn a_slow_host_holds_nobody_up() {
    let inventory = inventory(1, 2);
    let fleet = SimFleet::new(World::fresh(&inventory), Faults::default(), 6);
    paused(async move {
        let plan = plan(&fleet, &inventory).await;
        let join = |host: &str| {
            plan.changes
                .iter()
                .find(|change| change.host == host && change.resource == "swarm.join")
        };
        let needs = &join("w1").unwrap().needs;
        assert!(needs.iter().all(|id| !id.0.starts_with("w2/")), "{needs:?}");
    });
}

/// One failed change takes with it what needs it, and says so.
#[test]
fn a_failure_is_named_by_whoever_was_skipped_for_it() {
    let inventory = inventory(1, 1);
    let fleet = SimFleet::new(
        World::fresh(&inventory),
        Faults {
            failed: 1000,
            ..Faults::default()
        },
        7,
    );
    paused(async move {
        let plan = plan(&fleet, &inventory).await;
        let report = apply(&fleet, &plan).await;
        let skipped = report
            .outcomes
            .values()
            .filter(|outcome| matches!(outcome, Outcome::Skipped { .. }));
        assert!(skipped.count() > 0);
        assert!(!report.is_done());
    });
}

/// Managers without a leader, as in an election, cost time and nothing else.
#[test]
fn an_election_is_waited_for() {
    let inventory = inventory(3, 5);
    let elections = Faults {
        election: 200,
        ..Faults::default()
    };
    let fleet = SimFleet::new(World::fresh(&inventory), elections, 14);
    paused(async move {
        let plan = plan(&fleet, &inventory).await;
        let report = apply(&fleet, &plan).await;
        assert!(report.is_done(), "{report:#?}");
        assert_healthy(&fleet, &inventory);
    });
}

/// A promoted node asks for its place where it once joined; where that is no manager any more, its
/// engine is restarted before, with its tasks elsewhere.
#[test]
fn a_promoted_node_asks_a_manager_of_today() {
    let mut inventory = inventory(1, 3);
    let fleet = SimFleet::new(World::fresh(&inventory), Faults::default(), 16);
    let managers = |inventory: &mut Inventory, names: &[&str]| {
        for host in &mut inventory.hosts {
            host.role = if names.contains(&host.name.as_str()) {
                Role::Manager
            } else {
                Role::Worker
            };
        }
    };
    paused(async move {
        let steps = |plan: &Plan, host: &str| -> Vec<String> {
            let changes = plan.changes.iter().filter(|change| change.host == host);
            changes
                .flat_map(|change| change.steps.iter().map(Step::to_string))
                .collect()
        };
        converge(&fleet, &inventory).await;
        managers(&mut inventory, &["m1", "w1", "w2"]);
        let first = plan(&fleet, &inventory).await;
        assert_eq!(steps(&first, "w1").len(), 2, "{:?}", steps(&first, "w1"));
        converge(&fleet, &inventory).await;
        managers(&mut inventory, &["w1"]);
        converge(&fleet, &inventory).await;

        // All of them joined at m1.
        managers(&mut inventory, &["w1", "w2", "w3"]);
        let plan = plan(&fleet, &inventory).await;
        let expected = [
            "write /var/lib/skep/drained-for-restart (mode 0644)",
            "drain the node and wait up to 600 s until its tasks run elsewhere",
            "restart docker.service",
            "wait up to 180 s until the node is a ready worker",
            "update the node: availability active",
            "remove /var/lib/skep/drained-for-restart",
            "update the node: role manager",
            "wait up to 180 s until the node is a ready manager",
        ];
        assert_eq!(steps(&plan, "w2"), expected);
        assert_eq!(steps(&plan, "w3"), expected);
        assert!(apply(&fleet, &plan).await.is_done());
        assert_healthy(&fleet, &inventory);
        fleet.with(|world| assert_eq!(world.tasks_lost_by, [""; 0]));
    });
}

/// A swarm is taken apart as a whole or not at all, also one that has lost its quorum; and `up` makes a
/// new one afterwards.
#[test]
fn a_swarm_is_taken_apart_as_a_whole() {
    let mut inventory = inventory(3, 2);
    let fleet = SimFleet::new(World::fresh(&inventory), Faults::default(), 15);
    paused(async move {
        converge(&fleet, &inventory).await;
        fleet.with(|world| world.hosts.get_mut("m2").unwrap().up = false);
        let why = |plan: &Plan| plan.refusals[0].why.clone();
        let refused = reset(&fleet, &inventory).await;
        assert!(why(&refused).contains("would stay a node of a swarm that is no more"));
        fleet.with(|world| world.hosts.get_mut("m3").unwrap().up = false);
        inventory.all_optional();
        let plan = reset(&fleet, &inventory).await;
        let order: Vec<&str> = plan.changes.iter().map(|it| it.host.as_str()).collect();
        assert_eq!(order, ["w1", "w2", "m1"]);
        assert!(apply(&fleet, &plan).await.is_done());
        assert!(reset(&fleet, &inventory).await.is_empty());

        // The others still believe in it; when all are back and have left, there is room for a new one.
        fleet.with(|world| {
            for host in world.hosts.values_mut() {
                host.up = true;
            }
        });
        let plan = reset(&fleet, &inventory).await;
        assert!(apply(&fleet, &plan).await.is_done());
        fleet.with(|world| {
            assert!(world.hosts.values().all(|host| host.member.is_none()));
            world.clusters.clear();
        });
        converge(&fleet, &inventory).await;
        assert_healthy(&fleet, &inventory);
    });
}

async fn reset(fleet: &SimFleet, inventory: &Inventory) -> Plan {
    let gathered = skep::gather::gather(fleet, &inventory.hosts, &[], &|_| {}).await;
    Procedure::Reset.plan(inventory, &gathered, &BTreeSet::new())
}

fn inits(plan: &Plan) -> bool {
    let mut steps = plan.changes.iter().flat_map(|change| &change.steps);
    steps.any(|step| matches!(step, Step::Docker(DockerCall::SwarmInit { .. })))
}

/// A setting that the engine does not bear ends at the first node, not at the quorum.
#[test]
fn restarts_are_one_chain_with_the_leader_last() {
    let mut inventory = inventory(3, 2);
    let fleet = SimFleet::new(World::fresh(&inventory), Faults::default(), 8);
    paused(async move {
        converge(&fleet, &inventory).await;
        for host in &mut inventory.hosts {
            let daemon = &mut host.docker.daemon;
            daemon.insert("log-driver".to_owned(), "journald".into());
        }
        let mut plan = plan(&fleet, &inventory).await;
        plan.changes
            .retain(|change| change.resource == "docker.restart");
        for change in &mut plan.changes {
            change.needs.retain(|id| id.0.ends_with("/docker.restart"));
            change.steps.truncate(1);
        }
        fleet.set_faults(Faults {
            failed: 1000,
            ..Faults::default()
        });
        let report = apply(&fleet, &plan).await;
        let failed = report
            .outcomes
            .iter()
            .filter(|(_, outcome)| matches!(outcome, Outcome::Failed { .. }));
        let failed: Vec<&str> = failed.map(|(id, _)| id.0.as_str()).collect();
        assert_eq!(failed, ["w1/docker.restart"], "only the first one is tried");
        let order: Vec<usize> = plan
            .changes
            .iter()
            .map(|change| change.follows.len())
            .collect();
        assert_eq!(
            order.iter().sum::<usize>(),
            4,
            "each follows the one before"
        );
    });
}

/// An engine that is stopped cannot tell whether its host is a node; it is started first, and what
/// else is needed comes after that.
#[test]
fn a_stopped_engine_is_started_and_asked_again() {
    let inventory = inventory(3, 1);
    let fleet = SimFleet::new(World::fresh(&inventory), Faults::default(), 9);
    paused(async move {
        converge(&fleet, &inventory).await;
        fleet.with(|world| world.hosts.get_mut("w1").unwrap().engine_runs = false);
        let first = plan(&fleet, &inventory).await;
        assert_eq!(first.hosts["w1"], Outlook::Later);
        assert!(first.goes_on() && !first.is_empty());
        assert!(apply(&fleet, &first).await.is_done());
        converge(&fleet, &inventory).await;
        assert_healthy(&fleet, &inventory);
    });
}

/// An optional host that is away leaves nothing to do, and a manager that is away is still one that
/// may hold a swarm.
#[test]
fn an_optional_host_that_is_away_is_left_out() {
    let mut inventory = inventory(1, 2);
    inventory.hosts[2].optional = true;
    let fleet = SimFleet::new(World::fresh(&inventory), Faults::default(), 13);
    paused(async move {
        fleet.with(|world| world.hosts.get_mut("w2").unwrap().up = false);
        converge(&fleet, &inventory).await;
        let left = plan(&fleet, &inventory).await;
        assert_eq!(
            left.away().map(|(host, _)| host).collect::<Vec<_>>(),
            ["w2"]
        );

        let fleet = SimFleet::new(World::fresh(&inventory), Faults::default(), 13);
        inventory.hosts[0].optional = true;
        fleet.with(|world| world.hosts.get_mut("m1").unwrap().up = false);
        let alone = plan(&fleet, &inventory).await;
        apply(&fleet, &alone).await;
        assert!(!plan(&fleet, &inventory).await.is_empty());
        fleet.with(|world| assert!(world.clusters.is_empty()));
    });
}

/// A host without a role in the swarm is not asked about it, and is no sign of one.
#[test]
fn a_host_outside_the_swarm_does_not_keep_it_from_being_made() {
    let mut inventory = inventory(1, 1);
    inventory.hosts.push(host("nas".to_owned(), Role::None));
    let fleet = SimFleet::new(World::fresh(&inventory), Faults::default(), 8);
    paused(async move {
        converge(&fleet, &inventory).await;
        assert_healthy(&fleet, &inventory);
    });
}

/// A join goes on in the engine after its own 20 s are over: the next run waits for it.
#[test]
fn a_join_that_goes_on_is_waited_for_and_not_begun_again() {
    let inventory = inventory(3, 1);
    let faults = Faults {
        join_pending: 1000,
        ..Faults::default()
    };
    let fleet = SimFleet::new(World::fresh(&inventory), faults, 9);
    paused(async move {
        let first = plan(&fleet, &inventory).await;
        let run = apply(&fleet, &first);
        let joining = async {
            while !fleet.with(|world| world.hosts.values().any(|host| host.joining.is_some())) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            _ = run => panic!("no join was pending"),
            () = joining => {}
        }
        let again = plan(&fleet, &inventory).await;
        assert_eq!(again.refusals, []);
        let waits = again.changes.iter().filter(|change| {
            let is_wait = |step: &Step| matches!(step, Step::Wait { .. });
            change.resource == "swarm.join" && change.steps.iter().all(is_wait)
        });
        assert!(waits.count() > 0, "{again:#?}");
        fleet.set_faults(Faults::default());
        converge(&fleet, &inventory).await;
        assert_healthy(&fleet, &inventory);
    });
}

/// A configuration with which no engine comes up costs one worker, and no manager.
#[test]
fn restarts_stop_where_one_fails() {
    let mut inventory = inventory(5, 3);
    let fleet = SimFleet::new(World::fresh(&inventory), Faults::default(), 10);
    paused(async move {
        converge(&fleet, &inventory).await;
        for host in &mut inventory.hosts {
            host.docker
                .daemon
                .insert("log-driver".to_owned(), "journald".into());
        }
        fleet.set_faults(Faults {
            engine_dies: 1000,
            ..Faults::default()
        });
        let plan = plan(&fleet, &inventory).await;
        apply(&fleet, &plan).await;
        fleet.with(|world| {
            let dead = world.hosts.values().filter(|host| !host.engine_runs);
            assert_eq!(dead.count(), 1);
            assert_eq!(world.quorum_lost_by, [""; 0]);
            assert_eq!(world.raft(world.clusters.keys().next().unwrap()), (5, 5));
        });
        fleet.set_faults(Faults::default());
        converge(&fleet, &inventory).await;
        assert_healthy(&fleet, &inventory);
    });
}

/// The plan is made when all managers are there, and one is lost before the first restart.
#[test]
fn a_manager_lost_after_the_plan_was_made_stops_the_restarts() {
    let mut inventory = inventory(3, 0);
    let fleet = SimFleet::new(World::fresh(&inventory), Faults::default(), 11);
    paused(async move {
        converge(&fleet, &inventory).await;
        for host in &mut inventory.hosts {
            host.docker
                .daemon
                .insert("log-driver".to_owned(), "journald".into());
        }
        let plan = plan(&fleet, &inventory).await;
        fleet.with(|world| world.hosts.get_mut("m2").unwrap().up = false);
        assert!(!apply(&fleet, &plan).await.is_done());
        fleet.with(|world| {
            assert_eq!(world.quorum_lost_by, [""; 0]);
            assert!(world.hosts.values().all(|host| host.restarts == 0));
        });
    });
}

/// A new worker that happens to have a swarm of its own does not draw the cluster into it.
#[test]
fn a_worker_with_a_swarm_of_its_own_is_refused() {
    let inventory = inventory(3, 2);
    let fleet = SimFleet::new(World::fresh(&inventory), Faults::default(), 12);
    paused(async move {
        fleet.with(|world| world.make_swarm("w2"));
        let first = plan(&fleet, &inventory).await;
        let says = |plan: &Plan, text: &str| {
            let mut refusals = plan.refusals.iter();
            assert!(refusals.any(|it| it.why.contains(text)), "{plan:#?}");
        };
        says(&first, "the inventory wants no manager there");

        fleet.with(|world| world.add("w2", &World::address(4)));
        converge(&fleet, &inventory).await;
        fleet.with(|world| {
            world.add("w2", &World::address(4));
            world.make_swarm("w2");
        });
        says(&plan(&fleet, &inventory).await, "different swarms");
    });
}

/// What has befallen a host between two runs.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Well,
    Down,
    Anew,
    Stopped,
    Elsewhere,
}

impl Fate {
    fn befall(self, world: &mut World, name: &str) {
        let address = world.hosts[name].address.clone();
        match self {
            Self::Well => {}
            Self::Down => world.hosts.get_mut(name).unwrap().up = false,
            Self::Anew => world.add(name, &address),
            Self::Stopped => world.hosts.get_mut(name).unwrap().engine_runs = false,
            Self::Elsewhere => {
                world.add(name, &address);
                world.make_swarm(name);
            }
        }
    }
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => Just(Fate::Well),
        2 => Just(Fate::Down),
        2 => Just(Fate::Anew),
        2 => Just(Fate::Stopped),
        1 => Just(Fate::Elsewhere),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    /// Whatever has befallen the hosts of a swarm, and however many of them are in the inventory
    /// that it was made from: there is never a second swarm beside one that may return, no step of
    /// ours takes a quorum, and what is not refused comes up.
    #[test]
    fn no_fate_of_the_hosts_leads_to_harm(
        was in prop::sample::select(vec![(1_usize, 2_usize), (3, 0), (3, 3)]),
        now in prop::sample::select(vec![(1_usize, 2_usize), (3, 2), (5, 3)]),
        fates in prop::collection::vec(fate(), 8),
        configured: bool,
        seed: u64,
        lost in 0_u32..100,
        engine_dies in prop::sample::select(vec![0_u32, 300]),
        join_pending in prop::sample::select(vec![0_u32, 500]),
    ) {
        let before = inventory(was.0, was.1);
        let mut after = inventory(now.0, now.1);
        let fleet = SimFleet::new(World::fresh(&before), Faults::default(), seed);
        paused(async move {
            converge(&fleet, &before).await;
            for host in &mut after.hosts {
                if configured {
                    host.docker.daemon.insert("log-driver".to_owned(), "journald".into());
                }
            }
            let made = fleet.with(|world| {
                for (place, host) in after.hosts.iter().enumerate() {
                    if !world.hosts.contains_key(&host.name) {
                        world.add(&host.name, &World::address(100 + place));
                    }
                }
                let names: Vec<String> = world.hosts.keys().cloned().collect();
                for (name, fate) in names.iter().zip(fates) {
                    fate.befall(world, name);
                }
                world.clusters.len()
            });
            let faults = Faults { lost_before: lost, lost_after: lost, engine_dies, join_pending, ..Faults::default() };
            let mut founded = 0;
            for round in 0..8 {
                // Accidents first, then none, with all hosts back.
                fleet.set_faults(if round < 3 { faults } else { Faults::default() });
                if round == 3 {
                    fleet.with(|world| world.hosts.values_mut().for_each(|host| host.up = true));
                }
                let plan = plan(&fleet, &after).await;
                if inits(&plan) && plan.refusals.is_empty() {
                    founded = 1;
                    fleet.with(|world| {
                        let wanted = |name: &String| after.host(name).map(|host| host.role);
                        for (name, host) in &world.hosts {
                            let asked = wanted(name).is_some();
                            assert!(!(asked && host.up && host.member.is_some()), "{name} is in a swarm");
                            assert!(host.up || wanted(name) != Some(Role::Manager), "{name} is silent");
                        }
                    });
                }
                if !plan.refusals.is_empty() || plan.is_empty() {
                    if round < 3 { continue; }
                    break;
                }
                assert!(round < 7, "does not converge: {plan:#?}");
                apply(&fleet, &plan).await;
                fleet.with(|world| {
                    assert!(world.clusters.len() <= made + founded, "a second swarm was made");
                    assert_eq!(world.quorum_lost_by, [""; 0]);
                });
            }
        });
    }
}

fn configure(inventory: &mut Inventory, key: &str, value: &str) {
    for host in &mut inventory.hosts {
        let daemon = &mut host.docker.daemon;
        daemon.insert(key.to_owned(), serde_json::from_str(value).unwrap());
    }
}

/// The engine does not come up with a key: the first worker has its old file back and is active
/// again, nobody else is touched, and the next plan shows the change again.
#[test]
fn what_an_engine_does_not_bear_is_taken_back() {
    let mut inventory = inventory(3, 3);
    let fleet = SimFleet::new(World::fresh(&inventory), Faults::default(), 14);
    paused(async move {
        configure(&mut inventory, "log-driver", "\"journald\"");
        converge(&fleet, &inventory).await;
        let good = inventory.clone();
        configure(&mut inventory, "bip", "\"10.9.9.999/24\"");
        fleet.with(|world| world.unbearable = Some("10.9.9.999".to_owned()));
        for round in 1..=2 {
            let plan = plan(&fleet, &inventory).await;
            assert!(!plan.is_empty());
            let report = apply(&fleet, &plan).await;
            let failed = report
                .outcomes
                .iter()
                .filter(|(_, outcome)| matches!(outcome, Outcome::Failed { .. }));
            let failed: Vec<&str> = failed.map(|(id, _)| id.0.as_str()).collect();
            assert_eq!(failed, ["w1/docker.restart"]);
            fleet.with(|world| {
                for (name, host) in &world.hosts {
                    assert!(host.engine_runs, "{name}");
                    assert_eq!(host.restarts, u32::from(name == "w1") * round, "{name}");
                    let (text, _) = &host.files["/etc/docker/daemon.json"];
                    assert!(!text.contains("bip"), "{name}: {text}");
                    assert_eq!(Some(text), host.engine_config.as_ref());
                }
                let w1 = &world.hosts["w1"];
                assert!(!w1.files.contains_key(skep::resource::RESTART_MARKER));
                assert!(!w1.files.contains_key(skep::resource::DRAINED_MARKER));
                let (_, cluster) = world.clusters.first_key_value().unwrap();
                let active =
                    |node: &skep::fleet::sim::SimNode| node.availability == Availability::Active;
                assert!(cluster.nodes.values().all(active));
                assert_eq!(world.quorum_lost_by, [""; 0]);
            });
        }
        // The way back: the former inventory, and then one that the engines bear.
        converge(&fleet, &good).await;
        assert_healthy(&fleet, &good);
        fleet.with(|world| world.unbearable = None);
        converge(&fleet, &inventory).await;
        assert_healthy(&fleet, &inventory);
    });
}

/// What the engine takes while it runs costs no node its tasks.
#[test]
fn what_an_engine_takes_by_reload_is_reloaded() {
    let mut inventory = inventory(3, 2);
    let fleet = SimFleet::new(World::fresh(&inventory), Faults::default(), 15);
    paused(async move {
        converge(&fleet, &inventory).await;
        configure(&mut inventory, "labels", "[\"rack=1\"]");
        let first = plan(&fleet, &inventory).await;
        assert!(
            first
                .changes
                .iter()
                .all(|change| change.resource == "docker.config"),
            "{first:#?}"
        );
        assert!(apply(&fleet, &first).await.is_done());
        converge(&fleet, &inventory).await;
        assert_healthy(&fleet, &inventory);
        let counts = |world: &mut World| {
            let hosts = world.hosts.values();
            hosts
                .map(|host| (host.reloads, host.restarts))
                .collect::<Vec<_>>()
        };
        assert_eq!(fleet.with(counts), [(1, 0); 5]);

        // With one that needs a restart, there is a restart and no reload.
        configure(&mut inventory, "labels", "[\"rack=2\"]");
        configure(&mut inventory, "log-driver", "\"journald\"");
        converge(&fleet, &inventory).await;
        assert_healthy(&fleet, &inventory);
        assert_eq!(fleet.with(counts), [(1, 1); 5]);

        // One that it does not take is taken back, and the rest of the world goes on.
        fleet.with(|world| world.unbearable = Some("rack=3".to_owned()));
        configure(&mut inventory, "labels", "[\"rack=3\"]");
        let refused = plan(&fleet, &inventory).await;
        assert!(!apply(&fleet, &refused).await.is_done());
        fleet.with(|world| {
            for host in world.hosts.values() {
                let (text, _) = &host.files["/etc/docker/daemon.json"];
                assert_eq!(Some(text), host.engine_config.as_ref());
            }
        });
    });
}

/// A key that is taken out of the inventory is taken off the hosts; one of the host's own stays.
#[test]
fn keys_that_are_no_longer_wanted_are_taken_out() {
    let before = inventory(1, 1);
    let mut with = before.clone();
    let fleet = SimFleet::new(World::fresh(&before), Faults::default(), 16);
    paused(async move {
        converge(&fleet, &before).await;
        fleet.with(|world| {
            let text = "{\"bip\": \"10.1.1.1/24\"}".to_owned();
            let w1 = world.hosts.get_mut("w1").unwrap();
            w1.engine_config = Some(text.clone());
            w1.files
                .insert("/etc/docker/daemon.json".to_owned(), (text, 0o644));
        });
        configure(&mut with, "log-driver", "\"journald\"");
        converge(&fleet, &with).await;
        converge(&fleet, &before).await;
        assert_healthy(&fleet, &before);
        fleet.with(|world| {
            let text = world.hosts["w1"].engine_config.clone().unwrap();
            let text: String = text.split_whitespace().collect();
            assert_eq!(text, "{\"bip\":\"10.1.1.1/24\"}");
        });
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    /// Changes of all kinds, runs that are cut, connections that are lost, engines that do not bear
    /// some of it: nothing stays drained, every engine runs, and in the end with the file.
    #[test]
    fn a_configuration_is_changed_through_accidents(
        seed: u64,
        lost in 0_u32..200,
        engine_dies in prop::sample::select(vec![0_u32, 200]),
        rounds in prop::collection::vec((0_usize..5, 100_u64..90_000), 1..6),
    ) {
        let plain = inventory(3, 2);
        let fleet = SimFleet::new(World::fresh(&plain), Faults::default(), seed);
        paused(async move {
            converge(&fleet, &plain).await;
            fleet.with(|world| world.unbearable = Some("bad".to_owned()));
            fleet.set_faults(Faults { lost_before: lost, lost_after: lost, engine_dies, ..Faults::default() });
            let mut inventory = plain.clone();
            for (kind, cut) in rounds {
                inventory = plain.clone();
                match kind {
                    0 => {}
                    1 => configure(&mut inventory, "labels", "[\"rack=1\"]"),
                    2 => configure(&mut inventory, "log-driver", "\"journald\""),
                    3 => configure(&mut inventory, "bip", "\"bad\""),
                    _ => configure(&mut inventory, "labels", "[\"rack=bad\"]"),
                }
                let plan = plan(&fleet, &inventory).await;
                let refused = !plan.refusals.is_empty();
                if !refused {
                    let _ = tokio::time::timeout(Duration::from_millis(cut), apply(&fleet, &plan)).await;
                }
            }
            drop(inventory);
            fleet.set_faults(Faults::default());
            for _ in 0..3 {
                let plan = plan(&fleet, &plain).await;
                if plan.is_empty() { break; }
                apply(&fleet, &plan).await;
            }
            converge(&fleet, &plain).await;
            assert_healthy(&fleet, &plain);
        });
    }
}

const NFS: &str = r#"
    cluster.name = "sim"
    nfs.domain = "example.org"
    [[nfs.export]]
    host = "nas"
    path = "/srv/docker"
    clients = ["*"]
    [[nfs.mount]]
    source = "nas:/srv/docker"
    target = "/mnt/docker"
    on = "members"
    before-docker = true
"#;

/// A manager, a worker and a server, with `nfs` or without.
fn with_server(nfs: &str) -> Inventory {
    let hosts = [("m1", "manager"), ("w1", "worker"), ("nas", "none")];
    let hosts = hosts.iter().enumerate().map(|(index, (name, role))| {
        format!("[[host]]\nname = \"{name}\"\nrole = \"{role}\"\naddress = \"192.0.2.{index}\"\n")
    });
    let text = [nfs.to_owned()]
        .into_iter()
        .chain(hosts)
        .collect::<String>();
    let (inventory, found) = skep::inventory::parse(&text, std::path::Path::new("x"));
    inventory.unwrap_or_else(|| panic!("{found:?}"))
}

#[test]
fn clients_wait_for_their_server() {
    let inventory = with_server(NFS);
    let fleet = SimFleet::new(World::fresh(&inventory), Faults::default(), 1);
    paused(async move {
        let plan = plan(&fleet, &inventory).await;
        let place = |id: &str| {
            let mut changes = plan.changes.iter();
            changes.position(|it| it.id.0 == id).unwrap()
        };
        for client in ["m1", "w1"] {
            let mounts = place(&format!("{client}/nfs.mounts"));
            let needs: Vec<&str> = plan.changes[mounts]
                .needs
                .iter()
                .map(|it| it.0.as_str())
                .collect();
            assert!(needs.contains(&"nas/nfs.exports"), "{needs:?}");
            assert!(place("nas/nfs.exports") < mounts);
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 50, ..ProptestConfig::default() })]

    /// Mounts come through accidents, and go again with everything that was made for them.
    #[test]
    fn mounts_come_and_go_through_accidents(
        seed: u64,
        lost_before in 0_u32..150,
        lost_after in 0_u32..150,
        failed in 0_u32..100,
        cuts in prop::collection::vec(10_u64..60_000, 0..4),
    ) {
        let with = with_server(NFS);
        let without = with_server("cluster.name = \"sim\"\n");
        let faults = Faults { lost_before, lost_after, failed, ..Faults::default() };
        let fleet = SimFleet::new(World::fresh(&with), faults, seed);
        paused(async move {
            for (inventory, mounted) in [(&with, true), (&without, false)] {
                fleet.set_faults(faults);
                for cut in &cuts {
                    let plan = plan(&fleet, inventory).await;
                    let run = apply(&fleet, &plan);
                    let _cut = tokio::time::timeout(Duration::from_millis(*cut), run).await;
                }
                fleet.set_faults(Faults::default());
                converge(&fleet, inventory).await;
                fleet.with(|world| {
                    for name in ["m1", "w1"] {
                        let host = &world.hosts[name];
                        assert_eq!(host.mounts.contains_key("/mnt/docker"), mounted);
                        let ours = host.files.keys().filter(|it| it.starts_with("/etc/systemd/system/"));
                        assert_eq!(ours.count(), if mounted { 3 } else { 0 });
                    }
                    let files = &world.hosts["nas"].files;
                    assert_eq!(files.contains_key("/etc/exports.d/skep.exports"), mounted);
                    let (table, _) = &files["/var/lib/nfs/etab"];
                    assert_eq!(table.contains("/srv/docker"), mounted);
                });
            }
        });
    }
}
