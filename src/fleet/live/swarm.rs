//! Calls of Docker's API that change membership. Each may be repeated: it first looks whether it
//! was done before.

use std::time::Duration;

use secrecy::SecretString;
use tokio::time::{Instant, sleep};

use crate::docker::{Docker, DockerError, NodeChange, Rotation, SwarmChange, SwarmInit, SwarmJoin};
use crate::facts::{LocalSwarm, Node};
use crate::fleet::{Fault, FaultKind};
use crate::inventory::Role;
use crate::known::Known;
use crate::plan::DockerCall;
use crate::quorum::{demotion, majority, may_add};
use crate::swarm::raft;

use super::{Live, recover};

/// The port of managers; Docker's own and fixed.
const MANAGER_PORT: u16 = 2377;

/// New join tokens for all.
const TOKENS: Rotation = Rotation {
    worker_token: true,
    manager_token: true,
    unlock_key: false,
};

/// How often a join is begun that the engine gives up, and the pause before it is begun again: an
/// election is over in a few seconds.
const JOIN_TRIES: u32 = 3;
const BETWEEN_JOINS: Duration = Duration::from_secs(5);

/// How long a join that goes on in the engine is looked at here. The step that waits for membership
/// comes after that.
const JOIN_GOES_ON: Duration = Duration::from_mins(1);

/// Carries out `call` on `host`.
#[expect(clippy::too_many_lines, reason = "a few lines for each call")]
pub(super) async fn call(
    live: &Live,
    host: &str,
    call: &DockerCall,
    output: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), Fault> {
    let docker = live.remote(host)?.docker();
    match call {
        DockerCall::Ingress { mtu } => docker.remake_ingress(*mtu).await.map_err(|error| {
            fault(&error).hint("What publishes ports keeps the network as it is. Run the command again when nothing does.")
        }),
        DockerCall::SwarmInit {
            advertise,
            data_path,
            default_addr_pool,
            subnet_size,
            data_path_port,
            autolock,
            cert_expiry_days,
            task_history,
        } => {
            let init = SwarmInit {
                advertise: advertise.clone(),
                data_path: data_path.clone(),
                default_addr_pool: default_addr_pool.clone(),
                subnet_size: *subnet_size,
                data_path_port: *data_path_port,
                settings: SwarmChange {
                    autolock: Some(*autolock),
                    cert_expiry_days: *cert_expiry_days,
                    task_history: *task_history,
                },
            };
            init_once(&docker, &init).await
        }
        DockerCall::SwarmJoin {
            role,
            advertise,
            data_path,
            managers,
            cluster_id,
        } => {
            let manager = healthy(live, managers, cluster_id.as_deref()).await?;
            if is_joined(&docker, &manager).await? {
                return Ok(());
            }
            let join = SwarmJoin {
                advertise: advertise.clone(),
                data_path: data_path.clone(),
                remotes: remotes(&manager),
                token: token(&manager, *role).await?,
            };
            join_and_settle(&docker, &join).await
        }
        DockerCall::NodeUpdate {
            managers,
            id,
            role,
            availability,
            labels,
            unlabel,
        } => {
            let change = NodeChange {
                role: *role,
                availability: *availability,
                labels: labels.clone(),
                unlabel: unlabel.clone(),
            };
            let id = match id {
                Some(id) => id.clone(),
                None => node_id(&docker).await?,
            };
            update(&settled(live, managers).await?, &id, &change).await
        }
        DockerCall::Drain {
            managers,
            id,
            deadline,
            downtime,
        } => {
            let how = super::drain::How {
                managers,
                deadline: Duration::from_secs(u64::from(*deadline)),
                downtime: *downtime,
            };
            super::drain::drain(live, host, id.as_deref(), how, output).await
        }
        DockerCall::SwarmLeave { id, force } => leave(&docker, id, *force).await,
        DockerCall::SwarmFence { id } => recover::fence(&docker, id).await,
        DockerCall::SwarmForce {
            id,
            advertise,
            data_path,
            autolock,
        } => recover::force(&docker, id, advertise, data_path.as_deref(), *autolock).await,
        DockerCall::RotateTokens => {
            let made = docker.rotate(TOKENS).await;
            made.map_err(|error| fault(&error))
        }
        DockerCall::NodeRemove {
            managers,
            id,
            alive,
        } => remove(live, managers, id, *alive).await,
        DockerCall::Rebalance { services, deadline } => {
            let deadline = Duration::from_secs(u64::from(*deadline));
            super::rebalance::rebalance(&docker, services, deadline, output).await
        }
        DockerCall::Unlock { managers } => unlock(live, &docker, managers).await,
        DockerCall::SwarmUpdate {
            autolock,
            cert_expiry_days,
            task_history,
        } => {
            let change = SwarmChange {
                autolock: *autolock,
                cert_expiry_days: *cert_expiry_days,
                task_history: *task_history,
            };
            let changed = docker.swarm_update(&change).await;
            changed.map(drop).map_err(|error| fault(&error))
        }
    }
}

