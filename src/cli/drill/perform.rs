//! One drill after the other, from the look at a healthy cluster to the proof that it is healthy
//! again.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use crate::cli::work::Work;
use crate::drill::findings::{Ending, Record, by_itself, healed};
use crate::drill::script::{Scene, Script, Until, Wait};
use crate::drill::watch::Stage;
use crate::drill::{Drill, fit};
use crate::error::{Error, Kind, Result};
use crate::fleet::live::RemoteLock;
use crate::fleet::live::drill::{Probe, Way};
use crate::inventory::Role;
use crate::nfs;
use crate::procedure::Procedure;
use crate::swarm::{Swarm, Up};
use crate::ui::drill as show;

use super::eyes::Eyes;
use super::{heal, interrupted, none_yet, some, write};

/// How long the probe may take to run before a drill, and all to be well after it, in seconds.
const WELL: u32 = 120;

/// How long it is looked at the healthy cluster, so that the timeline shows how it was.
const BEFORE: Wait = Wait {
    until: Until::Time,
    seconds: 3,
};

/// How long hosts that were started may take to find together, in seconds: an engine that was killed
/// starts in about ten, and then there is an election.
const BACK: u32 = 90;

/// How long folders may take to answer when their server is back: a server that has just started lets no file
/// be opened for 90 s (`nfsv4gracetime` of nfsd(7)), and without KVM it boots for minutes.
const FOLDERS: Duration = Duration::from_mins(5);

/// How long the probe may take to be removed when the drills are over.
const REMOVE: Duration = Duration::from_secs(45);

/// What a drill needs to know of the cluster.
struct Field<'a> {
    hosts: Vec<String>,
    addresses: BTreeMap<String, Ipv4Addr>,
    way: Way,
    probe: Probe,
    lock: &'a RemoteLock,
}

