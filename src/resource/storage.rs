//! Where Docker keeps its data: a thin pool, logical volumes, or a disk.
//!
//! Two rules come before everything else. A device is used only when it is empty, or when what is
//! on it is skep's own unfinished work. And an engine that holds data is never given other storage
//! under it. Both are looked at again on the host, right before something is written.

mod device;
mod engine;
mod group;
mod mount;
mod wipe;

use crate::facts::{HostFacts, Probe, Probes};
use crate::inventory::{
    CONTAINERD_ROOT, Docker, DockerSource, Filesystem, Host, Storage, is_unstable, volume_of,
};
use crate::known::Known;
use crate::plan::bytes;
use crate::plan::script::claim_path;
use crate::plan::{Diff, PackageSpec, Risk, ServiceAction, Step, StorageCall};

use super::daemon::RESTART_MARKER;
use super::kernel::unknown;
use super::{Draft, Resource, Verdict, text_diff, value_diff};

use device::State;

pub(crate) use device::{State as DeviceState, Trouble, in_the_way, state as device_state};
pub(crate) use engine::{holds as engine_holds, version, version_probes};
pub use wipe::StorageWipe;

/// The volume group, as Docker's manual names it.
pub(crate) const GROUP: &str = "docker";
/// The thin pool, as Docker's manual names it.
pub(crate) const POOL: &str = "thinpool";
/// The data root's logical volume.
pub(crate) const DATA: &str = "data";
/// Containerd's logical volume.
pub(crate) const CONTAINERD: &str = "containerd";

/// The storage of a host's engine.
#[derive(Debug, Clone, Copy)]
pub struct EngineStorage<'a> {
    storage: &'a Storage,
    docker: &'a Docker,
    wipe: Option<&'a str>,
}

/// What will be done, and what is in the way.
#[derive(Debug, Default)]
struct Work {
    /// What differs.
    diff: Vec<Diff>,
    /// Steps that make or grow something on disks.
    disks: Vec<Step>,
    /// Files of ours.
    files: Vec<Step>,
    /// Mounts, last of all.
    mounts: Vec<Step>,
    /// Whether the engine is given other storage than it has, so that it must be empty and stopped.
    fresh: bool,
    /// Directories of an empty engine that give way to a mount.
    aside: Vec<String>,
    /// Why nothing is done, all reasons at once.
    refused: Vec<String>,
}

impl<'a> EngineStorage<'a> {
    /// The storage that the host is to have; `None` where the inventory says nothing of it.
    pub fn of(host: &'a Host) -> Option<Self> {
        Some(Self {
            storage: host.storage.as_ref()?,
            docker: &host.docker,
            wipe: host.wipe.as_deref(),
        })
    }

    /// What a device is, as it will be when a wipe that is allowed has been done.
    fn state(&self, facts: &HostFacts, path: &str) -> Result<State, Trouble> {
        let group = match self.storage {
            Storage::DirectLvm(_) | Storage::Lvm(_) => Some(GROUP),
            Storage::Disk(_) => None,
        };
        let state = device::state(facts, path, self.storage.size(), group)?;
        if self.wipe == Some(path) && matches!(state, State::Other(_) | State::Ours(_)) {
            let device = device::known(facts, path)?;
            if in_the_way(device, self.storage.size()).is_empty() {
                return Ok(State::Empty);
            }
        }
        Ok(state)
    }

    fn work(&self, facts: &HostFacts) -> Result<Work, Trouble> {
        let mut work = Work::default();
        if matches!(self.storage, Storage::DirectLvm(_))
            && let Some(trouble) = engine::without_devicemapper(self.docker, facts)
        {
            match trouble {
                Trouble::Refused(why) => work.refused.push(why),
                Trouble::Unknown(_) => return Err(trouble),
            }
        }
        match self.storage {
            Storage::DirectLvm(it) => self.pool(it, facts, &mut work)?,
            Storage::Lvm(it) => self.volumes(it, facts, &mut work)?,
            Storage::Disk(it) => self.disk(it, facts, &mut work)?,
        }
        for (path, text) in mount::drop_ins(self.storage) {
            write(facts, &path, &text, &mut work)?;
        }
        if work.fresh
            && let Some(holds) = engine::holds(facts)?
        {
            work.refused.push(format!(
                "{holds}, and with other storage under it the engine would come up empty"
            ));
        }
        Ok(work)
    }

