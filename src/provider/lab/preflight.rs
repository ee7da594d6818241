//! What this machine lacks to carry a lab, and its installation.

use std::path::Path;
use std::time::Duration;

use super::LabError;
use crate::inventory::LabDriver;
use crate::local::{self, Program};

/// What must still be installed, started or made: for a person to agree to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Debian packages to install on this machine.
    pub packages: Vec<String>,
    /// Whether the lab's own engine must be started.
    pub engine: bool,
    /// The release whose image must be made.
    pub image: Option<String>,
}

impl Needs {
    /// Whether nothing is missing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether something would be installed on this machine: what a person must be asked for.
    pub fn changes_machine(&self) -> bool {
        !self.packages.is_empty()
    }

    /// One line for each thing that is missing, for people.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.packages.is_empty() {
            lines.push(format!("install packages: {}", self.packages.join(", ")));
        }
        if self.engine {
            lines.push("start a Docker Engine of the lab's own".to_owned());
        }
        if let Some(release) = &self.image {
            lines.push(format!(
                "make the hosts' image: Debian {release} (once; a minute or two)"
            ));
        }
        lines
    }
}

/// What was found out about this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    /// Whether skep runs as root.
    pub root: bool,
    /// `ID` and the words of `ID_LIKE` of `/etc/os-release`.
    pub os: Vec<String>,
    /// `VERSION_CODENAME` of `/etc/os-release`.
    pub codename: String,
    /// The programs that are missing.
    pub missing: Vec<&'static str>,
}

/// The programs that labs use, and the package of each.
const PROGRAMS: [(&str, &str); 11] = [
    ("dockerd", "docker.io"),
    ("docker", "docker-cli"),
    ("containerd", "docker.io"),
    ("mmdebstrap", "mmdebstrap"),
    ("iptables", "iptables"),
    ("ip", "iproute2"),
    ("ssh-keygen", "openssh-client"),
    ("setsid", "util-linux"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("qemu-img", "qemu-utils"),
    ("mkfs.ext4", "e2fsprogs"),
];

/// The programs that a lab of each kind does without.
fn unused(driver: LabDriver) -> &'static [&'static str] {
    match driver {
        LabDriver::Container => &["qemu-system-x86_64", "qemu-img", "mkfs.ext4"],
        LabDriver::Vm => &["dockerd", "docker", "containerd", "iptables", "setsid"],
    }
}

/// Debian releases whose `docker.io` still holds the command line client.
const CLIENT_INSIDE: [&str; 7] = [
    "buster", "bullseye", "bookworm", "focal", "jammy", "noble", "plucky",
];

/// Looks at this machine.
pub(super) fn look(driver: LabDriver) -> Machine {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let (os, codename) = os_release(&text);
    Machine {
        root: rustix::process::geteuid().is_root(),
        os,
        codename,
        missing: PROGRAMS
            .iter()
            .map(|&(program, _)| program)
            .filter(|program| !unused(driver).contains(program) && !local::installed(program))
            .collect(),
    }
}

fn os_release(text: &str) -> (Vec<String>, String) {
    let value = |key: &str| {
        text.lines()
            .filter_map(|line| line.strip_prefix(key)?.strip_prefix('='))
            .map(|value| value.trim_matches('"').to_owned())
            .next()
            .unwrap_or_default()
    };
    let words = format!("{} {}", value("ID"), value("ID_LIKE"));
    let os = words.split_whitespace().map(str::to_owned).collect();
    (os, value("VERSION_CODENAME"))
}

/// Which packages `machine` needs. An error where skep cannot or must not install them.
pub fn decide(machine: &Machine) -> Result<Vec<String>, LabError> {
    let mut packages: Vec<String> = PROGRAMS
        .iter()
        .filter(|(program, _)| machine.missing.contains(program))
        .map(|&(_, package)| match package {
            "docker-cli" if CLIENT_INSIDE.contains(&machine.codename.as_str()) => "docker.io",
            _ => package,
        })
        .map(str::to_owned)
        .collect();
    packages.sort();
    packages.dedup();
    let debian = machine.os.iter().any(|id| id == "debian" || id == "ubuntu");
    if !debian && !packages.is_empty() {
        return Err(LabError::Unfit {
            message: format!(
                "a lab needs programs that are not installed: {}",
                machine.missing.join(", ")
            ),
            hint: "skep installs them itself on Debian and Ubuntu only; install them with this \
                   system's package manager, then run the command again."
                .to_owned(),
        });
    }
    if !machine.root {
        let install = if packages.is_empty() {
            String::new()
        } else {
            format!(" It would install: {}.", packages.join(" "))
        };
        return Err(LabError::Unfit {
            message: "a lab needs root".to_owned(),
            hint: format!("Run the command again with sudo.{install}"),
        });
    }
    Ok(packages)
}

/// Tells package scripts to start nothing (`/usr/share/doc/init-system-helpers`, policy-rc.d).
const POLICY_PATH: &str = "/usr/sbin/policy-rc.d";
const POLICY: &str =
    "#!/bin/sh\n# skep: nothing starts while the lab's packages are installed\nexit 101\n";

