use super::*;
use crate::drill::watch::Event;

/// The record of `one-manager` on three managers and two workers, as it was seen on a real lab.
pub(crate) fn one_manager() -> Record {
    let node = |host: &str, state| What::Node {
        host: host.to_owned(),
        state,
    };
    let manager = |host: &str, voice| What::Manager {
        host: host.to_owned(),
        voice,
    };
    let leader = |host: Option<&str>| What::Leader {
        host: host.map(str::to_owned),
    };
    let tasks = |running| What::Tasks { running };
    let did = |what: &str, millis| What::Did {
        what: what.to_owned(),
        millis,
    };
    let request = |host: &str, ok| What::Request {
        host: host.to_owned(),
        ok,
    };
    let mut all = vec![
        (0, What::Stage(Stage::Before)),
        (0, leader(Some("m1"))),
        (0, tasks(Some(5))),
    ];
    for host in ["m1", "m2", "m3"] {
        all.push((0, manager(host, Voice::Orders)));
    }
    for host in ["m1", "m2", "m3", "w1", "w2"] {
        all.push((0, node(host, NodeState::Ready)));
    }
    all.extend([
        (3_000, What::Stage(Stage::Broken)),
        (3_000, did("m1: pulled the plug", 310)),
        (3_900, manager("m1", Voice::Silent)),
        (5_200, leader(None)),
        (5_200, tasks(None)),
        (17_400, leader(Some("m2"))),
        (17_400, tasks(Some(5))),
        (31_000, node("m1", NodeState::Down)),
        (31_500, tasks(Some(4))),
        (34_000, tasks(Some(5))),
        (40_000, What::Stage(Stage::Healing)),
        (40_000, did("switched m1 on", 4_200)),
        (52_000, manager("m1", Voice::Orders)),
        (53_000, node("m1", NodeState::Ready)),
        (60_000, What::Stage(Stage::Proof)),
        (62_500, What::Stage(Stage::Over)),
    ]);
    for at in 0..248_u64 {
        let host = ["m1", "m2", "m3", "w1", "w2"][usize::try_from(at % 5).unwrap()];
        let at = at * 250;
        let ok = host != "m1" || !(3_100..31_000).contains(&at);
        all.push((at, request(host, ok)));
    }
    all.sort_by_key(|(at, _)| *at);
    let host = |name: &str| {
        let manager = name.starts_with('m');
        (
            name.to_owned(),
            if manager { Role::Manager } else { Role::Worker },
        )
    };
    Record {
        drill: Drill::OneManager,
        began: "2026-11-21T20:12:00Z".parse().unwrap(),
        hosts: ["m1", "m2", "m3", "w1", "w2"].map(host).to_vec(),
        victims: vec!["m1".to_owned()],
        tasks: 5,
        events: all
            .into_iter()
            .map(|(at, what)| Event { at, what })
            .collect(),
        missed: Vec::new(),
        ending: Ending::Healed,
    }
}

fn told(found: &[Finding]) -> Vec<String> {
    let line = |it: &Finding| format!("{} {}", seconds(it.after.unwrap()), it.what);
    found.iter().map(line).collect()
}

#[test]
fn what_the_cluster_did_is_told_from_the_failure_on() {
    assert_eq!(
        told(&by_itself(&one_manager())),
        [
            "0.9 s m1 did not answer any more",
            "2.2 s no manager told of a leader",
            "14.4 s m2 led",
            "28.0 s m1 was seen down",
            "28.5 s the managers counted 4 of 5 tasks of the probe",
            "31.0 s all 5 tasks of the probe ran elsewhere",
        ]
    );
}

#[test]
fn what_came_of_the_healing_is_told_from_its_beginning_on() {
    assert_eq!(
        told(&healed(&one_manager())),
        [
            "13.0 s m1 was ready for good",
            "20.0 s all nodes ready, all tasks running, every request answered",
            "22.5 s a second plan was empty",
        ]
    );
    let failed = Record {
        ending: Ending::Failed("it burns".to_owned()),
        ..one_manager()
    };
    assert_eq!(healed(&failed).len(), 2);
}

#[test]
fn requests_that_fail_in_turn_are_one_outage() {
    let count = requests(&one_manager());
    assert_eq!((count.sent, count.failed), (248, 22));
    // From the first to the last of every fifth one that failed.
    assert_eq!(count.longest, 26_250);
    assert_eq!(failed_by_host(&one_manager()), BTreeMap::from([("m1", 22)]));
}

#[test]
fn a_record_of_nothing_has_nothing_to_tell() {
    let record = Record {
        events: Vec::new(),
        ..one_manager()
    };
    assert_eq!(record.length(), 0);
    assert!(by_itself(&record).is_empty() && healed(&record).is_empty());
    assert_eq!(requests(&record), RequestCount::default());
}

#[test]
fn times_read_well() {
    assert_eq!(seconds(0), "0.0 s");
    assert_eq!(seconds(3_249), "3.2 s");
    assert_eq!(seconds(99_960), "1 min 40 s");
    assert_eq!(seconds(125_400), "2 min 5 s");
}
