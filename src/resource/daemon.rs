//! `daemon.json`: the keys of the inventory merged into what is there, never in a way that would
//! make an engine lose sight of its data.

pub(crate) mod keys;
mod merge;
mod pending;
mod reload;

use serde_json::{Map, Value, json};

use merge::{merge, record, take_out};
pub use pending::{Former, Pending, RESTART_MARKER};

use crate::docker::OVERLAY_MTU;
use crate::facts::{HostFacts, Probe, Probes};
use crate::inventory::{Docker, DockerSource, Storage};
use crate::known::Known;
use crate::plan::{Diff, Risk, Step};

use super::kernel::unknown;
use super::storage::{version, version_probes};
use super::{Draft, Resource, Verdict, text_diff, value_diff};

/// Where the engine reads its configuration.
pub const DAEMON_JSON: &str = "/etc/docker/daemon.json";

/// What skep itself has written into the file: the keys and values of the inventory then, so that
/// those that are taken out of it are taken off the host as well. Mode 0600, as for the marker.
pub const KEYS_RECORD: &str = "/var/lib/skep/daemon-keys.json";

/// Why the last change was taken back, for people; there until the next change.
pub const ROLLED_BACK: &str = "/var/lib/skep/rolled-back";

/// A file that is there while a node is drained for a restart of its engine, so that the run that
/// completes a cut one knows that the node was active before.
pub const DRAINED_MARKER: &str = "/var/lib/skep/drained-for-restart";

/// The keys that decide where an engine's images, containers and volumes are. With another value
/// the engine starts as if it were empty.
const STORAGE_KEYS: [&str; 6] = [
    "containerd-namespace",
    "data-root",
    "graph",
    "storage-driver",
    "storage-opts",
    "userns-remap",
];

/// The key of `features` that moves images between the engine's own store and containerd's.
const SNAPSHOTTER: &str = "containerd-snapshotter";

/// The engine's configuration file.
#[derive(Debug, Clone, Copy)]
pub struct DaemonConfig<'a> {
    docker: &'a Docker,
    storage: Option<&'a Storage>,
}

impl<'a> DaemonConfig<'a> {
    /// The configuration that these settings, and the storage that is made for the engine, ask for.
    pub fn new(docker: &'a Docker, storage: Option<&'a Storage>) -> Self {
        Self { docker, storage }
    }
}

impl Resource for DaemonConfig<'_> {
    fn name(&self) -> &'static str {
        "docker.config"
    }

    fn probes(&self) -> Probes {
        let mut probes = Probes::from([
            Probe::Docker,
            Probe::File(DAEMON_JSON.to_owned()),
            Probe::File(RESTART_MARKER.to_owned()),
            Probe::File(DRAINED_MARKER.to_owned()),
            Probe::File(KEYS_RECORD.to_owned()),
        ]);
        if self.docker.overlay_mtu.is_some() {
            probes.extend(version_probes(self.docker));
        }
        probes
    }

    fn plan(&self, facts: &HostFacts) -> Verdict {
        let version = match &facts.engine {
            Known::Value(engine) => engine.version.as_deref(),
            Known::Absent => None,
            other => return Verdict::Unknown(unknown("engine", "docker", Some(other))),
        };
        let pending = match facts.files.get(RESTART_MARKER) {
            Some(Known::Value(file)) => {
                Some(Pending::parse(file.content.as_deref().unwrap_or_default()))
            }
            Some(Known::Absent) => None,
            other => return Verdict::Unknown(unknown("file", RESTART_MARKER, other)),
        };
        let ours = match facts.files.get(KEYS_RECORD) {
            // A record that cannot be read is none: nothing is taken out for it.
            Some(Known::Value(file)) => parse(file.content.as_deref()).unwrap_or_default(),
            Some(Known::Absent) => Map::new(),
            other => return Verdict::Unknown(unknown("file", KEYS_RECORD, other)),
        };
        let (former, old) = match facts.files.get(DAEMON_JSON) {
            Some(Known::Absent) => (Former::Absent, Map::new()),
            Some(Known::Value(file)) => match parse(file.content.as_deref()) {
                Ok(old) => {
                    let text = file.content.clone().unwrap_or_default();
                    (Former::Text(text, file.mode), old)
                }
                Err(why) => {
                    return Verdict::Refuse {
                        why: format!("`{DAEMON_JSON}` cannot be read: {why}"),
                        hint: "Mend the file on the host; skep merges into it and never throws it away.".to_owned(),
                    };
                }
            },
            other => return Verdict::Unknown(unknown("file", DAEMON_JSON, other)),
        };

        let mut wanted = self.storage.map(Storage::daemon_keys).unwrap_or_default();
        merge(&mut wanted, &self.docker.daemon);
        if let Some(mtu) = self.docker.overlay_mtu
            && overlay_option(self.docker, facts)
        {
            let options = json!({ "overlay": { OVERLAY_MTU: mtu.to_string() } });
            wanted.entry("default-network-opts").or_insert(options);
        }
        let wanted = &wanted;
        let mut new = old.clone();
        take_out(&mut new, &ours, wanted);
        merge(&mut new, wanted);
        if let Some(refusal) = unfit(&new, version.is_some()) {
            return refusal;
        }
        if new == old {
            return match pending {
                Some(pending) => finish(&pending, version.is_some()),
                None => Verdict::Same,
            };
        }
        if let Some(refusal) = loses_data(facts, &old, &new) {
            return refusal;
        }
        let flags = facts.engine_flags.value().map_or(&[][..], Vec::as_slice);
        let will_be = version.or(self.docker.version.as_deref());
        // An engine that does not run may owe that to what it has already.
        let started_with = if version.is_some() { &old } else { &Map::new() };
        if let Some((why, hint)) = keys::refuses(will_be, flags, started_with, &new) {
            return Verdict::Refuse { why, hint };
        }
        let change = Change {
            running: version.is_some(),
            reload: version.is_some_and(|version| reloads(version, pending.as_ref(), &old, &new)),
            // What the engine runs with is what was there before the first of several changes.
            before: pending.map_or_else(|| former.clone(), |pending| pending.former),
            record: record(&ours, wanted, &old, &new),
        };
        let (Some(text), Some(record)) = (pretty(&new), pretty(&change.record)) else {
            return Verdict::Unknown("the new configuration is no JSON".to_owned());
        };
        Verdict::Change(change.draft(&former, text, record))
    }
}

