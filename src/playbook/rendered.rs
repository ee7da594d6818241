//! A playbook's texts for one host: which variables it has, and what comes of them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::facts::HostFacts;
use crate::inventory::export::plain;
use crate::inventory::{Host, Inventory, Role};
use crate::template::{TemplateError, Text, Vars};

use super::check::texts::path_fault;
use super::{Kind, Playbook, Until};

/// The names that templates know the host and the others by.
pub(super) const RESERVED: [&str; 3] = ["facts", "host", "hosts"];

/// What `facts` has, where the host tells it.
pub(super) const FACTS: [&str; 10] = [
    "addresses",
    "arch",
    "boot_id",
    "cpus",
    "docker",
    "hostname",
    "kernel",
    "machine_id",
    "memory_mib",
    "os",
];

/// What `host` has.
pub(super) const HOST: [&str; 5] = ["address", "groups", "labels", "name", "role"];

/// The variables of one host.
#[derive(Debug, Clone)]
pub struct Context<'a> {
    vars: Vars,
    /// All hosts, which few templates take and which are many.
    hosts: &'a Value,
}

/// What templates know of all hosts.
pub fn all_hosts(inventory: &Inventory) -> Value {
    inventory.hosts.iter().map(host_vars).collect()
}

impl<'a> Context<'a> {
    /// The variables of `host`: those that were `given` on the command line over those of the
    /// inventory over those of the playbook.
    pub fn new(
        playbook: &Playbook,
        host: &Host,
        facts: &HostFacts,
        given: &Vars,
        hosts: &'a Value,
    ) -> Self {
        let mut vars = playbook.vars.clone();
        for (name, value) in &host.vars {
            vars.insert(name.clone(), plain(value));
        }
        vars.extend(given.clone());
        vars.insert("host".to_owned(), host_vars(host));
        vars.insert("facts".to_owned(), facts_vars(facts));
        // A secret is none of the variables that others may see, also where one is named like it.
        vars.retain(|name, _| !playbook.secrets.contains_key(name));
        Self { vars, hosts }
    }

    /// The variables that a template takes.
    fn taken(&self, names: Result<BTreeSet<String>, TemplateError>) -> Result<Vars, String> {
        let names = names.map_err(|error| error.to_string())?;
        let mut taken = Vars::new();
        for name in &names {
            let first = name.split('.').next().unwrap_or_default();
            let value = match first {
                "hosts" => Some(self.hosts),
                first => self.vars.get(first),
            };
            taken.extend(value.map(|value| (first.to_owned(), value.clone())));
        }
        Ok(taken)
    }

    fn text(&self, text: &Text) -> Result<String, String> {
        if !text.is_template() {
            return Ok(text.value.clone());
        }
        let vars = self.taken(text.variables())?;
        text.render(&vars).map_err(|error| error.to_string())
    }

    /// Whether `when` holds.
    ///
    /// # Errors
    /// It uses something that is not defined.
    pub fn holds(&self, when: &Text) -> Result<bool, String> {
        let vars = self.taken(when.variables_of_expression())?;
        when.holds(&vars).map_err(|error| error.to_string())
    }

    /// The same kind with its texts rendered.
    ///
    /// # Errors
    /// A text uses something that is not defined, or what comes of it is not what it should be.
    pub fn render(&self, kind: &Kind) -> Result<Kind, String> {
        let mut kind = kind.clone();
        for (text, is) in kind.texts_mut() {
            text.value = self.text(text)?;
            let value = &text.value;
            let fault = match is {
                Is::Path => path_fault(value),
                Is::Word if value.is_empty() || value.contains(char::is_whitespace) => {
                    Some("expected one word")
                }
                Is::Word if value.starts_with('-') => Some("begins with a hyphen"),
                Is::Word | Is::Any => None,
            };
            if let Some(fault) = fault {
                return Err(format!("{}: `{value}`: {fault}", text.place));
            }
        }
        if let Kind::File(file) = &mut kind
            && let Some(content) = &mut file.content
            && content.template
        {
            if content.secrets.is_empty() {
                content.text.value = self.text(&content.text)?;
            } else {
                // It is rendered where the secrets are; only what it takes goes there.
                content.vars = self.taken(content.text.variables())?;
            }
        }
        Ok(kind)
    }
}

/// What a text must be.
#[derive(Debug, Clone, Copy)]
enum Is {
    Path,
    Word,
    Any,
}