/// Changes the node `id`; never where that could cost the quorum.
async fn update(manager: &Manager, id: &str, change: &NodeChange) -> Result<(), Fault> {
    let manages = |node: &Node| node.id == id && node.role == Role::Manager;
    match change.role {
        Some(Role::Manager) if !manager.nodes.iter().any(manages) => {
            is_ready(manager, id)?;
            bears_one_more(manager)?;
        }
        Some(Role::Worker) => bears_one_less(manager, id)?,
        _ => {}
    }
    if change.role == Some(Role::Worker) && came_back(manager, id) {
        let again = NodeChange {
            role: Some(Role::Manager),
            ..NodeChange::default()
        };
        let changed = manager.docker.node_update(id, &again).await;
        changed.map_err(|error| fault(&error))?;
    }
    let changed = manager.docker.node_update(id, change).await;
    changed.map(drop).map_err(|error| fault(&error))
}

/// Whether a worker is a member of raft that nobody reaches: it was demoted, and joined again with its
/// manager's certificate before it had another. The managers take a member out only when its role changes
/// (`roleManager` in swarmkit), so that its role has to change once more.
fn came_back(manager: &Manager, id: &str) -> bool {
    let node = manager.nodes.iter().find(|node| node.id == id);
    node.is_some_and(|node| {
        let lost = node.manager.as_ref().is_some_and(|raft| !raft.reachable);
        node.role == Role::Worker && lost
    })
}

/// Unlocks the engine, unless it is not locked (any more).
async fn unlock(live: &Live, docker: &Docker, managers: &[String]) -> Result<(), Fault> {
    let locked = match docker.swarm_local().await.map_err(|error| fault(&error))? {
        Known::Value(local) => local.state == "locked",
        _ => false,
    };
    if !locked {
        return Ok(());
    }
    if let Some(key) = live.unlock_key.get() {
        return docker.unlock(key).await.map_err(|error| fault(&error));
    }
    let manager = healthy(live, managers, None).await?;
    let key = manager
        .docker
        .unlock_key()
        .await
        .map_err(|error| fault(&error))?;
    let Some(key) = key else {
        let why = format!(
            "`{}` has no unlock key: the swarm is not locked any more",
            manager.name
        );
        return Err(Fault::new(FaultKind::Failed, why));
    };
    docker.unlock(&key).await.map_err(|error| fault(&error))
}

/// Joins, and begins again when the engine gives the join up, as it does when the managers elect a
/// leader just then. The host was seen outside of any swarm right before, and an engine that has
/// given up has no NodeID: the leave that clears its failed attempt leaves no swarm.
async fn join_and_settle(docker: &Docker, join: &SwarmJoin) -> Result<(), Fault> {
    let mut tries = JOIN_TRIES;
    loop {
        match docker.join(join).await {
            Ok(()) => return Ok(()),
            Err(DockerError::JoinPending) => {}
            // The engine forgets a join that failed at once; the caller begins it again.
            Err(error) => return Err(fault(&error)),
        }
        let Some(error) = given_up(docker).await? else {
            return Ok(());
        };
        docker.leave(false).await.map_err(|error| fault(&error))?;
        tries -= 1;
        if tries == 0 {
            let why = format!("the engine gave up joining {JOIN_TRIES} times: {error}");
            return Err(Fault::new(FaultKind::Failed, why)
                .hint("Check that the managers are reachable from the host on port 2377."));
        }
        sleep(BETWEEN_JOINS).await;
    }
}

