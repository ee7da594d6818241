//! Why a cloud did not do what it was asked to.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

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
    /// It does not carry the cluster's mark, so that skep leaves it alone.
    NotOurs,
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

    /// What an answer that is no success says.
    pub(super) fn of_answer(what: &str, status: u16, retry_after: Option<u64>, body: &str) -> Self {
        let said = said(body);
        // Nova says 403, Neutron 409 and Cinder 413 where a quota is reached.
        let quota = || {
            let said = said.to_ascii_lowercase();
            ["quota", "limitexceeded", "maximum number of"]
                .iter()
                .any(|word| said.contains(word))
        };
        let fault = match status {
            401 => CloudFault::Unauthorized,
            403 | 409 | 413 if quota() => CloudFault::Quota,
            403 => CloudFault::Forbidden,
            404 | 410 => CloudFault::NotFound,
            409 => CloudFault::Conflict,
            413 | 429 => CloudFault::Busy { retry_after },
            // A server that is going down, or a balancer without one, did not begin.
            503 if retry_after.is_some() => CloudFault::Busy { retry_after },
            500.. => CloudFault::Broken,
            _ => CloudFault::Rejected,
        };
        let said = if said.is_empty() {
            format!("HTTP status {status}")
        } else {
            said
        };
        Self::new(fault, what, said)
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
            CloudFault::NotOurs => with(f, "it does not carry the cluster's mark"),
        }
    }
}

impl std::error::Error for CloudError {}

/// The longest text of a cloud's that is shown, in characters.
const LONGEST: usize = 400;

/// The words for people in an error's body: each service has its own form.
fn said(body: &str) -> String {
    let json: Option<Value> = serde_json::from_str(body).ok();
    let text = match &json {
        Some(json) => words(json).unwrap_or_default(),
        None => page(body),
    };
    let text: Vec<&str> = text.split_whitespace().collect();
    let text = text.join(" ");
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// `{"kind": {"message": ...}}` of Nova, Cinder, Keystone and Neutron, or `{"message": ...}`.
fn words(json: &Value) -> Option<String> {
    let object = json.as_object()?;
    for key in ["message", "faultstring", "title"] {
        if let Some(text) = object.get(key).and_then(Value::as_str)
            && !text.is_empty()
        {
            return Some(text.to_owned());
        }
    }
    match object.values().next()? {
        Value::String(text) => Some(text.clone()),
        inner => words(inner),
    }
}

/// Glance answers with a page for people: its text after the heading.
fn page(body: &str) -> String {
    let body = body.rsplit("</h1>").next().unwrap_or(body);
    let mut text = String::new();
    let mut tag = false;
    for c in body.chars() {
        match c {
            '<' => tag = true,
            '>' if tag => {
                tag = false;
                text.push(' ');
            }
            _ if !tag => text.push(c),
            _ => {}
        }
    }
    text
}

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

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers as the services of the Zed release give them.
    const ANSWERS: [(u16, &str, CloudFault, &str); 9] = [
        (
            404,
            r#"{"itemNotFound": {"code": 404, "message": "Instance x could not be found."}}"#,
            CloudFault::NotFound,
            "Instance x could not be found.",
        ),
        (
            404,
            "<html>\n <head>\n  <title>404 Not Found</title>\n </head>\n <body>\n  <h1>404 Not \
             Found</h1>\n  No image found with ID x<br /><br />\n\n </body>\n</html>",
            CloudFault::NotFound,
            "No image found with ID x",
        ),
        (
            403,
            r#"{"forbidden": {"code": 403, "message": "Quota exceeded for cores: Requested 2"}}"#,
            CloudFault::Quota,
            "Quota exceeded for cores: Requested 2",
        ),
        (
            403,
            r#"{"forbidden": {"code": 403, "message": "Policy doesn't allow it."}}"#,
            CloudFault::Forbidden,
            "Policy doesn't allow it.",
        ),
        (
            409,
            r#"{"NeutronError": {"type": "OverQuota", "message": "Quota exceeded for resources: ['port'].", "detail": ""}}"#,
            CloudFault::Quota,
            "Quota exceeded for resources: ['port'].",
        ),
        (
            413,
            r#"{"overLimit": {"code": 413, "message": "VolumeSizeExceedsAvailableQuota: Requested 5000G", "retryAfter": "0"}}"#,
            CloudFault::Quota,
            "VolumeSizeExceedsAvailableQuota: Requested 5000G",
        ),
        (
            409,
            r#"{"conflictingRequest": {"code": 409, "message": "Cannot 'start' instance x"}}"#,
            CloudFault::Conflict,
            "Cannot 'start' instance x",
        ),
        (
            429,
            "",
            CloudFault::Busy {
                retry_after: Some(7),
            },
            "HTTP status 429",
        ),
        (
            502,
            "<h1>Bad Gateway</h1>",
            CloudFault::Broken,
            "HTTP status 502",
        ),
    ];

    #[test]
    fn answers_are_understood() {
        for (status, body, fault, said) in ANSWERS {
            let error = CloudError::of_answer("list servers", status, Some(7), body);
            assert_eq!((error.fault, error.said.as_str()), (fault, said));
        }
    }

    #[test]
    fn only_what_was_not_begun_is_said_to_be_undone() {
        let error = |fault| CloudError::new(fault, "boot server `w1`", "");
        assert!(error(CloudFault::Unreachable).nothing_done());
        assert!(error(CloudFault::Busy { retry_after: None }).nothing_done());
        assert!(error(CloudFault::Quota).nothing_done());
        assert!(!error(CloudFault::Broken).nothing_done());
        assert!(!error(CloudFault::Lost).nothing_done());
        assert!(!error(CloudFault::TimedOut).nothing_done());
    }

    #[test]
    fn a_message_has_the_resource_and_the_clouds_words() {
        let error = CloudError::of_answer(
            "boot server `w1`",
            403,
            None,
            r#"{"forbidden": {"message": "Quota exceeded for cores"}}"#,
        );
        assert_eq!(
            error.to_string(),
            "cannot boot server `w1`: the quota does not suffice: Quota exceeded for cores"
        );
    }
}
