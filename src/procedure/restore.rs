//! A swarm that goes on from a backup: the state of one manager is put back onto its address, a new
//! cluster is forced from it, and then everything is as in a recovery, of which the last rounds are.
//!
//! The first round makes the host ready where it has no engine. The second lets the managers that live
//! without quorum forget the old swarm, puts the state in place, and forces the new cluster; the mark of
//! a recovery is on the host before that, so that [`super::recover`] knows where to go on.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::backup::Manifest;
use crate::facts::{HostFacts, Probe};
use crate::inventory::{Host, Inventory, Role};
use crate::known::Known;
use crate::plan::swarm::wait_member;
use crate::plan::{self, BackupCall, Change, Diff, DockerCall, Outlook, Plan, Refusal, Step};
use crate::swarm::{Gathered, Swarm};

use super::recover::{self, RecoverProcedure};
use super::upgrade::version;

/// What a person wants restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreProcedure {
    /// The archive on this machine.
    pub archive: PathBuf,
    /// The SHA-256 of it.
    pub sha256: String,
    /// What it says that it holds.
    pub manifest: Manifest,
    /// The host to put it on.
    pub on: String,
    /// The managers that do not answer and will never come back with what they knew.
    pub lost: BTreeSet<String>,
    /// Whether a plan of this very run was carried out.
    pub begun: bool,
}

pub(super) fn probes() -> Vec<Probe> {
    recover::probes()
}

/// The plan of the round that comes next.
pub(super) fn plan(inventory: &Inventory, gathered: &Gathered, restore: &RestoreProcedure) -> Plan {
    let mut inventory = inventory.clone();
    for host in &mut inventory.hosts {
        host.optional |= restore.lost.contains(&host.name);
    }
    let inventory = &inventory;
    let seen = Swarm::see(inventory, gathered);
    if let Swarm::Up(up) = &seen
        && (restore.begun || recover::is_marked(gathered, up))
    {
        return recover::plan(
            inventory,
            gathered,
            &RecoverProcedure {
                lost: restore.lost.clone(),
                begun: restore.begun,
                ..RecoverProcedure::default()
            },
        );
    }
    let found = match target(inventory, gathered, &seen, restore) {
        Ok(found) => found,
        Err(refusals) => {
            return super::guarded(inventory, gathered, |plan, _| {
                plan.refusals.clone_from(&refusals);
            });
        }
    };
    if !has_engine(found.facts) {
        return prepare(inventory, gathered, found.host);
    }
    super::guarded(inventory, gathered, |plan, _| {
        put_back(plan, inventory, gathered, restore, &found);
    })
}

/// The host that is restored, and the managers that live without quorum.
struct Found<'a> {
    host: &'a Host,
    facts: &'a HostFacts,
    /// By host name and NodeID.
    living: Vec<(&'a str, String)>,
}

fn refusal(host: Option<&str>, why: impl Into<String>, hint: impl Into<String>) -> Refusal {
    Refusal {
        host: host.map(str::to_owned),
        why: why.into(),
        hint: hint.into(),
    }
}

fn has_engine(facts: &HostFacts) -> bool {
    !facts.engine.is_absent()
}

