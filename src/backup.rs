//! Backups of a swarm's state: what an archive says of itself, how old one may be, and which old ones
//! are not needed any more. All but [`archive`] and [`store`] is pure.
//!
//! An archive is a tar file, encrypted to age recipients: first `manifest.json`, then the folder
//! `swarm` of an engine's data root. Beside it lies a [`Head`], which anybody may read.

pub mod archive;
pub mod seal;
pub mod store;

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::swarm::Contents;

pub use archive::ArchiveError;
pub use store::Entry;

/// The format of archives that this skep writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// The name of the manifest in an archive.
pub const MANIFEST: &str = "manifest.json";

/// How old the newest backup may be before `skep status` warns of it, in days, where the inventory
/// does not say.
pub const MAX_AGE_DAYS: u32 = 7;

/// What an archive holds, as its first file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Manifest {
    /// The format of the archive.
    pub format: u32,
    /// The cluster's name in the inventory.
    pub cluster: String,
    /// The swarm's ID.
    pub cluster_id: String,
    /// The NodeID of the manager that it was taken from.
    pub node_id: String,
    /// The name of that host in the inventory.
    pub host: String,
    /// The address that the manager tells the others, where alone it can be restored.
    pub address: String,
    /// The version of its engine.
    pub engine: String,
    /// When the copy was taken, by the host's clock.
    pub taken: Timestamp,
    /// When the node's certificate ends; `None` where it could not be read.
    pub certificate_expires: Option<Timestamp>,
    /// Whether it takes the unlock key to use it.
    pub locked: bool,
    /// The version of skep that wrote it.
    pub skep: String,
    /// The names that the managers listed right after the copy was taken.
    pub contents: Contents,
    /// All files below `swarm/`.
    pub files: Vec<FileSum>,
}

/// A file of an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSum {
    /// Its path, which begins with `swarm/`.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256 in hexadecimal digits.
    pub sha256: String,
}

/// What anybody may know of an archive: the file beside it. Nothing in it is secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Head {
    /// The format of the archive.
    pub format: u32,
    /// The cluster's name in the inventory.
    pub cluster: String,
    /// The swarm's ID.
    pub cluster_id: String,
    /// The NodeID of the manager that it was taken from.
    pub node_id: String,
    /// The name of that host in the inventory.
    pub host: String,
    /// The address where it can be restored.
    pub address: String,
    /// The version of its engine.
    pub engine: String,
    /// When the copy was taken.
    pub taken: Timestamp,
    /// When the node's certificate ends.
    pub certificate_expires: Option<Timestamp>,
    /// Whether it takes the unlock key to use it.
    pub locked: bool,
    /// The age recipients that it is encrypted to; empty where it is not encrypted.
    pub recipients: Vec<String>,
    /// The size of the archive in bytes.
    pub size: u64,
    /// The SHA-256 of the archive in hexadecimal digits.
    pub sha256: String,
}

impl Head {
    /// The head of an archive with this manifest.
    pub fn new(manifest: &Manifest, recipients: &[String], size: u64, sha256: String) -> Self {
        Self {
            format: manifest.format,
            cluster: manifest.cluster.clone(),
            cluster_id: manifest.cluster_id.clone(),
            node_id: manifest.node_id.clone(),
            host: manifest.host.clone(),
            address: manifest.address.clone(),
            engine: manifest.engine.clone(),
            taken: manifest.taken,
            certificate_expires: manifest.certificate_expires,
            locked: manifest.locked,
            recipients: recipients.to_vec(),
            size,
            sha256,
        }
    }
}

/// The name of the archive's file: `hive-20261121T195300Z-m2.tar.age`.
pub fn file_name(manifest: &Manifest, encrypted: bool) -> String {
    let when = manifest.taken.strftime("%Y%m%dT%H%M%SZ");
    let end = if encrypted { ".tar.age" } else { ".tar" };
    format!("{}-{when}-{}{end}", manifest.cluster, manifest.host)
}

/// The archives that retention takes away: of those of swarm `cluster_id` all but the newest `keep`.
/// One without a head was not made by skep, or not finished, and is left alone.
pub fn surplus<'a>(entries: &'a [Entry], cluster_id: &str, keep: usize) -> Vec<&'a Entry> {
    let mut own: Vec<(&Head, &Entry)> = entries
        .iter()
        .filter_map(|entry| Some((entry.head.as_ref()?, entry)))
        .filter(|(head, _)| head.cluster_id == cluster_id)
        .collect();
    own.sort_by_key(|(head, _)| std::cmp::Reverse(head.taken));
    let old = own.into_iter().skip(keep.max(1));
    old.map(|(_, entry)| entry).collect()
}

/// What `skep status` says of backups that are too old, or of none at all.
pub fn too_old(newest: Option<Timestamp>, max_age_days: u32, now: Timestamp) -> Option<String> {
    let hint = "`skep backup` makes one";
    let Some(newest) = newest else {
        return Some(format!("there is no backup of this swarm; {hint}"));
    };
    let days = now.duration_since(newest).as_secs() / 86_400;
    (days >= i64::from(max_age_days)).then(|| {
        format!(
            "the newest backup is {days} days old, and should be less than {max_age_days}; {hint}"
        )
    })
}

/// Where backups go and to whom they are encrypted, as the inventory says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Settings {
    /// The directory.
    pub directory: PathBuf,
    /// The age recipients.
    pub recipients: Vec<String>,
    /// How many of this swarm are kept; `None` keeps all.
    pub keep: Option<u32>,
    /// After how many days without one `skep status` warns.
    pub max_age_days: u32,
    /// The manager that they are taken from; `None` lets skep choose.
    pub host: Option<String>,
}

impl Settings {
    /// The directory beside the inventory, where the inventory does not say.
    pub const DIRECTORY: &str = "backups";
}

#[cfg(test)]
mod tests;
