//! `skep backup`: takes backups of the swarm's state, lists them, and tries them out.

mod lab;
mod list;
mod verify;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use jiff::Timestamp;
use secrecy::SecretString;

use crate::backup::archive::{Checked, Identities};
use crate::backup::{ArchiveError, Entry, Settings, archive, seal, store, surplus};
use crate::error::{Error, Result};
use crate::inventory::{Inventory, SecretRef};
use crate::procedure::{BackupProcedure, Procedure};
use crate::secret;
use crate::swarm::Swarm;
use crate::ui::{Printer, prompt};

use super::cluster::Cluster;
use super::work::{Work, WorkArgs};
use super::{Global, block_on};

pub use verify::VerifyArgs;
pub(super) use verify::identities;

/// The arguments of `skep backup`.
#[derive(Debug, Clone, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
The engine of one manager that does not lead is stopped for the seconds that a copy takes; the others
must be a majority without it, and its tasks run elsewhere meanwhile. The archive holds the swarm's CA
key and all secrets: it is encrypted to age recipients. `[backup]` of the inventory sets the directory,
the recipients, the manager and how many are kept.

Examples:
  skep backup
  skep backup --to /srv/backups --recipient age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p
  skep backup list
  skep backup verify backups/hive-20261121T195300Z-m2.tar.age --identity key.txt"
)]
pub struct BackupArgs {
    /// What else to do
    #[command(subcommand)]
    pub command: Option<BackupCommand>,

    /// The directory on this machine
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,

    /// The manager to take it from; else skep chooses one that does not lead
    #[arg(long, value_name = "HOST")]
    pub on: Option<String>,

    /// Encrypt it to this age recipient, in place of those of the inventory; may be repeated
    #[arg(long, value_name = "AGE1")]
    pub recipient: Vec<String>,

    /// Write it in the clear: whoever reads it has the swarm's CA key and all secrets
    #[arg(long, conflicts_with = "recipient")]
    pub no_encryption: bool,

    /// How many backups of this swarm are kept in the directory; older ones are deleted
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub keep: Option<u32>,

    /// With one or two managers: the swarm may take no orders as long as the engine is stopped
    #[arg(long)]
    pub accept_no_quorum: bool,

    /// What all verbs that change something take.
    #[command(flatten)]
    pub work: WorkArgs,
}

/// What else to do with backups.
#[derive(Debug, Clone, Subcommand)]
pub enum BackupCommand {
    /// List the backups of a directory
    #[command(
        after_help = "Examples:\n  skep backup list\n  skep backup list --to /srv/backups --json"
    )]
    List(list::ListArgs),
    /// Try a backup out: compare its checksums, and bring it up in a lab on this machine
    Verify(VerifyArgs),
}

/// Takes a backup, or does what the subcommand says.
///
/// # Errors
///
/// A usage error, a refusal, a failure of a host or of this machine's disk.
pub fn run(args: &BackupArgs, global: &Global, printer: &Printer) -> Result<()> {
    match &args.command {
        Some(BackupCommand::List(args)) => list::run(args, global, printer),
        Some(BackupCommand::Verify(args)) => verify::run(args, global, printer),
        None => block_on(take(args, global, printer)),
    }
}

async fn take(args: &BackupArgs, global: &Global, printer: &Printer) -> Result<()> {
    let cluster = Cluster::open(global, None, printer).await?;
    let settings = settings(&cluster.inventory);
    let recipients = recipients(args, &settings)?;
    cluster.is_made().await?;
    let to = args.to.clone().unwrap_or(settings.directory);
    let before = listed(&to)?;
    let procedure = Procedure::Backup(BackupProcedure {
        on: args.on.clone().or(settings.host),
        to: to.clone(),
        recipients,
        without_quorum: args.accept_no_quorum,
        now: Timestamp::now(),
        taken: false,
    });
    let mut work = Work::begin(cluster, procedure, "backup", &args.work, printer)?;
    work.run().await?;
    let after = listed(&to)?;
    let new = after.iter().find(|it| !before.contains(it));
    let Some((entry, head)) = new.and_then(|it| Some((it, it.head.as_ref()?))) else {
        return Ok(());
    };
    let shown = entry.path.display();
    printer.notice(format!(
        "wrote `{shown}`, {}\n",
        crate::plan::bytes(head.size)
    ));
    if head.locked {
        printer.hint("It takes the unlock key of today to restore it: keep that key outside the cluster (`skep docker -- swarm unlock-key`).");
    }
    if let Some(keep) = args.keep.or(settings.keep) {
        let keep = usize::try_from(keep).unwrap_or(usize::MAX);
        for old in surplus(&after, &head.cluster_id, keep) {
            delete(old)?;
            printer.say(format!("deleted `{}`: {keep} are kept", old.path.display()));
        }
    }
    Ok(())
}