/// Looks whether the archive may be put on the host, and says all that is in the way.
fn target<'a>(
    inventory: &'a Inventory,
    gathered: &'a Gathered,
    seen: &Swarm,
    restore: &RestoreProcedure,
) -> Result<Found<'a>, Vec<Refusal>> {
    let manifest = &restore.manifest;
    let mut refusals = Vec::new();
    match seen {
        Swarm::Up(up) => {
            let (total, reachable) = up.raft();
            refusals.push(refusal(
                None,
                format!("a swarm is there, and has quorum: managers {total}, reachable {reachable}, majority {}", crate::quorum::majority(total)),
                "A backup is for a swarm that is lost: it would bring back what was, and take away what is. To restore it all the same, take this swarm apart first: `skep reset`.",
            ));
        }
        Swarm::Split { clusters } => refusals.push(refusal(
            None,
            format!(
                "the hosts are managers of {} different swarms",
                clusters.len()
            ),
            "`skep status` shows them.",
        )),
        Swarm::Down(_) | Swarm::None => {}
    }
    if manifest.cluster != inventory.cluster {
        refusals.push(refusal(
            None,
            format!(
                "the archive is of the cluster `{}`, and the inventory is of `{}`",
                manifest.cluster, inventory.cluster
            ),
            "Take the archive or the inventory of the other one.",
        ));
    }
    let Some(host) = inventory.host(&restore.on) else {
        refusals.push(refusal(
            Some(&restore.on),
            "no host of the inventory has this name",
            "`skep inventory` lists them.",
        ));
        return Err(refusals);
    };
    let name = host.name.as_str();
    if host.role != Role::Manager {
        refusals.push(refusal(
            Some(name),
            "the inventory does not say that it is a manager",
            format!(
                "A manager's state is restored onto a manager; the archive is of `{}`.",
                manifest.host
            ),
        ));
    }
    let facts = match gathered.get(name) {
        Some(Ok(facts)) => facts,
        other => {
            let why = other.and_then(|it| it.as_ref().err().cloned());
            let why = why.unwrap_or_else(|| "it was not asked".to_owned());
            refusals.push(refusal(
                Some(name),
                why,
                "Bring it up, so that skep can log in.",
            ));
            return Err(refusals);
        }
    };
    refusals.extend(address(name, facts, manifest));
    refusals.extend(engine(name, facts, manifest));
    if let Known::Value(local) = &facts.swarm
        && !local.control
        && !matches!(local.state.as_str(), "locked" | "error")
        && local.node_id != manifest.node_id
    {
        refusals.push(refusal(
            Some(name),
            format!(
                "it is node {} of a swarm, and no manager of it",
                local.node_id
            ),
            "Let it leave first: `docker swarm leave` there.",
        ));
    }
    let living = others(inventory, gathered, restore, &mut refusals);
    if refusals.is_empty() {
        return Ok(Found {
            host,
            facts,
            living,
        });
    }
    Err(refusals)
}

/// The state knows its own address, and a forced cluster keeps it whatever `--advertise-addr` says.
fn address(name: &str, facts: &HostFacts, manifest: &Manifest) -> Option<Refusal> {
    let Some(network) = facts.network.value() else {
        return Some(refusal(
            Some(name),
            "it does not tell its addresses",
            "`skep check` tells more.",
        ));
    };
    let mut own = network.interfaces.iter().flat_map(|it| &it.addresses);
    let is_there = own.any(|it| it.addr().to_string() == manifest.address);
    (!is_there).then(|| {
        refusal(
            Some(name),
            format!(
                "the archive is of a manager at {}, and this host has no such address",
                manifest.address
            ),
            "A forced cluster keeps the address that is in its state, whatever is advertised, and no node would find it elsewhere. Give the host that address, or choose the host that has it.",
        )
    })
}

fn engine(name: &str, facts: &HostFacts, manifest: &Manifest) -> Option<Refusal> {
    match &facts.engine {
        // It is installed first, and looked at then.
        Known::Absent => None,
        Known::Value(engine) => {
            // One that does not run does not tell, but its package does.
            let mut packages = ["docker.io", "docker-ce"].iter().filter_map(|package| {
                let package = facts.packages.get(*package)?.value()?;
                let version = package.version.as_str();
                Some(version.split_once(':').map_or(version, |(_, it)| it))
            });
            let Some(own) = engine.version.as_deref().or_else(|| packages.next()) else {
                return Some(refusal(
                    Some(name),
                    "the version of its engine is not known",
                    "Start the engine, or look why it does not start.",
                ));
            };
            let older = version::compare(own, &manifest.engine) == Ordering::Less;
            older.then(|| {
                refusal(
                    Some(name),
                    format!(
                        "its engine is {own}, and the archive was written by {}: an older engine may not read it",
                        manifest.engine
                    ),
                    "Upgrade the engine first (`version` of `[docker]` in the inventory), or choose an older archive.",
                )
            })
        }
        other => Some(refusal(
            Some(name),
            other.why_unknown().unwrap_or("its engine does not tell"),
            "Look at `systemctl status docker` on the host.",
        )),
    }
}

