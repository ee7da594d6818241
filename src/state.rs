//! What skep keeps on this machine for a cluster: journals and the lock of a run.
//!
//! Everything lies under `$XDG_STATE_HOME/skep/CLUSTER` and may be deleted at any time: nothing is
//! done because of it. At most something is not done, and whoever is refused is told how to go on.

mod last;

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};
use crate::shell::hex;

/// How often a held lock is tried again, and how long to wait before each try.
const LOCK_TRIES: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// The directory of one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    directory: PathBuf,
}

impl State {
    /// The directory of `cluster` under `$XDG_STATE_HOME`, else under `~/.local/state`.
    ///
    /// # Errors
    ///
    /// A usage error where neither variable names an absolute path. Nothing is made yet.
    pub fn of(cluster: &str) -> Result<Self> {
        let root = root(std::env::var_os("XDG_STATE_HOME"), std::env::var_os("HOME"));
        let root = root.ok_or_else(|| {
            Error::usage("neither `$XDG_STATE_HOME` nor `$HOME` names an absolute path")
                .hint("Set `XDG_STATE_HOME` to a directory for journals and locks.")
        })?;
        Ok(Self::at(root.join("skep").join(cluster)))
    }

    /// The state in `directory`.
    pub fn at(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where the journals of runs lie.
    pub fn runs(&self) -> PathBuf {
        self.directory.join("runs")
    }

    /// Takes the lock that all runs changing this cluster from this machine share, or works under
    /// that of the run which started this one.
    ///
    /// # Errors
    ///
    /// [`Kind::Refused`](crate::error::Kind::Refused) when another run holds it, with who and
    /// since when.
    pub fn lock(&self, command: &str) -> Result<RunLock> {
        let lock = self.try_lock(command, Token::presented().as_ref());
        lock.map_err(Error::from)
    }

    /// The same, for whoever may do something about a lock that is held.
    ///
    /// The kernel holds it for the open file, so it is free as soon as its owner ends, however it
    /// ends; the text inside only says who that is. A run that the owner started proves it by the
    /// token `presented`, and works under the owner's lock.
    ///
    /// # Errors
    ///
    /// [`Locked::Held`] when another run holds it, with who and since when.
    pub fn try_lock(&self, command: &str, presented: Option<&Token>) -> Result<RunLock, Locked> {
        let path = self.directory.join("lock");
        let cannot = |error: std::io::Error| {
            Locked::Cannot(
                Error::failed(format!("cannot lock `{}`", path.display()))
                    .because(error)
                    .hint("Set `XDG_STATE_HOME` to a directory that you can write to."),
            )
        };
        make_private_directory(&self.directory).map_err(cannot)?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(cannot)?;
        let mut tries = 0;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                // A child that the last owner had just forked holds a copy of its open file until
                // it runs its own program, a moment later.
                Err(TryLockError::WouldBlock) if tries < LOCK_TRIES => {
                    tries += 1;
                    std::thread::sleep(LOCK_PAUSE);
                }
                Err(TryLockError::WouldBlock) => {
                    let owner = read_owner(&mut file);
                    return match presented {
                        Some(token) if token.opens(owner.as_deref()) => {
                            Ok(RunLock::without_file(command, token.clone()))
                        }
                        _ => Err(Locked::Held { owner, path }),
                    };
                }
                Err(TryLockError::Error(error)) => return Err(cannot(error)),
            }
        }
        let token = Token::new();
        let owner = Owner::this(command).sealed(&token);
        write_owner(&mut file, &owner).map_err(cannot)?;
        Ok(RunLock {
            _file: Some(file),
            owner,
            token,
            beside: None,
        })
    }
}

/// Why the lock on this machine was not taken.
#[derive(Debug)]
pub enum Locked {
    /// Another run holds it.
    Held {
        /// Who. `None`: it has just taken the lock and not yet written who it is.
        owner: Option<Box<Owner>>,
        /// The file that it holds.
        path: PathBuf,
    },
    /// It cannot be locked.
    Cannot(Error),
}

impl From<Locked> for Error {
    fn from(locked: Locked) -> Self {
        let message = match locked {
            Locked::Cannot(error) => return error,
            Locked::Held {
                owner: Some(owner), ..
            } => format!("another run works on this cluster: {owner}"),
            Locked::Held { owner: None, path } => format!(
                "another run works on this cluster: it holds `{}`",
                path.display()
            ),
        };
        Self::refused(message)
            .hint("Wait until it has ended, or stop it: the lock is free as soon as it ends.")
    }
}

