//! Nodes come, change and go, with the inventory beside them. What becomes of the swarm by each verb,
//! and by the deaths of hosts, the twenty tales tell.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::life::{ALL, is_healthy, label_of};
use super::world::World;

/// The inventory that the verbs edit: the one that the lab was made from.
const FILE: &str = "lab.toml";

fn yes<'a>(verb: &[&'a str]) -> Vec<&'a str> {
    [&["node"], verb, &["--yes"]].concat()
}

/// Whether the swarm is healthy with so many managers and nodes. After a change of the leader all nodes
/// are `unknown` until they have been heard from.
fn is_soon(world: &World, managers: u64, nodes: usize) {
    let began = Instant::now();
    let ready = |status: &Value| {
        let listed = status["nodes"].as_array();
        listed.is_some_and(|nodes| nodes.iter().all(|node| node["state"] == "ready"))
    };
    while !ready(&world.status(FILE)) && began.elapsed() < Duration::from_mins(1) {
        std::thread::sleep(Duration::from_secs(1));
    }
    is_healthy(&world.status(FILE), managers, nodes);
}

/// A service of three tasks that start before their predecessors end.
pub(crate) fn service(world: &World) {
    world.inventory(FILE, &ALL, "# kept by every edit");
    // What earlier stories left: nodes whose hosts have joined again.
    world.skep(FILE, &["up", "--prune", "--yes"]).ends(0);
    is_soon(world, 3, 5);
    serve(world, FILE, 3);
}

/// The service `web` on all hosts, with an image without a registry, whose tasks start before their
/// predecessors end.
pub(crate) fn serve(world: &World, inventory: &str, replicas: usize) {
    let image = "set -e
        apt-get -q -y install busybox-static >/dev/null 2>&1
        mkdir -p /tmp/image/bin && cp \"$(command -v busybox)\" /tmp/image/bin/busybox
        ln -sf busybox /tmp/image/bin/sh
        tar -C /tmp/image -c . | docker import - web:1 >/dev/null";
    let on_all = ["exec", "--on", "all", "--", "sh", "-c", image];
    world.skep(inventory, &on_all).ends(0);
    let service = format!(
        "service create --quiet --detach --no-resolve-image --name web --replicas {replicas} \
         --update-order start-first --stop-grace-period 2s web:1 sh -c"
    );
    let work = "trap exit TERM; while :; do busybox sleep 1; done";
    let line = service.split_whitespace().chain([work]);
    let line: Vec<&str> = ["docker", "--"].into_iter().chain(line).collect();
    world.skep(inventory, &line).ends(0);
    world.until("m1", 60, &running(replicas));
}

fn running(tasks: usize) -> String {
    format!(
        "test \"$(docker service ps web --filter desired-state=running --format '{{{{.CurrentState}}}}' | grep -c ^Running)\" = {tasks}"
    )
}

