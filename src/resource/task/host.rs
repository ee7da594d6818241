//! Packages, units, users, settings of the kernel, mounts.

use std::collections::{BTreeMap, BTreeSet};

use crate::known::Known;
use crate::plan::{HostCall, PackageSpec, ServiceAction, Step};
use crate::playbook::{Mount, Package, Presence, Service, UnitState, User};
use crate::resource::kernel::{file_step, unknown};
use crate::resource::nfs::unit::{FOLDER, escape};
use crate::resource::{Draft, Verdict, value_diff};
use crate::template::Text;

use super::Scene;

/// The first line of the units that mounts of playbooks have.
pub(crate) const MOUNT_MARK: &str = "# Made by `skep run`; changes here are lost.";

pub(super) fn package(package: &Package, scene: &Scene<'_>) -> Verdict {
    let mut diff = Vec::new();
    let mut names = Vec::new();
    let mut broken = false;
    for name in package.names.iter().map(|name| &name.value) {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+.-".contains(c);
        if !name.chars().all(plain) {
            return Verdict::Unknown(format!("`{name}` is no name of a package"));
        }
        let there = match scene.facts.packages.get(name) {
            Some(Known::Value(there)) => Some(there),
            Some(Known::Absent) => None,
            other => return Verdict::Unknown(unknown("package", name, other)),
        };
        broken |= there.is_some_and(|there| there.broken);
        let whole = there.filter(|there| !there.broken);
        let old = there.map(|there| there.version.as_str());
        match package.state {
            Presence::Present if whole.is_none() => {
                diff.push(value_diff(name, old, "installed"));
                names.push(name.clone());
            }
            Presence::Absent if there.is_some() => {
                diff.push(crate::plan::Diff::Value {
                    name: name.clone(),
                    old: old.map(str::to_owned),
                    new: None,
                });
                names.push(name.clone());
            }
            Presence::Present | Presence::Absent => {}
        }
    }
    if names.is_empty() {
        return Verdict::Same;
    }
    let listed = names.join(", ");
    let mut steps = Vec::new();
    if broken {
        steps.push(Step::RepairPackages);
    }
    let summary = match package.state {
        Presence::Present => {
            let spec = |name| PackageSpec {
                name,
                version: None,
            };
            steps.push(Step::RefreshPackages);
            steps.push(Step::InstallPackages {
                packages: names.into_iter().map(spec).collect(),
            });
            format!("install {listed}")
        }
        Presence::Absent => {
            steps.push(Step::Host(HostCall::RemovePackages { packages: names }));
            format!("remove {listed}")
        }
    };
    Verdict::Change(Draft::safe(summary, diff, steps))
}

pub(super) fn service(service: &Service, scene: &Scene<'_>) -> Verdict {
    let unit = &service.unit.value;
    let (active, enabled) = match scene.facts.units.get(unit) {
        Some(Known::Value(there)) => (there.active.as_str(), there.enabled.as_str()),
        // The package or file that an earlier task puts there brings it.
        Some(Known::Absent) if scene.moving => ("not there yet", "not there yet"),
        Some(Known::Absent) => {
            return Verdict::Unknown(format!(
                "there is no unit `{unit}`, and no earlier task changes anything that could bring it"
            ));
        }
        other => return Verdict::Unknown(unknown("unit", unit, other)),
    };
    let to_run = service.state == Some(UnitState::Running);
    if enabled == "masked" && (to_run || service.enabled == Some(true)) {
        return Verdict::Refuse {
            why: format!("`{unit}` is masked: somebody has made sure that it never starts"),
            hint: format!("If it may start, run `systemctl unmask {unit}` on the host."),
        };
    }
    let mut diff = Vec::new();
    let mut steps = Vec::new();
    let mut step = |action| {
        steps.push(Step::Service {
            unit: unit.clone(),
            action,
        });
    };
    // What has no `[Install]` section of its own is started by others.
    let at_boot = ["enabled", "static", "generated", "alias", "indirect"].contains(&enabled);
    let by_itself = ["enabled", "enabled-runtime"].contains(&enabled);
    match service.enabled {
        Some(true) if !at_boot => {
            diff.push(value_diff("at boot", Some(enabled), "enabled"));
            step(ServiceAction::Enable);
        }
        Some(false) if by_itself || enabled == "not there yet" => {
            diff.push(value_diff("at boot", Some(enabled), "disabled"));
            step(ServiceAction::Disable);
        }
        _ => {}
    }
    let runs = ["active", "activating", "reloading"].contains(&active);
    match service.state {
        Some(UnitState::Running) if !runs => {
            diff.push(value_diff("now", Some(active), "running"));
            step(ServiceAction::Start);
        }
        Some(UnitState::Stopped) if runs || active == "not there yet" => {
            diff.push(value_diff("now", Some(active), "stopped"));
            step(ServiceAction::Stop);
        }
        _ => {}
    }
    if steps.is_empty() {
        return Verdict::Same;
    }
    Verdict::Change(Draft::safe(format!("set {unit}"), diff, steps))
}

