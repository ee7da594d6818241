//! The volume group `docker`: the thin pool of direct-lvm, and the volumes of `[storage.lvm]`.

use crate::facts::{HostFacts, LogicalVolume, Lvm, VolumeGroup};
use crate::inventory::{CONTAINERD_ROOT, DirectLvm, Filesystem};
use crate::known::Known;
use crate::plan::{Step, StorageCall};
use crate::resource::kernel::unknown;
use crate::resource::value_diff;

use super::device::{self, State, Trouble, identity};
use super::{CONTAINERD, DATA, EngineStorage, GROUP, POOL, Work, found, mount, write};

/// The tag of a volume group that skep made.
pub(crate) const TAG: &str = "skep";
/// The tag of a logical volume that is not finished.
pub(crate) const NEW: &str = "skep.new";
/// The tag of a logical volume whose file system may be smaller than itself.
pub(crate) const GROW: &str = "skep.grow";

/// The profile that lets the pool be extended, as Docker's manual names it.
const PROFILE: &str = "docker-thinpool";
/// Where LVM reads it.
pub(super) const PROFILE_FILE: &str = "/etc/lvm/profile/docker-thinpool.profile";

/// What the volume group is.
enum Group<'a> {
    /// There is none.
    None,
    /// Skep made it.
    Ours(&'a VolumeGroup),
    /// Somebody else made it, on the declared devices.
    ByHand,
    /// It is not used; why has been said.
    Refused,
}

/// A logical volume with a file system.
struct Wanted<'a> {
    name: &'static str,
    percent: u8,
    point: &'a str,
}

