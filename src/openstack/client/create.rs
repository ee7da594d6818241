//! What is made: each looked for first, and looked for again when an answer was lost.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};

use super::OpenStack;
use super::call::{Ask, jitter};
use super::login::Service;
use super::wire;
use crate::openstack::cloud::Made;
use crate::openstack::error::{CloudError, CloudFault};
use crate::openstack::model::{
    BootVolume, Cluster, Direction, Ether, NewFloatingIp, NewKeypair, NewPort, NewRule,
    NewSecurityGroup, NewServer, NewServerGroup, NewVolume, Peer,
};

/// The pauses between looks for a thing whose answer was lost: it may still be in the making.
const LOOKS: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];

/// The longest user-data, in bytes of base64 (Nova's own limit).
const USER_DATA: usize = 65_535;

/// A thing to be made.
pub(super) struct Making<'a> {
    /// The request.
    pub(super) post: Ask<'a>,
    /// Where its answer has the ID: a JSON pointer.
    pub(super) id: &'a str,
    /// The list that has the thing, and the list's name in its answer.
    pub(super) look: Ask<'a>,
    /// The list's name in its answer.
    pub(super) key: &'a str,
    /// Which entry of it is the thing.
    pub(super) is_it: &'a (dyn Fn(&Value) -> bool + Send + Sync),
}

impl OpenStack {
    /// The thing, if it is there. Several of one name and mark are a fault that only a person can
    /// mend.
    async fn look(&self, making: &Making<'_>) -> Result<Option<Value>, CloudError> {
        let mut all = self.pages(&making.look, making.key).await?;
        all.retain(|entry| (making.is_it)(entry));
        let what = making.post.what;
        match all.len() {
            0 | 1 => Ok(all.pop()),
            several => {
                let said = format!("there are {several} of that name with the cluster's mark");
                Err(CloudError::new(CloudFault::Conflict, what, said))
            }
        }
    }

    /// Makes a thing, unless it is there.
    pub(super) async fn make(&self, making: &Making<'_>) -> Result<(Made, Value), CloudError> {
        let what = making.post.what;
        let found = |entry: Value| {
            let id = wire::text(&entry, "id");
            let id = id.map_err(|said| CloudError::new(CloudFault::Unexpected, what, said))?;
            Ok((Made { id, found: true }, entry))
        };
        if let Some(entry) = self.look(making).await? {
            return found(entry);
        }
        let deadline = Instant::now() + self.patience;
        loop {
            let error = match self.ask(&making.post).await {
                Ok(answer) => {
                    let id = answer.pointer(making.id).and_then(Value::as_str);
                    let id = id.map(str::to_owned).ok_or_else(|| {
                        let said = "it does not tell the ID of what was made";
                        CloudError::new(CloudFault::Unexpected, what, said)
                    })?;
                    return Ok((Made { id, found: false }, answer));
                }
                Err(error) if error.nothing_done() => return Err(error),
                Err(error) => error,
            };
            // Whether it was done is unknown.
            for pause in LOOKS {
                sleep(jitter(pause)).await;
                if let Some(entry) = self.look(making).await? {
                    return found(entry);
                }
            }
            if Instant::now() >= deadline {
                return Err(error);
            }
        }
    }

    /// Puts the tag on a thing of Neutron's, which takes none when it is made.
    async fn tag(
        &self,
        what: &str,
        path: &str,
        made: Made,
        entry: &Value,
    ) -> Result<Made, CloudError> {
        let tag = self.cluster.tag();
        let tags = entry.get("tags").and_then(Value::as_array);
        if tags.is_some_and(|tags| tags.iter().any(|it| it == tag.as_str())) {
            return Ok(made);
        }
        let path = [path, &made.id, "tags", &tag];
        let put = Ask::put(what, Service::Network, &path, Value::Null);
        self.ask(&put).await?;
        Ok(made)
    }

