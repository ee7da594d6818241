//! Hooks: where they stand in the order, and what a no of theirs stops.

use skep::inventory::Availability::{self, Active, Drain};

use super::*;

/// A hook at every moment: before it here, after it on the host.
fn all_moments() -> String {
    let phases = ["join", "drain", "activate", "upgrade", "reboot"];
    let hook = |side: &str, phase: &str, at: &str| {
        format!("[[hook]]\nwhen = \"{side}-{phase}\"\nat = \"{at}\"\nrun = \"true\"\n")
    };
    let hooks = phases.map(|it| hook("before", it, "here") + &hook("after", it, "host"));
    hooks.concat()
}

/// The hooks that ran on a host: when, and how each found it.
fn ran(fleet: &SimFleet, host: &str) -> Vec<(String, Option<Availability>)> {
    fleet.with(|world| {
        let hooks = world.hooks.iter().filter(|hook| hook.host == host);
        let seen = hooks.map(|hook| (hook.when.clone(), hook.availability));
        seen.collect()
    })
}

fn forget(fleet: &SimFleet) {
    fleet.with(|world| world.hooks.clear());
}

fn fails(fleet: &SimFleet, host: &str, when: &str) {
    fleet.with(|world| {
        let hook = (host.to_owned(), when.to_owned());
        world.failing_hooks.insert(hook);
    });
}

/// How the changes that are not done ended.
fn undone(report: &execute::Report) -> Vec<String> {
    let outcomes = report.outcomes.iter();
    let told = outcomes.filter_map(|(id, outcome)| match outcome {
        Outcome::Failed { step, fault } => Some(format!("{id} {:?}: {step}", fault.kind)),
        Outcome::Skipped { because } => Some(format!("{id} skipped because of {because}")),
        Outcome::Done | Outcome::Cancelled => None,
    });
    told.collect()
}

fn node(act: NodeAct, nodes: &[&str]) -> Procedure {
    let nodes = nodes.iter().map(|&name| name.to_owned()).collect();
    Procedure::Node(NodeProcedure { act, nodes })
}

fn engine_of(fleet: &SimFleet, host: &str) -> Option<String> {
    fleet.with(|world| world.hosts[host].engine_version.clone())
}

#[test]
fn each_comes_before_and_after_what_it_is_about() {
    let inventory = inventory(1, 2, &all_moments());
    let told = |hooks: &[(&str, Option<Availability>)]| -> Vec<(String, Option<Availability>)> {
        let hooks = hooks.iter();
        hooks
            .map(|(when, node)| ((*when).to_owned(), *node))
            .collect()
    };
    paused(async move {
        let fleet = swarm(&inventory).await;
        let joined = told(&[("before-join", None), ("after-join", Some(Active))]);
        assert_eq!(ran(&fleet, "m1"), joined);
        assert_eq!(ran(&fleet, "w1"), joined);
        assert!(plan(&fleet, &inventory, &Procedure::UP).await.is_empty());
        forget(&fleet);
        let first = plan(&fleet, &inventory, &upgrade(None, "1")).await;
        assert!(apply(&fleet, &first).await.is_done());
        let upgraded = told(&[
            ("before-upgrade", Some(Active)),
            ("before-drain", Some(Active)),
            ("after-drain", Some(Drain)),
            ("after-upgrade", Some(Drain)),
            ("before-activate", Some(Drain)),
            ("after-activate", Some(Active)),
        ]);
        assert_eq!(ran(&fleet, "w1"), upgraded);
        assert_eq!(ran(&fleet, "m1"), upgraded);
        let engines: Vec<_> = fleet.with(|world| {
            let hooks = world.hooks.iter().filter(|hook| hook.host == "w1");
            hooks.map(|hook| hook.engine.clone().unwrap()).collect()
        });
        let (old, new) = ("20.10.24", "26.1.5");
        assert_eq!(engines, [old, old, old, new, new, new]);
        forget(&fleet);
        let reboots = plan(&fleet, &inventory, &reboot(&fleet)).await;
        assert!(apply(&fleet, &reboots).await.is_done());
        let boots: Vec<_> = fleet.with(|world| {
            let hooks = world.hooks.iter().filter(|hook| hook.host == "w2");
            hooks.map(|hook| (hook.when.clone(), hook.boots)).collect()
        });
        let wanted = [
            ("before-reboot", 0),
            ("before-drain", 0),
            ("after-drain", 0),
            ("after-reboot", 1),
            ("before-activate", 1),
            ("after-activate", 1),
        ];
        assert_eq!(boots, wanted.map(|(when, boots)| (when.to_owned(), boots)));
        forget(&fleet);
        for act in [NodeAct::Drain, NodeAct::Activate, NodeAct::Remove] {
            let plan = plan(&fleet, &inventory, &node(act, &["w2"])).await;
            assert!(apply(&fleet, &plan).await.is_done());
        }
        let taken_out = told(&[
            ("before-drain", Some(Active)),
            ("after-drain", Some(Drain)),
            ("before-activate", Some(Drain)),
            ("after-activate", Some(Active)),
            ("before-drain", Some(Active)),
            ("after-drain", Some(Drain)),
        ]);
        assert_eq!(ran(&fleet, "w2"), taken_out);
        no_harm(&fleet);
    });
}

