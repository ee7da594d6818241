//! Inventories as users write them, and what skep says of them.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::Value;
use skep::inventory::{self, Inventory};
use skep::ui::diagnostic;

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn right(text: &str) -> Inventory {
    let (inventory, found) = inventory::parse(text, Path::new("dir/skep.toml"));
    let rendered = diagnostic::render("skep.toml", text, &found, false);
    inventory.unwrap_or_else(|| panic!("{rendered}"))
}

/// Each file of `tests/inventory` with what is said of it in `tests/snapshots`.
#[test]
fn says_what_is_wrong() {
    let mut files: Vec<PathBuf> = fs::read_dir(root("tests/inventory"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() > 10);
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let name = file.file_name().unwrap().to_str().unwrap();
        let (inventory, found) = inventory::parse(&text, Path::new(name));
        let errors = found.iter().filter(|found| found.is_error()).count();
        assert_eq!(inventory.is_none(), errors > 0, "{name}");
        let rendered = diagnostic::render(name, &text, &found, false);
        assert!(!rendered.contains("hunter2"), "a secret is shown");
        insta::assert_snapshot!(name.trim_end_matches(".toml"), rendered);
    }
}

#[test]
fn the_shipped_inventories_are_right() {
    let known = keys_of_schema();
    for (name, text) in inventory::EXAMPLES {
        let (inventory, found) = inventory::parse(text, Path::new(name));
        assert_eq!(found, [], "{name}");
        assert!(inventory.is_some(), "{name}");
        let shipped = fs::read_to_string(root("inventories").join(name)).unwrap();
        assert_eq!(shipped, *text);
        let document: toml::Table = text.parse().unwrap();
        assert_keys(&document, &known["root"], &known, name);
    }
    let files = fs::read_dir(root("inventories")).unwrap().count();
    assert_eq!(
        files,
        inventory::EXAMPLES.len(),
        "an example is not embedded"
    );
}

/// The schema's tables by name, the root as `root`.
fn keys_of_schema() -> Value {
    let schema = inventory::schema();
    let mut known = schema["$defs"].clone();
    known["root"] = schema;
    known
}

/// Asserts that all keys of a table are in its schema, and of the tables in it.
fn assert_keys(table: &toml::Table, schema: &Value, known: &Value, place: &str) {
    for (key, value) in table {
        let place = format!("{place}: {key}");
        let field = match &schema["properties"][key] {
            Value::Null => &schema["additionalProperties"],
            field => field,
        };
        if *field == Value::Bool(true) {
            continue;
        }
        assert!(field.is_object(), "{place} is not in the schema");
        let target = |field: &Value| {
            let name = field["$ref"].as_str()?.rsplit('/').next()?;
            Some(known[name].clone())
        };
        match value {
            toml::Value::Table(table) => {
                let schema = target(field).unwrap_or_else(|| field.clone());
                assert_keys(table, &schema, known, &place);
            }
            toml::Value::Array(items) => {
                for item in items.iter().filter_map(toml::Value::as_table) {
                    let schema = target(&field["items"]).unwrap_or_default();
                    assert_keys(item, &schema, known, &place);
                }
            }
            _ => {}
        }
    }
}

/// `UPDATE_SCHEMA=1 cargo test --test inventory` writes it anew.
#[test]
fn the_schema_is_current() {
    let path = root("schema/inventory.json");
    let current = serde_json::to_string_pretty(&inventory::schema()).unwrap() + "\n";
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        fs::write(&path, &current).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(committed, current, "run it with UPDATE_SCHEMA=1");
}

const LAYERED: &str = r#"
[cluster]
name = "x"
[ssh]
user = "admin"
become = true
become-password = { file = "~/sudo" }
password = { command = ["pass", "show", "hunter2"] }
jump = "nas"
identity = ["keys/a", "/abs/b"]
[docker]
source = "offline"
packages = "debs"
[docker.daemon]
log-driver = "journald"
log-opts = { tag = "x" }
[swarm]
advertise-interface = "eth1"
default-addr-pool = ["10.200.0.0/16"]
subnet-size = 26
cert-expiry = "30d"
[vars]
a = 1
b = 1
[group.g]
ssh = { user = "group", port = 2222 }
labels = { tier = "front", disk = "hdd" }
vars = { b = 2 }
docker.daemon.log-driver = "local"
[group.empty]
[[host]]
name = "m[01-03]"
address = "192.0.2.[11-13]"
advertise-address = "192.0.3.[11-13]"
role = "manager"
groups = ["g", "empty"]
labels = { disk = "ssd" }
[[host]]
name = "w1"
address = "w1.example.org"
role = "worker"
ssh = { user = "root", become = false }
docker = { source = "docker-ce", version = "28" }
vars = { when = 2026-01-01 }
[[host]]
name = "nas"
address = "192.0.2.5"
role = "none"
groups = ["g"]
"#;

