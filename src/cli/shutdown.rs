//! `skep shutdown`: switches everything off in the right order.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};

use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::playbook::Verb;
use crate::procedure::{PlaybookRun, Procedure, ShutdownProcedure};
use crate::record::{self, FILE};
use crate::secret::COMMAND_DEADLINE;
use crate::state::{Owner, State};
use crate::ui::Printer;

use super::book;
use super::cluster::Cluster;
use super::load::load;
use super::power::keep_unasked;
use super::reset::confirm_name;
use super::work::{Work, WorkArgs};
use super::{Global, block_on};

/// How long a host may take to let us log in where there is a hurry, in seconds.
const HURRY: u32 = 5;

/// How long hosts may be asked how they stand in an emergency, in seconds.
const GATHER: u32 = 45;

/// The shortest deadline in which anything can be switched off, in seconds.
const SHORTEST: u32 = 30;

/// What every unlock key of a swarm begins with.
const UNLOCK_KEY: &str = "SWMKEY-1-";

/// The arguments of `skep shutdown`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
It goes by your own `playbooks/shutdown.toml` beside the inventory, else by skep's, which does this:
records nodes and services, here and on the last manager; demotes the other managers one at a time;
scales services to zero and waits for their tasks; unmounts folders of servers; switches off the
workers, then the managers, the one with the record last. Each host proves by its silence that it is
off. Hosts without a role in the swarm stay on. Run it again to go on, also from elsewhere.

The cluster's name must be typed, or given with --confirm; --yes is no answer to that.

Examples:
  skep shutdown
  skep shutdown --dry-run
  skep shutdown --confirm hive --deadline 120s
  skep shutdown --emergency --save-unlock-key /media/stick/key")]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line are")]
pub struct ShutdownArgs {
    /// The cluster's name, to go ahead without being asked for it
    #[arg(long, value_name = "NAME")]
    pub confirm: Option<String>,

    /// Print the playbook that it goes by: your own `playbooks/shutdown.toml`, else skep's
    #[arg(long, conflicts_with_all = ["confirm", "dry_run", "yes"])]
    pub playbook: bool,

    /// Show all that would be done, and do nothing
    #[arg(long, conflicts_with_all = ["confirm", "yes"])]
    pub dry_run: bool,

    /// The manager that is switched off last, and is to be switched on first; else the leader
    #[arg(long, value_name = "NAME")]
    pub last: Option<String>,

    /// Remove the services in place of scaling them to zero: the record has all of them
    #[arg(long)]
    pub remove: bool,

    /// Let nothing that fails stop the rest: dead hosts, a lost quorum, mounts that hang
    #[arg(long)]
    pub emergency: bool,

    /// When all must be off, such as `120s` or `5m`: what is late by then is left out; implies --emergency
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub deadline: Option<u32>,

    /// Leave hosts as they are that do not answer
    #[arg(long)]
    pub skip_unreachable: bool,

    /// The file of the record here [default: with the journals]
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,

    /// Save the swarm's unlock key in a new file, for you alone
    #[arg(long, value_name = "FILE")]
    pub save_unlock_key: Option<PathBuf>,

    /// What all verbs that change something take.
    #[command(flatten)]
    pub work: WorkArgs,
}

/// Seconds of `90`, `90s` or `5m`.
fn seconds(text: &str) -> Result<u32, String> {
    let (number, unit) = match text.strip_suffix('m') {
        Some(number) => (number, 60),
        None => (text.strip_suffix('s').unwrap_or(text), 1),
    };
    let number = number.parse::<u32>().ok();
    let seconds = number.and_then(|number| number.checked_mul(unit));
    let seconds = seconds.ok_or("expected seconds or minutes, such as `120s` or `5m`")?;
    if seconds < SHORTEST {
        return Err(format!(
            "a host takes longer than that to go down: at least {SHORTEST}s"
        ));
    }
    Ok(seconds)
}

