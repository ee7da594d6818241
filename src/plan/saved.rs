//! Plans in files: what was shown yesterday is what runs today, or nothing does.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{ChangeId, Plan};

/// The form of the file; a file of another form is refused.
const FORM: u32 = 1;

/// A plan as `plan --out` writes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    form: u32,
    /// When it was made.
    pub made: jiff::Timestamp,
    /// The hosts that it was made for.
    pub selected: BTreeSet<String>,
    /// The plan.
    pub plan: Plan,
}

/// Why a saved plan is not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SavedError {
    /// The file is no plan of this version of skep.
    #[error("the file is no plan of this version of skep: {0}")]
    Unreadable(String),
    /// The plan is for another cluster.
    #[error("the plan is for the cluster `{saved}`, and the inventory is of `{now}`")]
    OtherCluster {
        /// The cluster of the plan.
        saved: String,
        /// The cluster of the inventory.
        now: String,
    },
    /// The hosts or the inventory have changed since.
    #[error("the hosts or the inventory have changed since the plan was made: {0}")]
    Changed(String),
}

impl Saved {
    /// A plan to be written.
    pub fn new(plan: Plan, selected: BTreeSet<String>, made: jiff::Timestamp) -> Self {
        Self {
            form: FORM,
            made,
            selected,
            plan,
        }
    }

    /// The text of the file.
    pub fn to_text(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }

    /// Reads the text of a file.
    pub fn from_text(text: &str) -> Result<Self, SavedError> {
        let saved: Self = serde_json::from_str(text)
            .map_err(|error| SavedError::Unreadable(error.to_string()))?;
        if saved.form != FORM {
            let why = format!("its form is {}, and this version reads {FORM}", saved.form);
            return Err(SavedError::Unreadable(why));
        }
        Ok(saved)
    }

    /// Checks that a plan made now is the same: the same changes with the same steps in the same
    /// order. What did not change meanwhile may run.
    pub fn still_holds(&self, now: &Plan) -> Result<(), SavedError> {
        if self.plan.cluster != now.cluster {
            return Err(SavedError::OtherCluster {
                saved: self.plan.cluster.clone(),
                now: now.cluster.clone(),
            });
        }
        if self.plan.changes == now.changes {
            return Ok(());
        }
        let ids = |plan: &Plan| -> BTreeSet<ChangeId> {
            plan.changes
                .iter()
                .map(|change| change.id.clone())
                .collect()
        };
        let (old, new) = (ids(&self.plan), ids(now));
        let gone = old
            .difference(&new)
            .map(|id| format!("`{id}` is no longer needed"));
        let come = new
            .difference(&old)
            .map(|id| format!("`{id}` is needed now"));
        let other = self.plan.changes.iter().filter_map(|change| {
            let twin = now.changes.iter().find(|twin| twin.id == change.id)?;
            (twin != change).then(|| format!("`{}` is a different change now", change.id))
        });
        let all: Vec<String> = gone.chain(come).chain(other).take(5).collect();
        Err(SavedError::Changed(all.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(cluster: &str) -> Saved {
        let plan = Plan {
            cluster: cluster.to_owned(),
            ..Plan::default()
        };
        Saved::new(plan, BTreeSet::new(), jiff::Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_saved_plan_reads_back() {
        let saved = saved("one");
        assert_eq!(Saved::from_text(&saved.to_text().unwrap()), Ok(saved));
    }

    #[test]
    fn a_plan_of_another_cluster_or_form_is_refused() {
        let now = saved("two").plan;
        let error = saved("one").still_holds(&now).unwrap_err();
        assert!(matches!(error, SavedError::OtherCluster { .. }));
        let text = saved("one")
            .to_text()
            .unwrap()
            .replace("\"form\": 1", "\"form\": 2");
        assert!(matches!(
            Saved::from_text(&text),
            Err(SavedError::Unreadable(_))
        ));
    }
}
