//! `skep status`: how the cluster is.

use std::time::Duration;

use clap::Args;
use jiff::Timestamp;

use crate::error::{Error, Kind, Result};
use crate::procedure::Procedure;
use crate::status::{StatusReport, SwarmState, probes};
use crate::swarm::Swarm;
use crate::ui::follow::Format;
use crate::ui::{Printer, interrupt, text};

use super::cluster::{Cluster, Emit, Follow};
use super::{Global, block_on, held};

/// How often `--watch` looks.
const EVERY: Duration = Duration::from_secs(5);

/// The arguments of `skep status`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  skep status
  skep status --watch
  skep status --json | jq -r '.nodes[] | select(.state != \"ready\") | .name'

The exit code is 0 when the swarm takes orders and every host answered.")]
pub struct StatusArgs {
    /// Show it again and again until Ctrl-C
    #[arg(short, long)]
    pub watch: bool,

    /// Print it as JSON; with --watch one line each time
    #[arg(long)]
    pub json: bool,
}

/// Shows how the cluster is.
///
/// # Errors
///
/// When there is no swarm that takes orders, or a host gave no answer.
pub fn run(args: &StatusArgs, global: &Global, printer: &Printer) -> Result<()> {
    block_on(async {
        let cluster = Cluster::open(global, None, printer).await?;
        cluster.is_made().await?;
        if !args.watch {
            let report = look(&cluster, printer).await?;
            show(&report, args, printer)?;
            if report.swarm == SwarmState::Active {
                held::look(&cluster, &Procedure::UP, printer).await;
            }
            return ending(&report);
        }
        let stop = interrupt::quietly()?;
        loop {
            let report = tokio::select! {
                report = look(&cluster, printer) => report?,
                () = stop.cancelled() => return Ok(()),
            };
            show(&report, args, printer)?;
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = stop.cancelled() => return Ok(()),
            }
        }
    })
}

/// Asks the hosts how the cluster is.
///
/// # Errors
///
/// When what happens cannot be written to stdout.
pub(super) async fn look(cluster: &Cluster, printer: &Printer) -> Result<StatusReport> {
    let mut follow = Follow::new(printer, Format::Human, None);
    let (gathered, plan) = follow
        .during(async |it: &Emit| {
            let emit = |event| it.emit(event);
            cluster.plan_and(&Procedure::UP, &probes(), &emit).await
        })
        .await?;
    let swarm = Swarm::see(&cluster.inventory, &gathered);
    let inventory = &cluster.inventory;
    let mut report = StatusReport::new(inventory, &gathered, &swarm, Some(&plan));
    report.add_certificates(inventory, &gathered, &swarm, Timestamp::now());
    report
        .warnings
        .extend(super::backup::too_old(inventory, &swarm));
    Ok(report)
}

fn show(report: &StatusReport, args: &StatusArgs, printer: &Printer) -> Result<()> {
    match (args.json, args.watch) {
        (true, true) => printer.json_line(report),
        (true, false) => printer.json(report),
        (false, watch) => {
            // Home and clear to the end: no flicker, and no escape codes in a file.
            let clear = if watch && printer.bars().is_some() {
                "\x1b[H\x1b[2J"
            } else {
                ""
            };
            printer.data(&format!(
                "{clear}{}",
                report.render(printer.level() >= crate::ui::Level::Verbose)
            ))
        }
    }
}

/// The error of a cluster that is not well.
pub(super) fn ending(report: &StatusReport) -> Result<()> {
    let error = match report.swarm {
        SwarmState::Active if report.unreachable.is_empty() => return Ok(()),
        SwarmState::Active => {
            let hosts = text::count(report.unreachable.len(), "host");
            Error::new(Kind::Failed, format!("{hosts} gave no answer"))
        }
        SwarmState::Absent => Error::failed("there is no swarm").hint("`skep up` makes one."),
        SwarmState::NoQuorum => Error::failed("the swarm has no quorum")
            .hint("Bring managers back until the majority is there."),
        SwarmState::Unknown => {
            Error::failed("how the swarm is cannot be told: no manager answered")
        }
        SwarmState::Split => Error::failed("the hosts are in more than one swarm"),
    };
    Err(error)
}
