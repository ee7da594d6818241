//! What the tasks of playbooks want of a host: pure, like all resources. Their texts are rendered.

mod act;
mod file;
mod host;

use std::collections::BTreeMap;

use secrecy::SecretString;

use crate::facts::{HostFacts, Probe, Probes};
use crate::inventory::Host;
use crate::known::Known;
use crate::playbook::{Kind, Until};
use crate::shell;

use super::Verdict;

pub(crate) use act::ALWAYS;
pub(crate) use host::MOUNT_MARK;

/// Where the secrets of a playbook are while it is planned, by name.
pub type SecretValues = BTreeMap<String, SecretString>;

/// What a task's verdict goes by, beside its kind.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// The host.
    pub host: &'a Host,
    /// Its facts.
    pub facts: &'a HostFacts,
    /// The secrets of the playbook.
    pub secrets: &'a SecretValues,
    /// Whether an earlier task changes something on the host: what is not there yet may come.
    pub moving: bool,
    /// What tells the change of this run from every other.
    pub id: &'a str,
}

/// The questions that a task needs answered.
pub fn probes(kind: &Kind) -> Probes {
    match kind {
        Kind::Package(it) => {
            let names = it.names.iter();
            names.map(|it| Probe::Package(it.value.clone())).collect()
        }
        Kind::File(it) => {
            let mut probes = Probes::from([Probe::File(it.path.value.clone())]);
            if let Some(unit) = &it.restart {
                probes.insert(Probe::File(file::marker(&unit.value)));
            }
            probes
        }
        Kind::Directory(it) => Probes::from([
            Probe::File(it.path.value.clone()),
            Probe::Test(is_folder(&it.path.value)),
        ]),
        Kind::Service(it) => Probes::from([Probe::Unit(it.unit.value.clone())]),
        Kind::User(it) => Probes::from([Probe::User(it.name.value.clone())]),
        Kind::Sysctl(values) => {
            let names = values.keys();
            names
                .flat_map(|name| {
                    [
                        Probe::Sysctl(name.clone()),
                        Probe::File(host::sysctl_file(name)),
                    ]
                })
                .collect()
        }
        Kind::Mount(it) => {
            let (unit, path) = host::mount_unit(&it.target.value);
            Probes::from([Probe::Unit(unit), Probe::File(path)])
        }
        Kind::Command(it) => act::test_of(it).map(Probe::Test).into_iter().collect(),
        Kind::Wait(it) => Probes::from([Probe::Test(act::wait_test(&it.until))]),
        Kind::Use(_) => Probes::new(),
        Kind::Reboot(it) => {
            let path = it.if_exists.as_ref();
            path.map(|path| Probe::Test(exists(&path.value)))
                .into_iter()
                .collect()
        }
    }
}

/// What differs from what the task wants, and how to mend it. A reboot is no business of one host
/// alone: [`wants_reboot`] tells of it; a step of a procedure is none of a host's at all.
pub fn plan(kind: &Kind, scene: &Scene<'_>) -> Verdict {
    if let Some(refused) = belongs_to_skep(kind) {
        return refused;
    }
    match kind {
        Kind::Package(it) => host::package(it, scene),
        Kind::File(it) => file::file(it, scene),
        Kind::Directory(it) => file::directory(it, scene),
        Kind::Service(it) => host::service(it, scene),
        Kind::User(it) => host::user(it, scene),
        Kind::Sysctl(values) => host::sysctl(values, scene),
        Kind::Mount(it) => host::mount(it, scene),
        Kind::Command(it) => act::command(it, scene),
        Kind::Wait(it) => act::wait(it, scene),
        Kind::Reboot(_) | Kind::Use(_) => Verdict::Same,
    }
}

/// Whether a task runs every time, so that nothing is wrong when a second plan would do it again.
pub fn runs_always(kind: &Kind) -> bool {
    matches!(kind, Kind::Command(it) if it.creates.is_none() && it.unless.is_none())
}

