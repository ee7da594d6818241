//! The part of `up` that makes servers on a cloud, before there is anything to plan for.

use std::collections::BTreeSet;

use crate::error::{Error, Kind, Result};
use crate::guard;
use crate::inventory::OpenStack;
use crate::openstack::Survey;
use crate::plan::{Change, ChangeId, CloudCall, Condition, Diff, Lane, Plan, Risk, Step, cloud};
use crate::ui::working::Working;
use crate::ui::{prompt, text};

use super::super::cluster::Cluster;
use super::super::servers;
use super::Work;

/// Makes the servers that are not there, after asking, and gives their names.
pub(in crate::cli) async fn make_servers(work: &mut Work<'_>) -> Result<Vec<String>> {
    if work.cluster.cloud.is_none() {
        return Ok(Vec::new());
    }
    let working = Working::begin(work.printer, "asking the cloud");
    let planned = plan_servers(&work.cluster).await;
    drop(working);
    let Some((plan, _)) = planned? else {
        return Ok(Vec::new());
    };
    if plan.changes.is_empty() && plan.refusals.is_empty() {
        for warning in &plan.warnings {
            work.printer.warn(warning);
        }
        return Ok(Vec::new());
    }
    work.show(&plan);
    if work.saved.is_some() && !plan.changes.is_empty() {
        let error = Error::refused("the cloud differs, and a saved plan changes nothing there");
        return Err(error.hint("`skep up` without a file makes these changes; then plan anew."));
    }
    if !plan.refusals.is_empty() {
        let reasons = text::count(plan.refusals.len(), "reason");
        return Err(Error::refused(format!(
            "refused for {reasons}; nothing was made in the cloud"
        )));
    }
    let changes = text::count(plan.changes.len(), "change");
    let question = format!("Make {changes} in the cloud, and set the hosts up?");
    if !prompt::confirm(&question, work.args.yes)? {
        return Err(Error::new(
            Kind::Interrupted,
            "not confirmed; nothing was changed",
        ));
    }
    work.go_on()?;
    run(work, &plan).await?;
    let made: BTreeSet<String> = plan
        .changes
        .iter()
        .filter(|change| {
            let waits = |step: &Step| matches!(step, Step::Cloud(CloudCall::WaitServer { .. }));
            change.steps.iter().any(waits)
        })
        .map(|change| change.host.clone())
        .collect();
    work.cluster
        .look_again(work.printer, work.alone_here.token())
        .await?;
    let logins = logins(&work.cluster, &made);
    run(work, &logins).await?;
    Ok(made.into_iter().collect())
}

/// Carries out a plan of this part; what fails in it ends the run.
async fn run(work: &mut Work<'_>, plan: &Plan) -> Result<()> {
    if plan.changes.is_empty() {
        return Ok(());
    }
    let ended = work.execute(plan, None).await?;
    if ended.is_done() {
        return Ok(());
    }
    if !work.args.json {
        let report = work.follow.report.render();
        work.printer.say(format!("\n{report}"));
    }
    work.follow.report.result()
}

/// What the servers of `cluster` need in the cloud, and what that has; `None` without a cloud.
///
/// # Errors
///
/// When the cloud does not tell.
pub(in crate::cli) async fn plan_servers(cluster: &Cluster) -> Result<Option<(Plan, Survey)>> {
    let Some(cloud) = &cluster.cloud else {
        return Ok(None);
    };
    let survey = servers::look(cloud).await?;
    let mut plan = cloud::build(&cluster.inventory, &survey, &cluster.selected);
    plan.refusals
        .extend(guard::cloud::check(&plan, &survey, false));
    Ok(Some((plan, survey)))
}

/// The waits for the first login of servers: through a bastion only when that is there.
fn logins(cluster: &Cluster, made: &BTreeSet<String>) -> Plan {
    let id = |host: &str| ChangeId::new(host, "cloud.login");
    let mut plan = Plan {
        cluster: cluster.inventory.cluster.clone(),
        ..Plan::default()
    };
    let settings = cluster.inventory.openstack.as_ref();
    let deadline = settings.map_or(OpenStack::LOGIN_TIMEOUT, |it| it.login_timeout);
    let hosts = cluster.inventory.hosts.iter();
    let mut hosts: Vec<_> = hosts.filter(|host| made.contains(&host.name)).collect();
    // A change comes after those that it needs.
    hosts.sort_by_key(|host| host.ssh.jump.is_some());
    for host in hosts {
        let jumps = host.ssh.jump.as_deref().unwrap_or_default();
        let jumps = jumps.split(',').map(str::trim);
        let needs = jumps.filter(|it| made.contains(*it)).map(id).collect();
        plan.changes.push(Change {
            id: id(&host.name),
            host: host.name.clone(),
            resource: "cloud.login".to_owned(),
            summary: "wait until it lets us log in".to_owned(),
            diff: vec![Diff::Value {
                name: "login".to_owned(),
                old: None,
                new: host.address.clone(),
            }],
            steps: vec![Step::Wait {
                condition: Condition::Login,
                deadline,
            }],
            risk: Risk::Safe,
            lane: Some(Lane::Cloud),
            needs,
            follows: BTreeSet::new(),
        });
    }
    plan
}
