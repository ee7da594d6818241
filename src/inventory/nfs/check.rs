//! Checks the tables of NFS and gives each host what is its.

use std::collections::BTreeMap;

use super::super::check::{required, selected};
use super::super::diagnostic::{Diagnostic, Span};
use super::super::read::{At, Field};
use super::super::{Host, Inventory, Provider, nearest, raw};
use super::{Export, Mount, split_source};

/// The versions of the protocol that Linux speaks (nfs(5), `nfsvers`).
const VERSIONS: [&str; 5] = ["3", "4", "4.0", "4.1", "4.2"];

/// Folders that are the system's own: nothing there may come from a server, nor anything under
/// them but for what [`UNDER`] names.
const SYSTEM: [&str; 14] = [
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/root", "/run", "/sbin", "/sys",
    "/tmp", "/usr", "/var",
];

/// What may be mounted under a folder of the system all the same.
const UNDER: [&str; 5] = [
    "/usr/local/",
    "/var/backups/",
    "/var/opt/",
    "/var/spool/",
    "/var/www/",
];

/// What skep decides by keys of their own; saying it twice could contradict.
const OWN_OPTIONS: [(&str, &str); 7] = [
    ("hard", "`soft = false`"),
    ("soft", "`soft = true`"),
    ("softerr", "`soft = true`"),
    ("nfsvers", "`version`"),
    ("vers", "`version`"),
    ("bg", "`automount`"),
    ("x-systemd.automount", "`automount`"),
];

/// Gives the hosts their exports and mounts, and says all that is wrong with them.
pub(in crate::inventory) fn apply(
    raw: &raw::Inventory,
    inventory: &mut Inventory,
    out: &mut Vec<Diagnostic>,
) {
    let Some(nfs) = raw.nfs.get() else {
        return;
    };
    let mut exports: BTreeMap<(String, String), Span> = BTreeMap::new();
    for block in nfs.export.get().into_iter().flatten() {
        export(block, inventory, &mut exports, out);
    }
    let all_exports = !matches!(nfs.export, Field::Wrong)
        && nfs
            .export
            .get()
            .into_iter()
            .flatten()
            .all(|it| it.value.path.at().is_some());
    let mut targets = BTreeMap::new();
    for block in nfs.mount.get().into_iter().flatten() {
        mount(block, inventory, all_exports, &mut targets, out);
    }
    let used = |host: &Host| !host.exports.is_empty() || !host.mounts.is_empty();
    if let Some(domain) = nfs.domain.at() {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
        if domain.value.is_empty() || !domain.value.chars().all(plain) {
            let error = Diagnostic::error(format!("`{}` is not a domain", domain.value));
            out.push(error.at(&domain.span, "expected a name such as `example.org`"));
        }
        for host in inventory.hosts.iter_mut().filter(|host| used(host)) {
            host.nfs_domain = Some(domain.value.clone());
        }
    }
}

fn export(
    block: &At<raw::NfsExport>,
    inventory: &mut Inventory,
    seen: &mut BTreeMap<(String, String), Span>,
    out: &mut Vec<Diagnostic>,
) {
    let raw = &block.value;
    let path = required(&raw.path, "path", "an export", &block.span, out)
        .and_then(|at| Some((clean(at, "path", out)?, &at.span)));
    if let Some((path, span)) = &path
        && path == "/"
    {
        out.push(
            Diagnostic::error("the whole root file system as an export")
                .at(span, "gives away every file of the host")
                .help("export a folder, such as `/srv/docker`"),
        );
    }
    let clients = required(&raw.clients, "clients", "an export", &block.span, out);
    if let Some(clients) = clients.filter(|clients| clients.value.is_empty()) {
        let error = Diagnostic::error("an export without clients");
        let error = error.at(&clients.span, "nobody may mount it");
        out.push(error.help("name networks or hosts, such as `[\"10.0.0.0/24\"]`"));
    }
    for client in clients.into_iter().flat_map(|clients| &clients.value) {
        if client.value.is_empty() || client.value.contains(|c: char| !is_word(c) || c == '=') {
            let error = Diagnostic::error(format!("`{}` cannot be a client", client.value));
            let error = error.at(
                &client.span,
                "expected a network, an address, a name or `*`",
            );
            out.push(error.help("options stand in `options`, not in brackets behind the client"));
        }
    }
    let options = options(&raw.options, out);
    let Some(host) = required(&raw.host, "host", "an export", &block.span, out) else {
        return;
    };
    let Some(index) = find(inventory, host, out) else {
        return;
    };
    let (Some((path, span)), Some(clients)) = (path, clients) else {
        return;
    };
    let name = inventory.hosts[index].name.clone();
    if let Some(before) = seen.insert((name.clone(), path.clone()), span.clone()) {
        out.push(
            Diagnostic::error(format!("`{name}` exports `{path}` twice"))
                .at(span, "once more")
                .see(&before, "here already")
                .help("name all clients in one table"),
        );
        return;
    }
    inventory.hosts[index].exports.push(Export {
        path,
        clients: clients.value.iter().map(|it| it.value.clone()).collect(),
        options: options.unwrap_or_else(|| Export::OPTIONS.map(str::to_owned).to_vec()),
    });
}

