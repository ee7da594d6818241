//! From the raw playbook to the checked model: all errors at once.

mod kinds;
mod order;
pub(super) mod texts;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::inventory::diagnostic::{Diagnostic, Span};
use crate::inventory::nearest::nearest;
use crate::inventory::read::{At, Field, list};
use crate::inventory::{Inventory, SecretRef, Selector};
use crate::template::{Place, Text, Vars, undefined};

use super::rendered::{FACTS, HOST, RESERVED};
use super::{Playbook, ReadFile, Task, Verb, raw};

/// What a playbook is run on.
#[derive(Debug, Clone, Copy)]
pub struct Around<'a> {
    /// The inventory.
    pub inventory: &'a Inventory,
    /// The names of the variables that the command line gives.
    pub given: &'a BTreeSet<String>,
}

/// The model, with every finding in `out`; what it holds means nothing when one is an error.
pub(super) fn check(
    raw: &raw::Playbook,
    text: &str,
    path: &Path,
    read: &ReadFile<'_>,
    (verb, around): (Verb, Option<&Around<'_>>),
    out: &mut Vec<Diagnostic>,
) -> Playbook {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let mut vars = Vars::new();
    for (name, item) in raw.vars.get().into_iter().flatten() {
        name_of_a_variable(name, &item.key, out);
        vars.insert(name.clone(), item.value.0.value.clone());
    }
    let mut secrets = BTreeMap::new();
    for (name, item) in raw.secrets.get().into_iter().flatten() {
        name_of_a_variable(name, &item.key, out);
        if let Some(other) = raw.vars.get().and_then(|vars| vars.get(name)) {
            let error = Diagnostic::error(format!("`{name}` is both a variable and a secret"));
            out.push(error.at(&item.key, "").see(&other.key, "the variable"));
        }
        secrets.insert(name.clone(), item.value.clone());
    }
    let mut known: BTreeSet<String> = RESERVED.iter().map(|it| (*it).to_owned()).collect();
    known.extend(vars.keys().cloned());
    if let Some(around) = around {
        known.extend(around.given.iter().cloned());
        let hosts = around.inventory.hosts.iter();
        known.extend(hosts.flat_map(|host| host.vars.keys().cloned()));
    }
    let mut checker = Checker {
        text,
        path,
        read,
        around,
        known,
        secrets: &secrets,
        used: BTreeSet::new(),
        out,
    };
    let tasks = checker.tasks(raw);
    checker.order(verb, raw);
    let used = checker.used;
    for (name, item) in raw.secrets.get().into_iter().flatten() {
        if !used.contains(name) {
            let warning = Diagnostic::warning(format!("no template uses the secret `{name}`"));
            out.push(warning.at(&item.key, ""));
        }
    }
    let declared = |name: &&String| used.contains(*name) || vars.contains_key(*name);
    for name in around.iter().flat_map(|around| around.given) {
        if !declared(&name) {
            let error = Diagnostic::error(format!("`--var {name}=...`: no task uses `{name}`"));
            let known = used.iter().chain(vars.keys()).map(String::as_str);
            let known = known.filter(|it| !RESERVED.contains(it) && !secrets.contains_key(*it));
            let known: BTreeSet<&str> = known.collect();
            out.push(match nearest(name, known.iter().copied()) {
                Some(near) => error.help(format!("there is `{near}`")),
                None if known.is_empty() => error.help("this playbook takes no variables"),
                None => {
                    let known: Vec<&str> = known.into_iter().collect();
                    error.help(format!("its variables are {}", list(&known, "and")))
                }
            });
        }
    }
    Playbook {
        name: name.into_owned(),
        description: raw.description.get().cloned().unwrap_or_default(),
        ordered: raw.ordered.get().copied().unwrap_or_default(),
        vars,
        secrets,
        tasks,
    }
}

/// What templates can name.
fn name_of_a_variable(name: &str, span: &Span, out: &mut Vec<Diagnostic>) {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let begins_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if RESERVED.contains(&name) {
        let error = Diagnostic::error(format!("`{name}` is what templates know the host by"));
        out.push(error.at(span, "choose another name"));
    } else if !begins_well || !name.chars().all(plain) {
        let error = Diagnostic::error(format!("`{name}` cannot be a variable's name"));
        out.push(error.at(span, "expected letters, digits and `_`"));
    }
}

/// Where a template stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// It is an expression.
    Expression,
    /// What comes of it is shown.
    Shown,
    /// It is the content of a file.
    Content,
}

