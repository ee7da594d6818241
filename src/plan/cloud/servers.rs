//! The servers with their ports, volumes and floating IPs.

use std::collections::{BTreeMap, BTreeSet};

use crate::inventory::openstack::{AntiAffinity, Server as Wanted};
use crate::inventory::{Host, Provider, Role};
use crate::openstack::Kind;
use crate::openstack::model::{Affinity, BootVolume, Flavor, Image, Port, Server, ServerStatus};

use super::super::step::{CloudCall, GroupRef, ServerCall, Step};
use super::super::{ChangeId, Diff, Outlook};
use super::firewall::Firewall;
use super::given::{self, Nothing};
use super::user_data::UserData;
use super::{BOOT_SECONDS, HostKey, Made, WHOLE, value};

/// The keypair of new servers, and the change that makes it.
type Keypair = (String, Option<ChangeId>);

/// What skep calls the port of a host on its `index`th network.
pub(super) fn port_name(host: &str, index: usize) -> String {
    format!("{host} {index}")
}

/// What skep calls a volume of a host.
pub(super) fn volume_name(host: &str, volume: &str) -> String {
    format!("{host} {volume}")
}

/// Plans every server of `selected`.
pub(super) fn plan(
    made: &mut Made<'_>,
    selected: &BTreeSet<String>,
    firewall: &Firewall,
    keypair: Option<&Keypair>,
) {
    let inventory = made.inventory;
    let hosts = inventory.hosts.iter();
    let hosts: Vec<&Host> = hosts
        .filter(|host| host.provider == Provider::OpenStack && selected.contains(&host.name))
        .collect();
    let mut groups = BTreeMap::new();
    let mut zones = Zones::count(made);
    for host in hosts {
        let Some(wanted) = &host.server else { continue };
        let faults = not_there(made, host, wanted);
        if !faults.is_empty() {
            for (why, hint) in faults {
                made.fault(&host.name, why, hint);
            }
            continue;
        }
        let before = made.plan.changes.len();
        let outlook = one(
            made,
            host,
            wanted,
            firewall,
            keypair,
            &mut groups,
            &mut zones,
        );
        let outlook = match outlook {
            Ok(()) if made.plan.changes.len() > before => Outlook::Make,
            Ok(()) => Outlook::Same,
            Err((why, hint)) => {
                // What was planned of it before the fault would lead nowhere.
                made.plan.changes.truncate(before);
                made.fault(&host.name, why.clone(), hint);
                Outlook::Unknown(why)
            }
        };
        if !matches!(outlook, Outlook::Unknown(_)) {
            made.plan.hosts.insert(host.name.clone(), outlook);
        }
    }
}

/// A server that the cloud never found a place for: it holds nothing.
fn never_placed(server: &Server) -> bool {
    server.status == ServerStatus::Error && server.zone.is_none()
}

/// All that the inventory names for a host and the cloud does not have.
fn not_there(made: &Made<'_>, host: &Host, wanted: &Wanted) -> Vec<Nothing> {
    let survey = made.survey;
    let mut servers = survey.servers.iter();
    let boots = !servers.any(|it| it.name == host.name && !never_placed(it));
    let mut found: Vec<Result<(), Nothing>> = Vec::new();
    if boots {
        found.push(given::image(survey, &wanted.image).map(drop));
        found.push(given::flavor(survey, &wanted.flavor).map(drop));
        let zones = wanted.zones.iter();
        found.extend(zones.map(|zone| given::zone(survey, zone)));
    }
    let networks = wanted.networks.iter().chain(&wanted.floating_from);
    found.extend(networks.map(|it| given::network(survey, it).map(drop)));
    let port = port_name(&host.name, 0);
    let has_port = survey.ports.iter().any(|it| it.name == port);
    if let Some(Ok(network)) = wanted.networks.first().map(|it| given::network(survey, it))
        && boots
        && !has_port
    {
        let address = wanted.address.map(std::net::IpAddr::V4);
        found.push(in_the_network(made, network, address));
    }
    let groups = wanted.security_groups.iter();
    found.extend(groups.map(|it| given::security_group(survey, it).map(drop)));
    found.into_iter().filter_map(Result::err).collect()
}

/// How many servers of each role are in each zone.
struct Zones(BTreeMap<(Role, String), usize>);

