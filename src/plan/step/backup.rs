//! What is done to take a manager's state away and to put it back.

use std::fmt;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Something that a backup or a restore does on its host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackupCall {
    /// Stops the engine, copies the swarm's state to a private folder, and starts the engine again. A
    /// unit of systemd does it, which starts the engine whatever becomes of the copy and of skep.
    Take {
        /// The engine's data root.
        data_root: String,
        /// Whether the swarm may be without quorum as long as the engine is stopped.
        without_quorum: bool,
    },
    /// Starts the engine that stands since a backup, when nobody copies any more.
    Revive,
    /// Fetches the copy and writes the archive of it on this machine.
    Fetch {
        /// What is known of the manager.
        of: Box<Origin>,
        /// The directory on this machine.
        to: PathBuf,
        /// The age recipients; empty writes it in the clear.
        recipients: Vec<String>,
    },
    /// Removes the copy.
    Discard,
    /// Brings the content of an archive to the host and unpacks it in a private folder.
    Bring {
        /// The archive on this machine.
        archive: PathBuf,
        /// Its SHA-256.
        sha256: String,
    },
    /// Stops the engine, moves the state aside that is there, puts the one that was brought in its
    /// place, and starts the engine.
    Place {
        /// The engine's data root.
        data_root: String,
        /// The SHA-256 of the archive that was brought.
        sha256: String,
    },
    /// Unlocks the manager if it is locked, and waits until the engine says that it is a manager.
    Wake {
        /// The NodeID that it must have.
        id: String,
    },
    /// Removes what a restore brought and does not need any more.
    Tidy,
}

/// What a plan knows of the manager that a backup is taken from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Origin {
    /// The cluster's name.
    pub cluster: String,
    /// The swarm's ID.
    pub cluster_id: String,
    /// The NodeID.
    pub node_id: String,
    /// The address that it tells the others.
    pub address: String,
    /// The version of its engine.
    pub engine: String,
    /// Whether it takes the unlock key to use the state.
    pub locked: bool,
}

impl BackupCall {
    /// The folder of the copy on a manager.
    pub const COPY: &str = "/var/lib/skep/backup";

    /// The file on a manager that tells of the copy: `taking SECONDS` or `ready SECONDS`, in seconds
    /// since 1970 by the host's clock.
    pub const STATE: &str = "/var/lib/skep/backup/state";

    /// The folder of what is restored.
    pub const RESTORE: &str = "/var/lib/skep/restore";

    /// How old a copy may be that another run took and this one uses, in seconds.
    pub const FRESH: i64 = 600;

    /// When a copy was taken, by the text of [`Self::STATE`]; `None` where it is not whole.
    pub fn ready(state: &str) -> Option<Timestamp> {
        let seconds = state.trim().strip_prefix("ready ")?;
        Timestamp::from_second(seconds.parse().ok()?).ok()
    }
}

impl fmt::Display for BackupCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Take { data_root, .. } => write!(
                f,
                "stop the engine, copy {data_root}/swarm, and start it again, whatever happens"
            ),
            Self::Revive => f.write_str("wait until nobody copies any more, and start the engine"),
            Self::Fetch { to, recipients, .. } => {
                write!(f, "write the archive to {}, ", to.display())?;
                match &recipients[..] {
                    [] => f.write_str("not encrypted"),
                    some => write!(f, "encrypted to {}", some.join(" and ")),
                }
            }
            Self::Discard => write!(f, "remove the copy in {}", Self::COPY),
            Self::Bring { archive, .. } => {
                write!(f, "bring {} and compare its checksums", archive.display())
            }
            Self::Place { data_root, .. } => write!(
                f,
                "stop the engine, move {data_root}/swarm aside, put the restored one in its place, and start it"
            ),
            Self::Wake { id } => {
                write!(f, "wait until it is manager {id}, and unlock it if need be")
            }
            Self::Tidy => write!(f, "remove {}", Self::RESTORE),
        }
    }
}
