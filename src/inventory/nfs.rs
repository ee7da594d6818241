//! NFS: what hosts export, and what they mount.

mod check;

use serde::Serialize;

pub(super) use check::apply;

/// A folder that a host exports, as exports(5) has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Export {
    /// The folder: absolute, without a slash at its end.
    pub path: String,
    /// Who may mount it: networks, addresses, names, `*`.
    pub clients: Vec<String>,
    /// The options of each client.
    pub options: Vec<String>,
}

impl Export {
    /// The options where the inventory names none. `sync` and `no_subtree_check` are what
    /// exports(5) has by default and complains of when they are not said.
    pub const OPTIONS: [&str; 3] = ["rw", "sync", "no_subtree_check"];
}

/// A folder of a server that a host mounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Mount {
    /// The server by the name that the inventory has for it.
    pub server: String,
    /// What to mount: the address at which clients reach the server, `:`, the folder.
    pub source: String,
    /// Where to: absolute, without a slash at its end.
    pub target: String,
    /// More options of nfs(5).
    pub options: Vec<String>,
    /// Whether programs get an error when the server does not answer, in place of waiting.
    pub soft: bool,
    /// Seconds that mounting may take.
    pub timeout: u32,
    /// Whether it is mounted when something first touches it.
    pub automount: bool,
    /// Whether Docker waits for it at boot.
    pub before_docker: bool,
    /// The version of the protocol; `None` takes the newest that both sides have.
    pub version: Option<String>,
}

impl Mount {
    /// Seconds that mounting may take, where the inventory does not say. Short enough for a boot
    /// to go on, long enough for a server that has just started (its grace period does not count:
    /// it holds for opening files, not for mounting).
    pub const TIMEOUT: u32 = 30;

    /// The address at which the host reaches the server.
    pub fn address(&self) -> &str {
        split_source(&self.source).map_or("", |(address, _)| address)
    }
}

/// The server and the folder of `SERVER:/path`. An IPv6 address stands in brackets, as nfs(5) has
/// it.
pub(crate) fn split_source(source: &str) -> Option<(&str, &str)> {
    let at = match source.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => source.find(':')?,
    };
    let (server, rest) = (source.get(..at)?, source.get(at..)?);
    Some((server, rest.strip_prefix(':')?))
}
