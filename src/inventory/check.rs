//! From the raw file to the checked model: all errors at once.

use std::path::Path;

use ipnet::IpNet;

use super::diagnostic::{Diagnostic, Span};
use super::hosts::{self, Hosts};
use super::read::{At, Field};
use super::resolve::Paths;
use super::{Inventory, Lab, Provider, Role, Swarm, raw};
use crate::quorum;

/// The model, with every finding in `out`; what it holds means nothing when one is an error.
pub(super) fn check(
    raw: &raw::Inventory,
    path: &Path,
    text_len: usize,
    out: &mut Vec<Diagnostic>,
) -> Inventory {
    let paths = Paths {
        base: path.parent().unwrap_or(Path::new("")),
        home: std::env::home_dir(),
    };
    let cluster = cluster(raw, out);
    let swarm = swarm(raw, out);
    let lab = lab(raw);
    let hosts = hosts::hosts(raw, &paths, out);
    if hosts.complete {
        managers(raw, &hosts, &swarm, text_len, out);
    }
    pools_beside_hosts(raw, &hosts, &swarm, out);
    if let Some(table) = raw.lab.at()
        && hosts.complete
        && hosts.list.iter().all(|host| host.provider != Provider::Lab)
    {
        out.push(
            Diagnostic::warning("`[lab]` has no effect")
                .at(&table.span, "no host has `provider = \"lab\"`"),
        );
    }
    let complete = hosts.complete;
    let mut inventory = Inventory {
        cluster,
        path: path.to_owned(),
        swarm,
        backup: None,
        lab,
        openstack: None,
        start_first: start_first(raw, out),
        hosts: hosts.list,
    };
    super::nfs::apply(raw, &mut inventory, out);
    super::hook::apply(raw, &mut inventory, out);
    super::openstack::apply(raw, &mut inventory, complete, &paths, out);
    super::backup::apply(raw, &mut inventory, &paths, out);
    inventory
}

/// The value of a key that must be there.
pub(super) fn required<'a, T>(
    field: &'a Field<T>,
    key: &str,
    what: &str,
    span: &Span,
    out: &mut Vec<Diagnostic>,
) -> Option<&'a At<T>> {
    if field.is_absent() {
        let error = Diagnostic::error(format!("{what} without `{key}`"));
        out.push(error.at(span, format!("`{key}` is missing")));
    }
    field.at()
}

/// The names of the hosts that a selector of the file selects.
pub(super) fn selected(
    inventory: &Inventory,
    on: &At<String>,
    out: &mut Vec<Diagnostic>,
) -> Option<Vec<String>> {
    match inventory.select(&on.value) {
        Ok(hosts) => Some(hosts.iter().map(|host| host.name.clone()).collect()),
        Err(fault) => {
            let error = Diagnostic::error(fault.message.clone()).at(&on.span, "selects nothing");
            out.push(match fault.hint {
                Some(hint) => error.help(hint),
                None => error,
            });
            None
        }
    }
}

fn cluster(raw: &raw::Inventory, out: &mut Vec<Diagnostic>) -> String {
    const HELP: &str = "name it: `[cluster]`, then `name = \"...\"`";
    let Some(cluster) = raw.cluster.at() else {
        if raw.cluster.is_absent() {
            out.push(Diagnostic::error("the cluster has no name").help(HELP));
        }
        return String::new();
    };
    let Some(name) = cluster.value.name.at() else {
        if cluster.value.name.is_absent() {
            let error = Diagnostic::error("the cluster has no name");
            out.push(error.at(&cluster.span, "`name` is missing").help(HELP));
        }
        return String::new();
    };
    // It becomes a directory's name and a container's label.
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let begins_well = name.value.starts_with(|c: char| c.is_ascii_alphanumeric());
    if !begins_well || name.value.len() > 63 || !name.value.chars().all(plain) {
        out.push(
            Diagnostic::error(format!("`{}` cannot be a cluster's name", name.value))
                .at(
                    &name.span,
                    "expected up to 63 letters, digits, `-`, `_` and `.`",
                )
                .help("begin it with a letter or a digit"),
        );
    }
    name.value.clone()
}