/// Looks at a join that goes on in the engine: the engine's error when it has given up, `None` when
/// it has joined or still tries; what waits for membership tells the end of that.
async fn given_up(docker: &Docker) -> Result<Option<String>, Fault> {
    let until = Instant::now() + JOIN_GOES_ON;
    while Instant::now() < until {
        let known = docker.swarm_local().await;
        match known.map_err(|error| fault(&error))? {
            Known::Value(local) if local.state == "pending" => {}
            Known::Value(local) if local.state == "error" && local.node_id.is_empty() => {
                return Ok(Some(local.error));
            }
            _ => return Ok(None),
        }
        sleep(Duration::from_secs(1)).await;
    }
    Ok(None)
}

async fn init_once(docker: &Docker, init: &SwarmInit) -> Result<(), Fault> {
    match docker.swarm_local().await.map_err(|error| fault(&error))? {
        Known::Absent => {
            let made = docker.init(init).await;
            made.map(drop).map_err(|error| fault(&error))
        }
        // A repetition after a lost answer: the swarm is there, this host its only node.
        Known::Value(local) if local.control && local.managers == 1 && local.nodes <= 1 => Ok(()),
        Known::Value(local) => Err(Fault::new(
            FaultKind::Refused,
            format!(
                "the host is in a swarm meanwhile, as node {}",
                local.node_id
            ),
        )
        .hint("Run the command again: it plans from what is there now.")),
        other => Err(unknown(&other)),
    }
}

/// Refuses another manager where an earlier one has not come up: the plan was made when all was
/// well, and each addition that gets stuck costs a vote.
fn bears_one_more(manager: &Manager) -> Result<(), Fault> {
    let (total, reachable) = raft(&manager.nodes);
    if may_add(total, reachable) {
        return Ok(());
    }
    let why = format!(
        "managers {total}, reachable {reachable}, majority {}: another manager makes the majority {}",
        majority(total),
        majority(total + 1)
    );
    Err(Fault::new(FaultKind::Refused, why)
        .hint("Bring the lost manager back, or take it out of raft first."))
}

/// Refuses to promote a node that the managers do not hear from.
fn is_ready(manager: &Manager, id: &str) -> Result<(), Fault> {
    let node = manager.nodes.iter().find(|node| node.id == id);
    let state = node.map_or("not listed", |node| node.state.as_str());
    if state == "ready" {
        return Ok(());
    }
    let why = format!("the managers say that the node is {state}: it cannot be a manager");
    Err(Fault::new(FaultKind::Refused, why))
}

/// Refuses a demotion after which those that are left and reachable are no majority.
fn bears_one_less(manager: &Manager, id: &str) -> Result<(), Fault> {
    let raft = |node: &Node| node.manager.clone().filter(|_| node.id == id);
    let Some(leaving) = manager.nodes.iter().find_map(raft) else {
        return Ok(());
    };
    let (total, reachable) = self::raft(&manager.nodes);
    match demotion(id, total, reachable, leaving.reachable) {
        None => Ok(()),
        Some(why) => Err(Fault::new(FaultKind::Refused, why)
            .hint("Bring a lost manager back, or add another one first.")),
    }
}

/// Leaves the swarm as the node `id`; without `force` not as a manager.
async fn leave(docker: &Docker, id: &str, force: bool) -> Result<(), Fault> {
    match docker.swarm_local().await.map_err(|error| fault(&error))? {
        Known::Absent => Ok(()),
        Known::Value(local) if local.node_id == id && local.control && !force => Err(Fault::new(
            FaultKind::Refused,
            "the host says that it is still a manager",
        )),
        Known::Value(local) if local.node_id == id => {
            docker.leave(force).await.map_err(|error| fault(&error))
        }
        Known::Value(local) => Err(Fault::new(
            FaultKind::Refused,
            format!("the host is node {} meanwhile, not {id}", local.node_id),
        )),
        other => Err(unknown(&other)),
    }
}

