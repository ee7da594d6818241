//! The hosts' image: a small Debian with systemd and sshd, made from the machine's own mirror.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use super::LabError;
use super::dirs::{Dirs, digest, make_private, write_whole};
use super::docker::Docker;
use super::engine::remove_tree;
use crate::inventory::{self, LabDriver};
use crate::local::Program;

/// The releases that labs are tested with.
pub const RELEASES: [&str; 2] = ["bookworm", "trixie"];

/// What is installed in every image, beside `mmdebstrap`'s `minbase`. Docker is not: skep installs it
/// over SSH as on any host.
const PACKAGES: [&str; 14] = [
    "ca-certificates",
    "curl",
    "dbus",
    "debian-archive-keyring",
    "gnupg",
    "iproute2",
    "iptables",
    "kmod",
    "openssh-server",
    "procps",
    "sudo",
    "systemd",
    "systemd-sysv",
    "tzdata",
];

/// What a virtual machine needs beside these.
const VM_PACKAGES: [&str; 3] = ["initramfs-tools", "linux-image-cloud-amd64", "udev"];

/// Turns the new tree into a host's: what all need, then what a container or a machine needs. Runs
/// outside the tree, with its path as the first argument.
const SETUP: &str = include_str!("image/setup.sh");
const CONTAINER_SETUP: &str = include_str!("image/container.sh");
const VM_SETUP: &str = include_str!("image/vm.sh");

/// How long making the image may take; 30 s is usual.
const BUILD_DEADLINE: Duration = Duration::from_mins(20);

/// All that decides what the image holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// What the hosts are.
    pub driver: LabDriver,
    /// The release, such as `bookworm`.
    pub release: String,
    /// APT's sources of the image.
    pub sources: String,
    /// APT's configuration of the image.
    pub apt_conf: String,
    /// The machine's own certificate authorities, PEM.
    pub authorities: String,
}

impl Recipe {
    /// The image's name: it changes with whatever the image is made from.
    pub fn tag(&self) -> String {
        let text = [
            &self.setup(),
            &self.packages().join(" "),
            self.warm(),
            &self.sources,
            &self.apt_conf,
            &self.authorities,
        ]
        .join("\0");
        let hash = digest(text.as_bytes());
        let kind = match self.driver {
            LabDriver::Container => "skep-lab:",
            LabDriver::Vm => "vm-",
        };
        format!("{kind}{}-{}", self.release, &hash[..12])
    }

    fn setup(&self) -> String {
        let more = match self.driver {
            LabDriver::Container => CONTAINER_SETUP,
            LabDriver::Vm => VM_SETUP,
        };
        format!("{SETUP}{more}")
    }

    fn packages(&self) -> Vec<&'static str> {
        let more: &[&str] = match self.driver {
            LabDriver::Container => &[],
            LabDriver::Vm => &VM_PACKAGES,
        };
        PACKAGES.iter().chain(more).copied().collect()
    }

    /// The packages that skep will install on the hosts, brought along as files.
    fn warm(&self) -> &'static str {
        match (self.driver, self.release.as_str()) {
            (LabDriver::Container, "bookworm") => "docker.io",
            (LabDriver::Container, _) => "docker.io docker-cli",
            (LabDriver::Vm, "bookworm") => {
                "docker.io lvm2 thin-provisioning-tools xfsprogs nfs-common nfs-kernel-server"
            }
            (LabDriver::Vm, _) => "docker.io docker-cli lvm2 xfsprogs nfs-common nfs-kernel-server",
        }
    }
}

/// The recipe for a lab on this machine: with its mirror and its way to reach it.
pub(super) async fn recipe(lab: &inventory::Lab) -> Result<Recipe, LabError> {
    if !RELEASES.contains(&lab.release.as_str()) {
        return Err(LabError::Unfit {
            message: format!("no lab can be made of the release `{}`", lab.release),
            hint: format!("Set `release` in `[lab]` to {}.", RELEASES.join(" or ")),
        });
    }
    let format = "$(REPO_URI) $(CODENAME) $(ORIGIN)";
    let targets = Program::new("apt-get")
        .args(["indextargets", "--format", format])
        .arg("Created-By: Packages");
    let config = Program::new("apt-config").arg("dump");
    // Not a Debian machine: its package manager has nothing to say here.
    let text = |output: Result<crate::local::Output, _>| {
        output.map(|output| output.stdout).unwrap_or_default()
    };
    let targets = text(targets.output().await);
    let config = text(config.output().await);
    let proxies: Vec<_> = ["http_proxy", "https_proxy"]
        .iter()
        .filter_map(|&name| Some((name, std::env::var(name).ok()?)))
        .collect();
    Ok(Recipe {
        driver: lab.driver,
        sources: sources(&lab.release, lab.mirror.as_deref(), &targets),
        apt_conf: apt_conf(&config, &proxies),
        authorities: authorities(Path::new("/usr/local/share/ca-certificates")),
        release: lab.release.clone(),
    })
}

