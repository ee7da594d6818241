//! Draining a node: docker does not wait, and stops tasks before others run in their place
//! (moby#24103 tells of what comes after); this does and, where it is allowed, starts the others
//! first.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::docker::{Docker, NodeChange, ServiceTasks};
use crate::fleet::{Fault, FaultKind};
use crate::inventory::Availability;

use super::Live;
use super::swarm::{fault, healthy, node_id, settled};

/// The pause between two looks at the tasks.
const PAUSE: Duration = Duration::from_secs(1);

/// After how long of waiting it is said again what is waited for.
const SAY: Duration = Duration::from_secs(10);

/// Drains the node `id`, or that of `host`. When it is not done in time, the node gets the
/// availability back that it had.
pub(super) async fn drain(
    live: &Live,
    host: &str,
    managers: &[String],
    id: Option<&str>,
    deadline: Duration,
    output: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), Fault> {
    let id = match id {
        Some(id) => id.to_owned(),
        None => node_id(&live.remote(host)?.docker()).await?,
    };
    let manager = settled(live, managers).await?;
    let node = manager.nodes.iter().find(|node| node.id == id);
    let before = node.map(|node| node.availability).ok_or_else(|| {
        Fault::new(
            FaultKind::Failed,
            format!("the managers do not list node {id}"),
        )
    })?;
    let until = Instant::now() + deadline;
    let others = manager.nodes.iter().any(|other| {
        other.id != id && other.state == "ready" && other.availability == Availability::Active
    });
    let work = Drain {
        live,
        managers,
        id: &id,
        until,
        output,
    };
    match work.run(&manager.docker, before, others).await {
        Err(fault) if matches!(fault.kind, FaultKind::TimedOut | FaultKind::Refused) => {
            let manager = healthy(live, managers, None).await?;
            set(&manager.docker, &id, before).await?;
            Err(fault.hint(
                "The node has its former availability back. Look at `docker service ps` of the service.",
            ))
        }
        ended => ended,
    }
}

async fn set(docker: &Docker, id: &str, availability: Availability) -> Result<(), Fault> {
    let change = NodeChange {
        availability: Some(availability),
        ..NodeChange::default()
    };
    let changed = docker.node_update(id, &change).await;
    changed.map(drop).map_err(|error| fault(&error))
}

struct Drain<'a> {
    live: &'a Live,
    managers: &'a [String],
    id: &'a str,
    until: Instant,
    output: &'a (dyn Fn(&str) + Send + Sync),
}

impl Drain<'_> {
    async fn run(&self, docker: &Docker, before: Availability, others: bool) -> Result<(), Fault> {
        let services = docker.services().await.map_err(|error| fault(&error))?;
        let here: BTreeMap<String, ServiceTasks> = services
            .into_iter()
            .filter(|(_, service)| service.running.contains_key(self.id))
            .collect();
        // With nowhere else to go there is nothing to wait for but the end of the tasks.
        let floor: BTreeMap<&str, usize> = here
            .iter()
            .filter_map(|(id, service)| {
                let floor = service.replicas?.min(service.total());
                others.then_some((id.as_str(), floor))
            })
            .collect();
        let first = here.iter().filter(|(id, service)| {
            service.start_first && floor.contains_key(id.as_str()) && before != Availability::Drain
        });
        let first: Vec<&str> = first.map(|(id, _)| id.as_str()).collect();
        if !first.is_empty() {
            set(docker, self.id, Availability::Pause).await?;
            for id in &first {
                let name = here.get(*id).map_or(*id, |service| service.name.as_str());
                (self.output)(&format!("starting the tasks of {name} elsewhere first"));
                docker.redeploy(id).await.map_err(|error| fault(&error))?;
            }
            self.wait(&floor, &first).await?;
        }
        set(docker, self.id, Availability::Drain).await?;
        self.wait(&floor, &[]).await
    }

    /// Waits until no task runs on the node, of the services `only` or of any, and each service has
    /// its `floor`.
    async fn wait(&self, floor: &BTreeMap<&str, usize>, only: &[&str]) -> Result<(), Fault> {
        let mut said = Instant::now();
        loop {
            let seen = match self.look(floor, only).await {
                Ok(None) => return Ok(()),
                Ok(Some(seen)) => seen,
                Err(fault) if fault.kind == FaultKind::Refused => return Err(fault),
                Err(fault) => fault.message,
            };
            if Instant::now() >= self.until {
                let why = format!("the node was not drained in time: {seen}");
                return Err(Fault::new(FaultKind::TimedOut, why));
            }
            if said.elapsed() >= SAY {
                (self.output)(&format!("waiting: {seen}"));
                said = Instant::now();
            }
            sleep(PAUSE).await;
        }
    }

    async fn look(
        &self,
        floor: &BTreeMap<&str, usize>,
        only: &[&str],
    ) -> Result<Option<String>, Fault> {
        let manager = settled(self.live, self.managers).await?;
        let listed = manager.nodes.iter().find(|node| node.id == self.id);
        if listed.is_none_or(|node| node.state == "down") {
            // Nothing runs there, whatever its last tasks are still called.
            return Ok(None);
        }
        let docker = &manager.docker;
        let services = docker.services().await.map_err(|error| fault(&error))?;
        for (id, service) in &services {
            let name = &service.name;
            let asked = only.is_empty() || only.contains(&id.as_str());
            let here = service.running.get(self.id).copied().unwrap_or_default();
            if let Some(why) = service
                .gave_up
                .as_ref()
                .filter(|_| here > 0 && !only.is_empty() && asked)
            {
                // Its tasks do not start elsewhere: drained, it would run fewer than its owner wants.
                let why = format!("the tasks of {name} could not be started elsewhere: {why}");
                return Err(Fault::new(FaultKind::Refused, why));
            }
            if asked && here > 0 {
                return Ok(Some(format!("{here} tasks of {name} still run there")));
            }
            // Its owner may have asked for fewer meanwhile.
            let floor = floor.get(id.as_str()).copied().unwrap_or_default();
            let floor = floor.min(service.replicas.unwrap_or(floor));
            let total = service.total();
            if total < floor {
                return Ok(Some(format!("{name} runs {total} of {floor} tasks")));
            }
        }
        if !only.is_empty() {
            return Ok(None);
        }
        let running = docker.running_tasks(self.id).await;
        let running = running.map_err(|error| fault(&error))?.len();
        Ok((running > 0).then(|| format!("{running} tasks have not ended there")))
    }
}
