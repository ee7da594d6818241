//! What a recovery asks of managers without quorum. Each looks again, right before, whether there is
//! really none: a vote that is taken from a swarm which came back is lost to it.

use crate::docker::Docker;
use crate::facts::LocalSwarm;
use crate::fleet::{Fault, FaultKind};
use crate::known::Known;

use super::swarm::{fault, unknown};

/// Makes a manager without quorum forget its swarm.
pub(super) async fn fence(docker: &Docker, id: &str) -> Result<(), Fault> {
    match docker.swarm_local().await.map_err(|error| fault(&error))? {
        Known::Absent => Ok(()),
        Known::Value(local) if local.node_id == id && local.control && !local.has_quorum() => {
            docker.leave(true).await.map_err(|error| fault(&error))
        }
        Known::Value(local) => Err(not_lost(&local, id)),
        other => Err(unknown(&other)),
    }
}

/// Makes a manager without quorum the only one of its swarm.
pub(super) async fn force(
    docker: &Docker,
    id: &str,
    advertise: &str,
    data_path: Option<&str>,
    autolock: bool,
) -> Result<(), Fault> {
    if !is_without_quorum(docker, id).await? {
        return Ok(());
    }
    let forced = docker.force_new_cluster(advertise, data_path, autolock);
    forced.await.map_err(|error| fault(&error))
}

/// Whether the host is the manager `id` and has lost its quorum; `false` where it was made the only
/// manager already.
async fn is_without_quorum(docker: &Docker, id: &str) -> Result<bool, Fault> {
    match docker.swarm_local().await.map_err(|error| fault(&error))? {
        Known::Value(local) if local.node_id == id && local.control && !local.has_quorum() => {
            Ok(true)
        }
        // A repetition after a lost answer.
        Known::Value(local) if local.node_id == id && local.control && local.managers == 1 => {
            Ok(false)
        }
        Known::Value(local) => Err(not_lost(&local, id)),
        Known::Absent => Err(Fault::new(FaultKind::Refused, "the host is in no swarm")),
        other => Err(unknown(&other)),
    }
}

fn not_lost(local: &LocalSwarm, id: &str) -> Fault {
    let why = if local.node_id != id {
        format!("the host is node {} meanwhile, not {id}", local.node_id)
    } else if !local.control {
        "the host says that it is no manager".to_owned()
    } else {
        format!("it has quorum again, with {} managers", local.managers)
    };
    Fault::new(FaultKind::Refused, why)
        .hint("Run the command again: it plans from what is there now.")
}
