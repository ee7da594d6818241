//! Shutdown on the simulated fleet: the order, what is refused, and that a run which is killed after
//! any step is finished by the next, with a record that tells of the cluster as it was at first.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use skep::execute::{self, Outcome, Report, Stop};
use skep::facts::{HostFacts, MountFacts, Probes};
use skep::fleet::sim::{Faults, SimFleet, SimService, World};
use skep::fleet::{Fault, FaultKind, Fleet};
use skep::inventory::{Inventory, Role};
use skep::known::Known;
use skep::plan::{Outlook, Plan, Step};
use skep::playbook::{self, Around, Verb};
use skep::procedure::{PlaybookRun, Procedure, ShutdownProcedure};
use skep::record::{self, Mode, PATH, Phase, Record, WAS_MANAGER};
use skep::swarm::Gathered;
use skep::ui;

fn inventory(managers: usize, workers: usize) -> Inventory {
    with(managers, workers, "")
}

/// The same with `more` at its end.
fn with(managers: usize, workers: usize, more: &str) -> Inventory {
    let last = managers + workers;
    let first = managers + 1;
    let text = format!(
        "[cluster]\nname = \"sim\"\n\
         [[host]]\nname = \"m[1-{managers}]\"\naddress = \"198.18.0.[1-{managers}]\"\nrole = \"manager\"\nlabels = {{ place = \"here\" }}\n\
         [[host]]\nname = \"w[1-{workers}]\"\naddress = \"198.18.0.[{first}-{last}]\"\nrole = \"worker\"\n{more}"
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

/// A fleet whose skep is killed after so many steps, and which remembers the steps.
struct Dies<'a> {
    fleet: &'a SimFleet,
    left: AtomicUsize,
    /// Whether the step at which it dies was done, and nobody heard of it.
    done: bool,
    ran: Mutex<Vec<(String, Step)>>,
}

impl<'a> Dies<'a> {
    fn after(fleet: &'a SimFleet, steps: usize) -> Self {
        Self {
            fleet,
            left: AtomicUsize::new(steps),
            done: false,
            ran: Mutex::default(),
        }
    }

    /// The hosts that were told to power off, in their order.
    fn offs(&self) -> Vec<String> {
        let ran = self.ran.lock().unwrap();
        let offs = ran.iter();
        let offs = offs.filter(|(_, step)| matches!(step, Step::PowerOff { .. }));
        offs.map(|(host, _)| host.clone()).collect()
    }
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
        let Ok(before) = self.left.fetch_update(set, fetch, take) else {
            return Box::pin(async { Err(Fault::new(FaultKind::Cancelled, "killed")) });
        };
        self.ran
            .lock()
            .unwrap()
            .push((host.to_owned(), step.clone()));
        let work = self.fleet.run(host, step, output);
        if before == 1 && self.done {
            return Box::pin(async move {
                let _unheard = work.await;
                Err(Fault::new(FaultKind::Cancelled, "killed"))
            });
        }
        work
    }
}

/// A place for the record here; another machine has another one.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("shutdown.json")
    }

    fn record(&self) -> Option<Record> {
        record::load(&self.path()).unwrap()
    }

    fn shutdown(&self) -> ShutdownProcedure {
        ShutdownProcedure {
            last: None,
            remove: false,
            emergency: false,
            deadline: None,
            to: self.path(),
            unlock_key: None,
            former: self.record().map(|record| record.mark()),
            here: None,
            now: Timestamp::UNIX_EPOCH,
            by: "me@here".to_owned(),
            book: PlaybookRun::shipped(Verb::Shutdown).unwrap(),
        }
    }
}

async fn gathered(fleet: &dyn Fleet, inventory: &Inventory, procedure: &Procedure) -> Gathered {
    let probes = procedure.probes();
    let mut gathered = skep::gather::gather(fleet, &inventory.hosts, &probes, &|_| {}).await;
    let hosts = inventory.hosts.iter();
    let all: BTreeSet<String> = hosts.map(|host| host.name.clone()).collect();
    let later = procedure.later_probes(inventory, &gathered, &all);
    skep::gather::gather_later(fleet, &mut gathered, later).await;
    gathered
}

async fn plan(fleet: &dyn Fleet, inventory: &Inventory, procedure: &Procedure) -> Plan {
    let gathered = gathered(fleet, inventory, procedure).await;
    let hosts = inventory.hosts.iter();
    let all: BTreeSet<String> = hosts.map(|host| host.name.clone()).collect();
    procedure.plan(inventory, &gathered, &all)
}

async fn shutdown(fleet: &dyn Fleet, inventory: &Inventory, it: ShutdownProcedure) -> Plan {
    plan(fleet, inventory, &Procedure::Shutdown(Box::new(it))).await
}

async fn run(fleet: &dyn Fleet, plan: &Plan) -> Report {
    assert_eq!(plan.refusals, [], "a refused plan is never run");
    let report = execute::run(fleet, &plan.changes, &Stop::default(), &|_| {}).await;
    report.unwrap()
}

/// Carries `plan` out; whether all of it was done.
async fn apply(fleet: &dyn Fleet, plan: &Plan) -> bool {
    run(fleet, plan).await.is_done()
}

fn replicated(replicas: usize) -> SimService {
    SimService {
        replicas,
        spec: json!({
            "Labels": { "com.docker.stack.namespace": "shop" },
            "TaskTemplate": { "ContainerSpec": { "Env": ["PASSWORD=hunter2"] } },
            "Mode": { "Replicated": { "Replicas": replicas } },
        }),
        ..SimService::default()
    }
}

/// A swarm that is up, with services on it and a label that only its nodes know.
async fn swarm(inventory: &Inventory) -> SimFleet {
    let fleet = SimFleet::new(World::fresh(inventory), Faults::default(), 1);
    for _ in 0..4 {
        let plan = plan(&fleet, inventory, &Procedure::UP).await;
        apply(&fleet, &plan).await;
    }
    fleet.with(|world| {
        world.services.insert("web".to_owned(), replicated(3));
        world.services.insert("db".to_owned(), replicated(1));
        world.services.insert("idle".to_owned(), replicated(0));
        let agent = SimService {
            spec: json!({ "TaskTemplate": { "Placement": {} }, "Mode": { "Global": {} } }),
            ..SimService::default()
        };
        world.services.insert("agent".to_owned(), agent);
        world.let_time_pass();
    });
    fleet
}

