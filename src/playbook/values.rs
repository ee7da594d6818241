//! The values of a playbook that are more than a string, a number or a boolean.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::de::DeValue;

use crate::inventory::diagnostic::Diagnostic;
use crate::inventory::read::{At, Read, Value, expected, whole};
use crate::procedure::Unavailable;

use super::raw::{Mode, Scalar, Serial};

impl Read for Mode {
    fn read(value: &Value<'_>, out: &mut Vec<Diagnostic>) -> Option<Self> {
        const HELP: &str = "write it in octal digits and quotes, such as `\"0644\"`";
        let DeValue::String(text) = value.get_ref() else {
            out.push(expected("a string", value).help(HELP));
            return None;
        };
        let digits = text.len() == 3 || text.len() == 4;
        let mode = u32::from_str_radix(text, 8).ok().filter(|_| digits);
        // What runs with the rights of its owner is nothing that a file is given in passing.
        if mode.is_none_or(|mode| mode > 0o1777) {
            let error = Diagnostic::error(format!("`{text}` is no mode"));
            out.push(
                error
                    .at(&value.span(), "expected `\"0000\"` to `\"1777\"`")
                    .help(HELP),
            );
            return None;
        }
        mode.map(Self)
    }
}

impl JsonSchema for Mode {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Mode".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[01]?[0-7]{3}$" })
    }
}

impl Read for Serial {
    fn read(value: &Value<'_>, out: &mut Vec<Diagnostic>) -> Option<Self> {
        let DeValue::String(text) = value.get_ref() else {
            let number = whole(value, 1, u32::MAX, out)?;
            return usize::try_from(number)
                .ok()
                .map(|number| Self(Unavailable::Count(number)));
        };
        let parsed = text.parse();
        if parsed.is_err() {
            let error = Diagnostic::error(format!("`{text}` is no number of hosts"));
            out.push(
                error
                    .at(&value.span(), "expected a number or a percentage")
                    .help("write it like `2` or `\"25%\"`"),
            );
        }
        parsed.ok().map(Self)
    }
}

impl JsonSchema for Serial {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Serial".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "integer", "minimum": 1 },
            { "type": "string", "pattern": "^[1-9][0-9]*%?$" },
        ] })
    }
}

impl Read for Scalar {
    fn read(value: &Value<'_>, out: &mut Vec<Diagnostic>) -> Option<Self> {
        let text = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(_) => whole(value, i64::MIN, i64::MAX, out)?.to_string(),
            _ => {
                out.push(expected("a string or a whole number", value));
                return None;
            }
        };
        Some(Self(At {
            value: text,
            span: value.span(),
        }))
    }
}

impl JsonSchema for Scalar {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Scalar".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "integer"] })
    }
}
