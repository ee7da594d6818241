//! What is left of a swarm without quorum: managers that forget it, and one from which it is forced
//! anew.

use crate::fleet::Fault;

use super::world::{World, fail};

/// What only recovery cares for.
#[derive(Debug, Clone, Default)]
pub struct SimRecovery {
    /// Copies of what the host knew of its swarm: the NodeID and the index of each.
    pub copies: Vec<(String, u64)>,
    /// Whether its engine was started without quorum, and so waits to be a part of its swarm.
    pub waits: bool,
    /// A host that, as a worker, it knows nothing of as a manager.
    pub knows_not: Option<String>,
}

impl SimRecovery {
    /// Whether it waits for managers that are gone.
    pub(super) fn is_deaf(&self) -> bool {
        self.waits && self.knows_not.is_some()
    }
}

impl World {
    /// A manager keeps a copy of what it knows; its engine is stopped meanwhile.
    pub(super) fn copy(&mut self, name: &str, id: &str) -> Result<(), Fault> {
        let Ok((cluster, own)) = self.member(name) else {
            return Ok(());
        };
        if own != id {
            return Err(fail("the host is another node meanwhile"));
        }
        let quorum = self.has_quorum(&cluster);
        let host = self.host(name)?;
        let index = host.raft_index.unwrap_or_default();
        host.recovery.copies.push((own, index));
        host.restarts += 1;
        host.recovery.waits = !quorum;
        Ok(())
    }

    /// A manager without quorum forgets its swarm.
    pub(super) fn fence(&mut self, name: &str, id: &str) -> Result<(), Fault> {
        match self.member(name) {
            Err(_) => Ok(()),
            Ok((cluster, own)) if own == id && !self.has_quorum(&cluster) => {
                let host = self.host(name)?;
                (host.member, host.recovery.waits) = (None, false);
                Ok(())
            }
            Ok(_) => Err(fail("it has quorum, or is another node")),
        }
    }

    /// A manager without quorum becomes the only one of its swarm. The others keep what they are in
    /// the old one: a majority of them that comes back runs it again. Workers believe whoever manages.
    pub(super) fn force(&mut self, name: &str, id: &str) -> Result<(), Fault> {
        let (old, own) = self.member(name)?;
        let swarm = self.clusters.get(&old).cloned();
        let swarm = swarm.ok_or_else(|| fail("no such swarm"))?;
        if own != id {
            return Err(fail("the host is another node meanwhile"));
        }
        if swarm.forced_at.is_some() && self.raft(&old) == (1, 1) {
            // Repeated after a lost answer.
            return Ok(());
        }
        if self.has_quorum(&old) {
            return Err(fail("it has quorum"));
        }
        let mut new = swarm;
        new.leader.clone_from(&own);
        new.forced_at = Some(self.host(name)?.raft_index.unwrap_or_default());
        for (node, it) in &mut new.nodes {
            it.ghost = it.raft && *node != own;
            it.raft = *node == own;
            it.demoting = None;
        }
        // In the old swarm its vote is missing from now on.
        if let Some(swarm) = self.clusters.get_mut(&old)
            && let Some(node) = swarm.nodes.remove(&own)
        {
            swarm.nodes.insert(format!("{own}-former"), node);
        }
        let cluster = self.id("cluster");
        for (node, it) in &new.nodes {
            let was = (old.clone(), node.clone());
            if let Some(host) = self.hosts.get_mut(&it.host)
                && !it.ghost
                && host.member.as_ref() == Some(&was)
            {
                if host.recovery.knows_not.as_deref() == Some(name) {
                    host.recovery.waits = true;
                    continue;
                }
                host.recovery.waits = false;
                host.member = Some((cluster.clone(), node.clone()));
            }
        }
        self.clusters.insert(cluster.clone(), new);
        self.place_tasks(&cluster);
        Ok(())
    }
}
