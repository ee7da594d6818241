//! A sign of life for work that has no events of its own: what it is at, and for how long.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::ui::{Printer, text};

/// How often the time on it is drawn again.
const REDRAW: Duration = Duration::from_millis(500);

/// A line at the foot of the terminal, taken away when this is dropped. Elsewhere there is none.
#[derive(Debug)]
pub struct Working {
    line: Option<ProgressBar>,
}

impl Working {
    /// Begins to show `what` is being done.
    pub fn begin(printer: &Printer, what: &str) -> Self {
        let line = printer.bars().map(|bars| {
            let style = ProgressStyle::with_template("  {wide_msg} {elapsed}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner());
            let line = bars.add(ProgressBar::new_spinner().with_style(style));
            line.set_message(what.to_owned());
            line.enable_steady_tick(REDRAW);
            line
        });
        Self { line }
    }

    /// Shows what it is at now.
    pub fn tell(&self, what: &str) {
        if let Some(line) = &self.line {
            line.set_message(text::clean(what).into_owned());
        }
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        if let Some(line) = &self.line {
            line.finish_and_clear();
        }
    }
}
