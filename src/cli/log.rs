//! `skep log`: who changed what on this cluster, as its managers have it.

use clap::Args;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, SpanRelativeTo, Timestamp};

use crate::audit;
use crate::error::{Error, Result};
use crate::ui::audit::render;
use crate::ui::{Level, Printer, text};

use super::cluster::Cluster;
use super::{Global, block_on};

/// How many lines of the audit are read for each run that is asked for. Most runs have two.
const LINES_PER_RUN: usize = 12;

/// And at least so many: the managers' clocks and gaps may differ.
const LINES: usize = 200;

/// The arguments of `skep log`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  skep log
  skep log -v --since 2d
  skep log --since 2026-11-20 --limit 100
  skep log --json | jq -r 'select(.event == \"ended\" and .code != 0) | .who'

-v lists the changes of each run. One that has `not ended` works now, or was cut off.")]
pub struct LogArgs {
    /// Show so many runs, the newest
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,

    /// Show runs since then only: an age such as `2d` or `12h`, a date, or a time with its zone
    #[arg(long, value_name = "2d|2026-11-20", value_parser = since)]
    pub since: Option<Timestamp>,

    /// Print the entries as lines of JSON
    #[arg(long)]
    pub json: bool,
}

/// Shows what was changed.
///
/// # Errors
///
/// When no manager answers.
pub fn run(args: &LogArgs, global: &Global, printer: &Printer) -> Result<()> {
    block_on(async {
        let cluster = Cluster::open(global, None, printer).await?;
        cluster.is_made().await?;
        let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
        let lines = match args.since {
            Some(_) => None,
            None => Some(limit.saturating_mul(LINES_PER_RUN).saturating_add(LINES)),
        };
        let answers = cluster.live.read_audit(&cluster.managers(), lines).await;
        let mut audits = Vec::new();
        for (host, answer) in &answers {
            let (entries, unread) = match answer {
                Ok(text) => audit::parse(text),
                Err(fault) => {
                    let why = &fault.message;
                    printer.warn(format!("the audit of `{host}` is missing: {why}"));
                    continue;
                }
            };
            if unread > 0 {
                let lines = text::count(unread, "line");
                printer.warn(format!("{lines} of the audit of `{host}` cannot be read"));
            }
            audits.push((host.as_str(), entries));
        }
        if audits.is_empty() {
            let error = Error::failed("no manager answers");
            return Err(error.hint("The audit is kept on the managers; `skep check` asks each."));
        }
        let runs = audit::last_runs(audit::merge(audits), args.since, limit);
        if args.json {
            let mut entries: Vec<_> = runs.iter().flat_map(|run| &run.entries).collect();
            entries.sort_by_key(|seen| seen.entry.time);
            return entries.into_iter().try_for_each(|it| printer.json_line(it));
        }
        if runs.is_empty() {
            printer.say("no run has changed anything");
            return Ok(());
        }
        printer.data(&render(&runs, printer.level() >= Level::Verbose))
    })
}

/// Reads an age, a date (its beginning in UTC) or a time.
fn since(text: &str) -> Result<Timestamp, String> {
    since_at(text, Timestamp::now())
}

fn since_at(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    if let Ok(date) = text.parse::<Date>()
        && let Ok(midnight) = date.to_zoned(TimeZone::UTC)
    {
        return Ok(midnight.timestamp());
    }
    let age = text.parse::<Span>().ok().and_then(|span| {
        let days = SpanRelativeTo::days_are_24_hours();
        let age = span.abs().to_duration(days).ok()?;
        now.checked_sub(age).ok()
    });
    age.ok_or_else(|| {
        "expected an age such as `2d` or `12h`, a date such as `2026-11-20`, \
         or a time such as `2026-11-20T08:00:00Z`"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_takes_ages_dates_and_times() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let at = |text: &str| since_at(text, now).map(|time| time.to_string());
        assert_eq!(at("2d").unwrap(), "2026-11-19T12:00:00Z");
        assert_eq!(at("90m").unwrap(), "2026-11-21T10:30:00Z");
        assert_eq!(at("1 week").unwrap(), "2026-11-14T12:00:00Z");
        assert_eq!(at("2026-11-20").unwrap(), "2026-11-20T00:00:00Z");
        let time = "2026-11-20T08:00:00+01:00";
        assert_eq!(at(time).unwrap(), "2026-11-20T07:00:00Z");
        for wrong in ["", "yesterday", "2", "2026-13-01"] {
            assert!(at(wrong).is_err(), "{wrong:?}");
        }
    }
}
