//! What must not stand in `daemon.json`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::diagnostic::Diagnostic;
use super::nearest::nearest;
use super::read::Item;
use super::values::Json;
use crate::resource::daemon_keys;

/// Reports the keys with which the engine would not start, or not be in a swarm.
pub(super) fn lint(
    daemon: &BTreeMap<&str, &Item<Json>>,
    allow_insecure_tcp: bool,
    out: &mut Vec<Diagnostic>,
) {
    for (key, item) in daemon {
        let value = &item.value.0.value;
        let span = &item.value.0.span;
        match *key {
            "hosts" => {
                let sockets = value.as_array().map_or(&[][..], Vec::as_slice);
                let mut texts = sockets.iter().filter_map(Value::as_str);
                let tls = daemon.get("tlsverify");
                let tls = tls.is_some_and(|item| item.value.0.value == Value::Bool(true));
                if texts.any(|socket| socket.starts_with("tcp:")) && !tls && !allow_insecure_tcp {
                    out.push(
                        Diagnostic::error("a `tcp://` socket without TLS")
                            .at(span, "gives root on the host to anyone who can reach it")
                            .help("skep needs no TCP socket: it talks to the engine through SSH"),
                    );
                }
                out.push(
                    Diagnostic::error("`hosts` in `daemon.json` keeps the engine from starting")
                        .at(&item.key, "given twice")
                        .help(
                            "the packaged unit passes `-H fd://` already: write more sockets \
                             into a drop-in of `docker.service`",
                        ),
                );
            }
            "live-restore" if *value == Value::Bool(true) => out.push(
                Diagnostic::error("`live-restore` does not go with a swarm")
                    .at(span, "the engine refuses to be in a swarm with it")
                    .help("remove it, or set it to `false`"),
            ),
            "firewall-backend" if value == "nftables" => out.push(
                Diagnostic::error("the firewall backend `nftables` does not go with a swarm")
                    .at(span, "the engine refuses to be in a swarm with it")
                    .help("remove it, or set it to `\"iptables\"`"),
            ),
            "storage-driver" if value == "devicemapper" => out.push(
                Diagnostic::warning("the storage driver `devicemapper` is gone from Engine 25 on")
                    .at(span, "works up to Engine 24")
                    .help("there is no way to convert it later: prefer `\"overlay2\"`"),
            ),
            _ => {}
        }
        if !daemon_keys().any(|known| known == *key) {
            let mut warning =
                Diagnostic::warning(format!("no engine known to skep has the key `{key}`"))
                    .at(&item.key, "an engine that does not know it would not start");
            if let Some(near) = nearest(key, daemon_keys()) {
                warning = warning.help(format!("did you mean `{near}`?"));
            }
            out.push(warning);
        }
    }
}
