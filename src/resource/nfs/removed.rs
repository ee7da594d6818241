//! Mounts that the inventory has no more: ours, known by the first line of their units.

use std::collections::{BTreeMap, BTreeSet};

use crate::facts::{HostFacts, Probe, Probes};
use crate::inventory::{Host, Mount};
use crate::known::Known;
use crate::plan::{NfsStep, Step};
use crate::resource::{Draft, Resource, Verdict};

use super::unit;

/// The mounts of ours that are to go.
#[derive(Debug, Clone, Copy)]
pub struct NfsRemoved<'a> {
    mounts: &'a [Mount],
}

impl<'a> NfsRemoved<'a> {
    /// What `host` mounts no more.
    pub fn new(host: &'a Host) -> Self {
        Self {
            mounts: &host.mounts,
        }
    }
}

/// The units of `there` that none of `mounts` has, by their folder.
pub(super) fn unwanted(
    mounts: &[Mount],
    there: &BTreeSet<String>,
) -> BTreeMap<String, BTreeSet<String>> {
    let wanted: BTreeSet<String> = mounts.iter().map(|it| unit::escape(&it.target)).collect();
    let mut gone: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for name in there {
        let stem = name
            .trim_end_matches(".mount")
            .trim_end_matches(".automount");
        if !wanted.contains(stem) {
            let units = gone.entry(unit::unescape(stem)).or_default();
            units.insert(name.clone());
        }
    }
    gone
}

impl Resource for NfsRemoved<'_> {
    fn name(&self) -> &'static str {
        "nfs.removed"
    }

    fn probes(&self) -> Probes {
        Probes::from([Probe::MountUnits])
    }

    fn plan(&self, facts: &HostFacts) -> Verdict {
        let there = match &facts.mount_units {
            Known::Value(there) => there,
            other => {
                let why = other.why_unknown().unwrap_or("it was not asked for");
                return Verdict::Unknown(format!("units of mounts: {why}"));
            }
        };
        let gone = unwanted(self.mounts, there);
        if gone.is_empty() {
            return Verdict::Same;
        }
        let targets: Vec<&str> = gone.keys().map(String::as_str).collect();
        let summary = format!("unmount {}", targets.join(" "));
        let diff = gone.keys().map(|target| crate::plan::Diff::Value {
            name: target.clone(),
            old: Some("mounted by skep".to_owned()),
            new: None,
        });
        let diff = diff.collect();
        let steps = gone.into_iter().map(|(target, units)| {
            Step::Nfs(NfsStep::Unmount {
                target,
                units: units.into_iter().collect(),
            })
        });
        Verdict::Change(Draft::safe(summary, diff, steps.collect()))
    }
}
