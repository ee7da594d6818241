//! The part of `up` that makes the hosts of a lab, before there is anything to plan for.

use std::sync::Arc;

use crate::error::{Error, Kind, Result};
use crate::execute;
use crate::inventory::Provider;
use crate::plan::{Change, ChangeId, Condition, Diff, LabCall, Lane, Plan, Risk, Step};
use crate::provider::lab::{Lab, LabState};
use crate::ui::working::Working;
use crate::ui::{prompt, text};

use super::Work;

/// How long a host of the lab may take from its start to a login. systemd is up in about 5 s; a
/// machine that starts ten at once on two processors takes far longer.
const BOOT_SECONDS: u32 = 120;

/// Makes the hosts that are not there, after asking, and gives their names.
pub(in crate::cli) async fn make_hosts(work: &mut Work<'_>) -> Result<Vec<String>> {
    let Some(lab) = work.cluster.lab.clone() else {
        return Ok(Vec::new());
    };
    let plan = plan_lab(work, &lab).await?;
    if plan.changes.is_empty() {
        return Ok(Vec::new());
    }
    let needs = lab.preflight().await?;
    if !work.args.json {
        let needs = needs.lines();
        if !needs.is_empty() {
            work.printer.say("first, on this machine:");
        }
        for line in needs {
            work.printer.say(format!("  + {line}"));
        }
        work.printer.say("");
    }
    work.show(&plan);
    let hosts = text::count(plan.changes.len(), "host");
    let question = format!("Make {hosts} on this machine and set them up?");
    if !prompt::confirm(&question, work.args.yes)? {
        return Err(Error::new(
            Kind::Interrupted,
            "not confirmed; nothing was changed",
        ));
    }
    work.go_on()?;
    prepare(work, &lab).await?;
    let ended: execute::Report = work.execute(&plan, None).await?;
    if !ended.is_done() {
        if !work.args.json {
            work.printer
                .say(format!("\n{}", work.follow.report.render()));
        }
        work.follow.report.result()?;
    }
    Ok(plan.changes.into_iter().map(|change| change.host).collect())
}

/// Makes this machine ready. What the maker of the image says is for `-v`.
async fn prepare(work: &Work<'_>, lab: &Lab) -> Result<()> {
    let printer = work.printer;
    let working = Working::begin(printer, "getting this machine ready");
    let tell = |line: &str| {
        working.tell(line);
        let line = format!("lab: {line}");
        if line.starts_with("lab: image:") {
            printer.detail(line);
        } else {
            printer.say(line);
        }
    };
    tokio::select! {
        prepared = lab.prepare(&tell) => Ok(prepared?),
        () = work.stop.hard.cancelled() => Err(Error::new(
            Kind::Interrupted,
            "interrupted while this machine was being made ready",
        )
        .hint("`skep up` goes on from here; `skep lab down` takes away what was made.")),
    }
}

async fn plan_lab(work: &Work<'_>, lab: &Arc<Lab>) -> Result<Plan> {
    let there = lab.reflect().await?;
    let inventory = &work.cluster.inventory;
    let wanted = inventory.hosts.iter().filter(|host| {
        host.provider == Provider::Lab && work.cluster.selected.contains(&host.name)
    });
    let mut plan = Plan {
        cluster: inventory.cluster.clone(),
        ..Plan::default()
    };
    for host in wanted {
        let state = there
            .iter()
            .find(|it| it.name == host.name)
            .map(|it| it.state);
        let (call, resource, summary) = match state {
            // A host that is cut off runs; that it does not answer is told like of any other.
            Some(LabState::Running | LabState::Cut) => continue,
            Some(_) => (LabCall::Start, "lab.start", "start this host of the lab"),
            None if lab.is_vm() => (
                LabCall::Create,
                "lab.create",
                "make this host: a virtual machine on this machine",
            ),
            None => (
                LabCall::Create,
                "lab.create",
                "make this host: a container on this machine",
            ),
        };
        plan.changes.push(Change {
            id: ChangeId::new(&host.name, resource),
            host: host.name.clone(),
            resource: resource.to_owned(),
            summary: summary.to_owned(),
            diff: vec![Diff::Value {
                name: "host".to_owned(),
                old: state.map(|state| state.to_string()),
                new: Some("running".to_owned()),
            }],
            steps: vec![
                Step::Lab(call),
                Step::Wait {
                    condition: Condition::Login,
                    deadline: BOOT_SECONDS,
                },
            ],
            risk: Risk::Safe,
            lane: Some(Lane::Lab),
            needs: std::collections::BTreeSet::new(),
            follows: std::collections::BTreeSet::new(),
        });
    }
    Ok(plan)
}
