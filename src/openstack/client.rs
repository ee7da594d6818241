//! The client: what is asked of a cloud, as calls of its services.
//!
//! Logging in, the catalogue and the versions of the services are osauth's, the session under the
//! `openstack` crate; flavors, subnets and keypairs are read as that crate's objects. The rest are raw
//! calls on the same session: the crate has no security groups, attachments, uploads, server groups,
//! tags or quotas, and its errors tell neither the status nor for how long the cloud asked to wait.

mod call;
mod change;
mod create;
mod image;
mod list;
mod login;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use osauth::Session;
use secrecy::SecretString;
use tokio::sync::{OnceCell, RwLock, Semaphore};

use super::cloud::{Answer, Cloud, Given, Made};
use super::config::Account;
use super::error::CloudError;
use super::model::{
    Cluster, Flavor, FloatingIp, Image, Keypair, Kind, Limits, Network, NewFloatingIp, NewImage,
    NewKeypair, NewPort, NewRule, NewSecurityGroup, NewServer, NewServerGroup, NewVolume, Port,
    PortChange, PowerAct, Router, SecurityGroup, Server, ServerGroup, Subnet, Volume, Zone,
};

/// How many requests are on their way at once.
const IN_FLIGHT: usize = 16;

/// How many entries a page of a list has. Clouds give at most 1000 unless told otherwise.
const PAGE: usize = 500;

/// For how long a call is tried again.
const PATIENCE: Duration = Duration::from_mins(3);

/// A cloud over its services' own interfaces.
pub struct OpenStack {
    account: Account,
    cluster: Cluster,
    http: reqwest::Client,
    session: RwLock<Option<Arc<Session>>>,
    room: Semaphore,
    page: usize,
    patience: Duration,
    project: OnceCell<String>,
}

impl OpenStack {
    /// A client that logs in with its first call.
    pub fn new(account: Account, cluster: Cluster) -> Result<Self, CloudError> {
        Ok(Self {
            http: login::http(&account)?,
            account,
            cluster,
            session: RwLock::new(None),
            room: Semaphore::new(IN_FLIGHT),
            page: PAGE,
            patience: PATIENCE,
            project: OnceCell::new(),
        })
    }

    /// Pages of another length.
    #[must_use]
    pub fn page(mut self, entries: usize) -> Self {
        self.page = entries.max(1);
        self
    }

    /// Another time for which calls are tried again.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}

impl Cloud for OpenStack {
    fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    fn servers(&self) -> Answer<'_, Vec<Server>> {
        Box::pin(self.list_servers())
    }

    fn ports(&self) -> Answer<'_, Vec<Port>> {
        Box::pin(self.list_ports())
    }

    fn floating_ips(&self) -> Answer<'_, Vec<FloatingIp>> {
        Box::pin(self.list_floating_ips(true))
    }

    fn volumes(&self) -> Answer<'_, Vec<Volume>> {
        Box::pin(self.list_volumes())
    }

    fn security_groups(&self) -> Answer<'_, Vec<SecurityGroup>> {
        Box::pin(self.list_security_groups(true))
    }

    fn keypairs(&self) -> Answer<'_, Vec<Keypair>> {
        Box::pin(self.list_keypairs(true))
    }

    fn server_groups(&self) -> Answer<'_, Vec<ServerGroup>> {
        Box::pin(self.list_server_groups())
    }

    fn images(&self) -> Answer<'_, Vec<Image>> {
        Box::pin(self.list_images())
    }

    fn flavors(&self) -> Answer<'_, Vec<Flavor>> {
        Box::pin(self.list_flavors())
    }

    fn networks(&self) -> Answer<'_, Vec<Network>> {
        Box::pin(self.list_networks())
    }

    fn subnets(&self) -> Answer<'_, Vec<Subnet>> {
        Box::pin(self.list_subnets())
    }

    fn routers(&self) -> Answer<'_, Vec<Router>> {
        Box::pin(self.list_routers())
    }

    fn zones(&self) -> Answer<'_, Vec<Zone>> {
        Box::pin(self.list_zones())
    }

    fn limits(&self) -> Answer<'_, Limits> {
        Box::pin(self.read_limits())
    }

    fn given(&self) -> Answer<'_, Given> {
        Box::pin(self.list_given())
    }

    fn create_server<'a>(
        &'a self,
        server: &'a NewServer,
        user_data: Option<&'a SecretString>,
    ) -> Answer<'a, Made> {
        Box::pin(self.make_server(server, user_data))
    }

    fn create_port<'a>(&'a self, port: &'a NewPort) -> Answer<'a, Made> {
        Box::pin(self.make_port(port))
    }

    fn create_floating_ip<'a>(&'a self, ip: &'a NewFloatingIp) -> Answer<'a, Made> {
        Box::pin(self.make_floating_ip(ip))
    }

    fn create_volume<'a>(&'a self, volume: &'a NewVolume) -> Answer<'a, Made> {
        Box::pin(self.make_volume(volume))
    }

    fn create_security_group<'a>(&'a self, group: &'a NewSecurityGroup) -> Answer<'a, Made> {
        Box::pin(self.make_security_group(group))
    }

    fn create_rule<'a>(&'a self, group: &'a str, rule: &'a NewRule) -> Answer<'a, Made> {
        Box::pin(self.make_rule(group, rule))
    }

    fn create_keypair<'a>(&'a self, keypair: &'a NewKeypair) -> Answer<'a, Made> {
        Box::pin(self.make_keypair(keypair))
    }

    fn create_server_group<'a>(&'a self, group: &'a NewServerGroup) -> Answer<'a, Made> {
        Box::pin(self.make_server_group(group))
    }

    fn upload_image<'a>(
        &'a self,
        image: &'a NewImage,
        progress: &'a (dyn Fn(u64) + Send + Sync),
    ) -> Answer<'a, Made> {
        Box::pin(self.upload(image, progress))
    }

    fn snapshot<'a>(&'a self, server: &'a str, name: &'a str) -> Answer<'a, Made> {
        Box::pin(self.make_snapshot(server, name))
    }

    fn delete<'a>(&'a self, kind: Kind, id: &'a str) -> Answer<'a, ()> {
        Box::pin(self.remove(kind, id))
    }

    fn change_port<'a>(&'a self, port: &'a str, change: &'a PortChange) -> Answer<'a, ()> {
        Box::pin(self.put_port(port, change))
    }

    fn lead_floating_ip<'a>(&'a self, ip: &'a str, port: Option<&'a str>) -> Answer<'a, ()> {
        Box::pin(self.put_floating_ip(ip, port))
    }

    fn attach_volume<'a>(&'a self, server: &'a str, volume: &'a str) -> Answer<'a, ()> {
        Box::pin(self.attach(server, volume))
    }

    fn detach_volume<'a>(&'a self, server: &'a str, volume: &'a str) -> Answer<'a, ()> {
        Box::pin(self.detach(server, volume))
    }

    fn extend_volume<'a>(&'a self, volume: &'a str, size: u64) -> Answer<'a, ()> {
        Box::pin(self.extend(volume, size))
    }

    fn power<'a>(&'a self, server: &'a str, act: PowerAct) -> Answer<'a, ()> {
        Box::pin(self.switch(server, act))
    }

    fn console<'a>(&'a self, server: &'a str, lines: Option<u32>) -> Answer<'a, String> {
        Box::pin(self.read_console(server, lines))
    }
}
