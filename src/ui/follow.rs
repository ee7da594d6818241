//! The one consumer of a run's events: it feeds the bars or lines, the JSON, the journal and the
//! report.

use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Duration, Instant, MissedTickBehavior, interval};

use crate::error::{Kind, Result};
use crate::execute::Record;
use crate::execute::journal::Journal;
use crate::ui::Printer;
use crate::ui::progress::Progress;
use crate::ui::progress::bars::{Bars, REDRAW};
use crate::ui::report::Report;

/// How a run tells what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// To a person: bars on a terminal, lines elsewhere.
    Human,
    /// To a program: each event as a line of JSON on stdout.
    Json,
}

/// How long a log may stay silent while something runs.
const SILENCE: Duration = Duration::from_secs(30);

/// Follows a run until the sender of `records` is dropped, and adds what it did to `report`.
///
/// A closed stdout or an unwritable journal never stops a run: half a change is worse than a
/// reader that went away.
///
/// # Errors
///
/// When stdout cannot be written, other than for a closed pipe.
pub async fn follow(
    mut records: UnboundedReceiver<Record>,
    printer: &Printer,
    format: Format,
    mut journal: Option<&mut Journal>,
    report: &mut Report,
) -> Result<()> {
    let mut display = Display::new(printer, format);
    let mut ticks = interval(REDRAW);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            record = records.recv() => {
                let Some(record) = record else { break };
                report.add(&record);
                if let Some(journal) = journal.as_deref_mut() {
                    journal.write(&record);
                    if let Some(warning) = journal.warning() {
                        printer.warn(warning);
                    }
                }
                display.add(&record);
            }
            _ = ticks.tick() => display.tick(),
        }
    }
    display.end()
}

/// Where the events are shown.
struct Display<'a> {
    printer: &'a Printer,
    format: Format,
    progress: Progress,
    bars: Option<Bars>,
    spoke: Instant,
    /// The first failure to write to stdout.
    broken: Result<()>,
}

impl<'a> Display<'a> {
    fn new(printer: &'a Printer, format: Format) -> Self {
        let bars = printer.bars().filter(|_| format == Format::Human);
        Self {
            printer,
            format,
            progress: Progress::default(),
            bars: bars.map(|multi| Bars::new(multi.clone())),
            spoke: Instant::now(),
            broken: Ok(()),
        }
    }

    fn add(&mut self, record: &Record) {
        let line = self.progress.add(record, self.printer.level());
        match self.format {
            Format::Json => {
                if self.broken.is_ok() {
                    self.broken = self.printer.json_line(record);
                }
            }
            Format::Human => {
                if let Some(line) = line {
                    self.say(&line);
                }
                if let Some(bars) = &mut self.bars {
                    bars.draw(&self.progress, Timestamp::now());
                }
            }
        }
    }

    fn tick(&mut self) {
        if self.format == Format::Json {
            return;
        }
        let now = Timestamp::now();
        if let Some(bars) = &mut self.bars {
            bars.draw(&self.progress, now);
        } else if self.spoke.elapsed() >= SILENCE
            && let Some(line) = self.progress.heartbeat(now)
        {
            self.say(&line);
        }
    }

    fn say(&mut self, line: &str) {
        self.printer.say(line);
        self.spoke = Instant::now();
    }

    fn end(mut self) -> Result<()> {
        if let Some(bars) = &mut self.bars {
            bars.clear();
        }
        match self.broken {
            Err(error) if error.kind() == Kind::BrokenPipe => Ok(()),
            other => other,
        }
    }
}
