//! New secrets for a swarm: join tokens, the unlock key, the certificate authority. No step holds one:
//! a secret is told by its digest, SHA-256 in hexadecimal digits.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Something that is done to the secrets of a swarm, on a manager with quorum. Each may be repeated
/// after a lost answer: it makes something new only of what still has the digest of before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RotateCall {
    /// Makes new join tokens: the old ones are worth nothing any more.
    Tokens {
        /// The digest of the workers' token that is to go; `None` leaves it.
        worker: Option<String>,
        /// The digest of the managers' token that is to go; `None` leaves it.
        manager: Option<String>,
    },
    /// Makes a new unlock key.
    UnlockKey {
        /// The digest of the one that is to go.
        from: String,
    },
    /// Brings the unlock key that the managers have now to this machine.
    TakeUnlockKey {
        /// Where it goes here.
        to: KeyTo,
        /// Which key it must be.
        which: WhichKey,
    },
    /// Writes down on this manager that its unlock key was saved: when, by whom, and the digest of the
    /// key. Never the key.
    NoteUnlockKey {
        /// Who saved it, as `user@machine`.
        by: String,
    },
    /// Makes a new certificate authority, and waits until the nodes have certificates of it.
    Authority {
        /// The digest of the issuer that is to go; `None` only waits for a change that goes on.
        from: Option<String>,
        /// The digest of the root certificate that is to go with it.
        root: Option<String>,
        /// The life of node certificates in days, where it changes too.
        cert_expiry_days: Option<u32>,
        /// The nodes, by NodeID, that are not waited for.
        without: Vec<String>,
        /// How long it may take, in seconds.
        deadline: u32,
    },
}

/// Where an unlock key goes on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyTo {
    /// To a file that is new or empty, for its owner alone.
    File(PathBuf),
    /// To standard output, when the run has ended.
    Output,
}

/// Which of the keys is meant, by its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhichKey {
    /// This one.
    Is(String),
    /// Another than this one.
    Not(String),
}

impl WhichKey {
    /// Whether the key with this digest is meant.
    pub fn fits(&self, digest: &str) -> bool {
        match self {
            Self::Is(wanted) => digest == wanted,
            Self::Not(old) => digest != old,
        }
    }
}

impl fmt::Display for RotateCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tokens { worker, manager } => {
                let who = match (worker, manager) {
                    (Some(_), Some(_)) => "workers and managers",
                    (Some(_), None) => "workers",
                    _ => "managers",
                };
                write!(
                    f,
                    "make a new join token for {who}, unless it is new already"
                )
            }
            Self::UnlockKey { .. } => {
                f.write_str("make a new unlock key, unless it is new already")
            }
            Self::TakeUnlockKey { to, which } => {
                let which = match which {
                    WhichKey::Is(_) => "present",
                    WhichKey::Not(_) => "new",
                };
                match to {
                    KeyTo::File(path) => write!(
                        f,
                        "write the {which} unlock key to {} on this machine (mode 0600)",
                        path.display()
                    ),
                    KeyTo::Output => write!(f, "print the {which} unlock key when all is done"),
                }
            }
            Self::NoteUnlockKey { by } => write!(
                f,
                "note in {KEY_NOTE} that {by} has the key: its digest, never the key"
            ),
            Self::Authority {
                from,
                cert_expiry_days,
                without,
                deadline,
                ..
            } => {
                if from.is_some() {
                    f.write_str("make a new certificate authority, unless it is new already")?;
                    if let Some(days) = cert_expiry_days {
                        write!(f, ", certificate life {days} days")?;
                    }
                    f.write_str(", and ")?;
                }
                write!(
                    f,
                    "wait up to {deadline} s until the nodes have certificates of it"
                )?;
                if without.is_empty() {
                    return Ok(());
                }
                write!(f, ", but for {}", without.join(", "))
            }
        }
    }
}

/// Where a manager keeps the note that somebody saved the unlock key: a line of JSON, a [`KeyNote`].
pub const KEY_NOTE: &str = "/var/lib/skep/unlock-key-saved";

/// The note that somebody saved the unlock key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyNote {
    /// When.
    pub time: jiff::Timestamp,
    /// Who, as `user@machine`.
    pub who: String,
    /// The digest of the key.
    pub sha256: String,
}
