use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use super::*;

fn head(remove: bool) -> Head {
    Head {
        cluster: "hive".to_owned(),
        cluster_id: Some("c1".to_owned()),
        made: Timestamp::UNIX_EPOCH,
        by: "me@here".to_owned(),
        last: "m1".to_owned(),
        boot: None,
        nodes: Vec::new(),
        back_before: None,
        autolock: false,
        remove,
    }
}

fn web(replicas: u64) -> Value {
    json!({
        "ID": "s1",
        "Spec": {
            "Name": "shop_web",
            "Labels": { STACK: "shop" },
            "SomethingOfTomorrow": { "Deep": [1, 2] },
            "TaskTemplate": {
                "ContainerSpec": {
                    "Image": "web",
                    "Env": ["PASSWORD=hunter2"],
                    "Secrets": [{ "SecretName": "key", "SecretID": "x" }],
                },
                "Placement": {},
            },
            "Mode": { "Replicated": { "Replicas": replicas } },
        },
    })
}

fn agent() -> Value {
    json!({
        "ID": "s2",
        "Spec": {
            "Name": "agent",
            "TaskTemplate": { "Placement": { "Constraints": ["node.role==worker"] } },
            "Mode": { "Global": {} },
        },
    })
}

fn halted(mut service: Value) -> Value {
    assert!(halt(&mut service["Spec"]));
    assert!(is_halted(&service["Spec"]));
    assert!(!halt(&mut service["Spec"]), "a second time changes nothing");
    service
}

#[test]
fn what_is_put_in_comes_out_again_and_nothing_else() {
    for service in [web(3), agent(), web(1)] {
        let mut found = halted(service.clone());
        assert!(unhalt(&mut found["Spec"]));
        assert_eq!(found, service);
        assert!(!unhalt(&mut found["Spec"]));
    }
    let mut none = web(0);
    assert!(!halt(&mut none["Spec"]), "one with no tasks stays as it is");
    assert_eq!(none, web(0));
    let mut job = json!({ "Name": "job", "Mode": { "ReplicatedJob": {} } });
    assert!(!halt(&mut job));
}

#[test]
fn who_scaled_it_up_by_hand_is_right() {
    let mut by_hand = halted(web(3));
    by_hand["Spec"]["Mode"]["Replicated"]["Replicas"] = 5.into();
    assert!(!is_halted(&by_hand["Spec"]));
    let read = service(&by_hand).unwrap();
    assert_eq!(read.mode, Mode::Replicated(5));
    let again = halted(by_hand);
    assert_eq!(service(&again).unwrap().mode, Mode::Replicated(5));
}

/// The bug that makes a record worthless: the second one tells of a cluster that is half shut down.
#[test]
fn a_second_record_tells_the_same_as_the_first() {
    let first = compose(head(false), Some(&[web(3), agent()]), None);
    let half = [halted(web(3)), agent()];
    let whole = [halted(web(3)), halted(agent())];
    for now in [&half, &whole] {
        let second = compose(head(false), Some(now), Some(&first));
        assert_eq!(second, first);
        // Also without the first one: from another machine, after that manager is lost.
        assert_eq!(compose(head(false), Some(now), None), first);
    }
}

#[test]
fn what_was_removed_is_kept() {
    let first = compose(head(true), Some(&[web(3), agent()]), None);
    let second = compose(head(true), Some(&[agent()]), Some(&first));
    assert_eq!(second, first);
    // A service that an earlier record has and that was not removed by a shutdown is gone.
    let first = compose(head(false), Some(&[web(3), agent()]), None);
    let second = compose(head(true), Some(&[agent()]), Some(&first));
    assert_eq!(second.services.unwrap().len(), 1);
    // One of another swarm says nothing of this.
    let mut other = compose(head(true), Some(&[web(3)]), None);
    other.head.cluster_id = Some("c2".to_owned());
    let second = compose(head(true), Some(&[agent()]), Some(&other));
    assert_eq!(second.services.unwrap().len(), 1);
}

#[test]
fn without_quorum_the_services_of_before_are_kept() {
    let first = compose(head(false), Some(&[web(3)]), None);
    let second = compose(head(false), None, Some(&first));
    assert_eq!(second.services, first.services);
    let mut unknown = head(false);
    unknown.cluster_id = None;
    let second = compose(unknown, None, Some(&first));
    assert_eq!(second, first, "nobody tells the swarm's ID then");
    assert_eq!(compose(head(false), None, None).services, None);
}

#[test]
fn a_service_is_read_with_all_that_the_engine_said() {
    let read = service(&web(3)).unwrap();
    assert_eq!(
        (read.name.as_str(), read.stack.as_deref()),
        ("shop_web", Some("shop"))
    );
    assert_eq!(read.secrets, BTreeSet::from(["key".to_owned()]));
    assert_eq!(read.spec, web(3)["Spec"]);
    assert!(!format!("{read:?}").contains("hunter2"));
}

#[test]
fn the_file_is_whole_and_private() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hive/shutdown.json");
    assert_eq!(load(&path).unwrap(), None);
    let record = compose(head(false), Some(&[web(3), agent()]), None);
    save(&path, &record).unwrap();
    save(&path, &record).unwrap();
    assert_eq!(load(&path).unwrap(), Some(record));
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let entries = std::fs::read_dir(path.parent().unwrap()).unwrap().count();
    assert_eq!(entries, 1, "nothing is left beside it");
}

#[test]
fn a_broken_record_is_told_without_its_text() {
    let text = compose(head(false), Some(&[web(3)]), None).text().unwrap();
    let cut = &text[..text.len() / 2];
    let wrong = text.replace("\"format\": 1", "\"format\": \"hunter2\"");
    for broken in [cut, "", "{}", wrong.as_str()] {
        let error = Record::parse(broken).unwrap_err().to_string();
        assert!(error.contains("line "), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    let newer = text.replace("\"format\": 1", "\"format\": 2");
    assert_eq!(Record::parse(&newer), Err(RecordError::Newer(2)));
}

#[test]
fn a_mark_has_no_service() {
    let record = compose(head(false), Some(&[web(3)]), None);
    let text = record.mark().text().unwrap();
    assert!(!text.contains("shop_web") && !text.contains("hunter2"));
    assert_eq!(Mark::parse(&text).unwrap(), record.mark());
}
