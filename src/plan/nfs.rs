//! The steps of NFS.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One thing to do for NFS on one host. Each may be done again at any time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NfsStep {
    /// Makes folders that are not there; those that are stay as they are.
    MakeFolders {
        /// Their paths.
        paths: Vec<String>,
    },
    /// Makes the kernel export what the files say (`exportfs -ra`).
    Export {
        /// The folders that must be exported then.
        paths: Vec<String>,
    },
    /// Makes NFS read its domain of names again.
    ReadDomain,
    /// Makes systemd read its units again.
    Reload,
    /// Starts the units of a mount, at boot and now. That the server does not answer is no
    /// failure.
    Mount {
        /// The server by the inventory's name, for people.
        server: String,
        /// The server's address.
        address: String,
        /// The server's port.
        port: u16,
        /// The folder.
        target: String,
        /// The unit that mounts.
        unit: String,
        /// The unit that waits for a first touch, where that is wanted.
        automount: Option<String>,
        /// The unit that waited for a first touch and is not wanted any more.
        drop: Option<String>,
        /// Whether what is mounted now must be mounted anew.
        remount: bool,
        /// Seconds that mounting may take.
        timeout: u32,
    },
    /// Unmounts a folder and removes its units. What is in use stays.
    Unmount {
        /// The folder.
        target: String,
        /// The units that are there.
        units: Vec<String>,
    },
}

impl fmt::Display for NfsStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MakeFolders { paths } => write!(f, "make folders {}", paths.join(" ")),
            Self::Export { paths } if paths.is_empty() => f.write_str("export what is left"),
            Self::Export { paths } => write!(f, "export {}", paths.join(" ")),
            Self::ReadDomain => f.write_str("read the domain of NFS names again"),
            Self::Reload => f.write_str("make systemd read its units again"),
            Self::Mount {
                target,
                automount,
                remount,
                ..
            } => {
                let again = if *remount {
                    ", anew where it is not in use"
                } else {
                    ""
                };
                match automount {
                    Some(_) => write!(f, "mount {target} when it is touched{again}"),
                    None => write!(f, "mount {target}{again}"),
                }
            }
            Self::Unmount { target, units } => {
                write!(f, "unmount {target} and remove {}", units.join(" "))
            }
        }
    }
}
