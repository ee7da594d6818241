//! NFS on simulated hosts: exports follow the files, and mounts the steps; servers always answer.

use std::collections::BTreeSet;

use crate::facts::{MountFacts, UNIT_MARK, Unit};
use crate::known::Known;
use crate::plan::NfsStep;

use super::world::SimHost;

const SERVER: &str = "nfs-server.service";
const TABLE: &str = "/var/lib/nfs/etab";
const UNITS: &str = "/etc/systemd/system/";

/// Whether a unit is one of NFS.
pub(super) fn is_unit(unit: &str) -> bool {
    let kind = unit.rsplit('.').next();
    unit == SERVER || kind.is_some_and(|kind| ["mount", "automount"].contains(&kind))
}

/// The state of a unit of NFS.
pub(super) fn unit(host: &SimHost, unit: &str) -> Known<Unit> {
    let runs = match unit {
        SERVER if !host.packages.contains_key("nfs-kernel-server") => return Known::Absent,
        SERVER => true,
        _ if !host.files.contains_key(&format!("{UNITS}{unit}")) => return Known::Absent,
        _ => host.mounts.values().any(|units| units.contains(unit)),
    };
    Known::Value(Unit {
        active: if runs { "active" } else { "inactive" }.to_owned(),
        enabled: if runs { "enabled" } else { "disabled" }.to_owned(),
        reload: false,
    })
}

/// What is mounted on a folder.
pub(super) fn mount(host: &SimHost, target: &str) -> Known<MountFacts> {
    Known::Value(MountFacts {
        automount: host.mounts.contains_key(target),
        ..MountFacts::default()
    })
}

/// The units of mounts that skep wrote.
pub(super) fn mount_units(host: &SimHost) -> BTreeSet<String> {
    let names = host.files.iter().filter_map(|(path, (text, _))| {
        let name = path.strip_prefix(UNITS).filter(|name| is_unit(name))?;
        text.starts_with(UNIT_MARK).then(|| name.to_owned())
    });
    names.collect()
}

/// What a step of NFS does to a host.
pub(super) fn act(host: &mut SimHost, step: &NfsStep) {
    match step {
        NfsStep::MakeFolders { .. } | NfsStep::ReadDomain | NfsStep::Reload => {}
        NfsStep::Export { .. } => {
            let table = export_table(host);
            host.files.insert(TABLE.to_owned(), (table, 0o644));
        }
        NfsStep::Mount {
            target,
            unit,
            automount,
            drop,
            ..
        } => {
            if let Some(name) = drop {
                host.files.remove(&format!("{UNITS}{name}"));
            }
            let starts = automount.as_ref().unwrap_or(unit).clone();
            host.mounts.insert(target.clone(), BTreeSet::from([starts]));
        }
        NfsStep::Unmount { target, units } => {
            host.mounts.remove(target);
            for name in units {
                host.files.remove(&format!("{UNITS}{name}"));
            }
        }
    }
}

/// `PATH CLIENT(OPTIONS) ...` of each file, as a line for each client.
fn export_table(host: &SimHost) -> String {
    let files = host
        .files
        .iter()
        .filter(|(path, _)| path.starts_with("/etc/exports.d/"));
    let lines = files.flat_map(|(_, (text, _))| text.lines());
    let rows = lines
        .filter(|line| !line.starts_with('#'))
        .flat_map(|line| {
            let mut words = line.split_whitespace();
            let path = words.next().unwrap_or_default();
            words.map(move |client| format!("{path}\t{client}\n"))
        });
    rows.collect()
}
