//! What is done in a cloud, through its client.

mod power;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::fleet::{Fault, FaultKind};
use crate::openstack::model::{
    Direction, Ether, FixedIp, NewFloatingIp, NewKeypair, NewPort, NewRule, NewSecurityGroup,
    NewServer, NewServerGroup, NewVolume, Peer, PortChange, PowerAct, Server, ServerStatus,
    VolumeStatus,
};
use crate::openstack::{BoxedCloud, CloudError, Kind, Made};
use crate::plan::CloudCall;
use crate::plan::cloud::HOST_KEY;
use crate::plan::step::{GroupRef, RuleFrom, RuleIn, ServerCall};
use crate::ssh;

/// How often the list of servers, or of volumes, is read while somebody waits: one request for all
/// who do. Real clouds take 10 s and more for a server.
const TICK: Duration = Duration::from_secs(2);

/// How long a volume may take to be made or attached. One from an image takes longest, and those here
/// are empty.
const VOLUME: Duration = Duration::from_mins(5);

/// How long a server that never ran may take to be gone.
const FAILED: Duration = Duration::from_mins(5);

/// How long a cloud may take to say why a server is in error: Nova writes that down after the error.
const WORDS: Duration = Duration::from_secs(20);

/// A cloud with what a run knows of it.
pub struct CloudRun {
    cloud: BoxedCloud,
    /// The IDs of what is there, by kind and name.
    ids: Mutex<BTreeMap<(Kind, String), String>>,
    /// The servers that this run made, by their IDs, with what was asked for.
    made: Mutex<BTreeMap<String, ServerCall>>,
    /// The servers as they were listed last. Whoever waits reads this list, so that there is one
    /// request for all of them.
    servers: tokio::sync::Mutex<Option<(Instant, Arc<Vec<Server>>)>>,
}

impl CloudRun {
    /// Nothing is known yet.
    pub fn new(cloud: BoxedCloud) -> Self {
        Self {
            cloud,
            ids: Mutex::default(),
            made: Mutex::default(),
            servers: tokio::sync::Mutex::new(None),
        }
    }

