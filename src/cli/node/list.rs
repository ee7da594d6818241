//! `skep node list`: the nodes of the swarm, as the managers tell them.

use clap::Args;

use crate::cli::cluster::{Cluster, Emit, Follow};
use crate::cli::{Global, block_on};
use crate::error::{Error, Result};
use crate::procedure::Procedure;
use crate::status::{StatusReport, SwarmState};
use crate::swarm::Swarm;
use crate::ui::Printer;
use crate::ui::follow::Format;

/// The arguments of `skep node list`.
#[derive(Debug, Clone, Args)]
pub struct ListArgs {
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
}

/// Lists the nodes.
///
/// # Errors
///
/// When no manager with quorum answers.
pub(super) fn run(args: &ListArgs, global: &Global, printer: &Printer) -> Result<()> {
    block_on(async {
        let cluster = Cluster::open(global, None, printer).await?;
        cluster.is_made().await?;
        let mut follow = Follow::new(printer, Format::Human, None);
        let (gathered, _) = follow
            .during(async |it: &Emit| cluster.plan(&Procedure::UP, &|event| it.emit(event)).await)
            .await?;
        let swarm = Swarm::see(&cluster.inventory, &gathered);
        let report = StatusReport::new(&cluster.inventory, &gathered, &swarm, None);
        if report.swarm != SwarmState::Active {
            return Err(Error::failed(
                "no manager with quorum answers, so the nodes are not known",
            )
            .hint("`skep status` shows what is known."));
        }
        if args.json {
            return printer.json(&report.nodes);
        }
        printer.data(&report.render_nodes(true))
    })
}
