//! The security groups: exactly what a swarm needs between its members, and SSH from where people
//! log in.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::inventory::{Host, Provider, Role};
use crate::openstack::Kind;
use crate::openstack::model::{Direction, Ether, Peer, SecurityGroup, SecurityRule};

use super::super::step::{CloudCall, RuleFrom, RuleIn, Step};
use super::super::{ChangeId, Diff};
use super::{Made, WHOLE, value};

/// The port of SSH, where the inventory does not say.
const SSH: u16 = 22;

/// The port of VXLAN, where the inventory does not say (Docker's default).
const VXLAN: u16 = 4789;

/// The security groups of a cluster: their whole names, and the changes that make them.
pub(super) struct Firewall {
    /// For every server: SSH.
    pub(super) ssh: String,
    /// For the members of the swarm.
    pub(super) members: String,
    pub(super) changes: Vec<ChangeId>,
}

pub(super) fn plan(made: &mut Made<'_>) -> Firewall {
    let mut firewall = Firewall {
        ssh: made.names.name_of("ssh"),
        members: made.names.name_of("members"),
        changes: Vec::new(),
    };
    let servers = |host: &&Host| host.provider == Provider::OpenStack;
    let hosts = &made.inventory.hosts;
    let mut groups = vec![(
        firewall.ssh.clone(),
        "SSH to the servers of a cluster of skep",
        ssh(made, &firewall),
    )];
    if hosts.iter().filter(servers).any(|it| it.role != Role::None) {
        groups.push((
            firewall.members.clone(),
            "what the members of a swarm need of each other",
            members(made, &firewall),
        ));
    }
    for (name, description, rules) in groups {
        firewall
            .changes
            .extend(group(made, &name, description, &rules));
    }
    firewall
}

/// SSH from the networks that people log in from, and from the bastion, where that is a server.
fn ssh(made: &Made<'_>, firewall: &Firewall) -> Vec<RuleIn> {
    let hosts = || {
        let hosts = made.inventory.hosts.iter();
        hosts.filter(|host| host.provider == Provider::OpenStack)
    };
    let mut ports: Vec<u16> = hosts().map(|host| host.ssh.port.unwrap_or(SSH)).collect();
    ports.sort_unstable();
    ports.dedup();
    let is_server = |name: &str| hosts().any(|host| host.name == name);
    let through = hosts().any(|host| {
        let jump = host.ssh.jump.as_deref().unwrap_or_default();
        jump.split(',').any(|name| is_server(name.trim()))
    });
    let mut rules = Vec::new();
    for port in ports {
        let mut from: Vec<RuleFrom> = made
            .settings
            .ssh_from
            .iter()
            .map(|net| RuleFrom::Net(IpNet::V4(*net)))
            .collect();
        if through {
            from.push(RuleFrom::Own(firewall.ssh.clone()));
        }
        rules.extend(from.into_iter().map(|from| RuleIn {
            protocol: "tcp".to_owned(),
            ports: Some((port, port)),
            from,
            what: "SSH".to_owned(),
        }));
    }
    rules
}

/// What members need of each other: management, gossip, VXLAN, and ESP where networks are encrypted.
fn members(made: &Made<'_>, firewall: &Firewall) -> Vec<RuleIn> {
    let vxlan = made.inventory.swarm.data_path_port.unwrap_or(VXLAN);
    let mut needs = vec![
        ("tcp", Some(2377), "management of the swarm"),
        ("tcp", Some(7946), "gossip of the nodes"),
        ("udp", Some(7946), "gossip of the nodes"),
        ("udp", Some(vxlan), "overlay networks"),
    ];
    if made.settings.encrypted_overlay {
        needs.push(("esp", None, "encrypted overlay networks"));
    }
    // Members that are no servers of this cloud come in by their addresses.
    let others = made.inventory.members();
    let others = others.filter(|host| host.provider != Provider::OpenStack);
    let others = others.filter_map(|host| {
        let address = host.advertise.address;
        let address = address.or_else(|| host.address.as_ref()?.parse::<IpAddr>().ok())?;
        address.is_ipv4().then(|| RuleFrom::Net(address.into()))
    });
    let mut from = vec![RuleFrom::Own(firewall.members.clone())];
    from.extend(others);
    let rules = from.iter().flat_map(|from| {
        needs.iter().map(|(protocol, port, what)| RuleIn {
            protocol: (*protocol).to_owned(),
            ports: port.map(|port| (port, port)),
            from: from.clone(),
            what: (*what).to_owned(),
        })
    });
    rules.collect()
}

