//! How a cluster stands that is to be shut down, or is being.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::facts::{self, HostFacts};
use crate::inventory::{self, Availability, Inventory, Role};
use crate::record::{Head, MARK, Mark, Node, Phase, WAS_MANAGER};
use crate::swarm::{Gathered, Membership, Swarm, Up};

use super::ShutdownProcedure;

/// What is to become of a host.
pub(super) enum Host<'a> {
    /// It answers, and is switched off.
    On(&'a inventory::Host),
    /// An earlier run switched it off.
    Off(&'a inventory::Host),
    /// It does not answer, for this reason.
    Silent(&'a inventory::Host, String),
    /// It answers, and is left on for this reason.
    Kept(&'a inventory::Host, String),
}

/// How it stands.
pub(super) struct Picture<'a> {
    /// The hosts with a place in the swarm, in the order of the inventory.
    pub(super) hosts: Vec<Host<'a>>,
    /// What an earlier run that was not finished left.
    pub(super) mark: Option<Mark>,
    /// What is to be said of it.
    pub(super) warnings: Vec<String>,
    cluster_id: Option<String>,
    autolock: bool,
    nodes: Vec<Node>,
    back_before: Option<Timestamp>,
    boots: BTreeMap<String, String>,
    cluster: &'a str,
    tries: bool,
}

impl<'a> Picture<'a> {
    /// Puts it together.
    pub(super) fn take(
        inventory: &'a Inventory,
        gathered: &Gathered,
        seen: &Swarm,
        shutdown: &ShutdownProcedure,
    ) -> Self {
        let up = match seen {
            Swarm::Up(up) => Some(up),
            _ => None,
        };
        let facts = |name: &str| gathered.get(name).and_then(|it| it.as_ref().ok());
        let members: Vec<&inventory::Host> = inventory.members().collect();
        let boots = members.iter().filter_map(|host| {
            let identity = facts(&host.name)?.identity.value()?;
            Some((host.name.clone(), identity.boot_id.clone()))
        });
        let boots: BTreeMap<String, String> = boots.collect();
        let mut warnings = Vec::new();
        let mark = mark(&members, gathered, shutdown, &mut warnings);
        let mark = mark.filter(|mark| is_current(mark, up, &boots, inventory));
        let hosts = members.iter().filter_map(|host| {
            let told = gathered.get(&host.name)?;
            Some(of_host(host, told, up, mark.as_ref(), shutdown))
        });
        let hosts: Vec<Host<'a>> = hosts.collect();
        let answers = |name: &str| facts(name).is_some();
        let nodes = match (up, &mark) {
            (Some(up), _) => nodes(inventory, up, &answers),
            (None, Some(mark)) => mark.head.nodes.clone(),
            (None, None) => of_hosts(&members, &facts),
        };
        let ends = members.iter().filter_map(|host| {
            let certificates = facts(&host.name)?.certificates.value();
            certificates?.node.end()
        });
        let back_before = ends.min();
        for node in up.into_iter().flat_map(Up::nodes_of_nobody) {
            let mut known = mark.iter().flat_map(|mark| &mark.head.nodes);
            let ours = known.any(|it| it.id == node.id && it.host.is_some());
            if node.state == "ready" && !ours {
                warnings.push(format!(
                    "node {} ({}) is no host of the inventory that answers: it stays on",
                    node.hostname, node.id
                ));
            }
        }
        let former = mark.as_ref().map(|mark| &mark.head);
        Self {
            hosts,
            warnings,
            cluster_id: up
                .map(|up| up.cluster_id.clone())
                .or_else(|| former?.cluster_id.clone()),
            autolock: up.map_or_else(
                || former.is_some_and(|head| head.autolock),
                |up| up.settings.autolock,
            ),
            nodes,
            back_before: back_before.or_else(|| former?.back_before),
            boots,
            cluster: &inventory.cluster,
            tries: shutdown.tries(),
            mark,
        }
    }

    /// The hosts that are to be switched off.
    pub(super) fn on(&self) -> impl Iterator<Item = &'a inventory::Host> {
        self.hosts.iter().filter_map(|host| match host {
            Host::On(host) => Some(*host),
            _ => None,
        })
    }

    /// The hosts of which nothing is known, in an emergency: each is told to power off all the same, for
    /// it may be on, and only slow.
    pub(super) fn unknown(&self) -> impl Iterator<Item = &'a inventory::Host> {
        self.hosts.iter().filter_map(|host| match host {
            Host::Silent(host, _) if self.tries && !host.optional => Some(*host),
            _ => None,
        })
    }

    /// Whether an earlier run had begun to switch hosts off.
    pub(super) fn goes_off(&self) -> bool {
        (self.mark.as_ref()).is_some_and(|mark| mark.phase == Phase::Off)
    }

    /// Whether a host was a manager before the shutdown.
    pub(super) fn managed(&self, host: &inventory::Host) -> bool {
        let mut nodes = self.nodes.iter();
        let node = nodes.find(|node| node.host.as_deref() == Some(&host.name));
        node.map_or(host.role, |node| node.role) == Role::Manager
    }

    /// What is recorded beside the services. The first record's time stays.
    pub(super) fn head(&self, last: &str, shutdown: &ShutdownProcedure) -> Head {
        let former = self.mark.as_ref().map(|mark| &mark.head);
        Head {
            cluster: self.cluster.to_owned(),
            cluster_id: self.cluster_id.clone(),
            made: former.map_or(shutdown.now, |head| head.made),
            by: former.map_or_else(|| shutdown.by.clone(), |head| head.by.clone()),
            last: last.to_owned(),
            boot: self.boots.get(last).cloned(),
            nodes: self.nodes.clone(),
            back_before: self.back_before,
            autolock: self.autolock,
            remove: shutdown.remove || former.is_some_and(|head| head.remove),
        }
    }
}