/// Every host is off, and nothing was done that should not have been.
fn is_off(fleet: &SimFleet) {
    fleet.with(|world| {
        let on = world.hosts.iter().filter(|(_, host)| host.up);
        let on: Vec<&String> = on.map(|(name, _)| name).collect();
        assert_eq!(on, Vec::<&String>::new());
        assert_eq!(world.quorum_lost_by, Vec::<String>::new());
        assert_eq!(world.tasks_lost_by, Vec::<String>::new());
    });
}

/// The record tells of the cluster as it was before anything was done to it.
fn tells_the_truth(record: &Record, managers: usize) {
    let nodes = &record.head.nodes;
    let led = nodes.iter().filter(|node| node.role == Role::Manager);
    let led: BTreeSet<&str> = led.map(|node| node.host.as_deref().unwrap()).collect();
    let wanted: Vec<String> = (1..=managers).map(|it| format!("m{it}")).collect();
    let wanted: BTreeSet<&str> = wanted.iter().map(String::as_str).collect();
    assert_eq!(led, wanted);
    for node in nodes.iter().filter(|node| node.role == Role::Manager) {
        assert_eq!(node.labels["place"], "here");
        assert!(!node.labels.contains_key(WAS_MANAGER));
    }
    let services = record.services.as_ref().unwrap();
    let modes: BTreeMap<&str, Mode> = services
        .iter()
        .map(|service| (service.name.as_str(), service.mode))
        .collect();
    let wanted = [
        ("agent", Mode::Global),
        ("db", Mode::Replicated(1)),
        ("idle", Mode::Replicated(0)),
        ("web", Mode::Replicated(3)),
    ];
    assert_eq!(modes, BTreeMap::from(wanted));
    for service in services {
        let text = service.spec.to_string();
        assert!(!text.contains("skep.shutdown"), "{text}");
    }
    let web = services.iter().find(|service| service.name == "web");
    let web = web.unwrap();
    assert_eq!(web.stack.as_deref(), Some("shop"));
    assert_eq!(web.spec["Mode"]["Replicated"]["Replicas"], 3);
}

fn on_the_last(fleet: &SimFleet, last: &str) -> Record {
    fleet.with(|world| {
        let (text, mode) = &world.hosts[last].files[PATH];
        assert_eq!(*mode, 0o600);
        Record::parse(text).unwrap()
    })
}

