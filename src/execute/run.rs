//! The graph runner: starts a change as soon as all that it needs has ended well and its lane has
//! room. A change that fails takes with it only those that need it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::fleet::{Fault, FaultKind, Fleet};
use crate::plan::graph::{Graph, GraphError};
use crate::plan::{Change, ChangeId, HookStep, Lane, Step};

use super::event::{Event, Outcome};

/// How often a step whose connection was lost is tried again, and how long to wait before each
/// try. Every step may be repeated: it finds what it did before.
const RETRIES: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(8)];

/// The same for a step that found the managers without a leader, or with one that has not heard from
/// its nodes. An election takes some seconds, and up to 20 s where a manager that was away comes back
/// into it; a node that does not report to the new leader is called down after 30 s.
const ELECTIONS: [Duration; 4] = [
    Duration::from_secs(3),
    Duration::from_secs(7),
    Duration::from_secs(15),
    Duration::from_secs(15),
];

/// The user's wish to stop.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Finish what runs, start nothing.
    pub soft: CancellationToken,
    /// Stop now, in the middle of whatever runs.
    pub hard: CancellationToken,
}

/// How each change ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The outcomes, by change.
    pub outcomes: BTreeMap<ChangeId, Outcome>,
}

impl Report {
    /// Whether every change ended well.
    pub fn is_done(&self) -> bool {
        self.outcomes
            .values()
            .all(|outcome| *outcome == Outcome::Done)
    }

    /// Whether the user interrupted.
    pub fn is_cancelled(&self) -> bool {
        self.outcomes.values().any(|outcome| match outcome {
            Outcome::Cancelled => true,
            Outcome::Failed { fault, .. } => fault.kind == FaultKind::Cancelled,
            Outcome::Done | Outcome::Skipped { .. } => false,
        })
    }
}

/// Runs `changes` on `fleet` and tells `emit` of every move.
pub async fn run(
    fleet: &dyn Fleet,
    changes: &[Change],
    stop: &Stop,
    emit: &(dyn Fn(Event) + Send + Sync),
) -> Result<Report, GraphError> {
    run_since(fleet, changes, stop, Instant::now(), emit).await
}

/// The same for a command that `began` some time ago, which counts for what is given up after a time
/// ([`Step::Try`]).
pub async fn run_since(
    fleet: &dyn Fleet,
    changes: &[Change],
    stop: &Stop,
    began: Instant,
    emit: &(dyn Fn(Event) + Send + Sync),
) -> Result<Report, GraphError> {
    let graph = Graph::of(changes)?;
    emit(Event::ExecuteStarted {
        changes: changes.len(),
    });
    let ready = |(place, count): (usize, &usize)| (*count == 0).then_some(place);
    let mut runner = Runner {
        fleet,
        changes,
        began,
        emit,
        ready: graph
            .waits_for
            .iter()
            .enumerate()
            .filter_map(ready)
            .collect(),
        waits_for: graph.waits_for.clone(),
        graph: &graph,
        lanes: HashMap::new(),
        running: BTreeSet::new(),
        report: Report::default(),
    };
    runner.run(stop).await;
    Ok(runner.report)
}

struct Runner<'a> {
    fleet: &'a dyn Fleet,
    changes: &'a [Change],
    began: Instant,
    emit: &'a (dyn Fn(Event) + Send + Sync),
    graph: &'a Graph,
    waits_for: Vec<usize>,
    ready: BTreeSet<usize>,
    lanes: HashMap<Lane, usize>,
    running: BTreeSet<usize>,
    report: Report,
}

/// A change that has ended: its place, how, and after how many milliseconds.
type Ended = (usize, Outcome, u64);

impl<'a> Runner<'a> {
    async fn run(&mut self, stop: &Stop) {
        let mut work: FuturesUnordered<BoxFuture<'a, Ended>> = FuturesUnordered::new();
        let mut stopping = false;
        loop {
            if !stopping {
                for place in self.startable() {
                    work.push(self.start(place));
                }
            }
            if work.is_empty() {
                break;
            }
            tokio::select! {
                biased;
                () = stop.hard.cancelled() => break,
                () = stop.soft.cancelled(), if !stopping => {
                    stopping = true;
                    (self.emit)(Event::Interrupted);
                }
                Some((place, outcome, millis)) = work.next() => {
                    self.running.remove(&place);
                    if let Some(lane) = self.changes[place].lane {
                        *self.lanes.entry(lane).or_default() -= 1;
                    }
                    self.end(place, outcome, millis);
                }
            }
        }
        // Dropping the work tells the far side to stop; what it had done by then is not known.
        drop(work);
        for place in std::mem::take(&mut self.running) {
            let outcome = Outcome::Failed {
                step: self.changes[place].summary.clone(),
                fault: Fault::new(FaultKind::Cancelled, "interrupted in the middle")
                    .hint("Run the command again: it goes on from where things are."),
            };
            self.end(place, outcome, 0);
        }
        for place in 0..self.changes.len() {
            if !self.report.outcomes.contains_key(&self.changes[place].id) {
                self.record(place, Outcome::Cancelled, 0);
            }
        }
    }

    /// Takes the changes that can start now out of those that are ready.
    fn startable(&mut self) -> Vec<usize> {
        let mut chosen = Vec::new();
        for &place in &self.ready {
            if let Some(lane) = self.changes[place].lane {
                let used = self.lanes.entry(lane).or_default();
                if *used >= lane.width() {
                    continue;
                }
                *used += 1;
            }
            chosen.push(place);
        }
        for place in &chosen {
            self.ready.remove(place);
            self.running.insert(*place);
        }
        chosen
    }

