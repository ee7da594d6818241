//! Which changes of `daemon.json` an engine takes by a reload (SIGHUP), without a restart.

use serde_json::{Map, Value};

/// The keys that the engine reads again: those of "Configuration reload behavior" in the reference
/// of `dockerd`, and `default-shm-size`, which moby's `daemon/reload_unix.go` has as well; with
/// the first engine that does so. `live-restore` is left out, since it does not go with a swarm, and
/// `authorization-plugins`, since an engine that cannot reach a plugin then ends at once
/// (`logrus.Fatalf` in moby's `cmd/dockerd/daemon.go`; seen with 20.10.24) with all that runs on it.
const RELOADED: [(&str, (u32, u32)); 12] = [
    ("debug", (1, 10)),
    ("default-runtime", (1, 12)),
    ("default-shm-size", (17, 12)),
    ("features", (18, 9)),
    ("insecure-registries", (1, 13)),
    ("labels", (1, 10)),
    ("max-concurrent-downloads", (1, 12)),
    ("max-concurrent-uploads", (1, 12)),
    ("max-download-attempts", (20, 10)),
    ("registry-mirrors", (17, 6)),
    ("runtimes", (1, 12)),
    ("shutdown-timeout", (17, 3)),
];

/// Those of them whose absence the engine takes as well, for their default. Of the others it keeps
/// the former value until it is restarted (`IsValueSet` in moby's `daemon/reload.go`).
const UNSET: [&str; 4] = [
    "features",
    "max-concurrent-downloads",
    "max-concurrent-uploads",
    "max-download-attempts",
];

/// The features that the engine asks for each time. Others, such as `containerd-snapshotter` and
/// `cdi`, it looks at when it starts.
const FEATURES: [&str; 1] = ["buildkit"];

/// Whether an engine of this version (`20.10.24+dfsg1`) takes all that differs by a reload.
pub(super) fn suffices(version: &str, old: &Map<String, Value>, new: &Map<String, Value>) -> bool {
    let Some(version) = number(version) else {
        return false;
    };
    changed(old, new).all(|key| {
        let known = RELOADED
            .iter()
            .any(|(it, from)| *it == key && version >= *from);
        let there = new.contains_key(key) || UNSET.contains(&key);
        known && there && (key != "features" || features(old.get(key), new.get(key)))
    })
}

fn features(old: Option<&Value>, new: Option<&Value>) -> bool {
    let none = Map::new();
    let old = old.and_then(Value::as_object).unwrap_or(&none);
    let new = new.and_then(Value::as_object).unwrap_or(&none);
    changed(old, new).all(|feature| FEATURES.contains(&feature))
}

/// The keys whose values differ.
pub(super) fn changed<'a>(
    old: &'a Map<String, Value>,
    new: &'a Map<String, Value>,
) -> impl Iterator<Item = &'a str> {
    let gone = old.keys().filter(|key| !new.contains_key(*key));
    let set = new.keys().filter(|key| old.get(*key) != new.get(*key));
    gone.chain(set).map(String::as_str)
}

/// The first two numbers of a version, with or without an epoch.
pub(super) fn number(version: &str) -> Option<(u32, u32)> {
    let version = version.split_once(':').map_or(version, |(_, rest)| rest);
    let mut parts = version.split(|c: char| !c.is_ascii_digit());
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next().and_then(|part| part.parse().ok());
    Some((major, minor.unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn reloads(old: &Value, new: &Value) -> bool {
        let map = |value: &Value| value.as_object().unwrap().clone();
        suffices("20.10.24+dfsg1", &map(old), &map(new))
    }

    #[test]
    fn what_the_engine_reads_again_is_reloaded() {
        let none = json!({});
        assert!(reloads(&none, &json!({ "labels": ["a=b"], "debug": true })));
        assert!(reloads(
            &json!({ "bip": "x" }),
            &json!({ "bip": "x", "debug": true })
        ));
        assert!(!reloads(&none, &json!({ "labels": ["a=b"], "bip": "x" })));
        assert!(!reloads(&none, &json!({ "log-driver": "local" })));
        assert!(!reloads(&none, &json!({ "live-restore": false })));
        assert!(!reloads(&none, &json!({ "authorization-plugins": ["x"] })));
    }

    #[test]
    fn what_is_taken_out_needs_a_restart_but_for_four_keys() {
        let none = json!({});
        assert!(!reloads(&json!({ "labels": ["a=b"] }), &none));
        assert!(reloads(&json!({ "max-concurrent-uploads": 1 }), &none));
    }

    #[test]
    fn features_that_are_looked_at_when_the_engine_starts_need_a_restart() {
        let feature = |name: &str| json!({ "features": { name: true } });
        assert!(reloads(&json!({}), &feature("buildkit")));
        assert!(!reloads(&json!({}), &feature("containerd-snapshotter")));
        assert!(!reloads(&feature("cdi"), &json!({})));
    }

    #[test]
    fn versions_are_numbers() {
        assert_eq!(number("5:27.1.2-1~debian"), Some((27, 1)));
        assert_eq!(number("20.10"), Some((20, 10)));
        assert_eq!(number("28"), Some((28, 0)));
        assert_eq!(number("dev"), None);
    }
}
