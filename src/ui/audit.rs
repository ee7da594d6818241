//! The audit for people: who changed what, when, and what came of it.

use std::time::Duration;

use crate::audit::{Run, What};
use crate::error::Kind;
use crate::ui::style::{self, paint};
use crate::ui::table::Table;
use crate::ui::text;

/// The runs as a table, the newest last; `verbose` lists the changes of each.
pub fn render(runs: &[Run], verbose: bool) -> String {
    let mut table = Table::new(["WHEN (UTC)", "WHO", "COMMAND", "RESULT", "CHANGES"]);
    for run in runs {
        table.row([
            run.time.strftime("%Y-%m-%d %H:%M:%S").to_string(),
            text::clean(&run.who).into_owned(),
            text::clean(&run.command).into_owned(),
            result(run),
            changes(run),
        ]);
    }
    let table = table.render();
    if !verbose {
        return table;
    }
    let mut lines = table.lines();
    let mut out = format!("{}\n", lines.next().unwrap_or_default());
    for (line, run) in lines.zip(runs) {
        out.push_str(line);
        out.push('\n');
        out.push_str(&details(run));
    }
    out
}

/// What came of it; a run without an end works now, or was cut off.
fn result(run: &Run) -> String {
    let Some(What::Ended { code, seconds, .. }) = &run.end else {
        let began_nothing = run.changes.is_empty() && run.more == 0;
        let word = if began_nothing {
            "broke a lock"
        } else {
            "not ended"
        };
        return paint(style::WARNING, word);
    };
    let is = |kind: Kind| *code == kind.exit_code();
    let word = match code {
        0 => paint(style::GOOD, "done"),
        _ if is(Kind::Refused) => paint(style::ERROR, "refused"),
        _ if is(Kind::Interrupted) => paint(style::WARNING, "interrupted"),
        _ => paint(style::ERROR, "failed"),
    };
    let took = text::duration(Duration::from_secs(*seconds));
    let took = took.replace(".0s", "s");
    format!("{word} in {took}")
}

fn changes(run: &Run) -> String {
    let Some(What::Ended {
        done,
        failed,
        skipped,
        not_started,
        ..
    }) = &run.end
    else {
        return match run.changes.len() + run.more {
            0 => String::new(),
            begun => format!("{begun} begun"),
        };
    };
    let counts = [
        (done, "done"),
        (failed, "failed"),
        (skipped, "skipped"),
        (not_started, "not started"),
    ];
    let parts = counts.into_iter().filter(|(count, _)| **count > 0);
    let parts: Vec<String> = parts
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    parts.join(", ")
}

fn details(run: &Run) -> String {
    let mut out = String::new();
    let mut add = |line: &str| {
        out.push_str("    ");
        out.push_str(line);
        out.push('\n');
    };
    for of in &run.broke {
        add(&format!("broke the lock of {}", text::clean(of)));
    }
    let failures = match &run.end {
        Some(What::Ended { failures, .. }) => failures.as_slice(),
        _ => &[],
    };
    for change in &run.changes {
        let (id, summary) = (text::clean(&change.id), text::clean(&change.summary));
        let failed = if failures.contains(&change.id) {
            paint(style::ERROR, "failed: ")
        } else {
            String::new()
        };
        add(&format!("{failed}{id}: {summary}"));
    }
    if run.more > 0 {
        add(&format!("and {}", text::count(run.more, "more change")));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Entry, Planned, last_runs, merge};
    use jiff::Timestamp;

    fn entry(run: &str, second: i64, command: &str, what: What) -> Entry {
        Entry {
            time: Timestamp::from_second(1_795_000_000 + second).unwrap(),
            run: run.to_owned(),
            who: "ada@desk".to_owned(),
            command: command.to_owned(),
            what,
        }
    }

    fn began(ids: &[&str], more: usize) -> What {
        let planned = |id: &&str| Planned {
            id: (*id).to_owned(),
            summary: "install docker.io\u{1b}[2J".to_owned(),
        };
        What::Began {
            round: 1,
            changes: ids.iter().map(planned).collect(),
            more,
        }
    }

    fn ended(done: usize, failed: usize, code: u8) -> What {
        What::Ended {
            done,
            failed,
            skipped: failed,
            not_started: 0,
            code,
            failures: vec!["w2/docker.package".to_owned(); failed],
            seconds: 125,
        }
    }

    fn runs() -> Vec<Run> {
        let of = "`skep up` by bob@pc (process 7) since 12 min".to_owned();
        let ids = ["w1/docker.package", "w2/docker.package"];
        let audit = vec![
            entry("a", 0, "up", began(&ids, 0)),
            entry("a", 125, "up", ended(1, 1, 1)),
            entry("b", 200, "up --on w1", began(&ids[..1], 0)),
            entry("b", 300, "up --on w1", ended(1, 0, 0)),
            entry("c", 400, "up --break-lock", What::BrokeLock { of }),
            entry("d", 500, "up", began(&ids[..1], 40)),
        ];
        last_runs(merge([("m1", audit)]), None, 20)
    }

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn runs_make_a_table() {
        insta::assert_snapshot!(plain(&render(&runs(), false)), @"
        WHEN (UTC)           WHO       COMMAND          RESULT           CHANGES
        2026-11-18 11:06:40  ada@desk  up               failed in 2m05s  1 done, 1 failed, 1 skipped
        2026-11-18 11:10:00  ada@desk  up --on w1       done in 2m05s    1 done
        2026-11-18 11:13:20  ada@desk  up --break-lock  broke a lock     -
        2026-11-18 11:15:00  ada@desk  up               not ended        41 begun
        ");
    }

    #[test]
    fn a_verbose_table_lists_the_changes() {
        insta::assert_snapshot!(plain(&render(&runs(), true)), @"
        WHEN (UTC)           WHO       COMMAND          RESULT           CHANGES
        2026-11-18 11:06:40  ada@desk  up               failed in 2m05s  1 done, 1 failed, 1 skipped
            w1/docker.package: install docker.io
            failed: w2/docker.package: install docker.io
        2026-11-18 11:10:00  ada@desk  up --on w1       done in 2m05s    1 done
            w1/docker.package: install docker.io
        2026-11-18 11:13:20  ada@desk  up --break-lock  broke a lock     -
            broke the lock of `skep up` by bob@pc (process 7) since 12 min
        2026-11-18 11:15:00  ada@desk  up               not ended        41 begun
            w1/docker.package: install docker.io
            and 40 more changes
        ");
    }
}