/// Whether the engine that the host has, or would get, can be told in `daemon.json` what overlay
/// networks begin with: from 24.0 on (moby#43197).
pub(crate) fn overlay_option(docker: &Docker, facts: &HostFacts) -> bool {
    match version(docker, facts) {
        Ok((version, _)) => keys::at_least(&version, (24, 0)),
        // The newest of a repository that is not on the host yet.
        Err(_) => docker.source == DockerSource::DockerCe && facts.engine.is_absent(),
    }
}

/// Completes an earlier change that was cut before the engine worked with it.
fn finish(pending: &Pending, running: bool) -> Verdict {
    let summary = "finish an earlier change of the configuration";
    if !running {
        // It may be that very change that keeps it down. Nothing is there to drain; the marker
        // stays, so that the rest is done when the engine is up.
        let why = value_diff("daemon.json", Some("changed, the engine is down"), "tried");
        let step = Step::RestartEngine;
        return Verdict::Change(Draft::safe(summary, vec![why], vec![step]));
    }
    if pending.reload {
        let why = value_diff("daemon.json", Some("changed"), "taken by the engine");
        let step = Step::ReloadEngine;
        return Verdict::Change(Draft::safe(summary, vec![why], vec![step]));
    }
    Verdict::Change(Draft {
        restart_engine: true,
        risk: Risk::Disruptive,
        ..Draft::safe(summary, vec![], vec![])
    })
}

/// Whether a reload is enough, counted from what the engine runs with. A restart that is owed stays
/// owed: nobody knows whether it was done.
fn reloads(
    version: &str,
    pending: Option<&Pending>,
    old: &Map<String, Value>,
    new: &Map<String, Value>,
) -> bool {
    match pending {
        None => reload::suffices(version, old, new),
        Some(Pending { reload: false, .. }) => false,
        Some(Pending { former, .. }) => match former {
            Former::Unknown => false,
            Former::Absent => reload::suffices(version, &Map::new(), new),
            Former::Text(text, _) => {
                parse(Some(text)).is_ok_and(|runs| reload::suffices(version, &runs, new))
            }
        },
    }
}

/// `serde_json` keeps the keys sorted, so the text is the same in every run.
fn pretty(map: &Map<String, Value>) -> Option<String> {
    let mut text = serde_json::to_string_pretty(map).ok()?;
    text.push('\n');
    Some(text)
}

/// Refuses what the host's own file has and a node of a swarm cannot have. The inventory's own keys
/// were looked at when it was read.
fn unfit(config: &Map<String, Value>, running: bool) -> Option<Verdict> {
    let is = |key: &str, bad: &Value| config.get(key) == Some(bad);
    let (key, why, hint) = if is("live-restore", &Value::Bool(true)) {
        (
            "live-restore",
            "does not go with a swarm",
            "Set `live-restore = false` under `[docker.daemon]`.",
        )
    } else if is("firewall-backend", &Value::from("nftables")) {
        (
            "firewall-backend",
            "does not go with a swarm",
            "Set `firewall-backend = \"iptables\"` under `[docker.daemon]`.",
        )
    // Where the engine runs with it, somebody took the flag out of the unit.
    } else if config.contains_key("hosts") && !running {
        (
            "hosts",
            "keeps the engine from starting, since the packaged unit passes `-H` already",
            "Take it out of the file on the host; more sockets belong into a drop-in of `docker.service`.",
        )
    } else {
        return None;
    };
    Some(Verdict::Refuse {
        why: format!("`{key}` in the host's `{DAEMON_JSON}` {why}"),
        hint: hint.to_owned(),
    })
}

