//! What the swarm holds is written down here whenever all is well, so that after a disaster it can be
//! told whether it is still there. Names alone: what they stand for never leaves the managers.

use jiff::Timestamp;

use crate::error::Result;
use crate::fleet::live::contents;
use crate::procedure::Procedure;
use crate::swarm::{Contents, Held};
use crate::ui::{Printer, text};

use super::cluster::Cluster;

/// Looks at what the swarm holds now, tells what is missing after it was brought back, and writes it
/// down. That nobody can tell is a failure of no run: then only nothing is compared.
pub(super) async fn look(cluster: &Cluster, procedure: &Procedure, printer: &Printer) {
    let Some(state) = cluster.state() else { return };
    let Ok(Some(seen)) = state.last_seen() else {
        return;
    };
    let before = match procedure {
        Procedure::Recover(_) => state.held().ok().flatten(),
        Procedure::Restore(restore) => Some(Held {
            cluster_id: restore.manifest.cluster_id.clone(),
            at: restore.manifest.taken,
            contents: restore.manifest.contents.clone(),
        }),
        _ => None,
    };
    let was_lost = matches!(procedure, Procedure::Recover(_) | Procedure::Restore(_));
    let now = match names(cluster).await {
        Ok(names) => names,
        Err(error) => {
            tracing::debug!(%error, "what the swarm holds is not known");
            if was_lost {
                printer.warn(format!(
                    "whether all services, secrets and configs are there could not be told: {error}"
                ));
            }
            return;
        }
    };
    if was_lost {
        let before = before.filter(|it| it.cluster_id == seen.cluster_id);
        compare(before.as_ref(), &now, printer);
    }
    let held = Held {
        cluster_id: seen.cluster_id,
        at: Timestamp::now(),
        contents: now,
    };
    if let Err(error) = state.remember_held(&held) {
        tracing::warn!(%error, "what the swarm holds cannot be remembered");
    }
}

async fn names(cluster: &Cluster) -> Result<Contents> {
    let manager = cluster.live.healthy_manager(&cluster.managers()).await?;
    let all = contents(&cluster.live.remote(&manager)?.docker()).await?;
    Ok(Contents {
        nodes: Vec::new(),
        ..all
    })
}

fn compare(before: Option<&Held>, now: &Contents, printer: &Printer) {
    let Some(before) = before else {
        printer.say("what the swarm held before is not written down here, so nothing was compared");
        return;
    };
    let at = before.at.strftime("%Y-%m-%d %H:%M UTC");
    let known = Contents {
        nodes: Vec::new(),
        ..before.contents.clone()
    };
    let missing = known.beyond(now);
    for it in &missing {
        printer.warn(format!("{it} was there on {at}, and is not any more"));
    }
    if missing.is_empty() {
        printer.say(format!(
            "what was there on {at} is there: {}, {}, {}",
            text::count(known.services.len(), "service"),
            text::count(known.secrets.len(), "secret"),
            text::count(known.configs.len(), "config"),
        ));
    }
}