    /// A whole disk or partition with a file system.
    fn disk(
        &self,
        disk: &crate::inventory::DiskStorage,
        facts: &HostFacts,
        work: &mut Work,
    ) -> Result<(), Trouble> {
        let path = disk.device.as_str();
        let device = match device::known(facts, path) {
            Err(Trouble::Refused(why)) => {
                work.refused.push(why);
                return Ok(());
            }
            other => other?,
        };
        let unit = mount::unit_of(&disk.data_root);
        let file = format!("{}/{unit}", mount::UNITS);
        let text = mount::unit("/dev/disk/by-uuid/@UUID@", &disk.data_root, disk.filesystem);
        let mounted = device
            .mounts
            .iter()
            .any(|mount| mount.point == disk.data_root && mount.device == device.path);
        if mounted {
            let own: Vec<_> = device.signatures.iter().collect();
            let kind = own.first().map(|it| it.kind.as_str()).unwrap_or_default();
            if kind != disk.filesystem.name() {
                work.refused.push(format!(
                    "`{path}` is mounted at `{}` with {kind}, and the inventory says {}; a file system is never converted",
                    disk.data_root,
                    disk.filesystem.name()
                ));
                return Ok(());
            }
            // One that was set up by hand is left as it is, but for what the engine waits for.
            if let Some(Known::Value(_)) = facts.files.get(&file)
                && let [signature] = own[..]
            {
                let text = text.replace("@UUID@", &signature.uuid);
                write(facts, &file, &text, work)?;
            }
            return Ok(());
        }
        let id = device::identity(path, device);
        match self.state(facts, path)? {
            State::Empty => work.format(&id, disk.filesystem),
            State::Ours(claim) if !claim.done => work.format(&id, disk.filesystem),
            State::Ours(_) => work.fresh = true,
            State::Member => {}
            State::Other(reasons) => {
                work.refused.push(found(path, &reasons));
                return Ok(());
            }
        }
        work.disks.push(Step::Storage(StorageCall::MountUnit {
            device: id,
            path: file.clone(),
            content: text.clone(),
        }));
        work.diff.push(text_diff(&file, None, &text));
        Self::mount(&disk.data_root, &unit, facts, work)
    }

    /// Mounts a file system, where nothing is mounted yet.
    fn mount(point: &str, unit: &str, facts: &HostFacts, work: &mut Work) -> Result<(), Trouble> {
        work.fresh = true;
        match facts.directories.get(point) {
            Some(Known::Absent) => {}
            Some(Known::Value(directory)) if directory.mount_point => {
                work.refused.push(format!(
                    "`{}` is mounted at `{point}` already",
                    directory.source
                ));
            }
            Some(Known::Value(directory)) if directory.empty => {}
            // What an engine makes at its start is no data; it is moved aside, never hidden.
            Some(Known::Value(_)) if Self::is_skeleton(point, facts) => {
                work.aside.push(point.to_owned());
            }
            Some(Known::Value(_)) => work.refused.push(format!(
                "the directory `{point}` is not empty, and what is in it would be hidden"
            )),
            other => return Err(Trouble::Unknown(unknown("directory", point, other))),
        }
        work.diff
            .push(value_diff(&format!("mounted at {point}"), None, unit));
        work.mounts.push(Step::Storage(StorageCall::Mount {
            unit: unit.to_owned(),
            path: point.to_owned(),
        }));
        Ok(())
    }