    /// Carries out `call`.
    #[expect(clippy::too_many_lines, reason = "one arm for each call")]
    pub(super) async fn call(
        &self,
        call: &CloudCall,
        output: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<(), Fault> {
        let cloud = self.cloud.as_ref();
        match call {
            CloudCall::Keypair { name, public_key } => {
                let keypair = NewKeypair {
                    name: name.clone(),
                    public_key: public_key.clone(),
                };
                cloud.create_keypair(&keypair).await?;
                Ok(())
            }
            CloudCall::ServerGroup { name, policy } => {
                let group = NewServerGroup {
                    name: name.clone(),
                    policy: *policy,
                };
                self.keep(
                    Kind::ServerGroup,
                    name,
                    cloud.create_server_group(&group).await,
                )
            }
            CloudCall::SecurityGroup { name, description } => {
                let group = NewSecurityGroup {
                    name: name.clone(),
                    description: description.clone(),
                };
                let made = cloud.create_security_group(&group).await;
                self.keep(Kind::SecurityGroup, name, made)
            }
            CloudCall::Rule { group, rule } => self.rule(group, rule).await,
            CloudCall::Port {
                name,
                network,
                address,
                groups,
            } => {
                let fixed_ips = address.iter().map(|address| FixedIp {
                    subnet: None,
                    address: Some(*address),
                });
                let port = NewPort {
                    name: name.clone(),
                    network: network.clone(),
                    fixed_ips: fixed_ips.collect(),
                    security_groups: Some(self.groups(groups).await?),
                    ..NewPort::default()
                };
                self.keep(Kind::Port, name, cloud.create_port(&port).await)
            }
            CloudCall::PortGroups { id, groups, .. } => {
                let change = PortChange {
                    security_groups: Some(self.groups(groups).await?),
                    ..PortChange::default()
                };
                Ok(cloud.change_port(id, &change).await?)
            }
            CloudCall::Server(server) => self.boot(server).await,
            CloudCall::WaitServer { name, deadline } => {
                self.wait_server(name, seconds(*deadline), output).await
            }
            CloudCall::Volume { name, gib, kind } => {
                let volume = NewVolume {
                    name: name.clone(),
                    size: (*gib).into(),
                    kind: kind.clone(),
                    ..NewVolume::default()
                };
                self.keep(Kind::Volume, name, cloud.create_volume(&volume).await)?;
                self.wait_volume(name, |status| {
                    matches!(status, VolumeStatus::Available | VolumeStatus::InUse)
                })
                .await
            }
            CloudCall::Attach { server, volume } => {
                let server = self.id(Kind::Server, server).await?;
                let id = self.id(Kind::Volume, volume).await?;
                cloud.attach_volume(&server, &id).await?;
                self.wait_volume(volume, |status| *status == VolumeStatus::InUse)
                    .await
            }
            CloudCall::Extend { id, name, gib } => {
                cloud.extend_volume(id, (*gib).into()).await?;
                self.wait_volume(name, |status| {
                    matches!(status, VolumeStatus::Available | VolumeStatus::InUse)
                })
                .await
            }
            CloudCall::FloatingIp {
                host,
                network,
                port,
            } => {
                let id = self.id(Kind::Port, port).await?;
                let ip = NewFloatingIp {
                    network: network.clone(),
                    port: Some(id.clone()),
                    description: host.clone(),
                };
                let made = cloud.create_floating_ip(&ip).await?;
                if made.found {
                    cloud.lead_floating_ip(&made.id, Some(&id)).await?;
                }
                Ok(())
            }
            CloudCall::Start { id } => Ok(cloud.power(id, PowerAct::Start).await?),
            CloudCall::Delete {
                kind: Kind::Volume,
                id,
                name,
            } => {
                cloud.delete(Kind::Volume, id).await?;
                self.wait_no_volume(name, id).await
            }
            CloudCall::Delete { kind, id, .. } => Ok(cloud.delete(*kind, id).await?),
            CloudCall::WaitGone { id, deadline } => self.wait_gone(id, seconds(*deadline)).await,
        }
    }

    /// Remembers the ID of what was made or found.
    fn keep(&self, kind: Kind, name: &str, made: Result<Made, CloudError>) -> Result<(), Fault> {
        let made = made?;
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        ids.insert((kind, name.to_owned()), made.id);
        Ok(())
    }

    /// The ID of what the cluster has under that name.
    async fn id(&self, kind: Kind, name: &str) -> Result<String, Fault> {
        let known = {
            let ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
            ids.get(&(kind, name.to_owned())).cloned()
        };
        if let Some(id) = known {
            return Ok(id);
        }
        let cloud = self.cloud.as_ref();
        let found: Vec<(String, String)> = match kind {
            Kind::Server => pairs(cloud.servers().await?, |it| (it.name, it.id)),
            Kind::Port => pairs(cloud.ports().await?, |it| (it.name, it.id)),
            Kind::Volume => pairs(cloud.volumes().await?, |it| (it.name, it.id)),
            Kind::SecurityGroup => pairs(cloud.security_groups().await?, |it| (it.name, it.id)),
            Kind::ServerGroup => pairs(cloud.server_groups().await?, |it| (it.name, it.id)),
            _ => Vec::new(),
        };
        let id = found
            .iter()
            .find(|(it, _)| it == name)
            .map(|(_, id)| id.clone());
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, id) in found {
            ids.insert((kind, name), id);
        }
        id.ok_or_else(|| {
            Fault::new(
                FaultKind::Failed,
                format!("the {kind} `{name}` is not there"),
            )
            .hint("Run the command again: what is missing is made.")
        })
    }

    async fn groups(&self, groups: &[GroupRef]) -> Result<Vec<String>, Fault> {
        let mut ids = Vec::new();
        for group in groups {
            ids.push(match group {
                GroupRef::Own(name) => self.id(Kind::SecurityGroup, name).await?,
                GroupRef::Given(id) => id.clone(),
            });
        }
        Ok(ids)
    }

