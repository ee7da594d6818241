//! The text of a new inventory.

use std::fmt::Write;

use crate::inventory::range;

/// What a new inventory shall hold.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) user: Option<String>,
    pub(super) is_lab: bool,
    pub(super) managers: Vec<Machine>,
    pub(super) workers: Vec<Machine>,
}

/// A machine, or a range of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Machine {
    name: Option<String>,
    /// Empty in a lab, where hosts get their addresses.
    address: String,
    count: usize,
}

impl Machine {
    /// Reads `ADDRESS`, `NAME=ADDRESS` or a range of addresses.
    pub(super) fn parse(text: &str) -> Self {
        let (name, address) = match text.split_once('=') {
            Some((name, address)) => (Some(name.to_owned()), address),
            None => (None, text),
        };
        Self {
            name,
            address: address.to_owned(),
            // A bad range is left as it is, for the check to point at.
            count: range::expand(address).map_or(1, |addresses| addresses.len()),
        }
    }
}

impl Wanted {
    /// A lab of three managers and two workers.
    pub(super) fn lab(name: &str) -> Self {
        let machines = |count| {
            vec![Machine {
                name: None,
                address: String::new(),
                count,
            }]
        };
        Self {
            name: name.to_owned(),
            user: None,
            is_lab: true,
            managers: machines(3),
            workers: machines(2),
        }
    }
}

/// The inventory as TOML.
pub(super) fn write(wanted: &Wanted) -> String {
    let mut out =
        String::from("# What this cluster should be. `skep plan` shows what differs.\n\n");
    let name = quote(&wanted.name);
    let _infallible = writeln!(out, "[cluster]\nname = {name}");
    if wanted.is_lab {
        out.push_str("provider = \"lab\" # the hosts are containers that skep makes here\n");
    }
    if let Some(user) = &wanted.user {
        out.push_str("\n# What is not said here comes from ~/.ssh/config.\n[ssh]\n");
        let _infallible = writeln!(out, "user = {}", quote(user));
        if user != "root" {
            out.push_str("become = true # sudo; if it asks: become-password = { prompt = true }\n");
        }
    }
    write_pool(&mut out, wanted);
    write_hosts(&mut out, "m", "manager", &wanted.managers);
    write_hosts(&mut out, "w", "worker", &wanted.workers);
    out
}

/// Docker gives overlay networks addresses of 10.0.0.0/8 unless it is told otherwise before the
/// swarm is made. For hosts with such addresses that ends in networks that cannot be reached.
fn write_pool(out: &mut String, wanted: &Wanted) {
    let machines = || wanted.managers.iter().chain(&wanted.workers);
    if !machines().any(|it| it.address.starts_with("10.")) {
        return;
    }
    let candidates = ["10.200.0.0/16", "10.210.0.0/16", "10.220.0.0/16"];
    let is_free = |pool: &&&str| !machines().any(|it| it.address.starts_with(&pool[..7]));
    if let Some(pool) = candidates.iter().find(is_free) {
        out.push_str(
            "\n# For overlay networks; must be used nowhere else. It cannot be changed later.\n",
        );
        let _infallible = writeln!(out, "[swarm]\ndefault-addr-pool = [{}]", quote(pool));
    }
}

fn write_hosts(out: &mut String, prefix: &str, role: &str, machines: &[Machine]) {
    let mut next = 1;
    for machine in machines {
        let last = next + machine.count - 1;
        let name = match &machine.name {
            Some(name) => name.clone(),
            None if machine.count == 1 => format!("{prefix}{next}"),
            None => format!("{prefix}[{next}-{last}]"),
        };
        if machine.name.is_none() {
            next = last + 1;
        }
        let _infallible = writeln!(out, "\n[[host]]\nname = {}", quote(&name));
        if !machine.address.is_empty() {
            let _infallible = writeln!(out, "address = {}", quote(&machine.address));
        }
        let _infallible = writeln!(out, "role = {}", quote(role));
    }
}

/// `text` as a TOML string.
fn quote(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn what_is_written_passes_the_check() {
        let machines = |list: &[&str]| list.iter().map(|it| Machine::parse(it)).collect();
        let wanted = Wanted {
            name: "swarm".into(),
            user: Some("admin".into()),
            is_lab: false,
            managers: machines(&["10.0.0.[11-13]"]),
            workers: machines(&["db=10.0.0.40", "w.example.org", "10.0.0.[21-22]"]),
        };
        for wanted in [wanted, Wanted::lab("lab")] {
            let (inventory, findings) = crate::inventory::parse(&write(&wanted), Path::new("x"));
            assert_eq!(findings, []);
            let names: Vec<String> = inventory
                .unwrap()
                .hosts
                .into_iter()
                .map(|it| it.name)
                .collect();
            let expected: &[&str] = if wanted.is_lab {
                &["m1", "m2", "m3", "w1", "w2"]
            } else {
                &["m1", "m2", "m3", "db", "w1", "w2", "w3"]
            };
            assert_eq!(names, expected);
        }
    }
}
