//! Recovery of a swarm whose quorum is lost, on the simulated fleet: what is refused, what is done in
//! which order, and that a run which is killed after any step is finished by the next.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "recover/rotate.rs"]
mod rotate;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::BoxFuture;
use skep::execute::{self, Stop};
use skep::facts::{HostFacts, Probes};
use skep::fleet::sim::{Faults, SimFleet, SimService, World};
use skep::fleet::{Fault, FaultKind, Fleet};
use skep::guard;
use skep::inventory::Inventory;
use skep::plan::{DockerCall, Plan, Step};
use skep::procedure::{Procedure, RecoverProcedure};
use skep::swarm::{Gathered, Swarm};

fn inventory(managers: usize, workers: usize) -> Inventory {
    let last = managers + workers;
    let first = managers + 1;
    let text = format!(
        "[cluster]\nname = \"sim\"\n\
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
    skep::gather::gather(fleet, &inventory.hosts, &procedure.probes(), &|_| {}).await
}

async fn plan(fleet: &dyn Fleet, inventory: &Inventory, procedure: &Procedure) -> Plan {
    let gathered = gathered(fleet, inventory, procedure).await;
    let hosts = inventory.hosts.iter();
    let all: BTreeSet<String> = hosts.map(|host| host.name.clone()).collect();
    procedure.plan(inventory, &gathered, &all)
}

/// Carries `plan` out; whether all of it was done.
async fn apply(fleet: &dyn Fleet, plan: &Plan) -> bool {
    assert_eq!(plan.refusals, [], "a refused plan is never run");
    let report = execute::run(fleet, &plan.changes, &Stop::default(), &|_| {}).await;
    report.unwrap().is_done()
}

fn recover(lost: &[&str]) -> RecoverProcedure {
    RecoverProcedure {
        lost: lost.iter().map(|name| (*name).to_owned()).collect(),
        ..RecoverProcedure::default()
    }
}

/// All rounds; whether it came to its end.
async fn rounds(fleet: &dyn Fleet, inventory: &Inventory, recover: &RecoverProcedure) -> bool {
    let mut recover = recover.clone();
    for _ in 0..6 {
        let plan = plan(fleet, inventory, &Procedure::Recover(recover.clone())).await;
        if plan.changes.is_empty() && plan.refusals.is_empty() {
            return plan.is_empty();
        }
        // A run that had ended before it could say so.
        if !recover.begun && plan.refusals.iter().any(|it| it.why.contains("has quorum")) {
            return true;
        }
        if !apply(fleet, &plan).await {
            return false;
        }
        recover.begun = true;
    }
    panic!("it goes on for ever");
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
    });
    fleet
}

fn off(fleet: &SimFleet, hosts: &[&str]) {
    fleet.with(|world| {
        for host in hosts {
            world.hosts.get_mut(*host).unwrap().up = false;
        }
    });
}

fn index(fleet: &SimFleet, host: &str, index: u64) {
    fleet.with(|world| world.hosts.get_mut(host).unwrap().raft_index = Some(index));
}

/// One swarm with so many managers, its service running, nothing left of the old one.
fn is_whole(fleet: &SimFleet, managers: usize, nodes: usize) {
    fleet.with(|world| {
        let ids: Vec<String> = world.clusters.keys().cloned().collect();
        let up: Vec<&String> = ids.iter().filter(|id| world.has_quorum(id)).collect();
        assert_eq!(up.len(), 1, "{:#?}", world.clusters);
        assert_eq!(world.raft(up[0]), (managers, managers));
        let swarm = &world.clusters[up[0]];
        assert_eq!(swarm.nodes.len(), nodes, "{:#?}", swarm.nodes);
        assert!(swarm.nodes.values().all(|node| !node.ghost));
        assert!(swarm.tokens > 0);
        let tasks = &world.services["web"].tasks;
        assert_eq!(tasks.len(), 3);
        assert!(tasks.iter().all(|task| swarm.nodes.contains_key(task)));
        assert_eq!(world.quorum_lost_by, Vec::<String>::new());
    });
}

