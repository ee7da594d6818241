//! What a swarm holds, by name: for a backup's manifest, and for the day on which it is to be told
//! whether all is still there.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What a swarm holds, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Contents {
    /// The nodes by ID, sorted.
    pub nodes: Vec<String>,
    /// The services, sorted.
    pub services: Vec<String>,
    /// The secrets, sorted: their names alone.
    pub secrets: Vec<String>,
    /// The configs, sorted.
    pub configs: Vec<String>,
}

impl Contents {
    /// What is in `self` and not in `other`, in words: `service web`.
    pub fn beyond(&self, other: &Self) -> Vec<String> {
        let kinds = self.kinds().into_iter().zip(other.kinds());
        let beyond = kinds.flat_map(|((kind, own), (_, others))| {
            let beyond = own.iter().filter(|it| !others.contains(it));
            beyond.map(move |it| format!("{kind} {it}"))
        });
        beyond.collect()
    }

    /// What is in `self` and not in `other`, and the other way around, in words.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let missing = self.beyond(other).into_iter();
        let missing = missing.map(|it| format!("{it} is not there"));
        let more = other.beyond(self).into_iter();
        missing
            .chain(more.map(|it| format!("{it} is there, and was not expected")))
            .collect()
    }

    fn kinds(&self) -> [(&'static str, &[String]); 4] {
        [
            ("node", &self.nodes),
            ("service", &self.services),
            ("secret", &self.secrets),
            ("config", &self.configs),
        ]
    }
}

/// What a swarm held when it was seen last from this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The swarm's ID.
    pub cluster_id: String,
    /// When that was.
    pub at: Timestamp,
    /// What it held. Its nodes are left out: they come and go by skep itself.
    pub contents: Contents,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_that_differ_are_named() {
        let one = Contents {
            services: vec!["web".to_owned()],
            secrets: vec!["known".to_owned()],
            ..Contents::default()
        };
        let other = Contents {
            services: vec!["web".to_owned(), "db".to_owned()],
            ..Contents::default()
        };
        let found = one.differences(&other);
        assert_eq!(
            found,
            [
                "secret known is not there",
                "service db is there, and was not expected"
            ]
        );
        assert_eq!(one.differences(&one), Vec::<String>::new());
        assert_eq!(one.beyond(&other), ["secret known"]);
    }
}
