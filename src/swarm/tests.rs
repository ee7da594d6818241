use std::path::Path;

use super::*;
use crate::facts::{Engine, Leftovers, ManagerStatus};
use crate::inventory::Availability;

fn inventory() -> Inventory {
    let text = "[cluster]\nname = \"one\"\n\
                [[host]]\nname = \"m[1-3]\"\naddress = \"192.0.2.[1-3]\"\nrole = \"manager\"\n\
                [[host]]\nname = \"w1\"\naddress = \"192.0.2.4\"\nrole = \"worker\"\n\
                [[host]]\nname = \"nas\"\naddress = \"192.0.2.5\"\nrole = \"none\"\n";
    crate::inventory::parse(text, Path::new("skep.toml"))
        .0
        .unwrap()
}

fn node(id: &str) -> Node {
    Node {
        id: id.to_owned(),
        hostname: "debian".to_owned(),
        role: Role::Manager,
        availability: Availability::Active,
        state: "ready".to_owned(),
        address: "192.0.2.1".to_owned(),
        engine: "20.10.24".to_owned(),
        labels: BTreeMap::new(),
        manager: Some(ManagerStatus {
            leader: true,
            reachable: true,
            address: "192.0.2.1:2377".to_owned(),
        }),
    }
}

fn outside() -> HostFacts {
    HostFacts {
        engine: Known::Value(Engine {
            version: Some("20.10.24".to_owned()),
            ..Engine::default()
        }),
        swarm: Known::Absent,
        nodes: Known::Absent,
        leftovers: Known::Value(Leftovers::default()),
        ..HostFacts::default()
    }
}

/// A host that says of itself that it is node `id`, in `state`.
fn says(id: &str, state: &str) -> HostFacts {
    HostFacts {
        swarm: Known::Value(LocalSwarm {
            node_id: id.to_owned(),
            state: state.to_owned(),
            ..LocalSwarm::default()
        }),
        ..outside()
    }
}

/// A manager with quorum that is node `id` of `cluster`.
fn manager(cluster: &str, id: &str) -> HostFacts {
    HostFacts {
        swarm: Known::Value(LocalSwarm {
            node_id: id.to_owned(),
            state: "active".to_owned(),
            control: true,
            managers: 1,
            cluster_id: Some(cluster.to_owned()),
            ..LocalSwarm::default()
        }),
        nodes: Known::Value(vec![node("z"), node(id)]),
        ..outside()
    }
}

/// All hosts in no swarm, but for those of `others`.
fn gathered(others: Vec<(&str, Result<HostFacts, String>)>) -> Gathered {
    let mut gathered: Gathered = ["m1", "m2", "m3", "w1"]
        .into_iter()
        .map(|host| (host.to_owned(), Ok(outside())))
        .collect();
    // A host without a role is not asked about swarms.
    gathered.insert("nas".to_owned(), Ok(HostFacts::default()));
    gathered.extend(others.into_iter().map(|(host, it)| (host.to_owned(), it)));
    gathered
}

fn see(others: Vec<(&str, Result<HostFacts, String>)>) -> Swarm {
    Swarm::see(&inventory(), &gathered(others))
}

fn down(swarm: Swarm) -> Down {
    match swarm {
        Swarm::Down(down) => down,
        other => panic!("{other:?}"),
    }
}

fn up(swarm: Swarm) -> Up {
    match swarm {
        Swarm::Up(up) => up,
        other => panic!("{other:?}"),
    }
}

#[test]
fn there_is_no_swarm_where_every_host_says_so() {
    assert_eq!(see(vec![]), Swarm::None);
    let silent = || Err("no route to host".to_owned());
    assert_eq!(see(vec![("w1", silent()), ("nas", silent())]), Swarm::None);
}

#[test]
fn a_silent_manager_may_hold_one() {
    let silent = down(see(vec![("m2", Err("no route to host".to_owned()))]));
    assert_eq!(
        (silent.silent, silent.exists),
        (vec!["m2".to_owned()], false)
    );

    let mut without = gathered(vec![]);
    without.remove("m3");
    let unasked = down(Swarm::see(&inventory(), &without));
    assert_eq!(unasked.silent, ["m3"]);
}

