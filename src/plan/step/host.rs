//! What the tasks of playbooks do to a host, beyond what other steps do.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::inventory::SecretRef;
use crate::template::{Text, Vars};

/// Something that a task of a playbook does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostCall {
    /// Writes a file whole.
    PutFile {
        /// Its path.
        path: String,
        /// Its text.
        content: String,
        /// Its permissions.
        mode: u32,
        /// Its owner and group, such as `root:root`.
        owner: String,
    },
    /// Writes a file whose template takes secrets. They are filled in where the step is carried out.
    RenderFile {
        /// Its path.
        path: String,
        /// The template.
        template: Text,
        /// The variables that it takes.
        vars: Vars,
        /// Where the secrets that it takes are found, by name.
        secrets: BTreeMap<String, SecretRef>,
        /// Its permissions.
        mode: u32,
        /// Its owner and group.
        owner: String,
    },
    /// Makes a folder, or gives it other permissions.
    MakeDirectory {
        /// Its path.
        path: String,
        /// Its permissions.
        mode: u32,
        /// Its owner and group.
        owner: String,
    },
    /// Removes packages, and fails rather than remove any other with them.
    RemovePackages {
        /// The packages.
        packages: Vec<String>,
    },
    /// Makes a user, or changes one.
    User {
        /// The login name.
        name: String,
        /// The number of a new one.
        uid: Option<u32>,
        /// Whether a new one is a user of a service.
        system: bool,
        /// The login shell.
        shell: Option<String>,
        /// The home folder of a new one.
        home: Option<String>,
        /// The groups that it must be in.
        groups: Vec<String>,
    },
    /// Runs a command once in this run, also where the answer was lost and it is asked for again.
    Command {
        /// The command, for `sh`.
        run: String,
        /// What succeeds where there is nothing to do; tried once more right before.
        unless: Option<String>,
        /// After how many seconds it is ended.
        timeout: u32,
        /// What tells this run of it from every other.
        id: String,
        /// What is noted on the host when it has succeeded: where that is found, it is not run.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<Note>,
    },
    /// Waits until a command succeeds.
    WaitFor {
        /// What is waited for, for people.
        what: String,
        /// The command, which changes nothing.
        test: String,
        /// After how many seconds it is given up.
        timeout: u32,
    },
}

/// A note on a host that something was done there, for those who go on with an interrupted procedure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Note {
    /// The file.
    pub path: String,
    /// What is in it, in one line.
    pub text: String,
}

/// The longest text of a command that a line of a plan shows.
const SHOWN: usize = 60;

impl fmt::Display for HostCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PutFile {
                path, mode, owner, ..
            } => write!(f, "write {path} (mode {mode:04o}, {owner})"),
            Self::RenderFile {
                path, mode, owner, ..
            } => write!(
                f,
                "write {path} with its secrets (mode {mode:04o}, {owner})"
            ),
            Self::MakeDirectory { path, mode, owner } => {
                write!(f, "make folder {path} (mode {mode:04o}, {owner})")
            }
            Self::RemovePackages { packages } => {
                write!(f, "remove packages {}", packages.join(" "))
            }
            Self::User { name, .. } => write!(f, "make or change user {name}"),
            Self::Command { run, .. } => {
                let line = run.trim().lines().next().unwrap_or_default();
                let short: String = line.chars().take(SHOWN).collect();
                let cut = if short.len() < run.trim().len() {
                    " ..."
                } else {
                    ""
                };
                write!(f, "run {short}{cut}")
            }
            Self::WaitFor { what, timeout, .. } => {
                write!(f, "wait up to {timeout} s until {what}")
            }
        }
    }
}