    pub(super) async fn make_server(
        &self,
        server: &NewServer,
        user_data: Option<&SecretString>,
    ) -> Result<Made, CloudError> {
        let what = format!("boot server `{}`", server.name);
        let mut body = server_body(&self.cluster, server);
        if let Some(data) = user_data {
            let data = BASE64.encode(data.expose_secret());
            if data.len() > USER_DATA {
                let said = format!(
                    "its user-data has {} bytes as base64, and a cloud takes {USER_DATA}",
                    data.len()
                );
                return Err(CloudError::new(CloudFault::Rejected, what, said));
            }
            body.insert("user_data".to_owned(), Value::from(data));
        }
        let look = Ask::get(&what, Service::Compute, &["servers", "detail"])
            .query("tags", self.cluster.tag())
            // A regular expression: names have nothing in them that is one but the dot.
            .query("name", format!("^{}$", server.name.replace('.', "\\.")));
        let deleting = |entry: &Value| {
            let task = entry.get("OS-EXT-STS:task_state").and_then(Value::as_str);
            task == Some("deleting")
        };
        let is_it = |entry: &Value| named(entry, &server.name) && !deleting(entry);
        let mut body = json!({ "server": body });
        if let Some(group) = &server.group {
            body["os:scheduler_hints"] = json!({ "group": group });
        }
        let (made, _) = self
            .make(&Making {
                post: Ask::post(&what, Service::Compute, &["servers"], body),
                id: "/server/id",
                look,
                key: "servers",
                is_it: &is_it,
            })
            .await?;
        Ok(made)
    }

    pub(super) async fn make_port(&self, port: &NewPort) -> Result<Made, CloudError> {
        let what = format!("make port `{}`", port.name);
        let body = json!({ "port": port_body(&self.cluster, port) });
        let look = Ask::get(&what, Service::Network, &["ports"])
            .query("name", &port.name)
            .query("network_id", &port.network);
        let is_it = |entry: &Value| wire::is_marked(&self.cluster, entry);
        let (made, entry) = self
            .make(&Making {
                post: Ask::post(&what, Service::Network, &["ports"], body),
                id: "/port/id",
                look,
                key: "ports",
                is_it: &is_it,
            })
            .await?;
        self.tag(&what, "ports", made, &entry).await
    }

    pub(super) async fn make_floating_ip(&self, ip: &NewFloatingIp) -> Result<Made, CloudError> {
        let what = format!("get a floating IP for `{}`", ip.description);
        let description = wire::marked(&self.cluster, &ip.description);
        let mut body = json!({ "floatingip": {
            "floating_network_id": ip.network,
            "description": description,
        } });
        if let Some(port) = &ip.port {
            body["floatingip"]["port_id"] = Value::from(port.as_str());
        }
        let look = Ask::get(&what, Service::Network, &["floatingips"])
            .query("floating_network_id", &ip.network);
        let is_it = |entry: &Value| {
            let there = entry.get("description").and_then(Value::as_str);
            there == Some(description.as_str())
        };
        let (made, entry) = self
            .make(&Making {
                post: Ask::post(&what, Service::Network, &["floatingips"], body),
                id: "/floatingip/id",
                look,
                key: "floatingips",
                is_it: &is_it,
            })
            .await?;
        self.tag(&what, "floatingips", made, &entry).await
    }

