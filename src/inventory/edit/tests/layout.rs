//! Where comments and tables go in files of every layout.

use super::*;

#[test]
fn keeps_the_ends_of_lines_of_windows() {
    let text = format!("\u{feff}{}", SITE.replace('\n', "\r\n"));
    let after = remove_host(&text, "w10").unwrap();
    assert!(!after.replace("\r\n", "").contains('\n'));
    let plain = after.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    assert_eq!(plain, remove_host(SITE, "w10").unwrap());
    assert!(after.starts_with('\u{feff}'));

    let text = format!("{text}[ssh]\r\njump = \"m1\"\r\n");
    let after = rename_or_replace(&text, "m1", &named("m9")).unwrap();
    assert!(after.ends_with("[ssh]\r\njump = \"m9\"\r\n"), "{after}");
    assert_eq!(hosts(after.trim_start_matches('\u{feff}')).len(), 8);
}

/// Tables of hosts stand apart, and one has tables of its own in an order of their own.
const APART: &str = r#"[[host]]
name = "m1"
address = "192.0.2.1"
role = "manager"
labels = { a = "1" }  # why
# note = 1

# Apart.

# About nfs.
[nfs]

[[host]]
name = "w[1-2]"
address = "192.0.2.[2-3]"
role = "worker"
labels.a = "1"
labels.b = "2"

[host.docker.daemon]
debug = true

[host.vars]
x = 1

[host.docker]
version = "28"

[cluster]
name = "t"
"#;

fn named(name: &str) -> NewHost {
    NewHost {
        name: name.to_owned(),
        ..NewHost::default()
    }
}

#[test]
fn a_new_host_does_not_take_the_tables_of_the_last_one() {
    let after = add_host(APART, &new("w3", "192.0.2.4", Role::Worker)).unwrap();
    insta::assert_snapshot!(diff(APART, &after), @r#"
    +[[host]]
    +name = "w3"
    +address = "192.0.2.4"
    +role = "worker"
    +
    "#);
    let before = hosts(APART);
    assert_eq!(hosts(&after)[..3], before[..]);
}

#[test]
fn each_part_of_a_range_has_all_its_tables() {
    let before = hosts(APART);
    let after = rename_or_replace(APART, "w2", &named("w2")).unwrap();
    insta::assert_snapshot!(diff(APART, &after), @r#"
    -name = "w[1-2]"
    -address = "192.0.2.[2-3]"
    +name = "w1"
    +address = "192.0.2.2"
    +role = "worker"
    +labels.a = "1"
    +labels.b = "2"
    +
    +[host.docker.daemon]
    +debug = true
    +
    +[host.vars]
    +x = 1
    +
    +[host.docker]
    +version = "28"
    +
    +[[host]]
    +name = "w2"
    +address = "192.0.2.3"
    "#);
    assert_eq!(hosts(&after), before);
    let after = remove_host(APART, "w1").unwrap();
    assert_eq!(hosts(&after), [before[0].clone(), before[2].clone()]);
}

#[test]
fn the_first_table_can_go() {
    let text = set_role(APART, "w1", Role::Manager).unwrap();
    let after = remove_host(&text, "m1").unwrap();
    insta::assert_snapshot!(diff(&text, &after), @r#"
    -[[host]]
    -name = "m1"
    -address = "192.0.2.1"
    -role = "manager"
    -labels = { a = "1" }  # why
    -# note = 1
    -
    "#);
    assert_eq!(hosts(&after).len(), 2);
}

#[test]
fn labels_keep_their_form_and_their_comment() {
    let set = labels([("c", "3")]);
    let after = set_labels(APART, "m1", &set, &BTreeSet::new()).unwrap();
    insta::assert_snapshot!(diff(APART, &after), @r#"
    -labels = { a = "1" }  # why
    +labels = { a = "1", c = "3" }  # why
    "#);
    let remove = BTreeSet::from(["a".to_owned()]);
    let after = set_labels(APART, "w2", &set, &remove).unwrap();
    insta::assert_snapshot!(diff(APART, &after), @r#"
    -name = "w[1-2]"
    -address = "192.0.2.[2-3]"
    +name = "w1"
    +address = "192.0.2.2"
    +[[host]]
    +name = "w2"
    +address = "192.0.2.3"
    +role = "worker"
    +labels.b = "2"
    +labels.c = "3"
    +
    +[host.docker.daemon]
    +debug = true
    +
    +[host.vars]
    +x = 1
    +
    +[host.docker]
    +version = "28"
    +
    "#);
    assert_eq!(hosts(&after)[2].labels, labels([("b", "2"), ("c", "3")]));
    let long = APART.replace("{ a = \"1\" }", "{\n  a = \"1\", # one\n  b = \"2\",\n}");
    let after = set_labels(&long, "m1", &set, &remove).unwrap();
    insta::assert_snapshot!(diff(&long, &after), @r#"
    -labels = {
    -  a = "1", # one
    +labels = { # one
    +  c = "3",
    "#);
    assert_eq!(hosts(&after)[0].labels, labels([("b", "2"), ("c", "3")]));
    let long = long.replace("\"2\",\n}", "\"2\"\n}");
    let after = set_labels(&long, "m1", &set, &BTreeSet::new()).unwrap();
    insta::assert_snapshot!(diff(&long, &after), @r#"
    -  b = "2"
    +  b = "2",
    +  c = "3"
    "#);
}
