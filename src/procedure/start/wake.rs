//! The first round of a start: the hosts, their engines, and what these need.

use std::collections::{BTreeMap, BTreeSet};

use crate::facts::{HostFacts, Probe, Probes};
use crate::inventory::{Host, Inventory, Role};
use crate::known::Known;
use crate::plan::{
    ChangeId, Condition, DockerCall, Outlook, Plan, Refusal, ServiceAction, StartStep, Step,
};
use crate::resource::probes_of;
use crate::swarm::{Gathered, Membership, Swarm};

use super::super::power::switch_on;
use super::{StartProcedure, change, newest_mark};

/// How long an engine may take to answer, in seconds: it waits for the network and its storage.
const ENGINE_SECONDS: u32 = 300;

/// The changes that bring an engine up, and that wait for the quorum.
pub(super) const ENGINE: &str = "start.engine";
pub(super) const QUORUM: &str = "start.quorum";

/// What is known of a host before anything is done.
enum State<'a> {
    /// It gives no answer.
    Silent,
    /// It answers.
    Awake(&'a HostFacts),
}

/// Who is asked for what.
struct Wake<'a> {
    inventory: &'a Inventory,
    gathered: &'a Gathered,
    seen: &'a Swarm,
    start: &'a StartProcedure,
    /// The host that was switched off last.
    last: Option<String>,
}

impl<'a> Wake<'a> {
    fn new(
        inventory: &'a Inventory,
        gathered: &'a Gathered,
        seen: &'a Swarm,
        start: &'a StartProcedure,
    ) -> Self {
        let recorded = start.open(gathered).map(|wanted| wanted.head.last.clone());
        let marked = || newest_mark(gathered).map(|(_, mark)| mark.head.last);
        let last = recorded.or_else(marked);
        let last = last.filter(|last| inventory.host(last).is_some());
        Self {
            inventory,
            gathered,
            seen,
            start,
            last,
        }
    }

    /// The hosts that are wanted: the swarm's, and those that have folders for them.
    fn hosts(&self) -> impl Iterator<Item = &'a Host> {
        let hosts = self.inventory.hosts.iter();
        let wanted = |host: &&Host| host.role != Role::None || !host.exports.is_empty();
        let without = &self.start.without;
        hosts
            .filter(wanted)
            .filter(|host| !without.contains(&host.name))
    }

    fn state(&self, host: &Host) -> State<'a> {
        match self.gathered.get(&host.name) {
            Some(Ok(facts)) => State::Awake(facts),
            _ => State::Silent,
        }
    }

    /// Whether a manager answers from which the key can be had, or no key is needed.
    fn is_up(&self) -> bool {
        matches!(self.seen, Swarm::Up(_))
    }

    /// Whether managers of this swarm are locked after a restart, as far as that is known.
    fn autolock(&self) -> bool {
        let recorded = self
            .start
            .open(self.gathered)
            .map(|wanted| wanted.head.autolock);
        recorded.unwrap_or(self.inventory.swarm.autolock == Some(true))
    }

    /// Whether a host will be a manager when its engine comes up.
    fn manages(&self, host: &Host) -> bool {
        match (&self.last, self.start.open(self.gathered)) {
            // The others were demoted before.
            (Some(last), Some(_)) => host.name == *last,
            _ => host.role == Role::Manager,
        }
    }

    /// Whether a host needs the unlock key, or may.
    fn is_locked(&self, host: &Host) -> bool {
        match self.state(host) {
            State::Silent => self.autolock() && self.manages(host),
            State::Awake(facts) => {
                let local = facts.swarm.value();
                local.is_some_and(|local| local.state == "locked")
            }
        }
    }
}

/// Whether the first round needs the unlock key.
pub(super) fn wants_key(
    start: &StartProcedure,
    inventory: &Inventory,
    gathered: &Gathered,
    seen: &Swarm,
) -> bool {
    let wake = Wake::new(inventory, gathered, seen, start);
    !wake.is_up() && wake.hosts().any(|host| wake.is_locked(host))
}

/// Adds what brings hosts back. Where there is anything, the rest comes in a later round.
pub(super) fn plan(
    plan: &mut Plan,
    inventory: &Inventory,
    gathered: &Gathered,
    seen: &Swarm,
    start: &StartProcedure,
) {
    let wake = Wake::new(inventory, gathered, seen, start);
    for name in &start.without {
        let why = "it stays away: `--without`".to_owned();
        plan.hosts.insert(name.clone(), Outlook::Away(why));
    }
    let mut on = BTreeMap::new();
    for host in wake.hosts() {
        if matches!(wake.state(host), State::Silent) {
            let told = gathered.get(&host.name);
            let why = told.and_then(|told| told.as_ref().err());
            let change = switch_on(host, why.map_or("", String::as_str), start.wait);
            on.insert(host.name.clone(), change.id.clone());
            plan.changes.push(change);
        }
    }
    let mut works: BTreeMap<String, ChangeId> = BTreeMap::new();
    for host in wake.hosts() {
        let steps = steps(&wake, host);
        if let Some(refusal) = needs_key(&wake, host) {
            plan.refusals.push(refusal);
        }
        if steps.is_empty() {
            continue;
        }
        let mut change = change(&host.name, ENGINE, "bring its engine up", steps);
        change.needs.extend(on.get(&host.name).cloned());
        works.insert(host.name.clone(), change.id.clone());
        plan.changes.push(change);
    }
    order(plan, &wake, &on, &works);
    for host in wake.hosts() {
        let Some(step) = quorum(&wake, host) else {
            continue;
        };
        let mut change = change(&host.name, QUORUM, "wait for the quorum", vec![step]);
        change.needs.extend(works.get(&host.name).cloned());
        plan.changes.push(change);
    }
    for host in wake.hosts() {
        let planned = plan.changes.iter().any(|change| change.host == host.name);
        let outlook = if planned {
            Outlook::Later
        } else {
            Outlook::Same
        };
        plan.hosts.insert(host.name.clone(), outlook);
    }
}

