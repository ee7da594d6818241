//! `skep rotate` and `skep unlock-key`: new secrets for a swarm, and the unlock key saved.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use secrecy::ExposeSecret as _;

use crate::error::{Error, Result};
use crate::fleet::live::keyfile::Reserved;
use crate::plan::step::KeyTo;
use crate::procedure::{Procedure, RotateProcedure, RotateWhat, old_key_file};
use crate::state::Owner;
use crate::ui::Printer;

use super::cluster::Cluster;
use super::work::{Work, WorkArgs};
use super::{Global, block_on};

/// The arguments of `skep rotate`.
#[derive(Debug, Clone, Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = "\
Examples:
  skep rotate tokens
  skep rotate unlock-key --save ~/hive.key
  skep rotate ca"
)]
pub struct RotateArgs {
    /// What to make anew.
    #[command(subcommand)]
    pub verb: RotateVerb,
}

/// What is made anew.
#[derive(Debug, Clone, Subcommand)]
pub enum RotateVerb {
    /// Make new join tokens: the old ones are worth nothing any more
    #[command(after_help = "\
skep itself keeps no token: it asks a manager for the one of the moment. Nodes of the swarm stay.

Examples:
  skep rotate tokens
  skep rotate tokens worker")]
    Tokens(TokensArgs),
    /// Make a new certificate authority, and wait until all nodes have certificates of it
    #[command(after_help = "\
Nodes that are down hold it up: the change ends when the last node has its new certificate. The
join tokens change with it. Run it again after a failure: a change that goes on is waited for, and
no other is begun.

Examples:
  skep rotate ca
  skep rotate ca --cert-expiry 30
  skep rotate ca --without w3")]
    Ca(CaArgs),
    /// Make a new unlock key for managers that were restarted under autolock, and save it
    #[command(after_help = "\
The file is made before anything is changed, for its owner alone, and is never written over
another key. Keep it where the cluster's loss does not reach it, and not on the managers.

Examples:
  skep rotate unlock-key --save ~/hive.key
  skep rotate unlock-key --save ~/hive.key --old-key-for m3")]
    UnlockKey(NewKeyArgs),
}

/// Which tokens.
#[derive(Debug, Clone, Args)]
pub struct TokensArgs {
    /// Whose token
    #[arg(
        value_enum,
        value_name = "both|worker|manager",
        default_value = "both",
        hide_possible_values = true
    )]
    pub role: TokenRole,

    /// What all verbs that change something take.
    #[command(flatten)]
    pub work: WorkArgs,
}

/// Whose token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TokenRole {
    /// That of workers and that of managers.
    Both,
    /// That of workers.
    Worker,
    /// That of managers.
    Manager,
}

/// The arguments of `skep rotate ca`.
#[derive(Debug, Clone, Args)]
pub struct CaArgs {
    /// Change the life of node certificates too
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub cert_expiry: Option<u32>,

    /// A node that is down: begin without it, and end when it is back or removed; may be repeated
    #[arg(long, value_name = "NODE")]
    pub without: Vec<String>,

    /// What all verbs that change something take.
    #[command(flatten)]
    pub work: WorkArgs,
}

/// Where a key goes.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub struct KeyArgs {
    /// Write it to this file, which must be new or empty
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,

    /// Print it on stdout when all is done
    #[arg(long, conflicts_with = "json")]
    pub print: bool,
}

/// The arguments of `skep rotate unlock-key`.
#[derive(Debug, Clone, Args)]
pub struct NewKeyArgs {
    /// Where the key goes.
    #[command(flatten)]
    pub key: KeyArgs,

    /// A manager that is away and will want the OLD key when it comes back, which is saved to FILE.old;
    /// may be repeated
    #[arg(long, value_name = "NODE", requires = "save")]
    pub old_key_for: Vec<String>,

    /// What all verbs that change something take.
    #[command(flatten)]
    pub work: WorkArgs,
}

