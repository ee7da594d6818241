//! The values of the file that are more than a string, a number or a boolean.

use std::borrow::Cow;

use ipnet::IpNet;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::de::DeValue;

use super::diagnostic::Diagnostic;
use super::openstack::{AntiAffinity, Floating};
use super::read::{At, Read, Value, expected, whole};
use super::{
    Availability, DockerSource, Filesystem, HookPlace, HostKeyCheck, LabDriver, Moment, Provider,
    Role,
};

/// Gives a type that is written as one of a few words.
macro_rules! words {
    ($type:ident { $($word:literal => $value:expr),* $(,)? }) => {
        impl $crate::inventory::read::Read for $type {
            fn read(
                value: &$crate::inventory::read::Value<'_>,
                out: &mut Vec<$crate::inventory::diagnostic::Diagnostic>,
            ) -> Option<Self> {
                use $crate::inventory::read::unknown_word;
                match String::read(value, out)?.as_str() {
                    $($word => Some($value),)*
                    other => {
                        out.push(unknown_word(other, &value.span(), &[$($word),*]));
                        None
                    }
                }
            }
        }

        impl schemars::JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "enum": [$($word),*] })
            }
        }
    };
}
pub(crate) use words;

words!(Role { "manager" => Role::Manager, "worker" => Role::Worker, "none" => Role::None });
words!(Provider {
    "static" => Provider::Static,
    "lab" => Provider::Lab,
    "openstack" => Provider::OpenStack,
});
words!(AntiAffinity {
    "none" => AntiAffinity::None,
    "soft" => AntiAffinity::Soft,
    "hard" => AntiAffinity::Hard,
});
words!(Floating {
    "none" => Floating::None,
    "managers" => Floating::Managers,
    "workers" => Floating::Workers,
    "all" => Floating::All,
});
words!(Availability {
    "active" => Availability::Active,
    "pause" => Availability::Pause,
    "drain" => Availability::Drain,
});
words!(HostKeyCheck {
    "strict" => HostKeyCheck::Strict,
    "accept-new" => HostKeyCheck::AcceptNew,
});
words!(DockerSource {
    "distro" => DockerSource::Distro,
    "docker-ce" => DockerSource::DockerCe,
    "offline" => DockerSource::Offline,
});

words!(LabDriver { "container" => LabDriver::Container, "vm" => LabDriver::Vm });
words!(Filesystem { "xfs" => Filesystem::Xfs, "ext4" => Filesystem::Ext4 });
words!(HookPlace { "here" => HookPlace::Here, "host" => HookPlace::Host });
words!(Moment {
    "before-join" => Moment::BeforeJoin,
    "after-join" => Moment::AfterJoin,
    "before-drain" => Moment::BeforeDrain,
    "after-drain" => Moment::AfterDrain,
    "before-activate" => Moment::BeforeActivate,
    "after-activate" => Moment::AfterActivate,
    "before-upgrade" => Moment::BeforeUpgrade,
    "after-upgrade" => Moment::AfterUpgrade,
    "before-reboot" => Moment::BeforeReboot,
    "after-reboot" => Moment::AfterReboot,
});

/// A size in bytes: `"512 KiB"`, `"8 GiB"`, `"4 TB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ByteSize(pub(super) u64);

/// The units of a [`ByteSize`]; a disk's maker counts in thousands.
const UNITS: [(&str, u64); 8] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

impl Read for ByteSize {
    fn read(value: &Value<'_>, out: &mut Vec<Diagnostic>) -> Option<Self> {
        let text = String::read(value, out)?;
        let bytes = UNITS.iter().find_map(|(unit, factor)| {
            let number = text.strip_suffix(unit)?.trim_end();
            let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
            let tenth = match fraction.as_bytes() {
                [] => 0,
                [digit @ b'0'..=b'9'] => u64::from(digit - b'0'),
                _ => return None,
            };
            let whole = whole.parse::<u64>().ok()?.checked_mul(*factor)?;
            whole
                .checked_add(factor / 10 * tenth)
                .filter(|bytes| *bytes > 0)
        });
        if bytes.is_none() {
            out.push(
                Diagnostic::error(format!("`{text}` is not a size"))
                    .at(&value.span(), "expected a number and a unit")
                    .help("write it like `\"512 KiB\"`, `\"8 GiB\"` or `\"1.8 TB\"`"),
            );
        }
        bytes.map(Self)
    }
}

impl JsonSchema for ByteSize {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[0-9]+(\\.[0-9])? *([KMGT]iB|kB|[MGT]B)$",
        })
    }
}

/// A Debian release that the lab can make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Release(pub(super) &'static str);

