//! The inventory as every verb gets it: read, checked, its findings shown.

use crate::error::{Error, Result};
use crate::inventory::{self, Inventory, LoadError, Source};
use crate::ui::{Printer, diagnostic};

use super::Global;

/// Reads the inventory that the command line names, and shows what is wrong with it.
///
/// # Errors
///
/// A usage error when it cannot be read or has errors; these have been shown by then.
pub fn load(global: &Global, printer: &Printer) -> Result<Inventory> {
    let mut source = inventory::read(&global.inventory_path())?;
    show(&source, printer);
    match source.inventory.take() {
        Some(inventory) => Ok(inventory),
        None => Err(Error::from(LoadError::Invalid(Box::new(source)))),
    }
}

/// Shows all findings about an inventory.
pub fn show(source: &Source, printer: &Printer) {
    let path = source.path.display().to_string();
    let (errors, warnings): (Vec<_>, Vec<_>) = source
        .diagnostics
        .iter()
        .cloned()
        .partition(inventory::Diagnostic::is_error);
    // The printer takes the colours out where they are not wanted.
    let render = |findings: &[_]| diagnostic::render(&path, &source.text, findings, true);
    if !warnings.is_empty() {
        printer.notice(render(&warnings) + "\n");
    }
    if !errors.is_empty() {
        printer.trouble(render(&errors) + "\n");
    }
}
