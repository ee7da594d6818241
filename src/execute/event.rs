//! What happens during a run: the one stream that progress, JSON lines, the journal and the final
//! report read.

use serde::{Deserialize, Serialize};

use crate::fleet::Fault;
use crate::plan::ChangeId;

/// An event with its time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// When it happened.
    pub time: jiff::Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A command began to work.
    RunStarted {
        /// The cluster.
        cluster: String,
        /// The verb, such as `up`.
        command: String,
        /// Who runs it, as `user@machine`.
        who: String,
        /// The version of skep.
        version: String,
    },
    /// Facts are being gathered from so many hosts.
    GatherStarted {
        /// How many.
        hosts: usize,
    },
    /// A host answered its probes, or did not.
    Gathered {
        /// The host.
        host: String,
        /// Why there are no facts; `None` when it answered.
        fault: Option<Fault>,
        /// How long it took.
        millis: u64,
    },
    /// A host did not answer that is optional, or that the run is not about; the run goes on
    /// without it.
    LeftOut {
        /// The host.
        host: String,
    },
    /// A host that answered cannot be planned for.
    NotPlanned {
        /// The host.
        host: String,
        /// Why, for people.
        why: String,
    },
    /// A plan begins to run.
    ExecuteStarted {
        /// How many changes it has.
        changes: usize,
    },
    /// A change began.
    ChangeStarted {
        /// The change.
        change: ChangeId,
        /// Its host.
        host: String,
        /// What it does, for people.
        summary: String,
    },
    /// A step of a change began.
    StepStarted {
        /// The change.
        change: ChangeId,
        /// Which step, from 1.
        step: usize,
        /// How many steps the change has.
        steps: usize,
        /// What it does, for people.
        title: String,
    },
    /// A step printed a line.
    Output {
        /// The change.
        change: ChangeId,
        /// The line.
        line: String,
    },
    /// A change ended.
    ChangeFinished {
        /// The change.
        change: ChangeId,
        /// Its host.
        host: String,
        /// How it ended.
        outcome: Outcome,
        /// How long it took; 0 for a change that never began.
        millis: u64,
    },
    /// The user interrupted: what runs is finished, nothing new is started.
    Interrupted,
    /// The command ended.
    RunFinished {
        /// The exit code.
        code: u8,
        /// How long it took.
        millis: u64,
    },
}

/// How a change ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// All steps ended well.
    Done,
    /// A step failed.
    Failed {
        /// Which one, for people.
        step: String,
        /// Why.
        fault: Fault,
    },
    /// It never began, because a change that it needs did not end well.
    Skipped {
        /// The first change that did not end well.
        because: ChangeId,
    },
    /// It never began, because the user interrupted.
    Cancelled,
}
