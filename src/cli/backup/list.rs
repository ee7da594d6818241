//! `skep backup list`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use crate::backup::{Entry, Head};
use crate::cli::Global;
use crate::cli::load::load;
use crate::error::Result;
use crate::ui::table::Table;
use crate::ui::{Printer, text};

use super::{listed, settings};

/// The arguments of `skep backup list`.
#[derive(Debug, Clone, Args)]
pub struct ListArgs {
    /// The directory, in place of the inventory's
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,

    /// Print them as JSON
    #[arg(long)]
    pub json: bool,
}

/// A backup, as JSON tells it.
#[derive(Debug, Serialize)]
struct Listed<'a> {
    path: &'a PathBuf,
    #[serde(flatten)]
    head: Option<&'a Head>,
}

pub(super) fn run(args: &ListArgs, global: &Global, printer: &Printer) -> Result<()> {
    let directory = match &args.to {
        Some(directory) => directory.clone(),
        None => settings(&load(global, printer)?).directory,
    };
    let entries = listed(&directory)?;
    if args.json {
        let listed = entries.iter().map(|entry| Listed {
            path: &entry.path,
            head: entry.head.as_ref(),
        });
        return printer.json(&listed.collect::<Vec<_>>());
    }
    if entries.is_empty() {
        let shown = directory.display();
        printer.notice(format!("no backup in `{shown}`; `skep backup` takes one\n"));
        return Ok(());
    }
    printer.data(&render(&entries, Timestamp::now()))
}

fn render(entries: &[Entry], now: Timestamp) -> String {
    let mut table = Table::new([
        "TAKEN",
        "AGE",
        "CLUSTER",
        "FROM",
        "ADDRESS",
        "ENGINE",
        "LOCKED",
        "SIZE",
        "ENCRYPTED TO",
        "FILE",
    ]);
    for entry in entries {
        let name = entry.path.file_name().unwrap_or_default();
        let name = name.to_string_lossy().into_owned();
        let Some(head) = &entry.head else {
            let mut row = vec![String::new(); 9];
            "unknown: no file beside it tells".clone_into(&mut row[2]);
            row.push(name);
            table.row(row);
            continue;
        };
        let age = now.duration_since(head.taken).as_secs();
        let age = Duration::from_secs(u64::try_from(age).unwrap_or(0));
        let to = match &head.recipients[..] {
            [] => "nobody: in the clear".to_owned(),
            some => some.join(", "),
        };
        table.row([
            head.taken.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
            text::duration(age),
            head.cluster.clone(),
            head.host.clone(),
            head.address.clone(),
            head.engine.clone(),
            if head.locked { "yes" } else { "no" }.to_owned(),
            crate::plan::bytes(head.size),
            to,
            name,
        ]);
    }
    table.render()
}
