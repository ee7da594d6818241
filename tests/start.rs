//! The way back after a shutdown or an outage, on the simulated fleet: in which order, what is done
//! only once, and that a run which is killed after any step is finished by the next.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::BoxFuture;
use serde_json::json;
use skep::execute::{self, Stop};
use skep::facts::{HostFacts, Probes};
use skep::fleet::sim::{Faults, SimFleet, SimService, World};
use skep::fleet::{Fault, FaultKind, Fleet};
use skep::inventory::{Availability, Inventory};
use skep::plan::{Plan, PowerCall, PowerWay, Step};
use skep::playbook::{self, Around, Verb};
use skep::procedure::{
    PlaybookRun, PowerAct, PowerProcedure, Procedure, ShutdownProcedure, StartProcedure, Wanted,
};
use skep::record::{self, MARK, PATH, Record, WAS_MANAGER};
use skep::swarm::Gathered;

fn inventory(managers: usize, workers: usize) -> Inventory {
    let last = managers + workers;
    let first = managers + 1;
    let text = format!(
        "[cluster]\nname = \"sim\"\n\
         [power.command]\non = [\"./power\"]\noff = [\"./power\"]\n\
         [[host]]\nname = \"m[1-{managers}]\"\naddress = \"198.18.0.[1-{managers}]\"\nrole = \"manager\"\nlabels = {{ place = \"here\" }}\n\
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
        let take = |left: usize| left.checked_sub(1);
        let (set, fetch) = (Ordering::SeqCst, Ordering::SeqCst);
        if self.left.fetch_update(set, fetch, take).is_err() {
            return Box::pin(async { Err(Fault::new(FaultKind::Failed, "killed")) });
        }
        self.fleet.run(host, step, output)
    }
}

async fn gathered(fleet: &dyn Fleet, inventory: &Inventory, procedure: &Procedure) -> Gathered {
    let probes = procedure.probes();
    let mut gathered = skep::gather::gather(fleet, &inventory.hosts, &probes, &|_| {}).await;
    let later = procedure.later_probes(inventory, &gathered, &all(inventory));
    skep::gather::gather_later(fleet, &mut gathered, later).await;
    gathered
}

async fn plan(fleet: &dyn Fleet, inventory: &Inventory, procedure: &Procedure) -> Plan {
    let gathered = gathered(fleet, inventory, procedure).await;
    procedure.plan(inventory, &gathered, &all(inventory))
}

fn all(inventory: &Inventory) -> BTreeSet<String> {
    inventory
        .hosts
        .iter()
        .map(|host| host.name.clone())
        .collect()
}

/// Carries `plan` out; whether all of it was done.
async fn apply(fleet: &dyn Fleet, plan: &Plan) -> bool {
    assert_eq!(plan.refusals, [], "a refused plan is never run");
    let report = execute::run(fleet, &plan.changes, &Stop::default(), &|_| {}).await;
    report.unwrap().is_done()
}

fn start(record: Option<&Record>) -> StartProcedure {
    StartProcedure {
        wanted: record.map(Wanted::of),
        file: "/nonexistent/shutdown.json".into(),
        wait: 1800,
        without: BTreeSet::new(),
        key: false,
        forget: false,
        begun: false,
        book: PlaybookRun::shipped(Verb::Start).unwrap(),
    }
}

fn procedure(start: &StartProcedure) -> Procedure {
    Procedure::Start(Box::new(start.clone()))
}

/// All rounds; whether it came to its end.
async fn rounds(fleet: &dyn Fleet, inventory: &Inventory, start: &StartProcedure) -> bool {
    let mut start = start.clone();
    for _ in 0..5 {
        let plan = plan(fleet, inventory, &procedure(&start)).await;
        if plan.changes.is_empty() && plan.refusals.is_empty() {
            return plan.is_empty();
        }
        if !apply(fleet, &plan).await {
            return false;
        }
        start.begun = true;
    }
    panic!("it goes on for ever");
}