pub(super) fn user(user: &User, scene: &Scene<'_>) -> Verdict {
    let name = &user.name.value;
    let there = match scene.facts.users.get(name) {
        Some(Known::Value(there)) => Some(there),
        Some(Known::Absent) => None,
        other => return Verdict::Unknown(unknown("user", name, other)),
    };
    let own = [Some("root"), scene.host.ssh.user.as_deref()];
    let shell = user.shell.as_ref().map(|shell| shell.value.clone());
    let mut diff = Vec::new();
    if there.is_none() {
        let kind = if user.system {
            "of a service"
        } else {
            "a person"
        };
        diff.push(value_diff("user", None, kind));
    }
    let now = there.map(|there| there.shell.as_str());
    let new_shell = shell.filter(|shell| now != Some(shell.as_str()));
    if let Some(shell) = &new_shell {
        if own.contains(&Some(name.as_str())) {
            return Verdict::Refuse {
                why: format!("skep or its owner logs in as `{name}`, whose shell would change"),
                hint: "Leave `shell` out, or change it by hand while you are logged in.".to_owned(),
            };
        }
        diff.push(value_diff("shell", now, shell));
    }
    let now = there.map(|there| there.groups.clone()).unwrap_or_default();
    let groups: BTreeSet<String> = user.groups.iter().map(|it| it.value.clone()).collect();
    let missing: Vec<String> = groups.difference(&now).cloned().collect();
    if !missing.is_empty() {
        let now: Vec<&str> = now.iter().map(String::as_str).collect();
        let old = there.map(|_| now.join(" "));
        let new = [now.join(" "), missing.join(" ")].join(" ");
        diff.push(value_diff("groups", old.as_deref(), new.trim()));
    }
    if diff.is_empty() {
        return Verdict::Same;
    }
    let verb = if there.is_some() { "change" } else { "make" };
    let step = HostCall::User {
        name: name.clone(),
        uid: user.uid,
        system: user.system,
        shell: new_shell,
        home: user.home.as_ref().map(|home| home.value.clone()),
        groups: missing,
    };
    let summary = format!("{verb} the user {name}");
    Verdict::Change(Draft::safe(summary, diff, vec![Step::Host(step)]))
}

/// The file of a setting that is to last: of its own, so that tasks do not take each other's away.
pub(super) fn sysctl_file(name: &str) -> String {
    format!("/etc/sysctl.d/91-skep-{name}.conf")
}

