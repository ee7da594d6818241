use std::collections::BTreeMap;
use std::path::Path;

use super::*;
use crate::inventory::{Availability, Role};

fn inventory(text: &str) -> Inventory {
    let (inventory, diagnostics) = crate::inventory::parse(text, Path::new("skep.toml"));
    inventory.unwrap_or_else(|| panic!("{diagnostics:?}"))
}

/// What is said of the hosts of `text` with the address of `m1`, which no file can give a host of the
/// lab: it has one of its own.
fn why(text: &str, address: &str, made: &[(&str, [u8; 4])]) -> Vec<String> {
    let mut inventory = inventory(text);
    if !address.is_empty() {
        inventory.hosts[0].address = Some(address.to_owned());
    }
    let found = |name: &str| {
        let found = made.iter().find(|(host, _)| *host == name)?;
        Some(Ipv4Addr::from(found.1))
    };
    no_lab(&inventory, &found, "198.18.0.0/15".parse().unwrap())
}

const LAB: &str = "[cluster]\nname = \"hive\"\nprovider = \"lab\"\n";

#[test]
fn only_the_labs_own_hosts_at_its_own_addresses_will_do() {
    let lab = format!("{LAB}[[host]]\nname = \"m1\"\nrole = \"manager\"\n");
    let made = [("m1", [198, 18, 0, 11])];
    assert_eq!(why(&lab, "", &made), [""; 0]);
    assert_eq!(why(&lab, "198.18.0.11", &made), [""; 0]);
    assert_eq!(why(&lab, "198.18.0.11", &[]), [""; 0]);
    assert_eq!(
        why(&lab, "198.18.0.12", &made),
        ["`m1` has the address 198.18.0.12 in the inventory, and 198.18.0.11 in the lab"]
    );
    let far = "which is not one of the lab's network 198.18.0.0/15";
    for address in ["10.0.0.11", "swarm.example.org"] {
        let told = format!("`m1` has the address {address}, {far}");
        assert_eq!(why(&lab, address, &[]), [told]);
    }
    let own = lab.replace("provider = \"lab\"\n", "") + "address = \"198.18.0.11\"\n";
    assert_eq!(why(&own, "", &made), ["m1 is a machine of yours"]);
}

#[test]
fn one_host_of_ones_own_among_those_of_the_lab_is_enough_to_refuse() {
    let text = format!(
        "{LAB}[[host]]\nname = \"m1\"\nrole = \"manager\"\n[[host]]\nname = \"w1\"\nrole = \"worker\"\n\
         address = \"198.18.0.12\"\nprovider = \"static\"\n"
    );
    assert_eq!(why(&text, "", &[]), ["w1 is a machine of yours"]);
}

#[test]
fn only_a_majority_that_has_no_machine_any_more_is_lost_for_good() {
    let text = format!(
        "{LAB}[[host]]\nname = \"m[1-3]\"\nrole = \"manager\"\n[[host]]\nname = \"w1\"\nrole = \"worker\"\n"
    );
    let inventory = inventory(&text);
    let lost = |there: &[&str]| -> Vec<String> {
        lost_for_good(&inventory, &|name| there.contains(&name))
            .into_iter()
            .collect()
    };
    assert_eq!(lost(&["m1", "m2", "m3"]), [""; 0]);
    assert_eq!(lost(&["m1", "m3", "w1"]), [""; 0]);
    assert_eq!(lost(&["m3", "w1"]), ["m1", "m2"]);
    // Nobody is left to go on from.
    assert_eq!(lost(&["w1"]), [""; 0]);
}

#[test]
fn a_node_that_is_elsewhere_is_no_node_of_the_lab() {
    let node = |id: &str, address: &str| Node {
        id: id.to_owned(),
        hostname: id.to_owned(),
        role: Role::Worker,
        availability: Availability::Active,
        state: "ready".to_owned(),
        address: address.to_owned(),
        engine: String::new(),
        labels: BTreeMap::new(),
        manager: None,
    };
    let own = [Ipv4Addr::new(198, 18, 0, 11)];
    let said = |address: &str| elsewhere(&[node("a", address)], &own);
    assert_eq!(said("198.18.0.11"), [""; 0]);
    // What a leader says of itself.
    assert_eq!(said("0.0.0.0"), [""; 0]);
    assert_eq!(
        said("10.0.0.7"),
        ["node a (`a`) is at 10.0.0.7, which is no address of the lab"]
    );
    assert_eq!(said("").len(), 1);
}
