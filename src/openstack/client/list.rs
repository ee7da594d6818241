//! Lists, and the other questions.

use std::time::Duration;

use futures::TryStreamExt as _;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::OpenStack;
use super::call::{Ask, again, jitter};
use super::login::{Service, of_session};
use super::wire::{self, Read};
use crate::openstack::cloud::Given;
use crate::openstack::error::{CloudError, CloudFault};
use crate::openstack::model::{
    Cluster, Flavor, FloatingIp, Image, Keypair, Kind, Limits, Network, Port, Router,
    SecurityGroup, Server, ServerGroup, ServerStatus, Subnet, Volume, Zone, ZoneOf,
};

/// The first pause before the crate's objects are read again; it doubles.
const PAUSE: Duration = Duration::from_secs(1);

/// How objects of the `openstack` crate are read, page by page.
type Objects<T> = fn(openstack::Cloud) -> BoxFuture<'static, openstack::Result<Vec<T>>>;

impl OpenStack {
    /// A list as the model.
    async fn list<T>(
        &self,
        ask: &Ask<'_>,
        key: &str,
        keep: impl Fn(&Value) -> bool + Send,
        read: fn(&Value) -> Read<T>,
    ) -> Result<Vec<T>, CloudError> {
        let entries = self.pages(ask, key).await?;
        let kept = entries.iter().filter(|entry| keep(entry)).map(read);
        kept.collect::<Read<_>>()
            .map_err(|said| CloudError::new(CloudFault::Unexpected, ask.what, said))
    }

    pub(super) async fn list_servers(&self) -> Result<Vec<Server>, CloudError> {
        let ask = Ask::get("list servers", Service::Compute, &["servers", "detail"]);
        let ask = ask.query("tags", self.cluster.tag());
        let gone = |entry: &Value| {
            let word = |key: &str| entry.get(key).and_then(Value::as_str);
            ["DELETED", "SOFT_DELETED"].contains(&word("status").unwrap_or_default())
        };
        let keep = |entry: &Value| !gone(entry);
        let mut servers = self.list(&ask, "servers", keep, wire::server).await?;
        // Nova's lists leave out why a server found no place: a question for that one alone tells.
        for server in &mut servers {
            if server.status == ServerStatus::Error
                && server.fault.is_none()
                && let Some(entry) = self.one(ask.what, Kind::Server, &server.id).await?
                && let Ok(alone) = wire::server(&entry)
            {
                server.fault = alone.fault;
            }
        }
        Ok(servers)
    }

    /// Ports by their description, which is there from their first moment, and by their tag, which
    /// stays when somebody edits the description.
    pub(super) async fn list_ports(&self) -> Result<Vec<Port>, CloudError> {
        let all = |key, value: String| {
            Ask::get("list ports", Service::Network, &["ports"]).query(key, value)
        };
        let described = all("description", wire::marked(&self.cluster, ""));
        let tagged = all("tags", self.cluster.tag());
        let (mut ports, tagged) = tokio::try_join!(
            self.list(&described, "ports", |_| true, wire::port),
            self.list(&tagged, "ports", |_| true, wire::port),
        )?;
        for port in tagged {
            if !ports.iter().any(|it| it.id == port.id) {
                ports.push(port);
            }
        }
        Ok(ports)
    }

    /// Floating IPs, those of the cluster or all of the project.
    pub(super) async fn list_floating_ips(
        &self,
        ours: bool,
    ) -> Result<Vec<FloatingIp>, CloudError> {
        let what = "list floating IPs";
        let ask = Ask::get(what, Service::Network, &["floatingips"]);
        let ask = ask.query("project_id", self.project(what).await?);
        let keep = |entry: &Value| wire::is_marked(&self.cluster, entry) == ours;
        self.list(&ask, "floatingips", keep, wire::floating_ip)
            .await
    }

    pub(super) async fn list_security_groups(
        &self,
        ours: bool,
    ) -> Result<Vec<SecurityGroup>, CloudError> {
        let what = "list security groups";
        let ask = Ask::get(what, Service::Network, &["security-groups"]);
        let ask = ask.query("project_id", self.project(what).await?);
        let keep = |entry: &Value| wire::is_marked(&self.cluster, entry) == ours;
        self.list(&ask, "security_groups", keep, wire::security_group)
            .await
    }

