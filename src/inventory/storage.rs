//! Where Docker keeps its data: the settings, resolved and checked.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::diagnostic::{Diagnostic, Span};
use super::nearest::nearest;
use super::openstack::Volume;
use super::raw;
use super::read::{At, Field};
use super::resolve::{Depth, Layers, setting};
use super::values::{ByteSize, OneOrMany};
use super::{Docker, DockerSource};

/// The data root of an engine that was told nothing else.
pub const DATA_ROOT: &str = "/var/lib/docker";
/// Where containerd keeps images, when they are in its store.
pub const CONTAINERD_ROOT: &str = "/var/lib/containerd";

/// What the name of a server's volume begins with, where it stands for a device.
const VOLUME: &str = "volume:";

/// The server's volume that a device is, and its ID where the cloud has told it: `volume:NAME`, or
/// `volume:NAME/ID`. `None` for a path.
pub(crate) fn volume_of(device: &str) -> Option<(&str, Option<&str>)> {
    let volume = device.strip_prefix(VOLUME)?;
    Some(match volume.split_once('/') {
        Some((name, id)) => (name, Some(id)),
        None => (volume, None),
    })
}

/// The storage that an engine is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Storage {
    /// A thin pool for the storage driver `devicemapper`, for engines before 25.
    DirectLvm(DirectLvm),
    /// Logical volumes with file systems, for `overlay2`.
    Lvm(Lvm),
    /// One disk or partition with a file system, for `overlay2`.
    Disk(DiskStorage),
}

/// `[storage.direct-lvm]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DirectLvm {
    /// The devices, as the file names them.
    pub devices: Vec<String>,
    /// How much of the volume group is for data, in percent.
    pub data_percent: u8,
    /// How much of it is for metadata, in percent.
    pub metadata_percent: u8,
    /// The pool's chunk size in KiB.
    pub chunk_kib: u32,
    /// From which use on the pool is extended, in percent.
    pub autoextend_threshold: u8,
    /// By how much of its size it is extended, in percent.
    pub autoextend_percent: u8,
    /// The size that each device must have, in bytes.
    pub size: Option<u64>,
}

/// `[storage.lvm]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Lvm {
    /// The devices, as the file names them.
    pub devices: Vec<String>,
    /// The file system.
    pub filesystem: Filesystem,
    /// Where the data root's volume is mounted.
    pub data_root: String,
    /// How much of the volume group is for the data root, in percent.
    pub percent: u8,
    /// How much of it is for [`CONTAINERD_ROOT`], in percent; `None` makes no such volume.
    pub containerd_percent: Option<u8>,
    /// The size that each device must have, in bytes.
    pub size: Option<u64>,
}

/// `[storage.disk]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DiskStorage {
    /// The disk or partition, as the file names it.
    pub device: String,
    /// The file system.
    pub filesystem: Filesystem,
    /// Where it is mounted.
    pub data_root: String,
    /// The size that it must have, in bytes.
    pub size: Option<u64>,
}

/// A file system that `overlay2` works on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Filesystem {
    /// With `ftype=1` and project quota.
    #[default]
    Xfs,
    /// As its tools make it.
    Ext4,
}

impl Filesystem {
    /// Its name, as `mount` and `blkid` say it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Xfs => "xfs",
            Self::Ext4 => "ext4",
        }
    }
}

impl Storage {
    /// The devices, as the file names them.
    pub fn devices(&self) -> Vec<&str> {
        match self {
            Self::DirectLvm(it) => it.devices.iter().map(String::as_str).collect(),
            Self::Lvm(it) => it.devices.iter().map(String::as_str).collect(),
            Self::Disk(it) => vec![&it.device],
        }
    }

    /// Takes the IDs of the server's volumes, by their names, for devices that are volumes.
    pub fn find_volumes(&mut self, ids: &BTreeMap<String, String>) {
        let devices = match self {
            Self::DirectLvm(it) => &mut it.devices[..],
            Self::Lvm(it) => &mut it.devices[..],
            Self::Disk(it) => std::slice::from_mut(&mut it.device),
        };
        for device in devices {
            let Some((name, _)) = volume_of(device) else {
                continue;
            };
            // It goes into scripts as a part of a path.
            let plain = |id: &&String| id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
            *device = match ids.get(name).filter(plain) {
                Some(id) => format!("{VOLUME}{name}/{id}"),
                None => format!("{VOLUME}{name}"),
            };
        }
    }