/// How long hosts may be asked how they stand, where there is a hurry: three quarters of what the record
/// may take of a deadline.
fn gathering(deadline: Option<u32>) -> Duration {
    let seconds = deadline.map_or(GATHER, |deadline| (deadline / 7).clamp(5, GATHER));
    Duration::from_secs(u64::from(seconds))
}

/// How long the passwords of controllers may take to be found: they only prove that a host is off.
fn passwords(deadline: Option<u32>, hurry: bool) -> Duration {
    if hurry {
        gathering(deadline).min(Duration::from_secs(u64::from(HURRY)))
    } else {
        COMMAND_DEADLINE
    }
}

/// Shuts the cluster down.
///
/// # Errors
///
/// Another name, a refusal, a step that failed, a host that is not silent.
pub fn run(args: &ShutdownArgs, global: &Global, printer: &Printer) -> Result<()> {
    if args.playbook {
        return book::print(Verb::Shutdown, &global.inventory_path(), printer);
    }
    block_on(async {
        let mut inventory = load(global, printer)?;
        if args.skip_unreachable {
            inventory.all_optional();
        }
        let hurry = args.deadline.is_some() || args.emergency;
        if hurry {
            for host in &mut inventory.hosts {
                let own = host.ssh.connect_timeout;
                host.ssh.connect_timeout = if own == 0 { HURRY } else { own.min(HURRY) };
            }
        }
        let playbook = book::open(Verb::Shutdown, &inventory, hurry, printer)?;
        let cluster = Cluster::open_with(inventory, None, printer).await?;
        cluster.is_made().await?;
        let book = book::ready(playbook, &cluster, printer).await?;
        if hurry {
            cluster.live.hurry(gathering(args.deadline));
        }
        let procedure = procedure(args, &cluster.inventory.cluster, book, printer)?;
        let (to, off) = (procedure.to.clone(), procedure.powers_off());
        if off {
            let members = cluster.inventory.members();
            let members = members.map(|host| host.name.clone()).collect();
            keep_unasked(&cluster, &members, passwords(args.deadline, hurry), printer).await;
        }
        let procedure = Procedure::Shutdown(Box::new(procedure));
        let mut work = Work::begin(cluster, procedure, "shutdown", &args.work, printer)?;
        work.typed.clone_from(&args.confirm);
        work.dry_run = args.dry_run;
        let ended = work.run().await;
        if ended.is_ok() && !args.dry_run && !args.work.json {
            goodbye(&to, off, printer);
        }
        ended
    })
}

fn procedure(
    args: &ShutdownArgs,
    cluster: &str,
    book: PlaybookRun,
    printer: &Printer,
) -> Result<ShutdownProcedure> {
    let to = match &args.record {
        Some(path) => path.clone(),
        None => State::of(cluster)?.directory().join(FILE),
    };
    let to = std::path::absolute(&to)
        .map_err(|error| Error::usage(format!("`{}`", to.display())).because(error))?;
    let former = record::load(&to);
    let former = match former {
        Err(error) if args.emergency || args.deadline.is_some() => {
            let path = to.display();
            printer.warn(format!(
                "the record `{path}` cannot be read, and is not used: {error}"
            ));
            None
        }
        former => former.map_err(|error| unreadable(&to, error))?,
    };
    if let Some(key) = &args.save_unlock_key {
        is_free(key, former.is_some())?;
    }
    let here = std::fs::read_to_string("/etc/machine-id").ok();
    let here = here.map(|id| id.trim().to_owned());
    Ok(ShutdownProcedure {
        last: args.last.clone(),
        remove: args.remove,
        emergency: args.emergency,
        deadline: args.deadline,
        to,
        unlock_key: args.save_unlock_key.clone(),
        former: former.map(|record| record.mark()),
        here: here.filter(|id| !id.is_empty()),
        now: Timestamp::now(),
        by: Owner::this("shutdown").name(),
        book,
    })
}

