//! What goes wrong in the life of a swarm: each time the message must be right, nothing may be made
//! worse, and a run afterwards must mend it.

use std::time::{Duration, Instant};

use super::life::{ALL, is_healthy, label_of};
use super::world::World;

/// A host that is down fails alone; when it is back, the next run goes on.
pub(crate) fn host_down(world: &World) {
    let line = "labels = { round = \"down\" }";
    world.machines("down.toml", &ALL, "", &[("w1", line), ("w2", line)]);
    world.machine("pause", "w2");
    let ran = world.skep("down.toml", &["up", "--yes"]).ends(1);
    let ran = ran
        .says("5 hosts: 1 changed, 3 the same, 1 unreachable")
        .says("w2");
    assert!(ran.took < Duration::from_secs(90), "{ran:?}");
    assert_eq!(label_of(world, "w1", "round"), "down");
    world.machine("unpause", "w2");
    world.skep("down.toml", &["up", "--yes"]).ends(0);
    assert_eq!(label_of(world, "w2", "round"), "down");
}

/// A host key that is not the one we know: nothing is sent there, and the line is named.
pub(crate) fn host_key(world: &World) {
    let keys = "/etc/ssh/ssh_host_ed25519_key";
    world.on(
        "w1",
        &format!(
            "mkdir /root/keys && mv {keys} {keys}.pub /root/keys/ && \
         ssh-keygen -q -t ed25519 -N '' -f {keys} && systemctl restart ssh"
        ),
    );
    let known_hosts = world.dirs().lab(&world.cluster).join("known_hosts");
    let text = std::fs::read_to_string(&known_hosts).unwrap();
    let address = world.address("w1");
    let line = text
        .lines()
        .position(|line| line.starts_with(&address))
        .unwrap()
        + 1;
    let line_of = format!("{}:{line}", known_hosts.display());
    world
        .skep("machines.toml", &["up", "--yes"])
        .ends(1)
        .says(&line_of)
        .says("ssh-keygen -f")
        .says(&format!("-R {address}"));
    world.on(
        "w1",
        &format!(
            "mv /root/keys/* /etc/ssh/ && rmdir /root/keys && systemctl restart ssh; test -e {keys}"
        ),
    );
    world.skep("machines.toml", &["up", "--yes"]).ends(0);
}

/// sudo with a password: the wrong one is told, with the right one everything works, the engine's
/// API too.
pub(crate) fn sudo(world: &World) {
    for (host, _) in ALL {
        world.on(host, "id tester >/dev/null 2>&1 || useradd -m -s /bin/bash -G sudo tester; echo 'tester:right' | chpasswd");
    }
    let ssh = "user = \"tester\"\nbecome = true\nbecome-password = { env = \"LAB_SUDO\" }";
    let line = "labels = { by = \"sudo\" }";
    world.machines("sudo.toml", &ALL, ssh, &[("w1", line)]);
    let up = |password| {
        world
            .start_with("sudo.toml", &["up", "--yes"], &[("LAB_SUDO", password)])
            .end()
    };
    up("wrong")
        .ends(1)
        .says("sudo refuses the password of `tester`")
        .says("Give the right sudo password");
    assert_eq!(label_of(world, "w1", "by"), "");
    up("right").ends(0);
    assert_eq!(label_of(world, "w1", "by"), "sudo");
}

/// An engine that hangs costs its own deadline only, and is called unknown; one that hangs for some
/// seconds, as managers do around an election, is asked again.
pub(crate) fn hung_engine(world: &World) {
    world.on("w2", "kill -STOP $(cat /var/run/docker.pid)");
    for verb in ["plan", "status"] {
        let ran = world.skep("machines.toml", &[verb]).says("w2");
        assert!(ran.took < Duration::from_mins(1), "{ran:?}");
        if verb == "plan" {
            ran.ends(1);
        }
    }
    // The first question is given up after 8 s.
    world.on(
        "w2",
        "systemd-run --quiet --on-active=11 kill -CONT $(cat /var/run/docker.pid)",
    );
    world.skep("machines.toml", &["up", "--yes"]).ends(0);
}

/// Of two runs at once the second is told who works, on this machine and on another; and when the
/// first is killed, the lock is free at once.
pub(crate) fn two_at_once(world: &World) {
    // A step that a lost run left is waited for: the first run hangs as long as this is there.
    world.docker(&[
        "exec",
        "--detach",
        &skep::provider::lab::container_name(&world.cluster, "w1"),
        "sh",
        "-c",
        "exec 9>>/run/skep/step.lock; flock 9; echo $$ >/run/hold; exec sleep 300",
    ]);
    world.until("w1", 10, "test -s /run/hold");
    let first = world.start("machines.toml", &["up", "--yes"]);
    // Not by trying to lock it: that would be in the way.
    let held = format!("grep '\"pid\":{},' /run/skep/run.owner", first.id());
    for manager in ["m1", "m2", "m3"] {
        world.until(manager, 30, &held);
    }
    world
        .skep("machines.toml", &["up", "--yes"])
        .ends(4)
        .says("another run works on this cluster: `skep up` by ")
        .says(" (20");
    let elsewhere = world.path("elsewhere").display().to_string();
    let on_another = || {
        world.start_with(
            "machines.toml",
            &["up", "--yes"],
            &[("XDG_STATE_HOME", &elsewhere)],
        )
    };
    on_another()
        .end()
        .ends(4)
        .says("another skep works on this cluster (seen on `m1`): `skep up` by ")
        .says(" (20");
    assert_eq!(first.kill().code, None);
    for manager in ["m1", "m2", "m3"] {
        world.until(manager, 5, "flock -n /run/skep/run.lock true");
    }
    world.on("w1", "kill $(cat /run/hold) && rm /run/hold");
    on_another().end().ends(0);
    world.skep("machines.toml", &["up", "--yes"]).ends(0);
}

