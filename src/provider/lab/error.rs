//! Why the lab did not do what it was asked to.

use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::fleet::{Fault, FaultKind};
use crate::local::LocalError;

/// Why the lab did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// This machine cannot carry a lab, or cannot yet.
    #[error("{message}")]
    Unfit {
        /// What is missing: a fragment.
        message: String,
        /// What to do about it: a sentence.
        hint: String,
    },
    /// A program failed.
    #[error("cannot {doing}: {source}")]
    Program {
        /// What was being done, such as `start the lab's engine`.
        doing: String,
        /// How it failed.
        source: LocalError,
        /// What to do about it: a sentence.
        hint: Option<String>,
    },
    /// A file could not be read or written.
    #[error("cannot {doing} `{}`: {source}", path.display())]
    File {
        /// What was being done, such as `write`.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The lab's engine is not running.
    #[error("the lab's engine is not running")]
    NoEngine,
    /// The inventory has no such lab host.
    #[error("the lab has no host `{0}`")]
    NoHost(String),
    /// A host was started and did not become ready.
    #[error("host `{host}` of the lab did not become ready within {seconds} s: {last}")]
    NotReady {
        /// The host.
        host: String,
        /// How long it had.
        seconds: u64,
        /// The last answer.
        last: String,
    },
}

impl LabError {
    /// What to do about it: a sentence.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unfit { hint, .. } => Some(hint.clone()),
            Self::Program { hint, .. } => hint.clone(),
            Self::NoEngine => Some("Run `skep up` to start it.".to_owned()),
            Self::NoHost(_) => Some("Look at `skep lab list`.".to_owned()),
            Self::NotReady { .. } => Some(
                "Look at its console with `docker logs`, or end the lab with `skep lab down` and \
                 try again."
                    .to_owned(),
            ),
            Self::File { .. } => None,
        }
    }

    /// The last lines of the program that failed.
    pub fn output(&self) -> &[String] {
        match self {
            Self::Program { source, .. } => source.tail(),
            _ => &[],
        }
    }

    /// A maker of errors for `map_err`: a program failed while `doing` something.
    pub(crate) fn program(doing: impl Into<String>) -> impl FnOnce(LocalError) -> Self {
        let doing = doing.into();
        move |source| Self::Program {
            hint: hint_for(&source).map(str::to_owned),
            doing,
            source,
        }
    }

    /// A maker of errors for `map_err`: a file could not be used.
    pub(crate) fn file(
        doing: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::File {
            doing,
            path,
            source,
        }
    }
}

/// What usually helps, judged by what the program printed.
fn hint_for(error: &LocalError) -> Option<&'static str> {
    let text = error.tail().join("\n");
    let has = |needle: &str| text.contains(needle);
    if has("Could not get lock") || has("lock-frontend") {
        Some("Another package manager is at work; wait until it has ended.")
    } else if has("Could not resolve") || has("Temporary failure resolving") {
        Some("Check that this machine reaches its Debian mirror: `apt-get update`.")
    } else if has("No space left on device") {
        Some("Make room, or set `SKEP_LAB_DIR` to a directory on a larger disk.")
    } else if has("Pool overlaps") || has("overlaps") {
        Some("Another network has these addresses; set `subnet` in `[lab]`.")
    } else if has("Operation not permitted") || has("Permission denied") {
        Some("The lab needs root with the rights to mount and to make network bridges.")
    } else if has("overlay") && has("not supported") {
        Some("Set `SKEP_LAB_DIR` to a directory on ext4 or XFS: overlayfs does not work there.")
    } else {
        None
    }
}

impl From<LabError> for Error {
    fn from(error: LabError) -> Self {
        let hint = error.hint();
        let wrapped = Self::failed(error.to_string()).because(error);
        match hint {
            Some(hint) => wrapped.hint(hint),
            None => wrapped,
        }
    }
}

impl From<LabError> for Fault {
    fn from(error: LabError) -> Self {
        Self {
            kind: match &error {
                LabError::Program {
                    source: LocalError::TimedOut { .. },
                    ..
                }
                | LabError::NotReady { .. } => FaultKind::TimedOut,
                _ => FaultKind::Failed,
            },
            message: error.to_string(),
            hint: error.hint(),
            output: error.output().to_vec(),
        }
    }
}