#[test]
fn state_on_the_disk_of_an_engine_that_does_not_run_may_be_one() {
    let stopped = HostFacts {
        engine: Known::Absent,
        leftovers: Known::Value(Leftovers {
            data_root: "/srv/docker".to_owned(),
            data: true,
            swarm: true,
            joined_at: None,
        }),
        ..outside()
    };
    let stopped = down(see(vec![("w1", Ok(stopped))]));
    assert_eq!(
        (stopped.silent, stopped.exists),
        (vec!["w1".to_owned()], false)
    );
    assert!(stopped.evidence[0].1.contains("`/srv/docker/swarm`"));
}

#[test]
fn a_manager_without_quorum_gives_no_orders() {
    for break_it in [
        |local: &mut LocalSwarm| local.managers = 0,
        |local: &mut LocalSwarm| local.error = "no leader".to_owned(),
        |local: &mut LocalSwarm| local.state = "locked".to_owned(),
    ] {
        let mut facts = manager("c", "a");
        if let Known::Value(local) = &mut facts.swarm {
            break_it(local);
        }
        assert!(down(see(vec![("m1", Ok(facts))])).exists);
    }
    let mut mute = manager("c", "a");
    mute.nodes = Known::Unknown("no answer within its deadline".to_owned());
    assert!(down(see(vec![("m1", Ok(mute))])).exists);
}

#[test]
fn a_worker_knows_that_there_is_one() {
    let told = down(see(vec![("w1", Ok(says("b", "active")))]));
    assert!(told.exists);
    assert!(told.evidence[0].1.contains("it is a worker of a swarm"));
}

#[test]
fn managers_of_two_swarms_are_told_apart() {
    let split = see(vec![
        ("m1", Ok(manager("c", "a"))),
        ("m2", Ok(manager("d", "b"))),
    ]);
    let Swarm::Split { clusters } = split else {
        panic!("{split:?}");
    };
    assert_eq!(clusters.len(), 2);
}

#[test]
fn membership_is_by_node_id_alone() {
    let up = up(see(vec![
        ("m1", Ok(manager("c", "a"))),
        ("m2", Ok(says("z", "active"))),
        ("m3", Ok(says("stranger", "active"))),
        ("w1", Ok(says("", "pending"))),
    ]));
    assert_eq!(up.managers, ["m1"]);
    assert_eq!(up.node_of("m1").map(|node| node.id.as_str()), Some("a"));
    assert_eq!(up.node_of("m2").map(|node| node.id.as_str()), Some("z"));
    assert!(matches!(up.members["m3"], Membership::Foreign { .. }));
    assert_eq!(up.members["w1"], Membership::Joining);
    assert_eq!(up.members.get("nas"), None);
    assert_eq!(up.nodes_of_nobody().count(), 0);
    assert_eq!(up.raft(), (2, 2));
    assert!(up.is_managed_at(&["192.0.2.1:2377".to_owned()]));
}

#[test]
fn a_host_that_needs_a_person_is_stuck() {
    let up = up(see(vec![
        ("m1", Ok(manager("c", "a"))),
        ("m2", Ok(says("", "locked"))),
        ("m3", Ok(says("gone", "error"))),
        ("w1", Err("no route to host".to_owned())),
    ]));
    assert_eq!(up.members["m2"], Membership::Locked);
    assert!(matches!(&up.members["m3"], Membership::Stuck(why) if why.contains("in error")));
    assert!(matches!(&up.members["w1"], Membership::Unknown(_)));
}

/// A node that was removed while it was away comes back with its old state; it waits for ever, and
/// nobody waits for it.
#[test]
fn a_former_node_that_comes_back_is_of_another_swarm() {
    let mut former = says("gone", "pending");
    if let Known::Value(swarm) = &mut former.swarm {
        swarm.control = true;
    }
    let up = up(see(vec![
        ("m1", Ok(manager("c", "a"))),
        ("m2", Ok(former)),
        ("w1", Ok(says("forgotten", "pending"))),
    ]));
    assert!(matches!(up.members["m2"], Membership::Foreign { .. }));
    assert!(matches!(up.members["w1"], Membership::Foreign { .. }));
}
