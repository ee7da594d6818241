//! Changes the text of an inventory in place: hosts come, go and change, and every comment, blank
//! line and order of the rest stays as it is.
//!
//! Each function takes a text and gives a text. What holds for all hosts together, such as an odd
//! number of managers, is not looked at: several changes may be made before it holds again. When
//! all are made, [`check`] says whether they broke anything.

mod document;
mod entry;
mod refs;
#[cfg(test)]
mod tests;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use toml_edit::{Table, Value};

use self::document::Document;
use self::entry::Found;
pub use super::range::is_range;

use super::diagnostic::Diagnostic;
use super::read::At;
use super::{Role, names, range, source};
use crate::error::Error;

/// A host to put into an inventory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewHost {
    /// Its name; [`add_host`] takes a range too.
    pub name: String,
    /// Its address, a range where the name is one. The lab's hosts have none.
    pub address: Option<String>,
    /// What it is in the swarm; `None` keeps what a replaced host has.
    pub role: Option<Role>,
    /// The node's labels; none keeps what a replaced host has.
    pub labels: BTreeMap<String, String>,
}

/// Why an inventory is not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct EditError {
    /// What is wrong: a lower-case fragment.
    pub message: String,
    /// What to do about it: a sentence.
    pub hint: Option<String>,
}

impl EditError {
    fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
        }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What a finding says, for a place that is not shown.
    fn of(found: &Diagnostic) -> Self {
        let label = found.labels.iter().find(|label| label.primary);
        let error = Self::new(match label.map(|label| label.text.as_str()) {
            None | Some("") => found.message.clone(),
            Some(label) => format!("{}: {label}", found.message),
        });
        if found.help.is_empty() {
            return error;
        }
        let help = found.help.iter().map(|help| {
            let mut letters = help.chars();
            let first = letters.next().map(|c| c.to_uppercase().to_string());
            format!("{}{}.", first.unwrap_or_default(), letters.as_str())
        });
        error.hint(help.collect::<Vec<_>>().join(" "))
    }
}

impl From<EditError> for Error {
    fn from(error: EditError) -> Self {
        let usage = Self::usage(error.message);
        match error.hint {
            Some(hint) => usage.hint(hint),
            None => usage,
        }
    }
}

/// Puts a host, or a range of them, after the last one.
///
/// # Errors
/// A name is taken already or cannot be one, an address cannot be one, or the role is missing.
pub fn add_host(text: &str, host: &NewHost) -> Result<String, EditError> {
    let mut document = Document::parse(text)?;
    let Some(role) = host.role else {
        let error = EditError::new(format!("`{}` has no role", host.name));
        return Err(error.hint("Say whether it is a manager, a worker or outside the swarm."));
    };
    let names = check_new(host)?;
    check_free(&document, &names, None)?;
    let mut table = Table::new();
    let last = document.hosts().last().cloned();
    entry::indent_like(&mut table, last.as_ref(), |table| {
        entry::set(table, "name", &host.name);
        if let Some(address) = &host.address {
            entry::set(table, "address", address);
        }
        entry::set(table, "role", word(role));
        if !host.labels.is_empty() {
            entry::set_labels(table, &host.labels);
        }
    });
    let last = document.hosts().count().checked_sub(1);
    document.insert(last, vec![table]);
    Ok(document.finish())
}

/// Takes a host out, with the comment lines directly above its entry and those that end it. What
/// is left of a range is written as one entry before the host and one after it.
///
/// # Errors
/// There is no such host, or another table names it.
pub fn remove_host(text: &str, name: &str) -> Result<String, EditError> {
    let mut document = Document::parse(text)?;
    let found = entry::find(&document, name)?;
    let references = refs::references(text, &found.name);
    if let Some(reference) = references.first() {
        let places: Vec<String> = references.iter().map(|it| it.place(text)).collect();
        let error = EditError::new(format!("`{}` is named in the inventory", found.name));
        let what = match reference.kind {
            refs::Kind::Export => "Remove the export",
            refs::Kind::Source => "Remove the mount",
            refs::Kind::On | refs::Kind::Hook => "Take the host out of the selector",
            refs::Kind::Jump => "Name another jump host",
        };
        return Err(error.hint(format!("{what} first: {}.", places.join("; "))));
    }
    if found.names.len() == 1 {
        document.remove(found.entry);
    } else {
        entry::split(&mut document, &found, false)?;
    }
    Ok(document.finish())
}

/// Gives a host another role. A host of a range gets an entry of its own.
///
/// # Errors
/// There is no such host.
pub fn set_role(text: &str, name: &str, role: Role) -> Result<String, EditError> {
    change(text, name, |table, _| {
        entry::set(table, "role", word(role));
        Ok(())
    })
}

/// Sets and removes labels of a host. A host of a range gets an entry of its own.
///
/// # Errors
/// There is no such host, or its entry has no label that is to be removed.
pub fn set_labels(
    text: &str,
    name: &str,
    set: &BTreeMap<String, String>,
    remove: &BTreeSet<String>,
) -> Result<String, EditError> {
    change(text, name, |table, found| {
        for label in remove.iter().filter(|label| !set.contains_key(*label)) {
            if !entry::remove_label(table, label) {
                let error = EditError::new(format!(
                    "the entry of `{}` has no label `{label}`",
                    found.name
                ));
                return Err(error.hint("A label of a group is changed in the group's own table."));
            }
        }
        if !set.is_empty() {
            entry::set_labels(table, set);
        }
        Ok(())
    })
}