impl Zones {
    fn count(made: &Made<'_>) -> Self {
        let mut counts = BTreeMap::new();
        for server in &made.survey.servers {
            if let (Some(host), Some(zone)) = (made.inventory.host(&server.name), &server.zone) {
                *counts.entry((host.role, zone.clone())).or_default() += 1;
            }
        }
        Self(counts)
    }

    /// The zone with the fewest of that role; the first of those.
    fn choose(&mut self, role: Role, zones: &[String]) -> Option<String> {
        let count = |zone: &String| self.0.get(&(role, zone.clone())).copied().unwrap_or(0);
        let zone = zones.iter().min_by_key(|zone| count(zone))?.clone();
        *self.0.entry((role, zone.clone())).or_default() += 1;
        Some(zone)
    }
}

#[expect(
    clippy::too_many_lines,
    reason = "one part for each thing that a server needs"
)]
fn one(
    made: &mut Made<'_>,
    host: &Host,
    wanted: &Wanted,
    firewall: &Firewall,
    keypair: Option<&Keypair>,
    groups: &mut BTreeMap<String, Option<ChangeId>>,
    zones: &mut Zones,
) -> Result<(), Nothing> {
    let survey = made.survey;
    let mut found = survey.servers.iter().filter(|it| it.name == host.name);
    let there = found.next();
    if let (Some(first), Some(second)) = (there, found.next()) {
        return Err((
            format!(
                "two servers of this cluster are called so: {} and {}",
                first.id, second.id
            ),
            "Remove one of them with the cloud's own tools.".to_owned(),
        ));
    }
    let failed = there.filter(|it| never_placed(it));
    let there = there.filter(|_| failed.is_none());
    if let Some(server) = there {
        fit(server)?;
        differences(made, host, wanted, server);
    }
    let boots = there.is_none();
    let (flavor, image) = if boots {
        let image = given::image(survey, &wanted.image)?;
        let flavor = given::flavor(survey, &wanted.flavor)?;
        large_enough(flavor, image, wanted)?;
        (Some(flavor), Some(image))
    } else {
        (None, None)
    };
    let ports = ports(made, host, wanted, firewall, boots)?;
    let mut running: Vec<ChangeId> = Vec::new();
    if let (Some(flavor), Some(image)) = (flavor, image) {
        let user_data = UserData::of(made.inventory, host);
        try_out(&user_data)?;
        let group = server_group(made, host.role, wanted.anti_affinity, groups);
        let zone = zones.choose(host.role, &wanted.zones);
        let others = wanted.zones.iter().filter(|it| Some(*it) != zone.as_ref());
        let other_zones: Vec<String> = others.cloned().collect();
        let mut needs: BTreeSet<ChangeId> = ports.changes.iter().cloned().collect();
        needs.extend(keypair.and_then(|(_, id)| id.clone()));
        let (group, made_group) = group.unzip();
        needs.extend(made_group.flatten());
        let mut metadata = wanted.metadata.clone();
        metadata.insert("skep-role".to_owned(), role(host.role).to_owned());
        let boot_volume = wanted.boot_volume.as_ref().map(|volume| BootVolume {
            size: volume.gib.into(),
            kind: volume.kind.clone(),
            delete_with_server: true,
        });
        let mut diff = vec![value("flavor", None, Some(told(flavor)))];
        diff.push(value("image", None, Some(image.name.clone())));
        let networks = wanted.networks.join(", ");
        diff.push(value("networks", None, Some(networks)));
        for (name, new) in [
            (
                "boot volume",
                boot_volume.as_ref().map(|it| format!("{} GiB", it.size)),
            ),
            (
                "availability zone",
                zone.as_ref().map(|zone| or_else(zone, &other_zones)),
            ),
            ("server group", group.clone()),
            ("keypair", keypair.map(|(name, _)| name.clone())),
        ] {
            if new.is_some() {
                diff.push(value(name, None, new));
            }
        }
        let mut steps = Vec::new();
        if let Some(failed) = failed {
            let fault = failed.fault.as_ref();
            let why = fault.map_or("no reason given", |fault| fault.message.as_str());
            diff.insert(
                0,
                value(
                    "server",
                    Some(format!("in error: {why}")),
                    Some("new".to_owned()),
                ),
            );
            steps.push(Step::Cloud(CloudCall::Delete {
                kind: Kind::Server,
                id: failed.id.clone(),
                name: failed.name.clone(),
            }));
            steps.push(Step::Cloud(CloudCall::WaitGone {
                id: failed.id.clone(),
                deadline: super::destroy::GONE_SECONDS,
            }));
        }
        steps.push(Step::Cloud(CloudCall::Server(Box::new(ServerCall {
            name: host.name.clone(),
            flavor: flavor.id.clone(),
            image: image.id.clone(),
            ports: ports.names.clone(),
            boot_volume,
            keypair: keypair.map(|(name, _)| name.clone()),
            zone,
            other_zones,
            group,
            metadata,
            config_drive: wanted.config_drive,
            user_data,
        }))));
        steps.push(wait(&host.name));
        let id = made.change(
            &host.name,
            "cloud.server",
            "boot this server",
            diff,
            steps,
            needs,
        );
        running.push(id);
    } else if let Some(server) = there {
        running.extend(go_on(made, server));
    }
    volumes(made, host, wanted, there, &running);
    floating_ip(made, host, wanted, &ports)
}

