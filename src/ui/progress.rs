//! What a run is doing now: the state behind the bars and the plain lines, without either.

pub mod bars;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use jiff::Timestamp;

use crate::execute::{Event, Outcome, Record};
use crate::fleet::Fault;
use crate::plan::ChangeId;
use crate::ui::style::{self, paint};
use crate::ui::{Level, text};

/// What a run is doing now.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    phase: Phase,
    running: BTreeMap<ChangeId, Running>,
    hints: BTreeSet<String>,
}

/// The part of a run, with how much of it is done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Phase {
    /// Neither gathering nor executing.
    #[default]
    Idle,
    /// Asking hosts.
    Gather {
        /// How many hosts have answered, or will not.
        done: usize,
        /// How many were asked.
        total: usize,
    },
    /// Running a plan.
    Execute {
        /// How many changes have ended.
        done: usize,
        /// How many there are.
        total: usize,
        /// How many of the ended ones failed.
        failed: usize,
    },
}

/// A change that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// Its host.
    pub host: String,
    /// What it does.
    pub summary: String,
    /// Its step: which, of how many, and what it does.
    pub step: Option<(usize, usize, String)>,
    /// The last line that it printed.
    pub line: Option<String>,
    /// Since when it runs.
    pub since: Timestamp,
}

impl Progress {
    /// Takes one more event in, and gives the line that a person should read now, if any.
    pub fn add(&mut self, record: &Record, level: Level) -> Option<String> {
        let verbose = level >= Level::Verbose;
        match &record.event {
            Event::NotPlanned { host, why } => {
                let label = paint(style::ERROR, "not planned:");
                Some(format!("{host}: {label} {}", text::clean(why)))
            }
            Event::LeftOut { host } => Some(format!(
                "{host}: {}",
                paint(style::WARNING, "the run goes on without it")
            )),
            Event::GatherStarted { hosts } => {
                self.phase = Phase::Gather {
                    done: 0,
                    total: *hosts,
                };
                None
            }
            Event::Gathered {
                host,
                fault,
                millis,
            } => {
                self.advance(false);
                match fault {
                    Some(fault) => Some(self.no_answer(host, fault)),
                    None => verbose.then(|| format!("{host}: answered in {}", took(*millis))),
                }
            }
            Event::ExecuteStarted { changes } => {
                self.phase = Phase::Execute {
                    done: 0,
                    total: *changes,
                    failed: 0,
                };
                None
            }
            Event::ChangeStarted {
                change,
                host,
                summary,
            } => {
                let summary = text::clean(summary).into_owned();
                let line = verbose.then(|| format!("{host}: {summary} ..."));
                let running = Running {
                    host: host.clone(),
                    summary,
                    step: None,
                    line: None,
                    since: record.time,
                };
                self.running.insert(change.clone(), running);
                line
            }
            Event::StepStarted {
                change,
                step,
                steps,
                title,
            } => {
                let running = self.running.get_mut(change)?;
                let title = text::clean(title).into_owned();
                let line = format!("{}:   step {step}/{steps}: {title}", running.host);
                running.step = Some((*step, *steps, title));
                running.line = None;
                verbose.then(|| paint(style::FAINT, line))
            }
            Event::Output { change, line } => {
                let running = self.running.get_mut(change)?;
                let line = text::clean(line).into_owned();
                let shown = format!("{}:     | {line}", running.host);
                // A long silence without its reason looks like a hung run.
                let waits = line.starts_with("waiting");
                running.line = Some(line).filter(|line| !line.trim().is_empty());
                (verbose || waits).then(|| paint(style::FAINT, shown))
            }
            Event::ChangeFinished {
                change,
                host,
                outcome,
                millis,
            } => {
                self.advance(matches!(outcome, Outcome::Failed { .. }));
                let running = self.running.remove(change);
                let summary = running.map_or_else(|| change.to_string(), |it| it.summary);
                finished(host, &summary, outcome, *millis)
            }
            Event::RunFinished { .. } => {
                self.phase = Phase::Idle;
                None
            }
            Event::RunStarted { .. } | Event::Interrupted => None,
        }
    }

    /// What a host that did not answer is told with. A hint that many hosts share is given once.
    fn no_answer(&mut self, host: &str, fault: &Fault) -> String {
        let label = paint(style::ERROR, "no answer:");
        let line = format!("{host}: {label} {}", text::clean(&fault.message));
        match &fault.hint {
            Some(hint) if self.hints.insert(hint.clone()) => {
                format!("{line}\n{} {hint}", paint(style::HINT, "hint:"))
            }
            _ => line,
        }
    }

    /// The part of the run.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The changes that run, the longest-running first.
    pub fn slowest(&self) -> Vec<&Running> {
        let mut running: Vec<&Running> = self.running.values().collect();
        running.sort_by_key(|it| it.since);
        running
    }

    /// A sign of life for logs, where there are no bars: what has been running until `now`.
    pub fn heartbeat(&self, now: Timestamp) -> Option<String> {
        /// As many as fit a line or two.
        const SHOWN: usize = 4;
        let (done, total, noun) = match self.phase {
            Phase::Idle => return None,
            Phase::Gather { done, total } => (done, total, "hosts have answered"),
            Phase::Execute { done, total, .. } => (done, total, "changes have ended"),
        };
        let running = self.slowest();
        let mut shown: Vec<String> = running
            .iter()
            .take(SHOWN)
            .map(|it| format!("{}: {} ({})", it.host, it.summary, age(it.since, now)))
            .collect();
        if running.len() > SHOWN {
            shown.push(format!("{} more", running.len() - SHOWN));
        }
        let what = if shown.is_empty() {
            String::new()
        } else {
            format!("; at work: {}", shown.join(", "))
        };
        Some(format!("{done} of {total} {noun}{what}"))
    }

    fn advance(&mut self, has_failed: bool) {
        match &mut self.phase {
            Phase::Idle => {}
            Phase::Gather { done, .. } => *done += 1,
            Phase::Execute { done, failed, .. } => {
                *done += 1;
                *failed += usize::from(has_failed);
            }
        }
    }
}

impl Running {
    /// The change on one line, as it is at `now`.
    pub fn line(&self, now: Timestamp) -> String {
        let mut line = format!("{}: {}", self.host, self.summary);
        if let Some((step, steps, title)) = &self.step
            && *steps > 1
        {
            let _infallible = write!(line, " [{step}/{steps} {title}]");
        }
        let _infallible = write!(line, " {}", age(self.since, now));
        if let Some(output) = &self.line {
            let _infallible = write!(line, " | {}", output.trim());
        }
        line
    }
}

fn finished(host: &str, summary: &str, outcome: &Outcome, millis: u64) -> Option<String> {
    let end = match outcome {
        Outcome::Done => paint(style::GOOD, "done"),
        Outcome::Failed { fault, .. } => {
            let label = paint(style::ERROR, "failed");
            let (took, message) = (took(millis), text::clean(&fault.message));
            return Some(format!("{host}: {summary} ... {label} {took}: {message}"));
        }
        // One failure can skip hundreds; the report tells them host by host.
        Outcome::Skipped { .. } | Outcome::Cancelled => return None,
    };
    Some(format!("{host}: {summary} ... {end} {}", took(millis)))
}

fn took(millis: u64) -> String {
    text::duration(Duration::from_millis(millis))
}

fn age(since: Timestamp, now: Timestamp) -> String {
    // A clock that was set back must not show as an age of years.
    text::duration(Duration::try_from(now.duration_since(since)).unwrap_or_default())
}

#[cfg(test)]
mod tests;
