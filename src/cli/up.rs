//! `skep up`: makes the cluster what the inventory says.

pub(super) mod cloud;
mod lab;

use std::fs;
use std::path::PathBuf;

use clap::Args;

use crate::error::{Error, Result};
use crate::plan::saved::Saved;
use crate::procedure::Procedure;
use crate::shell;
use crate::ui::Printer;

pub(super) use cloud::make_servers;
pub(super) use lab::make_hosts;

use super::cluster::Cluster;
use super::destroy::prune_servers;
use super::work::{Work, WorkArgs};
use super::{Global, block_on, wipe};

/// The arguments of `skep up`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  skep up
  skep up -i inventories/lab.toml --yes
  skep up --on w7
  skep up --prune
  skep plan --out today.plan && skep up today.plan")]
pub struct UpArgs {
    /// Carry out exactly this saved plan, or refuse because facts have changed
    #[arg(value_name = "PLAN", conflicts_with_all = ["on", "prune"])]
    pub plan: Option<PathBuf>,

    /// Change these hosts only: names, globs, `managers`, `workers`, `@label=value`, `!host`
    #[arg(long, value_name = "SELECTOR")]
    pub on: Option<String>,

    /// Take nodes out of the swarm that are no host of the inventory, one at a time, and then their
    /// servers out of the cloud
    #[arg(long)]
    pub prune: bool,

    /// Make a new swarm although this cluster had one whose managers do not all say that they left it
    #[arg(long)]
    pub new_swarm: bool,

    /// Go on without the hosts that do not answer; they are named, and are no failure
    #[arg(long)]
    pub skip_unreachable: bool,

    /// Allow this one device to be erased; asks for its serial number, with --yes too
    #[arg(long, value_name = "HOST:DEVICE", conflicts_with = "plan")]
    pub wipe: Option<String>,

    /// What all verbs that change something take.
    #[command(flatten)]
    pub work: WorkArgs,
}

impl UpArgs {
    /// The command as the audit tells it.
    fn told(&self) -> String {
        let mut words = vec!["up".to_owned()];
        words.extend(self.plan.as_ref().map(|path| path.display().to_string()));
        for (option, value) in [("--on", &self.on), ("--wipe", &self.wipe)] {
            if let Some(value) = value {
                words.extend([option.to_owned(), value.clone()]);
            }
        }
        let flags = [
            ("--prune", self.prune),
            ("--new-swarm", self.new_swarm),
            ("--skip-unreachable", self.skip_unreachable),
            ("--allow-downtime", self.work.allow_downtime),
            ("--break-lock", self.work.break_lock),
        ];
        let flags = flags.into_iter().filter(|(_, given)| *given);
        words.extend(flags.map(|(flag, _)| flag.to_owned()));
        shell::join(words.iter().map(String::as_str))
    }
}

/// Brings the cluster up.
///
/// # Errors
///
/// A refusal, a host that failed, an interruption; what happened has been shown by then.
pub fn run(args: &UpArgs, global: &Global, printer: &Printer) -> Result<()> {
    let saved = args.plan.as_ref().map(read_saved).transpose()?;
    if saved.is_some() && args.work.allow_downtime {
        let error = Error::usage("a saved plan runs as it was shown, without `--allow-downtime`");
        return Err(error.hint("`skep up --allow-downtime` plans anew."));
    }
    block_on(async {
        let mut cluster = Cluster::open(global, args.on.as_deref(), printer).await?;
        wipe::allow(&mut cluster.inventory, args.wipe.as_deref())?;
        if args.skip_unreachable {
            cluster.inventory.all_optional();
        }
        if let Some(saved) = &saved {
            cluster.selected.clone_from(&saved.selected);
        }
        cluster.new_swarm = args.new_swarm;
        let procedure = Procedure::Up { prune: args.prune };
        let mut work = Work::begin(cluster, procedure, "up", &args.work, printer)?;
        work.audit.named(args.told());
        work.saved = saved;
        bring_up(&mut work).await
    })
}

/// Makes the hosts of a lab that are not there, then all that the inventory says.
pub(super) async fn bring_up(work: &mut Work<'_>) -> Result<()> {
    let result = make_and_set_up(work).await;
    work.finished(&result).await?;
    result
}

async fn make_and_set_up(work: &mut Work<'_>) -> Result<()> {
    work.started().await?;
    let of_lab = make_hosts(work).await?;
    let of_cloud = make_servers(work).await?;
    let made = [of_lab.as_slice(), &of_cloud].concat();
    let lock = work.lock().await?;
    let mut result = work.rounds(&made, &lock).await;
    if result.is_ok() && work.procedure == (Procedure::Up { prune: true }) {
        result = prune_servers(work).await;
    }
    work.let_go(lock, &result).await;
    result?;
    tell_of_lab(work, &of_lab);
    Ok(())
}

/// Says what can be done with a lab that was made just now.
fn tell_of_lab(work: &Work<'_>, made: &[String]) {
    if made.is_empty() {
        return;
    }
    let inventory = work.cluster.inventory.path.display();
    work.printer.hint(format!(
        "`skep status -i {inventory}` shows it, `skep lab down -i {inventory}` ends it."
    ));
}

fn read_saved(path: &PathBuf) -> Result<Saved> {
    let shown = path.display();
    let text = fs::read_to_string(path)
        .map_err(|error| Error::usage(format!("cannot read `{shown}`")).because(error))?;
    Saved::from_text(&text).map_err(|error| {
        Error::usage(format!("cannot use `{shown}`: {error}"))
            .hint("`skep plan --out FILE` writes such a file.")
    })
}

#[cfg(test)]
mod tests {
    use crate::cli::{Cli, Command};
    use clap::Parser as _;

    fn told(arguments: &[&str]) -> String {
        let words = ["skep", "up"].iter().chain(arguments);
        match Cli::try_parse_from(words).unwrap().command {
            Command::Up(args) => args.told(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_audit_names_what_decides_the_changes() {
        assert_eq!(told(&["--yes", "--json"]), "up");
        assert_eq!(told(&["--on", "w* & !w1"]), "up --on 'w* & !w1'");
        assert_eq!(told(&["today.plan"]), "up today.plan");
        let all = ["--skip-unreachable", "--wipe", "w1:/dev/sdb", "--prune"];
        let line = "up --wipe w1:/dev/sdb --prune --skip-unreachable";
        assert_eq!(told(&all), line);
    }
}