    async fn rule(&self, group: &str, rule: &RuleIn) -> Result<(), Fault> {
        let id = self.id(Kind::SecurityGroup, group).await?;
        let peer = match &rule.from {
            RuleFrom::Own(name) => Peer::Group(self.id(Kind::SecurityGroup, name).await?),
            RuleFrom::Net(net) if net.prefix_len() == 0 => Peer::Any,
            RuleFrom::Net(net) => Peer::Cidr(*net),
        };
        let rule = NewRule {
            direction: Direction::Ingress,
            ether: Ether::V4,
            protocol: Some(rule.protocol.clone()),
            ports: rule.ports,
            peer,
            description: rule.what.clone(),
        };
        self.cloud.create_rule(&id, &rule).await?;
        Ok(())
    }

    /// Boots a server with a host key that is made here and told in its metadata, which only those can
    /// write who may ask the cloud for it.
    async fn boot(&self, call: &ServerCall) -> Result<(), Fault> {
        let mut ports = Vec::new();
        for port in &call.ports {
            ports.push(self.id(Kind::Port, port).await?);
        }
        let group = match &call.group {
            Some(name) => Some(self.id(Kind::ServerGroup, name).await?),
            None => None,
        };
        let failed = |why: String| Fault::new(FaultKind::Failed, why);
        let key = ssh::new_host_key(&call.name)
            .map_err(|error| failed(format!("no host key could be made: {error}")))?;
        let user_data = call.user_data.render(&key);
        let user_data = user_data.map_err(|error| failed(error.to_string()))?;
        let mut metadata = call.metadata.clone();
        metadata.insert(HOST_KEY.to_owned(), key.public);
        let server = NewServer {
            name: call.name.clone(),
            flavor: call.flavor.clone(),
            image: call.image.clone(),
            ports,
            boot_volume: call.boot_volume.clone(),
            keypair: call.keypair.clone(),
            zone: call.zone.clone(),
            group,
            metadata,
            config_drive: call.config_drive,
            ..NewServer::default()
        };
        let made = self.cloud.create_server(&server, Some(&user_data)).await?;
        if !made.found {
            let mut all = self.made.lock().unwrap_or_else(PoisonError::into_inner);
            all.insert(made.id.clone(), call.clone());
        }
        self.keep(Kind::Server, &call.name, Ok(made))
    }

    /// The servers as they are, or were up to a [`TICK`] ago.
    async fn servers(&self) -> Result<Arc<Vec<Server>>, Fault> {
        let mut slot = self.servers.lock().await;
        if let Some((when, servers)) = slot.as_ref()
            && when.elapsed() < TICK
        {
            return Ok(Arc::clone(servers));
        }
        let servers = Arc::new(self.cloud.servers().await?);
        *slot = Some((Instant::now(), Arc::clone(&servers)));
        Ok(servers)
    }