words!(Release { "bookworm" => Release("bookworm"), "trixie" => Release("trixie") });

/// A network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Net(pub(super) IpNet);

impl JsonSchema for Net {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Network".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9a-fA-F.:]+/[0-9]+$" })
    }
}

impl Read for Net {
    fn read(value: &Value<'_>, out: &mut Vec<Diagnostic>) -> Option<Self> {
        let text = String::read(value, out)?;
        let Ok(net) = text.parse::<IpNet>() else {
            out.push(
                Diagnostic::error(format!("`{text}` is not a network"))
                    .at(&value.span(), "expected an address and a prefix length")
                    .help("write it like `10.200.0.0/16`"),
            );
            return None;
        };
        if net.trunc() != net {
            out.push(
                Diagnostic::error(format!("`{text}` is an address inside a network"))
                    .at(&value.span(), "expected the network itself")
                    .help(format!("the network is `{}`", net.trunc())),
            );
            return None;
        }
        Some(Self(net))
    }
}

/// One text or a list of them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OneOrMany(pub(crate) Vec<At<String>>);

impl Read for OneOrMany {
    fn read(value: &Value<'_>, out: &mut Vec<Diagnostic>) -> Option<Self> {
        match value.get_ref() {
            DeValue::String(_) => At::read(value, out).map(|one| Self(vec![one])),
            DeValue::Array(_) => Vec::read(value, out).map(Self),
            _ => {
                out.push(expected("a string or a list of strings", value));
                None
            }
        }
    }
}

impl JsonSchema for OneOrMany {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "OneOrMany".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "string" },
            { "type": "array", "items": { "type": "string" } },
        ] })
    }
}

/// A number of days: `90` or `"90d"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Days(pub(super) u32);

/// A hundred years: beyond it, seconds times 10^9 come near the end of Docker's 64-bit durations.
const MOST_DAYS: u32 = 36_500;

impl Read for Days {
    fn read(value: &Value<'_>, out: &mut Vec<Diagnostic>) -> Option<Self> {
        let DeValue::String(text) = value.get_ref() else {
            return whole(value, 1, MOST_DAYS, out).map(Self);
        };
        let days = text.strip_suffix('d').and_then(|days| days.parse().ok());
        let days = days.filter(|days| (1..=MOST_DAYS).contains(days));
        if days.is_none() {
            out.push(
                Diagnostic::error(format!("`{text}` is not a number of days"))
                    .at(&value.span(), format!("expected 1 to {MOST_DAYS} days"))
                    .help("write it like `90` or `\"90d\"`"),
            );
        }
        days.map(Self)
    }
}

impl JsonSchema for Days {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Days".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "integer", "minimum": 1, "maximum": MOST_DAYS },
            { "type": "string", "pattern": "^[1-9][0-9]*d$" },
        ] })
    }
}

/// A number of seconds up to a day: `90`, `"90s"`, `"5m"` or `"1h"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Timeout(pub(super) u32);

/// What takes longer than a day is no step of a run that somebody waits for.
const MOST_SECONDS: u32 = 24 * 3600;

impl Read for Timeout {
    fn read(value: &Value<'_>, out: &mut Vec<Diagnostic>) -> Option<Self> {
        let DeValue::String(text) = value.get_ref() else {
            return whole(value, 1, MOST_SECONDS, out).map(Self);
        };
        let number = |unit, seconds: u32| {
            let number: u32 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
            number.checked_mul(seconds)
        };
        let seconds = number("s", 1).or_else(|| number("m", 60));
        let seconds = seconds.or_else(|| number("h", 3600));
        let seconds = seconds.filter(|seconds| (1..=MOST_SECONDS).contains(seconds));
        if seconds.is_none() {
            out.push(
                Diagnostic::error(format!("`{text}` is not a time that something may take"))
                    .at(&value.span(), "expected 1 second to 24 hours")
                    .help("write it like `90`, `\"90s\"`, `\"5m\"` or `\"1h\"`"),
            );
        }
        seconds.map(Self)
    }
}

impl JsonSchema for Timeout {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Timeout".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "integer", "minimum": 1, "maximum": MOST_SECONDS },
            { "type": "string", "pattern": "^[1-9][0-9]* *[smh]$" },
        ] })
    }
}

/// An amount of memory in MiB: `512`, `"512 MiB"` or `"2 GiB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MemoryMib(pub(super) u32);

/// A host of the lab with systemd and an engine does not come up in less.
const LEAST_MEMORY_MIB: u32 = 128;

