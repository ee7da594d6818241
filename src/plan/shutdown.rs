//! The steps of a shutdown.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::record::{Head, PATH};

/// One thing to do for a shutdown on one host. Each may be done again at any time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShutdownStep {
    /// Records the cluster onto this host, a manager, and here. The services are fetched from its
    /// engine when the step runs, since they may hold secrets.
    Record {
        /// What is known of the cluster.
        head: Box<Head>,
        /// The file here.
        to: PathBuf,
        /// Whether a record without the services is no record.
        whole: bool,
    },
    /// Writes the swarm's unlock key into a file here.
    SaveUnlockKey {
        /// The file; it must not be there.
        to: PathBuf,
    },
    /// Keeps services from running, and waits until none of their tasks runs. Runs on the manager that
    /// has the record.
    Halt {
        /// Their names.
        services: Vec<String>,
        /// Whether they are removed, where the record has them, and not scaled to zero.
        remove: bool,
        /// How long their tasks may take to end, in seconds.
        deadline: u32,
    },
    /// Unmounts a folder of a server until the host boots again. One that hangs or is in use is
    /// detached, and where that hangs too, left.
    Release {
        /// The folder.
        target: String,
        /// The unit that would mount it again at a touch.
        automount: Option<String>,
        /// Whether, where its server does not answer, calls that wait for it are made to fail first, and
        /// who waits is ended: else what is detached holds up the host's end.
        #[serde(default)]
        force: bool,
    },
    /// Notes, on this host and here, that hosts are switched off from now on.
    SwitchOff {
        /// What is known of the cluster.
        head: Box<Head>,
        /// The record here.
        to: PathBuf,
    },
}

impl fmt::Display for ShutdownStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record { to, .. } => {
                let to = to.display();
                write!(
                    f,
                    "record nodes and services in {PATH}, and here in {to} (mode 0600)"
                )
            }
            Self::SaveUnlockKey { to } => {
                write!(
                    f,
                    "save the unlock key here in {} (mode 0600)",
                    to.display()
                )
            }
            Self::Halt {
                services,
                remove,
                deadline,
            } => {
                let names = services.join(", ");
                let how = if *remove { "remove" } else { "scale to zero" };
                if services.is_empty() {
                    write!(f, "wait up to {deadline} s until no task runs")
                } else {
                    write!(
                        f,
                        "{how} {names}, and wait up to {deadline} s until no task runs"
                    )
                }
            }
            Self::Release { target, .. } => write!(
                f,
                "unmount {target} until the next boot; where it hangs, detach it"
            ),
            Self::SwitchOff { .. } => f.write_str("note that hosts are switched off from now on"),
        }
    }
}
