//! How full Docker's storage is, and what to say before it is full.

use serde::{Deserialize, Serialize};

use crate::facts::HostFacts;
use crate::inventory::{Host, Inventory, Storage};
use crate::known::Known;
use crate::resource::storage::{GROUP, POOL};
use crate::swarm::Gathered;

/// From which use on there is a warning, in percent: where Docker's manual lets the pool be
/// extended.
const WARN_PERCENT: f64 = 80.0;

/// How full a host's storage is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StorageStatus {
    /// The host.
    pub host: String,
    /// The thin pool, with `[storage.direct-lvm]`.
    pub pool: Option<PoolStatus>,
    /// The file system of the data root, with the other kinds.
    pub data_root: Option<FilesystemStatus>,
}

/// How full a thin pool is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PoolStatus {
    /// Its name: `docker/thinpool`.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// How much of its data is used, in percent.
    pub data_percent: Option<f64>,
    /// How much of its metadata is used, in percent.
    pub metadata_percent: Option<f64>,
    /// Whether it is monitored, without which it is not extended.
    pub monitored: bool,
    /// What is free of its volume group, in bytes.
    pub group_free: u64,
}

/// How full a file system is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesystemStatus {
    /// The directory.
    pub path: String,
    /// What it is on.
    pub source: String,
    /// Its type.
    pub fstype: String,
    /// Its size in KiB.
    pub size_kib: u64,
    /// What is used of it in KiB.
    pub used_kib: u64,
    /// How much of it is used, in percent of what can be used.
    pub percent: u64,
}

/// The storage of all hosts that answered, and what deserves a look.
pub(super) fn storage(
    inventory: &Inventory,
    gathered: &Gathered,
) -> (Vec<StorageStatus>, Vec<String>) {
    let (mut all, mut warnings) = (Vec::new(), Vec::new());
    for host in &inventory.hosts {
        let (Some(storage), Some(Ok(facts))) = (&host.storage, gathered.get(&host.name)) else {
            continue;
        };
        let status = match storage {
            Storage::DirectLvm(_) => pool(host, facts, &mut warnings),
            Storage::Lvm(_) | Storage::Disk(_) => {
                filesystem(host, storage.data_root(), facts, &mut warnings)
            }
        };
        all.extend(status);
    }
    (all, warnings)
}

fn pool(host: &Host, facts: &HostFacts, warnings: &mut Vec<String>) -> Option<StorageStatus> {
    let name = &host.name;
    let lvm = match &facts.lvm {
        Known::Value(lvm) => lvm,
        Known::Unknown(why) => {
            warnings.push(format!("{name}: the thin pool cannot be seen: {why}"));
            return None;
        }
        _ => return None,
    };
    let found = lvm
        .volume(GROUP, POOL)
        .filter(|it| it.kind == "thin-pool")?;
    let monitored = found.monitor == "monitored";
    for (what, percent) in [
        ("data", found.data_percent),
        ("metadata", found.metadata_percent),
    ] {
        if let Some(percent) = percent.filter(|it| *it >= WARN_PERCENT) {
            warnings.push(format!(
                "{name}: the thin pool's {what} is {percent:.1} % full; a pool that is full stops every container: add a device to `[storage.direct-lvm]`, or remove images"
            ));
        }
    }
    if !monitored {
        warnings.push(format!(
            "{name}: the thin pool is not monitored, so that it is not extended: `skep up` mends it"
        ));
    }
    Some(StorageStatus {
        host: name.clone(),
        pool: Some(PoolStatus {
            name: format!("{GROUP}/{POOL}"),
            size: found.size,
            data_percent: found.data_percent,
            metadata_percent: found.metadata_percent,
            monitored,
            group_free: lvm.group(GROUP).map_or(0, |group| group.free),
        }),
        data_root: None,
    })
}

fn filesystem(
    host: &Host,
    root: &str,
    facts: &HostFacts,
    warnings: &mut Vec<String>,
) -> Option<StorageStatus> {
    let name = &host.name;
    let found = match facts.directories.get(root)? {
        Known::Value(found) if found.mount_point => found,
        Known::Unknown(why) => {
            warnings.push(format!("{name}: `{root}` cannot be seen: {why}"));
            return None;
        }
        _ => return None,
    };
    let usable = (found.used_kib + found.available_kib).max(1);
    let percent = found.used_kib * 100 / usable;
    if percent >= 80 {
        warnings.push(format!(
            "{name}: `{root}` is {percent} % full: add a device to `[storage.lvm]`, or remove images"
        ));
    }
    Some(StorageStatus {
        host: name.clone(),
        pool: None,
        data_root: Some(FilesystemStatus {
            path: root.to_owned(),
            source: found.source.clone(),
            fstype: found.fstype.clone(),
            size_kib: found.size_kib,
            used_kib: found.used_kib,
            percent,
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{LogicalVolume, Lvm};
    use std::path::Path;

    fn gathered(data: f64, monitor: &str) -> Gathered {
        let pool = LogicalVolume {
            group: GROUP.to_owned(),
            name: POOL.to_owned(),
            kind: "thin-pool".to_owned(),
            data_percent: Some(data),
            metadata_percent: Some(5.0),
            monitor: monitor.to_owned(),
            ..LogicalVolume::default()
        };
        let facts = HostFacts {
            lvm: Known::Value(Lvm {
                volumes: vec![pool],
                ..Lvm::default()
            }),
            ..HostFacts::default()
        };
        Gathered::from([("m1".to_owned(), Ok(facts))])
    }

    #[test]
    fn a_pool_is_told_before_it_is_full() {
        let text = "[cluster]\nname = \"c\"\n[docker]\nversion = \"20.10\"\n[storage.direct-lvm]\ndevice = \"/dev/disk/by-id/x\"\ndata-percent = 70\n[[host]]\nname = \"m1\"\naddress = \"10.9.0.1\"\nrole = \"manager\"\n";
        let (inventory, found) = crate::inventory::parse(text, Path::new("skep.toml"));
        let inventory = inventory.unwrap_or_else(|| panic!("{found:?}"));
        let (all, warnings) = storage(&inventory, &gathered(12.0, "monitored"));
        assert_eq!((all.len(), warnings.len()), (1, 0));
        let (_, warnings) = storage(&inventory, &gathered(80.0, "not monitored"));
        assert!(warnings[0].contains("80.0 % full"), "{warnings:?}");
        assert!(warnings[1].contains("not monitored"), "{warnings:?}");
    }
}
