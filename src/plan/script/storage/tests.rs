use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use super::*;
use crate::inventory::Filesystem;

fn device() -> DeviceId {
    DeviceId {
        path: "/dev/disk/by-id/x".to_owned(),
        size: 1 << 30,
        serial: "it's".to_owned(),
        wwn: String::new(),
    }
}

fn every_call() -> Vec<StorageCall> {
    let name = str::to_owned;
    let group = || name("docker");
    vec![
        StorageCall::Wipe {
            device: device(),
            holds: name("an ext4 file system"),
        },
        StorageCall::PhysicalVolume {
            device: device(),
            group: group(),
        },
        StorageCall::ResizePhysicalVolume {
            device: device(),
            group: group(),
        },
        StorageCall::ThinPool {
            group: group(),
            name: name("thinpool"),
            data_percent: 95,
            metadata_percent: 1,
            chunk_kib: 512,
            profile: name("docker-thinpool"),
        },
        StorageCall::MonitorPool {
            group: group(),
            name: name("thinpool"),
            profile: name("docker-thinpool"),
        },
        StorageCall::Volume {
            group: group(),
            name: name("data"),
            percent: 100,
            filesystem: Filesystem::Xfs,
        },
        StorageCall::GrowVolume {
            group: group(),
            name: name("data"),
            percent: 100,
            filesystem: Filesystem::Ext4,
            mounted: name("/var/lib/docker"),
        },
        StorageCall::Format {
            device: device(),
            filesystem: Filesystem::Xfs,
        },
        StorageCall::MountUnit {
            device: device(),
            path: name("/etc/systemd/system/dockyard.mount"),
            content: name("What=/dev/disk/by-uuid/@UUID@\n"),
        },
        StorageCall::Mount {
            unit: name("dockyard.mount"),
            path: name("/dockyard"),
        },
    ]
}

#[test]
fn every_script_is_posix_shell() {
    for call in every_call() {
        let script = crate::plan::script::script(&crate::plan::Step::Storage(call)).unwrap();
        for shell in ["sh", "dash"] {
            let Ok(output) = Command::new(shell)
                .args(["-n", "-c", &script.text])
                .output()
            else {
                continue;
            };
            assert!(
                output.status.success(),
                "{shell}: {output:?}\n{}",
                script.text
            );
        }
    }
}

fn stub(folder: &Path, name: &str, body: &str) {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Runs the shared functions with tools that answer what `lsblk` and `wipefs` are told to; says what
/// `empty_device` came to.
fn empty(lsblk: &str, wipefs: &str, uuid: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    stub(folder.path(), "lsblk", lsblk);
    stub(folder.path(), "wipefs", wipefs);
    // The kernel's view of the device, and where results go, are this folder's.
    let sys = folder.path().join("block/vdz");
    fs::create_dir_all(sys.join("holders")).unwrap();
    fs::write(sys.join("ro"), "0\n").unwrap();
    fs::write(sys.join("dev"), "250:77\n").unwrap();
    let root = folder.path().display().to_string();
    let shared = SHARED
        .replace("/sys/class/block", &format!("{root}/block"))
        .replace("/run/skep/wipefs", &format!("{root}/out"));
    let script = format!(
        "set -eu\nPATH={root}:$PATH\nsay() {{ printf '%s\\n' \"$*\"; }}\nfail() {{ code=$1; shift; say \"$*\"; exit \"$code\"; }}\n{shared}\nreal=/dev/vdz\nempty_device /dev/x '{uuid}'\nsay \"free ours=$ours\"\n"
    );
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code(), text)
}

const ALONE: &str = "echo '/dev/vdz disk'";

#[test]
fn a_device_is_looked_at_again_before_it_is_written_to() {
    assert_eq!(empty(ALONE, "", ""), (Some(0), "free ours=\n".to_owned()));
    let (code, text) = empty(ALONE, "echo 'ext4,aaaa'", "");
    assert_eq!(code, Some(90), "{text}");
    assert!(text.contains("it is not empty: ext4 aaaa"), "{text}");
    // Our own work, and something beside it.
    let (code, text) = empty(ALONE, "echo 'xfs,aaaa'", "aaaa");
    assert_eq!((code, text.trim()), (Some(0), "free ours=yes"));
    assert_eq!(
        empty(ALONE, "echo 'xfs,aaaa'; echo 'gpt,'", "aaaa").0,
        Some(90)
    );
    assert_eq!(empty(ALONE, "echo 'gpt,'", "aaaa").0, Some(90));
}

#[test]
fn no_answer_is_never_empty() {
    for (lsblk, wipefs) in [
        (ALONE, "exit 1"),
        (ALONE, "echo 'ext4,a'; exit 1"),
        ("exit 1", ""),
        ("", ""),
    ] {
        assert_eq!(empty(lsblk, wipefs, "").0, Some(90), "{lsblk} {wipefs}");
    }
}

#[test]
fn what_is_made_of_a_device_is_seen_in_any_order() {
    let (code, text) = empty("echo '/dev/dm-0 lvm'; echo '/dev/vdz disk'", "", "");
    assert_eq!(code, Some(90));
    assert!(text.contains("in use by /dev/dm-0 lvm"), "{text}");
}

/// A volume is found by its serial number, under whichever of its names the host has it, and a path
/// is taken as it is.
#[test]
fn a_volume_is_found_by_its_serial_number() {
    let folder = tempfile::tempdir().unwrap();
    let names = folder.path().join("by-id");
    fs::create_dir(&names).unwrap();
    let shared = SHARED
        .replace("/dev/disk/by-id", names.to_str().unwrap())
        .replace("-b \"$link\"", "-e \"$link\"")
        .replace("sleep 1", ":");
    let id = "5b4bc1ca-0b3c-4c2e-a7d1-0123456789ab";
    let path = |device: &str| {
        let script = format!("{shared}\ndevice_path '{device}'");
        let ran = Command::new("sh").args(["-c", &script]).output();
        let text = String::from_utf8(ran.unwrap().stdout).unwrap();
        text.trim().replace(names.to_str().unwrap(), "ID")
    };
    assert_eq!(path("/dev/sdb"), "/dev/sdb");
    let volume = format!("volume:docker/{id}");
    // One that is not there is looked for under its usual name.
    assert_eq!(path(&volume), "ID/virtio-5b4bc1ca-0b3c-4c2e-a");
    for name in [
        "wwn-0x5b4bc1ca0b3c4c2ea7d10123456789ab".to_owned(),
        format!("scsi-SQEMU_QEMU_HARDDISK_{id}"),
        "scsi-0QEMU_QEMU_HARDDISK_5b4bc1ca-0b3c-4c2e-a".to_owned(),
        "virtio-5b4bc1ca-0b3c-4c2e-a".to_owned(),
    ] {
        fs::write(names.join(&name), "").unwrap();
        fs::write(names.join(format!("{name}-part1")), "").unwrap();
        assert_eq!(path(&volume), format!("ID/{name}"));
    }
}
