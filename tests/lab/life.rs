//! The everyday life of a swarm: it is made, looked at, grows and changes.

use serde_json::Value;

use super::tokens::{self, Watch};
use super::world::World;

const FIRST: [(&str, &str); 2] = [("m1", "manager"), ("w1", "worker")];
pub(crate) const ALL: [(&str, &str); 5] = [
    ("m1", "manager"),
    ("m2", "manager"),
    ("m3", "manager"),
    ("w1", "worker"),
    ("w2", "worker"),
];
const NAMES: [&str; 5] = ["m1", "m2", "m3", "w1", "w2"];

/// Three managers that reach each other, as one of them sees it.
pub(crate) const REACHABLE: &str = "test \"$(docker node ls --filter role=manager --format '{{.ManagerStatus}}' | grep -c -e Reachable -e Leader)\" = 3";

/// The numbers that say whether a swarm is as it should be.
#[track_caller]
pub(crate) fn is_healthy(status: &Value, managers: u64, nodes: usize) {
    assert_eq!(status["swarm"], "active", "{status:#}");
    assert_eq!(status["managers"]["total"], managers, "{status:#}");
    assert_eq!(status["managers"]["reachable"], managers, "{status:#}");
    let listed = status["nodes"].as_array().unwrap();
    assert_eq!(listed.len(), nodes, "{status:#}");
    assert!(
        listed.iter().all(|node| node["state"] == "ready"),
        "{status:#}"
    );
}

/// The inventories of all five hosts, in the lab and, where they exist, as somebody's machines.
pub(crate) fn inventories(world: &World) {
    world.inventory("lab.toml", &ALL, "");
    if world.dirs().lab(&world.cluster).join("lab.json").exists() {
        world.machines("machines.toml", &ALL, "", &[]);
    }
}

/// From nothing to a swarm in one command, and no join token to be seen while it works.
pub(crate) fn bring_up(world: &World) {
    world.inventory("lab.toml", &FIRST, "");
    world.skep("lab.toml", &["plan", "--exit-code"]).ends(3);
    let watch = Watch::begin(world);
    let log = world.path("log.json").display().to_string();
    world
        .skep("lab.toml", &["up", "--yes", "-vv", "--log-file", &log])
        .ends(0)
        .says("2 hosts: 2 changed")
        .says("verified: a second plan is empty");
    grow(world);
    // The watcher would have seen one: it sees this.
    let bait = "X=SWMTKN-1-bait sleep 0.5";
    world.on("w1", bait);
    let seen = watch.end();
    assert!(seen.processes > 100, "{} processes", seen.processes);
    assert_eq!(Vec::from_iter(seen.tokens), ["sleep 0.5 "]);
}

/// One manager becomes three and one worker two; those that were there stay who they are.
fn grow(world: &World) {
    is_healthy(&world.status("lab.toml"), 1, 2);
    let before = ["m1", "w1"].map(|host| world.node_id(host));
    world.inventory("lab.toml", &ALL, "");
    world
        .skep("lab.toml", &["up", "--yes", "-v"])
        .ends(0)
        .says("verified: a second plan is empty");
    inventories(world);
    assert_eq!(["m1", "w1"].map(|host| world.node_id(host)), before);
}

/// What `status --json` promises to programs.
pub(crate) fn status(world: &World) {
    let ran = world.skep("lab.toml", &["status", "--json"]).ends(0);
    let status: Value = serde_json::from_str(&ran.out).unwrap();
    is_healthy(&status, 3, 5);
    assert_eq!(status["cluster"], world.cluster.as_str());
    assert_eq!(status["managers"]["majority"], 2);
    assert_eq!(status["managers"]["tolerates"], 1);
    assert!(status["warnings"].as_array().unwrap().is_empty());
    let nodes = status["nodes"].as_array().unwrap();
    assert_eq!(
        nodes.iter().filter(|node| node["leader"] == true).count(),
        1
    );
    for node in nodes {
        let name = node["name"].as_str().unwrap();
        assert_eq!(node["id"], world.node_id(name));
        assert_eq!(node["address"], world.address(name));
        assert_eq!(node["availability"], "active");
        let role = if name.starts_with('m') {
            "manager"
        } else {
            "worker"
        };
        assert_eq!(node["role"], role);
        assert!(node["engine"].as_str().unwrap().contains('.'), "{node}");
        assert!(node["labels"].is_object(), "{node}");
    }
    world
        .skep("machines.toml", &["status"])
        .ends(0)
        .says("3 managers, 3 reachable, majority 2");
}