/// Keeps package scripts from starting services as long as it lives.
struct Quiet<'a>(Option<&'a Path>);

impl<'a> Quiet<'a> {
    fn new(path: &'a Path) -> Result<Self, LabError> {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        match std::fs::read_to_string(path) {
            // A run that was killed left it behind.
            Ok(text) if text == POLICY => return Ok(Self(Some(path))),
            // Somebody's own policy stays in force.
            Ok(_) => return Ok(Self(None)),
            Err(_) => {}
        }
        let mut options = std::fs::File::options();
        options.write(true).create_new(true).mode(0o755);
        let write = || options.open(path)?.write_all(POLICY.as_bytes());
        write().map_err(LabError::file("write", path))?;
        Ok(Self(Some(path)))
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        if let Some(path) = self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// How long an installation may take: ten minutes, five of them for another one's lock.
const INSTALL_DEADLINE: Duration = Duration::from_mins(10);

/// Installs `packages` without letting any service of theirs start.
pub(super) async fn install(
    packages: &[String],
    progress: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), LabError> {
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(", ");
    progress(&format!("installing {list}"));
    let quiet = Quiet::new(Path::new(POLICY_PATH))?;
    let install = apt_get(["install", "--yes", "--no-install-recommends"]).args(packages);
    if install.run().await.is_err() {
        // The package index may be missing or stale; only then is it worth the time.
        let update = apt_get(["update"]);
        update
            .run()
            .await
            .map_err(LabError::program("refresh the package index"))?;
        let result = install.run().await;
        result.map_err(LabError::program(format!("install {list}")))?;
    }
    drop(quiet);
    if packages.iter().any(|package| package == "docker.io") {
        // The package is there for the lab: no engine of its own starts at the next boot.
        let disable = Program::new("systemctl").args([
            "disable",
            "docker.service",
            "docker.socket",
            "containerd.service",
        ]);
        // Without systemd there is nothing to disable.
        let _ = disable.output().await;
    }
    Ok(())
}

fn apt_get<const N: usize>(args: [&str; N]) -> Program {
    Program::new("apt-get")
        .args(["-q", "-o", "DPkg::Lock::Timeout=300"])
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("NEEDRESTART_MODE", "l")
        .deadline(INSTALL_DEADLINE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(codename: &str, missing: &[&'static str]) -> Machine {
        Machine {
            root: true,
            os: vec!["debian".to_owned()],
            codename: codename.to_owned(),
            missing: missing.to_vec(),
        }
    }

    #[test]
    fn the_client_is_a_package_of_its_own_from_trixie_on() {
        let missing = ["dockerd", "docker", "containerd", "mmdebstrap"];
        let old = decide(&machine("bookworm", &missing)).unwrap();
        assert_eq!(old, ["docker.io", "mmdebstrap"]);
        let new = decide(&machine("trixie", &missing)).unwrap();
        assert_eq!(new, ["docker-cli", "docker.io", "mmdebstrap"]);
    }

    #[test]
    fn a_machine_that_has_all_needs_nothing() {
        assert!(decide(&machine("bookworm", &[])).unwrap().is_empty());
        assert!(Needs::default().is_empty());
    }

    #[test]
    fn a_plain_user_is_told_what_would_be_installed() {
        let machine = Machine {
            root: false,
            ..machine("bookworm", &["mmdebstrap"])
        };
        let error = decide(&machine).unwrap_err();
        assert_eq!(error.to_string(), "a lab needs root");
        assert!(error.hint().unwrap().contains("mmdebstrap"));
    }

    #[test]
    fn another_system_is_told_what_is_missing() {
        let fedora = Machine {
            os: vec!["fedora".to_owned()],
            ..machine("", &["mmdebstrap"])
        };
        let error = decide(&fedora).unwrap_err().to_string();
        assert!(error.contains("mmdebstrap"), "{error}");
        let all_there = Machine {
            missing: Vec::new(),
            ..fedora
        };
        assert!(decide(&all_there).unwrap().is_empty());
    }

    #[test]
    fn os_release_tells_ubuntu_from_its_likes() {
        let text = "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\nVERSION_CODENAME=wilma\n";
        let (os, codename) = os_release(text);
        assert_eq!(os, ["linuxmint", "ubuntu", "debian"]);
        assert_eq!(codename, "wilma");
    }

    #[test]
    fn a_policy_of_the_users_own_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy-rc.d");
        drop(Quiet::new(&path).unwrap());
        assert!(!path.exists());
        std::fs::write(&path, "#!/bin/sh\nexit 0\n").unwrap();
        drop(Quiet::new(&path).unwrap());
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "#!/bin/sh\nexit 0\n"
        );
        std::fs::write(&path, POLICY).unwrap();
        drop(Quiet::new(&path).unwrap());
        assert!(!path.exists(), "what a killed run left is taken away");
    }
}
