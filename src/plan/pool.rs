//! Whether the networks that Docker will give out are the site's own.

use ipnet::{IpNet, Ipv4Net};

use crate::inventory::Inventory;
use crate::known::Known;
use crate::swarm::Gathered;

use super::Refusal;
use super::advertise::of_docker;

/// Docker's default pool for overlay networks
/// (<https://docs.docker.com/engine/swarm/swarm-mode/>); the ingress network takes its first /24.
const DEFAULT_POOL: &str = "10.0.0.0/8";

/// Private networks to suggest, least used first: the shared address space of RFC 6598 is no
/// site's own, and 172.16.0.0/12 above Docker's bridges is rarely given out.
const SUGGESTIONS: [&str; 5] = [
    "172.30.0.0/16",
    "10.200.0.0/16",
    "192.168.128.0/17",
    "10.99.0.0/16",
    "100.100.0.0/16",
];

/// Refuses pools that overlap a network that some host has or has a route to: containers would
/// take answers meant for real machines. The pool cannot be changed after init.
pub(super) fn overlap(inventory: &Inventory, gathered: &Gathered) -> Option<Refusal> {
    let given = &inventory.swarm.default_addr_pool;
    let default: Vec<IpNet> = DEFAULT_POOL.parse().into_iter().collect();
    let pools = if given.is_empty() { &default } else { given };
    let networks = site_networks(gathered);
    let (pool, (host, network)) = pools.iter().find_map(|pool| {
        let hit = networks
            .iter()
            .find(|(_, network)| overlaps(pool, network))?;
        Some((pool, hit))
    })?;
    let free = SUGGESTIONS
        .iter()
        .filter_map(|text| text.parse::<IpNet>().ok())
        .find(|free| !networks.iter().any(|(_, network)| overlaps(free, network)));
    let which = if given.is_empty() {
        "Docker's default address pool"
    } else {
        "the address pool"
    };
    let hint = match free {
        Some(free) => format!(
            "Set `default-addr-pool = [\"{free}\"]` under `[swarm]`: no host has a route into that."
        ),
        None => "Set `default-addr-pool` under `[swarm]` to networks that the site does not use."
            .to_owned(),
    };
    Some(Refusal {
        host: None,
        why: format!(
            "{which} {pool} overlaps {network}, which {host} uses; it is fixed for ever when the swarm is made"
        ),
        hint,
    })
}

fn overlaps(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

/// The networks that hosts have addresses in or routes to, without those of Docker's own bridges.
fn site_networks(gathered: &Gathered) -> Vec<(&str, IpNet)> {
    let mut networks = Vec::new();
    for (host, facts) in gathered {
        let Ok(facts) = facts else { continue };
        let Known::Value(network) = &facts.network else {
            continue;
        };
        let interfaces = network
            .interfaces
            .iter()
            .filter(|interface| !of_docker(&interface.name));
        let addresses =
            interfaces.flat_map(|interface| interface.addresses.iter().map(IpNet::trunc));
        let routes = network
            .routes
            .iter()
            .filter(|route| !of_docker(&route.interface));
        let routes = routes.map(|route| route.network.trunc());
        let all = addresses
            .chain(routes)
            .filter(|network| !is_default(network));
        networks.extend(all.map(|network| (host.as_str(), network)));
    }
    networks
}

fn is_default(network: &IpNet) -> bool {
    network.prefix_len() == 0 || matches!(network, IpNet::V4(v4) if *v4 == Ipv4Net::default())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::facts::{HostFacts, Interface, Network, Route};

    /// What is said of `pool` where a host has `address` and a route to `route_to`.
    fn refused(pool: &str, address: &str, route_to: &str) -> Option<Refusal> {
        let text = format!(
            "[cluster]\nname = \"one\"\n{pool}\n[[host]]\nname = \"m1\"\naddress = \"192.0.2.1\"\nrole = \"manager\"\n"
        );
        let (inventory, _) = crate::inventory::parse(&text, Path::new("skep.toml"));
        let interface = |name: &str, address: &str| Interface {
            name: name.to_owned(),
            mtu: 1500,
            addresses: vec![address.parse().unwrap()],
        };
        let route = |network: &str| Route {
            network: network.parse().unwrap(),
            interface: "eth0".to_owned(),
        };
        let facts = HostFacts {
            network: Known::Value(Network {
                interfaces: vec![
                    interface("eth0", address),
                    interface("docker_gwbridge", "10.99.0.1/16"),
                ],
                routes: vec![route("0.0.0.0/0"), route(route_to)],
                default_source: None,
            }),
            ..HostFacts::default()
        };
        let gathered = Gathered::from([("m1".to_owned(), Ok(facts))]);
        overlap(&inventory.unwrap(), &gathered)
    }

    const GIVEN: &str = "[swarm]\ndefault-addr-pool = [\"10.99.0.0/16\"]";

    #[test]
    fn the_default_pool_is_refused_on_a_site_that_uses_it() {
        let refusal = refused("", "10.1.2.3/24", "192.168.7.0/24").unwrap();
        assert!(
            refusal
                .why
                .starts_with("Docker's default address pool 10.0.0.0/8")
        );
        assert!(refusal.why.contains("overlaps 10.1.2.0/24, which m1 uses"));
        assert!(refusal.hint.contains("172.30.0.0/16"));
    }

    #[test]
    fn what_is_suggested_is_free() {
        let refusal = refused("", "10.1.2.3/24", "172.16.0.0/12").unwrap();
        assert!(refusal.hint.contains("10.200.0.0/16"), "{}", refusal.hint);
    }

    #[test]
    fn a_route_counts_as_an_address_does() {
        assert!(refused(GIVEN, "192.0.2.1/24", "10.99.5.0/24").is_some());
    }

    #[test]
    fn default_routes_and_bridges_of_docker_are_no_networks_of_the_site() {
        assert_eq!(refused(GIVEN, "192.0.2.1/24", "192.168.7.0/24"), None);
        assert_eq!(refused("", "192.0.2.1/24", "192.168.7.0/24"), None);
    }
}
