//! The keys of `daemon.json` that engines know.

use serde_json::{Map, Value};

use super::reload::{changed, number};

/// What a key's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Flag,
    Number,
    Text,
    /// A text, or a number of bytes.
    Size,
    List,
    Table,
}

/// A key: its kind, the engines that know it, and the flag that must not be given beside it.
struct Key {
    name: &'static str,
    kind: Kind,
    /// The first engine that knows it; `(0, 0)` for all up to 20.10.
    from: (u32, u32),
    /// The first engine that knows it no more.
    until: (u32, u32),
    /// The flag where it is not `--NAME`, and its short form.
    flags: &'static [&'static str],
}

const ALWAYS: (u32, u32) = (0, 0);
const STILL: (u32, u32) = (u32::MAX, 0);

const fn key(name: &'static str, kind: Kind, flags: &'static [&'static str]) -> Key {
    span(name, kind, flags, ALWAYS, STILL)
}

const fn span(
    name: &'static str,
    kind: Kind,
    flags: &'static [&'static str],
    from: (u32, u32),
    until: (u32, u32),
) -> Key {
    Key {
        name,
        kind,
        from,
        until,
        flags,
    }
}

use Kind::{Flag, List, Number, Size, Table, Text};

/// The keys of moby's `daemon/config` (`config.go`, `config_linux.go`) from 20.10 to 29, with the
/// types of their Go fields, and the flags of `dockerd --help`; each tried with 20.10.24. An engine of 23.0 or later that
/// knows more is asked itself (`--validate`), so that only the keys of 20.10 must be complete.
const KEYS: &[Key] = &[
    span("allow-direct-routing", Flag, &[], (28, 0), STILL),
    key("allow-nondistributable-artifacts", List, &[]),
    key("api-cors-header", Text, &[]),
    key("authorization-plugins", List, &["--authorization-plugin"]),
    key("bip", Text, &[]),
    span("bip6", Text, &[], (28, 0), STILL),
    key("bridge", Text, &["-b"]),
    span("bridge-accept-fwmark", Text, &[], (28, 0), STILL),
    key("builder", Table, &[]),
    span("cdi-spec-dirs", List, &["--cdi-spec-dir"], (25, 0), STILL),
    key("cgroup-parent", Text, &[]),
    span("cluster-advertise", Text, &[], ALWAYS, (23, 0)),
    span("cluster-store", Text, &[], ALWAYS, (23, 0)),
    span(
        "cluster-store-opts",
        Table,
        &["--cluster-store-opt"],
        ALWAYS,
        (23, 0),
    ),
    key("containerd", Text, &[]),
    key("containerd-namespace", Text, &[]),
    key("containerd-plugins-namespace", Text, &[]),
    key("cpu-rt-period", Number, &[]),
    key("cpu-rt-runtime", Number, &[]),
    key("cri-containerd", Flag, &[]),
    key("data-root", Text, &["-g", "--graph"]),
    key("debug", Flag, &["-D"]),
    key("default-address-pools", List, &["--default-address-pool"]),
    key("default-cgroupns-mode", Text, &[]),
    key("default-gateway", Text, &[]),
    key("default-gateway-v6", Text, &[]),
    key("default-ipc-mode", Text, &[]),
    span(
        "default-network-opts",
        Table,
        &["--default-network-opt"],
        (23, 0),
        STILL,
    ),
    key("default-runtime", Text, &[]),
    key("default-shm-size", Size, &[]),
    key("default-ulimits", Table, &["--default-ulimit"]),
    key("deprecated-key-path", Text, &[]),
    key("dns", List, &[]),
    key("dns-opts", List, &["--dns-opt"]),
    key("dns-search", List, &[]),
    key("exec-opts", List, &["--exec-opt"]),
    key("exec-root", Text, &[]),
    key("experimental", Flag, &[]),
    key("features", Table, &["--feature"]),
    span("firewall-backend", Text, &[], (29, 0), STILL),
    key("fixed-cidr", Text, &[]),
    key("fixed-cidr-v6", Text, &[]),
    span("graph", Text, &["-g", "--data-root"], ALWAYS, (23, 0)),
    key("group", Text, &["-G"]),
    key("host-gateway-ip", Text, &[]),
    span(
        "host-gateway-ips",
        List,
        &["--host-gateway-ip"],
        (28, 0),
        STILL,
    ),
    key("hosts", List, &["-H", "--host"]),
    key("icc", Flag, &[]),
    key("init", Flag, &[]),
    key("init-path", Text, &[]),
    key("insecure-registries", List, &["--insecure-registry"]),
    key("ip", Text, &[]),
    key("ip-forward", Flag, &[]),
    span("ip-forward-no-drop", Flag, &[], (27, 0), STILL),
    key("ip-masq", Flag, &[]),
    key("ip6tables", Flag, &[]),
    key("iptables", Flag, &[]),
    key("ipv6", Flag, &[]),
    key("labels", List, &["--label"]),
    key("live-restore", Flag, &[]),
    key("log-driver", Text, &[]),
    span("log-format", Text, &[], (23, 0), STILL),
    key("log-level", Text, &["-l"]),
    key("log-opts", Table, &["--log-opt"]),
    key("max-concurrent-downloads", Number, &[]),
    key("max-concurrent-uploads", Number, &[]),
    key("max-download-attempts", Number, &[]),
    key("metrics-addr", Text, &[]),
    key("mtu", Number, &[]),
    key("network-control-plane-mtu", Number, &[]),
    key("network-diagnostic-port", Number, &[]),
    key("no-new-privileges", Flag, &[]),
    key("node-generic-resources", List, &["--node-generic-resource"]),
    key("oom-score-adjust", Number, &[]),
    key("pidfile", Text, &["-p"]),
    span(
        "proxies",
        Table,
        &["--http-proxy", "--https-proxy", "--no-proxy"],
        (23, 0),
        STILL,
    ),
    key("raw-logs", Flag, &[]),
    key("registry-mirrors", List, &["--registry-mirror"]),
    key("rootless", Flag, &[]),
    // A runtime may be given by a flag and in the file: the engine takes both.
    key("runtimes", Table, &[]),
    key("seccomp-profile", Text, &[]),
    key("selinux-enabled", Flag, &[]),
    key("shutdown-timeout", Number, &[]),
    key("storage-driver", Text, &["-s"]),
    key("storage-opts", List, &["--storage-opt"]),
    key("swarm-default-advertise-addr", Text, &[]),
    span("swarm-raft-election-tick", Number, &[], (23, 0), STILL),
    span("swarm-raft-heartbeat-tick", Number, &[], (23, 0), STILL),
    key("tls", Flag, &[]),
    key("tlscacert", Text, &[]),
    key("tlscert", Text, &[]),
    key("tlskey", Text, &[]),
    key("tlsverify", Flag, &[]),
    key("userland-proxy", Flag, &[]),
    key("userland-proxy-path", Text, &[]),
    key("userns-remap", Text, &[]),
];