fn mount(
    block: &At<raw::NfsMount>,
    inventory: &mut Inventory,
    all_exports: bool,
    targets: &mut BTreeMap<(String, String), Span>,
    out: &mut Vec<Diagnostic>,
) {
    let raw = &block.value;
    let source = required(&raw.source, "source", "a mount", &block.span, out);
    let source = source.and_then(|at| Some((server(at, inventory, all_exports, out)?, &at.span)));
    let target = required(&raw.target, "target", "a mount", &block.span, out);
    let target = target.and_then(|at| {
        let path = clean(at, "target", out)?;
        let fine = allowed(&path, &at.span, out);
        fine.then_some((path, &at.span))
    });
    let options = options(&raw.options, out).unwrap_or_default();
    for option in raw.options.get().into_iter().flatten() {
        let name = option.value.split('=').next().unwrap_or_default();
        if let Some((_, key)) = OWN_OPTIONS.iter().find(|(own, _)| *own == name) {
            let error = Diagnostic::error(format!("`{name}` among the options"));
            let error = error.at(&option.span, "has a key of its own");
            out.push(error.help(format!("say it with {key}")));
        }
    }
    if let Some(version) = raw.version.at()
        && !VERSIONS.contains(&version.value.as_str())
    {
        let error = Diagnostic::error(format!("`{}` is no version of NFS", version.value));
        out.push(error.at(
            &version.span,
            "expected `\"4.2\"`, `\"4.1\"`, `\"4\"` or `\"3\"`",
        ));
    }
    if let Some(timeout) = raw.timeout.at().filter(|it| !(1..=600).contains(&it.value)) {
        let error = Diagnostic::error(format!("{} seconds to mount", timeout.value));
        out.push(error.at(&timeout.span, "expected 1 to 600 seconds"));
    }
    let Some(on) = required(&raw.on, "on", "a mount", &block.span, out) else {
        return;
    };
    let Some(hosts) = selected(inventory, on, out) else {
        return;
    };
    let (Some((source, source_span)), Some((target, target_span))) = (source, target) else {
        return;
    };
    for name in hosts {
        if name == source.name {
            out.push(
                Diagnostic::error(format!("`{name}` mounts what it exports itself"))
                    .at(&on.span, format!("selects `{name}`"))
                    .see(source_span, "the server")
                    .help(format!("leave it out with `{} & !{name}`", on.value)),
            );
            continue;
        }
        let key = (name.clone(), target.clone());
        if let Some(before) = targets.get(&key) {
            out.push(
                Diagnostic::error(format!("two mounts on `{target}` of `{name}`"))
                    .at(target_span, "the second")
                    .see(before, "the first"),
            );
            continue;
        }
        targets.insert(key, target_span.clone());
        let Some(host) = inventory.hosts.iter_mut().find(|host| host.name == name) else {
            continue;
        };
        host.mounts.push(Mount {
            server: source.name.clone(),
            source: format!("{}:{}", source.address, source.path),
            target: target.clone(),
            options: options.clone(),
            soft: raw.soft.get().copied().unwrap_or(false),
            timeout: raw.timeout.get().copied().unwrap_or(Mount::TIMEOUT),
            automount: raw.automount.get().copied().unwrap_or(true),
            before_docker: raw.before_docker.get().copied().unwrap_or(false),
            version: raw.version.get().cloned(),
        });
    }
}

/// Where a mount comes from.
struct Server {
    name: String,
    address: String,
    path: String,
}

fn server(
    at: &At<String>,
    inventory: &Inventory,
    all_exports: bool,
    out: &mut Vec<Diagnostic>,
) -> Option<Server> {
    let wrong = |message: String, label: &str| {
        let error = Diagnostic::error(message).at(&at.span, label);
        error.help("write it like `nas:/srv/docker`")
    };
    let Some((server, path)) = split_source(&at.value).filter(|(server, _)| !server.is_empty())
    else {
        out.push(wrong(
            format!("`{}` is no source", at.value),
            "expected `SERVER:/path`",
        ));
        return None;
    };
    if !path.starts_with('/') || at.value.contains(|c: char| !is_word(c)) {
        let label = "expected an absolute path without blanks, quotes and commas";
        out.push(wrong(format!("`{path}` cannot be exported"), label));
        return None;
    }
    let path = match path.trim_end_matches('/') {
        "" => "/",
        path => path,
    };
    let same = |host: &&Host| host.name.eq_ignore_ascii_case(server);
    let Some(host) = inventory.hosts.iter().find(same) else {
        let (server, path) = (server.to_owned(), path.to_owned());
        return Some(Server {
            address: server.clone(),
            name: server,
            path,
        });
    };
    // With `fsid=0` a server gives its clients another root, so that their paths are not its own.
    let pseudo_root = |export: &Export| {
        export
            .options
            .iter()
            .any(|it| it == "fsid=0" || it == "fsid=root")
    };
    let covers = |export: &Export| {
        path == export.path
            || path
                .strip_prefix(&export.path)
                .is_some_and(|rest| rest.starts_with('/'))
    };
    let exports = &host.exports;
    if all_exports && !exports.iter().any(|it| pseudo_root(it) || covers(it)) {
        let error = Diagnostic::error(format!("host `{}` exports no `{path}`", host.name))
            .at(&at.span, "a host of this inventory");
        let known = exports.iter().map(|export| export.path.as_str());
        out.push(match nearest::nearest(path, known) {
            Some(near) => error.help(format!("it exports `{near}`")),
            None => error.help(format!(
                "add `[[nfs.export]]` with `host = \"{}\"` and `path = \"{path}\"`; a server that skep does not manage is no host of the inventory",
                host.name
            )),
        });
        return None;
    }
    Some(Server {
        name: host.name.clone(),
        address: reachable_at(host),
        path: path.to_owned(),
    })
}

