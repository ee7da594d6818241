//! What skep wants from a cloud.

use std::sync::Arc;

use futures::future::BoxFuture;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::error::CloudError;
use super::model::{
    Cluster, Flavor, FloatingIp, Image, Keypair, Kind, Limits, Network, NewFloatingIp, NewImage,
    NewKeypair, NewPort, NewRule, NewSecurityGroup, NewServer, NewServerGroup, NewVolume, Port,
    PortChange, PowerAct, Router, SecurityGroup, Server, ServerGroup, Subnet, Volume, Zone,
};

/// The answer of a cloud.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, CloudError>>;

/// A cloud that several tasks share.
pub type BoxedCloud = Arc<dyn Cloud>;

/// A resource that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// Its ID.
    pub id: String,
    /// Whether it was there before, with the same name and the cluster's mark.
    pub found: bool,
}

/// One project of a cloud, and one cluster in it.
///
/// Lists are whole: all pages are read. Those of kinds that carry the cluster's mark give only what
/// carries it; those of images, flavors, networks, subnets, routers and zones give all that the
/// project can see. Everything that is made carries the mark.
///
/// A call that makes something looks first whether this cluster has one of that name, and gives that
/// one; so it may be made again after an interruption. Nothing waits for what the cloud does
/// afterwards: servers, volumes and images are ready when a list says so.
///
/// Each call has a deadline. What the cloud refuses for the moment (429, 5xx), and lost connections,
/// are tried again until then.
pub trait Cloud: Send + Sync {
    /// The cluster whose mark this client sets and looks for.
    fn cluster(&self) -> &Cluster;

    /// The cluster's servers. One that is gone is not listed, one in error is.
    fn servers(&self) -> Answer<'_, Vec<Server>>;
    /// The cluster's ports.
    fn ports(&self) -> Answer<'_, Vec<Port>>;
    /// The cluster's floating IPs.
    fn floating_ips(&self) -> Answer<'_, Vec<FloatingIp>>;
    /// The cluster's volumes.
    fn volumes(&self) -> Answer<'_, Vec<Volume>>;
    /// The cluster's security groups with their rules.
    fn security_groups(&self) -> Answer<'_, Vec<SecurityGroup>>;
    /// The cluster's keypairs.
    fn keypairs(&self) -> Answer<'_, Vec<Keypair>>;
    /// The cluster's server groups.
    fn server_groups(&self) -> Answer<'_, Vec<ServerGroup>>;
    /// All images that the project can see; those of the cluster carry its tag.
    fn images(&self) -> Answer<'_, Vec<Image>>;
    /// All flavors.
    fn flavors(&self) -> Answer<'_, Vec<Flavor>>;
    /// All networks that the project can see.
    fn networks(&self) -> Answer<'_, Vec<Network>>;
    /// All subnets that the project can see.
    fn subnets(&self) -> Answer<'_, Vec<Subnet>>;
    /// All routers that the project can see.
    fn routers(&self) -> Answer<'_, Vec<Router>>;
    /// All availability zones.
    fn zones(&self) -> Answer<'_, Vec<Zone>>;
    /// How much the project may have and has.
    fn limits(&self) -> Answer<'_, Limits>;
    /// The names of the security groups and keypairs that are not the cluster's: what the inventory
    /// may name that skep does not make.
    fn given(&self) -> Answer<'_, Given>;

