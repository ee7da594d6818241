//! Everything is switched off in the right order: recorded, the other managers demoted, services
//! scaled to zero, mounts of servers let go, workers off, managers off, the last one at the very end.
//!
//! That order is the one of its playbook, `playbooks/shutdown.toml`, in which the user may have tasks of
//! his own; which orders there may be is checked where it is read.
//!
//! What was done is told by the swarm itself, so that a run which was cut off is gone on with by the
//! next, from any machine: a demoted node and a halted service bear their marks, and the last manager
//! tells by its [`Mark`](crate::record::Mark) whether hosts are being switched off.

mod away;
mod changes;
mod picture;

use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};

use crate::facts::Probe;
use crate::inventory::{Inventory, Role};
use crate::plan::{Outlook, Plan, Refusal};
use crate::playbook::Kind;
use crate::record::{MARK, Mark};
use crate::swarm::{Gathered, Swarm};

use super::PlaybookRun;
use super::playbook::Own;
use changes::Draft;
use picture::{Host, Picture};

/// With fewer days than these until a certificate ends, the shutdown says how to renew it first.
const SOON: i64 = 30;

/// What a person wants of a shutdown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShutdownProcedure {
    /// The manager that is switched off last; else that of an earlier run, else the leader.
    pub last: Option<String>,
    /// Whether services are removed, and not scaled to zero.
    pub remove: bool,
    /// Whether what fails stops nothing else.
    pub emergency: bool,
    /// When all should be off, in seconds since the command began: what is late is left out.
    pub deadline: Option<u32>,
    /// The record's file here.
    pub to: PathBuf,
    /// Where the unlock key is saved here.
    pub unlock_key: Option<PathBuf>,
    /// What the record's file here has of an earlier run.
    pub former: Option<Mark>,
    /// The machine that skep runs on, by its machine ID: it is never switched off.
    pub here: Option<String>,
    /// The time.
    pub now: Timestamp,
    /// Who does it, as `user@machine`.
    pub by: String,
    /// The playbook: its order, and what the user's own tasks are.
    pub book: PlaybookRun,
}

impl ShutdownProcedure {
    /// Whether what fails or is late stops nothing else.
    pub fn tries(&self) -> bool {
        self.emergency || self.deadline.is_some()
    }

    /// Whether its playbook switches the hosts off; else it ends when all services are stopped.
    pub fn powers_off(&self) -> bool {
        let mut tasks = self.book.playbook.tasks.iter();
        tasks.any(|task| matches!(task.kind, Kind::Use(action) if action.powers_off()))
    }
}

/// The mark of an earlier run, the services, and the certificates.
pub(super) fn probes() -> Vec<Probe> {
    vec![
        Probe::File(MARK.to_owned()),
        Probe::Certificates,
        Probe::Services,
    ]
}

/// The whole plan. In an emergency what a guard would refuse of it is left out, and the rest is done.
pub(super) fn plan(
    inventory: &Inventory,
    gathered: &Gathered,
    shutdown: &ShutdownProcedure,
) -> Plan {
    let draft = |touch: bool| {
        super::guarded(inventory, gathered, |plan, seen| {
            draft(plan, inventory, gathered, seen, shutdown, touch);
        })
    };
    let whole = draft(true);
    if whole.refusals.is_empty() || !shutdown.tries() {
        return whole;
    }
    let mut rest = draft(false);
    let why = whole.refusals.iter().map(|it| {
        let host = it.host.as_ref().map(|host| format!("{host}: "));
        format!(
            "managers and services are left as they are, for this is refused: {}{}",
            host.unwrap_or_default(),
            it.why
        )
    });
    rest.warnings.extend(why);
    rest
}

