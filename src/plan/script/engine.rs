//! Restarts and reloads of the engine for a changed `daemon.json`, with the way back.

use crate::resource::{DAEMON_JSON, RESTART_MARKER, ROLLED_BACK};

/// How long a restart may take in all: stopping, two starts (one of them with the former file), and
/// the wait for an answer after each.
pub(super) const SECONDS: u32 = 1000;

pub(super) fn with_library(body: &str) -> String {
    let paths = format!("file={DAEMON_JSON}\nmarker={RESTART_MARKER}\nnote={ROLLED_BACK}\n");
    format!("{paths}{LIBRARY}{body}")
}

/// Restarts the engine, and waits until it answers.
pub(super) fn restart() -> String {
    with_library(RESTART)
}

/// Reloads the engine's configuration, and sees whether it took it.
pub(super) fn reload() -> String {
    with_library(RELOAD)
}

/// Says how the change ended.
pub(super) fn settle() -> String {
    with_library(SETTLE)
}

const LIBRARY: &str = include_str!("engine/library.sh");
const RESTART: &str = include_str!("engine/restart.sh");
const RELOAD: &str = include_str!("engine/reload.sh");

// The note stays until the next change, so that the step gives the same answer when it is repeated.
const SETTLE: &str =
    "rm -f \"$marker\"\nif [ -e \"$note\" ]; then fail 81 \"$(cat \"$note\")\"; fi\n";
