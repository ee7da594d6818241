//! What simulated hosts answer to probes.

use std::collections::BTreeMap;

use crate::facts::{
    Engine, File, HostFacts, Identity, Interface, Leftovers, LocalSwarm, ManagerStatus, Network,
    Node, Os, Package, Probe, Probes, RaftLog, SwarmSettings, Unit,
};
use crate::inventory::Role;
use crate::known::Known;

use super::world::{SimCluster, SimHost, World};

/// The version that Debian 12 has.
const DEBIAN: &str = "20.10.24";

impl World {
    /// The answers of a host; `None` when it does not answer.
    pub(super) fn facts(&self, name: &str, probes: &Probes) -> Option<HostFacts> {
        let host = self.hosts.get(name).filter(|host| host.up)?;
        let mut facts = HostFacts::default();
        for probe in probes {
            self.answer(name, host, probe, &mut facts);
        }
        Some(facts)
    }

    #[expect(clippy::too_many_lines, reason = "a few lines for each probe")]
    fn answer(&self, name: &str, host: &SimHost, probe: &Probe, facts: &mut HostFacts) {
        match probe {
            Probe::Os => facts.os = Known::Value(os()),
            Probe::Identity => {
                facts.identity = Known::Value(Identity {
                    hostname: name.to_owned(),
                    machine_id: format!("machine-{name}"),
                    boot_id: host.boot_id(),
                });
            }
            Probe::Clock => facts.clock = Known::Value(0.0),
            Probe::Busy => facts.busy = Known::Absent,
            Probe::Network => facts.network = Known::Value(network(host)),
            Probe::Disks => facts.disks = Known::Value(Vec::new()),
            Probe::AptSources => facts.apt_sources = Known::Value(BTreeMap::default()),
            Probe::Package(package) => {
                let found = host.packages.get(package);
                let known = found.map_or(Known::Absent, |(version, held)| {
                    Known::Value(Package {
                        version: version.clone(),
                        held: *held,
                        broken: false,
                    })
                });
                facts.packages.insert(package.clone(), known);
            }
            Probe::File(path) => {
                let found = host.files.get(path);
                let known = found.map_or(Known::Absent, |(text, mode)| {
                    Known::Value(File {
                        content: Some(text.clone()),
                        mode: *mode,
                        owner: owner(host, path),
                    })
                });
                let known = match host.tasks.folders.get(path) {
                    Some((mode, owner)) => Known::Value(File {
                        content: None,
                        mode: *mode,
                        owner: owner.clone(),
                    }),
                    None => known,
                };
                facts.files.insert(path.clone(), known);
            }
            Probe::Unit(unit) if host.tasks.units.contains_key(unit) => {
                let known = super::host::unit(host, unit);
                facts.units.insert(unit.clone(), known);
            }
            Probe::User(name) => {
                let known = super::host::user(host, name);
                facts.users.insert(name.clone(), known);
            }
            Probe::Test(text) => {
                let status = super::host::test(host, text);
                facts.tests.insert(text.clone(), Known::Value(status));
            }
            Probe::Unit(unit) if super::nfs::is_unit(unit) => {
                facts
                    .units
                    .insert(unit.clone(), super::nfs::unit(host, unit));
            }
            Probe::Unit(unit) => {
                let known = if host.has_engine() && super::host::is_engine(unit) {
                    Known::Value(unit_state(host))
                } else {
                    Known::Absent
                };
                facts.units.insert(unit.clone(), known);
            }
            Probe::Sysctl(key) => {
                let value = host.sysctls.get(key).cloned();
                facts
                    .sysctls
                    .insert(key.clone(), value.map_or(Known::Absent, Known::Value));
            }
            Probe::Module(module) => {
                let loaded = host.modules.contains(module);
                facts.modules.insert(module.clone(), Known::Value(loaded));
            }
            Probe::Docker => self.docker_facts(host, facts),
            Probe::Certificates => facts.certificates = self.certificates(host),
            Probe::SwarmSecrets => facts.secrets = self.secrets(host),
            Probe::Raft => {
                facts.raft = host.raft_index.map_or(Known::Absent, |index| {
                    Known::Value(RaftLog {
                        last: Some((1, index)),
                        at_least: 0,
                        sealed: self.is_sealed(host),
                    })
                });
            }
            Probe::Services => facts.services = self.service_facts(host),
            // Simulated networks carry packets of every size.
            Probe::Ingress => facts.ingress = Known::Absent,
            Probe::MountUnits => facts.mount_units = Known::Value(super::nfs::mount_units(host)),
            Probe::Mount { target, .. } => {
                facts
                    .mounts
                    .insert(target.clone(), super::nfs::mount(host, target));
            }
            Probe::BlockDevice(_) | Probe::Lvm | Probe::Directory(_) | Probe::DropIns(_) => {
                host.storage.answer(probe, facts);
            }
            Probe::Candidate(name) => {
                let mut offers = self.offers.clone();
                if offers.is_empty() {
                    offers.push(DEBIAN.to_owned());
                }
                offers.reverse();
                let newest = Known::Value(offers[0].clone());
                facts.candidates.insert(name.clone(), newest);
                facts.offered.insert(name.clone(), Known::Value(offers));
            }
        }
    }

