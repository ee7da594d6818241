//! Overlay networks on a network of small packets.

use crate::docker::OVERLAY_MTU;
use crate::inventory::Host;
use crate::resource::{self, Draft};
use crate::swarm::Up;

use super::super::{ChangeId, Diff, DockerCall, Lane, Step};
use super::Work;

impl<'a> Work<'a> {
    /// The largest packet that all members' networks carry, where a cloud told that it is small.
    fn small_packets(&self) -> Option<u32> {
        let members = self.inventory.members();
        members.filter_map(|host| host.docker.overlay_mtu).min()
    }

    /// The network of published ports of a new swarm, where its packets would not fit.
    pub(super) fn first_ingress(&mut self, first: &'a Host) -> Option<ChangeId> {
        let mtu = self.small_packets()?;
        self.warn_of_overlays(mtu);
        Some(self.remake_ingress(first, None, mtu))
    }

    /// The same of a swarm that is there.
    pub(super) fn ingress(&mut self, up: &Up) {
        let Some(mtu) = self.small_packets() else {
            return;
        };
        self.warn_of_overlays(mtu);
        let known = up.managers.iter().find_map(|name| {
            let facts = self.gathered.get(name)?.as_ref().ok()?;
            Some((name, facts.ingress.value()?))
        });
        let Some((manager, ingress)) = known.filter(|(_, it)| it.mtu.is_none_or(|now| now > mtu))
        else {
            return;
        };
        let now = ingress.mtu.map(|now| format!("{now} bytes"));
        if !ingress.used_by.is_empty() {
            self.plan.warnings.push(format!(
                "packets of the network have up to {mtu} bytes, and the network of published ports (`{}`) takes them for {}: large packets to published ports vanish. It is made anew only when no service publishes through it; now {} do",
                ingress.name,
                now.as_deref().unwrap_or("1500 bytes"),
                ingress.used_by.join(", ")
            ));
            return;
        }
        let host = self.inventory.host(manager);
        if let Some(host) = host.filter(|host| self.chains.contains_key(&host.name)) {
            self.remake_ingress(host, now, mtu);
        }
    }

    fn remake_ingress(&mut self, host: &Host, old: Option<String>, mtu: u32) -> ChangeId {
        let draft = Draft::safe(
            "make the network of published ports anew, so that its packets fit",
            vec![Diff::Value {
                name: "packets of the network below".to_owned(),
                old: old.or_else(|| Some("1500 bytes".to_owned())),
                new: Some(format!("{mtu} bytes")),
            }],
            vec![Step::Docker(DockerCall::Ingress { mtu })],
        );
        self.push(host, "swarm.ingress", draft, Some(Lane::Raft), None)
    }

    /// Engines before 24.0 cannot be told for all overlay networks at once.
    fn warn_of_overlays(&mut self, mtu: u32) {
        let told = |host: &&Host| {
            let facts = self.gathered.get(&host.name);
            let facts = facts.and_then(|facts| facts.as_ref().ok());
            facts.is_none_or(|facts| resource::overlay_option(&host.docker, facts))
        };
        let silent: Vec<&str> = (self.inventory.members().filter(|host| !told(host)))
            .map(|host| host.name.as_str())
            .collect();
        if !silent.is_empty() {
            self.plan.warnings.push(format!(
                "packets of the network have up to {mtu} bytes, and engines before 24.0 ({}) take overlay networks for larger: make each with `--opt {OVERLAY_MTU}={mtu}`; large packets vanish otherwise",
                silent.join(", ")
            ));
        }
    }
}
