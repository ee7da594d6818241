//! Puts the inventory's hooks into a plan: among the steps of the very changes that they are about,
//! so that a plan which does nothing to a host runs no hook of it either.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::inventory::{Availability, Hook, HookCommand, HookPlace, Host, Inventory, Moment, Role};
use crate::resource::DRAINED_MARKER;
use crate::shell;
use crate::swarm::{Gathered, Swarm};

use super::script::Script;
use super::{Change, Condition, DockerCall, Plan, Step};

/// A hook that is run, with what it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HookStep {
    /// The hook.
    pub hook: Hook,
    /// Its environment, beyond that of every program there.
    pub variables: BTreeMap<String, String>,
}

impl HookStep {
    /// What it is and where it runs, without what it runs: `hook before-drain "lb", here`.
    pub fn title(&self) -> String {
        let hook = &self.hook;
        let name = hook.name.as_ref().map(|name| format!(" \"{name}\""));
        let place = match hook.at {
            HookPlace::Here => "here",
            HookPlace::Host => "on the host",
        };
        format!("hook {}{}, {place}", hook.when, name.unwrap_or_default())
    }

    /// What it runs, for a shell.
    pub fn text(&self) -> String {
        match &self.hook.command {
            HookCommand::Script(text) => text.trim_start_matches('\n').trim_end().to_owned(),
            HookCommand::Program(words) => shell::join(words.iter().map(String::as_str)),
        }
    }

    /// How long it may take.
    pub fn deadline(&self) -> Duration {
        Duration::from_secs(u64::from(self.hook.timeout))
    }

    /// The script that runs it on the host. It waits for no lock: it may take its own deadline and
    /// no more.
    pub(super) fn script(&self) -> Script {
        let exports = self.variables.iter().map(|(name, value)| {
            let value = shell::quote(value);
            format!("export {name}={value}\n")
        });
        let exports: String = exports.collect();
        let path = "PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let text = self.text();
        Script {
            text: format!("{path}\nexport PATH\n{exports}exec </dev/null\nset -e\n{text}\n"),
            deadline: self.deadline(),
            needs_root: true,
        }
    }
}

/// In one line, for progress and reports.
impl fmt::Display for HookStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.title())?;
        if self.hook.name.is_some() {
            return Ok(());
        }
        let text = self.text();
        let mut lines = text.lines().filter(|line| !line.trim().is_empty());
        write!(f, ": {}", lines.next().unwrap_or_default().trim())?;
        match lines.next() {
            Some(_) => f.write_str(" …"),
            None => Ok(()),
        }
    }
}

/// Puts the hooks of the hosts into `plan`.
pub(crate) fn place(plan: &mut Plan, inventory: &Inventory, gathered: &Gathered, seen: &Swarm) {
    for change in &mut plan.changes {
        let host = inventory.host(&change.host);
        let Some(host) = host.filter(|host| !host.hooks.is_empty()) else {
            continue;
        };
        let mut places = moments(change);
        // What comes at one place comes in the order in which it was found.
        places.sort_by_key(|(place, _)| *place);
        let mut places = places.into_iter().peekable();
        let mut steps = Vec::new();
        let old = std::mem::take(&mut change.steps);
        for (place, step) in old.into_iter().map(Some).chain([None]).enumerate() {
            while let Some((_, moment)) = places.next_if(|(at, _)| *at == place) {
                let hooks = host.hooks.iter().filter(|hook| hook.when == moment);
                steps.extend(hooks.map(|hook| {
                    let variables = variables(hook, host, inventory, gathered, seen);
                    let hook = hook.clone();
                    Step::Hook(HookStep { hook, variables })
                }));
            }
            steps.extend(step);
        }
        change.steps = steps;
    }
}

