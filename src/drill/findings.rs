//! What there is to tell of a drill when it is over.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::inventory::Role;

use super::Drill;
use super::watch::{Event, NodeState, Stage, Voice, What};

/// A drill that was done.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Record {
    /// Which one.
    pub drill: Drill,
    /// When it began.
    pub began: Timestamp,
    /// The nodes: name and role, in the order of the inventory.
    pub hosts: Vec<(String, Role)>,
    /// The hosts that it happened to.
    pub victims: Vec<String>,
    /// How many tasks the probe should have.
    pub tasks: usize,
    /// What happened.
    pub events: Vec<Event>,
    /// What was waited for and did not come.
    pub missed: Vec<String>,
    /// How it ended.
    pub ending: Ending,
}

/// How a drill ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// Healed, and proven by a second plan.
    Healed,
    /// Interrupted by Ctrl-C; what was broken may be broken still.
    Interrupted,
    /// Not healed; the text says why.
    Failed(String),
}

impl Record {
    /// How long it took, in milliseconds.
    pub fn length(&self) -> u64 {
        let end = |event: &Event| match event.what {
            What::Did { millis, .. } => event.at + millis,
            _ => event.at,
        };
        self.events.iter().map(end).max().unwrap_or_default()
    }

    /// When it got to a stage; `None` where it did not.
    pub fn stage(&self, stage: Stage) -> Option<u64> {
        let mut stages = self.events.iter();
        stages.find_map(|event| (event.what == What::Stage(stage)).then_some(event.at))
    }

    /// From when to when something held: the changes of `pick`, each until the next one.
    pub fn spans<T: Clone + PartialEq>(&self, pick: impl Fn(&What) -> Option<T>) -> Vec<Span<T>> {
        let length = self.length();
        let mut spans: Vec<Span<T>> = Vec::new();
        for event in &self.events {
            let Some(value) = pick(&event.what) else {
                continue;
            };
            if let Some(last) = spans.last_mut() {
                last.to = event.at;
            }
            spans.push(Span {
                from: event.at,
                to: length,
                value,
            });
        }
        spans
    }

    /// What the managers said of a node.
    pub fn node(&self, name: &str) -> Vec<Span<NodeState>> {
        self.spans(|what| match what {
            What::Node { host, state } if host == name => Some(*state),
            _ => None,
        })
    }

    /// How a manager answered.
    pub fn voice(&self, name: &str) -> Vec<Span<Voice>> {
        self.spans(|what| match what {
            What::Manager { host, voice } if host == name => Some(*voice),
            _ => None,
        })
    }

    /// Who led.
    pub fn leaders(&self) -> Vec<Span<Option<String>>> {
        self.spans(|what| match what {
            What::Leader { host } => Some(host.clone()),
            _ => None,
        })
    }

    /// How many tasks of the probe ran.
    pub fn running(&self) -> Vec<Span<Option<usize>>> {
        self.spans(|what| match what {
            What::Tasks { running } => Some(*running),
            _ => None,
        })
    }

    /// The requests: when, and whether they were answered.
    pub fn requests(&self) -> impl Iterator<Item = (u64, bool)> {
        self.events.iter().filter_map(|event| match event.what {
            What::Request { ok, .. } => Some((event.at, ok)),
            _ => None,
        })
    }

    /// What skep did: when, for how long, what.
    pub fn acts(&self) -> impl Iterator<Item = (u64, u64, &str)> {
        self.events.iter().filter_map(|event| match &event.what {
            What::Did { what, millis } => Some((event.at, *millis, what.as_str())),
            _ => None,
        })
    }
}

/// Something that held for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span<T> {
    /// From when, in milliseconds since the drill began.
    pub from: u64,
    /// Until when.
    pub to: u64,
    /// What.
    pub value: T,
}

/// Something to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What, for people.
    pub what: String,
    /// After how long, in milliseconds since the failure, or since the healing began.
    pub after: Option<u64>,
}

fn finding(what: impl Into<String>, after: impl Into<Option<u64>>) -> Finding {
    Finding {
        what: what.into(),
        after: after.into(),
    }
}

/// What the cluster did by itself between the failure and the healing, in the order of time.
pub fn by_itself(record: &Record) -> Vec<Finding> {
    let Some(broken) = record.stage(Stage::Broken) else {
        return Vec::new();
    };
    let healing = record.stage(Stage::Healing).unwrap_or(record.length());
    let within = |at: u64| at >= broken && at < healing;
    let mut found = Vec::new();
    for (name, role) in &record.hosts {
        if *role == Role::Manager {
            found.extend(mute(record, name, broken, healing));
        }
        let down = record.node(name).into_iter();
        let mut down = down.filter(|it| within(it.from) && it.value == NodeState::Down);
        if let Some(first) = down.next() {
            found.push(finding(
                format!("{name} was seen down"),
                first.from - broken,
            ));
        }
    }
    let leaders = record.leaders();
    for (before, span) in leaders.iter().zip(leaders.iter().skip(1)) {
        if !within(span.from) {
            continue;
        }
        match &span.value {
            Some(host) => found.push(finding(format!("{host} led"), span.from - broken)),
            None if before.value.is_some() => {
                found.push(finding("no manager told of a leader", span.from - broken));
            }
            None => {}
        }
    }
    found.extend(tasks(record, broken, healing));
    found.sort_by_key(|it| it.after);
    found
}

