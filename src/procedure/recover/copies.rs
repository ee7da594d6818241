//! Copies of what the managers know that live, before any of them forgets it.

use std::collections::BTreeSet;

use crate::plan::{ChangeId, Condition, Plan, Step};
use crate::swarm::Gathered;

use super::change;
use super::diagnose::Diagnosis;

/// How long an engine may take to answer after the copy, in seconds. One without quorum waits 20 s for
/// its swarm before it does.
const ENGINE_SECONDS: u32 = 240;

/// Adds a change for each manager that lives, which keeps a copy of its state on its own host.
pub(super) fn keep(
    plan: &mut Plan,
    gathered: &Gathered,
    found: &Diagnosis<'_>,
) -> BTreeSet<ChangeId> {
    let mut kept = BTreeSet::new();
    for it in &found.living {
        let (host, id) = (&it.host.name, &it.local.node_id);
        let facts = gathered.get(host).and_then(|facts| facts.as_ref().ok());
        let engine = facts.and_then(|facts| facts.engine.value());
        let root = engine.map(|engine| engine.data_root.as_str());
        let root = root
            .filter(|root| !root.is_empty())
            .unwrap_or("/var/lib/docker");
        let copy = change(
            host,
            "swarm.copy",
            &format!(
                "keep a copy of what it knows in {root}/swarm-DATE-{id}; the engine is stopped meanwhile, and its containers with it"
            ),
            Vec::new(),
            vec![
                Step::CopySwarmState { id: id.clone() },
                Step::Wait {
                    condition: Condition::Engine,
                    deadline: ENGINE_SECONDS,
                },
            ],
        );
        kept.insert(copy.id.clone());
        plan.changes.push(copy);
    }
    kept
}
