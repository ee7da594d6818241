//! `skep completions`: a completion script for a shell.

use clap::Args;
use clap_complete::Shell;

use crate::error::Result;
use crate::ui::Printer;

/// The arguments of `skep completions`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  skep completions bash > /etc/bash_completion.d/skep
  skep completions zsh > ~/.zfunc/_skep
  skep completions fish > ~/.config/fish/completions/skep.fish")]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Prints the script.
pub fn run(args: &CompletionsArgs, printer: &Printer) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut crate::cli::command(), "skep", &mut script);
    printer.bytes(&script)
}
