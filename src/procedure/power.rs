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
            (PowerAct::On { wait }, Err(_)) => {
                plan.changes.push(switch_on(host, wait));
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
            hint: "Leave out `--cut` to shut it down from within, or give it `power.ipmi` or `power.command` with `off`.".to_owned(),
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

/// Switches a host on and waits, for `wait` seconds at most, until it lets us log in.
pub(super) fn switch_on(host: &Host, wait: u32) -> Change {
    let way = PowerWay::of(host);
    let summary = match &way {
        PowerWay::Person { address } => {
            format!("PRESS ITS POWER BUTTON ({address}); it is waited for")
        }
        way => format!("switch on ({way})"),
    };
    let steps = vec![
        Step::Power(PowerCall::On { way }),
        Step::Wait {
            condition: Condition::Login,
            deadline: wait,
        },
    ];
    let mut change = change(host, &summary, "on", steps);
    change.risk = Risk::Safe;
    change
}
