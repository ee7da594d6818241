//! systemd's units of a mount: their names and their text.

use crate::facts::UNIT_MARK;
use crate::inventory::Mount;

use super::PORT;

/// Where units of the machine's own go.
pub(in crate::resource) const FOLDER: &str = "/etc/systemd/system";

/// The name that systemd wants of the units of a mount on `path`, without `.mount`:
/// `systemd-escape --path` (systemd.unit(5), "String escaping for inclusion in unit names").
pub(in crate::resource) fn escape(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        return "-".to_owned();
    }
    let mut out = String::new();
    for (index, byte) in parts.join("/").bytes().enumerate() {
        match byte {
            b'/' => out.push('-'),
            b'.' if index == 0 => out.push_str("\\x2e"),
            _ if byte.is_ascii_alphanumeric() || b":_.".contains(&byte) => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&["\\x", &crate::shell::hex(&[byte])].concat()),
        }
    }
    out
}

/// The path of the unit name that [`escape`] made.
pub(super) fn unescape(name: &str) -> String {
    if name == "-" {
        return "/".to_owned();
    }
    let mut bytes = vec![b'/'];
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        let digits = rest.strip_prefix("\\x").and_then(|rest| rest.get(..2));
        if let Some(byte) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            bytes.push(byte);
            rest = &rest[4..];
            continue;
        }
        let mut buffer = [0; 4];
        let text: &str = if first == '-' {
            "/"
        } else {
            first.encode_utf8(&mut buffer)
        };
        bytes.extend(text.bytes());
        rest = &rest[first.len_utf8()..];
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The name of the unit that mounts.
pub(super) fn mount_unit(mount: &Mount) -> String {
    format!("{}.mount", escape(&mount.target))
}

/// The name of the unit that waits for the first touch.
pub(super) fn automount_unit(mount: &Mount) -> String {
    format!("{}.automount", escape(&mount.target))
}

/// The options of the mount. `nofail` keeps a dead server from holding up the boot: systemd does
/// not order what waits for remote file systems after the mount then (systemd.mount(5)).
fn options(mount: &Mount) -> String {
    let mut options = vec!["_netdev".to_owned(), "nofail".to_owned()];
    options.push(if mount.soft { "soft" } else { "hard" }.to_owned());
    options.extend(
        mount
            .version
            .iter()
            .map(|version| format!("nfsvers={version}")),
    );
    options.extend(mount.options.iter().cloned());
    options.join(",")
}

/// The port of the server.
pub(super) fn port(mount: &Mount) -> u16 {
    let ports = mount
        .options
        .iter()
        .filter_map(|it| it.strip_prefix("port="));
    ports
        .filter_map(|port| port.parse().ok())
        .next_back()
        .unwrap_or(PORT)
}

/// The text of the unit that mounts. systemd makes the mount point where it is not there.
pub(super) fn mount_text(mount: &Mount) -> String {
    let Mount {
        server,
        source,
        target,
        timeout,
        ..
    } = mount;
    let options = options(mount);
    let install = if mount.automount { "" } else { INSTALL };
    format!(
        "{UNIT_MARK}\n[Unit]\nDescription={target} from {server}\nDocumentation=man:nfs(5)\n\n\
         [Mount]\nWhat={source}\nWhere={target}\nType=nfs\nOptions={options}\n\
         TimeoutSec={timeout}\n{install}"
    )
}

/// The text of the unit that waits for the first touch.
pub(super) fn automount_text(mount: &Mount) -> String {
    let Mount { server, target, .. } = mount;
    format!(
        "{UNIT_MARK}\n[Unit]\nDescription={target} from {server}, when it is touched\n\n\
         [Automount]\nWhere={target}\n{INSTALL}"
    )
}

const INSTALL: &str = "\n[Install]\nWantedBy=remote-fs.target\n";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_those_of_systemd_escape() {
        for (path, name) in [
            ("/", "-"),
            ("/home", "home"),
            ("/mnt/docker", "mnt-docker"),
            ("/mnt/docker-data", "mnt-docker\\x2ddata"),
            ("/mnt/a_b.c:d", "mnt-a_b.c:d"),
            ("/.hidden/x", "\\x2ehidden-x"),
            ("/mnt/.x", "mnt-.x"),
            ("/mnt/é+", "mnt-\\xc3\\xa9\\x2b"),
            ("//mnt//x/", "mnt-x"),
        ] {
            assert_eq!(escape(path), name);
        }
    }

    proptest! {
        #[test]
        fn a_name_gives_its_path_back(path in "(/[a-zé.:_+ -]{1,6}){1,4}") {
            prop_assert_eq!(unescape(&escape(&path)), path);
        }
    }
}
