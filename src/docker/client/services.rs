//! Services and their tasks, as far as moving them from node to node takes.
//!
//! A service is changed as the JSON that the engine gave: types of our own would drop what a newer
//! engine knows and they do not.

use std::collections::{BTreeMap, BTreeSet};

use hyper::Method;
use serde::Deserialize;
use serde_json::Value;

use super::{DEADLINE, Docker, DockerError, http, within};

/// A service and where its tasks run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceTasks {
    /// Its name.
    pub name: String,
    /// How many tasks its owner asked for; `None` for one on every node and for jobs.
    pub replicas: Option<usize>,
    /// Whether it may run one task too many while it is updated (`start-first`).
    pub start_first: bool,
    /// Whether an update of it goes on.
    pub updating: bool,
    /// What the engine says of an update that it gave up: it was paused, or taken back.
    pub gave_up: Option<String>,
    /// Its placement constraints, such as `node.labels.disk==ssd`.
    pub constraints: Vec<String>,
    /// What the scheduler says of a task of it that it finds no node for.
    pub homeless: Option<String>,
    /// How many of its tasks run and are to run on, by NodeID. A task of a node that is down is not
    /// counted: it is called running for a day, and is to end.
    pub running: BTreeMap<String, usize>,
}

impl ServiceTasks {
    /// How many of its tasks run.
    pub fn total(&self) -> usize {
        self.running.values().sum()
    }
}