    /// Boots a server. `user_data` is the text itself, not base64.
    fn create_server<'a>(
        &'a self,
        server: &'a NewServer,
        user_data: Option<&'a SecretString>,
    ) -> Answer<'a, Made>;
    /// Makes a port.
    fn create_port<'a>(&'a self, port: &'a NewPort) -> Answer<'a, Made>;
    /// Gets a floating IP.
    fn create_floating_ip<'a>(&'a self, ip: &'a NewFloatingIp) -> Answer<'a, Made>;
    /// Makes a volume.
    fn create_volume<'a>(&'a self, volume: &'a NewVolume) -> Answer<'a, Made>;
    /// Makes a security group.
    fn create_security_group<'a>(&'a self, group: &'a NewSecurityGroup) -> Answer<'a, Made>;
    /// Adds a rule to a security group; well if there is one like it.
    fn create_rule<'a>(&'a self, group: &'a str, rule: &'a NewRule) -> Answer<'a, Made>;
    /// Brings a public key; refused where one of that name has another key.
    fn create_keypair<'a>(&'a self, keypair: &'a NewKeypair) -> Answer<'a, Made>;
    /// Makes a server group.
    fn create_server_group<'a>(&'a self, group: &'a NewServerGroup) -> Answer<'a, Made>;
    /// Uploads an image, telling `progress` how many bytes have gone. An image of that name whose
    /// upload was interrupted is removed first.
    fn upload_image<'a>(
        &'a self,
        image: &'a NewImage,
        progress: &'a (dyn Fn(u64) + Send + Sync),
    ) -> Answer<'a, Made>;
    /// Makes an image of a server's disk.
    fn snapshot<'a>(&'a self, server: &'a str, name: &'a str) -> Answer<'a, Made>;

    /// Removes a resource by its ID (a keypair: its name); well if it is gone.
    fn delete<'a>(&'a self, kind: Kind, id: &'a str) -> Answer<'a, ()>;

    /// Changes a port.
    fn change_port<'a>(&'a self, port: &'a str, change: &'a PortChange) -> Answer<'a, ()>;
    /// Leads a floating IP to a port, or to none.
    fn lead_floating_ip<'a>(&'a self, ip: &'a str, port: Option<&'a str>) -> Answer<'a, ()>;
    /// Attaches a volume to a server; well if it is there.
    fn attach_volume<'a>(&'a self, server: &'a str, volume: &'a str) -> Answer<'a, ()>;
    /// Detaches a volume from a server; well if it is not there.
    fn detach_volume<'a>(&'a self, server: &'a str, volume: &'a str) -> Answer<'a, ()>;
    /// Makes a volume larger, also while a server has it. `size` is in GiB.
    fn extend_volume<'a>(&'a self, volume: &'a str, size: u64) -> Answer<'a, ()>;
    /// Starts, stops or reboots a server; well if it is as wanted.
    fn power<'a>(&'a self, server: &'a str, act: PowerAct) -> Answer<'a, ()>;
    /// The last `lines` that a server printed on its console; all with `None`.
    fn console<'a>(&'a self, server: &'a str, lines: Option<u32>) -> Answer<'a, String>;
}

/// What the inventory may name that skep does not make.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// Security groups: ID and name.
    pub security_groups: Vec<(String, String)>,
    /// The names of keypairs.
    pub keypairs: Vec<String>,
    /// Floating IPs that lead nowhere: ID and address.
    pub floating_ips: Vec<(String, std::net::IpAddr)>,
}

/// Everything that a cloud tells, read at once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survey {
    /// The cluster's servers.
    pub servers: Vec<Server>,
    /// The cluster's ports.
    pub ports: Vec<Port>,
    /// The cluster's floating IPs.
    pub floating_ips: Vec<FloatingIp>,
    /// The cluster's volumes.
    pub volumes: Vec<Volume>,
    /// The cluster's security groups.
    pub security_groups: Vec<SecurityGroup>,
    /// The cluster's keypairs.
    pub keypairs: Vec<Keypair>,
    /// The cluster's server groups.
    pub server_groups: Vec<ServerGroup>,
    /// All images.
    pub images: Vec<Image>,
    /// All flavors.
    pub flavors: Vec<Flavor>,
    /// All networks.
    pub networks: Vec<Network>,
    /// All subnets.
    pub subnets: Vec<Subnet>,
    /// All routers.
    pub routers: Vec<Router>,
    /// All availability zones.
    pub zones: Vec<Zone>,
    /// How much there may be and is.
    pub limits: Limits,
    /// What skep does not make.
    pub given: Given,
}

/// Reads everything, all lists at once.
pub async fn survey(cloud: &dyn Cloud) -> Result<Survey, CloudError> {
    let compute = async {
        tokio::try_join!(
            cloud.servers(),
            cloud.keypairs(),
            cloud.server_groups(),
            cloud.flavors(),
            cloud.zones(),
            cloud.limits(),
            cloud.given(),
        )
    };
    let network = async {
        tokio::try_join!(
            cloud.ports(),
            cloud.floating_ips(),
            cloud.security_groups(),
            cloud.networks(),
            cloud.subnets(),
            cloud.routers(),
        )
    };
    let rest = async { tokio::try_join!(cloud.volumes(), cloud.images()) };
    let (compute, network, rest) = tokio::try_join!(compute, network, rest)?;
    let (servers, keypairs, server_groups, flavors, zones, limits, given) = compute;
    let (ports, floating_ips, security_groups, networks, subnets, routers) = network;
    let (volumes, images) = rest;
    Ok(Survey {
        servers,
        ports,
        floating_ips,
        volumes,
        security_groups,
        keypairs,
        server_groups,
        images,
        flavors,
        networks,
        subnets,
        routers,
        zones,
        limits,
        given,
    })
}
