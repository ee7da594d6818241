//! The copy of a manager's state that is kept before it forgets its swarm.

use crate::shell;

/// There is no room for the copy.
pub(super) const NO_ROOM: u8 = 83;
/// The engine does not stop.
pub(super) const RUNS_ON: u8 = 84;

/// How long it may take, in seconds: two questions, the stop, the copy, the start.
const SECONDS: u32 = 900;

/// The body of the script, and how long it may take.
pub(super) fn copy(id: &str) -> (String, u32) {
    let body = include_str!("recover/copy.sh");
    (format!("id={}\n{body}", shell::quote(id)), SECONDS)
}

/// What to do where it ended with `status`.
pub(super) fn explain(status: u8) -> Option<&'static str> {
    match status {
        NO_ROOM => Some(
            "Make room on the host, and run the command again. Without a copy: `--no-copy`; what only the others knew is then lost for ever.",
        ),
        RUNS_ON => Some(
            "Look for what holds it, such as a dead NFS server, or boot the host anew, and run the command again. Without a copy: `--no-copy`.",
        ),
        _ => None,
    }
}
