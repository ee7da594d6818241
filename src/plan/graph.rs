//! The order of changes: edges, not batches.

use std::collections::{BTreeMap, VecDeque};

use super::{Change, ChangeId};

/// The edges of a plan, by the place of a change in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Graph {
    /// For each change, the changes that need it.
    pub dependents: Vec<Vec<usize>>,
    /// For each change, the changes that only follow it.
    pub followers: Vec<Vec<usize>>,
    /// For each change, how many changes it waits for.
    pub waits_for: Vec<usize>,
}

/// A fault of a plan itself; the planner never makes one, a file that was edited can have one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// Two changes have one name.
    #[error("the plan has two changes named `{0}`")]
    Duplicate(ChangeId),
    /// A change needs one that is not in the plan.
    #[error("the change `{change}` needs `{needs}`, which is not in the plan")]
    Missing {
        /// The change.
        change: ChangeId,
        /// What it needs.
        needs: ChangeId,
    },
    /// Changes need each other in a circle.
    #[error("the changes need each other in a circle, `{0}` among them")]
    Circle(ChangeId),
}

impl Graph {
    /// The edges of `changes`.
    pub fn of(changes: &[Change]) -> Result<Self, GraphError> {
        let mut places = BTreeMap::new();
        for (place, change) in changes.iter().enumerate() {
            if places.insert(&change.id, place).is_some() {
                return Err(GraphError::Duplicate(change.id.clone()));
            }
        }
        let mut graph = Self {
            dependents: vec![Vec::new(); changes.len()],
            followers: vec![Vec::new(); changes.len()],
            waits_for: vec![0; changes.len()],
        };
        for (place, change) in changes.iter().enumerate() {
            let edges = [
                (&change.needs, &mut graph.dependents),
                (&change.follows, &mut graph.followers),
            ];
            for (ids, later) in edges {
                for id in ids {
                    let Some(&needed) = places.get(id) else {
                        return Err(GraphError::Missing {
                            change: change.id.clone(),
                            needs: id.clone(),
                        });
                    };
                    later[needed].push(place);
                    graph.waits_for[place] += 1;
                }
            }
        }
        match graph.order() {
            Ok(_) => Ok(graph),
            Err(place) => Err(GraphError::Circle(changes[place].id.clone())),
        }
    }

    /// An order in which every change comes after those that it needs, by Kahn's algorithm; the
    /// place of a change in a circle where there is no such order.
    fn order(&self) -> Result<Vec<usize>, usize> {
        let mut waits_for = self.waits_for.clone();
        let ready = |(place, count): (usize, &usize)| (*count == 0).then_some(place);
        let mut queue: VecDeque<usize> = waits_for.iter().enumerate().filter_map(ready).collect();
        let mut order = Vec::with_capacity(waits_for.len());
        while let Some(place) = queue.pop_front() {
            order.push(place);
            for &next in self.dependents[place].iter().chain(&self.followers[place]) {
                waits_for[next] -= 1;
                if waits_for[next] == 0 {
                    queue.push_back(next);
                }
            }
        }
        match waits_for.iter().position(|count| *count > 0) {
            Some(place) => Err(place),
            None => Ok(order),
        }
    }
}
