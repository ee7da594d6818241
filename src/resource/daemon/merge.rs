//! The keys of the inventory in a host's file, and the record of which of them are skep's own.

use serde_json::{Map, Value};

/// Sets the keys of `wanted` in `into`: tables key by key, everything else whole.
pub(super) fn merge(into: &mut Map<String, Value>, wanted: &Map<String, Value>) {
    for (key, value) in wanted {
        match (into.get_mut(key), value) {
            (Some(Value::Object(old)), Value::Object(new)) => merge(old, new),
            _ => {
                into.insert(key.clone(), value.clone());
            }
        }
    }
}

/// Takes out of `from` what is in the record of our own keys and no longer wanted, where the value is
/// still ours. A table that becomes empty by it goes too.
pub(super) fn take_out(
    from: &mut Map<String, Value>,
    ours: &Map<String, Value>,
    wanted: &Map<String, Value>,
) {
    let none = Map::new();
    for (key, value) in ours {
        let wanted = match wanted.get(key) {
            None => &none,
            Some(Value::Object(wanted)) => wanted,
            Some(_) => continue,
        };
        match (from.get_mut(key), value) {
            (Some(Value::Object(table)), Value::Object(ours)) => {
                take_out(table, ours, wanted);
                if !table.is_empty() {
                    continue;
                }
            }
            (Some(there), ours) if there == ours => {}
            _ => continue,
        }
        from.remove(key);
    }
}

/// What is ours in the new file: the wanted keys, but for those that the file had already, with the
/// same value, without our doing. Those belong to whoever wrote them.
pub(super) fn record(
    ours: &Map<String, Value>,
    wanted: &Map<String, Value>,
    old: &Map<String, Value>,
    new: &Map<String, Value>,
) -> Map<String, Value> {
    let mut record = Map::new();
    for (key, value) in wanted {
        let none = Map::new();
        let table = |map: &Map<String, Value>| {
            let table = map.get(key).and_then(Value::as_object);
            table.unwrap_or(&none).clone()
        };
        match value {
            Value::Object(wanted) if old.get(key).is_some_and(Value::is_object) => {
                let inner = self::record(&table(ours), wanted, &table(old), &table(new));
                if !inner.is_empty() {
                    record.insert(key.clone(), Value::Object(inner));
                }
            }
            _ if ours.contains_key(key) || old.get(key) != new.get(key) => {
                record.insert(key.clone(), value.clone());
            }
            _ => {}
        }
    }
    record
}
