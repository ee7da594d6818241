//! What is done to disks.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::inventory::Filesystem;

/// A device as the plan saw it. The step looks again, and does nothing where it is another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceId {
    /// Its path, as the inventory names it.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its serial number; empty where it has none.
    pub serial: String,
    /// Its World Wide Name; empty where it has none.
    pub wwn: String,
}

/// Something to do to a disk or to LVM. All but [`StorageCall::Wipe`] write to a device only when
/// it is empty, or when what is on it is their own unfinished work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StorageCall {
    /// Erases all signatures of a device and of its partitions.
    Wipe {
        /// The device.
        device: DeviceId,
        /// What is on it, for people.
        holds: String,
    },
    /// Makes an empty device a physical volume of the volume group, which is made with the first.
    PhysicalVolume {
        /// The device.
        device: DeviceId,
        /// The volume group.
        group: String,
    },
    /// Lets LVM use the whole of a device that has grown.
    ResizePhysicalVolume {
        /// The device.
        device: DeviceId,
        /// The volume group that it must be in.
        group: String,
    },
    /// Makes the thin pool, and lets it be monitored and extended by the profile.
    ThinPool {
        /// The volume group.
        group: String,
        /// Its name.
        name: String,
        /// How much of the group is for data, in percent.
        data_percent: u8,
        /// How much of it is for metadata, in percent.
        metadata_percent: u8,
        /// Its chunk size in KiB.
        chunk_kib: u32,
        /// The name of the metadata profile.
        profile: String,
    },
    /// Lets a thin pool that is there be monitored and extended by the profile.
    MonitorPool {
        /// The volume group.
        group: String,
        /// Its name.
        name: String,
        /// The name of the metadata profile.
        profile: String,
    },
    /// Makes a logical volume with a file system.
    Volume {
        /// The volume group.
        group: String,
        /// Its name.
        name: String,
        /// How much of the group it takes, in percent.
        percent: u8,
        /// The file system.
        filesystem: Filesystem,
    },
    /// Extends a logical volume to its part of the group, and its file system with it.
    GrowVolume {
        /// The volume group.
        group: String,
        /// Its name.
        name: String,
        /// How much of the group it takes, in percent.
        percent: u8,
        /// The file system.
        filesystem: Filesystem,
        /// Where it is mounted.
        mounted: String,
    },
    /// Makes a file system on an empty device.
    Format {
        /// The device.
        device: DeviceId,
        /// The file system.
        filesystem: Filesystem,
    },
    /// Writes the mount unit of a file system, found by the UUID that it has by now.
    MountUnit {
        /// The device.
        device: DeviceId,
        /// The unit's file.
        path: String,
        /// Its text, with `@UUID@` for the UUID.
        content: String,
    },
    /// Mounts a mount unit on its directory, which must be empty, now and at boot.
    Mount {
        /// The unit.
        unit: String,
        /// The directory.
        path: String,
    },
}

impl StorageCall {
    /// The device that it writes to, where it writes to a whole one.
    pub fn writes(&self) -> Option<&DeviceId> {
        match self {
            Self::Wipe { device, .. }
            | Self::PhysicalVolume { device, .. }
            | Self::Format { device, .. } => Some(device),
            _ => None,
        }
    }
}

impl fmt::Display for StorageCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wipe { device, holds } => write!(
                f,
                "ERASE everything on {}: {device}, now holds: {holds}",
                device.path
            ),
            Self::PhysicalVolume { device, group } => write!(
                f,
                "make {} ({device}) a physical volume of volume group {group}, if it is empty",
                device.path
            ),
            Self::ResizePhysicalVolume { device, .. } => {
                write!(f, "let LVM use the whole of {} ({device})", device.path)
            }
            Self::ThinPool {
                group,
                name,
                data_percent,
                metadata_percent,
                chunk_kib,
                profile,
            } => write!(
                f,
                "make the thin pool {group}/{name}: data {data_percent} %, metadata {metadata_percent} % of the group, chunks of {chunk_kib} KiB, monitored with profile {profile}"
            ),
            Self::MonitorPool {
                group,
                name,
                profile,
            } => write!(
                f,
                "monitor the thin pool {group}/{name} with profile {profile}"
            ),
            Self::Volume {
                group,
                name,
                percent,
                filesystem,
            } => write!(
                f,
                "make the logical volume {group}/{name}: {percent} % of the group, {}",
                filesystem.name()
            ),
            Self::GrowVolume {
                group,
                name,
                percent,
                filesystem,
                ..
            } => write!(
                f,
                "extend the logical volume {group}/{name} and its {} to {percent} % of the group",
                filesystem.name()
            ),
            Self::Format { device, filesystem } => write!(
                f,
                "make an {} file system on {} ({device}), if it is empty",
                filesystem.name(),
                device.path
            ),
            Self::MountUnit { path, .. } => write!(f, "write {path} (mode 0644)"),
            Self::Mount { unit, path } => {
                write!(f, "mount {path} ({unit}), now and at boot, if it is empty")
            }
        }
    }
}

/// Its size and serial number: `8 GiB, serial disk1`.
impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bytes(self.size))?;
        match (self.serial.as_str(), self.wwn.as_str()) {
            ("", "") => f.write_str(", without a serial number"),
            ("", wwn) => write!(f, ", WWN {wwn}"),
            (serial, _) => write!(f, ", serial {serial}"),
        }
    }
}

/// A size for people: whole units where they are, else with one digit more.
pub(crate) fn bytes(size: u64) -> String {
    const UNITS: [(&str, u64); 4] = [
        ("TiB", 1 << 40),
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
    ];
    let Some((unit, factor)) = UNITS.iter().find(|(_, factor)| size >= *factor) else {
        return format!("{size} bytes");
    };
    let tenths = size / (factor / 10).max(1);
    if size.is_multiple_of(*factor) {
        format!("{} {unit}", size / factor)
    } else {
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    }
}