    fn docker_facts(&self, host: &SimHost, facts: &mut HostFacts) {
        facts.leftovers = Known::Value(Leftovers {
            data_root: "/var/lib/docker".to_owned(),
            data: false,
            swarm: host.member.is_some(),
            joined_at: host.joined_at.clone().filter(|_| host.member.is_some()),
        });
        facts.nodes = Known::Absent;
        facts.swarm = Known::Absent;
        facts.engine_flags = Known::Value(Vec::new());
        if !host.has_engine() {
            facts.engine = Known::Absent;
            return;
        }
        if !host.engine_runs && host.member.is_some() {
            let why = "the engine is stopped (inactive)".to_owned();
            (facts.swarm, facts.nodes) = (Known::Unknown(why.clone()), Known::Unknown(why));
        }
        facts.engine = Known::Value(Engine {
            version: host.engine_runs.then(|| {
                let version = host.engine_version.as_deref();
                version.unwrap_or(DEBIAN).to_owned()
            }),
            storage_driver: "overlay2".to_owned(),
            data_root: "/var/lib/docker".to_owned(),
            ..Engine::default()
        });
        if host.joining.is_some() && host.engine_runs {
            facts.swarm = Known::Value(LocalSwarm {
                node_addr: host.address.clone(),
                state: "pending".to_owned(),
                ..LocalSwarm::default()
            });
            return;
        }
        let Some((cluster, id)) = host.member.as_ref().filter(|_| host.engine_runs) else {
            return;
        };
        let Some(swarm) = self.clusters.get(cluster) else {
            return;
        };
        if !swarm.nodes.contains_key(id) {
            facts.swarm = Known::Value(self.removed(host, id, swarm));
            return;
        }
        let control = swarm.nodes.get(id).is_some_and(|node| node.raft);
        let quorum = self.has_quorum(cluster);
        let (managers, _) = self.raft(cluster);
        let managed = control && quorum;
        let error = "rpc error: code = Unknown desc = The swarm does not have a leader";
        facts.swarm = Known::Value(LocalSwarm {
            node_id: id.clone(),
            node_addr: host.address.clone(),
            state: if host.recovery.waits {
                "pending"
            } else {
                "active"
            }
            .to_owned(),
            control,
            error: if control && !quorum {
                error.to_owned()
            } else {
                String::new()
            },
            managers: if managed {
                u32::try_from(managers).unwrap_or(0)
            } else {
                0
            },
            nodes: 0,
            cluster_id: managed.then(|| cluster.clone()),
            settings: managed.then(|| SwarmSettings {
                autolock: swarm.secrets.unlock_key.is_some(),
                ..SwarmSettings::default()
            }),
            remote_managers: self.remote_managers(cluster, host.recovery.knows_not.as_deref()),
        });
        let authority = self.authority(cluster).filter(|_| managed);
        facts.authority = authority.map_or(Known::Absent, Known::Value);
        facts.nodes = match (control, quorum) {
            (false, _) => Known::Absent,
            (true, false) => Known::Unknown(error.to_owned()),
            (true, true) => Known::Value(self.nodes(cluster)),
        };
    }

