//! The bars of a terminal: one for the whole, and a line for each of the slowest changes.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use jiff::Timestamp;

use crate::ui::progress::{Phase, Progress};

/// How many changes have a line of their own. With a bar for each of 1000 hosts a run of two
/// seconds wrote 5.4 MB to the terminal (measured with indicatif 0.18.6); one bar writes 2 kB.
const LINES: usize = 8;

/// Bars that show a [`Progress`].
#[derive(Debug)]
pub struct Bars {
    multi: MultiProgress,
    total: Option<(Phase, ProgressBar)>,
    lines: Vec<ProgressBar>,
}

impl Bars {
    /// Bars drawn by `multi`; nothing is drawn yet.
    pub fn new(multi: MultiProgress) -> Self {
        Self {
            multi,
            total: None,
            lines: Vec::new(),
        }
    }

    /// Draws `progress` as it is at `now`.
    pub fn draw(&mut self, progress: &Progress, now: Timestamp) {
        let phase = progress.phase();
        if !self
            .total
            .as_ref()
            .is_some_and(|(old, _)| same(*old, phase))
        {
            self.clear();
        }
        let (label, done, total, failed) = match phase {
            Phase::Idle => return,
            Phase::Gather { done, total } => ("asking hosts", done, total, 0),
            Phase::Execute {
                done,
                total,
                failed,
            } => ("changes", done, total, failed),
        };
        let (old, bar) = self.total.get_or_insert_with(|| {
            let bar = self
                .multi
                .add(ProgressBar::new(0).with_style(total_style()));
            bar.set_prefix(label);
            (phase, bar)
        });
        *old = phase;
        bar.set_length(total as u64);
        bar.set_position(done as u64);
        bar.set_message(match failed {
            0 => String::new(),
            failed => format!(", {failed} failed"),
        });
        bar.tick();
        self.draw_lines(progress, now);
    }

    /// Takes the bars away.
    pub fn clear(&mut self) {
        for line in self.lines.drain(..) {
            line.finish_and_clear();
            self.multi.remove(&line);
        }
        if let Some((_, bar)) = self.total.take() {
            bar.finish_and_clear();
            self.multi.remove(&bar);
        }
    }

    fn draw_lines(&mut self, progress: &Progress, now: Timestamp) {
        let slowest = progress.slowest();
        let wanted = slowest.len().min(LINES);
        while self.lines.len() > wanted {
            if let Some(line) = self.lines.pop() {
                line.finish_and_clear();
                self.multi.remove(&line);
            }
        }
        while self.lines.len() < wanted {
            let line = ProgressBar::new_spinner().with_style(line_style());
            self.lines.push(self.multi.add(line));
        }
        for (index, (line, running)) in self.lines.iter().zip(slowest.iter()).enumerate() {
            let mut text = running.line(now);
            let more = slowest.len() - wanted;
            if index + 1 == LINES && more > 0 {
                text = format!("(and {more} more) {text}");
            }
            line.set_message(text);
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.clear();
    }
}

/// How often the bars should be drawn again when nothing happens, for the times on them.
pub const REDRAW: Duration = Duration::from_millis(500);

fn same(a: Phase, b: Phase) -> bool {
    std::mem::discriminant(&a) == std::mem::discriminant(&b)
}

fn total_style() -> ProgressStyle {
    ProgressStyle::with_template("{prefix} [{bar:30}] {pos}/{len}{msg} {elapsed}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

fn line_style() -> ProgressStyle {
    ProgressStyle::with_template("  {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}
