//! `skep exec`: a command on hosts.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use clap::Args;
use futures::StreamExt;
use futures::stream;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::fleet::Fault;
use crate::shell;
use crate::ssh::{Exit, ScriptOptions, Stream};
use crate::ui::style::{self, paint};
use crate::ui::{Printer, text};

use super::cluster::Cluster;
use super::{Global, block_on};

/// How many hosts run the command at the same time.
const AT_ONCE: usize = 100;

/// The arguments of `skep exec`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  skep exec --on managers -- uptime
  skep exec --on 'w*' -- sh -c 'df -h /var/lib/docker | tail -1'

The command runs as root where the inventory says `become`, else as the login user. The exit code
is 1 when it fails on any host.")]
pub struct ExecArgs {
    /// The hosts: names, globs, `managers`, `workers`, `all`, `@label=value`, `!host`
    #[arg(long, value_name = "SELECTOR")]
    pub on: String,

    /// After how many seconds the command is ended
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..))]
    pub timeout: u32,

    /// Print each host's result as a line of JSON
    #[arg(long)]
    pub json: bool,

    /// The command and its arguments, each passed on as it is
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// One host's result as programs get it.
#[derive(Debug, Serialize)]
struct Ran {
    host: String,
    /// The exit status; `None` when it is not known, or a signal ended it.
    status: Option<u32>,
    stdout: String,
    stderr: String,
    error: Option<String>,
}

/// Runs a command on hosts.
///
/// # Errors
///
/// When it failed on any of them, or one gave no answer.
pub fn run(args: &ExecArgs, global: &Global, printer: &Printer) -> Result<()> {
    block_on(async {
        let cluster = Cluster::open(global, Some(&args.on), printer).await?;
        cluster.is_made().await?;
        let script = shell::join(args.command.iter().map(String::as_str)) + "\n";
        let hosts: Vec<&String> = cluster.selected.iter().collect();
        let width = hosts.iter().map(|host| host.len()).max().unwrap_or(0);
        let alone = hosts.len() == 1;
        // Lines of different hosts come whole, one after the other.
        let print = Mutex::new(Ok(()));
        let show = |host: &str, stream: Stream, line: &str| {
            if args.json {
                return;
            }
            let mut printed = print.lock().unwrap_or_else(PoisonError::into_inner);
            let line = if alone {
                line.to_owned()
            } else {
                format!("{} {line}", paint(style::FAINT, format!("{host:width$} |")))
            };
            match stream {
                Stream::Stdout if printed.is_ok() => *printed = printer.data(&(line + "\n")),
                Stream::Stdout => {}
                Stream::Stderr => printer.trouble(line),
            }
        };
        let (cluster, script, show) = (&cluster, script.as_str(), &show);
        let ran = stream::iter(hosts).map(|host| async move {
            let ended = on_host(cluster, host, script, args, show).await;
            (host.as_str(), ended)
        });
        let mut ran = ran.buffer_unordered(AT_ONCE);
        let mut failed = Vec::new();
        while let Some((host, ended)) = ran.next().await {
            let why = match &ended {
                Err(fault) => Some(fault.message.clone()),
                Ok((Exit::Code(0), ..)) => None,
                Ok((status, ..)) => Some(status.to_string()),
            };
            if args.json {
                printer.json_line(&result(host, ended, why.clone()))?;
            }
            failed.extend(why.map(|why| format!("{host}: {why}")));
        }
        drop(ran);
        print.into_inner().unwrap_or_else(PoisonError::into_inner)?;
        if failed.is_empty() {
            return Ok(());
        }
        failed.sort_unstable();
        for line in &failed {
            printer.trouble(format!("{} {line}", paint(style::ERROR, "failed:")));
        }
        let hosts = text::count(failed.len(), "host");
        let error = Error::failed(format!("the command failed on {hosts}"));
        Err(if is_a_line_of_shell(&args.command) {
            error.hint("The command is a single word with spaces in it. Write its words apart, or `-- sh -c '...'` for a line of shell.")
        } else {
            error
        })
    })
}

/// Whether somebody wrote a whole command line as one argument, as `ssh` would take it.
fn is_a_line_of_shell(command: &[String]) -> bool {
    matches!(command, [only] if only.contains(char::is_whitespace))
}

type Ended = std::result::Result<(Exit, Vec<u8>, String), Fault>;

async fn on_host(
    cluster: &Cluster,
    host: &str,
    script: &str,
    args: &ExecArgs,
    show: &(dyn Fn(&str, Stream, &str) + Send + Sync),
) -> Ended {
    let session = cluster.live.remote(host)?.session().await?;
    let options = ScriptOptions {
        deadline: Duration::from_secs(u64::from(args.timeout)),
        root: true,
    };
    let on_line = |stream: Stream, line: &str| show(host, stream, line);
    let output = session.script(script, &options, &on_line).await;
    let output = output.map_err(|error| crate::fleet::live::fault(&error))?;
    Ok((output.status, output.stdout, output.stderr_tail))
}

fn result(host: &str, ended: Ended, error: Option<String>) -> Ran {
    let (status, stdout, stderr) = match ended {
        Ok((status, stdout, stderr)) => (Some(status), stdout, stderr),
        Err(_) => (None, Vec::new(), String::new()),
    };
    Ran {
        host: host.to_owned(),
        status: match status {
            Some(Exit::Code(code)) => Some(code),
            _ => None,
        },
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr,
        error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_in_one_argument_is_noticed() {
        let is = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            is_a_line_of_shell(&words)
        };
        assert!(is(&["docker node ls"]));
        assert!(!is(&["docker", "node", "ls"]));
        assert!(!is(&["sh", "-c", "docker node ls"]));
        assert!(!is(&["uptime"]));
    }
}
