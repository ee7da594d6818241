//! What a shutdown does to simulated hosts and services.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::facts::Service;
use crate::known::Known;
use crate::record;

use super::world::{SimHost, SimService, World};

/// The life of the certificates of simulated nodes, from 1970 on.
const CERTIFICATE: SignedDuration = SignedDuration::from_hours(90 * 24);

impl SimService {
    /// The service as the engine's API tells it.
    pub fn value(&self, name: &str) -> Value {
        let mut spec = if self.spec.is_object() {
            self.spec.clone()
        } else {
            json!({ "Mode": { "Replicated": { "Replicas": self.replicas } } })
        };
        spec["Name"] = name.into();
        json!({ "ID": format!("service-{name}"), "Spec": spec })
    }
}

impl World {
    /// Whether a host is a manager of a swarm with quorum, whose engine tells of services.
    fn manages(&self, host: &SimHost) -> bool {
        let Some((cluster, id)) = host.member.as_ref().filter(|_| host.engine_runs) else {
            return false;
        };
        let swarm = self.clusters.get(cluster);
        let node = swarm.and_then(|swarm| swarm.nodes.get(id));
        node.is_some_and(|node| node.raft) && self.has_quorum(cluster)
    }

    pub(super) fn service_facts(&self, host: &SimHost) -> Known<BTreeMap<String, Service>> {
        if !self.manages(host) {
            return Known::Absent;
        }
        let services = self.services.iter().filter_map(|(name, service)| {
            let value = service.value(name);
            let read = record::service(&value)?;
            let told = Service {
                id: read.id,
                stack: read.stack,
                mode: read.mode,
                halted: record::is_halted(&value["Spec"]),
                running: u64::try_from(service.tasks.len()).ok(),
            };
            Some((name.clone(), told))
        });
        Known::Value(services.collect())
    }
}

pub(super) fn certificate(host: &SimHost) -> Known<Timestamp> {
    if host.member.is_none() {
        return Known::Absent;
    }
    Known::Value(Timestamp::UNIX_EPOCH + CERTIFICATE)
}
