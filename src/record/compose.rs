//! How a record comes about, and what a shutdown puts into a service's specification and takes out
//! of it again.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{FORMAT, Head, Mode, NOWHERE, Phase, REPLICAS, Record, STACK, Service};

/// The record of a cluster: `head` is what is known of it, `services` what the engine gave for
/// `/services`, as they are now. What an earlier, unfinished shutdown changed is told as it was
/// before; the services that it removed are those of `former`.
pub fn compose(head: Head, services: Option<&[Value]>, former: Option<&Record>) -> Record {
    // Without quorum nobody tells the swarm's ID.
    let same = |it: &&Record| match &head.cluster_id {
        Some(id) => it.head.cluster_id.as_ref() == Some(id),
        None => it.head.cluster == head.cluster,
    };
    let former = former.filter(same);
    let mut head = head;
    if head.cluster_id.is_none() {
        head.cluster_id = former.and_then(|it| it.head.cluster_id.clone());
    }
    let mut found: Option<Vec<Service>> =
        services.map(|all| all.iter().filter_map(service).collect());
    let removed = former.filter(|it| it.head.remove);
    let before = removed.and_then(|it| it.services.as_ref());
    if let (Some(found), Some(before)) = (&mut found, before) {
        for service in before {
            if !found.iter().any(|it| it.name == service.name) {
                found.push(service.clone());
            }
        }
    }
    if found.is_none() {
        found = former.and_then(|it| it.services.clone());
    }
    if let Some(found) = &mut found {
        found.sort_by(|one, other| one.name.cmp(&other.name));
    }
    Record {
        format: FORMAT,
        phase: Phase::Recorded,
        head,
        services: found,
    }
}

/// A service as it is, or as it was before a shutdown changed it; `None` where that is no service.
pub fn service(found: &Value) -> Option<Service> {
    let mut spec = found.get("Spec")?.clone();
    unhalt(&mut spec);
    let stack = spec["Labels"][STACK].as_str().map(str::to_owned);
    let container = &spec["TaskTemplate"]["ContainerSpec"];
    Some(Service {
        id: found.get("ID")?.as_str()?.to_owned(),
        name: spec.get("Name")?.as_str()?.to_owned(),
        stack,
        mode: mode(&spec),
        secrets: names(&container["Secrets"], "SecretName"),
        configs: names(&container["Configs"], "ConfigName"),
        spec,
    })
}

fn names(list: &Value, key: &str) -> BTreeSet<String> {
    let list = list.as_array().into_iter().flatten();
    let names = list.filter_map(|it| it[key].as_str());
    names.map(str::to_owned).collect()
}

/// How a specification has its service run. The engine's default is one task.
fn mode(spec: &Value) -> Mode {
    let mode = &spec["Mode"];
    if mode.get("Global").is_some() {
        Mode::Global
    } else if mode.get("ReplicatedJob").is_some() || mode.get("GlobalJob").is_some() {
        Mode::Job
    } else {
        Mode::Replicated(replicas(spec).unwrap_or(1))
    }
}

fn replicas(spec: &Value) -> Option<u64> {
    spec["Mode"]["Replicated"]["Replicas"].as_u64()
}

/// Makes a specification one of which no task runs, and marks it, so that [`unhalt`] gives back what
/// it was; whether anything had to be changed. A job stays as it is.
pub fn halt(spec: &mut Value) -> bool {
    match mode(spec) {
        Mode::Job | Mode::Replicated(0) => false,
        Mode::Global if is_halted(spec) => false,
        Mode::Replicated(replicas) => {
            if let Some(labels) = object(spec, &["Labels"]) {
                labels.insert(REPLICAS.to_owned(), replicas.to_string().into());
            }
            if let Some(mode) = object(spec, &["Mode", "Replicated"]) {
                mode.insert("Replicas".to_owned(), 0.into());
            }
            true
        }
        Mode::Global => {
            let Some(placement) = object(spec, &["TaskTemplate", "Placement"]) else {
                return false;
            };
            let list = placement.entry("Constraints").or_insert(Value::Null);
            if !list.is_array() {
                *list = Value::Array(Vec::new());
            }
            if let Some(list) = list.as_array_mut() {
                list.push(NOWHERE.into());
            }
            true
        }
    }
}

/// Whether a shutdown keeps the service of this specification from running.
pub fn is_halted(spec: &Value) -> bool {
    match mode(spec) {
        Mode::Replicated(0) => spec["Labels"][REPLICAS].is_string(),
        Mode::Replicated(_) | Mode::Job => false,
        Mode::Global => {
            let list = spec["TaskTemplate"]["Placement"]["Constraints"].as_array();
            list.is_some_and(|list| list.iter().any(|it| it == NOWHERE))
        }
    }
}

/// Takes out of a specification what [`halt`] put in; whether there was anything. The mark of a
/// service that runs is left over from somebody who scaled it up by hand: it goes, and the service
/// stays as it is.
pub fn unhalt(spec: &mut Value) -> bool {
    let now = replicas(spec);
    let mut changed = false;
    if spec["Labels"][REPLICAS].is_string()
        && let Some(labels) = object(spec, &["Labels"])
        && let Some(was) = labels.remove(REPLICAS)
    {
        changed = true;
        let was = was.as_str().and_then(|text| text.parse::<u64>().ok());
        if let (Some(0), Some(was), Some(mode)) = (now, was, object(spec, &["Mode", "Replicated"]))
        {
            mode.insert("Replicas".to_owned(), was.into());
        }
    }
    let placement = spec.pointer_mut("/TaskTemplate/Placement");
    if let Some(placement) = placement.and_then(Value::as_object_mut)
        && let Some(Value::Array(list)) = placement.get_mut("Constraints")
        && list.iter().any(|it| it == NOWHERE)
    {
        changed = true;
        list.retain(|it| it != NOWHERE);
        // What was not there before is not there after.
        if list.is_empty() {
            placement.remove("Constraints");
        }
    }
    changed
}

/// The object at `path`, made where there is none.
fn object<'a>(value: &'a mut Value, path: &[&str]) -> Option<&'a mut Map<String, Value>> {
    let mut value = value;
    for key in path {
        let map = value.as_object_mut()?;
        value = map.entry(*key).or_insert(Value::Null);
        if value.is_null() {
            *value = Value::Object(Map::new());
        }
    }
    value.as_object_mut()
}
