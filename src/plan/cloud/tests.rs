use std::net::IpAddr;
use std::path::Path;

use secrecy::ExposeSecret as _;

use super::*;
use crate::facts::{Node, SwarmSettings};
use crate::guard;
use crate::inventory::{Availability, Role};
use crate::openstack::model::{
    Allowance, FixedIp, Flavor, FloatingIp, Image, ImageStatus, Limits, Network, Port,
    SecurityGroup, SecurityRule, Server, ServerFault, ServerStatus, Subnet, Volume, VolumeStatus,
    Zone, ZoneOf,
};
use crate::openstack::model::{Direction, Ether, Peer};
use crate::plan::graph::Graph;
use crate::swarm::{Down, Swarm, Up};

const INVENTORY: &str = r#"
[cluster]
name = "hive"
provider = "openstack"

[openstack]
cloud = "mycloud"
image = "debian"
flavor = "small"
networks = ["private"]
public-key = "id.pub"
ssh-from = ["198.51.100.0/24"]
floating-ips = "managers"
floating-network = "public"

[ssh]
user = "debian"
jump = "m1"

[swarm]
default-addr-pool = ["10.200.0.0/16"]

[[host]]
name = "m1"
role = "manager"
address = "10.0.0.11"
openstack.volumes = [{ name = "docker", size = "20 GiB" }]
storage.lvm.device = "volume:docker"

[[host]]
name = "w[1-WORKERS]"
role = "worker"
openstack.availability-zones = ["a", "b"]
"#;

fn inventory(workers: usize) -> Inventory {
    let text = INVENTORY.replace("WORKERS", &workers.to_string());
    let (inventory, found) = crate::inventory::parse(&text, Path::new("skep.toml"));
    let mut inventory = inventory.unwrap_or_else(|| panic!("{found:?}"));
    let settings = inventory.openstack.as_mut().unwrap();
    settings.public_key_text = Some("ssh-ed25519 AAAA me".to_owned());
    inventory
}

fn all(inventory: &Inventory) -> BTreeSet<String> {
    inventory
        .hosts
        .iter()
        .map(|host| host.name.clone())
        .collect()
}

/// A cloud without anything of the cluster.
fn empty() -> Survey {
    let zone = |name: &str| Zone {
        name: name.to_owned(),
        of: ZoneOf::Servers,
        available: true,
    };
    let network = |id: &str, external, mtu| Network {
        id: format!("id-{id}"),
        name: id.to_owned(),
        mtu,
        external,
        port_security: true,
        subnets: Vec::new(),
    };
    Survey {
        images: vec![Image {
            id: "id-debian".to_owned(),
            name: "debian".to_owned(),
            status: ImageStatus::Active,
            min_disk: 3,
            min_ram: 0,
            size: None,
            virtual_size: None,
            disk_format: None,
            properties: BTreeMap::new(),
            tags: Vec::new(),
            created: None,
        }],
        flavors: vec![Flavor {
            id: "id-small".to_owned(),
            name: "small".to_owned(),
            vcpus: 1,
            ram: 2048,
            disk: 20,
            ephemeral: 0,
        }],
        networks: vec![
            network("private", false, Some(1450)),
            network("public", true, None),
        ],
        subnets: vec![Subnet {
            id: "id-subnet".to_owned(),
            name: "private".to_owned(),
            network: "id-private".to_owned(),
            cidr: "10.0.0.0/24".parse().unwrap(),
            gateway: None,
            dhcp: true,
        }],
        zones: vec![zone("a"), zone("b")],
        ..Survey::default()
    }
}

