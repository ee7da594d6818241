//! A backup of a swarm that works, tried out, and put back after all managers were destroyed.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use age::secrecy::ExposeSecret as _;
use serde_json::Value;

use super::life::{REACHABLE, is_healthy};
use super::recover::READS;
use super::tell::told;
use super::world::World;

/// The hosts as machines of somebody's own, with `[backup]`.
const FILE: &str = "backup.toml";

/// How long a restore with three new machines may take.
const LONG: Duration = Duration::from_mins(10);

/// A service, a secret, and a pair of keys.
pub(crate) fn begin(world: &World) {
    super::recover::begin(world);
    let identity = age::x25519::Identity::generate();
    fs::write(world.path("key"), identity.to_string().expose_secret()).unwrap();
    let machines = fs::read_to_string(world.path("machines.toml")).unwrap();
    let backup = format!(
        "[backup]\nrecipients = [\"{}\"]\nkeep = 2\n\n[[host]]",
        identity.to_public()
    );
    let text = machines.replacen("[[host]]", &backup, 1);
    fs::write(world.path(FILE), text).unwrap();
}

fn listed(world: &World) -> Vec<Value> {
    let ran = world.skep(FILE, &["backup", "list", "--json"]).ends(0);
    serde_json::from_str(&ran.out).unwrap()
}

fn newest(world: &World) -> PathBuf {
    PathBuf::from(listed(world)[0]["path"].as_str().unwrap())
}

/// What is taken, and what stays as it was.
pub(crate) fn taken(world: &World) {
    world
        .skep(FILE, &["status"])
        .ends(0)
        .says("there is no backup of this swarm");
    let leader = world.leader(FILE);
    world
        .skep(FILE, &["backup", "--yes", "--on", &leader])
        .ends(4)
        .says("it leads");
    world
        .skep("machines.toml", &["backup", "--yes"])
        .ends(2)
        .says("age-keygen");
    let ran = world
        .skep(FILE, &["backup", "--yes", "-v"])
        .ends(0)
        .says("managers 3, reachable 3, majority 2")
        .says("the engine answers again after")
        .says("verified: a second plan is empty");
    let mut lines = ran.err.lines().chain(ran.out.lines());
    let stood = lines.find(|it| it.contains("answers again"));
    told(&format!(
        "taken in {:.0?}; {}",
        ran.took,
        stood.unwrap_or("")
    ));
    is_healthy(&world.status(FILE), 3, 5);
    let listed = listed(world);
    assert_eq!(listed.len(), 1);
    assert_ne!(listed[0]["host"], leader.as_str());
    assert!(listed[0]["certificate-expires"].is_string(), "{listed:#?}");
    let host = listed[0]["host"].as_str().unwrap().to_owned();
    world.on(
        &host,
        "test ! -e /var/lib/skep/backup && ! systemctl is-active skep-backup",
    );
    let said = world.skep(FILE, &["status"]).ends(0);
    assert!(!said.out.contains("`skep backup`"), "{said:?}");
    world.until("w1", 60, READS);
}

/// skep is killed while the engine stands still; then the copy itself.
pub(crate) fn killed(world: &World) {
    let on = if world.leader(FILE) == "m3" {
        "m2"
    } else {
        "m3"
    };
    let run = world.start(FILE, &["backup", "--yes", "-v", "--on", on]);
    let stands = "test \"$(systemctl is-active docker.service)\" != active";
    world.until(on, 180, stands);
    run.kill();
    world.until(on, 120, "systemctl is-active docker.service");
    // Until then another manager could not be spared.
    world.until("m1", 60, REACHABLE);
    world
        .skep(FILE, &["backup", "--yes", "-v"])
        .ends(0)
        .says("verified: a second plan is empty");
    is_healthy(&world.status(FILE), 3, 5);
    assert_eq!(listed(world).len(), 2);
    // One whose copying is killed starts the engine as well.
    let host = listed(world)[0]["host"].as_str().unwrap().to_owned();
    world.on(
        &host,
        "nohup sh -c 'until systemctl is-active -q skep-backup; do :; done; systemctl kill -s KILL skep-backup' >/dev/null 2>&1 &",
    );
    world
        .skep(FILE, &["backup", "--yes", "--on", &host])
        .ends(1)
        .says("no copy was taken");
    world.until(&host, 10, "systemctl is-active docker.service");
    world.until("m1", 60, REACHABLE);
    let before = newest(world);
    world
        .skep(FILE, &["backup", "--yes"])
        .ends(0)
        .says("2 are kept");
    assert_eq!(listed(world).len(), 2);
    assert_ne!(newest(world), before);
    is_healthy(&world.status(FILE), 3, 5);
}

/// It is tried out on a host of its own.
pub(crate) fn verified(world: &World) {
    let (file, key) = (newest(world), world.path("key"));
    let (file, key) = (file.to_str().unwrap(), key.to_str().unwrap());
    world
        .skep(FILE, &["backup", "verify", file])
        .ends(1)
        .says("--identity KEYFILE");
    let words = ["backup", "verify", file, "--yes", "--identity", key];
    let ran = world.start(FILE, &words).ends_within(LONG);
    let ran = ran.ends(0).says("1 secret: known").says("are all there");
    told(&format!("tried out in {:.0?}", ran.took));
    let labs = world.skep(FILE, &["lab", "list"]).ends(0);
    assert!(!labs.out.contains("skep-verify"), "{labs:?}");
    is_healthy(&world.status(FILE), 3, 5);
}