/// The arguments of `skep unlock-key`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
With autolock a manager that was restarted wants this key, and while no other manager runs nobody
else has it. It stays as it is; `skep rotate unlock-key` makes a new one. The managers note who
saved it, when, and its digest, so that `skep status` can warn of a key that nobody has saved.

Examples:
  skep unlock-key --save ~/hive.key
  skep unlock-key --print | pass insert -m swarm/hive")]
pub struct UnlockKeyArgs {
    /// Where the key goes.
    #[command(flatten)]
    pub key: KeyArgs,

    /// What all verbs that change something take.
    #[command(flatten)]
    pub work: WorkArgs,
}

/// Runs a verb of `skep rotate`.
///
/// # Errors
///
/// A file that cannot be written, a refusal, what failed.
pub fn run(args: &RotateArgs, global: &Global, printer: &Printer) -> Result<()> {
    let (verb, what, without, work) = match &args.verb {
        RotateVerb::Tokens(args) => {
            let what = RotateWhat::Tokens {
                worker: args.role != TokenRole::Manager,
                manager: args.role != TokenRole::Worker,
            };
            ("rotate tokens", what, &[][..], &args.work)
        }
        RotateVerb::Ca(args) => {
            let what = RotateWhat::Authority {
                cert_expiry_days: args.cert_expiry,
            };
            ("rotate ca", what, &args.without[..], &args.work)
        }
        RotateVerb::UnlockKey(args) => {
            let mut reserved = Vec::new();
            if let Some(path) = &args.key.save {
                reserved.push(reserve(path, false)?);
                if !args.old_key_for.is_empty() {
                    reserved.push(reserve(&old_key_file(path), true)?);
                }
            }
            let by = Owner::this("").name();
            let what = RotateWhat::UnlockKey {
                to: place(&args.key),
                by,
            };
            let without = &args.old_key_for[..];
            return go(
                global,
                printer,
                "rotate unlock-key",
                what,
                without,
                &args.work,
            );
        }
    };
    go(global, printer, verb, what, without, work)
}

/// Saves the present unlock key.
///
/// # Errors
///
/// A file that cannot be written, a refusal, what failed.
pub fn unlock_key(args: &UnlockKeyArgs, global: &Global, printer: &Printer) -> Result<()> {
    let _reserved = match &args.key.save {
        Some(path) => Some(reserve(path, true)?),
        None => None,
    };
    let by = Owner::this("").name();
    let what = RotateWhat::SavedKey {
        to: place(&args.key),
        by,
    };
    go(global, printer, "unlock-key", what, &[], &args.work)
}

fn place(key: &KeyArgs) -> KeyTo {
    key.save.clone().map_or(KeyTo::Output, KeyTo::File)
}

/// Makes the file before anything else is done, so that one that cannot be written refuses first.
fn reserve(path: &Path, or_same: bool) -> Result<Reserved> {
    Reserved::new(path, or_same).map_err(|why| {
        let shown = path.display();
        Error::refused(format!(
            "cannot save a key to `{shown}`: {why}; nothing was changed"
        ))
        .hint("Name a file that is not there yet, in a folder that you may write to.")
    })
}

fn go(
    global: &Global,
    printer: &Printer,
    verb: &'static str,
    what: RotateWhat,
    without: &[String],
    args: &WorkArgs,
) -> Result<()> {
    block_on(async {
        let cluster = Cluster::open(global, None, printer).await?;
        cluster.is_made().await?;
        let live = cluster.live.clone();
        let procedure = RotateProcedure::new(what, without.iter().cloned());
        let procedure = Procedure::Rotate(procedure);
        let mut work = Work::begin(cluster, procedure, verb, args, printer)?;
        let ended = work.run().await;
        // Also where something failed after it: it is the key that the managers have.
        if let Some(key) = live.brought_key() {
            printer.data(&format!("{}\n", key.expose_secret()))?;
        }
        ended
    })
}