    pub(super) async fn list_volumes(&self) -> Result<Vec<Volume>, CloudError> {
        let ask = Ask::get("list volumes", Service::Volume, &["volumes", "detail"]);
        let mark = json!({ Cluster::KEY: self.cluster.0 });
        let ask = ask.query("metadata", mark.to_string());
        // An old Cinder may not know the filter and give all.
        let keep = |entry: &Value| wire::has_key(&self.cluster, entry.get("metadata"));
        self.list(&ask, "volumes", keep, wire::volume).await
    }

    pub(super) async fn list_server_groups(&self) -> Result<Vec<ServerGroup>, CloudError> {
        let what = "list server groups";
        let unexpected = |said| CloudError::new(CloudFault::Unexpected, what, said);
        let mut groups = Vec::new();
        // They have no marker: pages are counted.
        let mut seen = 0;
        loop {
            let ask = Ask::get(what, Service::Compute, &["os-server-groups"])
                .query("limit", self.page.to_string())
                .query("offset", seen.to_string());
            let answer = self.ask(&ask).await?;
            let page = answer.get("server_groups").and_then(Value::as_array);
            let page = page.ok_or_else(|| unexpected("it has no list".to_owned()))?;
            for entry in page {
                let group = wire::server_group(entry).map_err(unexpected)?;
                if self.cluster.within(&group.name).is_some() {
                    groups.push(group);
                }
            }
            seen += page.len();
            if page.len() < self.page {
                return Ok(groups);
            }
        }
    }

    pub(super) async fn list_images(&self) -> Result<Vec<Image>, CloudError> {
        let ask = Ask::get("list images", Service::Image, &["images"]);
        self.list(&ask, "images", |_| true, wire::image).await
    }

    pub(super) async fn list_networks(&self) -> Result<Vec<Network>, CloudError> {
        let ask = Ask::get("list networks", Service::Network, &["networks"]);
        self.list(&ask, "networks", |_| true, wire::network).await
    }

    pub(super) async fn list_routers(&self) -> Result<Vec<Router>, CloudError> {
        let ask = Ask::get("list routers", Service::Network, &["routers"]);
        self.list(&ask, "routers", |_| true, wire::router).await
    }

    pub(super) async fn list_zones(&self) -> Result<Vec<Zone>, CloudError> {
        let path = ["os-availability-zone"];
        let servers = Ask::get("list zones of servers", Service::Compute, &path);
        let volumes = Ask::get("list zones of volumes", Service::Volume, &path);
        let (servers, volumes) = tokio::try_join!(self.ask(&servers), self.ask(&volumes))?;
        let mut zones = wire::zones(&servers, ZoneOf::Servers);
        zones.extend(wire::zones(&volumes, ZoneOf::Volumes));
        Ok(zones)
    }

    /// The ID of the project.
    pub(super) async fn project(&self, what: &str) -> Result<String, CloudError> {
        let ask = async {
            // Neutron tells it to whoever asks for a quota; the session keeps it to itself.
            let ask = Ask::get(what, Service::Network, &["quotas", "project"]);
            let answer = self.ask(&ask).await?;
            let project = answer
                .pointer("/project/project_id")
                .and_then(Value::as_str);
            project.map(str::to_owned).ok_or_else(|| {
                let said = "it does not tell the project's ID";
                CloudError::new(CloudFault::Unexpected, what, said)
            })
        };
        self.project.get_or_try_init(|| ask).await.cloned()
    }

    pub(super) async fn read_limits(&self) -> Result<Limits, CloudError> {
        let what = "read the quotas";
        let project = self.project(what).await?;
        let compute = Ask::get(what, Service::Compute, &["limits"]);
        let network = Ask::get(
            what,
            Service::Network,
            &["quotas", &project, "details.json"],
        );
        let volume = Ask::get(what, Service::Volume, &["os-quota-sets", &project]);
        let volume = volume.query("usage", "True");
        let (compute, network, volume) =
            tokio::try_join!(self.ask(&compute), self.ask(&network), self.ask(&volume))?;
        let absolute = |limit, used| {
            let limits = compute.pointer("/limits/absolute").unwrap_or(&Value::Null);
            wire::absolute(limits, limit, used)
        };
        let network = |key| wire::allowance(network.get("quota").unwrap_or(&Value::Null), key);
        let volume = |key| wire::allowance(volume.get("quota_set").unwrap_or(&Value::Null), key);
        Ok(Limits {
            servers: absolute("maxTotalInstances", "totalInstancesUsed"),
            vcpus: absolute("maxTotalCores", "totalCoresUsed"),
            ram: absolute("maxTotalRAMSize", "totalRAMUsed"),
            keypairs: absolute("maxTotalKeypairs", ""),
            server_groups: absolute("maxServerGroups", "totalServerGroupsUsed"),
            server_group_members: absolute("maxServerGroupMembers", ""),
            ports: network("port"),
            floating_ips: network("floatingip"),
            security_groups: network("security_group"),
            security_rules: network("security_group_rule"),
            volumes: volume("volumes"),
            gigabytes: volume("gigabytes"),
            gigabytes_of_one: volume("per_volume_gigabytes"),
        })
    }