fn why(plan: &Plan) -> String {
    let refusals = plan.refusals.iter();
    let lines = refusals.map(|it| {
        let host = it.host.as_deref().unwrap_or("-");
        format!("{host}: {} {}", it.why, it.hint)
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn order(plan: &Plan) -> Vec<&str> {
    plan.changes.iter().map(|it| it.id.0.as_str()).collect()
}

#[test]
fn everything_goes_in_its_order_and_the_last_manager_at_the_end() {
    let inventory = inventory(3, 2);
    let machine = Machine::new();
    paused(async move {
        let fleet = swarm(&inventory).await;
        let plan = shutdown(&fleet, &inventory, machine.shutdown()).await;
        assert_eq!(
            order(&plan),
            [
                "m1/swarm.record",
                "m2/swarm.demote",
                "m3/swarm.demote",
                "m1/swarm.scale-down",
                "m1/swarm.switch-off",
                "w1/host.power-off",
                "w2/host.power-off",
                "m2/host.power-off",
                "m3/host.power-off",
                "m1/host.power-off",
            ]
        );
        let said = plan.warnings.join("\n");
        assert!(said.contains("be back before 1970-04-01"), "{said}");
        assert!(!said.contains("that is soon"), "{said}");
        let text = serde_json::to_string(&plan).unwrap();
        assert!(!text.contains("hunter2"), "a plan has no secret");
        let alive = Dies::after(&fleet, usize::MAX);
        assert!(apply(&alive, &plan).await);
        is_off(&fleet);
        let offs = alive.offs();
        assert_eq!(offs.last().unwrap(), "m1");
        let workers: BTreeSet<&str> = offs[..2].iter().map(String::as_str).collect();
        assert_eq!(workers, BTreeSet::from(["w1", "w2"]));
        for record in [machine.record().unwrap(), on_the_last(&fleet, "m1")] {
            tells_the_truth(&record, 3);
            assert_eq!(record.head.last, "m1");
            assert!(!record.head.remove);
        }
        assert_eq!(machine.record().unwrap().phase, Phase::Off);
        // Once more: nothing is left to do, and nothing has failed.
        let again = shutdown(&fleet, &inventory, machine.shutdown()).await;
        assert!(
            again.changes.is_empty() && again.refusals.is_empty(),
            "{again:?}"
        );
        assert!(again.hosts.is_empty(), "hosts that are off have not failed");
        assert!(
            again
                .warnings
                .join("\n")
                .contains("m1 is silent, and was told")
        );
    });
}

#[test]
fn the_last_manager_may_be_named_and_certificates_that_end_soon_are_told_of() {
    let inventory = inventory(3, 1);
    let machine = Machine::new();
    paused(async move {
        let fleet = swarm(&inventory).await;
        let named = ShutdownProcedure {
            last: Some("m3".to_owned()),
            now: Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * 70),
            ..machine.shutdown()
        };
        let plan = shutdown(&fleet, &inventory, named).await;
        let said = plan.warnings.join("\n");
        assert!(
            said.contains("(20 days)") && said.contains("that is soon"),
            "{said}"
        );
        assert!(apply(&fleet, &plan).await);
        is_off(&fleet);
        tells_the_truth(&on_the_last(&fleet, "m3"), 3);
        // Whoever was killed after the last step, and says the same again, has nothing left to do.
        let again = ShutdownProcedure {
            last: Some("m3".to_owned()),
            ..machine.shutdown()
        };
        let plan = shutdown(&fleet, &inventory, again).await;
        assert_eq!((plan.refusals, plan.changes), (vec![], vec![]));
        let fleet = swarm(&inventory).await;
        for wrong in ["w1", "m9"] {
            let named = ShutdownProcedure {
                last: Some(wrong.to_owned()),
                ..Machine::new().shutdown()
            };
            let plan = shutdown(&fleet, &inventory, named).await;
            let why = why(&plan);
            assert!(why.contains("it is no manager that answers"), "{why}");
            assert!(why.contains("m1, m2, m3"), "{why}");
        }
    });
}

/// Kills skep after every step in turn, before and after the step was done, and runs it again: from
/// the same machine, and from another one.
fn killed_everywhere(remove: bool, elsewhere: bool, done: bool) {
    let inventory = inventory(3, 2);
    paused(async move {
        let mut steps = 0;
        loop {
            let fleet = swarm(&inventory).await;
            let first = Machine::new();
            let procedure = |machine: &Machine| ShutdownProcedure {
                remove,
                ..machine.shutdown()
            };
            let plan = shutdown(&fleet, &inventory, procedure(&first)).await;
            let mut dies = Dies::after(&fleet, steps);
            dies.done = done;
            if apply(&dies, &plan).await {
                assert!(steps > 12, "it had {steps} steps");
                break;
            }
            fleet.with(World::settle);
            let second = Machine::new();
            let machine = if elsewhere { &second } else { &first };
            let mut offs = dies.offs();
            for round in 0..4 {
                let plan = shutdown(&fleet, &inventory, procedure(machine)).await;
                if plan.changes.is_empty() {
                    break;
                }
                assert!(round < 3, "after {steps} steps: it goes on for ever");
                let alive = Dies::after(&fleet, usize::MAX);
                assert!(apply(&alive, &plan).await, "after {steps} steps");
                offs.extend(alive.offs());
            }
            is_off(&fleet);
            assert_eq!(offs.last().unwrap(), "m1", "after {steps} steps");
            tells_the_truth(&on_the_last(&fleet, "m1"), 3);
            if let Some(record) = machine.record() {
                tells_the_truth(&record, 3);
                assert_eq!(record.phase, Phase::Off);
            }
            steps += 1;
        }
    });
}

#[test]
fn killed_after_any_step_it_is_finished_by_the_next_run() {
    killed_everywhere(false, false, false);
}

#[test]
fn killed_in_any_step_it_is_finished_from_another_machine() {
    killed_everywhere(false, true, true);
}

/// Killed between the note on the last manager and the one here, the next run brings the record here up
/// to date: when all hosts are off nothing else tells that they are meant to be.
#[test]
fn what_was_noted_on_the_manager_alone_is_noted_here_by_the_next_run() {
    let inventory = inventory(3, 2);
    let machine = Machine::new();
    paused(async move {
        let fleet = swarm(&inventory).await;
        let plan = shutdown(&fleet, &inventory, machine.shutdown()).await;
        let fails = Fails {
            fleet: &fleet,
            which: |_, step| matches!(step, Step::PowerOff { .. }),
            hangs: false,
        };
        assert!(!apply(&fails, &plan).await);
        let mut here = machine.record().unwrap();
        assert_eq!(here.phase, Phase::Off);
        here.phase = Phase::Recorded;
        record::save(&machine.path(), &here).unwrap();
        let plan = shutdown(&fleet, &inventory, machine.shutdown()).await;
        assert!(apply(&fleet, &plan).await);
        is_off(&fleet);
        assert_eq!(machine.record().unwrap().phase, Phase::Off);
        let plan = shutdown(&fleet, &inventory, machine.shutdown()).await;
        assert_eq!((plan.refusals, plan.changes), (vec![], vec![]));
    });
}

#[test]
fn services_that_were_removed_stay_in_the_record() {
    killed_everywhere(true, false, true);
    killed_everywhere(true, true, false);
}

/// The only manager that is left dies in the middle: what was recorded before is not written over
/// with what the rest can tell.
#[test]
fn the_last_manager_lost_in_the_middle_costs_no_record() {
    let inventory = inventory(3, 2);
    let machine = Machine::new();
    paused(async move {
        let fleet = swarm(&inventory).await;
        let plan = shutdown(&fleet, &inventory, machine.shutdown()).await;
        // Recorded, both others demoted, services at zero.
        assert!(!apply(&Dies::after(&fleet, 8), &plan).await);
        tells_the_truth(&machine.record().unwrap(), 3);
        fleet.with(|world| {
            world.settle();
            world.power("m1", false);
        });
        let strict = shutdown(&fleet, &inventory, machine.shutdown()).await;
        assert!(why(&strict).contains("m1: it does not answer"));
        let emergency = ShutdownProcedure {
            emergency: true,
            ..machine.shutdown()
        };
        let plan = shutdown(&fleet, &inventory, emergency).await;
        let report = run(&fleet, &plan).await;
        assert!(!report.is_done(), "whether m1 has power nobody knows");
        is_off(&fleet);
        tells_the_truth(&machine.record().unwrap(), 3);
        tells_the_truth(&on_the_last(&fleet, "m2"), 3);
    });
}

/// Somebody brought it back before any host was off: the record of the machine that had begun is of
/// the past.
#[test]
fn the_record_of_another_machine_is_not_believed_more_than_the_manager() {
    let inventory = inventory(1, 2);
    let machine = Machine::new();
    paused(async move {
        let fleet = swarm(&inventory).await;
        let plan = shutdown(&fleet, &inventory, machine.shutdown()).await;
        let report = run(&Dies::after(&fleet, 3), &plan).await;
        assert!(!report.is_done());
        assert_eq!(machine.record().unwrap().phase, Phase::Off);
        fleet.with(|world| {
            let files = &mut world.hosts.get_mut("m1").unwrap().files;
            files.remove(PATH);
            files.remove(record::MARK);
        });
        let plan = shutdown(&fleet, &inventory, machine.shutdown()).await;
        assert!(
            order(&plan).contains(&"m1/swarm.record"),
            "{:?}",
            order(&plan)
        );
        assert!(apply(&fleet, &plan).await);
        is_off(&fleet);
    });
}

/// Nobody started it with skep: the mark that lies there is of the past.
#[test]
fn a_cluster_that_was_brought_back_by_hand_is_recorded_anew() {
    let inventory = inventory(1, 2);
    let machine = Machine::new();
    paused(async move {
        let fleet = swarm(&inventory).await;
        let plan = shutdown(&fleet, &inventory, machine.shutdown()).await;
        assert!(apply(&fleet, &plan).await);
        fleet.with(|world| {
            for host in ["m1", "w1", "w2"] {
                world.power(host, true);
            }
            // Somebody scales one up by hand, and changes another.
            let web = world.services.get_mut("web").unwrap();
            web.spec["Mode"]["Replicated"]["Replicas"] = 5.into();
            web.replicas = 5;
            world.settle();
        });
        let plan = shutdown(&fleet, &inventory, machine.shutdown()).await;
        assert!(
            order(&plan).contains(&"m1/swarm.record"),
            "{:?}",
            order(&plan)
        );
        assert!(apply(&fleet, &plan).await);
        let record = machine.record().unwrap();
        let services = record.services.unwrap();
        let mode = |name: &str| services.iter().find(|it| it.name == name).unwrap().mode;
        assert_eq!(mode("web"), Mode::Replicated(5), "what he made of it");
        assert_eq!(mode("db"), Mode::Replicated(1), "what it was before");
        is_off(&fleet);
    });
}

#[test]
fn a_silent_host_stops_it_unless_that_is_meant() {
    let inventory = inventory(3, 2);
    paused(async move {
        let fleet = swarm(&inventory).await;
        fleet.with(|world| world.power("w2", false));
        let machine = Machine::new();
        let refused = shutdown(&fleet, &inventory, machine.shutdown()).await;
        let text = why(&refused);
        assert!(text.contains("w2: it does not answer"), "{text}");
        assert!(text.contains("--emergency") && refused.changes.is_empty());
        let mut lenient = inventory.clone();
        lenient.all_optional();
        let plan = shutdown(&fleet, &lenient, machine.shutdown()).await;
        assert!(matches!(plan.hosts["w2"], Outlook::Away(_)));
        assert!(apply(&fleet, &plan).await);
        is_off(&fleet);
        let record = machine.record().unwrap();
        tells_the_truth(&record, 3);
        let silent = record.head.nodes.iter().find(|node| !node.answered);
        assert_eq!(silent.unwrap().hostname, "w2");
    });
}

/// A fleet on whose workers a folder of a dead server is mounted, or waits for a first touch.
struct Stale<'a> {
    fleet: &'a SimFleet,
    mounted: bool,
}

impl Fleet for Stale<'_> {
    fn gather<'a>(
        &'a self,
        host: &'a str,
        probes: &'a Probes,
    ) -> BoxFuture<'a, Result<HostFacts, Fault>> {
        Box::pin(async move {
            let mut facts = self.fleet.gather(host, probes).await?;
            for told in facts.mounts.values_mut() {
                *told = Known::Value(MountFacts {
                    mounted: (self.mounted).then(|| ("nfs4".to_owned(), "nas:/srv".to_owned())),
                    automount: true,
                    stale: Some("it does not answer".to_owned()),
                });
            }
            Ok(facts)
        })
    }

    fn run<'a>(
        &'a self,
        host: &'a str,
        step: &'a Step,
        output: &'a (dyn Fn(&str) + Send + Sync),
    ) -> BoxFuture<'a, Result<(), Fault>> {
        self.fleet.run(host, step, output)
    }
}

