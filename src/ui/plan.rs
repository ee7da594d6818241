//! How a plan looks: what would change on each host, why it can hurt, and what waits for what.
//!
//! It reads as well without colour. Changes that are the same on several hosts but for their names
//! and addresses are shown once: twenty new workers are one paragraph, not twenty.

mod group;

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::plan::{Change, Diff, HookStep, Lane, Outlook, Plan, Risk, Step};
use crate::ui::diff::{self, Redact};
use crate::ui::style::{self, paint};
use crate::ui::text;

use group::{Group, changed, foreign, groups};

/// `plan` as text with colours; `verbose` adds the steps of each change.
pub fn render(plan: &Plan, verbose: bool, redact: Redact<'_>) -> String {
    let mut out = String::new();
    render_tasks(&mut out, plan, verbose, redact);
    let unchanged: Vec<&str> = of(plan, &Outlook::Same).collect();
    if !unchanged.is_empty() {
        let _infallible = writeln!(out, "unchanged: {}\n", unchanged.join(", "));
    }
    let made: Vec<&str> = of(plan, &Outlook::Make).collect();
    if !made.is_empty() {
        let made = made.join(", ");
        let _infallible = writeln!(
            out,
            "to be made: {made}; what they need then is planned when they are there\n"
        );
    }
    let later: Vec<&str> = of(plan, &Outlook::Later).collect();
    if !later.is_empty() {
        let later = later.join(", ");
        let _infallible = writeln!(
            out,
            "to be looked at again: {later}; what else is needed is known when the engine runs\n"
        );
    }
    let before = out.len();
    render_troubles(&mut out, plan);
    if out.len() > before {
        out.push('\n');
    }
    out.push_str(&summary(plan));
    out
}

/// The changes: under the tasks of the playbook that they come of, where there is one.
fn render_tasks(out: &mut String, plan: &Plan, verbose: bool, redact: Redact<'_>) {
    let mut shown = BTreeSet::new();
    for (place, task) in plan.tasks.iter().enumerate() {
        let number = place + 1;
        let name = paint(style::STRONG, text::clean(&task.name));
        shown.extend(&task.changes);
        if task.changes.is_empty() {
            let nothing = paint(style::FAINT, "nothing to do");
            let _infallible = writeln!(out, "{number}. {name}: {nothing}\n");
            continue;
        }
        let _infallible = writeln!(out, "{number}. {name}");
        let changes = plan.changes.iter();
        let changes = changes.filter(|change| task.changes.contains(&change.id));
        render_groups(out, changes, "   ", verbose, redact);
    }
    let rest = plan.changes.iter().filter(|it| !shown.contains(&it.id));
    render_groups(out, rest, "", verbose, redact);
}

fn render_groups<'a>(
    out: &mut String,
    changes: impl Iterator<Item = &'a Change>,
    indent: &str,
    verbose: bool,
    redact: Redact<'_>,
) {
    let changes: Vec<&Change> = changes.collect();
    for group in groups(&changes) {
        let mut shown = String::new();
        render_group(&mut shown, &group, verbose, redact);
        out.push_str(&text::indent(&shown, indent));
        out.push('\n');
    }
}

/// The line that ends a plan: `Plan: 23 changes on 5 hosts (1 disruptive), 2 unchanged`.
pub fn summary(plan: &Plan) -> String {
    let unchanged = of(plan, &Outlook::Same).count();
    let make = of(plan, &Outlook::Make).count();
    let unknown = plan.unknown().count();
    let mut parts = Vec::new();
    if make > 0 {
        parts.push(format!("{} to be made", text::count(make, "host")));
    }
    if !plan.changes.is_empty() {
        let changes = text::count(plan.changes.len(), "change");
        let all: Vec<&Change> = plan.changes.iter().collect();
        let hosts = text::count(changed(&all).len(), "host");
        let risky = risks(plan).unwrap_or_default();
        parts.push(format!("{changes} on {hosts}{risky}"));
    }
    let nothing = parts.is_empty();
    if nothing {
        let same = text::count(unchanged, "host");
        parts.push(format!("nothing to change, {same} as wanted"));
    } else if unchanged > 0 {
        parts.push(format!("{unchanged} unchanged"));
    }
    let style = if nothing && unknown == 0 {
        style::GOOD
    } else {
        style::STRONG
    };
    let mut line = format!("{} {}", paint(style, "Plan:"), parts.join(", "));
    if unknown > 0 {
        let unknown = paint(style::ERROR, format!("{unknown} without a plan"));
        let _infallible = write!(line, ", {unknown}");
    }
    let away = plan.away().count();
    if away > 0 {
        let away = paint(style::WARNING, format!("{away} left out"));
        let _infallible = write!(line, ", {away}");
    }
    if !plan.refusals.is_empty() {
        let refused = paint(style::ERROR, "refused");
        let _infallible = write!(line, ": {refused}");
    }
    line.push('\n');
    line
}

fn risks(plan: &Plan) -> Option<String> {
    let parts: Vec<String> = [
        (Risk::Disruptive, "disruptive"),
        (Risk::Destructive, "DESTRUCTIVE"),
    ]
    .into_iter()
    .filter_map(|(risk, word)| {
        let number = plan.changes.iter().filter(|it| it.risk == risk).count();
        (number > 0).then(|| format!("{number} {word}"))
    })
    .collect();
    (!parts.is_empty()).then(|| format!(" ({})", paint(style::WARNING, parts.join(", "))))
}