    /// The size that each device must have, in bytes.
    pub fn size(&self) -> Option<u64> {
        match self {
            Self::DirectLvm(it) => it.size,
            Self::Lvm(it) => it.size,
            Self::Disk(it) => it.size,
        }
    }

    /// Where Docker's data goes, where a file system is mounted for it.
    pub fn data_root(&self) -> &str {
        match self {
            Self::DirectLvm(_) => DATA_ROOT,
            Self::Lvm(it) => &it.data_root,
            Self::Disk(it) => &it.data_root,
        }
    }

    /// The keys that `daemon.json` must have for it. With a volume for containerd nothing is said
    /// of the driver, so that the engine may keep images in containerd's store; else `overlay2`
    /// keeps them in the data root, in Engine 29 and later too.
    pub fn daemon_keys(&self) -> serde_json::Map<String, Value> {
        let mut keys = serde_json::Map::new();
        match self {
            Self::DirectLvm(_) => {
                keys.insert("storage-driver".to_owned(), json!("devicemapper"));
                keys.insert(
                    "storage-opts".to_owned(),
                    json!([
                        "dm.thinpooldev=/dev/mapper/docker-thinpool",
                        "dm.use_deferred_removal=true",
                        "dm.use_deferred_deletion=true"
                    ]),
                );
            }
            Self::Lvm(_) | Self::Disk(_) => {
                if !matches!(self, Self::Lvm(it) if it.containerd_percent.is_some()) {
                    keys.insert("storage-driver".to_owned(), json!("overlay2"));
                }
                if self.data_root() != DATA_ROOT {
                    keys.insert("data-root".to_owned(), json!(self.data_root()));
                }
            }
        }
        keys
    }
}

impl DirectLvm {
    /// Why the pool can never be extended by itself, with the arithmetic; `None` where it can.
    pub fn cannot_extend(&self) -> Option<String> {
        let (data, metadata) = (
            u32::from(self.data_percent),
            u32::from(self.metadata_percent),
        );
        let free = 100_u32.saturating_sub(data + metadata);
        // Rounded up: half a percent that is missing is missing.
        let needed = (data * u32::from(self.autoextend_percent)).div_ceil(100);
        (needed > free).then(|| {
            format!(
                "{data} % for data and {metadata} % for metadata leave {free} % of the volume group, and one extension by {} % of the pool needs {needed} %",
                self.autoextend_percent
            )
        })
    }
}

/// Whether a version of the engine, or its beginning, is one that has no `devicemapper`: 25.0
/// removed it (moby#43637).
pub(crate) fn lost_devicemapper(version: &str) -> Option<bool> {
    let version = version.split_once(':').map_or(version, |(_, rest)| rest);
    let digits = version.split(|c: char| !c.is_ascii_digit()).next()?;
    let whole = version.len() > digits.len() || digits.len() > 1;
    digits
        .parse::<u32>()
        .ok()
        .filter(|_| whole)
        .map(|major| major >= 25)
}

/// The storage of a host. The nearest table holds as a whole; an empty one is none.
pub(super) fn storage(
    layers: &Layers<'_>,
    docker: &Docker,
    out: &mut Vec<Diagnostic>,
) -> Option<Storage> {
    let picked = layers.pick("storage", setting::storage, out)?;
    let table = picked.value;
    let kinds = [
        (
            "direct-lvm",
            table.direct_lvm.at().map(|at| &at.span),
            !table.direct_lvm.is_absent(),
        ),
        (
            "lvm",
            table.lvm.at().map(|at| &at.span),
            !table.lvm.is_absent(),
        ),
        (
            "disk",
            table.disk.at().map(|at| &at.span),
            !table.disk.is_absent(),
        ),
    ];
    let given: Vec<_> = kinds.iter().filter(|(_, _, given)| *given).collect();
    if let [(first, first_span, _), (second, second_span, _), ..] = given[..] {
        let mut error = Diagnostic::error(format!("`{first}` and `{second}` for one engine"));
        error = error.at(second_span.unwrap_or(picked.span), "a second storage");
        if let Some(span) = first_span {
            error = error.see(span, "the first");
        }
        out.push(error.help("an engine has one storage: keep one of them"));
        return None;
    }
    if given.is_empty() && picked.depth != Depth::Host {
        out.push(
            Diagnostic::error("`[storage]` without a kind of storage")
                .at(picked.span, "expected `direct-lvm`, `lvm` or `disk`")
                .help("write `[storage.lvm]` with `device`; only a host may have it empty, which means none of the cluster's"),
        );
    }
    let storage = match (table.direct_lvm.at(), table.lvm.at(), table.disk.at()) {
        (Some(at), _, _) => Some(Storage::DirectLvm(direct_lvm(at, docker, out)?)),
        (_, Some(at), _) => Some(Storage::Lvm(lvm(at, out)?)),
        (_, _, Some(at)) => Some(Storage::Disk(disk(at, out)?)),
        _ => None,
    }?;
    beside_daemon(layers, &storage, picked.span, out);
    Some(storage)
}