/// What was written to a dead server's folder is lost with the host: nobody is surprised by that.
#[test]
fn a_dead_server_of_folders_stops_it_unless_that_is_meant() {
    let mount = "[[nfs.mount]]\nsource = \"nas:/srv\"\ntarget = \"/mnt\"\non = \"workers\"\n";
    let inventory = with(3, 2, mount);
    paused(async move {
        let fleet = swarm(&inventory).await;
        let mut stale = Stale {
            fleet: &fleet,
            mounted: true,
        };
        let machine = Machine::new();
        let refused = shutdown(&stale, &inventory, machine.shutdown()).await;
        let text = why(&refused);
        assert!(
            text.contains("stale: server nas does not answer (w1 /mnt; w2 /mnt): what was written"),
            "{text}"
        );
        assert!(text.contains("--emergency") && refused.changes.is_empty());
        let emergency = ShutdownProcedure {
            emergency: true,
            ..machine.shutdown()
        };
        let plan = shutdown(&stale, &inventory, emergency).await;
        let said = plan.warnings.join("\n");
        assert!(said.contains("is lost when these hosts go off"), "{said}");
        assert!(order(&plan).contains(&"w1/nfs.unmount"));
        // One that nobody has touched holds nothing.
        stale.mounted = false;
        let plan = shutdown(&stale, &inventory, machine.shutdown()).await;
        assert!(apply(&stale, &plan).await);
        is_off(&fleet);
        // The rest of one that was cut off then is gone on with.
        stale.mounted = true;
        fleet.with(|world| world.power("w1", true));
        let plan = shutdown(&stale, &inventory, machine.shutdown()).await;
        assert_eq!(why(&plan), "");
    });
}

#[test]
fn in_an_emergency_dead_hosts_are_told_of_and_stop_nothing() {
    let inventory = inventory(3, 2);
    paused(async move {
        let fleet = swarm(&inventory).await;
        fleet.with(|world| {
            world.power("w1", false);
            world.power("m2", false);
        });
        let machine = Machine::new();
        let emergency = ShutdownProcedure {
            emergency: true,
            ..machine.shutdown()
        };
        let plan = shutdown(&fleet, &inventory, emergency).await;
        // It is reported as a host that failed: the run ends with 1.
        assert!(matches!(plan.hosts["w1"], Outlook::Unknown(_)));
        assert!(matches!(plan.hosts["m2"], Outlook::Unknown(_)));
        let demotions: Vec<&str> = order(&plan)
            .into_iter()
            .filter(|id| id.contains("demote"))
            .collect();
        assert!(
            demotions[0].starts_with("m1/swarm.demote "),
            "{demotions:?}"
        );
        assert_eq!(demotions[1], "m3/swarm.demote");
        let report = run(&fleet, &plan).await;
        assert!(!report.is_done(), "whether they have power nobody knows");
        is_off(&fleet);
        tells_the_truth(&machine.record().unwrap(), 3);
    });
}

