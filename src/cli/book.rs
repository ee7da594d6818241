//! The playbook that a procedure goes by: the user's own beside the inventory, else skep's.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::inventory::Inventory;
use crate::playbook::{self, Around, Playbook, Source, Verb};
use crate::procedure::PlaybookRun;
use crate::template::Vars;
use crate::ui::{Printer, text};

use super::cluster::Cluster;
use super::load::show_findings;
use super::run::{folder, secrets};

/// The file of the user's own playbook for `verb`, and what is in it, where there is one.
fn own(verb: Verb, inventory: &Path) -> Result<Option<(PathBuf, Vec<u8>)>> {
    let path = folder(inventory).join(format!("{}.toml", verb.name()));
    match std::fs::read(&path) {
        Ok(bytes) => Ok(Some((path, bytes))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => {
            let shown = path.display();
            Err(Error::usage(format!("cannot read the playbook `{shown}`")).because(error))
        }
    }
}

/// Prints the playbook that `verb` goes by.
///
/// # Errors
///
/// The user's own cannot be read, or nothing can be printed.
pub(super) fn print(verb: Verb, inventory: &Path, printer: &Printer) -> Result<()> {
    match own(verb, inventory)? {
        Some((_, bytes)) => printer.data(&String::from_utf8_lossy(&bytes)),
        None => printer.data(verb.shipped()),
    }
}

/// The user's own playbook for `verb` with all that is to be said of it, where there is one.
///
/// # Errors
///
/// It cannot be read.
pub(super) fn look(verb: Verb, inventory: &Inventory) -> Result<Option<Source>> {
    let Some((path, bytes)) = own(verb, &inventory.path)? else {
        return Ok(None);
    };
    let around = Around {
        inventory,
        given: &BTreeSet::new(),
    };
    let read = |path: &Path| std::fs::read(path);
    let source = playbook::parse_for(verb, bytes, &path, &read, Some(&around));
    Ok(Some(source))
}

/// Shows what is to be said of a playbook; fails where it cannot be used.
///
/// # Errors
///
/// A usage error; what is wrong has been shown by then.
pub(super) fn show(source: &Source, printer: &Printer) -> Result<()> {
    let shown = source.path.display().to_string();
    show_findings(&shown, &source.text, &source.diagnostics, printer);
    usable(source)
}

/// Fails where a playbook cannot be used.
///
/// # Errors
///
/// A usage error, which counts what is wrong.
pub(super) fn usable(source: &Source) -> Result<()> {
    let shown = source.path.display();
    if source.playbook.is_some() {
        return Ok(());
    }
    let errors = source.diagnostics.iter().filter(|it| it.is_error()).count();
    let errors = text::count(errors, "error");
    Err(Error::usage(format!("the playbook `{shown}` has {errors}")))
}

/// The playbook that `verb` goes by. In a `hurry` one with errors stops nothing.
///
/// # Errors
///
/// The user's own cannot be read or used; what is wrong has been shown by then.
pub(super) fn open(
    verb: Verb,
    inventory: &Inventory,
    hurry: bool,
    printer: &Printer,
) -> Result<Playbook> {
    let found = look(verb, inventory).and_then(|source| {
        if let Some(source) = &source {
            show(source, printer)?;
        }
        Ok(source.and_then(|source| source.playbook))
    });
    let found = match found {
        Err(error) if hurry => {
            printer.warn(format!("{error}; skep goes by its own"));
            None
        }
        found => found?,
    };
    let shipped = || {
        let missing = || Error::failed(format!("`skep {}` has no playbook", verb.name()));
        Playbook::shipped(verb).ok_or_else(missing)
    };
    found.map_or_else(shipped, Ok)
}

/// The same with its secrets, which those who write the files get too.
///
/// # Errors
///
/// A secret is not there.
pub(super) async fn ready(
    playbook: Playbook,
    cluster: &Cluster,
    printer: &Printer,
) -> Result<PlaybookRun> {
    let (secrets, kept) = secrets(&playbook, printer).await?;
    cluster.live.keep(kept);
    // What tells this run from every other: a command that failed is run anew by the next.
    let id = crate::ssh::nonce();
    Ok(PlaybookRun::new(playbook, Vars::new(), secrets, id))
}
