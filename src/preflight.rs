//! What could go wrong on these hosts, found before anything is changed.

pub mod ports;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::facts::{Disk, HostFacts};
use crate::inventory::{Inventory, Role};
use crate::known::Known;
use crate::swarm::Gathered;

/// How far a clock may be from the others before raft's and TLS's timing suffers: k0sctl fails at
/// the same figure.
const SKEW_FAIL_SECONDS: f64 = 30.0;
const SKEW_WARN_SECONDS: f64 = 5.0;

/// An engine with a few images needs some GiB; below the first figure not even it installs.
const DISK_FAIL_KIB: u64 = 1024 * 1024;
const DISK_WARN_KIB: u64 = 5 * 1024 * 1024;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, and somebody should know.
    Warn,
    /// `up` would fail, or the swarm would.
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The host; `None` for what is between hosts.
    pub host: Option<String>,
    /// What was looked at: `login`, `clock`, ...
    pub check: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What was found.
    pub text: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Finding {
    fn new(host: &str, check: &'static str, level: Level, text: impl Into<String>) -> Self {
        Self {
            host: Some(host.to_owned()),
            check,
            level,
            text: text.into(),
            hint: None,
        }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Looks at the facts of all hosts.
pub fn examine(inventory: &Inventory, gathered: &Gathered) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut answered = Vec::new();
    for host in &inventory.hosts {
        match gathered.get(&host.name) {
            Some(Ok(facts)) => {
                findings.push(Finding::new(
                    &host.name,
                    "login",
                    Level::Ok,
                    "logged in as root or with sudo",
                ));
                examine_host(&host.name, host.role, facts, &mut findings);
                answered.push((host.name.as_str(), facts));
            }
            Some(Err(why)) => {
                findings.push(Finding::new(&host.name, "login", Level::Fail, why.clone()));
            }
            None => {}
        }
    }
    same_name(&answered, &mut findings);
    clocks(&answered, &mut findings);
    mtus(&answered, &mut findings);
    findings
}

fn examine_host(host: &str, role: Role, facts: &HostFacts, findings: &mut Vec<Finding>) {
    match &facts.os {
        Known::Value(os) => {
            let debian = ["debian", "ubuntu"]
                .iter()
                .any(|id| os.id == *id || os.like.iter().any(|like| like == id));
            let text = format!("{}, kernel {}, {}", os.pretty, os.kernel, os.arch);
            findings.push(if role != Role::None && !debian {
                Finding::new(host, "system", Level::Fail, text)
                    .hint("skep installs Docker on Debian and Ubuntu.")
            } else if role != Role::None && !os.systemd {
                Finding::new(
                    host,
                    "system",
                    Level::Fail,
                    format!("{text}, without systemd"),
                )
                .hint("The engine's service needs systemd as process 1.")
            } else {
                Finding::new(host, "system", Level::Ok, text)
            });
        }
        other => findings.push(unknown(host, "system", other)),
    }
    if role == Role::None {
        return;
    }
    match &facts.disks {
        Known::Value(disks) => {
            for (disk, paths) in file_systems(disks) {
                let gib = disk.available_kib / 1024 / 1024;
                let level = match disk.available_kib {
                    free if free < DISK_FAIL_KIB => Level::Fail,
                    free if free < DISK_WARN_KIB => Level::Warn,
                    _ => Level::Ok,
                };
                let text = format!("{gib} GiB free at {paths} ({})", disk.fstype);
                findings.push(Finding::new(host, "disk", level, text));
            }
        }
        Known::NotProbed => {}
        other => findings.push(unknown(host, "disk", other)),
    }
    for (module, what) in [
        (
            "ip_vs",
            "the routing mesh: a published port answers only with `mode=host`",
        ),
        ("vxlan", "overlay networks"),
        ("overlay", "the `overlay2` storage driver"),
    ] {
        if facts.modules.get(module).is_some_and(Known::is_absent) {
            let text = format!(
                "the kernel has no module `{module}`; if it is not built in either, that ends {what}"
            );
            findings.push(Finding::new(host, "kernel", Level::Warn, text));
        }
    }
    if let Known::Value(why) = &facts.busy {
        findings.push(Finding::new(
            host,
            "busy",
            Level::Warn,
            format!("a step of another run still works there: {why}"),
        ));
    }
}

/// The file systems behind the paths that were asked for, each with all its paths.
fn file_systems(disks: &[Disk]) -> Vec<(&Disk, String)> {
    /// What is free changes while the paths are asked one after the other.
    const SAME_KIB: u64 = 16 * 1024;
    let mut found: Vec<(&Disk, Vec<String>)> = Vec::new();
    for disk in disks {
        let twin = found.iter_mut().find(|(other, _)| {
            other.fstype == disk.fstype
                && other.size_kib == disk.size_kib
                && other.available_kib.abs_diff(disk.available_kib) <= SAME_KIB
        });
        match twin {
            Some((_, paths)) => paths.push(format!("`{}`", disk.path)),
            None => found.push((disk, vec![format!("`{}`", disk.path)])),
        }
    }
    let joined = |(disk, paths): (_, Vec<String>)| (disk, paths.join(", "));
    found.into_iter().map(joined).collect()
}

fn unknown<T>(host: &str, check: &'static str, known: &Known<T>) -> Finding {
    let why = known.why_unknown().unwrap_or("there is no answer");
    Finding::new(host, check, Level::Fail, format!("not known: {why}"))
}

/// Hosts that are copies of each other, or one host under two names.
fn same_name(answered: &[(&str, &HostFacts)], findings: &mut Vec<Finding>) {
    let mut names: BTreeMap<(&'static str, String), Vec<&str>> = BTreeMap::new();
    for (host, facts) in answered {
        let Known::Value(identity) = &facts.identity else {
            findings.push(unknown(host, "identity", &facts.identity));
            continue;
        };
        let hostname = identity.hostname.to_lowercase();
        names.entry(("host name", hostname)).or_default().push(host);
        let machine = identity.machine_id.clone();
        names.entry(("machine ID", machine)).or_default().push(host);
    }
    for ((kind, value), hosts) in names.iter().filter(|(_, hosts)| hosts.len() > 1) {
        findings.push(Finding {
            host: None,
            check: "identity",
            level: if *kind == "host name" { Level::Warn } else { Level::Fail },
            text: format!("{} have the same {kind} `{value}`", hosts.join(", ")),
            hint: Some(if *kind == "host name" {
                "Nodes are told apart by their ID, people tell them apart by name: set another with `hostnamectl`.".to_owned()
            } else {
                "They were copied from one disk, or are one machine: remove `/etc/machine-id` on the copy and run `systemd-machine-id-setup`.".to_owned()
            }),
        });
    }
}

fn clocks(answered: &[(&str, &HostFacts)], findings: &mut Vec<Finding>) {
    let mut skews: Vec<(&str, f64)> = Vec::new();
    for (host, facts) in answered {
        match facts.clock.value() {
            Some(skew) => skews.push((host, *skew)),
            None => findings.push(unknown(host, "clock", &facts.clock)),
        }
    }
    let mut sorted: Vec<f64> = skews.iter().map(|(_, skew)| *skew).collect();
    sorted.sort_by(f64::total_cmp);
    let Some(median) = sorted.get(sorted.len() / 2).copied() else {
        return;
    };
    for (host, skew) in skews {
        let off = skew - median;
        let level = match off.abs() {
            off if off > SKEW_FAIL_SECONDS => Level::Fail,
            off if off > SKEW_WARN_SECONDS => Level::Warn,
            _ => Level::Ok,
        };
        let text = match level {
            Level::Ok => format!("clock within {:.1} s of the others", tenths_up(off)),
            _ => format!("the clock is {off:+.1} s from the median of the hosts"),
        };
        let finding = Finding::new(host, "clock", level, text);
        findings.push(if level == Level::Ok {
            finding
        } else {
            finding.hint(
                "Let the host follow a time server, such as by `systemd-timesyncd` or `chrony`.",
            )
        });
    }
}

/// `seconds` without its sign, rounded up to tenths, and never nothing: a clock is never that exact.
fn tenths_up(seconds: f64) -> f64 {
    (seconds.abs() * 10.0).ceil().max(1.0) / 10.0
}

/// Different MTUs between hosts make large packets vanish in overlay networks (moby#24906).
fn mtus(answered: &[(&str, &HostFacts)], findings: &mut Vec<Finding>) {
    let mut by_mtu: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
    for (host, facts) in answered {
        let Some(network) = facts.network.value() else {
            continue;
        };
        let source = network.default_source;
        let main = network.interfaces.iter().find(|interface| {
            interface
                .addresses
                .iter()
                .any(|address| Some(address.addr()) == source)
        });
        if let Some(main) = main {
            by_mtu.entry(main.mtu).or_default().push(host);
        }
    }
    if by_mtu.len() > 1 {
        let shown: Vec<String> = by_mtu
            .iter()
            .map(|(mtu, hosts)| format!("{mtu} on {}", hosts.join(", ")))
            .collect();
        findings.push(Finding {
            host: None,
            check: "mtu",
            level: Level::Warn,
            text: format!(
                "the hosts' interfaces have different MTUs: {}",
                shown.join("; ")
            ),
            hint: Some(
                "Set one MTU on all, or give overlay networks the smallest minus 50.".to_owned(),
            ),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(path: &str, size_kib: u64, available_kib: u64) -> Disk {
        Disk {
            path: path.to_owned(),
            size_kib,
            available_kib,
            fstype: "ext4".to_owned(),
        }
    }

    #[test]
    fn a_file_system_under_several_paths_is_told_once() {
        let disks = [
            disk("/", 9_000_000, 5_000_000),
            disk("/var/lib", 70_000_000, 40_000_000),
            disk("/tmp", 9_000_000, 4_999_000),
        ];
        let found = file_systems(&disks);
        let paths: Vec<&str> = found.iter().map(|(_, paths)| paths.as_str()).collect();
        assert_eq!(paths, ["`/`, `/tmp`", "`/var/lib`"]);
    }

    #[test]
    fn a_clock_is_never_told_as_exact() {
        assert!((tenths_up(-0.001) - 0.1).abs() < 1e-9);
        assert!((tenths_up(1.21) - 1.3).abs() < 1e-9);
    }
}
