//! The end of a run: who changed, who was the same, who failed and why, who was left out because
//! of whom.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use crate::error::{Error, Kind, Result};
use crate::execute::{Event, Outcome, Record};
use crate::fleet::Fault;
use crate::plan::ChangeId;
use crate::ui::style::{self, paint};
use crate::ui::table::Table;
use crate::ui::text;

/// How many of the last lines of a failed step are shown.
const LAST_LINES: usize = 10;

/// What a run did, gathered from its events.
#[derive(Debug, Clone, Default)]
pub struct Report {
    order: Vec<String>,
    hosts: Vec<HostReport>,
    summaries: BTreeMap<ChangeId, String>,
    interrupted: bool,
    started: Option<jiff::Timestamp>,
    ended: Option<jiff::Timestamp>,
}

/// What a run did to one host.
#[derive(Debug, Clone, Default)]
struct HostReport {
    name: String,
    unreachable: Option<Fault>,
    left_out: bool,
    not_planned: Option<String>,
    done: usize,
    failed: Vec<Failure>,
    skipped: Vec<ChangeId>,
    cancelled: usize,
}

/// A change that failed.
#[derive(Debug, Clone)]
struct Failure {
    change: ChangeId,
    step: String,
    fault: Fault,
    millis: u64,
}

impl Report {
    /// A report that names these hosts in this order, once something is known of them. Others come
    /// after them, in the order in which they were heard of.
    pub fn of<'a>(hosts: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            order: hosts.into_iter().map(str::to_owned).collect(),
            ..Self::default()
        }
    }

    /// Takes one more event in.
    pub fn add(&mut self, record: &Record) {
        self.started.get_or_insert(record.time);
        self.ended = Some(record.time);
        match &record.event {
            Event::Gathered { host, fault, .. } => {
                self.host(host).unreachable.clone_from(fault);
            }
            Event::ChangeStarted {
                change, summary, ..
            } => {
                self.summaries.insert(change.clone(), summary.clone());
            }
            Event::ChangeFinished {
                change,
                host,
                outcome,
                millis,
            } => {
                let host = self.host(host);
                match outcome {
                    Outcome::Done => {
                        host.done += 1;
                        // One that was switched on answers by the end of that.
                        if change.0.ends_with("/power") {
                            host.unreachable = None;
                        }
                    }
                    Outcome::Failed { step, fault } => host.failed.push(Failure {
                        change: change.clone(),
                        step: step.clone(),
                        fault: fault.clone(),
                        millis: *millis,
                    }),
                    Outcome::Skipped { because } => host.skipped.push(because.clone()),
                    Outcome::Cancelled => host.cancelled += 1,
                }
            }
            Event::LeftOut { host } => self.host(host).left_out = true,
            Event::NotPlanned { host, why } => {
                self.host(host).not_planned = Some(why.clone());
            }
            Event::Interrupted => self.interrupted = true,
            _ => {}
        }
    }

    /// Whether everything that was to be done is done.
    pub fn is_well(&self) -> bool {
        !self.interrupted && self.hosts.iter().all(HostReport::is_well)
    }

    /// The report as text with colours.
    pub fn render(&self) -> String {
        let mut out = String::new();
        for host in &self.hosts {
            for failure in &host.failed {
                self.render_failure(&mut out, &host.name, failure);
            }
        }
        let (same, others): (Vec<_>, Vec<_>) = self
            .hosts
            .iter()
            .partition(|host| host.word() == "the same");
        if !others.is_empty() {
            let mut table = Table::new(["HOST", "RESULT", "CHANGES"]);
            for host in others {
                table.row([host.name.clone(), host.verdict(), host.changes()]);
            }
            out.push_str(&table.render());
            out.push('\n');
        }
        if !same.is_empty() {
            let names: Vec<&str> = same.iter().map(|host| host.name.as_str()).collect();
            let _infallible = writeln!(out, "the same: {}\n", names.join(", "));
        }
        out.push_str(&self.summary());
        out
    }

    /// The line that ends a run: `5 hosts: 4 changed, 1 failed, in 2m05s`.
    pub fn summary(&self) -> String {
        let kinds = [
            ("changed", style::GOOD),
            ("the same", style::GOOD),
            ("failed", style::ERROR),
            ("unreachable", style::ERROR),
            ("not planned", style::ERROR),
            ("left out", style::WARNING),
            ("skipped", style::WARNING),
            ("not started", style::WARNING),
        ];
        let parts: Vec<String> = kinds
            .into_iter()
            .filter_map(|(word, style)| {
                let is_it = |host: &&HostReport| host.word() == word;
                let number = self.hosts.iter().filter(is_it).count();
                (number > 0).then(|| paint(style, format!("{number} {word}")))
            })
            .collect();
        let hosts = text::count(self.hosts.len(), "host");
        let parts = if parts.is_empty() {
            "nothing was done".to_owned()
        } else {
            parts.join(", ")
        };
        let took = match (self.started, self.ended) {
            (Some(started), Some(ended)) => ended.duration_since(started).unsigned_abs(),
            _ => Duration::ZERO,
        };
        format!("{hosts}: {parts}, in {}\n", text::duration(took))
    }

    /// The error that the command ends with, if the run did not do all that it was to do.
    pub fn result(&self) -> Result<()> {
        let failed: usize = self.hosts.iter().map(|host| host.failed.len()).sum();
        let skipped: usize = self.hosts.iter().map(|host| host.skipped.len()).sum();
        let cancelled: usize = self.hosts.iter().map(|host| host.cancelled).sum();
        let silent = |host: &&HostReport| host.word() == "unreachable";
        let unreachable = self.hosts.iter().filter(silent).count();
        if self.interrupted {
            let left = text::count(skipped + cancelled, "change");
            let cut = match failed {
                0 => String::new(),
                cut => format!("{} cut or failed, ", text::count(cut, "change")),
            };
            return Err(Error::new(
                Kind::Interrupted,
                format!("interrupted: {cut}{left} not started"),
            )
            .hint("Run the command again to go on from here."));
        }
        let mut parts = Vec::new();
        if failed > 0 {
            parts.push(format!("{} failed", text::count(failed, "change")));
        }
        if unreachable > 0 {
            parts.push(format!("{} unreachable", text::count(unreachable, "host")));
        }
        let unplanned = self
            .hosts
            .iter()
            .filter(|host| host.word() == "not planned")
            .count();
        if unplanned > 0 {
            parts.push(format!("{} not planned", text::count(unplanned, "host")));
        }
        if skipped > 0 {
            parts.push(format!("{} skipped", text::count(skipped, "change")));
        }
        if cancelled > 0 {
            parts.push(format!("{} not started", text::count(cancelled, "change")));
        }
        if parts.is_empty() {
            return Ok(());
        }
        let error = Error::failed(parts.join(", "));
        Err(error.hint("Mend the cause and run the command again: it goes on from here."))
    }

    fn host(&mut self, name: &str) -> &mut HostReport {
        let index = self.hosts.iter().position(|host| host.name == name);
        let index = index.unwrap_or_else(|| {
            let place = |name: &str| self.order.iter().position(|it| it == name);
            let rank = |name: &str| place(name).unwrap_or(usize::MAX);
            let own = rank(name);
            let index = self.hosts.partition_point(|host| rank(&host.name) <= own);
            let host = HostReport {
                name: name.to_owned(),
                ..HostReport::default()
            };
            self.hosts.insert(index, host);
            index
        });
        &mut self.hosts[index]
    }

    fn render_failure(&self, out: &mut String, host: &str, failure: &Failure) {
        let id = failure.change.to_string();
        let summary = self.summaries.get(&failure.change).unwrap_or(&id);
        let label = paint(style::ERROR, "failed:");
        let took = text::duration(Duration::from_millis(failure.millis));
        let summary = text::clean(summary);
        let _infallible = writeln!(out, "{label} {host}: {summary} (after {took})");
        let _infallible = writeln!(out, "  step: {}", text::clean(&failure.step));
        let _infallible = writeln!(out, "  why: {}", text::clean(&failure.fault.message));
        let output = &failure.fault.output;
        if !output.is_empty() {
            out.push_str("  last output:\n");
            for line in &output[output.len().saturating_sub(LAST_LINES)..] {
                let _infallible = writeln!(out, "    | {}", text::clean(line));
            }
        }
        if let Some(hint) = &failure.fault.hint {
            let _infallible = writeln!(out, "  {} {hint}", paint(style::HINT, "hint:"));
        }
        out.push('\n');
    }
}

