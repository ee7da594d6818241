//! A run that switches its managers off: the last of them is told how it went before it goes, for
//! nobody could be told afterwards.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;

use crate::execute::{Event, Outcome, Report};
use crate::facts::{HostFacts, Probes};
use crate::fleet::{Fault, Fleet};
use crate::plan::{ChangeId, Plan, Step};

/// What has become of a run until now, as far as hosts are switched off by it.
#[derive(Debug, Default)]
pub(super) struct Off(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Those that were told to go off, and of these those that may be there still.
    told: BTreeSet<String>,
    stuck: BTreeSet<String>,
    report: Report,
}

impl Off {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of what happens to `plan`.
    pub(super) fn follow(&self, plan: &Plan, event: &Event) {
        match event {
            Event::ExecuteStarted { .. } => self.inner().report = Report::default(),
            Event::ChangeStarted { change, host, .. } if switches_off(plan, change) => {
                self.inner().told.insert(host.clone());
            }
            Event::ChangeFinished {
                change,
                host,
                outcome,
                ..
            } => {
                let mut inner = self.inner();
                let failed = matches!(outcome, Outcome::Failed { .. });
                if failed && switches_off(plan, change) {
                    inner.stuck.insert(host.clone());
                }
                let report = &mut inner.report;
                report.outcomes.insert(change.clone(), outcome.clone());
            }
            _ => {}
        }
    }

    /// Whether any host was told to go off.
    pub(super) fn has_begun(&self) -> bool {
        !self.inner().told.is_empty()
    }

    /// Those of `hosts` that are on, as far as this run knows.
    pub(super) fn left(&self, hosts: &[String]) -> Vec<String> {
        let inner = self.inner();
        let off = |host: &&String| inner.told.contains(*host) && !inner.stuck.contains(*host);
        hosts.iter().filter(|host| !off(host)).cloned().collect()
    }

    /// Whether `host` is one of `managers`, and all of them were told to go off.
    fn is_last(&self, host: &str, managers: &[String]) -> bool {
        let inner = self.inner();
        managers.iter().any(|manager| manager == host)
            && managers.iter().all(|manager| inner.told.contains(manager))
    }
}

/// Whether `change` switches its host off.
fn switches_off(plan: &Plan, change: &ChangeId) -> bool {
    let found = plan.changes.iter().find(|it| it.id == *change);
    found.is_some_and(|change| change.steps.iter().any(is_off))
}

fn is_off(step: &Step) -> bool {
    matches!(step.inner(), Step::PowerOff { .. })
}

/// What tells a host how the run went until now.
pub(super) type Tell<'a> = dyn Fn(String, Report) -> BoxFuture<'a, ()> + Send + Sync + 'a;

/// A fleet that tells the last of the managers.
pub(super) struct LastWord<'a> {
    pub(super) fleet: &'a dyn Fleet,
    /// The managers that are told of this run.
    pub(super) managers: &'a [String],
    pub(super) off: &'a Off,
    pub(super) tell: &'a Tell<'a>,
}

