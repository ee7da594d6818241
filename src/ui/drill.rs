//! Drills for people: the lines while one goes on, and the report in Markdown and as a page.

mod page;
mod timeline;

use std::fmt::Write as _;

use jiff::Timestamp;

use crate::drill::Drill;
use crate::drill::findings::{
    Ending, Finding, Record, by_itself, failed_by_host, healed, requests, seconds,
};
use crate::drill::watch::{Event, NodeState, Voice, What};
use crate::inventory::Role;
use crate::ui::table::Table;
use crate::ui::text;

pub use page::page;

/// Drills that were done on a cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Drills {
    /// The cluster.
    pub cluster: String,
    /// When the first one began.
    pub began: Timestamp,
    /// The version of skep.
    pub version: String,
    /// The drills, in the order in which they were done.
    pub records: Vec<Record>,
}

/// What can be practised, as a table.
pub fn list() -> String {
    let mut table = Table::new(["DRILL", "NEEDS", "TAKES", "WHAT HAPPENS", "HEALED BY"]);
    for drill in Drill::ALL {
        table.row([
            drill.name().to_owned(),
            drill.needs().to_owned(),
            about(drill),
            drill.what().to_owned(),
            drill.healed_by().replace('`', ""),
        ]);
    }
    table.render()
}

/// About how long a drill takes: `1 min`, `2.5 min`.
pub fn about(drill: Drill) -> String {
    // Half minutes are as much as can be said.
    let halves = drill.about().div_ceil(30);
    let half = if halves % 2 == 1 { ".5" } else { "" };
    format!("{}{half} min", halves / 2)
}

/// What a person is told while the drill goes on; `None` for what would be too much. `since` is the
/// time of the failure.
pub fn line(event: &Event, since: u64) -> Option<String> {
    let what = match &event.what {
        What::Node { host, state } => format!("{host} is {}", node(*state)),
        What::Leader { host: Some(host) } => format!("{host} is the leader"),
        What::Leader { host: None } => "no manager tells of a leader".to_owned(),
        What::Manager { host, voice } => format!("{host} {}", answers(*voice)),
        What::Tasks {
            running: Some(running),
        } => format!("tasks of the probe: {running}"),
        What::Tasks { running: None }
        | What::Request { .. }
        | What::Stage(_)
        | What::Did { .. } => {
            return None;
        }
    };
    let after = seconds(event.at.saturating_sub(since));
    Some(format!("  {after:>9}  {what}"))
}

/// What a node is to the managers, in a word.
fn node(state: NodeState) -> &'static str {
    match state {
        NodeState::Ready => "ready",
        NodeState::Down => "down",
        NodeState::Unknown => "unknown",
    }
}

/// How a manager answers.
fn answers(voice: Voice) -> &'static str {
    match voice {
        Voice::Orders => "takes orders",
        Voice::NoOrders => "takes no orders",
        Voice::Silent => "does not answer",
    }
}

/// How it ended, in a sentence.
fn ending(record: &Record) -> String {
    let whole = seconds(record.length());
    match &record.ending {
        Ending::Healed => format!("Healed and proven: {whole} in all."),
        Ending::Interrupted => {
            "Interrupted: it may be broken still. `skep drill heal` heals it.".to_owned()
        }
        Ending::Failed(why) => {
            format!(
                "Not healed: {}. `skep drill heal` tries again.",
                text::clean(why)
            )
        }
    }
}

/// What became of the requests, in a sentence.
fn of_requests(record: &Record) -> String {
    let count = requests(record);
    if count.sent == 0 {
        return "No request was sent.".to_owned();
    }
    if count.failed == 0 {
        return format!(
            "All {} requests to the tasks of the probe were answered.",
            count.sent
        );
    }
    let hosts = failed_by_host(record);
    let hosts: Vec<String> = hosts
        .iter()
        .map(|(host, n)| format!("{host} {n}"))
        .collect();
    format!(
        "Of {} requests to the tasks of the probe {} were not answered, the longest outage was {} ({}).",
        count.sent,
        count.failed,
        seconds(count.longest),
        hosts.join(", ")
    )
}

