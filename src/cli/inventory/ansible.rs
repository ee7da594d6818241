//! The inventory as Ansible's dynamic inventories give it
//! (<https://docs.ansible.com/ansible/latest/dev_guide/developing_inventory.html>).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::inventory::{Host, Inventory, Role};

/// What `--list` prints: groups with their hosts, and the variables of all hosts in `_meta`, so
/// that Ansible need not ask for each host.
pub(super) fn inventory(inventory: &Inventory) -> Value {
    let mut groups: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let mut variables = Map::new();
    for host in &inventory.hosts {
        let role = match host.role {
            Role::Manager => "managers",
            Role::Worker => "workers",
            Role::None => "others",
        };
        let names = host.groups.iter().map(|group| identifier(group));
        for group in names.chain([role.to_owned()]) {
            let hosts = groups.entry(group).or_default();
            // A group of the user's may be called as one of ours.
            if !hosts.contains(&host.name.as_str()) {
                hosts.push(&host.name);
            }
        }
        variables.insert(host.name.clone(), self::variables(inventory, host));
    }
    let children: Vec<&String> = groups.keys().collect();
    let mut list = json!({
        "_meta": { "hostvars": variables },
        "all": { "children": children },
    });
    for (group, hosts) in &groups {
        list[group] = json!({ "hosts": hosts });
    }
    list
}

/// What `--host NAME` prints. Secrets are not among it: Ansible has its own ways to them.
pub(super) fn variables(inventory: &Inventory, host: &Host) -> Value {
    let mut variables = Map::new();
    for (name, value) in &host.vars {
        variables.insert(identifier(name), json!(value));
    }
    variables.insert("skep_role".into(), json!(host.role));
    variables.insert("skep_labels".into(), json!(host.labels));
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            variables.insert(name.to_owned(), value);
        }
    };
    let ssh = &host.ssh;
    set("ansible_host", host.address.as_ref().map(|it| json!(it)));
    set("ansible_user", ssh.user.as_ref().map(|it| json!(it)));
    set("ansible_port", ssh.port.map(|it| json!(it)));
    set(
        "ansible_become",
        ssh.become_root.then_some(Value::Bool(true)),
    );
    let key = ssh.identity.first();
    set("ansible_ssh_private_key_file", key.map(|it| json!(it)));
    let arguments = ssh_arguments(inventory, host);
    set("ansible_ssh_common_args", arguments.map(|it| json!(it)));
    Value::Object(variables)
}

fn ssh_arguments(inventory: &Inventory, host: &Host) -> Option<String> {
    let mut options = Vec::new();
    if let Some(jump) = &host.ssh.jump {
        let jump = inventory
            .host(jump)
            .map_or_else(|| jump.clone(), destination);
        options.push(format!("-o ProxyJump={}", crate::shell::quote(&jump)));
    }
    if let Some(path) = &host.ssh.known_hosts {
        let path = path.display().to_string();
        options.push(format!(
            "-o UserKnownHostsFile={}",
            crate::shell::quote(&path)
        ));
    }
    (!options.is_empty()).then(|| options.join(" "))
}

/// A host of the inventory as `[user@]host[:port]`.
fn destination(host: &Host) -> String {
    let user = host.ssh.user.as_ref().map(|user| format!("{user}@"));
    let port = host.ssh.port.map(|port| format!(":{port}"));
    let address = host.address.as_ref().unwrap_or(&host.name);
    let address = if address.contains(':') {
        format!("[{address}]")
    } else {
        address.clone()
    };
    format!(
        "{}{address}{}",
        user.unwrap_or_default(),
        port.unwrap_or_default()
    )
}

/// Ansible takes letters, digits and underscores in the names of groups and variables.
fn identifier(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect()
}
