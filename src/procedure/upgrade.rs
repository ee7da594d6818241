//! Brings engines to another version, node by node.

pub(super) mod version;

use std::cmp::Ordering;
use std::collections::BTreeSet;

use crate::facts::{HostFacts, Package, Probe};
use crate::inventory::{Docker, DockerSource, Host, Role, Storage, lost_devicemapper};
use crate::known::Known;
use crate::plan::{Diff, PackageSpec, Plan, ServiceAction, Step};
use crate::resource::{BROUGHT, HOLD_MARKER, brought_version, version_matches};

use super::rolling::{Job, Roll, Task};
use version::compare;

/// The packages that are an engine, each with the one that its client is in where that is another.
const ENGINES: [(&str, &str); 2] = [("docker.io", "docker-cli"), ("docker-ce", "docker-ce-cli")];

/// The questions beyond those of every plan: what the package sources have.
pub(super) fn probes() -> Vec<Probe> {
    let names = ENGINES.iter().flat_map(|(engine, client)| [engine, client]);
    let candidates = names.map(|name| Probe::Candidate((*name).to_owned()));
    let mark = Probe::File(HOLD_MARKER.to_owned());
    candidates.chain([mark]).collect()
}

/// Adds the upgrades to `plan`.
pub(super) fn plan(plan: &mut Plan, roll: &Roll<'_>, to: Option<&str>) {
    let mut warnings = BTreeSet::new();
    roll.plan(plan, "docker.upgrade", |host, facts| {
        if host.role == Role::None {
            return Job::Nothing;
        }
        job(host, facts, to, &mut warnings).unwrap_or_else(|other| other)
    });
    plan.warnings.extend(warnings);
}

fn job(
    host: &Host,
    facts: &HostFacts,
    to: Option<&str>,
    warnings: &mut BTreeSet<String>,
) -> Result<Job, Job> {
    if let Known::Value(what) = &facts.busy {
        let why = format!("a step of another run still works there: {what}");
        return Err(Job::Unknown(why));
    }
    let mut found = Vec::new();
    for (engine, client) in ENGINES {
        found.extend(package(facts, engine)?.map(|package| (engine, client, package)));
    }
    let (engine, client, installed) = match found[..] {
        [] if facts.engine.value().is_some() => {
            return Err(Job::Refuse(
                "its Docker Engine came with no package of the distribution or of Docker's"
                    .to_owned(),
                "Upgrade it the way it was installed, after `skep node drain`.".to_owned(),
            ));
        }
        [] => {
            let name = &host.name;
            warnings.insert(format!(
                "{name}: it has no engine yet; `skep up` installs one"
            ));
            return Ok(Job::Nothing);
        }
        [one] => one,
        _ => {
            return Err(Job::Refuse(
                "both `docker.io` and `docker-ce` are installed, and each wants to be the engine"
                    .to_owned(),
                "Drain the node and remove one of them first.".to_owned(),
            ));
        }
    };
    let docker = &host.docker;
    let target = target(docker, facts, engine, installed, to)?;
    if compare(&target, &installed.version) == Ordering::Less {
        return Err(Job::Refuse(
            format!("`{engine}` is {}, and {target} is older: an engine does not read what a newer one has written", installed.version),
            "Name a newer version. To go back, take the node out (`skep node remove`), install the host anew and let it join again.".to_owned(),
        ));
    }
    lost_storage(host, facts, &target)?;
    let mut packages = vec![spec(engine, &target)];
    let mut diff = Vec::new();
    let value = |name: &str, old: Option<&str>| Diff::Value {
        name: name.to_owned(),
        old: old.map(str::to_owned),
        new: Some(target.clone()),
    };
    if installed.version != target || installed.broken {
        diff.push(value(engine, Some(&installed.version)));
    }
    let offline = docker.source == DockerSource::Offline;
    let offered = facts.offered.get(client).and_then(Known::value);
    if !offline && offered.is_some_and(|all| all.contains(&target)) {
        packages.push(spec(client, &target));
        let client_is = package(facts, client)?;
        if client_is.is_none_or(|it| it.version != target || it.broken) {
            diff.push(value(client, client_is.map(|it| it.version.as_str())));
        }
    }
    // A run that was cut may have installed the new one and left the old one running.
    if let Some(old) = runs_other(facts, installed) {
        diff.push(value("running engine", Some(&old)));
    }
    if owes_hold(facts) {
        diff.push(Diff::Value {
            name: "held packages".to_owned(),
            old: None,
            new: Some(engine.to_owned()),
        });
    }
    if diff.is_empty() {
        return Ok(Job::Nothing);
    }
    if let Some(asked) = docker
        .version
        .as_ref()
        .filter(|it| !version_matches(&target, it))
    {
        warnings.insert(format!(
            "the inventory asks for version {asked} and not for {target}: change it there too"
        ));
    }
    warnings.extend(skipped(&installed.version, &target));
    Ok(Job::Do(task(docker, facts, packages, diff, &target)))
}

fn task(
    docker: &Docker,
    facts: &HostFacts,
    packages: Vec<PackageSpec>,
    diff: Vec<Diff>,
    target: &str,
) -> Task {
    let names: Vec<String> = packages.iter().map(|it| it.name.clone()).collect();
    let offline = docker.source == DockerSource::Offline;
    let before = if offline {
        Step::Upload {
            from: docker.packages.clone().unwrap_or_default(),
            to: BROUGHT.to_owned(),
            files: docker.package_files.clone(),
        }
    } else {
        let packages = packages.clone();
        Step::FetchPackages { packages }
    };
    let was_held = |name: &String| {
        let package = facts.packages.get(name).and_then(Known::value);
        package.is_some_and(|package| package.held)
    };
    let pinned = offline || docker.version.is_some() || names.iter().any(was_held);
    let during = vec![
        Step::UpgradeEngine {
            packages,
            folder: offline.then(|| BROUGHT.to_owned()),
            hold: pinned || owes_hold(facts),
        },
        Step::Service {
            unit: "docker.service".to_owned(),
            action: ServiceAction::EnableNow,
        },
    ];
    Task {
        summary: format!("upgrade the Docker Engine to {target}"),
        diff,
        before: vec![before],
        during,
    }
}