/// A second run changes nothing, and costs an unchanged host one connection and one exec.
pub(crate) fn again(world: &World) {
    for host in NAMES {
        let script = "echo 'LogLevel VERBOSE' >/etc/ssh/sshd_config.d/00-test.conf; \
                      systemctl reload ssh; sleep 0.2; journalctl --rotate -q; \
                      journalctl -q --vacuum-time=1s >/dev/null 2>&1; date +%s >/run/test-since";
        world.on(host, script);
    }
    let count = |host: &str, what: &str| {
        let script = format!(
            "journalctl -q --no-pager -t sshd --since @$(cat /run/test-since) | grep -c '{what}'; true"
        );
        world.on(host, &script).parse::<usize>().unwrap()
    };
    std::thread::sleep(std::time::Duration::from_millis(1100));
    for host in NAMES {
        world.on(host, "date +%s >/run/test-since");
    }
    world
        .skep("machines.toml", &["up", "--yes"])
        .ends(0)
        .says("nothing to change, 5 hosts as wanted");
    for host in NAMES {
        assert_eq!(count(host, "Accepted publickey"), 1, "{host}");
        // A manager also holds the cluster's lock, and may be told to let go of it.
        let most = if host.starts_with('m') { 3 } else { 1 };
        let execs = count(host, "Starting session");
        assert!((1..=most).contains(&execs), "{host}: {execs}");
    }
    world.skep("lab.toml", &["plan", "--exit-code"]).ends(0);
}

/// The verbs that look at hosts and work on them by hand.
pub(crate) fn verbs(world: &World) {
    let ran = world
        .skep("lab.toml", &["exec", "--on", "workers", "--", "hostname"])
        .ends(0);
    let mut lines: Vec<&str> = ran
        .out
        .lines()
        .map(|line| line.rsplit(' ').next().unwrap())
        .collect();
    lines.sort_unstable();
    assert_eq!(lines, ["w1", "w2"]);
    world
        .skep(
            "lab.toml",
            &["exec", "--on", "w1", "--", "sh", "-c", "exit 7"],
        )
        .ends(1)
        .says("w1: ")
        .says("7");
    let ran = world
        .skep(
            "lab.toml",
            &["docker", "--", "node", "ls", "--format", "{{.Hostname}}"],
        )
        .ends(0);
    assert_eq!(ran.out.lines().count(), 5, "{ran:?}");
    let ran = world
        .skep("lab.toml", &["ssh", "m2", "--", "hostname"])
        .ends(0);
    assert_eq!(ran.out.trim(), "m2");
    world.skep("machines.toml", &["check"]).ends(0);
    let ran = world.skep("lab.toml", &["lab", "list", "--json"]).ends(0);
    assert!(ran.out.contains(&world.address("w2")), "{ran:?}");
}

/// An even number of managers is refused, with the arithmetic, before anybody is asked.
pub(crate) fn even(world: &World) {
    world.machines("even.toml", &ALL[1..], "", &[]);
    for verb in [&["check", "--offline"][..], &["up", "--yes"]] {
        world
            .skep("even.toml", verb)
            .ends(2)
            .says("2 managers: majority 2, tolerates none lost");
    }
}

/// No file, log or journal on any host or here has a join token.
pub(crate) fn no_tokens(world: &World) {
    assert_eq!(tokens::files(world, &NAMES), [""; 0]);
}

/// A saved plan is carried out as it is, and not at all once something has changed.
pub(crate) fn saved(world: &World) {
    let file = world.path("saved.plan").display().to_string();
    let label = |value: &str| {
        let line = format!("labels = {{ saved = \"{value}\" }}");
        world.machines("saved.toml", &ALL, "", &[("w1", &line)]);
    };
    label("one");
    world
        .skep("saved.toml", &["plan", "--out", &file])
        .ends(0)
        .says("saved=one");
    world.skep("saved.toml", &["up", &file, "--yes"]).ends(0);
    assert_eq!(label_of(world, "w1", "saved"), "one");
    label("two");
    world.skep("saved.toml", &["plan", "--out", &file]).ends(0);
    world.on("w2", "rm /etc/sysctl.d/90-skep.conf");
    world.skep("saved.toml", &["up", &file, "--yes"]).ends(4);
    assert_eq!(label_of(world, "w1", "saved"), "one");
    world.skep("saved.toml", &["up", "--yes"]).ends(0);
    assert_eq!(label_of(world, "w1", "saved"), "two");
    world.on("w2", "test -e /etc/sysctl.d/90-skep.conf");
}

/// `--on` changes the hosts that it names and no others.
pub(crate) fn on(world: &World) {
    let line = "labels = { on = \"yes\" }";
    world.machines("on.toml", &ALL, "", &[("w1", line), ("w2", line)]);
    world
        .skep("on.toml", &["up", "--yes", "--on", "w2"])
        .ends(0);
    assert_eq!(label_of(world, "w1", "on"), "");
    assert_eq!(label_of(world, "w2", "on"), "yes");
    world.skep("on.toml", &["up", "--yes"]).ends(0);
    assert_eq!(label_of(world, "w1", "on"), "yes");
}

/// A node's label, as a manager tells it; empty where there is none.
pub(crate) fn label_of(world: &World, host: &str, label: &str) -> String {
    let id = world.node_id(host);
    let format = format!("{{{{index .Spec.Labels \"{label}\"}}}}");
    world.on(
        "m2",
        &format!("docker node inspect --format '{format}' {id}"),
    )
}