/// The mark that a host has, else that of the record here.
fn mark(
    members: &[&inventory::Host],
    gathered: &Gathered,
    shutdown: &ShutdownProcedure,
    warnings: &mut Vec<String>,
) -> Option<Mark> {
    let mut found: Option<Mark> = None;
    for host in members {
        let Some(Ok(facts)) = gathered.get(&host.name) else {
            continue;
        };
        let file = facts.files.get(MARK).and_then(|file| file.value());
        let Some(text) = file.and_then(|file| file.content.as_deref()) else {
            continue;
        };
        match Mark::parse(text) {
            // One that says of another host that it is the last is left over.
            Ok(mark) if mark.head.last == host.name => {
                let newer = found
                    .as_ref()
                    .is_none_or(|it| it.head.made < mark.head.made);
                if newer {
                    found = Some(mark);
                }
            }
            Ok(_) => {}
            Err(error) => warnings.push(format!("{}: {MARK}: {error}", host.name)),
        }
    }
    // Where its last manager answers, that one knows better: somebody may have brought all back since.
    let asks = |mark: &&Mark| !matches!(gathered.get(&mark.head.last), Some(Ok(_)));
    found.or_else(|| shutdown.former.as_ref().filter(asks).cloned())
}

/// Whether a mark tells of this swarm, and nobody brought the cluster back by hand since: then the
/// last manager runs another boot, or another one has quorum without it.
fn is_current(
    mark: &Mark,
    up: Option<&Up>,
    boots: &BTreeMap<String, String>,
    inventory: &Inventory,
) -> bool {
    let last = &mark.head.last;
    let same_boot = boots
        .get(last)
        .is_none_or(|boot| mark.head.boot.as_ref() == Some(boot));
    match up {
        None => mark.head.cluster == inventory.cluster && same_boot,
        Some(up) => {
            mark.head.cluster_id.as_ref() == Some(&up.cluster_id)
                && up.managers.contains(last)
                && same_boot
        }
    }
}