/// A held lock; dropping it frees it.
#[derive(Debug)]
pub struct RunLock {
    /// `None` under the lock of another run.
    _file: Option<File>,
    owner: Owner,
    token: Token,
    beside: Option<Box<Owner>>,
}

impl RunLock {
    /// What stands for a lock beside that of another run, which is to be broken.
    pub fn beside(command: &str, other: Option<Box<Owner>>) -> Self {
        Self {
            beside: other,
            ..Self::without_file(command, Token::new())
        }
    }

    fn without_file(command: &str, token: Token) -> Self {
        Self {
            _file: None,
            owner: Owner::this(command).sealed(&token),
            token,
            beside: None,
        }
    }

    /// The run of this machine whose lock is to be broken.
    pub fn other(&self) -> Option<&Owner> {
        self.beside.as_deref()
    }

    /// What the lock says of us.
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// What a program that this run starts gets as [`Token::VARIABLE`], so that a skep in it may
    /// work under this lock.
    pub fn token(&self) -> &Token {
        &self.token
    }
}

/// What a run that another run started shows to work under its lock. The record of the lock has
/// only its [`seal`](Self::seal), from which it cannot be told.
#[derive(Debug, Clone)]
pub struct Token(SecretString);

impl Token {
    /// The variable of the environment in which it is handed on.
    pub const VARIABLE: &str = "SKEP_LOCK";

    /// One that nobody guesses.
    pub fn new() -> Self {
        Self(crate::ssh::nonce().into())
    }

    /// The one that this process was started with. What cannot be a token is none.
    pub fn presented() -> Option<Self> {
        std::env::var(Self::VARIABLE)
            .ok()
            .and_then(|text| Self::parse(&text))
    }

    fn parse(text: &str) -> Option<Self> {
        let is_one = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_one.then(|| Self(text.into()))
    }

    /// The token itself, for a child's environment and for a script's input, and nothing else.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// The SHA-256 of the token as a line.
    pub fn seal(&self) -> String {
        let line = zeroize::Zeroizing::new(format!("{}\n", self.expose()));
        hex(&Sha256::digest(line.as_bytes()))
    }

    fn opens(&self, owner: Option<&Owner>) -> bool {
        owner.is_some_and(|owner| owner.seal.as_ref() == Some(&self.seal()))
    }
}

impl Default for Token {
    fn default() -> Self {
        Self::new()
    }
}

/// Who holds a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The user's login name.
    pub who: String,
    /// The machine's name.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// Since when.
    pub since: Timestamp,
    /// The verb, such as `up`.
    pub command: String,
    /// The [`Token::seal`] of its token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<String>,
}

impl Owner {
    /// This process, from now on.
    pub fn this(command: &str) -> Self {
        Self {
            who: user(),
            host: machine(),
            pid: std::process::id(),
            since: Timestamp::now(),
            command: command.to_owned(),
            seal: None,
        }
    }

    /// With the seal of `token`: whoever has it may work under this lock.
    #[must_use]
    pub fn sealed(self, token: &Token) -> Self {
        Self {
            seal: Some(token.seal()),
            ..self
        }
    }

    /// How long it has been at work at `now`. The clocks of two machines may differ a little.
    pub fn age(&self, now: Timestamp) -> Duration {
        let age = now.duration_since(self.since);
        Duration::try_from(age).unwrap_or_default()
    }

    /// `user@machine`, as journals name it.
    pub fn name(&self) -> String {
        format!("{}@{}", self.who, self.host)
    }
}

/// What a person is told: which command, by whom, for how long.
impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let age = age(self.age(Timestamp::now()));
        let since = self.since.strftime("%Y-%m-%d %H:%M:%S UTC");
        let (command, name, pid) = (&self.command, self.name(), self.pid);
        write!(
            f,
            "`skep {command}` by {name} (process {pid}) since {age} ({since})"
        )
    }
}

/// `40 s`, `12 min`, `3 h 5 min`, `2 d 1 h`.
fn age(age: Duration) -> String {
    let seconds = age.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, ..) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

/// Makes `directory` and what is missing above it, readable for the user alone.
pub fn make_private_directory(directory: &Path) -> std::io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
}

fn root(state_home: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    // The XDG specification: a relative path there is to be ignored.
    let absolute = |path: OsString| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    let home = || home.and_then(absolute).map(|it| it.join(".local/state"));
    state_home.and_then(absolute).or_else(home)
}