    pub(super) async fn make_volume(&self, volume: &NewVolume) -> Result<Made, CloudError> {
        let what = format!("make volume `{}`", volume.name);
        let mut metadata = volume.metadata.clone();
        metadata.insert(Cluster::KEY.to_owned(), self.cluster.0.clone());
        let mut body = json!({
            "name": volume.name,
            "size": volume.size,
            "metadata": metadata,
        });
        for (key, value) in [
            ("volume_type", &volume.kind),
            ("availability_zone", &volume.zone),
            ("imageRef", &volume.image),
        ] {
            if let Some(value) = value {
                body[key] = Value::from(value.as_str());
            }
        }
        let look =
            Ask::get(&what, Service::Volume, &["volumes", "detail"]).query("name", &volume.name);
        let is_it = |entry: &Value| {
            let status = entry.get("status").and_then(Value::as_str);
            named(entry, &volume.name)
                && wire::has_key(&self.cluster, entry.get("metadata"))
                && status != Some("deleting")
        };
        let body = json!({ "volume": body });
        let (made, _) = self
            .make(&Making {
                post: Ask::post(&what, Service::Volume, &["volumes"], body),
                id: "/volume/id",
                look,
                key: "volumes",
                is_it: &is_it,
            })
            .await?;
        Ok(made)
    }

    pub(super) async fn make_security_group(
        &self,
        group: &NewSecurityGroup,
    ) -> Result<Made, CloudError> {
        let what = format!("make security group `{}`", group.name);
        let body = json!({ "security_group": {
            "name": group.name,
            "description": wire::marked(&self.cluster, &group.description),
        } });
        let look =
            Ask::get(&what, Service::Network, &["security-groups"]).query("name", &group.name);
        let is_it = |entry: &Value| wire::is_marked(&self.cluster, entry);
        let (made, entry) = self
            .make(&Making {
                post: Ask::post(&what, Service::Network, &["security-groups"], body),
                id: "/security_group/id",
                look,
                key: "security_groups",
                is_it: &is_it,
            })
            .await?;
        self.tag(&what, "security-groups", made, &entry).await
    }

    pub(super) async fn make_rule(&self, group: &str, rule: &NewRule) -> Result<Made, CloudError> {
        let what = format!("add a rule to security group `{group}`");
        let body = json!({ "security_group_rule": rule_body(group, rule) });
        let look = Ask::get(&what, Service::Network, &["security-group-rules"])
            .query("security_group_id", group);
        let is_it = |entry: &Value| {
            wire::rule(entry).is_ok_and(|it| {
                (it.direction, it.ether) == (rule.direction, rule.ether)
                    && (&it.protocol, it.ports) == (&rule.protocol, rule.ports)
                    && it.peer == rule.peer
            })
        };
        let (made, _) = self
            .make(&Making {
                post: Ask::post(&what, Service::Network, &["security-group-rules"], body),
                id: "/security_group_rule/id",
                look,
                key: "security_group_rules",
                is_it: &is_it,
            })
            .await?;
        Ok(made)
    }

    pub(super) async fn make_keypair(&self, keypair: &NewKeypair) -> Result<Made, CloudError> {
        let what = format!("bring keypair `{}`", keypair.name);
        let body = json!({ "keypair": {
            "name": keypair.name,
            "public_key": keypair.public_key,
            "type": "ssh",
        } });
        let deadline = Instant::now() + self.patience;
        loop {
            let there = self.list_keypairs(true).await?;
            if let Some(there) = there.into_iter().find(|it| it.name == keypair.name) {
                // What stands behind the key is only a comment.
                let key = |text: &str| {
                    let mut words = text.split_whitespace();
                    (
                        words.next().map(str::to_owned),
                        words.next().map(str::to_owned),
                    )
                };
                if key(&there.public_key) == key(&keypair.public_key) {
                    let id = there.name;
                    return Ok(Made { id, found: true });
                }
                let said = "one of that name has another key";
                return Err(CloudError::new(CloudFault::Conflict, what, said));
            }
            let post = Ask::post(&what, Service::Compute, &["os-keypairs"], body.clone());
            match self.ask(&post).await {
                Ok(_) => {
                    let id = keypair.name.clone();
                    return Ok(Made { id, found: false });
                }
                Err(error) if error.nothing_done() || Instant::now() >= deadline => {
                    return Err(error);
                }
                Err(_) => sleep(jitter(LOOKS[0])).await,
            }
        }
    }

