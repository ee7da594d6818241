//! `skep destroy`: takes away what was made on a cloud.

use clap::Args;

use crate::error::{Error, Result};
use crate::guard;
use crate::inventory::Provider;
use crate::openstack::Survey;
use crate::plan::{Plan, cloud};
use crate::procedure::Procedure;
use crate::shell;
use crate::swarm::Swarm;
use crate::ui::{Printer, prompt, text};

use super::cluster::Cluster;
use super::load::load;
use super::work::{Work, WorkArgs};
use super::{Global, block_on, reset, servers};

/// The arguments of `skep destroy`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
What carries the cluster's mark is removed, and nothing else: servers, ports, floating IPs,
security groups, server groups, the keypair. Volumes stay, unless --volumes is given; images stay.
What is on the servers is lost.

The cluster's name must be typed, or given with --confirm; --yes is no answer. For one server it is
one, unless no manager tells that the swarm does not have it.

Examples:
  skep destroy
  skep destroy --volumes --confirm hive
  skep destroy --server w3")]
pub struct DestroyArgs {
    /// Remove the volumes too, with all that is on them
    #[arg(long, conflicts_with = "server")]
    pub volumes: bool,

    /// Remove only this server, which is no host of the inventory any more
    #[arg(long, value_name = "NAME")]
    pub server: Option<String>,

    /// The cluster's name, to go ahead without being asked for it
    #[arg(long, value_name = "NAME")]
    pub confirm: Option<String>,

    /// What all verbs that change something take.
    #[command(flatten)]
    pub work: WorkArgs,
}

/// Removes what carries the cluster's mark.
///
/// # Errors
///
/// Another name, a cloud that does not answer, something that was not removed.
pub fn run(args: &DestroyArgs, global: &Global, printer: &Printer) -> Result<()> {
    block_on(async {
        let inventory = load(global, printer)?;
        if inventory.openstack.is_none() {
            let error = Error::usage("no host of this inventory is a server of a cloud");
            return Err(error.hint("`skep lab down` ends a lab; `skep reset` takes a swarm apart."));
        }
        let cluster = Cluster::open_with(inventory, None, printer).await?;
        // The lock of this machine comes before the question what there is: a run that makes servers
        // is over by then. The managers' own lock goes with the managers.
        let procedure = Procedure::Reset;
        let mut work = Work::begin(cluster, procedure, "destroy", &args.work, printer)?;
        work.audit.named(told(args));
        work.started().await?;
        let result = look_and_remove(&mut work, args).await;
        work.finished(&result).await?;
        result
    })
}

async fn look_and_remove(work: &mut Work<'_>, args: &DestroyArgs) -> Result<()> {
    let survey = see(&work.cluster).await?;
    let name = work.cluster.inventory.cluster.clone();
    let plan = match &args.server {
        Some(server) => one(work, args, &survey, server).await?,
        None => cloud::destroy(&name, &survey, args.volumes),
    };
    if plan.changes.is_empty() {
        work.printer.say(format!(
            "nothing of `{name}` is in the cloud that would be removed"
        ));
        return tell(&left(&name, &survey, args), work.printer);
    }
    remove(work, args, &plan, &survey).await
}

/// Removes the servers of `hosts`, which have left the swarm, with their ports and floating IPs. Their
/// volumes stay.
pub(super) async fn remove_servers(work: &mut Work<'_>, hosts: &[String]) -> Result<()> {
    let inventory = &work.cluster.inventory;
    let is_server = |name: &&String| {
        let host = inventory.host(name);
        host.is_some_and(|host| host.provider == Provider::OpenStack)
    };
    let hosts: Vec<&String> = hosts.iter().filter(is_server).collect();
    if hosts.is_empty() {
        return Ok(());
    }
    let survey = see(&work.cluster).await?;
    let mut plan = Plan {
        cluster: inventory.cluster.clone(),
        ..Plan::default()
    };
    for host in hosts {
        plan.changes
            .extend(cloud::gone(&plan.cluster, &survey, host).changes);
    }
    take_away(work, plan, &survey).await
}

/// Removes the servers that no host of the inventory stands for, after their nodes have left the swarm.
/// Their volumes stay. Of a server that is a node still, or may be, it is said why it stays.
pub(super) async fn prune_servers(work: &mut Work<'_>) -> Result<()> {
    if work.cluster.cloud.is_none() {
        return Ok(());
    }
    let survey = see(&work.cluster).await?;
    let inventory = &work.cluster.inventory;
    if cloud::prune(inventory, &survey, &Swarm::None).is_empty() {
        return Ok(());
    }
    let (gathered, _) = work.cluster.plan(&work.procedure, &|_| {}).await;
    let swarm = Swarm::see(inventory, &gathered);
    let plan = cloud::prune(inventory, &survey, &swarm);
    if plan.changes.is_empty() {
        for warning in &plan.warnings {
            work.printer.warn(warning);
        }
        return Ok(());
    }
    take_away(work, plan, &survey).await
}

/// Shows what goes in the cloud, asks, and removes it.
async fn take_away(work: &mut Work<'_>, mut plan: Plan, survey: &Survey) -> Result<()> {
    plan.refusals = guard::cloud::check(&plan, survey, true);
    if plan.changes.is_empty() {
        return Ok(());
    }
    work.show(&plan);
    if !plan.refusals.is_empty() {
        return Err(Error::refused("refused; the servers stay"));
    }
    let changes = text::count(plan.changes.len(), "change");
    if !prompt::confirm(&format!("Make {changes} in the cloud?"), work.args.yes)? {
        work.printer
            .warn("the servers stay: `skep destroy --server NAME` removes one");
        return Ok(());
    }
    work.go_on()?;
    work.execute(&plan, None).await?;
    work.follow.report.result()
}

