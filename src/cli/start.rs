//! `skep start`: the way back after a shutdown or an outage.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;

use crate::error::{Error, Result};
use crate::facts::Probe;
use crate::fleet::live::RemoteLock;
use crate::gather::gather;
use crate::inventory::SecretRef;
use crate::playbook::Verb;
use crate::procedure::start::newest_mark;
use crate::procedure::{Procedure, StartProcedure, Wanted};
use crate::record::{self, MARK, Record};
use crate::secret;
use crate::state::State;
use crate::swarm::Gathered;
use crate::ui::{Printer, prompt};

use super::book;
use super::cluster::Cluster;
use super::load::load as load_inventory;
use super::power::{keep_passwords, time};
use super::status;
use super::work::{Next, Work, WorkArgs};
use super::{Global, block_on};

/// How many rounds there are at most: the hosts, what they were, and one more for each where something
/// came up late.
const ROUNDS: usize = 4;

/// The arguments of `skep start`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
First the hosts: switched on where there is a way (`power` in the inventory), else it is said whose button
to press, and waited for; the one that was switched off last comes first. Then what `skep shutdown`
recorded: managers one at a time, labels, availability, and the services, a registry before those whose
images come from it. After an outage there is no record, and only the hosts are brought back.

It goes by your own `playbooks/start.toml` beside the inventory, else by skep's.

What was recorded is carried out once. Run it again to go on after a failure.

Examples:
  skep start
  skep start --wait 10m --without w7
  skep start --unlock-key-file /media/usb/hive.key")]
pub struct StartArgs {
    /// How long each host may take to come back, then its storage, then the quorum
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = time)]
    pub wait: u32,

    /// A host that stays away; may be repeated
    #[arg(long, value_name = "HOST")]
    pub without: Vec<String>,

    /// The file with the swarm's unlock key, where managers are locked after a restart
    #[arg(long, value_name = "FILE")]
    pub unlock_key_file: Option<PathBuf>,

    /// The record of the shutdown, in place of the one here or on the last manager
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,

    /// Put the record aside, and leave everything as it is now
    #[arg(long)]
    pub forget: bool,

    /// Print the playbook that it goes by: your own `playbooks/start.toml`, else skep's
    #[arg(long, conflicts_with_all = ["forget", "yes"])]
    pub playbook: bool,

    /// What all verbs that change something take.
    #[command(flatten)]
    pub work: WorkArgs,
}

/// Brings the cluster back.
///
/// # Errors
///
/// A usage error, a refusal, a host or service that did not come back.
pub fn run(args: &StartArgs, global: &Global, printer: &Printer) -> Result<()> {
    if args.playbook {
        return book::print(Verb::Start, &global.inventory_path(), printer);
    }
    block_on(async {
        let inventory = load_inventory(global, printer)?;
        let playbook = book::open(Verb::Start, &inventory, false, printer)?;
        let mut cluster = Cluster::open_with(inventory, None, printer).await?;
        let mut without = BTreeSet::new();
        for name in &args.without {
            let hosts = cluster.inventory.select(name)?;
            without.extend(hosts.into_iter().map(|host| host.name.clone()));
        }
        for host in &mut cluster.inventory.hosts {
            host.optional |= without.contains(&host.name);
        }
        let file = match &args.record {
            Some(file) => file.clone(),
            None => State::of(&cluster.inventory.cluster)?
                .directory()
                .join(record::FILE),
        };
        let record = load(&file, args.record.is_some())?;
        cluster.is_made().await?;
        keep_passwords(&cluster, &cluster.selected, printer).await?;
        if let Some(file) = &args.unlock_key_file {
            let reference = SecretRef::File(file.clone());
            let found = secret::resolve(&reference, "the unlock key", Arc::new(prompt::secret));
            let found = found
                .await
                .map_err(|error| Error::usage(error.to_string()))?;
            if let Some(warning) = found.warning {
                printer.warn(warning);
            }
            cluster.live.keep_unlock_key(found.secret);
        }
        let book = book::ready(playbook, &cluster, printer).await?;
        let mut start = StartProcedure {
            wanted: None,
            file,
            wait: args.wait,
            without,
            key: args.unlock_key_file.is_some(),
            forget: args.forget,
            begun: false,
            book,
        };
        if let Some(record) = record {
            adopt(&mut start, record, &cluster)?;
        }
        let procedure = Procedure::Start(Box::new(start));
        let mut work = Work::begin(cluster, procedure, "start", &args.work, printer)?;
        let result = bring_back(&mut work, args).await;
        work.finished(&result).await?;
        result
    })
}

fn load(file: &std::path::Path, named: bool) -> Result<Option<Record>> {
    let shown = file.display();
    let found = record::load(file).map_err(|error| {
        Error::usage(format!("cannot read the record `{shown}`")).because(error)
    })?;
    if found.is_none() && named {
        return Err(Error::usage(format!("there is no record `{shown}`")));
    }
    Ok(found)
}

