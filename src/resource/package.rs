//! The Docker Engine's packages: from the distribution, from Docker's repository, or brought along.

use std::collections::{BTreeMap, BTreeSet};

use crate::facts::{HostFacts, Os, Package, Probe, Probes};
use crate::inventory::{Docker, DockerSource};
use crate::known::Known;
use crate::plan::{PackageSpec, Step};

use super::kernel::unknown;
use super::{Draft, Resource, Verdict, value_diff};

/// Where package files that are brought along go on a host.
pub(crate) const BROUGHT: &str = "/var/cache/skep/packages";

/// There while an upgrade owes its packages the hold that they had.
pub(crate) const HOLD_MARKER: &str = "/var/lib/skep/hold-packages";

/// Docker's packages, as <https://docs.docker.com/engine/install/debian/> names them.
const DOCKER_CE: [&str; 3] = ["containerd.io", "docker-ce", "docker-ce-cli"];
/// Debian's packages. Debian 13 split the client off.
const DISTRO: [&str; 2] = ["docker-cli", "docker.io"];
/// The packages that are an engine.
const ENGINES: [&str; 2] = ["docker-ce", "docker.io"];
/// What the engine needs and a package only recommends.
const NEEDED: [&str; 2] = ["apparmor", "iptables"];

/// There where the kernel uses `AppArmor`: without the package's `apparmor_parser` the engine starts
/// no container then. A container that is a host does not see it, and neither does its engine.
const APPARMOR: &str = "/sys/kernel/security/apparmor";

/// What Docker's packages conflict with, beside Debian's engine
/// (<https://docs.docker.com/engine/install/debian/#uninstall-old-versions>): another program may
/// live on it.
const CONFLICTS: [&str; 3] = ["containerd", "podman-docker", "runc"];

/// The Docker Engine's packages.
#[derive(Debug, Clone, Copy)]
pub struct EnginePackage<'a> {
    docker: &'a Docker,
}

impl<'a> EnginePackage<'a> {
    /// The packages that these settings ask for.
    pub fn new(docker: &'a Docker) -> Self {
        Self { docker }
    }

    /// The packages that are brought along.
    fn files(&self) -> impl Iterator<Item = PackageFile<'_>> {
        let files = self.docker.package_files.keys();
        files.filter_map(|file| PackageFile::of(file))
    }

    /// Refuses a folder of package files that cannot give the host the engine that is asked for.
    fn unfit_files(&self, os: &Os) -> Option<Verdict> {
        if self.docker.source != DockerSource::Offline {
            return None;
        }
        let mut names = BTreeSet::new();
        let twice = self.files().find(|file| !names.insert(file.name));
        let foreign = self
            .files()
            .find(|file| file.arch != "all" && file.arch != os.arch);
        let engine = self.files().find(|file| ENGINES.contains(&file.name));
        let asked = self.docker.version.as_deref();
        let why = if let Some(file) = twice {
            format!(
                "the folder of `packages` has `{}` in two versions",
                file.name
            )
        } else if let Some(file) = foreign {
            format!(
                "the file of `{}` is for {}, and the host is {}",
                file.name, file.arch, os.arch
            )
        } else {
            match (engine, asked) {
                (None, _) => format!(
                    "the folder of `packages` has no file of {}",
                    ENGINES.join(" or ")
                ),
                (Some(file), Some(asked)) if !version_matches(&file.version, asked) => {
                    format!(
                        "the file of `{}` is version {}, and `version` asks for {asked}",
                        file.name, file.version
                    )
                }
                _ => return None,
            }
        };
        Some(Verdict::Refuse {
            why,
            hint: "Put the files of one engine, with all that it needs, into a folder of its own for each release and machine type.".to_owned(),
        })
    }

    /// The packages by name, with the version or its beginning where one is asked for.
    fn wanted(&self, os: &Os) -> Vec<PackageSpec> {
        let spec = |name: &str, version: Option<&String>| PackageSpec {
            name: name.to_owned(),
            version: version.cloned(),
        };
        let version = self.docker.version.as_ref();
        match self.docker.source {
            // Recommended packages are not installed by themselves, and without `iptables` the
            // engine does not start.
            DockerSource::Distro if splits_client(os) => vec![
                spec("docker.io", version),
                spec("docker-cli", version),
                spec("iptables", None),
            ],
            DockerSource::Distro => vec![spec("docker.io", version)],
            DockerSource::DockerCe => vec![
                spec("docker-ce", version),
                spec("docker-ce-cli", version),
                spec("containerd.io", None),
            ],
            DockerSource::Offline => self
                .files()
                .map(|file| spec(file.name, Some(&file.version)))
                .collect(),
        }
    }
}

