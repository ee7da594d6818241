//! The order of a playbook's changes, as edges between them.

use std::collections::{BTreeMap, BTreeSet};

use crate::inventory::Inventory;
use crate::plan::{Change, ChangeId, Plan};
use crate::playbook::Task;
use crate::resource::Draft;

use super::{PlaybookRun, Work};

/// The edges between the changes.
#[derive(Debug, Default)]
pub(super) struct Graph {
    /// The last change of each host.
    last: BTreeMap<String, ChangeId>,
    /// The changes of each task, by its name.
    of_task: BTreeMap<String, BTreeSet<ChangeId>>,
    /// Those of the last task that had any.
    former: BTreeSet<ChangeId>,
    /// What each change of the task at hand waits for.
    needs: BTreeSet<ChangeId>,
    /// The changes of the task at hand.
    own: BTreeSet<ChangeId>,
}

impl Graph {
    /// The changes of `task` come next.
    pub(super) fn begin(&mut self, run: &PlaybookRun, task: &Task) {
        let needed = task.needs.iter().filter_map(|name| self.of_task.get(name));
        self.needs = needed.flatten().cloned().collect();
        if run.playbook.ordered {
            self.needs.extend(self.former.iter().cloned());
        }
        self.own.clear();
    }

    /// Adds a change of the task at hand.
    pub(super) fn add(&mut self, plan: &mut Plan, task: &Task, mut change: Change) {
        change.needs.extend(self.needs.iter().cloned());
        let id = change.id.clone();
        change
            .needs
            .extend(self.last.insert(change.host.clone(), id));
        self.own.insert(change.id.clone());
        debug_assert_eq!(change.resource, task.name);
        plan.changes.push(change);
    }

    /// Adds what the hosts need of the task at hand, so many at once as it says.
    pub(super) fn task(
        &mut self,
        plan: &mut Plan,
        task: &Task,
        place: usize,
        works: &mut BTreeMap<&str, Work>,
        inventory: &Inventory,
    ) {
        let hosts = inventory.hosts.iter().filter_map(|host| {
            let draft = works.get_mut(host.name.as_str())?.drafts.remove(&place)?;
            Some((host.name.as_str(), draft))
        });
        let drafts: Vec<(&str, Draft)> = hosts.collect();
        let width = task
            .serial
            .map_or(usize::MAX, |serial| serial.of(drafts.len()));
        let mut before = BTreeSet::new();
        let mut batch = BTreeSet::new();
        for (index, (host, draft)) in drafts.into_iter().enumerate() {
            if index > 0 && index % width == 0 {
                before = std::mem::take(&mut batch);
            }
            let id = ChangeId::new(host, &task.name);
            batch.insert(id.clone());
            let change = Change {
                id,
                host: host.to_owned(),
                resource: task.name.clone(),
                summary: draft.summary,
                diff: draft.diff,
                steps: draft.steps,
                risk: draft.risk,
                lane: None,
                needs: before.clone(),
                follows: BTreeSet::new(),
            };
            self.add(plan, task, change);
        }
    }

    /// There are no more changes of `task`.
    pub(super) fn end(&mut self, task: &Task) {
        let own = std::mem::take(&mut self.own);
        if !own.is_empty() {
            self.former.clone_from(&own);
        }
        self.of_task.insert(task.name.clone(), own);
    }
}