    async fn wait_server(
        &self,
        name: &str,
        deadline: Duration,
        output: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<(), Fault> {
        let mut until = Instant::now() + deadline;
        let mut told = String::new();
        let mut full: Vec<String> = Vec::new();
        let mut failed: Option<Instant> = None;
        loop {
            let servers = self.servers().await?;
            let server = servers.iter().find(|it| it.name == name);
            match server {
                Some(server) if server.status == ServerStatus::Active => return Ok(()),
                Some(server) if server.status == ServerStatus::Error => {
                    let since = *failed.get_or_insert_with(Instant::now);
                    if server.fault.is_none() && since.elapsed() < WORDS {
                        sleep(TICK).await;
                        continue;
                    }
                    failed = None;
                    self.elsewhere(server, &mut full, output).await?;
                    until = Instant::now() + deadline;
                    continue;
                }
                _ => {}
            }
            let state = match server {
                Some(server) => server
                    .task
                    .clone()
                    .unwrap_or_else(|| format!("{:?}", server.status)),
                None => "not listed yet".to_owned(),
            };
            if state != told {
                output(&state);
                told = state;
            }
            if Instant::now() > until {
                let why = format!(
                    "the server `{name}` does not run after {} s: {told}",
                    deadline.as_secs()
                );
                return Err(Fault::new(FaultKind::TimedOut, why)
                    .hint("Run the command again: it goes on waiting for the same server."));
            }
            sleep(TICK).await;
        }
    }

    /// Goes on after the cloud failed to make a server. One that this run made holds nothing yet: it is
    /// removed, and made in the next of its zones where this one had no place for it. `full` has the
    /// zones that had none.
    ///
    /// # Errors
    ///
    /// What the cloud says, where the server is not made anew.
    async fn elsewhere(
        &self,
        server: &Server,
        full: &mut Vec<String>,
        output: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<(), Fault> {
        let Server { name, id, .. } = server;
        let fault = server.fault.as_ref();
        let why = fault.map_or("it does not say why", |it| it.message.as_str());
        let call = {
            let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
            made.remove(id)
        };
        let zones = call.iter().filter_map(|call| call.zone.clone());
        full.extend(zones);
        let place = match &full[..] {
            [] => String::new(),
            [zone] => format!(" in the zone `{zone}`"),
            zones => format!(" in the zones {}", zones.join(", ")),
        };
        let failed = Fault::new(
            FaultKind::Failed,
            format!("the cloud failed to make the server `{name}`{place}: {why}"),
        );
        let Some(call) = call else {
            return Err(failed.hint(format!("`openstack server show {id}` tells more.")));
        };
        if let Err(error) = self.cloud.delete(Kind::Server, id).await {
            return Err(failed.hint(format!("It could not be removed: {error}")));
        }
        let Some(next) = call.elsewhere(why) else {
            return Err(failed.hint("It was removed again. Mend what the cloud says, or choose another flavor or zone; then run the command again."));
        };
        let zone = next.zone.as_deref().unwrap_or_default();
        output(&format!(
            "waiting for a place in the zone `{zone}`; none{place}: {why}"
        ));
        self.wait_gone(id, FAILED).await?;
        self.boot(&next).await
    }

    async fn wait_gone(&self, id: &str, deadline: Duration) -> Result<(), Fault> {
        let until = Instant::now() + deadline;
        loop {
            let servers = self.servers().await?;
            if !servers.iter().any(|it| it.id == id) {
                return Ok(());
            }
            if Instant::now() > until {
                let why = format!("the server is still there after {} s", deadline.as_secs());
                return Err(Fault::new(FaultKind::TimedOut, why).hint("Run the command again."));
            }
            sleep(TICK).await;
        }
    }

    /// Waits until a volume is gone: Cinder takes the request, and erases it after that.
    async fn wait_no_volume(&self, name: &str, id: &str) -> Result<(), Fault> {
        let until = Instant::now() + VOLUME;
        loop {
            let volumes = self.cloud.volumes().await?;
            if !volumes.iter().any(|it| it.id == id) {
                return Ok(());
            }
            if Instant::now() > until {
                let seconds = VOLUME.as_secs();
                let why = format!("the volume `{name}` is still there after {seconds} s");
                return Err(Fault::new(FaultKind::TimedOut, why).hint("Run the command again."));
            }
            sleep(TICK).await;
        }
    }

    async fn wait_volume(
        &self,
        name: &str,
        is: impl Fn(&VolumeStatus) -> bool,
    ) -> Result<(), Fault> {
        let until = Instant::now() + VOLUME;
        loop {
            let volumes = self.cloud.volumes().await?;
            let found = volumes.iter().find(|it| it.name == name);
            let state = match found.map(|it| &it.status) {
                Some(status) if is(status) => return Ok(()),
                Some(VolumeStatus::Error(word)) => {
                    let why = format!("the cloud failed with the volume `{name}`: {word}");
                    return Err(Fault::new(FaultKind::Failed, why)
                        .hint("`openstack volume show` tells more."));
                }
                status => format!("{status:?}"),
            };
            if Instant::now() > until {
                let why = format!(
                    "the volume `{name}` is not ready after {} s: {state}",
                    VOLUME.as_secs()
                );
                return Err(Fault::new(FaultKind::TimedOut, why).hint("Run the command again."));
            }
            sleep(TICK).await;
        }
    }
}

fn pairs<T>(all: Vec<T>, pair: impl Fn(T) -> (String, String)) -> Vec<(String, String)> {
    all.into_iter().map(pair).collect()
}

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(u64::from(seconds))
}