fn direct_lvm(
    at: &At<raw::DirectLvm>,
    docker: &Docker,
    out: &mut Vec<Diagnostic>,
) -> Option<DirectLvm> {
    let it = &at.value;
    let devices = devices(&it.device, &at.span, out);
    let percent = |field: &Field<u8>, default| field.get().copied().unwrap_or(default);
    let built = DirectLvm {
        devices: devices.clone().unwrap_or_default(),
        data_percent: percent(&it.data_percent, 95),
        metadata_percent: percent(&it.metadata_percent, 1),
        chunk_kib: chunk(&it.chunk_size, out),
        autoextend_threshold: percent(&it.autoextend_threshold, 80),
        autoextend_percent: percent(&it.autoextend_percent, 20),
        size: it.size.get().map(|size| size.0),
    };
    let span = |field: &Field<u8>| field.at().map_or(at.span.clone(), |at| at.span.clone());
    for (field, key) in [
        (&it.data_percent, "data-percent"),
        (&it.metadata_percent, "metadata-percent"),
        (&it.autoextend_threshold, "autoextend-threshold"),
        (&it.autoextend_percent, "autoextend-percent"),
    ] {
        percent_in_bounds(field, key, out);
    }
    let sum = u32::from(built.data_percent) + 2 * u32::from(built.metadata_percent);
    if sum > 100 {
        out.push(
            Diagnostic::error(format!(
                "data of {} % and metadata of {} % do not fit",
                built.data_percent, built.metadata_percent
            ))
            .at(&span(&it.data_percent), "too much")
            .help("LVM keeps a spare of the metadata in the same size: data and twice the metadata are at most 100 %"),
        );
    } else if let Some(why) = built.cannot_extend() {
        out.push(
            Diagnostic::warning("the thin pool can never be extended by itself")
                .at(&span(&it.data_percent), why)
                .help("lower `data-percent`, such as to 80, or add a device when `status` warns"),
        );
    }
    if let Some(version) = &docker.version
        && lost_devicemapper(version) == Some(true)
    {
        out.push(
            Diagnostic::error(format!("Docker Engine {version} has no `devicemapper`"))
                .at(&at.span, "needs it, and Engine 25 removed it")
                .help("use `[storage.lvm]`: logical volumes with `overlay2`"),
        );
    } else if docker.source == DockerSource::DockerCe && docker.version.is_none() {
        out.push(
            Diagnostic::error("the newest Docker Engine has no `devicemapper`")
                .at(&at.span, "needs it, and Engine 25 removed it")
                .help("use `[storage.lvm]`, or set `version` under `[docker]` to one before 25"),
        );
    }
    devices.map(|_| built)
}

fn lvm(at: &At<raw::Lvm>, out: &mut Vec<Diagnostic>) -> Option<Lvm> {
    let it = &at.value;
    percent_in_bounds(&it.percent, "percent", out);
    percent_in_bounds(&it.containerd_percent, "containerd-percent", out);
    let containerd_percent = it.containerd_percent.get().copied();
    let rest = 100_u8.saturating_sub(containerd_percent.unwrap_or(0));
    let percent = it.percent.get().copied().unwrap_or(rest);
    if percent > rest
        && let Some(second) = it.containerd_percent.at()
    {
        let first = it.percent.at().map_or(&at.span, |at| &at.span);
        out.push(
            Diagnostic::error(format!(
                "{percent} % and {} % are more than 100 %",
                second.value
            ))
            .at(&second.span, "for containerd")
            .see(first, "for the data root"),
        );
    }
    let devices = devices(&it.device, &at.span, out);
    let data_root = data_root(&it.data_root, out);
    if containerd_percent.is_some() && data_root == CONTAINERD_ROOT {
        out.push(
            Diagnostic::error("both volumes would be mounted at one place")
                .at(&at.span, format!("both at `{CONTAINERD_ROOT}`")),
        );
    }
    Some(Lvm {
        devices: devices?,
        filesystem: it.filesystem.get().copied().unwrap_or_default(),
        data_root,
        percent,
        containerd_percent,
        size: it.size.get().map(|size| size.0),
    })
}