/// What clients reach a host at: the address that it tells others, else its name in a lab, which
/// the lab makes known to all hosts, else the address to log in at.
fn reachable_at(host: &Host) -> String {
    let address = match (host.advertise.address, host.provider, &host.address) {
        (Some(address), _, _) => address.to_string(),
        (None, Provider::Static | Provider::OpenStack, Some(address)) => address.clone(),
        (None, _, _) => host.name.clone(),
    };
    if address.contains(':') && !address.starts_with('[') {
        return format!("[{address}]");
    }
    address
}

fn find(inventory: &Inventory, host: &At<String>, out: &mut Vec<Diagnostic>) -> Option<usize> {
    let same = |it: &Host| it.name.eq_ignore_ascii_case(&host.value);
    let found = inventory.hosts.iter().position(same);
    if found.is_none() {
        let error = Diagnostic::error(format!("there is no host `{}`", host.value))
            .at(&host.span, "not in the inventory");
        let known = inventory.hosts.iter().map(|host| host.name.as_str());
        out.push(match nearest::nearest(&host.value, known) {
            Some(near) => error.help(format!("there is a host `{near}`")),
            None => error.help("a server outside the swarm is a host with `role = \"none\"`"),
        });
    }
    found
}

/// Whether a character may stand in a path or a word of exports(5), fstab(5) and a unit, none of
/// which quote in the same way.
fn is_word(c: char) -> bool {
    !c.is_whitespace() && !c.is_control() && !"\"'\\,()#%$".contains(c)
}

/// An absolute path without a slash at its end.
fn clean(at: &At<String>, key: &str, out: &mut Vec<Diagnostic>) -> Option<String> {
    let path = &at.value;
    let wrong =
        |label: &str| Diagnostic::error(format!("`{path}` cannot be a {key}")).at(&at.span, label);
    if !path.starts_with('/') {
        out.push(wrong("expected an absolute path").help(format!("begin it with `/`: `/{path}`")));
        return None;
    }
    if path.contains(|c: char| !is_word(c)) {
        let label = "expected a path without blanks, quotes, commas, `#`, `%` and `$`";
        out.push(wrong(label).help("the files of NFS quote these each in a way of its own"));
        return None;
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if parts.iter().any(|part| [".", ".."].contains(part)) {
        out.push(wrong("has `.` or `..` in it"));
        return None;
    }
    Some(format!("/{}", parts.join("/")))
}

/// Whether something may be mounted there.
fn allowed(path: &str, span: &Span, out: &mut Vec<Diagnostic>) -> bool {
    let inside = |folder: &str| path == folder || path.starts_with(&format!("{folder}/"));
    let error = Diagnostic::error(format!("nothing may be mounted on `{path}`"));
    if ["/var/lib/docker", "/var/lib/containerd"]
        .iter()
        .any(|it| inside(it))
    {
        out.push(
            error
                .at(span, "the engine's own data")
                .help("overlay2 does not work on NFS: its upper layer needs whiteouts and extended attributes that NFS has not")
                .help("mount it elsewhere, such as `/mnt/docker`, and use it for volumes"),
        );
        return false;
    }
    if path == "/"
        || (SYSTEM.iter().any(|it| inside(it)) && !UNDER.iter().any(|it| path.starts_with(it)))
    {
        out.push(
            error
                .at(span, "belongs to the system")
                .help("without it the host would not start when the server is gone; use `/mnt/...`, `/srv/...` or `/home`"),
        );
        return false;
    }
    true
}

fn options(field: &Field<Vec<At<String>>>, out: &mut Vec<Diagnostic>) -> Option<Vec<String>> {
    let given = field.get()?;
    for option in given {
        if option.value.is_empty() || option.value.contains(|c: char| !is_word(c)) {
            let error = Diagnostic::error(format!("`{}` is no option", option.value));
            let error = error.at(
                &option.span,
                "expected one option, without blanks and commas",
            );
            out.push(error.help("write a list with one option each: `[\"rw\", \"sync\"]`"));
        }
    }
    Some(given.iter().map(|it| it.value.clone()).collect())
}