    pub(super) async fn list_given(&self) -> Result<Given, CloudError> {
        let (groups, keypairs, ips) = tokio::try_join!(
            self.list_security_groups(false),
            self.list_keypairs(false),
            self.list_floating_ips(false),
        )?;
        let free = ips.into_iter().filter(|ip| ip.port.is_none());
        Ok(Given {
            security_groups: groups.into_iter().map(|it| (it.id, it.name)).collect(),
            keypairs: keypairs.into_iter().map(|it| it.name).collect(),
            floating_ips: free.map(|ip| (ip.id, ip.address)).collect(),
        })
    }

    pub(super) async fn list_flavors(&self) -> Result<Vec<Flavor>, CloudError> {
        let read: Objects<Flavor> = |cloud| {
            let flavors = cloud.find_flavors().detailed().into_stream();
            let flavors = flavors.map_ok(|flavor| Flavor {
                id: flavor.id().clone(),
                name: flavor.name().clone(),
                vcpus: flavor.vcpu_count().into(),
                ram: flavor.ram_size(),
                disk: flavor.root_size(),
                ephemeral: flavor.emphemeral_size(),
            });
            Box::pin(flavors.try_collect())
        };
        self.objects("list flavors", read).await
    }

    pub(super) async fn list_subnets(&self) -> Result<Vec<Subnet>, CloudError> {
        let read: Objects<Subnet> = |cloud| {
            let subnets = cloud.find_subnets().into_stream();
            let subnets = subnets.map_ok(|subnet| Subnet {
                id: subnet.id().clone(),
                name: subnet.name().clone().unwrap_or_default(),
                network: subnet.network_id().clone(),
                cidr: subnet.cidr(),
                gateway: subnet.gateway_ip(),
                dhcp: subnet.dhcp_enabled(),
            });
            Box::pin(subnets.try_collect())
        };
        self.objects("list subnets", read).await
    }

    /// Keypairs of the user, those of the cluster or the others.
    pub(super) async fn list_keypairs(&self, ours: bool) -> Result<Vec<Keypair>, CloudError> {
        let read: Objects<Keypair> = |cloud| {
            let keypairs = cloud.find_keypairs().into_stream();
            let keypairs = keypairs.map_ok(|keypair| Keypair {
                name: keypair.name().clone(),
                public_key: keypair.public_key().trim().to_owned(),
                fingerprint: keypair.fingerprint().clone(),
            });
            Box::pin(keypairs.try_collect())
        };
        let mut keypairs = self.objects("list keypairs", read).await?;
        keypairs.retain(|it| self.cluster.within(&it.name).is_some() == ours);
        Ok(keypairs)
    }

    /// Reads objects of the `openstack` crate, again where that may help.
    async fn objects<T>(&self, what: &str, read: Objects<T>) -> Result<Vec<T>, CloudError> {
        let deadline = Instant::now() + self.patience;
        let mut pause = PAUSE;
        loop {
            let attempt = async {
                let _room = self.room.acquire().await;
                let session = self.session().await?;
                read((*session).clone().into()).await.map_err(|error| {
                    let mut error = of_session(what, &error);
                    // A list without conditions cannot be said wrongly: it is refused for its time.
                    if error.fault == CloudFault::Rejected {
                        error.fault = CloudFault::Busy { retry_after: None };
                    }
                    error
                })
            };
            let error = match timeout(self.patience, attempt).await {
                Ok(Ok(all)) => return Ok(all),
                Ok(Err(error)) => error,
                Err(_) => CloudError::new(CloudFault::TimedOut, what, "no answer"),
            };
            let wait = jitter(pause);
            if !again(error.fault, true) || Instant::now() + wait >= deadline {
                return Err(error);
            }
            sleep(wait).await;
            pause *= 2;
        }
    }
}