fn disk(at: &At<raw::DiskStorage>, out: &mut Vec<Diagnostic>) -> Option<DiskStorage> {
    let it = &at.value;
    let data_root = data_root(&it.data_root, out);
    let Some(device) = it.device.at() else {
        if it.device.is_absent() {
            no_device(&at.span, out);
        }
        return None;
    };
    check_device(device, out).then(|| DiskStorage {
        device: device.value.clone(),
        filesystem: it.filesystem.get().copied().unwrap_or_default(),
        data_root,
        size: it.size.get().map(|size| size.0),
    })
}

fn no_device(span: &Span, out: &mut Vec<Diagnostic>) {
    out.push(
        Diagnostic::error("storage without a device")
            .at(span, "on which disk?")
            .help("set `device`, such as `\"/dev/disk/by-id/...\"`"),
    );
}

fn devices(
    field: &Field<OneOrMany>,
    span: &Span,
    out: &mut Vec<Diagnostic>,
) -> Option<Vec<String>> {
    let list = match field.get() {
        Some(list) => &list.0,
        None if field.is_absent() => {
            no_device(span, out);
            return None;
        }
        None => return None,
    };
    if list.is_empty() {
        no_device(span, out);
        return None;
    }
    let mut fine = true;
    for (index, device) in list.iter().enumerate() {
        fine &= check_device(device, out);
        if let Some(first) = list[..index].iter().find(|it| it.value == device.value) {
            let error = Diagnostic::error(format!("`{}` is there twice", device.value));
            out.push(
                error
                    .at(&device.span, "here again")
                    .see(&first.span, "first here"),
            );
            fine = false;
        }
    }
    fine.then(|| list.iter().map(|device| device.value.clone()).collect())
}

/// Checks devices that are volumes of the server: `volumes` are those that it has, `None` where the
/// host, `host` in the file, is no server of a cloud.
pub(super) fn check_volumes(
    layers: &Layers<'_>,
    host: &str,
    volumes: Option<&[Volume]>,
    out: &mut Vec<Diagnostic>,
) {
    // What is wrong with the table itself has been reported.
    let Some(table) = layers.pick("storage", setting::storage, &mut Vec::new()) else {
        return;
    };
    let table = table.value;
    let lists = [
        table.direct_lvm.get().and_then(|it| it.device.get()),
        table.lvm.get().and_then(|it| it.device.get()),
    ];
    let lists = lists.into_iter().flatten().flat_map(|list| &list.0);
    let disk = table.disk.get().and_then(|it| it.device.at());
    for device in lists.chain(disk) {
        let Some((name, None)) = volume_of(&device.value) else {
            continue;
        };
        let Some(volumes) = volumes else {
            let error = Diagnostic::error(format!(
                "`{}` on `{host}`, which is no server of a cloud",
                device.value
            ));
            let error = error.at(&device.span, "only servers have volumes");
            out.push(error.help(
                "write a path like `/dev/disk/by-id/...`, or set `provider = \"openstack\"`",
            ));
            continue;
        };
        if volumes.iter().any(|it| it.name == name) {
            continue;
        }
        let names = volumes.iter().map(|it| it.name.as_str());
        let near = nearest(name, names.clone());
        let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
        let error = Diagnostic::error(format!("`{host}` has no volume `{name}`"));
        let error = error.at(&device.span, "expected one of its `openstack.volumes`");
        out.push(match (near, &names[..]) {
            (Some(near), _) => error.help(format!("there is `{near}`")),
            (None, []) => error.help(format!("give it one: `volumes = [{{ name = \"{name}\", size = \"20 GiB\" }}]` under `[openstack]`, in a group, or on the host as `openstack.volumes`")),
            (None, names) => error.help(format!("it has {}", names.join(", "))),
        });
    }
}

/// Whether the text can be a device: its path, or a volume of the server.
fn check_device(device: &At<String>, out: &mut Vec<Diagnostic>) -> bool {
    let path = &device.value;
    if let Some((name, None)) = volume_of(path)
        && !name.is_empty()
    {
        return true;
    }
    let plain = |c: char| c.is_ascii_graphic() && !"'\"\\`$*?[]{};&|<>(),".contains(c);
    let parts = || path.split('/').skip(1);
    if !path.starts_with("/dev/")
        || !path.chars().all(plain)
        || parts().any(|part| part.is_empty() || part == "." || part == "..")
    {
        let error = Diagnostic::error(format!("`{path}` is not the path of a device"));
        out.push(
            error
                .at(&device.span, "expected a path below `/dev/`")
                .help("write it like `/dev/disk/by-id/...`; `ls -l /dev/disk/by-id` on the host shows them"),
        );
        return false;
    }
    if is_unstable(path) {
        let warning = Diagnostic::warning(format!("`{path}` can be another disk after a reboot"));
        out.push(
            warning
                .at(&device.span, "the kernel numbers disks as it finds them")
                .help("use its name below `/dev/disk/by-id`; `skep plan` tells it"),
        );
    }
    true
}

