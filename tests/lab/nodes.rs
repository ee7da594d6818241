//! Nodes come, change and go, with the inventory beside them; and a dead manager is replaced.

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
    for (host, _) in ALL {
        world.on(
            host,
            "apt-get -q -y install busybox-static >/dev/null 2>&1
             mkdir -p /tmp/image/bin && cp \"$(command -v busybox)\" /tmp/image/bin/busybox
             ln -sf busybox /tmp/image/bin/sh
             tar -C /tmp/image -c . | docker import - web:1 >/dev/null",
        );
    }
    world
        .skep(
            FILE,
            &[
                "docker",
                "--",
                "service",
                "create",
                "--quiet",
                "--detach",
                "--no-resolve-image",
                "--name",
                "web",
                "--replicas",
                "3",
                "--update-order",
                "start-first",
                "web:1",
                "sh",
                "-c",
                "trap exit TERM; while :; do busybox sleep 1; done",
            ],
        )
        .ends(0);
    world.until("m1", 60, &running(3));
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

/// Roles: an even target is refused before anything is done; two of three managers go in one edit,
/// one after the other; the leader too.
pub(crate) fn roles(world: &World) {
    world
        .skep(FILE, &yes(&["demote", "m3"]))
        .ends(2)
        .says("an even number of managers: 2");
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
    // Four of five in one edit of the file. The one that stays is the one at which the others joined:
    // Engine 20.10 asks that one again when a node is promoted, whoever manages the swarm by then.
    let (first, others) = text.split_once("\"manager\"").unwrap();
    let one = format!(
        "{first}\"manager\"{}",
        others.replace("\"manager\"", "\"worker\"")
    );
    fs::write(world.path(FILE), &one).unwrap();
    world.skep(FILE, &["up", "--yes"]).ends(0);
    is_soon(world, 1, 5);
    let last = world.leader(FILE);
    world
        .skep(FILE, &yes(&["demote", &last, "--keep-inventory"]))
        .ends(4)
        .says("managers 1, reachable 1");
    world.inventory(FILE, &ALL, "# kept by every edit");
    world.skep(FILE, &["up", "--yes"]).ends(0);
    is_soon(world, 3, 5);
    assert!(world.try_on("m1", &running(3)).0);
}

/// A node comes and goes with one command each.
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
    // In the swarm and not in the file: told, and taken out only when that is asked for.
    world.skep(FILE, &yes(&["add", "w3"])).ends(0);
    world.inventory(FILE, &ALL, "# kept by every edit");
    world
        .skep(FILE, &["up", "--yes"])
        .ends(0)
        .says("no host of the inventory says that it is this node");
    is_soon(world, 3, 6);
    world.skep(FILE, &["up", "--prune", "--yes"]).ends(0);
    is_soon(world, 3, 5);
}

/// A manager dies and another takes its place: the dead one goes first, or the majority would grow.
pub(crate) fn replace_dead(world: &World) {
    let dead = ["m1", "m2", "m3"]
        .into_iter()
        .find(|host| *host != world.leader(FILE))
        .unwrap();
    world.machine("kill", dead);
    let other = ["m1", "m2", "m3"]
        .into_iter()
        .find(|host| *host != dead)
        .unwrap();
    let lost = format!(
        "test \"$(docker node ls --format '{{{{.Hostname}}}} {{{{.Status}}}}' | grep -c '^{dead} Down')\" = 1"
    );
    world.until(other, 60, &lost);
    // With one of three away no other one is spared.
    let living = ["m1", "m2", "m3"]
        .into_iter()
        .find(|host| *host != dead && *host != world.leader(FILE))
        .unwrap();
    world
        .skep(FILE, &yes(&["demote", living, "--keep-inventory"]))
        .ends(4)
        .says("managers 3, reachable 2, majority 2");
    world.skep(FILE, &yes(&["replace", dead, "m4"])).ends(0);
    is_soon(world, 3, 5);
    let text = fs::read_to_string(world.path(FILE)).unwrap();
    assert!(
        text.contains("\"m4\"") && !text.contains(&format!("\"{dead}\"")),
        "{text}"
    );
    // When it comes back it is no member, and stays none.
    world.machine("start", dead);
    world.until(dead, 60, "systemctl is-active docker");
    is_soon(world, 3, 5);
    world.skep(FILE, &["plan", "--exit-code"]).ends(0);
    // Everything of this life is written down on the managers.
    world
        .skep(FILE, &["log", "--limit", "100"])
        .ends(0)
        .says("node remove w3")
        .says("node replace");
}