/// APT's sources for `release`, from the mirrors that `targets` (lines of URI, code name, origin)
/// names for Debian.
fn sources(release: &str, mirror: Option<&str>, targets: &str) -> String {
    let find = |security: bool| {
        targets.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            let (uri, codename, origin) = (words.next()?, words.next()?, words.next()?);
            let plain = !codename.contains('-');
            let fits = if security {
                codename.ends_with("-security")
            } else {
                plain
            };
            (origin == "Debian" && fits).then_some(uri)
        })
    };
    let main = mirror
        .or_else(|| find(false))
        .unwrap_or("http://deb.debian.org/debian");
    let security = find(true).unwrap_or("http://deb.debian.org/debian-security");
    let stanza = |uri: &str, suites: &str| {
        format!(
            "Types: deb\nURIs: {uri}\nSuites: {suites}\nComponents: main\n\
             Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
        )
    };
    format!(
        "{}\n{}",
        stanza(main, &format!("{release} {release}-updates")),
        stanza(security, &format!("{release}-security"))
    )
}

/// APT's configuration for the hosts: how this machine reaches its mirror, and a lean installation.
fn apt_conf(dump: &str, proxies: &[(&str, String)]) -> String {
    const KEPT: [&str; 7] = [
        "Acquire::http::",
        "Acquire::https::",
        "Acquire::Check-Valid-Until",
        "Acquire::Check-Date",
        "Acquire::Retries",
        "Acquire::ForceIPv4",
        "Acquire::ForceIPv6",
    ];
    let mut conf =
        String::from("APT::Install-Recommends \"false\";\nAcquire::Languages \"none\";\n");
    for line in dump.lines() {
        // Files of this machine, such as client certificates, are not in the hosts.
        if KEPT.iter().any(|key| line.starts_with(key)) && !line.contains("\"/") {
            let _ = writeln!(conf, "{line}");
        }
    }
    for (name, value) in proxies {
        let scheme = name.trim_end_matches("_proxy");
        if !conf.contains(&format!("Acquire::{scheme}::Proxy")) {
            let _ = writeln!(conf, "Acquire::{scheme}::Proxy \"{value}\";");
        }
    }
    conf
}

/// The certificate authorities that this machine's owner added, one after the other.
fn authorities(dir: &Path) -> String {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "crt"))
        .collect();
    paths.sort();
    let texts = paths.iter().map(std::fs::read_to_string);
    texts.flatten().collect::<Vec<_>>().join("\n")
}

/// Whether the image is there.
pub(super) async fn exists(docker: &Docker, recipe: &Recipe) -> bool {
    let inspect = docker.program(["image", "inspect", "--format", "{{.Id}}", &recipe.tag()]);
    inspect.run().await.is_ok()
}

/// Makes the image if it is not there. A tree that was only half made is never used: the image
/// gets its name when it is whole.
pub(super) async fn build(
    dirs: &Dirs,
    docker: &Docker,
    recipe: &Recipe,
    progress: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), LabError> {
    if exists(docker, recipe).await {
        return Ok(());
    }
    let tar = dirs.build().join("root.tar");
    make_tree(dirs, recipe, "tar", &tar, progress).await?;
    progress("image: importing");
    let import = docker
        .program(["import", "--change", "CMD [\"/usr/local/sbin/lab-init\"]"])
        .args(["--change", "ENV container=docker"])
        .arg(&tar)
        .arg(recipe.tag())
        .deadline(BUILD_DEADLINE);
    let imported = import.run().await;
    imported.map_err(LabError::program(doing(recipe)))?;
    remove_tree(&dirs.build())
}

fn doing(recipe: &Recipe) -> String {
    format!("make the image of Debian {}", recipe.release)
}

