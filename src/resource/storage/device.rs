//! What a device is found to be: empty, our own, or somebody's.

use crate::facts::{BlockDevice, File, HostFacts, Lvm};
use crate::inventory::volume_of;
use crate::known::Known;
use crate::plan::DeviceId;
use crate::plan::bytes;
use crate::plan::script::claim_path;
use crate::resource::kernel::unknown;

/// How far a disk's size may be from the one that the inventory says: makers round, and so do
/// people.
const SIZE_TOLERANCE_PERCENT: u64 = 1;

/// What the file says that was written before the device was touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    /// The UUID that was chosen for it.
    pub(crate) uuid: String,
    /// Whether what was begun has ended.
    pub(crate) done: bool,
}

/// What a device is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing is on it, and nobody uses it.
    Empty,
    /// A physical volume of the volume group.
    Member,
    /// What is on it bears the UUID that skep chose for this very device.
    Ours(Claim),
    /// Something else; every reason not to use it.
    Other(Vec<String>),
}

/// The device of that path, where the host said how it is.
pub(crate) fn known<'a>(facts: &'a HostFacts, path: &str) -> Result<&'a BlockDevice, Trouble> {
    if let Some((volume, None)) = volume_of(path) {
        let why = format!("the cloud has no volume `{volume}` of this host yet");
        return Err(Trouble::Unknown(why));
    }
    match facts.devices.get(path) {
        Some(Known::Value(device)) => Ok(device),
        Some(Known::Absent) => Err(Trouble::Refused(format!("the host has no device `{path}`"))),
        other => Err(Trouble::Unknown(unknown("device", path, other))),
    }
}

/// Why there is no plan for a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It is known, and cannot be used.
    Refused(String),
    /// It is not known.
    Unknown(String),
}

/// What the device of that path is. `group` is the volume group that it may be in.
pub(crate) fn state(
    facts: &HostFacts,
    path: &str,
    size: Option<u64>,
    group: Option<&str>,
) -> Result<State, Trouble> {
    let device = known(facts, path)?;
    let lvm = match &facts.lvm {
        Known::Value(lvm) => Some(lvm),
        Known::Absent => None,
        other => return Err(Trouble::Unknown(unknown("volumes", "LVM", Some(other)))),
    };
    if let (Some(lvm), Some(group)) = (lvm, group)
        && member_of(lvm, device) == Some(group)
    {
        return Ok(State::Member);
    }
    let mut reasons = in_the_way(device, size);
    if reasons.is_empty() {
        let holds = holds(device, lvm);
        if holds.is_empty() {
            return Ok(State::Empty);
        }
        if let Some(claim) = claim(facts, path, device)? {
            return Ok(State::Ours(claim));
        }
        reasons.push(format!("it holds {}", holds.join(", ")));
    } else {
        let holds = holds(device, lvm);
        if !holds.is_empty() {
            reasons.push(format!("it holds {}", holds.join(", ")));
        }
    }
    Ok(State::Other(reasons))
}

/// Where the system itself is mounted.
const SYSTEM: [&str; 6] = ["/", "/boot", "/boot/efi", "/usr", "/var", "/home"];

/// What forbids to write to a device whatever is on it, and so cannot be wiped away either.
pub(crate) fn in_the_way(device: &BlockDevice, size: Option<u64>) -> Vec<String> {
    let mut reasons = Vec::new();
    let system: Vec<&str> = device
        .mounts
        .iter()
        .map(|mount| mount.point.as_str())
        .filter(|point| SYSTEM.contains(point))
        .collect();
    if !system.is_empty() {
        reasons.push(format!("the system runs from it ({})", system.join(", ")));
    } else if !device.mounts.is_empty() {
        let mounts = device.mounts.iter();
        let mounts: Vec<String> = mounts
            .map(|mount| format!("{} at `{}`", mount.device, mount.point))
            .collect();
        reasons.push(format!("it is mounted: {}", mounts.join(", ")));
    }
    if !device.swaps.is_empty() {
        reasons.push(format!("it is used as swap: {}", device.swaps.join(", ")));
    }
    if !device.users.is_empty() {
        reasons.push(format!("it is in use by {}", device.users.join(", ")));
    }
    if device.read_only {
        reasons.push("it is read-only".to_owned());
    }
    if device.size == 0 {
        reasons.push("it has no size: no medium is in it".to_owned());
    }
    match size {
        Some(wanted) if device.size.abs_diff(wanted) > wanted / 100 * SIZE_TOLERANCE_PERCENT => {
            reasons.push(format!(
                "it has {}, and the inventory says {}",
                bytes(device.size),
                bytes(wanted)
            ));
        }
        None if device.removable => reasons.push(
            "it can be pulled out (`size` in the inventory says that this very device is meant)"
                .to_owned(),
        ),
        _ => {}
    }
    reasons
}

