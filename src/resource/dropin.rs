//! Drop-ins of `docker.service` from before `daemon.json`, with flags that say what the file says
//! too: the engine does not start then. They are moved aside, not deleted.

use serde_json::{Map, Value};

use crate::facts::{HostFacts, Probe, Probes};
use crate::inventory::{Docker, Storage};
use crate::known::Known;
use crate::plan::{Risk, Step};

use super::daemon::RESTART_MARKER;
use super::kernel::unknown;
use super::storage::{Trouble, engine_holds};
use super::{Draft, Resource, Verdict, text_diff};

/// The engine's unit.
const UNIT: &str = "docker.service";

/// The flags that decide where an engine's data is.
const STORAGE_KEYS: [&str; 3] = ["data-root", "storage-driver", "storage-opts"];

/// The drop-ins of the engine's unit.
#[derive(Debug, Clone)]
pub struct DropIns {
    keys: Map<String, Value>,
}

impl DropIns {
    /// The drop-ins beside a `daemon.json` with these settings.
    pub fn new(docker: &Docker, storage: Option<&Storage>) -> Self {
        let mut keys = storage.map(Storage::daemon_keys).unwrap_or_default();
        keys.extend(docker.daemon.clone());
        Self { keys }
    }

    /// The keys that a drop-in gives as flags too.
    fn clashes(&self, text: &str) -> Vec<&str> {
        let flags = flags(text);
        let keys = self.keys.keys().map(String::as_str);
        keys.filter(|key| flags.iter().any(|(flag, _)| key_of(flag) == *key))
            .collect()
    }

    /// What a drop-in says of the engine's storage and `daemon.json` will not.
    fn loses(&self, text: &str) -> Option<String> {
        let differs = |(flag, value): &(String, String)| {
            let key = key_of(flag);
            let same = match self.keys.get(&key) {
                Some(Value::String(own)) => own == value,
                Some(Value::Array(own)) => own.iter().any(|it| it.as_str() == Some(value)),
                _ => false,
            };
            STORAGE_KEYS.contains(&key.as_str()) && !same
        };
        let (flag, value) = flags(text).into_iter().find(differs)?;
        Some(format!("{flag} {value}"))
    }
}

impl Resource for DropIns {
    fn name(&self) -> &'static str {
        "docker.dropins"
    }

    fn probes(&self) -> Probes {
        Probes::from([Probe::DropIns(UNIT.to_owned()), Probe::Docker])
    }

    fn plan(&self, facts: &HostFacts) -> Verdict {
        let files = match &facts.drop_ins {
            Known::Value(files) => files,
            Known::Absent => return Verdict::Same,
            other => return Verdict::Unknown(unknown("drop-ins", UNIT, Some(other))),
        };
        let running = match &facts.engine {
            Known::Value(engine) => engine.version.is_some(),
            Known::Absent => false,
            other => return Verdict::Unknown(unknown("engine", "docker", Some(other))),
        };
        let mut diff = Vec::new();
        let mut steps = Vec::new();
        for (path, text) in files {
            let clashes = self.clashes(text);
            if clashes.is_empty() {
                continue;
            }
            if let Some(lost) = self.loses(text) {
                match engine_holds(facts) {
                    Ok(None) => {}
                    Ok(Some(holds)) => {
                        return Verdict::Refuse {
                            why: format!(
                                "`{path}` clashes with `daemon.json` and has `{lost}` too; {holds}, and without it the engine would come up empty"
                            ),
                            hint: "Say the same under `[storage]` or `[docker.daemon]`, or move the data first: drain the node, stop its engine, move its data root aside, run again, activate it.".to_owned(),
                        };
                    }
                    Err(Trouble::Unknown(why) | Trouble::Refused(why)) => {
                        return Verdict::Unknown(why);
                    }
                }
            }
            diff.push(text_diff(path, Some(text), ""));
            steps.push(Step::MoveAside { path: path.clone() });
        }
        if steps.is_empty() {
            return Verdict::Same;
        }
        if running {
            // A run that is cut is completed by the restart that the marker asks for.
            steps.insert(
                0,
                Step::WriteFile {
                    path: RESTART_MARKER.to_owned(),
                    content: "a drop-in of docker.service was moved aside\n".to_owned(),
                    mode: 0o644,
                },
            );
        }
        Verdict::Change(Draft {
            restart_engine: running,
            risk: if running {
                Risk::Disruptive
            } else {
                Risk::Safe
            },
            ..Draft::safe(
                "move aside drop-ins whose flags clash with daemon.json",
                diff,
                steps,
            )
        })
    }
}

/// The flags of `ExecStart=` with their values.
fn flags(text: &str) -> Vec<(String, String)> {
    let joined = text.replace("\\\n", " ");
    let mut found = Vec::new();
    for line in joined.lines() {
        let Some(command) = line.trim().strip_prefix("ExecStart=") else {
            continue;
        };
        let words: Vec<&str> = command.split_whitespace().collect();
        for (index, word) in words.iter().enumerate() {
            if !word.starts_with('-') {
                continue;
            }
            let (flag, value) = match word.split_once('=') {
                Some((flag, value)) => (flag, value),
                None => (*word, words.get(index + 1).copied().unwrap_or_default()),
            };
            let value = value.trim_matches(['"', '\'']);
            found.push((flag.to_owned(), value.to_owned()));
        }
    }
    found
}

/// The key of `daemon.json` that a flag of `dockerd` stands for: a flag that may be repeated is a
/// list there, in the plural.
fn key_of(flag: &str) -> String {
    let name = match flag {
        "-s" => "storage-driver",
        "-g" | "--graph" => "data-root",
        "-H" => "host",
        "-D" => "debug",
        "-l" => "log-level",
        "-G" => "group",
        "-b" => "bridge",
        "-p" => "pidfile",
        other => other.trim_start_matches('-'),
    };
    match name {
        "storage-opt"
        | "log-opt"
        | "exec-opt"
        | "host"
        | "label"
        | "registry-mirror"
        | "default-address-pool"
        | "authorization-plugin" => format!("{name}s"),
        "insecure-registry" => "insecure-registries".to_owned(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_found_however_they_are_written() {
        let text = "[Service]\nExecStart=\nExecStart=/usr/bin/dockerd -H fd:// \\\n  --storage-opt dm.thinpooldev=/dev/mapper/docker-thinpool -s=devicemapper --data-root \"/dockyard\"\n";
        let keys: Vec<(String, String)> = flags(text)
            .into_iter()
            .map(|(flag, value)| (key_of(&flag), value))
            .collect();
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(
            keys,
            [
                pair("hosts", "fd://"),
                pair("storage-opts", "dm.thinpooldev=/dev/mapper/docker-thinpool"),
                pair("storage-driver", "devicemapper"),
                pair("data-root", "/dockyard"),
            ]
        );
    }
}
