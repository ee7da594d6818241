//! What the services answer, as the model. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;

use serde_json::Value;

use crate::openstack::model::{
    Affinity, Allowance, AttachedVolume, Attachment, Cluster, Direction, Ether, FixedIp,
    FloatingIp, Image, ImageStatus, Network, Peer, Port, Router, SecurityGroup, SecurityRule,
    Server, ServerAddress, ServerFault, ServerGroup, ServerStatus, Volume, VolumeStatus, Zone,
    ZoneOf,
};

/// An answer that can be read, or what is wrong with it.
pub(super) type Read<T> = Result<T, String>;

/// A text that must be there.
pub(super) fn text(value: &Value, key: &str) -> Read<String> {
    maybe(value, key).ok_or_else(|| format!("it has no `{key}`"))
}

/// A text that is there and not empty.
fn maybe(value: &Value, key: &str) -> Option<String> {
    let text = value.get(key)?.as_str()?;
    (!text.is_empty()).then(|| text.to_owned())
}

fn words(value: &Value, key: &str) -> String {
    maybe(value, key).unwrap_or_default()
}

fn number(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_u64).unwrap_or_default()
}

fn parsed<T: FromStr>(value: &Value, key: &str) -> Option<T> {
    maybe(value, key)?.parse().ok()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    let list = value.get(key).and_then(Value::as_array);
    list.map_or(&[], Vec::as_slice)
}

