//! Tests of changes to inventories.

use proptest::prelude::*;

use super::*;
use crate::inventory::{EXAMPLES, Host, parse};

fn example(file: &str) -> &'static str {
    EXAMPLES.iter().find(|(name, _)| *name == file).unwrap().1
}

fn hosts(text: &str) -> Vec<Host> {
    let (inventory, found) = parse(text, Path::new("t.toml"));
    inventory
        .unwrap_or_else(|| panic!("{found:#?}\n{text}"))
        .hosts
}

/// `name address role` of each host, in one line each.
fn listed(text: &str) -> String {
    let lines = hosts(text).into_iter().map(|host| {
        let address = host.address.unwrap_or_default();
        format!("{} {address} {}", host.name, word(host.role))
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn new(name: &str, address: &str, role: Role) -> NewHost {
    NewHost {
        name: name.to_owned(),
        address: (!address.is_empty()).then(|| address.to_owned()),
        role: Some(role),
        labels: BTreeMap::new(),
    }
}

fn labels<const N: usize>(labels: [(&str, &str); N]) -> BTreeMap<String, String> {
    labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into()
}

/// The lines that one text has and the other has not.
fn diff(before: &str, after: &str) -> String {
    let diff = similar::TextDiff::from_lines(before, after);
    let lines = diff.iter_all_changes().filter_map(|change| {
        let sign = match change.tag() {
            similar::ChangeTag::Equal => return None,
            similar::ChangeTag::Delete => '-',
            similar::ChangeTag::Insert => '+',
        };
        Some(format!("{sign}{change}"))
    });
    lines.collect()
}

/// The message and the hint.
fn said(result: Result<String, EditError>) -> String {
    let error = result.unwrap_err();
    format!("{} / {}", error.message, error.hint.unwrap_or_default())
}

const SITE: &str = r#"[cluster]
name = "site"

[swarm]
allow-even-managers = true

[group.ssd]
labels = { disk = "ssd" }

# The managers.
[[host]]  # of the first room
name = "m[1-3]"  # three
address = "192.0.2.[11-13]"
# They only manage.
role = "manager"
availability = "drain"

# Detached: about all workers.

# Attached: about these.
[[host]]
name = "w[08-11]"
address = "192.0.2.[28-31]"
advertise-address = "198.51.100.[8-11]"
role = "worker"
groups = ["ssd"]

[host.labels]
# The function.
function = "production"

[host.vars]
rack = 3
# optional = true

[[host]]
name = 'nas'
address = '192.0.2.5'
role = 'none'
ssh.user = "root"
# The end.
"#;

#[test]
fn adds_a_host_after_the_last_one() {
    let mut host = new("w3", "192.0.2.33", Role::Worker);
    host.labels = labels([("disk", "ssd"), ("zone", "a")]);
    let after = add_host(example("bare-metal.toml"), &host).unwrap();
    insta::assert_snapshot!(diff(example("bare-metal.toml"), &after), @"");
    assert!(listed(&after).ends_with("\nw3 192.0.2.33 worker"));
    let after = add_host(example("lab.toml"), &new("w3", "", Role::Worker)).unwrap();
    insta::assert_snapshot!(diff(example("lab.toml"), &after), @"");
    assert!(listed(&after).ends_with("\nw3  worker"));
}

#[test]
fn adds_a_range_of_hosts() {
    let host = new("m[2-3]", "192.0.2.[12-13]", Role::Manager);
    let after = add_host(example("minimal.toml"), &host).unwrap();
    insta::assert_snapshot!(listed(&after), @"");
}

#[test]
fn adds_in_the_style_of_the_file() {
    let indented = "  [cluster]\n  name = \"t\"\n  [[host]]\n    name = \"m1\"\n    address = \"192.0.2.1\"\n    role = \"manager\"\n  [[host]]\n    name = \"w1\"\n    address = \"192.0.2.2\"\n    role = \"worker\"\n    # optional = true\n\n  # About swarm.\n  [swarm]\n";
    let after = add_host(indented, &new("w2", "192.0.2.3", Role::Worker)).unwrap();
    insta::assert_snapshot!(diff(indented, &after), @"");
    assert_eq!(hosts(&after).len(), 3);
    let none = "cluster.name = \"t\"\n\n[nfs]\n# end";
    let after = add_host(none, &new("m1", "192.0.2.3", Role::Manager)).unwrap();
    insta::assert_snapshot!(after, @"");
    assert_eq!(hosts(&after).len(), 1);
}

#[test]
fn refuses_a_new_host_that_cannot_be_one() {
    let add = |host: &NewHost| said(add_host(SITE, host));
    let roleless = NewHost {
        role: None,
        ..new("w1", "192.0.2.1", Role::Worker)
    };
    let all = [
        add(&new("W09", "192.0.2.1", Role::Worker)),
        add(&new("x[1-2]", "192.0.2.1", Role::Worker)),
        add(&new("x[1-", "192.0.2.1", Role::Worker)),
        add(&new("x[1,1]", "192.0.2.[1-2]", Role::Worker)),
        add(&new("under_score", "192.0.2.1", Role::Worker)),
        add(&new("all", "192.0.2.1", Role::Worker)),
        add(&new("x1", "root@192.0.2.1", Role::Worker)),
        add(&roleless),
        said(add_host("a = \n", &new("x1", "", Role::Worker))),
        said(add_host(
            "host = [{ name = \"m1\" }]\n",
            &new("x1", "", Role::Worker),
        )),
        said(add_host(
            "a.b = 1\nc = 2\na.d = 3\n",
            &new("x1", "", Role::Worker),
        )),
    ];
    insta::assert_snapshot!(all.join("\n"), @"");
}

#[test]
fn removes_a_host_with_the_comments_above_it() {
    let bare_metal = example("bare-metal.toml");
    let after = remove_host(bare_metal, "nas").unwrap();
    insta::assert_snapshot!(diff(bare_metal, &after), @"");
    assert_eq!(hosts(&after).len(), 9);
}

#[test]
fn keeps_comments_that_a_blank_line_parts_from_the_host() {
    let mut text = SITE.to_owned();
    for host in ["w08", "w09", "w10", "w11"] {
        text = remove_host(&text, host).unwrap();
    }
    insta::assert_snapshot!(diff(SITE, &text), @"");
    assert_eq!(hosts(&text).len(), 4);
    let after = remove_host(&text, "nas").unwrap();
    insta::assert_snapshot!(diff(&text, &after), @"");
}

#[test]
fn takes_a_host_out_of_a_range() {
    let middle = remove_host(SITE, "w10").unwrap();
    insta::assert_snapshot!(diff(SITE, &middle), @"");
    let before = hosts(SITE);
    let expected: Vec<&Host> = before.iter().filter(|host| host.name != "w10").collect();
    assert_eq!(hosts(&middle).iter().collect::<Vec<_>>(), expected);
    for (host, first) in [("m1", "m[2-3]"), ("m3", "m[1-2]"), ("M2", "m1")] {
        let after = remove_host(SITE, host).unwrap();
        assert!(
            after.contains(&format!("name = \"{first}\"  # three\n")),
            "{after}"
        );
        assert_eq!(hosts(&after).len(), 7);
    }
}

#[test]
fn takes_a_host_out_of_the_shipped_inventories() {
    let bare_metal = example("bare-metal.toml");
    insta::assert_snapshot!(diff(bare_metal, &remove_host(bare_metal, "w03").unwrap()), @"");
    let lab = example("lab.toml");
    insta::assert_snapshot!(diff(lab, &remove_host(lab, "w1").unwrap()), @"");
}

#[test]
fn a_data_path_of_a_group_is_split_with_the_host() {
    let text = "cluster.name = \"t\"\nswarm.allow-even-managers = true\n[group.g]\ndata-path = \"198.51.100.[1-3]\"\n[[host]]\nname = \"m[1-3]\"\naddress = \"192.0.2.[1-3]\"\nrole = \"manager\"\ngroups = [\"g\"]\n";
    let before = hosts(text);
    let after = hosts(&remove_host(text, "m2").unwrap());
    assert_eq!(after, [before[0].clone(), before[2].clone()]);
}

#[test]
fn refuses_to_remove_a_host_that_is_named_elsewhere() {
    let text = format!(
        "{SITE}\n[ssh]\njump = \"m1\"\n\n[[nfs.export]]\nhost = \"nas\"\npath = \"/srv\"\nclients = [\"*\"]\n\n[[nfs.mount]]\nsource = \"nas:/srv\"\ntarget = \"/mnt/a\"\non = \"w[08-09] , m2\"\n"
    );
    assert_eq!(hosts(&text).len(), 8);
    let all = ["m1", "m2", "nas", "w09", "w9"].map(|name| said(remove_host(&text, name)));
    insta::assert_snapshot!(all.join("\n"), @"");
    assert!(remove_host(&text, "w10").is_ok());

    let renamed = |old: &str, name: &str| {
        let host = NewHost {
            name: name.to_owned(),
            ..NewHost::default()
        };
        rename_or_replace(&text, old, &host)
    };
    let mut after = renamed("nas", "store").unwrap();
    insta::assert_snapshot!(diff(&text, &after), @"");
    assert_eq!(hosts(&after).len(), 8);
    after = renamed("m2", "m4").unwrap();
    insta::assert_snapshot!(diff(&text, &after), @"");
    assert_eq!(hosts(&after).len(), 8);
    insta::assert_snapshot!(said(renamed("w09", "w9")), @"");
}

#[test]
fn gives_a_host_of_a_range_another_role() {
    let lab = example("lab.toml");
    let after = set_role(lab, "w2", Role::None).unwrap();
    insta::assert_snapshot!(diff(lab, &after), @"");
    insta::assert_snapshot!(listed(&after), @"");
    let after = set_role(SITE, "nas", Role::Worker).unwrap();
    insta::assert_snapshot!(diff(SITE, &after), @"");
    assert_eq!(set_role(SITE, "nas", Role::None).as_deref(), Ok(SITE));
}

#[test]
fn sets_and_removes_labels_where_they_stand() {
    let none = BTreeSet::new();
    let after = set_labels(SITE, "w08", &labels([("zone", "a b")]), &none).unwrap();
    insta::assert_snapshot!(diff(SITE, &after), @"");
    let own = |text: &str, name: &str| {
        let hosts = hosts(text);
        let host = hosts.into_iter().find(|host| host.name == name).unwrap();
        format!("{:?}", host.labels)
    };
    insta::assert_snapshot!(own(&after, "w08"), @"");
    insta::assert_snapshot!(own(&after, "w09"), @"");

    let text = example("bare-metal.toml");
    let remove = BTreeSet::from(["function".to_owned()]);
    let after = set_labels(text, "w04", &labels([("zone", "a")]), &remove).unwrap();
    insta::assert_snapshot!(diff(text, &after), @"");
    let after = set_labels(&after, "w04", &labels([("disk.size", "1")]), &none).unwrap();
    insta::assert_snapshot!(own(&after, "w04"), @"");
    let after = set_labels(text, "w04", &BTreeMap::new(), &remove).unwrap();
    insta::assert_snapshot!(own(&after, "w04"), @"");
    let missing = BTreeSet::from(["disk".to_owned()]);
    insta::assert_snapshot!(said(set_labels(text, "w04", &BTreeMap::new(), &missing)), @"");
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
    insta::assert_snapshot!(diff(SITE, &after), @"");
    let taken = new("m1", "", Role::Worker);
    insta::assert_snapshot!(said(rename_or_replace(SITE, "w11", &taken)), @"");
    let all = NewHost {
        labels: labels([("a", "b")]),
        ..new("nas", "192.0.2.6", Role::Worker)
    };
    let after = rename_or_replace(SITE, "nas", &all).unwrap();
    insta::assert_snapshot!(diff(SITE, &after), @"");
    assert_eq!(hosts(&after).len(), 8);
}

#[test]
fn says_what_a_change_would_break() {
    let path = Path::new("t.toml");
    let lab = example("lab.toml");
    let check = |after: &str| check(lab, after, path).map(|()| String::new());
    assert!(check(&remove_host(lab, "w1").unwrap()).is_ok());
    insta::assert_snapshot!(said(check(&remove_host(lab, "m2").unwrap())), @"");
}

#[test]
fn keeps_the_ends_of_lines_of_windows() {
    let text = format!("\u{feff}{}", SITE.replace('\n', "\r\n"));
    let after = remove_host(&text, "w10").unwrap();
    assert!(!after.replace("\r\n", "").contains('\n'));
    let plain = after.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    assert_eq!(plain, remove_host(SITE, "w10").unwrap());
    assert!(after.starts_with('\u{feff}'));
}

#[test]
fn words_become_ranges_again() {
    let pieces = |pattern: &str, without: usize| {
        let mut words = range::expand(pattern).unwrap();
        words.remove(without);
        let words = words.iter().map(String::as_str).collect();
        let pieces = super::words::pieces(&[words]);
        pieces.concat().join(" ")
    };
    assert_eq!(pieces("m[1-5]", 2), "m[1-2,4-5]");
    assert_eq!(pieces("w[08-11]x", 0), "w[09-11]x");
    assert_eq!(pieces("w[098-101]", 1), "w[098,100-101]");
    assert_eq!(pieces("10.0.[9-11].1", 3 - 1), "10.0.[9-10].1");
    assert_eq!(pieces("r[1-2]n[1-3]", 1), "r1n[1,3] r2n[1-3]");
    assert_eq!(pieces("fd00::[8-11]", 0), "fd00::[9-11]");
}

/// An entry: its own letter, the numbers in brackets and how many they are.
fn entry() -> impl Strategy<Value = (String, usize)> {
    let numbers = (0_u64..120, 0_usize..8, 0_usize..4);
    let list = prop::collection::vec(numbers, 1..3);
    (list, any::<bool>()).prop_map(|(list, split)| {
        let mut at = 0;
        let mut count = 0;
        let mut items = Vec::new();
        for (skip, more, width) in list {
            let (from, to) = (at + skip, at + skip + more as u64);
            at = to + 1;
            count += more + 1;
            let width = if width == 0 {
                0
            } else {
                width.max(to.to_string().len())
            };
            items.push(format!("{from:0width$}-{to:0width$}"));
        }
        let pattern = format!("[{}]", items.join(","));
        if split {
            (format!("{pattern}x[1-2]"), count * 2)
        } else {
            (pattern, count)
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn removing_a_host_leaves_exactly_the_others(
        entries in prop::collection::vec((entry(), 0..3_usize), 1..6),
        pick in any::<prop::sample::Index>(),
        change in any::<prop::sample::Index>(),
    ) {
        let mut text = "# Top.\n\ncluster.name = \"t\"\nswarm.allow-even-managers = true\n\n[[host]]\nname = \"keeper\"\naddress = \"192.0.2.1\"\nrole = \"manager\"\n".to_owned();
        let mut names = Vec::new();
        for (index, ((pattern, count), role)) in entries.iter().enumerate() {
            let role = ["manager", "worker", "none"][*role];
            let name = format!("h{index}-{pattern}");
            names.extend(range::expand(&name).unwrap());
            let address = format!("10.{index}.0.[{}-{}]", 3, 2 + count);
            text.push_str(&format!(
                "\n# About {index}.\n[[host]]\nname = \"{name}\" # name\naddress = \"{address}\"\nrole = \"{role}\"\nvars.of = {index}\n"
            ));
        }
        let gone = &names[pick.index(names.len())];
        let before = hosts(&text);
        let after = remove_host(&text, gone).unwrap();
        let expected: Vec<&Host> = before.iter().filter(|host| host.name != *gone).collect();
        let left = hosts(&after);
        prop_assert_eq!(left.iter().collect::<Vec<_>>(), expected);

        let changed = &names[change.index(names.len())];
        let mut expected = before.clone();
        for host in expected.iter_mut().filter(|host| host.name == *changed) {
            host.role = Role::None;
        }
        let after = set_role(&text, changed, Role::None).unwrap();
        prop_assert_eq!(hosts(&after), expected);
    }

    #[test]
    fn never_panics(text in "(\\[\\[host\\]\\]\n|name = \"[a-c\\[\\]0-9-]{0,5}\"\n|# x\n|\n|\\[nfs\\]\n|role = \"none\"\n){0,9}") {
        let _ = add_host(&text, &new("x1", "192.0.2.1", Role::Worker));
        let _ = remove_host(&text, "a1");
        let _ = set_role(&text, "a", Role::None);
    }
}