/// When a manager began to take no orders, and for how long.
fn mute(record: &Record, name: &str, broken: u64, healing: u64) -> Option<Finding> {
    let voices = record.voice(name);
    let within = |it: &&Span<Voice>| it.from >= broken && it.from < healing;
    let first = voices
        .iter()
        .filter(within)
        .find(|it| it.value != Voice::Orders)?;
    let again = voices
        .iter()
        .filter(within)
        .find(|it| it.from > first.from && it.value == Voice::Orders);
    // An engine may answer first without the swarm, then not at all: the first is told.
    let how = match first.value {
        Voice::Silent => "did not answer",
        _ => "took no orders",
    };
    let what = match again {
        Some(again) => format!("{name} {how} for {}", seconds(again.from - first.from)),
        None => format!("{name} {how} any more"),
    };
    Some(finding(what, first.from - broken))
}

fn tasks(record: &Record, broken: u64, healing: u64) -> Vec<Finding> {
    let wanted = record.tasks;
    let spans = record.running();
    let mut spans = spans
        .iter()
        .filter(|it| it.from >= broken && it.from < healing);
    let fewer = spans.find(|it| it.value.is_some_and(|it| it < wanted));
    let Some(fewer) = fewer else {
        return Vec::new();
    };
    let running = fewer.value.unwrap_or_default();
    let mut found = vec![finding(
        format!("the managers counted {running} of {wanted} tasks of the probe"),
        fewer.from - broken,
    )];
    if let Some(whole) = spans.find(|it| it.value == Some(wanted)) {
        let what = format!("all {wanted} tasks of the probe ran elsewhere");
        found.push(finding(what, whole.from - broken));
    }
    found
}

/// What came of it while skep healed, in the order of time.
pub fn healed(record: &Record) -> Vec<Finding> {
    let Some(healing) = record.stage(Stage::Healing) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let orders = record.leaders();
    let led_before = orders.iter().rfind(|it| it.from < healing);
    if led_before.is_some_and(|it| it.value.is_none())
        && let Some(span) = orders
            .iter()
            .find(|it| it.from >= healing && it.value.is_some())
    {
        let host = span.value.as_deref().unwrap_or_default();
        let what = format!("orders were taken again, with {host} as the leader");
        found.push(finding(what, span.from - healing));
    }
    for (name, _) in &record.hosts {
        let spans = record.node(name);
        let was_away = spans
            .iter()
            .rfind(|it| it.from < healing)
            .is_some_and(|it| it.value != NodeState::Ready);
        let last = spans.last();
        if let Some(last) = last.filter(|it| it.from >= healing && it.value == NodeState::Ready)
            && (was_away || spans.len() > 1)
        {
            found.push(finding(
                format!("{name} was ready for good"),
                last.from - healing,
            ));
        }
    }
    if let Some(proof) = record.stage(Stage::Proof) {
        let what = "all nodes ready, all tasks running, every request answered";
        found.push(finding(what, proof - healing));
    }
    if record.ending == Ending::Healed {
        let over = record.stage(Stage::Over).unwrap_or(record.length());
        found.push(finding("a second plan was empty", over - healing));
    }
    found.sort_by_key(|it| it.after);
    found
}

/// What became of the requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestCount {
    /// How many were sent.
    pub sent: usize,
    /// How many were not answered.
    pub failed: usize,
    /// How long it was from the first to the last that was not answered, in milliseconds, the
    /// longest time with requests that failed and less than [`PAUSE`] between them.
    pub longest: u64,
}

/// How far apart two failed requests may be and still belong to one outage, in milliseconds: tasks
/// are asked in turn, so that of many only some fail.
pub const PAUSE: u64 = 2_500;

/// Counts the requests.
pub fn requests(record: &Record) -> RequestCount {
    let mut count = RequestCount::default();
    let mut outage: Option<(u64, u64)> = None;
    for (at, ok) in record.requests() {
        count.sent += 1;
        if ok {
            continue;
        }
        count.failed += 1;
        outage = match outage {
            Some((from, last)) if at.saturating_sub(last) <= PAUSE => Some((from, at)),
            _ => Some((at, at)),
        };
        if let Some((from, to)) = outage {
            count.longest = count.longest.max(to - from);
        }
    }
    count
}

/// How many requests each host left without an answer.
pub fn failed_by_host(record: &Record) -> BTreeMap<&str, usize> {
    let mut failed = BTreeMap::new();
    for event in &record.events {
        if let What::Request { host, ok: false } = &event.what {
            *failed.entry(host.as_str()).or_default() += 1;
        }
    }
    failed
}

/// A time for people: `3.2 s`, `2 min 5 s`.
pub fn seconds(millis: u64) -> String {
    let tenths = (millis + 50) / 100;
    match tenths / 10 {
        0..100 => format!("{}.{} s", tenths / 10, tenths % 10),
        whole => format!("{} min {} s", whole / 60, whole % 60),
    }
}

#[cfg(test)]
pub(crate) mod tests;
