//! `skep upgrade`.

use clap::Args;

use crate::error::Result;
use crate::procedure::{Procedure, Unavailable};
use crate::ui::Printer;

use super::cluster::Cluster;
use super::work::{Work, WorkArgs};
use super::{Global, block_on};

/// The arguments of `skep upgrade`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Each node is drained, upgraded and activated again before the next one's turn comes: one worker
first, then the others, then the managers one by one, the leader last. One that fails stops all
that come after it. Without `--to` it is the `version` of the inventory, else the newest that the
host's own package sources offer.

Examples:
  skep upgrade
  skep upgrade --to 28.5 --max-unavailable 10%
  skep upgrade --on w1 --to 28.5")]
pub struct UpgradeArgs {
    /// The version, or its beginning such as `28.5`
    #[arg(long, value_name = "VERSION")]
    pub to: Option<String>,

    /// The hosts: names, globs, `managers`, `workers`, `all`, `@label=value`, `!host`
    #[arg(long, value_name = "SELECTOR")]
    pub on: Option<String>,

    /// How many workers may be out of service at once, as a number or a percentage
    #[arg(long, value_name = "N|P%", default_value = "1")]
    pub max_unavailable: Unavailable,

    /// How long to wait after each node
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub pause: u32,

    /// What all verbs that change something take.
    #[command(flatten)]
    pub work: WorkArgs,
}

/// Upgrades engines.
///
/// # Errors
///
/// A usage error, a refusal, a node whose upgrade failed.
pub fn run(args: &UpgradeArgs, global: &Global, printer: &Printer) -> Result<()> {
    block_on(async {
        let cluster = Cluster::open(global, args.on.as_deref(), printer).await?;
        cluster.is_made().await?;
        let procedure = Procedure::Upgrade {
            to: args.to.clone(),
            max_unavailable: args.max_unavailable,
            pause: args.pause,
        };
        let mut work = Work::begin(cluster, procedure, "upgrade", &args.work, printer)?;
        work.run().await
    })
}
