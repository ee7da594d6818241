//! `skep check`: whether the inventory and the hosts are fit.

mod online;

use clap::Args;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::inventory::{self, Diagnostic, Inventory, LoadError, Severity};
use crate::playbook::{self, Verb};
use crate::ui::Printer;
use crate::ui::style::{self, paint};
use crate::ui::text::count;
use crate::{cli, quorum};

use super::{Global, book};

/// The arguments of `skep check`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  skep check
  skep check --on w7
  skep check --offline --json -i inventories/bare-metal.toml")]
pub struct CheckArgs {
    /// Check the inventory alone, without any connection
    #[arg(long)]
    pub offline: bool,

    /// Check these hosts only
    #[arg(long, value_name = "SELECTOR", conflicts_with = "offline")]
    pub on: Option<String>,

    /// Print the findings as JSON
    #[arg(long)]
    pub json: bool,
}

/// A finding about the inventory as programs get it.
#[derive(Debug, Serialize)]
struct Found<'a> {
    /// The playbook; left out where it is about the inventory.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    severity: &'static str,
    message: &'a str,
    /// The line of the place, from 1; `None` for the file as a whole.
    line: Option<usize>,
    /// The character of the line, from 1.
    column: Option<usize>,
    help: &'a [String],
}

/// Checks the inventory, and the hosts unless `--offline` says not to.
///
/// # Errors
///
/// A usage error of the inventory; a failure when a host is not fit.
pub fn run(args: &CheckArgs, global: &Global, printer: &Printer) -> Result<()> {
    if args.offline {
        offline(args, global, printer)
    } else {
        online::run(args, global, printer)
    }
}

/// Checks the inventory alone.
///
/// # Errors
///
/// A usage error when the inventory has errors; these have been shown by then.
fn offline(args: &CheckArgs, global: &Global, printer: &Printer) -> Result<()> {
    let mut source = inventory::read(&global.inventory_path())?;
    let books = match &source.inventory {
        Some(inventory) => books(inventory)?,
        None => Vec::new(),
    };
    if args.json {
        let mut all: Vec<Found<'_>> = source
            .diagnostics
            .iter()
            .map(|it| found(it, &source.text, None))
            .collect();
        for book in &books {
            let file = book.path.display().to_string();
            let found = |it| found(it, &book.text, Some(file.clone()));
            all.extend(book.diagnostics.iter().map(found));
        }
        printer.json(&all)?;
    } else {
        cli::load::show(&source, printer);
    }
    let Some(inventory) = source.inventory.take() else {
        return Err(Error::from(LoadError::Invalid(Box::new(source))));
    };
    usable(&books, args.json, printer)?;
    let managers = inventory.managers().count();
    let workers = inventory.members().count() - managers;
    let others = inventory.hosts.len() - managers - workers;
    let mut parts = Vec::new();
    if managers > 0 {
        parts.push(quorum::describe(managers));
    }
    if workers > 0 {
        parts.push(count(workers, "worker"));
    }
    if others > 0 {
        parts.push(format!("{} outside the swarm", count(others, "host")));
    }
    printer.say(format!(
        "{} `{}`: {}",
        paint(style::GOOD, "no errors in"),
        source.path.display(),
        parts.join("; ")
    ));
    Ok(())
}

/// The user's own playbooks of procedures.
fn books(inventory: &Inventory) -> Result<Vec<playbook::Source>> {
    let verbs = Verb::PROCEDURES.into_iter();
    let books: Result<Vec<_>> = verbs.map(|verb| book::look(verb, inventory)).collect();
    Ok(books?.into_iter().flatten().collect())
}

/// Shows what is to be said of them, unless it was printed as JSON; fails where one cannot be used.
fn usable(books: &[playbook::Source], quiet: bool, printer: &Printer) -> Result<()> {
    let mut last = Ok(());
    for book in books {
        let used = if quiet {
            book::usable(book)
        } else {
            book::show(book, printer)
        };
        last = last.and(used);
    }
    last
}

fn found<'a>(diagnostic: &'a Diagnostic, text: &str, file: Option<String>) -> Found<'a> {
    let primary = diagnostic.labels.iter().find(|label| label.primary);
    let before = primary.map(|label| {
        let end = text.floor_char_boundary(label.span.start.min(text.len()));
        &text[..end]
    });
    Found {
        file,
        severity: match diagnostic.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        },
        message: &diagnostic.message,
        line: before.map(|text| text.matches('\n').count() + 1),
        column: before.map(|text| text.rsplit('\n').next().unwrap_or_default().chars().count() + 1),
        help: &diagnostic.help,
    }
}