/// The names of stacks and services that come first, each once.
fn start_first(raw: &raw::Inventory, out: &mut Vec<Diagnostic>) -> Vec<String> {
    let start = raw.start.get();
    let given = start.and_then(|start| start.first.get());
    let mut names: Vec<String> = Vec::new();
    for name in given.into_iter().flatten() {
        let error = if name.value.trim().is_empty() {
            Diagnostic::error("an empty name").at(&name.span, "expected a stack or a service")
        } else if names.contains(&name.value) {
            Diagnostic::error(format!("`{}` comes first twice", name.value)).at(&name.span, "again")
        } else {
            names.push(name.value.clone());
            continue;
        };
        out.push(error);
    }
    names
}

fn lab(raw: &raw::Inventory) -> Lab {
    let lab = raw.lab.get();
    Lab {
        driver: lab
            .and_then(|lab| lab.driver.get())
            .copied()
            .unwrap_or_default(),
        release: lab
            .and_then(|lab| lab.release.get())
            .map_or(Lab::RELEASE, |release| release.0)
            .to_owned(),
        mirror: lab.and_then(|lab| lab.mirror.get()).cloned(),
        subnet: lab.and_then(|lab| lab.subnet.get()).map(|net| net.0),
        memory_mib: lab.and_then(|lab| lab.memory.get()).map(|memory| memory.0),
        cpu_percent: lab.and_then(|lab| lab.cpus.get()).map(|cpus| cpus.0),
    }
}

fn swarm(raw: &raw::Inventory, out: &mut Vec<Diagnostic>) -> Swarm {
    let Some(swarm) = raw.swarm.get() else {
        return Swarm::default();
    };
    let pools = swarm.default_addr_pool.get().map_or(&[][..], Vec::as_slice);
    for (index, pool) in pools.iter().enumerate() {
        let net = pool.value.0;
        for before in &pools[..index] {
            let other = before.value.0;
            if other.contains(&net) || net.contains(&other) {
                out.push(
                    Diagnostic::error(format!("the pools `{other}` and `{net}` overlap"))
                        .at(&pool.span, "overlaps")
                        .see(&before.span, "with this one"),
                );
            }
        }
        // Docker's own default, and the largest that it accepts
        // (moby, daemon/cluster: validateDefaultAddrPool).
        let size = swarm.subnet_size.get().copied().unwrap_or(24);
        if size < net.prefix_len() {
            let error = Diagnostic::error(format!(
                "networks of /{size} do not fit into the pool `{net}`"
            ))
            .at(&pool.span, format!("is smaller than a /{size}"));
            out.push(match swarm.subnet_size.at() {
                Some(size) => error.see(&size.span, "the size of each network"),
                None => error.help(format!("set `subnet-size` to {} or more", net.prefix_len())),
            });
        }
    }
    if let Some(size) = swarm.subnet_size.at() {
        if size.value > 29 || size.value == 0 {
            let error = Diagnostic::error(format!("networks of /{} cannot be had", size.value))
                .at(&size.span, "expected 1 to 29");
            out.push(error.help("Docker needs at least 8 addresses in each network"));
        } else if swarm.default_addr_pool.is_absent() {
            let error = Diagnostic::error("`subnet-size` without `default-addr-pool`")
                .at(&size.span, "the size of parts of what?");
            out.push(error.help("set `default-addr-pool`, such as `[\"10.200.0.0/16\"]`"));
        }
    }
    if let Some(port) = swarm.data_path_port.at()
        && !(1024..=49151).contains(&port.value)
    {
        out.push(
            Diagnostic::error(format!(
                "Docker does not accept {} as data path port",
                port.value
            ))
            .at(&port.span, "expected 1024 to 49151"),
        );
    }
    Swarm {
        default_addr_pool: pools.iter().map(|pool| pool.value.0).collect(),
        subnet_size: swarm.subnet_size.get().copied(),
        data_path_port: swarm.data_path_port.get().copied(),
        autolock: swarm.autolock.get().copied(),
        cert_expiry_days: swarm.cert_expiry.get().map(|days| days.0),
        task_history: swarm.task_history.get().copied(),
        allow_even_managers: swarm.allow_even_managers.get().copied().unwrap_or(false),
    }
}