/// A server that is half made is waited for; one that is off is switched on.
fn go_on(made: &mut Made<'_>, server: &Server) -> Option<ChangeId> {
    let status = |old: &str| {
        vec![value(
            "server",
            Some(old.to_owned()),
            Some("running".to_owned()),
        )]
    };
    let (summary, diff, mut steps) = match &server.status {
        ServerStatus::Building => ("wait for this server", status("being made"), Vec::new()),
        ServerStatus::Rebooting => ("wait for this server", status("rebooting"), Vec::new()),
        ServerStatus::Stopped => {
            let id = server.id.clone();
            let start = vec![Step::Cloud(CloudCall::Start { id })];
            ("switch this server on", status("off"), start)
        }
        _ => return None,
    };
    steps.push(wait(&server.name));
    Some(made.change(&server.name, "cloud.server", summary, diff, steps, []))
}

/// `a, without a place there b, c`.
fn or_else(zone: &str, others: &[String]) -> String {
    match others {
        [] => zone.to_owned(),
        others => format!("{zone}, without a place there {}", others.join(", ")),
    }
}

fn wait(name: &str) -> Step {
    Step::Cloud(CloudCall::WaitServer {
        name: name.to_owned(),
        deadline: BOOT_SECONDS,
    })
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Manager => "manager",
        Role::Worker => "worker",
        Role::None => "none",
    }
}

/// `m1.small: 1 processor, 2048 MiB, 20 GiB`.
fn told(flavor: &Flavor) -> String {
    let processors =
        crate::ui::text::count(usize::try_from(flavor.vcpus).unwrap_or(0), "processor");
    format!(
        "{}: {processors}, {} MiB, {} GiB",
        flavor.name, flavor.ram, flavor.disk
    )
}

/// Whether something can be done with a server that is there.
fn fit(server: &Server) -> Result<(), Nothing> {
    let tools = || {
        format!(
            "Look at it with the cloud's own tools (`openstack server show {}`); skep removes no server that may hold data.",
            server.id
        )
    };
    match &server.status {
        ServerStatus::Error => {
            let fault = server.fault.as_ref();
            let why = fault.map_or("the cloud does not say why", |fault| fault.message.as_str());
            Err((format!("the server is in error: {why}"), tools()))
        }
        ServerStatus::Other(word) => Err((format!("the server is {word}"), tools())),
        _ => Ok(()),
    }
}

/// What a server cannot be changed to without making it anew.
fn differences(made: &mut Made<'_>, host: &Host, wanted: &Wanted, server: &Server) {
    let survey = made.survey;
    let mut told = Vec::new();
    let flavor = given::flavor(survey, &wanted.flavor);
    let flavor = flavor.map_or(wanted.flavor.as_str(), |it| it.name.as_str());
    if server.flavor != flavor && server.flavor != wanted.flavor {
        told.push(format!(
            "has the flavor `{}`, not `{flavor}`",
            server.flavor
        ));
    }
    if let (Ok(image), Some(id)) = (given::image(survey, &wanted.image), &server.image)
        && image.id != *id
    {
        let old = survey.images.iter().find(|it| it.id == *id);
        let old = old.map_or(id.as_str(), |it| it.name.as_str());
        told.push(format!(
            "was made from the image `{old}`, not `{}`",
            image.name
        ));
    }
    if let Some(zone) = &server.zone
        && !wanted.zones.is_empty()
        && !wanted.zones.contains(zone)
    {
        told.push(format!("is in the availability zone `{zone}`"));
    }
    for what in told {
        made.plan.warnings.push(format!(
            "the server `{}` {what}, and stays so: a server is not rebuilt (`skep node replace` puts a new one in its place)",
            host.name
        ));
    }
}

