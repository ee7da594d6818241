//! What heals a cluster after a drill, whatever the drill was: the network is mended, hosts are
//! started, a lost quorum is recovered, hosts that are gone are made anew, and then all is done that
//! `skep up` does.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use crate::cli::up::make_hosts;
use crate::cli::work::Work;
use crate::drill::fit;
use crate::drill::script::join;
use crate::error::{Error, Result};
use crate::fleet::live::RemoteLock;
use crate::fleet::live::drill::Probe;
use crate::plan::Plan;
use crate::procedure::{Procedure, RecoverProcedure};
use crate::provider::lab::{Lab, LabState};
use crate::swarm::{Swarm, Up};

use super::eyes::Eyes;
use super::interrupted;

/// How long is waited for managers that were started to find together, where nobody looks.
const FIND: Duration = Duration::from_mins(1);

/// How long nodes may take to be ready after that: a new leader gives those that were away a time of
/// grace.
const READY: Duration = Duration::from_secs(90);

/// How long hosts may take to say whether their network is cut.
const ASK: Duration = Duration::from_secs(15);

/// Notes what skep does, where somebody looks.
async fn did<T>(eyes: Option<&Eyes>, what: &str, work: impl Future<Output = T>) -> T {
    match eyes {
        Some(eyes) => eyes.did(what, work).await,
        None => work.await,
    }
}

pub(super) fn lab(work: &Work<'_>) -> Result<Arc<Lab>> {
    let lab = work.cluster.lab.clone();
    lab.ok_or_else(|| Error::failed("this inventory has no lab"))
}

/// Heals, and takes away what a drill may have left.
pub(super) async fn alone(work: &mut Work<'_>, lock: &RemoteLock) -> Result<()> {
    mend(work, lock, None).await?;
    start(work, None).await?;
    recover_and_up(work, lock, None).await?;
    let probe = Probe {
        managers: work.cluster.managers(),
        replicas: 0,
    };
    let hosts: Vec<String> = work
        .cluster
        .inventory
        .members()
        .map(|it| it.name.clone())
        .collect();
    probe.remove(&work.cluster.live, &hosts, 40).await?;
    let end = tokio::time::Instant::now() + READY;
    loop {
        let (gathered, plan) = work.cluster.plan(&Procedure::UP, &|_| {}).await;
        let why = fit::unhealthy(&work.cluster.inventory, &gathered, &plan);
        if why.is_empty() {
            work.printer
                .say("healed: all nodes are ready, and a second plan is empty");
            return Ok(());
        }
        if tokio::time::Instant::now() >= end {
            return Err(
                Error::failed(format!("not healed: {}", why.join("; "))).hint(
                    "Run `skep drill heal` again, or make the lab anew: `skep lab down`, `skep up`.",
                ),
            );
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(2)) => {}
            () = work.stop.soft.cancelled() => return Err(interrupted()),
        }
    }
}

/// Takes the cuts of the network away.
pub(super) async fn mend(
    work: &mut Work<'_>,
    lock: &RemoteLock,
    eyes: Option<&Eyes>,
) -> Result<()> {
    let running: Vec<String> = lab(work)?
        .reflect()
        .await?
        .into_iter()
        .filter(|host| host.state == LabState::Running)
        .map(|host| host.name)
        .collect();
    let live = work.cluster.live.clone();
    let asked = running.iter().map(|host| {
        let live = &live;
        async move {
            let cut = tokio::time::timeout(ASK, live.is_parted(host)).await;
            matches!(cut, Ok(Ok(true))).then_some(host)
        }
    });
    let cut: Vec<&String> = join_all(asked).await.into_iter().flatten().collect();
    if cut.is_empty() {
        return Ok(());
    }
    let plan = Plan {
        cluster: work.cluster.inventory.cluster.clone(),
        changes: cut.iter().map(|host| join(host)).collect(),
        ..Plan::default()
    };
    let hosts: Vec<&str> = cut.iter().map(|host| host.as_str()).collect();
    work.show(&plan);
    work.audit.began(&work.cluster.live, lock, &plan).await;
    let what = format!("mended the network of {}", hosts.join(", "));
    let ran = did(eyes, &what, work.execute(&plan, Some(lock))).await?;
    let done = ran.is_done();
    work.audit.ran(ran);
    if done {
        return Ok(());
    }
    work.go_on_with(interrupted)?;
    Err(Error::failed("the network was not mended").hint("`skep drill heal` tries it again."))
}