/// Everything that is written on a device, for people; empty where nothing is.
pub(crate) fn holds(device: &BlockDevice, lvm: Option<&Lvm>) -> Vec<String> {
    let mut all = Vec::new();
    for found in &device.signatures {
        let mut text = match found.kind.as_str() {
            "gpt" | "dos" | "PMBR" | "sun" | "sgi" | "mac" | "bsd" => {
                format!("a partition table ({})", found.kind)
            }
            "LVM2_member" => {
                let group =
                    lvm.and_then(|lvm| lvm.physical.iter().find(|it| it.uuid == found.uuid));
                match group.map(|it| it.group.as_str()) {
                    Some("") => "an LVM physical volume in no group".to_owned(),
                    Some(group) => format!("an LVM physical volume of the group `{group}`"),
                    None => "an LVM physical volume".to_owned(),
                }
            }
            "crypto_LUKS" => "a LUKS container".to_owned(),
            "swap" | "swsuspend" => "swap space".to_owned(),
            kind if kind.contains("raid") => format!("a RAID member ({kind})"),
            kind => format!("{} {kind} file system", article(kind)),
        };
        if !found.label.is_empty() {
            text = format!("{text} labelled `{}`", found.label);
        }
        if found.device != device.path {
            text = format!("{text} on {}", found.device);
        }
        if !all.contains(&text) {
            all.push(text);
        }
    }
    if !device.partitions.is_empty() {
        all.push(format!("the partitions {}", device.partitions.join(", ")));
    }
    all
}

fn article(word: &str) -> &'static str {
    // An x is spoken with a vowel.
    if word.starts_with(['a', 'e', 'i', 'o', 'u', 'x']) {
        "an"
    } else {
        "a"
    }
}

/// The volume group that a device is in, found by the UUID that is written on it.
pub(crate) fn member_of<'a>(lvm: &'a Lvm, device: &BlockDevice) -> Option<&'a str> {
    let own = |it: &&crate::facts::Signature| it.device == device.path && it.kind == "LVM2_member";
    let uuid = &device.signatures.iter().find(own)?.uuid;
    let found = lvm.physical.iter().find(|it| it.uuid == *uuid)?;
    (!found.group.is_empty()).then_some(found.group.as_str())
}

/// Skep's claim on a device, where all that is on it bears the claim's UUID and the device is the
/// one that was claimed: never by its name alone.
fn claim(facts: &HostFacts, path: &str, device: &BlockDevice) -> Result<Option<Claim>, Trouble> {
    let file = claim_path(path);
    let claim = match facts.files.get(&file) {
        Some(Known::Value(file)) => read_claim(file, device),
        Some(Known::Absent) => None,
        other => return Err(Trouble::Unknown(unknown("file", &file, other))),
    };
    Ok(claim.filter(|claim| {
        let ours = device.signatures.iter().all(|it| it.uuid == claim.uuid);
        ours && !claim.uuid.is_empty() && device.partitions.is_empty()
    }))
}

fn read_claim(file: &File, device: &BlockDevice) -> Option<Claim> {
    let text = file.content.as_deref()?;
    let get = |key: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once('='));
        lines.find(|(name, _)| *name == key).map(|(_, value)| value)
    };
    let same = get("size")? == device.size.to_string()
        && get("serial")? == device.serial
        && get("wwn")? == device.wwn;
    same.then(|| Claim {
        uuid: get("uuid").unwrap_or_default().to_owned(),
        done: get("state") == Some("done"),
    })
}

/// What the plan saw of a device, for the step that writes to it.
pub(crate) fn identity(path: &str, device: &BlockDevice) -> DeviceId {
    DeviceId {
        path: path.to_owned(),
        size: device.size,
        serial: device.serial.clone(),
        wwn: device.wwn.clone(),
    }
}
