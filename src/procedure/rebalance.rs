//! Spreading tasks again: Docker leaves them where they are when a node comes back (moby#24103), and
//! places them anew only when a service is told to.

use std::collections::BTreeSet;

use crate::plan::{Change, ChangeId, DockerCall, Outlook, Plan, Risk, Step};
use crate::swarm::Swarm;

use super::node::no_swarm;

/// How long one service may take to place its tasks anew, in seconds.
const SERVICE_SECONDS: u32 = 600;

/// Adds the change to `plan`. Which services are uneven is found out when it runs: it is the leader
/// that knows where tasks are.
pub(super) fn plan(plan: &mut Plan, seen: &Swarm, services: &[String]) {
    let Swarm::Up(up) = seen else {
        plan.refusals.push(no_swarm(seen));
        return;
    };
    let Some(leader) = up.managers.first() else {
        return;
    };
    let which = if services.is_empty() {
        "all services that are uneven".to_owned()
    } else {
        services.join(", ")
    };
    plan.hosts.insert(leader.clone(), Outlook::Changes);
    plan.changes.push(Change {
        id: ChangeId::new(leader, "swarm.rebalance"),
        host: leader.clone(),
        resource: "swarm.rebalance".to_owned(),
        summary: format!("place the tasks of {which} anew, one service at a time"),
        diff: Vec::new(),
        steps: vec![Step::Docker(DockerCall::Rebalance {
            services: services.to_vec(),
            deadline: SERVICE_SECONDS,
        })],
        risk: Risk::Disruptive,
        lane: None,
        needs: BTreeSet::new(),
        follows: BTreeSet::new(),
    });
}