/// The managers that live without quorum; one of which nothing is known is in the way.
fn others<'a>(
    inventory: &'a Inventory,
    gathered: &Gathered,
    restore: &RestoreProcedure,
    refusals: &mut Vec<Refusal>,
) -> Vec<(&'a str, String)> {
    let mut living = Vec::new();
    for host in inventory.members().filter(|host| host.name != restore.on) {
        let name = host.name.as_str();
        let lost = restore.lost.contains(name);
        let facts = match gathered.get(name) {
            Some(Ok(facts)) => facts,
            _ if lost || host.role != Role::Manager => continue,
            _ => {
                refusals.push(refusal(
                    Some(name),
                    "it does not answer, and may well manage the swarm still",
                    format!(
                        "Bring it up; if it never comes back with what it knew: `--lost {name}`."
                    ),
                ));
                continue;
            }
        };
        if lost {
            refusals.push(refusal(
                Some(name),
                format!("`--lost {name}`: it answers"),
                "Leave it out: what it knows is looked at.",
            ));
            continue;
        }
        match &facts.swarm {
            Known::Value(local) if local.state == "locked" => refusals.push(refusal(
                Some(name),
                "it is a manager that is locked, and could come back into the old swarm",
                "Unlock it (`docker swarm unlock`), or let it forget: `docker swarm leave --force` there.",
            )),
            Known::Value(local) if local.control => living.push((name, local.node_id.clone())),
            Known::Value(_) | Known::NotProbed => {}
            Known::Absent => {
                let left = facts.leftovers.value().is_some_and(|left| left.swarm);
                let runs = facts
                    .engine
                    .value()
                    .is_some_and(|engine| engine.version.is_some());
                if left && !runs && host.role == Role::Manager {
                    refusals.push(refusal(
                        Some(name),
                        "its engine does not run, and it holds the state of a swarm",
                        "Start the engine, so that it can be told to forget; or erase that state.",
                    ));
                }
            }
            other if host.role == Role::Manager => refusals.push(refusal(
                Some(name),
                other.why_unknown().unwrap_or("it does not tell whether it is in a swarm"),
                "Start its engine, so that it can be told to forget; or erase the state of the swarm there.",
            )),
            _ => {}
        }
    }
    living
}

/// The round before all others on a machine that is new: the engine, and nothing of a swarm.
fn prepare(inventory: &Inventory, gathered: &Gathered, host: &Host) -> Plan {
    let selected = BTreeSet::from([host.name.clone()]);
    let mut plan = plan::build(inventory, gathered, &selected);
    plan.changes = without_swarm(plan.changes);
    plan.refusals
        .retain(|refusal| refusal.host.as_deref() == Some(host.name.as_str()));
    plan.warnings.retain(|it| it.starts_with(&host.name));
    plan.hosts.retain(|name, _| *name == host.name);
    if !plan.changes.is_empty() {
        plan.hosts.insert(host.name.clone(), Outlook::Later);
    }
    plan
}

/// What of a plan is done on a host that is in no swarm: the engine, and nothing that needs a swarm.
pub(crate) fn without_swarm(changes: Vec<Change>) -> Vec<Change> {
    // Each change comes after those that it needs.
    let mut left_out = BTreeSet::new();
    let mut kept = Vec::new();
    for change in changes {
        if change.resource.starts_with("swarm.") || !change.needs.is_disjoint(&left_out) {
            left_out.insert(change.id);
        } else {
            kept.push(change);
        }
    }
    kept
}

