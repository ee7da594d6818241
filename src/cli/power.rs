//! `skep power`: hosts are switched on and off.

mod passwords;

use std::collections::BTreeSet;

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::facts::{Probe, Probes};
use crate::fleet::Fleet as _;
use crate::fleet::live::Powered;
use crate::inventory::Inventory;
use crate::plan::PowerWay;
use crate::procedure::{PowerAct, PowerProcedure, Procedure};
use crate::ui::Printer;
use crate::ui::table::Table;

use super::cluster::Cluster;
use super::reboot::{identities, refuse_this_machine};
use super::work::{Work, WorkArgs};
use super::{Global, block_on};

pub(super) use passwords::{keep_passwords, keep_unasked};

/// The arguments of `skep power`.
#[derive(Debug, Clone, Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = "\
How a host is switched on stands in the inventory (`power`): a packet that wakes it, its management
controller, a program of your own. Hosts of the lab need nothing. Where there is no way, skep says whose
button to press, and waits.

Examples:
  skep power status
  skep power on w3
  skep power off w3
  skep power off w3 --cut && skep power on w3"
)]
pub struct PowerArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: PowerVerb,
}

/// The verbs of `skep power`.
#[derive(Debug, Clone, Subcommand)]
pub enum PowerVerb {
    /// Tell which hosts have power and which answer
    #[command(after_help = "Example:\n  skep power status workers --json")]
    Status(StatusArgs),
    /// Switch hosts on, and wait until they let us log in
    #[command(after_help = "Example:\n  skep power on w3 --wait 10m")]
    On(OnArgs),
    /// Shut hosts down; refused where the swarm would lose its quorum
    #[command(after_help = "Examples:\n  skep power off w3\n  skep power off w3 --cut")]
    Off(OffArgs),
}

/// The arguments of `skep power status`.
#[derive(Debug, Clone, Args)]
pub struct StatusArgs {
    /// The hosts; all where none is named
    #[arg(value_name = "HOST")]
    pub hosts: Vec<String>,

    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
}

/// The arguments of `skep power on`.
#[derive(Debug, Clone, Args)]
pub struct OnArgs {
    /// The hosts: names, globs, `managers`, `workers`, `all`, `@label=value`, `!host`
    #[arg(required = true, value_name = "HOST")]
    pub hosts: Vec<String>,

    /// How long they may take until they let us log in
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = time)]
    pub wait: u32,

    /// What all verbs that change something take.
    #[command(flatten)]
    pub work: WorkArgs,
}

/// The arguments of `skep power off`.
#[derive(Debug, Clone, Args)]
pub struct OffArgs {
    /// The hosts: names, globs, `managers`, `workers`, `all`, `@label=value`, `!host`
    #[arg(required = true, value_name = "HOST")]
    pub hosts: Vec<String>,

    /// Take the power away from outside, whatever the host does: for one that hangs
    #[arg(long)]
    pub cut: bool,

    /// What all verbs that change something take.
    #[command(flatten)]
    pub work: WorkArgs,
}

/// A time in seconds: `90`, `90s`, `30m`, `2h`.
///
/// # Errors
///
/// A text that is none, or more than a day.
pub(super) fn time(text: &str) -> Result<u32, String> {
    let (number, factor) = match text.strip_suffix(['s', 'm', 'h']) {
        Some(number) if text.ends_with('h') => (number, 3600),
        Some(number) if text.ends_with('m') => (number, 60),
        Some(number) => (number, 1),
        None => (text, 1),
    };
    let seconds = number.parse::<u32>().ok();
    let seconds = seconds.and_then(|number| number.checked_mul(factor));
    let seconds = seconds.filter(|seconds| (1..=24 * 3600).contains(seconds));
    seconds.ok_or_else(|| "expected 1 second to 24 hours, such as `90s`, `30m` or `2h`".to_owned())
}