/// What the check of one playbook goes by.
struct Checker<'a> {
    text: &'a str,
    path: &'a Path,
    read: &'a ReadFile<'a>,
    around: Option<&'a Around<'a>>,
    /// The variables that there are.
    known: BTreeSet<String>,
    secrets: &'a BTreeMap<String, SecretRef>,
    /// The variables and secrets that are used.
    used: BTreeSet<String>,
    out: &'a mut Vec<Diagnostic>,
}

impl Checker<'_> {
    fn tasks(&mut self, raw: &raw::Playbook) -> Vec<Task> {
        if raw.task.is_absent() {
            let error = Diagnostic::error("the playbook has no task");
            self.out
                .push(error.help("write one: `[[task]]`, then `name = \"...\"`"));
        }
        let mut tasks = Vec::new();
        let mut names: BTreeMap<&str, &Span> = BTreeMap::new();
        let all: Vec<&str> = raw
            .task
            .get()
            .into_iter()
            .flatten()
            .filter_map(|task| task.value.name.get().map(String::as_str))
            .collect();
        let mut reboot: Option<&Span> = None;
        for task in raw.task.get().into_iter().flatten() {
            let name = self.task_name(task, &mut names);
            let needs = self.needs(&task.value, &names, &all);
            let when = task.value.when.at().map(|when| self.text_at(when));
            if let (Some(when), Some(at)) = (&when, task.value.when.at()) {
                self.variables(when, &at.span, Use::Expression);
            }
            let on = task.value.on.at().and_then(|on| self.on(on));
            if let Some(at) = task.value.reboot.at() {
                if let Some(first) = reboot {
                    let error = Diagnostic::error("a playbook reboots a host once");
                    self.out
                        .push(error.at(&at.span, "").see(first, "the first reboot"));
                }
                reboot = Some(&at.span);
                if let Some(serial) = task.value.serial.at() {
                    let error = Diagnostic::error("reboots go one after the other anyway");
                    self.out.push(error.at(&serial.span, "remove it"));
                }
            }
            if let Some(kind) = self.kind(task) {
                tasks.push(Task {
                    name,
                    on,
                    needs,
                    when,
                    serial: task.value.serial.get().map(|serial| serial.0),
                    kind,
                });
            }
        }
        tasks
    }

    fn task_name<'r>(
        &mut self,
        task: &'r At<raw::Task>,
        names: &mut BTreeMap<&'r str, &'r Span>,
    ) -> String {
        let Some(name) = task.value.name.at() else {
            if task.value.name.is_absent() {
                let error = Diagnostic::error("the task has no name");
                self.out.push(
                    error
                        .at(&self.head(&task.span), "`name` is missing")
                        .help("say what it does: `name = \"...\"`"),
                );
            }
            return String::new();
        };
        // It is part of the name of a change, and of a line of the plan.
        let fits = |c: char| !c.is_control() && c != '/';
        let value = name.value.as_str();
        if value.trim() != value || value.is_empty() || value.len() > 80 || !value.chars().all(fits)
        {
            let error = Diagnostic::error(format!("`{value}` cannot be a task's name"));
            self.out.push(error.at(
                &name.span,
                "expected 1 to 80 bytes in one line, without a slash",
            ));
        }
        if let Some(first) = names.insert(value, &name.span) {
            let error = Diagnostic::error(format!("there are two tasks `{value}`"));
            self.out
                .push(error.at(&name.span, "").see(first, "the first one"));
        }
        value.to_owned()
    }

    fn needs(
        &mut self,
        task: &raw::Task,
        before: &BTreeMap<&str, &Span>,
        all: &[&str],
    ) -> Vec<String> {
        let own = task.name.get().map(String::as_str);
        for needed in task.needs.get().into_iter().flatten() {
            let name = needed.value.as_str();
            let error = if Some(name) == own {
                Diagnostic::error("a task cannot need itself").at(&needed.span, "")
            } else if before.contains_key(name) {
                continue;
            } else if all.contains(&name) {
                Diagnostic::error(format!("the task `{name}` comes later"))
                    .at(&needed.span, "expected an earlier task")
                    .help("put it before this one")
            } else {
                let error = Diagnostic::error(format!("there is no task `{name}`"))
                    .at(&needed.span, "expected the name of an earlier task");
                match nearest(name, all.iter().copied()) {
                    Some(near) => error.help(format!("there is `{near}`")),
                    None => error,
                }
            };
            self.out.push(error);
        }
        let needs = task.needs.get().into_iter().flatten();
        needs.map(|needed| needed.value.clone()).collect()
    }

    fn on(&mut self, on: &At<String>) -> Option<Selector> {
        let selector = on.value.parse::<Selector>();
        let wrong = match (&selector, self.around) {
            (Ok(selector), Some(around)) => selector.select(around.inventory).err(),
            (Ok(_), None) => None,
            (Err(error), _) => Some(error.clone()),
        };
        if let Some(wrong) = wrong {
            let error = Diagnostic::error(wrong.message).at(&on.span, "");
            self.out.push(match wrong.hint {
                Some(hint) => error.help(hint),
                None => error,
            });
        }
        selector.ok()
    }

    /// The value with its place.
    fn text_at(&self, at: &At<String>) -> Text {
        let begin = &self.text[..at.span.start.min(self.text.len())];
        let mut line = begin.matches('\n').count() + 1;
        // The line feed right after three quotes is none of the text.
        let raw = self.text.get(at.span.clone()).unwrap_or_default();
        let opens = ["\"\"\"", "'''"].iter().any(|quotes| {
            let rest = raw.strip_prefix(quotes);
            rest.is_some_and(|rest| rest.starts_with('\n') || rest.starts_with("\r\n"))
        });
        line += usize::from(opens);
        Text {
            value: at.value.clone(),
            place: Place {
                file: self.path.display().to_string(),
                line,
            },
        }
    }

    /// The value of a field that may be a template.
    fn rendered(&mut self, at: &At<String>) -> Text {
        let text = self.text_at(at);
        if text.is_template() {
            self.variables(&text, &at.span, Use::Shown);
        }
        text
    }

    /// The same, of a key that must be there.
    fn required(&mut self, field: &Field<String>, key: &str, table: &Span) -> Option<Text> {
        match field.at() {
            Some(at) if at.value.is_empty() => {
                let error = Diagnostic::error(format!("`{key}` is empty"));
                self.out.push(error.at(&at.span, ""));
                None
            }
            Some(at) => Some(self.rendered(at)),
            None => {
                if field.is_absent() {
                    let error = Diagnostic::error(format!("`{key}` is missing"));
                    self.out.push(error.at(&self.head(table), ""));
                }
                None
            }
        }
    }

    /// Looks at the variables that a template takes; gives the secrets among them.
    fn variables(&mut self, text: &Text, span: &Span, kind: Use) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let taken = match kind {
            Use::Expression => text.variables_of_expression(),
            Use::Shown | Use::Content => text.variables(),
        };
        let taken = match taken {
            Ok(taken) => taken,
            Err(wrong) => {
                let error = Diagnostic::error(wrong.to_string()).at(span, "");
                self.out.push(error.help(match kind {
                    Use::Expression => "write it like `facts.os.id == 'debian'`",
                    Use::Shown | Use::Content => {
                        "braces that are meant as they are go between `{% raw %}` and `{% endraw %}`"
                    }
                }));
                return found;
            }
        };
        for name in taken {
            let mut parts = name.splitn(3, '.');
            let first = parts.next().unwrap_or_default().to_owned();
            let second = parts.next();
            self.used.insert(first.clone());
            if self.secrets.contains_key(&first) {
                if kind != Use::Content {
                    let error = Diagnostic::error(format!(
                        "the secret `{first}` may be used in the content of `[task.template]` only"
                    ));
                    self.out
                        .push(error.at(span, "this is shown in plans and journals"));
                }
                found.insert(first);
                continue;
            }
            if self.around.is_none() {
                continue;
            }
            let parts = match first.as_str() {
                "facts" => &FACTS[..],
                "host" => &HOST[..],
                _ => &[],
            };
            let message = if !self.known.contains(&first) {
                let known = self.known.iter().chain(self.secrets.keys());
                undefined(&first, known.map(String::as_str))
            } else if let Some(second) =
                second.filter(|it| !parts.is_empty() && !parts.contains(it))
            {
                let there = match nearest(second, parts.iter().copied()) {
                    Some(near) => format!("there is `{first}.{near}`"),
                    None => format!("`{first}` has {}", list(parts, "and")),
                };
                format!("there is no `{first}.{second}`; {there}")
            } else {
                continue;
            };
            let file = self.path.display().to_string();
            let message = if text.place.file == file {
                message
            } else {
                // The playbook shows only the name of the file, so that its line must be told.
                format!("{}: {message}", text.place_of(&name))
            };
            let error = Diagnostic::error(message).at(span, "");
            self.out.push(if self.known.contains(&first) {
                error
            } else {
                error.help(format!(
                    "give it in `[vars]`, in the inventory's `vars`, or with `--var {first}=...`"
                ))
            });
        }
        found
    }

    /// The first line of what stands at `span`: a whole table would be shown otherwise.
    fn head(&self, span: &Span) -> Span {
        let text = self.text.get(span.clone()).unwrap_or_default();
        let line = text.find('\n').unwrap_or(text.len());
        span.start..span.start + line
    }
}