    pub(super) async fn make_server_group(
        &self,
        group: &NewServerGroup,
    ) -> Result<Made, CloudError> {
        let what = format!("make server group `{}`", group.name);
        let body = json!({ "server_group": {
            "name": group.name,
            "policy": group.policy.word(),
        } });
        let deadline = Instant::now() + self.patience;
        loop {
            let there = self.list_server_groups().await?;
            if let Some(there) = there.into_iter().find(|it| it.name == group.name) {
                if there.policy == Some(group.policy) {
                    let id = there.id;
                    return Ok(Made { id, found: true });
                }
                let said = "one of that name has another policy";
                return Err(CloudError::new(CloudFault::Conflict, what, said));
            }
            let post = Ask::post(&what, Service::Compute, &["os-server-groups"], body.clone());
            match self.ask(&post).await {
                Ok(answer) => {
                    let id = answer.pointer("/server_group/id").and_then(Value::as_str);
                    let id = id.map(str::to_owned).ok_or_else(|| {
                        let said = "it does not tell the ID of what was made";
                        CloudError::new(CloudFault::Unexpected, &what, said)
                    })?;
                    return Ok(Made { id, found: false });
                }
                Err(error) if error.nothing_done() || Instant::now() >= deadline => {
                    return Err(error);
                }
                Err(_) => sleep(jitter(LOOKS[0])).await,
            }
        }
    }
}

/// Whether an entry has exactly this name: the services' own filters are patterns.
pub(super) fn named(entry: &Value, name: &str) -> bool {
    entry.get("name").and_then(Value::as_str) == Some(name)
}

fn server_body(cluster: &Cluster, server: &NewServer) -> Map<String, Value> {
    let mut metadata = server.metadata.clone();
    metadata.insert(Cluster::KEY.to_owned(), cluster.0.clone());
    let mut tags = vec![cluster.tag()];
    tags.extend(server.tags.iter().cloned());
    let ports: Vec<Value> = server
        .ports
        .iter()
        .map(|id| json!({ "port": id }))
        .collect();
    let mut body = Map::new();
    let mut set = |key: &str, value: Value| {
        body.insert(key.to_owned(), value);
    };
    set("name", Value::from(server.name.as_str()));
    set("flavorRef", Value::from(server.flavor.as_str()));
    set("metadata", json!(metadata));
    set("tags", json!(tags));
    set("networks", Value::from(ports));
    if server.config_drive {
        set("config_drive", Value::from(true));
    }
    if let Some(key) = &server.keypair {
        set("key_name", Value::from(key.as_str()));
    }
    if let Some(zone) = &server.zone {
        set("availability_zone", Value::from(zone.as_str()));
    }
    let disk = match (&server.boot_from, &server.boot_volume) {
        (Some(volume), _) => Some(json!({
            "boot_index": 0,
            "uuid": volume,
            "source_type": "volume",
            "destination_type": "volume",
            "delete_on_termination": false,
        })),
        (None, Some(disk)) => Some(boot_disk(&server.image, disk)),
        (None, None) => None,
    };
    match disk {
        Some(disk) => set("block_device_mapping_v2", json!([disk])),
        None => set("imageRef", Value::from(server.image.as_str())),
    }
    body
}

fn boot_disk(image: &str, disk: &BootVolume) -> Value {
    let mut mapping = json!({
        "boot_index": 0,
        "uuid": image,
        "source_type": "image",
        "destination_type": "volume",
        "volume_size": disk.size,
        "delete_on_termination": disk.delete_with_server,
    });
    if let Some(kind) = &disk.kind {
        mapping["volume_type"] = Value::from(kind.as_str());
    }
    mapping
}

