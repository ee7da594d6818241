//! The lock of a cluster: one skep at a time, held on the managers.
//!
//! A lock is an open connection: on each manager a shell holds an advisory lock (`flock`) for as
//! long as it hears from us. When skep ends in whatever way, or its machine is cut off, the shell
//! hears nothing and lets go. There is no file to clean up and no lock that outlives its owner.

use std::time::Duration;

use crate::shell::quote;
use crate::state::Owner;

/// How often the holder is told that we are alive.
pub const HEARTBEAT: Duration = Duration::from_secs(10);

/// After how many seconds of silence the holder lets go: three heartbeats lost in a row, and some.
const SILENCE_SECONDS: u32 = 45;

/// The line that the holder prints when the lock is ours.
pub const HELD: &str = "skep-lock-held";

/// What comes before the owner's record when it is somebody else's.
pub const TAKEN: &str = "skep-lock-taken ";

/// The script that takes the lock and holds it while it hears a byte at least every 45 s.
///
/// The owner's record is written under the lock, so a reader sees the record of whoever holds it.
pub fn script(owner: &Owner) -> String {
    let record = serde_json::to_string(owner).unwrap_or_default();
    format!(
        "umask 077\n\
         mkdir -p /run/skep || exit 1\n\
         exec 9>>/run/skep/run.lock || exit 1\n\
         if ! flock -n 9; then\n\
         printf '%s' {taken}; cat /run/skep/run.owner 2>/dev/null; echo\n\
         exit 0\n\
         fi\n\
         printf '%s\\n' {record} >/run/skep/run.owner\n\
         echo {HELD}\n\
         while [ -n \"$(timeout {SILENCE_SECONDS} dd bs=1 count=1 2>/dev/null 9>&-)\" ]; do :; done\n",
        taken = quote(TAKEN),
        record = quote(&record),
    )
}