#[test]
fn settings_resolve_host_over_group_over_cluster() {
    let inventory = right(LAYERED);
    let m2 = inventory.host("m02").unwrap();
    assert_eq!(m2.address.as_deref(), Some("192.0.2.12"));
    assert_eq!(m2.ssh.user.as_deref(), Some("group"));
    assert_eq!(m2.ssh.port, Some(2222));
    assert_eq!(
        m2.ssh.identity,
        [Path::new("dir/keys/a"), Path::new("/abs/b")]
    );
    assert!(m2.ssh.become_root && m2.ssh.become_password.is_some());
    assert_eq!(m2.ssh.jump.as_deref(), Some("nas"));
    assert_eq!(m2.ssh.connect_timeout, 20);
    assert_eq!(m2.labels["disk"], "ssd");
    assert_eq!(m2.labels["tier"], "front");
    assert_eq!(m2.vars["a"].as_integer(), Some(1));
    assert_eq!(m2.vars["b"].as_integer(), Some(2));
    assert_eq!(m2.docker.daemon["log-driver"], "local");
    assert_eq!(m2.docker.daemon["log-opts"]["tag"], "x");
    assert_eq!(m2.docker.packages.as_deref(), Some(Path::new("dir/debs")));
    assert_eq!(m2.advertise.address, "192.0.3.12".parse().ok());
    assert_eq!(m2.advertise.interface, None);

    let w1 = inventory.host("w1").unwrap();
    assert_eq!(w1.ssh.user.as_deref(), Some("root"));
    assert!(!w1.ssh.become_root && w1.ssh.become_password.is_none());
    assert_eq!(w1.docker.packages, None);
    assert_eq!(w1.advertise.interface.as_deref(), Some("eth1"));

    let nas = inventory.host("nas").unwrap();
    assert_eq!(
        nas.ssh.jump, None,
        "the jump host does not jump through itself"
    );
    assert!(
        nas.labels.is_empty(),
        "a host outside the swarm has no labels"
    );
    assert_eq!(inventory.swarm.cert_expiry_days, Some(30));
    assert_eq!(inventory.managers().count(), 3);
}

#[test]
fn other_programs_get_no_secrets() {
    let inventory = right(LAYERED);
    let json = inventory::to_json(&inventory).unwrap();
    let ansible = inventory::to_ansible(&inventory);
    for text in [json.to_string(), ansible.to_string()] {
        for word in ["hunter2", "pass\"", "password", "passphrase", "sudo"] {
            assert!(!text.contains(word), "{word} in {text}");
        }
    }
    insta::assert_snapshot!("ansible", serde_json::to_string_pretty(&ansible).unwrap());
}

#[test]
fn a_missing_file_is_told_with_what_to_do() {
    let error = inventory::load(Path::new("/no/such.toml")).unwrap_err();
    let error = skep::error::Error::from(error);
    assert!(error.to_string().contains("/no/such.toml"));
    assert!(error.hints()[0].contains("skep init"));
}

/// A bound far above what it takes (a debug build reads 1000 hosts in well under 0.2 s), so that
/// only a change of order is caught: 10,000 hosts of one block each.
#[test]
fn ten_thousand_hosts_are_read_quickly() {
    let hosts = (0..10_000).map(|index| {
        let role = if index < 3 { "manager" } else { "worker" };
        let address = format!("192.0.{}.{}", index / 250, index % 250);
        format!("[[host]]\nname = \"h{index}\"\naddress = \"{address}\"\nrole = \"{role}\"\n")
    });
    let text = format!("cluster.name = \"x\"\n{}", hosts.collect::<String>());
    let start = std::time::Instant::now();
    assert_eq!(right(&text).hosts.len(), 10_000);
    let took = start.elapsed();
    println!("10,000 hosts: {took:?}");
    assert!(took.as_secs() < 20, "{took:?}");
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]
    #[test]
    fn any_text_is_read_without_panic(text in "\\PC{0,200}") {
        let (_, found) = inventory::parse(&text, Path::new("x"));
        diagnostic::render("x", &text, &found, true);
    }

    #[test]
    fn any_change_of_a_right_file_is_read_without_panic(
        at in 0..LAYERED.len(),
        cut in 0_usize..40,
        put in "[\\[\\]{}=\"'a-c0-9 .,#\n-]{0,6}",
    ) {
        let mut text = LAYERED.to_owned();
        text.replace_range(at..(at + cut).min(text.len()), &put);
        let (_, found) = inventory::parse(&text, Path::new("x"));
        diagnostic::render("x", &text, &found, false);
    }
}

/// The nearest kind holds, and each of its settings comes from the nearest place that has it.
#[test]
fn each_machine_has_its_own_way_to_be_switched_on() {
    use skep::inventory::{Ipmi, Power, SecretRef, WakeOnLan};
    let text = fs::read_to_string(root("tests/inventory/power-right.toml")).unwrap();
    let inventory = right(&text);
    let power = |name: &str| inventory.host(name).unwrap().power.clone();
    let ipmi = Ipmi {
        address: "10.0.1.12".to_owned(),
        port: 623,
        cipher_suite: None,
        user: "admin".to_owned(),
        password: SecretRef::Env("IPMI_OF_ALL".to_owned()),
    };
    assert_eq!(power("m2"), Some(Power::Ipmi(ipmi)));
    let wake = WakeOnLan {
        mac: "52:54:00:ab:cd:ef".to_owned(),
        broadcast: "10.0.0.255".to_owned(),
        port: 9,
        via: Some("m1".to_owned()),
    };
    assert_eq!(power("w2"), Some(Power::WakeOnLan(wake)));
    assert!(matches!(power("w3"), Some(Power::Command(it)) if it.timeout == 300));
    assert_eq!(power("w4"), None);
    let Some(Power::Redfish(own)) = power("w6") else {
        panic!("{:?}", power("w6"));
    };
    assert_eq!(own.url, "https://10.0.1.26");
    assert_eq!(own.system.as_deref(), Some("1"));
    assert!(own.ca_file.is_some_and(|file| file.ends_with("ca.pem")) && !own.insecure);
    let Some(Power::Redfish(shared)) = power("w8") else {
        panic!("{:?}", power("w8"));
    };
    assert_eq!(shared.url, "https://[fd00::7]:8443");
    assert_eq!(shared.system.as_deref(), Some("Blade8"));
    assert!(shared.insecure);
    assert_eq!(inventory.start_first, ["registry"]);
}