fn server(name: &str, status: ServerStatus, zone: Option<&str>) -> Server {
    Server {
        id: format!("id-{name}"),
        name: name.to_owned(),
        status,
        task: None,
        fault: None,
        addresses: Vec::new(),
        flavor: "small".to_owned(),
        image: Some("id-debian".to_owned()),
        zone: zone.map(str::to_owned),
        keypair: None,
        metadata: BTreeMap::from([(HOST_KEY.to_owned(), format!("ssh-ed25519 {name}"))]),
        tags: Vec::new(),
        volumes: Vec::new(),
        created: None,
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// What is in the cloud when `plan` has been carried out, as far as the planner looks at it.
fn carry_out(plan: &Plan, survey: &mut Survey) {
    let steps = plan.changes.iter().flat_map(|change| change.steps.clone());
    for step in steps {
        let Step::Cloud(call) = step else { continue };
        act(&call, survey);
    }
}

#[expect(clippy::too_many_lines, reason = "one arm for each call")]
fn act(call: &CloudCall, survey: &mut Survey) {
    use crate::openstack::model::{Attachment, Keypair, ServerGroup};
    let count = survey.ports.len() + survey.floating_ips.len();
    let own = |survey: &Survey, name: &str| {
        survey
            .security_groups
            .iter()
            .find(|it| it.name == name)
            .unwrap()
            .id
            .clone()
    };
    match call {
        CloudCall::Keypair { name, public_key } => survey.keypairs.push(Keypair {
            name: name.clone(),
            public_key: public_key.clone(),
            fingerprint: String::new(),
        }),
        CloudCall::ServerGroup { name, policy } => survey.server_groups.push(ServerGroup {
            id: format!("id-{name}"),
            name: name.clone(),
            policy: Some(*policy),
            members: Vec::new(),
        }),
        CloudCall::SecurityGroup { name, description } => {
            survey.security_groups.push(SecurityGroup {
                id: format!("id-{name}"),
                name: name.clone(),
                description: description.clone(),
                rules: Vec::new(),
                tags: Vec::new(),
            });
        }
        CloudCall::Rule { group, rule } => {
            let peer = match &rule.from {
                crate::plan::step::RuleFrom::Own(name) => Peer::Group(own(survey, name)),
                crate::plan::step::RuleFrom::Net(net) => Peer::Cidr(*net),
            };
            let groups = &mut survey.security_groups;
            let group = groups.iter_mut().find(|it| it.name == *group).unwrap();
            group.rules.push(SecurityRule {
                id: format!("{}-{}", group.id, group.rules.len()),
                direction: Direction::Ingress,
                ether: Ether::V4,
                protocol: Some(rule.protocol.clone()),
                ports: rule.ports,
                peer,
                description: rule.what.clone(),
            });
        }
        CloudCall::Port {
            name,
            network,
            address: fixed,
            groups,
        } => {
            let groups = groups.iter().map(|group| match group {
                crate::plan::step::GroupRef::Own(name) => own(survey, name),
                crate::plan::step::GroupRef::Given(id) => id.clone(),
            });
            let port = Port {
                id: format!("id-{name}"),
                name: name.clone(),
                network: network.clone(),
                fixed_ips: vec![FixedIp {
                    subnet: None,
                    address: Some(fixed.unwrap_or(address(&format!("10.0.0.{}", 100 + count)))),
                }],
                mac: String::new(),
                device: None,
                owner: String::new(),
                security_groups: groups.collect(),
                allowed_addresses: Vec::new(),
                port_security: true,
                status: "DOWN".to_owned(),
                tags: Vec::new(),
            };
            survey.ports.push(port);
        }
        CloudCall::Server(call) => {
            let zone = call.zone.as_deref().or(Some("nova"));
            survey
                .servers
                .push(server(&call.name, ServerStatus::Active, zone));
        }
        CloudCall::Volume { name, gib, .. } => survey.volumes.push(Volume {
            id: format!("id-{name}"),
            name: name.clone(),
            size: (*gib).into(),
            status: VolumeStatus::Available,
            kind: None,
            zone: None,
            attachments: Vec::new(),
            metadata: BTreeMap::new(),
            bootable: false,
        }),
        CloudCall::Attach { server, volume } => {
            let volumes = &mut survey.volumes;
            let volume = volumes.iter_mut().find(|it| it.name == *volume).unwrap();
            volume.attachments.push(Attachment {
                server: format!("id-{server}"),
                device: None,
            });
        }
        CloudCall::FloatingIp {
            host,
            network,
            port,
        } => survey.floating_ips.push(FloatingIp {
            id: format!("id-{host}"),
            address: address(&format!("203.0.113.{}", 10 + count)),
            network: network.clone(),
            port: Some(format!("id-{port}")),
            fixed: None,
            status: "ACTIVE".to_owned(),
            description: host.clone(),
            tags: Vec::new(),
        }),
        CloudCall::Delete {
            kind: Kind::Server,
            id,
            ..
        } => survey.servers.retain(|it| it.id != *id),
        CloudCall::Delete {
            kind: Kind::SecurityRule,
            id,
            ..
        } => {
            for group in &mut survey.security_groups {
                group.rules.retain(|it| it.id != *id);
            }
        }
        _ => {}
    }
}

fn planned(inventory: &Inventory, survey: &Survey) -> Plan {
    let mut plan = build(inventory, survey, &all(inventory));
    plan.refusals
        .extend(guard::cloud::check(&plan, survey, false));
    plan
}

/// The names of a plan's changes, in their order.
fn names(plan: &Plan) -> Vec<&str> {
    plan.changes
        .iter()
        .map(|change| change.id.0.as_str())
        .collect()
}

#[test]
fn a_first_plan_makes_all_in_the_right_order() {
    let inventory = inventory(2);
    let plan = planned(&inventory, &empty());
    assert_eq!(plan.refusals, []);
    assert_eq!(
        names(&plan),
        [
            "(cloud)/cloud.security-group/ssh",
            "(cloud)/cloud.security-group/members",
            "(cloud)/cloud.keypair",
            "m1/cloud.port/0",
            "(cloud)/cloud.server-group/manager",
            "m1/cloud.server",
            "m1/cloud.volume/docker",
            "m1/cloud.attachment/docker",
            "m1/cloud.floating-ip",
            "w1/cloud.port/0",
            "w1/cloud.server",
            "w2/cloud.port/0",
            "w2/cloud.server",
        ]
    );
    assert!(Graph::of(&plan.changes).is_ok());
    let needs = |id: &str| {
        let change = plan.changes.iter().find(|it| it.id.0 == id).unwrap();
        change
            .needs
            .iter()
            .map(|it| it.0.as_str())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        needs("m1/cloud.server"),
        [
            "(cloud)/cloud.keypair",
            "(cloud)/cloud.server-group/manager",
            "m1/cloud.port/0"
        ]
    );
    assert_eq!(
        needs("m1/cloud.attachment/docker"),
        ["m1/cloud.server", "m1/cloud.volume/docker"]
    );
    assert_eq!(needs("m1/cloud.floating-ip"), ["m1/cloud.port/0"]);
    let text = serde_json::to_string(&plan).unwrap();
    assert!(!text.contains("PRIVATE KEY"), "a plan holds a secret");
}

#[test]
fn the_members_let_in_what_a_swarm_needs_and_nothing_else() {
    let plan = planned(&inventory(1), &empty());
    let mut rules = Vec::new();
    for step in plan.changes.iter().flat_map(|change| &change.steps) {
        if let Step::Cloud(CloudCall::Rule { group, rule }) = step {
            rules.push(format!("{group}: {rule}"));
        }
    }
    assert_eq!(
        rules,
        [
            "skep hive ssh: 22/tcp from 198.51.100.0/24",
            "skep hive ssh: 22/tcp from `skep hive ssh`",
            "skep hive members: 2377/tcp from `skep hive members`",
            "skep hive members: 7946/tcp from `skep hive members`",
            "skep hive members: 7946/udp from `skep hive members`",
            "skep hive members: 4789/udp from `skep hive members`",
            "skep hive members: esp from `skep hive members`",
        ]
    );
}

#[test]
fn what_was_carried_out_is_found_again_and_scaling_adds_only_what_is_new() {
    let mut survey = empty();
    let small = inventory(2);
    carry_out(&planned(&small, &survey), &mut survey);
    assert_eq!(names(&planned(&small, &survey)), Vec::<&str>::new());
    assert!(planned(&small, &survey).is_empty());
    let more = planned(&inventory(4), &survey);
    assert_eq!(
        names(&more),
        [
            "w3/cloud.port/0",
            "w3/cloud.server",
            "w4/cloud.port/0",
            "w4/cloud.server"
        ]
    );
    // Two workers are in a and b; the next two are spread as well.
    let zones: Vec<_> = more
        .changes
        .iter()
        .flat_map(|change| &change.steps)
        .filter_map(|step| match step {
            Step::Cloud(CloudCall::Server(server)) => server.zone.as_deref(),
            _ => None,
        })
        .collect();
    assert_eq!(zones, ["a", "b"]);
}

#[test]
fn a_run_that_was_cut_anywhere_goes_on_and_ends_in_the_same() {
    let inventory = inventory(2);
    let plan = planned(&inventory, &empty());
    let steps: Vec<&Step> = plan
        .changes
        .iter()
        .flat_map(|change| &change.steps)
        .collect();
    for cut in 0..=steps.len() {
        let mut survey = empty();
        for step in &steps[..cut] {
            if let Step::Cloud(call) = step {
                act(call, &mut survey);
            }
        }
        let rest = planned(&inventory, &survey);
        assert_eq!(rest.refusals, [], "cut after {cut}");
        carry_out(&rest, &mut survey);
        assert!(planned(&inventory, &survey).is_empty(), "cut after {cut}");
        assert_eq!(
            (survey.servers.len(), survey.ports.len()),
            (3, 3),
            "cut after {cut}"
        );
        assert_eq!(
            (survey.volumes.len(), survey.floating_ips.len()),
            (1, 1),
            "cut after {cut}"
        );
    }
}

#[test]
fn a_quota_that_does_not_suffice_is_refused_with_the_arithmetic() {
    let mut survey = empty();
    survey.limits = Limits {
        servers: Allowance {
            limit: Some(10),
            used: 8,
        },
        vcpus: Allowance {
            limit: Some(20),
            used: 8,
        },
        gigabytes: Allowance {
            limit: Some(10),
            used: 0,
        },
        ..Limits::default()
    };
    let plan = planned(&inventory(2), &survey);
    let told: Vec<&str> = plan.refusals.iter().map(|it| it.why.as_str()).collect();
    assert_eq!(
        told,
        [
            "the plan needs 3 more servers, and the project may have 2: 8 of 10 are in use",
            "the plan needs 20 more GiB of volumes, and the project may have 10: 0 of 10 are in use",
        ]
    );
    assert_eq!(planned(&inventory(1), &empty()).refusals, []);
}

#[test]
fn a_server_that_found_no_place_is_made_anew_and_one_that_ran_never() {
    let inventory = inventory(1);
    let mut survey = empty();
    carry_out(&planned(&inventory, &survey), &mut survey);
    let place = survey
        .servers
        .iter()
        .position(|it| it.name == "w1")
        .unwrap();
    survey.servers[place].status = ServerStatus::Error;
    survey.servers[place].fault = Some(ServerFault {
        code: 500,
        message: "No valid host was found".to_owned(),
    });
    let plan = planned(&inventory, &survey);
    assert_eq!(plan.refusals[0].host.as_deref(), Some("w1"));
    assert_eq!(
        plan.refusals[0].why,
        "the server is in error: No valid host was found"
    );
    survey.servers[place].zone = None;
    let plan = planned(&inventory, &survey);
    assert_eq!(plan.refusals, []);
    assert_eq!(names(&plan), ["w1/cloud.server"]);
    assert!(matches!(
        plan.changes[0].steps[0],
        Step::Cloud(CloudCall::Delete {
            kind: Kind::Server,
            ..
        })
    ));
}

#[test]
fn nothing_is_removed_or_rebuilt_by_editing_the_inventory() {
    let mut survey = empty();
    carry_out(&planned(&inventory(3), &survey), &mut survey);
    let mut fewer = inventory(1);
    for host in &mut fewer.hosts {
        host.server.as_mut().unwrap().flavor = "large".to_owned();
    }
    survey.flavors.push(Flavor {
        id: "id-large".to_owned(),
        name: "large".to_owned(),
        vcpus: 4,
        ram: 8192,
        disk: 80,
        ephemeral: 0,
    });
    let plan = planned(&fewer, &survey);
    assert_eq!(plan.changes, []);
    let told = plan.warnings.join("\n");
    assert!(
        told.contains("`m1` has the flavor `small`, not `large`"),
        "{told}"
    );
    assert!(
        told.contains("the server `w3` (id-w3) is no host of the inventory"),
        "{told}"
    );
}

#[test]
fn what_the_inventory_names_and_the_cloud_has_not_is_told_once_for_all_hosts() {
    let mut inventory = inventory(2);
    for host in &mut inventory.hosts {
        let server = host.server.as_mut().unwrap();
        server.image = crate::inventory::openstack::Image::Named("debain".to_owned());
    }
    inventory.hosts[0].server.as_mut().unwrap().address = Some("192.168.0.1".parse().unwrap());
    let w1 = inventory.hosts[1].server.as_mut().unwrap();
    w1.flavor = "huge".to_owned();
    w1.zones = vec!["c".to_owned()];
    w1.security_groups = vec!["mine".to_owned()];
    w1.networks.push("publik".to_owned());
    let plan = planned(&inventory, &empty());
    let told: Vec<String> = plan
        .refusals
        .iter()
        .map(|it| format!("{} {}", it.why, it.hint))
        .collect();
    assert_eq!(
        told,
        [
            "192.168.0.1 is no address of the network `private` It has 10.0.0.0/24.",
            "the cloud has no availability zone `c` There is `a`, `b`.",
            "the cloud has no flavor `huge` There is `small`.",
            "m1, w1, w2: the cloud has no image `debain` There is `debian`.",
            "the cloud has no network `publik` There is `public`.",
            "the cloud has no security group `mine` There is none at all.",
        ]
    );
}

#[test]
fn destroying_removes_what_is_ours_and_the_guard_nothing_else() {
    let mut survey = empty();
    carry_out(&planned(&inventory(2), &survey), &mut survey);
    let plan = destroy("hive", &survey, false);
    assert!(Graph::of(&plan.changes).is_ok());
    assert_eq!(guard::cloud::check(&plan, &survey, true), []);
    let removes = |plan: &Plan, wanted: Kind| {
        let steps = plan.changes.iter().flat_map(|change| &change.steps);
        let is = |step: &&Step| matches!(step, Step::Cloud(CloudCall::Delete { kind, .. }) if *kind == wanted);
        steps.filter(is).count()
    };
    for (kind, count) in [
        (Kind::Server, 3),
        (Kind::Port, 3),
        (Kind::FloatingIp, 1),
        (Kind::Volume, 0),
        (Kind::SecurityGroup, 2),
        (Kind::ServerGroup, 1),
        (Kind::Keypair, 1),
    ] {
        assert_eq!(removes(&plan, kind), count, "{kind}");
    }
    assert_eq!(removes(&destroy("hive", &survey, true), Kind::Volume), 1);
    // Not by `up`, and not what is another's.
    let refused = guard::cloud::check(&plan, &survey, false);
    assert_eq!(refused.len(), 3, "{refused:?}");
    survey.servers.clear();
    let refused = guard::cloud::check(&plan, &survey, true);
    assert!(
        refused[0].why.contains("which is not this cluster's"),
        "{refused:?}"
    );
}

#[test]
fn one_server_goes_with_its_port_and_nothing_of_its_neighbour() {
    let mut survey = empty();
    carry_out(&planned(&inventory(11), &survey), &mut survey);
    let plan = gone("hive", &survey, "w1");
    assert_eq!(
        names(&plan),
        ["w1/cloud.server/id-w1", "w1/cloud.port/id-w1 0"]
    );
}

#[test]
fn a_server_that_is_no_host_any_more_goes_when_the_swarm_does_not_have_it() {
    let mut survey = empty();
    carry_out(&planned(&inventory(3), &survey), &mut survey);
    let fewer = inventory(1);
    let node = |id: &str, hostname: &str, address: &str| Node {
        id: id.to_owned(),
        hostname: hostname.to_owned(),
        role: Role::Worker,
        availability: Availability::Active,
        state: "down".to_owned(),
        address: address.to_owned(),
        engine: "20.10.24".to_owned(),
        labels: BTreeMap::new(),
        manager: None,
    };
    let up = |nodes: Vec<Node>| {
        Swarm::Up(Up {
            cluster_id: "c".to_owned(),
            managers: vec!["m1".to_owned()],
            nodes,
            settings: SwarmSettings::default(),
            members: BTreeMap::new(),
        })
    };
    let both = [
        "w2/cloud.server/id-w2",
        "w2/cloud.port/id-w2 0",
        "w3/cloud.server/id-w3",
        "w3/cloud.port/id-w3 0",
    ];
    let plan = prune(&fewer, &survey, &up(vec![node("n1", "w1", "10.0.0.21")]));
    assert_eq!(names(&plan), both);
    assert_eq!(plan.warnings, [""; 0]);
    assert_eq!(guard::cloud::check(&plan, &survey, true), []);
    assert_eq!(names(&prune(&fewer, &survey, &Swarm::None)), both);

    // By its name, also with a domain, and by an address of its port.
    let port = survey
        .ports
        .iter_mut()
        .find(|it| it.name == "w3 0")
        .unwrap();
    port.device = Some("id-w3".to_owned());
    port.fixed_ips = vec![FixedIp {
        subnet: None,
        address: Some(address("10.0.0.33")),
    }];
    let nodes = vec![
        node("n2", "w2.novalocal", "0.0.0.0"),
        node("n3", "debian", "10.0.0.33"),
    ];
    let plan = prune(&fewer, &survey, &up(nodes));
    assert_eq!(names(&plan), [""; 0]);
    assert_eq!(
        plan.warnings,
        [
            "the server `w2` (id-w2) is no host of the inventory, and stays: node n2 of the swarm is this server",
            "the server `w3` (id-w3) is no host of the inventory, and stays: node n3 of the swarm is this server",
        ]
    );
    // No answer is no leave to go.
    let down = Swarm::Down(Down {
        evidence: Vec::new(),
        silent: vec!["m1".to_owned()],
        exists: false,
    });
    let plan = prune(&fewer, &survey, &down);
    assert_eq!(names(&plan), [""; 0]);
    assert_eq!(plan.warnings.len(), 2, "{:?}", plan.warnings);
}

#[test]
fn a_server_without_a_place_is_tried_in_each_zone_once() {
    let mut inventory = inventory(1);
    let w1 = inventory.hosts.iter_mut().find(|it| it.name == "w1");
    let zones = ["a", "b"].map(str::to_owned).to_vec();
    w1.unwrap().server.as_mut().unwrap().zones = zones;
    let plan = planned(&inventory, &empty());
    let mut steps = plan.changes.iter().flat_map(|it| &it.steps);
    let call = steps.find_map(|step| match step {
        Step::Cloud(CloudCall::Server(call)) if call.name == "w1" => Some(call),
        _ => None,
    });
    let first = call.unwrap();
    assert_eq!(first.zone.as_deref(), Some("a"));
    let full = "No valid host was found. There are not enough hosts available.";
    let second = first.elsewhere(full).unwrap();
    assert_eq!(second.zone.as_deref(), Some("b"));
    assert_eq!(second.elsewhere(full), None);
    // Another zone mends nothing else.
    assert_eq!(first.elsewhere("Image 1 is unacceptable"), None);
}

#[test]
fn what_the_cloud_tells_comes_into_the_inventory() {
    let mut inventory = inventory(1);
    let mut survey = empty();
    carry_out(&planned(&inventory, &survey), &mut survey);
    let known = known(&inventory, &survey);
    learn(&mut inventory, &known);
    let m1 = inventory.host("m1").unwrap();
    assert_eq!(m1.address.as_deref(), Some("203.0.113.11"));
    assert_eq!(m1.advertise.address, Some(address("10.0.0.11")));
    assert_eq!(m1.docker.daemon["mtu"], 1450);
    assert_eq!(
        known["m1"].lines(22),
        "203.0.113.11 ssh-ed25519 m1\n10.0.0.11 ssh-ed25519 m1\n"
    );
    assert_eq!(m1.docker.overlay_mtu, Some(1450));
    assert_eq!(known["m1"].volumes["docker"], "id-m1 docker");
    // What is no ID as clouds give them comes into no path.
    let disk = |inventory: &Inventory| {
        let storage = inventory.host("m1").unwrap().storage.clone().unwrap();
        storage.devices()[0].to_owned()
    };
    assert_eq!(disk(&inventory), "volume:docker");
    let mut known = known;
    let volumes = &mut known.get_mut("m1").unwrap().volumes;
    volumes.insert("docker".to_owned(), "5b4bc1ca-0b3c".to_owned());
    learn(&mut inventory, &known);
    assert_eq!(disk(&inventory), "volume:docker/5b4bc1ca-0b3c");
    learn(&mut inventory, &known);
    assert_eq!(disk(&inventory), "volume:docker/5b4bc1ca-0b3c");
    survey.servers.clear();
    let known = super::known(&inventory, &survey);
    learn(&mut inventory, &known);
    assert_eq!(inventory.host("m1").unwrap().address, None);
}

#[test]
fn user_data_has_the_key_of_the_host_and_the_users_own_part() {
    let inventory = inventory(1);
    let mut data = UserData::of(&inventory, &inventory.hosts[0]);
    let key = HostKey {
        private: "PRIVATE\nLINES\n".to_owned().into(),
        public: "ssh-ed25519 AAAA".to_owned(),
    };
    let text = data.render(&key).unwrap();
    let text = text.expose_secret();
    let config: serde_json::Value =
        serde_json::from_str(text.strip_prefix("#cloud-config\n").unwrap()).unwrap();
    assert_eq!(config["ssh_keys"]["ed25519_private"], "PRIVATE\nLINES\n");
    assert_eq!(config["users"][1]["name"], "debian");
    assert_eq!(
        config["users"][1]["ssh_authorized_keys"][0],
        "ssh-ed25519 AAAA me"
    );
    data.template = Some(crate::template::Text {
        value: "#!/bin/sh\necho {{ host }} of {{ cluster }}\n".to_owned(),
        place: crate::template::Place::default(),
    });
    let text = data.render(&key).unwrap();
    let text = text.expose_secret();
    assert!(text.starts_with("Content-Type: multipart/mixed;"), "{text}");
    assert!(text.contains("\n#!/bin/sh\necho m1 of hive\n"), "{text}");
    assert!(text.contains("ed25519_private"), "{text}");
}
