//! Stories of servers: made once whatever happens, refused before anything is made, taken away whole.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::world::World;

/// A network with a way out, as a project has one before skep comes.
pub(crate) fn a_network(world: &World) {
    for line in [
        "network create hive-net",
        "subnet create --network hive-net --subnet-range 10.77.0.0/24 hive-net",
        "router create hive-net",
        "router set --external-gateway public hive-net",
        "router add subnet hive-net hive-net",
    ] {
        world.openstack("demo", line);
    }
    // Nobody logs in, so the private half is nowhere.
    world.write(
        "id.pub",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKx2cTLYyGnrQjNcx6kcUQ9F6wQ8D0v8hVn2QO8b9l1v me\n",
    );
}

/// Takes the network away again.
pub(crate) fn no_network(world: &World) {
    for line in [
        "router remove subnet hive-net hive-net",
        "router delete hive-net",
        "network delete hive-net",
    ] {
        world.openstack("demo", line);
    }
}

/// One manager and some workers, with all that a server can have here.
fn inventory(world: &World, name: &str, workers: usize, change: &[(&str, &str)]) -> String {
    let mut text = format!(
        r#"
[cluster]
name = "hive"
provider = "openstack"
[openstack]
cloud = "demo"
image = "tiny"
flavor = "m1.tiny"
networks = ["hive-net"]
public-key = "id.pub"
ssh-from = ["198.51.100.0/24"]
floating-ips = "managers"
floating-network = "public"
availability-zones = ["a", "b"]
login-timeout = 3
[ssh]
config = ""
user = "debian"
jump = "m1"
connect-timeout = 2
[swarm]
default-addr-pool = ["10.200.0.0/16"]
[[host]]
name = "m1"
role = "manager"
address = "10.77.0.11"
openstack.volumes = [{{ name = "docker", size = "1 GiB" }}]
[[host]]
name = "w[1-{workers}]"
role = "worker"
"#
    );
    for (old, new) in change {
        assert!(text.contains(old), "{old}");
        text = text.replace(old, new);
    }
    world.write(name, &text);
    name.to_owned()
}

/// What is not to be had is told all at once, and nothing is made.
pub(crate) fn refused(world: &World) {
    let before = world.leftovers();
    let wrong = [
        ("\"tiny\"", "\"tyni\""),
        ("m1.tiny", "m1.tin"),
        ("\"hive-net\"", "\"hive-nte\""),
        ("\"b\"", "\"c\""),
    ];
    let wrong = inventory(world, "wrong.toml", 2, &wrong);
    let ran = world.skep(&wrong, &["up", "--yes"]).ends(4);
    let ran = ran.says("the cloud has no image `tyni`");
    let ran = ran.says("the cloud has no flavor `m1.tin`");
    let ran = ran.says("the cloud has no network `hive-nte`");
    ran.says("the cloud has no availability zone `c`");

    world.tool("quota", &["instances=2"]).ends(0);
    let right = inventory(world, "hive.toml", 2, &[]);
    let ran = world.skep(&right, &["up", "--yes"]).ends(4);
    ran.says("the plan needs 3 more servers, and the project may have 2: 0 of 2 are in use");
    world.tool("quota", &["instances=10"]).ends(0);

    let ran = world.skep(&right, &["plan", "--out", "hive.plan"]).ends(4);
    ran.says("a plan with changes in the cloud cannot be saved");
    assert_eq!(world.leftovers(), before);
}

/// Runs that are killed in the middle, and one more, make each thing once; and so does a wider range.
pub(crate) fn made_once(world: &World) {
    let hive = inventory(world, "hive.toml", 2, &[]);
    for middle in [
        "which keeps its address ... done",
        "boot this server ... done",
    ] {
        let mut run = world.start(&hive, &["up", "--yes"]);
        let began = Instant::now();
        while run.runs() && !run.said().contains(middle) {
            assert!(began.elapsed() < Duration::from_mins(10), "{}", run.said());
            std::thread::sleep(Duration::from_millis(50));
        }
        let ran = run.kill();
        assert_eq!(ran.code, None, "it ended before it was killed: {ran:?}");
    }
    // Nobody answers in a fake server.
    world.skep(&hive, &["up", "--yes"]).ends(1);
    has(world, &["m1", "w1", "w2"]);

    let plan = world.skep(&hive, &["plan"]).ends(1);
    assert!(!plan.out.contains("(cloud."), "{plan:?}");
    let wider = inventory(world, "hive.toml", 3, &[]);
    let ran = world.skep(&wider, &["up", "--yes"]).ends(1);
    // It is said within the time that the inventory gives it, and the time is not given twice.
    let ran = ran.says("within 3 s");
    assert!(
        !(ran.out.clone() + &ran.err).contains("trying again"),
        "{ran:?}"
    );
    assert_eq!(
        (ran.out.clone() + &ran.err)
            .matches("boot this server ... done")
            .count(),
        1,
        "{ran:?}"
    );
    has(world, &["m1", "w1", "w2", "w3"]);
}

