//! Guards of what is done in a cloud: the quota, and that nothing is removed which is not the
//! cluster's.

use std::collections::BTreeSet;

use crate::inventory::Inventory;
use crate::inventory::openstack::Image as Wanted;
use crate::openstack::model::{Allowance, Image, ServerStatus};
use crate::openstack::{Kind, Survey};
use crate::plan::{CloudCall, Plan, Refusal, Step};

/// All reasons not to run `plan` in the cloud that `survey` tells of. Only a plan that `destroys` may
/// remove servers that ran, and volumes.
pub fn check(plan: &Plan, survey: &Survey, destroys: bool) -> Vec<Refusal> {
    let mut refusals = quota(plan, survey);
    refusals.extend(removals(plan, survey, destroys));
    refusals
}

/// A host that the inventory makes of `image`: without it, no new server of that host could be made.
pub fn boots_from<'a>(inventory: &'a Inventory, image: &Image) -> Option<&'a str> {
    let is_it = |wanted: &Wanted| match wanted {
        Wanted::Named(name) => *name == image.name || *name == image.id,
        Wanted::With(_) => false,
    };
    let mut hosts = inventory.hosts.iter();
    let host = hosts.find(|host| host.server.as_ref().is_some_and(|it| is_it(&it.image)))?;
    Some(&host.name)
}

fn calls(plan: &Plan) -> impl Iterator<Item = (&str, &CloudCall)> {
    plan.changes.iter().flat_map(|change| {
        change.acts().filter_map(|step| match step {
            Step::Cloud(call) => Some((change.host.as_str(), call)),
            _ => None,
        })
    })
}

/// What the plan takes of the project's quota. Servers that take the place of failed ones count too:
/// the cloud counts those until they are gone.
fn quota(plan: &Plan, survey: &Survey) -> Vec<Refusal> {
    let limits = &survey.limits;
    let (mut servers, mut vcpus, mut ram) = (0, 0, 0);
    let (mut ports, mut addresses, mut groups, mut rules) = (0, 0, 0, 0);
    let (mut volumes, mut gib, mut server_groups, mut largest) = (0, 0, 0, 0);
    for (_, call) in calls(plan) {
        match call {
            CloudCall::Server(server) => {
                servers += 1;
                if let Some(flavor) = survey.flavors.iter().find(|it| it.id == server.flavor) {
                    vcpus += flavor.vcpus;
                    ram += flavor.ram;
                }
                if let Some(volume) = &server.boot_volume {
                    volumes += 1;
                    gib += volume.size;
                    largest = largest.max(volume.size);
                }
            }
            CloudCall::Port { .. } => ports += 1,
            CloudCall::FloatingIp { host, .. } => {
                let there = survey.floating_ips.iter().any(|it| it.description == *host);
                addresses += u64::from(!there);
            }
            CloudCall::SecurityGroup { .. } => {
                groups += 1;
                // The cloud's own, which let everything out.
                rules += 2;
            }
            CloudCall::Rule { .. } => rules += 1,
            CloudCall::Volume { gib: size, .. } => {
                volumes += 1;
                gib += u64::from(*size);
                largest = largest.max(u64::from(*size));
            }
            CloudCall::Extend { id, gib: size, .. } => {
                let old = survey.volumes.iter().find(|it| it.id == *id);
                gib += u64::from(*size).saturating_sub(old.map_or(0, |it| it.size));
                largest = largest.max(u64::from(*size));
            }
            CloudCall::ServerGroup { .. } => server_groups += 1,
            _ => {}
        }
    }
    let wanted: [(&str, u64, Allowance); 11] = [
        ("servers", servers, limits.servers),
        ("virtual processors", vcpus, limits.vcpus),
        ("MiB of memory", ram, limits.ram),
        ("ports", ports, limits.ports),
        ("floating IPs", addresses, limits.floating_ips),
        ("security groups", groups, limits.security_groups),
        ("security-group rules", rules, limits.security_rules),
        ("volumes", volumes, limits.volumes),
        ("GiB of volumes", gib, limits.gigabytes),
        ("GiB for one volume", largest, limits.gigabytes_of_one),
        ("server groups", server_groups, limits.server_groups),
    ];
    let refusals = wanted.into_iter().filter_map(|(what, more, allowance)| {
        let left = allowance.left()?;
        (more > left).then(|| Refusal {
            host: None,
            why: format!(
                "the plan needs {more} more {what}, and the project may have {left}: {} of {} are in use",
                allowance.used,
                allowance.limit.unwrap_or(left)
            ),
            hint: "Make it smaller, or ask the cloud's operator for a larger quota (`openstack quota show --usage`).".to_owned(),
        })
    });
    refusals.collect()
}

/// Nothing is removed that does not carry the cluster's mark: the lists of a survey hold nothing else.
fn removals(plan: &Plan, survey: &Survey, destroys: bool) -> Vec<Refusal> {
    let ours: BTreeSet<(Kind, &str)> = survey
        .servers
        .iter()
        .map(|it| (Kind::Server, it.id.as_str()))
        .chain(survey.ports.iter().map(|it| (Kind::Port, it.id.as_str())))
        .chain(
            survey
                .floating_ips
                .iter()
                .map(|it| (Kind::FloatingIp, it.id.as_str())),
        )
        .chain(
            survey
                .volumes
                .iter()
                .map(|it| (Kind::Volume, it.id.as_str())),
        )
        .chain(
            survey
                .security_groups
                .iter()
                .map(|it| (Kind::SecurityGroup, it.id.as_str())),
        )
        .chain(survey.security_groups.iter().flat_map(|group| {
            group
                .rules
                .iter()
                .map(|it| (Kind::SecurityRule, it.id.as_str()))
        }))
        .chain(
            survey
                .keypairs
                .iter()
                .map(|it| (Kind::Keypair, it.name.as_str())),
        )
        .chain(
            survey
                .server_groups
                .iter()
                .map(|it| (Kind::ServerGroup, it.id.as_str())),
        )
        .collect();
    let holds_nothing = |id: &str| {
        let server = survey.servers.iter().find(|it| it.id == id);
        server.is_some_and(|it| it.status == ServerStatus::Error && it.zone.is_none())
    };
    let mut refusals = Vec::new();
    for (host, call) in calls(plan) {
        let CloudCall::Delete { kind, id, name } = call else {
            continue;
        };
        if !ours.contains(&(*kind, id.as_str())) {
            let why = format!("the plan removes the {kind} `{name}`, which is not this cluster's");
            refusals.push(Refusal::mistake(Some(host), why));
        }
        let data = match kind {
            Kind::Server => !holds_nothing(id),
            Kind::Volume => true,
            _ => false,
        };
        if data && !destroys {
            let why = format!("the plan removes the {kind} `{name}`, which may hold data");
            refusals.push(Refusal::mistake(Some(host), why));
        }
    }
    refusals
}
