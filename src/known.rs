//! What is known about something on a host: a value, its absence, or nothing at all.

use serde::{Deserialize, Serialize};

/// The answer of one probe.
///
/// "No answer" is a value of its own, so that it can never be read as "not there": a planner that
/// meets [`Known::Unknown`] plans nothing for what depends on it, and a guard refuses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Known<T> {
    /// The host answered: this is how it is.
    Value(T),
    /// The host answered: there is no such thing.
    Absent,
    /// It is decided only by a change that has not run yet, such as a host still to be made.
    AfterApply,
    /// There was no answer, or none that could be read; the text says why, for people.
    Unknown(String),
    /// Nobody asked.
    #[default]
    NotProbed,
}

impl<T> Known<T> {
    /// The value, if there is one.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            _ => None,
        }
    }

    /// Whether the host said that there is no such thing.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// Whether the host said anything definite: a value, or that there is none.
    pub fn is_settled(&self) -> bool {
        matches!(self, Self::Value(_) | Self::Absent)
    }

    /// Why there is no answer; `None` where there is one.
    pub fn why_unknown(&self) -> Option<&str> {
        match self {
            Self::Unknown(why) => Some(why),
            Self::NotProbed => Some("it was not asked for"),
            _ => None,
        }
    }

    /// The same answer about something derived from the value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Known<U> {
        match self {
            Self::Value(value) => Known::Value(f(value)),
            Self::Absent => Known::Absent,
            Self::AfterApply => Known::AfterApply,
            Self::Unknown(why) => Known::Unknown(why),
            Self::NotProbed => Known::NotProbed,
        }
    }

    /// The same answer by reference.
    pub fn as_ref(&self) -> Known<&T> {
        match self {
            Self::Value(value) => Known::Value(value),
            Self::Absent => Known::Absent,
            Self::AfterApply => Known::AfterApply,
            Self::Unknown(why) => Known::Unknown(why.clone()),
            Self::NotProbed => Known::NotProbed,
        }
    }
}