impl EngineStorage<'_> {
    /// The volume group and its devices; new ones are made physical volumes.
    fn group<'f>(
        &self,
        devices: &[String],
        facts: &'f HostFacts,
        work: &mut Work,
    ) -> Result<(Group<'f>, Option<&'f Lvm>), Trouble> {
        let lvm = match &facts.lvm {
            Known::Value(lvm) => Some(lvm),
            Known::Absent => None,
            other => return Err(Trouble::Unknown(unknown("volumes", "LVM", Some(other)))),
        };
        let mut members = Vec::new();
        let mut additions = Vec::new();
        let mut seen: Vec<(&String, &str)> = Vec::new();
        let refused = work.refused.len();
        for path in devices {
            let device = match device::known(facts, path) {
                Err(Trouble::Refused(why)) => {
                    work.refused.push(why);
                    continue;
                }
                other => other?,
            };
            if let Some((first, _)) = seen.iter().find(|(_, it)| *it == device.path) {
                work.refused
                    .push(format!("`{first}` and `{path}` are one device"));
                continue;
            }
            seen.push((path, device.path.as_str()));
            match self.state(facts, path)? {
                State::Member => {
                    members.push(device.path.as_str());
                    Self::grown(path, facts, lvm, work)?;
                }
                State::Empty | State::Ours(_) => additions.push(identity(path, device)),
                State::Other(reasons) => work.refused.push(found(path, &reasons)),
            }
        }
        let group = lvm.and_then(|lvm| lvm.group(GROUP));
        let kind = match group {
            None => Group::None,
            Some(group) if group.tags.iter().any(|tag| tag == TAG) => Group::Ours(group),
            Some(_) => Group::ByHand,
        };
        if let (Some(lvm), Some(group)) = (lvm, group) {
            // A device that is missing has `[unknown]` for its name.
            let mine = |uuid: &str| {
                devices.iter().any(|path| {
                    let known = facts.devices.get(path).and_then(Known::value);
                    known.is_some_and(|device| device.signatures.iter().any(|it| it.uuid == uuid))
                })
            };
            let strange = lvm.members(GROUP).filter(|it| !mine(&it.uuid));
            let strange: Vec<&str> = strange.map(|it| it.device.as_str()).collect();
            if group.missing > 0 {
                work.refused.push(format!(
                    "the volume group `{GROUP}` misses {} of its devices",
                    group.missing
                ));
            } else if !strange.is_empty() {
                work.refused.push(format!(
                    "the volume group `{GROUP}` has {} too, which the inventory does not give to this host; skep takes no device out of a group",
                    strange.join(", ")
                ));
            } else if matches!(kind, Group::ByHand) && !additions.is_empty() {
                work.refused.push(format!(
                    "the volume group `{GROUP}` was not made by skep, which adds no device to it"
                ));
            }
        }
        if work.refused.len() > refused {
            return Ok((Group::Refused, lvm));
        }
        for device in additions {
            let path = &device.path;
            work.diff.push(value_diff(
                &format!("{path} ({device})"),
                Some("empty"),
                &format!("physical volume of {GROUP}"),
            ));
            work.disks.push(Step::Storage(StorageCall::PhysicalVolume {
                device: device.clone(),
                group: GROUP.to_owned(),
            }));
        }
        Ok((kind, lvm))
    }

    /// A device that has grown since it became a physical volume.
    fn grown(
        path: &str,
        facts: &HostFacts,
        lvm: Option<&Lvm>,
        work: &mut Work,
    ) -> Result<(), Trouble> {
        let device = device::known(facts, path)?;
        let Some(lvm) = lvm else { return Ok(()) };
        let physical = lvm.physical.iter().find(|it| {
            device
                .signatures
                .iter()
                .any(|signature| signature.uuid == it.uuid)
        });
        let group = lvm.group(GROUP);
        let (Some(physical), Some(group)) = (physical, group) else {
            return Ok(());
        };
        // LVM's own metadata and what is less than an extent are no room.
        let room = physical.device_size.saturating_sub(physical.size);
        if room >= 2 * group.extent.max(1 << 20) {
            work.diff.push(value_diff(
                &format!("used of {path}"),
                Some(&crate::plan::bytes(physical.size)),
                &crate::plan::bytes(physical.device_size),
            ));
            work.disks
                .push(Step::Storage(StorageCall::ResizePhysicalVolume {
                    device: identity(path, device),
                    group: GROUP.to_owned(),
                }));
        }
        Ok(())
    }

    /// `[storage.direct-lvm]`.
    pub(super) fn pool(
        &self,
        direct: &DirectLvm,
        facts: &HostFacts,
        work: &mut Work,
    ) -> Result<(), Trouble> {
        let (group, lvm) = self.group(&direct.devices, facts, work)?;
        if matches!(group, Group::Refused) {
            return Ok(());
        }
        let profile = format!(
            "activation {{\n  thin_pool_autoextend_threshold={}\n  thin_pool_autoextend_percent={}\n}}\n",
            direct.autoextend_threshold, direct.autoextend_percent
        );
        // Before the pool, which takes it at once.
        let mut before = Work::default();
        write(facts, PROFILE_FILE, &profile, &mut before)?;
        work.diff.append(&mut before.diff);
        work.disks.append(&mut before.files);
        let pool = lvm.and_then(|lvm| lvm.volume(GROUP, POOL));
        match pool.filter(|it| it.kind == "thin-pool") {
            Some(pool) => mend_pool(pool, work),
            None if matches!(group, Group::ByHand) => work.refused.push(format!(
                "the volume group `{GROUP}` was not made by skep, and has no thin pool `{POOL}`"
            )),
            None => {
                work.fresh = true;
                work.diff.push(value_diff(
                    &format!("thin pool {GROUP}/{POOL}"),
                    None,
                    &format!(
                        "data {} %, metadata {} %, chunks of {} KiB, extended from {} % on by {} %, monitored",
                        direct.data_percent,
                        direct.metadata_percent,
                        direct.chunk_kib,
                        direct.autoextend_threshold,
                        direct.autoextend_percent
                    ),
                ));
                work.disks.push(Step::Storage(StorageCall::ThinPool {
                    group: GROUP.to_owned(),
                    name: POOL.to_owned(),
                    data_percent: direct.data_percent,
                    metadata_percent: direct.metadata_percent,
                    chunk_kib: direct.chunk_kib,
                    profile: PROFILE.to_owned(),
                }));
            }
        }
        Ok(())
    }

    /// `[storage.lvm]`.
    pub(super) fn volumes(
        &self,
        lvm: &crate::inventory::Lvm,
        facts: &HostFacts,
        work: &mut Work,
    ) -> Result<(), Trouble> {
        let (group, seen) = self.group(&lvm.devices, facts, work)?;
        if matches!(group, Group::Refused) {
            return Ok(());
        }
        let mut wanted = vec![Wanted {
            name: DATA,
            percent: lvm.percent,
            point: &lvm.data_root,
        }];
        wanted.extend(lvm.containerd_percent.map(|percent| Wanted {
            name: CONTAINERD,
            percent,
            point: CONTAINERD_ROOT,
        }));
        for volume in &wanted {
            let there = seen.and_then(|lvm| lvm.volume(GROUP, volume.name));
            Self::volume(volume, there, &group, lvm.filesystem, facts, work)?;
        }
        Ok(())
    }

    fn volume(
        wanted: &Wanted<'_>,
        there: Option<&LogicalVolume>,
        group: &Group<'_>,
        filesystem: Filesystem,
        facts: &HostFacts,
        work: &mut Work,
    ) -> Result<(), Trouble> {
        let (name, point, percent) = (wanted.name, wanted.point, wanted.percent);
        let unit = mount::unit_of(point);
        let file = format!("{}/{unit}", mount::UNITS);
        let what = format!("/dev/{GROUP}/{name}");
        let mounted = match facts.directories.get(point) {
            Some(Known::Value(directory)) if directory.mount_point => Some(directory),
            Some(Known::Value(_) | Known::Absent) => None,
            other => return Err(Trouble::Unknown(unknown("directory", point, other))),
        };
        let mapped = [format!("/dev/mapper/{GROUP}-{name}"), what.clone()];
        if let Some(mounted) = mounted.filter(|it| mapped.contains(&it.source)) {
            if mounted.fstype != filesystem.name() {
                work.refused.push(format!(
                    "`{what}` has {}, and the inventory says {}; a file system is never converted",
                    mounted.fstype,
                    filesystem.name()
                ));
                return Ok(());
            }
            if let (Group::Ours(group), Some(there)) = (group, there) {
                grow(wanted, there, group, filesystem, work);
                write(facts, &file, &mount::unit(&what, point, filesystem), work)?;
            }
            return Ok(());
        }
        let finished = there.is_some_and(|it| !it.tags.iter().any(|tag| tag == NEW));
        if matches!(group, Group::ByHand) {
            work.refused.push(format!(
                "the volume group `{GROUP}` was not made by skep, and `{what}` is not mounted at `{point}`"
            ));
            return Ok(());
        }
        if !finished {
            work.fresh = true;
            work.diff.push(value_diff(
                &format!("logical volume {GROUP}/{name}"),
                None,
                &format!("{percent} % of the group, {}", filesystem.name()),
            ));
            work.disks.push(Step::Storage(StorageCall::Volume {
                group: GROUP.to_owned(),
                name: name.to_owned(),
                percent,
                filesystem,
            }));
        }
        write(facts, &file, &mount::unit(&what, point, filesystem), work)?;
        Self::mount(point, &unit, facts, work)
    }
}