/// Makes a group what it should be: rules that are missing are added, and those that let in more are
/// removed. Of what goes out nothing is said.
fn group(made: &mut Made<'_>, name: &str, description: &str, rules: &[RuleIn]) -> Option<ChangeId> {
    let groups = &made.survey.security_groups;
    let found = groups.iter().find(|it| it.name == name);
    let mut steps = Vec::new();
    let mut diff: Vec<Diff> = Vec::new();
    if found.is_none() {
        steps.push(Step::Cloud(CloudCall::SecurityGroup {
            name: name.to_owned(),
            description: description.to_owned(),
        }));
    }
    let there: Vec<(&SecurityRule, Option<RuleIn>)> = found
        .map_or(&[][..], |it| &it.rules)
        .iter()
        .filter(|rule| rule.direction == Direction::Ingress)
        .map(|rule| (rule, read(rule, groups)))
        .collect();
    for rule in rules {
        if there
            .iter()
            .any(|(_, it)| it.as_ref().is_some_and(|it| same(it, rule)))
        {
            continue;
        }
        diff.push(value("let in", None, Some(rule.to_string())));
        steps.push(Step::Cloud(CloudCall::Rule {
            group: name.to_owned(),
            rule: rule.clone(),
        }));
    }
    for (rule, it) in &there {
        if it
            .as_ref()
            .is_some_and(|it| rules.iter().any(|rule| same(it, rule)))
        {
            continue;
        }
        let told = it.as_ref().map_or_else(|| raw(rule), ToString::to_string);
        diff.push(value("let in", Some(told.clone()), None));
        steps.push(Step::Cloud(CloudCall::Delete {
            kind: Kind::SecurityRule,
            id: rule.id.clone(),
            name: told,
        }));
    }
    if steps.is_empty() {
        return None;
    }
    let what = made.names.within(name).unwrap_or(name).to_owned();
    let summary = match found {
        None => format!("make the security group `{name}`"),
        Some(_) => format!("put the security group `{name}` right"),
    };
    let resource = format!("cloud.security-group/{what}");
    Some(made.change(WHOLE, &resource, &summary, diff, steps, []))
}

/// A rule of the cloud as one of ours; `None` where ours are never like it.
fn read(rule: &SecurityRule, groups: &[SecurityGroup]) -> Option<RuleIn> {
    if rule.ether != Ether::V4 {
        return None;
    }
    let from = match &rule.peer {
        Peer::Any => RuleFrom::Net(IpNet::V4(ipnet::Ipv4Net::default())),
        Peer::Cidr(net) => RuleFrom::Net(*net),
        Peer::Group(id) => RuleFrom::Own(groups.iter().find(|it| it.id == *id)?.name.clone()),
    };
    Some(RuleIn {
        protocol: match rule.protocol.as_deref()? {
            // Neutron gives back what it was given: a name or a number.
            "50" => "esp".to_owned(),
            "6" => "tcp".to_owned(),
            "17" => "udp".to_owned(),
            other => other.to_owned(),
        },
        ports: rule.ports,
        from,
        what: String::new(),
    })
}

/// Whether two rules let the same in, whatever they are for.
fn same(a: &RuleIn, b: &RuleIn) -> bool {
    a.protocol == b.protocol && a.ports == b.ports && a.from == b.from
}

fn raw(rule: &SecurityRule) -> String {
    let protocol = rule.protocol.as_deref().unwrap_or("anything");
    let ports = rule
        .ports
        .map_or_else(String::new, |(first, last)| format!("{first}-{last}/"));
    format!("{ports}{protocol} from {:?}", rule.peer)
}
