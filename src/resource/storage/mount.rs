//! Mount units, and what keeps the engine from starting without its mounts.

use crate::inventory::{CONTAINERD_ROOT, Filesystem, Storage};

/// Where units are written.
pub(super) const UNITS: &str = "/etc/systemd/system";

/// The unit's name of a mount point, as `systemd-escape --path --suffix=mount` gives it.
pub(crate) fn unit_of(point: &str) -> String {
    let mut name = String::new();
    for (index, byte) in point.trim_matches('/').bytes().enumerate() {
        match byte {
            b'/' => name.push('-'),
            b'.' if index == 0 => name.push_str("\\x2e"),
            b if b.is_ascii_alphanumeric() || b":_.".contains(&b) => name.push(char::from(b)),
            b => name = format!("{name}\\x{b:02x}"),
        }
    }
    name + ".mount"
}

/// The text of a mount unit. It is wanted by `multi-user.target` and not by `local-fs.target`: a
/// host whose data disk is broken still comes up and can be logged in to.
pub(super) fn unit(what: &str, point: &str, filesystem: Filesystem) -> String {
    let options = match filesystem {
        Filesystem::Xfs => "defaults,pquota",
        Filesystem::Ext4 => "defaults",
    };
    let kind = filesystem.name();
    format!(
        "# Written by skep.\n[Unit]\nDescription=Docker's data at {point}\n\n[Mount]\nWhat={what}\nWhere={point}\nType={kind}\nOptions={options}\nTimeoutSec=90\n\n[Install]\nWantedBy=multi-user.target\n"
    )
}

/// The drop-ins that keep an engine from starting without its storage: path and text.
pub(super) fn drop_ins(storage: &Storage) -> Vec<(String, String)> {
    let of = |service: &str, text: String| {
        let path = format!("{UNITS}/{service}.d/skep-storage.conf");
        (path, format!("# Written by skep.\n{text}"))
    };
    let mounts = |point: &str| format!("[Unit]\nRequiresMountsFor={point}\n");
    match storage {
        // The pool is no device that systemd knows, and LVM activates it whenever its disks come.
        Storage::DirectLvm(_) => vec![of(
            "docker.service",
            "[Service]\nExecStartPre=/bin/sh -c 'i=0; until lvchange -a y docker/thinpool; do i=$$((i + 1)); [ $$i -lt 30 ] || exit 1; sleep 1; done'\n".to_owned(),
        )],
        Storage::Lvm(it) if it.containerd_percent.is_some() => vec![
            of("docker.service", mounts(&format!("{} {CONTAINERD_ROOT}", it.data_root))),
            of("containerd.service", mounts(CONTAINERD_ROOT)),
        ],
        Storage::Lvm(_) | Storage::Disk(_) => {
            vec![of("docker.service", mounts(storage.data_root()))]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_as_systemd_does() {
        assert_eq!(unit_of("/var/lib/docker"), "var-lib-docker.mount");
        assert_eq!(unit_of("/mnt/my-disk"), "mnt-my\\x2ddisk.mount");
        assert_eq!(unit_of("/.hidden/"), "\\x2ehidden.mount");
    }
}
