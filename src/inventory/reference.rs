//! References to secrets, which must not be secrets.

use std::borrow::Cow;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::de::DeValue;

use super::SecretRef;
use super::diagnostic::Diagnostic;
use super::read::{At, Read, Value, unknown_key};

impl Read for SecretRef {
    fn read(value: &Value<'_>, out: &mut Vec<Diagnostic>) -> Option<Self> {
        const KEYS: [&str; 4] = ["env", "file", "command", "prompt"];
        const FORMS: &str = "write `{ env = \"NAME\" }`, `{ file = \"PATH\" }`, \
                             `{ command = [\"PROGRAM\", \"ARGUMENT\"] }` or `{ prompt = true }`";
        let DeValue::Table(entries) = value.get_ref() else {
            out.push(
                Diagnostic::error("a secret does not belong into this file")
                    .at(&value.span(), "expected where to find it")
                    .help(FORMS)
                    .hide(&value.span()),
            );
            return None;
        };
        let before = out.len();
        let mut found = Vec::new();
        for (key, value) in entries {
            let reference = match key.get_ref().as_ref() {
                "env" => String::read(value, out).map(Self::Env),
                "file" => String::read(value, out).map(|path| Self::File(PathBuf::from(path))),
                "command" => Vec::<At<String>>::read(value, out)
                    .map(|words| Self::Command(words.into_iter().map(|w| w.value).collect())),
                "prompt" => bool::read(value, out).map(|_| Self::Prompt),
                other => {
                    out.push(unknown_key(other, &key.span(), &KEYS));
                    continue;
                }
            };
            let empty = match &reference {
                Some(Self::Env(name)) => name.is_empty() || name.contains(['=', '\0']),
                Some(Self::File(path)) => path.as_os_str().is_empty(),
                Some(Self::Command(words)) => words.first().is_none_or(String::is_empty),
                Some(Self::Prompt) => value.get_ref().as_bool() == Some(false),
                None => false,
            };
            if empty {
                let error = Diagnostic::error("this leads to no secret");
                out.push(error.at(&value.span(), "").help(FORMS));
            }
            found.extend(reference);
        }
        if out.len() > before {
            return None;
        }
        if found.len() != 1 {
            let error = Diagnostic::error("expected exactly one way to find the secret");
            out.push(
                error
                    .at(&value.span(), format!("{} are given", found.len()))
                    .help(FORMS),
            );
            return None;
        }
        found.pop()
    }
}

impl JsonSchema for SecretRef {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "description": "Where to find a secret; never the secret itself.",
            "properties": {
                "env": { "type": "string", "description": "An environment variable." },
                "file": { "type": "string", "description": "A file." },
                "command": {
                    "type": "array", "items": { "type": "string" }, "minItems": 1,
                    "description": "A command that prints it, with its arguments.",
                },
                "prompt": { "const": true, "description": "Ask for it, once per run." },
            },
            "additionalProperties": false,
            "minProperties": 1,
            "maxProperties": 1,
        })
    }
}
