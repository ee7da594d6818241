//! The calls, typed.

mod network;
pub(super) mod probe;
pub(super) mod rotate;
pub(super) mod services;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::models;
use bollard::query_parameters::{
    DeleteNodeOptionsBuilder, LeaveSwarmOptionsBuilder, ListTasksOptionsBuilder,
    UpdateNodeOptionsBuilder, UpdateSwarmOptionsBuilder,
};
use hyper::Method;
use ipnet::IpNet;
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::{Dial, DockerError, http, wire};
use crate::facts::{LocalSwarm, Node};
use crate::inventory::{Availability, Role};
use crate::known::Known;
use crate::swarm::Contents;

/// How long a call may take. The engine itself gives up on most of them after 20 s
/// (`swarmRequestTimeout` in moby's `daemon/cluster`).
const DEADLINE: Duration = Duration::from_secs(25);
/// How long a question may take that only the engine itself answers.
const LOCAL_DEADLINE: Duration = Duration::from_secs(10);

/// An engine.
#[derive(Clone)]
pub struct Docker {
    dial: Arc<dyn Dial>,
}

/// What a new swarm is made with; see [`crate::plan::DockerCall::SwarmInit`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SwarmInit {
    /// The address that the host tells the others.
    pub advertise: String,
    /// The address or interface for the traffic of containers, where it differs.
    pub data_path: Option<String>,
    /// Networks for overlay networks; empty is Docker's default.
    pub default_addr_pool: Vec<IpNet>,
    /// The prefix length of each overlay network.
    pub subnet_size: Option<u8>,
    /// The UDP port of VXLAN.
    pub data_path_port: Option<u16>,
    /// The settings that can change later.
    pub settings: SwarmChange,
}

/// Settings of a swarm that can change; `None` leaves as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SwarmChange {
    /// Whether managers need an unlock key after a restart.
    pub autolock: Option<bool>,
    /// The life of node certificates in days.
    pub cert_expiry_days: Option<u32>,
    /// How many old tasks are kept for each slot.
    pub task_history: Option<u32>,
}

/// How a host joins.
#[derive(Debug, Clone)]
pub struct SwarmJoin {
    /// The address that the host tells the others.
    pub advertise: String,
    /// The address or interface for the traffic of containers, where it differs.
    pub data_path: Option<String>,
    /// Addresses of managers, such as `10.0.0.11:2377`.
    pub remotes: Vec<String>,
    /// The token; it decides the role.
    pub token: SecretString,
}

/// The secrets that joining takes.
#[derive(Debug, Clone)]
pub struct JoinTokens {
    /// For managers.
    pub manager: SecretString,
    /// For workers.
    pub worker: SecretString,
}

impl JoinTokens {
    /// The token of a role; a host without a role gets the worker's.
    pub fn of(&self, role: Role) -> &SecretString {
        match role {
            Role::Manager => &self.manager,
            Role::Worker | Role::None => &self.worker,
        }
    }
}

/// Changes to a node; `None` leaves as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeChange {
    /// The role to give.
    pub role: Option<Role>,
    /// The availability to give.
    pub availability: Option<Availability>,
    /// Labels to set; others stay.
    pub labels: BTreeMap<String, String>,
    /// Labels to take away.
    pub unlabel: BTreeSet<String>,
}

impl std::fmt::Debug for Docker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Docker").finish_non_exhaustive()
    }
}

impl Docker {
    /// The engine at the other end of `dial`. Nothing is sent yet.
    pub fn new(dial: Arc<dyn Dial>) -> Self {
        Self { dial }
    }

    /// The engine's version.
    pub async fn version(&self) -> Result<String, DockerError> {
        let version: wire::Version = self.get("/version", LOCAL_DEADLINE).await?;
        Ok(version.version)
    }

    /// The engine's own view of its place in a swarm; `Absent` when it is in none.
    pub async fn swarm_local(&self) -> Result<Known<LocalSwarm>, DockerError> {
        let info: wire::Info = self.get("/info", DEADLINE).await?;
        Ok(info.local_swarm())
    }

    /// The swarm's nodes, as this manager tells them.
    pub async fn nodes(&self) -> Result<Vec<Node>, DockerError> {
        let nodes: Vec<wire::Node> = self.get("/nodes", DEADLINE).await?;
        match wire::nodes(nodes) {
            Known::Value(nodes) => Ok(nodes),
            other => Err(DockerError::Unreadable(
                other.why_unknown().unwrap_or_default().to_owned(),
            )),
        }
    }

