//! A swarm on virtual machines of the cloud: made, used, made larger, switched off and on, taken away.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::run::Ran;
use super::world::World;

/// How long a run may take in which machines boot. They have no KVM, and share two processors.
const BOOT: Duration = Duration::from_mins(40);

/// What the cloud's network carries, and what is left of it in an overlay network.
const UNDERLAY: u32 = 1450;
const OVERLAY: u32 = 1400;

/// The manager's address in the cloud, and the port that a service publishes there.
const MANAGER: &str = "10.77.0.11";
const PORT: u16 = 8080;

/// A manager with a volume for Docker, and workers behind it.
fn inventory(world: &World, name: &str, workers: &str, gib: u32) -> String {
    let text = format!(
        r#"
[cluster]
name = "hive"
provider = "openstack"
[openstack]
cloud = "demo"
image = "debian"
flavor = "m1.small"
networks = ["hive-net"]
ssh-from = ["198.51.100.0/24"]
security-groups = ["web"]
floating-ips = "managers"
floating-network = "public"
login-timeout = 2400
[ssh]
config = ""
user = "debian"
become = true
identity = "id"
jump = "m1"
connect-timeout = 60
[swarm]
default-addr-pool = ["10.200.0.0/16"]
[[host]]
name = "m1"
role = "manager"
address = "{MANAGER}"
openstack.volumes = [{{ name = "docker", size = "{gib} GiB" }}]
storage.lvm = {{ device = "volume:docker" }}
{workers}"#
    );
    world.write(name, &text);
    name.to_owned()
}

const WORKER: &str = "[[host]]\nname = \"w1\"\nrole = \"worker\"\n";

/// The cluster with both of its hosts.
fn both(world: &World) -> String {
    inventory(world, "hive.toml", WORKER, 2)
}

/// Runs the binary for as long as machines may take.
fn skep(world: &World, inventory: &str, arguments: &[&str]) -> Ran {
    world.start(inventory, arguments).ends_within(BOOT)
}

/// Runs a script on a host, and gives what it prints.
fn on(world: &World, host: &str, script: &str) -> String {
    let ran = skep(
        world,
        "hive.toml",
        &["exec", "--on", host, "--", "sh", "-c", script],
    );
    ran.ends(0).out
}

/// A key to log in with, and what a project has that skep does not make.
pub(crate) fn a_way_in(world: &World) {
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]);
    let made = keygen.arg(world.path("id")).stdin(Stdio::null()).status();
    assert!(made.unwrap().success());
    let port = PORT.to_string();
    for line in [
        "security group create web",
        &format!(
            "security group rule create --protocol tcp --dst-port {port} --remote-ip 198.51.100.0/24 web"
        ),
    ] {
        world.openstack("demo", line);
    }
}

/// And away again.
pub(crate) fn no_way_in(world: &World) {
    world.openstack("demo", "security group delete web");
}

/// A manager alone: its disk is the volume, its host key is known before it boots.
pub(crate) fn one_manager(world: &World) {
    let hive = inventory(world, "hive.toml", "", 1);
    let ran = skep(world, &hive, &["up", "--yes"]).ends(0);
    ran.says("make the network of published ports anew");
    let disk = on(
        world,
        "m1",
        "findmnt -no SOURCE /var/lib/docker; pvs --noheadings -o pv_name; readlink -f /dev/disk/by-id/virtio-*; cat /sys/class/net/docker0/mtu",
    );
    assert!(disk.contains("/dev/mapper/docker-data"), "{disk}");
    assert_eq!(disk.matches("/dev/vdb").count(), 2, "{disk}");
    assert!(disk.contains(&UNDERLAY.to_string()), "{disk}");
    // Nothing is left to be done, and nobody was believed on first sight.
    skep(world, &hive, &["plan", "--exit-code"]).ends(0);
    let known = std::fs::read_to_string(world.path("state/skep/hive/known_hosts")).unwrap();
    assert!(
        known.contains(&format!("{MANAGER} ssh-ed25519 ")),
        "{known}"
    );
}

/// A worker joins, which is reached through the manager; the volume is made larger.
pub(crate) fn one_more(world: &World) {
    let hive = both(world);
    skep(world, &hive, &["up", "--yes"]).ends(0);
    let nodes = on(
        world,
        "m1",
        "docker node ls --format '{{.Hostname}} {{.Status}}'",
    );
    assert!(nodes.contains("w1 Ready"), "{nodes}");
    // This cloud shows a server the new size of a volume only when it boots.
    let ran = skep(world, &hive, &["plan", "--exit-code"]).ends(0);
    ran.says("the host sees 1 GiB of the volume `docker`");
}

