//! Reads what a host says of its disks.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Answers, unreadable};
use crate::facts::{
    BlockDevice, Directory, HostFacts, LogicalVolume, Lvm, MountOf, PhysicalVolume, Probe, Probes,
    Signature, VolumeGroup,
};
use crate::known::Known;

/// Reads all answers about disks.
pub(super) fn storage(probes: &Probes, answers: &Answers<'_>, facts: &mut HostFacts) {
    let (mut devices, mut directories, mut candidates) = (0, 0, 0);
    let mounts = text(answers, "mountinfo");
    let swaps = text(answers, "swaps");
    for probe in probes {
        match probe {
            Probe::BlockDevice(path) => {
                let known = device(answers, devices, &mounts, &swaps);
                facts.devices.insert(path.clone(), known);
                devices += 1;
            }
            Probe::Directory(path) => {
                let known = directory(answers, directories, path, &mounts);
                facts.directories.insert(path.clone(), known);
                directories += 1;
            }
            Probe::Candidate(name) => {
                let section = format!("candidate{candidates}");
                let newest = answers.section(&section);
                let newest = newest.map_or_else(|answer| answer, |it| candidate(&it.text()));
                facts.candidates.insert(name.clone(), newest);
                let all = answers.section(&section);
                let all = all.map_or_else(|answer| answer, |it| offered(&it.text()));
                facts.offered.insert(name.clone(), all);
                candidates += 1;
            }
            Probe::Lvm => facts.lvm = answers.read("lvm", |section| lvm(&section.text())),
            Probe::DropIns(_) => facts.drop_ins = drop_ins(answers),
            _ => {}
        }
    }
}

/// A section's text; why there is none, for people, else.
fn text(answers: &Answers<'_>, name: &str) -> Result<String, String> {
    let section = answers.section::<()>(name);
    section
        .map(|section| section.text().into_owned())
        .map_err(|answer| answer.why_unknown().unwrap_or("it is not there").to_owned())
}

/// A device. Whatever of it could not be learned makes all of it unknown: half of what is on a disk
/// must not look like all of it.
fn device(
    answers: &Answers<'_>,
    index: usize,
    mounts: &Result<String, String>,
    swaps: &Result<String, String>,
) -> Known<BlockDevice> {
    let about = match answers.section::<BlockDevice>(&format!("device{index}")) {
        Ok(section) => section.text().into_owned(),
        Err(answer) => return answer,
    };
    let read = || -> Result<BlockDevice, String> {
        let tree = text(answers, &format!("lsblk{index}"))?;
        let found = text(answers, &format!("wipefs{index}"))?;
        let mut device = described(&about, &tree).ok_or("the answer could not be read")?;
        device.signatures = signatures(&found).ok_or("the answer could not be read")?;
        let family = family(&device.path, &tree).ok_or("the answer could not be read")?;
        device.mounts = mounts_of(&family, mounts.as_ref().map_err(Clone::clone)?);
        let swaps = swaps.as_ref().map_err(Clone::clone)?;
        device.swaps = swaps
            .lines()
            .skip(1)
            .filter_map(|line| line.split_whitespace().next())
            .filter(|path| family.iter().any(|it| it.path == *path))
            .map(str::to_owned)
            .collect();
        Ok(device)
    };
    match read() {
        Ok(device) => Known::Value(device),
        Err(why) => Known::Unknown(why),
    }
}

/// A device of `lsblk`'s tree.
struct Relative {
    path: String,
    number: String,
    kind: String,
}

/// The device itself and everything that is made of it.
fn family(path: &str, tree: &str) -> Option<Vec<Relative>> {
    fn walk(node: &Value, into: &mut Vec<Relative>) -> Option<()> {
        into.push(Relative {
            path: format!("/dev/{}", node["kname"].as_str()?),
            number: node["maj:min"].as_str()?.trim().to_owned(),
            kind: node["type"].as_str().unwrap_or_default().to_owned(),
        });
        for child in node["children"].as_array().into_iter().flatten() {
            walk(child, into)?;
        }
        Some(())
    }
    let tree: Value = serde_json::from_str(tree).ok()?;
    let mut all = Vec::new();
    walk(tree["blockdevices"].get(0)?, &mut all)?;
    // A disk that went away and another that took its name in between are not one.
    (all.first()?.path == path).then_some(all)
}