/// The version of a package among the files that are brought along.
pub(crate) fn brought_version(docker: &Docker, name: &str) -> Option<String> {
    let files = docker.package_files.keys();
    let mut files = files.filter_map(|file| PackageFile::of(file));
    files
        .find(|file| file.name == name)
        .map(|file| file.version)
}

/// Whether the distribution has the `docker` command in a package of its own. Debian does from
/// 13 on; a release without a number (testing, unstable) is newer than that.
fn splits_client(os: &Os) -> bool {
    os.id == "debian"
        && os
            .version
            .parse::<u32>()
            .map_or(true, |version| version >= 13)
}

/// What a file named as Debian names them holds: `NAME_VERSION_ARCH.deb`.
struct PackageFile<'a> {
    name: &'a str,
    version: String,
    arch: &'a str,
}

impl<'a> PackageFile<'a> {
    fn of(file: &'a str) -> Option<Self> {
        let mut parts = file.strip_suffix(".deb")?.split('_');
        Some(Self {
            name: parts.next()?,
            // A colon cannot stand in a file name; APT writes it as `%3a`.
            version: parts.next()?.replace("%3a", ":").replace("%3A", ":"),
            arch: parts.next()?,
        })
    }
}

/// Whether `version` is the one asked for: the same, or one that begins with it at a boundary. An
/// epoch (`5:`) needs not be written.
pub(crate) fn version_matches(version: &str, asked: &str) -> bool {
    let without_epoch = version.split_once(':').map_or(version, |(_, rest)| rest);
    [version, without_epoch].iter().any(|version| {
        version.strip_prefix(asked).is_some_and(|rest| {
            rest.is_empty() || rest.starts_with(['.', '-', '+', '~']) || asked.ends_with(['.', '-'])
        })
    })
}

