//! The hosts: ranges expanded, settings resolved, names and addresses unique.

use std::collections::{BTreeMap, BTreeSet};

use super::diagnostic::{Diagnostic, Span};
use super::names::{address_fault, expand_range, names};
use super::read::{At, Field};
use super::resolve::{self, Depth, Layer, Layers, Paths, Picked, setting};
use super::{
    Advertise, Host, Lab, LabDriver, Provider, Role, nearest, openstack, power, range, raw,
    together,
};

/// The hosts with the place of each one's block.
pub(super) struct Hosts {
    pub(super) list: Vec<Host>,
    /// For each host the place of its name.
    pub(super) spans: Vec<Span>,
    /// Whether all roles are known: what counts managers is only right then.
    pub(super) complete: bool,
}

/// All hosts of the file.
pub(super) fn hosts(raw: &raw::Inventory, paths: &Paths<'_>, out: &mut Vec<Diagnostic>) -> Hosts {
    let mut all = Hosts {
        list: Vec::new(),
        spans: Vec::new(),
        complete: !matches!(raw.host, Field::Wrong),
    };
    let mut jumps = Vec::new();
    let mut vias = Vec::new();
    together::check_groups(raw, out);
    let blocks = raw.host.get().map_or(&[][..], Vec::as_slice);
    for block in blocks {
        let before = all.list.len();
        match expand(raw, block, paths, out) {
            Some(found) => {
                all.spans
                    .extend(found.hosts.iter().map(|_| found.span.clone()));
                all.list.extend(found.hosts);
                let range = before..all.list.len();
                jumps.extend(found.jump.map(|jump| (range.clone(), jump)));
                vias.extend(found.via.map(|via| (range, via)));
            }
            None => all.complete = false,
        }
    }
    for (hosts, jump) in &jumps {
        for index in hosts.clone() {
            together::check_jump(&mut all, index, jump, out);
        }
    }
    for (hosts, via) in &vias {
        for index in hosts.clone() {
            power::check_via(&mut all.list, index, via, out);
        }
    }
    together::check_cycles(&all, out);
    together::check_unique(&all, blocks, out);
    together::check_groups_beside_hosts(raw, &all, out);
    all
}

/// The hosts of one block, with what is checked when all are known.
struct Block<'a> {
    hosts: Vec<Host>,
    span: Span,
    jump: Option<Picked<'a, String>>,
    via: Option<Picked<'a, String>>,
}