impl Fleet for LastWord<'_> {
    fn gather<'a>(
        &'a self,
        host: &'a str,
        probes: &'a Probes,
    ) -> BoxFuture<'a, Result<HostFacts, Fault>> {
        self.fleet.gather(host, probes)
    }

    fn run<'a>(
        &'a self,
        host: &'a str,
        step: &'a Step,
        output: &'a (dyn Fn(&str) + Send + Sync),
    ) -> BoxFuture<'a, Result<(), Fault>> {
        if !is_off(step) || !self.off.is_last(host, self.managers) {
            return self.fleet.run(host, step, output);
        }
        let report = self.off.inner().report.clone();
        Box::pin(async move {
            (self.tell)(host.to_owned(), report).await;
            self.fleet.run(host, step, output).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    use crate::execute::{self, Stop};
    use crate::fleet::sim::{Faults, SimFleet, World};
    use crate::procedure::{Procedure, ShutdownProcedure};

    /// Who was told, with what was on then and how many changes were done.
    type Told = Vec<(String, Vec<String>, usize)>;

    /// A cluster of three managers and a worker that is shut down, but for one that is `stuck`; gives who
    /// was told, and whom the end is still told.
    fn shut_down(stuck: Option<&str>) -> (Told, Vec<String>) {
        let text = "[cluster]\nname = \"sim\"\n\
             [[host]]\nname = \"m[1-3]\"\naddress = \"198.18.0.[1-3]\"\nrole = \"manager\"\n\
             [[host]]\nname = \"w1\"\naddress = \"198.18.0.4\"\nrole = \"worker\"\n";
        let (inventory, _) = crate::inventory::parse(text, Path::new("skep.toml"));
        let inventory = inventory.unwrap();
        let fleet = SimFleet::new(World::fresh(&inventory), Faults::default(), 1);
        let here = tempfile::tempdir().unwrap();
        let all = inventory.hosts.iter().map(|host| host.name.clone());
        let all: BTreeSet<String> = all.collect();
        let plan = async |procedure: &Procedure| {
            let probes = procedure.probes();
            let gathered = crate::gather::gather(&fleet, &inventory.hosts, &probes, &|_| {}).await;
            procedure.plan(&inventory, &gathered, &all)
        };
        let shutdown = ShutdownProcedure {
            last: Some("m1".to_owned()),
            remove: false,
            emergency: false,
            deadline: None,
            to: here.path().join("shutdown.json"),
            unlock_key: None,
            former: None,
            here: None,
            now: jiff::Timestamp::UNIX_EPOCH,
            by: "me@here".to_owned(),
            book: crate::procedure::PlaybookRun::shipped(crate::playbook::Verb::Shutdown).unwrap(),
        };
        let told = Mutex::new(Vec::new());
        let off = Off::default();
        let managers = ["m1", "m2", "m3"].map(str::to_owned);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build();
        runtime.unwrap().block_on(async {
            for _ in 0..4 {
                let plan = plan(&Procedure::UP).await;
                let stop = Stop::default();
                let ran = execute::run(&fleet, &plan.changes, &stop, &|_| {}).await;
                assert!(ran.unwrap().is_done());
            }
            let mut plan = plan(&Procedure::Shutdown(Box::new(shutdown))).await;
            for change in &mut plan.changes {
                if stuck == Some(change.host.as_str()) && change.steps.iter().any(is_off) {
                    let condition = crate::plan::Condition::Login;
                    change.steps.push(Step::Wait {
                        condition,
                        deadline: 1,
                    });
                }
            }
            let tell = |host: String, report: Report| -> BoxFuture<'_, ()> {
                let on = fleet.with(|world| {
                    let up = world.hosts.iter().filter(|(_, host)| host.up);
                    up.map(|(name, _)| name.clone()).collect()
                });
                let done = report.outcomes.values();
                let done = done.filter(|it| **it == Outcome::Done).count();
                told.lock().unwrap().push((host, on, done));
                Box::pin(async {})
            };
            let last = LastWord {
                fleet: &fleet,
                managers: &managers,
                off: &off,
                tell: &tell,
            };
            let follow = |event| off.follow(&plan, &event);
            let ran = execute::run(&last, &plan.changes, &Stop::default(), &follow).await;
            assert_eq!(ran.unwrap().is_done(), stuck.is_none());
        });
        assert!(off.has_begun());
        (told.into_inner().unwrap(), off.left(&managers))
    }

    #[test]
    fn the_last_manager_is_told_while_it_is_on_and_nobody_else() {
        let (told, left) = shut_down(None);
        // Record, two demotions, the note, and three hosts that are off.
        assert_eq!(told, [("m1".to_owned(), vec!["m1".to_owned()], 7)]);
        assert_eq!(left, [""; 0]);
    }

    /// Where a manager stays on, the run tells it at its end, as every run does.
    #[test]
    fn managers_that_stay_on_are_left_to_be_told() {
        let (told, left) = shut_down(Some("w1"));
        assert_eq!(told, []);
        assert_eq!(left, ["m1", "m2", "m3"]);
    }
}
