//! What a start after a shutdown does to simulated hosts and services.

use crate::fleet::Fault;
use crate::plan::StartStep;
use crate::procedure::start::{STARTED, kept};
use crate::record::{self, MARK, PATH, Record};

use super::world::{SimService, World, fail};

impl World {
    pub(super) fn start(&mut self, name: &str, step: &StartStep) -> Result<(), Fault> {
        self.host(name)?;
        match step {
            StartStep::Storage { .. } => {}
            StartStep::Resume {
                services, create, ..
            } => {
                let (cluster, id) = self.member(name)?;
                if !self.lives(name) || !self.has_quorum(&cluster) {
                    return Err(fail(format!("{id} has no quorum")));
                }
                for service in create {
                    let files = &self.host(name)?.files;
                    let text = files.get(PATH).map(|(text, _)| text.as_str());
                    let record = text.and_then(|text| Record::parse(text).ok());
                    let found = record.and_then(|record| record.services);
                    let found =
                        found.and_then(|all| all.into_iter().find(|it| it.name == *service));
                    let found = found.ok_or_else(|| fail("the record has no such service"))?;
                    let mut made = SimService::default();
                    made.take(found.spec);
                    self.services.entry(service.clone()).or_insert(made);
                    self.resumed.push(service.clone());
                }
                for service in services {
                    if let Some(found) = self.services.get_mut(service) {
                        let mut spec = found.value(service)["Spec"].take();
                        if record::unhalt(&mut spec) {
                            found.take(spec);
                            self.resumed.push(service.clone());
                        }
                    }
                }
                self.place_tasks(&cluster);
            }
            StartStep::Answers { service, .. } => {
                let found = self.services.get(service);
                if found.is_none_or(|it| it.tasks.is_empty()) {
                    return Err(fail("nothing answers"));
                }
                self.resumed.push(format!("{service} answers"));
            }
            StartStep::Over { made, .. } => {
                let host = self.host(name)?;
                let text = format!("{made}\n");
                host.files.insert(STARTED.to_owned(), (text, 0o600));
                if let Some(file) = host.files.remove(PATH) {
                    host.files.insert(kept(*made), file);
                }
                host.files.remove(MARK);
            }
        }
        Ok(())
    }
}

impl SimService {
    /// Takes another specification.
    fn take(&mut self, spec: serde_json::Value) {
        let replicas = spec["Mode"]["Replicated"]["Replicas"].as_u64();
        if let Some(replicas) = replicas.and_then(|it| usize::try_from(it).ok()) {
            self.replicas = replicas;
        }
        self.spec = spec;
    }
}