/// The project has these servers with what belongs to them, once each, beside its network.
fn has(world: &World, hosts: &[&str]) {
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    let mut names: Vec<String> = Vec::new();
    for line in world.leftovers() {
        let words: Vec<&str> = line.split('\t').collect();
        *count.entry(words[0].to_owned()).or_default() += 1;
        if words[0] == "server" {
            names.push(words[2].to_owned());
        }
    }
    names.sort();
    assert_eq!(names, hosts);
    let counted: Vec<(&str, usize)> = count
        .iter()
        .map(|(kind, it)| (kind.as_str(), *it))
        .collect();
    let expected = [
        ("floating-ip", 1),
        ("keypair", 1),
        ("network", 1),
        // And that of the router.
        ("port", hosts.len() + 1),
        ("router", 1),
        ("security-group", 2),
        ("server", hosts.len()),
        ("server-group", 1),
        ("subnet", 1),
        ("volume", 1),
    ];
    assert_eq!(counted, expected);
}

/// A server finds its place in another zone where its own is full, and fits nowhere where it is huge.
pub(crate) fn elsewhere(world: &World) {
    let service = |act: &str| {
        let line = format!("compute service set {act} fake-a2 nova-compute");
        world.openstack("admin", &line);
    };
    // One machine is left in zone a, and two of the three workers want to be there, each on its own.
    let apart = ("login-timeout", "anti-affinity = \"hard\"\nlogin-timeout");
    let hive = inventory(world, "hive.toml", 3, &[apart]);
    service("--disable");
    let ran = world.skep(&hive, &["up", "--yes"]);
    service("--enable");
    // Nobody answers in a fake server.
    let ran = ran.ends(1);
    ran.says("waiting for a place in the zone `b`; none in the zone `a`: No valid host");
    let list = "server list --long --all-projects -f value -c Name -c Host";
    let list = world.openstack("admin", list);
    let hosts = list.lines().filter(|line| line.starts_with('w'));
    let mut hosts: Vec<&str> = hosts.filter_map(|line| line.split(' ').nth(1)).collect();
    hosts.sort_unstable();
    assert_eq!(hosts, ["fake-a1", "fake-b1", "fake-b2"]);
    world
        .skep(&hive, &["destroy", "--volumes", "--confirm", "hive"])
        .ends(0);

    let huge = inventory(world, "huge.toml", 1, &[("m1.tiny", "m1.huge")]);
    let ran = world.skep(&huge, &["up", "--yes"]).ends(1);
    let ran = ran.says("in the zones a, b: No valid host was found.");
    ran.says("It was removed again.");
    let left = world.leftovers();
    assert!(
        !left.iter().any(|it| it.starts_with("server\t")),
        "{left:?}"
    );
    world
        .skep(&huge, &["destroy", "--volumes", "--confirm", "hive"])
        .ends(0);
}

/// A server that is no host any more stays while nobody tells that its swarm does not have it.
pub(crate) fn no_host_any_more(world: &World) {
    let fewer = inventory(world, "hive.toml", 2, &[]);
    let ran = world.skep(&fewer, &["plan"]).ends(1);
    ran.says("is no host of the inventory: `skep up --prune` removes such servers");
    world.skep(&fewer, &["up", "--prune", "--yes"]).ends(1);
    has(world, &["m1", "w1", "w2", "w3"]);
    world.skep(&fewer, &["node", "remove", "w2", "--yes"]);
    has(world, &["m1", "w1", "w2", "w3"]);
    let destroy = ["destroy", "--server", "w3", "--yes"];
    let ran = world.skep(&fewer, &destroy).ends(4);
    ran.says("Pass `--confirm hive` if you mean it.");
    let named = [&destroy[..], &["--confirm", "hive"]].concat();
    world.skep(&fewer, &named).ends(0);
    has(world, &["m1", "w1", "w2"]);
}

/// What was made goes when the cluster's name is given, and nothing else does.
pub(crate) fn destroyed(world: &World) {
    let hive = inventory(world, "hive.toml", 2, &[]);
    let before = world.leftovers();
    world.skep(&hive, &["destroy", "--yes"]).ends(4);
    let ran = world.skep(&hive, &["destroy", "--confirm", "hove"]);
    assert_ne!(ran.code, Some(0), "{ran:?}");
    assert_eq!(world.leftovers(), before);
    // A host of the inventory leaves its swarm first.
    world
        .skep(&hive, &["destroy", "--server", "w1", "--yes"])
        .ends(4);

    let ran = world.skep(&hive, &["destroy", "--confirm", "hive"]).ends(0);
    ran.says("kept: volume `m1 docker of 1 GiB`");
    let ran = world
        .skep(&hive, &["destroy", "--volumes", "--confirm", "hive"])
        .ends(0);
    ran.says("nothing else of the cluster is left in the cloud");
    let left = world.leftovers();
    let kinds: Vec<&str> = left.iter().filter_map(|it| it.split('\t').next()).collect();
    assert_eq!(kinds, ["port", "router", "subnet", "network"], "{left:?}");
}