/// Adds all to `plan`; where the swarm is not to be touched, only what comes after that.
fn draft(
    plan: &mut Plan,
    inventory: &Inventory,
    gathered: &Gathered,
    seen: &Swarm,
    shutdown: &ShutdownProcedure,
    touch: bool,
) {
    let picture = Picture::take(inventory, gathered, seen, shutdown);
    for host in &picture.hosts {
        match host {
            Host::On(host) => {
                plan.hosts.insert(host.name.clone(), Outlook::Changes);
            }
            Host::Off(host) => plan.warnings.push(format!(
                "{} is silent, and was told to power off before: it is off",
                host.name
            )),
            Host::Silent(host, why) if host.optional => {
                plan.hosts
                    .insert(host.name.clone(), Outlook::Away(why.clone()));
            }
            Host::Silent(host, why) | Host::Kept(host, why) if shutdown.tries() => {
                plan.hosts
                    .insert(host.name.clone(), Outlook::Unknown(why.clone()));
            }
            Host::Silent(host, why) => plan.refusals.push(Refusal {
                host: Some(host.name.clone()),
                why: format!("it does not answer ({why}), and may stay on with what runs there"),
                hint: "Bring it back, or go on without hosts that do not answer: `--skip-unreachable`. In an emergency: `--emergency`.".to_owned(),
            }),
            Host::Kept(host, why) => plan.refusals.push(Refusal {
                host: Some(host.name.clone()),
                why: why.clone(),
                hint: "Take it out of the inventory, or see to it by hand first.".to_owned(),
            }),
        }
    }
    plan.warnings.extend(picture.warnings.iter().cloned());
    // Where hosts go off already, the folders were let go before.
    if !picture.goes_off() {
        away::check(plan, inventory, gathered, shutdown);
    }
    if let Some(refusal) = no_quorum(seen, shutdown, &picture) {
        plan.refusals.push(refusal);
    }
    let mut own = own_tasks(plan, inventory, gathered, shutdown, &picture);
    let Some(last) = choose(plan, &picture, seen, shutdown) else {
        return;
    };
    if !plan.refusals.is_empty() {
        return;
    }
    let head = picture.head(&last, shutdown);
    if picture.on().next().is_some() {
        tell(plan, &head, shutdown, seen, &picture);
    }
    if picture.unknown().next().is_some() {
        let names = picture.unknown().map(|host| host.name.as_str());
        let names: Vec<&str> = names.collect();
        plan.warnings.push(format!(
            "nothing is known of {}: told to power off all the same, and nothing else is done there",
            names.join(", ")
        ));
    }
    let draft = Draft {
        inventory,
        gathered,
        shutdown,
        picture: &picture,
        last: &last,
        head: &head,
        up: match seen {
            Swarm::Up(up) if touch => Some(up),
            _ => None,
        },
    };
    draft.all(plan, &mut own);
}

/// The user's own tasks. What cannot be planned of them is refused, and left out in an emergency.
fn own_tasks(
    plan: &mut Plan,
    inventory: &Inventory,
    gathered: &Gathered,
    shutdown: &ShutdownProcedure,
    picture: &Picture<'_>,
) -> Own {
    // All of them come before the first host is switched off.
    if picture.goes_off() {
        return Own::default();
    }
    let former = picture.mark.as_ref().map(|mark| mark.head.made);
    let made = former.unwrap_or(shutdown.now);
    let own = shutdown.book.own(inventory, gathered, Some(made));
    for (task, host) in &own.noted {
        plan.warnings.push(format!(
            "`{task}` was done on {host} by the shutdown of {made} that was cut off, and is not done again"
        ));
    }
    for trouble in &own.troubles {
        let host = inventory.host(&trouble.host);
        let member = host.is_some_and(|host| host.role != Role::None);
        let optional = host.is_some_and(|host| host.optional);
        // Of a silent node it is told already.
        if trouble.silent && member {
            continue;
        }
        let (name, why) = (&trouble.host, &trouble.why);
        if shutdown.tries() || (trouble.silent && optional) {
            plan.warnings.push(format!(
                "{name}: {why}; the playbook's tasks there are left out"
            ));
            continue;
        }
        let hint = "See to it, or take the host out of the task; in an emergency: `--emergency`.";
        plan.refusals.push(Refusal {
            host: Some(name.clone()),
            why: format!("its tasks of the playbook cannot be planned: {why}"),
            hint: trouble.hint.clone().unwrap_or_else(|| hint.to_owned()),
        });
    }
    own
}

