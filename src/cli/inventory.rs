//! `skep inventory`: the checked inventory, for people and for other programs.

mod ansible;

use clap::Args;

use crate::cli::load::load;
use crate::error::{Error, Result};
use crate::inventory::{Inventory, Provider, Role};
use crate::ui::Printer;
use crate::ui::table::Table;

use super::Global;

/// The arguments of `skep inventory`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  skep inventory
  skep inventory --json | jq -r '.hosts[].address'

As a dynamic inventory for Ansible, make this an executable file and name it with `ansible -i`:
  #!/bin/sh
  exec skep inventory -i /path/to/skep.toml --ansible \"$@\"")]
pub struct InventoryArgs {
    /// List the hosts as a table; this is the default
    #[arg(long)]
    pub list: bool,

    /// Print everything as JSON, all settings resolved
    #[arg(long, conflicts_with_all = ["ansible", "host", "list"])]
    pub json: bool,

    /// Print it as an Ansible dynamic inventory
    #[arg(long)]
    pub ansible: bool,

    /// Print the Ansible variables of one host
    #[arg(long, value_name = "NAME", conflicts_with = "list")]
    pub host: Option<String>,
}

/// Prints the inventory.
pub fn run(args: &InventoryArgs, global: &Global, printer: &Printer) -> Result<()> {
    let inventory = load(global, printer)?;
    if let Some(name) = &args.host {
        let host = inventory.host(name).ok_or_else(|| {
            Error::usage(format!("no host `{name}` in the inventory"))
                .hint("`skep inventory` lists the hosts.")
        })?;
        return printer.json(&ansible::variables(&inventory, host));
    }
    if args.ansible {
        printer.json(&ansible::inventory(&inventory))
    } else if args.json {
        printer.json(&inventory)
    } else {
        printer.data(&table(&inventory).render())
    }
}

fn table(inventory: &Inventory) -> Table {
    let mut table = Table::new(["NAME", "ROLE", "ADDRESS", "USER", "GROUPS", "LABELS"]);
    for host in &inventory.hosts {
        let role = match host.role {
            Role::Manager => "manager",
            Role::Worker => "worker",
            Role::None => "none",
        };
        let address = match (&host.address, host.provider) {
            (Some(address), _) => address.clone(),
            (None, Provider::Lab) => "(lab)".to_owned(),
            (None, Provider::OpenStack) => "(openstack)".to_owned(),
            (None, Provider::Static) => String::new(),
        };
        let groups: Vec<&str> = host.groups.iter().map(String::as_str).collect();
        let labels: Vec<String> = host
            .labels
            .iter()
            .map(|(k, v)| format!("{k}={v}"))
            .collect();
        table.row([
            host.name.clone(),
            role.to_owned(),
            address,
            host.ssh.user.clone().unwrap_or_default(),
            groups.join(","),
            labels.join(","),
        ]);
    }
    table
}
