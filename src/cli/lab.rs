//! `skep lab`: the hosts that skep made on this machine.

use clap::{Args, Subcommand};

use crate::error::{Error, Kind, Result};
use crate::inventory::{Inventory, Provider};
use crate::provider::lab::{self, Lab, LabLogin, LabState};
use crate::state::State;
use crate::ui::table::Table;
use crate::ui::{Printer, prompt, text};

use super::load::load;
use super::{Global, block_on};

/// The arguments of `skep lab`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  skep lab list
  skep lab off w1 --yes -i inventories/lab.toml
  skep lab down --yes -i inventories/lab.toml

`skep up` makes the hosts of an inventory with `provider = \"lab\"`.")]
pub struct LabArgs {
    /// What to do
    #[command(subcommand)]
    pub command: LabCommand,
}

/// What to do with the lab.
#[derive(Debug, Clone, Subcommand)]
pub enum LabCommand {
    /// List the hosts of all labs on this machine
    #[command(after_help = "Examples:\n  skep lab list --json")]
    List {
        /// Print them as JSON
        #[arg(long)]
        json: bool,
    },
    /// Start hosts of the lab that are off or frozen, and wait until they let us log in
    #[command(after_help = "Examples:\n  skep lab on w1 -i inventories/lab.toml")]
    On {
        /// Which hosts: names, globs, `managers`, `workers`, `@label=value`, `!host`
        #[arg(value_name = "SELECTOR")]
        hosts: String,
    },
    /// Pull the plug of hosts of the lab, to practise what a power failure does; their disks stay
    #[command(after_help = "Examples:\n  skep lab off w1 --yes -i inventories/lab.toml")]
    Off {
        /// Which hosts: names, globs, `managers`, `workers`, `@label=value`, `!host`
        #[arg(value_name = "SELECTOR")]
        hosts: String,

        /// Go ahead without asking
        #[arg(short, long)]
        yes: bool,
    },
    /// Delete the hosts of the inventory's lab, and all that was made for them
    #[command(after_help = "Examples:\n  skep lab down --yes -i inventories/lab.toml")]
    Down {
        /// Go ahead without asking
        #[arg(short, long)]
        yes: bool,

        /// Delete the images of hosts too, when no other lab is left
        #[arg(long)]
        purge: bool,
    },
}

/// Lists or deletes.
///
/// # Errors
///
/// When the lab's engine does not do what it should.
pub fn run(args: &LabArgs, global: &Global, printer: &Printer) -> Result<()> {
    match &args.command {
        LabCommand::List { json } => block_on(list(*json, printer)),
        LabCommand::On { hosts } => block_on(on(hosts, global, printer)),
        LabCommand::Off { hosts, yes } => block_on(off(hosts, *yes, global, printer)),
        LabCommand::Down { yes, purge } => block_on(down(*yes, *purge, global, printer)),
    }
}

async fn list(json: bool, printer: &Printer) -> Result<()> {
    let labs = lab::list().await?;
    if json {
        return printer.json(&labs);
    }
    if labs.is_empty() {
        printer.say("there is no lab on this machine");
        return Ok(());
    }
    let mut table = Table::new(["CLUSTER", "HOST", "STATE", "ADDRESS", "INVENTORY"]);
    for lab in &labs {
        for host in &lab.hosts {
            table.row([
                lab.cluster.clone(),
                host.name.clone(),
                host.state.to_string(),
                host.login.as_ref().map(at).unwrap_or_default(),
                lab.inventory.display().to_string(),
            ]);
        }
    }
    printer.data(&table.render())
}

/// Where to log in: the port is said where it is not SSH's own.
fn at(login: &LabLogin) -> String {
    match login.port {
        22 => login.address.to_string(),
        port => format!("{}:{port}", login.address),
    }
}

/// The lab, and the names of those of its hosts that `selector` selects.
fn select(selector: &str, inventory: &Inventory) -> Result<(Lab, Vec<String>)> {
    let selected = inventory.select(selector)?;
    let made_here = selected
        .iter()
        .filter(|host| host.provider == Provider::Lab);
    let hosts: Vec<String> = made_here.map(|host| host.name.clone()).collect();
    if hosts.is_empty() {
        let error = Error::usage(format!("`{selector}` selects no host of the lab"));
        return Err(error.hint("Hosts of the lab have `provider = \"lab\"`."));
    }
    Ok((Lab::open(inventory)?, hosts))
}

async fn on(selector: &str, global: &Global, printer: &Printer) -> Result<()> {
    let inventory = load(global, printer)?;
    let (lab, hosts) = select(selector, &inventory)?;
    let _alone = State::of(&inventory.cluster)?.lock("lab on")?;
    let lab = &lab;
    let started = futures::future::join_all(hosts.iter().map(async |host| {
        printer.say(format!("{host}: starting"));
        let started = lab.start(host).await;
        if started.is_ok() {
            printer.say(format!("{host}: lets us log in"));
        }
        started
    }));
    for started in started.await {
        started?;
    }
    Ok(())
}

async fn off(selector: &str, yes: bool, global: &Global, printer: &Printer) -> Result<()> {
    let inventory = load(global, printer)?;
    let (lab, hosts) = select(selector, &inventory)?;
    let _alone = State::of(&inventory.cluster)?.lock("lab off")?;
    let question = format!("Pull the plug of {}?", hosts.join(", "));
    if !prompt::confirm(&question, yes)? {
        return Err(Error::new(
            Kind::Interrupted,
            "not confirmed; nothing was changed",
        ));
    }
    let there = lab.reflect().await?;
    for host in &hosts {
        let state = there.iter().find(|it| it.name == *host).map(|it| it.state);
        if state == Some(LabState::Stopped) {
            printer.say(format!("{host}: it is off already"));
            continue;
        }
        lab.kill(host).await?;
        printer.say(format!("{host}: off"));
    }
    Ok(())
}

async fn down(yes: bool, purge: bool, global: &Global, printer: &Printer) -> Result<()> {
    let inventory = load(global, printer)?;
    let state = State::of(&inventory.cluster)?;
    let _alone = state.lock("lab down")?;
    let lab = Lab::open(&inventory)?;
    let hosts = lab.reflect().await?;
    if !hosts.is_empty() {
        let names: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
        printer.say(format!(
            "the lab `{}` has {}",
            inventory.cluster,
            names.join(", ")
        ));
        let count = text::count(hosts.len(), "host");
        let question = format!("Delete {count} with everything on them?");
        if !prompt::confirm(&question, yes)? {
            return Err(Error::new(
                Kind::Interrupted,
                "not confirmed; nothing was changed",
            ));
        }
    }
    lab.down(purge, &|line| printer.say(format!("lab: {line}")))
        .await?;
    state.forget_swarm()?;
    printer.say(if purge {
        "nothing of the lab is left"
    } else {
        "the lab is gone; its image stays for the next one, unless you add `--purge`"
    });
    Ok(())
}
