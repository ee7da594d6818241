//! Ctrl-C: once finishes what runs and starts nothing; twice stops.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::execute::Stop;
use crate::ui::Printer;

/// Watches for SIGINT (Ctrl-C) and SIGTERM until the runtime ends, and says what each does.
///
/// The first cancels [`Stop::soft`], the second [`Stop::hard`]; whoever holds these ends the run.
///
/// # Errors
///
/// When the system gives no signal handler.
pub fn watch(printer: &Printer) -> Result<Stop> {
    let cannot = |error| Error::failed("cannot watch for Ctrl-C").because(error);
    let mut interrupts = signal(SignalKind::interrupt()).map_err(cannot)?;
    let mut terminations = signal(SignalKind::terminate()).map_err(cannot)?;
    let stop = Stop::default();
    let (watched, printer) = (stop.clone(), printer.clone());
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                signal = interrupts.recv() => signal,
                signal = terminations.recv() => signal,
            }
        };
        if next().await.is_none() {
            return;
        }
        printer.warn("interrupted: finishing what runs, starting nothing more");
        printer.hint("Press Ctrl-C again to stop at once.");
        watched.soft.cancel();
        if next().await.is_none() {
            return;
        }
        printer.warn("stopping at once: what ran may be half done; run the command again");
        watched.hard.cancel();
    });
    Ok(stop)
}

/// Watches for Ctrl-C without a word, for verbs that change nothing and just end.
///
/// # Errors
///
/// When the system gives no signal handler.
pub fn quietly() -> Result<CancellationToken> {
    let cannot = |error| Error::failed("cannot watch for Ctrl-C").because(error);
    let mut interrupts = signal(SignalKind::interrupt()).map_err(cannot)?;
    let token = CancellationToken::new();
    let ended = token.clone();
    tokio::spawn(async move {
        if interrupts.recv().await.is_some() {
            ended.cancel();
        }
    });
    Ok(token)
}