/// An image wants a disk and memory of some size; the cloud would take the request and fail later.
fn large_enough(flavor: &Flavor, image: &Image, wanted: &Wanted) -> Result<(), Nothing> {
    let disk = match &wanted.boot_volume {
        Some(volume) => u64::from(volume.gib),
        None => flavor.disk,
    };
    let too_small = |what: &str, has: String, needs: String| {
        Err((
            format!(
                "the image `{}` needs {needs} of {what}, and there are {has}",
                image.name
            ),
            "Take a larger `flavor`, or a larger `boot-volume`.".to_owned(),
        ))
    };
    // A flavor with a disk of 0 takes the image's own size.
    if disk > 0 && disk < image.min_disk {
        return too_small(
            "disk",
            format!("{disk} GiB"),
            format!("{} GiB", image.min_disk),
        );
    }
    if flavor.ram < image.min_ram {
        let (has, needs) = (flavor.ram, image.min_ram);
        return too_small("memory", format!("{has} MiB"), format!("{needs} MiB"));
    }
    Ok(())
}

/// Nova takes up to 64 KiB in base64, which is 48 KiB of text.
const USER_DATA_BYTES: usize = 48 << 10;

/// A template that cannot be rendered, or is too long, is told before anything is made.
fn try_out(user_data: &UserData) -> Result<(), Nothing> {
    // As long as a real one.
    let key = HostKey {
        private: "x".repeat(400).into(),
        public: "x".repeat(80),
    };
    let rendered = user_data.render(&key).map_err(|error| {
        (
            error.to_string(),
            "Correct the template that `user-data` names.".to_owned(),
        )
    })?;
    let length = secrecy::ExposeSecret::expose_secret(&rendered).len();
    if length > USER_DATA_BYTES {
        return Err((
            format!("its user-data has {length} bytes, and a cloud takes {USER_DATA_BYTES}"),
            "Make the template shorter: it may fetch the rest.".to_owned(),
        ));
    }
    Ok(())
}

/// The ports of a server: their names, and the changes that make them.
struct Ports {
    names: Vec<String>,
    changes: Vec<ChangeId>,
    /// The ID of the first, where it is there.
    first: Option<String>,
}

fn ports(
    made: &mut Made<'_>,
    host: &Host,
    wanted: &Wanted,
    firewall: &Firewall,
    boots: bool,
) -> Result<Ports, Nothing> {
    let survey = made.survey;
    let mut groups = vec![GroupRef::Own(firewall.ssh.clone())];
    if host.role != Role::None {
        groups.push(GroupRef::Own(firewall.members.clone()));
    }
    for name in &wanted.security_groups {
        groups.push(GroupRef::Given(given::security_group(survey, name)?));
    }
    let mut all = Ports {
        names: Vec::new(),
        changes: Vec::new(),
        first: None,
    };
    for (index, network) in wanted.networks.iter().enumerate() {
        let name = port_name(&host.name, index);
        let network = given::network(survey, network)?;
        let address = wanted
            .address
            .filter(|_| index == 0)
            .map(std::net::IpAddr::V4);
        let there = survey.ports.iter().find(|it| it.name == name);
        all.names.push(name.clone());
        let resource = format!("cloud.port/{index}");
        let Some(port) = there else {
            if !boots {
                made.plan.warnings.push(format!(
                    "the server `{}` has no port on the network `{}`, and gets none: only a new server does",
                    host.name, network.name
                ));
                continue;
            }
            let diff = vec![value(
                &format!("port on {}", network.name),
                None,
                Some(address.map_or("a free address".to_owned(), |it| it.to_string())),
            )];
            let step = Step::Cloud(CloudCall::Port {
                name,
                network: network.id.clone(),
                address,
                groups: groups.clone(),
            });
            let summary = "make a port, which keeps its address";
            let needs = firewall.changes.clone();
            let id = made.change(&host.name, &resource, summary, diff, vec![step], needs);
            all.changes.push(id);
            continue;
        };
        if index == 0 {
            all.first = Some(port.id.clone());
        }
        let has = |address: std::net::IpAddr| {
            let mut ips = port.fixed_ips.iter();
            ips.any(|it| it.address == Some(address))
        };
        if let Some(address) = address.filter(|it| !has(*it)) {
            made.plan.warnings.push(format!(
                "the port of `{}` has another address than {address}, and keeps it",
                host.name
            ));
        }
        let (missing, diff) = lacks(made, port, &groups);
        if missing {
            let step = Step::Cloud(CloudCall::PortGroups {
                id: port.id.clone(),
                name: port.name.clone(),
                groups: groups.clone(),
            });
            let needs = firewall.changes.clone();
            let summary = "give its port the security groups";
            let id = made.change(&host.name, &resource, summary, diff, vec![step], needs);
            all.changes.push(id);
        }
    }
    Ok(all)
}

