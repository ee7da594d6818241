//! What the Docker section says.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::{Engine, HostFacts, Ingress, Leftovers, Service};
use super::{Answers, pairs, unreadable};
use crate::docker::{OVERLAY_MTU, wire};
use crate::known::Known;
use crate::record;

/// Reads the engine, its place in a swarm, its nodes and what it left.
pub(super) fn docker(answers: &Answers<'_>, facts: &mut HostFacts) {
    facts.leftovers = answers.read("leftovers", |section| {
        let text = section.text();
        let pairs = pairs(&text);
        Some(Leftovers {
            data_root: pairs.get("root").copied()?.to_owned(),
            data: pairs.contains_key("data"),
            swarm: pairs.contains_key("swarm"),
            joined_at: pairs.get("joined-at").map(|at| (*at).to_owned()),
        })
    });
    facts.engine_flags = answers.read("flags", |section| {
        let text = section.text();
        Some(text.split_whitespace().map(str::to_owned).collect())
    });
    let unknown = |why: String, facts: &mut HostFacts| {
        facts.engine = Known::Unknown(why.clone());
        facts.swarm = Known::Unknown(why.clone());
        facts.authority = Known::Unknown(why.clone());
        facts.nodes = Known::Unknown(why);
    };
    let section = match answers.0.get("engine") {
        Some(section) if matches!(section.status, 13 | 16) => {
            // Installed, and known not to run. The state of a swarm is a file that every member
            // has; where it is there, nobody can say what it would be a member of.
            facts.engine = Known::Value(Engine::default());
            let none = match &facts.leftovers {
                Known::Value(leftovers) => !leftovers.swarm,
                other => other.is_absent(),
            };
            if none && section.status == 13 {
                facts.swarm = Known::Absent;
                facts.authority = Known::Absent;
                facts.nodes = Known::Absent;
                return;
            }
            let why = format!("the engine is stopped ({})", section.text().trim());
            facts.swarm = Known::Unknown(why.clone());
            facts.authority = Known::Unknown(why.clone());
            facts.nodes = Known::Unknown(why);
            return;
        }
        Some(section) if section.status == 14 => {
            let text = section.text();
            let text = text.trim();
            let why = if text.is_empty() {
                "it refuses connections"
            } else {
                text
            };
            return unknown(format!("the engine does not answer: {why}"), facts);
        }
        Some(section) if section.status == 15 => {
            return unknown(
                "none of `curl`, `perl` and `docker` is there to ask the engine with".to_owned(),
                facts,
            );
        }
        _ => match answers.section::<Engine>("engine") {
            Ok(section) => section,
            Err(Known::Absent) => {
                facts.engine = Known::Absent;
                facts.swarm = Known::Absent;
                facts.authority = Known::Absent;
                facts.nodes = Known::Absent;
                return;
            }
            Err(other) => {
                let why = other.why_unknown().unwrap_or_default().to_owned();
                return unknown(why, facts);
            }
        },
    };
    let text = section.text();
    let info: wire::Info = match wire::reply(&text) {
        Ok(info) => info,
        Err(why) => return unknown(why, facts),
    };
    facts.engine = Known::Value(info.engine());
    facts.swarm = info.local_swarm();
    facts.authority = info.authority();
    facts.nodes = match info.nodes_to_ask() {
        Ok(()) => match answers.section("nodes") {
            Ok(section) => match wire::reply::<Vec<wire::Node>>(&section.text()) {
                Ok(nodes) => wire::nodes(nodes),
                Err(why) => Known::Unknown(why),
            },
            Err(Known::Absent) => unreadable(),
            Err(other) => other,
        },
        Err(answer) => answer,
    };
}

/// Reads the services, and drops at once what may be secret of them. Who is asked them is asked the
/// nodes before.
pub(super) fn services(
    answers: &Answers<'_>,
    facts: &HostFacts,
) -> Known<BTreeMap<String, Service>> {
    match &facts.nodes {
        Known::Value(_) => {}
        Known::Absent => return Known::Absent,
        other => return Known::Unknown(other.why_unknown().unwrap_or_default().to_owned()),
    }
    let section = match answers.section("services") {
        Ok(section) => section,
        Err(Known::Absent) => return unreadable(),
        Err(other) => return other,
    };
    match wire::reply::<Vec<Value>>(&section.text()) {
        Ok(found) => Known::Value(found.iter().filter_map(service).collect()),
        // What is wrong with the JSON may quote it.
        Err(_) => unreadable(),
    }
}

/// Reads the network of published ports, and who publishes through it. Who is asked that is asked the
/// nodes before.
pub(super) fn ingress(answers: &Answers<'_>, facts: &HostFacts) -> Known<Ingress> {
    match &facts.nodes {
        Known::Value(_) => {}
        Known::Absent => return Known::Absent,
        other => return Known::Unknown(other.why_unknown().unwrap_or_default().to_owned()),
    }
    let list = |name: &str| match answers.section::<Ingress>(name) {
        Ok(section) => wire::reply::<Vec<Value>>(&section.text()).map_err(|_| unreadable()),
        Err(Known::Absent) => Err(unreadable()),
        Err(other) => Err(other),
    };
    let (networks, services) = match (list("ingress"), list("published")) {
        (Ok(networks), Ok(services)) => (networks, services),
        (Err(why), _) | (_, Err(why)) => return why,
    };
    let Some(found) = networks.iter().find(|it| it["Ingress"] == true) else {
        return Known::Absent;
    };
    // The managers have not given it its addresses yet; until then its options are not told.
    if found["Driver"].as_str().is_none_or(str::is_empty) {
        return Known::Unknown("the network of published ports is being made".to_owned());
    }
    let mtu = found["Options"][OVERLAY_MTU].as_str();
    let publishes = |service: &&Value| {
        let ports = service["Endpoint"]["Spec"]["Ports"].as_array();
        let mut ports = ports.into_iter().flatten();
        ports.any(|port| port["PublishMode"] != "host")
    };
    let used_by = services.iter().filter(publishes);
    let used_by = used_by.filter_map(|it| it["Spec"]["Name"].as_str());
    Known::Value(Ingress {
        name: found["Name"].as_str().unwrap_or_default().to_owned(),
        mtu: mtu.and_then(|text| text.parse().ok()),
        used_by: used_by.map(str::to_owned).collect(),
    })
}

fn service(found: &Value) -> Option<(String, Service)> {
    let read = record::service(found)?;
    let service = Service {
        id: read.id,
        stack: read.stack,
        mode: read.mode,
        halted: record::is_halted(&found["Spec"]),
        running: found["ServiceStatus"]["RunningTasks"].as_u64(),
    };
    Some((read.name, service))
}
