//! Taking away what was made in a cloud: only what carries the cluster's mark.

use std::collections::BTreeSet;

use crate::openstack::model::Cluster;
use crate::openstack::{Kind, Survey};

use super::super::step::{CloudCall, Step};
use super::super::{Change, ChangeId, Lane, Plan, Risk};
use super::{WHOLE, value};

/// How long a server may take to be gone, in seconds. The cloud gives a guest up to 60 s to stop.
pub(super) const GONE_SECONDS: u32 = 300;

/// Removes everything of the cluster; its volumes only where `volumes` says so.
pub fn destroy(cluster: &str, survey: &Survey, volumes: bool) -> Plan {
    let mut plan = Plan {
        cluster: cluster.to_owned(),
        ..Plan::default()
    };
    let addresses: Vec<ChangeId> = survey
        .floating_ips
        .iter()
        .map(|ip| {
            let name = ip.address.to_string();
            remove(
                &mut plan,
                &ip.description,
                Kind::FloatingIp,
                &ip.id,
                &name,
                &BTreeSet::new(),
            )
        })
        .collect();
    let mut before: BTreeSet<ChangeId> = addresses.into_iter().collect();
    let servers = survey.servers.iter();
    let servers: Vec<ChangeId> = servers
        .map(|it| remove(&mut plan, &it.name, Kind::Server, &it.id, &it.name, &before))
        .collect();
    before.extend(servers);
    let ports = survey.ports.iter();
    let ports: Vec<ChangeId> = ports
        .map(|it| {
            let host = it.name.split(' ').next().unwrap_or(WHOLE);
            remove(&mut plan, host, Kind::Port, &it.id, &it.name, &before)
        })
        .collect();
    if volumes {
        for it in &survey.volumes {
            let host = it.name.split(' ').next().unwrap_or(WHOLE);
            remove(&mut plan, host, Kind::Volume, &it.id, &it.name, &before);
        }
    }
    for it in &survey.server_groups {
        remove(
            &mut plan,
            WHOLE,
            Kind::ServerGroup,
            &it.id,
            &it.name,
            &before,
        );
    }
    let names = Cluster(cluster.to_owned());
    for it in &survey.keypairs {
        if names.within(&it.name).is_some() {
            remove(&mut plan, WHOLE, Kind::Keypair, &it.name, &it.name, &before);
        }
    }
    before.extend(ports);
    // A group whose rules name another group keeps that from being removed: the rules go first.
    let rules: BTreeSet<ChangeId> = survey
        .security_groups
        .iter()
        .filter_map(|group| rules(&mut plan, group, &before))
        .collect();
    before.extend(rules);
    for it in &survey.security_groups {
        remove(
            &mut plan,
            WHOLE,
            Kind::SecurityGroup,
            &it.id,
            &it.name,
            &before,
        );
    }
    plan
}

/// Removes one server that is no host any more, or has left its swarm, with its floating IP and its
/// ports. Its volumes stay.
pub fn gone(cluster: &str, survey: &Survey, host: &str) -> Plan {
    let of = |name: &str| {
        name == host
            || name
                .strip_prefix(host)
                .is_some_and(|it| it.starts_with(' '))
    };
    let part = Survey {
        servers: survey
            .servers
            .iter()
            .filter(|it| it.name == host)
            .cloned()
            .collect(),
        ports: survey
            .ports
            .iter()
            .filter(|it| of(&it.name))
            .cloned()
            .collect(),
        floating_ips: survey
            .floating_ips
            .iter()
            .filter(|it| it.description == host)
            .cloned()
            .collect(),
        ..Survey::default()
    };
    destroy(cluster, &part, false)
}

/// What is left of a cluster: a line for each thing.
pub fn left(survey: &Survey) -> Vec<String> {
    let mut left = Vec::new();
    let mut add = |kind: Kind, name: &str, id: &str| left.push(format!("{kind} `{name}` ({id})"));
    survey
        .servers
        .iter()
        .for_each(|it| add(Kind::Server, &it.name, &it.id));
    survey
        .ports
        .iter()
        .for_each(|it| add(Kind::Port, &it.name, &it.id));
    for it in &survey.floating_ips {
        add(Kind::FloatingIp, &it.address.to_string(), &it.id);
    }
    for it in &survey.volumes {
        let size = format!("{} of {} GiB", it.name, it.size);
        add(Kind::Volume, &size, &it.id);
    }
    survey
        .server_groups
        .iter()
        .for_each(|it| add(Kind::ServerGroup, &it.name, &it.id));
    survey
        .keypairs
        .iter()
        .for_each(|it| add(Kind::Keypair, &it.name, &it.name));
    survey
        .security_groups
        .iter()
        .for_each(|it| add(Kind::SecurityGroup, &it.name, &it.id));
    left
}

/// The images of a cluster, which stay: a line for each.
pub fn images(cluster: &str, survey: &Survey) -> Vec<String> {
    let images = survey.images.iter().filter(|it| it.is_of(cluster));
    images
        .map(|it| format!("{} `{}` ({})", Kind::Image, it.name, it.id))
        .collect()
}

fn rules(
    plan: &mut Plan,
    group: &crate::openstack::model::SecurityGroup,
    before: &BTreeSet<ChangeId>,
) -> Option<ChangeId> {
    let others = group.rules.iter();
    let others = others.filter(
        |rule| matches!(&rule.peer, crate::openstack::model::Peer::Group(id) if *id != group.id),
    );
    let steps: Vec<Step> = others
        .map(|rule| {
            Step::Cloud(CloudCall::Delete {
                kind: Kind::SecurityRule,
                id: rule.id.clone(),
                name: rule.description.clone(),
            })
        })
        .collect();
    if steps.is_empty() {
        return None;
    }
    let id = ChangeId::new(WHOLE, &format!("cloud.security-rules/{}", group.id));
    plan.changes.push(Change {
        id: id.clone(),
        host: WHOLE.to_owned(),
        resource: "cloud.security-rules".to_owned(),
        summary: format!(
            "remove the rules of `{}` that name other groups",
            group.name
        ),
        diff: vec![value("rules", Some(steps.len().to_string()), None)],
        steps,
        risk: Risk::Safe,
        lane: Some(Lane::Cloud),
        needs: before.clone(),
        follows: BTreeSet::new(),
    });
    Some(id)
}

fn remove(
    plan: &mut Plan,
    host: &str,
    kind: Kind,
    id: &str,
    name: &str,
    before: &BTreeSet<ChangeId>,
) -> ChangeId {
    let host = if host.is_empty() { WHOLE } else { host };
    let word = kind.to_string().replace(' ', "-").to_lowercase();
    let change = ChangeId::new(host, &format!("cloud.{word}/{id}"));
    let mut steps = vec![Step::Cloud(CloudCall::Delete {
        kind,
        id: id.to_owned(),
        name: name.to_owned(),
    })];
    if kind == Kind::Server {
        steps.push(Step::Cloud(CloudCall::WaitGone {
            id: id.to_owned(),
            deadline: GONE_SECONDS,
        }));
    }
    let destroys = matches!(kind, Kind::Server | Kind::Volume);
    plan.changes.push(Change {
        id: change.clone(),
        host: host.to_owned(),
        resource: format!("cloud.{word}"),
        summary: format!("remove the {kind} `{name}`"),
        diff: vec![value(&kind.to_string(), Some(id.to_owned()), None)],
        steps,
        risk: if destroys {
            Risk::Destructive
        } else {
            Risk::Safe
        },
        lane: Some(Lane::Cloud),
        needs: before.clone(),
        follows: BTreeSet::new(),
    });
    change
}