    fn start(&self, place: usize) -> BoxFuture<'a, Ended> {
        let (fleet, emit, change) = (self.fleet, self.emit, &self.changes[place]);
        let since = self.began;
        emit(Event::ChangeStarted {
            change: change.id.clone(),
            host: change.host.clone(),
            summary: change.summary.clone(),
        });
        Box::pin(async move {
            let began = Instant::now();
            let outcome = carry_out(fleet, change, since, emit).await;
            let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            (place, outcome, millis)
        })
    }

    fn end(&mut self, place: usize, outcome: Outcome, millis: u64) {
        let done = outcome == Outcome::Done;
        let declined = matches!(&outcome, Outcome::Failed { fault, .. }
            if matches!(fault.kind, FaultKind::Declined | FaultKind::GivenUp));
        self.record(place, outcome, millis);
        if done {
            self.free(&self.graph.dependents[place]);
            self.free(&self.graph.followers[place]);
            return;
        }
        let because = self.changes[place].id.clone();
        let mut freed = Vec::new();
        let mut over = vec![place];
        while let Some(ended) = over.pop() {
            let mut doomed = self.graph.dependents[ended].clone();
            // Of what a hook turned down nothing was begun, and it is in nobody's way; what was only
            // tried must not be.
            let followers = &self.graph.followers[ended];
            if declined { &mut freed } else { &mut doomed }.extend(followers);
            for next in doomed {
                if !self.report.outcomes.contains_key(&self.changes[next].id) {
                    let because = because.clone();
                    self.record(next, Outcome::Skipped { because }, 0);
                    over.push(next);
                }
            }
        }
        self.free(&freed);
    }

    /// Counts off what `places` waited for, once.
    fn free(&mut self, places: &[usize]) {
        for &next in places {
            self.waits_for[next] -= 1;
            let ended = self.report.outcomes.contains_key(&self.changes[next].id);
            if self.waits_for[next] == 0 && !ended {
                self.ready.insert(next);
            }
        }
    }

    fn record(&mut self, place: usize, outcome: Outcome, millis: u64) {
        let change = &self.changes[place];
        (self.emit)(Event::ChangeFinished {
            change: change.id.clone(),
            host: change.host.clone(),
            outcome: outcome.clone(),
            millis,
        });
        self.report.outcomes.insert(change.id.clone(), outcome);
    }
}

async fn carry_out(
    fleet: &dyn Fleet,
    change: &Change,
    since: Instant,
    emit: &(dyn Fn(Event) + Send + Sync),
) -> Outcome {
    // Whether anything may have been done to the host by now.
    let mut begun = false;
    for (number, step) in change.steps.iter().enumerate() {
        begun |= !step.is_harmless();
        let title = step.to_string();
        emit(Event::StepStarted {
            change: change.id.clone(),
            step: number + 1,
            steps: change.steps.len(),
            title: title.clone(),
        });
        let output = |line: &str| {
            emit(Event::Output {
                change: change.id.clone(),
                line: line.to_owned(),
            });
        };
        let mut lost = RETRIES.iter();
        let mut elections = ELECTIONS.iter();
        loop {
            let Err(fault) = once(fleet, &change.host, step, since, &output).await else {
                break;
            };
            let pause = match fault.kind {
                // What a hook does twice is its owner's business, so it is not asked for twice.
                FaultKind::Lost if matches!(step, Step::Hook(_)) => None,
                FaultKind::Lost | FaultKind::Unreachable => lost.next(),
                FaultKind::NoQuorum => elections.next(),
                _ => None,
            };
            let Some(pause) = pause else {
                let fault = match step {
                    Step::Hook(hook) => of_hook(hook, fault, begun, &change.host),
                    Step::Try { .. } if fault.kind != FaultKind::Cancelled => Fault {
                        kind: FaultKind::GivenUp,
                        ..fault
                    },
                    _ => fault,
                };
                return Outcome::Failed { step: title, fault };
            };
            output(&format!("{fault}; trying again"));
            tokio::time::sleep(*pause).await;
        }
    }
    Outcome::Done
}

/// Carries out one step; one that is only tried no longer than it may take.
async fn once(
    fleet: &dyn Fleet,
    host: &str,
    step: &Step,
    since: Instant,
    output: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), Fault> {
    let Step::Try { step, until, least } = step else {
        return fleet.run(host, step, output).await;
    };
    let Some(until) = until else {
        return fleet.run(host, step, output).await;
    };
    let seconds = |seconds: &u32| Duration::from_secs(u64::from(*seconds));
    let end = (since + seconds(until)).max(Instant::now() + seconds(least));
    let late = |what: &str| {
        let why = format!("{what}: second {until} since the command began is over");
        Fault::new(FaultKind::GivenUp, why)
    };
    if Instant::now() >= end {
        return Err(late("skipped"));
    }
    let run = timeout_at(end, fleet.run(host, step, output)).await;
    run.unwrap_or_else(|_| Err(late("given up in the middle")))
}

/// What a hook that failed means: as long as nothing was done to its host, that no is all.
fn of_hook(hook: &HookStep, fault: Fault, begun: bool, host: &str) -> Fault {
    if fault.kind == FaultKind::Cancelled {
        return fault;
    }
    let (kind, hint) = if begun {
        let hint = format!(
            "`{host}` is left as it is now. The same command again goes on from here, and does not run a hook of what is done already."
        );
        (fault.kind, hint)
    } else {
        let when = hook.hook.when;
        let hint = format!("Nothing was done to `{host}`: its hook {when} did not end well.");
        (FaultKind::Declined, hint)
    };
    let own = fault.hint.as_ref().map(|own| format!("{own} "));
    let hint = own.unwrap_or_default() + &hint;
    let message = format!("{}: {}", hook.title(), fault.message);
    let fault = Fault {
        kind,
        message,
        ..fault
    };
    fault.hint(hint)
}
