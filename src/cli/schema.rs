//! `skep schema`: the JSON Schema of the inventory and of playbooks.

use clap::{Args, ValueEnum};

use crate::error::Result;
use crate::ui::Printer;
use crate::{inventory, playbook};

/// The arguments of `skep schema`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  skep schema > skep.schema.json
  skep schema playbook > playbooks/playbook.schema.json

Editors that know Taplo complete and check an inventory whose first line is
  #:schema ./skep.schema.json")]
pub struct SchemaArgs {
    /// Of what: `inventory` or `playbook`
    #[arg(
        value_name = "KIND",
        value_enum,
        default_value_t,
        hide_possible_values = true
    )]
    pub of: Of,
}

/// What a schema is of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Of {
    /// An inventory.
    #[default]
    Inventory,
    /// A playbook.
    Playbook,
}

/// Prints the schema.
pub fn run(args: &SchemaArgs, printer: &Printer) -> Result<()> {
    printer.json(&match args.of {
        Of::Inventory => inventory::schema(),
        Of::Playbook => playbook::schema(),
    })
}