    /// What a node says that was taken out of its swarm and did not leave: it tries for ever to come in
    /// again.
    fn removed(&self, host: &SimHost, id: &str, swarm: &SimCluster) -> LocalSwarm {
        let managers = swarm.nodes.iter().filter(|(_, node)| node.raft);
        let managers = managers.filter_map(|(id, node)| {
            let address = &self.hosts.get(&node.host)?.address;
            Some((id.clone(), format!("{address}:2377")))
        });
        LocalSwarm {
            node_id: id.to_owned(),
            node_addr: host.address.clone(),
            state: "pending".to_owned(),
            remote_managers: managers.collect(),
            ..LocalSwarm::default()
        }
    }

    /// The managers that the nodes of a swarm know, by NodeID and address, but for `unknown`.
    fn remote_managers(&self, cluster: &str, unknown: Option<&str>) -> Vec<(String, String)> {
        let nodes = self.clusters.get(cluster).map(|swarm| &swarm.nodes);
        let managers = nodes.into_iter().flatten().filter(|(_, node)| node.raft);
        let managers = managers.filter(|(_, node)| unknown != Some(node.host.as_str()));
        managers
            .map(|(id, node)| {
                let host = self.hosts.get(&node.host);
                let address = host.map(|host| host.address.as_str()).unwrap_or_default();
                (id.clone(), format!("{address}:2377"))
            })
            .collect()
    }

    fn nodes(&self, cluster: &str) -> Vec<Node> {
        let leader = self.leader(cluster);
        let nodes = self.clusters.get(cluster).map(|swarm| &swarm.nodes);
        let nodes = nodes.into_iter().flatten();
        nodes
            .map(|(id, node)| {
                let alive = self.node_lives(id, node);
                let address = self.hosts.get(&node.host).map(|host| host.address.clone());
                let address = address.unwrap_or_default();
                Node {
                    id: id.clone(),
                    hostname: node.host.clone(),
                    role: if (node.raft && node.demoting.is_none()) || node.ghost {
                        Role::Manager
                    } else {
                        Role::Worker
                    },
                    availability: node.availability,
                    state: if alive { "ready" } else { "down" }.to_owned(),
                    address: address.clone(),
                    engine: DEBIAN.to_owned(),
                    labels: node.labels.clone(),
                    manager: node.raft.then(|| ManagerStatus {
                        leader: leader.as_ref() == Some(id),
                        reachable: alive,
                        address: format!("{address}:2377"),
                    }),
                }
            })
            .collect()
    }
}

fn owner(host: &SimHost, path: &str) -> String {
    let owner = host.tasks.owners.get(path).map(String::as_str);
    owner.unwrap_or("root:root").to_owned()
}

fn os() -> Os {
    Os {
        id: "debian".to_owned(),
        version: "12".to_owned(),
        codename: "bookworm".to_owned(),
        pretty: "Debian GNU/Linux 12 (bookworm)".to_owned(),
        arch: "amd64".to_owned(),
        kernel: "6.1.0".to_owned(),
        systemd: true,
        cpus: 2,
        memory_kib: 1 << 21,
        like: Vec::new(),
    }
}

fn network(host: &SimHost) -> Network {
    let address = format!("{}/24", host.address).parse();
    Network {
        interfaces: vec![Interface {
            name: "eth0".to_owned(),
            mtu: 1500,
            addresses: address.into_iter().collect(),
        }],
        routes: Vec::new(),
        default_source: host.address.parse().ok(),
    }
}

fn unit_state(host: &SimHost) -> Unit {
    Unit {
        active: if host.engine_runs {
            "active"
        } else {
            "inactive"
        }
        .to_owned(),
        enabled: if host.engine_enabled {
            "enabled"
        } else {
            "disabled"
        }
        .to_owned(),
        reload: false,
    }
}
