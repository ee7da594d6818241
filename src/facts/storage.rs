//! What hosts say of their disks.

use serde::{Deserialize, Serialize};

/// A disk or partition, with everything that is on it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BlockDevice {
    /// The kernel's name of it, such as `/dev/vdb`.
    pub path: String,
    /// What it is, as `lsblk` says: `disk`, `part`, `lvm`, `crypt`, `raid1`, `loop`, `rom`, ...
    pub kind: String,
    /// Its size in bytes.
    pub size: u64,
    /// Whether it can only be read.
    pub read_only: bool,
    /// Whether it can be pulled out.
    pub removable: bool,
    /// Its serial number; empty where it has none.
    pub serial: String,
    /// Its World Wide Name; empty where it has none.
    pub wwn: String,
    /// Its model.
    pub model: String,
    /// Its names below `/dev/disk/by-id`.
    pub links: Vec<String>,
    /// Everything that `wipefs` knows by its looks, on the device and on its partitions.
    pub signatures: Vec<Signature>,
    /// Its partitions, by kernel name.
    pub partitions: Vec<String>,
    /// What device-mapper, RAID or the like makes of it or of its partitions: kernel name and kind,
    /// such as `dm-0 (lvm)`.
    pub users: Vec<String>,
    /// Where it, or what is made of it, is mounted.
    pub mounts: Vec<MountOf>,
    /// Which of it is used as swap.
    pub swaps: Vec<String>,
}

/// Something that is on a device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Signature {
    /// The device or partition, by kernel name.
    pub device: String,
    /// What it is, as libblkid names it: `ext4`, `gpt`, `LVM2_member`, ...
    pub kind: String,
    /// Its UUID.
    pub uuid: String,
    /// Its label.
    pub label: String,
}

/// A mount.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MountOf {
    /// The device, by kernel name.
    pub device: String,
    /// Where.
    pub point: String,
}

/// LVM's volumes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lvm {
    /// The physical volumes.
    pub physical: Vec<PhysicalVolume>,
    /// The volume groups.
    pub groups: Vec<VolumeGroup>,
    /// The logical volumes that one can see.
    pub volumes: Vec<LogicalVolume>,
}

/// A physical volume.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PhysicalVolume {
    /// The device.
    pub device: String,
    /// Its UUID.
    pub uuid: String,
    /// Its volume group; empty where it is in none.
    pub group: String,
    /// The device's size in bytes.
    pub device_size: u64,
    /// How much of it LVM uses, in bytes.
    pub size: u64,
}

/// A volume group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VolumeGroup {
    /// Its name.
    pub name: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its size in bytes.
    pub size: u64,
    /// What is free of it, in bytes.
    pub free: u64,
    /// The size of an extent in bytes.
    pub extent: u64,
    /// How many of its physical volumes are missing.
    pub missing: u32,
}

/// A logical volume.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogicalVolume {
    /// Its volume group.
    pub group: String,
    /// Its name.
    pub name: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its size in bytes.
    pub size: u64,
    /// `linear`, `thin-pool`, ...
    pub kind: String,
    /// How full a pool's data is, in percent.
    pub data_percent: Option<f64>,
    /// How full a pool's metadata is, in percent.
    pub metadata_percent: Option<f64>,
    /// `monitored`, `not monitored`, or empty where there is nothing to monitor.
    pub monitor: String,
    /// Its metadata profile.
    pub profile: String,
    /// A pool's chunk size in bytes.
    pub chunk: u64,
}

// Percentages are read from text with two digits: equal text is an equal number.
impl Eq for LogicalVolume {}

/// A directory, and the file system that it is in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Directory {
    /// Whether nothing is in it.
    pub empty: bool,
    /// Whether something is mounted on this very directory.
    pub mount_point: bool,
    /// What its file system is on, by kernel name.
    pub source: String,
    /// Its file system's type.
    pub fstype: String,
    /// The size of its file system in KiB.
    pub size_kib: u64,
    /// What is used of it in KiB.
    pub used_kib: u64,
    /// What is free for the superuser's programs in KiB.
    pub available_kib: u64,
}

impl Lvm {
    /// The volume group of that name.
    pub fn group(&self, name: &str) -> Option<&VolumeGroup> {
        self.groups.iter().find(|group| group.name == name)
    }

    /// A logical volume.
    pub fn volume(&self, group: &str, name: &str) -> Option<&LogicalVolume> {
        let mut volumes = self.volumes.iter();
        volumes.find(|volume| volume.group == group && volume.name == name)
    }

    /// The physical volumes of a group.
    pub fn members<'a>(&'a self, group: &'a str) -> impl Iterator<Item = &'a PhysicalVolume> {
        self.physical.iter().filter(move |it| it.group == group)
    }
}
