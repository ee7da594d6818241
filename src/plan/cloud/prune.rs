//! Servers that no host of the inventory stands for, and whether their swarm has them still.

use std::net::IpAddr;

use crate::facts::Node;
use crate::inventory::{Inventory, Provider};
use crate::openstack::Survey;
use crate::openstack::model::Server;
use crate::swarm::{Swarm, ip};

use super::super::Plan;
use super::gone;

/// The servers that no host of `inventory` stands for.
pub(super) fn strangers<'a>(
    inventory: &'a Inventory,
    survey: &'a Survey,
) -> impl Iterator<Item = &'a Server> {
    let is_host = |name: &str| {
        let host = inventory.host(name);
        host.is_some_and(|host| host.provider == Provider::OpenStack)
    };
    survey.servers.iter().filter(move |it| !is_host(&it.name))
}

/// Why a server must not go yet: its swarm has it, or it is not known whether it has. `None` where the
/// swarm surely has no such node.
pub fn holds(server: &Server, survey: &Survey, swarm: &Swarm) -> Option<String> {
    match swarm {
        Swarm::None => None,
        Swarm::Up(up) => {
            let node = up.nodes.iter().find(|node| is_it(node, server, survey))?;
            Some(format!("node {} of the swarm is this server", node.id))
        }
        Swarm::Down(_) => {
            Some("no manager with quorum tells whether it is a node of the swarm".to_owned())
        }
        Swarm::Split { .. } => Some("the hosts are managers of different swarms".to_owned()),
    }
}

/// Whether a node may be a server, by its name or an address: at worst a server stays.
fn is_it(node: &Node, server: &Server, survey: &Survey) -> bool {
    let name = node.hostname.split('.').next().unwrap_or_default();
    let raft = node.manager.as_ref().map(|raft| ip(&raft.address));
    let ports = survey.ports.iter();
    let ports = ports.filter(|port| port.device.as_ref() == Some(&server.id));
    let of_ports = ports.flat_map(|port| port.fixed_ips.iter().filter_map(|it| it.address));
    let addresses = server.addresses.iter().map(|it| it.address).chain(of_ports);
    let has = |told: &str| {
        let told: Option<IpAddr> = ip(told).parse().ok();
        addresses.clone().any(|it| Some(it) == told)
    };
    name == server.name || has(&node.address) || raft.is_some_and(has)
}

/// Removes the servers that no host stands for and that the swarm does not have, each with its port and
/// floating IP. Of those that stay it is said why.
pub fn prune(inventory: &Inventory, survey: &Survey, swarm: &Swarm) -> Plan {
    let mut plan = Plan {
        cluster: inventory.cluster.clone(),
        ..Plan::default()
    };
    for server in strangers(inventory, survey) {
        let name = &server.name;
        match holds(server, survey, swarm) {
            Some(why) => plan.warnings.push(format!(
                "the server `{name}` ({}) is no host of the inventory, and stays: {why}",
                server.id
            )),
            // One of them makes the changes of all that are called so.
            None => {
                for change in gone(&plan.cluster, survey, name).changes {
                    if !plan.changes.iter().any(|it| it.id == change.id) {
                        plan.changes.push(change);
                    }
                }
            }
        }
    }
    plan
}
