//! `[openstack]` and what groups and hosts say in its place: all errors at once.

use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net};

use super::super::diagnostic::Diagnostic;
use super::super::hosts::matching;
use super::super::read::{At, Field};
use super::super::resolve::{Layer, Layers, Paths};
use super::super::values::ByteSize;
use super::super::{Inventory, Provider, Role, raw};
use super::{AntiAffinity, BootVolume, Floating, Image, OpenStack, Server, Volume};

const GIB: u64 = 1 << 30;

/// The settings of a block's servers, one for each name; empty where one is wrong or the hosts come
/// from elsewhere.
#[expect(
    clippy::too_many_lines,
    reason = "one part for each setting of a server"
)]
pub(in crate::inventory) fn server(
    layers: &Layers<'_>,
    block: &raw::Host,
    name: &At<String>,
    count: usize,
    role: Role,
    paths: &Paths<'_>,
    out: &mut Vec<Diagnostic>,
) -> Vec<Server> {
    cluster_wide(layers, out);
    macro_rules! pick {
        ($field:ident, $name:literal) => {
            layers.pick($name, |layer| Some(&layer.openstack()?.$field), out)
        };
    }
    let image = image(layers, name, out);
    let flavor = pick!(flavor, "openstack.flavor");
    let networks = pick!(networks, "openstack.networks");
    missing(layers, name, out);
    let zones = pick!(availability_zones, "openstack.availability-zones");
    let groups = pick!(security_groups, "openstack.security-groups");
    let anti_affinity = pick!(anti_affinity, "openstack.anti-affinity");
    let floating = pick!(floating_ips, "openstack.floating-ips");
    let from = pick!(floating_network, "openstack.floating-network");
    let floats = match floating.as_ref().map(|it| *it.value) {
        Some(Floating::All) => true,
        Some(Floating::Managers) => role == Role::Manager,
        Some(Floating::Workers) => role == Role::Worker,
        Some(Floating::None) | None => false,
    };
    if let (true, None, Some(floating)) = (floats, &from, &floating)
        && layers.absent(|it| it.floating_network.is_absent())
    {
        let error = Diagnostic::error("floating IPs from nowhere");
        let error = error.at(floating.span, "from which network?");
        out.push(
            error.help("set `floating-network` to the external network, such as `\"public\"`"),
        );
    }
    let boot_size = pick!(boot_volume, "openstack.boot-volume");
    let boot_kind = pick!(boot_volume_type, "openstack.boot-volume-type");
    if let (Some(kind), None) = (&boot_kind, &boot_size)
        && layers.absent(|it| it.boot_volume.is_absent())
    {
        let error = Diagnostic::error("`boot-volume-type` without `boot-volume`");
        let error = error.at(kind.span, "the server boots from no volume");
        out.push(error.help("set `boot-volume` to its size, such as `\"20 GiB\"`"));
    }
    let boot_volume = boot_size.and_then(|size| {
        Some(BootVolume {
            gib: gib(
                &At {
                    value: *size.value,
                    span: size.span.clone(),
                },
                out,
            )?,
            kind: boot_kind.map(|kind| kind.value.clone()),
        })
    });
    let metadata = layers.merge(
        "openstack.metadata",
        |layer| Some(&layer.openstack()?.metadata),
        out,
    );
    for (key, item) in &metadata {
        if key.is_empty() || key.len() > 255 || item.value.value.len() > 255 {
            let error = Diagnostic::error(format!("`{key}` cannot be metadata of a server"));
            out.push(error.at(&item.key, "Nova takes 1 to 255 characters"));
        } else if key.starts_with("skep-") {
            let error = Diagnostic::error(format!("`{key}` is skep's own"));
            out.push(error.at(&item.key, "tells to which cluster the server belongs"));
        }
    }
    let networks = networks.map(|list| words(list.value, "network", out));
    if let Some([]) = networks.as_deref()
        && let Some(list) = pick!(networks, "openstack.networks")
    {
        let error = Diagnostic::error("a server without a network").at(list.span, "empty");
        out.push(error.help("name the network that the swarm uses"));
    }
    let server = Server {
        image: image.unwrap_or(Image::Named(String::new())),
        flavor: flavor.map_or_else(String::new, |it| it.value.clone()),
        networks: networks.unwrap_or_default(),
        address: None,
        security_groups: groups
            .map_or_else(Vec::new, |list| words(list.value, "security group", out)),
        floating_from: from.filter(|_| floats).map(|it| it.value.clone()),
        zones: zones.map_or_else(Vec::new, |list| words(list.value, "availability zone", out)),
        anti_affinity: match (anti_affinity, role) {
            (Some(picked), _) => *picked.value,
            (None, Role::Manager) => AntiAffinity::Soft,
            (None, _) => AntiAffinity::None,
        },
        boot_volume,
        volumes: volumes(layers, out),
        metadata: metadata
            .into_iter()
            .map(|(key, item)| (key.to_owned(), item.value.value.clone()))
            .collect(),
        user_data: pick!(user_data, "openstack.user-data").map(|it| paths.resolve(it.value)),
        user_data_text: None,
        config_drive: pick!(config_drive, "openstack.config-drive").is_some_and(|it| *it.value),
    };
    let mut servers = vec![server; count];
    for (server, address) in servers.iter_mut().zip(addresses(block, name, count, out)) {
        server.address = Some(address);
    }
    servers
}

