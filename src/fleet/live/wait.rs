//! Waiting until something is so, by asking; what was last seen is in the message when it is not.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::facts::Node;
use crate::fleet::{Fault, FaultKind};
use crate::inventory::Role;
use crate::known::Known;
use crate::plan::Condition;
use crate::quorum::{majority, may_spare};
use crate::swarm::raft;

use super::Live;
use super::swarm::{fault, node_id, settled};

/// The pauses between questions: quick at first, for what is a matter of a second, then patient.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(200),
    Duration::from_millis(300),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// After how long of waiting it is said what is waited for.
const SAY: Duration = Duration::from_secs(10);

/// The same for a machine that boots, which takes minutes.
const SAY_LOGIN: Duration = Duration::from_secs(30);

/// Prints `manager` where the node's certificate is that of one: the role stands in its subject.
const CERTIFICATE: &str = "\
root=$(docker info --format '{{.DockerRootDir}}' 2>/dev/null)
file=${root:-/var/lib/docker}/swarm/certificates/swarm-node.crt
sed '/^-----END/,$d; /^-----/d' \"$file\" | base64 -d | grep -aqF swarm-manager && echo manager
true
";

/// How long that may take.
const CERTIFICATE_ANSWER: Duration = Duration::from_secs(20);

/// Waits on `host` for `condition`, at most `deadline`.
pub(super) async fn until(
    live: &Live,
    host: &str,
    condition: &Condition,
    deadline: Duration,
    output: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), Fault> {
    let began = Instant::now();
    if *condition == Condition::Login {
        let waiting = live.remote(host)?.wait_for_login(deadline);
        tokio::pin!(waiting);
        loop {
            tokio::select! {
                seen = &mut waiting => return seen,
                () = sleep(SAY_LOGIN) => {
                    let (now, whole) = (began.elapsed().as_secs(), deadline.as_secs());
                    output(&format!("waiting: no login yet, after {now} of {whole} s"));
                }
            }
        }
    }
    let mut pauses = PAUSES.iter().copied();
    let mut said = began;
    loop {
        // A question that is not answered is asked again: the engine may just be starting.
        let seen = match look(live, host, condition).await {
            Ok(None) => return Ok(()),
            Ok(Some(seen)) => seen,
            Err(fault) if fault.kind == FaultKind::Refused => return Err(fault),
            Err(fault) => fault.message,
        };
        if began.elapsed() >= deadline {
            let message = format!("not so after {} s: {seen}", deadline.as_secs());
            return Err(Fault::new(FaultKind::TimedOut, message));
        }
        if said.elapsed() >= SAY {
            output(&format!("waiting: {seen}"));
            said = Instant::now();
        }
        sleep(pauses.next().unwrap_or(PAUSES[PAUSES.len() - 1])).await;
    }
}

