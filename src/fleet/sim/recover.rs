//! What is left of a swarm without quorum: managers that forget it, and one from which it is forced
//! anew.

use crate::fleet::Fault;

use super::world::{World, fail};

impl World {
    /// A manager without quorum forgets its swarm.
    pub(super) fn fence(&mut self, name: &str, id: &str) -> Result<(), Fault> {
        match self.member(name) {
            Err(_) => Ok(()),
            Ok((cluster, own)) if own == id && !self.has_quorum(&cluster) => {
                self.host(name)?.member = None;
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
                host.member = Some((cluster.clone(), node.clone()));
            }
        }
        self.clusters.insert(cluster.clone(), new);
        self.place_tasks(&cluster);
        Ok(())
    }
}