/// A fleet on which some hosts let us log in, and are too slow to tell anything of themselves.
struct Slow<'a> {
    fleet: &'a SimFleet,
    which: &'a [&'a str],
}

impl Fleet for Slow<'_> {
    fn gather<'a>(
        &'a self,
        host: &'a str,
        probes: &'a Probes,
    ) -> BoxFuture<'a, Result<HostFacts, Fault>> {
        if self.which.contains(&host) {
            let why = "it did not end within 60 s";
            return Box::pin(async move { Err(Fault::new(FaultKind::TimedOut, why)) });
        }
        self.fleet.gather(host, probes)
    }

    fn run<'a>(
        &'a self,
        host: &'a str,
        step: &'a Step,
        output: &'a (dyn Fn(&str) + Send + Sync),
    ) -> BoxFuture<'a, Result<(), Fault>> {
        self.fleet.run(host, step, output)
    }
}

/// A host that hangs so that it tells nothing of itself may well hear that it is to go off.
#[test]
fn in_an_emergency_hosts_of_which_nothing_is_known_are_told_to_go_off() {
    let inventory = inventory(3, 2);
    paused(async move {
        let fleet = swarm(&inventory).await;
        let slow = Slow {
            fleet: &fleet,
            which: &["w1", "m2"],
        };
        let machine = Machine::new();
        let refused = shutdown(&slow, &inventory, machine.shutdown()).await;
        assert!(why(&refused).contains("w1: it does not answer"));
        let emergency = || ShutdownProcedure {
            emergency: true,
            here: Some("this-machine".to_owned()),
            ..machine.shutdown()
        };
        let plan = shutdown(&slow, &inventory, emergency()).await;
        assert!(matches!(plan.hosts["w1"], Outlook::Unknown(_)));
        let said = plan.warnings.join("\n");
        assert!(said.contains("nothing is known of m2, w1: told"), "{said}");
        let place = |id: &str| order(&plan).iter().position(|it| *it == id).unwrap();
        let off = |host: &str| place(&format!("{host}/host.power-off"));
        assert!(off("w1") < off("m2") && off("w2") < off("m3") && off("m2") < off("m1"));
        let change = &plan.changes[off("w1")];
        assert!(change.summary.contains("nothing is known of it"));
        let steps: Vec<&Step> = change.acts().collect();
        assert!(
            matches!(steps[..], [Step::PowerOff { here: Some(here), .. }] if here == "this-machine"),
            "it may be the very machine that skep runs on: {steps:?}"
        );
        let of_w2: Vec<&Step> = plan.changes[off("w2")].acts().collect();
        assert!(matches!(of_w2[..], [Step::PowerOff { here: None, .. }]));
        assert!(apply(&slow, &plan).await);
        fleet.with(|world| assert!(world.hosts.values().all(|host| !host.up)));

        // Where no host tells anything, nothing is recorded, and all are told.
        let fleet = swarm(&inventory).await;
        let slow = Slow {
            fleet: &fleet,
            which: &["m1", "m2", "m3", "w1", "w2"],
        };
        let machine = Machine::new();
        let emergency = ShutdownProcedure {
            emergency: true,
            ..machine.shutdown()
        };
        let plan = shutdown(&slow, &inventory, emergency).await;
        assert!(
            plan.changes
                .iter()
                .all(|it| it.resource == "host.power-off")
        );
        assert!(apply(&slow, &plan).await);
        fleet.with(|world| assert!(world.hosts.values().all(|host| !host.up)));
        assert_eq!(machine.record(), None);
    });
}

#[test]
fn without_quorum_only_an_emergency_switches_off() {
    let inventory = inventory(3, 2);
    paused(async move {
        let fleet = swarm(&inventory).await;
        fleet.with(|world| {
            world.power("m2", false);
            world.power("m3", false);
        });
        let machine = Machine::new();
        let mut lenient = inventory.clone();
        lenient.all_optional();
        let refused = shutdown(&fleet, &lenient, machine.shutdown()).await;
        assert!(why(&refused).contains("no manager with quorum answers"));
        let emergency = ShutdownProcedure {
            emergency: true,
            ..machine.shutdown()
        };
        let plan = shutdown(&fleet, &inventory, emergency).await;
        let kinds: BTreeSet<&str> = plan.changes.iter().map(|it| it.resource.as_str()).collect();
        assert_eq!(
            kinds,
            BTreeSet::from(["host.power-off", "swarm.record", "swarm.switch-off"])
        );
        assert!(!run(&fleet, &plan).await.is_done(), "two were not reached");
        fleet.with(|world| assert!(world.hosts.values().all(|host| !host.up)));
        let record = machine.record().unwrap();
        assert_eq!(record.services, None, "nobody could tell them");
        assert_eq!(record.head.last, "m1");
    });
}

/// A fleet on which some steps fail for good, or take for ever.
struct Fails<'a> {
    fleet: &'a SimFleet,
    which: fn(&str, &Step) -> bool,
    hangs: bool,
}

impl Fleet for Fails<'_> {
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
        if !(self.which)(host, step) {
            return self.fleet.run(host, step, output);
        }
        if self.hangs {
            return Box::pin(std::future::pending());
        }
        Box::pin(async { Err(Fault::new(FaultKind::Failed, "it does not work")) })
    }
}

/// Whether every step but the power-offs fails, each of them alone would too.
fn all_but_power(_: &str, step: &Step) -> bool {
    !matches!(step, Step::PowerOff { .. })
}