/// The moments of a change, each with the place of the step before which it comes.
fn moments(change: &Change) -> Vec<(usize, Moment)> {
    let steps = &change.steps;
    let first = |is: fn(&Step) -> bool| steps.iter().position(is);
    let mut moments = Vec::new();
    let disruptions = [
        (
            first(|step| matches!(step, Step::UpgradeEngine { .. })),
            Moment::BeforeUpgrade,
            Moment::AfterUpgrade,
        ),
        (
            first(|step| matches!(step, Step::Reboot { .. })),
            Moment::BeforeReboot,
            Moment::AfterReboot,
        ),
    ];
    for (found, before, after) in disruptions {
        if let Some(place) = found {
            moments.push((0, before));
            let gives_back = steps[place..].iter().position(|step| {
                is_activation(step) || is_unmark(step) || matches!(step, Step::Pause { .. })
            });
            let end = gives_back.map_or(steps.len(), |back| place + back);
            moments.push((end, after));
        }
    }
    if matches!(change.resource.as_str(), "swarm.init" | "swarm.join") {
        if first(is_join).is_some() {
            moments.push((0, Moment::BeforeJoin));
        }
        moments.push((steps.len(), Moment::AfterJoin));
    }
    if let Some(drain) = first(is_drain) {
        // Whether the node can be spared is looked at right before the drain, not before a hook
        // that may take its time.
        let preparation = steps[..drain]
            .iter()
            .rev()
            .take_while(|step| is_preparation(step));
        moments.push((drain - preparation.count(), Moment::BeforeDrain));
        moments.push((drain + 1, Moment::AfterDrain));
    }
    if let Some(active) = first(is_activation) {
        moments.push((active, Moment::BeforeActivate));
        let unmarked = steps.get(active + 1).is_some_and(is_unmark);
        let end = active + 1 + usize::from(unmarked);
        moments.push((end, Moment::AfterActivate));
    }
    moments
}

fn is_join(step: &Step) -> bool {
    matches!(
        step,
        Step::Docker(DockerCall::SwarmInit { .. } | DockerCall::SwarmJoin { .. })
    )
}

/// Whether a step takes the work away from its own host. One that names a node is about another
/// host, which does not answer.
fn is_drain(step: &Step) -> bool {
    matches!(step, Step::Docker(DockerCall::Drain { id: None, .. }))
        || sets(step, Availability::Drain)
}

fn is_activation(step: &Step) -> bool {
    sets(step, Availability::Active)
}

fn sets(step: &Step, wanted: Availability) -> bool {
    matches!(
        step,
        Step::Docker(DockerCall::NodeUpdate { id: None, availability: Some(it), .. }) if *it == wanted
    )
}

fn is_preparation(step: &Step) -> bool {
    match step {
        Step::Wait { condition, .. } => matches!(condition, Condition::Spared { .. }),
        Step::WriteFile { path, .. } => path == DRAINED_MARKER,
        _ => false,
    }
}

fn is_unmark(step: &Step) -> bool {
    matches!(step, Step::RemoveFile { path } if path == DRAINED_MARKER)
}

/// What a hook is told: of the run, of the host, and what the host said of itself when the plan was
/// made.
fn variables(
    hook: &Hook,
    host: &Host,
    inventory: &Inventory,
    gathered: &Gathered,
    seen: &Swarm,
) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut set = |name: &str, value: Option<String>| {
        // No program can be given a NUL, and a host can say what it likes.
        if let Some(value) = value.filter(|value| !value.is_empty() && !value.contains('\0')) {
            all.insert(format!("SKEP_{name}"), value);
        }
    };
    let role = match host.role {
        Role::Manager => "manager",
        Role::Worker => "worker",
        Role::None => "none",
    };
    set("CLUSTER", Some(inventory.cluster.clone()));
    set("HOST", Some(host.name.clone()));
    set("ROLE", Some(role.to_owned()));
    set("HOOK", Some(hook.when.to_string()));
    set("PHASE", Some(hook.when.phase().to_owned()));
    let facts = gathered.get(&host.name).and_then(|it| it.as_ref().ok());
    let swarm = facts.and_then(|facts| facts.swarm.value());
    let node_address = swarm.map(|swarm| swarm.node_addr.clone());
    let to_be = || {
        let facts = facts?;
        super::advertise_address(host, facts).ok()
    };
    let address = host.address.clone().or(node_address).or_else(to_be);
    set("ADDRESS", address);
    let node = match seen {
        Swarm::Up(up) => up.node_of(&host.name).map(|node| node.id.clone()),
        _ => None,
    };
    set("NODE_ID", node);
    if let Some(facts) = facts {
        let os = facts.os.value();
        set("OS", os.map(|os| os.id.clone()));
        set("OS_VERSION", os.map(|os| os.version.clone()));
        set("ARCH", os.map(|os| os.arch.clone()));
        set("KERNEL", os.map(|os| os.kernel.clone()));
        let identity = facts.identity.value();
        set("HOSTNAME", identity.map(|it| it.hostname.clone()));
        let engine = facts.engine.value();
        set("ENGINE", engine.and_then(|engine| engine.version.clone()));
    }
    for (name, value) in &host.vars {
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_uppercase()
            } else {
                '_'
            }
        };
        let name: String = name.chars().map(plain).collect();
        let text = match value {
            toml::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        set(&format!("VAR_{name}"), Some(text));
    }
    all
}

#[cfg(test)]
mod tests;