/// Without a majority of managers, `status` says so soon and `up` refuses.
pub(crate) fn quorum_lost(world: &World) {
    world.machine("pause", "m2");
    world.machine("pause", "m3");
    // Until m1 has noticed it answers as before.
    std::thread::sleep(Duration::from_secs(8));
    let ran = world
        .skep("machines.toml", &["status"])
        .ends(1)
        .says("QUORUM LOST");
    // Its own deadlines add up to this: a login, two questions to an engine that may hang while it
    // notices the loss, and the pause between them.
    assert!(ran.took < Duration::from_secs(45), "{ran:?}");
    world
        .skep("machines.toml", &["up", "--yes"])
        .ends(4)
        .says("no manager with quorum answers")
        .says("nothing was changed");
    world.machine("unpause", "m2");
    world.machine("unpause", "m3");
    settles(world);
}

/// Hosts in another swarm are left there, and the managers of that swarm are named.
pub(crate) fn foreign(world: &World) {
    let address = world.address("w1");
    let found = format!("docker swarm leave && docker swarm init --advertise-addr {address}");
    world.on("w1", &found);
    let token = world.on("w1", "docker swarm join-token -q worker");
    let join = format!("docker swarm leave && docker swarm join --token {token} {address}:2377");
    world.on("w2", &join);
    let theirs = ["w1", "w2"].map(|host| world.node_id(host));

    let without_w1: Vec<_> = ALL.into_iter().filter(|(name, _)| *name != "w1").collect();
    world.machines("foreign.toml", &without_w1, "", &[]);
    world
        .skep("foreign.toml", &["up", "--yes"])
        .ends(4)
        .says(&format!(
            "of another swarm, whose managers are {address}:2377"
        ));
    // While ours elect a leader, which they do on a busy machine, theirs is the only one that tells; it is
    // refused then too.
    let began = Instant::now();
    loop {
        let ran = world.skep("machines.toml", &["up", "--yes"]).ends(4);
        if ran.err.contains("managers of 2 different swarms") {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(90), "{ran:?}");
    }
    assert_eq!(["w1", "w2"].map(|host| world.node_id(host)), theirs);

    world.on("w2", "docker swarm leave");
    world.on("w1", "docker swarm leave --force");
    world.skep("machines.toml", &["up", "--yes"]).ends(0);
}

/// The first manager of the file is a new machine under the old name: it must not make a second
/// swarm, and must not be counted twice. What the message says to do mends it.
pub(crate) fn reinstalled(world: &World) {
    let former = world.node_id("m1");
    world.fresh("lab.toml", &["m1"]);
    let ran = world
        .skep("lab.toml", &["up", "--yes"])
        .ends(4)
        .says("it looks as if the host was installed anew")
        .says(&format!("skep node remove {former}"));
    assert!(!ran.out.contains("make a new swarm"), "{ran:?}");
    assert!(
        !world
            .try_on("m1", "test -e /var/lib/docker/swarm/docker-state.json")
            .0
    );
    world
        .skep("lab.toml", &["node", "remove", &former, "--yes"])
        .ends(0);
    world.skep("lab.toml", &["up", "--yes"]).ends(0);
    let status = world.status("lab.toml");
    assert_eq!(status["managers"]["total"], 3);
    assert_eq!(status["managers"]["reachable"], 3);
    assert_ne!(world.node_id("m1"), former);
}

/// Waits until the swarm is whole again: managers that were away take a moment to find together.
fn settles(world: &World) {
    let began = Instant::now();
    let whole = || {
        if world.skep("machines.toml", &["up", "--yes"]).code != Some(0) {
            return false;
        }
        let status = world.status("machines.toml");
        // After a frozen leader comes back every node is `unknown` until it has been heard from.
        let ready = |nodes: &Vec<serde_json::Value>| nodes.iter().all(|it| it["state"] == "ready");
        status["managers"]["reachable"] == 3 && status["nodes"].as_array().is_some_and(ready)
    };
    while !whole() {
        assert!(began.elapsed() < Duration::from_mins(3));
        std::thread::sleep(Duration::from_secs(1));
    }
    is_healthy(&world.status("machines.toml"), 3, 5);
}
