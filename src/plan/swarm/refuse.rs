//! What keeps a plan of membership from being run, and what a person should know of it.

use std::collections::BTreeMap;

use crate::inventory::{Host, Role};
use crate::plan::{Outlook, Refusal};
use crate::quorum;
use crate::swarm::{Down, Up};

use super::Work;

impl Work<'_> {
    pub(super) fn refuse(&mut self, host: &Host, why: String, hint: &str) {
        self.plan.refusals.push(Refusal {
            host: Some(host.name.clone()),
            why,
            hint: hint.to_owned(),
        });
    }

    /// Refuses a swarm that only hosts manage which should be workers: a new worker that happens
    /// to have a swarm of its own must not draw the whole cluster into it.
    pub(super) fn refuse_unwanted_managers(&mut self, up: &Up) -> bool {
        let wanted = |name: &String| {
            let host = self.inventory.host(name);
            host.is_some_and(|host| host.role == Role::Manager)
        };
        let known = self
            .inventory
            .managers()
            .any(|host| up.node_of(&host.name).is_some());
        if known || up.managers.iter().any(wanted) {
            return false;
        }
        let managers = up.managers.join(", ");
        self.plan.refusals.push(Refusal {
            host: up.managers.first().cloned(),
            why: format!(
                "the only swarm there is is managed by {managers}, and the inventory wants no manager there"
            ),
            hint: format!(
                "If that is the swarm that you mean, keep `role = \"manager\"` for {managers} until the others have joined; if not, run `docker swarm leave --force` there yourself."
            ),
        });
        true
    }

    pub(super) fn refuse_foreign(&mut self, host: &Host, id: &str, managers: &[String], up: &Up) {
        let why = if up.is_managed_at(managers) {
            format!("it is node {id}, which this swarm does not list: it was removed from it")
        } else {
            let managers = managers.join(", ");
            format!("it is node {id} of another swarm, whose managers are {managers}")
        };
        self.refuse(
            host,
            why,
            "If that membership is of no use any more, run `docker swarm leave` on the host yourself (`--force` on a former manager); skep never leaves a swarm by itself.",
        );
    }

    /// Refuses to let a manager in whose former self is still counted in raft: it would be counted
    /// twice, and the swarm can lose its quorum over it (moby#34722).
    pub(super) fn refuse_ghost(&mut self, host: &Host, up: &Up) -> bool {
        if host.role != Role::Manager {
            return false;
        }
        let address = self.advertise_of(host).ok();
        let ghost = up.nodes_of_nobody().find(|node| {
            let named = node.hostname.eq_ignore_ascii_case(&host.name);
            let placed = address.as_deref() == Some(node.address.as_str());
            node.manager.is_some() && (named || placed)
        });
        let Some(ghost) = ghost.filter(|ghost| !self.buried.contains_key(&ghost.id)) else {
            return false;
        };
        self.plan.refusals.push(Refusal {
            host: Some(host.name.clone()),
            why: format!(
                "it is not in raft, but node {} with the host name `{}` at {} is still a manager in raft: it looks as if the host was installed anew",
                ghost.id, ghost.hostname, ghost.address
            ),
            hint: format!(
                "Take the former self out first: `skep node remove {}`, or `skep up --prune`.",
                ghost.id
            ),
        });
        true
    }

    pub(super) fn refuse_down(&mut self, down: &Down) {
        let evidence: Vec<String> = down
            .evidence
            .iter()
            .map(|(host, what)| format!("{host}: {what}"))
            .collect();
        if down.exists {
            self.plan.refusals.push(Refusal {
                host: None,
                why: format!(
                    "there is a swarm, and no manager with quorum answers ({})",
                    evidence.join("; ")
                ),
                hint: "Bring the managers back first; a second swarm is never made beside one that may return. `skep status` shows who is missing. If a majority is lost for good, `skep recover` goes on from one that lives.".to_owned(),
            });
            return;
        }
        // Without a sign of a swarm the engines can be put in place; only the init has to wait.
        self.restart_outside();
        self.plan.warnings.push(format!(
            "no swarm is made, because {} may hold one and did not tell ({})",
            down.silent.join(", "),
            evidence.join("; ")
        ));
        let why = format!(
            "it waits for a swarm, and {} did not tell",
            down.silent.join(", ")
        );
        self.wait_for_a_swarm(&why);
    }

    /// Says of the members with nothing else to do that they are not as wanted: they are in no
    /// swarm, and none is made now.
    pub(super) fn wait_for_a_swarm(&mut self, why: &str) {
        for host in self.inventory.members() {
            let waits = self.plan.hosts.get(&host.name) == Some(&Outlook::Same);
            let idle = self
                .chains
                .get(&host.name)
                .is_some_and(|chain| chain.last.is_none());
            if waits && idle {
                let outlook = Outlook::Unknown(why.to_owned());
                self.plan.hosts.insert(host.name.clone(), outlook);
            }
        }
    }

    pub(super) fn refuse_split(&mut self, clusters: &BTreeMap<String, Vec<String>>) {
        let swarms: Vec<String> = clusters
            .iter()
            .map(|(id, hosts)| format!("{} manage {id}", hosts.join(", ")))
            .collect();
        self.plan.refusals.push(Refusal {
            host: None,
            why: format!(
                "the hosts are managers of {} different swarms: {}",
                clusters.len(),
                swarms.join("; ")
            ),
            hint: "Decide which one is to live; the hosts of the other must leave it by hand."
                .to_owned(),
        });
    }

    /// Says where the managers that this plan `adds` to `total` come to an even number: a warning,
    /// never a refusal, because every way from one odd number to the next leads over an even one.
    pub(super) fn warn_of_even(&mut self, total: usize, adds: impl Fn(&&Host) -> bool) {
        let managers = self.inventory.managers().filter(adds);
        let added = managers.filter(|host| self.chains.contains_key(&host.name));
        let after = total + added.count();
        if after.is_multiple_of(2) && !self.inventory.swarm.allow_even_managers {
            self.plan.warnings.push(format!(
                "after this plan the swarm has an even number of managers, which bears no more losses than one fewer ({})",
                quorum::describe(after)
            ));
        }
    }
}
