//! `skep init`: writes an inventory.

mod text;

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

use clap::Args;

use crate::cli;
use crate::error::{Error, Result};
use crate::inventory::{self, LoadError, Source};
use crate::ui::{Printer, prompt};

use super::Global;
use text::{Machine, Wanted};

/// The arguments of `skep init`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  skep init
  skep init --manager 10.0.0.11 --worker 10.0.0.21 --worker 10.0.0.22 --user admin
  skep init --manager '10.0.0.[11-13]' --worker db=10.0.0.40 -i production.toml
  skep init --lab

It writes the file that -i names, else `skep.toml`, and never over another.")]
pub struct InitArgs {
    /// A manager: an address, a range of addresses, or NAME=ADDRESS; may be repeated
    #[arg(long = "manager", value_name = "ADDRESS", num_args = 1..)]
    pub managers: Vec<String>,

    /// A worker, likewise
    #[arg(long = "worker", value_name = "ADDRESS", num_args = 1..)]
    pub workers: Vec<String>,

    /// The login name on the hosts; sudo is used unless it is root
    #[arg(long, value_name = "NAME", conflicts_with = "lab")]
    pub user: Option<String>,

    /// The cluster's name
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,

    /// A lab of containers on this machine: three managers and two workers
    #[arg(long, conflicts_with_all = ["managers", "workers"])]
    pub lab: bool,
}

/// Writes the inventory.
///
/// # Errors
///
/// A usage error when there is such a file already, when there is nobody to ask, or when the
/// answers make no sound inventory: it is checked as every other before it is written.
pub fn run(args: &InitArgs, global: &Global, printer: &Printer) -> Result<()> {
    let path = global.inventory_path();
    if path.exists() {
        return Err(exists(&path));
    }
    let wanted = wanted(args)?;
    let text = text::write(&wanted);
    let (inventory, diagnostics) = inventory::parse(&text, &path);
    let source = Source {
        path: path.clone(),
        text,
        inventory,
        diagnostics,
    };
    cli::load::show(&source, printer);
    if source.inventory.is_none() {
        let error = Error::from(LoadError::Invalid(Box::new(source)));
        return Err(error.hint("Nothing was written: call `skep init` with other hosts."));
    }
    save(&path, &source.text)?;
    printer.say(format!("wrote `{}`", path.display()));
    let option = match &global.inventory {
        Some(path) => format!(" -i {}", crate::shell::quote(&path.to_string_lossy())),
        None => String::new(),
    };
    printer.hint(format!("See what would be done with `skep plan{option}`."));
    Ok(())
}

fn wanted(args: &InitArgs) -> Result<Wanted> {
    if args.lab {
        return Ok(Wanted::lab(args.name.as_deref().unwrap_or("lab")));
    }
    let name = args.name.as_deref().unwrap_or("swarm");
    if args.managers.is_empty() && args.workers.is_empty() {
        if !prompt::can_ask() {
            let error = Error::usage("no hosts are named, and there is no terminal to ask");
            return Err(error.hint("Name them with `--manager` and `--worker`, or try `--lab`."));
        }
        return ask(args, name);
    }
    Ok(Wanted {
        name: name.to_owned(),
        user: args.user.clone(),
        is_lab: false,
        managers: args.managers.iter().map(|it| Machine::parse(it)).collect(),
        workers: args.workers.iter().map(|it| Machine::parse(it)).collect(),
    })
}

fn ask(args: &InitArgs, name: &str) -> Result<Wanted> {
    let machines = |answer: &str| answer.split_whitespace().map(Machine::parse).collect();
    let name = match &args.name {
        Some(name) => name.clone(),
        None => prompt::text(
            "Name of the cluster:",
            Some(name),
            "letters, digits and dashes",
        )?,
    };
    let managers = prompt::text(
        "Addresses of the managers:",
        None,
        "one, or three to bear the loss of one; such as 10.0.0.11 or 10.0.0.[11-13]",
    )?;
    let workers = prompt::text(
        "Addresses of the workers:",
        None,
        "with blanks between them; may be empty",
    )?;
    let user = match &args.user {
        Some(user) => user.clone(),
        None => prompt::text(
            "Login name on the hosts:",
            None,
            "sudo is used unless it is root; empty takes that of ~/.ssh/config",
        )?,
    };
    Ok(Wanted {
        name,
        user: Some(user).filter(|user| !user.is_empty()),
        is_lab: false,
        managers: machines(&managers),
        workers: machines(&workers),
    })
}

fn save(path: &Path, text: &str) -> Result<()> {
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => exists(path),
        _ => Error::failed(format!("cannot write `{}`", path.display())).because(error),
    })
}

fn exists(path: &Path) -> Error {
    Error::usage(format!("`{}` exists already", path.display()))
        .hint("Name another file with `-i FILE`, or take this one away first.")
}
