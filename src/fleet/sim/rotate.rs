//! The secrets of simulated swarms: counters, each of which tells one from the next.

use std::collections::BTreeMap;

use crate::facts::{Authority, Certificate, Certificates, SwarmSecrets};
use crate::fleet::{Fault, FaultKind};
use crate::known::Known;
use crate::plan::step::{KEY_NOTE, KeyNote, KeyTo, RotateCall};

use super::world::{SimHost, World, fail};

/// The life of a node's certificate in seconds: 90 days.
const LIFE: i64 = 90 * 86_400;

/// The secrets of a swarm, each as the number of times that it was made anew.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SimSecrets {
    /// The workers' join token.
    pub worker_token: u32,
    /// The managers' join token.
    pub manager_token: u32,
    /// The unlock key, where there is one.
    pub unlock_key: Option<u32>,
    /// The certificate authority.
    pub authority: u32,
    /// The authorities that nodes have certificates of, by NodeID; the first where it is none of them.
    pub certificates: BTreeMap<String, u32>,
}

/// What was brought to this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SimKeys {
    /// Unlock keys by file.
    pub files: BTreeMap<String, u32>,
    /// The one to be printed.
    pub printed: Option<u32>,
}

/// What stands for the digest of a secret.
fn digest(what: &str, number: u32) -> String {
    crate::docker::digest(&format!("{what} {number}"))
}

impl World {
    /// Does something to the secrets of the swarm that `name` manages.
    pub(super) fn rotate(&mut self, name: &str, call: &RotateCall) -> Result<(), Fault> {
        if !self.lives(name) {
            return Err(fail("the engine does not answer"));
        }
        let (cluster, _) = self.member(name)?;
        self.manager_of(&[name.to_owned()], Some(&cluster))?;
        self.issue(&cluster);
        let swarm = self.clusters.get_mut(&cluster);
        let secrets = &mut swarm.ok_or_else(|| fail("no such swarm"))?.secrets;
        match call {
            RotateCall::Tokens { worker, manager } => {
                let is = |old: &Option<String>, what: &str, number: u32| {
                    *old == Some(digest(what, number))
                };
                secrets.worker_token += u32::from(is(worker, "worker", secrets.worker_token));
                secrets.manager_token += u32::from(is(manager, "manager", secrets.manager_token));
                Ok(())
            }
            RotateCall::UnlockKey { from } => {
                let key = secrets.unlock_key.as_mut();
                let key = key.ok_or_else(|| fail("autolock is off"))?;
                *key += u32::from(digest("key", *key) == *from);
                Ok(())
            }
            RotateCall::TakeUnlockKey { to, which } => {
                let key = secrets.unlock_key.ok_or_else(|| fail("autolock is off"))?;
                if !which.fits(&digest("key", key)) {
                    return Err(Fault::new(FaultKind::Refused, "it is another key"));
                }
                match to {
                    KeyTo::File(path) => {
                        let path = path.display().to_string();
                        if *self.keys.files.entry(path).or_insert(key) != key {
                            return Err(Fault::new(FaultKind::Refused, "it holds another key"));
                        }
                    }
                    KeyTo::Output => self.keys.printed = Some(key),
                }
                Ok(())
            }
            RotateCall::NoteUnlockKey { by } => {
                let key = secrets.unlock_key.ok_or_else(|| fail("autolock is off"))?;
                let note = KeyNote {
                    time: jiff::Timestamp::UNIX_EPOCH,
                    who: by.clone(),
                    sha256: digest("key", key),
                };
                let text = serde_json::to_string(&note).map_err(|error| fail(error.to_string()))?;
                let file = (text, 0o600);
                self.host(name)?.files.insert(KEY_NOTE.to_owned(), file);
                Ok(())
            }
            RotateCall::Authority { from, without, .. } => {
                let old = digest("authority", secrets.authority);
                secrets.authority += u32::from(from.as_ref() == Some(&old));
                self.issue(&cluster);
                let late = self.late(&cluster);
                if late.iter().all(|id| without.contains(id)) {
                    return Ok(());
                }
                Err(fail(format!("waiting for {}", late.join(", "))))
            }
        }
    }

    /// The nodes that have no certificate of the present authority.
    fn late(&self, cluster: &str) -> Vec<String> {
        let Some(swarm) = self.clusters.get(cluster) else {
            return Vec::new();
        };
        let has = |id: &String| swarm.secrets.certificates.get(id).copied().unwrap_or(0);
        let ids = swarm.nodes.keys();
        ids.filter(|id| has(id) != swarm.secrets.authority)
            .cloned()
            .collect()
    }

    /// Gives the nodes that live certificates of the present authority.
    fn issue(&mut self, cluster: &str) {
        let Some(swarm) = self.clusters.get(cluster) else {
            return;
        };
        let nodes = swarm.nodes.iter();
        let living: Vec<String> = nodes
            .filter(|(id, node)| self.node_lives(id, node))
            .map(|(id, _)| id.clone())
            .collect();
        if let Some(swarm) = self.clusters.get_mut(cluster) {
            let new = swarm.secrets.authority;
            swarm
                .secrets
                .certificates
                .extend(living.into_iter().map(|id| (id, new)));
        }
    }

    /// The authority as a manager of `cluster` tells it.
    pub(super) fn authority(&self, cluster: &str) -> Option<Authority> {
        let secrets = &self.clusters.get(cluster)?.secrets;
        let late = self.late(cluster);
        let rotating = secrets.authority > 0 && !late.is_empty();
        let trusted = secrets.authority - u32::from(rotating);
        Some(Authority {
            issuer: digest("authority", secrets.authority),
            root: digest("root", trusted),
            rotating,
        })
    }

    /// The certificates of a host, which begin where its clock does.
    pub(super) fn certificates(&self, host: &SimHost) -> Known<Certificates> {
        let Some((cluster, id)) = &host.member else {
            return Known::Absent;
        };
        let swarm = self.clusters.get(cluster);
        let node = swarm.and_then(|swarm| swarm.nodes.get(id));
        let life = |ends| Certificate { begins: 0, ends };
        Known::Value(Certificates {
            node: life(LIFE),
            manager: node.is_some_and(|node| node.raft || node.certified.is_some()),
            authority: life(LIFE * 80),
        })
    }

    /// Whether it takes the unlock key to read what `host` knows of its swarm.
    pub(super) fn is_sealed(&self, host: &SimHost) -> bool {
        let member = host.member.as_ref();
        let swarm = member.and_then(|(cluster, _)| self.clusters.get(cluster));
        swarm.is_some_and(|swarm| swarm.secrets.unlock_key.is_some())
    }

    /// The digests as `host` tells them.
    pub(super) fn secrets(&self, host: &SimHost) -> Known<SwarmSecrets> {
        let Some((cluster, id)) = host.member.as_ref().filter(|_| host.engine_runs) else {
            return Known::Absent;
        };
        let Some(swarm) = self.clusters.get(cluster) else {
            return Known::Absent;
        };
        if !swarm.nodes.get(id).is_some_and(|node| node.raft) {
            return Known::Absent;
        }
        if !self.has_quorum(cluster) {
            return Known::Unknown("the answer did not arrive".to_owned());
        }
        let it = &swarm.secrets;
        Known::Value(SwarmSecrets {
            worker_token: digest("worker", it.worker_token),
            manager_token: digest("manager", it.manager_token),
            unlock_key: it.unlock_key.map(|key| digest("key", key)),
        })
    }
}