/// A service answers on its published port of a host where it does not run, with more than fits into
/// one packet; and nothing is cut into pieces on its way.
pub(crate) fn a_service(world: &World) {
    let image = "mkdir -p /tmp/image/bin && cp $(command -v busybox) /tmp/image/bin/busybox && \
         ln -sf busybox /tmp/image/bin/sh && head -c 1000000 /dev/zero | tr '\\0' x >/tmp/image/index.html && \
         tar -C /tmp/image -c . | docker import - web:1 >/dev/null";
    on(world, "all", image);
    on(
        world,
        "m1",
        &format!(
            "docker network create -d overlay --opt com.docker.network.driver.mtu={UNDERLAY} inner >/dev/null && \
             docker service create -q --detach --name web --publish {PORT}:80 --network inner \
             --constraint node.hostname==w1 web:1 busybox httpd -f -p 80 -h / >/dev/null"
        ),
    );
    let cut = || {
        on(
            world,
            "all",
            "awk '/^Ip: [0-9]/ { print \"cut\", $18 }' /proc/net/snmp",
        )
    };
    answers(world);
    let before = cut();
    let page = get(world).ends(0).out;
    assert_eq!(page.len(), 1_000_000);
    assert_eq!(cut(), before, "packets were cut");
    let sizes = on(
        world,
        "w1",
        "docker exec $(docker ps -q -f name=web) sh -c 'busybox cat /sys/class/net/*/mtu'",
    );
    let overlays = sizes.matches(&OVERLAY.to_string()).count();
    assert_eq!(overlays, 2, "{sizes}");
}

/// Asks the service at the floating IP.
fn get(world: &World) -> Ran {
    let state = std::fs::read_to_string(world.path("state/skep/hive/servers.json")).unwrap();
    let known: serde_json::Value = serde_json::from_str(&state).unwrap();
    let login = known["m1"]["login"].as_str().unwrap();
    let url = format!("http://{login}:{PORT}/");
    world.tool("in", &["curl", "-sS", "--max-time", "60", &url])
}

/// Waits until it answers.
fn answers(world: &World) {
    let mut told = None;
    for _ in 0..60 {
        let ran = get(world);
        if ran.code == Some(0) {
            return;
        }
        told = Some(ran);
        std::thread::sleep(Duration::from_secs(5));
    }
    panic!("{told:?}");
}

/// The whole cluster goes off and comes back by the cloud's power; what is on the volume grows then.
pub(crate) fn off_and_on(world: &World) {
    let hive = both(world);
    skep(world, &hive, &["shutdown", "--confirm", "hive"]).ends(0);
    let ran = world.skep(&hive, &["power", "status"]).ends(0);
    assert_eq!(ran.out.matches(" off ").count(), 2, "{ran:?}");
    let status = world.openstack("demo", "server list -f value -c Status");
    assert_eq!(status, "SHUTOFF\nSHUTOFF\n");
    skep(world, &hive, &["start", "--yes"]).ends(0);
    answers(world);
    skep(world, &hive, &["up", "--yes"]).ends(0);
    let size = on(
        world,
        "m1",
        "df --output=size -BM /var/lib/docker | tail -n 1",
    );
    let mib = size.split_whitespace().last().unwrap();
    let mib: u32 = mib.trim_end_matches('M').parse().unwrap();
    assert!(mib > 1500, "{size}");
}

/// The worker leaves the swarm, and then the cloud; the rest goes when the name is given.
pub(crate) fn gone(world: &World) {
    let hive = both(world);
    on(
        world,
        "m1",
        "docker service rm web && docker network rm inner",
    );
    skep(world, &hive, &["node", "remove", "w1", "--yes"]).ends(0);
    let servers = |world: &World| {
        world
            .leftovers()
            .into_iter()
            .filter(|it| it.starts_with("server\t"))
            .count()
    };
    assert_eq!(servers(world), 1);
    let words = ["destroy", "--volumes", "--confirm", "hive"];
    skep(world, &hive, &words)
        .ends(0)
        .says("nothing else of the cluster is left in the cloud");
}
