use super::*;
use crate::facts::{HostFacts, LocalSwarm, ManagerStatus};
use crate::known::Known;

#[test]
fn losses_are_counted_from_those_that_are_reachable() {
    let counted = |total, reachable| {
        let it = Managers::new(total, reachable);
        (it.majority, it.tolerates, it.has_quorum())
    };
    assert_eq!(counted(0, 0), (0, 0, false));
    assert_eq!(counted(1, 1), (1, 0, true));
    assert_eq!(counted(2, 2), (2, 0, true));
    assert_eq!(counted(3, 3), (2, 1, true));
    assert_eq!(counted(3, 2), (2, 0, true));
    assert_eq!(counted(3, 1), (2, 0, false));
    assert_eq!(counted(5, 4), (3, 1, true));
    assert_eq!(counted(7, 7), (4, 3, true));
}

fn inventory() -> Inventory {
    let text = "cluster.name = \"dccn\"\n\
                swarm.default-addr-pool = [\"10.200.0.0/16\"]\n\
                [[host]]\nname = \"m[1-3]\"\naddress = \"192.0.2.[1-3]\"\nrole = \"manager\"\n\
                [[host]]\nname = \"w1\"\naddress = \"192.0.2.4\"\nrole = \"worker\"\n";
    let (inventory, findings) = crate::inventory::parse(text, std::path::Path::new("skep.toml"));
    assert_eq!(findings, []);
    inventory.unwrap()
}

/// A node whose host name is not the inventory's name, as it may well be.
fn node(id: &str, manager: Option<(bool, bool)>) -> Node {
    Node {
        id: id.into(),
        hostname: format!("host-of-{id}"),
        role: if manager.is_some() {
            Role::Manager
        } else {
            Role::Worker
        },
        availability: Availability::Active,
        state: "ready".into(),
        address: "192.0.2.1".into(),
        engine: "20.10.24".into(),
        labels: BTreeMap::new(),
        manager: manager.map(|(leader, reachable)| ManagerStatus {
            leader,
            reachable,
            address: String::new(),
        }),
    }
}

#[test]
fn nodes_are_named_by_the_inventory_and_strangers_are_told() {
    let member = |id: &str| Membership::Member { id: id.into() };
    let mut gone = node("c", Some((false, false)));
    gone.state = "down".into();
    let up = Up {
        cluster_id: "x".into(),
        managers: vec!["m2".into(), "m1".into()],
        nodes: vec![
            node("a", Some((false, true))),
            node("b", Some((true, true))),
            gone,
            node("d", None),
        ],
        settings: crate::facts::SwarmSettings::default(),
        members: BTreeMap::from([
            ("m1".into(), member("a")),
            ("m2".into(), member("b")),
            ("m3".into(), Membership::Unknown("no route to host".into())),
            (
                "w1".into(),
                Membership::Stuck("its swarm state is locked".into()),
            ),
        ]),
    };
    let silent: Gathered = BTreeMap::from([("m3".into(), Err("no route to host".into()))]);
    let report = StatusReport::new(&inventory(), &silent, &Swarm::Up(up), None);
    assert_eq!(report.managers, Managers::new(3, 2));
    let names: Vec<&str> = report.nodes.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["m1", "m2", "host-of-c", "host-of-d"]);
    assert!(report.nodes[1].leader);
    assert_eq!(report.unreachable, [says("m3", "no route to host")]);
    assert_eq!(report.evidence, [says("w1", "its swarm state is locked")]);
    assert_eq!(
        report.warnings,
        [
            "node `host-of-c` is down",
            "no host of the inventory says that it is node c (`host-of-c`)",
            "no host of the inventory says that it is node d (`host-of-d`)",
        ]
    );
    assert!(!report.is_well());
}

#[test]
fn a_manager_without_quorum_counts_those_that_it_knows() {
    let facts = HostFacts {
        swarm: Known::Value(LocalSwarm {
            control: true,
            remote_managers: ["a", "b", "c"].map(|id| (id.into(), String::new())).into(),
            ..LocalSwarm::default()
        }),
        ..HostFacts::default()
    };
    let gathered: Gathered = BTreeMap::from([
        ("m1".into(), Ok(facts)),
        ("m2".into(), Err("no route to host".into())),
        ("m3".into(), Err("no route to host".into())),
    ]);
    let seen = Swarm::Down(Down {
        evidence: vec![
            ("m1".into(), "it is a manager without quorum".into()),
            ("m2".into(), "no route to host".into()),
        ],
        silent: vec!["m2".into(), "m3".into()],
        exists: true,
    });
    let report = StatusReport::new(&inventory(), &gathered, &seen, None);
    assert_eq!(report.swarm, SwarmState::NoQuorum);
    assert_eq!(report.managers, Managers::new(3, 1));
    assert_eq!(
        report.evidence,
        [says("m1", "it is a manager without quorum")]
    );
    assert_eq!(report.unreachable.len(), 2);
}

#[test]
fn silence_is_not_absence() {
    let silent: Gathered = BTreeMap::from([("m1".into(), Err("no route to host".into()))]);
    let seen = Swarm::Down(Down {
        evidence: vec![("m1".into(), "no route to host".into())],
        silent: vec!["m1".into()],
        exists: false,
    });
    let report = StatusReport::new(&inventory(), &silent, &seen, None);
    assert_eq!(report.swarm, SwarmState::Unknown);
    let report = StatusReport::new(&inventory(), &Gathered::new(), &Swarm::None, None);
    assert_eq!(report.swarm, SwarmState::Absent);
}
