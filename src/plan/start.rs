//! The steps of a start after a shutdown.

use std::fmt;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::facts::Probes;

/// One thing to do for a start on one host. Each may be done again at any time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StartStep {
    /// Waits until the servers of folders answer, and what is mounted of them does. Nothing that could
    /// hang is touched for it.
    Storage {
        /// The folders.
        targets: Vec<String>,
        /// What is asked.
        probes: Probes,
        /// How long, in seconds.
        deadline: u32,
    },
    /// Lets services run again as they did, and waits until their tasks do. Runs on a manager.
    Resume {
        /// Those that a shutdown keeps from running.
        services: Vec<String>,
        /// Those that it removed: they are made from the record, unless they are there.
        create: Vec<String>,
        /// How long their tasks may take, in seconds.
        deadline: u32,
    },
    /// Waits until something answers at the published port of a service. Runs on a manager.
    Answers {
        /// The service.
        service: String,
        /// The port.
        port: u16,
        /// How long, in seconds.
        deadline: u32,
    },
    /// Notes that a record of a shutdown was carried out, here and on this host. It is kept under
    /// another name.
    Over {
        /// When the record was made.
        made: Timestamp,
        /// The record's file here.
        here: PathBuf,
    },
}

impl fmt::Display for StartStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Storage {
                targets, deadline, ..
            } => write!(
                f,
                "wait up to {deadline} s until the server of {} answers",
                targets.join(" ")
            ),
            Self::Resume {
                services,
                create,
                deadline,
            } => {
                if !create.is_empty() {
                    write!(f, "make {} from the record, ", create.join(" "))?;
                }
                if !services.is_empty() {
                    write!(f, "let {} run as before, ", services.join(" "))?;
                }
                write!(f, "and wait up to {deadline} s until the tasks run")
            }
            Self::Answers {
                service,
                port,
                deadline,
            } => write!(
                f,
                "wait up to {deadline} s until {service} answers at port {port}"
            ),
            Self::Over { .. } => f.write_str("note that the record of the shutdown is done with"),
        }
    }
}