/// Goes by this record from now on.
fn adopt(start: &mut StartProcedure, record: Record, cluster: &Cluster) -> Result<()> {
    let (of, name) = (&record.head.cluster, &cluster.inventory.cluster);
    if of != name {
        return Err(Error::usage(format!(
            "the record is of the cluster `{of}`, and this inventory is of `{name}`"
        )));
    }
    start.wanted = Some(Wanted::of(&record));
    cluster.live.keep_record(record);
    Ok(())
}

async fn bring_back(work: &mut Work<'_>, args: &StartArgs) -> Result<()> {
    work.started().await?;
    wake_lab(work).await?;
    for _ in 0..ROUNDS {
        // Those that are there now hold the lock: before, nobody may have.
        let lock = work.lock().await?;
        let result = one_round(work, args, &lock).await;
        let told = result.as_ref().map(|_| ()).map_err(clone);
        if matches!(result, Ok(Next::Again)) {
            lock.release().await;
        } else {
            work.let_go(lock, &told).await;
        }
        if result? == Next::Done {
            return health(work).await;
        }
    }
    Err(Error::failed("hosts go away again and again")
        .hint("`skep status` shows which; `skep start` again goes on from here."))
}

fn clone(error: &Error) -> Error {
    Error::new(error.kind(), error.to_string())
}

/// Where this machine itself was off, the engine of its lab is.
async fn wake_lab(work: &Work<'_>) -> Result<()> {
    let Some(lab) = &work.cluster.lab else {
        return Ok(());
    };
    let printer = work.printer;
    lab.prepare(&|line| printer.detail(format!("lab: {line}")))
        .await?;
    Ok(())
}

async fn one_round(work: &mut Work<'_>, args: &StartArgs, lock: &RemoteLock) -> Result<Next> {
    let gathered = ask(work).await;
    let start = start_of(&mut work.procedure)?;
    if args.record.is_none()
        && let Some(record) = newer(&work.cluster, start, &gathered, work.printer).await
    {
        adopt(start, record, &work.cluster)?;
    }
    warn_of_certificates(start, work.printer);
    if start.wants_key(&work.cluster.inventory, &gathered) && prompt::can_ask() {
        let key = tokio::task::spawn_blocking(|| prompt::secret("The swarm's unlock key"));
        let key = key
            .await
            .map_err(|error| Error::failed(error.to_string()))?;
        let key = key.map_err(|error| Error::usage(format!("no unlock key: {error}")))?;
        work.cluster.live.keep_unlock_key(key);
        start.key = true;
    }
    work.round(&[], lock).await
}

fn start_of(procedure: &mut Procedure) -> Result<&mut StartProcedure> {
    match procedure {
        Procedure::Start(start) => Ok(start),
        _ => Err(Error::failed("this is no start")),
    }
}

/// Asks the hosts for marks of a shutdown, and how their swarm is. Who gives no answer is told when they
/// are asked for the plan.
async fn ask(work: &Work<'_>) -> Gathered {
    let probes: Vec<Probe> = work.procedure.probes();
    let cluster = &work.cluster;
    let hosts = cluster.inventory.members();
    gather(cluster.live.as_ref(), hosts, &probes, &|_| {}).await
}

/// The record on a host that has a newer mark than what is known here.
async fn newer(
    cluster: &Cluster,
    start: &StartProcedure,
    gathered: &Gathered,
    printer: &Printer,
) -> Option<Record> {
    let (host, mark) = newest_mark(gathered)?;
    let known = start.wanted.as_ref().map(|wanted| wanted.head.made);
    if known.is_some_and(|made| made >= mark.head.made) {
        return None;
    }
    match cluster.live.fetch_record(host).await {
        Ok(Some(record)) => return Some(record),
        Ok(None) => printer.warn(format!("{host} has {MARK}, and no record beside it")),
        Err(fault) => printer.warn(fault.message),
    }
    None
}

/// Says when the nodes cannot trust each other any more.
fn warn_of_certificates(start: &StartProcedure, printer: &Printer) {
    let before = start
        .wanted
        .as_ref()
        .and_then(|wanted| wanted.head.back_before);
    if let Some(before) = before.filter(|before| !start.begun && *before < Timestamp::now()) {
        printer.warn(format!(
            "the first certificate of a node ended at {before}: such a node cannot come back by itself, and has to leave and to join again (`skep recover`, where it is a manager)"
        ));
    }
}

/// How the cluster is in the end.
async fn health(work: &Work<'_>) -> Result<()> {
    let report = status::look(&work.cluster, work.printer).await?;
    if !work.args.json {
        let verbose = work.printer.level() >= crate::ui::Level::Verbose;
        work.printer.say(format!("\n{}", report.render(verbose)));
    }
    let without = match &work.procedure {
        Procedure::Start(start) => &start.without,
        _ => return status::ending(&report),
    };
    let mut report = report;
    report.unreachable.retain(|it| !without.contains(&it.host));
    status::ending(&report)
}