#[test]
fn whatever_fails_in_an_emergency_the_hosts_go_off() {
    let inventory = inventory(3, 2);
    paused(async move {
        let fleet = swarm(&inventory).await;
        let machine = Machine::new();
        let emergency = ShutdownProcedure {
            emergency: true,
            ..machine.shutdown()
        };
        let plan = shutdown(&fleet, &inventory, emergency).await;
        let fails = Fails {
            fleet: &fleet,
            which: all_but_power,
            hangs: false,
        };
        let report = run(&fails, &plan).await;
        assert!(!report.is_done(), "what failed is told");
        fleet.with(|world| assert!(world.hosts.values().all(|host| !host.up)));
        // Without an emergency the first failure stops all.
        let fleet = swarm(&inventory).await;
        let plan = shutdown(&fleet, &inventory, Machine::new().shutdown()).await;
        let fails = Fails {
            fleet: &fleet,
            which: |_, step| matches!(step, Step::Shutdown(_)),
            hangs: false,
        };
        assert!(!apply(&fails, &plan).await);
        fleet.with(|world| assert!(world.hosts.values().all(|host| host.up)));
    });
}

#[test]
fn a_deadline_leaves_out_what_is_late_and_never_the_power() {
    let inventory = inventory(3, 2);
    paused(async move {
        let fleet = swarm(&inventory).await;
        let machine = Machine::new();
        let hurry = ShutdownProcedure {
            deadline: Some(120),
            ..machine.shutdown()
        };
        let plan = shutdown(&fleet, &inventory, hurry).await;
        let hangs = Fails {
            fleet: &fleet,
            which: |host, step| host == "m2" && matches!(step, Step::Wait { .. }),
            hangs: true,
        };
        let began = tokio::time::Instant::now();
        let report = run(&hangs, &plan).await;
        fleet.with(|world| assert!(world.hosts.values().all(|host| !host.up)));
        assert!(began.elapsed().as_secs() < 120, "{:?}", began.elapsed());
        let how = |id: &str| {
            let outcome = report.outcomes.iter().find(|(it, _)| it.0 == id);
            match outcome.unwrap().1 {
                Outcome::Done => "done".to_owned(),
                Outcome::Failed { fault, .. } => fault.message.clone(),
                other => format!("{other:?}"),
            }
        };
        assert_eq!(how("m1/swarm.record"), "done");
        assert!(how("m2/swarm.demote").contains("given up in the middle: second 42"));
        // The next one had its share taken by it, and the rest has its own.
        assert!(how("m3/swarm.demote").contains("skipped: second 42"));
        assert_eq!(how("m1/swarm.scale-down"), "done");
        assert_eq!(how("m1/host.power-off"), "done");
        tells_the_truth(&machine.record().unwrap(), 3);
    });
}

#[test]
fn whoever_was_slow_to_confirm_has_a_record_and_the_power_off() {
    let inventory = inventory(3, 2);
    paused(async move {
        let fleet = swarm(&inventory).await;
        let machine = Machine::new();
        let began = tokio::time::Instant::now();
        let hurry = ShutdownProcedure {
            deadline: Some(60),
            ..machine.shutdown()
        };
        let plan = shutdown(&fleet, &inventory, hurry).await;
        tokio::time::sleep(std::time::Duration::from_secs(100)).await;
        let stop = Stop::default();
        let ran = execute::run_since(&fleet, &plan.changes, &stop, began, &|_| {}).await;
        assert!(!ran.unwrap().is_done(), "what was left out is told");
        fleet.with(|world| assert!(world.hosts.values().all(|host| !host.up)));
        let record = machine.record().unwrap();
        tells_the_truth(&record, 3);
        assert_eq!(record.phase, Phase::Off);
    });
}

/// Faults of the simulated network at every step, from many seeds: in the end all is off, and the
/// record is right.
#[test]
fn faults_anywhere_are_got_over_by_running_it_again() {
    let inventory = inventory(3, 2);
    for seed in 0..40 {
        let inventory = inventory.clone();
        paused(async move {
            let calm = swarm(&inventory).await;
            let world = calm.with(|world| world.clone());
            let faults = Faults {
                lost_before: 60,
                lost_after: 60,
                failed: 60,
                election: 60,
                ..Faults::default()
            };
            let fleet = SimFleet::new(world, faults, seed);
            let machine = Machine::new();
            for round in 0..30 {
                let plan = shutdown(&fleet, &inventory, machine.shutdown()).await;
                if plan.changes.is_empty() {
                    assert_eq!(plan.refusals, [], "seed {seed}");
                    break;
                }
                assert!(round < 29, "seed {seed}: it goes on for ever");
                run(&fleet, &plan).await;
            }
            is_off(&fleet);
            tells_the_truth(&on_the_last(&fleet, "m1"), 3);
        });
    }
}

#[test]
fn a_machine_is_not_switched_off_under_skep() {
    let inventory = inventory(1, 1);
    paused(async move {
        let fleet = swarm(&inventory).await;
        let here = ShutdownProcedure {
            here: Some("machine-w1".to_owned()),
            ..Machine::new().shutdown()
        };
        let plan = shutdown(&fleet, &inventory, here.clone()).await;
        assert!(why(&plan).contains("w1: skep runs on this very machine"));
        let emergency = ShutdownProcedure {
            emergency: true,
            ..here
        };
        let plan = shutdown(&fleet, &inventory, emergency).await;
        assert!(!order(&plan).contains(&"w1/host.power-off"));
        assert!(matches!(plan.hosts["w1"], Outlook::Unknown(_)));
    });
}

/// The guard knows nothing of how the plan came to be.
#[test]
fn another_order_is_refused() {
    let inventory = inventory(3, 2);
    paused(async move {
        let fleet = swarm(&inventory).await;
        let procedure = Procedure::Shutdown(Box::new(Machine::new().shutdown()));
        let gathered = gathered(&fleet, &inventory, &procedure).await;
        let seen = skep::swarm::Swarm::see(&inventory, &gathered);
        let hosts = inventory.hosts.iter();
        let all: BTreeSet<String> = hosts.map(|host| host.name.clone()).collect();
        let plan = procedure.plan(&inventory, &gathered, &all);
        let refusals = |change: &dyn Fn(&mut Plan)| {
            let mut other = plan.clone();
            change(&mut other);
            other.refusals = skep::guard::check(&other, &inventory, &gathered, &seen);
            why(&other)
        };
        assert_eq!(refusals(&|_| {}), "");
        let free = |plan: &mut Plan, id: &str| {
            let change = plan.changes.iter_mut().find(|it| it.id.0 == id);
            change.unwrap().needs.clear();
        };
        let early = refusals(&|plan| free(plan, "w1/host.power-off"));
        assert!(
            early.contains("w1: it is switched off before the cluster is recorded"),
            "{early}"
        );
        let last = refusals(&|plan| free(plan, "m1/host.power-off"));
        assert!(
            last.contains("m1: it has the record, and is switched off before others"),
            "{last}"
        );
        let unrecorded = refusals(&|plan| {
            plan.changes.retain(|it| it.resource == "host.power-off");
            let ids: BTreeSet<_> = plan.changes.iter().map(|it| it.id.clone()).collect();
            for change in &mut plan.changes {
                change.needs.retain(|id| ids.contains(id));
            }
        });
        assert!(
            unrecorded.contains("the cluster is not recorded"),
            "{unrecorded}"
        );
    });
}