/// The fixed addresses of a block's servers; empty where it says none, or a wrong one.
fn addresses(
    block: &raw::Host,
    name: &At<String>,
    count: usize,
    out: &mut Vec<Diagnostic>,
) -> Vec<Ipv4Addr> {
    let Some(address) = block.address.at() else {
        return Vec::new();
    };
    let words = matching(address, name, count, out).unwrap_or_default();
    let mut addresses = Vec::new();
    for word in words {
        let Ok(parsed) = word.parse() else {
            let error = Diagnostic::error(format!("`{word}` is no IPv4 address"));
            let error = error.at(&address.span, "the address of the server's port");
            out.push(error.help("write an address of the first of `networks`, or leave it out: the cloud gives one, and the server keeps it"));
            return Vec::new();
        };
        addresses.push(parsed);
    }
    addresses
}

/// The image, by its name or by its properties: the nearest of both holds.
fn image(layers: &Layers<'_>, name: &At<String>, out: &mut Vec<Diagnostic>) -> Option<Image> {
    let named = layers.pick(
        "openstack.image",
        |layer| Some(&layer.openstack()?.image),
        out,
    );
    let with = layers.merge(
        "openstack.image-properties",
        |layer| Some(&layer.openstack()?.image_properties),
        out,
    );
    let properties = layers.0.iter().find_map(|layer| {
        let at = layer.openstack()?.image_properties.at()?;
        Some((layer.depth(), &at.span))
    });
    match (named, properties) {
        (Some(named), Some((depth, span))) if named.depth == depth => {
            let error = Diagnostic::error("`image` and `image-properties` for one server");
            let error = error
                .at(span, "a second choice")
                .see(named.span, "the first");
            out.push(error.help("keep one of them"));
            None
        }
        (Some(named), Some((depth, _))) if named.depth < depth => {
            Some(Image::Named(named.value.clone()))
        }
        (Some(named), None) => Some(Image::Named(named.value.clone())),
        (_, Some((_, span))) => {
            if with.is_empty() {
                let error = Diagnostic::error("an image with no properties at all");
                out.push(
                    error
                        .at(span, "would be any")
                        .see(&name.span, "for this server"),
                );
            }
            let with = with.into_iter();
            Some(Image::With(
                with.map(|(key, item)| (key.to_owned(), item.value.value.clone()))
                    .collect(),
            ))
        }
        (None, None) => None,
    }
}

/// What every server must have and nobody says.
fn missing(layers: &Layers<'_>, name: &At<String>, out: &mut Vec<Diagnostic>) {
    for (key, what, absent) in [
        (
            "image",
            "`image = \"debian-12\"`",
            layers.absent(|it| it.image.is_absent() && it.image_properties.is_absent()),
        ),
        (
            "flavor",
            "`flavor = \"m1.small\"`",
            layers.absent(|it| it.flavor.is_absent()),
        ),
        (
            "networks",
            "`networks = [\"private\"]`",
            layers.absent(|it| it.networks.is_absent()),
        ),
    ] {
        if absent {
            let error = Diagnostic::error(format!("server `{}` without `{key}`", name.value));
            let error = error.at(&name.span, "made with what?");
            out.push(error.help(format!(
                "set {what} under `[openstack]`, in a group, or on the host as `openstack.{key}`"
            )));
        }
    }
}

