//! Reads the answers: pure, and never taking silence for "not there".

mod docker;
mod mounts;
mod raft;
mod secrets;
mod storage;

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::frame::{self, Section};
use super::script::sysctl_path;
use super::{
    Disk, File, HostFacts, Identity, Interface, Network, Os, Package, Probe, Probes, Route, Unit,
    User,
};
use crate::known::Known;

/// Reads what the script of the same `probes` and `nonce` printed.
///
/// What is missing or cut short is [`Known::Unknown`], whatever the reason.
pub fn parse(probes: &Probes, nonce: &str, stdout: &[u8]) -> HostFacts {
    let answers = Answers(frame::sections(nonce, stdout));
    let mut facts = HostFacts::default();
    let (mut packages, mut units, mut sysctls, mut modules) = (vec![], vec![], vec![], vec![]);
    let mut files = 0;
    let mut mounts = 0;
    let (mut users, mut tests) = (0, 0);
    for probe in probes {
        match probe {
            Probe::Os => facts.os = answers.read("os", os),
            Probe::Identity => facts.identity = answers.read("identity", identity),
            Probe::Clock => facts.clock = answers.read("clock", clock),
            Probe::Network => facts.network = network(&answers),
            Probe::Disks => facts.disks = disks(&answers),
            Probe::Busy => facts.busy = busy(&answers),
            Probe::AptSources => facts.apt_sources = apt_sources(&answers),
            Probe::Docker => docker::docker(&answers, &mut facts),
            Probe::User(name) => {
                let answer = answers.read(&format!("user{users}"), user);
                facts.users.insert(name.clone(), answer);
                users += 1;
            }
            Probe::Test(text) => {
                let answer = answers.read(&format!("test{tests}"), |section| {
                    section.text().trim().parse::<u8>().ok()
                });
                facts.tests.insert(text.clone(), ended(answer));
                tests += 1;
            }
            Probe::Certificates => {
                facts.certificates = answers.read("certificates", self::secrets::certificates);
            }
            Probe::SwarmSecrets => {
                facts.secrets = answers.read("secrets", self::secrets::secrets);
            }
            Probe::Raft => facts.raft = answers.read("raft", self::raft::raft),
            Probe::MountUnits => facts.mount_units = self::mounts::units(&answers),
            Probe::Mount { target, .. } => {
                let answer = self::mounts::mount(&answers, mounts, target);
                facts.mounts.insert(target.clone(), answer);
                mounts += 1;
            }
            Probe::BlockDevice(_)
            | Probe::Lvm
            | Probe::Directory(_)
            | Probe::DropIns(_)
            | Probe::Services
            | Probe::Ingress
            | Probe::Candidate(_) => {}
            Probe::Package(name) => packages.push(name.clone()),
            Probe::Unit(name) => units.push(name.clone()),
            Probe::Sysctl(name) => sysctls.push(name.clone()),
            Probe::Module(name) => modules.push(name.clone()),
            Probe::File(path) => {
                let answer = answers.read(&format!("file{files}"), file);
                facts.files.insert(path.clone(), answer);
                files += 1;
            }
        }
    }
    storage::storage(probes, &answers, &mut facts);
    if probes.contains(&Probe::Services) {
        facts.services = docker::services(&answers, &facts);
    }
    if probes.contains(&Probe::Ingress) {
        facts.ingress = docker::ingress(&answers, &facts);
    }
    facts.packages = self::packages(&answers, packages);
    facts.units = each(&answers, "units", units, |text| {
        text.split("\n\n").map(unit).collect()
    });
    facts.sysctls = self::sysctls(&answers, sysctls);
    facts.modules = each(&answers, "modules", modules, |text| {
        text.lines().map(module).collect()
    });
    facts
}

/// The sections that arrived whole.
struct Answers<'a>(BTreeMap<String, Section<'a>>);

impl Answers<'_> {
    /// The section, if it arrived and its command ended well; else what is to be said instead.
    fn section<T>(&self, name: &str) -> Result<Section<'_>, Known<T>> {
        let Some(section) = self.0.get(name) else {
            return Err(Known::Unknown("the answer did not arrive".to_owned()));
        };
        match section.status {
            0 => Ok(*section),
            10 => Err(Known::Absent),
            11 => Err(Known::Unknown(
                "it is on a network file system, which is not touched".to_owned(),
            )),
            12 => Err(Known::Unknown("no permission to look".to_owned())),
            // `timeout` says 124, or 137 when it had to kill.
            124 | 137 => Err(Known::Unknown("no answer within its deadline".to_owned())),
            status => Err(Known::Unknown(complaint(&section.text(), status))),
        }
    }

    fn read<T>(&self, name: &str, reader: impl Fn(&Section<'_>) -> Option<T>) -> Known<T> {
        match self.section(name) {
            Ok(section) => reader(&section).map_or_else(unreadable, Known::Value),
            Err(answer) => answer,
        }
    }
}