pub(super) fn sysctl(values: &BTreeMap<String, Text>, scene: &Scene<'_>) -> Verdict {
    let mut diff = Vec::new();
    let mut steps = Vec::new();
    let mut set = BTreeMap::new();
    for (name, value) in values {
        let words: Vec<&str> = value.value.split_whitespace().collect();
        let value = words.join(" ");
        match file_step(
            scene.facts,
            &sysctl_file(name),
            &format!("{name} = {value}\n"),
        ) {
            Ok(found) => found.into_iter().for_each(|(difference, step)| {
                diff.push(difference);
                steps.push(step);
            }),
            Err(why) => return Verdict::Unknown(why),
        }
        let now = match scene.facts.sysctls.get(name) {
            Some(Known::Value(now)) => Some(now.as_str()),
            // A module that an earlier task brings has settings of its own.
            Some(Known::Absent) if scene.moving => None,
            Some(Known::Absent) => {
                return Verdict::Unknown(format!("its kernel has no setting `{name}`"));
            }
            other => return Verdict::Unknown(unknown("kernel setting", name, other)),
        };
        if now != Some(value.as_str()) {
            diff.push(value_diff(name, now, &value));
            set.insert(name.clone(), value);
        }
    }
    if !set.is_empty() {
        steps.push(Step::SetSysctls { values: set });
    }
    if steps.is_empty() {
        return Verdict::Same;
    }
    Verdict::Change(Draft::safe("set the kernel's settings", diff, steps))
}

/// The unit of a mount, and its file.
pub(super) fn mount_unit(target: &str) -> (String, String) {
    let unit = format!("{}.mount", escape(target));
    let path = format!("{FOLDER}/{unit}");
    (unit, path)
}

pub(super) fn mount(mount: &Mount, scene: &Scene<'_>) -> Verdict {
    let target = &mount.target.value;
    let (unit, path) = mount_unit(target);
    // systemd fills in what follows a percent sign.
    let plain = |text: &Text| text.value.replace('%', "%%");
    // What nothing at boot waits for cannot keep the host from booting.
    let content = format!(
        "{MOUNT_MARK}\n[Mount]\nWhat={}\nWhere={}\nType={}\nOptions={}\n\n\
         [Install]\nWantedBy=multi-user.target\n",
        plain(&mount.source),
        plain(&mount.target),
        plain(&mount.fstype),
        plain(&mount.options),
    );
    let there = match scene.facts.units.get(&unit) {
        Some(Known::Value(there)) => Some(there),
        Some(Known::Absent) => None,
        other => return Verdict::Unknown(unknown("unit", &unit, other)),
    };
    let ours = match scene.facts.files.get(&path) {
        Some(Known::Value(file)) => {
            let text = file.content.as_deref().unwrap_or_default();
            Some(text.starts_with(MOUNT_MARK))
        }
        Some(Known::Absent) => None,
        other => return Verdict::Unknown(unknown("file", &path, other)),
    };
    if ours == Some(false) || ours.is_none() && there.is_some() {
        return Verdict::Refuse {
            why: format!("`{target}` is mounted, or set up to be mounted, by something else"),
            hint: format!(
                "Look at `findmnt {target}`, `/etc/fstab` and `systemctl cat {unit}` on the host, and take that away first."
            ),
        };
    }
    let mut diff = Vec::new();
    let mut steps = Vec::new();
    match file_step(scene.facts, &path, &content) {
        Ok(found) => found.into_iter().for_each(|(difference, step)| {
            diff.push(difference);
            steps.push(step);
        }),
        Err(why) => return Verdict::Unknown(why),
    }
    let active = there.is_some_and(|there| there.active == "active");
    let enabled = there.is_some_and(|there| there.enabled == "enabled");
    let changed = !steps.is_empty() || there.is_some_and(|there| there.reload);
    let action = if active && enabled && !changed {
        return Verdict::Same;
    } else if active && changed {
        // It fails where the folder is in use, and then the old mount stays.
        ServiceAction::Restart
    } else {
        ServiceAction::EnableNow
    };
    let old = there.map_or("not mounted", |there| there.active.as_str());
    diff.push(value_diff(target, Some(old), "mounted"));
    if action == ServiceAction::Restart && !enabled {
        steps.push(Step::Service {
            unit: unit.clone(),
            action: ServiceAction::Enable,
        });
    }
    steps.push(Step::Service { unit, action });
    Verdict::Change(Draft::safe(format!("mount {target}"), diff, steps))
}
