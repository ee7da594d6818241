//! The command line: each verb parses its arguments, calls the core and prints.

pub mod audit;
pub mod backup;
mod book;
pub mod check;
pub mod cluster;
pub mod completions;
pub mod destroy;
pub mod docker;
pub mod drill;
pub mod exec;
mod held;
pub mod image;
pub mod init;
pub mod inventory;
pub mod lab;
mod last;
pub mod load;
pub mod lock;
pub mod log;
pub mod man;
pub mod node;
pub mod plan;
pub mod power;
pub mod reboot;
pub mod recover;
pub mod render;
pub mod reset;
pub mod restore;
pub mod rotate;
pub mod run;
pub mod schema;
mod servers;
pub mod shutdown;
pub mod ssh;
pub mod start;
pub mod status;
pub mod trace;
pub mod up;
pub mod upgrade;
mod wipe;
mod work;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::error::{Error, Kind, Result};
use crate::ui::{Level, Printer, style};

/// The inventory that is read when none is named.
pub const DEFAULT_INVENTORY: &str = "skep.toml";

/// Turns machines into a healthy Docker Swarm and keeps it right.
#[derive(Debug, Parser)]
#[command(
    name = "skep",
    version,
    styles = style::HELP,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    propagate_version = false,
    after_help = "\
Examples:
  skep init --manager 10.0.0.11 --worker 10.0.0.21 --user admin
  skep check
  skep up
  skep status

Exit codes: 0 done, or nothing to do; 1 something failed; 2 wrong usage or inventory;
3 `plan --exit-code` found changes; 4 refused by a guard; 130 interrupted."
)]
pub struct Cli {
    /// What holds for every verb.
    #[command(flatten)]
    pub global: Global,
    /// The verb.
    #[command(subcommand)]
    pub command: Command,
}

/// What holds for every verb.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The inventory [default: skep.toml]
    #[arg(
        short,
        long,
        global = true,
        value_name = "FILE",
        env = "SKEP_INVENTORY",
        hide_env_values = true
    )]
    pub inventory: Option<PathBuf>,

    /// Say more: steps and output of hosts; twice for a log on stderr
    #[arg(short, long, global = true, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,

    /// Say less: only warnings and errors; twice for errors only
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub quiet: u8,

    /// When to use colours; `auto` obeys `NO_COLOR` and `CLICOLOR`
    #[arg(
        long,
        global = true,
        value_name = "auto|always|never",
        value_enum,
        default_value_t,
        hide_possible_values = true,
        hide_default_value = true
    )]
    pub color: Color,

    /// Write a log to this file, as lines of JSON
    #[arg(long, global = true, value_name = "FILE")]
    pub log_file: Option<PathBuf>,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On terminals.
    #[default]
    Auto,
    /// Also in files and pipes.
    Always,
    /// Nowhere.
    Never,
}

/// A verb.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write an inventory: ask for the hosts, or take them as arguments
    Init(init::InitArgs),
    /// Check the inventory, and whether the hosts are fit
    Check(check::CheckArgs),
    /// Show what would change
    Plan(plan::PlanArgs),
    /// Make the cluster what the inventory says
    Up(up::UpArgs),
    /// Show how the cluster is
    Status(status::StatusArgs),
    /// Change, add or remove single nodes
    Node(node::NodeArgs),
    /// Spread the tasks of services over the nodes again
    Rebalance(node::RebalanceArgs),
    /// Show who changed what, and when
    Log(log::LogArgs),
    /// Bring the engines to another version, node by node
    Upgrade(upgrade::UpgradeArgs),
    /// Reboot hosts one after the other, with their work moved away first
    Reboot(reboot::RebootArgs),
    /// Bring the cluster back after a shutdown or an outage
    Start(start::StartArgs),
    /// Switch hosts on or off, or tell which are
    Power(power::PowerArgs),
    /// Do your own tasks on hosts, as a playbook tells them
    Run(run::RunArgs),
    /// Record everything, and switch all hosts off in the right order
    Shutdown(shutdown::ShutdownArgs),
    /// Take a backup of the swarm's state, list them, or try one out
    Backup(backup::BackupArgs),
    /// Go on from a backup where the whole swarm is lost
    Restore(restore::RestoreArgs),
    /// Go on from one manager where the quorum is lost for good
    Recover(recover::RecoverArgs),
    /// Take the whole swarm apart
    Reset(reset::ResetArgs),
    /// Remove the servers that skep made on a cloud, and what belongs to them
    Destroy(destroy::DestroyArgs),
    /// Make, upload, list and delete images for servers on a cloud
    Image(image::ImageArgs),
    /// Make new join tokens, a new unlock key or a new certificate authority
    Rotate(rotate::RotateArgs),
    /// Save the key that managers want which were restarted under autolock
    UnlockKey(rotate::UnlockKeyArgs),
    /// Run a command on hosts
    Exec(exec::ExecArgs),
    /// Open a shell on a host
    Ssh(ssh::SshArgs),
    /// Run `docker` against a manager with quorum
    Docker(docker::DockerArgs),
    /// Practise failures on a cluster of the lab, and see what it does
    Drill(drill::DrillArgs),
    /// List or delete the hosts that skep made on this machine
    Lab(lab::LabArgs),
    /// Show what a template comes to for a host
    Render(render::RenderArgs),
    /// Show the checked inventory, also to other programs
    Inventory(inventory::InventoryArgs),
    /// Print the JSON Schema of the inventory, or of playbooks
    Schema(schema::SchemaArgs),
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
    /// Print the manual page, or write all of them
    Man(man::ManArgs),
}

