//! The command that sshd is asked to run, and the script that goes to its stdin.
//!
//! The command line is the same for every script but for a nonce, a length and a deadline, so that
//! nothing of the script is ever seen in a process list. sshd gives it to the user's login shell:
//! it is made of single-quoted words without quotes, backslashes at their end, exclamation marks
//! before a letter, or newlines, which sh, csh and fish all read the same.
//!
//! On the far side:
//! 1. sudo, if asked for, asks for its password with a prompt that we know;
//! 2. a first `sh` puts `timeout` around a second one;
//! 3. the second `sh` prints the nonce and a process id to both outputs: only what follows is the script's own, and
//!    only now may anything but a password be sent;
//! 4. it reads the script, all of it, and runs it only if its last line is the nonce: a script
//!    that was cut off on the way does nothing.

use std::fmt::Write as _;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

/// The exit status with which the far side says that the script did not arrive whole.
pub(super) const CUT_OFF: u32 = 254;

/// How long after TERM a script that is over its deadline gets KILL, in seconds.
pub(super) const KILL_AFTER: u64 = 5;

/// What is kept of noise without end, in bytes: enough for a message of sudo's, and for a marker
/// that comes in two pieces.
const NOISE_KEPT: usize = 64 << 10;

/// Puts `timeout` around the reader, with a watcher of our own where there is none or an old one.
/// `$0` is the reader, `$1` the nonce, `$2` the script's length or `-`, `$3` the deadline in
/// seconds or 0.
const DEADLINE: &str = concat!(
    r#"if [ "$3" = 0 ]; then exec sh -c "$0" sh "$1" "$2" $$; fi; "#,
    r#"if timeout -k 5 5 true </dev/null >/dev/null 2>&1; then exec timeout -k 5 "$3" sh -c "$0" sh "$1" "$2" $$; fi; "#,
    r#"exec 3<&0; sh -c "$0" sh "$1" "$2" $$ <&3 3<&- & p=$! ; "#,
    r#"(sleep "$3"; kill $p; sleep 5; kill -9 $p) </dev/null >/dev/null 2>&1 3<&- & w=$! ; "#,
    r#"trap "kill $p" TERM; "#,
    r#"wait $p; r=$?; kill $w 2>/dev/null; exit $r"#,
);

/// Announces itself, reads the script and runs it. `$1` is the nonce, `$2` the script's length in
/// bytes, or `-` for all of stdin, and `$3` the process that ends it all. `dd` with blocks of one byte takes exactly what is the script's.
const READER: &str = concat!(
    r#"echo "$1 $3"; echo "$1 $3" >&2; "#,
    r#"if [ "$2" = - ]; then skep=$(cat); else skep=$(dd bs=1 count="$2" 2>/dev/null); fi; "#,
    r##"case $skep in *"#$1") shift 3; eval "$skep";; *) echo "skep: the script was cut off on the way" >&2; exit 254;; esac"##,
);

/// How the command becomes root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sudo {
    /// Not at all.
    No,
    /// `sudo -n`: never asks.
    Silent,
    /// `sudo -S`: asks on stderr, reads from stdin.
    Password,
}

/// What of stdin is the script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    /// All of it.
    Whole,
    /// Its beginning; the rest is the script's own input.
    Beginning,
}

/// One command: what to ask sshd for and what to send.
#[derive(Debug)]
pub(super) struct Wrapped {
    /// For sshd.
    pub(super) command: String,
    /// For stdin, after the nonce was seen where sudo may ask for a password.
    pub(super) script: Vec<u8>,
    /// Stands before a process id on a line of both outputs, where the script's own begins.
    pub(super) begin: String,
    /// What sudo prints when it wants the password.
    pub(super) prompt: String,
    /// How the command becomes root.
    pub(super) sudo: Sudo,
}

/// Wraps `script`.
pub(super) fn wrap(script: &str, input: Input, sudo: Sudo, deadline: Option<Duration>) -> Wrapped {
    wrap_with(&nonce(), script, input, sudo, deadline)
}

fn wrap_with(
    nonce: &str,
    script: &str,
    input: Input,
    sudo: Sudo,
    deadline: Option<Duration>,
) -> Wrapped {
    let begin = format!("skep-{nonce}");
    let prompt = format!("skep-password-{nonce}:");
    let script = format!("{script}\n#{begin}").into_bytes();
    let length = match input {
        Input::Whole => "-".to_owned(),
        Input::Beginning => script.len().to_string(),
    };
    // A deadline of less than a second would be none at all.
    let seconds = deadline.map_or(0, |deadline| deadline.as_secs().max(1));
    let how = match sudo {
        Sudo::No => String::new(),
        Sudo::Silent => "sudo -H -n -- ".to_owned(),
        Sudo::Password => format!("sudo -H -S -k -p {prompt} -- "),
    };
    Wrapped {
        command: format!(
            "exec env LC_ALL=C {how}sh -c '{DEADLINE}' '{READER}' {begin} {length} {seconds}"
        ),
        script,
        begin,
        prompt,
        sudo,
    }
}

/// 128 bits that nobody guesses, in hexadecimal.
pub(crate) fn nonce() -> String {
    let mut text = String::with_capacity(32);
    for _ in 0..2 {
        let _ = write!(text, "{:016x}", random());
    }
    text
}

/// 64 random bits: the standard library keys each [`RandomState`] from the system's randomness.
pub(super) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Cuts off everything up to and including the line that says where the script's output begins.
#[derive(Debug)]
pub(super) struct Preamble {
    marker: Vec<u8>,
    seen: Vec<u8>,
    over: bool,
    process: Option<u32>,
}

impl Preamble {
    pub(super) fn new(begin: &str) -> Self {
        Self {
            marker: format!("{begin} ").into_bytes(),
            seen: Vec::new(),
            over: false,
            process: None,
        }
    }

    /// Whether the script's own output has begun.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// The process on the far side that ends the script when it gets TERM.
    pub(super) fn process(&self) -> Option<u32> {
        self.process
    }

    /// What was printed before, as far as it was kept.
    pub(super) fn noise(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    /// Takes what arrived; gives back what of it is the script's own.
    pub(super) fn feed<'a>(&mut self, data: &'a [u8]) -> &'a [u8] {
        if self.over {
            return data;
        }
        let before = self.seen.len();
        self.seen.extend_from_slice(data);
        if let Some((at, end, process)) = self.find() {
            self.over = true;
            self.process = Some(process);
            self.seen.truncate(at);
            // The line ends in this piece, since it was not found before.
            return &data[end.saturating_sub(before)..];
        }
        if self.seen.len() > 2 * NOISE_KEPT {
            self.seen.drain(..self.seen.len() - NOISE_KEPT);
        }
        &[]
    }

    /// Where the line with the marker and the process begins and ends. A shell that repeats the
    /// command (`set -x`) has the marker too, but no number and line's end right after it.
    fn find(&self) -> Option<(usize, usize, u32)> {
        let starts = self.seen.windows(self.marker.len()).enumerate();
        for (at, _) in starts.filter(|(_, window)| *window == self.marker) {
            let rest = &self.seen[at + self.marker.len()..];
            if let Some(length) = rest.iter().take(12).position(|byte| *byte == b'\n')
                && let Ok(number) = std::str::from_utf8(&rest[..length])
                && let Ok(process) = number.parse()
            {
                return Some((at, at + self.marker.len() + length + 1, process));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
