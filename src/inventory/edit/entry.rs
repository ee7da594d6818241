//! The entry of a host: where it is, how it is split, and its keys.

use std::collections::BTreeMap;

use toml_edit::{InlineTable, Item, Table, Value};

use super::super::{nearest, range};
use super::document::{Document, bare};
use super::{EditError, words};

/// Keys whose ranges run beside that of the names.
const BESIDE: [&str; 3] = ["address", "advertise-address", "data-path"];

/// Where a host stands.
pub(super) struct Found {
    /// The host's name as the file has it.
    pub(super) name: String,
    /// Which table `[[host]]` it is.
    pub(super) entry: usize,
    /// All names of that table.
    pub(super) names: Vec<String>,
    /// Which of them it is.
    place: usize,
}

/// The names of an entry; none when they are wrong, which is the loader's to tell.
fn expanded(table: &Table) -> Vec<String> {
    let name = table.get("name").and_then(Item::as_str);
    name.and_then(|name| range::expand(name).ok())
        .unwrap_or_default()
}

/// The names of all hosts.
pub(super) fn names(document: &Document) -> impl Iterator<Item = String> {
    document.hosts().flat_map(expanded)
}

pub(super) fn find(document: &Document, name: &str) -> Result<Found, EditError> {
    for (entry, table) in document.hosts().enumerate() {
        let names = expanded(table);
        if let Some(place) = names.iter().position(|it| it.eq_ignore_ascii_case(name)) {
            return Ok(Found {
                name: names[place].clone(),
                entry,
                names,
                place,
            });
        }
    }
    let error = EditError::new(format!("there is no host `{name}`"));
    let known: Vec<String> = names(document).collect();
    let near = nearest::nearest(name, known.iter().map(String::as_str));
    Err(match near {
        Some(near) => error.hint(format!("Did you mean `{near}`?")),
        None => error.hint("See what there is with `skep inventory --list`."),
    })
}

/// Splits a range into what stands before the host, the host itself when `keep`, and what stands
/// after it. The first part keeps the comments. Gives the place of the host's own entry.
pub(super) fn split(
    document: &mut Document,
    found: &Found,
    keep: bool,
) -> Result<usize, EditError> {
    if found.names.len() == 1 {
        let written = document.hosts().nth(found.entry);
        if let Some(table) = written
            && !BESIDE.iter().any(|key| ranged(table, key).is_some())
        {
            return Ok(found.entry);
        }
    }
    let Some(table) = document.hosts().nth(found.entry).cloned() else {
        return Ok(found.entry);
    };
    let mut columns = vec![("name", found.names.clone())];
    for key in BESIDE {
        let pattern = match ranged(&table, key) {
            Some(pattern) => pattern,
            None if key == "data-path" && !table.contains_key(key) => {
                match inherited(document, &table) {
                    Some(pattern) => pattern,
                    None => continue,
                }
            }
            None => continue,
        };
        let expanded = range::expand(&pattern).unwrap_or_default();
        if expanded.len() != found.names.len() {
            let error = EditError::new(format!(
                "the names of the entry of `{}` and its `{key}` are not of the same number",
                found.name
            ));
            return Err(error.hint("See what is wrong with `skep check`, and put it right first."));
        }
        columns.push((key, expanded));
    }
    let mut parts = Vec::new();
    let mut own = found.entry;
    let place = found.place;
    let slices = [
        (0, place),
        (place, place + usize::from(keep)),
        (place + 1, found.names.len()),
    ];
    for (index, (from, to)) in slices.into_iter().enumerate() {
        if index == 1 {
            own += parts.len();
        }
        let slice: Vec<Vec<&str>> = columns
            .iter()
            .map(|(_, words)| words[from..to].iter().map(String::as_str).collect())
            .collect();
        parts.extend(words::pieces(&slice));
    }
    let write = |table: &mut Table, patterns: &[String]| {
        for ((key, _), pattern) in columns.iter().zip(patterns) {
            set(table, key, pattern);
        }
    };
    if let (Some(first), Some(patterns)) = (document.host_mut(found.entry), parts.first()) {
        write(first, patterns);
    }
    let rest = parts.iter().skip(1).map(|patterns| {
        let mut part = bare(&table);
        write(&mut part, patterns);
        part
    });
    let rest: Vec<Table> = rest.collect();
    if !rest.is_empty() {
        document.insert(Some(found.entry), rest);
    }
    Ok(own)
}

/// The value of a key when it is a range.
fn ranged(table: &Table, key: &str) -> Option<String> {
    let value = table.get(key).and_then(Item::as_str);
    value
        .filter(|value| range::is_range(value))
        .map(str::to_owned)
}