/// Puts a host in the place of another: it keeps role, labels and all other settings, but for
/// what the new one says itself. Exports, mounts and jumps that name the old host name the new
/// one.
///
/// # Errors
/// There is no such host, the new name is taken or cannot be one, or a selector names the old one
/// by a range.
pub fn rename_or_replace(text: &str, old: &str, new: &NewHost) -> Result<String, EditError> {
    if range::is_range(&new.name) {
        let error = EditError::new(format!("`{}` is more than one host", new.name));
        return Err(error.hint("Replace one host by one, and add the others."));
    }
    let document = Document::parse(text)?;
    let found = entry::find(&document, old)?;
    let names = check_new(new)?;
    check_free(&document, &names, Some(&found.name))?;
    let mut renamed = text.to_owned();
    if found.name != new.name {
        for reference in refs::references(text, &found.name).iter().rev() {
            let Some(value) = reference.renamed(&found.name, &new.name) else {
                let error = EditError::new(format!(
                    "`{}` is named by a range in the inventory",
                    found.name
                ));
                let place = reference.place(text);
                return Err(error.hint(format!("Change the selector first: {place}.")));
            };
            let value = Value::from(value).to_string();
            renamed.replace_range(reference.span.clone(), &value);
        }
    }
    change(&renamed, &found.name, |table, _| {
        entry::set(table, "name", &new.name);
        if let Some(address) = &new.address {
            entry::set(table, "address", address);
        }
        if let Some(role) = new.role {
            entry::set(table, "role", word(role));
        }
        if !new.labels.is_empty() {
            table.remove("labels");
            entry::set_labels(table, &new.labels);
        }
        Ok(())
    })
}

/// Whether `after` is sound, or at least no worse than `before`: every error of it was there
/// already.
///
/// # Errors
/// The first error that is new, with its line.
pub fn check(before: &str, after: &str, path: &Path) -> Result<(), EditError> {
    let errors = |text: &str| {
        let (_, mut found) = source::parse(text, path);
        found.retain(Diagnostic::is_error);
        found
    };
    let known: BTreeSet<String> = errors(before).into_iter().map(|it| it.message).collect();
    let Some(new) = errors(after)
        .into_iter()
        .find(|error| !known.contains(&error.message))
    else {
        return Ok(());
    };
    let mut error = EditError::of(&new);
    let place = new.labels.iter().find(|label| label.primary);
    let line = place.and_then(|label| after.get(..label.span.start));
    let line = line.map_or_else(String::new, |above| {
        format!(" (line {})", above.matches('\n').count() + 1)
    });
    error.message = format!("the inventory would be wrong: {}{line}", new.message);
    Err(error)
}

/// Changes the entry of one host.
fn change(
    text: &str,
    name: &str,
    act: impl FnOnce(&mut Table, &Found) -> Result<(), EditError>,
) -> Result<String, EditError> {
    let mut document = Document::parse(text)?;
    let found = entry::find(&document, name)?;
    let own = entry::split(&mut document, &found, true)?;
    if let Some(table) = document.host_mut(own) {
        act(table, &found)?;
    }
    Ok(document.finish())
}

/// The names of a new host.
fn check_new(host: &NewHost) -> Result<Vec<String>, EditError> {
    let fault = |out: &[Diagnostic]| out.first().map(EditError::of);
    let mut out = Vec::new();
    let at = |value: &String| At {
        value: value.clone(),
        span: 0..0,
    };
    let names = names::names(&at(&host.name), &mut out).unwrap_or_default();
    let addresses = host
        .address
        .as_ref()
        .and_then(|address| names::expand_range(&at(address), &mut out));
    if let Some(error) = fault(&out) {
        return Err(error);
    }
    let unique: BTreeSet<String> = names.iter().map(|name| name.to_lowercase()).collect();
    if unique.len() < names.len() {
        let error = EditError::new(format!("`{}` has a name twice", host.name));
        return Err(error.hint("Write each number once, such as `m[1-3]`."));
    }
    let Some(addresses) = addresses else {
        return Ok(names);
    };
    if addresses.len() != names.len() {
        let error = EditError::new(format!(
            "`{}` and its address are not of the same number: {} and {}",
            host.name,
            names.len(),
            addresses.len()
        ));
        return Err(error.hint("Give both ranges the same length."));
    }
    for address in &addresses {
        if let Some((fault, help)) = names::address_fault(address) {
            let found = Diagnostic::error(format!("`{address}` cannot be an address"));
            return Err(EditError::of(&found.at(&(0..0), fault).help(help)));
        }
    }
    Ok(names)
}

/// No entry has one of the names, but for the host `except`.
fn check_free(
    document: &Document,
    names: &[String],
    except: Option<&str>,
) -> Result<(), EditError> {
    let except = except.map(str::to_lowercase);
    let new: BTreeSet<String> = names.iter().map(|name| name.to_lowercase()).collect();
    let taken = entry::names(document).find(|name| {
        let name = name.to_lowercase();
        new.contains(&name) && except.as_ref() != Some(&name)
    });
    match taken {
        None => Ok(()),
        Some(name) => {
            let error = EditError::new(format!("there is a host `{name}` already"));
            Err(error.hint("Choose another name, or replace that host."))
        }
    }
}

/// A role as the file has it.
fn word(role: Role) -> &'static str {
    match role {
        Role::Manager => "manager",
        Role::Worker => "worker",
        Role::None => "none",
    }
}