impl Global {
    /// The inventory's path.
    pub fn inventory_path(&self) -> PathBuf {
        let default = || PathBuf::from(DEFAULT_INVENTORY);
        self.inventory.clone().unwrap_or_else(default)
    }

    /// How much is said.
    pub fn level(&self) -> Level {
        match (self.quiet, self.verbose) {
            (0, 0) => Level::Default,
            (0, _) => Level::Verbose,
            (1, _) => Level::Quiet,
            _ => Level::Silent,
        }
    }
}

/// Runs the program with `arguments`, the first of which is its own name, and gives its exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match parse(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let code = error.exit_code();
            // Whoever closed the pipe does not want to read the help.
            let _gone = error.print();
            return ExitCode::from(u8::try_from(code).unwrap_or(Kind::Usage.exit_code()));
        }
    };
    match cli.global.color {
        Color::Auto => {}
        Color::Always => anstream::ColorChoice::Always.write_global(),
        Color::Never => anstream::ColorChoice::Never.write_global(),
    }
    let printer = Printer::new(cli.global.level());
    let result = trace::begin(cli.global.log_file.as_deref(), cli.global.verbose)
        .and_then(|()| run(cli, &printer));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            printer.error(&error);
            ExitCode::from(error.kind().exit_code())
        }
    }
}

/// The whole command line as clap knows it; completions and manual pages are made from it.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs `future` on a runtime of its own. Verbs that only compute never pay for one.
///
/// # Errors
///
/// That of the future, or when the system gives no threads.
pub fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::failed("cannot start the runtime").because(error))?;
    let result = runtime.block_on(future);
    // A thread that still waits for a name server must not hold the process.
    runtime.shutdown_background();
    result
}

fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let matches = command().try_get_matches_from(arguments)?;
    Cli::from_arg_matches(&matches)
}

fn run(cli: Cli, printer: &Printer) -> Result<()> {
    let global = &cli.global;
    match cli.command {
        Command::Init(args) => init::run(&args, global, printer),
        Command::Check(args) => check::run(&args, global, printer),
        Command::Plan(args) => plan::run(&args, global, printer),
        Command::Up(args) => up::run(&args, global, printer),
        Command::Status(args) => status::run(&args, global, printer),
        Command::Node(args) => node::run(&args, global, printer),
        Command::Rebalance(args) => node::rebalance(&args, global, printer),
        Command::Log(args) => log::run(&args, global, printer),
        Command::Upgrade(args) => upgrade::run(&args, global, printer),
        Command::Reboot(args) => reboot::run(&args, global, printer),
        Command::Start(args) => start::run(&args, global, printer),
        Command::Power(args) => power::run(&args, global, printer),
        Command::Run(args) => run::run(&args, global, printer),
        Command::Shutdown(args) => shutdown::run(&args, global, printer),
        Command::Backup(args) => backup::run(&args, global, printer),
        Command::Restore(args) => restore::run(&args, global, printer),
        Command::Recover(args) => recover::run(&args, global, printer),
        Command::Reset(args) => reset::run(&args, global, printer),
        Command::Destroy(args) => destroy::run(&args, global, printer),
        Command::Image(args) => image::run(&args, global, printer),
        Command::Rotate(args) => rotate::run(&args, global, printer),
        Command::UnlockKey(args) => rotate::unlock_key(&args, global, printer),
        Command::Exec(args) => exec::run(&args, global, printer),
        Command::Ssh(args) => ssh::run(&args, global, printer),
        Command::Docker(args) => docker::run(&args, global, printer),
        Command::Drill(args) => drill::run(&args, global, printer),
        Command::Lab(args) => lab::run(&args, global, printer),
        Command::Render(args) => render::run(&args, global, printer),
        Command::Inventory(args) => inventory::run(&args, global, printer),
        Command::Schema(args) => schema::run(&args, printer),
        Command::Completions(args) => completions::run(&args, printer),
        Command::Man(args) => man::run(&args, printer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn every_verb_shows_an_example() {
        for verb in command().get_subcommands() {
            let help = verb.get_after_help().map(ToString::to_string);
            let help = help.unwrap_or_default();
            assert!(
                help.contains("skep "),
                "`{}` has no example",
                verb.get_name()
            );
        }
    }
}