/// What groups and hosts cannot say.
fn cluster_wide(layers: &Layers<'_>, out: &mut Vec<Diagnostic>) {
    for layer in &layers.0 {
        if matches!(layer, Layer::Cluster(_)) {
            continue;
        }
        let Some(it) = layer.openstack() else {
            continue;
        };
        let spans = [
            ("cloud", it.cloud.at().map(|at| &at.span)),
            ("region", it.region.at().map(|at| &at.span)),
            ("keypair", it.keypair.at().map(|at| &at.span)),
            ("public-key", it.public_key.at().map(|at| &at.span)),
            ("ssh-from", it.ssh_from.at().map(|at| &at.span)),
            (
                "encrypted-overlay",
                it.encrypted_overlay.at().map(|at| &at.span),
            ),
            ("login-timeout", it.login_timeout.at().map(|at| &at.span)),
        ];
        for (key, span) in spans {
            if let Some(span) = span {
                let error = Diagnostic::error(format!("`{key}` holds for the whole cluster"));
                let error = error.at(span, "not for a part of it");
                out.push(error.help("move it to `[openstack]`"));
            }
        }
    }
}

fn volumes(layers: &Layers<'_>, out: &mut Vec<Diagnostic>) -> Vec<Volume> {
    let list = layers.pick(
        "openstack.volumes",
        |layer| Some(&layer.openstack()?.volumes),
        out,
    );
    let mut volumes: Vec<Volume> = Vec::new();
    for at in list.into_iter().flat_map(|list| list.value) {
        let it = &at.value;
        for (key, absent) in [("name", it.name.is_absent()), ("size", it.size.is_absent())] {
            if absent {
                let error = Diagnostic::error(format!("a volume without `{key}`"));
                out.push(error.at(&at.span, format!("`{key}` is missing")));
            }
        }
        let size = it.size.at().and_then(|size| gib(size, out));
        let (Some(name), Some(gib)) = (it.name.at(), size) else {
            continue;
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.value.is_empty() || !name.value.chars().all(plain) {
            let error = Diagnostic::error(format!("`{}` cannot be a volume's name", name.value));
            out.push(error.at(&name.span, "expected letters, digits, `-` and `_`"));
        } else if volumes.iter().any(|volume| volume.name == name.value) {
            let error = Diagnostic::error(format!("two volumes are called `{}`", name.value));
            out.push(error.at(&name.span, "again"));
        }
        volumes.push(Volume {
            name: name.value.clone(),
            gib,
            kind: it.kind.get().cloned(),
        });
    }
    volumes
}

/// Whole GiB, which is what Cinder counts in.
fn gib(size: &At<ByteSize>, out: &mut Vec<Diagnostic>) -> Option<u32> {
    let bytes = size.value.0;
    match u32::try_from(bytes / GIB) {
        Ok(gib) if gib > 0 && bytes.is_multiple_of(GIB) => Some(gib),
        _ => {
            let error = Diagnostic::error("not a size that a volume can have");
            let error = error.at(&size.span, "expected whole GiB");
            out.push(error.help("write it like `\"20 GiB\"`"));
            None
        }
    }
}

/// A list of names, none of them empty or twice.
fn words(list: &[At<String>], what: &str, out: &mut Vec<Diagnostic>) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in list {
        if word.value.trim().is_empty() {
            let error = Diagnostic::error(format!("a {what} without a name"));
            out.push(error.at(&word.span, "empty"));
        } else if words.contains(&word.value) {
            let error = Diagnostic::error(format!("the {what} `{}` twice", word.value));
            out.push(error.at(&word.span, "again"));
        } else {
            words.push(word.value.clone());
        }
    }
    words
}

