//! Reads TOML values into typed fields and goes on after an error, so that all of them are told at
//! once. serde would stop at the first.

use std::collections::BTreeMap;
use std::fmt::Display;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostic, Span};
use super::nearest::nearest;

/// A TOML value with its place.
pub(crate) type Value<'i> = Spanned<DeValue<'i>>;

/// A type that can be read from a TOML value.
pub(crate) trait Read: Sized {
    /// The value; `None` after something was reported.
    fn read(value: &Value<'_>, out: &mut Vec<Diagnostic>) -> Option<Self>;
}

/// A value and its place. Two of them are equal when the values are.
#[derive(Debug, Clone)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
}

impl<T: PartialEq> PartialEq for At<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

/// A key of a table: whether it was there, and its value.
#[derive(Debug, Clone, Default)]
pub(crate) enum Field<T> {
    /// The key is not there.
    #[default]
    Absent,
    /// The key is there; what is wrong with its value has been reported.
    Wrong,
    /// The key is there, and this is its value.
    Given(At<T>),
}

impl<T> Field<T> {
    /// The value with its place.
    pub(crate) fn at(&self) -> Option<&At<T>> {
        match self {
            Self::Given(at) => Some(at),
            _ => None,
        }
    }

    /// The value.
    pub(crate) fn get(&self) -> Option<&T> {
        self.at().map(|at| &at.value)
    }

    /// Whether the key is not there at all.
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

impl<T: Read> Field<T> {
    /// Reads the value of a key that is there.
    pub(crate) fn read(value: &Value<'_>, out: &mut Vec<Diagnostic>) -> Self {
        match At::read(value, out) {
            Some(at) => Self::Given(at),
            None => Self::Wrong,
        }
    }
}

impl<T: Read> Read for At<T> {
    fn read(value: &Value<'_>, out: &mut Vec<Diagnostic>) -> Option<Self> {
        T::read(value, out).map(|read| Self {
            value: read,
            span: value.span(),
        })
    }
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<T>()
    }
}

/// A table with keys of the user's own choice.
pub(crate) type Map<T> = BTreeMap<String, Item<T>>;

/// An entry of a [`Map`].
#[derive(Debug, Clone)]
pub(crate) struct Item<T> {
    pub(crate) key: Span,
    pub(crate) value: T,
}

impl<T: JsonSchema> JsonSchema for Item<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<T>()
    }
}

impl<T: Read> Read for BTreeMap<String, Item<T>> {
    fn read(value: &Value<'_>, out: &mut Vec<Diagnostic>) -> Option<Self> {
        let mut map = Self::new();
        for (key, value) in table(value, out)? {
            if let Some(value) = T::read(value, out) {
                let item = Item {
                    key: key.span(),
                    value,
                };
                map.insert(key.get_ref().to_string(), item);
            }
        }
        Some(map)
    }
}

impl<T: Read> Read for Vec<At<T>> {
    fn read(value: &Value<'_>, out: &mut Vec<Diagnostic>) -> Option<Self> {
        let DeValue::Array(array) = value.get_ref() else {
            out.push(expected("a list", value));
            return None;
        };
        let items: Vec<_> = array
            .iter()
            .filter_map(|value| At::read(value, out))
            .collect();
        Some(items)
    }
}

impl Read for String {
    fn read(value: &Value<'_>, out: &mut Vec<Diagnostic>) -> Option<Self> {
        let DeValue::String(text) = value.get_ref() else {
            out.push(expected("a string", value));
            return None;
        };
        Some(text.to_string())
    }
}

impl Read for bool {
    fn read(value: &Value<'_>, out: &mut Vec<Diagnostic>) -> Option<Self> {
        let DeValue::Boolean(value) = value.get_ref() else {
            out.push(expected("`true` or `false`", value));
            return None;
        };
        Some(*value)
    }
}

impl Read for u8 {
    fn read(value: &Value<'_>, out: &mut Vec<Diagnostic>) -> Option<Self> {
        whole(value, 0, Self::MAX, out)
    }
}

impl Read for u16 {
    fn read(value: &Value<'_>, out: &mut Vec<Diagnostic>) -> Option<Self> {
        whole(value, 0, Self::MAX, out)
    }
}

impl Read for u32 {
    fn read(value: &Value<'_>, out: &mut Vec<Diagnostic>) -> Option<Self> {
        whole(value, 0, Self::MAX, out)
    }
}

/// The table in `value`.
pub(crate) fn table<'v, 'i>(
    value: &'v Value<'i>,
    out: &mut Vec<Diagnostic>,
) -> Option<&'v DeTable<'i>> {
    let DeValue::Table(table) = value.get_ref() else {
        out.push(expected("a table", value));
        return None;
    };
    Some(table)
}

