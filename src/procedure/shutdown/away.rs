//! Folders of servers that do not answer, on hosts that are to be switched off.

use crate::inventory::Inventory;
use crate::known::Known;
use crate::nfs::{self, StaleServer};
use crate::plan::{Plan, Refusal};
use crate::swarm::Gathered;

use super::ShutdownProcedure;

/// Refuses to switch hosts off on which folders of a dead server are mounted, unless nothing may stop
/// it: what they have written and the server has not got is lost with their memory.
pub(super) fn check(
    plan: &mut Plan,
    inventory: &Inventory,
    gathered: &Gathered,
    shutdown: &ShutdownProcedure,
) {
    for mut server in nfs::stale(inventory, gathered) {
        keep_mounted(&mut server, gathered);
        if server.mounts.is_empty() {
            continue;
        }
        let why = format!(
            "{server}: what was written there and has not arrived is lost when these hosts go off"
        );
        if shutdown.tries() {
            plan.warnings.push(why);
            continue;
        }
        plan.refusals.push(Refusal {
            host: None,
            why,
            hint: format!(
                "Bring {} back first. In an emergency: `--emergency`, which detaches the folders.",
                server.server
            ),
        });
    }
}

/// Leaves out what is not mounted: an automount that was not touched has nothing to lose.
fn keep_mounted(server: &mut StaleServer, gathered: &Gathered) {
    server.mounts.retain(|host, targets| {
        let facts = gathered.get(host).and_then(|facts| facts.as_ref().ok());
        targets.retain(|target| {
            let told = facts.and_then(|facts| facts.mounts.get(target));
            told.and_then(Known::value)
                .is_some_and(|now| now.mounted.is_some())
        });
        !targets.is_empty()
    });
}