fn described(about: &str, tree: &str) -> Option<BlockDevice> {
    let mut lines = about.lines();
    let path = lines.next()?.to_owned();
    let family = family(&path, tree)?;
    let json: Value = serde_json::from_str(tree).ok()?;
    let own = &json["blockdevices"][0];
    let word = |key: &str| own[key].as_str().unwrap_or_default().trim().to_owned();
    // Older versions print numbers and flags as text.
    let number = |key: &str| {
        own[key]
            .as_u64()
            .or_else(|| own[key].as_str()?.trim().parse().ok())
    };
    let flag = |key: &str| {
        own[key]
            .as_bool()
            .or_else(|| Some(own[key].as_str()? == "1"))
    };
    let (mut links, mut holders) = (Vec::new(), Vec::new());
    for line in lines {
        match line.split_once(' ')? {
            ("link", link) => links.push(link.to_owned()),
            ("holder", holder) => holders.push(holder.to_owned()),
            _ => return None,
        }
    }
    links.sort();
    let (parts, others): (Vec<_>, Vec<_>) = family.iter().skip(1).partition(|it| it.kind == "part");
    let mut users: Vec<String> = others
        .iter()
        .map(|it| format!("{} ({})", it.path.trim_start_matches("/dev/"), it.kind))
        .collect();
    for holder in holders {
        let path = format!("/dev/{holder}");
        if !others.iter().any(|it| it.path == path) {
            users.push(holder);
        }
    }
    users.dedup();
    Some(BlockDevice {
        kind: word("type"),
        size: number("size")?,
        read_only: flag("ro")?,
        removable: flag("rm")?,
        serial: word("serial"),
        wwn: word("wwn"),
        model: word("model"),
        links,
        partitions: parts.iter().map(|it| it.path.clone()).collect(),
        users,
        path,
        ..BlockDevice::default()
    })
}

/// `wipefs` prints nothing at all where it finds nothing.
fn signatures(text: &str) -> Option<Vec<Signature>> {
    if text.trim().is_empty() {
        return Some(Vec::new());
    }
    let json: Value = serde_json::from_str(text).ok()?;
    let read = |found: &Value| {
        let word = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
        Some(Signature {
            device: format!("/dev/{}", found["device"].as_str()?),
            kind: found["type"].as_str()?.to_owned(),
            uuid: word("uuid"),
            label: word("label"),
        })
    };
    json["signatures"].as_array()?.iter().map(read).collect()
}

/// The mounts of a device's family, by number; by name too, for Btrfs has numbers of its own.
fn mounts_of(family: &[Relative], mounts: &str) -> Vec<MountOf> {
    let of = |line: &str| {
        let mount = Line::of(line)?;
        let found = family
            .iter()
            .find(|it| it.number == mount.number || it.path == mount.source)?;
        Some(MountOf {
            device: found.path.clone(),
            point: mount.point,
        })
    };
    mounts.lines().filter_map(of).collect()
}

/// A line of `/proc/self/mountinfo` (proc(5)).
struct Line<'a> {
    number: &'a str,
    point: String,
    fstype: &'a str,
    source: &'a str,
}

impl<'a> Line<'a> {
    fn of(line: &'a str) -> Option<Self> {
        let (first, second) = line.split_once(" - ")?;
        let mut first = first.split(' ').skip(2);
        let number = first.next()?;
        let point = first.nth(1)?.replace("\\040", " ");
        let mut second = second.split(' ');
        Some(Self {
            number,
            point,
            fstype: second.next()?,
            source: second.next()?,
        })
    }
}

fn directory(
    answers: &Answers<'_>,
    index: usize,
    path: &str,
    mounts: &Result<String, String>,
) -> Known<Directory> {
    let mounts = match mounts {
        Ok(mounts) => mounts,
        Err(why) => return Known::Unknown(why.clone()),
    };
    answers.read(&format!("directory{index}"), |section| {
        let text = section.text();
        let mut lines = text.lines();
        let inside = lines.next()?.strip_prefix("inside")?.trim();
        let number = lines.next()?.strip_prefix("device ")?.parse::<u64>().ok()?;
        let words: Vec<&str> = lines.nth(1)?.split_whitespace().collect();
        let [.., size, used, available, _, _] = words[..] else {
            return None;
        };
        let all: Vec<Line<'_>> = mounts.lines().filter_map(Line::of).collect();
        let own = all.iter().rev().find(|line| line.point == path);
        let number = kernel_number(number);
        let found = own.or_else(|| all.iter().rev().find(|line| line.number == number));
        Some(Directory {
            empty: inside.is_empty(),
            mount_point: own.is_some(),
            source: found.map(|line| line.source.to_owned()).unwrap_or_default(),
            fstype: found.map(|line| line.fstype.to_owned()).unwrap_or_default(),
            size_kib: size.parse().ok()?,
            used_kib: used.parse().ok()?,
            available_kib: available.parse().ok()?,
        })
    })
}

/// `MAJOR:MINOR` of a `st_dev`, as the C library puts it together (makedev(3)).
fn kernel_number(device: u64) -> String {
    let major = ((device >> 8) & 0xfff) | ((device >> 32) & !0xfff);
    let minor = (device & 0xff) | ((device >> 12) & !0xff);
    format!("{major}:{minor}")
}

/// The `Candidate:` of `apt-cache policy`.
fn candidate(text: &str) -> Known<String> {
    let found = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("Candidate:"));
    match found.map(str::trim) {
        Some("(none)") => Known::Absent,
        Some(version) => Known::Value(version.to_owned()),
        // It says nothing at all of a package that no source has.
        None if text.trim().is_empty() => Known::Absent,
        None => unreadable(),
    }
}

