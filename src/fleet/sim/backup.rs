//! What backups and restores do to a simulated manager.

use crate::fleet::{Fault, FaultKind};
use crate::plan::BackupCall;

use super::world::{SimArchive, World, fail, start};

/// The moment of every copy, in seconds since 1970.
const TAKEN: &str = "ready 1800000000";

/// Where it is written down which archive a host has in its place.
const BROUGHT: &str = "/var/lib/skep/restore/state";

impl World {
    pub(super) fn backup(&mut self, name: &str, call: &BackupCall) -> Result<(), Fault> {
        match call {
            BackupCall::Take { .. } => {
                let member = self.member(name);
                let host = self.host(name)?;
                // The engine is started again whatever becomes of the copy.
                start(host, true);
                member?;
                let state = (TAKEN.to_owned(), 0o600);
                host.files.insert(BackupCall::STATE.to_owned(), state);
            }
            BackupCall::Revive => start(self.host(name)?, false),
            BackupCall::Fetch { of, .. } => {
                let (cluster, node) = self.member(name)?;
                let host = self.host(name)?;
                if !host.files.contains_key(BackupCall::STATE) {
                    return Err(fail("there is no copy"));
                }
                if of.node_id != node {
                    return Err(fail("the copy is of another node"));
                }
                self.archives.push(SimArchive {
                    host: name.to_owned(),
                    cluster,
                    node,
                });
            }
            BackupCall::Discard => {
                self.host(name)?.files.remove(BackupCall::STATE);
            }
            BackupCall::Bring { sha256, .. } => {
                let state = (format!("brought {sha256}"), 0o600);
                self.host(name)?.files.insert(BROUGHT.to_owned(), state);
            }
            BackupCall::Place { sha256, .. } => self.place(name, sha256)?,
            BackupCall::Wake { id } => {
                let (_, own) = self.member(name)?;
                if own != *id || !self.lives(name) {
                    return Err(Fault::new(FaultKind::TimedOut, "it is another node"));
                }
            }
            BackupCall::Tidy => {
                self.host(name)?.files.remove(BROUGHT);
            }
        }
        Ok(())
    }

    /// Puts the node of an archive in the place of whatever the host was. Archives are called by
    /// their number, counted from 0.
    fn place(&mut self, name: &str, sha256: &str) -> Result<(), Fault> {
        let number: Option<usize> = sha256.parse().ok();
        let archive = number.and_then(|it| self.archives.get(it)).cloned();
        let archive = archive.ok_or_else(|| fail("there is no such archive"))?;
        let host = self.host(name)?;
        let text = host.files.get(BROUGHT).map(|(text, _)| text.clone());
        let is = |word: &str| text.as_deref() == Some(&format!("{word} {sha256}"));
        if is("placed") {
            start(host, false);
            return Ok(());
        }
        if !is("brought") {
            return Err(fail("nothing was brought"));
        }
        if !host.has_engine() {
            return Err(fail("there is no engine"));
        }
        host.member = Some((archive.cluster, archive.node));
        let state = (format!("placed {sha256}"), 0o600);
        host.files.insert(BROUGHT.to_owned(), state);
        start(host, true);
        Ok(())
    }
}
