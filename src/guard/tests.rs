use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::facts::{HostFacts, Identity, ManagerStatus, Node, SwarmSettings};
use crate::inventory::{Availability, Role};
use crate::known::Known;
use crate::plan::Outlook;
use crate::swarm::{LastSeen, Membership};

fn inventory() -> Inventory {
    let text = "[cluster]\nname = \"one\"\n\
                [[host]]\nname = \"m[1-3]\"\naddress = \"192.0.2.[1-3]\"\nrole = \"manager\"\n";
    crate::inventory::parse(text, Path::new("skep.toml"))
        .0
        .unwrap()
}

/// A swarm of the managers m1, m2, ... of which `reachable` answer; their nodes are n1, n2, ...
fn swarm(total: usize, reachable: usize) -> Up {
    let node = |number: usize| Node {
        id: format!("n{number}"),
        hostname: format!("m{number}"),
        role: Role::Manager,
        availability: Availability::Active,
        state: "ready".to_owned(),
        address: format!("192.0.2.{number}"),
        engine: "20.10.24".to_owned(),
        labels: BTreeMap::new(),
        manager: Some(ManagerStatus {
            leader: number == 1,
            reachable: number <= reachable,
            address: format!("192.0.2.{number}:2377"),
        }),
    };
    let member = |number: usize| {
        let id = format!("n{number}");
        (format!("m{number}"), Membership::Member { id })
    };
    Up {
        cluster_id: "c".to_owned(),
        managers: vec!["m1".to_owned()],
        nodes: (1..=total).map(node).collect(),
        settings: SwarmSettings::default(),
        members: (1..=total).map(member).collect(),
    }
}

fn change(host: &str, step: Step) -> Change {
    Change {
        id: ChangeId::new(host, "it"),
        host: host.to_owned(),
        resource: "it".to_owned(),
        summary: "it".to_owned(),
        diff: Vec::new(),
        steps: vec![step],
        risk: Risk::Safe,
        lane: None,
        needs: BTreeSet::new(),
        follows: BTreeSet::new(),
    }
}

fn restart(host: &str) -> Change {
    change(
        host,
        Step::Service {
            unit: "docker.service".to_owned(),
            action: ServiceAction::Restart,
        },
    )
}

fn init(host: &str) -> Change {
    change(
        host,
        Step::Docker(DockerCall::SwarmInit {
            advertise: "192.0.2.1".to_owned(),
            data_path: None,
            default_addr_pool: Vec::new(),
            subnet_size: None,
            data_path_port: None,
            autolock: false,
            cert_expiry_days: None,
            task_history: None,
        }),
    )
}

fn join(host: &str, role: Role) -> Change {
    change(
        host,
        Step::Docker(DockerCall::SwarmJoin {
            role,
            advertise: "192.0.2.9".to_owned(),
            data_path: None,
            managers: vec!["m1".to_owned()],
            cluster_id: None,
        }),
    )
}

fn refusals(changes: Vec<Change>, seen: &Swarm) -> Vec<String> {
    let hosts = changes
        .iter()
        .map(|change| (change.host.clone(), Outlook::Changes));
    let plan = Plan {
        hosts: hosts.collect(),
        changes,
        ..Plan::default()
    };
    let refusals = check(&plan, &inventory(), &Gathered::new(), seen);
    refusals.into_iter().map(|refusal| refusal.why).collect()
}

#[test]
fn one_swarm_is_made_where_there_is_none_and_never_beside_another() {
    let none: [&str; 0] = [];
    assert_eq!(refusals(vec![init("m1")], &Swarm::None), none);
    assert_eq!(
        refusals(vec![init("m1"), init("m2")], &Swarm::None),
        ["the plan makes 2 new swarms where 1 may be made"]
    );
    let up = Swarm::Up(swarm(3, 3));
    assert_eq!(
        refusals(vec![init("m1")], &up),
        ["the plan makes 1 new swarms where 0 may be made"]
    );
}

#[test]
fn data_is_never_erased() {
    let mut erase = restart("w1");
    erase.risk = Risk::Destructive;
    assert_eq!(
        refusals(vec![erase], &Swarm::None),
        ["`w1/it` would erase data"]
    );
}

#[test]
fn a_manager_joins_where_the_rest_bear_it() {
    let none: [&str; 0] = [];
    let joins = || vec![join("m4", Role::Manager)];
    assert_eq!(refusals(joins(), &Swarm::Up(swarm(3, 3))), none);
    assert_eq!(refusals(joins(), &Swarm::Up(swarm(5, 4))), none);
    assert_eq!(
        refusals(joins(), &Swarm::Up(swarm(3, 2))),
        [
            "managers 3, reachable 2, majority 2: another manager makes the majority 3, and until it has caught up only 2 are there"
        ]
    );
    let worker = vec![join("w1", Role::Worker)];
    assert_eq!(refusals(worker, &Swarm::Up(swarm(3, 2))), none);
}

