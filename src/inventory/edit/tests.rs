//! Tests of changes to inventories.

mod change;
mod layout;
mod random;

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
    insta::assert_snapshot!(diff(example("bare-metal.toml"), &after), @r#"
    +
    +[[host]]
    +name = "w3"
    +address = "192.0.2.33"
    +role = "worker"
    +labels = { disk = "ssd", zone = "a" }
    "#);
    assert!(listed(&after).ends_with("\nw3 192.0.2.33 worker"));
    let after = add_host(example("lab.toml"), &new("w3", "", Role::Worker)).unwrap();
    insta::assert_snapshot!(diff(example("lab.toml"), &after), @r#"
    +
    +[[host]]
    +name = "w3"
    +role = "worker"
    "#);
    assert!(listed(&after).ends_with("\nw3  worker"));
}

#[test]
fn adds_a_range_of_hosts() {
    let host = new("m[2-3]", "192.0.2.[12-13]", Role::Manager);
    let after = add_host(example("minimal.toml"), &host).unwrap();
    insta::assert_snapshot!(listed(&after), @r#"
    m1 192.0.2.10 manager
    m2 192.0.2.12 manager
    m3 192.0.2.13 manager
    "#);
}

#[test]
fn adds_in_the_style_of_the_file() {
    let indented = "  [cluster]\n  name = \"t\"\n  [[host]]\n    name = \"m1\"\n    address = \"192.0.2.1\"\n    role = \"manager\"\n  [[host]]\n    name = \"w1\"\n    address = \"192.0.2.2\"\n    role = \"worker\"\n    # optional = true\n\n  # About swarm.\n  [swarm]\n";
    let after = add_host(indented, &new("w2", "192.0.2.3", Role::Worker)).unwrap();
    insta::assert_snapshot!(diff(indented, &after), @r#"
    +  [[host]]
    +    name = "w2"
    +    address = "192.0.2.3"
    +    role = "worker"
    "#);
    assert_eq!(hosts(&after).len(), 3);
    let none = "cluster.name = \"t\"\n\n[nfs]\n# end";
    let after = add_host(none, &new("m1", "192.0.2.3", Role::Manager)).unwrap();
    insta::assert_snapshot!(after, @r#"
    cluster.name = "t"

    [nfs]
    # end

    [[host]]
    name = "m1"
    address = "192.0.2.3"
    role = "manager"
    "#);
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
    insta::assert_snapshot!(all.join("\n"), @r#"
    there is a host `w09` already / Choose another name, or replace that host.
    `x[1-2]` and its address are not of the same number: 2 and 1 / Give both ranges the same length.
    bad range in `x[1-`: `[` is never closed / Write it like `m[1-3]`, `w[01-20]` or `n[1,3,5-7]`.
    `x[1,1]` has a name twice / Write each number once, such as `m[1-3]`.
    `under_score` cannot be a host's name: `_` is not allowed / A host name has letters, digits and hyphens, in parts of 1 to 63 separated by dots (RFC 1123).
    `all` cannot be a host's name: selectors use this word / Choose another name.
    `root@192.0.2.1` cannot be an address: has a user / Put the user into `ssh = { user = "..." }`.
    `w1` has no role / Say whether it is a manager, a worker or outside the swarm.
    the inventory is not TOML / See where with `skep check`.
    the hosts are not written as tables `[[host]]` / Write each host as a table of its own, or change it by hand.
    the inventory is written in a way that cannot be edited / Change it by hand, or write keys with dots, such as `a.b` and `a.c`, side by side.
    "#);
}

#[test]
fn removes_a_host_with_the_comments_above_it() {
    let bare_metal = example("bare-metal.toml");
    let after = remove_host(bare_metal, "nas").unwrap();
    insta::assert_snapshot!(diff(bare_metal, &after), @r#"
    -
    -# A host outside the swarm.
    -[[host]]
    -name = "nas"
    -address = "192.0.2.5"
    -role = "none"
    "#);
    assert_eq!(hosts(&after).len(), 9);
}

#[test]
fn keeps_comments_that_a_blank_line_parts_from_the_host() {
    let mut text = SITE.to_owned();
    for host in ["w08", "w09", "w10", "w11"] {
        text = remove_host(&text, host).unwrap();
    }
    insta::assert_snapshot!(diff(SITE, &text), @r#"
    -# Attached: about these.
    -[[host]]
    -name = "w[08-11]"
    -address = "192.0.2.[28-31]"
    -advertise-address = "198.51.100.[8-11]"
    -role = "worker"
    -groups = ["ssd"]
    -
    -[host.labels]
    -# The function.
    -function = "production"
    -
    -[host.vars]
    -rack = 3
    -# optional = true
    -
    "#);
    assert_eq!(hosts(&text).len(), 4);
    let after = remove_host(&text, "nas").unwrap();
    insta::assert_snapshot!(diff(&text, &after), @r#"
    -
    -[[host]]
    -name = 'nas'
    -address = '192.0.2.5'
    -role = 'none'
    -ssh.user = "root"
    -# The end.
    "#);
}

#[test]
fn takes_a_host_out_of_a_range() {
    let middle = remove_host(SITE, "w10").unwrap();
    insta::assert_snapshot!(diff(SITE, &middle), @r#"
    -name = "w[08-11]"
    -address = "192.0.2.[28-31]"
    -advertise-address = "198.51.100.[8-11]"
    +name = "w[08-09]"
    +address = "192.0.2.[28-29]"
    +advertise-address = "198.51.100.[8-9]"
    +name = "w11"
    +address = "192.0.2.31"
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
    insta::assert_snapshot!(diff(bare_metal, &remove_host(bare_metal, "w03").unwrap()), @r#"
    -name = "w[01-04]"
    -address = "192.0.2.[21-24]"
    +name = "w[01-02]"
    +address = "192.0.2.[21-22]"
    +role = "worker"
    +groups = ["ssd"]
    +labels = { function = "production" }
    +
    +[[host]]
    +name = "w04"
    +address = "192.0.2.24"
    "#);
    let lab = example("lab.toml");
    insta::assert_snapshot!(diff(lab, &remove_host(lab, "w1").unwrap()), @r#"
    -name = "w[1-2]"
    +name = "w2"
    "#);
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
        "{SITE}\n[ssh]\njump = \"m1\"\n\n[[nfs.export]]\nhost = \"nas\"\npath = \"/srv\"\nclients = [\"*\"]\n\n[[nfs.mount]]\nsource = \"nas:/srv\"\ntarget = \"/mnt/a\"\non = \"w[08-09] , m2\"\n\n[[hook]]\nwhen = \"before-drain\"\non = \"m2\"\nrun = \"true\"\n"
    );
    assert_eq!(hosts(&text).len(), 8);
    let all = ["m1", "m2", "nas", "w09", "w9"].map(|name| said(remove_host(&text, name)));
    insta::assert_snapshot!(all.join("\n"), @r#"
    `m1` is named in the inventory / Name another jump host first: line 44, `ssh.jump`.
    `m2` is named in the inventory / Take the host out of the selector first: line 54, `on` of an `[[nfs.mount]]`; line 58, `on` of a `[[hook]]`.
    `nas` is named in the inventory / Remove the export first: line 47, `host` of an `[[nfs.export]]`; line 52, `source` of an `[[nfs.mount]]`.
    `w09` is named in the inventory / Take the host out of the selector first: line 54, `on` of an `[[nfs.mount]]`.
    there is no host `w9` / Did you mean `w09`?
    "#);
    assert!(remove_host(&text, "w10").is_ok());

    let renamed = |old: &str, name: &str| {
        let host = NewHost {
            name: name.to_owned(),
            ..NewHost::default()
        };
        rename_or_replace(&text, old, &host)
    };
    let mut after = renamed("nas", "store").unwrap();
    insta::assert_snapshot!(diff(&text, &after), @r#"
    -name = 'nas'
    +name = 'store'
    -host = "nas"
    +host = "store"
    -source = "nas:/srv"
    +source = "store:/srv"
    "#);
    assert_eq!(hosts(&after).len(), 8);
    after = renamed("m2", "m4").unwrap();
    insta::assert_snapshot!(diff(&text, &after), @r#"
    -name = "m[1-3]"  # three
    -address = "192.0.2.[11-13]"
    +name = "m1"  # three
    +address = "192.0.2.11"
    +[[host]]
    +name = "m4"
    +address = "192.0.2.12"
    +role = "manager"
    +availability = "drain"
    +
    +[[host]]
    +name = "m3"
    +address = "192.0.2.13"
    +role = "manager"
    +availability = "drain"
    +
    -on = "w[08-09] , m2"
    +on = "w[08-09] , m4"
    -on = "m2"
    +on = "m4"
    "#);
    assert_eq!(hosts(&after).len(), 8);
    insta::assert_snapshot!(said(renamed("w09", "w9")), @"`w09` is named by a range in the inventory / Change the selector first: line 54, `on` of an `[[nfs.mount]]`.");
}

#[test]
fn says_what_a_change_would_break() {
    let path = Path::new("t.toml");
    let lab = example("lab.toml");
    let outside = set_role(SITE, "w08", Role::None).unwrap();
    let error = check(SITE, &outside, path).unwrap_err();
    assert!(
        error
            .message
            .contains("`advertise-address` on a host outside the swarm (line ")
    );
    let check = |after: &str| check(lab, after, path).map(|()| String::new());
    assert!(check(&remove_host(lab, "w1").unwrap()).is_ok());
    insta::assert_snapshot!(said(check(&remove_host(lab, "m2").unwrap())), @"the inventory would be wrong: an even number of managers: 2 (line 12) / 2 managers: majority 2, tolerates none lost; 1 manager: majority 1, tolerates none lost. Make one of them a worker, or add a third. If you know why you want it, set `allow-even-managers = true` under `[swarm]`.");
}