fn port_body(cluster: &Cluster, port: &NewPort) -> Value {
    let mut body = json!({
        "name": port.name,
        "network_id": port.network,
        "description": wire::marked(cluster, ""),
    });
    if !port.fixed_ips.is_empty() {
        let ips = port.fixed_ips.iter().map(|ip| {
            let mut fixed = Map::new();
            if let Some(subnet) = &ip.subnet {
                fixed.insert("subnet_id".to_owned(), Value::from(subnet.as_str()));
            }
            if let Some(address) = ip.address {
                fixed.insert("ip_address".to_owned(), Value::from(address.to_string()));
            }
            Value::Object(fixed)
        });
        body["fixed_ips"] = ips.collect();
    }
    if let Some(groups) = &port.security_groups {
        body["security_groups"] = json!(groups);
    }
    if !port.allowed_addresses.is_empty() {
        body["allowed_address_pairs"] = pairs(&port.allowed_addresses);
    }
    if let Some(security) = port.port_security {
        body["port_security_enabled"] = Value::from(security);
    }
    body
}

/// Addresses that a port may send from.
pub(super) fn pairs(nets: &[ipnet::IpNet]) -> Value {
    let pairs = nets.iter();
    pairs
        .map(|net| json!({ "ip_address": net.to_string() }))
        .collect()
}

fn rule_body(group: &str, rule: &NewRule) -> Value {
    let mut body = json!({
        "security_group_id": group,
        "direction": match rule.direction {
            Direction::Ingress => "ingress",
            Direction::Egress => "egress",
        },
        "ethertype": match rule.ether {
            Ether::V4 => "IPv4",
            Ether::V6 => "IPv6",
        },
        "description": rule.description,
    });
    if let Some(protocol) = &rule.protocol {
        body["protocol"] = Value::from(protocol.as_str());
    }
    if let Some((min, max)) = rule.ports {
        body["port_range_min"] = Value::from(min);
        body["port_range_max"] = Value::from(max);
    }
    match &rule.peer {
        Peer::Any => {}
        Peer::Cidr(net) => body["remote_ip_prefix"] = Value::from(net.to_string()),
        Peer::Group(group) => body["remote_group_id"] = Value::from(group.as_str()),
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_carries_the_mark_and_boots_from_what_is_said() {
        let cluster = Cluster("dccn".to_owned());
        let mut server = NewServer {
            name: "w1".to_owned(),
            flavor: "f".to_owned(),
            image: "i".to_owned(),
            ports: vec!["p".to_owned()],
            ..NewServer::default()
        };
        let body = server_body(&cluster, &server);
        assert_eq!(body["imageRef"], "i");
        assert_eq!(body["tags"], json!(["skep=dccn"]));
        assert_eq!(body["metadata"], json!({"skep-cluster": "dccn"}));
        assert_eq!(body["networks"], json!([{"port": "p"}]));
        server.boot_volume = Some(BootVolume {
            size: 20,
            kind: Some("ssd".to_owned()),
            delete_with_server: true,
        });
        let body = server_body(&cluster, &server);
        assert!(!body.contains_key("imageRef"));
        assert_eq!(body["block_device_mapping_v2"][0]["volume_size"], 20);
        assert_eq!(body["block_device_mapping_v2"][0]["volume_type"], "ssd");
        server.boot_from = Some("v".to_owned());
        let body = server_body(&cluster, &server);
        assert_eq!(body["block_device_mapping_v2"][0]["source_type"], "volume");
        assert_eq!(
            body["block_device_mapping_v2"][0]["delete_on_termination"],
            false
        );
    }

    #[test]
    fn a_rule_that_was_made_is_found_again() {
        let rule = NewRule {
            direction: Direction::Ingress,
            ether: Ether::V4,
            protocol: Some("tcp".to_owned()),
            ports: Some((2377, 2377)),
            peer: Peer::Cidr("10.0.0.0/24".parse().unwrap()),
            description: "swarm".to_owned(),
        };
        let mut body = rule_body("g", &rule);
        body["id"] = Value::from("r");
        let read = wire::rule(&body).unwrap();
        assert_eq!((read.ports, read.peer), (rule.ports, rule.peer));
    }
}