    /// The IDs of the tasks that run, or should run, on a node. Only a manager can say.
    pub async fn running_tasks(&self, node: &str) -> Result<Vec<String>, DockerError> {
        let wanted = HashMap::from([("node", vec![node])]);
        let options = ListTasksOptionsBuilder::new().filters(&wanted).build();
        let tasks = self
            .bollard(DEADLINE, async |docker| {
                docker.list_tasks(Some(options)).await
            })
            .await?;
        // The state is the node's own report. A task that ought to stop (`DesiredState`
        // `shutdown`) counts as long as it runs.
        let live = |task: &models::Task| {
            use models::TaskState as State;
            let state = task.status.as_ref().and_then(|status| status.state);
            !matches!(
                state,
                Some(
                    State::COMPLETE
                        | State::SHUTDOWN
                        | State::FAILED
                        | State::REJECTED
                        | State::REMOVE
                        | State::ORPHANED
                )
            )
        };
        Ok(tasks
            .into_iter()
            .filter(live)
            .filter_map(|task| task.id)
            .collect())
    }

    /// Makes a new swarm: the NodeID of its first manager.
    pub async fn init(&self, init: &SwarmInit) -> Result<String, DockerError> {
        let mut spec = models::SwarmSpec::default();
        init.settings.apply(&mut spec);
        let pool: Vec<String> = init
            .default_addr_pool
            .iter()
            .map(IpNet::to_string)
            .collect();
        let request = models::SwarmInitRequest {
            listen_addr: Some("0.0.0.0:2377".to_owned()),
            advertise_addr: Some(init.advertise.clone()),
            data_path_addr: init.data_path.clone(),
            data_path_port: init.data_path_port.map(u32::from),
            default_addr_pool: (!pool.is_empty()).then_some(pool),
            force_new_cluster: Some(false),
            subnet_size: init.subnet_size.map(u32::from),
            spec: Some(spec),
        };
        self.bollard(DEADLINE * 2, async |docker| {
            docker.init_swarm(request).await
        })
        .await
    }

    /// Makes this manager the only one of its swarm, which keeps its services, secrets and nodes. Of
    /// the settings the engine takes over no more than autolock.
    pub async fn force_new_cluster(
        &self,
        advertise: &str,
        data_path: Option<&str>,
        autolock: bool,
    ) -> Result<(), DockerError> {
        let mut spec = models::SwarmSpec::default();
        let settings = SwarmChange {
            autolock: Some(autolock),
            ..SwarmChange::default()
        };
        settings.apply(&mut spec);
        let request = models::SwarmInitRequest {
            listen_addr: Some("0.0.0.0:2377".to_owned()),
            advertise_addr: Some(advertise.to_owned()),
            data_path_addr: data_path.map(str::to_owned),
            force_new_cluster: Some(true),
            spec: Some(spec),
            ..models::SwarmInitRequest::default()
        };
        let made = self.bollard(DEADLINE * 2, async |docker| {
            docker.init_swarm(request).await
        });
        made.await.map(drop)
    }

    /// Joins a swarm. [`DockerError::JoinPending`] and [`DockerError::NoAnswer`] are no failures
    /// yet: the engine goes on trying, and [`Docker::swarm_local`] tells the end.
    pub async fn join(&self, join: &SwarmJoin) -> Result<(), DockerError> {
        let request = models::SwarmJoinRequest {
            listen_addr: Some("0.0.0.0:2377".to_owned()),
            advertise_addr: Some(join.advertise.clone()),
            data_path_addr: join.data_path.clone(),
            remote_addrs: Some(join.remotes.clone()),
            join_token: Some(join.token.expose_secret().to_owned()),
        };
        self.bollard(DEADLINE, async |docker| docker.join_swarm(request).await)
            .await
    }

    /// Leaves the swarm; without `force` the engine refuses it on a manager.
    pub async fn leave(&self, force: bool) -> Result<(), DockerError> {
        let options = LeaveSwarmOptionsBuilder::new().force(force).build();
        self.bollard(DEADLINE, async |docker| {
            docker.leave_swarm(Some(options)).await
        })
        .await
    }

    /// The tokens that joining takes. Only a manager has them.
    pub async fn join_tokens(&self) -> Result<JoinTokens, DockerError> {
        let swarm = self.swarm().await?;
        let tokens = swarm
            .join_tokens
            .ok_or_else(|| DockerError::Unreadable("it has no join tokens".to_owned()))?;
        let secret = |token: Option<String>| {
            token
                .filter(|token| !token.is_empty())
                .map(SecretString::from)
                .ok_or_else(|| DockerError::Unreadable("a join token is missing".to_owned()))
        };
        Ok(JoinTokens {
            manager: secret(tokens.manager)?,
            worker: secret(tokens.worker)?,
        })
    }

