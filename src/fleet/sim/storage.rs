//! Simulated disks: what is on them, and what steps do to them.

use std::collections::BTreeMap;

use crate::facts::{
    BlockDevice, Directory, HostFacts, LogicalVolume, Lvm, MountOf, PhysicalVolume, Probe,
    Signature, VolumeGroup,
};
use crate::fleet::{Fault, FaultKind};
use crate::known::Known;
use crate::plan::StorageCall;
use crate::plan::script::claim_path;

use super::world::SimHost;

/// The size of every simulated disk.
const SIZE: u64 = 8 << 30;

/// A disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SimDisk {
    /// What is on it, as libblkid names it; empty for nothing.
    pub content: String,
    /// The UUID of that.
    pub uuid: String,
}

/// The disks of a host, and what is made of them.
#[derive(Debug, Clone, Default)]
pub struct SimStorage {
    /// Whether the disk of the system is full: what writes there fails.
    pub full: bool,
    /// The disks by path.
    pub disks: BTreeMap<String, SimDisk>,
    /// Mounts: directory, and what is mounted there with its type.
    pub mounts: BTreeMap<String, (String, String)>,
    /// LVM's volumes.
    pub lvm: Lvm,
    /// Data that steps have destroyed: what nobody had allowed to be erased.
    pub lost: Vec<String>,
}

impl SimStorage {
    /// The answer to a question about disks.
    pub(super) fn answer(&self, probe: &Probe, facts: &mut HostFacts) {
        match probe {
            Probe::BlockDevice(path) => {
                let known = self
                    .disks
                    .get(path)
                    .map_or(Known::Absent, |disk| Known::Value(self.device(path, disk)));
                facts.devices.insert(path.clone(), known);
            }
            Probe::Lvm => facts.lvm = Known::Value(self.lvm.clone()),
            Probe::Directory(path) => {
                let known = self
                    .mounts
                    .get(path)
                    .map_or(Known::Absent, |(source, kind)| {
                        Known::Value(Directory {
                            empty: true,
                            mount_point: true,
                            source: source.clone(),
                            fstype: kind.clone(),
                            size_kib: SIZE / 1024,
                            used_kib: 0,
                            available_kib: SIZE / 1024,
                        })
                    });
                facts.directories.insert(path.clone(), known);
            }
            Probe::DropIns(_) => facts.drop_ins = Known::Value(BTreeMap::new()),
            _ => {}
        }
    }

    fn device(&self, path: &str, disk: &SimDisk) -> BlockDevice {
        let signature = (!disk.content.is_empty()).then(|| Signature {
            device: path.to_owned(),
            kind: disk.content.clone(),
            uuid: disk.uuid.clone(),
            label: String::new(),
        });
        let mounts = self.mounts.iter().filter(|(_, (source, _))| source == path);
        BlockDevice {
            path: path.to_owned(),
            kind: "disk".to_owned(),
            size: SIZE,
            serial: format!("serial-{path}"),
            signatures: signature.into_iter().collect(),
            mounts: mounts
                .map(|(point, _)| MountOf {
                    device: path.to_owned(),
                    point: point.clone(),
                })
                .collect(),
            ..BlockDevice::default()
        }
    }

    /// Writes to a disk, and remembers what was lost by it.
    fn overwrite(&mut self, path: &str, content: &str) -> Result<String, Fault> {
        let uuid = format!("uuid-{path}");
        let Some(disk) = self.disks.get_mut(path) else {
            return Err(Fault::new(FaultKind::Failed, "there is no such device"));
        };
        if !disk.content.is_empty() && disk.uuid != uuid {
            self.lost.push(format!("{}: {}", path, disk.content));
        }
        content.clone_into(&mut disk.content);
        disk.uuid.clone_from(&uuid);
        Ok(uuid)
    }
}

/// What a step does to the disks of `host`.
pub(super) fn step(host: &mut SimHost, call: &StorageCall) -> Result<(), Fault> {
    let storage = &mut host.storage;
    if let Some(device) = call.writes()
        && !matches!(call, StorageCall::Wipe { .. })
    {
        let text = format!(
            "size={}\nserial={}\nwwn={}\nuuid=uuid-{}\nstate=done\n",
            device.size, device.serial, device.wwn, device.path
        );
        host.files.insert(claim_path(&device.path), (text, 0o600));
    }
    match call {
        StorageCall::Wipe { device, .. } => {
            storage
                .disks
                .insert(device.path.clone(), SimDisk::default());
        }
        StorageCall::PhysicalVolume { device, group } => {
            let uuid = storage.overwrite(&device.path, "LVM2_member")?;
            let lvm = &mut storage.lvm;
            lvm.physical.retain(|it| it.uuid != uuid);
            lvm.physical.push(PhysicalVolume {
                device: device.path.clone(),
                uuid,
                group: group.clone(),
                device_size: SIZE,
                size: SIZE,
            });
            lvm.groups.retain(|it| it.name != *group);
            let count = u64::try_from(lvm.physical.len()).unwrap_or(1);
            lvm.groups.push(VolumeGroup {
                name: group.clone(),
                tags: vec!["skep".to_owned()],
                size: SIZE * count,
                free: 0,
                extent: 4 << 20,
                missing: 0,
            });
        }
        StorageCall::ThinPool {
            group,
            name,
            profile,
            ..
        } => add(&mut storage.lvm, group, name, "thin-pool", profile),
        StorageCall::MonitorPool { .. } | StorageCall::ResizePhysicalVolume { .. } => {}
        StorageCall::Volume { group, name, .. } => add(&mut storage.lvm, group, name, "linear", ""),
        StorageCall::GrowVolume { group, name, .. } => {
            let size = storage.lvm.group(group).map_or(0, |group| group.size);
            for volume in &mut storage.lvm.volumes {
                if volume.group == *group && volume.name == *name {
                    volume.size = size;
                }
            }
        }
        StorageCall::Format { device, filesystem } => {
            storage.overwrite(&device.path, filesystem.name())?;
        }
        StorageCall::MountUnit {
            device,
            path,
            content,
        } => {
            let uuid = storage.disks.get(&device.path).map(|disk| &disk.uuid);
            let uuid = uuid.map_or("", String::as_str);
            let text = content.replace("@UUID@", uuid);
            host.files.insert(path.clone(), (text, 0o644));
        }
        StorageCall::Mount { unit, path } => {
            let file = format!("/etc/systemd/system/{unit}");
            let Some((text, _)) = host.files.get(&file) else {
                return Err(Fault::new(FaultKind::Failed, "no such unit"));
            };
            let get = |key: &str| {
                let mut lines = text.lines();
                lines
                    .find_map(|line| line.strip_prefix(key))
                    .unwrap_or_default()
            };
            let what = get("What=");
            let disk = storage
                .disks
                .iter()
                .find(|(_, disk)| !disk.uuid.is_empty() && what.ends_with(&disk.uuid));
            let source = disk.map_or(what, |(path, _)| path.as_str()).to_owned();
            let kind = get("Type=").to_owned();
            storage.mounts.insert(path.clone(), (source, kind));
        }
    }
    Ok(())
}

fn add(lvm: &mut Lvm, group: &str, name: &str, kind: &str, profile: &str) {
    if lvm.volume(group, name).is_some() {
        return;
    }
    let size = lvm.group(group).map_or(0, |group| group.size);
    lvm.volumes.push(LogicalVolume {
        group: group.to_owned(),
        name: name.to_owned(),
        size,
        kind: kind.to_owned(),
        monitor: "monitored".to_owned(),
        profile: profile.to_owned(),
        ..LogicalVolume::default()
    });
}
