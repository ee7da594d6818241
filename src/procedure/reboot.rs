//! Boots hosts anew, one after the other.

use crate::inventory::{LabDriver, Provider, Role};
use crate::known::Known;
use crate::plan::{Condition, Diff, Plan, Step};

use super::rolling::{Job, Roll, Task};

/// How long the engine may take after a boot: it waits for the network and mounts its storage.
const ENGINE_SECONDS: u32 = 300;

/// Adds the reboots to `plan`. A host whose boot is not the one `before` is done.
pub(super) fn plan(
    plan: &mut Plan,
    roll: &Roll<'_>,
    resource: &str,
    before: &dyn Fn(&str) -> Option<String>,
) {
    let container =
        |provider| provider == Provider::Lab && roll.inventory.lab.driver == LabDriver::Container;
    roll.plan(plan, resource, |host, facts| {
        if let Known::Value(what) = &facts.busy {
            return Job::Unknown(format!("a step of another run still works there: {what}"));
        }
        let now = facts.identity.value().map(|identity| &identity.boot_id);
        let (Some(now), Some(before)) = (now, before(&host.name)) else {
            return Job::Unknown("it does not tell which boot it runs".to_owned());
        };
        if now.is_empty() {
            return Job::Unknown("it does not tell which boot it runs".to_owned());
        }
        if *now != before {
            return Job::Nothing;
        }
        if container(host.provider) {
            return Job::Refuse(
                "it is a container of the lab, which has no kernel of its own to boot".to_owned(),
                "`skep lab off` and `skep lab on` pull its plug and put it in again; hosts with `driver = \"vm\"` can be rebooted.".to_owned(),
            );
        }
        let boot_id = now.clone();
        let mut during = vec![Step::Reboot { boot_id }];
        if host.role != Role::None && facts.engine.value().is_some() {
            during.push(Step::Wait {
                condition: Condition::Engine,
                deadline: ENGINE_SECONDS,
            });
        }
        Job::Do(Task {
            summary: "reboot".to_owned(),
            diff: vec![Diff::Value {
                name: "boot".to_owned(),
                old: Some(now.clone()),
                new: Some("a new one".to_owned()),
            }],
            before: Vec::new(),
            during,
        })
    });
    for host in &roll.inventory.hosts {
        let reboots = plan.changes.iter().any(|change| change.host == host.name);
        if reboots && !host.exports.is_empty() {
            plan.warnings.push(format!(
                "{} exports folders over NFS: whoever uses them waits until it is back",
                host.name
            ));
        }
    }
}
