//! The only place that writes to stdout and stderr.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use anstream::AutoStream;
use indicatif::{MultiProgress, ProgressDrawTarget};
use serde::Serialize;

use crate::error::{Error, Kind, Result};
use crate::ui::style::{self, paint};

/// How much a command says on stderr. Data on stdout is what was asked for, so it is always given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing but the error that ends the command (`-qq`).
    Silent,
    /// Warnings too (`-q`).
    Quiet,
    /// Progress and reports too.
    #[default]
    Default,
    /// The steps of each change and what hosts print too (`-v`).
    Verbose,
}

/// How often bars are drawn again in a second: each draw is about 2 kB of terminal traffic.
const DRAWS_PER_SECOND: u8 = 8;

/// Where a command writes. Lines go above the progress bars, whoever draws them.
#[derive(Debug, Clone)]
pub struct Printer {
    level: Level,
    bars: MultiProgress,
    has_bars: bool,
}

impl Printer {
    /// The printer of this process. Bars are for terminals, and not for `-q` and `-v`, where they
    /// would hide what they stand for.
    pub fn new(level: Level) -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let unwanted = std::env::var_os("SKEP_NO_PROGRESS").is_some_and(|value| !value.is_empty());
        let has_bars = level == Level::Default && !dumb && !unwanted && io::stderr().is_terminal();
        let target = if has_bars {
            ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND)
        } else {
            ProgressDrawTarget::hidden()
        };
        Self {
            level,
            bars: MultiProgress::with_draw_target(target),
            has_bars,
        }
    }

    /// How much is said.
    pub fn level(&self) -> Level {
        self.level
    }

    /// The bars, when there is a terminal to draw them on.
    pub fn bars(&self) -> Option<&MultiProgress> {
        self.has_bars.then_some(&self.bars)
    }

    /// Writes `text` to stdout as it is; it must end with a line feed.
    ///
    /// # Errors
    ///
    /// A closed pipe is [`Kind::BrokenPipe`], which ends the command quietly.
    pub fn data(&self, text: &str) -> Result<()> {
        self.bars.suspend(|| {
            let mut stdout = AutoStream::auto(io::stdout().lock());
            stdout.write_all(text.as_bytes())?;
            stdout.flush()
        })?;
        Ok(())
    }

    /// Writes bytes to stdout untouched, such as a completion script.
    pub fn bytes(&self, bytes: &[u8]) -> Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes)?;
        stdout.flush()?;
        Ok(())
    }

    /// Writes `value` to stdout as indented JSON.
    pub fn json(&self, value: &impl Serialize) -> Result<()> {
        let mut text = to_json(serde_json::to_string_pretty(value))?;
        text.push('\n');
        self.bytes(text.as_bytes())
    }

    /// Writes `value` to stdout as one line of JSON.
    pub fn json_line(&self, value: &impl Serialize) -> Result<()> {
        let mut text = to_json(serde_json::to_string(value))?;
        text.push('\n');
        self.bytes(text.as_bytes())
    }

    /// Says a line, or some, to a person.
    pub fn say(&self, text: impl AsRef<str>) {
        self.at(Level::Default, text.as_ref());
    }

    /// Says what only `-v` wants to know.
    pub fn detail(&self, text: impl AsRef<str>) {
        self.at(Level::Verbose, text.as_ref());
    }

    /// Says, without a label, what is as weighty as a warning.
    pub fn notice(&self, text: impl AsRef<str>) {
        self.at(Level::Quiet, text.as_ref());
    }

    /// Says, without a label, what is as weighty as an error.
    pub fn trouble(&self, text: impl AsRef<str>) {
        self.at(Level::Silent, text.as_ref());
    }

    /// Warns: a lower-case fragment.
    pub fn warn(&self, message: impl AsRef<str>) {
        let label = paint(style::WARNING, "warning:");
        self.at(Level::Quiet, &format!("{label} {}", message.as_ref()));
    }

    /// Tells what to do: a sentence.
    pub fn hint(&self, sentence: impl AsRef<str>) {
        let label = paint(style::HINT, "hint:");
        self.at(Level::Quiet, &format!("{label} {}", sentence.as_ref()));
    }

    /// Says the error that ends a command, what is underneath it, and what to do.
    pub fn error(&self, error: &Error) {
        if error.kind() != Kind::BrokenPipe {
            self.at(Level::Silent, render_error(error).trim_end());
        }
    }

    fn at(&self, level: Level, text: &str) {
        if level > self.level {
            return;
        }
        self.bars.suspend(|| {
            let mut stderr = AutoStream::auto(io::stderr().lock());
            // When nobody reads stderr any more there is nobody left to tell.
            let ended = if text.ends_with('\n') { "" } else { "\n" };
            let _gone = write!(stderr, "{text}{ended}");
        });
    }
}

fn to_json(result: serde_json::Result<String>) -> Result<String> {
    result.map_err(|error| Error::failed("cannot write the result as JSON").because(error))
}

/// An error as text, with colours.
pub fn render_error(error: &Error) -> String {
    let mut text = format!("{} {error}\n", paint(style::ERROR, "error:"));
    let mut said = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        let message = cause.to_string();
        // Many libraries repeat what is underneath in their own message.
        if !said.contains(&message) {
            let _infallible = writeln!(text, "  caused by: {message}");
            said.push_str(&message);
        }
        next = cause.source();
    }
    for hint in error.hints() {
        let _infallible = writeln!(text, "{} {hint}", paint(style::HINT, "hint:"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_tells_its_causes_and_hints() {
        let error = Error::failed("cannot read `skep.toml`")
            .because(io::Error::other("the disk is on fire"))
            .hint("Put it out.");
        let text = anstream::adapter::strip_str(&render_error(&error)).to_string();
        insta::assert_snapshot!(text, @r"
        error: cannot read `skep.toml`
          caused by: the disk is on fire
        hint: Put it out.
        ");
    }
}
