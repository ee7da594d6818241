use std::collections::BTreeMap;

use super::*;
use crate::inventory::Role;
use crate::status::NodeStatus;

fn node(name: &str, role: Role, leader: bool) -> NodeStatus {
    NodeStatus {
        name: name.into(),
        id: format!("id-of-{name}"),
        role,
        state: "ready".into(),
        availability: Availability::Active,
        leader,
        reachable: (role == Role::Manager).then_some(true),
        address: "10.0.0.1".into(),
        engine: "20.10.24".into(),
        labels: BTreeMap::new(),
    }
}

fn well() -> StatusReport {
    let mut worker = node("w1", Role::Worker, false);
    worker.labels = BTreeMap::from([("function".into(), "production".into())]);
    StatusReport {
        cluster: "dccn".into(),
        swarm: SwarmState::Active,
        managers: Managers::new(3, 3),
        nodes: vec![
            node("m1", Role::Manager, true),
            node("m2", Role::Manager, false),
            node("m3", Role::Manager, false),
            worker,
        ],
        unreachable: Vec::new(),
        evidence: Vec::new(),
        storage: Vec::new(),
        certificates: Vec::new(),
        unlock_key: None,
        drift: Vec::new(),
        stale: Vec::new(),
        warnings: Vec::new(),
    }
}

fn says(host: &str, what: &str) -> HostSays {
    HostSays {
        host: host.into(),
        what: what.into(),
    }
}

fn show(report: &StatusReport) -> String {
    anstream::adapter::strip_str(&report.render(false)).to_string()
}

#[test]
fn a_healthy_swarm() {
    insta::assert_snapshot!(show(&well()));
    assert!(well().is_well());
}

#[test]
fn a_swarm_that_bears_no_more_loss() {
    let mut report = well();
    report.managers = Managers::new(3, 2);
    report.nodes[2].reachable = Some(false);
    report.nodes[2].state = "down".into();
    report.unreachable = vec![says("m3", "connection timed out")];
    report.drift = vec![says("w1", "set the label `function`")];
    report.warnings = vec!["node `m3` is down".into()];
    insta::assert_snapshot!(show(&report));
    assert!(!report.is_well());
}

#[test]
fn a_lost_quorum_is_loud() {
    let mut report = well();
    report.swarm = SwarmState::NoQuorum;
    report.managers = Managers::new(3, 1);
    report.nodes.clear();
    report.unreachable = vec![
        says("m2", "no route to host"),
        says("m3", "no route to host"),
    ];
    report.evidence = vec![says(
        "m1",
        "it is a manager without quorum: the swarm has no leader",
    )];
    insta::assert_snapshot!(show(&report));
}

#[test]
fn no_swarm_yet() {
    let mut report = well();
    report.swarm = SwarmState::Absent;
    report.managers = Managers::default();
    report.nodes.clear();
    insta::assert_snapshot!(show(&report));
}

#[test]
fn the_json_has_what_programs_rely_on() {
    insta::assert_snapshot!(serde_json::to_string_pretty(&well()).unwrap());
}
