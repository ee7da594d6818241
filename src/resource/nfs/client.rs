//! What a host mounts: units of systemd's, each with a line that says that they are ours.

use crate::facts::{HostFacts, MountFacts, Probe, Probes, UNIT_MARK};
use crate::inventory::{Host, Mount, Role};
use crate::known::Known;
use crate::plan::{NfsStep, Step};
use crate::resource::kernel::unknown;
use crate::resource::{Draft, Resource, Verdict, value_diff};

use super::{Mend, text_of, unit};

const PACKAGE: &str = "nfs-common";
const FSTAB: &str = "/etc/fstab";
const DOCKER: &str = "docker.service";
/// Makes Docker wait for mounts.
const DROP_IN: &str = "/etc/systemd/system/docker.service.d/skep-mounts.conf";

/// The folders of servers that a host mounts.
#[derive(Debug, Clone, Copy)]
pub struct NfsMounts<'a> {
    mounts: &'a [Mount],
    /// Whether the host has an engine that could wait for a mount.
    engine: bool,
}

impl<'a> NfsMounts<'a> {
    /// The mounts of `host`.
    pub fn new(host: &'a Host) -> Self {
        Self {
            mounts: &host.mounts,
            engine: host.role != Role::None,
        }
    }

    /// What stands in the way of a mount: something that is not ours.
    fn taken(&self, facts: &HostFacts) -> Result<Option<Verdict>, String> {
        let fstab = match self.mounts {
            [] => "",
            _ => text_of(facts, FSTAB)?.unwrap_or_default(),
        };
        for mount in self.mounts {
            let target = &mount.target;
            if let Some(line) = fstab.lines().find(|line| is_for(line, target)) {
                return Ok(Some(Verdict::Refuse {
                    why: format!(
                        "`{FSTAB}` mounts something on `{target}` already: {}",
                        line.trim()
                    ),
                    hint: format!(
                        "Take the line out of `{FSTAB}` and unmount it, or the mount out of the inventory."
                    ),
                }));
            }
            let name = unit::mount_unit(mount);
            for name in [name.clone(), unit::automount_unit(mount)] {
                let path = format!("{}/{name}", unit::FOLDER);
                if text_of(facts, &path)?.is_some_and(|text| !text.starts_with(UNIT_MARK)) {
                    return Ok(Some(Verdict::Refuse {
                        why: format!("`{path}` is there, and skep did not write it"),
                        hint: "Remove it if the mount of the inventory shall take its place."
                            .to_owned(),
                    }));
                }
            }
            let now = mounted(facts, target)?;
            let ours = text_of(facts, &format!("{}/{name}", unit::FOLDER))?.is_some();
            if let Some((kind, source)) = now.mounted.as_ref().filter(|_| !ours) {
                return Ok(Some(Verdict::Refuse {
                    why: format!("`{source}` ({kind}) is mounted on `{target}`, and skep did not do it"),
                    hint: "Unmount it on the host and see to it that it does not come back, or take the mount out of the inventory.".to_owned(),
                }));
            }
        }
        Ok(None)
    }

    fn mend(&self, facts: &HostFacts) -> Result<Mend, String> {
        let mut mend = Mend::default();
        let waiting: Vec<&str> = self
            .mounts
            .iter()
            .filter(|mount| mount.before_docker && self.engine)
            .map(|mount| mount.target.as_str())
            .collect();
        if !self.mounts.is_empty() {
            mend.package(facts, PACKAGE)?;
        }
        let mut reload = if waiting.is_empty() {
            mend.no_file(facts, DROP_IN, UNIT_MARK)?
        } else {
            let text = format!(
                "{UNIT_MARK}\n[Unit]\nRequiresMountsFor={}\n",
                waiting.join(" ")
            );
            mend.file(facts, DROP_IN, &text)?
                || matches!(facts.units.get(DOCKER), Some(Known::Value(unit)) if unit.reload)
        };
        let mut starts = Vec::new();
        for mount in self.mounts {
            let (wants_reload, start) = mend_one(facts, mount, &mut mend)?;
            reload |= wants_reload;
            starts.extend(start);
        }
        if reload {
            mend.steps.push(Step::Nfs(NfsStep::Reload));
            if mend.diff.is_empty() {
                mend.diff.push(value_diff(
                    "systemd",
                    Some("older units"),
                    "reads the units again",
                ));
            }
        }
        mend.steps.extend(starts);
        Ok(mend)
    }
}

