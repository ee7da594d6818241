//! `skep recover`: goes on from one manager where the quorum is lost for good.

use clap::Args;

use crate::error::Result;
use crate::procedure::{Procedure, RecoverProcedure};
use crate::ui::Printer;

use super::cluster::Cluster;
use super::reset::confirm_name;
use super::work::{Work, WorkArgs};
use super::{Global, block_on};

/// The arguments of `skep recover`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Refused while the managers that live could be a majority. Each of them keeps a copy of what it
knows, on its own host; then the others leave the old swarm, and the one whose raft log got
farthest is made the only manager. Services, secrets and workers stay. Former managers leave the
list, the join tokens are made anew, and all is done that `skep up` would do. Run it again to go
on after a failure.

The cluster's name must be typed, or given with --confirm; --yes is no answer to that.

Examples:
  skep recover
  skep recover --lost m2 --lost m3
  skep recover --lost m2 --lost m3 --confirm hive")]
pub struct RecoverArgs {
    /// A manager that does not answer and will never come back with what it knew; may be repeated
    #[arg(long, value_name = "NAME")]
    pub lost: Vec<String>,

    /// The manager to go on from; else the one whose raft log got farthest
    #[arg(long, value_name = "NAME")]
    pub from: Option<String>,

    /// Keep no copies of what the managers know, where there is no room or an engine does not stop
    #[arg(long)]
    pub no_copy: bool,

    /// The cluster's name, to go ahead without being asked for it
    #[arg(long, value_name = "NAME")]
    pub confirm: Option<String>,

    /// What all verbs that change something take.
    #[command(flatten)]
    pub work: WorkArgs,
}

/// Recovers the swarm.
///
/// # Errors
///
/// Another name, a refusal, a round that failed.
pub fn run(args: &RecoverArgs, global: &Global, printer: &Printer) -> Result<()> {
    block_on(async {
        let cluster = Cluster::open(global, None, printer).await?;
        cluster.is_made().await?;
        let procedure = Procedure::Recover(RecoverProcedure {
            lost: args.lost.iter().cloned().collect(),
            from: args.from.clone(),
            no_copy: args.no_copy,
            begun: false,
        });
        let mut work = Work::begin(cluster, procedure, "recover", &args.work, printer)?;
        work.typed.clone_from(&args.confirm);
        work.run().await
    })
}

/// Asks for the cluster's name, unless it was `typed` before.
///
/// # Errors
///
/// A refusal where it is another one, or where there is nobody to ask.
pub(super) fn confirm(cluster: &str, typed: Option<&str>) -> Result<()> {
    let question = format!("Force a new cluster for `{cluster}` from one manager?");
    let help = "What only the lost managers knew is lost. To go on, type the cluster's name";
    confirm_name(cluster, typed, &question, help)
}
