//! `skep man`: manual pages from the same definitions as the help.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Command};

use crate::error::{Error, Result};
use crate::ui::Printer;

/// The arguments of `skep man`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  skep man | man -l -
  skep man --out /usr/local/share/man/man1")]
pub struct ManArgs {
    /// Write one page per verb to this directory, which is made if it is not there
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// Prints the page of `skep`, or writes the pages of all verbs.
pub fn run(args: &ManArgs, printer: &Printer) -> Result<()> {
    let mut command = crate::cli::command();
    let Some(directory) = &args.out else {
        return printer.bytes(&render(command)?);
    };
    // Global options are copied into the verbs only by this.
    command.build();
    let cannot = |path: &Path, error| {
        Error::failed(format!("cannot write `{}`", path.display())).because(error)
    };
    fs::create_dir_all(directory).map_err(|error| cannot(directory, error))?;
    let mut pages = Vec::new();
    collect(command, "", &mut pages)?;
    for (name, page) in &pages {
        let path = directory.join(format!("{name}.1"));
        fs::write(&path, page).map_err(|error| cannot(&path, error))?;
    }
    let pages = crate::ui::text::count(pages.len(), "page");
    printer.say(format!("wrote {pages} to `{}`", directory.display()));
    Ok(())
}

fn collect(command: Command, above: &str, pages: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    let name = match above {
        "" => command.get_name().to_owned(),
        above => format!("{above}-{}", command.get_name()),
    };
    for verb in command.get_subcommands() {
        collect(verb.clone(), &name, pages)?;
    }
    let page = render(command.name(leaked(&name)).disable_help_subcommand(true))?;
    pages.push((name, page));
    Ok(())
}

/// Clap keeps names as `&'static str`; a page per verb in a process that ends then is no leak.
fn leaked(name: &str) -> &'static str {
    Box::leak(name.to_owned().into_boxed_str())
}

fn render(command: Command) -> Result<Vec<u8>> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    Ok(page)
}