/// The hosts of one block; `None` when its name or role cannot be told.
#[expect(
    clippy::too_many_lines,
    reason = "one part for each setting of a block"
)]
fn expand<'a>(
    raw: &'a raw::Inventory,
    block: &'a At<raw::Host>,
    paths: &Paths<'_>,
    out: &mut Vec<Diagnostic>,
) -> Option<Block<'a>> {
    let host = &block.value;
    let layers = layers(raw, host, out);
    let role = layers.pick("role", setting::role, out);
    let may_come_from_group = matches!(host.groups, Field::Wrong);
    if host.role.is_absent() && role.is_none() && !may_come_from_group {
        let span = host.name.at().map_or(&block.span, |name| &name.span);
        out.push(
            Diagnostic::error("a host without a role")
                .at(span, "is it in the swarm?")
                .help("set `role` to `\"manager\"`, `\"worker\"` or `\"none\"`"),
        );
    }
    let provider = provider(raw, host);
    let (ssh, jump) = resolve::ssh(&layers, paths, out);
    let docker = resolve::docker(&layers, paths, out);
    let outside = role.as_ref().is_some_and(|role| *role.value == Role::None);
    let storage = if outside {
        None
    } else {
        super::storage::storage(&layers, &docker, out)
    };
    let availability = layers.pick("availability", setting::availability, out);
    let optional = layers.pick("optional", setting::optional, out);
    let labels = layers.merge("labels", setting::labels, out);
    let vars = layers.merge("vars", setting::vars, out);
    for (label, item) in &labels {
        if label.is_empty() || label.contains(|c: char| c.is_whitespace() || c == '=') {
            let error = Diagnostic::error(format!("`{label}` cannot be the name of a label"));
            out.push(error.at(&item.key, "empty, or with blanks or `=`"));
        }
    }
    if role.as_ref().is_some_and(|role| *role.value == Role::None) {
        check_outside(host, out);
    }

    let disks = disks(raw, &layers, provider, out);

    if host.name.is_absent() {
        let error = Diagnostic::error("a host without a name").at(&block.span, "in this table");
        out.push(error.help("set `name`, such as `\"m1\"` or `\"m[1-3]\"`"));
    }
    let name = host.name.at()?;
    let names = names(name, out)?;
    let addresses = match provider {
        Some(provider) => addresses(host, name, names.len(), provider, out),
        None => Vec::new(),
    };
    let (powers, via) = power::power(&layers, name, names.len(), provider, paths, out);
    let mut advertise = advertise(host, &layers, name, names.len(), out);
    let driver = raw.lab.get().and_then(|lab| lab.driver.get()).copied();
    let is_vm = provider == Some(Provider::Lab) && driver == Some(LabDriver::Vm);
    let bare = |one: &&mut Advertise| one.address.is_none() && one.interface.is_none();
    for one in advertise.iter_mut().filter(bare).filter(|_| is_vm) {
        one.interface = Some(Lab::VM_INTERFACE.to_owned());
    }
    if let Some(provider) = provider {
        openstack::elsewhere(host, provider, out);
    }
    let servers = match (provider, &role) {
        (Some(Provider::OpenStack), Some(role)) => {
            openstack::server(&layers, host, name, names.len(), *role.value, paths, out)
        }
        _ => Vec::new(),
    };
    // Without a role there is no server, and that has been told.
    let is_told = provider == Some(Provider::OpenStack) && servers.is_empty();
    if provider.is_some() && storage.is_some() && !is_told {
        let volumes = servers.first().map(|server| server.volumes.as_slice());
        super::storage::check_volumes(&layers, &name.value, volumes, out);
    }
    let role = *role?.value;

    let hosts = names.into_iter().enumerate().map(|(index, name)| Host {
        name,
        address: addresses.get(index).cloned(),
        role,
        labels: match role {
            Role::None => BTreeMap::default(),
            _ => labels
                .iter()
                .map(|(key, item)| ((*key).to_owned(), item.value.value.clone()))
                .collect(),
        },
        availability: availability
            .as_ref()
            .filter(|_| role != Role::None)
            .map(|picked| *picked.value),
        groups: host
            .groups
            .get()
            .into_iter()
            .flatten()
            .map(|group| group.value.clone())
            .collect(),
        vars: vars
            .iter()
            .map(|(key, item)| ((*key).to_owned(), item.value.0.clone()))
            .collect(),
        optional: optional.as_ref().is_some_and(|picked| *picked.value),
        provider: provider.unwrap_or_default(),
        ssh: ssh.clone(),
        docker: docker.clone(),
        storage: storage.clone(),
        wipe: None,
        advertise: advertise.get(index).cloned().unwrap_or_default(),
        exports: Vec::new(),
        mounts: Vec::new(),
        nfs_domain: None,
        disks: disks.clone(),
        hooks: Vec::new(),
        server: servers.get(index).cloned(),
        power: powers.get(index).cloned().flatten(),
    });
    Some(Block {
        hosts: hosts.collect(),
        span: name.span.clone(),
        jump,
        via,
    })
}

/// Where a block's hosts come from; `None` when what the file says is wrong.
fn provider(raw: &raw::Inventory, host: &raw::Host) -> Option<Provider> {
    let cluster = match &raw.cluster {
        Field::Given(cluster) => &cluster.value.provider,
        _ => &Field::Absent,
    };
    for field in [&host.provider, cluster] {
        if !field.is_absent() {
            return field.get().copied();
        }
    }
    Some(Provider::Static)
}

