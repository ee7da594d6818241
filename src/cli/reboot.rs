//! `skep reboot`.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;

use crate::error::{Error, Result};
use crate::facts::{Identity, Probe, Probes};
use crate::fleet::Fleet;
use crate::known::Known;
use crate::procedure::Procedure;
use crate::ui::Printer;

use super::cluster::Cluster;
use super::work::{Work, WorkArgs};
use super::{Global, block_on};

/// The arguments of `skep reboot`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
One host after the other: drained, rebooted, waited for, activated again. Workers come first, the
leader of the managers last. One that does not come back stops all that come after it.

Examples:
  skep reboot w3
  skep reboot workers --pause 60
  skep reboot all")]
pub struct RebootArgs {
    /// The hosts: names, globs, `managers`, `workers`, `all`, `@label=value`, `!host`
    #[arg(required = true, value_name = "HOST")]
    pub hosts: Vec<String>,

    /// How long to wait after each node
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub pause: u32,

    /// What all verbs that change something take.
    #[command(flatten)]
    pub work: WorkArgs,
}

/// Reboots hosts.
///
/// # Errors
///
/// A usage error, a refusal, a host that did not come back.
pub fn run(args: &RebootArgs, global: &Global, printer: &Printer) -> Result<()> {
    block_on(async {
        let mut cluster = Cluster::open(global, None, printer).await?;
        let mut selected = BTreeSet::new();
        for name in &args.hosts {
            let hosts = cluster.inventory.select(name)?;
            selected.extend(hosts.into_iter().map(|host| host.name.clone()));
        }
        cluster.selected = selected;
        cluster.is_made().await?;
        let known = identities(&cluster, &cluster.selected).await;
        refuse_this_machine(&known)?;
        let before = known
            .into_iter()
            .map(|(host, identity)| (host, identity.boot_id))
            .collect();
        let pause = args.pause;
        let procedure = Procedure::Reboot { before, pause };
        let mut work = Work::begin(cluster, procedure, "reboot", &args.work, printer)?;
        work.run().await
    })
}

/// Who the hosts are, and which boot they run, before anything is done. Those that do not answer are
/// told of when they are asked for the plan.
pub(super) async fn identities(
    cluster: &Cluster,
    hosts: &BTreeSet<String>,
) -> BTreeMap<String, Identity> {
    let probes = Probes::from([Probe::Identity]);
    let asked = hosts.iter().map(|host| async {
        let facts = cluster.live.gather(host, &probes).await.ok()?;
        match facts.identity {
            Known::Value(identity) => Some((host.clone(), identity)),
            _ => None,
        }
    });
    let answers = futures::future::join_all(asked).await;
    answers.into_iter().flatten().collect()
}

/// The machine that skep runs on would take skep with it, and nobody would activate it again.
pub(super) fn refuse_this_machine(known: &BTreeMap<String, Identity>) -> Result<()> {
    let Ok(own) = std::fs::read_to_string("/etc/machine-id") else {
        return Ok(());
    };
    let own = own.trim();
    let this = known
        .iter()
        .find(|(_, identity)| !own.is_empty() && identity.machine_id == own);
    match this {
        None => Ok(()),
        Some((host, _)) => Err(Error::refused(format!(
            "`{host}` is the machine that skep runs on, and would take skep with it"
        ))
        .hint("Leave it out, and reboot it from another machine.")),
    }
}