/// Mends one mount: whether systemd must read its units again, and the step that starts it.
fn mend_one(
    facts: &HostFacts,
    mount: &Mount,
    mend: &mut Mend,
) -> Result<(bool, Option<Step>), String> {
    let path = |name: &str| format!("{}/{name}", unit::FOLDER);
    let (name, auto) = (unit::mount_unit(mount), unit::automount_unit(mount));
    let mut changed = mend.file(facts, &path(&name), &unit::mount_text(mount))?;
    let remount = changed;
    let mut reload = changed;
    if mount.automount {
        let differs = mend.file(facts, &path(&auto), &unit::automount_text(mount))?;
        changed |= differs;
        reload |= differs;
    } else if text_of(facts, &path(&auto))?.is_some() {
        // The step stops and removes it: a unit that still runs must not lose its file first.
        mend.diff.push(value_diff(&auto, Some("there"), "gone"));
        changed = true;
    }
    let starter = if mount.automount { &auto } else { &name };
    let state = |name: &str| match facts.units.get(name) {
        Some(Known::Value(unit)) => Ok((unit.active.clone(), unit.enabled.clone(), unit.reload)),
        Some(Known::Absent) => Ok(("absent".to_owned(), "absent".to_owned(), false)),
        other => Err(unknown("unit", name, other)),
    };
    let (active, enabled, _) = state(starter)?;
    reload |= state(&name)?.2 || state(&auto)?.2;
    let now = mounted(facts, &mount.target)?;
    // What cannot be mounted now is mounted when the server is back; there is nothing to do.
    let away = !mount.automount && now.stale.is_some();
    let runs = active == "active" || away;
    let other = now
        .mounted
        .as_ref()
        .filter(|(_, source)| !same_source(source, &mount.source));
    if !runs || enabled != "enabled" {
        let old = (active != "absent").then(|| format!("{active}, {enabled}"));
        mend.diff
            .push(value_diff(starter, old.as_deref(), "active, enabled"));
    } else if let Some((_, source)) = other.filter(|_| !changed) {
        mend.diff
            .push(value_diff(&mount.target, Some(source), &mount.source));
    }
    let start = changed || !runs || enabled != "enabled" || other.is_some();
    let step = start.then(|| {
        Step::Nfs(NfsStep::Mount {
            server: mount.server.clone(),
            address: mount.address().to_owned(),
            port: unit::port(mount),
            target: mount.target.clone(),
            unit: name.clone(),
            automount: mount.automount.then(|| auto.clone()),
            drop: (!mount.automount).then(|| auto.clone()),
            remount: remount || other.is_some(),
            timeout: mount.timeout,
        })
    });
    Ok((reload, step))
}

/// What is mounted on `target`.
fn mounted<'a>(facts: &'a HostFacts, target: &str) -> Result<&'a MountFacts, String> {
    match facts.mounts.get(target) {
        Some(Known::Value(mount)) => Ok(mount),
        other => Err(unknown("mount", target, other)),
    }
}

/// Whether a line of fstab(5) is for `target`.
fn is_for(line: &str, target: &str) -> bool {
    let mut words = line.split_whitespace();
    let first = words.next().unwrap_or("#");
    let point = words.next().unwrap_or_default();
    !first.starts_with('#') && point.trim_end_matches('/') == target
}

/// The kernel leaves out slashes at the end that a person may have written.
fn same_source(one: &str, other: &str) -> bool {
    one.trim_end_matches('/') == other.trim_end_matches('/')
}

impl Resource for NfsMounts<'_> {
    fn name(&self) -> &'static str {
        "nfs.mounts"
    }

    fn probes(&self) -> Probes {
        let mut probes = Probes::new();
        if self.engine {
            probes.insert(Probe::File(DROP_IN.to_owned()));
        }
        if self.mounts.is_empty() {
            return probes;
        }
        probes.insert(Probe::Package(PACKAGE.to_owned()));
        probes.insert(Probe::File(FSTAB.to_owned()));
        if self.mounts.iter().any(|it| it.before_docker && self.engine) {
            probes.insert(Probe::Unit(DOCKER.to_owned()));
        }
        for mount in self.mounts {
            for name in [unit::mount_unit(mount), unit::automount_unit(mount)] {
                probes.insert(Probe::File(format!("{}/{name}", unit::FOLDER)));
                probes.insert(Probe::Unit(name));
            }
            probes.insert(Probe::Mount {
                target: mount.target.clone(),
                server: mount.address().to_owned(),
                port: unit::port(mount),
            });
        }
        probes
    }

    fn plan(&self, facts: &HostFacts) -> Verdict {
        if !self.engine && self.mounts.is_empty() {
            return Verdict::Same;
        }
        match self.taken(facts) {
            Err(why) => return Verdict::Unknown(why),
            Ok(Some(refusal)) => return refusal,
            Ok(None) => {}
        }
        match self.mend(facts) {
            Err(why) => Verdict::Unknown(why),
            Ok(mend) if mend.steps.is_empty() => Verdict::Same,
            Ok(mend) => {
                let summary = match self.mounts {
                    [] => "let Docker start without waiting for mounts".to_owned(),
                    [one] => format!("mount {} on {}", one.source, one.target),
                    more => format!("mount {} folders of NFS servers", more.len()),
                };
                Verdict::Change(Draft::safe(summary, mend.diff, mend.steps))
            }
        }
    }
}
