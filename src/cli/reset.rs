//! `skep reset`: takes a swarm apart.

use clap::Args;

use crate::error::{Error, Result};
use crate::procedure::Procedure;
use crate::ui::{Printer, prompt};

use super::cluster::Cluster;
use super::work::{Work, WorkArgs};
use super::{Global, block_on};

/// The arguments of `skep reset`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Every host leaves the swarm, workers first. Services, secrets, configs and overlay networks are lost;
engines, images, containers of a plain `docker run`, and volumes stay. `skep up` makes a new swarm.

The cluster's name must be typed, or given with --confirm; --yes is no answer.

Examples:
  skep reset
  skep reset --confirm hive")]
pub struct ResetArgs {
    /// The cluster's name, to go ahead without being asked for it
    #[arg(long, value_name = "NAME")]
    pub confirm: Option<String>,

    /// Leave hosts as they are that do not answer
    #[arg(long)]
    pub skip_unreachable: bool,

    /// What all verbs that change something take.
    #[command(flatten)]
    pub work: WorkArgs,
}

/// Takes the swarm apart.
///
/// # Errors
///
/// Another name, a refusal, a host that did not leave.
pub fn run(args: &ResetArgs, global: &Global, printer: &Printer) -> Result<()> {
    block_on(async {
        let mut cluster = Cluster::open(global, None, printer).await?;
        cluster.is_made().await?;
        if args.skip_unreachable {
            cluster.inventory.all_optional();
        }
        let mut work = Work::begin(cluster, Procedure::Reset, "reset", &args.work, printer)?;
        work.typed.clone_from(&args.confirm);
        let result = work.run().await;
        if result.is_ok() {
            work.cluster.forget();
        }
        result
    })
}

/// Asks for the cluster's name, unless it was `typed` before.
///
/// # Errors
///
/// A refusal where it is another one, or where there is nobody to ask.
pub(super) fn confirm(cluster: &str, typed: Option<&str>) -> Result<()> {
    let question = format!("Take the swarm of `{cluster}` apart?");
    let help = "Its services, secrets and networks are lost. To go on, type the cluster's name";
    confirm_name(cluster, typed, &question, help)
}

/// Asks `question`, to which the cluster's name is the answer, unless it was `typed` before.
///
/// # Errors
///
/// A refusal where it is another one, or where there is nobody to ask.
pub(super) fn confirm_name(
    cluster: &str,
    typed: Option<&str>,
    question: &str,
    help: &str,
) -> Result<()> {
    let answer = match typed {
        Some(typed) => typed.to_owned(),
        None if prompt::can_ask() => prompt::text(question, None, help)?,
        None => {
            let error = Error::refused("there is no terminal to type the cluster's name on");
            return Err(error.hint(format!("Pass `--confirm {cluster}` if you mean it.")));
        }
    };
    if answer.trim() == cluster {
        return Ok(());
    }
    Err(Error::refused(format!(
        "`{}` is not the cluster's name; nothing was changed",
        answer.trim()
    )))
}
