//! Which setting holds for a host: its own, else its groups', else the cluster's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::diagnostic::{Diagnostic, Span};
use super::raw;
use super::read::{At, Field, Item, Map};
use super::{Docker, DockerSource, SecretRef, Ssh};

/// A place where settings stand. Each method gives a setting of it, where it has such a one.
#[derive(Clone, Copy)]
pub(super) enum Layer<'a> {
    Host(&'a raw::Host),
    Group(&'a str, &'a raw::Group),
    Cluster(&'a raw::Inventory),
}

/// How near to the host a setting was found; nearer is less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Depth {
    Host,
    Group,
    Cluster,
}

impl<'a> Layer<'a> {
    pub(super) fn depth(self) -> Depth {
        match self {
            Self::Host(_) => Depth::Host,
            Self::Group(..) => Depth::Group,
            Self::Cluster(_) => Depth::Cluster,
        }
    }

    fn ssh(self) -> Option<&'a raw::Ssh> {
        match self {
            Self::Host(host) => host.ssh.get(),
            Self::Group(_, group) => group.ssh.get(),
            Self::Cluster(cluster) => cluster.ssh.get(),
        }
    }

    pub(super) fn power(self) -> Option<&'a raw::Power> {
        match self {
            Self::Host(host) => host.power.get(),
            Self::Group(_, group) => group.power.get(),
            Self::Cluster(cluster) => cluster.power.get(),
        }
    }

    pub(super) fn openstack_field(self) -> &'a Field<raw::OpenStack> {
        match self {
            Self::Host(host) => &host.openstack,
            Self::Group(_, group) => &group.openstack,
            Self::Cluster(cluster) => &cluster.openstack,
        }
    }

    pub(super) fn openstack(self) -> Option<&'a raw::OpenStack> {
        self.openstack_field().get()
    }

    pub(super) fn docker(self) -> Option<&'a raw::Docker> {
        match self {
            Self::Host(host) => host.docker.get(),
            Self::Group(_, group) => group.docker.get(),
            Self::Cluster(cluster) => cluster.docker.get(),
        }
    }
}

/// Declares how to find a setting in each kind of [`Layer`].
macro_rules! setting {
    ($name:ident: $type:ty, cluster = |$cluster:ident| $found:expr) => {
        pub(in crate::inventory) fn $name(layer: Layer<'_>) -> Option<&Field<$type>> {
            match layer {
                Layer::Host(host) => Some(&host.$name),
                Layer::Group(_, group) => Some(&group.$name),
                Layer::Cluster($cluster) => $found,
            }
        }
    };
}

/// The settings that stand beside `ssh` and `docker`.
pub(super) mod setting {
    use super::super::values::{ByteSize, Toml};
    use super::super::{Availability, Role, raw};
    use super::{At, Field, Layer, Map};

    setting!(role: Role, cluster = |_c| None);
    setting!(labels: Map<At<String>>, cluster = |_c| None);
    setting!(availability: Availability, cluster = |_c| None);
    setting!(optional: bool, cluster = |_c| None);
    setting!(vars: Map<Toml>, cluster = |c| Some(&c.vars));
    setting!(disks: Vec<At<ByteSize>>, cluster = |c| Some(&c.lab.get()?.disks));
    setting!(storage: raw::Storage, cluster = |c| Some(&c.storage));
    setting!(power: raw::Power, cluster = |c| Some(&c.power));
    setting!(advertise_interface: String, cluster = |c| Some(&c.swarm.get()?.advertise_interface));
    setting!(data_path: String, cluster = |c| Some(&c.swarm.get()?.data_path));
}

/// The places of one host's settings: the host, its groups in the order that it names them, the
/// cluster.
pub(super) struct Layers<'a>(pub(super) Vec<Layer<'a>>);

/// A setting that was found.
pub(super) struct Picked<'a, T> {
    pub(super) value: &'a T,
    pub(super) span: &'a Span,
    pub(super) depth: Depth,
}

impl<'a> Layers<'a> {
    /// The setting that `get` finds, nearest first. Groups that contradict each other are an
    /// error, for the order of groups is not an order of precedence.
    pub(super) fn pick<T: PartialEq>(
        &self,
        what: &str,
        get: impl Fn(Layer<'a>) -> Option<&'a Field<T>>,
        out: &mut Vec<Diagnostic>,
    ) -> Option<Picked<'a, T>> {
        let mut found: Option<(Layer<'a>, &'a At<T>)> = None;
        for &layer in &self.0 {
            let Some(at) = get(layer).and_then(Field::at) else {
                continue;
            };
            match (found, layer) {
                (None, _) => found = Some((layer, at)),
                (Some((Layer::Group(first, _), before)), Layer::Group(second, _))
                    if before != at =>
                {
                    out.push(contradiction(
                        what,
                        (first, &before.span),
                        (second, &at.span),
                    ));
                }
                _ => {}
            }
        }
        found.map(|(layer, at)| Picked {
            value: &at.value,
            span: &at.span,
            depth: layer.depth(),
        })
    }