/// Whether the file is there that a reboot is for; `None` where an earlier task may still make it.
pub fn wants_reboot(kind: &Kind, facts: &HostFacts, moving: bool) -> Result<Option<bool>, String> {
    let Kind::Reboot(reboot) = kind else {
        return Ok(Some(false));
    };
    let Some(path) = &reboot.if_exists else {
        return Ok(Some(true));
    };
    Ok(match succeeds(facts, &exists(&path.value))? {
        true => Some(true),
        false if moving => None,
        false => Some(false),
    })
}

/// Packages, units and folders that skep itself looks after.
const PACKAGES: [&str; 8] = [
    "containerd",
    "containerd.io",
    "docker-ce",
    "docker-ce-cli",
    "docker-cli",
    "docker-engine",
    "docker.io",
    "runc",
];
const UNITS: [&str; 3] = ["containerd.service", "docker.service", "docker.socket"];
const PATHS: [&str; 9] = [
    "/etc/docker/daemon.json",
    "/etc/modules-load.d/skep.conf",
    "/etc/sysctl.d/90-skep.conf",
    "/etc/systemd/system/docker.service.d",
    "/run/skep",
    "/var/lib/containerd",
    "/var/lib/docker",
    "/var/lib/skep",
    "/var/cache/skep",
];

fn belongs_to_skep(kind: &Kind) -> Option<Verdict> {
    let within = |path: &str| {
        let rest = PATHS.iter().filter_map(|own| path.strip_prefix(own));
        let mut inside = rest.filter(|rest| rest.is_empty() || rest.starts_with('/'));
        inside.next().map(|_| path.to_owned())
    };
    let engine_unit = |unit: &str| UNITS.contains(&unit).then(|| unit.to_owned());
    let found = match kind {
        Kind::Package(it) => {
            let mut names = it.names.iter().map(|it| it.value.as_str());
            names
                .find(|name| PACKAGES.contains(name))
                .map(str::to_owned)
        }
        Kind::File(it) => within(&it.path.value).or_else(|| {
            let unit = it.restart.as_ref()?;
            engine_unit(&unit.value)
        }),
        Kind::Directory(it) => within(&it.path.value),
        Kind::Service(it) => engine_unit(&it.unit.value),
        Kind::Mount(it) => within(&it.target.value),
        Kind::Sysctl(values) => values
            .contains_key("net.ipv4.ip_forward")
            .then(|| "net.ipv4.ip_forward".to_owned()),
        _ => None,
    };
    found.map(|what| Verdict::Refuse {
        why: format!("`{what}` is what skep itself looks after, so that a swarm bears it"),
        hint: "Say it in the inventory (`[docker]`, `[storage]`), and use `skep up` or `skep upgrade`.".to_owned(),
    })
}

fn exists(path: &str) -> String {
    format!("test -e {}", shell::quote(path))
}

fn is_folder(path: &str) -> String {
    format!("test -d {}", shell::quote(path))
}

/// Whether a test succeeded.
fn succeeds(facts: &HostFacts, test: &str) -> Result<bool, String> {
    match facts.tests.get(test) {
        Some(Known::Value(status)) => Ok(*status == 0),
        other => Err(super::kernel::unknown("test", test, other)),
    }
}

/// The test of what is waited for, and what it is for people.
fn until(until: &Until) -> (String, String) {
    match until {
        // The kernel's own table: `0A` is LISTEN (include/net/tcp_states.h).
        Until::Port(port) => (
            format!(
                "grep -qsE '^ *[0-9]+: [0-9A-F]+:{port:04X} [0-9A-F:]+ 0A ' /proc/net/tcp /proc/net/tcp6"
            ),
            format!("port {port} listens"),
        ),
        Until::Path(path) => (exists(&path.value), format!("{} is there", path.value)),
        Until::Command(command) => (
            command.value.clone(),
            format!("`{}` succeeds", command.value.trim()),
        ),
    }
}