/// The playbook of a site: a batch system is stopped before the demotions, on three hosts one after the
/// other; a mail is sent when the services are down.
const SITE: &str = r#"
ordered = true
[[task]]
name = "Record it all"
use = "swarm.record"
[[task]]
name = "Stop the batch system"
on = "workers,m2"
serial = 1
command = { run = "batchctl stop" }
[[task]]
name = "No monitoring"
on = "m1"
service = { unit = "monitor.service", state = "stopped" }
[[task]]
name = "Demote the others"
use = "swarm.demote"
[[task]]
name = "Stop the services"
use = "services.stop"
[[task]]
name = "Send a mail"
on = "m1"
command = { run = "mail {{ host.name }}" }
"#;

const OFF: &str = r#"
[[task]]
name = "Workers off"
use = "power.off-workers"
[[task]]
name = "Managers off"
use = "power.off-managers"
[[task]]
name = "Last off"
use = "power.off-last"
"#;

/// A run by a playbook of the site's own; each run of skep has another `id`.
fn by(inventory: &Inventory, text: &str, id: i64) -> PlaybookRun {
    let given = BTreeSet::new();
    let around = Around {
        inventory,
        given: &given,
    };
    let none = |_: &Path| Err(std::io::Error::from(std::io::ErrorKind::NotFound));
    let path = Path::new("shutdown.toml");
    let text = text.as_bytes().to_vec();
    let source = playbook::parse_for(Verb::Shutdown, text, path, &none, Some(&around));
    let playbook = source
        .playbook
        .unwrap_or_else(|| panic!("{:?}", source.diagnostics));
    PlaybookRun::new(
        playbook,
        serde_json::Map::new(),
        BTreeMap::new(),
        id.to_string(),
    )
}

/// What was run on each host.
fn ran(fleet: &SimFleet) -> BTreeMap<String, Vec<String>> {
    fleet.with(|world| {
        let hosts = world.hosts.iter();
        let hosts = hosts.filter(|(_, host)| !host.tasks.ran.is_empty());
        hosts
            .map(|(name, host)| (name.clone(), host.tasks.ran.clone()))
            .collect()
    })
}

/// The site's swarm, with a unit that is to be stopped.
async fn site(inventory: &Inventory) -> SimFleet {
    let fleet = swarm(inventory).await;
    fleet.with(|world| {
        let units = &mut world.hosts.get_mut("m1").unwrap().tasks.units;
        units.insert("monitor.service".to_owned(), (true, true));
    });
    fleet
}

fn once() -> BTreeMap<String, Vec<String>> {
    let stop = || vec!["batchctl stop".to_owned()];
    BTreeMap::from([
        ("m1".to_owned(), vec!["mail m1".to_owned()]),
        ("m2".to_owned(), stop()),
        ("w1".to_owned(), stop()),
        ("w2".to_owned(), stop()),
    ])
}

#[test]
fn an_own_playbook_takes_the_place_of_the_order() {
    let inventory = inventory(3, 2);
    let machine = Machine::new();
    paused(async move {
        let fleet = site(&inventory).await;
        let own = ShutdownProcedure {
            book: by(&inventory, &format!("{SITE}{OFF}"), 0),
            ..machine.shutdown()
        };
        let plan = shutdown(&fleet, &inventory, own.clone()).await;
        assert_eq!(
            order(&plan),
            [
                "m1/swarm.record",
                "m2/Stop the batch system",
                "w1/Stop the batch system",
                "w2/Stop the batch system",
                "m1/No monitoring",
                "m2/swarm.demote",
                "m3/swarm.demote",
                "m1/swarm.scale-down",
                "m1/Send a mail",
                "m1/swarm.switch-off",
                "w1/host.power-off",
                "w2/host.power-off",
                "m2/host.power-off",
                "m3/host.power-off",
                "m1/host.power-off",
            ]
        );
        // Each phase waits for the one before.
        let needs = |id: &str| {
            let mut changes = plan.changes.iter();
            let change = changes.find(|it| it.id.0 == id).unwrap();
            change
                .needs
                .iter()
                .map(|it| it.0.as_str())
                .collect::<Vec<_>>()
        };
        assert_eq!(needs("m2/swarm.demote"), ["m1/No monitoring"]);
        assert_eq!(
            needs("w2/Stop the batch system"),
            ["w1/Stop the batch system"]
        );
        assert_eq!(needs("m1/swarm.switch-off"), ["m1/Send a mail"]);
        let shown = ui::plan::render(&plan, false, &ui::diff::hide_passwords);
        insta::assert_snapshot!(anstream::adapter::strip_str(&shown).to_string());
        assert!(apply(&fleet, &plan).await);
        is_off(&fleet);
        assert_eq!(ran(&fleet), once());
        let again = shutdown(&fleet, &inventory, own).await;
        assert_eq!(order(&again), Vec::<&str>::new());
    });
}

