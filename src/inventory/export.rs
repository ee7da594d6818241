//! The inventory for other programs. Neither secrets nor where they are found are in it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{Host, Inventory, Provider, Role};

/// The keys of a host's SSH settings that lead to secrets.
const SECRETS: [&str; 3] = ["identity-passphrase", "password", "become-password"];

/// The whole model as JSON, every setting resolved for every host.
///
/// # Errors
/// A path is not UTF-8.
pub fn to_json(inventory: &Inventory) -> serde_json::Result<Value> {
    let mut value = serde_json::to_value(inventory)?;
    let hosts = value["hosts"].as_array_mut().into_iter().flatten();
    for (host, model) in hosts.zip(&inventory.hosts) {
        let vars = model
            .vars
            .iter()
            .map(|(name, value)| (name.clone(), plain(value)));
        host["vars"] = Value::Object(vars.collect());
        if let Some(ssh) = host["ssh"].as_object_mut() {
            for key in SECRETS {
                ssh.remove(key);
            }
        }
    }
    Ok(value)
}

/// The hosts as Ansible's inventory plug-ins and scripts tell them (`--list` with `_meta`).
///
/// Groups are `managers`, `workers`, `others` (outside the swarm), the inventory's own, and
/// `label_NAME_VALUE` for each label; characters that Ansible's group names cannot have become `_`.
/// Hosts of the lab have no address here.
pub fn to_ansible(inventory: &Inventory) -> Value {
    let mut groups: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let mut variables = Map::new();
    for host in &inventory.hosts {
        let of_role = match host.role {
            Role::Manager => "managers",
            Role::Worker => "workers",
            Role::None => "others",
        };
        let own = host.groups.iter().map(|group| safe(group));
        let labels = host.labels.iter();
        let labels = labels.map(|(name, value)| safe(&format!("label_{name}_{value}")));
        let names: BTreeSet<String> = std::iter::once(of_role.to_owned())
            .chain(own)
            .chain(labels)
            .collect();
        for name in names {
            groups.entry(name).or_default().push(&host.name);
        }
        variables.insert(host.name.clone(), variables_of(host));
    }
    let mut root = Map::new();
    let children: Vec<&String> = groups.keys().collect();
    root.insert("all".to_owned(), json!({ "children": children }));
    for (name, hosts) in &groups {
        root.insert(name.clone(), json!({ "hosts": hosts }));
    }
    root.insert("_meta".to_owned(), json!({ "hostvars": variables }));
    Value::Object(root)
}

/// A host's variables: its own, and what Ansible needs to log in.
fn variables_of(host: &Host) -> Value {
    let mut all = Map::new();
    for (name, value) in &host.vars {
        all.insert(name.clone(), plain(value));
    }
    let ssh = &host.ssh;
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            all.insert(name.to_owned(), value);
        }
    };
    set("ansible_host", host.address.clone().map(Value::from));
    set("ansible_user", ssh.user.clone().map(Value::from));
    set("ansible_port", ssh.port.map(Value::from));
    let identity = ssh.identity.first();
    set(
        "ansible_ssh_private_key_file",
        identity.map(|path| path.to_string_lossy().into()),
    );
    set(
        "ansible_become",
        ssh.become_root.then_some(Value::Bool(true)),
    );
    let jump = ssh.jump.as_ref();
    set(
        "ansible_ssh_common_args",
        jump.map(|jump| format!("-o ProxyJump={}", crate::shell::quote(jump)).into()),
    );
    set("skep_role", serde_json::to_value(host.role).ok());
    set("skep_labels", Some(json!(host.labels)));
    set(
        "skep_lab",
        (host.provider == Provider::Lab).then_some(Value::Bool(true)),
    );
    Value::Object(all)
}

/// The value in JSON; what JSON has not, dates and infinite numbers, as TOML writes it.
pub(crate) fn plain(value: &toml::Value) -> Value {
    match value {
        toml::Value::Array(items) => items.iter().map(plain).collect(),
        toml::Value::Table(items) => {
            let items = items.iter().map(|(key, value)| (key.clone(), plain(value)));
            Value::Object(items.collect())
        }
        toml::Value::String(text) => text.as_str().into(),
        toml::Value::Integer(number) => (*number).into(),
        toml::Value::Boolean(value) => (*value).into(),
        toml::Value::Float(number) if number.is_finite() => (*number).into(),
        toml::Value::Float(_) | toml::Value::Datetime(_) => value.to_string().into(),
    }
}

/// A name that Ansible accepts for a group.
fn safe(name: &str) -> String {
    name.replace(|c: char| !c.is_ascii_alphanumeric() && c != '_', "_")
}
