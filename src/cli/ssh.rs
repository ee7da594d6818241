//! `skep ssh`: a shell on a host, by the system's own `ssh`.

use std::os::unix::process::CommandExt;
use std::process::Command;

use clap::Args;

use crate::error::{Error, Result};
use crate::ssh::command_line;
use crate::ui::Printer;

use super::cluster::Cluster;
use super::{Global, block_on};

/// The arguments of `skep ssh`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  skep ssh m1
  skep ssh m1 -- journalctl -fu docker")]
pub struct SshArgs {
    /// The host's name in the inventory
    #[arg(value_name = "HOST")]
    pub host: String,

    /// A command in place of a shell; the far side's shell reads it, as with `ssh`
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Becomes `ssh`, with everything that the inventory says of the host.
///
/// # Errors
///
/// When there is no such host or no `ssh`; it does not return otherwise.
pub fn run(args: &SshArgs, global: &Global, printer: &Printer) -> Result<()> {
    let argv = block_on(async {
        let cluster = Cluster::open(global, None, printer).await?;
        if cluster.inventory.host(&args.host).is_none() {
            // The selector's message knows the nearest name.
            cluster.inventory.select(&args.host)?;
        }
        let resolved = cluster.live.remote(&args.host)?.resolve().await?;
        Ok(command_line(&resolved, &args.command))
    })?;
    Err(replace(&argv))
}

/// Replaces this process by another program; returns only when that did not work.
pub(super) fn replace(argv: &[String]) -> Error {
    let Some((program, arguments)) = argv.split_first() else {
        return Error::failed("there is no program to run");
    };
    let error = Command::new(program).args(arguments).exec();
    Error::failed(format!("cannot run `{program}`"))
        .because(error)
        .hint("`skep ssh` needs the OpenSSH client: the package `openssh-client`.")
}
