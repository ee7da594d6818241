//! The audits of several managers as one.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::{Entry, Planned, What};

/// An entry and the managers that have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// The entry.
    #[serde(flatten)]
    pub entry: Entry,
    /// The managers.
    pub managers: Vec<String>,
}

/// Reads what a manager printed: the entries, and how many lines are none. A line of a later skep
/// may be one of these.
pub fn parse(text: &str) -> (Vec<Entry>, usize) {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let mut entries = Vec::new();
    let mut unread = 0;
    for line in lines {
        match serde_json::from_str(line) {
            Ok(entry) => entries.push(entry),
            Err(_) => unread += 1,
        }
    }
    (entries, unread)
}

/// The entries of all managers, the oldest first; what several have is there once.
pub fn merge<'a>(audits: impl IntoIterator<Item = (&'a str, Vec<Entry>)>) -> Vec<Seen> {
    let mut seen: BTreeMap<_, Seen> = BTreeMap::new();
    for (manager, entries) in audits {
        for entry in entries {
            let key = (entry.time, entry.run.clone(), kind(&entry.what));
            let it = seen.entry(key).or_insert_with(|| Seen {
                entry,
                managers: Vec::new(),
            });
            if it.managers.last().is_none_or(|last| last != manager) {
                it.managers.push(manager.to_owned());
            }
        }
    }
    seen.into_values().collect()
}

/// Tells events of one run apart; in the order in which they happen, for those of one moment.
fn kind(what: &What) -> (u8, u32) {
    match what {
        What::BrokeLock { .. } => (0, 0),
        What::Began { round, .. } => (1, *round),
        What::Ended { .. } => (2, 0),
    }
}

/// All that the audit has of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The run.
    pub id: String,
    /// When its first entry was written.
    pub time: Timestamp,
    /// Who.
    pub who: String,
    /// The verb and its arguments.
    pub command: String,
    /// The changes that it began, of all its plans.
    pub changes: Vec<Planned>,
    /// How many more there were.
    pub more: usize,
    /// Whose locks it broke.
    pub broke: Vec<String>,
    /// Its end, [`What::Ended`]. `None`: it works now, or was cut off.
    pub end: Option<What>,
    /// Its entries.
    pub entries: Vec<Seen>,
}

/// The last `limit` runs that have an entry since `since`, the oldest first.
pub fn last_runs(seen: Vec<Seen>, since: Option<Timestamp>, limit: usize) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for seen in seen {
        let entry = &seen.entry;
        let place = runs.iter().rposition(|run| run.id == entry.run);
        let place = place.unwrap_or_else(|| {
            runs.push(Run {
                id: entry.run.clone(),
                time: entry.time,
                who: entry.who.clone(),
                command: entry.command.clone(),
                changes: Vec::new(),
                more: 0,
                broke: Vec::new(),
                end: None,
                entries: Vec::new(),
            });
            runs.len() - 1
        });
        let run = &mut runs[place];
        match &entry.what {
            What::Began { changes, more, .. } => {
                run.changes.extend_from_slice(changes);
                run.more += more;
            }
            What::BrokeLock { of } => run.broke.push(of.clone()),
            end @ What::Ended { .. } => run.end = Some(end.clone()),
        }
        run.entries.push(seen);
    }
    let is_new = |run: &Run| {
        let last = run.entries.last().map(|seen| seen.entry.time);
        since.is_none_or(|since| last.is_some_and(|last| last >= since))
    };
    runs.retain(is_new);
    let surplus = runs.len().saturating_sub(limit);
    runs.drain(..surplus);
    runs
}
