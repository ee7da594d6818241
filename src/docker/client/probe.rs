//! The service of a drill: made, looked at, removed.

use hyper::Method;
use serde::Deserialize;

use super::{DEADLINE, Docker, DockerError, LOCAL_DEADLINE, http, within};

/// A task of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceTask {
    /// The NodeID of the node that it is on.
    pub node: String,
    /// The port of the node that leads to it, where it runs and is published on the node itself.
    pub port: Option<u16>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Task {
    #[serde(rename = "NodeID")]
    node: String,
    desired_state: String,
    status: Status,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Status {
    state: String,
    port_status: Option<PortStatus>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct PortStatus {
    ports: Option<Vec<Port>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Port {
    published_port: u16,
}

impl Docker {
    /// The tasks of a service that run and are to run on; none where there is no such service. Only
    /// a manager can say.
    pub async fn tasks_of(&self, service: &str) -> Result<Vec<ServiceTask>, DockerError> {
        // A name needs no escape: it is ours.
        let path = format!("/tasks?filters=%7B%22service%22%3A%5B%22{service}%22%5D%7D");
        let tasks: Vec<Task> = match self.get(&path, DEADLINE).await {
            Err(DockerError::Api { status: 404, .. }) => Vec::new(),
            other => other?,
        };
        let runs = |it: &Task| it.status.state == "running" && it.desired_state == "running";
        let tasks = tasks.into_iter().filter(runs);
        Ok(tasks
            .map(|task| ServiceTask {
                port: task
                    .status
                    .port_status
                    .and_then(|it| it.ports?.first().map(|port| port.published_port)),
                node: task.node,
            })
            .collect())
    }

    /// Whether the engine itself answers.
    pub async fn answers(&self) -> bool {
        let call = http::call(self.dial.as_ref(), Method::GET, "/_ping", Vec::new());
        within(LOCAL_DEADLINE, call).await.is_ok()
    }
}
