//! Switches hosts on and off.

use std::collections::BTreeSet;

use crate::execute::{Outcome, Report};
use crate::facts::HostFacts;
use crate::inventory::{Availability, Host, Inventory};
use crate::plan::{
    Change, ChangeId, Condition, Diff, Outlook, Plan, PowerCall, PowerWay, Refusal, Risk, Step,
};
use crate::swarm::{Gathered, Swarm};

/// The resource of a machine's power.
pub(super) const RESOURCE: &str = "power";

/// How long a machine may take to shut down, in seconds: a unit that does not stop takes 90.
const DOWN_SECONDS: u32 = 300;

/// What is done to the power of hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerAct {
    /// Switch them on, and wait until they let us log in.
    On {
        /// How long that may take, in seconds.
        wait: u32,
    },
    /// Shut them down from within.
    ShutDown,
    /// Take their power away, whatever they do.
    Cut,
}

/// Hosts that are switched on or off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PowerProcedure {
    /// What is done.
    pub act: PowerAct,
    /// The hosts for which this run has done it: one that is off gives no answer any more.
    pub done: BTreeSet<String>,
}

impl PowerProcedure {
    /// Nothing is done yet.
    pub fn new(act: PowerAct) -> Self {
        Self {
            act,
            done: BTreeSet::new(),
        }
    }

    /// Takes note of what was done.
    pub(super) fn done(&mut self, report: &Report) {
        for (id, outcome) in &report.outcomes {
            if let (Outcome::Done, Some((host, RESOURCE))) = (outcome, id.0.split_once('/')) {
                self.done.insert(host.to_owned());
            }
        }
    }
}

/// Adds what switches the `selected` hosts.
pub(super) fn plan(
    plan: &mut Plan,
    inventory: &Inventory,
    gathered: &Gathered,
    seen: &Swarm,
    selected: &BTreeSet<String>,
    power: &PowerProcedure,
) {
    let hosts = inventory.hosts.iter();
    for host in hosts.filter(|host| selected.contains(&host.name)) {
        let facts = gathered.get(&host.name);
        let answer = facts.map_or(Err("it was not asked"), |it| {
            it.as_ref().map_err(String::as_str)
        });
        let outlook = match (power.act, answer) {
            _ if power.done.contains(&host.name) => Outlook::Same,
            (PowerAct::On { .. }, Ok(_)) => Outlook::Same,
            (PowerAct::On { wait }, Err(why)) => {
                plan.changes.push(switch_on(host, why, wait));
                Outlook::Changes
            }
            (PowerAct::ShutDown, Ok(facts)) => {
                warn(plan, host, facts, seen);
                let step = Step::Power(PowerCall::ShutDown {
                    deadline: DOWN_SECONDS,
                });
                plan.changes
                    .push(change(host, "shut down", "off", vec![step]));
                Outlook::Changes
            }
            (PowerAct::ShutDown, Err(why)) => {
                let why = format!("whether it is off is not known: {why}");
                Outlook::Unknown(why)
            }
            (PowerAct::Cut, answer) => cut(plan, host, answer.ok(), seen),
        };
        plan.hosts.insert(host.name.clone(), outlook);
    }
}

fn cut(plan: &mut Plan, host: &Host, facts: Option<&HostFacts>, seen: &Swarm) -> Outlook {
    let way = PowerWay::of(host);
    if !way.cuts() {
        plan.refusals.push(Refusal {
            host: Some(host.name.clone()),
            why: format!("nobody but a person can take its power away ({way})"),
            hint: "Leave out `--cut` to shut it down from within, or give it `power.ipmi`, `power.redfish`, or `power.command` with `off`.".to_owned(),
        });
        return Outlook::Unknown("its power cannot be taken away".to_owned());
    }
    if let Some(facts) = facts {
        warn(plan, host, facts, seen);
    }
    let step = Step::Power(PowerCall::Cut { way });
    plan.changes
        .push(change(host, "take its power away", "off", vec![step]));
    Outlook::Changes
}