/// Work goes away and comes back; labels come and go, in the inventory too.
pub(crate) fn work_and_labels(world: &World) {
    world.skep(FILE, &yes(&["drain", "w1", "w2"])).ends(0);
    // It has waited: nothing runs there, and all three run elsewhere.
    assert!(world.try_on("m1", &running(3)).0);
    for worker in ["w1", "w2"] {
        let left = "docker ps --quiet --filter label=com.docker.swarm.service.name=web | wc -l";
        assert_eq!(world.on(worker, left), "0");
    }
    world
        .skep(FILE, &yes(&["drain", "w1"]))
        .ends(0)
        .says("nothing to change");
    world.skep(FILE, &yes(&["activate", "workers"])).ends(0);
    world.skep(FILE, &["rebalance", "web", "--yes"]).ends(0);
    world
        .skep(FILE, &["rebalance", "nothing", "--yes"])
        .ends(1)
        .says("there is no service nothing");

    // What cannot start elsewhere is not stopped: the image of this one is on w1 alone.
    world.on("w1", "docker tag web:1 only:1");
    world.on(
        "m1",
        "docker service create --quiet --detach --no-resolve-image --name only \
           --constraint node.role==worker --restart-delay 1s --update-order start-first \
           only:1 sh -c 'while :; do busybox sleep 1; done' >/dev/null",
    );
    world.until("w1", 60, "docker ps --quiet --filter name=only | grep -q .");
    world
        .skep(FILE, &yes(&["drain", "w1"]))
        .ends(1)
        .says("the tasks of only could not be started elsewhere");
    let availability = "docker node inspect w1 --format '{{.Spec.Availability}}'";
    assert_eq!(world.on("m1", availability), "active");
    world.on("m1", "docker service rm only >/dev/null");

    // What is bound to a node stops only where that is allowed, and works again with it.
    world.on(
        "m1",
        "docker service create --quiet --detach --no-resolve-image --name bound \
           --constraint node.hostname==w1 --stop-grace-period 2s \
           web:1 sh -c 'trap exit TERM; while :; do busybox sleep 1; done' >/dev/null",
    );
    let bound = "docker ps --quiet --filter name=bound | grep -q .";
    world.until("w1", 60, bound);
    world
        .skep(FILE, &yes(&["drain", "w1"]))
        .ends(1)
        .says("no other node may run bound")
        .says("--allow-downtime");
    assert_eq!(world.on("m1", availability), "active");
    assert!(world.try_on("w1", bound).0, "it was not touched");
    world
        .skep(FILE, &yes(&["drain", "w1", "--allow-downtime"]))
        .ends(0);
    assert!(!world.try_on("w1", bound).0);
    world.skep(FILE, &yes(&["activate", "w1"])).ends(0);
    world.until("w1", 60, bound);
    world.on("m1", "docker service rm bound >/dev/null");

    // One that wants a port of each node has no room elsewhere either, as the scheduler finds.
    world.on(
        "m1",
        "docker service create --quiet --detach --no-resolve-image --name ports --replicas 5 \
           --publish mode=host,target=80,published=9999 --stop-grace-period 2s \
           web:1 sh -c 'trap exit TERM; while :; do busybox sleep 1; done' >/dev/null",
    );
    world.until("m1", 60, "docker service ls | grep -q 'ports .* 5/5'");
    world
        .skep(FILE, &yes(&["drain", "w1"]))
        .ends(1)
        .says("ports runs 4 of 5 tasks, and the others find no suitable node");
    assert_eq!(world.on("m1", availability), "active");
    world
        .skep(FILE, &yes(&["drain", "w1", "--allow-downtime"]))
        .ends(0);
    world.skep(FILE, &yes(&["activate", "w1"])).ends(0);
    world.on("m1", "docker service rm ports >/dev/null");

    world.skep(FILE, &yes(&["label", "w1", "disk=ssd"])).ends(0);
    assert_eq!(label_of(world, "w1", "disk"), "ssd");
    let text = fs::read_to_string(world.path(FILE)).unwrap();
    assert!(
        text.contains("ssd") && text.contains("# kept by every edit"),
        "{text}"
    );
    world.skep(FILE, &["plan", "--exit-code"]).ends(0);
    world.skep(FILE, &yes(&["label", "w1", "disk-"])).ends(0);
    assert_eq!(label_of(world, "w1", "disk"), "");
    world
        .skep(FILE, &yes(&["drain", "nobody"]))
        .ends(4)
        .says("`nobody`");
}

/// The leader hands over before it is demoted; and the file says who is a manager.
pub(crate) fn roles(world: &World) {
    let leader = world.leader(FILE);
    world
        .skep(FILE, &yes(&["demote", &leader, "--keep-inventory"]))
        .ends(0);
    is_soon(world, 2, 5);
    world.skep(FILE, &["up", "--yes"]).ends(0);
    is_soon(world, 3, 5);

    world.skep(FILE, &yes(&["promote", "w1", "w2"])).ends(0);
    is_soon(world, 5, 5);
    let text = fs::read_to_string(world.path(FILE)).unwrap();
    assert_eq!(text.matches("\"manager\"").count(), 5, "{text}");
    world.skep(FILE, &yes(&["demote", "w1", "w2"])).ends(0);
    is_soon(world, 3, 5);
    assert!(world.try_on("m1", &running(3)).0);
}

/// A node that the lab makes comes and goes with one command each.
pub(crate) fn come_and_go(world: &World) {
    world.skep(FILE, &yes(&["add", "w3"])).ends(0);
    is_soon(world, 3, 6);
    world.skep(FILE, &yes(&["remove", "w3"])).ends(0);
    is_soon(world, 3, 5);
    let text = fs::read_to_string(world.path(FILE)).unwrap();
    assert!(
        !text.contains("w3") && text.contains("# kept by every edit"),
        "{text}"
    );
    assert_eq!(
        world.on("w3", "docker info --format '{{.Swarm.LocalNodeState}}'"),
        "inactive"
    );
    // Everything of this life is written down on the managers.
    world
        .skep(FILE, &["log", "--limit", "100"])
        .ends(0)
        .says("node add w3")
        .says("node remove w3");
}