/// A swarm that is up, with a registry and what comes from it.
async fn swarm(inventory: &Inventory) -> SimFleet {
    let fleet = SimFleet::new(World::fresh(inventory), Faults::default(), 1);
    for _ in 0..4 {
        let plan = plan(&fleet, inventory, &Procedure::UP).await;
        apply(&fleet, &plan).await;
    }
    let service = |stack: &str, image: &str, port: u16, replicas: usize| SimService {
        replicas,
        spec: json!({
            "Labels": { record::STACK: stack },
            "Mode": { "Replicated": { "Replicas": replicas } },
            "TaskTemplate": { "ContainerSpec": { "Image": image } },
            "EndpointSpec": { "Ports": [{ "Protocol": "tcp", "PublishedPort": port }] },
        }),
        ..SimService::default()
    };
    fleet.with(|world| {
        let all = [
            ("a_web", service("a", "hub:5000/web", 80, 3)),
            ("hub_registry", service("hub", "registry:2", 5000, 1)),
            ("z_db", service("z", "hub:5000/db", 5432, 2)),
        ];
        for (name, service) in all {
            world.services.insert(name.to_owned(), service);
        }
        world.let_time_pass();
    });
    fleet
}

/// Shuts the cluster down; gives the record.
async fn shut_down(fleet: &SimFleet, inventory: &Inventory, remove: bool) -> Record {
    let here = tempfile::tempdir().unwrap();
    let to = here.path().join("shutdown.json");
    let shutdown = ShutdownProcedure {
        last: Some("m1".to_owned()),
        remove,
        emergency: false,
        deadline: None,
        to: to.clone(),
        unlock_key: None,
        former: None,
        here: None,
        now: "2026-11-20T10:00:00Z".parse().unwrap(),
        by: "admin@here".to_owned(),
        book: PlaybookRun::shipped(Verb::Shutdown).unwrap(),
    };
    let plan = plan(fleet, inventory, &Procedure::Shutdown(Box::new(shutdown))).await;
    assert_eq!(plan.refusals, [], "a refused plan is never run");
    let report = execute::run(fleet, &plan.changes, &Stop::default(), &|_| {}).await;
    let report = report.unwrap();
    assert!(report.is_done(), "{report:#?}");
    fleet.with(|world| {
        assert!(world.hosts.values().all(|host| !host.up));
        let halted = |it: &SimService| record::is_halted(&it.spec);
        assert!(world.services.values().all(halted));
        assert_eq!(world.services.is_empty(), remove);
        world.quorum_lost_by.clear();
    });
    record::load(&to).unwrap().unwrap()
}

fn power_cut(world: &mut World) {
    let names: Vec<String> = world.hosts.keys().cloned().collect();
    for name in names {
        world.power(&name, false);
    }
}

/// All is as it was, and nothing was lost on the way.
fn is_back(fleet: &SimFleet, managers: usize, nodes: usize) {
    fleet.with(|world| {
        world.let_time_pass();
        assert_eq!(world.clusters.len(), 1, "a second swarm");
        let (id, swarm) = world.clusters.first_key_value().unwrap();
        assert_eq!(world.raft(id), (managers, managers));
        assert_eq!(swarm.nodes.len(), nodes);
        for node in swarm.nodes.values() {
            assert!(!node.labels.contains_key(WAS_MANAGER), "{node:?}");
            assert_eq!(node.availability, Availability::Active);
            assert_eq!(
                node.labels.contains_key("place"),
                node.host.starts_with('m')
            );
        }
        let tasks: BTreeMap<&str, usize> = world
            .services
            .iter()
            .map(|(name, service)| (name.as_str(), service.tasks.len()))
            .collect();
        assert_eq!(
            tasks,
            BTreeMap::from([("a_web", 3), ("hub_registry", 1), ("z_db", 2)])
        );
        for service in world.services.values() {
            assert!(!record::is_halted(&service.spec));
        }
        assert_eq!(world.quorum_lost_by, Vec::<String>::new());
    });
}

