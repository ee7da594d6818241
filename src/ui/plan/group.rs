//! Which changes are shown together: what several hosts have in common is told once.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use crate::plan::{Change, ChangeId, Diff, DockerCall, Step};

/// What stands for the address of each host where hosts are shown together.
const OWN_ADDRESS: &str = "its address";

/// Hosts with the same changes, and those changes as they are shown.
pub(super) struct Group<'a> {
    /// The hosts.
    pub(super) hosts: Vec<&'a str>,
    /// The changes: of the one host, or as they are for each.
    pub(super) changes: Vec<Cow<'a, Change>>,
    /// Whether other changes of these hosts were shown before.
    pub(super) goes_on: bool,
}

/// The hosts with changes, in the order of their first ones.
pub(super) fn changed<'a>(changes: &[&'a Change]) -> Vec<&'a str> {
    let mut seen = HashSet::new();
    let hosts = changes.iter().map(|change| change.host.as_str());
    hosts.filter(|host| seen.insert(*host)).collect()
}

/// All of `changes`, each in one group. The changes of a host run one after the other, so what
/// hosts have in common is what they begin with.
pub(super) fn groups<'a>(changes: &[&'a Change]) -> Vec<Group<'a>> {
    let mut left: HashMap<&str, Vec<(&'a Change, Change)>> = HashMap::new();
    for &change in changes {
        let changes = left.entry(&change.host).or_default();
        changes.push((change, of_each(change)));
    }
    let order = changed(changes);
    let mut begun = HashSet::new();
    let mut groups = Vec::new();
    for (place, first) in order.iter().enumerate() {
        while let Some(changes) = left.remove(first) {
            let common = |host: &&str| {
                let others = left.get(*host).map_or(&[][..], Vec::as_slice);
                let pairs = changes.iter().zip(others);
                pairs.take_while(|(a, b)| alike(&a.1, &b.1)).count()
            };
            let later = &order[place + 1..];
            let length = match later.iter().map(&common).max() {
                Some(length) if length > 0 => length,
                _ => changes.len(),
            };
            let alike = later.iter().filter(|host| common(host) >= length);
            let hosts: Vec<&str> = [*first].into_iter().chain(alike.copied()).collect();
            for host in &hosts[1..] {
                if let Some(changes) = left.get_mut(host) {
                    changes.drain(..length);
                }
            }
            left.retain(|_, changes| !changes.is_empty());
            let goes_on = begun.contains(*first);
            begun.extend(hosts.iter().copied());
            let mut shown: Vec<_> = changes;
            let rest = shown.split_off(length);
            if !rest.is_empty() {
                left.insert(first, rest);
            }
            let together = hosts.len() > 1;
            let shown = shown.into_iter().map(|(own, each)| {
                if together {
                    Cow::Owned(each)
                } else {
                    Cow::Borrowed(own)
                }
            });
            groups.push(Group {
                changes: shown.collect(),
                hosts,
                goes_on,
            });
        }
    }
    groups
}

/// Whether two changes of different hosts, as they are for each, look the same when they are shown.
fn alike(a: &Change, b: &Change) -> bool {
    a.resource == b.resource
        && a.summary == b.summary
        && a.diff == b.diff
        && a.steps == b.steps
        && a.risk == b.risk
        && a.lane == b.lane
        && foreign(a).eq(foreign(b))
}

/// What a change needs of other hosts. What it needs of its own stands above it anyway.
pub(super) fn foreign(change: &Change) -> impl Iterator<Item = &ChangeId> {
    let own = format!("{}/", change.host);
    change.before().filter(move |id| !id.0.starts_with(&own))
}

/// `change` as it is for every host that has one like it: without the address of this one.
fn of_each(change: &Change) -> Change {
    let mut change = change.clone();
    for step in &mut change.steps {
        match step {
            // Each is told of its own host.
            Step::Hook(hook) => hook.variables.clear(),
            Step::Cloud(call) => call.hide(&change.host),
            _ => {}
        }
    }
    let advertise = change.steps.iter_mut().find_map(|step| match step {
        Step::Docker(DockerCall::SwarmJoin { advertise, .. }) => Some(advertise),
        _ => None,
    });
    let Some(advertise) = advertise else {
        return change;
    };
    let own = std::mem::replace(advertise, OWN_ADDRESS.to_owned());
    let hide = |text: &mut String| *text = text.replace(&own, OWN_ADDRESS);
    hide(&mut change.summary);
    for diff in &mut change.diff {
        if let Diff::Value { old, new, .. } = diff {
            old.iter_mut().chain(new).for_each(hide);
        }
    }
    change
}