/// `None` when it is so, else what is seen instead.
async fn look(live: &Live, host: &str, condition: &Condition) -> Result<Option<String>, Fault> {
    let docker = live.remote(host)?.docker();
    match condition {
        Condition::Login => Ok(None),
        Condition::Engine => {
            let version = docker.version().await;
            version.map(|_| None).map_err(|error| fault(&error))
        }
        Condition::Member { role, managers } => {
            let local = match docker.swarm_local().await.map_err(|error| fault(&error))? {
                Known::Value(local) => local,
                Known::Absent => return Ok(Some("the host is in no swarm".to_owned())),
                other => {
                    let why = other.why_unknown().unwrap_or("no answer");
                    return Ok(Some(why.to_owned()));
                }
            };
            if local.state == "locked" {
                return Err(Fault::new(FaultKind::Refused, "the host's swarm state is locked")
                    .hint("Unlock it with `docker swarm unlock` on the host, then run the command again."));
            }
            // Of a node that was just promoted the engine tries again by itself, more and more slowly:
            // for a moment it may ask a manager that is none any more. One that gave up a join does
            // not, and that comes out at the deadline.
            if local.state == "error" && local.node_id.is_empty() {
                let error = &local.error;
                return Ok(Some(format!("the engine cannot take its place: {error}")));
            }
            if local.state != "active" {
                let error = if local.error.is_empty() {
                    String::new()
                } else {
                    format!(": {}", local.error)
                };
                return Ok(Some(format!(
                    "the host says that it is {}{error}",
                    local.state
                )));
            }
            if local.control != (*role == Role::Manager) {
                let is = if local.control {
                    "a manager"
                } else {
                    "no manager"
                };
                return Ok(Some(format!("the host says that it is {is}")));
            }
            let manager = settled(live, managers).await?;
            let Some(node) = manager.nodes.iter().find(|node| node.id == local.node_id) else {
                return Ok(Some("the managers do not list it yet".to_owned()));
            };
            if node.state != "ready" {
                return Ok(Some(format!("the managers say that it is {}", node.state)));
            }
            let reachable = node.manager.as_ref().map(|raft| raft.reachable);
            Ok(match (role, reachable) {
                (Role::Manager, None) => Some("it is not in raft yet".to_owned()),
                (Role::Manager, Some(false)) => {
                    Some("the other managers do not reach it".to_owned())
                }
                (Role::Worker | Role::None, Some(_)) => Some("it is still in raft".to_owned()),
                (Role::Worker | Role::None, None) => may_manage(live, host).await?,
                (Role::Manager, Some(true)) => None,
            })
        }
        Condition::Spared { managers } => {
            let id = node_id(&docker).await?;
            let manager = settled(live, managers).await?;
            let (total, reachable) = raft(&manager.nodes);
            let counts = |node: &Node| {
                node.id == id && node.manager.as_ref().is_some_and(|raft| raft.reachable)
            };
            let well = !manager.nodes.iter().any(counts) || may_spare(total, reachable);
            Ok((!well).then(|| {
                let majority = majority(total);
                format!("managers {total}, reachable {reachable}, majority {majority}")
            }))
        }
        Condition::OutOfRaft { managers, id } => {
            let manager = settled(live, managers).await?;
            let listed = manager.nodes.iter().find(|node| node.id == *id);
            if listed.is_some_and(|node| node.manager.is_some()) {
                return Ok(Some("it is still in raft".to_owned()));
            }
            // The managers let go first; a node that leaves before it knows of it is refused.
            match docker.swarm_local().await.map_err(|error| fault(&error))? {
                Known::Value(local) if local.node_id == *id && local.control => {
                    Ok(Some("the host says that it is still a manager".to_owned()))
                }
                _ => Ok(None),
            }
        }
        Condition::InRaft { managers, id } => in_raft(live, managers, id).await.map(|()| None),
        Condition::Gone { managers, id } => {
            let manager = settled(live, managers).await?;
            let listed = manager.nodes.iter().find(|node| node.id == *id);
            let listed = listed.filter(|node| node.state != "down");
            Ok(listed.map(|node| format!("the managers say that it is {}", node.state)))
        }
    }
}

/// Refuses where a node that was being demoted is out of raft: it is not what the plan was made for.
async fn in_raft(live: &Live, managers: &[String], id: &str) -> Result<(), Fault> {
    let manager = settled(live, managers).await?;
    let listed = manager.nodes.iter().find(|node| node.id == id);
    if listed.is_some_and(|node| node.manager.is_some()) {
        return Ok(());
    }
    let fault = Fault::new(FaultKind::Refused, "its demotion has ended meanwhile");
    Err(fault.hint("Run the command again: it plans from what is there now."))
}

/// Says of a worker that it still has a manager's certificate. One that cannot get another in time, because
/// the managers lose their leader just then, joins raft again with the one that it has: a member more,
/// that nobody asked for.
async fn may_manage(live: &Live, host: &str) -> Result<Option<String>, Fault> {
    let said = live
        .script_on(host, CERTIFICATE, CERTIFICATE_ANSWER)
        .await?;
    Ok(said.contains("manager").then(|| {
        "the host waits for the certificate of a worker, and has that of a manager".to_owned()
    }))
}
