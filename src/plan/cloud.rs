//! From the servers that an inventory wants and what a cloud has to the changes between them.
//!
//! Everything goes by the cluster's mark and by names, so that what an interrupted run left is found
//! and used. A server is never rebuilt and never removed here: what differs is told.

mod destroy;
mod firewall;
mod given;
mod known;
mod prune;
mod servers;
mod user_data;

use std::collections::{BTreeMap, BTreeSet};

use crate::inventory::{Inventory, OpenStack};
use crate::openstack::model::Cluster;
use crate::openstack::{Kind, Survey};

use super::step::{CloudCall, Step};
use super::{Change, ChangeId, Diff, Lane, Plan, Refusal, Risk};

pub use destroy::{destroy, gone, images, left};
pub use known::{Known, known, learn};
pub use prune::{holds, prune};
pub use user_data::{HOST_KEY, HostKey, UserData};

/// Where changes stand that are for the cluster as a whole. No host can be called so.
pub const WHOLE: &str = "(cloud)";

/// How long a server may take from its request to running, in seconds. Real clouds take 10 to 60 s;
/// one that copies a large image to a machine for the first time takes minutes.
pub const BOOT_SECONDS: u32 = 600;

/// What the servers of `selected` need in the cloud.
pub fn build(inventory: &Inventory, survey: &Survey, selected: &BTreeSet<String>) -> Plan {
    let mut plan = Plan {
        cluster: inventory.cluster.clone(),
        ..Plan::default()
    };
    let Some(settings) = &inventory.openstack else {
        return plan;
    };
    let mut made = Made {
        names: Cluster(inventory.cluster.clone()),
        survey,
        settings,
        inventory,
        plan: &mut plan,
        faults: BTreeMap::new(),
    };
    let firewall = firewall::plan(&mut made);
    let keypair = made.keypair();
    servers::plan(&mut made, selected, &firewall, keypair.as_ref());
    let faults = std::mem::take(&mut made.faults);
    for ((why, hint), hosts) in faults {
        let one = match &hosts[..] {
            [one] => Some(one.clone()),
            _ => None,
        };
        let why = match one {
            Some(_) => why,
            None => format!("{}: {why}", hosts.join(", ")),
        };
        plan.refusals.push(Refusal {
            host: one,
            why,
            hint,
        });
    }
    for server in prune::strangers(inventory, survey) {
        plan.warnings.push(format!(
            "the server `{}` ({}) is no host of the inventory: `skep up --prune` removes such servers, when they have left the swarm",
            server.name, server.id
        ));
    }
    plan
}

/// A plan that is being made.
struct Made<'a> {
    names: Cluster,
    survey: &'a Survey,
    settings: &'a OpenStack,
    inventory: &'a Inventory,
    plan: &'a mut Plan,
    /// What cannot be had, with the hosts that want it.
    faults: BTreeMap<(String, String), Vec<String>>,
}

impl Made<'_> {
    fn fault(&mut self, host: &str, why: impl Into<String>, hint: impl Into<String>) {
        let hosts = self.faults.entry((why.into(), hint.into())).or_default();
        if !hosts.iter().any(|it| it == host) {
            hosts.push(host.to_owned());
        }
    }

    /// The keypair of new servers: its whole name, and the change that makes it.
    fn keypair(&mut self) -> Option<(String, Option<ChangeId>)> {
        if let Some(name) = &self.settings.keypair {
            if !self.survey.given.keypairs.contains(name) {
                let why = format!("the cloud has no keypair `{name}`");
                self.fault(
                    WHOLE,
                    why,
                    "Correct `keypair` under `[openstack]`, or set `public-key` to have one made.",
                );
            }
            return Some((name.clone(), None));
        }
        let public_key = self.settings.public_key_text.clone()?;
        let name = self.names.name_of("login");
        let found = self.survey.keypairs.iter().find(|it| it.name == name);
        let same = |text: &str| words(text) == words(&public_key);
        if found.is_some_and(|it| same(&it.public_key)) {
            return Some((name, None));
        }
        let mut steps = Vec::new();
        if found.is_some() {
            steps.push(Step::Cloud(CloudCall::Delete {
                kind: Kind::Keypair,
                id: name.clone(),
                name: name.clone(),
            }));
        }
        steps.push(Step::Cloud(CloudCall::Keypair {
            name: name.clone(),
            public_key: public_key.clone(),
        }));
        let id = self.change(
            WHOLE,
            "cloud.keypair",
            "bring the public key of the login user",
            vec![value(
                "keypair",
                found.map(|it| short(&it.public_key)),
                Some(short(&public_key)),
            )],
            steps,
            [],
        );
        Some((name, Some(id)))
    }

    fn change(
        &mut self,
        host: &str,
        resource: &str,
        summary: &str,
        diff: Vec<Diff>,
        steps: Vec<Step>,
        needs: impl IntoIterator<Item = ChangeId>,
    ) -> ChangeId {
        let id = ChangeId::new(host, resource);
        self.plan.changes.push(Change {
            id: id.clone(),
            host: host.to_owned(),
            resource: resource.split('/').next().unwrap_or(resource).to_owned(),
            summary: summary.to_owned(),
            diff,
            steps,
            risk: Risk::Safe,
            lane: Some(Lane::Cloud),
            needs: needs.into_iter().collect(),
            follows: BTreeSet::new(),
        });
        id
    }
}

/// The type and the key itself: the comment may be any.
fn words(key: &str) -> Vec<&str> {
    key.split_whitespace().take(2).collect()
}

/// A key as it is shown.
fn short(key: &str) -> String {
    let mut parts = key.split_whitespace();
    let kind = parts.next().unwrap_or_default();
    match parts.nth(1) {
        Some(comment) => format!("{kind} ({comment})"),
        None => kind.to_owned(),
    }
}

fn value(name: &str, old: Option<String>, new: Option<String>) -> Diff {
    Diff::Value {
        name: name.to_owned(),
        old,
        new,
    }
}

#[cfg(test)]
mod tests;