    /// What the swarm holds, by name; its nodes are left out.
    pub async fn names(&self) -> Result<Contents, DockerError> {
        let (services, secrets, configs) = tokio::try_join!(
            self.get::<Vec<wire::Named>>("/services", DEADLINE),
            self.get::<Vec<wire::Named>>("/secrets", DEADLINE),
            self.get::<Vec<wire::Named>>("/configs", DEADLINE),
        )?;
        let names = |all: Vec<wire::Named>| {
            let mut names: Vec<String> = all.into_iter().map(|it| it.spec.name).collect();
            names.sort();
            names
        };
        Ok(Contents {
            nodes: Vec::new(),
            services: names(services),
            secrets: names(secrets),
            configs: names(configs),
        })
    }

    /// The key that locked managers want; `None` when the swarm does not lock them.
    pub async fn unlock_key(&self) -> Result<Option<SecretString>, DockerError> {
        let reply: wire::UnlockKey = self.get("/swarm/unlockkey", DEADLINE).await?;
        Ok((!reply.unlock_key.is_empty()).then(|| SecretString::from(reply.unlock_key)))
    }

    /// Unlocks a locked manager.
    pub async fn unlock(&self, key: &SecretString) -> Result<(), DockerError> {
        let body = serde_json::json!({ "UnlockKey": key.expose_secret() });
        let body = Zeroizing::new(body.to_string());
        let call = http::call(
            self.dial.as_ref(),
            Method::POST,
            "/swarm/unlock",
            body.as_bytes().to_vec(),
        );
        within(DEADLINE, call).await.map(drop)
    }

    /// Changes a node, found by its NodeID; whether anything differed. Nothing is sent where
    /// nothing differs.
    pub async fn node_update(&self, id: &str, change: &NodeChange) -> Result<bool, DockerError> {
        match self.node_update_once(id, change).await {
            Err(DockerError::OutOfSequence) => self.node_update_once(id, change).await,
            other => other,
        }
    }

    async fn node_update_once(&self, id: &str, change: &NodeChange) -> Result<bool, DockerError> {
        let node = self
            .bollard(DEADLINE, async |docker| docker.inspect_node(id).await)
            .await?;
        let old = node
            .spec
            .ok_or_else(|| DockerError::Unreadable("the node has no spec".to_owned()))?;
        let mut spec = old.clone();
        change.apply(&mut spec);
        if spec == old {
            return Ok(false);
        }
        let version = version_of(node.version)?;
        let options = UpdateNodeOptionsBuilder::new().version(version).build();
        self.bollard(DEADLINE, async |docker| {
            docker.update_node(id, spec, options).await
        })
        .await?;
        Ok(true)
    }

    /// Takes a node out of the managers' list; well if it is not there. Without `force` the engine
    /// refuses it for a node that is not down.
    pub async fn node_remove(&self, id: &str, force: bool) -> Result<(), DockerError> {
        let options = DeleteNodeOptionsBuilder::new().force(force).build();
        let removed = self
            .bollard(DEADLINE, async |docker| {
                docker.delete_node(id, Some(options)).await
            })
            .await;
        match removed {
            Err(DockerError::Api { status: 404, .. }) => Ok(()),
            other => other,
        }
    }

    /// Changes the swarm's settings; whether anything differed. Nothing is sent where nothing
    /// differs.
    pub async fn swarm_update(&self, change: &SwarmChange) -> Result<bool, DockerError> {
        match self.swarm_update_once(change).await {
            Err(DockerError::OutOfSequence) => self.swarm_update_once(change).await,
            other => other,
        }
    }

    async fn swarm_update_once(&self, change: &SwarmChange) -> Result<bool, DockerError> {
        let swarm = self.swarm().await?;
        let old = swarm
            .spec
            .ok_or_else(|| DockerError::Unreadable("the swarm has no spec".to_owned()))?;
        let mut spec = old.clone();
        change.apply(&mut spec);
        if spec == old {
            return Ok(false);
        }
        let version = version_of(swarm.version)?;
        let options = UpdateSwarmOptionsBuilder::new().version(version).build();
        self.bollard(DEADLINE, async |docker| {
            docker.update_swarm(spec, options).await
        })
        .await?;
        Ok(true)
    }

    async fn swarm(&self) -> Result<models::Swarm, DockerError> {
        self.bollard(DEADLINE, async |docker| docker.inspect_swarm().await)
            .await
    }