/// Takes a node off the list; never one in raft, whose vote would stay, and one that the managers
/// still hear from only when that is meant.
async fn remove(live: &Live, managers: &[String], id: &str, alive: bool) -> Result<(), Fault> {
    let manager = settled(live, managers).await?;
    let Some(node) = manager.nodes.iter().find(|node| node.id == id) else {
        return Ok(());
    };
    if node.manager.is_some() {
        let why = format!("node {id} is still in raft");
        return Err(Fault::new(FaultKind::Refused, why).hint("Demote it first."));
    }
    if node.state != "down" && !alive {
        let why = format!("node {id} is {}, not down", node.state);
        return Err(Fault::new(FaultKind::Refused, why));
    }
    let removed = manager.docker.node_remove(id, true).await;
    removed.map_err(|error| fault(&error))
}

/// Whether the engine is in the manager's swarm; one that is in another is refused.
async fn is_joined(docker: &Docker, manager: &Manager) -> Result<bool, Fault> {
    match docker.swarm_local().await.map_err(|error| fault(&error))? {
        Known::Absent => Ok(false),
        // A join that goes on from an earlier try has no NodeID yet.
        Known::Value(local) if local.state == "pending" => Ok(true),
        // One that was given up: no swarm is left by clearing it.
        Known::Value(local) if local.state == "error" && local.node_id.is_empty() => {
            docker.leave(false).await.map_err(|error| fault(&error))?;
            Ok(false)
        }
        Known::Value(local) if manager.nodes.iter().any(|node| node.id == local.node_id) => {
            Ok(true)
        }
        Known::Value(local) => Err(Fault::new(
            FaultKind::Refused,
            format!("the host is node {} of another swarm", local.node_id),
        )
        .hint("skep never leaves a swarm that it does not manage.")),
        other => Err(unknown(&other)),
    }
}

/// A manager with quorum.
pub(super) struct Manager {
    pub(super) name: String,
    pub(super) docker: Docker,
    pub(super) local: LocalSwarm,
    pub(super) nodes: Vec<Node>,
}

/// The first of `managers` that has quorum.
pub(super) async fn healthy(
    live: &Live,
    managers: &[String],
    cluster_id: Option<&str>,
) -> Result<Manager, Fault> {
    let mut said = Vec::new();
    for name in managers {
        match ask(live, name, cluster_id).await {
            Ok(manager) => return Ok(manager),
            Err(fault) => said.push(format!("{name}: {}", fault.message)),
        }
    }
    Err(Fault::new(
        FaultKind::NoQuorum,
        format!("no manager with quorum answers ({})", said.join("; ")),
    ))
}

/// A manager with quorum whose leader has heard from its nodes.
pub(super) async fn settled(live: &Live, managers: &[String]) -> Result<Manager, Fault> {
    let manager = healthy(live, managers, None).await?;
    let nodes = unheard(&manager.nodes);
    if nodes.is_empty() {
        return Ok(manager);
    }
    Err(Fault::new(
        FaultKind::NoQuorum,
        format!("the new leader has not heard from {} yet", nodes.join(", ")),
    ))
}

/// The nodes of which a leader that was just elected knows nothing: all are `unknown` until they
/// report to it, and `down` when they have not within half a minute (swarmkit's dispatcher). Until
/// then nobody can tell where tasks could run or which node is dead.
fn unheard(nodes: &[Node]) -> Vec<&str> {
    let unknown = nodes.iter().filter(|node| node.state == "unknown");
    unknown.map(|node| node.hostname.as_str()).collect()
}

