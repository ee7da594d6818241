//! Roles, labels and replacements.

use super::*;

#[test]
fn gives_a_host_of_a_range_another_role() {
    let lab = example("lab.toml");
    let after = set_role(lab, "w2", Role::None).unwrap();
    insta::assert_snapshot!(diff(lab, &after), @r#"
    -name = "w[1-2]"
    +name = "w1"
    +
    +[[host]]
    +name = "w2"
    +role = "none"
    "#);
    insta::assert_snapshot!(listed(&after), @r#"
    m1  manager
    m2  manager
    m3  manager
    w1  worker
    w2  none
    "#);
    let after = set_role(SITE, "nas", Role::Worker).unwrap();
    insta::assert_snapshot!(diff(SITE, &after), @r#"
    -role = 'none'
    +role = 'worker'
    "#);
    assert_eq!(set_role(SITE, "nas", Role::None).as_deref(), Ok(SITE));
}

#[test]
fn sets_and_removes_labels_where_they_stand() {
    let none = BTreeSet::new();
    let after = set_labels(SITE, "w08", &labels([("zone", "a b")]), &none).unwrap();
    insta::assert_snapshot!(diff(SITE, &after), @r#"
    -name = "w[08-11]"
    -address = "192.0.2.[28-31]"
    -advertise-address = "198.51.100.[8-11]"
    +name = "w08"
    +address = "192.0.2.28"
    +advertise-address = "198.51.100.8"
    +zone = "a b"
    +name = "w[09-11]"
    +address = "192.0.2.[29-31]"
    +advertise-address = "198.51.100.[9-11]"
    +role = "worker"
    +groups = ["ssd"]
    +
    +[host.labels]
    +function = "production"
    +
    +[host.vars]
    +rack = 3
    +
    +[[host]]
    "#);
    let own = |text: &str, name: &str| {
        let hosts = hosts(text);
        let host = hosts.into_iter().find(|host| host.name == name).unwrap();
        format!("{:?}", host.labels)
    };
    insta::assert_snapshot!(own(&after, "w08"), @r#"{"disk": "ssd", "function": "production", "zone": "a b"}"#);
    insta::assert_snapshot!(own(&after, "w09"), @r#"{"disk": "ssd", "function": "production"}"#);

    let text = example("bare-metal.toml");
    let remove = BTreeSet::from(["function".to_owned()]);
    let after = set_labels(text, "w04", &labels([("zone", "a")]), &remove).unwrap();
    insta::assert_snapshot!(diff(text, &after), @r#"
    -name = "w[01-04]"
    -address = "192.0.2.[21-24]"
    +name = "w[01-03]"
    +address = "192.0.2.[21-23]"
    +name = "w04"
    +address = "192.0.2.24"
    +role = "worker"
    +groups = ["ssd"]
    +labels = { zone = "a" }
    +
    +[[host]]
    "#);
    let after = set_labels(&after, "w04", &labels([("disk.size", "1")]), &none).unwrap();
    insta::assert_snapshot!(own(&after, "w04"), @r#"{"disk": "ssd", "disk.size": "1", "zone": "a"}"#);
    let after = set_labels(text, "w04", &BTreeMap::new(), &remove).unwrap();
    insta::assert_snapshot!(own(&after, "w04"), @r#"{"disk": "ssd"}"#);
    let missing = BTreeSet::from(["disk".to_owned()]);
    insta::assert_snapshot!(said(set_labels(text, "w04", &BTreeMap::new(), &missing)), @"the entry of `w04` has no label `disk` / A label of a group is changed in the group's own table.");
}

#[test]
fn replaces_a_host_and_keeps_its_settings() {
    let host = NewHost {
        name: "w20".to_owned(),
        address: Some("192.0.2.99".to_owned()),
        ..NewHost::default()
    };
    let after = rename_or_replace(SITE, "w11", &host).unwrap();
    let before = hosts(SITE);
    let mut expected = before[6].clone();
    assert_eq!(expected.name, "w11");
    expected.name = "w20".to_owned();
    expected.address = Some("192.0.2.99".to_owned());
    assert_eq!(hosts(&after)[6], expected);
    insta::assert_snapshot!(diff(SITE, &after), @r#"
    -name = "w[08-11]"
    -address = "192.0.2.[28-31]"
    -advertise-address = "198.51.100.[8-11]"
    +name = "w[08-10]"
    +address = "192.0.2.[28-30]"
    +advertise-address = "198.51.100.[8-10]"
    +name = "w20"
    +address = "192.0.2.99"
    +advertise-address = "198.51.100.11"
    +role = "worker"
    +groups = ["ssd"]
    +
    +[host.labels]
    +function = "production"
    +
    +[host.vars]
    +rack = 3
    +
    +[[host]]
    "#);
    let taken = new("m1", "", Role::Worker);
    insta::assert_snapshot!(said(rename_or_replace(SITE, "w11", &taken)), @"there is a host `m1` already / Choose another name, or replace that host.");
    let all = NewHost {
        labels: labels([("a", "b")]),
        ..new("nas", "192.0.2.6", Role::Worker)
    };
    let after = rename_or_replace(SITE, "nas", &all).unwrap();
    insta::assert_snapshot!(diff(SITE, &after), @r#"
    -address = '192.0.2.5'
    -role = 'none'
    +address = '192.0.2.6'
    +role = 'worker'
    +labels = { a = "b" }
    "#);
    assert_eq!(hosts(&after).len(), 8);
}