/// A whole number within bounds.
pub(crate) fn whole<T: TryFrom<i64> + PartialOrd + Display>(
    value: &Value<'_>,
    least: T,
    most: T,
    out: &mut Vec<Diagnostic>,
) -> Option<T> {
    let bounds = least..=most;
    let what = format!("a whole number from {} to {}", bounds.start(), bounds.end());
    let DeValue::Integer(number) = value.get_ref() else {
        out.push(expected(&what, value));
        return None;
    };
    let parsed = i64::from_str_radix(number.as_str(), number.radix()).ok();
    match parsed.and_then(|number| T::try_from(number).ok()) {
        Some(number) if bounds.contains(&number) => Some(number),
        _ => {
            out.push(
                Diagnostic::error(format!("`{number}` is out of range"))
                    .at(&value.span(), format!("expected {what}")),
            );
            None
        }
    }
}

/// A value of the wrong type. The value itself is not repeated: it could be a secret.
pub(crate) fn expected(what: &str, value: &Value<'_>) -> Diagnostic {
    let found = match value.get_ref() {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a decimal number",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    let error = Diagnostic::error(format!("expected {what}, found {found}"))
        .at(&value.span(), format!("expected {what}"));
    match value.get_ref() {
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_)
            if what.contains("a string") =>
        {
            error.help("put it in quotes")
        }
        DeValue::Table(_) if what == "a string" => {
            error.help("if a dot in the key made this a table, put the key in quotes")
        }
        DeValue::Table(_) if what == "a list" => {
            error.help("a list of tables has two brackets, such as `[[host]]`")
        }
        _ => error,
    }
}

/// A key that no table of this kind has.
pub(crate) fn unknown_key(key: &str, span: &Span, known: &[&str]) -> Diagnostic {
    let error = Diagnostic::error(format!("unknown key `{key}`"));
    // Underscores for hyphens are the commonest slip of all.
    match nearest(&key.replace('_', "-"), known.iter().copied()) {
        Some(near) => error
            .at(span, "not a key of this table")
            .help(format!("there is a key `{near}`")),
        None => error
            .at(span, "not a key of this table")
            .help(format!("the keys here are {}", list(known, "and"))),
    }
}

/// A word that is none of a fixed set.
pub(crate) fn unknown_word(word: &str, span: &Span, known: &[&str]) -> Diagnostic {
    let error = Diagnostic::error(format!("unknown value `{word}`"))
        .at(span, format!("expected {}", list(known, "or")));
    match nearest(word, known.iter().copied()) {
        Some(near) => error.help(format!("there is `{near}`")),
        None => error,
    }
}

/// The words in backticks as an English list.
pub(crate) fn list(words: &[&str], last: &str) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((end, [])) => end.clone(),
        Some((end, start)) => format!("{} {last} {end}", start.join(", ")),
        None => String::new(),
    }
}

/// Declares a table of the file: the struct, how it is read, and its JSON Schema. The first line
/// of each field is its key, so that a reader can search the file's own words here.
macro_rules! record {
    (
        $(#[doc = $doc:literal])*
        $name:ident {
            $( $(#[doc = $help:literal])* $key:literal => $field:ident: $ty:ty, )*
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Default)]
        pub(super) struct $name {
            $( $(#[doc = $help])* pub(super) $field: $crate::inventory::read::Field<$ty>, )*
        }

        impl $crate::inventory::read::Read for $name {
            fn read(
                value: &$crate::inventory::read::Value<'_>,
                out: &mut Vec<$crate::inventory::diagnostic::Diagnostic>,
            ) -> Option<Self> {
                use $crate::inventory::read::{Field, table, unknown_key};
                let mut this = Self::default();
                for (key, value) in table(value, out)? {
                    match key.get_ref().as_ref() {
                        $( $key => this.$field = Field::read(value, out), )*
                        other => out.push(unknown_key(other, &key.span(), &[$($key),*])),
                    }
                }
                Some(this)
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let mut properties = serde_json::Map::new();
                $(
                    let schema = generator.subschema_for::<$ty>();
                    let help = concat!($($help),*);
                    properties.insert(
                        $key.to_owned(),
                        $crate::inventory::schema::described(schema, help),
                    );
                )*
                schemars::json_schema!({
                    "type": "object",
                    "description": concat!($($doc),*).trim(),
                    "properties": properties,
                    "additionalProperties": false,
                })
            }
        }
    };
}
pub(crate) use record;
