//! What was changed, by whom and when: the audit that every manager keeps.
//!
//! A run appends one line of JSON when it begins to change something and one when it ends, on every
//! manager that it reaches. The lines of all managers are merged when they are read, so a manager
//! that was away has a gap and nothing is lost.

mod merge;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::execute::{Outcome, Report};
use crate::plan::Change;

pub use merge::{Run, Seen, last_runs, merge, parse};

/// How many bytes of changes one line holds; the rest is counted. A plan for hundreds of hosts has
/// thousands of changes, and the audit is bounded.
const KEPT: usize = 48 << 10;

/// Where it lies on a manager.
const DIRECTORY: &str = "/var/lib/skep";

/// The file that grows.
const FILE: &str = "audit.jsonl";

/// The one that was put aside.
const OLD: &str = "audit.jsonl.1";

/// What ends a line in the script; no line of JSON is this.
const END: &str = "skep-audit-end";

/// How big the audit may grow before it is put aside; one old file is kept.
const ROTATE_AT: usize = 5 << 20;

/// One line of the audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When.
    pub time: Timestamp,
    /// Which run: lines of one run have this in common.
    pub run: String,
    /// Who, as `user@machine`.
    pub who: String,
    /// The verb and its arguments, such as `up --on w1`. No secret is among them.
    pub command: String,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What a line of the audit is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum What {
    /// A plan begins to be carried out.
    Began {
        /// Which plan of this run, from 1: what could not be known before is planned later.
        round: u32,
        /// The changes.
        changes: Vec<Planned>,
        /// How many more there are than are listed.
        #[serde(default, skip_serializing_if = "is_zero")]
        more: usize,
    },
    /// The run has ended.
    Ended {
        /// How many changes were made.
        done: usize,
        /// How many failed.
        failed: usize,
        /// How many were left out because of these.
        skipped: usize,
        /// How many never began, because the run was interrupted.
        not_started: usize,
        /// The exit code.
        code: u8,
        /// The changes that failed, as many as a line holds.
        failures: Vec<String>,
        /// How long it took from the first change on.
        seconds: u64,
    },
    /// The lock of another run was broken.
    BrokeLock {
        /// Whose, for people.
        of: String,
    },
}

/// A change as the audit names it: nothing of its steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// Its name, such as `m1/docker.package`.
    pub id: String,
    /// What it does, for people.
    pub summary: String,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// As many of `items` as fit into a line.
fn fitting<T>(items: impl IntoIterator<Item = T>, size: impl Fn(&T) -> usize) -> Vec<T> {
    let mut room = KEPT;
    let fits = items.into_iter().map_while(|item| {
        room = room.checked_sub(size(&item))?;
        Some(item)
    });
    fits.collect()
}

impl What {
    /// A plan with these changes begins.
    pub fn began(round: u32, changes: &[Change]) -> Self {
        let all = changes.iter().map(|change| Planned {
            id: change.id.to_string(),
            summary: change.summary.clone(),
        });
        let kept = fitting(all, |change| change.id.len() + change.summary.len());
        Self::Began {
            round,
            more: changes.len() - kept.len(),
            changes: kept,
        }
    }

    /// A run whose plans ended so, and which ends with `code`.
    pub fn ended(reports: &[Report], code: u8, seconds: u64) -> Self {
        let outcomes = || reports.iter().flat_map(|report| &report.outcomes);
        let count = |is: fn(&Outcome) -> bool| outcomes().filter(|(_, it)| is(it)).count();
        let failed = |outcome: &Outcome| matches!(outcome, Outcome::Failed { .. });
        let failures = outcomes().filter(|(_, outcome)| failed(outcome));
        Self::Ended {
            done: count(|it| *it == Outcome::Done),
            failed: count(|it| matches!(it, Outcome::Failed { .. })),
            skipped: count(|it| matches!(it, Outcome::Skipped { .. })),
            not_started: count(|it| *it == Outcome::Cancelled),
            code,
            failures: fitting(failures.map(|(id, _)| id.to_string()), String::len),
            seconds,
        }
    }
}

/// The script that appends `entry` on a manager, as root.
///
/// Whoever appends, puts aside or reads holds a lock of the directory, so a line is there whole. The
/// line is in a here-document, because a shell without a `printf` of its own would show it to
/// everybody as an argument.
pub fn append_script(entry: &Entry) -> String {
    let line = serde_json::to_string(entry).unwrap_or_default();
    format!(
        "umask 077\n\
         mkdir -p {DIRECTORY} && chmod 700 {DIRECTORY} && cd {DIRECTORY} || exit 1\n\
         exec 8<.\n\
         flock 8 || exit 1\n\
         if [ -e {FILE} ] && [ \"$(wc -c <{FILE})\" -ge {ROTATE_AT} ]; then mv -f {FILE} {OLD} || exit 1; fi\n\
         # The end of a line that was cut by a full disk or a lost power.\n\
         if [ -s {FILE} ] && [ -n \"$(tail -c 1 {FILE})\" ]; then echo >>{FILE} || exit 1; fi\n\
         cat >>{FILE} <<'{END}' || exit 1\n\
         {line}\n\
         {END}\n\
         chmod 600 {FILE}\n"
    )
}

/// The script that prints the last `lines` lines of a manager's audit, or all of it.
pub fn read_script(lines: Option<usize>) -> String {
    let last = lines.map_or_else(|| "cat".to_owned(), |lines| format!("tail -n {lines}"));
    format!(
        "cd {DIRECTORY} 2>/dev/null || exit 0\n\
         exec 8<.\n\
         flock -s 8 || exit 1\n\
         for file in {OLD} {FILE}; do if [ -s $file ]; then cat $file; echo; fi; done | {last}\n"
    )
}

#[cfg(test)]
mod tests;