/// Servers of folders come first, then the host that was switched off last, then all others.
fn order(
    plan: &mut Plan,
    wake: &Wake<'_>,
    on: &BTreeMap<String, ChangeId>,
    works: &BTreeMap<String, ChangeId>,
) {
    let servers: BTreeSet<ChangeId> = wake
        .hosts()
        .filter(|host| !host.exports.is_empty())
        .filter_map(|host| on.get(&host.name).cloned())
        .collect();
    let last = wake.last.as_deref();
    let first: Option<ChangeId> =
        last.and_then(|last| works.get(last).or_else(|| on.get(last)).cloned());
    for change in &mut plan.changes {
        if servers.contains(&change.id) {
            continue;
        }
        if change.resource == super::super::power::RESOURCE {
            change.needs.extend(servers.iter().cloned());
        }
        let is_server = |host: &str| {
            let host = wake.inventory.host(host);
            host.is_some_and(|host| !host.exports.is_empty())
        };
        let of_last = Some(change.host.as_str()) == last;
        // What the last one itself waits for must not wait for it.
        if let Some(first) = &first
            && !of_last
            && !is_server(&change.host)
        {
            change.needs.insert(first.clone());
        }
    }
}

/// What brings the engine of a host up, and waits for what it needs.
fn steps(wake: &Wake<'_>, host: &Host) -> Vec<Step> {
    let mut steps = Vec::new();
    if host.role == Role::None {
        return steps;
    }
    let (silent, stopped, away) = match wake.state(host) {
        State::Silent => (true, false, true),
        State::Awake(facts) => (false, is_stopped(facts), is_away(host, facts)),
    };
    if silent || stopped {
        steps.push(Step::Service {
            unit: "docker.service".to_owned(),
            action: ServiceAction::Start,
        });
        steps.push(Step::Wait {
            condition: Condition::Engine,
            deadline: ENGINE_SECONDS,
        });
    }
    let locked = wake.is_locked(host);
    // A step for one that turns out not to be locked does nothing.
    let may_be_locked =
        (silent || stopped) && host.role == Role::Manager && (wake.start.key || wake.is_up());
    if locked || may_be_locked {
        steps.push(Step::Docker(DockerCall::Unlock {
            managers: managers(wake),
        }));
    }
    if away && !host.mounts.is_empty() {
        steps.push(storage(wake, host));
    }
    steps
}

/// Waits until a host that is a manager has quorum. Nothing waits for that but the next round: the
/// others may be what is missing.
fn quorum(wake: &Wake<'_>, host: &Host) -> Option<Step> {
    let waits = match wake.state(host) {
        State::Silent => wake.manages(host),
        State::Awake(facts) => {
            let local = facts.swarm.value();
            let votes = local.is_some_and(|local| local.control || local.state == "locked");
            let down = wake.seen_down() && !wake.start.begun;
            (is_stopped(facts) && wake.manages(host)) || (votes && down)
        }
    };
    let managers = wake.inventory.managers();
    waits.then(|| Step::Wait {
        condition: Condition::Member {
            role: Role::Manager,
            managers: managers.map(|it| it.name.clone()).collect(),
        },
        // The others may have to be switched on by somebody.
        deadline: wake.start.wait,
    })
}

impl Wake<'_> {
    /// Whether hosts say that there is a swarm, and no manager has quorum.
    fn seen_down(&self) -> bool {
        matches!(self.seen, Swarm::Down(down) if down.exists)
    }
}

/// Those from which the key can be had.
fn managers(wake: &Wake<'_>) -> Vec<String> {
    match wake.seen {
        Swarm::Up(up) => up.managers.clone(),
        _ => Vec::new(),
    }
}

fn is_stopped(facts: &HostFacts) -> bool {
    let engine = facts.engine.value();
    engine.is_some_and(|engine| engine.version.is_none())
}

/// Whether a folder of a server is not there, or its server gives no answer.
fn is_away(host: &Host, facts: &HostFacts) -> bool {
    host.mounts
        .iter()
        .any(|mount| match facts.mounts.get(&mount.target) {
            Some(Known::Value(now)) => {
                now.stale.is_some() || (now.mounted.is_none() && !now.automount)
            }
            _ => false,
        })
}

/// Starts what mounts, and waits until the servers answer.
fn storage(wake: &Wake<'_>, host: &Host) -> Step {
    let mount = |probe: &Probe| matches!(probe, Probe::Mount { .. });
    let probes: Probes = probes_of(host).into_iter().filter(mount).collect();
    Step::Start(StartStep::Storage {
        targets: host
            .mounts
            .iter()
            .map(|mount| mount.target.clone())
            .collect(),
        probes,
        deadline: wake.start.wait,
    })
}

fn needs_key(wake: &Wake<'_>, host: &Host) -> Option<Refusal> {
    let locked = match wake.seen {
        Swarm::Up(up) => up.members.get(&host.name) == Some(&Membership::Locked),
        _ => wake.is_locked(host),
    };
    if !locked || wake.start.key || wake.is_up() {
        return None;
    }
    Some(Refusal {
        host: Some(host.name.clone()),
        why: "its manager is locked after a restart, and no other can give the key".to_owned(),
        hint: "Give the unlock key: `--unlock-key-file FILE`, or run it on a terminal, where it is asked for.".to_owned(),
    })
}