    /// Asks for JSON that has types of our own.
    async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        deadline: Duration,
    ) -> Result<T, DockerError> {
        let call = http::call(self.dial.as_ref(), Method::GET, path, Vec::new());
        let body = within(deadline, call).await?;
        serde_json::from_slice(&body).map_err(|error| DockerError::Unreadable(error.to_string()))
    }

    /// Runs a call through bollard, after agreeing on the API's version: bollard speaks a newer one
    /// than old engines do, and new engines refuse very old ones.
    async fn bollard<T>(
        &self,
        deadline: Duration,
        call: impl AsyncFnOnce(&bollard::Docker) -> Result<T, bollard::errors::Error>,
    ) -> Result<T, DockerError> {
        let cause = Arc::new(Mutex::new(None));
        let (dial, slot) = (Arc::clone(&self.dial), Arc::clone(&cause));
        let transport = move |request| http::carry(Arc::clone(&dial), Arc::clone(&slot), request);
        // bollard's own deadline covers less than ours; it only must not strike first.
        let seconds = deadline.as_secs() + 5;
        let run = async {
            let docker = bollard::Docker::connect_with_custom_transport(
                transport,
                Some("docker://engine"),
                seconds,
                bollard::API_DEFAULT_VERSION,
            )?
            .negotiate_version()
            .await?;
            call(&docker).await
        };
        let read = async {
            run.await.map_err(|error| {
                let cause = cause.lock().unwrap_or_else(PoisonError::into_inner).take();
                cause.unwrap_or_else(|| of_bollard(error, deadline))
            })
        };
        within(deadline, read).await
    }
}

impl SwarmChange {
    fn apply(&self, spec: &mut models::SwarmSpec) {
        if let Some(autolock) = self.autolock {
            let config = spec.encryption_config.get_or_insert_default();
            // Left out means off.
            if config.auto_lock_managers.unwrap_or_default() != autolock {
                config.auto_lock_managers = Some(autolock);
            }
        }
        if let Some(days) = self.cert_expiry_days {
            let nanoseconds = i64::from(days) * 86_400 * 1_000_000_000;
            let config = spec.ca_config.get_or_insert_default();
            config.node_cert_expiry = Some(nanoseconds);
        }
        if let Some(limit) = self.task_history {
            let config = spec.orchestration.get_or_insert_default();
            config.task_history_retention_limit = Some(i64::from(limit));
        }
    }
}

impl NodeChange {
    fn apply(&self, spec: &mut models::NodeSpec) {
        match self.role {
            Some(Role::Manager) => spec.role = Some(models::NodeSpecRoleEnum::MANAGER),
            Some(Role::Worker) => spec.role = Some(models::NodeSpecRoleEnum::WORKER),
            Some(Role::None) | None => {}
        }
        if let Some(availability) = self.availability {
            spec.availability = Some(match availability {
                Availability::Active => models::NodeSpecAvailabilityEnum::ACTIVE,
                Availability::Pause => models::NodeSpecAvailabilityEnum::PAUSE,
                Availability::Drain => models::NodeSpecAvailabilityEnum::DRAIN,
            });
        }
        if !self.labels.is_empty() {
            let labels = spec.labels.get_or_insert_default();
            labels.extend(self.labels.iter().map(|(k, v)| (k.clone(), v.clone())));
        }
        if let Some(labels) = &mut spec.labels {
            labels.retain(|label, _| !self.unlabel.contains(label));
        }
    }
}

fn version_of(version: Option<models::ObjectVersion>) -> Result<i64, DockerError> {
    version
        .and_then(|version| version.index)
        .and_then(|index| i64::try_from(index).ok())
        .ok_or_else(|| DockerError::Unreadable("it has no version index".to_owned()))
}

fn of_bollard(error: bollard::errors::Error, deadline: Duration) -> DockerError {
    use bollard::errors::Error;
    match error {
        Error::DockerResponseServerError {
            status_code,
            message,
        } => DockerError::of_answer(status_code, &message),
        Error::RequestTimeoutError => DockerError::NoAnswer(deadline),
        Error::IOError { .. } | Error::HyperResponseError { .. } => {
            DockerError::Lost(error.to_string())
        }
        other => DockerError::Unreadable(other.to_string()),
    }
}

async fn within<T>(
    deadline: Duration,
    call: impl Future<Output = Result<T, DockerError>>,
) -> Result<T, DockerError> {
    tokio::time::timeout(deadline, call)
        .await
        .unwrap_or(Err(DockerError::NoAnswer(deadline)))
}