/// Where the settings of a block's hosts stand.
fn layers<'a>(
    raw: &'a raw::Inventory,
    host: &'a raw::Host,
    out: &mut Vec<Diagnostic>,
) -> Layers<'a> {
    let mut layers = vec![Layer::Host(host)];
    let mut seen = BTreeSet::new();
    for name in host.groups.get().into_iter().flatten() {
        let groups = raw.group.get();
        match groups.and_then(|groups| groups.get_key_value(&name.value)) {
            Some((key, group)) => {
                if seen.insert(key) {
                    layers.push(Layer::Group(key, &group.value));
                }
            }
            // A group whose table is wrong has been reported.
            None if matches!(raw.group, Field::Wrong) => {}
            None => {
                let known = groups.into_iter().flatten().map(|(key, _)| key.as_str());
                let error = Diagnostic::error(format!("there is no group `{}`", name.value))
                    .at(&name.span, "not declared");
                out.push(match nearest::nearest(&name.value, known) {
                    Some(near) => error.help(format!("there is a group `{near}`")),
                    None => error.help(format!("declare it with `[group.{}]`", name.value)),
                });
            }
        }
    }
    layers.push(Layer::Cluster(raw));
    Layers(layers)
}

/// The sizes of a block's extra disks, in bytes.
fn disks(
    raw: &raw::Inventory,
    layers: &Layers<'_>,
    provider: Option<Provider>,
    out: &mut Vec<Diagnostic>,
) -> Vec<u64> {
    let Some(disks) = layers.pick("disks", setting::disks, out) else {
        return Vec::new();
    };
    let driver = raw.lab.get().map(|lab| &lab.driver);
    let is_vm = driver.is_some_and(|driver| match driver {
        Field::Given(driver) => driver.value == LabDriver::Vm,
        // What is wrong with it has been reported.
        Field::Wrong => true,
        Field::Absent => false,
    });
    if matches!(provider, Some(Provider::Static | Provider::OpenStack)) {
        // What a group or the lab says is for those of its hosts that are made here.
        if disks.depth == Depth::Host {
            let (what, help) = match provider {
                Some(Provider::OpenStack) => {
                    ("a server of a cloud", "use `volumes` of `openstack`")
                }
                _ => (
                    "a host that exists already",
                    "remove it; `[storage]` says which disks are used",
                ),
            };
            let error = Diagnostic::error(format!("`disks` on {what}"));
            let error = error.at(disks.span, "only hosts of the lab are given disks");
            out.push(error.help(help));
        }
        return Vec::new();
    }
    if !is_vm && !disks.value.is_empty() {
        let error = Diagnostic::error("`disks` without virtual machines");
        let error = error.at(disks.span, "containers have no disks of their own");
        out.push(error.help("set `driver = \"vm\"` in `[lab]`, or remove it"));
    }
    disks.value.iter().map(|size| size.value.0).collect()
}

/// Settings of nodes on a host that is none.
fn check_outside(host: &raw::Host, out: &mut Vec<Diagnostic>) {
    let spans = [
        ("labels", host.labels.at().map(|at| &at.span)),
        ("availability", host.availability.at().map(|at| &at.span)),
        (
            "advertise-address",
            host.advertise_address.at().map(|at| &at.span),
        ),
        (
            "advertise-interface",
            host.advertise_interface.at().map(|at| &at.span),
        ),
        ("data-path", host.data_path.at().map(|at| &at.span)),
        ("storage", host.storage.at().map(|at| &at.span)),
    ];
    for (key, span) in spans {
        if let Some(span) = span {
            let error = Diagnostic::error(format!("`{key}` on a host outside the swarm"))
                .at(span, "only nodes have it");
            let error = match host.role.at() {
                Some(role) => error.see(&role.span, "not a node"),
                None => error,
            };
            out.push(error.help("remove it, or use `vars` for values of your own"));
        }
    }
}

