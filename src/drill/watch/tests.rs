use super::*;

fn hosts(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn observer() -> Observer {
    Observer::new(hosts(&["m2", "m1"]), &hosts(&["m1", "m2", "w1"]), 2)
}

/// `m1*` leads, `-w1` is down, `?w1` is unknown.
fn orders(nodes: &[&str], tasks: usize) -> Answer {
    let node = |text: &&str| {
        let name = text.trim_matches(['*', '-', '?']);
        NodeSeen {
            host: name.to_owned(),
            ready: !text.starts_with(['-', '?']),
            down: text.starts_with('-'),
            leader: text.ends_with('*'),
        }
    };
    Answer::Orders {
        nodes: nodes.iter().map(node).collect(),
        tasks: Some(tasks),
    }
}

fn manager(it: &mut Observer, at: u64, host: &str, answer: Answer) {
    let host = host.to_owned();
    it.see(at, Seen::Manager { host, answer });
}

fn request(it: &mut Observer, at: u64, ok: bool) {
    let host = "w1".to_owned();
    it.see(at, Seen::Request { host, ok });
}

#[test]
fn only_what_changes_is_an_event() {
    let mut it = observer();
    manager(&mut it, 10, "m1", orders(&["m1*", "m2", "w1"], 2));
    let first = it.events().len();
    // The voice of m1, the leader, three nodes, the tasks.
    assert_eq!(first, 6);
    manager(&mut it, 500, "m1", orders(&["m1*", "m2", "w1"], 2));
    assert_eq!(it.events().len(), first);
    manager(&mut it, 900, "m1", orders(&["m1*", "m2", "-w1"], 2));
    let down = What::Node {
        host: "w1".to_owned(),
        state: NodeState::Down,
    };
    assert_eq!(
        it.events()[first..],
        [Event {
            at: 900,
            what: down
        }]
    );
    assert!(it.has(&Until::Down(BTreeSet::from(["w1".to_owned()])), 900, 0));
}

#[test]
fn the_word_of_the_side_with_the_majority_counts() {
    let mut it = observer();
    manager(&mut it, 0, "m1", orders(&["m1*", "m2", "w1"], 2));
    manager(&mut it, 1, "m2", orders(&["-m1", "m2*", "w1"], 2));
    manager(&mut it, 2, "m1", orders(&["m1*", "-m2", "w1"], 2));
    let not = BTreeSet::from(["m1".to_owned()]);
    assert!(it.has(&Until::Leader { not: not.clone() }, 2, 0));
    assert!(!it.has(&Until::Mute(not.clone()), 2, 0));
    manager(&mut it, 3, "m1", Answer::NoOrders);
    assert!(it.has(&Until::Mute(not), 3, 0));
    assert!(!it.has(&Until::NoOrders, 3, 0));
}

#[test]
fn without_a_manager_that_takes_orders_nothing_is_known() {
    let mut it = observer();
    manager(&mut it, 0, "m1", orders(&["m1*", "m2", "w1"], 2));
    manager(&mut it, 1, "m2", Answer::Silent);
    manager(&mut it, 2, "m1", Answer::NoOrders);
    assert!(it.has(&Until::NoOrders, 2, 0));
    assert_eq!(it.away().len(), 3);
    let last = it.events().last().unwrap();
    assert_eq!(last.what, What::Tasks { running: None });
    assert_eq!(it.unwell().len(), 6, "{:?}", it.unwell());
}

#[test]
fn an_answer_that_is_old_does_not_count() {
    let mut it = observer();
    manager(&mut it, 0, "m2", orders(&["m1", "m2*", "w1"], 2));
    manager(&mut it, FRESH + 1, "m1", orders(&["m1*", "m2", "w1"], 2));
    assert!(it.has(
        &Until::Leader {
            not: BTreeSet::from(["m2".to_owned()])
        },
        FRESH + 1,
        0
    ));
}

#[test]
fn a_node_that_joined_anew_is_ready_beside_its_former_self() {
    let mut it = observer();
    manager(&mut it, 0, "m1", orders(&["m1*", "m2", "-w1", "w1"], 2));
    assert!(it.away().is_empty());
}

#[test]
fn requests_are_answered_when_none_failed_for_a_while() {
    let mut it = observer();
    let has = |it: &Observer, now| it.has(&Until::Answering(2), now, 0);
    assert!(!has(&it, 10_000));
    request(&mut it, 0, true);
    request(&mut it, 1_000, false);
    request(&mut it, 1_500, true);
    assert!(!has(&it, 2_900));
    request(&mut it, 3_000, true);
    assert!(has(&it, 3_000));
    // Nobody asked any more.
    assert!(!has(&it, 9_000));
}

#[test]
fn all_is_well_when_everything_is() {
    let mut it = observer();
    for host in ["m1", "m2"] {
        manager(&mut it, 0, host, orders(&["m1*", "m2", "w1"], 2));
    }
    assert!(!it.has(&Until::Well, 0, 0));
    request(&mut it, 100, true);
    request(&mut it, 2_200, true);
    assert!(it.has(&Until::Well, 2_300, 0));
    manager(&mut it, 2_400, "m1", orders(&["m1*", "m2", "w1"], 1));
    manager(&mut it, 2_400, "m2", orders(&["m1*", "m2", "w1"], 1));
    assert!(!it.has(&Until::Well, 2_500, 0));
}