/// A swarm has managers, and an odd number of them.
fn managers(
    raw: &raw::Inventory,
    all: &Hosts,
    swarm: &Swarm,
    text_len: usize,
    out: &mut Vec<Diagnostic>,
) {
    if all.list.is_empty() {
        let end = text_len.saturating_sub(1)..text_len;
        let span = raw.host.at().map_or(&end, |at| &at.span);
        out.push(
            Diagnostic::error("the inventory has no hosts")
                .at(span, "expected `[[host]]`")
                .help("add hosts: `[[host]]`, then `name`, `address` and `role`"),
        );
        return;
    }
    let blocks = blocks(all, Role::Manager);
    let count: usize = blocks.iter().map(|(_, count)| count).sum();
    if count == 0 {
        let workers = self::blocks(all, Role::Worker);
        let (message, marked) = match workers.iter().map(|(_, count)| count).sum::<usize>() {
            0 => ("no manager".to_owned(), self::blocks(all, Role::None)),
            1 => ("1 worker and no manager".to_owned(), workers),
            n => (format!("{n} workers and no manager"), workers),
        };
        let mut error = Diagnostic::error(message);
        if let Some((span, _)) = marked.first() {
            error = error.at(span, "not a manager");
        }
        let help =
            "a swarm is made by its first manager: set `role = \"manager\"` on 1, 3 or 5 hosts";
        out.push(error.help(help));
        return;
    }
    if count.is_multiple_of(2) && !swarm.allow_even_managers {
        let mut error = Diagnostic::error(format!("an even number of managers: {count}"));
        for (span, count) in blocks {
            let many = if count == 1 { "" } else { "s" };
            error = error.at(span, format!("{count} manager{many}"));
        }
        let fewer = quorum::describe(count - 1);
        let help = format!("{}; {fewer}", quorum::describe(count));
        let other = match count {
            2 => "make one of them a worker, or add a third".to_owned(),
            n => format!("make one of them a worker, or add one to have {}", n + 1),
        };
        out.push(
            error.help(help).help(other).help(
                "if you know why you want it, set `allow-even-managers = true` under `[swarm]`",
            ),
        );
    }
}

/// The blocks with hosts of a role, and how many each has.
fn blocks(all: &Hosts, role: Role) -> Vec<(&Span, usize)> {
    let mut blocks: Vec<(&Span, usize)> = Vec::new();
    for (host, span) in all.list.iter().zip(&all.spans) {
        if host.role == role {
            match blocks.last_mut() {
                Some((last, count)) if *last == span => *count += 1,
                _ => blocks.push((span, 1)),
            }
        }
    }
    blocks
}

/// The pool of overlay networks must not cover the hosts' own addresses: they would become
/// unreachable from containers, and the network's replies go astray.
fn pools_beside_hosts(raw: &raw::Inventory, all: &Hosts, swarm: &Swarm, out: &mut Vec<Diagnostic>) {
    let pools = raw
        .swarm
        .get()
        .and_then(|swarm| swarm.default_addr_pool.get());
    let inside = |pool: &IpNet| {
        let mut hosts = all
            .list
            .iter()
            .zip(&all.spans)
            .filter(|(host, _)| host.role != Role::None);
        hosts.find(|(host, _)| {
            let address = host
                .address
                .as_ref()
                .and_then(|address| address.parse().ok());
            let address = host.advertise.address.or(address);
            address.is_some_and(|address: std::net::IpAddr| pool.contains(&address))
        })
    };
    for pool in pools.into_iter().flatten() {
        if let Some((host, span)) = inside(&pool.value.0) {
            out.push(
                Diagnostic::error(format!(
                    "the pool `{}` covers the address of host `{}`",
                    pool.value.0, host.name
                ))
                .at(&pool.span, "for overlay networks")
                .see(span, "its address is in the pool")
                .help("choose a network that is used nowhere else at your site"),
            );
        }
    }
    let default: Option<IpNet> = "10.0.0.0/8".parse().ok();
    if swarm.default_addr_pool.is_empty()
        && pools.is_none()
        && let Some((host, span)) = default.as_ref().and_then(inside)
    {
        out.push(
            Diagnostic::warning(format!(
                "Docker's default pool `10.0.0.0/8` covers the address of host `{}`",
                host.name
            ))
            .at(span, "its address is in the pool")
            .help("set `default-addr-pool` under `[swarm]`: it cannot be changed later"),
        );
    }
}