/// Lets a pool that is there be monitored and extended.
fn mend_pool(pool: &LogicalVolume, work: &mut Work) {
    if pool.profile == PROFILE && pool.monitor == "monitored" {
        return;
    }
    let now = match (pool.monitor.as_str(), pool.profile.as_str()) {
        (monitor, "") => format!("{monitor}, without a profile"),
        (monitor, profile) => format!("{monitor}, profile {profile}"),
    };
    work.diff.push(value_diff(
        &format!("thin pool {GROUP}/{POOL}"),
        Some(&now),
        &format!("monitored, profile {PROFILE}"),
    ));
    work.disks.push(Step::Storage(StorageCall::MonitorPool {
        group: GROUP.to_owned(),
        name: POOL.to_owned(),
        profile: PROFILE.to_owned(),
    }));
}

/// Extends a volume to its part of the group, as the group is or will be.
fn grow(
    wanted: &Wanted<'_>,
    there: &LogicalVolume,
    group: &VolumeGroup,
    filesystem: Filesystem,
    work: &mut Work,
) {
    let extent = group.extent.max(1);
    let target = group.size / extent * u64::from(wanted.percent) / 100 * extent;
    let unfinished = there.tags.iter().any(|tag| tag == GROW);
    let more = work.disks.iter().any(|step| {
        matches!(
            step,
            Step::Storage(
                StorageCall::PhysicalVolume { .. } | StorageCall::ResizePhysicalVolume { .. }
            )
        )
    });
    if there.size >= target && !unfinished && !more {
        return;
    }
    work.diff.push(value_diff(
        &format!("size of {GROUP}/{}", wanted.name),
        Some(&crate::plan::bytes(there.size)),
        &format!("{} % of the group", wanted.percent),
    ));
    work.disks.push(Step::Storage(StorageCall::GrowVolume {
        group: GROUP.to_owned(),
        name: wanted.name.to_owned(),
        percent: wanted.percent,
        filesystem,
        mounted: wanted.point.to_owned(),
    }));
}
