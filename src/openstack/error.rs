//! Why a cloud did not do what it was asked to.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::fleet::{Fault, FaultKind};

/// Why a cloud did not do what it was asked to. No secret is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloudError {
    /// What kind of failure it is.
    pub fault: CloudFault,
    /// What was to be done: a lower-case fragment such as ``boot server `w1` ``.
    pub what: String,
    /// What the cloud, or the connection to it, said. May be empty.
    pub said: String,
}

/// The kinds of [`CloudError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CloudFault {
    /// `clouds.yaml`, the environment or a certificate is wrong: nothing was asked.
    Config,
    /// The cloud does not know these credentials (401).
    Unauthorized,
    /// These credentials may not do that (403).
    Forbidden,
    /// The project may not have that much (403 or 413 with the word quota).
    Quota,
    /// There is no such thing (404).
    NotFound,
    /// It is in no state for that, or there are several (409).
    Conflict,
    /// The request is wrong (other 4xx).
    Rejected,
    /// The cloud has too much to do (413 or 429), and for how long it said so.
    Busy {
        /// Seconds that it asked to wait.
        retry_after: Option<u64>,
    },
    /// The cloud failed (5xx).
    Broken,
    /// No connection could be made: nothing was done.
    Unreachable,
    /// The connection was lost on the way: whether it was done is unknown.
    Lost,
    /// It did not end within its deadline.
    TimedOut,
    /// The cloud answered what makes no sense here.
    Unexpected,
}

impl CloudError {
    /// An error.
    pub fn new(fault: CloudFault, what: impl Into<String>, said: impl Into<String>) -> Self {
        Self {
            fault,
            what: what.into(),
            said: said.into(),
        }
    }

    /// For how long the cloud asked to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self.fault {
            CloudFault::Busy { retry_after } => retry_after.map(Duration::from_secs),
            _ => None,
        }
    }

    /// Whether it is certain that nothing was done.
    pub fn nothing_done(&self) -> bool {
        !matches!(
            self.fault,
            CloudFault::Broken | CloudFault::Lost | CloudFault::TimedOut | CloudFault::Unexpected
        )
    }

    /// What to do about it: a sentence.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self.fault {
            CloudFault::Unauthorized => {
                "Check the user, the password or application credential, and the project in \
                 `clouds.yaml`, `secure.yaml` or `OS_*`."
            }
            CloudFault::Forbidden => "Ask the cloud's operator for a role that may do that.",
            CloudFault::Quota => {
                "Ask the cloud's operator for more, or remove what is not needed: \
                 `openstack quota show --usage` tells."
            }
            CloudFault::Busy { .. } | CloudFault::Broken | CloudFault::TimedOut => {
                "Try again later: what was made is found again by the cluster's tag."
            }
            CloudFault::Unreachable | CloudFault::Lost => {
                "Check the network to the cloud and `auth_url`; then run the same command again."
            }
            _ => return None,
        })
    }
}

impl fmt::Display for CloudError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: ", self.what)?;
        let said = self.said.as_str();
        let with = |f: &mut fmt::Formatter<'_>, words: &str| {
            if said.is_empty() {
                f.write_str(words)
            } else {
                write!(f, "{words}: {said}")
            }
        };
        match self.fault {
            CloudFault::Config => f.write_str(said),
            CloudFault::Unauthorized => with(f, "the cloud does not accept the credentials"),
            CloudFault::Forbidden => with(f, "these credentials may not do that"),
            CloudFault::Quota => with(f, "the quota does not suffice"),
            CloudFault::NotFound => with(f, "there is no such thing in the cloud"),
            CloudFault::Conflict => with(f, "the cloud says that it conflicts"),
            CloudFault::Rejected => with(f, "the cloud rejects it"),
            CloudFault::Busy { retry_after: None } => with(f, "the cloud is too busy"),
            CloudFault::Busy {
                retry_after: Some(seconds),
            } => with(f, &format!("the cloud is too busy for {seconds} s")),
            CloudFault::Broken => with(f, "the cloud failed"),
            CloudFault::Unreachable => with(f, "no connection to the cloud"),
            CloudFault::Lost => with(f, "the connection to the cloud was lost"),
            CloudFault::TimedOut => with(f, "the cloud did not do it in time"),
            CloudFault::Unexpected => with(f, "the cloud's answer makes no sense"),
        }
    }
}

impl std::error::Error for CloudError {}

impl From<CloudError> for Fault {
    fn from(error: CloudError) -> Self {
        let kind = match error.fault {
            CloudFault::Unreachable => FaultKind::Unreachable,
            CloudFault::Lost => FaultKind::Lost,
            CloudFault::TimedOut => FaultKind::TimedOut,
            _ => FaultKind::Failed,
        };
        let fault = Self::new(kind, error.to_string());
        match error.hint() {
            Some(hint) => fault.hint(hint),
            None => fault,
        }
    }
}
