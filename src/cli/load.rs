//! The inventory as every verb gets it: read, checked, its findings shown.

use crate::error::{Error, Result};
use crate::inventory::{self, Diagnostic, Inventory, LoadError, Source};
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
    show_findings(&path, &source.text, &source.diagnostics, printer);
}

/// Shows all findings about the file `path`.
pub fn show_findings(path: &str, text: &str, findings: &[Diagnostic], printer: &Printer) {
    let (errors, warnings): (Vec<_>, Vec<_>) =
        findings.iter().cloned().partition(Diagnostic::is_error);
    // The printer takes the colours out where they are not wanted.
    let render = |findings: &[_]| diagnostic::render(path, text, findings, true);
    if !warnings.is_empty() {
        printer.notice(render(&warnings) + "\n");
    }
    if !errors.is_empty() {
        printer.trouble(render(&errors) + "\n");
    }
}
