//! What swarm networking needs of the kernel: forwarding, and the modules of overlay networks and
//! the routing mesh.

use std::collections::BTreeMap;

use crate::facts::{HostFacts, Probe, Probes};
use crate::known::Known;
use crate::plan::{Diff, Step};

use super::{Draft, Resource, Verdict, text_diff, value_diff};

const MODULES_FILE: &str = "/etc/modules-load.d/skep.conf";
const SYSCTL_FILE: &str = "/etc/sysctl.d/90-skep.conf";

/// The modules: the storage driver, the bridge's packet filter, overlay networks (VXLAN) and the
/// routing mesh (IPVS). Docker loads them when it needs them, where it may; a host that was
/// hardened against that needs them loaded at boot.
const MODULES: [&str; 4] = ["br_netfilter", "ip_vs", "overlay", "vxlan"];

/// Containers are reached through the host's forwarding. Docker sets it at its start, and a
/// `sysctl --system` of another package resets it afterwards unless a file says it.
const SYSCTLS: [(&str, &str); 1] = [("net.ipv4.ip_forward", "1")];

/// The kernel's modules and settings.
#[derive(Debug, Clone, Copy)]
pub struct Kernel;

impl Resource for Kernel {
    fn name(&self) -> &'static str {
        "kernel"
    }

    fn probes(&self) -> Probes {
        let modules = MODULES.map(|name| Probe::Module(name.to_owned()));
        let sysctls = SYSCTLS.map(|(name, _)| Probe::Sysctl(name.to_owned()));
        let files = [MODULES_FILE, SYSCTL_FILE].map(|path| Probe::File(path.to_owned()));
        modules.into_iter().chain(sysctls).chain(files).collect()
    }

    fn plan(&self, facts: &HostFacts) -> Verdict {
        let mut wanted = Vec::new();
        let mut unloaded = Vec::new();
        let mut diff = Vec::new();
        let mut steps = Vec::new();
        for name in MODULES {
            // A kernel may have the module built in without saying so, and a container shares its
            // machine's kernel, whose modules it cannot see. Docker loads what it needs where it
            // may; `check` reports it, the plan goes on.
            if let Some(Known::Value(loaded)) = facts.modules.get(name) {
                wanted.push(name);
                if !loaded {
                    unloaded.push(name.to_owned());
                }
            }
        }
        let modules_file = wanted.join("\n") + "\n";
        if !wanted.is_empty() {
            match file_step(facts, MODULES_FILE, &modules_file) {
                Ok(found) => found.into_iter().for_each(|(difference, step)| {
                    diff.push(difference);
                    steps.push(step);
                }),
                Err(why) => return Verdict::Unknown(why),
            }
        }
        if !unloaded.is_empty() {
            diff.push(value_diff("modules loaded", None, &unloaded.join(" ")));
            steps.push(Step::LoadModules { modules: unloaded });
        }

        let lines = SYSCTLS.map(|(name, value)| format!("{name} = {value}\n"));
        let sysctl_file = lines.concat();
        match file_step(facts, SYSCTL_FILE, &sysctl_file) {
            Ok(found) => found.into_iter().for_each(|(difference, step)| {
                diff.push(difference);
                steps.push(step);
            }),
            Err(why) => return Verdict::Unknown(why),
        }
        let mut values = BTreeMap::new();
        for (name, value) in SYSCTLS {
            match facts.sysctls.get(name) {
                Some(Known::Value(now)) if now == value => {}
                Some(Known::Value(now)) => {
                    diff.push(value_diff(name, Some(now), value));
                    values.insert(name.to_owned(), value.to_owned());
                }
                Some(Known::Absent) => {}
                other => return Verdict::Unknown(unknown("kernel setting", name, other)),
            }
        }
        if !values.is_empty() {
            steps.push(Step::SetSysctls { values });
        }

        if steps.is_empty() {
            return Verdict::Same;
        }
        Verdict::Change(Draft::safe(
            "set up the kernel for swarm networking",
            diff,
            steps,
        ))
    }
}

/// The step that writes a file of root's, unless it is so already.
pub(super) fn file_step(
    facts: &HostFacts,
    path: &str,
    content: &str,
) -> Result<Option<(Diff, Step)>, String> {
    let old = match facts.files.get(path) {
        Some(Known::Value(file)) => file.content.as_deref(),
        Some(Known::Absent) => None,
        other => return Err(unknown("file", path, other)),
    };
    if old == Some(content) {
        return Ok(None);
    }
    let step = Step::WriteFile {
        path: path.to_owned(),
        content: content.to_owned(),
        mode: 0o644,
    };
    Ok(Some((text_diff(path, old, content), step)))
}

/// Says for people what could not be learned and why.
pub(super) fn unknown<T>(kind: &str, name: &str, known: Option<&Known<T>>) -> String {
    let why = known
        .and_then(Known::why_unknown)
        .unwrap_or("it was not asked for");
    format!("{kind} `{name}`: {why}")
}