fn why(plan: &Plan) -> String {
    let lines = plan.refusals.iter().map(|it| {
        let host = it.host.as_deref().unwrap_or("-");
        format!("{host}: {} {}", it.why, it.hint)
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_last_host_comes_first_and_the_registry_before_what_comes_from_it() {
    let inventory = inventory(3, 2);
    paused(async move {
        let fleet = swarm(&inventory).await;
        let record = shut_down(&fleet, &inventory, false).await;
        let mut it = start(Some(&record));
        let first = plan(&fleet, &inventory, &procedure(&it)).await;
        assert!(first.goes_on(), "{first:#?}");
        let m1 = first
            .changes
            .iter()
            .find(|change| change.id.0 == "m1/power")
            .unwrap();
        assert_eq!(m1.needs, BTreeSet::new());
        for change in first
            .changes
            .iter()
            .filter(|it| it.resource == "power" && it.host != "m1")
        {
            let before = change.needs.iter().map(|id| id.0.as_str());
            assert_eq!(
                before.collect::<Vec<_>>(),
                ["m1/start.engine"],
                "{}",
                change.id
            );
        }
        let told = first.warnings.join("\n");
        assert!(
            told.contains("managers m1, m2, m3; then, in this order, hub, a, z"),
            "{told}"
        );
        assert!(apply(&fleet, &first).await);
        it.begun = true;
        let second = plan(&fleet, &inventory, &procedure(&it)).await;
        let hub = second
            .changes
            .iter()
            .find(|it| it.id.0.ends_with("/services.hub"))
            .unwrap();
        for other in ["services.a", "services.z"] {
            let other = second
                .changes
                .iter()
                .find(|it| it.resource == other)
                .unwrap();
            assert!(other.needs.contains(&hub.id));
            assert!(
                other
                    .needs
                    .contains(&skep::plan::ChangeId::new("m2", "swarm.node"))
            );
        }
        assert!(apply(&fleet, &second).await);
        is_back(&fleet, 3, 5);
        fleet.with(|world| {
            assert_eq!(world.resumed[..2], ["hub_registry", "hub_registry answers"]);
            let files = &world.hosts["m1"].files;
            assert!(!files.contains_key(MARK) && !files.contains_key(PATH));
        });
        let third = plan(&fleet, &inventory, &procedure(&it)).await;
        assert!(third.is_empty(), "{third:#?}");
        let up = plan(&fleet, &inventory, &Procedure::UP).await;
        assert!(up.is_empty(), "{up:#?}");
    });
}

#[test]
fn removed_services_are_made_from_the_record() {
    let inventory = inventory(3, 1);
    paused(async move {
        let fleet = swarm(&inventory).await;
        let record = shut_down(&fleet, &inventory, true).await;
        assert!(rounds(&fleet, &inventory, &start(Some(&record))).await);
        is_back(&fleet, 3, 4);
        fleet
            .with(|world| assert_eq!(world.resumed[..2], ["hub_registry", "hub_registry answers"]));
    });
}

/// What was changed since is left alone, also where another machine still has the record.
#[test]
fn a_record_is_carried_out_once() {
    let inventory = inventory(3, 1);
    paused(async move {
        let fleet = swarm(&inventory).await;
        let record = shut_down(&fleet, &inventory, true).await;
        assert!(rounds(&fleet, &inventory, &start(Some(&record))).await);
        fleet.with(|world| {
            world.services.remove("z_db");
            let (cluster, _) = world.hosts["m1"].member.clone().unwrap();
            let nodes = &mut world.clusters.get_mut(&cluster).unwrap().nodes;
            for node in nodes.values_mut().filter(|node| node.host == "w1") {
                node.availability = Availability::Drain;
            }
        });
        let again = plan(&fleet, &inventory, &procedure(&start(Some(&record)))).await;
        assert!(again.is_empty(), "{again:#?}");
        // An outage later: the hosts come back, and nothing else.
        fleet.with(power_cut);
        // As long as m1 is dark nobody knows that the record is done with; and nothing simulated waits
        // for what comes up beside it.
        let mut tries = 0;
        while !rounds(&fleet, &inventory, &start(Some(&record))).await {
            tries += 1;
            assert!(tries < 3);
        }
        fleet.with(|world| assert!(!world.services.contains_key("z_db")));
    });
}

#[test]
fn after_an_outage_the_hosts_are_brought_back_and_nothing_else() {
    let inventory = inventory(3, 2);
    paused(async move {
        let fleet = swarm(&inventory).await;
        fleet.with(power_cut);
        let it = start(None);
        let first = plan(&fleet, &inventory, &procedure(&it)).await;
        let kinds: BTreeSet<&str> = first
            .changes
            .iter()
            .map(|it| it.resource.as_str())
            .collect();
        assert_eq!(
            kinds,
            BTreeSet::from(["power", "start.engine", "start.quorum"])
        );
        assert!(rounds(&fleet, &inventory, &it).await);
        is_back(&fleet, 3, 5);
        fleet.with(|world| assert!(world.resumed.is_empty()));
        let again = plan(&fleet, &inventory, &procedure(&it)).await;
        assert!(again.is_empty(), "{again:#?}");
    });
}

#[test]
fn without_a_majority_it_points_to_recovery_and_makes_no_swarm() {
    let inventory = inventory(3, 1);
    paused(async move {
        let fleet = swarm(&inventory).await;
        fleet.with(|world| {
            power_cut(world);
            world.no_power.extend(["m2".to_owned(), "m3".to_owned()]);
        });
        let mut it = start(None);
        let first = plan(&fleet, &inventory, &procedure(&it)).await;
        assert!(!apply(&fleet, &first).await, "two are dark");
        it.begun = true;
        it.without = BTreeSet::from(["m2".to_owned(), "m3".to_owned()]);
        let second = plan(&fleet, &inventory, &procedure(&it)).await;
        assert!(second.changes.is_empty());
        let told = why(&second);
        assert!(told.contains("managers 3, alive 1, majority 2"), "{told}");
        assert!(told.contains("`skep recover`"), "{told}");
        fleet.with(|world| assert_eq!(world.clusters.len(), 1));
        // Nobody is in a swarm: none is made either.
        let bare = SimFleet::new(World::fresh(&inventory), Faults::default(), 1);
        let none = plan(&bare, &inventory, &procedure(&start(None))).await;
        assert!(
            none.changes.is_empty() && why(&none).contains("`skep up`"),
            "{none:#?}"
        );
    });
}

#[test]
fn a_worker_that_stays_away_holds_nothing_up() {
    let inventory = inventory(3, 2);
    paused(async move {
        let fleet = swarm(&inventory).await;
        let record = shut_down(&fleet, &inventory, false).await;
        fleet.with(|world| world.no_power.insert("w2".to_owned()));
        let it = StartProcedure {
            without: BTreeSet::from(["w2".to_owned()]),
            ..start(Some(&record))
        };
        assert!(rounds(&fleet, &inventory, &it).await);
        is_back(&fleet, 3, 5);
    });
}

#[test]
fn the_record_of_another_swarm_is_refused_until_it_is_put_aside() {
    let inventory = inventory(1, 1);
    paused(async move {
        let fleet = swarm(&inventory).await;
        let mut record = shut_down(&fleet, &inventory, false).await;
        record.head.cluster_id = Some("another".to_owned());
        fleet.with(|world| {
            for name in ["m1", "w1"] {
                world.power(name, true);
                world.hosts.get_mut(name).unwrap().files.remove(MARK);
            }
        });
        let it = start(Some(&record));
        let told = why(&plan(&fleet, &inventory, &procedure(&it)).await);
        assert!(told.contains("is of swarm another"), "{told}");
        let forget = StartProcedure {
            forget: true,
            ..it.clone()
        };
        assert!(rounds(&fleet, &inventory, &forget).await);
        // What is marked in this swarm is taken back all the same.
        assert!(rounds(&fleet, &inventory, &it).await);
        is_back(&fleet, 1, 2);
    });
}

#[test]
fn a_run_that_is_killed_after_any_step_is_finished_by_the_next() {
    let inventory = inventory(3, 2);
    paused(async move {
        for remove in [false, true] {
            let mut kills = 0;
            for left in 0.. {
                let fleet = swarm(&inventory).await;
                let record = shut_down(&fleet, &inventory, remove).await;
                let it = start(Some(&record));
                let dies = Dies {
                    fleet: &fleet,
                    left: AtomicUsize::new(left),
                };
                let ended = rounds(&dies, &inventory, &it).await;
                fleet.set_faults(Faults {
                    lost_after: 100,
                    lost_before: 50,
                    election: 50,
                    ..Faults::default()
                });
                let mut tries = 0;
                while !rounds(&fleet, &inventory, &it).await {
                    tries += 1;
                    assert!(tries < 10, "after {left} steps");
                }
                is_back(&fleet, 3, 5);
                fleet.with(|world| {
                    let at = |what: &str| world.resumed.iter().position(|it| it == what);
                    let answers = at("hub_registry answers");
                    assert!(answers.is_some(), "after {left} steps");
                    assert!(
                        answers < at("a_web"),
                        "after {left} steps: {:?}",
                        world.resumed
                    );
                });
                if ended {
                    break;
                }
                kills += 1;
            }
            assert!(kills > 15, "{kills}");
            println!("killed after each of {kills} steps");
        }
    });
}

#[test]
fn no_machine_is_switched_off_whose_vote_is_needed() {
    let inventory = inventory(3, 1);
    paused(async move {
        let fleet = swarm(&inventory).await;
        let off = async |hosts: &[&str], act| {
            let procedure = Procedure::Power(PowerProcedure::new(act));
            let gathered = gathered(&fleet, &inventory, &procedure).await;
            let selected = hosts.iter().map(|it| (*it).to_owned()).collect();
            procedure.plan(&inventory, &gathered, &selected)
        };
        let two = why(&off(&["m1", "m2"], PowerAct::ShutDown).await);
        assert!(
            two.contains(
                "managers 3, reachable 3, majority 2: switching 2 of them off would leave 1"
            ),
            "{two}"
        );
        let one = off(&["m2", "w1"], PowerAct::Cut).await;
        assert_eq!(one.refusals, []);
        assert!(apply(&fleet, &one).await);
        let more = why(&off(&["m3"], PowerAct::Cut).await);
        assert!(more.contains("reachable 2, majority 2"), "{more}");
        fleet.with(|world| world.power("m3", false));
        let unknown = why(&off(&["m1"], PowerAct::ShutDown).await);
        assert!(
            unknown.contains("whether it can be spared is not known"),
            "{unknown}"
        );
        let silent = off(&["w1"], PowerAct::ShutDown).await;
        assert!(silent.unknown().next().is_some(), "silence is not off");
        let on = off(&["m2", "m3", "w1"], PowerAct::On { wait: 60 }).await;
        assert!(apply(&fleet, &on).await);
        assert!(off(&["m2"], PowerAct::On { wait: 60 }).await.is_empty());
    });
}

/// Where nobody can switch a machine on, somebody is told to.
#[test]
fn without_a_way_a_person_is_asked() {
    let text = "[cluster]\nname = \"sim\"\n[[host]]\nname = \"m1\"\naddress = \"198.18.0.1\"\nrole = \"manager\"\n";
    let (inventory, _) = skep::inventory::parse(text, Path::new("skep.toml"));
    let inventory = inventory.unwrap();
    paused(async move {
        let fleet = swarm(&inventory).await;
        fleet.with(power_cut);
        let it = start(None);
        let first = plan(&fleet, &inventory, &procedure(&it)).await;
        let power = &first.changes[0];
        assert!(
            power
                .summary
                .contains("PRESS ITS POWER BUTTON (198.18.0.1)"),
            "{}",
            power.summary
        );
        let way = PowerWay::Person {
            address: "198.18.0.1".to_owned(),
        };
        assert_eq!(power.steps[0], Step::Power(PowerCall::On { way }));
        assert!(!apply(&fleet, &first).await, "nobody presses it");
        fleet.with(|world| world.power("m1", true));
        assert!(rounds(&fleet, &inventory, &it).await);
    });
}

/// The playbook that skep brings along, with tasks of the site's own before the services, between the
/// registry and the others, and at the end.
fn site(inventory: &Inventory, id: usize) -> PlaybookRun {
    let task = |name: &str, on: &str, kind: &str| {
        format!("[[task]]\nname = \"{name}\"\non = \"{on}\"\n{kind}\n\n")
    };
    let run = |text: &str| format!("command = {{ run = \"{text}\" }}");
    let storage = task("Look at the storage", "managers", &run("fsck"));
    let warm = task("Warm the caches", "w1", &run("warm"));
    let unit = "service = { unit = \"batch.service\", state = \"running\" }";
    let end = task("Start the batch system", "w2", unit) + &task("Mail", "m1", &run("mail"));
    let mut text = Verb::Start.shipped().to_owned();
    for (step, own) in [("services.start-first", storage), ("services.start", warm)] {
        let at = text.find(&format!("use = \"{step}\"")).unwrap();
        let at = text[..at].rfind("[[task]]").unwrap();
        text.insert_str(at, &own);
    }
    text.push('\n');
    text.push_str(&end);
    let given = BTreeSet::new();
    let around = Around {
        inventory,
        given: &given,
    };
    let none = |_: &Path| Err(std::io::Error::from(std::io::ErrorKind::NotFound));
    let (path, text) = (Path::new("start.toml"), text.into_bytes());
    let source = playbook::parse_for(Verb::Start, text, path, &none, Some(&around));
    let found = source.playbook;
    let playbook = found.unwrap_or_else(|| panic!("{:?}", source.diagnostics));
    PlaybookRun::new(
        playbook,
        serde_json::Map::new(),
        BTreeMap::new(),
        id.to_string(),
    )
}

fn batch(world: &mut World, runs: bool) {
    let units = &mut world.hosts.get_mut("w2").unwrap().tasks.units;
    units.insert("batch.service".to_owned(), (runs, true));
}

/// What was run on each host, in the order of the hosts.
fn ran(fleet: &SimFleet) -> Vec<String> {
    fleet.with(|world| {
        let hosts = world.hosts.iter();
        let ran = hosts.flat_map(|(name, host)| {
            let ran = host.tasks.ran.iter();
            ran.map(move |run| format!("{name} {run}"))
        });
        ran.collect()
    })
}

const RAN: [&str; 5] = ["m1 fsck", "m1 mail", "m2 fsck", "m3 fsck", "w1 warm"];

#[test]
fn own_tasks_have_their_place_in_the_second_round() {
    let inventory = inventory(3, 2);
    paused(async move {
        let fleet = swarm(&inventory).await;
        let record = shut_down(&fleet, &inventory, false).await;
        fleet.with(|world| batch(world, false));
        let mut it = StartProcedure {
            book: site(&inventory, 0),
            ..start(Some(&record))
        };
        let first = plan(&fleet, &inventory, &procedure(&it)).await;
        let tasks = first.tasks.iter().map(|task| task.changes.len());
        assert_eq!(tasks.collect::<Vec<_>>(), [5, 5, 1], "{:#?}", first.tasks);
        assert!(apply(&fleet, &first).await);
        it.begun = true;
        let second = plan(&fleet, &inventory, &procedure(&it)).await;
        let told = second.tasks.iter().map(|task| {
            let ids = task.changes.iter().map(|id| id.0.as_str());
            ids.collect::<Vec<_>>().join(" ")
        });
        assert_eq!(
            told.collect::<Vec<_>>(),
            [
                "m2/swarm.node m3/swarm.node",
                "m1/Look at the storage m2/Look at the storage m3/Look at the storage",
                "m1/services.hub",
                "w1/Warm the caches",
                "m1/services.a m1/services.z",
                "w2/Start the batch system",
                "m1/Mail",
            ]
        );
        let needs = |id: &str| {
            let mut changes = second.changes.iter();
            let change = changes.find(|it| it.id.0 == id).unwrap();
            change
                .needs
                .iter()
                .map(|it| it.0.clone())
                .collect::<BTreeSet<_>>()
        };
        assert!(needs("m2/Look at the storage").contains("m3/swarm.node"));
        assert!(needs("m1/services.hub").contains("m2/Look at the storage"));
        assert!(needs("w1/Warm the caches").contains("m1/services.hub"));
        assert!(needs("m1/services.a").contains("w1/Warm the caches"));
        assert!(needs("w2/Start the batch system").contains("m1/services.z"));
        assert!(rounds(&fleet, &inventory, &it).await);
        is_back(&fleet, 3, 5);
        assert_eq!(ran(&fleet), RAN);
        fleet
            .with(|world| assert_eq!(world.hosts["w2"].tasks.units["batch.service"], (true, true)));
        // After an outage there is no record: what runs every time is left out, all else is looked at.
        fleet.with(|world| batch(world, false));
        let later = StartProcedure {
            book: site(&inventory, 1),
            ..start(None)
        };
        assert!(rounds(&fleet, &inventory, &later).await);
        assert_eq!(ran(&fleet), RAN);
        fleet
            .with(|world| assert_eq!(world.hosts["w2"].tasks.units["batch.service"], (true, true)));
    });
}

#[test]
fn own_tasks_are_done_once_however_often_skep_is_killed() {
    let inventory = inventory(3, 2);
    paused(async move {
        for left in 0.. {
            let fleet = swarm(&inventory).await;
            let record = shut_down(&fleet, &inventory, false).await;
            fleet.with(|world| batch(world, false));
            let it = |id| StartProcedure {
                book: site(&inventory, id),
                ..start(Some(&record))
            };
            let dies = Dies {
                fleet: &fleet,
                left: AtomicUsize::new(left),
            };
            if rounds(&dies, &inventory, &it(0)).await {
                assert!(left > 20, "it had {left} steps");
                break;
            }
            assert!(rounds(&fleet, &inventory, &it(1)).await, "after {left}");
            is_back(&fleet, 3, 5);
            assert_eq!(ran(&fleet), RAN, "after {left} steps");
        }
    });
}