fn texts(value: &Value, key: &str) -> Vec<String> {
    let texts = list(value, key).iter().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

fn table(value: &Value, key: &str) -> BTreeMap<String, String> {
    let table = value.get(key).and_then(Value::as_object);
    let entries = table.into_iter().flatten();
    entries
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// Services write times with and without their zone, which is UTC.
fn time(value: &Value, key: &str) -> Option<jiff::Timestamp> {
    let text = maybe(value, key)?;
    let zoned = text.ends_with('Z') || text.contains('+');
    if zoned { text } else { format!("{text}Z") }.parse().ok()
}

/// A server as `GET /servers/detail` has it.
pub(super) fn server(value: &Value) -> Read<Server> {
    let addresses = value.get("addresses").and_then(Value::as_object);
    let addresses = addresses.into_iter().flatten().flat_map(|(network, list)| {
        list.as_array().into_iter().flatten().filter_map(|entry| {
            Some(ServerAddress {
                network: network.clone(),
                address: parsed(entry, "addr")?,
                mac: maybe(entry, "OS-EXT-IPS-MAC:mac_addr"),
                floating: maybe(entry, "OS-EXT-IPS:type").as_deref() == Some("floating"),
            })
        })
    });
    let fault = value.get("fault").filter(|fault| fault.is_object());
    let volumes = list(value, "os-extended-volumes:volumes_attached").iter();
    Ok(Server {
        id: text(value, "id")?,
        name: words(value, "name"),
        status: server_status(&text(value, "status")?),
        task: maybe(value, "OS-EXT-STS:task_state"),
        fault: fault.map(|fault| ServerFault {
            code: fault
                .get("code")
                .and_then(Value::as_i64)
                .unwrap_or_default(),
            message: words(fault, "message"),
        }),
        addresses: addresses.collect(),
        flavor: value
            .get("flavor")
            .map(|it| words(it, "original_name"))
            .unwrap_or_default(),
        // A server that booted from a volume has an empty text here.
        image: value.get("image").and_then(|image| maybe(image, "id")),
        zone: maybe(value, "OS-EXT-AZ:availability_zone"),
        keypair: maybe(value, "key_name"),
        metadata: table(value, "metadata"),
        tags: texts(value, "tags"),
        volumes: volumes
            .filter_map(|volume| {
                let delete = volume.get("delete_on_termination").and_then(Value::as_bool);
                Some(AttachedVolume {
                    volume: maybe(volume, "id")?,
                    delete_with_server: delete.unwrap_or_default(),
                })
            })
            .collect(),
        created: time(value, "created"),
    })
}

fn server_status(word: &str) -> ServerStatus {
    match word {
        "BUILD" => ServerStatus::Building,
        "ACTIVE" => ServerStatus::Active,
        "SHUTOFF" => ServerStatus::Stopped,
        "REBOOT" | "HARD_REBOOT" => ServerStatus::Rebooting,
        "ERROR" => ServerStatus::Error,
        other => ServerStatus::Other(other.to_owned()),
    }
}

/// A port.
pub(super) fn port(value: &Value) -> Read<Port> {
    let fixed = list(value, "fixed_ips").iter();
    let allowed = list(value, "allowed_address_pairs").iter();
    let allowed = allowed.filter_map(|pair| net(&maybe(pair, "ip_address")?));
    let port_security = value.get("port_security_enabled").and_then(Value::as_bool);
    Ok(Port {
        id: text(value, "id")?,
        name: words(value, "name"),
        network: text(value, "network_id")?,
        fixed_ips: fixed
            .map(|ip| FixedIp {
                subnet: maybe(ip, "subnet_id"),
                address: parsed(ip, "ip_address"),
            })
            .collect(),
        mac: words(value, "mac_address"),
        device: maybe(value, "device_id"),
        owner: words(value, "device_owner"),
        security_groups: texts(value, "security_groups"),
        allowed_addresses: allowed.collect(),
        port_security: port_security.unwrap_or(true),
        status: words(value, "status"),
        tags: texts(value, "tags"),
    })
}

/// A range, or a single address as one.
fn net(text: &str) -> Option<ipnet::IpNet> {
    let single = || text.parse::<IpAddr>().ok().map(ipnet::IpNet::from);
    text.parse().ok().or_else(single)
}

/// What stands behind a description: the mark, which is set in the same request that makes a thing.
pub(super) fn marked(cluster: &Cluster, description: &str) -> String {
    let mark = format!("[{}]", cluster.tag());
    if description.is_empty() {
        mark
    } else {
        format!("{description} {mark}")
    }
}

/// A description without the mark.
fn unmarked(value: &Value) -> String {
    let text = words(value, "description");
    match text.rsplit_once('[') {
        Some((before, mark)) if mark.starts_with("skep=") && mark.ends_with(']') => {
            before.trim_end().to_owned()
        }
        _ => text,
    }
}

/// Whether a thing of Neutron's carries the mark: as a tag, or in its description while it had no
/// tag yet.
pub(super) fn is_marked(cluster: &Cluster, value: &Value) -> bool {
    let tag = cluster.tag();
    texts(value, "tags").contains(&tag)
        || words(value, "description").ends_with(&format!("[{tag}]"))
}

/// Whether a thing carries the mark in its metadata.
pub(super) fn has_key(cluster: &Cluster, metadata: Option<&Value>) -> bool {
    let value = metadata.and_then(|it| maybe(it, Cluster::KEY));
    value.as_deref() == Some(cluster.0.as_str())
}

/// A floating IP.
pub(super) fn floating_ip(value: &Value) -> Read<FloatingIp> {
    let address = parsed(value, "floating_ip_address");
    Ok(FloatingIp {
        id: text(value, "id")?,
        address: address.ok_or("it has no `floating_ip_address`")?,
        network: text(value, "floating_network_id")?,
        port: maybe(value, "port_id"),
        fixed: parsed(value, "fixed_ip_address"),
        status: words(value, "status"),
        description: unmarked(value),
        tags: texts(value, "tags"),
    })
}

/// A volume.
pub(super) fn volume(value: &Value) -> Read<Volume> {
    let attachments = list(value, "attachments").iter();
    Ok(Volume {
        id: text(value, "id")?,
        name: words(value, "name"),
        size: number(value, "size"),
        status: volume_status(&text(value, "status")?),
        kind: maybe(value, "volume_type"),
        zone: maybe(value, "availability_zone"),
        attachments: attachments
            .filter_map(|entry| {
                Some(Attachment {
                    server: maybe(entry, "server_id")?,
                    device: maybe(entry, "device"),
                })
            })
            .collect(),
        metadata: table(value, "metadata"),
        bootable: maybe(value, "bootable").as_deref() == Some("true"),
    })
}

fn volume_status(word: &str) -> VolumeStatus {
    match word {
        "creating" | "downloading" => VolumeStatus::Creating,
        "available" => VolumeStatus::Available,
        "attaching" | "reserved" => VolumeStatus::Attaching,
        "in-use" => VolumeStatus::InUse,
        "detaching" => VolumeStatus::Detaching,
        "extending" => VolumeStatus::Extending,
        "deleting" => VolumeStatus::Deleting,
        error if error.starts_with("error") => VolumeStatus::Error(error.to_owned()),
        other => VolumeStatus::Other(other.to_owned()),
    }
}

/// A security group with its rules.
pub(super) fn security_group(value: &Value) -> Read<SecurityGroup> {
    let rules = list(value, "security_group_rules").iter().map(rule);
    Ok(SecurityGroup {
        id: text(value, "id")?,
        name: words(value, "name"),
        description: unmarked(value),
        rules: rules.collect::<Read<_>>()?,
        tags: texts(value, "tags"),
    })
}

/// A rule.
pub(super) fn rule(value: &Value) -> Read<SecurityRule> {
    let port = |key: &str| value.get(key).and_then(Value::as_u64);
    let ports = port("port_range_min").zip(port("port_range_max"));
    let ports = ports.and_then(|(min, max)| Some((min.try_into().ok()?, max.try_into().ok()?)));
    let peer = match (
        maybe(value, "remote_group_id"),
        maybe(value, "remote_ip_prefix"),
    ) {
        (Some(group), _) => Peer::Group(group),
        (None, Some(cidr)) => {
            let net: ipnet::IpNet = cidr.parse().map_err(|_| format!("`{cidr}` is no range"))?;
            // The whole of IPv4 or IPv6 is anybody.
            if net.prefix_len() == 0 {
                Peer::Any
            } else {
                Peer::Cidr(net)
            }
        }
        (None, None) => Peer::Any,
    };
    Ok(SecurityRule {
        id: text(value, "id")?,
        direction: match text(value, "direction")?.as_str() {
            "egress" => Direction::Egress,
            _ => Direction::Ingress,
        },
        ether: match maybe(value, "ethertype").as_deref() {
            Some("IPv6") => Ether::V6,
            _ => Ether::V4,
        },
        protocol: maybe(value, "protocol"),
        ports,
        peer,
        description: words(value, "description"),
    })
}

/// A server group.
pub(super) fn server_group(value: &Value) -> Read<ServerGroup> {
    let policy = match maybe(value, "policy").as_deref() {
        Some("anti-affinity") => Some(Affinity::AntiAffinity),
        Some("soft-anti-affinity") => Some(Affinity::SoftAntiAffinity),
        Some("affinity") => Some(Affinity::Affinity),
        Some("soft-affinity") => Some(Affinity::SoftAffinity),
        _ => None,
    };
    Ok(ServerGroup {
        id: text(value, "id")?,
        name: words(value, "name"),
        policy,
        members: texts(value, "members"),
    })
}

/// The keys of an image that are its own and no properties.
const IMAGE: [&str; 22] = [
    "id",
    "name",
    "status",
    "min_disk",
    "min_ram",
    "size",
    "virtual_size",
    "disk_format",
    "container_format",
    "tags",
    "created_at",
    "updated_at",
    "visibility",
    "protected",
    "checksum",
    "owner",
    "self",
    "file",
    "schema",
    "direct_url",
    "locations",
    "os_hash_value",
];

/// An image. Its properties stand among its own fields.
pub(super) fn image(value: &Value) -> Read<Image> {
    let entries = value.as_object().into_iter().flatten();
    let properties = entries.filter_map(|(key, value)| {
        let own = IMAGE.contains(&key.as_str());
        (!own).then_some(())?;
        Some((key.clone(), value.as_str()?.to_owned()))
    });
    let bytes = |key: &str| value.get(key).and_then(Value::as_u64);
    Ok(Image {
        id: text(value, "id")?,
        name: words(value, "name"),
        status: match text(value, "status")?.as_str() {
            "queued" => ImageStatus::Queued,
            "saving" | "importing" | "uploading" => ImageStatus::Saving,
            "active" => ImageStatus::Active,
            other => ImageStatus::Other(other.to_owned()),
        },
        min_disk: number(value, "min_disk"),
        min_ram: number(value, "min_ram"),
        size: bytes("size"),
        virtual_size: bytes("virtual_size"),
        disk_format: maybe(value, "disk_format"),
        properties: properties.collect(),
        tags: texts(value, "tags"),
        created: time(value, "created_at"),
    })
}

/// A network.
pub(super) fn network(value: &Value) -> Read<Network> {
    let flag = |key: &str| value.get(key).and_then(Value::as_bool);
    let mtu = value.get("mtu").and_then(Value::as_u64);
    Ok(Network {
        id: text(value, "id")?,
        name: words(value, "name"),
        // 0 is Neutron's word for "not told".
        mtu: mtu
            .and_then(|mtu| u32::try_from(mtu).ok())
            .filter(|mtu| *mtu > 0),
        external: flag("router:external").unwrap_or_default(),
        port_security: flag("port_security_enabled").unwrap_or(true),
        subnets: texts(value, "subnets"),
    })
}

/// A router.
pub(super) fn router(value: &Value) -> Read<Router> {
    let gateway = value.get("external_gateway_info");
    Ok(Router {
        id: text(value, "id")?,
        name: words(value, "name"),
        external_network: gateway.and_then(|it| maybe(it, "network_id")),
    })
}

/// Availability zones, which Nova and Cinder list alike.
pub(super) fn zones(value: &Value, of: ZoneOf) -> Vec<Zone> {
    let zones = list(value, "availabilityZoneInfo").iter();
    zones
        .filter_map(|zone| {
            let state = zone.get("zoneState")?.get("available")?.as_bool()?;
            Some(Zone {
                name: maybe(zone, "zoneName")?,
                of,
                available: state,
            })
        })
        .collect()
}

/// One kind of a quota: `{"limit": 10, "in_use": 1, "reserved": 0}` or Neutron's `used`. -1 is no
/// limit.
pub(super) fn allowance(quota: &Value, key: &str) -> Allowance {
    let Some(value) = quota.get(key) else {
        return Allowance::default();
    };
    let used = number(value, "in_use") + number(value, "used") + number(value, "reserved");
    Allowance {
        limit: value.get("limit").and_then(Value::as_u64),
        used,
    }
}

/// One kind of Nova's limits, which stand side by side.
pub(super) fn absolute(limits: &Value, limit: &str, used: &str) -> Allowance {
    Allowance {
        limit: limits.get(limit).and_then(Value::as_u64),
        used: number(limits, used),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    /// Recorded from the services of the Zed release.
    const RECORDED: &str = include_str!("wire/recorded.json");

    fn recorded(key: &str) -> Value {
        read(RECORDED).get(key).unwrap().clone()
    }

    #[test]
    fn a_server_that_is_being_made_is_read() {
        let server = server(&recorded("server-building")).unwrap();
        assert_eq!(server.status, ServerStatus::Building);
        assert_eq!(server.task.as_deref(), Some("spawning"));
        assert_eq!(server.flavor, "m1.tiny");
        assert_eq!(server.tags, ["skep=x"]);
        assert_eq!(server.metadata["a"], "b");
        assert_eq!(server.zone.as_deref(), Some("fake"));
        assert_eq!(server.created.unwrap().to_string(), "2026-11-22T00:22:03Z");
        assert!(server.image.is_some() && server.addresses.is_empty());
    }

    #[test]
    fn a_server_that_booted_from_a_volume_has_no_image() {
        let mut value = recorded("server-building");
        value["image"] = Value::from("");
        value["status"] = Value::from("ERROR");
        value["fault"] = read(r#"{"code": 500, "message": "No valid host was found. "}"#);
        value["addresses"] = read(
            r#"{"net": [{"version": 4, "addr": "10.0.0.5", "OS-EXT-IPS:type": "fixed",
                "OS-EXT-IPS-MAC:mac_addr": "fa:16:3e:00:00:01"},
                {"version": 4, "addr": "172.24.4.9", "OS-EXT-IPS:type": "floating"}]}"#,
        );
        let server = server(&value).unwrap();
        assert_eq!(server.image, None);
        assert_eq!(server.status, ServerStatus::Error);
        assert_eq!(server.fault.unwrap().code, 500);
        assert_eq!(server.addresses.len(), 2);
        assert!(!server.addresses[0].floating && server.addresses[1].floating);
    }

    #[test]
    fn a_mark_is_found_in_tags_and_descriptions() {
        let cluster = Cluster("x".to_owned());
        assert!(is_marked(
            &cluster,
            &read(r#"{"tags": ["skep=x"], "description": ""}"#)
        ));
        assert!(is_marked(
            &cluster,
            &read(r#"{"tags": [], "description": "w1 [skep=x]"}"#)
        ));
        assert!(!is_marked(
            &cluster,
            &read(r#"{"tags": ["skep=xy"], "description": "[skep=xx]"}"#)
        ));
        let ip = floating_ip(&recorded("floatingip")).unwrap();
        assert_eq!(ip.description, "d");
        let mut value = recorded("floatingip");
        value["description"] = Value::from(marked(&cluster, "d"));
        assert_eq!(floating_ip(&value).unwrap().description, "d");
        value["description"] = Value::from(marked(&cluster, ""));
        assert_eq!(floating_ip(&value).unwrap().description, "");
    }

    #[test]
    fn ports_volumes_and_groups_are_read() {
        let port = port(&recorded("port")).unwrap();
        assert_eq!(
            port.fixed_ips[0].address.unwrap().to_string(),
            "10.77.0.215"
        );
        assert_eq!((port.device, port.status.as_str()), (None, "DOWN"));
        let volume = volume(&recorded("volume")).unwrap();
        assert_eq!((volume.size, volume.status), (1, VolumeStatus::Available));
        assert_eq!(volume.metadata[Cluster::KEY], "x");
        let group = security_group(&recorded("security-group")).unwrap();
        assert_eq!(group.rules[0].direction, Direction::Egress);
        assert_eq!(group.rules[0].ether, Ether::V6);
        assert!(matches!(&group.rules[1].peer, Peer::Group(id) if *id == group.id));
    }

    #[test]
    fn an_images_properties_are_told_from_its_fields() {
        let image = image(&recorded("image-snapshot")).unwrap();
        assert_eq!(image.status, ImageStatus::Saving);
        assert_eq!(image.size, None);
        assert_eq!(image.properties[Cluster::KEY], "x");
        assert_eq!(image.properties["image_type"], "snapshot");
        assert!(!image.properties.contains_key("name"));
    }

    #[test]
    fn no_limit_is_none() {
        let quota = read(
            r#"{"volumes": {"limit": 10, "in_use": 2, "reserved": 1},
                "per_volume_gigabytes": {"limit": -1, "in_use": 0, "reserved": 0},
                "port": {"limit": 500, "used": 7, "reserved": 0}}"#,
        );
        assert_eq!(allowance(&quota, "volumes").left(), Some(7));
        assert_eq!(allowance(&quota, "per_volume_gigabytes").limit, None);
        assert_eq!(allowance(&quota, "port").used, 7);
        assert_eq!(allowance(&quota, "nothing").left(), None);
    }
}