/// Makes the tree of a host at `target`, a path below the build directory, in a `format` of
/// mmdebstrap(1). The build directory is made anew.
pub(super) async fn make_tree(
    dirs: &Dirs,
    recipe: &Recipe,
    format: &str,
    target: &Path,
    progress: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), LabError> {
    progress(&format!(
        "making the hosts' image: Debian {} (once)",
        recipe.release
    ));
    let build = dirs.build();
    remove_tree(&build)?;
    make_private(&build)?;
    let (sources, conf) = (build.join("debian.sources"), build.join("apt.conf"));
    let setup = build.join("setup.sh");
    write_whole(&sources, &recipe.sources, 0o644)?;
    write_whole(&conf, &recipe.apt_conf, 0o644)?;
    write_whole(&build.join("authorities.crt"), &recipe.authorities, 0o644)?;
    write_whole(&setup, &recipe.setup(), 0o755)?;
    let make = Program::new("mmdebstrap")
        .args(["--mode=root", "--variant=minbase"])
        .arg(format!("--format={format}"))
        .arg("--skip=cleanup/apt/lists,cleanup/apt/cache")
        .arg(format!("--include={}", recipe.packages().join(",")))
        .arg(format!("--aptopt={}", conf.display()))
        .arg(format!("--customize-hook={}", setup.display()))
        .arg(&recipe.release)
        .args([target, &sources])
        .env("TMPDIR", &build)
        .env("SKEP_BUILD", &build)
        .env("SKEP_WARM", recipe.warm())
        .env("DEBIAN_FRONTEND", "noninteractive")
        .deadline(BUILD_DEADLINE);
    let tell = |line: &str| {
        if let Some(step) = line.strip_prefix("I: ") {
            progress(&format!("image: {step}"));
        }
    };
    let whole = make.run_with(&tell).await;
    whole.map_err(LabError::program(doing(recipe)))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGETS: &str = "http://mirror.test/ubuntu/ noble Ubuntu\n\
        http://mirror.test/debian/ bookworm Debian\n\
        http://mirror.test/debian/ bookworm-updates Debian\n\
        http://mirror.test/security/ bookworm-security Debian\n\
        http://mirror.test/docker/ bookworm Docker\n";

    #[test]
    fn the_hosts_use_the_machines_own_mirror() {
        let text = sources("trixie", None, TARGETS);
        assert!(text.contains("URIs: http://mirror.test/debian/\nSuites: trixie trixie-updates\n"));
        assert!(text.contains("URIs: http://mirror.test/security/\nSuites: trixie-security\n"));
    }

    #[test]
    fn a_mirror_of_the_inventory_comes_first_and_debians_own_last() {
        let text = sources("bookworm", Some("http://other.test/debian"), TARGETS);
        assert!(text.contains("URIs: http://other.test/debian\n"));
        let text = sources("bookworm", None, "http://x.test/ubuntu noble Ubuntu\n");
        assert!(text.contains("URIs: http://deb.debian.org/debian\n"));
        assert!(text.contains("URIs: http://deb.debian.org/debian-security\n"));
    }

    #[test]
    fn only_the_way_to_the_mirror_is_copied_from_apts_configuration() {
        let dump = "APT::Architecture \"amd64\";\nDPkg::Post-Invoke:: \"rm x\";\n\
            Acquire::http::Proxy \"http://proxy.test:3142\";\n\
            Acquire::https::CAInfo \"/etc/secret.pem\";\nAcquire::Check-Date \"false\";\n";
        let proxies = [
            ("http_proxy", "http://other.test".to_owned()),
            ("https_proxy", "http://other.test".to_owned()),
        ];
        let conf = apt_conf(dump, &proxies);
        assert!(conf.contains("Acquire::http::Proxy \"http://proxy.test:3142\";"));
        assert!(conf.contains("Acquire::https::Proxy \"http://other.test\";"));
        assert!(conf.contains("Check-Date"));
        assert!(!conf.contains("Post-Invoke") && !conf.contains("secret"));
        assert!(!conf.contains("http::Proxy \"http://other.test\""));
    }

    #[test]
    fn another_recipe_has_another_name() {
        let one = Recipe {
            driver: LabDriver::Container,
            release: "bookworm".to_owned(),
            sources: "a".to_owned(),
            apt_conf: String::new(),
            authorities: String::new(),
        };
        let two = Recipe {
            sources: "b".to_owned(),
            ..one.clone()
        };
        assert_eq!(one.tag(), one.clone().tag());
        assert_ne!(one.tag(), two.tag());
        assert!(one.tag().starts_with("skep-lab:bookworm-"));
        let machines = Recipe {
            driver: LabDriver::Vm,
            ..one.clone()
        };
        assert!(machines.tag().starts_with("vm-bookworm-"));
    }
}
