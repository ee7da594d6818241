//! NFS across hosts: servers before their clients, and servers that do not answer. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::inventory::{Host, Inventory, Role};
use crate::known::Known;
use crate::plan::{ChangeId, Plan};
use crate::swarm::Gathered;

/// A server that gives no answer to hosts that mount from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaleServer {
    /// The server by the inventory's name.
    pub server: String,
    /// Why, in the words of the first host that says so.
    pub why: String,
    /// The hosts that get no answer, and what each mounts from it.
    pub mounts: BTreeMap<String, Vec<String>>,
}

impl fmt::Display for StaleServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            server,
            why,
            mounts,
        } = self;
        let why = why.replacen("it does not answer", "does not answer", 1);
        let hosts = mounts
            .iter()
            .map(|(host, targets)| format!("{host} {}", targets.join(" ")));
        let hosts: Vec<String> = hosts.collect();
        write!(f, "stale: server {server} {why} ({})", hosts.join("; "))
    }
}

/// The servers that some host gets no answer from.
pub fn stale(inventory: &Inventory, gathered: &Gathered) -> Vec<StaleServer> {
    let mut found: BTreeMap<&str, StaleServer> = BTreeMap::new();
    for host in &inventory.hosts {
        let Some(Ok(facts)) = gathered.get(&host.name) else {
            continue;
        };
        for mount in &host.mounts {
            let Some(Known::Value(now)) = facts.mounts.get(&mount.target) else {
                continue;
            };
            let Some(why) = &now.stale else { continue };
            let server = found.entry(&mount.server).or_insert_with(|| StaleServer {
                server: mount.server.clone(),
                why: why.clone(),
                mounts: BTreeMap::new(),
            });
            let targets = server.mounts.entry(host.name.clone()).or_default();
            targets.push(mount.target.clone());
        }
    }
    found.into_values().collect()
}

/// The hosts that are not in the swarm and whose folders its members mount, in the order of the inventory.
pub fn servers_outside(inventory: &Inventory) -> Vec<String> {
    let serves = |host: &&Host| {
        let mut mounts = inventory.members().flat_map(|member| &member.mounts);
        host.role == Role::None && mounts.any(|mount| mount.server == host.name)
    };
    let servers = inventory.hosts.iter().filter(serves);
    servers.map(|host| host.name.clone()).collect()
}

/// Makes the mounts of a server's folders wait for the server's own changes, and puts those first.
/// They are the first of their host's, so that nothing waits in a circle.
pub(crate) fn exports_before_mounts(plan: &mut Plan, inventory: &Inventory) {
    let is_first = |resource: &str| ["nfs.idmap", "nfs.exports"].contains(&resource);
    plan.changes
        .sort_by_key(|change| !is_first(&change.resource));
    let exports = plan
        .changes
        .iter()
        .filter(|change| change.resource == "nfs.exports");
    let exports: BTreeSet<ChangeId> = exports.map(|change| change.id.clone()).collect();
    for change in plan
        .changes
        .iter_mut()
        .filter(|it| it.resource == "nfs.mounts")
    {
        let mounts = inventory
            .host(&change.host)
            .map_or(&[][..], |host| &host.mounts);
        let servers = mounts
            .iter()
            .map(|mount| ChangeId::new(&mount.server, "nfs.exports"));
        change
            .needs
            .extend(servers.filter(|id| exports.contains(id)));
    }
}