/// Whether the kernel may give this name to another disk at the next boot.
pub(crate) fn is_unstable(path: &str) -> bool {
    let name = path.strip_prefix("/dev/").unwrap_or_default();
    ["sd", "vd", "hd", "xvd", "nvme", "mmcblk", "md", "dm-"]
        .iter()
        .any(|kind| name.starts_with(kind))
        && !name.contains('/')
}

/// What is not to be hidden by a mount.
const SYSTEM: [&str; 17] = [
    "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib64", "/opt", "/proc", "/root", "/run",
    "/sbin", "/sys", "/tmp", "/usr", "/var", "/var/lib",
];

fn data_root(field: &Field<String>, out: &mut Vec<Diagnostic>) -> String {
    let Some(at) = field.at() else {
        return DATA_ROOT.to_owned();
    };
    let path = at.value.trim_end_matches('/');
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.".contains(c);
    let mut parts = path.split('/').skip(1);
    let odd = parts.any(|part| part.is_empty() || part == "." || part == "..");
    if !path.starts_with('/') || path.len() < 2 || odd || !path.chars().all(plain) {
        let error = Diagnostic::error(format!("`{}` cannot be a data root", at.value));
        out.push(
            error
                .at(
                    &at.span,
                    "expected an absolute path of letters, digits, `-`, `_` and `.`",
                )
                .help("write it like `/dockyard`"),
        );
        return DATA_ROOT.to_owned();
    }
    if SYSTEM.contains(&path) {
        out.push(
            Diagnostic::error(format!("`{path}` belongs to the system"))
                .at(&at.span, "a disk mounted here would hide what is in it")
                .help("choose a directory of its own, such as `/dockyard`"),
        );
    }
    path.to_owned()
}

fn percent_in_bounds(field: &Field<u8>, key: &str, out: &mut Vec<Diagnostic>) {
    if let Some(at) = field.at()
        && !(1..=100).contains(&at.value)
    {
        let error = Diagnostic::error(format!("`{key}` of {}", at.value));
        out.push(error.at(&at.span, "expected 1 to 100 percent"));
    }
}

/// The chunk size in KiB: a multiple of 64 KiB up to 1 GiB (lvmthin(7)).
fn chunk(field: &Field<ByteSize>, out: &mut Vec<Diagnostic>) -> u32 {
    const DEFAULT: u32 = 512;
    let Some(at) = field.at() else {
        return DEFAULT;
    };
    let kib = at.value.0 / 1024;
    if !at.value.0.is_multiple_of(64 * 1024) || !(64..=1024 * 1024).contains(&kib) {
        out.push(
            Diagnostic::error("a thin pool cannot have chunks of that size")
                .at(&at.span, "expected a multiple of 64 KiB, up to 1 GiB")
                .help("Docker's manual takes `\"512 KiB\"`"),
        );
        return DEFAULT;
    }
    u32::try_from(kib).unwrap_or(DEFAULT)
}

/// Keys of `[docker.daemon]` that say something else than the storage.
fn beside_daemon(layers: &Layers<'_>, storage: &Storage, span: &Span, out: &mut Vec<Diagnostic>) {
    // What contradicts itself is reported with the engine's other settings.
    let mut ignored = Vec::new();
    let daemon = layers.merge("docker.daemon", |l| Some(&l.docker()?.daemon), &mut ignored);
    let mut keys = storage.daemon_keys();
    keys.entry("data-root")
        .or_insert_with(|| json!(storage.data_root()));
    keys.entry("storage-opts").or_insert(Value::Null);
    for (key, wanted) in &keys {
        let Some(item) = daemon.get(key.as_str()) else {
            continue;
        };
        let given = &item.value.0;
        // Options of `overlay2`, such as `overlay2.size` with project quota, are the user's.
        if given.value == *wanted || (key == "storage-opts" && wanted.is_null()) {
            continue;
        }
        let error = Diagnostic::error(format!("`{key}` contradicts `[storage]`"))
            .at(&given.span, "says another thing")
            .see(span, "the storage sets it");
        out.push(error.help(format!(
            "remove `{key}` from `[docker.daemon]`: the storage writes it"
        )));
    }
}
