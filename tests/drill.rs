//! What drills do to a cluster, on the simulated fleet: each failure is as told, and what heals a
//! cluster after a drill ends with an empty second plan.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::path::Path;

use skep::drill::script::{Scene, Script, join};
use skep::drill::{Drill, fit};
use skep::execute::{self, Stop};
use skep::fleet::sim::{Faults, SimFleet, World};
use skep::inventory::Inventory;
use skep::plan::{Change, LabCall, Plan, Step};
use skep::procedure::{Procedure, RecoverProcedure};
use skep::swarm::{Gathered, Swarm};

fn inventory() -> Inventory {
    let text = "[cluster]\nname = \"sim\"\nprovider = \"lab\"\n\
         [[host]]\nname = \"m[1-3]\"\nrole = \"manager\"\n\
         [[host]]\nname = \"w[1-2]\"\nrole = \"worker\"\n";
    let (inventory, diagnostics) = skep::inventory::parse(text, Path::new("skep.toml"));
    inventory.unwrap_or_else(|| panic!("{diagnostics:?}"))
}

fn paused<F: Future<Output = ()>>(future: F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.unwrap().block_on(future);
}

async fn plan(fleet: &SimFleet, inventory: &Inventory, procedure: &Procedure) -> (Gathered, Plan) {
    let gathered =
        skep::gather::gather(fleet, &inventory.hosts, &procedure.probes(), &|_| {}).await;
    let hosts = inventory.hosts.iter();
    let all: BTreeSet<String> = hosts.map(|host| host.name.clone()).collect();
    let plan = procedure.plan(inventory, &gathered, &all);
    (gathered, plan)
}

async fn apply(fleet: &SimFleet, changes: &[Change]) {
    let report = execute::run(fleet, changes, &Stop::default(), &|_| {}).await;
    let report = report.unwrap();
    assert!(report.is_done(), "{report:?}");
}

/// All rounds of a procedure.
async fn rounds(fleet: &SimFleet, inventory: &Inventory, procedure: &mut Procedure) {
    for _ in 0..6 {
        let (_, plan) = plan(fleet, inventory, procedure).await;
        assert_eq!(plan.refusals, [], "{procedure:?}");
        if plan.changes.is_empty() {
            return;
        }
        apply(fleet, &plan.changes).await;
        if let Procedure::Recover(recover) = procedure {
            recover.begun = true;
        }
    }
    panic!("it goes on for ever: {procedure:?}");
}

fn scene(inventory: &Inventory) -> Scene {
    let addresses = (1..).zip(&inventory.hosts);
    let addresses = addresses.map(|(n, host)| (host.name.clone(), [198, 18, 0, n].into()));
    Scene {
        cluster: inventory.cluster.clone(),
        managers: ["m1", "m2", "m3"].map(str::to_owned).to_vec(),
        workers: ["w1", "w2"].map(str::to_owned).to_vec(),
        others: Vec::new(),
        servers: Vec::new(),
        leader: "m1".to_owned(),
        addresses: addresses.collect(),
        tasks: [("w2".to_owned(), 1)].into(),
    }
}

/// Heals as `skep drill` does it: network, power, quorum, machines, and all that `up` does.
async fn heal(fleet: &SimFleet, inventory: &Inventory, script: &Script) {
    let lab = |host: &str, call: LabCall| Change {
        steps: vec![Step::Lab(call)],
        ..join(host)
    };
    for change in &script.plan.changes {
        let host = change.host.as_str();
        match &change.steps[0] {
            Step::Lab(LabCall::Part { .. }) => apply(fleet, &[join(host)]).await,
            Step::Lab(LabCall::Off) => apply(fleet, &[lab(host, LabCall::Start)]).await,
            _ => {}
        }
    }
    fleet.with(World::settle);
    let lost = fit::lost_for_good(inventory, &|name| !script.lost.contains(name));
    assert_eq!(lost, script.lost);
    if !lost.is_empty() {
        let mut recover = Procedure::Recover(RecoverProcedure {
            lost: lost.clone(),
            ..RecoverProcedure::default()
        });
        let mut without = inventory.clone();
        without.all_optional();
        rounds(fleet, &without, &mut recover).await;
    }
    for host in &lost {
        apply(fleet, &[lab(host, LabCall::Create)]).await;
    }
    rounds(fleet, inventory, &mut Procedure::UP.clone()).await;
    fleet.with(World::settle);
    let (gathered, _) = plan(fleet, inventory, &Procedure::UP).await;
    let Swarm::Up(up) = Swarm::see(inventory, &gathered) else {
        panic!("{gathered:?}");
    };
    if fit::are_former_selves(inventory, &up) {
        rounds(fleet, inventory, &mut Procedure::Up { prune: true }).await;
    }
}

#[test]
fn every_drill_is_healed_and_proven() {
    // The simulated fleet has no folders of servers; the virtual machines have (tests/vm/nfs.rs).
    let all = Drill::ALL.into_iter();
    for drill in all.filter(|drill| *drill != Drill::FileServer) {
        paused(async {
            let inventory = inventory();
            let fleet = SimFleet::new(World::fresh(&inventory), Faults::default(), 1);
            rounds(&fleet, &inventory, &mut Procedure::UP.clone()).await;
            let (gathered, empty) = plan(&fleet, &inventory, &Procedure::UP).await;
            assert_eq!(fit::unhealthy(&inventory, &gathered, &empty), [""; 0]);

            let script = Script::new(drill, &scene(&inventory)).unwrap();
            apply(&fleet, &script.plan.changes).await;
            fleet.with(World::settle);
            let (gathered, broken) = plan(&fleet, &inventory, &Procedure::UP).await;
            // A second drill would be refused now.
            assert_ne!(
                fit::unhealthy(&inventory, &gathered, &broken),
                [""; 0],
                "{drill}"
            );
            let has_quorum = matches!(Swarm::see(&inventory, &gathered), Swarm::Up(_));
            let loses = matches!(drill, Drill::TwoManagers | Drill::PowerCut);
            assert_eq!(has_quorum, !loses, "{drill}");

            heal(&fleet, &inventory, &script).await;
            let (gathered, proof) = plan(&fleet, &inventory, &Procedure::UP).await;
            assert_eq!(
                fit::unhealthy(&inventory, &gathered, &proof),
                [""; 0],
                "{drill}"
            );
        });
    }
}

/// A swarm without quorum, one with a node of somebody else's, and none at all.
#[test]
fn a_cluster_that_is_not_healthy_is_no_place_to_practise() {
    paused(async {
        let inventory = inventory();
        let fleet = SimFleet::new(World::fresh(&inventory), Faults::default(), 1);
        let why = async || {
            let (gathered, plan) = plan(&fleet, &inventory, &Procedure::UP).await;
            fit::unhealthy(&inventory, &gathered, &plan)
        };
        assert_eq!(why().await, ["there is no swarm"]);
        rounds(&fleet, &inventory, &mut Procedure::UP.clone()).await;
        fleet.with(|world| world.leave_by_hand("w2"));
        let said = why().await.join("\n");
        assert!(
            said.contains("no host of this lab says that it is that node"),
            "{said}"
        );
        fleet.with(|world| {
            world.power("m1", false);
            world.power("m2", false);
        });
        assert_eq!(why().await, ["the swarm has no quorum, or nobody tells"]);
    });
}