fn of_host<'a>(
    host: &'a inventory::Host,
    told: &Result<HostFacts, String>,
    up: Option<&Up>,
    mark: Option<&Mark>,
    shutdown: &ShutdownProcedure,
) -> Host<'a> {
    let facts = match told {
        Ok(facts) => facts,
        Err(why) => {
            let off = mark.filter(|mark| mark.phase == Phase::Off);
            let node = off.and_then(|mark| mark.head.node_of(&host.name));
            return if node.is_some_and(|node| node.answered) {
                Host::Off(host)
            } else {
                Host::Silent(host, why.clone())
            };
        }
    };
    let own = facts.identity.value().map(|it| &it.machine_id);
    if own.is_some_and(|own| !own.is_empty()) && own == shutdown.here.as_ref() {
        let why = "skep runs on this very machine, and would go with it".to_owned();
        return Host::Kept(host, why);
    }
    match up.and_then(|up| up.members.get(&host.name)) {
        Some(Membership::Foreign { id, .. }) => {
            Host::Kept(host, format!("it is node {id} of another swarm"))
        }
        _ => Host::On(host),
    }
}

/// The nodes as they were before an earlier run changed any.
fn nodes(inventory: &Inventory, up: &Up, answers: &dyn Fn(&str) -> bool) -> Vec<Node> {
    let name = |node: &facts::Node| {
        let mut members = inventory.members();
        let host = members.find(|host| up.node_of(&host.name).is_some_and(|it| it.id == node.id));
        host.map(|host| host.name.clone())
    };
    let nodes = up.nodes.iter().map(|node| {
        let host = name(node).or_else(|| silent(inventory, up, node));
        let mut labels = node.labels.clone();
        let demoted = labels.remove(WAS_MANAGER).is_some();
        let manages = demoted || node.role == Role::Manager || node.manager.is_some();
        Node {
            id: node.id.clone(),
            answered: host.as_deref().is_some_and(answers),
            host,
            hostname: node.hostname.clone(),
            role: if manages { Role::Manager } else { Role::Worker },
            leader: node.manager.as_ref().is_some_and(|raft| raft.leader),
            availability: node.availability,
            labels,
            address: node.address.clone(),
        }
    });
    nodes.collect()
}

/// The host that a node most likely is whose host does not tell: the only one of that name or address
/// that does not answer.
fn silent(inventory: &Inventory, up: &Up, node: &facts::Node) -> Option<String> {
    let known = |host: &inventory::Host| up.node_of(&host.name).is_some();
    let is = |host: &&inventory::Host| {
        let at = host.advertise.address.map(|it| it.to_string());
        let at = at.or_else(|| host.address.clone());
        host.name == node.hostname || at.as_deref() == Some(node.address.as_str())
    };
    let mut found = inventory.members().filter(|host| !known(host)).filter(is);
    let first = found.next()?;
    found.next().is_none().then(|| first.name.clone())
}

/// The nodes as their own hosts tell of them, where no manager does.
fn of_hosts<'a>(
    members: &[&inventory::Host],
    facts: &dyn Fn(&str) -> Option<&'a HostFacts>,
) -> Vec<Node> {
    let nodes = members.iter().filter_map(|host| {
        let local = facts(&host.name)?.swarm.value()?;
        // One that an earlier run demoted is a worker, and nobody can tell that it was none.
        let manages = local.control || local.state == "locked" || host.role == Role::Manager;
        Some(Node {
            id: local.node_id.clone(),
            host: Some(host.name.clone()),
            hostname: host.name.clone(),
            role: if manages { Role::Manager } else { Role::Worker },
            leader: false,
            availability: Availability::Active,
            labels: BTreeMap::new(),
            address: local.node_addr.clone(),
            answered: true,
        })
    });
    nodes.collect()
}
