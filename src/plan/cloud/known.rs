//! What a cloud tells of the hosts that are its servers: where to log in, whose host key it is, how
//! large packets may be.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::inventory::{Inventory, Provider};
use crate::openstack::Survey;
use crate::openstack::model::ServerStatus;

use super::servers::{port_name, volume_name};
use super::user_data::HOST_KEY;

/// What is known of a host that is a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Where to log in: its floating IP, else its own address.
    pub login: IpAddr,
    /// Its address on the first network.
    pub fixed: IpAddr,
    /// Its public host key, as skep gave it to the server: type and base64.
    pub host_key: Option<String>,
    /// The largest packet of its first network, in bytes.
    pub mtu: Option<u32>,
    /// Whether it runs.
    pub runs: bool,
    /// The IDs of its volumes, by the names that the inventory gives them.
    pub volumes: BTreeMap<String, String>,
}

/// The size of packets that Docker takes for granted (1500), as Ethernet has it.
pub(super) const ETHERNET: u32 = 1500;

/// What the cloud tells of the hosts of `inventory`, by their names. A host whose server or port is
/// not there is not in it.
pub fn known(inventory: &Inventory, survey: &Survey) -> BTreeMap<String, Known> {
    let hosts = inventory.hosts.iter();
    let hosts = hosts.filter(|host| host.provider == Provider::OpenStack);
    let found = hosts.filter_map(|host| {
        let server = survey.servers.iter().find(|it| it.name == host.name)?;
        let name = port_name(&host.name, 0);
        let port = survey.ports.iter().find(|it| it.name == name)?;
        let fixed = port.fixed_ips.iter().find_map(|it| it.address)?;
        let floating = survey.floating_ips.iter();
        let floating = floating.filter(|it| it.port.as_ref() == Some(&port.id));
        let login = floating.map(|it| it.address).next().unwrap_or(fixed);
        let network = survey.networks.iter().find(|it| it.id == port.network);
        let volumes = host.server.iter().flat_map(|wanted| &wanted.volumes);
        let volumes = volumes.filter_map(|volume| {
            let name = volume_name(&host.name, &volume.name);
            let found = survey.volumes.iter().find(|it| it.name == name)?;
            Some((volume.name.clone(), found.id.clone()))
        });
        let known = Known {
            login,
            fixed,
            host_key: server.metadata.get(HOST_KEY).cloned(),
            mtu: network.and_then(|it| it.mtu),
            runs: server.status == ServerStatus::Active,
            volumes: volumes.collect(),
        };
        Some((host.name.clone(), known))
    });
    found.collect()
}

/// Puts what the cloud tells into the inventory: the addresses to log in at and to tell others, and
/// the size of packets where it is less than Ethernet's.
pub fn learn(inventory: &mut Inventory, known: &BTreeMap<String, Known>) {
    for host in &mut inventory.hosts {
        if host.provider != Provider::OpenStack {
            continue;
        }
        let Some(found) = known.get(&host.name) else {
            // What its port will have is no address that answers now.
            host.address = None;
            continue;
        };
        host.address = Some(found.login.to_string());
        let advertise = &mut host.advertise;
        if advertise.address.is_none() && advertise.interface.is_none() {
            advertise.address = Some(found.fixed);
        }
        if let Some(storage) = &mut host.storage {
            storage.find_volumes(&found.volumes);
        }
        if let Some(mtu) = found.mtu.filter(|mtu| *mtu < ETHERNET) {
            let daemon = &mut host.docker.daemon;
            daemon.entry("mtu").or_insert_with(|| json!(mtu));
            host.docker.overlay_mtu = Some(mtu);
        }
    }
}

impl Known {
    /// The lines of a `known_hosts` file for it, for logins at `port`.
    pub fn lines(&self, port: u16) -> String {
        let Some(key) = &self.host_key else {
            return String::new();
        };
        let mut addresses = vec![self.login, self.fixed];
        addresses.dedup();
        let line = |address: &IpAddr| match port {
            22 => format!("{address} {key}\n"),
            port => format!("[{address}]:{port} {key}\n"),
        };
        addresses.iter().map(line).collect()
    }
}