/// Does all `drills`, and writes the report to `folder`, also of those that failed.
pub(super) async fn all(
    work: &mut Work<'_>,
    lock: &RemoteLock,
    drills: &[Drill],
    folder: &Path,
) -> Result<()> {
    let up = healthy(work).await?;
    let inventory = &work.cluster.inventory;
    let hosts: Vec<String> = inventory.members().map(|it| it.name.clone()).collect();
    let lab = heal::lab(work)?;
    let addresses: BTreeMap<String, Ipv4Addr> = lab
        .reflect()
        .await?
        .into_iter()
        .filter_map(|host| Some((host.name, host.address?)))
        .collect();
    let own: Vec<Ipv4Addr> = addresses.values().copied().collect();
    let far = fit::elsewhere(&up.nodes, &own);
    if !far.is_empty() {
        return Err(Error::refused(format!(
            "a drill breaks things, and this swarm is not the lab's alone: {}",
            some(&far)
        )));
    }
    let probe = Probe {
        managers: up.managers.clone(),
        replicas: hosts.len(),
    };
    let it = Field {
        way: if lab.is_vm() {
            Way::Inside
        } else {
            Way::Direct(addresses.clone())
        },
        hosts,
        addresses,
        probe,
        lock,
    };
    work.printer
        .say("bringing the probe: a small service to be lost");
    let mut report = none_yet(&work.cluster.inventory.cluster);
    let brought = it.probe.bring(&work.cluster.live, &it.hosts).await;
    let mut result = brought.map_err(Error::from);
    for drill in drills {
        if result.is_err() {
            break;
        }
        result = it.one(work, *drill, &mut report.records).await;
        if !report.records.is_empty()
            && let Err(error) = write(folder, &report)
        {
            // The next drill is not begun, but this one is told by what it said.
            result = result.and(Err(error));
        }
    }
    // In the middle of an election nobody takes the order.
    let remove = async {
        while it
            .probe
            .remove(&work.cluster.live, &it.hosts, 8)
            .await
            .is_err()
        {
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    };
    let removed = tokio::select! {
        removed = tokio::time::timeout(REMOVE, remove) => removed.is_ok(),
        () = work.stop.hard.cancelled() => false,
    };
    if !removed {
        work.printer
            .warn("the probe, service `skep-drill`, was not removed");
        work.printer.hint("`skep drill heal` removes it.");
    }
    if !report.records.is_empty() {
        let (md, html) = write(folder, &report)?;
        work.printer.notice(format!(
            "the report: `{}` and `{}`",
            html.display(),
            md.display()
        ));
    }
    result
}

/// Looks whether the cluster is healthy: it is practised on no other.
async fn healthy(work: &mut Work<'_>) -> Result<Up> {
    let cluster = &work.cluster;
    let planning = work.follow.during(async |it: &crate::cli::cluster::Emit| {
        cluster.plan(&Procedure::UP, &|event| it.emit(event)).await
    });
    let (gathered, plan) = tokio::select! {
        planned = planning => planned?,
        () = work.stop.soft.cancelled() => return Err(not_begun()),
    };
    let why = fit::unhealthy(&cluster.inventory, &gathered, &plan);
    match Swarm::see(&cluster.inventory, &gathered) {
        Swarm::Up(up) if why.is_empty() => Ok(up),
        _ => Err(
            Error::refused(format!("a drill is for a healthy cluster: {}", some(&why)))
                .hint("`skep drill heal` mends what a drill left, `skep status` tells more."),
        ),
    }
}

impl Field<'_> {
    /// One drill; its record is added whatever becomes of it, once the cluster was broken.
    async fn one(
        &self,
        work: &mut Work<'_>,
        drill: Drill,
        records: &mut Vec<Record>,
    ) -> Result<()> {
        let up = healthy(work).await?;
        let scene = self.scene(work, &up).await?;
        let script = Script::new(drill, &scene)
            .map_err(|why| Error::refused(format!("{drill} cannot be done here: {why}")))?;
        work.printer.say(format!("\n{drill}: {}", drill.what()));
        let lab = heal::lab(work)?;
        let inventory = &work.cluster.inventory;
        let eyes = Eyes::open(
            inventory,
            &lab,
            &up,
            (scene.managers.clone(), self.probe.replicas),
            self.way.clone(),
            (work.printer, work.args.json, Some(drill)),
        );
        let hosts = inventory.members().map(|it| (it.name.clone(), it.role));
        let mut record = Record {
            drill,
            began: Timestamp::now(),
            hosts: hosts.collect(),
            victims: script.victims.clone(),
            tasks: self.probe.replicas,
            events: Vec::new(),
            missed: Vec::new(),
            ending: Ending::Interrupted,
        };
        let well = Wait {
            until: Until::Well,
            seconds: WELL,
        };
        let came = eyes.until(&well, &work.stop).await;
        if !came.map_err(|_| not_begun())? {
            let why = eyes.unwell().join("; ");
            return Err(Error::refused(format!(
                "the cluster was not well before the drill: {why}"
            )));
        }
        // The probe may run elsewhere than a moment ago.
        let script = match self.scene(work, &up).await {
            Ok(scene) => Script::new(drill, &scene).unwrap_or(script),
            Err(_) => script,
        };
        record.victims.clone_from(&script.victims);
        eyes.restart();
        record.began = Timestamp::now();
        eyes.stage(Stage::Before);
        let looked = eyes.until(&BEFORE, &work.stop).await;
        looked.map_err(|_| not_begun())?;
        let result = self.broken(work, &script, &eyes, &mut record).await;
        // That nothing was changed is what a refusal says, and no more true.
        let result = result.map_err(|error| match error.kind() {
            Kind::Refused => Error::failed(format!("the cluster was not healed: {error}"))
                .hint("`skep drill heal` tries again."),
            _ => error,
        });
        if result.is_ok() {
            record.ending = Ending::Healed;
        } else if let Err(error) = &result {
            record.ending = match error.kind() {
                Kind::Interrupted => Ending::Interrupted,
                _ => Ending::Failed(error.to_string()),
            };
        }
        eyes.stage(Stage::Over);
        record.events = eyes.events();
        tell(work, &record);
        records.push(record);
        result
    }

    /// The drill from the failure to the proof.
    async fn broken(
        &self,
        work: &mut Work<'_>,
        script: &Script,
        eyes: &Eyes,
        record: &mut Record,
    ) -> Result<()> {
        work.show(&script.plan);
        work.audit
            .began(&work.cluster.live, self.lock, &script.plan)
            .await;
        eyes.listen_to(script.voices.clone());
        eyes.stage(Stage::Broken);
        let what = format!("{}: {}", script.victims.join(", "), failure(script));
        let ran = eyes
            .did(&what, work.execute(&script.plan, Some(self.lock)))
            .await?;
        let done = ran.is_done();
        work.audit.ran(ran);
        if !done {
            work.go_on_with(interrupted)?;
            let error = Error::failed("the failure could not be made whole");
            return Err(error.hint("`skep drill heal` mends what was made of it."));
        }
        for wait in &script.waits {
            if !eyes.until(wait, &work.stop).await? {
                let missed = format!("{} (for {} s)", wait.until, wait.seconds);
                work.printer.warn(format!("waited in vain until {missed}"));
                record.missed.push(missed);
            }
        }
        if script.drill == Drill::FileServer {
            let stale = eyes
                .did("asked the hosts for their folders", stale(work))
                .await;
            for server in stale {
                work.printer.say(&server);
                eyes.did(&format!("found {server}"), std::future::ready(()))
                    .await;
            }
        }
        eyes.stage(Stage::Healing);
        work.printer.say("healing it");
        heal::mend(work, self.lock, Some(eyes)).await?;
        heal::start(work, Some(eyes)).await?;
        if script.comes_back() {
            let back = Wait {
                until: Until::Well,
                seconds: BACK,
            };
            let came = eyes.did("waited until all was back", eyes.until(&back, &work.stop));
            // What does not come back by itself is what `up` is for.
            let _or_up = came.await?;
        }
        let made = heal::recover_and_up(work, self.lock, Some(eyes)).await?;
        // Hosts that are no nodes have no engine for it.
        let all = made.into_iter().chain(script.victims.iter().cloned());
        let new: Vec<String> = all.filter(|host| self.hosts.contains(host)).collect();
        self.probe.bring_image(&work.cluster.live, &new).await?;
        let well = Wait {
            until: Until::Well,
            seconds: WELL,
        };
        if !eyes.until(&well, &work.stop).await? {
            return Err(Error::failed(eyes.unwell().join("; ")));
        }
        if script.drill == Drill::FileServer {
            let answer = eyes.did("waited until the folders answered", folders(work));
            answer.await?;
        }
        eyes.stage(Stage::Proof);
        let (gathered, plan) = work.cluster.plan(&Procedure::UP, &|_| {}).await;
        let why = fit::unhealthy(&work.cluster.inventory, &gathered, &plan);
        if why.is_empty() {
            return Ok(());
        }
        Err(Error::failed(why.join("; ")))
    }

    /// The cluster as it is now.
    async fn scene(&self, work: &Work<'_>, up: &Up) -> Result<Scene> {
        let inventory = &work.cluster.inventory;
        let of = |role: Role| -> Vec<String> {
            let hosts = inventory.members().filter(|host| host.role == role);
            hosts.map(|host| host.name.clone()).collect()
        };
        let managers = of(Role::Manager);
        let manager = work.cluster.live.healthy_manager(&managers).await?;
        let docker = work.cluster.live.remote(&manager)?.docker();
        let nodes = docker
            .nodes()
            .await
            .map_err(|error| Error::failed(error.to_string()))?;
        let services = docker.services().await;
        let services = services.map_err(|error| Error::failed(error.to_string()))?;
        let id = |host: &String| up.node_of(host).map(|node| node.id.clone());
        let leads = |host: &&String| {
            nodes.iter().any(|node| {
                node.manager.as_ref().is_some_and(|it| it.leader)
                    && Some(&node.id) == id(host).as_ref()
            })
        };
        let leader = managers.iter().find(leads).cloned();
        let leader = leader.ok_or_else(|| Error::failed("no manager of the inventory leads"))?;
        let tasks = services.values().find(|it| it.name == Probe::SERVICE);
        let running = |host: &String| {
            let count = tasks.and_then(|it| it.running.get(&id(host)?)).copied();
            (host.clone(), count.unwrap_or_default())
        };
        Ok(Scene {
            cluster: inventory.cluster.clone(),
            workers: of(Role::Worker),
            others: inventory
                .hosts
                .iter()
                .filter(|host| host.role == Role::None)
                .map(|host| host.name.clone())
                .collect(),
            servers: nfs::servers_outside(inventory),
            managers,
            leader,
            addresses: self.addresses.clone(),
            tasks: self.hosts.iter().map(running).collect(),
        })
    }
}

