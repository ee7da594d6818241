//! `skep schema`: the JSON Schema of the inventory.

use clap::Args;

use crate::error::Result;
use crate::inventory;
use crate::ui::Printer;

/// The arguments of `skep schema`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  skep schema > skep.schema.json

Editors that know Taplo complete and check an inventory whose first line is
  #:schema ./skep.schema.json")]
pub struct SchemaArgs {}

/// Prints the schema.
pub fn run(_args: &SchemaArgs, printer: &Printer) -> Result<()> {
    printer.json(&inventory::schema())
}
