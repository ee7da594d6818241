//! The client against the real services.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use secrecy::SecretString;
use skep::openstack::model::{
    Affinity, BootVolume, Direction, Ether, FixedIp, ImageFormat, ImageStatus, NewFloatingIp,
    NewImage, NewKeypair, NewPort, NewRule, NewSecurityGroup, NewServer, NewServerGroup, NewVolume,
    Peer, PortChange, PowerAct, Server, ServerStatus, VolumeStatus, ZoneOf,
};
use skep::openstack::{
    Account, Cloud, CloudFault, Cluster, Kind, Login, OpenStack, Survey, Wanted, survey,
};

use super::faults::{Failure, Faults};

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKx2cTLYyGnrQjNcx6kcUQ9F6wQ8D0v8hVn2QO8b9l1v";

/// How long the cloud may take over anything.
const PATIENCE: Duration = Duration::from_mins(3);

fn account(clouds: &Path) -> Account {
    let wanted = Wanted {
        file: Some(clouds.to_owned()),
        cloud: Some("demo".to_owned()),
        ..Wanted::default()
    };
    Account::load(&wanted).unwrap()
}

fn cluster() -> Cluster {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
    Cluster(format!("test.{now}"))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().unwrap()
}

/// Runs OpenStack's own client, for what skep does not make, and as a second opinion.
fn openstack(clouds: &Path, arguments: &str) -> String {
    let ran = Command::new("openstack")
        .args(["--os-cloud", "demo"])
        .args(arguments.split(' '))
        .env("OS_CLIENT_CONFIG_FILE", clouds)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "openstack {arguments}: {error}");
    String::from_utf8(ran.stdout).unwrap().trim().to_owned()
}

/// A network of the test's own, with a range of addresses. It goes at the end.
struct Net<'a> {
    clouds: &'a Path,
    name: String,
    network: String,
    subnet: String,
}

impl<'a> Net<'a> {
    fn new(clouds: &'a Path, name: &str) -> Self {
        let name = name.to_owned();
        let network = openstack(clouds, &format!("network create -f value -c id {name}"));
        let subnet = format!(
            "subnet create -f value -c id --network {network} --subnet-range 10.77.0.0/24 {name}"
        );
        let subnet = openstack(clouds, &subnet);
        openstack(clouds, &format!("router create {name}"));
        openstack(
            clouds,
            &format!("router set --external-gateway public {name}"),
        );
        openstack(clouds, &format!("router add subnet {name} {subnet}"));
        Self {
            clouds,
            name,
            network,
            subnet,
        }
    }

    fn remove(self) {
        let Self { name, subnet, .. } = &self;
        openstack(
            self.clouds,
            &format!("router remove subnet {name} {subnet}"),
        );
        openstack(self.clouds, &format!("router delete {name}"));
        openstack(self.clouds, &format!("network delete {}", self.network));
    }
}