/// The version table of `apt-cache policy`: a line for each version, with `***` before the installed
/// one, and deeper lines for the places that have it. dpkg's own list is no source.
fn offered(text: &str) -> Known<Vec<String>> {
    let table = text
        .lines()
        .skip_while(|line| line.trim() != "Version table:")
        .skip(1);
    let mut versions: Vec<String> = Vec::new();
    let mut version = None;
    for line in table {
        let installed = line.trim_start().starts_with("*** ");
        let words: Vec<&str> = line
            .split_whitespace()
            .filter(|word| *word != "***")
            .collect();
        let deep = line.starts_with("        ") && !installed;
        match (deep, &words[..]) {
            (false, [name, ..]) => version = Some((*name).to_owned()),
            (true, [_, place, ..]) if !place.starts_with("/var/lib/dpkg/") => {
                versions.extend(version.take());
            }
            _ => {}
        }
    }
    if versions.is_empty() {
        Known::Absent
    } else {
        Known::Value(versions)
    }
}

/// Three reports one after the other.
fn lvm(text: &str) -> Option<Lvm> {
    let mut lvm = Lvm::default();
    let mut seen = 0;
    for report in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        let report = report.ok()?;
        seen += 1;
        let rows = |name: &str| {
            let rows = report["report"][0][name].as_array();
            rows.into_iter().flatten().cloned().collect::<Vec<Value>>()
        };
        for row in rows("pv") {
            lvm.physical.push(PhysicalVolume {
                device: word(&row, "pv_name"),
                uuid: word(&row, "pv_uuid"),
                group: word(&row, "vg_name"),
                device_size: bytes(&row, "dev_size")?,
                size: bytes(&row, "pv_size")?,
            });
        }
        for row in rows("vg") {
            lvm.groups.push(VolumeGroup {
                name: word(&row, "vg_name"),
                tags: tags(&row, "vg_tags"),
                size: bytes(&row, "vg_size")?,
                free: bytes(&row, "vg_free")?,
                extent: bytes(&row, "vg_extent_size")?,
                missing: word(&row, "vg_missing_pv_count").parse().ok()?,
            });
        }
        for row in rows("lv") {
            lvm.volumes.push(LogicalVolume {
                group: word(&row, "vg_name"),
                name: word(&row, "lv_name"),
                tags: tags(&row, "lv_tags"),
                size: bytes(&row, "lv_size")?,
                kind: word(&row, "segtype"),
                data_percent: word(&row, "data_percent").parse().ok(),
                metadata_percent: word(&row, "metadata_percent").parse().ok(),
                monitor: word(&row, "seg_monitor"),
                profile: word(&row, "lv_profile"),
                chunk: bytes(&row, "chunk_size").unwrap_or(0),
            });
        }
    }
    (seen == 3).then_some(lvm)
}

fn word(row: &Value, key: &str) -> String {
    row[key].as_str().unwrap_or_default().trim().to_owned()
}

fn tags(row: &Value, key: &str) -> Vec<String> {
    let text = word(row, key);
    let tags = text.split(',').filter(|tag| !tag.is_empty());
    tags.map(str::to_owned).collect()
}

fn bytes(row: &Value, key: &str) -> Option<u64> {
    row[key].as_u64().or_else(|| word(row, key).parse().ok())
}

fn drop_ins(answers: &Answers<'_>) -> Known<BTreeMap<String, String>> {
    let count = answers.read("dropins", |section| {
        section.text().trim().parse::<usize>().ok()
    });
    let count = match count {
        Known::Value(count) => count,
        other => return other.map(|_| BTreeMap::new()),
    };
    let mut files = BTreeMap::new();
    for index in 0..count {
        let read = answers.read(&format!("dropin{index}"), |section| {
            let text = section.text();
            let (path, content) = text.split_once('\n')?;
            Some((path.to_owned(), content.to_owned()))
        });
        match read {
            Known::Value((path, content)) => files.insert(path, content),
            _ => return unreadable(),
        };
    }
    Known::Value(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sources_offer_is_read_from_the_version_table() {
        let text = "docker.io:
  Installed: 20.10.24+dfsg1-1+b6
  Candidate: 20.10.24+dfsg1-1+b6
  Version table:
     26.1.5+dfsg1-9 100
        100 http://deb.debian.org/debian trixie/main amd64 Packages
 *** 20.10.24+dfsg1-1+b6 500
        500 http://deb.debian.org/debian bookworm/main amd64 Packages
        100 /var/lib/dpkg/status
     20.10.23 100
        100 /var/lib/dpkg/status
";
        let both = ["26.1.5+dfsg1-9", "20.10.24+dfsg1-1+b6"].map(str::to_owned);
        assert_eq!(offered(text), Known::Value(both.to_vec()));
        assert_eq!(offered(""), Known::Absent);
    }
}
