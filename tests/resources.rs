//! Resources as data: each file of `tests/resources` has settings, facts, and what the resource
//! must say of them. A new quirk of a host is a new file.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::collections::BTreeMap;
use std::fs;

use serde::Deserialize;
use skep::facts::HostFacts;
use skep::inventory::{Docker, DockerSource, Host, Storage};
use skep::known::Known;
use skep::resource::{
    DaemonConfig, DropIns, EnginePackage, EngineService, EngineStorage, Kernel, NfsExports,
    NfsIdmap, NfsMounts, NfsRemoved, Repository, Resource, StorageWipe, Verdict,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Case {
    resource: String,
    #[serde(default)]
    source: DockerSource,
    version: Option<String>,
    #[serde(default)]
    daemon: serde_json::Map<String, serde_json::Value>,
    overlay_mtu: Option<u32>,
    storage: Option<Storage>,
    wipe: Option<String>,
    /// The tables of NFS of an inventory with the hosts `n1` (a manager) and `nas`; the resource is
    /// that of `n1`.
    nfs: Option<toml::Table>,
    #[serde(default)]
    facts: HostFacts,
    expect: Expect,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Expect {
    verdict: String,
    /// Texts that the reason or the steps must contain.
    #[serde(default)]
    says: Vec<String>,
    #[serde(default)]
    restart: bool,
}

#[test]
fn resources_say_what_the_files_tell() {
    let mut seen = 0;
    for entry in fs::read_dir("tests/resources").unwrap() {
        let path = entry.unwrap().path();
        let name = path.display().to_string();
        let case: Case = toml::from_str(&fs::read_to_string(&path).unwrap())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        check(&name, case);
        seen += 1;
    }
    assert!(seen >= 20, "only {seen} cases were found");
}

/// The host `n1` of an inventory with these tables of NFS.
fn host(name: &str, nfs: Option<toml::Table>) -> Host {
    let mut table: toml::Table = toml::from_str(
        r#"
        cluster.name = "x"
        [[host]]
        name = "n1"
        address = "192.0.2.1"
        role = "manager"
        [[host]]
        name = "nas"
        address = "192.0.2.9"
        role = "none"
        "#,
    )
    .unwrap();
    if let Some(nfs) = nfs {
        table.insert("nfs".to_owned(), nfs.into());
    }
    let text = toml::to_string(&table).unwrap();
    let (inventory, found) = skep::inventory::parse(&text, std::path::Path::new("x"));
    let inventory = inventory.unwrap_or_else(|| panic!("{name}: {found:?}"));
    inventory.host("n1").unwrap().clone()
}

fn check(name: &str, case: Case) {
    let docker = Docker {
        source: case.source,
        version: case.version,
        daemon: case.daemon,
        overlay_mtu: case.overlay_mtu,
        ..Docker::default()
    };
    let host = Host {
        storage: case.storage,
        wipe: case.wipe,
        docker: docker.clone(),
        ..host(name, case.nfs)
    };
    let storage = host.storage.as_ref();
    let resource: Box<dyn Resource> = match case.resource.as_str() {
        "docker.storage" => Box::new(EngineStorage::of(&host).unwrap()),
        "docker.wipe" => Box::new(StorageWipe::of(&host).unwrap()),
        "docker.dropins" => Box::new(DropIns::new(&docker, storage)),
        "kernel" => Box::new(Kernel),
        "docker.config" => Box::new(DaemonConfig::new(&docker, storage)),
        "docker.repository" => Box::new(Repository::new(&docker)),
        "docker.package" => Box::new(EnginePackage::new(&docker)),
        "docker.service" => Box::new(EngineService),
        "nfs.exports" => Box::new(NfsExports::new(&host)),
        "nfs.idmap" => Box::new(NfsIdmap::new(&host)),
        "nfs.mounts" => Box::new(NfsMounts::new(&host)),
        "nfs.removed" => Box::new(NfsRemoved::new(&host)),
        other => panic!("{name}: no resource `{other}`"),
    };
    let mut facts = case.facts;
    // What a case does not speak of is not there.
    for probe in resource.probes() {
        use skep::facts::Probe;
        match probe {
            Probe::File(path) => drop(facts.files.entry(path).or_insert(Known::Absent)),
            Probe::Package(name) => drop(facts.packages.entry(name).or_insert(Known::Absent)),
            Probe::Unit(name) => drop(facts.units.entry(name).or_insert(Known::Absent)),
            Probe::Sysctl(name) => drop(facts.sysctls.entry(name).or_insert(Known::Absent)),
            Probe::Module(name) => drop(facts.modules.entry(name).or_insert(Known::Absent)),
            Probe::AptSources if facts.apt_sources == Known::NotProbed => {
                facts.apt_sources = Known::Value(BTreeMap::new());
            }
            Probe::Docker => {
                if facts.engine == Known::NotProbed {
                    facts.engine = Known::Absent;
                }
                if facts.swarm == Known::NotProbed {
                    facts.swarm = Known::Absent;
                }
                if facts.leftovers == Known::NotProbed && case.resource.starts_with("docker.s") {
                    facts.leftovers = Known::Absent;
                }
            }
            Probe::Lvm if facts.lvm == Known::NotProbed => facts.lvm = Known::Absent,
            Probe::BlockDevice(path) => {
                facts.devices.entry(path).or_insert(Known::Absent);
            }
            Probe::Directory(path) => {
                facts.directories.entry(path).or_insert(Known::Absent);
            }
            Probe::Mount { target, .. } => {
                let nothing = || Known::Value(skep::facts::MountFacts::default());
                facts.mounts.entry(target).or_insert_with(nothing);
            }
            _ => {}
        }
    }
    let (verdict, text, restart) = match resource.plan(&facts) {
        Verdict::Same => ("same", String::new(), false),
        Verdict::Unknown(why) => ("unknown", why, false),
        Verdict::Refuse { why, hint } => ("refuse", format!("{why}\n{hint}"), false),
        Verdict::Change(draft) => {
            let steps: Vec<String> = draft
                .steps
                .iter()
                .chain(&draft.at_restart)
                .map(|step| format!("{step}\n{step:?}"))
                .collect();
            (
                "change",
                format!("{}\n{}\n{:?}", draft.summary, steps.join("\n"), draft.diff),
                draft.restart_engine,
            )
        }
    };
    assert_eq!(verdict, case.expect.verdict, "{name}: {text}");
    for says in &case.expect.says {
        assert!(text.contains(says), "{name} does not say {says:?}:\n{text}");
    }
    assert_eq!(restart, case.expect.restart, "{name}: {text}");
}
