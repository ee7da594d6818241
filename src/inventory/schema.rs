//! The JSON Schema of an inventory, for editors.

use schemars::{Schema, SchemaGenerator};
use serde_json::{Value, json};

use super::raw;

/// The JSON Schema of an inventory (draft 2020-12).
pub fn schema() -> Value {
    let mut schema = SchemaGenerator::default()
        .into_root_schema_for::<raw::Inventory>()
        .to_value();
    schema["title"] = "skep inventory".into();
    schema["required"] = json!(["cluster", "host"]);
    schema["$defs"]["Cluster"]["required"] = json!(["name"]);
    schema["$defs"]["Host"]["required"] = json!(["name"]);
    schema
}

/// The schema of a field with its documentation.
pub(crate) fn described(schema: Schema, help: &str) -> Value {
    let help = help.trim();
    match schema.to_value() {
        Value::Object(mut object) => {
            object.insert("description".to_owned(), help.into());
            Value::Object(object)
        }
        // The schema `true`: anything.
        _ => json!({ "description": help }),
    }
}