    /// The entries of the tables that `get` finds: of each key the nearest.
    pub(super) fn merge<T: PartialEq>(
        &self,
        what: &str,
        get: impl Fn(Layer<'a>) -> Option<&'a Field<Map<T>>>,
        out: &mut Vec<Diagnostic>,
    ) -> BTreeMap<&'a str, &'a Item<T>> {
        let mut merged: BTreeMap<&str, (Layer<'a>, &Item<T>)> = BTreeMap::new();
        for &layer in &self.0 {
            for (key, item) in get(layer).and_then(Field::get).into_iter().flatten() {
                match (merged.get(key.as_str()), layer) {
                    (None, _) => {
                        merged.insert(key, (layer, item));
                    }
                    (Some((Layer::Group(first, _), before)), Layer::Group(second, _))
                        if before.value != item.value =>
                    {
                        let what = format!("{what}.{key}");
                        out.push(contradiction(
                            &what,
                            (first, &before.key),
                            (second, &item.key),
                        ));
                    }
                    _ => {}
                }
            }
        }
        merged
            .into_iter()
            .map(|(key, (_, item))| (key, item))
            .collect()
    }
}

fn contradiction(what: &str, first: (&str, &Span), second: (&str, &Span)) -> Diagnostic {
    let (one, two) = (first.0, second.0);
    Diagnostic::error(format!(
        "groups `{one}` and `{two}` contradict each other about `{what}`"
    ))
    .at(second.1, format!("`{two}` says this"))
    .see(first.1, format!("`{one}` says this"))
    .help("a host is in both groups: set it on the host, or take the host out of one of them")
}

/// Makes paths of the file absolute or relative to the current directory.
pub(super) struct Paths<'a> {
    /// The directory of the inventory.
    pub(super) base: &'a Path,
    /// The user's home.
    pub(super) home: Option<PathBuf>,
}

impl Paths<'_> {
    pub(super) fn resolve(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        match (path.strip_prefix("~"), &self.home) {
            (Ok(rest), Some(home)) => home.join(rest),
            _ => self.base.join(path),
        }
    }

    pub(super) fn secret(&self, secret: &SecretRef) -> SecretRef {
        match secret {
            SecretRef::File(path) => SecretRef::File(self.resolve(path)),
            other => other.clone(),
        }
    }
}

/// The settings of SSH. `jump` comes back with its place, for it is checked when all hosts are
/// known.
pub(super) fn ssh<'a>(
    layers: &Layers<'a>,
    paths: &Paths<'_>,
    out: &mut Vec<Diagnostic>,
) -> (Ssh, Option<Picked<'a, String>>) {
    macro_rules! pick {
        ($field:ident, $name:literal) => {
            layers.pick($name, |layer| Some(&layer.ssh()?.$field), out)
        };
    }
    let become_root = pick!(become_root, "ssh.become");
    let become_password = pick!(become_password, "ssh.become-password");
    let uses_sudo = become_root.as_ref().is_some_and(|picked| *picked.value);
    if let Some(password) = &become_password
        && !uses_sudo
        // A host may turn off what the cluster has: it needs no password then.
        && become_root.as_ref().is_none_or(|picked| picked.depth >= password.depth)
    {
        let error = Diagnostic::error("`become-password` without `become`")
            .at(password.span, "sudo is not used");
        let error = match &become_root {
            Some(become_root) => error.see(become_root.span, "it is turned off here"),
            None => error,
        };
        out.push(error.help("set `become = true` beside it, or remove it"));
    }
    let port = pick!(port, "ssh.port");
    if let Some(port) = port.as_ref().filter(|port| *port.value == 0) {
        out.push(Diagnostic::error("0 is not a port").at(port.span, "expected 1 to 65535"));
    }
    let timeout = pick!(connect_timeout, "ssh.connect-timeout");
    if let Some(timeout) = timeout.as_ref().filter(|timeout| *timeout.value == 0) {
        let error = Diagnostic::error("no connection is made within 0 seconds");
        out.push(error.at(timeout.span, "expected seconds, such as 20"));
    }
    let jump = pick!(jump, "ssh.jump");
    let identity = pick!(identity, "ssh.identity");
    let identity = identity.map_or_else(Vec::new, |picked| {
        let files = picked.value.0.iter();
        files.map(|file| paths.resolve(&file.value)).collect()
    });
    let config = pick!(config, "ssh.config").map(|picked| picked.value.as_str());
    let ssh = Ssh {
        user: pick!(user, "ssh.user").map(|picked| picked.value.clone()),
        port: port.map(|picked| *picked.value),
        identity,
        identity_passphrase: pick!(identity_passphrase, "ssh.identity-passphrase")
            .map(|picked| paths.secret(picked.value)),
        password: pick!(password, "ssh.password").map(|picked| paths.secret(picked.value)),
        become_root: uses_sudo,
        become_password: become_password
            .filter(|_| uses_sudo)
            .map(|picked| paths.secret(picked.value)),
        jump: jump.as_ref().map(|picked| picked.value.clone()),
        known_hosts: pick!(known_hosts, "ssh.known-hosts")
            .map(|picked| paths.resolve(picked.value)),
        host_key_check: pick!(host_key_check, "ssh.host-key-check")
            .map_or_else(Default::default, |picked| *picked.value),
        config: config.map(|path| match path {
            "" => PathBuf::new(),
            path => paths.resolve(path),
        }),
        connect_timeout: timeout.map_or(Ssh::CONNECT_TIMEOUT, |picked| *picked.value),
    };
    (ssh, jump)
}