/// The addresses of a block's hosts; empty where there are none or something was reported.
fn addresses(
    host: &raw::Host,
    name: &At<String>,
    count: usize,
    provider: Provider,
    out: &mut Vec<Diagnostic>,
) -> Vec<String> {
    let Some(address) = host.address.at() else {
        if host.address.is_absent() && provider == Provider::Static {
            out.push(
                Diagnostic::error(format!("host `{}` has no address", name.value))
                    .at(&name.span, "where is it?")
                    .help("set `address`, or `provider = \"lab\"` to have it made here, or `provider = \"openstack\"` on a cloud"),
            );
        }
        return Vec::new();
    };
    if provider == Provider::Lab {
        let error = Diagnostic::error("an address on a host of the lab");
        let error = error.at(&address.span, "the lab gives it one");
        out.push(error.help("remove it, or set `provider = \"static\"` for a host that exists"));
        return Vec::new();
    }
    if provider == Provider::OpenStack {
        // They are checked with the rest of the server, as those of its port.
        let words = expand_range(address, &mut Vec::new()).unwrap_or_default();
        return words;
    }
    let Some(addresses) = matching(address, name, count, out) else {
        return Vec::new();
    };
    for one in &addresses {
        if let Some((fault, help)) = address_fault(one) {
            let error = Diagnostic::error(format!("`{one}` cannot be an address"));
            out.push(error.at(&address.span, fault).help(help));
            return Vec::new();
        }
    }
    addresses
}

/// Expands a range that must have as many words as the block has names.
pub(super) fn matching(
    pattern: &At<String>,
    name: &At<String>,
    count: usize,
    out: &mut Vec<Diagnostic>,
) -> Option<Vec<String>> {
    let words = expand_range(pattern, out)?;
    if words.len() == count {
        return Some(words);
    }
    let of = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "es" });
    let names = if count == 1 {
        "1 name".to_owned()
    } else {
        format!("{count} names")
    };
    out.push(
        Diagnostic::error(format!("{names} and {}", of(words.len(), "address")))
            .at(&pattern.span, of(words.len(), "address"))
            .see(&name.span, names)
            .help("give both ranges the same length"),
    );
    None
}

/// What each host of a block tells the others.
fn advertise(
    host: &raw::Host,
    layers: &Layers<'_>,
    name: &At<String>,
    count: usize,
    out: &mut Vec<Diagnostic>,
) -> Vec<Advertise> {
    let interface = layers.pick("advertise-interface", setting::advertise_interface, out);
    let data_path = layers.pick("data-path", setting::data_path, out);
    let mut all = vec![Advertise::default(); count];
    if let Some(address) = host.advertise_address.at() {
        if let Some(interface) = interface
            .as_ref()
            .filter(|found| found.depth == Depth::Host)
        {
            out.push(
                Diagnostic::error("`advertise-address` and `advertise-interface`")
                    .at(&address.span, "an address")
                    .at(interface.span, "and an interface")
                    .help("keep one of them"),
            );
        }
        for (one, text) in all
            .iter_mut()
            .zip(matching(address, name, count, out).into_iter().flatten())
        {
            let Ok(parsed) = text.parse() else {
                let error = Diagnostic::error(format!("`{text}` is not an IP address"))
                    .at(&address.span, "expected an IP address");
                out.push(error.help("for a network interface there is `advertise-interface`"));
                break;
            };
            one.address = Some(parsed);
        }
    } else if let Some(interface) = &interface {
        for one in &mut all {
            one.interface = Some(interface.value.clone());
        }
    }
    if let Some(data_path) = data_path {
        let pattern = At {
            value: data_path.value.clone(),
            span: data_path.span.clone(),
        };
        let words = if range::is_range(&pattern.value) {
            matching(&pattern, name, count, out).unwrap_or_default()
        } else {
            vec![pattern.value; count]
        };
        for (one, text) in all.iter_mut().zip(words) {
            one.data_path = Some(text);
        }
    }
    all
}