/// Refuses a file for the unlock key that is there already. Where a shutdown is gone on with, its first run
/// may have written it: whether it has the key of this very swarm is seen when it is to be saved.
fn is_free(file: &std::path::Path, goes_on: bool) -> Result<()> {
    let is_key = || {
        let text = std::fs::read_to_string(file).map(SecretString::from);
        text.is_ok_and(|text| text.expose_secret().starts_with(UNLOCK_KEY))
    };
    if !file.exists() || (goes_on && is_key()) {
        return Ok(());
    }
    let error = Error::usage(format!("`{}` is there already", file.display()));
    Err(error.hint("`--save-unlock-key` writes a new file, and never over another."))
}

fn unreadable(record: &std::path::Path, error: std::io::Error) -> Error {
    Error::failed(format!("cannot read the record `{}`", record.display()))
        .because(error)
        .hint("Look at it. Move it aside if nothing in it is needed any more, or name another file with `--record FILE`.")
}

/// Says once more what is needed for the way back.
fn goodbye(record: &std::path::Path, off: bool, printer: &Printer) {
    let Ok(Some(found)) = record::load(record) else {
        return;
    };
    let head = &found.head;
    let end = if off {
        format!("all is off; `{}` goes on first.", head.last)
    } else {
        "all services are stopped, and the hosts are on; `skep start` brings them back.".to_owned()
    };
    printer.say(format!(
        "{end} The record is `{}`, and on `{}`.",
        record.display(),
        head.last
    ));
    if let Some(end) = head.back_before.filter(|_| off) {
        let end = end.strftime("%Y-%m-%d %H:%M UTC");
        printer.say(format!("be back before {end}"));
    }
}

/// Asks for the cluster's name, unless it was `typed` before.
///
/// # Errors
///
/// A refusal where it is another one, or where there is nobody to ask.
pub(super) fn confirm(plan: &Plan, typed: Option<&str>) -> Result<()> {
    let cluster = &plan.cluster;
    let (question, help) = if plan.switches_off() {
        let help = "Every service ends, every host goes off. To go on, type the cluster's name";
        (format!("Switch all of `{cluster}` off?"), help)
    } else {
        let help = "Every service ends; the hosts stay on. To go on, type the cluster's name";
        (format!("Stop all services of `{cluster}`?"), help)
    };
    confirm_name(cluster, typed, &question, help)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The run that goes on finds the file that the first one wrote, and no other is taken for it.
    #[test]
    fn a_shutdown_that_is_gone_on_with_finds_its_unlock_key() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        assert!(is_free(&file, false).is_ok());
        std::fs::write(&file, "SWMKEY-1-secret\n").unwrap();
        assert!(is_free(&file, true).is_ok());
        let refused = is_free(&file, false).unwrap_err().to_string();
        assert!(refused.ends_with("is there already"), "{refused}");
        std::fs::write(&file, "my own notes\n").unwrap();
        assert!(is_free(&file, true).is_err());
        assert!(is_free(folder.path(), true).is_err());
    }

    #[test]
    fn asking_has_its_share_of_a_deadline() {
        let seconds = |deadline| gathering(deadline).as_secs();
        assert_eq!(seconds(None), 45);
        assert_eq!(seconds(Some(240)), 34);
        assert_eq!(seconds(Some(3600)), 45);
        assert_eq!(seconds(Some(30)), 5);
    }

    #[test]
    fn a_deadline_is_seconds_or_minutes() {
        assert_eq!(seconds("120"), Ok(120));
        assert_eq!(seconds("120s"), Ok(120));
        assert_eq!(seconds("5m"), Ok(300));
        for wrong in ["", "s", "x", "-3s", "1h", "99999999999", "71582789m"] {
            assert!(seconds(wrong).unwrap_err().contains("`120s`"), "{wrong}");
        }
        assert!(seconds("5s").unwrap_err().contains("at least 30s"));
    }
}
