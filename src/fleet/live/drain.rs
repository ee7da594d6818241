//! Draining a node: docker does not wait, and stops tasks before others run in their place
//! (moby#24103 tells of what comes after); this does and, where it is allowed, starts the others
//! first.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::docker::{Docker, NodeChange, ServiceTasks};
use crate::facts::Node;
use crate::fleet::{Fault, FaultKind};
use crate::inventory::Availability;
use crate::swarm::may_run;

use super::Live;
use super::swarm::{fault, healthy, node_id, settled};

/// The pause between two looks at the tasks.
const PAUSE: Duration = Duration::from_secs(1);

/// After how long of waiting it is said again what is waited for.
const SAY: Duration = Duration::from_secs(10);

/// For how long the scheduler may find no node for a task before it is believed. It looks again with
/// every change of a node or task, and a task that has just ended may hold a port for a moment.
const NOWHERE: Duration = Duration::from_secs(20);

/// How to drain.
#[derive(Clone, Copy)]
pub(super) struct How<'a> {
    /// Hosts of the inventory that are managers, best first.
    pub(super) managers: &'a [String],
    /// How long it may take.
    pub(super) deadline: Duration,
    /// Whether tasks that can run on no other node may stop.
    pub(super) downtime: bool,
}

/// Drains the node `id`, or that of `host`. When it is not done in time, the node gets the
/// availability back that it had.
pub(super) async fn drain(
    live: &Live,
    host: &str,
    id: Option<&str>,
    how: How<'_>,
    output: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), Fault> {
    let managers = how.managers;
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
    let others = manager.nodes.iter().filter(|other| {
        other.id != id && other.state == "ready" && other.availability == Availability::Active
    });
    let others: Vec<&Node> = others.collect();
    let work = Drain {
        live,
        how,
        id: &id,
        until: Instant::now() + how.deadline,
        output,
    };
    let here = work.tasks_here(&manager.docker).await?;
    let bound = bound(&here, &others);
    if let Some(name) = bound.first().filter(|_| !how.downtime) {
        let why = format!("no other node may run {name}, by its placement constraints");
        return Err(Fault::new(FaultKind::Refused, why).hint(DOWNTIME));
    }
    for name in bound {
        output(&format!("{name} stops: no other node may run it"));
    }
    match work.run(&manager.docker, before, here, &others).await {
        Err(fault) if matches!(fault.kind, FaultKind::TimedOut | FaultKind::Refused) => {
            let manager = healthy(live, managers, None).await?;
            set(&manager.docker, &id, before).await?;
            let hint = fault.hint.clone().unwrap_or_else(|| LOOK.to_owned());
            Err(fault.hint(format!("The node has its former availability back. {hint}")))
        }
        ended => ended,
    }
}

const LOOK: &str = "Look at `docker service ps` of the service.";

const DOWNTIME: &str = "Let other nodes meet what it asks for, or pass `--allow-downtime`: it stops then, until this node works again.";

/// The services of which no other node may run a task.
fn bound<'a>(here: &'a BTreeMap<String, ServiceTasks>, others: &[&Node]) -> Vec<&'a str> {
    let services = here.values().filter(|it| it.replicas.is_some());
    let bound = services.filter(|it| !others.is_empty() && !fits(it, others));
    bound.map(|service| service.name.as_str()).collect()
}

/// Whether one of `nodes` may run tasks of the service.
fn fits(service: &ServiceTasks, nodes: &[&Node]) -> bool {
    nodes.iter().any(|node| may_run(&service.constraints, node))
}

async fn set(docker: &Docker, id: &str, availability: Availability) -> Result<(), Fault> {
    let change = NodeChange {
        availability: Some(availability),
        ..NodeChange::default()
    };
    let changed = docker.node_update(id, &change).await;
    changed.map(drop).map_err(|error| fault(&error))
}

/// What a drain waits for.
struct Missing {
    what: String,
    /// Where the scheduler finds no node for a task: what it says.
    homeless: Option<String>,
}

impl Missing {
    fn not_yet(what: String) -> Self {
        let homeless = None;
        Self { what, homeless }
    }
}

struct Drain<'a> {
    live: &'a Live,
    how: How<'a>,
    id: &'a str,
    until: Instant,
    output: &'a (dyn Fn(&str) + Send + Sync),
}

impl Drain<'_> {
    /// The services with tasks on the node, by ID.
    async fn tasks_here(&self, docker: &Docker) -> Result<BTreeMap<String, ServiceTasks>, Fault> {
        let mut services = docker.services().await.map_err(|error| fault(&error))?;
        services.retain(|_, service| service.running.contains_key(self.id));
        Ok(services)
    }

    async fn run(
        &self,
        docker: &Docker,
        before: Availability,
        here: BTreeMap<String, ServiceTasks>,
        others: &[&Node],
    ) -> Result<(), Fault> {
        // With nowhere else to go there is nothing to wait for but the end of the tasks.
        let floor: BTreeMap<&str, usize> = here
            .iter()
            .filter_map(|(id, service)| {
                let floor = service.replicas?.min(service.total());
                fits(service, others).then_some((id.as_str(), floor))
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
        let mut homeless: Option<(String, Instant)> = None;
        loop {
            let seen = match self.look(floor, only).await {
                Ok(None) => return Ok(()),
                Ok(Some(seen)) => seen,
                Err(fault) if fault.kind == FaultKind::Refused => return Err(fault),
                Err(fault) => Missing::not_yet(fault.message),
            };
            homeless = seen.homeless.map(|why| match homeless {
                Some((_, since)) => (why, since),
                None => (why, Instant::now()),
            });
            if let Some((why, since)) = &homeless
                && since.elapsed() >= NOWHERE
            {
                return Err(Fault::new(FaultKind::Refused, why).hint(DOWNTIME));
            }
            let seen = seen.what;
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
    ) -> Result<Option<Missing>, Fault> {
        let manager = settled(self.live, self.how.managers).await?;
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
                let what = format!("{here} tasks of {name} still run there");
                return Ok(Some(Missing::not_yet(what)));
            }
            // Its owner may have asked for fewer meanwhile.
            let floor = floor.get(id.as_str()).copied().unwrap_or_default();
            let floor = floor.min(service.replicas.unwrap_or(floor));
            let total = service.total();
            if total < floor {
                let what = format!("{name} runs {total} of {floor} tasks");
                let homeless = service.homeless.as_ref();
                if homeless.is_some() && self.how.downtime {
                    continue;
                }
                let homeless = homeless.map(|why| format!("{what}, and the others find {why}"));
                return Ok(Some(Missing { what, homeless }));
            }
        }
        if !only.is_empty() {
            return Ok(None);
        }
        let running = docker.running_tasks(self.id).await;
        let running = running.map_err(|error| fault(&error))?.len();
        let what = || Missing::not_yet(format!("{running} tasks have not ended there"));
        Ok((running > 0).then(what))
    }
}