/// Asks until the answer is as it should be.
async fn until<T, F: AsyncFnMut() -> Option<T>>(what: &str, mut ask: F) -> T {
    let began = Instant::now();
    loop {
        if let Some(value) = ask().await {
            return value;
        }
        assert!(
            began.elapsed() < PATIENCE,
            "{what}: not within {PATIENCE:?}"
        );
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// The server, when it does nothing any more.
async fn settled(cloud: &dyn Cloud, id: &str) -> Server {
    until("a server that does nothing", async || {
        let servers = cloud.servers().await.unwrap();
        let server = servers.into_iter().find(|it| it.id == id).unwrap();
        let still = server.task.is_some() || server.status == ServerStatus::Building;
        (!still).then_some(server)
    })
    .await
}

async fn volume_is(cloud: &dyn Cloud, id: &str, wanted: &VolumeStatus) {
    until("a volume", async || {
        let volumes = cloud.volumes().await.unwrap();
        let volume = volumes.into_iter().find(|it| it.id == id).unwrap();
        (volume.status == *wanted).then_some(())
    })
    .await;
}

/// Removes everything of the cluster, and sees that nothing is left.
async fn clean(cloud: &dyn Cloud) {
    let all = survey(cloud).await.unwrap();
    for server in &all.servers {
        cloud.delete(Kind::Server, &server.id).await.unwrap();
    }
    until("no server", async || {
        cloud.servers().await.unwrap().is_empty().then_some(())
    })
    .await;
    let ours = |tags: &[String]| tags.contains(&cloud.cluster().tag());
    for ip in &all.floating_ips {
        cloud.delete(Kind::FloatingIp, &ip.id).await.unwrap();
    }
    for port in &all.ports {
        cloud.delete(Kind::Port, &port.id).await.unwrap();
    }
    for group in &all.security_groups {
        cloud.delete(Kind::SecurityGroup, &group.id).await.unwrap();
    }
    for group in &all.server_groups {
        cloud.delete(Kind::ServerGroup, &group.id).await.unwrap();
    }
    for keypair in &all.keypairs {
        cloud.delete(Kind::Keypair, &keypair.name).await.unwrap();
    }
    for image in &all.images {
        if image.properties.get(Cluster::KEY) == Some(&cloud.cluster().0) || ours(&image.tags) {
            cloud.delete(Kind::Image, &image.id).await.unwrap();
        }
    }
    for volume in &all.volumes {
        volume_is(cloud, &volume.id, &VolumeStatus::Available).await;
        cloud.delete(Kind::Volume, &volume.id).await.unwrap();
    }
    until("no volume", async || {
        cloud.volumes().await.unwrap().is_empty().then_some(())
    })
    .await;
    let Survey {
        servers,
        ports,
        floating_ips,
        volumes,
        security_groups,
        keypairs,
        server_groups,
        ..
    } = survey(cloud).await.unwrap();
    assert!(servers.is_empty() && ports.is_empty() && floating_ips.is_empty());
    assert!(volumes.is_empty() && security_groups.is_empty());
    assert!(keypairs.is_empty() && server_groups.is_empty());
}

/// The ID of a flavor and of an image.
async fn given(cloud: &dyn Cloud, flavor: &str) -> (String, String) {
    let flavors = cloud.flavors().await.unwrap();
    let flavor = flavors.iter().find(|it| it.name == flavor).unwrap();
    let images = cloud.images().await.unwrap();
    let image = images.iter().find(|it| it.name == "tiny").unwrap();
    (flavor.id.clone(), image.id.clone())
}

/// Every verb once, with pages of two entries.
pub(crate) fn every_verb(clouds: &Path) {
    runtime().block_on(async {
        let cluster = cluster();
        let net = Net::new(clouds, &cluster.0);
        let cloud = OpenStack::new(account(clouds), cluster.clone())
            .unwrap()
            .page(2);
        let other = OpenStack::new(account(clouds), Cluster("another".to_owned())).unwrap();
        one_of_everything(&cloud, &other, &net).await;
        clean(&cloud).await;
        net.remove();
    });
}

#[expect(clippy::too_many_lines, reason = "one story, told in order")]
async fn one_of_everything(cloud: &OpenStack, other: &OpenStack, net: &Net<'_>) {
    let cluster = cloud.cluster().clone();
    let all = survey(cloud).await.unwrap();
    assert!(all.servers.is_empty() && all.ports.is_empty() && all.volumes.is_empty());
    assert!(all.flavors.len() >= 3, "{:?}", all.flavors);
    let network = all.networks.iter().find(|it| it.id == net.network).unwrap();
    assert!(network.mtu.unwrap() >= 1280 && network.subnets == [net.subnet.as_str()]);
    assert!(!network.external && network.port_security);
    let public = all.networks.iter().find(|it| it.external).unwrap();
    let subnet = all.subnets.iter().find(|it| it.id == net.subnet).unwrap();
    assert_eq!(subnet.cidr.to_string(), "10.77.0.0/24");
    let router = all.routers.iter().find(|it| it.name == net.name).unwrap();
    assert_eq!(router.external_network.as_ref(), Some(&public.id));
    assert!(
        all.zones
            .iter()
            .any(|it| it.of == ZoneOf::Servers && it.available)
    );
    assert!(
        all.zones
            .iter()
            .any(|it| it.of == ZoneOf::Volumes && it.available)
    );
    assert_eq!(all.limits.servers.limit, Some(10));
    assert_eq!(all.limits.servers.used, 0);
    assert!(all.limits.gigabytes.limit.is_some() && all.limits.ports.limit.is_some());
    assert!(
        all.given
            .security_groups
            .iter()
            .any(|(_, name)| name == "default")
    );

    // A security group, its rules, and the same again.
    let new = NewSecurityGroup {
        name: "swarm".to_owned(),
        description: "between the nodes".to_owned(),
    };
    let group = cloud.create_security_group(&new).await.unwrap();
    let again = cloud.create_security_group(&new).await.unwrap();
    assert!(!group.found && again.found && again.id == group.id);
    let rules = [
        (
            Some("tcp"),
            Some((2377, 2377)),
            Peer::Group(group.id.clone()),
        ),
        (Some("tcp"), Some((22, 22)), Peer::Any),
        (
            Some("udp"),
            Some((4789, 4789)),
            Peer::Cidr("10.77.0.0/24".parse().unwrap()),
        ),
        (Some("icmp"), None, Peer::Any),
    ];
    for (protocol, ports, peer) in rules {
        let rule = NewRule {
            direction: Direction::Ingress,
            ether: Ether::V4,
            protocol: protocol.map(str::to_owned),
            ports,
            peer,
            description: "swarm".to_owned(),
        };
        let made = cloud.create_rule(&group.id, &rule).await.unwrap();
        let again = cloud.create_rule(&group.id, &rule).await.unwrap();
        assert!(
            !made.found && again.found && made.id == again.id,
            "{rule:?}"
        );
        let groups = cloud.security_groups().await.unwrap();
        let there = groups[0].rules.iter().find(|it| it.id == made.id).unwrap();
        assert_eq!((there.ports, &there.peer), (rule.ports, &rule.peer));
    }
    let groups = cloud.security_groups().await.unwrap();
    assert_eq!(groups.len(), 1);
    // Four of ours and two of the cloud's own.
    assert_eq!(groups[0].rules.len(), 6);
    assert_eq!(groups[0].description, "between the nodes");
    assert_eq!(groups[0].tags, [cluster.tag()]);
    let rule = groups[0]
        .rules
        .iter()
        .find(|it| it.ports == Some((22, 22)))
        .unwrap();
    let refused = other
        .delete(Kind::SecurityRule, &rule.id)
        .await
        .unwrap_err();
    assert_eq!(refused.fault, CloudFault::NotOurs);
    cloud.delete(Kind::SecurityRule, &rule.id).await.unwrap();
    cloud.delete(Kind::SecurityRule, &rule.id).await.unwrap();

    // A keypair and a server group.
    let keypair = NewKeypair {
        name: cluster.name_of("key"),
        public_key: format!("{KEY} me@here"),
    };
    assert!(!cloud.create_keypair(&keypair).await.unwrap().found);
    assert!(cloud.create_keypair(&keypair).await.unwrap().found);
    let changed = NewKeypair {
        public_key: KEY.replace("9l1v", "9l1w"),
        ..keypair.clone()
    };
    let error = cloud.create_keypair(&changed).await.unwrap_err();
    assert_eq!(error.fault, CloudFault::Conflict);
    assert_eq!(cloud.keypairs().await.unwrap().len(), 1);
    let servers = NewServerGroup {
        name: cluster.name_of("managers"),
        policy: Affinity::SoftAntiAffinity,
    };
    let server_group = cloud.create_server_group(&servers).await.unwrap();
    assert_eq!(
        cloud.create_server_group(&servers).await.unwrap().id,
        server_group.id
    );
    let there = cloud.server_groups().await.unwrap();
    assert_eq!(there[0].policy, Some(Affinity::SoftAntiAffinity));

    // Ports with a fixed address: three, so that pages of two do not suffice.
    let mut ports = Vec::new();
    for number in 1..=3 {
        let port = NewPort {
            name: format!("m{number}"),
            network: net.network.clone(),
            fixed_ips: vec![FixedIp {
                subnet: Some(net.subnet.clone()),
                address: Some(format!("10.77.0.1{number}").parse().unwrap()),
            }],
            security_groups: Some(vec![group.id.clone()]),
            allowed_addresses: vec!["10.77.0.100/32".parse().unwrap()],
            port_security: None,
        };
        let made = cloud.create_port(&port).await.unwrap();
        assert_eq!(cloud.create_port(&port).await.unwrap().id, made.id);
        ports.push(made.id);
    }
    let there = cloud.ports().await.unwrap();
    assert_eq!(there.len(), 3);
    for port in &there {
        assert_eq!(port.tags, [cluster.tag()]);
        assert_eq!(port.security_groups, [group.id.as_str()]);
        assert_eq!(port.allowed_addresses, ["10.77.0.100/32".parse().unwrap()]);
        assert_eq!(port.device, None);
    }
    assert!(other.ports().await.unwrap().is_empty());
    let change = PortChange {
        security_groups: None,
        allowed_addresses: Some(Vec::new()),
    };
    cloud.change_port(&ports[2], &change).await.unwrap();
    let there = cloud.ports().await.unwrap();
    let port = there.iter().find(|it| it.id == ports[2]).unwrap();
    assert!(port.allowed_addresses.is_empty() && port.security_groups == [group.id.as_str()]);

    // A server with everything, booted twice and there once.
    let (flavor, image) = given(cloud, "m1.tiny").await;
    let zones = all
        .zones
        .iter()
        .filter(|it| it.of == ZoneOf::Servers && it.available);
    let zone = zones.map(|it| it.name.clone()).next();
    let new = NewServer {
        name: "m1".to_owned(),
        flavor: flavor.clone(),
        image: image.clone(),
        ports: vec![ports[0].clone()],
        keypair: Some(keypair.name.clone()),
        zone: zone.clone(),
        group: Some(server_group.id.clone()),
        metadata: BTreeMap::from([("role".to_owned(), "manager".to_owned())]),
        tags: vec!["managers".to_owned()],
        config_drive: true,
        ..NewServer::default()
    };
    let data = SecretString::from("#cloud-config\nhostname: m1\n");
    let made = cloud.create_server(&new, Some(&data)).await.unwrap();
    let again = cloud.create_server(&new, Some(&data)).await.unwrap();
    assert!(!made.found && again.found && again.id == made.id);
    let server = settled(cloud, &made.id).await;
    assert_eq!(server.status, ServerStatus::Active, "{:?}", server.fault);
    assert_eq!(server.addresses[0].address.to_string(), "10.77.0.11");
    assert_eq!(server.flavor, "m1.tiny");
    assert_eq!(server.image.as_deref(), Some(image.as_str()));
    assert_eq!(server.keypair.as_ref(), Some(&keypair.name));
    assert_eq!(server.zone, zone);
    assert_eq!(server.metadata["role"], "manager");
    assert_eq!(server.metadata[Cluster::KEY], cluster.0);
    assert!(server.tags.contains(&cluster.tag()) && server.tags.contains(&"managers".to_owned()));
    assert!(server.created.is_some());
    let there = cloud.server_groups().await.unwrap();
    assert_eq!(there[0].members, [made.id.as_str()]);
    let there = cloud.ports().await.unwrap();
    let port = there.iter().find(|it| it.id == ports[0]).unwrap();
    assert_eq!(port.device.as_ref(), Some(&made.id));
    let refused = other.delete(Kind::Server, &made.id).await.unwrap_err();
    assert_eq!(refused.fault, CloudFault::NotOurs);
    assert_eq!(cloud.limits().await.unwrap().servers.used, 1);

    // One that boots from a volume, made of the image by the cloud.
    let new = NewServer {
        name: "m2".to_owned(),
        ports: vec![ports[1].clone()],
        boot_volume: Some(BootVolume {
            size: 2,
            kind: None,
            delete_with_server: true,
        }),
        zone: None,
        group: None,
        ..new
    };
    let booted = cloud.create_server(&new, None).await.unwrap();
    let server = settled(cloud, &booted.id).await;
    assert_eq!(server.status, ServerStatus::Active, "{:?}", server.fault);
    assert_eq!((server.image.as_ref(), server.volumes.len()), (None, 1));
    assert!(server.volumes[0].delete_with_server);
    assert!(cloud.volumes().await.unwrap().is_empty());

    // A floating IP, led to one port and to another.
    let new = NewFloatingIp {
        network: public.id.clone(),
        port: Some(ports[0].clone()),
        description: "m1".to_owned(),
    };
    let ip = cloud.create_floating_ip(&new).await.unwrap();
    assert_eq!(cloud.create_floating_ip(&new).await.unwrap().id, ip.id);
    let there = cloud.floating_ips().await.unwrap();
    assert_eq!((there.len(), there[0].description.as_str()), (1, "m1"));
    assert_eq!(there[0].fixed.unwrap().to_string(), "10.77.0.11");
    cloud
        .lead_floating_ip(&ip.id, Some(&ports[1]))
        .await
        .unwrap();
    let there = cloud.floating_ips().await.unwrap();
    assert_eq!(there[0].port.as_ref(), Some(&ports[1]));
    cloud.lead_floating_ip(&ip.id, None).await.unwrap();
    assert_eq!(cloud.floating_ips().await.unwrap()[0].port, None);
    assert!(
        cloud
            .given()
            .await
            .unwrap()
            .floating_ips
            .iter()
            .all(|(id, _)| *id != ip.id)
    );

    // A volume: made, attached, grown, detached.
    let new = NewVolume {
        name: "m1-docker".to_owned(),
        size: 1,
        metadata: BTreeMap::from([("host".to_owned(), "m1".to_owned())]),
        ..NewVolume::default()
    };
    let volume = cloud.create_volume(&new).await.unwrap();
    assert_eq!(cloud.create_volume(&new).await.unwrap().id, volume.id);
    volume_is(cloud, &volume.id, &VolumeStatus::Available).await;
    cloud.attach_volume(&made.id, &volume.id).await.unwrap();
    cloud.attach_volume(&made.id, &volume.id).await.unwrap();
    volume_is(cloud, &volume.id, &VolumeStatus::InUse).await;
    let there = cloud.volumes().await.unwrap();
    assert_eq!(there[0].attachments[0].server, made.id);
    assert!(there[0].attachments[0].device.is_some());
    assert_eq!(there[0].metadata["host"], "m1");
    cloud.detach_volume(&made.id, &volume.id).await.unwrap();
    volume_is(cloud, &volume.id, &VolumeStatus::Available).await;
    cloud.detach_volume(&made.id, &volume.id).await.unwrap();
    cloud.extend_volume(&volume.id, 2).await.unwrap();
    cloud.extend_volume(&volume.id, 2).await.unwrap();
    volume_is(cloud, &volume.id, &VolumeStatus::Available).await;
    assert_eq!(cloud.volumes().await.unwrap()[0].size, 2);

    // Power, the console, an image of the server, and an image of a file.
    cloud.power(&made.id, PowerAct::Start).await.unwrap();
    cloud.power(&made.id, PowerAct::Stop).await.unwrap();
    assert_eq!(settled(cloud, &made.id).await.status, ServerStatus::Stopped);
    cloud.power(&made.id, PowerAct::Stop).await.unwrap();
    cloud.power(&made.id, PowerAct::Start).await.unwrap();
    assert_eq!(settled(cloud, &made.id).await.status, ServerStatus::Active);
    for act in [PowerAct::Reboot, PowerAct::Reset] {
        cloud.power(&made.id, act).await.unwrap();
        assert_eq!(settled(cloud, &made.id).await.status, ServerStatus::Active);
    }
    let text = cloud.console(&made.id, Some(100)).await.unwrap();
    assert!(text.contains("FAKE CONSOLE OUTPUT"), "{text}");
    let snapshot = cloud.snapshot(&made.id, "prepared").await.unwrap();
    assert_eq!(
        cloud.snapshot(&made.id, "prepared").await.unwrap().id,
        snapshot.id
    );
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("disk.raw");
    std::fs::write(&file, vec![7; 3_000_000]).unwrap();
    let new = NewImage {
        name: "brought".to_owned(),
        file,
        format: ImageFormat::Raw,
        min_disk: 1,
        min_ram: 0,
        properties: BTreeMap::from([("os_distro".to_owned(), "debian".to_owned())]),
    };
    let sent = std::sync::Mutex::new(0);
    let tell = |bytes| *sent.lock().unwrap() = bytes;
    let image = cloud.upload_image(&new, &tell).await.unwrap();
    assert_eq!(*sent.lock().unwrap(), 3_000_000);
    assert!(cloud.upload_image(&new, &tell).await.unwrap().found);
    until("two images", async || {
        let images = cloud.images().await.unwrap();
        let is = |id: &str| images.iter().find(|it| it.id == id).unwrap();
        let (one, two) = (is(&snapshot.id), is(&image.id));
        assert_eq!(two.size, Some(3_000_000));
        assert_eq!(
            (two.min_disk, two.properties["os_distro"].as_str()),
            (1, "debian")
        );
        (one.status == ImageStatus::Active && two.status == ImageStatus::Active).then_some(())
    })
    .await;
}

/// What a cloud refuses, and how that is told.
pub(crate) fn refusals(clouds: &Path) {
    runtime().block_on(async {
        let cluster = cluster();
        let cloud = OpenStack::new(account(clouds), cluster.clone()).unwrap();
        let network = openstack(
            clouds,
            &format!("network create -f value -c id {}", cluster.0),
        );
        let (flavor, image) = given(&cloud, "m1.tiny").await;
        let server = NewServer {
            name: "w1".to_owned(),
            flavor: "nosuch".to_owned(),
            image,
            ..NewServer::default()
        };
        let error = cloud.create_server(&server, None).await.unwrap_err();
        assert_eq!(error.fault, CloudFault::Rejected);
        assert!(error.to_string().contains("server `w1`"), "{error}");
        assert!(
            error.said.contains("Flavor nosuch could not be found"),
            "{error}"
        );

        let volume = NewVolume {
            name: "huge".to_owned(),
            size: 100_000,
            ..NewVolume::default()
        };
        let error = cloud.create_volume(&volume).await.unwrap_err();
        assert_eq!(error.fault, CloudFault::Quota, "{error}");
        assert!(error.to_string().contains("volume `huge`"), "{error}");

        let long = SecretString::from("x".repeat(60_000));
        let server = NewServer { flavor, ..server };
        let error = cloud.create_server(&server, Some(&long)).await.unwrap_err();
        assert!(error.said.contains("80000 bytes"), "{error}");

        let port = NewPort {
            name: "p".to_owned(),
            network: "00000000-0000-0000-0000-000000000000".to_owned(),
            ..NewPort::default()
        };
        let error = cloud.create_port(&port).await.unwrap_err();
        assert_eq!(error.fault, CloudFault::NotFound, "{error}");
        for kind in [Kind::Server, Kind::Port, Kind::Volume, Kind::Image] {
            let gone = "00000000-0000-0000-0000-000000000000";
            cloud.delete(kind, gone).await.unwrap();
        }

        let mut wrong = account(clouds);
        if let Login::Password { password, .. } = &mut wrong.login {
            *password = SecretString::from("not-the-password");
        }
        let cloud = OpenStack::new(wrong, cluster.clone()).unwrap();
        let error = cloud.servers().await.unwrap_err();
        assert_eq!(error.fault, CloudFault::Unauthorized, "{error}");
        let told = format!("{error} {error:?}");
        assert!(
            told.contains("log in at `http://") && !told.contains("not-the-password"),
            "{told}"
        );

        let mut nowhere = account(clouds);
        "http://127.0.0.1:1/v3".clone_into(&mut nowhere.auth_url);
        let cloud = OpenStack::new(nowhere, cluster.clone()).unwrap();
        let error = cloud
            .patience(Duration::from_secs(2))
            .servers()
            .await
            .unwrap_err();
        assert_eq!(error.fault, CloudFault::Unreachable, "{error}");
        assert!(error.said.contains("refused"), "{error}");

        let mut elsewhere = account(clouds);
        elsewhere.region = Some("Nowhere".to_owned());
        let cloud = OpenStack::new(elsewhere, cluster).unwrap();
        let error = cloud.servers().await.unwrap_err();
        assert_eq!(error.fault, CloudFault::Config, "{error}");
        openstack(clouds, &format!("network delete {network}"));
    });
}

/// Lost answers, a limiter in front, connections that end: nothing is made twice or lost.
pub(crate) fn failing_network(clouds: &Path) {
    runtime().block_on(async {
        let cluster = cluster();
        let net = Net::new(clouds, &cluster.0);
        let nova = Faults::before("127.0.0.1:8774");
        let neutron = Faults::before("127.0.0.1:9696");
        let mut account = account(clouds);
        let endpoint = |service: &str, url| (service.to_owned(), url);
        account.endpoints.extend([
            endpoint("compute", format!("http://{}/v2.1", nova.address)),
            endpoint("network", format!("http://{}", neutron.address)),
        ]);
        let cloud = OpenStack::new(account, cluster.clone()).unwrap();

        neutron.fail(Failure::AnswerLost("POST"));
        let port = NewPort {
            name: "w1".to_owned(),
            network: net.network.clone(),
            ..NewPort::default()
        };
        let port = cloud.create_port(&port).await.unwrap();
        assert_eq!(neutron.left(), 0);
        assert!(port.found, "it is found by its name and mark");
        // The tag was put on it after it was found.
        let ports = cloud.ports().await.unwrap();
        assert_eq!((ports.len(), ports[0].tags.len()), (1, 1));

        nova.fail(Failure::AnswerLost("POST"));
        let (flavor, image) = given(&cloud, "m1.tiny").await;
        let server = NewServer {
            name: "w1".to_owned(),
            flavor,
            image,
            ports: vec![port.id.clone()],
            ..NewServer::default()
        };
        let made = cloud.create_server(&server, None).await.unwrap();
        assert_eq!(nova.left(), 0);
        assert!(made.found);
        assert_eq!(settled(&cloud, &made.id).await.status, ServerStatus::Active);
        assert_eq!(cloud.servers().await.unwrap().len(), 1);

        // Questions are asked again; so is a removal whose answer was lost.
        for _ in 0..3 {
            nova.fail(Failure::Cut);
        }
        assert_eq!(cloud.servers().await.unwrap().len(), 1);
        assert_eq!(nova.left(), 0);
        nova.fail(Failure::Limited(
            "GET",
            "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n",
        ));
        assert_eq!(cloud.servers().await.unwrap().len(), 1);
        assert_eq!(nova.left(), 0);
        nova.fail(Failure::Limited(
            "GET",
            "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3600\r\nContent-Length: 0\r\n\r\n",
        ));
        let error = cloud.servers().await.unwrap_err();
        let busy = CloudFault::Busy {
            retry_after: Some(3600),
        };
        assert_eq!(error.fault, busy, "an hour is longer than its patience");
        nova.fail(Failure::Limited(
            "GET",
            "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
        ));
        assert_eq!(cloud.servers().await.unwrap().len(), 1);
        nova.fail(Failure::AnswerLost("DELETE"));
        cloud.delete(Kind::Server, &made.id).await.unwrap();
        assert_eq!(nova.left(), 0);
        clean(&cloud).await;
        net.remove();
    });
}