impl Kind {
    /// All texts but the content of files.
    fn texts_mut(&mut self) -> Vec<(&mut Text, Is)> {
        let mut texts = Vec::new();
        match self {
            Self::Package(it) => texts.extend(it.names.iter_mut().map(|it| (it, Is::Word))),
            Self::File(it) => {
                texts.push((&mut it.path, Is::Path));
                texts.push((&mut it.owner, Is::Word));
                texts.push((&mut it.group, Is::Word));
                texts.extend(it.restart.as_mut().map(|it| (it, Is::Word)));
            }
            Self::Directory(it) => {
                texts.push((&mut it.path, Is::Path));
                texts.push((&mut it.owner, Is::Word));
                texts.push((&mut it.group, Is::Word));
            }
            Self::Service(it) => texts.push((&mut it.unit, Is::Word)),
            Self::User(it) => {
                texts.push((&mut it.name, Is::Word));
                texts.extend(it.shell.as_mut().map(|it| (it, Is::Path)));
                texts.extend(it.home.as_mut().map(|it| (it, Is::Path)));
                texts.extend(it.groups.iter_mut().map(|it| (it, Is::Word)));
            }
            Self::Sysctl(values) => texts.extend(values.values_mut().map(|it| (it, Is::Any))),
            Self::Mount(it) => {
                texts.push((&mut it.source, Is::Word));
                texts.push((&mut it.target, Is::Path));
                texts.push((&mut it.fstype, Is::Word));
                texts.push((&mut it.options, Is::Word));
            }
            Self::Command(it) => {
                texts.push((&mut it.run, Is::Any));
                texts.extend(it.creates.as_mut().map(|it| (it, Is::Path)));
                texts.extend(it.unless.as_mut().map(|it| (it, Is::Any)));
            }
            Self::Wait(it) => match &mut it.until {
                Until::Port(_) => {}
                Until::Path(path) => texts.push((path, Is::Path)),
                Until::Command(command) => texts.push((command, Is::Any)),
            },
            Self::Use(_) => {}
            Self::Reboot(it) => texts.extend(it.if_exists.as_mut().map(|it| (it, Is::Path))),
        }
        texts
    }
}

/// The variables of the command line: `KEY=VALUE` each. A value is what it looks like, `true`,
/// `false` or a whole number, unless the playbook's own value is a text; else it is a text.
///
/// # Errors
/// One has no `=`, or what stands before it can be no name.
pub fn command_line_vars(pairs: &[String], playbook: Option<&Playbook>) -> Result<Vars, String> {
    let mut vars = Vars::new();
    for pair in pairs {
        let split = pair.split_once('=').filter(|(name, _)| {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
            !name.is_empty() && name.chars().all(plain)
        });
        let Some((name, value)) = split else {
            return Err(format!("`{pair}` is not `KEY=VALUE`"));
        };
        if RESERVED.contains(&name) {
            return Err(format!("`{name}` is what templates know the host by"));
        }
        let own = playbook.and_then(|playbook| playbook.vars.get(name));
        let text = own.is_some_and(Value::is_string);
        let value = match (value, value.parse::<i64>()) {
            _ if text => Value::from(value),
            ("true", _) => Value::Bool(true),
            ("false", _) => Value::Bool(false),
            (_, Ok(number)) => Value::from(number),
            _ => Value::from(value),
        };
        if vars.insert(name.to_owned(), value).is_some() {
            return Err(format!("`{name}` is given twice"));
        }
    }
    Ok(vars)
}

fn host_vars(host: &Host) -> Value {
    json!({
        "name": host.name,
        "address": host.address,
        "role": match host.role {
            Role::Manager => "manager",
            Role::Worker => "worker",
            Role::None => "none",
        },
        "labels": host.labels,
        "groups": host.groups,
    })
}

/// What is not known is not defined, so that a template that asks for it fails.
fn facts_vars(facts: &HostFacts) -> Value {
    let mut vars = Vars::new();
    let mut put = |name: &str, value: Value| vars.insert(name.to_owned(), value);
    if let Some(os) = facts.os.value() {
        put("arch", os.arch.clone().into());
        put("cpus", os.cpus.into());
        put("kernel", os.kernel.clone().into());
        put("memory_mib", (os.memory_kib / 1024).into());
        put(
            "os",
            json!({
                "id": os.id,
                "like": os.like,
                "version": os.version,
                "codename": os.codename,
                "name": os.pretty,
            }),
        );
    }
    if let Some(identity) = facts.identity.value() {
        put("boot_id", identity.boot_id.clone().into());
        put("hostname", identity.hostname.clone().into());
        put("machine_id", identity.machine_id.clone().into());
    }
    if let Some(network) = facts.network.value() {
        let all = network.interfaces.iter().flat_map(|it| &it.addresses);
        let outside = all.filter(|it| !it.addr().is_loopback());
        let addresses: Vec<String> = outside.map(|it| it.addr().to_string()).collect();
        put("addresses", addresses.into());
    }
    if let Some(engine) = facts.engine.value() {
        put("docker", json!({ "version": engine.version }));
    }
    Value::Object(vars)
}