#[test]
fn a_manager_is_restarted_where_the_others_are_a_majority() {
    let none: [&str; 0] = [];
    let restarts = || vec![restart("m1")];
    assert_eq!(refusals(restarts(), &Swarm::Up(swarm(1, 1))), none);
    assert_eq!(refusals(restarts(), &Swarm::Up(swarm(3, 3))), none);
    assert_eq!(
        refusals(restarts(), &Swarm::Up(swarm(3, 2))),
        ["managers 3, reachable 2, majority 2: restarting this one would leave 1"]
    );
    // One that the others do not reach has no vote to lose.
    let gone = vec![restart("m3")];
    assert_eq!(refusals(gone, &Swarm::Up(swarm(3, 2))), none);
}

#[test]
fn managers_are_restarted_one_after_the_other() {
    let none: [&str; 0] = [];
    let up = Swarm::Up(swarm(3, 3));
    let both = vec![restart("m1"), restart("m2")];
    assert_eq!(
        refusals(both.clone(), &up),
        ["the plan restarts 2 of 3 managers, and not one after the other"]
    );
    let mut chained = both;
    let first = chained[0].id.clone();
    chained[1].needs.insert(first);
    assert_eq!(refusals(chained, &up), none);
}

/// Whatever takes an engine away counts as a restart of it.
#[test]
fn managers_are_upgraded_and_rebooted_one_after_the_other() {
    let upgrade = Step::UpgradeEngine {
        packages: Vec::new(),
        folder: None,
        hold: false,
    };
    let reboot = Step::Reboot {
        boot_id: "a".to_owned(),
    };
    let both = || vec![change("m1", upgrade.clone()), change("m2", reboot.clone())];
    let three = Swarm::Up(swarm(3, 3));
    assert_eq!(
        refusals(both(), &three),
        ["the plan restarts 2 of 3 managers, and not one after the other"]
    );
    let mut chain = both();
    let first = chain[0].id.clone();
    chain[1].needs.insert(first);
    assert_eq!(refusals(chain, &three), [""; 0]);
    assert_eq!(refusals(both(), &Swarm::Up(swarm(3, 2))).len(), 3);
}

#[test]
fn two_hosts_that_are_one_node_are_left_alone() {
    let mut up = swarm(3, 3);
    let id = "n1".to_owned();
    up.members
        .insert("m2".to_owned(), Membership::Member { id });
    assert_eq!(
        refusals(vec![join("m2", Role::Worker)], &Swarm::Up(up)),
        ["it and `m1` both say that they are node n1"]
    );
}

#[test]
fn two_names_for_one_machine_are_refused_and_clones_are_not() {
    let facts = |machine: &str, boot: &str| {
        Ok(HostFacts {
            identity: Known::Value(Identity {
                hostname: "debian".to_owned(),
                machine_id: machine.to_owned(),
                boot_id: boot.to_owned(),
            }),
            ..HostFacts::default()
        })
    };
    let gathered = Gathered::from([
        ("m1".to_owned(), facts("a", "1")),
        ("m2".to_owned(), facts("a", "1")),
        ("m3".to_owned(), facts("a", "2")),
    ]);
    let plan = Plan {
        hosts: BTreeMap::from([("m2".to_owned(), Outlook::Same)]),
        ..Plan::default()
    };
    let refusals = check(&plan, &inventory(), &gathered, &Swarm::None);
    let why: Vec<&str> = refusals.iter().map(|it| it.why.as_str()).collect();
    assert_eq!(why, ["it and `m1` are one machine (machine ID a)"]);
}

fn demote(host: &str) -> Change {
    change(
        host,
        Step::Docker(DockerCall::NodeUpdate {
            managers: vec!["m1".to_owned()],
            id: None,
            role: Some(Role::Worker),
            availability: None,
            labels: BTreeMap::new(),
            unlabel: BTreeSet::new(),
        }),
    )
}

/// Each waits for the one before it.
fn chained(mut changes: Vec<Change>) -> Vec<Change> {
    for place in 1..changes.len() {
        let before = changes[place - 1].id.clone();
        changes[place].needs.insert(before);
    }
    changes
}

fn known(total: usize, reachable: usize) -> Swarm {
    let mut up = swarm(total, reachable);
    up.managers = (1..=reachable).map(|number| format!("m{number}")).collect();
    Swarm::Up(up)
}

#[test]
fn managers_are_demoted_one_after_the_other_and_counted_on_the_way() {
    let none: [&str; 0] = [];
    let two = vec![demote("m3"), demote("m2")];
    assert_eq!(
        refusals(two.clone(), &known(3, 3)),
        ["the plan puts `m3/it` neither before nor after `m2/it`, and both change raft"]
    );
    assert_eq!(refusals(chained(two), &known(3, 3)), none);
    assert_eq!(
        refusals(vec![demote("m2")], &known(3, 2)),
        [
            "managers 3, reachable 2, majority 2: demoting m2 would leave 1 of 2, of which 2 must be there"
        ]
    );
    // The lost one goes, then a living one may.
    let lost_first = chained(vec![demote("m3"), demote("m2")]);
    assert_eq!(refusals(lost_first, &known(3, 2)), none);
    let lost_last = chained(vec![demote("m2"), demote("m3")]);
    assert_eq!(refusals(lost_last, &known(3, 2)).len(), 1);
}

