//! The tasks of the user's own between the steps of a procedure.
//!
//! What a probe shows is planned as ever. A command that runs every time is run once in a procedure,
//! also where that is cut off and gone on with, from any machine: by the very step that runs it the
//! host notes of which record it was part, and a host with that note is not asked again.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::facts::{HostFacts, Probe, Probes};
use crate::inventory::Inventory;
use crate::plan::{Change, ChangeId, HostCall, Note, Plan, Step};
use crate::playbook::Kind;
use crate::resource::task;
use crate::shell;
use crate::swarm::Gathered;

use super::{PlaybookRun, Whole, Work, host_work};

/// Where it is noted on a host which commands were run.
const NOTES: &str = "/var/lib/skep/done";

/// What comes of the user's own tasks.
#[derive(Debug, Default)]
pub(in crate::procedure) struct Own {
    /// The changes of each task, by its place in the playbook; those of one batch may go on at the
    /// same time.
    changes: BTreeMap<usize, Vec<Vec<Change>>>,
    /// The hosts whose tasks cannot be planned.
    pub(in crate::procedure) troubles: Vec<Trouble>,
    /// What an earlier run of this procedure has done: task and host.
    pub(in crate::procedure) noted: Vec<(String, String)>,
}

/// Why the tasks of a host cannot be planned.
#[derive(Debug)]
pub(in crate::procedure) struct Trouble {
    /// The host.
    pub(in crate::procedure) host: String,
    /// Why.
    pub(in crate::procedure) why: String,
    /// What to do about it, where that is known.
    pub(in crate::procedure) hint: Option<String>,
    /// Whether it gives no answer at all.
    pub(in crate::procedure) silent: bool,
}

impl PlaybookRun {
    /// What the user's own tasks ask each host.
    pub(in crate::procedure) fn own_probes(
        &self,
        inventory: &Inventory,
        gathered: &Gathered,
    ) -> BTreeMap<String, Probes> {
        let all = inventory.hosts.iter().map(|host| host.name.clone());
        let mut asked = self.probes(inventory, gathered, &all.collect());
        let whole = Whole::of(&self.playbook, inventory);
        for host in &inventory.hosts {
            let Some(Ok(facts)) = gathered.get(&host.name) else {
                continue;
            };
            let tasks = self.tasks_of(&whole, host, facts).unwrap_or_default();
            let notes = tasks.iter().filter_map(|(place, kind)| match kind {
                Kind::Command(it) if task::runs_always(kind) => {
                    Some(Probe::File(self.note(*place, &it.run.value)))
                }
                _ => None,
            });
            let notes: Probes = notes.collect();
            if !notes.is_empty() {
                asked.entry(host.name.clone()).or_default().extend(notes);
            }
        }
        asked
    }

    /// The file of the note that a command was run: one that says something else is another one.
    fn note(&self, place: usize, run: &str) -> String {
        let name = &self.playbook.tasks[place].name;
        let key = format!("{name}\n{}", run.trim());
        let key = shell::hex(&Sha256::digest(key.as_bytes())[..12]);
        format!("{NOTES}/{}-{key}", self.playbook.name)
    }

    /// The changes of the user's own tasks. `made` is the moment of the record that the procedure is
    /// about; without one a command that runs every time is left out.
    pub(in crate::procedure) fn own(
        &self,
        inventory: &Inventory,
        gathered: &Gathered,
        made: Option<Timestamp>,
    ) -> Own {
        let whole = Whole::of(&self.playbook, inventory);
        let mut own = Own::default();
        let mut of_place: BTreeMap<usize, Vec<Change>> = BTreeMap::new();
        for host in &inventory.hosts {
            let name = host.name.as_str();
            if !whole.places.iter().any(|hosts| hosts.contains(name)) {
                continue;
            }
            let mut trouble = |why: &str, hint: Option<String>, silent| {
                own.troubles.push(Trouble {
                    host: name.to_owned(),
                    why: why.to_owned(),
                    hint,
                    silent,
                });
            };
            let facts = match gathered.get(name) {
                None => continue,
                Some(Err(why)) => {
                    trouble(why, None, true);
                    continue;
                }
                Some(Ok(facts)) => facts,
            };
            let mut refused = Plan::default();
            let work = match host_work(&mut refused, self, &whole, host, facts) {
                Ok(work) => work,
                Err(why) => {
                    trouble(&why, None, false);
                    continue;
                }
            };
            if !refused.refusals.is_empty() {
                for it in refused.refusals {
                    trouble(&it.why, Some(it.hint), false);
                }
                continue;
            }
            for (place, change) in self.changes(name, facts, work, made, &mut own.noted) {
                of_place.entry(place).or_default().push(change);
            }
        }
        let batches = of_place.into_iter().map(|(place, changes)| {
            let serial = self.playbook.tasks[place].serial;
            let width = serial.map_or(changes.len(), |serial| serial.of(changes.len()));
            let batches = changes.chunks(width.max(1)).map(<[Change]>::to_vec);
            (place, batches.collect())
        });
        own.changes = batches.collect();
        own
    }

    /// The changes of one host, by the place of their task.
    fn changes(
        &self,
        host: &str,
        facts: &HostFacts,
        work: Work,
        made: Option<Timestamp>,
        done: &mut Vec<(String, String)>,
    ) -> Vec<(usize, Change)> {
        let mut changes = Vec::new();
        for (place, mut draft) in work.drafts {
            let task = &self.playbook.tasks[place];
            if task::runs_always(&task.kind) {
                let Some(made) = made else { continue };
                let text = made.to_string();
                let commands = draft.steps.iter_mut().filter_map(|step| match step {
                    Step::Host(HostCall::Command { run, note, .. }) => Some((run, note)),
                    _ => None,
                });
                let mut noted = false;
                for (run, note) in commands {
                    let path = self.note(place, run);
                    let file = facts.files.get(&path).and_then(|file| file.value());
                    let there = file.and_then(|file| file.content.as_deref());
                    noted |= there.is_some_and(|there| there.trim() == text);
                    *note = Some(Note {
                        path,
                        text: text.clone(),
                    });
                }
                if noted {
                    done.push((task.name.clone(), host.to_owned()));
                    continue;
                }
                let always = draft.summary.strip_suffix(task::ALWAYS).map(str::to_owned);
                draft.summary = always.unwrap_or(draft.summary);
            }
            let change = Change {
                id: ChangeId::new(host, &task.name),
                host: host.to_owned(),
                resource: task.name.clone(),
                summary: draft.summary,
                diff: draft.diff,
                steps: draft.steps,
                risk: draft.risk,
                lane: None,
                needs: BTreeSet::new(),
                follows: BTreeSet::new(),
            };
            changes.push((place, change));
        }
        changes
    }
}

impl Own {
    /// The changes of the task at this place, batch by batch.
    pub(in crate::procedure) fn take(&mut self, place: usize) -> Vec<Vec<Change>> {
        self.changes.remove(&place).unwrap_or_default()
    }
}