fn user() -> String {
    let named = ["SUDO_USER", "USER", "LOGNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    named.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()))
}

fn machine() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "unknown".to_owned(),
        name => name.to_owned(),
    }
}

fn write_owner(file: &mut File, owner: &Owner) -> std::io::Result<()> {
    let mut text = serde_json::to_vec(owner)?;
    text.push(b'\n');
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(&text)?;
    file.flush()
}

fn read_owner(file: &mut File) -> Option<Box<Owner>> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok().map(Box::new)
}

/// Deletes the oldest of the files in `directory` whose names end in `suffix`, until `keep` are
/// left. Their names must sort by age.
pub(crate) fn prune(directory: &Path, suffix: &str, keep: usize) -> std::io::Result<()> {
    let mut names: Vec<PathBuf> = fs::read_dir(directory)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.to_string_lossy().ends_with(suffix))
        .collect();
    names.sort_unstable();
    let surplus = names.len().saturating_sub(keep);
    for path in names.into_iter().take(surplus) {
        fs::remove_file(path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn relative_paths_are_no_homes() {
        let root = |state: &str, home: &str| root(Some(state.into()), Some(home.into()));
        assert_eq!(root("/s", "/h"), Some("/s".into()));
        assert_eq!(root("s", "/h"), Some("/h/.local/state".into()));
        assert_eq!(root("", ""), None);
    }

    #[test]
    fn the_second_run_is_told_who_holds_the_lock() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::at(directory.path().join("a/b"));
        let first = state.lock("up").unwrap();
        let second = state.lock("up").unwrap_err();
        assert_eq!(second.kind(), Kind::Refused);
        let message = second.to_string();
        assert!(message.contains("`skep up` by"), "{message}");
        assert!(message.contains(&first.owner().name()), "{message}");
        assert!(message.contains(" s (20"), "{message}");
        drop(first);
        state.lock("up").unwrap();
    }

    #[test]
    fn a_run_that_shows_the_token_works_under_the_lock() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::at(directory.path());
        let first = state.lock("up").unwrap();
        let other = Token::new();
        assert!(state.try_lock("status", Some(&other)).is_err());
        let under = state.try_lock("status", Some(first.token())).unwrap();
        let third = state.try_lock("status", Some(under.token())).unwrap();
        drop((under, third));
        assert!(state.lock("up").is_err(), "it is the first one's");
        let record = fs::read_to_string(directory.path().join("lock")).unwrap();
        assert!(!record.contains(first.token().expose()), "{record}");
        assert!(!format!("{first:?}").contains(first.token().expose()));
        drop(first);
        // One that is left over from a run that has ended is nothing.
        let next = state.try_lock("up", Some(&other)).unwrap();
        assert_ne!(next.token().seal(), other.seal());
    }

    #[test]
    fn only_what_can_be_a_token_is_one() {
        assert!(Token::parse(Token::new().expose()).is_some());
        for text in ["", "abc", &"g".repeat(32), &format!("{}\n", "a".repeat(31))] {
            assert!(Token::parse(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn ages_read_well() {
        let of = |seconds| age(Duration::from_secs(seconds));
        assert_eq!(of(59), "59 s");
        assert_eq!(of(725), "12 min");
        assert_eq!(of(11_100), "3 h 5 min");
        assert_eq!(of(176_400), "2 d 1 h");
    }

    #[test]
    fn a_lock_that_a_dead_owner_left_is_free() {
        let directory = tempfile::tempdir().unwrap();
        let dead =
            r#"{"who":"x","host":"y","pid":1,"since":"2026-01-01T00:00:00Z","command":"up"}"#;
        fs::write(directory.path().join("lock"), dead.repeat(3)).unwrap();
        let state = State::at(directory.path());
        let lock = state.lock("status").unwrap();
        let text = fs::read_to_string(directory.path().join("lock")).unwrap();
        assert_eq!(&serde_json::from_str::<Owner>(&text).unwrap(), lock.owner());
    }

    #[test]
    fn children_that_are_being_forked_do_not_hold_the_lock() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::at(directory.path());
        let stop = std::sync::atomic::AtomicBool::new(false);
        let relaxed = std::sync::atomic::Ordering::Relaxed;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(relaxed) {
                    std::process::Command::new("true").status().unwrap();
                }
            });
            // Without another try about one in six of these fails.
            let taken = (0..100).filter(|_| state.lock("up").is_ok()).count();
            stop.store(true, relaxed);
            assert_eq!(taken, 100);
        });
    }
}