async fn see(cluster: &Cluster) -> Result<Survey> {
    match &cluster.cloud {
        Some(cloud) => servers::look(cloud).await,
        None => Ok(Survey::default()),
    }
}

/// A server that no host of the inventory stands for, and that the swarm does not have. Where nobody
/// tells whether it does, the cluster's name must be given: it may be a manager.
async fn one(work: &Work<'_>, args: &DestroyArgs, survey: &Survey, server: &str) -> Result<Plan> {
    let cluster = &work.cluster;
    if cluster.inventory.host(server).is_some() {
        let error = Error::refused(format!("`{server}` is a host of the inventory"));
        return Err(error.hint(format!(
            "`skep node remove {server}` takes it out of the swarm, and then its server away."
        )));
    }
    let plan = cloud::gone(&cluster.inventory.cluster, survey, server);
    if plan.changes.is_empty() {
        let names: Vec<&str> = survey.servers.iter().map(|it| it.name.as_str()).collect();
        let error = Error::usage(format!("the cluster has no server `{server}`"));
        return Err(error.hint(format!("It has {}.", names.join(", "))));
    }
    let (gathered, _) = cluster.plan(&Procedure::UP, &|_| {}).await;
    let swarm = Swarm::see(&cluster.inventory, &gathered);
    let mut servers = survey.servers.iter().filter(|it| it.name == server);
    let why = servers.find_map(|it| cloud::holds(it, survey, &swarm));
    match why {
        Some(why) if matches!(swarm, Swarm::Up(_)) => Err(Error::refused(format!(
            "`{server}` cannot be removed: {why}"
        ))
        .hint("`skep up --prune` takes it out of the swarm first, and then away.")),
        Some(why) => {
            let help = "To go on, type the cluster's name";
            let question = format!("Remove the server `{server}` although {why}?");
            reset::confirm_name(&plan.cluster, args.confirm.as_deref(), &question, help)?;
            Ok(plan)
        }
        None => Ok(plan),
    }
}

async fn remove(
    work: &mut Work<'_>,
    args: &DestroyArgs,
    plan: &Plan,
    survey: &Survey,
) -> Result<()> {
    let mut plan = plan.clone();
    plan.refusals = guard::cloud::check(&plan, survey, true);
    work.show(&plan);
    if !plan.refusals.is_empty() {
        let reasons = text::count(plan.refusals.len(), "reason");
        return Err(Error::refused(format!(
            "refused for {reasons}; nothing was removed"
        )));
    }
    confirm(args, &plan, survey)?;
    work.go_on()?;
    work.execute(&plan, None).await?;
    if !work.args.json {
        let report = work.follow.report.render();
        work.printer.say(format!("\n{report}"));
    }
    let ended = work.follow.report.result();
    let survey = see(&work.cluster).await?;
    if args.server.is_none() {
        tell(&left(&plan.cluster, &survey, args), work.printer)?;
        if survey.servers.is_empty() {
            work.cluster.forget();
        }
    }
    ended
}

fn confirm(args: &DestroyArgs, plan: &Plan, survey: &Survey) -> Result<()> {
    if let Some(server) = &args.server {
        let question = format!("Remove the server `{server}` with all that is on it?");
        let named = args.confirm.as_ref() == Some(&plan.cluster);
        if prompt::confirm(&question, args.work.yes || named)? {
            return Ok(());
        }
        return Err(Error::refused("not confirmed; nothing was removed"));
    }
    let servers = text::count(survey.servers.len(), "server");
    let question = format!(
        "Remove {servers} of `{}`, and what belongs to them?",
        plan.cluster
    );
    let help = "What is on them is lost. To go on, type the cluster's name";
    reset::confirm_name(&plan.cluster, args.confirm.as_deref(), &question, help)
}

/// What is meant to stay, and what is left that should not be.
fn left(cluster: &str, survey: &Survey, args: &DestroyArgs) -> (Vec<String>, Vec<String>) {
    let mut others = survey.clone();
    let kept = if args.volumes {
        Survey::default()
    } else {
        Survey {
            volumes: std::mem::take(&mut others.volumes),
            ..Survey::default()
        }
    };
    let mut kept = cloud::left(&kept);
    kept.extend(cloud::images(cluster, survey));
    (kept, cloud::left(&others))
}

fn tell((kept, others): &(Vec<String>, Vec<String>), printer: &Printer) -> Result<()> {
    for line in kept {
        printer.say(format!("kept: {line}"));
    }
    if !kept.is_empty() {
        printer.hint("`skep destroy --volumes` removes volumes, `skep image delete` images.");
    }
    if others.is_empty() {
        printer.say("nothing else of the cluster is left in the cloud");
        return Ok(());
    }
    for line in others {
        printer.warn(format!("left: {line}"));
    }
    Err(Error::failed(format!(
        "{} left in the cloud",
        text::count(others.len(), "thing")
    ))
    .hint("Run the command again; what it cannot remove, the cloud's own tools tell why."))
}

/// The command as the audit tells it.
fn told(args: &DestroyArgs) -> String {
    let mut words = vec!["destroy"];
    if args.volumes {
        words.push("--volumes");
    }
    if let Some(server) = &args.server {
        words.extend(["--server", server]);
    }
    shell::join(words)
}
