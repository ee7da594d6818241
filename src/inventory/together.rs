//! What hosts must not be beside each other: two of a name, or in each other's way.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use super::diagnostic::{Diagnostic, Span};
use super::hosts::Hosts;
use super::names::RESERVED;
use super::raw;
use super::read::At;
use super::resolve::{Depth, Picked};

/// A jump host that is a host of the inventory must not be the host itself. One that comes from a
/// group or the cluster is for the hosts behind it, and so not for the jump host.
pub(super) fn check_jump(
    all: &mut Hosts,
    index: usize,
    jump: &Picked<'_, String>,
    out: &mut Vec<Diagnostic>,
) {
    let host = &mut all.list[index];
    if host.name.eq_ignore_ascii_case(jump.value) {
        if jump.depth == Depth::Host {
            let error = Diagnostic::error(format!("host `{}` jumps through itself", host.name));
            out.push(error.at(jump.span, "is the host itself"));
        }
        host.ssh.jump = None;
    }
    if jump.value.trim().is_empty() || jump.value.contains(char::is_whitespace) {
        let error = Diagnostic::error("not a host to jump through").at(jump.span, "");
        out.push(error.help("write a host of this inventory, or `[user@]host[:port]`"));
    }
}

/// Jump hosts that need each other.
pub(super) fn check_cycles(all: &Hosts, out: &mut Vec<Diagnostic>) {
    let index: HashMap<&str, usize> = all
        .list
        .iter()
        .enumerate()
        .map(|(i, host)| (host.name.as_str(), i))
        .collect();
    let next = |i: usize| index.get(all.list[i].ssh.jump.as_deref()?).copied();
    // Only the jump hosts themselves can be in a circle.
    let through: BTreeSet<usize> = (0..all.list.len()).filter_map(next).collect();
    let mut reported: BTreeSet<usize> = BTreeSet::new();
    for &start in &through {
        let mut path = Vec::new();
        let mut at = Some(start);
        while let Some(i) = at {
            path.push(i);
            at = next(i);
            if at == Some(start) && !reported.contains(&start) {
                reported.extend(&path);
                let names = path.iter().map(|&i| format!("`{}`", all.list[i].name));
                let names = names.collect::<Vec<_>>().join(" -> ");
                out.push(
                    Diagnostic::error(format!(
                        "jump hosts in a circle: {names} -> `{}`",
                        all.list[start].name
                    ))
                    .at(&all.spans[start], "can never be reached"),
                );
            }
            if path.len() > through.len() {
                break;
            }
        }
    }
}

/// No two hosts have the same name, nor the same way to reach them.
pub(super) fn check_unique(all: &Hosts, blocks: &[At<raw::Host>], out: &mut Vec<Diagnostic>) {
    let mut names: HashMap<String, usize> = HashMap::with_capacity(all.list.len());
    let mut addresses = HashMap::with_capacity(all.list.len());
    let spans: HashMap<&Span, &Span> = blocks
        .iter()
        .filter_map(|block| {
            Some((
                &block.value.name.at()?.span,
                &block.value.address.at()?.span,
            ))
        })
        .collect();
    for (index, host) in all.list.iter().enumerate() {
        let span = &all.spans[index];
        if let Some(first) = names.insert(host.name.to_lowercase(), index) {
            let error = Diagnostic::error(format!("two hosts are called `{}`", host.name));
            out.push(twice(error, &all.spans[first], span).help("rename one of them"));
        }
        let Some(address) = &host.address else {
            continue;
        };
        let address = address
            .parse::<IpAddr>()
            .map_or_else(|_| address.to_lowercase(), |ip| ip.to_string());
        // The same address can be two machines behind two ports or two bastions.
        let way = (address, host.ssh.port, host.ssh.jump.clone());
        if let Some(first) = addresses.insert(way, index) {
            let place = |i: usize| *spans.get(&all.spans[i]).unwrap_or(&&all.spans[i]);
            let other = &all.list[first].name;
            let error = Diagnostic::error(format!(
                "hosts `{other}` and `{}` have the same address",
                host.name
            ));
            out.push(
                twice(error, place(first), place(index))
                    .help("two machines behind one address need different `ssh.port`"),
            );
        }
    }
}

/// Marks both places, or the one that they share.
fn twice(error: Diagnostic, first: &Span, second: &Span) -> Diagnostic {
    if first == second {
        error.at(second, "twice in this range")
    } else {
        error.at(second, "here again").see(first, "first here")
    }
}

pub(super) fn check_groups(raw: &raw::Inventory, out: &mut Vec<Diagnostic>) {
    for (name, group) in raw.group.get().into_iter().flatten() {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || !name.chars().all(plain) {
            let error = Diagnostic::error(format!("`{name}` cannot be a group's name"));
            out.push(error.at(&group.key, "expected letters, digits, `-` and `_`"));
        } else if RESERVED.contains(&name.to_ascii_lowercase().as_str()) {
            let error = Diagnostic::error(format!("`{name}` cannot be a group's name"));
            out.push(
                error
                    .at(&group.key, "selectors use this word")
                    .help("choose another name"),
            );
        }
    }
}

pub(super) fn check_groups_beside_hosts(
    raw: &raw::Inventory,
    all: &Hosts,
    out: &mut Vec<Diagnostic>,
) {
    let groups = raw.group.get();
    for (host, span) in all.list.iter().zip(&all.spans) {
        if let Some(group) = groups.and_then(|groups| groups.get(&host.name)) {
            let error = Diagnostic::error(format!("`{}` is a host and a group", host.name))
                .at(&group.key, "the group")
                .see(span, "the host");
            out.push(error.help("rename one of them, so that selectors are clear"));
        }
    }
}