impl HostReport {
    fn is_well(&self) -> bool {
        matches!(self.word(), "changed" | "the same" | "left out")
    }

    fn word(&self) -> &'static str {
        if !self.failed.is_empty() {
            "failed"
        } else if self.unreachable.is_some() && self.left_out {
            "left out"
        } else if self.unreachable.is_some() {
            "unreachable"
        } else if self.not_planned.is_some() {
            "not planned"
        } else if !self.skipped.is_empty() {
            "skipped"
        } else if self.cancelled > 0 {
            "not started"
        } else if self.done > 0 {
            "changed"
        } else {
            "the same"
        }
    }

    fn verdict(&self) -> String {
        let style = match self.word() {
            "failed" | "unreachable" | "not planned" => style::ERROR,
            "skipped" | "not started" | "left out" => style::WARNING,
            _ => style::GOOD,
        };
        paint(style, self.word())
    }

    fn changes(&self) -> String {
        let mut parts = Vec::new();
        if self.done > 0 {
            parts.push(format!("{} done", self.done));
        }
        if !self.failed.is_empty() {
            parts.push(format!("{} failed", self.failed.len()));
        }
        if !self.skipped.is_empty() {
            let mut because: Vec<String> = self.skipped.iter().map(ToString::to_string).collect();
            because.sort_unstable();
            because.dedup();
            let because = because.join(", ");
            parts.push(format!(
                "{} skipped because of {because}",
                self.skipped.len()
            ));
        }
        if self.cancelled > 0 {
            parts.push(format!("{} not started", self.cancelled));
        }
        if let Some(fault) = &self.unreachable {
            parts.push(text::clean(&fault.message).into_owned());
        }
        parts.join(", ")
    }
}

#[cfg(test)]
mod tests;