fn unreadable<T>() -> Known<T> {
    Known::Unknown("the answer could not be read".to_owned())
}

fn complaint(text: &str, status: u8) -> String {
    match text.trim().lines().last() {
        Some(line) if !line.is_empty() => format!("the probe failed with status {status}: {line}"),
        _ => format!("the probe failed with status {status}"),
    }
}

/// `KEY=VALUE` lines, with the quotes of `os-release` taken off.
fn pairs(text: &str) -> BTreeMap<&str, &str> {
    text.lines()
        .filter_map(|line| line.trim().split_once('='))
        .map(|(key, value)| (key, value.trim_matches(['"', '\''])))
        .collect()
}

fn os(section: &Section<'_>) -> Option<Os> {
    let text = section.text();
    let pairs = pairs(&text);
    let get = |key: &str| pairs.get(key).copied().unwrap_or_default().to_owned();
    Some(Os {
        id: pairs.get("ID").copied()?.to_owned(),
        like: get("ID_LIKE").split_whitespace().map(Into::into).collect(),
        version: get("VERSION_ID"),
        codename: get("VERSION_CODENAME"),
        pretty: get("PRETTY_NAME"),
        arch: get("skep_arch"),
        kernel: get("skep_kernel"),
        systemd: pairs.contains_key("skep_systemd"),
        cpus: get("skep_cpus").parse().ok()?,
        memory_kib: get("skep_memory").parse().ok()?,
    })
}

fn identity(section: &Section<'_>) -> Option<Identity> {
    let text = section.text();
    let mut lines = text.lines().map(|line| line.trim().to_owned());
    let identity = Identity {
        hostname: lines.next()?,
        machine_id: lines.next()?,
        boot_id: lines.next()?,
    };
    (!identity.hostname.is_empty()).then_some(identity)
}

fn clock(section: &Section<'_>) -> Option<f64> {
    let text = section.text();
    let (seconds, fraction) = text.trim().split_once('.')?;
    // busybox's `date` knows no `%N` and leaves it out or prints it.
    let fraction = if fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        fraction
    } else {
        ""
    };
    format!("{seconds}.{fraction}0").parse().ok()
}

fn network(answers: &Answers<'_>) -> Known<Network> {
    let answer = || -> Result<Known<Network>, Known<Network>> {
        let mtu = answers.section("mtu")?;
        let addresses = answers.section("addresses")?;
        let routes = answers.section("routes")?;
        let mut interfaces: Vec<Interface> = mtu
            .text()
            .lines()
            .filter_map(|line| {
                let (name, mtu) = line.split_once(' ')?;
                Some(Interface {
                    name: name.to_owned(),
                    mtu: mtu.trim().parse().ok()?,
                    addresses: Vec::new(),
                })
            })
            .collect();
        for line in addresses.text().lines() {
            // `2: eth0    inet 10.0.0.1/24 brd ... scope global eth0`
            let words: Vec<&str> = line.split_whitespace().collect();
            let [_, name, family, address, ..] = words[..] else {
                continue;
            };
            // The other end of a point-to-point link stands behind `peer`; ours has no prefix then.
            let bits = if family == "inet6" { "128" } else { "32" };
            let Some(address) = network_of(address, bits) else {
                continue;
            };
            if link_local(&address) {
                continue;
            }
            if let Some(interface) = interfaces.iter_mut().find(|i| i.name == name) {
                interface.addresses.push(address);
            }
        }
        let routes = routes.text().lines().filter_map(route).collect();
        // No route is a status of 2 and a legitimate answer.
        let default_source = answers.0.get("source").and_then(|section| {
            let text = section.text().into_owned();
            word_after(&text, "src").and_then(|word| word.parse::<IpAddr>().ok())
        });
        if !answers.0.contains_key("source") {
            return Err(Known::Unknown("the answer did not arrive".to_owned()));
        }
        Ok(Known::Value(Network {
            interfaces,
            routes,
            default_source,
        }))
    };
    answer().unwrap_or_else(|other| match other {
        Known::Absent => unreadable(),
        other => other,
    })
}