impl Read for MemoryMib {
    fn read(value: &Value<'_>, out: &mut Vec<Diagnostic>) -> Option<Self> {
        let DeValue::String(text) = value.get_ref() else {
            return whole(value, LEAST_MEMORY_MIB, u32::MAX, out).map(Self);
        };
        let number = |unit, mib: u32| {
            let number: u32 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
            number.checked_mul(mib)
        };
        let amount = number("MiB", 1).or_else(|| number("GiB", 1024));
        let amount = amount.filter(|mib| *mib >= LEAST_MEMORY_MIB);
        if amount.is_none() {
            out.push(
                Diagnostic::error(format!("`{text}` is not an amount of memory"))
                    .at(
                        &value.span(),
                        format!("expected {LEAST_MEMORY_MIB} MiB or more"),
                    )
                    .help("write it like `\"512 MiB\"` or `\"2 GiB\"`"),
            );
        }
        amount.map(Self)
    }
}

impl JsonSchema for MemoryMib {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Memory".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "integer", "minimum": LEAST_MEMORY_MIB },
            { "type": "string", "pattern": "^[1-9][0-9]* *(MiB|GiB)$" },
        ] })
    }
}

/// Processors in hundredths: `1.5` is 150.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cpus(pub(super) u32);

impl Read for Cpus {
    fn read(value: &Value<'_>, out: &mut Vec<Diagnostic>) -> Option<Self> {
        let number = match value.get_ref() {
            DeValue::Integer(number) => number.as_str().parse::<f64>().ok(),
            DeValue::Float(number) => number.as_str().parse::<f64>().ok(),
            _ => {
                out.push(expected("a number of processors", value));
                return None;
            }
        };
        match number {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "the bounds are checked"
            )]
            Some(number) if (0.05..=1024.0).contains(&number) => {
                Some(Self((number * 100.0).round() as u32))
            }
            _ => {
                out.push(
                    Diagnostic::error("not a possible number of processors")
                        .at(&value.span(), "expected 0.05 to 1024"),
                );
                None
            }
        }
    }
}

impl JsonSchema for Cpus {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Cpus".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "minimum": 0.05, "maximum": 1024 })
    }
}

/// Any value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Toml(pub(super) toml::Value);

impl Read for Toml {
    fn read(value: &Value<'_>, out: &mut Vec<Diagnostic>) -> Option<Self> {
        let read = match value.get_ref() {
            DeValue::String(text) => toml::Value::String(text.to_string()),
            DeValue::Integer(_) => toml::Value::Integer(whole(value, i64::MIN, i64::MAX, out)?),
            DeValue::Float(number) => {
                let Ok(number) = number.as_str().parse() else {
                    out.push(expected("a decimal number", value));
                    return None;
                };
                toml::Value::Float(number)
            }
            DeValue::Boolean(value) => toml::Value::Boolean(*value),
            DeValue::Datetime(value) => toml::Value::Datetime(*value),
            DeValue::Array(array) => {
                let items = array.iter().map(|value| Some(Self::read(value, out)?.0));
                toml::Value::Array(items.collect::<Option<_>>()?)
            }
            DeValue::Table(table) => {
                let items = table.iter().map(|(key, value)| {
                    Some((key.get_ref().to_string(), Self::read(value, out)?.0))
                });
                toml::Value::Table(items.collect::<Option<_>>()?)
            }
        };
        Some(Self(read))
    }
}

impl JsonSchema for Toml {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Any".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!(true)
    }
}

/// Any value that JSON has too, with its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Json(pub(crate) At<serde_json::Value>);

impl Read for Json {
    fn read(value: &Value<'_>, out: &mut Vec<Diagnostic>) -> Option<Self> {
        let toml = Toml::read(value, out)?.0;
        let Some(json) = to_json(toml) else {
            out.push(Diagnostic::error("JSON has no such value").at(
                &value.span(),
                "holds a date, or a number that is not finite",
            ));
            return None;
        };
        Some(Self(At {
            value: json,
            span: value.span(),
        }))
    }
}

/// The value as JSON; `None` where JSON has no such value.
pub(crate) fn to_json(value: toml::Value) -> Option<serde_json::Value> {
    Some(match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => serde_json::Number::from_f64(number)?.into(),
        toml::Value::Boolean(value) => value.into(),
        toml::Value::Datetime(_) => return None,
        toml::Value::Array(items) => {
            let items = items.into_iter().map(to_json);
            serde_json::Value::Array(items.collect::<Option<_>>()?)
        }
        toml::Value::Table(items) => {
            let items = items.into_iter().map(|(key, v)| Some((key, to_json(v)?)));
            serde_json::Value::Object(items.collect::<Option<_>>()?)
        }
    })
}

impl JsonSchema for Json {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Any".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!(true)
    }
}
