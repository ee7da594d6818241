//! What a shutdown does to simulated hosts and services.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::facts::Service;
use crate::fleet::{Fault, FaultKind};
use crate::known::Known;
use crate::plan::ShutdownStep;
use crate::record::{self, FORMAT, Head, MARK, Mark, PATH, Phase, Record};

use super::world::{SimHost, SimService, World, fail};

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

    /// What a step of a shutdown does.
    pub(super) fn shutdown(&mut self, name: &str, step: &ShutdownStep) -> Result<(), Fault> {
        match step {
            ShutdownStep::Record { head, to, whole } => self.record(name, head, to, *whole),
            ShutdownStep::SwitchOff { head, to } => {
                let mark = Mark {
                    format: FORMAT,
                    phase: Phase::Off,
                    head: (**head).clone(),
                };
                let text = mark.text().map_err(broken)?;
                let host = self.host(name)?;
                host.files.insert(MARK.to_owned(), (text, 0o600));
                let here = record::load(to).map_err(broken)?;
                let record = match here {
                    Some(record) => Some(record),
                    None => self.recorded(name)?,
                };
                let Some(mut record) = record else {
                    return Ok(());
                };
                record.phase = Phase::Off;
                record::save(to, &record).map_err(broken)
            }
            ShutdownStep::Halt {
                services, remove, ..
            } => self.halt(name, services, *remove),
            ShutdownStep::Release { target, .. } => {
                self.host(name)?.mounts.remove(target);
                Ok(())
            }
            ShutdownStep::SaveUnlockKey { to } => std::fs::write(to, "key\n").map_err(broken),
        }
    }

    fn record(&mut self, name: &str, head: &Head, to: &Path, whole: bool) -> Result<(), Fault> {
        let manages = {
            let host = self.host(name)?.clone();
            self.manages(&host)
        };
        if whole && !manages {
            return Err(Fault::new(FaultKind::NoQuorum, "the swarm has no leader"));
        }
        let services = self.services.iter().map(|(name, it)| it.value(name));
        let services: Vec<Value> = services.collect();
        let former = match self.recorded(name)? {
            Some(record) => Some(record),
            None => record::load(to).map_err(broken)?,
        };
        let services = manages.then_some(&services[..]);
        let record = record::compose(head.clone(), services, former.as_ref());
        let text = record.text().map_err(broken)?;
        let mark = record.mark().text().map_err(broken)?;
        let host = self.host(name)?;
        host.files.insert(PATH.to_owned(), (text, 0o600));
        host.files.insert(MARK.to_owned(), (mark, 0o600));
        record::save(to, &record).map_err(broken)
    }

    /// The record that a host has.
    fn recorded(&self, name: &str) -> Result<Option<Record>, Fault> {
        let files = self.hosts.get(name).map(|host| &host.files);
        let text = files.and_then(|files| files.get(PATH));
        let record = text.map(|(text, _)| Record::parse(text));
        record.transpose().map_err(broken)
    }

    fn halt(&mut self, name: &str, services: &[String], remove: bool) -> Result<(), Fault> {
        let (cluster, _) = self.member(name)?;
        if !self.has_quorum(&cluster) {
            return Err(Fault::new(FaultKind::NoQuorum, "the swarm has no leader"));
        }
        let record = self.recorded(name)?;
        let known = record.and_then(|record| record.services);
        let known = known.unwrap_or_default();
        for service in services {
            if remove && !known.iter().any(|it| it.name == *service) {
                return Err(fail(format!("{service} is not in the record")));
            }
            if remove {
                self.services.remove(service);
                continue;
            }
            let Some(found) = self.services.get_mut(service) else {
                continue;
            };
            let mut value = found.value(service);
            if record::halt(&mut value["Spec"]) {
                found.spec = value["Spec"].take();
                found.replicas = 0;
            }
        }
        self.place_tasks(&cluster);
        Ok(())
    }

    /// Takes the power of a host away because it was told so. Its tasks should have ended by then, and
    /// a manager goes when nobody is left to manage.
    pub(super) fn power_off(&mut self, name: &str) -> Result<(), Fault> {
        let host = self.host(name)?.clone();
        if let Some((cluster, id)) = &host.member {
            if self.services.values().any(|it| it.tasks.contains(id)) {
                self.tasks_lost_by.push(format!("{name}: power off"));
            }
            let nodes = self.clusters.get(cluster).map(|swarm| &swarm.nodes);
            let mut others = nodes.into_iter().flatten();
            let lives = others.any(|(other, node)| other != id && self.node_lives(other, node));
            if self.manages(&host) && lives {
                let what = format!("{name}: power off before the others");
                self.quorum_lost_by.push(what);
            }
        }
        self.power(name, false);
        Ok(())
    }
}

fn broken(error: impl std::fmt::Display) -> Fault {
    fail(error.to_string())
}