/// The settings of the Docker Engine.
pub(super) fn docker(layers: &Layers<'_>, paths: &Paths<'_>, out: &mut Vec<Diagnostic>) -> Docker {
    macro_rules! pick {
        ($field:ident, $name:literal) => {
            layers.pick($name, |layer| Some(&layer.docker()?.$field), out)
        };
    }
    let source = pick!(source, "docker.source");
    let (kind, depth) = source
        .as_ref()
        .map_or((DockerSource::default(), None), |picked| {
            (*picked.value, Some(picked.depth))
        });
    let packages = pick!(packages, "docker.packages");
    let repository = pick!(repository, "docker.repository");
    let repository_key = pick!(repository_key, "docker.repository-key");
    for (option, name, wanted, word) in [
        (&packages, "packages", DockerSource::Offline, "offline"),
        (
            &repository,
            "repository",
            DockerSource::DockerCe,
            "docker-ce",
        ),
        (
            &repository_key,
            "repository-key",
            DockerSource::DockerCe,
            "docker-ce",
        ),
    ] {
        // A host may have another source than the cluster: the cluster's options of the other
        // source then mean nothing to it.
        if let Some(option) = option
            && kind != wanted
            && depth.is_none_or(|depth| depth >= option.depth)
        {
            let error = Diagnostic::error(format!("`{name}` is only for `source = \"{word}\"`"))
                .at(option.span, "has no effect");
            let error = match &source {
                Some(source) => error.see(source.span, "this is the source"),
                None => error,
            };
            out.push(error.help(format!("set `source = \"{word}\"`, or remove `{name}`")));
        }
    }
    if let Some(source) = &source
        && kind == DockerSource::Offline
        && packages.is_none()
    {
        out.push(
            Diagnostic::error("`source = \"offline\"` without `packages`")
                .at(source.span, "needs a folder of `.deb` files")
                .help("set `packages` to the folder"),
        );
    }
    let version = pick!(version, "docker.version");
    if let Some(version) = &version
        && !is_version(version.value)
    {
        out.push(
            Diagnostic::error(format!("`{}` is not a version", version.value))
                .at(version.span, "expected digits and dots")
                .help("write the version or its beginning, such as `20.10` or `28.0.1`"),
        );
    }
    let insecure = pick!(allow_insecure_tcp, "docker.allow-insecure-tcp");
    let allow_insecure_tcp = insecure.as_ref().is_some_and(|picked| *picked.value);
    if let Some(insecure) = insecure.filter(|_| allow_insecure_tcp) {
        out.push(
            Diagnostic::warning("TCP sockets without TLS are allowed").at(
                insecure.span,
                "gives root to anyone who can reach such a socket",
            ),
        );
    }
    let daemon = layers.merge("docker.daemon", |layer| Some(&layer.docker()?.daemon), out);
    super::daemon::lint(&daemon, allow_insecure_tcp, out);
    let is = |wanted| move |_: &Picked<'_, String>| kind == wanted;
    Docker {
        source: kind,
        version: version.map(|picked| picked.value.clone()),
        packages: packages
            .filter(is(DockerSource::Offline))
            .map(|picked| paths.resolve(picked.value)),
        repository: repository
            .filter(is(DockerSource::DockerCe))
            .map(|picked| picked.value.trim_end_matches('/').to_owned()),
        repository_key: repository_key
            .filter(is(DockerSource::DockerCe))
            .map(|picked| paths.resolve(picked.value)),
        repository_key_text: None,
        package_files: BTreeMap::new(),
        daemon: daemon
            .into_iter()
            .map(|(key, item)| (key.to_owned(), item.value.0.value.clone()))
            .collect(),
        allow_insecure_tcp,
        overlay_mtu: None,
    }
}

/// Whether the text is a version as Debian packages have them, or the beginning of one.
fn is_version(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".+:~-".contains(&byte);
    let wildcard = text.split('.').any(|part| part == "x" || part == "X");
    text.starts_with(|first: char| first.is_ascii_digit())
        && !text.ends_with('.')
        && !wildcard
        && text.bytes().all(allowed)
}