/// The range of `data-path` that an entry has from its groups or the swarm: its length is that of
/// the entry, so each part needs its own.
fn inherited(document: &Document, table: &Table) -> Option<String> {
    let root = document.root();
    let groups = table.get("groups").and_then(Item::as_array);
    let groups = groups.into_iter().flatten().filter_map(Value::as_str);
    let of = |item: Option<&Item>| Some(item?.get("data-path")?.as_str()?.to_owned());
    let mut values = groups.filter_map(|group| of(root.get("group")?.get(group)));
    let value = values.next().or_else(|| of(root.get("swarm")));
    value.filter(|value| range::is_range(value))
}

/// Sets a key to a text, in the quotes and with the comment that it has.
pub(super) fn set(table: &mut Table, key: &str, text: &str) {
    let indent = indent(table);
    let Some(old) = table.get_mut(key).and_then(Item::as_value_mut) else {
        table.insert(key, text.into());
        if let Some(mut key) = table.key_mut(key)
            && !indent.is_empty()
        {
            key.leaf_decor_mut().set_prefix(indent);
        }
        return;
    };
    if old.as_str() == Some(text) {
        return;
    }
    let literal = old.to_string().trim_start().starts_with('\'')
        && !text.contains(|c: char| c == '\'' || c.is_control());
    let quoted = format!("'{text}'").parse::<Value>().ok();
    let mut value = quoted
        .filter(|_| literal)
        .unwrap_or_else(|| Value::from(text));
    *value.decor_mut() = old.decor().clone();
    *old = value;
}

/// The blanks before the keys of a table.
fn indent(table: &Table) -> String {
    let key = table.iter().find(|(_, item)| item.is_value());
    let key = key.and_then(|(key, _)| table.key(key));
    let prefix = key.and_then(|key| key.leaf_decor().prefix()?.as_str());
    let last = prefix.and_then(|prefix| prefix.rsplit('\n').next());
    last.unwrap_or_default().to_owned()
}

/// Fills a new table, whose keys then stand as far in as those of another.
pub(super) fn indent_like(table: &mut Table, other: Option<&Table>, fill: impl Fn(&mut Table)) {
    fill(table);
    let indent = other.map(indent).unwrap_or_default();
    if !indent.is_empty() {
        for (mut key, _) in table.iter_mut() {
            key.leaf_decor_mut().set_prefix(indent.clone());
        }
    }
}

/// Sets labels, where the others of the entry stand.
pub(super) fn set_labels(table: &mut Table, labels: &BTreeMap<String, String>) {
    if table.get("labels").is_none_or(|item| !item.is_table_like()) {
        let indent = indent(table);
        table.insert("labels", InlineTable::new().into());
        if let Some(mut key) = table.key_mut("labels")
            && !indent.is_empty()
        {
            key.leaf_decor_mut().set_prefix(indent);
        }
    }
    match table.get_mut("labels") {
        Some(Item::Table(own)) => {
            for (label, value) in labels {
                set(own, label, value);
            }
        }
        Some(Item::Value(Value::InlineTable(own))) => {
            for (label, value) in labels {
                set_inline(own, label, value);
            }
            tidy(own);
        }
        _ => {}
    }
}

/// Sets a key of a table in braces; in one over several lines a new key has its own line.
fn set_inline(table: &mut InlineTable, key: &str, text: &str) {
    if let Some(old) = table.get_mut(key) {
        let decor = old.decor().clone();
        *old = text.into();
        *old.decor_mut() = decor;
        return;
    }
    let last = table.iter().last().map(|(key, _)| key.to_owned());
    let before = last.as_ref().and_then(|last| {
        let before = table.key(last)?.leaf_decor().prefix()?.as_str()?;
        Some(before.get(before.rfind('\n')?..)?.to_owned())
    });
    let (Some(last), Some(before)) = (last, before) else {
        table.insert(key, text.into());
        return;
    };
    let mut value = Value::from(text);
    value.decor_mut().set_prefix(" ");
    // Without a comma behind the last value, what leads to the brace stands behind that value.
    if let Some(old) = table.get_mut(&last) {
        let after = old.decor().suffix().and_then(|after| after.as_str());
        let after = after.unwrap_or_default().to_owned();
        if !after.contains('#') {
            old.decor_mut().set_suffix("");
            value.decor_mut().set_suffix(after);
        }
    }
    table.insert(key, value);
    if let Some(mut key) = table.key_mut(key) {
        key.leaf_decor_mut().set_prefix(before);
        key.leaf_decor_mut().set_suffix(" ");
    }
}

/// Removes a label; whether there was one.
pub(super) fn remove_label(table: &mut Table, label: &str) -> bool {
    let Some(labels) = table.get_mut("labels") else {
        return false;
    };
    let Some(own) = labels.as_table_like_mut() else {
        return false;
    };
    let removed = own.remove(label).is_some();
    let empty = own.is_empty();
    if let Item::Value(Value::InlineTable(own)) = labels {
        tidy(own);
    }
    if removed && empty {
        table.remove("labels");
    }
    removed
}

/// Puts the blanks of a table on one line right after a change; one over several lines is left.
fn tidy(table: &mut InlineTable) {
    if !table.to_string().trim_end().contains('\n') {
        table.fmt();
    }
}
