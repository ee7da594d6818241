//! What the swarm knows of a node, and the settings of the swarm itself.

use std::collections::{BTreeMap, BTreeSet};

use crate::facts::Node;
use crate::inventory::{Availability, Host, Role};
use crate::plan::{Diff, DockerCall, Lane, Risk, Step};
use crate::resource::Draft;
use crate::swarm::Up;

use super::{Work, promotion, wait_member};
use crate::plan::step::availability_name;

impl<'a> Work<'a> {
    /// Labels and availability of a node that is about to be made.
    pub(super) fn describe_new(&mut self, host: &'a Host, managers: &[String]) {
        let availability = host
            .availability
            .filter(|want| *want != Availability::Active);
        self.describe(host, managers, None, availability, &host.labels, None);
    }

    pub(super) fn member(&mut self, host: &'a Host, up: &Up) {
        let Some(node) = up.node_of(&host.name) else {
            return;
        };
        // A demotion that still goes on is taken back by a promotion.
        let promote = host.role == Role::Manager
            && node.role != Role::Manager
            && !self.waits_for_engine(host, up);
        if promote && node.manager.is_none() && self.refuse_ghost(host, up) {
            return;
        }
        let promote = promote.then(|| match self.gathered.get(&host.name) {
            Some(Ok(facts)) => promotion::steps_before(facts, node, up, &up.managers),
            _ => Vec::new(),
        });
        let availability = host.availability.filter(|want| *want != node.availability);
        let labels: BTreeMap<String, String> = host
            .labels
            .iter()
            .filter(|(key, value)| node.labels.get(*key) != Some(value))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        self.describe(
            host,
            &up.managers,
            promote,
            availability,
            &labels,
            Some(node),
        );
    }

    /// Changes a node; `promote` is what comes before a promotion, where it is promoted.
    fn describe(
        &mut self,
        host: &'a Host,
        managers: &[String],
        promote: Option<Vec<Step>>,
        availability: Option<Availability>,
        labels: &BTreeMap<String, String>,
        old: Option<&Node>,
    ) {
        let role = promote.as_ref().map(|_| Role::Manager);
        if role.is_none() && availability.is_none() && labels.is_empty() {
            return;
        }
        let mut diff = Vec::new();
        let mut what = Vec::new();
        let mut value = |name: String, old: Option<String>, new: String| {
            diff.push(Diff::Value {
                name,
                old,
                new: Some(new),
            });
        };
        if role.is_some() {
            value(
                "role".to_owned(),
                Some("worker".to_owned()),
                "manager".to_owned(),
            );
            what.push("promote to manager".to_owned());
        }
        if let Some(availability) = availability {
            let name = availability_name(availability);
            let old = old.map(|node| availability_name(node.availability).to_owned());
            value("availability".to_owned(), old, name.to_owned());
            what.push(format!("set availability to {name}"));
        }
        for (key, new) in labels {
            let old = old.and_then(|node| node.labels.get(key)).cloned();
            value(format!("label {key}"), old, new.clone());
        }
        if !labels.is_empty() {
            let pairs: Vec<String> = labels
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            what.push(format!("label {}", pairs.join(" ")));
        }
        let mut steps = promote.unwrap_or_default();
        let risk = promotion::risk(&steps);
        steps.push(Step::Docker(DockerCall::NodeUpdate {
            managers: managers.to_vec(),
            id: None,
            role,
            availability,
            labels: labels.clone(),
            unlabel: BTreeSet::new(),
        }));
        if role.is_some() {
            steps.push(wait_member(Role::Manager, managers));
        }
        let mut draft = Draft::safe(what.join(", "), diff, steps);
        draft.risk = risk;
        if availability == Some(Availability::Drain) {
            draft.risk = Risk::Disruptive;
        }
        self.push(host, "swarm.node", draft, role.map(|_| Lane::Raft), None);
    }

    pub(super) fn settings(&mut self, up: &Up) {
        let wanted = &self.inventory.swarm;
        let now = &up.settings;
        self.warn_of_fixed(up);
        let mut diff = Vec::new();
        let mut value = |name: &str, old: String, new: String| {
            let differs = old != new;
            if differs {
                diff.push(Diff::Value {
                    name: name.to_owned(),
                    old: Some(old),
                    new: Some(new),
                });
            }
            differs
        };
        let autolock = wanted
            .autolock
            .filter(|new| value("autolock", now.autolock.to_string(), new.to_string()));
        let cert_expiry_days = wanted.cert_expiry_days.filter(|new| {
            let days = now.cert_expiry_seconds / (24 * 3600);
            value("cert-expiry", format!("{days} days"), format!("{new} days"))
        });
        let task_history = wanted.task_history.filter(|new| {
            value(
                "task-history",
                now.task_history.to_string(),
                new.to_string(),
            )
        });
        if diff.is_empty() {
            return;
        }
        if autolock == Some(true) {
            self.warn_of_unlock_key();
        }
        let inventory = self.inventory;
        let on = up
            .managers
            .iter()
            .find(|host| self.chains.contains_key(*host));
        let Some(host) = on.and_then(|name| inventory.host(name)) else {
            self.plan.warnings.push(
                "the swarm's settings differ, and no manager is part of this plan".to_owned(),
            );
            return;
        };
        let draft = Draft::safe(
            "change the swarm's settings",
            diff,
            vec![Step::Docker(DockerCall::SwarmUpdate {
                autolock,
                cert_expiry_days,
                task_history,
            })],
        );
        self.push(host, "swarm.settings", draft, Some(Lane::Raft), None);
    }

    pub(super) fn warn_of_unlock_key(&mut self) {
        self.plan.warnings.push(
            "with autolock a manager needs the unlock key after each restart: `skep unlock-key --save FILE` saves it; keep it outside the cluster".to_owned(),
        );
    }

    /// Says where a setting that is fixed at init for ever is not the one asked for.
    pub(super) fn warn_of_fixed(&mut self, up: &Up) {
        let wanted = &self.inventory.swarm;
        let now = &up.settings;
        let mut fixed = Vec::new();
        if !wanted.default_addr_pool.is_empty() && wanted.default_addr_pool != now.default_addr_pool
        {
            fixed.push("default-addr-pool");
        }
        if wanted.subnet_size.is_some_and(|new| new != now.subnet_size) {
            fixed.push("subnet-size");
        }
        if wanted
            .data_path_port
            .is_some_and(|new| new != now.data_path_port)
        {
            fixed.push("data-path-port");
        }
        for name in fixed {
            self.plan.warnings.push(format!(
                "`{name}` of the inventory differs from the swarm's, which was fixed when it was made"
            ));
        }
    }
}
