//! New secrets on real engines: what was known before is worth nothing, and no key is lost or leaks.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::life::{REACHABLE, is_healthy};
use super::tell::told;
use super::world::World;

/// The hosts as machines of somebody's own, which an earlier story wrote.
const FILE: &str = "machines.toml";

/// Whoever has an old token cannot join with it any more.
pub(crate) fn tokens(world: &World) {
    let token = || world.on("m1", "docker swarm join-token -q worker");
    let old = token();
    world
        .skep(FILE, &["rotate", "tokens", "--yes"])
        .ends(0)
        .says("verified: a second plan is empty");
    assert_ne!(token(), old);
    let id = world.node_id("w2");
    world.on("w2", "docker swarm leave");
    let join = format!(
        "docker swarm join --token {old} {}:2377",
        world.address("m1")
    );
    let (well, text) = world.try_on("w2", &join);
    assert!(!well && text.contains("join token"), "{text}");
    world.until("m1", 60, &format!("docker node rm {id}"));
    world.skep(FILE, &["up", "--yes"]).ends(0);
    is_healthy(&world.status(FILE), 3, 5);
}

/// The unlock key is told to be saved, saved, made anew, and opens a manager.
pub(crate) fn unlock_key(world: &World) {
    let save = |file: &str| world.path(file).display().to_string();
    let (present, new) = (save("present.key"), save("new.key"));
    world
        .skep(FILE, &["unlock-key", "--save", &present, "--yes"])
        .ends(4)
        .says("autolock is off");
    world.on("m1", "docker swarm update --autolock=true");
    let warns = || {
        let warnings = world.status(FILE)["warnings"].to_string();
        warnings.contains("nobody is known to have saved the unlock key")
    };
    assert!(warns());
    world
        .skep(FILE, &["unlock-key", "--save", &present, "--yes"])
        .ends(0);
    assert!(!warns());
    world
        .skep(FILE, &["rotate", "unlock-key", "--save", &present, "--yes"])
        .ends(4)
        .says("is not empty");
    world
        .skep(FILE, &["rotate", "unlock-key", "--save", &new, "--yes"])
        .ends(0)
        .says("verified: a second plan is empty");
    let read = |path: &str| fs::read_to_string(path).unwrap().trim().to_owned();
    let (old, key) = (read(&present), read(&new));
    assert_ne!(old, key);
    assert_eq!(world.on("m1", "docker swarm unlock-key -q"), key);
    let mode = fs::metadata(&new).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let saved = &world.status(FILE)["unlock_key"]["saved"]["who"];
    assert!(saved.is_string(), "{saved}");
    world.on("m3", "systemctl restart docker");
    let unlock = |key: &str| format!("printf '%s\\n' {key} | docker swarm unlock");
    world.until(
        "m3",
        60,
        "docker info --format '{{.Swarm.LocalNodeState}}' | grep locked",
    );
    assert!(!world.try_on("m3", &unlock(&old)).0);
    world.on("m3", &unlock(&key));
    world.until("m1", 60, REACHABLE);
    // A manager that is off wants the old key: it is waited for.
    world.on("m3", "systemctl stop docker.socket docker");
    world.until("m1", 60, "docker node ls | grep Unreachable");
    let third = save("third.key");
    world
        .skep(FILE, &["rotate", "unlock-key", "--save", &third, "--yes"])
        .ends(4)
        .says("managers 3, reachable 2, majority 2")
        .says("--old-key-for m3");
    assert!(!world.path("third.key").exists());
    world
        .skep(FILE, &["rotate", "ca", "--yes"])
        .ends(4)
        .says("--without m3");
    world.on("m3", "systemctl start docker");
    world.until(
        "m3",
        60,
        "docker info --format '{{.Swarm.LocalNodeState}}' | grep locked",
    );
    assert!(
        world.status(FILE)["warnings"]
            .to_string()
            .contains("m3 is locked")
    );
    world.skep(FILE, &["up", "--yes"]).ends(0);
    world.on("m1", "docker swarm update --autolock=false");
    nothing_leaked(world, &["present.key", "new.key"]);
}

/// All nodes have certificates of a new authority.
pub(crate) fn authority(world: &World) {
    let root = || world.on("m1", "docker swarm ca | sha256sum");
    let issuers = "docker node inspect $(docker node ls -q) \
                   --format '{{.Description.TLSInfo.CertIssuerPublicKey}}' | sort -u | wc -l";
    let old = root();
    let ran = world
        .skep(FILE, &["rotate", "ca", "--yes"])
        .ends(0)
        .says("verified: a second plan is empty");
    told(&format!("a new authority in {:.0?}", ran.took));
    assert_ne!(root(), old);
    assert_eq!(world.on("m1", issuers), "1");
    let status = world.status(FILE);
    is_healthy(&status, 3, 5);
    assert_eq!(status["certificates"].as_array().unwrap().len(), 5);
    world.skep(FILE, &["plan", "--exit-code"]).ends(0);
}

/// No unlock key stands where it was not asked for: not in a journal, the output, or on a host.
fn nothing_leaked(world: &World, saved: &[&str]) {
    for path in world.files() {
        let bytes = fs::read(&path).unwrap_or_default();
        let holds = String::from_utf8_lossy(&bytes).contains("SWMKEY-1-");
        let asked = saved.iter().any(|name| path.ends_with(name));
        // The line with which this test unlocked a manager.
        let own = path.ends_with("script.sh");
        assert!(!holds || asked || own, "{}", path.display());
    }
    for host in ["m1", "m2", "m3"] {
        let found = world.on(
            host,
            "grep -rls -e 'SWMKEY[-]1-' /etc /run/skep /root /home /var/log /var/lib/skep; \
             journalctl --no-pager -q | grep -c -e 'SWMKEY[-]1-'; true",
        );
        assert_eq!(found, "0", "{host}");
    }
}
