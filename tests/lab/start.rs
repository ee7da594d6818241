//! The way back: after a shutdown, with a registry that the others need, cut in the middle; and after the
//! power of everything was cut.

use jiff::{SignedDuration, Timestamp};

use super::life::{ALL, is_healthy};
use super::shutdown::{ALL_RUN, record};
use super::tell::told;
use super::world::World;

/// The hosts of the lab, which it switches on by itself.
const FILE: &str = "lab.toml";

/// How long the registry takes until it answers, in seconds.
const SLOW: i64 = 8;

fn at(world: &World, service: &str, what: &str) -> Timestamp {
    let format = format!("--format '{{{{json .{what}}}}}'");
    let text = world.on("m1", &format!("docker service inspect {service} {format}"));
    text.trim_matches('"').parse().unwrap()
}

/// All nodes are what they were, and nothing of the shutdown is left on them.
pub(crate) fn is_whole(world: &World) {
    is_healthy(&world.status(FILE), 3, 5);
    let left = "docker node ls -q | xargs docker node inspect --format '{{.Spec.Labels}}'";
    let labels = world.on("m1", left);
    assert!(!labels.contains("skep.shutdown"), "{labels}");
    assert!(labels.contains("kept:yes"), "{labels}");
    world.skep(FILE, &["plan", "--exit-code"]).ends(0);
}

/// After a shutdown with a worker dead: all is as it was, the stack first that was named. What is changed
/// later is not undone by the copy of the record that another machine still has.
pub(crate) fn back(world: &World) {
    world.inventory(FILE, &ALL, "[start]\nfirst = [\"shop\"]");
    let status = world.skep(FILE, &["power", "status"]).ends(0);
    assert_eq!(status.out.matches(" off ").count(), 5, "{}", status.out);
    let ran = world.skep(FILE, &["start", "--yes"]).ends(0);
    let ran = ran.says("verified: a second plan is empty");
    told(&format!("back in {:.0?}", ran.took));
    world.until("m1", 30, ALL_RUN);
    is_healthy(&world.status(FILE), 3, 5);
    for other in ["web", "watch_agent"] {
        let (first, then) = (
            at(world, "shop_reader", "UpdatedAt"),
            at(world, other, "UpdatedAt"),
        );
        assert!(first < then, "{other}: {first} {then}");
    }
    assert_eq!(
        world.on("m1", "docker secret ls --format '{{.Name}}'"),
        "known"
    );
    let reads = "docker exec $(docker ps --quiet --filter label=com.docker.swarm.service.name=shop_reader) busybox cat /run/secrets/known";
    let read = ALL
        .iter()
        .filter(|(host, _)| world.try_on(host, reads) == (true, "known".to_owned()));
    assert_eq!(read.count(), 1, "its task has its secret");
    assert!(record(world, "state").is_none() && record(world, "elsewhere").is_some());
    world.on("m1", "docker service scale --detach web=2");
    world.on("m1", "docker node update --label-add kept=yes w1");
    let elsewhere = world.path("elsewhere").display().to_string();
    let again = world.start_with(FILE, &["start", "--yes"], &[("XDG_STATE_HOME", &elsewhere)]);
    again.end().ends(0);
    assert_eq!(
        world.on(
            "m1",
            "docker service inspect web --format '{{.Spec.Mode.Replicated.Replicas}}'"
        ),
        "2"
    );
    is_whole(world);
}

/// Whether all tasks of all services run, the registry's among them.
const RUN: &str = "test \"$(docker service ls --format '{{.Name}} {{.Replicas}}' | sort | tr '\\n' ' ')\" = 'hub_registry 1/1 shop_reader 1/1 watch_agent 5/5 web 2/2 '";

/// Services that were removed are made again, those last whose image comes from a registry of the
/// cluster; skep is killed when the first manager is back.
pub(crate) fn registry(world: &World) {
    world.inventory(FILE, &ALL, "");
    for (host, _) in ALL {
        world.on(host, "docker tag web:1 localhost:5000/web:1");
    }
    world.on(
        "m1",
        &format!(
            "docker service rm web >/dev/null
             docker service create --quiet --detach --no-resolve-image --name hub_registry \
             --label com.docker.stack.namespace=hub --constraint node.hostname==w1 \
             --publish mode=host,published=5000,target=5000 \
             web:1 sh -c 'busybox sleep {SLOW}; exec busybox httpd -f -p 5000'
             docker service create --quiet --detach --no-resolve-image --name web --replicas 2 \
             localhost:5000/web:1 sh -c 'trap exit TERM; while :; do busybox sleep 1; done'"
        ),
    );
    world.until("m1", 60, RUN);
    let off = [
        "shutdown",
        "--confirm",
        &world.cluster,
        "--remove",
        "--last",
        "m1",
    ];
    let ran = world.skep(FILE, &off).ends(0);
    told(&format!("all off in {:.0?}", ran.took));
    let cut = world.start(FILE, &["start", "--yes"]);
    world.until("m1", 120, "timeout 5 docker node ls >/dev/null");
    cut.kill();
    let ran = world.skep(FILE, &["start", "--yes"]).ends(0);
    told(&format!("back in {:.0?} more", ran.took));
    world.until("m1", 30, RUN);
    let first = at(world, "hub_registry", "CreatedAt");
    for other in ["web", "shop_reader", "watch_agent"] {
        let then = at(world, other, "CreatedAt");
        assert!(
            then.duration_since(first) > SignedDuration::from_secs(SLOW),
            "{other}: {then}, the registry: {first}\n{}",
            ran.err
        );
    }
    is_whole(world);
}

/// The power of everything is cut, and nothing was recorded.
pub(crate) fn outage(world: &World) {
    let ids: Vec<String> = ALL.iter().map(|(host, _)| world.node_id(host)).collect();
    for (host, _) in ALL {
        world.machine("kill", host);
    }
    let ran = world.skep(FILE, &["start", "--yes"]).ends(0);
    told(&format!("back in {:.0?}", ran.took));
    let after: Vec<String> = ALL.iter().map(|(host, _)| world.node_id(host)).collect();
    assert_eq!(ids, after, "nobody has left or joined");
    is_whole(world);
    world
        .skep(FILE, &["power", "off", "m2", "m3", "--yes"])
        .ends(4)
        .says("managers 3, reachable 3, majority 2: switching 2 of them off would leave 1");
    world.skep(FILE, &["power", "off", "w2", "--yes"]).ends(0);
    world.skep(FILE, &["power", "on", "w2", "--yes"]).ends(0);
    world.until(
        "m1",
        60,
        "docker node ls --format '{{.Status}}' | grep -c Ready | grep -qx 5",
    );
}
