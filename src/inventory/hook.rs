//! Hooks: what is run before and after what is done to a host.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::check::{required, selected};
use super::diagnostic::{Diagnostic, Span};
use super::read::At;
use super::{Inventory, Role, raw};

/// Something of the user's own that is run before or after what is done to a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Hook {
    /// What it is called, for people.
    pub name: Option<String>,
    /// When it is run.
    pub when: Moment,
    /// Where it is run.
    pub at: HookPlace,
    /// What is run.
    pub command: HookCommand,
    /// How many seconds it may take.
    pub timeout: u32,
}

impl Hook {
    /// Seconds that a hook may take, where the inventory does not say.
    pub const TIMEOUT: u32 = 300;
}

/// Where a hook is run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HookPlace {
    /// On the machine that skep runs on.
    #[default]
    Here,
    /// On the host, as what skep itself does there.
    Host,
}

/// What a hook runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HookCommand {
    /// A script for `sh -e`.
    Script(String),
    /// A program and its arguments.
    Program(Vec<String>),
}

/// When a hook is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Moment {
    /// Before the host makes the swarm or joins it.
    BeforeJoin,
    /// When it is a node that is ready.
    AfterJoin,
    /// Before its work is taken away.
    BeforeDrain,
    /// When nothing of the swarm's runs on it any more.
    AfterDrain,
    /// Before it may get work again.
    BeforeActivate,
    /// When it may.
    AfterActivate,
    /// Before anything of an upgrade of its engine, while it still works.
    BeforeUpgrade,
    /// When the new engine runs and the node is ready, before it gets work again.
    AfterUpgrade,
    /// Before anything of a reboot, while it still works.
    BeforeReboot,
    /// When it is back and the node is ready, before it gets work again.
    AfterReboot,
}

impl Moment {
    /// What is done to the host: `drain` of `before-drain`.
    pub fn phase(self) -> &'static str {
        match self {
            Self::BeforeJoin | Self::AfterJoin => "join",
            Self::BeforeDrain | Self::AfterDrain => "drain",
            Self::BeforeActivate | Self::AfterActivate => "activate",
            Self::BeforeUpgrade | Self::AfterUpgrade => "upgrade",
            Self::BeforeReboot | Self::AfterReboot => "reboot",
        }
    }

    fn is_before(self) -> bool {
        matches!(
            self,
            Self::BeforeJoin
                | Self::BeforeDrain
                | Self::BeforeActivate
                | Self::BeforeUpgrade
                | Self::BeforeReboot
        )
    }
}

/// As the inventory has it: `before-drain`.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = if self.is_before() { "before" } else { "after" };
        write!(f, "{side}-{}", self.phase())
    }
}

/// Gives the hosts their hooks, and says all that is wrong with them.
pub(super) fn apply(raw: &raw::Inventory, inventory: &mut Inventory, out: &mut Vec<Diagnostic>) {
    for block in raw.hook.get().into_iter().flatten() {
        let hook = hook(block, out);
        let hosts = match block.value.on.at() {
            Some(on) => selected(inventory, on, out),
            None if block.value.on.is_absent() => {
                let all = inventory.hosts.iter();
                Some(all.map(|host| host.name.clone()).collect())
            }
            None => None,
        };
        let (Some(hook), Some(hosts)) = (hook, hosts) else {
            continue;
        };
        let mut outside = true;
        for host in &mut inventory.hosts {
            if hosts.contains(&host.name) {
                outside &= host.role == Role::None;
                host.hooks.push(hook.clone());
            }
        }
        if outside && hook.when.phase() != "reboot" && !hosts.is_empty() {
            let span = block.value.on.at().map_or(&block.span, |on| &on.span);
            out.push(Diagnostic::warning("a hook that is never run").at(
                span,
                format!(
                    "hosts outside the swarm, which have no {}",
                    hook.when.phase()
                ),
            ));
        }
    }
}

fn hook(block: &At<raw::Hook>, out: &mut Vec<Diagnostic>) -> Option<Hook> {
    let raw = &block.value;
    let when = required(&raw.when, "when", "a hook", &block.span, out);
    let unfit = |name: &&At<String>| name.value.is_empty() || name.value.contains(char::is_control);
    if let Some(name) = raw.name.at().filter(unfit) {
        let error = Diagnostic::error("not a name for a hook");
        out.push(error.at(&name.span, "expected a few words on one line"));
    }
    let command = command(block, out);
    Some(Hook {
        name: raw.name.get().cloned(),
        when: when?.value,
        at: raw.at.get().copied().unwrap_or_default(),
        command: command?,
        timeout: raw.timeout.get().map_or(Hook::TIMEOUT, |time| time.0),
    })
}

fn command(block: &At<raw::Hook>, out: &mut Vec<Diagnostic>) -> Option<HookCommand> {
    const HELP: &str =
        "write a script, `run = \"...\"`, or a program, `command = [\"./hooks/drained\", \"web\"]`";
    let raw = &block.value;
    if let (Some(run), Some(command)) = (raw.run.at(), raw.command.at()) {
        out.push(
            Diagnostic::error("a hook with both `run` and `command`")
                .at(&command.span, "which of the two?")
                .see(&run.span, "the other one")
                .help("remove one of them"),
        );
        return None;
    }
    if raw.run.is_absent() && raw.command.is_absent() {
        let error = Diagnostic::error("a hook that runs nothing");
        let error = error.at(&block.span, "neither `run` nor `command`");
        out.push(error.help(HELP));
        return None;
    }
    let mut nothing = |span: &Span| {
        let error = Diagnostic::error("a hook that runs nothing").at(span, "is empty");
        out.push(error.help(HELP));
    };
    let (command, words) = match (raw.run.at(), raw.command.at()) {
        (Some(run), _) => {
            if run.value.trim().is_empty() {
                nothing(&run.span);
            }
            (HookCommand::Script(run.value.clone()), vec![run])
        }
        (_, Some(command)) => {
            let program = command.value.first();
            if program.is_none_or(|program| program.value.is_empty()) {
                nothing(&command.span);
            }
            let words = command.value.iter().map(|word| word.value.clone());
            let program = HookCommand::Program(words.collect());
            (program, command.value.iter().collect())
        }
        _ => return None,
    };
    // No program can be given one, and a shell loses it.
    for word in words.iter().filter(|word| word.value.contains('\0')) {
        let error = Diagnostic::error("a NUL character in what a hook runs");
        out.push(error.at(&word.span, "has `\\u0000` in it"));
    }
    Some(command)
}