    /// Whether a directory is the one of an installed engine, which is known to hold nothing.
    fn is_skeleton(point: &str, facts: &HostFacts) -> bool {
        let installed = facts.engine.value().is_some();
        let empty = facts.leftovers.value().is_some_and(|left| {
            !left.data && !left.swarm && (left.data_root == point || point == CONTAINERD_ROOT)
        });
        installed && empty
    }

    /// The packages whose tools are needed.
    fn packages(&self) -> Vec<&'static str> {
        let xfs = |filesystem| match filesystem {
            Filesystem::Xfs => "xfsprogs",
            Filesystem::Ext4 => "e2fsprogs",
        };
        match self.storage {
            // `lvm2` brings `dmeventd`, which monitors, and only recommends the pool's own tools.
            Storage::DirectLvm(_) => vec!["lvm2", "thin-provisioning-tools"],
            Storage::Lvm(it) => vec!["lvm2", xfs(it.filesystem)],
            Storage::Disk(it) => vec![xfs(it.filesystem)],
        }
    }

    fn missing_packages(&self, facts: &HostFacts) -> Result<Vec<PackageSpec>, Trouble> {
        let mut missing = Vec::new();
        for name in self.packages() {
            match facts.packages.get(name) {
                Some(Known::Value(package)) if !package.broken => {}
                Some(Known::Value(_) | Known::Absent) => missing.push(PackageSpec {
                    name: name.to_owned(),
                    version: None,
                }),
                other => return Err(Trouble::Unknown(unknown("package", name, other))),
            }
        }
        Ok(missing)
    }

    fn draft(&self, work: Work, facts: &HostFacts) -> Result<Verdict, Trouble> {
        let mut steps = Vec::new();
        let mut diff = Vec::new();
        let missing = self.missing_packages(facts)?;
        if !missing.is_empty() {
            for package in &missing {
                diff.push(value_diff(&package.name, None, "newest"));
            }
            if self.docker.source != DockerSource::Offline {
                steps.push(Step::RefreshPackages);
            }
            steps.push(Step::InstallPackages { packages: missing });
        }
        diff.extend(work.diff);
        // The engine is stopped only where it must let go of its directories, and only when it is
        // empty; a run that is cut is completed by the restart that the marker asks for.
        let running = engine::runs(facts);
        let stop = work.fresh && running;
        if stop {
            steps.push(Step::WriteFile {
                path: RESTART_MARKER.to_owned(),
                content: "the engine was stopped to be given its storage\n".to_owned(),
                mode: 0o644,
            });
            steps.push(stop_step("docker.service"));
            if work.aside.iter().any(|path| path == CONTAINERD_ROOT) {
                steps.push(stop_step("containerd.service"));
            }
        }
        steps.extend(work.disks);
        steps.extend(work.files);
        steps.extend(
            work.aside
                .iter()
                .map(|path| Step::MoveAside { path: path.clone() }),
        );
        steps.extend(work.mounts);
        if steps.is_empty() {
            return Ok(Verdict::Same);
        }
        let kind = match self.storage {
            Storage::DirectLvm(_) => "a thin pool (direct-lvm)",
            Storage::Lvm(_) => "logical volumes",
            Storage::Disk(_) => "a disk",
        };
        let summary = if work.fresh {
            format!("give the Docker Engine {kind}")
        } else {
            format!("bring the Docker Engine's storage up to date: {kind}")
        };
        Ok(Verdict::Change(Draft {
            restart_engine: stop,
            risk: if stop { Risk::Disruptive } else { Risk::Safe },
            ..Draft::safe(summary, diff, steps)
        }))
    }
}

fn stop_step(unit: &str) -> Step {
    Step::Service {
        unit: unit.to_owned(),
        action: ServiceAction::Stop,
    }
}

