//! How a run gets its lock: on this machine, then on the managers; and how it breaks another's.

use crate::error::{Error, Kind, Result};
use crate::fleet::live::{LockError, RemoteLock};
use crate::fleet::lock::Broken;
use crate::state::{Locked, Owner, RunLock, State, Token};
use crate::ui::{Printer, prompt};

use super::cluster::Cluster;

/// Whether another run's lock may be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// No: the run is refused.
    Never,
    /// Once somebody has confirmed it.
    Ask,
    /// Yes.
    Yes,
}

impl Break {
    /// What `--break-lock` and `--yes` say.
    pub fn of(break_lock: bool, yes: bool) -> Self {
        match (break_lock, yes) {
            (false, _) => Self::Never,
            (true, false) => Self::Ask,
            (true, true) => Self::Yes,
        }
    }

    fn confirm(self, owner: Option<&Owner>) -> Result<()> {
        let whose = owner.map_or_else(
            || "a run that does not say whose it is".to_owned(),
            ToString::to_string,
        );
        let question = format!("Break the lock of {whose}? It starts nothing more then.");
        if prompt::confirm(&question, self == Self::Yes)? {
            return Ok(());
        }
        let message = "not confirmed; nothing was changed";
        Err(Error::new(Kind::Interrupted, message))
    }
}

/// Takes the lock on this machine.
///
/// Where another run of this machine holds it and may be told to stop, that is told by its lock on
/// the managers, which [`managers`] breaks: the run itself is left to end in its own time.
///
/// # Errors
///
/// A refusal, with who works and since when.
pub fn here(state: &State, command: &str, how: Break) -> Result<RunLock> {
    match state.try_lock(command, Token::presented().as_ref()) {
        Ok(lock) => Ok(lock),
        Err(Locked::Held { owner, .. }) if how != Break::Never => {
            how.confirm(owner.as_deref())?;
            Ok(RunLock::beside(command, owner))
        }
        Err(locked) => Err(may_be_broken(locked.into(), how)),
    }
}

/// Takes the lock on the managers, and says whose lock was broken for it. With `reboots` a manager
/// that goes down is expected back, and the lock is taken on it again.
///
/// # Errors
///
/// A refusal, with who works and since when; a failure where a manager cannot hold a lock.
pub async fn managers(
    cluster: &Cluster,
    here: &RunLock,
    how: Break,
    reboots: bool,
    printer: &Printer,
) -> Result<(RemoteLock, Option<String>)> {
    let (live, managers) = (&cluster.live, cluster.managers());
    let presented = Token::presented();
    let take = || live.lock(&managers, here.owner(), presented.as_ref(), reboots);
    let (owner, record) = match take().await {
        Ok(lock) => return Ok((lock, None)),
        Err(LockError::Taken { owner, record, .. }) if how != Break::Never => (owner, record),
        Err(error) => return Err(refused(&error, how)),
    };
    // That of a run on this machine was asked for already.
    if owner.is_none() || owner.as_deref() != here.other() {
        how.confirm(owner.as_deref())?;
    }
    for (host, broken) in live.break_lock(&managers, &record).await {
        let why = match broken {
            Ok(Broken::Broken | Broken::Free | Broken::Other) => continue,
            Ok(Broken::Unknown) => "the process that holds it cannot be told".to_owned(),
            Ok(Broken::Stuck) => "something still holds it".to_owned(),
            // It was told by then that this one does not answer, or will be.
            Err(fault) => fault.message,
        };
        printer.warn(format!("the lock on `{host}` was not broken: {why}"));
    }
    let lock = take().await.map_err(|error| refused(&error, how))?;
    let of = owner.map_or_else(|| "unknown".to_owned(), |owner| owner.to_string());
    printer.notice(format!("broke the lock of {of}"));
    Ok((lock, Some(of)))
}

fn refused(error: &LockError, how: Break) -> Error {
    match error {
        LockError::Taken { .. } => may_be_broken(
            Error::refused(error.to_string())
                .hint("Wait until it has ended: the lock is free as soon as its owner ends."),
            how,
        ),
        LockError::Cannot { hint, .. } => {
            let hints = hint.iter().cloned();
            hints.fold(Error::failed(error.to_string()), Error::hint)
        }
    }
}

fn may_be_broken(error: Error, how: Break) -> Error {
    if how != Break::Never || error.kind() != Kind::Refused {
        return error;
    }
    error.hint("If it hangs, `--break-lock` makes it start nothing more, and goes on here.")
}
