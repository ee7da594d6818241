use super::*;

fn scene(managers: usize, workers: usize) -> Scene {
    let names = |letter: char, count| (1..=count).map(move |n| format!("{letter}{n}"));
    let all = names('m', managers).chain(names('w', workers));
    let address = |(place, name)| (name, Ipv4Addr::new(198, 18, 0, place));
    Scene {
        cluster: "hive".to_owned(),
        managers: names('m', managers).collect(),
        workers: names('w', workers).collect(),
        others: vec!["nas".to_owned()],
        servers: Vec::new(),
        leader: "m2".to_owned(),
        addresses: (1..).zip(all).map(address).collect(),
        tasks: BTreeMap::from([("w2".to_owned(), 2), ("w1".to_owned(), 1)]),
    }
}

fn acts(drill: Drill, scene: &Scene) -> Vec<String> {
    let script = Script::new(drill, scene).unwrap();
    let changes = script.plan.changes.iter();
    changes
        .map(|it| format!("{}: {}", it.host, it.steps[0]))
        .collect()
}

#[test]
fn the_file_server_alone_loses_its_power() {
    let mut scene = scene(1, 1);
    assert!(Script::new(Drill::FileServer, &scene).is_err());
    scene.servers = vec!["nas".to_owned()];
    let off = "pull the plug of the host in the lab";
    assert_eq!(acts(Drill::FileServer, &scene), [format!("nas: {off}")]);
    assert!(Script::new(Drill::FileServer, &scene).unwrap().comes_back());
}

#[test]
fn the_leader_and_the_busiest_workers_are_taken() {
    let scene = scene(3, 3);
    let off = "pull the plug of the host in the lab";
    assert_eq!(acts(Drill::OneManager, &scene), [format!("m2: {off}")]);
    assert_eq!(acts(Drill::OneWorker, &scene), [format!("w2: {off}")]);
    let two = [format!("w2: {off}"), format!("w1: {off}")];
    assert_eq!(acts(Drill::TwoWorkers, &scene), two);
    assert_eq!(acts(Drill::PowerCut, &scene).len(), 7);
}

#[test]
fn two_managers_take_the_quorum_with_them_and_one_is_left() {
    let script = Script::new(Drill::TwoManagers, &scene(3, 1)).unwrap();
    assert_eq!(script.victims, ["m2", "m1"]);
    assert_eq!(script.lost, script.victims.iter().cloned().collect());
    assert_eq!(script.voices, ["m3", "m1", "m2"]);
    assert!(
        script
            .plan
            .changes
            .iter()
            .all(|it| it.risk == Risk::Destructive)
    );
    assert_eq!(script.waits[0].until, Until::NoOrders);
}

#[test]
fn a_split_leaves_the_majority_together() {
    let scene = scene(5, 3);
    let script = Script::new(Drill::Split, &scene).unwrap();
    // Two of five managers, the leader with them, and one of three workers.
    assert_eq!(script.victims, ["m2", "m1", "w2"]);
    assert_eq!(script.voices[..3], ["m3", "m4", "m5"]);
    for change in &script.plan.changes {
        let Step::Lab(LabCall::Part { from }) = &change.steps[0] else {
            panic!("{change:?}");
        };
        assert_eq!(from.len(), 5);
        let victims = script.victims.iter().map(|name| scene.addresses[name]);
        assert!(victims.into_iter().all(|address| !from.contains(&address)));
    }
}

#[test]
fn a_cluster_that_is_too_small_is_refused() {
    let why = Script::new(Drill::TwoWorkers, &scene(3, 1)).unwrap_err();
    assert!(why.contains("2+ workers"), "{why}");
    let mut unknown = scene(3, 2);
    unknown.addresses.clear();
    assert!(Script::new(Drill::Split, &unknown).is_err());
}