fn network_of(text: &str, bits: &str) -> Option<IpNet> {
    if text.contains('/') {
        text.parse().ok()
    } else {
        format!("{text}/{bits}").parse().ok()
    }
}

fn link_local(network: &IpNet) -> bool {
    match network {
        IpNet::V4(net) => net.addr().is_link_local(),
        IpNet::V6(net) => net.addr().is_unicast_link_local() || net.addr().is_multicast(),
    }
}

fn route(line: &str) -> Option<Route> {
    let first = line.split_whitespace().next()?;
    let bits = if first.contains(':') { "128" } else { "32" };
    let network = network_of(first, bits)?;
    let interface = word_after(line, "dev")?.to_owned();
    (!link_local(&network)).then_some(Route { network, interface })
}

fn word_after<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let mut words = text.split_whitespace();
    words.find(|&found| found == word)?;
    words.next()
}

fn disks(answers: &Answers<'_>) -> Known<Vec<Disk>> {
    let table = match answers.section("mounts") {
        Ok(section) => section.text().into_owned(),
        Err(answer) => return answer,
    };
    answers.read("disks", |section| {
        let text = section.text();
        text.lines().map(|line| disk(line, &table)).collect()
    })
}

/// `/var/lib /dev/vda 264212084 26772076 68513812 29% /`, with the kernel's table of mounts.
fn disk(line: &str, mounts: &str) -> Option<Disk> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [path, _, size, _, available, _, point] = words[..] else {
        return None;
    };
    // The last mount on a place hides the others.
    let fstype = mounts.lines().rev().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        (words.next()? == point).then(|| words.next().unwrap_or_default())
    });
    Some(Disk {
        path: path.to_owned(),
        size_kib: size.parse().ok()?,
        available_kib: available.parse().ok()?,
        fstype: fstype.unwrap_or_default().to_owned(),
    })
}

fn busy(answers: &Answers<'_>) -> Known<String> {
    match answers.0.get("busy") {
        // `flock -n` ends with 1 where another holds the lock.
        Some(section) if section.status == 1 => {
            let text = section.text().trim().to_owned();
            Known::Value(if text.is_empty() {
                "a step of another run".to_owned()
            } else {
                text
            })
        }
        Some(section) if section.status == 0 => Known::Absent,
        _ => match answers.section("busy") {
            Err(answer) => answer,
            Ok(_) => unreadable(),
        },
    }
}

fn file(section: &Section<'_>) -> Option<File> {
    let line = section.body.iter().position(|&byte| byte == b'\n')?;
    let about = std::str::from_utf8(&section.body[..line]).ok()?;
    let mut words = about.split(' ');
    let (mode, owner, size) = (words.next()?, words.next()?, words.next()?);
    let size: usize = size.parse().ok()?;
    let content = &section.body[line + 1..];
    // Files over the limit, and what is no regular file, are described only. A file that changed
    // its size between the two looks is read as it was read.
    let read = !content.is_empty() || size == 0;
    Some(File {
        content: String::from_utf8(content.to_vec()).ok().filter(|_| read),
        mode: u32::from_str_radix(mode, 8).ok()?,
        owner: owner.to_owned(),
    })
}

fn apt_sources(answers: &Answers<'_>) -> Known<BTreeMap<String, String>> {
    let count = match answers.read("apt", |section| section.text().trim().parse::<usize>().ok()) {
        Known::Value(count) => count,
        other => return other.map(|_| BTreeMap::new()),
    };
    let mut sources = BTreeMap::new();
    for index in 0..count {
        let read = |section: &Section<'_>| {
            let text = section.text();
            let (path, content) = text.split_once('\n')?;
            Some((path.to_owned(), content.to_owned()))
        };
        match answers.read(&format!("apt{index}"), read) {
            Known::Value((path, content)) => sources.insert(path, content),
            Known::Absent => return unreadable(),
            other => return other.map(|_| BTreeMap::new()),
        };
    }
    Known::Value(sources)
}