impl Work {
    fn format(&mut self, id: &crate::plan::DeviceId, filesystem: Filesystem) {
        self.fresh = true;
        let path = &id.path;
        self.diff.push(value_diff(
            &format!("{path} ({id})"),
            Some("empty"),
            filesystem.name(),
        ));
        self.disks.push(Step::Storage(StorageCall::Format {
            device: id.clone(),
            filesystem,
        }));
    }
}

/// What was found on a device that is not used.
fn found(path: &str, reasons: &[String]) -> String {
    format!("`{path}` is not used: {}", reasons.join("; "))
}

/// Writes a file of ours, where it differs.
fn write(facts: &HostFacts, path: &str, text: &str, work: &mut Work) -> Result<(), Trouble> {
    let old = match facts.files.get(path) {
        Some(Known::Value(file)) => file.content.as_deref(),
        Some(Known::Absent) => None,
        other => return Err(Trouble::Unknown(unknown("file", path, other))),
    };
    if old != Some(text) {
        work.diff.push(text_diff(path, old, text));
        work.files.push(Step::WriteFile {
            path: path.to_owned(),
            content: text.to_owned(),
            mode: 0o644,
        });
    }
    Ok(())
}

impl Resource for EngineStorage<'_> {
    fn name(&self) -> &'static str {
        "docker.storage"
    }

    fn probes(&self) -> Probes {
        let mut probes = Probes::from([Probe::Docker, Probe::Lvm]);
        for path in self.storage.devices() {
            probes.insert(Probe::BlockDevice(path.to_owned()));
            probes.insert(Probe::File(claim_path(path)));
        }
        let packages = self.packages().into_iter();
        probes.extend(packages.map(|name| Probe::Package(name.to_owned())));
        for (path, _) in mount::drop_ins(self.storage) {
            probes.insert(Probe::File(path));
        }
        let mut points = vec![self.storage.data_root()];
        match self.storage {
            Storage::DirectLvm(_) => {
                probes.insert(Probe::File(group::PROFILE_FILE.to_owned()));
                probes.extend(engine::version_probes(self.docker));
            }
            Storage::Lvm(it) => points.extend(it.containerd_percent.map(|_| CONTAINERD_ROOT)),
            Storage::Disk(_) => {}
        }
        for point in points {
            let unit = mount::unit_of(point);
            probes.insert(Probe::Directory(point.to_owned()));
            probes.insert(Probe::File(format!("{}/{unit}", mount::UNITS)));
        }
        probes
    }

    fn plan(&self, facts: &HostFacts) -> Verdict {
        let work = match self.work(facts) {
            Ok(work) => work,
            Err(Trouble::Unknown(why)) => return Verdict::Unknown(why),
            Err(Trouble::Refused(why)) => return Self::refuse(&[why]),
        };
        if !work.refused.is_empty() {
            return Self::refuse(&work.refused);
        }
        match self.draft(work, facts) {
            Ok(verdict) => verdict,
            Err(Trouble::Unknown(why) | Trouble::Refused(why)) => Verdict::Unknown(why),
        }
    }
}

impl EngineStorage<'_> {
    /// All reasons at once, and for each the way out.
    fn refuse(reasons: &[String]) -> Verdict {
        let says = |text: &str| reasons.iter().any(|reason| reason.contains(text));
        let mut hints = Vec::new();
        if says("`devicemapper`") {
            hints.push("Use `[storage.lvm]`: logical volumes with `overlay2`, for every engine of today. There is no conversion in place (docs/storage.md).");
        }
        if says("would come up empty") || says("would be hidden") {
            hints.push("Node by node: drain it, stop its engine, move its data root aside, run `skep up` for it, and activate it (docs/storage.md).");
        }
        if says("is not used") {
            hints.push("Name another device; or look at this one on the host (`lsblk -f`, `wipefs -n`), unmount what is mounted, and if all that is on it may be lost for ever, run again with `--wipe HOST:DEVICE`.");
        }
        if says("has no device") {
            hints.push("`ls -l /dev/disk/by-id` on the host shows its disks.");
        }
        if says("has no device `volume:") {
            hints.push("`openstack volume show ID` tells whether the server has the volume.");
        }
        if says("volume group") {
            hints.push("`pvs`, `vgs` and `lvs` on the host show it; skep changes only a group that it has made, or one that is exactly as Docker's manual says.");
        }
        Verdict::Refuse {
            why: reasons.join("; "),
            hint: if hints.is_empty() {
                "Look at the host's disks (`lsblk -f`, `pvs`, `lvs`).".to_owned()
            } else {
                hints.join(" ")
            },
        }
    }
}

