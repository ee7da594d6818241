//! Whether a cluster may be used for a drill: it kills things.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::facts::Node;
use crate::inventory::{Inventory, Provider};
use crate::plan::Plan;
use crate::quorum::majority;
use crate::swarm::{Gathered, Swarm, Up};

/// Why a cluster must not be used, as far as the inventory tells: every host has to be one that
/// skep made on this machine, at the address that it gave. `made` are the addresses of those that
/// exist, `subnet` is the lab's network, or the one that labs are made in.
pub fn no_lab(
    inventory: &Inventory,
    made: &dyn Fn(&str) -> Option<Ipv4Addr>,
    subnet: Ipv4Net,
) -> Vec<String> {
    let mut why = Vec::new();
    let own = inventory
        .hosts
        .iter()
        .filter(|host| host.provider != Provider::Lab);
    let own: Vec<&str> = own.map(|host| host.name.as_str()).collect();
    match own[..] {
        [] => {}
        [one] => why.push(format!("{one} is a machine of yours")),
        _ => why.push(format!("{} are machines of yours", own.join(", "))),
    }
    for host in inventory
        .hosts
        .iter()
        .filter(|host| host.provider == Provider::Lab)
    {
        let name = &host.name;
        let Some(address) = &host.address else {
            continue;
        };
        match (address.parse::<Ipv4Addr>(), made(name)) {
            (Ok(given), Some(own)) if given == own => {}
            (_, Some(own)) => why.push(format!(
                "`{name}` has the address {address} in the inventory, and {own} in the lab"
            )),
            (Ok(given), None) if subnet.contains(&given) => {}
            _ => why.push(format!(
                "`{name}` has the address {address}, which is not one of the lab's network {subnet}"
            )),
        }
    }
    why
}

/// Why a cluster must not be used now: it is practised on a healthy one, or what is seen is not what
/// the drill did.
pub fn unhealthy(inventory: &Inventory, gathered: &Gathered, plan: &Plan) -> Vec<String> {
    let up = match Swarm::see(inventory, gathered) {
        Swarm::Up(up) => up,
        Swarm::None => return vec!["there is no swarm".to_owned()],
        Swarm::Down(_) => return vec!["the swarm has no quorum, or nobody tells".to_owned()],
        Swarm::Split { .. } => return vec!["the hosts are in more than one swarm".to_owned()],
    };
    let mut why: Vec<String> = gathered
        .iter()
        .filter_map(|(host, facts)| {
            Some(format!(
                "`{host}` gave no answer: {}",
                facts.as_ref().err()?
            ))
        })
        .collect();
    let (total, reachable) = up.raft();
    if reachable < total {
        why.push(format!("managers {total}, reachable {reachable}"));
    }
    for node in up.nodes.iter().filter(|node| node.state != "ready") {
        why.push(format!(
            "node {} (`{}`) is {}",
            node.id, node.hostname, node.state
        ));
    }
    for node in up.nodes_of_nobody() {
        why.push(format!(
            "node {} (`{}`) is in the swarm and no host of this lab says that it is that node",
            node.id, node.hostname
        ));
    }
    for refusal in &plan.refusals {
        why.push(refusal.why.clone());
    }
    if !plan.changes.is_empty() {
        let changes = plan.changes.len();
        why.push(format!(
            "it is not what the inventory says: `skep up` would make changes: {changes}"
        ));
    }
    why
}

/// The nodes of a swarm that are at no address of the lab's hosts: one of these is not the lab's, and
/// is hit by what is done to its swarm.
pub fn elsewhere(nodes: &[Node], lab: &[Ipv4Addr]) -> Vec<String> {
    let is_own = |node: &&Node| match node.address.parse::<Ipv4Addr>() {
        // A leader may tell its own address so (`0.0.0.0`); that it is the host which
        // says so was looked at before.
        Ok(address) => address.is_unspecified() || lab.contains(&address),
        Err(_) => false,
    };
    let far = nodes.iter().filter(|node| !is_own(node));
    far.map(|node| {
        let (id, name, address) = (&node.id, &node.hostname, &node.address);
        format!("node {id} (`{name}`) is at {address}, which is no address of the lab")
    })
    .collect()
}

/// The managers of which the lab has no machine any more, where those that are left are too few to
/// take orders: what a recovery is for.
pub fn lost_for_good(inventory: &Inventory, exists: &dyn Fn(&str) -> bool) -> BTreeSet<String> {
    let managers: Vec<&str> = inventory
        .managers()
        .map(|host| host.name.as_str())
        .collect();
    let (left, lost): (Vec<&str>, Vec<&str>) = managers.iter().partition(|name| exists(name));
    if left.is_empty() || left.len() >= majority(managers.len()) {
        return BTreeSet::new();
    }
    lost.into_iter().map(str::to_owned).collect()
}

/// Whether the nodes that no host says it is are nothing but what hosts of this lab were before:
/// down, and called like one of them. Only these may be taken out without being asked for.
pub fn are_former_selves(inventory: &Inventory, up: &Up) -> bool {
    let mut nobody = up.nodes_of_nobody().peekable();
    nobody.peek().is_some()
        && nobody.all(|node| node.state == "down" && inventory.host(&node.hostname).is_some())
}

#[cfg(test)]
mod tests;