fn packages(answers: &Answers<'_>, names: Vec<String>) -> BTreeMap<String, Known<Package>> {
    let section = answers.0.get("packages");
    let text = section.map(Section::text).unwrap_or_default();
    let mut found: BTreeMap<&str, Package> = BTreeMap::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [name, version, want, flag, status] = fields[..] else {
            continue;
        };
        if matches!(status, "not-installed" | "config-files") {
            continue;
        }
        let package = Package {
            version: version.to_owned(),
            held: want == "hold",
            broken: flag != "ok"
                || !matches!(
                    status,
                    "installed" | "triggers-pending" | "triggers-awaited"
                ),
        };
        found.insert(name, package);
    }
    let answer = |name: &str| match section.map(|section| section.status) {
        // `dpkg-query` ends with 1 when it knows nothing of one of the packages.
        Some(0 | 1) => found.get(name).cloned().map_or(Known::Absent, Known::Value),
        Some(10) => Known::Unknown("no package manager that can be asked is there".to_owned()),
        _ => match answers.section("packages") {
            Err(answer) => answer,
            Ok(_) => unreadable(),
        },
    };
    names
        .into_iter()
        .map(|name| {
            let known = answer(&name);
            (name, known)
        })
        .collect()
}

/// Gives each of `names` its answer from one section that answers in the order of the names.
fn each<T: Clone>(
    answers: &Answers<'_>,
    section: &str,
    names: Vec<String>,
    reader: impl Fn(&str) -> Vec<Known<T>>,
) -> BTreeMap<String, Known<T>> {
    if names.is_empty() {
        return BTreeMap::new();
    }
    let read = answers
        .section::<Vec<Known<T>>>(section)
        .map(|section| reader(section.text().trim_matches('\n')));
    let list = match read {
        Ok(list) if list.len() == names.len() => list,
        Err(Known::Unknown(why)) => vec![Known::Unknown(why); names.len()],
        Ok(_) | Err(_) => vec![unreadable(); names.len()],
    };
    names.into_iter().zip(list).collect()
}

/// A line of `passwd`, and the names of the groups below it.
fn user(section: &Section<'_>) -> Option<User> {
    let text = section.text();
    let (line, groups) = text.split_once('\n')?;
    let fields: Vec<&str> = line.split(':').collect();
    let [_, _, uid, _, _, _, shell] = fields[..] else {
        return None;
    };
    Some(User {
        uid: uid.parse().ok()?,
        shell: shell.to_owned(),
        groups: groups.split_whitespace().map(str::to_owned).collect(),
    })
}

/// A test that was ended by its deadline or a signal says nothing.
fn ended(status: Known<u8>) -> Known<u8> {
    match status {
        Known::Value(124 | 137) => Known::Unknown("no answer within its deadline".to_owned()),
        Known::Value(status @ 129..) => {
            Known::Unknown(format!("it was ended by signal {}", status - 128))
        }
        other => other,
    }
}

fn unit(block: &str) -> Known<Unit> {
    let pairs = pairs(block);
    let get = |key: &str| pairs.get(key).copied().unwrap_or_default();
    match get("LoadState") {
        "not-found" => Known::Absent,
        "" => unreadable(),
        load => Known::Value(Unit {
            active: get("ActiveState").to_owned(),
            enabled: match get("UnitFileState") {
                "" if load == "masked" => "masked".to_owned(),
                state => state.to_owned(),
            },
            reload: get("NeedDaemonReload") == "yes",
        }),
    }
}

fn sysctls(answers: &Answers<'_>, names: Vec<String>) -> BTreeMap<String, Known<String>> {
    let section = answers.section::<String>("sysctls");
    let text = section.as_ref().map(Section::text).unwrap_or_default();
    let answer = |name: &str| -> Known<String> {
        if let Err(answer) = &section {
            return answer.clone();
        }
        let path = sysctl_path(name);
        for line in text.lines() {
            if line.strip_prefix("absent:") == Some(path.as_str()) {
                return Known::Absent;
            }
            let value = line
                .strip_prefix("/proc/sys/")
                .and_then(|line| line.strip_prefix(path.as_str()))
                .and_then(|line| line.strip_prefix(':'));
            if let Some(value) = value {
                // The kernel parts several values with tabs; people write blanks.
                return Known::Value(value.split_whitespace().collect::<Vec<_>>().join(" "));
            }
        }
        Known::Unknown("no permission to look".to_owned())
    };
    names
        .into_iter()
        .map(|name| {
            let known = answer(&name);
            (name, known)
        })
        .collect()
}

fn module(line: &str) -> Known<bool> {
    match line {
        "loaded" => Known::Value(true),
        "loadable" => Known::Value(false),
        "absent" => Known::Absent,
        "unknown" => Known::Unknown(
            "the kernel's list of modules below `/lib/modules` is not there".to_owned(),
        ),
        _ => unreadable(),
    }
}
