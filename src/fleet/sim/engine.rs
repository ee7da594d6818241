//! What a changed `daemon.json` does to a simulated engine.

use serde_json::{Map, Value};

use crate::fleet::Fault;
use crate::resource::{DAEMON_JSON, Former, Pending, RESTART_MARKER, ROLLED_BACK};

use super::world::{SimHost, fail, start};

/// The keys that a reload takes; with any other that differs, the engine goes on as before.
const RELOADED: [&str; 2] = ["debug", "labels"];

fn text(host: &SimHost, path: &str) -> Option<String> {
    host.files.get(path).map(|(text, _)| text.clone())
}

/// Puts the former file back, if somebody kept it, and says so in a note.
fn put_back(host: &mut SimHost, why: &str) -> bool {
    let marker = text(host, RESTART_MARKER).unwrap_or_default();
    match Pending::parse(&marker).former {
        Former::Unknown => return false,
        Former::Absent => drop(host.files.remove(DAEMON_JSON)),
        Former::Text(text, mode) => {
            host.files.insert(DAEMON_JSON.to_owned(), (text, mode));
        }
    }
    host.files
        .insert(ROLLED_BACK.to_owned(), (why.to_owned(), 0o600));
    true
}

fn bears(host: &SimHost, unbearable: Option<&str>) -> bool {
    let text = text(host, DAEMON_JSON).unwrap_or_default();
    unbearable.is_none_or(|bad| !text.contains(bad))
}

pub(super) fn restart(host: &mut SimHost, unbearable: Option<&str>) -> Result<(), Fault> {
    if host.packages.is_empty() {
        return Err(fail("no such unit"));
    }
    let put_back_before = host.files.contains_key(ROLLED_BACK)
        && Pending::parse(&text(host, RESTART_MARKER).unwrap_or_default()).former
            == host
                .files
                .get(DAEMON_JSON)
                .map_or(Former::Absent, |(text, mode)| {
                    Former::Text(text.clone(), *mode)
                });
    if put_back_before {
        start(host, false);
        return Ok(());
    }
    host.files.remove(ROLLED_BACK);
    if !bears(host, unbearable) && !put_back(host, "the engine did not come up") {
        host.engine_runs = false;
        return Err(fail("the engine does not come up"));
    }
    start(host, true);
    Ok(())
}

pub(super) fn reload(host: &mut SimHost, unbearable: Option<&str>) -> Result<(), Fault> {
    if !host.files.contains_key(RESTART_MARKER) {
        return match text(host, ROLLED_BACK) {
            Some(why) => Err(fail(why)),
            None => Ok(()),
        };
    }
    if !host.engine_runs {
        return Err(fail("the engine does not answer"));
    }
    let bears = bears(host, unbearable);
    if bears {
        host.reloads += 1;
        let file = text(host, DAEMON_JSON);
        if only_reloaded(host.engine_config.as_deref(), file.as_deref()) {
            host.engine_config = file;
        }
    } else {
        put_back(host, "the engine did not take the new daemon.json");
    }
    host.files.remove(RESTART_MARKER);
    if bears {
        Ok(())
    } else {
        Err(fail("the engine did not take the new daemon.json"))
    }
}

fn only_reloaded(old: Option<&str>, new: Option<&str>) -> bool {
    let map = |text: Option<&str>| -> Map<String, Value> {
        serde_json::from_str(text.unwrap_or("{}")).unwrap_or_default()
    };
    let (old, new) = (map(old), map(new));
    let mut keys = old.keys().chain(new.keys());
    keys.all(|key| {
        old.get(key) == new.get(key) || (new.contains_key(key) && RELOADED.contains(&key.as_str()))
    })
}

pub(super) fn settle(host: &mut SimHost) -> Result<(), Fault> {
    host.files.remove(RESTART_MARKER);
    match text(host, ROLLED_BACK) {
        Some(why) => Err(fail(why)),
        None => Ok(()),
    }
}