#[test]
fn a_no_before_the_drain_keeps_that_node_as_it_is_and_the_others_go_on() {
    let inventory = inventory(3, 3, &all_moments());
    paused(async move {
        let fleet = swarm(&inventory).await;
        forget(&fleet);
        fails(&fleet, "w1", "before-drain");
        fails(&fleet, "m2", "before-upgrade");
        let first = plan(&fleet, &inventory, &upgrade(None, "2")).await;
        let report = apply(&fleet, &first).await;
        assert_eq!(
            undone(&report),
            [
                "m2/docker.upgrade Declined: hook before-upgrade, here: true",
                "w1/docker.upgrade Declined: hook before-drain, here: true",
            ]
        );
        assert!(!report.is_done());
        for host in ["w1", "m2"] {
            assert_eq!(engine_of(&fleet, host).as_deref(), Some("20.10.24"));
            let untouched = ran(&fleet, host)
                .into_iter()
                .all(|(_, node)| node == Some(Active));
            assert!(untouched);
        }
        for host in ["w2", "w3", "m1", "m3"] {
            assert_eq!(engine_of(&fleet, host).as_deref(), Some("26.1.5"));
        }
        no_harm(&fleet);
        fleet.with(|world| world.failing_hooks.clear());
        let again = plan(&fleet, &inventory, &upgrade(None, "2")).await;
        assert_eq!(waits(&again), ["w1 after ", "m2 after w1"]);
        assert!(apply(&fleet, &again).await.is_done());
    });
}

#[test]
fn a_no_in_the_middle_stops_all_that_come_after() {
    let inventory = inventory(1, 2, &all_moments());
    paused(async move {
        let fleet = swarm(&inventory).await;
        fails(&fleet, "w1", "after-upgrade");
        let first = plan(&fleet, &inventory, &upgrade(None, "1")).await;
        let report = apply(&fleet, &first).await;
        assert_eq!(
            undone(&report),
            [
                "m1/docker.upgrade skipped because of w1/docker.upgrade",
                "w1/docker.upgrade Failed: hook after-upgrade, on the host: true",
                "w2/docker.upgrade skipped because of w1/docker.upgrade",
            ]
        );
        // It got no work back; the next run gives it.
        assert_eq!(ran(&fleet, "w1").last().unwrap().1, Some(Drain));
        fleet.with(|world| world.failing_hooks.clear());
        let again = plan(&fleet, &inventory, &upgrade(None, "1")).await;
        assert!(apply(&fleet, &again).await.is_done());
        assert_eq!(ran(&fleet, "w1").last().unwrap().1, Some(Active));
        no_harm(&fleet);
    });
}

#[test]
fn without_the_first_manager_nobody_joins_and_without_another_the_rest_does() {
    let inventory = inventory(3, 1, &all_moments());
    paused(async move {
        let fleet = SimFleet::new(World::fresh(&inventory), Faults::default(), 1);
        fails(&fleet, "m1", "before-join");
        let first = plan(&fleet, &inventory, &Procedure::UP).await;
        let report = apply(&fleet, &first).await;
        assert!(!report.is_done());
        fleet.with(|world| assert!(world.clusters.is_empty(), "no swarm was made"));
        fleet.with(|world| world.failing_hooks.clear());
        fails(&fleet, "m2", "before-join");
        let second = plan(&fleet, &inventory, &Procedure::UP).await;
        apply(&fleet, &second).await;
        fleet.with(|world| {
            let (_, swarm) = world.clusters.first_key_value().unwrap();
            let hosts: BTreeSet<&str> = swarm
                .nodes
                .values()
                .map(|node| node.host.as_str())
                .collect();
            assert_eq!(hosts, BTreeSet::from(["m1", "m3", "w1"]));
        });
    });
}

#[test]
fn of_several_drains_the_one_with_a_no_is_left_out() {
    let inventory = inventory(1, 3, &all_moments());
    paused(async move {
        let fleet = swarm(&inventory).await;
        fails(&fleet, "w1", "before-drain");
        let drain = node(NodeAct::Drain, &["w1", "w2"]);
        let plan = plan(&fleet, &inventory, &drain).await;
        let report = apply(&fleet, &plan).await;
        assert_eq!(
            undone(&report),
            ["w1/node.drain Declined: hook before-drain, here: true"]
        );
        assert_eq!(ran(&fleet, "w2").last().unwrap().1, Some(Drain));
    });
}

#[test]
fn a_saved_plan_has_its_hooks_and_holds_no_more_when_they_change() {
    let one = inventory(1, 1, &all_moments());
    let other = inventory(1, 1, "[[hook]]\nwhen = \"before-join\"\nrun = \"false\"");
    paused(async move {
        let fleet = SimFleet::new(World::fresh(&one), Faults::default(), 1);
        let first = plan(&fleet, &one, &Procedure::UP).await;
        let saved = Saved::new(first.clone(), BTreeSet::new(), jiff::Timestamp::UNIX_EPOCH);
        let text = saved.to_text().unwrap();
        assert!(text.contains("\"SKEP_HOST\": \"w1\""), "{text}");
        let saved = Saved::from_text(&text).unwrap();
        assert_eq!(saved.still_holds(&first), Ok(()));
        let now = plan(&fleet, &other, &Procedure::UP).await;
        assert!(saved.still_holds(&now).is_err());
    });
}