/// Kills skep after every step in turn, before and after the step was done, and runs it again: what was
/// run on a host is not run there once more, also from another machine.
#[test]
fn own_tasks_are_done_once_however_often_skep_is_killed() {
    let inventory = inventory(3, 2);
    paused(async move {
        for (elsewhere, done) in [(false, false), (true, true)] {
            let mut steps = 0;
            loop {
                let fleet = site(&inventory).await;
                let machines = [Machine::new(), Machine::new()];
                let procedure = |machine: &Machine, id: i64| ShutdownProcedure {
                    book: by(&inventory, &format!("{SITE}{OFF}"), id),
                    // A later run has another time.
                    now: Timestamp::UNIX_EPOCH + SignedDuration::from_secs(id),
                    ..machine.shutdown()
                };
                let plan = shutdown(&fleet, &inventory, procedure(&machines[0], 0)).await;
                let mut dies = Dies::after(&fleet, steps);
                dies.done = done;
                if apply(&dies, &plan).await {
                    assert!(steps > 16, "it had {steps} steps");
                    break;
                }
                fleet.with(World::settle);
                let machine = &machines[usize::from(elsewhere)];
                let plan = shutdown(&fleet, &inventory, procedure(machine, 1)).await;
                // Nobody is left to ask where the last one had just gone, and another machine has no record.
                if order(&plan).is_empty() {
                    is_off(&fleet);
                    assert_eq!(ran(&fleet), once(), "after {steps} steps");
                    steps += 1;
                    continue;
                }
                let before = ran(&fleet);
                let told = plan.warnings.join("\n");
                let goes_off = !order(&plan).contains(&"m1/swarm.record");
                assert_eq!(
                    told.contains("is not done again"),
                    !before.is_empty() && !goes_off,
                    "after {steps} steps: {told}"
                );
                assert!(apply(&fleet, &plan).await, "after {steps} steps");
                is_off(&fleet);
                assert_eq!(ran(&fleet), once(), "after {steps} steps");
                steps += 1;
            }
        }
    });
}

/// A task that fails stops what comes after it, and is tried again by the next run.
#[test]
fn where_an_own_task_fails_no_host_is_switched_off() {
    let inventory = inventory(3, 1);
    let machine = Machine::new();
    paused(async move {
        let fleet = site(&inventory).await;
        let wait = "[[task]]\nname = \"Wait for backups\"\non = \"w1\"\nwait = { path = \"/backup/done\" }\n";
        let text = format!("{SITE}{wait}{OFF}");
        let own = |id| ShutdownProcedure {
            book: by(&inventory, &text, id),
            ..machine.shutdown()
        };
        let plan = shutdown(&fleet, &inventory, own(0)).await;
        assert!(!apply(&fleet, &plan).await);
        fleet.with(|world| assert!(world.hosts.values().all(|host| host.up)));
        fleet.with(|world| {
            let holds = &mut world.hosts.get_mut("w1").unwrap().tasks.holds;
            holds.push("test -e /backup/done".to_owned());
        });
        let plan = shutdown(&fleet, &inventory, own(1)).await;
        assert!(apply(&fleet, &plan).await);
        is_off(&fleet);
        assert_eq!(ran(&fleet)["m1"], ["mail m1"]);
    });
}

/// In an emergency they are only tried, within the share of the step before them.
#[test]
fn own_tasks_take_no_time_from_what_comes_after_them() {
    let inventory = inventory(3, 1);
    let machine = Machine::new();
    paused(async move {
        let fleet = site(&inventory).await;
        let hurry = ShutdownProcedure {
            deadline: Some(100),
            book: by(&inventory, &format!("{SITE}{OFF}"), 0),
            ..machine.shutdown()
        };
        let plan = shutdown(&fleet, &inventory, hurry).await;
        let until = |id: &str| {
            let mut changes = plan.changes.iter();
            let change = changes.find(|it| it.id.0 == id).unwrap();
            match &change.steps[0] {
                Step::Try { until, .. } => *until,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(until("m1/swarm.record"), Some(20));
        assert_eq!(until("w1/Stop the batch system"), Some(20));
        assert_eq!(until("m2/swarm.demote"), Some(35));
        assert_eq!(until("m1/swarm.scale-down"), Some(50));
        assert_eq!(until("m1/Send a mail"), Some(50));
        // A host of theirs is dead, and another one has a step that cannot be planned.
        fleet.with(|world| world.hosts.get_mut("w1").unwrap().up = false);
        let emergency = ShutdownProcedure {
            emergency: true,
            book: by(
                &inventory,
                &format!("{SITE}{OFF}").replace("monitor.service", "docker.service"),
                0,
            ),
            ..machine.shutdown()
        };
        let plan = shutdown(&fleet, &inventory, emergency.clone()).await;
        let told = plan.warnings.join("\n");
        assert!(
            told.contains("m1: task `No monitoring`: `docker.service` is what skep"),
            "{told}"
        );
        let report = run(&fleet, &plan).await;
        assert!(!report.is_done(), "whether w1 has power nobody knows");
        fleet.with(|world| assert!(world.hosts.values().all(|host| !host.up)));
        assert_eq!(ran(&fleet).keys().collect::<Vec<_>>(), ["m2"]);
        // With time to look at it, that is refused.
        let fleet = site(&inventory).await;
        let calm = ShutdownProcedure {
            emergency: false,
            to: Machine::new().path(),
            ..emergency
        };
        let why = why(&shutdown(&fleet, &inventory, calm).await);
        assert!(
            why.contains("m1: its tasks of the playbook cannot be planned"),
            "{why}"
        );
    });
}

/// Where the storage alone goes down, a site may leave the hosts on.
#[test]
fn without_its_power_offs_all_hosts_stay_on() {
    let inventory = inventory(3, 2);
    let machine = Machine::new();
    paused(async move {
        let fleet = site(&inventory).await;
        let own = ShutdownProcedure {
            book: by(&inventory, SITE, 0),
            ..machine.shutdown()
        };
        assert!(!own.powers_off() && machine.shutdown().powers_off());
        let plan = shutdown(&fleet, &inventory, own.clone()).await;
        assert!(!plan.switches_off());
        assert!(apply(&fleet, &plan).await);
        fleet.with(|world| {
            assert!(world.hosts.values().all(|host| host.up));
            assert!(world.services["web"].tasks.is_empty());
            assert_eq!(world.quorum_lost_by, Vec::<String>::new());
        });
        assert_eq!(machine.record().unwrap().phase, Phase::Recorded);
        tells_the_truth(&on_the_last(&fleet, "m1"), 3);
        let again = shutdown(&fleet, &inventory, own).await;
        assert_eq!(order(&again), ["m1/swarm.record"], "what was run is noted");
    });
}
