//! The lab's engine through the `docker` program, and what its answers mean.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::LabError;
use crate::local::{Output, Program};

/// The lab's engine.
#[derive(Debug, Clone)]
pub(super) struct Docker {
    socket: PathBuf,
}

/// The label of everything that belongs to a cluster.
pub(super) const CLUSTER_LABEL: &str = "skep.cluster";
/// The label with a host's name.
pub(super) const HOST_LABEL: &str = "skep.host";
/// The label with the inventory's path.
pub(super) const INVENTORY_LABEL: &str = "skep.inventory";

impl Docker {
    pub(super) fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
        }
    }

    /// `docker ARGS` against the lab's engine and no other.
    pub(super) fn program<S: AsRef<std::ffi::OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
    ) -> Program {
        Program::new("docker")
            .arg("--host")
            .arg(format!("unix://{}", self.socket.display()))
            .args(args)
            .env_remove("DOCKER_HOST")
            .env_remove("DOCKER_CONTEXT")
            .env_remove("DOCKER_TLS")
            .env_remove("DOCKER_TLS_VERIFY")
            .env_remove("DOCKER_CERT_PATH")
            .env_remove("DOCKER_API_VERSION")
            .deadline(Duration::from_mins(1))
    }

    /// Runs `docker ARGS`; `doing` is for the error.
    pub(super) async fn run(&self, doing: &str, args: &[&str]) -> Result<Output, LabError> {
        let result = self.program(args).run().await;
        result.map_err(LabError::program(doing))
    }

    /// Whether the engine answers.
    pub(super) async fn answers(&self) -> bool {
        if !self.socket.exists() {
            return false;
        }
        let version = self
            .program(["version", "--format", "{{.Server.Version}}"])
            .deadline(Duration::from_secs(10));
        version.run().await.is_ok()
    }

    /// The containers with that label, such as `skep.cluster=demo`.
    pub(super) async fn containers(&self, label: &str) -> Result<Vec<Container>, LabError> {
        let doing = "list the lab's hosts";
        let filter = format!("label={label}");
        let ids = self
            .run(doing, &["ps", "--all", "--quiet", "--filter", &filter])
            .await?;
        let ids: Vec<_> = ids.stdout.split_whitespace().collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let inspect = self.program(["container", "inspect"]).args(&ids);
        // One that went away in between makes the status 1; the others are told all the same.
        let output = inspect.output().await.map_err(LabError::program(doing))?;
        containers(&output.stdout)
    }
}

/// A container of a lab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Container {
    /// The container's name, without the leading slash.
    pub(super) name: String,
    /// Its labels.
    pub(super) labels: BTreeMap<String, String>,
    /// `running`, `exited`, `created`, `paused`, `dead`, ...
    pub(super) status: String,
    /// Its address; of a stopped container, the one that it will have.
    pub(super) address: Option<Ipv4Addr>,
    /// Whether it is on a network.
    pub(super) connected: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawContainer {
    name: String,
    state: RawState,
    config: RawConfig,
    network_settings: RawNetworks,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawState {
    status: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawConfig {
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawNetworks {
    networks: BTreeMap<String, RawEndpoint>,
}

#[derive(Deserialize)]
struct RawEndpoint {
    #[serde(rename = "IPAMConfig")]
    wanted: Option<RawWanted>,
    #[serde(rename = "IPAddress", default)]
    address: String,
}

#[derive(Deserialize)]
struct RawWanted {
    #[serde(rename = "IPv4Address", default)]
    address: String,
}

/// Reads what `docker container inspect` prints.
pub(super) fn containers(json: &str) -> Result<Vec<Container>, LabError> {
    let raw: Vec<RawContainer> = serde_json::from_str(json).map_err(|error| LabError::Unfit {
        message: format!("`docker container inspect` printed what skep cannot read: {error}"),
        hint: "Is `docker` the Docker Engine's own client?".to_owned(),
    })?;
    Ok(raw.into_iter().map(Container::from).collect())
}

impl From<RawContainer> for Container {
    fn from(raw: RawContainer) -> Self {
        let networks = raw.network_settings.networks;
        let address = networks.values().find_map(|endpoint| {
            let wanted = endpoint.wanted.as_ref();
            let wanted = wanted.and_then(|wanted| wanted.address.parse().ok());
            wanted.or_else(|| endpoint.address.parse().ok())
        });
        Self {
            name: raw.name.trim_start_matches('/').to_owned(),
            labels: raw.config.labels.unwrap_or_default(),
            status: raw.state.status,
            address,
            connected: !networks.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inspected_container_is_read() {
        let json = r#"[{"Name":"/skep-demo-m1","State":{"Status":"exited","Pid":0},
            "Config":{"Labels":{"skep.cluster":"demo","skep.host":"m1"}},
            "NetworkSettings":{"Networks":{"skep-demo":
              {"IPAMConfig":{"IPv4Address":"198.18.0.11"},"IPAddress":""}}}}]"#;
        let read = containers(json).unwrap();
        assert_eq!(read[0].name, "skep-demo-m1");
        assert_eq!(read[0].labels["skep.host"], "m1");
        assert_eq!(read[0].address, Some(Ipv4Addr::new(198, 18, 0, 11)));
        assert!(read[0].connected);
    }

    #[test]
    fn a_container_that_was_cut_off_has_no_network() {
        let json = r#"[{"Name":"/x","State":{"Status":"running"},"Config":{"Labels":null},
            "NetworkSettings":{"Networks":{}}}]"#;
        let read = containers(json).unwrap();
        assert!(!read[0].connected);
        assert_eq!(read[0].address, None);
    }

    #[test]
    fn other_output_is_an_error_and_no_empty_list() {
        assert!(containers("Error").is_err());
    }
}