/// Why nothing is done where no manager has quorum. In an emergency, and where only the rest is to be
/// switched off, it is no reason.
fn no_quorum(seen: &Swarm, shutdown: &ShutdownProcedure, picture: &Picture<'_>) -> Option<Refusal> {
    let finishing = picture.goes_off();
    if matches!(seen, Swarm::Up(_)) || shutdown.tries() || finishing {
        return None;
    }
    let refusal = super::node::no_swarm(seen);
    Some(Refusal {
        hint: "Without quorum nothing can be recorded or scaled down. To switch the hosts off all the same: `--emergency`.".to_owned(),
        ..refusal
    })
}

/// The host that is switched off last; `None` where none is on.
fn choose(
    plan: &mut Plan,
    picture: &Picture<'_>,
    seen: &Swarm,
    shutdown: &ShutdownProcedure,
) -> Option<String> {
    let on: Vec<&str> = picture.on().map(|host| host.name.as_str()).collect();
    // Whoever goes on with one whose last step was done has nothing to choose from.
    if on.is_empty() && picture.goes_off() {
        return None;
    }
    let managers: Vec<&str> = match seen {
        Swarm::Up(up) => up.managers.iter().map(String::as_str).collect(),
        _ => Vec::new(),
    };
    let fits = |name: &str| on.contains(&name) && (managers.is_empty() || managers.contains(&name));
    if let Some(wanted) = &shutdown.last {
        if fits(wanted) {
            return Some(wanted.clone());
        }
        let names = managers.join(", ");
        plan.refusals.push(Refusal {
            host: None,
            why: format!("`--last {wanted}`: it is no manager that answers"),
            hint: if names.is_empty() {
                "Leave `--last` out.".to_owned()
            } else {
                format!("These are: {names}.")
            },
        });
        return None;
    }
    let former = picture.mark.as_ref().map(|mark| mark.head.last.as_str());
    let former = former.filter(|name| fits(name));
    let first = managers.iter().copied().find(|name| on.contains(name));
    let any = || {
        // Where nobody tells anything, the order is that of the inventory's roles.
        let hosts = || picture.on().chain(picture.unknown());
        let known = picture.on().next().is_some();
        let hosts = || hosts().filter(|host| !known || on.contains(&host.name.as_str()));
        let managers = hosts().find(|host| picture.managed(host));
        managers.or_else(|| hosts().next())
    };
    let last = former.or(first);
    let last = last.or_else(|| any().map(|host| host.name.as_str()));
    last.map(str::to_owned)
}

/// Says what a person must know before all is off.
fn tell(
    plan: &mut Plan,
    head: &crate::record::Head,
    shutdown: &ShutdownProcedure,
    seen: &Swarm,
    picture: &Picture<'_>,
) {
    if !matches!(seen, Swarm::Up(_)) && !picture.goes_off() {
        plan.warnings.push(
            "no manager has quorum: managers and services stay as they are, and are recorded as far as they are known".to_owned(),
        );
    }
    if head.autolock {
        let how = match &shutdown.unlock_key {
            Some(path) => format!("it will be saved in {}", path.display()),
            None => "`--save-unlock-key FILE` saves it".to_owned(),
        };
        plan.warnings.push(format!(
            "autolock is on: the managers come up locked, and without the unlock key the swarm is lost. Keep it outside of the cluster; {how}"
        ));
    }
    let Some(end) = head.back_before else {
        plan.warnings.push("when the certificates of the nodes end is not known; they last 90 days where nothing else was set, and are not renewed while a node is off".to_owned());
        return;
    };
    let days = end.duration_since(shutdown.now).as_hours() / 24;
    plan.warnings.push(format!(
        "be back before {} ({days} days): then the first certificate of a node ends, and none is renewed while a node is off",
        end.strftime("%Y-%m-%d %H:%M UTC")
    ));
    if end.duration_since(shutdown.now) < SignedDuration::from_hours(24 * SOON) {
        plan.warnings.push("that is soon: if you have the time, set `cert-expiry` in `[swarm]` higher, run `skep up`, and renew all certificates with `skep docker -- swarm ca --rotate` first".to_owned());
    }
}