/// Says what is lost with the host, as far as it is known.
fn warn(plan: &mut Plan, host: &Host, facts: &HostFacts, seen: &Swarm) {
    let name = &host.name;
    if let Swarm::Up(up) = seen
        && up
            .node_of(name)
            .is_some_and(|node| node.availability == Availability::Active)
    {
        plan.warnings.push(format!(
            "{name} takes tasks: they end with it and begin elsewhere; `skep node drain {name}` moves them away before"
        ));
    }
    if !host.exports.is_empty() {
        plan.warnings.push(format!(
            "{name} exports folders over NFS: whoever uses them hangs until it is back"
        ));
    }
    if facts.swarm.why_unknown().is_some() {
        plan.warnings
            .push(format!("whether {name} is in a swarm is not known"));
    }
}

fn change(host: &Host, summary: &str, new: &str, steps: Vec<Step>) -> Change {
    Change {
        id: ChangeId::new(&host.name, RESOURCE),
        host: host.name.clone(),
        resource: RESOURCE.to_owned(),
        summary: summary.to_owned(),
        diff: vec![Diff::Value {
            name: "power".to_owned(),
            old: None,
            new: Some(new.to_owned()),
        }],
        steps,
        risk: Risk::Disruptive,
        lane: None,
        needs: BTreeSet::new(),
        follows: BTreeSet::new(),
    }
}

/// Switches a host on and waits, for `wait` seconds at most, until it lets us log in. `why` it gave no
/// answer.
pub(super) fn switch_on(host: &Host, why: &str, wait: u32) -> Change {
    let way = PowerWay::of(host);
    let login = Step::Wait {
        condition: Condition::Login,
        deadline: wait,
    };
    let (summary, steps) = match way {
        PowerWay::Person { address } if is_there(why) => (
            format!(
                "wait for its SSH server: {address} refuses connections, so it is on, or what stands before it is"
            ),
            vec![login],
        ),
        way => {
            let summary = match &way {
                PowerWay::Person { address } => {
                    format!("PRESS ITS POWER BUTTON ({address}); it is waited for")
                }
                way => format!("switch on ({way})"),
            };
            (summary, vec![Step::Power(PowerCall::On { way }), login])
        }
    };
    let mut change = change(host, &summary, "on", steps);
    change.risk = Risk::Safe;
    change
}

/// Whether the network says of a host that gave no answer that something is there: a kernel that refuses
/// the connection, with sshd not up yet or stopped. A bastion that does so says nothing of the host.
fn is_there(why: &str) -> bool {
    why.starts_with("cannot connect to") && why.to_lowercase().contains("connection refused")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssh::SshError;

    /// Nobody is sent to the button of a machine that is on.
    #[test]
    fn a_host_that_refuses_connections_is_waited_for() {
        let text = "[cluster]\nname = \"sim\"\n[[host]]\nname = \"m1\"\naddress = \"198.18.0.1\"\nrole = \"manager\"\n";
        let (inventory, _) = crate::inventory::parse(text, std::path::Path::new("skep.toml"));
        let host = &inventory.unwrap().hosts[0];
        let because = |reason: &str| SshError::Unreachable {
            address: "198.18.0.1:22".to_owned(),
            reason: reason.to_owned(),
        };
        let error =
            std::io::Error::from_raw_os_error(rustix::io::Errno::CONNREFUSED.raw_os_error());
        let refused = because(&error.to_string());
        let on = switch_on(host, &refused.to_string(), 60);
        assert!(
            on.summary.contains("wait for its SSH server"),
            "{}",
            on.summary
        );
        assert_eq!(on.steps.len(), 1);
        let bastion = SshError::Jump {
            bastion: "b".to_owned(),
            source: Box::new(refused),
        };
        let silent = because("No route to host (os error 113)").to_string();
        for why in [silent, bastion.to_string(), String::new()] {
            let on = switch_on(host, &why, 60);
            assert!(on.summary.starts_with("PRESS ITS POWER BUTTON"), "{why}");
            assert_eq!(on.steps.len(), 2);
        }
    }
}