/// The name of a record's heading.
fn heading(record: &Record) -> String {
    format!("{}: {}", record.drill, record.drill.what())
}

/// What a person is told on the terminal when a drill is over.
pub fn summary(record: &Record, by_itself: &[Finding], healed: &[Finding]) -> String {
    let mut out = String::new();
    for (title, found) in [
        (
            "what the cluster did by itself, after the failure:",
            by_itself,
        ),
        ("what came of the healing, after it began:", healed),
    ] {
        if !found.is_empty() {
            let _infallible = writeln!(out, "{title}");
        }
        for it in found {
            let after = it.after.map_or_else(String::new, seconds);
            let _infallible = writeln!(out, "  {after:>9}  {}", it.what);
        }
    }
    out + &of_requests(record) + "\n" + &ending(record)
}

/// The nodes by role, for the head of the report.
fn nodes(drills: &Drills) -> String {
    let Some(record) = drills.records.first() else {
        return "no drill was done".to_owned();
    };
    let of = |role: Role| {
        let hosts = record.hosts.iter().filter(|(_, it)| *it == role);
        let hosts: Vec<&str> = hosts.map(|(name, _)| name.as_str()).collect();
        match hosts.len() {
            0 => "none".to_owned(),
            // The timeline names them all.
            more @ 10.. => more.to_string(),
            _ => hosts.join(", "),
        }
    };
    format!(
        "managers {}; workers {}",
        of(Role::Manager),
        of(Role::Worker)
    )
}

/// The report in Markdown.
pub fn markdown(drills: &Drills) -> String {
    let mut out = format!(
        "# Drill of {}\n\n{}, skep {}; {}.\n",
        cell(&drills.cluster),
        drills.began.strftime("%Y-%m-%d %H:%M UTC"),
        cell(&drills.version),
        cell(&nodes(drills)),
    );
    if drills.records.len() > 1 {
        out += "\n| drill | healed | in all | requests not answered |\n|---|---|---|---|\n";
        for record in &drills.records {
            let is_healed = record.ending == Ending::Healed;
            let count = requests(record);
            let _infallible = writeln!(
                out,
                "| {} | {} | {} | {} of {} |",
                record.drill,
                if is_healed { "yes" } else { "**no**" },
                seconds(record.length()),
                count.failed,
                count.sent,
            );
        }
    }
    for record in &drills.records {
        out += &section(record);
    }
    out
}

fn section(record: &Record) -> String {
    let mut out = format!(
        "\n## {}\n\n{}\n",
        cell(&heading(record)),
        cell(&ending(record))
    );
    let acts: Vec<_> = record.acts().collect();
    if !acts.is_empty() {
        out += "\nWhat skep did:\n\n| at | for | what |\n|---:|---:|---|\n";
        for (at, millis, what) in acts {
            let (at, millis) = (seconds(at), seconds(millis));
            let _infallible = writeln!(out, "| {at} | {millis} | {} |", cell(what));
        }
    }
    out += &findings(
        "What the cluster did by itself, after the failure:",
        &by_itself(record),
    );
    out += &findings("What came of the healing, after it began:", &healed(record));
    let _infallible = write!(out, "\n{}\n", cell(&of_requests(record)));
    if !record.missed.is_empty() {
        out += "\nWaited for in vain:\n\n";
        for missed in &record.missed {
            let _infallible = writeln!(out, "- {}", cell(missed));
        }
    }
    out
}

fn findings(title: &str, found: &[Finding]) -> String {
    if found.is_empty() {
        return String::new();
    }
    let mut out = format!("\n{title}\n\n| after | what |\n|---:|---|\n");
    for it in found {
        let after = it.after.map_or_else(String::new, seconds);
        let _infallible = writeln!(out, "| {after} | {} |", cell(&it.what));
    }
    out
}

/// Text that is nothing but text in Markdown.
fn cell(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text::clean(text).chars() {
        if matches!(
            c,
            '|' | '*' | '_' | '[' | ']' | '<' | '>' | '\\' | '&' | '#'
        ) {
            out.push('\\');
        }
        out.push(if c == '\n' { ' ' } else { c });
    }
    out
}

#[cfg(test)]
mod tests;
