//! `skep plan`: what would change.

use std::fs::{OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;

use crate::error::{Error, Kind, Result};
use crate::inventory::Provider;
use crate::plan::saved::Saved;
use crate::plan::{Change, Outlook, Plan, Step};
use crate::procedure::Procedure;
use crate::provider::lab::{Lab, LabState};
use crate::ui::follow::Format;
use crate::ui::{Printer, diff, plan as show, text};

use super::cluster::{Cluster, Emit, Follow};
use super::up::cloud::plan_servers;
use super::{Global, block_on, wipe};

/// The arguments of `skep plan`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  skep plan
  skep plan --on 'workers & !w3' -v
  skep plan --out today.plan && skep up today.plan

With --exit-code the exit code is 3 when there is something to change.")]
pub struct PlanArgs {
    /// Plan for these hosts only: names, globs, `managers`, `workers`, `@label=value`, `!host`
    #[arg(long, value_name = "SELECTOR")]
    pub on: Option<String>,

    /// Show what `up --prune` would take out of the swarm
    #[arg(long, conflicts_with = "out")]
    pub prune: bool,

    /// Save the plan to this file, for `skep up FILE`
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,

    /// Show what would be done if this one device may be erased
    #[arg(long, value_name = "HOST:DEVICE", conflicts_with = "out")]
    pub wipe: Option<String>,

    /// End with exit code 3 when there is something to change
    #[arg(long)]
    pub exit_code: bool,

    /// Print the plan as JSON
    #[arg(long)]
    pub json: bool,
}

/// Shows what `up` would change.
///
/// # Errors
///
/// When a host did not answer, or a guard refuses; and as `--exit-code` asks.
pub fn run(args: &PlanArgs, global: &Global, printer: &Printer) -> Result<()> {
    block_on(async {
        let mut cluster = Cluster::open(global, args.on.as_deref(), printer).await?;
        wipe::allow(&mut cluster.inventory, args.wipe.as_deref())?;
        let mut follow = Follow::new(printer, Format::Human, None);
        let plan = follow
            .during(async |it: &Emit| plan_all(&cluster, args.prune, it).await)
            .await??;
        if args.json {
            printer.json(&plan)?;
        } else {
            let verbose = printer.level() >= crate::ui::Level::Verbose;
            printer.data(&show::render(&plan, verbose, &diff::hide_passwords))?;
        }
        if let Some(path) = &args.out {
            not_of_the_cloud(&plan)?;
            save(path, &plan, &cluster)?;
            printer.say(format!("saved as `{}`", path.display()));
        }
        ending(&plan, "up", args.exit_code)
    })
}

/// The plan, with the hosts of a lab that are still to be made: there is nothing to ask them.
async fn plan_all(cluster: &Cluster, prune: bool, emit: &Emit) -> Result<Plan> {
    let procedure = Procedure::Up { prune };
    let mut missing = match &cluster.lab {
        Some(lab) => missing(cluster, lab).await?,
        None => Vec::new(),
    };
    let of_cloud = plan_servers(cluster).await?.map(|(plan, _)| plan);
    let of_cloud = of_cloud.unwrap_or_default();
    missing.extend(no_servers(cluster));
    if missing.is_empty() {
        let plan = cluster.plan(&procedure, &|event| emit.emit(event)).await.1;
        return Ok(together(of_cloud, plan));
    }
    let there = cluster
        .inventory
        .hosts
        .iter()
        .filter(|host| !missing.contains(&host.name));
    let gathered =
        crate::gather::gather(cluster.live.as_ref(), there, &[], &|event| emit.emit(event)).await;
    // A swarm is not planned while some of its hosts are not there to be asked.
    let selected = cluster
        .selected
        .iter()
        .filter(|host| gathered.contains_key(*host));
    let mut plan = crate::plan::build(&cluster.inventory, &gathered, &selected.cloned().collect());
    for host in missing
        .into_iter()
        .filter(|host| cluster.selected.contains(host))
    {
        plan.hosts.insert(host, Outlook::Make);
    }
    Ok(together(of_cloud, plan))
}

/// The hosts whose servers are not there, or not so far that they have an address.
fn no_servers(cluster: &Cluster) -> impl Iterator<Item = String> {
    let hosts = cluster.inventory.hosts.iter();
    let missing = hosts.filter(|it| it.provider == Provider::OpenStack && it.address.is_none());
    missing.map(|host| host.name.clone())
}

/// What is made in the cloud, and then what the hosts need.
fn together(of_cloud: Plan, mut plan: Plan) -> Plan {
    for (host, outlook) in of_cloud.hosts {
        if outlook != Outlook::Same {
            plan.hosts.insert(host, outlook);
        }
    }
    plan.changes.splice(0..0, of_cloud.changes);
    plan.warnings.splice(0..0, of_cloud.warnings);
    plan.refusals.splice(0..0, of_cloud.refusals);
    plan
}

/// The hosts of the lab that do not run, or are not there at all.
async fn missing(cluster: &Cluster, lab: &Lab) -> Result<Vec<String>> {
    let there = lab.reflect().await?;
    let runs = |name: &str| {
        let found = there.iter().find(|host| host.name == name);
        found.is_some_and(|host| matches!(host.state, LabState::Running | LabState::Cut))
    };
    let hosts = cluster.inventory.hosts.iter();
    let missing = hosts.filter(|host| host.provider == Provider::Lab && !runs(&host.name));
    Ok(missing.map(|host| host.name.clone()).collect())
}

/// Servers are made before their hosts can be asked, so no file can hold the plan of both.
fn not_of_the_cloud(plan: &Plan) -> Result<()> {
    let mut steps = plan.changes.iter().flat_map(Change::acts);
    if !steps.any(|step| matches!(step, Step::Cloud(_))) {
        return Ok(());
    }
    let error = Error::refused("a plan with changes in the cloud cannot be saved");
    Err(error.hint(
        "`skep up` makes them, and asks before it does; what is planned after that can be saved.",
    ))
}

fn save(path: &Path, plan: &Plan, cluster: &Cluster) -> Result<()> {
    let cannot = |error: std::io::Error| {
        Error::failed(format!("cannot write `{}`", path.display())).because(error)
    };
    let saved = Saved::new(plan.clone(), cluster.selected.clone(), Timestamp::now());
    let text = saved.to_text().map_err(|error| cannot(error.into()))?;
    // A daemon.json can name a proxy with a password in its address.
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(cannot)?;
    // The mode above is that of a new file only.
    file.set_permissions(Permissions::from_mode(0o600))
        .map_err(cannot)?;
    file.write_all(text.as_bytes()).map_err(cannot)
}

/// How a verb ends that only shows what `verb` would do.
pub(super) fn ending(plan: &Plan, verb: &str, exit_code: bool) -> Result<()> {
    if !plan.refusals.is_empty() {
        let reasons = text::count(plan.refusals.len(), "reason");
        return Err(Error::refused(format!(
            "`skep {verb}` would refuse for {reasons}"
        )));
    }
    let unknown = plan.unknown().count();
    if unknown > 0 {
        let hosts = text::count(unknown, "host");
        return Err(Error::failed(format!("{hosts} could not be planned for")));
    }
    if exit_code && !plan.is_empty() {
        return Err(Error::new(Kind::Changes, "there is something to change"));
    }
    Ok(())
}