/// The first engine that checks a file itself when it is asked to.
const VALIDATES: (u32, u32) = (23, 0);

/// The names of all keys that any engine knows.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    KEYS.iter().map(|key| key.name)
}

fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// Whether an engine's version is that one or a later one.
pub(super) fn at_least(version: &str, least: (u32, u32)) -> bool {
    number(version).is_some_and(|version| version >= least)
}

/// Why an engine would not start with what is new in a file, and what to do about it. The version
/// is that of the engine, or the one that will be installed, where it is known; `flags` are the
/// words of its command line.
pub(super) fn refuses(
    version: Option<&str>,
    flags: &[String],
    old: &Map<String, Value>,
    new: &Map<String, Value>,
) -> Option<(String, String)> {
    let version = version.and_then(number);
    // What it has already it has started with.
    let names = changed(old, new).filter(|name| new.contains_key(*name));
    let mut faults = names.filter_map(|name| fault(name, new.get(name)?, version, flags));
    faults.next()
}

fn fault(
    name: &str,
    value: &Value,
    version: Option<(u32, u32)>,
    flags: &[String],
) -> Option<(String, String)> {
    let found = find(name);
    let unknown = match (found, version) {
        (Some(key), Some(version)) => version < key.from || version >= key.until,
        (None, Some(version)) => version < VALIDATES,
        (_, None) => false,
    };
    if unknown {
        let (major, minor) = version.unwrap_or_default();
        let hint = match found {
            Some(key) if key.from > (major, minor) => {
                format!("Engines know it from {}.{} on. ", key.from.0, key.from.1)
            }
            Some(key) => format!(
                "Engines know it no more from {}.{} on. ",
                key.until.0, key.until.1
            ),
            None => crate::inventory::nearest::nearest(name, names())
                .map_or_else(String::new, |near| format!("Did you mean `{near}`? ")),
        };
        return Some((
            format!("Engine {major}.{minor} does not know `{name}`, and does not start with it"),
            format!("{hint}Correct or remove it under `[docker.daemon]`."),
        ));
    }
    let key = found?;
    if !fits(key.kind, value) {
        let kind = kind_name(key.kind);
        return Some((
            format!("`{name}` must be {kind}; the engine does not start with `{value}`"),
            "Correct it under `[docker.daemon]`.".to_owned(),
        ));
    }
    let given = flags.iter().find(|word| is_flag(key, word))?;
    Some((
        format!("`{name}` is given to the engine by its unit already, as `{given}`, and it does not start when it is given twice"),
        "Take the flag out of `docker.service`, its drop-ins or `/etc/default/docker` on the host (`systemctl cat docker.service`).".to_owned(),
    ))
}