/// A change of the file, and what the engine needs to take it.
struct Change {
    running: bool,
    reload: bool,
    before: Former,
    record: Map<String, Value>,
}

impl Change {
    fn draft(self, former: &Former, text: String, record: String) -> Draft {
        let (old_text, mode) = match former {
            Former::Text(text, mode) => (Some(text.as_str()), *mode),
            Former::Unknown | Former::Absent => (None, 0o644),
        };
        let diff: Vec<Diff> = vec![text_diff(DAEMON_JSON, old_text, &text)];
        let check = Step::ValidateDaemonConfig {
            content: text.clone(),
        };
        let mut steps = Vec::new();
        if self.running {
            let reload = self.reload;
            let former = self.before;
            let pending = Pending { reload, former };
            steps.push(Step::RemoveFile {
                path: ROLLED_BACK.to_owned(),
            });
            steps.push(write(RESTART_MARKER, pending.to_text(), 0o600));
        }
        // Before the file, so that nothing of ours is in it that is not known as ours.
        steps.push(write(KEYS_RECORD, record, 0o600));
        steps.push(write(DAEMON_JSON, text, mode));
        if self.reload {
            steps.push(Step::ReloadEngine);
        }
        let restart_engine = self.running && !self.reload;
        let at_restart = if restart_engine {
            std::mem::take(&mut steps)
        } else {
            Vec::new()
        };
        steps.insert(0, check);
        let summary = if self.reload {
            "configure the Docker Engine, which takes it without a restart"
        } else if restart_engine {
            "check the new configuration, which is put in place at the restart"
        } else {
            "configure the Docker Engine"
        };
        Draft {
            restart_engine,
            at_restart,
            ..Draft::safe(summary, diff, steps)
        }
    }
}

fn write(path: &str, content: String, mode: u32) -> Step {
    Step::WriteFile {
        path: path.to_owned(),
        content,
        mode,
    }
}

fn parse(content: Option<&str>) -> Result<Map<String, Value>, String> {
    let content = content.ok_or("it is not UTF-8 text of at most 256 KiB")?;
    if content.trim().is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_str(content).map_err(|error| error.to_string())
}

/// Refuses a change of storage under an engine that holds data: it would come up empty
/// (docker-machine#4284 and #2061 tell of users who lost everything this way).
fn loses_data(
    facts: &HostFacts,
    old: &Map<String, Value>,
    new: &Map<String, Value>,
) -> Option<Verdict> {
    let changed: Vec<&str> = STORAGE_KEYS
        .into_iter()
        .filter(|key| old.get(*key) != new.get(*key) && !already_so(facts, key, new.get(*key)))
        .chain((snapshotter(old) != snapshotter(new)).then_some(SNAPSHOTTER))
        .collect();
    if changed.is_empty() {
        return None;
    }
    let holds = match &facts.leftovers {
        Known::Value(left) if left.data || left.swarm => {
            format!(
                "`{}` holds images, containers, volumes or a swarm's state",
                left.data_root
            )
        }
        Known::Value(_) | Known::Absent => match facts.engine.value() {
            Some(engine) if engine.containers + engine.images > 0 => format!(
                "the engine holds {} containers and {} images",
                engine.containers, engine.images
            ),
            _ => return None,
        },
        other => {
            return Some(Verdict::Unknown(unknown(
                "data root",
                "docker",
                Some(other),
            )));
        }
    };
    Some(Verdict::Refuse {
        why: format!("{holds}, and a change of `{}` would make it come up empty", changed.join("`, `")),
        hint: "Drain the node, stop its engine, move the data root aside, then run again and activate the node.".to_owned(),
    })
}

/// Where the engine is told to keep images in containerd's store.
fn snapshotter(config: &Map<String, Value>) -> Option<&Value> {
    config.get("features")?.get(SNAPSHOTTER)
}

/// Whether the engine works with this value already without the file saying so.
fn already_so(facts: &HostFacts, key: &str, value: Option<&Value>) -> bool {
    let Some(engine) = facts
        .engine
        .value()
        .filter(|engine| engine.version.is_some())
    else {
        return false;
    };
    match (key, value.and_then(Value::as_str)) {
        ("data-root", Some(root)) => root.trim_end_matches('/') == engine.data_root,
        ("storage-driver", Some(driver)) => driver == engine.storage_driver,
        _ => false,
    }
}
