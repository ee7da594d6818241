//! `skep restore`: goes on from a backup where the whole swarm is lost.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use crate::backup::archive;
use crate::error::Result;
use crate::fleet::live::Keys;
use crate::procedure::{Procedure, RestoreProcedure};
use crate::ui::Printer;

use super::backup::{identities, of_archive, unlock_key};
use super::cluster::Cluster;
use super::reset::confirm_name;
use super::work::{Work, WorkArgs};
use super::{Global, block_on};

/// The arguments of `skep restore`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
The host must have the address that the backup was taken at, and an engine that is not older; it is
refused where a manager with quorum lives. Managers that live without quorum leave the old swarm first.
What lies on the host is moved aside. A new cluster is forced from the state, and all is done that
`skep recover` and `skep up` would do. Run it again to go on after a failure.

The cluster's name must be typed, or given with --confirm; --yes is no answer to that.

Examples:
  skep restore backups/hive-20261121T195300Z-m2.tar.age --on m2 --identity key.txt
  skep restore FILE --on m2 --identity key.txt --lost m1 --lost m3 --confirm hive")]
pub struct RestoreArgs {
    /// The archive
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// The host to put it on
    #[arg(long, value_name = "HOST")]
    pub on: String,

    /// The age key file that opens it
    #[arg(long, value_name = "KEYFILE")]
    pub identity: Option<PathBuf>,

    /// A file with the unlock key of the time of the backup, where the managers were locked
    #[arg(long, value_name = "FILE")]
    pub unlock_key_file: Option<PathBuf>,

    /// A manager that does not answer and will never come back with what it knew; may be repeated
    #[arg(long, value_name = "NAME")]
    pub lost: Vec<String>,

    /// The cluster's name, to go ahead without being asked for it
    #[arg(long, value_name = "NAME")]
    pub confirm: Option<String>,

    /// What all verbs that change something take.
    #[command(flatten)]
    pub work: WorkArgs,
}

/// Restores the swarm.
///
/// # Errors
///
/// An archive that cannot be read, another name, a refusal, a round that failed.
pub fn run(args: &RestoreArgs, global: &Global, printer: &Printer) -> Result<()> {
    let identities = identities(args.identity.as_ref())?;
    // All of it is read before anybody is asked anything: a damaged archive stops nothing.
    let checked = archive::check(&args.file, &identities);
    let checked = checked.map_err(|error| of_archive(&error, false))?;
    block_on(async {
        let cluster = Cluster::open(global, None, printer).await?;
        cluster.is_made().await?;
        let file = args.unlock_key_file.as_ref();
        let unlock = unlock_key(&checked, &identities, file, printer).await?;
        cluster.live.keep_keys(Keys {
            identities: Arc::new(identities),
            unlock,
        });
        let procedure = Procedure::Restore(Box::new(RestoreProcedure {
            archive: args.file.clone(),
            sha256: checked.sha256,
            manifest: checked.manifest,
            on: args.on.clone(),
            lost: args.lost.iter().cloned().collect(),
            begun: false,
        }));
        let mut work = Work::begin(cluster, procedure, "restore", &args.work, printer)?;
        work.typed.clone_from(&args.confirm);
        work.run().await
    })
}

/// Asks for the cluster's name, unless it was `typed` before.
///
/// # Errors
///
/// A refusal where it is another one, or where there is nobody to ask.
pub(super) fn confirm(cluster: &str, host: &str, typed: Option<&str>) -> Result<()> {
    let question = format!("Restore `{cluster}` onto {host} from the backup?");
    let help = "What was changed after the backup is lost. To go on, type the cluster's name";
    confirm_name(cluster, typed, &question, help)
}