/// A fixed address must be one of the network's.
fn in_the_network(
    made: &Made<'_>,
    network: &crate::openstack::model::Network,
    address: Option<std::net::IpAddr>,
) -> Result<(), Nothing> {
    let Some(address) = address else {
        return Ok(());
    };
    let subnets = made
        .survey
        .subnets
        .iter()
        .filter(|it| it.network == network.id);
    let nets: Vec<String> = subnets.clone().map(|it| it.cidr.to_string()).collect();
    if subnets.into_iter().any(|it| it.cidr.contains(&address)) {
        return Ok(());
    }
    Err((
        format!("{address} is no address of the network `{}`", network.name),
        format!("It has {}.", nets.join(", ")),
    ))
}

/// Whether a port's security groups are others than it should have.
fn lacks(made: &Made<'_>, port: &Port, groups: &[GroupRef]) -> (bool, Vec<Diff>) {
    let own = |name: &str| {
        let all = &made.survey.security_groups;
        all.iter()
            .find(|it| it.name == *name)
            .map(|it| it.id.clone())
    };
    let called = |id: &String| {
        let own = made
            .survey
            .security_groups
            .iter()
            .map(|it| (&it.id, &it.name));
        let given = made
            .survey
            .given
            .security_groups
            .iter()
            .map(|(id, name)| (id, name));
        let found = own.chain(given).find(|(it, _)| *it == id);
        found.map_or_else(|| id.clone(), |(_, name)| name.clone())
    };
    let wanted: Option<BTreeSet<String>> = groups
        .iter()
        .map(|group| match group {
            GroupRef::Own(name) => own(name),
            GroupRef::Given(id) => Some(id.clone()),
        })
        .collect();
    let has: BTreeSet<String> = port.security_groups.iter().cloned().collect();
    if wanted.as_ref() == Some(&has) {
        return (false, Vec::new());
    }
    let old: Vec<String> = has.iter().map(called).collect();
    let new: Vec<String> = groups
        .iter()
        .map(|group| match group {
            GroupRef::Own(name) => name.clone(),
            GroupRef::Given(id) => called(id),
        })
        .collect();
    let diff = value(
        "security groups",
        Some(old.join(", ")),
        Some(new.join(", ")),
    );
    (true, vec![diff])
}

/// The server group of a role: its whole name, and the change that makes it.
fn server_group(
    made: &mut Made<'_>,
    of: Role,
    anti_affinity: AntiAffinity,
    groups: &mut BTreeMap<String, Option<ChangeId>>,
) -> Option<(String, Option<ChangeId>)> {
    let policy = match anti_affinity {
        AntiAffinity::None => return None,
        AntiAffinity::Soft => Affinity::SoftAntiAffinity,
        AntiAffinity::Hard => Affinity::AntiAffinity,
    };
    let short = format!("{} {}", role(of), policy.word());
    let name = made.names.name_of(&short);
    if let Some(id) = groups.get(&name) {
        return Some((name.clone(), id.clone()));
    }
    let there = made.survey.server_groups.iter().any(|it| it.name == name);
    let id = (!there).then(|| {
        let step = Step::Cloud(CloudCall::ServerGroup {
            name: name.clone(),
            policy,
        });
        let diff = vec![value("policy", None, Some(policy.word().to_owned()))];
        let resource = format!("cloud.server-group/{}", role(of));
        let summary = format!("make the server group `{name}`");
        made.change(WHOLE, &resource, &summary, diff, vec![step], [])
    });
    groups.insert(name.clone(), id.clone());
    Some((name, id))
}

