//! The hosts, as the executor sees them: something that answers probes and carries out steps.
//!
//! Two interpreters exist: the live one, over SSH, Docker's API and the lab, and the simulated one
//! of the tests. The same planner, guards and executor run on both.

pub mod live;
pub mod lock;
pub mod sim;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::facts::{HostFacts, Probes};
use crate::plan::Step;

/// Something that answers probes and carries out steps.
pub trait Fleet: Send + Sync {
    /// Asks `host` all `probes` in one round trip.
    fn gather<'a>(
        &'a self,
        host: &'a str,
        probes: &'a Probes,
    ) -> BoxFuture<'a, Result<HostFacts, Fault>>;

    /// Carries out `step` on `host`. Lines that the step prints go to `output` as they come.
    fn run<'a>(
        &'a self,
        host: &'a str,
        step: &'a Step,
        output: &'a (dyn Fn(&str) + Send + Sync),
    ) -> BoxFuture<'a, Result<(), Fault>>;
}

/// Why a host did not do what it was asked to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// What kind of failure it is.
    pub kind: FaultKind,
    /// What went wrong: a lower-case fragment.
    pub message: String,
    /// What to do about it: a sentence.
    pub hint: Option<String>,
    /// The last lines that the step printed.
    pub output: Vec<String>,
}

/// The kinds of [`Fault`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// No connection could be made: nothing was done.
    Unreachable,
    /// The connection was lost on the way: whether the step was done is unknown.
    Lost,
    /// The step ran and failed.
    Failed,
    /// The step did not end within its deadline.
    TimedOut,
    /// The managers have no leader at the moment, as in an election: what was asked of them may be
    /// asked again.
    NoQuorum,
    /// The step was refused for safety: nothing was done.
    Refused,
    /// A hook failed before anything was done to its host.
    Declined,
    /// A step failed that was only tried: what follows it goes on.
    GivenUp,
    /// The user interrupted.
    Cancelled,
}

impl Fault {
    /// A fault with neither hint nor output.
    pub fn new(kind: FaultKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
            output: Vec::new(),
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<Fault> for crate::error::Error {
    fn from(fault: Fault) -> Self {
        let error = Self::failed(fault.message);
        match fault.hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}