/// Whether an upgrade was cut between the new packages and their hold.
fn owes_hold(facts: &HostFacts) -> bool {
    let mark = facts.files.get(HOLD_MARKER);
    mark.is_some_and(|file| file.value().is_some())
}

/// The version that a host is to have.
fn target(
    docker: &Docker,
    facts: &HostFacts,
    engine: &str,
    installed: &Package,
    to: Option<&str>,
) -> Result<String, Job> {
    let asked = to.or(docker.version.as_deref());
    let fits = |version: &str| asked.is_none_or(|asked| version_matches(version, asked));
    if docker.source == DockerSource::Offline {
        return match brought_version(docker, engine) {
            Some(version) if fits(&version) => Ok(version),
            _ => Err(Job::Refuse(
                format!(
                    "the folder of `packages` has no file of `{engine}` {}",
                    asked.unwrap_or_default()
                ),
                "Put the files of that version into the folder.".to_owned(),
            )),
        };
    }
    let unknown = |why: Option<&str>| {
        let why = why.unwrap_or("nobody asked");
        Job::Unknown(format!("its package sources are not known: {why}"))
    };
    let offered = match facts.offered.get(engine) {
        Some(Known::Value(all)) => &all[..],
        Some(Known::Absent) => &[],
        other => return Err(unknown(other.and_then(Known::why_unknown))),
    };
    let newest = match (asked, facts.candidates.get(engine)) {
        // The host's own pins decide.
        (None, Some(Known::Value(candidate))) => Some(candidate),
        _ => offered
            .iter()
            .filter(|version| fits(version))
            .max_by(|one, other| compare(one, other)),
    };
    match newest {
        Some(newest) if asked.is_some() => {
            // A source may have lost what the host got from it.
            let ahead = compare(newest, &installed.version) == Ordering::Less;
            let keeps = ahead && fits(&installed.version);
            Ok(if keeps { &installed.version } else { newest }.clone())
        }
        Some(newest) if compare(newest, &installed.version) == Ordering::Greater => {
            Ok(newest.clone())
        }
        None if !fits(&installed.version) => Err(Job::Refuse(
            format!(
                "no package source of the host offers `{engine}` {}; there is {}",
                asked.unwrap_or_default(),
                if offered.is_empty() {
                    "none".to_owned()
                } else {
                    offered.join(", ")
                }
            ),
            "`skep exec --on all -- apt-get update` renews the hosts' lists; else add a source that has it.".to_owned(),
        )),
        _ => Ok(installed.version.clone()),
    }
}

fn package<'a>(facts: &'a HostFacts, name: &str) -> Result<Option<&'a Package>, Job> {
    match facts.packages.get(name) {
        Some(Known::Value(package)) => Ok(Some(package)),
        Some(Known::Absent) => Ok(None),
        other => {
            let why = other.and_then(Known::why_unknown).unwrap_or("nobody asked");
            Err(Job::Unknown(format!(
                "package `{name}` is not known: {why}"
            )))
        }
    }
}

/// Refuses to take away the storage driver that holds the host's images and volumes.
fn lost_storage(host: &Host, facts: &HostFacts, target: &str) -> Result<(), Job> {
    let engine = facts.engine.value();
    let used = engine.is_some_and(|engine| engine.storage_driver == "devicemapper");
    let wanted = matches!(host.storage, Some(Storage::DirectLvm(_)));
    if (used || wanted) && lost_devicemapper(target) != Some(false) {
        return Err(Job::Refuse(
            format!("it uses the storage driver `devicemapper`, which Engine 25 removed, and {target} does not have it"),
            "There is no way to convert it in place: take the node out, give it `[storage.lvm]`, and let it join again.".to_owned(),
        ));
    }
    Ok(())
}

/// The version that runs, where that is not the installed one.
fn runs_other(facts: &HostFacts, installed: &Package) -> Option<String> {
    let runs = facts.engine.value()?.version.as_ref()?;
    let numbers = |version: &str| {
        let version = version.split_once(':').map_or(version, |(_, rest)| rest);
        let end = version.find(|c: char| !c.is_ascii_digit() && c != '.');
        version[..end.unwrap_or(version.len())].to_owned()
    };
    (numbers(runs) != numbers(&installed.version)).then(|| runs.clone())
}

/// What is to be known of majors that are left out. After 20.10 came 23.0.
fn skipped(old: &str, new: &str) -> Option<String> {
    let major = |version: &str| -> Option<u32> {
        let version = version.split_once(':').map_or(version, |(_, rest)| rest);
        version.split('.').next()?.parse().ok()
    };
    let (old, new) = (major(old)?, major(new)?);
    let between: Vec<String> = (old + 1..new)
        .filter(|major| *major > 22)
        .map(|major| major.to_string())
        .collect();
    (!between.is_empty()).then(|| {
        format!(
            "this goes from Engine {old} to {new} and leaves out {}: the release notes of each say what it removed; nodes of both versions are in the swarm until the last one is done",
            between.join(", ")
        )
    })
}

fn spec(name: &str, version: &str) -> PackageSpec {
    PackageSpec {
        name: name.to_owned(),
        version: Some(version.to_owned()),
    }
}