impl Resource for EnginePackage<'_> {
    fn name(&self) -> &'static str {
        "docker.package"
    }

    fn probes(&self) -> Probes {
        let known = DOCKER_CE
            .iter()
            .chain(&DISTRO)
            .chain(&NEEDED)
            .map(|name| (*name).to_owned());
        let brought = self.files().map(|file| file.name.to_owned());
        let mut probes: Probes = known.chain(brought).map(Probe::Package).collect();
        if self.docker.source == DockerSource::DockerCe {
            probes.extend(CONFLICTS.map(|name| Probe::Package(name.to_owned())));
        }
        probes.insert(Probe::Os);
        probes.insert(Probe::Docker);
        probes.insert(Probe::Directory(APPARMOR.to_owned()));
        probes
    }

    fn plan(&self, facts: &HostFacts) -> Verdict {
        let os = match &facts.os {
            Known::Value(os) => os,
            other => {
                return Verdict::Unknown(unknown("operating system", "os-release", Some(other)));
            }
        };
        if let Some(refusal) = supported(os).or_else(|| self.unfit_files(os)) {
            return refusal;
        }
        let mut installed: BTreeMap<&str, &Package> = BTreeMap::new();
        for (name, package) in &facts.packages {
            match package {
                Known::Value(package) => {
                    installed.insert(name, package);
                }
                Known::Absent => {}
                other => return Verdict::Unknown(unknown("package", name, Some(other))),
            }
        }
        if let Some(refusal) = self.other_engine(&installed, facts) {
            return refusal;
        }

        let mut wanted = self.wanted(os);
        if facts
            .directories
            .get(APPARMOR)
            .is_some_and(|it| it.value().is_some())
            && self.docker.source != DockerSource::Offline
        {
            wanted.push(PackageSpec {
                name: "apparmor".to_owned(),
                version: None,
            });
        }
        let mut diff = Vec::new();
        let mut steps = Vec::new();
        if installed.values().any(|package| package.broken) {
            diff.push(value_diff("half-installed packages", None, "mended"));
            steps.push(Step::RepairPackages);
        }
        // Mending may mean removing what was cut while it was unpacked.
        let whole = |name: &str| installed.get(name).is_some_and(|package| !package.broken);
        let missing: Vec<PackageSpec> = wanted
            .iter()
            .filter(|spec| !whole(&spec.name))
            .cloned()
            .collect();
        // A version that is installed and differs is not touched here: an engine is upgraded
        // node by node with its tasks moved away first, never as a side effect.
        for spec in &missing {
            let version = spec.version.as_deref().unwrap_or("newest");
            diff.push(value_diff(&spec.name, None, version));
        }
        if !missing.is_empty() {
            steps.extend(self.install(missing));
        }
        // Package files are a version that somebody chose, as much as one that is named.
        let offline = self.docker.source == DockerSource::Offline;
        let of_engine = |name: &&String| {
            let name = name.as_str();
            DOCKER_CE.contains(&name) || DISTRO.contains(&name)
        };
        let unheld: Vec<String> = wanted
            .iter()
            .map(|spec| &spec.name)
            .filter(of_engine)
            .filter(|_| offline || self.docker.version.is_some())
            .filter(|name| !installed.get(name.as_str()).is_some_and(|found| found.held))
            .cloned()
            .collect();
        if !unheld.is_empty() {
            diff.push(value_diff("held", None, &unheld.join(" ")));
            steps.push(Step::HoldPackages { packages: unheld });
        }
        if steps.is_empty() {
            return Verdict::Same;
        }
        let names: Vec<&str> = wanted.iter().map(|spec| spec.name.as_str()).collect();
        Verdict::Change(Draft::safe(
            format!("install {}", names.join(", ")),
            diff,
            steps,
        ))
    }
}

impl EnginePackage<'_> {
    fn install(&self, missing: Vec<PackageSpec>) -> Vec<Step> {
        if self.docker.source != DockerSource::Offline {
            return vec![
                Step::RefreshPackages,
                Step::InstallPackages { packages: missing },
            ];
        }
        vec![
            Step::Upload {
                from: self.docker.packages.clone().unwrap_or_default(),
                to: BROUGHT.to_owned(),
                files: self.docker.package_files.clone(),
            },
            Step::InstallPackageFiles {
                folder: BROUGHT.to_owned(),
            },
        ]
    }

    /// Refuses to put one kind of engine over another: the packages conflict, and APT would remove
    /// the running engine to install the new one.
    fn other_engine(
        &self,
        installed: &BTreeMap<&str, &Package>,
        facts: &HostFacts,
    ) -> Option<Verdict> {
        let other = match self.docker.source {
            DockerSource::Distro => DOCKER_CE.as_slice(),
            DockerSource::DockerCe => DISTRO.as_slice(),
            DockerSource::Offline => &[],
        };
        let found = other.iter().find(|name| installed.contains_key(**name));
        if let Some(name) = found {
            return Some(Verdict::Refuse {
                why: format!("package `{name}` is installed, and the inventory asks for another source of the engine"),
                hint: "Set `source` to the one that the host has, or drain the node and remove its engine first.".to_owned(),
            });
        }
        let conflict = CONFLICTS
            .iter()
            .filter(|_| self.docker.source == DockerSource::DockerCe)
            .find(|name| installed.contains_key(**name));
        if let Some(name) = conflict {
            return Some(Verdict::Refuse {
                why: format!(
                    "package `{name}` is installed, which conflicts with Docker's packages"
                ),
                hint: format!(
                    "If nothing needs it, `apt-get remove {name}` on the host; skep removes nothing by itself."
                ),
            });
        }
        let ours = DOCKER_CE
            .iter()
            .chain(&DISTRO)
            .any(|name| installed.contains_key(name));
        if !ours && facts.engine.value().is_some() {
            return Some(Verdict::Refuse {
                why: "a Docker Engine is there that no package of the distribution or of Docker's brought".to_owned(),
                hint: "Remove it first, or give the host `role = \"none\"`.".to_owned(),
            });
        }
        None
    }
}

