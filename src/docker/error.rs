//! What can go wrong with a call of the engine, as far as callers tell cases apart.

use std::time::Duration;

/// Why the engine did not do what it was asked to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DockerError {
    /// The engine is no manager of a swarm: in none, or a worker.
    #[error("this host is not a manager of a swarm")]
    NotAManager,
    /// The managers have lost quorum, or have no leader at the moment.
    #[error("the swarm has no quorum: {message}")]
    NoQuorum {
        /// The engine's words.
        message: String,
    },
    /// The manager is locked and wants its unlock key.
    #[error("the manager is locked: it needs the swarm's unlock key")]
    Locked,
    /// The engine is in a swarm already.
    #[error("this host is in a swarm already: {message}")]
    AlreadyInSwarm {
        /// The engine's words.
        message: String,
    },
    /// A join goes on in the engine after its 20 s: look at the swarm's state until it is settled.
    #[error("the join has not ended yet and goes on in the engine")]
    JoinPending,
    /// Another change came between: read again and try again.
    #[error("the object was changed by someone else meanwhile")]
    OutOfSequence,
    /// No answer came in time; whether the call was carried out is unknown.
    #[error("the engine did not answer within {} s", .0.as_secs())]
    NoAnswer(Duration),
    /// No stream to the engine's socket could be had: nothing was done.
    #[error("the engine's socket could not be reached: {0}")]
    Refused(String),
    /// The stream ended in the middle; whether the call was carried out is unknown.
    #[error("the connection to the engine was lost: {0}")]
    Lost(String),
    /// The engine refused for another reason.
    #[error("the engine answered {status}: {message}")]
    Api {
        /// The HTTP status.
        status: u16,
        /// The engine's words.
        message: String,
    },
    /// The engine's answer could not be read.
    #[error("the engine's answer could not be read: {0}")]
    Unreadable(String),
}

impl DockerError {
    /// What an answer with an error status means: by its status first, by its text second, because
    /// the engine uses one status for several cases.
    pub(super) fn of_answer(status: u16, message: &str) -> Self {
        let has = |text: &str| message.contains(text);
        let message = message.to_owned();
        match status {
            503 | 409 | 406 if has("locked") || has("encrypted") => Self::Locked,
            503 | 406 | 409 if has("already part of a swarm") => Self::AlreadyInSwarm { message },
            503 | 406 if has("not a swarm manager") => Self::NotAManager,
            500 | 503 if has("does not have a leader") || has("lost quorum") => {
                Self::NoQuorum { message }
            }
            500 | 503 if has("not enough managers") || has("context deadline exceeded") => {
                Self::NoQuorum { message }
            }
            _ if has("Timeout was reached before node joined")
                || has("attempt to join the cluster will continue") =>
            {
                Self::JoinPending
            }
            400 | 500 if has("update out of sequence") => Self::OutOfSequence,
            _ => Self::Api { status, message },
        }
    }
}