fn why(plan: &Plan) -> String {
    let refusals = plan.refusals.iter();
    let lines = refusals.map(|it| {
        format!(
            "{}: {} {}",
            it.host.as_deref().unwrap_or("-"),
            it.why,
            it.hint
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Where nobody answers, the way out is not the verb that was just refused.
#[test]
fn with_nobody_there_it_does_not_send_to_itself() {
    let inventory = inventory(3, 1);
    paused(async move {
        let fleet = swarm(&inventory).await;
        off(&fleet, &["m1", "m2", "m3", "w1"]);
        let nobody = why(&plan(&fleet, &inventory, &Procedure::Recover(recover(&[]))).await);
        assert!(
            nobody.contains("Bring back a manager that knows the swarm"),
            "{nobody}"
        );
        assert!(!nobody.contains("`skep recover`"), "{nobody}");
    });
}

/// With autolock an engine that is told to force a new cluster ends in no swarm (Docker 20.10).
#[test]
fn nothing_is_forced_from_a_state_that_is_sealed() {
    let inventory = inventory(3, 1);
    paused(async move {
        let fleet = swarm(&inventory).await;
        fleet.with(|world| {
            for swarm in world.clusters.values_mut() {
                swarm.secrets.unlock_key = Some(1);
            }
        });
        index(&fleet, "m1", 7);
        off(&fleet, &["m2", "m3"]);
        let plan = plan(
            &fleet,
            &inventory,
            &Procedure::Recover(recover(&["m2", "m3"])),
        )
        .await;
        let refused = why(&plan);
        assert!(
            refused.contains("m1: autolock is on") && refused.contains("`skep restore FILE"),
            "{refused}"
        );
        assert_eq!(plan.changes, []);
    });
}

#[test]
fn a_silent_manager_is_lost_only_when_a_person_says_so() {
    let inventory = inventory(3, 2);
    paused(async move {
        let fleet = swarm(&inventory).await;
        let plan =
            async |it: RecoverProcedure| plan(&fleet, &inventory, &Procedure::Recover(it)).await;
        assert!(
            why(&plan(recover(&[])).await)
                .contains("the swarm has quorum: managers 3, reachable 3, majority 2")
        );
        off(&fleet, &["m3"]);
        assert!(
            why(&plan(recover(&["m3"])).await)
                .contains("the swarm has quorum: managers 3, reachable 2")
        );
        off(&fleet, &["m2"]);
        let both = why(&plan(recover(&[])).await);
        assert!(!both.contains("the quorum is not lost"), "{both}");
        assert!(
            both.contains("--lost m2") && both.contains("--lost m3"),
            "{both}"
        );
        let one = why(&plan(recover(&["m2"])).await);
        assert!(
            !one.contains("--lost m2") && one.contains("--lost m3"),
            "{one}"
        );
        let more = why(&plan(recover(&["m1", "m2", "m3", "w1"])).await);
        assert!(
            more.contains("`--lost m1`: it answers, and is a manager"),
            "{more}"
        );
        assert!(
            more.contains("`--lost w1`: that is none of the managers"),
            "{more}"
        );
        let well = plan(recover(&["m2", "m3"])).await;
        assert_eq!(well.refusals, []);
        let told = well.warnings.join("\n");
        assert!(told.contains("2 of 3, a majority (2)"), "{told}");
        let from = RecoverProcedure {
            from: Some("m2".to_owned()),
            ..recover(&["m2", "m3"])
        };
        assert!(why(&plan(from).await).contains("`--from m2`: it is no manager that lives"));
    });
}

#[test]
fn managers_that_live_and_are_enough_are_left_alone() {
    let inventory = inventory(3, 1);
    paused(async move {
        let fleet = swarm(&inventory).await;
        off(&fleet, &["m2", "m3"]);
        let procedure = Procedure::Recover(recover(&["m3"]));
        let mut gathered = gathered(&fleet, &inventory, &procedure).await;
        // As when a network cut has just ended: both live, and have no leader yet.
        let m1 = gathered["m1"].clone().unwrap();
        let mut m2 = m1.clone();
        let known = m1.swarm.value().unwrap().remote_managers.clone();
        let skep::known::Known::Value(local) = &mut m2.swarm else {
            panic!()
        };
        let own = |(id, _): &&(String, String)| *id != local.node_id;
        local.node_id = known.iter().find(own).unwrap().0.clone();
        if let Some(identity) = m2.identity.value() {
            let mut identity = identity.clone();
            identity.machine_id = "another".to_owned();
            m2.identity = skep::known::Known::Value(identity);
        }
        gathered.insert("m2".to_owned(), Ok(m2));
        let plan = procedure.plan(&inventory, &gathered, &BTreeSet::new());
        assert!(
            why(&plan).contains("managers 3, alive 2, majority 2"),
            "{}",
            why(&plan)
        );
        assert!(plan.changes.is_empty());
    });
}

#[test]
fn the_manager_that_got_farthest_survives_and_the_others_leave_first() {
    let inventory = inventory(5, 2);
    let lost = ["m3", "m4", "m5"];
    paused(async move {
        let fleet = swarm(&inventory).await;
        off(&fleet, &lost);
        let plan =
            async |it: RecoverProcedure| plan(&fleet, &inventory, &Procedure::Recover(it)).await;
        let unknown = why(&plan(recover(&lost)).await);
        assert!(
            unknown.contains("which of the managers that live got farthest is not known"),
            "{unknown}"
        );
        index(&fleet, "m1", 10);
        index(&fleet, "m2", 11);
        let best = plan(recover(&lost)).await;
        let order: Vec<&str> = best.changes.iter().map(|it| it.id.0.as_str()).collect();
        assert_eq!(
            order,
            [
                "m1/swarm.copy",
                "m2/swarm.copy",
                "m1/swarm.fence",
                "m2/swarm.force",
                "w1/swarm.return",
                "w2/swarm.return"
            ]
        );
        let named = plan(RecoverProcedure {
            from: Some("m1".to_owned()),
            ..recover(&lost)
        })
        .await;
        assert!(
            named
                .warnings
                .iter()
                .any(|it| it.contains("m1 is not the one that got farthest"))
        );
        // Nobody forgets anything before all that is known is kept.
        let copies = &best.changes[..2];
        for change in &best.changes[2..4] {
            let mut needs = copies.iter().map(|copy| &copy.id);
            assert!(needs.all(|copy| change.needs.contains(copy)), "{change:?}");
        }
        let without = plan(RecoverProcedure {
            no_copy: true,
            ..recover(&lost)
        })
        .await;
        assert_eq!(without.changes[0].id.0, "m1/swarm.fence");
        assert!(without.warnings.iter().any(|it| it.contains("--no-copy")));
        assert!(rounds(&fleet, &inventory, &recover(&lost)).await);
        fleet.with(|world| {
            assert_eq!(world.hosts["m1"].recovery.copies.len(), 1);
            assert_eq!(world.hosts["m1"].recovery.copies[0].1, 10);
            assert_eq!(world.hosts["m2"].recovery.copies[0].1, 11);
            let forced = world.clusters.values().filter_map(|it| it.forced_at);
            assert_eq!(forced.collect::<Vec<_>>(), [11]);
        });
        is_whole(&fleet, 2, 4);
    });
}

#[test]
fn machines_that_are_new_take_their_places_again() {
    let inventory = inventory(3, 2);
    paused(async move {
        let fleet = swarm(&inventory).await;
        fleet.with(|world| {
            world.add("m2", "198.18.0.2");
            world.add("m3", "198.18.0.3");
        });
        // They answer, and are in no swarm: nobody needs to say that they are lost.
        assert!(rounds(&fleet, &inventory, &recover(&[])).await);
        is_whole(&fleet, 3, 5);
        let up = plan(&fleet, &inventory, &Procedure::UP).await;
        assert!(up.is_empty(), "{up:#?}");
    });
}

#[test]
fn a_lost_manager_that_comes_back_does_no_harm() {
    let inventory = inventory(5, 1);
    let lost = ["m3", "m4", "m5"];
    paused(async move {
        let fleet = swarm(&inventory).await;
        off(&fleet, &lost);
        index(&fleet, "m1", 10);
        index(&fleet, "m2", 10);
        let mut it = recover(&lost);
        let first = plan(&fleet, &inventory, &Procedure::Recover(it.clone())).await;
        assert!(apply(&fleet, &first).await);
        it.begun = true;
        // Between the rounds: its row is still there, and it believes in the old swarm.
        fleet.with(|world| world.hosts.get_mut("m3").unwrap().up = true);
        let second = plan(&fleet, &inventory, &Procedure::Recover(it.clone())).await;
        assert!(second.changes.iter().any(|change| change.host == "m3"));
        assert!(rounds(&fleet, &inventory, &it).await);
        is_whole(&fleet, 3, 4);
        // Later: a stranger, who is told to leave by hand.
        fleet.with(|world| world.hosts.get_mut("m4").unwrap().up = true);
        let up = plan(&fleet, &inventory, &Procedure::UP).await;
        assert!(why(&up).contains("docker swarm leave"), "{}", why(&up));
        is_whole(&fleet, 3, 4);
    });
}

/// The engine of a manager that was started without quorum says that its place is pending: it lives all
/// the same, and so does one whose copy was made by a run that was killed right after.
#[test]
fn a_manager_that_was_started_without_quorum_lives() {
    let inventory = inventory(3, 1);
    let lost = ["m2", "m3"];
    paused(async move {
        let fleet = swarm(&inventory).await;
        off(&fleet, &lost);
        fleet.with(|world| world.hosts.get_mut("m1").unwrap().recovery.waits = true);
        let first = plan(&fleet, &inventory, &Procedure::Recover(recover(&lost))).await;
        assert_eq!(first.refusals, []);
        assert!(rounds(&fleet, &inventory, &recover(&lost)).await);
        is_whole(&fleet, 1, 2);
    });
}

#[test]
fn a_copy_that_cannot_be_kept_stops_all_that_comes_after_it() {
    let inventory = inventory(5, 1);
    let lost = ["m3", "m4", "m5"];
    paused(async move {
        let fleet = swarm(&inventory).await;
        off(&fleet, &lost);
        index(&fleet, "m1", 10);
        index(&fleet, "m2", 11);
        let procedure = Procedure::Recover(recover(&lost));
        let mut first = plan(&fleet, &inventory, &procedure).await;
        // As where there is no room.
        let Step::CopySwarmState { id } = &mut first.changes[1].steps[0] else {
            panic!("{first:#?}")
        };
        *id = "another".to_owned();
        assert!(!apply(&fleet, &first).await);
        fleet.with(|world| {
            assert!(world.hosts["m1"].member.is_some());
            assert!(world.clusters.values().all(|it| it.forced_at.is_none()));
        });
        assert!(rounds(&fleet, &inventory, &recover(&lost)).await);
        is_whole(&fleet, 2, 3);
    });
}

/// A worker that knows only managers that are gone waits for ever: it leaves and joins again.
#[test]
fn a_worker_that_knows_only_lost_managers_joins_again() {
    let inventory = inventory(3, 2);
    let lost = ["m2", "m3"];
    paused(async move {
        let mut kills = 0;
        for left in 0.. {
            let fleet = swarm(&inventory).await;
            off(&fleet, &lost);
            let knows_not = Some("m1".to_owned());
            fleet.with(|world| world.hosts.get_mut("w2").unwrap().recovery.knows_not = knows_not);
            let first = plan(&fleet, &inventory, &Procedure::Recover(recover(&lost))).await;
            let told = first.warnings.join("\n");
            assert!(told.contains("w2 knows nothing of m1"), "{told}");
            let waits = |host: &str| {
                let id = format!("{host}/swarm.return");
                first.changes.iter().any(|change| change.id.0 == id)
            };
            assert!(waits("w1") && !waits("w2"));
            let dies = Dies {
                fleet: &fleet,
                left: AtomicUsize::new(left),
            };
            let ended = rounds(&dies, &inventory, &recover(&lost)).await;
            if !ended {
                assert!(rounds(&fleet, &inventory, &recover(&lost)).await);
            }
            is_whole(&fleet, 1, 3);
            let up = plan(&fleet, &inventory, &Procedure::UP).await;
            assert!(up.changes.is_empty(), "{up:#?}");
            if ended {
                break;
            }
            kills += 1;
        }
        assert!(kills > 10, "{kills}");
    });
}

/// What a real engine does that is started while its row is still there: it hears from the new cluster
/// and is a worker of it.
#[test]
fn a_former_manager_that_has_become_a_worker_joins_again_with_fresh_state() {
    let inventory = inventory(3, 1);
    let lost = ["m2", "m3"];
    paused(async move {
        let fleet = swarm(&inventory).await;
        off(&fleet, &lost);
        let mut it = recover(&lost);
        let first = plan(&fleet, &inventory, &Procedure::Recover(it.clone())).await;
        assert!(apply(&fleet, &first).await);
        it.begun = true;
        fleet.with(|world| {
            let (cluster, _) = world.hosts["m1"].member.clone().unwrap();
            let nodes = world.clusters[&cluster].nodes.iter();
            let row = nodes.clone().find(|(_, node)| node.host == "m3").unwrap();
            let member = Some((cluster.clone(), row.0.clone()));
            let host = world.hosts.get_mut("m3").unwrap();
            (host.up, host.member) = (true, member);
        });
        assert!(rounds(&fleet, &inventory, &it).await);
        is_whole(&fleet, 2, 3);
    });
}

#[test]
fn a_run_that_is_killed_after_any_step_is_finished_by_the_next() {
    let inventory = inventory(5, 2);
    let lost = ["m4", "m5"];
    paused(async move {
        let mut kills = 0;
        for left in 0.. {
            let fleet = swarm(&inventory).await;
            off(&fleet, &lost);
            // A new machine under the name of a lost one.
            fleet.with(|world| world.add("m3", "198.18.0.3"));
            index(&fleet, "m1", 7);
            index(&fleet, "m2", 9);
            let dies = Dies {
                fleet: &fleet,
                left: AtomicUsize::new(left),
            };
            let ended = rounds(&dies, &inventory, &recover(&lost)).await;
            fleet.set_faults(Faults {
                lost_after: 100,
                ..Faults::default()
            });
            for _ in 0..4 {
                if rounds(&fleet, &inventory, &recover(&lost)).await {
                    break;
                }
            }
            is_whole(&fleet, 3, 5);
            if ended {
                break;
            }
            kills += 1;
        }
        assert!(kills > 15, "{kills}");
        println!("killed after each of {kills} steps");
    });
}

#[test]
fn the_guard_knows_what_a_recovery_must_not_do() {
    let inventory = inventory(5, 1);
    let lost = ["m3", "m4", "m5"];
    paused(async move {
        let fleet = swarm(&inventory).await;
        let procedure = Procedure::Recover(recover(&lost));
        let whole = gathered(&fleet, &inventory, &procedure).await;
        off(&fleet, &lost);
        index(&fleet, "m1", 10);
        index(&fleet, "m2", 11);
        let gathered = gathered(&fleet, &inventory, &procedure).await;
        let mut good = procedure.plan(&inventory, &gathered, &BTreeSet::new());
        // Those that keep copies are no business of this guard's.
        good.changes.drain(..2);
        for change in &mut good.changes {
            change.needs.retain(|id| !id.0.ends_with("swarm.copy"));
        }
        let check = |plan: &Plan, gathered: &Gathered| {
            let seen = Swarm::see(&inventory, gathered);
            let refusals = guard::check(plan, &inventory, gathered, &seen);
            refusals
                .iter()
                .map(|it| it.why.clone())
                .collect::<Vec<_>>()
                .join("\n")
        };
        assert_eq!(check(&good, &gathered), "");
        assert!(check(&good, &whole).contains("and there is quorum"));
        let mut unfenced = good.clone();
        unfenced.changes.remove(0);
        unfenced.changes[0].needs.clear();
        assert!(check(&unfenced, &gathered).contains("would stay in the old one"));
        let mut unordered = good.clone();
        unordered.changes[1].needs.clear();
        assert!(check(&unordered, &gathered).contains("would stay in the old one"));
        let mut twice = good.clone();
        let mut other = good.changes[1].clone();
        other.id = skep::plan::ChangeId::new("m1", "swarm.force");
        other.host = "m1".to_owned();
        twice.changes.push(other);
        assert!(check(&twice, &gathered).contains("2 new clusters"));
        let mut nobody = good.clone();
        nobody.changes.truncate(1);
        assert!(check(&nobody, &gathered).contains("none is to go on"));
        // With quorum nobody in raft forgets it.
        let Swarm::Up(up) = Swarm::see(&inventory, &whole) else {
            panic!()
        };
        let mut taken = nobody.clone();
        let id = up.node_of("m1").unwrap().id.clone();
        taken.changes[0].steps = vec![Step::Docker(DockerCall::SwarmFence { id })];
        assert!(check(&taken, &whole).contains("is in raft"));
    });
}