fn render_troubles(out: &mut String, plan: &Plan) {
    for (host, why) in plan.unknown() {
        let label = paint(style::ERROR, "no plan for");
        let _infallible = writeln!(out, "{label} {host}: {}", text::clean(why));
    }
    for (host, why) in plan.away() {
        let label = paint(style::WARNING, "left out:");
        let _infallible = writeln!(
            out,
            "{label} {host}, which is optional: {}",
            text::clean(why)
        );
    }
    for warning in &plan.warnings {
        let label = paint(style::WARNING, "warning:");
        let _infallible = writeln!(out, "{label} {}", text::clean(warning));
    }
    for refusal in &plan.refusals {
        let label = paint(style::ERROR, "refused:");
        let host = refusal.host.as_ref();
        let host = host.map(|host| format!("{host}: ")).unwrap_or_default();
        let _infallible = writeln!(out, "{label} {host}{}", text::clean(&refusal.why));
        let _infallible = writeln!(out, "  {} {}", paint(style::HINT, "hint:"), refusal.hint);
    }
}

fn of<'a>(plan: &'a Plan, outlook: &Outlook) -> impl Iterator<Item = &'a str> {
    let hosts = plan.hosts.iter().filter(move |(_, it)| *it == outlook);
    hosts.map(|(host, _)| host.as_str())
}

fn render_group(out: &mut String, group: &Group<'_>, verbose: bool, redact: Redact<'_>) {
    let names = paint(style::STRONG, group.hosts.join(", "));
    let changes = text::count(group.changes.len(), "change");
    let then = if group.goes_on { "then " } else { "" };
    let each = if group.hosts.len() > 1 { " each" } else { "" };
    let _infallible = writeln!(out, "{names}: {then}{changes}{each}");
    for change in &group.changes {
        render_change(out, change, verbose, redact);
    }
}

fn render_change(out: &mut String, change: &Change, verbose: bool, redact: Redact<'_>) {
    let summary = text::clean(&change.summary);
    let resource = paint(style::FAINT, format!("({})", change.resource));
    let _infallible = write!(out, "  {} {summary} {resource}", mark(change));
    let label = match change.risk {
        Risk::Safe => None,
        Risk::Disruptive => Some(paint(style::WARNING, "disruptive: stops or moves tasks")),
        Risk::Destructive => Some(paint(style::ERROR, "DESTRUCTIVE: data is lost for ever")),
    };
    if let Some(label) = label {
        let _infallible = write!(out, " [{label}]");
    }
    out.push('\n');
    let mut after: Vec<String> = foreign(change).map(ToString::to_string).collect();
    after.extend(match change.lane {
        Some(Lane::Raft) => Some("other changes of managers, one at a time".to_owned()),
        Some(Lane::Disruption) => Some("other disruptions, one at a time".to_owned()),
        Some(Lane::Lab | Lane::Cloud) | None => None,
    });
    if !after.is_empty() {
        let line = format!("after {}", after.join(", "));
        let _infallible = writeln!(out, "      {}", paint(style::FAINT, line));
    }
    for difference in &change.diff {
        out.push_str(&text::indent(&diff::render(difference, redact), "      "));
    }
    for step in &change.steps {
        if let Step::Hook(hook) = step {
            render_hook(out, hook, redact);
        }
    }
    if verbose {
        for (index, it) in change.steps.iter().enumerate() {
            let title = redact(&it.to_string());
            let line = format!("step {}: {title}", index + 1);
            let _infallible = writeln!(out, "      {}", paint(style::FAINT, line));
        }
    }
}

/// A hook with all that it runs: it is the user's own, and nobody else has looked at it.
fn render_hook(out: &mut String, hook: &HookStep, redact: Redact<'_>) {
    let seconds = hook.hook.timeout;
    let title = format!("{}, up to {seconds} s:", hook.title());
    let text = redact(&hook.text());
    let lines: Vec<_> = text.lines().map(text::clean).collect();
    let title = text::clean(&title);
    match &lines[..] {
        [one] => {
            let _infallible = writeln!(out, "      {title} {one}");
        }
        several => {
            let _infallible = writeln!(out, "      {title}");
            out.push_str(&text::indent(&several.join("\n"), "        "));
        }
    }
}

/// `+` makes something, `-` takes something away, `~` changes something; as in a diff.
fn mark(change: &Change) -> String {
    let is_new = |diff: &Diff| match diff {
        Diff::Value { old, .. } => old.is_none(),
        Diff::Text { old, .. } => old.is_empty(),
    };
    let is_gone = |diff: &Diff| match diff {
        Diff::Value { new, .. } => new.is_none(),
        Diff::Text { new, .. } => new.is_empty(),
    };
    if !change.diff.is_empty() && change.diff.iter().all(is_gone) {
        paint(style::REMOVED, "-")
    } else if !change.diff.is_empty() && change.diff.iter().all(is_new) {
        paint(style::ADDED, "+")
    } else {
        paint(style::CHANGED, "~")
    }
}

#[cfg(test)]
mod tests;