/// Starts the hosts that exist and do not run.
pub(super) async fn start(work: &mut Work<'_>, eyes: Option<&Eyes>) -> Result<()> {
    let there = lab(work)?.reflect().await?;
    let off = there.iter().filter(|host| host.state != LabState::Running);
    let off: Vec<&str> = off.map(|host| host.name.as_str()).collect();
    if off.is_empty() {
        return Ok(());
    }
    let what = format!("switched {} on", off.join(", "));
    let all = std::mem::take(&mut work.cluster.selected);
    work.cluster.selected = there.iter().map(|host| host.name.clone()).collect();
    let started = did(eyes, &what, make_hosts(work)).await;
    work.cluster.selected = all;
    started?;
    if eyes.is_none() {
        find_together(work).await?;
    }
    Ok(())
}

/// Waits until a manager takes orders; one that does not is told by what comes next.
async fn find_together(work: &Work<'_>) -> Result<()> {
    let managers = work.cluster.managers();
    let found = async {
        while work.cluster.live.healthy_manager(&managers).await.is_err() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        _in_time = tokio::time::timeout(FIND, found) => Ok(()),
        () = work.stop.soft.cancelled() => Err(interrupted()),
    }
}

/// Recovers a quorum that is lost for good, makes the hosts that are gone, and does what `skep up`
/// does. Gives the hosts that were made.
pub(super) async fn recover_and_up(
    work: &mut Work<'_>,
    lock: &RemoteLock,
    eyes: Option<&Eyes>,
) -> Result<Vec<String>> {
    let there: BTreeSet<String> = lab(work)?
        .reflect()
        .await?
        .into_iter()
        .map(|it| it.name)
        .collect();
    let lost = fit::lost_for_good(&work.cluster.inventory, &|name| there.contains(name));
    if !lost.is_empty() {
        let names = lost.iter().cloned().collect::<Vec<_>>();
        let what = format!(
            "recovered the swarm without {}, which are lost",
            names.join(", ")
        );
        work.procedure = Procedure::Recover(RecoverProcedure {
            lost,
            ..RecoverProcedure::default()
        });
        did(eyes, &what, work.rounds(&[], lock)).await?;
    }
    work.procedure = Procedure::UP;
    let gone: Vec<&str> = work
        .cluster
        .inventory
        .hosts
        .iter()
        .map(|it| it.name.as_str())
        .collect();
    let gone: Vec<&str> = gone
        .into_iter()
        .filter(|name| !there.contains(*name))
        .collect();
    let mut made = Vec::new();
    if !gone.is_empty() {
        let what = format!("made {} anew", gone.join(", "));
        made = did(eyes, &what, make_hosts(work)).await?;
    }
    did(eyes, "did what `skep up` does", work.rounds(&made, lock)).await?;
    // What a host was before it joined anew is on the managers' list still.
    if let Some(up) = up(work).await
        && fit::are_former_selves(&work.cluster.inventory, &up)
    {
        work.procedure = Procedure::Up { prune: true };
        let pruned = did(
            eyes,
            "took the former nodes off the list",
            work.rounds(&made, lock),
        )
        .await;
        work.procedure = Procedure::UP;
        pruned?;
    }
    Ok(made)
}

/// The swarm as it is; `None` where it has no quorum.
async fn up(work: &Work<'_>) -> Option<Up> {
    let (gathered, _) = work.cluster.plan(&Procedure::UP, &|_| {}).await;
    match Swarm::see(&work.cluster.inventory, &gathered) {
        Swarm::Up(up) => Some(up),
        _ => None,
    }
}