#[test]
fn the_last_manager_that_the_inventory_knows_stays() {
    let up = Swarm::Up(swarm(3, 3));
    assert_eq!(
        refusals(vec![demote("m1")], &up),
        [
            "m1 is the last manager that the inventory knows: without it skep could not reach the swarm any more"
        ]
    );
}

#[test]
fn a_node_is_not_touched_whose_row_bears_another_host_name() {
    let facts = HostFacts {
        identity: Known::Value(Identity {
            hostname: "m3".to_owned(),
            ..Identity::default()
        }),
        ..HostFacts::default()
    };
    let plan = Plan {
        changes: vec![demote("m2")],
        ..Plan::default()
    };
    let gathered = Gathered::from([("m2".to_owned(), Ok(facts))]);
    let why: Vec<String> = check(&plan, &inventory(), &gathered, &known(3, 3))
        .into_iter()
        .map(|refusal| refusal.why)
        .collect();
    assert_eq!(
        why,
        ["it calls itself `m3` and says that it is node n2, which the managers call `m2`"]
    );
}

#[test]
fn a_node_that_the_managers_do_not_list_is_not_touched() {
    let remove = Step::Docker(DockerCall::NodeRemove {
        managers: vec!["m1".to_owned()],
        id: "n9".to_owned(),
        alive: false,
    });
    let tried = Step::Try {
        step: Box::new(remove.clone()),
        until: None,
        least: 0,
    };
    assert_eq!(
        refusals(vec![change("m1", tried)], &known(3, 3)),
        ["`m1/it` is about node n9, which the managers do not list"]
    );
    assert_eq!(
        refusals(vec![change("m1", remove)], &known(3, 3)),
        ["`m1/it` is about node n9, which the managers do not list"]
    );
}

#[test]
fn managers_leave_by_force_only_where_all_leave() {
    let leave = |host: &str| {
        change(
            host,
            Step::Docker(DockerCall::SwarmLeave {
                id: "n1".to_owned(),
                force: true,
            }),
        )
    };
    let facts = || HostFacts {
        swarm: Known::Value(crate::facts::LocalSwarm::default()),
        ..HostFacts::default()
    };
    let gathered = Gathered::from([
        ("m1".to_owned(), Ok(facts())),
        ("m2".to_owned(), Ok(facts())),
    ]);
    let why = |changes: Vec<Change>| {
        let plan = Plan {
            changes,
            ..Plan::default()
        };
        let refusals = check(&plan, &inventory(), &gathered, &known(3, 3));
        refusals
            .into_iter()
            .map(|refusal| refusal.why)
            .collect::<Vec<_>>()
    };
    let none: [&str; 0] = [];
    assert_eq!(why(vec![leave("m1"), leave("m2")]), none);
    assert_eq!(
        why(vec![leave("m1")]),
        ["managers leave by force, and it would stay behind"]
    );
    assert_eq!(
        why(vec![leave("m1"), leave("m2"), join("w1", Role::Worker)]),
        ["managers leave by force, and that is not all that the plan does"]
    );
}

#[test]
fn a_swarm_that_was_seen_before_must_be_proven_gone() {
    let inventory = inventory();
    let last = LastSeen::of(&swarm(3, 3));
    let mut plan = Plan::default();
    let none: Gathered = Gathered::new();
    assert_eq!(forgotten(&plan, &inventory, &none, &last), None);
    plan.changes.push(init("m1"));
    let outside = || {
        Ok(HostFacts {
            swarm: Known::Absent,
            ..HostFacts::default()
        })
    };
    let mut gathered: Gathered = ["m1", "m2"].map(|it| (it.to_owned(), outside())).into();
    gathered.insert("m3".to_owned(), Err("no route to host".to_owned()));
    let refusal = forgotten(&plan, &inventory, &gathered, &last).unwrap();
    let why = "the swarm c of this cluster may live still, and a new one would be a second: of its managers, 3 when it was last seen from here, m3 does not answer";
    assert_eq!(refusal.why, why);
    gathered.insert("m3".to_owned(), outside());
    assert_eq!(forgotten(&plan, &inventory, &gathered, &last), None);
    // One that was renamed is found by its address, and one that was taken out of the file is not.
    let mut edited = inventory.clone();
    edited.hosts[2].name = "x3".to_owned();
    gathered.insert("x3".to_owned(), outside());
    assert_eq!(forgotten(&plan, &edited, &gathered, &last), None);
    edited.hosts.pop();
    let refusal = forgotten(&plan, &edited, &gathered, &last).unwrap();
    assert!(
        refusal
            .why
            .ends_with("m3 is no host of the inventory any more"),
        "{}",
        refusal.why
    );
}