/// Switches hosts, or tells of them.
///
/// # Errors
///
/// A usage error, a refusal, a host that did not do it.
pub fn run(args: &PowerArgs, global: &Global, printer: &Printer) -> Result<()> {
    block_on(async {
        match &args.verb {
            PowerVerb::Status(args) => status(args, global, printer).await,
            PowerVerb::On(args) => {
                let act = PowerAct::On { wait: args.wait };
                switch(act, &args.hosts, &args.work, global, printer).await
            }
            PowerVerb::Off(args) => {
                let act = if args.cut {
                    PowerAct::Cut
                } else {
                    PowerAct::ShutDown
                };
                switch(act, &args.hosts, &args.work, global, printer).await
            }
        }
    })
}

async fn switch(
    act: PowerAct,
    hosts: &[String],
    args: &WorkArgs,
    global: &Global,
    printer: &Printer,
) -> Result<()> {
    let mut cluster = Cluster::open(global, None, printer).await?;
    cluster.selected = select(&cluster.inventory, hosts)?;
    cluster.is_made().await?;
    keep_passwords(&cluster, &cluster.selected, printer).await?;
    if !matches!(act, PowerAct::On { .. }) {
        refuse_this_machine(&identities(&cluster, &cluster.selected).await)?;
    }
    let procedure = Procedure::Power(PowerProcedure::new(act));
    let verb = if matches!(act, PowerAct::On { .. }) {
        "power on"
    } else {
        "power off"
    };
    let mut work = Work::begin(cluster, procedure, verb, args, printer)?;
    work.run().await
}

fn select(inventory: &Inventory, words: &[String]) -> Result<BTreeSet<String>> {
    let mut selected = BTreeSet::new();
    for word in words {
        let hosts = inventory.select(word)?;
        selected.extend(hosts.into_iter().map(|host| host.name.clone()));
    }
    Ok(selected)
}

/// What is known of a host's power.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Row {
    host: String,
    way: String,
    power: Powered,
    answers: bool,
    error: Option<String>,
}

async fn status(args: &StatusArgs, global: &Global, printer: &Printer) -> Result<()> {
    let cluster = Cluster::open(global, None, printer).await?;
    let hosts = if args.hosts.is_empty() {
        cluster.selected.clone()
    } else {
        select(&cluster.inventory, &args.hosts)?
    };
    keep_passwords(&cluster, &hosts, printer).await?;
    let live = &cluster.live;
    let probes = Probes::from([Probe::Identity]);
    let all = cluster.inventory.hosts.iter();
    let asked = all.filter(|host| hosts.contains(&host.name)).map(|host| {
        let probes = &probes;
        async move {
            let way = PowerWay::of(host);
            let (powered, answer) = tokio::join!(
                live.powered(&host.name, &way),
                live.gather(&host.name, probes)
            );
            let (power, error) = match powered {
                Ok(power) => (power, None),
                Err(fault) => (Powered::Unknown, Some(fault.message)),
            };
            Row {
                host: host.name.clone(),
                way: way.to_string(),
                // Whoever answers has power.
                power: if answer.is_ok() { Powered::On } else { power },
                answers: answer.is_ok(),
                error,
            }
        }
    });
    let rows = futures::future::join_all(asked).await;
    if args.json {
        printer.json(&rows)?;
    } else {
        let mut table = Table::new(["HOST", "POWER", "ANSWERS", "SWITCHED ON BY"]);
        for row in &rows {
            let power = match row.power {
                Powered::On => "on",
                Powered::Off => "off",
                Powered::Unknown => "unknown",
            };
            let answers = if row.answers { "yes" } else { "no" };
            table.row([&row.host, power, answers, &row.way]);
        }
        printer.data(&table.render())?;
    }
    for row in &rows {
        if let Some(error) = &row.error {
            printer.warn(format!("{}: {error}", row.host));
        }
    }
    if rows.iter().any(|row| row.error.is_some()) {
        return Err(Error::failed("not every host's power is known"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::time;

    #[test]
    fn a_time_has_a_unit_or_is_in_seconds() {
        assert_eq!(time("90"), Ok(90));
        assert_eq!(time("90s"), Ok(90));
        assert_eq!(time("30m"), Ok(1800));
        assert_eq!(time("24h"), Ok(86400));
        for bad in ["", "0", "m", "25h", "1d", "-5", "1.5h", "99999999999h"] {
            assert!(time(bad).is_err(), "{bad}");
        }
    }
}
