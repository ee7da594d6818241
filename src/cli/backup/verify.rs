//! `skep backup verify`: what is not tried out is no backup.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use crate::backup::archive::{self, Checked, Identities};
use crate::cli::{Global, block_on};
use crate::error::Result;
use crate::ui::{Printer, text};

use super::{of_archive, unlock_key};

/// The arguments of `skep backup verify`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Every checksum is compared; then the state is restored onto a host that is made for it on this machine,
cut off from every other, a new cluster is forced there, and its nodes, services, secrets and configs
are compared by name with what the swarm had. The host is ended afterwards.

Examples:
  skep backup verify backups/hive-20261121T195300Z-m2.tar.age --identity key.txt
  skep backup verify FILE --identity key.txt --checksums-only")]
pub struct VerifyArgs {
    /// The archive
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// The age key file that opens it
    #[arg(long, value_name = "KEYFILE")]
    pub identity: Option<PathBuf>,

    /// A file with the unlock key of the time of the backup, where the managers were locked
    #[arg(long, value_name = "FILE")]
    pub unlock_key_file: Option<PathBuf>,

    /// Compare the checksums and make no host
    #[arg(long)]
    pub checksums_only: bool,

    /// Make the host without asking
    #[arg(short, long)]
    pub yes: bool,
}

pub(super) fn run(args: &VerifyArgs, global: &Global, printer: &Printer) -> Result<()> {
    let identities = Arc::new(identities(args.identity.as_ref())?);
    let checked = archive::check(&args.file, &identities);
    let checked = checked.map_err(|error| of_archive(&error, false))?;
    tell(&checked, printer)?;
    if args.checksums_only {
        return Ok(());
    }
    block_on(async {
        let file = args.unlock_key_file.as_ref();
        let key = unlock_key(&checked, &identities, file, printer).await?;
        super::lab::verify(&checked, identities, key, args.yes, global, printer).await
    })
}

/// What opens an archive, from a file where one is named.
pub(in crate::cli) fn identities(file: Option<&PathBuf>) -> Result<Identities> {
    match file {
        None => Ok(Identities::none()),
        Some(file) => Identities::read(file).map_err(|error| of_archive(&error, true)),
    }
}

fn tell(checked: &Checked, printer: &Printer) -> Result<()> {
    let manifest = &checked.manifest;
    let contents = &manifest.contents;
    let ends = manifest.certificate_expires;
    let ends = ends.map_or_else(|| "not known".to_owned(), |it| it.to_string());
    let count = |names: &[String], noun: &str| match names {
        [] => text::count(0, noun),
        some => format!("{}: {}", text::count(some.len(), noun), some.join(", ")),
    };
    let lines = [
        format!(
            "cluster {}, swarm {}",
            manifest.cluster, manifest.cluster_id
        ),
        format!(
            "taken {} from {} (node {}) at {}, engine {}",
            manifest.taken, manifest.host, manifest.node_id, manifest.address, manifest.engine
        ),
        format!("the node's certificate ends: {ends}"),
        format!(
            "the unlock key is {}",
            if manifest.locked {
                "needed"
            } else {
                "not needed"
            }
        ),
        text::count(contents.nodes.len(), "node"),
        count(&contents.services, "service"),
        count(&contents.secrets, "secret"),
        count(&contents.configs, "config"),
        format!(
            "{} {}, all checksums right",
            text::count(manifest.files.len(), "file"),
            if checked.encrypted {
                "opened with the identity"
            } else {
                "in the clear"
            }
        ),
    ];
    printer.data(&(lines.join("\n") + "\n"))
}