fn volumes(
    made: &mut Made<'_>,
    host: &Host,
    wanted: &Wanted,
    there: Option<&Server>,
    running: &[ChangeId],
) {
    for volume in &wanted.volumes {
        let name = volume_name(&host.name, &volume.name);
        let found = made.survey.volumes.iter().find(|it| it.name == name);
        let mut needs: Vec<ChangeId> = running.to_vec();
        match found {
            None => {
                let kind = volume.kind.as_deref().map(|kind| format!(", {kind}"));
                let new = format!("{} GiB{}", volume.gib, kind.unwrap_or_default());
                let step = Step::Cloud(CloudCall::Volume {
                    name: name.clone(),
                    gib: volume.gib,
                    kind: volume.kind.clone(),
                });
                let resource = format!("cloud.volume/{}", volume.name);
                let summary = format!("make the volume `{}`", volume.name);
                let diff = vec![value("size", None, Some(new))];
                needs.push(made.change(&host.name, &resource, &summary, diff, vec![step], []));
            }
            Some(found) if found.size < u64::from(volume.gib) => {
                let step = Step::Cloud(CloudCall::Extend {
                    id: found.id.clone(),
                    name: name.clone(),
                    gib: volume.gib,
                });
                let resource = format!("cloud.volume/{}", volume.name);
                let summary = format!("make the volume `{}` larger", volume.name);
                let (old, new) = (found.size, volume.gib);
                let diff = vec![value(
                    "size",
                    Some(format!("{old} GiB")),
                    Some(format!("{new} GiB")),
                )];
                needs.push(made.change(&host.name, &resource, &summary, diff, vec![step], []));
            }
            Some(found) if found.size > u64::from(volume.gib) => {
                made.plan.warnings.push(format!(
                    "the volume `{name}` has {} GiB, not {}, and stays so: a volume is not made smaller",
                    found.size, volume.gib
                ));
            }
            Some(_) => {}
        }
        let attached = match (there, found) {
            (Some(server), Some(found)) => {
                found.attachments.iter().any(|it| it.server == server.id)
            }
            _ => false,
        };
        if !attached {
            let step = Step::Cloud(CloudCall::Attach {
                server: host.name.clone(),
                volume: name,
            });
            let resource = format!("cloud.attachment/{}", volume.name);
            let summary = format!("attach the volume `{}`", volume.name);
            let diff = vec![value("attached", None, Some("yes".to_owned()))];
            made.change(&host.name, &resource, &summary, diff, vec![step], needs);
        }
    }
}

fn floating_ip(
    made: &mut Made<'_>,
    host: &Host,
    wanted: &Wanted,
    ports: &Ports,
) -> Result<(), Nothing> {
    let survey = made.survey;
    let found = survey
        .floating_ips
        .iter()
        .find(|it| it.description == host.name);
    let Some(from) = &wanted.floating_from else {
        if let Some(found) = found {
            made.plan.warnings.push(format!(
                "the server `{}` has the floating IP {}, and keeps it",
                host.name, found.address
            ));
        }
        return Ok(());
    };
    let network = given::network(survey, from)?;
    if !network.external {
        return Err((
            format!(
                "the network `{}` is not external: no floating IPs come from it",
                network.name
            ),
            "Correct `floating-network` under `[openstack]`.".to_owned(),
        ));
    }
    if let (Some(found), Some(first)) = (found, &ports.first)
        && found.port.as_ref() == Some(first)
    {
        return Ok(());
    }
    let Some(port) = ports.names.first() else {
        return Ok(());
    };
    let old = found.map(|it| format!("{}, leads nowhere", it.address));
    let new = match found {
        Some(it) => it.address.to_string(),
        None => format!("one of {}", network.name),
    };
    let step = Step::Cloud(CloudCall::FloatingIp {
        host: host.name.clone(),
        network: network.id.clone(),
        port: port.clone(),
    });
    let needs = ports.changes.first().cloned();
    made.change(
        &host.name,
        "cloud.floating-ip",
        "give it a floating IP",
        vec![value("floating IP", old, Some(new))],
        vec![step],
        needs,
    );
    Ok(())
}