/// The round that restores.
fn put_back(
    plan: &mut Plan,
    inventory: &Inventory,
    gathered: &Gathered,
    restore: &RestoreProcedure,
    found: &Found<'_>,
) {
    let manifest = &restore.manifest;
    let name = found.host.name.as_str();
    plan.warnings.push(format!(
        "the archive is of {}, taken from {} at {}, engine {}: {} nodes, {} services, {} secrets, {} configs; what was changed later is lost",
        manifest.taken,
        manifest.host,
        manifest.address,
        manifest.engine,
        manifest.contents.nodes.len(),
        manifest.contents.services.len(),
        manifest.contents.secrets.len(),
        manifest.contents.configs.len(),
    ));
    let own = found.facts.swarm.value();
    let still = own.filter(|local| local.control && !is_placed(found.facts, restore));
    if still.is_some() || !found.living.is_empty() {
        plan.warnings.push(
            "managers live that know the swarm, without quorum: `skep recover` goes on from one of them, and keeps more than a backup does".to_owned(),
        );
    }
    let mut fences = BTreeSet::new();
    for (other, id) in &found.living {
        let fence = recover::fence(other, id);
        fences.insert(fence.id.clone());
        plan.changes.push(fence);
    }
    let id = manifest.node_id.clone();
    let managers = vec![name.to_owned()];
    let data_root = found.facts.leftovers.value().map(|it| it.data_root.clone());
    let data_root = data_root.filter(|it| !it.is_empty());
    let Some(data_root) = data_root else {
        let why = "its data root is not known".to_owned();
        plan.hosts.insert(name.to_owned(), Outlook::Unknown(why));
        return;
    };
    let placed = format!("manager {id} of {}", manifest.taken);
    let diff = vec![Diff::Value {
        name: "swarm".to_owned(),
        old: own.map(|local| format!("node {}, {}", local.node_id, local.state)),
        new: Some(placed),
    }];
    let steps = vec![
        Step::Backup(BackupCall::Bring {
            archive: restore.archive.clone(),
            sha256: restore.sha256.clone(),
        }),
        Step::Backup(BackupCall::Place {
            data_root,
            sha256: restore.sha256.clone(),
        }),
        Step::Backup(BackupCall::Wake { id: id.clone() }),
        Step::Backup(BackupCall::Tidy),
        recover::mark(&id, recover::PRUNE),
        Step::Docker(DockerCall::SwarmForce {
            id,
            advertise: manifest.address.clone(),
            data_path: found.host.advertise.data_path.clone(),
            autolock: inventory.swarm.autolock.unwrap_or(manifest.locked),
        }),
        wait_member(Role::Manager, &managers),
    ];
    let mut change = recover::change(
        name,
        "swarm.restore",
        "put the state of the backup in place, and force a new cluster of this manager alone",
        diff,
        steps,
    );
    change.needs = fences;
    let after = BTreeSet::from([change.id.clone()]);
    plan.changes.push(change);
    for worker in workers(inventory, gathered, manifest) {
        plan.changes
            .push(recover::wait_return(worker, &managers, &after));
    }
    recover::go_on(plan, inventory, gathered);
}

/// The workers that answer, and that the backup knows.
fn workers<'a>(
    inventory: &'a Inventory,
    gathered: &'a Gathered,
    manifest: &'a Manifest,
) -> impl Iterator<Item = &'a str> {
    let members = inventory.members().map(|host| host.name.as_str());
    members.filter(|name| {
        let facts = gathered.get(*name).and_then(|facts| facts.as_ref().ok());
        let local = facts.and_then(|facts| facts.swarm.value());
        local.is_some_and(|local| {
            !local.control
                && local.state == "active"
                && manifest.contents.nodes.contains(&local.node_id)
        })
    })
}

/// Whether an earlier run has put the state in place.
fn is_placed(facts: &HostFacts, restore: &RestoreProcedure) -> bool {
    let local = facts.swarm.value();
    local.is_some_and(|local| local.node_id == restore.manifest.node_id)
}
