//! Placing the tasks of services anew.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::docker::{Docker, ServiceTasks};
use crate::facts::Node;
use crate::fleet::{Fault, FaultKind};
use crate::inventory::Availability;

use super::swarm::fault;

/// The pause between two looks at the tasks.
const PAUSE: Duration = Duration::from_secs(1);

/// Places the tasks of the replicated services among `names` anew, or of all, one service after the
/// other; those that are even already are left alone. Each may take `deadline`.
pub(super) async fn rebalance(
    docker: &Docker,
    names: &[String],
    deadline: Duration,
    output: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), Fault> {
    let services = docker.services().await.map_err(|error| fault(&error))?;
    let missing: Vec<&str> = names
        .iter()
        .filter(|name| !services.values().any(|service| service.name == **name))
        .map(String::as_str)
        .collect();
    if !missing.is_empty() {
        let why = format!("there is no service {}", missing.join(", "));
        return Err(Fault::new(FaultKind::Refused, why).hint("`docker service ls` shows them."));
    }
    let nodes = docker.nodes().await.map_err(|error| fault(&error))?;
    for (id, service) in &services {
        let name = &service.name;
        if !names.is_empty() && !names.contains(name) {
            continue;
        }
        if is_even(service, &nodes) {
            output(&format!("{name}: even, left as it is"));
            continue;
        }
        output(&format!("{name}: placing its tasks anew"));
        docker.redeploy(id).await.map_err(|error| fault(&error))?;
        settled(docker, id, deadline).await?;
    }
    Ok(())
}

/// Whether no node that takes tasks runs two fewer of it than another. A service that runs on each
/// node is even, and so is one with no tasks.
fn is_even(service: &ServiceTasks, nodes: &[Node]) -> bool {
    if service.replicas.is_none() {
        return true;
    }
    let takes = |node: &&Node| node.state == "ready" && node.availability == Availability::Active;
    let counts = nodes
        .iter()
        .filter(takes)
        .map(|node| service.running.get(&node.id).copied().unwrap_or_default());
    let (least, most) = counts.fold((usize::MAX, 0), |(least, most), count| {
        (least.min(count), most.max(count))
    });
    most < 2 || most - least < 2
}

async fn settled(docker: &Docker, id: &str, deadline: Duration) -> Result<(), Fault> {
    let until = Instant::now() + deadline;
    loop {
        sleep(PAUSE).await;
        let services = docker.services().await.map_err(|error| fault(&error))?;
        let Some(service) = services.get(id) else {
            return Ok(());
        };
        let (total, wanted) = (service.total(), service.replicas.unwrap_or_default());
        if total >= wanted && !service.updating {
            return Ok(());
        }
        if Instant::now() >= until {
            let name = &service.name;
            let why = format!(
                "{name} runs {total} of {wanted} tasks after {} s",
                deadline.as_secs()
            );
            return Err(Fault::new(FaultKind::TimedOut, why)
                .hint(format!("Look at `docker service ps {name}`.")));
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::inventory::Role;

    pub(in crate::fleet::live) fn node(id: &str, availability: Availability) -> Node {
        Node {
            id: id.to_owned(),
            hostname: id.to_owned(),
            role: Role::Worker,
            availability,
            state: "ready".to_owned(),
            address: String::new(),
            engine: String::new(),
            labels: BTreeMap::new(),
            manager: None,
        }
    }

    #[test]
    fn a_service_is_uneven_where_a_node_runs_two_fewer_than_another() {
        let nodes = [
            node("a", Availability::Active),
            node("b", Availability::Active),
            node("c", Availability::Drain),
        ];
        let service = |a, b| ServiceTasks {
            replicas: Some(a + b),
            running: BTreeMap::from([("a".to_owned(), a), ("b".to_owned(), b)]),
            ..ServiceTasks::default()
        };
        assert!(is_even(&service(1, 0), &nodes));
        assert!(is_even(&service(2, 1), &nodes));
        assert!(!is_even(&service(2, 0), &nodes));
        let everywhere = ServiceTasks {
            replicas: None,
            ..service(2, 0)
        };
        assert!(is_even(&everywhere, &nodes));
    }
}