/// Refuses operating systems that this way of installing is not for.
fn supported(os: &Os) -> Option<Verdict> {
    let debian = |name: &str| name == "debian" || name == "ubuntu";
    if !debian(&os.id) && !os.like.iter().any(|like| debian(like)) {
        return Some(Verdict::Refuse {
            why: format!(
                "the operating system is {}, and skep installs Docker on Debian and Ubuntu only",
                os.pretty
            ),
            hint: "Give the host `role = \"none\"`, or install one of those.".to_owned(),
        });
    }
    (!os.systemd).then(|| Verdict::Refuse {
        why: "systemd does not run there, so no service can be started".to_owned(),
        hint: "Boot the host with systemd.".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_matches_at_a_boundary_only() {
        assert!(version_matches("20.10.24+dfsg1-1+b3", "20.10"));
        assert!(version_matches("20.10.24+dfsg1-1+b3", "20.10.24"));
        assert!(version_matches("5:27.3.1-1~debian.12~bookworm", "27.3"));
        assert!(version_matches("5:27.3.1-1~debian.12~bookworm", "5:27"));
        assert!(!version_matches("20.100.1", "20.10"));
        assert!(!version_matches("20.10.24", "2"));
    }

    #[test]
    fn a_package_file_tells_its_package() {
        let name = "docker-ce_5%3a27.3.1-1~debian.12~bookworm_amd64.deb";
        let file = PackageFile::of(name).unwrap();
        assert_eq!((file.name, file.arch), ("docker-ce", "amd64"));
        assert_eq!(file.version, "5:27.3.1-1~debian.12~bookworm");
        assert!(PackageFile::of("README").is_none());
    }

    #[test]
    fn a_folder_without_the_engine_that_is_asked_for_is_refused() {
        let os = Os {
            arch: "amd64".to_owned(),
            ..Os::default()
        };
        let refusal = |version: Option<&str>, files: &[&str]| {
            let docker = Docker {
                source: DockerSource::Offline,
                version: version.map(str::to_owned),
                package_files: files
                    .iter()
                    .map(|name| ((*name).to_owned(), String::new()))
                    .collect(),
                ..Docker::default()
            };
            match EnginePackage::new(&docker).unfit_files(&os) {
                Some(Verdict::Refuse { why, .. }) => why,
                _ => String::new(),
            }
        };
        let engine = "docker.io_20.10.24_amd64.deb";
        assert_eq!(refusal(None, &[engine, "tini_1_amd64.deb"]), "");
        assert_eq!(refusal(Some("20.10"), &[engine]), "");
        assert!(refusal(Some("27"), &[engine]).contains("asks for 27"));
        assert!(refusal(None, &["tini_1_amd64.deb"]).contains("no file of"));
        assert!(refusal(None, &[engine, "tini_1_arm64.deb"]).contains("arm64"));
        assert!(refusal(None, &[engine, "docker.io_26.1_amd64.deb"]).contains("two versions"));
    }
}
