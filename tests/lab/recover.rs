//! The quorum is lost for good: two of three managers are destroyed, and the swarm goes on from the
//! third with its services and secrets.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use super::life::{ALL, is_healthy};
use super::tell::told;
use super::world::World;

/// The hosts as machines of somebody's own: `up` on a lab's would start those again that are lost.
const FILE: &str = "machines.toml";

/// A secret, and a service with a task that reads it.
pub(crate) fn begin(world: &World) {
    super::nodes::service(world);
    world.machines(FILE, &ALL, "", &[]);
    world.on("m1", "printf known | docker secret create known -");
    world.on(
        "m1",
        "docker service create --quiet --detach --no-resolve-image --name reader \
         --secret known --constraint node.hostname==w1 web:1 \
         sh -c 'trap exit TERM; while :; do busybox sleep 1; done'",
    );
    world.until("w1", 60, READS);
}

pub(crate) const READS: &str = "test \"$(docker exec $(docker ps --quiet --filter label=com.docker.swarm.service.name=reader) busybox cat /run/secrets/known)\" = known";

fn confirmed<'a>(world: &'a World, more: &[&'a str]) -> Vec<&'a str> {
    [&["recover", "--confirm", &world.cluster], more].concat()
}

/// Two managers are away: until somebody says that they are lost, nothing is done.
pub(crate) fn refused(world: &World) {
    world
        .skep(FILE, &confirmed(world, &[]))
        .ends(4)
        .says("the swarm has quorum: managers 3, reachable 3, majority 2");
    // It writes down what there is to lose.
    world.skep(FILE, &["status"]).ends(0);
    lose(world);
    world
        .skep(FILE, &["up", "--yes"])
        .ends(4)
        .says("skep recover");
    world
        .skep(FILE, &confirmed(world, &[]))
        .ends(4)
        .says("--lost m2")
        .says("--lost m3")
        .says("nothing was changed");
    world
        .skep(FILE, &["recover", "--lost", "m2", "--lost", "m3", "--yes"])
        .ends(4)
        .says("--confirm");
}

/// Kills two of the managers, and waits until the third has noticed.
fn lose(world: &World) {
    world.machine("kill", "m2");
    world.machine("kill", "m3");
    world.until("m1", 60, "! timeout 5 docker node ls");
}

/// The dead ones are new machines: they take their places again in one command.
pub(crate) fn recovered(world: &World) {
    let kept = world.node_id("m1");
    world.fresh("lab.toml", &["m2", "m3"]);
    let ran = world
        .skep(FILE, &confirmed(world, &[]))
        .ends(0)
        .says("verified: a second plan is empty")
        .says("is there: 2 services, 1 secret, 0 configs");
    told(&format!("recovered in {:.0?}", ran.took));
    is_kept(world, &kept);
    is_healthy(&world.status(FILE), 3, 5);
    assert_eq!(world.node_id("m1"), kept);
    world.until("w1", 60, READS);
    assert_eq!(
        world.on("m1", "docker secret ls --format '{{.Name}}'"),
        "known"
    );
    world.until(
        "m1",
        60,
        "test \"$(docker service ls --format '{{.Replicas}}' | sort | tr '\\n' ' ')\" = '1/1 3/3 '",
    );
    world.skep(FILE, &["plan", "--exit-code"]).ends(0);
    world
        .skep(FILE, &confirmed(world, &[]))
        .ends(4)
        .says("the swarm has quorum");
}

/// What the survivor knew is kept, for root alone, and is whole enough to go back to.
fn is_kept(world: &World, id: &str) {
    let copy = world.on("m1", &format!("echo /var/lib/docker/swarm-*-{id}"));
    assert!(!copy.contains('*'), "{copy}");
    let about = world.on("m1", &format!("stat -c '%a %U' {copy}"));
    assert_eq!(about, "700 root");
    world.on(
        "m1",
        &format!(
            "test -s {copy}/docker-state.json && test -s {copy}/certificates/swarm-node.key && ls {copy}/raft/wal*/*.wal"
        ),
    );
}

/// The copy that the survivor kept of what it knew before the last recovery brings that back.
pub(crate) fn gone_back(world: &World) {
    let kept = world.node_id("m1");
    for other in ["w1", "w2", "m2", "m3"] {
        world.on(other, "docker swarm leave --force");
    }
    world.on(
        "m1",
        &format!(
            "set -e; systemctl stop docker.socket docker; cd /var/lib/docker; mv swarm swarm-mistaken; \
             cp -a \"$(ls -d swarm-*-{kept} | tail -n 1)\" swarm; systemctl start docker"
        ),
    );
    let ran = world.skep(FILE, &confirmed(world, &[])).ends(0);
    told(&format!("back to a copy in {:.0?}", ran.took));
    is_healthy(&world.status(FILE), 3, 5);
    assert_eq!(world.node_id("m1"), kept);
    assert_eq!(
        world.on("m1", "docker secret ls --format '{{.Name}}'"),
        "known"
    );
}

/// What is written down here has a service that the survivor never heard of, as if it had been made
/// while that manager was cut off.
fn held_one_more(world: &World) {
    let path = world.path(&format!("state/skep/{}/held.json", world.cluster));
    let text = fs::read_to_string(&path).unwrap();
    let mut held: Value = serde_json::from_str(&text).unwrap();
    let services = held["contents"]["services"].as_array_mut().unwrap();
    services.push("ledger".into());
    fs::write(&path, held.to_string()).unwrap();
}

/// The dead ones stay away; when one comes back with what it knew, it is a stranger.
pub(crate) fn lost(world: &World) {
    held_one_more(world);
    lose(world);
    let ran = world
        .skep(FILE, &confirmed(world, &["--lost", "m2", "--lost", "m3"]))
        .ends(0)
        .says("service ledger was there on")
        .says("and is not any more");
    told(&format!("recovered without the others in {:.0?}", ran.took));
    is_healthy(&world.status(FILE), 1, 3);
    world.until("w1", 60, READS);
    for former in ["m2", "m3"] {
        world.machine("start", former);
        world.until(former, 60, "systemctl is-active docker");
        std::thread::sleep(Duration::from_secs(15));
        is_healthy(
            &world.status(FILE),
            if former == "m2" { 1 } else { 2 },
            if former == "m2" { 3 } else { 4 },
        );
        let ran = world.skep(FILE, &["up", "--yes"]).ends(4);
        ran.says("docker swarm leave");
        world.on(former, "docker swarm leave --force");
        world
            .skep(FILE, &["up", "--skip-unreachable", "--yes"])
            .ends(0);
    }
    is_healthy(&world.status(FILE), 3, 5);
    world.skep(FILE, &["plan", "--exit-code"]).ends(0);
    world.until("w1", 60, READS);
}