/// All three managers are new machines.
pub(crate) fn restored(world: &World) {
    let file = newest(world);
    let host = listed(world)[0]["host"].as_str().unwrap().to_owned();
    let cluster = world.cluster.clone();
    let restore = |more: &[&str]| {
        let key = world.path("key");
        let mut words = vec!["restore", file.to_str().unwrap(), "--identity"];
        words.push(key.to_str().unwrap());
        words.extend(["--confirm", &cluster]);
        words.extend(more);
        world.start(FILE, &words).ends_within(LONG)
    };
    restore(&["--on", &host])
        .ends(4)
        .says("a swarm is there, and has quorum");
    let kept = world.node_id(&host);
    world.fresh("lab.toml", &["m1", "m2", "m3"]);
    let other = if host == "m1" { "m2" } else { "m1" };
    restore(&["--on", other])
        .ends(4)
        .says("has no such address");
    let ran = restore(&["--on", &host])
        .ends(0)
        .says("verified: a second plan is empty")
        .says("is there: 2 services, 1 secret, 0 configs");
    told(&format!("restored in {:.0?}", ran.took));
    is_healthy(&world.status(FILE), 3, 5);
    assert_eq!(world.node_id(&host), kept);
    world.until("w1", 60, READS);
    assert_eq!(
        world.on(&host, "docker secret ls --format '{{.Name}}'"),
        "known"
    );
    world.until(
        &host,
        90,
        "test \"$(docker service ls --format '{{.Replicas}}' | sort | tr '\\n' ' ')\" = '1/1 3/3 '",
    );
    world.on(&host, "test ! -e /var/lib/skep/restore");
    world.skep(FILE, &["plan", "--exit-code"]).ends(0);
}

/// All three managers are new machines again, and what there is of them is locked.
pub(crate) fn restored_locked(world: &World) {
    let leader = world.leader(FILE);
    world.on(&leader, "docker swarm update --autolock=true");
    let key = world.on(&leader, "docker swarm unlock-key -q");
    let key = key.trim();
    let host = if leader == "m3" { "m2" } else { "m3" };
    world
        .skep(FILE, &["backup", "--yes", "--on", host])
        .ends(0)
        .says("It takes the unlock key of today");
    let (file, identity) = (newest(world), world.path("key"));
    let (file, identity) = (file.to_str().unwrap(), identity.to_str().unwrap());
    let save = |name: &str, key: &str| {
        let path = world.path(name);
        fs::write(&path, format!("{key}\n")).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (right, none) = (save("right", key), save("none", "hunter2"));
    // Well made, and of another swarm.
    let other = key.replacen(&key[9..13], "AAAA", 1);
    let other = save("other", &other);

    let words = ["backup", "verify", file, "--yes", "--identity", identity];
    let words = [&words[..], &["--unlock-key-file", &right]].concat();
    let ran = world.start(FILE, &words).ends_within(LONG);
    ran.ends(0).says("are all there");

    let kept = world.node_id(host);
    world.fresh("lab.toml", &["m1", "m2", "m3"]);
    let restore = |more: &[&str]| {
        let words = ["restore", file, "--identity", identity, "--on", host];
        let words = [&words[..], &["--confirm", &world.cluster], more].concat();
        let ran = world.start(FILE, &words).ends_within(LONG);
        let said = format!("{}{}", ran.out, ran.err);
        assert!(!said.contains(&key[9..]), "{said}");
        ran
    };
    restore(&[])
        .ends(2)
        .says("whose managers are locked")
        .says("--unlock-key-file");
    restore(&["--unlock-key-file", &none])
        .ends(2)
        .says("that is no unlock key");
    restore(&["--unlock-key-file", &other])
        .ends(2)
        .says("not the one that held when the backup was taken");
    world.on(
        host,
        "test ! -e /var/lib/skep/restore && ! docker info 2>/dev/null | grep -q 'Swarm: active'",
    );
    let ran = restore(&["--unlock-key-file", &right])
        .ends(0)
        .says("verified: a second plan is empty")
        .says("is there: 2 services, 1 secret, 0 configs");
    told(&format!("restored a locked swarm in {:.0?}", ran.took));
    is_healthy(&world.status(FILE), 3, 5);
    assert_eq!(world.node_id(host), kept);
    world.until("w1", 60, READS);
    // It is locked again, with the key that it had.
    assert_eq!(world.on(host, "docker swarm unlock-key -q").trim(), key);
    world.on(
        host,
        "grep -q ENCRYPTED /var/lib/docker/swarm/certificates/swarm-node.key && systemctl restart docker && \
         docker info --format '{{.Swarm.LocalNodeState}}' | grep -q locked",
    );
    world.on(host, &format!("printf '%s\\n' {key} | docker swarm unlock"));
    world.until(host, 60, REACHABLE);
}
