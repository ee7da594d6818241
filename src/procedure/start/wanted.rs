//! What a record of a shutdown says of the services, without their secrets: which belong together and
//! which come first.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::record::{Head, Record, Service};

/// What is to be as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// All but the services.
    pub head: Head,
    /// The services.
    pub services: Vec<WantedService>,
}

/// A service as it was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedService {
    /// Its name.
    pub name: String,
    /// Its stack.
    pub stack: Option<String>,
    /// The TCP ports that it publishes.
    pub ports: BTreeSet<u16>,
    /// The port of the registry that its image comes from, where its name has one.
    pub registry: Option<u16>,
}

impl Wanted {
    /// What of a record is no secret.
    pub fn of(record: &Record) -> Self {
        let services = record.services.iter().flatten();
        Self {
            head: record.head.clone(),
            services: services.map(WantedService::of).collect(),
        }
    }
}

impl WantedService {
    fn of(service: &Service) -> Self {
        let image = service.spec["TaskTemplate"]["ContainerSpec"]["Image"].as_str();
        Self {
            name: service.name.clone(),
            stack: service.stack.clone(),
            ports: ports(&service.spec),
            registry: image.and_then(registry_port),
        }
    }
}

fn ports(spec: &Value) -> BTreeSet<u16> {
    let ports = spec["EndpointSpec"]["Ports"]
        .as_array()
        .into_iter()
        .flatten();
    let tcp = ports.filter(|port| matches!(port["Protocol"].as_str(), None | Some("tcp")));
    let published = tcp.filter_map(|port| port["PublishedPort"].as_u64());
    published
        .filter_map(|port| u16::try_from(port).ok())
        .collect()
}

/// The port in `host:5000/name`. Without a port it would be 443, at which every other service answers
/// too: nothing is concluded from it.
fn registry_port(image: &str) -> Option<u16> {
    let (registry, _) = image.split_once('/')?;
    registry.rsplit_once(':')?.1.parse().ok()
}

/// Services that are brought up together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    /// The stack, or the only service.
    pub(super) name: String,
    /// The services.
    pub(super) services: Vec<String>,
    /// Whether the others wait for it.
    pub(super) first: bool,
    /// The services that must answer before the others begin, and at which port.
    pub(super) answers: Vec<(String, u16)>,
}

/// The services in the order in which they come up: those of `first`, by stack or name, then those that
/// the images of others come from, then the rest. `all` is name and stack of each.
pub(super) fn groups(
    all: &[(String, Option<String>)],
    first: &[String],
    wanted: Option<&Wanted>,
) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (name, stack) in all {
        // One that is named comes without the others of its stack.
        let named = first.contains(name) && !stack.as_ref().is_some_and(|it| first.contains(it));
        let key = stack.clone().filter(|_| !named);
        let key = key.unwrap_or_else(|| name.clone());
        match groups.iter_mut().find(|group| group.name == key) {
            Some(group) => group.services.push(name.clone()),
            None => groups.push(Group {
                name: key,
                services: vec![name.clone()],
                first: false,
                answers: Vec::new(),
            }),
        }
    }
    for group in &mut groups {
        group.answers = registries(group, wanted);
        group.first = first.contains(&group.name) || !group.answers.is_empty();
        if group.first && group.answers.is_empty() {
            group.answers = published(group, wanted);
        }
    }
    let place = |group: &Group| {
        let place = first.iter().position(|name| *name == group.name);
        place.unwrap_or(first.len() + usize::from(!group.first))
    };
    groups.sort_by_key(place);
    groups
}

fn of<'w>(group: &Group, wanted: Option<&'w Wanted>) -> Vec<&'w WantedService> {
    let all = wanted.into_iter().flat_map(|it| &it.services);
    all.filter(|it| group.services.contains(&it.name)).collect()
}

/// The services of a group from which images of services outside it come.
fn registries(group: &Group, wanted: Option<&Wanted>) -> Vec<(String, u16)> {
    let all = wanted.into_iter().flat_map(|it| &it.services);
    let others = all.filter(|it| !group.services.contains(&it.name));
    let asked: BTreeSet<u16> = others.filter_map(|it| it.registry).collect();
    let mut found = Vec::new();
    for service in of(group, wanted) {
        let port = service.ports.iter().find(|port| asked.contains(port));
        // What comes from there itself cannot be what has to be there before.
        if let Some(port) = port.filter(|port| service.registry != Some(**port)) {
            found.push((service.name.clone(), *port));
        }
    }
    found
}

/// One published port of each service of a group.
fn published(group: &Group, wanted: Option<&Wanted>) -> Vec<(String, u16)> {
    let all = of(group, wanted).into_iter();
    all.filter_map(|it| Some((it.name.clone(), *it.ports.first()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_port_tells_a_registry() {
        assert_eq!(registry_port("hub.example.net:5000/web:1"), Some(5000));
        assert_eq!(registry_port("hub.example.net/web:1"), None);
        assert_eq!(registry_port("library/web:1"), None);
        assert_eq!(registry_port("web:1"), None);
    }

    fn service(name: &str, stack: &str, port: Option<u16>, registry: Option<u16>) -> WantedService {
        WantedService {
            name: name.to_owned(),
            stack: (!stack.is_empty()).then(|| stack.to_owned()),
            ports: port.into_iter().collect(),
            registry,
        }
    }

    fn order(first: &[&str], services: Vec<WantedService>) -> Vec<(String, bool)> {
        let head = crate::record::Head {
            cluster: "c".to_owned(),
            cluster_id: None,
            made: jiff::Timestamp::UNIX_EPOCH,
            by: String::new(),
            last: "m1".to_owned(),
            boot: None,
            nodes: Vec::new(),
            back_before: None,
            autolock: false,
            remove: false,
        };
        let all: Vec<_> = services
            .iter()
            .map(|it| (it.name.clone(), it.stack.clone()))
            .collect();
        let first: Vec<String> = first.iter().map(|it| (*it).to_owned()).collect();
        let wanted = Wanted { head, services };
        let groups = groups(&all, &first, Some(&wanted));
        groups.into_iter().map(|it| (it.name, it.first)).collect()
    }

    #[test]
    fn what_the_others_come_from_is_first() {
        let services = || {
            vec![
                service("a_web", "a", Some(80), Some(5000)),
                service("db", "", None, None),
                service("hub_registry", "hub", Some(5000), None),
                service("hub_ui", "hub", Some(8080), Some(5000)),
            ]
        };
        let told = |list: &[(&str, bool)]| -> Vec<(String, bool)> {
            list.iter()
                .map(|(name, first)| ((*name).to_owned(), *first))
                .collect()
        };
        let found = order(&[], services());
        assert_eq!(found, told(&[("hub", true), ("a", false), ("db", false)]));
        let named = order(&["db", "a"], services());
        assert_eq!(named, told(&[("db", true), ("a", true), ("hub", true)]));
        let one = order(&["hub_registry"], services());
        let first = [
            ("hub_registry", true),
            ("a", false),
            ("db", false),
            ("hub", false),
        ];
        assert_eq!(one, told(&first));
    }
}