/// Checks what holds for all servers, and puts it into the model.
pub(in crate::inventory) fn apply(
    raw: &raw::Inventory,
    inventory: &mut Inventory,
    complete: bool,
    paths: &Paths<'_>,
    out: &mut Vec<Diagnostic>,
) {
    let is_server = |provider| provider == Provider::OpenStack;
    let any = inventory.hosts.iter().any(|host| is_server(host.provider));
    if let Some(table) = raw.openstack.at()
        && complete
        && !any
    {
        let warning = Diagnostic::warning("`[openstack]` has no effect");
        out.push(warning.at(&table.span, "no host has `provider = \"openstack\"`"));
    }
    if !any && raw.openstack.get().is_none() {
        return;
    }
    let none = raw::OpenStack::default();
    let it = raw.openstack.get().unwrap_or(&none);
    if let (Some(keypair), Some(key)) = (it.keypair.at(), it.public_key.at()) {
        let error = Diagnostic::error("`keypair` and `public-key`");
        let error = error
            .at(&key.span, "a second key")
            .see(&keypair.span, "the first");
        out.push(
            error
                .help("keep `keypair` for one that the cloud has, or `public-key` to have it made"),
        );
    }
    let identity = inventory.hosts.iter().find_map(|host| {
        let path = host
            .ssh
            .identity
            .first()
            .filter(|_| is_server(host.provider))?;
        let mut name = path.as_os_str().to_owned();
        name.push(".pub");
        Some(name.into())
    });
    let public_key = match (&it.public_key, it.keypair.is_absent()) {
        (Field::Given(at), _) => Some(paths.resolve(&at.value)),
        (Field::Absent, true) => identity,
        _ => None,
    };
    if any && public_key.is_none() && it.keypair.is_absent() && it.public_key.is_absent() {
        let error = Diagnostic::error("no key to log in to the servers with");
        let error = match raw.openstack.at() {
            Some(table) => error.at(&table.span, "no `public-key`, no `keypair`"),
            None => error,
        };
        out.push(error.help("set `public-key = \"~/.ssh/id_ed25519.pub\"` under `[openstack]`, or `identity` under `[ssh]`: the key beside it is taken"));
    }
    // The tag is `skep=NAME`, and Nova allows 60 characters.
    if let Some(name) = raw.cluster.get().and_then(|it| it.name.at())
        && name.value.len() > 55
    {
        let error = Diagnostic::error("too long a name for the tag of a cloud");
        out.push(error.at(&name.span, "expected up to 55 characters"));
    }
    let ssh_from = it.ssh_from.get().map_or(&[][..], Vec::as_slice);
    let mut nets: Vec<Ipv4Net> = Vec::new();
    for net in ssh_from {
        match net.value.0 {
            IpNet::V4(net) => nets.push(net),
            IpNet::V6(_) => {
                let error = Diagnostic::error("`ssh-from` takes IPv4 networks");
                out.push(error.at(&net.span, "is IPv6"));
            }
        }
    }
    if it.ssh_from.get().is_some() && ssh_from.is_empty() {
        let error = Diagnostic::error("nobody may log in to the servers");
        let span = it.ssh_from.at().map_or(0..0, |at| at.span.clone());
        out.push(
            error
                .at(&span, "empty")
                .help("name the network that skep runs in, such as `[\"198.51.100.0/24\"]`"),
        );
    }
    if it.ssh_from.is_absent() && any {
        let warning = Diagnostic::warning("SSH to the servers is open to everybody");
        let warning = match raw.openstack.at() {
            Some(table) => warning.at(&table.span, "no `ssh-from`"),
            None => warning,
        };
        out.push(warning.help("set `ssh-from` to the networks that you log in from"));
        nets.push(Ipv4Net::default());
    }
    let login = it.login_timeout.at();
    if let Some(login) = login.filter(|it| !(1..=3600).contains(&it.value)) {
        let error = Diagnostic::error("`login-timeout` is out of range");
        out.push(error.at(&login.span, "expected 1 to 3600 seconds"));
    }
    inventory.openstack = Some(OpenStack {
        cloud: it.cloud.get().cloned(),
        region: it.region.get().cloned(),
        keypair: it.keypair.get().cloned(),
        public_key,
        public_key_text: None,
        ssh_from: nets,
        encrypted_overlay: it.encrypted_overlay.get().copied().unwrap_or(true),
        login_timeout: login.map_or(OpenStack::LOGIN_TIMEOUT, |it| it.value),
    });
}

/// The table of a group or host whose hosts come from elsewhere.
pub(in crate::inventory) fn elsewhere(
    host: &raw::Host,
    provider: Provider,
    out: &mut Vec<Diagnostic>,
) {
    if let Some(table) = host.openstack.at()
        && provider != Provider::OpenStack
    {
        let error = Diagnostic::error("`openstack` on a host that is no server of a cloud");
        let error = error.at(&table.span, "has no effect");
        out.push(error.help("set `provider = \"openstack\"`, or remove it"));
    }
}

impl Layers<'_> {
    /// Whether a key of `[openstack]` stands nowhere. One that is wrong stands there.
    fn absent(&self, absent: impl Fn(&raw::OpenStack) -> bool) -> bool {
        self.0.iter().all(|layer| match layer.openstack_field() {
            Field::Given(at) => absent(&at.value),
            Field::Absent => true,
            Field::Wrong => false,
        })
    }
}
