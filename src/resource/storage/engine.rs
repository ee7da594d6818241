//! What the engine allows: which versions have `devicemapper`, and whether one holds data.

use crate::facts::{HostFacts, Os, Probe, Probes};
use crate::inventory::{Docker, DockerSource, lost_devicemapper};
use crate::known::Known;
use crate::resource::kernel::unknown;

use super::device::Trouble;

/// Debian's engines, for a host that has no package lists yet
/// (<https://packages.debian.org/search?keywords=docker.io>).
const DEBIAN: [(&str, &str); 3] = [
    ("bullseye", "20.10.5"),
    ("bookworm", "20.10.24"),
    ("trixie", "26.1.5"),
];

/// The questions about the version.
pub(crate) fn version_probes(docker: &Docker) -> Probes {
    let mut probes = Probes::from([
        Probe::Os,
        Probe::Docker,
        Probe::Package("docker.io".to_owned()),
        Probe::Package("docker-ce".to_owned()),
    ]);
    if docker.version.is_none() && docker.source == DockerSource::Distro {
        probes.insert(Probe::Candidate("docker.io".to_owned()));
    }
    probes
}

/// Why the host's engine, the one that it has or would get, cannot have a thin pool.
pub(super) fn without_devicemapper(docker: &Docker, facts: &HostFacts) -> Option<Trouble> {
    let (version, whose) = match version(docker, facts) {
        Ok(found) => found,
        Err(trouble) => return Some(trouble),
    };
    match lost_devicemapper(&version) {
        Some(false) => None,
        Some(true) => Some(Trouble::Refused(format!(
            "Docker Engine {version} ({whose}) has no storage driver `devicemapper`, which `[storage.direct-lvm]` needs; Engine 25 removed it"
        ))),
        None => Some(Trouble::Refused(format!(
            "`{version}` ({whose}) does not tell whether the engine has `devicemapper`, which Engine 25 removed; set `version` under `[docker]`, such as `\"20.10\"`"
        ))),
    }
}

/// The version that runs, is installed, is asked for, or would be installed; and which of these.
pub(crate) fn version(
    docker: &Docker,
    facts: &HostFacts,
) -> Result<(String, &'static str), Trouble> {
    match &facts.engine {
        Known::Value(engine) => {
            if let Some(version) = &engine.version {
                return Ok((version.clone(), "which runs"));
            }
        }
        Known::Absent => {}
        other => return Err(Trouble::Unknown(unknown("engine", "docker", Some(other)))),
    }
    for name in ["docker.io", "docker-ce"] {
        match facts.packages.get(name) {
            Some(Known::Value(package)) => return Ok((package.version.clone(), "installed")),
            Some(Known::Absent) => {}
            other => return Err(Trouble::Unknown(unknown("package", name, other))),
        }
    }
    if let Some(version) = &docker.version {
        return Ok((version.clone(), "asked for"));
    }
    let brought = docker.package_files.keys().find_map(|file| {
        let (name, rest) = file.split_once('_')?;
        let engine = ["docker.io", "docker-ce"].contains(&name);
        engine.then(|| rest.replace("%3a", ":").replace("%3A", ":"))
    });
    if let Some(version) = brought {
        return Ok((version, "brought along"));
    }
    if let Some(Known::Value(version)) = facts.candidates.get("docker.io") {
        return Ok((version.clone(), "which the package sources have"));
    }
    let debian = |os: &Os| {
        let known = DEBIAN.iter().find(|(codename, _)| *codename == os.codename);
        known.filter(|_| os.id == "debian" && docker.source == DockerSource::Distro)
    };
    match facts.os.value().and_then(debian) {
        Some((_, version)) => Ok(((*version).to_owned(), "of this Debian")),
        None => Err(Trouble::Refused(
            "it is not known which version of Docker Engine the host would get, and `[storage.direct-lvm]` needs one before 25: set `version` under `[docker]`, or use `[storage.lvm]`".to_owned(),
        )),
    }
}

/// What an engine has that other storage under it would hide; `None` for an empty one in no swarm.
pub(crate) fn holds(facts: &HostFacts) -> Result<Option<String>, Trouble> {
    match &facts.engine {
        Known::Value(engine) if engine.containers + engine.images > 0 => {
            return Ok(Some(format!(
                "its engine holds {} containers and {} images",
                engine.containers, engine.images
            )));
        }
        Known::Value(_) | Known::Absent => {}
        other => return Err(Trouble::Unknown(unknown("engine", "docker", Some(other)))),
    }
    match &facts.leftovers {
        Known::Value(left) if left.data => {
            let root = &left.data_root;
            return Ok(Some(format!(
                "`{root}` holds images, containers or volumes"
            )));
        }
        Known::Value(left) if left.swarm => {
            let root = &left.data_root;
            return Ok(Some(format!("`{root}` holds the state of a swarm")));
        }
        Known::Value(_) | Known::Absent => {}
        other => {
            return Err(Trouble::Unknown(unknown(
                "data root",
                "docker",
                Some(other),
            )));
        }
    }
    match &facts.swarm {
        Known::Value(_) => Ok(Some("its engine is in a swarm".to_owned())),
        Known::Absent => Ok(None),
        other => Err(Trouble::Unknown(unknown("swarm", "docker", Some(other)))),
    }
}

/// Whether the engine runs.
pub(super) fn runs(facts: &HostFacts) -> bool {
    let engine = facts.engine.value();
    engine.is_some_and(|engine| engine.version.is_some())
}
