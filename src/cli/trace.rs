//! `--log-file` and `-vv`: what the parts of skep tell of themselves, for whoever looks for a bug.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Mutex;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use crate::error::{Error, Result};

/// Names the modules to log and how much, as `SKEP_LOG=skep::ssh=trace`.
const FILTER: &str = "SKEP_LOG";

/// What is logged where [`FILTER`] says nothing. Libraries are left out on purpose: the one that
/// speaks to the engine logs whole answers, and among these are the swarm's join tokens.
const DEFAULT: &str = "skep=debug";

/// Begins to log to `file`, and to stderr from `-vv` on. Without either it costs nothing.
///
/// # Errors
///
/// A usage error when the file cannot be opened.
pub fn begin(file: Option<&Path>, verbose: u8) -> Result<()> {
    if file.is_none() && verbose < 2 {
        return Ok(());
    }
    let filter = || EnvFilter::try_from_env(FILTER).unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    let to_file = match file {
        None => None,
        Some(path) => {
            let cannot = |error: io::Error| {
                Error::usage(format!("cannot write the log `{}`", path.display())).because(error)
            };
            let mut options = OpenOptions::new();
            options.create(true).append(true).mode(0o600);
            let file = options.open(path).map_err(cannot)?;
            Some(
                fmt::layer()
                    .json()
                    .with_writer(Mutex::new(file))
                    .with_filter(filter()),
            )
        }
    };
    let to_stderr = (verbose >= 2).then(|| {
        let layer = fmt::layer()
            .with_writer(io::stderr)
            .with_target(true)
            .without_time();
        layer.with_ansi(false).with_filter(filter())
    });
    let started = tracing_subscriber::registry()
        .with(to_file)
        .with(to_stderr)
        .try_init();
    started.map_err(|error| Error::failed("cannot begin to log").because(error))
}