/// The servers from which hosts get no answer, for people.
async fn stale(work: &Work<'_>) -> Vec<String> {
    let inventory = &work.cluster.inventory;
    let (gathered, _) = work.cluster.plan(&Procedure::UP, &|_| {}).await;
    let stale = nfs::stale(inventory, &gathered).into_iter();
    stale.map(|server| server.to_string()).collect()
}

/// Waits until every folder answers.
async fn folders(work: &Work<'_>) -> Result<()> {
    let end = tokio::time::Instant::now() + FOLDERS;
    loop {
        let stale = stale(work).await;
        if stale.is_empty() {
            return Ok(());
        }
        if tokio::time::Instant::now() >= end {
            return Err(Error::failed(stale.join("; ")));
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(2)) => {}
            () = work.stop.soft.cancelled() => return Err(interrupted()),
        }
    }
}

fn not_begun() -> Error {
    Error::new(
        Kind::Interrupted,
        "interrupted; this drill was not begun, nothing is broken by it",
    )
}

/// What was done to the victims, in a few words.
fn failure(script: &Script) -> &'static str {
    match script.drill {
        Drill::Split => "cut the network to the others",
        Drill::TwoManagers => "deleted the machines with their disks",
        Drill::Storage => "emptied the disk",
        Drill::OneManager
        | Drill::OneWorker
        | Drill::TwoWorkers
        | Drill::FileServer
        | Drill::PowerCut => "pulled the plug",
    }
}

/// Says what came of it.
fn tell(work: &Work<'_>, record: &Record) {
    if work.args.json {
        // Nobody reads it any more; the report is written.
        let _gone = work.printer.json_line(&serde_json::json!({
            "time": Timestamp::now(),
            "event": "drill-ended",
            "drill": record.drill,
            "ending": record.ending,
            "millis": record.length(),
            "missed": record.missed,
        }));
        return;
    }
    work.printer
        .say(show::summary(record, &by_itself(record), &healed(record)));
}