/// What a person should know of a host's storage beside the plan.
pub(crate) fn warnings(host: &Host, facts: &HostFacts) -> Vec<String> {
    let Some(storage) = &host.storage else {
        return Vec::new();
    };
    let mut warnings = Vec::new();
    let name = &host.name;
    if let Storage::DirectLvm(it) = storage {
        warnings.push(format!(
            "{name}: the storage driver `devicemapper` is deprecated, and Engine 25 removed it: plan to move to `[storage.lvm]`"
        ));
        if let Some(why) = it.cannot_extend() {
            warnings.push(format!(
                "{name}: the thin pool can never be extended by itself: {why}"
            ));
        }
    }
    if let Storage::Disk(it) = storage
        && let Some(Known::Value(device)) = facts.devices.get(&it.device)
        && let Some(Known::Value(directory)) = facts.directories.get(&it.data_root)
        && directory.mount_point
        && directory.source == device.path
        // What a file system keeps for itself is less.
        && directory.size_kib * 1024 < device.size / 10 * 9
    {
        let grow = match it.filesystem {
            Filesystem::Xfs => format!("xfs_growfs {}", it.data_root),
            Filesystem::Ext4 => format!("resize2fs {}", device.path),
        };
        warnings.push(format!(
            "{name}: `{}` has {}, and its file system {}: `{grow}` on the host makes it larger",
            it.device,
            bytes(device.size),
            bytes(directory.size_kib * 1024)
        ));
    }
    for path in storage.devices() {
        let volume = volume_of(path).and_then(|(name, _)| {
            let mut volumes = host.server.as_ref()?.volumes.iter();
            volumes.find(|it| it.name == name)
        });
        if let Some(volume) = volume
            && let Some(Known::Value(device)) = facts.devices.get(path)
            && device.size < u64::from(volume.gib) << 30
        {
            warnings.push(format!(
                "{name}: the host sees {} of the volume `{}`, and the inventory says {} GiB: some clouds show what was added only when the server was switched off and on (`skep power off {name}`, `skep power on {name}`, and `skep up`)",
                bytes(device.size),
                volume.name,
                volume.gib
            ));
        }
        if is_unstable(path)
            && let Some(Known::Value(device)) = facts.devices.get(path)
        {
            warnings.push(match stable_name(&device.links) {
                Some(link) => format!(
                    "{name}: `{path}` can be another disk after a reboot: name it `{link}`"
                ),
                None => format!(
                    "{name}: `{path}` can be another disk after a reboot, and has no name below `/dev/disk/by-id`"
                ),
            });
        }
    }
    warnings
}

/// The best of a device's names: one that has its serial number, and not only a number of its own.
fn stable_name(links: &[String]) -> Option<&str> {
    let name = |link: &str| link.rsplit('/').next().unwrap_or_default().to_owned();
    let kinds = ["lvm-pv-", "dm-", "md-"];
    let usable = |link: &&String| !kinds.iter().any(|kind| name(link).starts_with(kind));
    let mut links: Vec<&String> = links.iter().filter(usable).collect();
    links.sort_by_key(|link| (name(link).starts_with("wwn-"), link.len()));
    links.first().map(|link| link.as_str())
}
