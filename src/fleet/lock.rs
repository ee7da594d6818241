//! The lock of a cluster: one skep at a time, held on the managers.
//!
//! A lock is an open connection: on each manager a shell holds an advisory lock (`flock`) for as
//! long as it hears from us. When skep ends in whatever way, or its machine is cut off, the shell
//! hears nothing and lets go. There is no file to clean up and no lock that outlives its owner.

use std::time::Duration;

use crate::shell::quote;
use crate::state::{Owner, Token};

/// How often the holder is told that we are alive.
pub const HEARTBEAT: Duration = Duration::from_secs(10);

/// After how many seconds of silence the holder lets go: three heartbeats lost in a row, and some.
const SILENCE_SECONDS: u32 = 45;

/// The line that the holder prints when the lock is ours.
pub const HELD: &str = "skep-lock-held";

/// What comes before the owner's record when it is somebody else's.
pub const TAKEN: &str = "skep-lock-taken ";

/// What ends the token in the script; no token is this.
const END: &str = "skep-token-end";

/// The script that takes the lock and holds it while it hears a byte at least every 45 s.
///
/// The owner's record is written under the lock, so a reader sees the record of whoever holds it.
/// A run that was started by the owner proves it by the `presented` token: it works under the
/// owner's lock, and only as long as that is there.
pub fn script(owner: &Owner, presented: Option<&Token>) -> String {
    let record = serde_json::to_string(owner).unwrap_or_default();
    // A byte is heard by a process that has not the lock open, so that the lock ends with the shell.
    let hears = format!(
        "[ -n \"$(exec 9>&-; exec timeout {SILENCE_SECONDS} dd bs=1 count=1 2>/dev/null)\" ]"
    );
    let under = presented.map_or_else(String::new, |token| under(token, &hears));
    format!(
        "umask 077\n\
         mkdir -p /run/skep || exit 1\n\
         exec 9>>/run/skep/run.lock || exit 1\n\
         if ! flock -n 9; then\n\
         {under}\
         printf '%s' {taken}; cat /run/skep/run.owner 2>/dev/null; echo\n\
         exit 0\n\
         fi\n\
         echo $$ >/run/skep/run.holder\n\
         cat >/run/skep/run.owner <<'{END}'\n\
         {record}\n\
         {END}\n\
         echo {HELD}\n\
         while {hears}; do :; done\n\
         rm -f /run/skep/run.owner /run/skep/run.holder\n",
        taken = quote(TAKEN),
    )
}

/// The part that works under the lock of the run that gave us `token`.
fn under(token: &Token, hears: &str) -> String {
    let token = token.expose();
    // In a here-document: what is an argument of a process is seen by everybody.
    format!(
        "seal=$(sha256sum <<'{END}' | cut -c 1-64\n\
         {token}\n\
         {END}\n\
         )\n\
         ours() {{ case $(cat /run/skep/run.owner 2>/dev/null) in *'\"seal\":\"'\"$seal\"'\"'*) ! flock -n 9 ;; *) false ;; esac; }}\n\
         if ours; then\n\
         echo {HELD}\n\
         while {hears} && ours; do :; done\n\
         exit 0\n\
         fi\n"
    )
}

/// What came of breaking the lock on one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// The holder has let go.
    Broken,
    /// Nobody held it any more.
    Free,
    /// Somebody else than was to be broken holds it.
    Other,
    /// The process that holds it cannot be told for certain, so none was ended.
    Unknown,
    /// The holder was ended, and something still holds the lock.
    Stuck,
}

impl Broken {
    /// Reads what [`break_script`] printed.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text.trim() {
            "broken" => Self::Broken,
            "free" => Self::Free,
            "other" => Self::Other,
            "unknown" => Self::Unknown,
            "stuck" => Self::Stuck,
            _ => return None,
        })
    }
}

/// The script that makes the holder let go, if `record` is still what it wrote of its owner.
///
/// The shell with that number is ended only if it has this very lock open where the holder has it:
/// a number that another process got since is never touched.
pub fn break_script(record: &str) -> String {
    format!(
        "umask 077\n\
         mkdir -p /run/skep || exit 1\n\
         lock=/run/skep/run.lock\n\
         exec 9>>$lock || exit 1\n\
         tell() {{ echo \"$1\"; exit 0; }}\n\
         if flock -n 9; then tell free; fi\n\
         record=$(cat <<'{END}'\n\
         {record}\n\
         {END}\n\
         )\n\
         holder=$(cat /run/skep/run.holder 2>/dev/null)\n\
         [ \"$(cat /run/skep/run.owner 2>/dev/null)\" = \"$record\" ] || tell other\n\
         case $holder in '' | *[!0-9]*) tell unknown ;; esac\n\
         holds() {{ [ \"$(stat -L -c %d:%i \"/proc/$holder/fd/9\" 2>/dev/null)\" = \"$(stat -L -c %d:%i $lock)\" ]; }}\n\
         holds || tell unknown\n\
         kill -TERM \"$holder\"\n\
         for signal in 0 0 0 0 0 0 0 0 0 KILL 0 0 0; do\n\
         if flock -n 9; then tell broken; fi\n\
         if [ $signal = KILL ] && holds; then kill -KILL \"$holder\"; fi\n\
         sleep 0.5\n\
         done\n\
         tell stuck\n",
        // It came over a line, so it is one; a record of several lines would end the document.
        record = record.lines().next().unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests;