/// How far the tasks of a service are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceProgress {
    /// How many run.
    pub running: u64,
    /// How many there are to be.
    pub desired: u64,
    /// Whether one is to run on every node.
    pub is_global: bool,
    /// What the engine says of the task that failed last.
    pub error: Option<String>,
    /// The nodes where tasks run, by ID.
    pub nodes: BTreeSet<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Service {
    #[serde(rename = "ID")]
    id: String,
    spec: ServiceSpec,
    update_status: Option<UpdateStatus>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ServiceSpec {
    name: String,
    mode: Mode,
    update_config: Option<UpdateConfig>,
    task_template: TaskTemplate,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct TaskTemplate {
    placement: Option<Placement>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Placement {
    constraints: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Mode {
    replicated: Option<Replicated>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Replicated {
    replicas: usize,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct UpdateConfig {
    order: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct UpdateStatus {
    state: String,
    message: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Task {
    #[serde(rename = "ServiceID")]
    service: String,
    #[serde(rename = "NodeID")]
    node: String,
    desired_state: String,
    status: TaskStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct TaskStatus {
    state: String,
    err: String,
}

/// How swarmkit's scheduler begins what it says of a task that no node may run.
const NO_NODE: &str = "no suitable node";

impl Docker {
    /// The services by ID, with the tasks that run. Only a manager can say.
    pub async fn services(&self) -> Result<BTreeMap<String, ServiceTasks>, DockerError> {
        let services: Vec<Service> = self.get("/services", DEADLINE).await?;
        let tasks: Vec<Task> = self.get("/tasks", DEADLINE).await?;
        let mut found: BTreeMap<String, ServiceTasks> = services
            .into_iter()
            .map(|service| (service.id.clone(), ServiceTasks::from(service)))
            .collect();
        for task in tasks.into_iter().filter(|it| it.desired_state == "running") {
            let Some(service) = found.get_mut(&task.service) else {
                continue;
            };
            match task.status.state.as_str() {
                "running" => *service.running.entry(task.node).or_default() += 1,
                "pending" if task.status.err.starts_with(NO_NODE) => {
                    service.homeless = Some(task.status.err);
                }
                _ => {}
            }
        }
        Ok(found)
    }

    /// Lets a service place all its tasks anew (`docker service update --force`), in the order that
    /// its owner gave it.
    pub async fn redeploy(&self, service: &str) -> Result<(), DockerError> {
        match self.redeploy_once(service).await {
            Err(DockerError::OutOfSequence) => self.redeploy_once(service).await,
            other => other,
        }
    }

    async fn redeploy_once(&self, service: &str) -> Result<(), DockerError> {
        let unreadable = || DockerError::Unreadable("the service has no task template".to_owned());
        let mut found = self.service(service).await?;
        let template = found["Spec"]["TaskTemplate"].as_object_mut();
        let template = template.ok_or_else(unreadable)?;
        let forced = template.get("ForceUpdate").and_then(Value::as_u64);
        let forced = forced.unwrap_or_default() + 1;
        template.insert("ForceUpdate".to_owned(), forced.into());
        self.update(service, &mut found).await
    }

    /// The services whole, as the engine tells them: their environment may hold secrets.
    pub async fn services_whole(&self) -> Result<Vec<Value>, DockerError> {
        self.get("/services", DEADLINE).await
    }

    /// Changes the specification of a service, by its ID or name; whether `change` changed anything.
    /// Nothing is sent where it did not.
    pub async fn service_update(
        &self,
        service: &str,
        change: &(dyn Fn(&mut Value) -> bool + Send + Sync),
    ) -> Result<bool, DockerError> {
        match self.service_update_once(service, change).await {
            Err(DockerError::OutOfSequence) => self.service_update_once(service, change).await,
            other => other,
        }
    }

    async fn service_update_once(
        &self,
        service: &str,
        change: &(dyn Fn(&mut Value) -> bool + Send + Sync),
    ) -> Result<bool, DockerError> {
        let mut found = self.service(service).await?;
        if !change(&mut found["Spec"]) {
            return Ok(false);
        }
        self.update(service, &mut found).await.map(|()| true)
    }

    /// Removes a service; well if it is not there. Its tasks end after that.
    pub async fn service_remove(&self, service: &str) -> Result<(), DockerError> {
        let path = format!("/services/{service}");
        let call = http::call(self.dial.as_ref(), Method::DELETE, &path, Vec::new());
        match within(DEADLINE, call).await {
            Err(DockerError::Api { status: 404, .. }) => Ok(()),
            other => other.map(drop),
        }
    }

    /// How many tasks have not ended of each service that was removed or is scaled to nothing, by
    /// the service's name, else its ID. Those on nodes that are down are not counted: they are called
    /// running for a day, and nobody can end them.
    pub async fn ending_tasks(&self) -> Result<BTreeMap<String, usize>, DockerError> {
        let services = self.services_whole().await?;
        let tasks: Vec<Task> = self.get("/tasks", DEADLINE).await?;
        let nodes = self.nodes().await?;
        let down = nodes.iter().filter(|node| node.state == "down");
        let down: BTreeSet<&str> = down.map(|node| node.id.as_str()).collect();
        let mut names = BTreeMap::new();
        for service in &services {
            let spec = &service["Spec"];
            let (id, name) = (service["ID"].as_str(), spec["Name"].as_str());
            if let (Some(id), Some(name)) = (id, name) {
                names.insert(id, (name, crate::record::is_halted(spec)));
            }
        }
        let mut left = BTreeMap::new();
        for task in tasks {
            let (name, ends) = names
                .get(task.service.as_str())
                .copied()
                .unwrap_or((task.service.as_str(), true));
            let ended = [
                "complete", "shutdown", "failed", "rejected", "remove", "orphaned",
            ];
            let ended = ended.contains(&task.status.state.as_str());
            // A container of a plain `docker run` in an overlay network is a task of no service.
            let ends = ends && !task.service.is_empty();
            // One that was never given to a node has no container.
            let placed = !task.node.is_empty() && !down.contains(task.node.as_str());
            if ends && !ended && placed {
                *left.entry(name.to_owned()).or_default() += 1;
            }
        }
        Ok(left)
    }

    /// Makes a service of a specification that an engine gave; well if there is one of that name.
    pub async fn service_create(&self, spec: &Value) -> Result<(), DockerError> {
        let name = spec["Name"].as_str().unwrap_or_default();
        match self.service(name).await {
            Ok(_) => return Ok(()),
            Err(DockerError::Api { status: 404, .. }) => {}
            Err(error) => return Err(error),
        }
        let body = spec.to_string().into_bytes();
        let path = "/services/create";
        let call = http::call(self.dial.as_ref(), Method::POST, path, body);
        within(DEADLINE, call).await.map(drop)
    }

    /// How far the tasks of `services` are, by name.
    pub async fn progress(
        &self,
        services: &[String],
    ) -> Result<BTreeMap<String, ServiceProgress>, DockerError> {
        let all: Vec<Value> = self.get("/services?status=true", DEADLINE).await?;
        let tasks: Vec<Value> = self.get("/tasks", DEADLINE).await?;
        let mut found = BTreeMap::new();
        for service in &all {
            let (Some(id), Some(name)) = (service["ID"].as_str(), service["Spec"]["Name"].as_str())
            else {
                continue;
            };
            if !services.iter().any(|it| it == name) {
                continue;
            }
            let status = &service["ServiceStatus"];
            let own = tasks.iter().filter(|task| task["ServiceID"] == id);
            // RFC 3339 in UTC as the engine writes it: the later text is the later moment.
            let at = |task: &&Value| task["Status"]["Timestamp"].as_str().map(str::to_owned);
            let error = |task: &Value| {
                let error = task["Status"]["Err"].as_str().filter(|it| !it.is_empty());
                error.map(str::to_owned)
            };
            let failed = own
                .clone()
                .filter(|task| error(task).is_some())
                .max_by_key(at);
            let runs = own.filter(|task| task["Status"]["State"] == "running");
            let progress = ServiceProgress {
                running: status["RunningTasks"].as_u64().unwrap_or(0),
                desired: status["DesiredTasks"].as_u64().unwrap_or(0),
                is_global: service["Spec"]["Mode"].get("Global").is_some(),
                error: failed.and_then(error),
                nodes: runs
                    .filter_map(|task| task["NodeID"].as_str().map(str::to_owned))
                    .collect(),
            };
            found.insert(name.to_owned(), progress);
        }
        Ok(found)
    }

    async fn service(&self, service: &str) -> Result<Value, DockerError> {
        self.get(&format!("/services/{service}"), DEADLINE).await
    }

    /// Sends the specification in `found`, which the engine gave and somebody changed.
    async fn update(&self, service: &str, found: &mut Value) -> Result<(), DockerError> {
        let version = found["Version"]["Index"].as_u64();
        let version = version
            .ok_or_else(|| DockerError::Unreadable("the service has no version".to_owned()))?;
        // What was left out of the request is the registry's login: the engine then takes the one
        // that it keeps for the service.
        let path = format!("/services/{service}/update?version={version}");
        let body = found["Spec"].take().to_string().into_bytes();
        let call = http::call(self.dial.as_ref(), Method::POST, &path, body);
        within(DEADLINE, call).await.map(drop)
    }
}

impl From<Service> for ServiceTasks {
    fn from(service: Service) -> Self {
        let update = service.update_status.unwrap_or_default();
        Self {
            name: service.spec.name,
            replicas: service.spec.mode.replicated.map(|it| it.replicas),
            start_first: service
                .spec
                .update_config
                .is_some_and(|update| update.order == "start-first"),
            updating: matches!(update.state.as_str(), "updating" | "rollback_started"),
            gave_up: matches!(
                update.state.as_str(),
                "paused" | "rollback_paused" | "rollback_completed"
            )
            .then_some(update.message),
            constraints: service
                .spec
                .task_template
                .placement
                .and_then(|placement| placement.constraints)
                .unwrap_or_default(),
            homeless: None,
            running: BTreeMap::new(),
        }
    }
}
