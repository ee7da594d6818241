//! Which address a host tells the other nodes.

use std::net::IpAddr;

use crate::facts::{HostFacts, Interface};
use crate::inventory::Host;
use crate::known::Known;

/// The address that a host tells the others: the one of the inventory, the one of the interface
/// that the inventory names, the one that we log in to, or the only one there is. Docker itself
/// refuses to choose, and a join drops an address that it cannot resolve without a word.
pub(crate) fn advertise_address(
    host: &Host,
    facts: &HostFacts,
) -> Result<String, (String, String)> {
    if let Some(address) = host.advertise.address {
        return Ok(address.to_string());
    }
    let Known::Value(network) = &facts.network else {
        return Err((
            "its network interfaces are not known".to_owned(),
            "Set `advertise-address` for the host.".to_owned(),
        ));
    };
    let candidates: Vec<(&Interface, IpAddr)> = network
        .interfaces
        .iter()
        .filter(|interface| !of_docker(&interface.name))
        .flat_map(|interface| {
            let addresses = interface.addresses.iter();
            addresses.map(move |network| (interface, network.addr()))
        })
        .filter(|(_, address)| !address.is_loopback())
        .collect();
    let list = || {
        let shown: Vec<String> = candidates
            .iter()
            .map(|(interface, address)| format!("{address} ({})", interface.name))
            .collect();
        if shown.is_empty() {
            "it has none".to_owned()
        } else {
            format!("it has {}", shown.join(", "))
        }
    };
    let first_of = |mut found: Vec<IpAddr>| {
        found.sort_by_key(IpAddr::is_ipv6);
        found.first().map(ToString::to_string)
    };
    if let Some(name) = &host.advertise.interface {
        let on = candidates
            .iter()
            .filter(|(interface, _)| &interface.name == name);
        return first_of(on.map(|(_, address)| *address).collect()).ok_or_else(|| {
            (
                format!("no address is on the interface `{name}`: {}", list()),
                "Correct `advertise-interface`.".to_owned(),
            )
        });
    }
    let login = host
        .address
        .as_deref()
        .and_then(|address| address.parse::<IpAddr>().ok());
    if let Some(address) =
        login.filter(|login| candidates.iter().any(|(_, address)| address == login))
    {
        return Ok(address.to_string());
    }
    let v4: Vec<IpAddr> = candidates
        .iter()
        .map(|(_, address)| *address)
        .filter(IpAddr::is_ipv4)
        .collect();
    match v4.as_slice() {
        [only] => Ok(only.to_string()),
        [] if candidates.len() == 1 => Ok(candidates[0].1.to_string()),
        _ => Err((
            format!(
                "it is not clear which address the other nodes should use: {}",
                list()
            ),
            "Set `advertise-interface` or `advertise-address`.".to_owned(),
        )),
    }
}

/// Whether an interface is made by Docker, so that its address means nothing to other hosts.
pub(super) fn of_docker(name: &str) -> bool {
    name == "lo"
        || ["docker", "br-", "veth", "vxlan"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::facts::Network;

    /// The address that a host with these interfaces tells the others, where the inventory says
    /// `settings` of it.
    fn told(settings: &str, interfaces: &[(&str, &[&str])]) -> Result<String, String> {
        let text = format!(
            "[cluster]\nname = \"one\"\n[[host]]\nname = \"m1\"\nrole = \"manager\"\n{settings}\n"
        );
        let (inventory, found) = crate::inventory::parse(&text, Path::new("skep.toml"));
        let inventory = inventory.unwrap_or_else(|| panic!("{found:?}"));
        let interfaces = interfaces.iter().map(|(name, addresses)| Interface {
            name: (*name).to_owned(),
            mtu: 1500,
            addresses: addresses.iter().map(|it| it.parse().unwrap()).collect(),
        });
        let facts = HostFacts {
            network: Known::Value(Network {
                interfaces: interfaces.collect(),
                ..Network::default()
            }),
            ..HostFacts::default()
        };
        advertise_address(&inventory.hosts[0], &facts).map_err(|(why, _)| why)
    }

    const LOGIN: &str = "address = \"192.0.2.1\"";
    const NAME: &str = "address = \"m1.example.org\"";
    const TWO: &[(&str, &[&str])] = &[
        ("lo", &["127.0.0.1/8"]),
        ("eth0", &["192.0.2.1/24"]),
        ("eth1", &["2001:db8::1/64", "198.51.100.1/24"]),
        ("docker0", &["172.17.0.1/16"]),
    ];

    #[test]
    fn what_the_inventory_says_comes_first() {
        let address = format!("{LOGIN}\nadvertise-address = \"203.0.113.9\"");
        assert_eq!(told(&address, TWO).unwrap(), "203.0.113.9");
        let interface = format!("{LOGIN}\nadvertise-interface = \"eth1\"");
        assert_eq!(told(&interface, TWO).unwrap(), "198.51.100.1");
    }

    #[test]
    fn then_the_address_that_we_log_in_to_and_then_the_only_one() {
        assert_eq!(told(LOGIN, TWO).unwrap(), "192.0.2.1");
        assert_eq!(told(NAME, &TWO[..2]).unwrap(), "192.0.2.1");
    }

    #[test]
    fn a_login_through_a_translated_address_does_not_decide() {
        let why = told("address = \"203.0.113.1\"", TWO).unwrap_err();
        assert!(
            why.contains("192.0.2.1 (eth0), 2001:db8::1 (eth1)"),
            "{why}"
        );
        assert!(!why.contains("docker0"), "{why}");
    }

    #[test]
    fn an_interface_without_an_address_is_told_with_those_that_have_one() {
        let why = told(&format!("{LOGIN}\nadvertise-interface = \"eth7\""), TWO).unwrap_err();
        assert!(why.starts_with("no address is on the interface `eth7`: it has 192.0.2.1"));
        assert!(told(NAME, &TWO[..1]).unwrap_err().ends_with("it has none"));
    }
}