/// Whether a word of the command line is a flag for the key: `--flag`, `--flag=value`, `-f`.
fn is_flag(key: &Key, word: &str) -> bool {
    let word = word.split('=').next().unwrap_or(word);
    let list = matches!(key.kind, Kind::List | Kind::Table);
    // Flags of lists have the singular for a name, and there is no `--labels`.
    (!list
        || matches!(
            key.name,
            "dns" | "dns-search" | "allow-nondistributable-artifacts"
        ))
        && word.strip_prefix("--") == Some(key.name)
        || key.flags.contains(&word)
}

fn fits(kind: Kind, value: &Value) -> bool {
    match kind {
        Kind::Flag => value.is_boolean(),
        Kind::Number => value.is_number(),
        Kind::Text => value.is_string(),
        Kind::Size => value.is_string() || value.is_number(),
        Kind::List => value.is_array(),
        Kind::Table => value.is_object(),
    }
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Flag => "`true` or `false`",
        Kind::Number => "a number",
        Kind::Text => "a text",
        Kind::Size => "a size, such as \"64m\"",
        Kind::List => "a list",
        Kind::Table => "a table",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn why(version: Option<&str>, flags: &str, new: &Value) -> String {
        let flags: Vec<String> = flags.split_whitespace().map(str::to_owned).collect();
        let new = new.as_object().unwrap();
        refuses(version, &flags, &Map::new(), new)
            .map_or_else(String::new, |(why, hint)| why + " " + &hint)
    }

    #[test]
    fn keys_are_sorted_and_there_once() {
        assert!(
            names().is_sorted()
                && names()
                    .collect::<Vec<_>>()
                    .windows(2)
                    .all(|it| it[0] != it[1])
        );
    }

    #[test]
    fn a_key_that_an_engine_does_not_know_is_told() {
        let old = Some("20.10.24+dfsg1");
        assert!(
            why(old, "", &json!({ "log-drivr": "local" })).contains("Did you mean `log-driver`")
        );
        assert!(why(old, "", &json!({ "proxies": {} })).contains("from 23.0 on"));
        assert!(why(Some("28.0"), "", &json!({ "graph": "/x" })).contains("no more from 23.0"));
        // Newer engines are asked themselves.
        assert_eq!(why(Some("30.1"), "", &json!({ "new-key": 1 })), "");
        assert_eq!(why(None, "", &json!({ "log-drivr": 1 })), "");
    }

    #[test]
    fn a_value_of_another_kind_is_told() {
        assert!(why(None, "", &json!({ "debug": "yes" })).contains("must be `true` or `false`"));
        assert!(why(None, "", &json!({ "labels": "a=b" })).contains("must be a list"));
        assert_eq!(
            why(
                None,
                "",
                &json!({ "default-shm-size": 1, "mtu": 9000, "dns": [] })
            ),
            ""
        );
    }

    #[test]
    fn a_key_that_is_a_flag_of_the_unit_too_is_told() {
        let flags = "-H fd:// --containerd=/run/c.sock --label a=b --mtu=1400 -D";
        assert!(why(None, flags, &json!({ "labels": ["c=d"] })).contains("as `--label`"));
        assert!(why(None, flags, &json!({ "mtu": 1500 })).contains("as `--mtu=1400`"));
        assert!(why(None, flags, &json!({ "debug": true })).contains("as `-D`"));
        assert!(why(None, flags, &json!({ "containerd": "/x" })).contains("--containerd="));
        assert_eq!(
            why(None, flags, &json!({ "log-level": "warn", "bip": "x" })),
            ""
        );
    }
}
