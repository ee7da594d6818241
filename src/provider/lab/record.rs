//! What is remembered of a cluster's lab while its engine does not run, and its keys.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::dirs::{make_private, write_whole};
use super::{LabError, vm};
use crate::inventory::LabDriver;
use crate::local::Program;

/// What is remembered of a cluster's lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The cluster's name.
    pub(super) cluster: String,
    /// The inventory that it was made from.
    pub(super) inventory: PathBuf,
    /// What its hosts are.
    #[serde(default)]
    pub(super) driver: LabDriver,
    /// Its network.
    pub(super) subnet: Ipv4Net,
    /// Its hosts.
    pub(super) hosts: BTreeMap<String, HostRecord>,
}

/// What is remembered of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HostRecord {
    /// Its address.
    pub(super) address: Ipv4Addr,
    /// Its public host key: type and base64.
    pub(super) host_key: String,
}

impl Record {
    fn path(dir: &Path) -> PathBuf {
        dir.join("lab.json")
    }

    /// The record in `dir`; `None` when there is none, or none that can be read.
    pub(super) fn load(dir: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(Self::path(dir)).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Writes the record and the known-hosts file that follows from it.
    pub(super) fn save(&self, dir: &Path) -> Result<(), LabError> {
        make_private(dir)?;
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        write_whole(&known_hosts(dir), &self.known_hosts(), 0o600)?;
        write_whole(&Self::path(dir), &format!("{text}\n"), 0o600)
    }

    /// The lines of `known_hosts`, as OpenSSH reads them.
    fn known_hosts(&self) -> String {
        let line = |host: &HostRecord| match self.driver {
            LabDriver::Container => format!("{} {}\n", host.address, host.host_key),
            LabDriver::Vm => {
                let login = vm::login_address(host.address);
                format!("[{login}]:{} {}\n", vm::SSH_PORT, host.host_key)
            }
        };
        self.hosts.values().map(line).collect()
    }

    /// Reads all records.
    pub(super) fn all(labs: &Path) -> Vec<Self> {
        let entries = std::fs::read_dir(labs).into_iter().flatten().flatten();
        let mut records: Vec<_> = entries
            .filter_map(|entry| Self::load(&entry.path()))
            .collect();
        records.sort_by(|a, b| a.cluster.cmp(&b.cluster));
        records
    }
}

/// The type and the key of a line of `ssh-keygen`, without its comment.
pub(super) fn type_and_key(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().take(2).collect();
    words.join(" ")
}

/// The private key that opens a lab's hosts.
pub(super) fn identity(dir: &Path) -> PathBuf {
    dir.join("id_ed25519")
}

/// The host keys of a lab.
pub(super) fn known_hosts(dir: &Path) -> PathBuf {
    dir.join("known_hosts")
}

/// Makes a key pair at `path` unless it is there, and returns its public half.
pub(super) async fn key_pair(path: &Path, comment: &str) -> Result<String, LabError> {
    let public = path.with_extension("pub");
    if !(path.exists() && public.exists()) {
        // Made under another name, so that a key that is half written is never used.
        let new = path.with_extension("new");
        for file in [&new, &new.with_extension("new.pub")] {
            let _ = std::fs::remove_file(file);
        }
        let make = Program::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f"])
            .arg(&new);
        make.run().await.map_err(LabError::program("make a key"))?;
        let new_public = new.with_extension("new.pub");
        std::fs::rename(&new_public, &public).map_err(LabError::file("rename", &new_public))?;
        std::fs::rename(&new, path).map_err(LabError::file("rename", &new))?;
    }
    std::fs::read_to_string(&public).map_err(LabError::file("read", &public))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_and_names_its_hosts_keys() {
        let dir = tempfile::tempdir().unwrap();
        let host = HostRecord {
            address: Ipv4Addr::new(198, 18, 0, 11),
            host_key: "ssh-ed25519 AAAA".to_owned(),
        };
        let record = Record {
            cluster: "demo".to_owned(),
            inventory: "/tmp/skep.toml".into(),
            driver: LabDriver::Container,
            subnet: "198.18.0.0/24".parse().unwrap(),
            hosts: [("m1".to_owned(), host)].into(),
        };
        let lab = dir.path().join("demo");
        record.save(&lab).unwrap();
        assert_eq!(Record::load(&lab), Some(record.clone()));
        assert_eq!(Record::all(dir.path()), [record]);
        let known = std::fs::read_to_string(known_hosts(&lab)).unwrap();
        assert_eq!(known, "198.18.0.11 ssh-ed25519 AAAA\n");
        let machines = Record {
            driver: LabDriver::Vm,
            ..Record::load(&lab).unwrap()
        };
        assert_eq!(
            machines.known_hosts(),
            "[127.18.0.11]:2222 ssh-ed25519 AAAA\n"
        );
    }
}