fn delete(entry: &Entry) -> Result<()> {
    let shown = entry.path.display();
    store::delete(entry)
        .map_err(|error| Error::failed(format!("cannot delete `{shown}`")).because(error))
}

fn listed(directory: &Path) -> Result<Vec<Entry>> {
    let shown = directory.display();
    store::list(directory)
        .map_err(|error| Error::failed(format!("cannot read `{shown}`")).because(error))
}

/// What `skep status` says of the backups of a swarm, where the inventory has `[backup]`. A directory
/// that cannot be read holds none that one could go on from.
pub(super) fn too_old(inventory: &Inventory, swarm: &Swarm) -> Option<String> {
    let (Some(settings), Swarm::Up(up)) = (&inventory.backup, swarm) else {
        return None;
    };
    let entries = store::list(&settings.directory).unwrap_or_default();
    let heads = entries.iter().filter_map(|entry| entry.head.as_ref());
    let own = heads.filter(|head| head.cluster_id == up.cluster_id);
    let newest = own.map(|head| head.taken).max();
    crate::backup::too_old(newest, settings.max_age_days, Timestamp::now())
}

/// What the inventory says of backups, or what holds without it.
fn settings(inventory: &Inventory) -> Settings {
    inventory.backup.clone().unwrap_or_else(|| {
        let base = inventory.path.parent().unwrap_or(Path::new(""));
        Settings {
            directory: base.join(Settings::DIRECTORY),
            max_age_days: crate::backup::MAX_AGE_DAYS,
            ..Settings::default()
        }
    })
}

fn recipients(args: &BackupArgs, settings: &Settings) -> Result<Vec<String>> {
    if args.no_encryption {
        return Ok(Vec::new());
    }
    let chosen = if args.recipient.is_empty() {
        &settings.recipients
    } else {
        &args.recipient
    };
    if chosen.is_empty() {
        let error = Error::usage("nobody is named to whom the backup is encrypted");
        return Err(error
            .hint("It holds the swarm's CA key and all secrets. `age-keygen -o KEYFILE` makes a pair of keys and prints the recipient: put it into the inventory (`recipients = [\"age1...\"]` of `[backup]`), or pass `--recipient`.")
            .hint("`--no-encryption` writes it in the clear."));
    }
    archive::recipients(chosen).map_err(|error| of_archive(&error, true))?;
    Ok(chosen.clone())
}

/// What an error of an archive is to a person; `usage` where it is about the command line.
pub(super) fn of_archive(error: &ArchiveError, usage: bool) -> Error {
    let made = if usage {
        Error::usage(error.to_string())
    } else {
        Error::failed(error.to_string())
    };
    match error.hint() {
        Some(hint) => made.hint(hint),
        None => made,
    }
}

/// The key that unlocks what is in an archive: from a file, else asked for; `None` where it takes none. It is
/// tried on the archive, so that a wrong one changes nothing.
///
/// # Errors
///
/// A usage error where there is none, or another one than held then.
pub(super) async fn unlock_key(
    checked: &Checked,
    identities: &Identities,
    file: Option<&PathBuf>,
    printer: &Printer,
) -> Result<Option<SecretString>> {
    let sealed = archive::text_of(&checked.path, identities, seal::FILE);
    let sealed = sealed.map_err(|error| of_archive(&error, false))?;
    let sealed = sealed.filter(|pem| seal::is_sealed(pem));
    if sealed.is_none() && !checked.manifest.locked {
        return Ok(None);
    }
    let reference = match file {
        Some(file) => SecretRef::File(file.clone()),
        None if prompt::can_ask() => SecretRef::Prompt,
        None => {
            let error = Error::usage("the backup is of a swarm whose managers are locked");
            return Err(error.hint("Pass the unlock key of that time: `--unlock-key-file FILE`."));
        }
    };
    let ask = std::sync::Arc::new(prompt::secret);
    let found = secret::resolve(&reference, "the unlock key of the backup", ask).await;
    let found = found.map_err(|error| Error::usage(error.to_string()))?;
    if let Some(warning) = found.warning {
        printer.warn(warning);
    }
    if let Some(pem) = &sealed {
        seal::open(pem, &found.secret).map_err(|error| {
            let taken = checked.manifest.taken;
            Error::usage(error.to_string()).hint(format!(
                "It takes the unlock key that the swarm had on {taken}: nothing was changed."
            ))
        })?;
    }
    Ok(Some(found.secret))
}