async fn ask(live: &Live, name: &str, cluster_id: Option<&str>) -> Result<Manager, Fault> {
    let docker = live.remote(name)?.docker();
    let known = docker.swarm_local().await.map_err(|error| fault(&error))?;
    let failed = |why: &str| Fault::new(FaultKind::Failed, why.to_owned());
    let Known::Value(local) = known else {
        return Err(failed("it is in no swarm"));
    };
    if !local.has_quorum() {
        let why = if local.error.is_empty() {
            "it has no quorum"
        } else {
            local.error.as_str()
        };
        return Err(failed(why));
    }
    if cluster_id.is_some() && local.cluster_id.as_deref() != cluster_id {
        return Err(failed("it manages another swarm"));
    }
    let nodes = docker.nodes().await.map_err(|error| fault(&error))?;
    Ok(Manager {
        name: name.to_owned(),
        docker,
        local,
        nodes,
    })
}

/// The addresses to join at: the leader first, for a manager that is none sends the request on to it,
/// and may for some time not reach one that was just elected; then the manager that gave the token,
/// then the others.
fn remotes(manager: &Manager) -> Vec<String> {
    let at = |address: &str| {
        if address.contains(':') {
            format!("[{address}]:{MANAGER_PORT}")
        } else {
            format!("{address}:{MANAGER_PORT}")
        }
    };
    let leads = |node: &&Node| node.manager.as_ref().is_some_and(|raft| raft.leader);
    let reachable = |node: &&Node| node.manager.as_ref().is_some_and(|raft| raft.reachable);
    let nodes = &manager.nodes;
    let all = (nodes.iter().filter(leads).map(|node| &node.address))
        .chain([&manager.local.node_addr])
        .chain(nodes.iter().filter(reachable).map(|node| &node.address));
    let mut remotes = Vec::new();
    for address in all {
        // A leader's address can read 0.0.0.0.
        if address != "0.0.0.0" && !remotes.contains(&at(address)) {
            remotes.push(at(address));
        }
    }
    remotes
}

/// What a host joins with; none where the managers could not bear another one.
async fn token(manager: &Manager, role: Role) -> Result<SecretString, Fault> {
    if role == Role::Manager {
        bears_one_more(manager)?;
    }
    let tokens = manager.docker.join_tokens().await;
    let tokens = tokens.map_err(|error| fault(&error))?;
    Ok(tokens.of(role).clone())
}

/// The host's own NodeID.
pub(super) async fn node_id(docker: &Docker) -> Result<String, Fault> {
    match docker.swarm_local().await.map_err(|error| fault(&error))? {
        Known::Value(local) if !local.node_id.is_empty() => Ok(local.node_id),
        Known::Value(_) | Known::Absent => {
            Err(Fault::new(FaultKind::Failed, "the host is in no swarm"))
        }
        other => Err(unknown(&other)),
    }
}

pub(super) fn unknown<T>(known: &Known<T>) -> Fault {
    let why = known.why_unknown().unwrap_or("it did not tell");
    Fault::new(
        FaultKind::Failed,
        format!("whether the host is in a swarm is not known: {why}"),
    )
}

/// What an error of the engine means to a run.
pub(super) fn fault(error: &DockerError) -> Fault {
    let kind = match error {
        DockerError::Lost(_) => FaultKind::Lost,
        DockerError::NoAnswer(_) => FaultKind::TimedOut,
        DockerError::NoQuorum { .. } => FaultKind::NoQuorum,
        _ => FaultKind::Failed,
    };
    let fault = Fault::new(kind, error.to_string());
    match error {
        DockerError::Locked => fault.hint("Unlock it with `docker swarm unlock` on the host."),
        DockerError::NoQuorum { .. } => {
            fault.hint("Bring the other managers back; `skep status` shows who is missing.")
        }
        DockerError::Refused(_) => fault.hint("Look at `systemctl status docker` on the host."),
        _ => fault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::live::rebalance::tests::node;
    use crate::inventory::Availability;

    /// Right after an election the rows of all nodes read `unknown`, that of the new leader too.
    #[test]
    fn a_new_leader_has_to_hear_from_its_nodes_first() {
        let mut nodes = [
            node("m1", Availability::Active),
            node("w1", Availability::Active),
        ];
        assert_eq!(unheard(&nodes), [""; 0]);
        nodes[0].state = "unknown".to_owned();
        assert_eq!(unheard(&nodes), ["m1"]);
        nodes[0].state = "down".to_owned();
        assert_eq!(unheard(&nodes), [""; 0]);
    }
}
